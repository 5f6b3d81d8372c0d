"""Turn one knob at a time around a centre, on spoken digits and on questions, and say which of them mattered.

python experiments/knobs/knobs.py run [speech] [trec] [examples]   the sweeps, all of them unless named; no job that was run before
python experiments/knobs/knobs.py report                           results.csv, the pictures, the tables of README.md and docs/knobs.md
"""

import csv
import re
import runpy
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np

from rnnlab.paths import HOME, root
from rnnlab.report.comparison import RunResult
from rnnlab.report.resampling import Sample, take
from rnnlab.report.runs import metric_of, read_run
from rnnlab.report.statistics import compare, holm, interval_of
from rnnlab.tasks import Metric
from rnnlab.tracking.parents import finished_run, read_plan
from rnnlab.tracking.tracker import Client, connect, find_runs

matplotlib.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
SEEDS = {"main": "seed=0,1,2", "examples": "seed=0,1"}
CENTRE = {
    "speech": "model=gru data=speech data.split=speaker data.fold=0,1,2,3,4,5 model.recurrence.hidden_size=64 epochs=4",
    "trec": "model=gru data=trec model.recurrence.hidden_size=64 epochs=6",
    "examples": "model=gru data=trec model.recurrence.hidden_size=64 epochs=3",
}
TITLES = {"speech": "spoken digits, speaker unknown", "trec": "TREC questions"}


@dataclass(frozen=True)
class Knob:
    """Hold what one sweep varies.

    Args:
        name: of its study, `knobs_<name>`.
        key: as it is typed.
        levels: its values, the centre among them.
        words: that hold besides the centre's.
    """

    name: str
    key: str
    levels: tuple[str, ...]
    words: str = ""


MAIN = {
    "speech": (
        Knob("rate", "optimizer.lr", ("0.001", "0.003", "0.01")),
        Knob("size", "model.recurrence.hidden_size", ("24", "64")),
        Knob("dropout", "model.head.dropout", ("0.2", "0.5")),
        Knob("pooling", "model.head.pooling", ("last", "mean_max")),
        Knob("augmentation", "data.loader.is_augmented", ("false", "true")),
    ),
    "trec": (
        Knob("rate", "optimizer.lr", ("0.001", "0.003", "0.01")),
        Knob("size", "model.recurrence.hidden_size", ("24", "64", "160")),
        Knob("dropout", "model.head.dropout", ("0.0", "0.2", "0.5")),
        Knob("pooling", "model.head.pooling", ("last", "mean_max", "attention")),
        Knob("augmentation", "data.loader.word_dropout", ("0.0", "0.1", "0.3")),
    ),
}
EXAMPLES = (  # one more value of every other knob, on questions only
    Knob("layers", "model.recurrence.num_layers", ("1", "2")),
    Knob("model", "model", ("srnn", "lstm", "gru")),
    Knob("activation", "cell.activation", ("tanh", "relu"), "model=srnn"),
    Knob("initialisation", "model.recurrence.initialisation", ("uniform", "orthogonal")),
    Knob("forget_bias", "cell.forget_bias", ("null", "1.0"), "model=lstm"),
    Knob("optimizer", "optimizer", ("adamw", "adam", "rmsprop", "sgd")),
    Knob("momentum", "optimizer.momentum", ("0.0", "0.9"), "optimizer=sgd optimizer.nesterov=false"),
    Knob("schedule", "scheduler", ("cosine", "none")),
    Knob("batch", "data.loader.batch_size", ("64", "256")),
    Knob("epochs", "epochs", ("3", "6")),
    Knob("loss", "model.loss.kind", ("null", "focal", "brier")),
    Knob("input_dropout", "frontend.dropout", ("0.0", "0.3")),
    Knob("variational", "frontend.variational_dropout", ("0.0", "0.3")),
    Knob("between_layers", "model.recurrence.dropout", ("0.0", "0.3"), "model.recurrence.num_layers=2"),
    Knob("recurrent_dropout", "model.recurrence.recurrent_dropout", ("0.0", "0.25"), "model.recurrence.backend=reference"),
    Knob("zoneout", "model.recurrence.zoneout", ("0.0", "0.1"), "model.recurrence.backend=reference"),
    Knob("batch_norm", "model.recurrence.has_batch_norm", ("false", "true")),
    Knob("residual", "model.recurrence.has_residual", ("false", "true"), "model.recurrence.num_layers=2"),
    Knob("layer_norm", "model.recurrence.has_layer_norm", ("false", "true")),
    Knob("decay", "optimizer.weight_decay", ("0.0", "0.01", "0.1")),
    Knob("l1", "model.regularisation.l1", ("0.0", "1e-05")),
    Knob("smoothing", "model.regularisation.label_smoothing", ("0.0", "0.1")),
    Knob("max_norm", "callbacks.max_norm", ("null", "1.0")),
    Knob("weight_clip", "callbacks.weight_clip", ("null", "0.1")),
    Knob("clipping", "trainer.gradient_clip_val", ("null", "1.0")),
    Knob("patience", "callbacks.early_stopping.patience", ("null", "1")),
    Knob("average", "callbacks.ema_decay", ("null", "0.98")),
)


def sweeps(asked: list[str]) -> Iterator[tuple[str, Knob]]:
    """Yield data and knob of each sweep."""
    for data, knobs in MAIN.items():
        if data in asked:
            yield from ((data, knob) for knob in knobs)
    if "examples" in asked:
        yield from (("trec", knob) for knob in EXAMPLES)


def words_of(data: str, knob: Knob) -> list[str]:
    """Return the words of a sweep: the centre's, but those that the knob or its own words replace; two seeds for examples, else three."""
    own = [*knob.words.split(), f"{knob.key}={','.join(knob.levels)}"]
    replaced = {word.partition("=")[0] for word in own}
    centre = [word for word in CENTRE["examples" if knob in EXAMPLES else data].split() if word.partition("=")[0] not in replaced]
    return [*centre, *own, SEEDS["examples" if knob in EXAMPLES else "main"]]


def run(asked: list[str]) -> None:
    """Start each sweep; what has run before, in whichever sweep, is not run again.

    Raises:
        SystemExit: where a sweep failed.
    """
    script = str(HOME / "src/train.py")
    for data, knob in sweeps(asked):
        sys.argv = [script, "-m", *words_of(data, knob), f"study.name=knobs_{knob.name}", "tracking.log_model=false"]
        try:
            runpy.run_path(script, run_name="__main__")  # in this process: starting one takes as long as a training
        except SystemExit as ended:
            if ended.code:
                raise


# -- what came of it ---------------------------------------------------------------------------------------------------


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
        raise SystemExit(f"knobs_{knob.name} was not run on {data}: python experiments/knobs/knobs.py run")
    jobs = read_plan(client, parents[0].info.run_id, scratch / parents[0].info.run_id)["jobs"]
    tracked: dict[str, list] = {value: [] for value in knob.levels}
    for job in jobs:
        finished = finished_run(find_runs(client, f"tags.identity = '{job['identity']}'"))
        if finished is None:
            raise SystemExit(f"knobs_{knob.name} on {data} is not done: python experiments/knobs/knobs.py run")
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
    start, end = f"<!-- {name}: made by knobs.py -->", f"<!-- end of {name} -->"
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
        name = f"{names[one.data]}, 3 epochs:" if one.knob in EXAMPLES else names[one.data]
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


def report() -> None:
    """Write what came of all sweeps."""
    client, known = connect(None, root()), {}
    with tempfile.TemporaryDirectory() as folder:
        turned = [read(client, data, knob, Path(folder), known) for data, knob in sweeps([*MAIN, "examples"])]
    main = {data: [one for one in turned if one.data == data and one.knob in MAIN[data]] for data in MAIN}
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


def main() -> None:
    """Do what is asked for."""
    match sys.argv[1:]:
        case ["run", *asked] if set(asked) <= {*MAIN, "examples"}:
            run(asked or [*MAIN, "examples"])
        case ["report"]:
            report()
        case _:
            sys.exit(str(__doc__))


if __name__ == "__main__":
    main()
