"""Under- and overfitting in words, from the curves that every run logs.

Of each validation i at step s_i: v_i is the validation loss, t_i the mean training loss since the validation before. Training losses are
measured with dropout and on augmented examples, each while its weights still change; so they may lie above the validation loss.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rnnlab.config import flatten
from rnnlab.contracts import DataSpec
from rnnlab.insight.remedies import remedies
from rnnlab.settings import TrainSettings

Points = list[tuple[int, float]]
TrainingVerdict = Literal["overfitting", "memorising", "learned nothing", "still learning", "underfitting", "fitting", "solved", "unknown"]
FEWEST = 4
"""Validations below which nothing is said."""
RISE, GAP, FALL, CHANCE, HIGH = 0.05, 0.1, 0.02, 0.97, 0.3
"""Fractions of a loss: the smallest rise, gap, and fall over the last quarter that count; fractions of the classes' entropy: what is no
better than guessing, and what is still high."""


NOISES = 3
"""A rise counts from so many times the noise on: of curves that are flat but noisy, 1 to 8 % pass for rising (10 to 100 validations)."""


@dataclass(frozen=True)
class Diagnosis:
    """The diagnosis of a training: a verdict, sentences, and remedies as typed behind the command, each to be tried alone."""

    verdict: TrainingVerdict
    words: str
    remedies: tuple[str, ...]

    def __str__(self) -> str:
        advice = f" Try, one at a time: {'  '.join(self.remedies)}" if self.remedies else ""
        return f"{self.verdict}: {self.words}{advice}"


@dataclass(frozen=True)
class LossCurves:
    """Losses at each validation: steps of the optimizer, v_i and t_i, each (N,)."""

    steps: np.ndarray
    val: np.ndarray
    train: np.ndarray

    @property
    def best(self) -> int:
        """Where the validation loss was lowest."""
        return int(self.val.argmin())

    @property
    def end(self) -> float:
        """The validation loss at the end: the median of the last three."""
        return float(np.median(self.val[-3:]))

    @property
    def noise(self) -> float:
        """How far a validation loss lies beside its neighbours' mean, typically."""
        middle = (self.val[:-2] + self.val[2:]) / 2
        return float(np.median(np.abs(self.val[1:-1] - middle)))

    @property
    def lowest(self) -> float:
        """The lowest validation loss, a single lucky one aside: that of medians of three."""
        return float(np.median(np.stack([self.val[:-2], self.val[1:-1], self.val[2:]]), 0).min())

    def gap_opened(self) -> int | None:
        """Return from where on the validation loss stays more than a tenth above the training loss; None where it doesn't."""
        is_open = self.val - self.train > GAP * np.abs(self.val)
        closed = np.flatnonzero(~is_open)
        first = closed[-1] + 1 if len(closed) else 0
        return int(first) if first < len(is_open) else None

    def fall(self) -> float:
        """Return by which fraction the validation loss fell over the last quarter, by a straight line."""
        num = max(3, len(self.val) // 4)
        slope, _ = np.polyfit(np.arange(num), self.val[-num:], 1)
        return float(-slope * (num - 1) / max(abs(self.val[-num:].mean()), 1e-12))


def curves(history: Mapping[str, Points]) -> LossCurves:
    """Join `train/loss` and `val/loss`: of each validation the mean of the training losses since the one before."""
    train = history.get("train/loss", [])
    found, before = [], 0
    for step, value in history.get("val/loss", []):
        losses = [loss for at, loss in train if before < at <= step]
        if losses and math.isfinite(value):
            found.append((step, value, float(np.mean(losses))))
        before = step
    steps, val, train_means = (np.array(column, dtype=float) for column in zip(*found, strict=True)) if found else (np.zeros(0),) * 3
    return LossCurves(steps.astype(int), val, train_means)


def diagnose(history: Mapping[str, Points], spec: DataSpec, settings: TrainSettings, *, is_solved: bool = False) -> Diagnosis:
    """Say how a training went, and which keys of its configuration fit.

    Args:
        history: metric name to (step, value).
        is_solved: whether validation is, of a task that says when it counts as solved; then nothing more is advised.
    """
    found = curves(history)
    if len(found.steps) < FEWEST:
        return Diagnosis("unknown", f"{len(found.steps)} validations are too few to say how the training went.", ())
    verdict = _verdict(found, _entropy(spec))
    if is_solved and verdict in ("still learning", "underfitting", "fitting"):
        verdict = "solved"
    words = f"{_words(verdict, found)} {_of_gap(found)}".strip()
    epochs = int(found.steps[found.best] / found.steps[-1] * (settings.trainer.max_epochs or 0))
    return Diagnosis(verdict, words, tuple(remedies(verdict, flatten(settings.values()), epochs)))


def _verdict(found: LossCurves, entropy: float | None) -> TrainingVerdict:
    lowest = found.val[found.best]
    if entropy is not None and lowest > CHANCE * entropy:
        return "learned nothing"
    is_higher = found.end - found.lowest > max(RISE * abs(found.lowest), NOISES * found.noise)
    if is_higher and found.train[-1] < found.train[found.best]:
        return "overfitting"
    if found.fall() > FALL:
        return "still learning"
    if found.gap_opened() is not None:
        return "memorising"
    if entropy is not None and found.train[-1] < HIGH * entropy:
        return "fitting"
    return "underfitting"


def _words(verdict: TrainingVerdict, found: LossCurves) -> str:
    best, lowest, last = found.steps[found.best], found.val[found.best], found.steps[-1]
    if verdict == "overfitting":
        return (
            f"the validation loss was lowest ({lowest:.4g}) at step {best:,} of {last:,} and ended at {found.end:.4g}, "
            f"{found.end / lowest - 1:.0%} higher, while the training loss fell from {found.train[found.best]:.4g} to "
            f"{found.train[-1]:.4g}."
        )
    if verdict == "memorising":
        return (
            f"the validation loss no longer falls ({lowest:.4g} at step {best:,} of {last:,}), the training loss is {found.train[-1]:.4g}."
        )
    if verdict == "learned nothing":
        return f"the validation loss, {lowest:.4g} at best, is that of guessing by how frequent the classes are."
    if verdict == "solved":
        return f"the validation loss ended at {found.end:.4g} at step {last:,}, which is enough."
    if verdict == "still learning":
        return f"the validation loss still fell by {found.fall():.1%} over the last quarter, to {found.end:.4g} at step {last:,}."
    if verdict == "underfitting":
        return (
            f"training and validation loss ended alike ({found.train[-1]:.4g} and {found.end:.4g}) and no longer fall: the network is too "
            "small or held back too much, or what is left is noise."
        )
    return f"the training loss ended at {found.train[-1]:.4g}, the validation loss at {found.end:.4g}, neither rising."


def _of_gap(found: LossCurves) -> str:
    opened = found.gap_opened()
    if opened is None:
        return ""
    gap = 1 - found.train[-1] / found.val[-1]
    where = "was there at the first validation" if opened == 0 else f"opened at step {found.steps[opened]:,}"
    return f"The gap between them {where}; at the end the training loss is {gap:.0%} below the validation loss."


def _entropy(spec: DataSpec) -> float | None:
    """Return the loss of guessing by the classes' frequencies, in nats; None where there are no classes."""
    if spec.target_kind != "class" or not spec.class_counts:
        return None
    fractions = np.array(spec.class_counts) / sum(spec.class_counts)
    return float(-(fractions[fractions > 0] * np.log(fractions[fractions > 0])).sum())
