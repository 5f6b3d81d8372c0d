"""Observations of the microscope at optimizer steps."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch


@dataclass(frozen=True)
class Observation:
    """The observations at one optimizer step.

    Args:
        step: of the optimizer; 0 is before the first.
        numbers: name (as in `insight/<name>`) to value.
        curves: by recurrent steps back, (K,): `<layer>/total` (|dL/dh|) and `<layer>/from_last` (|g_k| / |g_0|); see `flow`.
    """

    step: int
    numbers: dict[str, float] = field(default_factory=dict)
    curves: dict[str, np.ndarray] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """Return it as a checkpoint may hold it."""
        return {"step": self.step, "numbers": self.numbers, "curves": {name: torch.from_numpy(c) for name, c in self.curves.items()}}

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> "Observation":
        """Take it from a checkpoint."""
        return cls(state["step"], dict(state["numbers"]), {name: curve.numpy() for name, curve in state["curves"].items()})


def series(samples: Iterable[Observation], prefix: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return (steps, values) of every number whose name begins so, by the rest of its name."""
    found: dict[str, list[tuple[int, float]]] = {}
    for sample in samples:
        for name, value in sample.numbers.items():
            if name.startswith(prefix):
                found.setdefault(name.removeprefix(prefix), []).append((sample.step, value))
    return {name: (np.array([step for step, _ in points]), np.array([value for _, value in points])) for name, points in found.items()}


def layers(samples: Iterable[Observation]) -> list[str]:
    """Return the names of the layers that curves were noted of."""
    return list(dict.fromkeys(name.partition("/")[0] for sample in samples for name in sample.curves))


def flow_table(samples: Iterable[Observation]) -> pd.DataFrame:
    """Return all curves: step, layer, steps_back, total, from_last."""
    parts = []
    for sample in samples:
        for layer in layers([sample]):
            total, from_last = sample.curves[f"{layer}/total"], sample.curves[f"{layer}/from_last"]
            columns = {"step": sample.step, "layer": layer, "steps_back": np.arange(len(total)), "total": total, "from_last": from_last}
            parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["step", "layer", "steps_back", "total", "from_last"])
