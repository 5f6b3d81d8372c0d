"""Train each cell from each initialisation on the adding problem with callbacks=insight, and write heat maps, results.csv and README.md.

python experiments/gradient_flow/run.py
python experiments/gradient_flow/run.py --epochs 1     a quick look
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rnnlab.paths import HOME, root
from rnnlab.tracking.store import connect, get_run, metric_history

matplotlib.use("Agg")
FOLDER = Path(__file__).resolve().parent
NUM_STEPS = 100
WORDS = (
    *("data=adding", f"data.num_steps={NUM_STEPS}", "data.num_val=200", "data.num_test=500", "data.loader.batch_size=64", "seed=0"),
    *("model.recurrence.hidden_size=64", "model.head.pooling=last", "model.head.dropout=0", "tracking.experiment=gradient_flow"),
    *("tracking.log_model=false", "callbacks=insight", "callbacks.insight.every_num_steps=20"),
)
SETTINGS = {
    "srnn, uniform": "model=srnn",
    "srnn, orthogonal": "model=srnn model.recurrence.initialisation=orthogonal",
    "lstm, uniform": "model=lstm",
    "lstm, chrono": f"model=lstm cell.chrono={NUM_STEPS}",
    "gru, uniform": "model=gru",
    "gru, chrono": f"model=gru cell.chrono={NUM_STEPS}",
}
REACH = 0.25
"""A gradient reaches over the sequence where its horizon is longer than this share of it."""
GUESSING = 1 / 6
"""Mean squared error of the best constant answer, 1, to the sum of two numbers from U(0, 1)."""


def train(words: str, num_epochs: int) -> str:
    """Train one setting in a fresh process and return its run's id."""
    command = [sys.executable, str(HOME / "src/train.py"), *WORDS, *words.split(), f"trainer.max_epochs={num_epochs}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"^run ([0-9a-f]{32})$", done.stdout, re.MULTILINE)
    if found is None:
        sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return found[1]


def first_beyond(history: list[tuple[int, float]], limit: float) -> int | None:
    """Return the optimizer step from which on a curve stays beyond a limit; None where it ends below."""
    below = [number for number, (_, value) in enumerate(history) if value <= limit]
    place = below[-1] + 1 if below else 0
    return history[place][0] if place < len(history) else None


def measured(setting: str, run_id: str) -> tuple[dict[str, object], pd.DataFrame]:
    """Return a row of the results, and the curves behind it."""
    client = connect(None, root())
    run = get_run(client, run_id)
    horizons = metric_history(client, run_id, "insight/gradient_horizon")
    curves = pd.read_parquet(root() / run.data.tags["outputs"] / "artifacts/insight/gradient_flow.parquet")
    (first, before), (last, after) = horizons[0], horizons[-1]
    ends = curves[curves["steps_back"] == NUM_STEPS - 1].set_index("step")["from_last"]
    row: dict[str, object] = {
        "setting": setting,
        "horizon_before": round(before, 2),
        "horizon_after": round(after, 2),
        "horizon_longest": round(max(value for _, value in horizons), 2),
        "first_step_share_before": f"{ends[first]:.1e}",
        "first_step_share_after": f"{ends[last]:.1e}",
        "reached_at": first_beyond([(step, value / NUM_STEPS) for step, value in horizons], REACH),
        "half_error_at": first_beyond([(step, -value) for step, value in metric_history(client, run_id, "val/mse")], -GUESSING / 2),
        "test_mse": round(run.data.metrics["test/mse"], 4),
        "optimizer_steps": last,
        "fit_seconds": round(run.data.metrics["time/fit_seconds"]),
        "insight_seconds": round(run.data.metrics["time/insight_seconds"], 1),
    }
    return row, curves


def draw(curves: dict[str, pd.DataFrame], file: Path) -> None:
    """Draw all settings' curves over the training, before it at the left edges, after it at the right ones, in the same colours."""
    figure = Figure(figsize=(11, 3.1 * ((len(curves) + 1) // 2)), layout="constrained")
    grid = figure.subplots((len(curves) + 1) // 2, 2, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, (setting, table) in zip(grid, curves.items(), strict=True):
        values = table.pivot(index="steps_back", columns="step", values="from_last")
        with np.errstate(divide="ignore"):
            shares = np.log10(values.to_numpy()).clip(min=-12)
        steps = values.columns.to_numpy(float)
        edges = np.concatenate([steps[:1], (steps[:-1] + steps[1:]) / 2, steps[-1:]])
        mesh = axes.pcolormesh(edges, np.arange(len(values) + 1) - 0.5, shares, cmap="viridis", vmin=-8, vmax=0)
        axes.set_title(setting, fontsize=10)
    for axes in grid[::2]:
        axes.set_ylabel("steps back from the end")
    for axes in grid[-2:]:
        axes.set_xlabel("optimizer step")
    figure.colorbar(mesh, ax=grid.tolist(), label="log10 of |g_k| / |g_0|: what is left of the gradient k steps back", extend="min")
    figure.savefig(file, dpi=110)


def in_words(row: dict[str, object]) -> str:
    """Say in a sentence what a row says."""
    mse = float(str(row["test_mse"]))
    learned = "learned the sum" if mse < 0.01 else "learned something" if mse < 0.8 * GUESSING else "learned nothing beyond the mean"
    return (
        f"- **{row['setting']}**: at the beginning the gradient loses a factor e every {row['horizon_before']} steps, so that the first of "
        f"{NUM_STEPS} steps gets {row['first_step_share_before']} of what the last one gets; after {row['optimizer_steps']} optimizer "
        f"steps every {row['horizon_after']} steps ({row['first_step_share_after']}; longest on the way {row['horizon_longest']}). It "
        f"{learned} (test MSE {row['test_mse']}; horizon above {REACH * NUM_STEPS:.0f} steps for good: "
        f"{since(row['reached_at'])}; error below half of guessing for good: {since(row['half_error_at'])})."
    )


def since(step: object) -> str:
    """Write from which optimizer step on something is so."""
    return "never" if step is None else f"from step {step} on"


def main() -> None:
    """Train what is asked, and write everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20, help="100 optimizer steps each (20)")
    num_epochs = parser.parse_args().epochs
    rows, curves = [], {}
    for setting, words in SETTINGS.items():
        row, curves[setting] = measured(setting, train(words, num_epochs))
        rows.append(row)
        print(in_words(row), flush=True)
    table = pd.DataFrame(rows).astype({"reached_at": "Int64", "half_error_at": "Int64"})
    table.to_csv(FOLDER / "results.csv", index=False)
    draw(curves, FOLDER / "gradient_flow.png")
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    start, end = "<!-- written by run.py -->\n", "<!-- end -->"
    head, tail = text.split(start)[0], text.split(end)[1]
    sentences = "\n".join(map(in_words, rows))
    (FOLDER / "README.md").write_text(f"{head}{start}\n{sentences}\n\n{end}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
