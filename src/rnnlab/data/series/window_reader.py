"""Reading tables of series for a finished run: of each series the last window, scaled as the run's own were."""

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from rnnlab.contracts import Batch, Link, Past, Reference
from rnnlab.data.files import OnBroken, home_of
from rnnlab.data.inputs import FileReader, warn
from rnnlab.data.series.windows import Scales, ScalesByName, Series, outputs_of, relative
from rnnlab.data.tables import Writing

ROWS_OF_PAST = 120
"""Before a window, of the table that is a served model's example: more than any feature looks back."""


@dataclass(frozen=True)
class WindowReader(FileReader, ABC):
    """Base class of readers that take of each series of a table the last window.

    Args:
        window: steps in it.
        horizons: steps ahead, one forecast each.
        feature_names: of the run's data.
        scales: what was fitted on the run's training split, by series.
        link: of the targets.
        writing: how tables write numbers and dates.
        on_broken: what is done with what cannot be read.
        season: steps after which values repeat (0: unknown).
        step_microseconds: from one row to the next (0: unknown).
        is_relative: whether inputs hold the target's own values as differences from the window's last one.
    """

    columns: ClassVar[Mapping[str, str]] = {"csv": "string"}
    is_counted_back = True

    window: int
    horizons: list[int]
    feature_names: tuple[str, ...]
    scales: dict[str, dict[str, list[float]]]
    link: Link
    writing: Writing = field(default=Writing(), kw_only=True)
    on_broken: OnBroken = field(default="raise", kw_only=True)
    season: int = field(default=0, kw_only=True)
    step_microseconds: int = field(default=0, kw_only=True)
    is_relative: bool = field(default=False, kw_only=True)

    @abstractmethod
    def read_tables(self, file: Path) -> dict[str, pd.DataFrame]:
        """Return each series of a file as a table."""

    @abstractmethod
    def series_of(self, name: str, frame: pd.DataFrame) -> Series:
        """Return a series with its features."""

    def made_up(self) -> str:
        """Return a table that is long enough for a window and the past of its features, as a CSV file."""
        num_rows = self.window + ROWS_OF_PAST
        return self.made_up_table(num_rows, 10 + np.sin(np.arange(num_rows) / 7) + np.cos(np.arange(num_rows) ** 1.5)).to_csv(index=False)

    @abstractmethod
    def made_up_table(self, num_rows: int, values: np.ndarray) -> pd.DataFrame:
        """Return a table with these values, (num_rows,), about 10, in it."""

    @property
    def fitted(self) -> ScalesByName:
        """The scales that were fitted on the run's training split."""
        return ScalesByName({name: Scales.from_lists(lists) for name, lists in self.scales.items()})

    def _scales_of(self, one: Series, fitted: ScalesByName) -> Scales:
        """Return a series' scales; where the run scaled each by itself and never saw this one, those of all steps that are given."""
        if fitted.has(one.name):
            return fitted.of(one.name)
        features, targets, outputs = one.features.to_numpy(np.float64), one.targets, outputs_of(one, self.link)
        is_known = np.isfinite(outputs).all(1)
        if not is_known.any():
            raise ValueError(f"{one.name} has {len(one.times)} rows, too few to scale a series that the run never saw: give more rows")
        warn(f"the run never saw the series {one.name!r}: it is scaled by the {len(one.times):,} rows that were given")
        scales = Scales.of(features[np.isfinite(features).all(1)], outputs[is_known], targets[is_known])
        return scales if one.levels is None else scales.of_levels(one.levels, self.season, is_path=one.is_path)

    def refuse_other_features(self, names: tuple[str, ...], source: str) -> None:
        """Raise ValueError where a table gives other features than the run's data."""
        if names != self.feature_names:
            raise ValueError(
                f"{source} gives the features {', '.join(names)}, but the run was trained on {', '.join(self.feature_names)}: give a table "
                "with the same columns"
            )

    def read(self, inputs: Sequence[str | bytes]) -> tuple[list[str], Batch]:
        """Turn tables (paths, or the content of CSV files) into a batch: of each series the last window.

        Raises:
            ValueError: names the table whose series are too short or lack a feature.
        """
        fitted = self.fitted
        names, values, references, pasts = [], [], [], []
        for number, item in enumerate(inputs):
            with _as_file(str(item)) as (file, shown):
                found = self.read_tables(file)
            for name, frame in found.items():
                one, place = self.series_of(name, frame), shown or f"input {number}"
                last = self._last_window(one, place)
                scales = self._scales_of(one, fitted)
                values.append(relative(scales.features(last)) if self.is_relative else scales.features(last))
                names.append(f"{name} {str(one.times[-1])[:16].removesuffix('T00:00')}")
                base, size = one.base[-1], one.size[-1]
                references.append(
                    [*np.broadcast_arrays(scales.offset(base, size), scales.scale(size), one.persistence[-1], one.targets[-1])][:3]
                )
                if one.levels is not None:
                    pasts.append(self._past(one, scales))
        reference = Reference(*(torch.from_numpy(np.stack(part)) for part in zip(*references, strict=True)))
        past = Past(*(torch.from_numpy(np.stack(part)) for part in zip(*pasts, strict=True))) if pasts else None
        ids_B = torch.arange(len(names))
        unknown_BD, lengths_B = torch.full_like(reference.offset, torch.nan), torch.full((len(names),), self.window)
        return names, Batch(torch.from_numpy(np.stack(values)), lengths_B, unknown_BD, torch.ones_like(ids_B), ids_B, reference, past=past)

    def _past(self, one: Series, scales: Scales) -> tuple[np.ndarray, np.int64, np.int64, np.int64, np.float64]:
        """Return what `Past` holds of one series."""
        known = list(self.scales)
        number = known.index(one.name) if one.name in known else 0 if len(known) == 1 else -1
        time = one.times[-1].astype("datetime64[us]").astype(np.int64)
        values = one.features["target"].to_numpy(np.float64)[-self.window :]
        return values, time, np.int64(self.step_microseconds), np.int64(number), np.float64(scales.season_error[0])

    def _last_window(self, series: Series, place: str) -> np.ndarray:
        self.refuse_other_features(tuple(series.features.columns), place)
        last = series.features.to_numpy(np.float64)[-self.window :]
        if len(last) < self.window or not np.isfinite(last).all():
            raise ValueError(
                f"{place}: {series.name} has {len(series.times)} rows, too few for a window of {self.window} and its features' past"
            )
        return last


@contextmanager
def _as_file(item: str) -> Iterator[tuple[Path, str]]:
    """Give a path as it is; content (it holds a line break) as a file."""
    if "\n" not in item:
        yield home_of(item), item
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "input.csv"
        file.write_text(item, encoding="utf-8")
        yield file, ""
