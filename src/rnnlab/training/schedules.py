"""How the learning rate changes over a training; each schedule steps once per optimizer step, plateau once per validation.

`constant`, `step` and `cosine` begin with a linear warm-up over `warmup_fraction` of all steps (0: none).
"""

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from rnnlab.config import Fraction, NonNegativeInt, PositiveInt
from rnnlab.tasks.metrics import Direction


def constant(optimizer: Optimizer, total_steps: int, direction: Direction, warmup_fraction: Fraction) -> LRScheduler:
    """Keep the learning rate after the warm-up."""
    return _warmed_up(optimizer, total_steps, warmup_fraction, lambda progress: 1.0)


def step(
    optimizer: Optimizer,
    total_steps: int,
    direction: Direction,
    warmup_fraction: Fraction,
    num_drops: PositiveInt,
    factor: Fraction,
) -> LRScheduler:
    """Multiply by `factor` at `num_drops` equally spaced moments."""
    return _warmed_up(optimizer, total_steps, warmup_fraction, lambda p: factor ** min(num_drops, int(p * (num_drops + 1))))


def cosine(
    optimizer: Optimizer, total_steps: int, direction: Direction, warmup_fraction: Fraction, final_fraction: Fraction
) -> LRScheduler:
    """Fall along half a cosine to `final_fraction` of the learning rate (Loshchilov and Hutter 2017, without restarts)."""

    def shape(progress: float) -> float:
        return final_fraction + (1 - final_fraction) * (1 + math.cos(math.pi * progress)) / 2

    return _warmed_up(optimizer, total_steps, warmup_fraction, shape)


def onecycle(optimizer: Optimizer, total_steps: int, direction: Direction, warmup_fraction: Fraction) -> LRScheduler:
    """Rise to the optimizer's learning rate and fall to nothing, momentum the other way (Smith and Topin 2019)."""
    peaks = [group["lr"] for group in optimizer.param_groups]
    num_steps = max(3, total_steps)  # low, peak, low: with fewer, or a rise of one step, OneCycleLR divides by zero
    return OneCycleLR(optimizer, peaks, total_steps=num_steps, pct_start=max(warmup_fraction, 2 / num_steps))


def plateau(optimizer: Optimizer, total_steps: int, direction: Direction, factor: Fraction, patience: NonNegativeInt) -> LRScheduler:
    """Multiply by `factor` when the validation metric has not improved for `patience` epochs."""
    return ReduceLROnPlateau(optimizer, mode=direction, factor=factor, patience=patience)


def _warmed_up(optimizer: Optimizer, total_steps: int, warmup_fraction: float, shape: Callable[[float], float]) -> LRScheduler:
    num_warmup = round(warmup_fraction * total_steps)

    def factor(index: int) -> float:
        if index < num_warmup:
            return (index + 1) / (num_warmup + 1)
        return shape(min(1.0, (index - num_warmup) / max(1, total_steps - num_warmup)))

    return LambdaLR(optimizer, factor)
