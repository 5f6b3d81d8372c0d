"""Several trainings of this process at once (`study.packed=true`), each under a tracked run of its own.

the pack's identities -> settings of each job -> each: data, model, run -> trained together -> each, as soon as it is done: evaluation,
artifacts, final status
"""

import copy
import tempfile
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import cast

from rnnlab.commands.tracked_training import ending, started, stopped, tracker_of
from rnnlab.config import ConfigError, Failed
from rnnlab.data.base import SequenceDataModule
from rnnlab.evaluation import artifacts
from rnnlab.models.base import SequenceModule
from rnnlab.settings import TrainSettings
from rnnlab.studies.runner import compose_job
from rnnlab.tracking.parents import read_plan
from rnnlab.tracking.store import Client, connect, get_run
from rnnlab.tracking.tracker import Tracker
from rnnlab.training import signals
from rnnlab.training.fitting import evaluate_both, make_model
from rnnlab.training.identity import identity
from rnnlab.training.members import Member
from rnnlab.training.packable import refuse_alone, refuse_unpackable, refuse_unpackable_data
from rnnlab.training.packed import train_together
from rnnlab.training.process import quieten, tune_process
from rnnlab.training.recipes import check, find_data, opened
from rnnlab.training.recording import record
from rnnlab.training.sizes import suited

OF_STUDY = ("study.parent=", "study.name=", "tracking.", "paths.")
"""How words begin that hold for all jobs of a pack, beside their own."""


def train_packed(settings: TrainSettings) -> None:
    """Train the jobs of `study.pack` together, or this one where there is no such list.

    Raises:
        Failed: names the jobs that failed; the others are finished.
        SystemExit: 130, 143 or 129 after SIGINT, SIGTERM or SIGHUP; all are saved.
    """
    quieten()
    refuse_alone(settings)
    with signals.listening():
        client = connect(settings.tracking.uri, settings.paths.root)
        tune_process(settings.trainer.num_threads)
        runs: list[PackedRun] = []
        failures: list[str] = []
        try:
            for job in jobs_of(settings, client):
                runs.append(PackedRun(job, client))
                runs[-1].begin(runs[0] if len(runs) > 1 else None)
            by_member = {run.member: run for run in runs if run.member is not None}
            with signals.patiently():
                train_together(list(by_member), lambda member, error: failures.extend(by_member[member].close(error)))
        except BaseException as error:
            for run in runs:
                failures += run.close(error)
            if isinstance(error, signals.Interrupted):
                raise SystemExit(error.code) from None
            raise
    if failures:
        raise Failed("; ".join(failures))


def jobs_of(settings: TrainSettings, client: Client) -> list[TrainSettings]:
    """Return the settings of all jobs of a pack, which the study's parent lists by identity.

    Raises:
        ConfigError: where it does not list one.
    """
    names, parent = settings.study.job.pack, settings.study.job.parent
    if not names or parent is None:
        return [settings]
    with tempfile.TemporaryDirectory() as scratch:
        listed = {job["identity"]: job["words"] for job in read_plan(client, parent, Path(scratch))["jobs"]}
    if missing := [name for name in names if name not in listed]:
        raise ConfigError(f"study.pack={missing[0]}: the study's parent run {parent} lists no such job")
    shared = [word for word in settings.words if word.startswith(OF_STUDY)]
    return [compose_job([*listed[name], *shared]) for name in names]


class PackedRun:
    """One run of a pack, from its job's lock to its final status.

    Args:
        settings: of the job.
        client: of tracking.
    """

    def __init__(self, settings: TrainSettings, client: Client) -> None:
        self.asked = self.settings = settings
        self.client = client
        self.opened: ExitStack | None = ExitStack()
        self.data: SequenceDataModule | None = None
        self.member: Member | None = None
        self.tracker: Tracker | None = None

    def begin(self, first: "PackedRun | None") -> None:
        """Open the data, or take the first run's with another seed; claim the job, begin its run or go on with it, unless it is done."""
        assert self.opened is not None
        check(self.settings)
        refuse_unpackable(self.settings)
        data = self._data_of(first) or find_data(self.settings)
        fitting = suited(self.settings, len(data.rows["train"]))
        found = fitting.settings
        if fitting.words:
            data = opened(found)
        self.data = None if fitting.words else data
        recipes = check(found)
        refuse_unpackable_data(data.make_spec())
        job = identity(found, data.hashes["source_hash"])
        start = self.opened.enter_context(started(found, self.client, job))
        if start is None:
            return
        self.settings, network = make_model(found, recipes, data)
        model = cast(SequenceModule, network)
        self.tracker = tracker = tracker_of(self.settings, self.client, model, data, job, start, None)
        self.opened.enter_context(ending(tracker, self.settings.callbacks.checkpoint.keep_last))
        self.opened.enter_context(signals.at_end(lambda name: stopped(tracker, name)))
        if not self.settings.run.resume:
            record(tracker, self.settings, model, data, get_run(self.client, start.run_id).data.params if start.run_id else {})
        self.member = Member(self.settings, tracker, model, data, start.checkpoint)

    def _data_of(self, first: "PackedRun | None") -> SequenceDataModule | None:
        """Return the data of another run for this one's seed, where nothing else differs: no split, nothing prepared follows from it."""
        if first is None or first.data is None or first.asked.data.values != self.settings.data.values:
            return None
        data = copy.copy(first.data)
        data.seed = self.settings.seed
        return data

    def close(self, error: BaseException | None = None) -> list[str]:
        """Evaluate and finish the run, or end it as the error says, once; return why it failed, if it did."""
        if self.opened is None:
            return []
        contexts, self.opened = self.opened, None
        name = self.tracker.name if self.tracker else f"seed={self.settings.seed}"
        try:
            with contexts:
                if error is not None:
                    raise error
                self._finish()
        except Failed as failure:
            return [f"{name}: {failure}"]
        except BaseException as failure:  # the other runs have to be closed, too
            if failure is not error and not isinstance(failure, SystemExit):
                traceback.print_exc()
                return [f"{name}: {type(failure).__name__}: {failure}"]
        return []

    def _finish(self) -> None:
        if self.member is None or self.tracker is None:
            return
        fitted, data = self.member.fitted(), self.member.data
        found = evaluate_both(self.settings, fitted.model, data)
        diagnosis = artifacts.write_artifacts(self.tracker, fitted.model, data, found, fitted.cost, self.settings, fitted.checkpoint)
        if self.settings.study.job.parent:
            artifacts.print_line(self.tracker, fitted.model, found, fitted.cost)
        else:
            artifacts.print_summary(self.tracker, fitted.model, data, found, fitted.cost, self.settings.words, diagnosis)
