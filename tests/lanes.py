"""Which cases of many are in the fast lane: those named, or as few as show every value, or every pair of values; the others are slow."""

from collections.abc import Iterable
from itertools import combinations

import pytest
from _pytest.mark import ParameterSet

Row = tuple[object, ...]


def some(values: Iterable[str], fast: Iterable[str]) -> list[ParameterSet]:
    """Return all values as parameters, those marked slow that are not among the `fast`."""
    kept = set(fast)
    return [pytest.param(value, marks=() if value in kept else pytest.mark.slow) for value in values]


def covering(rows: Iterable[Row], strength: int = 2) -> list[ParameterSet]:
    """Return the rows as parameters, those marked slow that add no combination to the rows before them.

    Args:
        rows: of the product, each with a value of every axis.
        strength: how many values at once are to occur together wherever some row has them: 1 is every value, 2 every pair.
    """
    given = list(rows)
    parts = [set(combinations(enumerate(row), strength)) for row in given]
    left, chosen = set[object]().union(*parts), set[int]()
    while left:
        best = max(range(len(given)), key=lambda index: len(parts[index] & left))
        chosen.add(best)
        left -= parts[best]
    return [pytest.param(*row, marks=() if index in chosen else pytest.mark.slow) for index, row in enumerate(given)]
