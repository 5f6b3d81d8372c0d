"""Claims about the files of a folder: which are read, which are passed over, and what is said of these."""

import os
from pathlib import Path

import pytest

from rnnlab.data.files import (
    Broken,
    home_of,
    is_file,
    is_folder,
    is_there,
    labelled_files,
    names_in,
    passed_over,
    read_whole,
    refuse_lost_labels,
    visible_files,
)

SIDE = ("yes/._a.wav", "__MACOSX/yes/._a.wav", ".DS_Store", "yes/Thumbs.db", "yes/desktop.ini", ".git/config", "~$list.csv")


def folder_with(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def ids(folder: Path, *aside: str) -> list[tuple[str, str, str]]:
    return [(one.id, one.label, one.split) for one in labelled_files(folder, {".wav"}, aside).files]


def test_side_files_of_systems_and_archives_are_no_files(tmp_path: Path) -> None:
    folder_with(tmp_path, "yes/a.wav", *SIDE)
    assert visible_files(tmp_path) == [tmp_path / "yes/a.wav"]
    assert labelled_files(tmp_path, {".wav"}).remarks == []


def test_linked_folders_are_read_and_a_link_that_leads_back_ends(tmp_path: Path) -> None:
    folder_with(tmp_path / "elsewhere", "b.wav")
    folder_with(tmp_path / "top", "yes/a.wav")
    for name, place in (("no", "../elsewhere"), ("yes/again", "../../top"), ("maybe", "../elsewhere")):
        (tmp_path / "top" / name).symlink_to(place)
    assert ids(tmp_path / "top") == [("maybe/b.wav", "maybe", ""), ("no/b.wav", "no", ""), ("yes/a.wav", "yes", "")]


def test_the_top_folder_is_the_label_however_deep_a_file_lies(tmp_path: Path) -> None:
    folder_with(tmp_path, "yes/a.wav", "no/ann/monday/b.WAV", "loose.wav")
    assert ids(tmp_path) == [("no/ann/monday/b.WAV", "no", ""), ("yes/a.wav", "yes", "")]
    assert labelled_files(tmp_path, {".wav"}).remarks == ["files in no label's folder passed over: 1 (first loose.wav)"]


def test_labels_may_lie_below_splits(tmp_path: Path) -> None:
    folder_with(tmp_path, "Training/yes/ann/a.wav", "testing/yes/b.wav", "testing/c.wav", "dev/no/d.wav")
    assert ids(tmp_path) == [
        ("Training/yes/ann/a.wav", "yes", "train"),
        ("dev/no/d.wav", "no", "val"),
        ("testing/yes/b.wav", "yes", "test"),
    ]
    folder_with(tmp_path, "maybe/e.wav")
    assert "put all labels below train/, val/ and test/, or none" in labelled_files(tmp_path, {".wav"}).faults[0]


def test_what_is_passed_over_is_counted_by_kind_with_the_first_name(tmp_path: Path) -> None:
    folder_with(tmp_path, "yes/a.wav", "yes/b.m4a", "yes/a.m4a", "README", "list.csv.gz")
    (tmp_path / "yes" / "link.wav").symlink_to("gone.wav")
    assert labelled_files(tmp_path, {".wav"}).remarks == [
        "files passed over: 2 of .m4a (first yes/a.m4a), 1 of no suffix (first README), 1 of .gz (first list.csv.gz), "
        "1 of no file (links to nothing, pipes) (first yes/link.wav)"
    ]
    assert passed_over([], tmp_path) == []


def test_a_label_that_loses_all_its_files_is_a_fault(tmp_path: Path) -> None:
    folder_with(tmp_path, "yes/a.wav", "no/b.wav", "maybe/2.m4a", "maybe/deep/1.m4a", "noise/c.mp4")
    layout = labelled_files(tmp_path, {".wav"}, ("noise",))
    (fault,) = layout.faults
    assert fault.startswith(
        f"{tmp_path}/maybe holds 2 file(s) but none that can be read: 2 of .m4a (first maybe/2.m4a). Convert them to .wav"
    )
    assert layout.remarks[-1] == "no label: 1 file(s) of noise/ passed over" and len(layout.files) == 2


def test_files_of_no_folder_have_no_label(tmp_path: Path) -> None:
    assert ids(folder_with(tmp_path, "b.wav", "a.wav")) == [("a.wav", "", ""), ("b.wav", "", "")]


@pytest.mark.parametrize(("on_broken", "num_kept"), [("raise", 5), ("skip", 0)])
def test_what_is_broken_is_refused_with_its_place_unless_it_may_be_left_out(on_broken: str, num_kept: int) -> None:
    broken = Broken(on_broken)  # type: ignore[arg-type]  # parametrised
    for line in (3, 7):
        broken.add("the text is empty", f"t.csv, line {line}")
    with pytest.raises(ValueError, match=r"^t\.csv, line 3: the text is empty \(and 1 more\)\. Fill it in"):
        broken.settle(num_kept, "Fill it in")


def test_what_may_be_left_out_is_counted_with_its_first_place() -> None:
    broken = Broken("skip")
    for line in (3, 7):
        broken.add("the text is empty", f"t.csv, line {line}")
    assert broken.settle(5, "Fill it in") == ["left out, since the text is empty: 2 (first t.csv, line 3)"]
    refuse_lost_labels(["a", "b"], ["b", "a"], "t.csv")
    with pytest.raises(ValueError, match=r"t\.csv: all examples of the label 'a' are broken"):
        refuse_lost_labels(["a", "b"], ["b"], "t.csv")


def test_names_that_no_file_can_have_are_no_files(tmp_path: Path) -> None:
    for name in ("a" * 300, "/".join("a" * 3000), "a\0b", "~no_such_user/x"):
        assert not (is_file(tmp_path / name) or is_folder(tmp_path / name) or is_there(tmp_path / name) or names_in(tmp_path / name))
    assert home_of("~no_such_user/x") == Path("~no_such_user/x")


def test_pipes_devices_and_files_that_are_too_large_are_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ValueError, match=r"is no regular file but a pipe or a device: write its content to a file first"):
            read_whole(path)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match=r"large holds 1,099,511,627,776 bytes, more than the 4,294,967,296 that are read: divide it"):
        read_whole(tmp_path / "large")
