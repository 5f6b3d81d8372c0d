"""Write results.csv, longest.csv, the pictures and README.md of this study from its tracked runs.

python experiments/memory/summarise.py
"""

import runpy
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from rnnlab.paths import root
from rnnlab.report.style import COLOURS
from rnnlab.tracking.parents import finished_run, read_plan, with_runs
from rnnlab.tracking.store import Client, Run, TrackingError, connect, find_runs, metric_history

HERE = Path(__file__).parent
CLIMB = runpy.run_path(str(HERE / "run.py"), run_name="climb")
HORIZON = "insight/gradient_horizon"
CELLS = ("srnn", "lstm", "gru")


# What was run -------------------------------------------------------------------------------------------------------------------------


def jobs(client: Client) -> pd.DataFrame:
    """Return one row a job that some parent of this study lists, finished or failed."""
    found: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for parent in find_runs(client, f"tags.kind = 'study' and tags.study = '{CLIMB['STUDY']}'"):
            try:
                plan = read_plan(client, parent.info.run_id, Path(scratch) / parent.info.run_id)
            except TrackingError:  # nothing of it is climbed yet
                continue
            for job, runs in with_runs(client, plan["jobs"]):
                if runs and job["identity"] not in found:
                    found[job["identity"]] = row_of(client, finished_run(runs) or runs[0], job["words"])
    if not found:
        sys.exit(f"no jobs of the study in {root() / 'mlflow.db'}: run experiments/memory/run.py first")
    table = pd.DataFrame(found.values())
    order = {name: place for place, name in enumerate(CLIMB["SETTINGS"])}
    return table.sort_values(
        ["data", "setting", "is_look", "budget", "num_steps", "seed"], key=lambda c: c.map(order) if c.name == "setting" else c
    )


def row_of(client: Client, run: Run, words: list[str]) -> dict[str, object]:
    """Return what is said of one job."""
    said = dict(word.split("=", 1) for word in words)
    setting, data, length, seed, *look = said["name"].split("-")
    metrics, tags = run.data.metrics, run.data.tags
    metric = tags["metric"]
    curve = metric_history(client, run.info.run_id, f"val/{metric}")
    horizons = metric_history(client, run.info.run_id, HORIZON)
    return {
        "data": data,
        "setting": setting.replace("_", " "),
        "num_steps": int(length),
        "seed": int(seed.removeprefix("s")),
        "is_look": bool(look),
        "budget": 100 * int(said["epochs"]),
        "rate": float(said["optimizer.lr"]),
        "status": run.info.status,
        "is_solved": metrics.get("test/solved") == 1,
        "metric": metric,
        "validation": metrics.get(f"best/{metric}", np.nan),
        "test": metrics.get(f"test/{metric}", np.nan),
        "optimizer_steps": curve[-1][0] if curve else 0,
        "fit_seconds": round(metrics.get("time/fit_seconds", np.nan), 1),
        "horizon_before": horizons[0][1] if horizons and horizons[0][0] == 0 else np.nan,
        "num_parameters": int(tags.get("num_parameters", 0)),
        "test_hash": tags.get("test_hash", ""),
        "git_commit": tags.get("git_commit", "")[:10] + ("+" if tags.get("git_dirty") == "true" else ""),
    }


def has_own_budget(table: pd.DataFrame) -> pd.Series:
    """Say of each training whether it had its task's own number of steps and learning rate."""
    steps, rates = ({data: factor * value for data, value in CLIMB[name].items()} for name, factor in (("EPOCHS", 100), ("RATES", 1)))
    return (table["budget"] == table["data"].map(steps)) & (table["rate"] == table["data"].map(rates))


def longest(table: pd.DataFrame) -> pd.DataFrame:
    """Return for each task and setting the longest T that enough seeds solve, and the horizons beside it; unfinished ones are left out."""
    rows = []
    for (data, setting), part in table[has_own_budget(table)].groupby(["data", "setting"], sort=False):
        climbed = part[~part["is_look"]].set_index(["num_steps", "seed"])
        looks = part[part["is_look"]]
        lengths = sorted(set(climbed.index.get_level_values(0)))
        try:
            found = CLIMB["climb"](lambda length, seed, climbed=climbed: bool(climbed.loc[(length, seed), "is_solved"]), lengths)
        except KeyError:
            print(f"left out: {data} {setting} is not climbed to its end", file=sys.stderr)
            continue
        at_top = climbed[climbed["is_solved"]].loc[[found]] if found else climbed.iloc[:0]
        rows.append(
            {
                "data": data,
                "setting": setting,
                "longest": found or 0,
                "num_trained": len(climbed),
                "optimizer_steps": at_top["optimizer_steps"].median(),
                "horizon_before": looks["horizon_before"].median(),
                "minutes": climbed["fit_seconds"].sum() / 60,
            }
        )
    return pd.DataFrame(rows)


def correlation(part: pd.DataFrame) -> tuple[float, float, int]:
    """Return Spearman's rank correlation of the horizon before training and the longest T, its p-value, and of how many settings."""
    known = part.dropna(subset=["horizon_before"])
    if len(known) < 3 or known["longest"].nunique() == 1 or known["horizon_before"].nunique() == 1:
        return float("nan"), float("nan"), len(known)
    found = spearmanr(known["horizon_before"], known["longest"])
    return float(found.statistic), float(found.pvalue), len(known)


# Pictures -----------------------------------------------------------------------------------------------------------------------------


def colour_of(setting: str) -> str:
    """Return a cell's colour."""
    return COLOURS[CELLS.index(setting.split()[0])]


def draw_longest(found: pd.DataFrame, file: Path) -> None:
    """Draw the longest T of each setting, one panel a task."""
    tasks = list(dict.fromkeys(found["data"]))
    figure = Figure(figsize=(4.2 * len(tasks), 4.2), layout="constrained")
    for axes, data in zip(figure.subplots(1, len(tasks), squeeze=False, sharey=True)[0], tasks, strict=True):
        part = found[found["data"] == data].iloc[::-1]
        axes.barh(part["setting"], part["longest"], color=[colour_of(setting) for setting in part["setting"]])
        for place, value in enumerate(part["longest"]):
            axes.text(value, place, f" {value}" if value else " none", va="center", fontsize=8)
        axes.set(title=data, xlabel="longest T solved", xlim=(0, 1.15 * max(1, found[found["data"] == data]["longest"].max())))
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=120)


def draw_horizons(found: pd.DataFrame, file: Path) -> None:
    """Draw the longest T against the gradient horizon before training, one panel a task."""
    tasks = list(dict.fromkeys(found["data"]))
    figure = Figure(figsize=(4.2 * len(tasks), 4), layout="constrained")
    for axes, data in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
        part = found[(found["data"] == data) & found["horizon_before"].notna()].sort_values("horizon_before")
        ladder = CLIMB["LADDERS"][data]
        none = ladder[0] / 2
        for row, number in zip(part.itertuples(), part.groupby("longest").cumcount(), strict=True):
            place = max(row.horizon_before, 0.1), row.longest or none
            axes.plot(*place, "o", color=colour_of(row.setting))
            axes.annotate(row.setting, place, fontsize=7, xytext=(4, (5, -10, -18, 13)[number % 4]), textcoords="offset points")
        rho, p, _ = correlation(part)
        axes.set(xscale="log", yscale="log", xlabel="gradient horizon before training (steps)", ylabel="longest T solved")
        axes.set_title(data if np.isnan(rho) else f"{data}: rank correlation {rho:.2f} (p = {p:.2g})", fontsize=10)
        ticks = [none, *sorted({*ladder, part["longest"].max()} - {0})]
        axes.set_yticks(ticks, ["none", *map(str, ticks[1:])])
        axes.minorticks_off()
        axes.set(ylim=(none / 1.4, 1.4 * ticks[-1]), xlim=(1, 3000))
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=120)


# README -------------------------------------------------------------------------------------------------------------------------------


def table_of(found: pd.DataFrame) -> str:
    """Write one row a setting: longest T of each task, and the horizon before training."""
    tasks = list(dict.fromkeys(found["data"]))
    lines = ["| cell and initialisation | " + " | ".join(f"{data}: longest T | horizon" for data in tasks) + " |"]
    lines.append("|---" * (1 + 2 * len(tasks)) + "|")
    for setting in dict.fromkeys(found["setting"]):
        cells = []
        for data in tasks:
            part = found[(found["data"] == data) & (found["setting"] == setting)]
            if part.empty:
                cells += ["not run", ""]
                continue
            row = part.iloc[0]
            cells += [f"**{reached(data, row['longest'])}**", shown(row["horizon_before"])]
        lines.append(f"| {setting} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def reached(data: str, longest_steps: int) -> str:
    """Write a longest T; at the ladder's end it may be more."""
    return f"{longest_steps} or more" if longest_steps == max(CLIMB["LADDERS"][data]) else str(longest_steps or "none")


def shown(value: float) -> str:
    """Write a horizon."""
    return "" if np.isnan(value) else f"{value:.3g}"


def sentences(found: pd.DataFrame) -> str:
    """Say for each task what was reached, and how horizon and reach go together."""
    lines = []
    for data, part in found.groupby("data", sort=False):
        ladder = CLIMB["LADDERS"][data]
        best = part[part["longest"] == part["longest"].max()]
        far = part[part["longest"] >= CLIMB["LOOK_AT"]]
        rho, p, count = correlation(part)
        top = f"T = {best['longest'].iloc[0]} ({', '.join(best['setting'])})" if best["longest"].iloc[0] else "no length at all"
        said = [
            f"- **{data}**: the ladder is T = {', '.join(map(str, ladder))}, the budget {100 * CLIMB['EPOCHS'][data]:,} optimizer steps. "
            f"Reached at most {top}."
        ]
        if best["longest"].iloc[0] > max(ladder):
            said.append(f"T = {best['longest'].iloc[0]} was tried with no other.")
        if len(far) and CLIMB["LOOK_AT"] in ladder:
            said.append(f"T = {CLIMB['LOOK_AT']} or more: {', '.join(far['setting'])}.")
        if len(part) < len(CLIMB["SETTINGS"]):
            said.append(f"{len(part)} of {len(CLIMB['SETTINGS'])} settings are climbed so far.")
        if not np.isnan(rho):
            said.append(f"Rank correlation of horizon before training and longest T: {rho:.2f} (p = {p:.2g}, {count} settings).")
        lines.append(" ".join(said))
    left = [data for data in CLIMB["LADDERS"] if data not in set(found["data"])]
    lines += [f"- **{data}**: not climbed yet; `python experiments/memory/run.py --data {data}` does." for data in left]
    return "\n".join(lines)


def with_other_budgets(table: pd.DataFrame) -> str:
    """Say what came of trainings with another budget or rate than their task's."""
    others = table[~has_own_budget(table) & ~table["is_look"]]
    lines = []
    for (data, setting, length, budget, rate), part in others.groupby(["data", "setting", "num_steps", "budget", "rate"], sort=False):
        solved = part[part["is_solved"]]
        after = f", after {', '.join(f'{steps:,}' for steps in sorted(solved['optimizer_steps']))}" if len(solved) else ""
        given = f"**{data}** at a rate of {rate:g}, {budget:,} optimizer steps"
        lines.append(f"- {given}: {setting} solves T = {length} in {len(solved)} of {len(part)} seeds{after}.")
    return "\n".join(lines)


def main() -> None:
    """Write everything."""
    table = jobs(connect(None, root()))
    table.to_csv(HERE / "results.csv", index=False)
    found = longest(table)
    found.round(4).to_csv(HERE / "longest.csv", index=False)
    draw_longest(found, HERE / "longest.png")
    draw_horizons(found, HERE / "horizons.png")
    minutes = table["fit_seconds"].sum() / 60
    said = f"{sentences(found)}\n{with_other_budgets(table)}".strip()
    text = (HERE / "README.md.in").read_text(encoding="utf-8")
    filled = text.format(
        table=table_of(found), sentences=said, minutes=f"{minutes:.0f}", jobs=len(table),
        failed=int((table["status"] == "FAILED").sum()), commits=", ".join(sorted(set(table["git_commit"]))),
        parameters=f"{table['num_parameters'].min():,} to {table['num_parameters'].max():,}",
    )  # fmt: skip
    (HERE / "README.md").write_text(filled, encoding="utf-8")
    print(table_of(found))
    print(said)


if __name__ == "__main__":
    main()
