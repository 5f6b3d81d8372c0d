"""Copying: an answer mixes the words of a vocabulary with the words of the input (See, Liu and Manning 2017, section 2.2).

At each step the decoder gives the probabilities P of its own vocabulary, attention's weights a_t over the input, and a gate g:

    p(w) = sigmoid(g) P(w) + sigmoid(-g) sum over t with input_t = w of a_t    eq. 9

P(w) is 0 of a word that the vocabulary lacks, the sum is 0 of a word that the input lacks. Words are numbered as `contracts.Copies` says.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

TINY = 1e-30
"""What is added up from attention is at least so much where its logarithm is taken: a word that the input lacks has no gradient."""


def mixed(own_NV: Tensor, gate_N: Tensor, weights_NT: Tensor, numbers_NT: Tensor, num_numbers: int) -> Tensor:
    """Return the log-probabilities of the extended vocabulary, (N, num_numbers); -inf of what can be neither said nor copied.

    Args:
        own_NV: log-probabilities of the vocabulary.
        gate_N: log-odds of saying one of these.
        weights_NT: attention's.
        numbers_NT: of the words that are looked at.
        num_numbers: V and the unknown words of the inputs; an input that has fewer of them never says the rest.
    """
    own = own_NV.exp() * gate_N.sigmoid()[:, None]
    copied = weights_NT * (-gate_N).sigmoid()[:, None]
    whole = F.pad(own, (0, num_numbers - own.shape[1])).scatter_add(1, numbers_NT, copied.to(own.dtype))
    return whole.clamp_min(TINY).log().masked_fill(whole == 0, -torch.inf)


def mixed_at(own_MV: Tensor, gate_M: Tensor, weights_MT: Tensor, numbers_MT: Tensor, targets_M: Tensor) -> Tensor:
    """Return the log-probability of one word each of the extended vocabulary, (M,): what training maximises, computed in logarithms."""
    num_words = own_MV.shape[1]
    said_M = own_MV.gather(1, targets_M.clamp(max=num_words - 1)[:, None])[:, 0].masked_fill(targets_M >= num_words, -torch.inf)
    seen_M = (weights_MT * (numbers_MT == targets_M[:, None])).sum(-1)
    return torch.logaddexp(F.logsigmoid(gate_M) + said_M, F.logsigmoid(-gate_M) + seen_M.clamp_min(TINY).log())
