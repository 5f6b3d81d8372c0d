"""The reference of configuration keys, made from `conf/` and from the signatures that check it: nothing in it is written twice.

Of each key: its default (the file's value), what is allowed (the annotation of the argument that takes it), and what it means (the
comment beside it; else what the docstring of the class says of its argument).
"""

import ast
import dataclasses
import functools
import inspect
import itertools
import re
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from places import HOME

CONF = HOME / "conf"
TARGET = "_target_"
GROUPS = ("model", "model/stack", "model/network", "model/head", "cell", "frontend", "data", "optimizer", "scheduler", "trainer")
"""In the order of reading; groups that are not named here follow."""
UNTYPED = ("hydra", "tuned")
"""Folders of conf/ whose keys are not a person's: help texts, recipes."""
COMMANDS = ("predict", "score", "compare", "reproduce", "prepare", "generate", "export", "sync", "clean", "complete")
SCRIPTS = {"config": "train"} | {name: name for name in COMMANDS}
OWNERS = {
    "model/stack": "rnnlab.models.birnn.BiRNN",
    "model/network": "rnnlab.models.birnn.BiRNN",
    "model/head": "rnnlab.models.birnn.BiRNN:head",
}
"""What takes the keys of files that name no class."""
AS_ONE = ("axes", "space")
"""Mappings that are one value: their keys are anybody's."""
ARGS = re.compile(r"^Args:\n(.*?)(?=^\S|\Z)", re.DOTALL | re.MULTILINE)
ARGUMENT = re.compile(r"^    (\w+(?:, \w+)*): (.*?)(?=^    \w|\Z)", re.DOTALL | re.MULTILINE)
Call = Callable[..., Any]


@dataclass(frozen=True)
class Key:
    """One line of the reference."""

    name: str
    default: str
    allowed: str
    meaning: str


@dataclass(frozen=True)
class Page:
    """A configuration file's part of the reference."""

    title: str
    note: str
    keys: list[Key]


def files() -> list[Path]:
    """Return the files of conf/ whose keys a person can type."""
    folders = [folder for folder in sorted(CONF.rglob("*")) if folder.is_dir() and folder.relative_to(CONF).parts[0] not in UNTYPED]
    groups = [*GROUPS, *(name for folder in folders if (name := folder.relative_to(CONF).as_posix()) not in GROUPS)]
    return [*(CONF / f"{name}.yaml" for name in SCRIPTS), *(file for group in groups for file in sorted((CONF / group).glob("*.yaml")))]


def pages() -> list[Page]:
    """Read every file; a key without a comment of its own takes the meaning that another file gives it."""
    read = [page(file) for file in files()]
    meanings: dict[str, str] = {}
    for key in (key for one in read for key in one.keys if key.meaning):
        meanings.setdefault(key.name, key.meaning)
    return [
        dataclasses.replace(one, keys=[dataclasses.replace(key, meaning=key.meaning or meanings.get(key.name, "")) for key in one.keys])
        for one in read
    ]


def page(file: Path) -> Page:
    """Read one file."""
    text = file.read_text(encoding="utf-8")
    place = file.relative_to(CONF).with_suffix("").as_posix()
    keys = list(keys_of(yaml.compose(text), text.splitlines(), prefix_of(file, text), owner(file)))
    note = " ".join(line.removeprefix("#").strip() for line in text.splitlines()[: first_key(text)] if not line.startswith("# @package"))
    group, _, choice = place.rpartition("/")
    return Page(f"{group}={choice}" if group else f"src/{SCRIPTS[choice]}.py", note, keys)


def owner(file: Path) -> Any:
    """Return what takes a file's keys, where no `_target_` in the file says it: that of the file it inherits, or None."""
    group = file.parent.relative_to(CONF).as_posix()
    if group in OWNERS:
        path, _, argument = OWNERS[group].partition(":")
        return hints(located(path))[argument] if argument else located(path)
    node = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    if TARGET in node:
        return located(node[TARGET])
    inherited = [name for name in node.get("defaults", []) if isinstance(name, str) and (file.parent / f"{name}.yaml").is_file()]
    return owner(file.parent / f"{inherited[0]}.yaml") if group != "." and inherited else None


def first_key(text: str) -> int:
    """Return how many lines of comments a file begins with."""
    lines = text.splitlines()
    return next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))


def prefix_of(file: Path, text: str) -> str:
    """Return what stands before a file's keys where they are typed."""
    package = re.match(r"# @package (\S+)", text)
    group = file.parent.relative_to(CONF).as_posix()
    if package:
        return "" if package[1] == "_global_" else f"{package[1]}."
    return {".": "", "model/stack": "model.", "model/network": "model."}.get(group, f"{group.replace('/', '.')}.")


def keys_of(node: Any, lines: list[str], prefix: str, call: Any) -> Iterator[Key]:
    """Walk a mapping's keys, the annotations that belong to them beside it."""
    pairs = {key.value: (key, value) for key, value in node.value} if node is not None else {}
    if TARGET in pairs:
        call = located(pairs[TARGET][1].value)
    for name, (key, value) in pairs.items():
        if name in (TARGET, "defaults") or (not prefix and name == "hydra"):
            continue
        hint = hints(call).get(name) if call is not None else None
        if isinstance(value, yaml.MappingNode) and value.value and name not in AS_ONE:
            yield from keys_of(value, lines, f"{prefix}{name}.", unwrapped(hint))
            continue
        yield Key(
            f"{prefix}{name}", written(value), allowed(hint, value), meaning(comment(key, value, lines), described(call).get(name, ""))
        )


def meaning(beside: str, said: str) -> str:
    """Choose between what stands beside a key in the file and what the docstring says: the one that says more."""
    return max(beside, said.rstrip("."), key=len)


def written(value: "yaml.Node") -> str:
    """Return a value as it stands in the file, on one line."""
    if isinstance(value, yaml.ScalarNode):
        return value.value if value.style is None else repr(value.value)
    plain = yaml.safe_load(yaml.serialize(value))
    return yaml.safe_dump(plain, default_flow_style=True, width=10_000, sort_keys=False).strip()


def comment(key: "yaml.Node", value: "yaml.Node", lines: list[str]) -> str:
    """Return what stands beside a key, and on lines of comments alone that follow, set in as far; else what stands above it."""
    end = value.end_mark.line if isinstance(value, yaml.ScalarNode) else key.start_mark.line
    rest = lines[end][value.end_mark.column if isinstance(value, yaml.ScalarNode) else 0 :]
    found = re.search(r"#\s*(.*)", rest)
    if not found:
        return above(key, lines)
    words, column = [found[1]], lines[end].index("#", len(lines[end]) - len(found[0]))
    for line in lines[end + 1 :]:
        if not re.match(rf"\s{{{column - 1},}}#", line):
            break
        words.append(line.strip().removeprefix("#").strip())
    return " ".join(words)


def above(key: "yaml.Node", lines: list[str]) -> str:
    """Return the comments on the lines before a key, set in as far as the key; those at a file's top are about the file."""
    words: list[str] = []
    for line in reversed(lines[first_key("\n".join(lines)) : key.start_mark.line]):
        if not re.match(rf" {{{key.start_mark.column}}}#", line):
            break
        words.insert(0, line.strip().removeprefix("#").strip())
    return " ".join(words)


# ----------------------------------------------------------------------------------------------------- what signatures say


def located(path: str) -> Call:
    """Import what a `_target_` names."""
    from rnnlab.config import locate

    return locate(path, path)


def hints(call: Any) -> dict[str, Any]:
    """Return the annotations of what takes the keys, ranges included."""
    if dataclasses.is_dataclass(call):
        return typing.get_type_hints(call, include_extras=True)
    taken = inspect.unwrap(call.__init__ if inspect.isclass(call) else call)
    return typing.get_type_hints(taken, include_extras=True)


def unwrapped(hint: Any) -> Any:
    """Return the dataclass that takes a node, where there is one."""
    return next((part for part in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(part)), None)


@functools.cache
def described(call: Any) -> dict[str, str]:
    """Return what docstrings say of each argument: of the class, of those it inherits from, and of those that they refer to."""
    found: dict[str, str] = {}
    elsewhere: dict[str, str] = {}
    todo, seen = [call], set()
    while todo:
        this = todo.pop(0)
        if this is None or this in seen or not str(getattr(this, "__module__", "")).startswith("rnnlab"):
            continue
        seen.add(this)
        text = inspect.cleandoc(this.__doc__ or "")
        for name, words in of_fields(this):
            found.setdefault(name, words)
        for names, words in ARGUMENT.findall(next(iter(ARGS.findall(text)), "")):
            for name in names.split(", "):
                (elsewhere if words.startswith("see ") else found).setdefault(name, " ".join(words.split()))
        todo += [*getattr(this, "__bases__", ()), *referred(text, this)]
    return {**elsewhere, **found}


def of_fields(this: Any) -> Iterator[tuple[str, str]]:
    """Yield the fields of a class that have a docstring below them, and what it says."""
    if not inspect.isclass(this):
        return
    definition = ast.parse(textwrap.dedent(inspect.getsource(this))).body[0]
    assert isinstance(definition, ast.ClassDef)
    for field, below in itertools.pairwise(definition.body):
        is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
        if is_text and isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            yield field.target.id, " ".join(str(below.value.value).split()).rstrip(".")  # type: ignore[attr-defined]  # a text, as asked


def referred(text: str, this: Any) -> list[Any]:
    """Return the classes that a docstring names."""
    there = vars(sys.modules[this.__module__])
    names = re.findall(r"`((?:rnnlab[.\w]*\.)?[A-Z]\w+)`", text)
    found = [located(name) if "." in name else there.get(name) for name in names]
    return [one for one in found if inspect.isclass(one)]


def allowed(hint: Any, value: "yaml.Node") -> str:
    """Say what an annotation allows; without one, what kind of value the file holds."""
    if hint is not None and hint is not Any:
        return in_words(hint)
    found = None if written(value).startswith("$") else yaml.safe_load(written(value))
    kinds: dict[type, str] = {bool: "true, false", int: "whole number", float: "number", str: "text", list: "list", dict: "keys"}
    return kinds.get(type(found), "")


def in_words(hint: Any) -> str:
    """Write an annotation as people read it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return f"{in_words(arguments[0])} {bounds(arguments[1:])}".strip()
    if origin is Literal:
        return ", ".join(str(choice) for choice in arguments)
    if origin in (typing.Union, types.UnionType):
        parts = [in_words(part) for part in arguments]
        return " or ".join(dict.fromkeys(part for part in parts if part))
    if origin in (list, tuple):
        inner = list(dict.fromkeys(in_words(part) for part in arguments if part is not Ellipsis))
        return f"list: {', '.join(inner)}"
    if origin is dict or hint is dict:
        return "keys to values"
    return {bool: "true, false", int: "whole number", float: "number", str: "text", types.NoneType: "null"}.get(hint, "")


def bounds(marks: tuple[Any, ...]) -> str:
    """Write the limits of a number."""
    words = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = [limit for mark in marks for limit in getattr(mark, "metadata", [mark])]
    found = [
        f"{sign} {getattr(limit, name):g}" for limit in limits for name, sign in words.items() if getattr(limit, name, None) is not None
    ]
    return ", ".join(found)
