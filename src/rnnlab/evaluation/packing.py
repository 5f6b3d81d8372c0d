"""Weights of a network in few bytes: 8 bits each, and nothing but a bit for those that are zero.

`int8`: each row of a matrix, the weights that enter one unit or the vector of one word, has a scale s of 16 bits (float16); a weight is
q s with a whole number -127 <= q <= 127. s is max|w| / 127, rounded up to 11 significant bits: then each q s is exact in float32, and a
matrix that was packed once is packed to the same bytes again. Vectors (biases, norms) stay as they are.

Zeros: of a matrix with so many that it is worth it, a bitmap says which weights are not zero (one bit each), and only these are stored.

    name           a tensor as it is                                (N, ...) float32
    name:int8      q of all weights, or of those that are not zero  (N, ...) or (K,) int8
    name:values    weights that are not zero                        (K,) float32
    name:scale     s of each row                                    (N,) float16
    name:bitmap    which weights are not zero, eight in a byte      (ceil(size / 8),) uint8
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

LARGEST = 127
SMALLEST_SCALE = 2.0**-14
"""The smallest float16 with all its 11 significant bits: rows of smaller weights are rounded to multiples of it."""
ENTRY = 90
"""About what the name, type and place of a tensor take in the head of a file, in bytes."""


def is_matrix(value: Tensor) -> bool:
    """Tell whether a tensor is one whose weights are packed."""
    return value.is_floating_point() and value.ndim > 1 and value.numel() > 0


def scales(value: Tensor) -> Tensor:
    """Return the scale of each row, (N,) float32 with 11 significant bits.

    Raises:
        ValueError: where weights are not finite, or larger than 8 million.
    """
    largest_N = value.detach().float().flatten(1).abs().amax(1)
    if not bool((largest_N < LARGEST * 65_000).all()):
        raise ValueError("compression.int8: a matrix has weights that are not finite or larger than 8 million: train with smaller steps")
    mantissa_N, exponent_N = torch.frexp(largest_N / LARGEST)
    return torch.ldexp(torch.ceil(mantissa_N * 2**11) / 2**11, exponent_N).clamp(min=SMALLEST_SCALE)


def quantised(value: Tensor) -> tuple[Tensor, Tensor]:
    """Return q, int8 of the matrix's shape, and the scale of each row, (N,) float32."""
    scale_N = scales(value)
    whole = (value.detach().float() / _by_row(scale_N, value)).round().clamp(-LARGEST, LARGEST)
    return whole.to(torch.int8), scale_N


def restored(whole: Tensor, scale_N: Tensor) -> Tensor:
    """Return the float32 weights q s."""
    return whole.float() * _by_row(scale_N.float(), whole)


def _by_row(scale_N: Tensor, value: Tensor) -> Tensor:
    return scale_N.view(-1, *[1] * (value.ndim - 1))


@torch.no_grad()
def round_weights(state: Mapping[str, Tensor]) -> None:
    """Round the matrices of a state in place to what `pack` stores of them in int8."""
    for value in state.values():
        if is_matrix(value):
            value.copy_(restored(*quantised(value)))


def pack(state: Mapping[str, Tensor], is_int8: bool) -> dict[str, Tensor]:
    """Return what is stored of weights: of each matrix the smaller of both ways, and all else as it is."""
    stored: dict[str, Tensor] = {}
    for name, value in state.items():
        if not is_matrix(value):
            stored[name] = value
            continue
        kept, kind = value, ""
        if is_int8:
            kept, scale_N = quantised(value)
            stored[f"{name}:scale"], kind = scale_N.half(), ":int8"
        is_kept = (kept != 0).flatten()
        num_bytes, num_kept = kept.element_size(), int(is_kept.sum())
        if num_kept * num_bytes + -(-kept.numel() // 8) + ENTRY < kept.numel() * num_bytes:
            stored[f"{name}:bitmap"] = torch.from_numpy(np.packbits(is_kept.numpy()))
            stored[f"{name}{kind or ':values'}"] = kept.flatten()[is_kept]
        else:
            stored[f"{name}{kind}"] = kept
    return stored


def unpack(stored: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Return the weights of what was stored, as far as they have a shape here; tensors that were stored as they are stay so.

    Raises:
        ValueError: where parts of a matrix are missing, or do not fit its shape.
    """
    found: dict[str, Tensor] = {}
    for key, value in stored.items():
        name, _, kind = key.partition(":")
        if not kind:
            found[name] = value
        elif kind in ("int8", "values"):
            found[name] = _unpacked(name, value, kind, stored, shapes.get(name))
        elif kind not in ("scale", "bitmap") or not {f"{name}:int8", f"{name}:values"} & stored.keys():
            raise ValueError(f"{key} belongs to no weights")
    return found


def _unpacked(name: str, value: Tensor, kind: str, stored: Mapping[str, Tensor], shape: torch.Size | None) -> Tensor:
    if (bitmap := stored.get(f"{name}:bitmap")) is not None:
        if shape is None or bitmap.dtype != torch.uint8 or bitmap.shape != (-(-shape.numel() // 8),):
            raise ValueError(f"{name}:bitmap does not fit the shape of that matrix")
        is_kept = torch.from_numpy(np.unpackbits(bitmap.numpy(), count=shape.numel()).astype(bool))
        if value.shape != (int(is_kept.sum()),):
            raise ValueError(f"{name} has {value.numel():,} weights that are not zero, and its bitmap says {int(is_kept.sum()):,}")
        whole = torch.zeros(shape.numel(), dtype=value.dtype)
        whole[is_kept] = value
        value = whole.view(shape)
    if kind == "values":
        return value
    scale_N = stored.get(f"{name}:scale")
    if scale_N is None or value.dtype != torch.int8 or value.ndim < 2 or scale_N.shape != value.shape[:1]:
        raise ValueError(f"{name} has no scale for each of its rows")
    return restored(value, scale_N)
