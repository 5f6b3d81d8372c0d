"""Time us beside others, in turn, A B A B; print the table of README.md and write results.csv.

python experiments/speed/bench.py [--quick] [--peers PYTHON] [CASE ...]

    --quick         fewer rounds and steps: under three minutes
    --peers PYTHON  an interpreter that has keras, tensorflow and librosa, if this one hasn't (pip install 'rnnlab[bench]')
    CASE            some of the cases only, by name

Contestants of a case live side by side, each a process on one thread, and are told to go one after another, round by round; the first
round warms up and does not count. What is compared are ratios within rounds: the machine may be busy otherwise, and differs from others.
"""

import argparse
import csv
import datetime
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
OPTIONAL = ("keras", "librosa")


@dataclass(frozen=True)
class Case:
    """What is compared: a name of contestant.py, who takes part (we are first), how many steps a round has, what is wanted.

    Args:
        name: of the case there.
        who: the contestants.
        steps: of a round, and of a round of `--quick`.
        targets: the least ratio of us to each of the others.
        title: for people.
    """

    name: str
    who: tuple[str, ...]
    steps: tuple[int, int]
    targets: dict[str, float]
    title: str


STEPS = ("ours", "plain_same", "keras")
CASES = [
    Case("lstm50x3", STEPS, (400, 150), {"plain_same": 0.8, "keras": 2.5}, "three LSTM(50), 10 steps, batch 32 (2 ms a step)"),
    Case("lstm64", STEPS, (200, 60), {"plain_same": 0.9}, "LSTM(64), 48 steps, batch 32 (5 ms a step)"),
    Case("lstm128x2", STEPS[:2], (30, 8), {"plain_same": 0.98}, "two LSTM(128), 96 steps, batch 64 (60 ms a step)"),
    Case("gru64", STEPS, (200, 60), {}, "GRU(64), 48 steps, batch 32"),
    Case("seeds", ("packed", "in_turn"), (60, 20), {"in_turn": 1.67}, "five GRU(64) on speech, packed or one after another"),
    Case("texts", ("ours", "plain", *STEPS[1:]), (24, 6), {"plain": 2.5, "keras": 1.8}, "BiLSTM(128) on texts as long as IMDB's"),
    Case("texts", ("ours_bf16", "plain", "plain_bf16", "keras"), (24, 6), {"plain": 3.5, "keras": 2.5}, "the same, ours in bfloat16"),
    Case("features", ("ours", "librosa"), (300, 80), {"librosa": 3.0}, "log-mel features, seconds of sound in a second"),
]


class Contestant:
    """A process that waits to be told how many steps to take."""

    def __init__(self, who: str, case: str, folder: Path, python: str) -> None:
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src"), "RNNLAB_ROOT": str(folder), "MLFLOW_DISABLE_TELEMETRY": "true"}
        words = [python, str(HERE / "contestant.py"), who, case, str(folder)]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(folder / f"{who}.log").open("w"), text=True, env=environment
        )
        self.log = folder / f"{who}.log"
        self._answer()

    def rate(self, num_steps: int) -> float:
        """Let it take steps; return what it did per second."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{num_steps}\n")
        self.process.stdin.flush()
        found = self._answer()
        return float(found["count"]) / float(found["seconds"])

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        raise SystemExit(f"a contestant ended: {self.log.read_text()[-2000:]}")

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def write_inputs(folder: Path) -> None:
    """Write a series and texts of our own making: a noisy wave, and words by Zipf's law in reviews as long as IMDB's (median 201)."""
    draw = random.Random(0)
    begun = datetime.datetime(2020, 1, 1)
    with (folder / "series.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "value"])
        rows = ((begun + datetime.timedelta(hours=hour), f"{math.sin(hour / 7) + 0.3 * draw.gauss(0, 1):.5f}") for hour in range(20_000))
        writer.writerows(rows)
    words = [f"w{number}" for number in range(60_000)]
    weights = [1 / (number + 3) for number in range(len(words))]
    with (folder / "texts.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(4_000):
            length = max(8, round(draw.lognormvariate(math.log(201), 0.76)))
            writer.writerow([" ".join(draw.choices(words, weights, k=length)), "no" if number % 2 else "yes"])


def has(python: str, module: str) -> bool:
    """Say whether an interpreter has a module."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", code], check=False).returncode == 0


def compete(case: Case, folder: Path, peers: str, num_rounds: int, is_quick: bool) -> list[dict[str, Any]]:
    """Run the rounds of a case; return a row a contestant."""
    who = [name for name in case.who if name not in OPTIONAL or has(peers, name)]
    contestants = {name: Contestant(name, case.name, folder, peers if name in OPTIONAL else sys.executable) for name in who}
    steps, rates = case.steps[is_quick], dict[str, list[float]]()
    try:
        for round_number in range(num_rounds + 1):
            for name, contestant in contestants.items():
                rate = contestant.rate(steps)
                if round_number:
                    rates.setdefault(name, []).append(rate)
    finally:
        for contestant in contestants.values():
            contestant.close()
    us = rates[who[0]]
    return [
        {
            "case": case.title,
            "who": name,
            "per_second": round(statistics.median(values), 1),
            "lowest": round(min(values), 1),
            "highest": round(max(values), 1),
            "ratio": round(statistics.median(a / b for a, b in zip(us, values, strict=True)), 3),
            "wanted": case.targets.get(name, ""),
        }
        for name, values in rates.items()
    ]


def start_ups(num_rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Time whole processes: our help and a misspelt key beside an empty Hydra application."""
    empty = folder / "empty.py"
    empty.write_text("import hydra\n\n\n@hydra.main(version_base=None)\ndef main(config):\n    pass\n\n\nmain()\n")
    train = str(REPOSITORY / "src/train.py")
    commands = {"an empty Hydra app": [str(empty), "--help"], "--help": [train, "--help"], "a misspelt key": [train, "modle=gru"]}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(num_rounds + 1):
        for name, words in commands.items():
            begun = time.perf_counter()
            subprocess.run([sys.executable, *words], check=False, capture_output=True, cwd=folder)
            seconds[name].append(time.perf_counter() - begun)
    base = seconds["an empty Hydra app"][1:]
    rows = []
    for name, values in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(values[1:], base, strict=True))
        median = statistics.median(values[1:])
        rows.append({"case": "start-up, seconds", "who": name, "per_second": round(median, 3), "lowest": round(min(values[1:]), 3)})
        rows[-1] |= {"highest": round(max(values[1:]), 3), "ratio": round(ratio, 2), "wanted": "" if values[1:] == base else "at most 1.5"}
    return rows


def table_of(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a table for people."""
    lines = ["| case | who | median | range | we to it, or it to Hydra | wanted |", "|---|---|---|---|---|---|"]
    for row in rows:
        spread = f"{row['lowest']:,} to {row['highest']:,}"
        lines.append(f"| {row['case']} | {row['who']} | {row['per_second']:,} | {spread} | {row['ratio']} | {row['wanted']} |")
    return "\n".join(lines)


def versions(peers: str) -> str:
    """Name what ran: processor, Python, packages."""
    code = "from importlib.metadata import version\nfor name in {}: print(name, version(name))"
    said = [platform.processor() or platform.machine(), f"Python {platform.python_version()}"]
    if (cpus := Path("/proc/cpuinfo")).is_file():
        said[0] = next((line.partition(":")[2].strip() for line in cpus.read_text().splitlines() if line.startswith("model name")), said[0])
    for python, names in ((sys.executable, ("torch", "pytorch-lightning")), (peers, ("keras", "tensorflow-cpu", "librosa"))):
        done = subprocess.run([python, "-c", code.format(names)], capture_output=True, text=True, check=False)
        said += done.stdout.splitlines() or [f"without {', '.join(names)}"]
    return "; ".join(said)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peers", default=sys.executable)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(["start_up", *dict.fromkeys(case.name for case in CASES)]))
    asked = parser.parse_args()
    known = ["start_up", *dict.fromkeys(case.name for case in CASES)]
    if unknown := [name for name in asked.cases if name not in known]:
        parser.error(f"{', '.join(unknown)}: no such case. Cases: {', '.join(known)}")
    num_rounds, rows = (3 if asked.quick else 5), list[dict[str, Any]]()
    steps: list[tuple[str, Callable[[Path], list[dict[str, Any]]]]] = [("start_up", lambda folder: start_ups(3 * num_rounds, folder))]
    steps += [(case.name, lambda folder, case=case: compete(case, folder, asked.peers, num_rounds, asked.quick)) for case in CASES]  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as scratch:
        write_inputs(Path(scratch))
        for name, run in steps:
            if asked.cases and name not in asked.cases:
                continue
            begun = time.monotonic()
            rows += run(Path(scratch))
            print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    print(table_of(rows))
    rows = [row | {"rounds": num_rounds} for row in rows]
    print(f"\n{versions(asked.peers)}; one thread each; medians of {num_rounds} rounds after one that does not count")
    if not asked.cases:
        with (HERE / "results.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
