"""The registry of metrics: direction, unit, place in tables and way of writing of each, by name.

An entry covers its own name and every longer one that begins with it: `f1` covers `f1_macro` and `f1/<label>`, `wer` covers `wer_new` and
`wer_low`. Whatever shows, compares or checks a metric asks here. To add a metric, add an entry here and compute it in its task.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Direction = Literal["min", "max"]
FRACTION, TARGET_UNIT = "fraction", "target"
"""Units of entries: a number between 0 and 1, written in percent; the unit of the data's target."""
_ILLEGAL = re.compile(r"[^\w\-. :]")
LONGEST_NAME = 200
"""Characters of a label in a metric's name; tracking stores take 250 in all."""
LEAST_DIGITS, MOST_DIGITS = 5, 17
USUAL_RANKS = (1, 2, 3, 5, 10, 20, 50, 100)
"""Of hits among the k most probable: the k that the summary of a run lists."""
MEASURED_EVERY_EPOCH = ("speed/", "memory/")
"""Metrics that training has logged with every epoch."""


@dataclass(frozen=True)
class Entry:
    """Describe the metrics whose names begin with one word.

    Args:
        name: the word.
        direction: `max` if more is better; None if neither is (a coverage has a level to meet).
        unit: `FRACTION`, `TARGET_UNIT`, or the unit itself ("" for a pure number).
        listed: which of its metrics the summary of a run lists, in this order.
        is_of_size_one: whether its values are fractions or differences and ratios of such, so that near 0 only the absolute difference of
            two values says how far apart they are.
        least, most: what a value can be at least and at most.
    """

    name: str
    direction: Direction | None
    unit: str
    listed: tuple[str, ...] = ()
    is_of_size_one: bool = False
    least: float = 0.0
    most: float = math.inf


@dataclass(frozen=True)
class Metric:
    """Name a metric of some data.

    Args:
        name: as in `test/<name>`.
        direction: `max` if more is better.
        unit: `fraction` (written in percent, differences in points) or the unit in which it is measured, perhaps empty.
    """

    name: str
    direction: Direction
    unit: str

    @classmethod
    def named(cls, name: str, target_unit: str = "") -> "Metric":
        """Return a metric of data whose target has this unit; less is better of those that have no direction."""
        entry = entry_of(name)
        return cls(name, entry.direction or "min", target_unit if entry.unit == TARGET_UNIT else entry.unit)

    @property
    def is_fraction(self) -> bool:
        """Whether values lie between 0 and 1 and are written in percent."""
        return self.unit == FRACTION

    @property
    def factor(self) -> float:
        """By what a value is multiplied before it is written."""
        return 100.0 if self.is_fraction else 1.0

    def within(self, low: float, high: float) -> tuple[float, float]:
        """Return an interval without what the metric cannot be."""
        entry = entry_of(self.name)
        return max(low, entry.least), min(high, entry.most)

    def shown(self, value: float) -> str:
        """Write a value as people read it."""
        return f"{100 * value:.2f} %" if self.is_fraction else f"{written(value)[0]}{' ' + self.unit if self.unit else ''}"


def _fraction(name: str, direction: Direction | None, *listed: str) -> Entry:
    """Return an entry of a fraction; an error rate may be above 1."""
    return Entry(name, direction, FRACTION, listed, is_of_size_one=True, most=math.inf if direction == "min" else 1.0)


ENTRIES = (
    _fraction("accuracy", "max", "accuracy", "accuracy_new"),
    _fraction("hit_rate", "max", *(f"hit_rate_{number}" for number in USUAL_RANKS)),
    Entry("mrr", "max", "", ("mrr",), is_of_size_one=True, most=1.0),
    Entry("ndcg", "max", "", tuple(f"ndcg_{number}" for number in USUAL_RANKS), is_of_size_one=True, most=1.0),
    _fraction("f1", "max", "f1", "f1_macro"),
    _fraction("precision", "max", "precision", "precision_macro"),
    _fraction("recall", "max", "recall", "recall_macro"),
    _fraction("intent_accuracy", "max", "intent_accuracy"),
    _fraction("sentence_accuracy", "max", "sentence_accuracy"),
    Entry("ece", "min", "", ("ece",), is_of_size_one=True, most=1.0),
    _fraction("wer", "min", "wer", "wer_new"),
    _fraction("per", "min", "per"),
    _fraction("cer", "min", "cer", "cer_new"),
    _fraction("sentence_error", "min", "sentence_error"),
    Entry("sacrebleu", "max", "", ("sacrebleu",), most=100.0),
    Entry("bleu", "max", "", ("bleu_tok_lc",), most=100.0),
    Entry("chrf", "max", "", ("chrf",), most=100.0),
    _fraction("rouge", "max", "rougeL", "rouge1", "rouge2"),
    Entry("bits_per_character", "min", "bits", ("bits_per_character",)),
    Entry("perplexity", "min", "", ("perplexity",), least=1.0),
    _fraction("unknown", None, "unknown"),
    Entry("nll", "min", "nats", ("nll", "nll_per_sequence")),
    _fraction("frame_accuracy", "max", "frame_accuracy"),
    Entry("qlike", "min", "", ("qlike",)),
    Entry("scaled_mse", "min", "", ("scaled_mse",)),
    Entry("scaled_mae", "min", "", ("scaled_mae",)),
    Entry("mase", "min", "", ("mase",)),
    _fraction("smape", "min", "smape"),
    Entry("mse", "min", "", ("mse",)),
    Entry("rmse", "min", TARGET_UNIT, ("rmse",)),
    Entry("mae", "min", TARGET_UNIT, ("mae",)),
    Entry("pinball", "min", TARGET_UNIT, ("pinball",)),
    Entry("crps", "min", TARGET_UNIT, ("crps",)),
    Entry("first_step", "min", "", ("first_step",)),
    Entry("last_step", "min", "", ("last_step",)),
    Entry("skill", "max", "", ("skill",), is_of_size_one=True, least=-math.inf, most=1.0),
    _fraction("direction", "max", "direction_accuracy"),
    Entry("ic", "max", "", ("ic",), is_of_size_one=True, least=-1.0, most=1.0),
    Entry("rank_ic", "max", "", ("rank_ic",), is_of_size_one=True, least=-1.0, most=1.0),
    _fraction("coverage", None, "coverage/90", "coverage/50"),
    Entry("width", None, TARGET_UNIT),
    Entry("loss", "min", "", ("loss",)),
)
"""In the order of tables."""
LISTED = tuple(name for entry in ENTRIES for name in entry.listed)
"""The metrics that the summary of a run lists."""
UNKNOWN = Entry("", None, "", least=-math.inf)


def written(*values: float) -> list[str]:
    """Write numbers that stand beside each other, in at least five digits, the whole integer part, and as many as tell them apart."""
    whole = max((math.floor(math.log10(abs(value))) + 1 for value in values if value and math.isfinite(value)), default=0)
    digits, num_distinct = max(LEAST_DIGITS, min(whole, MOST_DIGITS)), len(set(values))
    if len({_digits(value, digits) for value in values}) < num_distinct:
        apart = (more for more in range(digits, MOST_DIGITS) if len({_digits(value, more) for value in values}) == num_distinct)
        digits = next(apart, MOST_DIGITS - 1) + 1
    return [_digits(value, digits) for value in values]


def _digits(value: float, digits: int) -> str:
    return f"{value:.{digits}g}"


def legal_names(labels: Sequence[str]) -> list[str]:
    """Return a name for each label that a tracking store takes as part of a metric's name, no two alike.

    Letters and digits of any script, blanks and `_ - . :` stay; what else there is becomes `_`. Where two labels would share a name, the
    code points of what was replaced follow: `C#` and `C+` are `C_ 23` and `C_ 2b`.
    """
    plain = [_legal(label) for label in labels]
    taken = {label for label, name in zip(labels, plain, strict=True) if label == name}
    names = []
    for label, name in zip(labels, plain, strict=True):
        if name != label:
            if name in taken or plain.count(name) > 1:
                replaced = [character for character in label if _ILLEGAL.fullmatch(character)] or list(label)
                name = "-".join([f"{name} {ord(replaced[0]):x}", *(f"{ord(each):x}" for each in replaced[1:])]) if label else "_ empty"
            while name in taken:
                name += "_"
            taken.add(name)
        names.append(name)
    return names


def _legal(label: str) -> str:
    name = _ILLEGAL.sub("_", label)
    name = "_" * max(len(name), 1) if name in ("", ".", "..") else name  # a path's names for itself and its parent
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]} {hashlib.sha256(label.encode()).hexdigest()[:8]}"


def entry_of(name: str) -> Entry:
    """Return the entry that covers a metric, `UNKNOWN` if none does; `<split>/` before the name is not part of it."""
    return next((entry for entry in ENTRIES if re.match(rf"{entry.name}(?![a-z])", name)), UNKNOWN)


def direction_of(name: str) -> Direction | None:
    """Return whether more or less of a metric is better; None if neither is."""
    return entry_of(name).direction


def interval_of(name: str, numbers: Mapping[str, float]) -> tuple[float, float] | None:
    """Return the 95 % interval that was computed for a metric, None if none was."""
    stem = name.removesuffix("_accuracy") if name == "direction_accuracy" else name
    return (numbers[f"{stem}_low"], numbers[f"{stem}_high"]) if f"{stem}_low" in numbers else None


def is_averaged(name: str) -> bool:
    """Say whether a metric's mean over runs is worth showing: not that of a bound of another metric or of a count."""
    return not name.endswith(("_low", "_high")) and not name.startswith("num_")


def is_result(name: str) -> bool:
    """Say whether a recorded metric belongs to a run's result, unlike time, memory and curves."""
    return name.startswith(("best/", "test/"))
