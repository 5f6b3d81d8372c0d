"""Write the bundled labelled sequences, `swings.csv`: how ten invented people swing a lantern, in four ways.

A circle to the left and one to the right pass the same places, as do an eight that begins to the left and one that begins to the right:
mean and spread of the places say hardly more than circle or eight, and only their order says which of two.

python data/samples/sequences/make_sample.py
"""

import csv
from pathlib import Path

import numpy as np

SWINGS = ("circle left", "circle right", "eight left", "eight right")
SPLITS = {"train": 6, "val": 2, "test": 2}
NUM_EACH = 5
FEWEST_STEPS, MOST_STEPS = 14, 26


def swing(kind: str, person: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the places of one swing, (T, 2) metres: where a person begins, how wide, how tilted, how unsteady is their own."""
    num_steps = int(random.integers(FEWEST_STEPS, MOST_STEPS + 1))
    start, width, tilt, noise = person
    phase = start + random.normal(0, 0.25) + np.linspace(0, 2 * np.pi * random.uniform(0.95, 1.15), num_steps)
    side = -1.0 if kind.endswith("left") else 1.0
    x = side * np.sin(phase)
    y = np.cos(phase) if kind.startswith("circle") else np.sin(2 * phase) / 2
    turned = np.stack([x * np.cos(tilt) - y * np.sin(tilt), x * np.sin(tilt) + y * np.cos(tilt)], axis=1)
    return width * random.uniform(0.8, 1.2) * turned + random.normal(0, noise, (num_steps, 2))


def main() -> None:
    """Write all swings of all people, a row a step."""
    random = np.random.default_rng(20261130)
    people = [split for split, count in SPLITS.items() for _ in range(count)]
    with (Path(__file__).parent / "swings.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["id", "time", "x_m", "y_m", "label", "person", "split"])
        number = 0
        for place, split in enumerate(people):
            person = np.array([random.uniform(-0.6, 0.6), random.uniform(0.4, 0.8), random.uniform(-0.3, 0.3), random.uniform(0.05, 0.12)])
            for kind in [kind for kind in SWINGS for _ in range(NUM_EACH)]:
                number += 1
                for step, (x, y) in enumerate(swing(kind, person, random)):
                    rows.writerow([f"s{number}", f"{0.1 * step:.1f}", f"{x:.3f}", f"{y:.3f}", kind, f"p{place + 1}", split])


if __name__ == "__main__":
    main()
