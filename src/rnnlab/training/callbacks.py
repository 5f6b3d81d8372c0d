"""What watches a training: seeds, checkpoints that survive an interrupt, numbers that stop being numbers, speed, progress."""

import math
import os
import resource
import signal
import sys
import time
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor

from rnnlab.config import ConfigError, Failed
from rnnlab.contracts import Batch
from rnnlab.data.batches import BatchLoader
from rnnlab.insight.nonfinite import Found, first_in_backward, first_in_forward
from rnnlab.models.base import Network, SequenceModule
from rnnlab.tasks import Metric, Task
from rnnlab.tracking.tracker import Tracker
from rnnlab.training import signals
from rnnlab.training.checkpoints import LAST
from rnnlab.training.distributed import from_all, highest
from rnnlab.training.launching import is_leader, num_processes, rank
from rnnlab.training.process import give_memory_back

_SAVE, _STOP = 1, 2  # to stop by a signal is written _STOP + its number


class Pruned(Exception):
    """A search stopped this trial: others were better at the same epoch."""


class NonFiniteError(Failed):
    """A quantity of the training is no longer a finite number."""


class StepSeed(Callback):
    """Seed the generators anew before every step from (seed, step), so that no state needs to be carried over a resume."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int) -> None:
        """Seed dropout and whatever else draws from the global generator; each of several processes draws its own."""
        seed = (((self.seed & 0xFFFFFFFF) << 32) + trainer.global_step + rank() * 0x9E3779B97F4A7C15) % 2**64
        torch.default_generator.manual_seed(seed)  # torch.manual_seed also prepares, each time, to seed devices that nobody uses
        if pl_module.device.type != "cpu":
            torch.get_device_module(pl_module.device).manual_seed(seed)


class LastCheckpoint(Callback):
    """Write `last.ckpt` after each epoch, every few minutes, and when asked to stop; then stop.

    A request to stop (see `signals`) lets the running step end, saves and raises `Interrupted`. Several processes do so after the same
    step, whoever of them was asked. What was logged up to a checkpoint is with tracking, or kept beside it, before it counts.
    """

    def __init__(self, tracker: Tracker, every_minutes: float) -> None:
        self.tracker = tracker
        self.file = tracker.folder / LAST
        self.every_s = every_minutes * 60
        self.written_at = time.monotonic()
        self.position = 0  # batches of the running epoch that are done

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.position = state_dict["position"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Resumed within an epoch: skip what it has seen (Lightning restores its loaders before it knows their position)."""
        signals.install_again()  # Lightning's own handler would stop one of several processes alone
        if self.position:
            cast(BatchLoader, trainer.train_dataloader).skip_once(self.position)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Save within an epoch where it is time or asked; at an epoch's last batch validation comes first."""
        self.position = batch_idx + 1
        if self._wanted() and batch_idx + 1 < trainer.num_training_batches:
            self._write(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.position = 0
        self._write(trainer)

    def _wanted(self) -> int:
        """Return what any process wants: to be saved where it is time, to stop where it was asked; else 0."""
        name, is_due = signals.asked(), time.monotonic() - self.written_at > self.every_s
        return highest(_STOP + signal.Signals[name] if name else _SAVE if is_due else 0)

    def _write(self, trainer: pl.Trainer) -> None:
        aside = self.file.with_suffix(".writing")
        try:
            trainer.save_checkpoint(aside)
            if is_leader():
                self.tracker.flush()
                os.replace(aside, self.file)
        finally:
            if is_leader():
                aside.unlink(missing_ok=True)
        self.written_at = time.monotonic()
        if (wanted := self._wanted()) > _STOP:
            name = signal.Signals(wanted - _STOP).name
            raise signals.Interrupted(name, signals.exit_code(name))


class MemoryReturn(Callback):
    """Hand unused memory back every few seconds: rarely enough to cost a hundredth of the time, often enough that it does not add up.

    Opening the data leaves as much as they have: that goes back before the first step.
    """

    every_s = 3.0

    def __init__(self) -> None:
        self.done_at = -math.inf

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int) -> None:
        if time.monotonic() - self.done_at > self.every_s:
            give_memory_back()
            self.done_at = time.monotonic()


class StopWhenSolved(Callback):
    """Stop training after the first validation that is beyond what the data call solved, with a tenth of the error to spare.

    Stopped just where validation is solved, test would be by chance.
    """

    to_spare = 0.1

    def __init__(self, task: Task[Any]) -> None:
        self.task = task

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        name = self.task.compared.name
        measured = {name: float(trainer.callback_metrics[f"val/{name}"])}
        trainer.should_stop = trainer.should_stop or bool(self.task.is_solved(measured, self.to_spare))


class StepNumbers(Callback):
    """Log the numbers of training steps, of every so many steps one; in between nobody waits for them.

    It comes before `LastCheckpoint`, so that the points of all steps before a checkpoint are logged before it.
    """

    def __init__(self, every: int) -> None:
        self.every = every

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        cast(Network, pl_module).step_numbers = {}

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int) -> None:
        num_steps = trainer.global_step
        is_whole = (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or batch_idx + 1 == trainer.num_training_batches
        if not is_whole or num_steps % self.every:
            return
        numbers = {name: float(value) for name, value in (cast(Network, pl_module).step_numbers or {}).items()}
        for logger in trainer.loggers:
            logger.log_metrics(numbers, num_steps - 1)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        cast(Network, pl_module).step_numbers = None


class FiniteGuard(Callback):
    """Stop where the loss or a gradient is no longer finite, before it spoils the weights; say what went wrong first, and why.

    The norm of the gradients, which this takes, is kept for clipping. Gradients that a scaler of 16-bit floats passes over are its matter.
    """

    def __init__(self) -> None:
        self.batch: Batch | None = None

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int) -> None:
        """Keep what may have to be computed once more."""
        self.batch = batch

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        if not math.isfinite(loss.detach()):
            found = first_in_forward(cast(Network, pl_module), self.batch) if self.batch is not None else None
            raise NonFiniteError(self._message(trainer, pl_module, "the loss", loss, found))

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer) -> None:
        if getattr(trainer.precision_plugin, "scaler", None) is not None:
            return
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        norm = torch.nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None])
        cast(Network, pl_module).gradient_norm = norm
        if math.isfinite(norm):
            return
        for name, parameter in pl_module.named_parameters():
            if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
                found = first_in_backward(cast(Network, pl_module), self.batch) if self.batch is not None else None
                raise NonFiniteError(self._message(trainer, pl_module, f"the gradient of {name}", parameter.grad, found))

    def _message(self, trainer: pl.Trainer, pl_module: pl.LightningModule, what: str, value: Tensor, found: Found | None) -> str:
        kind = "NaN" if torch.isnan(value).any() else "infinite"
        largest = max(float(p.detach().abs().max()) for p in pl_module.parameters())
        rate = trainer.optimizers[0].param_groups[-1]["lr"]
        causes = (
            f"Usual causes: a learning rate that is too high (try optimizer.lr={rate / 10:g}), gradients that explode through time (try "
            "trainer.gradient_clip_val=1.0), or 16-bit precision (try trainer.precision=32-true)"
        )
        first = f" First wrong, in the order of computing: {found.what}." if found else ""
        if found is not None and (found.kind == "data" or (found.kind == "weights" and trainer.global_step == 0)):
            causes = found.cause  # else an earlier step of this training wrote them
        return (
            f"{what} became {kind} at step {trainer.global_step} (epoch {trainer.current_epoch}, learning rate {rate:g}, largest "
            f"weight {largest:.3g}).{first} {causes}"
        )


class CarriedState(Callback):
    """Keep in every checkpoint the state that the next parts of training streams are read on from, of each process its own.

    Raises:
        ConfigError: on resuming with another number of processes, which read other streams.
    """

    def __init__(self, model: SequenceModule) -> None:
        self.model = model

    def state_dict(self) -> dict[str, list[list[Tensor]]]:
        own = [part.detach().cpu() for part in self.model.carried.get(True, ())]
        return {"states": from_all(own)}

    def load_state_dict(self, state_dict: dict[str, list[list[Tensor]]]) -> None:
        states = state_dict["states"]
        if len(states) != num_processes():
            raise ConfigError(f"this run was trained by {len(states)} process(es), each with streams of its own: resume it by as many")
        if states[rank()]:
            self.model.carried[True] = tuple(states[rank()])


class Meter(Callback):
    """Measure time, examples per second and peak memory, and pass them to the run; a resumed training counts on from what it had."""

    def __init__(self) -> None:
        self.num_examples = 0
        self.seconds = 0.0
        self._started_at = 0.0
        self._begun_at = time.monotonic()
        self._before = 0.0

    @property
    def fit_seconds(self) -> float:
        """Time of the whole training so far, validation and checkpoints included."""
        return self._before + time.monotonic() - self._begun_at

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._begun_at = time.monotonic()

    def state_dict(self) -> dict[str, float]:
        return {"num_examples": self.num_examples, "seconds": self.seconds, "fit_seconds": self.fit_seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self.num_examples, self.seconds = int(state_dict["num_examples"]), state_dict["seconds"]
        self._before = state_dict["fit_seconds"]

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int) -> None:
        self._started_at = self._started_at or time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self.num_examples += batch.whole_size or batch.size
        now = time.perf_counter()
        self.seconds += now - self._started_at
        self._started_at = now

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave validation out of the training's speed."""
        self._started_at = 0.0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started_at = 0.0
        for logger in trainer.loggers:
            logger.log_metrics(self.numbers(), trainer.global_step - 1)

    def numbers(self) -> dict[str, float]:
        """Return speed and memory so far."""
        return {
            "speed/examples_per_second": self.num_examples / max(self.seconds, 1e-9),
            "memory/peak_mb": peak_memory_mb(),
        }


def peak_memory_mb() -> float:
    """Return the largest resident size of this process so far, in MB (10^6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


class ProgressLine(Callback):
    """Show one bar for the whole training with loss, metric and speed; one line per tenth where output is no terminal."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.console = Console(stderr=True, soft_wrap=True)
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        self.shown_at = 0.0
        self.total, self.num_batches = torch.zeros(()), 0  # of the epoch

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.console.is_terminal:
            return
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=12), TimeRemainingColumn(compact=True), TextColumn("left"))
        self.bar = Progress(*columns, console=self.console, transient=True)
        total = trainer.estimated_stepping_batches
        self.task = self.bar.add_task("training", total=total if total != float("inf") else None)
        self.bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Move the bar, at most ten times a second."""
        loss = (cast(Network, pl_module).step_numbers or {}).get("train/loss", outputs["loss"])
        self.total = self.total.to(loss.device) + loss.detach()  # a number is asked for once an epoch: asking waits for the device
        self.num_batches += 1
        if self.bar is None or self.task is None or time.monotonic() - self.shown_at < 0.1:
            return
        self.shown_at = time.monotonic()
        self.bar.update(self.task, completed=trainer.global_step, description=self._words(trainer, float(loss)))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch, last = trainer.current_epoch + 1, trainer.max_epochs or 0
        loss = float(self.total) / max(self.num_batches, 1)
        self.total, self.num_batches = torch.zeros(()), 0
        if self.bar is None and (epoch % max(1, last // 10) == 0 or epoch == last):
            self.console.print(self._words(trainer, loss), highlight=False)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the bar before a message is printed."""
        self.teardown(trainer, pl_module, "fit")

    def _words(self, trainer: pl.Trainer, loss: float) -> str:
        name = f"val/{self.metric.name}"
        found = trainer.callback_metrics.get(name)
        value = "" if found is None else f"  {name} {self.metric.shown(float(found))}"
        meter = next(callback for callback in trainer.callbacks if isinstance(callback, Meter))  # type: ignore[attr-defined]  # Lightning's
        speed = meter.numbers()["speed/examples_per_second"]
        return f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  loss {loss:.4f}{value}  {speed:,.0f} examples/s"


class TrackingLogger(Logger):
    """Hand Lightning's metrics to a tracker; the x axis is the optimizer step."""

    def __init__(self, tracker: Tracker) -> None:
        super().__init__()
        self.tracker = tracker

    @property
    def name(self) -> str:
        """Return the kind of logger."""
        return "mlflow"

    @property
    def version(self) -> str:
        """Return the run's id."""
        return self.tracker.run_id

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log at the number of optimizer steps done (Lightning counts them from 0)."""
        self.tracker.log_metrics({k: v for k, v in metrics.items() if k != "epoch"}, (step or 0) + 1)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the whole configuration is logged when a run starts."""
