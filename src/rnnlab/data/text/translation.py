"""`data=translation`: pairs of sentences, from a named set, the bundled sample, or aligned files and tables of one's own.

Preparation (above) cuts both sides into tokens and numbers every distinct one; nothing is fitted in it, except where subwords are learned,
and then from training pairs alone. The data module (below) splits, fits the vocabularies on training pairs and batches.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar, Literal, final

import numpy as np
import pandas as pd
from rich.progress import track

from rnnlab.config import PositiveInt
from rnnlab.contracts import SPECIALS, STOP, UNKNOWN, Batch, Copies, DataSpec, Joined
from rnnlab.data import tokens
from rnnlab.data.base import FoldedData
from rnnlab.data.batches import BudgetOrder
from rnnlab.data.early import read_once
from rnnlab.data.files import OnBroken, home_of
from rnnlab.data.hashing import code_hash, digest
from rnnlab.data.inputs import InputReader, TableFormat, WrittenReader, told, untold_batch, warn
from rnnlab.data.prepared import Json, Prepared, write_flat
from rnnlab.data.sources.catalogue import PAIRS
from rnnlab.data.tables import Quoting
from rnnlab.data.targets import TokenTargets, count_types, fit_with_ends, pad_tokens, warn_unseen
from rnnlab.data.text import copying, pairs, translation_source
from rnnlab.data.text.pairs import (
    REPEATED,
    Languages,
    PairColumns,
    PairSplit,
    Rows,
    clean_sentence,
    further_targets,
    source_sentences,
    split_pairs,
    without_repeated,
)
from rnnlab.data.tokens import UNSPACED, TextTokens, Vocabulary, index, tokenize


@dataclass(frozen=True)
class PairPrepare:
    """Say what the pairs are and how they are cut (`data.prepare`); for the columns see `PairColumns`.

    Args:
        tokens: `subword` (SentencePiece), `word` (Moses' rules; characters where a language puts no blanks between words) or `char`.
        is_joint: whether both sides share one vocabulary, and one model of subwords.
        subword_size: most pieces of a model of subwords.
        is_lower: whether both sides are lower-cased, references too.
        on_broken: whether pairs with an empty side are refused (`raise`), or left out and counted (`skip`).
    """

    source_column: str
    target_column: str
    split_column: str | None
    delimiter: str | None
    has_header: bool
    tokens: Literal["subword", "word", "char"]
    is_joint: bool
    subword_size: PositiveInt
    is_lower: bool
    on_broken: OnBroken
    quoting: Quoting | None = None  # bundles made before it do not have it

    @property
    def columns(self) -> PairColumns:
        """Where a table keeps what."""
        return PairColumns(self.source_column, self.target_column, self.split_column, self.delimiter, self.has_header, self.quoting)


@dataclass(frozen=True)
class PairLoader:
    """Say how prepared pairs become batches (`data.loader`).

    Args:
        batch_size: most pairs in a batch.
        batch_tokens: most tokens on either side of a batch, padding and the end of sentence included.
        num_buckets: pairs of similar length are batched together, in so many groups.
        min_frequency: rarer tokens of the training split are unknown.
        max_size: most words in a vocabulary (None: no limit).
        max_tokens: training pairs with more on either side are left out (None: none is).
        drop_duplicates: leave out training pairs whose source is also in validation or test.
    """

    batch_size: PositiveInt
    batch_tokens: PositiveInt
    num_buckets: PositiveInt
    min_frequency: PositiveInt
    max_size: PositiveInt | None
    max_tokens: PositiveInt | None
    drop_duplicates: bool


def prepare(table: pd.DataFrame, settings: PairPrepare, languages: Languages, models: Sequence[bytes], folder: Path, meta: Json) -> None:
    """Cut both sides into tokens, number them together, and write a prepared folder.

    Of subwords there is one model for both sides, or one each; of words and characters none.
    """
    names = ("source", "target")
    shown = track(names, "preparing", transient=True, disable=len(table) < 5000)
    sides = (
        cut(table[names[side]], settings, languages[side], models[side % len(models)] if models else None)
        for side in map(names.index, shown)
    )
    types, values, offsets = index(chain.from_iterable(sides))
    middle = len(table)
    first = int(offsets[middle])
    encoded = [tokens.model_to_text(model) for model in models]
    write_flat(
        folder,
        values[:first],
        offsets[: middle + 1],
        table[["id", "source", "target", "split", "group"]],
        {**meta, "types": types, "subwords": encoded},
        targets=(values[first:], offsets[middle:] - first),
    )


def cut(texts: Iterable[str], settings: PairPrepare, language: str, model: bytes | None) -> Iterator[list[str]]:
    """Cut one side's sentences into tokens, one at least."""
    cased = (text.lower() if settings.is_lower else text for text in texts)
    if settings.tokens == "subword" and model is not None:
        lists = tokens.encode_subwords(model, cased)
    elif settings.tokens == "char":
        lists = tokenize(cased, TextTokens("char"))
    elif settings.tokens == "word":
        lists = tokens.moses_words(cased, language)
    else:
        raise ValueError(f"data.prepare.tokens={settings.tokens!r} needs a model of subwords")
    return (found or [SPECIALS[UNKNOWN]] for found in lists)


def learn_subwords(train: pd.DataFrame, settings: PairPrepare) -> list[bytes]:
    """Learn one model of both sides, or one of each, from training pairs; fewer pieces than asked for will do where texts are few."""
    sides = [chain(train["source"], train["target"])] if settings.is_joint else [train["source"], train["target"]]
    return [
        tokens.train_subwords(
            (text.lower() if settings.is_lower else text for text in side), settings.subword_size, is_normalised=False, is_limit=True
        )
        for side in sides
    ]


def joined(settings: PairPrepare, language: str) -> Joined:
    """Say how tokens become text again."""
    return "moses" if settings.tokens == "word" and language not in UNSPACED else "pieces"


@dataclass(frozen=True)
class TranslationReader(WrittenReader):
    """Read sentences as the run did that made this.

    Args:
        target_vocabulary: its words; None where both sides share one.
        subwords: the models of subwords, as `model_to_text` writes them.
    """

    kind = "translation"
    example = 'text="a sentence"'

    prepare: PairPrepare
    languages: Languages
    max_tokens: int | None
    source_vocabulary: tuple[str, ...]
    target_vocabulary: tuple[str, ...] | None
    subwords: tuple[str, ...]

    @property
    def models(self) -> list[bytes]:
        """The models of subwords: one, one a side, or none."""
        return [tokens.model_from_text(text) for text in self.subwords]

    @property
    def table_format(self) -> TableFormat:
        columns = self.prepare.columns
        return TableFormat(*columns.side("source", self.languages.source), columns.delimiter, columns.has_header, columns.quoting)

    def read_folder(self, folder: Path) -> list[str]:
        texts, remarks = source_sentences(folder, self.languages)
        return told(str(folder), texts, remarks, "sentences") if texts else super().read_folder(folder)

    def _texts(self, item: str) -> list[str]:
        path = home_of(item)
        is_prefix = item != "-" and not path.exists() and pairs.has_prefix(path)
        return source_sentences(path, self.languages)[0] if is_prefix else super()._texts(item)

    def fault(self, item: str | bytes) -> str:
        return "" if clean_sentence(str(item)) else "it is empty"

    def read(self, inputs: Sequence[str | bytes]) -> tuple[list[str], Batch]:
        """Turn sentences into a batch; name its rows.

        Tokens that training never saw, and sentences longer than any that it did see, are told on stderr.

        Raises:
            ValueError: for an empty line.
        """
        lines = [clean_sentence(str(text)) for text in inputs]
        if "" in lines:
            raise ValueError(f"line {lines.index('') + 1} of {len(lines)} is empty: give a sentence, or leave it out")
        models, vocabulary = self.models, Vocabulary(self.source_vocabulary)
        found = list(cut(lines, self.prepare, self.languages.source, models[0] if models else None))
        rows = [encode(vocabulary, words) for words in found]
        _warn(found, rows, self.max_tokens)
        batch = untold_batch(*pad_tokens([with_stop(row) for row in rows]))
        batch.copies = self._copies(found)
        return lines, batch

    def _copies(self, found: Sequence[Sequence[str]]) -> Copies:
        target = Vocabulary(self.target_vocabulary or self.source_vocabulary)
        unknown: list[dict[str, int]] = [{} for _ in found]
        numbers = [
            copying.extend(words, encode(target, words), known, len(target)) for words, known in zip(found, unknown, strict=True)
        ]
        none = [np.zeros(0, dtype=np.int64)] * len(found)
        return copying.copies([with_stop(row) for row in numbers], none, [tuple(known) for known in unknown])


@dataclass(frozen=True)
class PairMeta:
    """Entries of `meta.json` that loading needs."""

    types: list[str]
    subwords: list[str]
    odd: dict[str, int]


@final
@dataclass(eq=False, repr=False, kw_only=True)
class TranslationData(FoldedData, TokenTargets):
    """Give batches of pairs of sentences.

    `source` is `multi30k`, `cmn_eng`, `sample`, or a path: a folder of `train.en`, `train.de`, ..., what two aligned files begin with, or a
    table.
    """

    group_column = "group"
    upstreams = PAIRS
    sample = "translation"
    has_unordered_targets = True
    sample_settings: ClassVar[Mapping[str, str | None]] = {"split": "auto", "source_language": "en", "target_language": "de"}

    source_language: str
    """The language of the inputs, as the files' names say it (en, de, fr, zh, ...)."""
    target_language: str
    """The language of the targets, likewise."""
    goal: Literal["translate", "summarise"]
    """What the target is of the source."""
    split: PairSplit
    """`official` (as the source says, validation carved from training where it gives none), `random`, or `auto`."""
    prepare: PairPrepare
    loader: PairLoader

    def __post_init__(self) -> None:
        super().__post_init__()
        self.languages = Languages(self.source_language, self.target_language)
        self.models: list[bytes] = []

    # -- where the data are --------------------------------------------------------------------------------------------

    def fetch_raw(self) -> Path:
        """Bring raw data to this machine; two aligned files go by what their names begin with."""
        is_own = self.source not in ("sample", *self.upstreams)
        return translation_source.find(self.source) if is_own else super().fetch_raw()

    def read_raw(self, raw: Path) -> pd.DataFrame:
        found = read_once(pairs.find_pairs, self.source, raw, self.languages, self.prepare.columns, self.prepare.on_broken)
        table, self.odd, self.remarks = found
        return table

    def hash_raw(self, table: pd.DataFrame) -> str:
        return pairs.hash_pairs(table)

    def prepared_key(self, source_hash: str) -> str:
        """Hash source, languages, settings, code; for subwords also the split that they are learned from, or the models that are given."""
        files = [Path(str(module.__file__)) for module in (pairs, tokens)] + [Path(__file__)]
        fitted: list[object] = []
        if self.prepare.tokens == "subword":
            given = [hashlib.sha256(model).hexdigest() for model in self.models]
            fitted = [self.split, self.split_seed, self.val_fraction, self.loader.drop_duplicates, given]
            fitted += [self.fold, self.num_folds] if self.split == "kfold" else []
        source = self.source if self.source in self.upstreams else ""
        return digest([source_hash, source, list(self.languages), asdict(self.prepare), code_hash(*files), fitted])

    def write(self, folder: Path, table: pd.DataFrame, meta: Json) -> None:
        """Cut, number, write; learn subwords from the training pairs first."""
        table = pairs.with_groups(table)
        models = self.models
        if self.prepare.tokens == "subword" and not models:
            rows, _ = split_pairs(table, self.split, self.folding, self.val_fraction)
            train = without_repeated(table, rows)[0] if self.loader.drop_duplicates else rows["train"]
            models = learn_subwords(table.iloc[train], self.prepare)
        odd = {name.removeprefix("num_").replace("_", " "): count for name, count in self.odd.items()}
        prepare(table, self.prepare, self.languages, models, folder, {**meta, "settings": asdict(self.prepare), "odd": odd})

    # -- what the data are ---------------------------------------------------------------------------------------------

    def assign_splits(self, prepared: Prepared) -> Rows:
        """Split, leave out what may not train, and fit the vocabularies on the training split."""
        self._open(prepared)
        rows, self.split_used = split_pairs(prepared.examples, self.split, self.folding, self.val_fraction)
        self.further = further_targets(prepared.examples, rows)
        train, self.in_two_splits = without_repeated(prepared.examples, rows)
        train = self._short_enough(prepared, train if self.loader.drop_duplicates else rows["train"])
        counts = [
            count_types(flat, offsets, train, len(self.types))
            for flat, offsets in ((prepared.values, prepared.offsets), (prepared.targets, prepared.target_offsets))
        ]
        if self.prepare.is_joint:
            counts = [counts[0] + counts[1]] * 2
        fitted = [fit_with_ends(self.types, each, self.loader.min_frequency, self.loader.max_size) for each in counts]
        (self.source_vocabulary, self.source_numbers), (self.target_vocabulary, self.target_numbers) = fitted
        return {**rows, "train": train}

    def _short_enough(self, prepared: Prepared, train: np.ndarray) -> np.ndarray:
        """Return the training rows that are not too long on either side."""
        most = self.loader.max_tokens
        longest = np.maximum(prepared.lengths, np.diff(prepared.target_offsets))[train]
        is_long = np.zeros(len(train), dtype=bool) if most is None else longest > most
        if len(train) and is_long.all():
            raise ValueError(
                f"data.loader.max_tokens={most} leaves out all {len(train):,} training pairs: the shortest has {longest.min()} "
                f"{self.prepare.tokens} tokens on its longer side. Raise it, or set it to null"
            )
        self.num_too_long = int(is_long.sum())
        return train[~is_long]

    def references(self, rows: np.ndarray) -> tuple[tuple[str, ...], ...]:
        """Return the texts that are right for each of these rows, its own target first."""
        texts = self.examples["target"].to_numpy(object)
        right = (dict.fromkeys([str(texts[row]), *self.further.get(int(row), ())]) for row in rows)
        return tuple(tuple(text.lower() if self.prepare.is_lower else text for text in of_row) for of_row in right)

    def setup_as_test(self, reader: InputReader) -> None:
        assert isinstance(reader, TranslationReader)
        self.models = reader.models
        self.prepared = self.ensure_prepared()
        self._open(self.prepared)
        self.source_vocabulary = self.target_vocabulary = Vocabulary(reader.source_vocabulary)
        if reader.target_vocabulary is not None:
            self.target_vocabulary = Vocabulary(reader.target_vocabulary)
        self.source_numbers, self.target_numbers = (
            encode(vocabulary, self.types).astype(np.int32) for vocabulary in (self.source_vocabulary, self.target_vocabulary)
        )
        self.split_used, self.further, self.in_two_splits, self.num_too_long = "all are test", {}, {}, 0
        self.take_all_as_test()

    def _open(self, prepared: Prepared) -> None:
        meta = prepared.meta_as(PairMeta)
        self.types, self.models = meta.types, [tokens.model_from_text(text) for text in meta.subwords]

    def make_spec(self) -> DataSpec:
        return DataSpec(
            name=self.name,
            input_kind="tokens",
            input_size=len(self.source_vocabulary),
            target_kind="tokens",
            target_size=len(self.target_vocabulary),
            label_names=self.target_vocabulary.words,
            feature_names=self.source_vocabulary.words,
            goal=self.goal,
            joined=joined(self.prepare, self.languages.target),
            target_language=self.languages.target,
            max_target_length=int(self.target_lengths[self.rows["train"]].max(initial=0)),
            is_joint=self.prepare.is_joint,
            can_copy=True,
        )

    def describe(self) -> list[tuple[str, str]]:
        known = {**self.data.meta_as(PairMeta).odd, **self.in_two_splits}
        odd = [f"{count:,} {name}" for name, count in known.items() if count]
        left_out = [f"{known[REPEATED]:,} seen in validation or test"] if known.get(REPEATED) and self.loader.drop_duplicates else []
        left_out += [f"{self.num_too_long:,} longer than {self.loader.max_tokens} tokens"] if self.num_too_long else []
        num_references = sum(map(len, self.references(self.rows["test"])))
        several = f" (test: {num_references:,} references)" if num_references > len(self.rows["test"]) else ""
        return [
            ("pairs", f"{len(self.examples):,}, {self.languages.source} to {self.languages.target}"),
            *((f"{side} tokens", self._lengths(side)) for side in ("source", "target")),
            ("split", self.split_used),
            ("", ", ".join(f"{split} {len(rows):,}" for split, rows in self.rows.items()) + several),
            ("vocabulary", self._sizes()),
            *((f"unknown {side}", self._unknown(side)) for side in ("source", "target")),
            ("left out", "; ".join(left_out) or "nothing"),
            ("odd", "; ".join(odd) or "nothing"),
        ]

    def _side(self, side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return one side's tokens, offsets, and numbers of types."""
        if side == "source":
            return self.data.values, self.data.offsets, self.source_numbers
        return self.data.targets, self.data.target_offsets, self.target_numbers

    def _lengths(self, side: str) -> str:
        lengths = np.diff(self._side(side)[1])
        return (
            f"{lengths.sum():,} ({self.prepare.tokens}), {lengths.min()} to {lengths.max():,} a sentence, median {np.median(lengths):.0f}"
        )

    def _sizes(self) -> str:
        sizes = [len(vocabulary) - len(SPECIALS) for vocabulary in (self.source_vocabulary, self.target_vocabulary)]
        words = f"{sizes[0]:,} tokens of both sides" if self.prepare.is_joint else f"{sizes[0]:,} source, {sizes[1]:,} target tokens"
        return f"{words}; {len(self.types):,} distinct in all"

    def _unknown(self, side: str) -> str:
        values, offsets, numbers = self._side(side)
        by_row = np.add.reduceat(numbers[values] == UNKNOWN, offsets[:-1], dtype=np.int64)
        lengths = np.diff(offsets)
        return ", ".join(f"{split} {by_row[rows].sum() / lengths[rows].sum():.2%}" for split, rows in self.rows.items() if len(rows))

    def reader(self) -> TranslationReader:
        source, target = self.source_vocabulary.words, None if self.prepare.is_joint else self.target_vocabulary.words
        models = tuple(tokens.model_to_text(model) for model in self.models)
        return TranslationReader(self.prepare, self.languages, self.loader.max_tokens, source, target, models)

    def shown(self, rows: np.ndarray) -> list[str]:
        texts = self.examples["source"].to_numpy(object)
        return [str(texts[row]) for row in rows]

    # -- batches -------------------------------------------------------------------------------------------------------

    def make_order(self, rows: np.ndarray, is_training: bool) -> BudgetOrder:
        """Put pairs of similar length together, under a budget of tokens that holds for either side."""
        lengths = np.maximum(self.lengths, self.target_lengths)[rows] + 1
        num_buckets = self.loader.num_buckets if is_training else 0
        return BudgetOrder(rows, lengths, self.loader.batch_size, self.loader.batch_tokens, self.seed, num_buckets)

    def collate(self, rows: np.ndarray, epoch: int, is_training: bool) -> Batch:
        """Return a padded batch; each input ends with `contracts.STOP`."""
        inputs = pad_tokens([self.source_tokens(row) for row in rows])
        batch = self.with_targets(*inputs, rows, is_training)
        batch.copies = self._copies(rows)
        return batch

    def _copies(self, rows: np.ndarray) -> Copies:
        inputs, targets, words, size = [], [], [], len(self.target_vocabulary)
        for row in rows:
            (start, end), (first, last) = self.data.offsets[row : row + 2], self.data.target_offsets[row : row + 2]
            source, target, known = self.data.values[start:end], self.data.targets[first:last], dict[int, int]()
            inputs.append(with_stop(copying.extend(source, self.target_numbers[source], known, size)))
            targets.append(copying.extend(target, self.target_numbers[target], known, size, is_target=True))
            words.append(tuple(self.types[number] for number in known))
        return copying.copies(inputs, targets, words)

    def source_tokens(self, row: int) -> np.ndarray:
        """Return one example's input, numbers of the source's vocabulary and `STOP`, (T,) int64."""
        start, end = self.data.offsets[row : row + 2]
        return with_stop(self.source_numbers[self.data.values[start:end]])


def with_stop(numbers: np.ndarray) -> np.ndarray:
    """Append `STOP`: an input is never empty, and its end is seen."""
    return np.append(numbers, STOP).astype(np.int64)


def encode(vocabulary: Vocabulary, words: Sequence[str]) -> np.ndarray:
    """Number tokens, (len(words),) int64; unseen ones are unknown, and what looks like a special word is, too."""
    numbers = vocabulary.encode(words)
    return np.where(numbers < len(SPECIALS), UNKNOWN, numbers)


def _warn(found: list[list[str]], rows: list[np.ndarray], most: int | None) -> None:
    """Tell what a model was not trained to read."""
    warn_unseen(word for words, row in zip(found, rows, strict=True) for word, number in zip(words, row, strict=True) if number == UNKNOWN)
    long = [number for number, words in enumerate(found, start=1) if most is not None and len(words) > most]
    if long:
        more = f" and {len(long) - 5} more" if len(long) > 5 else ""
        warn(f"longer than the {most} tokens of any training sentence: line {', '.join(map(str, long[:5]))}{more}")
