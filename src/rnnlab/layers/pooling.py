"""From all steps to one vector, over each sequence's own length."""

from typing import Literal

import torch
from torch import Tensor, nn

from rnnlab.contracts import is_full, valid_mask
from rnnlab.layers.base import LayerState

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
        self.running_max = RunningMax()
        if kind == "attention":
            self.project = nn.Linear(size, size)
            self.score = nn.Linear(size, 1, bias=False)

    def forward(self, values_BTH: Tensor, lengths_B: Tensor) -> Tensor:
        if self.kind == "last":
            return self._last(values_BTH, lengths_B)
        if self.kind == "mean" and is_full(lengths_B, values_BTH.shape[1]):
            return values_BTH.sum(1) / values_BTH.shape[1]
        mask_BT1 = valid_mask(lengths_B, values_BTH.shape[1])[..., None]
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

    @property
    def first_fills(self) -> list[float]:
        """What fills each tensor of the state of `run` before the first step."""
        if self.kind == "last":
            return []
        return [-torch.inf, 0.0, 0.0] if self.kind == "attention" else [0.0, 0.0, -torch.inf]

    def run(self, values_BTH: Tensor, state: LayerState | None = None) -> tuple[Tensor, LayerState]:
        """Pool, at each of the next steps, all steps so far, of one direction: (B, T, output_size); and what the next call needs."""
        if self.kind == "last":
            return values_BTH, ()
        if self.kind == "attention":
            return self._run_attention(values_BTH, state)
        (count_B11, sum_B1H, max_B1H) = state or _nothing(values_BTH)
        counts_BT1 = count_B11 + torch.arange(1, values_BTH.shape[1] + 1, device=values_BTH.device)[:, None]
        sums_BTH = sum_B1H + values_BTH.cumsum(1)
        largest_BTH = torch.maximum(self.running_max(values_BTH), max_B1H)
        means_BTH = sums_BTH / counts_BT1
        found = {"mean": means_BTH, "max": largest_BTH, "mean_max": torch.cat([means_BTH, largest_BTH], -1)}[self.kind]
        return found, (counts_BT1[:, -1:], sums_BTH[:, -1:], largest_BTH[:, -1:])

    def _run_attention(self, values_BTH: Tensor, state: LayerState | None) -> tuple[Tensor, LayerState]:
        scores_BT1 = self.score(torch.tanh(self.project(values_BTH)))
        zeros_B11 = torch.zeros_like(scores_BT1[:, :1])
        largest_B11, total_B11, sum_B1H = state or (zeros_B11 - torch.inf, zeros_B11, torch.zeros_like(values_BTH[:, :1]))
        new_B11 = torch.maximum(largest_B11, scores_BT1.amax(1, keepdim=True))
        before_B11 = (largest_B11 - new_B11).exp()
        weights_BT1 = (scores_BT1 - new_B11).exp()
        totals_BT1 = total_B11 * before_B11 + weights_BT1.cumsum(1)
        sums_BTH = sum_B1H * before_B11 + (weights_BT1 * values_BTH).cumsum(1)
        return sums_BTH / totals_BT1, (new_B11, totals_BT1[:, -1:], sums_BTH[:, -1:])

    def _last(self, values_BTH: Tensor, lengths_B: Tensor) -> Tensor:
        rows_B = torch.arange(lengths_B.shape[0], device=lengths_B.device)
        last_BH = values_BTH[rows_B, lengths_B - 1]
        if self.num_directions == 1:
            return last_BH
        half = values_BTH.shape[-1] // 2
        return torch.cat([last_BH[:, :half], values_BTH[:, 0, half:]], -1)


class RunningMax(nn.Module):
    """Map (B, T, H) to the largest number so far, (B, T, H)."""

    def forward(self, values_BTH: Tensor) -> Tensor:
        return values_BTH.cummax(1).values


def _nothing(values_BTH: Tensor) -> LayerState:
    """Return count, sum and maximum of no step."""
    first_B1H = values_BTH[:, :1]
    return torch.zeros_like(first_B1H[..., :1]), torch.zeros_like(first_B1H), torch.full_like(first_B1H, -torch.inf)


def _mean(values_BTH: Tensor, mask_BT1: Tensor) -> Tensor:
    return values_BTH.masked_fill(~mask_BT1, 0).sum(1) / mask_BT1.sum(1)


def _max(values_BTH: Tensor, mask_BT1: Tensor) -> Tensor:
    return values_BTH.masked_fill(~mask_BT1, -torch.inf).amax(1)
