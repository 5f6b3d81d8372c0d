"""A finished run, opened for use: its bundle, and files written from it."""

import sys
from pathlib import Path

from rnnlab.config import ConfigError
from rnnlab.evaluation.bundle import Bundle, load_bundle
from rnnlab.settings import Paths, Store
from rnnlab.tracking.store import Client, connect, get_run, read_artifact


def open_run(run_id: str | None, store: Store, paths: Paths) -> tuple[Client, Bundle]:
    """Return a client of the tracking store, and the bundle of a run.

    Raises:
        ConfigError: where no run is named.
        TrackingError: where there is no such run, or it has no bundle.
    """
    if not run_id:
        raise ConfigError("give the run: run=RUN_ID (train.py prints it; `make ui` lists all)")
    client = connect(store.uri, paths.root)
    get_run(client, run_id)
    return client, load_bundle(read_artifact(client, run_id, "bundle", fetched(run_id, paths)))


def fetched(run_id: str, paths: Paths) -> Path:
    """Return the folder to which artifacts of a run are fetched."""
    return paths.outputs / run_id / "fetched"


def write_text(text: str, file: str) -> None:
    """Write a file, and say so."""
    Path(file).write_text(text, encoding="utf-8")
    print(f"written: {file}", file=sys.stderr)
