"""Write results.csv and print the tables of README.md from the tracked runs of this study.

python experiments/stock_walk_forward/summarise.py
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels.api as sm

from rnnlab.paths import root
from rnnlab.tracking.store import Client, TrackingError, connect, read_artifact
from rnnlab.tracking.table import in_order, runs_table

EXPERIMENT = "stock_walk_forward"
NUM_LAGS = 10
METRICS = (
    *("qlike", "mse", "rmse", "mae", "pinball", "skill", "direction_accuracy", "direction_low", "direction_high", "ic", "ic_ir"),
    *("rank_ic", "rank_ic_ir", "coverage/90", "width/90", "coverage/50", "width/50", "num_examples"),
)


COLUMNS = {
    "run_id": "run_id",
    "model": "model",
    "target": "params.data.target",
    "fold": "params.data.fold",
    "seed": "params.seed",
    **{name: f"metrics.test/{name}" for name in METRICS},
    "fit_seconds": "metrics.time/fit_seconds",
    "test_hash": "tags.test_hash",
    "git_commit": "git_commit",
    "quantiles": "params.model.head.quantiles",
    "baseline": "tags.baseline",
}


def runs(client: Client) -> pd.DataFrame:
    """Return one row per finished run."""
    table = runs_table(client, [EXPERIMENT], COLUMNS, "the commands of README.md")
    has_quantiles = table["quantiles"].fillna("[]") != "[]"
    table.loc[has_quantiles & table["baseline"].isna(), "model"] += "+quantiles"
    table["fit_seconds"] = table["fit_seconds"].round(1)
    table = table.drop(columns=["quantiles", "baseline"]).astype({"fold": int, "seed": int})
    return in_order(table, ["target", "model", "fold", "seed"], same_test=["target", "fold"])


def predictions(client: Client, table: pd.DataFrame, target: str, model: str) -> pd.DataFrame:
    """Return the test predictions of all folds, seeds averaged: example_id, group, date, target, prediction, persistence."""
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        for row in table[(table["target"] == target) & (table["model"] == model)].itertuples():
            file = read_artifact(client, str(row.run_id), "predictions/test.parquet", Path(folder) / str(row.run_id))
            part = pd.read_parquet(file)
            part.columns = [name.removesuffix(f"/{target}_1d") for name in part.columns]
            parts.append(part[["example_id", "group", "date", "target", "prediction", "persistence"]])
    joined = pd.concat(parts)
    return joined.groupby(["example_id", "group", "date"], as_index=False).mean()


def mean_with_interval(by_date: pd.Series) -> str:
    """Return the mean over dates, its 95 % interval and p value; neighbouring days may be alike (Newey & West 1987, 10 lags)."""
    fit = sm.OLS(by_date.to_numpy(), np.ones(len(by_date))).fit(cov_type="HAC", cov_kwds={"maxlags": NUM_LAGS})
    low, high = fit.conf_int()[0]
    return f"{fit.params[0]:.4f} [{low:.4f}, {high:.4f}], p = {fit.pvalues[0]:.2g}"


def qlike(table: pd.DataFrame) -> pd.Series:
    """Return each example's loss."""
    ratio = table["target"] / table["prediction"]
    return ratio - np.log(ratio) - 1


def print_means(table: pd.DataFrame) -> None:
    """Print each model's mean over folds (of seeds first), and the standard deviation between seeds of that mean."""
    for target, part in table.groupby("target"):
        print(f"\n{target}")
        metrics = [name for name in METRICS if part[name].notna().any()]
        by_seed = part.groupby(["model", "seed"])[metrics].mean()
        means = by_seed.groupby("model").mean()
        main = "qlike" if target == "volatility" else "mse"
        print(means.assign(sd_of_seeds=by_seed[main].groupby("model").std()).round(4).T.to_string())
        print(f"\n{main} by fold:")
        print(part.pivot_table(index="fold", columns="model", values=main).round(4).to_string())


def print_tests(client: Client, table: pd.DataFrame) -> None:
    """Print tests over dates: of variance against the best simple method, of returns against no change."""
    ours = predictions(client, table, "volatility", "gru")
    print()
    for model in ("har", "ridge"):
        joined = ours.merge(predictions(client, table, "volatility", model), on=["example_id", "date"], suffixes=("", "_other"))
        difference = qlike(joined) - qlike(joined.assign(prediction=joined["prediction_other"]))
        by_date = mean_with_interval(difference.groupby(joined["date"]).mean())
        print(f"QLIKE of the GRU's forecast (mean of its seeds) minus that of {model}, by date: {by_date}")
    for model in ("gru", "ridge", "mean"):
        found = predictions(client, table, "return", model)
        worse = (found["prediction"] - found["target"]) ** 2 - found["target"] ** 2
        print(
            f"{model}: squared error of returns minus that of no change, by date:", mean_with_interval(worse.groupby(found["date"]).mean())
        )
        counted = found[found["target"] != 0]
        right = (np.sign(counted["prediction"]) == np.sign(counted["target"])).groupby(counted["date"]).mean()
        print(f"  direction right, by date: {mean_with_interval(right - 0.5)} (above a half)")
        days = found.groupby("date")[["prediction", "target"]]
        correlations = days.apply(lambda day: day["prediction"].corr(day["target"])).dropna()
        print(f"  IC by date: {mean_with_interval(correlations)}" if len(correlations) else "  IC: all forecasts of a day are alike")


def main() -> None:
    """Write and print."""
    client = connect(None, root())
    table = runs(client)
    rounded = table.drop(columns="run_id").round(6)
    rounded.to_csv(Path(__file__).with_name("results.csv"), index=False)
    print_means(table)
    print_tests(client, table)


if __name__ == "__main__":
    try:
        main()
    except TrackingError as error:
        sys.exit(f"error: {error}")
