"""Attention: which steps of the input a decoder looks at when it says its next word.

Scores of a query q (the decoder's state) against the memory's steps h_t, from which the weights are a_t = softmax_t(score_t) and the
context is c = sum_t a_t h_t:

    bahdanau        score_t = v . tanh(W q + U h_t)    Bahdanau et al. (2015), appendix A.1.2; q is the state before the step
    luong_dot       score_t = q . h_t                  Luong et al. (2015), section 3.1, eq. 8; q is the state after the step
    luong_general   score_t = q . W h_t                likewise

What lies beyond a sequence's length has weight zero, exactly. With coverage (See et al. 2017, section 2.3; `bahdanau` only) the score also
knows where the decoder has looked so far, c_t = the sum of a_t over all steps before:

    score_t = v . tanh(W q + U h_t + w_c c_t)
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from rnnlab.contracts import valid_mask

AttentionKind = Literal["none", "bahdanau", "luong_dot", "luong_general"]


@dataclass
class Memory:
    """The encoder outputs that a decoder attends to.

    Args:
        values: (B, T, M), the encoder's steps.
        keys: (B, T, A), what queries are compared with, made from them once.
        is_padding: (B, T) bool, true beyond a length.
        copies: (B, T) int64, which token of the target each step is, where the decoder may copy (see `contracts.Copies`).
        num_numbers: size of the target's vocabulary extended by the unknown words of the inputs, where the decoder may copy.
    """

    values: Tensor
    keys: Tensor
    is_padding: Tensor
    copies: Tensor | None = None
    num_numbers: int = 0

    @property
    def size(self) -> int:
        """Number of sequences."""
        return self.values.shape[0]

    def select(self, rows: Tensor) -> "Memory":
        """Return the memory of these sequences."""
        copies = None if self.copies is None else self.copies[rows]
        return Memory(self.values[rows], self.keys[rows], self.is_padding[rows], copies, self.num_numbers)


class Attention(nn.Module):
    """Weigh a memory's steps for queries.

    Args:
        kind: see the top of this file; not `none`.
        query_size: Q.
        memory_size: M.
        attention_size: A of `bahdanau`.
        has_coverage: whether scores know where the decoder has looked (`bahdanau` only).
    """

    def __init__(self, kind: AttentionKind, query_size: int, memory_size: int, attention_size: int, has_coverage: bool = False) -> None:
        super().__init__()
        self.kind = kind
        if kind == "luong_dot" and query_size != memory_size:
            raise ValueError(
                f"model.attention=luong_dot compares states as they are, but the decoder's have {query_size} numbers and the encoder's "
                f"{memory_size}: set model.decoder.hidden_size={memory_size}, or take model.attention=luong_general"
            )
        if kind == "bahdanau":
            self.from_memory = nn.Linear(memory_size, attention_size, bias=False)
            self.from_query = nn.Linear(query_size, attention_size)
            self.score = nn.Linear(attention_size, 1, bias=False)
            if has_coverage:
                self.from_coverage = nn.Linear(1, attention_size, bias=False)
        elif kind == "luong_general":
            self.from_memory = nn.Linear(memory_size, query_size, bias=False)
        elif kind != "luong_dot":
            raise ValueError(f"attention={kind!r} is not one of bahdanau, luong_dot, luong_general")

    def remember(self, values_BTM: Tensor, lengths_B: Tensor) -> Memory:
        """Make the memory of padded sequences."""
        keys_BTA = values_BTM if self.kind == "luong_dot" else self.from_memory(values_BTM)
        return Memory(values_BTM, keys_BTA, ~valid_mask(lengths_B, values_BTM.shape[1]))

    def forward(self, queries_BSQ: Tensor, memory: Memory, coverage_BST: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Look at the memory with one or more queries a sequence.

        Args:
            queries_BSQ: the queries.
            memory: what they are compared with.
            coverage_BST: where the decoder of each query has looked so far, where scores know that.

        Returns:
            Contexts (B, S, M) and weights (B, S, T).
        """
        if self.kind == "bahdanau":
            mixed_BSTA = self.from_query(queries_BSQ)[:, :, None] + memory.keys[:, None]
            if coverage_BST is not None:
                mixed_BSTA = mixed_BSTA + self.from_coverage(coverage_BST[..., None])
            scores_BST = self.score(torch.tanh(mixed_BSTA))[..., 0]
        else:
            scores_BST = queries_BSQ @ memory.keys.transpose(1, 2)
        weights_BST = scores_BST.masked_fill(memory.is_padding[:, None], -torch.inf).softmax(-1)
        return weights_BST @ memory.values, weights_BST


def coverage_losses(weights_BST: Tensor) -> Tensor:
    """Return of each target step how much of what is looked at was looked at before, (B, S), 0 to 1.

    covloss_s = sum_t min(a_st, c_st),  c_st = sum over s' < s of a_s't    See et al. (2017), eq. 12
    """
    before_BST = weights_BST.cumsum(1) - weights_BST
    return torch.minimum(weights_BST, before_BST).sum(-1)


def sharpness(weights_BST: Tensor, target_lengths_B: Tensor) -> Tensor:
    """Return the largest weight of each valid target step, averaged over all of them: 1 where each looks at one input step only."""
    is_valid_BS = valid_mask(target_lengths_B, weights_BST.shape[1])
    return weights_BST.amax(-1)[is_valid_BS].mean()


def coverage(weights_BST: Tensor, target_lengths_B: Tensor, source_lengths_B: Tensor) -> Tensor:
    """Return which fraction of what could be looked at was: sum_t min(1, sum_s a_st) / min(S, T), averaged over sequences.

    The sum is that of Wu et al. (2016), section 7, without its logarithm. 1: no input step was passed over (or, where there are more
    input than target steps, each target step looked at steps of its own).
    """
    is_valid_BS1 = valid_mask(target_lengths_B, weights_BST.shape[1])[..., None]
    seen_B = (weights_BST * is_valid_BS1).sum(1).clamp(max=1).sum(-1)
    return (seen_B / torch.minimum(target_lengths_B, source_lengths_B)).mean()
