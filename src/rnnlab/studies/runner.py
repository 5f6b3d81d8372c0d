"""The jobs of a study: composed, checked, with their data prepared, and run by Hydra's launcher."""

import copy
import itertools
import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace

from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from rnnlab.cli import FLAGS, as_composed, compose_config, own_recipe, quoted
from rnnlab.config import ConfigError, flatten
from rnnlab.contracts import DataSpec
from rnnlab.settings import Composed, TrainSettings, TrialId
from rnnlab.studies.jobs import Job, State, counted, state_of
from rnnlab.tracking.parents import REPEATED, Parent
from rnnlab.tracking.store import Client, find_runs
from rnnlab.training.identity import identity
from rnnlab.training.recipes import check, find_data, keep_open, say_recipe
from rnnlab.training.sizes import SUITED, TABLE, say_suited, suited

NOT_OF_BASELINES = ("model.", "model/", "tuned", "cell@", "init_from", "distil", "compression.")
SEED = re.compile(r"seed=(0|[1-9]\d*)")


class Runner:
    """Make and run the jobs of one study: `config` lacks what is swept, `axes` is that, `fixed` are the words that hold for all jobs."""

    client: Client
    parent: Parent
    """Both are known once the study has begun."""

    def __init__(
        self, context: HydraContext, task: TaskFunction, config: DictConfig, axes: dict[str, list[str]], fixed: Sequence[str]
    ) -> None:
        self.context, self.task, self.hydra_config = context, task, config
        self.axes, self.fixed = axes, list(fixed)
        self.launcher = str(config.hydra.runtime.choices.get("hydra/launcher", "basic"))
        self.known: dict[str, tuple[str, DataSpec, int]] = {}
        self.composed: dict[tuple[str, ...], Composed] = {}
        self.said = {""}
        self.recipes: set[str | None] = set()

    def compose(self, words: list[str], fixed: list[str] | None = None) -> TrainSettings:
        """Compose the configuration of a job; `fixed` are the words before its own, by default those of all jobs."""
        given = [FLAGS.get(word, word) for word in (*(self.fixed if fixed is None else fixed), *words)]
        seeds = [word for word in given if word.startswith("seed=")]
        if len(seeds) != 1 or not SEED.fullmatch(seeds[0]):
            return TrainSettings.of(self._composed(given))
        key = tuple("seed=" if word in seeds else word for word in given)
        if key not in self.composed:
            self.composed[key] = self._composed(given)
        found = self.composed[key]  # nothing else in it follows from the seed, and composing takes a tenth of a second
        values = copy.deepcopy(found.values) | {"seed": int(seeds[0].removeprefix("seed="))}
        own = tuple(seeds[0] if SEED.fullmatch(word) else word for word in found.words)
        return TrainSettings.of(replace(found, values=values, words=own))

    def _composed(self, given: list[str]) -> Composed:
        """Compose a job's configuration with Hydra."""
        load = self.context.config_loader.load_sweep_config
        try:
            composed = load(self.hydra_config, given)
            if own := own_recipe(composed, given):
                composed = load(self.hydra_config, [*given, *own])
        except HydraException as error:
            raise ConfigError(" ".join(str(error).split())) from None
        return as_composed(composed, composed.hydra.runtime.choices, list(composed.hydra.overrides.task))

    def make_jobs(self) -> list[Job]:
        """Return every combination of the axes once: what is fitted once has one job for all seeds."""
        axes = self.axes
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
        fixed, kept = self.fixed, words
        if "model=baseline" in [*fixed, *words]:
            fixed, kept = ([w for w in part if not w.startswith(NOT_OF_BASELINES) or w.startswith("model=")] for part in (fixed, words))
        settings = self.compose(kept, fixed)
        known = flatten(settings.values())
        if extra := [word for word in settings.study.where_known if word.partition("=")[0] in known]:
            settings, kept = self.compose([*kept, *extra], fixed), [*kept, *extra]
        check(settings)
        own, recipe = [*fixed, *kept], settings.choices.recipe
        if recipe not in self.recipes:
            self.recipes.add(recipe)
            say_recipe(settings)
        is_chosen = any("tuned" in word.partition("=")[0] for word in own)
        if not is_chosen and recipe != f"{settings.choices.model}_{settings.choices.data}":  # the launcher composes from the words alone
            own = [*own, f"tuned={recipe}" if recipe else "~tuned"]
        source_hash, _, size = self._data(settings)
        found = suited(settings, size)
        if found.words not in self.said:
            self.said.add(found.words)
            say_suited(found)
        return Job(tuple(own), found.settings, identity(found.settings, source_hash))

    def _data(self, settings: TrainSettings) -> tuple[str, DataSpec, int]:
        """Return the hash of the data's content, what they are, and the number of training examples.

        The first time data are asked for, they are fetched and prepared.
        """
        # Which part is test changes nothing of this; were it prepared with the split, each job prepares its own.
        # A loader may leave out duplicates, and defaults may follow from how many examples remain.
        loader = [] if settings.data.values.get(TABLE) else ["loader"]
        key = json.dumps(settings.data.without("fold", *loader, TABLE, SUITED), sort_keys=True)
        if key not in self.known:
            data = find_data(settings)
            keep_open(settings, data)
            self.known[key] = (data.hashes["source_hash"], data.make_spec(), len(data.rows["train"]))
        return self.known[key]

    def state(self, job: Job) -> State:
        """Say what became of a job so far."""
        return state_of(counted(find_runs(self.client, f"tags.identity = '{job.identity}'")))

    def start(self, batch: list[tuple[Job, TrialId | None]], first: int) -> list[JobReturn]:
        """Let the launcher run jobs, each with the trial that it is, if it is one; `first` is the number of the first."""
        launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=self.task, config=self.hydra_config
        )
        return list(launcher.launch([self._complete(job, trial) for job, trial in batch], initial_job_idx=first))

    def start_packs(self, packs: list[list[Job]], first: int) -> list[JobReturn]:
        """Let the launcher run packs of jobs, each in one process; `first` is the number of the first."""
        if not packs[0][0].settings.study.packed:
            return self.start([(job, None) for (job,) in packs], first)
        launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=self.task, config=self.hydra_config
        )
        words = [[*self._complete(pack[0], None), f"study.pack=[{','.join(repr(job.identity) for job in pack)}]"] for pack in packs]
        return list(launcher.launch(words, initial_job_idx=first))

    def _complete(self, job: Job, trial: TrialId | None) -> list[str]:
        """Return a job's words with what ties it to the study."""
        experiment = [quoted(f"tracking.experiment={self.parent.experiment}")] if not job.settings.tracking.experiment else []
        own = [f"study.parent={self.parent.run_id}", f"study.name={self.parent.plan.name}"]
        return [*job.words, *experiment, *own, *([f"study.trial={trial}"] if trial else [])]

    def run_trials(self, trials: list[tuple[Job, TrialId]]) -> list[str]:
        """Run jobs as trials of a search, beside each other where the launcher can; return why each failed, or nothing."""
        return [error_of(result) for result in self.start(list(trials), trials[0][1].number)] if trials else []

    @property
    def num_at_once(self) -> int:
        """How many jobs the launcher runs beside each other: its `n_jobs`, or as many as this machine has cores."""
        if self.launcher == "basic":
            return 1
        asked = self.hydra_config.hydra.launcher.get("n_jobs")
        return int(asked) if asked is not None and int(asked) > 0 else os.cpu_count() or 1

    def given_to(self, job: Job) -> list[str]:
        """Return the words of a job that the study's axes gave it."""
        return [word for word in job.words if word not in self.fixed]

    def spec(self, job: Job) -> DataSpec:
        """Return what a job's data are."""
        return self._data(job.settings)[1]

    def varying(self, job: Job) -> list[str]:
        """Return the words of a job that differ between jobs."""
        return [word for word in job.words if word.partition("=")[0] in self.axes or word.startswith("study.setting")]


def compose_job(words: list[str]) -> TrainSettings:
    """Compose the configuration of a job while Hydra runs another one in this process."""
    hydra = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        return TrainSettings.of(compose_config("config", words))
    finally:
        if hydra is not None:
            GlobalHydra.instance().initialize(hydra)


def error_of(result: JobReturn) -> str:
    """Return why a job failed, or nothing."""
    return str(result._return_value) or type(result._return_value).__name__ if isinstance(result._return_value, BaseException) else ""
