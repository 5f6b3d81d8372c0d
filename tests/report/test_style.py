"""Groups look the same everywhere, and numbers are written as people read them."""

from dataclasses import replace

import pytest
from tests.report.example import comparison, summary

from rnnlab.report.comparison import Comparison, Group
from rnnlab.report.style import (
    COLOURS,
    Look,
    Scale,
    best_by_validation,
    count,
    duration,
    looks,
    num_runs,
    p_value,
    scale_of,
    shortened,
)
from rnnlab.tasks import Metric


def of_groups(*names: str, trials: tuple[str, ...] = ()) -> Comparison:
    groups = [Group(name, {}, [], is_baseline=name.startswith("base")) for name in names]
    summaries = {name: summary("gru") for name in names}
    return Comparison("s", "d", Metric("mse", "min", ""), groups, summaries, [], [], [], [], {}, {name: [] for name in trials})


def test_every_group_looks_different_even_past_the_sixth() -> None:
    found = looks(of_groups(*(f"model{place}" for place in range(13)), "base1", "base2"))
    assert len(set(found.values())) == 15
    assert [found[f"model{place}"].colour for place in range(6)] == list(COLOURS)
    assert found["base1"].colour not in COLOURS


def test_a_search_has_the_colour_of_the_group_that_is_named_after_it() -> None:
    found = looks(of_groups("gru lr=0.1", "lstm", trials=("lstm", "gru", "srnn")))
    assert found["gru"] == found["gru lr=0.1"]
    assert found["srnn"] not in (found["gru"], found["lstm"])


def test_a_faint_colour_is_the_same_colour() -> None:
    assert Look("#0072B2", "solid", "circle").faint(0.5) == "rgba(0,114,178,0.5)"


def test_shares_are_written_as_per_cent_and_their_differences_as_points() -> None:
    scale = scale_of(comparison(False))
    assert (scale.value(0.94331), scale.spread(0.9, 0.0123), scale.spread(0.9, None)) == ("94.33", "90.00 ± 1.23", "90.00")
    assert (scale.interval(0.9312, 0.9551), scale.gain(-0.0123), scale.gains(-0.01, 0.02)) == ("[93.1, 95.5]", "-1.23", "[-1.00, +2.00]")
    assert (scale.unit, scale.unit_of_gain) == ("%", "points")


@pytest.mark.parametrize(("mean", "places"), [(0.0, 3), (0.012345, 5), (0.95, 4), (34.5, 2), (1234.0, 0), (123456.0, 0), (1e-14, 9)])
def test_other_metrics_have_four_significant_digits_at_the_largest_mean(mean: float, places: int) -> None:
    of_mean = replace(of_groups("a", "b"), summaries={"a": replace(summary("gru"), mean=mean), "b": replace(summary("gru"), mean=mean / 3)})
    assert scale_of(of_mean).places == places


def test_what_rounds_to_nothing_has_no_sign() -> None:
    scale = Scale(100.0, 2, "%", "points")
    assert (scale.value(-0.00001), scale.gain(0.00001), scale.gain(-0.00001)) == ("0.00", "0.00", "0.00")


@pytest.mark.parametrize("nothing", [None, float("nan"), float("inf")])
def test_what_is_not_known_is_a_dash(nothing: float | None) -> None:
    scale = Scale(100.0, 2, "%", "points")
    assert {
        scale.value(nothing),
        scale.interval(nothing, None),
        scale.gain(nothing),
        count(nothing),
        duration(nothing),
        p_value(nothing),
    } == {"-"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (61.23, "61.2 s"), (119.9, "120 s"), (120, "2.0 min"), (7199, "120 min"), (7200, "2.0 h"), (259_200, "3.0 d")],
)
def test_times_are_in_the_unit_a_person_would_choose(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_have_thousands_apart() -> None:
    assert [count(value) for value in (38_282.0, 7.0, 7.25, 123.4)] == ["38,282", "7", "7.2", "123"]


def test_small_p_values_are_bounds() -> None:
    assert [p_value(p) for p in (0.00099, 0.001, 0.0512)] == ["< 0.001", "0.001", "0.051"]


def test_runs_that_are_missing_are_said() -> None:
    whole = summary("gru")
    assert num_runs(whole) == "3 x 2"
    assert num_runs(replace(whole, num_runs=5)) == "5 of 3 x 2"
    assert num_runs(replace(whole, num_runs=3, num_folds=1)) == "3"
    assert num_runs(replace(whole, num_runs=3, num_folds=0)) == "3"


def test_the_best_is_chosen_by_validation_in_the_direction_of_the_metric() -> None:
    values = {"a": 0.3, "b": None, "c": float("nan"), "d": 0.2}
    asked = replace(of_groups(*values), summaries={name: replace(summary("gru"), validation=value) for name, value in values.items()})
    assert best_by_validation(asked) == "d"
    assert best_by_validation(replace(asked, metric=Metric("accuracy", "max", "fraction"))) == "a"
    assert best_by_validation(replace(asked, summaries={"b": asked.summaries["b"]})) is None


def test_a_long_name_keeps_its_ends() -> None:
    assert shortened("gru lr=0.003", 12) == "gru lr=0.003"
    assert shortened("gru hidden_size=256 lr=0.003", 12) == "gru hid\N{HORIZONTAL ELLIPSIS}.003"


@pytest.mark.parametrize(
    ("metric", "means", "written"),
    [
        ("qlike", (2041.3, 0.2513, 0.2544), ["2041.300", "0.251", "0.254"]),  # one that diverged hides no others
        ("mse", (0.98, 1.02), ["0.980", "1.020"]),
        ("skill", (0.5, 0.000012), ["0.5000", "0.0000"]),  # near 0 only the difference matters
    ],
)
def test_one_extreme_group_leaves_the_others_their_digits(metric: str, means: tuple[float, ...], written: list[str]) -> None:
    names = "abc"[: len(means)]
    summaries = {name: replace(summary("gru"), mean=mean) for name, mean in zip(names, means, strict=True)}
    found = replace(of_groups(*names), metric=Metric.named(metric), summaries=summaries)
    assert [scale_of(found).value(mean) for mean in means] == written
