"""`data=language`: running text of which each token is to be told from those before it, by characters, words or subwords.

Training reads `batch_size` streams side by side, each a stretch of the text, `tbptt_steps` tokens at a time; a network goes on from the
state that it had (truncated backpropagation through time). Validation and test are read likewise, in streams and blocks whose sizes do
not depend on those of training, so that results compare. Preparation fits nothing but subwords, on training text.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, final

import numpy as np
import pandas as pd
import torch

from rnnlab.config import PositiveInt
from rnnlab.contracts import IGNORED_TARGET, UNKNOWN, Batch, DataSpec
from rnnlab.data import tokens
from rnnlab.data.base import SPLITS, Split
from rnnlab.data.early import read_once
from rnnlab.data.files import OnBroken
from rnnlab.data.hashing import code_hash, digest
from rnnlab.data.inputs import InputReader
from rnnlab.data.prepared import Json, Prepared, write_flat
from rnnlab.data.sources.catalogue import RUNNING_TEXTS
from rnnlab.data.streams import RunningText, StreamOrder
from rnnlab.data.text import cutting, documents
from rnnlab.data.text.cutting import END, JOINED, Cutter, Unit
from rnnlab.data.text.documents import (
    DocumentColumns,
    find_documents,
    hash_documents,
    hash_text,
    split_documents,
)
from rnnlab.data.text.language_reader import LanguageReader
from rnnlab.data.tokens import INPUT_SPECIALS, Vocabulary

BLOCK_STEPS = 256
"""Tokens in a block of validation and test."""
STREAM_STEPS, MOST_STREAMS = 5_000, 8
"""Validation and test are read in a stream for each so many tokens, at most so many side by side."""
MOST_UNKNOWN = 0.05
NUM_PROMPT = 20
"""Tokens of the validation text that samples go on from."""
BLOCKS_TOGETHER = 8
"""Blocks of a single text that are resampled as one, since neighbours are alike."""


@dataclass(frozen=True)
class LanguagePrepare:
    """Say how text becomes tokens (`data.prepare`).

    Args:
        text_column: of a user's tables; while it is `text`, other usual names are recognised.
        split_column: its name; None for a usual one where there is one.
        delimiter, quoting: of a user's tables, see `TextColumns`.
        tokens: `char`, `word`, `text_word` or `subword`; see `Cutter`.
        splits_punctuation: of words, whether punctuation marks are tokens of their own.
        subword_size: pieces at most.
        is_lower: whether letters become lower case.
        on_broken: whether empty documents are refused or left out.
    """

    text_column: str
    split_column: str | None
    delimiter: str | None
    quoting: Literal["none", "csv"] | None
    tokens: Unit
    splits_punctuation: bool
    subword_size: PositiveInt
    is_lower: bool
    on_broken: OnBroken

    @property
    def columns(self) -> DocumentColumns:
        """Where a user's tables keep what."""
        return DocumentColumns(self.text_column, self.split_column, self.delimiter, self.quoting)


@dataclass(frozen=True)
class LanguageLoader:
    """Say how tokens become batches (`data.loader`).

    Args:
        batch_size: streams that are read side by side.
        tbptt_steps: steps of each stream in a batch, through which gradients go back.
        min_frequency: rarer tokens are unknown (None: 2 of words, so that a network learns what an unknown one is like, else 1).
        max_size: of the vocabulary; None for no limit.
    """

    batch_size: PositiveInt
    tbptt_steps: PositiveInt
    min_frequency: PositiveInt | None
    max_size: PositiveInt | None


@dataclass(frozen=True)
class LanguageMeta:
    """Entries of `meta.json` that loading needs."""

    types: list[str]
    subwords: str | None
    has_ends: bool
    split_used: str
    tokens: Unit


@final
@dataclass(eq=False, repr=False, kw_only=True)
class LanguageData(RunningText):
    """Give batches of running text.

    `source` is `shakespeare`, `warpeace`, `ptb`, `poems`, `sample`, or the path of a text file, a table or a folder (see `documents`).
    """

    group_column = "group"
    upstreams = RUNNING_TEXTS
    sample = "language"
    sample_settings: ClassVar[Mapping[str, str | None]] = {"split": "auto"}

    split: Literal["auto", "official", "order", "random"]
    """See `split_documents`."""
    split_seed: int
    """Seed of random splits."""
    val_fraction: float
    """Fraction of the text for validation, and as much for test, where the source does not say."""
    prepare: LanguagePrepare
    loader: LanguageLoader

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.val_fraction < 0.5:
            raise ValueError(f"data.val_fraction={self.val_fraction}: give more than 0 and less than 0.5, such as 0.05")
        self.subwords: str | None = None
        self._shuffled: tuple[int, np.ndarray] | None = None

    # -- where the data are --------------------------------------------------------------------------------------------

    def read_raw(self, raw: Path) -> pd.DataFrame:
        table, self.remarks = read_once(find_documents, self.source, raw, self.prepare.columns, self.prepare.on_broken)
        return table

    def hash_raw(self, table: pd.DataFrame) -> str:
        return hash_documents(table)

    def prepared_key(self, source_hash: str) -> str:
        """Hash source, settings, code and split: a cut text is prepared in parts."""
        files = [Path(str(module.__file__)) for module in (documents, cutting, tokens)] + [Path(__file__)]
        split = [self.split, self.split_seed, self.val_fraction, self.subwords]
        source = self.source if self.source in self.upstreams else ""
        return digest([source_hash, source, asdict(self.prepare), code_hash(*files), split])

    def write(self, folder: Path, table: pd.DataFrame, meta: Json) -> None:
        """Split, cut into tokens, number, write; learn subwords from the training texts first."""
        parts, words = split_documents(table, self.split, self.split_seed, self.val_fraction)
        subwords = self.subwords
        if self.prepare.tokens == "subword" and subwords is None:
            train = parts.loc[parts["split"] == "train", "text"]
            model = tokens.train_subwords(
                (text.lower() if self.prepare.is_lower else text for text in train),
                self.prepare.subword_size,
                is_normalised=False,
                is_limit=True,
            )
            subwords = tokens.model_to_text(model)
        has_ends = bool((parts["split"].value_counts() > 1).any())
        cutter = self._cutter(subwords)
        lists = ([*cutter.cut(text), *([END] if has_ends else [])] for text in parts["text"])
        types, values, offsets = tokens.index(lists)
        examples = parts[["id", "split"]].assign(content=[hash_text(text) for text in parts["text"]], characters=parts["text"].str.len())
        more: Json = {"types": types, "subwords": subwords, "has_ends": has_ends, "split_used": words, "tokens": self.prepare.tokens}
        write_flat(folder, values, offsets, examples, {**meta, "settings": asdict(self.prepare), **more})

    @property
    def cutter(self) -> Cutter:
        """What cuts text as this module does."""
        return self._cutter(self.subwords)

    def _cutter(self, subwords: str | None) -> Cutter:
        return Cutter(self.prepare.tokens, self.prepare.is_lower, self.prepare.splits_punctuation, subwords)

    # -- what the data are ---------------------------------------------------------------------------------------------

    def assign_splits(self, prepared: Prepared) -> dict[Split, np.ndarray]:
        """Fit the vocabulary on training text, and list the blocks of each split."""
        self._open(prepared)
        of_split = prepared.examples["split"].to_numpy(str)
        is_train = np.repeat(of_split == "train", prepared.lengths)
        counts = np.bincount(prepared.values[is_train], minlength=len(self.types))
        frequency = self.loader.min_frequency or (2 if JOINED[self.prepare.tokens] == "words" else 1)
        self.vocabulary, self.numbers = Vocabulary.fit(self.types, counts, frequency, self.loader.max_size)
        rows = self._list_blocks({split: np.flatnonzero(of_split == split) for split in SPLITS})
        for split in SPLITS:
            if len(self.streams[split]) < 2:
                raise ValueError(
                    f"the {split} split has {len(self.streams[split])} token(s), too few: give more text, or a larger data.val_fraction"
                )
        num_steps = self._steps_of_stream()
        if num_steps < 1:
            raise ValueError(
                f"training has {len(self.streams['train']):,} tokens, too few for data.loader.batch_size={self.loader.batch_size} streams: "
                "set it lower, or give more text"
            )
        if self.loader.tbptt_steps > num_steps:
            raise ValueError(
                f"data.loader.tbptt_steps={self.loader.tbptt_steps} is longer than each of the {self.loader.batch_size} streams of "
                f"training, which have {num_steps:,} steps: set it to {num_steps} or less, or data.loader.batch_size lower"
            )
        return rows

    def _open(self, prepared: Prepared) -> None:
        meta = prepared.meta_as(LanguageMeta)
        self.types, self.subwords, self.has_ends, self.split_used = meta.types, meta.subwords, meta.has_ends, meta.split_used

    def _list_blocks(self, of_split: Mapping[Split, np.ndarray]) -> dict[Split, np.ndarray]:
        """Join the documents of each split to a stream of numbers, and list its blocks; return the rows of each split in that list."""
        self.of_split, self.streams, parts = dict(of_split), {}, []
        for split, which in of_split.items():
            self.streams[split] = self._joined(which)
            parts.append(self._blocks(split, which))
        self.blocks = pd.concat(parts, ignore_index=True)
        names = self.blocks["split"].to_numpy(str)
        return {split: np.flatnonzero(names == split) for split in of_split}

    def _joined(self, which: np.ndarray) -> np.ndarray:
        """Return the tokens of these documents, one after another, behind the end of a document where documents have such."""
        values = [self.numbers[self.data.values[self.data.offsets[row] : self.data.offsets[row + 1]]] for row in which]
        first = [np.array([self._end], dtype=np.int32)] if self.has_ends else []
        return np.concatenate([*first, *values]) if values else np.zeros(0, dtype=np.int32)

    @property
    def _end(self) -> int:
        return int(self.numbers[self.types.index(END)])

    def _blocks(self, split: Split, which: np.ndarray) -> pd.DataFrame:
        """List the blocks of a split: id, first step, steps, and the unit that is resampled: a document, or neighbouring blocks."""
        num_steps = len(self.streams[split]) - 1
        starts = np.arange(0, max(num_steps, 0), BLOCK_STEPS)
        ends = np.cumsum(self.data.lengths[which]) + (1 if self.has_ends else 0)
        document = np.minimum(np.searchsorted(ends, starts + 1, side="right"), max(len(which) - 1, 0))
        names = self.data.examples["id"].to_numpy(str)[which]
        groups = names[document] if len(which) > 1 else [f"{split} {place // BLOCKS_TOGETHER}" for place in range(len(starts))]
        return pd.DataFrame(
            {
                "id": [f"{split}:{start}" for start in starts],
                "group": groups,
                "split": split,
                "start": starts,
                "steps": np.minimum(BLOCK_STEPS, num_steps - starts),
            }
        )

    def setup_as_test(self, reader: InputReader) -> None:
        assert isinstance(reader, LanguageReader)
        self.subwords = reader.cutter.subwords
        self.prepared = self.ensure_prepared()
        self._open(self.prepared)
        self.has_ends = self.has_ends and reader.has_ends
        self.vocabulary = Vocabulary(reader.vocabulary)
        self.numbers = self.vocabulary.encode(self.types).astype(np.int32)
        none = np.arange(0)
        rows = self._list_blocks({"train": none, "val": none, "test": np.arange(len(self.prepared.examples))})
        if len(self.streams["test"]) < 2:
            raise ValueError(f"data.source={self.source}: one token is too few to score: give more text")
        self.take_all_as_test(rows["test"])

    @property
    def examples(self) -> pd.DataFrame:
        """One row a block."""
        return self.blocks

    @property
    def lengths(self) -> np.ndarray:
        """Predicted tokens of each block, (N,) int64."""
        lengths: np.ndarray = self.blocks["steps"].to_numpy(np.int64)
        return lengths

    @property
    def hashes(self) -> dict[str, str]:
        """Return the hashes; that of the test split is of its text, so that models of different tokens compare."""
        contents = self.data.examples["content"].to_numpy(str)[self.of_split["test"]]
        return {
            "source_hash": str(self.data.meta["source_hash"]),
            "prepared_key": str(self.data.meta["prepared_key"]),
            "test_hash": digest([contents.tolist(), self.has_ends, self.prepare.is_lower]),
        }

    def targets(self, rows: np.ndarray) -> list[object]:
        return [self.streams[split][start + 1 : start + 1 + steps].tolist() for split, start, steps in self._places(rows)]

    def _places(self, rows: np.ndarray) -> list[tuple[Any, int, int]]:
        found = self.blocks.iloc[rows]
        return list(zip(found["split"], found["start"].tolist(), found["steps"].tolist(), strict=True))

    def make_spec(self) -> DataSpec:
        return DataSpec(
            name=self.name,
            input_kind="tokens",
            input_size=len(self.vocabulary),
            target_kind="class_per_step",
            target_size=len(self.vocabulary),
            label_names=self.vocabulary.words,
            class_counts=tuple(np.bincount(self.streams["train"][1:], minlength=len(self.vocabulary)).tolist()),
            goal="continue",
            joined=JOINED[self.prepare.tokens],
            is_causal=True,
            is_stream=True,
        )

    def describe(self) -> list[tuple[str, str]]:
        examples = self.data.examples
        sizes = ", ".join(f"{split} {len(self.streams[split]):,}" for split in SPLITS)
        num_left = (len(self.streams["train"]) - 1) % self.loader.batch_size if len(self.streams["train"]) else 0
        num_streams = f"{self.loader.batch_size} streams of {self._steps_of_stream():,} steps, {self.loader.tbptt_steps} at a time"
        found = [
            ("text", f"{len(examples):,} document(s), {examples['characters'].sum():,} characters, {len(self.data.values):,} tokens"),
            ("tokens", f"{self.prepare.tokens}; {sizes}"),
            ("split", self.split_used),
            ("training", num_streams + (f"; {num_left} tokens at the end fill no stream" if num_left else "")),
            ("vocabulary", f"{len(self.vocabulary) - len(INPUT_SPECIALS):,} of {len(self.types):,} distinct tokens; {self._unknown()}"),
        ]
        return found + [("look at", words) for words in self._look_at()]

    def _unknown(self) -> str:
        fractions = self._unknown_fractions()
        return "unknown: " + ", ".join(f"{split} {fraction:.2%}" for split, fraction in fractions.items())

    def _unknown_fractions(self) -> dict[Split, float]:
        return {split: float((stream == UNKNOWN).mean()) for split, stream in self.streams.items() if len(stream)}

    def _look_at(self) -> list[str]:
        found, fractions = [], self._unknown_fractions()
        if fractions.get("test", 0.0) > MOST_UNKNOWN:
            found.append(
                f"{fractions['test']:.0%} of the test tokens are unknown and count as one word, which makes perplexity look low: "
                "data.prepare.tokens=subword knows (nearly) all"
            )
        return found

    def reader(self) -> LanguageReader:
        return LanguageReader(self.vocabulary.words, self.cutter, self.has_ends, self.prepare.text_column)

    def shown(self, rows: np.ndarray) -> list[str]:
        """Return the text of these blocks."""
        return [self.joined(self.streams[split][start + 1 : start + 1 + steps]) for split, start, steps in self._places(rows)]

    def joined(self, numbers: np.ndarray) -> str:
        return self.cutter.join([self.vocabulary.words[number] for number in numbers.tolist()])

    def training_tokens(self) -> np.ndarray:
        return self.streams["train"]

    def prompt(self) -> np.ndarray:
        """Return the end of a document where documents have such, else the first tokens of the validation text."""
        return self.streams["val"][: 1 if self.has_ends else NUM_PROMPT].astype(np.int64)

    # -- batches -------------------------------------------------------------------------------------------------------

    def _steps_of_stream(self) -> int:
        """Return how many steps each training stream has; what is left at the end fills none."""
        return max(len(self.streams["train"]) - 1, 0) // self.loader.batch_size

    def make_order(self, rows: np.ndarray, is_training: bool) -> StreamOrder:
        """Return the order of training streams, or of the blocks of a split."""
        if is_training:
            num_parts = -(-self._steps_of_stream() // self.loader.tbptt_steps)
            return StreamOrder(list(np.arange(self.loader.batch_size * num_parts).reshape(self.loader.batch_size, num_parts)))
        num_streams = int(np.clip(self.lengths[rows].sum() // STREAM_STEPS, 1, MOST_STREAMS))
        return StreamOrder(np.array_split(rows, num_streams))

    def collate(self, rows: np.ndarray, epoch: int, is_training: bool) -> Batch:
        """Return parts of training streams, or blocks."""
        if not is_training:
            places = [(self.streams[split], start, steps) for split, start, steps in self._places(rows)]
        else:
            stream, num_steps, most = self._training_stream(epoch), self._steps_of_stream(), self.loader.tbptt_steps
            num_parts = -(-num_steps // most)
            places = [
                (stream, number * num_steps + part * most, min(most, num_steps - part * most))
                for number, part in zip(rows // num_parts, rows % num_parts, strict=True)
            ]
        lengths_B = torch.tensor([steps for _, _, steps in places])
        inputs_BT = torch.zeros((len(places), int(lengths_B.max())), dtype=torch.int64)
        targets_BT = torch.full_like(inputs_BT, IGNORED_TARGET)
        for place, (values, start, steps) in enumerate(places):
            part = torch.from_numpy(values[start : start + steps + 1].astype(np.int64))
            inputs_BT[place, :steps], targets_BT[place, :steps] = part[:-1], part[1:]
        return Batch(inputs_BT, lengths_B, targets_BT, lengths_B.clone(), torch.from_numpy(np.asarray(rows)))

    def _training_stream(self, epoch: int) -> np.ndarray:
        """Return the training text; documents in another order each epoch."""
        if not self.has_ends:
            return self.streams["train"]
        if self._shuffled is None or self._shuffled[0] != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.of_split["train"])
            self._shuffled = (epoch, self._joined(order))
        return self._shuffled[1]
