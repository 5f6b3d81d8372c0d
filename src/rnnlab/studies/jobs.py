"""Jobs of a study: what makes two of them the same, who runs which, and what became of earlier tries.

A job's identity is a hash of all that its numbers follow from. A run carries it as a tag from its first moment, and whoever runs a job
holds a lock on it, which the system lets go when the process dies: so each job ends exactly once, however often a study is started.
"""

import calendar
import hashlib
import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from rnnlab.config import Config, ConfigError
from rnnlab.data.hashing import code_hash
from rnnlab.paths import PACKAGE
from rnnlab.tracking.tracker import Client, Run, find_runs, process_name

NO_PART = ("tracking", "paths", "choices", "words", "resume", "name", "study", "epochs", "warmup_fraction")
"""Keys that change no number: where things go, what they are called, how they are shown (`epochs` is in the trainer, `warmup_fraction` in
the scheduler)."""
OF_BASELINES = ("model", "baseline", "data")
NUMBERS = ("baselines", "cells", "data", "layers", "models", "tasks", "training", "contracts.py", "evaluation/evaluate.py")
"""What numbers follow from, in the package."""
BEFORE_NUMBERS = "sources"
"""The room that brings data to this machine: their content has a hash of its own."""
ALIVE_S = 180.0
"""A run on another machine that has given a sign of life within so many seconds is running."""

State = Literal["finished", "running", "cut off", "failed", "pruned", "left"]


@dataclass(frozen=True)
class Job:
    """Hold one job.

    Args:
        words: of the command line that make it.
        config: composed from them.
        identity: see `jobs.identity`.
    """

    words: tuple[str, ...]
    config: Config
    identity: str


def identity(config: Config, source_hash: str) -> str:
    """Hash what a run's numbers follow from: configuration, data, code.

    Launcher, tracking, paths and names are no part of it, nor is the number of threads; a method that is fitted once has no seed.

    Args:
        config: composed.
        source_hash: of the data's content.
    """
    is_baseline = "baseline" in config
    kept = {key: value for key, value in config.items() if key in OF_BASELINES or not (is_baseline or key in NO_PART)}
    kept["data"] = {key: value for key, value in config["data"].items() if key not in ("mirror", "offline")}
    if is_baseline:  # of the trainer, it follows only how much it is measured on
        kept["measured"] = [config["trainer"][f"limit_{split}_batches"] for split in ("val", "test")]
    else:
        kept["trainer"] = {key: value for key, value in config["trainer"].items() if key != "num_threads"}
        if config["choices"].get("model") != "seq2seq":
            kept.pop("decoder_cell", None)
        if "cell" not in config["model"]:
            kept.pop("cell", None)
    text = json.dumps([kept, source_hash, package_hash()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def package_hash() -> str:
    """Hash the code that numbers follow from; reports, commands, tracking and messages are no part of it."""
    files = (file for name in NUMBERS for file in ([PACKAGE / name] if name.endswith(".py") else (PACKAGE / name).rglob("*.py")))
    return code_hash(*(file for file in files if file.parent.name != BEFORE_NUMBERS), classes=True)


@contextmanager
def claim(folder: Path, job: str) -> Iterator[bool]:
    """Hold a job while it runs; yield whether nobody else on this machine does."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{job}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def is_alive(run: Run) -> bool:
    """Say whether a process is working at a run: by its process where it runs here, else by its last sign of life."""
    tags = run.data.tags
    if run.info.status != "RUNNING":
        return False
    if tags.get("host") == socket.gethostname():
        return tags.get("process") == process_name(int(tags.get("pid", 0) or 0))
    try:
        beaten = calendar.timegm(time.strptime(tags.get("heartbeat", ""), "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return False
    return time.time() - beaten < ALIVE_S


def state_of(runs: list[Run]) -> State:
    """Say what became of a job, from all runs that have its identity."""
    if any(run.info.status == "FINISHED" for run in runs):
        return "finished"
    if any(run.data.tags.get("pruned") == "true" for run in runs):
        return "pruned"
    if any(is_alive(run) for run in runs):
        return "running"
    if any(run.info.status in ("RUNNING", "KILLED", "SCHEDULED") for run in runs):
        return "cut off"
    return "failed" if runs else "left"


def counted(runs: list[Run], search: str = "") -> list[Run]:
    """Leave out trials that were stopped early, but those of one search: they are no results, and others may ask for their settings."""
    return [run for run in runs if run.data.tags.get("pruned") != "true" or (search and run.data.tags.get("search") == search)]


@dataclass(frozen=True)
class Decision:
    """Say what to do with a job.

    Args:
        todo: begin, go on with a run, or skip it.
        run: that goes on, or for which it is skipped.
        reason: in words.
    """

    todo: Literal["begin", "go on", "skip"]
    run: Run | None = None
    reason: str = ""


def decide(client: Client, job: str, is_ours: bool, study: Mapping[str, Any]) -> Decision:
    """Decide about a job, while holding it.

    Args:
        client: of the tracking store.
        job: its identity.
        is_ours: whether `claim` gave it to us.
        study: the configuration's `study`.
    """
    if not is_ours:
        return Decision("skip", None, "another process is running it")
    runs = counted(find_runs(client, f"tags.identity = '{job}'"), str(study["trial"] or "").partition(":")[0])
    state = state_of(runs)
    if state == "finished":
        return Decision("skip", next(run for run in runs if run.info.status == "FINISHED"), "finished before")
    if state == "pruned":
        return Decision("skip", runs[0], "pruned before")
    if state == "running":
        run = next(run for run in runs if is_alive(run))
        return Decision("skip", run, f"running on {run.data.tags.get('host')}, process {run.data.tags.get('pid')}")
    if state == "cut off":
        return Decision("go on", next(run for run in runs if run.info.status in ("RUNNING", "KILLED", "SCHEDULED")))
    if state == "failed" and not study["retry_failed"]:
        why = runs[0].data.tags.get("failure", "")
        return Decision("skip", runs[0], f"failed before ({why[:200]}); study.retry_failed=true runs it again")
    return Decision("begin")


def checkpoint_of(run: Run, folder: Path, restart_damaged: bool) -> Path | None:
    """Return the checkpoint from which a run that was cut off goes on; None to begin anew.

    Raises:
        ConfigError: where it cannot be read and nobody asked to begin anew.
    """
    from rnnlab.training.trainer import read_checkpoint

    file = folder / "last.ckpt"
    if not file.is_file():
        return None
    try:
        read_checkpoint(file)
    except ConfigError as error:
        if restart_damaged:
            return None
        raise ConfigError(f"{error}; begin this job ({run.info.run_name}) anew with study.restart_damaged=true") from None
    return file
