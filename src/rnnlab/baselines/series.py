"""Baselines of a series' own values: the last season again, the line through a window, the mean of the hour and month, a linear model.

All read the target's own past and the clock (`contracts.Past`), and answer all steps of a horizon at once.
"""

from typing import ClassVar

import numpy as np
import scipy.linalg
import torch

from rnnlab.baselines.base import Arrays, Method, standardise
from rnnlab.contracts import Batch, DataSpec, InputKind, Past, TargetKind

PENALTIES = (0.01, 1.0, 100.0, 10_000.0)
DAY, MONTHS = 86_400_000_000, 12
"""Microseconds of a day; months of a year."""


class OwnPast(Method):
    """Base class of baselines that read a series' own past."""

    input_kinds: ClassVar[tuple[InputKind, ...]] = ("features",)
    target_kinds: ClassVar[tuple[TargetKind, ...]] = ("real",)

    @classmethod
    def is_offered(cls, spec: DataSpec) -> bool:
        return super().is_offered(spec) and bool(spec.horizons)

    @property
    def horizons(self) -> np.ndarray:
        """How many steps ahead each dimension lies."""
        return np.array(self.spec.horizons)

    def standard(self, values_BD: np.ndarray, batch: Batch) -> np.ndarray:
        """Turn forecasts in the target's unit into outputs."""
        return standardise(torch.from_numpy(np.ascontiguousarray(values_BD)), batch, self.spec)


class Seasonal(OwnPast):
    """Forecast that the last season comes again: of hourly values yesterday's, `data.season_steps` says otherwise. Nothing is fitted."""

    def refusal(self) -> str | None:
        if (reason := super().refusal()) is not None:
            return reason
        return None if self.spec.season else "no season is known for rows so far apart: give data.season_steps"

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        for batch in train[:1]:
            self._last_season(batch)
        return {}

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        return self.standard(self._last_season(batch)[:, (self.horizons - 1) % self.spec.season], batch)

    def _last_season(self, batch: Batch) -> np.ndarray:
        values_BT, season = past_of(batch).values.numpy(), self.spec.season
        if values_BT.shape[1] < season:
            raise ValueError(
                f"baseline.kind=seasonal repeats the last {season} steps, but windows have {values_BT.shape[1]}: give "
                f"data.window_steps={season} or more, or a shorter data.season_steps"
            )
        return values_BT[:, -season:]


class Drift(OwnPast):
    """Forecast that a window's line from its first value to its last goes on. Nothing is fitted."""

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        return {}

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        values_BT = past_of(batch).values.numpy()
        first_B1, last_B1 = values_BT[:, :1], values_BT[:, -1:]
        slope_B1 = (last_B1 - first_B1) / max(values_BT.shape[1] - 1, 1)
        return self.standard(last_B1 + slope_B1 * self.horizons, batch)


class Climatology(OwnPast):
    """Forecast the mean of the training targets of the same series, month and time of day.

    Where training has none of that month it is the mean of the time of day, without that the series' mean; of a series that the run
    never saw, the mean of the window.
    """

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        """Average each training target once, though windows overlap."""
        step = int(past_of(train[0]).step[0])
        num_slots = DAY // step if 0 < step < DAY else 1
        found = [self._targets(batch) for batch in train]
        series, times, values = _each_once(*(np.concatenate(part) for part in zip(*found, strict=True)))
        shape = (int(series.max()) + 1, MONTHS, num_slots)
        places = np.ravel_multi_index((series, *_slots(times, num_slots)), shape)
        counts = np.bincount(places, minlength=int(np.prod(shape))).reshape(shape)
        sums = np.bincount(places, values, minlength=int(np.prod(shape))).reshape(shape)
        whole = _mean(sums.sum((1, 2), keepdims=True), counts.sum((1, 2), keepdims=True), np.zeros(1))
        of_time = _mean(sums.sum(1, keepdims=True), counts.sum(1, keepdims=True), whole)
        return {"means": _mean(sums, counts, of_time)}

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        means, past = arrays["means"], past_of(batch)
        series_B1 = past.series.numpy()[:, None]
        months_BD, slots_BD = _slots(self._times(past), means.shape[2])
        is_known_B1 = (series_B1 >= 0) & (series_B1 < len(means))
        found_BD = means[np.where(is_known_B1, series_B1, 0), months_BD, slots_BD]
        return self.standard(np.where(is_known_B1, found_BD, past.values.numpy().mean(1, keepdims=True)), batch)

    def _targets(self, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        past = past_of(batch)
        series = np.repeat(past.series.numpy(), len(self.horizons))
        return _each_once(series, self._times(past).ravel(), batch.targets.numpy().ravel())

    def _times(self, past: Past) -> np.ndarray:
        times: np.ndarray = past.time.numpy()[:, None] + past.step.numpy()[:, None] * self.horizons
        return times


class LinearPast(OwnPast):
    """Regress each step on the window's own values, both as differences from the last one, in the series' scale (ridge).

    One map for all series. This is NLinear (Zeng et al. 2023), solved exactly; the penalty is chosen on validation.
    """

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        """Add up the normal equations batch by batch, and solve them for each penalty."""
        num_terms = past_of(train[0]).values.shape[1] + 1
        gram, cross = np.zeros((num_terms, num_terms)), np.zeros((num_terms, len(self.horizons)))
        for batch in train:
            terms, targets = self._terms(batch), self._changes(batch)
            gram += terms.T @ terms
            cross += terms.T @ targets
        best: tuple[float, float, np.ndarray] | None = None
        for penalty in PENALTIES:
            ridge = np.diag([*np.full(num_terms - 1, penalty), 1e-9])  # the constant goes free
            weights = scipy.linalg.solve(gram + ridge, cross, assume_a="pos")
            errors = [np.square(self._terms(batch) @ weights - self._changes(batch)).mean(1) for batch in val]
            error = float(np.concatenate(errors).mean())
            if best is None or error < best[0]:
                best = (error, penalty, weights)
        assert best is not None
        return {"weights": best[2], "penalty": np.array([best[1]])}

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        values_B1, scale_B1 = past_of(batch).values.numpy()[:, -1:], _scale(batch)
        return self.standard(values_B1 + scale_B1 * (self._terms(batch) @ arrays["weights"]), batch)

    def _terms(self, batch: Batch) -> np.ndarray:
        values_BT = past_of(batch).values.numpy()
        return np.concatenate([(values_BT - values_BT[:, -1:]) / _scale(batch), np.ones((batch.size, 1))], axis=1)

    def _changes(self, batch: Batch) -> np.ndarray:
        changes: np.ndarray = (batch.targets.numpy() - past_of(batch).values.numpy()[:, -1:]) / _scale(batch)
        return changes


def _each_once(series: np.ndarray, times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each time of each series once."""
    order = np.lexsort((times, series))
    series, times, values = series[order], times[order], values[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (np.diff(series) != 0) | (np.diff(times) != 0)
    return series[is_first], times[is_first], values[is_first]


def past_of(batch: Batch) -> Past:
    """Return a batch's past, which data with horizons give."""
    assert batch.past is not None
    return batch.past


def _scale(batch: Batch) -> np.ndarray:
    assert batch.reference is not None
    return batch.reference.scale[:, :1].numpy()


def _slots(times: np.ndarray, num_slots: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the month, from 0, and the place in the day of times in microseconds."""
    months = times.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64) % MONTHS
    return months, times % DAY * num_slots // DAY


def _mean(sums: np.ndarray, counts: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    return np.where(counts > 0, sums / np.maximum(counts, 1), otherwise)
