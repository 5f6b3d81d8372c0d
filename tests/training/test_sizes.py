"""Defaults of one's own texts follow from how many there are, stay where something is typed, and are the same for all networks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from rnnlab.config import Config, flatten
from rnnlab.paths import CONF
from rnnlab.settings import TrainSettings
from rnnlab.training.identity import identity
from rnnlab.training.recipes import check, opened
from rnnlab.training.sizes import suited

TABLE: list[Config] = yaml.safe_load((CONF / "data/text.yaml").read_text(encoding="utf-8"))["by_size"]
OWN = "data=text data.source=mine.csv"
Compose = Callable[..., TrainSettings]


def of(settings: TrainSettings) -> Config:
    return flatten(settings.values())


def wanted(row: Config) -> Config:
    return flatten(row["set"])


def test_rows_go_up_and_the_last_takes_all_that_are_larger() -> None:
    bounds = [row["up_to"] for row in TABLE]
    assert bounds[-1] is None and bounds[:-1] == sorted(set(bounds[:-1]))


@pytest.mark.parametrize("model", ["gru", "birnn", "lstm", "tcn", "transformer"])
@pytest.mark.parametrize("number", range(len(TABLE)))
def test_each_row_sets_all_its_keys_for_every_network_where_a_training_takes_them(model: str, number: int, compose: Compose) -> None:
    row = TABLE[number]
    size = row["up_to"] or 10**6
    found = suited(compose(*OWN.split(), f"model={model}"), size)
    flat = of(found.settings)
    assert {key: flat[key] for key in wanted(row)} == wanted(row)
    assert flat["trainer.max_epochs"] == found.settings.trainer.max_epochs == row["set"]["epochs"]
    assert flat["model.frontend.dropout"] == row["set"]["frontend"]["dropout"]
    recipes = check(found.settings)
    assert recipes.data.keywords["loader"].batch_size == row["set"]["data"]["loader"]["batch_size"]
    assert recipes.model.keywords["frontend"].keywords["dropout"] == row["set"]["frontend"]["dropout"]


def test_bounds_belong_to_the_smaller_row(compose: Compose) -> None:
    bound, settings = TABLE[0]["up_to"], compose(*OWN.split())
    epochs = [suited(settings, size).settings.trainer.max_epochs for size in (bound, bound + 1)]
    assert epochs == [TABLE[0]["set"]["epochs"], TABLE[1]["set"]["epochs"]]


def test_what_applies_is_said_with_the_reason_and_how_to_leave_it_out(compose: Compose) -> None:
    said = suited(compose(*OWN.split(), "frontend.dropout=0.1"), 450).words
    assert said.startswith("450 training examples: the defaults for up to 1,000 set epochs=20 ")
    assert TABLE[0]["why"] in said and "data.by_size=null" in said and "frontend.dropout" not in said


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("epochs=3", "trainer.max_epochs", 3),
        ("trainer.max_epochs=3", "trainer.max_epochs", 3),
        ("trainer=smoke", "trainer.max_epochs", 1),
        ("frontend.dropout=0.1", "model.frontend.dropout", 0.1),
        ("data.loader.batch_size=7", "data.loader.batch_size", 7),
        ("model.head.dropout=0.1", "model.head.dropout", 0.1),
    ],
)
def test_what_is_typed_stays(word: str, key: str, value: float, compose: Compose) -> None:
    flat = of(suited(compose(*OWN.split(), word), 450).settings)
    assert flat[key] == value and flat["callbacks.ema_decay"] == 0.98


def test_a_key_that_the_optimizer_lacks_is_left_out(compose: Compose) -> None:
    settings = compose(*OWN.split())
    values = settings.composed.values
    lacking = {key: value for key, value in values["optimizer"].items() if key != "weight_decay"}
    found = suited(TrainSettings.of(replace(settings.composed, values=values | {"optimizer": lacking})), 450)
    assert "weight_decay" not in found.settings.optimizer.values and "weight_decay" not in found.words


@pytest.mark.parametrize(
    "words", ["data=text", "data=text data.source=sample", f"{OWN} model=baseline", f"{OWN} tuned=birnn_trec", f"{OWN} data.by_size=null"]
)
def test_named_sources_baselines_and_chosen_recipes_have_no_such_defaults(words: str, compose: Compose) -> None:
    settings = compose(*words.split())
    found = suited(settings, 450)
    assert not found.words and of(found.settings) == of(settings) | {"data.by_size": None}


def test_recorded_settings_are_not_suited_again(compose: Compose) -> None:
    first = suited(compose(*OWN.split()), 450).settings
    recorded = TrainSettings.of(replace(first.composed, words=()))
    again = suited(recorded, 10**6)
    assert not again.words and of(again.settings) == of(first)
    assert first.data.values["suited_to"] == 450 and first.data.values["by_size"] is None


def test_the_table_makes_no_other_job_but_what_it_sets_does(compose: Compose) -> None:
    small, large = (suited(compose(*OWN.split()), size).settings for size in (450, 10**6))
    assert identity(small, "abc") != identity(large, "abc")
    almost = suited(compose(*OWN.split()), 451).settings
    assert identity(small, "abc") == identity(almost, "abc")
    named = compose("data=text")
    assert identity(named, "abc") == identity(suited(named, 450).settings, "abc")


def test_a_small_table_is_trained_with_them(tmp_path: Path, compose: Compose) -> None:
    rows = [f"{'good' if number % 2 else 'bad'} text {number},{'yes' if number % 2 else 'no'}" for number in range(60)]
    (tmp_path / "mine.csv").write_text("\n".join(["text,label", *rows]))
    settings = compose("data=text", f"data.source={tmp_path / 'mine.csv'}", f"paths.data={tmp_path / 'data'}")
    before = opened(settings)
    found = suited(settings, len(before.rows["train"]))
    after = opened(found.settings)
    assert before.hashes == after.hashes, "the test split does not follow from them"
    assert after.make_spec().input_size > before.make_spec().input_size, "words that occur once are in the vocabulary, too"
