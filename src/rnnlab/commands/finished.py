"""A finished run, opened for use: its bundle, and files written from it."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from rnnlab.config import ConfigError
from rnnlab.evaluation.bundle import Bundle, load_bundle
from rnnlab.settings import Composed, Paths, Store
from rnnlab.tracking.recorded import read_config
from rnnlab.tracking.store import Client, TrackingError, connect, find_run, read_artifact
from rnnlab.tracking.tracker import read_tags

FINISHED = "FINISHED"
NO_RUN = "give the run: run=RUN_ID (train.py prints it; `make ui` lists all), run=NAME, or run=last"


@dataclass(frozen=True)
class FinishedRun:
    """What a run left: its bundle, tags and configuration, from tracking, or from its folder where tracking does not answer (no client)."""

    run_id: str
    bundle: Bundle
    tags: dict[str, str]
    client: Client | None
    paths: Paths
    status: str = FINISHED

    @property
    def recorded(self) -> Composed:
        """The recorded configuration.

        Raises:
            ConfigError: where there is none that can be read.
        """
        return read_config(self.client, self.run_id, fetched(self.run_id, self.paths), self.paths)


def open_run(run_id: str | None, store: Store, paths: Paths) -> FinishedRun:
    """Open a run.

    Raises:
        ConfigError: where no run is named.
        TrackingError: where there is no such run, it has not finished, or it has no bundle, neither in tracking nor in its folder.
    """
    if not run_id:
        raise ConfigError(NO_RUN)
    folder, status = paths.outputs / run_id, FINISHED
    try:
        client = connect(store.uri, paths.root)
        run = find_run(client, run_id)
        run_id, status = run.info.run_id, run.info.status
        bundle = load_bundle(read_artifact(client, run_id, "bundle", fetched(run_id, paths)))
        return FinishedRun(run_id, bundle, run.data.tags, client, paths, status)
    except TrackingError as error:
        own = folder / "artifacts" / "bundle"
        if Path(run_id).name != run_id or not (own / "bundle.json").is_file():
            if status != FINISHED:
                raise TrackingError(unfinished(run_id, status)) from None
            raise
        print(f"read from {folder}, since tracking lacks it: {error}", file=sys.stderr)
        return FinishedRun(run_id, load_bundle(own), read_tags(folder), None, paths)


def unfinished(run_id: str, status: str) -> str:
    """Say that a run has no model to use yet, and what to do."""
    if status == "RUNNING":
        return f"run={run_id} is still running: its model can be used once it has finished"
    return f"run={run_id} has not finished (it is {status}), so it has no model to use: go on with it,  python src/train.py resume={run_id}"


def fetched(run_id: str, paths: Paths) -> Path:
    """Return the folder to which artifacts of a run are fetched."""
    return paths.outputs / run_id / "fetched"


def output_file(output: str | None, key: str = "output") -> Path | None:
    """Return the file that `output` names, its folder made, before the work that fills it.

    Raises:
        ConfigError: where it is a folder, or cannot be written.
    """
    if not output:
        return None
    file = Path(output).expanduser()
    if file.is_dir():
        raise ConfigError(f"{key}={output} is a folder: give a file, {key}={Path(output) / 'answers.csv'}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{key}={output}: its folder cannot be made ({error.strerror}: {error.filename})") from None
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise ConfigError(f"{key}={output} may not be written: give another place")
    return file


def output_folder(output: str | None, key: str) -> Path | None:
    """Return the folder that a key names, before the work that makes and fills it.

    Raises:
        ConfigError: where it is a file, or cannot be made.
    """
    if not output:
        return None
    folder = Path(output).expanduser()
    there = next((each for each in (folder, *folder.absolute().parents) if each.exists()), folder)
    if not there.is_dir():
        raise ConfigError(f"{key}={output} cannot be made, since {there} is a file: give a folder")
    if not os.access(there, os.W_OK):
        raise ConfigError(f"{key}={output} cannot be made, since {there} may not be written: give another place")
    return folder


def write_text(text: str, file: Path) -> None:
    """Write a file, and say so."""
    file.write_text(text, encoding="utf-8")
    print(f"written: {file}", file=sys.stderr)
