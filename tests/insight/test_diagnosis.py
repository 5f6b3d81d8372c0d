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


# Curves of known kinds: ten classes, of which guessing has a loss of ln 10 = 2.303; the schedule is a cosine over 20 epochs


TEN = DataSpec("toy", "features", 3, "class", 10, tuple("abcdefghij"), (50,) * 10)
CUT_SHORT = [2.2, 2.1, 2.0, 1.9, 1.8, 1.72, 1.65, 1.58, 1.52, 1.45, 1.38, 1.25, 1.12, 1.04, 1.0, 0.99, 0.985, 0.983, 0.981, 0.98]
TOO_SMALL = [2.0, 1.6, 1.4, 1.33, 1.31, *[1.3] * 15]
AT_CHANCE = [2.31, *[2.303] * 19]


def lower(losses: list[float], by: float) -> list[float]:
    return [loss - by for loss in losses]


def test_a_flat_end_of_a_schedule_is_no_convergence(compose: Callable[..., TrainSettings]) -> None:
    cosine = compose("trainer.max_epochs=20", "scheduler=cosine")
    told = diagnose(history(lower(CUT_SHORT, 0.02), CUT_SHORT), TEN, cosine)
    assert told.verdict == "still learning" and told.remedies[0] == "trainer.max_epochs=40"
    assert "fell by 35.5% in the second half" in told.words and "no convergence" in told.words  # from 1.52 to 0.981, medians
    for other in (("scheduler=none",), ("scheduler.final_fraction=0.5",), ("trainer.max_epochs=40",)):  # the rate was still high
        settings = compose(*{"trainer.max_epochs": "trainer.max_epochs=20", **{word.partition("=")[0]: word for word in other}}.values())
        assert diagnose(history(lower(CUT_SHORT, 0.02), CUT_SHORT), TEN, settings).verdict == "underfitting", other
    for scheduler in ("onecycle", "step"):
        settings = compose("trainer.max_epochs=20", f"scheduler={scheduler}")
        assert diagnose(history(lower(CUT_SHORT, 0.02), CUT_SHORT), TEN, settings).verdict == "still learning"


def test_a_curve_that_was_flat_while_the_rate_was_high_is_one_of_underfitting_and_causes_are_named_as_possible(
    compose: Callable[..., TrainSettings],
) -> None:
    told = diagnose(history(lower(TOO_SMALL, 0.02), TOO_SMALL), TEN, compose("trainer.max_epochs=20"))
    assert told.verdict == "underfitting"
    assert "44% below that of guessing (2.303)" in told.words and "may go lower, or what is left is noise" in told.words


@pytest.mark.parametrize("spec", [TEN, REAL])
def test_where_validation_stays_at_guessing_nothing_was_learned_whatever_training_does(spec: DataSpec, settings: TrainSettings) -> None:
    told = diagnose(history(falling(2.3, 0.1), AT_CHANCE), spec, settings, guessing=math.log(10))
    assert told.verdict == "learned nothing"
    assert "the training loss fell to 0.1" in told.words and "the inputs say nothing" in told.words
    assert "model.head.dropout=0.4" in told.remedies
    flat = diagnose(history(AT_CHANCE, AT_CHANCE), spec, settings, guessing=math.log(10))
    assert flat.verdict == "learned nothing" and "model.head.dropout=0.4" not in flat.remedies


def test_a_training_that_has_yet_to_reach_guessing_and_still_falls_is_told_to_go_on(settings: TrainSettings) -> None:
    above = np.linspace(5, 2.5, EPOCHS).tolist()
    assert diagnose(history(above, above), TEN, settings).verdict == "still learning"


def test_a_loss_close_to_nothing_is_done_though_it_falls_and_though_training_is_lower(settings: TrainSettings) -> None:
    val = np.linspace(0.2, 0.05, EPOCHS).tolist()
    told = diagnose(history([loss / 3 for loss in val], val), TEN, settings)
    assert told.verdict == "fitting" and not told.remedies and "The gap" not in told.words
    rising = [0.4, 0.1, 0.03, 0.01, *np.linspace(0.01, 0.02, EPOCHS - 4).tolist()]  # twice the lowest, and nothing beside 2.3
    assert diagnose(history(falling(0.3, 0.001), rising), TEN, settings).verdict == "fitting"


def test_a_loss_that_is_lowest_at_the_end_is_not_said_to_have_stopped(settings: TrainSettings) -> None:
    val = [1.6, 1.2, 1.05, *np.linspace(1.0, 0.96, EPOCHS - 3).tolist()]
    told = diagnose(history([loss / 4 for loss in val], val), TEN, settings)
    assert told.verdict == "memorising" and "lowest at the end (0.96)" in told.words and "no longer" not in str(told)


def test_overfitting_is_told_of_forecasts_beside_the_mean(settings: TrainSettings) -> None:
    val = [0.9, 0.7, 0.6, 0.58, *np.linspace(0.6, 0.95, EPOCHS - 4).tolist()]
    assert diagnose(history(falling(0.9, 0.1), val), REAL, settings, guessing=1.0).verdict == "overfitting"
    assert diagnose(history(falling(0.9, 0.1), val), REAL, settings, guessing=0.55).verdict == "learned nothing"


def test_of_a_few_noisy_validations_no_fall_is_told(settings: TrainSettings) -> None:
    noisy = [1.30, 1.22, 1.31, 1.21, 1.29, 1.20]  # the last three fall by 7 % on a line; so did those before, and rose again
    assert diagnose(history(lower(noisy, 0.02), noisy), TEN, settings).verdict == "underfitting"
