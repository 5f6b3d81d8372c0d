"""Claims about reading checkpoints: data, never code, and what is damaged is told."""

import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnlab.config import ConfigError
from rnnlab.training.checkpoints import DirectCheckpointIO, drop_last, keep_weights, read_checkpoint


class Attack:
    """Stands for code: it would make a file where it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_a_checkpoint_that_carries_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "more": Attack(f"touch {tmp_path / 'executed'}")}, tmp_path / "x.ckpt")
    with pytest.raises(ConfigError, match=r"x\.ckpt cannot be loaded: it carries code, which is not run"):
        read_checkpoint(tmp_path / "x.ckpt")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["old", "empty", "packed", "other"])
def test_what_torch_has_not_written_since_version_1_6_is_refused_unread(tmp_path: Path, name: str) -> None:
    file = tmp_path / "x.ckpt"
    torch.save({"state_dict": {}}, file, _use_new_zipfile_serialization=name != "old")  # damaged ones of the old format hang torch
    if name in ("empty", "other"):
        file.write_bytes(b"" if name == "empty" else b"rubbish")
    elif name == "packed":  # a record may then unpack to any size
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x/data.pkl", bytes(10_000))
    with pytest.raises(ConfigError, match=r"cannot be loaded: it is damaged or no checkpoint that torch\.save wrote"):
        read_checkpoint(file)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.ckpt cannot be loaded: No such file"):
        read_checkpoint(tmp_path / "none.ckpt")


def test_of_a_checkpoint_the_weights_are_kept_without_what_only_a_resume_needs(tmp_path: Path) -> None:
    weights = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}
    whole = {"state_dict": weights, "epoch": 4, "global_step": 7, "pytorch-lightning_version": "2.0", "callbacks": {"x": 1}}
    torch.save({**whole, "optimizer_states": [{"state": torch.ones(9000)}], "current_model_state": weights}, tmp_path / "last.ckpt")
    before = (tmp_path / "last.ckpt").read_bytes()
    kept = keep_weights(tmp_path / "last.ckpt", tmp_path / "best.ckpt")
    content = read_checkpoint(kept)
    assert content.keys() == {"state_dict", "epoch", "global_step", "pytorch-lightning_version"}
    assert all(torch.equal(value, weights[name]) for name, value in content["state_dict"].items())
    assert (tmp_path / "last.ckpt").read_bytes() == before, "a training may still be resumed from it"
    written = kept.stat().st_mtime_ns
    keep_weights(kept, kept)
    assert kept.stat().st_mtime_ns == written, "what holds weights alone is not written again"


def test_the_last_checkpoint_goes_only_where_another_stays(tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_bytes(b"last")
    drop_last(tmp_path)
    assert (tmp_path / "last.ckpt").is_file()
    (tmp_path / "best.ckpt").write_bytes(b"best")
    drop_last(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["best.ckpt"]


@pytest.mark.parametrize(("free", "reason"), [(4096, "No space left on device"), (1 << 40, "[enforce fail] unexpected pos 64 vs 0")])
def test_a_checkpoint_that_cannot_be_written_says_why_and_leaves_nothing(
    free: int, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(content: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise RuntimeError("[enforce fail] unexpected pos 64 vs 0\nframe #0: ...")  # what torch says of a full disk, too

    monkeypatch.setattr(torch, "save", fail)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1 << 41, 1 << 40, free))
    with pytest.raises(OSError) as caught:
        DirectCheckpointIO().save_checkpoint({"state_dict": {}}, tmp_path / "last.ckpt")
    assert (caught.value.strerror, caught.value.filename) == (reason, str(tmp_path / "last.ckpt"))
    assert list(tmp_path.iterdir()) == []
