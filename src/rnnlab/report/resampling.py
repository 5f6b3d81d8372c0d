"""From a group's runs to a sample to compare: the metric of every run, and how runs vary together when test units are drawn anew.

Where the latter comes from:

    plain means   in closed form, which is what the bootstrap below tends to; of 1,000 units and more ratios of sums, too, by their linear
                  approximation
    all else      bootstrap: n - 1 of n units (McCarthy & Snowden 1985; Rao & Wu 1988: unbiased where units are few), the same ones for
                  every run. Drawing units and seeds both (Owen 2007, "The pigeonhole bootstrap") would count what is left of both three
                  times; since a group's value is a mean over runs, the part of seeds needs no drawing.
    dates         what each date adds to the metric, in order: neighbours are alike, which `statistics` counts
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from rnnlab.report.comparison import RunResult
from rnnlab.report.per_unit import counts_all, function_of, is_mean
from rnnlab.tasks import Metric

NUM_RESAMPLES = 2000
MANY_UNITS = 1000
NUM_DRAWN_AT_ONCE = 4_000_000
STEP = 1e-4


@dataclass(frozen=True)
class Fold:
    """The runs of one group that were tested on one part.

    Args:
        name: of the fold.
        units: names, (U,).
        examples: ids of test examples, empty where unknown.
        values_S: the metric of each run.
        deviations_SQ: of each run, such that their products are variances and covariances of the runs when units are drawn anew; of dates
            (Q = U) what each adds to the metric, whose products with those of other dates count, too.
    """

    name: str
    units: np.ndarray
    examples: frozenset[str]
    values_S: np.ndarray
    deviations_SQ: np.ndarray

    @property
    def num_runs(self) -> int:
        """S."""
        return len(self.values_S)


@dataclass(frozen=True)
class Sample:
    """The runs of one group.

    Args:
        folds: in order of their names, those of forecasts in order of dates.
        is_fixed: whether it was fitted once (a baseline), without a seed.
        is_dated: whether units are dates.
        horizon: of forecasts, in steps (see `UnitSums`).
        overlap: test examples for each training example, where folds share training examples (0: they don't).
    """

    folds: tuple[Fold, ...]
    is_fixed: bool
    is_dated: bool
    horizon: int
    overlap: float = 0.0

    @property
    def mean(self) -> float:
        """Mean over runs of a fold, then over folds."""
        return float(np.mean([fold.values_S.mean() for fold in self.folds]))

    @property
    def num_seeds(self) -> int:
        """Runs of the fold that has fewest."""
        return min(fold.num_runs for fold in self.folds)

    @property
    def is_single(self) -> bool:
        """Whether some fold tests one unit only."""
        return any(len(fold.units) == 1 for fold in self.folds)


def take(runs: Sequence[RunResult], metric: Metric, is_fixed: bool = False, num_resamples: int = NUM_RESAMPLES) -> Sample:
    """Turn a group's runs into a sample.

    Raises:
        ValueError: where runs of a fold were not tested on the same units (says how many differ), where a metric was not taken apart or
            is not a number, and where folds of one division share units.
    """
    if not runs:
        raise ValueError("there are no runs to compare")
    if lacking := [run.name for run in runs if run.sums is None]:
        raise ValueError(f"{metric.name} was not taken apart by unit in {len(lacking)} runs ({', '.join(lacking[:3])})")
    folds = [
        _fold([run for run in runs if run.fold == name], metric, num_resamples) for name in sorted({run.fold for run in runs}, key=_key)
    ]
    is_dated = np.issubdtype(folds[0].units.dtype, np.datetime64)
    if is_dated:
        folds.sort(key=lambda fold: fold.units[0])
    _refuse_shared_units(folds)
    most = max(run.num_folds for run in runs)
    # One part is tested, one chooses, the others train.
    overlap = 1 / max(most - 2, 1) if most and len(folds) > 1 else 0.0
    return Sample(tuple(folds), is_fixed, is_dated, max(run.sums.horizon for run in runs if run.sums), overlap)


def _refuse_shared_units(folds: Sequence[Fold]) -> None:
    """Refuse folds that test the same units, those of repeated divisions (`1/0`, `1/1`: see `runs.fold_of`) each by itself."""
    for division in {fold.name.rpartition("/")[0] for fold in folds}:
        units = np.concatenate([fold.units for fold in folds if fold.name.rpartition("/")[0] == division])
        if num_shared := len(units) - len(np.unique(units)):
            raise ValueError(f"the folds share {num_shared} test units: folds must be tested on different ones")


def _key(fold: str) -> tuple[bool, int, str]:
    return (not fold.isdigit(), int(fold) if fold.isdigit() else 0, fold)


def _fold(runs: Sequence[RunResult], metric: Metric, num_resamples: int) -> Fold:
    sums = [run.sums for run in runs if run.sums is not None]
    for run, found in zip(runs, sums, strict=True):
        _refuse_other_units(runs[0].name, sums[0].units, run.name, found.units)
    sums_SUK = np.stack([found.sums_UK for found in sums])
    function = function_of(metric.name)
    values_S = function(sums_SUK.sum(axis=1))
    if not np.isfinite(values_S).all():
        broken = [run.name for run, value in zip(runs, values_S, strict=True) if not np.isfinite(value)]
        raise ValueError(f"{metric.name} is not a number in {', '.join(broken)}: leave these runs out")
    units = sums[0].units
    if np.issubdtype(units.dtype, np.datetime64):
        deviations_SQ = _influences(sums_SUK, metric.name)
    elif len(units) == 1:
        deviations_SQ = np.zeros((len(runs), 1))
    elif is_mean(metric.name) and (len(units) >= MANY_UNITS or (sums_SUK[..., 1] == sums_SUK[0, 0, 1]).all()):
        linear_SU = (sums_SUK[..., 0] - values_S[:, None] * sums_SUK[..., 1]) / sums_SUK[..., 1].mean(1, keepdims=True)
        deviations_SQ = linear_SU / sqrt(len(units) * (len(units) - 1))
    else:
        drawn_SR = function(_resampled(sums_SUK, num_resamples))
        deviations_SQ = np.nan_to_num(drawn_SR - np.nanmean(drawn_SR, axis=1, keepdims=True)) / sqrt(num_resamples - 1)
    examples = frozenset(runs[0].rights) if counts_all(metric.name) else frozenset()
    return Fold(runs[0].fold, units, examples, values_S, deviations_SQ)


def _resampled(sums_SUK: np.ndarray, num_resamples: int) -> np.ndarray:
    """Return sums over n - 1 of n units drawn with replacement, the same ones for every run, (S, num_resamples, K)."""
    random = np.random.default_rng(0)
    num_runs, num_units, num_sums = sums_SUK.shape
    flat = np.moveaxis(sums_SUK, 1, 0).reshape(num_units, -1)
    found = []
    for start in range(0, num_resamples, size := max(1, NUM_DRAWN_AT_ONCE // num_units)):
        num = min(size, num_resamples - start)
        drawn = random.integers(num_units, size=(num, num_units - 1)) + num_units * np.arange(num)[:, None]
        times = np.bincount(drawn.ravel(), minlength=num * num_units).reshape(num, num_units)
        found.append(times @ flat)
    return np.moveaxis(np.concatenate(found).reshape(num_resamples, num_runs, num_sums), 1, 0)


def _influences(sums_SUK: np.ndarray, metric: str) -> np.ndarray:
    """Return what each date adds to a metric, (S, U), less its mean: the derivative by that date's weight, times the number of dates."""
    function, total_S1K, num_units = function_of(metric), sums_SUK.sum(axis=1, keepdims=True), sums_SUK.shape[1]
    step_SUK = STEP * num_units * sums_SUK
    influences_SU = (function(total_S1K + step_SUK) - function(total_S1K - step_SUK)) / (2 * STEP)
    return influences_SU - influences_SU.mean(axis=1, keepdims=True)


def refuse_others(first: Sample, second: Sample) -> None:
    """Refuse two groups that were not tested on the same folds, units and examples.

    Raises:
        ValueError: says how many differ.
    """
    folds = [[fold.name for fold in sample.folds] for sample in (first, second)]
    if folds[0] != folds[1]:
        raise ValueError(f"they were not tested on the same folds: {', '.join(folds[0])} and {', '.join(folds[1])}")
    for mine, theirs in zip(first.folds, second.folds, strict=True):
        _refuse_other_units("the first", mine.units, "the second", theirs.units)
        if mine.examples and theirs.examples and (num := len(mine.examples ^ theirs.examples)):
            raise ValueError(f"{num} test examples are not in both groups' runs: only runs with the same test examples can be compared")


def _refuse_other_units(name: str, units: np.ndarray, other: str, others: np.ndarray) -> None:
    if not np.array_equal(units, others):
        num = len(np.setxor1d(units, others))
        raise ValueError(f"{num} test units are not in both {name} and {other}: only runs with the same test examples can be compared")
