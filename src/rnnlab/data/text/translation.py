"""`data=translation`: pairs of sentences, from a named set, the bundled sample, or aligned files and tables of one's own.

Preparation (above) cuts both sides into tokens and numbers every distinct one; nothing is fitted in it, except where subwords are learned,
and then from training pairs alone. The data module (below) splits, fits the vocabularies on training pairs and batches.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from rich.progress import track

from rnnlab.config import PositiveInt
from rnnlab.contracts import SPECIALS, UNKNOWN, Batch, Copies, DataSpec
from rnnlab.data import tokens
from rnnlab.data.base import FoldedData
from rnnlab.data.batches import BudgetOrder
from rnnlab.data.early import read_once
from rnnlab.data.hashing import code_hash, digest
from rnnlab.data.inputs import InputReader
from rnnlab.data.prepared import Json, Prepared, write_flat
from rnnlab.data.sources.catalogue import PAIRS
from rnnlab.data.targets import TokenTargets, count_types, fit_with_ends, pad_tokens
from rnnlab.data.text import copying, known_pairs, pair_files, pair_splits, pairs, translation_reader, translation_source
from rnnlab.data.text.pair_files import Languages
from rnnlab.data.text.pair_splits import REPEATED, PairSplit, Rows, further_targets, split_pairs, with_groups, without_repeated
from rnnlab.data.text.translation_reader import PairPrepare, TranslationReader, cut, encode, joined, with_stop
from rnnlab.data.tokens import Vocabulary, index


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


LONGER = "num_summaries_longer_than_their_texts"


def _num_words(texts: pd.Series) -> np.ndarray:
    return np.array([len(text.split()) for text in texts], dtype=np.int64)


def learn_subwords(train: pd.DataFrame, settings: PairPrepare) -> list[bytes]:
    """Learn one model of both sides, or one of each, from training pairs; fewer pieces than asked for will do where texts are few."""
    sides = [chain(train["source"], train["target"])] if settings.is_joint else [train["source"], train["target"]]
    return [
        tokens.train_subwords(
            (text.lower() if settings.is_lower else text for text in side), settings.subword_size, is_normalised=False, is_limit=True
        )
        for side in sides
    ]


@dataclass(frozen=True)
class PairMeta:
    """Entries of `meta.json` that loading needs."""

    types: list[str]
    subwords: list[str]
    odd: dict[str, int]


@dataclass(eq=False, repr=False, kw_only=True)
class TranslationData(FoldedData, TokenTargets):
    """Give batches of pairs of sentences.

    `source` is `multi30k`, `cmn_eng`, a set of summaries (`scitldr`, `ag_titles`), `sample`, or a path: a folder of `train.en`, `train.de`,
    ..., what two aligned files begin with, or a table.
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
        if self.goal == "summarise" and (num_longer := int((_num_words(table["target"]) > _num_words(table["source"])).sum())):
            self.odd[LONGER] = num_longer
            share = f"{num_longer:,} of {len(table):,} summaries"
            self.remarks.append(f"{share} have more words than their texts: are the columns the right way round?")
        return table

    def hash_raw(self, table: pd.DataFrame) -> str:
        return pairs.hash_pairs(table)

    def prepared_key(self, source_hash: str) -> str:
        """Hash source, languages, settings, code; for subwords also the split that they are learned from, or the models that are given."""
        modules = (pairs, known_pairs, pair_files, pair_splits, translation_reader, tokens)
        files = [Path(str(module.__file__)) for module in modules] + [Path(__file__)]
        fitted: list[object] = []
        if self.prepare.tokens == "subword":
            given = [hashlib.sha256(model).hexdigest() for model in self.models]
            fitted = [self.split, self.split_seed, self.val_fraction, self.loader.drop_duplicates, given]
            fitted += [self.fold, self.num_folds] if self.split == "kfold" else []
        source = self.source if self.source in self.upstreams else ""
        return digest([source_hash, source, list(self.languages), asdict(self.prepare), code_hash(*files), fitted])

    def write(self, folder: Path, table: pd.DataFrame, meta: Json) -> None:
        """Cut, number, write; learn subwords from the training pairs first."""
        table = with_groups(table)
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
        self.split_used, self.in_two_splits, self.num_too_long = "all are test", {}, 0
        # Of several summaries of a text the first is the example, the others are references.
        rows = np.flatnonzero(pair_splits.is_first(self.examples)) if self.goal == "summarise" else None
        self.take_all_as_test(rows)
        self.further = {} if rows is None else further_targets(self.examples, self.rows)

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
            inputs.append(with_stop(copying.extend(source.tolist(), self.target_numbers[source], known, size)))
            targets.append(copying.extend(target.tolist(), self.target_numbers[target], known, size, is_target=True))
            words.append(tuple(self.types[number] for number in known))
        return copying.copies(inputs, targets, words)

    def source_tokens(self, row: int) -> np.ndarray:
        """Return one example's input, numbers of the source's vocabulary and `STOP`, (T,) int64."""
        start, end = self.data.offsets[row : row + 2]
        return with_stop(self.source_numbers[self.data.values[start:end]])
