"""Claims about lists of recordings: what is in a folder or a manifest, and what of it can be wrong."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from rnnlab.data.recordings import find_recordings, hash_recordings, natural_order


def folder_with(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def manifest(folder: Path, text: str, name: str = "manifest.csv") -> Path:
    folder_with(folder, "a.wav", "b/c.flac")
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


# Folders


def test_subfolders_are_labels_and_only_sound_files_in_them_count(tmp_path: Path) -> None:
    folder_with(tmp_path, "yes/b.wav", "yes/a.FLAC", "no/c.mp3", "no/notes.txt", "loose.wav", "no/deeper/d.wav")
    table = find_recordings(str(tmp_path), tmp_path)
    assert table["id"].tolist() == ["no/c.mp3", "yes/a.FLAC", "yes/b.wav"]
    assert table["label"].tolist() == ["no", "yes", "yes"]
    assert table["file"].tolist() == [str(tmp_path / name) for name in table["id"]]
    assert set(table["speaker"]) == set(table["split"]) == {""}


@pytest.mark.parametrize("names", [(), ("loose.wav",), ("yes/notes.txt",)], ids=["empty", "no subfolder", "no sound"])
def test_a_folder_without_recordings_says_what_was_wanted(tmp_path: Path, names: tuple[str, ...]) -> None:
    folder_with(tmp_path, *names)
    claim = r"^no recordings in .*: wanted one subfolder per label with sound files in it \(.*\.wav\), or a manifest.csv with the columns "
    with pytest.raises(ValueError, match=claim + r"path,label and, if known, speaker,split$"):
        find_recordings(str(tmp_path), tmp_path)


def test_fsdd_file_names_say_everything_and_indices_0_to_4_are_the_test_split(tmp_path: Path) -> None:
    folder_with(tmp_path, *(f"recordings/{digit}_{who}_{index}.wav" for digit in (3, 7) for who in ("ann", "bo") for index in range(13)))
    table = find_recordings("fsdd", tmp_path).set_index("id")
    assert len(table) == 2 * 2 * 13
    assert table.loc["7_bo_4"].tolist() == [str(tmp_path / "recordings" / "7_bo_4.wav"), "7", "bo", "test"]
    assert sorted(table[table["split"] == "test"].index.str.rsplit("_").str[-1].unique()) == ["0", "1", "2", "3", "4"]
    assert set(table["split"]) == {"train", "test"}


# Manifests


def test_a_manifest_says_everything_and_goes_before_the_folders(tmp_path: Path) -> None:
    file = manifest(tmp_path, "label,path,speaker,split,mood\nno,b/c.flac,bo,test,glad\nyes,a.wav,ann,,\n")
    for source in (tmp_path, file):
        table = find_recordings(str(source), source)
        assert table.to_dict("records") == [
            {"id": "a.wav", "file": str(tmp_path / "a.wav"), "label": "yes", "speaker": "ann", "split": ""},
            {"id": "b/c.flac", "file": str(tmp_path / "b/c.flac"), "label": "no", "speaker": "bo", "split": "test"},
        ]


def test_a_manifest_may_have_any_name_and_a_byte_order_mark_and_absolute_paths(tmp_path: Path) -> None:
    file = manifest(tmp_path / "sounds", "", "other.csv")
    file.write_text(f"\ufeffpath,label\n{tmp_path / 'sounds' / 'a.wav'},null\n", encoding="utf-8")
    table = find_recordings(str(file), file)
    assert table[["file", "label", "speaker"]].to_numpy().tolist() == [[str(tmp_path / "sounds" / "a.wav"), "null", ""]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,speaker\na.wav,ann\n",
            r"lacks the column 'label'; it has: path, speaker\. Wanted: path,label and, if known, speaker,split$",
        ),
        ("label\nyes\n", r"lacks the column 'path'; it has: label\. Wanted"),
        ("path;label\na.wav;yes\n", r"lacks the column 'path'; it has: path;label\. Wanted"),
        ("path,label\na.wav,yes\nd.wav,no\n", r"manifest.csv, line 3: no such file: d\.wav$"),
        ("path,label\n\na.wav,yes\n", r"manifest.csv, line 2: no such file: $"),
        ("path,label\na.wav,yes\nb/c.flac,\n", r"manifest.csv, line 3: the label is empty$"),
        ("path,label\na.wav\n", r"manifest.csv, line 2: the label is empty$"),
        ("path,label,split\na.wav,yes,dev\n", r"manifest.csv, line 2: split 'dev' is not one of train, val, test$"),
        ("path,label\n", r"manifest.csv lists no recordings$"),
        ("path,label\na.wav,yes\nb/c.flac,no\na.wav,no\n", r"manifest.csv lists a\.wav 2 times: list each recording once$"),
        ("", r"manifest.csv cannot be read as a CSV table: .+"),
        ("path,label\na.wav,yes\nb/c.flac,no,bo,glad\n", r"cannot be read as a CSV table: .*Expected 2 fields in line 3, saw 4"),
        ("path,label\nx,a.wav,yes\nx,b/c.flac,no\n", r"has more fields in its rows than its 2 columns: path, label$"),
    ],
)
def test_what_is_wrong_in_a_manifest_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    file = manifest(tmp_path, text)
    with pytest.raises(ValueError, match=rf"^{tmp_path}/manifest.csv.*{message.removeprefix('manifest.csv')}"):
        find_recordings(str(file), tmp_path)


def test_a_sound_file_in_the_place_of_a_manifest_cannot_be_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"a\.wav cannot be read as a CSV table: "):
        find_recordings("a.wav", tmp_path / "a.wav")


# Hash and order


def relabelled(table: pd.DataFrame, column: str) -> pd.DataFrame:
    return table.assign(**{column: ["other", *table[column][1:]]})


def test_the_hash_follows_content_and_every_column_but_not_the_place(tmp_path: Path) -> None:
    file = manifest(tmp_path / "here", "path,label,speaker,split\na.wav,yes,ann,train\nb/c.flac,no,bo,test\n")
    table = find_recordings(str(file), file)
    found = hash_recordings(table)
    moved = shutil.copytree(tmp_path / "here", tmp_path / "there")
    assert hash_recordings(find_recordings("there", moved)) == found
    changed = [hash_recordings(relabelled(table, column)) for column in ("id", "label", "speaker", "split")]
    (moved / "a.wav").write_bytes(b"other")
    changed.append(hash_recordings(find_recordings("there", moved)))
    assert len({found, *changed}) == 6


@pytest.mark.parametrize(
    "ordered",
    [["2", "10", "a"], ["take 2", "take 10", "take 10b"], ["m", "m²", "n"], ["²", "³"]],
)
def test_labels_are_sorted_with_numbers_as_numbers(ordered: list[str]) -> None:
    assert sorted(reversed(ordered), key=natural_order) == ordered
