"""A tracking server that is there, one that goes away, and many writers at once."""

import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import pytorch_lightning as pl

from rnnlab.commands import train as run
from rnnlab.settings import Paths, TrainSettings
from rnnlab.tracking.address import public
from rnnlab.tracking.store import TrackingError, connect, get_run
from rnnlab.tracking.tracker import Tracker
from rnnlab.training import callbacks


@pytest.mark.slow
def test_a_server_tracks_a_run_and_one_that_dies_in_the_middle_loses_nothing(
    server: tuple[str, "subprocess.Popen[bytes]"],
    compose: Callable[..., TrainSettings],
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address, process = server
    words = ("data.source=sample", "trainer=smoke", "model.recurrence.hidden_size=9", f"tracking.uri={address}", "tracking.log_model=false")
    before = set((root / "outputs").glob("*"))
    run.train(compose(*words))
    (whole,) = set((root / "outputs").glob("*")) - before
    assert get_run(connect(address, root), whole.name).info.status == "FINISHED"

    def die(self: object, trainer: pl.Trainer, *rest: object) -> None:
        if trainer.global_step == 2:
            os.killpg(process.pid, 9)
            process.wait()

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.StepSeed, "on_train_batch_end", die)
        run.train(compose(*words))
    (orphan,) = set((root / "outputs").glob("*")) - before - {whole}
    assert (orphan / "artifacts/results.json").is_file()
    assert (orphan / "best.ckpt").is_file()
    kept = (orphan / "untracked_metrics.jsonl").read_text()
    assert '"test/accuracy"' in kept
    assert '"val/loss"' in kept
    assert "tracking did not take" in capsys.readouterr().out


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
    with pytest.raises(TrackingError, match=r"run=abc: there is no such run in sqlite:///.*see `make ui`"):
        get_run(connect(None, tmp_path), "abc")
