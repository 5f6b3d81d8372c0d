"""The trainer, what watches it, and checkpoints: made, chosen, loaded."""

import functools
import os
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint, WeightAveraging
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from rich.console import Console
from torch import Tensor

from rnnlab.config import Config, ConfigError, nearest
from rnnlab.config import recipe as checked
from rnnlab.data.base import SequenceDataModule
from rnnlab.models.base import Network
from rnnlab.tasks import Metric, Transduce
from rnnlab.tasks.metrics import direction_of
from rnnlab.tracking.tracker import Tracker
from rnnlab.training.callbacks import FiniteGuard, LastCheckpoint, Meter, ProgressLine, Samples, StepSeed, StopWhenSolved, TrackingLogger
from rnnlab.training.constraints import weight_constraint
from rnnlab.training.distributed import spread
from rnnlab.training.launching import is_leader

console = Console(stderr=True, soft_wrap=True)


def make_trainer(
    config: Config, recipe: "functools.partial[pl.Trainer]", tracker: Tracker, model: Network, data: SequenceDataModule
) -> tuple[pl.Trainer, ModelCheckpoint, Meter]:
    """Return the trainer, the callback that chooses a checkpoint, and the one that measures speed."""
    shares = spread(model, data)
    meter = Meter()
    best = _best_checkpoint(config, tracker.folder, model)
    loggers: list[Logger] = [TrackingLogger(tracker)]
    if config["tracking"]["tensorboard"]:
        loggers.append(TensorBoardLogger(tracker.folder, name="tensorboard", version=""))
    callbacks: list[Callback] = [
        *shares,
        StepSeed(config["seed"]),
        FiniteGuard(),
        meter,
        *_insight(config, tracker, data),
        *weight_constraint(config["callbacks"], model),
        *_weight_average(config),
        best,
        *_early_stopping(config, best),
        *_stop_when_solved(config, model),
        *_pruning(config, model),
        LastCheckpoint(tracker.folder, config["callbacks"]["checkpoint"]["every_minutes"]),
        ProgressLine(model.task.metric),
        *(
            [Samples(tracker, data.shown, lambda rows: data.examples["id"].iloc[rows].tolist())]
            if model.spec.target_kind == "tokens" and is_leader()
            else []
        ),
    ]
    loader = data.train_dataloader()
    steps_per_epoch = min(count_of(config["trainer"]["limit_train_batches"], loader) or len(loader), len(loader))
    trainer = recipe(
        logger=loggers,
        callbacks=callbacks,
        plugins=[DirectCheckpointIO()],
        log_every_n_steps=max(1, min(config["tracking"]["log_every_n_steps"], steps_per_epoch)),
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tracker.folder,
    )
    trainer.precision_plugin.convert_module(model)  # Lightning does so only after it has loaded a checkpoint, and copied the average
    return trainer, best, meter


class DirectCheckpointIO(TorchCheckpointIO):
    """Write checkpoints straight to disk, aside and renamed; Lightning's way holds each of them twice in memory first."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Raises:
            OSError: where it cannot be written.
        """
        file = Path(path)
        aside = file.with_name(f".{file.name}.writing")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.save(checkpoint, aside)
            os.replace(aside, file)
        except RuntimeError as error:  # what torch says of a disk that is full
            raise OSError(f"{file}: {str(error).splitlines()[0]}") from error
        finally:
            aside.unlink(missing_ok=True)


def count_of(limit: float | int, loader: Any) -> int | None:
    """Turn Lightning's limit (a share or a count) into a count; None is all."""
    return None if limit == 1.0 and isinstance(limit, float) else limit if isinstance(limit, int) else int(limit * len(loader))


def _best_checkpoint(config: Config, folder: Path, model: Network) -> ModelCheckpoint:
    settings, measure = config["callbacks"]["checkpoint"], model.task.metric
    monitor, mode = settings["monitor"] or f"val/{measure.name}", settings["mode"] or measure.direction
    if settings["monitor"] and settings["mode"] not in ("min", "max"):
        raise ConfigError("callbacks.checkpoint.monitor needs callbacks.checkpoint.mode=min or max")
    if monitor not in (names := _logged_names(model)):
        raise ConfigError(f"callbacks.checkpoint.monitor={monitor} is never logged.{nearest(monitor, names)} Logged: {', '.join(names)}")
    # Only a whole checkpoint holds averaged weights: of weights alone, Lightning writes those that training goes on with.
    is_averaged = config["callbacks"]["ema_decay"] is not None
    return ModelCheckpoint(
        folder, "best", monitor, mode=mode, save_top_k=settings["num_best"], enable_version_counter=settings["num_best"] > 1,
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
    """Return the metric that a search chooses settings by, on validation.

    Args:
        model: any of the network's settings.
        asked: `study.metric`; None for the task's own.

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


def _early_stopping(config: Config, best: ModelCheckpoint) -> Iterator[EarlyStopping]:
    settings = config["callbacks"]["early_stopping"]
    if settings["patience"] is not None:
        yield EarlyStopping(
            str(best.monitor),
            settings["min_delta"],
            settings["patience"],
            mode=best.mode,
            check_on_train_epoch_end=False,
        )


def _stop_when_solved(config: Config, model: Network) -> Iterator[StopWhenSolved]:
    if config["callbacks"]["early_stopping"].get("when_solved", False):
        yield StopWhenSolved(model.task)


def _pruning(config: Config, model: Network) -> Iterator[Callback]:
    """Report to the search whose trial this run is, by what settings are chosen by (checkpoints may follow something else)."""
    if config["study"]["trial"] is not None and config["study"]["pruning"]:
        from rnnlab.studies.trials import Pruning

        measure = chosen_by(model, config["study"]["metric"])
        yield Pruning(config, f"val/{measure.name}", measure.direction)


def _insight(config: Config, tracker: Tracker, data: SequenceDataModule) -> Iterator[Callback]:
    """Look into the training, where it is asked (callbacks=insight); of several processes the leader does."""
    if config["callbacks"].get("insight") and is_leader():
        yield checked(config["callbacks"]["insight"], "callbacks.insight")(tracker, data)


def _weight_average(config: Config) -> Iterator[WeightAveraging]:
    """Average the weights over steps; validation, checkpoints and the result take the average, training goes on with its own."""
    decay = config["callbacks"]["ema_decay"]
    if decay is not None:
        yield WeightAveraging(use_buffers=True, multi_avg_fn=functools.partial(_average, decay))


@torch.no_grad()
def _average(decay: float, averaged: list[Tensor], current: list[Tensor], num_averaged: Tensor) -> None:
    """Move averages towards weights; at first faster, so that the first weights are soon forgotten; whole numbers are copied."""
    if torch.is_floating_point(averaged[0]):
        num_steps = float(num_averaged)
        torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + num_steps) / (10 + num_steps)))
        return
    for ours, theirs in zip(averaged, current, strict=True):
        ours.copy_(theirs)


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Read a checkpoint as data, never as code.

    Raises:
        ConfigError: where it is no checkpoint, is damaged, or carries code.
    """
    try:
        content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        _ = content["state_dict"].keys()
        return content
    except pickle.UnpicklingError as error:
        reason = "it carries code, which is not run" if "Unsupported global" in str(error) else "it is damaged or no checkpoint at all"
        raise ConfigError(f"{file} cannot be loaded: {reason}") from None
    except (OSError, RuntimeError, EOFError, LookupError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"{file} cannot be loaded: it is damaged or no checkpoint ({str(error).splitlines()[0]})") from None


def load_weights(model: Network, checkpoint: Path) -> Path:
    """Load a checkpoint's weights.

    Raises:
        ConfigError: where it cannot be read or belongs to another model.
    """
    try:
        model.load_state_dict(read_checkpoint(checkpoint)["state_dict"])
    except RuntimeError as error:
        raise ConfigError(f"{checkpoint} belongs to another model ({str(error).splitlines()[0]})") from None
    return checkpoint


def init_from(model: Network, folder: Path) -> None:
    """Begin with another run's weights where names and shapes agree, and say which."""
    file = next((f for f in (folder / "best.ckpt", folder / "last.ckpt") if f.is_file()), None)
    if file is None:
        raise ConfigError(f"init_from: no checkpoint in {folder}")
    theirs = read_checkpoint(file)["state_dict"]
    ours = model.state_dict()
    taken = {k: v for k, v in theirs.items() if k in ours and ours[k].shape == v.shape}
    if "frontend.table.weight" not in taken:  # another vocabulary: its n-grams are numbered by it
        taken = {k: v for k, v in taken.items() if "ngram" not in k}
    if not taken:
        raise ConfigError("init_from: no weight of that run has the name and shape of one here")
    model.load_state_dict(taken, strict=False)
    console.print(f"init_from {folder.name}: took {len(taken)} of {len(ours)} weights")
    if left := [name for name in ours if name not in taken]:
        console.print(f"  drawn anew: {', '.join(left)}", highlight=False)
