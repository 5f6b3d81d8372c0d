"""Write results.csv from the tracked runs of this study.

python experiments/sequence_to_sequence/summarise.py
"""

import sys
from pathlib import Path

import pandas as pd

from rnnlab.paths import root
from rnnlab.tracking.tracker import connect

EXPERIMENTS = ("multi30k_translation", "an4_dictation", "cmudict_pronunciation")
METRICS = (
    *("bleu_tok_lc", "sacrebleu", "sacrebleu_low", "sacrebleu_high", "chrf", "length_ratio"),
    *("wer", "wer_low", "wer_high", "wer_new", "num_new", "cer", "per", "per_low", "per_high", "sentence_error", "loss", "num_examples"),
)


def main() -> None:
    """Write one row a finished run."""
    client = connect(None, root())
    rows = []
    for name in EXPERIMENTS:
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            sys.exit(f"no experiment {name!r} in {root() / 'mlflow.db'}: run the commands of README.md first")
        for run in client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'", max_results=1000):
            params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
            rows.append(
                {
                    "experiment": name,
                    "model": tags.get("baseline") or params["model"],
                    "cell": "" if "baseline" in tags else params["cell"],
                    "seed": int(params["seed"]),
                    **{f"best_{metric}": metrics.get(f"best/{metric}") for metric in ("sacrebleu", "wer", "per", "cer")},
                    **{f"test_{metric}": metrics.get(f"test/{metric}") for metric in METRICS},
                    "num_parameters": int(tags["num_parameters"]),
                    "fit_seconds": round(metrics["time/fit_seconds"]),
                    "peak_mb": round(metrics["memory/peak_mb"]),
                    "signature": tags.get("signature.sacrebleu", ""),
                    "test_hash": tags["test_hash"],
                    "git_commit": tags["git_commit"][:10] + ("+" if tags["git_dirty"] == "true" else ""),
                }
            )
    table = pd.DataFrame(rows).sort_values(["experiment", "model", "cell", "seed"], ignore_index=True)
    table.to_csv(Path(__file__).with_name("results.csv"), index=False, float_format="%.5g")
    print(table.drop(columns=["signature", "test_hash"]).dropna(axis=1, how="all").T.to_string())


if __name__ == "__main__":
    main()
