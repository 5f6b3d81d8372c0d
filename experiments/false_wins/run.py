"""Count false wins of `rnnlab.report.statistics` where no network is better, and true ones where one is; write results.csv.

python experiments/false_wins/run.py
"""

import csv
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from rnnlab.report.comparison import RunResult, UnitSums
from rnnlab.report.statistics import difference
from rnnlab.tasks import Metric

NUM_SIMULATIONS = 2000
NUM_AT_ONCE = 100
LEVEL = 0.05
GAIN = 0.03
NUM_EXAMPLES, NUM_SPEAKERS, NUM_DATES = 300, 6, 250
INTERCEPT, EXAMPLE_STD, SPEAKER_STD = 2.6, 1.5, 0.5
LOSS, DATE_STD, DATE_PERSISTENCE, RUN_STD, RUN_PERSISTENCE, DATED_GAIN = 0.35, 0.5, 0.8, 0.15, 0.5, 0.01
NUM_FOLDS, NUM_FOLDED, NUM_FEATURES, FOLDED_SHIFT = 5, 100, 8, 0.6
SEED_FRACTION = {"low": 0.9, "high": 0.5}
SEED_STD = {"low": 0.05, "high": 0.4}
SEED_SPEAKER_STD = {"low": 0.1, "high": 0.4}
DATED_SEED_STD = {"low": 0.002, "high": 0.01}
ACCURACY, WER, QLIKE = Metric("accuracy", "max", "fraction"), Metric("wer", "min", "fraction"), Metric("qlike", "min", "")


@dataclass(frozen=True)
class Cell:
    """Name one kind of comparison.

    Args:
        kind: a key of `KINDS`.
        num_seeds: a side.
        variance: between seeds, `low` or `high`.
    """

    kind: str
    num_seeds: int
    variance: str


@dataclass(frozen=True)
class Kind:
    """Say how runs come about.

    Args:
        draw: cell, gain, number of simulations, generator to sums, (simulations, 2, folds, seeds, units, K).
        metric: of the sums.
        is_dated: whether units are dates.
        second_is_fixed: whether the second side is a simple method, fitted once.
        num_folds: into how many folds examples were divided that share training examples (0: into none).
    """

    draw: Callable[[Cell, float, int, np.random.Generator], np.ndarray]
    metric: Metric = ACCURACY
    is_dated: bool = False
    second_is_fixed: bool = False
    num_folds: int = 0


def logits(cell: Cell, gain: float, num: int, random: np.random.Generator, shape: tuple[int, int, int], own: float = 0.0) -> np.ndarray:
    """Draw how sure each run is of each example, (simulations, 2, folds, seeds, units, examples).

    Examples' difficulty and speakers are the same for both sides; seeds, and how a seed does on a speaker, are not. With `own` each side
    has examples and speakers of its own that it finds hard, all its seeds alike.

    Args:
        shape: folds, units of a fold, examples of a unit.
        own: standard deviation of that, over examples; half of it over speakers.
    """
    folds, units, examples = shape
    has_speakers = examples > 1
    found = INTERCEPT + random.normal(0, EXAMPLE_STD, (num, 1, folds, 1, units, examples))
    found = found + shift(gain, cell, has_speakers, own) * np.array([0.5, -0.5]).reshape(1, 2, 1, 1, 1, 1)
    seeds = random.normal(0, SEED_STD[cell.variance], (num, 2, folds, cell.num_seeds, 1, 1))
    found = found + seeds
    if KINDS[cell.kind].second_is_fixed:  # no seed, and as much of its own by example, so that both sides are right as often
        found[:, 1] += random.normal(0, SEED_STD[cell.variance], (num, folds, 1, units, examples)) - seeds[:, 1]
    if has_speakers:
        found = found + random.normal(0, SPEAKER_STD, (num, 1, folds, 1, units, 1))
        found = found + random.normal(0, SEED_SPEAKER_STD[cell.variance], (num, 2, folds, cell.num_seeds, units, 1))
    if own:
        found = found + random.normal(0, own, (num, 2, folds, 1, units, examples))
        found = found + has_speakers * random.normal(0, own / 2, (num, 2, folds, 1, units, 1))
    return found


def shift(gain: float, cell: Cell, has_speakers: bool, own: float) -> float:
    """Return the difference of logits that makes this difference of accuracy, by bisection on 200,000 draws."""
    if gain == 0:
        return 0.0
    variance = EXAMPLE_STD**2 + SEED_STD[cell.variance] ** 2 + own**2
    if has_speakers:
        variance += SPEAKER_STD**2 + SEED_SPEAKER_STD[cell.variance] ** 2 + own**2 / 4
    drawn = INTERCEPT + np.random.default_rng(0).normal(0, variance**0.5, 200_000)

    def gained(difference: float) -> float:
        better, worse = (1 / (1 + np.exp(-drawn - sign * difference / 2)) for sign in (1, -1))
        return float((better - worse).mean())

    low, high = 0.0, 5.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if gained(middle) < gain else (low, middle)
    return low


def answers(shape: tuple[int, int, int], own: float = 0.0) -> Callable[[Cell, float, int, np.random.Generator], np.ndarray]:
    """Make a drawing of right answers and answers by unit."""

    def draw(cell: Cell, gain: float, num: int, random: np.random.Generator) -> np.ndarray:
        sure = logits(cell, gain, num, random, shape, own)
        right = (random.random(sure.shape, dtype=np.float32) < 1 / (1 + np.exp(-sure))).sum(-1)
        return np.stack([right, np.full_like(right, shape[2])], axis=-1).astype(float)

    return draw


def word_errors(cell: Cell, gain: float, num: int, random: np.random.Generator) -> np.ndarray:
    """Draw wrong words and words by speaker: 6 speakers say 10 to 90 sentences of 3 to 12 words."""
    sure = logits(cell, gain, num, random, (1, NUM_SPEAKERS, 90))
    num_words = random.integers(3, 13, (num, 1, 1, 1, NUM_SPEAKERS, 90)) * (
        np.arange(90) < random.integers(10, 91, (num, 1, 1, 1, NUM_SPEAKERS, 1))
    )
    wrong = random.binomial(num_words, 1 / (1 + np.exp(sure))).sum(-1)
    return np.stack([wrong, np.broadcast_to(num_words.sum(-1), wrong.shape)], axis=-1).astype(float)


def dated(own: float = 0.0) -> Callable[[Cell, float, int, np.random.Generator], np.ndarray]:
    """Make a drawing of losses by date: some dates are hard for all, hard dates follow each other, and so do a run's own errors.

    Args:
        own: relative standard deviation of what all seeds of a side share by date and the other side does not.
    """

    def draw(cell: Cell, gain: float, num: int, random: np.random.Generator) -> np.ndarray:
        common = np.exp(DATE_STD * persistent(random, (num, 1, 1, 1, NUM_DATES), DATE_PERSISTENCE) - DATE_STD**2 / 2)
        errors = RUN_STD * persistent(random, (num, 2, 1, cell.num_seeds, NUM_DATES), RUN_PERSISTENCE)
        errors = errors + own * persistent(random, (num, 2, 1, 1, NUM_DATES), RUN_PERSISTENCE)
        seeds = random.normal(0, DATED_SEED_STD[cell.variance], (num, 2, 1, cell.num_seeds, 1))
        sides = gain * np.array([-0.5, 0.5]).reshape(1, 2, 1, 1, 1)
        losses = LOSS * common * (1 + errors) + seeds + sides
        return np.stack([losses, np.ones_like(losses)], axis=-1)

    return draw


def folded(num_divisions: int = 1) -> Callable[[Cell, float, int, np.random.Generator], np.ndarray]:
    """Make a drawing of answers by folds that share training examples: both sides really learn, each from features of its own.

    Of each of 100 examples of two classes either side sees eight numbers that say as much of the class; it learns the mean of each class
    from three fifths of the examples, of which a seed draws nine tenths (high variance: half), and answers with the nearer mean. A side
    that shall be worse gets some right answers wrong.
    """

    def draw(cell: Cell, gain: float, num: int, random: np.random.Generator) -> np.ndarray:
        found = np.zeros((num, 2, NUM_FOLDS * num_divisions, cell.num_seeds, NUM_FOLDED // NUM_FOLDS, 2))
        found[..., 1] = 1
        labels = np.arange(NUM_FOLDED) % 2
        for one in found:
            features = random.normal(FOLDED_SHIFT * labels[:, None], 1, (2, NUM_FOLDED, NUM_FEATURES))
            for division in range(num_divisions):
                parts = random.permutation(NUM_FOLDED).reshape(NUM_FOLDS, -1)
                for fold in range(NUM_FOLDS):
                    train = np.concatenate([parts[(fold + away) % NUM_FOLDS] for away in range(2, NUM_FOLDS)])
                    for side, seed in np.ndindex(2, cell.num_seeds):
                        kept = random.permutation(train)[: round(SEED_FRACTION[cell.variance] * len(train))]
                        right = nearest_mean(features[side], labels, kept, parts[fold])
                        is_spoilt = random.random(len(right)) < (gain / right.mean() if side and right.any() else 0)
                        one[side, NUM_FOLDS * division + fold, seed, :, 0] = right & ~is_spoilt
        return found

    return draw


def nearest_mean(features: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return which test examples are nearer to the mean of their own class, as training gives it."""
    means = np.stack([features[train[labels[train] == label]].mean(0) for label in (0, 1)])
    chosen = np.square(features[test][:, None] - means).sum(-1).argmin(1)
    return np.asarray(chosen == labels[test])


def persistent(random: np.random.Generator, shape: tuple[int, ...], persistence: float) -> np.ndarray:
    """Draw autoregressive series of variance 1 along the last axis."""
    found = random.normal(size=shape)
    for step in range(1, shape[-1]):
        found[..., step] = persistence * found[..., step - 1] + (1 - persistence**2) ** 0.5 * found[..., step]
    return found


KINDS = {
    "examples": Kind(answers((1, NUM_EXAMPLES, 1))),
    "speakers": Kind(answers((1, NUM_SPEAKERS, NUM_EXAMPLES // NUM_SPEAKERS))),
    "leave one speaker out": Kind(answers((NUM_SPEAKERS, 1, NUM_EXAMPLES // NUM_SPEAKERS))),
    "speakers, word errors": Kind(word_errors, WER),
    "dates": Kind(dated(), QLIKE, is_dated=True),
    "examples, unlike networks": Kind(answers((1, NUM_EXAMPLES, 1), own=0.7)),
    "speakers, unlike networks": Kind(answers((1, NUM_SPEAKERS, NUM_EXAMPLES // NUM_SPEAKERS), own=0.7)),
    "dates, unlike networks": Kind(dated(own=0.15), QLIKE, is_dated=True),
    "examples, simple method": Kind(answers((1, NUM_EXAMPLES, 1), own=0.7), second_is_fixed=True),
    "speakers, simple method": Kind(answers((1, NUM_SPEAKERS, NUM_EXAMPLES // NUM_SPEAKERS), own=0.7), second_is_fixed=True),
    "five folds": Kind(folded(), num_folds=NUM_FOLDS),
    "five folds, three divisions": Kind(folded(3), num_folds=NUM_FOLDS),
}
CELLS = [Cell(kind, num_seeds, variance) for kind in KINDS for variance in SEED_STD for num_seeds in (3, 5, 10)]


def runs_of(sums_FSUK: np.ndarray, is_dated: bool, of_folds: int = 0) -> list[RunResult]:
    """Wrap sums as runs."""
    num_folds, _, num_units, _ = sums_FSUK.shape
    first = np.datetime64("2020-01-01", "us")
    found = []
    for fold in range(num_folds):
        numbers = fold * num_units + np.arange(num_units)
        units = first + numbers * np.timedelta64(1, "D") if is_dated else numbers
        name = f"{fold // of_folds}/{fold % of_folds}" if of_folds else str(fold)
        for seed, sums_UK in enumerate(sums_FSUK[fold]):
            found.append(RunResult("", "", seed, name, {}, {}, UnitSums(units, sums_UK), num_folds=of_folds))
    return found


def p_values(cell: Cell, gain: float, num_simulations: int, seed: int) -> tuple[np.ndarray, float]:
    """Return the p-value of each simulated comparison, negative where the second side came out better, and seeds' standard deviation."""
    kind, random, found, deviations = KINDS[cell.kind], np.random.default_rng(seed), [], []
    for start in range(0, num_simulations, NUM_AT_ONCE):
        for sums in kind.draw(cell, gain, min(NUM_AT_ONCE, num_simulations - start), random):
            first = runs_of(sums[0], kind.is_dated, kind.num_folds)
            second = runs_of(sums[1][:, :1] if kind.second_is_fixed else sums[1], kind.is_dated, kind.num_folds)
            result = difference(first, second, kind.metric, second_is_fixed=kind.second_is_fixed)
            if result.p is None:
                raise ValueError(f"{cell} gave no p-value: {result.method}")
            found.append(result.p if result.gain >= 0 else -result.p)
            total = sums.sum(axis=-2)
            deviations.append(np.std(total[0, ..., 0] / total[0, ..., 1], axis=1, ddof=1).mean())
    return np.array(found), float(np.mean(deviations))


def measure(cell: Cell, num_simulations: int, number: int) -> dict[str, str | float]:
    """Return a cell's row of the table."""
    gain = DATED_GAIN if KINDS[cell.kind].is_dated else GAIN
    none, std = p_values(cell, 0.0, num_simulations, 2 * number)
    some, _ = p_values(cell, gain, max(1, num_simulations // 4), 2 * number + 1)
    return {
        "units": cell.kind,
        "seed_variance": cell.variance,
        "num_seeds": cell.num_seeds,
        "num_simulations": num_simulations,
        "std_between_seeds": round(std, 4),
        "false_wins": float((np.abs(none) < LEVEL).mean()),
        "true_gain": gain,
        "power": float(((some >= 0) & (some < LEVEL)).mean()),
    }


def main() -> None:
    """Simulate every cell, print and write; `python experiments/false_wins/run.py 200` simulates fewer and only prints."""
    num_simulations = int(sys.argv[1]) if len(sys.argv) > 1 else NUM_SIMULATIONS
    rows, began = [], perf_counter()
    for number, cell in enumerate(CELLS):
        rows.append(measure(cell, num_simulations, number))
        print(*(f"{value:.4g}" if isinstance(value, float) else value for value in rows[-1].values()), sep="\t", flush=True)
    if num_simulations == NUM_SIMULATIONS:
        with (Path(__file__).parent / "results.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    worst = max(rows, key=lambda row: row["false_wins"])
    print(f"most false wins: {worst['false_wins']:.2%} ({worst['units']}, {worst['num_seeds']} seeds); {perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
