"""Attention maps: what a network looked at while it wrote, as pictures."""

import warnings
from pathlib import Path

import matplotlib
import matplotlib.axis
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names

from rnnlab.contracts import STOP, Batch, Decoded
from rnnlab.models.base import Predictor
from rnnlab.models.seq2seq import Seq2Seq

matplotlib.use("Agg")
CHINESE_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),
    *("Droid Sans Fallback", "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB", "Arial Unicode MS"),
)
MOST_NAMED = 80


@torch.inference_mode()
def draw_maps(model: Predictor, batch: Batch, files: list[Path]) -> None:
    """Draw for each sequence of a batch what the decoder looks at while it says its best answer; targets may be unknown.

    Raises:
        ValueError: where there is nothing to draw: no encoder-decoder, no attention, no answers of tokens.
    """
    if not isinstance(model, Seq2Seq) or model.spec.target_kind != "tokens":
        raise ValueError("attention maps show how model=seq2seq answers with sequences; this run is of another model or kind of data")
    model.eval()
    decoded = model.predict(batch)
    assert isinstance(decoded, Decoded)
    best = [found[0] for found in decoded.hypotheses]
    answers = [hypothesis.tokens for hypothesis in best]
    lengths_B = torch.tensor([len(answer) for answer in answers], device=batch.inputs.device)
    rows = [torch.tensor(answer, dtype=torch.long, device=batch.inputs.device) for answer in answers]
    weights_BST, source_lengths_B = model.weights(batch, torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths_B)
    said, read, step_ms = model.spec.label_names, model.spec.feature_names, model.spec.step_ms
    for row, (answer, file) in enumerate(zip(answers, files, strict=True)):
        file.parent.mkdir(parents=True, exist_ok=True)
        num_steps = int(source_lengths_B[row])
        is_read = model.spec.input_kind == "tokens" and bool(read) and num_steps == int(batch.input_lengths[row])
        source = [read[number] for number in batch.inputs[row, :num_steps].tolist()] if is_read else None
        weights_ST = weights_BST[row, : len(answer) + 1, :num_steps].float().cpu().numpy()
        words = (*said, *best[row].words)
        target = [words[token] for token in [*answer, STOP]]
        attention_map(weights_ST, source, target, file, None if step_ms is None else step_ms * model.frontend.subsampling)


def attention_map(weights_ST: np.ndarray, source: list[str] | None, target: list[str], file: Path, step_ms: float | None) -> None:
    """Draw which of T source steps each of S target tokens was written from, (S, T); dark is much.

    Args:
        source: T tokens, or None where steps have no names.
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
