"""Dilated convolutions over time with residual connections: Bai, Kolter and Koltun (2018), section 3 and figure 1.

Block l = 0 .. L-1 has dilation d = 2^l and two convolutions of K taps, * the product with each tap's matrix:

    u_t = dropout(relu(b + sum_k W_k * x_{t - d (K - 1 - k)}))        nothing after t: causal
    v_t = dropout(relu(c + sum_k Z_k * u_{t - d (K - 1 - k)}))
    y_t = relu(v_t + x_t)                                             x_t times a matrix where the sizes differ

    W = g V / |V|, a length g and a direction V for each output unit  weight normalisation, Salimans and Kingma (2016), eq. 2

A step sees the last 1 + 2 (K - 1) (2^L - 1) steps and no other. Dropout is of whole units, the same at all steps, as the paper says (its
code drops single numbers). With `is_causal=false` half of the taps look ahead.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.config import Fraction, PositiveInt
from rnnlab.contracts import zero_padding
from rnnlab.layers.base import LayerState, SequenceLayer


@dataclass(frozen=True)
class Convolutions:
    """Settings of the stack of convolutions (`model.convolutions`).

    Args:
        hidden_size: H of each block.
        num_layers: how many blocks, of two convolutions each.
        kernel_size: K.
        dropout: of whole units after each convolution.
        has_weight_norm: whether each unit's weights are a length times a direction.
        is_causal: whether a step sees nothing that comes later.
    """

    hidden_size: PositiveInt
    num_layers: PositiveInt
    kernel_size: PositiveInt
    dropout: Fraction
    has_weight_norm: bool
    is_causal: bool


class ConvolutionStack(SequenceLayer):
    """Map (values, lengths) to (values, lengths): (B, T, F) to (B, T, H)."""

    def __init__(self, input_size: int, convolutions: Convolutions) -> None:
        super().__init__()
        self.output_size, self.num_directions, self.is_causal = convolutions.hidden_size, 1, convolutions.is_causal
        self.runs_in_parts = self.carries_state = self.is_causal
        self.receptive_field = 1 + 2 * (convolutions.kernel_size - 1) * (2**convolutions.num_layers - 1)
        sizes = [input_size] + [convolutions.hidden_size] * (convolutions.num_layers - 1)
        self.blocks = nn.ModuleList(Block(size, convolutions, dilation=2**level) for level, size in enumerate(sizes))

    @property
    def levels(self) -> list[list[nn.Module]]:
        """Each block."""
        return [[block] for block in self.blocks]

    def forward(self, values_BTF: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Run all blocks; what lies beyond a length is zero in the result."""
        values_BFT = values_BTF.transpose(1, 2)
        for block in self.blocks:
            values_BFT = block(values_BFT, lengths_B)
        return zero_padding(values_BFT.transpose(1, 2), lengths_B), lengths_B

    def run(self, values_BTF: Tensor, lengths_B: Tensor, state: LayerState | None = None) -> tuple[Tensor, LayerState]:
        """Run sequences on from the last inputs of each convolution, as far as it reaches back; see `SequenceLayer.run`."""
        if not self.is_causal:
            raise NotImplementedError("convolutions that look ahead cannot be run in parts")
        values_BFT, left = values_BTF.transpose(1, 2), list(state) if state is not None else None
        after: list[Tensor] = []
        for block in self.blocks:
            assert isinstance(block, Block)
            values_BFT = block.run(values_BFT, left, after)
        return zero_padding(values_BFT.transpose(1, 2), lengths_B), tuple(after)


class Block(nn.Module):
    """Run two convolutions and add what came in; see the equations at the top."""

    def __init__(self, input_size: int, convolutions: Convolutions, dilation: int) -> None:
        super().__init__()
        size = convolutions.hidden_size
        self.convolutions = nn.ModuleList(DilatedConvolution(before, convolutions, dilation) for before in (input_size, size))
        self.shortcut = nn.Identity() if input_size == size else nn.Conv1d(input_size, size, 1)
        self.dropout = nn.Dropout1d(convolutions.dropout)
        self.is_causal = convolutions.is_causal

    def forward(self, values_BFT: Tensor, lengths_B: Tensor) -> Tensor:
        """Map (B, F, T) to (B, H, T); what lies beyond a length comes out arbitrary."""
        hidden_BHT = values_BFT
        for convolution in self.convolutions:
            if not self.is_causal:  # taps that look ahead would see what biases left there
                hidden_BHT = zero_padding(hidden_BHT.transpose(1, 2), lengths_B).transpose(1, 2)
            hidden_BHT = self.dropout(torch.relu(convolution(hidden_BHT)))
        return torch.relu(hidden_BHT + self.shortcut(values_BFT))

    def run(self, values_BFT: Tensor, before: list[Tensor] | None, after: list[Tensor]) -> Tensor:
        """Run on from the inputs that each convolution had last, taken from `before` (None: zeros) and put into `after`."""
        hidden_BHT = values_BFT
        for convolution in self.convolutions:
            assert isinstance(convolution, DilatedConvolution)
            reach = convolution.padding[0]
            earlier = hidden_BHT.new_zeros(*hidden_BHT.shape[:2], reach) if before is None else before.pop(0)
            whole = torch.cat([earlier, hidden_BHT], -1)
            after.append(whole[..., whole.shape[-1] - reach :])
            hidden_BHT = self.dropout(torch.relu(convolution.valid(whole)))
        return torch.relu(hidden_BHT + self.shortcut(values_BFT))


class DilatedConvolution(nn.Module):
    """Convolve over time, as many steps out as in; weights begin as PyTorch's own do."""

    def __init__(self, input_size: int, convolutions: Convolutions, dilation: int) -> None:
        super().__init__()
        drawn = nn.Conv1d(input_size, convolutions.hidden_size, convolutions.kernel_size)
        assert drawn.bias is not None
        self.weight, self.bias = drawn.weight, drawn.bias
        self.gain = nn.Parameter(lengths_of(drawn.weight.detach())) if convolutions.has_weight_norm else None
        self.dilation = dilation
        reach = dilation * (convolutions.kernel_size - 1)
        ahead = 0 if convolutions.is_causal else reach // 2
        self.padding = (reach - ahead, ahead)

    @property
    def kernel(self) -> Tensor:
        """W, (H, F, K)."""
        if self.gain is None:
            return self.weight
        return self.weight * (self.gain / lengths_of(self.weight))[:, None, None]

    def forward(self, values_BFT: Tensor) -> Tensor:
        """Map (B, F, T) to (B, H, T)."""
        return self.valid(F.pad(values_BFT, self.padding))

    def valid(self, values_BFT: Tensor) -> Tensor:
        """Convolve where all taps have inputs: fewer steps out than in."""
        return F.conv1d(values_BFT, self.kernel, self.bias, dilation=self.dilation)


def lengths_of(weight_HFK: Tensor) -> Tensor:
    """Return the Euclidean length of each output unit's weights, (H,)."""
    return weight_HFK.flatten(1).norm(dim=1)
