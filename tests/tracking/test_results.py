"""What a run measured is read back as it was written, or not at all."""

import math
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from rnnlab.settings import Paths
from rnnlab.tracking.results import RESULTS_HASH, file_hash, predictions_tag, read_predictions, refuse_changed_results, results_hash
from rnnlab.tracking.store import Client, TrackingError, connect, get_run
from rnnlab.tracking.tracker import Tracker

NUMBERS = {"best/loss": 0.1, "test/loss": 0.3, "test/f1/b[d": 0.5, "test/skill": math.inf, "test/ece": math.nan, "train/loss": 7.0}


@pytest.fixture
def measured(tmp_path: Path, empty_database: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Client, str, Path]:
    """Return a run with numbers, of which tracking refuses one and writes others for two, and with predictions."""
    (tmp_path / "mlflow.db").write_bytes(empty_database.read_bytes())
    tracker = Tracker.start(connect(None, tmp_path), "text", "measured", Paths.below(tmp_path), {})
    tracker.log_metrics(NUMBERS, 0)
    file = tracker.folder / "artifacts/predictions/test.parquet"
    file.parent.mkdir(parents=True)
    pd.DataFrame({"example_id": range(100), "confidence": [number / 7 for number in range(100)]}).to_parquet(file)
    tracker.set_tags({RESULTS_HASH: results_hash(NUMBERS), predictions_tag("test"): file_hash(file)})
    tracker.log_files(tracker.folder / "artifacts")
    tracker.finish("FINISHED")
    assert "tracking refuses metrics" in capsys.readouterr().out
    return tracker.client, tracker.run_id, tmp_path


def test_numbers_that_tracking_keeps_are_those_that_were_measured(measured: tuple[Client, str, Path]) -> None:
    client, run_id, _ = measured
    found = get_run(client, run_id)
    assert found.data.metrics["test/loss"] == 0.3 and found.data.metrics["test/skill"] > 1e300
    refuse_changed_results(found)


def test_a_flipped_bit_of_a_number_in_the_database_is_told(measured: tuple[Client, str, Path]) -> None:
    client, run_id, root = measured
    with sqlite3.connect(root / "mlflow.db") as database:
        database.execute("update latest_metrics set value = ? where key = 'test/loss'", (math.nextafter(0.3, 1),))
    database.close()
    with pytest.raises(TrackingError, match=rf"the tracked metrics of run {run_id} \(measured\) are not those .* results\.json has them"):
        refuse_changed_results(get_run(client, run_id))


def test_a_run_of_before_there_were_hashes_is_taken_as_it_is(measured: tuple[Client, str, Path], tmp_path: Path) -> None:
    client, run_id, _ = measured
    client.delete_tag(run_id, RESULTS_HASH)
    client.delete_tag(run_id, predictions_tag("test"))
    client.log_metric(run_id, "test/loss", 0.4, step=0)
    refuse_changed_results(get_run(client, run_id))
    assert len(read_predictions(client, get_run(client, run_id), "test", tmp_path / "into")) == 100


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            lambda content: content[:200] + bytes([content[200] ^ 4]) + content[201:],
            r"are damaged or were changed \(.*test\.parquet is not as",
        ),
        (lambda content: content[:300], r"are damaged or were changed"),
        (lambda content: b"", r"are damaged or were changed"),
    ],
)
def test_damaged_predictions_are_told(
    spoil: Callable[[bytes], bytes], told: str, measured: tuple[Client, str, Path], tmp_path: Path
) -> None:
    client, run_id, root = measured
    run = get_run(client, run_id)
    assert read_predictions(client, run, "test", tmp_path / "whole")["confidence"].iloc[7] == 1
    (file,) = (root / "mlartifacts").rglob("test.parquet")
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(TrackingError, match=rf"the test predictions of measured \({run_id}\) {told}"):
        read_predictions(client, run, "test", tmp_path / "damaged")
    client.delete_tag(run_id, predictions_tag("test"))  # as runs of before: what Arrow notices is told, too
    if len(file.read_bytes()) < 400:
        with pytest.raises(TrackingError, match=r"cannot be read \(.*\): train it anew, or leave it out"):
            read_predictions(client, get_run(client, run_id), "test", tmp_path / "damaged")
    file.unlink()
    with pytest.raises(TrackingError, match=r"cannot be read \(run .* has no artifact 'predictions/test\.parquet'"):
        read_predictions(client, get_run(client, run_id), "test", tmp_path / "gone")
