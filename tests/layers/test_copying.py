"""Claims about copying and coverage: probabilities worked out by hand, sums of one, gradients."""

import math

import pytest
import torch
from torch import Tensor

from rnnlab.cells.gru import GRUCell
from rnnlab.layers.attention import coverage_losses
from rnnlab.layers.copying import mixed, mixed_at
from rnnlab.layers.decoder import Bridge, Decoder, DecoderSettings, DecoderState

OWN = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log()
"""Of four words."""
WEIGHTS = torch.tensor([[0.5, 0.25, 0.25, 0.0]])
NUMBERS = torch.tensor([[2, 4, 2, 0]])  # a known word, one that the vocabulary lacks, the known one again, padding
GATE = torch.tensor([math.log(3)])  # three to one for the vocabulary


def test_the_mixture_is_the_one_worked_out_by_hand() -> None:
    found = mixed(OWN, GATE, WEIGHTS, NUMBERS, 6)[0].exp()
    by_hand = [0.75 * 0.1, 0.75 * 0.2, 0.75 * 0.3 + 0.25 * 0.75, 0.75 * 0.4, 0.25 * 0.25, 0.0]
    assert found.tolist() == pytest.approx(by_hand, abs=1e-6)
    assert mixed(OWN, GATE, WEIGHTS, NUMBERS, 6)[0, 5] == -math.inf  # no word of this input


@pytest.mark.parametrize("word", range(5))
def test_one_word_has_the_probability_that_it_has_among_all(word: int) -> None:
    alone = mixed_at(OWN, GATE, WEIGHTS, NUMBERS, torch.tensor([word]))
    assert float(alone) == pytest.approx(float(mixed(OWN, GATE, WEIGHTS, NUMBERS, 6)[0, word]), abs=1e-5)


def drawn(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    own = torch.randn(3, 5, generator=generator, dtype=torch.double)
    gate = torch.randn(3, generator=generator, dtype=torch.double)
    scores = torch.randn(3, 4, generator=generator, dtype=torch.double)
    return own, gate, scores, torch.randint(2, 7, (3, 4), generator=generator)


@pytest.mark.parametrize("seed", range(3))
def test_the_mixture_sums_to_one_whatever_the_gate(seed: int) -> None:
    own, gate, scores, numbers = drawn(seed)
    for factor in (0.0, 1.0, 50.0, -50.0):
        sums = mixed(own.log_softmax(-1), gate * factor, scores.softmax(-1), numbers, 7).exp().sum(-1)
        assert sums.tolist() == pytest.approx([1.0] * 3, abs=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    own, gate, scores, numbers = drawn(7)
    targets = torch.tensor([int(numbers[0, 1]), 6, 3])
    numbers[1, 0] = 6

    def loss(own: Tensor, gate: Tensor, scores: Tensor) -> Tensor:
        return mixed_at(own.log_softmax(-1), gate, scores.softmax(-1), numbers, targets)

    assert torch.autograd.gradcheck(loss, [part.requires_grad_() for part in (own, gate, scores)])


def test_a_word_of_neither_side_costs_much_and_gives_no_gradient_that_is_not_a_number() -> None:
    gate, weights = GATE.clone().requires_grad_(), WEIGHTS.clone().requires_grad_()
    lost = -mixed_at(OWN, gate, weights, NUMBERS, torch.tensor([5]))
    lost.sum().backward()
    assert lost.detach().item() > 60 and gate.grad is not None and gate.grad.isfinite().all()
    assert weights.grad is None or weights.grad.isfinite().all()


def test_the_coverage_loss_is_the_sum_of_what_is_looked_at_again() -> None:
    weights = torch.rand(2, 4, 3, generator=torch.Generator().manual_seed(1)).softmax(-1)
    for row in range(2):
        before = [0.0] * 3
        for step in range(4):
            now = weights[row, step].tolist()
            by_loop = sum(min(a, c) for a, c in zip(now, before, strict=True))
            assert float(coverage_losses(weights)[row, step]) == pytest.approx(by_loop, abs=1e-6)
            before = [a + c for a, c in zip(now, before, strict=True)]
    assert float(coverage_losses(torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]]))[0].sum()) == 1.0


def begun(has_copying: bool, coverage_weight: float | None, lengths: list[int], num_rows: int = 2) -> tuple[Decoder, DecoderState]:
    torch.manual_seed(5)
    settings = DecoderSettings(6, 1, 3, 0.0, False, 5, "uniform", has_copying, coverage_weight)
    decoder = Decoder(6, GRUCell, "bahdanau", settings, 4)
    bridge = Bridge(6, 1, 1, decoder)
    values = torch.randn(num_rows, 5, 6, generator=torch.Generator().manual_seed(2))
    return decoder, decoder.begin(values, torch.tensor(lengths), bridge([values[:, 0]]))


def test_coverage_is_the_sum_of_all_weights_before_and_changes_what_is_looked_at() -> None:
    decoder, state = begun(False, 1.0, [5, 3])
    inputs, total = torch.randn(2, 4, 3), torch.zeros(2, 5)
    for step in range(4):
        assert state.coverage is not None and torch.allclose(state.coverage, total)
        _, looked, state = decoder.step(inputs[:, step], state)
        assert looked is not None
        total = total + looked.weights
    assert torch.equal(total[1, 3:], torch.zeros(2))  # padding is never looked at
    again = DecoderState(state.memory, state.parts, torch.zeros(2, 5))
    one, other = (decoder.step(inputs[:, 0], each)[1] for each in (state, again))
    assert one is not None and other is not None and not torch.allclose(one.weights, other.weights)


def test_several_hypotheses_of_one_input_keep_a_coverage_each() -> None:
    decoder, state = begun(True, 1.0, [5, 3])
    inputs = torch.randn(6, 3)
    rows = torch.tensor([0, 0, 0, 1, 1, 1])
    _, _, wide = decoder.step(inputs, state.select(rows))
    _, looked, _ = decoder.step(inputs.flip(0), wide)
    for row in range(6):
        decoder_alone, alone = begun(True, 1.0, [5, 3])
        part = alone.select(rows[row : row + 1], rows[row : row + 1])
        _, _, part = decoder_alone.step(inputs[row : row + 1], part)
        _, at_row, _ = decoder_alone.step(inputs.flip(0)[row : row + 1], part)
        assert looked is not None and at_row is not None and looked.gate is not None and at_row.gate is not None
        assert torch.allclose(looked.weights[row], at_row.weights[0], atol=1e-6)
        assert torch.allclose(looked.gate[row], at_row.gate[0], atol=1e-6)


def test_copying_and_coverage_need_their_attention() -> None:
    with pytest.raises(ValueError, match=r"has_copying=true .* model\.attention=none: set model\.attention to bahdanau"):
        Decoder(6, GRUCell, "none", DecoderSettings(6, 1, 3, 0.0, False, 5, "uniform", has_copying=True), 4)
    for kind in ("none", "luong_general"):
        with pytest.raises(ValueError, match=rf"coverage_weight=0\.5 .* model\.attention={kind} .* set model\.attention=bahdanau"):
            Decoder(6, GRUCell, kind, DecoderSettings(6, 1, 3, 0.0, False, 5, "uniform", coverage_weight=0.5), 4)
