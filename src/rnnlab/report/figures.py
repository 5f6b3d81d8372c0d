"""Figures of a comparison for the page, by plotly: learning curves, quality against cost, spread over runs, differences, agreement.

Text from data is escaped, as plotly reads some HTML in labels. Nothing here chooses the colour of text or grid: the page does, light or
dark.
"""

from collections.abc import Mapping
from html import escape
from math import floor, log10
from typing import Literal

import numpy as np
import plotly.graph_objects as go

from rnnlab.report.agreement import rights, won_alone
from rnnlab.report.comparison import Comparison, Group, Summary, Verdict
from rnnlab.report.curves import Curves, curves, thinned
from rnnlab.report.style import Look, Scale, count, duration, in_unit, looks, p_value, scale_of, shortened, wish

GREY = "#8A8A8A"  # reads on light and on dark
SHOWN = "#0072B2"
LONGEST_LABEL = 22
ALIKE = 0.02  # of a cost
MOST_THIN_POINTS = 2000  # of all runs of a group
COSTS = {"num_parameters": "parameters", "seconds": "training time (s)"}


def plain(text: str) -> str:
    """Make text mean itself where plotly reads HTML."""
    return escape(text, quote=False)


def label(text: str, longest: int = LONGEST_LABEL) -> str:
    """Return a name as short as a label must be; the full one is shown on hover."""
    return plain(shortened(text, longest))


def blank(height_px: int) -> go.Figure:
    """Return an empty figure in the report's style; its width is the page's."""
    axis = {"automargin": True, "zeroline": False, "ticks": "outside", "ticklen": 4, "title": {"font": {"size": 13}, "standoff": 10}}
    return go.Figure(
        layout={
            "template": "none",
            "height": height_px,
            "margin": {"l": 56, "r": 12, "t": 16, "b": 52},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "hovermode": "closest",
            "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.01, "x": 0, "xanchor": "left"},
            "xaxis": axis,
            "yaxis": axis,
        }
    )


def learning_curves(comparison: Comparison) -> go.Figure | None:
    """Draw mean and ±1 standard deviation over runs, by optimizer step: the metric on validation, or the loss; each run is a thin line."""
    metric, scale, styles = comparison.metric, scale_of(comparison), looks(comparison)
    title = plain(in_unit(f"validation {metric.name}", scale.unit))
    wanted = {f"val/{metric.name}": (title, scale.factor), "val/loss": ("validation loss", 1.0)}
    figure, owners = blank(440), list[str]()
    for name, (_, factor) in wanted.items():
        for group in comparison.groups:
            found = curves(group.runs, name)
            if found is not None:
                _add_curves(figure, group.name, found, styles[group.name], factor)
                owners += [name] * (len(figure.data) - len(owners))
    drawn = [name for name in wanted if name in owners]
    if not drawn:
        return None
    menu = switch(figure, owners, {name: (wanted[name][0], {"yaxis.title.text": wanted[name][0]}) for name in drawn})
    return figure.update_layout(xaxis_title_text="optimizer step", yaxis_title_text=wanted[drawn[0]][0], updatemenus=menu)


def switch(figure: go.Figure, owners: list[str], choices: Mapping[str, tuple[str, Mapping[str, object]]]) -> list[dict]:
    """Show the first choice's traces; return plotly's menu of all, owner to (label, layout), none where there is no choice."""
    for trace, owner in zip(figure.data, owners, strict=True):
        trace.visible = owner == next(iter(choices))
    buttons = [
        {"label": text, "method": "update", "args": [{"visible": [owner == name for owner in owners]}, layout]}
        for name, (text, layout) in choices.items()
    ]
    return [{"type": "buttons", "direction": "right", "x": 0, "xanchor": "left", "y": 1.15, "buttons": buttons}] if len(buttons) > 1 else []


def _add_curves(figure: go.Figure, name: str, found: Curves, look: Look, factor: float) -> None:
    mean, std = factor * found.mean, factor * found.std
    shared = {"legendgroup": name, "mode": "lines", "hoverinfo": "skip", "showlegend": False}
    if len(found.runs) > 1:
        each = max(MOST_THIN_POINTS // len(found.runs), 20)
        runs = [(thinned(steps, each), thinned(factor * values, each)) for steps, values in found.runs]
        x_y = np.concatenate([np.append(np.stack(run), [[np.nan], [np.nan]], axis=1) for run in runs], axis=1).astype(np.float32)
        figure.add_scatter(x=x_y[0], y=x_y[1], line={"color": look.faint(0.35), "width": 0.8}, **shared)
        steps = np.concatenate([found.steps, found.steps[::-1]])
        edge = np.concatenate([mean + std, (mean - std)[::-1]])
        figure.add_scatter(x=steps, y=edge, fill="toself", fillcolor=look.faint(0.16), line={"width": 0}, **shared)
    texts = [
        f"<b>{plain(name)}</b><br>step {step:,}: {value:.4g}"
        + (f" ± {spread:.2g} over {len(found.runs)} runs" if len(found.runs) > 1 else "")
        for step, value, spread in zip(found.steps.tolist(), mean.tolist(), std.tolist(), strict=True)
    ]
    line = {"color": look.colour, "width": 2.2, "dash": look.dash}
    marker = {"symbol": look.symbol, "size": 5}
    mode = "lines" if len(found.steps) > 30 else "lines+markers"
    figure.add_scatter(
        x=found.steps, y=mean, name=label(name), legendgroup=name, mode=mode, line=line, marker=marker, hovertext=texts, hoverinfo="text"
    )


def quality_against(comparison: Comparison, cost: Literal["num_parameters", "seconds"]) -> go.Figure | None:
    """Draw each group's metric on test against what it costs, and the Pareto front; a group without a cost above 0 is a level line.

    There is none where all groups cost the same, as networks of one budget have as many parameters: an axis without a difference.
    """
    scale, styles = scale_of(comparison), looks(comparison)
    known = {g.name: (getattr(comparison.summaries[g.name], cost) or 0.0, comparison.summaries[g.name]) for g in comparison.groups}
    placed = {name: (x, summary) for name, (x, summary) in known.items() if x > 0}
    if not placed or cost_alike([x for x, _ in placed.values()]):
        return None
    figure = blank(380 + 8 * len(known))
    front = pareto_front({name: (x, summary.mean) for name, (x, summary) in placed.items()}, comparison.metric.direction == "max")
    if len(front) > 1:
        x, y = [placed[name][0] for name in front], [scale.factor * placed[name][1].mean for name in front]
        line = {"shape": "hv", "dash": "dot", "color": GREY, "width": 1.5}
        figure.add_scatter(x=x, y=y, mode="lines", line=line, name="Pareto front", hoverinfo="skip")
    for name, (value, summary) in placed.items():
        _add_point(figure, name, value, summary, styles[name], scale)
    for name in known.keys() - placed.keys():
        line = {"color": styles[name].colour, "dash": "dash", "width": 1.5}
        figure.add_hline(y=scale.factor * known[name][1].mean, line=line, name=f"{label(name)} (level)", showlegend=True)
    values = [x for x, _ in placed.values()]
    if max(values) > 5 * min(values):
        ticks = log_ticks(min(values), max(values))
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=[compact(tick) for tick in ticks])
    figure.update_xaxes(title_text=COSTS[cost])
    return figure.update_yaxes(title_text=plain(in_unit(f"test {comparison.metric.name}", scale.unit)))


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers that cover a range above 0: 1, 2 and 5 times powers of ten, over more than two decades only the powers."""
    decades = range(floor(log10(low)), floor(log10(high)) + 2)
    steps = (1, 2, 5) if high <= 100 * low else (1,)
    return [step * 10.0**decade for decade in decades for step in steps if low / 2 <= step * 10.0**decade <= 2 * high]


def compact(value: float) -> str:
    """Write a round number in few signs: 20k, 5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def cost_alike(costs: list[float]) -> bool:
    """Say whether several groups cost the same, up to what a budget leaves to each."""
    return len(costs) > 1 and max(costs) <= (1 + ALIKE) * min(costs)


def pareto_front(points: dict[str, tuple[float, float]], is_max: bool) -> list[str]:
    """Return the names of the (cost, quality) points that no other matches or beats in both, cheapest first."""
    sign = -1 if is_max else 1
    front: list[str] = []
    for name in sorted(points, key=lambda name: (points[name][0], sign * points[name][1])):
        if not front or sign * points[name][1] < sign * points[front[-1]][1]:
            front.append(name)
    return front


def _add_point(figure: go.Figure, name: str, x: float, summary: Summary, look: Look, scale: Scale) -> None:
    text = (
        f"<b>{plain(name)}</b><br>{scale.spread(summary.mean, summary.std)} {plain(scale.unit)}<br>95 % interval "
        f"{scale.interval(summary.low, summary.high)}<br>{count(summary.num_parameters)} parameters, {duration(summary.seconds)}"
    )
    bars = None
    if summary.low is not None and summary.high is not None:
        above, below = scale.factor * (summary.high - summary.mean), scale.factor * (summary.mean - summary.low)
        bars = {"type": "data", "symmetric": False, "array": [above], "arrayminus": [below], "thickness": 1.4, "width": 4}
    marker = {"color": look.colour, "symbol": look.symbol, "size": 11}
    figure.add_scatter(
        x=[x],
        y=[scale.factor * summary.mean],
        name=label(name),
        mode="markers",
        marker=marker,
        error_y=bars,
        hovertext=[text],
        hoverinfo="text",
    )


def spread(comparison: Comparison) -> go.Figure | None:
    """Draw every run's metric on test as a dot, by group, folds as symbols; a bar marks the group's mean."""
    name, scale, styles = f"test/{comparison.metric.name}", scale_of(comparison), looks(comparison)
    groups = [group for group in comparison.groups if any(name in run.metrics for run in group.runs)]
    if not groups:
        return None
    folds = sorted({run.fold for group in groups for run in group.runs})
    symbols = {fold: ("circle", "diamond", "square", "triangle-up", "x", "star")[place % 6] for place, fold in enumerate(folds)}
    figure = blank(90 + 56 * len(groups))
    for place, group in enumerate(groups):
        _add_dots(figure, group, -place, name, scale, styles[group.name], symbols)
        mean = scale.factor * comparison.summaries[group.name].mean
        line = {"color": styles[group.name].colour, "width": 2.5}
        figure.add_scatter(x=[mean, mean], y=[-place - 0.34, -place + 0.34], mode="lines", line=line, hoverinfo="skip", showlegend=False)
    for fold in folds if len(folds) > 1 else []:
        marker = {"symbol": symbols[fold], "color": GREY, "size": 9}
        figure.add_scatter(x=[None], y=[None], mode="markers", marker=marker, name=f"fold {label(fold)}", hoverinfo="skip")
    figure.update_xaxes(title_text=f"{plain(in_unit(f'test {comparison.metric.name}', scale.unit))}, {wish(comparison.metric)}")
    return rows(figure, [label(group.name) for group in groups])


def rows(figure: go.Figure, names: list[str]) -> go.Figure:
    """Make the y axis one of names, the first on top at 0, the next at -1, and so on."""
    places = [-place for place in range(len(names))]
    figure.update_layout(margin_l=8)
    return figure.update_yaxes(tickvals=places, ticktext=names, range=[-len(names) + 0.4, 0.6], showgrid=False, ticks="", fixedrange=True)


def _add_dots(figure: go.Figure, group: Group, place: int, name: str, scale: Scale, look: Look, symbols: dict[str, str]) -> None:
    runs = [run for run in group.runs if name in run.metrics]
    texts = [
        f"<b>{plain(group.name)}</b><br>{scale.value(run.metrics[name])} {plain(scale.unit)}<br>seed {run.seed}"
        + (f", fold {plain(run.fold)}" if run.fold else "")
        for run in runs
    ]
    marker = {
        "color": look.faint(0.6),
        "size": 9,
        "symbol": [symbols[run.fold] for run in runs],
        "line": {"color": look.colour, "width": 1},
    }
    figure.add_scatter(
        x=[scale.factor * run.metrics[name] for run in runs],
        y=place + np.linspace(-0.24, 0.24, len(runs)) if len(runs) > 1 else [place],
        **{"mode": "markers", "marker": marker, "hovertext": texts, "hoverinfo": "text", "showlegend": False},
    )


def differences(comparison: Comparison) -> go.Figure | None:
    """Draw the gain of each pair with its 95 % interval; right of zero the first is better, colour tells what holds after correction."""
    if not comparison.verdicts:
        return None
    scale = scale_of(comparison)
    figure = blank(110 + 40 * len(comparison.verdicts))
    for is_shown, name, colour, symbol in (
        (True, "shown (corrected p below 0.05)", SHOWN, "circle"),
        (False, "not shown", GREY, "circle-open"),
    ):
        places = [place for place, verdict in enumerate(comparison.verdicts) if verdict.is_shown == is_shown]
        if places:
            _add_gains(
                figure,
                places,
                comparison.verdicts,
                scale,
                name,
                {"color": colour, "symbol": symbol, "size": 10, "line": {"width": 2, "color": colour}},
            )
    figure.add_vline(x=0, line={"color": GREY, "width": 1})
    figure.update_xaxes(title_text=plain(in_unit("gain of the first", scale.unit_of_gain)))
    return rows(figure, [f"{label(verdict.first, 16)}<br>against {label(verdict.second, 16)}" for verdict in comparison.verdicts])


def _add_gains(figure: go.Figure, places: list[int], verdicts: list[Verdict], scale: Scale, name: str, marker: dict) -> None:
    chosen = [verdicts[place] for place in places]
    texts = [
        f"<b>{plain(v.first)}</b> against <b>{plain(v.second)}</b><br>{scale.gain(v.gain)} {plain(scale.unit_of_gain)}, 95 % interval "
        f"{scale.gains(v.low, v.high)}<br>p {plain(p_value(v.p))}, corrected {plain(p_value(v.p_corrected))}"
        for v in chosen
    ]
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [scale.factor * (v.gain if v.high is None else v.high) - scale.factor * v.gain for v in chosen],
        "arrayminus": [scale.factor * v.gain - scale.factor * (v.gain if v.low is None else v.low) for v in chosen],
        "thickness": 1.8,
        "width": 5,
    }
    x, y = [scale.factor * v.gain for v in chosen], [-place for place in places]
    figure.add_scatter(x=x, y=y, error_x=bars, mode="markers", name=name, marker=marker, hovertext=texts, hoverinfo="text")


def won_by_one(comparison: Comparison) -> go.Figure | None:
    """Draw the fraction of test examples that the group of the row gets right and that of the column does not."""
    found = rights(comparison)
    if found is None:
        return None
    fractions_GG = 100 * won_alone(found)
    both_GG = np.isfinite(found.values_GE).astype(int) @ np.isfinite(found.values_GE).T.astype(int)
    names = [label(name, 16) for name in found.groups]
    words = "has the smaller loss against" if found.is_loss else "is right where a run is wrong of"
    texts = [
        [
            "" if np.isnan(fraction) else f"<b>{plain(ours)}</b> {words}<br><b>{plain(theirs)}</b>: {fraction:.1f} % of {both:,} examples"
            for theirs, fraction, both in zip(found.groups, fractions_G, both_G, strict=True)
        ]
        for ours, fractions_G, both_G in zip(found.groups, fractions_GG, both_GG, strict=True)
    ]
    figure = blank(130 + 52 * len(names))
    figure.add_heatmap(
        **{"z": fractions_GG, "hovertext": texts, "hoverinfo": "text", "showscale": False},
        **{"zmin": 0, "xgap": 2, "ygap": 2, "colorscale": [[0, "rgba(0,114,178,0.06)"], [1, "rgba(0,114,178,0.6)"]]},
    )
    for (row, column), fraction in np.ndenumerate(fractions_GG):
        if np.isfinite(fraction):  # an annotation has the page's colour of text, a heatmap's own text has not
            figure.add_annotation(x=column, y=row, text=f"{fraction:.1f}", showarrow=False)
    places = list(range(len(names)))
    axis = {"tickvals": places, "ticktext": names, "showgrid": False, "fixedrange": True, "ticks": "", "showline": False}
    figure.update_xaxes(title_text="does not", **axis)
    return figure.update_yaxes(title_text="gets right", autorange="reversed", **axis)
