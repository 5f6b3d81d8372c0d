"""What makes two trainings the same: a hash of all that their numbers follow from."""

import hashlib
import json
from functools import cache

from rnnlab.data.hashing import code_hash
from rnnlab.paths import PACKAGE
from rnnlab.settings import TrainSettings
from rnnlab.training.sizes import SUITED, TABLE

CHANGES_NO_NUMBER = ("tracking", "paths", "resume", "name", "study", "epochs", "warmup_fraction")
"""Keys that change no number: where things go and what they are called (`epochs` is in the trainer, `warmup_fraction` in the scheduler)."""
OF_BASELINES = ("model", "baseline", "data")
NUMBERS = (
    "baselines",
    "cells",
    "data",
    "layers",
    "models",
    "tasks",
    "training",
    "contracts.py",
    "evaluation/evaluate.py",
    "evaluation/packing.py",
)
"""The code that numbers follow from."""
BEFORE_NUMBERS = "sources"
"""The room that brings data to this machine: their content has a hash of its own."""


def identity(settings: TrainSettings, source_hash: str) -> str:
    """Hash what the numbers of a training follow from: configuration, data, code.

    Launcher, tracking, paths, names and the number of threads do not count; a baseline has no seed.
    """
    values = settings.composed.values
    kept = {key: value for key, value in values.items() if key in OF_BASELINES or not (settings.is_baseline or key in CHANGES_NO_NUMBER)}
    kept["data"] = settings.data.without("mirror", "offline", TABLE, SUITED)
    if settings.is_baseline:  # the trainer decides only how many examples are evaluated
        kept["evaluated"] = [settings.trainer.limits[split] for split in ("val", "test")]
    else:
        kept["trainer"] = settings.trainer.node.values
        for key in settings.unused_keys():
            kept.pop(key, None)
    text = json.dumps([kept, source_hash, package_hash()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def package_hash() -> str:
    """Hash the code that numbers follow from; reports, commands, tracking and messages do not count."""
    files = (file for name in NUMBERS for file in ([PACKAGE / name] if name.endswith(".py") else (PACKAGE / name).rglob("*.py")))
    return code_hash(*(file for file in files if file.parent.name != BEFORE_NUMBERS), classes=True)
