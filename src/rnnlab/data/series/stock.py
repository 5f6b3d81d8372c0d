"""`data=stock`: daily prices of one ticker or many, from a named set, the bundled sample, or tables of one's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np
import pandas as pd

from rnnlab.config import PositiveInt
from rnnlab.data import tables
from rnnlab.data.hashing import code_hash, digest
from rnnlab.data.prepared import Json
from rnnlab.data.series import prices
from rnnlab.data.series.base import WindowedData, WindowReader
from rnnlab.data.series.indicators import FEATURES, Estimator, TargetKind, compute_features, daily_variance, persistence, targets
from rnnlab.data.series.prices import clean, find_prices, price_tables
from rnnlab.data.series.windows import Series
from rnnlab.data.sources.catalogue import PRICES

UNITS: dict[TargetKind, str] = {"return": "%", "close": "", "direction": "", "volatility": "%²"}


@dataclass(frozen=True)
class StockReader(WindowReader):
    """Read price tables as the run did that made this; for the arguments see `StockData`."""

    kind = "stock"

    target: TargetKind
    features: list[str] | None
    estimator: Estimator

    def find(self, path: Path) -> tuple[list[Path], list[str]]:
        return price_tables(path)

    def read_tables(self, file: Path) -> dict[str, pd.DataFrame]:
        return clean(find_prices(file, None))[0]

    def series_of(self, name: str, frame: pd.DataFrame) -> Series:
        return make_series(name, frame, self.target, self.horizons, self.features, self.estimator)


@final
@dataclass(eq=False, repr=False, kw_only=True)
class StockData(WindowedData):
    """Give batches of windows of daily prices; `source` is `djia`, `vix`, `sample`, or the path of a table or a folder of tables."""

    step = "day"
    upstreams = PRICES
    sample = "stock"
    sample_settings: ClassVar[Mapping[str, str | None]] = {"tickers": None}

    target: TargetKind
    """`return`, `close`, `direction` or `volatility`, see `rnnlab.data.series.indicators.targets`."""
    horizon_days: list[PositiveInt]
    """Trading days ahead, one forecast each."""
    window_days: PositiveInt
    """Trading days in a window."""
    features: list[str] | None
    """Names in `rnnlab.data.series.indicators.FEATURES` (None: all whose columns are there)."""
    estimator: Estimator
    """How a day's variance is estimated."""
    tickers: list[str] | None
    """Which tickers (None: all)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.link = "exp" if self.target == "volatility" else "identity"
        self.unit, self.is_direction = UNITS[self.target], self.target == "direction"
        if self.is_direction and len(self.horizon_days) > 1:
            raise ValueError(f"data.target=direction is one class, but data.horizon_days={self.horizon_days} asks for several: give one")
        if unknown := [name for name in self.features or () if name not in FEATURES]:
            raise ValueError(f"data.features: there is no feature {unknown[0]!r}. Allowed: {', '.join(FEATURES)}")

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
        table, self.found = read_prices(raw, self.tickers)
        self.remarks = price_tables(raw)[1]
        return table

    def prepared_key(self, source_hash: str) -> str:
        files = [Path(str(module.__file__)) for module in (prices, tables)]
        return digest([source_hash, self.tickers, code_hash(*files)])

    def features_of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Compute the features, all that the table allows where none are named."""
        return features_of(frame, self.features)

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
        parts = (self.window, self.horizons, self.feature_names, self.scale_lists())
        return StockReader(*parts, self.target, self.features, self.estimator)


def features_of(frame: pd.DataFrame, names: list[str] | None) -> pd.DataFrame:
    """Compute features, all that the table allows where none are named."""
    return compute_features(frame, names or [name for name, feature in FEATURES.items() if set(feature.needs) <= set(frame.columns)])


def make_series(
    name: str, frame: pd.DataFrame, kind: TargetKind, horizons: list[int], names: list[str] | None, estimator: Estimator
) -> Series:
    """Compute a ticker's features, targets, persistence, and what forecasts start from: of prices the last one."""
    close = np.tile(frame["close"].to_numpy(float)[:, None], (1, len(horizons)))
    return Series(
        name=name,
        times=frame["date"].to_numpy(),
        features=features_of(frame, names),
        targets=targets(frame, kind, horizons, estimator).to_numpy(),
        persistence=persistence(frame, kind, horizons, estimator).to_numpy(),
        base=close if kind == "close" else np.zeros_like(close),
        size=close if kind == "close" else np.ones_like(close),
    )


def read_prices(raw: Path, tickers: list[str] | None) -> tuple[pd.DataFrame, Json]:
    """Return one long, clean table of all tickers (series, date, close, ...), and what was odd."""
    frames, counts, warnings = clean(find_prices(raw, tickers))
    table = pd.concat([frame.assign(series=ticker) for ticker, frame in frames.items()], ignore_index=True)
    odd = {name.removeprefix("num_").replace("_", " "): count for name, count in counts.items() if name != "num_rows"}
    return table, {"odd": odd, "warnings": warnings}
