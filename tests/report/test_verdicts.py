"""What a comparison says in words: who beats whom, what is not shown, and what would show it."""

from dataclasses import replace

import numpy as np
import pytest

from rnnlab.report.comparison import Group, RunResult, UnitSums, Verdict
from rnnlab.report.verdicts import conclusions, order, p_text, summaries, verdicts
from rnnlab.tasks import Metric

ACCURACY, QLIKE, WER = Metric("accuracy", "max", "fraction"), Metric("qlike", "min", ""), Metric("wer", "min", "fraction")
UNITS = np.arange(40)


def group(name: str, mean: float, seed_std: float = 0.004, num_seeds: int = 4, validation: float | None = None, **kind: bool) -> Group:
    """Make a group whose runs answer units that are as hard for all, with seeds evenly around a mean."""
    steps = np.linspace(-1, 1, num_seeds) if num_seeds > 1 else np.zeros(1)
    seeds = mean + seed_std * steps / (steps.std(ddof=1) if num_seeds > 1 else 1)
    hard_U = np.where(UNITS % 4 == 0, -0.09, 0.03)
    unlike_U = 0.02 * np.cos(UNITS * len(name)) * (UNITS % 5 == 0)
    runs = [run(seed, value + hard_U + unlike_U - unlike_U.mean(), {"best/accuracy": validation}) for seed, value in enumerate(seeds)]
    return Group(name, {"model": name}, runs, **kind)


def run(seed: int, values_U: np.ndarray, metrics: dict[str, float | None] | None = None, fold: str = "") -> RunResult:
    """Make a run whose metric is the mean over units."""
    known = {key: value for key, value in (metrics or {}).items() if value is not None}
    sums_UK = np.stack([values_U, np.ones(len(values_U))], axis=1)
    rights = {f"e{number}": 1.0 for number in range(len(values_U))}
    return RunResult(f"id{seed}", f"run{seed}", seed, fold, known, {}, UnitSums(UNITS[: len(values_U)], sums_UK), rights)


def only(found: list[Verdict]) -> Verdict:
    """Return the only verdict."""
    assert len(found) == 1
    return found[0]


# Sentences


def test_a_win_is_said_with_its_interval_its_seeds_and_its_p() -> None:
    found = only(verdicts([group("gru", 0.93), group("srnn", 0.9)], ACCURACY))
    assert found.is_shown
    assert found.sentence == "gru beats srnn by 3.0 points (95 % CI 2.3 to 3.7, 4 seeds, p < 0.001)"
    assert found.gain == pytest.approx(0.03)
    assert found.low == pytest.approx(0.0227, abs=1e-4)
    assert found.effect_size == pytest.approx(0.03 / 0.004 * (1 - 3 / 23))


def test_the_better_one_is_named_first_whatever_the_order_and_the_direction() -> None:
    assert only(verdicts([group("srnn", 0.9), group("gru", 0.93)], ACCURACY)).sentence.startswith(
        "gru beats srnn by 3.0 points (95 % CI 2.3 to"
    )
    found = only(verdicts([group("gru", 0.3), group("srnn", 0.33)], WER))
    assert found.sentence.startswith("gru beats srnn by 3.0 points (95 % CI 2.3 to")
    assert found.gain > 0


def test_of_several_pairs_p_is_corrected_and_the_sentence_says_so() -> None:
    found = verdicts([group("gru", 0.93), group("lstm", 0.929), group("srnn", 0.9)], ACCURACY)
    assert [(verdict.first, verdict.second) for verdict in found] == [("gru", "lstm"), ("gru", "srnn"), ("lstm", "srnn")]
    assert found[1].sentence == "gru beats srnn by 3.0 points (95 % CI 2.3 to 3.7, 4 seeds, p < 0.001 after correction)"
    assert found[1].p is not None and found[1].p_corrected == pytest.approx(3 * found[1].p)
    assert found[1].method.endswith("; Holm over 3 pairs")


def test_where_nothing_is_shown_the_sentence_says_what_is_excluded() -> None:
    found = only(verdicts([group("gru", 0.93), group("lstm", 0.9299)], ACCURACY))
    assert not found.is_shown
    assert found.high is not None
    assert found.sentence == "gru and lstm: no difference shown (p = 0.98); a difference above 0.8 points is excluded"
    assert max(found.high, -(found.low or 0)) < 0.008


def test_where_more_seeds_would_help_the_sentence_says_how_many() -> None:
    found = only(verdicts([group("gru", 0.93, 0.02), group("lstm", 0.91, 0.02)], ACCURACY))
    assert found.seeds_needed is not None
    assert found.sentence.endswith(
        f"is excluded; about {found.seeds_needed} seeds a side would be needed to show a difference of this size (2.0 points)"
    )
    assert found.seeds_needed == 18  # statsmodels: 16.7 for one standard deviation, and units add to it


def test_where_units_leave_too_much_open_the_sentence_asks_for_more_of_them() -> None:
    random = np.random.default_rng(0)
    own_2U = np.array([[0.1, 0.0, 0.2, 0.1, 0.0, 0.1], [0.0, 0.0, 0.0, 0.1, 0.0, 0.0]])
    sides = [[run(seed, random.normal(0.8, 0.001, 6) + own_U) for seed in range(3)] for own_U in own_2U]
    found = only(verdicts([Group(name, {}, runs) for name, runs in zip("ab", sides, strict=True)], ACCURACY))
    assert found.seeds_needed is None
    assert "more seeds cannot show a difference of this size" in found.sentence
    assert found.sentence.endswith("more test examples could")


def test_one_seed_is_never_a_verdict() -> None:
    one, other = group("gru", 0.93, num_seeds=1), group("srnn", 0.8, num_seeds=1)
    found = only(verdicts([one, other], ACCURACY))
    assert (found.p, found.p_corrected, found.low, found.is_shown, found.num_seeds) == (None, None, None, False, 1)
    assert found.sentence == "gru and srnn: one seed each says nothing of training's noise; run at least 3"
    mixed = only(verdicts([one, group("srnn", 0.8)], ACCURACY))
    assert mixed.sentence == "gru and srnn: one seed of gru says nothing of training's noise; run at least 3"


def test_simple_methods_are_compared_as_they_are() -> None:
    baseline = group("linear", 0.85, num_seeds=1, is_baseline=True)
    found = only(verdicts([group("gru", 0.93), baseline], ACCURACY))
    assert found.sentence.startswith("gru beats linear by 8.0 points (95 % CI 7.")
    assert found.num_seeds == 4
    both = only(verdicts([baseline, group("mean", 0.7, num_seeds=1, is_baseline=True)], ACCURACY))
    assert both.sentence.startswith("linear beats mean by 15.0 points (95 % CI 14.")
    assert "seeds" not in both.sentence
    assert both.effect_size is None


def test_groups_that_answer_alike_are_no_different() -> None:
    same = group("gru", 0.93)
    found = only(verdicts([same, replace(same, name="copy")], ACCURACY))
    assert found.p == 1
    assert not found.is_shown
    single = group("linear", 0.9, num_seeds=1, is_baseline=True)
    tie = only(verdicts([single, replace(single, name="copy")], ACCURACY))
    assert tie.sentence == "linear and copy: every one of the test examples scores the same in both"


def test_a_difference_that_correction_takes_away_is_said_to_be_just_that() -> None:
    near = [group("a", 0.931, 0.006), group("bb", 0.9195, 0.006), group("ccc", 0.9249, 0.006)]
    found = verdicts(near, ACCURACY)[0]
    assert found.p is not None and found.p < 0.05 < (found.p_corrected or 0)
    assert (
        "no difference shown after correction for 3 comparisons (1.2 points, p = 0.039 before and 0.12 after); a difference above 2.3"
        in found.sentence
    )


def test_metrics_that_are_no_shares_are_written_in_their_own_scale() -> None:
    found = only(verdicts([group("gru", 0.3414, 0.0005), group("har", 0.3583, 0.0005)], QLIKE))
    assert found.sentence == "gru beats har by 0.0169 in qlike (95 % CI 0.0160 to 0.0178, 4 seeds, p < 0.001)"
    priced = only(verdicts([group("gru", 3.414, 0.5), group("har", 13.583, 0.5)], Metric("mae", "min", "%")))
    assert priced.sentence.startswith("gru beats har by 10.2 % in mae (95 % CI 9.3 to 11.0")


def test_folds_are_said_with_the_seeds() -> None:
    sides = []
    for mean in (0.9, 0.7):
        runs = [
            run(seed, np.array([mean + 0.01 * fold + 0.002 * seed * (fold % 2)]), fold=str(fold)) for fold in range(6) for seed in range(3)
        ]
        runs = [replace(r, sums=UnitSums(np.array([f"s{r.fold}"]), r.sums.sums_UK)) for r in runs if r.sums]
        sides.append(runs)
    sides[1][0].sums.sums_UK[0, 0] += 0.01
    found = only(verdicts([Group("gru", {}, sides[0]), Group("srnn", {}, sides[1])], ACCURACY))
    assert found.sentence.startswith("gru beats srnn by 19.9 points (95 % CI 19.8 to 20.1, 3 seeds in each of 6 folds, p < 0.001)")


def test_groups_that_cannot_be_compared_say_why_and_the_others_are() -> None:
    gru, srnn = group("gru", 0.93), group("srnn", 0.9)
    broken = Group("old", {}, [replace(gru.runs[0], sums=None, metrics={"test/accuracy": 0.91})])
    found = verdicts([gru, srnn, broken], ACCURACY)
    assert found[0].is_shown and "after correction" not in found[0].sentence
    assert found[1].sentence == "gru and old: not compared (old: accuracy was not taken apart by unit in 1 runs (run0))"
    assert found[1].gain == pytest.approx(0.02)
    assert (found[1].p, found[1].method) == (None, "not compared")


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0004, "p < 0.001"), (0.0031, "p = 0.003"), (0.0496, "p = 0.0496"), (0.0504, "p = 0.0504"), (0.34, "p = 0.34"), (1, "p = 1.00")],
)
def test_p_never_looks_as_if_it_were_on_the_other_side(p: float, text: str) -> None:
    assert p_text(p) == text


# Order, rows, conclusions


def test_validation_orders_networks_before_simple_methods_and_test_does_not() -> None:
    groups = [
        group("linear", 0.99, num_seeds=1, validation=0.99, is_baseline=True),
        group("srnn", 0.95, validation=0.8),
        group("unknown", 0.99),
        group("gru", 0.9, validation=0.9),
    ]
    assert [one.name for one in order(groups, ACCURACY)] == ["gru", "srnn", "unknown", "linear"]
    assert [one.name for one in order(groups, replace(ACCURACY, direction="min"))] == ["srnn", "gru", "unknown", "linear"]


def test_a_row_holds_means_over_seeds_of_a_fold_then_over_folds() -> None:
    values = {("0", 0): 0.8, ("0", 1): 0.9, ("0", 2): 1.0, ("1", 0): 0.5, ("1", 1): 0.7}
    runs = [
        run(seed, np.array([value]), {"best/accuracy": value / 2, "time/fit_seconds": 10.0 + seed, "model/num_parameters": 7.0}, fold)
        for (fold, seed), value in values.items()
    ]
    runs = [replace(r, sums=UnitSums(np.array([f"s{r.fold}"]), r.sums.sums_UK)) for r in runs if r.sums]
    found = summaries([Group("gru", {}, runs)], ACCURACY)["gru"]
    assert (found.num_runs, found.num_seeds, found.num_folds) == (5, 3, 2)
    assert found.mean == pytest.approx((0.9 + 0.6) / 2)
    assert found.validation == pytest.approx((0.45 + 0.3) / 2)
    assert found.std == pytest.approx(np.std([0.65, 0.8], ddof=1))  # seed 2 lacks a fold
    assert found.seconds == pytest.approx((11 + 10.5) / 2)
    assert (found.num_parameters, found.memory_mb) == (7, None)


def test_a_row_of_one_seed_has_no_spread_and_no_interval() -> None:
    found = summaries([group("gru", 0.93, num_seeds=1), group("linear", 0.9, num_seeds=1, is_baseline=True)], ACCURACY)
    assert (found["gru"].std, found["gru"].low, found["gru"].high) == (None, None, None)
    low, high = found["linear"].low, found["linear"].high
    assert low is not None and high is not None and low < found["linear"].mean < high


def concluded(groups: list[Group]) -> list[str]:
    return conclusions(groups, verdicts(groups, ACCURACY), ACCURACY)


def test_the_best_is_chosen_by_validation_and_test_says_what_of_it_is_shown() -> None:
    groups = [
        group("gru", 0.930, validation=0.94),
        group("lstm", 0.9299, validation=0.939),
        group("srnn", 0.9, validation=0.92),
        group("linear", 0.85, num_seeds=1, validation=0.86, is_baseline=True),
    ]
    assert concluded(groups) == [
        "gru is best on validation (accuracy 94.0 %, on test 93.0 %): on test it beats srnn; no difference from lstm is shown on test.",
        "gru, lstm and srnn beat linear.",
    ]


def test_a_network_that_is_beaten_on_test_stays_the_best_on_validation() -> None:
    groups = [group("gru", 0.9, validation=0.94), group("lstm", 0.93, validation=0.93)]
    assert concluded(groups) == ["gru is best on validation (accuracy 94.0 %, on test 90.0 %): on test lstm beats it."]


def test_it_is_said_that_no_network_beats_a_simple_method() -> None:
    groups = [
        group("gru", 0.93, validation=0.94),
        group("srnn", 0.8, validation=0.8),
        group("linear", 0.9299, num_seeds=1, validation=0.93, is_baseline=True),
    ]
    assert concluded(groups)[1] == "No network is shown to beat linear; linear beats srnn."


def test_one_seed_concludes_nothing() -> None:
    groups = [group("gru", 0.93, num_seeds=1, validation=0.9), group("srnn", 0.8, num_seeds=1, validation=0.8)]
    assert concluded(groups) == [
        "gru is best on validation (accuracy 90.0 %, on test 93.0 %): it was not tested against srnn.",
        "Nothing was tested: gru and srnn: one seed each says nothing of training's noise; run at least 3.",
    ]
    assert concluded([group("gru", 0.93)]) == ["No validation is recorded, so no network is called best."]
    assert concluded([group("gru", 0.93, validation=0.9)]) == ["gru is the only network (accuracy 90.0 %, on test 93.0 %)."]
    assert concluded([]) == []
