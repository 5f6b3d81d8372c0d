"""Make what the jobs of a study left for later (`src/complete.py`)."""

from dataclasses import dataclass

import pandas as pd

from rnnlab.commands.tracked_training import refuse_changed_data
from rnnlab.config import ConfigError, Failed
from rnnlab.evaluation import artifacts
from rnnlab.evaluation.artifacts import ARTIFACTS
from rnnlab.evaluation.bundle import load_bundle
from rnnlab.settings import Paths, Store, TrainSettings
from rnnlab.tracking.processes import process_tags
from rnnlab.tracking.recorded import read_config
from rnnlab.tracking.store import Client, Run, connect, find_run, find_runs, folder_of, get_run
from rnnlab.tracking.tracker import Tracker
from rnnlab.training.first_weights import FirstRun
from rnnlab.training.recipes import opened


@dataclass(frozen=True)
class CompleteSettings:
    """What `complete.py` is asked; conf/complete.yaml says what each key means."""

    paths: Paths
    run: str | None
    parent: str | None
    tracking: Store


def complete(settings: CompleteSettings) -> None:
    """Make figures and log the models of a run, or of all finished runs of a study that lack them.

    Raises:
        ConfigError: where neither or both are named, a run is not finished, or its folder is not here.
        TrackingError: where there is no such run.
        Failed: where tracking does not take all of it.
    """
    if (settings.run is None) == (settings.parent is None):
        raise ConfigError("give one of them: run=RUN_ID, or parent=RUN_ID for all runs of a study (it says the id when it begins)")
    client = connect(settings.tracking.uri, settings.paths.root)
    named = find_run(client, str(settings.run or settings.parent))
    if (named.data.tags.get("kind") == "study") != (settings.parent is not None):
        right = f"run={settings.run} is a study: parent={settings.run}" if settings.run else f"parent={settings.parent} is a run: run=..."
        raise ConfigError(f"{right} is what completes it")
    runs = [named] if settings.run else find_runs(client, f"tags.`mlflow.parentRunId` = '{named.info.run_id}'")
    left = [run for run in runs if run.data.tags.get(ARTIFACTS) == "light" and (settings.run or run.info.status == "FINISHED")]
    for number, run in enumerate(left):
        _complete(client, run, settings.paths)
        print(f"{number + 1} of {len(left)}: {run.info.run_name} has its figures, and its model is logged ({run.info.run_id})")
    if not left:
        print(f"{named.info.run_name}: nothing is left to make")


def _complete(client: Client, run: Run, paths: Paths) -> None:
    """Make what one run lacks, from what it recorded."""
    run_id, name = run.info.run_id, str(run.info.run_name)
    if run.info.status != "FINISHED":
        raise ConfigError(f"run={run_id} ({name}) is {run.info.status}: only a finished run can be completed")
    folder = folder_of(run, paths)
    made = folder / "artifacts"
    if not made.is_dir():
        raise ConfigError(f"run={run_id} ({name}): its folder {folder} is not on this machine: complete it where it was trained")
    settings = TrainSettings.of(read_config(client, run_id, folder / "fetched", paths))
    first = FirstRun.of(folder_of(get_run(client, settings.run.init_from), paths)) if settings.run.init_from else None
    data = opened(settings, first)
    refuse_changed_data(run.data.tags, run_id, data)
    table = pd.read_parquet(made / "predictions" / "test.parquet")
    tracker = Tracker(client, run_id, name, folder)
    before = {key: run.data.tags[key] for key in process_tags() if key in run.data.tags}
    tracker.set_tags(process_tags())  # while its model is logged MLflow calls it running, and others look whether somebody is
    model = load_bundle(made / "bundle").model
    artifacts.draw(tracker, model, data, table, made)
    tracker.log_files(made)
    if settings.tracking.log_model:
        artifacts.log_model(tracker, model, data, made)
    tracker.set_tags({**before, ARTIFACTS: "full"})
    if not tracker.flush(is_asked=True):
        raise Failed(tracker.unsent)
