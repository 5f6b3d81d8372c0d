"""Pictures of what carried an answer: over sound, over named features, over words. Red speaks for it, blue against it."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names

from rnnlab.insight.attention_maps import CHINESE_FONTS
from rnnlab.insight.attribution import Attribution

matplotlib.use("Agg")
COLOURS = "RdBu_r"
WIDTH = 9.0
MOST_NAMED = 60
FONT_SIZE, LINE_INCHES = 11, 0.3


@dataclass(frozen=True)
class ShownInput:
    """An input as people read it.

    Args:
        inputs_TF: features as the network got them (of tokens empty).
        words: tokens as people read them (of features None).
        names: of features, where they have any.
        step_ms: from one step to the next in milliseconds, where steps are time.
        is_past: whether steps are counted back from the last: windows of a series.
    """

    inputs_TF: np.ndarray
    words: list[str] | None
    names: tuple[str, ...]
    step_ms: float | None
    is_past: bool


def draw_shares(found: Attribution, reading: ShownInput, file: Path) -> None:
    """Draw one answer's shares over its input."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if reading.words is not None:
        figure = _over_words(found, reading.words)
    elif reading.names:
        figure = _over_features(found, reading)
    else:
        figure = _over_sound(found, reading)
    with warnings.catch_warnings():
        # Without a font for these signs boxes are drawn: a picture for a person is no reason to stop a run.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font", category=UserWarning)
        figure.savefig(file, dpi=120)


def _title(found: Attribution) -> str:
    unit = f" {found.unit}" if found.unit else ""
    what = f"predicted: {found.answer}, log-odds" if found.unit == "nats" else f"forecast of {found.answer}:"
    return f"{what} {found.value:.4g}{unit}; without the input {found.baseline:.4g}{unit}"


def _limits(values: np.ndarray) -> Normalize:
    most = max(float(np.abs(values).max(initial=0)), 1e-12)
    return Normalize(-most, most)


def _label(found: Attribution, what: str) -> str:
    return f"{what}\n({found.unit})" if found.unit else what


def _over_sound(found: Attribution, reading: ShownInput) -> Figure:
    """Draw the frames above, the share of each below."""
    num_steps, num_features = reading.inputs_TF.shape
    scale = 1.0 if reading.step_ms is None else reading.step_ms / 1000
    figure = Figure(figsize=(WIDTH, 6.0), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[3, 3, 2])
    extent = (0, num_steps * scale, -0.5, num_features - 0.5)
    image = top.imshow(reading.inputs_TF.T, origin="lower", aspect="auto", extent=extent, cmap="Greys", interpolation="nearest")
    figure.colorbar(image, ax=top, label="input\n(as the network got it)")
    shares = middle.imshow(
        found.shares_TF.T,
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap=COLOURS,
        norm=_limits(found.shares_TF),
        interpolation="nearest",
    )
    figure.colorbar(shares, ax=middle, label=_label(found, "share of feature and frame"))
    _bars(bottom, (np.arange(num_steps) + 0.5) * scale, found.shares_TF.sum(1), scale)
    bottom.set(xlabel="step" if reading.step_ms is None else "time (s)", ylabel=_label(found, "share of each frame"))
    for axes in (top, middle):
        axes.set_ylabel("feature (band)")
    top.set_title(_title(found), fontsize=10, parse_math=False)
    return figure


def _over_features(found: Attribution, reading: ShownInput) -> Figure:
    """Draw shares by feature and step, the sums of steps below and of features at the right."""
    num_steps, num_features = found.shares_TF.shape
    places = np.arange(num_steps) - (num_steps - 1 if reading.is_past else 0)
    figure = Figure(figsize=(WIDTH + 1, 2.4 + 0.22 * min(num_features, MOST_NAMED)), layout="constrained")
    grid = figure.subplots(2, 2, width_ratios=[4, 1], height_ratios=[3, 1.2])
    main, right, bottom = grid[0, 0], grid[0, 1], grid[1, 0]
    grid[1, 1].axis("off")
    extent = (places[0] - 0.5, places[-1] + 0.5, num_features - 0.5, -0.5)
    image = main.imshow(
        found.shares_TF.T, aspect="auto", extent=extent, cmap=COLOURS, norm=_limits(found.shares_TF), interpolation="nearest"
    )
    figure.colorbar(image, ax=main, label=_label(found, "share"), location="left", pad=0.02)
    every = -(-num_features // MOST_NAMED)
    main.set_yticks(range(0, num_features, every), reading.names[::every], fontsize=7, parse_math=False)
    _bars(bottom, places, found.shares_TF.sum(1), 1.0)
    bottom.set(xlabel="step before the last" if reading.is_past else "step", ylabel=_label(found, "of each step"))
    bottom.set_xlim(extent[:2])
    sums = found.shares_TF.sum(0)
    right.barh(np.arange(num_features), sums, color=[_sign(value) for value in sums])
    right.set(ylim=extent[2:], yticks=[], xlabel=_label(found, "of each feature"))
    right.axvline(0, color="black", linewidth=0.6)
    main.set_title(_title(found), fontsize=10, parse_math=False)
    return figure


def _bars(axes: Axes, places: np.ndarray, values: np.ndarray, width: float) -> None:
    axes.bar(places, values, width=width, color=[_sign(value) for value in values])
    axes.axhline(0, color="black", linewidth=0.6)


def _sign(value: float) -> str:
    return "#b2182b" if value > 0 else "#2166ac"


def _over_words(found: Attribution, words: list[str]) -> Figure:
    """Write the text, each word on the colour of its share."""
    shares = found.shares_TF[:, 0]
    family = ["DejaVu Sans", *(font for font in CHINESE_FONTS if font in get_font_names())]
    lines = _lines([word.replace("▁", " ").strip() or " " for word in words], family)
    height = LINE_INCHES * len(lines) + 1.3
    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(0, height))
    axes.axis("off")
    axes.text(0.2, height - 0.3, _title(found), fontsize=10, parse_math=False)
    colours = ScalarMappable(_limits(shares), COLOURS)
    index = 0
    for row, line in enumerate(lines):
        for place, word in line:
            red, green, blue, _ = colours.to_rgba(shares[index])
            box = {"facecolor": (red, green, blue), "edgecolor": "none", "boxstyle": "square,pad=0.12"}
            ink = "white" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else "black"
            position = (place, height - 0.75 - LINE_INCHES * row)
            axes.text(*position, word, fontsize=FONT_SIZE, bbox=box, color=ink, family=family, parse_math=False, va="center")
            index += 1
    bar = figure.add_axes((0.25, 0.5 / height, 0.5, 0.1 / height))
    figure.colorbar(colours, cax=bar, orientation="horizontal", label=_label(found, "share of each word").replace("\n", " "))
    bar.tick_params(labelsize=7)
    return figure


def _lines(words: list[str], family: list[str]) -> list[list[tuple[float, str]]]:
    """Break words into lines; return each line's words with their places in inches."""
    figure = Figure(figsize=(WIDTH, 1))
    renderer = FigureCanvasAgg(figure).get_renderer()
    lines: list[list[tuple[float, str]]] = [[]]
    place = 0.2
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font", category=UserWarning)
        for word in words:
            text = figure.text(0, 0, word, fontsize=FONT_SIZE, family=family, parse_math=False)
            inches = text.get_window_extent(renderer).width / figure.dpi
            text.remove()
            if place + inches > WIDTH - 0.2 and lines[-1]:
                lines.append([])
                place = 0.2
            lines[-1].append((place, word))
            place += inches + 0.1
    return lines
