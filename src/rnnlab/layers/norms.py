"""Batch normalisation over valid steps."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class MaskedBatchNorm(nn.BatchNorm2d):
    """Normalise each channel by statistics over valid steps only, so that padding never changes a result, training included."""

    total: Callable[[Tensor], Tensor] | None = None
    """Sums numbers over the shards of a batch, if several processes have one each."""

    def forward(self, maps_BCTF: Tensor, mask_B1T1: Tensor) -> Tensor:  # type: ignore[override]  # BatchNorm2d takes no mask
        """Normalise (B, C, T, F) where the mask, (B, 1, T, 1), is 1; what lies beyond a length comes out arbitrary.

        Of half-precision inputs, too, the statistics and the result are float32, as PyTorch's autocast has it for its other norms.
        """
        if not self.training:
            return super().forward(maps_BCTF)
        maps_BCTF, mask_B1T1 = maps_BCTF.to(self.weight.dtype), mask_B1T1.to(self.weight.dtype)
        count = mask_B1T1.sum() * maps_BCTF.shape[3]
        kept = maps_BCTF * mask_B1T1
        sums_C, squares_C = kept.sum((0, 2, 3)), (kept * kept).sum((0, 2, 3))
        if self.total is not None:
            count, sums_C, squares_C = self.total(torch.cat([count[None], sums_C, squares_C])).split([1, len(sums_C), len(sums_C)])
        mean_C = sums_C / count
        variance_C = (squares_C / count - mean_C * mean_C).clamp(min=0)
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None
            momentum = self.momentum if self.momentum is not None else 0.1
            self.running_mean.lerp_(mean_C, momentum)
            self.running_var.lerp_(variance_C * count / (count - 1).clamp(min=1), momentum)
        scale_C = self.weight * torch.rsqrt(variance_C + self.eps)
        shift_C = self.bias - mean_C * scale_C
        return torch.addcmul(shift_C[:, None, None], maps_BCTF, scale_C[:, None, None])
