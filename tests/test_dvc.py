"""DVC keeps the data stages: nothing is done twice, and only what a change needs is done again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rnnlab.paths import HOME


def test_every_named_source_has_its_stages() -> None:
    stages = yaml.safe_load((HOME / "dvc.yaml").read_text())["stages"]
    named = {f.stem for f in (HOME / "conf/data").glob("*.yaml") if (yaml.safe_load(f.read_text()) or {}).get("source") == f.stem}
    prepared = [name for stage in stages.values() for name in stage["foreach"] if stage is not stages["fetch"]]
    assert sorted(stages["fetch"]["foreach"]) == sorted(prepared) == sorted(named)


def test_analytics_are_off() -> None:
    assert "analytics = false" in (HOME / ".dvc/config").read_text()


@pytest.mark.slow
@pytest.mark.skipif("RNNLAB_MIRROR" not in os.environ, reason="needs the real recordings: set RNNLAB_MIRROR to a folder with fsdd.tar.gz")
def test_repro_does_nothing_when_nothing_changed_and_only_what_is_needed_when_something_did(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    for name in ("conf", "src", "dvc.yaml", "data/samples"):
        copy = shutil.copytree if (HOME / name).is_dir() else shutil.copy
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        copy(HOME / name, clone / name)

    def dvc(*words: str) -> str:
        settings = {k: v for k, v in os.environ.items() if not k.startswith("RNNLAB_") or k == "RNNLAB_MIRROR"}
        settings |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
        done = subprocess.run([sys.executable, "-m", "dvc", *words], cwd=clone, env=settings, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        return done.stdout

    dvc("init", "--no-scm", "-q")
    small = ("speech@fsdd", "text@trec", "stock@vix")
    first = dvc("repro", *small)
    assert all(f"Running stage '{name}'" in first for name in (*small, "fetch@fsdd"))
    assert "Data and pipelines are up to date" in dvc("repro", *small)

    speech = clone / "conf/data/speech.yaml"
    text = speech.read_text()
    speech.write_text(text.replace("batch_size: 64", "batch_size: 32") + "\n# a comment\n")
    assert "Data and pipelines are up to date" in dvc("repro", *small), "a loader's key is none of a stage's business"

    speech.write_text(text.replace("num_mels: 40", "num_mels: 24"))
    again = dvc("repro", *small)
    assert "'fetch@fsdd' didn't change" in again
    assert "Running stage 'speech@fsdd'" in again and "'text@trec' didn't change" in again
