"""The data module over windows of series: split by date, scaled on training, audited for leaks; `stock` and `series` say of what."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from rnnlab.config import Fraction, NonNegativeInt, PositiveInt
from rnnlab.contracts import Batch, DataSpec, Link, Past, Reference
from rnnlab.data.base import SequenceDataModule, Split
from rnnlab.data.batches import EpochOrder, ExampleRandom
from rnnlab.data.hashing import digest
from rnnlab.data.inputs import InputReader
from rnnlab.data.labelled import shortened
from rnnlab.data.prepared import Json, Prepared, write_flat
from rnnlab.data.series.calendar_splits import Walk, date_splits, split_at
from rnnlab.data.series.indicators import LeakageError, audit_features, other_future
from rnnlab.data.series.window_reader import WindowReader
from rnnlab.data.series.windows import (
    ScalesByName,
    Series,
    SeriesPrepare,
    WindowAugment,
    Windows,
    augment,
    cut,
    ends_of,
    fit_scales,
    list_windows,
)
from rnnlab.data.tables import Decimal, Writing

NUM_AUDITED, NUM_CUTS = 2, 2
AUDITED_AT_ONCE = 2048
MOST_WARNINGS = 5
DIRECTIONS = ("down", "up")


@dataclass(frozen=True)
class WindowLoader:
    """Say how windows become batches (`data.loader`); zeros in `augment` leave windows as they are."""

    batch_size: PositiveInt
    augment: WindowAugment


@dataclass(frozen=True)
class SeriesMeta:
    """Entries of `meta.json` that loading needs."""

    columns: list[str]
    odd: dict[str, int]
    warnings: list[str]


@dataclass(eq=False, repr=False, kw_only=True)
class WindowedData(SequenceDataModule, ABC):
    """Base class of data modules that cut series into windows and split them by date.

    A subclass reads tables and says what features and targets are.
    """

    group_column = "series"
    step: ClassVar[str] = "step"
    """What a step is called."""

    test_fraction: Fraction
    """Fraction of the dates in one test block; of all dates see `rnnlab.data.series.calendar_splits`."""
    val_fraction: Fraction
    """Fraction of the dates before the test block that are validation."""
    num_folds: PositiveInt
    """How many test blocks there are, each tested by training on what lies before it."""
    fold: NonNegativeInt
    """Which of them is tested, 0 the earliest."""
    walk: Walk
    """Whether training takes all earlier dates, or always as many."""
    decimal: Decimal | None
    """Whether numbers have a decimal `point` or `comma` (None: as the table shows)."""
    day_first: bool | None
    """Whether 03/04/2021 is in April (None: as the table shows)."""
    loader: WindowLoader
    prepare: SeriesPrepare = field(default_factory=SeriesPrepare)
    """What is done with what cannot be read; runs recorded before it have none."""
    split_dates: list[str | None] | None = field(init=False, default=None)
    """Where validation and test begin and test ends (None: with the data), instead of fractions of the dates."""
    is_path: bool = field(init=False, default=False)
    """Whether the target is all steps up to the longest horizon, as one forecast."""
    is_relative: bool = field(init=False, default=False)
    """Whether inputs hold the target's own values as differences from the window's last one."""
    season: int = field(init=False, default=0)
    """Steps after which values repeat (0: unknown)."""
    step_microseconds: int = field(init=False, default=0)
    """From one row to the next, of forecasts of the series' own values."""
    link: Link = field(init=False, default="identity")
    unit: str = field(init=False, default="")
    is_scaled_apart: bool = field(init=False, default=False)
    """Whether each series is scaled by its own training part, not all by that of all."""
    is_direction: bool = field(init=False, default=False)
    """Whether the target is a class, down or up, and no number."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.found: Json = {}
        if not self.horizons or len(set(self.horizons)) != len(self.horizons):
            raise ValueError(
                f"data.horizon_{self.step}s={self.horizons}: give one or more different numbers of {self.step}s, such as [1] or [1,5]"
            )
        if (shift := self.loader.augment.shift) >= self.window:
            raise ValueError(f"data.loader.augment.shift={shift} leaves nothing of windows of {self.window} {self.step}s: give less")

    def name_parts(self) -> list[str]:
        return [*super().name_parts(), *([f"f{self.fold}"] if self.num_folds > 1 else [])]

    @property
    def writing(self) -> Writing:
        """How the tables write numbers and dates, as settings say, and once read what was found out."""
        meta = {} if self.prepared is None else self.prepared.meta
        found = self.found.get("writing", meta.get("writing"))
        return Writing(**found) if isinstance(found, dict) else Writing(self.decimal, self.day_first)

    # -- what a subclass says ------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def window(self) -> int:
        """Steps in a window."""

    @property
    @abstractmethod
    def horizons(self) -> list[int]:
        """Steps ahead, one forecast each."""

    @abstractmethod
    def features_of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return (T, F) features; row t from rows up to t alone."""

    @abstractmethod
    def series_of(self, name: str, frame: pd.DataFrame) -> Series:
        """Return a series with its features and targets."""

    @property
    @abstractmethod
    def target_names(self) -> tuple[str, ...]:
        """One name for each horizon."""

    # -- preparation: cleaned values, nothing fitted -------------------------------------------------------------------

    def hash_raw(self, table: pd.DataFrame) -> str:
        rows = pd.util.hash_pandas_object(table, index=False).to_numpy()
        return digest([list(table.columns), rows.tolist()])

    def write(self, folder: Path, table: pd.DataFrame, meta: Json) -> None:
        """Write series end to end; the first column is the time, in microseconds."""
        columns = [name for name in table.columns if name not in ("series", "date")]
        names = list(dict.fromkeys(table["series"]))
        times = table["date"].to_numpy().astype("datetime64[us]").astype(np.int64).astype(np.float64)
        values = np.column_stack([times, table[columns].to_numpy(np.float64)])
        sizes = [int((table["series"] == name).sum()) for name in names]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        write_flat(folder, values, offsets, pd.DataFrame({"id": names}), {**meta, "columns": columns, **self.found})

    def frames(self, prepared: Prepared) -> dict[str, pd.DataFrame]:
        """Return each series as a table again, without columns in which it has nothing."""
        columns = prepared.meta_as(SeriesMeta).columns
        found = {}
        for name, start, end in zip(prepared.examples["id"], prepared.offsets[:-1], prepared.offsets[1:], strict=True):
            part = np.array(prepared.values[start:end])
            frame = pd.DataFrame(part[:, 1:], columns=columns).dropna(axis="columns", how="all")
            frame.insert(0, "date", part[:, 0].astype(np.int64).astype("datetime64[us]"))
            found[str(name)] = frame
        return found

    # -- windows -------------------------------------------------------------------------------------------------------

    def assign_splits(self, prepared: Prepared) -> dict[Split, np.ndarray]:
        """List windows, split them by date, fit scales on the training part, cut, and audit all of it."""
        frames = self.frames(prepared)
        series = self._usable([self.series_of(name, frame) for name, frame in frames.items()])
        rows, self.untrained = self._split(series), []
        if self.is_scaled_apart:
            has_training = np.isin(np.arange(len(series)), self.index["number"].to_numpy()[rows["train"]])
            if not has_training.all():
                self.untrained = [one.name for one, has in zip(series, has_training, strict=True) if not has]
                series = [one for one, has in zip(series, has_training, strict=True) if has]
                rows = self._split(series)
        self.scales = self.fit_scales(series, rows["train"])
        self.windows = cut(series, self.index, self.scales, is_relative=self.is_relative)
        self.feature_names = tuple(series[0].features.columns)
        self.audit({one.name: frames[one.name] for one in series}, rows)
        return rows

    def fit_scales(self, series: list[Series], train: np.ndarray) -> ScalesByName:
        """Fit scales on the training rows of the list of windows."""
        return fit_scales(series, self.index.iloc[train], self.link, is_apart=self.is_scaled_apart, season=self.season)

    def _split(self, series: list[Series]) -> dict[Split, np.ndarray]:
        """List all windows, and split them by date."""
        self.index = list_windows(series, self.window, max(self.horizons), self._num_characters(series), min(self.horizons))
        if self.split_dates is not None:
            rows, self.split_used = split_at(self.index["first_date"].to_numpy(), self.index["last_date"].to_numpy(), self.split_dates)
            return rows
        dates, last_days = self.index["date"].to_numpy(), self.index["last_date"].to_numpy()
        fractions, gap = (self.test_fraction, self.val_fraction), max(self.horizons)
        rows, self.split_used = date_splits(dates, *fractions, self.num_folds, self.fold, self.walk, gap=gap, last_days=last_days)
        return rows

    def _num_characters(self, series: list[Series]) -> int:
        """Return how much of a time names it: the day, the minute, or all of it."""
        if self.step == "day":
            return 10
        return 16 if all((one.times == one.times.astype("datetime64[m]")).all() for one in series) else 26

    def _usable(self, series: list[Series]) -> list[Series]:
        """Leave out, by name, series too short for one window and its targets."""
        usable = [one for one in series if len(ends_of(one, self.window))]
        self.skipped = [one.name for one in series if not len(ends_of(one, self.window))]
        if not usable:
            raise ValueError(
                f"data.source={self.source}: the longest series has {max(len(one.times) for one in series)} {self.step}s, too few for one "
                f"window of {self.window} with its features' past and {max(self.horizons)} more to forecast: give more data, or a smaller "
                f"data.window_{self.step}s"
            )
        first = list(usable[0].features.columns)
        for one in usable:
            if list(one.features.columns) != first:
                raise ValueError(
                    f"{one.name} has the features {', '.join(one.features.columns)}, but {usable[0].name} has {', '.join(first)}: "
                    "leave out the columns that not all have"
                )
        return usable

    def audit(self, frames: dict[str, pd.DataFrame], rows: dict[Split, np.ndarray]) -> None:
        """Prove by trial that no forecast can see the future.

        The features of some series are computed anew with other values after some dates; then every value of every series after the
        middle of the test part is replaced and all inputs, scales and references are made anew: none of an earlier forecast may change.

        Raises:
            LeakageError: names what changed.
        """
        for frame in list(frames.values())[:NUM_AUDITED]:
            audit_features(self.features_of, frame, np.linspace(len(frame) // 3, len(frame) - 2, NUM_CUTS).astype(int).tolist())
        dates = self.index["date"].to_numpy()
        cut_date = np.sort(dates[rows["test"]])[len(rows["test"]) // 2]
        series = [self.series_of(name, other_future(frame, cut_date)) for name, frame in frames.items()]
        again = cut(series, self.index, self.fit_scales(series, rows["train"]), is_relative=self.is_relative)
        for earlier in _blocks(np.flatnonzero(dates <= cut_date)):
            for what, before in self._seen(self.windows, earlier).items():
                after = self._seen(again, earlier)[what]
                if not np.array_equal(before, after):
                    changed = np.flatnonzero((before != after).reshape(len(earlier), -1).any(1))[0]
                    raise LeakageError(
                        f"the {what} of the forecast {self.index['id'].iloc[earlier[changed]]} changed when only values after "
                        f"{str(cut_date)[:16]} were replaced: something fitted or computed sees the future"
                    )

    def _seen(self, windows: Windows, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return all that forecasts may be made from."""
        found = {"inputs": windows.inputs(rows, self.window)}
        found |= {what: getattr(windows, what)[rows] for what in ("persistence", "offset", "scale")}
        if windows.levels is not None:
            found |= {"past": windows.past(rows, self.window), "season error": windows.season_error[rows]}
        return found

    def setup_as_test(self, reader: InputReader) -> None:
        assert isinstance(reader, WindowReader)
        self.decimal, self.day_first = reader.writing.decimal, reader.writing.day_first
        self.prepared = self.ensure_prepared()
        frames = self.frames(self.prepared)
        series = self._usable([self.series_of(name, frame) for name, frame in frames.items()])
        self.feature_names = tuple(series[0].features.columns)
        reader.refuse_other_features(self.feature_names, self.source)
        self.index = list_windows(series, self.window, max(self.horizons), self._num_characters(series), min(self.horizons))
        self.scales = reader.fitted
        self.windows = cut(series, self.index, self.scales, is_relative=self.is_relative)
        self.take_all_as_test(np.arange(len(self.index)))

    @property
    def examples(self) -> pd.DataFrame:
        return self.index

    @property
    def lengths(self) -> np.ndarray:
        return np.full(len(self.index), self.window)

    def make_spec(self) -> DataSpec:
        counts: tuple[int, ...] = ()
        if self.is_direction:
            counts = tuple(np.bincount(self._classes(self.rows["train"]), minlength=2).tolist())
        return DataSpec(
            name=self.name,
            input_kind="features",
            input_size=len(self.feature_names),
            target_kind="class" if self.is_direction else "real",
            target_size=2 if self.is_direction else len(self.horizons),
            label_names=DIRECTIONS if self.is_direction else self.target_names,
            class_counts=counts,
            feature_names=self.feature_names,
            link=self.link,
            unit=self.unit,
            is_scaled_apart=self.is_path or len(self.scales.by_name) > 1,
            horizons=tuple(self.horizons) if self.windows.levels is not None else (),
            is_path=self.is_path,
            season=self.season,
        )

    def targets(self, rows: np.ndarray) -> list[object]:
        if self.is_direction:
            return [DIRECTIONS[number] for number in self._classes(rows)]
        if self.is_path:  # hundreds of numbers each: what tells them apart is enough
            return [digest(targets.tobytes().hex()) for targets in self.windows.targets[rows]]
        return list(self.windows.targets[rows].tolist())

    def _classes(self, rows: np.ndarray) -> np.ndarray:
        return self.windows.targets[rows][:, 0].astype(np.int64)

    def describe(self) -> list[tuple[str, str]]:
        # What was odd is this file's, also where another of the same content was prepared.
        meta = replace(self.data, meta={**self.data.meta, **self.found}).meta_as(SeriesMeta)
        names, dates = list(self.data.examples["id"]), self.index["date"]
        odd = {name: count for name, count in meta.odd.items() if count}
        unit = f" ({self.unit})" if self.unit else ""
        warnings = self._still() + meta.warnings
        found = [
            ("series", f"{len(names)}: {shortened(names)}; {len(self.data.values):,} {self.step}s"),
            ("features", f"{len(self.feature_names)}: {', '.join(self.feature_names)}"),
            (
                "target",
                f"{self._target_words()}{unit}, from windows of {self.window} {self.step}s",
            ),
            ("forecasts", f"{len(dates):,}, made {str(dates.min())[:10]} to {str(dates.max())[:10]}"),
            ("split", self.split_used),
            ("", ", ".join(f"{split} {len(rows):,}" for split, rows in self.rows.items())),
            ("odd", "; ".join(f"{count:,} {name}" for name, count in odd.items()) or "nothing"),
        ]
        found += [("skipped", f"too short: {shortened(self.skipped)}")] if self.skipped else []
        found += [("skipped", f"begins after the training part: {shortened(self.untrained)}")] if self.untrained else []
        more = [f"... and {len(warnings) - MOST_WARNINGS} more, in meta.json"] if len(warnings) > MOST_WARNINGS else []
        return found + [("look at", warning) for warning in warnings[:MOST_WARNINGS] + more]

    def _target_words(self) -> str:
        names = self.target_names
        return f"{names[0]} to {names[-1]}, one forecast" if self.is_path and len(names) > 1 else ", ".join(names)

    def scale_lists(self) -> dict[str, dict[str, list[float]]]:
        """Return the fitted scales as lists, by series."""
        return {name: scales.as_lists() for name, scales in self.scales.by_name.items()}

    def _still(self) -> list[str]:
        """Say what stands still in the training part."""
        found = []
        for name, scales in self.scales.by_name.items():
            of, features = f" of {name}" if len(self.scales.by_name) > 1 else "", np.array(self.feature_names)[scales.is_feature_still]
            if scales.is_still.any() and not self.is_direction:
                found.append(
                    f"the target{of} stands still in the training part: a network learns there only to repeat it. Choose another "
                    "data.target_column or a longer training part"
                )
            if len(features):
                found.append(f"what stands still{of} in the training part counts as 0 throughout: {', '.join(features)}")
        return found

    # -- batches -------------------------------------------------------------------------------------------------------

    def make_order(self, rows: np.ndarray, is_training: bool) -> EpochOrder:
        return EpochOrder(rows, self.lengths[rows], self.loader.batch_size, self.seed, 1 if is_training else 0)

    def collate(self, rows: np.ndarray, epoch: int, is_training: bool) -> Batch:
        values_BTF = torch.from_numpy(self.windows.inputs(rows, self.window))
        lengths_B = torch.full((len(rows),), self.window)
        if is_training and self.loader.augment.changes:
            values_BTF, lengths_B = augment(values_BTF, self.loader.augment, ExampleRandom(self.seed, epoch, rows))
        ids_B = torch.from_numpy(rows)
        ones_B = torch.ones_like(ids_B)
        if self.is_direction:
            return Batch(values_BTF, lengths_B, torch.from_numpy(self._classes(rows)), ones_B, ids_B)
        targets_BD = torch.from_numpy(self.windows.targets[rows])
        parts = (self.windows.offset, self.windows.scale, self.windows.persistence)
        reference = Reference(*(torch.from_numpy(part[rows]).expand(targets_BD.shape) for part in parts))
        return Batch(values_BTF, lengths_B, targets_BD, ones_B, ids_B, reference, past=None if is_training else self._past(rows))

    def _past(self, rows: np.ndarray) -> Past | None:
        """Return the target's own past in these windows, where it is the series' own values that are forecast."""
        if self.windows.levels is None:
            return None
        times = self.index["date"].to_numpy()[rows].astype("datetime64[us]").astype(np.int64)
        numbers = self.index["number"].to_numpy()[rows].astype(np.int64)
        parts = (times, np.full(len(rows), self.step_microseconds), numbers, self.windows.season_error[rows])
        return Past(torch.from_numpy(self.windows.past(rows, self.window)), *(torch.from_numpy(part) for part in parts))


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Give rows in blocks that fit into memory, however long their windows are."""
    return (rows[start : start + AUDITED_AT_ONCE] for start in range(0, len(rows), AUDITED_AT_ONCE))
