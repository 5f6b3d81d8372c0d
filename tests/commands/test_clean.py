"""What deleted and killed runs left is listed, and freed when asked; what lives, or is somebody else's, stays."""

import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from rnnlab.commands import train as run
from rnnlab.commands.clean import CleanSettings, clean
from rnnlab.commands.finished import open_run
from rnnlab.config import ConfigError, Failed
from rnnlab.settings import Paths, Store
from rnnlab.tracking.leftovers import Kind, in_words, size_on_disk
from rnnlab.tracking.processes import process_name
from rnnlab.tracking.store import connect
from rnnlab.tracking.tracker import Tracker

SMALL = (
    "data=text", "data.source=sample", "model=gru", "tuned=null", "trainer=smoke", "model.recurrence.hidden_size=3",
    "frontend.embedding_size=9", "frontend.num_ngrams=[6000,10]",
)  # fmt: skip
BLOCK = bytes(1 << 17)
HERE = "tracking: {uri: null}\n"


@pytest.fixture
def place(new_root: Callable[[str], Path]) -> Path:
    """Return a root of its own: all that is there is known."""
    folder = new_root("clean")
    (folder / "data").unlink()
    return folder


def told(place: Path, capsys: pytest.CaptureFixture[str], remove: bool = False, only: Kind | None = None) -> str:
    """Clean, and return what was printed."""
    capsys.readouterr()
    clean(CleanSettings(Paths.below(place), remove, only, Store(None)))
    return capsys.readouterr().out


def a_run(place: Path, name: str, status: str = "FINISHED", config: str = HERE) -> Tracker:
    """Return a run that has ended, with a large file in its folder."""
    tracker = Tracker.start(connect(None, place), "text", name, Paths.below(place), {})
    (tracker.folder / "config.yaml").write_text(config)
    (tracker.folder / "large").write_bytes(BLOCK)
    tracker.finish(status)
    return tracker


def age(folder: Path) -> None:
    """Let a folder be of two hours ago."""
    then = time.time() - 7200
    for each in (folder, *folder.rglob("*")):
        os.utime(each, (then, then))


def processed_by(pid: int, process: str) -> str:
    return f'{{"host": "{socket.gethostname()}", "pid": "{pid}", "process": "{process}"}}'


def forgotten(place: Path, name: str, config: str = HERE) -> Path:
    """Return the folder of a run that tracking has forgotten, two hours old, whose process is gone."""
    tracker = a_run(place, name, config=config)
    tracker.client.delete_run(tracker.run_id)
    (tracker.folder / "tags.json").write_text(processed_by(1, "1@0.00"))
    moved = tracker.folder.rename(place / "set aside")
    clean(CleanSettings(Paths.below(place), True, "deleted", Store(None)))
    moved.rename(tracker.folder)
    age(tracker.folder)
    return tracker.folder


def test_a_deleted_run_is_freed_with_artifacts_model_and_records_only_when_asked(
    place: Path, compose: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RNNLAB_ROOT", str(place))
    for name in ("gone", "stays"):
        run.train(compose(*SMALL, f"name={name}"))
    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    (experiment,) = (each.experiment_id for each in client.search_experiments() if each.name.startswith("text"))
    by_name = {each.info.run_name: each for each in client.search_runs([experiment])}
    gone, stays = (by_name[name].info.run_id for name in ("gone", "stays"))
    (model,) = by_name["gone"].outputs.model_outputs
    stored = place / "mlartifacts/text"
    bundles = [place / f"outputs/{gone}/artifacts/bundle", stored / gone / "artifacts/bundle"]
    bundles.append(stored / f"models/{model.model_id}/artifacts/artifacts/bundle")
    weights = [folder / "weights.safetensors" for folder in bundles]
    assert len({file.stat().st_ino for file in weights}) == 1, "one file, three names"
    assert not (place / "outputs" / gone / "last.ckpt").exists()
    assert "nothing is to be freed" in told(place, capsys)
    client.delete_run(gone)
    folders = [place / "outputs" / gone, stored / gone, stored / "models" / model.model_id]
    size = size_on_disk(folders)
    assert 2 * weights[0].stat().st_size <= size < sum(size_on_disk([folder]) for folder in folders) + 3 * weights[0].stat().st_size
    said = told(place, capsys)
    assert f"deleted: 1, {in_words(size)}" in said and f"gone ({gone[:8]})" in said and "remove=true removes these 1" in said
    assert all(folder.is_dir() for folder in folders)
    assert "removed: 1 of 1" in told(place, capsys, remove=True)
    assert not any(folder.exists() for folder in folders)
    with pytest.raises(MlflowException):
        client.get_run(gone)
    with pytest.raises(MlflowException):
        client.get_logged_model(model.model_id)
    assert client.search_runs([experiment], run_view_type=ViewType.DELETED_ONLY) == []
    assert open_run(stays, Store(None), Paths.below(place)).run_id == stays
    assert "nothing is to be freed" in told(place, capsys, remove=True)


def test_a_run_at_which_a_process_works_stays_though_it_was_deleted(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tracker = Tracker.start(connect(None, place), "text", "busy", Paths.below(place), {})
    (tracker.folder / "large").write_bytes(BLOCK)
    tracker.client.delete_run(tracker.run_id)
    said = told(place, capsys, remove=True)
    assert "deleted, but a process is working at it" in said and "nothing is to be freed" in said
    assert (tracker.folder / "large").is_file()
    tracker._end.set()


def test_folders_that_no_run_has_are_freed_but_not_those_that_are_somebodys(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = a_run(place, "known")
    elsewhere = forgotten(place, "elsewhere", "tracking: {uri: http://host:5000}\n")
    unsaid = forgotten(place, "unsaid", "")
    orphan, fresh, alive, unsent, foreign = (forgotten(place, name) for name in ("orphan", "fresh", "alive", "unsent", "foreign"))
    (fresh / "new").write_text("")
    (alive / "tags.json").write_text(processed_by(os.getpid(), process_name(os.getpid())))
    (unsent / "untracked.jsonl").write_text('{"kind": "end", "status": "FINISHED"}\n')
    (foreign / "run_id").unlink()
    (place / "outputs/notes").mkdir()
    for folder in (alive, unsent, foreign):
        age(folder)
    said = told(place, capsys, remove=True)
    assert "orphans: 1, " in said and "removed: 1 of 1" in said
    assert not orphan.exists()
    for folder in (known.folder, elsewhere, unsaid, fresh, alive, unsent, foreign, place / "outputs/notes"):
        assert folder.is_dir()
    assert "tracked elsewhere: clean with tracking.uri=http://host:5000" in said
    assert "2 written within the last hour, or a process is working at it" in said
    assert "holding what tracking did not take" in said and "called like a run, but no run made it" in said


def test_a_store_that_knows_none_of_the_folders_frees_them_only_when_they_are_asked_for(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    orphan = forgotten(place, "orphan")
    said = told(place, capsys, remove=True)
    assert "this tracking store knows none of all there" in said and "only=orphans" in said and orphan.is_dir()
    assert "removed: 1 of 1" in told(place, capsys, remove=True, only="orphans")
    assert not orphan.exists()


def test_last_checkpoints_of_finished_runs_and_half_written_files_are_freed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished, stopped, wanted = (a_run(place, name, status) for name, status in (("a", "FINISHED"), ("b", "KILLED"), ("c", "FINISHED")))
    wanted.client.log_param(wanted.run_id, "callbacks.checkpoint.keep_last", "True")
    for tracker in (finished, stopped, wanted):
        for name in ("best.ckpt", "last.ckpt", ".last.writing.writing"):
            (tracker.folder / name).write_bytes(BLOCK)
    old = stopped.folder / ".last.writing.writing"
    (place / "data/cache/.abc.0123abcd").mkdir(parents=True)
    (place / "data/cache/.abc.0123abcd/values.npy").write_bytes(BLOCK)
    (place / "data/cache/.abc.lock").write_text("")
    for each in (place / "data/cache", old):
        age(each)
    said = told(place, capsys, remove=True)
    assert "checkpoints: 1, 131.1 kB" in said
    assert "temporary: 2, " in said
    assert [(tracker.folder / "last.ckpt").is_file() for tracker in (finished, stopped, wanted)] == [False, True, True]
    assert all((tracker.folder / "best.ckpt").is_file() for tracker in (finished, stopped, wanted))
    assert not old.exists() and (finished.folder / ".last.writing.writing").is_file(), "somebody may be writing it"
    assert [each.name for each in (place / "data/cache").glob(".abc*")] == [".abc.lock"]


def test_runs_without_a_folder_are_counted_and_stay(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tracker = a_run(place, "bare")
    tracker.folder.rename(place / "elsewhere")
    said = told(place, capsys, remove=True)
    assert "kept: 1 without a folder in outputs/; their artifacts still predict" in said and "bare" in said
    assert tracker.client.get_run(tracker.run_id).info.lifecycle_stage == "active"


def test_what_cannot_be_removed_is_said_and_the_rest_is_removed(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [a_run(place, name) for name in ("a", "b")]
    for tracker in runs:
        tracker.client.delete_run(tracker.run_id)
    remove = shutil.rmtree

    def refusing(folder: Path) -> None:
        if folder == runs[0].folder:
            raise PermissionError(13, "Permission denied", str(folder))
        remove(folder)

    monkeypatch.setattr(shutil, "rmtree", refusing)
    with pytest.raises(Failed, match=rf"1 cannot be removed; the first: {runs[0].folder}: Permission denied"):
        clean(CleanSettings(Paths.below(place), True, None, Store(None)))
    assert "removed: 1 of 2" in capsys.readouterr().out
    assert runs[0].client.get_run(runs[0].run_id).info.lifecycle_stage == "deleted", "it can be cleaned again"
    assert not runs[1].folder.exists()


def test_a_kind_that_does_not_exist_is_refused(compose: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match=r"only=old is not allowed.* Allowed: deleted, orphans, checkpoints, temporary"):
        compose("only=old", config_name="clean")
