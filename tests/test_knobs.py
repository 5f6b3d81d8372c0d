"""docs/knobs.md: each key that it names is one, with that default, and refuses what is wrong by its name."""

import re
from collections.abc import Callable
from copy import deepcopy
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import yaml

from rnnlab.cli import check_words
from rnnlab.commands import train as run
from rnnlab.config import Config, ConfigError, flatten, recipe
from rnnlab.contracts import DataSpec
from rnnlab.paths import HOME
from rnnlab.settings import TrainSettings
from rnnlab.training.recipes import check

PAGE = HOME / "docs/knobs.md"
ROWS = [line.split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ") and " | `" in line]
NAMED = re.compile(r"`([^`]+)`(?: of `([^`]+)`)?")
GROUPS = ("model", "cell", "optimizer", "scheduler")
WRONG: dict[str, Any] = {
    **{"model.recurrence.hidden_size": 0, "model.recurrence.num_layers": 1.5, "cell.activation": "swish"},
    **{"model.recurrence.initialisation": "zeros", "cell.forget_bias": "one", "cell.chrono": 0, "optimizer.lr": 0},
    **{"optimizer.momentum": 1, "optimizer.nesterov": "maybe", "scheduler.warmup_fraction": 1, "data.loader.batch_size": 0, "epochs": 0},
    **{
        "model.loss.kind": "hinge",
        "model.loss.gamma": -1,
        "model.loss.delta": 0,
    },
    **{"model.head.dropout": 1, "frontend.dropout": -0.1, "frontend.variational_dropout": 1, "model.recurrence.dropout": 1},
    **{"model.recurrence.recurrent_dropout": 1, "model.recurrence.zoneout": -1, "model.recurrence.has_layer_norm": "maybe"},
    **{"model.recurrence.has_batch_norm": "maybe", "model.recurrence.has_residual": "maybe", "optimizer.weight_decay": -1},
    **{"model.regularisation.l1": -1, "model.regularisation.label_smoothing": 1, "model.regularisation.class_weights": "equal"},
    **{"callbacks.max_norm": 0, "callbacks.weight_clip": -1, "trainer.gradient_clip_val": 0, "trainer.gradient_clip_algorithm": "row"},
    **{"callbacks.early_stopping.patience": 0, "callbacks.ema_decay": 1, "data.loader.is_augmented": "maybe"},
    **{"data.loader.word_dropout": 1, "data.loader.augment.jitter": -1, "seed": -1, "data.fold": -1, "data.num_folds": 0},
    **{"model.head.pooling": "sum", "model.attention": "self", "model.encoder.num_heads": 0, "model.recurrence.backend": "cuda"},
    **{"compression.sparsity": 1, "compression.int8": "sometimes"},
}
LATE = {  # what only data or other runs can tell
    "data.loader.vectors": "data=text data.loader.vectors=/nowhere.txt",
    "init_from": "data=speech init_from=nothing",
    "distil_from": "data=speech distil_from=nothing",
}


def rows() -> dict[str, tuple[str, Any]]:
    """Return key to (words that it needs, default)."""
    found = {}
    for row in ROWS:
        key = NAMED.match(row[1])
        assert key is not None, row
        default = NAMED.fullmatch(row[3])
        assert default is not None, row
        found[key[1]] = (key[2] or "", yaml.safe_load(default[1]))
    return found


KEYS = rows()
CONTEXTS = sorted({words for words, _ in KEYS.values()})


@pytest.fixture(scope="module")
def store() -> dict[str, TrainSettings]:
    """Hold what each context composes."""
    return {}


@pytest.fixture
def composed(store: dict[str, TrainSettings], compose: Callable[..., TrainSettings]) -> Callable[[str], TrainSettings]:
    """Compose words, with every key of the page that belongs to them set to its default, as a user would type it."""

    def made(context: str) -> TrainSettings:
        if context not in store:
            typed = [f"{key}={_typed(default)}" for key, (words, default) in KEYS.items() if words == context and key not in GROUPS]
            store[context] = compose(*context.split(), *typed)
        return store[context]

    return made


def _typed(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def test_the_page_names_the_knobs_that_it_must() -> None:
    assert len(ROWS) >= 45
    text = PAGE.read_text(encoding="utf-8").lower()
    for knob in (
        "hidden units",
        "activation",
        "momentum",
        "schedule",
        "max-norm",
        "zoneout",
        "residual",
        "cross-validation",
        "augmentation",
    ):
        assert f"| {knob}" in text or f" {knob}" in text, knob


@pytest.mark.parametrize("context", CONTEXTS)
def test_every_key_is_one_and_has_the_default_that_the_page_says(
    context: str, composed: Callable[[str], TrainSettings], compose: Callable[..., TrainSettings]
) -> None:
    composed(context)
    plain = compose(*context.split())
    known = flatten(plain.composed.values) | {group: plain.choices.by_group[group] for group in GROUPS}
    wanted = {key: default for key, (words, default) in KEYS.items() if words == context}
    assert {key: known[key] for key in wanted} == wanted


def test_quantiles_that_are_none_are_refused_once_it_is_known_that_targets_are_numbers(composed: Callable[[str], TrainSettings]) -> None:
    node = deepcopy(composed(KEYS["model.head.quantiles"][0]).model.values)
    node["head"]["quantiles"] = [2]
    with pytest.raises(ValueError, match=r"^model.head.quantiles=\[2.0\] is not allowed"):
        recipe(node, "model")(DataSpec("toy", "features", 3, "real", 1, ("load",)))


@pytest.mark.parametrize("key", [key for key in KEYS if key not in (*GROUPS, *LATE, "model.head.quantiles")])
def test_a_wrong_value_is_refused_by_its_key(key: str, composed: Callable[[str], TrainSettings]) -> None:
    asked = deepcopy(composed(KEYS[key][0]).composed)
    *parts, last = key.split(".")
    if parts[0:1] == ["cell"] or parts[0:1] == ["frontend"]:  # the model holds what was composed from them
        parts = ["model", *parts]
    node: Config = reduce(lambda inner, part: inner[part], parts, asked.values)
    node[last] = WRONG[key]
    if key == "epochs":
        asked.values["trainer"]["max_epochs"] = WRONG[key]
    with pytest.raises(ConfigError, match=rf"(^|; ){re.escape(key)}={re.escape(str(WRONG[key]))} is not allowed"):
        check(TrainSettings.of(asked))


@pytest.mark.parametrize("key", LATE)
def test_what_only_data_or_other_runs_can_tell_is_refused_by_its_key_before_there_is_a_run(
    key: str, compose: Callable[..., TrainSettings], root: Path
) -> None:
    outputs = root / "outputs"
    before = set(outputs.glob("*"))
    with pytest.raises(ValueError, match=rf"^{re.escape(key)}="):
        run.train(compose(*LATE[key].split(), "data.source=sample", "trainer=smoke"))
    assert set(outputs.glob("*")) == before


@pytest.mark.parametrize("group", GROUPS)
def test_a_choice_that_there_is_not_is_refused_with_those_there_are(group: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{group}=nothing: there is no such choice.*Choices: "):
        check_words("config", [f"{group}=nothing"])


def test_every_wrong_value_is_tried() -> None:
    assert set(WRONG) | set(LATE) | set(GROUPS) | {"model.head.quantiles"} >= set(KEYS)
    assert set(WRONG) <= set(KEYS)
