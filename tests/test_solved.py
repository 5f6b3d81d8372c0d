"""Tasks that can be solved: training stops there, the run says so, and what can be had without memory is exactly what theory says."""

from collections.abc import Callable
from math import log
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from rnnlab.commands import predict, score
from rnnlab.commands import train as run
from rnnlab.config import ConfigError
from rnnlab.contracts import DataSpec
from rnnlab.evaluation.artifacts import solved_or_not
from rnnlab.settings import TrainSettings
from rnnlab.tasks import Regularisation, make_task
from rnnlab.training.callbacks import StopWhenSolved

Compose = Callable[..., Any]  # the settings of the command that `config_name` names
SPEC = DataSpec("adding", "features", 2, "real", 1, ("sum",), solved_at=0.01)
SMALL = ("data.num_train=320", "data.num_val=200", "data.num_test=300", "data.loader.batch_size=32", "tracking.log_model=false")
LEARNING = ("model=gru", "model.recurrence.hidden_size=16", "model.head.dropout=0", "optimizer.lr=0.02", "scheduler=none")


def train(config: TrainSettings) -> Path:
    """Train and return the folder of the run."""
    outputs = config.paths.outputs
    before = set(outputs.glob("*"))
    run.train(config)
    (folder,) = set(outputs.glob("*")) - before
    return folder


def metrics(folder: Path, root: Path) -> dict[str, float]:
    found: dict[str, float] = MlflowClient(f"sqlite:///{root / 'mlflow.db'}").get_run(folder.name).data.metrics
    return found


def test_training_stops_at_the_first_validation_that_is_solved_and_the_run_says_so(
    compose: Compose, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("data=adding", "data.num_steps=2", *LEARNING, *SMALL, "trainer.max_epochs=60", "callbacks.early_stopping.when_solved=true")
    folder = train(compose(*words))
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    errors = [found.value for found in client.get_metric_history(folder.name, "val/mse")]
    assert 1 < len(errors) < 60 and errors[-1] < 0.01 <= min(errors[:-1])
    found = metrics(folder, root)
    assert found["best/solved"] == 1 and found["test/solved"] == float(found["test/mse"] < 0.01)
    assert "solved: test mse 0.0" in capsys.readouterr().out


def test_what_is_not_solved_is_trained_to_the_end_and_said_to_be_unsolved(
    compose: Compose, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("data=parity", "data.num_steps=30", *LEARNING, *SMALL, "trainer.max_epochs=2", "callbacks.early_stopping.when_solved=true")
    folder = train(compose(*words))
    found = metrics(folder, root)
    assert found["best/solved"] == found["test/solved"] == 0
    assert "not solved: test accuracy" in capsys.readouterr().out


def test_only_data_that_say_when_they_are_solved_can_be_stopped_at_there(compose: Compose) -> None:
    asked = "callbacks.early_stopping.when_solved"
    with pytest.raises(ConfigError, match=rf"^{asked}: data=speech don't say when they are solved: leave it out$"):
        run.train(compose("data.source=sample", "trainer=smoke", f"{asked}=true"))
    with pytest.raises(ConfigError, match=rf"^{asked}=yes please is not allowed: it should be a valid boolean"):
        run.train(compose("data=parity", "trainer=smoke", f"{asked}='yes please'"))


@pytest.mark.parametrize(("value", "should_stop"), [(0.0089, True), (0.0091, False)])
def test_the_value_that_counts_is_validations(value: float, should_stop: bool) -> None:
    trainer = SimpleNamespace(callback_metrics={"val/mse": value, "val/loss": 0.0, "train/loss": 0.0}, should_stop=False)
    StopWhenSolved(make_task(SPEC, Regularisation(0.0, "none", 0.0))).on_validation_end(trainer, None)  # type: ignore[arg-type]  # a stand-in
    assert trainer.should_stop is should_stop


@pytest.mark.parametrize(("accuracy", "solved"), [(0.9899, (False, False)), (0.9905, (True, False)), (0.9915, (True, True))])
def test_where_more_is_better_the_tenth_to_spare_is_of_the_errors(accuracy: float, solved: tuple[bool, bool]) -> None:
    spec = DataSpec("parity", "features", 1, "class", 2, ("even", "odd"), (1, 1), solved_at=0.99)
    task = make_task(spec, Regularisation(0.0, "none", 0.0))
    assert (task.is_solved({"accuracy": accuracy}), task.is_solved({"accuracy": accuracy}, 0.1)) == solved


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"mse": 0.004, "solved": 1.0}, "[bold green]solved:[/] test mse 0.004 is below 0.01"),
        ({"mse": 0.2, "solved": 0.0}, "[bold yellow]not solved:[/] test mse 0.2 is not below 0.01"),
        ({"mse": 0.2}, ""),
    ],
)
def test_the_verdict_names_metric_value_and_what_was_wanted(numbers: dict[str, float], words: str) -> None:
    assert solved_or_not(make_task(SPEC, Regularisation(0.0, "none", 0.0)), numbers) == words


# Without memory: the closed forms


def test_the_baseline_of_copying_has_the_cross_entropy_of_theory(compose: Compose, root: Path) -> None:
    found = metrics(train(compose("model=baseline", "data=copying", "data.num_steps=11", *SMALL)), root)
    assert found["test/loss"] == pytest.approx(10 * log(8) / 31, rel=1e-6)  # whatever the symbols are: each costs ln 8
    assert found["test/solved"] == 0


def test_the_baseline_of_adding_errs_by_a_sixth_and_that_of_parity_half_the_time(compose: Compose, root: Path) -> None:
    found = metrics(train(compose("model=baseline", "data=adding", "data.num_test=5000", *SMALL[:2], *SMALL[3:])), root)
    assert found["test/mse"] == pytest.approx(1 / 6, abs=4 * (7 / 180 / 5000) ** 0.5)  # variance: tests/data/synthetic
    assert found["test/skill"] == 0
    found = metrics(train(compose("model=baseline", "data=parity", "data.num_test=5000", *SMALL[:2], *SMALL[3:])), root)
    assert found["test/accuracy"] == pytest.approx(0.5, abs=4 * 0.5 / 5000**0.5) and found["test/loss"] == pytest.approx(log(2))


# What was trained is used


@pytest.mark.parametrize(
    ("data", "text", "answer"),
    [("adding", "0.2 0.7* 0.1 0.4*", "1"), ("copying", "abcdefghab->----------", "-" * 12), ("parity", "0110", "50.0 %")],
)
def test_a_run_answers_written_sequences_and_is_scored_again(
    data: str, text: str, answer: str, compose: Compose, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RNNLAB_ROOT", str(root))
    folder = train(compose("model=baseline", f"data={data}", "data.num_steps=2", *SMALL))
    for words in ((f"text='{text}'",), (f"text='{text}'", "format=json"), (f"input={written(text, root)}", "format=csv")):
        predict.predict(compose(f"run={folder.name}", *words, config_name="predict"))
        out = capsys.readouterr().out
        assert text in out and answer.removesuffix(".0 %").removesuffix("50") in out
    score.score(compose(f"run={folder.name}", f"output={root / 'table.csv'}", config_name="score"))
    assert "solved" in capsys.readouterr().out
    scored, kept = pd.read_csv(root / "table.csv"), pd.read_parquet(folder / "artifacts/predictions/test.parquet")
    assert scored["example_id"].tolist() == kept["example_id"].tolist()
    numbers = [name for name in kept if kept[name].dtype in (np.float32, np.float64)]
    assert numbers and np.allclose(scored[numbers], kept[numbers])


def written(text: str, folder: Path) -> Path:
    """Write a table of one sequence."""
    file = folder / "sequences.csv"
    file.write_text(f"sequence\n{text}\n", encoding="utf-8")
    return file
