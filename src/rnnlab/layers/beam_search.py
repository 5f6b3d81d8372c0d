"""Search for the most probable sequence of tokens: greedily, or with a beam; batched, each sentence as if it were alone.

The score of a hypothesis of n tokens, the stop counted, is ln p / n^alpha: alpha = 0 is the plain log-probability, 1 its mean per token.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rnnlab.config import NonNegativeFloat, PositiveInt
from rnnlab.contracts import PAD, START, STOP, UNKNOWN, Hypothesis
from rnnlab.layers.decoder import DecoderState

Step = Callable[[Tensor, DecoderState], tuple[Tensor, DecoderState]]
"""From the tokens said last, (N,), and the state to log-probabilities of the next ones, (N, V), and the next state."""
NEVER_SAID = (PAD, UNKNOWN, START)


@dataclass(frozen=True)
class Decoding:
    """Settings of the search for a sequence of tokens (`model.decoding`).

    Args:
        beam_size: hypotheses that are kept at each step; 1 is greedy. Validation while training is always greedy.
        length_penalty: alpha of the score.
        num_best: how many answers are returned.
    """

    beam_size: PositiveInt
    length_penalty: NonNegativeFloat
    num_best: PositiveInt

    def __post_init__(self) -> None:
        """Refuse more answers than are searched for."""
        if self.num_best > self.beam_size:
            raise ValueError(
                f"model.decoding.num_best={self.num_best} is more than a beam of {self.beam_size} finds: set "
                f"model.decoding.beam_size={self.num_best} or more"
            )


@torch.no_grad()
def search(step: Step, state: DecoderState, most: int, decoding: Decoding) -> list[list[Hypothesis]]:
    """Return each sentence's best hypotheses, best first; what has not stopped after `most` tokens is cut there.

    `state` is that before the first token, one row a sentence.
    """
    simple = greedy(step, state, most, decoding.length_penalty)
    if decoding.beam_size == 1:
        return [[hypothesis] for hypothesis in simple]
    found = beam(step, state, most, decoding.beam_size, decoding.length_penalty)
    best = []
    for hypotheses, other in zip(found, simple, strict=True):  # a beam can lose the greedy path, which may end better
        if all(hypothesis.tokens != other.tokens for hypothesis in hypotheses):
            hypotheses.append(other)
        best.append(sorted(hypotheses, key=lambda hypothesis: -hypothesis.score)[: decoding.num_best])
    return best


@torch.no_grad()
def greedy(step: Step, state: DecoderState, most: int, length_penalty: float) -> list[Hypothesis]:
    """Take the most probable token at each step."""
    num = state.memory.size
    device = state.parts[0].device
    active_A = torch.arange(num, device=device)
    last_A = torch.full((num,), START, device=device)
    found: list[Hypothesis] = [Hypothesis([], 0.0) for _ in range(num)]
    totals_B = torch.zeros(num, device=device, dtype=torch.double)
    for _ in range(most):
        log_probs_AV, state = step(last_A, state)
        values_A, last_A = _allowed(log_probs_AV).max(-1)
        totals_B[active_A] += values_A
        goes_on_A = last_A != STOP
        for row, token in zip(active_A[goes_on_A].tolist(), last_A[goes_on_A].tolist(), strict=True):
            found[row].tokens.append(token)
        if not goes_on_A.all():
            (kept,) = goes_on_A.nonzero(as_tuple=True)
            active_A, last_A, state = active_A[kept], last_A[kept], state.select(kept, kept)
        if not len(active_A):
            break
    unstopped = set(active_A.tolist())
    for row, total in enumerate(totals_B.tolist()):
        found[row].score = total / (len(found[row].tokens) + (row not in unstopped)) ** length_penalty
    return found


@torch.no_grad()
def beam(step: Step, state: DecoderState, most: int, beam_size: int, length_penalty: float) -> list[list[Hypothesis]]:
    """Keep the W most probable beginnings at each step, until W of them have stopped; those are returned.

    A sentence leaves the batch when it is done. One of a beam's best W continuations that stops is a hypothesis; the W best that don't
    stop go on.
    """
    num, device = state.memory.size, state.parts[0].device
    found: list[list[Hypothesis]] = [[] for _ in range(num)]
    active_A = torch.arange(num, device=device)
    state = state.select(active_A.repeat_interleave(beam_size))
    said_AWS = torch.zeros(num, beam_size, 0, dtype=torch.long, device=device)
    last_AW = torch.full((num, beam_size), START, device=device)
    totals_AW = torch.full((num, beam_size), -torch.inf, dtype=torch.double, device=device)
    totals_AW[:, 0] = 0.0  # at first all are the same: one is enough
    for length in range(1, most + 1):
        log_probs, state = step(last_AW.flatten(), state)
        grown_AWV = totals_AW[..., None] + _allowed(log_probs).unflatten(0, last_AW.shape).double()
        num_words = grown_AWV.shape[-1]
        values_AK, places_AK = grown_AWV.flatten(1).topk(min(2 * beam_size, beam_size * num_words), -1)
        from_AK, word_AK = places_AK // num_words, places_AK % num_words
        stops_AK = (word_AK == STOP) & values_AK.isfinite()
        for row, place in stops_AK[:, :beam_size].nonzero().tolist():
            tokens = said_AWS[row, from_AK[row, place]].tolist()
            found[int(active_A[row])].append(Hypothesis(tokens, float(values_AK[row, place]) / length**length_penalty))
        order = torch.sort((word_AK == STOP).to(torch.int8), dim=-1, stable=True).indices[
            :, :beam_size
        ]  # the best that go on, in their order
        totals_AW, from_AW, last_AW = (part.gather(1, order) for part in (values_AK, from_AK, word_AK))
        totals_AW = totals_AW.masked_fill(last_AW == STOP, -torch.inf)
        said_AWS = torch.cat([said_AWS.gather(1, from_AW[..., None].expand(-1, -1, length - 1)), last_AW[..., None]], -1)
        rows_AW = from_AW + beam_size * torch.arange(len(active_A), device=device)[:, None]
        is_done_A = torch.tensor([len(found[row]) >= beam_size for row in active_A.tolist()], device=device)
        if is_done_A.all():
            return found
        if is_done_A.any():
            (kept,) = (~is_done_A).nonzero(as_tuple=True)
            state = state.select(rows_AW[kept].flatten(), kept)
            active_A, totals_AW, last_AW, said_AWS = (part[kept] for part in (active_A, totals_AW, last_AW, said_AWS))
        else:
            state = state.select(rows_AW.flatten())
    for row, totals_W, said_WS in zip(active_A.tolist(), totals_AW, said_AWS, strict=True):
        for total, said_S in zip(totals_W.tolist(), said_WS, strict=True):
            if total > -torch.inf and len(found[row]) < beam_size:
                found[row].append(Hypothesis(said_S.tolist(), total / most**length_penalty))
    return found


def _allowed(log_probs_NV: Tensor) -> Tensor:
    """Make what is never said impossible."""
    log_probs_NV = log_probs_NV.clone()
    log_probs_NV[:, list(NEVER_SAID)] = -torch.inf
    return log_probs_NV
