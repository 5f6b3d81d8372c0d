"""What a study will cost: the seconds of each job, predicted before it begins, and of the rest from those that have ended.

A job costs what runs of the same sizes have cost on this machine with this code. Where there are none, a few of its own steps are timed
(`studies.timing`). Early stopping only makes it less.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch

from rnnlab.data.base import SequenceDataModule
from rnnlab.settings import TrainSettings
from rnnlab.studies.jobs import Job
from rnnlab.studies.timing import num_batches, timed, work_of_batch
from rnnlab.tracking.store import Client, Run, TrackingError, find_runs, metric_history
from rnnlab.training.budget import at_budget
from rnnlab.training.identity import COST, cost_key, package_hash
from rnnlab.training.process import quieten, tune_process
from rnnlab.training.recipes import kept_open

BUDGET_S = 2.0
"""How long predicting may take, whatever there is to predict."""
NUM_RECENT = 5
"""Runs of the same sizes that are asked."""
JOB_S, START_S = 1.0, 6.0
"""What a job costs beside its training, and a process of a launcher before its first; of a study's own jobs, once some have ended."""
LOOP_S = 0.002
"""What the trainer takes for any batch, about."""
LOOK_EVERY_S = 10.0
"""How often jobs in other processes are counted."""


@dataclass(frozen=True)
class Cost:
    """Hold what a job will cost at most, in seconds of training; None where that cannot be known, and why."""

    seconds: float | None
    why: str = ""


class Costs:
    """Keep what the jobs of a study will cost, and what those cost that have ended.

    Args:
        num_at_once: how many jobs run beside each other.
        is_serial: whether they run in this process.
    """

    def __init__(self, num_at_once: int, *, is_serial: bool) -> None:
        self.num_at_once, self.is_serial = num_at_once, is_serial
        self.known: dict[str, Cost] = {}
        self.ended: dict[str, float] = {}

    def predict(self, client: Client, jobs: Sequence[Job], why_not: str = "") -> None:
        """Predict the jobs, those of equal sizes once, in about BUDGET_S.

        Data are those that the plan of the study has opened. The smallest and the largest are timed first: sizes that there is no time for
        lie between.

        Args:
            client: of the tracking store.
            jobs: those that are to be run.
            why_not: why nobody can predict any of them, if that is so.
        """
        quieten()
        begun = time.perf_counter()
        by_key: dict[str, list[Job]] = {}
        for job in jobs:
            if why := why_not or why_unknown(job.settings):
                self.known[job.identity] = Cost(None, why)
            else:
                by_key.setdefault(cost_key(job.settings), []).append(job)
        alike = [each for group in by_key.values() if (each := self._alike(group))]
        alike.sort(key=lambda each: each.work)
        order = [*alike[:1], *alike[1:][::-1][:1], *alike[1:-1]]
        done: list[Alike] = []
        for number, each in enumerate(order):
            left = BUDGET_S - (time.perf_counter() - begun)
            self._predict(client, each, left / (len(order) - number), done if left < 0 else [])
            done.append(each)

    def _alike(self, group: list[Job]) -> "Alike | None":
        """Return jobs of equal sizes with their data, which the plan has opened; None where these are closed by now."""
        data = kept_open(group[0].settings)
        if data is None:
            self.known |= {job.identity: Cost(None, "its data are closed by now, and opening them takes a while") for job in group}
            return None
        tune_process(group[0].settings.trainer.num_threads)
        settings = _sized(group[0].settings, data)
        return Alike(group, settings, data, work_of_batch(settings, data))

    def _predict(self, client: Client, alike: "Alike", budget_s: float, others: "list[Alike]") -> None:
        """Predict jobs of equal sizes: from runs, from others that are known, if there are some, or by timing them."""
        of_epoch, epochs = num_batches(alike.settings, alike.data)
        try:
            seconds = seconds_of_runs(client, alike.settings)
            if seconds is None and (known := [(each.work, each.seconds) for each in others if each.seconds is not None]):
                seconds = between(known, alike.work)
            alike.seconds = timed(alike.settings, alike.data, budget_s) / (of_epoch * epochs) if seconds is None else seconds
        except ValueError as error:  # what is wrong with the job, it says itself
            self.known |= {job.identity: Cost(None, f"its steps cannot be timed ({error})") for job in alike.jobs}
            return
        for job in alike.jobs:
            self.known[job.identity] = Cost(alike.seconds * of_epoch * num_batches(job.settings, alike.data)[1])

    def end(self, job: Job | str, seconds: float) -> None:
        """Note that a job has ended, and how long it took in all."""
        self.ended[job if isinstance(job, str) else job.identity] = seconds

    def left(self) -> float | None:
        """Return the seconds until the last job ends, at most; None while nothing says so.

        Jobs that have ended correct the others: by how much longer or shorter they took than predicted.
        """
        todo = [identity for identity in self.known if identity not in self.ended]
        compared = [(self.ended[name], JOB_S + cost.seconds) for name, cost in self.known.items() if name in self.ended and cost.seconds]
        factor = sum(true for true, _ in compared) / sum(said for _, said in compared) if compared else 1.0
        told = [factor * (JOB_S + seconds) for name in todo if (seconds := self.known[name].seconds) is not None]
        others = [self.ended[name] for name, cost in self.known.items() if name in self.ended and cost.seconds is None]
        if len(told) < len(todo) and not (others or told or self.ended):
            return None
        mean = float(np.mean(others or told or list(self.ended.values()))) if len(told) < len(todo) else 0.0
        told += [mean] * (len(todo) - len(told))
        start = 0.0 if self.is_serial or self.ended else START_S
        return max([*told, sum(told) / max(1, min(self.num_at_once, len(told)))], default=0.0) + start

    def plan(self) -> str:
        """Say how long all jobs will take, and of which that is not known before."""
        told = [cost.seconds for cost in self.known.values() if cost.seconds is not None]
        unknown: dict[str, int] = {}
        for cost in self.known.values():
            if cost.seconds is None:
                unknown[cost.why] = unknown.get(cost.why, 0) + 1
        words = [f"{number} of {len(self.known)} not known before: {why}" for why, number in unknown.items()]
        if not told:
            return "; ".join([*words, "the first that end will tell"])
        num_processes = max(1, min(self.num_at_once, len(self.known)))
        on = f"on {num_processes} process{'' if num_processes == 1 else 'es'}"
        low, high = shown(min(told)), shown(max(told))
        each = low if low == high else f"{low} to {high}"
        return "; ".join([f"about {shown(self.left() or 0.0)} {on} (each {each} of training; early stopping makes it less)", *words])

    def rest(self) -> str:
        """Say how long the rest will take; nothing while that is not known."""
        left = self.left()
        return "" if left is None else f"  (about {shown(left)} left)"

    @contextmanager
    def watching(self, client: Client, jobs: Sequence[Job], tell: Callable[[str], None]) -> Iterator[None]:
        """While jobs run in other processes, tell each time how many have ended, and what is left."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(LOOK_EVERY_S):
                before = len(self.ended)
                self._look(client, jobs)
                if before < len(self.ended) < len(jobs):
                    tell(f"{len(self.ended)} of {len(jobs)} jobs have ended{self.rest()}")

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(LOOK_EVERY_S)

    def _look(self, client: Client, jobs: Sequence[Job]) -> None:
        """Note the jobs that have ended since."""
        for job in jobs:
            if job.identity in self.ended:
                continue
            try:
                runs = find_runs(client, f"tags.identity = '{job.identity}' and attributes.status != 'RUNNING'")
            except TrackingError:
                return  # it is asked again
            if runs and runs[0].info.end_time:
                self.end(job, (runs[0].info.end_time - runs[0].info.start_time) / 1000)


def shown(seconds: float) -> str:
    """Write a duration as people say it."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = seconds / 60
    if minutes < 90:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h"


@dataclass
class Alike:
    """Hold jobs whose steps cost the same: their settings, with the hidden size of a budget, their data, and the work of a mean batch.

    `seconds` of a batch, validation and checkpoints included, are known once they were predicted.
    """

    jobs: list[Job]
    settings: TrainSettings
    data: SequenceDataModule
    work: float
    seconds: float | None = None


def between(known: Sequence[tuple[float, float]], work: float) -> float:
    """Return the seconds of a batch of this work from (work, seconds) of others: a constant, and a part that grows with the work.

    Of one other, the constant is what the trainer takes for any batch.
    """
    works, seconds = np.array([each for each, _ in known]), np.array([each for _, each in known])
    if len(known) > 1 and np.ptp(works) > 0:
        slope, constant = np.polyfit(works, seconds, 1)
        if slope > 0 and constant > 0:
            return float(constant + slope * work)
    near = int(np.argmin(np.abs(np.log(works / work))))
    constant = min(LOOP_S, seconds[near] / 2)
    return float(constant + (seconds[near] - constant) * work / works[near])


def _sized(settings: TrainSettings, data: SequenceDataModule) -> TrainSettings:
    """Return settings with the hidden size that meets a budget, if there is one."""
    if not (settings.budget and settings.model.sized_parts):
        return settings
    return replace(settings, model=at_budget(settings.model, settings.budget, data.make_spec()).model)


def why_unknown(settings: TrainSettings) -> str:
    """Say why nobody can know before how long a job takes; nothing where it can be predicted."""
    if settings.is_baseline:
        return "a baseline is fitted until it has converged"
    if settings.trainer.has_time_limit:
        return "trainer.max_time lets the clock end it"
    if settings.trainer.strategy == "ddp":
        return "several processes train it"
    if settings.trainer.accelerator not in ("cpu", "auto") or torch.cuda.is_available():
        return "steps on an accelerator are not timed beforehand"
    if settings.trainer.max_epochs in (None, -1) and int(settings.trainer.node.values.get("max_steps", -1)) < 0:
        return "neither epochs nor trainer.max_steps end it"
    if settings.run.init_from:
        return "it begins with another run's words and weights"
    if settings.run.distil_from:
        return "a teacher answers each of its batches"
    return ""


def seconds_of_runs(client: Client, settings: TrainSettings) -> float | None:
    """Return the seconds of a batch in the latest runs of the same sizes, on this machine and with this code; None without any."""
    wanted = {COST: cost_key(settings), "host": socket.gethostname(), "code_hash": package_hash()}
    words = " and ".join(f"tags.{name} = '{value}'" for name, value in wanted.items())
    runs = find_runs(client, f"{words} and attributes.status = 'FINISHED'")[:NUM_RECENT]
    found = [each for run in runs if (each := _seconds_of_batch(client, run, settings)) is not None]
    return float(np.median(found)) if found else None


def _seconds_of_batch(client: Client, run: Run, settings: TrainSettings) -> float | None:
    """Return how long a run took for one batch, validation and checkpoints included."""
    history = metric_history(client, run.info.run_id, "val/loss")
    seconds = run.data.metrics.get("time/fit_seconds")
    if seconds is None or not history:
        return None
    return seconds / (history[-1][0] * int(settings.trainer.node.values.get("accumulate_grad_batches", 1)))
