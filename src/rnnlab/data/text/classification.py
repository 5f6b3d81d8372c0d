"""`data=text`: labelled texts, from a named set, the bundled sample, or tables and folders of one's own.

Preparation (above) cuts texts into tokens and numbers every distinct one; nothing is fitted in it, except where subwords are learned, and
then from training texts alone. The data module (below) splits, fits the vocabulary on training texts, truncates and batches.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import pandas as pd
import torch
from rich.progress import track

from rnnlab.config import Fraction, PositiveInt
from rnnlab.contracts import PAD, UNKNOWN, Batch, DataSpec
from rnnlab.data import tokens
from rnnlab.data.base import FoldedData, Split
from rnnlab.data.batches import BudgetOrder, ExampleRandom
from rnnlab.data.early import read_once
from rnnlab.data.files import OnBroken, natural_order
from rnnlab.data.hashing import code_hash, digest
from rnnlab.data.inputs import InputReader, InputTokens, TableFormat, WrittenReader, labelled_batch, told
from rnnlab.data.labelled import LabelledData
from rnnlab.data.prepared import Json, Prepared, write_flat
from rnnlab.data.sources.catalogue import CORPORA
from rnnlab.data.splits import Folding, assign_splits, refuse_unseen_labels
from rnnlab.data.tables import Quoting
from rnnlab.data.text import readers
from rnnlab.data.text.folders import read_texts
from rnnlab.data.text.padding import pad, truncated
from rnnlab.data.text.readers import TEXT_NAMES, TextColumns, clean_text, find_texts, hash_texts, labelled_lines
from rnnlab.data.tokens import INPUT_SPECIALS, TextTokens, TokenMeta, Vocabulary, index, tokenize, unspaced_fraction

MOST = 0.5
TextSplit = Literal["auto", "official", "random", "kfold"]


@dataclass(frozen=True)
class TextPrepare:
    """Say what the texts are and how they are cut (`data.prepare`); see `TextColumns`, `TextTokens` and, for `on_broken`, `find_texts`."""

    text_column: str
    label_column: str
    split_column: str | None
    delimiter: str | None
    has_header: bool
    tokens: Literal["auto", "word", "char", "subword"]
    ngrams: PositiveInt
    subword_size: PositiveInt
    is_lower: bool
    on_broken: OnBroken
    quoting: Quoting | None = None  # bundles made before it do not have it

    @property
    def columns(self) -> TextColumns:
        """Where a table keeps what."""
        return TextColumns(self.text_column, self.label_column, self.split_column, self.delimiter, self.has_header, self.quoting)

    @property
    def cutting(self) -> TextTokens:
        """What a token is; while nobody knows the texts (`auto`), words."""
        return TextTokens("word" if self.tokens == "auto" else self.tokens, self.ngrams, self.subword_size, self.is_lower)

    def settled(self, texts: Sequence[str]) -> "TextPrepare":
        """Return the same with `auto` decided: characters where most letters are of scripts without blanks between words, else words."""
        if self.tokens != "auto":
            return self
        return replace(self, tokens="char" if unspaced_fraction(texts) > MOST else "word")


@dataclass(frozen=True)
class SizeDefaults:
    """Hold defaults for `up_to` so many training texts (None: for more), and why; `set` has keys and values as a recipe has them."""

    up_to: PositiveInt | None
    why: str
    set: dict[str, Any]


@dataclass(frozen=True)
class TextLoader:
    """Say how prepared texts become batches (`data.loader`).

    Args:
        batch_size: most texts in a batch.
        batch_tokens: most tokens in a batch, padding included.
        num_buckets: texts of similar length are batched together, in so many groups.
        min_frequency: rarer tokens of the training split are unknown.
        max_size: most words in the vocabulary (None: no limit).
        max_tokens: longer texts are cut to so many (None: never).
        truncate: what of a longer text stays: its `head`, its `tail`, or half from `both` ends.
        drop_duplicates: leave out training texts that are also in validation or test (and validation texts that are in test).
        word_dropout: fraction of a training text's tokens that are made unknown, each time anew.
        vectors: a file of word vectors in GloVe's text format to begin with (None: none).
    """

    batch_size: PositiveInt
    batch_tokens: PositiveInt
    num_buckets: PositiveInt
    min_frequency: PositiveInt
    max_size: PositiveInt | None
    max_tokens: PositiveInt | None
    truncate: Literal["head", "tail", "both"]
    drop_duplicates: bool
    word_dropout: Fraction
    vectors: str | None


def prepare(table: pd.DataFrame, settings: TextPrepare, subwords: bytes | None, folder: Path, meta: Json) -> None:
    """Cut all texts into tokens, number them, and write a prepared folder."""
    shown = track(table["text"].tolist(), "preparing", transient=True, disable=len(table) < 5000)
    lists = tokenize(shown, settings.cutting) if subwords is None else tokens.encode_subwords(subwords, shown)
    types, values, offsets = index(cut or [INPUT_SPECIALS[UNKNOWN]] for cut in lists)
    contents = [hashlib.sha256(text.casefold().encode()).hexdigest()[:16] for text in table["text"]]
    examples = table[["id", "label", "split"]].assign(content=contents)
    labels = sorted(examples["label"].unique(), key=natural_order)
    encoded = None if subwords is None else tokens.model_to_text(subwords)
    write_flat(folder, values, offsets, examples, {**meta, "label_names": labels, "types": types, "subwords": encoded})


def split_texts(examples: pd.DataFrame, kind: TextSplit, folding: Folding, val_fraction: float) -> tuple[dict[Split, np.ndarray], str]:
    """Assign every text to a split; texts that are the same stay together where the split is random or in folds."""
    examples = examples.assign(author="")
    if kind == "random" or (kind == "auto" and not (examples["split"] == "test").any()):
        rarest_first = examples.assign(count=examples["label"].map(examples["label"].value_counts())).sort_values("count", kind="stable")
        first = rarest_first.drop_duplicates("content").sort_index().reset_index(drop=True)  # of several labels the rarest decides
        rows, words = assign_splits(first, kind, folding, val_fraction, "author")
        of_content = {content: split for split, part in rows.items() for content in first["content"].iloc[part]}
        splits = examples["content"].map(of_content).to_numpy(str)
        return {split: np.flatnonzero(splits == split) for split in rows}, words
    return assign_splits(examples, kind, folding, val_fraction, "author")


def without_duplicates(examples: pd.DataFrame, rows: dict[Split, np.ndarray]) -> tuple[dict[Split, np.ndarray], dict[str, int]]:
    """Leave out of training what is in validation or test, and of validation what is in test; count both."""
    contents = examples["content"].to_numpy(str)
    in_test = np.isin(contents[rows["val"]], contents[rows["test"]])
    val = rows["val"][~in_test]
    later = np.concatenate([contents[val], contents[rows["test"]]])
    in_later = np.isin(contents[rows["train"]], later)
    counts = {"training texts also in validation or test": int(in_later.sum()), "validation texts also in test": int(in_test.sum())}
    return {"train": rows["train"][~in_later], "val": val, "test": rows["test"]}, counts


@dataclass(frozen=True)
class TextReader(WrittenReader):
    """Read texts as the run did that made this; `subwords` is the SentencePiece model that cuts them, as `model_to_text` writes it."""

    kind = "text"
    example = 'text="a text"'

    prepare: TextPrepare
    max_tokens: int | None
    truncate: str
    label_names: tuple[str, ...]
    vocabulary: tuple[str, ...]
    subwords: str | None

    @property
    def input_words(self) -> tuple[str, ...]:
        return self.vocabulary

    @property
    def input_tokens(self) -> InputTokens | None:
        unit = self.prepare.tokens
        return None if unit == "auto" else InputTokens(unit, self.vocabulary, subwords=self.subwords)

    @property
    def table_format(self) -> TableFormat:
        columns = self.prepare.columns
        aliases = TEXT_NAMES[1:] if columns.text_column == TEXT_NAMES[0] else ()
        return TableFormat(columns.text_column, aliases, columns.delimiter, columns.has_header, columns.quoting)

    def read_folder(self, folder: Path) -> list[str]:
        texts, remarks = read_texts(folder, self.read_file)
        return told(str(folder), texts, remarks, "texts")

    def read_file(self, file: Path) -> list[str]:
        """Return a file's texts, also of lines that begin with one of the labels, as the run's own did."""
        lines = labelled_lines(file, self.prepare.delimiter)
        if lines and {clean_text(label) for _, label, _ in lines} <= set(self.label_names):
            return [text for _, _, text in lines]
        return super().read_file(file)

    def fault(self, item: str | bytes) -> str:
        return "" if clean_text(str(item)) else "it is empty"

    def read(self, inputs: Sequence[str | bytes]) -> tuple[list[str], Batch]:
        """Turn texts into a batch; name its rows.

        Raises:
            ValueError: for an empty text.
        """
        lines = [clean_text(str(text)) for text in inputs]
        if "" in lines:
            raise ValueError(f"text {lines.index('') + 1} of {len(lines)} is empty: leave it out")
        cut = (
            tokenize(lines, self.prepare.cutting)
            if self.subwords is None
            else tokens.encode_subwords(tokens.model_from_text(self.subwords), lines)
        )
        vocabulary = Vocabulary(self.vocabulary)
        numbers = (vocabulary.encode(words or [INPUT_SPECIALS[UNKNOWN]]) for words in cut)
        return lines, labelled_batch(*pad([truncated(row, self.max_tokens, self.truncate) for row in numbers]))


@dataclass(frozen=True)
class TextMeta(TokenMeta):
    """Entries of `meta.json` that loading needs."""

    label_names: tuple[str, ...]
    odd: dict[str, int]
    tokens: Literal["word", "char", "subword"]


@final
@dataclass(eq=False, repr=False, kw_only=True)
class TextData(FoldedData, LabelledData):
    """Give batches of labelled texts.

    `source` is `imdb`, `sst2`, `trec`, `trec_fine`, `ag_news`, `thucnews`, `names`, `dna`, `sample`, or the path of a table or folder.
    """

    group_column = "content"
    upstreams = CORPORA
    sample = "text"

    split: TextSplit
    """`official` (as the source says, validation carved from training where it gives none), `random`, `kfold`, or `auto`."""
    prepare: TextPrepare
    loader: TextLoader
    by_size: list[SizeDefaults] | None = None
    """Defaults by the number of training texts, of one's own files (None: none); bundles made before them have neither."""
    suited_to: PositiveInt | None = None
    """The number of training texts whose defaults a run has (None: it has none of those)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.cutting = self.prepare.cutting  # refuses, too
        self.subwords: bytes | None = None
        self.first: InputTokens | None = None
        self._refuse_vectors()

    def _refuse_vectors(self) -> None:
        if self.loader.vectors is not None and self.prepare.tokens not in ("auto", "word"):
            raise ValueError(f"data.loader.vectors are of words, but data.prepare.tokens={self.prepare.tokens}: leave one of them out")

    def begin_from(self, first: InputTokens) -> None:
        """Take the words of the run that this one begins from behind those of training, and its subwords for one's own."""
        self.first = first
        if self.prepare.tokens != "auto" or first.unit == "subword":
            first.refuse_other(self.prepare.tokens, "data.prepare.tokens")
        if first.subwords is not None:
            self.subwords = tokens.model_from_text(first.subwords)

    # -- where the data are --------------------------------------------------------------------------------------------

    def read_raw(self, raw: Path) -> pd.DataFrame:
        table, self.odd, self.remarks = read_once(find_texts, self.source, raw, self.prepare.columns, self.prepare.on_broken)
        return table

    def hash_raw(self, table: pd.DataFrame) -> str:
        return hash_texts(table)

    def prepared_key(self, source_hash: str) -> str:
        """Hash source, settings, code; for subwords also the split that they are learned from, or the model that is given."""
        files = [Path(str(module.__file__)) for module in (readers, tokens)] + [Path(__file__)]
        fitted: list[object] = []
        if self.prepare.tokens == "subword":
            given = None if self.subwords is None else hashlib.sha256(self.subwords).hexdigest()
            fitted = [self.split, self.split_seed, self.val_fraction, self.loader.drop_duplicates, given]
            fitted += [self.fold, self.num_folds] if self.split == "kfold" else []
        source = self.source if self.source in self.upstreams else ""
        return digest([source_hash, source, asdict(self.prepare), code_hash(*files), fitted])

    def write(self, folder: Path, table: pd.DataFrame, meta: Json) -> None:
        """Cut, number, write; learn subwords from the training texts first."""
        subwords = self.subwords
        if self.prepare.tokens == "subword" and subwords is None:
            contents = table.assign(content=table["text"].str.casefold())
            rows, _ = split_texts(contents, self.split, self.folding, self.val_fraction)
            train = without_duplicates(contents, rows)[0]["train"] if self.loader.drop_duplicates else rows["train"]
            subwords = tokens.train_subwords(table["text"].iloc[train], self.prepare.subword_size, is_lower=self.prepare.is_lower)
        odd = {name.removeprefix("num_").replace("_", " "): count for name, count in self.odd.items()}
        settings = self.prepare.settled(table["text"].tolist())
        prepare(table, settings, subwords, folder, {**meta, "settings": asdict(settings), "tokens": settings.tokens, "odd": odd})

    # -- what the data are ---------------------------------------------------------------------------------------------

    def assign_splits(self, prepared: Prepared) -> dict[Split, np.ndarray]:
        """Split, count duplicates, and fit the vocabulary on the training split."""
        self._open(prepared)
        self.number_labels(prepared.meta_as(TextMeta).label_names, prepared.examples["label"])
        rows, self.split_used = split_texts(prepared.examples, self.split, self.folding, self.val_fraction)
        thinned, self.duplicates = without_duplicates(prepared.examples, rows)
        rows = thinned if self.loader.drop_duplicates else rows
        refuse_unseen_labels(prepared.examples, rows)
        is_train = np.zeros(len(prepared.examples), dtype=bool)
        is_train[rows["train"]] = True
        counts = np.bincount(prepared.values[np.repeat(is_train, prepared.lengths)], minlength=len(self.types))
        self.vocabulary, self.numbers = Vocabulary.fit(self.types, counts, self.loader.min_frequency, self.loader.max_size)
        self.num_own = len(self.vocabulary)
        if self.first is not None:
            self.first.refuse_other(self.prepare.tokens, "data.prepare.tokens")
            is_lower = self.prepare.tokens == "word" or self.prepare.is_lower
            self.vocabulary = self.vocabulary.joined(word for word in self.first.words if not is_lower or word == word.lower())
            self.numbers = self.vocabulary.encode(self.types).astype(np.int32)
        return rows

    def setup_as_test(self, reader: InputReader) -> None:
        assert isinstance(reader, TextReader)
        self.subwords = None if reader.subwords is None else tokens.model_from_text(reader.subwords)
        self.prepare = replace(self.prepare, tokens=reader.prepare.tokens)
        self.prepared = self.ensure_prepared()
        self._open(self.prepared)
        self.number_labels(reader.label_names, self.prepared.examples["label"])
        self.vocabulary = Vocabulary(reader.vocabulary)
        self.numbers = self.vocabulary.encode(self.types).astype(np.int32)
        self.duplicates = {}
        self.take_all_as_test()

    def _open(self, prepared: Prepared) -> None:
        meta = prepared.meta_as(TextMeta)
        self.was_chosen = self.prepare.tokens == "auto" and meta.tokens != "word"
        self.prepare = replace(self.prepare, tokens=meta.tokens)
        self._refuse_vectors()
        self.types = meta.types
        self.subwords = self.subwords if meta.subwords is None else tokens.model_from_text(meta.subwords)

    def make_spec(self) -> DataSpec:
        return DataSpec(
            name=self.name,
            input_kind="tokens",
            input_size=len(self.vocabulary),
            target_kind="class",
            target_size=len(self.label_names),
            label_names=self.label_names,
            class_counts=self.class_counts(),
        )

    def input_vectors(self) -> np.ndarray | None:
        """Read the word vectors to begin with, rows of NaN for words that have none; say how many have one."""
        if self.loader.vectors is None:
            return None
        try:
            vectors, counts = tokens.read_vectors(Path(self.loader.vectors).expanduser(), self.vocabulary.words)
        except ValueError as error:
            raise ValueError(f"data.loader.vectors={self.loader.vectors}: {error}") from None
        found = counts["num_found"] + counts["num_found_lower"]
        words = f"{found:,} of {len(self.vocabulary):,} words have one, {vectors.shape[1]} numbers each"
        self.console.print(f"  vectors       {words}", highlight=False)
        return vectors

    def describe(self) -> list[tuple[str, str]]:
        examples, lengths = self.data.examples, self.data.lengths
        odd = {name: count for name, count in {**self.data.meta_as(TextMeta).odd, **self.duplicates}.items() if count}
        most = self.loader.max_tokens
        cut = f"; {(lengths > most).mean():.1%} are cut to {most} ({self.loader.truncate})" if most else ""
        dropped = " (left out)" if self.loader.drop_duplicates and any(self.duplicates.values()) else ""
        return [
            ("texts", f"{len(examples):,}, {lengths.sum():,} {self.prepare.tokens} tokens"),
            ("tokens each", f"{lengths.min()} to {lengths.max():,}, median {np.median(lengths):.0f}{cut}"),
            *self.describe_labels(),
            ("split", self.split_used),
            ("", ", ".join(f"{split} {len(rows):,}" for split, rows in self.rows.items())),
            (
                "vocabulary",
                f"{self.num_own - len(INPUT_SPECIALS):,} of {len(self.types):,} distinct tokens{self._more()}; unknown: {self._unknown()}",
            ),
            ("odd", ("; ".join(f"{count:,} {name}" for name, count in odd.items()) or "nothing") + dropped),
            *(("look at", words) for words in self._look_at()),
        ]

    def _more(self) -> str:
        """Say how many words the vocabulary has from the run that this one begins from."""
        return f" and {len(self.vocabulary) - self.num_own:,} more of init_from's" if self.first else ""

    def _look_at(self) -> list[str]:
        """Say what of the tokens a person may want otherwise."""
        found, kind, unknown = [], self.prepare.tokens, self._unknown_fractions().get("test", 0.0)
        if self.was_chosen:
            found.append("a token is a character: most letters are of scripts without blanks between words (set by data.prepare.tokens)")
        if (self.data.lengths <= 1).mean() > MOST and kind != "char":
            found.append(f"most texts are one {kind} token: if they have no blanks between words, set data.prepare.tokens=char")
        if unknown > MOST:
            other = "char" if kind == "subword" else "subword"
            cure = f"data.prepare.tokens={other} or a lower data.loader.min_frequency"
            found.append(f"{unknown:.0%} of the test tokens are unknown, which {cure} may change")
        return found

    def _unknown_fractions(self) -> dict[Split, float]:
        """Return which fraction of each split's tokens is unknown."""
        by_text = np.add.reduceat(self.numbers[self.data.values] == UNKNOWN, self.data.offsets[:-1], dtype=np.int64)
        return {split: by_text[rows].sum() / max(1, self.data.lengths[rows].sum()) for split, rows in self.rows.items() if len(rows)}

    def _unknown(self) -> str:
        return ", ".join(f"{split} {fraction:.1%}" for split, fraction in self._unknown_fractions().items())

    def reader(self) -> TextReader:
        subwords = None if self.subwords is None else tokens.model_to_text(self.subwords)
        words = self.vocabulary.words
        return TextReader(self.prepare, self.loader.max_tokens, self.loader.truncate, self.label_names, words, subwords)

    def shown(self, rows: np.ndarray) -> list[str]:
        """Return texts as a model reads them: truncated, unknown tokens marked."""
        return [self._joined([self.vocabulary.words[number] for number in self._numbers(row)]) for row in rows]

    def _joined(self, words: list[str]) -> str:
        if self.prepare.tokens == "subword" and self.subwords is not None:
            return tokens.decode_subwords(self.subwords, words)
        return "".join(words).replace(tokens.BLANK, " ") if self.prepare.tokens == "char" else " ".join(words)

    # -- batches -------------------------------------------------------------------------------------------------------

    def make_order(self, rows: np.ndarray, is_training: bool) -> BudgetOrder:
        lengths = self.data.lengths[rows].clip(max=self.loader.max_tokens)
        num_buckets = self.loader.num_buckets if is_training else 0
        return BudgetOrder(rows, lengths, self.loader.batch_size, self.loader.batch_tokens, self.seed, num_buckets)

    def collate(self, rows: np.ndarray, epoch: int, is_training: bool) -> Batch:
        """Return a padded batch; while training some words are made unknown."""
        inputs_BT, lengths_B = pad([self._numbers(row) for row in rows])
        if is_training and self.loader.word_dropout:
            is_dropped = ExampleRandom(self.seed, epoch, rows).uniform(inputs_BT.shape[1]) < self.loader.word_dropout
            inputs_BT = inputs_BT.masked_fill(is_dropped & (inputs_BT != PAD), UNKNOWN)
        targets_B = torch.from_numpy(self.labels[rows])
        return Batch(inputs_BT, lengths_B, targets_B, torch.ones_like(lengths_B), torch.from_numpy(rows))

    def _numbers(self, row: int) -> np.ndarray:
        """Return one text's vocabulary numbers, truncated."""
        start, end = self.data.offsets[row : row + 2]
        kept = truncated(self.data.values[start:end], self.loader.max_tokens, self.loader.truncate)
        numbers: np.ndarray = self.numbers[kept]
        return numbers
