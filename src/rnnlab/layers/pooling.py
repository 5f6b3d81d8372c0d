"""From all steps to one vector, over each sequence's own length."""

from typing import Literal

import torch
from torch import Tensor, nn

from rnnlab.contracts import valid_mask

PoolingKind = Literal["last", "mean", "max", "mean_max", "attention"]


class Pooling(nn.Module):
    """Map (B, T, H) and lengths to (B, output_size).

    Args:
        kind: `last` (each direction's final state), `mean`, `max`, `mean_max` (both, side by side), or
            `attention` (a learned weight per step: softmax over
            v . tanh(W h_t), Yang et al. 2016, section 2.2).
        size: H, all directions together.
        num_directions: 1 or 2; with 2 the second half of H runs backwards.
    """

    def __init__(self, kind: PoolingKind, size: int, num_directions: int) -> None:
        super().__init__()
        self.kind = kind
        self.num_directions = num_directions
        self.output_size = 2 * size if kind == "mean_max" else size
        if kind == "attention":
            self.project = nn.Linear(size, size)
            self.score = nn.Linear(size, 1, bias=False)

    def forward(self, values_BTH: Tensor, lengths_B: Tensor) -> Tensor:
        mask_BT1 = valid_mask(lengths_B, values_BTH.shape[1])[..., None]
        if self.kind == "last":
            return self._last(values_BTH, lengths_B)
        if self.kind == "mean":
            return _mean(values_BTH, mask_BT1)
        if self.kind == "max":
            return _max(values_BTH, mask_BT1)
        if self.kind == "mean_max":
            return torch.cat([_mean(values_BTH, mask_BT1), _max(values_BTH, mask_BT1)], -1)
        if self.kind == "attention":
            scores_BT1 = self.score(torch.tanh(self.project(values_BTH))).masked_fill(~mask_BT1, -torch.inf)
            return (scores_BT1.softmax(1) * values_BTH).sum(1)
        raise ValueError(f"pooling={self.kind!r} is not one of last, mean, max, mean_max, attention")

    def _last(self, values_BTH: Tensor, lengths_B: Tensor) -> Tensor:
        rows_B = torch.arange(len(lengths_B), device=lengths_B.device)
        last_BH = values_BTH[rows_B, lengths_B - 1]
        if self.num_directions == 1:
            return last_BH
        half = values_BTH.shape[-1] // 2
        return torch.cat([last_BH[:, :half], values_BTH[:, 0, half:]], -1)


def _mean(values_BTH: Tensor, mask_BT1: Tensor) -> Tensor:
    return values_BTH.masked_fill(~mask_BT1, 0).sum(1) / mask_BT1.sum(1)


def _max(values_BTH: Tensor, mask_BT1: Tensor) -> Tensor:
    return values_BTH.masked_fill(~mask_BT1, -torch.inf).amax(1)
