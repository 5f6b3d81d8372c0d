"""Golden runs: tiny trainings and composed configurations that a refactoring must reproduce exactly.

`tests/golden/runs.json` holds the losses of the first steps and hashes of the predictions of one training per kind of data and model, with
the environment they hold for. In that environment they are equal to the bit; in another, losses agree within a tolerance.
`tests/golden/configs.json` holds what Hydra composes for every training command of the README.

After a change that is meant to move numbers:  python tests/test_golden.py     writes both files anew; the commit says why they moved.
"""

import hashlib
import json
import os
import platform
import re
import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from rnnlab.paths import HOME

RUNS, CONFIGS = HOME / "tests/golden/runs.json", HOME / "tests/golden/configs.json"
TINY = (
    *("data.source=sample", "trainer.max_epochs=1", "trainer.limit_train_batches=6", "trainer.limit_val_batches=2"),
    *("trainer.limit_test_batches=2", "tracking.log_every_n_steps=1", "tracking.log_model=false", "trainer.num_threads=1"),
)
GENERATED = ("adding", "copying", "parity")
TRAININGS = {
    "speech_gru": "model=gru data=speech",
    "speech_transformer": "model=transformer data=speech",
    "speech_by_speaker": "model=birnn cell=lstm data=speech tuned=birnn_speech data.split=speaker",
    "dictation_birnn": "model=birnn data=dictation tuned=null",
    "text_birnn": "model=birnn data=text tuned=null",
    "text_tcn": "model=tcn data=text",
    "text_baseline": "model=baseline data=text baseline.kind=tfidf",
    "translation_seq2seq": "model=seq2seq data=translation tuned=seq2seq_translation data.prepare.subword_size=400",
    "pronunciation_seq2seq": "model=seq2seq data=pronunciation tuned=seq2seq_pronunciation",
    "stock_lstm": "model=lstm data=stock tuned=lstm_stock",
    "stock_quantiles": "model=gru data=stock tuned=gru_stock model/head=quantile",
    "series_srnn": "model=srnn data=series",
    "series_baseline": "model=baseline data=series",
    "adding_gru": "model=gru data=adding",
    "copying_lstm": "model=lstm data=copying",
    "parity_srnn": "model=srnn data=parity",
    "music_lstm": "model=lstm data=music",
}


def words_of(command: str) -> list[str]:
    """Return a training's words, shortened; data that are generated have no source."""
    words = command.split()
    has_source = not any(f"data={name}" in words for name in GENERATED)
    return [*words, *(word for word in TINY if has_source or not word.startswith("data.source"))]


def train_tiny(compose: Callable[..., Any], command: str) -> dict[str, Any]:
    """Train, and return what must stay: losses by step, and a hash of each table of predictions."""
    from rnnlab.commands import train as run
    from rnnlab.tracking.store import connect, find_runs, metric_history

    config = compose(*words_of(command), "name=golden", f"tracking.experiment={hashlib.sha256(command.encode()).hexdigest()[:16]}")
    run.train(config)
    client = connect(None, config.paths.root)
    experiment = client.get_experiment_by_name(config.tracking.experiment)
    (found,) = [each for each in find_runs(client, "tags.mlflow.runName = 'golden'") if each.info.experiment_id == experiment.experiment_id]
    losses = {name: metric_history(client, found.info.run_id, name) for name in ("train/loss", "val/loss")}
    folder = config.paths.root / found.data.tags["outputs"] / "artifacts" / "predictions"
    return {
        "losses": {name: {str(step): value for step, value in points} for name, points in losses.items() if points},
        "metrics": {name: value for name, value in sorted(found.data.metrics.items()) if name.startswith(("best/", "test/"))},
        "predictions": {split: hash_of(pd.read_parquet(folder / f"{split}.parquet")) for split in ("val", "test")},
    }


def hash_of(table: pd.DataFrame) -> str:
    """Hash names, types and values of a table."""
    found = hashlib.sha256()
    for name in table.columns:
        values = table[name].to_numpy()
        found.update(f"{name}:{values.dtype};".encode())
        is_plain = values.dtype.kind in "biufmM"
        found.update(values.tobytes() if is_plain else json.dumps([np.asarray(each).tolist() for each in values], default=str).encode())
    return found.hexdigest()[:16]


def environment() -> dict[str, str]:
    """Return what the bits of a training follow from beside the code."""
    cpus = Path("/proc/cpuinfo")
    cpu = re.search(r"^model name\s*:\s*(.+)$", cpus.read_text(encoding="utf-8"), re.MULTILINE) if cpus.is_file() else None
    return {
        "python": ".".join(platform.python_version_tuple()[:2]), "torch": torch.__version__, "numpy": np.__version__,
        "cpu": cpu[1] if cpu else platform.processor(), "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }  # fmt: skip


IN_FAST_LANE = ("speech_gru", "text_birnn", "text_baseline", "translation_seq2seq", "stock_quantiles", "adding_gru", "music_lstm")


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in IN_FAST_LANE else pytest.mark.slow) for name in TRAININGS])
def test_a_tiny_training_gives_the_numbers_it_gave_before(name: str, compose: Callable[..., Any]) -> None:
    recorded = json.loads(RUNS.read_text(encoding="utf-8"))
    before, now = recorded["runs"][name], train_tiny(compose, TRAININGS[name])
    assert recorded["commands"][name] == TRAININGS[name]
    if recorded["environment"] == environment():
        assert now == before
    for split, points in before["losses"].items():
        assert now["losses"][split] == pytest.approx(points, rel=2e-3)
    assert now["metrics"].keys() == before["metrics"].keys()


def readme_trainings() -> list[str]:
    """Return the README's commands that train one network."""
    blocks = re.findall(r"```bash\n(.*?)```", (HOME / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    once = [line for line in lines if line.startswith("python src/train.py") and not re.search(r" -m |--|resume=|study=", line)]
    return list(dict.fromkeys(once))


def composed(compose: Callable[..., Any], line: str) -> dict[str, Any]:
    """Compose a command, and return its keys and values; of classes the names alone, of places nothing."""
    from rnnlab.cli import as_hydra_reads
    from rnnlab.config import flatten

    words = [as_hydra_reads("config", word) for word in shlex.split(line)[2:]]
    settings = compose(*words)
    flat = flatten({**settings.values(), "choices": dict(settings.choices.by_group), "words": list(settings.words)})
    named = {key: str(value).rpartition(".")[2] if key.endswith("_target_") else value for key, value in flat.items()}
    return {key: value for key, value in named.items() if not key.startswith("paths.")}


def test_the_readme_composes_what_it_composed_before(compose: Callable[..., Any]) -> None:
    recorded = json.loads(CONFIGS.read_text(encoding="utf-8"))
    assert list(recorded["commands"]) == readme_trainings()
    for line, differences in recorded["commands"].items():
        changed = recorded["base"] | differences["changed"]
        assert composed(compose, line) == {key: value for key, value in changed.items() if key not in differences["missing"]}, line


def write() -> None:
    """Record both files anew."""
    from rnnlab import cli
    from rnnlab.settings import TrainSettings

    with tempfile.TemporaryDirectory() as folder:
        os.environ["RNNLAB_ROOT"] = folder

        def compose(*words: str) -> Any:
            return TrainSettings.of(cli.compose_config("config", list(words)))

        found = {line: composed(compose, line) for line in readme_trainings()}
        base = next(iter(found.values()))
        commands = {
            line: {
                "changed": {key: value for key, value in flat.items() if key not in base or base[key] != value},
                "missing": sorted(base.keys() - flat.keys()),
            }
            for line, flat in found.items()
        }
        CONFIGS.write_text(json.dumps({"base": base, "commands": commands}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        runs = {name: train_tiny(compose, command) for name, command in TRAININGS.items()}
        content = {"environment": environment(), "commands": TRAININGS, "runs": runs}
        RUNS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(write())
