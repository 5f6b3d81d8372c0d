"""Kill a running study (SIGKILL to all its processes) at random moments, start it again each time, and count what was run.

python experiments/killed_studies/run.py [--kills 20] [--launcher basic|joblib]

Writes results.csv beside this file: one line a kill, and at the end how often each job finished. Everything else goes to a temporary
folder.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run

HOME = Path(__file__).resolve().parents[2]
WORDS = (
    *("study=cells", "data=speech", "data.source=sample", "model=srnn,lstm,gru,birnn,baseline", "seed=0,1,2", "model.budget=20000"),
    *("epochs=6", "tracking.log_model=false"),
)
NUM_JOBS = 4 * 3 + 1  # a baseline has no seeds


def main() -> None:
    """Kill, start again, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--launcher", default="basic")
    parser.add_argument("--seed", type=int, default=0)
    # A start takes about ten seconds until the first job: from the middle of that to a few jobs later.
    parser.add_argument("--first", type=float, default=5, help="seconds after a start, at least")
    parser.add_argument("--last", type=float, default=25, help="seconds after a start, at most")
    given = parser.parse_args()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as root:
        command = [sys.executable, str(HOME / "src/train.py"), *WORDS, f"hydra/launcher={given.launcher}"]
        lines: list[dict[str, float | str]] = []
        for number in range(given.kills):
            process = start(command, root)
            moment = chance.uniform(given.first, given.last)
            ended = wait(process, moment)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            states = count(root)
            lines.append({"kill": number + 1, "after_s": round(moment, 1), "had_ended": ended, **states})
            print(lines[-1], flush=True)
        subprocess.run(command, env=environment(root), check=True)
        finished = finished_by_identity(root)
        before = len(runs(root))
        again = subprocess.run(command, env=environment(root), check=True, capture_output=True, text=True)
        doubled = sum(times > 1 for times in finished.values())
        lines.append({"kill": "after the last start", "finished": len(finished), "jobs": NUM_JOBS, "doubled": doubled,
                      "runs_of_a_further_call": len(runs(root)) - before, "open": count(root)["open"]})  # fmt: skip
        print(lines[-1])
        pd.DataFrame(lines).to_csv(Path(__file__).parent / f"results_{given.launcher}.csv", index=False)
        assert len(finished) == NUM_JOBS, finished
        assert not doubled, finished
        assert len(runs(root)) == before
        assert f"{NUM_JOBS} finished before" in again.stderr, again.stderr


def environment(root: str) -> dict[str, str]:
    """Return the environment of a study."""
    return {**os.environ, "RNNLAB_ROOT": root}


def start(command: list[str], root: str) -> "subprocess.Popen[bytes]":
    """Start a study in a process group of its own."""
    return subprocess.Popen(command, env=environment(root), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Wait, and say whether the study ended by itself before."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            return True
        time.sleep(0.05)
    return False


def runs(root: str) -> list[Run]:
    """Return all runs that carry an identity."""
    if not (Path(root) / "mlflow.db").exists():
        return []
    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, "tags.identity LIKE '%'", max_results=1000)) if experiments else []


def finished_by_identity(root: str) -> Counter[str]:
    """Count the finished runs of each job."""
    return Counter(run.data.tags["identity"] for run in runs(root) if run.info.status == "FINISHED")


def count(root: str) -> dict[str, int]:
    """Count jobs by what became of them."""
    found = runs(root)
    return {"finished": len(finished_by_identity(root)), "open": sum(run.info.status != "FINISHED" for run in found)}


if __name__ == "__main__":
    main()
