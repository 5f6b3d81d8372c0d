"""Under- and overfitting in words, from the curves that every run logs.

Of each validation i at step s_i: v_i is the validation loss, t_i the mean training loss since the validation before. Training losses are
measured with dropout and on augmented examples, each while its weights still change; so they may lie above the validation loss.

What a loss means is told beside that of guessing without the input (see `insight.guessing`). A curve that ends flat says that training has
converged only if the learning rate was still high there: at the end of a schedule that falls to almost nothing every curve is flat.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rnnlab.config import flatten
from rnnlab.contracts import DataSpec
from rnnlab.insight.remedies import remedies
from rnnlab.settings import TrainSettings

Points = list[tuple[int, float]]
TrainingVerdict = Literal["overfitting", "memorising", "learned nothing", "still learning", "underfitting", "fitting", "solved", "unknown"]
SMALLEST = 1e-12
FEWEST = 4
"""Validations below which nothing is said."""
RISE, GAP, FALL, CHANCE, HIGH = 0.05, 0.1, 0.02, 0.97, 0.3
"""Fractions of a loss: the smallest rise, gap, and fall over the last quarter that count; fractions of the loss of guessing: what is no
better than guessing, and what is still high."""
SOLVED, TRIFLE = 0.05, 0.02
"""Fractions of the loss of guessing: below which little is left to learn, and the smallest rise or gap that counts."""
LATE_FALL, WIDE = 0.05, 0.5
"""Fractions of a loss: the fall over the second half from which on a schedule ended too early, and a gap that no schedule closes."""
LITTLE_LEFT = 0.1
"""Fraction of the highest learning rate, at most which is left where a schedule has run out."""
NOISES = 3
"""A rise counts from so many times the noise on: of curves that are flat but noisy, 1 to 8 % pass for rising (10 to 100 validations)."""
FALL_NOISES = 2
"""So does a fall over the last quarter, from so many times on."""


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

    @property
    def is_lowest_at_end(self) -> bool:
        """Whether the validation loss was lowest at one of the last two validations."""
        return self.best >= len(self.val) - 2

    def gap_opened(self, least: float = 0.0) -> int | None:
        """Return from where on the validation loss stays a tenth and `least` above the training loss; None where it doesn't."""
        is_open = self.val - self.train > np.maximum(GAP * np.abs(self.val), least)
        closed = np.flatnonzero(~is_open)
        first = closed[-1] + 1 if len(closed) else 0
        return int(first) if first < len(is_open) else None

    def fall(self) -> float:
        """Return by which fraction the validation loss fell over the last quarter, by a straight line; 0 where noise may do as much."""
        num = max(3, len(self.val) // 4)
        slope, _ = np.polyfit(np.arange(num), self.val[-num:], 1)
        fallen = float(-slope * (num - 1))
        return 0.0 if abs(fallen) < FALL_NOISES * self.noise else fallen / max(abs(float(self.val[-num:].mean())), SMALLEST)

    @property
    def middle(self) -> float:
        """The lowest validation loss of the first half, a lucky one aside: the median of its lowest three."""
        return float(np.median(np.sort(self.val[: max(3, len(self.val) // 2)])[:3]))

    def late_fall(self) -> float:
        """Return by which fraction the validation loss fell in the second half."""
        return (self.middle - self.end) / max(abs(self.middle), SMALLEST)


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


def diagnose(
    history: Mapping[str, Points], spec: DataSpec, settings: TrainSettings, *, guessing: float | None = None, is_solved: bool = False
) -> Diagnosis:
    """Say how a training went, and which keys of its configuration fit.

    Args:
        history: metric name to (step, value).
        guessing: the validation loss of guessing without the input; None: that of the training classes' frequencies, if there are classes.
        is_solved: whether validation is, of a task that says when it counts as solved; then nothing more is advised.
    """
    found = curves(history)
    if len(found.steps) < FEWEST:
        return Diagnosis("unknown", f"{len(found.steps)} validations are too few to say how the training went.", ())
    flat = flatten(settings.values())
    judged = Judged(found, _entropy(spec) if guessing is None else guessing, _has_run_out(flat, found))
    verdict = judged.verdict()
    if is_solved and verdict in ("still learning", "underfitting", "fitting"):
        verdict = "solved"
    words = f"{judged.words(verdict)} {judged.words_of_gap()}".strip()
    epochs = int(found.steps[found.best] / found.steps[-1] * (settings.trainer.max_epochs or 0))
    cure = "memorising" if verdict == "learned nothing" and judged.is_learned_by_heart else verdict
    return Diagnosis(verdict, words, tuple(remedies(cure, flat, epochs)))


@dataclass(frozen=True)
class Judged:
    """Curves, and what they are judged by.

    Args:
        found: the curves.
        guessing: the validation loss of guessing without the input; None where it is unknown.
        has_run_out: whether the schedule had brought the learning rate to almost nothing at the end.
    """

    found: LossCurves
    guessing: float | None
    has_run_out: bool

    @property
    def trifle(self) -> float:
        """The smallest rise or gap that counts, beside what is relative to the loss."""
        return TRIFLE * (self.guessing or 0.0)

    @property
    def is_chance(self) -> bool:
        """Whether the validation loss was never better than that of guessing."""
        return self.guessing is not None and float(self.found.val[self.found.best]) > CHANCE * self.guessing

    @property
    def is_learned_by_heart(self) -> bool:
        """Whether the training loss fell below that of guessing while validation did not."""
        return self.is_chance and self.found.train[-1] < (1 - GAP) * (self.guessing or 0.0)

    @property
    def is_cut_short(self) -> bool:
        """Whether the loss fell until the schedule ran out, and no wide gap says that more training would be learned by heart."""
        found = self.found
        is_wide = found.val[-1] - found.train[-1] > WIDE * abs(found.val[-1])
        fallen = found.middle - found.end
        return self.has_run_out and not is_wide and fallen > max(LATE_FALL * abs(found.middle), FALL_NOISES * found.noise, self.trifle)

    def verdict(self) -> TrainingVerdict:
        """Judge the curves."""
        found, is_falling = self.found, self.found.fall() > FALL
        if self.is_chance:
            return "still learning" if is_falling and found.is_lowest_at_end and not self.is_learned_by_heart else "learned nothing"
        least = max(RISE * abs(found.lowest), NOISES * found.noise, self.trifle)
        if found.end - found.lowest > least and found.train[-1] < found.train[found.best]:
            return "overfitting"
        if self.guessing is not None and found.end < SOLVED * self.guessing:
            return "fitting"
        if is_falling or self.is_cut_short:
            return "still learning"
        if found.gap_opened(self.trifle) is not None:
            return "memorising"
        if self.guessing is not None and found.train[-1] < HIGH * self.guessing:
            return "fitting"
        return "underfitting"

    def words(self, verdict: TrainingVerdict) -> str:
        """Say what a verdict rests on."""
        found = self.found
        best, lowest, last = found.steps[found.best], found.val[found.best], found.steps[-1]
        where = "at the end" if found.is_lowest_at_end else f"at step {best:,} of {last:,}"
        if verdict == "overfitting":
            return (
                f"the validation loss was lowest ({lowest:.4g}) at step {best:,} of {last:,} and ended at {found.end:.4g}, "
                f"{found.end / lowest - 1:.0%} higher, while the training loss fell from {found.train[found.best]:.4g} to "
                f"{found.train[-1]:.4g}."
            )
        if verdict == "memorising":
            return f"the validation loss was lowest {where} ({lowest:.4g}), the training loss is {found.train[-1]:.4g}."
        if verdict == "learned nothing":
            return self._words_of_chance()
        if verdict == "solved":
            return f"the validation loss ended at {found.end:.4g} at step {last:,}, which is enough."
        if verdict == "still learning":
            return self._words_of_fall()
        ends = f"the training loss ended at {found.train[-1]:.4g}, the validation loss at {found.end:.4g}{self._beside_guessing()}"
        return f"{ends}." if verdict == "fitting" else f"{ends}. {self._words_of_causes()}"

    def _words_of_fall(self) -> str:
        found, end = self.found, f"to {self.found.end:.4g}"
        if found.fall() > FALL:
            return f"the validation loss still fell by {found.fall():.1%} over the last quarter, {end} at step {found.steps[-1]:,}."
        return (
            f"the validation loss fell by {found.late_fall():.1%} in the second half, {end}, and flattened only as the schedule brought "
            "the learning rate to almost 0: that is no convergence, and a longer training may go lower."
        )

    def _words_of_chance(self) -> str:
        lowest = (
            f"the validation loss, {self.found.val[self.found.best]:.4g} at best, is no better than that of guessing ({self.guessing:.4g})"
        )
        if self.is_learned_by_heart:
            return (
                f"{lowest}, while the training loss fell to {self.found.train[-1]:.4g}: what was learned holds for the training examples "
                "alone. Perhaps the inputs say nothing about the targets."
            )
        return f"{lowest}. Either the training did not start to work, or the inputs say nothing about the targets."

    def _words_of_causes(self) -> str:
        longer = ", a longer schedule" if self.has_run_out and self.found.late_fall() > FALL else ""
        return (
            f"Both are flat: a larger network, less regularisation{longer} or another learning rate may go lower, or what is left is noise."
        )

    def _beside_guessing(self) -> str:
        return "" if self.guessing is None else f", {1 - self.found.end / self.guessing:.0%} below that of guessing ({self.guessing:.4g})"

    def words_of_gap(self) -> str:
        """Say where the gap between training and validation opened; nothing where there is none."""
        opened = self.found.gap_opened(self.trifle)
        if opened is None:
            return ""
        gap = 1 - self.found.train[-1] / self.found.val[-1]
        where = "was there at the first validation" if opened == 0 else f"opened at step {self.found.steps[opened]:,}"
        return f"The gap between them {where}; at the end the training loss is {gap:.0%} below the validation loss."


def _has_run_out(flat: Mapping[str, Any], found: LossCurves) -> bool:
    """Say whether the schedule had brought the learning rate to less than a tenth of its peak when training ended."""
    kind = str(flat.get("scheduler._target_")).rpartition(".")[2]
    left = {
        "cosine": lambda: flat["scheduler.final_fraction"],
        "onecycle": lambda: 0.0,
        "step": lambda: flat["scheduler.factor"] ** flat["scheduler.num_drops"],
    }
    num_epochs, num_steps = flat.get("trainer.max_epochs"), flat.get("trainer.max_steps") or -1
    of_epochs = len(found.steps) * (flat.get("trainer.check_val_every_n_epoch") or 1) / num_epochs if num_epochs else 0.0
    of_steps = found.steps[-1] / num_steps if num_steps > 0 else 0.0
    return kind in left and left[kind]() < LITTLE_LEFT and max(of_epochs, of_steps) > 1 - LITTLE_LEFT


def _entropy(spec: DataSpec) -> float | None:
    """Return the loss of guessing by the classes' frequencies, in nats; None where there are no classes."""
    if spec.target_kind != "class" or not spec.class_counts:
        return None
    fractions = np.array(spec.class_counts) / sum(spec.class_counts)
    return float(-(fractions[fractions > 0] * np.log(fractions[fractions > 0])).sum())
