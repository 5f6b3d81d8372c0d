"""A multirun: from axes to jobs, one parent run for all of them, each job exactly once, whatever launcher runs it.

axes and words -> every combination, composed and checked -> data prepared, identities -> a search where one is asked for -> what is left,
launched -> the parent's summary
"""

import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from rnnlab.config import ConfigError, Failed
from rnnlab.paths import as_here, as_typed, in_markup
from rnnlab.settings import Study
from rnnlab.studies.costs import Costs
from rnnlab.studies.jobs import Job, State
from rnnlab.studies.packs import check_packs, packs_of
from rnnlab.studies.runner import Runner, error_of
from rnnlab.studies.search import Tuning
from rnnlab.studies.trials import read_space
from rnnlab.tracking.parents import Parent, Plan
from rnnlab.tracking.store import connect
from rnnlab.tracking.tracker import NAME_PATTERN
from rnnlab.training import signals
from rnnlab.training.recipes import experiment_of

console = Console(stderr=True, soft_wrap=True)
HERE = ("basic", "joblib", "submitit_local")
"""Launchers whose jobs run on this machine, where they can be timed."""
AT_ONCE = ("submitit_local",)
"""Launchers that start all jobs they are given at the same moment."""


def sweep(context: HydraContext, task: TaskFunction, config: DictConfig, arguments: list[str]) -> None:
    """Run what a user's words ask for.

    Raises:
        SystemExit: 2 where words, files or data are wrong, before any job; 1 where jobs failed; 130, 143 or 129 after a signal.
    """
    try:
        Sweep(context, task, config, arguments).run()
    except ValueError as error:
        if os.environ.get("RNNLAB_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1 if isinstance(error, Failed) else 2)


class Sweep:
    """Run one multirun: `config` lacks what is swept, `arguments` are the words that change it."""

    def __init__(self, context: HydraContext, task: TaskFunction, config: DictConfig, arguments: list[str]) -> None:
        self.study = Study.of(OmegaConf.to_container(config["study"], resolve=True))  # type: ignore[arg-type]  # a mapping, as composed
        axes, fixed = read_axes(self.study.axes, arguments)
        _check_study(self.study)
        self.runner = Runner(context, task, config, axes, fixed)

    def run(self) -> None:
        """Plan, launch what is left, and close the parent."""
        runner, study = self.runner, self.study
        base = runner.compose([])
        runner.client = connect(base.tracking.uri, base.paths.root)
        self.outputs = base.paths.outputs
        jobs = runner.make_jobs()
        name = study_name(study.name, runner.axes)
        tuning = Tuning(runner, study, self.outputs / "searches")
        if study.search.tuning_trials:
            tuning.check(jobs)
        if study.packed:
            check_packs(jobs, runner.spec)
        if study.dry_run:
            self.show(jobs, tuning)
            return
        kept = [word for word in runner.fixed if not word.startswith(("study.", "hydra", "tracking.", "paths."))]
        plan = Plan(name, runner.axes, kept, study, as_here(f"python src/train.py {as_typed(sys.argv[1:])}"))
        with FileLock(self._locks() / f"parent-{plan.key}.lock"):
            every = [job.settings for job in jobs]
            runner.parent = Parent.open(runner.client, plan, every, {experiment_of(settings) for settings in every})
        with self._closing():
            if study.search.tuning_trials:
                jobs = tuning.tuned(jobs)
            runner.parent.plan_jobs([(job.identity, list(job.words), job.settings) for job in jobs])
            self.launch(jobs)
            if study.search.write_tuned:
                tuning.write()

    # -- launching -----------------------------------------------------------------------------------------------------

    def launch(self, jobs: list[Job]) -> None:
        """Run the jobs that are left, and say what became of the others.

        Raises:
            Failed: lists the jobs that failed.
        """
        states = {job.identity: self.runner.state(job) for job in jobs}
        todo = ("left", "cut off", "failed") if self.study.retry_failed else ("left", "cut off")
        left = [job for job in jobs if states[job.identity] in todo]
        self._say_plan(states, len(left))
        results: list[JobReturn] = []
        is_serial = self.runner.launcher == "basic"
        costs = self._predict(left)
        packs = packs_of(left, self.runner.num_at_once) if self.study.packed else [[job] for job in left]
        most = (os.cpu_count() or 1) if self.runner.launcher in AT_ONCE else len(packs)
        size = 1 if is_serial or self.study.on_failure == "stop" else most
        for start in range(0, len(packs), max(size, 1)):
            signals.check()
            part = packs[start : start + size]
            if is_serial and len(packs) > 1:
                rest = costs.rest() if start else ""
                varying = in_markup(", ".join(" ".join(self.runner.varying(job)) for job in part[0]))
                what = "pack" if self.study.packed else "job"
                console.print(f"\n[bold]{what} {start + 1} of {len(packs)}[/] {varying}{rest}", highlight=False)
            begun = time.monotonic()
            with nullcontext() if is_serial else costs.watching(self.runner.client, left, _tell):
                results += self.runner.start_packs(part, start)
            for job in part[0] if is_serial else ():
                costs.end(job, (time.monotonic() - begun) / len(part[0]))
            if self.study.on_failure == "stop" and any(error_of(result) for result in results):
                break
        self._report(jobs, packs, results)

    def _predict(self, jobs: list[Job]) -> Costs:
        """Say how long these jobs will take."""
        costs = Costs(self.runner.num_at_once, is_serial=self.runner.launcher == "basic")
        if jobs:
            is_here = self.runner.launcher in HERE
            costs.predict(self.runner.client, jobs, "" if is_here else f"hydra/launcher={self.runner.launcher} runs them elsewhere")
            console.print(f"[bold]time[/] {costs.plan()}", highlight=False)
        return costs

    def show(self, jobs: list[Job], tuning: Tuning) -> None:
        """Say what would be run, and nothing more; of SLURM the script, too."""
        rows: list[tuple[str, list[str]]] = [(self.runner.state(job), self.runner.varying(job)) for job in jobs]
        if self.study.search.tuning_trials:
            networks, rows = tuning.planned(jobs)
            trials, seeds = counted("trial", self.study.search.tuning_trials), counted("seed", len(self.study.search.search_seeds))
            console.print(f"first a search: {trials} of {seeds} for each of {counted('network', len(networks))}", highlight=False)
            console.print("".join(f"  search    {in_markup(network)}\n" for network in networks), end="", highlight=False)
        for state, words in rows:
            console.print(f"  {state:9} {in_markup(' '.join(words))}", highlight=False)
        self._predict([] if self.study.search.tuning_trials else [job for job in jobs if self.runner.state(job) in ("left", "cut off")])
        console.print(
            f"{counted('job', len(rows))} by hydra/launcher={self.runner.launcher}; nothing was run (study.dry_run=true)", highlight=False
        )
        if self.runner.launcher == "submitit_slurm":
            settings = OmegaConf.to_container(self.runner.hydra_config.hydra.launcher, resolve=False)
            print(slurm_script(settings, self.outputs / ".submitit" / "%j"))  # type: ignore[arg-type]  # a mapping, as composed

    def _say_plan(self, states: dict[str, State], num_left: int) -> None:
        counts = {state: list(states.values()).count(state) for state in ("finished", "cut off", "running", "failed")}
        words = {"finished": "finished before", "cut off": "cut off, to go on", "running": "running elsewhere", "failed": "failed before"}
        done = ", ".join(f"{count} {words[state]}" for state, count in counts.items() if count)
        console.print(
            f"[bold]study[/] {self.runner.parent.plan.name}: {counted('job', len(states))}{f' ({done})' if done else ''}, {num_left} to "
            f"run; parent run {self.runner.parent.run_id}",
            highlight=False,
        )

    def _report(self, jobs: list[Job], packs: list[list[Job]], results: list[JobReturn]) -> None:
        """Say what became of the jobs.

        Raises:
            Failed: lists the jobs that failed.
        """
        states = {job.identity: self.runner.state(job) for job in jobs}
        told = [(job, error_of(result)) for pack, result in zip(packs, results, strict=False) for job in pack]
        if self.study.packed:  # the others of a pack go on where one fails
            told = [(job, error) for job, error in told if states[job.identity] != "finished"]
        errors = {job.identity: (job, error) for job, error in told if error}
        failed = [f"{' '.join(self.runner.varying(job))}: {error}" for job, error in errors.values()]
        before = [job for job in jobs if states[job.identity] == "failed" and job.identity not in errors]
        failed += [f"{' '.join(self.runner.varying(job))}: failed before" for job in before]
        elsewhere = sum(state == "running" for state in states.values())
        if elsewhere:
            console.print(f"{counted('job', elsewhere)} running in other processes", highlight=False)
        num_done = sum(states[job.identity] == "finished" for job in jobs)
        console.print(f"\n{num_done} of {counted('job', len(jobs))} finished", highlight=False)
        if num_done:
            console.print(as_here(f"compare:  python src/compare.py parent={self.runner.parent.run_id}"), highlight=False)
            if self.study.artifacts == "light":
                console.print(as_here(f"figures:  python src/complete.py parent={self.runner.parent.run_id}"), highlight=False)
        if failed:
            rest = sum(map(len, packs[len(results) :]))
            stopped = f"\n{counted('job', rest)} not begun (study.on_failure=stop)" if rest else ""
            again = "\nRun the study again with study.retry_failed=true to repeat them; what is finished is not repeated."
            raise Failed("these jobs failed:\n  " + "\n  ".join(failed) + stopped + again)

    # -- the end -------------------------------------------------------------------------------------------------------

    def _locks(self) -> Path:
        folder = self.outputs / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def _closing(self) -> Iterator[None]:
        """Give the parent its final status and summary, whatever happens."""
        parent = self.runner.parent
        try:
            with signals.at_end(lambda name: _stop(parent, name)):
                yield
        except (signals.Interrupted, KeyboardInterrupt, SystemExit) as error:
            parent.close("KILLED", "interrupted")
            console.print("\ninterrupted; the same command goes on where it stopped", highlight=False)
            raise SystemExit(getattr(error, "code", 0) or signals.exit_code()) from None
        except ValueError as error:
            parent.close("FAILED", str(error))
            raise Failed(str(error)) from error
        except BaseException as error:
            parent.close("FAILED", str(error))
            raise
        if not parent.close("FINISHED"):
            raise Failed(parent.tracker.unsent)


def _tell(line: str) -> None:
    console.print(line, highlight=False)


def _stop(parent: Parent, name: str) -> None:
    """End a study that does not look whether to stop, and what it started."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.terminate()
    parent.tracker.finish("KILLED", f"interrupted ({name})")
    console.print("\ninterrupted; the same command goes on where it stopped", highlight=False)


def read_axes(study: dict[str, Any], arguments: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return what is swept, key to values, and the words that hold for all jobs; the command line takes a study's axes' place.

    Raises:
        ConfigError: where an axis has no values, or is no list.
    """
    axes: dict[str, list[str]] = {}
    for key, values in study.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"study.axes.{key}={values} is not allowed: a list of values")
        axes[key] = [_word(value) for value in values]
    fixed = []
    for override in OverridesParser.create().parse_overrides(arguments):
        key = override.get_key_element()
        if override.is_sweep_override():
            if not override.is_discrete_sweep():
                raise ConfigError(f"{override.input_line}: an interval is searched, not swept; write it in study.space, with study=search")
            axes[key] = list(dict.fromkeys(override.sweep_string_iterator()))
        else:
            axes.pop(key, None)
            fixed.append(f"{key}={override.get_value_element_as_str()}" if not override.is_delete() else override.input_line)
    return axes, fixed


def _word(value: object) -> str:
    """Write a value as Hydra's grammar reads it."""
    if value is None:
        return "null"
    return json.dumps(value, separators=(",", ":")) if isinstance(value, bool | list | dict) else str(value)


def study_name(given: str | None, axes: dict[str, list[str]]) -> str:
    """Return a study's name, made of what is swept where it has none.

    Raises:
        ConfigError: where the name is not allowed.
    """
    name = given or "-".join(["sweep", *(re.sub(r"[^a-z0-9]+", "_", key.rpartition(".")[2].lower()) for key in axes)])
    if not NAME_PATTERN.fullmatch(name):
        raise ConfigError(f"study.name={name!r} is not allowed: small letters, digits, - and _ only")
    return name


def counted(what: str, number: int) -> str:
    """Write a number of things, one in the singular."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _check_study(study: Study) -> None:
    """Refuse settings of a study that cannot be run together.

    Raises:
        ConfigError: names the key, what was given, what is allowed.
    """
    if study.search.metric is not None and not study.search.tuning_trials:
        raise ConfigError(f"study.metric={study.search.metric} is what a search chooses by: give study.tuning_trials, too, or leave it out")
    if study.search.tuning_trials and not study.search.space:
        raise ConfigError(
            "study.tuning_trials needs study.space: what is searched, key to choices or {low, high, log}; see conf/study/search.yaml"
        )
    if study.search.tuning_trials and not study.search.search_seeds:
        raise ConfigError("study.search_seeds is empty: a trial needs at least one seed")
    read_space(study.search.space)


def slurm_script(settings: dict[str, Any], folder: Path) -> str:
    """Return the script that would be handed to SLURM: what `hydra/launcher=submitit_slurm` makes of its settings."""
    from submitit import SlurmExecutor
    from submitit.slurm.slurm import _convert_mem, _make_sbatch_string

    names: Mapping[str, str] = SlurmExecutor._equivalence_dict()  # type: ignore[assignment]  # of SLURM it is never None
    own = ("_target_", "submitit_folder", "max_num_timeout", "array_parallelism", "name")
    given = {names.get(key, key): value for key, value in settings.items() if key not in own and value not in (None, {})}
    if "mem" in given:
        given["mem"] = _convert_mem(given["mem"])
    command = f"python -u -m submitit.core._submit {folder}"
    script: str = _make_sbatch_string(command, folder, job_name="rnnlab", **given)
    return script
