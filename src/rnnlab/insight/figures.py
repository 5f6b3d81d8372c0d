"""Pictures of one run: how it learned, what it takes for what, and whether its numbers mean what they say."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rnnlab.insight.diagnosis import Points
from rnnlab.tasks.table_metrics import interval_of_fraction, resampled_sums, unit_codes
from rnnlab.tasks.text_metrics import row_sums

matplotlib.use("Agg")
DARK, LIGHT = "#08519c", "#9ecae1"
MOST_POINTS = 500
NUM_RESAMPLES = 200
NUM_GROUPS = 4
"""How many tickers' forecasts are drawn."""


def learning_curve(history: Mapping[str, Points], metric: str, file: Path) -> None:
    """Draw losses and the chosen metric over optimizer steps: `train/loss`, `val/loss` and `val/<metric>`, each as (step, value) pairs."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, colour in (("train/loss", LIGHT), ("val/loss", DARK)):
        _line(left, history.get(name, []), name, colour)
    _line(right, history.get(f"val/{metric}", []), f"val/{metric}", DARK)
    left.set(xlabel="optimizer step", ylabel="loss")
    right.set(xlabel="optimizer step", ylabel=metric)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(file, dpi=120)


def _line(axes: matplotlib.axes.Axes, points: Points, label: str, colour: str) -> None:
    steps, values = zip(*points, strict=True) if points else ((), ())
    axes.plot(steps, values, label=label, color=colour, marker="." if len(steps) < 30 else None)


def confusion_matrix(table: pd.DataFrame, labels: tuple[str, ...], file: Path) -> None:
    """Draw counts of predicted against true labels, in this order, rows shaded by fraction."""
    index = {label: number for number, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), dtype=int)
    np.add.at(counts, (table["target"].map(index).to_numpy(int), table["prediction"].map(index).to_numpy(int)), 1)
    fractions = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = 2.2 + 0.42 * min(len(labels), 40)
    figure = Figure(figsize=(size + 0.6, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true", xticks=range(len(labels)), yticks=range(len(labels)))
    axes.set_xticklabels(labels, rotation=0 if max(map(len, labels)) < 4 else 90)
    axes.set_yticklabels(labels)
    if len(labels) <= 20:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if fractions[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=colour)
    figure.savefig(file, dpi=120)


def reliability(table: pd.DataFrame, file: Path, num_bins: int = 15) -> None:
    """Draw accuracy against confidence: on the diagonal a probability means what it says (DeGroot & Fienberg 1983)."""
    is_right = (table["target"] == table["prediction"]).to_numpy()
    confidence = table["confidence"].to_numpy(float)
    bins = np.clip((confidence * num_bins).astype(int), 0, num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    fractions = np.bincount(bins, is_right, num_bins) / np.maximum(counts, 1)
    means = np.bincount(bins, confidence, num_bins) / np.maximum(counts, 1)
    used = counts > 0
    figure = Figure(figsize=(4.2, 4.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    top.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    top.plot(means[used], fractions[used], marker="o", color=DARK)
    top.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    bottom.bar((np.arange(num_bins) + 0.5) / num_bins, counts, width=0.9 / num_bins, color=LIGHT)
    bottom.set(xlabel="confidence", ylabel="examples")
    _finish(figure, file)


def accuracy_by_length(table: pd.DataFrame, file: Path, num_bins: int = 8) -> None:
    """Draw accuracy in groups, of about equal size, of examples of like `num_steps`, with 95 % intervals (see `interval_of_fraction`)."""
    groups = pd.qcut(table["num_steps"], num_bins, duplicates="drop")
    answers = pd.DataFrame({"is_right": table["target"] == table["prediction"], "code": unit_codes(table)}).groupby(groups, observed=True)
    fractions, counts = answers["is_right"].mean(), answers.size()
    intervals = [interval_of_fraction(part["is_right"].to_numpy(), part["code"].to_numpy()) for _, part in answers]
    ends_G2 = np.array([interval or (fraction, fraction) for interval, fraction in zip(intervals, fractions, strict=True)])
    below, above = fractions.to_numpy() - ends_G2[:, 0], ends_G2[:, 1] - fractions.to_numpy()
    ends = [(int(np.floor(i.left)) + 1, int(i.right)) for i in fractions.index]
    names = [str(high) if low == high else f"{low}-{high}" for low, high in ends]
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.errorbar(range(len(names)), fractions, yerr=[below, above], fmt="o", color=DARK, capsize=3)
    axes.set_xticks(range(len(names)), [f"{name}\n{count}" for name, count in zip(names, counts, strict=True)], fontsize=8)
    axes.set(xlabel="steps (below: number of examples)", ylabel="accuracy")
    _finish(figure, file)


def score_by_length(table: pd.DataFrame, file: Path, num_bins: int = 8) -> None:
    """Draw error rate or score in groups of examples of like `num_steps`, with 95 % intervals (bootstrap over units).

    Raises:
        ValueError: where the table has nothing that `row_sums` reads.
    """
    values, score, _ = row_sums(table)
    groups = _by_length(table["num_steps"].to_numpy(), num_bins)
    names = [f"{name}\n{int(is_in_N.sum())}" for name, is_in_N in groups.items()]
    codes = unit_codes(table)
    found = np.array([_with_interval(values[is_in_N], codes[is_in_N]) for is_in_N in groups.values()])
    means, around = found[:, 0], np.maximum((found[:, 1:] - found[:, :1]) * (-1, 1), 0)
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.errorbar(range(len(names)), means, yerr=around.T, fmt="o", color=DARK, capsize=3)
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(bottom=0)
    axes.set(xlabel="source steps (below: number of examples)", ylabel=score)
    _finish(figure, file)


def _by_length(num_steps: np.ndarray, num_bins: int) -> dict[str, np.ndarray]:
    """Return groups of about equal size by their shortest and longest length, as masks."""
    edges = np.unique(np.quantile(num_steps, np.linspace(0, 1, num_bins + 1)[1:-1], method="lower"))
    numbers = np.searchsorted(edges, num_steps)
    groups = {}
    for number in np.unique(numbers):
        is_in_N = numbers == number
        low, high = int(num_steps[is_in_N].min()), int(num_steps[is_in_N].max())
        groups[str(high) if low == high else f"{low}-{high}"] = is_in_N
    return groups


def _with_interval(sums: np.ndarray, codes: np.ndarray) -> tuple[float, float, float]:
    resampled = resampled_sums(sums, codes, NUM_RESAMPLES)
    total = sums.sum(0)
    low, high = np.quantile(resampled[:, 0] / np.maximum(resampled[:, 1], 1), [0.025, 0.975])
    return float(total[0] / max(total[1], 1)), float(low), float(high)


def forecasts(table: pd.DataFrame, name: str, quantiles: tuple[float, ...], unit: str, file: Path) -> None:
    """Draw forecast against truth over time (`date`, where there are dates), for a few tickers, the outer quantiles as a band."""
    groups = list(dict.fromkeys(table["group"]))[:NUM_GROUPS]
    figure = Figure(figsize=(9, 1.2 + 1.9 * len(groups)), layout="constrained")
    for axes, group in zip(figure.subplots(len(groups), 1, squeeze=False)[:, 0], groups, strict=True):
        part = table[table["group"] == group]
        part = part.sort_values("date") if "date" in part else part
        part = part.tail(MOST_POINTS)
        places = part["date"].to_numpy() if "date" in part else np.arange(len(part))
        if quantiles:
            low, high = (part[f"quantile/{name}/{level:g}"].to_numpy() for level in (quantiles[0], quantiles[-1]))
            axes.fill_between(places, low, high, color=LIGHT, alpha=0.5, label=f"{quantiles[0]:g} to {quantiles[-1]:g}")
        axes.plot(places, part[f"target/{name}"], color="grey", linewidth=0.8, label="truth")
        axes.plot(places, part[f"prediction/{name}"], color=DARK, linewidth=1, label="forecast")
        axes.set_ylabel(f"{group}\n{name}{f' ({unit})' if unit else ''}", fontsize=8)
        axes.tick_params(labelsize=8)
    figure.axes[0].legend(frameon=False, fontsize=8, ncols=3)
    _finish(figure, file)


def by_step(errors: pd.DataFrame, file: Path) -> None:
    """Draw the errors of each step of paths, beside those of the last value going on (see `table_metrics.errors_by_step`)."""
    names = [name for name in ("scaled_mse", "scaled_mae", "coverage") if name in errors]
    figure = Figure(figsize=(3.4 * len(names), 3.2), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        axes.plot(errors["step"], errors[name], color=DARK, label="model")
        if f"persistence_{name}" in errors:
            axes.plot(errors["step"], errors[f"persistence_{name}"], color="grey", linewidth=0.8, linestyle="--", label="last value")
        axes.set(xlabel="steps ahead", ylabel=name, ylim=(0, None))
    figure.axes[0].legend(frameon=False, fontsize=8)
    _finish(figure, file)


def skill_by_group(table: pd.DataFrame, name: str, file: Path) -> None:
    """Draw for each ticker which fraction of persistence's squared error the forecast saves; nothing where persistence is unknown."""
    if f"persistence/{name}" not in table:
        return
    truth = table[f"target/{name}"]
    errors = pd.DataFrame({kind: (table[f"{kind}/{name}"] - truth) ** 2 for kind in ("prediction", "persistence")})
    sums = errors.groupby(table["group"]).sum()
    sums = sums[sums["persistence"] > 0]  # beside a persistence that makes no error there is no skill
    skill = (1 - sums["prediction"] / sums["persistence"]).sort_values()
    if skill.empty:
        return
    figure = Figure(figsize=(6, 1 + 0.22 * len(skill)), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(skill)), skill, color=[DARK if value > 0 else "#c0392b" for value in skill])
    axes.set_yticks(range(len(skill)), skill.index.astype(str), fontsize=8)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("skill: fraction of persistence's squared error saved")
    _finish(figure, file)


def forecast_calibration(table: pd.DataFrame, name: str, quantiles: tuple[float, ...], unit: str, file: Path) -> None:
    """Draw whether forecasts mean what they say: quantiles against the fraction below them, else mean truth in tenths of the forecast."""
    truth = table[f"target/{name}"].to_numpy(float)
    figure = Figure(figsize=(4.2, 4), layout="constrained")
    axes = figure.subplots()
    if quantiles:
        x, y = np.array(quantiles), np.array([(truth <= table[f"quantile/{name}/{level:g}"]).mean() for level in quantiles])
        axes.set(xlabel="quantile", ylabel="fraction of truth below it")
    else:
        forecast = table[f"prediction/{name}"]
        tenths = pd.qcut(forecast, 10, duplicates="drop") if forecast.nunique() > 1 else np.zeros(len(table))
        means = table.groupby(tenths, observed=True)[[f"prediction/{name}", f"target/{name}"]].mean()
        x, y = means[f"prediction/{name}"].to_numpy(), means[f"target/{name}"].to_numpy()
        suffix = f" ({unit})" if unit else ""
        axes.set(xlabel=f"mean forecast of a tenth{suffix}", ylabel=f"mean truth{suffix}")
    ends = [float(min(x.min(), y.min())), float(max(x.max(), y.max()))]
    axes.plot(ends, ends, color="grey", linewidth=0.8, linestyle="--")
    axes.plot(x, y, marker="o", color=DARK)
    _finish(figure, file)


def _finish(figure: Figure, file: Path) -> None:
    for axes in figure.axes:
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=120)
