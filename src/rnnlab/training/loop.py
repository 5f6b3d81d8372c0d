"""Training steps without what Lightning's own loop does around them: at steps of 2 ms that is more than a quarter of the time.

The Trainer, its callbacks, checkpoints and resume stay Lightning's. `LeanEpochLoop` stands where Lightning has its epoch loop and counts
with the same counters, so a checkpoint of one is a checkpoint of the other. It takes a step by itself where the step is an ordinary one:

    one process, automatic optimization, one optimizer, a step per batch, float32 or bfloat16 autocast, no profiler

and leaves all others to Lightning. The numbers are the same to the last bit (tests/training/test_loop.py). What it leaves out: copying
each batch field by field although it is on its device, entering a profiler that records nothing around each hook, calling the hooks that
nobody defines, wrapping each step in closures, and asking after each step what was logged.
"""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop
from pytorch_lightning.plugins.precision import MixedPrecision, Precision
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.trainer import call

HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)
OF_LIGHTNING = (
    *HOOKS,
    "optimizer_step",
    "optimizer_zero_grad",
    "backward",
    "lr_scheduler_step",
    "on_before_batch_transfer",
    "transfer_batch_to_device",
    "on_after_batch_transfer",
)
"""What a module may define to change a step; of one that does, Lightning takes the steps."""


class LeanEpochLoop(_TrainingEpochLoop):
    """Take the steps of an epoch; see the head of this file."""

    def __init__(self, trainer: pl.Trainer) -> None:
        own = trainer.fit_loop.epoch_loop
        super().__init__(trainer, own.min_steps, own.max_steps)
        self.is_lean = False
        self._hooks: dict[str, list[Callable[..., None]]] = {}

    def on_run_start(self, data_fetcher: Any) -> None:
        """Find out, before each epoch, which hooks there are and whether its steps are ordinary ones."""
        super().on_run_start(data_fetcher)
        self.is_lean = is_ordinary(self.trainer)
        self._hooks = {name: _defined(self.trainer, name) for name in HOOKS}

    def advance(self, data_fetcher: Any) -> None:
        """Train on one batch."""
        if not self.is_lean or self.restarting:
            super().advance(data_fetcher)
            return
        self.val_loop.restarting = False
        trainer = self.trainer
        batch, _, _ = next(data_fetcher)
        batch_idx = self.batch_idx + 1
        self.batch_progress.is_last_batch = data_fetcher.done
        if trainer.strategy.root_device.type != "cpu":
            batch = call._call_strategy_hook(trainer, "batch_to_device", batch, dataloader_idx=0)
        self.batch_progress.increment_ready()
        self._begin_logging(batch)
        self._call("on_train_batch_start", batch, batch_idx)
        self.batch_progress.increment_started()
        loss = self._step(batch, batch_idx)
        self.batch_progress.increment_processed()
        self._step_schedulers()
        self._call("on_train_batch_end", {"loss": loss}, batch, batch_idx)
        if self._results:  # somebody called `log`
            trainer._logger_connector.on_batch_end()
        self.batch_progress.increment_completed()
        if self._results:
            trainer._logger_connector.update_train_step_metrics()

    def _step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """Compute loss and gradients, and move the weights; return the loss."""
        trainer, module, optimizer = self.trainer, self.trainer.lightning_module, self.trainer.optimizers[0]
        progress = self.automatic_optimization.optim_progress.optimizer
        progress.step.increment_ready()
        module._current_fx_name = "training_step"
        with trainer.precision_plugin.forward_context():
            loss: torch.Tensor = module.training_step(batch, batch_idx)
        progress.zero_grad.increment_ready()
        self._call("on_before_zero_grad", optimizer)
        progress.zero_grad.increment_started()
        for group in optimizer.param_groups:
            for weight in group["params"]:
                weight.grad = None
        progress.zero_grad.increment_completed()
        self._call("on_before_backward", loss)
        loss.backward()
        self._call("on_after_backward")
        self._call("on_before_optimizer_step", optimizer)
        module.configure_gradient_clipping(optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm)
        optimizer.step()
        progress.step.increment_completed()
        return loss.detach()

    def _begin_logging(self, batch: Any) -> None:
        """Do what Lightning's logger connector does at the beginning of a batch, without asking which loop is running."""
        logging = self.trainer._logger_connector
        logging._first_loop_iter = logging._first_loop_iter is None
        self._results.batch, self._results.batch_size, self._results.dataloader_idx = batch, None, None

    def _step_schedulers(self) -> None:
        """Step the schedules that go by steps; those that wait for a validation have their turn after it."""
        for config in self.trainer.lr_scheduler_configs:
            is_due = config.interval == "step" and (self.batch_idx + 1) % config.frequency == 0
            if is_due and not config.reduce_on_plateau:
                self.scheduler_progress.increment_ready()
                config.scheduler.step()
                self.scheduler_progress.increment_completed()
        if self._num_ready_batches_reached():
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)

    def _call(self, name: str, *given: Any) -> None:
        """Call a hook of all callbacks that define it."""
        trainer, module = self.trainer, self.trainer.lightning_module
        if hooks := self._hooks[name]:
            module._current_fx_name = name
            for hook in hooks:
                hook(trainer, module, *given)


def is_ordinary(trainer: pl.Trainer) -> bool:
    """Say whether the steps of this training are such as `LeanEpochLoop` takes by itself."""
    module, precision = trainer.lightning_module, trainer.precision_plugin
    return (
        trainer.world_size == 1
        and type(trainer.strategy) is pl.strategies.SingleDeviceStrategy
        and module.automatic_optimization
        and len(trainer.optimizers) == 1
        and trainer.accumulate_grad_batches == 1
        and (type(precision) is Precision or (type(precision) is MixedPrecision and precision.scaler is None))
        and isinstance(trainer.profiler, PassThroughProfiler)  # type: ignore[attr-defined]
        and not trainer.fast_dev_run  # type: ignore[attr-defined]
        and not any(_overrides(module, pl.LightningModule, name) for name in OF_LIGHTNING)
    )


def _defined(trainer: pl.Trainer, name: str) -> list[Callable[..., None]]:
    """Return a hook of all callbacks that define it, in their order."""
    return [getattr(callback, name) for callback in trainer.callbacks if _overrides(callback, Callback, name)]  # type: ignore[attr-defined]


def _overrides(instance: object, base: type, name: str) -> bool:
    own = getattr(instance, name)
    return getattr(own, "__func__", own) is not getattr(base, name, None)
