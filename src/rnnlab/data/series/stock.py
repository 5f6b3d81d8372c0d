"""`data=stock`: daily prices of one ticker or many, from a named set, the bundled sample, or tables of one's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np
import pandas as pd

from rnnlab.config import PositiveInt
from rnnlab.data import headers, numbers, tables, text_files, times
from rnnlab.data.early import read_once
from rnnlab.data.files import Broken
from rnnlab.data.hashing import code_hash, digest
from rnnlab.data.inputs import InputReader, warn
from rnnlab.data.prepared import Prepared
from rnnlab.data.series import prices
from rnnlab.data.series.base import WindowedData
from rnnlab.data.series.indicators import (
    Estimator,
    TargetKind,
    compute_features,
    daily_variance,
    features_for,
    persistence,
    targets,
)
from rnnlab.data.series.prices import clean, find_prices, price_tables, read_prices
from rnnlab.data.series.window_reader import WindowReader
from rnnlab.data.series.windows import Series
from rnnlab.data.sources.catalogue import PRICES

UNITS: dict[TargetKind, str] = {"return": "%", "change": "", "close": "", "direction": "", "volatility": "%²"}


@dataclass(frozen=True)
class StockReader(WindowReader):
    """Read price tables as the run did that made this; for the arguments see `StockData`."""

    kind = "stock"

    target: TargetKind
    features: list[str] | None
    estimator: Estimator
    taken: list[str] | None = None

    def find(self, path: Path) -> tuple[list[Path], list[str]]:
        return price_tables(path)

    def read_tables(self, file: Path) -> dict[str, pd.DataFrame]:
        broken = Broken(self.on_broken)
        frames = clean(find_prices(file, None, self.writing, broken), broken, is_signed=self.target == "change")[0]
        for line in broken.settle(len(frames), "Mend it"):
            warn(f"{file.name}: {line}")
        return frames

    def made_up_table(self, num_rows: int, values: np.ndarray) -> pd.DataFrame:
        days = pd.bdate_range("2020-01-01", periods=num_rows).strftime("%Y-%m-%d")
        prices = {"open": values - 0.1, "high": values + 0.4, "low": values - 0.3, "close": values, "adjusted": values}
        return pd.DataFrame({"date": days, **{name: part.round(3) for name, part in prices.items()}, "volume": np.arange(num_rows) + 1000})

    def as_taken(self, name: str, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the columns that all tickers of the run had: of more, a day's variance might be estimated in another way.

        Raises:
            ValueError: names the first that is missing.
        """
        if self.taken is None:
            return frame
        if missing := [column for column in self.taken if column not in frame]:
            raise ValueError(
                f"{name} lacks the column {missing[0]!r}, which the run was trained on; it has: {', '.join(frame.columns)}: give a table "
                "with the same columns"
            )
        return frame[self.taken]

    def series_of(self, name: str, frame: pd.DataFrame) -> Series:
        return make_series(name, self.as_taken(name, frame), self.target, self.horizons, self.features, self.estimator)


@final
@dataclass(eq=False, repr=False, kw_only=True)
class StockData(WindowedData):
    """Give batches of windows of daily prices; `source` is `djia`, `vix`, `sample`, or the path of a table or a folder of tables."""

    step = "day"
    upstreams = PRICES
    sample = "stock"
    sample_settings: ClassVar[Mapping[str, str | None]] = {"tickers": None}

    target: TargetKind
    """`return`, `change`, `close`, `direction` or `volatility`, see `rnnlab.data.series.indicators.targets`."""
    horizon_days: list[PositiveInt]
    """Trading days ahead, one forecast each."""
    window_days: PositiveInt
    """Trading days in a window."""
    features: list[str] | None
    """Names in `rnnlab.data.series.indicators.features_for` (None: all whose columns are there)."""
    estimator: Estimator
    """How a day's variance is estimated."""
    tickers: list[str] | None
    """Which tickers (None: all)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.as_taken: Callable[[str, pd.DataFrame], pd.DataFrame] = lambda name, frame: frame
        self.link = "exp" if self.target == "volatility" else "identity"
        self.is_scaled_apart = self.target == "change"  # each ticker's prices have a level of their own
        self.unit, self.is_direction = UNITS[self.target], self.target == "direction"
        if self.is_direction and len(self.horizon_days) > 1:
            raise ValueError(f"data.target=direction is one class, but data.horizon_days={self.horizon_days} asks for several: give one")
        allowed = features_for(self.target)
        if unknown := [name for name in self.features or () if name not in allowed]:
            of = " of data.target=change" if self.target == "change" else ""
            raise ValueError(f"data.features: there is no feature {unknown[0]!r}{of}. Allowed: {', '.join(allowed)}")

    @property
    def window(self) -> int:
        """Trading days in a window."""
        return self.window_days

    @property
    def horizons(self) -> list[int]:
        """Trading days ahead."""
        return self.horizon_days

    def name_parts(self) -> list[str]:
        return [f"{self.target}{'-'.join(map(str, self.horizon_days))}d", *super().name_parts()]

    def read_raw(self, raw: Path) -> pd.DataFrame:
        table, self.found = read_once(read_prices, raw, self.tickers, self.writing, self.prepare.on_broken, self.target == "change")
        self.remarks = price_tables(raw)[1]
        return table

    def setup_as_test(self, reader: InputReader) -> None:
        """Take the columns and features that the run took, whatever else the tables have."""
        assert isinstance(reader, StockReader)
        self.features, self.as_taken = reader.features, reader.as_taken
        super().setup_as_test(reader)

    def frames(self, prepared: Prepared) -> dict[str, pd.DataFrame]:
        """Return each ticker's prices, of those that the run was trained on where it was another's."""
        return {name: self.as_taken(name, frame) for name, frame in super().frames(prepared).items()}

    def prepared_key(self, source_hash: str) -> str:
        files = [Path(str(module.__file__)) for module in (headers, numbers, prices, tables, text_files, times)]
        return digest([source_hash, self.tickers, self.prepare.on_broken, self.target == "change", code_hash(*files)])

    def features_of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Compute the features, all that the table allows where none are named."""
        return features_of(frame, self.features, self.target)

    def series_of(self, name: str, frame: pd.DataFrame) -> Series:
        return make_series(name, frame, self.target, self.horizons, self.features, self.estimator)

    @property
    def target_names(self) -> tuple[str, ...]:
        return tuple(f"{self.target}_{days}d" for days in self.horizons)

    def describe(self) -> list[tuple[str, str]]:
        found = super().describe()
        if self.target == "volatility":
            first = next(iter(self.frames(self.data).values()))
            _, used, _ = daily_variance(first, self.estimator)
            found.insert(3, ("variance", f"{used}, mean of the days ahead, in percent squared"))
        return found

    def reader(self) -> StockReader:
        parts = (self.window, self.horizons, self.feature_names, self.scale_lists(), self.link)
        used = [frame for name, frame in self.frames(self.data).items() if name not in self.skipped]
        columns = [list(frame.columns) for frame in used]
        taken = columns[0] if all(names == columns[0] for names in columns) else None
        features = self.features or allowed_features(used[0], self.target)
        return StockReader(*parts, self.target, features, self.estimator, taken, writing=self.writing, on_broken=self.prepare.on_broken)


def features_of(frame: pd.DataFrame, names: list[str] | None, kind: TargetKind) -> pd.DataFrame:
    """Compute features, all that the target and the table allow where none are named."""
    return compute_features(frame, names or allowed_features(frame, kind))


def allowed_features(frame: pd.DataFrame, kind: TargetKind) -> list[str]:
    """Name the features of a target whose columns a table has."""
    return [name for name, feature in features_for(kind).items() if set(feature.needs) <= set(frame.columns)]


def make_series(
    name: str, frame: pd.DataFrame, kind: TargetKind, horizons: list[int], names: list[str] | None, estimator: Estimator
) -> Series:
    """Compute a ticker's features, targets, persistence, and what forecasts start from: of prices the last one."""
    close = np.tile(frame["close"].to_numpy(float)[:, None], (1, len(horizons)))
    return Series(
        name=name,
        times=frame["date"].to_numpy(),
        features=features_of(frame, names, kind),
        targets=targets(frame, kind, horizons, estimator).to_numpy(),
        persistence=persistence(frame, kind, horizons, estimator).to_numpy(),
        base=close if kind == "close" else np.zeros_like(close),
        size=close if kind == "close" else np.ones_like(close),
    )
