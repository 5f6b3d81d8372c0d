"""Gates are what the equations say, saturation is counted at their ends, and a unit that never changes is dead."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from rnnlab.cells.base import Cell
from rnnlab.contracts import Batch
from rnnlab.insight.gates import dead_share, gate_numbers, gate_values, gates_by_step, saturated
from rnnlab.insight.replay import cells_of, replay
from rnnlab.insight.spectrum import radii, spectral_radius
from rnnlab.models.base import Network

Make = Callable[..., Network]
MakeBatch = Callable[..., Batch]


def test_the_gates_give_the_states_that_were_replayed(network: Make, batch: MakeBatch) -> None:
    (gru,) = replay(network("class", "model=gru"), batch("class")).traces
    values, (before,) = gate_values(gru), gru.before()
    after = (1 - values["update"]) * values["candidate"] + values["update"] * before
    torch.testing.assert_close(after, gru.hidden[gru.is_valid])
    (lstm,) = replay(network("class", "model=lstm"), batch("class")).traces
    values, (_, memory) = gate_values(lstm), lstm.before()
    after = values["output"] * torch.tanh(values["forget"] * memory + values["input"] * values["candidate"])
    torch.testing.assert_close(after, lstm.hidden[lstm.is_valid])


def test_numbers_are_named_by_layer_and_gate(network: Make, batch: MakeBatch) -> None:
    for trace in replay(network("class", "model=birnn cell=gru"), batch("class")).traces:
        found = gate_numbers(trace)
        assert set(found) == {
            f"dead_units/{trace.name}",
            *(f"gate_{what}/{trace.name}.{gate}" for what in ("mean", "saturated") for gate in ("reset", "update", "candidate")),
        }
        assert found[f"gate_mean/{trace.name}.reset"] == pytest.approx(float(gate_values(trace)["reset"].mean()))
    (trace,) = replay(network("class", "model=srnn"), batch("class")).traces
    assert set(gate_numbers(trace)) == {"dead_units/layer1", "gate_mean/layer1.hidden", "gate_saturated/layer1.hidden"}


def test_saturated_is_within_a_tenth_of_an_end(network: Make) -> None:
    def cell(words: str) -> Cell:
        return cells_of(network("class", words))["layer1"]

    values = torch.tensor([[0.05, 0.5], [0.95, 0.11]])
    assert saturated(cell("model=lstm"), "forget", values) == 0.5
    assert saturated(cell("model=lstm"), "candidate", values) == 0.25
    assert saturated(cell("model=srnn"), "hidden", -values) == 0.25
    assert saturated(cell("model=srnn cell.activation=sigmoid"), "hidden", values) == 0.5
    assert saturated(cell("model=srnn cell.activation=relu"), "hidden", values) is None
    assert saturated(cell("model=birnn cell=mingru"), "candidate", values) is None


def test_units_that_never_change_are_dead(network: Make, batch: MakeBatch) -> None:
    model = network("class", "model=srnn cell.activation=relu", 1.0)
    bias = dict(model.named_parameters())["recurrence.layers.0.0.kernel.bias_ih_l0"]
    (trace,) = replay(model, batch("class")).traces
    assert dead_share(trace) < 0.5
    with torch.no_grad():
        bias[:2] = -100.0  # never fires
    (trace,) = replay(model, batch("class")).traces
    assert (trace.hidden[trace.is_valid][:, :2] == 0).all()
    assert dead_share(trace) >= 0.5


def test_means_by_step_are_of_the_sequences_that_are_that_long(network: Make, batch: MakeBatch) -> None:
    (trace,) = replay(network("class", "model=gru"), batch("class")).traces
    found = gates_by_step(trace)["layer1.reset"]
    rows = [part.mean(-1) for part in torch.split(gate_values(trace)["reset"], trace.lengths_B.tolist())]
    assert len(found) == 9
    expected = [np.mean([float(row[step]) for row in rows if step < len(row)]) for step in range(9)]
    np.testing.assert_allclose(found, expected)


def test_the_spectral_radius_is_the_largest_eigenvalue_in_size() -> None:
    random = np.random.default_rng(0)
    for size in (1, 2, 7, 64):
        matrix = random.normal(size=(size, size))
        assert spectral_radius(matrix) == pytest.approx(np.abs(np.linalg.eigvals(matrix)).max(), rel=1e-3)
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    assert spectral_radius(0.5 * turn) == pytest.approx(0.5, rel=1e-4)
    assert spectral_radius(np.array([[0.0, 1.0], [0.0, 0.0]])) == 0
    assert spectral_radius(1e-80 * np.eye(3)) == pytest.approx(1e-80, rel=1e-4)
    assert spectral_radius(1e80 * np.eye(3)) == pytest.approx(1e80, rel=1e-4)


def test_each_gate_has_its_own_radius(network: Make) -> None:
    model = network("class", "model=lstm", 1.0)
    weight = dict(model.named_parameters())["recurrence.layers.0.0.kernel.weight_hh_l0"]
    with torch.no_grad():
        for scale, block in zip((0.5, 1.0, 2.0, 3.0), weight.chunk(4), strict=True):
            block.copy_(scale * torch.eye(4))
    expected = {"layer1.input": 0.5, "layer1.forget": 1.0, "layer1.candidate": 2.0, "layer1.output": 3.0}
    assert radii(cells_of(model)) == pytest.approx(expected, rel=1e-4)
