"""Typed settings: what Hydra composed, turned once into frozen values; nobody looks a key up after that."""

import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field

from rnnlab.config import (
    Compression,
    Config,
    ConfigError,
    Distillation,
    Finetune,
    Fraction,
    Node,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    checked,
    naming_recipe,
    needed,
    section,
    whole,
)
from rnnlab.paths import HOME, SAMPLES

Settings = TypeVar("Settings")
LARGEST_SEED = 2**32 - 1
"""NumPy's generators take no larger one."""


@dataclass(frozen=True)
class Paths:
    """The folders of `paths`: the repository, and where data, bundled samples and runs lie."""

    home: Path
    root: Path
    data: Path
    samples: Path
    outputs: Path

    @classmethod
    def below(cls, root: Path) -> "Paths":
        """Return the folders that conf/paths/default.yaml names for a root."""
        return cls(HOME, root, root / "data", SAMPLES, root / "outputs")


@dataclass(frozen=True)
class Choices:
    """The choice of each group (`model=gru`)."""

    by_group: Mapping[str, str]

    @property
    def model(self) -> str:
        """The choice of `model`."""
        return str(self.by_group.get("model"))

    @property
    def data(self) -> str:
        """The choice of `data`."""
        return str(self.by_group.get("data"))

    @property
    def cell(self) -> str | None:
        """The choice of `cell`."""
        return self.by_group.get("cell")

    @property
    def recipe(self) -> str | None:
        """The name of the recipe in conf/tuned; most pairs of model and data have no such file."""
        return self.by_group.get("tuned")


@dataclass(frozen=True)
class Checkpointing:
    """Which checkpoints are kept (`callbacks.checkpoint`).

    Args:
        monitor: the metric that chooses the best; None: the task's own.
        mode: `min` or `max`, needed with `monitor`.
        num_best: number of best checkpoints kept, beside the last.
        every_minutes: longest time between two writes of the last.
        keep_last: whether the last stays once the run is finished; runs of before recorded no such key.
    """

    monitor: str | None
    mode: str | None
    num_best: int
    every_minutes: float
    keep_last: bool = False


@dataclass(frozen=True)
class EarlyStopping:
    """When a training ends before its last epoch (`callbacks.early_stopping`).

    Args:
        patience: validations without improvement; None: no limit.
        min_delta: smallest change that counts as an improvement.
        when_solved: whether training ends once validation is beyond what the data call solved.
    """

    patience: PositiveInt | None
    min_delta: NonNegativeFloat
    when_solved: bool


@dataclass(frozen=True)
class Callbacks:
    """What accompanies a training (`callbacks`).

    Args:
        checkpoint, early_stopping: see there.
        ema_decay: decay of averaged weights; None: no averaging.
        max_norm, weight_clip: see `rnnlab.training.constraints`.
        insight: what looks into the network while it trains.
    """

    checkpoint: Checkpointing
    early_stopping: EarlyStopping
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None
    max_norm: PositiveFloat | None
    weight_clip: PositiveFloat | None
    insight: Annotated[Node | None, BeforeValidator(lambda node: node and Node("callbacks.insight", node))] = None


@dataclass(frozen=True)
class Store:
    """Where runs are tracked (`tracking.uri`); None: the project's database."""

    uri: str | None


@dataclass(frozen=True)
class Tracking(Store):
    """Where and how a run is tracked (`tracking`); conf/tracking/default.yaml says what each key means."""

    experiment: str | None
    log_every_n_steps: int
    tensorboard: bool
    log_model: bool


@dataclass(frozen=True)
class TrialId:
    """One trial of a search, written `SEARCH:NUMBER`."""

    search: str
    number: int

    def __str__(self) -> str:
        """Return the trial as the configuration writes it."""
        return f"{self.search}:{self.number}"

    @classmethod
    def parse(cls, text: object) -> "TrialId | None":
        """Read a trial.

        Raises:
            ValueError: says how a trial is written.
        """
        search, _, number = str(text).rpartition(":")
        if text is not None and not (search and number.isdecimal()):
            raise ValueError(f"study.trial={text} is not allowed: write SEARCH:NUMBER")
        return None if text is None else cls(search, int(number))


@dataclass(frozen=True)
class SearchSettings:
    """How a study searches the best setting of each network (the keys of `study` from `tuning_trials` on)."""

    metric: str | None
    tuning_trials: Annotated[int, BeforeValidator(lambda value: whole(value, 0, "study.tuning_trials"))]
    with_default: bool
    space: dict[str, Any]
    search_seeds: list[int]
    pruning: bool
    write_tuned: bool


@dataclass(frozen=True)
class JobSettings:
    """What ties one job to its study: the parent's run id, the name of its setting, the trial that it is, and who is packed with it."""

    parent: str | None
    setting: str | None
    trial: Annotated[TrialId | None, BeforeValidator(TrialId.parse)]
    pack: list[str] | None = None


@dataclass(frozen=True)
class Study:
    """What a study asks (`study`); conf/study/none.yaml says what each key means."""

    name: str | None
    axes: dict[str, Any]
    on_failure: Literal["continue", "stop"]
    retry_failed: bool
    restart_damaged: bool
    dry_run: bool
    where_known: list[str]
    search: SearchSettings
    job: JobSettings
    packed: bool = False
    artifacts: Literal["full", "light"] = "full"
    """Of runs that were recorded before there was such a key."""

    @property
    def is_light(self) -> bool:
        """Whether this is a job that leaves figures and the model in MLflow's format for later."""
        return self.artifacts == "light" and self.job.parent is not None

    @classmethod
    def of(cls, values: Config) -> "Study":
        """Turn the section, whose keys lie side by side, into settings.

        Raises:
            ConfigError: names the key, what was given, what is allowed.
        """
        search, job = (
            {field.name: values[field.name] for field in fields(part) if field.name in values} for part in (SearchSettings, JobSettings)
        )
        grouped = {key: value for key, value in values.items() if key not in search | job} | {
            "search": checked(search, SearchSettings, "study"),
            "job": checked(job, JobSettings, "study"),
        }
        found: Study = checked(grouped, cls, "study")
        return found


@dataclass(frozen=True)
class TrainerSettings:
    """The trainer (`trainer`).

    Args:
        node: what Lightning's signature takes.
        num_threads: of the training; None: one per core.
        max_epochs: passes over the training split; None: `max_steps` or `max_time` ends the training.
        limits: of each split, the fraction of its batches that are used (float), or their number (int).
        devices: a number of processes, or a list with one index.
        strategy: `ddp` for several processes.
        accelerator: auto, cpu, gpu, ...
        has_time_limit: whether the clock may end the training.
    """

    node: Node
    num_threads: int | None
    max_epochs: int | None
    limits: Mapping[str, float | int]
    devices: int | list[int]
    strategy: str
    accelerator: str
    has_time_limit: bool

    @classmethod
    def of(cls, values: Config, epochs: object, is_ready: bool = False) -> "TrainerSettings":
        """Turn the section into settings; where the weights that a network begins with are ready for use, no epoch is needed.

        Raises:
            ConfigError: names the key, what was given, what is allowed.
        """
        threads, last = needed(values, "num_threads", "trainer"), values.get("max_epochs")
        if threads is not None:
            whole(threads, 1, "trainer.num_threads", otherwise=", or null for all cores")
        _refuse_out_of_range(values, "trainer", _TRAINER_RANGES)
        if isinstance(last, int) and ((last == 0 and not is_ready) or last < -1):
            raise ConfigError(
                f"{'epochs' if last == epochs else 'trainer.max_epochs'}={last} is not allowed: a whole number from 1 (-1: until "
                "trainer.max_steps; 0, with init_from and no teacher: that run's weights as they are)"
            )
        return cls(
            node=Node("trainer", {key: value for key, value in values.items() if key != "num_threads"}),
            num_threads=threads,
            max_epochs=last,
            limits={split: needed(values, f"limit_{split}_batches", "trainer") for split in ("train", "val", "test")},
            devices=values.get("devices", 1),
            strategy=values.get("strategy", "auto"),
            accelerator=values.get("accelerator", "auto"),
            has_time_limit=bool(values.get("max_time")),
        )


_TRAINER_RANGES: dict[str, Any] = {
    "gradient_clip_val": PositiveFloat | None,
    "gradient_clip_algorithm": Literal["norm", "value"] | None,
    "accumulate_grad_batches": PositiveInt,
}
_OPTIMIZER_RANGES: dict[str, Any] = {"lr": PositiveFloat, "weight_decay": NonNegativeFloat, "momentum": Fraction}


def _refuse_out_of_range(values: Config, where: str, ranges: Mapping[str, Any]) -> None:
    """Refuse values of a library's class that it would refuse late, or that mean nothing."""
    for key, hint in ranges.items():
        if key in values:
            checked(values[key], hint, f"{where}.{key}")


def _refuse_scaled_clipping(trainer: Config, optimizer: Config) -> None:
    """Refuse to clip gradients that a fused optimizer takes scaled, as 16-bit floats need them; bfloat16 needs no scale."""
    precision = str(trainer.get("precision", ""))
    if precision == "16-mixed" and optimizer.get("fused") and trainer.get("gradient_clip_val") is not None:
        raise ConfigError(
            f"trainer.precision={precision} does not go with clipping and a fused optimizer together: add optimizer.fused=false, "
            "or trainer.gradient_clip_val=null"
        )


@dataclass(frozen=True)
class Composed:
    """What Hydra composed: plain values by key, the choice of each group, and the words that were typed."""

    values: Config
    choices: Choices
    words: tuple[str, ...] = ()

    def typed(self, settings: type[Settings]) -> Settings:
        """Return the values as the settings of a command, a dataclass that names all keys.

        Raises:
            ConfigError: names the key, what was given, what is allowed.
        """
        return typing.cast(Settings, checked(self.values, settings, ""))


@dataclass(frozen=True)
class RunSettings:
    """How a run is named, and how it follows from other runs.

    Args:
        name: None: it is made.
        resume: id of the run to continue.
        init_from: id of the run whose weights this one begins with.
        distil_from: id of the run whose answers this one learns.
        reproduces: id of the run that this one repeats.
    """

    name: str | None
    resume: str | None
    init_from: str | None
    distil_from: str | None
    reproduces: str | None


@dataclass(frozen=True)
class TrainSettings:
    """The settings of one training.

    Args:
        model, data, optimizer, scheduler: sections that are recipes.
        trainer, callbacks, tracking, study, run, finetune, compression, paths: see there.
        distillation: how a teacher's answers are learned; None without one.
        seed: of initial weights, dropout, order and augmentation.
        budget: number of parameters that the network must have; None: its hidden size decides.
        composed: the values from which all of this was made.
    """

    model: Node
    data: Node
    optimizer: Node
    scheduler: Node
    trainer: TrainerSettings
    callbacks: Callbacks
    tracking: Tracking
    study: Study
    paths: Paths
    run: RunSettings
    finetune: Finetune
    distillation: Distillation | None
    compression: Compression
    seed: int
    budget: int | None
    composed: Composed

    @classmethod
    def of(cls, composed: Composed) -> "TrainSettings":
        """Turn composed values into settings.

        Raises:
            ConfigError: names the key, what was given, what is allowed.
        """
        values, budget = composed.values, composed.values.get("budget")
        name, resume, init_from = (needed(values, key) for key in ("name", "resume", "init_from"))
        if budget is not None:
            whole(budget, 1, "model.budget", " of parameters", ", or null")
        distil_from = values.get("distil_from")
        trainer = TrainerSettings.of(section(values, "trainer"), values.get("epochs"), bool(init_from and not distil_from))
        with naming_recipe(composed.choices.recipe):
            callbacks: Callbacks = checked(section(values, "callbacks"), Callbacks, "callbacks")
        _refuse_out_of_range(section(values, "optimizer"), "optimizer", _OPTIMIZER_RANGES)
        _refuse_scaled_clipping(values["trainer"], values["optimizer"])
        return cls(
            model=Node("model", section(values, "model")),
            data=Node("data", section(values, "data")),
            optimizer=Node("optimizer", section(values, "optimizer")),
            scheduler=Node("scheduler", section(values, "scheduler")),
            trainer=trainer,
            callbacks=callbacks,
            tracking=checked(section(values, "tracking"), Tracking, "tracking"),
            study=Study.of(section(values, "study")),
            paths=checked(section(values, "paths"), Paths, "paths"),
            seed=whole(needed(values, "seed"), 0, "seed", most=LARGEST_SEED),
            run=RunSettings(name, resume, init_from, distil_from, values.get("reproduces")),
            finetune=Finetune.of(values.get("finetune"), init_from),
            distillation=Distillation.of(values.get("distillation"), distil_from, composed.words),
            compression=Compression.of(values.get("compression"), composed.words),
            budget=budget,
            composed=composed,
        )

    @property
    def choices(self) -> Choices:
        """The choice of each group."""
        return self.composed.choices

    @property
    def words(self) -> tuple[str, ...]:
        """The words that were typed."""
        return self.composed.words

    @property
    def is_baseline(self) -> bool:
        """Whether the model is a baseline, which is fitted once."""
        return self.choices.model == "baseline"

    @property
    def is_trained(self) -> bool:
        """Whether there is anything to train: not where another run's weights are taken as they are."""
        return self.trainer.max_epochs != 0

    @property
    def is_diagnosed(self) -> bool:
        """Whether curves tell how a training went: of a network with a teacher the training loss is no loss of validation."""
        return self.is_trained and self.distillation is None and not self.is_baseline

    def unused_keys(self) -> list[str]:
        """Return the keys of sections that this training does not use."""
        unused = [] if self.choices.model == "seq2seq" else ["decoder_cell"]
        unused += ["frontend", "optimizer", "scheduler", "callbacks", "compression"] if self.is_baseline else []
        unused += [] if self.distillation else ["distillation"]
        return unused + ([] if "cell" in self.model.values else ["cell"])

    def values(self) -> Config:
        """Return all keys and values, as used: with the hidden size that meets a budget."""
        return {**self.composed.values, "model": self.model.values, "budget": self.budget}
