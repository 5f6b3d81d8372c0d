"""Attention is drawn as it is, whatever is read and said."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from rnnlab.insight.attention_maps import attention_map

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
