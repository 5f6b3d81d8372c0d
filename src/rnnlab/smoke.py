"""`RNNLAB_SMOKE=1` before a training command: does it work at all? A few batches of the bundled sample, in seconds."""

import os
import sys
from pathlib import Path

import yaml

FEW = ("trainer.limit_train_batches=4", "trainer.limit_val_batches=2", "trainer.limit_test_batches=2", "trainer.max_epochs=1")
LONG = ("epochs", "trainer.max_epochs", "trainer.max_steps", "trainer.max_time")
"""Keys that say how long a training takes: what was typed gives way."""
RECORDED = ("resume",)
"""Words that bring a configuration of their own."""


def is_smoke() -> bool:
    """Whether the environment asks for a trial."""
    return os.environ.get("RNNLAB_SMOKE", "") not in ("", "0")


def shortened(config_name: str, words: list[str], conf: Path) -> list[str]:
    """Return a training's words so that it takes seconds; other commands' are left as they are.

    Args:
        config_name: what is run; `config` is a training.
        words: of the command line.
        conf: the folder of configurations, which know which data have a sample.
    """
    keys = [word.partition("=")[0] for word in words]
    if config_name != "config" or any(key in keys for key in RECORDED) or "--cfg" in words or "--help" in words:
        return words
    kept = [word for word, key in zip(words, keys, strict=True) if key not in LONG]
    chosen = next((word.partition("=")[2] for word in words if word.startswith("data=")), "speech")
    has_sample = all(has_source(name, conf) for name in chosen.split(","))
    added = [*FEW, "tracking.log_model=false", *(["data.source=sample"] if has_sample else [])]
    print(f"RNNLAB_SMOKE: a trial, with {' '.join(added)}", file=sys.stderr)
    return [*kept, *(word for word in added if word.partition("=")[0] not in keys or word in FEW)]


def has_source(name: str, conf: Path) -> bool:
    """Whether a data set has a source that can be replaced by its sample; what is generated has none."""
    file = conf / "data" / f"{name}.yaml"
    return file.is_file() and "source" in yaml.safe_load(file.read_text(encoding="utf-8"))  # a misspelt name is refused later, in words
