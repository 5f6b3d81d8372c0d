"""Time one study of twelve jobs run in this process, one after another, and by joblib in two processes.

    python experiments/launchers/run.py
    python experiments/launchers/run.py --repeats 3 --epochs 6

Each study runs in a folder of its own, so nothing counts as done before; the machine should have nothing else to do.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
LAUNCHERS = {"in process": [], "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]}


def seconds_of(launcher: str, epochs: int) -> float:
    """Return how long the study takes, from the command to its end."""
    seeds = ",".join(str(seed) for seed in range(12))
    words = ["-m", "model=gru", "data=speech", f"epochs={epochs}", f"seed={seeds}", "tracking.log_model=false", "study.name=launchers"]
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "data").symlink_to(HOME / "data")  # prepared recordings are shared: the first study does not pay for them
        command = [sys.executable, str(HOME / "src" / "train.py"), *words, *LAUNCHERS[launcher]]
        began = time.monotonic()
        subprocess.run(command, env={**os.environ, "RNNLAB_ROOT": root}, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.monotonic() - began


def main() -> None:
    """Metric in turn and write results.csv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=6, help="of each job: six take about 25 seconds")
    arguments = parser.parse_args()
    with (Path(__file__).parent / "results.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["repeat", "in_process_s", "joblib_s", "ratio"])
        for repeat in range(arguments.repeats):
            alone, together = (seconds_of(launcher, arguments.epochs) for launcher in LAUNCHERS)
            table.writerow([repeat, f"{alone:.1f}", f"{together:.1f}", f"{alone / together:.2f}"])
            file.flush()
            print(f"in process {alone:.1f} s, joblib {together:.1f} s: {alone / together:.2f} times as fast")


if __name__ == "__main__":
    main()
