"""Baselines for sets of labels per step, against counts by hand and scikit-learn."""

from math import log

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from rnnlab.baselines.base import BaselineSettings
from rnnlab.baselines.label_sets import PENALTIES, known_steps
from rnnlab.contracts import Batch, DataSpec
from rnnlab.models.baseline import Baseline

KEYS = DataSpec("toy", "features", 2, "labels_per_step", 2, ("c", "e"), (5, 1), is_causal=True)


def pieces(*rolls: list[list[int]]) -> Batch:
    """Ask for the next keys of pieces."""
    values = [torch.tensor(roll, dtype=torch.float) for roll in rolls]
    lengths_B = torch.tensor([len(roll) - 1 for roll in rolls])
    padded = torch.nn.utils.rnn.pad_sequence(values, batch_first=True, padding_value=7.0)  # padding must not matter
    return Batch(padded[:, :-1], lengths_B, padded[:, 1:], lengths_B, torch.arange(len(rolls)))


def answered(kind: str, train: Batch, test: Batch, spec: DataSpec = KEYS) -> np.ndarray:
    """Return log-odds."""
    model = Baseline(spec, BaselineSettings(kind, None, 1))
    model.fit([train], [train])
    outputs = model.predict(test)
    assert isinstance(outputs, torch.Tensor)
    return outputs.numpy()


TRAIN = pieces([[1, 0], [1, 0], [0, 0], [1, 1]], [[1, 0], [1, 0]])  # targets: c on, off, on, on; e off, off, on, off
TEST = pieces([[1, 1], [0, 0], [0, 0]])


def test_the_mean_is_how_often_each_label_holds_with_one_more_of_either() -> None:
    found = answered("mean", TRAIN, TEST)
    assert found.shape == (1, 2, 2)
    assert found[0].tolist() == pytest.approx(np.array([[log(4 / 2), log(2 / 4)]] * 2), abs=1e-6)


def test_markov_counts_what_follows_each_state_of_each_label() -> None:
    # after c: on, off, on; after no c: on. After e nothing is known; after no e: off, off, on, off
    found = answered("markov", TRAIN, TEST)
    assert found[0].tolist() == pytest.approx(np.array([[log(3 / 2), log(1 / 1)], [log(2 / 1), log(2 / 4)]]), abs=1e-6)


@pytest.fixture(scope="module")
def drawn() -> tuple[DataSpec, Batch, Batch]:
    """Draw pieces of five keys that hang together, one of which never sounds."""
    random, rolls = np.random.default_rng(0), []
    for length in (40, 31, 17, 50):
        roll = [random.integers(0, 2, 5)]
        for _ in range(length):
            chances = 1 / (1 + np.exp(-(roll[-1] @ MIX - 0.5)))
            roll.append((random.random(5) < chances).astype(int))
        rolls.append([[*row[:4].tolist(), 0] for row in roll])
    return (
        DataSpec("toy", "features", 5, "labels_per_step", 5, tuple("abcde"), (1,) * 5, is_causal=True),
        pieces(*rolls[:3]),
        pieces(rolls[3]),
    )


MIX = np.array([[3, -2, 0, 0, 0], [0, 2, 2, 0, 0], [-3, 0, 1, 1, 0], [0, 0, -2, 2, 0], [0, 0, 0, 0, 0]], dtype=float)


def test_frame_logistic_is_scikit_learns_regression_of_every_label(drawn: tuple[DataSpec, Batch, Batch]) -> None:
    spec, train, test = drawn
    model = Baseline(spec, BaselineSettings("frame_logistic", None, 1))
    model.fit([train], [test])
    inputs, targets = known_steps([train])
    val_inputs, val_targets = known_steps([test])
    outputs_of, losses = {}, {}
    for penalty in PENALTIES:
        columns = []
        for key in range(5):
            # The two steps of the intercept: nothing sounded, once with the label and once without.
            more = np.concatenate([inputs, np.zeros((2, 5))]), np.concatenate([targets[:, key], [0, 1]])
            columns.append(LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=1000).fit(*more).decision_function(val_inputs))
        outputs_of[penalty] = np.stack(columns, 1)
        losses[penalty] = (np.logaddexp(0, outputs_of[penalty]) - val_targets * outputs_of[penalty]).sum()
    best = min(losses, key=lambda penalty: losses[penalty])
    assert model.arrays["penalty"].tolist() == [best]
    outputs = model.predict(test)
    assert isinstance(outputs, torch.Tensor)
    assert outputs[0].numpy() == pytest.approx(outputs_of[best], abs=2e-3)


def test_auto_is_the_strongest_of_them(drawn: tuple[DataSpec, Batch, Batch]) -> None:
    spec, train, test = drawn
    losses = {}
    for kind in ("mean", "markov", "frame_logistic", "auto"):
        model = Baseline(spec, BaselineSettings(kind, None, 1))
        model.fit([train], [test])
        losses[kind] = float(model.task.loss(model.predict(test), test))
    assert losses["auto"] == losses["frame_logistic"] < losses["markov"] < losses["mean"]


def test_a_label_that_training_lacks_keeps_a_chance() -> None:
    for kind in ("mean", "markov", "frame_logistic"):
        silent = pieces([[1, 0], [1, 0], [1, 0]])
        assert np.isfinite(answered(kind, silent, TEST)).all()


@pytest.mark.parametrize("kind", ["markov", "frame_logistic"])
def test_inputs_that_are_no_last_targets_are_refused(kind: str) -> None:
    other = DataSpec("toy", "features", 3, "labels_per_step", 2, ("c", "e"), (5, 1))
    with pytest.raises(ValueError, match=rf"^baseline.kind={kind} cannot answer data=toy: its inputs are not its last targets$"):
        Baseline(other, BaselineSettings(kind, None, 1))
