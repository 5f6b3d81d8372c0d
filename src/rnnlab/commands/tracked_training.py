"""One training of this process under a tracked run: the place where data, model, trainer and tracking meet.

settings -> data -> model -> run -> fit -> evaluation -> artifacts and summary
"""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from pytorch_lightning.callbacks import Callback
from rich.console import Console

from rnnlab.config import ConfigError, Failed
from rnnlab.data.base import SequenceDataModule
from rnnlab.evaluation import artifacts
from rnnlab.models.base import Network, Predictor
from rnnlab.settings import TrainSettings
from rnnlab.studies.jobs import checkpoint_of, claim, decide
from rnnlab.tracking.recorded import read_config
from rnnlab.tracking.tracker import Client, Tracker, TrackingError, connect, get_run
from rnnlab.training import distributed
from rnnlab.training.callbacks import Interrupted, Pruned
from rnnlab.training.checkpoints import init_from, read_checkpoint
from rnnlab.training.fitting import evaluate_both, fit, make_model
from rnnlab.training.identity import identity
from rnnlab.training.launching import is_leader, is_worker
from rnnlab.training.process import quieten, tune_process
from rnnlab.training.recipes import Recipes, check, experiment_of, find_data, say_recipe
from rnnlab.training.recording import record, run_name
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
    with distributed.joined():
        if settings.run.resume and is_worker():
            asked = settings
            settings = distributed.from_leader(lambda: resumed(asked))
        recipes = check(settings)
        distributed.refuse_missing(settings.trainer.accelerator)
        if settings.is_baseline and not is_leader():
            return None
        client = distributed.leaders(lambda: connect(settings.tracking.uri, settings.paths.root))
        tune_process(settings.trainer.num_threads)
        if is_leader() and not settings.study.job.parent and not settings.run.resume:
            say_recipe(settings)
        data = distributed.one_first(lambda: find_data(settings))
        distributed.refuse_different(data)
        job = identity(settings, data.hashes["source_hash"])
        with _started(settings, client, job) as start:
            return _train_under(settings, recipes, client, data, job, start) if start else None


def resumed(asked: TrainSettings) -> TrainSettings:
    """Return the recorded settings of the run to continue.

    Raises:
        ConfigError: where there is none that can be continued, or other settings were typed, too.
    """
    run_id = str(asked.run.resume)
    if others := [word for word in asked.words if not word.startswith(("resume=", "tracking.", "paths.", "hydra"))]:
        raise ConfigError(f"resume={run_id} takes that run's recorded configuration: leave out {' '.join(others)}")
    client = connect(asked.tracking.uri, asked.paths.root)
    run = get_run(client, run_id)
    folder = Path(run.data.tags.get("outputs", ""))
    if run.info.status == "FINISHED":
        raise ConfigError(f"resume={run_id}: that run is finished; train longer with init_from={run_id}")
    if not (folder / "last.ckpt").is_file():
        raise ConfigError(f"resume={run_id}: no checkpoint in {folder}: it stopped before the first was written; start it anew")
    read_checkpoint(folder / "last.ckpt")
    recorded = read_config(client, run_id, folder / "recorded")
    values = recorded.values | {key: asked.composed.values[key] for key in ("paths", "resume", "tracking", "study")}
    if is_leader():
        console.print(f"[bold]resuming[/] {run.info.run_name} ({run_id}) with its recorded configuration")
    return TrainSettings.of(replace(recorded, values=values))


@contextmanager
def _started(settings: TrainSettings, client: Client, job: str) -> Iterator[Start | None]:
    """Hold a study's job while it runs, and say where it begins; None if it is not to do."""
    if not settings.study.job.parent:
        yield distributed.from_leader(lambda: _start_of_resumed(settings, client))
        return
    outputs = settings.paths.outputs
    with claim(outputs / "locks", job) if is_leader() else contextlib.nullcontext(False) as is_ours:

        def decided() -> Start | None:
            decision = decide(client, job, is_ours, settings.study)
            if decision.todo == "skip":
                console.print(f"  [bold]skipped:[/] {decision.reason}", highlight=False)
                return None
            run = decision.run
            restart = settings.study.restart_damaged
            return Start(run.info.run_id, checkpoint_of(run, outputs / run.info.run_id, restart)) if run else Start()

        yield distributed.from_leader(decided)


def _start_of_resumed(settings: TrainSettings, client: Client) -> Start:
    if not settings.run.resume:
        return Start()
    return Start(settings.run.resume, Path(get_run(client, settings.run.resume).data.tags["outputs"]) / "last.ckpt")


def _train_under(
    settings: TrainSettings, recipes: Recipes, client: Client, data: SequenceDataModule, job: str, start: Start
) -> float | None:
    """Make the model, train it under a run, new or continued, and evaluate it."""
    settings, model = make_model(settings, recipes, data)
    tracker = distributed.tracked(lambda: _tracker(settings, client, model, data, job, start))
    value = None
    with _ending(tracker), distributed.noticing_losses():
        if is_leader() and not settings.run.resume:
            record(tracker, settings, model, data, get_run(client, start.run_id).data.params if start.run_id else {})
        fitted = fit(settings, recipes, tracker, model, data, start.checkpoint, _pruning(settings, model))
        if not is_leader():
            return None
        found = evaluate_both(settings, fitted.model, data)
        diagnosis = artifacts.write_artifacts(tracker, fitted.model, data, found, fitted.cost, settings, fitted.checkpoint)
        if settings.study.job.parent:
            artifacts.print_line(tracker, fitted.model, found, fitted.cost)
        else:
            artifacts.print_summary(tracker, fitted.model, data, found, fitted.cost, settings.words, diagnosis)
        value = found["val"].numbers[model.task.metric.name]
    return value


def _pruning(settings: TrainSettings, model: Predictor) -> list[Callback]:
    """Return what reports to the search whose trial this run is, by what settings are chosen by (checkpoints may follow something else)."""
    if settings.study.job.trial is None or not settings.study.search.pruning or not isinstance(model, Network):
        return []
    from rnnlab.studies.trials import Pruning

    metric = chosen_by(model, settings.study.search.metric)
    return [Pruning(settings, f"val/{metric.name}", metric.direction)]


def _tracker(settings: TrainSettings, client: Client, model: Predictor, data: SequenceDataModule, job: str, start: Start) -> Tracker:
    """Begin a run, or continue one."""
    study = settings.study
    if start.run_id is not None:
        if settings.run.resume:
            refuse_changed_data(client, settings.run.resume, data)
        return Tracker.resume(client, start.run_id, settings.paths)
    if settings.run.init_from:
        try:
            init_from(cast(Network, model), Path(get_run(client, settings.run.init_from).data.tags["outputs"]))
        except TrackingError as error:
            raise ConfigError(f"init_from={settings.run.init_from}: {error}") from None
    tags = {"mlflow.parentRunId": study.job.parent, "study": study.name, "setting": study.job.setting}
    tags |= {"search": study.job.trial.search, "trial": str(study.job.trial.number)} if study.job.trial else {}
    tags |= {"reproduces": settings.run.reproduces} if settings.run.reproduces else {"identity": job}  # a repetition is no study's job
    which = f"-t{study.job.trial.number}" if study.job.trial else f"-{study.job.setting}" if study.job.setting else ""
    name = (settings.run.name or run_name(settings, data.name_parts(), model)) + which
    given = {key: value for key, value in tags.items() if value}
    return Tracker.start(client, experiment_of(settings), name, settings.paths, given)


def refuse_changed_data(client: Client, run_id: str, data: SequenceDataModule) -> None:
    """Raise ConfigError where a run's data are not those it saw."""
    tags = get_run(client, run_id).data.tags
    for name, value in data.hashes.items():
        if tags.get(name) != value:
            raise ConfigError(f"run {run_id}: the data have changed since ({name} {tags.get(name)} is now {value})")


@contextmanager
def _ending(tracker: Tracker) -> Iterator[None]:
    """Give the run its final status, whatever happens."""
    try:
        yield
    except Pruned as error:
        tracker.set_tags({"pruned": "true"})
        tracker.finish("KILLED", str(error))
        console.print(f"  [bold]stopped early:[/] {error}", highlight=False)
        return
    except (Interrupted, KeyboardInterrupt, SystemExit) as error:
        tracker.finish("KILLED", f"interrupted ({error})")
        how = "interrupted and saved" if isinstance(error, Interrupted) else "stopped at once; what the last checkpoint holds is kept"
        console.print(f"\n{how}; continue with:  python src/train.py resume={tracker.run_id}", highlight=False)
        raise SystemExit(130) from None
    except BaseException as error:
        tracker.finish("FAILED", f"{type(error).__name__}: {error}")
        if isinstance(error, ValueError) and not isinstance(error, Failed):
            raise Failed(str(error)) from error
        raise
    tracker.finish("FINISHED")
