"""What carried an answer is drawn over what was read, and written beside it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rnnlab.contracts import Batch
from rnnlab.data.series.series import SeriesReader
from rnnlab.data.text.classification import TextPrepare, TextReader
from rnnlab.insight.attribution import Attribution
from rnnlab.insight.attribution_figures import ShownInput, draw_shares
from rnnlab.insight.explanations import explain
from rnnlab.models.base import Network

TEXTS = TextReader(TextPrepare("text", "label", None, None, True, "word", 1, 8000, False, "raise"), None, "both", (), (), None)
NUMBERS = SeriesReader(9, [1], (), {}, "identity", "x", "time", None, None, False)
PNG = b"\x89PNG\r\n\x1a\n"
Draw = Callable[[Attribution, ShownInput], Figure]


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Draw:
    """Draw shares and return the figure."""
    figures: list[Figure] = []
    save = Figure.savefig

    def remember(self: Figure, file: Path, dpi: int) -> None:
        figures.append(self)
        save(self, file, dpi=dpi)

    monkeypatch.setattr(Figure, "savefig", remember)

    def draw(found: Attribution, reading: ShownInput) -> Figure:
        draw_shares(found, reading, tmp_path / "folder" / "shares.png")
        assert (tmp_path / "folder" / "shares.png").read_bytes().startswith(PNG)
        return figures[-1]

    return draw


def shares(values: list[list[float]], unit: str = "nats") -> Attribution:
    return Attribution("b", unit, np.array(values), 2.5, -1.0, 16)


def of_words(words: list[str]) -> ShownInput:
    return ShownInput(np.zeros((len(words), 0)), words, (), None, False)


def rectangles(axes: Axes) -> list[Rectangle]:
    """Return the bars of a panel."""
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def test_words_stand_on_the_colour_of_their_share(drawn: Draw) -> None:
    figure = drawn(shares([[1.0], [-1.0], [0.0]]), of_words(["good", "$bad_", "▁我们"]))
    title, *words = figure.axes[0].texts
    assert title.get_text() == "predicted: b, log-odds 2.5 nats; without the input -1 nats"
    assert [word.get_text() for word in words] == ["good", "$bad_", "我们"]
    red, blue, white = (to_rgb(word.get_bbox_patch().get_facecolor()) for word in words)
    assert red[0] > 2 * red[2] and blue[2] > 2 * blue[0] and min(white) > 0.95
    assert [word.get_color() for word in words] == ["white", "white", "black"]
    assert figure.axes[1].get_xlabel() == "share of each word (nats)"


def test_long_texts_are_broken_into_lines_and_no_word_is_lost(drawn: Draw) -> None:
    words = [f"word{number}" * (1 + number % 3) for number in range(200)]
    figure = drawn(shares([[0.01 * number] for number in range(200)]), of_words(words))
    texts = figure.axes[0].texts[1:]
    assert [text.get_text() for text in texts] == words
    rows = [text.get_position()[1] for text in texts]
    assert len(set(rows)) > 10 and rows == sorted(rows, reverse=True)
    height = figure.get_size_inches()[1]
    assert min(rows) > 0.7 and max(rows) < height - 0.5
    renderer = FigureCanvasAgg(figure).get_renderer()
    assert max(text.get_window_extent(renderer).x1 for text in texts) < figure.dpi * figure.get_size_inches()[0]


def test_sound_is_drawn_over_seconds_with_each_frames_share(drawn: Draw) -> None:
    found = shares([[1.0, 2.0], [-3.0, 0.0], [0.0, 0.0]])
    top, middle, bottom, *_ = drawn(found, ShownInput(np.arange(6.0).reshape(3, 2), None, (), 10.0, False)).axes
    np.testing.assert_array_equal(top.images[0].get_array(), [[0, 2, 4], [1, 3, 5]])
    np.testing.assert_array_equal(middle.images[0].get_array(), found.shares_TF.T)
    assert middle.images[0].get_clim() == (-3, 3)
    assert [bar.get_height() for bar in rectangles(bottom)] == [3, -3, 0]
    assert bottom.get_xlim() == pytest.approx((0, 0.03)) and bottom.get_xlabel() == "time (s)"


def test_named_features_have_their_sums_beside_them_and_steps_count_back_from_now(drawn: Draw) -> None:
    found = shares([[1.0, 2.0], [-3.0, 0.5], [0.0, 0.25]], "%")
    figure = drawn(found, ShownInput(np.zeros((3, 2)), None, ("return", "range"), None, True))
    main, right, bottom = figure.axes[:3]
    assert [label.get_text() for label in main.get_yticklabels()] == ["return", "range"]
    assert [bar.get_width() for bar in rectangles(right)] == [-2, 2.75]
    assert [bar.get_height() for bar in rectangles(bottom)] == [3, -2.5, 0.25]
    assert bottom.get_xlabel() == "step before the last" and bottom.get_xlim() == (-2.5, 0.5)
    assert main.get_title() == "forecast of b: 2.5 %; without the input -1 %"
    assert bottom.get_ylabel() == "of each step\n(%)"


def test_an_answer_without_any_share_is_drawn_too(drawn: Draw) -> None:
    assert drawn(shares([[0.0]]), of_words([""]))
    assert drawn(shares([[0.0, 0.0]], ""), ShownInput(np.zeros((1, 2)), None, (), None, False))


def test_every_answer_has_a_picture_and_its_rows_in_the_table(
    network: Callable[..., Network], batch: Callable[..., Batch], tmp_path: Path
) -> None:
    words = ("<pad>", "<unk>", "a", "b", "c", "d", "e")
    given = batch("words")
    found = explain(network("words"), replace(TEXTS, vocabulary=words), given, tmp_path, ["one", "two", "three"])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.png", "three.png", "two.png"]
    table = found.table
    assert table.groupby("input", sort=False)["step"].agg(list).tolist() == [[1, 2, 3], list(range(1, 10)), [1, 2, 3, 4, 5]]
    read = [words[number] for number in given.inputs[0, :3].tolist()]
    assert table.loc[table["input"] == "one", "what"].tolist() == read
    assert set(table["unit"]) == {"nats"} and found.most_missed < 0.01


def test_several_forecasts_have_a_picture_each(network: Callable[..., Network], batch: Callable[..., Batch], tmp_path: Path) -> None:
    found = explain(network("real"), NUMBERS, batch("real", (2,)), tmp_path, ["now"])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["now_x.png", "now_y.png"]
    assert found.table["answer"].tolist() == ["x", "x", "y", "y"]  # features without names are added up
    assert isinstance(found.table, pd.DataFrame) and set(found.table["unit"]) == {"%"}
