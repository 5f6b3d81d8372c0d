"""The most useful figures as PNG for report.md, by matplotlib."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnlab.report.comparison import Comparison
from rnnlab.report.curves import curves
from rnnlab.report.figures import GREY, LONGEST_LABEL, SHOWN, compact, cost_alike, log_ticks, pareto_front
from rnnlab.report.ranks import Ranking
from rnnlab.report.style import Look, in_unit, looks, scale_of, shortened, wish

matplotlib.use("Agg")
LINES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
MARKERS = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "x": "X", "star": "*"}


def write_pictures(comparison: Comparison, folder: Path) -> list[str]:
    """Draw learning curves, differences, and quality against parameters, each where there is something to draw; return the files' names."""
    drawn = {
        "learning_curves.png": _learning_curves(comparison),
        "differences.png": _differences(comparison),
        "quality_against_parameters.png": _quality_against_parameters(comparison),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in drawn.items():
        if figure is not None:
            figure.savefig(folder / name, dpi=120, metadata={"Software": None})
    return [name for name, figure in drawn.items() if figure is not None]


def _text(text: str, longest: int = LONGEST_LABEL) -> str:
    """Make text mean itself: matplotlib reads mathematics between dollars."""
    return shortened(text, longest).replace("$", r"\$")


def _learning_curves(comparison: Comparison) -> Figure | None:
    metric, scale, styles = comparison.metric, scale_of(comparison), looks(comparison)
    figure = Figure(figsize=(7.2, 4), layout="constrained")
    axes = figure.subplots()
    for group in comparison.groups:
        found = curves(group.runs, f"val/{metric.name}")
        if found is not None:
            look = styles[group.name]
            mean, std = scale.factor * found.mean, scale.factor * found.std
            axes.fill_between(found.steps, mean - std, mean + std, color=look.colour, alpha=0.15, linewidth=0)
            axes.plot(found.steps, mean, color=look.colour, linestyle=LINES[look.dash], label=_text(group.name))
    if not axes.lines:
        return None
    axes.set(xlabel="optimizer step", ylabel=_text(in_unit(f"validation {metric.name}", scale.unit), 60))
    _finish(axes, "mean ± 1 standard deviation over runs")
    return figure


def _differences(comparison: Comparison) -> Figure | None:
    verdicts, scale = comparison.verdicts, scale_of(comparison)
    if not verdicts:
        return None
    figure = Figure(figsize=(7.2, 1.2 + 0.36 * len(verdicts)), layout="constrained")
    axes = figure.subplots()
    for place, verdict in enumerate(verdicts):
        colour = SHOWN if verdict.is_shown else GREY
        if verdict.low is not None and verdict.high is not None:
            axes.plot([scale.factor * verdict.low, scale.factor * verdict.high], [place, place], color=colour)
        axes.plot(scale.factor * verdict.gain, place, "o", color=colour, markerfacecolor=colour if verdict.is_shown else "white")
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(verdicts)), [_text(f"{v.first} against {v.second}", 48) for v in verdicts])
    axes.invert_yaxis()
    axes.set_xlabel(_text(f"{in_unit('gain of the first', scale.unit_of_gain)}, 95 % interval; filled: holds after correction", 100))
    _finish(axes, "")
    return figure


def _quality_against_parameters(comparison: Comparison) -> Figure | None:
    scale, styles = scale_of(comparison), looks(comparison)
    placed = {name: s for name, s in comparison.summaries.items() if s.num_parameters}
    if not placed or cost_alike([s.num_parameters or 0.0 for s in placed.values()]):
        return None
    figure = Figure(figsize=(7.2, 4), layout="constrained")
    axes = figure.subplots()
    points = {name: (s.num_parameters or 0.0, s.mean) for name, s in placed.items()}
    front = pareto_front(points, comparison.metric.direction == "max")
    x, y = [points[name][0] for name in front], [scale.factor * points[name][1] for name in front]
    axes.step(x, y, where="post", color=GREY, linestyle=":", label="Pareto front" if len(front) > 1 else None)
    for name, summary in placed.items():
        bounds = [np.nan if bound is None else bound for bound in (summary.low, summary.high)]
        _point(axes, name, points[name][0], scale.factor * np.array([summary.mean, *bounds]), styles[name])
    for name in comparison.summaries.keys() - placed.keys():
        axes.axhline(scale.factor * comparison.summaries[name].mean, color=styles[name].colour, linestyle="--", label=_text(name))
    costs = [x for x, _ in points.values()]
    axes.set(xlabel="parameters", xscale="log", ylabel=_text(in_unit(f"test {comparison.metric.name}", scale.unit), 60))
    ticks = log_ticks(min(costs), max(costs))
    axes.set_xticks(ticks, [compact(tick) for tick in ticks])
    axes.minorticks_off()
    _finish(axes, f"{wish(comparison.metric)}; bars: 95 % intervals")
    return figure


def _point(axes: Axes, name: str, x: float, mean_low_high: np.ndarray, look: Look) -> None:
    mean, low, high = mean_low_high
    bars = [[mean - low], [high - mean]] if np.isfinite(low) and np.isfinite(high) else None
    axes.errorbar([x], [mean], yerr=bars, fmt=MARKERS[look.symbol], color=look.colour, capsize=3, label=_text(name))


def _finish(axes: Axes, title: str) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=9, loc="left")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)


def draw_ranks(ranking: Ranking, file: Path) -> None:
    """Draw average ranks on a line, the best left; a bar joins groups that are not told apart (Demsar 2006, figure 1)."""
    num = len(ranking.names)
    figure = Figure(figsize=(7, 0.8 + 0.34 * num), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0.0, num + 1.0), ylim=(-num - 0.5, 1.4), title=f"average rank over {len(ranking.data)} data sets, 1 the best")
    axes.xaxis.tick_top()
    axes.set_xticks(range(1, num + 1))
    axes.yaxis.set_visible(False)
    for side in ("left", "right", "bottom"):
        axes.spines[side].set_visible(False)
    for place, (name, average) in enumerate(zip(ranking.names, ranking.average, strict=True)):
        is_left = place < (num + 1) // 2
        end = 0.0 if is_left else num + 1.0
        axes.plot([average, average, end], [1.4, -place - 1, -place - 1], color="0.4", linewidth=1)
        axes.text(end, -place - 1, f" {shortened(name, LONGEST_LABEL)} {average:.2f} ", ha="left" if is_left else "right", va="bottom")
    width = min(ranking.critical_difference, num - 1)
    axes.plot([1, 1 + width], [0.8, 0.8], color="black", linewidth=2)
    axes.text(1 + width / 2, 0.85, f"critical difference {ranking.critical_difference:.2f}", ha="center", va="bottom", fontsize=8)
    height = 0.2
    for start in range(num):
        alike = [place for place in range(start, num) if ranking.average[place] - ranking.average[start] < ranking.critical_difference]
        joins_more = start == 0 or ranking.average[alike[-1]] - ranking.average[start - 1] >= ranking.critical_difference
        if len(alike) > 1 and joins_more:
            axes.plot([ranking.average[start], ranking.average[alike[-1]]], [height, height], color="#0072B2", linewidth=4)
            height -= 0.3
    figure.savefig(file, dpi=120, metadata={"Software": None})
