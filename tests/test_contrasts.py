"""The networks without recurrence, `model=tcn` and `model=transformer`, by the user's commands."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from tests.lanes import some

from rnnlab.commands import train as run
from rnnlab.evaluation.bundle import load_bundle
from rnnlab.settings import TrainSettings

PARTS = {"tcn": "convolutions", "transformer": "encoder"}
WORDS = ("data=text", "data.source=sample", "trainer=smoke", "frontend.embedding_size=3", "tracking.log_model=false")


def train(compose: Callable[..., TrainSettings], root: Path, *words: str) -> Path:
    outputs = root / "outputs"
    before = set(outputs.glob("*"))
    run.train(compose(*WORDS, *words))
    (folder,) = set(outputs.glob("*")) - before
    return folder


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(folder / "best.ckpt", weights_only=True)["state_dict"]
    return weights


@pytest.mark.parametrize("model", some(PARTS, ["tcn"]))
def test_it_begins_with_given_word_vectors_and_with_another_runs_weights(
    model: str, compose: Callable[..., TrainSettings], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "vectors.txt").write_text("the 1 2 3\nof 4 5 6\n", encoding="utf-8")
    size = (f"model={model}", f"model.{PARTS[model]}.hidden_size=8")
    first = train(compose, root, *size, f"data.loader.vectors={tmp_path / 'vectors.txt'}", "frontend.is_frozen=true", "model.budget=700")
    assert "parameters between front end and output" in capsys.readouterr().err
    rows = weights_of(first)["frontend.table.weight"].tolist()
    assert [1.0, 2.0, 3.0] in rows and [4.0, 5.0, 6.0] in rows

    found = MlflowClient(f"sqlite:///{root / 'mlflow.db'}").get_run(first.name)
    size_found = int(found.data.params[f"model.{PARTS[model]}.hidden_size"])
    assert found.info.run_name == f"{model}-h{size_found}-text-s0"
    assert not {"cell", "decoder_cell"} & set(found.data.params)
    assert load_bundle(first / "artifacts/bundle").predict(["shares of the bank fall"])["prediction"].notna().all()

    still = ("optimizer=sgd", "optimizer.lr=1e-12", "trainer.gradient_clip_val=null", "model.head.pooling=attention")
    same = (f"model={model}", f"model.{PARTS[model]}.hidden_size={size_found}")
    second = train(compose, root, *same, *still, f"init_from={first.name}", "seed=1")
    ours, theirs = weights_of(second), weights_of(first)
    own = {"pooling.project.weight", "pooling.project.bias", "pooling.score.weight", "output.weight"}  # mean_max is twice as wide
    taken = {name for name in ours if name in theirs and ours[name].shape == theirs[name].shape}
    assert set(ours) - taken == own
    for name in taken:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-6)
    assert "drawn anew: pooling.project.weight, pooling.project.bias, pooling.score.weight, output.weight" in capsys.readouterr().err
