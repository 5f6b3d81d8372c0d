"""Write results.csv and print the table of README.md from the tracked runs of this study.

python experiments/text_classification/summarise.py
"""

import sys
from pathlib import Path

import pandas as pd

from rnnlab.paths import root
from rnnlab.tracking.tracker import connect

EXPERIMENTS = {"text_classification": "", "text_classification_vectors": ", vectors"}


def runs() -> pd.DataFrame:
    """Return one row a finished run, in percent where it is a share."""
    client = connect(None, root())
    added = {found.experiment_id: text for name, text in EXPERIMENTS.items() if (found := client.get_experiment_by_name(name))}
    if not added:
        sys.exit(f"no experiment of {', '.join(EXPERIMENTS)} in {root() / 'mlflow.db'}: run the commands of README.md first")
    rows = []
    for run in client.search_runs(list(added), "attributes.status = 'FINISHED'", max_results=1000):
        params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
        shares = {name: round(100 * metrics[name], 2) for name in ("best/accuracy", "test/accuracy", "test/f1_macro", "test/ece")}
        rows.append(
            {
                "data": params["data"],
                "model": tags.get("baseline") or f"{params['model']} ({params['cell']}{added[run.info.experiment_id]})",
                "seed": int(params["seed"]),
                **{name.replace("/", "_"): value for name, value in shares.items()},
                "num_parameters": int(metrics["model/num_parameters"]),
                "fit_seconds": round(metrics["time/fit_seconds"]),
                "peak_mb": round(metrics["memory/peak_mb"]),
                "test_hash": tags["test_hash"],
                "git_commit": tags["git_commit"][:10] + ("+" if tags["git_dirty"] == "true" else ""),
            }
        )
    table = pd.DataFrame(rows).sort_values(["data", "model", "seed"], ignore_index=True)
    if table.duplicated(["data", "model", "seed"]).any():
        sys.exit("runs are there twice: delete the older ones in the UI, or start from a fresh tracking database")
    if table.groupby("data")["test_hash"].nunique().max() > 1:
        sys.exit("runs on one data set differ in their test split")
    return table


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
    main()
