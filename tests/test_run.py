"""What a run records, so that its number can be traced and made again."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import yaml
from mlflow import MlflowClient

from rnnlab import run
from rnnlab.bundle import load_bundle
from rnnlab.command_line import CONF
from rnnlab.config import Config, ConfigError
from rnnlab.run import run_name

WORDS = ("data.source=sample", "trainer=smoke", "data.loader.batch_size=20", "model.recurrence.hidden_size=9", "seed=3")


@pytest.fixture(scope="module")
def store() -> dict[str, Path]:
    """Hold the run that the tests below look at, trained once."""
    return {}


@pytest.fixture
def recorded(store: dict[str, Path], compose: Callable[..., Config], root: Path) -> Path:
    """Return the folder of a small finished run."""
    if "run" not in store:
        before = set((root / "outputs").glob("*"))
        run.train(compose(*WORDS, "tracking.tensorboard=true"))
        (store["run"],) = set((root / "outputs").glob("*")) - before
    return store["run"]


def client(root: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{root / 'mlflow.db'}")


def test_a_run_records_configuration_code_data_and_place(recorded: Path, root: Path) -> None:
    found = client(root).get_run(recorded.name)
    tags, params = found.data.tags, found.data.params
    assert found.info.run_name == "gru-h9-speech-s3"
    assert found.info.status == "FINISHED"
    for name in ("git_commit", "git_dirty", "source_hash", "prepared_key", "test_hash", "code_hash", "host", "pid", "heartbeat"):
        assert tags[name], name
    assert tags["outputs"] == str(recorded)
    assert Path(tags["checkpoint"]).is_file()
    assert (recorded / "run_id").read_text().strip() == recorded.name
    assert (params["model"], params["data"], params["seed"], params["model.recurrence.hidden_size"]) == ("gru", "speech", "3", "9")


def test_a_run_leaves_pictures_tables_predictions_checkpoint_bundle_and_model(recorded: Path, root: Path) -> None:
    mlflow_client = client(root)
    names = {a.path for a in mlflow_client.list_artifacts(recorded.name)}
    assert names >= {"bundle", "checkpoint", "config.yaml", "confusion_matrix.png", "errors.csv", "learning_curve.png", "predictions"}
    assert mlflow_client.get_run(recorded.name).outputs.model_outputs
    assert list((recorded / "tensorboard").glob("events*"))


def test_metrics_are_named_by_split_and_stepped_by_the_optimizer(recorded: Path, root: Path) -> None:
    mlflow_client = client(root)
    metrics = mlflow_client.get_run(recorded.name).data.metrics
    for name in ("train/loss", "val/loss", "val/accuracy", "best/accuracy", "best/f1_macro", "test/accuracy", "test/loss"):
        assert name in metrics
    for name in ("precision", "recall", "f1"):
        assert {f"test/{name}_macro", f"test/{name}/0", f"test/{name}/9"} <= set(metrics)
    assert [m.step for m in mlflow_client.get_metric_history(recorded.name, "val/accuracy")] == [4]
    assert {"speed/examples_per_second", "memory/peak_mb", "time/fit_seconds", "model/num_parameters"} <= set(metrics)


def test_predictions_name_example_group_target_and_probabilities_that_give_the_metric(recorded: Path, root: Path) -> None:
    table = pd.read_parquet(recorded / "artifacts/predictions/test.parquet")
    assert list(table.columns[:5]) == ["example_id", "group", "target", "prediction", "confidence"]
    assert set(table["group"]) <= {"m6_us", "f2_gb"}
    assert np.allclose(table.filter(like="score/").sum(axis=1), 1, atol=1e-5)
    accuracy = client(root).get_run(recorded.name).data.metrics["test/accuracy"]
    assert (table["target"] == table["prediction"]).mean() == pytest.approx(accuracy, abs=1e-6)


def test_the_bundle_alone_gives_the_recorded_predictions(recorded: Path) -> None:
    table = pd.read_parquet(recorded / "artifacts/predictions/test.parquet").head(7)
    sample = CONF.parent / "data/samples/speech"
    answers = load_bundle(recorded / "artifacts/bundle", CONF).predict([str(sample / name) for name in table["example_id"]])
    assert answers["prediction"].tolist() == table["prediction"].tolist()
    assert np.allclose(answers.filter(like="score/"), table.filter(like="score/"), atol=1e-5)


def test_a_bundle_that_names_foreign_code_is_not_loaded(recorded: Path, tmp_path: Path) -> None:
    content = json.loads((recorded / "artifacts/bundle/bundle.json").read_text())
    content["model"]["_target_"] = "os.system"
    (tmp_path / "bundle.json").write_text(json.dumps(content))
    (tmp_path / "weights.safetensors").write_bytes((recorded / "artifacts/bundle/weights.safetensors").read_bytes())
    with pytest.raises(ConfigError, match=r"names 'os.system', which no file in conf/ does: it is not run"):
        load_bundle(tmp_path, CONF)


def test_a_damaged_bundle_is_named(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text("{")
    with pytest.raises(ConfigError, match=r"is not a bundle that can be read"):
        load_bundle(tmp_path)


def test_the_recorded_configuration_composes_the_same_run(recorded: Path, compose: Callable[..., Config]) -> None:
    stored = yaml.safe_load((recorded / "config.yaml").read_text())
    fresh = compose(*WORDS, "tracking.tensorboard=true")
    for key in ("model", "cell", "data", "optimizer", "scheduler", "trainer", "callbacks", "seed"):
        assert stored[key] == fresh[key]


def test_a_run_is_named_by_what_matters(compose: Callable[..., Config]) -> None:
    assert run_name(compose("model=lstm", "seed=2")) == "lstm-h128-speech-s2"
    words = ("model=birnn", "cell=srnn", "data=fsdd", "data.split=speaker", "data.fold=4", "model.recurrence.hidden_size=8")
    assert run_name(compose(*words)) == "birnn-srnn-h8-fsdd-f4-s0"


def test_a_full_disk_stops_the_run_with_the_command_that_continues_it(
    compose: Callable[..., Config], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: pl.Trainer, path: Path, *rest: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pl.Trainer, "save_checkpoint", full)
    before = set((root / "outputs").glob("*"))
    with pytest.raises(ValueError, match=r"cannot write in .* \(No space left on device\): free some space, then go on .*resume="):
        run.train(compose(*WORDS))
    (folder,) = set((root / "outputs").glob("*")) - before
    found = client(root).get_run(folder.name)
    assert (found.info.status, "No space" in found.data.tags["failure"]) == ("FAILED", True)


def test_data_that_changed_since_are_not_resumed(compose: Callable[..., Config], root: Path, recorded: Path) -> None:
    mlflow_client = client(root)
    mlflow_client.set_terminated(recorded.name, "KILLED")
    mlflow_client.set_tag(recorded.name, "test_hash", "other")
    with pytest.raises(ConfigError, match=r"the data have changed since \(test_hash other is now "):
        run.train(compose(f"resume={recorded.name}"))
    assert mlflow_client.get_run(recorded.name).info.status == "KILLED"
