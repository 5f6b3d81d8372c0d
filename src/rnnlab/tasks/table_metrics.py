"""Metrics of a whole table of predictions: intervals, calibration, and what needs dates or tickers.

Every interval is one of 95 % that draws whole units that may leak anew (see `units_of`): all tickers of a date, all recordings of a
speaker, all copies of a text. Examples of one unit are alike, so an interval that took them for independent would be too narrow.
Where units happen to be more alike than chance would have them, as a few can be, the interval is that of independent examples.
"""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from rnnlab.contracts import Goal
from rnnlab.tasks.text_metrics import ROUGE, UNITS, bleu_of, bleu_statistics

NUM_BINS = 15
MIN_PER_DATE = 3
NUM_RESAMPLES = 1000
LEVELS = (0.025, 0.975)
Z = 1.959963984540054
"""The quantile 0.975 of the normal distribution."""


def of_texts(table: pd.DataFrame, goal: Goal, language: str) -> dict[str, float]:
    """Return 95 % intervals of what texts score, and error rates of examples whose right text never occurs in training.

    wer_*, cer_*, per_*   `low` and `high`, by resampling units (bootstrap, 1,000 times, percentiles); none where there is one unit
    sacrebleu_*, rouge1_*, rouge2_*, rougeL_* likewise
    wer_new, cer_new      over examples where the column `is_new` is true, whose number is num_new

    Args:
        table: with what `text_metrics.row_scores` gives for the goal, for translations and summaries with `prediction` and `references`.
        goal: what was asked.
        language: of the texts.
    """
    numbers: dict[str, float] = {}
    codes = unit_codes(table)
    for name, unit in UNITS.items():
        if f"{unit}_errors" not in table:
            continue
        counts = table[[f"{unit}_errors", f"num_{unit}s"]].to_numpy(np.int64)
        numbers |= _interval(name, counts, codes, lambda sums: sums[:, 0] / np.maximum(sums[:, 1], 1))
        if "is_new" in table:
            edits_new, length_new = counts[table["is_new"].to_numpy(bool)].sum(0)
            if length_new:
                numbers[f"{name}_new"] = float(edits_new / length_new)
    if "is_new" in table:
        numbers["num_new"] = int(table["is_new"].sum())
    if goal in ("translate", "summarise"):
        statistics = bleu_statistics(list(table["prediction"]), [list(texts) for texts in table["references"]], language)
        numbers |= _interval("sacrebleu", statistics, codes, lambda sums: np.array([bleu_of(row) for row in sums]))
    for name in ROUGE:
        if name in table:
            numbers |= _interval(name, _and_count(table[name].to_numpy(float)), codes, _ratio)
    return numbers


def units_of(table: pd.DataFrame) -> np.ndarray:
    """Return of each example the unit that may leak, (N,).

    Dates (datetime64) where examples have one, so that all tickers of a day are one unit; else groups (speakers, documents) as text, and
    where a group is unknown or not told, the example itself.
    """
    if "date" in table:
        return pd.to_datetime(table["date"]).to_numpy("datetime64[us]")
    ids = (table["example_id"] if "example_id" in table else table.index.to_series()).astype(str).to_numpy(str)
    groups = table["group"].astype(str).to_numpy(str) if "group" in table else np.full(len(table), "")
    return np.where(groups == "", ids, groups)


def unit_codes(table: pd.DataFrame) -> np.ndarray:
    """Return the number of each example's unit, (N,), from 0; examples that are all units of their own keep their order."""
    names, codes_N = np.unique(units_of(table), return_inverse=True)
    return np.arange(len(table)) if len(names) == len(table) else codes_N


def resampled_sums(values_NK: np.ndarray, codes_N: np.ndarray | None = None, num_resamples: int = NUM_RESAMPLES) -> np.ndarray:
    """Return sums over units drawn with replacement, as many as there are (Efron 1979), (num_resamples, K).

    Args:
        values_NK: what each example adds.
        codes_N: the number of each example's unit, see `unit_codes`; None: each is one.
        num_resamples: how often.
    """
    if codes_N is not None and len(np.unique(codes_N)) < len(codes_N):
        _, codes_N = np.unique(codes_N, return_inverse=True)
        values_NK = np.stack([np.bincount(codes_N, column) for column in values_NK.T], axis=1)
    random = np.random.default_rng(0)
    count = len(values_NK)
    drawn = (np.bincount(random.integers(count, size=count), minlength=count) for _ in range(num_resamples))
    return np.stack([times_N @ values_NK for times_N in drawn])


def interval_of_fraction(is_right_N: np.ndarray, codes_N: np.ndarray) -> tuple[float, float] | None:
    """Return the 95 % interval of the fraction of right answers; None where all are of one unit, which says nothing about others.

    Wilson's (1927) where each example is a unit, and, with a unit for an answer, where all are right or all wrong; else a bootstrap.
    """
    num_right, num_answers, num_units = int(is_right_N.sum()), len(is_right_N), len(np.unique(codes_N))
    if num_units == 1 < num_answers:
        return None
    is_sure = num_right in (0, num_answers)
    num_trials = num_units if is_sure else num_answers
    wilson = wilson_interval(round(num_right * num_trials / num_answers), num_trials)
    if is_sure or num_units == num_answers:
        return wilson
    low, high = np.quantile(_ratio(resampled_sums(_and_count(is_right_N), codes_N)), LEVELS)
    return min(float(low), wilson[0]), max(float(high), wilson[1])


def wilson_interval(num_right: int, num_trials: int) -> tuple[float, float]:
    """Return the 95 % score interval of a fraction (Wilson 1927), to the bit as SciPy computes it, whose statistics take long to import."""
    fraction, total = num_right / num_trials, 2 * (num_trials + Z**2)
    centre = (2 * num_trials * fraction + Z**2) / total
    reach = Z / total * math.sqrt(4 * num_trials * fraction * (1 - fraction) + Z**2)
    return 0.0 if num_right == 0 else centre - reach, 1.0 if num_right == num_trials else centre + reach


def _and_count(values_N: np.ndarray) -> np.ndarray:
    return np.stack([values_N, np.ones(len(values_N))], axis=1)


def _ratio(sums_R2: np.ndarray) -> np.ndarray:
    return sums_R2[:, 0] / sums_R2[:, 1]


def _interval(name: str, values_NK: np.ndarray, codes_N: np.ndarray, metric: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
    """Return the ends of a metric's interval; nothing where all examples are of one unit."""
    if len(np.unique(codes_N)) == 1 < len(codes_N):
        return {}
    drawn = [codes_N] if len(np.unique(codes_N)) == len(codes_N) else [codes_N, np.arange(len(codes_N))]
    ends = np.array([np.quantile(metric(resampled_sums(values_NK, codes)), LEVELS) for codes in drawn])
    return _ends(name, (float(ends[:, 0].min()), float(ends[:, 1].max())))


def _ends(name: str, interval: tuple[float, float] | None) -> dict[str, float]:
    return {} if interval is None else {f"{name}_low": interval[0], f"{name}_high": interval[1]}


def of_sets(table: pd.DataFrame) -> dict[str, float]:
    """Return the 95 % interval of the negative log-likelihood per step, by resampling units (bootstrap, 1,000 times)."""
    known = table[table["num_targets"] > 0]
    counts = known["num_targets"].to_numpy(float)
    return _interval("nll", np.stack([known["nll"].to_numpy(float) * counts, counts], axis=1), unit_codes(known), _ratio)


def of_tags(table: pd.DataFrame) -> dict[str, float]:
    """Return 95 % intervals over sentences, and the accuracy on words that training lacks.

    accuracy_*, f1_*   `low` and `high`, by resampling sentences (bootstrap, 1,000 times, percentiles); where nothing is wrong, or nothing
                       right, as `interval_of_fraction`
    accuracy_new       over words of which the column `is_new_word` is true, whose number is num_new
    """
    right = [np.equal(*pair) for pair in zip(table["prediction"], table["target"], strict=True)]
    codes_N, right_M = unit_codes(table), np.concatenate(right)
    numbers = _ends("accuracy", interval_of_fraction(right_M, np.repeat(codes_N, [len(row) for row in right])))
    if {"num_correct", "num_given", "num_true"} <= set(table.columns):
        counts_N2 = np.stack([2 * table["num_correct"], table["num_given"] + table["num_true"]], axis=1).astype(float)
        correct, total = counts_N2.sum(0)
        if 0 < correct < total:
            numbers |= _interval("f1", counts_N2, codes_N, lambda sums: sums[:, 0] / np.maximum(sums[:, 1], 1))
        elif total:
            has_any_N = counts_N2[:, 1] > 0
            numbers |= _ends("f1", interval_of_fraction(np.full(has_any_N.sum(), correct > 0), codes_N[has_any_N]))
    if "is_new_word" in table:
        is_new = np.concatenate([np.asarray(row, dtype=bool) for row in table["is_new_word"]])
        numbers["num_new"] = int(is_new.sum())
        if is_new.any():
            numbers["accuracy_new"] = float(right_M[is_new].mean())
    return numbers


def of_events(table: pd.DataFrame, ranks: tuple[int, ...]) -> dict[str, float]:
    """Return 95 % intervals over cases of accuracy, hit rates, reciprocal ranks and discounted gains, by resampling units."""
    rank_M = np.concatenate(table["rank"].to_list())
    codes_M = np.repeat(unit_codes(table), [len(row) for row in table["rank"]])
    found = _ends("accuracy", interval_of_fraction(rank_M == 1, codes_M))
    for number in ranks:
        found |= _ends(f"hit_rate_{number}", interval_of_fraction(gains(rank_M, number)[0] > 0, codes_M))
        found |= _interval(f"ndcg_{number}", _and_count(gains(rank_M, number)[1]), codes_M, _ratio)
    return found | _interval("mrr", _and_count(reciprocal(rank_M)), codes_M, _ratio)


def reciprocal(rank_M: np.ndarray) -> np.ndarray:
    """Return 1 / rank, 0 of what is never found (rank 0)."""
    return np.divide(1.0, rank_M, out=np.zeros(len(rank_M)), where=rank_M > 0)


def gains(rank_M: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return whether the right event is among the `most` first, and its discounted gain, 1 / log2(1 + rank) there and 0 elsewhere."""
    is_hit_M = (rank_M > 0) & (rank_M <= most)
    return is_hit_M.astype(float), np.where(is_hit_M, 1 / np.log2(1.0 + np.maximum(rank_M, 1)), 0.0)


def of_intents(table: pd.DataFrame) -> dict[str, float]:
    """Return 95 % intervals of the accuracy of intents and of whole sentences; see `interval_of_fraction`."""
    is_intent_N = (table["intent"] == table["target_intent"]).to_numpy(bool)
    is_tagged_N = np.array([np.array_equal(*pair) for pair in zip(table["prediction"], table["target"], strict=True)])
    codes_N = unit_codes(table)
    return {
        **_ends("intent_accuracy", interval_of_fraction(is_intent_N, codes_N)),
        **_ends("sentence_accuracy", interval_of_fraction(is_intent_N & is_tagged_N, codes_N)),
    }


def of_language(table: pd.DataFrame, is_by_word: bool, has_words: bool) -> dict[str, float]:
    """Return the 95 % intervals of bits per character and perplexity, by resampling units (bootstrap, 1,000 times)."""
    known = table[table["num_targets"] > 0]
    found: dict[str, float] = {}
    codes_N = unit_codes(known)

    def sums(name: str) -> np.ndarray:
        return known[["nats", name]].to_numpy(float)

    if not is_by_word:
        found |= _interval("bits_per_character", sums("num_characters"), codes_N, lambda sums_R2: _ratio(sums_R2) / np.log(2))
    if has_words and known["num_words"].sum():
        found |= _interval("perplexity", sums("num_words"), codes_N, lambda sums_R2: np.exp(_ratio(sums_R2)))
    return found


def of_classes(table: pd.DataFrame, labels: tuple[str, ...]) -> dict[str, float]:
    """Return accuracy's interval (see `interval_of_fraction`) and the expected calibration error (15 bins, Guo et al. 2017)."""
    interval = interval_of_fraction((table["target"] == table["prediction"]).to_numpy(), unit_codes(table))
    scores = torch.tensor(table[[f"score/{label}" for label in labels]].to_numpy(np.float32))
    targets = torch.tensor(table["target"].map({label: number for number, label in enumerate(labels)}).to_numpy(np.int64))
    error = multiclass_calibration_error(scores, targets, len(labels), n_bins=NUM_BINS, norm="l1")
    return _ends("accuracy", interval) | {"ece": float(error)}


def of_forecasts(table: pd.DataFrame, name: str, is_positive: bool, quantiles: tuple[float, ...]) -> dict[str, float]:
    """Return what one dimension of a forecast gives.

    mse, skill       per dimension (skill against persistence, where that makes an error)
    scaled_mse       of series with scales of their own, in which skill is measured then, too
    direction_*      fraction of forecasts on the right side of persistence, and its interval (see `interval_of_fraction`)
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
        numbers |= direction(forecast_change(forecast, persistence, target, scale), target - persistence, unit_codes(table))
    if is_positive:
        numbers["qlike"] = float((target / forecast - np.log(target / forecast) - 1).mean())
    if "date" in table:
        numbers |= information(table["date"].to_numpy(), forecast, target)
    return numbers | _coverage(table, (name,), quantiles)


def of_paths(table: pd.DataFrame, names: tuple[str, ...], quantiles: tuple[float, ...]) -> dict[str, float]:
    """Return coverage and mean width of central intervals over all steps of paths, and the scaled errors of the first and last step.

    first_step, last_step   the scaled mean squared error of these alone (`errors_by_step` gives all of them)
    """
    errors = errors_by_step(table, names)["scaled_mse"]
    return {"first_step": float(errors.iloc[0]), "last_step": float(errors.iloc[-1])} | _coverage(table, names, quantiles)


def errors_by_step(table: pd.DataFrame, names: tuple[str, ...], quantiles: tuple[float, ...] = ()) -> pd.DataFrame:
    """Return of each step of paths the errors, persistence's beside them, and the coverage of the outer quantiles.

    Args:
        table: of predictions, with one column a step, and `scale` and `persistence` for all.
        names: of the steps, in order.
        quantiles: in order, the outer ones first and last.

    Returns:
        step (from 1), scaled_mse, scaled_mae, persistence_scaled_mse, persistence_scaled_mae, perhaps coverage.
    """
    target, forecast = (table[[f"{kind}/{name}" for name in names]].to_numpy(float) for kind in ("target", "prediction"))
    scale, persistence = (table[name].to_numpy(float)[:, None] for name in ("scale", "persistence"))
    found = pd.DataFrame({"step": np.arange(1, len(names) + 1)})
    for kind, values in (("", forecast), ("persistence_", persistence)):
        errors = (values - target) / scale
        found[f"{kind}scaled_mse"], found[f"{kind}scaled_mae"] = np.square(errors).mean(0), np.abs(errors).mean(0)
    if quantiles:
        low, high = (table[[f"quantile/{name}/{level:g}" for name in names]].to_numpy(float) for level in (quantiles[0], quantiles[-1]))
        found["coverage"] = ((low <= target) & (target <= high)).mean(0)
    return found


def _coverage(table: pd.DataFrame, names: tuple[str, ...], quantiles: tuple[float, ...]) -> dict[str, float]:
    """Return the fraction of targets within each central interval, and its mean width, over these dimensions."""
    numbers = {}
    targets = table[[f"target/{name}" for name in names]].to_numpy(float)
    for low, high in zip(quantiles[: len(quantiles) // 2], quantiles[::-1], strict=False):
        below, above = (table[[f"quantile/{name}/{level:g}" for name in names]].to_numpy(float) for level in (low, high))
        percent = f"{100 * (high - low):g}"
        numbers[f"coverage/{percent}"] = float(((below <= targets) & (targets <= above)).mean())
        numbers[f"width/{percent}"] = float((above - below).mean())
    return numbers


def forecast_change(forecast: np.ndarray, persistence: np.ndarray, target: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return what changes were forecast, (N,); 0 where it is less than 1e-5 of the usual change: rounding is no forecast of a change."""
    usual = np.sqrt(np.square((target - persistence) / scale).mean())
    change = forecast - persistence
    return np.where(np.abs(change) <= 1e-5 * usual * scale, 0.0, change)


def direction(forecast_change: np.ndarray, true_change: np.ndarray, codes_N: np.ndarray | None = None) -> dict[str, float]:
    """Return how often the sign of a change was right, where something changed and a change was forecast.

    Args:
        forecast_change, true_change: (N,).
        codes_N: the number of each example's unit, see `unit_codes`; None: each is one.
    """
    is_counted = (forecast_change != 0) & (true_change != 0)
    codes_N = np.arange(len(is_counted)) if codes_N is None else codes_N
    if not is_counted.any():
        return {}
    is_right = (np.sign(forecast_change) == np.sign(true_change))[is_counted]
    return {"direction_accuracy": float(is_right.mean())} | _ends("direction", interval_of_fraction(is_right, codes_N[is_counted]))


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
