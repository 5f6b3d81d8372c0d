"""The data module over windows of series: split by date, scaled on training, audited for leaks; `stock` and `series` say of what."""

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from rnnlab.contracts import Batch, DataSpec, Fraction, Link, NonNegativeInt, PositiveInt, Reference
from rnnlab.data.base import SequenceDataModule, Split
from rnnlab.data.batches import EpochOrder, ExampleRandom
from rnnlab.data.hashing import digest
from rnnlab.data.labelled import shortened
from rnnlab.data.prepared import Json, Prepared, write_flat
from rnnlab.data.series.calendar_splits import Walk, date_splits
from rnnlab.data.series.indicators import LeakageError, audit_features
from rnnlab.data.series.windows import Scales, Series, WindowAugment, augment, cut, ends_of, fit_scales, list_windows

NUM_AUDITED, NUM_CUTS = 2, 2
MOST_WARNINGS = 5
DIRECTIONS = ("down", "up")


@dataclass(frozen=True)
class WindowLoader:
    """Say how windows become batches (`data.loader`).

    Args:
        batch_size: windows per batch.
        augment: see `WindowAugment`; zeros leave windows as they are.
    """

    batch_size: PositiveInt
    augment: WindowAugment


@dataclass(frozen=True)
class DateSplit:
    """Say which dates train, choose and test; see `rnnlab.data.series.calendar_splits`."""

    test_fraction: Fraction
    val_fraction: Fraction
    num_folds: PositiveInt
    fold: NonNegativeInt
    walk: Walk


class WindowedData(SequenceDataModule, ABC):
    """Cut series into windows; split them by date.

    A subclass reads tables and says what features and targets are.

    Args:
        paths, seed, name, source, mirror, offline: see `SequenceDataModule`.
        window: steps in a window.
        horizons: steps ahead, one forecast each.
        split: which dates train, choose and test.
        loader: see `WindowLoader`.
    """

    group_column = "series"
    kind: ClassVar[str]
    """Which reader a bundle needs."""
    step: ClassVar[str] = "step"
    """What a step is called."""
    link: Link = "identity"
    unit: str = ""
    is_direction: bool = False
    """Whether the target is a class, down or up, and no number."""

    def __init__(
        self,
        paths: dict[str, str],
        seed: int,
        name: str,
        source: str,
        mirror: str | None,
        offline: bool,
        window: int,
        horizons: list[int],
        split: DateSplit,
        loader: WindowLoader,
    ) -> None:
        super().__init__(paths, seed, name, source, mirror, offline)
        self.window, self.horizons, self.split, self.loader = window, horizons, split, loader
        self.found: Json = {}
        if not horizons or len(set(horizons)) != len(horizons):
            raise ValueError(
                f"data.horizon_{self.step}s={horizons}: give one or more different numbers of {self.step}s, such as [1] or [1,5]"
            )
        if loader.augment.shift >= window:
            raise ValueError(
                f"data.loader.augment.shift={loader.augment.shift} leaves nothing of windows of {window} {self.step}s: give less"
            )

    # -- what a subclass says ------------------------------------------------------------------------------------------

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

    @abstractmethod
    def settings(self) -> Json:
        """Return this class's arguments that reading new tables needs."""

    # -- preparation: cleaned values, nothing fitted -------------------------------------------------------------------

    def hash_raw(self, table: pd.DataFrame) -> str:
        """Hash cleaned values."""
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
        columns: list[str] = prepared.meta["columns"]  # type: ignore[assignment]
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
        self.index = list_windows(series, self.window, max(self.horizons), self._num_characters(series))
        rows, self.split_used = date_splits(
            self.index["date"].to_numpy(),
            **asdict(self.split),
            gap=max(self.horizons),
            last_days=self.index["last_date"].to_numpy(),
        )
        self.scales = fit_scales(series, self.index.iloc[rows["train"]], self.link)
        self.windows = cut(series, self.index, self.scales)
        self.feature_names = tuple(series[0].features.columns)
        self.audit({one.name: frames[one.name] for one in series}, rows)
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
        series = [self.series_of(name, _other_future(frame, cut_date)) for name, frame in frames.items()]
        index = self.index
        scales = fit_scales(series, index.iloc[rows["train"]], self.link)
        again = cut(series, index, scales)
        earlier = np.flatnonzero(dates <= cut_date)
        for what in ("inputs", "persistence", "offset", "scale"):
            before, after = (
                one.inputs(earlier, self.window) if what == "inputs" else getattr(one, what)[earlier] for one in (self.windows, again)
            )
            if not np.array_equal(before, after):
                changed = np.flatnonzero((before != after).reshape(len(earlier), -1).any(1))[0]
                raise LeakageError(
                    f"the {what} of the forecast {index['id'].iloc[earlier[changed]]} changed when only values after "
                    f"{str(cut_date)[:16]} were replaced: something fitted or computed sees the future"
                )

    def setup_as_test(self, bundle: Json) -> None:
        """Open the tables and take all windows as test, with another run's scales."""
        self.prepared = self.ensure_prepared()
        frames = self.frames(self.prepared)
        series = self._usable([self.series_of(name, frame) for name, frame in frames.items()])
        self.feature_names = tuple(series[0].features.columns)
        _check_features(self.feature_names, bundle, self.source)
        self.index = list_windows(series, self.window, max(self.horizons), self._num_characters(series))
        self.scales = _scales(bundle)
        self.windows = cut(series, self.index, self.scales)
        self.rows = {"train": np.arange(0), "val": np.arange(0), "test": np.arange(len(self.index))}

    @property
    def examples(self) -> pd.DataFrame:
        """One row a window: id, series, date."""
        return self.index

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each window, all alike."""
        return np.full(len(self.index), self.window)

    def make_spec(self) -> DataSpec:
        """Describe the windows to a model."""
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
        )

    def targets(self, rows: np.ndarray) -> list[object]:
        """Return targets, to six digits."""
        if self.is_direction:
            return [DIRECTIONS[number] for number in self._classes(rows)]
        return [[float(f"{value:.6g}") for value in row] for row in self.windows.targets[rows]]

    def _classes(self, rows: np.ndarray) -> np.ndarray:
        return self.windows.targets[rows, 0].astype(np.int64)

    def describe(self) -> list[tuple[str, str]]:
        """Return what a person wants to know of the data, as (name, text)."""
        meta = {**self.data.meta, **self.found}  # what was odd is this file's, also where another of the same content was prepared
        names, dates = list(self.data.examples["id"]), self.index["date"]
        odd = {name: count for name, count in dict(meta["odd"]).items() if count}  # type: ignore[call-overload]
        unit = f" ({self.unit})" if self.unit else ""
        warnings: list[str] = meta["warnings"]  # type: ignore[assignment]
        found = [
            ("series", f"{len(names)}: {shortened(names)}; {len(self.data.values):,} {self.step}s"),
            ("features", f"{len(self.feature_names)}: {', '.join(self.feature_names)}"),
            (
                "target",
                f"{', '.join(self.target_names)}{unit}, from windows of {self.window} {self.step}s",
            ),
            ("forecasts", f"{len(dates):,}, made {str(dates.min())[:10]} to {str(dates.max())[:10]}"),
            ("split", self.split_used),
            ("", ", ".join(f"{split} {len(rows):,}" for split, rows in self.rows.items())),
            ("odd", "; ".join(f"{count:,} {name}" for name, count in odd.items()) or "nothing"),
        ]
        found += [("skipped", f"too short: {shortened(self.skipped)}")] if self.skipped else []
        more = [f"... and {len(warnings) - MOST_WARNINGS} more, in meta.json"] if len(warnings) > MOST_WARNINGS else []
        return found + [("look at", warning) for warning in warnings[:MOST_WARNINGS] + more]

    def bundle(self) -> Json:
        """Return what turning tables into batches needs."""
        return {
            "kind": self.kind,
            "settings": self.settings(),
            "window": self.window,
            "horizons": self.horizons,
            "features": list(self.feature_names),
            "scales": {name: values.tolist() for name, values in vars(self.scales).items()},
        }

    # -- batches -------------------------------------------------------------------------------------------------------

    def make_order(self, rows: np.ndarray, is_training: bool) -> EpochOrder:
        """Shuffle while training."""
        return EpochOrder(rows, self.lengths[rows], self.loader.batch_size, self.seed, 1 if is_training else 0)

    def collate(self, rows: np.ndarray, epoch: int, is_training: bool) -> Batch:
        """Return windows with their targets and references; changed while training, where asked."""
        values_BTF = torch.from_numpy(self.windows.inputs(rows, self.window))
        lengths_B = torch.full((len(rows),), self.window)
        if is_training:
            values_BTF, lengths_B = augment(values_BTF, self.loader.augment, ExampleRandom(self.seed, epoch, rows))
        ids_B = torch.from_numpy(rows)
        ones_B = torch.ones_like(ids_B)
        if self.is_direction:
            return Batch(values_BTF, lengths_B, torch.from_numpy(self._classes(rows)), ones_B, ids_B)
        parts = (self.windows.offset, self.windows.scale, self.windows.persistence)
        reference = Reference(*(torch.from_numpy(part[rows]) for part in parts))
        return Batch(values_BTF, lengths_B, torch.from_numpy(self.windows.targets[rows]), ones_B, ids_B, reference)


def _other_future(frame: pd.DataFrame, date: np.datetime64) -> pd.DataFrame:
    """Replace every value after a date."""
    is_later = (frame["date"] > date).to_numpy()
    names = [name for name in frame.columns if name != "date"]
    values = frame[names].to_numpy(np.float64, copy=True)
    values[is_later] *= np.exp(np.random.default_rng(0).normal(size=values[is_later].shape) / 10)
    return pd.DataFrame(values, columns=names).assign(date=frame["date"].to_numpy())[list(frame.columns)]


def _scales(bundle: Json) -> Scales:
    return Scales(**{name: np.array(values) for name, values in bundle["scales"].items()})  # type: ignore[attr-defined]


def _check_features(names: tuple[str, ...], bundle: Json, source: str) -> None:
    wanted: list[str] = bundle["features"]  # type: ignore[assignment]
    if list(names) != wanted:
        raise ValueError(
            f"{source} gives the features {', '.join(names)}, but the run was trained on {', '.join(wanted)}: give a table with the same "
            "columns"
        )


def forecast_inputs(
    bundle: Json, inputs: list[str], read: Callable[[Path], dict[str, pd.DataFrame]], series_of: Callable[[str, pd.DataFrame], Series]
) -> tuple[list[str], Batch]:
    """Turn tables (paths, or the content of CSV files) into a batch: of each series the last window.

    Args:
        bundle: of the run.
        inputs: paths or contents.
        read: a table's series.
        series_of: a series with its features.

    Raises:
        ValueError: names the table whose series are too short or lack a feature.
    """
    scales, length = _scales(bundle), int(str(bundle["window"]))
    names, values, references = [], [], []
    for number, item in enumerate(inputs):
        with _as_file(item) as (file, shown):
            found = read(file)
        for name, frame in found.items():
            one = series_of(name, frame)
            _check_features(tuple(one.features.columns), bundle, shown or f"input {number}")
            last = one.features.to_numpy(np.float64)[-length:]
            if len(last) < length or not np.isfinite(last).all():
                place = shown or f"input {number}"
                raise ValueError(f"{place}: {name} has {len(frame)} rows, too few for a window of {length} and its features' past")
            names.append(f"{name} {str(one.times[-1])[:16].removesuffix('T00:00')}")
            values.append(scales.features(last))
            base, size = one.base[-1], one.size[-1]
            references.append((scales.offset(base, size), scales.scale(size), one.persistence[-1].astype(np.float32)))
    reference = Reference(*(torch.from_numpy(np.stack(part)) for part in zip(*references, strict=True)))
    ids_B = torch.arange(len(names))
    unknown_BD = torch.full_like(reference.offset, torch.nan)
    lengths_B = torch.full((len(names),), length)
    return names, Batch(torch.from_numpy(np.stack(values)), lengths_B, unknown_BD, torch.ones_like(ids_B), ids_B, reference)


@contextmanager
def _as_file(item: str) -> Iterator[tuple[Path, str]]:
    """Give a path as it is; content (it holds a line break) as a file."""
    if "\n" not in item:
        yield Path(item).expanduser(), item
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "input.csv"
        file.write_text(item, encoding="utf-8")
        yield file, ""
