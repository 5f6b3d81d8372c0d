"""`data=stock`: daily prices of one ticker or many, from a named set, the bundled sample, or tables of one's own."""

from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd

from rnnlab.contracts import Batch, Fraction, NonNegativeInt, PositiveInt
from rnnlab.data import tables
from rnnlab.data.hashing import code_hash, digest
from rnnlab.data.prepared import Json
from rnnlab.data.series import prices
from rnnlab.data.series.base import DateSplit, WindowedData, WindowLoader, forecast_inputs
from rnnlab.data.series.calendar_splits import Walk
from rnnlab.data.series.indicators import FEATURES, Estimator, TargetKind, compute_features, daily_variance, persistence, targets
from rnnlab.data.series.prices import clean, find_prices
from rnnlab.data.series.windows import Series
from rnnlab.data.sources.fetching import UpstreamFiles

GITHUB = "https://raw.githubusercontent.com"
REPOSITORY = f"{GITHUB}/szrlee/Stock-Time-Series-Analysis"
TICKERS = (
    *("AABA", "AAPL", "AMZN", "AXP", "BA", "CAT", "CSCO", "CVX", "DIS", "GE", "GOOGL", "GS", "HD", "IBM", "INTC", "JNJ", "JPM", "KO"),
    *("MCD", "MMM", "MRK", "MSFT", "NKE", "PFE", "PG", "TRV", "UNH", "UTX", "VZ", "WMT", "XOM"),
)
DJIA = UpstreamFiles(
    name="djia",
    urls={
        f"{ticker}_2006-01-01_to_2018-01-01.csv": f"{REPOSITORY}/master/data/{ticker}_2006-01-01_to_2018-01-01.csv" for ticker in TICKERS
    },
    mirror_file="djia",
    content_hash="757fd093eaa330e8ab74cfa667bba969ca71df455aaf25225fc0d184f5d10d39",
    licence="none stated in the repository",
    max_bytes=20_000_000,
)
VIX = UpstreamFiles(
    name="vix",
    urls={"vix-daily.csv": f"{GITHUB}/datasets/finance-vix/6f56e27/data/vix-daily.csv"},
    mirror_file="vix",
    content_hash="81c74dd2cb4c85a092276b489dfd8abedb34b43ba8ae436223f919fa79eccbc0",
    licence="PDDL 1.0",
    max_bytes=5_000_000,
)
UPSTREAMS = {source.name: source for source in (DJIA, VIX)}
UNITS: dict[TargetKind, str] = {"return": "%", "close": "", "direction": "", "volatility": "%²"}


@final
class StockData(WindowedData):
    """Give batches of windows of daily prices.

    Args:
        paths, seed, name, mirror, offline: see `rnnlab.data.base.SequenceDataModule`.
        source: `djia`, `vix`, `sample`, or the path of a table or a folder of tables.
        target: `return`, `close`, `direction` or `volatility`, see `rnnlab.data.series.indicators.targets`.
        horizon_days: trading days ahead, one forecast each.
        window_days: trading days in a window.
        features: names in `rnnlab.data.series.indicators.FEATURES` (None: all whose columns are there).
        estimator: of a day's variance.
        tickers: which (None: all).
        test_fraction, val_fraction, num_folds, fold, walk: see `rnnlab.data.series.calendar_splits`.
        loader: see `WindowLoader`.
    """

    kind = "stock"
    step = "day"
    upstreams = UPSTREAMS
    sample = "stock"

    def __init__(
        self,
        paths: dict[str, str],
        seed: int,
        name: str,
        source: str,
        mirror: str | None,
        offline: bool,
        target: TargetKind,
        horizon_days: list[PositiveInt],
        window_days: PositiveInt,
        features: list[str] | None,
        estimator: Estimator,
        tickers: list[str] | None,
        test_fraction: Fraction,
        val_fraction: Fraction,
        num_folds: PositiveInt,
        fold: NonNegativeInt,
        walk: Walk,
        loader: WindowLoader,
    ) -> None:
        split = DateSplit(test_fraction, val_fraction, num_folds, fold, walk)
        super().__init__(paths, seed, name, source, mirror, offline, window_days, horizon_days, split, loader)
        self.target, self.features, self.estimator, self.tickers = target, features, estimator, tickers
        self.link = "exp" if target == "volatility" else "identity"
        self.unit = UNITS[target]
        self.is_direction = target == "direction"
        if self.is_direction and len(horizon_days) > 1:
            raise ValueError(f"data.target=direction is one class, but data.horizon_days={horizon_days} asks for several: give one")
        if features is not None:
            _check_names(features)

    def read_raw(self, raw: Path) -> pd.DataFrame:
        """Read and clean all price tables."""
        table, self.found = read_prices(raw, self.tickers)
        return table

    def prepared_key(self, source_hash: str) -> str:
        """Hash source, tickers, code."""
        files = [Path(str(module.__file__)) for module in (prices, tables)]
        return digest([source_hash, self.tickers, code_hash(*files)])

    def features_of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Compute the features, all that the table allows where none are named."""
        return features_of(frame, self.features)

    def series_of(self, name: str, frame: pd.DataFrame) -> Series:
        """Compute features, targets, persistence, and what forecasts start from."""
        return make_series(name, frame, self.target, self.horizons, self.features, self.estimator)

    @property
    def target_names(self) -> tuple[str, ...]:
        """One name for each horizon."""
        return tuple(f"{self.target}_{days}d" for days in self.horizons)

    def describe(self) -> list[tuple[str, str]]:
        """Add which estimator of variance was used."""
        found = super().describe()
        if self.target == "volatility":
            first = next(iter(self.frames(self.data).values()))
            _, used, _ = daily_variance(first, self.estimator)
            found.insert(3, ("variance", f"{used}, mean of the days ahead, in percent squared"))
        return found

    def settings(self) -> Json:
        """Return what reading new prices needs."""
        return {"kind": self.target, "horizons": self.horizons, "names": self.features, "estimator": self.estimator}


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


def _check_names(features: list[str]) -> None:
    if unknown := [name for name in features if name not in FEATURES]:
        raise ValueError(f"data.features: there is no feature {unknown[0]!r}. Allowed: {', '.join(FEATURES)}")


def read_inputs(bundle: Json, inputs: list[str]) -> tuple[list[str], Batch]:
    """Turn price tables into a batch: of each ticker the last window."""
    settings: dict[str, Any] = bundle["settings"]  # type: ignore[assignment]
    return forecast_inputs(
        bundle, inputs, lambda file: clean(find_prices(file, None))[0], lambda name, frame: make_series(name, frame, **settings)
    )
