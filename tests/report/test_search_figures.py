"""Searches: which settings mattered, and how trials are drawn."""

import warnings
from dataclasses import replace

import numpy as np
import optuna
import pytest
from tests.report.example import comparison

from rnnlab.report.comparison import Comparison, Trial
from rnnlab.report.search_figures import axis_of, importance, importances, last_parts, optimisation_history, parallel_coordinates
from rnnlab.tasks import Metric
from rnnlab.tasks.metrics import Direction


def trials(values: list[float | None], **settings: list) -> list[Trial]:
    return [
        Trial(number, "failed" if value is None else "complete", value, {key: found[number] for key, found in settings.items()}, [])
        for number, value in enumerate(values)
    ]


def of_trials(found: list[Trial], direction: Direction = "max") -> Comparison:
    metric = Metric("accuracy", direction, "fraction")
    return replace(comparison(False), metric=metric, trials={"gru": found})


def test_what_decides_the_value_is_what_matters() -> None:
    random = np.random.default_rng(1)
    rates, sizes = random.uniform(1e-4, 1e-1, 30).tolist(), random.integers(8, 64, 30).tolist()
    words = random.choice(["last", "mean"], 30).tolist()
    found = importances(trials([rate * 5 for rate in rates], lr=rates, size=sizes, pooling=words), is_max=True)
    assert next(iter(found)) == "lr"
    assert found["lr"] > 0.9
    assert sum(found.values()) == pytest.approx(1)


def test_a_setting_that_is_the_same_everywhere_or_missing_somewhere_is_left_out() -> None:
    values: list[float | None] = [float(number) for number in range(9)]
    found = trials(values, size=list(range(9)), kind=["a"] * 9, sometimes=list(range(9)))
    del found[3].settings["sometimes"]
    assert list(importances(found, is_max=False)) == ["size"]


@pytest.mark.parametrize(
    "found",
    [
        [],
        trials([0.1] * 7, size=list(range(7))),
        trials([0.5] * 9, size=list(range(9))),
        trials([None] * 9, size=list(range(9))),
        trials([float(number) for number in range(9)], size=[3] * 9),
    ],
)
def test_too_few_or_equal_trials_say_nothing(found: list[Trial]) -> None:
    assert importances(found, is_max=True) == {}
    assert importance(of_trials(found)) is None


def test_importance_leaves_the_library_as_loud_as_it_was() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        importances(trials([float(number) for number in range(9)], size=list(range(9))), is_max=True)
        assert optuna.logging.get_verbosity() == optuna.logging.ERROR
    finally:
        optuna.logging.set_verbosity(optuna.logging.INFO)


@pytest.mark.parametrize(("direction", "best"), [("max", [10.0, 30.0, 30.0]), ("min", [10.0, 10.0, 5.0])])
def test_the_best_so_far_ignores_what_did_not_end(direction: Direction, best: list[float]) -> None:
    found = trials([0.1, 0.3, 0.05, None], size=[1, 2, 3, 4])
    found.append(Trial(4, "pruned", 0.9, {}, []))
    figure = optimisation_history(of_trials(found, direction))
    assert figure is not None
    dots, line = figure.data
    assert list(dots.x) == [0, 1, 2, 4]
    assert list(line.y) == pytest.approx(best)


def test_without_a_value_there_is_no_history() -> None:
    assert optimisation_history(of_trials([])) is None
    assert optimisation_history(of_trials(trials([None], size=[1]))) is None


def test_axes_lay_out_words_evenly_and_rates_by_their_logarithm() -> None:
    assert axis_of("pooling", ["b", "a", "c"]).places.tolist() == [0.5, 0.0, 1.0]
    assert axis_of("lr", [1e-4, 1e-3, 1e-2]).places == pytest.approx([0, 0.5, 1])
    assert axis_of("dropout", [0.05, 0.3, 0.55]).places == pytest.approx([0, 0.5, 1])
    marks = axis_of("size", [32, 64, 128]).marks
    assert (list(marks), list(marks.values())) == (pytest.approx([0, 1 / 3, 1]), ["32", "64", "128"])
    assert axis_of("is_causal", [True, False]).places.tolist() == [1.0, 0.0]


def test_parallel_lines_end_with_the_best_on_top_whatever_the_direction() -> None:
    found = trials([0.1, 0.3, 0.2], size=[1, 2, 3])
    cases: tuple[tuple[Direction, float], ...] = (("max", 0.5), ("min", 0.0))
    for direction, size in cases:
        figure = parallel_coordinates(of_trials(found, direction))
        assert figure is not None
        best = figure.data[-1]
        assert (best.y[0], best.y[-1], best.line.width) == (size, 1.0, 4.0)


def test_several_searches_have_a_switch_that_shows_one_at_a_time() -> None:
    figure = parallel_coordinates(comparison(False))
    assert figure is not None
    (menu,) = figure.layout.updatemenus
    assert [button.label for button in menu.buttons] == ["gru", "lstm"]
    first, second = (button.args[0]["visible"] for button in menu.buttons)
    assert [a + b for a, b in zip(first, second, strict=True)] == [1] * len(figure.data)
    assert [trace.visible for trace in figure.data] == first


def test_with_nothing_that_differs_there_are_no_lines() -> None:
    assert parallel_coordinates(of_trials([])) is None
    assert parallel_coordinates(of_trials(trials([0.1, 0.2], size=[3, 3]))) is None


def test_names_of_settings_are_short_where_they_stay_apart() -> None:
    assert last_parts(["model.hidden_size", "optimizer.lr", "a.x", "b.x"]) == ["hidden_size", "lr", "a.x", "b.x"]


def test_nothing_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert importance(comparison(True)) is not None
