"""Metrics of a whole table of predictions: intervals, calibration, and what needs dates or tickers."""

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest
from torchmetrics.functional.classification import multiclass_calibration_error

from rnnlab.contracts import Goal
from rnnlab.tasks.text_metrics import UNITS, bleu_of, bleu_statistics

NUM_BINS = 15
MIN_PER_DATE = 3
NUM_RESAMPLES = 1000


def of_texts(table: pd.DataFrame, goal: Goal, language: str) -> dict[str, float]:
    """Return 95 % intervals of what texts score, and error rates of examples whose right text never occurs in training.

    wer_*, cer_*, per_*   `low` and `high`, by resampling examples (bootstrap, 1,000 times, percentiles): as if they were independent,
                          which those of one speaker are not, so that the true interval is wider
    sacrebleu_*, rougeL_* likewise
    wer_new, cer_new      over examples where the column `is_new` is true, whose number is num_new

    Args:
        table: with what `text_metrics.row_scores` gives for the goal, for translations and summaries with `prediction` and `references`.
        goal: what was asked.
        language: of the texts.
    """
    numbers: dict[str, float] = {}
    for name, unit in UNITS.items():
        if f"{unit}_errors" not in table:
            continue
        counts = table[[f"{unit}_errors", f"num_{unit}s"]].to_numpy(np.int64)
        sums = resampled_sums(counts)
        numbers |= _interval(name, sums[:, 0] / np.maximum(sums[:, 1], 1))
        if "is_new" in table:
            edits_new, length_new = counts[table["is_new"].to_numpy(bool)].sum(0)
            if length_new:
                numbers[f"{name}_new"] = float(edits_new / length_new)
    if "is_new" in table:
        numbers["num_new"] = int(table["is_new"].sum())
    if goal in ("translate", "summarise"):
        statistics = bleu_statistics(list(table["prediction"]), [list(texts) for texts in table["references"]], language)
        numbers |= _interval("sacrebleu", np.array([bleu_of(sums) for sums in resampled_sums(statistics)]))
    if "rougeL" in table:
        numbers |= _interval("rougeL", resampled_sums(table[["rougeL"]].to_numpy(float))[:, 0] / len(table))
    return numbers


def resampled_sums(values_NK: np.ndarray, num_resamples: int = NUM_RESAMPLES) -> np.ndarray:
    """Return sums over examples drawn with replacement (Efron 1979), as many as there are, (num_resamples, K)."""
    random = np.random.default_rng(0)
    count = len(values_NK)
    drawn = (np.bincount(random.integers(count, size=count), minlength=count) for _ in range(num_resamples))
    return np.stack([times_N @ values_NK for times_N in drawn])


def _interval(name: str, resampled: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(resampled, [0.025, 0.975])
    return {f"{name}_low": float(low), f"{name}_high": float(high)}


def of_sets(table: pd.DataFrame) -> dict[str, float]:
    """Return the 95 % interval of the negative log-likelihood per step, by resampling whole sequences (bootstrap, 1,000 times)."""
    known = table[table["num_targets"] > 0]
    counts = known["num_targets"].to_numpy(float)
    sums = resampled_sums(np.stack([known["nll"].to_numpy(float) * counts, counts], axis=1))
    return _interval("nll", sums[:, 0] / sums[:, 1])


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

    mse, skill       per dimension (skill against persistence, where that makes an error)
    scaled_mse       of series with scales of their own, in which skill is measured then, too
    direction_*      fraction of forecasts on the right side of persistence, and its 95 % interval (Wilson) as if examples were
                     independent: tickers of one day are not, so the true interval is wider
    ic, rank_ic      correlation of forecast and truth across tickers, per date, averaged over dates (as Qlib defines them)
    qlike            of positive targets
    coverage/90, ... fraction of targets within the central interval, and its mean width
    """
    forecast, target = (table[f"{kind}/{name}"].to_numpy(float) for kind in ("prediction", "target"))
    error = float(np.square(forecast - target).mean())
    numbers = {"mse": error, "rmse": error**0.5, "mae": float(np.abs(forecast - target).mean())}
    scale = table[f"scale/{name}"].to_numpy(float) if f"scale/{name}" in table else np.ones(len(table))
    scaled_error = float(np.square((forecast - target) / scale).mean())
    if f"scale/{name}" in table:
        numbers["scaled_mse"] = scaled_error
    if f"persistence/{name}" in table:
        persistence = table[f"persistence/{name}"].to_numpy(float)
        if (error_of_persistence := float(np.square((persistence - target) / scale).mean())) > 0:
            numbers["skill"] = 1 - scaled_error / error_of_persistence
        numbers |= direction(forecast_change(forecast, persistence, target, scale), target - persistence)
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


def forecast_change(forecast: np.ndarray, persistence: np.ndarray, target: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return what changes were forecast, (N,); 0 where it is less than 1e-5 of the usual change: rounding is no forecast of a change."""
    usual = np.sqrt(np.square((target - persistence) / scale).mean())
    change = forecast - persistence
    return np.where(np.abs(change) <= 1e-5 * usual * scale, 0.0, change)


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
