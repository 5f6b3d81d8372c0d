"""`callbacks=insight` sees what it should, before the first step and after the last, and changes nothing of the training."""

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from mlflow import MlflowClient

from rnnlab.commands import train as run
from rnnlab.config import ConfigError
from rnnlab.settings import TrainSettings
from rnnlab.training import callbacks
from rnnlab.training.recipes import check

WORDS = (
    *("data.source=sample", "model=birnn", "cell=lstm", "frontend=direct", "model.recurrence.hidden_size=5"),
    *("model.recurrence.num_layers=2", "data.loader.batch_size=16", "trainer.max_epochs=2", "trainer.limit_train_batches=5"),
    *("trainer.limit_val_batches=2", "trainer.limit_test_batches=1", "tracking.log_model=false", "model.recurrence.dropout=0.3"),
    "callbacks.checkpoint.keep_last=true",
)
INSIGHT = ("callbacks=insight", "callbacks.insight.every_num_steps=4", "callbacks.insight.num_sequences=3")


def train(compose: Callable[..., TrainSettings], root: Path, *words: str) -> Path:
    before = set((root / "outputs").glob("*"))
    run.train(compose(*words))
    (folder,) = set((root / "outputs").glob("*")) - before
    return folder


@pytest.fixture(scope="module")
def store() -> dict[str, Path]:
    return {}


@pytest.fixture
def watched(store: dict[str, Path], compose: Callable[..., TrainSettings], root: Path) -> Path:
    """Return the folder of a run that was looked into, trained once."""
    if "run" not in store:
        store["run"] = train(compose, root, *WORDS, *INSIGHT)
    return store["run"]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    return state


def history(root: Path, folder: Path, name: str) -> list[tuple[int, float]]:
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    return sorted((metric.step, metric.value) for metric in client.get_metric_history(folder.name, f"insight/{name}"))


@pytest.mark.slow
def test_looking_changes_nothing(watched: Path, compose: Callable[..., TrainSettings], root: Path) -> None:
    alone = weights(train(compose, root, *WORDS))
    assert all(torch.equal(value, alone[name]) for name, value in weights(watched).items())


def test_there_is_a_sample_before_the_first_step_every_few_steps_and_after_the_last(watched: Path, root: Path) -> None:
    for name in ("gradient_horizon", "gradient_horizon_layer2_backward", "spectral_radius/layer1.forget", "gate_mean/layer2.output"):
        points = history(root, watched, name)
        assert [step for step, _ in points] == [0, 4, 8, 10], name
        assert all(np.isfinite(value) for _, value in points)
    horizons = {layer: dict(history(root, watched, f"gradient_horizon_layer{layer}")) for layer in ("1", "1_backward", "2", "2_backward")}
    for step, value in history(root, watched, "gradient_horizon"):
        assert value == max(found[step] for found in horizons.values())


def test_gradients_are_noted_after_their_steps_before_and_after_clipping(watched: Path, root: Path) -> None:
    before, after = (dict(history(root, watched, f"{name}/total")) for name in ("grad_norm", "grad_norm_clipped"))
    assert list(before) == list(after) == [4, 8]
    for step, norm in before.items():
        assert after[step] == pytest.approx(min(norm, 1.0), rel=1e-4)  # trainer.gradient_clip_val is 1
    assert all(0 <= share <= 1 for _, share in history(root, watched, "clipped_share"))


def test_pictures_and_curves_are_artifacts(watched: Path, root: Path) -> None:
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    names = {Path(artifact.path).name for artifact in client.list_artifacts(watched.name, "insight")}
    pictures = {"gradient_flow", "gradient_norms", "recurrent_matrices", "gates", "gates_in_time", "trajectories"}
    assert names == {*(f"{name}.png" for name in pictures), "gradient_flow.parquet", "attribution"}
    assert len(list((watched / "artifacts/insight/attribution").glob("*.png"))) == 6
    table = pd.read_parquet(watched / "artifacts/insight/gradient_flow.parquet")
    assert set(table["step"]) == {0, 4, 8, 10} and set(table["layer"]) == {"layer1", "layer1_backward", "layer2", "layer2_backward"}
    assert (table.loc[table["steps_back"] == 0, "from_last"] == 1).all()
    assert client.get_run(watched.name).data.metrics["time/insight_seconds"] > 0


@pytest.mark.slow
def test_a_run_that_was_interrupted_has_all_samples_in_the_end(
    watched: Path, compose: Callable[..., TrainSettings], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: object, trainer: pl.Trainer, *rest: object) -> None:
        if trainer.global_step == 4:
            signal.raise_signal(signal.SIGINT)

    before = set((root / "outputs").glob("*"))
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Meter, "on_train_batch_end", interrupt)
        with pytest.raises(SystemExit):
            run.train(compose(*WORDS, *INSIGHT))
    (folder,) = set((root / "outputs").glob("*")) - before
    run.train(compose(f"resume={folder.name}"))
    ours, theirs = (pd.read_parquet(place / "artifacts/insight/gradient_flow.parquet") for place in (folder, watched))
    pd.testing.assert_frame_equal(ours, theirs)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("callbacks.insight.every_num_steps=0", r"callbacks\.insight\.every_num_steps=0 is not allowed: .*greater than or equal to 1"),
        ("callbacks.insight.num_sequences=many", r"callbacks\.insight\.num_sequences=many is not allowed"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_loaded(word: str, told: str, compose: Callable[..., TrainSettings]) -> None:
    with pytest.raises(ConfigError, match=told):
        check(compose("callbacks=insight", word))
