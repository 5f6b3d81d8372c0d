"""Recurrent layers on PyTorch's int8 kernels, for prediction: weights in 8 bits, what enters each product rounded to 8 bits as it comes.

PyTorch calls it dynamic quantisation. A kernel has one scale for the weights of a matrix, and one for all numbers that enter a product:
with several sequences at once, an answer would depend on its neighbours. Each sequence is therefore run by itself; padding is zeros, which
every scale represents exactly, so it changes nothing either. Products with inputs are of 8 bits, too; gates and states are float32.
"""

import warnings
from typing import cast

import torch
from torch import Tensor, nn

from rnnlab.cells.base import Cell, State

ENGINES = ("x86", "fbgemm", "onednn")
"""PyTorch's libraries of such kernels; the ones for phones have none for recurrent layers."""


class NoKernel(ValueError):
    """There is no int8 kernel for what is to be computed, or none on this machine."""


def refuse_int8(module: nn.Module) -> None:
    """Refuse what has no int8 kernel.

    Raises:
        NoKernel: says what has none, and what to choose instead.
    """
    instead = "Set compression.int8=weights, which stores 8 bits a weight and computes in float32"
    found = [name for name in torch.backends.quantized.supported_engines if name in ENGINES]
    if not found:
        raise NoKernel(f"compression.int8=dynamic: PyTorch has no int8 kernels on this machine. {instead}")
    cells = [part for part in module.modules() if isinstance(part, Cell)]
    if not cells:
        raise NoKernel(f"compression.int8=dynamic: model={type(module).__name__.lower()} has no recurrent cell. {instead}")
    for cell in cells:
        if not isinstance(cell.kernel, nn.LSTM | nn.GRU):
            name = type(cell).__module__.rpartition(".")[2]
            raise NoKernel(
                f"compression.int8=dynamic: PyTorch has int8 kernels for cell=gru (cell.reset=after) and cell=lstm, and not for "
                f"cell={name}. {instead}"
            )
        if cell.backend == "reference":
            raise NoKernel(f"compression.int8=dynamic: model.recurrence.backend=reference goes step by step, without kernels. {instead}")


def use_int8(module: nn.Module) -> None:
    """Let all cells of a network predict on int8 kernels from now on; its weights stay as they are, and training goes on in float32.

    Raises:
        NoKernel: see `refuse_int8`.
    """
    refuse_int8(module)
    for cell in module.modules():
        if isinstance(cell, Cell):
            cell.predictor = Int8(cast("nn.LSTM | nn.GRU", cell.kernel))


class Int8:
    """A kernel of PyTorch's with its weights in int8; no module, since its weights are made from the cell's and not kept beside them."""

    def __init__(self, kernel: nn.LSTM | nn.GRU) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch moves these functions to a package of their own
            holder = nn.Sequential(kernel).eval()
            self.kernel = torch.ao.quantization.quantize_dynamic(holder, {type(kernel)}, dtype=torch.qint8)[0]
        self.num_states = 2 if isinstance(kernel, nn.LSTM) else 1

    @torch.no_grad()
    def __call__(self, inputs_BTF: Tensor, state: State) -> tuple[Tensor, State]:
        """Run sequences, (B, T, F), one by one, from a state; see `Cell.run`."""
        outputs, ends = [], []
        for row in range(len(inputs_BTF)):
            before = tuple(part[None, row : row + 1].contiguous() for part in state)
            output_1TH, after = self.kernel(inputs_BTF[row : row + 1], before if self.num_states > 1 else before[0])
            outputs.append(output_1TH)
            ends.append(after if self.num_states > 1 else (after,))
        return torch.cat(outputs), tuple(torch.cat(parts, 1)[0] for parts in zip(*ends, strict=True))
