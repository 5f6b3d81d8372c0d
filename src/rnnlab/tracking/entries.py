"""What a run hands to tracking: each kind as values that JSON can hold, so that what was not taken is kept in a file and sent later."""

import base64
import io
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, Schema
from mlflow.utils import environment as mlflow_environment

from rnnlab.tracking.sharing import local_folder, share, share_again

Entry = dict[str, Any]
"""`kind` and what that kind takes."""
FILES = ("untracked_metrics.jsonl", "untracked.jsonl")
"""Where a run's folder keeps what tracking did not take, one entry a line; runs of before had only the first, with one metric a line."""
OF_OTHERS = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")
"""What the environment says of some other run, which MLflow would take for ours."""
REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS")
"""Error codes of what tracking will never take, however often it is sent."""

# What a model needs is written from what is installed here. MLflow would look through all installed packages, seconds long, to say so.
mlflow_environment.warn_dependency_requirement_mismatches = lambda requirements: None


def send(client: MlflowClient, run_id: str, folder: Path, entry: Entry) -> None:
    """Hand one entry to tracking; paths in it are relative to the run's folder.

    Raises:
        MlflowException, OSError: where tracking does not take it.
    """
    _KINDS[entry["kind"]](client, run_id, folder, entry)


def parts_of(entry: Entry) -> list[Entry]:
    """Take an entry of several values apart."""
    values = entry.get("values", [])
    if isinstance(values, Mapping):
        return [{**entry, "values": {name: value}} for name, value in values.items()]
    return [{**entry, "values": [value]} for value in values]


def is_refusal(error: Exception) -> bool:
    """Say whether tracking will never take what it answered so."""
    return isinstance(error, MlflowException) and error.error_code in REFUSALS


def keep(folder: Path, entries: list[Entry]) -> None:
    """Keep entries in a run's folder, in place of those that it kept before."""
    file = folder / FILES[-1]
    if entries:
        aside = file.with_suffix(".writing")
        aside.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
        os.replace(aside, file)
    for name in FILES[:-1] if entries else FILES:
        (folder / name).unlink(missing_ok=True)


def kept(folder: Path) -> list[Entry]:
    """Return the entries that a run's folder keeps; a line that was cut off is none."""
    found: list[Entry] = []
    for file in (folder / name for name in FILES if (folder / name).is_file()):
        for line in file.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError, KeyError):
                entry = json.loads(line)
                point = [entry["key"], entry["value"], entry["timestamp"], entry["step"]] if "key" in entry else None
                found.append({"kind": "metrics", "values": [point]} if point else entry)
    return found


def _params(client: MlflowClient, run_id: str, folder: Path, entry: Entry) -> None:
    items = [Param(name, value) for name, value in entry["values"].items()]
    for start in range(0, len(items), 100):
        client.log_batch(run_id, params=items[start : start + 100])


def _tags(client: MlflowClient, run_id: str, folder: Path, entry: Entry) -> None:
    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in entry["values"].items()])


def _metrics(client: MlflowClient, run_id: str, folder: Path, entry: Entry) -> None:
    client.log_batch(run_id, metrics=[Metric(name, value, timestamp, step) for name, value, timestamp, step in entry["values"]])


def _dataset(client: MlflowClient, run_id: str, folder: Path, entry: Entry) -> None:
    source = json.dumps({"source": entry["source"]})
    dataset = Dataset(name=entry["name"], digest=entry["digest"], source_type="rnnlab", source=source)
    client.log_inputs(run_id, datasets=[DatasetInput(dataset=dataset, tags=[])])


def _files(client: MlflowClient, run_id: str, folder: Path, entry: Entry) -> None:
    path, under = folder / entry["path"], entry["under"]
    if (store := local_folder(str(client.get_run(run_id).info.artifact_uri))) is not None:
        share(path, store / under if under else store)
        return
    log = client.log_artifacts if path.is_dir() else client.log_artifact
    log(run_id, str(path), under)


def _model(client: MlflowClient, run_id: str, folder: Path, entry: Entry) -> None:
    schema = Schema([ColSpec(kind, name) for name, kind in entry["columns"].items()])
    example = None
    if "example" in entry:  # what earlier versions kept has none
        ((column, kind),) = entry["columns"].items()
        example = pd.DataFrame({column: [base64.b64decode(entry["example"]) if kind == "binary" else entry["example"]]})
    unread = io.StringIO()  # MLflow lets the model answer its example, and what a reader remarks on that is about nobody's input
    with _current_run(client, run_id), warnings.catch_warnings(), redirect_stderr(unread):
        warnings.filterwarnings("ignore", message="Operation with range is deprecated")  # MLflow compares names of columns with it
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=entry["code"],
            artifacts={"bundle": (folder / entry["bundle"]).as_uri()},  # a bare path with % or # is taken for an address
            code_paths=[entry["package"]],
            signature=ModelSignature(inputs=schema),
            input_example=example,
            pip_requirements=entry["requirements"],
        )
    if logged.model_id is not None:
        place = local_folder(str(client.get_logged_model(logged.model_id).artifact_location))
        if place is not None:  # MLflow has copied the bundle there
            share_again(folder / entry["bundle"], place / "artifacts" / "bundle")


def _end(client: MlflowClient, run_id: str, folder: Path, entry: Entry) -> None:
    client.set_terminated(run_id, status=entry["status"])


_KINDS: dict[str, Callable[[MlflowClient, str, Path, Entry], None]] = {
    "params": _params, "tags": _tags, "metrics": _metrics, "dataset": _dataset, "files": _files, "model": _model, "end": _end,
}  # fmt: skip


@contextmanager
def _current_run(client: MlflowClient, run_id: str) -> Iterator[None]:
    """Make a run the one that MLflow's own functions write to; its status and its end stay what they were."""
    info = client.get_run(run_id).info
    others = {name: os.environ.pop(name) for name in OF_OTHERS if name in os.environ}
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(client.tracking_uri)
    try:
        mlflow.start_run(run_id=run_id, log_system_metrics=False)
        try:
            yield
        finally:
            mlflow.end_run("RUNNING")
            if info.status != "RUNNING":
                client.set_terminated(run_id, info.status, info.end_time)
    finally:
        mlflow.set_tracking_uri(before)
        os.environ |= others
