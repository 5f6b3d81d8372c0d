"""A whole sequence of a GRU or a simple cell on a processor, and its gradient, with as few operations a step as there can be.

PyTorch has one kernel for all steps of an LSTM on a processor (oneDNN's), but for the GRU and the simple cell it goes step by step and
lets autograd follow: at small sizes most of that time is bookkeeping. Here the equations of the cells' own files are split into what
needs the step before, and all else, which is done for many steps at once. Let u_t = W_h h_{t-1} + b_h. A GRU's step forwards is

    u_t;   [r, z] = sigmoid(p_rz + u_rz);   n = tanh(p_n + r u_n);   h_t = n + z (h_{t-1} - n)

Backwards, everything within a step is proportional to dh_t, the total derivative, with factors that are known before (see `gru`):

    da_t = dh_t * c_t,   c = [(1-z)(1-n^2) u_n r (1-r),  (h_{t-1} - n) z (1-z),  (1-z)(1-n^2) r]
    dh_{t-1} = dL/dh_{t-1} + dh_t * z + W_h^T da_t

so that a step is three operations; weights' gradients are one product for a block of steps. A simple cell's step is two operations each
way: c = f'(a), written in h = f(a). Blocks are as long as their numbers stay in the processor's cache.

Where a tanh stands, 2 sigmoid(2a) - 1 is computed, which is the same and several times faster here; 2a comes from doubled weights.

The numbers are those of the step-by-step path up to rounding (tests/cells). The recurrence is in float32, also where the products around
it are in half precision. Second derivatives are not defined: take `backend=reference` for them.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

BLOCK = 65_536
"""How many numbers of a state a block has, all steps and sequences together: 256 kB in float32."""


_is_off = ContextVar("scans are off", default=False)


@contextlib.contextmanager
def pytorchs_kernels() -> Iterator[None]:
    """Run sequences on PyTorch's kernels meanwhile, which a trace holds: what is compared with a trace adds up in the same order."""
    before = _is_off.set(True)
    try:
        yield
    finally:
        _is_off.reset(before)


def can_scan(inputs_BTF: Tensor) -> bool:
    """Say whether these scans apply: on a processor, and where nobody follows the single operations (a trace, a transform)."""
    is_followed = torch._C._get_tracing_state() is not None or torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
    return not (is_followed or _is_off.get()) and inputs_BTF.device.type == "cpu" and inputs_BTF.shape[1] > 0


def scan_gru(projected_TBP: Tensor, first_BH: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Run a GRU (reset after the product).

    Args:
        projected_TBP: W_i x + b_i of all steps, (T, B, 3H), gates r, z, n.
        first_BH: the state before the first step.
        weight, bias: W_h (3H, H) and b_h (3H,).

    Returns:
        Hidden states, (T, B, H).
    """
    with torch.autocast(projected_TBP.device.type, enabled=False):
        states_TBH: Tensor = _GRU.apply(projected_TBP.to(weight.dtype), first_BH.to(weight.dtype), weight, bias)
    return states_TBH


def scan_simple(projected_TBH: Tensor, first_BH: Tensor, weight: Tensor, bias: Tensor, activation: str) -> Tensor:
    """Run a simple cell, `tanh` or `relu`; see `scan_gru`."""
    with torch.autocast(projected_TBH.device.type, enabled=False):
        states_TBH: Tensor = _Simple.apply(projected_TBH.to(weight.dtype), first_BH.to(weight.dtype), weight, bias, activation)
    return states_TBH


class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projected_TBP: Tensor, first_BH: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        num_steps, size, width = projected_TBP.shape[0], *first_BH.shape
        both, last = slice(2 * width), slice(2 * width, None)
        recurrent_TBP = torch.empty_like(projected_TBP, memory_format=torch.contiguous_format)
        gates_TBG, candidates_TBH = first_BH.new_empty(num_steps, size, 2 * width), first_BH.new_empty(num_steps, size, width)
        states = first_BH.new_empty(num_steps + 1, size, width)
        states[0] = first_BH
        doubled_TBH, across, offset = 2 * projected_TBP[..., last], _doubled(weight, last).t(), _doubled(bias, last)
        minus_one, rows = first_BH.new_tensor(-1.0), states.unbind(0)
        entering = (projected_TBP[..., both].unbind(0), doubled_TBH.unbind(0), rows[:-1], rows[1:])
        (u_G, u_n), (r, z) = _split(recurrent_TBP, 2 * width), _split(gates_TBG, width)
        made = (recurrent_TBP.unbind(0), u_G, u_n, gates_TBG.unbind(0), r, z, candidates_TBH.unbind(0))
        for p_rz, pn, h, now, u, u_rz, un, rz, rt, zt, n in zip(*entering, *made, strict=True):
            torch.addmm(offset, h, across, out=u)
            torch.add(p_rz, u_rz, out=rz).sigmoid_()
            torch.addcmul(pn, rt, un, out=n).sigmoid_()
            torch.add(minus_one, n, alpha=2, out=n)
            torch.lerp(n, h, zt, out=now)
        ctx.save_for_backward(recurrent_TBP[..., 2 * width :], gates_TBG, candidates_TBH, states, weight)
        return states[1:]

    @staticmethod
    def backward(ctx: Any, outputs_TBH: Tensor) -> tuple[Tensor | None, ...]:
        _refuse_second_derivatives()
        u_n, gates_TBG, n_TBH, states, weight = ctx.saved_tensors
        num_steps, size, width = n_TBH.shape
        totals = _totals(outputs_TBH)
        steps_TB3H = n_TBH.new_empty(num_steps, size, 3, width)
        length = _block_length(num_steps, size * width)
        factors = n_TBH.new_empty(length, size, 3, width)
        of_weight, of_bias = torch.zeros_like(weight), weight.new_zeros(3 * width)
        one = n_TBH.new_ones(())
        for end in range(num_steps, 0, -length):
            block = slice(max(0, end - length), end)
            r, z = gates_TBG[block, :, :width], gates_TBG[block, :, width:]
            n, h, c, da = n_TBH[block], states[block], factors[: block.stop - block.start], steps_TB3H[block]
            of_candidate = (1 - z).mul_(torch.addcmul(one, n, n, value=-1))
            torch.mul(of_candidate, r, out=c[:, :, 2])
            torch.mul(c[:, :, 2], (1 - r).mul_(u_n[block]), out=c[:, :, 0]).mul_(0.5)  # u_n was doubled
            torch.mul((h - n).mul_(z), 1 - z, out=c[:, :, 1])
            flat = da.flatten(2)
            for dh, earlier, da_t, flat_t, c_t, z_t in _backwards(totals[block.start + 1 : end + 1], totals[block], da, flat, c, z):
                torch.mul(dh.unsqueeze(1), c_t, out=da_t)
                earlier.addcmul_(dh, z_t).addmm_(flat_t, weight)
            _add_to_weights(of_weight, of_bias, flat, h)
            torch.mul(totals[block.start + 1 : end + 1], of_candidate, out=da[:, :, 2])  # of p_n; u_n's had the reset gate before it
        return steps_TB3H.flatten(2), totals[0], of_weight, of_bias


class _Simple(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projected_TBH: Tensor, first_BH: Tensor, weight: Tensor, bias: Tensor, activation: str) -> Tensor:
        states = first_BH.new_empty(len(projected_TBH) + 1, *first_BH.shape)
        states[0] = first_BH
        sums_TBH, across, rows = projected_TBH + bias, weight.t(), states.unbind(0)
        if activation == "tanh":
            sums_TBH, across = 2 * sums_TBH, 2 * across
        minus_one = first_BH.new_tensor(-1.0)
        for a, h, now in zip(sums_TBH.unbind(0), rows[:-1], rows[1:], strict=True):
            if activation == "tanh":
                torch.add(minus_one, a.addmm_(h, across).sigmoid_(), alpha=2, out=now)
            else:
                torch.clamp_min(a.addmm_(h, across), 0, out=now)
        ctx.save_for_backward(states, weight)
        ctx.activation = activation
        return states[1:]

    @staticmethod
    def backward(ctx: Any, outputs_TBH: Tensor) -> tuple[Tensor | None, ...]:
        _refuse_second_derivatives()
        states, weight = ctx.saved_tensors
        num_steps, size, width = outputs_TBH.shape
        totals = _totals(outputs_TBH)
        steps_TBH = states.new_empty(num_steps, size, width)
        of_weight, of_bias = torch.zeros_like(weight), weight.new_zeros(width)
        length = _block_length(num_steps, size * width)
        one = states.new_ones(())
        for end in range(num_steps, 0, -length):
            block = slice(max(0, end - length), end)
            after, da = states[block.start + 1 : end + 1], steps_TBH[block]
            c = torch.addcmul(one, after, after, value=-1) if ctx.activation == "tanh" else (after > 0).to(after.dtype)
            for dh, earlier, da_t, c_t in _backwards(totals[block.start + 1 : end + 1], totals[block], da, c):
                torch.mul(dh, c_t, out=da_t)
                earlier.addmm_(da_t, weight)
            _add_to_weights(of_weight, of_bias, da, states[block])
        return steps_TBH, totals[0], of_weight, of_bias, None


def _refuse_second_derivatives() -> None:
    """Raise where a gradient is to be differentiated again: it would be taken for a constant, without a word."""
    if torch.is_grad_enabled():
        raise RuntimeError("a scan has no second derivatives: set model.recurrence.backend=reference, which goes step by step")


def _doubled(values: Tensor, rows: slice) -> Tensor:
    """Return weights or biases with some rows times 2; see the head of this file for why."""
    result = values.clone()
    result[rows] *= 2
    return result


def _split(values_TBP: Tensor, place: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return both parts of the last axis, by step."""
    return values_TBP[..., :place].unbind(0), values_TBP[..., place:].unbind(0)


def _totals(outputs_TBH: Tensor) -> Tensor:
    """Return room for dh_0 to dh_T, (T + 1, B, H), begun with what the outputs add."""
    return torch.cat([outputs_TBH.new_zeros(1, *outputs_TBH.shape[1:]), outputs_TBH])


def _block_length(num_steps: int, size: int) -> int:
    return max(1, min(num_steps, BLOCK // max(1, size)))


def _backwards(*values: Tensor) -> Any:
    """Give the steps of all of these together, the last first."""
    return zip(*(each.unbind(0)[::-1] for each in values), strict=True)


def _add_to_weights(of_weight: Tensor, of_bias: Tensor, steps_TBP: Tensor, before_TBH: Tensor) -> None:
    """Add the gradients of W_h and b_h that a block of steps gives."""
    flat_NP = steps_TBP.flatten(0, 1)
    of_weight.addmm_(flat_NP.t(), before_TBH.flatten(0, 1))
    of_bias.add_(flat_NP.sum(0))
