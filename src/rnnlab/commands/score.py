"""Evaluate the chosen checkpoint of a run: on its test split, or on other labelled data (`src/score.py`)."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from rnnlab.commands.finished import open_run, output_file, write_text
from rnnlab.commands.tracked_training import refuse_changed_data
from rnnlab.config import Node
from rnnlab.data.base import SequenceDataModule
from rnnlab.evaluation.evaluate import evaluate
from rnnlab.paths import in_markup
from rnnlab.settings import Paths, Store
from rnnlab.tasks import Metric


@dataclass(frozen=True)
class Source:
    """The data to evaluate on (`data.source`); None: the run's own test split."""

    source: str | None


@dataclass(frozen=True)
class ScoreSettings:
    """What `score.py` is asked; conf/score.yaml says what each key means."""

    paths: Paths
    run: str | None
    data: Source
    output: str | None
    tracking: Store


def score(settings: ScoreSettings) -> None:
    """Evaluate a run's chosen checkpoint, and print its metrics.

    Raises:
        ValueError: the user can mend it; the message says how.
    """
    output = output_file(settings.output)
    run = open_run(settings.run, settings.tracking, settings.paths)
    bundle, source, recorded = run.bundle, settings.data.source, run.recorded.values
    node = Node("data", recorded["data"] | ({"source": source} if source else {}))
    data: SequenceDataModule = node.recipe()(settings.paths, recorded["seed"])
    if source:
        data.setup_as_test(bundle.reader)
        data.tell_remarks(Console(stderr=True, soft_wrap=True))
    else:
        data.setup()
        refuse_changed_data(run.tags, run.run_id, data)
    found = evaluate(bundle.model, data, "test")
    words = f"all {len(data.rows['test']):,} examples of {source}" if source else f"its test split ({len(data.rows['test']):,} examples)"
    table = Table(title=f"run {run.run_id} on {in_markup(words)}", title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("")
    table.add_column("value", justify="right")
    for name, value in found.numbers.items():
        table.add_row(in_markup(name), Metric.named(name, bundle.model.spec.unit).shown(value))
    Console(soft_wrap=True).print(table)
    if output:
        write_text(found.table.to_csv(index=False), output)
