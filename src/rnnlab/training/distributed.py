"""One training in several processes: each takes its share of every batch, all take the same step.

Every process runs the whole programme. What happens once (the run, files, the terminal) is the leader's, the process of rank 0; the
others follow it until the fit is over and leave. Results are those of one process, dropout and scheduled sampling aside (each process
draws its own):

    batches       `data.loader.batch_size` counts the whole batch; process r of n takes every n-th example of it, from the r-th on. Of a
                  batch with fewer examples than processes everybody takes the whole.
    the loss      a mean over w (sequences, tokens, summed class weights; `Network.loss_weight`) of a share: L_r. Of the whole batch it is
                  sum_r w_r L_r / sum_r w_r. DistributedDataParallel averages gradients over processes, so each minimises
                  n w_r L_r / sum_r w_r (Li et al. 2020, section 3.1, with unequal shares).
    statistics    of batch normalisation are those of the whole batch.
    validation    is done by everybody on the whole split: no metric has to be put together from parts.
"""

import contextlib
import datetime
import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor
from torch import distributed as dist

from rnnlab.config import ConfigError, Failed
from rnnlab.contracts import Batch
from rnnlab.data.base import SequenceDataModule
from rnnlab.layers.norms import MaskedBatchNorm
from rnnlab.models.base import Network
from rnnlab.settings import TrainerSettings
from rnnlab.tracking.tracker import SilentTracker, Tracker
from rnnlab.training.launching import RENDEZVOUS, is_leader, leave_failure, local_rank, num_local_processes, num_processes, rank, tell

Made = TypeVar("Made")
LONGEST_WAIT = datetime.timedelta(hours=3)
"""How long one process may wait for another: data are prepared by the first of each host alone."""
CLOSING_TIME = datetime.timedelta(seconds=20)
LOST = ("gloo", "Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL", "TCPStore")
"""What errors say that come of another process's end."""


class ProcessLost(Failed):
    """Another process of this training ended; what it said is the reason."""


# Meeting and parting --------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Meet the other processes, where there are any, and part from them at the end.

    Raises:
        SystemExit: where it is not on us to say what happened.
    """
    if num_processes() == 1:
        yield
        return
    try:
        with noticing_losses():
            _meet()
            yield
    except ValueError as error:
        if os.environ.get("RNNLAB_TRACEBACK"):
            tell(traceback.format_exc())
        if not leave_failure(error, isinstance(error, ProcessLost)):
            if is_leader():
                raise
            _await_leader()
        raise SystemExit(1 if isinstance(error, Failed) else 2) from None
    except BaseException as error:
        if not is_leader() and not isinstance(error, SystemExit | KeyboardInterrupt):
            tell(traceback.format_exc())
        raise
    part()  # after a failure, nothing but the end of the process is sure to part


@contextlib.contextmanager
def noticing_losses() -> Iterator[None]:
    """Say in words what went wrong where another process ended: errors of a connection tell nobody anything."""
    try:
        yield
    except RuntimeError as error:
        if num_processes() == 1 or isinstance(error, torch.OutOfMemoryError) or not any(word in str(error) for word in LOST):
            raise
        raise ProcessLost("another process of this training ended or was lost: see what it said above") from error


def part() -> None:
    """Leave the other processes: from here on this one is alone."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _await_leader() -> None:
    """Wait a while for the leader's end: torchrun ends all processes with the first, and the leader has a run to close."""
    with contextlib.suppress(RuntimeError):
        pending = dist.irecv(torch.zeros(1), 0)
        if pending is not None:
            pending.wait(CLOSING_TIME)


def _meet() -> None:
    if num_local_processes() == num_processes() and sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # a host's own name may lead nowhere
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if torch.cuda.is_available() and local_rank() < torch.cuda.device_count():
        torch.cuda.set_device(local_rank())
    meeting = os.environ.get(RENDEZVOUS, "env://")
    dist.init_process_group(backend, meeting, timeout=LONGEST_WAIT, rank=rank(), world_size=num_processes())


# The leader and the others --------------------------------------------------------------------------------------------------------


def leaders(make: Callable[[], Made]) -> Made:
    """Make something that only the leader may use; the others have nothing in its place and must not touch it."""
    return make() if is_leader() else cast(Made, None)


def from_leader(make: Callable[[], Made]) -> Made:
    """Let the leader make something, and give it to everybody (where the leader fails, all end)."""
    if not dist.is_initialized():
        return make()
    box = [make() if is_leader() else None]
    dist.broadcast_object_list(box, 0, device=torch.device("cpu"))
    return cast(Made, box[0])


def one_first(make: Callable[[], Made]) -> Made:
    """Let one process of each host make something, then the others, who find its files."""
    if not dist.is_initialized():
        return make()
    made = make() if local_rank() == 0 else None
    highest(0)
    return cast(Made, made if local_rank() == 0 else make())


def from_all(value: Made) -> list[Made]:
    """Return what each process has, in the order of ranks."""
    if not dist.is_initialized():
        return [value]
    found: list[Made | None] = [None] * num_processes()
    dist.all_gather_object(found, value)
    return cast(list[Made], found)


def highest(value: int) -> int:
    """Return the largest of all processes' numbers."""
    if not dist.is_initialized():
        return value
    numbers = torch.tensor([value])
    dist.all_reduce(numbers, dist.ReduceOp.MAX)
    return int(numbers)


def tracked(start: Callable[[], Tracker]) -> Tracker:
    """Let the leader take up the run; the others' tracker knows its name and place and writes nothing."""
    if not dist.is_initialized():
        return start()
    tracker = start() if is_leader() else None
    run_id, name, folder = from_leader(lambda: (tracker.run_id, tracker.name, tracker.folder))  # type: ignore[union-attr]  # the leader's is set
    return tracker or SilentTracker(run_id, name, folder)


def refuse_different(data: SequenceDataModule) -> None:
    """Raise ValueError where processes (of several hosts) have found different data."""
    if not dist.is_initialized():
        return
    found: list[Mapping[str, str]] = [{}] * num_processes()
    dist.all_gather_object(found, {"source": data.source, **data.hashes})
    for other, theirs in enumerate(found):
        if differing := [name for name in found[0] if found[0][name] != theirs[name]]:
            name = differing[0]
            raise ValueError(
                f"process {other} has other data than process 0 ({name} {theirs[name]} and {found[0][name]}): prepare the same data on "
                "every host first (python src/prepare.py), or give all hosts one paths.data=FOLDER"
            )


# The trainer ----------------------------------------------------------------------------------------------------------------------


ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")


def check(trainer: TrainerSettings) -> None:
    """Refuse devices that there are not, and ways to use several that are not ours.

    Raises:
        ConfigError: says what is allowed.
    """
    devices, strategy, accelerator = trainer.devices, trainer.strategy, trainer.accelerator
    if accelerator not in ACCELERATORS:
        raise ConfigError(f"trainer.accelerator={accelerator} is not allowed. Allowed: {', '.join(ACCELERATORS)}")
    if strategy not in ("auto", "ddp"):
        raise ConfigError(f"trainer.strategy={strategy} is not allowed. Allowed: auto, ddp (that is trainer=ddp)")
    if isinstance(devices, list) and len(devices) == 1 and strategy == "auto":
        return
    if not isinstance(devices, int) or isinstance(devices, bool) or devices < 1:
        raise ConfigError(f"trainer.devices={devices} is not allowed: a whole number from 1")
    if strategy == "auto":
        if devices > 1:
            raise ConfigError(f"trainer.devices={devices} needs trainer=ddp: one process a device")
        return
    if trainer.node.values.get("num_nodes", 1) != 1:
        raise ConfigError("trainer.num_nodes is not asked: start `torchrun --nnodes ... src/train.py trainer=ddp ...` on every host")
    if accelerator not in ("auto", "cpu", "gpu", "cuda"):
        raise ConfigError(f"trainer.accelerator={accelerator} is not for trainer=ddp. Allowed: auto, cpu, gpu, cuda")
    num_wanted = num_local_processes() if num_processes() > 1 else devices
    if _is_on_cuda(accelerator) and num_wanted > torch.cuda.device_count():
        raise ConfigError(
            f"trainer.devices={num_wanted}, but this machine has {torch.cuda.device_count()} CUDA devices: give fewer, or "
            "trainer.accelerator=cpu"
        )


def placed(trainer: "functools.partial[pl.Trainer]") -> "functools.partial[pl.Trainer]":
    """Tell a trainer of the other processes, or that there are none."""
    if num_processes() == 1:
        return functools.partial(trainer, strategy="auto", devices=1) if trainer.keywords.get("strategy") == "ddp" else trainer
    return functools.partial(
        trainer,
        accelerator="cuda" if _is_on_cuda(trainer.keywords.get("accelerator", "auto")) else "cpu",
        devices=num_local_processes(),
        num_nodes=num_processes() // num_local_processes(),
        strategy=Together(),
        use_distributed_sampler=False,
    )


def alone() -> list[LightningEnvironment]:
    """Return what tells Lightning that one process trains, whatever the shell's variables of SLURM or MPI say."""
    return [LightningEnvironment()] if num_processes() == 1 else []


def refuse_missing(accelerator: str) -> None:
    """Refuse an accelerator that this machine does not have; a study's jobs may run on another that has it.

    Raises:
        ConfigError: says what to set.
    """
    has_cuda, has_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if not {"gpu": has_cuda or has_mps, "cuda": has_cuda, "mps": has_mps}.get(accelerator, True):
        raise ConfigError(f"trainer.accelerator={accelerator}: this machine has none that PyTorch can use; set cpu or auto")


def _is_on_cuda(accelerator: str) -> bool:
    return accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available())


class Together(DDPStrategy):
    """Average gradients over processes that are there already; buffers follow from whole batches and need no sending."""

    def __init__(self) -> None:
        super().__init__(cluster_environment=TorchElasticEnvironment(), forward_sync_buffers=False, gradient_as_bucket_view=True)

    def configure_ddp(self) -> None:
        """Look for parameters without a gradient only where there are some: that costs a walk through each step's graph."""
        self._ddp_kwargs["find_unused_parameters"] = cast(Network, self.lightning_module).has_idle_parameters
        super().configure_ddp()


# Shares ---------------------------------------------------------------------------------------------------------------------------


def spread(model: Network, data: SequenceDataModule) -> list[Callback]:
    """Give the processes one model's first weights and shares of each training batch; return what counts along, if there are others.

    Raises:
        ValueError: where the loss of a whole batch cannot be had from shares.
    """
    if not dist.is_initialized():
        return []
    weights = model.task.regularisation.class_weights
    if isinstance(weights, list) and 0 in weights:
        raise ConfigError(
            f"model.regularisation.class_weights={weights}: a share of a batch may hold none but classes of weight 0; in several processes "
            "give small weights instead"
        )
    for tensor in model.state_dict().values():
        dist.broadcast(tensor, 0)
    for metric in model.metrics.values():
        metric.sync_on_compute = False
    data.rank, data.num_processes = rank(), num_processes()
    shares = Shares()
    model.total = shares.total
    for module in model.modules():
        if isinstance(module, MaskedBatchNorm):
            module.total = shares.total
    return [shares]


class Shares(Callback):
    """Sum over the shares of a batch."""

    def __init__(self) -> None:
        self.num_copies = 1

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int) -> None:
        """Notice a batch that everybody has whole."""
        self.num_copies = num_processes() if batch.size == batch.whole_size else 1

    def total(self, value: Tensor) -> Tensor:
        """Return the sum over shares, which carries gradients."""
        return cast(Tensor, _Sum.apply(value)) / self.num_copies


class _Sum(torch.autograd.Function):
    """Sum over processes. Each one's loss depends on the sum, so a term's gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Return the sum of gradients."""
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total
