"""Lists of labelled recordings: what is in a folder or a manifest, and what of it can be wrong."""

import hashlib
import re
from collections import Counter
from pathlib import Path

import pandas as pd

from rnnlab.data.prepared import digest

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".au", ".opus", ".w64", ".caf"}
MANIFEST = "manifest.csv"


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
    return table.sort_values("id", ignore_index=True)


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


def _from_manifest(manifest: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(manifest, dtype=str, keep_default_na=False, skip_blank_lines=False)
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{manifest} cannot be read as a CSV table: {str(error).strip()}. Wanted: path,label and, if known, speaker,split"
        ) from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes what is too much for row names
        raise ValueError(f"{manifest} has more fields in its rows than its {len(table.columns)} columns: {', '.join(table.columns)}")
    if missing := [name for name in ("path", "label") if name not in table]:
        raise ValueError(
            f"{manifest} lacks the column {missing[0]!r}; it has: {', '.join(table.columns)}. "
            "Wanted: path,label and, if known, speaker,split"
        )
    for name in ("speaker", "split"):
        if name not in table:
            table[name] = ""
    for number, row in enumerate(table.itertuples(), start=2):
        if not (manifest.parent / str(row.path)).is_file():
            raise ValueError(f"{manifest}, line {number}: no such file: {row.path}")
        if row.label == "":
            raise ValueError(f"{manifest}, line {number}: the label is empty")
        if row.split not in ("", "train", "val", "test"):
            raise ValueError(f"{manifest}, line {number}: split {row.split!r} is not one of train, val, test")
    if table.empty:
        raise ValueError(f"{manifest} lists no recordings")
    if repeated := [path for path, count in Counter(table["path"]).items() if count > 1]:
        raise ValueError(f"{manifest} lists {repeated[0]} {table['path'].eq(repeated[0]).sum()} times: list each recording once")
    files = [str(manifest.parent / path) for path in table["path"]]
    return pd.DataFrame({"id": table["path"], "file": files, **{n: table[n] for n in ("label", "speaker", "split")}})


def hash_recordings(table: pd.DataFrame) -> str:
    """Hash the content of all recordings, with their ids, labels, speakers and splits."""
    hashes = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in table["file"]]
    columns = [table[name].tolist() for name in ("id", "label", "speaker", "split")]
    return digest([hashes, *columns])


def natural_order(label: str) -> tuple[object, ...]:
    """Sort key under which numbers count as numbers."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.findall(r"\d+|\D+", label))
