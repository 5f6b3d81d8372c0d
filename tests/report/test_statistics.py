"""Intervals and tests against textbook ones where they must agree, and against simulation where none is printed."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower

from rnnlab.report.comparison import RunResult, UnitSums
from rnnlab.report.resampling import take
from rnnlab.report.statistics import (
    VarianceComponent,
    difference,
    freedom_of_dates,
    hedges_g,
    holm,
    interval_of,
    num_lags,
    satterthwaite,
    seeds_needed,
    variance_of_mean,
)
from rnnlab.tasks import Metric

ACCURACY, MSE = Metric("accuracy", "max", "fraction"), Metric("mse", "min", "")


def runs(means_SU: ArrayLike, units: np.ndarray | None = None, fold: str = "") -> list[RunResult]:
    """Wrap one run a row, whose metric is the mean over units."""
    names = np.arange(np.shape(means_SU)[1]) if units is None else units
    rows = [np.stack([row, np.ones(len(row))], axis=1) for row in np.asarray(means_SU, dtype=float)]
    return [RunResult("", f"run{seed}", seed, fold, {}, {}, UnitSums(names, sums_UK)) for seed, sums_UK in enumerate(rows)]


def days(num: int, start: int = 0) -> np.ndarray:
    """Return consecutive dates."""
    return np.arange(start, start + num).astype("datetime64[D]").astype("datetime64[us]")


# Tests that are known


def test_two_simple_methods_are_compared_by_the_paired_t_test() -> None:
    first_U, second_U = np.random.default_rng(0).normal([[0.8], [0.75]], 0.1, (2, 23))
    found = difference(runs([first_U]), runs([second_U]), ACCURACY, first_is_fixed=True, second_is_fixed=True)
    known = stats.ttest_rel(first_U, second_U)
    assert found.p == pytest.approx(known.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(known.confidence_interval()))
    assert found.method == "paired by groups of examples; t with 22.0 degrees of freedom"


def test_where_units_say_nothing_of_the_difference_two_networks_are_compared_by_welch_s_test() -> None:
    units_U = np.array([0.0, 0.3, 0.1, -0.4])  # shared by all runs
    first_S, second_S = np.array([0.8, 0.83, 0.79]), np.array([0.7, 0.78, 0.77])
    found = difference(runs(first_S[:, None] + units_U), runs(second_S[:, None] + units_U), ACCURACY)
    known = stats.ttest_ind(first_S, second_S, equal_var=False)
    assert found.p == pytest.approx(known.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(known.confidence_interval()))


def test_where_every_fold_is_one_speaker_their_differences_are_what_is_tested() -> None:
    random = np.random.default_rng(1)
    first_FS, second_FS = random.normal([[[0.8]], [[0.7]]], 0.1, (2, 6, 3))
    sides = [
        [run for fold, row in enumerate(side) for run in runs(row[:, None], np.array([f"s{fold}"]), str(fold))]
        for side in (first_FS, second_FS)
    ]
    first, second = sides
    found = difference(first, second, ACCURACY)
    known = stats.ttest_rel(first_FS.mean(1), second_FS.mean(1))
    assert found.p == pytest.approx(known.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(known.confidence_interval()))
    known = stats.t.interval(0.95, 5, first_FS.mean(), stats.sem(first_FS.mean(1)))
    assert interval_of(take(sides[0], ACCURACY), ACCURACY) == pytest.approx(known)


def test_the_variance_is_that_of_seeds_in_groups_crossed_with_units() -> None:
    """Worked out from mean squares: seeds, units x groups, and the residual of both."""
    random = np.random.default_rng(2)
    values = random.normal(0, 0.1, (2, 3, 1)) + random.normal(0, 0.5, (2, 1, 7)) + random.normal(0, 0.3, (2, 3, 7))
    found = difference(runs(values[0]), runs(values[1]), ACCURACY)
    between_seeds = values.mean(2).var(1, ddof=1).sum() / 3
    contrast_U = values[0].mean(0) - values[1].mean(0)
    residuals = values - values.mean(1, keepdims=True) - values.mean(2, keepdims=True) + values.mean((1, 2), keepdims=True)
    left_over = np.square(residuals).sum() / (2 * 6) / (3 * 7)
    assert found.spread is not None
    assert found.spread.variance == pytest.approx(between_seeds + contrast_U.var(ddof=1) / 7 - left_over)


def test_the_variance_is_never_less_than_that_of_units_or_that_of_seeds() -> None:
    random = np.random.default_rng(3)
    for _ in range(50):
        values = random.normal(0, 1, (2, 3, 5))
        spread = difference(runs(values[0]), runs(values[1]), ACCURACY).spread
        assert spread is not None
        assert spread.variance >= max(spread.units.variance, sum(part.variance for part in spread.seeds if part)) * (1 - 1e-12)


def test_a_simple_method_brings_no_seeds() -> None:
    random = np.random.default_rng(4)
    network_SU, method_U = random.normal(0.8, 0.1, (4, 9)), random.normal(0.7, 0.1, 9)
    found = difference(runs(network_SU), runs([method_U]), ACCURACY, second_is_fixed=True)
    assert found.num_seeds == (4, None)
    assert found.spread is not None
    assert found.spread.seeds[1] is None
    of_networks = found.spread.seeds[0]
    assert of_networks is not None
    assert vars(of_networks) == pytest.approx(vars(VarianceComponent(network_SU.mean(1).var(ddof=1) / 4, 3)))


# What must not matter, and what has no answer


def test_sides_change_places_and_only_the_sign_does() -> None:
    random = np.random.default_rng(5)
    first, second = runs(random.normal(0.8, 0.1, (3, 8))), runs(random.normal(0.7, 0.1, (5, 8)))
    one, other = difference(first, second, ACCURACY), difference(second, first, ACCURACY)
    assert (one.gain, one.p) == pytest.approx((-other.gain, other.p))
    assert one.low is not None and other.high is not None
    assert one.low == pytest.approx(-other.high)


def test_less_is_better_where_the_metric_says_so() -> None:
    random = np.random.default_rng(6)
    first, second = runs(random.normal(0.8, 0.1, (3, 8))), runs(random.normal(0.7, 0.1, (3, 8)))
    assert difference(first, second, Metric("wer", "min", "fraction")).gain == -difference(first, second, ACCURACY).gain


def test_a_tie_is_no_win() -> None:
    same = runs([[1, 0, 1, 1], [1, 0, 1, 1]])
    found = difference(same, same, ACCURACY)
    assert (found.gain, found.p, found.low, found.high) == (0, 1, None, None)


def test_where_nothing_varies_each_unit_is_one_vote() -> None:
    found = difference(runs([[1, 1, 1], [1, 1, 1]]), runs([[0, 0, 0], [0, 0, 0]]), ACCURACY)
    assert found.p == stats.binomtest(3, 3).pvalue
    assert found.low is None


def test_one_seed_of_a_network_is_not_tested() -> None:
    one, many = runs([[1, 0, 1]]), runs([[0, 0, 1], [1, 1, 1]])
    found = difference(one, many, ACCURACY)
    assert (found.p, found.low, found.high, found.method) == (None, None, None, "not tested: one seed")
    assert found.gain == pytest.approx(2 / 3 - 2 / 3)
    assert interval_of(take(one, ACCURACY), ACCURACY) is None
    assert interval_of(take(one, ACCURACY, is_fixed=True), ACCURACY) is not None


def test_one_seed_in_each_of_several_folds_of_one_speaker_is_tested_as_pairs_of_folds() -> None:
    first_F, second_F = np.random.default_rng(2).normal([[0.8], [0.7]], 0.1, (2, 5))
    sides = [
        [run for fold, value in enumerate(side) for run in runs([[value]], np.array([f"s{fold}"]), str(fold))]
        for side in (first_F, second_F)
    ]
    first, second = sides
    found = difference(first, second, ACCURACY)
    assert found.p == pytest.approx(stats.ttest_rel(first_F, second_F).pvalue)
    assert seeds_needed(found) is None


def test_one_unit_in_all_is_not_tested() -> None:
    found = difference(runs([[0.9], [0.8]]), runs([[0.7], [0.6]]), ACCURACY)
    assert (found.p, found.method) == (None, "not tested: one test unit")
    assert interval_of(take(runs([[0.9], [0.8]]), ACCURACY), ACCURACY) is None


def test_a_group_that_is_always_right_has_wilson_s_interval_a_unit_an_answer() -> None:
    low, high = interval_of(take(runs(np.ones((3, 12))), ACCURACY), ACCURACY) or (0, 0)
    known = stats.binomtest(12, 12).proportion_ci(method="wilson")
    assert (low, high) == (known.low, known.high)


def test_an_interval_of_shares_stays_between_0_and_1() -> None:
    low, high = interval_of(take(runs([[1, 1, 1, 0.9], [1, 1, 1, 0.9]]), ACCURACY), ACCURACY) or (0, 0)
    assert 0.85 < low < high == 1


def test_groups_that_were_tested_on_other_examples_are_refused() -> None:
    first, second = runs([[1, 0, 1], [1, 1, 1]]), runs([[1, 0, 1], [1, 1, 1]], np.array([0, 1, 7]))
    with pytest.raises(ValueError, match="2 test units are not in both the first and the second"):
        difference(first, second, ACCURACY)
    with pytest.raises(ValueError, match="not tested on the same folds: 0 and 1"):
        difference(runs([[1, 0], [1, 1]], fold="0"), runs([[1, 0], [1, 1]], fold="1"), ACCURACY)
    for run in first:
        run.rights.update({"a": 1.0, "b": 0.0})
    others = runs([[1, 0, 1], [1, 1, 1]])
    for run in others:
        run.rights.update({"a": 1.0, "c": 0.0})
    with pytest.raises(ValueError, match="2 test examples are not in both groups' runs"):
        difference(first, others, ACCURACY)


def test_examples_of_which_no_change_was_forecast_are_no_other_examples() -> None:
    first, second = (runs(np.random.default_rng(seed).integers(0, 2, (2, 9)), days(9)) for seed in (15, 16))
    first[0].rights.update({"a": 1.0, "b": 0.0})
    second[0].rights.update({"a": 1.0})
    assert difference(first, second, Metric("direction_accuracy", "max", "fraction")).p is not None


# Dates


@pytest.mark.parametrize("lags", [1, 4, 20])
def test_the_variance_of_dates_is_newey_and_west_s(lags: int) -> None:
    series_T = np.cumsum(np.random.default_rng(7).normal(size=60)) * 0.1
    known = sm.OLS(series_T, np.ones(60)).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "kernel": "bartlett", "use_correction": False})
    expected = sum(float(variance_of_mean(one, lags)) for one in np.eye(60)) * 60  # of independent values of variance 1, times 60
    assert expected == pytest.approx(1)
    uncorrected = 1 - 1 / 60 - sum(2 * (1 - lag / (lags + 1)) * (60 - lag) / 60**2 for lag in range(1, lags + 1))
    assert float(variance_of_mean(series_T, lags)) * uncorrected == pytest.approx(float(known.bse[0]) ** 2)


def test_two_simple_forecasts_are_compared_by_diebold_and_mariano_s_test() -> None:
    losses_2T = np.random.default_rng(8).exponential([[1.0], [1.2]], (2, 100))
    found = difference(runs(losses_2T[:1], days(100)), runs(losses_2T[1:], days(100)), MSE, True, True)
    lags, series_T = 13, losses_2T[1] - losses_2T[0]
    statistic = series_T.mean() / sqrt(float(variance_of_mean(series_T, lags)))
    freedom = 1.5 * 100 / 14
    assert found.gain == pytest.approx(series_T.mean())
    assert found.p == pytest.approx(2 * stats.t.sf(abs(statistic), freedom), rel=1e-6)
    assert found.method == "Diebold-Mariano with Newey-West variance, dates; t with 10.7 degrees of freedom"


def test_folds_of_forecasts_follow_each_other() -> None:
    losses_2T = np.random.default_rng(9).exponential(1.0, (2, 60))
    whole = difference(runs(losses_2T[:1], days(60)), runs(losses_2T[1:], days(60)), MSE, True, True)
    sides = [runs([row[:30]], days(30), "0") + runs([row[30:]], days(30, 30), "1") for row in losses_2T]
    first, second = sides
    parts = difference(first, second, MSE, True, True)
    assert (parts.gain, parts.p) == pytest.approx((whole.gain, whole.p))


def test_overlapping_forecasts_are_compared_over_as_many_lags_as_their_targets_overlap() -> None:
    """Forecasts of the mean of the next 30 days: errors of neighbouring dates share 29 days, so Newey and West's variance takes 29 lags."""
    num_dates, horizon = 150, 30
    random = np.random.default_rng(17)
    shocks = random.normal(size=(2, num_dates + horizon))
    losses_2T = 3 + np.stack([np.convolve(row, np.ones(horizon) / horizon, "valid")[:num_dates] for row in shocks])
    sides = [
        [replace(run, sums=replace(run.sums, horizon=horizon)) for run in runs([row], days(num_dates)) if run.sums] for row in losses_2T
    ]
    first, second = sides
    found = difference(first, second, MSE, True, True)
    series_T = losses_2T[1] - losses_2T[0]
    known = sm.OLS(series_T, np.ones(num_dates)).fit(cov_type="HAC", cov_kwds={"maxlags": horizon - 1, "use_correction": False})
    weights = 1 - np.arange(1, horizon) / horizon
    independent = 1 - 1 / num_dates - 2 * float(weights @ (num_dates - np.arange(1, horizon))) / num_dates**2
    assert found.spread is not None
    assert found.spread.variance == pytest.approx(float(known.bse[0]) ** 2 / independent)
    assert found.spread.freedom == pytest.approx(1.5 * num_dates / horizon)
    first, second = (runs([row], days(num_dates)) for row in losses_2T)
    nearer = difference(first, second, MSE, True, True)  # 16 lags, by the number of dates
    assert nearer.spread is not None and nearer.spread.freedom == pytest.approx(1.5 * num_dates / 17)


def test_seeds_add_to_what_dates_leave_open() -> None:
    random = np.random.default_rng(10)
    common_T = random.exponential(1.0, 80)
    first, second = (runs(common_T + random.normal(0, 0.3, (4, 1)), days(80)) for _ in range(2))
    found = difference(first, second, MSE)
    means = [[run.sums.sums_UK[:, 0].mean() for run in side] for side in (first, second)]
    assert found.p == pytest.approx(stats.ttest_ind(*means, equal_var=False).pvalue, rel=1e-6)  # dates are as hard for both


def test_lags_grow_with_dates_and_cover_the_horizon() -> None:
    assert [num_lags(250, 1), num_lags(250, 60), num_lags(3, 1)] == [21, 59, 2]
    assert freedom_of_dates(250, 21) == pytest.approx(1.5 * 250 / 22)
    assert freedom_of_dates(2, 1) == 1


# Degrees of freedom, many pairs, effects, plans


def test_degrees_of_freedom_are_satterthwaite_s() -> None:
    parts = [VarianceComponent(2.0, 4), VarianceComponent(1.0, 9)]
    assert satterthwaite(parts, parts, caution=0) == pytest.approx(3**2 / (4 / 4 + 1 / 9))
    assert satterthwaite(parts[:1], parts[:1]) == pytest.approx(4)
    equal = [VarianceComponent(1.0, 4), VarianceComponent(1.0, 4)]
    assert satterthwaite(equal, equal) == pytest.approx(8)  # caution changes nothing where all are known as well
    mixed = [VarianceComponent(1.0, 2), VarianceComponent(1.0, 1000)]
    assert satterthwaite(mixed, mixed) < satterthwaite(mixed, mixed, caution=0)


def test_p_values_are_corrected_as_by_hand_and_by_statsmodels() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    many = np.random.default_rng(14).beta(0.3, 1, 12)
    assert holm(list(many)) == pytest.approx(multipletests(many, method="holm")[1])


def test_hedges_g_is_that_worked_out_by_hand() -> None:
    first, second = [3.0, 5.0], [1.0, 2.0, 3.0]
    pooled = sqrt((2 + 2) / 3)
    assert hedges_g(first, second) == pytest.approx((4 - 2) / pooled * (1 - 3 / 11))
    assert hedges_g([4.0], second) == pytest.approx((4 - 2) / 1 * (1 - 3 / 7))  # a simple method brings no spread
    assert hedges_g([4.0], [1.0]) is None
    assert hedges_g([4.0], [1.0, 2.0]) is None
    assert hedges_g([4.0, 4.0], [1.0, 1.0]) is None


def test_seeds_needed_are_those_of_a_t_test_where_units_say_nothing() -> None:
    first_S = np.array([-1.0, 0, 1, 0]) * sqrt(3 / 2)  # of variance 1
    found = difference(runs(first_S[:, None] + [0.0, 0.2]), runs(first_S[:, None] - 0.9 + [0.0, 0.2]), MSE)
    known = TTestIndPower().solve_power(effect_size=0.9, power=0.8, alpha=0.05)
    assert seeds_needed(found) == np.ceil(known) == 21
    assert seeds_needed(found, 0.01) == np.ceil(TTestIndPower().solve_power(effect_size=0.9, power=0.8, alpha=0.01))


def test_no_number_of_seeds_helps_where_units_differ_too_much() -> None:
    random = np.random.default_rng(11)
    contrast_U = np.array([0.5, -0.4, 0.3, -0.2])
    found = difference(runs(random.normal(0, 0.01, (3, 4)) + contrast_U), runs(random.normal(0, 0.01, (3, 4))), MSE)
    assert found.p is not None and found.p > 0.5
    assert seeds_needed(found) is None


# False wins: a small version of experiments/false_wins


@pytest.mark.parametrize(("num_units", "num_answers"), [(150, 1), (6, 40)], ids=["examples", "speakers"])
def test_networks_that_are_alike_rarely_win(num_units: int, num_answers: int) -> None:
    random = np.random.default_rng(12)
    num_wins = 0
    for _ in range(200):
        difficulty = random.normal(2, 1.5, (num_units, num_answers)) + random.normal(0, 0.5, (num_units, 1))
        seeds = random.normal(0, 0.3, (2, 4, 1, 1)) + random.normal(0, 0.2, (2, 4, num_units, 1))
        right = (random.logistic(size=(2, 4, num_units, num_answers)) < difficulty + seeds).mean(-1)
        found = difference(runs(right[0]), runs(right[1]), ACCURACY)
        num_wins += found.p is not None and found.p < 0.05
    assert num_wins <= stats.binom.ppf(0.999, 200, 0.05)


def test_forecasts_that_are_alike_rarely_win_though_losses_of_neighbours_are_alike() -> None:
    random = np.random.default_rng(13)
    num_wins = 0
    for _ in range(200):
        losses = random.normal(size=(2, 3, 120))
        for day in range(1, 120):
            losses[..., day] = 0.5 * losses[..., day - 1] + sqrt(0.75) * losses[..., day]
        losses += 3 + random.normal(0, 0.1, (2, 3, 1)) + random.normal(size=120)
        found = difference(runs(losses[0], days(120)), runs(losses[1], days(120)), MSE)
        num_wins += found.p is not None and found.p < 0.05
    assert num_wins <= stats.binom.ppf(0.999, 200, 0.05)


@pytest.mark.parametrize(("metric", "ends"), [("qlike", (0.0, 5.0)), ("wer", (0.0, 5.0)), ("skill", (-5.0, 1.0)), ("ic", (-1.0, 1.0))])
def test_no_bound_is_beyond_what_the_metric_can_be(metric: str, ends: tuple[float, float]) -> None:
    assert Metric.named(metric).within(-5.0, 5.0) == ends


def test_the_interval_of_an_error_begins_at_zero() -> None:
    sample = take(runs([[0.1, 9.0, 0.2], [0.1, 0.1, 0.2]]), Metric("mse", "min", ""))
    low, high = interval_of(sample, Metric("mse", "min", "")) or (1, 1)
    assert low == 0 < sample.mean < high
