"""The store of runs: made whole or not at all, found at its address or refused soon, and following its folder."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rnnlab.paths import HOME
from rnnlab.settings import Paths
from rnnlab.tracking import store
from rnnlab.tracking.address import PASSWORD, USER, public, whole_address, without_credentials, without_secrets
from rnnlab.tracking.store import TrackingError, connect, experiment_id, folder_of, get_run, read_artifact
from rnnlab.tracking.tracker import Tracker

MAKING = "import sys; from pathlib import Path; from rnnlab.tracking.store import connect; connect(None, Path(sys.argv[1]))"


def half_made(file: Path) -> None:
    """Leave what MLflow leaves where it is killed while it makes its tables."""
    with sqlite3.connect(file) as database:
        database.execute("create table experiments (experiment_id integer)")
    database.close()


@pytest.mark.parametrize("leave", [half_made, lambda file: file.write_bytes(b"")], ids=["some tables", "empty"])
def test_a_half_made_database_is_set_aside_and_made_anew(
    leave: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(tmp_path / "mlflow.db")
    tracker = Tracker.start(connect(None, tmp_path), "text", "a", Paths.below(tmp_path), {})
    assert tracker.finish("FINISHED")
    assert len(list(tmp_path.glob("mlflow.db.half-made-*"))) == 1
    assert "was only half made" in capsys.readouterr().out


@pytest.mark.slow
def test_kills_while_a_database_is_made_leave_a_root_that_works(tmp_path: Path) -> None:
    for number in range(8):
        process = subprocess.Popen([sys.executable, "-c", MAKING, str(tmp_path)], env=os.environ | {"PYTHONPATH": str(HOME / "src")})
        last = time.monotonic() + 60
        while not list(tmp_path.glob(".mlflow.db.making*")) and time.monotonic() < last:
            time.sleep(0.01)
        time.sleep(0.2 * number)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert Tracker.start(connect(None, tmp_path), "text", "a", Paths.below(tmp_path), {}).finish("FINISHED")
    assert list(tmp_path.glob("mlflow.db.half-made-*")) == []


def test_a_damaged_database_is_named_with_a_way_on(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database at all, but long enough to be one" * 100)
    with pytest.raises(TrackingError, match=r"mlflow.db is damaged or no database .* mv .*mlflow.db .*mlflow.db.damaged"):
        connect(None, tmp_path)


@pytest.mark.parametrize("name", ["what?", "50%20 off", "runs #1 (50% done) & more=ä+ö"])
def test_database_and_artifacts_lie_in_a_root_of_any_name(name: str, tmp_path: Path, empty_database: Path) -> None:
    root = tmp_path / name
    root.mkdir()
    tracker = Tracker.start(connect(None, root), "text", "a", Paths.below(root), {})
    (tracker.folder / "a.txt").write_text("a")
    tracker.log_files(tracker.folder / "a.txt")
    assert tracker.finish("FINISHED")
    assert read_artifact(connect(None, root), tracker.run_id, "a.txt", root / "fetched").read_text() == "a"
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert (root / "mlflow.db").is_file() and len(list(root.glob("mlartifacts/text/*/artifacts/a.txt"))) == 1


def test_a_folder_that_was_moved_keeps_its_runs_and_artifacts(tmp_path: Path, new_root: Callable[[str], Path]) -> None:
    before, now = new_root("before"), tmp_path / "now"
    tracker = Tracker.start(connect(None, before), "text", "a", Paths.below(before), {})
    (tracker.folder / "a.txt").write_text("a")
    tracker.log_files(tracker.folder / "a.txt")
    tracker.finish("FINISHED")
    shutil.move(before, now)
    run = get_run(connect(None, now), tracker.run_id)
    assert folder_of(run, Paths.below(now)) == now / "outputs" / tracker.run_id
    assert read_artifact(connect(None, now), tracker.run_id, "a.txt", tmp_path).read_text() == "a"
    again = Tracker.start(connect(None, now), "text", "b", Paths.below(now), {})
    (again.folder / "b.txt").write_text("b")
    again.log_files(again.folder / "b.txt")
    assert len(list(now.glob("mlartifacts/text/*/artifacts/b.txt"))) == 1
    assert not before.exists()


def test_a_server_that_listens_and_says_nothing_is_refused_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LONGEST_WAIT_S", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        begun = time.monotonic()
        with pytest.raises(TrackingError, match=r"does not answer \(no answer within"):
            connect(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
        assert time.monotonic() - begun < 5


@pytest.mark.slow
@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9", "http://192.0.2.1:5000", "http://no.such.host.invalid:5000", "sqlite:////proc/x.db"]
)
def test_a_wrong_address_is_refused_within_ten_seconds(address: str, tmp_path: Path) -> None:
    connect(None, tmp_path)  # modules are imported once
    begun = time.monotonic()
    with pytest.raises(TrackingError, match="does not answer"):
        connect(address, tmp_path)
    assert time.monotonic() - begun < 10


def test_an_experiment_that_was_deleted_is_brought_back_and_a_deleted_run_named(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(None, root)
    tracker = Tracker.start(client, "deleted", "a", Paths.below(root), {})
    tracker.finish("FINISHED")
    client.delete_experiment(tracker.experiment_id)
    assert experiment_id(client, "deleted", root) == tracker.experiment_id
    assert "experiment deleted was in MLflow's bin" in capsys.readouterr().out
    client.delete_run(tracker.run_id)
    with pytest.raises(TrackingError, match=rf"was deleted in MLflow's pages.*mlflow runs restore --run-id {tracker.run_id}"):
        get_run(client, tracker.run_id)


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "", "..", "a/b"])
def test_a_name_of_an_experiment_that_leads_elsewhere_is_refused(name: str, root: Path) -> None:
    with pytest.raises(TrackingError, match=r"tracking.experiment=.* is not allowed"):
        experiment_id(connect(None, root), name, root)


def test_whoever_next_looks_marks_a_run_whose_process_is_gone(new_root: Callable[[str], Path]) -> None:
    root = new_root("gone")
    client = connect(None, root)
    gone, alive = (Tracker.start(client, "text", name, Paths.below(root), {}) for name in ("gone", "alive"))
    client.set_tag(gone.run_id, "process", "1@12.00")
    client.set_tag(gone.run_id, "pid", "1")
    connect(None, root)
    found = get_run(client, gone.run_id)
    assert (found.info.status, found.data.tags["failure"][:14]) == ("KILLED", "its process 1 ")
    assert get_run(client, alive.run_id).info.status == "RUNNING"


def test_credentials_leave_an_address_for_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (USER, PASSWORD, "RNNLAB_TRACKING_URI"):
        monkeypatch.setenv(name, "")
    words = ["data=text", "tracking.uri='http://me:s%40cret@host:5000/a'", "seed=1"]
    assert without_secrets(words) == ["data=text", "tracking.uri='http://host:5000/a'", "seed=1"]
    assert (os.environ[USER], os.environ[PASSWORD]) == ("me", "s@cret")
    given = "postgresql://me:secret@host/runs"
    assert without_credentials(given) == public(given) == "postgresql://host/runs"
    assert whole_address("postgresql://host/runs") == given
    assert without_credentials("sqlite:////a/b@c.db") == "sqlite:////a/b@c.db"
