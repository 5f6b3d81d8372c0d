"""A tracking server that is there, one that goes away, and many writers at once."""

import contextlib
import math
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import pytorch_lightning as pl

from rnnlab.commands import train as run
from rnnlab.commands.finished import open_run
from rnnlab.commands.score import ScoreSettings, Source, score
from rnnlab.commands.sync import SyncSettings, sync
from rnnlab.config import Failed
from rnnlab.settings import Paths, Store, TrainSettings
from rnnlab.tracking import processes, tracker
from rnnlab.tracking.address import public
from rnnlab.tracking.store import TrackingError, connect, find_run, get_run, metric_history
from rnnlab.tracking.tracker import LONGEST_PARAMETER, Tracker, shortened_value
from rnnlab.training import callbacks

WORDS = ("data.source=sample", "trainer=smoke", "model.recurrence.hidden_size=9", "tracking.log_model=false")


def started_again(process: "subprocess.Popen[bytes]", address: str) -> "subprocess.Popen[bytes]":
    """Start a server that died once more, and wait until it answers."""
    (place,) = (Path(str(word).removeprefix("sqlite:///")).parent for word in process.args if str(word).startswith("sqlite"))
    settings, quiet = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}, subprocess.DEVNULL
    again = subprocess.Popen(process.args, env=settings, cwd=place, stdout=quiet, stderr=quiet, start_new_session=True)
    for _ in range(240):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{address}/health", timeout=1).close()
            break
        time.sleep(0.25)
    return again


@pytest.mark.slow
def test_a_server_tracks_a_run_and_one_that_dies_in_the_middle_is_handed_everything_later(
    server: tuple[str, "subprocess.Popen[bytes]"],
    compose: Callable[..., TrainSettings],
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address, process = server
    words = (*WORDS, f"tracking.uri={address}")
    before = set((root / "outputs").glob("*"))
    run.train(compose(*words))
    (whole,) = set((root / "outputs").glob("*")) - before
    expected = get_run(connect(address, root), whole.name)
    assert expected.info.status == "FINISHED"

    def die(self: object, trainer: pl.Trainer, *rest: object) -> None:
        if trainer.global_step == 2:
            os.killpg(process.pid, 9)
            process.wait()

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.StepSeed, "on_train_batch_end", die)
        patch.setattr(tracker, "PATIENCE_S", 2.0)
        with pytest.raises(Failed, match=r"did not take all of run (\w+); nothing is lost, .* python src/sync.py run=\1"):
            run.train(compose(*words))
    (orphan,) = set((root / "outputs").glob("*")) - before - {whole}
    assert (orphan / "best.ckpt").is_file()
    assert '"test/accuracy"' in (orphan / "untracked.jsonl").read_text()

    found = open_run(orphan.name, Store(address), Paths.below(root))
    assert found.client is None and "read from" in capsys.readouterr().err
    score(ScoreSettings(Paths.below(root), orphan.name, Source(None), None, Store(address)))
    assert "accuracy" in capsys.readouterr().out

    with pytest.raises(TrackingError, match="does not answer"):
        sync(SyncSettings(Paths.below(root), orphan.name, Store(None)))
    again = started_again(process, address)
    try:
        monkeypatch.setattr(processes, "process_name", lambda pid: "another")  # the process that trained is gone
        sync(SyncSettings(Paths.below(root), orphan.name, Store(None)))
        client = connect(address, root)
        later = get_run(client, orphan.name)
        assert later.info.status == "FINISHED"
        assert later.data.params == expected.data.params
        assert {name for name in later.data.metrics} == {name for name in expected.data.metrics}
        for name in ("train/loss", "val/loss"):
            points = client.get_metric_history(orphan.name, name)
            assert [(m.step, m.value) for m in points] == metric_history(client, whole.name, name)
        names = [{file.path for file in client.list_artifacts(folder.name)} for folder in (whole, orphan)]
        assert names[0] == names[1]
        assert not (orphan / "untracked.jsonl").exists()
        sync(SyncSettings(Paths.below(root), orphan.name, Store(None)))
        assert "nothing is left to hand over" in capsys.readouterr().out
    finally:
        os.killpg(again.pid, 9)
        again.wait()


def test_what_tracking_did_not_take_is_sent_first_when_a_run_is_resumed(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client, paths = connect(None, root), Paths.below(root)
    first = Tracker.start(client, "text", "resumed", paths, {})
    first.log_metrics({"train/loss": 3.0}, 1)
    assert first.flush()

    def away(*parts: object, **words: object) -> None:
        raise OSError("the server is gone")

    with monkeypatch.context() as patch:
        patch.setattr(client, "log_batch", away)
        patch.setattr(client, "log_artifact", away)
        first.log_metrics({"train/loss": 2.0}, 2)
        (first.folder / "a.txt").write_text("a")
        first.log_files(first.folder / "a.txt")
        assert not first.finish("KILLED", "interrupted")
    said = capsys.readouterr().out
    assert "the server is gone" in said and f"python src/sync.py run={first.run_id}" in said
    with (first.folder / "untracked_metrics.jsonl").open("w") as file:  # as runs of before kept them
        file.write('{"key": "train/loss", "value": 1.5, "step": 3, "timestamp": 5}\n{"key": "cut o')
    again = Tracker.resume(client, first.run_id, paths)
    again.log_metrics({"train/loss": 1.5}, 3)  # repeated, since it is beyond the checkpoint
    again.log_metrics({"train/loss": 1.0}, 4)
    assert again.finish("FINISHED")
    points = client.get_metric_history(first.run_id, "train/loss")
    assert sorted((m.step, m.value) for m in points) == [(1, 3.0), (2, 2.0), (3, 1.5), (4, 1.0)]
    assert [each.path for each in client.list_artifacts(first.run_id)] == ["a.txt"]
    found = get_run(client, first.run_id)
    assert (found.info.status, found.data.tags.get("failure")) == ("FINISHED", None)
    assert not list(first.folder.glob("untracked*"))


def test_a_number_that_a_run_has_once_is_not_doubled_when_it_is_measured_again(root: Path) -> None:
    client, paths = connect(None, root), Paths.below(root)
    first = Tracker.start(client, "text", "once", paths, {})
    first.log_metrics({"test/loss": 0.5, "test/skill": math.nan, "time/fit_seconds": 3.0}, 0)
    first.log_metrics({"train/loss": 2.0}, 1)
    assert first.finish("KILLED")
    again = Tracker.resume(client, first.run_id, paths)
    again.log_metrics({"test/loss": 0.5, "test/skill": math.nan, "time/fit_seconds": 4.0, "test/ece": 0.1}, 0)
    again.log_metrics({"test/ece": 0.1}, 0)
    assert again.finish("FINISHED")

    def values(name: str) -> list[float]:
        return sorted(point.value for point in client.get_metric_history(first.run_id, name))

    assert (values("test/loss"), values("test/ece"), values("time/fit_seconds"), values("train/loss")) == ([0.5], [0.1], [3.0, 4.0], [2.0])
    assert len(values("test/skill")) == 1


def test_what_tracking_refuses_is_left_out_with_a_word_and_holds_up_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client = connect(None, root)
    refused = Tracker.start(client, "text", "refused", Paths.below(root), {})
    refused.log_metrics({"good": 1.0, "b[d": 2.0, "fine": 3.0}, 1)
    assert refused.finish("FINISHED")
    assert get_run(client, refused.run_id).data.metrics == {"good": 1.0, "fine": 3.0}
    assert "tracking refuses metrics" in capsys.readouterr().out


def test_writers_that_start_at_once_share_one_new_database(tmp_path: Path) -> None:
    def write(number: int) -> str:
        tracker = Tracker.start(connect(None, tmp_path), "together", f"writer-{number}", Paths.below(tmp_path), {})
        tracker.show("accuracy", "max")
        tracker.log_metrics({f"m/{step}": step for step in range(20)}, number)
        tracker.finish("FINISHED")
        return tracker.run_id

    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(write, range(4)))
    client = connect(None, tmp_path)
    for run_id in runs:
        found = get_run(client, run_id)
        assert found.info.status == "FINISHED"
        assert len(found.data.metrics) == 20
    (experiment,) = {get_run(client, run_id).info.experiment_id for run_id in runs}
    assert client.get_experiment(experiment).tags["views"] == "1 accuracy:max"


def test_an_address_is_shown_without_its_credentials() -> None:
    assert public("https://user:secret@host.example:5000/path?token=x") == "https://host.example:5000/path"
    assert public("sqlite:////tmp/a.db") == "sqlite:////tmp/a.db"


def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"run=abc: there is no such run in sqlite:///.*`make ui` lists all"):
        get_run(connect(None, tmp_path), "abc")


def test_a_run_is_found_by_the_beginning_of_its_id_its_name_or_as_the_last(tmp_path: Path, empty_database: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(empty_database.read_bytes())
    client = connect(None, tmp_path)
    experiment = client.create_experiment("any")
    names = ("gru-a", "gru-b", "gru-b", "a-study")
    ids = [
        client.create_run(experiment, start_time=number, run_name=name, tags={"kind": "study"} if "study" in name else {}).info.run_id
        for number, name in enumerate(names, start=1)
    ]
    for given, place in ((ids[1], 1), (ids[0][:8], 0), ("gru-a", 0), ("last", 2)):
        assert find_run(client, given).info.run_id == ids[place], given
    claim = rf"run=gru-b is the name of 2 runs: {ids[2][:8]} \(gru-b, .*\); {ids[1][:8]} .*first characters of an id"
    with pytest.raises(TrackingError, match=claim):
        find_run(client, "gru-b")
    for given in ("gru-c", ids[0][:3], "%"):
        with pytest.raises(TrackingError, match=f"run={given}: there is no such run"):
            find_run(client, given)


def test_a_long_parameter_is_cut_so_that_two_that_differ_behind_the_cut_differ() -> None:
    alike = "a" * 600
    one, two = shortened_value(f"{alike}x"), shortened_value(f"{alike}y")
    assert one != two and len(one) == len(two) == LONGEST_PARAMETER
    assert one.startswith("a" * 400) and "... (601 characters, " in one
    assert shortened_value(alike[:500]) == alike[:500]
