"""Train the language models of this study, in pieces that go on where they stopped; write results.csv.

python experiments/language_models/run.py train SET...     a job that has run before is not run again
python experiments/language_models/run.py table            write results.csv, and print the tables of README.md
"""

import subprocess
import sys
from pathlib import Path

import pandas as pd

from rnnlab.paths import HOME, root
from rnnlab.tracking.store import connect, find_runs

HERE, NAME = Path(__file__).parent, "language_models"
SETS = {
    "warpeace": ("data=warpeace model=lstm,gru,srnn seed={seeds}", "data=warpeace model=baseline baseline.ngrams=3,4,5,6"),
    "ptb": ("data=ptb model=lstm seed={seeds}", "data=ptb model=baseline baseline.ngrams=3,5"),
    "poems": ("data=poems model=lstm seed={seeds}", "data=poems model=baseline baseline.ngrams=2,3,4"),
    "shakespeare": (
        "data=shakespeare model=lstm cell=lstm,lstm_peephole,lstm_coupled,lstm_layer_norm seed={seeds}",
        "data=shakespeare model=gru cell=gru,mingru seed={seeds}",
        "data=shakespeare model=srnn cell=srnn,irnn seed={seeds}",
        "data=shakespeare model=baseline baseline.ngrams=4,5,6",
    ),
}
SEEDS = "0,1,2"
METRICS = ("bits_per_character", "perplexity", "loss")


def train(names: list[str]) -> None:
    """Run the jobs of some sets, one sweep after the other.

    Raises:
        SystemExit: where one failed.
    """
    for name in names or list(SETS):
        for number, words in enumerate(SETS[name]):
            given = [*words.format(seeds=SEEDS).split(), f"study.name={NAME}_{name}_{number}", f"tracking.experiment={NAME}"]
            if code := subprocess.run([sys.executable, str(HOME / "src/train.py"), "-m", *given]).returncode:
                raise SystemExit(code)


def read_runs() -> pd.DataFrame:
    """Return what was tracked on these sets, one row a run that was trained and tested on all of them."""
    rows = []
    for run in find_runs(connect(None, root()), "attributes.status = 'FINISHED'"):
        params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
        if params.get("data.name") not in SETS or "test/loss" not in metrics or params["trainer.limit_test_batches"] != "1.0":
            continue
        order = f", order {params['baseline.ngrams']}" if "baseline.ngrams" in params else ""
        name = params["cell"] if params["model"] != "baseline" else f"{params['baseline.kind'].replace('auto', 'kneser_ney')}{order}"
        rows.append(
            {"set": params["data.name"], "model": name, "seed": int(params["seed"]), "epochs": params.get("trainer.max_epochs")}
            | {"parameters": int(tags.get("num_parameters", 0))}
            | {f"validation_{name}": metrics.get(f"best/{name}") for name in METRICS}
            | {f"test_{name}": metrics.get(f"test/{name}") for name in METRICS}
            | {"seconds": metrics.get("time/fit_seconds"), "run_id": run.info.run_id, "test_hash": tags["test_hash"]}
        )
    return pd.DataFrame(rows).sort_values(["set", "model", "seed"], kind="stable").reset_index(drop=True)


def table() -> None:
    """Write results.csv; print mean and spread over seeds."""
    found = read_runs()
    found.to_csv(HERE / "results.csv", index=False)
    grouped = found.groupby(["set", "model", "parameters"], sort=False)
    summary = grouped[[f"test_{name}" for name in METRICS]].agg(["mean", "std"])
    summary.columns = pd.Index([" ".join(pair) for pair in summary.columns])
    print(summary.assign(seeds=grouped.size()).round(4).to_string())


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        train(sys.argv[2:])
    elif sys.argv[1:] == ["table"]:
        table()
    else:
        sys.exit(__doc__)
