"""Write results.csv and print the table of README.md from the tracked runs of this study.

python experiments/first_light_speech/summarise.py
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from rnnlab.paths import root
from rnnlab.tracking.store import TrackingError, connect
from rnnlab.tracking.table import in_order, runs_table

EXPERIMENT = "first_light_speech"
NUM_RESAMPLES = 10_000


COLUMNS = {
    "model": "params.model",
    "split": "params.data.split",
    "fold": "params.data.fold",
    "seed": "params.seed",
    "val_accuracy": "metrics.best/accuracy",
    "test_accuracy": "metrics.test/accuracy",
    "num_parameters": "metrics.model/num_parameters",
    "fit_seconds": "metrics.time/fit_seconds",
    "test_hash": "tags.test_hash",
    "git_commit": "git_commit",
}


def runs() -> pd.DataFrame:
    """Return one row per finished run, accuracies in percent."""
    table = runs_table(connect(None, root()), [EXPERIMENT], COLUMNS, "the commands of README.md")
    table["split"] = table["split"].where(table["split"] == "speaker", "official")
    accuracies = ["val_accuracy", "test_accuracy"]
    table[accuracies] = (100 * table[accuracies]).round(2)
    table["fit_seconds"] = table["fit_seconds"].round()
    table = table.astype(dict.fromkeys(["fold", "seed", "num_parameters", "fit_seconds"], int))
    return in_order(table, ["split", "model", "fold", "seed"])


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
    try:
        main()
    except TrackingError as error:
        sys.exit(f"error: {error}")
