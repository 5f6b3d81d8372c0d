"""The trainer and the callbacks that a training needs."""

import functools
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint, WeightAveraging
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from rich.console import Console
from torch import Tensor

from rnnlab.config import ConfigError, Node, nearest
from rnnlab.data.base import SequenceDataModule
from rnnlab.data.streams import RunningText
from rnnlab.models.base import Network, SequenceModule
from rnnlab.settings import Callbacks, TrainSettings
from rnnlab.settings import EarlyStopping as EarlyStoppingSettings
from rnnlab.tasks import Metric, Transduce
from rnnlab.tasks.metrics import direction_of
from rnnlab.tracking.tracker import Tracker
from rnnlab.training.callbacks import (
    CarriedState,
    FiniteGuard,
    LastCheckpoint,
    MemoryReturn,
    Meter,
    ProgressLine,
    StepNumbers,
    StepSeed,
    StopWhenSolved,
    TrackingLogger,
)
from rnnlab.training.checkpoints import DirectCheckpointIO
from rnnlab.training.constraints import weight_constraint
from rnnlab.training.distributed import alone, spread
from rnnlab.training.finetuning import GradualUnfreezing
from rnnlab.training.launching import is_leader
from rnnlab.training.loop import LeanEpochLoop
from rnnlab.training.pruning import SparseCheckpoint, pruning
from rnnlab.training.samples import Continuations, Samples

console = Console(stderr=True, soft_wrap=True)


def make_trainer(
    settings: TrainSettings,
    recipe: "functools.partial[pl.Trainer]",
    tracker: Tracker,
    model: Network,
    data: SequenceDataModule,
    more_callbacks: Iterable[Callback] = (),
) -> tuple[pl.Trainer, ModelCheckpoint, Meter]:
    """Return the trainer, the callback that chooses a checkpoint, and the one that measures speed."""
    kind = ModelCheckpoint if settings.compression.sparsity is None else SparseCheckpoint
    meter, best = Meter(), best_checkpoint(settings.callbacks, tracker.folder, model, kind)
    loggers: list[Logger] = [TrackingLogger(tracker)]
    if settings.tracking.tensorboard:
        loggers.append(TensorBoardLogger(tracker.folder, name="tensorboard", version=""))
    loader = data.train_dataloader()
    steps_per_epoch = min(count_of(settings.trainer.limits["train"], loader) or len(loader), len(loader))
    log_every = max(1, min(settings.tracking.log_every_n_steps, steps_per_epoch))
    trainer = recipe(
        logger=loggers,
        callbacks=[*spread(model, data), *_callbacks(settings, tracker, model, data, best, meter, log_every), *more_callbacks],
        plugins=[DirectCheckpointIO(), *alone()],
        log_every_n_steps=log_every,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tracker.folder,
    )
    trainer.fit_loop.epoch_loop = LeanEpochLoop(trainer)
    trainer.precision_plugin.convert_module(model)  # Lightning does so only after it has loaded a checkpoint, and copied the average
    return trainer, best, meter


def _callbacks(
    settings: TrainSettings, tracker: Tracker, model: Network, data: SequenceDataModule, best: ModelCheckpoint, meter: Meter, log_every: int
) -> Iterator[Callback]:
    """Yield what accompanies the training, in the order in which Lightning calls it."""
    callbacks = settings.callbacks
    yield from (StepSeed(settings.seed), FiniteGuard(), meter, MemoryReturn())
    yield from _insight(callbacks.insight, tracker, data)
    yield from weight_constraint(callbacks, model)
    yield from pruning(settings.compression, callbacks, model)
    if settings.finetune.unfreeze_every_epochs is not None:
        yield GradualUnfreezing(model, settings.finetune.unfreeze_every_epochs)
    yield from _weight_average(callbacks.ema_decay)
    yield best
    yield from _early_stopping(callbacks.early_stopping, best)
    if callbacks.early_stopping.when_solved:
        yield StopWhenSolved(model.task)
    yield StepNumbers(log_every)
    yield LastCheckpoint(tracker, callbacks.checkpoint.every_minutes)
    yield ProgressLine(model.task.metric)
    if isinstance(model, SequenceModule) and model.spec.is_stream:
        yield CarriedState(model)
    if model.spec.target_kind == "tokens" and is_leader():
        yield Samples(tracker, data.shown, lambda rows: data.examples["id"].iloc[rows].tolist())
    if isinstance(data, RunningText) and is_leader():
        yield Continuations(tracker, data.training_tokens(), data.prompt(), data.joined)


def count_of(limit: float | int, loader: Any) -> int | None:
    """Turn Lightning's limit (a share or a count) into a count; None is all."""
    return None if limit == 1.0 and isinstance(limit, float) else limit if isinstance(limit, int) else int(limit * len(loader))


def best_checkpoint(callbacks: Callbacks, folder: Path, model: Network, kind: type[ModelCheckpoint] = ModelCheckpoint) -> ModelCheckpoint:
    """Return what chooses the best checkpoint.

    Raises:
        ConfigError: where it follows a metric that is never logged, or nobody says whether more or less is better.
    """
    settings, metric = callbacks.checkpoint, model.task.metric
    monitor, mode = settings.monitor or f"val/{metric.name}", settings.mode or metric.direction
    if settings.monitor and settings.mode not in ("min", "max"):
        raise ConfigError("callbacks.checkpoint.monitor needs callbacks.checkpoint.mode=min or max")
    if monitor not in (names := _logged_names(model)):
        raise ConfigError(f"callbacks.checkpoint.monitor={monitor} is never logged.{nearest(monitor, names)} Logged: {', '.join(names)}")
    # Only a whole checkpoint holds averaged weights: of weights alone, Lightning writes those that training goes on with.
    is_averaged = callbacks.ema_decay is not None
    return kind(
        folder, "best", monitor, mode=mode, save_top_k=settings.num_best, enable_version_counter=settings.num_best > 1,
        save_on_train_epoch_end=False, save_weights_only=not is_averaged,
    )  # fmt: skip


def _logged_names(model: Network) -> list[str]:
    """Return what validation logs, before there is any."""
    if isinstance(model.task, Transduce):
        return ["val/loss", *(f"val/{name}" for name in model.task.metric_names)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics: computed before the first update
        return ["val/loss", *(f"val/{name}" for name in model.task.flatten(model.task.metrics().compute()))]


def chosen_by(model: Network, asked: str | None) -> Metric:
    """Return the metric that a search chooses settings by, on validation: `study.metric`, or else the task's own.

    Raises:
        ConfigError: where it is not measured while training, or says nothing of what is better.
    """
    own = model.task.metric
    if asked in (None, own.name):
        return own
    logged = [name.removeprefix("val/") for name in _logged_names(model)]
    known = {name: direction for name in logged if (direction := direction_of(name))}
    if asked not in known:
        why = "neither more nor less of it is better" if asked in logged else "it is not measured on validation while training"
        short = ", ".join(name for name in known if "/" not in name)
        raise ConfigError(f"study.metric={asked} is not allowed: {why}.{nearest(str(asked), known)} Allowed: {short}")
    return Metric.named(str(asked))


def _early_stopping(settings: EarlyStoppingSettings, best: ModelCheckpoint) -> Iterator[EarlyStopping]:
    if settings.patience is not None:
        yield EarlyStopping(str(best.monitor), settings.min_delta, settings.patience, mode=best.mode, check_on_train_epoch_end=False)


def _insight(node: Node | None, tracker: Tracker, data: SequenceDataModule) -> Iterator[Callback]:
    """Look into the training where it is asked (callbacks=insight); of several processes the leader does."""
    if node is not None and is_leader():
        yield node.recipe()(tracker, data)


def _weight_average(decay: float | None) -> Iterator[WeightAveraging]:
    """Average the weights over steps; validation, checkpoints and the result take the average, training goes on with its own."""
    if decay is not None:
        yield WeightAveraging(use_buffers=True, multi_avg_fn=functools.partial(average, decay))


@torch.no_grad()
def average(decay: float, averaged: list[Tensor], current: list[Tensor], num_averaged: Tensor) -> None:
    """Move averages towards weights; at first faster, so that the first weights are soon forgotten; whole numbers are copied."""
    if torch.is_floating_point(averaged[0]):
        num_steps = float(num_averaged)
        torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + num_steps) / (10 + num_steps)))
        return
    for ours, theirs in zip(averaged, current, strict=True):
        ours.copy_(theirs)
