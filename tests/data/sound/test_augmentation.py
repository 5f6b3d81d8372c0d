"""Claims about varying and normalising frames of log-mel power."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnlab.contracts import valid_mask
from rnnlab.data.batches import ExampleRandom
from rnnlab.data.sound import audio
from rnnlab.data.sound.augmentation import (
    NATS_PER_DB,
    Augment,
    BandScale,
    Normalisation,
    add_noise,
    augment,
    interpolate,
    mask_frames,
    normalise,
    stretch,
    tilts,
)

HOP_MS = 10.0
NOTHING = Augment(
    gain_db=0, shift_ms=0, speed_percent=0, tempo_percent=0, warp_percent=0, tilt_db=0, noise_probability=0,
    noise_snr_db=(10, 40), num_time_masks=0, time_mask_ms=0, num_band_masks=0, band_mask_percent=0,
)  # fmt: skip
EVERYTHING = Augment(
    gain_db=6, shift_ms=40, speed_percent=9, tempo_percent=25, warp_percent=12, tilt_db=4, noise_probability=0.5,
    noise_snr_db=(10, 40), num_time_masks=2, time_mask_ms=80, num_band_masks=2, band_mask_percent=15,
)  # fmt: skip


def only(**keys: Any) -> Augment:
    return dataclasses.replace(NOTHING, **keys)


def draws(num_examples: int, seed: int = 0, epoch: int = 0) -> ExampleRandom:
    return ExampleRandom(seed, epoch, np.arange(num_examples))


def batch(lengths: list[int], num_bands: int = 7) -> tuple[Tensor, Tensor]:
    """Make utterances whose content depends on their length alone, zero beyond it."""
    values_BTF = torch.zeros(len(lengths), max(lengths), num_bands)
    for index, length in enumerate(lengths):
        values_BTF[index, :length] = torch.randn(length, num_bands, generator=torch.Generator().manual_seed(length)) * 3 - 5
    return values_BTF, torch.tensor(lengths)


def constant(num_examples: int, num_steps: int, num_bands: int, value: float = 1.0) -> tuple[Tensor, Tensor]:
    return torch.full((num_examples, num_steps, num_bands), value), torch.full((num_examples,), num_steps)


def changed_by(settings: Augment, num_examples: int = 200, num_steps: int = 30, num_bands: int = 7) -> Tensor:
    """Return what is added to utterances of constant power."""
    values_BTF, lengths_B = constant(num_examples, num_steps, num_bands)
    bands = BandScale.of(num_bands, 8000)
    return augment(values_BTF, lengths_B, settings, bands, HOP_MS, draws(num_examples))[0] - 1


def whole(lengths: list[int], ids: list[int], seed: int = 0, epoch: int = 0) -> list[Tensor]:
    """Augment, normalise and mask, as a data module does; return each utterance's valid frames."""
    values_BTF, lengths_B = batch(lengths)
    random = ExampleRandom(seed, epoch, np.array(ids))
    values_BTF, lengths_B = augment(values_BTF, lengths_B, EVERYTHING, BandScale.of(7, 8000), HOP_MS, random)
    values_BTF = normalise(values_BTF, lengths_B, "utterance_band", 30.0, torch.zeros(7), torch.ones(7))
    values_BTF = mask_frames(values_BTF, lengths_B, EVERYTHING, HOP_MS, random.child(2))
    assert not values_BTF.masked_fill(valid_mask(lengths_B, values_BTF.shape[1])[..., None], 0).any()
    return [values_TF[:length] for values_TF, length in zip(values_BTF, lengths_B, strict=True)]


# The same example


@pytest.mark.parametrize(
    ("lengths", "ids", "place"), [([29], [5], 0), ([3, 29, 17], [8, 5, 2], 1), ([97, 60, 29], [1, 7, 5], 2)],
    ids=["alone", "in another batch", "beside longer ones"],
)  # fmt: skip
@pytest.mark.parametrize("epoch", range(4))
def test_an_example_is_varied_the_same_way_whatever_stands_beside_it(lengths: list[int], ids: list[int], place: int, epoch: int) -> None:
    wanted = whole([29, 11], [5, 0], epoch=epoch)[0]
    torch.testing.assert_close(whole(lengths, ids, epoch=epoch)[place], wanted, atol=1e-5, rtol=1e-5)


def test_epoch_seed_and_example_each_change_the_variation() -> None:
    found = [whole([29], [ids], seed, epoch)[0] for ids, seed, epoch in ((5, 0, 0), (5, 0, 1), (5, 1, 0), (6, 0, 0), (5, 7, 0))]
    for index, one in enumerate(found):
        for other in found[:index]:
            assert one.shape != other.shape or (one - other).abs().mean() > 0.1


def test_with_every_key_at_0_nothing_happens() -> None:
    values_BTF, lengths_B = batch([5, 13, 2])
    found_BTF, found_B = augment(values_BTF, lengths_B, NOTHING, BandScale.of(7, 8000), HOP_MS, draws(3))
    assert torch.equal(found_BTF, values_BTF) and torch.equal(found_B, lengths_B)
    assert torch.equal(mask_frames(values_BTF, lengths_B, NOTHING, HOP_MS, draws(3)), values_BTF)


@pytest.mark.parametrize(
    "key",
    ["gain_db", "shift_ms", "speed_percent", "tempo_percent", "warp_percent", "tilt_db", "noise_probability"],
)
def test_each_key_acts_alone_and_at_0_not_at_all(key: str) -> None:
    values_BTF, lengths_B = batch([5, 13, 2])
    bands = BandScale.of(7, 8000)
    with_it = only(**{key: getattr(EVERYTHING, key)})
    assert not torch.equal(augment(values_BTF, lengths_B, with_it, bands, HOP_MS, draws(3))[0], values_BTF)
    others = dataclasses.replace(EVERYTHING, **{key: 0})  # type: ignore[arg-type]  # keys whose values are numbers
    all_but_it = augment(values_BTF, lengths_B, others, bands, HOP_MS, draws(3))[0]
    everything = augment(values_BTF, lengths_B, EVERYTHING, bands, HOP_MS, draws(3))[0]
    assert all_but_it.shape != everything.shape or not torch.equal(all_but_it, everything)


def test_a_mask_without_width_or_number_masks_nothing() -> None:
    values_BTF, lengths_B = constant(50, 40, 20)
    for settings in (only(num_time_masks=3, num_band_masks=3), only(time_mask_ms=80, band_mask_percent=15)):
        assert torch.equal(mask_frames(values_BTF, lengths_B, settings, HOP_MS, draws(50)), values_BTF)


@pytest.mark.parametrize(
    ("keys", "needs_bands"),
    [
        ({"warp_percent": 1}, True),
        ({"gain_db": 1}, True),
        ({"num_band_masks": 1}, True),
        ({"tempo_percent": 9, "num_time_masks": 1}, False),
    ],
)
def test_settings_know_whether_they_need_mel_bands(keys: dict[str, object], needs_bands: bool) -> None:
    assert only(**keys).needs_bands is needs_bands


@pytest.mark.parametrize("key", ["speed_percent", "noise_probability"])
def test_a_speed_of_zero_and_a_probability_above_one_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=rf"data.loader.augment.{key}=100 is not allowed: at most (99|1)$"):
        only(**{key: 100})


# Time


def ramp(length: int, num_bands: int = 3) -> tuple[Tensor, Tensor]:
    return torch.arange(length).float()[None, :, None].expand(1, -1, num_bands).contiguous(), torch.tensor([length])


@pytest.mark.parametrize(("tempo", "new_length"), [(2.0, 11), (0.8, 26), (1.0, 21), (0.5, 41)])
def test_a_stretched_ramp_keeps_its_ends_and_has_the_expected_length(tempo: float, new_length: int) -> None:
    values_BTF, lengths_B = stretch(*ramp(21), torch.tensor([tempo]), 0.0, draws(1))
    assert lengths_B.tolist() == [new_length] and values_BTF.shape == (1, new_length, 3)
    torch.testing.assert_close(values_BTF[0, :, 1], torch.linspace(0, 20, new_length), atol=1e-4, rtol=0)


def test_a_single_step_stays_a_single_step() -> None:
    values_BTF, lengths_B = stretch(torch.full((1, 4, 3), 7.0), torch.tensor([1]), torch.tensor([0.4]), 4.0, draws(1))
    assert lengths_B.tolist() == [1] and values_BTF[0, 0].tolist() == [7, 7, 7]


def test_tempo_lies_between_the_stated_factor_and_its_inverse() -> None:
    values_BTF, lengths_B = constant(300, 101, 1)
    _, found_B = augment(values_BTF, lengths_B, only(tempo_percent=25), BandScale.of(1, 8000), HOP_MS, draws(300))
    assert 80 <= (found_B - 1).min() <= 82 and 123 <= (found_B - 1).max() <= 125


def test_both_ends_move_in_and_out_by_up_to_the_shift_and_what_lies_beyond_is_held() -> None:
    values_1TF, length_1 = ramp(41)
    values_BTF, lengths_B = augment(
        values_1TF.expand(300, -1, -1), length_1.expand(300), only(shift_ms=40), BandScale.of(3, 8000), HOP_MS, draws(300)
    )
    first_B, last_B = values_BTF[:, 0, 0], values_BTF.gather(1, (lengths_B - 1)[:, None, None].expand(-1, -1, 3))[:, 0, 0]
    assert first_B.min() == 0 and 3.8 < first_B.max() <= 4
    assert 36 <= last_B.min() < 36.2 and last_B.max() == 40
    assert 33 <= lengths_B.min() < 36 and 46 < lengths_B.max() <= 49
    assert 0.4 < (first_B == 0).float().mean() < 0.6  # half of them moved outwards


def test_a_short_utterance_loses_at_most_a_quarter_at_each_end() -> None:
    values_1TF, length_1 = ramp(9)
    values_BTF, _ = stretch(values_1TF.expand(300, -1, -1), length_1.expand(300), torch.ones(300), 50.0, draws(300))
    assert 1.9 < values_BTF[:, 0, 0].max() <= 2


# Bands


def test_band_centres_are_the_peaks_of_torchaudios_filter_bank() -> None:
    banks = audio.torchaudio.functional.melscale_fbanks(n_freqs=40001, f_min=0.0, f_max=4000.0, n_mels=13, sample_rate=8000)
    torch.testing.assert_close(BandScale.of(13, 8000).centres_hz, banks.argmax(0) * 0.1, atol=0.06, rtol=0)


def test_a_warp_by_one_is_the_identity() -> None:
    values_BTF, _ = batch([9, 4], num_bands=23)
    position_BF = BandScale.of(23, 8000).positions(torch.ones(2))
    torch.testing.assert_close(position_BF, torch.arange(23.0).expand(2, -1), atol=1e-4, rtol=0)
    torch.testing.assert_close(interpolate(values_BTF, position_BF, axis=2), values_BTF, atol=1e-2, rtol=0)


@pytest.mark.parametrize(("factor", "band"), [(1.25, 17), (0.8, 23), (1.0, 20)])
def test_a_warp_moves_a_peak_to_the_band_that_one_computes_by_hand(factor: float, band: int) -> None:
    # Band 20 of 40 to 4 kHz lies at mel 21 * 2146.06 / 41 = 1099.2, 1156 Hz. 1156 / 1.25 = 925 Hz is mel 949.3, place 17.1;
    # 1156 / 0.8 = 1445 Hz is mel 1262.3, place 23.1.
    values_BTF = (-(torch.arange(40.0) - 20).abs())[None, None].contiguous()
    position_BF = BandScale.of(40, 8000).positions(torch.tensor([factor]))
    assert interpolate(values_BTF, position_BF, axis=2)[0, 0].argmax() == band


def test_what_lies_beyond_the_outer_bands_is_held() -> None:
    position_BF = BandScale.of(13, 8000).positions(torch.tensor([3.0, 0.1]))
    assert position_BF[0, -1] == 12 and position_BF[1, 0] == 0


def test_speed_moves_tempo_and_pitch_by_the_same_factor() -> None:
    bands = BandScale.of(80, 16000)
    values_BTF = (-(torch.arange(80.0) - 40).abs()).expand(50, 201, -1).contiguous()
    found_BTF, lengths_B = augment(values_BTF, torch.full((50,), 201), only(speed_percent=20), bands, HOP_MS, draws(50))
    pitch_B = bands.centres_hz[found_BTF[:, 3].argmax(1)] / bands.centres_hz[40]
    torch.testing.assert_close(pitch_B, 200 / (lengths_B - 1), atol=0.03, rtol=0)
    assert pitch_B.min() < 0.85 and pitch_B.max() > 1.15


# Level


def test_gain_is_one_number_for_a_whole_utterance_within_the_stated_decibels() -> None:
    gain_BTF = changed_by(only(gain_db=6)) * 10 / math.log(10)
    assert torch.allclose(gain_BTF, gain_BTF[:, :1, :1].expand_as(gain_BTF), atol=1e-5)
    assert -6 <= gain_BTF.min() < -5.5 and 5.5 < gain_BTF.max() <= 6


def test_tilt_is_one_smooth_curve_for_a_whole_utterance_that_keeps_the_mean_level() -> None:
    tilt_BTF = changed_by(only(tilt_db=4), num_bands=40)
    assert torch.equal(tilt_BTF, tilt_BTF[:, :1].expand_as(tilt_BTF))
    torch.testing.assert_close(tilt_BTF.mean(2), torch.zeros(200, 30), atol=1e-5, rtol=0)
    assert tilt_BTF.diff(dim=2).abs().max() < 4 * NATS_PER_DB


def test_tilts_are_sums_of_five_cosines_with_falling_weights() -> None:
    curves_BF = tilts(8, draws(20_000))
    orders = torch.arange(1, 6)
    cosines = torch.cos(math.pi * orders[:, None] * (torch.arange(8) + 0.5) / 8)
    weights_B5 = curves_BF @ cosines.T / 4  # the cosines are orthogonal with power 8 / 2
    torch.testing.assert_close(weights_B5.std(0), 1 / orders.sqrt(), atol=0.02, rtol=0)
    torch.testing.assert_close(weights_B5.mean(0), torch.zeros(5), atol=0.02, rtol=0)


def test_noise_raises_power_and_never_lowers_it() -> None:
    values_BTF, lengths_B = batch([29, 13])
    settings = only(noise_probability=1, noise_snr_db=(0, 20))
    for epoch in range(10):
        found_BTF = add_noise(values_BTF, lengths_B, settings, draws(2, epoch=epoch))
        assert (found_BTF >= values_BTF - 1e-5).all()
        assert (found_BTF[0] - values_BTF[0]).mean() > 0.05


def test_noise_comes_as_often_as_stated_and_lies_the_stated_ratio_below_the_peak() -> None:
    values_BTF, lengths_B = constant(400, 30, 7, value=-50.0)
    values_BTF[:, 3, 2] = 0.0
    found_BTF = add_noise(values_BTF, lengths_B, only(noise_probability=0.25, noise_snr_db=(20, 20)), draws(400))
    noisy_B = (found_BTF != values_BTF).flatten(1).any(1)
    assert 0.19 < noisy_B.float().mean() < 0.31
    exponential = np.log(np.random.default_rng(0).exponential(size=100_000) + 0.01).mean()
    assert found_BTF[noisy_B][:, 4:].mean() == pytest.approx(exponential - 20 * NATS_PER_DB, abs=0.05)  # tilts keep the mean


def test_noise_is_measured_against_the_peak_of_valid_steps() -> None:
    values_BTF, _ = constant(1, 9, 3, value=-5.0)
    loud_BTF = values_BTF.clone()
    loud_BTF[:, 4:] = 40.0
    settings = only(noise_probability=1)
    found = [add_noise(each, torch.tensor([4]), settings, draws(1))[:, :4] for each in (values_BTF, loud_BTF)]
    assert torch.equal(*found)


# Masks


@pytest.mark.parametrize(("num_steps", "time_mask_ms", "widest"), [(40, 80, 8), (40, 35, 3), (15, 80, 3), (7, 80, 1), (3, 80, 0)])
def test_a_time_mask_is_at_most_as_wide_as_stated_and_never_over_a_quarter(num_steps: int, time_mask_ms: float, widest: int) -> None:
    values_BTF, lengths_B = constant(2000, num_steps, 5)
    found_BTF = mask_frames(values_BTF, lengths_B, only(num_time_masks=1, time_mask_ms=time_mask_ms), HOP_MS, draws(2000))
    masked_BT = found_BTF[:, :, 0] == 0
    assert torch.equal(found_BTF == 0, masked_BT[..., None].expand_as(found_BTF))
    assert masked_BT.sum(1).max() == widest <= num_steps / 4
    assert masked_BT.int().diff(dim=1).abs().sum(1).max() <= 2  # one stretch
    if widest:
        assert masked_BT.any(0).all()  # anywhere


def test_time_masks_stay_within_the_valid_steps() -> None:
    values_BTF, _ = constant(500, 40, 2)
    masked_BTF = mask_frames(values_BTF, torch.full((500,), 16), only(num_time_masks=1, time_mask_ms=900), HOP_MS, draws(500)) == 0
    assert masked_BTF.sum(1).max() == 4 and not masked_BTF[:, 16:].any()


@pytest.mark.parametrize(("percent", "widest"), [(15, 3), (24, 4), (4, 0)])
def test_a_band_mask_is_at_most_as_wide_as_stated(percent: float, widest: int) -> None:
    values_BTF, lengths_B = constant(2000, 6, 20)
    masked_BTF = mask_frames(values_BTF, lengths_B, only(num_band_masks=1, band_mask_percent=percent), HOP_MS, draws(2000)) == 0
    assert torch.equal(masked_BTF, masked_BTF[:, :1].expand_as(masked_BTF))
    assert masked_BTF[:, 0].sum(1).max() == widest


# Normalisation


def normalised(kind: Normalisation, floor_db: float | None = None, garbage: float = 0.0) -> list[Tensor]:
    """Return the valid steps of utterances that were normalised beside padding full of garbage."""
    values_BTF, lengths_B = batch([29, 13, 5])
    padding_BT = ~valid_mask(lengths_B, 29)
    values_BTF[padding_BT] = garbage
    found_BTF = normalise(values_BTF, lengths_B, kind, floor_db, torch.full((7,), -5.0), torch.arange(1.0, 8))
    assert not found_BTF[padding_BT].any()
    return [values_TF[:length] for values_TF, length in zip(found_BTF, lengths_B, strict=True)]


@pytest.mark.parametrize("kind", ["utterance", "utterance_band"])
@pytest.mark.parametrize("floor_db", [None, 10.0])
def test_an_utterance_gets_mean_0_and_spread_1_over_its_valid_steps(kind: Normalisation, floor_db: float | None) -> None:
    for values_TF in normalised(kind, floor_db):
        assert values_TF.mean() == pytest.approx(0, abs=1e-5)
        assert values_TF.std(correction=0) == pytest.approx(1, abs=4e-3)
        if kind == "utterance_band":
            torch.testing.assert_close(values_TF.mean(0), torch.zeros(7), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["utterance", "utterance_band", "training", "none"])
@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 1e30])
def test_what_padding_holds_does_not_matter(kind: Normalisation, garbage: float) -> None:
    for found, wanted in zip(normalised(kind, 20.0, garbage), normalised(kind, 20.0), strict=True):
        assert torch.equal(found, wanted)


def test_utterances_are_normalised_by_plain_numpy_arithmetic() -> None:
    values_TF = batch([13])[0][0].double().numpy()
    centred = values_TF - values_TF.mean(0)
    np.testing.assert_allclose(normalised("utterance_band")[1], centred / (np.sqrt((centred**2).mean()) + 1e-3), atol=1e-5)
    np.testing.assert_allclose(normalised("utterance")[1], (values_TF - values_TF.mean()) / (values_TF.std() + 1e-3), atol=1e-5)
    np.testing.assert_allclose(normalised("training")[1], (values_TF + 5) / np.arange(1, 8), atol=1e-5)
    np.testing.assert_allclose(normalised("none")[1], values_TF, atol=1e-5)


def test_the_floor_raises_what_lies_more_than_so_many_decibels_below_the_peak() -> None:
    values_BTF = torch.tensor([0.0, -10, -20, -30, -99])[None, :, None] * NATS_PER_DB
    found_BTF = normalise(values_BTF, torch.tensor([5]), "none", 20.0, torch.zeros(1), torch.ones(1))
    torch.testing.assert_close(found_BTF[0, :, 0] / NATS_PER_DB, torch.tensor([0.0, -10, -20, -20, -20]))


def test_a_constant_utterance_becomes_zeros() -> None:
    for kind in ("utterance", "utterance_band"):
        assert not normalise(*constant(2, 5, 3), kind, None, torch.zeros(3), torch.ones(3)).any()


def test_an_unknown_normalisation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"normalise='batch' is not one of utterance, utterance_band, training, none"):
        normalise(*constant(2, 5, 3), "batch", None, torch.zeros(3), torch.ones(3))  # type: ignore[arg-type]  # a wrong value, on purpose
