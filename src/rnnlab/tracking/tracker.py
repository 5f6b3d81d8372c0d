"""Runs in MLflow: the one file that imports mlflow.

Metrics are batched (one call is 6 ms). A tracking server that cannot be reached is refused before training; one that goes away
while training costs nothing: what it did not take is kept, sent again, and written beside the checkpoints at the end if it must be.
"""

import getpass
import hashlib
import json
import os
import platform
import re
import socket
import subprocess
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow  # the settings above are read at import
import psutil
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag
from mlflow.entities import Run as Run
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, Schema

from rnnlab.settings import Paths
from rnnlab.tracking import views

Client = MlflowClient
FLUSH_EVERY_S = 5.0
FLUSH_EVERY_METRICS = 500
LONGEST_PARAMETER = 500
"""Characters of a parameter's value that every tracking store takes."""
HEARTBEAT_EVERY_S = 30.0
NAME_PATTERN = re.compile(r"[a-z0-9_-]+")
"""Of studies, which have folders and locks of their name."""
RUN_NAME = re.compile(r"[\w-]+")
"""Of runs, which may be named after files of any language."""


class TrackingError(ValueError):
    """Tracking cannot be reached, or a run is not there; the message says which and what to do."""


def default_uri(root: Path) -> str:
    """Return the address of the one database of this project."""
    return f"sqlite:///{root / 'mlflow.db'}"


def connect(uri: str | None, root: Path) -> MlflowClient:
    """Return a client whose store is there and answers: `sqlite:///FILE`, `http(s)://HOST:PORT`, or None for the project's database.

    Raises:
        TrackingError: where it does not answer.
    """
    address = uri or default_uri(root)
    if not address.startswith(("sqlite:///", "http://", "https://", "postgresql", "mysql")):
        raise TrackingError(f"tracking.uri={address} is neither sqlite:///FILE nor http://HOST:PORT: the file store is not supported")
    try:
        with _creation_lock(address):
            client = MlflowClient(address)
            client.search_experiments(max_results=1)
        return client
    except (MlflowException, OSError) as error:
        raise TrackingError(
            f"tracking at {public(address)} does not answer ({_first_line(error)}): start it, or give another tracking.uri, "
            "or none for the project's own database"
        ) from None


@contextmanager
def _creation_lock(address: str) -> Iterator[None]:
    """Let one process at a time create a database; several at once break it."""
    if not address.startswith("sqlite:///"):
        yield
        return
    file = Path(address.removeprefix("sqlite:///"))
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(file.name + ".lock")):
        yield


def public(uri: str) -> str:
    """Strip credentials from an address."""
    parts = urlsplit(uri)
    if not parts.hostname or parts.scheme.startswith("sqlite"):
        return uri
    host = parts.hostname + (f":{parts.port}" if parts.port else "")
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def shortened_value(text: str) -> str:
    """Return what a tracking store is given for a parameter's value: the whole, or its beginning, its length and a hash of all of it."""
    if len(text) <= LONGEST_PARAMETER:
        return text
    end = f"... ({len(text):,} characters, {hashlib.sha256(text.encode()).hexdigest()[:12]})"
    return text[: LONGEST_PARAMETER - len(end)] + end


class Tracker:
    """Write one run."""

    def __init__(self, client: MlflowClient, run_id: str, name: str, folder: Path) -> None:
        self.client = client
        self.run_id = run_id
        self.name = name
        self.folder = folder
        self.experiment_id = ""
        self._metrics: list[Metric] = []
        self._flushed_at = self._beaten_at = time.monotonic()
        self._is_warned = False

    @classmethod
    def start(cls, client: MlflowClient, experiment: str, name: str, paths: Paths, tags: Mapping[str, str]) -> "Tracker":
        """Create a run that has these tags from its first moment, and the folder for what it writes."""
        if not RUN_NAME.fullmatch(name):
            raise TrackingError(f"name={name!r}: a run's name holds letters, digits, - and _ only")
        run = client.create_run(experiment_id(client, experiment, paths.root), run_name=name, tags={**tags, **_process()})
        tracker = cls(client, run.info.run_id, name, paths.outputs / run.info.run_id)
        tracker._settle(paths.home, run)
        return tracker

    @classmethod
    def resume(cls, client: MlflowClient, run_id: str, paths: Paths) -> "Tracker":
        """Continue a run that was interrupted, perhaps before it had a folder."""
        run = get_run(client, run_id)
        tracker = cls(client, run_id, str(run.info.run_name), Path(run.data.tags.get("outputs", paths.outputs / run_id)))
        client.update_run(run_id, status="RUNNING")
        tracker.set_tags(_process())
        if "failure" in run.data.tags:
            client.delete_tag(run_id, "failure")
        tracker._settle(paths.home, run)
        return tracker

    def _settle(self, home: Path, run: Run) -> None:
        """Make the run's folder, and say where it runs."""
        self.experiment_id = str(run.info.experiment_id)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "run_id").write_text(self.run_id + "\n", encoding="utf-8")
        self.set_tags({"outputs": str(self.folder), **_whereabouts(home)})

    def log_params(self, parameters: Mapping[str, Any]) -> None:
        """Log flat parameters; empty ones are left out, long ones cut so that two that differ still differ."""
        items = [Param(name, shortened_value(str(value))) for name, value in parameters.items() if value is not None]
        for start in range(0, len(items), 100):
            self.client.log_batch(self.run_id, params=items[start : start + 100])

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Keep metrics, and send them when enough have come together."""
        now = int(time.time() * 1000)
        self._metrics += [Metric(name, float(value), now, step) for name, value in metrics.items()]
        is_due = time.monotonic() - self._flushed_at > FLUSH_EVERY_S
        if is_due or len(self._metrics) >= FLUSH_EVERY_METRICS:
            self.flush()

    def flush(self) -> None:
        """Send what is kept; what cannot be sent stays."""
        self._flushed_at = time.monotonic()
        while self._metrics:
            part = self._metrics[:FLUSH_EVERY_METRICS]
            if not self._try(lambda part=part: self.client.log_batch(self.run_id, metrics=part)):
                return
            del self._metrics[: len(part)]
        if time.monotonic() - self._beaten_at > HEARTBEAT_EVERY_S:
            self._beaten_at = time.monotonic()
            self._try(lambda: self.client.set_tag(self.run_id, "heartbeat", _now()))

    def history(self, name: str) -> list[tuple[int, float]]:
        """Return (step, value) pairs of a metric, resumed parts joined; where tracking does not answer, what is still kept."""
        points = {m.step: m.value for m in self._metrics if m.key == name}
        with suppress(MlflowException, OSError):
            points |= dict(metric_history(self.client, self.run_id, name))
        return sorted(points.items())

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags (the UI's columns); empty ones are left out."""
        items = [RunTag(name, str(value)) for name, value in tags.items() if str(value)]
        self._try(lambda: self.client.log_batch(self.run_id, tags=items))

    def show(self, metric: str, direction: str) -> None:
        """Let the UI show the run's experiment by what matters, this metric among it; where that fails, it is shown as before."""
        with suppress(MlflowException, OSError):
            offer_views(self.client, self.experiment_id, metric, direction)

    @property
    def link(self) -> str:
        """Where the UI shows the run's experiment."""
        return views.link(ui_address(self.client), self.experiment_id)

    def log_dataset(self, name: str, digest: str, source: str) -> None:
        """Say which data a run saw (the UI's column and filter)."""
        dataset = Dataset(name=name, digest=digest[:8], source_type="rnnlab", source=json.dumps({"source": source}))
        self._try(lambda: self.client.log_inputs(self.run_id, datasets=[DatasetInput(dataset=dataset, tags=[])]))

    def log_files(self, folder: Path, under: str | None = None) -> None:
        """Copy what is in a folder, or one file, to the run's artifacts."""
        if folder.is_dir():
            self._try(lambda: self.client.log_artifacts(self.run_id, str(folder), under))
        else:
            self._try(lambda: self.client.log_artifact(self.run_id, str(folder), under))

    def log_model(self, code: Path, package: Path, bundle: Path, requirements: list[str], columns: Mapping[str, str]) -> None:
        """Log the model in MLflow's own format: code that reads the bundle, nothing pickled; `columns` is what it takes, name to type."""
        schema = Schema([ColSpec(kind, name, False) for name, kind in columns.items()])

        def log() -> None:
            with self._as_current_run(), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*An input example was not provided.*")  # a path means nothing elsewhere
                mlflow.pyfunc.log_model(
                    name="model",
                    python_model=str(code),
                    artifacts={"bundle": str(bundle)},
                    code_paths=[str(package)],
                    signature=ModelSignature(inputs=schema),
                    pip_requirements=requirements,
                )

        self._try(log)

    def finish(self, status: str, reason: str = "") -> None:
        """End the run: FINISHED, FAILED with the reason, or KILLED."""
        self.flush()
        if self._metrics:
            file = self.folder / "untracked_metrics.jsonl"
            lines = [json.dumps({"key": m.key, "value": m.value, "step": m.step, "timestamp": m.timestamp}) for m in self._metrics]
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
            print(f"tracking did not take {len(lines)} metrics to the end: they are in {file}")
        if reason:
            self.set_tags({"failure": reason[:4000]})
        self._try(lambda: self.client.set_terminated(self.run_id, status=status))

    @contextmanager
    def _as_current_run(self) -> Iterator[None]:
        mlflow.set_tracking_uri(self.client.tracking_uri)
        with mlflow.start_run(run_id=self.run_id, log_system_metrics=False):
            yield
        self.client.update_run(self.run_id, status="RUNNING")

    def _try(self, call: Any) -> bool:
        try:
            call()
            return True
        except (MlflowException, OSError) as error:
            if not self._is_warned:
                self._is_warned = True
                print(f"warning: tracking did not take something ({_first_line(error)}); training goes on, it will be tried again")
            return False


class SilentTracker(Tracker):
    """Stand for a run that another process writes: nothing is sent."""

    def __init__(self, run_id: str, name: str, folder: Path) -> None:
        super().__init__(cast(MlflowClient, None), run_id, name, folder)

    def log_params(self, parameters: Mapping[str, Any]) -> None:
        pass

    def _try(self, call: Any) -> bool:
        return True


def get_run(client: MlflowClient, run_id: str) -> Run:
    """Return a run.

    Raises:
        TrackingError: where there is none.
    """
    try:
        return client.get_run(run_id)
    except MlflowException:
        raise TrackingError(f"run={run_id}: there is no such run in {public(client.tracking_uri)}; see `make ui`") from None


def metric_history(client: MlflowClient, run_id: str, name: str) -> list[tuple[int, float]]:
    """Return (step, value) pairs of a run's metric, the last value of each step (a run that was taken up may repeat some)."""
    points = {m.step: m.value for m in client.get_metric_history(run_id, name)}
    return sorted(points.items())


def find_runs(client: MlflowClient, wanted: str, experiment: str | None = None) -> list[Run]:
    """Return all runs that a filter of MLflow's finds, the latest first.

    Args:
        client: of the tracking store.
        wanted: the filter.
        experiment: the name of the only one that is searched; by default all are.

    Raises:
        TrackingError: where the filter cannot be read, or tracking does not answer.
    """
    found: list[Run] = []
    try:
        experiments = [each.experiment_id for each in client.search_experiments() if experiment in (None, each.name)]
        token = None
        while experiments:
            page = client.search_runs(experiments, wanted, max_results=1000, order_by=["attributes.start_time DESC"], page_token=token)
            found += page
            token = page.token
            if not token:
                break
    except (MlflowException, OSError) as error:
        raise TrackingError(f"tracking cannot find {wanted!r}: {_first_line(error)}") from None
    return found


def find_baselines(client: MlflowClient, test_hash: str) -> list[Run]:
    """Return the finished baselines that were measured on the same test examples, in any experiment; none where tracking is silent."""
    with suppress(TrackingError):
        return find_runs(client, f"tags.test_hash = '{test_hash}' and params.model = 'baseline' and attributes.status = 'FINISHED'")
    return []


def read_artifact(client: MlflowClient, run_id: str, path: str, into: Path) -> Path:
    """Fetch an artifact of a run into a folder.

    Raises:
        TrackingError: where the run has none.
    """
    try:
        into.mkdir(parents=True, exist_ok=True)
        return Path(client.download_artifacts(run_id, path, str(into)))
    except (MlflowException, OSError) as error:
        raise TrackingError(f"run {run_id} has no artifact {path!r} ({_first_line(error)})") from None


def experiment_id(client: MlflowClient, name: str, root: Path) -> str:
    """Return the id of an experiment, made first where it is missing (one process at a time)."""
    is_local = client.tracking_uri.startswith("sqlite")
    with FileLock(root / "mlflow.db.experiment.lock") if is_local else nullcontext():
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        location = (root / "mlartifacts" / name).as_uri() if is_local else None
        return str(client.create_experiment(name, artifact_location=location))


def offer_views(client: MlflowClient, experiment: str, metric: str, direction: str) -> None:
    """Give an experiment its views in the UI, where it was not given them for this metric before (see `views`)."""

    def missing() -> dict[str, str]:
        found = client.get_experiment(experiment)
        return views.missing_tags(str(found.name), found.tags, metric, direction, int(time.time() * 1000))

    if missing():
        with _creation_lock(client.tracking_uri):  # of several jobs that begin at once, one
            for name, value in missing().items():
                client.set_experiment_tag(experiment, name, value)


def shown_experiments(client: MlflowClient) -> dict[str, str]:
    """Return the experiments that have runs, id to name, the latest first; those of before there were views are given theirs."""
    shown = {}
    for experiment in client.search_experiments():
        is_known = views.KNOWN in experiment.tags
        tags = [] if is_known else [run.data.tags for run in client.search_runs([experiment.experiment_id], max_results=20)]
        for metric, direction in sorted({(found["metric"], found["metric_direction"]) for found in tags if "metric_direction" in found}):
            offer_views(client, experiment.experiment_id, metric, direction)
        if is_known or tags:
            shown[str(experiment.experiment_id)] = str(experiment.name)
    return shown


def ui_address(client: MlflowClient) -> str:
    """Return where runs are shown: by the tracking server, or by `make ui`."""
    address = public(client.tracking_uri)
    return address.rstrip("/") if address.startswith("http") else views.UI


def process_name(pid: int) -> str:
    """Name a process so that a later one with the same number has another name; empty where there is none."""
    try:
        return f"{pid}@{psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return ""


def _process() -> dict[str, str]:
    """Return the tags that tell whether a run's process still lives."""
    return {"host": socket.gethostname(), "pid": str(os.getpid()), "process": process_name(os.getpid()), "heartbeat": _now()}


def _whereabouts(home: Path) -> dict[str, str]:
    commit, is_dirty = git_state(home)
    return {
        "git_commit": commit,
        "git_dirty": str(is_dirty).lower(),
        "mlflow.user": getpass.getuser(),
        "mlflow.source.name": "src/train.py",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": commit,
        "platform": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }


def git_state(home: Path) -> tuple[str, bool]:
    """Return the commit that is checked out and whether files differ from it; ("", False) outside a repository."""
    try:
        command = ["git", "-C", str(home)]
        commit = subprocess.run([*command, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        status = subprocess.run([*command, "status", "--porcelain"], capture_output=True, text=True, timeout=10, check=True)
        return commit.stdout.strip(), bool(status.stdout.strip())
    except (OSError, subprocess.SubprocessError):
        return "", False


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
