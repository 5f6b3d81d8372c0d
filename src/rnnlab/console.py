"""The commands by name: `rnnlab NAME ...` where the package is installed, `python src/NAME.py ...` in the repository.

Each is a configuration of conf/ and a function that takes its settings; modules are imported once the words have been checked.
"""

import difflib
import sys
from dataclasses import dataclass
from functools import partial
from importlib import import_module

from rnnlab.cli import main as compose_and_run
from rnnlab.paths import CONSOLE
from rnnlab.settings import Composed


@dataclass(frozen=True)
class Listed:
    """A command.

    Args:
        says: what it does, in a line.
        settings: the class of its settings, in the module of `commands` that has its name.
        is_own: whether that class takes what was composed as it is (`of`), or by its own fields.
        config: the name of its configuration.
    """

    says: str
    settings: str
    is_own: bool = False
    config: str = ""


ENTRIES = {
    "train": Listed("train a network, or fit a baseline; with -m every combination of values", "TrainSettings", True, "config"),
    "prepare": Listed("fetch and prepare data", "PrepareSettings", True),
    "compare": Listed("compare runs with statistical evidence", "CompareSettings"),
    "score": Listed("evaluate a run on other data", "ScoreSettings"),
    "predict": Listed("answer new inputs with a run", "PredictSettings"),
    "generate": Listed("let a run go on with a text or a piece", "GenerateSettings"),
    "export": Listed("write a run's network as ONNX or TorchScript, to run without rnnlab", "ExportSettings"),
    "complete": Listed("make the figures and models that the jobs of a study left for later", "CompleteSettings"),
    "reproduce": Listed("train a run again and compare its numbers", "ReproduceSettings", True),
    "sync": Listed("hand runs over to a tracking server that was away", "SyncSettings"),
    "clean": Listed("list or free what deleted and killed runs left", "CleanSettings"),
}
OTHERS = {"sweep": "train with -m: every combination of values", "ui": "open the runs in MLflow, on this machine only"}


def run(name: str, composed: Composed) -> float | None:
    """Run a command by its name."""
    entry, module = ENTRIES[name], import_module(f"rnnlab.commands.{name}")
    settings = getattr(module, entry.settings)
    found: float | None = getattr(module, name)(settings.of(composed) if entry.is_own else composed.typed(settings))
    return found


def start(name: str) -> None:
    """Run a command with the words of the command line."""
    compose_and_run(ENTRIES[name].config or name, partial(run, name))


def main() -> None:
    """Run the command that the first word names."""
    name, words = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if name in ("--help", "-h", "help"):
        print(_overview())
        return
    if name == "--version":
        print(f"{CONSOLE} {import_module('importlib.metadata').version(CONSOLE)}")
        return
    if name == "ui":
        import_module("rnnlab.commands.ui").serve()
        return
    if name == "sweep":
        name, words = "train", ["-m", *words]
    if name not in ENTRIES:
        near = difflib.get_close_matches(name, [*ENTRIES, *OTHERS], 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        print(f"error: {name!r} is no command.{hint} Commands: {', '.join([*ENTRIES, *OTHERS])}", file=sys.stderr)
        raise SystemExit(2)
    sys.argv = [sys.argv[0], *words]
    start(name)


def _overview() -> str:
    lines = [f"  {name:12}{says}" for name, says in {**{name: entry.says for name, entry in ENTRIES.items()}, **OTHERS}.items()]
    return "\n".join(
        [
            f"Usage: {CONSOLE} COMMAND [GROUP=CHOICE] [KEY=VALUE] ...",
            "",
            *lines,
            "",
            f"First try:              {CONSOLE} train model=gru data=speech data.source=sample",
            f"Settings of a command:  {CONSOLE} COMMAND --help",
        ]
    )
