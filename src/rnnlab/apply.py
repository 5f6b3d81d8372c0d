"""Use a finished run: measure it again, or predict with it."""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rich.console import Console
from rich.table import Table

from rnnlab.bundle import Bundle, load_bundle
from rnnlab.callbacks import shown
from rnnlab.command_line import CONF, ROOT
from rnnlab.config import Config, ConfigError, nearest, recipe, refuse_foreign_targets
from rnnlab.data.base import SequenceDataModule
from rnnlab.data.recordings import AUDIO_SUFFIXES
from rnnlab.evaluation import measure
from rnnlab.results import unit_of
from rnnlab.run import refuse_changed_data
from rnnlab.tracking import Client, connect, get_run, read_artifact

FORMATS = ("table", "csv", "json")


def score(config: Config) -> None:
    """Measure a run's chosen checkpoint.

    Raises:
        ValueError: the user's to mend.
    """
    client, bundle = _load(config)
    recorded = _recorded(client, config["run"], Path(config["paths"]["outputs"]))
    source = config["data"]["source"]
    changed = {"source": source} if source else {}
    data: SequenceDataModule = recipe(recorded["data"] | changed, "data")(config["paths"], recorded["seed"])
    if source:
        data.setup_as_test(bundle.data)
    else:
        data.setup()
        refuse_changed_data(client, config["run"], data)
    found = measure(bundle.model, data, "test")
    words = f"all {len(data.rows['test']):,} examples of {source}" if source else f"its test split ({len(data.rows['test']):,} examples)"
    table = Table(title=f"run {config['run']} on {words}", title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("")
    table.add_column("value", justify="right")
    for name, value in found.numbers.items():
        table.add_row(name, shown(value, unit_of(name, bundle.model.task)))
    Console(soft_wrap=True).print(table)
    if config["output"]:
        _write(found.table.to_csv(index=False), config["output"])


def predict(config: Config) -> None:
    """Predict from raw input.

    Raises:
        ValueError: the user's to mend.
    """
    if config["format"] not in FORMATS:
        raise ConfigError(f"format={config['format']} is not allowed.{nearest(config['format'], FORMATS)} Allowed: {', '.join(FORMATS)}")
    if not config["input"]:
        raise ConfigError("give something to predict from: input=FILE, input=[FILE,FILE] or input=FOLDER")
    given = config["input"] if isinstance(config["input"], list) else [config["input"]]
    files = [file for item in given for file in _files(str(item))]
    _, bundle = _load(config)
    answers = bundle.predict([str(file) for file in files])
    table = pd.DataFrame({"input": [str(file) for file in files]}).join(answers)
    if config["format"] == "json":
        text = json.dumps(table.to_dict("records"), indent=1, ensure_ascii=False) + "\n"
    elif config["format"] == "csv":
        text = table.to_csv(index=False)
    else:
        _print_table(table, config["output"])
        return
    if config["output"]:
        _write(text, config["output"])
    else:
        sys.stdout.write(text)


def _files(item: str) -> list[Path]:
    path = Path(item).expanduser()
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES)
        if not found:
            raise ConfigError(f"input={item}: no sound files in that folder")
        return found
    if not path.is_file():
        raise ConfigError(f"input={item}: no such file or folder")
    return [path]


def _print_table(table: pd.DataFrame, output: str | None) -> None:
    shown_table = Table(show_edge=False, pad_edge=False)
    scores = [name for name in table.columns if name.startswith("score/")]
    for heading in ("input", "prediction", "probability", "next best"):
        shown_table.add_column(heading, justify="right" if heading == "probability" else "left", no_wrap=True)
    for row in table.to_dict("records"):
        ranked = sorted(scores, key=lambda name: -row[name])[1:3]
        others = ", ".join(f"{name.removeprefix('score/')} {100 * row[name]:.1f} %" for name in ranked)
        shown_table.add_row(row["input"], str(row["prediction"]), f"{100 * row['confidence']:.1f} %", others)
    if output:
        with Path(output).open("w", encoding="utf-8") as file:
            Console(file=file, width=160).print(shown_table)
    else:
        Console(width=None if sys.stdout.isatty() else 200).print(shown_table)


def _load(config: Config) -> tuple[Client, Bundle]:
    if not config["run"]:
        raise ConfigError("give the run: run=RUN_ID (train.py prints it; `make ui` lists all)")
    client = connect(config["tracking"]["uri"], ROOT)
    get_run(client, config["run"])
    folder = read_artifact(client, config["run"], "bundle", Path(config["paths"]["outputs"]) / config["run"] / "fetched")
    return client, load_bundle(folder, CONF)


def _recorded(client: Client, run_id: str, outputs: Path) -> dict[str, Any]:
    file = read_artifact(client, run_id, "config.yaml", outputs / run_id / "fetched")
    recorded: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    refuse_foreign_targets(recorded, CONF)
    return recorded


def _write(text: str, file: str) -> None:
    Path(file).write_text(text, encoding="utf-8")
    print(f"written: {file}", file=sys.stderr)
