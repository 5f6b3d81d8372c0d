"""Learning curves of runs that differ by seed and fold, brought to common steps."""

from dataclasses import dataclass

import numpy as np

from rnnlab.report.comparison import RunResult

MOST_POINTS = 200


@dataclass(frozen=True)
class Curves:
    """A group's curves: mean and spread on the steps that all runs have reached, and each run as it is.

    Args:
        steps: optimizer steps, (S,); empty where runs share no steps.
        mean: over runs, (S,).
        std: between runs, (S,); zero with one run.
        runs: steps and values of each run, each (S of its own,).
    """

    steps: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    runs: list[tuple[np.ndarray, np.ndarray]]


def curves(runs: list[RunResult], name: str, num_points: int = MOST_POINTS) -> Curves | None:
    """Interpolate one group's curves linearly on common steps: those that were recorded, where every run has values on both sides.

    At most `num_points` steps are kept, evenly; None where no run has the metric.
    """
    found = [_points(run.curves.get(name, []), num_points) for run in runs]
    found = [(steps, values) for steps, values in found if len(steps)]
    if not found:
        return None
    first, last = max(steps[0] for steps, _ in found), min(steps[-1] for steps, _ in found)
    grid = np.unique(np.concatenate([steps for steps, _ in found]))
    grid = thinned(grid[(grid >= first) & (grid <= last)], num_points)
    values_RS = np.stack([np.interp(grid, steps, values) for steps, values in found])
    std = values_RS.std(0, ddof=1) if len(found) > 1 else np.zeros(len(grid))
    return Curves(grid, values_RS.mean(0), std, found)


def _points(points: list[tuple[int, float]], num_points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return steps in order and their values, the last value of a step that was recorded twice, without what is not finite."""
    kept = dict(sorted(points, key=lambda point: point[0]))
    steps, values = np.array(list(kept), dtype=np.int64), np.array(list(kept.values()), dtype=float)
    kept_S = thinned(np.flatnonzero(np.isfinite(values)), num_points)
    return steps[kept_S], values[kept_S]


def thinned(values: np.ndarray, num_points: int) -> np.ndarray:
    """Keep at most so many values, evenly, the first and the last among them."""
    if len(values) <= num_points:
        return values
    return values[np.unique(np.linspace(0, len(values) - 1, num_points).round().astype(int))]
