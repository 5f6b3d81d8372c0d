"""Figures of searches: how the best improved, which settings mattered, and what good trials have in common."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
import plotly.graph_objects as go
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances

from rnnlab.report.comparison import Comparison, Trial
from rnnlab.report.figures import GREY, blank, label, plain, rows, switch
from rnnlab.report.style import in_unit, looks, scale_of

FEWEST_TRIALS = 8  # an importance of fewer says nothing
NUM_TREES = 32  # half of the library's own: 200 trials of 8 settings take 5 seconds
MOST_LINES = 60
LOG_RATIO = 10.0  # a setting that spans less than this is never on a logarithmic scale
FAR, NEAR = (138, 138, 138, 0.25), (213, 94, 0, 0.95)  # colour and opacity of the worst and the best line: they read on light and on dark
STATES = {"complete": "circle", "pruned": "triangle-down-open", "failed": "x-open", "running": "circle-open-dot"}

SettingValue = float | int | str


def complete(trials: list[Trial]) -> list[Trial]:
    """Return the trials that ran to their end and have a finite value."""
    return [trial for trial in trials if trial.state == "complete" and trial.value is not None and math.isfinite(trial.value)]


def shared_settings(trials: list[Trial]) -> list[str]:
    """Return the settings that every trial has and that differ between them."""
    keys = [key for key in (trials[0].settings if trials else {}) if all(key in trial.settings for trial in trials)]
    return [key for key in keys if len({trial.settings[key] for trial in trials}) > 1]


def optimisation_history(comparison: Comparison) -> go.Figure | None:
    """Draw the value of every trial and the best so far, by search."""
    scale, styles = scale_of(comparison), looks(comparison)
    figure = blank(420)
    for name, trials in comparison.trials.items():
        look = styles[name]
        valued = [trial for trial in trials if trial.value is not None and math.isfinite(trial.value)]
        done = complete(trials)
        marker = {
            "color": look.faint(0.75),
            "symbol": [STATES.get(t.state, "circle-open") for t in valued],
            "size": 8,
            "line": {"color": look.colour},
        }
        texts = [_described(name, trial, scale.value(trial.value)) for trial in valued]
        x, y = [trial.number for trial in valued], [scale.factor * (trial.value or 0.0) for trial in valued]
        figure.add_scatter(x=x, y=y, mode="markers", marker=marker, legendgroup=name, showlegend=False, hovertext=texts, hoverinfo="text")
        if done:
            best = np.fmax if comparison.metric.direction == "max" else np.fmin
            values = scale.factor * best.accumulate(np.array([trial.value for trial in done], dtype=float))
            line = {"color": look.colour, "width": 2.2, "shape": "hv", "dash": look.dash}
            numbers = [trial.number for trial in done]
            figure.add_scatter(x=numbers, y=values, mode="lines", line=line, name=label(name), legendgroup=name, hoverinfo="skip")
    if not any(len(trace.x) for trace in figure.data):
        return None
    title = plain(in_unit(f"validation {comparison.metric.name}", scale.unit))
    return figure.update_layout(xaxis_title_text="trial", yaxis_title_text=title)


def _described(search: str, trial: Trial, value: str) -> str:
    settings = "".join(f"<br>{plain(key)} = {plain(_short(value))}" for key, value in trial.settings.items())
    return f"<b>{plain(search)}</b>, trial {trial.number} ({plain(trial.state)}): {value}{settings}"


def _short(value: SettingValue) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def importance(comparison: Comparison) -> go.Figure | None:
    """Draw which fraction of the variance over a search's trials each setting explains (fANOVA: Hutter, Hoos & Leyton-Brown 2014)."""
    styles = looks(comparison)
    found = {name: importances(trials, comparison.metric.direction == "max") for name, trials in comparison.trials.items()}
    found = {name: fractions for name, fractions in found.items() if fractions}
    if not found:
        return None
    means = {key: np.mean([fractions.get(key, 0.0) for fractions in found.values()]) for fractions in found.values() for key in fractions}
    keys = sorted(means, key=lambda key: -means[key])
    figure = blank(110 + (18 + 16 * len(found)) * len(keys))
    height = 0.8 / len(found)
    for place, (name, fractions) in enumerate(found.items()):
        chosen = [key for key in keys if key in fractions]
        y = [-keys.index(key) + 0.4 - (place + 0.5) * height for key in chosen]
        texts = [f"<b>{plain(key)}</b> of {plain(name)}: {100 * fractions[key]:.0f} % of what differs between trials" for key in chosen]
        figure.add_bar(
            x=[100 * fractions[key] for key in chosen],
            y=y,
            **{"orientation": "h", "width": 0.85 * height, "name": label(name), "marker": {"color": styles[name].colour}},
            **{"hovertext": texts, "hoverinfo": "text", "showlegend": True},
        )
    figure.update_xaxes(title_text="share of the variance between trials (%)", rangemode="tozero")
    return rows(figure, [label(key) for key in last_parts(keys)])


def last_parts(keys: list[str]) -> list[str]:
    """Return what stands after the last dot of each key, the whole key where that would be told of two."""
    parts = [key.rpartition(".")[2] for key in keys]
    return [part if parts.count(part) == 1 else key for part, key in zip(parts, keys, strict=True)]


def importances(trials: list[Trial], is_max: bool) -> dict[str, float]:
    """Return the fraction of the variance between complete trials that each setting explains, by fANOVA on random trees (32, seed 0).

    The largest comes first; there is none with fewer than 8 complete trials, or where nothing differs.
    """
    done = complete(trials)
    keys = shared_settings(done)
    if len(done) < FEWEST_TRIALS or not keys or len({trial.value for trial in done}) == 1:
        return {}
    distributions = {key: _distribution([trial.settings[key] for trial in done]) for key in keys}
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would announce the study
    try:
        study = optuna.create_study(direction="maximize" if is_max else "minimize")
        for trial in done:
            params = {key: _as_param(trial.settings[key], distributions[key]) for key in keys}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=trial.value))
        found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(n_trees=NUM_TREES, seed=0))
    finally:
        optuna.logging.set_verbosity(level)
    return {key: float(fraction) for key, fraction in found.items()}


def _distribution(values: Sequence[SettingValue]) -> BaseDistribution:
    numbers = [value for value in values if not isinstance(value, str)]
    if len(numbers) < len(values) or any(isinstance(value, bool) for value in values):
        return CategoricalDistribution(sorted({str(value) for value in values}))
    low, high = min(numbers), max(numbers)
    if all(isinstance(value, int) for value in numbers):
        return IntDistribution(int(low), int(high), log=_is_log(numbers))
    return FloatDistribution(float(low), float(high), log=_is_log(numbers))


def _as_param(value: SettingValue, distribution: BaseDistribution) -> SettingValue:
    return str(value) if isinstance(distribution, CategoricalDistribution) else value


def _is_log(numbers: Sequence[float | int]) -> bool:
    """Tell whether numbers seem drawn by their logarithm: they span a factor of 10, and their median is nearer to that scale's middle."""
    low, median, high = min(numbers), float(np.median(numbers)), max(numbers)
    if low <= 0 or high < LOG_RATIO * low:
        return False
    return abs(math.log(median / low) / math.log(high / low) - 0.5) < abs((median - low) / (high - low) - 0.5)


@dataclass(frozen=True)
class Axis:
    """One axis of parallel coordinates: of each trial its place from 0 to 1, (T,), and marks, place to text."""

    name: str
    places: np.ndarray
    marks: dict[float, str]


def axis_of(name: str, values: Sequence[SettingValue]) -> Axis:
    """Put values of a setting on an axis from 0 to 1: words evenly, numbers by value, or by logarithm where they were drawn so."""
    numbers = [value for value in values if not isinstance(value, str)]
    if len(numbers) < len(values):
        words = sorted({str(value) for value in values})
        marks = {place / max(len(words) - 1, 1): word for place, word in enumerate(words)}
        by_word = {word: place for place, word in marks.items()}
        return Axis(name, np.array([by_word[str(value)] for value in values]), marks)
    raw = np.array(numbers, dtype=float)
    scaled = np.log(raw) if _is_log(numbers) else raw
    low, width = scaled.min(), max(scaled.max() - scaled.min(), 1e-12)
    distinct = np.unique(raw)
    ticks = distinct if len(distinct) <= 5 else np.array([raw.min(), raw.max()])
    at = np.log(ticks) if _is_log(numbers) else ticks
    return Axis(name, (scaled - low) / width, {float((place - low) / width): f"{tick:.3g}" for place, tick in zip(at, ticks, strict=True)})


def _best_on_top(axis: Axis, is_max: bool) -> Axis:
    return axis if is_max else Axis(axis.name, 1 - axis.places, {1 - place: text for place, text in axis.marks.items()})


def parallel_coordinates(comparison: Comparison) -> go.Figure | None:
    """Draw each complete trial as a line through its settings to its value, coloured by the value; one search at a time.

    Plotly's own trace of this kind needs WebGL and shows nothing on hover; these are plain lines.
    """
    figure, owners, layouts = blank(440), list[str](), dict[str, dict[str, object]]()
    for name, trials in comparison.trials.items():
        done = complete(trials)
        keys = shared_settings(done)
        if len(done) > 1 and keys:
            layouts[name] = _add_lines(figure, comparison, name, done, keys)
            owners += [name] * (len(figure.data) - len(owners))
    if not layouts:
        return None
    menu = switch(figure, owners, {name: (label(name), layout) for name, layout in layouts.items()})
    figure.update_layout(margin={"l": 30, "r": 16, "t": 12, "b": 60}, updatemenus=menu, **next(iter(layouts.values())))
    figure.update_xaxes(showgrid=True, fixedrange=True, ticks="")
    return figure.update_yaxes(visible=False, range=[-0.1, 1.08], fixedrange=True)


def _add_lines(figure: go.Figure, comparison: Comparison, name: str, trials: list[Trial], keys: list[str]) -> dict[str, object]:
    """Add the lines of a search, the best last and thus on top; return what the layout needs to show them."""
    scale, is_max = scale_of(comparison), comparison.metric.direction == "max"
    ranked = sorted(trials, key=lambda trial: (trial.value or 0.0) * (1 if is_max else -1))[-MOST_LINES:]
    values = [scale.factor * (trial.value or 0.0) for trial in ranked]
    axes = [axis_of(key, [trial.settings[key] for trial in ranked]) for key in keys] + [_best_on_top(axis_of("", values), is_max)]
    colours_TC = np.linspace(FAR, NEAR, len(ranked))
    for place, (trial, (red, green, blue, opacity)) in enumerate(zip(ranked, colours_TC, strict=True)):
        colour = f"rgba({red:.0f},{green:.0f},{blue:.0f},{opacity:.2f})"
        line = {"color": colour, "width": 4.0 if place == len(ranked) - 1 else 1.6}
        text = _described(name, trial, scale.value(trial.value))
        figure.add_scatter(
            x=list(range(len(axes))),
            y=[axis.places[place] for axis in axes],
            **{"mode": "lines+markers", "line": line, "marker": {"size": 4}, "hovertext": text, "hoverinfo": "text", "showlegend": False},
        )
    marks = [
        {"x": x, "y": y, "text": label(text, 12), "showarrow": False, "xanchor": "left", "xshift": 5, "font": {"size": 11}}
        for x, axis in enumerate(axes)
        for y, text in axis.marks.items()
    ]
    ticks = {
        "xaxis.tickvals": list(range(len(axes))),
        "xaxis.ticktext": [label(name, 16) for name in (*last_parts(keys), comparison.metric.name)],
    }
    return {"annotations": marks, **ticks, "xaxis.range": [-0.15, len(axes) - 0.55], "xaxis.gridcolor": GREY}
