"""Weights that are kept within bounds: projected as worked out by hand, after every step, and only where their size means something."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from rnnlab.commands import train as run
from rnnlab.config import ConfigError
from rnnlab.layers.tcn import Convolutions, ConvolutionStack
from rnnlab.settings import TrainSettings
from rnnlab.training.constraints import WeightConstraint, weight_constraint


def a_layer() -> nn.Linear:
    layer = nn.Linear(2, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 4.0], [0.3, -0.4], [0.0, 2.0]]))
        layer.bias.fill_(9.0)
    return layer


def test_a_row_that_is_too_long_keeps_its_direction_and_the_others_stay() -> None:
    layer = a_layer()
    WeightConstraint(layer, 1.0, None).project()
    torch.testing.assert_close(layer.weight.detach(), torch.tensor([[0.6, 0.8], [0.3, -0.4], [0.0, 1.0]]))
    assert layer.bias.tolist() == [9.0] * 3


def test_each_weight_is_clipped_by_itself_and_biases_are_free() -> None:
    layer = a_layer()
    WeightConstraint(layer, None, 0.35).project()
    torch.testing.assert_close(layer.weight.detach(), torch.tensor([[0.35, 0.35], [0.3, -0.35], [0.0, 0.35]]))
    assert layer.bias.tolist() == [9.0] * 3


def test_of_a_convolution_a_row_is_all_that_enters_a_channel() -> None:
    layer = nn.Conv1d(2, 3, 4)
    WeightConstraint(layer, 0.1, None).project()
    torch.testing.assert_close(layer.weight.detach().flatten(1).norm(dim=1), torch.full((3,), 0.1))


def test_word_vectors_are_clipped_but_have_no_rows_and_frozen_weights_stay() -> None:
    table, frozen = nn.Embedding(3, 2), nn.Linear(2, 2)
    frozen.weight.requires_grad = False
    model = nn.ModuleList([table, frozen])
    before = [table.weight.clone(), frozen.weight.clone()]
    WeightConstraint(model, 1e-3, None).project()
    assert torch.equal(table.weight, before[0]) and torch.equal(frozen.weight, before[1])
    WeightConstraint(model, None, 1e-3).project()
    assert table.weight.abs().max() <= 1e-3 and torch.equal(frozen.weight, before[1])


def test_lengths_of_normalised_weights_are_not_bounded_behind_their_back() -> None:
    stack = ConvolutionStack(3, Convolutions(4, 1, 2, 0.0, True, True))
    message = r"^callbacks.max_norm bounds weights, whose size means nothing with model.convolutions.has_weight_norm=true: set it to false$"
    with pytest.raises(ConfigError, match=message):
        WeightConstraint(stack, 1.0, None)
    WeightConstraint(ConvolutionStack(3, Convolutions(4, 1, 2, 0.0, False, True)), 1.0, None).project()


def test_nothing_is_bounded_unless_asked(compose: Callable[..., TrainSettings]) -> None:
    assert list(weight_constraint(compose().callbacks, a_layer())) == []


@pytest.mark.parametrize("average", ["null", "0.5"])
def test_a_training_ends_within_the_bounds(average: str, compose: Callable[..., TrainSettings], root: Path) -> None:
    words = ("data=speech", "data.source=sample", "trainer=smoke", "model.recurrence.hidden_size=5", "tracking.log_model=false")
    outputs = root / "outputs"
    before = set(outputs.glob("*"))
    run.train(
        compose(
            *words,
            "callbacks.checkpoint.keep_last=true",
            "callbacks.max_norm=0.4",
            "callbacks.weight_clip=0.2",
            f"callbacks.ema_decay={average}",
            "optimizer.lr=0.05",
        )
    )
    (folder,) = set(outputs.glob("*")) - before
    for name in ("best.ckpt", "last.ckpt"):
        content = torch.load(folder / name, weights_only=True)
        assert ("optimizer_states" in content) == (name == "last.ckpt"), "only the last one is resumed from"
        weights = content["state_dict"]
        matrices = [value.flatten(1) for value in weights.values() if value.ndim > 1]
        assert len(matrices) >= 5
        assert all(value.abs().max() <= 0.2 for value in matrices)
        assert max(float(value.norm(dim=1).max()) for value in matrices) == pytest.approx(0.4, abs=1e-3)
