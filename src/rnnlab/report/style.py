"""How a report looks and writes: one colour a group everywhere, and numbers as people read them."""

import math
from dataclasses import dataclass

from rnnlab.report.comparison import Comparison, Summary
from rnnlab.tasks import Metric
from rnnlab.tasks.metrics import entry_of

# Okabe & Ito (2008), "Color Universal Design", without black and yellow, which vanish on a dark or a light page.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREYS = ("#7F7F7F", "#9C8B74", "#6B7C8C")  # of baselines
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star")
NO_NUMBER = "-"


@dataclass(frozen=True)
class Look:
    """How a group is drawn: a colour as `#RRGGBB`, the dash of its line and the symbol of its points by plotly's names."""

    colour: str
    dash: str
    symbol: str

    def faint(self, opacity: float) -> str:
        """Return the colour with this opacity, as CSS writes it."""
        red, green, blue = (int(self.colour[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({red},{green},{blue},{opacity:g})"


def looks(comparison: Comparison) -> dict[str, Look]:
    """Give every group its look, and every search that of the first group that is named after it; baselines are grey.

    The order of groups gives the colours; past the sixth, dashes and symbols tell equal colours apart.
    """
    networks = [group.name for group in comparison.groups if not group.is_baseline]
    baselines = [group.name for group in comparison.groups if group.is_baseline]
    found = {name: _look(COLOURS, place) for place, name in enumerate(networks)}
    found |= {name: _look(GREYS, place) for place, name in enumerate(baselines)}
    for search in comparison.trials:
        owner = next((name for name in found if name.partition(" ")[0] == search), None)
        found.setdefault(search, found[owner] if owner else _look(COLOURS, len(found) - len(baselines)))
    return found


def _look(colours: tuple[str, ...], place: int) -> Look:
    turn, number = divmod(place, len(colours))
    return Look(colours[number], DASHES[turn % len(DASHES)], SYMBOLS[(number + turn) % len(SYMBOLS)])


@dataclass(frozen=True)
class Scale:
    """Write values of the compared metric.

    Args:
        factor: by which a value is multiplied.
        places: decimals of a value.
        unit: after a value, perhaps empty.
        unit_of_gain: after a difference, perhaps empty.
    """

    factor: float
    places: int
    unit: str
    unit_of_gain: str

    def value(self, value: float | None) -> str:
        """Write a value, without its unit."""
        return self._write(value, self.places)

    def spread(self, mean: float, std: float | None) -> str:
        """Write a mean and, where there is one, the standard deviation."""
        return self.value(mean) + ("" if std is None else f" ± {self.value(std)}")

    def interval(self, low: float | None, high: float | None) -> str:
        """Write an interval; of fractions with one decimal, as it is never known better."""
        if low is None or high is None:
            return NO_NUMBER
        places = 1 if self.unit == "%" else self.places
        return f"[{self._write(low, places)}, {self._write(high, places)}]"

    def gain(self, gain: float | None) -> str:
        """Write a difference with its sign, without its unit."""
        return self._write(gain, self.places, "+")

    def gains(self, low: float | None, high: float | None) -> str:
        """Write the interval of a difference."""
        if low is None or high is None:
            return NO_NUMBER
        return f"[{self.gain(low)}, {self.gain(high)}]"

    def _write(self, value: float | None, places: int, sign: str = "") -> str:
        if value is None or not math.isfinite(value):
            return NO_NUMBER
        text = f"{self.factor * value:{sign}.{places}f}"
        return text.lstrip("+-") if float(text) == 0 else text


def scale_of(comparison: Comparison) -> Scale:
    """Return how a comparison's metric is written: fractions in percent with two decimals, others with four digits of the largest mean.

    Where the smallest would then have fewer than three, it has three: one group that failed hides no others. Of metrics like a skill, whose
    size is one, only the largest counts: near 0 the difference matters.
    """
    metric = comparison.metric
    if metric.is_fraction:
        return Scale(metric.factor, 2, "%", "points")
    sizes = [abs(summary.mean) for summary in comparison.summaries.values() if math.isfinite(summary.mean) and summary.mean] or [1.0]
    places = 3 - math.floor(math.log10(max(sizes)))
    if not entry_of(metric.name).is_of_size_one:
        places = max(places, 2 - math.floor(math.log10(min(sizes))))
    return Scale(1.0, min(max(places, 0), 9), metric.unit, metric.unit)


def shortened(text: str, longest: int) -> str:
    """Leave out the middle of a long name: what tells names apart is often at the end."""
    if len(text) <= longest:
        return text
    num_last = longest // 3
    return f"{text[: longest - num_last - 1]}\N{HORIZONTAL ELLIPSIS}{text[-num_last:]}"


def in_unit(text: str, unit: str) -> str:
    """Add a unit in brackets where there is one."""
    return f"{text} ({unit})" if unit else text


def wish(metric: Metric) -> str:
    """Say which way is better."""
    return "more is better" if metric.direction == "max" else "less is better"


def is_number(value: float | None) -> bool:
    """Tell whether there is a finite value."""
    return value is not None and math.isfinite(value)


def count(value: float | None) -> str:
    """Write a count with thousands apart, of small ones a decimal where it says something."""
    if value is None or not math.isfinite(value):
        return NO_NUMBER
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:.1f}"


def duration(seconds: float | None) -> str:
    """Write a time in the unit in which a person would say it."""
    if seconds is None or not math.isfinite(seconds):
        return NO_NUMBER
    for limit, size, unit in ((120.0, 1.0, "s"), (7200.0, 60.0, "min"), (172_800.0, 3600.0, "h")):
        if seconds < limit:
            return f"{seconds / size:.{0 if seconds / size >= 100 else 1}f} {unit}"
    return f"{seconds / 86_400:.1f} d"


def p_value(p: float | None) -> str:
    """Write a p-value, small ones as a bound."""
    if p is None or not math.isfinite(p):
        return NO_NUMBER
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def num_runs(summary: Summary) -> str:
    """Write how many runs a group has: seeds x folds, and how many of these there are where some are missing."""
    num_folds = max(summary.num_folds, 1)
    planned = f"{summary.num_seeds} x {num_folds}" if num_folds > 1 else str(summary.num_seeds)
    return planned if summary.num_runs == summary.num_seeds * num_folds else f"{summary.num_runs} of {planned}"


def best_by_validation(comparison: Comparison) -> str | None:
    """Return the name of the group with the best validation, None where none is known."""
    sign = 1 if comparison.metric.direction == "max" else -1
    known = {name: sign * s.validation for name, s in comparison.summaries.items() if s.validation is not None and is_number(s.validation)}
    return max(known, key=lambda name: known[name]) if known else None
