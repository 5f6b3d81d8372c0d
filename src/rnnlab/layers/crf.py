"""A linear-chain conditional random field over the tags of a sentence (Lafferty et al. 2001).

With e_t(y) what the network gives for tag y at word t, and A the scores of neighbours, tags y_1 ... y_T have the score and chance

    s(y) = b(y_1) + sum_t e_t(y_t) + sum_{t > 1} A(y_{t-1}, y_t) + c(y_T)        p(y) = exp(s(y)) / Z,  Z = sum over all y' of exp(s(y'))

ln Z follows from  a_1(y) = b(y) + e_1(y),  a_t(y) = e_t(y) + ln sum_{y'} exp(a_{t-1}(y') + A(y', y)),  ln Z = ln sum_y exp(a_T(y) + c(y)),
and the best sequence likewise with a maximum for each sum (Viterbi 1967). Where the tags of some words are unknown, the chance is that of
all sequences that agree with the others.
"""

import torch
from torch import Tensor, nn

from rnnlab.contracts import IGNORED_TARGET, Batch, TagPath


class LinearChainCRF(nn.Module):
    """Score, sum and search sequences of tags; padding never counts.

    Args:
        num_tags: C.
    """

    def __init__(self, num_tags: int) -> None:
        super().__init__()
        self.transitions_CC = nn.Parameter(torch.zeros(num_tags, num_tags))
        self.first_C = nn.Parameter(torch.zeros(num_tags))
        self.last_C = nn.Parameter(torch.zeros(num_tags))

    def path(self, scores_BTC: Tensor, batch: Batch, is_searched: bool) -> TagPath:
        """Return the best tags of a batch, where they are searched for, and the negative log-likelihood where targets are known."""
        scores_BTC = scores_BTC.float()
        is_known = bool((batch.targets != IGNORED_TARGET).any())
        nll_B = self.negative_log_likelihood(scores_BTC, batch.targets, batch.input_lengths) if is_known else None
        return TagPath(self.viterbi(scores_BTC, batch.input_lengths) if is_searched else None, nll_B)

    def log_partition(self, scores_BTC: Tensor, lengths_B: Tensor) -> Tensor:
        """Return ln Z of each sentence, (B,)."""
        alpha_BC = self.first_C + scores_BTC[:, 0]
        for step in range(1, scores_BTC.shape[1]):
            next_BC = torch.logsumexp(alpha_BC[:, :, None] + self.transitions_CC, 1) + scores_BTC[:, step]
            alpha_BC = torch.where((step < lengths_B)[:, None], next_BC, alpha_BC)
        return torch.logsumexp(alpha_BC + self.last_C, -1)

    def negative_log_likelihood(self, scores_BTC: Tensor, targets_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Return -ln p of each sentence's known tags, (B,); targets that are unknown are `IGNORED_TARGET`."""
        is_other_BTC = torch.arange(scores_BTC.shape[-1], device=scores_BTC.device) != targets_BT[..., None]
        is_other_BTC = is_other_BTC & (targets_BT != IGNORED_TARGET)[..., None]
        return self.log_partition(scores_BTC, lengths_B) - self.log_partition(scores_BTC.masked_fill(is_other_BTC, -torch.inf), lengths_B)

    @torch.no_grad()
    def viterbi(self, scores_BTC: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the best tags of each sentence, (B, T) int64; 0 beyond its length."""
        best_BC, before = self.first_C + scores_BTC[:, 0], []
        same_BC = torch.arange(scores_BTC.shape[-1], device=scores_BTC.device).expand_as(best_BC)
        for step in range(1, scores_BTC.shape[1]):
            found = (best_BC[:, :, None] + self.transitions_CC).max(1)
            is_valid_B1 = (step < lengths_B)[:, None]
            best_BC = torch.where(is_valid_B1, found.values + scores_BTC[:, step], best_BC)
            before.append(torch.where(is_valid_B1, found.indices, same_BC))
        tag_B = (best_BC + self.last_C).argmax(-1)
        path = [tag_B]
        for before_BC in reversed(before):
            tag_B = before_BC.gather(1, tag_B[:, None])[:, 0]
            path.append(tag_B)
        path_BT = torch.stack(path[::-1], 1)
        return path_BT.masked_fill(torch.arange(path_BT.shape[1], device=path_BT.device) >= lengths_B[:, None], 0)
