"""The microscope's pictures; docs/insight.md says how each is read."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from rnnlab.insight.gradients import TOTAL
from rnnlab.insight.observations import Observation, layers, series

matplotlib.use("Agg")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#000000", "#9C8B74", "#332288")
MARKERS = ("o", "s", "^", "v", "D", "x")
DECADES = 8
"""Colours tell so many powers of ten apart; what is below has the lowest colour."""


Series = dict[str, tuple[np.ndarray, np.ndarray]]
"""Name to (steps, values)."""


def gradient_flow(samples: list[Observation], step_ms: float | None, file: Path) -> None:
    """Draw how far gradients reach back over the training, by layer: left the total derivative, right what entered at the last step."""
    names = layers(samples)
    if not names:
        return
    figure = Figure(figsize=(11, 0.9 + 2.7 * len(names)), layout="constrained")
    grid = figure.subplots(len(names), 2, squeeze=False, sharex=True)
    unit = "recurrent steps" if step_ms is None else f"recurrent steps of {step_ms:g} ms"
    for (left, right), name in zip(grid, names, strict=True):
        mesh = _over_training(left, samples, f"{name}/total")
        figure.colorbar(mesh, ax=left, label="log10 of |dL/dh|", extend="min")
        mesh = _over_training(right, samples, f"{name}/from_last")
        figure.colorbar(mesh, ax=right, label="log10 of |g_k| / |g_0|", extend="min")
        _horizon_line(right, samples, name)
        left.set_ylabel(f"{_spoken(name)}\nsteps back from the end\n({unit})")
    grid[0, 0].set_title("total derivative of the loss", fontsize=10)
    grid[0, 1].set_title("of what enters at the last step; white: gradient horizon", fontsize=10)
    for axes in grid[-1]:
        axes.set_xlabel("optimizer step")
    figure.savefig(file, dpi=120)


def _over_training(axes: Axes, samples: list[Observation], name: str) -> QuadMesh:
    found = [sample for sample in samples if name in sample.curves]
    values_KS = np.full((max(len(sample.curves[name]) for sample in found), len(found)), np.nan)
    for place, sample in enumerate(found):
        curve = sample.curves[name]
        with np.errstate(divide="ignore", invalid="ignore"):
            values_KS[: len(curve), place] = np.log10(curve)
    finite = values_KS[np.isfinite(values_KS)]
    top = float(finite.max()) if len(finite) else 0.0
    values_KS[np.isneginf(values_KS)] = top - 2 * DECADES
    lowest = max(float(finite.min()) if len(finite) else -1.0, top - DECADES)
    axes.set_facecolor("#cccccc")
    return axes.pcolormesh(
        _edges(np.array([sample.step for sample in found])),
        np.arange(len(values_KS) + 1) - 0.5,
        np.ma.masked_invalid(values_KS),
        cmap="viridis",
        vmin=min(lowest, top - 0.1),
        vmax=top,
    )


def _edges(steps: np.ndarray) -> np.ndarray:
    """Return where one sample's column ends and the next begins: halfway."""
    if len(steps) == 1:
        return np.array([steps[0] - 0.5, steps[0] + 0.5])
    middles = (steps[:-1] + steps[1:]) / 2
    return np.concatenate([[steps[0]], middles, [steps[-1]]])


def _horizon_line(axes: Axes, samples: list[Observation], layer: str) -> None:
    steps, values = series(samples, "gradient_horizon_").get(layer, (np.zeros(0), np.zeros(0)))
    axes.plot(steps, values, color="black", linewidth=3)
    axes.plot(steps, values, color="white", linewidth=1.5, marker="." if len(steps) < 30 else None)


def gradient_norms(samples: list[Observation], limit: float | None, file: Path) -> None:
    """Draw norms of gradients by layer and matrix before and after clipping at `limit`, and how often clipping acted."""
    before = series(samples, "grad_norm/")
    layers_of = list(dict.fromkeys(name.partition(".")[0] for name in before if name != TOTAL))
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    for name, (steps, values) in before.items():
        if name == TOTAL:
            left.plot(steps, values, label="all together", color="black", linewidth=2)
            continue
        layer, _, matrix = name.partition(".")
        colour = COLOURS[layers_of.index(layer) % len(COLOURS)]
        marker = MARKERS[len([other for other in before if other.startswith(f"{layer}.") and other < name]) % len(MARKERS)]
        left.plot(steps, values, label=name if matrix else layer, color=colour, linewidth=0.8, marker=marker, markersize=4)
    after = series(samples, "grad_norm_clipped/")
    if TOTAL in after:
        left.plot(*after[TOTAL], color="black", linewidth=2, linestyle=":", label="all, after clipping")
    left.set(xlabel="optimizer step", ylabel="norm of the gradient", yscale="log")
    if limit:
        left.axhline(limit, color="grey", linewidth=0.8, linestyle="--", label=f"clipping at {limit:g}")
    left.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    steps, fractions = series(samples, "clipped_share").get("", (np.zeros(0), np.zeros(0)))
    right.plot(steps, 100 * fractions, color=COLOURS[0], marker="." if len(steps) < 30 else None)
    right.set(xlabel="optimizer step", ylabel="steps that were clipped\nsince the sample before (%)", ylim=(-3, 103))
    _finish(figure, file)


def recurrent_matrices(samples: list[Observation], file: Path) -> None:
    """Draw each recurrent matrix's spectral radius over the training, and the fraction of dead units; nothing where neither was sampled."""
    radii, dead = series(samples, "spectral_radius/"), series(samples, "dead_units/")
    if not dead:
        return
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    _lines(left, radii, 1.0)
    left.axhline(1, color="grey", linewidth=0.8, linestyle="--")
    left.set(xlabel="optimizer step", ylabel="spectral radius of the recurrent matrix")
    _lines(right, dead, 100.0)
    right.set(xlabel="optimizer step", ylabel="dead units: same value at every step (%)", ylim=(-3, 103))
    _finish(figure, file)


def gates(samples: list[Observation], file: Path) -> None:
    """Draw each gate's mean and how often it is saturated over the training; nothing where no gate was sampled."""
    means, saturated = series(samples, "gate_mean/"), series(samples, "gate_saturated/")
    names = list(dict.fromkeys(name.partition(".")[0] for name in means))
    if not names:
        return
    figure = Figure(figsize=(11, 0.6 + 2.6 * len(names)), layout="constrained")
    for (left, right), layer in zip(figure.subplots(len(names), 2, squeeze=False, sharex=True), names, strict=True):
        _lines(left, _of_layer(means, layer), 1.0)
        left.set_ylabel(f"{_spoken(layer)}\nmean over units,\nsteps, sequences")
        _lines(right, _of_layer(saturated, layer), 100.0)
        right.set(ylabel="saturated: within a\ntenth of an end (%)", ylim=(-3, 103))
    for axes in (left, right):
        axes.set_xlabel("optimizer step")
    _finish(figure, file)


def _of_layer(found: Series, layer: str) -> Series:
    return {name.partition(".")[2]: points for name, points in found.items() if name.partition(".")[0] == layer}


def _lines(axes: Axes, found: Series, factor: float) -> None:
    for place, (name, (steps, values)) in enumerate(found.items()):
        marker = "." if len(steps) < 30 else None
        axes.plot(steps, factor * values, label=name, color=COLOURS[place % len(COLOURS)], marker=marker)
    if found:
        axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def gates_in_time(means: dict[str, np.ndarray], step_ms: float | None, file: Path) -> None:
    """Draw each gate's mean over units and sequences, (T,) by `<layer>.<gate>`, as the training ended."""
    names = list(dict.fromkeys(name.partition(".")[0] for name in means))
    if not names:
        return
    figure = Figure(figsize=(9, 0.8 + 2.4 * len(names)), layout="constrained")
    for axes, layer in zip(figure.subplots(len(names), 1, squeeze=False)[:, 0], names, strict=True):
        found = {name.partition(".")[2]: mean for name, mean in means.items() if name.partition(".")[0] == layer}
        for place, (gate, mean) in enumerate(found.items()):
            times = np.arange(len(mean)) * (1.0 if step_ms is None else step_ms / 1000)
            axes.plot(times, mean, label=gate, color=COLOURS[place % len(COLOURS)])
        axes.set(xlabel="recurrent step" if step_ms is None else "time (s)", ylabel=f"{_spoken(layer)}\nmean over units")
        axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _finish(figure, file)


def trajectories(hidden: list[np.ndarray], labels: list[str] | None, step_ms: float | None, file: Path) -> None:
    """Draw the way of the hidden state, (T, H) of each sequence, in the plane of its largest spread (PCA), by class and by time."""
    together = np.concatenate(hidden)
    mean = together.mean(0)
    _, sizes, directions = np.linalg.svd(together - mean, full_matrices=False)
    fractions = sizes**2 / max((sizes**2).sum(), 1e-30)
    planes = [(states - mean) @ directions[:2].T for states in hidden]
    planes = [np.pad(plane, ((0, 0), (0, 2 - plane.shape[1]))) for plane in planes]  # of one unit there is one direction
    figure = Figure(figsize=(11 if labels else 6, 4.8), layout="constrained")
    panels = figure.subplots(1, 2 if labels else 1, squeeze=False)[0]
    if labels:
        _by_class(panels[0], planes, labels)
    times = np.concatenate([np.arange(len(plane)) for plane in planes]) * (1.0 if step_ms is None else step_ms / 1000)
    dots = panels[-1].scatter(*np.concatenate(planes).T, c=times, s=5, cmap="viridis")
    figure.colorbar(dots, ax=panels[-1], label="recurrent step" if step_ms is None else "time (s)")
    second = fractions[1] if len(fractions) > 1 else 0.0
    for axes in panels:
        axes.set(xlabel=f"first component ({fractions[0]:.0%} of the variance)", ylabel=f"second component ({second:.0%})")
    _finish(figure, file)


def _by_class(axes: Axes, planes: list[np.ndarray], labels: list[str]) -> None:
    names = sorted(set(labels))
    for plane, label in zip(planes, labels, strict=True):
        colour = COLOURS[names.index(label) % len(COLOURS)]
        axes.plot(*plane.T, color=colour, linewidth=0.6, alpha=0.7)
        axes.plot(*plane[-1], color=colour, marker="o", markersize=5, linestyle="")
    for name in names[: len(COLOURS)]:
        axes.plot([], [], color=COLOURS[names.index(name)], marker="o", label=name)
    axes.legend(title="class (dot: last step)", fontsize=7, title_fontsize=8, frameon=False, loc="best")


def _spoken(layer: str) -> str:
    """Write `layer1_backward` as people do."""
    return layer.replace("layer", "layer ").replace("_", ", ")


def _finish(figure: Figure, file: Path) -> None:
    for axes in figure.axes:
        if axes.get_label() != "<colorbar>":
            axes.grid(alpha=0.3)
    figure.savefig(file, dpi=120)
