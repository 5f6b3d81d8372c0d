"""Pictures of one run: how it learned, and what it takes for what."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

matplotlib.use("Agg")
Points = list[tuple[int, float]]


def learning_curve(history: Mapping[str, Points], measure: str, file: Path) -> None:
    """Draw losses and the chosen metric over optimizer steps.

    Args:
        history: metric name to (step, value) pairs; `train/loss`, `val/loss` and `val/<measure>` are drawn.
        measure: name of the metric.
        file: PNG to write.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, colour in (("train/loss", "#9ecae1"), ("val/loss", "#08519c")):
        _line(left, history.get(name, []), name, colour)
    _line(right, history.get(f"val/{measure}", []), f"val/{measure}", "#08519c")
    left.set(xlabel="optimizer step", ylabel="loss")
    right.set(xlabel="optimizer step", ylabel=measure)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(file, dpi=120)


def _line(axes: matplotlib.axes.Axes, points: Points, label: str, colour: str) -> None:
    steps, values = zip(*points, strict=True) if points else ((), ())
    axes.plot(steps, values, label=label, color=colour, marker="." if len(steps) < 30 else None)


def confusion_matrix(table: pd.DataFrame, labels: tuple[str, ...], file: Path) -> None:
    """Draw counts of predicted against true labels, rows shaded by share.

    Args:
        table: with the columns target and prediction.
        labels: in order.
        file: PNG to write.
    """
    index = {label: number for number, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), dtype=int)
    np.add.at(counts, (table["target"].map(index).to_numpy(int), table["prediction"].map(index).to_numpy(int)), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = 2.2 + 0.42 * min(len(labels), 40)
    figure = Figure(figsize=(size + 0.6, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true", xticks=range(len(labels)), yticks=range(len(labels)))
    axes.set_xticklabels(labels, rotation=0 if max(map(len, labels)) < 4 else 90)
    axes.set_yticklabels(labels)
    if len(labels) <= 20:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=colour)
    figure.savefig(file, dpi=120)
