"""How large gradients are, by layer and matrix, and how often clipping acts."""

from collections.abc import Iterable

import torch
from torch import nn

from rnnlab.insight.replay import cells_of
from rnnlab.models.base import Network

TOTAL = "total"


def parts_of(model: Network) -> dict[str, list[nn.Parameter]]:
    """Group what is trained: of cells each matrix by name (`layer1.weight_hh`; biases together), of the rest each top-level module."""
    of_cells = {
        parameter: f"{layer}.{_plain(name)}" for layer, cell in cells_of(model).items() for name, parameter in cell.named_parameters()
    }
    parts: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parts.setdefault(of_cells.get(parameter, name.partition(".")[0]), []).append(parameter)
    return parts


def _plain(name: str) -> str:
    """Return a parameter's own name, without its place and the kernel's layer number."""
    last = name.rpartition(".")[2].removesuffix("_l0")
    return "bias" if last.startswith("bias") else last


@torch.no_grad()
def norms(parts: dict[str, list[nn.Parameter]]) -> dict[str, float]:
    """Return the Euclidean norm of each part's gradient, and of all together."""
    found = {name: _norm(parameters, 2.0) for name, parameters in parts.items()}
    return {TOTAL: sum(value * value for value in found.values()) ** 0.5, **found}


def _norm(parameters: Iterable[nn.Parameter], order: float) -> float:
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients, order)) if gradients else 0.0


class ClipCount:
    """Count the steps at which clipping acts, on single numbers (`is_by_value`) or on the norm of all gradients; limit None: none."""

    def __init__(self, limit: float | None, is_by_value: bool) -> None:
        self.limit = limit or None  # 0 is Lightning's word for none
        self.order = torch.inf if is_by_value else 2.0
        self.num_steps = self.num_clipped = 0

    def look(self, parameters: Iterable[nn.Parameter]) -> None:
        """Count a step, before it is clipped."""
        self.num_steps += 1
        if self.limit is not None:
            self.num_clipped += _norm(parameters, self.order) > self.limit

    def fraction(self) -> float:
        """Return which fraction of the steps since the last call was clipped, and begin anew; NaN where there were none."""
        fraction = self.num_clipped / self.num_steps if self.num_steps else float("nan")
        self.num_steps = self.num_clipped = 0
        return fraction
