"""Write what the sweeps of hyperparameters showed: results.csv, the figures, the tables of README.md and of docs/knobs.md.

python experiments/knobs/summarise.py     after run.py
"""

import csv
import re
import runpy
import tempfile
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from rnnlab.paths import HOME, root
from rnnlab.report.comparison import RunResult
from rnnlab.report.resampling import Sample, take
from rnnlab.report.runs import metric_of, read_run
from rnnlab.report.statistics import compare, holm, interval_of
from rnnlab.tasks import Metric
from rnnlab.tracking.parents import finished_run, read_plan, with_runs
from rnnlab.tracking.store import Client, Run, connect, find_runs

matplotlib.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
PLAN = runpy.run_path(str(HERE / "run.py"), run_name="study")
Knob: Any = PLAN["Knob"]
TITLES = {"speech": "spoken digits, speaker unknown", "trec": "TREC questions"}


@dataclass(frozen=True)
class Level:
    """Hold the runs of one value of a knob, and their mean on test with its 95 % interval."""

    value: str
    runs: list[RunResult]
    sample: Sample
    low: float
    high: float


@dataclass
class Turned:
    """Hold what came of one knob.

    Args:
        data: that it was turned on.
        knob: as planned.
        levels: in order.
        p: of each pair of levels, corrected for all pairs of all five knobs on these data (Holm); {} of an example.
        gap: between the best and the worst level, with its interval.
    """

    data: str
    knob: Knob
    levels: list[Level]
    metric: Metric
    p: dict[tuple[str, str], float]
    gap: tuple[float, float, float]

    @property
    def mattered(self) -> bool:
        """Whether a difference between two of its levels is shown."""
        return any(p < 0.05 for p in self.p.values())


def read(client: Client, data: str, knob: Knob, scratch: Path, known: dict[str, RunResult]) -> Turned:
    """Return what came of a knob.

    Raises:
        SystemExit: where jobs are missing.
    """
    parents = [
        run for run in find_runs(client, f"tags.study = 'knobs_{knob.name}' and tags.kind = 'study'") if run.data.tags["data"] == data
    ]
    if not parents:
        raise SystemExit(f"knobs_{knob.name} was not run on {data}: python experiments/knobs/run.py")
    plan = read_plan(client, parents[0].info.run_id, scratch / parents[0].info.run_id)
    tracked: dict[str, list[Run]] = {value: [] for value in knob.levels}
    for job, runs in with_runs(client, plan["jobs"]):
        finished = finished_run(runs)
        if finished is None:
            raise SystemExit(f"knobs_{knob.name} on {data} is not done: python experiments/knobs/run.py")
        (value,) = (word.partition("=")[2].lower() for word in job["words"] if word.startswith(f"{knob.key}="))
        tracked[value].append(finished)
    metric = metric_of([run for runs in tracked.values() for run in runs], None)
    levels = []
    for value, runs in tracked.items():
        results = [known.setdefault(run.info.run_id, read_run(client, run, metric, "", scratch)) for run in runs]
        sample = take(results, metric)
        limits = interval_of(sample, metric) or (sample.mean, sample.mean)
        levels.append(Level(value, results, sample, *limits))
    best, worst = (choose(levels, key=lambda level: level.sample.mean) for choose in (max, min))
    found = compare(best.sample, worst.sample, metric)
    limits = (found.gain, found.gain) if found.low is None or found.high is None else (found.low, found.high)
    return Turned(data, knob, levels, metric, {}, (found.gain, *limits))


def judge(turned: list[Turned]) -> None:
    """Fill in the p-values, corrected for all pairs of these knobs together."""
    pairs = [(one, a, b) for one in turned for a, b in combinations(one.levels, 2)]
    found = [compare(a.sample, b.sample, one.metric).p for one, a, b in pairs]
    for (one, a, b), p in zip(pairs, holm([1.0 if p is None else p for p in found]), strict=True):
        one.p[a.value, b.value] = p


def table(turned: list[Turned]) -> str:
    """Write the knobs of one data set, the widest range first."""
    lines = [
        "| knob | values | test, mean of three seeds | best less worst | smallest corrected p | mattered |",
        "|---|---|---|---|---|---|",
    ]
    for one in sorted(turned, key=lambda one: -one.gap[0]):
        values = " / ".join(level.value for level in one.levels)
        means = " / ".join(f"{100 * level.sample.mean:.1f}" for level in one.levels)
        gap, low, high = (100 * number for number in one.gap)
        verdict = "shown" if one.mattered else "not shown"
        lines.append(
            f"| `{one.knob.key}` | {values} | {means} % | {gap:.1f} ({low:.1f} to {high:.1f}) | {min(one.p.values()):.2g} | {verdict} |"
        )
    return "\n".join(lines)


def picture(turned: list[Turned], file: Path) -> None:
    """Draw each knob's levels with their intervals, the widest range on top."""
    ordered = sorted(turned, key=lambda one: one.gap[0])
    figure, axes = plt.subplots(figsize=(7, 0.9 + 0.8 * len(ordered)))
    for place, one in enumerate(ordered):
        for level, offset in zip(one.levels, np.linspace(0.22, -0.22, len(one.levels)), strict=True):
            mean, low, high = (100 * number for number in (level.sample.mean, level.low, level.high))
            axes.errorbar(mean, place + offset, xerr=[[mean - low], [high - mean]], fmt="o", color="C0", markersize=4, linewidth=1)
            axes.annotate(f" {level.value}", (high, place + offset), va="center", fontsize=7)
    axes.set_yticks(range(len(ordered)), [one.knob.key for one in ordered], fontsize=8)
    axes.set_xlabel("test accuracy, %: mean of three seeds and 95 % interval")
    axes.set_title(TITLES[turned[0].data], fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(file, dpi=150)
    plt.close(figure)


def fill(file: Path, name: str, text: str) -> None:
    """Put a text between the marks of that name."""
    start, end = f"<!-- {name}: made by summarise.py -->", f"<!-- end of {name} -->"
    old = file.read_text(encoding="utf-8")
    if start not in old:
        raise SystemExit(f"{file} has no mark {start}")
    file.write_text(re.sub(f"{start}.*{end}", lambda _: f"{start}\n{text}\n{end}", old, flags=re.DOTALL), encoding="utf-8")


def measured(turned: list[Turned]) -> dict[str, str]:
    """Return what docs/knobs.md shows of each key."""
    names = {"speech": "digits", "trec": "TREC"}
    found: dict[str, list[str]] = {}
    for one in turned:
        means = " / ".join(f"{100 * level.sample.mean:.1f}" for level in one.levels)
        name = f"{names[one.data]}, 3 epochs:" if one.knob in PLAN["EXAMPLES"] else names[one.data]
        found.setdefault(one.knob.key, []).append(f"{name} {means} % at {' / '.join(level.value for level in one.levels)}")
    (rate,) = (one for one in turned if one.data == "trec" and one.knob.name == "rate")
    by_seed = [100 * run.metrics[f"test/{rate.metric.name}"] for run in rate.levels[1].runs]
    found["seed"] = [f"TREC, the centre: {' / '.join(f'{value:.1f}' for value in by_seed)} %"]
    return {key: "; ".join(parts) for key, parts in found.items()}


def fill_column(file: Path, found: dict[str, str]) -> None:
    """Put what was measured into the last column of the rows of those keys."""
    lines = file.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        cells = line.split(" | ")
        key = re.match(r"`([^`]+)`", cells[1]) if len(cells) > 3 else None
        if key and key[1] in found:
            lines[number] = " | ".join([*cells[:-1], f"{found[key[1]]} |"])
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Write what came of all sweeps."""
    client = connect(None, root())
    known: dict[str, RunResult] = {}
    with tempfile.TemporaryDirectory() as folder:
        turned = [read(client, data, knob, Path(folder), known) for data, knob in PLAN["sweeps"]([*PLAN["MAIN"], "examples"])]
    main = {data: [one for one in turned if one.data == data and one.knob in PLAN["MAIN"][data]] for data in PLAN["MAIN"]}
    for data, knobs in main.items():
        judge(knobs)
        picture(knobs, HERE / f"{data}.png")
        fill(HERE / "README.md", data, f"{table(knobs)}\n\n![Each knob's values on {TITLES[data]}, the widest range on top]({data}.png)")
        print(f"{TITLES[data]}\n{table(knobs)}\n")
    fill_column(HOME / "docs/knobs.md", measured(turned))
    with (HERE / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["data", "knob", "key", "value", "seed", "fold", "validation", "test", "fit_seconds", "run_id"])
        for one in turned:
            for level in one.levels:
                for each in level.runs:
                    name = one.metric.name
                    numbers = [each.metrics[f"best/{name}"], each.metrics[f"test/{name}"], round(each.metrics["time/fit_seconds"], 1)]
                    writer.writerow([one.data, one.knob.name, one.knob.key, level.value, each.seed, each.fold, *numbers, each.run_id])


if __name__ == "__main__":
    main()
