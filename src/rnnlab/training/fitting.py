"""One training: model -> fit -> chosen checkpoint -> evaluation on validation and test."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from rich.console import Console

from rnnlab.config import ConfigError
from rnnlab.data.base import SequenceDataModule
from rnnlab.data.targets import TokenTargets
from rnnlab.evaluation.evaluate import Evaluation, evaluate
from rnnlab.models.base import FittedOnce, Network, Predictor, SequenceModule
from rnnlab.paths import in_markup
from rnnlab.settings import TrainSettings
from rnnlab.tracking.tracker import Tracker
from rnnlab.training import distributed, signals
from rnnlab.training.budget import at_budget
from rnnlab.training.callbacks import peak_memory_mb
from rnnlab.training.checkpoints import BEST, LAST, keep_weights, load_weights
from rnnlab.training.compression import compress, refuse_incompressible
from rnnlab.training.launching import is_leader
from rnnlab.training.recipes import Recipes
from rnnlab.training.trainer import count_of, make_trainer

console = Console(stderr=True, soft_wrap=True)


@dataclass(frozen=True)
class Fitted:
    """A trained model with the weights of the chosen checkpoint (a baseline has none), and its cost by metric name."""

    model: Predictor
    cost: dict[str, float]
    checkpoint: Path | None = None


def make_model(settings: TrainSettings, recipes: Recipes, data: SequenceDataModule) -> tuple[TrainSettings, Predictor]:
    """Make the model for these data; return it with the settings that it has, the hidden size that meets a budget among them.

    Raises:
        ConfigError: where settings, model and data do not go together.
    """
    spec = data.make_spec()
    if spec.solved_at is None and settings.callbacks.early_stopping.when_solved and not settings.is_baseline:
        raise ConfigError(f"callbacks.early_stopping.when_solved: data={spec.name} don't say when they are solved: leave it out")
    if settings.budget and settings.model.sized_parts:
        sized = at_budget(settings.model, settings.budget, spec)
        console.print(
            f"  {'budget':13} hidden size {sized.hidden_size}: {sized.num_parameters:,} parameters between front end and output "
            f"({100 * sized.deviation:+.1f} %)",
            highlight=False,
        )
        settings = replace(settings, model=sized.model)
    pl.seed_everything(settings.seed, workers=False, verbose=False)
    model: Predictor = settings.model.recipe()(spec)
    refuse_incompressible(model, settings.compression)
    if isinstance(model, Network):
        model.optimization = recipes.optimization
        model.frontend.begin_with(data.input_vectors())
        if model.frontend.needs_fit:
            model.frontend.fit(data.plain_dataloader("train"))
    elif settings.run.init_from:
        raise ConfigError("init_from gives a network its first weights; model=baseline has none: leave it out")
    if isinstance(model, SequenceModule) and model.is_ctc:
        _leave_out_short(model, data)
    return settings, model


def _leave_out_short(model: SequenceModule, data: SequenceDataModule) -> None:
    """Leave out of training the examples that are too short for CTC to align, and name them."""
    assert isinstance(data, TokenTargets)
    left = data.leave_out_infeasible(model.frontend.steps_out)
    if left:
        words = ", ".join(left[:5]) + (f", ... {len(left) - 5} more" if len(left) > 5 else "")
        what = f"{len(left)} too short for CTC to say all their tokens: {in_markup(words)}"
        console.print(f"  [yellow]left out[/]      {what}", highlight=False)


def fit(
    settings: TrainSettings,
    recipes: Recipes,
    tracker: Tracker,
    model: Predictor,
    data: SequenceDataModule,
    checkpoint: Path | None,
    more_callbacks: Iterable[Callback] = (),
) -> Fitted:
    """Train a network, from a checkpoint if there is one, and load the chosen checkpoint; or fit a baseline.

    Raises:
        OSError: where the disk is full.
        ConfigError: where Lightning refuses a setting.
    """
    if not isinstance(model, Network):
        return _fit_baseline(cast(FittedOnce, model), data)
    if not settings.is_trained:
        compress(model, settings.compression, tracker.folder / BEST)
        cost = {"time/fit_seconds": 0.0, "speed/examples_per_second": 0.0, "memory/peak_mb": peak_memory_mb()}
        return Fitted(model, cost, tracker.folder / BEST)
    trainer, best, meter = make_trainer(settings, recipes.trainer, tracker, model, data, more_callbacks)
    try:
        with signals.patiently():
            trainer.fit(model, datamodule=data, ckpt_path=str(checkpoint) if checkpoint else None, weights_only=True)
    except MisconfigurationException as error:
        raise ConfigError(str(error)) from error
    distributed.part()
    cost = {"time/fit_seconds": meter.fit_seconds, **meter.numbers()}
    if not is_leader():
        return Fitted(model, cost)
    # In whatever precision the network was trained, it is evaluated and kept in float32.
    checkpoint = load_weights(model.float(), _chosen_weights(best, tracker.folder))
    compress(model, settings.compression, checkpoint)
    return Fitted(model, cost, checkpoint)


def _chosen_weights(best: ModelCheckpoint, folder: Path) -> Path:
    """Return the chosen checkpoint, the last one where nothing was validated; all that are kept beside the last hold weights alone."""
    for file in map(Path, best.best_k_models):
        if file.is_file():
            keep_weights(file, file)
    return Path(best.best_model_path) if best.best_model_path else keep_weights(folder / LAST, folder / BEST)


def _fit_baseline(model: FittedOnce, data: SequenceDataModule) -> Fitted:
    console.print(f"fitting [bold]{model.kind}[/]")
    begun = time.monotonic()
    model.fit(data.plain_dataloader("train"), data.plain_dataloader("val"))
    seconds = time.monotonic() - begun
    cost = {
        "time/fit_seconds": seconds,
        "speed/examples_per_second": len(data.rows["train"]) / max(seconds, 1e-9),
        "memory/peak_mb": peak_memory_mb(),
    }
    return Fitted(model, cost)


def evaluate_both(settings: TrainSettings, model: Predictor, data: SequenceDataModule) -> dict[str, Evaluation]:
    """Evaluate on validation and on test, once."""
    limits = settings.trainer.limits
    return {
        "val": evaluate(model, data, "val", count_of(limits["val"], data.val_dataloader())),
        "test": evaluate(model, data, "test", count_of(limits["test"], data.test_dataloader())),
    }
