"""Claims about the linear-chain conditional random field, against all sequences of tags written out."""

from collections.abc import Callable
from itertools import pairwise, product

import pytest
import torch

from rnnlab.contracts import IGNORED_TARGET, DataSpec
from rnnlab.layers.crf import LinearChainCRF
from rnnlab.settings import TrainSettings

PLAIN = DataSpec("copying", "tokens", 9, "class_per_step", 3, ("a", "b", "c"))
TAGS = DataSpec("tags", "tokens", 9, "class_per_step", 3, ("B-A", "I-A", "O"), scheme="bio")
NUM_TAGS, LENGTHS = 3, (4, 1, 2)


def made() -> tuple[LinearChainCRF, torch.Tensor, torch.Tensor]:
    """Return a field with drawn scores, and scores of a padded batch."""
    torch.manual_seed(0)
    crf = LinearChainCRF(NUM_TAGS)
    for part in crf.parameters():
        torch.nn.init.normal_(part)
    return crf, torch.randn(len(LENGTHS), max(LENGTHS), NUM_TAGS), torch.tensor(LENGTHS)


def score(crf: LinearChainCRF, scores_TC: torch.Tensor, tags: tuple[int, ...]) -> float:
    """Return the score of one sequence, term by term."""
    total = crf.first_C[tags[0]] + crf.last_C[tags[-1]] + sum(scores_TC[step, tag] for step, tag in enumerate(tags))
    return (total + sum(crf.transitions_CC[pair] for pair in pairwise(tags))).item()


def test_partition_and_best_path_are_those_of_all_sequences() -> None:
    crf, scores_BTC, lengths_B = made()
    logs_B, best_BT = crf.log_partition(scores_BTC, lengths_B), crf.viterbi(scores_BTC, lengths_B)
    for row, length in enumerate(LENGTHS):
        every = {tags: score(crf, scores_BTC[row], tags) for tags in product(range(NUM_TAGS), repeat=length)}
        torch.testing.assert_close(logs_B[row], torch.tensor(list(every.values())).logsumexp(0))
        assert tuple(best_BT[row, :length].tolist()) == max(every, key=lambda tags: every[tags])
        assert not best_BT[row, length:].any()


def test_the_chance_of_known_tags_is_a_sum_over_those_that_are_unknown() -> None:
    crf, scores_BTC, lengths_B = made()
    targets_BT = torch.tensor([[2, IGNORED_TARGET, 0, 1], [1, -1, -1, -1], [0, 2, -1, -1]])
    nll_B = crf.negative_log_likelihood(scores_BTC, targets_BT, lengths_B)
    for row, length in enumerate(LENGTHS):
        known = targets_BT[row, :length].tolist()
        agreeing = [
            score(crf, scores_BTC[row], tags)
            for tags in product(range(NUM_TAGS), repeat=length)
            if all(right in (IGNORED_TARGET, tag) for tag, right in zip(tags, known, strict=True))
        ]
        every = [score(crf, scores_BTC[row], tags) for tags in product(range(NUM_TAGS), repeat=length)]
        torch.testing.assert_close(nll_B[row], torch.tensor(every).logsumexp(0) - torch.tensor(agreeing).logsumexp(0))
    nll_B.sum().backward()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in crf.parameters())


def test_padding_changes_nothing() -> None:
    crf, scores_BTC, lengths_B = made()
    padded_BTC = torch.nn.functional.pad(scores_BTC, (0, 0, 0, 3), value=50.0)
    torch.testing.assert_close(crf.log_partition(padded_BTC, lengths_B), crf.log_partition(scores_BTC, lengths_B))
    assert torch.equal(crf.viterbi(padded_BTC, lengths_B)[:, : max(LENGTHS)], crf.viterbi(scores_BTC, lengths_B))
    for row, length in enumerate(LENGTHS):
        alone = scores_BTC[row : row + 1, :length]
        torch.testing.assert_close(
            crf.log_partition(alone, torch.tensor([length])), crf.log_partition(scores_BTC, lengths_B)[row : row + 1]
        )


@pytest.mark.parametrize(
    ("words", "spec", "message"),
    [
        ([], PLAIN, r"has_crf=true is for tags, which data=copying does not have"),
        (["model.regularisation.label_smoothing=0.1"], TAGS, r"has_crf=true is trained on the chance of whole sentences.*label_smoothing"),
    ],
)
def test_a_field_is_refused_where_it_means_nothing(
    words: list[str], spec: DataSpec, message: str, compose: Callable[..., TrainSettings]
) -> None:
    settings = compose("model=birnn", "data=tags", "frontend=embedding", "model.head.has_crf=true", *words)
    with pytest.raises(ValueError, match=message):
        settings.model.recipe()(spec)
