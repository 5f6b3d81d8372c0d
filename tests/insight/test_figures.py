"""Every picture is drawn for whatever a run can have, and shows the numbers that it should."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from statsmodels.stats.proportion import proportion_confint

from rnnlab.insight import figures

LEVELS = (0.1, 0.5, 0.9)
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Figure]:
    """Draw a picture and return its figure; the file must be a PNG."""
    figures: list[Figure] = []
    save = Figure.savefig

    def remember(self: Figure, file: Path, dpi: int) -> None:
        figures.append(self)
        save(self, file, dpi=dpi)

    monkeypatch.setattr(Figure, "savefig", remember)

    def draw(picture: Callable[..., None], *arguments: object) -> Figure:
        picture(*arguments, tmp_path / "picture.png")
        assert (tmp_path / "picture.png").read_bytes().startswith(PNG)
        return figures[-1]

    return draw


def classes(targets: str, predictions: str, confidences: list[float] | None = None, num_steps: list[int] | None = None) -> pd.DataFrame:
    count = len(targets)
    return pd.DataFrame(
        {
            "target": list(targets),
            "prediction": list(predictions),
            "confidence": confidences or [0.9] * count,
            "num_steps": num_steps or list(range(1, count + 1)),
        }
    )


def forecasts(groups: str, has_date: bool = True, has_quantiles: bool = False) -> pd.DataFrame:
    random = np.random.default_rng(0)
    count = len(groups)
    table = pd.DataFrame({"group": list(groups), "target/x": random.normal(size=count), "prediction/x": random.normal(size=count) / 2})
    table["persistence/x"] = 0.1
    if has_date:
        table["date"] = pd.date_range("2020-01-01", periods=count)[::-1]
    if has_quantiles:
        table = table.assign(**{f"quantile/x/{level:g}": table["prediction/x"] + level - 0.5 for level in LEVELS})
    return table


def lines(axes: Axes) -> dict[str, tuple[list[float], list[float]]]:
    return {str(line.get_label()): (list(np.asarray(line.get_xdata())), list(np.asarray(line.get_ydata()))) for line in axes.get_lines()}


def rectangles(axes: Axes) -> list[Rectangle]:
    """Return the bars of a panel."""
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


@pytest.mark.parametrize("history", [{}, {"train/loss": [(1, 2.0), (2, 1.0)], "val/loss": [(2, 1.5)], "val/accuracy": [(2, 0.5)]}])
def test_a_learning_curve_shows_losses_and_the_chosen_metric_as_far_as_there_are_any(
    history: dict[str, list[tuple[int, float]]], drawn: Callable[..., Figure], tmp_path: Path
) -> None:
    left, right = drawn(figures.learning_curve, history, "accuracy").axes
    for axes, name in ((left, "train/loss"), (left, "val/loss"), (right, "val/accuracy")):
        assert list(zip(*lines(axes)[name], strict=True)) == history.get(name, [])


def test_a_confusion_matrix_has_true_labels_as_rows(drawn: Callable[..., Figure]) -> None:
    figure = drawn(figures.confusion_matrix, classes("aaab", "aabb"), ("a", "b", "never"))
    (image,) = figure.axes[0].get_images()
    assert np.asarray(image.get_array()) == pytest.approx(np.array([[2 / 3, 1 / 3, 0], [0, 1, 0], [0, 0, 0]]))
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["1", "1", "2"]


def test_reliability_shows_accuracy_against_mean_confidence_of_each_bin_that_is_used(drawn: Callable[..., Figure]) -> None:
    table = classes("aaaa", "abaa", [0.52, 0.58, 0.93, 1.0])
    top, bottom = drawn(lambda table, file: figures.reliability(table, file, num_bins=5), table).axes
    means, shares = list(lines(top).values())[1]
    assert means == pytest.approx([0.55, 0.965])
    assert shares == pytest.approx([0.5, 1.0])
    assert [bar.get_height() for bar in rectangles(bottom)] == [0, 0, 2, 0, 2]


def test_accuracy_by_length_counts_every_example_once_and_shows_wilsons_interval(drawn: Callable[..., Figure]) -> None:
    table = classes("a" * 12, "b" * 3 + "a" * 9, None, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 40])
    (axes,) = drawn(lambda table, file: figures.accuracy_by_length(table, file, num_bins=3), table).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1-2\n4", "3-4\n4", "5-40\n4"]
    bars = axes.containers[0]
    assert list(bars[0].get_ydata()) == [0.25, 1, 1]
    ends = [[low[1], high[1]] for low, high in bars[2][0].get_segments()]
    assert ends[0] == pytest.approx(list(proportion_confint(1, 4, method="wilson")), abs=1e-9)


def test_error_rates_by_length_are_those_of_each_group_s_words_together(drawn: Callable[..., Figure]) -> None:
    table = pd.DataFrame({"num_steps": [4, 1, 3, 2], "word_errors": [0, 0, 3, 1], "num_words": [2, 1, 4, 3]})
    (axes,) = drawn(lambda table, file: figures.score_by_length(table, file, 2), table).axes
    np.testing.assert_allclose(np.asarray(axes.lines[0].get_ydata(), float), [1 / 4, 3 / 6])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1-2\n2", "3-4\n2"]
    assert axes.get_ylabel() == "word error rate"


@pytest.mark.parametrize(
    ("columns", "name", "mean"),
    [
        ({"phone_errors": [1, 2], "num_phones": [4, 4], "word_errors": [1, 1], "num_words": [1, 1]}, "phone error rate", 3 / 8),
        ({"chrf": [40.0, 60.0]}, "chrF2, mean over sentences", 50),
        ({"chrf": [40.0, 60.0], "rougeL": [0.25, 0.5]}, "ROUGE-L, mean over examples", 0.375),
    ],
)
def test_each_goal_s_own_score_is_drawn(columns: dict[str, list[float]], name: str, mean: float, drawn: Callable[..., Figure]) -> None:
    (axes,) = drawn(figures.score_by_length, pd.DataFrame({"num_steps": [5, 5], **columns})).axes
    np.testing.assert_allclose(np.asarray(axes.lines[0].get_ydata(), float), [mean])
    assert axes.get_ylabel() == name
    assert [label.get_text() for label in axes.get_xticklabels()] == ["5\n2"]


def test_a_table_that_was_not_scored_as_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the table has none of phone_errors, word_errors, rougeL, chrf: it was not scored as text"):
        figures.score_by_length(pd.DataFrame({"num_steps": [1, 2]}), tmp_path / "lengths.png")


@pytest.mark.parametrize("has_date", [False, True])
@pytest.mark.parametrize("has_quantiles", [False, True])
def test_forecasts_are_drawn_in_order_of_time_for_the_first_groups(
    has_date: bool, has_quantiles: bool, drawn: Callable[..., Figure]
) -> None:
    table = forecasts("abab" * 10 + "cdefgh", has_date, has_quantiles)
    quantiles = LEVELS if has_quantiles else ()
    figure = drawn(figures.forecasts, table, "x", quantiles, "%")
    assert len(figure.axes) == 4
    part = table[table["group"] == "a"].sort_values("date") if has_date else table[table["group"] == "a"]
    found = lines(figure.axes[0])
    assert found["truth"][1] == part["target/x"].tolist() and found["forecast"][1] == part["prediction/x"].tolist()
    assert len(figure.axes[0].collections) == has_quantiles
    assert figure.axes[0].get_ylabel() == "a\nx (%)"


def test_of_a_long_series_the_last_part_is_drawn(drawn: Callable[..., Figure]) -> None:
    table = forecasts("a" * 700)
    (axes,) = drawn(figures.forecasts, table, "x", (), "").axes
    assert lines(axes)["truth"][1] == table.sort_values("date")["target/x"].tolist()[-500:]


def test_skill_of_each_group_is_the_share_of_persistences_error_saved(drawn: Callable[..., Figure]) -> None:
    table = pd.DataFrame(
        {"group": list("aabb"), "target/x": [0.0, 0, 1, 1], "prediction/x": [1.0, 1, 1, 1], "persistence/x": [2.0, 0, 3, 1]}
    )
    (axes,) = drawn(figures.skill_by_group, table, "x").axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    widths = [bar.get_width() for bar in rectangles(axes)]
    assert dict(zip(names, widths, strict=True)) == {"a": pytest.approx(1 - 2 / 4), "b": pytest.approx(1)}


def test_where_persistence_is_unknown_no_skill_is_drawn(tmp_path: Path) -> None:
    figures.skill_by_group(forecasts("ab").drop(columns="persistence/x"), "x", tmp_path / "skill.png")
    assert not list(tmp_path.iterdir())


def test_calibration_of_quantiles_is_the_share_of_truth_below_each(drawn: Callable[..., Figure]) -> None:
    table = pd.DataFrame({"target/x": [0.0, 1, 2, 3], "prediction/x": [1.5] * 4})
    table = table.assign(**{f"quantile/x/{level:g}": edge for level, edge in zip(LEVELS, (0.0, 1.5, 2.5), strict=True)})
    (axes,) = drawn(figures.forecast_calibration, table, "x", LEVELS, "").axes
    levels, shares = list(lines(axes).values())[1]
    assert levels == list(LEVELS)
    assert shares == [0.25, 0.5, 0.75]


def test_calibration_of_points_is_mean_truth_in_tenths_of_the_forecast(drawn: Callable[..., Figure]) -> None:
    table = pd.DataFrame({"prediction/x": np.arange(100.0), "target/x": 2 * np.arange(100.0)})
    (axes,) = drawn(figures.forecast_calibration, table, "x", (), "%").axes
    means, truths = list(lines(axes).values())[1]
    assert means == pytest.approx([4.5 + 10 * tenth for tenth in range(10)])
    assert truths == pytest.approx([9 + 20 * tenth for tenth in range(10)])
    assert axes.get_xlabel() == "mean forecast of a tenth (%)"


def test_calibration_of_a_forecast_that_is_always_the_same_is_one_point(drawn: Callable[..., Figure]) -> None:
    table = pd.DataFrame({"prediction/x": [0.5] * 10, "target/x": np.arange(10.0)})
    (axes,) = drawn(figures.forecast_calibration, table, "x", (), "%").axes
    means, truths = list(lines(axes).values())[1]
    assert (means, truths) == ([0.5], [4.5])
