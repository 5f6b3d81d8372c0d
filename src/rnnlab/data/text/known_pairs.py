"""Named sets of pairs: translations of sentences, and summaries of texts."""

import csv
import html
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from rnnlab.data.text.pair_files import FURTHER, Languages, PairSide, RawPair, aligned, lines_of, refuse_languages
from rnnlab.data.text.readers import mended_news

MULTI30K_LANGUAGES = ("en", "de", "fr")
MULTI30K_PARTS = {"train": "train", "val": "val", "test_2016_flickr": "test"}
SCITLDR_PARTS = {"train": "train", "dev": "val", "test": "test"}


def _multi30k(folder: Path, languages: Languages) -> Iterator[RawPair]:
    refuse_languages("multi30k", languages, MULTI30K_LANGUAGES)
    for part, split in MULTI30K_PARTS.items():
        source, target = (folder / f"{part}.{language}.gz" for language in languages)
        yield from aligned(source, target, split, split)


def _cmn_eng(folder: Path, languages: Languages) -> Iterator[RawPair]:
    """Read lines of English, Chinese, attribution; the last line is empty."""
    refuse_languages("cmn_eng", languages, ("en", "zh"))
    file = folder / "cmn.txt.gz"
    lines = lines_of(file)
    for number, line in enumerate(lines[:-1] if lines[-1] == "" else lines, start=1):
        fields = line.split("\t")
        if len(fields) != 3:
            raise ValueError(f"{file}, line {number}: {len(fields)} fields where 3 were due. Remove {folder} and run again")
        english, chinese = (PairSide(field, f"{file}, line {number}") for field in fields[:2])
        yield RawPair(f"cmn:{number}", *((english, chinese) if languages.source == "en" else (chinese, english)), "")


def _scitldr(folder: Path, languages: Languages) -> Iterator[RawPair]:
    """Read abstracts and their summaries, one paper a line; titles are not used. A paper's first summary is its authors'."""
    _refuse_other_than_english("scitldr", languages)
    for part, split in SCITLDR_PARTS.items():
        file = folder / f"{part}.jsonl"
        for number, line in enumerate(lines_of(file), start=1):
            paper, place = json.loads(line), f"{file}, line {number}"
            abstract = PairSide(" ".join(paper["source"]), place)
            for count, summary in enumerate(paper["target"], start=1):
                name = f"{part}:{paper['paper_id']}" + (f":{count}" if count > 1 else "")
                yield RawPair(name, abstract, PairSide(summary, place), split if count == 1 else FURTHER)


def _ag_titles(folder: Path, languages: Languages) -> Iterator[RawPair]:
    """Read descriptions and titles of the official test file, the one that keeps them apart: class, title, description."""
    _refuse_other_than_english("ag_titles", languages)
    file = folder / "test.csv"
    reader = csv.reader(line + "\n" for line in lines_of(file))
    for fields in reader:
        place = f"{file}, line {reader.line_num}"
        if len(fields) != 3:
            raise ValueError(f"{place}: {len(fields)} fields where 3 were due. Remove {folder} and run again")
        title, description = (PairSide(html.unescape(mended_news(field)), place) for field in fields[1:])
        yield RawPair(f"test:{reader.line_num}", description, title, "")


def _refuse_other_than_english(name: str, languages: Languages) -> None:
    if languages != ("en", "en"):
        raise ValueError(
            f"{name} has English texts and their summaries: choose data={name}, which says so, or set data.source_language=en, "
            "data.target_language=en and data.goal=summarise"
        )


KNOWN: dict[str, Callable[[Path, Languages], Iterator[RawPair]]] = {
    "multi30k": _multi30k,
    "cmn_eng": _cmn_eng,
    "scitldr": _scitldr,
    "ag_titles": _ag_titles,
}
