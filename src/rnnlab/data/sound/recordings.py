"""Lists of recordings, labelled or transcribed: what is in a folder or a manifest, and what of it can be wrong."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from rnnlab.data.files import (
    Broken,
    Labelled,
    OnBroken,
    ending,
    is_file,
    is_side,
    labelled_files,
    names_in,
    passed_over,
    refuse_lost_labels,
    select,
    visible_files,
)
from rnnlab.data.hashing import digest
from rnnlab.data.splits import SPLIT_WORDS
from rnnlab.data.tables import TABLE_SUFFIXES, Table, match_column, read_table
from rnnlab.data.text_files import read_text

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".au", ".opus", ".w64", ".caf"}
MANIFEST = "manifest.csv"
MANIFEST_STEMS = ("manifest", "metadata")
SOUND_FOLDERS = ("clips", "wavs", "wav", "audio")
"""Where, beside a manifest, its recordings may lie (Common Voice: clips; LJSpeech: wavs)."""
PATH_NAMES = ("file", "filename", "file_name", "filepath", "wav", "wav_filename", "audio", "audio_filepath")
LABEL_NAMES = ("class", "category", "word", "command", "keyword")
TEXT_COLUMNS = ("text", "transcript", "sentence", "transcription")
"""What the column of transcripts may be called, in a manifest."""
SPEAKER_NAMES = ("speaker_id", "client_id")
SPLIT_NAMES = ("subset", "partition")
NOISE = "_background_noise_"
LISTS = {"testing_list.txt": "test", "validation_list.txt": "val"}
"""Speech Commands' folder that is no word, and its lists of what is test and validation."""

_COMMAND = re.compile(r"([0-9a-f]{6,})_nohash_\d+")
_COLUMNS = ["id", "file", "label", "speaker", "split"]


def find_recordings(source: str, folder: Path, on_broken: OnBroken = "raise") -> tuple[pd.DataFrame, list[str]]:
    """List a source's recordings.

    Args:
        source: a named set, whose file names say everything, or anything else.
        folder: a folder with a manifest (`manifest.csv`, `metadata.csv`, or `train.*` and `test.*`), a folder with one subfolder of
            recordings per label, or a manifest itself.
        on_broken: whether rows of a manifest that cannot be used are refused or left out.

    Returns:
        One row a recording: id, file (absolute), label, speaker ("" if unknown), split ("" if not given), in the order of ids; and what
        was passed over, in words.

    Raises:
        ValueError: names the file and line of what is wrong.
    """
    if source == "fsdd":
        table, remarks = _fsdd(folder), list[str]()
    elif found := _manifests(folder, is_labelled=True):
        table, remarks = _from_manifests(found, ("label", *LABEL_NAMES), str, on_broken)
        remarks += _beside(found, folder, table["file"])
    else:
        table, remarks = _from_folders(folder)
    return table[_COLUMNS].sort_values("id", ignore_index=True), remarks


def find_sounds(path: Path, is_labelled: bool) -> tuple[list[Path], list[str]]:
    """List the recordings to predict from: those that training on this path would read; and what was passed over.

    `is_labelled`: whether that would be training on labels, not on transcripts.
    """
    if path.is_file() and ending(path) not in TABLE_SUFFIXES:
        return [path], []
    if found := _manifests(path, is_labelled):
        table, remarks = _from_manifests(found, (), str, "raise")
        return [Path(file) for file in table.sort_values("id")["file"]], remarks + _beside(found, path, table["file"])
    layout = labelled_files(path, AUDIO_SUFFIXES, (NOISE, *LISTS))
    return [one.file for one in layout.files], layout.remarks


def _fsdd(folder: Path) -> pd.DataFrame:
    """Read `{digit}_{speaker}_{index}.wav`; upstream's rule: index 0-4 is the test split."""
    rows = []
    for file in visible_files(folder / "recordings"):
        if ending(file) == ".wav":
            digit, speaker, index = file.stem.split("_")
            split = "test" if int(index) < 5 else "train"
            rows.append({"id": file.stem, "file": str(file), "label": digit, "speaker": speaker, "split": split})
    return pd.DataFrame(rows)


# Folders


def _from_folders(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    layout = labelled_files(folder, AUDIO_SUFFIXES, (NOISE, *LISTS))
    if not any(one.label for one in layout.files):
        suffixes = " ".join(sorted(AUDIO_SUFFIXES))
        there = "; ".join(layout.remarks) or "no file"
        raise ValueError(
            f"no recordings in {folder}: wanted one subfolder per label with sound files in it ({suffixes}), or a {MANIFEST} "
            f"with the columns path,label and, if known, speaker,split. Found: {there}"
        )
    if layout.faults:
        raise ValueError(layout.faults[0])
    listed, remarks = _listed(folder, layout.files)
    speakers = [_COMMAND.match(one.file.stem) for one in layout.files]
    is_known = all(speakers)
    rows = [
        {
            "id": one.id,
            "file": str(one.file),
            "label": one.label,
            "speaker": speaker[1] if speaker and is_known else "",
            "split": listed.get(one.id, "train") if listed else one.split,
        }
        for one, speaker in zip(layout.files, speakers, strict=True)
    ]
    return pd.DataFrame(rows), layout.remarks + remarks


def _listed(folder: Path, files: list[Labelled]) -> tuple[dict[str, str], list[str]]:
    """Read Speech Commands' lists, if they are there: which file is test, which validation."""
    splits: dict[str, str] = {}
    remarks, ids = [], {one.id for one in files}
    for name, split in LISTS.items():
        if not (folder / name).is_file():
            continue
        named = [line.strip().replace("\\", "/").removeprefix("./") for line in read_text(folder / name).text.splitlines() if line.strip()]
        if both := [one for one in named if splits.get(one, split) != split]:
            raise ValueError(f"{folder / name} names {both[0]}, which {' and '.join(LISTS)} both name: take it out of one")
        there = [one for one in named if one in ids]
        splits |= dict.fromkeys(there, split)
        missing = f"; {len(named) - len(there)} more are not there" if len(there) < len(named) else ""
        remarks.append(f"{name} says that {len(there)} recording(s) are {split}{missing}")
    return splits, remarks


# Manifests


class _Row(NamedTuple):
    """One row of a manifest as it stands there; `place` is the line, in words."""

    path: str
    answer: str
    speaker: str
    split: str
    place: str


@dataclass
class _Folder:
    """Find files as a manifest names them, also where case, blanks, backslashes or the suffix are not those of the file."""

    folder: Path
    listings: dict[Path, list[str]] = field(default_factory=dict)

    def find(self, path: str) -> Path | None:
        """Return the file that is meant, or None if there is none, or several."""
        for written in dict.fromkeys([path, path.strip().replace("\\", "/")]):
            for home in ("", *SOUND_FOLDERS):
                if written and is_file(file := self.folder / home / written):
                    return file
        for home in ("", *SOUND_FOLDERS):
            if path.strip() and (found := self._loosely(self.folder / home, path.strip().replace("\\", "/"))):
                return found
        return None

    def _loosely(self, folder: Path, path: str) -> Path | None:
        place = Path("/") if path.startswith("/") else folder
        *above, name = [part for part in path.split("/") if part not in ("", ".")] or [""]
        for part in above:
            alike = [there for there in self._names(place) if there.casefold() == part.casefold()]
            exact = part if part in alike or part == ".." else alike[0] if len(alike) == 1 else None
            if exact is None:
                return None
            place = place / exact
        alike = [there for there in self._names(place) if name.casefold() in (there.casefold(), _stem(there).casefold())]
        return place / alike[0] if len(alike) == 1 and is_file(place / alike[0]) else None

    def _names(self, folder: Path) -> list[str]:
        if folder not in self.listings:
            self.listings[folder] = names_in(folder)
        return self.listings[folder]


def _stem(name: str) -> str:
    """Take a sound file's suffix off its name."""
    return name[: -len(suffix)] if (suffix := Path(name).suffix).lower() in AUDIO_SUFFIXES else name


def _manifests(path: Path, is_labelled: bool) -> list[tuple[Path, str]]:
    """Return the manifests of a source, each with the split that its name says: the file itself, or those of a folder.

    A folder's only table is one whatever its name, unless `is_labelled` and recordings lie in several folders, which then say the labels.
    """
    if path.is_file():
        return [(path, "")]
    if not path.is_dir():
        return []
    tables, stems = _tables(path), {file: file.name.lower().removesuffix(".gz").removesuffix(ending(file)) for file in _tables(path)}
    if named := [file for stem in MANIFEST_STEMS for file in tables if stems[file] == stem]:
        return [(named[0], "")]
    of_split = [(file, SPLIT_WORDS[stems[file]]) for file in tables if stems[file] in SPLIT_WORDS]
    for file, split in of_split:
        if twice := [other.name for other, same in of_split if same == split and other != file]:
            raise ValueError(f"{file} and {twice[0]} are lists of the same split: keep one of them")
    if of_split or len(tables) != 1:
        return of_split
    layout = labelled_files(path, AUDIO_SUFFIXES, (NOISE, *LISTS)) if is_labelled else None
    return [(tables[0], "")] if layout is None or len({one.label for one in layout.files}) < 2 else []


def _tables(folder: Path) -> list[Path]:
    return select(sorted(file for file in folder.iterdir() if not is_side(file.name)), TABLE_SUFFIXES)[0]


def _beside(found: list[tuple[Path, str]], folder: Path, used: pd.Series) -> list[str]:
    """Say which tables and recordings of a folder its manifests do not use."""
    if folder.is_file():
        return []
    files = {str(file) for file, _ in found} | {os.path.normpath(file) for file in used}
    unused = [file for file in visible_files(folder) if str(file) not in files and ending(file) in TABLE_SUFFIXES | AUDIO_SUFFIXES]
    return [f"not in {', '.join(file.name for file, _ in found)}: {line}" for line in passed_over(unused, folder)]


def _from_manifests(
    found: list[tuple[Path, str]], answers: tuple[str, ...], tidy: Callable[[str], str], on_broken: OnBroken
) -> tuple[pd.DataFrame, list[str]]:
    """Read manifests that have a column of answers, under any of its names (none: answers are not asked for).

    Returns:
        The columns id, file, the answers under their first name, speaker, split, and place (the line, in words); and remarks.
    """
    answer, broken = answers[0] if answers else "", Broken(on_broken)
    rows, otherwise, notes, labels = [], list[str](), dict[str, int](), set[str]()
    for manifest, split in found:
        folder = _Folder(manifest.parent)
        read, odd = _rows(manifest, folder, answers)
        notes |= odd
        for row in read:
            file, text = folder.find(row.path), tidy(row.answer)
            labels |= {text} - {""}
            given = split or SPLIT_WORDS.get(row.split.strip().lower(), row.split)
            if given not in ("", *SPLIT_WORDS.values()):
                raise ValueError(f"{row.place}: split {row.split!r} is not one of {', '.join(SPLIT_WORDS)}: mend it, or rename the column")
            if file is None:
                broken.add("no such file", f"{row.place}: {row.path}")
            elif answer and not text.strip():
                broken.add(f"the {answer} is empty", row.place)
            else:
                otherwise += [row.path] if not _stem(str(file)).endswith(_stem(os.path.normpath(row.path))) else []
                rows.append((row.path, str(file), text, row.speaker.strip(), given, row.place))
    first = found[0][0]
    remarks = broken.settle(len(rows), "Mend the row or remove it")
    if answer == "label":
        refuse_lost_labels(labels, [row[2] for row in rows], str(first))
    table = pd.DataFrame(rows, columns=["id", "file", answer or "answer", "speaker", "split", "place"], dtype="str")
    _refuse_repeated(first, table)
    remarks += [f"odd in {first.name}: {', '.join(f'{name} ({count})' for name, count in notes.items())}"] if notes else []
    remarks += [f"{len(otherwise):,} path(s) written otherwise than their files (first {otherwise[0]})"] if otherwise else []
    return table, remarks


def _rows(manifest: Path, folder: _Folder, answers: tuple[str, ...]) -> tuple[list[_Row], dict[str, int]]:
    """Read a manifest: a table with a header, or LJSpeech's `id|text|normalised text`."""
    if piped := _piped(manifest, folder):
        if answers and answers[0] != TEXT_COLUMNS[0]:
            raise ValueError(f"{manifest} holds transcripts, no labels: train on it with data=dictation")
        return piped, {}
    answer = answers[0] if answers else "label"
    also = f" (or {' or '.join(answers[1:])})" if answers[1:] else ""
    wanted = f"Wanted: path,{answer}{also} and, if known, speaker,split"
    try:
        table = read_table(manifest)
        path = str(match_column(table, "path", PATH_NAMES))
    except ValueError as error:
        raise ValueError(f"{str(error).rstrip('.')}. {_cure(manifest, folder)}{wanted}") from None
    names: list[str | None] = [_answer_column(table, answers, wanted) if answers else None]
    names += [match_column(table, "speaker", SPEAKER_NAMES, is_needed=False), match_column(table, "split", SPLIT_NAMES, is_needed=False)]
    columns = [[""] * len(table.frame) if name is None else table.frame[name].tolist() for name in names]
    places = [f"{manifest}, line {line}" for line in table.lines]
    return [_Row(*each) for each in zip(table.frame[path].tolist(), *columns, places, strict=True)], table.notes


def _cure(manifest: Path, folder: _Folder) -> str:
    """Say what a table without a column of paths may be."""
    try:
        first = next(iter(read_table(manifest, has_header=False).frame.iloc[0]))
    except ValueError:
        return ""
    return f"Its first line names a recording ({first}): write a header above it. " if folder.find(str(first)) else ""


def _answer_column(table: Table, answers: tuple[str, ...], wanted: str) -> str:
    """Find the column of answers; refuse several, and say which kind of data a table of other answers is for."""
    there = [name for name in table.frame.columns if name.strip().lower() in answers]
    if len(there) > 1 and answers[0] == TEXT_COLUMNS[0]:
        raise ValueError(f"{table.file} has the columns {' and '.join(map(repr, there))}, which mean the same: keep one of them")
    found = match_column(table, answers[0], answers[1:], is_needed=False)
    if found is None:
        of_others = {"dictation": TEXT_COLUMNS, "speech": ("label", *LABEL_NAMES)}
        names = {name.strip().lower() for name in table.frame.columns}
        other = [kind for kind, each in of_others.items() if answers[0] not in each and names & set(each)]
        hint = f". For these columns there is data={other[0]}" if other else ""
        raise ValueError(f"{table.file} lacks the column {answers[0]!r}; it has: {', '.join(table.frame.columns)}. {wanted}{hint}")
    return found


def _piped(manifest: Path, folder: _Folder) -> list[_Row] | None:
    """Read lines of `id|text` or `id|text|normalised text`, in which quotes are text; None where the first one names no recording."""
    lines = read_text(manifest).text.split("\n")
    first = lines[0].rstrip("\r").split("|")
    if len(first) not in (2, 3) or folder.find(first[0]) is None:
        return None
    rows = []
    for number, line in enumerate(lines, start=1):
        fields, place = line.rstrip("\r").split("|"), f"{manifest}, line {number}"
        if line.strip() and len(fields) != len(first):
            raise ValueError(f"{place}: {len(fields)} fields, unlike the {len(first)} of line 1: mend the line")
        if line.strip():
            rows.append(_Row(fields[0], fields[-1] or fields[1], "", "", place))
    return rows


def _refuse_repeated(manifest: Path, table: pd.DataFrame) -> None:
    """Refuse a recording that is listed twice, however it is written."""
    files = table["file"].map(os.path.normpath)
    if (is_repeated := files.duplicated(keep=False)).any():
        first = files[is_repeated].iloc[0]
        row = table[is_repeated].iloc[0]
        raise ValueError(f"{manifest} lists {row['id']} {int(files.eq(first).sum())} times: list each recording once")


def find_transcribed(source: str, folder: Path, on_broken: OnBroken = "raise") -> tuple[pd.DataFrame, list[str]]:
    """List a source's recordings with what is said in them.

    Args:
        source: `an4`, or anything else.
        folder: AN4's folder, a folder with a manifest (see `find_recordings`; LJSpeech's and Common Voice's are such), or a manifest.
        on_broken: whether rows of a manifest that cannot be used are refused or left out.

    Returns:
        One row a recording: id, file (absolute), text (in Unicode's NFC, single blanks), speaker ("" if unknown), split ("" if not
        given), place (where the text stands, in words), in the order of ids; and what was passed over, in words.

    Raises:
        ValueError: names the file and line of what is wrong.
    """
    if source == "an4":
        table, remarks = _an4(folder), list[str]()
    elif found := _manifests(folder, is_labelled=False):
        table, remarks = _from_manifests(found, TEXT_COLUMNS, _tidy, on_broken)
        remarks += _beside(found, folder, table["file"])
    else:
        wanted = f"a {MANIFEST} with the columns path,{TEXT_COLUMNS[0]} and, if known, speaker,split"
        there = "; ".join(passed_over(visible_files(folder), folder)) or "no file"
        raise ValueError(f"no transcribed recordings in {folder}: wanted {wanted}. Found: {there}")
    return table.sort_values("id", ignore_index=True), remarks


def _an4(folder: Path) -> pd.DataFrame:
    """Read AN4's lists: `etc/an4_{train,test}.fileids` name files below `wav/`, the transcription's lines go with them.

    Training transcripts are `<s> WORDS </s> (id)`, those of test `WORDS (id)`; the last folder is the speaker.
    """
    rows = []
    for split in ("train", "test"):
        fileids = (folder / "etc" / f"an4_{split}.fileids").read_text(encoding="utf-8").splitlines()
        transcription = folder / "etc" / f"an4_{split}.transcription"
        lines = transcription.read_text(encoding="utf-8").splitlines()
        for number, (fileid, line) in enumerate(zip(fileids, lines, strict=True), start=1):
            file, place = Path(fileid), f"{transcription}, line {number}"
            found = re.fullmatch(r"(?:<s> )?(.+?)(?: </s>)? \((\S+)\)", line.strip())
            if found is None or found[2] != file.name:
                raise ValueError(f"{place}: {line!r} is no transcript of {fileid}, wanted: WORDS ({file.name})")
            wav = str(folder / "wav" / f"{fileid}.wav")
            rows.append(
                {"id": file.name, "file": wav, "text": _tidy(found[1]), "speaker": file.parent.name, "split": split, "place": place}
            )
    return pd.DataFrame(rows)


def _tidy(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def hash_recordings(table: pd.DataFrame, answer: str = "label") -> str:
    """Hash the content of all recordings, with their ids, answers (the column so named), speakers and splits."""
    hashes = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in table["file"]]
    columns = [table[name].tolist() for name in ("id", answer, "speaker", "split")]
    return digest([hashes, *columns])
