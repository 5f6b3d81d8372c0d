"""Text that a language model goes on with, token by token, and the passages of training that it repeats.

From the log-probabilities l of the next token a draw takes the softmax of l / temperature over the tokens that are left by

    top_k   the k most probable ones (Fan et al. 2018)
    top_p   the most probable ones that together have at least p (nucleus sampling, Holtzman et al. 2020)

At temperature 0 the most probable token is taken. What is no text (padding, unknown words) is never drawn.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rnnlab.contracts import PAD, UNKNOWN, Batch
from rnnlab.models.base import Predictor, SequenceModule

MOST_CONTEXT = 256
"""Tokens that a network without a state to carry on looks back at."""
BASE = 0x9E3779B97F4A7C15
"""Of hashes of passages; odd."""


@dataclass(frozen=True)
class Sampling:
    """Say how tokens are drawn.

    Args:
        temperature: 0 or more.
        top_k: how many tokens are considered (None: all).
        top_p: chance that those considered must have together (None: 1).
        seed: of the draws.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0


@torch.inference_mode()
def continue_text(model: Predictor, prompt_T: np.ndarray, sampling: Sampling) -> Iterator[int]:
    """Yield tokens that a language model draws, one after another, without end.

    Args:
        model: of a language; it is put into evaluation mode.
        prompt_T: the tokens to begin with, one at least, (T,) int64.
        sampling: how tokens are drawn.

    Raises:
        ValueError: where the model is no language model, or there is nothing to begin with.
    """
    if model.spec.goal != "continue":
        raise ValueError(f"only a language model can go on with a text; this run is on data={model.spec.name}")
    if not len(prompt_T):
        raise ValueError("there is nothing to go on with: give one token at least")
    model.eval()
    random = torch.Generator().manual_seed(sampling.seed)
    read_T = torch.from_numpy(np.asarray(prompt_T, dtype=np.int64))
    is_carried = not isinstance(model, SequenceModule) or model.layer.carries_state
    is_continued = False
    while True:
        log_odds_V = _last_outputs(model, read_T, is_continued).double().cpu()
        token = _drawn(log_odds_V, sampling, random)
        yield token
        added = torch.tensor([token])
        read_T, is_continued = (added, True) if is_carried else (torch.cat([read_T, added])[-MOST_CONTEXT:], False)


def _last_outputs(model: Predictor, read_T: Tensor, is_continued: bool) -> Tensor:
    """Return the outputs after the last token that is read, (V,)."""
    inputs_1T = read_T[None].to(model.device)
    lengths_1 = torch.tensor([len(read_T)], device=model.device)
    batch = Batch(inputs_1T, lengths_1, inputs_1T, lengths_1, torch.zeros_like(lengths_1), is_continued=is_continued)
    outputs = model.predict(batch)
    assert isinstance(outputs, Tensor)
    return outputs[0, -1]


def _drawn(log_odds_V: Tensor, sampling: Sampling, random: torch.Generator) -> int:
    allowed_V = log_odds_V.clone()
    allowed_V[[PAD, UNKNOWN]] = -torch.inf
    if sampling.temperature == 0:
        return int(allowed_V.argmax())
    chances_V = chances(allowed_V, sampling)
    return int(torch.multinomial(chances_V, 1, generator=random))


def chances(log_odds_V: Tensor, sampling: Sampling) -> Tensor:
    """Return the chance of each token of being drawn, (V,), for a temperature above 0; see the top of this file."""
    scaled_V = log_odds_V / sampling.temperature
    order = scaled_V.argsort(descending=True, stable=True)
    chances_V = scaled_V.softmax(-1)[order]
    num_kept = len(order) if sampling.top_k is None else min(sampling.top_k, len(order))
    if sampling.top_p is not None:
        before_V = chances_V.cumsum(-1) - chances_V
        num_kept = min(num_kept, max(1, int((before_V < sampling.top_p).sum())))
    kept_V = torch.zeros_like(scaled_V)
    kept_V[order[:num_kept]] = chances_V[:num_kept]
    return kept_V / kept_V.sum()


def longest_repeat(sample_S: np.ndarray, training_N: np.ndarray) -> tuple[int, int, int]:
    """Find the longest passage of a sample that stands in the training text, token for token.

    Returns:
        Its length, where it begins in the sample, and where it first stands in training; (0, 0, 0) where not even one token does.
    """
    low, high, found = 0, min(len(sample_S), len(training_N)), (0, 0, 0)
    sums = [_hashed(tokens_N) for tokens_N in (sample_S, training_N)]
    powers = _powers(max(len(sample_S), len(training_N)) + 1)
    while low < high:  # a passage's parts stand there, too: halving finds the longest
        middle = (low + high + 1) // 2
        place = _common(sums[0], sums[1], powers, middle)
        if place is not None and np.array_equal(sample_S[place[0] : place[0] + middle], training_N[place[1] : place[1] + middle]):
            low, found = middle, (middle, *place)
        else:
            high = middle - 1
    return found


def _powers(count: int) -> np.ndarray:
    """Return the powers of `BASE` from 0 on, modulo 2 ** 64."""
    factors = np.full(count, BASE, dtype=np.uint64)
    factors[0] = 1
    return np.cumprod(factors, dtype=np.uint64)


def _hashed(tokens_N: np.ndarray) -> np.ndarray:
    """Return the sums, up to each place, of mixed tokens times powers of `BASE`, modulo 2 ** 64, (N + 1,)."""
    mixed = (tokens_N.astype(np.uint64) + np.uint64(1)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(31)
    return np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(mixed * _powers(len(mixed)), dtype=np.uint64)])


def _common(first: np.ndarray, second: np.ndarray, powers: np.ndarray, length: int) -> tuple[int, int] | None:
    """Return where a passage of this length begins in both, None where none is in both; equal hashes are almost surely equal passages."""
    one, other = ((sums[length:] - sums[:-length]) * powers[len(powers) - 1 - np.arange(len(sums) - length)] for sums in (first, second))
    is_in = np.isin(one, other)
    if not is_in.any():
        return None
    place = int(is_in.argmax())
    return place, int((other == one[place]).argmax())
