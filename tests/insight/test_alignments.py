"""Attention is drawn as it is, and its two numbers equal those worked out by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from rnnlab.insight.alignments import attention_map, score_by_length

PNG = b"\x89PNG\r\n\x1a\n"
WEIGHTS = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Remember every figure that is saved."""
    found: list[Figure] = []
    save = Figure.savefig

    def remember(self: Figure, file: Path, dpi: int) -> None:
        found.append(self)
        save(self, file, dpi=dpi)

    monkeypatch.setattr(Figure, "savefig", remember)
    return found


def labels(ticks: Callable[[], list]) -> list[str]:
    return [text.get_text() for text in ticks()]


# Attention


def test_the_map_has_a_row_per_target_and_a_column_per_source_token(tmp_path: Path, figures: list[Figure]) -> None:
    attention_map(WEIGHTS, ["▁ein", "▁Mann", "</s>"], ["man", "</s>"], tmp_path / "map.png", None)
    axes, bar = figures[0].axes
    np.testing.assert_array_equal(axes.images[0].get_array(), WEIGHTS)
    assert labels(axes.get_xticklabels) == ["▁ein", "▁Mann", "</s>"]
    assert labels(axes.get_yticklabels) == ["man", "</s>"]
    assert axes.get_ylim() == (2, 0)  # the first target stands on top
    assert bar.get_ylabel() == "weight"
    assert (tmp_path / "map.png").read_bytes().startswith(PNG)


def test_sound_is_drawn_over_seconds(tmp_path: Path, figures: list[Figure]) -> None:
    attention_map(WEIGHTS, None, ["a", "b"], tmp_path / "map.png", 40.0)
    axes = figures[0].axes[0]
    assert axes.get_xlim() == pytest.approx((0, 3 * 0.040))
    assert axes.get_xlabel() == "time in the source (s)"
    attention_map(WEIGHTS, None, ["a", "b"], tmp_path / "map.png", None)
    assert figures[1].axes[0].get_xlim() == (0, 3)
    assert figures[1].axes[0].get_xlabel() == "source step"


@pytest.mark.parametrize("tokens", [["$a$", "x_$2^", "&"], ["我", "们", "绿茶"], ["", " ", "⁇"], ["नमस्ते", "مرحبا", "\U0001f600"]])
def test_no_token_stops_a_picture(tokens: list[str], tmp_path: Path, figures: list[Figure]) -> None:
    attention_map(WEIGHTS, tokens, tokens[:2], tmp_path / "map.png", None)
    assert labels(figures[0].axes[0].get_xticklabels) == tokens


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (200, 3)])
def test_any_size_is_drawn_and_at_most_80_steps_are_named(shape: tuple[int, int], tmp_path: Path, figures: list[Figure]) -> None:
    num_targets, num_steps = shape
    attention_map(np.full(shape, 1 / num_steps), ["s"] * num_steps, ["t"] * num_targets, tmp_path / "map.png", None)
    assert 1 <= len(figures[0].axes[0].get_xticks()) <= 80
    assert 1 <= len(figures[0].axes[0].get_yticks()) <= 80


# Numbers of attention


def padded(filler: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return two sentences: 2 target steps over 3 source steps, and 1 over 2."""
    weights_BST = torch.full((2, 2, 3), filler)
    weights_BST[0] = torch.tensor(WEIGHTS)
    weights_BST[1, 0, :2] = torch.tensor([0.5, 0.5])
    return weights_BST, torch.tensor([2, 1]), torch.tensor([3, 2])


# Scores by length


def test_error_rates_by_length_are_those_of_each_group_s_words_together(tmp_path: Path, figures: list[Figure]) -> None:
    table = pd.DataFrame({"num_steps": [4, 1, 3, 2], "word_errors": [0, 0, 3, 1], "num_words": [2, 1, 4, 3]})
    score_by_length(table, tmp_path / "lengths.png", 2)
    axes = figures[0].axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [1 / 4, 3 / 6])
    assert labels(axes.get_xticklabels) == ["1-2\n2", "3-4\n2"]
    assert axes.get_ylabel() == "word error rate"


@pytest.mark.parametrize(
    ("columns", "name", "mean"),
    [
        ({"phone_errors": [1, 2], "num_phones": [4, 4], "word_errors": [1, 1], "num_words": [1, 1]}, "phone error rate", 3 / 8),
        ({"chrf": [40.0, 60.0]}, "chrF2, mean over sentences", 50),
        ({"chrf": [40.0, 60.0], "rougeL": [0.25, 0.5]}, "ROUGE-L, mean over examples", 0.375),
    ],
)
def test_each_goal_s_own_score_is_drawn(
    columns: dict[str, list[float]], name: str, mean: float, tmp_path: Path, figures: list[Figure]
) -> None:
    score_by_length(pd.DataFrame({"num_steps": [5, 5], **columns}), tmp_path / "lengths.png")
    axes = figures[0].axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [mean])
    assert axes.get_ylabel() == name
    assert labels(axes.get_xticklabels) == ["5\n2"]


def test_a_table_that_was_not_scored_as_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the table has none of phone_errors, word_errors, rougeL, chrf: it was not scored as text"):
        score_by_length(pd.DataFrame({"num_steps": [1, 2]}), tmp_path / "lengths.png")
