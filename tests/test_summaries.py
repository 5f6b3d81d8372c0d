"""Summaries, by the user's commands: a network that copies answers raw texts with names that training never saw."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rnnlab.commands import predict as predict_command
from rnnlab.commands import score
from rnnlab.commands import train as command
from rnnlab.config import ConfigError
from rnnlab.training.recipes import check

Compose = Callable[..., Any]
PLACES = [first + last for first in ("Al", "Bar", "Dun", "Fen", "Kel", "Nor") for last in ("by", "ham", "ton", "wick", "ford", "dale")]
NETWORK = (
    *("model=seq2seq", "model.attention=bahdanau", "model.decoder.has_copying=true", "model.decoder.coverage_weight=1"),
    *("model.recurrence.hidden_size=24", "model.decoder.hidden_size=32", "model.decoder.embedding_size=16", "frontend.embedding_size=16"),
    *("model.decoder.attention_size=24", "optimizer.lr=0.01", "tracking.log_model=false", "data.loader.batch_size=16", "epochs=14"),
)


def notices(file: Path, places: list[str]) -> Path:
    lines = [
        {
            "text": f"The {what} in {place} will close .",
            "summary": [f"{place} {what} closes", f"a {what} closes in {place}"][: 1 + number % 2],
        }
        for number, place in enumerate(places)
        for what in ("mill", "inn", "pool", "shop")
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


@pytest.mark.slow
def test_a_name_that_no_training_text_has_is_copied_from_a_raw_text(
    compose: Compose, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = compose(*NETWORK, "data=summaries", f"data.source={notices(tmp_path / 'n.jsonl', PLACES)}", "data.loader.min_frequency=30")
    before = set(config.paths.outputs.glob("*"))
    command.train(config)
    (folder,) = set(config.paths.outputs.glob("*")) - before
    table = pd.read_parquet(folder / "artifacts/predictions/test.parquet")
    assert {"rouge1", "rouge2", "rougeL"} <= set(table.columns) and table["rouge1"].mean() > 0.6
    capsys.readouterr()
    words = (f"run={folder.name}", "text='The inn in Zedmouth will close .'", "format=json", f"maps={tmp_path / 'maps'}")
    predict_command.predict(compose(*words, config_name="predict"))
    shown = capsys.readouterr()
    (row,) = json.loads(shown.out)
    assert "zedmouth" in row["prediction"] and "inn" in row["prediction"]
    assert "'zedmouth'" in shown.err and len(list((tmp_path / "maps").glob("*.png"))) == 1
    other = notices(tmp_path / "later.jsonl", ["Zedby", "Yanford", "Xiwick"])
    score.score(compose(f"run={folder.name}", f"data.source={other}", config_name="score"))
    assert "all 12 examples of" in capsys.readouterr().out


@pytest.mark.parametrize("model", ["gru", "birnn", "transformer"])
def test_networks_that_answer_in_the_order_of_the_input_are_refused_early(model: str, compose: Compose) -> None:
    for data in ("data=summaries", "data=translation data.goal=summarise"):
        with pytest.raises(ConfigError, match=r"cannot train them; choose model=seq2seq"):
            check(compose(f"model={model}", *data.split(), "data.source=sample"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("model.attention=none", "model.decoder.coverage_weight=1"), r"coverage_weight=1 .* set model\.attention=bahdanau"),
        (("model.attention=luong_general", "model.decoder.coverage_weight=1"), r"coverage_weight=1 .* set model\.attention=bahdanau"),
        (("model.attention=none", "model.decoder.has_copying=true"), r"has_copying=true .* set model\.attention to"),
        (("model.decoder.has_copying=true", "model.regularisation.label_smoothing=0.1"), r"label_smoothing=0\.1 .* set it to 0"),
        (("model.decoder.coverage_weight=-1",), r"model\.decoder\.coverage_weight=-1"),
    ],
)
def test_what_does_not_go_together_is_refused(words: tuple[str, ...], message: str, compose: Compose) -> None:
    with pytest.raises(ConfigError, match=message):
        check(compose("model=seq2seq", "data=summaries", "data.source=sample", *words))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("data=pronunciation",), r"has_copying=true: answers to data=pronunciation are not made of the words of the inputs"),
        (("data=summaries", "frontend.repeats=2"), r"set frontend\.repeats=1"),
    ],
)
def test_copying_is_refused_where_inputs_are_not_the_words_of_answers(words: tuple[str, ...], message: str, compose: Compose) -> None:
    with pytest.raises(ValueError, match=message):
        command.train(compose("model=seq2seq", "data.source=sample", "trainer=smoke", "model.decoder.has_copying=true", *words))
