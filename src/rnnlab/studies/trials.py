"""A search for the best setting on validation: Optuna's samplers and storage, our runs.

    proposals   Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate; the first trial is the setting as it was given
    pruning     the median rule (Golovin et al. 2017, section 3.2.2): a trial stops that is worse than the median of the others so far
    storage     a journal file: it survives a kill, and several processes may share a search

Each proposal follows from (search, number of the trial), so that a search that was cut off proposes what it would have.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytorch_lightning as pl
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from pytorch_lightning.callbacks import Callback

from rnnlab.config import ConfigError, Failed
from rnnlab.settings import TrainSettings, TrialId
from rnnlab.training.callbacks import Pruned
from rnnlab.training.distributed import from_leader, leaders

NUM_STARTUP = 6
"""Trials drawn at random before there is a model of what is good; as many before anything is stopped."""
optuna.logging.set_verbosity(optuna.logging.WARNING)
Setting = dict[str, Any]


def read_space(space: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Return what may be chosen for each key.

    Raises:
        ConfigError: names the key, what was given, what is allowed.
    """
    return {key: _distribution(f"study.space.{key}", given) for key, given in space.items()}


def _distribution(where: str, given: Any) -> BaseDistribution:
    if isinstance(given, list) and given:
        return CategoricalDistribution([as_choice(value) for value in given])
    allowed = "a list of choices, or {low, high[, log: true]}"
    if not isinstance(given, Mapping) or not {"low", "high"} <= set(given) <= {"low", "high", "log"}:
        raise ConfigError(f"{where}={given} is not allowed: {allowed}")
    low, high, is_log = given["low"], given["high"], bool(given.get("log", False))
    is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (low, high))
    if not is_number or not low < high or (is_log and low <= 0):
        raise ConfigError(f"{where}={given} is not allowed: numbers, low below high, and above 0 where log is true")
    whole = isinstance(low, int) and isinstance(high, int)
    return IntDistribution(low, high, log=is_log) if whole else FloatDistribution(low, high, log=is_log)


def as_choice(value: Any) -> Any:
    """Return a value as a search holds it: lists as text."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def search_name(job: str, space: Mapping[str, Any], seeds: list[int], metric: str) -> str:
    """Name a search by what it follows from: the job as given (its identity), space, seeds, what settings are chosen by."""
    return hashlib.sha256(json.dumps([job, space, seeds, metric], sort_keys=True).encode()).hexdigest()[:16]


class Search:
    """Hold one search.

    Args:
        folder: where journals lie.
        name, space: see `search_name` and `read_space`.
        direction: `min` or `max`.
        start: the setting as given, tried first, where the space has it.
    """

    def __init__(self, folder: Path, name: str, direction: str, space: dict[str, BaseDistribution], start: Setting) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.space = name, space
        self.study = optuna.create_study(
            storage=_storage(folder, name),
            study_name=name,
            direction="maximize" if direction == "max" else "minimize",
            load_if_exists=True,
        )
        given = {key: as_choice(value) for key, value in start.items()}
        if not self.study.get_trials(deepcopy=False) and all(_contains(space[key], value) for key, value in given.items()):
            self.study.enqueue_trial(given)

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials, by number."""
        return self.study.get_trials(deepcopy=False)

    @property
    def num_done(self) -> int:
        """How many trials are complete, pruned or failed."""
        return sum(trial.state.is_finished() for trial in self.trials)

    def unfinished(self) -> list[tuple[int, Setting]]:
        """Return trials that were cut off, as (number, setting); not those that never had a whole setting."""
        running = [trial for trial in self.trials if trial.state == TrialState.RUNNING]
        return [(trial.number, dict(trial.params)) for trial in running if trial.params.keys() == self.space.keys()]

    def ask(self) -> tuple[int, Setting]:
        """Propose a setting; return the trial's number, too."""
        number = len(self.trials)
        seed = int(self.name, 16) % (1 << 31) + number
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna calls its multivariate sampler experimental
            self.study.sampler = optuna.samplers.TPESampler(n_startup_trials=NUM_STARTUP, multivariate=True, constant_liar=True, seed=seed)
        trial = self.study.ask(self.space)
        return trial.number, dict(trial.params)

    def tell(self, number: int, value: float | None, state: str) -> None:
        """Report what became of a trial: `complete` with its value, `pruned`, or `failed`."""
        states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        self.study.tell(number, value, states[state], skip_if_finished=True)

    def best(self) -> tuple[int, float, Setting]:
        """Return number, value and setting of the best complete trial.

        Raises:
            Failed: where none is complete.
        """
        if not any(trial.state == TrialState.COMPLETE for trial in self.trials):
            raise Failed("no trial of the search was completed: see the failures above")
        best = self.study.best_trial
        return best.number, float(best.value or 0.0), dict(best.params)


def _storage(folder: Path, name: str) -> JournalStorage:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental, says Optuna
        return JournalStorage(JournalFileBackend(str(folder / f"{name}.journal")))


def _contains(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return is_number and distribution.low <= value <= distribution.high


class Pruning(Callback):
    """Report the best value so far after each validation, and stop the trial where the search sees no hope."""

    def __init__(self, settings: TrainSettings, monitor: str, mode: str) -> None:
        trial, seeds = settings.study.job.trial, settings.study.search.search_seeds
        assert trial is not None
        self.monitor, self.sign = monitor, 1 if mode == "max" else -1
        self.offset = seeds.index(settings.seed) * 10_000 if settings.seed in seeds else 0
        self.best = -float("inf")
        self.kept = leaders(lambda: _open_trial(settings.paths.outputs / "searches", trial))

    def state_dict(self) -> dict[str, float]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self.best = state_dict["best"]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        value = trainer.callback_metrics.get(self.monitor)
        if value is None or trainer.sanity_checking:
            return
        self.best = max(self.best, self.sign * float(value))
        is_last = trainer.current_epoch + 1 >= (trainer.max_epochs or 0)
        if from_leader(lambda: self._is_hopeless(self.offset + trainer.current_epoch)) and not is_last:
            raise Pruned(f"{self.monitor} {self.sign * self.best:.4g} after epoch {trainer.current_epoch + 1} is below the others' median")

    def _is_hopeless(self, epoch: int) -> bool:
        trial, reported = self.kept
        if epoch not in reported:
            trial.report(self.sign * self.best, epoch)
            reported.add(epoch)
        return trial.should_prune()


def _open_trial(folder: Path, wanted: TrialId) -> tuple[optuna.trial.Trial, set[int]]:
    """Return a trial that is under way, and for which epochs it was reported (a run that goes on may validate one again)."""
    pruner = optuna.pruners.MedianPruner(n_startup_trials=NUM_STARTUP, n_warmup_steps=1)
    study = optuna.load_study(study_name=wanted.search, storage=_storage(folder, wanted.search), pruner=pruner)
    found = next((trial for trial in study.get_trials(deepcopy=False) if trial.number == wanted.number), None)
    if found is None:
        raise ConfigError(f"study.trial={wanted}: the search has no such trial")
    return optuna.trial.Trial(study, found._trial_id), set(found.intermediate_values)


def read_search(folder: Path, name: str) -> list[tuple[int, str, float | None, Setting]]:
    """Return the trials of a search as (number, state, value or the last that was reported, setting)."""
    study = optuna.load_study(study_name=name, storage=_storage(folder, name))
    states = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    found = []
    for trial in study.get_trials(deepcopy=False):
        reported = list(trial.intermediate_values.values())
        value = trial.value if trial.value is not None else reported[-1] if reported else None
        found.append((trial.number, states.get(trial.state, "running"), value, dict(trial.params)))
    return found
