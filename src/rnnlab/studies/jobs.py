"""Jobs of a study: what makes two of them the same, who runs which, and what became of earlier tries.

A job's identity is a hash of all that its numbers follow from. A run carries it as a tag from its first moment, and whoever runs a job
holds a lock on it, which the system lets go when the process dies: so each job ends exactly once, however often a study is started.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from rnnlab.config import ConfigError
from rnnlab.settings import Study, TrainSettings
from rnnlab.tracking.processes import is_alive, process_of
from rnnlab.tracking.store import Client, Run, find_runs
from rnnlab.training.checkpoints import LAST, read_checkpoint

State = Literal["finished", "running", "cut off", "failed", "pruned", "left"]


@dataclass(frozen=True)
class Job:
    """Hold one job: the words of the command line that make it, the settings composed from them, and its identity."""

    words: tuple[str, ...]
    settings: TrainSettings
    identity: str


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
    """Say what to do with a job: begin, go on with a run, or skip it because of one; and why, in words."""

    todo: Literal["begin", "go on", "skip"]
    run: Run | None = None
    reason: str = ""


def decide(client: Client, job: str, is_ours: bool, study: Study) -> Decision:
    """Decide about a job while holding it; `is_ours` is whether `claim` gave it to us."""
    if not is_ours:
        return Decision("skip", None, "another process is running it")
    runs = counted(find_runs(client, f"tags.identity = '{job}'"), study.job.trial.search if study.job.trial else "")
    state = state_of(runs)
    if state == "finished":
        return Decision("skip", next(run for run in runs if run.info.status == "FINISHED"), "finished before")
    if state == "pruned":
        return Decision("skip", runs[0], "pruned before")
    if state == "running":
        run = next(run for run in runs if is_alive(run))
        return Decision("skip", run, f"running: {process_of(run)}")
    if state == "cut off":
        return Decision("go on", next(run for run in runs if run.info.status in ("RUNNING", "KILLED", "SCHEDULED")))
    if state == "failed" and not study.retry_failed:
        why = runs[0].data.tags.get("failure", "")
        return Decision("skip", runs[0], f"failed before ({why[:200]}); study.retry_failed=true runs it again")
    return Decision("begin")


def checkpoint_of(run: Run, folder: Path, restart_damaged: bool) -> Path | None:
    """Return the checkpoint from which a run that was cut off goes on; None to begin anew.

    Raises:
        ConfigError: where it cannot be read and nobody asked to begin anew.
    """
    file = folder / LAST
    if not file.is_file():
        return None
    try:
        read_checkpoint(file)
    except ConfigError as error:
        if restart_damaged:
            return None
        raise ConfigError(f"{error}; begin this job ({run.info.run_name}) anew with study.restart_damaged=true") from None
    return file
