"""CTC against all alignments of tiny sequences, counted one by one."""

from itertools import product
from math import exp, inf, log

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnlab.contracts import START, STOP, UNKNOWN
from rnnlab.layers.ctc import ctc_loss, greedy, log_probabilities, prefix_beam_search, required_steps

SIZE = 7  # blank, three that are never answered, and three tokens: 4, 5, 6
A, B, C = 4, 5, 6


def collapse_by_hand(path: tuple[int, ...]) -> tuple[int, ...]:
    """Merge repeats, then drop blanks, the slow way."""
    merged = [token for place, token in enumerate(path) if place == 0 or path[place - 1] != token]
    return tuple(token for token in merged if token != 0)


def all_labellings(logits_TV: Tensor, allowed: tuple[int, ...] = (0, A, B, C)) -> dict[tuple[int, ...], float]:
    """Return the probability of every labelling: the sum over all paths of allowed tokens."""
    probabilities = logits_TV.double().softmax(-1).numpy()
    found: dict[tuple[int, ...], float] = {}
    for path in product(allowed, repeat=len(logits_TV)):
        labelling = collapse_by_hand(path)
        found[labelling] = found.get(labelling, 0.0) + float(np.prod([probabilities[t, token] for t, token in enumerate(path)]))
    return found


def logits(num_steps: int, seed: int, scale: float = 2.0) -> Tensor:
    """Draw logits, (1, T, V)."""
    return scale * torch.randn(1, num_steps, SIZE, generator=torch.Generator().manual_seed(seed))


def path_of(*tokens: int) -> Tensor:
    """Return logits whose most probable path is this one, (1, T, V)."""
    return 5.0 * torch.nn.functional.one_hot(torch.tensor([tokens]), SIZE).float()


@pytest.mark.parametrize("target", [(A,), (A, B), (A, A), (B, A, B), (A, A, B)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_loss_is_minus_the_log_of_the_sum_over_all_alignments_per_token(target: tuple[int, ...], seed: int) -> None:
    values = logits(4, seed)
    every = tuple(range(SIZE))
    expected = -log(all_labellings(values[0], every)[target]) / len(target)
    found = ctc_loss(values, torch.tensor([4]), torch.tensor([target]), torch.tensor([len(target)]))
    assert found.loss.item() == pytest.approx(expected, rel=1e-5)
    assert found.num_infeasible == 0


def test_a_batch_s_loss_is_the_sum_of_its_sequences_over_all_their_tokens() -> None:
    values = torch.cat([logits(4, 0), logits(4, 1)])
    alone = [
        ctc_loss(values[:1, :3], torch.tensor([3]), torch.tensor([[A]]), torch.tensor([1])).loss,
        3 * ctc_loss(values[1:], torch.tensor([4]), torch.tensor([[A, B, C]]), torch.tensor([3])).loss,
    ]
    both = ctc_loss(values, torch.tensor([3, 4]), torch.tensor([[A, 0, 0], [A, B, C]]), torch.tensor([1, 3]))
    assert both.loss.item() == pytest.approx(sum(alone).item() / 4, rel=1e-5)


def test_a_target_without_tokens_is_all_blanks() -> None:
    values = torch.cat([logits(3, 2), logits(3, 3)])
    found = ctc_loss(values, torch.tensor([3, 3]), torch.tensor([[0], [A]]), torch.tensor([0, 1]))
    by_hand = log(all_labellings(values[0], tuple(range(SIZE)))[()]) + log(all_labellings(values[1], tuple(range(SIZE)))[(A,)])
    assert found.loss.item() == pytest.approx(-by_hand, rel=1e-5)


@pytest.mark.parametrize(("target", "steps"), [((A, B, C), 3), ((A, A), 3), ((A, A, A), 5), ((A, B, B, A), 5), ((A,), 1), ((), 0)])
def test_a_target_needs_a_step_a_token_and_one_between_equal_neighbours(target: tuple[int, ...], steps: int) -> None:
    padded = torch.tensor([[*target, *[0] * (6 - len(target))]])
    assert required_steps(padded, torch.tensor([len(target)])).tolist() == [steps]
    possible = [n for n in range(7) if target in {collapse_by_hand(path) for path in product((0, *set(target)), repeat=n)}]
    assert min(possible) == steps


def test_targets_of_width_zero_need_no_steps() -> None:
    assert required_steps(torch.zeros(2, 0, dtype=torch.long), torch.tensor([0, 0])).tolist() == [0, 0]


def test_a_target_longer_than_its_frames_is_counted_and_gives_neither_loss_nor_gradient() -> None:
    values = torch.cat([logits(2, 0), logits(2, 1)]).requires_grad_()
    found = ctc_loss(values, torch.tensor([2, 2]), torch.tensor([[A, A], [A, B]]), torch.tensor([2, 2]))
    alone = ctc_loss(values[1:], torch.tensor([2]), torch.tensor([[A, B]]), torch.tensor([2]))
    assert found.num_infeasible == 1
    assert found.loss.item() == pytest.approx(alone.loss.item() / 2)
    assert (found.aligned_loss.item(), found.num_aligned) == (pytest.approx(alone.loss.item()), 2)  # what cannot be aligned is no success
    found.loss.backward()
    assert values.grad is not None and torch.isfinite(values.grad).all()
    assert (values.grad[0] == 0).all() and (values.grad[1] != 0).any()


def test_gradients_are_those_of_the_sum_over_alignments() -> None:
    values = logits(3, 5).double().requires_grad_()
    probabilities = values[0].softmax(-1)
    paths = [path for path in product(range(SIZE), repeat=3) if collapse_by_hand(path) == (A, B)]
    total = torch.stack([probabilities[torch.arange(3), torch.tensor(path)].prod() for path in paths]).sum()
    (expected,) = torch.autograd.grad(-total.log() / 2, values)
    found = ctc_loss(values, torch.tensor([3]), torch.tensor([[A, B]]), torch.tensor([2]))
    (gradient,) = torch.autograd.grad(found.loss, values)
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-4)


def test_half_precision_gives_a_loss_in_single_precision() -> None:
    found = ctc_loss(logits(4, 0).bfloat16(), torch.tensor([4]), torch.tensor([[A]]), torch.tensor([1]))
    assert found.loss.dtype == torch.float32


@pytest.mark.parametrize(
    ("path", "labelling"),
    [
        ((A, A, B), [A, B]),  # repeats are one
        ((A, 0, A), [A, A]),  # unless a blank stands between
        ((0, 0, 0), []),
        ((0, A, A, 0, 0, B, 0), [A, B]),
        ((A, B, A), [A, B, A]),
    ],
)
def test_greedy_merges_repeats_and_then_drops_blanks(path: tuple[int, ...], labelling: list[int]) -> None:
    values = path_of(*path)
    (found,) = greedy(values, torch.tensor([len(path)]))
    assert found.tokens == labelling
    best = exp(5.0) / (exp(5.0) + SIZE - 1)
    assert found.score == pytest.approx(len(path) * log(best))


@pytest.mark.parametrize("special", [UNKNOWN, START, STOP])
def test_start_stop_and_unknown_are_never_answered(special: int) -> None:
    values = path_of(special, A, special, special)
    assert greedy(values, torch.tensor([4]))[0].tokens in ([A], [A, B], [A, C])
    for hypothesis in prefix_beam_search(values, torch.tensor([4]), 20, 20)[0]:
        assert special not in hypothesis.tokens


@pytest.mark.parametrize("seed", range(4))
def test_a_wide_search_finds_every_labelling_with_its_exact_probability_best_first(seed: int) -> None:
    values = logits(4, seed)
    truth = all_labellings(values[0])
    (found,) = prefix_beam_search(values, torch.tensor([4]), 500, 500)
    assert {tuple(hypothesis.tokens): exp(hypothesis.score) for hypothesis in found} == pytest.approx(truth)
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


@pytest.mark.parametrize("seed", range(20))
def test_a_narrow_search_is_never_worse_than_greedy_and_mostly_finds_the_best(seed: int) -> None:
    values = logits(6, seed, scale=1.0)
    lengths = torch.tensor([6])
    truth = all_labellings(values[0])
    ((first, *_),) = prefix_beam_search(values, lengths, 1, 1)
    greedy_labelling = tuple(greedy(values, lengths)[0].tokens)
    assert first.score >= log(truth[greedy_labelling]) - 1e-9
    ((best, *_),) = prefix_beam_search(values, lengths, 30, 1)
    assert tuple(best.tokens) == max(truth, key=lambda labelling: truth[labelling])
    assert exp(best.score) == pytest.approx(truth[tuple(best.tokens)])


def test_the_best_labelling_need_not_be_that_of_the_best_path() -> None:
    probabilities = torch.full((1, 2, SIZE), 1e-9)
    probabilities[..., 0], probabilities[..., A] = 0.6, 0.4  # blank blank 0.36; a in three ways 0.64
    lengths = torch.tensor([2])
    assert greedy(probabilities.log(), lengths)[0].tokens == []
    (found,) = prefix_beam_search(probabilities.log(), lengths, 5, 2)
    assert [hypothesis.tokens for hypothesis in found] == [[A], []]
    assert [exp(hypothesis.score) for hypothesis in found] == pytest.approx([0.64, 0.36], abs=1e-6)


@pytest.mark.parametrize("num_steps", [1, 3, 5])
def test_each_labelling_s_probability_is_the_sum_over_its_alignments(num_steps: int) -> None:
    values = logits(num_steps, 9)
    truth = all_labellings(values[0])
    found = log_probabilities(values[0].double().log_softmax(-1).numpy(), list(truth))
    assert [exp(value) for value in found] == pytest.approx(list(truth.values()))


def test_an_impossible_labelling_has_probability_zero() -> None:
    assert log_probabilities(logits(2, 0)[0].log_softmax(-1).numpy(), [(A, A)]) == [-inf]


@pytest.mark.parametrize("filler", [0.0, 1e4, torch.nan, torch.inf])
def test_padding_never_changes_a_result(filler: float) -> None:
    short, other = logits(3, 1), logits(5, 2)
    padded = torch.cat([torch.cat([short, torch.full((1, 2, SIZE), filler)], 1), other])
    lengths = torch.tensor([3, 5])
    assert greedy(padded, lengths) == [*greedy(short, lengths[:1]), *greedy(other, lengths[1:])]
    found = prefix_beam_search(padded, lengths, 8, 3)
    assert found == [*prefix_beam_search(short, lengths[:1], 8, 3), *prefix_beam_search(other, lengths[1:], 8, 3)]


def test_padding_of_frames_and_targets_changes_neither_loss_nor_gradient() -> None:
    short = logits(3, 1).requires_grad_()
    alone = ctc_loss(short, torch.tensor([3]), torch.tensor([[A]]), torch.tensor([1])).loss
    (expected,) = torch.autograd.grad(alone, short)
    padded = torch.cat([short.detach(), torch.full((1, 2, SIZE), 1e4)], 1).requires_grad_()
    found = ctc_loss(padded, torch.tensor([3]), torch.tensor([[A, 0, 0]]), torch.tensor([1])).loss
    (gradient,) = torch.autograd.grad(found, padded)
    assert found.item() == pytest.approx(alone.item())
    torch.testing.assert_close(gradient[:, :3], expected)
    assert (gradient[:, 3:] == 0).all()


def test_a_sequence_without_frames_is_answered_with_nothing() -> None:
    values, lengths = logits(2, 0), torch.tensor([0])
    assert greedy(values, lengths)[0].tokens == []
    assert [h.tokens for h in prefix_beam_search(values, lengths, 3, 2)[0]] == [[]]
    assert prefix_beam_search(values, lengths, 3, 2)[0][0].score == 0
