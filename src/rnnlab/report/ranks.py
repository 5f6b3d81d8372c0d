"""Compare groups over several data sets by their ranks (Demsar 2006, "Statistical comparisons of classifiers over multiple data sets")."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import sqrt

import numpy as np
from scipy import stats

LEVEL = 0.05
FEWEST_FOR_FRIEDMAN = 3


@dataclass(frozen=True)
class Ranking:
    """Ranks over data sets.

    Args:
        names: of the groups that all data sets have, the best average rank first, (K,).
        data: names of the data sets, (N,).
        ranks: of each group on each data set, 1 the best, ties averaged, (N, K).
        average: over data sets, (K,).
        p: of Friedman's test that all groups rank alike; None with fewer than 3 groups.
        critical_difference: Nemenyi's: average ranks that differ by as much differ at 0.05, all pairs taken together.
    """

    names: tuple[str, ...]
    data: tuple[str, ...]
    ranks: np.ndarray
    average: np.ndarray
    p: float | None
    critical_difference: float

    @property
    def can_separate(self) -> bool:
        """Whether any ranks at all, even the same order everywhere, would differ by the critical difference."""
        return len(self.names) - 1 >= self.critical_difference

    @property
    def separated(self) -> list[tuple[str, str]]:
        """Pairs (better, worse) whose average ranks differ by the critical difference."""
        pairs = combinations(range(len(self.names)), 2)
        return [(self.names[i], self.names[j]) for i, j in pairs if self.average[j] - self.average[i] >= self.critical_difference]


def rank_groups(scores: Mapping[str, Mapping[str, float]], directions: Mapping[str, str]) -> list[str]:
    """Say in sentences how groups rank by their means on test, by data set; more is better where a data set's direction is `max`."""
    if len(scores) < 2 or len(_shared(scores)) < 2:
        return ["Ranks need two data sets at least, and two groups that all of them have."]
    found = rank(scores, directions)
    num_data, num_groups = found.ranks.shape
    listed = ", ".join(f"{name} {average:.2f}" for name, average in zip(found.names, found.average, strict=True))
    lines = [f"Average ranks over {num_data} data sets ({', '.join(found.data)}): {listed}."]
    if left := sorted({name for groups in scores.values() for name in groups} - set(found.names)):
        lines.append(f"Left out, since not every data set has them: {', '.join(left)}.")
    if not found.can_separate:
        return [
            *lines,
            f"{num_data} data sets are too few to separate {num_groups} groups by ranks: at least {num_needed(num_groups)} are needed, "
            "even if the order were the same on all of them.",
        ]
    if found.p is not None:
        lines.append(f"Friedman's test that all rank alike: p {'< 0.001' if found.p < 0.001 else f'= {found.p:.3f}'}.")
    pairs = "; ".join(f"{better} before {worse}" for better, worse in found.separated) or "no two groups"
    return [*lines, f"Nemenyi's critical difference at 0.05 is {found.critical_difference:.2f}, which separates: {pairs}."]


def rank(scores: Mapping[str, Mapping[str, float]], directions: Mapping[str, str]) -> Ranking:
    """Rank groups on every data set; see `rank_groups`.

    Raises:
        ValueError: with fewer than two data sets or shared groups.
    """
    names = _shared(scores)
    if len(scores) < 2 or len(names) < 2:
        raise ValueError(f"ranks need two data sets and two shared groups at least: there are {len(scores)} and {len(names)}")
    signs = np.array([[-1.0 if directions[data] == "max" else 1.0] for data in scores])
    values = signs * np.array([[groups[name] for name in names] for groups in scores.values()])
    ranks = stats.rankdata(values, axis=1)
    best_first = np.argsort(ranks.mean(0), kind="stable")
    ranks = ranks[:, best_first]
    is_tie = bool((ranks == ranks[:, :1]).all())
    p = float(stats.friedmanchisquare(*ranks.T).pvalue) if len(names) >= FEWEST_FOR_FRIEDMAN and not is_tie else None
    difference = critical_difference(len(names), len(scores))
    return Ranking(tuple(names[place] for place in best_first), tuple(scores), ranks, ranks.mean(0), p, difference)


def critical_difference(num_groups: int, num_data: int) -> float:
    """Return Nemenyi's critical difference of average ranks: q of the Studentized range / root of 2, times root of k (k + 1) / (6 N)."""
    return critical_value(num_groups) * sqrt(num_groups * (num_groups + 1) / (6 * num_data))


def critical_value(num_groups: int, level: float = LEVEL) -> float:
    """Return q of Demsar's table 5 (a): the Studentized range's quantile with infinite degrees of freedom over the root of 2."""
    return float(stats.studentized_range.ppf(1 - level, num_groups, np.inf)) / sqrt(2)


def num_needed(num_groups: int) -> int:
    """Return with how many data sets the first and last of so many groups would be separated, were the order the same on all."""
    num_data = 2
    while critical_difference(num_groups, num_data) > num_groups - 1:
        num_data += 1
    return num_data


def _shared(scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return the groups that all data sets have, in the first one's order."""
    first, *others = scores.values() if scores else [{}]
    return [name for name in first if all(name in groups for groups in others)]
