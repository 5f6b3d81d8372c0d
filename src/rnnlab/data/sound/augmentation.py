"""What happens to frames of log-mel power between the disk and the network: augmentation while training, normalisation always.

Frames hold natural logarithms of power; 1 dB is ln(10) / 10 of them. Everything works on a whole padded batch at once, and all
randomness comes from `ExampleRandom`, so an example is changed the same way whatever stands beside it.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rnnlab.config import NonNegativeFloat, NonNegativeInt
from rnnlab.contracts import valid_mask, zero_padding
from rnnlab.data.batches import ExampleRandom

NATS_PER_DB = math.log(10) / 10
NUM_TILTS = 5
Normalisation = Literal["utterance", "utterance_band", "training", "none"]


@dataclass(frozen=True)
class Augment:
    """Say how training recordings are varied (`data.loader.augment`); 0 switches a key off.

    Args:
        gain_db: level, drawn from -gain_db..gain_db (seen by the network only where normalisation leaves levels).
        shift_ms: both ends move by up to this, inwards (cropped) or outwards (held).
        speed_percent: true speed change, tempo and pitch together, by up to this.
        tempo_percent: tempo alone, by up to this.
        warp_percent: frequency axis alone (vocal tract length perturbation, Jaitly and Hinton 2013), by up to this.
        tilt_db: random smooth equaliser: five cosines over the bands with falling weights (another microphone, another room).
        noise_probability: how often noise is mixed in.
        noise_snr_db: lowest and highest ratio of the utterance's peak to the noise.
        num_time_masks: SpecAugment (Park et al. 2019): time masks, set to the mean.
        time_mask_ms: longest time mask (never over a quarter of the utterance).
        num_band_masks: SpecAugment: masks over mel bands.
        band_mask_percent: widest band mask, of all bands.
    """

    gain_db: NonNegativeFloat
    shift_ms: NonNegativeFloat
    speed_percent: NonNegativeFloat
    tempo_percent: NonNegativeFloat
    warp_percent: NonNegativeFloat
    tilt_db: NonNegativeFloat
    noise_probability: NonNegativeFloat
    noise_snr_db: tuple[float, float]
    num_time_masks: NonNegativeInt
    time_mask_ms: NonNegativeFloat
    num_band_masks: NonNegativeInt
    band_mask_percent: NonNegativeFloat

    def __post_init__(self) -> None:
        for name, given, most in (("speed_percent", self.speed_percent, 99), ("noise_probability", self.noise_probability, 1)):
            if given > most:
                raise ValueError(f"data.loader.augment.{name}={given} is not allowed: at most {most}")

    @property
    def needs_bands(self) -> bool:
        """Whether any key moves mel bands or changes their level, which is not addition in MFCCs and deltas."""
        level = [self.gain_db, self.tilt_db, self.noise_probability]
        return any([*level, self.warp_percent, self.speed_percent, self.num_band_masks])


@dataclass(frozen=True)
class BandScale:
    """Hold what moving along the mel axis needs: (F,) the centre of each mel band."""

    centres_hz: Tensor

    @classmethod
    def of(cls, num_mels: int, sample_rate: int) -> "BandScale":
        """Return the scale of torchaudio's default filter bank (HTK mel, 0 Hz to half the rate)."""
        top = 2595 * math.log10(1 + sample_rate / 2 / 700)
        mels = torch.arange(1, num_mels + 1) * top / (num_mels + 1)
        return cls(700 * (10 ** (mels / 2595) - 1))

    def positions(self, factor_B: Tensor) -> Tensor:
        """Return where band m lies after frequencies are multiplied, (B, F) in units of bands."""
        mels = 2595 * torch.log10(1 + self.centres_hz * factor_B[:, None] / 700)
        own = 2595 * torch.log10(1 + self.centres_hz / 700)
        step = own[0]  # bands lie at multiples of the first one's mel
        return (mels / step - 1).clamp(0, len(self.centres_hz) - 1)


def augment(
    values_BTF: Tensor, lengths_B: Tensor, settings: Augment, bands: BandScale, hop_ms: float, random: ExampleRandom
) -> tuple[Tensor, Tensor]:
    """Vary a training batch; masks come later, after normalisation (`mask_frames`)."""
    speed_B = 1 + random.between(-1, 1) * settings.speed_percent / 100
    tempo_B = torch.exp(random.between(-1, 1) * math.log1p(settings.tempo_percent / 100)) * speed_B
    warp_B = torch.exp(random.between(-1, 1) * math.log1p(settings.warp_percent / 100)) / speed_B
    if settings.shift_ms or settings.tempo_percent or settings.speed_percent:
        values_BTF, lengths_B = stretch(values_BTF, lengths_B, tempo_B, settings.shift_ms / hop_ms, random)
    if settings.warp_percent or settings.speed_percent:
        values_BTF = interpolate(values_BTF, bands.positions(warp_B), axis=2)
    if settings.gain_db:
        values_BTF = values_BTF + random.between(-settings.gain_db, settings.gain_db)[:, None, None] * NATS_PER_DB
    if settings.tilt_db:
        values_BTF = values_BTF + settings.tilt_db * NATS_PER_DB * tilts(values_BTF.shape[2], random)[:, None]
    if settings.noise_probability:
        values_BTF = add_noise(values_BTF, lengths_B, settings, random)
    return zero_padding(values_BTF, lengths_B), lengths_B


def stretch(values_BTF: Tensor, lengths_B: Tensor, tempo_B: Tensor, shift: float, random: ExampleRandom) -> tuple[Tensor, Tensor]:
    """Play (B, T, F) faster (`tempo_B` above 1) or slower, and move each end by up to `shift` steps, by interpolation along time."""
    last_B = (lengths_B - 1).float()
    limit_B = torch.minimum(torch.full_like(last_B, shift), last_B / 4)
    start_B = random.between(-1, 1) * limit_B
    end_B = last_B + random.between(-1, 1) * limit_B
    new_lengths_B = ((end_B - start_B) / tempo_B).round().long().clamp(min=0) + 1
    share_BT = torch.arange(int(new_lengths_B.max())) / (new_lengths_B[:, None] - 1).clamp(min=1)
    position_BT = start_B[:, None] + share_BT.clamp(max=1) * (end_B - start_B)[:, None]
    position_BT = torch.minimum(position_BT.clamp(min=0), last_B[:, None])
    return interpolate(values_BTF, position_BT, axis=1), new_lengths_B


def interpolate(values_BTF: Tensor, position_BX: Tensor, axis: Literal[1, 2]) -> Tensor:
    """Read values linearly between the two nearest places along time (1) or bands (2)."""
    top = values_BTF.shape[axis] - 1
    low_BX = position_BX.floor().long().clamp(0, max(top - 1, 0))
    share = (position_BX - low_BX).unsqueeze(3 - axis)
    shape = list(values_BTF.shape)
    shape[axis] = position_BX.shape[1]
    low = low_BX.unsqueeze(3 - axis).expand(shape)
    high = (low_BX + 1).clamp(max=top).unsqueeze(3 - axis).expand(shape)
    return torch.lerp(values_BTF.gather(axis, low), values_BTF.gather(axis, high), share)


def tilts(num_bands: int, random: ExampleRandom) -> Tensor:
    """Draw smooth curves over the bands, (B, F): sums of five cosines with weights normal(0, 1) / sqrt(k)."""
    orders = torch.arange(1, NUM_TILTS + 1)
    cosines = torch.cos(math.pi * orders[:, None] * (torch.arange(num_bands) + 0.5) / num_bands)
    return (normal(random, NUM_TILTS) / orders.sqrt()) @ cosines


def normal(random: ExampleRandom, size: int) -> Tensor:
    """Draw (B, size) standard normal numbers (Box and Muller 1958)."""
    radius = torch.sqrt(-2 * torch.log(1 - random.uniform(size)))
    return radius * torch.cos(2 * math.pi * random.uniform(size))


def add_noise(values_BTF: Tensor, lengths_B: Tensor, settings: Augment, random: ExampleRandom) -> Tensor:
    """Add the power of coloured noise: a random level and tilt, exponentially distributed power in each cell."""
    mask_BT1 = valid_mask(lengths_B, values_BTF.shape[1])[..., None]
    peak_B = values_BTF.masked_fill(~mask_BT1, -torch.inf).amax((1, 2))
    level_B = peak_B - random.between(*settings.noise_snr_db) * NATS_PER_DB
    shape_BF = level_B[:, None] + 0.7 * tilts(values_BTF.shape[2], random)
    cells_BTF = random.child(1).uniform(values_BTF.shape[1], values_BTF.shape[2])
    noise_BTF = shape_BF[:, None] + torch.log(-torch.log1p(-cells_BTF) + 0.01)
    chosen_B11 = (random.uniform() < settings.noise_probability)[:, None, None]
    return torch.where(chosen_B11, torch.logaddexp(values_BTF, noise_BTF), values_BTF)


def mask_frames(values_BTF: Tensor, lengths_B: Tensor, settings: Augment, hop_ms: float, random: ExampleRandom) -> Tensor:
    """Zero random stretches of time and bands of normalised values (SpecAugment: zero is the mean)."""
    for _ in range(settings.num_time_masks):
        widest_B = torch.minimum(torch.full((len(lengths_B),), settings.time_mask_ms / hop_ms), lengths_B / 4)
        values_BTF = values_BTF.masked_fill(_stripe(random, widest_B, lengths_B.float(), values_BTF.shape[1])[..., None], 0)
    num_bands = values_BTF.shape[2]
    for _ in range(settings.num_band_masks):
        widest_B = torch.full((len(lengths_B),), settings.band_mask_percent / 100 * num_bands)
        whole_B = torch.full((len(lengths_B),), float(num_bands))
        values_BTF = values_BTF.masked_fill(_stripe(random, widest_B, whole_B, num_bands)[:, None], 0)
    return values_BTF


def _stripe(random: ExampleRandom, widest_B: Tensor, whole_B: Tensor, size: int) -> Tensor:
    width_B = (random.uniform() * (widest_B.floor() + 1)).floor()
    start_B = (random.uniform() * (whole_B - width_B + 1)).floor()
    places = torch.arange(size)
    return (places >= start_B[:, None]) & (places < (start_B + width_B)[:, None])


def normalise(values_BTF: Tensor, lengths_B: Tensor, kind: Normalisation, floor_db: float | None, mean_F: Tensor, std_F: Tensor) -> Tensor:
    """Bring frames to mean 0 and spread 1, each utterance by its own valid steps or all by the training split's statistics.

    Args:
        values_BTF: (B, T, F).
        lengths_B: (B,).
        kind: `utterance` (one mean, one spread), `utterance_band` (a mean per band, one spread), `training`, `none`.
        floor_db: raise what lies more than this below the utterance's peak (None: leave it): silence carries the microphone's noise.
        mean_F: the training split's, for `training`.
        std_F: likewise.
    """
    mask_BT1 = valid_mask(lengths_B, values_BTF.shape[1])[..., None]
    if floor_db is not None:
        peak_B11 = values_BTF.masked_fill(~mask_BT1, -torch.inf).amax((1, 2), keepdim=True)
        values_BTF = torch.maximum(values_BTF, peak_B11 - floor_db * NATS_PER_DB)
    if kind == "training":
        values_BTF = (values_BTF - mean_F) / std_F
    elif kind in ("utterance", "utterance_band"):
        axes = (1, 2) if kind == "utterance" else (1,)
        count_B11 = lengths_B[:, None, None].float()
        share = 1 / count_B11 if kind == "utterance_band" else 1 / (count_B11 * values_BTF.shape[2])
        centred = values_BTF - values_BTF.masked_fill(~mask_BT1, 0).sum(axes, keepdim=True) * share
        power = centred.masked_fill(~mask_BT1, 0).square().sum((1, 2), keepdim=True)
        values_BTF = centred / (torch.sqrt(power / (count_B11 * values_BTF.shape[2])) + 1e-3)
    elif kind != "none":
        raise ValueError(f"normalise={kind!r} is not one of utterance, utterance_band, training, none")
    return values_BTF.masked_fill(~mask_BT1, 0)
