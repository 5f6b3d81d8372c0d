"""Windows over series: where they end, what they hold, what is fitted on training. Pure functions; `windowed` makes a data module of them.

A window ends at the time of the forecast and holds nothing later.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rnnlab.config import Fraction, NonNegativeFloat, NonNegativeInt
from rnnlab.contracts import Link
from rnnlab.data.batches import ExampleRandom
from rnnlab.data.files import OnBroken


@dataclass(frozen=True)
class SeriesPrepare:
    """Say what is done with fields, rows and files that cannot be read (`data.prepare`): `raise`, or `skip` (left out, counted, named)."""

    on_broken: OnBroken = "raise"


@dataclass(frozen=True)
class Series:
    """Hold one series, T steps, ready to be cut.

    Args:
        name: the ticker.
        times: (T,) datetime64.
        features: (T, F) float64, NaN where the past is too short.
        targets: (T, D) float64, NaN where the future is unknown.
        persistence: (T, D) float64, in the target's unit: that the last value goes on.
        base: (T, D) what a forecast starts from, before the link: zero, or the last value.
        size: (T, D) in what it is measured, positive: one, or the last value.
        levels: (T,) of forecasts of the series' own values these, NaN where unknown; else None.
        is_path: whether the targets are the next D levels: all are measured in the levels' spread, and persistence, base and size are
            (T, 1), the same for each.
    """

    name: str
    times: np.ndarray
    features: pd.DataFrame
    targets: np.ndarray
    persistence: np.ndarray
    base: np.ndarray
    size: np.ndarray
    levels: np.ndarray | None = None
    is_path: bool = False


STILL = 1e-13
"""A spread below so much of the level is the rounding of double precision, and no movement."""
ALL_SERIES = ""
"""The name of scales that all series share."""


@dataclass(frozen=True)
class Scales:
    """Hold what is fitted on training: of features (F,), and of targets after the link, base and size (D,).

    A feature that stands still is 0, wherever it stands later. A target that stands still is measured in a hundredth of its level, at most
    of 1: what a network says at random stays near what it starts from.

    Args:
        feature_mean: (F,).
        feature_std: (F,), positive.
        target_mean: (D,).
        target_std: (D,), positive.
        is_still: (D,) bool, whether the target never changes.
        is_feature_still: (F,) bool, whether the feature never changes.
        season_error: (1,) mean absolute error of repeating the last season in the training part, 0 where it is unknown.
    """

    feature_mean: np.ndarray
    feature_std: np.ndarray
    target_mean: np.ndarray
    target_std: np.ndarray
    is_still: np.ndarray
    is_feature_still: np.ndarray
    season_error: np.ndarray = field(default_factory=lambda: np.zeros(1))

    @classmethod
    def of(cls, features: np.ndarray, outputs: np.ndarray, targets: np.ndarray) -> "Scales":
        """Fit on steps (N, F), and on targets after the link, base and size, and as they are (both (N, D))."""
        spread, level = features.std(0), np.abs(features).max(0)
        target_std, target_level = outputs.std(0), np.maximum(np.abs(targets).max(0), np.abs(outputs).max(0))
        is_still = target_std <= STILL * target_level
        unit = np.where(target_level > 0, np.minimum(target_level, 1), 1.0) / 100
        is_feature_still = spread <= STILL * level
        feature_std, target_std = np.where(is_feature_still, 1.0, spread), np.where(is_still, unit, target_std)
        return cls(features.mean(0), feature_std, outputs.mean(0), target_std, is_still, is_feature_still)

    def of_levels(self, levels: np.ndarray, season: int, *, is_path: bool) -> "Scales":
        """Add what the levels of the training part (N,) give: the error of repeating a season, and of paths one scale for all steps."""
        error = np.abs(levels[season:] - levels[:-season]) if 0 < season < len(levels) else np.array([])
        error = error[np.isfinite(error)]
        found = replace(self, season_error=np.array([error.mean() if len(error) else 0.0]))
        if not is_path:
            return found
        known = levels[np.isfinite(levels)][:, None]
        of_all = Scales.of(known, known, known)
        return replace(found, target_mean=np.zeros(1), target_std=of_all.target_std, is_still=of_all.is_still)

    def as_lists(self) -> dict[str, list[float]]:
        """Return what `from_lists` takes."""
        return {name: values.tolist() for name, values in vars(self).items()}

    @classmethod
    def from_lists(cls, lists: Mapping[str, list[float]]) -> "Scales":
        """Return scales that were kept as lists."""
        return cls(**{field.name: np.array(lists[field.name]) for field in fields(cls) if field.name in lists})

    def features(self, values: np.ndarray) -> np.ndarray:
        """Scale features, to float32."""
        scaled: np.ndarray = np.where(self.is_feature_still, 0, (values - self.feature_mean) / self.feature_std).astype(np.float32)
        return scaled

    def offset(self, base: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Return what a standardised forecast of 0 stands for."""
        offsets: np.ndarray = base + size * self.target_mean
        return offsets

    def scale(self, size: np.ndarray) -> np.ndarray:
        """Return what one unit of a standardised forecast stands for."""
        scales: np.ndarray = size * self.target_std
        return scales


@dataclass(frozen=True)
class ScalesByName:
    """Hold the scales of all series: one for all of them, or one for each by its name."""

    by_name: dict[str, Scales]

    def has(self, name: str) -> bool:
        """Say whether there are scales for a series: those of an only one are for all."""
        return len(self.by_name) == 1 or name in self.by_name

    def of(self, name: str) -> Scales:
        """Return the scales of a series.

        Raises:
            ValueError: where there are several, and none of this name.
        """
        if not self.has(name):
            known = ", ".join(self.by_name)
            raise ValueError(f"the run scales each series by its own training part and has not seen {name!r}; it knows: {known}")
        return self.by_name.get(name) or next(iter(self.by_name.values()))


@dataclass(frozen=True)
class Ahead:
    """Hold targets that are the next D values of a series, (N, D), without a copy for each window.

    Args:
        values: (all steps,) float64, series end to end.
        ends: (N,) the place in `values` of each window's last step.
        num_steps: D.
    """

    values: np.ndarray
    ends: np.ndarray
    num_steps: int

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return (B, D) of these windows."""
        taken: np.ndarray = self.values[self.ends[rows][:, None] + np.arange(1, self.num_steps + 1)[None]]
        return taken

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """Return all of them, (N, D)."""
        return self[np.arange(len(self.ends))].astype(np.float64 if dtype is None else dtype)


@dataclass(frozen=True)
class Windows:
    """Hold all windows of all series.

    Args:
        values: (all steps, F) float32, scaled features, series end to end.
        ends: (N,) the place in `values` of each window's last step.
        targets: (N, D) float64.
        persistence: (N, D) float64; of paths (N, 1), as are offset and scale.
        offset: (N, D) float64.
        scale: (N, D) float64.
        season_error: (N,) float64, see `Scales`.
        levels: (all steps,) float64, of forecasts of the series' own values these, gaps filled; else None.
        is_relative: whether inputs hold the target's own values as differences from the window's last one, see `relative`.
    """

    values: np.ndarray
    ends: np.ndarray
    targets: np.ndarray | Ahead
    persistence: np.ndarray
    offset: np.ndarray
    scale: np.ndarray
    season_error: np.ndarray
    levels: np.ndarray | None = None
    is_relative: bool = False

    def inputs(self, rows: np.ndarray, length: int) -> np.ndarray:
        """Return (B, T, F) of these windows."""
        taken: np.ndarray = self.values[self.ends[rows][:, None] + np.arange(1 - length, 1)[None]]
        return relative(taken) if self.is_relative else taken

    def past(self, rows: np.ndarray, length: int) -> np.ndarray:
        """Return (B, T) of the target's own values in these windows."""
        assert self.levels is not None
        taken: np.ndarray = self.levels[self.ends[rows][:, None] + np.arange(1 - length, 1)[None]]
        return taken


def relative(values: np.ndarray) -> np.ndarray:
    """Subtract from the first feature, the target's own values, the last of each window, (..., T, F): a level never seen says nothing."""
    found = values.copy()
    found[..., 0] -= values[..., -1:, 0]
    return found


def ends_of(series: Series, length: int) -> np.ndarray:
    """Return the steps at which a whole window of known features ends and every target is known."""
    is_known = series.features.notna().all(axis=1).to_numpy()
    steps = np.arange(len(is_known))
    last_unknown = np.maximum.accumulate(np.where(is_known, -1, steps)) if len(steps) else steps
    is_end = (steps - last_unknown >= length) & np.isfinite(series.targets).all(1) & np.isfinite(series.persistence).all(1)
    return np.flatnonzero(is_end)


def list_windows(series: list[Series], length: int, longest_horizon: int, num_characters: int, shortest_horizon: int = 1) -> pd.DataFrame:
    """List all windows of `length` steps that have targets `shortest_horizon` to `longest_horizon` steps ahead.

    Returns:
        id (with so many characters of its time), series, date (of the forecast), first_date and last_date (the first and last step that
        targets look at), number (of the series), end (its step).
    """
    parts = []
    for number, one in enumerate(series):
        ends = ends_of(one, length)
        times = one.times[ends]
        words = [f"{one.name} {str(time)[:num_characters]}" for time in times]
        first, last = (one.times[np.minimum(ends + steps, len(one.times) - 1)] for steps in (shortest_horizon, longest_horizon))
        columns = {"id": words, "series": one.name, "date": times, "first_date": first, "last_date": last, "number": number, "end": ends}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def at_ends(series: list[Series], index: pd.DataFrame, take: Callable[[Series], np.ndarray]) -> np.ndarray:
    """Return the rows of a (T, D) array of each series at the ends of windows, (N, D)."""
    numbers, ends = index["number"].to_numpy(), index["end"].to_numpy()
    return np.concatenate([take(one)[ends[numbers == number]] for number, one in enumerate(series)])


def outputs_of(series: Series, link: Link) -> np.ndarray:
    """Return targets as scales see them, (T, D): after the link, from the base, in the size."""
    outputs: np.ndarray = ((np.log(series.targets) if link == "exp" else series.targets) - series.base) / series.size
    return outputs


def fit_scales(series: list[Series], train: pd.DataFrame, link: Link, *, is_apart: bool, season: int = 0) -> ScalesByName:
    """Fit scales on the steps between the first and last forecast of the windows in `train`, and on the targets of these windows.

    Args:
        series: all of them.
        train: the training rows of the list of windows.
        link: of the targets.
        is_apart: whether each series has scales of its own; each must have windows in `train` then.
        season: steps after which values repeat (0: unknown).
    """
    if is_apart:
        parts = [(one, train[train["number"] == number].assign(number=0)) for number, one in enumerate(series)]
        return ScalesByName({one.name: _fit([one], part, link, season) for one, part in parts})
    return ScalesByName({ALL_SERIES: _fit(series, train, link, season)})


def _fit(series: list[Series], train: pd.DataFrame, link: Link, season: int) -> Scales:
    first, last = train["date"].min().to_numpy(), train["date"].max().to_numpy()
    steps = np.concatenate([one.features.to_numpy(np.float64)[(one.times >= first) & (one.times <= last)] for one in series])
    outputs = at_ends(series, train, lambda one: outputs_of(one, link))
    scales = Scales.of(steps[np.isfinite(steps).all(1)], outputs, at_ends(series, train, lambda one: one.targets))
    only = series[0]
    if only.levels is None:
        return scales
    return scales.of_levels(only.levels[only.times <= train["last_date"].max().to_numpy()], season, is_path=only.is_path)


def cut(series: list[Series], index: pd.DataFrame, scales: ScalesByName, *, is_relative: bool = False) -> Windows:
    """Cut all listed windows; see `Windows` for `is_relative`.

    Raises:
        ValueError: names a series that has no scales.
    """
    starts = np.concatenate([[0], np.cumsum([len(one.times) for one in series])])
    ends = starts[index["number"].to_numpy()] + index["end"].to_numpy()
    if series[0].is_path:
        levels = np.concatenate([np.full(len(one.times), np.nan) if one.levels is None else one.levels for one in series])
        targets: np.ndarray | Ahead = Ahead(levels, ends, series[0].targets.shape[1])
    else:
        targets = at_ends(series, index, lambda one: one.targets)
    errors = np.array([scales.of(one.name).season_error[0] for one in series])
    has_levels = series[0].levels is not None
    return Windows(
        values=np.concatenate([scales.of(one.name).features(one.features.to_numpy(np.float64)) for one in series]),
        ends=ends,
        targets=targets,
        persistence=at_ends(series, index, lambda one: one.persistence),
        offset=at_ends(series, index, lambda one: scales.of(one.name).offset(one.base, one.size)),
        scale=at_ends(series, index, lambda one: scales.of(one.name).scale(one.size)),
        season_error=errors[index["number"].to_numpy()],
        levels=np.concatenate([one.features["target"].to_numpy(np.float64) for one in series]) if has_levels else None,
        is_relative=is_relative,
    )


@dataclass(frozen=True)
class WindowAugment:
    """Say how training windows are changed, each time anew (`data.loader.augment`).

    Args:
        jitter: standard deviation of noise on the scaled features.
        scaling: all features are multiplied by one factor between 1 - scaling and 1 + scaling.
        shift: a window begins up to so many steps later (it always ends at the forecast).
    """

    jitter: NonNegativeFloat
    scaling: Fraction
    shift: NonNegativeInt

    @property
    def changes(self) -> bool:
        """Whether windows are changed at all."""
        return bool(self.jitter or self.scaling or self.shift)


def augment(values_BTF: Tensor, settings: WindowAugment, random: ExampleRandom) -> tuple[Tensor, Tensor]:
    """Change windows; return them with their lengths (B,)."""
    size, num_steps, num_features = values_BTF.shape
    lengths_B = torch.full((size,), num_steps)
    if settings.jitter:
        values_BTF = values_BTF + settings.jitter * _normal(random.child(1), num_steps, num_features)
    if settings.scaling:
        values_BTF = values_BTF * random.child(2).between(1 - settings.scaling, 1 + settings.scaling)[:, None, None]
    if settings.shift:
        later_B = random.child(3).between(0, settings.shift + 1).long().clamp(max=settings.shift)
        lengths_B = num_steps - later_B
        steps_BT = torch.arange(num_steps)[None] + later_B[:, None]
        taken_BTF = values_BTF.gather(1, steps_BT.clamp(max=num_steps - 1)[..., None].expand_as(values_BTF))
        values_BTF = taken_BTF.masked_fill((steps_BT >= num_steps)[..., None], 0)
    return values_BTF, lengths_B


def _normal(random: ExampleRandom, *shape: int) -> Tensor:
    """Draw (B, *shape) standard normal numbers (Box & Muller 1958)."""
    radius = (-2 * torch.log1p(-random.uniform(*shape))).sqrt()
    return radius * torch.cos(2 * torch.pi * random.uniform(*shape))
