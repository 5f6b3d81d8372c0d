"""Write results.csv from the tracked runs of this study.

python experiments/sequence_to_sequence/summarise.py
"""

import sys
from pathlib import Path

from rnnlab.paths import root
from rnnlab.tracking.store import TrackingError, connect
from rnnlab.tracking.table import runs_table

EXPERIMENTS = ("multi30k_translation", "an4_dictation", "cmudict_pronunciation")
TEST_METRICS = (
    *("bleu_tok_lc", "sacrebleu", "sacrebleu_low", "sacrebleu_high", "chrf", "length_ratio"),
    *("wer", "wer_low", "wer_high", "wer_new", "num_new", "cer", "per", "per_low", "per_high", "sentence_error", "loss", "num_examples"),
)
COLUMNS = {
    "experiment": "experiment",
    "model": "model",
    "cell": "params.cell",
    "seed": "params.seed",
    **{f"best_{metric}": f"metrics.best/{metric}" for metric in ("sacrebleu", "wer", "per", "cer")},
    **{f"test_{metric}": f"metrics.test/{metric}" for metric in TEST_METRICS},
    "num_parameters": "tags.num_parameters",
    "fit_seconds": "metrics.time/fit_seconds",
    "peak_mb": "metrics.memory/peak_mb",
    "signature": "tags.signature.sacrebleu",
    "test_hash": "tags.test_hash",
    "git_commit": "git_commit",
    "baseline": "tags.baseline",
}


def main() -> None:
    """Write one row per finished run."""
    table = runs_table(connect(None, root()), EXPERIMENTS, COLUMNS, "the commands of README.md")
    table["cell"] = table["cell"].where(table["baseline"].isna(), "")
    table["signature"] = table["signature"].fillna("")
    seconds_and_size = ["fit_seconds", "peak_mb"]
    table[seconds_and_size] = table[seconds_and_size].round()
    table = table.drop(columns="baseline").astype(dict.fromkeys(["seed", "num_parameters", *seconds_and_size], int))
    table = table.sort_values(["experiment", "model", "cell", "seed"], ignore_index=True)
    table.to_csv(Path(__file__).with_name("results.csv"), index=False, float_format="%.5g")
    print(table.drop(columns=["signature", "test_hash"]).dropna(axis=1, how="all").T.to_string())


if __name__ == "__main__":
    try:
        main()
    except TrackingError as error:
        sys.exit(f"error: {error}")
