"""Write results.csv and print the table of README.md from the tracked runs of this study.

python experiments/text_classification/summarise.py
"""

import sys
from pathlib import Path

import pandas as pd

from rnnlab.paths import root
from rnnlab.tracking.store import TrackingError, connect
from rnnlab.tracking.table import in_order, runs_table

EXPERIMENTS = {"text_classification": "", "text_classification_vectors": ", vectors"}


FRACTIONS = ("best/accuracy", "test/accuracy", "test/f1_macro", "test/ece")
COLUMNS = {
    "data": "params.data",
    "model": "model",
    "seed": "params.seed",
    **{name.replace("/", "_"): f"metrics.{name}" for name in FRACTIONS},
    "num_parameters": "metrics.model/num_parameters",
    "fit_seconds": "metrics.time/fit_seconds",
    "peak_mb": "metrics.memory/peak_mb",
    "test_hash": "tags.test_hash",
    "git_commit": "git_commit",
    "cell": "params.cell",
    "baseline": "tags.baseline",
    "experiment": "experiment",
}


def runs() -> pd.DataFrame:
    """Return one row per finished run, fractions in percent."""
    table = runs_table(connect(None, root()), list(EXPERIMENTS), COLUMNS, "the commands of README.md")
    is_network = table["baseline"].isna()
    table.loc[is_network, "model"] += " (" + table["cell"] + table["experiment"].map(EXPERIMENTS) + ")"
    percents = [name.replace("/", "_") for name in FRACTIONS]
    table[percents] = (100 * table[percents]).round(2)
    seconds_and_size = ["fit_seconds", "peak_mb"]
    table[seconds_and_size] = table[seconds_and_size].round()
    table = table.drop(columns=["cell", "baseline", "experiment"]).astype(dict.fromkeys(["seed", "num_parameters", *seconds_and_size], int))
    return in_order(table, ["data", "model", "seed"], same_test=["data"])


def main() -> None:
    """Write and print."""
    table = runs()
    table.to_csv(Path(__file__).with_name("results.csv"), index=False)
    groups = table.groupby(["data", "model"])
    summary = groups[["best_accuracy", "test_accuracy", "test_ece", "fit_seconds", "peak_mb"]].mean().round(2)
    summary.insert(2, "sd", groups["test_accuracy"].std().round(2))
    summary.insert(0, "runs", groups.size())
    print(summary.to_string())
    for name, part in groups:
        print(*name, part["test_accuracy"].tolist())


if __name__ == "__main__":
    try:
        main()
    except TrackingError as error:
        sys.exit(f"error: {error}")
