"""Claims about lists of recordings: what is in a folder or a manifest, and what of it can be wrong."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from rnnlab.data.files import natural_order
from rnnlab.data.sound import recordings
from rnnlab.data.sound.recordings import hash_recordings


def folder_with(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def manifest(folder: Path, text: str, name: str = "manifest.csv") -> Path:
    folder_with(folder, "a.wav", "b/c.flac")
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def find_recordings(source: str, folder: Path) -> pd.DataFrame:
    return recordings.find_recordings(source, folder)[0]


def find_transcribed(source: str, folder: Path) -> pd.DataFrame:
    return recordings.find_transcribed(source, folder)[0]


# Folders


def test_top_folders_are_labels_however_deep_the_sound_files_lie(tmp_path: Path) -> None:
    folder_with(tmp_path, "yes/b.wav", "yes/a.FLAC", "no/c.mp3", "no/notes.txt", "loose.wav", "no/deeper/d.wav")
    table = find_recordings(str(tmp_path), tmp_path)
    assert table["id"].tolist() == ["no/c.mp3", "no/deeper/d.wav", "yes/a.FLAC", "yes/b.wav"]
    assert table["label"].tolist() == ["no", "no", "yes", "yes"]
    assert table["file"].tolist() == [str(tmp_path / name) for name in table["id"]]
    assert set(table["speaker"]) == set(table["split"]) == {""}


@pytest.mark.parametrize("names", [(), ("loose.wav",), ("yes/notes.txt",)], ids=["empty", "no subfolder", "no sound"])
def test_a_folder_without_recordings_says_what_was_wanted(tmp_path: Path, names: tuple[str, ...]) -> None:
    folder_with(tmp_path, *names)
    claim = r"^no recordings in .*: wanted one subfolder per label with sound files in it \(.*\.wav\), or a manifest.csv with the columns "
    with pytest.raises(ValueError, match=claim + r"path,label and, if known, speaker,split\. Found: "):
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
            r" lacks the column 'label'; it has: path, speaker\. Wanted: path,label \(or .*\) and, if known, speaker,split$",
        ),
        ("path,text\na.wav,yes\n", r" lacks the column 'label'; .* For these columns there is data=dictation$"),
        ("label\nyes\n", r" lacks a column 'path' .*; it has: label\. .*Wanted: path,label"),
        (
            "a.wav,yes\nb/c.flac,no\n",
            r" lacks a column 'path' .* first line names a recording \(a\.wav\): write a header above it\. Wanted",
        ),
        (
            "path,label\na.wav,yes\nd.wav,no\n",
            r", line 3: d\.wav: no such file\. .*, or leave such out with data\.prepare\.on_broken=skip$",
        ),
        ("path,label\na.wav,yes\nb/c.flac,\n", r", line 3: the label is empty\. Mend the row"),
        ("path,label\na.wav\n", r", line 2: found 1 of 2 fields"),
        (
            "path,label,split\na.wav,yes,held out\n",
            r", line 2: split 'held out' is not one of train, val, .*: mend it, or rename the column$",
        ),
        ("path,label\n", r" has a header but no rows"),
        ("path,label\na.wav,yes\nb/c.flac,no\na.wav,no\n", r" lists a\.wav 2 times: list each recording once$"),
        ("path,label\na.wav,yes\n./a.wav,no\n", r" lists a\.wav 2 times: list each recording once$"),
        ("", r" is empty \(0 bytes\): write it anew, or give another file"),
        ("path,label\na.wav,yes\nb/c.flac,no,bo,glad\n", r", line 3: found 4 of 2 fields"),
    ],
)
def test_what_is_wrong_in_a_manifest_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    file = manifest(tmp_path, text)
    with pytest.raises(ValueError, match=rf"^{file}{message}"):
        find_recordings(str(file), tmp_path)


def test_a_sound_file_in_the_place_of_a_manifest_cannot_be_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"a\.wav is not a text table: "):
        find_recordings("a.wav", tmp_path / "a.wav")


# Manifests as other programs write them


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.csv", "\ufeffPath;Label;Speaker;Subset\r\nA.WAV;yes;ann;dev\r\nb\\c.flac;no;bo;\r\n"),
        ("list.tsv", "File Name\tclass\tclient_id\tsplit\na.wav\tyes\tann\tvalid\nB/c.FLAC\tno\tbo\t\n"),
        ("list.txt", "path|label|speaker|split\na|yes|ann|val\n./b/c|no|bo|\n"),
        ("list.jsonl", '{"audio_filepath": "a.wav", "command": "yes", "speaker": "ann", "split": "validation"}\n'
         '{"audio_filepath": " b/c.flac", "command": "no", "speaker": "bo", "split": null}\n'),
    ],
)  # fmt: skip
def test_a_manifest_is_read_as_other_tables_are(tmp_path: Path, name: str, content: str) -> None:
    file = manifest(tmp_path, content, name)
    table = find_recordings(name, file)
    files = {str(tmp_path / "a.wav"): ["yes", "ann", "val"], str(tmp_path / "b" / "c.flac"): ["no", "bo", ""]}
    assert {row["file"]: [row["label"], row["speaker"], row["split"]] for row in table.to_dict("records")} == files


def test_a_folder_of_ljspeech_is_read_with_the_normalised_text_and_quotes_are_text(tmp_path: Path) -> None:
    folder_with(tmp_path, "wavs/LJ001-0001.wav", "wavs/LJ001-0002.wav", "wavs/LJ001-0003.wav", "README")
    (tmp_path / "metadata.csv").write_text('LJ001-0001|"In 1843|"in eighteen forty-three\nLJ001-0002|said he|said he\n')
    table, remarks = recordings.find_transcribed("mine", tmp_path)
    assert table["text"].tolist() == ['"in eighteen forty-three', "said he"]
    assert table["file"].tolist() == [str(tmp_path / "wavs" / f"LJ001-000{number}.wav") for number in (1, 2)]
    assert remarks[0] == "not in metadata.csv: files passed over: 1 of .wav (first wavs/LJ001-0003.wav)"
    with pytest.raises(ValueError, match=r"metadata\.csv holds transcripts, no labels: train on it with data=dictation"):
        find_recordings("mine", tmp_path)


def test_a_folder_of_common_voice_is_read_with_its_splits_and_speakers(tmp_path: Path) -> None:
    folder_with(tmp_path, *(f"clips/{name}.mp3" for name in "abc"))
    for name, clip in (("train", "a"), ("dev", "b"), ("test", "c"), ("validated", "a")):
        (tmp_path / f"{name}.tsv").write_text(f"client_id\tpath\tsentence\tup_votes\ns{clip}\t{clip}.mp3\tSay {clip}.\t2\n")
    table, remarks = recordings.find_transcribed("mine", tmp_path)
    assert table[["id", "text", "speaker", "split"]].to_numpy().tolist() == [
        ["a.mp3", "Say a.", "sa", "train"], ["b.mp3", "Say b.", "sb", "val"], ["c.mp3", "Say c.", "sc", "test"],
    ]  # fmt: skip
    assert remarks == ["not in dev.tsv, test.tsv, train.tsv: files passed over: 1 of .tsv (first validated.tsv)"]


def test_rows_that_cannot_be_used_are_left_out_counted_and_named(tmp_path: Path) -> None:
    file = manifest(tmp_path, "path,label\na.wav,yes\nb/c.flac,no\nd.wav,no\n,yes\ne.wav,\n")
    table, remarks = recordings.find_recordings("mine", file, "skip")
    assert table["id"].tolist() == ["a.wav", "b/c.flac"]
    assert remarks == [f"left out, since no such file: 3 (first {file}, line 4: d.wav)"]
    file.write_text("path,label\na.wav,yes\nd.wav,no\n")
    with pytest.raises(ValueError, match=r"all examples of the label 'no' are broken and left out"):
        recordings.find_recordings("mine", file, "skip")


# Speech Commands


def test_speech_commands_lists_splits_and_speakers_are_used_and_noise_is_no_label(tmp_path: Path) -> None:
    names = [f"{word}/{speaker}_nohash_0.wav" for word in ("yes", "no") for speaker in ("00aa11bb", "22cc33dd", "44ee55ff")]
    folder_with(tmp_path, *names, "_background_noise_/tap.wav", "README.md")
    (tmp_path / "testing_list.txt").write_text("yes/44ee55ff_nohash_0.wav\nno/44ee55ff_nohash_0.wav\nno/gone_nohash_0.wav\n")
    (tmp_path / "validation_list.txt").write_text("no/22cc33dd_nohash_0.wav\n")
    table, remarks = recordings.find_recordings("mine", tmp_path)
    assert table["label"].tolist() == ["no"] * 3 + ["yes"] * 3
    assert table["speaker"].tolist() == ["00aa11bb", "22cc33dd", "44ee55ff"] * 2
    assert table["split"].tolist() == ["train", "val", "test", "train", "train", "test"]
    assert remarks == [
        "files passed over: 1 of .md (first README.md)",
        "no label: 1 file(s) of _background_noise_/ passed over",
        "testing_list.txt says that 2 recording(s) are test; 1 more are not there",
        "validation_list.txt says that 1 recording(s) are val",
    ]
    assert [str(file) for file in recordings.find_sounds(tmp_path, is_labelled=True)[0]] == table["file"].tolist()


# Prediction


@pytest.mark.parametrize("layout", ["labels", "loose", "manifest", "lone manifest"])
def test_the_recordings_to_predict_from_are_those_that_training_reads(tmp_path: Path, layout: str) -> None:
    manifest(
        tmp_path, "path;label\nb\\c.flac;no\na.wav;yes\n", {"manifest": "manifest.csv", "lone manifest": "mine.csv"}.get(layout, "x.txt")
    )
    folder_with(tmp_path, *(["b/d.m4a", "d/e.wav", "d/._e.wav"] if layout == "labels" else ["c.wav"] if layout == "manifest" else []))
    found, remarks = recordings.find_sounds(tmp_path, is_labelled=True)
    names = [file.relative_to(tmp_path).as_posix() for file in found]
    if layout == "loose":
        assert names == ["b/c.flac"] and remarks[-1] == "files in no label's folder passed over: 1 (first a.wav)"
    else:
        assert names == find_recordings("mine", tmp_path)["file"].str.removeprefix(f"{tmp_path}/").tolist()
    (folder := tmp_path / "flat").mkdir()
    folder_with(folder, "2.wav", "1.wav", "3.m4a")
    found, remarks = recordings.find_sounds(folder, is_labelled=True)
    assert [file.name for file in found] == ["1.wav", "2.wav"] and remarks == ["files passed over: 1 of .m4a (first 3.m4a)"]


# Transcripts


@pytest.mark.parametrize("column", ["text", "transcript", "sentence"])
def test_transcripts_are_listed_with_their_places_and_tidied(tmp_path: Path, column: str) -> None:
    file = manifest(tmp_path, f"path,speaker,{column},split\nb/c.flac,bo,cafe\u0301  au \u00a0lait ,test\na.wav,,no,\n")
    for source in (tmp_path, file):
        table = find_transcribed(str(source), source)
        wanted = [
            {"id": "a.wav", "file": str(tmp_path / "a.wav"), "text": "no", "speaker": "", "split": "", "place": f"{file}, line 3"},
            {
                "id": "b/c.flac",
                "file": str(tmp_path / "b/c.flac"),
                "text": "caf\u00e9 au lait",
                "speaker": "bo",
                "split": "test",
                "place": f"{file}, line 2",
            },
        ]
        assert table.to_dict("records") == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,label\na.wav,yes\n",
            r" lacks the column 'text'; it has: path, label\. Wanted: path,text \(or transcript or .*\) .*\. .* there is data=speech$",
        ),
        ("text\nyes\n", r" lacks a column 'path' .*; it has: text\. .*Wanted"),
        ("path,text,sentence\na.wav,a,b\n", r" has the columns 'text' and 'sentence', which mean the same: keep one of them$"),
        ("path,text\na.wav,yes\nd.wav,no\n", r", line 3: d\.wav: no such file\."),
        ("path,text\na.wav,yes\nb/c.flac,\n", r", line 3: the text is empty\."),
        ("path,text\na.wav,\u00a0 \n", r", line 2: the text is empty\. Mend the row or remove it$"),
        ("path,text,split\na.wav,yes,held out\n", r", line 2: split 'held out' is not one of train, val, "),
        ("path,text\na.wav,yes\na.wav,no\n", r" lists a\.wav 2 times: list each recording once$"),
        ("a.wav|one|one\nb/c.flac|two\n", r", line 2: 2 fields, unlike the 3 of line 1"),
    ],
)
def test_what_is_wrong_in_a_manifest_of_transcripts_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    file = manifest(tmp_path, text)
    with pytest.raises(ValueError, match=rf"^{file}{message}"):
        find_transcribed(str(file), tmp_path)


def test_a_folder_of_labels_is_no_dictation(tmp_path: Path) -> None:
    folder_with(tmp_path, "yes/a.wav")
    with pytest.raises(
        ValueError, match=r"^no transcribed recordings in .*: wanted a manifest.csv with the columns path,text and, if known,"
    ):
        find_transcribed(str(tmp_path), tmp_path)


def an4(folder: Path, last: str = "TEN (an1-bo-b)") -> Path:
    """Two training utterances of one speaker, one test utterance of another, and a stale list that nobody should read."""
    (folder / "etc").mkdir()
    for name, lines in {
        "an4_train.fileids": "an4_clstk/ann/cen1-ann-b\nan4_clstk/ann/an9-ann-b",
        "an4_train.transcription": "<s> A M Y </s> (cen1-ann-b)\n<s> GO </s> (an9-ann-b)",
        "an4_test.fileids": "an4test_clstk/bo/an1-bo-b",
        "an4_test.transcription": last,
        "an4_test.transcription253239": "OTHER (an1-bo-b)",
    }.items():
        (folder / "etc" / name).write_text(lines + "\n")
    return folder


def test_an4_lists_name_files_speakers_and_transcripts(tmp_path: Path) -> None:
    table = find_transcribed("an4", an4(tmp_path))
    assert table[["id", "text", "speaker", "split"]].to_numpy().tolist() == [
        ["an1-bo-b", "TEN", "bo", "test"],
        ["an9-ann-b", "GO", "ann", "train"],
        ["cen1-ann-b", "A M Y", "ann", "train"],
    ]
    assert table["file"][2] == str(tmp_path / "wav" / "an4_clstk" / "ann" / "cen1-ann-b.wav")
    assert table["place"][1] == f"{tmp_path}/etc/an4_train.transcription, line 2"


@pytest.mark.parametrize("last", ["TEN (an2-bo-b)", "TEN", "(an1-bo-b)"])
def test_an4_transcripts_that_do_not_go_with_their_files_are_refused(tmp_path: Path, last: str) -> None:
    claim = r"an4_test.transcription, line 1: '.*' is no transcript of an4test_clstk/bo/an1-bo-b, wanted: WORDS \(an1-bo-b\)$"
    with pytest.raises(ValueError, match=claim):
        find_transcribed("an4", an4(tmp_path, last))


def test_the_hash_follows_transcripts(tmp_path: Path) -> None:
    table = find_transcribed("mine", manifest(tmp_path, "path,text\na.wav,yes\nb/c.flac,no\n"))
    assert hash_recordings(table, "text") != hash_recordings(relabelled(table, "text"), "text")
    assert hash_recordings(table.assign(place=""), "text") == hash_recordings(table, "text")


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


def test_a_path_that_no_file_can_have_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"line 3: .*no such file"):
        find_recordings(str(tmp_path), manifest(tmp_path, f"path,label\na.wav,x\n{'a' * 300},y\n"))
