"""Prepared folders."""

import contextlib
import errno
import multiprocessing
import shutil
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import BrokenBarrierError

import numpy as np
import pandas as pd
import pytest
import torch

from rnnlab.contracts import valid_mask
from rnnlab.data.prepared import Json, open_prepared, pad_rows, prepare_once, read_meta, write_flat, write_prepared

LENGTHS = (3, 5, 2)
GOLDEN, WORD = 0x9E3779B97F4A7C15, 2**64

META = {"prepared_key": "k", "num_steps": 10}


def without_checksums(meta: Json) -> Json:
    return {key: value for key, value in meta.items() if not key.startswith("checksum")}


def write(folder: Path) -> Path:
    sequences = [np.full((length, 4), length, dtype=np.float32) for length in LENGTHS]
    write_prepared(folder, sequences, pd.DataFrame({"id": ["a", "b", "c"], "label": ["0", "1", "0"]}), {"prepared_key": "k"})
    return folder


# Prepared folders


def test_what_was_written_is_read_and_nothing_else_is_left(tmp_path: Path) -> None:
    prepared = open_prepared(write(tmp_path / "deep" / "here"))
    assert prepared.lengths.tolist() == list(LENGTHS)
    assert prepared.values.dtype == np.float32 and prepared.values[:, 1].tolist() == [3] * 3 + [5] * 5 + [2] * 2
    assert isinstance(prepared.values, np.memmap)
    assert prepared.examples["id"].tolist() == ["a", "b", "c"] and without_checksums(prepared.meta) == META
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["here"]


def test_writing_again_replaces_what_was_there(tmp_path: Path) -> None:
    (write(tmp_path / "here") / "note").write_text("old")
    assert not (write(tmp_path / "here") / "note").exists()


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-5])


def shorten_table(file: Path) -> None:
    pd.read_parquet(file).iloc[:2].to_parquet(file)


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "values missing": ("values.npy", Path.unlink),
    "values empty": ("values.npy", lambda file: file.write_bytes(b"")),
    "values truncated": ("values.npy", truncate),
    "values with code": ("values.npy", lambda file: np.save(file, np.array([{}]))),
    "offsets truncated": ("offsets.npy", truncate),
    "offsets of another": ("offsets.npy", lambda file: np.save(file, np.array([0, 3, 10]))),
    "offsets a number": ("offsets.npy", lambda file: np.save(file, np.array(3))),
    "table truncated": ("examples.parquet", truncate),
    "table shorter": ("examples.parquet", shorten_table),
    "meta no JSON": ("meta.json", lambda file: file.write_text("{")),
    "meta a list": ("meta.json", lambda file: file.write_text("[]")),
    "meta without counts": ("meta.json", lambda file: file.write_text("{}")),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_folder_says_which_folder_to_delete(tmp_path: Path, name: str) -> None:
    file, damage = DAMAGES[name]
    folder = write(tmp_path / "here")
    damage(folder / file)
    with pytest.raises(ValueError, match=rf"^prepared data in {folder} are damaged \(.+\): delete that folder and run again$"):
        open_prepared(folder)


def test_meta_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    meta = read_meta(write(tmp_path / "here"))
    assert meta is not None and without_checksums(meta) == META
    assert read_meta(tmp_path / "nowhere") is None
    for text in ("{", "[]"):
        (tmp_path / "here" / "meta.json").write_text(text)
        assert read_meta(tmp_path / "here") is None


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), OSError("1195720 requested and 248800 written")])
def test_a_full_disk_leaves_nothing_behind_and_says_where_else(error: OSError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise error

    monkeypatch.setattr(np, "save", fail)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1 << 41, 1 << 41, 4096))  # NumPy does not say it
    claim = (
        r"^cannot write prepared data to .*here \(No space left on device\): free some space or give another place with paths.data=FOLDER$"
    )
    with pytest.raises(ValueError, match=claim):
        write(tmp_path / "here")
    assert list(tmp_path.iterdir()) == []


def test_a_place_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("a regular file")
    with pytest.raises(ValueError, match=r"cannot write prepared data to .*note/here \(Not a directory\): .*paths.data=FOLDER"):
        write(tmp_path / "note" / "here")
    for folder in (tmp_path / "note" / "here", tmp_path / "note" / "deeper" / "here"):
        with pytest.raises(ValueError, match=r"^cannot write to .*note.* \((Not a directory|File exists)\): .* with paths.data=FOLDER$"):
            prepare_once(folder, folder.exists, lambda: pytest.fail("nothing to build there"))


def test_a_read_only_disk_says_where_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(ValueError, match=r"^cannot write to .* \(Read-only file system\): give another place with paths.data=FOLDER$"):
        prepare_once(tmp_path / "cache" / "here", lambda: False, lambda: None)


def test_an_error_while_building_is_not_taken_for_one_of_the_place(tmp_path: Path) -> None:
    def build() -> None:
        raise PermissionError(errno.EACCES, "a recording is not yours")

    for _ in range(2):  # the lock was released
        with pytest.raises(PermissionError, match="a recording is not yours"):
            prepare_once(tmp_path / "here", lambda: False, build)


def build_and_count(folder: Path, log: Path, gate: Barrier, meeting: Barrier) -> None:
    checks = []

    def is_current() -> bool:
        checks.append(folder.exists())
        if len(checks) == 1:
            gate.wait(timeout=30)  # all have seen that it is missing
        return checks[-1]

    def build() -> None:
        with log.open("a") as file:
            file.write("built\n")
        with contextlib.suppress(BrokenBarrierError):  # nobody else comes here
            meeting.wait(timeout=0.2)
        folder.mkdir()

    prepare_once(folder, is_current, build)
    assert folder.exists()


def test_processes_that_want_the_same_folder_at_once_build_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    folder, log = tmp_path / "variant", tmp_path / "log"
    shared = (folder, log, context.Barrier(4), context.Barrier(2))
    processes = [context.Process(target=build_and_count, args=shared) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert log.read_text() == "built\n"


# Batches


@pytest.mark.parametrize(("max_steps", "lengths"), [(None, [2, 3]), (3, [2, 3]), (1, [1, 1])])
def test_rows_are_padded_with_zeros_and_cut(tmp_path: Path, max_steps: int | None, lengths: list[int]) -> None:
    values_BTF, lengths_B = pad_rows(open_prepared(write(tmp_path / "here")), np.array([2, 0]), max_steps)
    assert lengths_B.tolist() == lengths and lengths_B.dtype == torch.int64 and values_BTF.shape == (2, max(lengths), 4)
    mask_BT = valid_mask(lengths_B, max(lengths))
    assert torch.equal(values_BTF[..., 3], mask_BT * torch.tensor([2.0, 3.0])[:, None])


@pytest.mark.parametrize("name", ["values.npy", "offsets.npy", "examples.parquet", "meta.json"])
def test_a_flipped_bit_is_noticed(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "prepared"
    values, offsets, examples = np.arange(600, dtype=np.float32)[:, None], np.array([0, 300, 600]), pd.DataFrame({"id": ["a", "b"]})
    write_flat(folder, values, offsets, examples, {"odd": {"rows": 7}})
    assert open_prepared(folder).meta["odd"] == {"rows": 7}
    content = bytearray((folder / name).read_bytes())
    place = content.rindex(b"7") if name == "meta.json" else len(content) // 2
    content[place] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"^prepared data in .* are damaged \(.*\): delete that folder and run again"):
        open_prepared(folder)
