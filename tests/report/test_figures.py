"""Figures show the numbers that they should, in one colour a group, and text stays text."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from tests.report.example import comparison

from rnnlab.report import figures, search_figures
from rnnlab.report.comparison import Comparison, Group
from rnnlab.report.figures import differences, label, learning_curves, log_ticks, pareto_front, quality_against, spread, won_by_one
from rnnlab.report.static_figures import write_pictures
from rnnlab.report.style import looks
from rnnlab.tasks import Metric

DRAWERS = {
    "curves": learning_curves,
    "parameters": lambda found: quality_against(found, "num_parameters"),
    "seconds": lambda found: quality_against(found, "seconds"),
    "spread": spread,
    "differences": differences,
    "agreement": won_by_one,
    "history": search_figures.optimisation_history,
    "importance": search_figures.importance,
    "parallel": search_figures.parallel_coordinates,
}
Drawer = Callable[[Comparison], go.Figure | None]


def empty(found: Comparison) -> Comparison:
    groups = [Group(group.name, {}, []) for group in found.groups]
    summaries = {name: replace(s, num_parameters=None, seconds=None) for name, s in found.summaries.items()}
    return replace(found, groups=groups, summaries=summaries, verdicts=[], trials={})


def named(figure: go.Figure | None, name: str) -> list:
    assert figure is not None
    return [trace for trace in figure.data if trace.name == name]


@pytest.mark.parametrize("drawer", DRAWERS.values(), ids=DRAWERS)
def test_where_there_is_nothing_to_draw_there_is_no_figure(drawer: Drawer) -> None:
    assert drawer(empty(comparison(False))) is None


def texts(node: object) -> list[str]:
    """Return all texts of a figure that may be shown, at any depth."""
    if isinstance(node, dict):
        return [text for key, value in node.items() if key != "legendgroup" for text in texts(value)]
    if isinstance(node, list | tuple | np.ndarray):
        return [text for value in node for text in texts(value)]
    return [node] if isinstance(node, str) else []


@pytest.mark.parametrize("drawer", DRAWERS.values(), ids=DRAWERS)
def test_text_of_data_is_never_markup_of_plotly(drawer: Drawer) -> None:
    figure = drawer(comparison(True))
    assert figure is not None
    assert not [text for text in texts(figure.to_plotly_json()) if re.sub("</?b>|<br>", "", text).count("<")]


def test_a_group_has_one_colour_in_every_figure() -> None:
    found = comparison(False)
    wanted = looks(found)["lstm"].colour
    lines = [*named(learning_curves(found), "lstm"), *named(search_figures.optimisation_history(found), "lstm")]
    marks = [*named(quality_against(found, "seconds"), "lstm"), *named(search_figures.importance(found), "lstm")]
    assert [line.line.color for line in lines] == [wanted] * 3
    assert [mark.marker.color for mark in marks] == [wanted] * 2


def test_curves_are_in_per_cent_and_the_loss_is_a_switch_away() -> None:
    figure = learning_curves(comparison(False))
    curve, loss = named(figure, "gru")
    values = np.mean([[value for _, value in run.curves["val/accuracy"]] for run in comparison(False).groups[0].runs], axis=0)
    assert np.allclose(curve.y, 100 * values)
    assert (curve.visible, loss.visible) == (True, False)
    assert figure is not None
    labels = [button.label for button in figure.layout.updatemenus[0].buttons]
    assert labels == ["validation accuracy (%)", "validation loss"]
    shown = figure.layout.updatemenus[0].buttons[1].args[0]["visible"]
    assert [trace for trace, is_shown in zip(figure.data, shown, strict=True) if is_shown and trace.name == "gru"] == [loss]


def test_one_run_has_no_band() -> None:
    found = comparison(False)
    groups = [replace(found.groups[0], runs=found.groups[0].runs[:1])]
    figure = learning_curves(replace(found, groups=groups))
    assert figure is not None
    assert [trace.fill for trace in figure.data] == [None, None]


def test_the_front_holds_what_nothing_cheaper_matches() -> None:
    points = {"dear": (9.0, 0.9), "cheap": (1.0, 0.5), "beaten": (5.0, 0.7), "good": (4.0, 0.8), "equal": (6.0, 0.8)}
    assert pareto_front(points, is_max=True) == ["cheap", "good", "dear"]
    assert pareto_front(points, is_max=False) == ["cheap"]
    assert pareto_front({"a": (1.0, 0.5), "b": (1.0, 0.6)}, is_max=True) == ["b"]


def test_intervals_reach_from_low_to_high() -> None:
    (point,) = named(quality_against(comparison(False), "seconds"), "gru")
    assert (list(point.x), list(point.y)) == ([61.2], [94.33])
    assert point.y[0] + point.error_y.array[0] == pytest.approx(95.53)
    assert point.y[0] - point.error_y.arrayminus[0] == pytest.approx(93.13)


def test_a_method_without_parameters_is_a_level_line() -> None:
    found = comparison(False)
    free = replace(found.summaries["linear"], num_parameters=0.0)
    figure = quality_against(replace(found, summaries=found.summaries | {"linear": free}), "num_parameters")
    assert named(figure, "linear") == []
    assert figure is not None
    assert [(shape.name, shape.y0) for shape in figure.layout.shapes] == [("linear (level)", pytest.approx(80.44))]


@pytest.mark.parametrize(
    ("ends", "ticks"), [((3.0, 40.0), [2, 5, 10, 20, 50]), ((12_000, 18_000), [10_000, 20_000]), ((1, 5000), [1, 10, 100, 1000, 10_000])]
)
def test_ticks_of_a_logarithmic_axis_are_round(ends: tuple[float, float], ticks: list[float]) -> None:
    assert log_ticks(*ends) == pytest.approx(ticks)


def test_every_run_is_a_dot_with_its_fold_as_a_symbol() -> None:
    figure = spread(comparison(False))
    assert figure is not None
    dots = figure.data[0]
    assert sorted(dots.x) == pytest.approx(sorted(100 * run.metrics["test/accuracy"] for run in comparison(False).groups[0].runs))
    assert list(dots.marker.symbol) == ["circle"] * 3 + ["diamond"] * 3
    assert len({*dots.y}) == 6
    assert [trace.name for trace in figure.data if trace.name] == ["fold east", "fold west"]


def test_differences_keep_their_order_and_colour_tells_what_is_shown() -> None:
    figure = differences(comparison(False))
    (shown,), (unsure,) = named(figure, "shown (corrected p below 0.05)"), named(figure, "not shown")
    assert (list(unsure.x), list(unsure.y)) == ([pytest.approx(0.42)], [0])
    assert list(shown.y) == [-1, -2, -3, -4, -5]
    assert shown.error_x.arrayminus[0] == pytest.approx(1.1)
    assert shown.marker.color != unsure.marker.color


def test_a_gain_without_an_interval_is_a_bare_dot() -> None:
    found = comparison(False)
    figure = differences(replace(found, verdicts=[replace(found.verdicts[0], low=None, high=None)]))
    assert figure is not None
    (dot,) = figure.data
    assert (list(dot.error_x.array), list(dot.error_x.arrayminus)) == ([0.0], [0.0])


def test_agreement_writes_every_share_but_the_diagonal() -> None:
    figure = won_by_one(comparison(False))
    assert figure is not None
    shares = np.array(figure.data[0].z, dtype=float)
    assert [a.text for a in figure.layout.annotations] == [f"{share:.1f}" for share in shares.ravel() if np.isfinite(share)]
    assert len(figure.layout.annotations) == 4 * 3


def test_a_label_is_short_and_plain() -> None:
    assert label("<b>&") == "&lt;b&gt;&amp;"
    assert len(label("x" * 99)) == figures.LONGEST_LABEL


def test_a_metric_with_a_unit_is_drawn_as_it_is() -> None:
    found = replace(comparison(False), metric=Metric("accuracy", "min", "km"))
    figure = quality_against(found, "seconds")
    (point,) = named(figure, "gru")
    assert list(point.y) == [0.9433]
    assert figure is not None
    assert figure.layout.yaxis.title.text == "test accuracy (km)"


@pytest.mark.parametrize(("sizes", "is_drawn"), [((10_000.0, 10_100.0), False), ((10_000.0, 10_500.0), True)])
def test_groups_of_one_size_have_no_axis_of_sizes(sizes: tuple[float, float], is_drawn: bool, tmp_path: Path) -> None:
    found = comparison(False)
    summaries = {
        name: replace(summary, num_parameters=sizes[place % 2] if summary.num_parameters else None)
        for place, (name, summary) in enumerate(found.summaries.items())
    }
    alike = replace(found, summaries=summaries)
    assert (quality_against(alike, "num_parameters") is not None) == is_drawn
    assert ("quality_against_parameters.png" in write_pictures(alike, tmp_path)) == is_drawn
