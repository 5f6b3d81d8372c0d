"""Metric what README.md says of time: an epoch, extrapolated from a few batches; a run's search, with each of several beams.

python experiments/sequence_to_sequence/run.py epoch NUM_BATCHES WORD ...     words as of src/train.py
python experiments/sequence_to_sequence/run.py beams RUN_ID SIZE ...          1: greedily, or the best path of CTC

Nothing else should run on the machine; OMP_NUM_THREADS says how many threads a search has, trainer.num_threads those of an epoch.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch

from rnnlab.cli import compose_config
from rnnlab.config import checked, recipe
from rnnlab.data.base import SequenceDataModule, Split
from rnnlab.evaluation.bundle import load_bundle
from rnnlab.evaluation.evaluate import evaluate
from rnnlab.models.base import Predictor
from rnnlab.paths import HOME, root
from rnnlab.settings import Paths, TrainSettings
from rnnlab.tracking.recorded import read_config
from rnnlab.tracking.store import connect, read_artifact

SPLITS: tuple[Split, ...] = ("val", "test")


def epoch(num_batches: int, words: list[str]) -> None:
    """Train on a few batches in a process and a place of its own, the first and slower ones included; print what an epoch would take."""
    settings = TrainSettings.of(compose_config("config", words))
    data: SequenceDataModule = settings.data.recipe()(settings.paths, settings.seed)
    data.setup()
    limits = [f"trainer.limit_train_batches={num_batches}", *(f"trainer.limit_{split}_batches=1" for split in SPLITS)]
    with TemporaryDirectory() as folder:
        place = {**os.environ, "RNNLAB_ROOT": folder}
        fixed = ["trainer.max_epochs=1", "tracking.log_model=false", f"paths.data={settings.paths.data}"]
        subprocess.run([sys.executable, HOME / "src/train.py", *words, *limits, *fixed], env=place, check=True, stdout=subprocess.DEVNULL)
        (file,) = Path(folder).glob("outputs/*/artifacts/results.json")
        numbers = json.loads(file.read_text(encoding="utf-8"))
    num_examples, speed = len(data.rows["train"]), numbers["speed/examples_per_second"]
    print(f"{num_examples / speed:.0f} s an epoch of {num_examples:,} examples, {speed:.1f} a second in {num_batches} batches")
    print(f"{numbers['memory/peak_mb']:,.0f} MB, the largest size of the process")


def beams(run_id: str, sizes: list[int]) -> None:
    """Print a run's scores on validation and test for each size of beam, and what the search alone takes."""
    client = connect(None, root())
    paths: Paths = checked(compose_config("score", []).values["paths"], Paths, "paths")
    fetched = paths.outputs / run_id / "fetched"
    recorded = read_config(client, run_id, fetched).values
    bundle = load_bundle(read_artifact(client, run_id, "bundle", fetched))
    data: SequenceDataModule = recipe(recorded["data"], "data")(paths, recorded["seed"])
    data.setup()
    columns = {}
    for size in sizes:
        bundle.search_with(size, None)
        for split in SPLITS:
            seconds = search_seconds(bundle.model, data, split)
            columns[f"{split}, beam {size}"] = {"search_seconds": seconds, **evaluate(bundle.model, data, split).numbers}
    print(f"run {run_id}, {torch.get_num_threads()} thread(s)\n{pd.DataFrame(columns).to_string(float_format='{:.4f}'.format)}")


@torch.inference_mode()
def search_seconds(model: Predictor, data: SequenceDataModule, split: Split) -> float:
    """Return how long a model takes to answer a split, targets unknown."""
    batches = [replace(batch, target_lengths=torch.zeros_like(batch.target_lengths)) for batch in data.plain_dataloader(split)]
    begun = time.perf_counter()
    for batch in batches:
        model.predict(batch)
    return time.perf_counter() - begun


def main() -> None:
    """Metric what is asked for."""
    try:
        match sys.argv[1:]:
            case ["epoch", num_batches, *words]:
                epoch(int(num_batches), words)
            case ["beams", run_id, *sizes] if sizes:
                beams(run_id, [int(size) for size in sizes])
            case _:
                sys.exit(str(__doc__))
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
