"""Lists of recordings, labelled or transcribed: what is in a folder or a manifest, and what of it can be wrong."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from rnnlab.data.hashing import digest

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".au", ".opus", ".w64", ".caf"}
MANIFEST = "manifest.csv"
TEXT_COLUMNS = ("text", "transcript", "sentence")
"""What the column of transcripts may be called, in a manifest."""


def find_recordings(source: str, folder: Path) -> pd.DataFrame:
    """List a source's recordings.

    Args:
        source: a named set, whose file names say everything, or anything else.
        folder: a folder with a manifest.csv, a folder with one subfolder of recordings per label, or a manifest itself.

    Returns:
        One row a recording: id, file (absolute), label, speaker ("" if unknown), split ("" if not given), in the order of ids.
    """
    if source == "fsdd":
        table = _fsdd(folder)
    elif folder.is_file():
        table = _from_manifest(folder)
    elif (folder / MANIFEST).is_file():
        table = _from_manifest(folder / MANIFEST)
    else:
        table = _from_folders(folder)
    columns = ["id", "file", "label", "speaker", "split"]
    return table[columns].sort_values("id", ignore_index=True)


def _fsdd(folder: Path) -> pd.DataFrame:
    """Read `{digit}_{speaker}_{index}.wav`; upstream's rule: index 0-4 is the test split."""
    rows = []
    for file in sorted((folder / "recordings").glob("*.wav")):
        digit, speaker, index = file.stem.split("_")
        split = "test" if int(index) < 5 else "train"
        rows.append({"id": file.stem, "file": str(file), "label": digit, "speaker": speaker, "split": split})
    return pd.DataFrame(rows)


def _from_folders(folder: Path) -> pd.DataFrame:
    rows = [
        {
            "id": file.relative_to(folder).as_posix(),
            "file": str(file),
            "label": file.parent.name,
            "speaker": "",
            "split": "",
        }
        for file in sorted(folder.glob("*/*"))
        if file.suffix.lower() in AUDIO_SUFFIXES
    ]
    if not rows:
        suffixes = " ".join(sorted(AUDIO_SUFFIXES))
        raise ValueError(
            f"no recordings in {folder}: wanted one subfolder per label with sound files in it ({suffixes}), or a {MANIFEST} "
            "with the columns path,label and, if known, speaker,split"
        )
    return pd.DataFrame(rows)


def _from_manifest(manifest: Path, answers: tuple[str, ...] = ("label",), tidy: Callable[[str], str] = str) -> pd.DataFrame:
    """Read a manifest that has a column of answers, under any of its names.

    Returns:
        The columns id, file, the answers under their first name, speaker, split, and place (the line, in words).
    """
    answer = answers[0]
    also = f" (or {' or '.join(answers[1:])})" if answers[1:] else ""
    wanted = f"Wanted: path,{answer}{also} and, if known, speaker,split"
    try:
        table = pd.read_csv(manifest, dtype=str, keep_default_na=False, skip_blank_lines=False)
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{manifest} cannot be read as a CSV table: {str(error).strip()}. {wanted}") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes what is too much for row names
        raise ValueError(f"{manifest} has more fields in its rows than its {len(table.columns)} columns: {', '.join(table.columns)}")
    found = [name for name in answers if name in table]
    if missing := [name for name, is_there in (("path", "path" in table), (answer, found)) if not is_there]:
        raise ValueError(f"{manifest} lacks the column {missing[0]!r}; it has: {', '.join(table.columns)}. {wanted}")
    if len(found) > 1:
        raise ValueError(f"{manifest} has the columns {' and '.join(map(repr, found))}, which mean the same: keep one of them")
    given = {name: table.get(name, "") for name in ("speaker", "split")}
    places = [f"{manifest}, line {number}" for number in range(2, len(table) + 2)]
    table = pd.DataFrame({"path": table["path"], answer: table[found[0]].map(tidy), **given, "place": places})
    _refuse_wrong_rows(manifest, table, answer)
    files = [str(manifest.parent / path) for path in table["path"]]
    return table.assign(id=table["path"], file=files)[["id", "file", answer, "speaker", "split", "place"]]


def _refuse_wrong_rows(manifest: Path, table: pd.DataFrame, answer: str) -> None:
    for row in table.to_dict("records"):
        if not (manifest.parent / str(row["path"])).is_file():
            raise ValueError(f"{row['place']}: no such file: {row['path']}")
        if row[answer] == "":
            raise ValueError(f"{row['place']}: the {answer} is empty")
        if row["split"] not in ("", "train", "val", "test"):
            raise ValueError(f"{row['place']}: split {row['split']!r} is not one of train, val, test")
    if table.empty:
        raise ValueError(f"{manifest} lists no recordings")
    if repeated := [path for path, count in Counter(table["path"]).items() if count > 1]:
        raise ValueError(f"{manifest} lists {repeated[0]} {table['path'].eq(repeated[0]).sum()} times: list each recording once")


def find_transcribed(source: str, folder: Path) -> pd.DataFrame:
    """List a source's recordings with what is said in them.

    Args:
        source: `an4`, or anything else.
        folder: AN4's folder, a folder with a manifest.csv, or a manifest itself.

    Returns:
        One row a recording: id, file (absolute), text (in Unicode's NFC, single blanks), speaker ("" if unknown), split ("" if not
        given), place (where the text stands, in words), in the order of ids.

    Raises:
        ValueError: names the file and line of what is wrong.
    """
    if source == "an4":
        table = _an4(folder)
    elif folder.is_file() or (folder / MANIFEST).is_file():
        table = _from_manifest(folder if folder.is_file() else folder / MANIFEST, TEXT_COLUMNS, _tidy)
    else:
        wanted = f"a {MANIFEST} with the columns path,{TEXT_COLUMNS[0]} and, if known, speaker,split"
        raise ValueError(f"no transcribed recordings in {folder}: wanted {wanted}")
    return table.sort_values("id", ignore_index=True)


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
