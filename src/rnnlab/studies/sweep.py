"""A multirun: from axes to jobs, one parent run for all of them, each job exactly once, whatever launcher runs it.

axes and words -> every combination, composed and checked -> data prepared, identities -> a search where one is asked for -> what is left,
launched -> the parent's summary
"""

import itertools
import json
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from rnnlab.cli import FLAGS, as_config
from rnnlab.commands.train import check, find_data
from rnnlab.config import Config, ConfigError, Failed, recipe
from rnnlab.contracts import DataSpec
from rnnlab.paths import CONF, HOME, root
from rnnlab.report.runs import REPEATED
from rnnlab.studies.jobs import Job, State, counted, identity, state_of
from rnnlab.studies.search import Tuning
from rnnlab.studies.trials import read_space
from rnnlab.tracking.parents import Parent, Plan
from rnnlab.tracking.tracker import NAME_PATTERN, connect, find_runs

console = Console(stderr=True, soft_wrap=True)
NOT_OF_BASELINES = ("model.", "model/", "tuned", "cell@", "init_from")
AT_ONCE = ("submitit_local",)
"""Launchers that start all jobs they are given at the same moment."""


def sweep(context: HydraContext, task: TaskFunction, config: DictConfig, arguments: list[str]) -> None:
    """Run what a user's words ask for.

    Raises:
        SystemExit: 2 where words, files or data are wrong, before any job; 1 where jobs failed; 130 after an interrupt.
    """
    try:
        Sweep(context, task, config, arguments).run()
    except ValueError as error:
        if os.environ.get("RNNLAB_TRACEBACK"):
            raise
        _leave(str(error), 1 if isinstance(error, Failed) else 2)


class Sweep:
    """Run one multirun.

    Args:
        context: Hydra's.
        task: what a job calls.
        config: the configuration without what is swept.
        arguments: the words that change it.
    """

    def __init__(self, context: HydraContext, task: TaskFunction, config: DictConfig, arguments: list[str]) -> None:
        self.context, self.task, self.hydra_config = context, task, config
        self.study: Config = OmegaConf.to_container(config["study"], resolve=True)  # type: ignore[assignment]
        self.conf = CONF
        self.axes, self.fixed = read_axes(self.study["axes"], arguments)
        self.choice = str(config.hydra.runtime.choices.get("hydra/launcher", "basic"))
        self.known: dict[str, tuple[str, DataSpec]] = {}
        _check_study(self.study)

    def run(self) -> None:
        """Plan, launch what is left, and close the parent."""
        base = self.compose([])
        self.client = connect(base["tracking"]["uri"], root())
        self.outputs = Path(base["paths"]["outputs"])
        jobs = self.make_jobs({})
        name = study_name(self.study["name"], self.axes)
        tuning = Tuning(self, self.study, self.axes)
        if self.study["tuning_trials"]:
            tuning.check(jobs)
        if self.study["dry_run"]:
            self.show(jobs)
            return
        kept = [word for word in self.fixed if not word.startswith(("study.", "hydra", "tracking.", "paths."))]
        command = shlex.join(["python", "src/train.py", *sys.argv[1:]])
        plan = Plan(name, self.axes, kept, self.study, command)
        with FileLock(self._locks() / f"parent-{plan.key}.lock"):
            self.parent = Parent.open(self.client, plan, [job.config for job in jobs], self.outputs, root(), HOME)
        with self._closing():
            if self.study["tuning_trials"]:
                jobs = tuning.tuned(jobs)
            self.parent.plan_jobs([(job.identity, list(job.words), job.config) for job in jobs])
            self.launch(jobs)
            if self.study["write_tuned"]:
                tuning.write()

    # -- jobs ----------------------------------------------------------------------------------------------------------

    def compose(self, words: list[str]) -> Config:
        """Compose the configuration of a job."""
        try:
            composed = self.context.config_loader.load_sweep_config(
                self.hydra_config, [FLAGS.get(word, word) for word in (*self.fixed, *words)]
            )
        except HydraException as error:
            raise ConfigError(" ".join(str(error).split())) from None
        return as_config(composed, composed.hydra.runtime.choices, list(composed.hydra.overrides.task))

    def make_jobs(self, more: dict[str, list[str]]) -> list[Job]:
        """Return every combination of the axes once: what is fitted once has one job for all seeds."""
        axes = self.axes | more
        ordered = [key for key in axes if key in REPEATED] + [key for key in axes if key not in REPEATED]
        found: dict[str, Job] = {}
        for values in itertools.product(*(axes[key] for key in ordered)):
            given = dict(zip(ordered, values, strict=True))
            words = [f"{key}={given[key]}" for key in axes]
            job = self.make_job(words)
            found.setdefault(job.identity, job)
        return list(found.values())

    def make_job(self, words: list[str]) -> Job:
        """Compose and check a job, and prepare its data where that was not done."""
        if "model=baseline" in [*self.fixed, *words]:
            fixed, self.fixed = self.fixed, [w for w in self.fixed if not w.startswith(NOT_OF_BASELINES) or w.startswith("model=")]
            kept = [word for word in words if not word.startswith(NOT_OF_BASELINES) or word.startswith("model=")]
            try:
                config, own = self.compose(kept), [*self.fixed, *kept]
            finally:
                self.fixed = fixed
        else:
            config, own = self.compose(words), [*self.fixed, *words]
        check(config)
        return Job(tuple(own), config, identity(config, self._data(config)[0]))

    def _data(self, config: Config) -> tuple[str, DataSpec]:
        """Return the hash of the data's content and what they are; the first time data are asked for, they are fetched and prepared."""
        # Which part is test changes nothing of this; were it prepared with the split, each job prepares its own.
        key = json.dumps({name: value for name, value in config["data"].items() if name not in ("fold", "loader")}, sort_keys=True)
        if key not in self.known:
            data = find_data(recipe(config["data"], "data"), config)
            self.known[key] = (data.hashes["source_hash"], data.make_spec())
        return self.known[key]

    # -- launching -----------------------------------------------------------------------------------------------------

    def launch(self, jobs: list[Job], more: dict[str, list[str]] | None = None) -> None:
        """Run the jobs that are left, and say what became of the others.

        Raises:
            Failed: lists the jobs that failed.
        """
        states = {job.identity: self.state(job) for job in jobs}
        left = [job for job in jobs if states[job.identity] in ("left", "cut off") or self._is_retried(states[job.identity])]
        self._say_plan(states, len(left))
        results: list[JobReturn] = []
        is_serial = self.choice == "basic"
        size = 1 if is_serial or self.study["on_failure"] == "stop" else (os.cpu_count() or 1) if self.choice in AT_ONCE else len(left)
        begun = time.monotonic()
        for start in range(0, len(left), max(size, 1)):
            part = left[start : start + size]
            if is_serial and len(left) > 1:
                rest = _rest(begun, start, len(left))
                console.print(f"\n[bold]job {start + 1} of {len(left)}[/] {' '.join(self._varying(part[0]))}{rest}", highlight=False)
            results += self.start([(job, None) for job in part], start)
            if self.study["on_failure"] == "stop" and any(_error(result) for result in results):
                break
        self._report(jobs, left, results)

    def show(self, jobs: list[Job]) -> None:
        """Say what would be run, and nothing more; of SLURM the script, too."""
        for job in jobs:
            console.print(f"  {self.state(job):9} {' '.join(self._varying(job))}", highlight=False)
        console.print(f"{len(jobs)} jobs by hydra/launcher={self.choice}; nothing was run (study.dry_run=true)", highlight=False)
        if self.choice == "submitit_slurm":
            settings = OmegaConf.to_container(self.hydra_config.hydra.launcher, resolve=False)
            print(slurm_script(settings, self.outputs / ".submitit" / "%j"))  # type: ignore[arg-type]

    def state(self, job: Job) -> State:
        """Say what became of a job so far."""
        return state_of(counted(find_runs(self.client, f"tags.identity = '{job.identity}'")))

    def _is_retried(self, state: State) -> bool:
        return state == "failed" and bool(self.study["retry_failed"])

    def start(self, batch: list[tuple[Job, str | None]], first: int) -> list[JobReturn]:
        """Let the launcher run jobs, each with the trial that it is, if it is one; `first` is the number of the first."""
        launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=self.task, config=self.hydra_config
        )
        return list(launcher.launch([self._complete(job, trial) for job, trial in batch], initial_job_idx=first))

    def _complete(self, job: Job, trial: str | None) -> list[str]:
        """Return a job's words with what ties it to the study."""
        experiment = [f"tracking.experiment={self.parent.experiment}"] if not job.config["tracking"]["experiment"] else []
        own = [f"study.parent={self.parent.run_id}", f"study.name={self.parent.plan.name}"]
        return [*job.words, *experiment, *own, *([f"study.trial={trial}"] if trial else [])]

    def run_trial(self, job: Job, trial: str, number: int) -> str:
        """Run one job as a trial of a search; return why it failed, or nothing."""
        return _error(self.start([(job, trial)], number)[0])

    def given_to(self, job: Job) -> list[str]:
        """Return the words of a job that the study's axes gave it."""
        return [word for word in job.words if word not in self.fixed]

    def spec(self, job: Job) -> DataSpec:
        """Return what a job's data are."""
        return self._data(job.config)[1]

    def _varying(self, job: Job) -> list[str]:
        return [word for word in job.words if word.partition("=")[0] in self.axes or word.startswith("study.setting")]

    def _say_plan(self, states: dict[str, State], num_left: int) -> None:
        counts = {state: list(states.values()).count(state) for state in ("finished", "cut off", "running", "failed")}
        words = {"finished": "finished before", "cut off": "cut off, to go on", "running": "running elsewhere", "failed": "failed before"}
        done = ", ".join(f"{count} {words[state]}" for state, count in counts.items() if count)
        console.print(
            f"[bold]study[/] {self.parent.plan.name}: {len(states)} jobs{f' ({done})' if done else ''}, {num_left} to run; "
            f"parent run {self.parent.run_id}",
            highlight=False,
        )

    def _report(self, jobs: list[Job], left: list[Job], results: list[JobReturn]) -> None:
        """Say what became of the jobs.

        Raises:
            Failed: lists the jobs that failed.
        """
        states = {job.identity: self.state(job) for job in jobs}
        failed = [f"{' '.join(self._varying(job))}: {_error(result)}" for job, result in zip(left, results, strict=False) if _error(result)]
        known = {job.identity for job, result in zip(left, results, strict=False) if _error(result)}
        before = [job for job in jobs if states[job.identity] == "failed" and job.identity not in known]
        failed += [f"{' '.join(self._varying(job))}: failed before" for job in before]
        elsewhere = sum(state == "running" for state in states.values())
        if elsewhere:
            console.print(f"{elsewhere} jobs are running in other processes", highlight=False)
        num_done = sum(states[job.identity] == "finished" for job in jobs)
        console.print(f"\n{num_done} of {len(jobs)} jobs are finished", highlight=False)
        if num_done:
            console.print(f"compare:  python src/compare.py parent={self.parent.run_id}", highlight=False)
        if failed:
            rest = len(left) - len(results)
            stopped = f"\n{rest} jobs were not begun (study.on_failure=stop)" if rest else ""
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
        before = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            self.parent.close("KILLED", "interrupted")
            console.print("\ninterrupted; the same command goes on where it stopped", highlight=False)
            raise SystemExit(130) from None
        except ValueError as error:
            self.parent.close("FAILED", str(error))
            raise Failed(str(error)) from error
        except BaseException as error:
            self.parent.close("FAILED", str(error))
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
        self.parent.close("FINISHED")


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


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
    name = given or "sweep-" + "-".join(re.sub(r"[^a-z0-9]+", "_", key.rpartition(".")[2].lower()) for key in axes)
    if not NAME_PATTERN.fullmatch(name):
        raise ConfigError(f"study.name={name!r} is not allowed: small letters, digits, - and _ only")
    return name


def _check_study(study: Config) -> None:
    """Refuse settings of a study that cannot be run.

    Raises:
        ConfigError: names the key, what was given, what is allowed.
    """
    if study["on_failure"] not in ("continue", "stop"):
        raise ConfigError(f"study.on_failure={study['on_failure']} is not allowed. Allowed: continue, stop")
    trials = study["tuning_trials"]
    if study["metric"] is not None and not trials:
        raise ConfigError(f"study.metric={study['metric']} is what a search chooses by: give study.tuning_trials, too, or leave it out")
    if not isinstance(trials, int) or trials < 0:
        raise ConfigError(f"study.tuning_trials={trials} is not allowed: a whole number from 0")
    if trials and not study["space"]:
        raise ConfigError(
            "study.tuning_trials needs study.space: what is searched, key to choices or {low, high, log}; see conf/study/search.yaml"
        )
    if trials and not study["search_seeds"]:
        raise ConfigError("study.search_seeds is empty: a trial needs at least one seed")
    read_space(study["space"])


def slurm_script(settings: dict[str, Any], folder: Path) -> str:
    """Return the script that would be handed to SLURM: what `hydra/launcher=submitit_slurm` makes of its settings."""
    from submitit import SlurmExecutor
    from submitit.slurm.slurm import _convert_mem, _make_sbatch_string

    names: Mapping[str, str] = SlurmExecutor._equivalence_dict()  # type: ignore[assignment]
    own = ("_target_", "submitit_folder", "max_num_timeout", "array_parallelism", "name")
    given = {names.get(key, key): value for key, value in settings.items() if key not in own and value not in (None, {})}
    if "mem" in given:
        given["mem"] = _convert_mem(given["mem"])
    command = f"python -u -m submitit.core._submit {folder}"
    script: str = _make_sbatch_string(command, folder, job_name="rnnlab", **given)
    return script


def _error(result: JobReturn) -> str:
    """Return why a job failed, or nothing."""
    return str(result._return_value) or type(result._return_value).__name__ if isinstance(result._return_value, BaseException) else ""


def _rest(begun: float, num_done: int, num_jobs: int) -> str:
    """Say how long the rest will take, from what was done."""
    if not num_done:
        return ""
    minutes = (time.monotonic() - begun) / num_done * (num_jobs - num_done) / 60
    return f"  (about {minutes:.0f} min left)" if minutes >= 1 else "  (less than a minute left)"


def _leave(message: str, code: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
