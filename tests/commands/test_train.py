"""What a run records, so that its number can be traced and made again."""

import errno
import json
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import yaml
from mlflow import MlflowClient
from safetensors.torch import load_file, save_file
from tests.lanes import covering, some

from rnnlab.commands import train as run
from rnnlab.config import ConfigError
from rnnlab.evaluation.bundle import load_bundle
from rnnlab.paths import CONF
from rnnlab.settings import TrainSettings
from rnnlab.tracking.recorded import read_config
from rnnlab.training.recording import run_name

WORDS = ("data.source=sample", "trainer=smoke", "data.loader.batch_size=20", "model.recurrence.hidden_size=9", "seed=3")


@pytest.fixture(scope="module")
def store() -> dict[str, Path]:
    """Hold the run that the tests below look at, trained once."""
    return {}


@pytest.fixture
def recorded(store: dict[str, Path], compose: Callable[..., TrainSettings], root: Path, figures: None) -> Path:
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
    assert tags["outputs"] == f"outputs/{recorded.name}"
    assert (root / tags["checkpoint"]).is_file()
    assert (recorded / "run_id").read_text().strip() == recorded.name
    assert (params["model"], params["data"], params["seed"], params["model.recurrence.hidden_size"]) == ("gru", "speech", "3", "9")


def test_a_run_leaves_pictures_tables_predictions_checkpoint_bundle_and_model(recorded: Path, root: Path) -> None:
    mlflow_client = client(root)
    names = {a.path for a in mlflow_client.list_artifacts(recorded.name)}
    assert names >= {"bundle", "checkpoint", "config.yaml", "confusion_matrix.png", "errors.csv", "learning_curve.png", "predictions"}
    assert mlflow_client.get_run(recorded.name).outputs.model_outputs
    assert list((recorded / "tensorboard").glob("events*"))
    assert [file.name for file in recorded.glob("*.ckpt")] == ["best.ckpt"], "only a run that stopped is resumed"


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
    answers = load_bundle(recorded / "artifacts/bundle").predict([str(sample / name) for name in table["example_id"]])
    assert answers["prediction"].tolist() == table["prediction"].tolist()
    assert np.allclose(answers.filter(like="score/"), table.filter(like="score/"), atol=1e-5)


def test_a_bundle_that_names_foreign_code_is_not_loaded(recorded: Path, tmp_path: Path) -> None:
    content = json.loads((recorded / "artifacts/bundle/bundle.json").read_text())
    content["model"]["_target_"] = "os.system"
    (tmp_path / "bundle.json").write_text(json.dumps(content))
    (tmp_path / "weights.safetensors").write_bytes((recorded / "artifacts/bundle/weights.safetensors").read_bytes())
    with pytest.raises(ConfigError, match=r"names 'os.system', which no file in conf/ does: it is not run"):
        load_bundle(tmp_path)


def test_a_damaged_bundle_is_named(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text("{")
    with pytest.raises(ConfigError, match=r"is not a bundle that can be read"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("name", ["weights.safetensors", "bundle.json"])
def test_a_flipped_bit_in_a_bundle_is_noticed(recorded: Path, tmp_path: Path, name: str) -> None:
    for file in (recorded / "artifacts/bundle").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = bytearray((tmp_path / name).read_bytes())
    content[content.index(b'"seed') + 2 if name == "bundle.json" and b'"seed' in content else -3] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=r"is damaged or was changed|is not a bundle that can be read"):
        load_bundle(tmp_path)


def test_a_bundle_whose_weights_are_not_the_model_s_says_where_it_can_be_read(recorded: Path, tmp_path: Path) -> None:
    bundle = recorded / "artifacts/bundle"
    weights = load_file(bundle / "weights.safetensors")
    first, second, *_ = sorted(weights)
    weights["of_old"] = weights.pop(second)
    save_file({**weights, first: weights[first][:1].clone()}, tmp_path / "weights.safetensors")
    kept = {key: value for key, value in json.loads((bundle / "bundle.json").read_text()).items() if key not in ("checksum", "digest")}
    (tmp_path / "bundle.json").write_text(json.dumps(kept))
    told = rf"was written by another version of this model: 3 of {len(weights)} weights differ in name or shape, {first} first\. Score "
    with pytest.raises(ConfigError, match=told + r"and predict with the commit that the run's tag git_commit names, or train anew$"):
        load_bundle(tmp_path)


def test_a_recorded_configuration_that_was_changed_is_not_taken(recorded: Path, root: Path, tmp_path: Path) -> None:
    text = (recorded / "config.yaml").read_text(encoding="utf-8")
    assert read_config(client(root), recorded.name, tmp_path / "before").values["seed"] == 3
    client(root).log_text(recorded.name, text.replace("seed: 3", "seed: 4"), "config.yaml")
    with pytest.raises(ConfigError, match=rf"the recorded configuration of run {recorded.name} was changed since \(.*config.yaml\)"):
        read_config(client(root), recorded.name, tmp_path / "after")
    client(root).log_text(recorded.name, text, "config.yaml")


def test_the_recorded_configuration_composes_the_same_run(recorded: Path, compose: Callable[..., TrainSettings]) -> None:
    stored = yaml.safe_load((recorded / "config.yaml").read_text())
    fresh = compose(*WORDS, "tracking.tensorboard=true").values()
    for key in ("model", "cell", "data", "optimizer", "scheduler", "trainer", "callbacks", "seed"):
        assert stored[key] == fresh[key]


def test_a_run_is_named_by_what_matters(compose: Callable[..., TrainSettings]) -> None:
    def named(*words: str) -> str:
        settings = compose(*words)
        return run_name(settings, settings.data.recipe()(settings.paths, 0).name_parts())

    assert named("model=lstm", "seed=2") == "lstm-h128-speech-s2"
    words = ("model=birnn", "cell=srnn", "data=fsdd", "data.split=speaker", "data.fold=4", "model.recurrence.hidden_size=8")
    assert named(*words) == "birnn-srnn-h8-fsdd-f4-s0"
    assert named("model=lstm", "cell=lstm_peephole") == "lstm-lstm_peephole-h128-speech-s0"
    assert named("data=stock", "data.horizon_days=[1,5]", "data.target=close") == "gru-h32-stock-close1-5d-s0"
    assert named("data=series", "data.num_folds=3", "data.fold=1") == "gru-h128-series-f1-s0"


# Baselines and forecasts


FEW = "data.tickers=[ALFA,BRVO,CHRL]"


def train_one(compose: Callable[..., TrainSettings], root: Path, *words: str) -> Path:
    """Train on a bundled sample and return the folder of the run."""
    before = set((root / "outputs").glob("*"))
    run.train(compose("data.source=sample", "trainer=smoke", "tracking.log_model=false", *words))
    (folder,) = set((root / "outputs").glob("*")) - before
    return folder


BASELINES = {
    "data=speech": "baseline-pooled-speech-s0",
    "data=text": "baseline-tfidf-text-s0",
    "data=text baseline.kind=nb_svm": "baseline-nb_svm-text-s0",
    f"data=stock {FEW} data.window_days=8": "baseline-ridge-stock-return1d-s0",
    f"data=stock {FEW} data.window_days=3 data.target=direction": "baseline-logistic-stock-direction1d-s0",
    f"data=stock {FEW} data.target=volatility data.horizon_days=[1,5]": "baseline-har-stock-volatility1-5d-s0",
    "data=series": "baseline-ridge-series-s0",
    "data=series baseline.kind=persistence seed=4": "baseline-persistence-series-s4",
}


IN_FAST_LANE = ["data=speech", "data=text", "data=series"]


@pytest.mark.parametrize("words", some(BASELINES, IN_FAST_LANE))
def test_a_baseline_is_a_run_like_any_other(words: str, compose: Callable[..., TrainSettings], root: Path) -> None:
    folder = train_one(compose, root, "model=baseline", *words.split())
    found = client(root).get_run(folder.name)
    assert (found.info.status, found.info.run_name) == ("FINISHED", BASELINES[words])
    assert found.data.tags["baseline"] == BASELINES[words].split("-")[1]
    assert found.data.params["model"] == "baseline"
    assert not {"cell", "frontend", "optimizer", "scheduler"} & set(found.data.params)
    names = {a.path for a in client(root).list_artifacts(folder.name)}
    assert names >= {"bundle", "config.yaml", "predictions", "results.json"}
    assert not names & {"checkpoint", "learning_curve.png"}
    table = pd.read_parquet(folder / "artifacts/predictions/test.parquet")
    assert found.data.metrics["test/num_examples"] == len(table) > 0
    assert {"best/loss", "test/loss", "time/fit_seconds", "speed/examples_per_second"} <= set(found.data.metrics)
    load_bundle(folder / "artifacts/bundle")


def test_a_fitted_baselines_bundle_answers_raw_texts_as_the_run_did(compose: Callable[..., TrainSettings], root: Path) -> None:
    folder = train_one(compose, root, "model=baseline", "data=text", "trainer.limit_test_batches=1.0")
    sample = pd.read_csv(CONF.parent / "data/samples/text/headlines.csv")
    test = sample[sample["split"] == "test"]
    answers = load_bundle(folder / "artifacts/bundle").predict(test["text"].tolist())
    assert answers["input"].tolist() == test["text"].tolist()
    recorded = pd.read_parquet(folder / "artifacts/predictions/test.parquet")
    for one in (answers, recorded):
        one["score"] = one["confidence"].round(5)
    ours, theirs = (one[["prediction", "score"]].sort_values(["prediction", "score"], ignore_index=True) for one in (answers, recorded))
    pd.testing.assert_frame_equal(ours, theirs, atol=2e-5)


PICTURES = {
    "text": ["confusion_matrix.png", "calibration.png", "accuracy_by_length.png", "learning_curve.png", "errors.csv"],
    f"stock {FEW}": ["forecast_return_1d.png", "skill_return_1d.png", "calibration_return_1d.png", "learning_curve.png"],
    "series": ["forecast_target_1.png", "skill_target_1.png", "calibration_target_1.png", "learning_curve.png"],
}


NETWORKS = ("srnn", "lstm", "birnn")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "data"),
    [*(("gru", data) for data in PICTURES), *covering([(model, data) for data in PICTURES for model in NETWORKS], strength=1)],
)
def test_every_network_runs_on_every_kind_of_data(
    model: str, data: str, compose: Callable[..., TrainSettings], root: Path, request: pytest.FixtureRequest
) -> None:
    if model == "gru":  # pictures are of the data: one model's are enough
        request.getfixturevalue("figures")
    folder = train_one(compose, root, f"model={model}", *f"data={data}".split(), "model.recurrence.hidden_size=8")
    found = client(root).get_run(folder.name)
    assert found.info.status == "FINISHED"
    measure = "accuracy" if data == "text" else "skill"
    assert {f"val/{measure}", f"best/{measure}", f"test/{measure}"} <= set(found.data.metrics)
    names = {a.path for a in client(root).list_artifacts(folder.name)}
    assert names >= {"checkpoint", "bundle", "predictions", *(PICTURES[data] if model == "gru" else [])}


def test_the_most_certain_errors_of_texts_can_be_read(compose: Callable[..., TrainSettings], root: Path, figures: None) -> None:
    folder = train_one(compose, root, "model=baseline", "baseline.kind=mean", "data=text")
    errors = pd.read_csv(folder / "artifacts/errors.csv")
    assert (errors["target"] != errors["prediction"]).all()
    assert errors["confidence"].is_monotonic_decreasing
    sample = pd.read_csv(CONF.parent / "data/samples/text/headlines.csv")
    words = {word for text in sample["text"] for word in text.lower().split()}
    assert all(set(text.split()) & words for text in errors["text"])
    assert errors.merge(pd.read_parquet(folder / "artifacts/predictions/test.parquet"), on="example_id").shape[0] == len(errors)


def test_quantiles_are_columns_of_the_table_and_their_coverage_is_measured(compose: Callable[..., TrainSettings], root: Path) -> None:
    folder = train_one(compose, root, "data=stock", FEW, "model/head=quantile", "model.recurrence.hidden_size=8", "data.horizon_days=[1,5]")
    table = pd.read_parquet(folder / "artifacts/predictions/test.parquet")
    assert list(table.columns[:3]) == ["example_id", "group", "date"]
    metrics = client(root).get_run(folder.name).data.metrics
    for name in ("return_1d", "return_5d"):
        quantiles = [table[f"quantile/{name}/{level}"].to_numpy() for level in ("0.05", "0.25", "0.5", "0.75", "0.95")]
        assert all((upper >= lower).all() for lower, upper in pairwise(quantiles))
        assert np.array_equal(quantiles[2], table[f"prediction/{name}"])
        inside = (quantiles[0] <= table[f"target/{name}"]) & (table[f"target/{name}"] <= quantiles[-1])
        assert metrics[f"test/coverage/90/{name}"] == pytest.approx(inside.mean())
        assert f"test/width/50/{name}" in metrics and f"test/ic/{name}" in metrics
    assert {"val/pinball", "best/pinball", "test/pinball"} <= set(metrics)


@pytest.mark.slow
def test_a_networks_summary_says_how_it_stands_to_the_baseline(
    compose: Callable[..., TrainSettings], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("data=series", "data.test_fraction=0.123")  # nobody else's test split
    train_one(compose, root, *data, "model.recurrence.hidden_size=8", "data.loader.batch_size=200")
    command = "python src/train.py model=baseline data.source=sample data=series data.test_fraction=0.123"
    assert f"no baseline is tracked for this test split; make one:  {command}\n" in capsys.readouterr().out
    baseline = train_one(compose, root, *data, "model=baseline")
    assert "no other baseline is tracked for this test split" in capsys.readouterr().out
    train_one(compose, root, *data, "model.recurrence.hidden_size=8")
    assert re.search(
        rf"did not beat the best tracked baseline: mse \S+ against \S+ of baseline-ridge-series-s0 \({baseline.name[:8]}\)",
        capsys.readouterr().out,
    )


@pytest.mark.parametrize("kind", some(["mean", "persistence"], ["mean"]))
def test_a_forecast_that_is_always_the_same_finishes_too(
    kind: str, compose: Callable[..., TrainSettings], root: Path, figures: None
) -> None:
    folder = train_one(compose, root, "model=baseline", "data=stock", FEW, f"baseline.kind={kind}")
    assert client(root).get_run(folder.name).info.status == "FINISHED"


def test_a_full_disk_stops_the_run_with_the_command_that_continues_it(
    compose: Callable[..., TrainSettings], root: Path, monkeypatch: pytest.MonkeyPatch
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


def test_data_that_changed_since_are_not_resumed(compose: Callable[..., TrainSettings], root: Path, recorded: Path) -> None:
    mlflow_client = client(root)
    mlflow_client.set_terminated(recorded.name, "KILLED")
    shutil.copy(recorded / "best.ckpt", recorded / "last.ckpt")  # a finished run keeps none
    mlflow_client.set_tag(recorded.name, "test_hash", "other")
    with pytest.raises(ConfigError, match=r"the data have changed since \(test_hash other is now "):
        run.train(compose(f"resume={recorded.name}"))
    assert mlflow_client.get_run(recorded.name).info.status == "KILLED"


def test_ones_own_files_have_experiments_and_names_of_their_own(compose: Callable[..., TrainSettings], root: Path, tmp_path: Path) -> None:
    rows = ["text,label", *(f"{word} {number},{word}" for number in range(12) for word in ("good", "bad"))]
    for name in ("reviews.csv", "酒店.csv"):
        (tmp_path / name).write_text("\n".join(rows), encoding="utf-8")
        run.train(
            compose("model=baseline", "data=text", f"data.source='{tmp_path / name}'", "baseline.kind=mean", "tracking.log_model=false")
        )
    names = {experiment.name: experiment.experiment_id for experiment in client(root).search_experiments()}
    for stem in ("reviews", "酒店"):
        (found,) = client(root).search_runs([names[f"text-{stem}"]])
        assert found.info.run_name == f"baseline-mean-text-{stem}-s0"


def test_the_line_of_an_epoch_tells_the_mean_loss_of_its_batches(
    compose: Callable[..., TrainSettings], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("trainer.limit_train_batches=4", "trainer.limit_val_batches=1", "trainer.limit_test_batches=1", "tracking.log_every_n_steps=1")
    run.train(compose("model=srnn", "data=adding", "epochs=2", "model.recurrence.hidden_size=4", *small, "tracking.experiment=epoch_lines"))
    shown = [float(loss) for loss in re.findall(r"epoch \d/2  loss (\S+)", capsys.readouterr().err)]
    experiment = client(root).get_experiment_by_name("epoch_lines")
    assert experiment is not None
    (found,) = client(root).search_runs([experiment.experiment_id])
    losses = [metric.value for metric in client(root).get_metric_history(found.info.run_id, "train/loss")]
    assert len(losses) == 8
    assert shown == pytest.approx([sum(losses[:4]) / 4, sum(losses[4:]) / 4], abs=1e-4)
