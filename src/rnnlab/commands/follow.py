"""Predict while a sequence is still coming (`src/predict.py --follow`): an answer after each step, and the time that it took."""

import json
import sys
from collections.abc import Iterator

import pandas as pd

from rnnlab.config import ConfigError, whole
from rnnlab.contracts import Batch
from rnnlab.data.inputs import InputReader
from rnnlab.evaluation.bundle import Bundle
from rnnlab.evaluation.streaming import Stream, only
from rnnlab.paths import printable
from rnnlab.tasks.metrics import written

MOST_CHUNK = 1_000_000
LEFT_OUT = ("input", "log_probability")
"""Columns that say nothing after a single step."""


def follow(bundle: Bundle, given: list[str], text: str | None, chunk: object, form: str) -> None:
    """Answer after each chunk of steps of each input, as lines; then print the latency.

    Args:
        bundle: the model and its reader.
        given: files, or `-` for standard input, which is read line by line as it comes.
        text: one input as it is.
        chunk: steps between two answers.
        form: `table` (columns apart by tabs), `csv`, or `json` (an object a line).

    Raises:
        ValueError: where the model must see all of a sequence, or the input cannot be read as it comes.
    """
    size = whole(chunk, 1, "chunk", most=MOST_CHUNK)
    Stream(bundle.model)  # refuses before anything is read
    has_heading = form == "json"
    for name, batches in _sequences(bundle.reader, given, text):
        stream, num_read = Stream(bundle.model), 0
        for batch in batches:
            length = int(batch.input_lengths[0])
            for start in range(num_read, length, size):
                end = min(start + size, length)
                row = _row(bundle, stream, batch, start, end, name)
                if form == "table":  # the chances of all labels are for programs
                    row = {key: value for key, value in row.items() if not key.startswith("score/")}
                _print(row, form, has_heading)
                has_heading = True
            num_read = max(num_read, length)
        if stream.seconds:
            _tell(stream, name)


def _sequences(reader: InputReader, given: list[str], text: str | None) -> Iterator[tuple[str, Iterator[Batch]]]:
    """Yield each input's name and its batches of one sequence, each of which begins with all of the one before."""
    if "-" in given:
        if len(given) > 1 or text:
            raise ConfigError("input=- is one sequence that is read as it comes: give nothing beside it")
        if not reader.reads_on:
            raise ConfigError(f"data of the kind {reader.kind} cannot be read line by line as they come: give input=FILE")
        yield "-", _as_it_comes(reader)
        return
    for item in reader.collect(given, text):
        names, batch = reader.read([item])
        for place, name in enumerate(names):
            yield name, iter([only(batch, place)])


def _as_it_comes(reader: InputReader) -> Iterator[Batch]:
    """Read standard input line by line; yield what has come so far."""
    lines, num_steps = "", 0
    for line in sys.stdin:
        lines += line
        if not lines.strip() or reader.is_heading(lines):
            continue
        _, batch = reader.read([lines])
        if batch.size != 1:
            raise ConfigError("what came are several sequences: give one")
        if int(batch.input_lengths[0]) > num_steps:
            num_steps = int(batch.input_lengths[0])
            yield batch


def _row(bundle: Bundle, stream: Stream, batch: Batch, start: int, end: int, name: str) -> dict[str, object]:
    """Return the answer after these steps: which steps, when, and the task's columns."""
    table = bundle.named(stream.answer(batch, start, end))
    found: dict[str, object] = {"input": name, "step": end}
    if step_ms := bundle.model.spec.step_ms:
        found["seconds"] = round(end * step_ms / 1000, 3)
    answer = {str(key): value for key, value in table.iloc[0].to_dict().items()}
    found |= {key: value for key, value in answer.items() if key not in LEFT_OUT and not _is_missing(value)}
    return found | {"latency_ms": round(1000 * stream.seconds[-1], 3)}


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and pd.isna(value))


def _print(row: dict[str, object], form: str, has_heading: bool) -> None:
    if form == "json":
        line = json.dumps(row, ensure_ascii=False, default=lambda value: value.tolist())
    else:
        between = "," if form == "csv" else "\t"
        cells = [printable(shown) if isinstance(shown := _shown(value), str) else shown for value in row.values()]
        line = pd.DataFrame([cells], columns=list(row)).to_csv(index=False, header=not has_heading, sep=between).rstrip("\n")
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _shown(value: object) -> object:
    if isinstance(value, float):
        return written(value)[0]
    if isinstance(value, list):
        parts = [str(_shown(part)) for part in value]
        return (", " if any(" " in part.strip() for part in parts) else " ").join(parts)
    return value


def _tell(stream: Stream, name: str) -> None:
    found = stream.latency()
    factor = found.get("latency/real_time_factor")
    times = f"{found['latency/p50_ms']:.3g} ms each (p99 {found['latency/p99_ms']:.3g} ms)"
    words = f"{stream.num_steps:,} steps in {len(stream.seconds):,} answers, {times}"
    print(f"{printable(name[:60])}: {words}{f'; real-time factor {factor:.3g}' if factor else ''}", file=sys.stderr)
