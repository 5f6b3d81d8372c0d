"""One training of this process under a tracked run: the place where data, model, trainer and tracking meet.

settings -> data -> model -> run -> fit -> evaluation -> artifacts and summary
"""

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from pytorch_lightning.callbacks import Callback
from rich.console import Console

from rnnlab.config import ConfigError, Failed
from rnnlab.data.base import SequenceDataModule
from rnnlab.evaluation import artifacts
from rnnlab.evaluation.bundle import load_bundle
from rnnlab.evaluation.evaluate import Evaluation
from rnnlab.insight.diagnosis import Diagnosis
from rnnlab.models.base import Network, Predictor
from rnnlab.paths import as_here, in_markup
from rnnlab.settings import TrainSettings
from rnnlab.studies.jobs import checkpoint_of, claim, decide
from rnnlab.tracking.processes import is_alive, process_of
from rnnlab.tracking.recorded import read_config
from rnnlab.tracking.store import Client, TrackingError, connect, find_run, folder_of, get_run, read_artifact
from rnnlab.tracking.tracker import Tracker
from rnnlab.training import distributed, signals
from rnnlab.training.callbacks import Pruned
from rnnlab.training.checkpoints import LAST, drop_last, read_checkpoint
from rnnlab.training.distillation import Teacher
from rnnlab.training.first_weights import FirstRun
from rnnlab.training.fitting import evaluate_both, fit, make_model
from rnnlab.training.identity import identity
from rnnlab.training.launching import is_leader, is_worker
from rnnlab.training.process import quieten, say_precision, tune_process
from rnnlab.training.recipes import Recipes, check, experiment_of, find_data, opened, say_recipe
from rnnlab.training.recording import record, run_name
from rnnlab.training.sizes import say_suited, suited
from rnnlab.training.trainer import chosen_by

console = Console(stderr=True, soft_wrap=True)


@dataclass(frozen=True)
class Start:
    """Where a training begins: the run to continue (None: a new one), the checkpoint to go on from (None: the first step)."""

    run_id: str | None = None
    checkpoint: Path | None = None


def train_here(settings: TrainSettings) -> float | None:
    """Train in this process, alone or as one of several; see `commands.train.train`."""
    quieten()
    with signals.listening(), distributed.joined():
        if settings.run.resume and is_worker():
            asked = settings
            settings = distributed.from_leader(lambda: resumed(asked))
        recipes = check(settings)
        distributed.refuse_missing(settings.trainer.accelerator)
        if (settings.is_baseline or not settings.is_trained) and not is_leader():
            return None
        client = distributed.leaders(lambda: connect(settings.tracking.uri, settings.paths.root))
        tune_process(settings.trainer.num_threads)
        if is_leader() and not settings.study.job.parent and not settings.run.resume:
            say_recipe(settings)
            say_precision(str(settings.trainer.node.values["precision"]), settings.trainer.accelerator)
        asked_for = settings
        first, teacher = _first_run(settings, client), _teacher(settings, client)
        data = distributed.one_first(lambda: find_data(asked_for, first))
        found = suited(settings, len(data.rows["train"]))
        settings, recipes = found.settings, check(found.settings)
        if found.words:
            if is_leader() and not settings.study.job.parent:
                say_suited(found)
            data = opened(settings, first)
        distributed.refuse_different(data)
        job = identity(settings, data.hashes["source_hash"])
        with started(settings, client, job) as start:
            return _train_under(settings, recipes, client, data, job, start, first, teacher) if start else None


def _first_run(settings: TrainSettings, client: Client) -> FirstRun | None:
    """Return the run whose weights this one begins with, if any.

    Raises:
        ConfigError: where it is gone.
    """
    if not (run_id := settings.run.init_from):
        return None
    try:
        folder = distributed.from_leader(lambda: folder_of(get_run(client, run_id), settings.paths))
    except TrackingError as error:
        raise ConfigError(f"init_from={run_id}: {error}") from None
    return FirstRun.of(folder)


def _teacher(settings: TrainSettings, client: Client) -> Teacher | None:
    """Return the run whose answers this one learns, if any.

    Raises:
        ConfigError: where it is gone, has not finished, or left no model.
    """
    if not (run_id := settings.run.distil_from):
        return None

    def found() -> tuple[Path, dict[str, str]]:
        run = get_run(client, run_id)
        if run.info.status != "FINISHED":
            raise ConfigError(f"distil_from={run_id}: that run is {run.info.status}: only a finished run has answers to learn from")
        own = folder_of(run, settings.paths) / "artifacts" / "bundle"
        is_here = (own / "bundle.json").is_file()
        return own if is_here else read_artifact(client, run_id, "bundle", settings.paths.outputs / run_id / "fetched"), run.data.tags

    try:
        folder, tags = distributed.from_leader(found)
    except TrackingError as error:
        raise ConfigError(f"distil_from={run_id}: {error}") from None
    return Teacher(run_id, load_bundle(folder), tags)


def resumed(asked: TrainSettings) -> TrainSettings:
    """Return the recorded settings of the run to continue.

    Raises:
        ConfigError: where there is none that can be continued, or other settings were typed, too.
    """
    run_id = str(asked.run.resume)
    if others := [word for word in asked.words if not word.startswith(("resume=", "tracking.", "paths.", "hydra"))]:
        raise ConfigError(f"resume={run_id} takes that run's recorded configuration: leave out {' '.join(others)}")
    client = connect(asked.tracking.uri, asked.paths.root)
    run = find_run(client, run_id)
    run_id, folder = run.info.run_id, folder_of(run, asked.paths)
    if run.info.status == "FINISHED":
        raise ConfigError(f"resume={run_id}: that run is finished; train longer with init_from={run_id}")
    if is_alive(run):
        raise ConfigError(f"resume={run_id}: {process_of(run)} is working at that run: wait for its end, or stop it first")
    if not (folder / LAST).is_file():
        raise ConfigError(f"resume={run_id}: no checkpoint in {folder}: it stopped before the first was written; start it anew")
    read_checkpoint(folder / LAST)
    recorded = read_config(client, run_id, folder / "recorded", asked.paths)
    values = recorded.values | {key: asked.composed.values[key] for key in ("paths", "study")} | {"resume": run_id}
    values["study"] = values["study"] | {"packed": recorded.values.get("study", {}).get("packed", False)}
    typed = {word.partition("=")[0].removeprefix("tracking.") for word in asked.words} | {"uri"}
    values["tracking"] |= {key: value for key, value in asked.composed.values["tracking"].items() if key in typed}
    if is_leader():
        console.print(f"[bold]resuming[/] {run.info.run_name} ({run_id}) with its recorded configuration")
    return TrainSettings.of(replace(recorded, values=values))


@contextmanager
def started(settings: TrainSettings, client: Client, job: str) -> Iterator[Start | None]:
    """Hold a study's job while it runs, and say where it begins; None if it is not to do."""
    outputs, resumed_id = settings.paths.outputs, settings.run.resume
    if not settings.study.job.parent:
        with claim(outputs / "locks", resumed_id) if resumed_id and is_leader() else contextlib.nullcontext(True) as is_ours:
            yield distributed.from_leader(lambda: _start_of_resumed(settings, client, is_ours))
        return
    with claim(outputs / "locks", job) if is_leader() else contextlib.nullcontext(False) as is_ours:

        def decided() -> Start | None:
            decision = decide(client, job, is_ours, settings.study)
            if decision.todo == "skip":
                console.print(f"  [bold]skipped:[/] {decision.reason}", highlight=False)
                return None
            run = decision.run
            restart = settings.study.restart_damaged
            return Start(run.info.run_id, checkpoint_of(run, folder_of(run, settings.paths), restart)) if run else Start()

        yield distributed.from_leader(decided)


def _start_of_resumed(settings: TrainSettings, client: Client, is_ours: bool) -> Start:
    if not settings.run.resume:
        return Start()
    run = get_run(client, settings.run.resume)
    if not is_ours or is_alive(run):
        raise ConfigError(f"resume={run.info.run_id}: another process ({process_of(run)}) is working at that run: wait for its end")
    return Start(settings.run.resume, folder_of(run, settings.paths) / LAST)


def _train_under(
    settings: TrainSettings,
    recipes: Recipes,
    client: Client,
    data: SequenceDataModule,
    job: str,
    start: Start,
    first: FirstRun | None,
    teacher: Teacher | None,
) -> float | None:
    """Make the model, train it under a run, new or continued, and evaluate it."""
    settings, model = make_model(settings, recipes, data)
    if teacher is not None and settings.distillation is not None:
        cast(Network, model).lesson = teacher.lesson(model, data, settings.distillation)
    tracker = distributed.tracked(lambda: tracker_of(settings, client, model, data, job, start, first))
    found: dict[str, Evaluation] = {}
    diagnosis: Diagnosis | None = None
    with (
        ending(tracker, settings.callbacks.checkpoint.keep_last),
        signals.at_end(lambda name: stopped(tracker, name)),
        distributed.noticing_losses(),
    ):
        if is_leader() and not settings.run.resume:
            record(tracker, settings, model, data, get_run(client, start.run_id).data.params if start.run_id else {})
        fitted = fit(settings, recipes, tracker, model, data, start.checkpoint, _pruning(settings, model))
        if not is_leader():
            return None
        signals.check()
        found = evaluate_both(settings, fitted.model, data)
        signals.check()
        diagnosis = artifacts.write_artifacts(tracker, fitted.model, data, found, fitted.cost, settings, fitted.checkpoint)
    if not found:  # a search stopped the trial
        return None
    if settings.study.job.parent:
        artifacts.print_line(tracker, fitted.model, found, fitted.cost)
    else:
        artifacts.print_summary(tracker, fitted.model, data, found, fitted.cost, settings.words, diagnosis)
    return found["val"].numbers[model.task.metric.name]


def _pruning(settings: TrainSettings, model: Predictor) -> list[Callback]:
    """Return what reports to the search whose trial this run is, by what settings are chosen by (checkpoints may follow something else)."""
    if settings.study.job.trial is None or not settings.study.search.pruning or not isinstance(model, Network):
        return []
    from rnnlab.studies.trials import Pruning

    metric = chosen_by(model, settings.study.search.metric)
    return [Pruning(settings, f"val/{metric.name}", metric.direction)]


def tracker_of(
    settings: TrainSettings,
    client: Client,
    model: Predictor,
    data: SequenceDataModule,
    job: str,
    start: Start,
    first: FirstRun | None,
) -> Tracker:
    """Begin a run, or continue one."""
    study = settings.study
    if start.run_id is not None:
        if settings.run.resume:
            refuse_changed_data(get_run(client, settings.run.resume).data.tags, settings.run.resume, data)
        return Tracker.resume(client, start.run_id, settings.paths)
    if first is not None:
        first.begin(cast(Network, model), data.reader().input_tokens, settings.model.values, settings.is_trained)
    tags = {"mlflow.parentRunId": study.job.parent, "study": study.name, "setting": study.job.setting}
    tags |= {"search": study.job.trial.search, "trial": str(study.job.trial.number)} if study.job.trial else {}
    tags |= {"reproduces": settings.run.reproduces} if settings.run.reproduces else {"identity": job}  # a repetition is no study's job
    which = f"-t{study.job.trial.number}" if study.job.trial else f"-{study.job.setting}" if study.job.setting else ""
    tags |= {"packed": "true"} if study.packed else {}
    name = (settings.run.name or run_name(settings, data.name_parts(), model)) + which
    given = {key: value for key, value in tags.items() if value}
    return Tracker.start(client, experiment_of(settings), name, settings.paths, given)


def refuse_changed_data(tags: Mapping[str, str], run_id: str, data: SequenceDataModule) -> None:
    """Raise ConfigError where a run's data, as its tags say, are not those it saw."""
    for name, value in data.hashes.items():
        if tags.get(name) != value:
            raise ConfigError(f"run {run_id}: the data have changed since ({name} {tags.get(name)} is now {value})")


@contextmanager
def ending(tracker: Tracker, keep_last: bool) -> Iterator[None]:
    """Give the run its final status, whatever happens; once it is FINISHED, the last checkpoint goes unless it is to be kept."""
    try:
        yield
    except Pruned as error:
        tracker.set_tags({"pruned": "true"})
        tracker.finish("KILLED", str(error))
        console.print(f"  [bold]stopped early:[/] {in_markup(error)}", highlight=False)
        return
    except (signals.Interrupted, KeyboardInterrupt, SystemExit) as error:
        by_signal = error if isinstance(error, signals.Interrupted) else None
        stopped(tracker, str(error), "interrupted and saved" if by_signal else "stopped at once; what the last checkpoint holds is kept")
        raise SystemExit(by_signal.code if by_signal else signals.exit_code()) from None
    except OSError as error:
        words = (
            f"cannot write in {error.filename or tracker.folder} ({error.strerror or error}): free some space, then go on from "
            f"the last checkpoint with  {as_here('python src/train.py')} resume={tracker.run_id}"
        )
        tracker.finish("FAILED", words)
        raise Failed(words) from error
    except BaseException as error:
        tracker.finish("FAILED", f"{type(error).__name__}: {error}")
        if isinstance(error, ValueError) and not isinstance(error, Failed):
            raise Failed(str(error)) from error
        raise
    if not tracker.finish("FINISHED"):
        raise Failed(tracker.unsent)
    if is_leader() and not keep_last:
        drop_last(tracker.folder)


def stopped(tracker: Tracker, name: str, how: str = "stopped; what the last checkpoint holds is kept") -> None:
    """End a run that was asked to stop, and say how to go on."""
    tracker.finish("KILLED", f"interrupted ({name})")
    if is_leader():
        is_saved = (tracker.folder / LAST).is_file()
        go_on = f"{how}; continue with:  {as_here('python src/train.py')} resume={tracker.run_id}"
        console.print(f"\n{go_on if is_saved else 'stopped before the first checkpoint: start it anew'}", highlight=False)
