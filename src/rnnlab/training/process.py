"""The process that trains: its threads, its memory, and what it need not say."""

import contextlib
import ctypes
import functools
import logging
import os
import sys
import warnings

import torch
from rich.console import Console

from rnnlab.training.launching import num_local_processes

console = Console(stderr=True, soft_wrap=True)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


def tune_process(num_threads: int | None) -> None:
    """Choose the number of threads (None: one per core), and let the allocator keep what it freed.

    Handing each batch's memory back to the system costs a fifth of the speed on long texts; see also `give_memory_back`.
    """
    if (libc := _glibc()) is not None:
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
    torch.set_num_threads(num_threads or max(1, (os.cpu_count() or 1) // num_local_processes()))
    # Memory that is written before it is read need not be filled first: that takes 6 % of a step on long texts.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_flush_denormal(True)  # gradients that fade through time end in numbers that cost a hundred times more


def give_memory_back() -> None:
    """Hand the pages that nothing uses now back to the system: batches of many sizes leave holes, which add up."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    """Return the allocator's library, where it is glibc."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6") if sys.platform == "linux" else None
        return libc if libc is not None and libc.mallopt and libc.malloc_trim else None
    return None


def has_bfloat16_units() -> bool:
    """Say whether this processor multiplies bfloat16 by itself (AVX-512 or AMX); others are slower with it than with float32."""
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16"))


def say_precision(precision: str, accelerator: str) -> None:
    """Say so where bfloat16 is asked of a processor that is no faster with it."""
    is_on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())
    if precision.startswith("bf16") and is_on_cpu and not has_bfloat16_units():
        console.print(
            f"[bold yellow]precision[/] trainer.precision={precision}: this processor has no units for bfloat16 (AVX512_BF16, AMX), so "
            "training is slower than with trainer.precision=32-true",
            highlight=False,
        )


def quieten() -> None:
    """Silence what a user can do nothing about."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")  # ours is: see LastCheckpoint
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")  # of several processes each measures the whole
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
