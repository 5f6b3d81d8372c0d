"""Train what README.md compares, each run once; write results.csv.

python experiments/summaries/run.py train [NAME ...]    all runs, or those named; what has finished is not run again
python experiments/summaries/run.py table
"""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

from rnnlab.paths import HOME, root
from rnnlab.tracking.store import TrackingError, connect
from rnnlab.tracking.table import runs_table

EXPERIMENT = "summaries"
NETWORK = (
    *("model=seq2seq", "model.attention=bahdanau", "model.decoder.has_input_feeding=false", "model.tied_embeddings=target"),
    *(
        "model.recurrence.hidden_size=64",
        "frontend.embedding_size=64",
        "model.decoder.embedding_size=64",
        "model.decoder.attention_size=64",
    ),
    *("model.decoder.hidden_size=96", "optimizer.lr=0.003", "data.loader.batch_size=64", "data.loader.max_size=3000"),
    *("model.decoding.beam_size=4", "model.decoding.length_penalty=1.0", "trainer.num_threads=1"),
)
COPYING, COVERAGE = "model.decoder.has_copying=true", "model.decoder.coverage_weight=1"
LEAD, NEAREST = ("model=baseline", "baseline.kind=lead"), ("model=baseline", "baseline.kind=nearest")
RUNS: dict[str, tuple[str, ...]] = {
    "titles_lead": ("data=ag_titles", *LEAD),
    "titles_lead8": ("data=ag_titles", *LEAD, "baseline.num_words=8"),
    "titles_nearest": ("data=ag_titles", *NEAREST),
    "titles_plain": ("data=ag_titles", *NETWORK, "epochs=8"),
    "titles_copying": ("data=ag_titles", *NETWORK, "epochs=8", COPYING),
    "titles_coverage": ("data=ag_titles", *NETWORK, "epochs=8", COPYING, COVERAGE),
    "papers_lead": ("data=scitldr", *LEAD),
    "papers_nearest": ("data=scitldr", *NEAREST),
    "papers_coverage": ("data=scitldr", *NETWORK, "epochs=6", COPYING, COVERAGE),
}
METRICS = [f"{name}{end}" for name in ("rouge1", "rouge2", "rougeL") for end in ("", "_low", "_high")]
COLUMNS = {
    "data": "params.data.name",
    "model": "model",
    "num_words": "params.baseline.num_words",
    "has_copying": "params.model.decoder.has_copying",
    "coverage_weight": "params.model.decoder.coverage_weight",
    "seed": "params.seed",
    **{f"best_{name}": f"metrics.best/{name}" for name in ("rougeL", "loss")},
    **{f"test_{name}": f"metrics.test/{name}" for name in [*METRICS, "loss", "num_examples"]},
    "num_parameters": "tags.num_parameters",
    "fit_seconds": "metrics.time/fit_seconds",
    "test_hash": "tags.test_hash",
}
SETTINGS = list(COLUMNS)[1:5]


def finished() -> pd.DataFrame:
    """Return the finished runs, of runs that say the same the last."""
    table = runs_table(connect(None, root()), (EXPERIMENT,), COLUMNS, "python experiments/summaries/run.py train")
    table[SETTINGS] = table[SETTINGS].fillna("").astype(str)
    same = ["data", "test_hash", *SETTINGS, "seed"]
    return table.drop_duplicates(same).sort_values(["data", *SETTINGS], ignore_index=True)


def is_done(words: tuple[str, ...], table: pd.DataFrame) -> bool:
    """Tell whether a run of these words is in the table."""
    given = dict(word.split("=", 1) for word in words)
    wanted = {
        "data": given["data"],
        "model": given.get("baseline.kind", given["model"]),
        "num_words": given.get("baseline.num_words", ""),
        "has_copying": "True" if COPYING in words else "False" if given["model"] == "seq2seq" else "",
        "coverage_weight": given.get("model.decoder.coverage_weight", ""),
    }
    return bool((table[list(wanted)] == pd.Series(wanted)).all(axis=1).any())


def train(names: list[str]) -> None:
    """Train the runs that have not finished."""
    for name in names or RUNS:
        try:
            if is_done(RUNS[name], finished()):
                continue
        except TrackingError:  # nothing has finished yet
            pass
        words = [*RUNS[name], f"tracking.experiment={EXPERIMENT}"]
        subprocess.run([sys.executable, HOME / "src/train.py", *words], env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)


def main() -> None:
    """Do what is asked for."""
    match sys.argv[1:]:
        case ["train", *names] if set(names) <= set(RUNS):
            train(names)
        case ["table"]:
            table = finished()
            table.to_csv(Path(__file__).with_name("results.csv"), index=False, float_format="%.5g")
            print(table.drop(columns="test_hash").T.to_string())
        case _:
            sys.exit(str(__doc__))


if __name__ == "__main__":
    try:
        main()
    except TrackingError as error:
        sys.exit(f"error: {error}")
