"""What runs give a comparison: values, and how they vary together when test units are drawn anew."""

import numpy as np
import pytest

from rnnlab.report.comparison import RunResult, UnitSums
from rnnlab.report.resampling import take
from rnnlab.tasks import Metric

ACCURACY, WER, RMSE = Metric("accuracy", "max", "fraction"), Metric("wer", "min", "fraction"), Metric("rmse", "min", "")
SPEAKERS = np.array(["ann", "bob", "cem", "dee", "eve"])
SUMS_SUK = np.array([[[3, 10], [4, 20], [1, 5], [9, 30], [2, 25]], [[5, 10], [4, 20], [0, 5], [6, 30], [4, 25]]], dtype=float)


def run(sums_UK: np.ndarray, units: np.ndarray = SPEAKERS, fold: str = "", name: str = "run") -> RunResult:
    """Wrap sums."""
    return RunResult("", name, 0, fold, {}, {}, UnitSums(units, np.asarray(sums_UK, dtype=float)))


def covariance(runs: list[RunResult], metric: Metric, num_resamples: int = 2000) -> np.ndarray:
    """Return variances and covariances of runs, (S, S), when units are drawn anew."""
    deviations_SQ = take(runs, metric, num_resamples=num_resamples).folds[0].deviations_SQ
    return deviations_SQ @ deviations_SQ.T


def test_a_run_s_value_is_the_metric_of_all_its_units() -> None:
    assert take([run(sums) for sums in SUMS_SUK], WER).folds[0].values_S == pytest.approx([19 / 90, 19 / 90])


def test_of_plain_means_runs_vary_together_as_their_means_over_units_do() -> None:
    right_SU = SUMS_SUK[..., 0]
    runs = [run(np.stack([right_U, np.full(5, 50.0)], axis=1)) for right_U in right_SU]
    assert covariance(runs, ACCURACY) == pytest.approx(np.cov(right_SU / 50) / 5)


def test_the_bootstrap_of_a_plain_mean_tends_to_the_closed_form() -> None:
    # Of equal lengths a rate is a plain mean; one unit of another length, and it is resampled.
    errors_SU, num_words = SUMS_SUK[..., 0], np.full(5, 50.0)
    closed = covariance([run(np.stack([errors_U, num_words], axis=1)) for errors_U in errors_SU], WER)
    num_words[0] += 1e-6
    drawn = covariance([run(np.stack([errors_U, num_words], axis=1)) for errors_U in errors_SU], WER, 200_000)
    assert drawn == pytest.approx(closed, rel=0.02)


def test_the_bootstrap_of_a_rate_is_near_its_linear_approximation() -> None:
    random = np.random.default_rng(0)
    words_U = random.integers(40, 60, 80)
    errors_SU = random.binomial(words_U, 0.2, (2, 80))
    drawn = covariance([run(np.stack([errors_U, words_U], axis=1), np.arange(80)) for errors_U in errors_SU], WER, 20_000)
    linear_SU = (errors_SU - errors_SU.sum(1, keepdims=True) / words_U.sum() * words_U) / words_U.mean()
    assert drawn == pytest.approx(np.cov(linear_SU) / 80, rel=0.05, abs=2e-6)


def test_of_many_units_the_linear_approximation_of_a_rate_is_the_bootstrap() -> None:
    random = np.random.default_rng(1)
    words_U = random.integers(40, 60, 1000)
    errors_SU = random.binomial(words_U, 0.2, (2, 1000))
    many = covariance([run(np.stack([errors_U, words_U], axis=1), np.arange(1000)) for errors_U in errors_SU], WER)
    root = covariance([run(np.stack([errors_U, words_U], axis=1), np.arange(1000)) for errors_U in errors_SU], RMSE, 5000)
    rates_S = errors_SU.sum(1) / words_U.sum()  # the root of a rate is resampled; by its derivative both are known from one
    assert root * 4 * np.sqrt(np.outer(rates_S, rates_S)) == pytest.approx(many, rel=0.1, abs=4e-7)


def test_the_same_runs_give_the_same_bootstrap() -> None:
    runs = [run(sums) for sums in SUMS_SUK]
    assert (covariance(runs, WER) == covariance(runs, WER)).all()
    assert covariance(runs[:1], WER)[0, 0] == pytest.approx(covariance(runs, WER)[0, 0])  # a run's draws are not its group's


def test_what_a_date_adds_to_a_mean_of_equal_counts_is_its_distance_from_the_mean() -> None:
    days = np.arange(5).astype("datetime64[D]").astype("datetime64[us]")
    losses_U = np.array([3.0, 1, 4, 1, 6])
    found = take([run(np.stack([losses_U, np.full(5, 2.0)], axis=1), days)], Metric("mse", "min", ""))
    assert found.is_dated
    assert found.folds[0].deviations_SQ[0] == pytest.approx(losses_U / 2 - 1.5)


def test_what_a_date_adds_to_a_root_is_its_derivative() -> None:
    days = np.arange(5).astype("datetime64[us]")
    found = take([run(SUMS_SUK[0], days)], RMSE).folds[0]
    errors_U, counts_U = SUMS_SUK[0].T
    mean = 19 / 90
    by_hand = (errors_U - mean * counts_U) / counts_U.mean() / (2 * mean**0.5)
    assert found.deviations_SQ[0] == pytest.approx(by_hand, rel=1e-6)


def test_folds_of_forecasts_come_in_order_of_dates_and_others_by_number() -> None:
    later, earlier = (np.arange(start, start + 5).astype("datetime64[us]") for start in (10, 3))
    assert [fold.name for fold in take([run(SUMS_SUK[0], later, "0"), run(SUMS_SUK[0], earlier, "1")], RMSE).folds] == ["1", "0"]
    names = [SPEAKERS, np.char.add(SPEAKERS, "2"), np.char.add(SPEAKERS, "3")]
    runs = [run(SUMS_SUK[0], units, fold) for units, fold in zip(names, ("10", "9", "2"), strict=True)]
    assert [fold.name for fold in take(runs, WER).folds] == ["2", "9", "10"]


def test_runs_that_were_tested_on_other_units_are_refused_with_the_number() -> None:
    other = np.array(["ann", "bob", "cem", "dan", "eve"])
    with pytest.raises(ValueError, match="2 test units are not in both one and two: only runs with the same test examples can be compared"):
        take([run(SUMS_SUK[0], name="one"), run(SUMS_SUK[0], other, name="two")], WER)


def test_folds_that_share_units_are_refused() -> None:
    with pytest.raises(ValueError, match="the folds share 5 test units"):
        take([run(SUMS_SUK[0], fold="0"), run(SUMS_SUK[0], fold="1")], WER)


def test_what_is_no_number_or_was_not_taken_apart_is_refused_by_name() -> None:
    broken = SUMS_SUK[0] * np.nan
    with pytest.raises(ValueError, match="wer is not a number in bad: leave these runs out"):
        take([run(SUMS_SUK[0]), run(broken, name="bad")], WER)
    with pytest.raises(ValueError, match=r"wer was not taken apart by unit in 1 runs \(old\)"):
        take([RunResult("", "old", 0, "", {}, {}, None)], WER)
    with pytest.raises(ValueError, match="there are no runs to compare"):
        take([], WER)
