"""Which examples one group gets right and another does not."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rnnlab.report.comparison import Comparison, Group
from rnnlab.report.per_unit import is_loss


@dataclass(frozen=True)
class Rights:
    """The results of each group on each example, means over the runs that were tested on it.

    Args:
        groups: names, (G,).
        examples: ids, (E,).
        values_GE: fraction of runs that were right, or mean loss; not a number where no run of the group was tested on it.
        is_loss: whether the values are losses (smaller is better).
    """

    groups: list[str]
    examples: list[str]
    values_GE: np.ndarray
    is_loss: bool


def rights(comparison: Comparison) -> Rights | None:
    """Collect who got what right: means over runs of the groups that have any `rights`; None with fewer than two such groups."""
    groups = [group for group in comparison.groups if any(run.rights for run in group.runs)]
    if len(groups) < 2:
        return None
    means = pd.DataFrame({group.name: pd.Series(_means(group)) for group in groups}).sort_index()
    examples = [str(example) for example in means.index]
    return Rights([group.name for group in groups], examples, means.to_numpy(float).T, is_loss(comparison.metric.name))


def _means(group: Group) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for run in group.runs:
        for example, value in run.rights.items():
            sums[example] += value
            counts[example] += 1
    return {example: sums[example] / counts[example] for example in sums}


def won_alone(found: Rights) -> np.ndarray:
    """Return the fraction of examples that a run of one group (row) gets right and a run of the other (column) does not, (G, G).

    Of right answers it is the expectation over a run of each, drawn independently: the mean over examples of r (1 - r'). Of losses it is
    the fraction of examples on which the mean loss is smaller. Only examples on which both were tested count; NaN where there are none, and
    on the diagonal.
    """
    num_groups = len(found.groups)
    fractions_GG = np.full((num_groups, num_groups), np.nan)
    for row, column in np.ndindex(num_groups, num_groups):
        ours_E, theirs_E = found.values_GE[row], found.values_GE[column]
        both_E = np.isfinite(ours_E) & np.isfinite(theirs_E)
        if row != column and both_E.any():
            ours, theirs = ours_E[both_E], theirs_E[both_E]
            fractions_GG[row, column] = (ours < theirs).mean() if found.is_loss else (ours * (1 - theirs)).mean()
    return fractions_GG


@dataclass(frozen=True)
class Disagreements:
    """The examples on which two groups differ most.

    Args:
        first, second: names of the groups.
        is_loss: whether the values are mean losses, else the fraction of runs that were right.
        rows: example id, value of the first, value of the second; the largest difference first.
    """

    first: str
    second: str
    is_loss: bool
    rows: list[tuple[str, float, float]]


def disagreements(comparison: Comparison, num_examples: int = 20) -> Disagreements | None:
    """List the examples on which the two best networks differ most, as many for either side where there are.

    Baselines stand in where there are fewer than two networks; None where fewer than two groups have answers to compare.
    """
    found = rights(comparison)
    if found is None:
        return None
    baselines = {group.name for group in comparison.groups if group.is_baseline}
    first, second = sorted(range(len(found.groups)), key=lambda place: found.groups[place] in baselines)[:2]
    table = pd.DataFrame({"example": found.examples, "first": found.values_GE[first], "second": found.values_GE[second]}).dropna()
    table["difference"] = table["first"] - table["second"]
    sides = [table[table["difference"] > 0], table[table["difference"] < 0]]
    kept = _largest(pd.concat([_largest(side).head(num_examples // 2) for side in sides]))
    rows = [(str(example), float(ours), float(theirs)) for example, ours, theirs, _ in kept.itertuples(index=False)]
    return Disagreements(found.groups[first], found.groups[second], found.is_loss, rows)


def _largest(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values("difference", key=abs, ascending=False, kind="stable")
