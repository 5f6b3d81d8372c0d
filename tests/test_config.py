"""A configuration's keys and values are checked against signatures before anything is loaded."""

import inspect
from functools import partial
from itertools import product
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import yaml
from tests.lanes import covering, some

from rnnlab.cells.gru import GRUCell
from rnnlab.cli import compose_config
from rnnlab.config import Config, ConfigError, flatten, locate, nearest, recipe
from rnnlab.contracts import Batch, DataSpec
from rnnlab.layers.frontends import Convolution, Direct
from rnnlab.layers.recurrent import Recurrence
from rnnlab.models.base import FittedOnce, Network, Predictor, RecurrentModule
from rnnlab.models.birnn import BiRNN
from rnnlab.paths import CONF
from rnnlab.tracking.recorded import refuse_foreign_targets

SPEC = DataSpec("toy", "features", 3, "class", 4, ("a", "b", "c", "d"), (1, 2, 3, 4))


def choices(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def model_class(name: str) -> type[Predictor]:
    """Return the class that conf/model/NAME.yaml names, itself or for the whole configuration."""
    node = yaml.safe_load((CONF / "model" / f"{name}.yaml").read_text(encoding="utf-8"))
    found: Any = locate(node.get("model", node)["_target_"], "model")
    return found


NETWORKS = [name for name in choices("model") if issubclass(model_class(name), Network)]


def model_node(**changes: Any) -> Config:
    """Return a valid node; `recurrence__dropout=2` changes one key below it."""
    node: Config = {
        "_target_": "rnnlab.models.birnn.BiRNN",
        "cell": {"_target_": "rnnlab.cells.gru.GRUCell"},
        "recurrence": {"hidden_size": 5, "num_layers": 2, "dropout": 0.1, "has_layer_norm": False, "initialisation": "uniform"},
        "frontend": {"_target_": "rnnlab.layers.frontends.Direct"},
        "head": {"pooling": "mean", "dropout": 0.2, "quantiles": []},
        "regularisation": {"label_smoothing": 0.0, "class_weights": "none", "l1": 0.0},
        "decoding": {"beam_size": 5, "length_penalty": 1.0, "num_best": 1},
    }
    for name, value in changes.items():
        key, _, inner = name.partition("__")
        node[key] = {**node[key], inner: value} if inner else value
    return node


def test_nested_targets_become_recipes_and_plain_nodes_become_dataclasses() -> None:
    made = recipe(model_node(), "model")
    assert made.func is BiRNN
    assert made.keywords["recurrence"] == Recurrence(5, 2, 0.1, False, "uniform")
    assert isinstance(made.keywords["cell"], partial)
    assert made.keywords["cell"].func is GRUCell
    assert made.keywords["frontend"].func is Direct
    assert made(SPEC).recurrence.output_size == 2 * 5


def test_a_recipe_holds_the_arguments_and_leaves_sizes_to_the_data() -> None:
    sizes = {"embedding_size": 4, "num_ngrams": [9]}
    settings = {"scale": 0.1, "dropout": 0.5, "variational_dropout": 0.0, "is_frozen": False, "repeats": 1, **sizes}
    made = recipe({"_target_": "rnnlab.layers.frontends.Embedding", **settings}, "frontend")
    assert made.keywords == settings
    assert made(input_size=7).table.weight.shape == (7, 4)


def test_checking_does_not_change_the_configuration() -> None:
    node = model_node(regularisation__class_weights=[1, 2])
    recipe(node, "model")
    assert node == model_node(regularisation__class_weights=[1, 2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hed": 3}, r"model.hed is not a key of rnnlab.models.birnn.BiRNN. Did you mean 'head'\? Its keys: spec, cell, recurrence,"),
        ({"head__poling": "mean"}, r"model.head.poling is not a key. Did you mean 'pooling'\? Keys there: pooling, dropout, quantiles"),
        ({"recurrence__zzz": 1}, r"model.recurrence.zzz is not a key. Keys there: hidden_size, num_layers, dropout, has_layer_norm, init"),
        ({"frontend__size": 1}, r"^frontend.size is not a key of rnnlab.layers.frontends.Direct\..* Its keys: input_size$"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_and_all_that_exist(changes: Config, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe(model_node(**changes), "model")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # wrong type
        ({"recurrence__hidden_size": "many"}, r"^model.recurrence.hidden_size=many is not allowed: it should be a valid integer"),
        ({"recurrence__num_layers": 2.5}, r"^model.recurrence.num_layers=2.5 is not allowed: it should be a valid integer"),
        ({"recurrence__has_layer_norm": "maybe"}, r"^model.recurrence.has_layer_norm=maybe is not allowed: it should be a valid boolean"),
        ({"recurrence": 3}, r"^model.recurrence=3 is not allowed: it should be a dictionary"),
        ({"cell": None}, r"^cell=None is not allowed: it should be callable"),
        # out of range
        ({"recurrence__num_layers": 0}, r"^model.recurrence.num_layers=0 is not allowed: it should be greater than or equal to 1$"),
        ({"head__dropout": 1.0}, r"^model.head.dropout=1.0 is not allowed: it should be less than 1$"),
        ({"head__dropout": -0.1}, r"^model.head.dropout=-0.1 is not allowed: it should be greater than or equal to 0$"),
        ({"regularisation__l1": float("nan")}, r"^model.regularisation.l1=nan is not allowed"),
        ({"regularisation__class_weights": [1, -1]}, r"model.regularisation.class_weights.1=-1 is not allowed: it should be greater than"),
        # not one of a few words
        (
            {"head__pooling": "maen"},
            r"^model.head.pooling=maen is not allowed. Did you mean 'mean'\? Allowed: last, mean, max, mean_max, at",
        ),
        (
            {"recurrence__initialisation": "zero"},
            r"initialisation=zero is not allowed. Allowed: uniform, xavier, orthogonal, identity, kaiming$",
        ),
        ({"regularisation__class_weights": "balance"}, r"class_weights=balance is not allowed. Did you mean 'balanced'\? Allowed: none, b"),
        # missing
        ({"head": {"pooling": "mean", "quantiles": []}}, r"^model.head.dropout is missing: give it a value$"),
        # nested, and in lists
        ({"cell": {"_target_": "rnnlab.cells.srnn.SRNNCell", "activation": "tan"}}, r"^cell.activation=tan .*Did you mean 'tanh'\?"),
        (
            {"frontend": {"_target_": "rnnlab.layers.frontends.Convolution", "channels": [2, 0]}},
            r"^frontend.channels.1=0 is not allowed: it should be greater than or equal to 1$",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_its_place_and_what_is_allowed(changes: Config, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe(model_node(**changes), "model")


def test_of_a_union_only_what_a_configuration_can_give_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^optimizer.lr=fast is not allowed: it should be a valid number, unable to parse [^;]*$"):
        recipe({"_target_": "torch.optim.SGD", "lr": "fast"}, "optimizer")


def test_all_that_is_wrong_in_a_node_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match=r"recurrence.num_layers=0 .*; model.recurrence.dropout=2 is not allowed"):
        recipe(model_node(recurrence__num_layers=0, recurrence__dropout=2), "model")


@pytest.mark.parametrize("target", ["rnnlab.cells.gru.GRUCel", "rnnlab.nowhere.GRUCell", "GRUCell", "", 3])
def test_a_target_that_cannot_be_imported_is_refused_with_its_place(target: object) -> None:
    with pytest.raises(ConfigError, match=rf"^cell._target_={target} cannot be imported: "):
        recipe(model_node(cell={"_target_": target}), "model")


def test_targets_are_found_by_their_path() -> None:
    assert locate("rnnlab.layers.frontends.Convolution", "model.frontend") is Convolution


@pytest.mark.parametrize(("word", "expected"), [("gruu", " Did you mean 'gru'?"), ("transformer", "")])
def test_only_a_word_that_is_near_is_suggested(word: str, expected: str) -> None:
    assert nearest(word, ["gru", "lstm"]) == expected


@pytest.mark.parametrize("target", ["os.system", "subprocess.run", "builtins.eval"])
@pytest.mark.parametrize("place", ["top", "nested", "in_a_list"])
def test_a_recorded_configuration_that_names_foreign_code_is_refused(target: str, place: str) -> None:
    foreign: Config = {"_target_": target, "command": "true"}
    config = {"top": foreign, "nested": {"model": model_node(cell=foreign)}, "in_a_list": {"callbacks": [[foreign]]}}[place]
    with pytest.raises(ConfigError, match=rf"names '{target}', which no file in conf/ does: it is not run"):
        refuse_foreign_targets(config)


def test_what_our_own_configurations_name_is_not_foreign() -> None:
    refuse_foreign_targets({"model": model_node(), "optimizer": {"_target_": "torch.optim.AdamW"}, "data": {"name": "x"}})


def test_flattening_joins_keys_with_dots_and_leaves_lists_and_empty_nodes() -> None:
    nested = {"a": {"b": {"c": 1}, "d": [1, {"e": 2}]}, "f": None, "g": {}}
    assert flatten(nested) == {"a.b.c": 1, "a.d": [1, {"e": 2}], "f": None, "g": {}}


# ------------------------------------------------------------------------------------ every combination that conf/ offers


def built(config: Config, group: str) -> "partial[Any]":
    return recipe({key: value for key, value in config[group].items() if key not in ("num_threads", "budget")}, group)


@pytest.fixture(scope="module")
def parts() -> dict[str, dict[str, Config]]:
    """Compose each choice of each group once: these groups know nothing of each other."""
    words = {"optimizer": "", "scheduler": "", "trainer": "", "model": "frontend=direct"}
    return {
        group: {choice: compose_config("config", [f"{group}={choice}", *extra.split()]).values[group] for choice in choices(group)}
        for group, extra in words.items()
    }


@pytest.mark.parametrize(("optimizer", "model", "trainer"), covering(product(choices("optimizer"), NETWORKS, choices("trainer"))))
@pytest.mark.filterwarnings("ignore:.*You defined a `validation_step`.*")
def test_every_optimizer_model_and_trainer_build_together(
    optimizer: str, model: str, trainer: str, parts: dict[str, dict[str, Config]]
) -> None:
    chosen = {"optimizer": optimizer, "model": model, "trainer": trainer}
    config = {group: parts[group][choice] for group, choice in chosen.items()}
    made: Network = built(config, "model")(SPEC)
    steps = built(config, "optimizer")(made.parameters())
    ones_B = torch.ones(2, dtype=torch.int64)
    made.training_loss(Batch(torch.ones(2, 5, 3), torch.tensor([5, 4]), torch.tensor([3, 0]), ones_B, torch.arange(2))).backward()
    steps.step()
    built_trainer = built(config, "trainer")(
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu"
    )
    assert isinstance(built_trainer, pl.Trainer)


@pytest.mark.parametrize("scheduler", choices("scheduler"))
@pytest.mark.parametrize("optimizer", choices("optimizer"))
def test_every_schedule_takes_every_optimizer(optimizer: str, scheduler: str, parts: dict[str, dict[str, Config]]) -> None:
    config = {"optimizer": parts["optimizer"][optimizer], "scheduler": parts["scheduler"][scheduler]}
    steps = built(config, "optimizer")([torch.nn.Parameter(torch.zeros(2))])
    schedule = built(config, "scheduler")(steps, total_steps=10, direction="max")
    assert schedule.optimizer is steps


@pytest.mark.parametrize(("model", "cell"), covering(product(NETWORKS, choices("cell")), strength=1))
def test_a_network_takes_its_own_cell_or_where_it_has_none_any(model: str, cell: str) -> None:
    found = model_class(model)
    own = found.cell_classes if issubclass(found, RecurrentModule) else ()
    config = compose_config("config", [f"model={model}", *([] if own else [f"cell={cell}"])]).values
    if "cell" not in inspect.signature(found).parameters:
        assert "cell" not in config["model"]
        return
    chosen = locate(config["model"]["cell"]["_target_"], "model.cell")
    assert chosen is (own[0] if own else locate(config["cell"]["_target_"], "cell"))


@pytest.mark.parametrize("decoder_cell", some(choices("cell"), ["gru"]))
def test_a_decoder_takes_the_encoders_cell_or_one_of_its_own(decoder_cell: str) -> None:
    def chosen(*words: str) -> list[object]:
        config = compose_config("config", ["model=seq2seq", *words]).values
        return [locate(config["model"][name]["_target_"], "model") for name in ("cell", "decoder_cell")]

    (its_own, _), (lstm, _) = chosen(f"cell={decoder_cell}"), chosen("cell=lstm")
    assert chosen(f"cell={decoder_cell}") == [its_own, its_own]
    assert chosen("cell=lstm", f"cell@decoder_cell={decoder_cell}") == [lstm, its_own]


@pytest.mark.parametrize("model", sorted(set(choices("model")) - set(NETWORKS)))
@pytest.mark.parametrize("data", ["speech", "text", "stock", "series", "dictation", "translation", "pronunciation"])
def test_a_model_without_gradients_composes_with_any_data_and_takes_nothing_of_networks(model: str, data: str) -> None:
    config = compose_config("config", [f"model={model}", f"data={data}"]).values
    assert set(config["model"]) == {"_target_", "baseline"}
    assert config["model"]["baseline"] == config["baseline"]
    assert isinstance(built(config, "model")(SPEC), FittedOnce)


@pytest.mark.parametrize(
    ("data", "frontend"),
    [
        *(("speech", "convolution"), ("dictation", "convolution"), ("text", "embedding"), ("translation", "embedding")),
        *(("pronunciation", "embedding"), ("stock", "direct"), ("series", "direct")),
    ],
)
def test_data_bring_the_front_end_that_suits_them_unless_the_command_line_says_otherwise(data: str, frontend: str) -> None:
    composed = compose_config("config", [f"data={data}"])
    config = composed.values
    assert composed.choices.by_group["frontend"] == frontend
    assert config["model"]["frontend"] == config["frontend"]
    given = compose_config("config", [f"data={data}", "frontend=direct"]).values
    assert given["model"]["frontend"] == {"_target_": "rnnlab.layers.frontends.Direct"}


@pytest.mark.parametrize("data", choices("data"))
def test_every_data_set_composes_with_every_key_known(data: str) -> None:
    config = compose_config("config", [f"data={data}"]).values
    assert config["data"]["name"] == data
    recipe(config["data"], "data")


@pytest.mark.parametrize("name", sorted(file.stem for file in CONF.glob("*.yaml")))
def test_every_command_composes_without_any_word(name: str) -> None:
    assert compose_config(name, []).words == ()
