"""Metrics of forecasts that see batch after batch: QLIKE, pinball loss, CRPS, scaled errors, and skill against persistence.

With y the truth, f the forecast, D dimensions or steps of each example:

    scaled_mse, scaled_mae   mean of ((y - f) / s)^2 and of |y - f| / s, s of the series' training part
    mase                     mean of |y - f| / q, q the mean absolute error of repeating the last season over the training part
                             (Hyndman & Koehler 2006): below 1 is better than the season repeated was there, one season ahead
    smape                    mean of 2 |y - f| / (|y| + |f|), 0 where both are 0 (Makridakis et al. 2000)
    crps                     2 * mean pinball loss over the quantile levels, an approximation of the continuous ranked probability score
                             (Gneiting & Raftery 2007); of a point forecast, its median, this is the mean absolute error
"""

import torch
import torchmetrics
from torch import Tensor


def qlike(log_forecasts: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of y / f - ln(y / f) - 1 (Patton 2011, eq. 24 at b = -2) of ln f and y > 0, (B, D): 0 at best, minimal at f = E y."""
    log_ratio = targets.log() - log_forecasts
    return (log_ratio.exp() - log_ratio - 1).mean()


def pinball(quantiles_BDQ: Tensor, targets_BD: Tensor, levels: tuple[float, ...]) -> Tensor:
    """Return the mean of max(q e, (q - 1) e), e = y - forecast (Koenker & Bassett 1978)."""
    errors_BDQ = targets_BD[..., None] - quantiles_BDQ
    levels_Q = torch.tensor(levels, dtype=errors_BDQ.dtype, device=errors_BDQ.device)
    return torch.maximum(levels_Q * errors_BDQ, (levels_Q - 1) * errors_BDQ).mean()


class _Mean(torchmetrics.Metric):
    """Average what subclasses add."""

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0, dtype=torch.double), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0.0, dtype=torch.double), dist_reduce_fx="sum")

    def compute(self) -> Tensor:
        """Return the mean."""
        return self.total / self.count


class Qlike(_Mean):
    """QLIKE of positive forecasts, see `qlike`."""

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch of (B, D)."""
        self.total += qlike(preds.log(), target).double() * target.numel()
        self.count += target.numel()


class Pinball(_Mean):
    """Mean pinball loss over quantiles, in the target's unit."""

    def __init__(self, levels: tuple[float, ...]) -> None:
        super().__init__()
        self.levels = levels

    def update(self, quantiles: Tensor, target: Tensor) -> None:
        """Add a batch of (B, D, Q) against (B, D)."""
        self.total += pinball(quantiles, target, self.levels).double() * target.numel()
        self.count += target.numel()


class ScaledError(_Mean):
    """Mean squared error, each series in units of its own scale (the spread of its training targets): all series count alike."""

    def update(self, preds: Tensor, target: Tensor, scale: Tensor) -> None:
        """Add a batch of (B, D)."""
        self.total += ((preds - target) / scale).double().square().sum()
        self.count += target.numel()


class Skill(_Mean):
    """Fraction of persistence's squared error that a forecast saves: 1 - MSE / MSE of persistence; 0 is no better, 1 perfect.

    Errors of series with scales of their own are measured in these. NaN where persistence makes no error.
    """

    def update(self, preds: Tensor, target: Tensor, persistence: Tensor, scale: Tensor) -> None:
        """Add a batch of (B, D)."""
        self.total += ((preds - target) / scale).double().square().sum()
        self.count += ((persistence - target) / scale).double().square().sum()

    def compute(self) -> Tensor:
        return torch.where(self.count > 0, 1 - self.total / self.count, torch.nan)


class ScaledAbsoluteError(_Mean):
    """Mean absolute error, each series in units of its own scale."""

    def update(self, preds: Tensor, target: Tensor, scale: Tensor) -> None:
        """Add a batch of (B, D)."""
        self.total += ((preds - target) / scale).double().abs().sum()
        self.count += target.numel()


class Smape(_Mean):
    """Symmetric mean absolute percentage error, as a fraction: 0 at best, 2 at worst."""

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch of (B, D)."""
        size = preds.abs() + target.abs()
        errors = torch.where(size > 0, 2 * (preds - target).abs() / size, 0.0)
        self.total += errors.double().sum()
        self.count += target.numel()


class MASE(_Mean):
    """Mean absolute error in units of the season's, see above; NaN where that is known of no series."""

    def update(self, preds: Tensor, target: Tensor, season_error: Tensor) -> None:
        """Add a batch of (B, D); series whose season is repeated without an error do not count."""
        is_known_B = season_error > 0
        errors_BD = (preds - target).abs()[is_known_B] / season_error[is_known_B][:, None]
        self.total += errors_BD.double().sum()
        self.count += errors_BD.numel()


class CRPS(_Mean):
    """Continuous ranked probability score from quantiles, in the target's unit."""

    def __init__(self, levels: tuple[float, ...]) -> None:
        super().__init__()
        self.levels = levels or (0.5,)

    def update(self, quantiles: Tensor, target: Tensor) -> None:
        """Add a batch of (B, D, Q) against (B, D)."""
        self.total += 2 * pinball(quantiles, target, self.levels).double() * target.numel()
        self.count += target.numel()
