"""How much a recurrent matrix stretches in the long run: its spectral radius, the largest size of an eigenvalue.

Of h_t = W h_{t-1} alone, gradients over k steps go like radius^k: below 1 they vanish, above 1 they explode. Gates and the slope of tanh,
which is at most 1, pull further down; so a radius is a hint, and the gradient horizon the measurement.
"""

import numpy as np
import torch

from rnnlab.cells.base import Cell
from rnnlab.insight.gates import HIDDEN

NUM_SQUARINGS = 14


def spectral_radius(matrix: np.ndarray) -> float:
    """Return lim
    W^n
    ^(1/n) (Gelfand's formula) of (H, H) at n = 2^14, by squaring: a tenth of the time of all eigenvalues, and as good.
    """
    power, log_norm = np.asarray(matrix, dtype=float), 0.0
    for squared in range(NUM_SQUARINGS + 1):
        norm = float(np.linalg.norm(power))
        if norm == 0:
            return 0.0
        power, log_norm = power / norm, log_norm + np.log(norm)
        if squared < NUM_SQUARINGS:
            power, log_norm = power @ power, 2 * log_norm
    return float(np.exp(log_norm / 2**NUM_SQUARINGS))


def radii(cells: dict[str, Cell]) -> dict[str, float]:
    """Return `<layer>.<gate>` to the spectral radius of that gate's block of W_h; nothing of cells whose gates don't look at the state."""
    found = {}
    for layer, cell in cells.items():
        weights = dict(cell.kernel.named_parameters())
        if "weight_hh_l0" not in weights:
            continue
        stacked: torch.Tensor = weights["weight_hh_l0"].detach().double().cpu()
        for gate, block in zip(cell.gate_names or (HIDDEN,), stacked.chunk(cell.num_gates), strict=True):
            found[f"{layer}.{gate}"] = spectral_radius(block.numpy())
    return found
