"""What is measured from a whole table of predictions: intervals, calibration, and what needs dates or tickers."""

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest
from torchmetrics.functional.classification import multiclass_calibration_error

from rnnlab.tasks import Classify, Forecast, Label, Task

NUM_BINS = 15
MIN_PER_DATE = 3


def measure_table(task: Task, table: pd.DataFrame) -> dict[str, float]:
    """Return what a table of predictions gives beyond a batch's metrics.

    Args:
        task: what the table answers.
        table: one row a sequence (see `evaluation.with_examples`): group, perhaps date, targets, predictions, ...
    """
    if isinstance(task, Label):
        return {}
    if isinstance(task, Classify):
        return of_classes(table, task.spec.label_names)
    if isinstance(task, Forecast):
        names = task.spec.label_names
        numbers: dict[str, float] = {}
        for name in names:
            found = of_forecasts(table, name, task.spec.link == "exp", task.quantiles)
            numbers |= {key if len(names) == 1 else f"{key}/{name}": value for key, value in found.items()}
        return numbers
    raise TypeError(f"no measures for {type(task).__name__}")


def of_classes(table: pd.DataFrame, labels: tuple[str, ...]) -> dict[str, float]:
    """Return accuracy's 95 % interval (Wilson 1927) and the expected calibration error (15 bins, Guo et al. 2017)."""
    num_right = int((table["target"] == table["prediction"]).sum())
    interval = binomtest(num_right, len(table)).proportion_ci(method="wilson")
    scores = torch.tensor(table[[f"score/{label}" for label in labels]].to_numpy(np.float32))
    targets = torch.tensor(table["target"].map({label: number for number, label in enumerate(labels)}).to_numpy(np.int64))
    error = multiclass_calibration_error(scores, targets, len(labels), n_bins=NUM_BINS, norm="l1")
    return {"accuracy_low": float(interval.low), "accuracy_high": float(interval.high), "ece": float(error)}


def of_forecasts(table: pd.DataFrame, name: str, is_positive: bool, quantiles: tuple[float, ...]) -> dict[str, float]:
    """Return what one dimension of a forecast gives.

    mse, skill       per dimension (skill against persistence)
    direction_*      share of forecasts on the right side of persistence, and its 95 % interval (Wilson) as if examples were
                     independent: tickers of one day are not, so the true interval is wider
    ic, rank_ic      correlation of forecast and truth across tickers, per date, averaged over dates (as Qlib defines them)
    qlike            of positive targets
    coverage/90, ... share of targets within the central interval, and its mean width
    """
    forecast, target = (table[f"{kind}/{name}"].to_numpy(float) for kind in ("prediction", "target"))
    error = float(np.square(forecast - target).mean())
    numbers = {"mse": error, "rmse": error**0.5, "mae": float(np.abs(forecast - target).mean())}
    if f"persistence/{name}" in table:
        persistence = table[f"persistence/{name}"].to_numpy(float)
        if (error_of_persistence := float(np.square(persistence - target).mean())) > 0:
            numbers["skill"] = 1 - error / error_of_persistence
        is_same = np.isclose(forecast, persistence, rtol=1e-5, atol=0)  # a rounding error is no forecast of a change
        numbers |= direction(np.where(is_same, 0, forecast - persistence), target - persistence)
    if is_positive:
        numbers["qlike"] = float((target / forecast - np.log(target / forecast) - 1).mean())
    if "date" in table:
        numbers |= information(table["date"].to_numpy(), forecast, target)
    for low, high in zip(quantiles[: len(quantiles) // 2], quantiles[::-1], strict=False):
        below, above = (table[f"quantile/{name}/{level:g}"].to_numpy(float) for level in (low, high))
        percent = f"{100 * (high - low):g}"
        numbers[f"coverage/{percent}"] = float(((below <= target) & (target <= above)).mean())
        numbers[f"width/{percent}"] = float((above - below).mean())
    return numbers


def direction(forecast_change: np.ndarray, true_change: np.ndarray) -> dict[str, float]:
    """Return how often the sign of a change was right, where something changed and a change was forecast."""
    is_counted = (forecast_change != 0) & (true_change != 0)
    if not is_counted.any():
        return {}
    num_right = int((np.sign(forecast_change) == np.sign(true_change))[is_counted].sum())
    interval = binomtest(num_right, int(is_counted.sum())).proportion_ci(method="wilson")
    return {
        "direction_accuracy": num_right / int(is_counted.sum()),
        "direction_low": float(interval.low),
        "direction_high": float(interval.high),
    }


def information(dates: np.ndarray, forecast: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Return the mean over dates of the correlation across tickers, of values and of ranks; dates with fewer than 3 don't count."""
    frame = pd.DataFrame({"date": dates, "forecast": forecast, "target": target})
    frame = frame[frame.groupby("date")["target"].transform("size") >= MIN_PER_DATE]
    if frame.empty:
        return {}
    ranked = frame.assign(**{key: frame.groupby("date")[key].rank() for key in ("forecast", "target")})
    found: dict[str, float] = {}
    for name, values in (("ic", frame), ("rank_ic", ranked)):
        by_date = _correlations(values)
        if by_date.notna().any():
            found |= {name: float(by_date.mean()), f"{name}_ir": float(by_date.mean() / by_date.std())}
    return {key: value for key, value in found.items() if np.isfinite(value)}


def _correlations(frame: pd.DataFrame) -> pd.Series:
    """Return Pearson's correlation of each date; NaN where one side is constant."""
    by_date = frame.groupby("date")[["forecast", "target"]]
    centred = frame[["forecast", "target"]] - by_date.transform("mean")
    is_constant = (by_date.max() == by_date.min()).any(axis=1)
    products = centred.assign(
        both=centred["forecast"] * centred["target"], forecast=centred["forecast"] ** 2, target=centred["target"] ** 2
    )
    sums = products.groupby(frame["date"]).sum()
    correlations: pd.Series = (sums["both"] / (sums["forecast"] * sums["target"]).pow(0.5)).mask(is_constant)
    return correlations
