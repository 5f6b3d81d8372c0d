"""Two runs side by side: what differs in their configuration, their metrics, their curves, and the examples on which they differ."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from rnnlab.report import runs
from rnnlab.report.per_unit import is_loss, rights
from rnnlab.tasks.metrics import MEASURED_EVERY_EPOCH, is_result, written
from rnnlab.tracking.results import read_predictions, refuse_changed_results
from rnnlab.tracking.store import Client, Run, find_run, metric_history

NUM_SHOWN = 10
console = Console(soft_wrap=True)


def compare_two(client: Client, run_ids: list[str], folder: Path, scratch: Path) -> None:
    """Print how two runs differ; write their curves and the examples on which they differ.

    Raises:
        ValueError: if they are not two finished runs that were measured on the same test examples.
    """
    if len(run_ids) != 2 or run_ids[0] == run_ids[1]:
        raise ValueError(f"run={','.join(run_ids)}: give two run ids, A,B; groups of runs are compared by study=, parent= or filter=")
    first, second = (find_run(client, run_id) for run_id in run_ids)
    for run in (first, second):
        if run.info.status != "FINISHED" or run.data.tags.get("kind") == "study":
            raise ValueError(f"run={run.info.run_id} ({run.info.run_name}) is no finished run of one training")
        refuse_changed_results(run)
    folder.mkdir(parents=True, exist_ok=True)
    print_differences(first, second)
    print_metrics(first, second)
    draw_curves(client, first, second, folder / "curves.png")
    print_examples(client, first, second, folder, scratch)
    console.print(f"\nfiles: {folder}", highlight=False)


def _table(title: str, headings: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="left" if heading == headings[0] else "right")
    return table


def print_differences(first: Run, second: Run) -> None:
    """Print the parameters, and what else was recorded, in which two runs differ."""
    table = _table("configuration", ("", str(first.info.run_name), str(second.info.run_name)))
    ours, theirs = first.data.params, second.data.params
    tags = ("git_commit", "code_hash", "source_hash", "prepared_key", "test_hash", "num_threads", "host")
    rows = [(key, ours.get(key, "none"), theirs.get(key, "none")) for key in sorted(set(ours) | set(theirs))]
    rows += [(key, first.data.tags.get(key, "none")[:12], second.data.tags.get(key, "none")[:12]) for key in tags]
    differing = [row for row in rows if row[1] != row[2]]
    for row in differing:
        table.add_row(*row)
    console.print(table if differing else "configuration: the same")


def print_metrics(first: Run, second: Run) -> None:
    """Print the metrics that a run has once."""
    table = _table("\nmetrics", ("", str(first.info.run_name), str(second.info.run_name), "difference"))
    for name in sorted(set(first.data.metrics) & set(second.data.metrics)):
        if is_result(name) or name.startswith(("time/", "latency/", *MEASURED_EVERY_EPOCH, "model/")):
            ours, theirs = first.data.metrics[name], second.data.metrics[name]
            table.add_row(name, *written(ours, theirs), f"{ours - theirs:+.3g}")
    console.print(table)


def draw_curves(client: Client, first: Run, second: Run, file: Path) -> None:
    """Draw losses and the metric of both runs over optimizer steps."""
    names = [name for name in ("train/loss", "val/loss", f"val/{first.data.tags.get('metric')}") if name in first.data.metrics]
    if not names:  # baselines have no curves
        return
    figure = Figure(figsize=(4.5 * len(names), 3.5), layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        for run, style in ((first, "-"), (second, "--")):
            points = metric_history(client, run.info.run_id, name)
            axes.plot([step for step, _ in points], [value for _, value in points], style, label=str(run.info.run_name))
        axes.set(title=name, xlabel="optimizer step")
    figure.axes[0].legend()
    figure.savefig(file, dpi=120)


def gains(first: pd.DataFrame, second: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return how each test example stands in two tables of predictions: `first`, `second`, and `gain`, positive if the first is better."""
    values = [pd.Series(rights(table, metric), name=name) for table, name in ((first, "first"), (second, "second"))]
    both = pd.concat(values, axis=1).rename_axis("example_id")
    return both.assign(gain=(both["first"] - both["second"]) * (-1 if is_loss(metric) else 1))


def print_examples(client: Client, first: Run, second: Run, folder: Path, scratch: Path) -> None:
    """Print on how many test examples one is right (or better) and the other is not, the clearest by id, and write all of them."""
    if first.data.tags.get("test_hash") != second.data.tags.get("test_hash"):
        console.print("\ntheir test examples differ: predictions are not compared")
        return
    metric = runs.metric_of([first, second], None)
    tables = [read_predictions(client, run, "test", scratch) for run in (first, second)]
    both = gains(tables[0], tables[1], metric.name)
    gain = both["gain"]
    named = [
        table.set_index("example_id").filter(regex="^(prediction|target)").add_suffix(f"/{end}")
        for table, end in zip(tables, ("first", "second"), strict=True)
    ]
    differing = pd.concat([both, *named], axis=1)[gain != 0].sort_values("gain", key=abs, ascending=False, kind="stable")
    differing.to_csv(folder / "differing_examples.csv")
    words = ("right", "wrong") if not is_loss(metric.name) else ("better", "worse")
    console.print(
        f"\nof {len(both)} test examples {first.info.run_name} is {words[0]} and {second.info.run_name} {words[1]} on {(gain > 0).sum()}, "
        f"the other way round on {(gain < 0).sum()}",
        highlight=False,
    )
    for title, part in (("first", differing[differing["gain"] > 0]), ("second", differing[differing["gain"] < 0])):
        ids = ", ".join(map(str, part.index[:NUM_SHOWN]))
        console.print(f"  {words[0]} in the {title} only: {ids}{' ...' if len(part) > NUM_SHOWN else ''}", highlight=False, markup=False)
