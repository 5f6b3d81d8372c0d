"""`data=tags`: sentences with a tag for each token: parts of speech, entities, slots, or the structure at each residue of a protein.

Preparation numbers tokens and tags, and fits nothing. The data module splits, fits vocabulary and alphabet on training sentences, and
batches: each token is its number in the vocabulary and its characters.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np
import pandas as pd
import torch

from rnnlab.config import Fraction, PositiveInt
from rnnlab.contracts import IGNORED_TARGET, UNKNOWN, Batch, DataSpec, Scheme, spans_of
from rnnlab.data import tokens
from rnnlab.data.base import SPLITS, Split, SplitData
from rnnlab.data.batches import BudgetOrder, ExampleRandom
from rnnlab.data.early import read_once
from rnnlab.data.files import OnBroken, natural_order
from rnnlab.data.hashing import code_hash, digest
from rnnlab.data.inputs import InputReader, InputTokens
from rnnlab.data.labelled import shortened
from rnnlab.data.prepared import Json, Prepared, write_flat
from rnnlab.data.sources.catalogue import TAGGED
from rnnlab.data.splits import Folding, assign_splits
from rnnlab.data.targets import count_types
from rnnlab.data.text import schemes, tagged
from rnnlab.data.text.schemes import num_without_begin, refuse_odd, scheme_of, written_as
from rnnlab.data.text.tagged import Column, TagColumns, find_sentences, hash_sentences
from rnnlab.data.text.tags_reader import TagReader, WordCoder, pad_words
from rnnlab.data.tokens import INPUT_SPECIALS, Vocabulary

MOST_UNKNOWN = 0.3
UNSCORED = ""
"""The tag of a token that is not scored."""


@dataclass(frozen=True)
class TagPrepare:
    """Say where the tags are and what they mean (`data.prepare`).

    Args:
        token_column, tag_column, delimiter, intent_column: see `TagColumns`.
        scheme: of the source's tags; `auto`: entities in BIO or BIOES where all tags look so, else plain.
        written_as: the scheme that is learned, `bio` or `bioes`; None: BIO of entities.
        on_broken: whether sentences that cannot be used are refused or left out.
    """

    token_column: Column
    tag_column: Column
    delimiter: str | None
    scheme: Literal["auto", "plain", "bio", "bioes"]
    written_as: Literal["bio", "bioes"] | None
    on_broken: OnBroken
    intent_column: str | None = None  # bundles made before it do not have it

    @property
    def columns(self) -> TagColumns:
        """Where a user's files keep what."""
        return TagColumns(self.token_column, self.tag_column, self.delimiter, self.intent_column)


@dataclass(frozen=True)
class TagLoader:
    """Say how sentences become batches (`data.loader`).

    Args:
        batch_size: most sentences in a batch.
        num_buckets: sentences of like length are batched together, in so many groups.
        min_frequency: rarer words of training are unknown; their characters stay.
        max_size: most words in the vocabulary (None: no limit).
        is_lower: whether words are looked up in lower case; characters keep their case.
        max_characters: of a word, half from both ends (0: words come without characters).
        max_tokens: longer training sentences are cut to so many (None: never); those of validation and test never are.
        drop_duplicates: leave out training sentences that are also in validation or test.
        word_dropout: fraction of training words that are made unknown, each time anew; their characters stay.
        vectors: a file of word vectors in GloVe's text format to begin with (None: none).
    """

    batch_size: PositiveInt
    num_buckets: PositiveInt
    min_frequency: PositiveInt
    max_size: PositiveInt | None
    is_lower: bool
    max_characters: int
    max_tokens: PositiveInt | None
    drop_duplicates: bool
    word_dropout: Fraction
    vectors: str | None


@dataclass(frozen=True)
class TagMeta:
    """Entries of `meta.json` that loading needs."""

    types: list[str]
    tags: list[str]
    scheme: Scheme
    odd: dict[str, int]


@final
@dataclass(eq=False, repr=False, kw_only=True)
class TagData(SplitData):
    """Give batches of tagged sentences.

    `source` is `ud_lines`, `wnut17`, `weibo_ner`, `snips`, `protein`, `sample`, or the path of a file or folder (see `tagged`).
    """

    group_column = "sentence"
    upstreams = TAGGED
    sample = "tags"

    prepare: TagPrepare
    loader: TagLoader
    with_intent: bool = False
    """Whether each sentence has a second target, a class of its own: its intent."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.loader.max_characters <= 100:
            raise ValueError(f"data.loader.max_characters={self.loader.max_characters}: give 0 (no characters) to 100, such as 24")

        self.first: InputTokens | None = None

    def begin_from(self, first: InputTokens) -> None:
        """Take the words of the run that this one begins from behind those of training."""
        self.first = first

    # -- where the data are --------------------------------------------------------------------------------------------

    def read_raw(self, raw: Path) -> pd.DataFrame:
        table, self.remarks = read_once(find_sentences, self.source, raw, self.prepare.columns, self.prepare.on_broken, self.with_intent)
        return table

    def hash_raw(self, table: pd.DataFrame) -> str:
        return hash_sentences(table)

    def prepared_key(self, source_hash: str) -> str:
        """Hash source, settings and code."""
        files = [Path(str(module.__file__)) for module in (tagged, schemes, tokens)] + [Path(__file__)]
        source = self.source if self.source in self.upstreams else ""
        return digest([source_hash, source, asdict(self.prepare), self.with_intent, code_hash(*files)])

    def write(self, folder: Path, table: pd.DataFrame, meta: Json) -> None:
        """Number tokens and tags, entities in the scheme that is learned."""
        given = self.prepare.scheme
        counts = Counter(tag for tags in table["tags"] for tag in tags)
        scheme = scheme_of(set(counts) - {UNSCORED}) if given == "auto" else given
        for tags, place in zip(table["tags"], table["place"], strict=True) if given != "auto" else ():
            for tag in tags:
                refuse_odd(tag, scheme, place)
        if scheme == "plain" and self.prepare.written_as is not None:
            raise ValueError(
                f"data.prepare.written_as={self.prepare.written_as} is for entities, but the tags of {self.source} mark none "
                f"({shortened(sorted(counts))}): leave it out"
            )
        learned: Scheme = scheme if scheme == "plain" else self.prepare.written_as or "bio"
        odd = (
            {"entities that begin with I- or E-, read as if with B-": sum(map(num_without_begin, table["tags"]))}
            if scheme != "plain"
            else {}
        )
        types, values, offsets = tokens.index(table["tokens"])
        tags, targets, target_offsets = tokens.index(written_as(row, learned) for row in table["tags"])
        hashes = [hashlib.sha256("\x1f".join(row).encode()).hexdigest()[:16] for row in table["tokens"]]
        examples = table[["id", "split", "intent"]].assign(sentence=hashes)
        more: Json = {"types": types, "tags": tags, "scheme": learned, "odd": odd, "settings": asdict(self.prepare)}
        write_flat(folder, values, offsets, examples, {**meta, **more}, (targets, target_offsets))

    # -- what the data are ---------------------------------------------------------------------------------------------

    def assign_splits(self, prepared: Prepared) -> dict[Split, np.ndarray]:
        """Split, and fit vocabulary and alphabet on training sentences."""
        self._open(prepared)
        examples = prepared.examples.assign(label="")
        kind, folding = "grouped" if self.split == "random" else self.split, Folding(0, 1, self.split_seed)
        rows, self.split_used = assign_splits(examples, kind, folding, self.val_fraction, self.group_column)
        contents = examples["sentence"].to_numpy(str)
        is_known = np.isin(contents[rows["train"]], contents[np.concatenate([rows["val"], rows["test"]])])
        self.num_repeated = int(is_known.sum())
        if self.loader.drop_duplicates:
            rows["train"] = rows["train"][~is_known]
        if not len(rows["train"]):
            raise ValueError("all training sentences are in validation or test, too: set data.loader.drop_duplicates=false, or give others")
        self._fit_words(count_types(prepared.values, prepared.offsets, rows["train"], len(self.types)))
        counts = count_types(prepared.targets, prepared.target_offsets, rows["train"], len(self.tags))
        self._name_tags(counts)
        self._name_intents(examples["intent"], rows["train"])
        return rows

    def _open(self, prepared: Prepared) -> None:
        meta = prepared.meta_as(TagMeta)
        self.types, self.tags, self.scheme, self.odd = meta.types, meta.tags, meta.scheme, meta.odd
        self.is_by_character = all(len(token) == 1 for token in self.types)

    def _fit_words(self, counts: np.ndarray) -> None:
        """Fit on how often each type occurs in training."""
        forms = [token.lower() if self.loader.is_lower else token for token in self.types]
        distinct = {form: number for number, form in enumerate(dict.fromkeys(forms))}
        of_form = np.bincount([distinct[form] for form in forms], counts, len(distinct)).astype(np.int64)
        self.is_new = np.array([of_form[distinct[form]] == 0 for form in forms])
        vocabulary, _ = Vocabulary.fit(list(distinct), of_form, self.loader.min_frequency, self.loader.max_size)
        self.num_own = len(vocabulary)
        if self.first is not None:
            self.first.refuse_other("char" if self.is_by_character else "word")
            vocabulary = vocabulary.joined(word for word in self.first.words if not self.loader.is_lower or word == word.lower())
        letters: Counter[str] = Counter()
        for token, count in zip(self.types, counts.tolist(), strict=True):
            letters.update(dict.fromkeys(token, count))
        alphabet = tuple(sorted((letter for letter, count in letters.items() if count), key=lambda letter: (-letters[letter], letter)))
        self._take_words(WordCoder(vocabulary.words, (*INPUT_SPECIALS, *alphabet), self.loader.is_lower, self.loader.max_characters))

    def _take_words(self, words: WordCoder) -> None:
        self.words = words
        self.coded = words.numbers(self.types).astype(np.int32)

    def _name_tags(self, counts: np.ndarray) -> None:
        """Number the tags: those of training by name, behind them those that training lacks, which are never predicted right."""
        names = sorted((number for number, tag in enumerate(self.tags) if tag), key=lambda n: (counts[n] == 0, natural_order(self.tags[n])))
        self.label_names = tuple(self.tags[number] for number in names)
        self.class_counts = tuple(int(counts[number]) for number in names)
        self._number_tags()

    def _name_intents(self, given: pd.Series, train: np.ndarray) -> None:
        """Number the intents: those of training by name, behind them those that training lacks."""
        counts = Counter(given.iloc[train]) if self.with_intent else Counter[str]()
        names = sorted(set(given), key=lambda name: (counts[name] == 0, natural_order(name))) if self.with_intent else []
        self.intents, self.intent_counts = tuple(names), tuple(counts[name] for name in names)
        if self.with_intent and len(names) < 2:
            raise ValueError(
                f"data.with_intent=true: all sentences have the intent {names[0]!r}, so that there is nothing to tell apart: leave it out"
            )
        self._number_intents(given)

    def _number_intents(self, given: pd.Series) -> None:
        number = {name: place for place, name in enumerate(self.intents)}
        self.intent_numbers = given.map(number).to_numpy(np.int64) if self.with_intent else np.zeros(0, dtype=np.int64)

    def _number_tags(self) -> None:
        number = {name: place for place, name in enumerate(self.label_names)}
        self.tag_numbers = np.array([number.get(tag, IGNORED_TARGET) for tag in self.tags], dtype=np.int64)

    def setup_as_test(self, reader: InputReader) -> None:
        assert isinstance(reader, TagReader)
        self.prepared = self.ensure_prepared()
        self._open(self.prepared)
        if unknown := sorted(set(self.tags) - {UNSCORED} - set(reader.label_names)):
            raise ValueError(
                f"data.source={self.source} has the tag {unknown[0]!r} ({len(unknown)} such), which the run never learned; it knows: "
                + ", ".join(reader.label_names)
            )
        self.label_names, self.class_counts, self.num_repeated = reader.label_names, (), 0
        self.is_by_character = reader.is_by_character
        self._number_tags()
        self.intents, self.intent_counts = reader.intents, ()
        if unknown := sorted(set(self.prepared.examples["intent"]) - set(self.intents)) if self.with_intent else []:
            raise ValueError(
                f"data.source={self.source} has the intent {unknown[0]!r}, which the run never learned; it knows: {', '.join(self.intents)}"
            )
        self._number_intents(self.prepared.examples["intent"])
        self._take_words(reader.words)
        self.is_new = self.coded[:, 0] == UNKNOWN
        self.take_all_as_test()

    def make_spec(self) -> DataSpec:
        return DataSpec(
            name=self.name,
            input_kind="tokens",
            input_size=len(self.words.vocabulary),
            target_kind="class_per_step",
            target_size=len(self.label_names),
            label_names=self.label_names,
            class_counts=self.class_counts,
            scheme=self.scheme,
            num_characters=len(self.words.alphabet) if self.loader.max_characters else 0,
            intents=self.intents,
            intent_counts=self.intent_counts,
        )

    def targets(self, rows: np.ndarray) -> list[object]:
        """Return the tags of these sentences, entities always in BIO, so that runs in another scheme compare; with the intent, if any."""
        tags = [written_as(self._tags(row), "plain" if self.scheme == "plain" else "bio") for row in rows]
        return [[row, intent] for row, intent in zip(tags, self._intents(rows), strict=True)] if self.with_intent else [*tags]

    def _intents(self, rows: np.ndarray) -> list[str]:
        return [self.intents[number] for number in self.intent_numbers[rows]]

    def _tags(self, row: int) -> list[str]:
        start, end = self.data.target_offsets[row : row + 2]
        return [self.tags[number] for number in self.data.targets[start:end]]

    def _tokens(self, row: int) -> list[str]:
        start, end = self.data.offsets[row : row + 2]
        return [self.types[number] for number in self.data.values[start:end]]

    def input_vectors(self) -> np.ndarray | None:
        """Read the word vectors to begin with, rows of NaN for words that have none; say how many have one."""
        if self.loader.vectors is None:
            return None
        try:
            vectors, counts = tokens.read_vectors(Path(self.loader.vectors).expanduser(), self.words.vocabulary)
        except ValueError as error:
            raise ValueError(f"data.loader.vectors={self.loader.vectors}: {error}") from None
        found = counts["num_found"] + counts["num_found_lower"]
        words = f"{found:,} of {len(self.words.vocabulary):,} words have one, {vectors.shape[1]} numbers each"
        self.console.print(f"  vectors       {words}", highlight=False)
        return vectors

    def describe(self) -> list[tuple[str, str]]:
        lengths = self.data.lengths
        per_tag = sorted(zip(self.label_names, self.class_counts, strict=False), key=lambda pair: -pair[1])
        found = [
            ("sentences", f"{len(self.examples):,}, {lengths.sum():,} tokens, {lengths.min()} to {lengths.max():,} each"),
            ("tags", f"{self.scheme}, {len(self.label_names)}: {shortened([f'{name} ({count:,})' for name, count in per_tag])}"),
            ("split", self.split_used),
            ("", ", ".join(f"{split} {len(rows):,}" for split, rows in self.rows.items())),
            (
                "vocabulary",
                f"{self.num_own - len(INPUT_SPECIALS):,} words{self._more()}, {len(self.words.alphabet) - len(INPUT_SPECIALS)} characters; "
                f"words that training lacks: {', '.join(f'{split} {self._new(split):.1%}' for split in ('val', 'test'))}",
            ),
        ]
        if self.scheme != "plain":
            counts = (sum(len(spans_of(self._tags(row))) for row in self.rows[split]) for split in SPLITS)
            found.append(("entities", ", ".join(f"{split} {count:,}" for split, count in zip(SPLITS, counts, strict=True))))
        if self.with_intent:
            each = [f"{name} ({count:,})" for name, count in zip(self.intents, self.intent_counts, strict=False)]
            found.append(("intents", f"{len(self.intents)}: {shortened(each)}"))
        return found + [("look at", words) for words in self._look_at()]

    def _more(self) -> str:
        """Say how many words the vocabulary has from the run that this one begins from."""
        return f" and {len(self.words.vocabulary) - self.num_own:,} more of init_from's" if self.first else ""

    def _new(self, split: str) -> float:
        rows = self.rows["val" if split == "val" else "test"]
        by_sentence = np.add.reduceat(self.is_new[self.data.values], self.data.offsets[:-1], dtype=np.int64)
        return float(by_sentence[rows].sum() / max(1, self.data.lengths[rows].sum()))

    def _look_at(self) -> Sequence[str]:
        """Say what a person may not expect of these data."""
        found = [f"{count:,} {what}" for what, count in self.odd.items() if count]
        if never := [name for name, count in zip(self.label_names, self.class_counts, strict=False) if not count]:
            found.append(f"tags that training lacks, so that no model can learn them: {shortened(never)}")
        if never := [name for name, count in zip(self.intents, self.intent_counts, strict=False) if not count]:
            found.append(f"intents that training lacks, so that no model can learn them: {shortened(never)}")
        if self.num_repeated:
            left = " and were left out" if self.loader.drop_duplicates else " (leave them out: data.loader.drop_duplicates=true)"
            found.append(f"{self.num_repeated:,} training sentences are in validation or test, too{left}")
        most = self.loader.max_tokens
        if most and (num_cut := int((self.data.lengths[self.rows["train"]] > most).sum())):
            found.append(f"{num_cut:,} training sentences are longer than data.loader.max_tokens={most} and are cut; others never are")
        return found

    def notes(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return of each scored token whether training lacks its word, as lists."""
        found = np.empty(len(rows), dtype=object)
        for place, row in enumerate(rows):
            start, end = self.data.offsets[row : row + 2]
            is_scored = self.tag_numbers[self.data.targets[start:end]] != IGNORED_TARGET
            found[place] = self.is_new[self.data.values[start:end]][is_scored].tolist()
        return {"is_new_word": found}

    def reader(self) -> TagReader:
        return TagReader(self.words, self.prepare.columns, self.is_by_character, self.label_names, self.intents)

    def shown(self, rows: np.ndarray) -> list[str]:
        """Return these sentences, blanks between the tokens unless each is a character."""
        return [("" if self.is_by_character else " ").join(self._tokens(row)) for row in rows]

    # -- batches -------------------------------------------------------------------------------------------------------

    def make_order(self, rows: np.ndarray, is_training: bool) -> BudgetOrder:
        lengths = self.data.lengths[rows]
        most = int(lengths.max(initial=1)) * self.loader.batch_size
        return BudgetOrder(rows, lengths, self.loader.batch_size, most, self.seed, self.loader.num_buckets if is_training else 0)

    def collate(self, rows: np.ndarray, epoch: int, is_training: bool) -> Batch:
        """Return a padded batch; while training, long sentences are cut and some words are made unknown."""
        most = self.loader.max_tokens if is_training else None
        places = [
            (start, end if most is None else min(end, start + most)) for start, end in (self.data.offsets[row : row + 2] for row in rows)
        ]
        inputs, lengths_B = pad_words([self.coded[self.data.values[start:end]] for start, end in places])
        targets_BT = torch.full((len(rows), int(lengths_B.max())), IGNORED_TARGET)
        for place, (start, end) in enumerate(places):
            targets_BT[place, : end - start] = torch.from_numpy(self.tag_numbers[self.data.targets[start:end]])
        if is_training and self.loader.word_dropout:
            is_dropped = ExampleRandom(self.seed, epoch, rows).uniform(inputs.shape[1]) < self.loader.word_dropout
            words_BT = inputs if inputs.ndim == 2 else inputs[..., 0]
            words_BT[is_dropped & (words_BT != 0)] = UNKNOWN
        intents_B = torch.from_numpy(self.intent_numbers[rows]) if self.with_intent else None
        return Batch(inputs, lengths_B, targets_BT, lengths_B.clone(), torch.from_numpy(np.asarray(rows)), intents=intents_B)
