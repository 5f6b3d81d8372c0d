"""The seconds of a training, from a few of its own steps.

They are timed on batches of several sizes, by the trainer that would train, with everything that accompanies a training: what is left out
are the first steps, in which kernels are made ready.
"""

import functools
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from rnnlab.data.base import SequenceDataModule
from rnnlab.data.batches import BatchLoader, EpochOrder
from rnnlab.models.base import Network
from rnnlab.settings import TrainSettings
from rnnlab.tracking.tracker import SilentTracker
from rnnlab.training.callbacks import ProgressLine
from rnnlab.training.recipes import check
from rnnlab.training.trainer import count_of, make_trainer

QUANTILES = (0.5, 0.1, 0.9)
"""Of the sizes of batches: those that are timed."""
FLOPS_PER_SECOND = 2e10
"""About what a core does; it only decides how much is timed."""
LONG_S = 0.05
"""A step of which a part of the rows is timed, unless there is more time."""
PARTS = 16
"""Of the time that there is: no step should take more than one."""


def num_batches(settings: TrainSettings, data: SequenceDataModule) -> tuple[int, float]:
    """Return the batches of one epoch that are trained on, and the number of epochs."""
    loader = data.train_dataloader()
    of_epoch = min(count_of(settings.trainer.limits["train"], loader) or len(loader), len(loader))
    values = settings.trainer.node.values
    most_steps = int(values.get("max_steps", -1)) * int(values.get("accumulate_grad_batches", 1))
    epochs = float("inf") if settings.trainer.max_epochs in (None, -1) else float(settings.trainer.max_epochs or 0)
    return of_epoch, min(epochs, most_steps / of_epoch if most_steps >= 0 else float("inf"))


class Clock(Callback):
    """Time the batches of each epoch, and from the end of one epoch to that of the next."""

    def __init__(self) -> None:
        self.train: list[list[float]] = []
        self.val: list[list[float]] = []
        self.ends: list[float] = []
        self.begun = self._last = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.train.append([])
        self._last = time.perf_counter()
        self.begun = self.begun or self._last

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._end_of_batch(self.train)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.val.append([])
        self._last = time.perf_counter()

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._end_of_batch(self.val)

    def _end_of_batch(self, seconds: list[list[float]]) -> None:
        now = time.perf_counter()
        seconds[-1].append(now - self._last)
        self._last = now

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.ends.append(time.perf_counter())

    @property
    def rest_of_epoch(self) -> float:
        """What the second epoch took beside its batches."""
        return max(self.ends[1] - self.ends[0] - sum(self.train[1]) - sum(sum(part) for part in self.val[1:]), 0.0)


class _Chosen(EpochOrder):
    """Give one part of the batches in the first epoch, and the other from then on."""

    def __init__(self, first: Sequence[np.ndarray], then: Sequence[np.ndarray]) -> None:
        super().__init__(np.concatenate(list(then)), np.zeros(0), len(then[0]), 0, 0)
        self.parts = [list(first), list(then)]

    def batches(self) -> list[np.ndarray]:
        return self.parts.pop(0) if len(self.parts) > 1 else self.parts[0]

    def __len__(self) -> int:
        return len(self.parts[0])


@dataclass(frozen=True)
class Sizes:
    """Hold the batches of a split, and how large each is: rows times the steps of the longest."""

    batches: list[np.ndarray]
    steps: np.ndarray

    @classmethod
    def of(cls, loader: BatchLoader, data: SequenceDataModule) -> "Sizes":
        """Return those of a loader's first epoch; of running text all batches are alike."""
        batches = loader.sampler.batches()
        if loader.is_stream:
            return cls(batches, np.ones(len(batches)))
        return cls(batches, np.array([len(rows) * max(1, int(data.lengths[rows].max())) for rows in batches], dtype=float))

    def chosen(self, fraction: float, shift: int = 0) -> "Sizes":
        """Return batches of middle, small and large size; of long ones this fraction of the rows of one, and half of that.

        By a shift they are others of about these sizes: kernels are made ready for each shape anew, in a training as in what is timed.
        """
        order = np.argsort(self.steps, kind="stable")
        if fraction < 1:
            middle = int(order[min(len(order) // 2 + shift, len(order) - 1)])
            most = max(2, round(fraction * len(self.batches[middle])))
            kept = [(middle, self.batches[middle][:num]) for num in (most, most // 2, most)]
        else:
            last = len(order) - 1
            places = [int(order[min(int(each * last) + shift, last)]) for each in QUANTILES]
            kept = [(place, self.batches[place]) for place in places]
        parts = [self.steps[place] * len(rows) / len(self.batches[place]) for place, rows in kept]
        return Sizes([rows for _, rows in kept], np.array(parts))


def work_of_batch(settings: TrainSettings, data: SequenceDataModule) -> float:
    """Return the multiplications of a mean batch: its steps, times the weights that each meets."""
    model = cast(Network, settings.model.recipe()(data.make_spec()))
    return float(Sizes.of(data.train_dataloader(), data).steps.mean()) * _num_weights(model)


def _num_weights(model: Network) -> int:
    """Count the weights behind the front end, whose embeddings are looked up."""
    return sum(weights.numel() for name, weights in model.named_parameters() if not name.startswith("frontend"))


def timed(settings: TrainSettings, data: SequenceDataModule, budget_s: float = 2.0) -> float:
    """Return the seconds of a training from a few of its own steps, timed by its own trainer.

    The model, its optimizer and all callbacks are made as for a run, and nothing is written but to a folder that is removed.
    """
    recipes = check(settings)
    random = torch.get_rng_state()
    model = cast(Network, settings.model.recipe()(data.make_spec()))
    model.optimization = recipes.optimization
    train, val = Sizes.of(data.train_dataloader(), data), Sizes.of(data.val_dataloader(), data)
    heaviest = 6 * _num_weights(model) * float(train.steps.max()) / FLOPS_PER_SECOND
    is_cut = heaviest > (most := max(budget_s / PARTS, LONG_S)) and not data.is_stream  # its rows go on from batch to batch
    fraction = most / heaviest if is_cut else 1.0
    with tempfile.TemporaryDirectory(prefix="rnnlab-") as folder:
        chosen = [(each.chosen(fraction, 1), each.chosen(fraction)) for each in (train, val)]
        clock, sizes = _timed_epochs(settings, recipes.trainer, model, data, chosen, Path(folder))
    torch.set_rng_state(random)
    of_epoch, epochs = num_batches(settings, data)
    num_val = min(count_of(settings.trainer.limits["val"], data.val_dataloader()) or len(val.batches), len(val.batches))
    every = int(settings.trainer.node.values.get("check_val_every_n_epoch") or 1)
    in_training = _sum(sizes[0], clock.train, train.steps) * of_epoch / len(train.batches)
    in_validation = _sum(sizes[1], clock.val, val.steps) * num_val / len(val.batches) if clock.val else 0.0
    return epochs * (in_training + (in_validation + clock.rest_of_epoch) / every)


def _timed_epochs(
    settings: TrainSettings,
    recipe: "functools.partial[pl.Trainer]",
    model: Network,
    data: SequenceDataModule,
    chosen: Sequence[tuple[Sizes, Sizes]],
    folder: Path,
) -> tuple[Clock, list[np.ndarray]]:
    """Train two short epochs and return their times, and the sizes of the batches of training and validation in the second."""
    clock = Clock()
    loaders = [
        BatchLoader(_Chosen(*(part.batches for part in parts)), loader.collate, is_stream=loader.is_stream)
        for parts, loader in zip(chosen, (data.train_dataloader(), data.val_dataloader()), strict=True)
    ]
    short = functools.partial(
        recipe,
        max_epochs=2,
        max_steps=-1,
        limit_train_batches=1.0,
        limit_val_batches=1.0,
        check_val_every_n_epoch=1,
        accumulate_grad_batches=1,
    )
    trainer, _, _ = make_trainer(settings, short, SilentTracker("timing", "timing", folder), model, data, [clock])
    trainer.callbacks = [each for each in trainer.callbacks if not isinstance(each, ProgressLine)]  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that an epoch is short
        trainer.fit(model, train_dataloaders=loaders[0], val_dataloaders=loaders[1])
    return clock, [parts[-1].steps for parts in chosen]


def _sum(sizes: np.ndarray, epochs: list[list[float]], all_sizes: np.ndarray) -> float:
    """Return the seconds of batches of all these sizes, from those that were timed: a constant and a part that grows with the size."""
    seconds = np.array(epochs[-1])  # the first epoch made kernels ready
    if len(seconds) < 2 or np.ptp(sizes) < 0.05 * sizes.max():
        return float(np.median(seconds)) * float((all_sizes / sizes.mean()).sum())
    slope, constant = np.polyfit(sizes, seconds, 1)
    if constant < 0 or (slope < 0 and all_sizes.max() > 2 * sizes.max()):
        slope, constant = float(seconds.sum() / sizes.sum()), 0.0
    elif slope < 0:
        slope, constant = 0.0, float(np.median(seconds))
    return float((constant + slope * all_sizes).sum())
