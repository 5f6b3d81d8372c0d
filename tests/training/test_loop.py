"""Our training loop takes the same steps as Lightning's, to the last bit, and leaves to Lightning what is not ordinary."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop

from rnnlab.models.base import Network
from rnnlab.settings import TrainSettings
from rnnlab.tracking.tracker import SilentTracker
from rnnlab.training.fitting import make_model
from rnnlab.training.loop import LeanEpochLoop, is_ordinary
from rnnlab.training.recipes import check, opened
from rnnlab.training.trainer import make_trainer

SMALL = "data.source=sample model.recurrence.hidden_size=8 trainer.max_epochs=2 trainer.limit_train_batches=5 trainer.limit_val_batches=2"
ORDINARY = {
    "gru on speech": "model=gru data=speech",
    "plateau": "model=gru data=speech scheduler=plateau",
    "averaged weights": "model=gru data=speech callbacks.ema_decay=0.9",
    "bfloat16": "model=gru data=speech trainer.precision=bf16-mixed",
    "clipped by value": "model=gru data=speech trainer.gradient_clip_val=0.01 trainer.gradient_clip_algorithm=value",
    "no clipping": "model=gru data=speech trainer.gradient_clip_val=null",
    "norms of rows": "model=gru data=speech callbacks.max_norm=0.5",
    "streams": "model=lstm data=language tuned=null",
    "ctc": "model=birnn data=dictation tuned=null",
}
QUICK = ("gru on speech", "plateau", "bfloat16", "streams")
SPECIAL = {
    "accumulated": "trainer.accumulate_grad_batches=2",
    "float64": "trainer.precision=64-true",
    "profiled": "+trainer.profiler=simple",
}


class Seen(Callback):
    """Keep what the hooks of a step are given, and what is logged."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        self.calls.append(("start", (batch_idx, trainer.global_step, batch.size)))

    def on_before_zero_grad(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer) -> None:
        self.calls.append(("zero", any(p.grad is not None for p in pl_module.parameters())))

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: torch.Tensor) -> None:
        self.calls.append(("loss", float(loss.detach())))

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.calls.append(("gradient", float(sum(p.grad.abs().sum() for p in pl_module.parameters() if p.grad is not None))))

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer) -> None:
        self.calls.append(("rate", optimizer.param_groups[0]["lr"]))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        pl_module.log("seen", float(batch_idx), on_step=True, on_epoch=True, batch_size=1)
        self.calls.append(("end", (batch_idx, trainer.global_step, float(outputs["loss"]))))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.calls.append(("validated", (trainer.global_step, float(trainer.callback_metrics["val/loss"]))))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.calls.append(("epoch", float(trainer.callback_metrics["seen_epoch"])))


def trained(settings: TrainSettings, folder: Path, is_ours: bool) -> tuple[dict[str, torch.Tensor], list[tuple[str, Any]], Any]:
    """Train, by our loop or Lightning's; return weights, what hooks saw, and where Lightning's counters and schedules stand."""
    recipes = check(settings)
    data = opened(settings)
    settings, model = make_model(settings, recipes, data)
    assert isinstance(model, Network)
    seen = Seen()
    trainer, *_ = make_trainer(settings, recipes.trainer, SilentTracker("run", "run", folder), model, data, [seen])
    if not is_ours:
        own = trainer.fit_loop.epoch_loop
        trainer.fit_loop.epoch_loop = _TrainingEpochLoop(trainer, own.min_steps, own.max_steps)
    trainer.fit(model, datamodule=data)
    state = torch.load(folder / "last.ckpt", weights_only=True)
    counted = {key: state[key] for key in ("epoch", "global_step", "loops", "lr_schedulers", "optimizer_states")}
    return dict(model.state_dict()), seen.calls, counted


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in ORDINARY])
def test_our_steps_are_lightnings(name: str, compose: Callable[..., TrainSettings], tmp_path: Path) -> None:
    settings = compose(*SMALL.split(), *ORDINARY[name].split())
    ours = trained(settings, tmp_path / "ours", is_ours=True)
    theirs = trained(settings, tmp_path / "theirs", is_ours=False)
    assert ours[1] == theirs[1]
    assert [what for what, _ in ours[1]].count("start") == 10
    for ours_part, theirs_part in zip(flat((ours[0], ours[2])), flat((theirs[0], theirs[2])), strict=True):
        is_same = torch.equal(ours_part, theirs_part) if isinstance(ours_part, torch.Tensor) else ours_part == theirs_part
        assert is_same, (ours_part, theirs_part)


def flat(value: Any) -> list[Any]:
    """Return keys and values of nested containers one after another."""
    if isinstance(value, dict):
        return [each for key, part in value.items() for each in (key, *flat(part))]
    if isinstance(value, list | tuple):
        return [each for part in value for each in flat(part)]
    return [value]


@pytest.mark.parametrize("name", SPECIAL)
def test_other_steps_are_left_to_lightning(name: str, compose: Callable[..., TrainSettings], tmp_path: Path) -> None:
    settings = compose(*SMALL.split(), "model=gru", "data=speech", *SPECIAL[name].split())
    recipes = check(settings)
    data = opened(settings)
    settings, model = make_model(settings, recipes, data)
    assert isinstance(model, Network)
    trainer, *_ = make_trainer(settings, recipes.trainer, SilentTracker("run", "run", tmp_path), model, data)
    trainer.fit(model, datamodule=data)
    assert isinstance(trainer.fit_loop.epoch_loop, LeanEpochLoop)
    assert not trainer.fit_loop.epoch_loop.is_lean


def test_a_module_that_changes_its_step_is_left_to_lightning(compose: Callable[..., TrainSettings], tmp_path: Path) -> None:
    settings = compose(*SMALL.split(), "model=gru", "data=speech")
    recipes = check(settings)
    data = opened(settings)
    settings, model = make_model(settings, recipes, data)
    assert isinstance(model, Network)
    trainer, *_ = make_trainer(settings, recipes.trainer, SilentTracker("run", "run", tmp_path), model, data)
    trainer.fit(model, datamodule=data)
    assert is_ordinary(trainer)
    model.on_after_backward = lambda: None
    assert not is_ordinary(trainer)


NETWORKS = {
    "convolution and batch norm": "model=birnn data=dictation tuned=null",
    "transformer": "model=transformer data=speech",
    "tcn": "model=tcn data=text",
    "attention": "model=seq2seq data=translation tuned=seq2seq_translation data.prepare.subword_size=400",
    "copying": "model=seq2seq data=summaries",
    "peepholes": "model=lstm cell=lstm_peephole data=speech",
    "norms inside the cell": "model=lstm cell=lstm_layer_norm data=speech",
    "a scan": "model=gru cell=mingru data=speech",
    "zoneout": "model=lstm data=speech model.recurrence.zoneout=0.1 model.recurrence.backend=reference",
    "a field over tags": "model=birnn data=tags tuned=null model.head.has_crf=true",
    "norms between layers": "model=gru data=speech model.recurrence.has_batch_norm=true",
    "quantiles": "model=gru data=stock model/head=quantile",
    "chords": "model=lstm data=music",
    "events": "model=gru data=events",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_network_trains_in_bfloat16(name: str, compose: Callable[..., TrainSettings], tmp_path: Path) -> None:
    few = "data.source=sample trainer.max_epochs=1 trainer.limit_train_batches=4 trainer.limit_val_batches=1 trainer.precision=bf16-mixed"
    recipes = check(settings := compose(*few.split(), *NETWORKS[name].split()))
    data = opened(settings)
    settings, model = make_model(settings, recipes, data)
    assert isinstance(model, Network)
    trainer, *_ = make_trainer(settings, recipes.trainer, SilentTracker("run", "run", tmp_path), model, data)
    trainer.fit(model, datamodule=data)
    assert 0 < trainer.global_step <= 4
    assert all(weight.dtype == torch.float32 and weight.isfinite().all() for weight in model.parameters())


def test_a_training_that_ends_by_steps_knows_its_epochs_too(compose: Callable[..., TrainSettings], tmp_path: Path) -> None:
    few = "data.source=sample model.recurrence.hidden_size=8 trainer.max_epochs=-1 trainer.max_steps=20 trainer.limit_val_batches=1"
    recipes = check(settings := compose(*few.split(), "model=gru", "data=speech", "scheduler=plateau"))
    data = opened(settings)
    settings, model = make_model(settings, recipes, data)
    assert isinstance(model, Network)
    trainer, *_ = make_trainer(settings, recipes.trainer, SilentTracker("run", "run", tmp_path), model, data)
    trainer.fit(model, datamodule=data)
    (config,) = trainer.lr_scheduler_configs
    assert (trainer.global_step, config.frequency) == (20, len(data.train_dataloader()))
