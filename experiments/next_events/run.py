"""Compare networks with counting on two logs of events; write results.csv, and print the table of README.md.

python experiments/next_events/run.py train    studies of train.py -m; a job that has run before is not run again
python experiments/next_events/run.py table    write results.csv and print the table
"""

import subprocess
import sys
from pathlib import Path

import pandas as pd

from rnnlab.paths import HOME, root
from rnnlab.tracking.store import connect, find_runs

HERE, NAME = Path(__file__).parent, "next_events"
SETS = {"helpdesk": "71", "bpi_12_w": "76"}
"""The logs, and what Tax et al. (2017) claim of an LSTM, which counts otherwise."""
KINDS = ("popularity", "markov 1", "markov 2", "markov", "srnn", "lstm", "gru")
SETTINGS = {"helpdesk": "model.budget=6336 epochs=10 data.loader.batch_size=64", "bpi_12_w": "model.budget=18816"}
"""As many parameters in every recurrence as the GRU of the recipe has; of the helpdesk larger batches and fewer epochs than there."""
METRICS = ("accuracy", "mrr", "hit_rate_3", "ndcg_3")
COMMON = f"tracking.experiment={NAME} tracking.log_model=false"


def train() -> None:
    """Run the studies: networks of as many parameters with three seeds, and what counts.

    Raises:
        SystemExit: if one failed.
    """
    for name, settings in SETTINGS.items():
        for words in (
            f"model=baseline baseline.kind=popularity study.name={NAME}_{name}_popularity",
            f"model=baseline baseline.kind=markov baseline.ngrams=2,3,null study.name={NAME}_{name}_markov",
            *(f"model={cell} tuned=gru_{name} {settings} seed=0,1,2 study.name={NAME}_{name}_{cell}" for cell in ("srnn", "lstm", "gru")),
        ):
            typed = ["-m", f"data={name}", *COMMON.split(), *words.split()]
            if code := subprocess.run([sys.executable, str(HOME / "src/train.py"), *typed]).returncode:
                raise SystemExit(code)


def read_runs() -> pd.DataFrame:
    """Return what was tracked, one row a run."""
    client, rows = connect(None, root()), []
    for run in find_runs(client, f"tags.study LIKE '{NAME}%' and attributes.status = 'FINISHED'"):
        params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
        if tags.get("kind") == "study":
            continue
        ngrams = params.get("baseline.ngrams", "None")
        order = f" {int(ngrams) - 1}" if ngrams.isdigit() else ""
        rows.append(
            {
                "set": tags["source"],
                "what": f"{tags['baseline']}{order}" if tags.get("baseline") else params["model"],
                "seed": 0 if tags.get("baseline") else int(params["seed"]),
                "num_parameters": int(metrics.get("model/num_parameters", 0)),
                "validation": metrics["best/accuracy"],
                **{f"test_{name}": metrics[f"test/{name}"] for name in METRICS},
                **{f"test_accuracy_{end}": metrics[f"test/accuracy_{end}"] for end in ("low", "high")},
                "seconds": round(metrics["time/fit_seconds"], 1),
                "run_id": run.info.run_id,
                "test_hash": tags["test_hash"],
            }
        )
    found = pd.DataFrame(rows)
    return found.sort_values(["set", "what", "seed"], key=_place, ignore_index=True)


def _place(column: pd.Series) -> pd.Series:
    places = {name: place for place, name in enumerate((*SETS, *KINDS))}
    return column.map(lambda value: places.get(value, value))


def table(rows: pd.DataFrame) -> str:
    """Write the table of README.md: of networks the mean over seeds and the standard deviation of accuracy; all but MRR in percent."""
    lines = [
        "| log | what | parameters | accuracy, validation | accuracy, test | interval | MRR | hit rate at 3 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in SETS:
        for kind in KINDS:
            own = rows[(rows["set"] == name) & (rows["what"] == kind)]
            if own.empty:
                continue
            mean = own.mean(numeric_only=True)
            spread = f" ± {100 * own['test_accuracy'].std():.1f}" if len(own) > 1 else ""
            interval = f"{100 * mean['test_accuracy_low']:.1f} to {100 * mean['test_accuracy_high']:.1f}"
            size = f"{mean['num_parameters']:,.0f}" if mean["num_parameters"] else ""
            lines.append(
                f"| {name} | {kind} | {size} | {100 * mean['validation']:.1f} | {100 * mean['test_accuracy']:.1f}{spread} | {interval} | "
                f"{mean['test_mrr']:.3f} | {100 * mean['test_hit_rate_3']:.1f} |"
            )
        lines.append(f"| {name} | LSTM of Tax et al. (2017), other counting | | | {SETS[name]} | | | |")
    return "\n".join(lines)


def main() -> None:
    """Run one step."""
    if sys.argv[1:] == ["train"]:
        train()
    elif sys.argv[1:] == ["table"]:
        rows = read_runs()
        rows.to_csv(HERE / "results.csv", index=False)
        print(table(rows))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
