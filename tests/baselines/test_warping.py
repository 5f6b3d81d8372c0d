"""Claims about dynamic time warping: against the table filled by hand, and as a baseline."""

import numpy as np
import pytest
import torch

from rnnlab.baselines.base import BaselineSettings
from rnnlab.baselines.linear import Summarised
from rnnlab.baselines.warping import Warping, distances
from rnnlab.contracts import Batch, DataSpec, Reference


def by_hand(first: np.ndarray, second: np.ndarray, band: float) -> float:
    """Fill the whole table, cell by cell."""
    radius = max(np.ceil(band * max(len(first), len(second))), abs(len(first) - len(second)))
    table = np.full((len(first) + 1, len(second) + 1), np.inf)
    table[0, 0] = 0
    for i in range(len(first)):
        for j in range(len(second)):
            if abs(i - j) <= radius:
                cost = float(np.square(first[i] - second[j]).sum())
                table[i + 1, j + 1] = cost + min(table[i, j + 1], table[i + 1, j], table[i, j])
    return float(table[-1, -1])


@pytest.mark.parametrize("band", [0.0, 0.1, 0.3, 1.0])
def test_distances_are_those_of_the_table_filled_by_hand(band: float) -> None:
    random = np.random.default_rng(3)
    others = [random.normal(size=(length, 2)) for length in (7, 1, 12, 5, 9, 30)]
    for length in (1, 6, 13):
        query = random.normal(size=(length, 2))
        found = distances(query, np.concatenate(others), np.array([len(one) for one in others]), band)
        assert found.tolist() == pytest.approx([by_hand(query, one, band) for one in others], rel=1e-5)


def test_a_band_of_nothing_is_the_euclidean_distance_of_equal_lengths_and_a_shift_costs_nothing_without_band() -> None:
    wave = np.sin(np.arange(20.0))[:, None]
    shifted = np.concatenate([wave[:1], wave[:-1]])
    assert distances(wave, shifted, np.array([20]), 0.0)[0] == pytest.approx(float(np.square(wave - shifted).sum()), rel=1e-5)
    assert distances(wave, shifted, np.array([20]), 1.0)[0] == pytest.approx(float(np.square(wave[-1] - wave[-2]).item()), rel=1e-4)


def waves(num: int, seed: int, is_real: bool = False) -> Batch:
    """Rising and falling sequences of unequal length; of numbers the slope is the target."""
    random = np.random.default_rng(seed)
    lengths = torch.from_numpy(random.integers(5, 11, num))
    slopes = torch.from_numpy(random.choice([-1.0, 1.0], num) * random.uniform(0.5, 1.5, num))
    steps = torch.arange(10.0)[None, :, None] * slopes[:, None, None].float()
    inputs = torch.where(torch.arange(10)[None, :, None] < lengths[:, None, None], steps, 0.0)
    ids = torch.arange(num)
    if is_real:
        zero = torch.zeros((num, 1), dtype=torch.double)
        return Batch(inputs, lengths, slopes[:, None], torch.ones_like(lengths), ids, Reference(zero, zero + 2, zero))
    return Batch(inputs, lengths, (slopes > 0).long(), torch.ones_like(lengths), ids)


@pytest.mark.parametrize("method", [Warping, Summarised])
def test_both_baselines_tell_rising_from_falling_whatever_the_length(method: type[Warping] | type[Summarised]) -> None:
    spec = DataSpec("x", "features", 1, "class", 2, ("down", "up"), (20, 20), feature_names=("x",), is_ragged=True)
    fitted = method(spec, BaselineSettings("auto", None, 1))
    arrays = fitted.fit([waves(40, 0)], [waves(20, 1)])
    batch = waves(30, 2)
    assert (fitted.predict(arrays, batch).argmax(1) == batch.targets.numpy()).all()


@pytest.mark.parametrize("method", [Warping, Summarised])
def test_both_baselines_answer_with_numbers_in_standard_units(method: type[Warping] | type[Summarised]) -> None:
    spec = DataSpec("x", "features", 1, "real", 1, ("slope",), feature_names=("x",), is_ragged=True)
    fitted = method(spec, BaselineSettings("auto", None, 1))
    arrays = fitted.fit([waves(80, 0, is_real=True)], [waves(20, 1, is_real=True)])
    batch = waves(30, 2, is_real=True)
    assert np.abs(2 * fitted.predict(arrays, batch) - batch.targets.numpy()).mean() < 0.25
