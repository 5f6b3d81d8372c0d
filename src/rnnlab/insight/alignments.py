"""What a network looked at while it wrote, as a picture, and how well long inputs were written.

Weights are (B, S, T): of each target step, one weight per source step, their sum 1.
"""

import warnings
from pathlib import Path

import matplotlib
import matplotlib.axis
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names
from torch import Tensor

from rnnlab.contracts import valid_mask
from rnnlab.insight.pictures import DARK
from rnnlab.measures import resampled_sums

matplotlib.use("Agg")
CHINESE_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),
    *("Droid Sans Fallback", "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB", "Arial Unicode MS"),
)
MOST_NAMED = 80
RATES = {"phone": "phone error rate", "word": "word error rate"}
SCORES = {"rougeL": "ROUGE-L, mean over examples", "chrf": "chrF2, mean over sentences"}
NUM_RESAMPLES = 200


def attention_map(weights_ST: np.ndarray, source: list[str] | None, target: list[str], file: Path, step_ms: float | None) -> None:
    """Draw which source steps each target token was written from; dark is much.

    Args:
        weights_ST: (S, T).
        source: T tokens, or None where steps have no names.
        target: S tokens.
        file: PNG to write.
        step_ms: milliseconds from one source step to the next, where they are time (None: they are counted).
    """
    num_targets, num_steps = weights_ST.shape
    width = max(2.0 + (0.24 * min(num_steps, MOST_NAMED) if source is not None else 6.5), 4.0)
    height = 1.4 + 0.22 * min(max(num_targets, 4), MOST_NAMED)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    per_second = step_ms / 1000 if source is None and step_ms is not None else 1.0
    largest = weights_ST.max(1, initial=0)
    image = axes.imshow(
        weights_ST,
        cmap="Blues",
        vmin=0,
        vmax=max(float(np.quantile(largest, 0.75)), 1e-6),  # one step of all its weight would leave the others pale
        aspect="auto",
        interpolation="nearest",
        extent=(0, num_steps * per_second, num_targets, 0),
    )
    _name_steps(axes.yaxis, target)
    axes.set_ylabel("target")
    if source is not None:
        _name_steps(axes.xaxis, source)
        axes.tick_params(axis="x", rotation=90 if max(map(len, source), default=0) > 2 else 0)
        axes.set_xlabel("source")
    else:
        axes.set_xlabel("source step" if step_ms is None else "time in the source (s)")
    figure.colorbar(image, ax=axes, label="weight", pad=0.01, fraction=0.05, aspect=5 * height, extend="max")
    _save(figure, file)


def score_by_length(table: pd.DataFrame, file: Path, num_bins: int = 8) -> None:
    """Draw error rate or score in groups of examples of like length, with 95 % intervals (bootstrap over examples).

    Args:
        table: with num_steps and what `wording.row_scores` gives: errors of phones or words, else rougeL or chrf.
        file: PNG to write.
        num_bins: groups of about equal size.

    Raises:
        ValueError: where the table has nothing of these.
    """
    values, score = _sums_of_score(table)
    groups = _by_length(table["num_steps"].to_numpy(), num_bins)
    names = [f"{name}\n{int(is_in_N.sum())}" for name, is_in_N in groups.items()]
    found = np.array([_with_interval(values[is_in_N]) for is_in_N in groups.values()])
    means, around = found[:, 0], np.maximum((found[:, 1:] - found[:, :1]) * (-1, 1), 0)
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.errorbar(range(len(names)), means, yerr=around.T, fmt="o", color=DARK, capsize=3)
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(bottom=0)
    axes.set(xlabel="source steps (below: number of examples)", ylabel=score)
    axes.grid(alpha=0.3)
    _save(figure, file)


def _masked(weights_BST: Tensor, target_lengths_B: Tensor, source_lengths_B: Tensor) -> tuple[Tensor, Tensor]:
    """Zero what lies beyond the lengths; return the mask of target steps too."""
    _, num_targets, num_steps = weights_BST.shape
    mask_BS = valid_mask(target_lengths_B, num_targets)
    mask_BST = mask_BS[:, :, None] & valid_mask(source_lengths_B, num_steps)[:, None, :]
    return weights_BST.masked_fill(~mask_BST, 0), mask_BS


def _sums_of_score(table: pd.DataFrame) -> tuple[np.ndarray, str]:
    """Return numerator and denominator of each example, (N, 2), and what their sums' ratio is called."""
    for unit, name in RATES.items():
        if f"{unit}_errors" in table:
            return table[[f"{unit}_errors", f"num_{unit}s"]].to_numpy(float), name
    for column, name in SCORES.items():
        if column in table:
            return np.stack([table[column].to_numpy(float), np.ones(len(table))], axis=1), name
    raise ValueError(f"the table has none of {', '.join([*(f'{unit}_errors' for unit in RATES), *SCORES])}: it was not scored as text")


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


def _with_interval(sums: np.ndarray) -> tuple[float, float, float]:
    resampled = resampled_sums(sums, NUM_RESAMPLES)
    total = sums.sum(0)
    low, high = np.quantile(resampled[:, 0] / np.maximum(resampled[:, 1], 1), [0.025, 0.975])
    return float(total[0] / max(total[1], 1)), float(low), float(high)


def _name_steps(axis: matplotlib.axis.Axis, tokens: list[str]) -> None:
    """Write each token beside its row or column; of very many, every second, third, ..."""
    every = -(-len(tokens) // MOST_NAMED)
    places = np.arange(0, len(tokens), max(every, 1))
    family = ["DejaVu Sans", *(font for font in CHINESE_FONTS if font in get_font_names())]
    # A token may hold `$`, which would be read as a formula.
    axis.set_ticks(places + 0.5, [tokens[place] for place in places], fontsize=8, fontfamily=family, parse_math=False)


def _save(figure: Figure, file: Path) -> None:
    with warnings.catch_warnings():
        # Without a font for these signs boxes are drawn: a picture for a person is no reason to stop a run.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font", category=UserWarning)
        figure.savefig(file, dpi=120)
