"""Make the bundled sample of daily prices: six invented shares, simulated, no download.

Simulates a stochastic-volatility model (README.md gives its equations): a market factor and one own factor per share,
each with a volatility that clusters; every day is a gap over night and a path of 78 steps, from which open, high, low
and close are read. Writes next to this file

    <TICKER>.csv    date, open, high, low, close, volume; 1,250 rows, Monday to Friday from 2015-01-02

and prints the statistics that README.md states. Every choice comes from generators with a fixed seed, so running it
again writes the same bytes. Files of the same names are overwritten; nothing is deleted.

Run:    python data/samples/stock/make_sample.py
Needs:  numpy.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parent
SEED = 2
NUM_DAYS = 1250
NUM_STEPS = 78  # five-minute steps of a trading day of six and a half hours
OVERNIGHT = 0.2  # the share of a day's variance that falls between close and open
DRIFT = 0.0003  # per day, in log price

SLOW = (0.98, 0.55)  # AR(1) coefficient and standard deviation of the slow part of log volatility
FAST = (0.50, 0.20)  # of its fast part
LEVERAGE = -0.5  # correlation of a day's return with the next change of the slow part
DEGREES = 15.0  # of freedom of Student's t

MARKET_VOLATILITY = 0.008  # typical standard deviation of a day's log return

Array = NDArray[np.float64]


class Share(NamedTuple):
    """One invented share: its first price, weight on the market, own daily volatility, and typical volume."""

    ticker: str
    price: float
    beta: float
    volatility: float
    volume: float


SHARES = (
    Share("ALFA", 48.0, 0.9, 0.009, 2.4e6),
    Share("BRVO", 112.0, 1.2, 0.012, 9.0e5),
    Share("CHRL", 31.5, 0.6, 0.007, 4.1e6),
    Share("DLTA", 76.0, 1.0, 0.015, 1.3e6),
    Share("ECHO", 154.0, 1.4, 0.011, 6.5e5),
    Share("FXTR", 23.0, 0.8, 0.013, 3.2e6),
)


class Factor(NamedTuple):
    """One source of risk: log returns by step (day, gap and steps), and its volatility by day with the day's shock."""

    steps: Array
    volatility: Array


def autoregress(innovations: Array, coefficient: float) -> Array:
    """Return the AR(1) series with stationary variance 1 that these standard innovations drive."""
    values = np.empty_like(innovations)
    values[0] = innovations[0]
    scale = np.sqrt(1.0 - coefficient**2)
    for day in range(1, values.size):
        values[day] = coefficient * values[day - 1] + scale * innovations[day]
    return values


def draw_factor(rng: np.random.Generator, volatility: float) -> Factor:
    """Draw one factor: normal steps within the day, times a volatility that clusters and a Student-t day shock."""
    shares = np.full(NUM_STEPS + 1, (1.0 - OVERNIGHT) / NUM_STEPS)
    shares[0] = OVERNIGHT
    steps = rng.standard_normal((NUM_DAYS, NUM_STEPS + 1)) * np.sqrt(shares)
    yesterday = np.concatenate([[0.0], steps.sum(axis=1)[:-1]])
    slow = LEVERAGE * yesterday + np.sqrt(1.0 - LEVERAGE**2) * rng.standard_normal(NUM_DAYS)
    fast = rng.standard_normal(NUM_DAYS)
    log_volatility = SLOW[1] * autoregress(slow, SLOW[0]) + FAST[1] * autoregress(fast, FAST[0])
    shock = np.sqrt((DEGREES - 2.0) / rng.chisquare(DEGREES, NUM_DAYS))
    scale = volatility * np.exp(log_volatility) * shock
    return Factor(steps * scale[:, None], scale)


def simulate(share: Share, market: Factor, rng: np.random.Generator) -> tuple[Array, NDArray[np.int64]]:
    """Return the prices, shape (days, 4): open, high, low, close; and the volumes, shape (days,)."""
    own = draw_factor(rng, share.volatility)
    steps = share.beta * market.steps + own.steps + DRIFT / (NUM_STEPS + 1)
    path = share.price * np.exp(np.cumsum(steps.reshape(-1)).reshape(steps.shape))
    prices = np.stack([path[:, 0], path.max(axis=1), path.min(axis=1), path[:, -1]], axis=1)
    log_volatility = 0.5 * np.log((share.beta * market.volatility) ** 2 + own.volatility**2)
    noise = autoregress(rng.standard_normal(NUM_DAYS), 0.7)
    log_volume = np.log(share.volume) + 0.8 * (log_volatility - log_volatility.mean()) + 0.2 * noise
    return np.round(prices, 2), np.round(np.exp(log_volume)).astype(np.int64)


def check(prices: Array) -> None:
    """Stop if a price is not positive, or lies outside its day's range."""
    opened, high, low, close = prices.T
    if not ((low > 0.0) & (high >= np.maximum(opened, close)) & (low <= np.minimum(opened, close))).all():
        raise ValueError("the simulated prices are inconsistent")


def autocorrelation(values: Array, lag: int) -> float:
    """Return the sample autocorrelation at `lag`."""
    centred = values - values.mean()
    return float((centred[lag:] * centred[:-lag]).sum() / (centred**2).sum())


def har_skill(log_range: Array) -> float:
    """Return the out-of-sample R² of a HAR regression for the next day's log range, over the last 30 % of the days.

    The regressors are yesterday's value and its means over the last 5 and 22 days (Corsi, 2009), fitted by least
    squares on the first 70 %; the reference is the mean of those.
    """
    means = [np.convolve(log_range, np.full(width, 1.0 / width), "valid")[22 - width : -1] for width in (1, 5, 22)]
    features = np.stack([np.ones_like(means[0]), *means], axis=1)
    target = log_range[22:]
    start = int(0.7 * target.size)
    weights = np.linalg.lstsq(features[:start], target[:start], rcond=None)[0]
    errors = target[start:] - features[start:] @ weights
    return float(1.0 - (errors**2).sum() / ((target[start:] - target[:start].mean()) ** 2).sum())


def describe(ticker: str, prices: Array, volume: NDArray[np.int64]) -> str:
    """Return one line of statistics, as in README.md."""
    returns = np.diff(np.log(prices[:, 3]))
    log_range = np.log(np.log(prices[:, 1] / prices[:, 2]))
    kurtosis = float(np.mean((returns - returns.mean()) ** 4) / returns.var() ** 2)
    coupling = float(np.corrcoef(log_range, np.log(volume))[0, 1])
    lags = [autocorrelation(log_range, lag) for lag in (1, 5, 22)]
    values = [autocorrelation(returns, 1), autocorrelation(returns**2, 1), *lags, kurtosis, coupling, har_skill(log_range)]
    low, high, yearly = prices[:, 2].min(), prices[:, 1].max(), returns.std() * np.sqrt(252.0)
    return f"| {ticker} | {low:.2f} to {high:.2f} | {100 * yearly:.0f} % | " + " | ".join(f"{value:.2f}" for value in values) + " |"


def main() -> None:
    """Write one file per share and print the statistics."""
    days = np.busday_offset(np.datetime64("2015-01-02"), np.arange(NUM_DAYS), roll="forward")
    market = draw_factor(np.random.default_rng([SEED, 0]), MARKET_VOLATILITY)
    for number, share in enumerate(SHARES, start=1):
        prices, volume = simulate(share, market, np.random.default_rng([SEED, number]))
        check(prices)
        lines = ["date,open,high,low,close,volume"]
        for day, row, traded in zip(days, prices, volume, strict=True):
            lines.append(f"{day}," + ",".join(f"{price:.2f}" for price in row) + f",{traded}")
        (FOLDER / f"{share.ticker}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
        print(describe(share.ticker, prices, volume))
    print(f"wrote {len(SHARES)} files of {NUM_DAYS} days to {FOLDER}")


if __name__ == "__main__":
    main()
