"""Use a finished run: measure it again, or predict with it."""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rnnlab.bundle import Bundle, load_bundle
from rnnlab.callbacks import shown
from rnnlab.command_line import CONF, ROOT
from rnnlab.config import Config, ConfigError, nearest, recipe, refuse_foreign_targets
from rnnlab.data.base import SequenceDataModule
from rnnlab.data.recordings import AUDIO_SUFFIXES
from rnnlab.data.tables import match_column, read_table
from rnnlab.data.texts import TABLE_SUFFIXES, TEXT_NAMES
from rnnlab.evaluation import measure
from rnnlab.results import unit_of
from rnnlab.run import refuse_changed_data
from rnnlab.tracking import Client, connect, get_run, read_artifact

FORMATS = ("table", "csv", "json")
WORDS = ("input", "prediction", "next best", "target")


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
    given = config["input"] if isinstance(config["input"], list) else [config["input"]] if config["input"] else []
    if not given and not config["text"]:
        raise ConfigError(
            'give something to predict from: input=FILE, input=[FILE,FILE], input=FOLDER, input=- (standard input) or text="..."'
        )
    _, bundle = _load(config)
    table = bundle.predict(_raw_inputs([str(item) for item in given], config["text"], bundle.data))
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


def _raw_inputs(given: list[str], text: str | None, data: dict[str, Any]) -> list[str]:
    """Return what the bundle reads: texts, or paths of recordings or tables."""
    if data["kind"] == "text":
        return [line for item in given for line in _texts(item, data["prepare"])] + ([str(text)] if text else [])
    if text:
        raise ConfigError(f"text=... is for runs on texts; this one is on data of the kind {data['kind']}: give input=FILE")
    suffixes = AUDIO_SUFFIXES if data["kind"] == "speech" else TABLE_SUFFIXES
    return [str(file) for item in given for file in _files(item, suffixes, "sound files" if data["kind"] == "speech" else "tables")]


def _texts(item: str, prepare: dict[str, Any]) -> list[str]:
    """Read texts: a table's column, or one a line of any other file or of standard input."""
    if item == "-":
        return [line.strip() for line in sys.stdin if line.strip()]
    (file,) = _files(item, TABLE_SUFFIXES, "tables")[:1]
    if file.suffix.lower() not in TABLE_SUFFIXES:
        return [line.strip() for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines() if line.strip()]
    table = read_table(file, delimiter=prepare["delimiter"], has_header=prepare["has_header"])
    aliases = TEXT_NAMES if prepare["text_column"] == TEXT_NAMES[0] else ()
    return table.frame[str(match_column(table, prepare["text_column"], aliases))].tolist()


def _files(item: str, suffixes: set[str], what: str) -> list[Path]:
    path = Path(item).expanduser()
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in suffixes)
        if not found:
            raise ConfigError(f"input={item}: no {what} in that folder")
        return found
    if not path.is_file():
        raise ConfigError(f"input={item}: no such file or folder")
    return [path]


def _print_table(table: pd.DataFrame, output: str | None) -> None:
    shown_table = Table(show_edge=False, pad_edge=False)
    rows = _rows_of_classes(table) if "confidence" in table else _rows_of_numbers(table)
    for heading in rows[0]:
        shown_table.add_column(heading, justify="left" if heading in WORDS else "right", no_wrap=heading != "input")
    for row in rows[1:]:
        shown_table.add_row(*map(escape, row))
    if output:
        with Path(output).open("w", encoding="utf-8") as file:
            Console(file=file, width=160).print(shown_table)
    else:
        Console(width=None if sys.stdout.isatty() else 200).print(shown_table)


def _rows_of_classes(table: pd.DataFrame) -> list[list[str]]:
    scores = [name for name in table.columns if name.startswith("score/")]
    rows = [["input", "prediction", "probability", "next best"]]
    for row in table.to_dict("records"):
        ranked = sorted(scores, key=lambda name: -row[name])[1:3]
        others = ", ".join(f"{name.removeprefix('score/')} {100 * row[name]:.1f} %" for name in ranked)
        rows.append([str(row["input"]), str(row["prediction"]), f"{100 * row['confidence']:.1f} %", others])
    return rows


def _rows_of_numbers(table: pd.DataFrame) -> list[list[str]]:
    """Return one row for each input and target."""
    names = [name.removeprefix("prediction/") for name in table.columns if name.startswith("prediction/")]
    levels = [name.rpartition("/")[2] for name in table.columns if name.startswith(f"quantile/{names[0]}/")]
    rows = [["input", "target", "forecast", *(f"quantile {level}" for level in levels), "persistence"]]
    for row in table.to_dict("records"):
        for name in names:
            keys = [f"prediction/{name}", *(f"quantile/{name}/{level}" for level in levels), f"persistence/{name}"]
            rows.append([str(row["input"]), name, *(f"{row[key]:.5g}" for key in keys)])
    return rows


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
