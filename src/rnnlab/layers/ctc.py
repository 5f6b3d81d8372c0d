"""Connectionist temporal classification (Graves et al. 2006): a loss without alignments, and how labellings are read from frames.

Token 0 (padding elsewhere) is the blank. A labelling's probability is the sum over all its alignments: paths of one token or blank a
frame from which, repeats merged and blanks dropped, the labelling remains. Start, stop and unknown are never answered.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rnnlab.contracts import PAD, START, STOP, UNKNOWN, Hypothesis

BLANK = PAD
NEVER_ANSWERED = (UNKNOWN, START, STOP)
MIN_LOG_PROBABILITY = -12.0
"""A search adds no token to a prefix in a frame where it is less probable than e to this."""
NONE = -np.inf


@dataclass(frozen=True)
class CtcLoss:
    """A batch's loss.

    Args:
        total: scalar, sum over the batch of -ln p (nats); carries the gradient. Targets that need more frames than there are add nothing.
        num_tokens: of all targets.
        num_aligned: tokens of the targets that can be aligned.
        num_infeasible: how many targets cannot.
    """

    total: Tensor
    num_tokens: int
    num_aligned: int
    num_infeasible: int

    @property
    def loss(self) -> Tensor:
        """The mean over the tokens of all targets: what training minimises, since its batches share one weight a token."""
        return self.total / max(self.num_tokens, 1)

    @property
    def aligned_loss(self) -> Tensor:
        """The mean over the tokens of targets that can be aligned: what is reported."""
        return self.total / max(self.num_aligned, 1)


def ctc_loss(logits_BTV: Tensor, lengths_B: Tensor, targets_BS: Tensor, target_lengths_B: Tensor) -> CtcLoss:
    """Return -ln p(target | frames) of a batch.

    Args:
        logits_BTV: (B, T, V), any real numbers.
        lengths_B: (B,) int64, frames, each 0..T.
        targets_BS: (B, S) int64, no blank among the first `target_lengths_B` of a row.
        target_lengths_B: (B,) int64.
    """
    is_ordered = not (logits_BTV.is_cuda and torch.are_deterministic_algorithms_enabled())  # CUDA's gradient adds in no fixed order
    device = logits_BTV.device if is_ordered else torch.device("cpu")
    losses_B = F.ctc_loss(
        logits_BTV.to(torch.promote_types(logits_BTV.dtype, torch.float)).log_softmax(-1).transpose(0, 1).to(device),
        targets_BS.to(device),
        lengths_B.to(device),
        target_lengths_B.to(device),
        blank=BLANK,
        reduction="none",
        zero_infinity=True,
    ).to(logits_BTV.device)
    is_feasible_B = required_steps(targets_BS, target_lengths_B) <= lengths_B
    num_tokens, num_aligned = int(target_lengths_B.sum()), int((target_lengths_B * is_feasible_B).sum())
    return CtcLoss(losses_B.sum(), num_tokens, num_aligned, int((~is_feasible_B).sum()))


def required_steps(targets_BS: Tensor, lengths_B: Tensor) -> Tensor:
    """Return how many frames each target needs at least, (B,) int64: one a token, and a blank between equal neighbours."""
    is_repeat = targets_BS[:, 1:] == targets_BS[:, :-1]
    is_valid = torch.arange(1, max(targets_BS.shape[1], 1), device=lengths_B.device)[None] < lengths_B[:, None]
    return lengths_B + (is_repeat & is_valid).sum(1)


@torch.no_grad()
def greedy(logits_BTV: Tensor, lengths_B: Tensor) -> list[Hypothesis]:
    """Return the labelling of each most probable path (not always the most probable labelling) and the path's log-probability."""
    answers = []
    for frames_TV in _frames(logits_BTV, lengths_B):
        path = frames_TV.argmax(-1)
        answers.append(Hypothesis(_collapse(path), float(frames_TV.max(-1, initial=NONE).sum())))
    return answers


@torch.no_grad()
def prefix_beam_search(logits_BTV: Tensor, lengths_B: Tensor, beam_size: int, num_best: int) -> list[list[Hypothesis]]:
    """Return the most probable labellings that a search over prefixes finds (Graves 2012, section 7.5.3; Hannun et al. 2014).

    The best that are found, and the labelling of the most probable path, are scored anew over all their alignments, whatever the search
    dropped on its way: the first answer is never less probable than greedy's labelling.

    Args:
        logits_BTV: (B, T, V).
        lengths_B: (B,) int64, frames.
        beam_size: prefixes kept after each frame.
        num_best: labellings wanted of each sequence; fewer come where fewer are found.

    Returns:
        B lists, best first; the score is the labelling's log-probability.
    """
    answers = []
    for frames_TV in _frames(logits_BTV, lengths_B):
        if not len(frames_TV):
            answers.append([Hypothesis([], 0.0)])
            continue
        labellings = list(dict.fromkeys([tuple(_collapse(frames_TV.argmax(-1))), *_search(frames_TV, beam_size)[:num_best]]))
        scores = log_probabilities(frames_TV, labellings)
        scored = [Hypothesis(list(labelling), score) for labelling, score in zip(labellings, scores, strict=True)]
        answers.append(sorted(scored, key=lambda hypothesis: -hypothesis.score)[:num_best])
    return answers


def log_probabilities(frames_TV: np.ndarray, labellings: list[tuple[int, ...]]) -> list[float]:
    """Return ln p of each labelling over all its alignments, minus infinity where there is none.

    Args:
        frames_TV: (T, V) log-probabilities, T at least 1.
        labellings: tokens, no blanks among them.
    """
    lengths_K = torch.tensor([len(labelling) for labelling in labellings])
    targets_K = torch.tensor([token for labelling in labellings for token in labelling], dtype=torch.long)
    frames_TKV = torch.from_numpy(frames_TV)[:, None].expand(-1, len(labellings), -1)
    steps_K = torch.full_like(lengths_K, len(frames_TV))
    losses_K = F.ctc_loss(frames_TKV, targets_K, steps_K, lengths_K, blank=BLANK, reduction="none")
    return [-loss for loss in losses_K.tolist()]


def _frames(logits_BTV: Tensor, lengths_B: Tensor) -> list[np.ndarray]:
    """Return each sequence's frames, (T, V) float64 log-probabilities, minus infinity for what is never answered."""
    values_BTV = logits_BTV.double().log_softmax(-1)
    values_BTV[..., list(NEVER_ANSWERED)] = NONE
    on_host = values_BTV.cpu().numpy()
    return [frames_TV[:length] for frames_TV, length in zip(on_host, lengths_B.tolist(), strict=True)]


def _collapse(path: np.ndarray) -> list[int]:
    """Merge repeats, then drop blanks."""
    is_new = np.diff(path, prepend=-1) != 0
    return [int(token) for token in path[is_new & (path != BLANK)]]


@dataclass
class _Beam:
    """K prefixes, each with the log-probability of its alignments that end in blank, and of those that end in its last token."""

    prefixes: list[tuple[int, ...]]
    ends_blank: np.ndarray
    ends_token: np.ndarray


def _search(frames_TV: np.ndarray, beam_size: int) -> list[tuple[int, ...]]:
    """Return the prefixes that are left after the last frame, best first."""
    beam = _Beam([()], np.zeros(1), np.full(1, NONE))
    for frame_V in frames_TV:
        beam = _advance(beam, frame_V, beam_size)
    order = np.argsort(-np.logaddexp(beam.ends_blank, beam.ends_token), kind="stable")
    return [beam.prefixes[place] for place in order]


def _advance(beam: _Beam, frame_V: np.ndarray, beam_size: int) -> _Beam:
    """Read one frame: each prefix stays or grows by a token, and the most probable of all go on."""
    tried_W = np.flatnonzero(frame_V > MIN_LOG_PROBABILITY)
    tried_W = tried_W[tried_W != BLANK]
    last_K = np.array([prefix[-1] if prefix else BLANK for prefix in beam.prefixes])
    total_K = np.logaddexp(beam.ends_blank, beam.ends_token)
    blank_K = total_K + frame_V[BLANK]
    token_K = np.where(last_K == BLANK, NONE, beam.ends_token + frame_V[last_K])
    # A token that repeats the last one makes a new token only after a blank.
    before_KW = np.where(last_K[:, None] == tried_W, beam.ends_blank[:, None], total_K[:, None])
    grown_KW = before_KW + frame_V[tried_W]
    column_V = np.full(len(frame_V), -1)
    column_V[tried_W] = np.arange(len(tried_W))
    _merge(beam.prefixes, column_V, token_K, grown_KW)

    scores = np.concatenate([np.logaddexp(blank_K, token_K), grown_KW.ravel()])
    chosen = np.argpartition(-scores, beam_size)[:beam_size] if len(scores) > beam_size else np.arange(len(scores))
    chosen = chosen[scores[chosen] > NONE]
    num_prefixes, num_tried = grown_KW.shape
    prefixes = []
    for index in chosen.tolist():
        if index < num_prefixes:
            prefixes.append(beam.prefixes[index])
        else:
            place, column = divmod(index - num_prefixes, num_tried)
            prefixes.append((*beam.prefixes[place], int(tried_W[column])))
    ends_blank = np.concatenate([blank_K, np.full(grown_KW.size, NONE)])
    ends_token = np.concatenate([token_K, grown_KW.ravel()])
    return _Beam(prefixes, ends_blank[chosen], ends_token[chosen])


def _merge(prefixes: list[tuple[int, ...]], column_V: np.ndarray, token_K: np.ndarray, grown_KW: np.ndarray) -> None:
    """Add, in place, what grows into a prefix of the beam to that prefix; `column_V` says where a token stands, -1 where nowhere."""
    places = {prefix: place for place, prefix in enumerate(prefixes)}
    for place, prefix in enumerate(prefixes):
        parent = places.get(prefix[:-1]) if prefix else None
        if parent is not None and (column := column_V[prefix[-1]]) >= 0:
            token_K[place] = np.logaddexp(token_K[place], grown_KW[parent, column])
            grown_KW[parent, column] = NONE
