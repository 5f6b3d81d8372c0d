"""`data=pronunciation`: the letters of a word to its phones, from CMUdict, the bundled sample, or a dictionary or table of one's own.

Preparation (above) numbers letters and phones; nothing is fitted in it. The data module (below) splits by word, fits vocabularies on
training words, and batches. In training each pronunciation is an example; in validation and test each word is, and all of them are right.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np
import pandas as pd

from rnnlab.config import NonNegativeInt, PositiveInt
from rnnlab.contracts import SPECIALS, STOP, UNKNOWN, Batch, DataSpec
from rnnlab.data import tokens
from rnnlab.data.base import SPLITS, Split
from rnnlab.data.batches import BudgetOrder
from rnnlab.data.early import read_once
from rnnlab.data.files import OnBroken, ending
from rnnlab.data.hashing import code_hash, digest
from rnnlab.data.inputs import InputReader, WrittenReader, tell, untold_batch
from rnnlab.data.labelled import shortened
from rnnlab.data.prepared import Json, Prepared, write_flat
from rnnlab.data.sources.catalogue import DICTIONARIES
from rnnlab.data.splits import DEFAULT_FOLDS, Folding, in_folds
from rnnlab.data.tables import TABLE_SUFFIXES
from rnnlab.data.targets import TokenTargets, count_types, fit_with_ends, pad_tokens, warn_unseen
from rnnlab.data.text import dictionaries
from rnnlab.data.text.dictionaries import WORD_NAMES, clean_word, file_of, find_pronunciations, from_dictionary
from rnnlab.data.tokens import Vocabulary, index

MOST_SHARE = 10  # one word in so many is validation, one is test, at most


@dataclass(frozen=True)
class PronunciationPrepare:
    """Say what a phone is (`data.prepare`).

    Args:
        has_stress: whether the digit at the end of a vowel stays: AA0, AA1 and AA2, or AA.
        on_broken: whether lines that are no word with phones are refused (`raise`), or left out and counted (`skip`).
    """

    has_stress: bool
    on_broken: OnBroken


@dataclass(frozen=True)
class PronunciationLoader:
    """Say how words become batches (`data.loader`).

    Args:
        batch_size: most words in a batch.
        batch_tokens: most letters, or phones, in a batch, padding included.
        num_buckets: words of similar length are batched together, in so many groups.
    """

    batch_size: PositiveInt
    batch_tokens: PositiveInt
    num_buckets: PositiveInt


# Preparing


def distinct(table: pd.DataFrame, has_stress: bool) -> tuple[pd.DataFrame, int]:
    """Take stress off, leave out pronunciations that a word already has, and name the rest.

    Returns:
        One row a pronunciation: id (`word`, `word(2)`, ... by what is left), word, target, split; and how many were left out.
    """
    targets = table["target"] if has_stress else table["target"].str.replace(r"[0-9](?= |$)", "", regex=True)
    kept = table.assign(target=targets).drop_duplicates(["word", "target"]).reset_index(drop=True)
    place = kept.groupby("word").cumcount() + 1
    ids = kept["word"].where(place == 1, kept["word"] + "(" + place.astype("str") + ")")
    return kept.assign(id=ids)[["id", "word", "target", "split"]], len(table) - len(kept)


def prepare(table: pd.DataFrame, settings: PronunciationPrepare, folder: Path, meta: Json) -> None:
    """Number letters and phones, and write a prepared folder."""
    examples, num_dropped = distinct(table, settings.has_stress)
    types, values, offsets = index(list(word) for word in examples["word"])
    target_types, targets, target_offsets = index(target.split() for target in examples["target"])
    found: Json = {"types": types, "target_types": target_types, "num_dropped": num_dropped, "settings": asdict(settings)}
    write_flat(folder, values, offsets, examples, {**meta, **found}, (targets, target_offsets))


# Splitting


def by_hash(words: np.ndarray) -> np.ndarray:
    """Return the places of these (distinct) words in the order of the SHA-256 of their lower-cased UTF-8."""
    hashes = [hashlib.sha256(word.lower().encode()).hexdigest() for word in words]
    return np.argsort(hashes, kind="stable")


def split_words(examples: pd.DataFrame, test_words: int, val_words: int) -> tuple[dict[Split, np.ndarray], str]:
    """Split by word: as the source says, else those with the smallest hash are test, those that follow validation.

    Returns:
        Sorted rows, in training of every pronunciation, else of each word's first; and in words what was done.

    Raises:
        ValueError: where the source names other words but none of test, or there are too few to split.
    """
    first = examples.drop_duplicates("word")
    words, given = first["word"].to_numpy(object), first["split"].to_numpy(str)
    splits = np.where(given == "", "train", given).astype("<U5")
    if not (is_given := bool((given == "test").any())) and (given != "").any():
        raise ValueError("the source has a `split` column but names no test words: add some, or remove the column")
    if len(words) < 3:
        raise ValueError(f"{len(words)} words are too few: one each is needed for training, validation and test")
    most = max(1, len(words) // MOST_SHARE)
    if not is_given:
        order = by_hash(words)
        num_test, num_val = min(test_words, most), min(val_words, most)
        splits[order[:num_test]], splits[order[num_test : num_test + num_val]] = "test", "val"
        how = f"by hash of the word: the {num_test:,} with the smallest are test, the next {num_val:,} validation"
    elif (given == "val").any():
        how = "official (train, val and test as given)"
    else:
        left = np.flatnonzero(splits == "train")
        num_val = min(val_words, max(1, len(left) // MOST_SHARE))
        splits[left[by_hash(words[left])[:num_val]]] = "val"
        how = f"official test; validation is the {num_val:,} other words with the smallest hash"
    return _rows_of(examples, dict(zip(words, splits, strict=True))), how


def folds_of_words(examples: pd.DataFrame, folding: Folding) -> tuple[dict[Split, np.ndarray], str]:
    """Divide words into folds, whatever the source says; words that differ by case only stay together."""
    first = examples.drop_duplicates("word").reset_index(drop=True)
    rows, how = in_folds(first.assign(label="", none="", content=first["word"].str.lower()), folding, "none")
    return _rows_of(examples, {word: split for split, part in rows.items() for word in first["word"].iloc[part]}), how


def _rows_of(examples: pd.DataFrame, splits: dict[str, str]) -> dict[Split, np.ndarray]:
    """Return the rows of each split, in training of every pronunciation, else of each word's first."""
    of_row = examples["word"].map(splits).to_numpy(str)
    of_row[examples.duplicated("word").to_numpy() & (of_row != "train")] = ""
    return {split: np.flatnonzero(of_row == split) for split in SPLITS}


@dataclass(frozen=True)
class PronunciationReader(WrittenReader):
    """Read words as the run did that made this: `vocabulary` holds the letters, `label_names` the phones."""

    kind = "pronunciation"
    example = 'text="word"'
    usual_columns = ("word", *WORD_NAMES)

    prepare: PronunciationPrepare
    vocabulary: tuple[str, ...]
    label_names: tuple[str, ...]

    @property
    def input_words(self) -> tuple[str, ...]:
        return self.vocabulary

    def read_folder(self, folder: Path) -> list[str]:
        return self.read_file(file_of(folder))

    def read_file(self, file: Path) -> list[str]:
        """Return the words of a file: of a table its column, of a dictionary in CMUdict's format what stands before the phones."""
        if ending(file) not in TABLE_SUFFIXES and (words := self._entries(file)):
            tell(f"{file} is read as a pronouncing dictionary: the phones after each word are passed over")
            return words
        return super().read_file(file)

    def _entries(self, file: Path) -> list[str]:
        """Return the words of a dictionary; none where a line has no phones, or the run knows less than half of all."""
        try:
            entries = list(from_dictionary(file))
        except ValueError:
            return []
        phones = [phone if self.prepare.has_stress else phone.rstrip("012") for entry in entries for phone in entry.phones]
        is_known = [phone in self.label_names for phone in phones]
        return [entry.word for entry in entries] if all(entry.phones for entry in entries) and 2 * sum(is_known) >= len(phones) else []

    def fault(self, item: str | bytes) -> str:
        return "" if clean_word(str(item)) else "it is empty"

    def read(self, inputs: Sequence[str | bytes]) -> tuple[list[str], Batch]:
        """Turn words into a batch; name its rows. Tell on stderr which letters the run never saw.

        Raises:
            ValueError: for an empty word.
        """
        words = [clean_word(str(word)) for word in inputs]
        if "" in words:
            raise ValueError(f"word {words.index('') + 1} of {len(words)} is empty: leave it out")
        vocabulary = Vocabulary(self.vocabulary)
        warn_unseen(letter for word in words for letter in word if letter not in vocabulary.words)
        return words, untold_batch(*pad_tokens([np.append(vocabulary.encode(list(word)), STOP) for word in words]))


@dataclass(frozen=True)
class PronunciationMeta:
    """Entries of `meta.json` that loading needs."""

    types: list[str]
    target_types: list[str]
    num_dropped: int


@final
@dataclass(eq=False, repr=False, kw_only=True)
class PronunciationData(TokenTargets):
    """Give batches of words and their pronunciations.

    `source` is `cmudict`, `sample`, or the path of a file in CMUdict's format or of a table with the columns word and pronunciation.
    """

    group_column = "word"
    upstreams = DICTIONARIES
    sample = "pronunciation"
    more_steps = "Set frontend.repeats higher"

    test_words: PositiveInt
    """How many words are test where the source does not say, a tenth of all at most."""
    val_words: PositiveInt
    """How many words are validation, likewise."""
    split: Literal["auto", "kfold"] = "auto"
    """`auto` (as the source says, else by the hash of the word) or `kfold`; bundles made before there were folds have none of these."""
    num_folds: PositiveInt = DEFAULT_FOLDS
    """Into how many parts `kfold` divides the words."""
    fold: NonNegativeInt = 0
    """Which part is test, the next one is validation."""
    split_seed: int = 0
    """Seed of the division into folds."""
    prepare: PronunciationPrepare
    loader: PronunciationLoader

    # -- where the data are --------------------------------------------------------------------------------------------

    def read_raw(self, raw: Path) -> pd.DataFrame:
        table, self.remarks = read_once(find_pronunciations, raw, self.prepare.on_broken)
        return table

    def hash_raw(self, table: pd.DataFrame) -> str:
        return digest([table[name].tolist() for name in ("word", "target", "split")])

    def prepared_key(self, source_hash: str) -> str:
        files = [Path(str(module.__file__)) for module in (tokens, dictionaries)] + [Path(__file__)]
        return digest([source_hash, asdict(self.prepare), code_hash(*files)])

    def write(self, folder: Path, table: pd.DataFrame, meta: Json) -> None:
        prepare(table, self.prepare, folder, meta)

    # -- what the data are ---------------------------------------------------------------------------------------------

    def assign_splits(self, prepared: Prepared) -> dict[Split, np.ndarray]:
        """Split by word, and fit both vocabularies on the training split."""
        self._open(prepared)
        rows, self.split_used = (
            folds_of_words(prepared.examples, Folding(self.fold, self.num_folds, self.split_seed))
            if self.split == "kfold"
            else split_words(prepared.examples, self.test_words, self.val_words)
        )
        counts = count_types(prepared.values, prepared.offsets, rows["train"], len(self.types))
        self.vocabulary, self.numbers = fit_with_ends(self.types, counts, 1, None)
        target_counts = count_types(prepared.targets, prepared.target_offsets, rows["train"], len(self.target_types))
        self.target_vocabulary, self.target_numbers = fit_with_ends(self.target_types, target_counts, 1, None)
        return rows

    def setup_as_test(self, reader: InputReader) -> None:
        assert isinstance(reader, PronunciationReader)
        self.prepared = self.ensure_prepared()
        self._open(self.prepared)
        self.vocabulary, self.target_vocabulary = Vocabulary(reader.vocabulary), Vocabulary(reader.label_names)
        self.numbers = self.vocabulary.encode(self.types).astype(np.int32)
        self.target_numbers = self.target_vocabulary.encode(self.target_types).astype(np.int32)
        self.take_all_as_test(np.flatnonzero(~self.examples.duplicated("word").to_numpy()))

    def _open(self, prepared: Prepared) -> None:
        meta = prepared.meta_as(PronunciationMeta)
        self.types, self.target_types, self.num_dropped = meta.types, meta.target_types, meta.num_dropped
        self.answers: dict[str, tuple[str, ...]] = {}
        for word, target in zip(prepared.examples["word"].tolist(), prepared.examples["target"].tolist(), strict=True):
            self.answers[word] = (*self.answers.get(word, ()), target)

    @property
    def lengths(self) -> np.ndarray:
        """Letters of each example, the stop counted, (N,) int64."""
        return self.data.lengths + 1

    def references(self, rows: np.ndarray) -> tuple[tuple[str, ...], ...]:
        """Return all pronunciations of the words of these rows."""
        return tuple(self.answers[word] for word in self.examples["word"].iloc[rows])

    def make_spec(self) -> DataSpec:
        return DataSpec(
            name=self.name,
            input_kind="tokens",
            input_size=len(self.vocabulary),
            target_kind="tokens",
            target_size=len(self.target_vocabulary),
            label_names=self.target_vocabulary.words,
            feature_names=self.vocabulary.words,
            goal="pronounce",
            max_target_length=int(self.target_lengths[self.rows["train"]].max(initial=0)),
            is_monotonic=True,
        )

    def describe(self) -> list[tuple[str, str]]:
        each = {"letters": self.data.lengths, "phones": self.target_lengths}
        several = sum(len(answers) > 1 for answers in self.answers.values())
        sizes = (f"{split} {len(rows):,} {'pronunciations' if split == 'train' else 'words'}" for split, rows in self.rows.items())
        return [
            ("words", f"{len(self.answers):,}, {len(self.examples):,} pronunciations; {several:,} words have several"),
            *((f"{name} each", f"{num.min()} to {num.max()}, median {np.median(num):.0f}") for name, num in each.items()),
            ("split", self.split_used or "all of them as test"),
            ("", ", ".join(sizes)),
            ("letters", shortened(list(self.vocabulary.words[len(SPECIALS) :]), 40)),
            ("phones", shortened(list(self.target_vocabulary.words[len(SPECIALS) :]), 40)),
            ("odd", "; ".join(self._odd()) or "nothing"),
        ]

    def _odd(self) -> Iterator[str]:
        if self.num_dropped:
            yield f"{self.num_dropped:,} pronunciations that their word already has (left out)"
        for what, types, numbers in (("letters", self.types, self.numbers), ("phones", self.target_types, self.target_numbers)):
            if unseen := [types[place] for place in np.flatnonzero(numbers == UNKNOWN)]:
                yield f"{what} never seen in training: {shortened(unseen)}"

    def reader(self) -> PronunciationReader:
        return PronunciationReader(self.prepare, self.vocabulary.words, self.target_vocabulary.words)

    def shown(self, rows: np.ndarray) -> list[str]:
        return [str(word) for word in self.examples["word"].iloc[rows]]

    # -- batches -------------------------------------------------------------------------------------------------------

    def make_order(self, rows: np.ndarray, is_training: bool) -> BudgetOrder:
        lengths = np.maximum(self.lengths, self.target_lengths)[rows]
        num_buckets = self.loader.num_buckets if is_training else 0
        return BudgetOrder(rows, lengths, self.loader.batch_size, self.loader.batch_tokens, self.seed, num_buckets)

    def collate(self, rows: np.ndarray, epoch: int, is_training: bool) -> Batch:
        """Return a padded batch; inputs end with `contracts.STOP`."""
        places = zip(self.data.offsets[rows], self.data.offsets[rows + 1], strict=True)
        inputs = pad_tokens([np.append(self.numbers[self.data.values[start:end]], STOP) for start, end in places])
        return self.with_targets(*inputs, rows, is_training)
