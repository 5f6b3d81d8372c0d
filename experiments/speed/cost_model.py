"""Predict what trainings of many sizes cost, then train them: predicted against true seconds in cost_model.csv.

python experiments/speed/cost_model.py           about five minutes on one core
python experiments/speed/cost_model.py --table   only print what was recorded

Nothing is known of a run when it is predicted: `studies.timing.timed` times a few of its steps, as a study does that has no runs of these
sizes. Runs go to a folder that is removed.
"""

import csv
import os
import platform
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

FILE = Path(__file__).with_suffix(".csv")
RUNS = (
    "data=speech model=srnn model.recurrence.hidden_size=32 epochs=15",
    "data=speech model=srnn model.recurrence.hidden_size=128 model.recurrence.num_layers=2 epochs=8",
    "data=speech model=gru model.recurrence.hidden_size=64 epochs=12",
    "data=speech model=gru model.recurrence.hidden_size=128 data.loader.batch_size=16 epochs=8",
    "data=speech model=gru model.recurrence.hidden_size=256 epochs=4",
    "data=speech model=lstm model.recurrence.hidden_size=64 model.recurrence.num_layers=2 epochs=8",
    "data=speech model=lstm model.recurrence.hidden_size=192 epochs=5",
    "data=speech model=birnn cell=gru model.recurrence.hidden_size=64 epochs=6",
    "data=stock model=srnn model.recurrence.hidden_size=64 epochs=3",
    "data=stock model=gru model.recurrence.hidden_size=32 epochs=2",
    "data=stock model=lstm model.recurrence.hidden_size=128 epochs=2",
    "data=stock model=lstm model.recurrence.hidden_size=48 model.recurrence.num_layers=2 epochs=2",
    "data=text model=srnn model.recurrence.hidden_size=64 epochs=30",
    "data=text model=gru model.recurrence.hidden_size=128 epochs=25",
    "data=text model=gru model.recurrence.hidden_size=256 model.recurrence.num_layers=2 epochs=10",
    "data=text model=lstm model.recurrence.hidden_size=32 epochs=30",
    "data=text model=birnn cell=lstm model.recurrence.hidden_size=64 epochs=15",
    "data=text model=lstm model.recurrence.hidden_size=256 epochs=12",
)


def measured(words: str, seed: int) -> dict[str, object]:
    """Predict one run, train it, and return both numbers."""
    from rnnlab.cli import compose_config
    from rnnlab.commands.train import train
    from rnnlab.settings import TrainSettings
    from rnnlab.studies.timing import timed
    from rnnlab.tracking.store import connect, find_run
    from rnnlab.training.process import quieten, tune_process
    from rnnlab.training.recipes import find_data

    quieten()
    given = [*words.split(), "data.source=sample", "tracking.log_model=false", f"seed={seed}"]
    settings = TrainSettings.of(compose_config("config", given))
    tune_process(settings.trainer.num_threads)
    begun = time.perf_counter()
    predicted = timed(settings, find_data(settings))
    asked = time.perf_counter() - begun
    train(settings)
    run = find_run(connect(None, settings.paths.root), "last")
    true = run.data.metrics["time/fit_seconds"]
    row = {"words": words, "predicted_seconds": round(predicted, 2), "true_seconds": round(true, 2)}
    return row | {"error_percent": round(100 * (predicted / true - 1), 1), "seconds_to_predict": round(asked, 2), "cpu": cpu()}


def cpu() -> str:
    """Name this machine's processor."""
    found = Path("/proc/cpuinfo")
    name = re.search(r"^model name\s*:\s*(.+)$", found.read_text(encoding="utf-8"), re.MULTILINE) if found.is_file() else None
    return name[1] if name else platform.processor()


def table(rows: list[dict[str, str]]) -> str:
    """Write what was recorded, and the median and the worst error, in Markdown."""
    lines = ["| run | predicted, s | true, s | error |", "|---|---|---|---|"]
    short = str.maketrans({"\n": " "})
    for row in rows:
        words = row["words"].translate(short).replace("model.recurrence.", "")
        lines.append(f"| {words} | {row['predicted_seconds']} | {row['true_seconds']} | {float(row['error_percent']):+.0f} % |")
    errors = [abs(float(row["error_percent"])) for row in rows]
    within = sum(error <= 25 for error in errors)
    longest = max(float(row["seconds_to_predict"]) for row in rows)
    said = f"Median error {statistics.median(errors):.0f} %, worst {max(errors):.0f} %, {within} of {len(rows)} within 25 %; "
    return "\n".join([*lines, "", f"{said}predicting one took {longest:.1f} s at most."])


def main() -> None:
    """Record all runs, or print those that were recorded."""
    if "--table" not in sys.argv:
        with tempfile.TemporaryDirectory(prefix="rnnlab-") as folder:
            os.environ["RNNLAB_ROOT"] = folder
            measured(RUNS[0], 1)  # what a process does once
            rows = [measured(words, 0) for words in RUNS]
        with FILE.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    with FILE.open(encoding="utf-8") as file:
        print(table(list(csv.DictReader(file))))


if __name__ == "__main__":
    main()
