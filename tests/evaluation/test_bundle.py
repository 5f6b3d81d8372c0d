"""Claims about bundles that are damaged: they are told, before anything is made room for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rnnlab.commands import train as run
from rnnlab.config import ConfigError
from rnnlab.evaluation.bundle import load_bundle

WORDS = ("model=gru", "data=parity", "trainer=smoke", "model.recurrence.hidden_size=4", "tracking.log_model=false", "trainer.num_threads=1")


@pytest.fixture
def bundle(compose: Callable[..., Any], root: Path) -> Path:
    """Return the bundle of a tiny run."""
    before = set((root / "outputs").glob("*"))
    run.train(compose(*WORDS))
    (folder,) = set((root / "outputs").glob("*")) - before
    return folder / "artifacts/bundle"


def test_each_kind_of_damage_is_told(bundle: Path) -> None:
    file = bundle / "bundle.json"
    kept = json.loads(file.read_text(encoding="utf-8"))
    whole = {name: value for name, value in kept.items() if name not in ("digest", "checksum")}  # which would tell of all at once
    recurrence = {**whole["model"]["recurrence"], "hidden_size": 10**6}
    cases: list[tuple[object, str]] = [
        ([whole], "is not a bundle that can be read"),
        ({**whole, "format": 0}, "format 0 is not"),
        ({**whole, "model": ""}, "bundle.json has no model that can be read"),
        ({name: value for name, value in whole.items() if name != "run_id"}, "bundle.json has no run_id that can be read"),
        ({**whole, "model": {}}, "its model cannot be made"),
        ({**whole, "spec": {}}, "its model cannot be made"),
        ({**whole, "data": {}}, "which this version does not have"),
        ({**whole, "model": {**whole["model"], "_target_": "os.system"}}, r"names 'os\.system', which no file in conf/ does"),
        ({**whole, "model": {**whole["model"], "recurrence": recurrence}}, "weights differ in name or shape"),  # 12 terabytes
    ]
    for content, message in cases:
        file.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(ConfigError, match=message):
            load_bundle(bundle)
    file.write_text(json.dumps(whole), encoding="utf-8")
    assert load_bundle(bundle).run_id == whole["run_id"]
    save_file({**load_file(bundle / "weights.safetensors"), "another": torch.ones(1)}, bundle / "weights.safetensors")
    with pytest.raises(ConfigError, match=r"1 of \d+ weights differ in name or shape, another first"):
        load_bundle(bundle)
