"""Compare small networks with the large one they come from: quality against size and latency; write results.csv and frontier.png.

python experiments/compression/run.py train [fsdd trec]    train; a job that has run before is not run again
python experiments/compression/run.py table                measure latencies, write results.csv and frontier.png, print README.md's table
"""

import gc
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from rnnlab.cli import compose_config
from rnnlab.commands.train import train as run_training
from rnnlab.config import Node
from rnnlab.evaluation.bundle import load_bundle, size_kb
from rnnlab.evaluation.streaming import only
from rnnlab.paths import root
from rnnlab.settings import Paths, TrainSettings
from rnnlab.tracking.recorded import read_config
from rnnlab.tracking.store import connect, find_runs, folder_of

HERE, NAME = Path(__file__).parent, "compression"
SEEDS = (0, 1, 2)
NUM_EXAMPLES, NUM_ROUNDS = 40, 7
COMMON = f"tracking.experiment={NAME} tracking.log_model=false trainer.num_threads=1"
SMALL = {
    "fsdd": "frontend.channels=[8,12,12] model.recurrence.hidden_size=32 model.head.dropout=0.1 epochs=60",
    "trec": "frontend.embedding_size=24 frontend.num_ngrams=[2000] model.recurrence.hidden_size=48 frontend.dropout=0.3",
}
TUNED = {"fsdd": "epochs=12 optimizer.lr=0.001", "trec": "epochs=4 optimizer.lr=0.0005"}
INT8 = "compression.int8=weights"


@dataclass(frozen=True)
class Variant:
    """A way to a network: its name, and the words that make it; {large} is the run it comes from."""

    name: str
    words: str


def variants(data: str) -> Iterator[Variant]:
    """Yield the ways, the large network first, since others come from it."""
    yield Variant("large", "model=birnn")
    yield Variant("large, int8", f"model=birnn init_from={{large}} epochs=0 {INT8}")
    yield Variant("large, int8 kernels", "model=birnn init_from={large} epochs=0 compression.int8=dynamic")
    for sparsity in (0.8, 0.9):
        words = f"compression.sparsity={sparsity} {INT8} {TUNED[data]}"
        yield Variant(f"large, {sparsity:.0%} zeros, int8", f"model=birnn init_from={{large}} {words}")
    yield Variant("small, alone, int8", f"model=birnn {SMALL[data]} {INT8}")
    yield Variant("small, distilled, int8", f"model=birnn {SMALL[data]} {INT8} distil_from={{large}}")


def run_id(name: str) -> str | None:
    """Return the finished run of that name, if there is one."""
    wanted = f"tags.mlflow.runName = '{name}' and attributes.status = 'FINISHED'"
    runs = find_runs(connect(None, root()), wanted, NAME)
    return str(runs[0].info.run_id) if runs else None


def job_name(data: str, variant: str, seed: int) -> str:
    """Name a job's run."""
    return f"{data}_{variant.replace(',', '').replace('%', '').replace(' ', '-')}_{seed}"


def do(name: str, words: str) -> None:
    """Train under that name, unless that was done before."""
    if run_id(name) is None:
        begun = time.monotonic()
        run_training(TrainSettings.of(compose_config("config", [*COMMON.split(), *words.split(), f"name={name}"])))
        print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)
        gc.collect()


def train(names: list[str]) -> None:
    """Train baselines and networks, one seed after another."""
    for data in names:
        do(f"{data}_baseline_0", f"model=baseline data={data}")
    for seed in SEEDS:
        for data in names:
            large = ""
            for variant in variants(data):
                name = job_name(data, variant.name, seed)
                do(name, f"data={data} seed={seed} {variant.words.format(large=large)}")
                large = large or str(run_id(name))


def read_runs() -> pd.DataFrame:
    """Return what was tracked, one row a run."""
    client, rows = connect(None, root()), []
    for data in SMALL:
        for variant in ("baseline", *(each.name for each in variants(data))):
            for seed in SEEDS:
                name = job_name(data, variant, seed)
                if (found := run_id(name)) is None:
                    continue
                run = client.get_run(found)
                metrics, tags = run.data.metrics, run.data.tags
                bundle = folder_of(run, Paths.below(root())) / "artifacts" / "bundle"
                rows.append(
                    {
                        "data": data, "variant": variant if variant != "baseline" else f"baseline ({tags['baseline']})", "seed": seed,
                        "validation": metrics["best/accuracy"], "test": metrics["test/accuracy"], "size_kb": size_kb(bundle),
                        "bundle_kb": sum(file.stat().st_size for file in bundle.iterdir()) / 1000,
                        "parameters": int(metrics["model/num_parameters"]), "seconds": round(metrics["time/fit_seconds"], 1),
                        "run": found, "test_hash": tags["test_hash"], "git_commit": tags.get("git_commit", "")[:10],
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def measure(runs: pd.DataFrame) -> pd.DataFrame:
    """Return p50 and p99 of an answer to one example in ms, of each variant's first run, all of them in turn and that several times."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rows = []
    for data, group in runs.groupby("data", sort=False):
        paths, client = Paths.below(root()), connect(None, root())
        first = group.drop_duplicates("variant")
        folders = [folder_of(client.get_run(run), paths) for run in first["run"]]
        models = [load_bundle(folder / "artifacts" / "bundle").model for folder in folders]
        recorded = read_config(client, first["run"].iloc[0], folders[0] / "recorded", paths).values
        module = Node("data", recorded["data"]).recipe()(paths, 0)
        module.setup()
        batch = next(iter(module.plain_dataloader("test")))
        examples = [only(batch, place) for place in range(min(NUM_EXAMPLES, batch.size))]
        taken = np.zeros((NUM_ROUNDS, len(models), len(examples)))
        with torch.inference_mode():
            for turn in range(-1, NUM_ROUNDS):  # the first makes kernels ready
                for place, model in enumerate(models):
                    for number, example in enumerate(examples):
                        begun = time.perf_counter()
                        model.predict(example)
                        taken[max(turn, 0), place, number] = 1000 * (time.perf_counter() - begun)
        for place, variant in enumerate(first["variant"]):
            middle = np.median(taken[:, place], 0)  # of each example over the rounds: what others do on the machine counts less
            low, high = np.quantile(middle, (0.5, 0.99))
            rows.append({"data": data, "variant": variant, "p50_ms": round(float(low), 3), "p99_ms": round(float(high), 3)})
    return pd.DataFrame(rows)


def draw(runs: pd.DataFrame, file: Path) -> None:
    """Draw test accuracy over size and over latency: means over seeds, with the lowest and highest."""
    names = list(runs["data"].unique())
    figure = Figure(figsize=(11, 4.2 * len(names)), layout="constrained")
    grid = figure.subplots(len(names), 2, squeeze=False)
    for row, data in zip(grid, names, strict=True):
        for axes, column, label in zip(row, ("size_kb", "p50_ms"), ("weights in kB", "one answer in ms, p50 to p99"), strict=True):
            for number, (variant, group) in enumerate(runs[runs["data"] == data].groupby("variant", sort=False)):
                mean, where = 100 * group["test"].mean(), group[column].mean()
                spread = [[mean - 100 * group["test"].min()], [100 * group["test"].max() - mean]]
                to_p99 = [[0.0], [group["p99_ms"].mean() - where]] if column == "p50_ms" else None
                axes.errorbar(where, mean, spread, to_p99, fmt="osD^vP*X"[number % 8], color=f"C{number}", label=variant, capsize=3)
            axes.set(xscale="log", xlabel=label, ylabel="test accuracy in %", title=data)
            axes.grid(alpha=0.3)
        row[1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(file, dpi=120)


def table() -> None:
    """Write results.csv and frontier.png, and print the table in Markdown."""
    runs = read_runs()
    runs = runs.merge(measure(runs), on=["data", "variant"])
    runs.to_csv(HERE / "results.csv", index=False)
    draw(runs, HERE / "frontier.png")
    print("| data | network | test accuracy | each seed | weights in kB | p50 / p99 in ms |\n|---|---|---|---|---|---|")
    for (data, variant), group in runs.groupby(["data", "variant"], sort=False):
        test = 100 * group["test"]
        each = ", ".join(f"{value:.1f}" for value in test)
        size, low, high = (group[key].mean() for key in ("size_kb", "p50_ms", "p99_ms"))
        print(f"| {data} | {variant} | {test.mean():.2f} % | {each} | {size:,.1f} | {low:.2f} / {high:.2f} |")


if __name__ == "__main__":
    if sys.argv[1:] == ["table"]:
        table()
    elif sys.argv[1:2] == ["train"] and set(sys.argv[2:]) <= SMALL.keys():
        train(sys.argv[2:] or [*SMALL])
    else:
        sys.exit(str(__doc__))
