"""Music by the user's commands: train, compare with baselines, score, continue a piece."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from rnnlab.baselines import label_sets
from rnnlab.commands import generate, predict, score
from rnnlab.commands import train as run
from rnnlab.config import ConfigError
from rnnlab.data.base import SequenceDataModule
from rnnlab.data.music.piano_rolls import read_roll
from rnnlab.models.base import SequenceModule
from rnnlab.paths import CONF
from rnnlab.report.runs import read_groups
from rnnlab.report.verdicts import summaries, verdicts
from rnnlab.tasks import Metric
from rnnlab.tracking.store import connect

Compose = Callable[..., Any]  # the settings of the command that `config_name` names
SAMPLE = CONF.parent / "data/samples/music"
WORDS = ("data=music", "data.source=sample", "trainer=smoke", "tracking.log_model=false")
PIECE = SAMPLE / "test/canon-01.csv"


@pytest.fixture(scope="module")
def store() -> dict[str, Path]:
    """Hold the runs that the tests below look at, each made once."""
    return {}


@pytest.fixture
def trained(store: dict[str, Path], compose: Compose, root: Path, figures: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return the folder of a small finished run."""

    def folder(model: str) -> Path:
        if model not in store:
            monkeypatch.setattr(label_sets, "NUM_ITERATIONS", 20)  # how well the baseline does is the claim of its own tests
            sizes = [] if model == "baseline" else ["model.recurrence.hidden_size=16"]
            config = compose(f"model={model}", *WORDS, *sizes)
            before = set(config.paths.outputs.glob("*"))
            run.train(config)
            (store[model],) = set(config.paths.outputs.glob("*")) - before
        return store[model]

    return folder


def test_a_run_leaves_nats_a_table_by_piece_and_pieces_continued(trained: Callable[[str], Path], root: Path) -> None:
    folder = trained("gru")
    found = MlflowClient(f"sqlite:///{root / 'mlflow.db'}").get_run(folder.name)
    tags, metrics = found.data.tags, found.data.metrics
    assert (found.info.status, tags["task"], tags["metric"], tags["metric_direction"]) == ("FINISHED", "multilabel", "nll", "min")
    assert metrics["test/nll"] == pytest.approx(metrics["test/loss"], rel=1e-5)
    assert metrics["test/nll_low"] < metrics["test/nll"] < metrics["test/nll_high"]
    table = pd.read_parquet(folder / "artifacts/predictions/test.parquet")
    assert np.average(table["nll"], weights=table["num_targets"]) == pytest.approx(metrics["test/nll"])
    assert table["nll"].mean() == pytest.approx(metrics["test/nll_per_sequence"])
    assert (table["num_targets"] == table["num_steps"]).all() and table["target"].map(len).equals(table["num_steps"].astype("int64"))
    assert table["target"][0][0] == " ".join(named(SAMPLE / f"{table['example_id'][0]}.csv", 1))
    assert len(list((folder / "artifacts/continued").glob("test_*.png"))) == 2


def test_a_network_s_first_answer_is_how_often_each_key_sounds_in_training(compose: Compose) -> None:
    config = compose("model=gru", *WORDS)
    data: SequenceDataModule = config.data.recipe()(config.paths, 0)
    data.setup()
    model: SequenceModule = config.model.recipe()(data.make_spec())
    rolls = [read_roll(SAMPLE / f"{name}.csv").values for name in data.examples["id"].iloc[data.rows["train"]]]
    shares = (np.concatenate(rolls).sum(0) + 1) / (sum(map(len, rolls)) + 2)
    assert model.output.bias.detach().sigmoid().numpy() == pytest.approx(shares, abs=1e-6)


def named(file: Path, step: int) -> list[str]:
    roll = read_roll(file)
    return [key for key, value in zip(roll.keys, roll.values[step], strict=True) if value]


@pytest.mark.slow
def test_networks_and_simple_methods_are_compared_piece_by_piece(trained: Callable[[str], Path], root: Path, tmp_path: Path) -> None:
    client = connect(None, root)
    runs = [client.get_run(trained(model).name) for model in ("gru", "baseline")]
    metric = Metric("nll", "min", "nats")
    groups = read_groups(client, runs, metric, "", tmp_path)
    assert {group.name for group in groups} == {"gru", "frame_logistic"}
    for group in groups:
        assert group.runs[0].sums is not None and len(group.runs[0].sums.units) == len(group.runs[0].rights) == 8
    (verdict,) = verdicts(groups, metric)
    assert {verdict.first, verdict.second} == {"gru", "frame_logistic"}
    gain = runs[0].data.metrics["test/nll"] - runs[1].data.metrics["test/nll"]
    assert verdict.gain * (1 if verdict.first == "frame_logistic" else -1) == pytest.approx(gain)
    assert summaries(groups, metric)["frame_logistic"].mean == pytest.approx(runs[1].data.metrics["test/nll"])


def test_a_piece_of_one_s_own_is_scored(
    trained: Callable[[str], Path], compose: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (f"run={trained('gru').name}", f"data.source={PIECE}", f"output={tmp_path / 'scored.csv'}")
    score.score(compose(*words, config_name="score"))
    assert f"all 1 examples of {PIECE}" in capsys.readouterr().out
    table = pd.read_parquet(trained("gru") / "artifacts/predictions/test.parquet").set_index("example_id")
    assert pd.read_csv(tmp_path / "scored.csv")["nll"][0] == pytest.approx(table["nll"]["test/canon-01"], abs=1e-5)


def test_a_piece_is_continued_to_a_roll_and_a_picture(
    trained: Callable[[str], Path], compose: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "rolls"
    for model in ("gru", "baseline"):
        words = (f"run={trained(model).name}", f"input={PIECE}", f"rolls={folder}", "num_steps=5", "format=json")
        capsys.readouterr()
        predict.predict(compose(*words, config_name="predict"))
        shown = capsys.readouterr()
        given, whole = read_roll(PIECE), read_roll(folder / "001.csv")
        assert whole.keys == given.keys and whole.values.shape == (len(given.values) + 5, 36)
        assert np.array_equal(whole.values[: len(given.values)], given.values)
        assert np.array_equal(read_roll(folder / "001.mid", keys=given.keys).values[: len(given.values)], given.values)
        assert (folder / "001.png").stat().st_size > 1000 and "written: 1 piece continued in" in shown.err
        (row,) = json.loads(shown.out)
        assert len(row["prediction"]) == len(given.values) and row["nll"] > 0


def test_generate_goes_on_with_a_piece_the_same_way_for_the_same_seed(
    trained: Callable[[str], Path], compose: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def generated(*words: str) -> list[str]:
        capsys.readouterr()
        run_of = (f"run={trained('gru').name}", f"prompt={PIECE}", f"output={tmp_path / 'new.mid'}", *words)
        generate.generate(compose(*run_of, config_name="generate"))
        return capsys.readouterr().out.splitlines()

    first, again, other = (generated("num_tokens=12", seed) for seed in ("seed=1", "seed=1", "seed=2"))
    assert first == again != other and len(first) == 12
    given = read_roll(PIECE)
    both = generated("num_tokens=12", "num_samples=2", "seed=1")
    assert both == first + other
    for name, lines in (("new_1.mid", first), ("new_2.mid", other)):
        whole = read_roll(tmp_path / name, keys=given.keys).values
        shown = [" ".join(key for key, is_on in zip(given.keys, step, strict=True) if is_on) or "(silence)" for step in whole]
        assert shown[len(given.values) :] == lines[: len(shown) - len(given.values)]  # a file ends with its last note
    assert (tmp_path / "new.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give the beginning of a piece: prompt=FILE"),
        ((f"prompt={PIECE}", "top_k=3"), "each key of music is drawn by itself, so top_k and top_p mean nothing"),
        ((f"prompt={PIECE}", "output=x.txt"), r"output=x\.txt: this run's music is written as \.csv or \.mid"),
        ((f"prompt={SAMPLE / 'test'}",), r"holds 8 pieces: give one"),
        (("prompt=nowhere.mid",), r"prompt=nowhere\.mid: no such file; of music give a file"),
    ],
)
def test_what_music_cannot_go_on_with_is_refused(
    trained: Callable[[str], Path], compose: Compose, words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        generate.generate(compose(f"run={trained('gru').name}", *words, config_name="generate"))


def test_the_screen_names_the_keys_of_the_next_step(
    trained: Callable[[str], Path], compose: Compose, capsys: pytest.CaptureFixture[str]
) -> None:
    predict.predict(compose(f"run={trained('baseline').name}", f"input={PIECE}", config_name="predict"))
    shown = capsys.readouterr().out
    assert "nats a step" in shown and "next step" in shown and "canon-01.csv" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("num_steps=0", r"^num_steps=0 is not allowed: a whole number from 1 to 100000$"),
        ("seed=-1", r"^seed=-1 is not allowed: a whole number from 0 to 4294967295$"),
    ],
)
def test_steps_that_cannot_be_added_are_refused(
    words: str, message: str, trained: Callable[[str], Path], compose: Compose, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        predict.predict(compose(f"run={trained('baseline').name}", f"input={PIECE}", f"rolls={tmp_path}", words, config_name="predict"))
