"""Sentences with a tag for each token, as published or as a user's files hold them.

CoNLL     a token a line with its columns, a blank line after each sentence; CoNLL-U too (lines with ids like 3-4 and 5.1 are no words)
JSON      one object a line, with a list of tokens and a list of tags
tables    a sentence a row, tokens and tags with blanks between; or, with a column that names the sentence, a token a row

Where it is asked for, each sentence has an intent, too, a class of its own: in CoNLL a comment `# intent = NAME` above its first token, in
JSON a field, in tables a column.
"""

import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from rnnlab.data.files import Broken, OnBroken, ending, natural_order, passed_over, select, visible_files
from rnnlab.data.splits import SPLIT_COLUMNS, SPLIT_WORDS
from rnnlab.data.tables import JSON_SUFFIXES, TABLE_SUFFIXES, Table, match_column, read_table
from rnnlab.data.text_files import LINE_END, read_text

CONLL_SUFFIXES = {".conll", ".conllu", ".conllup", ".conll2003", ".bio", ".iob", ".iob2", ".bioes", ".txt"}
U_COLUMNS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
TOKEN_NAMES = ("tokens", "token", "words", "word", "form", "text", "sentence")
TAG_NAMES = ("tags", "tag", "labels", "label", "ner_tags", "ner", "pos_tags", "pos", "upos", "slots")
INTENT_NAMES = ("intent", "intents", "class", "category")
SENTENCE_NAMES = ("sentence_id", "sentence #", "sent_id", "sentence_number")
DOCUMENT_START = "-DOCSTART-"
COLUMNS = ("id", "tokens", "tags", "split", "place", "intent")
CURE = "Mend it or remove it"
Column = str | int | None


@dataclass(frozen=True)
class TagColumns:
    """Say where a user's files keep what.

    Args:
        token_column, tag_column: of tables and JSON a name; of CoNLL a number (0 is the first column, -1 the last) or a name, where the
            file has names (CoNLL-U does); None for usual names, of CoNLL without names the first and the last column.
        delimiter: what separates columns; None: found out.
        intent_column: of tables and JSON a name, of CoNLL the name of the comment; None for usual names.
    """

    token_column: Column = None
    tag_column: Column = None
    delimiter: str | None = None
    intent_column: str | None = None

    @property
    def intent_names(self) -> tuple[str, ...]:
        """Names that an intent may have."""
        return INTENT_NAMES if self.intent_column is None else (self.intent_column,)


class Sentence(NamedTuple):
    """Tokens and tags of a sentence ("": the token is not scored), its id, its split ("" where not given), its place for messages, and its
    intent ("" where it has none).
    """

    id: str
    tokens: list[str]
    tags: list[str]
    split: str
    place: str
    intent: str = ""


def find_sentences(
    source: str, folder: Path, columns: TagColumns, on_broken: OnBroken, with_intent: bool = False
) -> tuple[pd.DataFrame, list[str]]:
    """List a source's sentences.

    Args:
        source: a named set (`ud_lines`, `wnut17`, `weibo_ner`, `snips`, `protein`, `sample`), or anything else.
        folder: the set's folder; else a file, or a folder of such files, perhaps below or named `train`, `val` and `test`.
        columns: of the files.
        on_broken: whether sentences that cannot be used are refused or left out.
        with_intent: whether each sentence must have an intent; else those that are there are not looked at.

    Returns:
        One row a sentence: id, tokens, tags, split ("" where not given), place, intent; and what was passed over or left out, in words.

    Raises:
        ValueError: for what cannot be read; says where.
    """
    broken, remarks = Broken(on_broken), list[str]()
    if source in _NAMED:
        sentences = list(_NAMED[source](folder, columns, broken))
    elif folder.is_file():
        sentences = list(sentences_of(folder, columns, broken))
    else:
        files, remarks = files_of(folder)
        sentences = [found for file in files for found in _from_file(file, folder, columns, broken)]
    if with_intent:
        _refuse_without_intents(source, folder, sentences)
    else:
        sentences = [sentence._replace(intent="") for sentence in sentences]
    kept = [sentence for sentence in sentences if _is_usable(sentence, broken, with_intent)]
    remarks += broken.settle(len(kept), CURE)
    if not kept:
        raise ValueError(f"{folder} holds no sentence: wanted a token and its tag on each line, and a blank line after each sentence")
    return pd.DataFrame(kept, columns=list(COLUMNS)), remarks


def _refuse_without_intents(source: str, folder: Path, sentences: list[Sentence]) -> None:
    """Refuse sentences of which none has an intent, though each is to have one."""
    if not sentences or any(sentence.intent for sentence in sentences):
        return
    if source in _NAMED:
        raise ValueError(f"data.with_intent=true: {source} has tags alone, of the named sets only snips has intents: leave it out")
    raise ValueError(
        f"data.with_intent=true: no sentence of {folder} has an intent. Give each one: in CoNLL a comment '# intent = NAME' above its "
        'first token, in JSON a field ("intent": "NAME"), in a table a column; another name: data.prepare.intent_column'
    )


def _is_usable(sentence: Sentence, broken: Broken, with_intent: bool) -> bool:
    if len(sentence.tokens) != len(sentence.tags):
        broken.add(f"there are {len(sentence.tokens)} tokens, but {len(sentence.tags)} tags: each token needs one", sentence.place)
        return False
    if not sentence.tokens:
        broken.add("the sentence is empty", sentence.place)
        return False
    if with_intent and not sentence.intent:
        broken.add("the sentence has no intent, though others have one", sentence.place)
        return False
    return True


def hash_sentences(table: pd.DataFrame) -> str:
    """Hash all sentences with their tags, ids and splits, and intents where there are such, in the order of rows; 16 hex digits."""
    found = hashlib.sha256()
    names = ["id", "tokens", "tags", "split", *(["intent"] if table["intent"].any() else [])]
    for row in zip(*(table[name] for name in names), strict=True):
        found.update(json.dumps(row).encode())
    return found.hexdigest()[:16]


# Files ----------------------------------------------------------------------------------------------------------------------------


def files_of(source: Path) -> tuple[list[Path], list[str]]:
    """Return the files of a folder that hold sentences, in their natural order; and what is passed over, in words.

    Raises:
        ValueError: if there are none.
    """
    wanted = CONLL_SUFFIXES | TABLE_SUFFIXES | JSON_SUFFIXES
    found, others = select(visible_files(source), wanted)
    if not found:
        there = "; ".join(passed_over(others, source)) or "it is empty"
        raise ValueError(f"no sentences in {source}: wanted files of {' '.join(sorted(wanted))}. Found: {there}")
    found.sort(key=lambda file: (natural_order(str(file.relative_to(source))), str(file)))
    return found, passed_over(others, source)


def _from_file(file: Path, folder: Path, columns: TagColumns, broken: Broken) -> Iterator[Sentence]:
    """Read a file of a folder, whose names and folders may say the split."""
    name = file.relative_to(folder)
    parts = [part.lower() for part in (*name.parts[:-1], *re.split(r"[.\-_]", file.name))]
    split = next((SPLIT_WORDS[part] for part in parts if part in SPLIT_WORDS), "")
    for sentence in sentences_of(file, columns, broken):
        yield sentence._replace(id=f"{name}{sentence.id.removeprefix(file.name)}", split=split or sentence.split)


def sentences_of(file: Path, columns: TagColumns, broken: Broken, *, is_tagged: bool = True) -> Iterable[Sentence]:
    """Read the sentences of a file by its suffix: tables and JSON as such, all else as CoNLL; untagged, tags may be missing."""
    if ending(file) in TABLE_SUFFIXES | JSON_SUFFIXES:
        return _from_table(file, columns, is_tagged)
    return conll_sentences(file, columns, broken, is_tagged=is_tagged)


# CoNLL ----------------------------------------------------------------------------------------------------------------------------


def conll_sentences(file: Path, columns: TagColumns, broken: Broken, *, is_tagged: bool = True) -> Iterator[Sentence]:
    """Read a file of a token a line; a sentence with a line that lacks columns goes to `broken`, by its line."""
    text = read_text(file).text
    lines = LINE_END.split(text)
    delimiter = columns.delimiter or ("\t" if any("\t" in line for line in lines) else None)
    names = _names_of(file, lines)
    width = next((len(_fields(line, delimiter)) for line in lines if line.strip() and not _is_comment(line, delimiter)), 0)
    places = _place(columns.token_column, TOKEN_NAMES, names, width, 0, "token_column", file)
    tag = _place(columns.tag_column, TAG_NAMES, names, width, -1, "tag_column", file) if is_tagged else None
    if width and tag == places:
        raise ValueError(
            f"{file}: the first token has {width} column(s), so that token and tag are in the same: give each token its tag, or set "
            "data.prepare.token_column, tag_column and delimiter"
        )
    for is_sentence, group in groupby(enumerate(lines, start=1), key=lambda numbered: bool(numbered[1].strip())):
        block = list(group)
        if is_sentence and (found := _sentence(file, block, delimiter, (places, tag), width, names, broken)):
            yield found._replace(intent=_commented([line for _, line in block], columns.intent_names))


def _sentence(
    file: Path,
    lines: list[tuple[int, str]],
    delimiter: str | None,
    places: tuple[int, int | None],
    width: int,
    names: tuple[str, ...],
    broken: Broken,
) -> Sentence | None:
    """Return the sentence of neighbouring lines; None where there is none in them, or it is broken."""
    tokens, tags, first = [], [], 0
    for number, line in lines:
        if _is_comment(line, delimiter):
            continue
        fields = _fields(line, delimiter)
        first = first or number
        if len(fields) != width:
            broken.add(f"there are {len(fields)} column(s), but {width} on the lines before", f"{file}, line {number}")
            return None
        if names and names[0] == "ID" and not fields[0].isdigit():
            continue  # words put together (3-4), or left out (5.1)
        token, tag = fields[places[0]], fields[places[1]] if places[1] is not None else ""
        if not token.strip() or not (tag.strip() or places[1] is None):
            broken.add(f"the {'tag' if token.strip() else 'token'} is empty", f"{file}, line {number}")
            return None
        tokens.append(token)
        tags.append(tag.strip())
    if not tokens or tokens == [DOCUMENT_START]:
        return None
    return Sentence(f"{file.name}:{first}", tokens, tags, "", f"{file}, line {first}")


def _commented(lines: list[str], names: tuple[str, ...]) -> str:
    """Return what a comment `# intent = NAME` says; "" where there is none."""
    for line in lines:
        name, _, value = line.removeprefix("#").partition("=")
        if line.startswith("#") and name.strip().lower() in names:
            return value.strip()
    return ""


def _fields(line: str, delimiter: str | None) -> list[str]:
    return line.split() if delimiter in (None, " ") else line.split(delimiter)


def _is_comment(line: str, delimiter: str | None) -> bool:
    """Tell whether a line is none of a token; a token may begin with # itself."""
    return line.startswith("#") and (delimiter not in line if delimiter not in (None, " ") else line.startswith("# ") and " = " in line)


def _names_of(file: Path, lines: list[str]) -> tuple[str, ...]:
    """Return the names of a file's columns, where it has such: CoNLL-U's, or those of its first line (CoNLL-U Plus)."""
    if lines[0].startswith("# global.columns ="):
        return tuple(lines[0].partition("=")[2].split())
    return U_COLUMNS if ending(file) == ".conllu" else ()


def _place(wanted: Column, usual: tuple[str, ...], names: tuple[str, ...], width: int, default: int, key: str, file: Path) -> int:
    """Return the number of a column, counted from 0."""
    lower = [name.lower() for name in names]
    if wanted is None:
        return next((lower.index(name) for name in usual if name in lower), default % max(width, 1))
    if isinstance(wanted, int) and -width <= wanted < width:
        return wanted % width
    if isinstance(wanted, str) and wanted.lower() in lower:
        return lower.index(wanted.lower())
    called = f", called {', '.join(names)}" if names else ", which have no names"
    raise ValueError(
        f"data.prepare.{key}={wanted}: {file} has {width} columns{called}: give a number from 0 to {width - 1}, or -1 for the last"
    )


# Tables ---------------------------------------------------------------------------------------------------------------------------


def _from_table(file: Path, columns: TagColumns, is_tagged: bool) -> Iterator[Sentence]:
    if ending(file) in JSON_SUFFIXES:
        yield from _from_objects(file, columns, is_tagged)
        return
    table = read_table(file, delimiter=columns.delimiter)
    token = table.frame[_named(table, columns.token_column, TOKEN_NAMES, "token_column")].tolist()
    tag = table.frame[_named(table, columns.tag_column, TAG_NAMES, "tag_column")].tolist() if is_tagged else [""] * len(token)
    split_name = match_column(table, SPLIT_COLUMNS[0], SPLIT_COLUMNS, is_needed=False)
    split = [_split(value, str(file)) for value in table.frame[split_name]] if split_name else [""] * len(token)
    lines = table.lines.tolist()
    intent_name = match_column(table, columns.intent_names[0], columns.intent_names, is_needed=False)
    intent = table.frame[intent_name].str.strip().tolist() if intent_name else [""] * len(token)
    name = match_column(table, SENTENCE_NAMES[0], SENTENCE_NAMES, is_needed=False)
    if name is None:
        for row in range(len(token)):
            place = f"{file}, line {lines[row]}"
            tags = tag[row].split() if is_tagged else []
            yield Sentence(f"{file.name}:{lines[row]}", token[row].split(), tags, split[row], place, intent[row])
        return
    number = table.frame[name].replace("", None).ffill().fillna("").tolist()  # where only the first token of a sentence names it
    for _, group in groupby(range(len(token)), key=lambda row: number[row]):
        rows = list(group)
        place = f"{file}, line {lines[rows[0]]}"
        words, tags, first = [token[r] for r in rows], [tag[r] for r in rows], rows[0]
        yield Sentence(f"{file.name}:{lines[first]}", words, tags, split[first], place, intent[first])


def _named(table: Table, wanted: Column, usual: tuple[str, ...], key: str) -> str:
    names = usual if wanted is None else (str(wanted),)
    return str(match_column(table, names[0], names[1:], key=f"data.prepare.{key}"))


def _from_objects(file: Path, columns: TagColumns, is_tagged: bool) -> Iterator[Sentence]:
    for number, line in enumerate(LINE_END.split(read_text(file).text), start=1):
        if not line.strip():
            continue
        place = f"{file}, line {number}"
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{place} is not JSON ({error}): wanted one object a line, such as {EXAMPLE}") from None
        if not isinstance(fields, dict):
            raise ValueError(f"{place} is no object: wanted one such as {EXAMPLE}")
        tokens = _listed(fields, columns.token_column, TOKEN_NAMES, "token_column", place)
        tags = _listed(fields, columns.tag_column, TAG_NAMES, "tag_column", place) if is_tagged else []
        intent = next((str(fields[name]).strip() for name in columns.intent_names if fields.get(name) is not None), "")
        yield Sentence(f"{file.name}:{number}", tokens, tags, _split(str(fields.get("split") or ""), place), place, intent)


EXAMPLE = '{"tokens": ["Anna", "sails"], "tags": ["B-PER", "O"]}'


def _listed(fields: dict[str, object], wanted: Column, usual: tuple[str, ...], key: str, place: str) -> list[str]:
    names = usual if wanted is None else (str(wanted),)
    name = next((name for name in names if name in fields), None)
    if name is None:
        raise ValueError(f"{place} has none of {', '.join(names)}; it has: {', '.join(fields)}. Set data.prepare.{key} to one of these")
    value = fields[name]
    found = value.split() if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(each, str | int) for each in found):
        raise ValueError(f"{place}: {name} is no list of texts: wanted one such as {EXAMPLE}")
    return [str(each) for each in found]


def _split(value: str, place: str) -> str:
    known = value.strip().lower()
    if known and known not in SPLIT_WORDS:
        raise ValueError(f"{place}: split {value!r} is not one of {', '.join(SPLIT_WORDS)}: write it as one of these")
    return SPLIT_WORDS[known] if known else ""


# The named sets -------------------------------------------------------------------------------------------------------------------


def _ud_lines(folder: Path, columns: TagColumns, broken: Broken) -> Iterator[Sentence]:
    for split, part in (("train", "train"), ("val", "dev"), ("test", "test")):
        for found in conll_sentences(folder / f"en_lines-ud-{part}.conllu", columns, broken):
            yield found._replace(split=split)


def _wnut17(folder: Path, columns: TagColumns, broken: Broken) -> Iterator[Sentence]:
    for split, name in (("train", "wnut17train.conll"), ("val", "emerging.dev.conll"), ("test", "emerging.test.annotated")):
        for found in conll_sentences(folder / name, columns, broken):
            yield found._replace(split=split)


def _weibo_ner(folder: Path, columns: TagColumns, broken: Broken) -> Iterator[Sentence]:
    """Read messages by character, each without the digit of its place in a word."""
    for split, part in (("train", "train"), ("val", "dev"), ("test", "test")):
        for found in conll_sentences(folder / f"weiboNER_2nd_conll.{part}", columns, broken):
            yield found._replace(
                split=split, tokens=[token[:-1] if token[-1:].isdigit() and token[:-1] else token for token in found.tokens]
            )


def _snips(folder: Path, columns: TagColumns, broken: Broken) -> Iterator[Sentence]:
    for split, part in (("train", "train"), ("val", "valid"), ("test", "test")):
        columns_read = ((folder / part / name).read_text(encoding="utf-8").splitlines() for name in ("seq.in", "seq.out", "label"))
        for number, (tokens, tags, intent) in enumerate(zip(*columns_read, strict=True), start=1):
            place = f"{part}/seq.in, line {number}"
            yield Sentence(f"{part}:{number}", tokens.split(), tags.split(), split, place, intent.strip())


def _protein(folder: Path, columns: TagColumns, broken: Broken) -> Iterator[Sentence]:
    """Read each chain once, with the residues that any of its rows marks as CB513's; the others have no tag."""
    name = str(columns.tag_column or "dssp8")
    with (folder / "CB513.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if name not in ("dssp3", "dssp8"):
        raise ValueError(f"data.prepare.tag_column={name} is not a column of this set: choose dssp8 (eight states) or dssp3 (three)")
    masks: dict[str, list[bool]] = {}
    tags = {row["input"]: row[name] for row in rows}
    for row in rows:
        mask = [float(number) > 0 for number in row["cb513_mask"].split()]
        masks[row["input"]] = [one or other for one, other in zip(mask, masks.get(row["input"], mask), strict=True)]
    for number, (chain, mask) in enumerate(masks.items(), start=1):
        scored = [tag if is_scored else "" for tag, is_scored in zip(tags[chain], mask, strict=True)]
        yield Sentence(f"chain:{number}", list(chain), scored, "", f"CB513.csv, chain {number}")


def _sample(folder: Path, columns: TagColumns, broken: Broken) -> Iterator[Sentence]:
    for split in ("test", "train", "val"):  # in the order of the files of a folder
        for found in conll_sentences(folder / f"{split}.conll", TagColumns(), broken):
            yield found._replace(split=split)


_NAMED: dict[str, Callable[[Path, TagColumns, Broken], Iterator[Sentence]]] = {
    "ud_lines": _ud_lines,
    "wnut17": _wnut17,
    "weibo_ner": _weibo_ner,
    "snips": _snips,
    "protein": _protein,
    "sample": _sample,
}
