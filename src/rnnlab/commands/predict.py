"""Predict from raw input with a run's model (`src/predict.py`)."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rnnlab.commands.finished import NO_RUN, open_run, output_file, output_folder, write_text
from rnnlab.commands.follow import follow
from rnnlab.config import ConfigError, whole
from rnnlab.evaluation.bundle import Bundle
from rnnlab.insight.attention_maps import draw_maps
from rnnlab.insight.attribution import refusal
from rnnlab.insight.continuation import draw_continuation
from rnnlab.insight.explanations import explain
from rnnlab.settings import LARGEST_SEED, Paths, Store
from rnnlab.tasks.metrics import written

WORDS = ("input", "prediction", "next best", "next step", "target", "answer", "entities", "intent")


@dataclass(frozen=True)
class PredictSettings:
    """What `predict.py` is asked; conf/predict.yaml says what each key means."""

    paths: Paths
    run: str | None
    input: str | list[str] | None
    text: str | None
    format: Literal["table", "csv", "json"]
    output: str | None
    num_best: object
    beam_size: object
    explain: object
    rolls: str | None
    num_steps: object
    seed: object
    maps: str | None
    follow: bool
    chunk: object
    tracking: Store

    @property
    def inputs(self) -> list[str]:
        """What is given to predict from, `text` aside."""
        return self.input if isinstance(self.input, list) else [self.input] if self.input else []


def predict(settings: PredictSettings) -> None:
    """Predict from raw input.

    Raises:
        ValueError: the user's to mend.
    """
    if not settings.run:
        raise ConfigError(NO_RUN)
    if not settings.inputs and not settings.text:
        raise ConfigError(
            'give something to predict from: input=FILE, input=[FILE,FILE], input=FOLDER, input=- (standard input) or text="..."'
        )
    if settings.text and not settings.text.strip():
        raise ConfigError("text=... is blank: write something to predict from")
    output = output_file(settings.output)
    maps, rolls = output_folder(settings.maps, "maps"), output_folder(settings.rolls, "rolls")
    bundle = open_run(settings.run, settings.tracking, settings.paths).bundle
    bundle.search_with(settings.beam_size, settings.num_best)
    if settings.follow:
        follow(bundle, settings.inputs, settings.text, settings.chunk, settings.format)
        return
    inputs = bundle.reader.collect(settings.inputs, settings.text)
    if maps:
        _draw_maps(bundle, inputs, maps)
    if settings.explain:
        _explain(bundle, inputs, settings.explain)
    if rolls:
        _continue_pieces(bundle, inputs, rolls, settings)
    table = bundle.predict(inputs)
    if settings.format == "json":
        text = json.dumps(table.astype(object).where(table.notna(), None).to_dict("records"), indent=1, ensure_ascii=False) + "\n"
    elif settings.format == "csv":
        text = table.to_csv(index=False)
    else:
        _print_table(table, output)
        return
    if output:
        write_text(text, output)
    else:
        sys.stdout.write(text)


def _draw_maps(bundle: Bundle, inputs: list[str], folder: Path) -> None:
    """Draw what the network looks at while it answers each input."""
    drawn = 0
    for names, batch in bundle.batches(inputs):
        files = [folder / f"{drawn + place + 1:03d}.png" for place in range(len(names))]
        draw_maps(bundle.model, batch, files)
        drawn += len(files)
    print(f"written: {drawn} attention map{'s' if drawn > 1 else ''} in {folder}", file=sys.stderr)


def _explain(bundle: Bundle, inputs: list[str], folder: object) -> None:
    """Draw what carried each answer, write the numbers beside, and say how exact they are."""
    if not isinstance(folder, str):
        raise ConfigError(f"explain={str(folder).lower()} is not allowed: give a folder for pictures, explain=FOLDER")
    place, tables, missed = Path(folder).expanduser(), [], [0.0]
    if reason := refusal(bundle.model):
        raise ConfigError(f"explain={folder}: {reason}")
    if place.is_file():
        raise ConfigError(f"explain={folder} is a file: give a folder")
    num_drawn = 0
    for names, batch in bundle.batches(inputs):
        stems = [f"{num_drawn + number:03d}" for number in range(1, len(names) + 1)]
        found = explain(bundle.model, bundle.reader, batch, place, stems)
        tables.append(found.table.assign(input=found.table["input"].map(dict(zip(stems, names, strict=True)))))
        missed.append(found.most_missed)
        num_drawn += len(names)
    pd.concat(tables, ignore_index=True).to_csv(place / "shares.csv", index=False)
    print(
        f"written: pictures of {num_drawn} answer{'s' if num_drawn > 1 else ''} and shares.csv in {place}; the shares of each add up to "
        f"what its input changed within {100 * max(missed):.1g} %",
        file=sys.stderr,
    )


def _continue_pieces(bundle: Bundle, inputs: list[str], folder: Path, settings: PredictSettings) -> None:
    """Let the model go on with each piece; write the whole as a piano roll and draw it."""
    num_steps, seed = whole(settings.num_steps, 1, "num_steps", most=100_000), whole(settings.seed, 0, "seed", most=LARGEST_SEED)
    num_done = 0
    for _, batch in bundle.batches(inputs):
        for values_TK, length in zip(batch.inputs, batch.input_lengths.tolist(), strict=True):
            num_done += 1
            file, piece_TK = folder / f"{num_done:03d}.png", values_TK[:length]
            added_SK = draw_continuation(bundle.model, piece_TK, length, num_steps, seed, file)
            whole_TK = torch.cat([piece_TK, added_SK]).numpy()
            for suffix in bundle.reader.written_as:
                bundle.reader.write(whole_TK, file.with_suffix(suffix))
    print(f"written: {num_done} piece{'s' if num_done > 1 else ''} continued in {folder}", file=sys.stderr)


def _print_table(table: pd.DataFrame, output: Path | None) -> None:
    shown_table = Table(show_edge=False, pad_edge=False)
    rows = _rows(table)
    for heading in rows[0]:
        shown_table.add_column(
            heading, justify="left" if heading in WORDS else "right", no_wrap=heading not in ("input", "answer", "entities")
        )
    for row in rows[1:]:
        shown_table.add_row(*map(escape, row))
    if output:
        with output.open("w", encoding="utf-8") as file:
            Console(file=file, width=160).print(shown_table)
    else:
        Console(width=None if sys.stdout.isatty() else 200).print(shown_table)


def _rows(table: pd.DataFrame) -> list[list[str]]:
    """Return a heading and the rows to show; an input that has no answer keeps its place."""
    is_missing = table.drop(columns="input").isna().all(axis=1)
    if not is_missing.any():
        return _answered(table)
    rows = _answered(table[~is_missing])[:1]
    for place, is_without in enumerate(is_missing):
        one = table.iloc[place : place + 1]
        rows += [[str(one["input"].iloc[0]), *[""] * (len(rows[0]) - 1)]] if is_without else _answered(one)[1:]
    return rows


def _answered(table: pd.DataFrame) -> list[list[str]]:
    if "confidence" in table:
        return _rows_of_classes(table)
    if "next" in table:
        return _rows_of_language(table)
    if "tags" in table:
        return _rows_of_tags(table)
    if "nll" in table:
        return _rows_of_sets(table)
    return _rows_of_texts(table) if "prediction" in table else _rows_of_numbers(table)


def _rows_of_texts(table: pd.DataFrame) -> list[list[str]]:
    """Return one row for each answer, the best of an input first; without scores where each step has its label."""
    if "score" not in table:
        return [["input", "answer"], *([str(row["input"]), str(row["prediction"])] for row in table.to_dict("records"))]
    rows = [["input", "answer", "score"]]
    suffixes = ["", *(name.removeprefix("prediction") for name in table.columns if name.startswith("prediction_"))]
    for row in table.to_dict("records"):
        found = [suffix for suffix in suffixes if pd.notna(row[f"score{suffix}"])]
        rows += [
            [str(row["input"]) if not place else "", str(row[f"prediction{suffix}"]), f"{row[f'score{suffix}']:.3f}"]
            for place, suffix in enumerate(found)
        ]
    return rows


def _rows_of_language(table: pd.DataFrame) -> list[list[str]]:
    """Return for each text what it costs, and the most probable tokens after it."""
    costs = [name for name in ("bits_per_character", "perplexity") if name in table]
    rows = [["input", *(name.replace("_", " ") for name in costs), "next step"]]
    for row in table.to_dict("records"):
        following = zip(row["next"], row["next_probability"], strict=True)
        shown = ", ".join(f"{token!r} {100 * chance:.1f} %" for token, chance in following)
        values = ["" if pd.isna(row[name]) else written(row[name])[0] for name in costs]
        rows.append([str(row["input"]), *values, shown])
    return rows


def _rows_of_tags(table: pd.DataFrame) -> list[list[str]]:
    """Return for each sentence its tokens with their tags, where they have other than O, its entities where tags mark such, and its
    intent where it has one.
    """
    has_entities, has_intent = "entities" in table, "intent" in table
    rows = [[*(["input", "entities"] if has_entities else ["answer"]), *(["intent", "probability"] if has_intent else [])]]
    for row in table.to_dict("records"):
        pairs = zip(row["tokens"], row["tags"], strict=True)
        tagged = " ".join(token if has_entities and tag == "O" else f"{token}/{tag}" for token, tag in pairs)
        entities = ["; ".join(f"{kind}: {text}" for kind, text in row["entities"])] if has_entities else []
        rows.append([tagged, *entities, *([str(row["intent"]), f"{100 * row['intent_confidence']:.1f} %"] if has_intent else [])])
    return rows


def _rows_of_sets(table: pd.DataFrame) -> list[list[str]]:
    """Return for each piece how well its steps were foreseen, and the keys of the step that follows."""
    rows = [["input", "steps", "nats a step", "next step"]]
    for row in table.to_dict("records"):
        rows.append([str(row["input"]), str(len(row["prediction"])), f"{row['nll']:.3f}", row["prediction"][-1] or "silence"])
    return rows


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
            keys = [
                f"prediction/{name}",
                *(f"quantile/{name}/{level}" for level in levels),
                f"persistence/{name}" if f"persistence/{name}" in row else "persistence",
            ]
            rows.append([str(row["input"]), name, *written(*(row[key] for key in keys))])
    return rows
