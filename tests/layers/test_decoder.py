"""Claims about the decoder: a whole target at once equals step by step, and its first state comes from the encoder."""

from collections.abc import Callable

import pytest
import torch
import yaml
from torch import Tensor

from rnnlab.cells.base import Cell
from rnnlab.cells.gru import GRUCell
from rnnlab.cells.lstm import LSTMCell
from rnnlab.config import recipe
from rnnlab.layers.attention import AttentionKind
from rnnlab.layers.decoder import Bridge, Decoder, DecoderSettings, DecoderState
from rnnlab.paths import CONF

CELLS: dict[str, Callable[..., Cell]] = {
    file.stem: recipe(yaml.safe_load(file.read_text(encoding="utf-8")), "cell") for file in sorted((CONF / "cell").glob("*.yaml"))
}
KINDS: tuple[AttentionKind, ...] = ("none", "bahdanau", "luong_dot", "luong_general")


def make(cell: str, kind: AttentionKind, has_input_feeding: bool, num_layers: int = 2) -> tuple[Decoder, Bridge]:
    torch.manual_seed(5)
    settings = DecoderSettings(6, num_layers, 3, 0.0, has_input_feeding, 5, "uniform")
    decoder = Decoder(6, CELLS[cell], kind, settings, 4)
    return decoder, Bridge(6, 1, 2, decoder)


def begun(decoder: Decoder, bridge: Bridge, values: Tensor, lengths_B: Tensor) -> DecoderState:
    return decoder.begin(values, lengths_B, bridge([values[:, 0]]))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("has_input_feeding", [False, True])
def test_a_whole_target_at_once_equals_step_by_step(cell: str, kind: AttentionKind, has_input_feeding: bool) -> None:
    decoder, bridge = make(cell, kind, has_input_feeding)
    values, inputs, lengths_B = torch.randn(2, 5, 6), torch.randn(2, 7, 3), torch.tensor([5, 3])
    state = begun(decoder, bridge, values, lengths_B)
    readouts, looked = decoder.run(inputs, state)
    for step in range(7):
        readout, at_step, state = decoder.step(inputs[:, step], state)
        assert torch.allclose(readout, readouts[:, step], atol=1e-6)
        if at_step is None or looked is None:
            assert at_step is None and looked is None and kind == "none"
        else:
            assert torch.allclose(at_step.weights, looked.weights[:, step], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_of_the_input_changes_nothing(kind: AttentionKind) -> None:
    decoder, bridge = make("gru", kind, True)
    values, inputs = torch.randn(2, 5, 6), torch.randn(2, 7, 3)
    values[1, 3:] = 0
    both, _ = decoder.run(inputs, begun(decoder, bridge, values, torch.tensor([5, 3])))
    alone, _ = decoder.run(inputs[1:], begun(decoder, bridge, values[1:, :3], torch.tensor([3])))
    assert torch.allclose(both[1], alone[0], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_several_hypotheses_of_one_input_are_each_as_if_alone(kind: AttentionKind) -> None:
    decoder, bridge = make("lstm", kind, True)
    values, inputs = torch.randn(2, 5, 6), torch.randn(6, 3)
    state = begun(decoder, bridge, values, torch.tensor([5, 4])).select(torch.tensor([0, 0, 0, 1, 1, 1]))
    readouts, _, _ = decoder.step(inputs, state)
    for row in range(6):
        part = slice(row // 3, row // 3 + 1)
        alone, _, _ = decoder.step(inputs[row : row + 1], begun(decoder, bridge, values[part], torch.tensor([5, 4])[part]))
        assert torch.allclose(readouts[row], alone[0], atol=1e-6)


def test_the_readout_enters_the_next_step_only_with_input_feeding() -> None:
    for has_input_feeding in (False, True):
        decoder, bridge = make("gru", "luong_general", has_input_feeding)
        state = begun(decoder, bridge, torch.randn(1, 5, 6), torch.tensor([5]))
        changed = DecoderState(state.memory, (*state.parts[:-1], state.parts[-1] + 1))
        one, other = (decoder.step(torch.ones(1, 3), each)[0] for each in (state, changed))
        assert torch.equal(one, other) == (not has_input_feeding)


def test_a_state_of_the_same_shape_goes_over_as_it_is_and_any_other_through_a_map() -> None:
    settings = DecoderSettings(6, 2, 3, 0.0, False, 5, "uniform")
    final = [torch.randn(2, 6)]
    same = Bridge(6, 1, 1, Decoder(6, GRUCell, "none", settings, 4))
    assert all(torch.equal(part, final[0]) for (part,) in same(final)) and not list(same.parameters())
    both_ways = Bridge(6, 1, 2, Decoder(6, GRUCell, "none", settings, 4))
    assert all(part.abs().max() < 1 and not torch.equal(part, final[0]) for (part,) in both_ways(final))
    memory = Bridge(6, 1, 1, Decoder(6, LSTMCell, "none", settings, 4))
    assert [len(state) for state in memory(final)] == [2, 2]
    hidden, (weight, bias) = memory(final)[0][0], memory.maps[0].get_submodule("0").parameters()
    assert torch.allclose(hidden, torch.tanh(final[0] @ weight.T + bias))


def test_each_layer_begins_from_its_own_layer_of_the_encoder_and_those_above_from_the_last() -> None:
    settings = DecoderSettings(6, 3, 3, 0.0, False, 5, "uniform")
    bridge = Bridge(6, 2, 1, Decoder(6, GRUCell, "none", settings, 4))
    low, high = torch.randn(1, 6), torch.randn(1, 6)
    assert [torch.equal(part, low) for (part,) in bridge([low, high])] == [True, False, False]
