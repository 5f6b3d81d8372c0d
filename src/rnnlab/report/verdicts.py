"""Verdicts of a comparison: a sentence on every pair of groups, a row of numbers on every group.

Validation orders groups and says which is best. Test shows whether that holds, and chooses nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, floor, isfinite, log10

import numpy as np

from rnnlab.report.comparison import Group, RunResult, Summary, Verdict
from rnnlab.report.per_unit import function_of
from rnnlab.report.resampling import Sample, take
from rnnlab.report.statistics import LEVEL, Difference, compare, hedges_g, holm, interval_of, seeds_needed
from rnnlab.tasks import Metric

FEWEST_SEEDS = 3
MOST_SEEDS_ADVISED = 100
ADVISED_FROM = 0.5
"""A gain below this part of half its interval is nothing to plan seeds by."""
MORE_UNITS = {"dates": "more dates", "examples": "more test examples", "groups of examples": "more speakers or documents"}


@dataclass(frozen=True)
class Pair:
    """Two groups and the result of comparing them: a difference, or why there is none."""

    first: Group
    second: Group
    found: Difference | None
    refusal: str = ""


def order(groups: Sequence[Group], metric: Metric) -> list[Group]:
    """Return groups by validation, the best first, baselines last; those without validation come after those with it."""
    sign = -1 if metric.direction == "max" else 1

    def place(group: Group) -> tuple[bool, bool, float]:
        value = _validation(group, metric)
        return group.is_baseline, value is None, sign * (value or 0.0)

    return sorted(groups, key=place)


def summaries(groups: Sequence[Group], metric: Metric) -> dict[str, Summary]:
    """Return each group's row of the table, by name."""
    return {group.name: _summary(group, metric) for group in groups}


def verdicts(groups: Sequence[Group], metric: Metric) -> list[Verdict]:
    """Return a verdict on every pair, in the order of groups; p-values are corrected for the number of tested pairs (Holm 1979).

    Two baselines are a pair only where there are no networks: their duels would cost networks power.
    """
    samples: dict[str, Sample] = {}
    refusals: dict[str, str] = {}
    for group in groups:
        try:
            samples[group.name] = take(group.runs, metric, group.is_baseline)
        except ValueError as error:
            refusals[group.name] = f"{group.name}: {error}"
    has_networks = any(not group.is_baseline for group in groups)
    duels = [pair for pair in combinations(groups, 2) if not (has_networks and all(group.is_baseline for group in pair))]
    pairs = [_pair(first, second, samples, refusals, metric) for first, second in duels]
    tested = [place for place, pair in enumerate(pairs) if pair.found is not None and pair.found.p is not None]
    known = [found.p for pair in pairs if (found := pair.found) is not None and found.p is not None]
    corrected = dict(zip(tested, holm(known), strict=True))
    num_open = sum(p >= 1 - LEVEL for p in corrected.values())
    return [_verdict(pair, corrected.get(place), len(tested), num_open, metric) for place, pair in enumerate(pairs)]


def conclusions(groups: Sequence[Group], judged: Sequence[Verdict], metric: Metric) -> list[str]:
    """Return sentences for the top: which network is best by validation, what of it is shown, and what beats the baselines."""
    ordered = order(groups, metric)
    networks, baselines = ([group for group in ordered if group.is_baseline == is_baseline] for is_baseline in (False, True))
    found = _on_the_best(networks, judged, metric) if networks else []
    names = [group.name for group in networks]
    for baseline in baselines if networks else []:
        found += _on_a_baseline(baseline.name, names, judged)
    if judged and all(verdict.p is None for verdict in judged):
        found.append("Nothing was tested: " + judged[0].sentence + ".")
    return found


# -- groups ------------------------------------------------------------------------------------------------------------------------


def _summary(group: Group, metric: Metric) -> Summary:
    values = _by_seed(group, lambda run: _test_value(run, metric))
    whole = _mean(group, lambda run: _test_value(run, metric))
    try:
        limits = interval_of(take(group.runs, metric, group.is_baseline), metric)
    except ValueError:
        limits = None
    return Summary(
        num_runs=len(group.runs),
        num_seeds=len({run.seed for run in group.runs}),
        num_folds=len({run.fold for run in group.runs}),
        validation=_validation(group, metric),
        mean=float("nan") if whole is None else whole,
        std=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        low=limits[0] if limits else None,
        high=limits[1] if limits else None,
        num_parameters=_mean_of(group, "model/num_parameters"),
        seconds=_mean_of(group, "time/fit_seconds"),
        examples_per_second=_mean_of(group, "speed/examples_per_second"),
        memory_mb=_mean_of(group, "memory/peak_mb"),
    )


def _test_value(run: RunResult, metric: Metric) -> float | None:
    if run.sums is not None:
        return float(function_of(metric.name)(run.sums.sums_UK.sum(0)))
    return run.metrics.get(f"test/{metric.name}")


def _validation(group: Group, metric: Metric) -> float | None:
    return _mean_of(group, f"best/{metric.name}")


def _mean_of(group: Group, key: str) -> float | None:
    return _mean(group, lambda run: run.metrics.get(key))


def _mean(group: Group, value_of: Callable[[RunResult], float | None]) -> float | None:
    """Return the mean over runs of a fold, then over folds; None where a fold has no value."""
    folds: dict[str, list[float]] = {run.fold: [] for run in group.runs}
    for run in group.runs:
        if (value := value_of(run)) is not None:
            folds[run.fold].append(value)
    return float(np.mean([np.mean(values) for values in folds.values()])) if folds and all(folds.values()) else None


def _by_seed(group: Group, value_of: Callable[[RunResult], float | None]) -> list[float]:
    """Return the mean over folds of each seed that has all of them."""
    num_folds = len({run.fold for run in group.runs})
    seeds: dict[int, list[float]] = {}
    for run in group.runs:
        if (value := value_of(run)) is not None:
            seeds.setdefault(run.seed, []).append(value)
    return [float(np.mean(values)) for _, values in sorted(seeds.items()) if len(values) == num_folds]


# -- pairs -------------------------------------------------------------------------------------------------------------------------


def _pair(first: Group, second: Group, samples: dict[str, Sample], refusals: dict[str, str], metric: Metric) -> Pair:
    if refused := [refusals[group.name] for group in (first, second) if group.name in refusals]:
        return Pair(first, second, None, "; ".join(refused))
    try:
        return Pair(first, second, compare(samples[first.name], samples[second.name], metric))
    except ValueError as error:
        return Pair(first, second, None, str(error))


def _verdict(pair: Pair, corrected: float | None, num_tested: int, num_open: int, metric: Metric) -> Verdict:
    found, sign = pair.found, 1 if metric.direction == "max" else -1
    sides = [_by_seed(group, lambda run: _test_value(run, metric)) for group in (pair.first, pair.second)]
    effect = hedges_g(*sides) if all(sides) else None
    counts = [len({run.seed for run in group.runs}) for group in (pair.first, pair.second) if not group.is_baseline]
    is_open = corrected is not None and corrected >= 1 - LEVEL
    # A pair that is open is held against this level at worst, once the others are shown.
    needed = seeds_needed(found, (1 - LEVEL) / num_open) if found and is_open else None
    means = [_mean(group, lambda run: _test_value(run, metric)) for group in (pair.first, pair.second)]
    gain = sign * (means[0] - means[1]) if means[0] is not None and means[1] is not None else float("nan")
    return Verdict(
        first=pair.first.name,
        second=pair.second.name,
        gain=found.gain if found else gain,
        low=found.low if found else None,
        high=found.high if found else None,
        p=found.p if found else None,
        p_corrected=corrected,
        effect_size=None if effect is None else sign * effect,
        method=f"{found.method}{f'; Holm over {num_tested} pairs' if num_tested > 1 and corrected is not None else ''}"
        if found
        else "not compared",
        num_seeds=min(counts, default=1),
        seeds_needed=needed,
        sentence=_sentence(pair, corrected, num_tested, needed, metric),
    )


def _sentence(pair: Pair, corrected: float | None, num_tested: int, needed: int | None, metric: Metric) -> str:
    both, found = f"{pair.first.name} and {pair.second.name}", pair.found
    if found is None:
        return f"{both}: not compared ({pair.refusal})"
    if corrected is None or found.p is None:
        return f"{both}: {_why_untested(pair, found)}"
    p = f"{p_text(corrected)}{' after correction' if num_tested > 1 else ''}"
    if corrected < 1 - LEVEL:
        better, worse = (pair.first.name, pair.second.name) if found.gain > 0 else (pair.second.name, pair.first.name)
        return f"{better} beats {worse} by {_gain_text(found, metric)}{_details(found, metric, p)}"
    if found.low is None or found.high is None:
        same = f"every one of the test {found.unit} scores the same in both" if found.gain == 0 else f"no difference shown ({p})"
        return f"{both}: {same}"
    bound = max(abs(found.low), abs(found.high))
    if found.p < 1 - LEVEL:
        before_and_after = f"{p_text(found.p)} before and {p_text(corrected).removeprefix('p = ')} after"
        shown = f"no difference shown after correction for {num_tested} comparisons ({_gain_text(found, metric)}, {before_and_after})"
    else:
        shown = f"no difference shown ({p})"
    limit = _amount(bound, metric, _places(bound - abs(found.gain), metric), is_bound=True)
    return f"{both}: {shown}; a difference above {limit} is excluded{_advice(found, needed, metric)}"


def _why_untested(pair: Pair, found: Difference) -> str:
    single = [group.name for group, count in zip((pair.first, pair.second), found.num_seeds, strict=True) if count == 1]
    if not single:
        return "a single test unit (speaker, document, date) says nothing of others; test on more"
    whose = "one seed each" if len(single) == 2 else f"one seed of {single[0]}"
    return f"{whose} says nothing of training's noise; run at least {FEWEST_SEEDS}"


def _details(found: Difference, metric: Metric, p: str) -> str:
    counts = [count for count in found.num_seeds if count is not None]
    seeds = " and ".join(map(str, dict.fromkeys(counts)))
    parts = []
    if found.low is not None and found.high is not None:
        places = _places((found.high - found.low) / 2, metric)
        low, high = sorted((found.low, found.high) if found.gain > 0 else (-found.low, -found.high))
        parts.append(f"95 % CI {_number(low, metric, places)} to {_number(high, metric, places)}")
    folds = f" in each of {found.num_folds} folds" if found.num_folds > 1 else ""
    parts += [f"{seeds} seed{'' if seeds == '1' else 's'}{folds}"] if counts else []
    return f" ({', '.join([*parts, p])})"


def _advice(found: Difference, needed: int | None, metric: Metric) -> str:
    """Say what would show a difference of the size that was seen; empty if there is nothing to advise."""
    if found.low is None or found.high is None or abs(found.gain) < ADVISED_FROM * (found.high - found.low) / 2:
        return ""
    counts = [count for count in found.num_seeds if count is not None]
    size = f"a difference of this size ({_gain_text(found, metric)})"
    if needed is not None and needed <= MOST_SEEDS_ADVISED:
        return f"; about {needed} seeds{' a side' if len(counts) == 2 else ''} would be needed to show {size}"
    if 1 in counts:
        return ""  # one seed a fold: what seeds and what speakers leave open cannot be told apart
    if needed is None and counts:
        return f"; more seeds cannot show {size}, {MORE_UNITS[found.unit]} could"
    return f"; {MORE_UNITS[found.unit]} would be needed to show {size}"


# -- conclusions -------------------------------------------------------------------------------------------------------------------


def _on_the_best(networks: Sequence[Group], judged: Sequence[Verdict], metric: Metric) -> list[str]:
    best, others = networks[0], [group.name for group in networks[1:]]
    validation, test = _validation(best, metric), _mean(best, lambda run: _test_value(run, metric))
    if validation is None:
        return ["No validation is recorded, so no network is called best."]
    known = f"{metric.name} {_value(validation, metric)}, on test {_value(test, metric)}"
    if not others:
        return [f"{best.name} is the only network ({known})."]
    stands = {name: _standing(best.name, name, judged) for name in others}
    parts = []
    for standing, words in (
        ("better", "on test it beats {}"),
        ("open", "no difference from {} is shown on test"),
        ("worse", "on test {} beat it"),
        ("untested", "it was not tested against {}"),
    ):
        if names := [name for name in others if stands[name] == standing]:
            words = words.replace(" beat it", " beats it") if len(names) == 1 else words
            parts.append(words.format(_listed(names)))
    return [f"{best.name} is best on validation ({known}): {'; '.join(parts)}."]


def _on_a_baseline(baseline: str, networks: Sequence[str], judged: Sequence[Verdict]) -> list[str]:
    stands = {name: _standing(name, baseline, judged) for name in networks}
    better, worse = ([name for name in networks if stands[name] == wanted] for wanted in ("better", "worse"))
    if all(standing == "untested" for standing in stands.values()):
        return []
    if not better:
        return [f"No network is shown to beat {baseline}" + (f"; {baseline} beats {_listed(worse)}." if worse else ".")]
    rest = [name for name in networks if stands[name] in ("open", "untested")]
    words = [f"{_listed(better)} {'beats' if len(better) == 1 else 'beat'} {baseline}"]
    words += [f"for {_listed(rest)} that is not shown"] if rest else []
    words += [f"{baseline} beats {_listed(worse)}"] if worse else []
    return ["; ".join(words) + "."]


def _standing(name: str, other: str, judged: Sequence[Verdict]) -> str:
    for verdict in judged:
        if {verdict.first, verdict.second} == {name, other}:
            if verdict.p_corrected is None:
                return "untested"
            is_first = verdict.first == name
            return "open" if not verdict.is_shown else "better" if (verdict.gain > 0) == is_first else "worse"
    return "untested"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# -- numbers in sentences ----------------------------------------------------------------------------------------------------------


def p_text(p: float) -> str:
    """Write a p-value so that it never looks as if it were on the other side of 0.05."""
    if p < 0.001:
        return "p < 0.001"
    places = 3 if p < 0.1 else 2
    while round(p, places) == 0.05 and p != 0.05 and places < 6:
        places += 1
    return f"p = {p:.{places}f}"


def _places(uncertainty: float, metric: Metric) -> int:
    """Return how many decimals a number has that is known so far: one digit of the uncertainty, two of no fraction if it begins with 1."""
    shown = abs(uncertainty) * metric.factor
    least, one = (1, 1) if metric.is_fraction else (0, 2)
    return least if not isfinite(shown) or shown == 0 else min(max(ceil(-log10(shown / one)), least), 9)


def _number(value: float, metric: Metric, places: int) -> str:
    text = f"{value * metric.factor:.{places}f}"
    return text.lstrip("-") if float(text) == 0 else text


def _amount(value: float, metric: Metric, places: int, is_bound: bool = False) -> str:
    """Write a difference with its unit; a bound is rounded up."""
    if is_bound:
        size = 10.0**-places / metric.factor
        value = ceil(round(value / size, 6)) * size
    if metric.is_fraction:
        return f"{_number(value, metric, places)} points"
    return f"{_number(value, metric, places)}{f' {metric.unit}' if metric.unit else ''} in {metric.name}"


def _gain_text(found: Difference, metric: Metric) -> str:
    uncertainty = abs(found.gain) if found.low is None or found.high is None else (found.high - found.low) / 2
    return _amount(abs(found.gain), metric, _places(uncertainty, metric))


def _value(value: float | None, metric: Metric) -> str:
    if value is None or not isfinite(value):
        return "not known"
    if metric.is_fraction:
        return f"{100 * value:.1f} %"
    places = 3 - floor(log10(abs(value))) if value else 3
    return f"{value:.{min(max(places, 0), 9)}f}{f' {metric.unit}' if metric.unit else ''}"
