"""Write results.csv and print the table of README.md from the tracked runs of this study.

python experiments/first_light_speech/summarise.py
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from rnnlab.paths import root
from rnnlab.tracking.tracker import connect

EXPERIMENT = "first_light_speech"
NUM_RESAMPLES = 10_000


def runs() -> pd.DataFrame:
    """Return one row a finished run, in percent where it is a share."""
    client = connect(None, root())
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        sys.exit(f"no experiment {EXPERIMENT!r} in {root() / 'mlflow.db'}: run the commands of README.md first")
    rows = []
    for run in client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'", max_results=1000):
        params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
        rows.append(
            {
                "model": params["model"],
                "split": "speaker" if params["data.split"] == "speaker" else "official",
                "fold": int(params["data.fold"]),
                "seed": int(params["seed"]),
                "val_accuracy": round(100 * metrics["best/accuracy"], 2),
                "test_accuracy": round(100 * metrics["test/accuracy"], 2),
                "num_parameters": int(metrics["model/num_parameters"]),
                "fit_seconds": round(metrics["time/fit_seconds"]),
                "test_hash": tags["test_hash"],
                "git_commit": tags["git_commit"][:10] + ("+" if tags["git_dirty"] == "true" else ""),
            }
        )
    table = pd.DataFrame(rows).sort_values(["split", "model", "fold", "seed"], ignore_index=True)
    if (repeated := table.duplicated(["split", "model", "fold", "seed"])).any():
        sys.exit(f"{repeated.sum()} runs are there twice: delete the older ones in the UI, or start from a fresh tracking database")
    return table


def resample_speakers(accuracies_FS: np.ndarray) -> tuple[float, float]:
    """Return a 95 % percentile interval of the mean: folds (test speakers) are resampled, then seeds within each.

    Args:
        accuracies_FS: (folds, seeds).
    """
    generator = np.random.default_rng(0)
    num_folds, num_seeds = accuracies_FS.shape
    folds = generator.integers(num_folds, size=(NUM_RESAMPLES, num_folds, 1))
    seeds = generator.integers(num_seeds, size=(NUM_RESAMPLES, num_folds, num_seeds))
    low, high = np.percentile(accuracies_FS[folds, seeds].mean((1, 2)), [2.5, 97.5])
    return float(low), float(high)


def main() -> None:
    """Write and print."""
    table = runs()
    table.to_csv(Path(__file__).with_name("results.csv"), index=False)
    official = table[table["split"] == "official"]
    if len(official):
        found = official["test_accuracy"]
        print(f"official split, {len(found)} seeds: {found.mean():.2f} % (standard deviation {found.std():.2f}), {found.tolist()}")
        print(f"  fit {official['fit_seconds'].mean():.0f} s a run (longest {official['fit_seconds'].max()})")
    folds = table[table["split"] == "speaker"].pivot(index="fold", columns="seed", values="test_accuracy")
    if len(folds):
        print("\nleave one speaker out:")
        print(folds.assign(mean=folds.mean(axis=1)).round(1).to_string())
        low, high = resample_speakers(folds.to_numpy())
        means = folds.mean(axis=1)
        margin = stats.sem(means) * stats.t.ppf(0.975, len(means) - 1)
        print(f"mean {folds.to_numpy().mean():.1f} %; 95 % interval, speakers resampled: {low:.1f} to {high:.1f}")
        print(f"  by Student's t over the {len(means)} speakers: {means.mean() - margin:.1f} to {means.mean() + margin:.1f}")
        print(f"  seeds: standard deviation of the mean over folds {folds.mean(axis=0).std():.2f}")


if __name__ == "__main__":
    main()
