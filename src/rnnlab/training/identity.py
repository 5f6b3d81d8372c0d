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

COST = "cost_key"
"""The tag of a run by which others of the same sizes know how long they will take."""
CHANGES_NO_SECONDS = {
    "": ("seed", "study", "tracking", "paths", "name", "resume", "scheduler", "warmup_fraction", "epochs", "budget"),
    "trainer": ("max_epochs", "max_steps"),
    "optimizer": ("lr", "weight_decay"),
    "data": ("fold", "split_seed", "mirror", "offline"),
}
"""Keys of each section, "" of the whole, that change no seconds of a step; epochs and steps are counted."""


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
    if settings.study.packed:  # recurrences add up in another order
        kept["packed"] = True
    text = json.dumps([kept, source_hash, package_hash()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cost_key(settings: TrainSettings) -> str:
    """Hash what the seconds of one step follow from: the configuration but for seed, learning rate, and number of epochs."""
    values = settings.values()
    values |= {
        key: {name: value for name, value in values[key].items() if name not in left_out}
        for key, left_out in CHANGES_NO_SECONDS.items()
        if isinstance(values.get(key), dict)
    }
    kept = {key: value for key, value in values.items() if key not in CHANGES_NO_SECONDS[""]}
    if settings.study.packed:  # jobs that share their steps
        kept["packed"] = True
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:16]


@cache
def package_hash() -> str:
    """Hash the code that numbers follow from; reports, commands, tracking and messages do not count."""
    files = (file for name in NUMBERS for file in ([PACKAGE / name] if name.endswith(".py") else (PACKAGE / name).rglob("*.py")))
    return code_hash(*(file for file in files if file.parent.name != BEFORE_NUMBERS), classes=True)
