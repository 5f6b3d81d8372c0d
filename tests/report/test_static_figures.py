"""Pictures are written where there is something to draw, whatever the names."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.report.example import comparison
from tests.report.test_tables import renamed

from rnnlab.report.comparison import Comparison
from rnnlab.report.ranks import rank
from rnnlab.report.static_figures import draw_ranks, write_pictures

PNG = b"\x89PNG\r\n\x1a\n"
ALL = ["learning_curves.png", "differences.png", "quality_against_parameters.png"]


@pytest.mark.parametrize("name", ["gru", r"$\frac{a $x_1^2$ \n %", "<script>"])
def test_all_three_are_drawn_whatever_the_names(name: str, tmp_path: Path) -> None:
    assert write_pictures(renamed(name, comparison(True)), tmp_path / "new" / "folder") == ALL
    assert all((tmp_path / "new" / "folder" / file).read_bytes().startswith(PNG) for file in ALL)


def without_numbers(found: Comparison) -> Comparison:
    groups = [replace(group, runs=[replace(run, curves={}) for run in group.runs]) for group in found.groups]
    summaries = {name: replace(s, num_parameters=None, low=None, high=None) for name, s in found.summaries.items()}
    return replace(found, groups=groups, summaries=summaries, verdicts=[])


def test_what_cannot_be_drawn_is_not_written(tmp_path: Path) -> None:
    assert write_pictures(without_numbers(comparison(False)), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_the_same_comparison_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_pictures(comparison(False), tmp_path / folder)
    assert [(tmp_path / "a" / file).read_bytes() for file in ALL] == [(tmp_path / "b" / file).read_bytes() for file in ALL]


def test_ranks_are_drawn_with_the_critical_difference(tmp_path: Path) -> None:
    scores = {f"data{number}": {"gru": 0.9 - number / 100, "lstm": 0.8, "srnn": 0.7 + number / 100} for number in range(4)}
    draw_ranks(rank(scores, dict.fromkeys(scores, "max")), tmp_path / "ranks.png")
    assert (tmp_path / "ranks.png").stat().st_size > 5000
