"""`data=events`: which event comes next in cases of a log (orders, patients, visits to a shop, moves of a game).

A network reads the events of a case one by one and predicts after each the next one; after the last it is the end of the case, which is no
row of a log and is added here (`data.has_end_mark`). Preparation numbers events, and fits nothing. An event that training lacks cannot be
predicted: it counts as missed, and how many there are is told.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np
import pandas as pd
import torch

from rnnlab.config import Fraction, NonNegativeInt, PositiveInt
from rnnlab.contracts import IGNORED_TARGET, SPECIALS, UNKNOWN, Batch, DataSpec
from rnnlab.data import tokens
from rnnlab.data.base import SequenceDataModule, Split
from rnnlab.data.batches import BudgetOrder, ExampleRandom
from rnnlab.data.early import read_once
from rnnlab.data.files import OnBroken
from rnnlab.data.hashing import code_hash, digest
from rnnlab.data.inputs import InputReader
from rnnlab.data.labelled import shortened
from rnnlab.data.prepared import Json, Prepared, write_flat
from rnnlab.data.series import event_logs
from rnnlab.data.series.event_logs import EventColumns, find_events, hash_events
from rnnlab.data.series.event_splits import EventSplit, assign_cases, shown_time
from rnnlab.data.series.events_reader import EventReader
from rnnlab.data.sources.catalogue import EVENT_LOGS
from rnnlab.data.splits import DEFAULT_FOLDS, Folding
from rnnlab.data.targets import count_types
from rnnlab.data.tokens import INPUT_SPECIALS, Vocabulary

END = "<end>"
MOST_UNKNOWN = 0.01


@dataclass(frozen=True)
class EventPrepare(EventColumns):
    """Say how a log is read (`data.prepare`).

    Args:
        id_column, event_column, time_column, group_column, split_column: of a user's tables, see `EventColumns`.
        drops_repeats: whether rows that repeat event and time of another row of their case are left out.
        on_broken: whether cases that cannot be used are refused or left out.
    """

    drops_repeats: bool
    on_broken: OnBroken

    @property
    def columns(self) -> EventColumns:
        """Where a user's tables keep what."""
        return EventColumns(self.id_column, self.event_column, self.time_column, self.group_column, self.split_column)


@dataclass(frozen=True)
class EventLoader:
    """Say how cases become batches (`data.loader`).

    Args:
        batch_size: most cases in a batch.
        num_buckets: cases of like length are batched together, in so many groups.
        min_frequency: rarer events of training are unknown.
        max_size: most events in the vocabulary (None: no limit).
        max_steps: of longer training cases a random stretch of so many steps is read, another one each epoch (None: all of them); cases of
            validation and test are never cut.
    """

    batch_size: PositiveInt
    num_buckets: PositiveInt
    min_frequency: PositiveInt
    max_size: PositiveInt | None
    max_steps: PositiveInt | None


@dataclass(frozen=True)
class EventMeta:
    """Entries of `meta.json` that loading needs."""

    types: list[str]
    are_dates: bool
    odd: dict[str, int]


@final
@dataclass(eq=False, repr=False, kw_only=True)
class EventData(SequenceDataModule):
    """Give batches of cases.

    `source` is `helpdesk`, `bpi_12_w`, `sample`, or the path of a table or a folder of tables (see `event_logs`).
    """

    group_column = "unit"
    upstreams = EVENT_LOGS
    sample = "events"
    sample_settings: ClassVar[dict[str, str | None]] = {"split": "auto"}

    split: EventSplit
    """How cases are split, see `assign_cases`."""
    drops_overlaps: bool
    """Whether cases that go on over a border in time are left out."""
    num_folds: PositiveInt = DEFAULT_FOLDS
    """Into how many parts `split=kfold` divides."""
    fold: NonNegativeInt = 0
    """Which part is test."""
    split_seed: int
    """Seed of random splits."""
    val_fraction: Fraction
    """Fraction of the cases for validation, and as much for test where the source does not say."""
    has_end_mark: bool
    """Whether the end of a case is an event to predict."""
    ranks: list[PositiveInt]
    """By which `hit_rate_k` and `ndcg_k` are told."""
    day_first: bool | None
    """Whether 03/04/2021 is in April; None: as the table shows."""
    prepare: EventPrepare
    loader: EventLoader

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.ranks or sorted(set(self.ranks)) != self.ranks:
            raise ValueError(f"data.ranks={self.ranks}: give different numbers of events, the least first, such as [3,5,10]")
        self.odd: dict[str, int] | None = None  # of one's own files as they are now: in another order they have the same prepared data
        self.split_remarks: list[str] = []

    def name_parts(self) -> list[str]:
        return [*super().name_parts(), *([f"f{self.fold}"] if self.split == "kfold" else [])]

    # -- where the data are --------------------------------------------------------------------------------------------

    def read_raw(self, raw: Path) -> pd.DataFrame:
        prepare = self.prepare
        found = read_once(find_events, self.source, raw, prepare.columns, self.day_first, prepare.drops_repeats, prepare.on_broken)
        table, self.are_dates, self.odd, self.remarks = found
        return table

    def hash_raw(self, table: pd.DataFrame) -> str:
        return hash_events(table)

    def prepared_key(self, source_hash: str) -> str:
        """Hash source, settings and code."""
        files = [Path(str(module.__file__)) for module in (event_logs, tokens)] + [Path(__file__)]
        source = self.source if self.source in self.upstreams else ""
        return digest([source_hash, source, self.day_first, asdict(self.prepare), code_hash(*files)])

    def write(self, folder: Path, table: pd.DataFrame, meta: Json) -> None:
        """Number the events."""
        types, values, offsets = tokens.index(table["events"])
        if odd := [word for word in (END, *SPECIALS) if word in types]:
            raise ValueError(f"{self.source} has an event called {odd[0]!r}, which is a sign of ours: rename it")
        unit = table["group"].where(table["group"] != "", table["id"])
        more: Json = {"types": types, "are_dates": self.are_dates, "odd": self.odd, "settings": asdict(self.prepare)}
        write_flat(folder, values, offsets, table.drop(columns="events").assign(unit=unit), {**meta, **more})

    # -- what the data are ---------------------------------------------------------------------------------------------

    def assign_splits(self, prepared: Prepared) -> dict[Split, np.ndarray]:
        """Split, and fit the vocabulary on training cases."""
        self._open(prepared)
        kept = self._usable()
        folding = Folding(self.fold, self.num_folds, self.split_seed)
        found = assign_cases(
            prepared.examples.iloc[kept].reset_index(drop=True),
            self.split,
            folding,
            self.val_fraction,
            are_dates=self.are_dates,
            drops_overlaps=self.drops_overlaps,
        )
        self.split_used, self.split_remarks = found.words, found.remarks
        rows: dict[Split, np.ndarray] = {split: kept[part] for split, part in found.rows.items()}
        counts = count_types(prepared.values, prepared.offsets, rows["train"], len(self.types))
        counts[-1] += len(rows["train"]) * self.has_end_mark
        words, frequencies = (self.types, counts) if self.has_end_mark else (self.types[:-1], counts[:-1])
        self._take(Vocabulary.fit(words, frequencies, self.loader.min_frequency, self.loader.max_size)[0])
        return rows

    def _open(self, prepared: Prepared) -> None:
        meta = prepared.meta_as(EventMeta)
        self.types, self.are_dates = [*meta.types, END], meta.are_dates
        self.odd = meta.odd if self.odd is None else self.odd

    def _take(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.numbers = vocabulary.encode(self.types)

    def _usable(self) -> np.ndarray:
        """Return the cases that have something to predict.

        Raises:
            ValueError: if there is none.
        """
        kept = np.flatnonzero(self.lengths >= 1)
        if not len(kept):
            raise ValueError(
                f"data.source={self.source}: no case has a second event, so with data.has_end_mark=false there is nothing to predict: "
                "set it to true, or name the column of cases with data.prepare.id_column"
            )
        return kept

    def setup_as_test(self, reader: InputReader) -> None:
        assert isinstance(reader, EventReader)
        self.prepared = self.ensure_prepared()
        self.has_end_mark = reader.has_end_mark
        self._open(self.prepared)
        self._take(Vocabulary(reader.vocabulary))
        self.take_all_as_test(self._usable())

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each case, (N,) int64: after each event but the last one another one is predicted, after the last one the end."""
        lengths: np.ndarray = self.data.lengths - (0 if self.has_end_mark else 1)
        return lengths

    def _types_of(self, row: int) -> np.ndarray:
        start, end = self.data.offsets[row : row + 2]
        return np.asarray(self.data.values[start:end])

    def _targets_of(self, row: int) -> np.ndarray:
        """Return what is predicted after each step, as numbers of `types`."""
        following = self._types_of(row)[1:]
        return np.append(following, len(self.types) - 1) if self.has_end_mark else following

    def targets(self, rows: np.ndarray) -> list[object]:
        return [[self.types[number] for number in self._targets_of(row)] for row in rows]

    def make_spec(self) -> DataSpec:
        train, num_types = self.rows["train"], len(self.types)
        firsts = np.bincount(self.data.values[self.data.offsets[train]], minlength=num_types)  # which are no targets
        of_type = count_types(self.data.values, self.data.offsets, train, num_types) - firsts
        of_type[-1] += len(train) * self.has_end_mark
        counts = np.bincount(self.numbers, of_type, len(self.vocabulary)).astype(np.int64)
        return DataSpec(
            name=self.name,
            input_kind="tokens",
            input_size=len(self.vocabulary),
            target_kind="class_per_step",
            target_size=len(self.vocabulary),
            label_names=self.vocabulary.words,
            class_counts=tuple(counts.tolist()),
            is_causal=True,
            ranks=tuple(self.ranks),
        )

    def describe(self) -> list[tuple[str, str]]:
        lengths, start, end = self.data.lengths, *(self.examples[name].to_numpy(float) for name in ("start", "end"))
        known = f"{len(self.vocabulary) - len(INPUT_SPECIALS):,} in the vocabulary"
        sizes = f"{lengths.min()} to {lengths.max():,} events, median {np.median(lengths):.0f}; {lengths.sum():,} in all"
        found = [
            ("cases", f"{len(lengths):,} of {sizes}"),
            ("events", f"{len(self.types) - 1:,} different; {known}{', the end of a case among them' * self.has_end_mark}"),
        ]
        if not np.isnan(start).any():
            found.append(("times", f"{shown_time(start.min(), self.are_dates)} to {shown_time(end.max(), self.are_dates)}"))
        parts = (f"{split} {len(rows):,} ({self.lengths[rows].sum():,} predictions)" for split, rows in self.rows.items())
        found += [("split", self.split_used), ("", ", ".join(parts))]
        return found + [("look at", words) for words in self._look_at()]

    def _look_at(self) -> list[str]:
        """Say what a person may not expect of these data."""
        odd = dict(self.odd or {})
        num_single = odd.pop(event_logs.SINGLE, 0)
        found = [f"{count:,} {what}" for what, count in odd.items()]
        if num_single:
            how = (
                "their end alone is predicted" if self.has_end_mark else "left out, since data.has_end_mark=false leaves nothing to predict"
            )
            found.append(f"{event_logs.SINGLE}: {num_single:,}, {how}")
        found += self.split_remarks
        of_test = np.concatenate([self._targets_of(row) for row in self.rows["test"]])
        is_unknown = self.numbers[of_test] == UNKNOWN
        if is_unknown.any():
            names = shortened(sorted({self.types[number] for number in of_test[is_unknown]}), 5)
            found.append(f"{is_unknown.sum():,} of {len(of_test):,} test events are unknown to training and count as missed: {names}")
        return found

    def reader(self) -> EventReader:
        return EventReader(self.vocabulary.words, self.prepare.columns, self.day_first, self.has_end_mark)

    def shown(self, rows: np.ndarray) -> list[str]:
        """Return the events of these cases that are read, with commas between."""
        return [", ".join(self.types[number] for number in self._types_of(row)[: self.lengths[row]]) for row in rows]

    # -- batches -------------------------------------------------------------------------------------------------------

    def make_order(self, rows: np.ndarray, is_training: bool) -> BudgetOrder:
        lengths = self.lengths[rows].clip(max=self.loader.max_steps if is_training else None)
        most = int(lengths.max(initial=1)) * self.loader.batch_size
        return BudgetOrder(rows, lengths, self.loader.batch_size, most, self.seed, self.loader.num_buckets if is_training else 0)

    def collate(self, rows: np.ndarray, epoch: int, is_training: bool) -> Batch:
        """Return a padded batch; while training a stretch of long cases."""
        most = self.loader.max_steps if is_training else None
        places_B = ExampleRandom(self.seed, epoch, rows).uniform().tolist() if most else [0.0] * len(rows)
        inputs, targets = [], []
        for row, place in zip(rows, places_B, strict=True):
            num_steps = int(self.lengths[row])
            first = int(place * (num_steps - most + 1)) if most and num_steps > most else 0
            steps = slice(first, num_steps if most is None else min(num_steps, first + most))
            inputs.append(torch.from_numpy(self.numbers[self._types_of(row)[:num_steps][steps]]))
            targets.append(torch.from_numpy(self.numbers[self._targets_of(row)[steps]]))
        lengths_B = torch.tensor([len(values) for values in inputs])
        pad = torch.nn.utils.rnn.pad_sequence
        targets_BT = pad(targets, batch_first=True, padding_value=IGNORED_TARGET)
        return Batch(pad(inputs, batch_first=True), lengths_B, targets_BT, lengths_B.clone(), torch.from_numpy(np.asarray(rows)))
