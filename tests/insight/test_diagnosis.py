"""What curves say is said in words, and every remedy is a word that can be typed."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from rnnlab.config import flatten
from rnnlab.contracts import DataSpec
from rnnlab.insight.diagnosis import curves, diagnose
from rnnlab.insight.remedies import remedies
from rnnlab.settings import TrainSettings
from rnnlab.training.recipes import check

TWO = DataSpec("toy", "features", 3, "class", 2, ("a", "b"), (50, 50))
UNEQUAL = DataSpec("toy", "features", 3, "class", 2, ("a", "b"), (90, 10))
REAL = DataSpec("toy", "features", 3, "real", 1, ("x",))
GUESSING = math.log(2)
EPOCHS = 20


@pytest.fixture
def settings(compose: Callable[..., TrainSettings]) -> TrainSettings:
    """Return the settings of the run whose curves are judged."""
    return compose(f"trainer.max_epochs={EPOCHS}", "model.head.dropout=0.2", "optimizer.lr=0.003")


def history(train: list[float], val: list[float], steps_per_epoch: int = 10) -> dict[str, list[tuple[int, float]]]:
    """Log two training losses an epoch, a little above and below its mean, and a validation loss at its end."""
    ends = [steps_per_epoch * number for number in range(1, len(val) + 1)]
    noisy = [(end - back, loss + off) for end, loss in zip(ends, train, strict=True) for back, off in ((5, 0.001), (0, -0.001))]
    return {"train/loss": noisy, "val/loss": list(zip(ends, val, strict=True))}


def falling(first: float, last: float, rate: float = 0.5) -> list[float]:
    return [last + (first - last) * math.exp(-rate * epoch) for epoch in range(EPOCHS)]


OVER = [0.65, 0.5, 0.4, 0.35, 0.33, 0.34, *np.linspace(0.36, 0.6, EPOCHS - 6).tolist()]
CASES = {
    "overfitting": (TWO, falling(0.6, 0.02), OVER),
    "memorising": (TWO, falling(0.6, 0.05), falling(0.65, 0.3)),
    "learned nothing": (TWO, [0.694] * EPOCHS, [0.6931] * EPOCHS),
    "still learning": (TWO, np.linspace(0.69, 0.30, EPOCHS).tolist(), np.linspace(0.69, 0.31, EPOCHS).tolist()),
    "underfitting": (TWO, falling(0.68, 0.5), falling(0.68, 0.5)),
    "fitting": (TWO, falling(0.6, 0.1), falling(0.6, 0.105)),
    "unknown": (TWO, [0.6, 0.5, 0.4], [0.6, 0.5, 0.4]),
}


@pytest.mark.parametrize("verdict", CASES)
def test_each_kind_of_curve_has_its_verdict(verdict: str, settings: TrainSettings) -> None:
    spec, train, val = CASES[verdict]
    assert diagnose(history(train, val), spec, settings).verdict == verdict


@pytest.mark.parametrize("verdict", ["still learning", "underfitting"])
def test_where_the_task_is_solved_nothing_more_is_advised(verdict: str, settings: TrainSettings) -> None:
    spec, train, val = CASES[verdict]
    told = diagnose(history(train, val), spec, settings, is_solved=True)
    assert told.verdict == "solved" and not told.remedies and "which is enough" in told.words


def test_a_solved_task_may_be_overfitted(settings: TrainSettings) -> None:
    spec, train, val = CASES["overfitting"]
    assert diagnose(history(train, val), spec, settings, is_solved=True).verdict == "overfitting"


def test_a_training_loss_is_the_mean_since_the_validation_before() -> None:
    found = curves({"train/loss": [(1, 4.0), (2, 2.0), (3, 7.0), (5, 1.0), (6, 3.0)], "val/loss": [(3, 5.0), (6, 3.0)]})
    assert found.steps.tolist() == [3, 6]
    assert found.train.tolist() == [pytest.approx(13 / 3), 2.0]
    assert found.val.tolist() == [5.0, 3.0]


def test_validations_without_a_number_or_a_training_loss_are_passed_over() -> None:
    found = curves({"train/loss": [(1, 4.0), (4, 2.0)], "val/loss": [(1, 5.0), (2, 4.0), (4, math.nan), (6, 3.0)]})
    assert found.steps.tolist() == [1]
    assert curves({}).steps.tolist() == []


def test_overfitting_is_told_with_step_rise_and_where_the_gap_opened(settings: TrainSettings) -> None:
    told = str(diagnose(history(CASES["overfitting"][1], OVER), TWO, settings))
    assert told.startswith("overfitting: the validation loss was lowest (0.33) at step 50 of 200 and ended at 0.5815, 76% higher, while")
    assert "The gap between them opened at step 20;" in told  # at step 10 it is 0.65 against 0.60, at step 20 0.50 against 0.37
    assert "model.head.dropout=0.4" in told


def test_the_gap_opens_where_it_stays_open() -> None:
    found = curves(history([1.0, 0.5, 0.9, 0.8, 0.5, 0.4], [1.0, 1.0, 0.95, 0.88, 0.9, 0.9]))
    assert found.gap_opened() == 4
    assert curves(history([1.0, 0.9], [1.0, 0.95])).gap_opened() is None


def test_noise_is_seldom_taken_for_overfitting(settings: TrainSettings) -> None:
    random = np.random.default_rng(0)
    train, val = falling(0.6, 0.38), np.array(falling(0.65, 0.4, 1.0))
    found = [diagnose(history(train, (val + random.normal(0, 0.06, EPOCHS)).tolist()), TWO, settings).verdict for _ in range(100)]
    assert found.count("overfitting") < 15


def test_guessing_counts_by_how_frequent_the_classes_are(settings: TrainSettings) -> None:
    flat = [0.33] * EPOCHS  # the entropy of 90 to 10 is 0.325
    assert diagnose(history(flat, flat), UNEQUAL, settings).verdict == "learned nothing"
    assert diagnose(history(flat, flat), TWO, settings).verdict == "underfitting"


@pytest.mark.parametrize("words", ["data=speech", "data=text model=birnn", "data=stock model=seq2seq"])
def test_every_remedy_is_a_word_that_a_command_takes(words: str, compose: Callable[..., TrainSettings]) -> None:
    config = compose(*words.split())
    advised = {verdict: list(remedies(verdict, flatten(config.values()), 3)) for verdict in CASES}
    assert {verdict for verdict, found in advised.items() if not found} == {"fitting", "unknown"}
    for verdicts in (("overfitting", "still learning"), ("underfitting", "learned nothing"), ("memorising",)):
        found = {word.partition("=")[0]: word for verdict in verdicts for word in advised[verdict]}
        tried = compose(*words.split(), *found.values())
        check(tried)
        for key, word in found.items():
            assert flatten(tried.values())[key] != flatten(config.values())[key], word
    assert max(map(len, advised.values())) == 4


def test_what_is_at_its_end_already_is_not_advised() -> None:
    flat = {"model.head.dropout": 0.6, "optimizer.weight_decay": 0.0, "callbacks.early_stopping.patience": 3, "trainer.max_epochs": 40}
    assert list(remedies("overfitting", flat, 5)) == ["optimizer.weight_decay=0.01", "trainer.max_epochs=6"]
    assert list(remedies("overfitting", flat, 30)) == ["optimizer.weight_decay=0.01"]
    assert list(remedies("underfitting", flat | {"trainer.max_epochs": None}, 5)) == ["model.head.dropout=0"]


def test_losses_without_classes_are_judged_too(settings: TrainSettings) -> None:
    assert diagnose(history(falling(1, 0.8), falling(1, 0.8)), REAL, settings).verdict == "underfitting"
    assert diagnose(history(falling(0.6, 0.02), OVER), REAL, settings).verdict == "overfitting"
