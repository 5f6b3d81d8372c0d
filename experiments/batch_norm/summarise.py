"""Write results.csv, the figure and README.md's table on normalisation from the tracked runs.

python experiments/batch_norm/summarise.py     after run.py
"""

import re
import tempfile
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import ttest_ind

from rnnlab.paths import root
from rnnlab.report.style import COLOURS
from rnnlab.tracking.parents import finished_run, read_plan, with_runs
from rnnlab.tracking.store import Client, connect, find_runs

HERE = Path(__file__).resolve().parent
KINDS = ("none", "batch", "layer")
START, END = "<!-- made by summarise.py -->", "<!-- end -->"


def read(client: Client, kind: str) -> list[dict[str, object]]:
    """Return one row per job of a kind's sweep."""
    parents = find_runs(client, f"tags.study = 'steady_{kind}' and tags.kind = 'study'")
    if not parents:
        raise SystemExit(f"steady_{kind} was not run: python experiments/batch_norm/run.py")
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as scratch:
        jobs = read_plan(client, parents[0].info.run_id, Path(scratch))["jobs"]
    for _, runs in with_runs(client, jobs):
        finished = finished_run(runs)
        if finished is None:
            raise SystemExit(f"a job of steady_{kind} is not done: python experiments/batch_norm/run.py")
        params, metrics = finished.data.params, finished.data.metrics
        found = {"rate": float(params["optimizer.lr"]), "seed": int(params["seed"]), "validation": metrics["best/accuracy"]}
        rows.append({"kind": kind, **found, "test": metrics["test/accuracy"], "run_id": finished.info.run_id})
    return rows


def draw(table: pd.DataFrame, file: Path) -> None:
    """Draw each kind's accuracy against the learning rate, one dot per seed."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for (kind, rows), colour in zip(table.groupby("kind", sort=False), COLOURS, strict=False):
        axes.plot(rows["rate"], 100 * rows["test"], "o", color=colour, markersize=3)
        means = 100 * rows.groupby("rate")["test"].mean()
        axes.plot(means.index, means, color=colour, label=f"{kind} normalisation" if kind != "none" else "none")
    axes.set(xscale="log", xlabel="learning rate", ylabel="test accuracy, %")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=120)


def against_none(table: pd.DataFrame) -> str:
    """Describe at each rate how either normalisation differs from none (Welch's t-test over seeds, not corrected)."""
    lines = []
    for rate in sorted(table["rate"].astype(float).unique()):
        rows = table[table["rate"] == rate]
        test = {kind: 100 * part["test"] for kind, part in rows.groupby("kind")}
        said = []
        for kind in sorted(test.keys() - {"none"}):
            p_value = ttest_ind(test[kind], test["none"], equal_var=False).pvalue
            said.append(f"{kind} {test[kind].mean() - test['none'].mean():+.1f} points (p = {p_value:.2g})")
        lines.append(f"- rate {rate:g}, against none: {', '.join(said)}")
    return "\n".join(lines)


def written(table: pd.DataFrame) -> str:
    """Write one row per kind: mean at each rate, and how steady it is."""
    rates = sorted(table["rate"].astype(float).unique())
    lines = [
        f"| normalisation | {' | '.join(f'rate {rate:g}' for rate in rates)} | widest range over three seeds | range over rates |",
        "|---" * (len(rates) + 3) + "|",
    ]
    for kind, rows in table.groupby("kind", sort=False):
        by_rate = 100 * rows.groupby("rate")["test"].agg(["mean", "min", "max"])
        means = " | ".join(f"{mean:.1f} %" for mean in by_rate["mean"])
        widest = (by_rate["max"] - by_rate["min"]).max()
        lines.append(f"| {kind} | {means} | {widest:.1f} points | {by_rate['mean'].max() - by_rate['mean'].min():.1f} points |")
    return "\n".join([*lines, "", against_none(table)])


def main() -> None:
    """Write everything."""
    client = connect(None, root())
    table = pd.DataFrame([row for kind in KINDS for row in read(client, kind)])
    table.to_csv(HERE / "results.csv", index=False)
    draw(table, HERE / "rates.png")
    readme = HERE / "README.md"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(re.sub(f"{START}.*{END}", lambda _: f"{START}\n{written(table)}\n{END}", text, flags=re.DOTALL), encoding="utf-8")
    print(written(table))


if __name__ == "__main__":
    main()
