"""One run of a pack: its model, its data, its optimizer, and where it stands; what a run alone does by Lightning's callbacks.

A member has its own order of batches, its own schedule, validation, best checkpoint and early stopping, and writes checkpoints from which
it goes on. Members know nothing of each other: `packed` takes their steps together.
"""

import functools
import math
import time
from collections.abc import Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel

from rnnlab.config import ConfigError
from rnnlab.contracts import Batch
from rnnlab.data.base import SequenceDataModule
from rnnlab.models.base import SequenceModule
from rnnlab.settings import EarlyStopping, TrainSettings
from rnnlab.tracking.tracker import Tracker
from rnnlab.training.callbacks import NonFiniteError, StopWhenSolved, peak_memory_mb
from rnnlab.training.checkpoints import BEST, LAST, DirectCheckpointIO, keep_weights, load_weights, read_checkpoint
from rnnlab.training.constraints import weight_constraint
from rnnlab.training.fitting import Fitted
from rnnlab.training.trainer import average, best_checkpoint, count_of

STATE = "packed"
"""Of a member's checkpoint: where it stands."""


class Chosen:
    """The best validation so far, and when to give up: as Lightning's ModelCheckpoint and EarlyStopping decide."""

    def __init__(self, monitor: str, mode: str, stopping: EarlyStopping) -> None:
        self.monitor, self.sign, self.stopping = monitor, 1.0 if mode == "max" else -1.0, stopping
        self.best, self.best_to_beat, self.num_without = -math.inf, -math.inf, 0
        self.has_any = False

    def sees(self, value: float) -> tuple[bool, bool]:
        """Take a validation's number; return whether it is the best so far, and whether training stops."""
        signed = -math.inf if math.isnan(value) else self.sign * value
        is_best = not self.has_any or signed > self.best
        self.has_any, self.best = True, signed if is_best else self.best
        if self.stopping.patience is None:
            return is_best, False
        is_better = signed - self.stopping.min_delta > self.best_to_beat
        self.best_to_beat = signed if is_better else self.best_to_beat
        self.num_without = 0 if is_better else self.num_without + 1
        return is_best, self.num_without >= self.stopping.patience or not math.isfinite(value)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {name: getattr(self, name) for name in ("best", "best_to_beat", "num_without", "has_any")}


class Member:
    """Train one run of a pack.

    Args:
        settings: of the run.
        tracker: of the run.
        model: to train; its `optimization` is set.
        data: open.
        checkpoint: from which it goes on; None: from the first step.
    """

    def __init__(
        self, settings: TrainSettings, tracker: Tracker, model: SequenceModule, data: SequenceDataModule, checkpoint: Path | None
    ) -> None:
        self.settings, self.tracker, self.model, self.data = settings, tracker, model, data
        self.loader, self.val_loader = data.train_dataloader(), data.val_dataloader()
        self.num_batches = _number(settings, "train", self.loader)
        trainer = settings.trainer.node.values
        self.max_steps = int(trainer.get("max_steps", -1))
        self.total_steps = self._total_steps()
        self.clip_value, self.clip_by = trainer.get("gradient_clip_val"), trainer.get("gradient_clip_algorithm", "norm")
        self.val_every = int(trainer.get("check_val_every_n_epoch", 1))
        self.log_every = max(1, min(settings.tracking.log_every_n_steps, self.num_batches))
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        assert model.optimization is not None
        self.optimizer = model.optimization.made([self.weights])
        direction = model.task.metric.direction
        self.scheduler = model.optimization.scheduler(self.optimizer, total_steps=self.total_steps, direction=direction)
        self.constraint = next(weight_constraint(settings.callbacks, model), None)
        self.averaged = _averaged(model, settings.callbacks.ema_decay)
        chooser = best_checkpoint(settings.callbacks, tracker.folder, model)
        self.chosen = Chosen(str(chooser.monitor), chooser.mode, settings.callbacks.early_stopping)
        self.epoch = self.position = self.step = self.num_examples = 0
        self.seconds = self.step_seconds = 0.0
        self.validated: dict[str, float] = {}
        self.unwritten: dict[str, Any] | None = None  # the best weights, where the file does not hold them yet
        self.is_stopped = False
        self.written_at = time.monotonic()
        if checkpoint is not None:
            self._restore(checkpoint)
        self.batches = self._batches()
        model.train()

    # -- where it stands -----------------------------------------------------------------------------------------------

    def _total_steps(self) -> int:
        epochs = self.settings.trainer.max_epochs
        if epochs is None or epochs == -1:
            if self.max_steps < 0:
                raise ConfigError("a schedule needs an end: give trainer.max_epochs or trainer.max_steps")
            return self.max_steps
        steps = self.num_batches * epochs
        return steps if self.max_steps < 0 else min(steps, self.max_steps)

    @property
    def is_done(self) -> bool:
        """Whether training is over."""
        return self.is_stopped or self.step >= self.total_steps

    @property
    def seed(self) -> int:
        """What dropout of the step ahead is drawn from: (seed, step), as by `StepSeed`."""
        return (((self.settings.seed & 0xFFFFFFFF) << 32) + self.step) % 2**64

    def _batches(self) -> Iterator[Batch]:
        """Yield batches, epoch after epoch, from where the member stands."""
        while True:
            self.loader.sampler.set_epoch(self.epoch)
            self.loader.skip_once(self.position)
            yield from islice(self.loader, self.num_batches - self.position)

    # -- a step --------------------------------------------------------------------------------------------------------

    def apply_gradients(self) -> None:
        """Clip the gradients and take the optimizer's step.

        Raises:
            NonFiniteError: where a gradient is no finite number.
        """
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if not torch.isfinite(norm):
            raise self.not_finite("a gradient", norm)
        if self.clip_value is not None and self.clip_by == "value":
            torch.nn.utils.clip_grad_value_(self.weights, self.clip_value)
        elif self.clip_value is not None:
            torch.nn.utils.clip_grads_with_norm_(self.weights, self.clip_value, norm)
        self.optimizer.step()

    def not_finite(self, what: str, value: Tensor) -> NonFiniteError:
        """Return the error of a number that is none."""
        rate = self.optimizer.param_groups[-1]["lr"]
        kind = "NaN" if torch.isnan(value).any() else "infinite"
        largest = max(float(weight.detach().abs().max()) for weight in self.weights)
        return NonFiniteError(
            f"{what} became {kind} at step {self.step} (epoch {self.epoch}, learning rate {rate:g}, largest weight {largest:.3g}). Usual "
            f"causes: a learning rate that is too high (try optimizer.lr={rate / 10:g}), or gradients that explode through time (try "
            "trainer.gradient_clip_val=1.0). Trained alone (study.packed=false), it says what became so first"
        )

    def after_step(self, loss: Tensor, num_examples: int, seconds: float) -> None:
        """Count a step that took so long, log, and at the end of an epoch validate and save."""
        self.step, self.position = self.step + 1, self.position + 1
        self.num_examples += num_examples
        self.step_seconds += seconds
        self.seconds += seconds
        if self.step % self.log_every == 0:
            self.tracker.log_metrics({"train/loss": float(loss)}, self.step)
        if self.scheduler is not None and not isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step()
        if self.constraint is not None:
            self.constraint.project()
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)
        if self.position == self.num_batches:
            begun = time.monotonic()
            self._end_epoch()
            self.seconds += time.monotonic() - begun

    def _end_epoch(self) -> None:
        self.epoch, self.position = self.epoch + 1, 0
        if self.epoch % self.val_every == 0 and _number(self.settings, "val", self.val_loader):
            self._validate()
        metric = f"val/{self.model.task.metric.name}"
        if isinstance(self.scheduler, ReduceLROnPlateau) and metric in self.validated:
            self.scheduler.step(self.validated[metric])
        self.tracker.log_metrics(self.speed(), self.step)

    @torch.inference_mode()
    def _validate(self) -> None:
        model = self.model if self.averaged is None else cast(SequenceModule, self.averaged.module)
        model.eval()
        losses, counts = [], []
        for batch in islice(self.val_loader, _number(self.settings, "val", self.val_loader)):
            outputs = model.predict_greedy(batch)
            losses.append(float(model.task.loss(outputs, batch, is_training=False)))
            counts.append(model.task.num_counted(outputs, batch))
            model.task.update(model.metrics, outputs, batch)
        numbers = {"loss": float(np.average(losses, weights=counts)), **model.task.flatten(model.metrics.compute())}
        model.metrics.reset()
        model.train()
        self.validated = {f"val/{name}": value for name, value in numbers.items()}
        self.tracker.log_metrics(self.validated, self.step)
        is_best, is_over = self.chosen.sees(self.validated[self.chosen.monitor])
        if is_best:
            weights = {name: value.clone() for name, value in model.state_dict().items()}
            self.unwritten = {"state_dict": weights, "epoch": self.epoch - 1, "global_step": self.step, **_VERSION}
        self.is_stopped = is_over or (
            self.settings.callbacks.early_stopping.when_solved
            and bool(model.task.is_solved({name: numbers[name] for name in (model.task.compared.name,)}, StopWhenSolved.to_spare))
        )

    def speed(self) -> dict[str, float]:
        """Return speed and memory so far; time that all members took together is divided among them."""
        return {"speed/examples_per_second": self.num_examples / max(self.step_seconds, 1e-9), "memory/peak_mb": peak_memory_mb()}

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the best weights and the state from which this member goes on; what was logged so far is with tracking before."""
        self._write_best()
        names = ("epoch", "position", "step", "num_examples", "seconds", "step_seconds", "validated", "is_stopped")
        content = {
            "state_dict": self.model.state_dict(), "optimizer_states": [self.optimizer.state_dict()],
            "lr_schedulers": [] if self.scheduler is None else [self.scheduler.state_dict()],
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "epoch": self.epoch, "global_step": self.step, **_VERSION,
            STATE: {name: getattr(self, name) for name in names} | {"chosen": self.chosen.state()},
        }  # fmt: skip
        self.tracker.flush()
        DirectCheckpointIO().save_checkpoint(content, self.tracker.folder / LAST)
        self.written_at = time.monotonic()

    def _write_best(self) -> None:
        if self.unwritten is not None:
            DirectCheckpointIO().save_checkpoint(self.unwritten, self.tracker.folder / BEST)
            self.unwritten = None

    def _restore(self, checkpoint: Path) -> None:
        content = read_checkpoint(checkpoint)
        if STATE not in content:
            raise ConfigError(f"{checkpoint} was written by a training alone, this one is packed: begin the job anew")
        self.model.load_state_dict(content["state_dict"])
        self.optimizer.load_state_dict(content["optimizer_states"][0])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(content["lr_schedulers"][0])
        if self.averaged is not None:
            self.averaged.load_state_dict(content["averaged"])
        state = content[STATE]
        vars(self.chosen).update(state.pop("chosen"))
        vars(self).update(state)

    def fitted(self) -> Fitted:
        """Return the model with the chosen weights, or the last ones where nothing was validated, and what it cost."""
        if not self.chosen.has_any:
            self.save()
            keep_weights(self.tracker.folder / LAST, self.tracker.folder / BEST)
        self._write_best()
        cost = {"time/fit_seconds": self.seconds, **self.speed()}
        return Fitted(self.model, cost, load_weights(self.model, self.tracker.folder / BEST))


_VERSION = {"pytorch-lightning_version": version("pytorch-lightning")}


def _number(settings: TrainSettings, split: str, loader: Any) -> int:
    """Return how many batches of a split are used."""
    count = count_of(settings.trainer.limits[split], loader)
    return len(loader) if count is None else min(count, len(loader))


def _averaged(model: SequenceModule, decay: float | None) -> AveragedModel | None:
    """Return what averages the weights, as Lightning's WeightAveraging does; None where nothing is averaged."""
    if decay is None:
        return None
    return AveragedModel(model, use_buffers=True, multi_avg_fn=functools.partial(average, decay))
