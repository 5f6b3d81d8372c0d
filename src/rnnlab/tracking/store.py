"""The store of runs: a database beside them or a server; opened, made so that a kill never leaves half of it, and asked.

A wrong address costs a line and at most ten seconds.
"""

import logging
import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from filelock import FileLock
from mlflow import MlflowClient  # the settings above are read at import
from mlflow.entities import Run as Run
from mlflow.exceptions import MlflowException
from mlflow.store.db import utils as mlflow_databases
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.exc import SQLAlchemyError

from rnnlab.settings import Paths
from rnnlab.tracking import views
from rnnlab.tracking.address import PASSWORD, USER, database_file, default_uri, public, whole_address
from rnnlab.tracking.processes import GONE_S, is_alive, process_of
from rnnlab.tracking.sharing import local_folder

Client = MlflowClient
LONGEST_WAIT_S = 8.0
"""How long a server may take to answer at first."""
ARTIFACTS = "mlartifacts"
LAST = "last"
"""What a person types for the run that began last."""
WHOLE_ID = re.compile(r"[0-9a-f]{32}")
LEAST_OF_ID, MOST_LISTED = 4, 5
EXPERIMENT_PATTERN = re.compile(r"\w[\w .-]*")  # a folder has this name


# We make the folder of a database. MLflow would make one more, called as its address writes it: `what%3F` for `what?`.
mlflow_databases._make_parent_dirs_if_sqlite = lambda address: None


logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it prints tracebacks of errors that we answer


class TrackingError(ValueError):
    """Tracking cannot be reached, or a run is not there; the message says which and what to do."""


# Opening ------------------------------------------------------------------------------------------------------------------------------


def connect(uri: str | None, root: Path) -> MlflowClient:
    """Return a client whose store is there and answers: `sqlite:///FILE`, `http(s)://HOST:PORT`, or None for the project's database.

    Runs whose process is gone without a word are marked.

    Raises:
        TrackingError: where it does not answer.
    """
    address = whole_address(uri) if uri else default_uri(root)
    if not address.startswith(("sqlite:///", "http://", "https://", "postgresql", "mysql")):
        shown = public(address)
        raise TrackingError(f"tracking.uri={shown} is neither sqlite:///FILE nor http://HOST:PORT: the file store is not supported")
    file = database_file(address)
    try:
        client = _reach(address) if file is None else _open_database(file)
        if file == root / "mlflow.db":
            _follow(root, client)
        mark_gone(client)
        return client
    except (MlflowException, SQLAlchemyError, OSError) as error:
        way = "start it, or give another tracking.uri, or none for the project's own database"
        if file is not None:
            way = "give a folder that may be written and has space, by RNNLAB_ROOT=FOLDER, or another tracking.uri"
        raise TrackingError(f"tracking at {public(address)} does not answer ({first_line(error)}): {way}{_about_login(error)}") from None


def _about_login(error: BaseException) -> str:
    is_refused = any(code in str(error) for code in ("401", "403"))
    return f". Its user and password are read from {USER} and {PASSWORD}" if is_refused else ""


def _reach(address: str) -> MlflowClient:
    """Ask a server for anything, and wait a few seconds for it: resolving a name, connecting and answering have no limit of their own."""
    client = MlflowClient(address)
    ends: list[Exception | None] = []

    def ask() -> None:
        try:
            client.search_experiments(max_results=1)
            ends.append(None)
        except Exception as error:
            ends.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(LONGEST_WAIT_S)
    if not ends:
        raise TimeoutError(f"no answer within {LONGEST_WAIT_S:.0f} s")
    if ends[0] is not None:
        raise OSError(_shortest(ends[0])) if not isinstance(ends[0], MlflowException | SQLAlchemyError) else ends[0]
    return client


def _shortest(error: BaseException) -> str:
    """Return what an error of a connection says at its end, where its cause stands."""
    return first_line(error).rpartition("Caused by ")[2]


def _open_database(file: Path) -> MlflowClient:
    """Open a database, made first where it is missing or only half made.

    Raises:
        TrackingError: where it is damaged.
        OSError: where it cannot be written.
    """
    with _creation_lock(file):
        _set_half_made_aside(file)
        if not file.exists():
            _make_database(file)
        client = MlflowClient(f"sqlite:///{quote(str(file))}")
        client.search_experiments(max_results=1)
    return client


@contextmanager
def _creation_lock(file: Path | None) -> Iterator[None]:
    """Let one process at a time create a database, or change what all runs share; stores that are no file need none."""
    if file is None:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = file.with_name(file.name + ".lock")
    try:
        os.close(os.open(lock, os.O_RDWR | os.O_CREAT, 0o644))  # where this fails, waiting for the lock would never end
    except OSError:
        if not file.exists():
            raise
        yield  # a database that may only be read is not made
        return
    with FileLock(lock):
        yield


def _make_database(file: Path) -> None:
    """Make a database aside and put it in place whole: a kill while it is made leaves nothing that looks like one."""
    aside = file.with_name(f".{file.name}.making")
    for left in (aside, aside.with_name(aside.name + "-journal")):
        left.unlink(missing_ok=True)
    try:
        store = SqlAlchemyStore(f"sqlite:///{quote(str(aside))}", (file.parent / ARTIFACTS).as_uri())
        store.engine.dispose()
        os.replace(aside, file)
    finally:
        aside.unlink(missing_ok=True)


def _set_half_made_aside(file: Path) -> None:
    """Rename a database that was never finished; it holds no runs.

    Raises:
        TrackingError: where it is damaged.
    """
    if not file.exists():
        return
    try:
        with _only_reading(file) as database:
            tables = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
            is_whole = {"alembic_version", "runs", "experiments", "registered_models"} <= tables
            is_whole = is_whole and database.execute("select count(*) from alembic_version").fetchone()[0] > 0
            is_whole = is_whole and database.execute("select count(*) from experiments").fetchone()[0] > 0
            num_runs = database.execute("select count(*) from runs").fetchone()[0] if "runs" in tables else 0
    except sqlite3.DatabaseError as error:
        raise TrackingError(_about_damage(file, error)) from None
    if is_whole or num_runs:
        return
    aside = file.with_name(f"{file.name}.half-made-{int(time.time())}")
    os.replace(file, aside)
    print(f"warning: {file} was only half made (something stopped that): it holds no runs, is called {aside.name} now, and is made anew")


def _about_damage(file: Path, error: Exception) -> str:
    return (
        f"{file} is damaged or no database ({error}). What runs wrote stays in outputs/. Set the file aside, mv {file} {file}.damaged, "
        f'and a new one is made; or copy what can be saved of it: sqlite3 {file}.damaged ".recover" | sqlite3 {file}'
    )


@contextmanager
def _only_reading(file: Path) -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=20)
    try:
        yield database
    finally:
        database.close()


def _follow(root: Path, client: MlflowClient) -> None:
    """Let a database whose folder was moved or renamed find its artifacts, which lie beside it, there."""
    here = (root / ARTIFACTS).as_uri()
    with _only_reading(root / "mlflow.db") as database:
        places = [place for (place,) in database.execute("select distinct artifact_location from experiments")]
    before = {place[: place.rindex(f"/{ARTIFACTS}") + len(ARTIFACTS) + 1] for place in places if place and f"/{ARTIFACTS}" in place}
    moved = [place for place in before - {here} if place.startswith("file:") and not Path(unquote(urlsplit(place).path)).exists()]
    if not moved:
        return
    columns = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"))
    with _creation_lock(root / "mlflow.db"), sqlite3.connect(root / "mlflow.db", timeout=20) as database:
        for place in moved:
            for table, column in columns:
                change = f"update {table} set {column} = ? || substr({column}, ?) where substr({column}, 1, ?) = ?"
                database.execute(change, (here, len(place) + 1, len(place), place))
        num_runs = database.execute("select count(*) from runs").fetchone()[0]
    database.close()
    if num_runs:
        print(f"this folder was moved: its runs' artifacts are looked for in {root / ARTIFACTS}")


# Asking -------------------------------------------------------------------------------------------------------------------------------


def mark_gone(client: MlflowClient) -> list[Run]:
    """End the runs whose process is gone without a word (a power cut, `kill -9`), and return them."""
    try:
        running = [run for run in find_runs(client, "attributes.status = 'RUNNING'") if "process" in run.data.tags]
        gone = [run for run in running if not is_alive(run, GONE_S)]
        gone = [run for run in gone if not is_alive(get_run(client, run.info.run_id), GONE_S)]  # it may have been taken up since
        for run in gone:
            client.set_tag(run.info.run_id, "failure", f"its {process_of(run)} is gone: it ended without a word")
            client.set_terminated(run.info.run_id, "KILLED")
    except (TrackingError, MlflowException, OSError):  # who may not write here only looks
        return []
    return gone


def get_run(client: MlflowClient, run_id: str) -> Run:
    """Return a run.

    Raises:
        TrackingError: where there is none, or it was deleted.
    """
    try:
        run = client.get_run(run_id)
    except (MlflowException, OSError):
        raise TrackingError(
            f"run={run_id}: there is no such run in {public(client.tracking_uri)}. Give an id, its first characters, a run's name, or "
            "`last`; `make ui` lists all"
        ) from None
    if run.info.lifecycle_stage == "deleted":
        raise TrackingError(
            f"run={run_id} ({run.info.run_name}) was deleted in MLflow's pages. It is still in its bin, and its files in outputs/: "
            f"to bring it back,  mlflow runs restore --run-id {run_id}  with MLFLOW_TRACKING_URI={public(client.tracking_uri)}"
        )
    return run


def find_run(client: MlflowClient, given: str) -> Run:
    """Return the run that a person means: by its id, the beginning of its id, its name, or `last` for the one that began last.

    Raises:
        TrackingError: where there is none, or several.
    """
    if WHOLE_ID.fullmatch(given):
        return get_run(client, given)
    runs = [run for run in find_runs(client, "") if run.data.tags.get("kind") != "study"]
    if given == LAST:
        found = runs[:1]
    else:
        found = [run for run in runs if len(given) >= LEAST_OF_ID and run.info.run_id.startswith(given)]
        found = found or [run for run in runs if run.info.run_name == given]
    if len(found) > 1:
        listed = "; ".join(f"{run.info.run_id[:8]} ({run.info.run_name}, {_day(run)})" for run in found[:MOST_LISTED])
        more = f" and {len(found) - MOST_LISTED} more" if len(found) > MOST_LISTED else ""
        raise TrackingError(f"run={given} is the name of {len(found)} runs: {listed}{more}. Give the first characters of an id")
    return get_run(client, found[0].info.run_id if found else given)


def _day(run: Run) -> str:
    return datetime.fromtimestamp(run.info.start_time / 1000).strftime("%Y-%m-%d %H:%M")


def folder_of(run: Run, paths: Paths) -> Path:
    """Return a run's folder, recorded relative to the root where it lies inside; its usual place where it was moved from elsewhere."""
    usual = paths.outputs / run.info.run_id
    recorded = paths.root / run.data.tags.get("outputs", usual)
    return usual if usual.is_dir() and not recorded.is_dir() else recorded


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
        raise TrackingError(f"tracking cannot find {wanted!r}: {first_line(error)}") from None
    return found


def find_baselines(client: MlflowClient, test_hash: str) -> list[Run]:
    """Return the finished baselines that were measured on the same test examples, in any experiment; none where tracking is silent."""
    with suppress(TrackingError):
        return find_runs(client, f"tags.test_hash = '{test_hash}' and params.model = 'baseline' and attributes.status = 'FINISHED'")
    return []


def read_artifact(client: MlflowClient, run_id: str, path: str, into: Path) -> Path:
    """Return an artifact of a run: where it lies on this machine, or fetched into a folder. It is to be read, not to be written.

    Raises:
        TrackingError: where the run has none.
    """
    try:
        store = local_folder(str(client.get_run(run_id).info.artifact_uri))
        if store is not None and (store / path).exists():
            return store / path
        into.mkdir(parents=True, exist_ok=True)
        return Path(client.download_artifacts(run_id, path, str(into)))
    except (MlflowException, OSError) as error:
        raise TrackingError(f"run {run_id} has no artifact {path!r} ({first_line(error)})") from None


def experiment_id(client: MlflowClient, name: str, root: Path) -> str:
    """Return the id of an experiment, made first where it is missing (one process at a time), and brought back where it was deleted.

    Raises:
        TrackingError: where the name is not allowed.
    """
    if not EXPERIMENT_PATTERN.fullmatch(name):
        raise TrackingError(f"tracking.experiment={name!r} is not allowed: letters, digits, blanks, . - and _, a letter or digit first")
    is_local = client.tracking_uri.startswith("sqlite")
    with FileLock(root / "mlflow.db.experiment.lock") if is_local else nullcontext():
        found = client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
            print(f"experiment {name} was in MLflow's bin: it was brought back, with its runs")
        if found is not None:
            return str(found.experiment_id)
        location = (root / ARTIFACTS / name).as_uri() if is_local else None
        return str(client.create_experiment(name, artifact_location=location))


def offer_views(client: MlflowClient, experiment: str, metric: str, direction: str) -> None:
    """Give an experiment its views in the UI, where it was not given them for this metric before (see `views`)."""

    def missing() -> dict[str, str]:
        found = client.get_experiment(experiment)
        return views.missing_tags(str(found.name), found.tags, metric, direction, int(time.time() * 1000))

    if missing():
        with _creation_lock(database_file(client.tracking_uri)):  # of several jobs that begin at once, one
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


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says."""
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
