"""Texts of different lengths become a batch: truncated, and padded with zeros."""

import numpy as np
import torch

from rnnlab.contracts import PAD


def truncated(values: np.ndarray, most: int | None, side: str) -> np.ndarray:
    """Keep at most so many values, from the head, the tail, or half from both ends (the head has one more where the count is odd)."""
    if most is None or len(values) <= most:
        return values
    if side == "head":
        return values[:most]
    if side == "tail":
        return values[-most:]
    if side == "both":
        return np.concatenate([values[: most - most // 2], values[len(values) - most // 2 :]])
    raise ValueError(f"data.loader.truncate={side!r} is not one of head, tail, both")


def pad(rows: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad rows of numbers to (B, T) int64; return lengths (B,) too."""
    lengths = np.array([len(row) for row in rows])
    values_BT = np.full((len(rows), lengths.max()), PAD, dtype=np.int64)
    values_BT[np.arange(lengths.max())[None] < lengths[:, None]] = np.concatenate(rows)
    return torch.from_numpy(values_BT), torch.from_numpy(lengths)
