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
from rnnlab.data.series.base import WindowReader
from rnnlab.data.series.stock import StockData
from rnnlab.evaluation.bundle import Bundle, load_bundle
from rnnlab.paths import root
from rnnlab.settings import Composed, Paths
from rnnlab.tracking.recorded import read_config
from rnnlab.tracking.tracker import Client, connect, read_artifact

EXPERIMENT, HORIZONS = "stock_several_days", [1, 2, 3, 4, 5]
Runs = pd.DataFrame


def runs(client: Client) -> Runs:
    """Return one row a finished run."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        sys.exit(f"no experiment {EXPERIMENT!r} in {root() / 'mlflow.db'}: run the commands of README.md first")
    rows = []
    for run in client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'", max_results=1000):
        params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
        several = params["data.horizon_days"] != "[1]"
        rows.append(
            {
                "run_id": run.info.run_id,
                "way": tags.get("baseline") or params["model"] + ("" if several else " (one step)"),
                "fold": int(params["data.fold"]),
                "seed": int(params["seed"]),
                **{f"qlike_{day}d": metrics.get(f"test/qlike/volatility_{day}d" if several else "") for day in HORIZONS},
                "num_parameters": int(tags["num_parameters"]),
                "fit_seconds": round(metrics["time/fit_seconds"], 1),
                "test_hash": tags["test_hash"],
                "git_commit": tags["git_commit"][:10] + ("+" if tags["git_dirty"] == "true" else ""),
            }
        )
    return pd.DataFrame(rows).sort_values(["way", "fold", "seed"], ignore_index=True)


def several_days(recorded: Composed, paths: Paths) -> StockData:
    """Open the data of a one-step run, asked for all days."""
    data: StockData = recipe(recorded.values["data"] | {"horizon_days": HORIZONS}, "data")(paths, recorded.values["seed"])
    data.setup()
    return data


@torch.inference_mode()
def repeated(bundle: Bundle, data: StockData) -> dict[str, float]:
    """Forecast tomorrow, take the forecast for what happened, go on: QLIKE of the mean variance over 1 to 5 days."""
    assert isinstance(bundle.reader, WindowReader)
    own, rows = bundle.reader.fitted, data.rows["test"]
    read = data.windows.inputs(rows, data.window).astype(np.float64) * data.scales.feature_std + data.scales.feature_mean
    ids = torch.arange(len(rows))
    offset, scale = (torch.tensor(part, dtype=torch.float32).expand(len(rows), 1) for part in (own.target_mean, own.target_std))
    variances = []
    for _ in HORIZONS:
        inputs = torch.from_numpy(own.features(read))
        batch = Batch(
            inputs, torch.full_like(ids, data.window), torch.ones(len(ids), 1), torch.ones_like(ids), ids, Reference(offset, scale, scale)
        )
        variance = bundle.model.task.forecasts(bundle.model.predict(batch), batch)[:, 0, 0].double().numpy()
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
    main()
