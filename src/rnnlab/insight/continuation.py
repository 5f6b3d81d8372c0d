"""Music that a network goes on with: pieces continued step by step, as piano rolls."""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import cast

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from rnnlab.contracts import Batch
from rnnlab.models.base import Predictor, SequenceModule
from rnnlab.tasks import MultiLabel

matplotlib.use("Agg")
GIVEN, ADDED = "0.45", "#08519c"
MOST_NAMED = 12
BY_CHANCE, MOST_PROBABLE, TRUTH = "drawn by its chances", "keys at 50 % and more", "the piece"


@torch.inference_mode()
def continue_steps(model: Predictor, given_TK: Tensor, seed: int, temperature: float = 1.0) -> Iterator[Tensor]:
    """Let a model of sets of labels go on with a piece, each step from all before it, without end.

    Args:
        given_TK: zeros and ones of the T steps before, one step at least.
        seed: of the draws. Each key is drawn by itself, by its chance.
        temperature: divides the log-odds of each key; 0: the keys whose chance is a half or more.

    Yields:
        (K,) zeros and ones: the keys of the next step.

    Raises:
        ValueError: where the model's answers are not its next inputs.
    """
    _refuse_others(model)
    model.eval()
    random = torch.Generator().manual_seed(seed)
    is_streamed = isinstance(model, SequenceModule) and not model.needs_all_steps
    state, read_TK, piece_TK = None, given_TK.to(model.device), given_TK.to(model.device)
    while True:
        if is_streamed:
            outputs_1TK, state = cast(SequenceModule, model).stream(read_TK[None], state)
            log_odds_K = outputs_1TK[0, -1].float()
        else:
            log_odds_K = _log_odds(model, piece_TK)[-1]
        step_K = _drawn(log_odds_K, random, temperature).to(piece_TK)
        yield step_K.cpu()
        read_TK = step_K[None]
        if not is_streamed:
            piece_TK = torch.cat([piece_TK, read_TK])


def _drawn(log_odds_K: Tensor, random: torch.Generator, temperature: float) -> Tensor:
    if temperature == 0:
        return log_odds_K >= 0
    return (log_odds_K / temperature).sigmoid() >= torch.rand(len(log_odds_K), generator=random).to(log_odds_K)


def continue_piece(model: Predictor, given_TK: Tensor, num_steps: int, seed: int | None) -> Tensor:
    """Let a model of sets of labels add S steps to a piece, (T, K), and return them, (S, K); see `continue_steps`.

    Args:
        seed: of the draws; None: the keys whose chance is a half or more.

    Raises:
        ValueError: where the model's answers are not its next inputs.
    """
    steps = continue_steps(model, given_TK, seed or 0, temperature=float(seed is not None))
    return torch.stack([given_TK[0].cpu(), *islice(steps, num_steps)])[1:]


def draw_continuation(model: Predictor, piece_TK: Tensor, num_given: int, num_steps: int, seed: int, file: Path) -> Tensor:
    """Draw how a model goes on after `num_given` steps of a piece, (T, K), beside the piece's own way where it is longer.

    Returns:
        The steps that it drew, (num_steps, K); see `continue_piece`.
    """
    given_TK = piece_TK[:num_given]
    drawn_SK = continue_piece(model, given_TK, num_steps, seed)
    probable_SK = continue_piece(model, given_TK, num_steps, None)
    truth_SK = piece_TK[num_given : num_given + num_steps]
    rows = ({TRUTH: truth_SK.numpy()} if len(truth_SK) else {}) | {BY_CHANCE: drawn_SK.numpy(), MOST_PROBABLE: probable_SK.numpy()}
    with torch.inference_mode():
        chances_TK = _log_odds(model, piece_TK[: num_given + num_steps].to(model.device)).sigmoid().cpu().numpy()
    piano_rolls(given_TK.numpy(), rows, chances_TK, model.spec.label_names, file)
    return drawn_SK


def piano_rolls(
    given_TK: np.ndarray, rows: Mapping[str, np.ndarray], chances_TK: np.ndarray | None, keys: tuple[str, ...], file: Path
) -> None:
    """Draw several ways in which a piece, (T, K), goes on, one below the other.

    Args:
        rows: (S, K) of each, S may differ, by its name.
        chances_TK: (T', K), what was expected at each step after the first, drawn last (None: nothing).
    """
    every = [given_TK, *rows.values()]
    sounding = np.flatnonzero(np.any([part.any(0) for part in every if len(part)], axis=0))
    low, high = (max(int(sounding[0]) - 1, 0), min(int(sounding[-1]) + 2, len(keys))) if len(sounding) else (0, len(keys))
    num_panels = len(rows) + (chances_TK is not None)
    most = len(given_TK) + max((len(part) for part in rows.values()), default=0)
    figure = Figure(figsize=(min(3 + 0.09 * most, 16), 0.6 + 1.9 * num_panels), layout="constrained")
    panels = figure.subplots(num_panels, 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, added_SK) in zip(panels, rows.items(), strict=False):
        marks_KT = np.concatenate([given_TK, 2 * added_SK])[:, low:high].T
        _show(axes, marks_KT, ListedColormap(["white", GIVEN, ADDED]), 2)
        _finish(axes, name, len(given_TK), keys[low:high])
    if chances_TK is not None:
        image = _show(panels[-1], chances_TK[:, low:high].T, matplotlib.colormaps["Blues"], 1, first=1)
        _finish(panels[-1], "chance of each key, given the piece's own steps before", len(given_TK), keys[low:high])
        figure.colorbar(image, ax=panels[-1], pad=0.01, fraction=0.03)
    panels[-1].set(xlabel="step (grey: given)", xlim=(0, most))
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)


def _show(axes: Axes, values_KT: np.ndarray, colours: Colormap, most: int, first: int = 0) -> AxesImage:
    """Draw a matrix from a step on, low keys below."""
    num_keys, num_steps = values_KT.shape
    extent = (first, first + num_steps, -0.5, num_keys - 0.5)
    return axes.imshow(values_KT, cmap=colours, vmin=0, vmax=most, aspect="auto", interpolation="nearest", origin="lower", extent=extent)


def _finish(axes: Axes, name: str, num_given: int, keys: tuple[str, ...]) -> None:
    axes.set_title(name, fontsize=9, loc="left")
    axes.axvline(num_given, color="black", linewidth=0.8, linestyle="--")
    tonics = [place for place, key in enumerate(keys) if re.fullmatch(r"C-?\d+", key)]
    places = tonics or list(range(0, len(keys), -(-len(keys) // MOST_NAMED)))
    axes.set_yticks(places, [keys[place] for place in places], fontsize=8)


def _refuse_others(model: Predictor) -> None:
    if not isinstance(model.task, MultiLabel) or model.spec.input_size != model.spec.target_size:
        raise ValueError("only a run on music can go on with a piece (its answers are its next inputs); this one is on other data")


def _log_odds(model: Predictor, piece_TK: Tensor) -> Tensor:
    """Return the log-odds of each label after each step, (T, K)."""
    lengths_B = torch.tensor([len(piece_TK)], device=piece_TK.device)
    batch = Batch(piece_TK[None], lengths_B, piece_TK[None], torch.zeros_like(lengths_B), torch.zeros_like(lengths_B))
    outputs = model.predict(batch)
    assert isinstance(outputs, Tensor)
    return outputs[0].float()
