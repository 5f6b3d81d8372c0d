"""The total derivative is what a nudge of a hidden state does to the loss, and the horizon is its decay length."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rnnlab.cells.base import Cell
from rnnlab.cells.srnn import SRNNCell
from rnnlab.contracts import Batch
from rnnlab.insight.flow import flow, horizon, relative, typical
from rnnlab.insight.replay import cells_of, evaluating, replay
from rnnlab.models.base import Network
from rnnlab.paths import CONF

Make = Callable[..., Network]
MakeBatch = Callable[..., Batch]
CONVOLUTION = (
    "frontend=convolution frontend.channels=[2,3] frontend.kernel_sizes=[5,3] frontend.time_strides=[2,1] frontend.frequency_strides=[2,2]"
)
NUDGE = 1e-5
CASES = [
    ("class", "model=srnn model.head.pooling=last"),
    ("class", "model=gru model.head.pooling=mean_max model.recurrence.num_layers=2 model.recurrence.has_layer_norm=true"),
    ("class", "model=birnn cell=lstm model.recurrence.num_layers=2"),
    ("class", f"model=lstm {CONVOLUTION}"),
    ("class", "model=seq2seq cell=gru"),
    ("words", "model=lstm model.head.pooling=attention"),
    ("real", "model=gru"),
    ("label", "model=gru"),
    ("tokens", "model=birnn cell=srnn"),
]


def nudged_loss(model: Network, given: Batch, layer: str, step: int, row: int, nudge_H: Tensor) -> float:
    """Return the loss where one hidden state is moved and the recurrence goes on from there."""

    def moved(cell: nn.Module, entering: tuple[Tensor, ...], _: Tensor) -> Tensor:
        assert isinstance(cell, Cell)
        state, outputs = cell.initial_state(given.size), []
        for at, input_BF in enumerate(entering[0].unbind(1)):
            state = cell.step(input_BF, state)
            if at == step:
                hidden_BH = state[0].clone()
                hidden_BH[row] += nudge_H
                state = (hidden_BH, *state[1:])
            outputs.append(state[0])
        return torch.stack(outputs, 1)

    handle = cells_of(model)[layer].register_forward_hook(moved)
    with evaluating(model), torch.no_grad():
        loss = model.task.loss(model.predict_greedy(given), given, is_training=False)
    handle.remove()
    return float(loss) * given.size


@pytest.mark.parametrize(("kind", "words"), CASES)
def test_the_total_derivative_is_what_a_nudge_of_the_hidden_state_does_to_the_loss(
    kind: str, words: str, network: Make, batch: MakeBatch
) -> None:
    model, given = network(kind, words, 1.5), batch(kind)
    replayed = replay(model, given)
    found = {one.name: one for one in flow(replayed)}
    assert list(found) == list(cells_of(model))
    for trace in replayed.traces:
        length = int(trace.lengths_B[1])
        for back in (0, 1, length - 1):
            step = length - 1 - back
            slopes = []
            for unit in range(4):
                nudge_H = torch.zeros(4, dtype=torch.float64)
                nudge_H[unit] = NUDGE
                losses = [nudged_loss(model, given, trace.name, step, 1, sign * nudge_H) for sign in (1, -1)]
                slopes.append((losses[0] - losses[1]) / (2 * NUDGE))
            assert found[trace.name].total_BK[1, back] == pytest.approx(math.hypot(*slopes), rel=1e-4, abs=1e-8), (trace.name, back)


@pytest.mark.parametrize(("kind", "words"), CASES[:5])
def test_the_replayed_loss_is_that_of_the_fused_kernel(kind: str, words: str, network: Make, batch: MakeBatch) -> None:
    model, given = network(kind, words), batch(kind)
    with evaluating(model), torch.no_grad():
        expected = model.task.loss(model.predict_greedy(given), given, is_training=False)
    assert float(replay(model, given).loss.detach()) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("cell", sorted(file.stem for file in (CONF / "cell").glob("*.yaml")))
def test_the_hand_written_backpropagation_through_time_says_the_same(cell: str, network: Make, batch: MakeBatch) -> None:
    """It begins from what autograd gives for the outputs of the fused kernel, where only what reads a step counts."""
    model, given = network("class", f"model=birnn cell={cell} model.head.pooling=last", 1.0), batch("class")
    ran: dict[str, tuple[Tensor, Tensor]] = {}
    cells = cells_of(model)
    for name, part in cells.items():
        part.register_forward_hook(lambda module, entering, outputs, name=name: ran.update({name: (entering[0], outputs)}))
    with evaluating(model):
        loss = model.task.loss(model.predict_greedy(given), given, is_training=False) * given.size
    of_outputs = torch.autograd.grad(loss, [outputs for _, outputs in ran.values()])
    found = {one.name: one.total_BK for one in flow(replay(model, given))}
    for gradient_BTH, (name, (inputs_BTF, _)) in zip(of_outputs, ran.items(), strict=True):
        assert (gradient_BTH[1, :8] == 0).all() and (gradient_BTH[1, 8] != 0).any()
        total_BTH = cells[name].unroll_backward(inputs_BTF.detach(), given.input_lengths, gradient_BTH).states[0]
        for row, length in enumerate((3, 9, 5)):
            by_hand = total_BTH[row, :length].norm(dim=-1).flip(0).numpy()
            np.testing.assert_allclose(found[name][row, :length], by_hand, rtol=1e-9, atol=1e-14)


class Scalar(SRNNCell):
    """h_t = w h_{t-1} + x_t."""

    def __init__(self, weight: float) -> None:
        super().__init__(1, 1, "identity")
        for name, value in (("weight_ih", 1.0), ("weight_hh", weight), ("bias_ih", 0.0), ("bias_hh", 0.0)):
            self.weight(name).data.fill_(value)


@pytest.mark.parametrize(("weight", "length"), [(0.5, 1 / math.log(2)), (-0.8, 1 / math.log(1 / 0.8)), (1.0, 9), (1.1, 9), (0.0, 0)])
def test_of_a_scalar_recurrence_the_derivative_k_steps_back_is_the_weight_to_the_k(
    weight: float, length: float, network: Make, batch: MakeBatch
) -> None:
    model = network("real", "model=srnn model.head.pooling=last model.recurrence.hidden_size=1", 1.0)
    model.frontend.output_size = 1
    model.frontend.register_forward_hook(lambda module, given, found: (found[0][..., :1], found[1]))
    model.get_submodule("recurrence.layers.0")[0] = Scalar(weight).double()
    given = batch("real")
    (found,) = flow(replay(model, given))
    for row, steps in enumerate((3, 9, 5)):
        powers = np.abs(weight) ** np.arange(steps)
        for norms_BK in (found.total_BK, found.from_last_BK):
            np.testing.assert_allclose(norms_BK[row, :steps], norms_BK[row, 0] * powers, rtol=1e-6)
            assert np.isnan(norms_BK[row, steps:]).all()
    assert found.total_BK[1, 0] > 0
    assert horizon(found.from_last_BK[1:2]) == pytest.approx(length)


def test_where_every_step_is_read_the_total_derivative_stays_and_the_last_steps_part_fades(network: Make, batch: MakeBatch) -> None:
    model, given = network("class", "model=gru model.head.pooling=mean", 0.5), batch("class")
    (found,) = flow(replay(model, given))
    assert found.total_BK[1, 8] > 0.5 * found.total_BK[1, 0]
    assert found.from_last_BK[1, 8] < 0.1 * found.from_last_BK[1, 0]
    np.testing.assert_allclose(found.from_last_BK[:, 0], found.total_BK[:, 0])


def test_padding_changes_nothing(network: Make, batch: MakeBatch) -> None:
    model, given = network("class", f"model=birnn cell=gru {CONVOLUTION}"), batch("class")
    together = flow(replay(model, given))
    alone = Batch(given.inputs[:1, :3], given.input_lengths[:1], given.targets[:1], given.target_lengths[:1], given.example_ids[:1])
    for one, padded in zip(flow(replay(model, alone)), together, strict=True):
        assert one.total_BK.shape == (1, 2)  # a stride of two makes two steps of three
        np.testing.assert_allclose(padded.total_BK[0, :2], one.total_BK[0], rtol=1e-10)
        np.testing.assert_allclose(padded.from_last_BK[0, :2], one.from_last_BK[0], rtol=1e-10)
        assert np.isnan(padded.total_BK[0, 2:]).all()


def test_a_replay_leaves_weights_gradients_modes_and_generators_as_they_were(network: Make, batch: MakeBatch) -> None:
    model = network("class", f"model=gru {CONVOLUTION} model.recurrence.dropout=0.5 model.recurrence.num_layers=2")
    model.get_submodule("dropout").eval()  # a part that was switched by itself stays so
    before, state = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    with torch.no_grad():
        flow(replay(model, batch("class")))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training and not model.get_submodule("dropout").training
    assert not any(part._forward_hooks for part in model.modules())


def decay(length: float, steps: int) -> np.ndarray:
    return np.exp(-np.arange(steps) / length)


def test_the_horizon_is_the_decay_length() -> None:
    for length in (0.3, 2.0, 7.0, 49.0):
        assert horizon(decay(length, 50)[None]) == pytest.approx(length)


def test_decays_that_are_longer_than_a_sequence_and_gradients_that_grow_count_as_its_length() -> None:
    assert horizon(decay(300, 50)[None]) == 50
    assert horizon(decay(-10, 50)[None]) == 50
    assert horizon(np.array([[1.0, np.inf, np.inf, np.inf]])) == 4


def test_the_first_step_back_may_differ_from_the_others() -> None:
    assert horizon(np.concatenate([[1.0], 0.01 * decay(7, 50)])[None]) == pytest.approx(7)


def test_what_is_below_a_thousandth_does_not_count() -> None:
    fading = np.concatenate([decay(2, 16), np.full(100, decay(2, 16)[-1])])
    assert fading[15] < 1e-3 * fading[1]
    assert horizon(fading[None]) == pytest.approx(2)
    assert horizon(np.array([[1.0, 0.5, 0.25, 0, 0, 0]])) == pytest.approx(1 / math.log(2))
    assert horizon(np.array([[1.0, 0, 0, 0]])) == 0


def test_the_median_sequence_counts_and_those_that_say_nothing_do_not() -> None:
    rows = [decay(2, 9), decay(3, 9), decay(30, 9), np.zeros(9), np.array([1.0, 0.5, *[np.nan] * 7])]
    assert horizon(np.stack(rows)) == pytest.approx(3)
    assert math.isnan(horizon(np.stack(rows[3:])))


def test_a_curve_is_the_root_mean_square_over_the_sequences_that_reach_so_far() -> None:
    np.testing.assert_allclose(typical(np.array([[3.0, 1.0, np.nan], [4.0, 2.0, 5.0]])), [12.5**0.5, 2.5**0.5, 5.0])


def test_a_relative_curve_is_the_median_of_those_that_reach_so_far_and_have_a_gradient() -> None:
    rows = np.array([[2.0, 1.0, 0.2], [4.0, 1.0, np.nan], [10.0, 1.0, 5.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(relative(rows), [1, 0.25, 0.3])
    assert np.isnan(relative(rows[3:])).all()


@pytest.mark.parametrize("cell", ["srnn", "lstm", "gru"])
def test_gradients_of_a_network_at_its_beginning_fade_as_fast_as_the_lengths_say(cell: str, network: Make) -> None:
    """PyTorch's own initialisation, 64 units, 50 steps of noise: the total decay is what the horizon extrapolates."""
    model = network("class", f"model={cell} model.recurrence.hidden_size=64 model.head.pooling=last", 1.0)
    inputs = torch.randn(8, 50, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    lengths = torch.full((8,), 50)
    (found,) = flow(replay(model, Batch(inputs, lengths, torch.arange(8) % 3, torch.ones(8, dtype=torch.long), torch.arange(8))))
    curve = relative(found.from_last_BK)
    length = horizon(found.from_last_BK)
    assert 0.5 < length < 5  # default weights forget within a few steps, whatever the cell
    assert math.log(curve[1] / curve[10]) == pytest.approx(9 / length, rel=0.35)
