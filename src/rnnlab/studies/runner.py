"""The jobs of a study: composed, checked, with their data prepared, and run by Hydra's launcher."""

import itertools
import json
import os
from collections.abc import Sequence

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from rnnlab.cli import FLAGS, as_composed, own_recipe, quoted
from rnnlab.config import ConfigError, flatten
from rnnlab.contracts import DataSpec
from rnnlab.settings import TrainSettings, TrialId
from rnnlab.studies.jobs import Job, State, counted, state_of
from rnnlab.tracking.parents import REPEATED, Parent
from rnnlab.tracking.store import Client, find_runs
from rnnlab.training.identity import identity
from rnnlab.training.recipes import check, find_data, say_recipe
from rnnlab.training.sizes import SUITED, TABLE, say_suited, suited

NOT_OF_BASELINES = ("model.", "model/", "tuned", "cell@", "init_from", "distil", "compression.")


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
        self.said = {""}
        self.recipes: set[str | None] = set()

    def compose(self, words: list[str], fixed: list[str] | None = None) -> TrainSettings:
        """Compose the configuration of a job; `fixed` are the words before its own, by default those of all jobs."""
        load = self.context.config_loader.load_sweep_config
        try:
            given = [FLAGS.get(word, word) for word in (*(self.fixed if fixed is None else fixed), *words)]
            composed = load(self.hydra_config, given)
            if own := own_recipe(composed, given):
                composed = load(self.hydra_config, [*given, *own])
        except HydraException as error:
            raise ConfigError(" ".join(str(error).split())) from None
        return TrainSettings.of(as_composed(composed, composed.hydra.runtime.choices, list(composed.hydra.overrides.task)))

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


def error_of(result: JobReturn) -> str:
    """Return why a job failed, or nothing."""
    return str(result._return_value) or type(result._return_value).__name__ if isinstance(result._return_value, BaseException) else ""
