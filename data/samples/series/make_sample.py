"""Make the bundled sample of a time series: the hourly electricity load of an invented town, no download.

Simulates temperature, wind and load (README.md gives the equations) and writes next to this file

    hourly_load.csv    time, load_mw, temperature_c, wind_ms, is_holiday; 2,880 hours from 2021-01-01 00:00

in which six temperatures are left empty, and prints the statistics that README.md states. Every choice comes from a
generator with a fixed seed, so running it again writes the same bytes. A file of that name is overwritten.

Run:    python data/samples/series/make_sample.py
Needs:  numpy.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parent
SEED = 20210101
START = "2021-01-01T00"
NUM_HOURS = 120 * 24
HOLIDAYS = ("2021-01-01", "2021-01-06", "2021-04-02", "2021-04-05")
NUM_MISSING = 6  # empty temperatures

BASE_MW = 60.0
HEATING_MW = 1.1  # per degree below HEATING_LIMIT
HEATING_LIMIT = 15.0  # °C
WIND_CHILL = 0.25  # degrees that the town feels colder per m/s of wind
NOISE = (0.9, 0.9)  # AR(1) coefficient, and standard deviation of its innovations in MW

# What a working day and a day off add to the load at each hour from 0 to 23, in MW.
WORKING_DAY = (-12, -14, -15, -15, -14, -9, 0, 10, 15, 15, 14, 13, 12, 11, 10, 10, 12, 17, 21, 20, 15, 8, 0, -7)
DAY_OFF = (-13, -16, -18, -19, -19, -18, -15, -10, -4, 1, 4, 6, 7, 5, 2, 1, 3, 9, 13, 13, 9, 4, -3, -9)

Array = NDArray[np.float64]


def autoregress(rng: np.random.Generator, coefficient: float, deviation: float) -> Array:
    """Return an AR(1) series around 0 that starts in its stationary state; `deviation` is of its innovations."""
    innovations = deviation * rng.standard_normal(NUM_HOURS)
    values = np.empty(NUM_HOURS)
    values[0] = innovations[0] / np.sqrt(1.0 - coefficient**2)
    for hour in range(1, NUM_HOURS):
        values[hour] = coefficient * values[hour - 1] + innovations[hour]
    return values


def draw_weather(rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the temperature in °C and the wind in m/s: a cold January, a mild April, and weather that lasts days."""
    hours = np.arange(NUM_HOURS, dtype=np.float64)
    season = 5.5 - 6.5 * np.cos(2.0 * np.pi * (hours / 24.0 - 20.0) / 365.0)
    daily = (2.0 + 2.0 * hours / NUM_HOURS) * np.cos(2.0 * np.pi * (hours % 24 - 15) / 24.0)
    temperature: Array = (season + daily + autoregress(rng, 0.99, 0.45)).round(1)
    wind: Array = np.exp(1.3 + autoregress(rng, 0.96, 0.14)).round(1)
    return temperature + 0.0, wind  # + 0.0 turns -0.0 into 0.0


def draw_load(rng: np.random.Generator, temperature: Array, wind: Array, day_off: NDArray[np.bool_]) -> Array:
    """Return the load in MW for each hour."""
    hour = np.arange(NUM_HOURS) % 24
    profile = np.where(day_off, np.array(DAY_OFF)[hour], np.array(WORKING_DAY)[hour])
    felt = temperature - WIND_CHILL * wind
    smoothed = np.empty(NUM_HOURS)  # walls keep warm: heating follows the temperature with a delay of some six hours
    smoothed[0] = felt[0]
    for index in range(1, NUM_HOURS):
        smoothed[index] = smoothed[index - 1] + (felt[index] - smoothed[index - 1]) / 6.0
    heating = HEATING_MW * np.maximum(HEATING_LIMIT - smoothed, 0.0)
    return np.round(BASE_MW + profile + heating + autoregress(rng, *NOISE), 2)


def describe(load: Array) -> str:
    """Return the statistics that README.md states: range, and the errors of two forecasts that learn nothing."""
    tail = slice(NUM_HOURS - 18 * 24, NUM_HOURS)  # the last 15 %
    errors = {lag: np.abs(load[lag:] - load[:-lag]).mean() for lag in (1, 24, 168)}
    recent = {lag: np.abs(load[tail] - load[tail.start - lag : NUM_HOURS - lag]).mean() for lag in (1, 24, 168)}
    lines = [f"load {load.min():.1f} to {load.max():.1f} MW, mean {load.mean():.1f}, standard deviation {load.std():.1f}"]
    lines += [f"mean absolute error of 'as {lag} h ago': {errors[lag]:.2f} MW, last 18 days {recent[lag]:.2f} MW" for lag in errors]
    return "\n".join(lines)


def main() -> None:
    """Write the file and print the statistics."""
    rng = np.random.default_rng(SEED)
    times = np.datetime64(START) + np.arange(NUM_HOURS)
    days = times.astype("datetime64[D]")
    holiday = np.isin(days, np.array(HOLIDAYS, dtype="datetime64[D]"))
    temperature, wind = draw_weather(rng)
    load = draw_load(rng, temperature, wind, holiday | ~np.is_busday(days))
    missing = set(rng.choice(NUM_HOURS, NUM_MISSING, replace=False).tolist())
    lines = ["time,load_mw,temperature_c,wind_ms,is_holiday"]
    for index, time in enumerate(times):
        degrees = "" if index in missing else f"{temperature[index]:.1f}"
        lines.append(f"{str(time).replace('T', ' ')}:00,{load[index]:.2f},{degrees},{wind[index]:.1f},{int(holiday[index])}")
    (FOLDER / "hourly_load.csv").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    print(f"temperature {temperature.min():.1f} to {temperature.max():.1f} °C, wind {wind.min():.1f} to {wind.max():.1f} m/s")
    print(describe(load))
    print(f"empty temperatures at {', '.join(str(times[index]) for index in sorted(missing))}")
    print(f"wrote {NUM_HOURS} hours to {FOLDER / 'hourly_load.csv'}")


if __name__ == "__main__":
    main()
