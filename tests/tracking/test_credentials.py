"""Credentials in the address of a tracking store appear in nothing that is written or printed."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SECRET = "s3cr3t-of-me"
WORDS = "data=speech data.source=sample trainer=smoke model.recurrence.hidden_size=3"


def holding(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that hold the secret."""
    for file in folder.rglob("*"):
        if file.is_file() and SECRET.encode() in file.read_bytes():
            yield file


@pytest.mark.slow
def test_credentials_are_in_no_file_and_no_line(
    server: tuple[str, "subprocess.Popen[bytes]"], command: Callable[..., "subprocess.CompletedProcess[str]"], root: Path, tmp_path: Path
) -> None:
    address = server[0].replace("http://", f"http://me:{SECRET}@")
    before = set((root / "outputs").glob("*"))
    one = command(f"src/train.py model=gru {WORDS} tracking.uri={address}")
    many = command(f"src/train.py -m model=gru {WORDS} tracking.log_model=false seed=0,1 tracking.uri={address}")
    for done in (one, many):
        assert done.returncode == 0, done.stderr
        assert SECRET not in done.stdout + done.stderr
    run_id = (set((root / "outputs").glob("*")) - before).pop().name
    used = [command(f"src/{line} tracking.uri={address}") for line in (f"score.py run={run_id}", f"train.py resume={run_id}")]
    used.append(command(f"src/train.py model=gru {WORDS} tracking.uri=http://me:{SECRET}@127.0.0.1:9"))
    used.append(command(f"src/train.py model=gru {WORDS} tracking.uri=ftp://me:{SECRET}@host/x"))
    for done in used:
        assert SECRET not in done.stdout + done.stderr
    assert [*holding(root), *holding(tmp_path)] == []
