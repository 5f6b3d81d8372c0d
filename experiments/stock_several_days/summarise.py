"""Forecast several days by repeating one-step forecasts, then write results.csv from all tracked runs of this study.

python experiments/stock_several_days/summarise.py
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from rnnlab.config import recipe
from rnnlab.contracts import Batch, Reference
from rnnlab.data.series.stock import StockData
from rnnlab.data.series.window_reader import WindowReader
from rnnlab.data.series.windows import ALL_SERIES
from rnnlab.evaluation.bundle import Bundle, load_bundle
from rnnlab.paths import root
from rnnlab.settings import Composed, Paths
from rnnlab.tasks.forecast import Forecast
from rnnlab.tracking.recorded import read_config
from rnnlab.tracking.store import Client, TrackingError, connect, read_artifact
from rnnlab.tracking.table import runs_table

EXPERIMENT, HORIZONS = "stock_several_days", [1, 2, 3, 4, 5]
COLUMNS = {
    "run_id": "run_id",
    "way": "model",
    "fold": "params.data.fold",
    "seed": "params.seed",
    **{f"qlike_{day}d": f"metrics.test/qlike/volatility_{day}d" for day in HORIZONS},
    "num_parameters": "tags.num_parameters",
    "fit_seconds": "metrics.time/fit_seconds",
    "test_hash": "tags.test_hash",
    "git_commit": "git_commit",
    "horizons": "params.data.horizon_days",
    "baseline": "tags.baseline",
}


def runs(client: Client) -> pd.DataFrame:
    """Return one row per finished run; of one-step runs, QLIKE is filled in later."""
    table = runs_table(client, [EXPERIMENT], COLUMNS, "the commands of README.md")
    has_one_step = table["horizons"] == "[1]"
    table.loc[has_one_step, [f"qlike_{day}d" for day in HORIZONS]] = float("nan")
    table.loc[has_one_step & table["baseline"].isna(), "way"] += " (one step)"
    table["fit_seconds"] = table["fit_seconds"].round(1)
    table = table.drop(columns=["horizons", "baseline"]).astype(dict.fromkeys(["fold", "seed", "num_parameters"], int))
    return table.sort_values(["way", "fold", "seed"], ignore_index=True)


def several_days(recorded: Composed, paths: Paths) -> StockData:
    """Open the data of a one-step run, asked for all days."""
    data: StockData = recipe(recorded.values["data"] | {"horizon_days": HORIZONS}, "data")(paths, recorded.values["seed"])
    data.setup()
    return data


@torch.inference_mode()
def repeated(bundle: Bundle, data: StockData) -> dict[str, float]:
    """Forecast tomorrow, take the forecast for what happened, go on: QLIKE of the mean variance over 1 to 5 days."""
    task = bundle.model.task
    assert isinstance(bundle.reader, WindowReader) and isinstance(task, Forecast)
    own, theirs, rows = bundle.reader.fitted.of(ALL_SERIES), data.scales.of(ALL_SERIES), data.rows["test"]
    read = data.windows.inputs(rows, data.window).astype(np.float64) * theirs.feature_std + theirs.feature_mean
    ids = torch.arange(len(rows))
    offset, scale = (torch.tensor(part, dtype=torch.float64).expand(len(rows), 1) for part in (own.target_mean, own.target_std))
    variances = []
    for _ in HORIZONS:
        inputs = torch.from_numpy(own.features(read))
        batch = Batch(
            inputs, torch.full_like(ids, data.window), torch.ones(len(ids), 1), torch.ones_like(ids), ids, Reference(offset, scale, scale)
        )
        outputs = bundle.model.predict(batch)
        assert isinstance(outputs, torch.Tensor)
        variance = task.forecasts(outputs, batch)[:, 0, 0].double().numpy()
        variances.append(variance)
        read = np.concatenate([read[:, 1:], np.log(variance)[:, None, None]], axis=1)
    forecast = np.cumsum(variances, axis=0).T / np.array(HORIZONS)
    ratio = data.windows.targets[rows] / forecast
    return {f"qlike_{day}d": float(value) for day, value in zip(HORIZONS, (ratio - np.log(ratio) - 1).mean(0), strict=True)}


def main() -> None:
    """Repeat, write, print."""
    client = connect(None, root())
    table = runs(client)
    paths = Paths.below(root())
    for place, row in table[table["way"].str.endswith("(one step)")].iterrows():
        folder = root() / "outputs" / row["run_id"] / "repeated"
        bundle = load_bundle(read_artifact(client, row["run_id"], "bundle", folder))
        recorded = read_config(client, row["run_id"], folder)
        for name, value in repeated(bundle, several_days(recorded, paths)).items():
            table.loc[place, name] = value
        table.loc[place, "way"] = row["way"].replace("one step", "repeated one step")
    table.to_csv(Path(__file__).with_name("results.csv"), index=False, float_format="%.5g")
    names = [f"qlike_{day}d" for day in HORIZONS]
    print(table.groupby("way")[names].mean().round(4).to_string())
    by_seed = table.groupby(["way", "seed"])[names].mean().groupby("way").std()
    print("standard deviation between seeds:\n", by_seed.round(4).to_string())
    print("by fold:\n", table.groupby(["way", "fold"])[names].mean().round(4).to_string())


if __name__ == "__main__":
    try:
        main()
    except TrackingError as error:
        sys.exit(f"error: {error}")
