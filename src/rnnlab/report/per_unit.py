"""Take a metric apart: what each unit that may leak (speaker, document, date) adds to it, from a run's table of predictions.

    accuracy, sentence_error, direction_accuracy   right or wrong answers, answers
    wer, cer, per                                  edits, length
    loss (of classes), mse, mae, qlike, rougeL     sum, count (of a label at every step, over steps)
    scaled_mse, scaled_mae                         likewise
    rmse, skill                                    sum of squared errors, and the count, or persistence's sum
    nll (of sets of labels)                        nats, steps
    frame_accuracy                                 labels that are right, labels that hold or are given
    mrr                                            sum of reciprocal ranks, answers
    f1 (of entities)                               twice the entities that are right, those that are given or true
    f1_macro                                       true positives, false positives, false negatives of every class
    sacrebleu                                      matches, n-grams, lengths (see `text_metrics.bleu_statistics`)

Forecasts of several targets are taken together (`mse`) or one by one (`mse/return_5d`).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rnnlab.report.comparison import UnitSums
from rnnlab.tasks.table_metrics import forecast_change, reciprocal, units_of
from rnnlab.tasks.tag import COUNTS as ENTITY_COUNTS
from rnnlab.tasks.text_metrics import MAX_NGRAM, UNITS, bleu_of, bleu_statistics

Function = Callable[[np.ndarray], np.ndarray]
"""From sums, (..., K), to a metric, (...)."""
OUTCOMES = ("true_positives", "false_positives", "false_negatives")
NUM_BLEU = 2 * MAX_NGRAM + 2
SMALLEST_SCORE = 1e-12


@dataclass(frozen=True)
class Asked:
    """A table, and which of its targets a metric is of.

    Args:
        table: of predictions.
        names: the targets of forecasts that are asked for; empty of all else.
        language: of the target, for BLEU.
    """

    table: pd.DataFrame
    names: tuple[str, ...]
    language: str

    def forecasts(self, kind: str) -> np.ndarray:
        """Return `target`, `prediction` or `persistence` as (N, D) float64; what is the same for all steps of a path is one column."""
        if kind in self.table and f"{kind}/{self.names[0]}" not in self.table:
            return np.repeat(self.table[kind].to_numpy(float)[:, None], len(self.names), axis=1)
        return self.table[[f"{kind}/{name}" for name in self.names]].to_numpy(float)

    def scale(self) -> np.ndarray:
        """Return the units in which errors are measured, (N, D): those of series with scales of their own, else 1."""
        return self.forecasts("scale") if _has_scales(self.table) else np.ones((len(self.table), len(self.names)))


@dataclass(frozen=True)
class Decomposition:
    """How a metric is computed from a table of predictions, unit by unit.

    Args:
        is_offered: whether a table has the columns.
        parts: what each example adds, (N, K).
        whole: the function of sums that is the metric.
        example: what one says of a single example, (N,): whether it was right, or its loss; NaN where nothing is.
        is_loss: whether that is a loss.
        is_mean: whether the metric is the first sum over the second.
        counts_all: whether every example counts, whatever is forecast.
    """

    is_offered: Callable[[pd.DataFrame], bool]
    parts: Callable[[Asked], np.ndarray]
    whole: Function
    example: Callable[[Asked], np.ndarray]
    is_loss: bool
    is_mean: bool = True
    counts_all: bool = True


def unit_sums(table: pd.DataFrame, metric: str, language: str = "") -> UnitSums:
    """Sum over each unit what a metric is a function of.

    Args:
        table: one row a test example: example_id, group, perhaps date, targets, predictions, ... (see `evaluation.with_examples`).
        metric: as in `test/<metric>`.
        language: of the target, for BLEU's words.

    Returns:
        units in order: dates (datetime64) where examples have one, so that all tickers of a day are one unit; else groups (speakers,
        documents) as text, and where a group is unknown its examples.

    Raises:
        ValueError: where this metric cannot be taken apart; names those that can.
    """
    decomposition, asked = _asked(table, metric, language)
    units, number_N = np.unique(units_of(table), return_inverse=True)
    parts_NK = decomposition.parts(asked)
    sums_UK = np.zeros((len(units), parts_NK.shape[1]))
    np.add.at(sums_UK, number_N, parts_NK)
    return UnitSums(units, sums_UK, _horizon(asked.names))


def function_of(metric: str) -> Function:
    """Return the function from sums over units, (..., K), to the metric, (...)."""
    return _decomposition(metric).whole


def is_mean(metric: str) -> bool:
    """Say whether a metric is the first of its two sums over the second."""
    return _decomposition(metric).is_mean


def counts_all(metric: str) -> bool:
    """Say whether every example counts, whatever is forecast of it: else runs on the same examples have `rights` of different ones."""
    return _decomposition(metric).counts_all


def rights(table: pd.DataFrame, metric: str, language: str = "") -> dict[str, float]:
    """Return for each example whether it was right, 1.0 or 0.0, or its loss (see `is_loss`); examples that don't count are left out."""
    decomposition, asked = _asked(table, metric, language)
    values = decomposition.example(asked)
    return {str(name): float(value) for name, value in zip(table["example_id"], values, strict=True) if not np.isnan(value)}


def is_loss(metric: str) -> bool:
    """Say whether `rights` of a metric are losses (less is better)."""
    return _decomposition(metric).is_loss


def separable(table: pd.DataFrame) -> list[str]:
    """Name the metrics that can be taken apart with these columns."""
    return [name for name, decomposition in DECOMPOSITIONS.items() if decomposition.is_offered(table)]


def _decomposition(metric: str) -> Decomposition:
    name = metric.partition("/")[0]
    if name not in DECOMPOSITIONS:
        raise ValueError(f"{metric!r} cannot be taken apart by speaker, document or date; these can: {', '.join(DECOMPOSITIONS)}")
    return DECOMPOSITIONS[name]


def _asked(table: pd.DataFrame, metric: str, language: str) -> tuple[Decomposition, Asked]:
    decomposition = _decomposition(metric)
    if not decomposition.is_offered(table):
        raise ValueError(
            f"these predictions lack the columns that {metric!r} is made of; of these can be taken apart: {', '.join(separable(table))}"
        )
    known, names = _targets(table), _names(table, metric)
    if "/" in metric and not names:
        raise ValueError(f"{metric!r} asks for a target that these predictions don't have; they have: {', '.join(known) or 'none'}")
    if metric == "direction_accuracy" and len(names) > 1:
        raise ValueError(f"{metric!r} is of one target: {', '.join(f'{metric}/{name}' for name in names)}")
    return decomposition, Asked(table, names, language)


def _targets(table: pd.DataFrame) -> tuple[str, ...]:
    return tuple(_after(table, "target/"))


def _names(table: pd.DataFrame, metric: str) -> tuple[str, ...]:
    asked = metric.partition("/")[2]
    return tuple(name for name in _targets(table) if asked in ("", name))


def _after(table: pd.DataFrame, start: str) -> list[str]:
    return [str(column).removeprefix(start) for column in table if str(column).startswith(start)]


def _horizon(names: tuple[str, ...]) -> int:
    """Return how many steps the farthest of these targets lies ahead, by the number in its name (`return_5d`); 1 if none has one."""
    found = [re.search(r"_(\d+)d?$", name) for name in names]
    return max((int(match[1]) for match in found if match), default=1)


# What each example adds -----------------------------------------------------------------------------------------------------------


def _answers(asked: Asked) -> np.ndarray:
    """Count right answers and answers, (N, 2); where every step has an answer they are lists."""
    target, prediction = asked.table["target"].to_numpy(), asked.table["prediction"].to_numpy()
    if not isinstance(target[0], list | np.ndarray):
        return np.stack([target == prediction, np.ones(len(target))], axis=1).astype(float)
    counts = [(int(np.equal(right, given).sum()), len(right)) for right, given in zip(target, prediction, strict=True)]
    return np.array(counts, dtype=float)


def _labels(table: pd.DataFrame) -> list[str]:
    return _after(table, "score/")


def _outcomes(asked: Asked) -> np.ndarray:
    """Mark true positives, false positives and false negatives of every class, (N, 3 C)."""
    labels = np.array(_labels(asked.table))
    is_target, is_given = (asked.table[key].to_numpy(str)[:, None] == labels for key in ("target", "prediction"))
    return np.concatenate([is_target & is_given, ~is_target & is_given, is_target & ~is_given], axis=1).astype(float)


def _cross_entropy(asked: Asked) -> np.ndarray:
    """Return the mean over each example's answers, (N,)."""
    if "cross_entropy" in asked.table:
        return asked.table["cross_entropy"].to_numpy(float)
    labels = _labels(asked.table)
    scores_NC = asked.table[[f"score/{label}" for label in labels]].to_numpy(float)
    place_N = asked.table["target"].map({label: place for place, label in enumerate(labels)}).to_numpy(int)
    return -np.log(np.maximum(scores_NC[np.arange(len(place_N)), place_N], SMALLEST_SCORE))


def _cross_entropy_sums(asked: Asked) -> np.ndarray:
    num_answers_N = _answers(asked)[:, 1]
    return np.stack([_cross_entropy(asked) * num_answers_N, num_answers_N], axis=1)


def _column(name: str) -> Callable[[Asked], np.ndarray]:
    return lambda asked: asked.table[name].to_numpy(float)


def _edits(unit: str) -> Callable[[Asked], np.ndarray]:
    return lambda asked: asked.table[[f"{unit}_errors", f"num_{unit}s"]].to_numpy(float)


def _is_without_edits(unit: str) -> Callable[[Asked], np.ndarray]:
    return lambda asked: (asked.table[f"{unit}_errors"].to_numpy() == 0).astype(float)


def _is_sentence_wrong(asked: Asked) -> np.ndarray:
    return (asked.table["word_errors"].to_numpy() > 0).astype(float)


def _nats(asked: Asked) -> np.ndarray:
    counts = asked.table["num_targets"].to_numpy(float)
    return np.stack([np.where(counts > 0, asked.table["nll"].to_numpy(float) * counts, 0), counts], axis=1)


def _frames(asked: Asked) -> np.ndarray:
    right, *wrong = (asked.table[name].to_numpy(float) for name in OUTCOMES)
    return np.stack([right, right + sum(wrong)], axis=1)


def _entities(asked: Asked) -> np.ndarray:
    correct, given, true = (asked.table[name].to_numpy(float) for name in ENTITY_COUNTS)
    return np.stack([2 * correct, given + true], axis=1)


def _reciprocals(asked: Asked) -> np.ndarray:
    return np.array([(reciprocal(np.asarray(row)).sum(), len(row)) for row in asked.table["rank"]], dtype=float)


def _are_entities_right(asked: Asked) -> np.ndarray:
    """Return whether all entities of a sentence were found, and no others."""
    correct, given, true = (asked.table[name].to_numpy() for name in ENTITY_COUNTS)
    return ((correct == given) & (correct == true)).astype(float)


def _bleu_parts(asked: Asked) -> np.ndarray:
    references = [list(texts) for texts in asked.table["references"]]
    return bleu_statistics(list(asked.table["prediction"]), references, asked.language).astype(float)


def _sentence_loss(asked: Asked) -> np.ndarray:
    """Return 1 less chrF2 of each sentence: BLEU of a sentence says little."""
    return 1 - asked.table["chrf"].to_numpy(float) / 100


def _squared(asked: Asked) -> np.ndarray:
    return np.square(asked.forecasts("prediction") - asked.forecasts("target"))


def _absolute(asked: Asked) -> np.ndarray:
    return np.abs(asked.forecasts("prediction") - asked.forecasts("target"))


def _qlike(asked: Asked) -> np.ndarray:
    target, forecast = asked.forecasts("target"), asked.forecasts("prediction")
    if (target <= 0).any() or (forecast <= 0).any():
        raise ValueError("qlike is of positive targets and forecasts, and these are not all positive: compare by mse")
    return target / forecast - np.log(target / forecast) - 1


def _scaled(asked: Asked) -> np.ndarray:
    return _squared(asked) / np.square(asked.scale())


def _scaled_absolute(asked: Asked) -> np.ndarray:
    return _absolute(asked) / asked.scale()


def _persistence(asked: Asked) -> np.ndarray:
    return np.square((asked.forecasts("persistence") - asked.forecasts("target")) / asked.scale())


def _direction(asked: Asked) -> np.ndarray:
    """Return whether the sign of a change was right, NaN where nothing changed or no change was forecast (`table_metrics.direction`)."""
    forecast, target, persistence = (asked.forecasts(kind)[:, 0] for kind in ("prediction", "target", "persistence"))
    change = forecast_change(forecast, persistence, target, asked.scale()[:, 0])
    is_counted = (change != 0) & (target != persistence)
    return np.where(is_counted, np.sign(change) == np.sign(target - persistence), np.nan)


def _counted(values: Callable[[Asked], np.ndarray]) -> Callable[[Asked], np.ndarray]:
    """Make (sum, count) of values, (N,) or (N, D); NaN does not count."""

    def parts(asked: Asked) -> np.ndarray:
        values_ND = values(asked).reshape(len(asked.table), -1)
        is_counted = ~np.isnan(values_ND)
        return np.stack([np.where(is_counted, values_ND, 0).sum(1), is_counted.sum(1)], axis=1).astype(float)

    return parts


def _averaged(values: Callable[[Asked], np.ndarray]) -> Callable[[Asked], np.ndarray]:
    return lambda asked: values(asked).mean(axis=1)


# The metric of sums ---------------------------------------------------------------------------------------------------------------


def _ratio(sums: np.ndarray) -> np.ndarray:
    return np.divide(sums[..., 0], sums[..., 1], out=np.full(sums.shape[:-1], np.nan), where=sums[..., 1] != 0)


def _f1(sums: np.ndarray) -> np.ndarray:
    """Divide; 0 where there is no entity, neither given nor true."""
    return np.nan_to_num(_ratio(sums))


def _f1_macro(sums: np.ndarray) -> np.ndarray:
    """Average F1 over the classes that occur, be it as target or as prediction (so does torchmetrics)."""
    right, *wrong = np.split(sums, 3, axis=-1)
    total = 2 * right + sum(wrong)
    occurs = total > 0
    scores = np.divide(2 * right, total, out=np.zeros_like(total), where=occurs)
    return scores.sum(-1) / np.maximum(occurs.sum(-1), 1)


def _bleu(sums: np.ndarray) -> np.ndarray:
    return np.array([bleu_of(row) for row in sums.reshape(-1, NUM_BLEU)]).reshape(sums.shape[:-1])


# All ------------------------------------------------------------------------------------------------------------------------------


def _has(*columns: str) -> Callable[[pd.DataFrame], bool]:
    return lambda table: set(columns) <= set(table.columns)


def _has_classes(table: pd.DataFrame) -> bool:
    return _has("target", "prediction")(table) and not {"references", "nll"} & set(table.columns)


def _has_scores(table: pd.DataFrame) -> bool:
    return _has_classes(table) and bool(_labels(table))


def _has_losses(table: pd.DataFrame) -> bool:
    return _has_scores(table) or (_has_classes(table) and "cross_entropy" in table)


def _has_forecasts(table: pd.DataFrame) -> bool:
    return bool(_targets(table))


def _has_persistence(table: pd.DataFrame) -> bool:
    return _has_forecasts(table) and _has_each(table, "persistence")


def _has_scales(table: pd.DataFrame) -> bool:
    return _has_forecasts(table) and _has_each(table, "scale")


def _has_each(table: pd.DataFrame, kind: str) -> bool:
    """Tell whether there is such a column for each target, or one for all."""
    return kind in table or all(f"{kind}/{name}" in table for name in _targets(table))


def _is_right(asked: Asked) -> np.ndarray:
    counts = _answers(asked)
    return counts[:, 0] / np.maximum(counts[:, 1], 1)


def _joined_sums(asked: Asked) -> np.ndarray:
    return np.stack([_scaled(asked).sum(1), _persistence(asked).sum(1)], axis=1)


_MEAN_SQUARE = _averaged(_squared)
DECOMPOSITIONS = {
    "accuracy": Decomposition(_has_classes, _answers, _ratio, _is_right, is_loss=False),
    "f1_macro": Decomposition(_has_scores, _outcomes, _f1_macro, _is_right, is_loss=False, is_mean=False),
    "loss": Decomposition(_has_losses, _cross_entropy_sums, _ratio, _cross_entropy, is_loss=True),
    "nll": Decomposition(_has("nll", "num_targets"), _nats, _ratio, _column("nll"), is_loss=True),
    "nll_per_sequence": Decomposition(_has("nll", "num_targets"), _counted(_column("nll")), _ratio, _column("nll"), is_loss=True),
    "mrr": Decomposition(_has("rank"), _reciprocals, _ratio, lambda asked: _ratio(_reciprocals(asked)), is_loss=False),
    "f1": Decomposition(_has(*ENTITY_COUNTS), _entities, _f1, _are_entities_right, is_loss=False, is_mean=False),
    "frame_accuracy": Decomposition(_has(*OUTCOMES), _frames, _ratio, lambda asked: 1 - _ratio(_frames(asked)), is_loss=True),
    **{
        name: Decomposition(_has(f"{unit}_errors", f"num_{unit}s"), _edits(unit), _ratio, _is_without_edits(unit), is_loss=False)
        for name, unit in UNITS.items()
    },
    "sentence_error": Decomposition(
        _has("word_errors", "char_errors"), _counted(_is_sentence_wrong), _ratio, lambda asked: 1 - _is_sentence_wrong(asked), is_loss=False
    ),
    "sacrebleu": Decomposition(_has("prediction", "references", "chrf"), _bleu_parts, _bleu, _sentence_loss, is_loss=True, is_mean=False),
    "rougeL": Decomposition(_has("rougeL"), _counted(_column("rougeL")), _ratio, lambda asked: 1 - _column("rougeL")(asked), is_loss=True),
    "mse": Decomposition(_has_forecasts, _counted(_squared), _ratio, _MEAN_SQUARE, is_loss=True),
    "scaled_mse": Decomposition(_has_scales, _counted(_scaled), _ratio, _averaged(_scaled), is_loss=True),
    "scaled_mae": Decomposition(_has_scales, _counted(_scaled_absolute), _ratio, _averaged(_scaled_absolute), is_loss=True),
    "rmse": Decomposition(
        _has_forecasts, _counted(_squared), lambda sums: np.sqrt(_ratio(sums)), _MEAN_SQUARE, is_loss=True, is_mean=False
    ),
    "mae": Decomposition(_has_forecasts, _counted(_absolute), _ratio, _averaged(_absolute), is_loss=True),
    "qlike": Decomposition(_has_forecasts, _counted(_qlike), _ratio, _averaged(_qlike), is_loss=True),
    "skill": Decomposition(_has_persistence, _joined_sums, lambda sums: 1 - _ratio(sums), _averaged(_scaled), is_loss=True, is_mean=False),
    "direction_accuracy": Decomposition(_has_persistence, _counted(_direction), _ratio, _direction, is_loss=False, counts_all=False),
}
"""How each metric is taken apart, by name."""
