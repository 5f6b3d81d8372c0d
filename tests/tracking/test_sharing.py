"""A file is shared by a hard link only where that is safe: whole, on one file system, large, and no writer changes it through one name."""

import os
from pathlib import Path

import pytest
from mlflow import MlflowClient

from rnnlab.settings import Paths
from rnnlab.tracking.sharing import LEAST_BYTES, local_folder, share, share_again, unshare
from rnnlab.tracking.store import connect, read_artifact
from rnnlab.tracking.tracker import Tracker

LARGE, OTHER = bytes(LEAST_BYTES), b"1" * LEAST_BYTES


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("file:///a/b%20c", "/a/b c"),
        ("file://localhost/a", "/a"),
        ("/a/b", "/a/b"),
        ("file://elsewhere/a", None),
        ("s3://bucket/a", None),
        ("mlflow-artifacts:/1/2", None),
        ("http://host/a", None),
    ],
)
def test_an_address_names_a_folder_of_this_machine_or_none(uri: str, folder: str | None) -> None:
    assert local_folder(uri) == (None if folder is None else Path(folder))


def test_large_files_are_linked_and_small_ones_copied_with_all_folders(tmp_path: Path) -> None:
    (tmp_path / "own/deep").mkdir(parents=True)
    (tmp_path / "own/deep/large").write_bytes(LARGE)
    (tmp_path / "own/small").write_bytes(LARGE[1:])
    share(tmp_path / "own", tmp_path / "store")
    assert (tmp_path / "store/deep/large").samefile(tmp_path / "own/deep/large")
    assert (tmp_path / "store/small").read_bytes() == LARGE[1:]
    assert not (tmp_path / "store/small").samefile(tmp_path / "own/small")
    assert sorted(file.name for file in (tmp_path / "store").rglob("*")) == ["deep", "large", "small"]


def test_a_file_is_shared_twice_without_a_trace_and_anew_once_it_was_replaced(tmp_path: Path) -> None:
    file, stored = tmp_path / "file", tmp_path / "store/file"
    file.write_bytes(LARGE)
    for _ in range(2):
        share(file, tmp_path / "store")
        assert stored.samefile(file)
    (tmp_path / "aside").write_bytes(OTHER)
    (tmp_path / "aside").replace(file)
    assert stored.read_bytes() == LARGE, "what is stored is as it was logged"
    share(file, tmp_path / "store")
    assert stored.read_bytes() == OTHER and [each.name for each in stored.parent.iterdir()] == ["file"]


def test_where_links_are_refused_a_file_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*parts: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    (tmp_path / "file").write_bytes(LARGE)
    monkeypatch.setattr(os, "link", refused)
    share(tmp_path / "file", tmp_path / "store")
    assert (tmp_path / "store/file").read_bytes() == LARGE and not (tmp_path / "store/file").samefile(tmp_path / "file")


def test_a_file_that_is_shared_no_more_may_be_written_in_place(tmp_path: Path) -> None:
    file = tmp_path / "own/file"
    file.parent.mkdir()
    file.write_bytes(LARGE)
    share(file, tmp_path / "store")
    unshare(tmp_path / "own")
    file.write_bytes(OTHER)
    assert (tmp_path / "store/file").read_bytes() == LARGE


def test_of_two_copies_only_equal_ones_become_one(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same").write_bytes(LARGE)
    (tmp_path / "a/other").write_bytes(LARGE)
    (tmp_path / "b/other").write_bytes(OTHER)
    share_again(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a/same").samefile(tmp_path / "b/same")
    assert (tmp_path / "b/other").read_bytes() == OTHER


def test_a_resumed_run_writes_what_it_has_logged_without_changing_what_is_logged(root: Path) -> None:
    client, paths = connect(None, root), Paths.below(root)
    first = Tracker.start(client, "text", "shared", paths, {})
    (first.folder / "weights").write_bytes(LARGE)
    first.log_files(first.folder / "weights", "kept")
    stored = read_artifact(client, first.run_id, "kept/weights", root / "nowhere")
    assert stored.samefile(first.folder / "weights") and not (root / "nowhere").exists()
    assert [each.path for each in MlflowClient(client.tracking_uri).list_artifacts(first.run_id, "kept")] == ["kept/weights"]
    first.finish("KILLED")
    again = Tracker.resume(client, first.run_id, paths)
    (again.folder / "weights").write_bytes(OTHER)
    assert stored.read_bytes() == LARGE
    again.log_files(again.folder / "weights", "kept")
    assert stored.read_bytes() == OTHER and again.finish("FINISHED")
