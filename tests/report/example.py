"""A made-up comparison: three networks and a baseline, three seeds in two folds, two searches; names may be hostile."""

from math import exp

import numpy as np

from rnnlab.report.comparison import Comparison, Group, RunResult, Summary, Trial, UnitSums, Verdict
from rnnlab.tasks import Metric

HOSTILE = "<script>alert(1)</script></script>\"'&"
NUM_EXAMPLES = 60
SEEDS, FOLDS = (0, 1, 2), ("east", "west")
# name: validation, test, std, half of the interval, parameters, seconds, examples per second, memory
NUMBERS = {
    "gru": (0.951, 0.9433, 0.0041, 0.012, 38_282, 61.2, 5312.0, 412.0),
    "lstm": (0.944, 0.9391, 0.0062, 0.013, 50_954, 74.9, 4120.0, 431.0),
    "srnn": (0.871, 0.8622, 0.0178, 0.021, 12_938, 38.4, 8754.0, 395.0),
    "linear": (0.812, 0.8044, 0.0, 0.019, 3_210, 1.7, 90_211.0, 350.0),
}


def comparison(is_hostile: bool = True) -> Comparison:
    """Return the comparison, names with markup in them or not."""
    bad = HOSTILE if is_hostile else ""
    names = {name: f"{name}{bad}" if name == "lstm" else name for name in NUMBERS}
    random = np.random.default_rng(0)
    groups = [
        Group(names[name], {"model": name, f"note{bad}": f"a{bad}"}, runs(name, random, bad), is_baseline=name == "linear")
        for name in NUMBERS
    ]
    return Comparison(
        study="cells_speech",
        data=f"speech{bad}",
        metric=Metric("accuracy", "max", "fraction"),
        groups=groups,
        summaries={names[name]: summary(name) for name in NUMBERS},
        verdicts=verdicts(names),
        conclusions=[
            f"On speech, gru and {names['lstm']} are not told apart: 94.33 against 93.91 % accuracy over 3 seeds and 2 folds.",
            "Both are better than srnn, by 8.1 and 7.7 points (p corrected 0.004 and 0.006).",
            "Every network is better than the linear method.",
        ],
        notes=[f"One run of srnn failed and was repeated{bad}.", "The budget of lstm was 80 s instead of 60 s."],
        commands=["python src/train.py -m study=cells data=speech", f"python src/compare.py study=cells_speech{bad}"],
        provenance={"commit": "9144d0d", "source hash": "5f1c0a", "torch": "2.13.0", f"host{bad}": f"laptop{bad}"},
        trials={"gru": trials(random, 24), "lstm": trials(random, 30)},
        parent_url="http://127.0.0.1:5000/#/experiments/1/runs/parent",
    )


def runs(name: str, random: np.random.Generator, bad: str) -> list[RunResult]:
    """Return the runs of a group."""
    return [run(name, seed, fold, random, bad) for fold in FOLDS for seed in SEEDS]


def run(name: str, seed: int, fold: str, random: np.random.Generator, bad: str) -> RunResult:
    """Return a run: its curve rises to about its validation, its examples are right as often as its test metric says."""
    validation, test, _, _, num_parameters, seconds, speed, memory = NUMBERS[name]
    shift = float(random.normal(0, 0.008)) + (0.006 if fold == "east" else -0.006)
    steps = range(20, 821, 40)
    ids = [f"{fold}-{number:03d}{bad if number % 7 == 0 else ''}" for number in range(NUM_EXAMPLES)]
    hard = np.random.default_rng(7).uniform(size=NUM_EXAMPLES)  # the same examples are hard for everybody
    right = hard + random.normal(0, 0.05, NUM_EXAMPLES) < test
    rising = [(step, validation + shift - 0.6 * exp(-step / 140) + float(random.normal(0, 0.004))) for step in steps]
    falling = [(step, 0.2 + 2.0 * exp(-step / 160) + float(random.normal(0, 0.01))) for step in steps]
    return RunResult(
        run_id=f"{name}{seed}{fold}".ljust(32, "0"),
        name=f"{name}-{seed}-{fold}{bad}",
        seed=seed,
        fold=fold,
        metrics={
            **{"best/accuracy": validation + shift, "test/accuracy": test + shift, "test/f1_macro": test + shift - 0.01},
            **{"test/accuracy_low": test - 0.02, "test/accuracy_high": test + 0.02, "test/num_examples": float(NUM_EXAMPLES)},
            **{"model/num_parameters": float(num_parameters), "time/fit_seconds": seconds * (1 + shift)},
            **{"speed/examples_per_second": speed, "memory/peak_mb": memory},
        },
        curves={} if name == "linear" else {"val/accuracy": rising, "val/loss": falling},
        sums=UnitSums(np.array(ids), np.stack([right, np.ones(NUM_EXAMPLES)], axis=1)),
        rights=dict(zip(ids, right.astype(float).tolist(), strict=True)),
        url="javascript:alert(1)" if bad and name == "srnn" else f"http://127.0.0.1:5000/#/experiments/1/runs/{name}{seed}{fold}",
    )


def summary(name: str) -> Summary:
    """Return a group's summary."""
    validation, test, std, half, num_parameters, seconds, speed, memory = NUMBERS[name]
    return Summary(6, 3, 2, validation, test, std, test - half, test + half, num_parameters, seconds, speed, memory)


def verdicts(names: dict[str, str]) -> list[Verdict]:
    """Return a verdict on every pair; gru and lstm are not told apart."""
    found = []
    keys = list(NUMBERS)
    for place, first in enumerate(keys):
        for second in keys[place + 1 :]:
            gain = NUMBERS[first][1] - NUMBERS[second][1]
            is_shown = gain > 0.01
            ours, theirs = names[first], names[second]
            sentence = (
                f"{ours} is better than {theirs} by {100 * gain:.1f} points."
                if is_shown
                else f"{ours} and {theirs} are not told apart: 3 seeds a side would show a difference of 1.9 points, 9 seeds this one."
            )
            found.append(
                Verdict(
                    *(ours, theirs, gain, gain - 0.011, gain + 0.012, 0.0007 if is_shown else 0.31, 0.004 if is_shown else 0.31),
                    *(
                        2.4 if is_shown else 0.62,
                        f"paired by groups{names['lstm'].removeprefix('lstm')}; t with {4 + place}.5 degrees of freedom",
                        3,
                    ),
                    *(None if is_shown else 9, sentence),
                )
            )
    return found


def trials(random: np.random.Generator, count: int) -> list[Trial]:
    """Return trials whose value depends on the learning rate most, on the size a little and on the cell's dropout not at all."""
    found = []
    for number in range(count):
        rate, size = float(10 ** random.uniform(-4, -1.5)), int(random.choice([32, 64, 128, 256]))
        settings: dict[str, float | int | str] = {
            "optimizer.lr": rate,
            "model.hidden_size": size,
            "model.pooling": str(random.choice(["last", "mean", "max"])),
        }
        value = 0.95 - 0.2 * (np.log10(rate) + 2.6) ** 2 + 0.00008 * size + float(random.normal(0, 0.005))
        state = "pruned" if value < 0.7 else "failed" if number == 11 else "complete"
        found.append(Trial(number, state, None if state == "failed" else max(value, 0.3), settings, [f"run{number}"]))
    return found
