"""The rules of the project, read from its syntax trees: who may import whom, and how files are written."""

import ast
import inspect
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from rnnlab.config import TARGET, locate
from rnnlab.paths import HOME

PACKAGE, CONF = HOME / "src" / "rnnlab", HOME / "conf"
SCRIPTS = {file.stem for file in (HOME / "src").glob("*.py")}
FILES = {file.relative_to(PACKAGE).as_posix(): file for file in sorted(PACKAGE.rglob("*.py"))}
MODULES = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in FILES}

# Each room, a folder or a module of the package, imports only rooms on lines below its own.
ORDER = """
__main__
console
commands
studies
cli
training
evaluation
insight report
models
layers baselines
cells data tasks tracking
help_page settings
config
contracts paths principles
"""
LEVELS = {room: level for level, line in enumerate(reversed(ORDER.split("\n"))) for room in line.split()}
KINDS = ("sound", "text", "series", "music", "synthetic")
"""Rooms within data/ that know nothing of each other: what two of them need lies in data/ itself."""
# Libraries that only some files know.
ONLY_IN = {
    "mlflow": {"tracking/store.py", "tracking/tracker.py", "tracking/entries.py", "tracking/leftovers.py", "evaluation/served_model.py"},
    "torchaudio": {"data/sound/audio.py"},
    "torchtext": {"data/tokens.py"},
    "sentencepiece": {"data/tokens.py"},
    "sacremoses": {"data/tokens.py", "tasks/text_metrics.py"},
    "sacrebleu": {"tasks/text_metrics.py"},
    "onnx": {"evaluation/export.py"},
    "onnxruntime": {"evaluation/export.py"},
    "mido": {"data/music/midi.py"},
    "jiwer": {"tasks/text_metrics.py"},
    "sklearn": {"baselines/linear.py", "baselines/bag_of_words.py"},
    "statsmodels": {"baselines/linear.py", "report/statistics.py"},
    "optuna": {"studies/trials.py", "report/search_figures.py"},
    "plotly": {"report/figures.py", "report/search_figures.py", "report/page.py"},
    "jinja2": {"report/page.py"},
    "hydra": {"cli.py", "studies/sweep.py", "studies/runner.py"},
    "omegaconf": {"cli.py", "studies/sweep.py", "studies/runner.py"},
}


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


@cache
def imported(file: Path) -> list[str]:
    """Return the modules that a file imports, anywhere in it, also by `import_module("...")`."""
    names = []
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno} imports relatively"
            of_module = [f"{node.module}.{alias.name}" for alias in node.names]
            names += [name if name.removeprefix("rnnlab.") in MODULES else str(node.module) for name in of_module]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names += [argument.value for argument in node.args if isinstance(argument, ast.Constant) and isinstance(argument.value, str)]
    return names


def imported_of_package(file: Path) -> list[str]:
    return [name.removeprefix("rnnlab.") for name in imported(file) if name.startswith("rnnlab.")]


def room_of(name: str) -> str:
    """Return the folder of a file or module below rnnlab, or its own name."""
    return name.replace("/", ".").split(".")[0]


def test_a_room_imports_only_rooms_below_it() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, file in FILES.items()
        for other in imported_of_package(file)
        if room_of(name) != room_of(other) and LEVELS[room_of(other)] >= LEVELS[room_of(name)]
    ]
    assert wrong == []


def test_few_modules_stand_beside_the_rooms() -> None:
    assert {name for name in FILES if "/" not in name} == {
        f"{name}.py" for name in ("__init__", "__main__", "cli", "config", "console", "contracts", "help_page", "paths", "settings")
    }
    assert {room_of(name.removesuffix(".py")) for name in FILES} - {"__init__"} == LEVELS.keys()


def kind_of(module: str) -> str:
    """Return the kind of data that a module is about, or nothing."""
    parts = module.replace("/", ".").split(".")
    return parts[1] if parts[0] == "data" and parts[1] in KINDS else ""


def test_a_kind_of_data_is_known_to_its_own_room_alone() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, file in FILES.items()
        for other in imported_of_package(file)
        if kind_of(other) and kind_of(other) != kind_of(name)
    ]
    assert wrong == []


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_only_where_it_belongs(library: str) -> None:
    found = {name for name, file in FILES.items() if any(other.split(".")[0] == library for other in imported(file))}
    assert sorted(found - ONLY_IN[library]) == []


def test_nobody_imports_a_script_or_an_experiment() -> None:
    everything = [*FILES.values(), *(HOME / "src").glob("*.py"), *(HOME / "tests").rglob("*.py")]
    wrong = [
        f"{file.name} imports {name}" for file in everything for name in imported(file) if name.split(".")[0] in SCRIPTS | {"experiments"}
    ]
    assert wrong == []


def test_scripts_are_a_docstring_and_one_call() -> None:
    for script in SCRIPTS:
        tree = tree_of(HOME / "src" / f"{script}.py")
        documented = ast.get_docstring(tree)
        assert documented, script
        assert f"python src/{script}.py" in documented
        assert len(ast.unparse(tree).splitlines()) - len(documented.splitlines()) <= 25


def is_swallowing(handler: ast.ExceptHandler) -> bool:
    is_broad = handler.type is None or ast.unparse(handler.type) in ("Exception", "BaseException")
    return is_broad and all(isinstance(step, ast.Pass | ast.Continue) or ast.unparse(step) == "..." for step in handler.body)


def test_no_error_is_swallowed() -> None:
    wrong = []
    for name, file in FILES.items():
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.ExceptHandler) and is_swallowing(node):
                wrong.append(f"{name}:{node.lineno}")
            if isinstance(node, ast.Call) and ast.unparse(node) in ("suppress(Exception)", "contextlib.suppress(Exception)"):
                wrong.append(f"{name}:{node.lineno}")
    assert wrong == []


def test_no_file_is_named_after_nothing() -> None:
    names = {
        part for file in [*FILES, *(f.relative_to(HOME).as_posix() for f in (HOME / "tests").rglob("*.py"))] for part in Path(file).parts
    }
    assert not names & {f"{word}{end}" for word in ("utils", "util", "helpers", "helper", "common", "misc") for end in ("", ".py")}


Function = ast.FunctionDef | ast.AsyncFunctionDef


def public(node: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, Function | ast.ClassDef]]:
    """Walk public classes, functions and methods; what is defined inside a function is nobody else's."""
    for inner in node.body:
        if isinstance(inner, ast.ClassDef) and not inner.name.startswith("_"):
            yield f"{prefix}{inner.name}", inner
            yield from public(inner, f"{prefix}{inner.name}.")
        if isinstance(inner, Function) and (not inner.name.startswith("_") or inner.name == "__init__"):
            yield f"{prefix}{inner.name}", inner


def is_documented(file: Path, path: str, node: Function | ast.ClassDef) -> bool:
    """Tell whether a definition has a docstring, its own or that of the method it overrides."""
    owner, _, name = path.rpartition(".")
    if ast.get_docstring(node) or name == "__init__":
        return True
    module = import_module(".".join(file.relative_to(HOME / "src").with_suffix("").parts))
    return bool(owner and inspect.getdoc(getattr(getattr(module, owner), name)))


def everywhere(is_wrong: Callable[[str, Function | ast.ClassDef], bool]) -> list[str]:
    """List the public definitions of which something is true."""
    return [f"{name}:{node.lineno} {path}" for name, file in FILES.items() for path, node in public(tree_of(file)) if is_wrong(path, node)]


def test_every_file_and_all_that_is_public_has_a_docstring() -> None:
    assert [name for name, file in FILES.items() if file.stat().st_size and not ast.get_docstring(tree_of(file))] == []
    everything = [(file, path, node) for file in FILES.values() for path, node in public(tree_of(file))]
    assert [f"{file}:{node.lineno} {path}" for file, path, node in everything if not is_documented(file, path, node)] == []


def is_unannotated(function: Function) -> bool:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *filter(None, [arguments.vararg, arguments.kwarg])]
    return function.returns is None or any(a.annotation is None and a.arg not in ("self", "cls") for a in named)


def test_every_public_signature_is_annotated() -> None:
    assert everywhere(lambda path, node: isinstance(node, Function) and is_unannotated(node)) == []


def functions() -> Iterator[tuple[str, Function]]:
    for name, file in FILES.items():
        for node in ast.walk(tree_of(file)):
            if isinstance(node, Function):
                yield f"{name}:{node.lineno} {node.name}", node


def passes_keywords_on(function: Function) -> bool:
    """Tell whether `**kwargs` is used; taking it only to ignore it is sometimes a library's interface."""
    name = function.args.kwarg.arg if function.args.kwarg else None
    return any(isinstance(node, ast.Name) and node.id == name for step in function.body for node in ast.walk(step))


def test_nothing_passes_on_keywords_that_its_signature_does_not_name() -> None:
    assert [place for place, node in functions() if passes_keywords_on(node)] == []


NO_CHOICES = {"__init__", "base", "weights", "activations", "packing", "optimization"}
"""Files of these rooms that hold no model or cell."""


@pytest.mark.parametrize(("group", "room"), [("model", "models"), ("cell", "cells")])
def test_a_choice_is_one_yaml_one_file_and_one_class_of_the_same_name(group: str, room: str) -> None:
    written = {file.stem for file in (CONF / group).glob("*.yaml")}
    shared = {"__init__", "base", "weights", "activations", "packing", "scan", "int8", "optimization"}
    assert written == {file.stem for file in (PACKAGE / room).glob("*.py")} - shared
    for name in written:
        node = yaml.safe_load((CONF / group / f"{name}.yaml").read_text(encoding="utf-8"))
        target = node.get(group, node)[TARGET]  # a file of the package _global_ names its group
        assert target.rpartition(".")[0] == f"rnnlab.{room}.{name}"


def targets() -> list[tuple[str, str]]:
    """Return (place, path) of every `_target_` in conf/."""
    found = []
    for file in sorted(CONF.rglob("*.yaml")):
        nodes = [yaml.safe_load(file.read_text(encoding="utf-8"))]
        while nodes:
            node = nodes.pop()
            if isinstance(node, dict):
                found += [(file.relative_to(CONF).as_posix(), node[TARGET])] if TARGET in node else []
                nodes += node.values()
            elif isinstance(node, list):
                nodes += node
    return found


@pytest.mark.parametrize(("place", "path"), targets())
def test_every_target_in_conf_can_be_imported(place: str, path: str) -> None:
    assert callable(locate(path, place))


def num_lines(node: Function) -> int:
    """Count a function's lines, its docstring aside."""
    documented = ast.get_docstring(node, clean=False)
    return node.end_lineno - node.lineno + 1 - (len(documented.splitlines()) if documented else 0)


def too_long(most_of_function: int, most_of_file: int) -> list[str]:
    long = [f"{place} {num_lines(node)}" for place, node in functions() if num_lines(node) > most_of_function]
    counts = {name: len(file.read_text(encoding="utf-8").splitlines()) for name, file in FILES.items()}
    return long + [f"{name} {count}" for name, count in counts.items() if count > most_of_file]


def test_functions_have_at_most_45_lines_and_files_at_most_450() -> None:
    assert too_long(45, 450) == []


def test_constructors_take_at_most_12_arguments() -> None:
    many = {place.split(":")[0]: len(node.args.args) - 1 for place, node in functions() if node.name == "__init__"}
    # The signature is the schema: Seq2Seq's 14 arguments are the keys of conf/model/seq2seq.yaml, side by side.
    assert {place: count for place, count in many.items() if count > 12} == {"models/seq2seq.py": 14}


def test_no_two_public_classes_share_a_name() -> None:
    found: dict[str, list[str]] = {}
    for name, file in FILES.items():
        for node in tree_of(file).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(name)
    assert {name: files for name, files in found.items() if len(files) > 1} == {}
