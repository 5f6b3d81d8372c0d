"""Values of the configuration, checked: what may stand there, and the objects that sections describe.

A section with `_target_` (`Node`) names a class or function and exactly its arguments. The signature is the schema: an unknown key, or a
value that its annotation does not allow, is refused with what is allowed. Nested sections become recipes (`functools.partial`), because
the sizes that they lack follow from the data.
"""

import difflib
import functools
import importlib
import inspect
import itertools
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from rnnlab.paths import CONF, file_name

Config = dict[str, Any]
"""Composed values: what YAML can hold, by key."""
TARGET = "_target_"
OWN_GROUPS = ("cell", "frontend", "baseline")
"""Nodes of a model that the command line knows by a name of their own: messages take it."""

OTHER_WORDS = {"gpus": "devices", "gpu": "accelerator", "learning_rate": "lr", "hidden_dim": "hidden_size", "units": "hidden_size"}
"""What keys are called elsewhere, and the last word of ours."""
FOR_ANY = "For any source"
"""What the comment of a recipe says that was not found on one source, but follows from the method."""


class ConfigError(ValueError):
    """A configuration that cannot be run; the message says what was given, what is allowed and what to do."""


class Failed(ValueError):
    """What was begun failed, after everything that was typed or given had been found in order.

    Commands exit with 1 for it, and with 2 for any other ValueError: nothing was begun, and the user has something to mend.
    """


class UnknownKey(ConfigError):
    """A key that its target does not take."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


# The ranges that signatures state ---------------------------------------------------------------------------------------------------

PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


# Recipes ----------------------------------------------------------------------------------------------------------------------------


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return ` Did you mean ...?` or nothing; capitals do not count."""
    if word.casefold() == "none":
        return " Did you mean 'null'?"
    by_folded = {choice.casefold(): choice for choice in choices}
    found = difflib.get_close_matches(word.casefold(), list(by_folded), n=1, cutoff=0.6)
    return f" Did you mean {by_folded[found[0]]!r}?" if found else ""


def same_ending(name: str, known: set[str]) -> str:
    """Point at a key elsewhere whose last word is the one meant."""
    last = name.rpartition(".")[2]
    last = OTHER_WORDS.get(last, last)
    endings: dict[str, str] = {}
    for key in sorted(known, key=len):
        endings.setdefault(key.rpartition(".")[2], key)
    close = [last] if last in endings else [key for key in endings if key.startswith(f"{last}_")]
    if not close and (found := nearest(last, endings)):
        close = [found.split("'")[1]]
    return f" Did you mean {endings[close[0]]!r}?" if close else ""


def recipe(node: Config, where: str) -> "functools.partial[Any]":
    """Check a node with `_target_` and return its target with the arguments filled in; `where` is its place, for messages.

    Raises:
        ConfigError: names the key or value, and what is allowed.
    """
    target = locate(str(node[TARGET]), where)
    hints = _hints(target)
    arguments = {}
    for key, value in node.items():
        if key == TARGET:
            continue
        place = key if key in OWN_GROUPS else f"{where}.{key}"
        if key not in hints:
            raise UnknownKey(place, f"{place} is not a key of {node[TARGET]}.{nearest(key, hints)} Its keys: {', '.join(hints)}")
        is_nested = isinstance(value, Mapping) and TARGET in value
        arguments[key] = recipe(dict(value), place) if is_nested else checked(value, hints[key], place)
    return functools.partial(target, **arguments)


def locate(path: str, where: str) -> Callable[..., Any]:
    """Import what a `_target_` names."""
    module, _, name = path.rpartition(".")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return found
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{where}._target_={path} cannot be imported: {error}") from error


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    call = target.__init__ if inspect.isclass(target) else target
    known = typing.get_type_hints(inspect.unwrap(call), include_extras=True)
    names = [name for name in inspect.signature(target).parameters if name != "self"]
    return {name: known.get(name, Any) for name in names}


def checked(value: object, hint: Any, where: str) -> Any:
    """Return a configuration's value as its annotation wants it (a dataclass for a nested node); `where` is its place, for messages.

    Raises:
        ConfigError: names the key, what was given, what is allowed.
    """
    if is_dataclass(hint) and isinstance(value, Mapping):
        _refuse_unknown_keys(value, hint, where)
    settings = None if is_dataclass(hint) else ConfigDict(arbitrary_types_allowed=True)
    try:
        return TypeAdapter(hint, config=settings).validate_python(value)
    except ValidationError as error:
        # Of the alternatives of a union, a configuration can never give an instance (`lr: float | Tensor`).
        errors = [e for e in error.errors() if e["type"] != "is_instance_of"] or error.errors()
        raise ConfigError("; ".join(dict.fromkeys(_explain(e, where) for e in errors))) from None
    except ValueError as error:  # raised by a dataclass's own check
        raise ConfigError(str(error)) from error


def _refuse_unknown_keys(value: Mapping[str, Any], hint: Any, where: str) -> None:
    types = typing.get_type_hints(hint, include_extras=True)
    names = [field.name for field in fields(hint)]
    for key, inner in value.items():
        place = f"{where}.{key}" if where else key
        if key not in names:
            raise UnknownKey(place, f"{place} is not a key.{nearest(key, names)} Keys there: {', '.join(names)}")
        if is_dataclass(types[key]) and isinstance(inner, Mapping):
            _refuse_unknown_keys(inner, types[key], place)


def _explain(error: Any, where: str) -> str:
    in_union = ("int", "float", "str", "bool")  # pydantic adds the alternative's name to the place
    places = [str(part) for part in error["loc"] if isinstance(part, int) or (part.isidentifier() and part not in in_union)]
    place = ".".join([where, *places] if where else places)
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "missing":
        return f"{place} is missing: give it a value"
    if error["type"] == "literal_error":
        allowed = error["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"{place}={error['input']} is not allowed.{nearest(str(error['input']), allowed)} Allowed: {', '.join(allowed)}"
    return f"{place}={error['input']} is not allowed: {error['msg'].replace('Input should', 'it should')}"


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turn nested keys into dotted ones; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        flat.update(flatten(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value})
    return flat


def needed(values: Mapping[str, Any], key: str, where: str = "") -> Any:
    """Return a value that must be there; `where` is the place of all, for messages.

    Raises:
        ConfigError: where it is missing.
    """
    if key not in values:
        raise ConfigError(f"{where}{'.' if where else ''}{key} is missing: give it a value")
    return values[key]


def section(values: Mapping[str, Any], key: str) -> Config:
    """Return a section.

    Raises:
        ConfigError: where it is missing, or has no keys that are words.
    """
    found: Config = checked(needed(values, key), dict[str, Any], key)
    return found


def whole(value: object, least: int, key: str, what: str = "", otherwise: str = "", most: int | None = None) -> int:
    """Return a whole number of `least` or more; `what` it counts (after a blank) and `otherwise` (after a comma) are for the message.

    Raises:
        ConfigError: where it is none, too small, or more than `most`, if that is given.
    """
    if not isinstance(value, int) or value < least or (most is not None and value > most):
        shown = str(value) if len(str(value)) < 40 else f"{str(value)[:20]}..."
        end = f" to {most}" if most is not None else ""
        raise ConfigError(f"{key}={shown} is not allowed: a whole number{what} from {least}{end}{otherwise}")
    return value


@dataclass(frozen=True)
class Node:
    """A section of the configuration that describes an object: its key, for messages; `_target_` and the arguments, nested ones too."""

    where: str
    values: Config

    def recipe(self) -> "functools.partial[Any]":
        """Check the section and return its target with the arguments filled in.

        Raises:
            ConfigError: names the key or value, and what is allowed.
        """
        return recipe(self.values, self.where)

    @property
    def name(self) -> str:
        """The `name` of what the section describes."""
        return str(self.values["name"])

    @property
    def sized_parts(self) -> list[str]:
        """The nested sections that have a hidden size; a baseline has none."""
        return [name for name, part in self.values.items() if isinstance(part, dict) and "hidden_size" in part]

    @property
    def hidden_size(self) -> int:
        """The hidden size of the first part that has one."""
        return int(self.values[self.sized_parts[0]]["hidden_size"])

    @property
    def size_unit(self) -> int:
        """The number that divides every hidden size: attention heads share it evenly."""
        return max(int(self.values[part].get("num_heads", 1)) for part in self.sized_parts)

    def with_hidden_size(self, size: int) -> "Node":
        """Return the section with another hidden size of each part that has one."""
        return Node(self.where, {**self.values, **{name: {**self.values[name], "hidden_size": size} for name in self.sized_parts}})

    def without(self, *keys: str) -> Config:
        """Return the values but for some keys."""
        return {key: value for key, value in self.values.items() if key not in keys}


def recipe_for(model: str, data: str, source: str | None) -> str | None:
    """Name the recipe that a model takes for a source by itself: the one that was found on it, or is for any; None where there is none.

    The recipe of `data=NAME` was found on the source that `conf/data/NAME.yaml` names; another named source has one under its own name.
    """
    name = f"{model}_{data}"
    if source is not None and FOR_ANY not in said_of_recipe(name):
        name = recipe_name(model, data, source)
    return name if (CONF / "tuned" / f"{name}.yaml").is_file() and not name.startswith(f"{model}_{data}-") else None


def recipe_name(model: str, data: str, source: str | None, conf: Path = CONF) -> str:
    """Name a recipe by the source it was found on: of the data's own source after the data, of another named one after that.

    Of one's own files, and of the bundled sample, the name has a dash and the file's: such a recipe is taken by its name alone.
    """
    home = yaml.safe_load((conf / "data" / f"{data}.yaml").read_text(encoding="utf-8")).get("source")
    if source is None or source == home:
        return f"{model}_{data}"
    is_named = source.isidentifier() and source != "sample"
    return f"{model}_{source}" if is_named else f"{model}_{data}-{file_name(Path(source).stem)}"


def said_of_recipe(name: str) -> str:
    """Return the comment at the top of a recipe, which says where it was found, with that of the recipe it builds on; "" without a file."""
    file = CONF / "tuned" / f"{name}.yaml"
    if not file.is_file():
        return ""
    text = file.read_text(encoding="utf-8")
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines()[1:])
    said = " ".join(line.removeprefix("# ") for line in lines)
    inherited = (said_of_recipe(other) for other in (yaml.safe_load(text) or {}).get("defaults", []) if isinstance(other, str))
    return " ".join(filter(None, [said, *inherited]))


@contextmanager
def naming_recipe(name: str | None) -> Iterator[None]:
    """Say of an unknown key whether it comes from the named recipe in conf/tuned, and how to leave it out.

    Raises:
        ConfigError: with that.
    """
    try:
        yield
    except UnknownKey as error:
        if error.key not in _recipe_keys(CONF / "tuned", name):
            raise
        how = f"~{error.key} leaves it out, tuned=null the whole recipe"
        raise ConfigError(f"{error}. It comes from the recipe conf/tuned/{name}.yaml: {how}") from None


def _recipe_keys(folder: Path, name: str | None) -> set[str]:
    """Return the keys that a recipe sets, including those of the recipes it builds on."""
    file = folder / f"{name}.yaml"
    if not file.is_file():
        return set()
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    inherited = [_recipe_keys(folder, other) for other in content.pop("defaults", []) if isinstance(other, str)]
    return set(flatten(content)).union(*inherited)


@dataclass(frozen=True)
class Finetune:
    """How a run that begins with another's weights goes on with them (`finetune`); see `training.finetuning`.

    Args:
        unfreeze_every_epochs: the head alone is trained first, and each time so many epochs later one group of layers more; None: all
            are trained from the first step.
        rate_decay: by what the learning rate of each group of layers is divided for the one below; 1: all have the same.
    """

    unfreeze_every_epochs: PositiveInt | None
    rate_decay: PositiveFloat

    @classmethod
    def of(cls, values: Config | None, init_from: str | None) -> "Finetune":
        """Turn the section into settings; None where a run was recorded before it was there.

        Raises:
            ConfigError: where nothing was trained before.
        """
        if values is None:
            return cls(None, 1.0)
        found: Finetune = checked(values, cls, "finetune")
        if found.rate_decay < 1:
            raise ConfigError(f"finetune.rate_decay={found.rate_decay} would train lower layers faster: give 1 (all alike) or more (2.6)")
        if found != cls(None, 1.0) and init_from is None:
            raise ConfigError(
                "finetune.unfreeze_every_epochs and finetune.rate_decay are for runs that begin with another's weights: add "
                "init_from=RUN_ID, or leave them out"
            )
        return found


@dataclass(frozen=True)
class Distillation:
    """How a network learns another run's answers beside the labels (`distillation`); see `training.distillation`.

    Args:
        temperature: T, by which log-odds are divided before they are compared; more of it shows more of what the teacher thinks unlikely.
        hard_weight: w of the labels' own loss, beside 1 - w of the teacher's.
    """

    temperature: PositiveFloat
    hard_weight: Annotated[float, Field(ge=0, lt=1)]

    @classmethod
    def of(cls, values: Config | None, distil_from: str | None, words: Iterable[str]) -> "Distillation | None":
        """Turn the section into settings; None without a teacher.

        Raises:
            ConfigError: where there is nobody to learn from, though it was typed how.
        """
        if distil_from is None:
            if typed := [word for word in words if word.lstrip("+").startswith("distillation.")]:
                raise ConfigError(f"{' '.join(typed)} is for runs that learn another's answers: add distil_from=RUN_ID, or leave it out")
            return None
        found: Distillation = checked(values or {}, cls, "distillation")
        return found


@dataclass(frozen=True)
class Compression:
    """How the weights of a network are made smaller (`compression`); see `training.pruning` and `evaluation.packing`.

    Args:
        sparsity: fraction of the weights of matrices that become zero, the smallest first; None: none.
        ramp: fraction of the training's steps over which sparsity rises to that; 0: at once, before the first step.
        scope: whether weights compete within all matrices together (`global`) or within each (`matrix`).
        int8: None; `weights`: 8 bits a weight are stored, and computed with in float32; `dynamic`: besides, recurrent layers run on
            PyTorch's int8 kernels.
    """

    sparsity: Annotated[float, Field(gt=0, lt=1)] | None = None
    ramp: Annotated[float, Field(ge=0, lt=1)] = 0.5
    scope: Literal["global", "matrix"] = "global"
    int8: Literal["weights", "dynamic"] | None = None

    @classmethod
    def of(cls, values: Config | None, words: Iterable[str]) -> "Compression":
        """Turn the section into settings; None where a run was recorded before it was there.

        Raises:
            ConfigError: where it was typed how to prune, but not how much.
        """
        found: Compression = checked(values or {}, cls, "compression")
        if found.sparsity is None and (typed := [word for word in words if word.startswith(("compression.ramp", "compression.scope"))]):
            raise ConfigError(f"{' '.join(typed)} says how to prune, but not how much: add compression.sparsity=0.8, or leave it out")
        return found

    @property
    def is_none(self) -> bool:
        """Whether weights stay as training left them."""
        return self.sparsity is None and self.int8 is None
