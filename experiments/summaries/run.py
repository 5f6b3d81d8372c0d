"""Train what README.md compares, each run once; write results.csv.

python experiments/summaries/run.py train [NAME ...]    all runs, or those named; what has finished is not run again
python experiments/summaries/run.py table
"""

import os
import subprocess
import sys

from rnnlab.paths import HOME, root
from rnnlab.tracking.store import connect
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
    "name": "tags.mlflow.runName",
    "seed": "params.seed",
    **{f"best_{name}": f"metrics.best/{name}" for name in ("rougeL", "loss")},
    **{f"test_{name}": f"metrics.test/{name}" for name in [*METRICS, "loss", "num_examples"]},
    "num_parameters": "tags.num_parameters",
    "fit_seconds": "metrics.time/fit_seconds",
    "test_hash": "tags.test_hash",
    "git_commit": "git_commit",
}


def train(names: list[str]) -> None:
    """Train the runs that have not finished."""
    done = set(table_of()["name"]) if (root() / "mlflow.db").exists() else set()
    for name in names or RUNS:
        if name not in done:
            words = [*RUNS[name], f"tracking.experiment={EXPERIMENT}", f"tracking.run_name={name}"]
            subprocess.run([sys.executable, HOME / "src/train.py", *words], env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)


def table_of():
    return runs_table(connect(None, root()), (EXPERIMENT,), COLUMNS, "python experiments/summaries/run.py train")
