"""Whatever stops being a number first is found, with its place."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from rnnlab.contracts import Batch
from rnnlab.insight.nonfinite import first_in_backward, first_in_forward
from rnnlab.models.base import Network

Make = Callable[..., Network]
MakeBatch = Callable[..., Batch]
CONVOLUTION = (
    "frontend=convolution frontend.channels=[2,3] frontend.kernel_sizes=[5,3] frontend.time_strides=[2,1] frontend.frequency_strides=[2,2]"
)
BAD = [math.nan, math.inf]


def spoil_after(module: nn.Module, row: int, step: int | None, value: float) -> None:
    """Plant a value in what a module returns."""

    def spoil(module: nn.Module, given: tuple, found: torch.Tensor | tuple[torch.Tensor, torch.Tensor]) -> object:
        values = (found[0] if isinstance(found, tuple) else found).clone()
        values[(row,) if step is None else (row, step)] = value
        return (values, found[1]) if isinstance(found, tuple) else values

    module.register_forward_hook(spoil)


def test_where_all_is_finite_nothing_is_found(network: Make, batch: MakeBatch) -> None:
    assert first_in_forward(network("class"), batch("class")) is None
    assert first_in_backward(network("class"), batch("class")) is None


@pytest.mark.parametrize("value", BAD)
def test_an_input(value: float, network: Make, batch: MakeBatch) -> None:
    given = batch("class")
    given.inputs[0, 3:] = value  # padding never counts
    given.inputs[1, 4, 2] = value
    found = first_in_forward(network("class"), given)
    assert found is not None
    assert found.what == "the input at step 5 of example 11 (sequence 2 of the batch), feature 3 of 6"
    assert found.cause == "prepare the data again, or mend or leave out that example; no setting of the training helps"


@pytest.mark.parametrize("value", BAD)
def test_a_target(value: float, network: Make, batch: MakeBatch) -> None:
    given = batch("real")
    given.targets[2, 1] = value
    found = first_in_forward(network("real"), given)
    assert found is not None and (found.what, found.kind) == ("the target of example 12 (sequence 3 of the batch)", "data")


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("name", ["frontend.table.weight", "recurrence", "output.bias"])
def test_weights_that_were_spoiled_before(name: str, value: float, network: Make, batch: MakeBatch) -> None:
    model = network("words")
    name, parameter = next((n, p) for n, p in model.named_parameters() if n.startswith(name))
    parameter.data.view(-1)[-1] = value
    found = first_in_forward(model, batch("words"))
    assert found is not None and found.what == f"the weights {name}, already before this step"
    assert "something wrote them before this step" in found.cause


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize(("kind", "words", "step"), [("words", "model=gru", 4), ("class", f"model=gru {CONVOLUTION}", 2)])
def test_what_the_front_end_gives(kind: str, words: str, step: int, value: float, network: Make, batch: MakeBatch) -> None:
    model = network(kind, words)
    spoil_after(model.frontend, 0, -1, value)  # padding never counts
    spoil_after(model.frontend, 1, step, value)
    found = first_in_forward(model, batch(kind))
    assert found is not None
    assert found.what == f"the output of frontend at step {step + 1} of example 11 (sequence 2 of the batch)"
    assert not found.cause


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize(
    ("layer", "direction", "name"), [(0, 0, "layer1"), (0, 1, "layer1_backward"), (1, 0, "layer2"), (1, 1, "layer2_backward")]
)
def test_a_hidden_state_of_a_layer_at_a_step(layer: int, direction: int, name: str, value: float, network: Make, batch: MakeBatch) -> None:
    model = network("class", "model=birnn cell=lstm model.recurrence.num_layers=2")
    spoil_after(model.get_submodule(f"recurrence.layers.{layer}.{direction}"), 2, 3, value)
    found = first_in_forward(model, batch("class"))
    counted = " (counted from its end)" if direction else ""
    assert found is not None
    assert found.what == f"the hidden state of {name} at step 4 of example 12 (sequence 3 of the batch){counted}"


def test_a_hidden_state_that_grows_past_all_numbers(network: Make, batch: MakeBatch) -> None:
    model = network("class", "model=srnn cell.activation=relu", 1.0).float()
    given = batch("class")
    given.inputs = torch.ones_like(given.inputs).float()
    for name, parameter in model.recurrence.named_parameters():
        parameter.data.fill_(0.25e10 if "weight_hh" in name else 0.0 if "bias" in name else 1.0)
    # h_1 = 6, h_t = 1e10 h_{t-1} + 6: 6e10, 6e20, 6e30, 6e40, and 3.4e38 is the largest float32
    found = first_in_forward(model, given)
    assert found is not None and found.what == "the hidden state of layer1 at step 5 of example 11 (sequence 2 of the batch)"


@pytest.mark.parametrize("value", BAD)
def test_pooling_and_logits(value: float, network: Make, batch: MakeBatch) -> None:
    for name in ("pooling", "output"):
        model = network("class")
        spoil_after(model.get_submodule(name), 1, None, value)
        found = first_in_forward(model, batch("class"))
        assert found is not None and found.what == f"the output of {name} of example 11 (sequence 2 of the batch)"


def test_logits_at_every_step(network: Make, batch: MakeBatch) -> None:
    model = network("label")
    spoil_after(model.get_submodule("output"), 2, 1, math.inf)
    found = first_in_forward(model, batch("label"))
    assert found is not None and found.what == "the output of output at step 2 of example 12 (sequence 3 of the batch)"


def test_the_loss_alone(network: Make, batch: MakeBatch) -> None:
    model = network("positive")  # QLIKE takes the exponential of what the network says
    with torch.no_grad():
        model.get_submodule("output").bias.fill_(-800.0)
    given = batch("positive")
    assert given.reference is not None
    given = replace(given, reference=replace(given.reference, scale=torch.full((3, 2), 10.0, dtype=torch.float64)))
    found = first_in_forward(model, given)
    assert found is not None and found.what == "the loss itself; what enters it is finite"


def test_the_same_random_numbers_are_drawn_again(network: Make, batch: MakeBatch) -> None:
    model = network("class")
    torch.manual_seed(5)
    first = model.training_loss(batch("class"))
    seen: list[torch.Tensor] = []
    loss = model.training_loss

    def watched(batch: Batch) -> torch.Tensor:
        seen.append(value := loss(batch))
        return value

    model.training_loss = watched
    assert first_in_forward(model, batch("class")) is None
    assert torch.equal(seen[0], first) and model.training


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("name", ["frontend.table.weight", "recurrence", "output.weight"])
def test_the_gradient_of_a_parameter(name: str, value: float, network: Make, batch: MakeBatch) -> None:
    model, given = network("words"), batch("words")
    model.training_loss(given).backward()
    name, parameter = next((n, p) for n, p in model.named_parameters() if n.startswith(name))
    assert parameter.grad is not None
    parameter.grad.view(-1)[0] = value
    found = first_in_backward(model, given)
    assert found is not None and found.what == f"the gradient of {name}"


def test_gradients_that_explode_through_time(network: Make, batch: MakeBatch) -> None:
    model = network("class", "model=srnn cell.activation=relu model.head.pooling=last", 1.0).float()
    given = batch("class", (4, 3, 2))
    given.inputs, given.targets = torch.zeros_like(given.inputs).float(), torch.tensor([1, 1, 1])
    # h_t = 1e12 h_{t-1} + 1e-36, so h_4 = 1; and dL/dh of it is 1e5 / 3 in size, which grows by 1e12 a step back: 3e16, 3e28, 3e40
    for name, parameter in model.recurrence.named_parameters():
        parameter.data.fill_(0.25e12 if "weight_hh" in name else 1e-36 if name.endswith("bias_ih_l0") else 0.0)
    with torch.no_grad():
        model.get_submodule("output").weight.copy_(torch.tensor([[1e5], [0.0], [0.0]]).expand(3, 4))
    loss = model.eval().training_loss(given)
    assert loss.isfinite()
    loss.backward()
    found = first_in_backward(model, given)
    assert found is not None
    assert "the gradient of recurrence" in found.what
    assert found.what.endswith("; that of the hidden state of layer1 is no longer finite 3 steps back from the end")
