"""What lies on the disk and nobody needs any more: what deleted runs left, folders that no run has, files that a kill left half written.

Nothing counts that somebody may be working at: a run whose process lives, and whatever changed within the last hour. Nothing counts that
we did not make: a run's folder is one that has its id in its name and in its file `run_id`.
"""

import os
import re
import shutil
import stat
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import yaml
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from rnnlab.settings import Paths
from rnnlab.tracking.address import database_file, public
from rnnlab.tracking.entries import kept
from rnnlab.tracking.processes import GONE_S, is_alive, lives
from rnnlab.tracking.sharing import local_folder
from rnnlab.tracking.store import ARTIFACTS, WHOLE_ID, TrackingError, first_line, folder_of
from rnnlab.tracking.tracker import read_tags

Kind = Literal["deleted", "orphans", "checkpoints", "temporary"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MEANING: dict[Kind, str] = {
    "deleted": "runs in MLflow's bin: folders, artifacts, logged models, records",
    "orphans": "folders in outputs/ that belong to no run of this tracking store",
    "checkpoints": "last checkpoints of finished runs, and copies of artifacts that were fetched",
    "temporary": "what a kill left half written: checkpoints, databases, downloads, prepared data",
}

_ASIDE = re.compile(r"\..+\.[0-9a-f]{8}")  # of prepared data, while they are written


@dataclass(frozen=True)
class Leftover:
    """One thing that can be freed: what it is called, its files and folders, and the run and models that tracking forgets with it."""

    kind: Kind
    name: str
    places: tuple[Path, ...]
    run_id: str = ""
    models: tuple[str, ...] = ()


@dataclass
class Leftovers:
    """What can be freed; and what was found but is kept, by the reason, in words."""

    leftovers: list[Leftover] = field(default_factory=list)
    kept: dict[str, list[str]] = field(default_factory=dict)

    def of(self, kind: Kind) -> list[Leftover]:
        """Return what can be freed of a kind."""
        return [each for each in self.leftovers if each.kind == kind]

    def keep(self, reason: str, name: str) -> None:
        """Note that something is kept."""
        self.kept.setdefault(reason, []).append(name)


def find_leftovers(client: MlflowClient, paths: Paths, uri: str | None, only: Kind | None) -> Leftovers:
    """Look through the runs of a tracking store, `outputs`, `data` and the root.

    Args:
        client: of the tracking store.
        paths: where everything lies.
        uri: the address that was asked for; None: the project's own database.
        only: the kind that was asked for; None: all. Of a store that knows no folder in `outputs`, orphans have to be asked for.

    Raises:
        TrackingError: where tracking does not answer.
    """
    found = Leftovers()
    try:
        active = {run.info.run_id: run for run in _runs(client, ViewType.ACTIVE_ONLY)}
        binned = {run.info.run_id: run for run in _runs(client, ViewType.DELETED_ONLY)}
        for run in binned.values():
            _look_at_deleted(client, run, paths, found)
    except (MlflowException, OSError) as error:
        raise TrackingError(f"tracking does not say which runs there are: {first_line(error)}") from None
    _look_at_folders({*active, *binned}, paths, uri, found, is_asked=only == "orphans")
    for run in active.values():
        _look_at_run(run, paths, found)
    found.leftovers += [Leftover("temporary", str(place), (place,)) for place in _half_written(paths)]
    return found


def _runs(client: MlflowClient, view: str) -> Iterator[Run]:
    """Yield all runs, or all that are in the bin, of deleted experiments too."""
    experiments = [each.experiment_id for each in client.search_experiments(view_type=ViewType.ALL)]
    token = None
    while experiments:
        page = client.search_runs(experiments, "", view, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


# Deleted runs -------------------------------------------------------------------------------------------------------------------------


def _look_at_deleted(client: MlflowClient, run: Run, paths: Paths, found: Leftovers) -> None:
    name, folder = _name_of(run), folder_of(run, paths)
    if is_alive(run):
        found.keep("deleted, but a process is working at it", name)
        return
    if client.search_model_versions(f"run_id = '{run.info.run_id}'"):
        found.keep("deleted, but a registered model is made from it", name)
        return
    models = _models_of(client, run)
    own = [folder] if is_run_folder(folder, run.info.run_id) else []
    places = (*own, *_artifacts(run), *models.values())
    # Of a server's database only the server can forget a run: what is freed is what lies here.
    if places or database_file(client.tracking_uri) is not None:
        found.leftovers.append(Leftover("deleted", name, places, run.info.run_id, tuple(models)))


def _name_of(run: Run) -> str:
    return f"{run.info.run_name} ({run.info.run_id[:8]})"


def _artifacts(run: Run) -> list[Path]:
    """Return the folder of a run's artifacts where it lies here; its name is the run's id."""
    store = local_folder(str(run.info.artifact_uri))
    return [store.parent] if store is not None and store.parent.name == run.info.run_id and store.parent.is_dir() else []


def _models_of(client: MlflowClient, run: Run) -> dict[str, Path]:
    """Return the models that a run logged and their folders, as far as they lie here."""
    models: dict[str, Path] = {}
    for output in run.outputs.model_outputs if run.outputs is not None else ():
        with suppress(MlflowException):  # it was deleted on its own
            place = local_folder(str(client.get_logged_model(output.model_id).artifact_location))
            if place is not None and place.parent.name == output.model_id and place.parent.is_dir():
                models[output.model_id] = place.parent
    return models


def is_run_folder(folder: Path, run_id: str) -> bool:
    """Say whether a folder is one that a run made for itself."""
    try:
        is_named = (folder / "run_id").read_text(encoding="utf-8").strip() == run_id
    except (OSError, ValueError):
        return False
    return is_named and folder.name == run_id and not folder.is_symlink()


# Folders without a run ----------------------------------------------------------------------------------------------------------------


def _look_at_folders(known: set[str], paths: Paths, uri: str | None, found: Leftovers, *, is_asked: bool) -> None:
    folders = [folder for folder in sorted(paths.outputs.glob("*")) if WHOLE_ID.fullmatch(folder.name) and folder.is_dir()]
    unknown = [folder for folder in folders if folder.name not in known]
    orphans = []
    for folder in unknown:
        if reason := _reason_to_keep(folder, uri):
            found.keep(reason, str(folder))
        else:
            orphans.append(Leftover("orphans", str(folder), (folder,)))
    if orphans and len(unknown) == len(folders) and not is_asked:
        size = in_words(size_of(orphans))
        reason = f"in outputs/, and this tracking store knows none of all there ({size}); if they are to go, add only=orphans"
        for orphan in orphans:
            found.keep(reason, orphan.name)
        return
    found.leftovers += orphans


def _reason_to_keep(folder: Path, uri: str | None) -> str:
    """Say why a folder that no run of this tracking store has may be somebody's; nothing if it is nobody's."""
    if not is_run_folder(folder, folder.name):
        return "called like a run, but no run made it"
    try:
        recorded = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        other = recorded["tracking"]["uri"]
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError):
        return "in outputs/ without a configuration, so nothing says where it is tracked"
    if other != (None if uri is None else public(uri)):
        return f"of a run that is tracked elsewhere: clean with tracking.uri={other if other else 'null'}"
    if kept(folder):
        return "holding what tracking did not take"
    if _is_fresh(folder) or lives(read_tags(folder)):
        return "written within the last hour, or a process is working at it"
    return ""


# What runs do not need any more -------------------------------------------------------------------------------------------------------


def _look_at_run(run: Run, paths: Paths, found: Leftovers) -> None:
    folder = folder_of(run, paths)
    if not folder.is_dir() and "outputs" in run.data.tags:
        reason = "without a folder in outputs/; their artifacts still predict. To free these, delete such runs in MLflow, and clean again"
        found.keep(reason, f"{_name_of(run)}: {in_words(size_on_disk(_artifacts(run)))}")
    if run.info.status != "FINISHED" or not is_run_folder(folder, run.info.run_id):
        return
    fetched, is_kept = folder / "fetched", run.data.params.get("callbacks.checkpoint.keep_last") == "True"
    places = [fetched] if fetched.is_dir() and _artifacts(run) and not _is_fresh(fetched) else []
    if (folder / "best.ckpt").is_file() and (folder / "last.ckpt").is_file() and not is_kept:
        places.append(folder / "last.ckpt")
    if places:
        found.leftovers.append(Leftover("checkpoints", _name_of(run), tuple(places)))


def _half_written(paths: Paths) -> list[Path]:
    """Return what is written aside before it is put in place, where whoever wrote it was killed."""
    prepared = [place for room in ("cache", "prepared") for place in (paths.data / room).glob(".*") if _ASIDE.fullmatch(place.name)]
    places = [
        *paths.root.glob(".mlflow.db.making*"), *paths.root.glob("mlflow.db.half-made-*"),
        *paths.data.glob("raw/.*.partial"), *prepared,
        *paths.outputs.glob("*/*.writing"), *paths.outputs.glob("*/.*.writing"), *(paths.root / ARTIFACTS).rglob(".*.writing"),
    ]  # fmt: skip
    return [place for place in dict.fromkeys(places) if not _is_fresh(place)]


def _is_fresh(place: Path) -> bool:
    """Say whether something in a place changed within the last hour."""
    latest = 0.0
    for each in (place, *place.rglob("*")):
        with suppress(FileNotFoundError):
            latest = max(latest, each.lstat().st_mtime)
    return time.time() - latest < GONE_S


# Sizes, and the end -------------------------------------------------------------------------------------------------------------------


def size_of(leftovers: Iterable[Leftover]) -> int:
    """Return how many bytes of the disk become free with all of these."""
    return size_on_disk(place for each in leftovers for place in each.places)


def size_on_disk(places: Iterable[Path]) -> int:
    """Return how many bytes become free with these files and folders: of a file that has a name elsewhere, none."""
    names: Counter[tuple[int, int]] = Counter()
    found: dict[tuple[int, int], os.stat_result] = {}
    for file in {each for place in places for each in (place, *place.rglob("*"))}:
        with suppress(FileNotFoundError):
            state = file.lstat()
            key = (state.st_dev, state.st_ino)
            names[key] += 1
            found[key] = state
    return sum(state.st_blocks * 512 for key, state in found.items() if stat.S_ISDIR(state.st_mode) or names[key] >= state.st_nlink)


def in_words(num_bytes: int) -> str:
    """Write a size as people read it."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:,.1f} {unit}"
    return f"{num_bytes} bytes"


def remove(leftover: Leftover) -> None:
    """Remove the files and folders of one thing.

    Raises:
        OSError: where one cannot be removed.
    """
    for place in leftover.places:
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)


def forget(client: MlflowClient, leftovers: Iterable[Leftover]) -> None:
    """Remove the records of deleted runs from a database, as `mlflow gc` does; a server's own are left to it."""
    file = database_file(client.tracking_uri)
    runs = [each for each in leftovers if each.run_id]
    if file is None or not runs:
        return
    store = SqlAlchemyStore(client.tracking_uri, (file.parent / ARTIFACTS).as_uri())
    try:
        for run in runs:
            for model in run.models:
                store._hard_delete_logged_model(model)
            store._hard_delete_run(run.run_id)
    finally:
        store.engine.dispose()
