"""Pairs as they lie in their files, line by line, before anything is cleaned."""

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rnnlab.data.files import read_whole
from rnnlab.data.text_files import gunzipped

FURTHER = "further"
"""The split of a pair that is only a further reference of one with the same source before it."""


class Languages(NamedTuple):
    """Name the two sides, as files and Moses do (en, de, zh, ...)."""

    source: str
    target: str


class PairSide(NamedTuple):
    """One sentence as it lies in its file; `place` is for messages."""

    text: str
    place: str


class RawPair(NamedTuple):
    """A pair as it lies in its files, with the split that these give it, if any."""

    id: str
    source: PairSide
    target: PairSide
    split: str


def aligned(source: Path, target: Path, name: str, split: str) -> Iterator[RawPair]:
    """Pair two files line by line."""
    sources, targets = lines_of(source), lines_of(target)
    if len(sources) != len(targets):
        raise ValueError(
            f"{source} has {len(sources):,} lines, {target} has {len(targets):,}: line by line they must be the same sentences in two "
            "languages. Find the line that is missing, or that was broken in two"
        )
    for number, (one, other) in enumerate(zip(sources, targets, strict=True), start=1):
        yield RawPair(f"{name}:{number}", PairSide(one, f"{source}, line {number}"), PairSide(other, f"{target}, line {number}"), split)


def refuse_languages(name: str, languages: Languages, there: Sequence[str]) -> None:
    """Raise ValueError where a set lacks one of the two languages, or both are one."""
    if missing := [language for language in languages if language not in there]:
        raise ValueError(
            f"{name} has no language {missing[0]!r}; it has: {', '.join(there)}. "
            "Set data.source_language and data.target_language to two of them"
        )
    if languages.source == languages.target:
        raise ValueError(
            f"data.source_language={languages.source} is data.target_language, too: set them to two of those that {name} has "
            f"({', '.join(there)})"
        )


def lines_of(file: Path) -> list[str]:
    """Return a file's lines, packed by gzip or not; only a line feed ends one (text may hold U+2028 and the like)."""
    try:
        content = read_whole(file)
        if file.suffix.lower() == ".gz":
            content = gunzipped(file, content)
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"{file}, line {line}: not UTF-8 ({error.reason}): save the file as UTF-8") from error
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{file} cannot be read ({getattr(error, 'strerror', None) or error}): check the name, or get it anew") from error
    if not text.strip():
        raise ValueError(f"{file} holds no sentences")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
