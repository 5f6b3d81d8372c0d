"""How far gradients reach back in time.

The *total* derivative of the loss L with respect to the hidden state of step t counts every way in which that state matters: what reads it
there, and all later steps. It is the delta of backpropagation through time,

    dL/dh_t = (what reads h_t) + (dh_{t+1}/dh_t)^T dL/dh_{t+1}

Where pooling reads every step, the first term is there at every step and hides how the second one fades. So the same is asked once more
of what entered a layer at its last step alone: v = dL/dh_T, carried back by the layer's own recurrence,

    g_k = (dh_T/dh_{T-k})^T v,  k steps back

The *gradient horizon* of a layer is the decay length of |g_k|, in recurrent steps: -1 / slope of the least squares line through
(k, ln |g_k|) from k = 1 to the first k at which |g_k| is below a thousandth of |g_1|; what is that small moves no weight beside the rest.
A sequence of n steps cannot show more than n: longer decays, and gradients that grow, count as n. The median over sequences is reported.
k = 0 is left out because an LSTM's last hidden state is read as it is, while all earlier ones act through gates.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rnnlab.insight.replay import Replay, Trace

NEGLIGIBLE = 1e-3


@dataclass(frozen=True)
class Flow:
    """How a layer's gradients fade, by distance from each sequence's last step (in the layer's own direction).

    Args:
        name: of the layer.
        total_BK: norm of the total derivative of the sequence's loss at k steps back; NaN before a sequence's first step.
        from_last_BK: the same of what entered at the last step alone, |g_k|.
    """

    name: str
    total_BK: np.ndarray
    from_last_BK: np.ndarray


@torch.enable_grad()
def flow(replay: Replay) -> list[Flow]:
    """Return every layer's flow, of gradients as training takes them: numbers that a decoder says enter its next step without any.

    Args:
        replay: whose graph is still there; its mean loss is multiplied by the number of sequences, which makes it each sequence's own
            (of a loss per step or token: but for the sequences' shares of all steps).
    """
    if not replay.traces:
        return []
    hidden = [[state[0] for state in trace.states] for trace in replay.traces]
    steps = [state for states in hidden for state in states]
    loss = replay.loss * len(replay.traces[0].lengths_B)
    found = iter(torch.autograd.grad(loss, steps, retain_graph=True, materialize_grads=True))
    flows = []
    for trace, states in zip(replay.traces, hidden, strict=True):
        total_BTH = torch.stack([next(found) for _ in states], 1)
        from_last_BTH = _from_last(trace, states, total_BTH)
        flows.append(Flow(trace.name, _by_distance(total_BTH, trace.lengths_B), _by_distance(from_last_BTH, trace.lengths_B)))
    return flows


def _from_last(trace: Trace, states: list[Tensor], total_BTH: Tensor) -> Tensor:
    """Carry what entered at each sequence's last step back; what it is worth further back passes through this layer alone."""
    rows_B, last_B = torch.arange(len(trace.lengths_B), device=trace.lengths_B.device), trace.lengths_B - 1
    entering_BH = total_BTH[rows_B, last_B].detach()
    worth = (torch.stack(states, 1)[rows_B, last_B] * entering_BH).sum()
    return torch.stack(torch.autograd.grad(worth, states, retain_graph=True, materialize_grads=True), 1)


def _by_distance(gradients_BTH: Tensor, lengths_B: Tensor) -> np.ndarray:
    """Return norms by steps back from each sequence's own end, NaN before its beginning."""
    norms_BT = gradients_BTH.detach().double().norm(dim=-1).cpu().numpy()
    lengths = lengths_B.cpu().numpy()
    places_BK = lengths[:, None] - 1 - np.arange(lengths.max())
    return np.where(places_BK >= 0, np.take_along_axis(norms_BT, places_BK.clip(0), 1), np.nan)


def horizon(from_last_BK: np.ndarray) -> float:
    """Return the median decay length in steps of norms by steps back; NaN if no sequence has three steps and a gradient."""
    lengths = [_decay_length(norms[~np.isnan(norms)]) for norms in from_last_BK]
    known = [length for length in lengths if length is not None]
    return float(np.median(known)) if known else float("nan")


def _decay_length(norms_K: np.ndarray) -> float | None:
    if len(norms_K) < 3 or norms_K[0] == 0:
        return None
    if np.isinf(norms_K).any():  # it grows past all numbers
        return float(len(norms_K))
    later = norms_K[1:]
    small = np.flatnonzero(later <= NEGLIGIBLE * later[0])
    used = later[: small[0] + 1] if len(small) else later
    used = used[used > 0]
    if len(used) < 2:  # it is gone at once
        return 0.0
    slope = np.polyfit(np.arange(len(used)), np.log(used), 1)[0]
    return min(-1 / slope, float(len(norms_K))) if slope < 0 else float(len(norms_K))


def typical(norms_BK: np.ndarray) -> np.ndarray:
    """Return the root mean square over the sequences that reach so far back, (K,)."""
    counts_K = (~np.isnan(norms_BK)).sum(0)
    return np.sqrt(np.nansum(norms_BK**2, 0) / np.maximum(counts_K, 1))


def relative(norms_BK: np.ndarray) -> np.ndarray:
    """Return the median over sequences of |g_k| / |g_0|, (K,), of those that reach so far back (not NaN) and have a gradient at all."""
    known = norms_BK[norms_BK[:, 0] > 0]
    ratios_BK = known / known[:, :1]
    return np.array([np.median(column[~np.isnan(column)]) if (~np.isnan(column)).any() else np.nan for column in ratios_BK.T])
