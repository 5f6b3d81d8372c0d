"""Compare two groups of runs on the same test examples, with what seeds and test examples leave open.

Runs of a group differ by the seed of training; all runs answer the same units (speakers, documents, dates). A metric of run s is

    value_s = mean of the group + seed_s + units, which all runs share or not + what is left: this seed on these units

which is a two-way layout with seeds nested in groups, as readers and cases are in studies of diagnostic images (Obuchowski & Rockette 1995;
Hillis 2014, "A marginal-mean ANOVA approach"). The variance of a difference of two groups' means is estimated by

    V = max(W + max(U - E, 0), U)
    W   seeds: sum over both groups of the variance between runs / number of runs
    U   units: variance of the difference of the two means when units are drawn anew, all runs at once
    E   what W and U both contain: of each group (mean variance of a run - mean covariance of two) / number of runs, units drawn anew

and the difference over its root is held against Student's t with Satterthwaite's degrees of freedom (`samples` says where U and E come
from). Dates are units whose neighbours are alike: there U and E are by Bartlett's kernel (Newey & West 1987) over max(1.3 root of n,
horizon - 1) lags, with 3/2 n / (lags + 1) degrees of freedom (Lazarus, Lewis, Stock & Watson 2018) and the correction of Harvey, Leybourne
& Newbold (1997) for these weights: the test of Diebold & Mariano (1995), with seeds. Folds of forecasts follow each other, too.

Where folds share training examples (`kfold`), their differences are not independent, and those of units say nothing of another training
set: there the mean over J folds has the variance (1 / J + overlap) times that of the differences between folds, with overlap = test
examples / training examples, and J - 1 degrees of freedom: the corrected resampled t test of Nadeau & Bengio (2003), of one division into
folds or of several.

Where a fold tests one unit only (leave one speaker out) nothing can be drawn within it: the folds' differences, in which seeds are
contained, are what is averaged (Student's t, one degree less than folds). A baseline is fitted once and has no seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from scipy import stats
from scipy.special import stdtr, stdtrit

from rnnlab.report.comparison import RunResult
from rnnlab.report.resampling import Sample, refuse_others, take
from rnnlab.tasks import Metric

LEVEL = 0.95
POWER = 0.8
MOST_SEEDS = 1000
SURE = 30
CAUTION = 4
"""A variance known with k degrees of freedom weighs 1 + 4 / k fold in those of the sum. Satterthwaite's are too many where few seeds are
beside many units: a baseline against three seeds had up to 7.6 % false wins, now 5.4 % (`experiments/false_wins`)."""


@dataclass(frozen=True)
class VarianceComponent:
    """A variance and its degrees of freedom."""

    variance: float
    freedom: float


@dataclass(frozen=True)
class Spread:
    """The uncertainty of a mean or of a difference of means.

    Args:
        units: U.
        seeds: W of each side that has seeds (None where a side has none).
        shared: E.
        is_by_fold: whether seeds are contained in units (one unit a fold, or folds that share training examples).
    """

    units: VarianceComponent
    seeds: tuple[VarianceComponent | None, ...]
    shared: float
    is_by_fold: bool

    @property
    def variance(self) -> float:
        """V."""
        if self.is_by_fold:
            return self.units.variance
        of_seeds = sum(part.variance for part in self.seeds if part)
        return max(of_seeds + max(self.units.variance - self.shared, 0.0), self.units.variance)

    @property
    def freedom(self) -> float:
        """Degrees of freedom of V."""
        if self.is_by_fold:
            return self.units.freedom
        seeds = [part for part in self.seeds if part]
        rest = VarianceComponent(max(self.variance - sum(part.variance for part in seeds), 0.0), self.units.freedom)
        return satterthwaite([*seeds, rest], [*seeds, self.units])

    @property
    def of_units_alone(self) -> float:
        """The variance that no number of seeds removes."""
        of_seeds = sum(part.variance for part in self.seeds if part)
        return max(self.units.variance - (of_seeds if self.is_by_fold else self.shared), 0.0)


@dataclass(frozen=True)
class Difference:
    """How much better the first group is than the second.

    Args:
        gain: positive where the first is better, in the metric's own scale.
        low, high: 95 % interval; None with one seed, one unit, or without any variation.
        p: two-sided; None with one seed on a network's side or one unit.
        method: in words.
        spread: None where p is, or where nothing varies.
        num_seeds: of both sides (None of a baseline).
        num_folds: of both.
        unit: what varies beside seeds, in the plural.
    """

    gain: float
    low: float | None
    high: float | None
    p: float | None
    method: str
    spread: Spread | None
    num_seeds: tuple[int | None, int | None]
    num_folds: int
    unit: str


# -- one group, two groups ---------------------------------------------------------------------------------------------------------


def interval_of(sample: Sample, metric: Metric) -> tuple[float, float] | None:
    """Return the 95 % interval of a group's mean over seeds and units; if all values are 0 or 1 Wilson's (1927), a unit an answer.

    There is none with one seed of a network, or one unit in all.
    """
    spread = _spread([sample])
    if spread is None:
        return None
    if _is_zero(spread.variance, sample.mean):
        num_units = sum(len(fold.units) for fold in sample.folds)
        if not metric.is_fraction or sample.mean not in (0.0, 1.0):
            return None
        found = stats.binomtest(round(sample.mean * num_units), num_units).proportion_ci(method="wilson")
        return float(found.low), float(found.high)
    margin = float(stdtrit(spread.freedom, (1 + LEVEL) / 2)) * sqrt(spread.variance)
    return metric.within(sample.mean - margin, sample.mean + margin)


def difference(
    first_runs: Sequence[RunResult],
    second_runs: Sequence[RunResult],
    metric: Metric,
    first_is_fixed: bool = False,
    second_is_fixed: bool = False,
) -> Difference:
    """Compare two groups on the same folds and units; a side that is fixed was fitted once, without a seed.

    Raises:
        ValueError: where the runs were not tested on the same units; says how many differ.
    """
    return compare(take(first_runs, metric, first_is_fixed), take(second_runs, metric, second_is_fixed), metric)


def compare(first: Sample, second: Sample, metric: Metric) -> Difference:
    """Compare two samples, see `difference`."""
    refuse_others(first, second)
    gain = (first.mean - second.mean) * (1 if metric.direction == "max" else -1)
    seeds = tuple(None if sample.is_fixed else sample.num_seeds for sample in (first, second))
    spread = _spread([first, second])
    unit = _unit_of(first)

    def made(low: float | None, high: float | None, p: float | None, method: str, known: Spread | None = None) -> Difference:
        return Difference(gain, low, high, p, method, known, (seeds[0], seeds[1]), len(first.folds), unit)

    if spread is None:
        why = "one seed" if 1 in seeds else "one test unit"
        return made(None, None, None, f"not tested: {why}")
    if _is_zero(spread.variance, first.mean, second.mean):
        num_units = sum(len(fold.units) for fold in first.folds)
        is_tie = _is_zero(gain**2, first.mean, second.mean)
        p = 1.0 if is_tie else min(1.0, 2.0 ** (1 - num_units))
        return made(None, None, p, f"sign test over {unit}: nothing varies")
    error = sqrt(spread.variance)
    margin = float(stdtrit(spread.freedom, (1 + LEVEL) / 2)) * error
    p = float(2 * stdtr(spread.freedom, -abs(gain) / error))
    return made(gain - margin, gain + margin, p, _method(first, second, spread), spread)


def _method(first: Sample, second: Sample, spread: Spread) -> str:
    unit = _unit_of(first)
    if first.overlap:
        words = f"corrected resampled t test over {len(first.folds)} folds, seeds averaged"
    elif spread.is_by_fold:
        words = f"differences of {len(first.folds)} folds with one unit each, seeds averaged"
    elif first.is_dated:
        words = f"Diebold-Mariano with Newey-West variance, dates{' and seeds' if any(spread.seeds) else ''}"
    else:
        words = f"seeds nested in groups, crossed with {unit}"
        words = words if any(spread.seeds) else f"paired by {unit}"
    return f"{words}; t with {spread.freedom:.1f} degrees of freedom"


def _unit_of(sample: Sample) -> str:
    if sample.is_dated:
        return "dates"
    fold = sample.folds[0]
    return "examples" if len(fold.units) == len(fold.examples) else "groups of examples"


def _is_zero(variance: float, *scales: float) -> bool:
    """Say whether a variance is but rounding."""
    return variance <= (1e-10 * max(abs(scale) for scale in (*scales, 1e-12))) ** 2


# -- variance ----------------------------------------------------------------------------------------------------------------------


def _spread(samples: Sequence[Sample]) -> Spread | None:
    """Return the spread of one sample's mean, or of the difference of two; None where seeds or units cannot be known from one."""
    first, num_folds = samples[0], len(samples[0].folds)
    has_one_seed = any(not sample.is_fixed and sample.num_seeds == 1 for sample in samples)
    is_by_fold = first.overlap > 0 or (first.is_single and num_folds > 1)
    if has_one_seed and not is_by_fold:  # folds of one unit each are trained anew: they hold seeds' noise
        return None
    seeds = tuple(None if sample.is_fixed or sample.num_seeds == 1 else _seeds(sample) for sample in samples)
    if is_by_fold:
        variance = float(np.var(_levels(samples), ddof=1)) * (1 / num_folds + first.overlap)
        return Spread(VarianceComponent(variance, num_folds - 1), seeds, 0.0, is_by_fold=True)
    if first.is_single:
        return None
    shared = sum(_left_over(sample) for sample in samples if not sample.is_fixed)
    return Spread(_dates(samples) if first.is_dated else _units(samples), seeds, shared, is_by_fold=False)


def _seeds(sample: Sample) -> VarianceComponent:
    """Return the variance of a group's mean between seeds, which are independent in every fold."""
    parts = [
        VarianceComponent(float(np.var(fold.values_S, ddof=1)) / fold.num_runs / len(sample.folds) ** 2, fold.num_runs - 1)
        for fold in sample.folds
    ]
    return VarianceComponent(sum(part.variance for part in parts), satterthwaite(parts, parts, caution=0))


def _levels(samples: Sequence[Sample]) -> np.ndarray:
    """Return each fold's mean over the first group's runs, less the second's where there is one, (F,)."""
    means = [np.array([fold.values_S.mean() for fold in sample.folds]) for sample in samples]
    return means[0] - means[1] if len(means) > 1 else means[0]


def _contrasts(samples: Sequence[Sample]) -> list[np.ndarray]:
    """Return the same of each fold's deviations, (Q,)."""
    means = [[fold.deviations_SQ.mean(0) for fold in sample.folds] for sample in samples]
    return [first - second for first, second in zip(*means, strict=True)] if len(means) > 1 else means[0]


def _units(samples: Sequence[Sample]) -> VarianceComponent:
    folds = samples[0].folds
    parts = [
        VarianceComponent(float(contrast @ contrast) / len(folds) ** 2, len(fold.units) - 1)
        for fold, contrast in zip(folds, _contrasts(samples), strict=True)
    ]
    return VarianceComponent(sum(part.variance for part in parts), satterthwaite(parts, parts, caution=0))


def _dates(samples: Sequence[Sample]) -> VarianceComponent:
    folds = samples[0].folds
    num_dates = sum(len(fold.units) for fold in folds)
    # Every fold counts the same, however many dates it has.
    weights = [num_dates / len(folds) / len(fold.units) for fold in folds]
    series = [w * (level + contrast) for w, level, contrast in zip(weights, _levels(samples), _contrasts(samples), strict=True)]
    lags = num_lags(num_dates, max(sample.horizon for sample in samples))
    return VarianceComponent(float(variance_of_mean(np.concatenate(series), lags)), freedom_of_dates(num_dates, lags))


def _left_over(sample: Sample) -> float:
    """Return E of one group."""
    found = 0.0
    for fold in sample.folds:
        residuals_SQ = fold.deviations_SQ - fold.deviations_SQ.mean(0)
        if sample.is_dated:
            variances_S = variance_of_mean(residuals_SQ, num_lags(len(fold.units), sample.horizon))
        else:
            variances_S = np.square(residuals_SQ).sum(1)
        found += float(variances_S.sum()) / (fold.num_runs - 1) / fold.num_runs / len(sample.folds) ** 2
    return found


def satterthwaite(parts: Sequence[VarianceComponent], uncertain: Sequence[VarianceComponent], caution: float = CAUTION) -> float:
    """Return the degrees of freedom of a sum of variances (Satterthwaite 1946).

    Args:
        parts: that are summed.
        uncertain: whose uncertainty counts: the same, or larger ones of which only a part entered the sum.
        caution: see `CAUTION`.
    """
    heavy = [part.variance * (1 + caution / part.freedom) for part in parts]
    uncertainty = sum((part.variance * (1 + caution / part.freedom)) ** 2 / part.freedom for part in uncertain)
    if uncertainty == 0:
        return sum(part.freedom for part in uncertain)
    return max(sum(heavy) ** 2 / uncertainty, 1.0)


def num_lags(num_dates: int, horizon: int) -> int:
    """Return how many lags of dates count: 1.3 times the root of their number (Lazarus et al. 2018), at least horizon - 1."""
    return min(max(ceil(1.3 * sqrt(num_dates)), horizon - 1), num_dates - 1)


def freedom_of_dates(num_dates: int, lags: int) -> float:
    """Return the degrees of freedom of Bartlett's kernel: dates / (lags + 1) times the kernel's 3 / 2."""
    return max(min(1.5 * num_dates / (lags + 1), num_dates - 1), 1.0)


def variance_of_mean(series_RT: np.ndarray, lags: int) -> np.ndarray:
    """Return the variance of the mean of each series, (R,), whose neighbours are alike (Newey & West 1987).

    It is divided by its expectation for independent values, which of equal weights is the factor of Harvey, Leybourne & Newbold (1997).
    """
    num = series_RT.shape[-1]
    centred_RT = series_RT - series_RT.mean(-1, keepdims=True)
    found, expected = np.square(centred_RT).sum(-1) / num, 1 - 1 / num
    for lag in range(1, lags + 1):
        weight = 2 * (1 - lag / (lags + 1))
        found = found + weight * np.einsum("...t,...t->...", centred_RT[..., lag:], centred_RT[..., :-lag]) / num
        expected -= weight * (num - lag) / num**2
    return found / num / expected


# -- many pairs, effects, plans ----------------------------------------------------------------------------------------------------


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979): the smallest times their number, the next times one less, never falling."""
    # statsmodels does the same, and collects all garbage on the way, which takes a second where torch is loaded.
    p_P = np.asarray(p_values, dtype=float)
    order_P = np.argsort(p_P, kind="stable")
    corrected_P = np.empty_like(p_P)
    corrected_P[order_P] = np.minimum(np.maximum.accumulate(p_P[order_P] * np.arange(len(p_P), 0, -1)), 1)
    return [float(p) for p in corrected_P]


def hedges_g(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return the difference of means in standard deviations between runs, corrected for small numbers (Hedges 1981).

    A single value on one side brings no deviation of its own. None where there is no deviation to divide by, or it is of two runs, whose
    correction is to nothing.
    """
    freedom = len(first) + len(second) - 2
    if freedom < 2 or not first or not second:
        return None
    squares = sum(float(np.square(np.subtract(side, np.mean(side))).sum()) for side in (first, second))
    if _is_zero(squares, *first, *second):
        return None
    return float(np.mean(first) - np.mean(second)) / sqrt(squares / freedom) * (1 - 3 / (4 * freedom - 1))


def seeds_needed(found: Difference, level: float = 1 - LEVEL) -> int | None:
    """Return how many seeds a side would show a gain as large as the one that was seen, at this level, with 80 % probability.

    None where units alone make it impossible, more than 1,000 would be needed, or one seed a fold cannot tell.
    """
    counts = [count for count in found.num_seeds if count is not None]
    if found.spread is None or not counts or found.gain == 0 or min(counts) < 2:
        return None
    low, high = max(counts), MOST_SEEDS
    if power(found, high, level) < POWER:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(found, middle, level) >= POWER else (middle, high)
    return high


def power(found: Difference, num_seeds: int, level: float) -> float:
    """Return how probably a gain as large as this one would be shown with so many seeds a side."""
    spread = found.spread
    if spread is None:
        raise ValueError("what varies is not known from one seed or one unit")
    units = VarianceComponent(spread.of_units_alone, spread.units.freedom)
    sides = zip(spread.seeds, found.num_seeds, strict=True)
    seeds = [
        VarianceComponent(part.variance * count / num_seeds, part.freedom / (count - 1) * (num_seeds - 1))
        for part, count in sides
        if part and count
    ]
    variance = units.variance + sum(part.variance for part in seeds)
    freedom = units.freedom if spread.is_by_fold else satterthwaite([units, *seeds], [units, *seeds])
    threshold = stdtrit(freedom, 1 - level / 2)
    if abs(found.gain) >= SURE * sqrt(variance):
        return 1.0
    return float(stats.nct.sf(threshold, freedom, abs(found.gain) / sqrt(variance)))
