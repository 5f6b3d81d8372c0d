"""Our scans of whole sequences: values and all gradients are those of PyTorch's own modules, in any number of blocks."""

import warnings

import pytest
import torch
from torch import Tensor, nn

from rnnlab.cells import scan
from rnnlab.cells.base import Cell
from rnnlab.cells.gru import GRUCell
from rnnlab.cells.srnn import SRNNCell

B, T, F, H = 3, 11, 4, 5
CELLS = {
    "gru": (lambda: GRUCell(F, H), lambda: nn.GRU(F, H, batch_first=True)),
    "tanh": (lambda: SRNNCell(F, H, "tanh"), lambda: nn.RNN(F, H, batch_first=True)),
    "relu": (lambda: SRNNCell(F, H, "relu"), lambda: nn.RNN(F, H, nonlinearity="relu", batch_first=True)),
}


def found(run: nn.Module, size: int, num_steps: int, has_state: bool) -> dict[str, Tensor]:
    """Run on sequences that are always the same; return outputs, last state and the gradients of everything."""
    generator = torch.Generator().manual_seed(5)
    draw = lambda *shape: torch.randn(*shape, dtype=torch.double, generator=generator)  # noqa: E731
    inputs, state, weights = draw(size, num_steps, F).requires_grad_(), draw(size, H).requires_grad_(), draw(size, num_steps, H)
    last_weights = draw(size, H)
    if isinstance(run, Cell):
        outputs, (last,) = run.run(inputs, (state,) if has_state else None)
    else:
        outputs, lasts = run(inputs, state[None] if has_state else None)
        last = lasts[0]
    ((outputs * weights).sum() + (last * last_weights).sum()).backward()
    gradients = {name.removeprefix("kernel."): weight.grad for name, weight in run.named_parameters()}
    found = {"outputs": outputs.detach(), "last": last.detach(), "inputs": inputs.grad, **gradients}
    return {name: value for name, value in {**found, "state": state.grad if has_state else torch.zeros(())}.items() if value is not None}


@pytest.mark.parametrize("block", [1, B * H, 4 * B * H, 10**6], ids=["a step", "one step exactly", "four steps", "all"])
@pytest.mark.parametrize("has_state", [False, True], ids=["from zero", "from a state"])
@pytest.mark.parametrize("num_steps", [1, 2, T])
@pytest.mark.parametrize("name", CELLS)
def test_scans_are_what_pytorchs_modules_compute(
    name: str, num_steps: int, has_state: bool, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "BLOCK", block)
    cell, theirs = CELLS[name][0]().double(), CELLS[name][1]().double()
    theirs.load_state_dict({key.removeprefix("kernel."): value for key, value in cell.state_dict().items()})
    expected = found(theirs, B, num_steps, has_state)
    actual = found(cell, B, num_steps, has_state)
    assert expected.keys() == actual.keys()
    for key, value in expected.items():
        torch.testing.assert_close(actual[key], value, rtol=0, atol=1e-12, msg=f"{key} differs")


@pytest.mark.parametrize("name", CELLS)
def test_our_scan_is_what_runs_on_a_processor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = CELLS[name][0]()
    monkeypatch.setattr(cell.kernel, "forward", lambda *given: pytest.fail("PyTorch's kernel ran"))
    assert cell(torch.randn(B, T, F)).shape == (B, T, H)
    assert cell(torch.randn(0, T, F)).shape == (0, T, H)


@pytest.mark.parametrize("name", CELLS)
def test_a_trace_holds_pytorchs_kernel_so_that_any_length_runs(name: str) -> None:
    cell = CELLS[name][0]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated, and asks about sizes
        traced = torch.jit.trace(cell, torch.randn(B, T, F))
    longer = torch.randn(2, 3 * T, F)
    torch.testing.assert_close(traced(longer), cell(longer), rtol=0, atol=1e-6)


def test_what_a_caller_holds_is_not_written_over() -> None:
    weight, bias = torch.randn(3 * H, H, requires_grad=True), torch.randn(3 * H, requires_grad=True)
    projected, first, gradient = torch.randn(T, B, 3 * H), torch.randn(B, H), torch.randn(T, B, H)
    held = [projected, first, gradient, weight.detach()]
    copies = [each.clone() for each in held]
    states = scan.scan_gru(projected, first, weight, bias)
    states.backward(gradient, retain_graph=True)
    states.backward(gradient)  # the second time from what was kept
    (before,) = torch.autograd.grad(scan.scan_gru(projected, first, weight, bias), weight, gradient)
    assert all(torch.equal(now, then) for now, then in zip(held, copies, strict=True))
    assert weight.grad is not None
    assert torch.equal(before + before, weight.grad)


def test_in_half_precision_the_recurrence_stays_in_float32() -> None:
    cell, inputs = GRUCell(F, H), torch.randn(B, 200, F)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = cell(inputs)
    assert outputs.dtype == torch.float32
    torch.testing.assert_close(outputs, cell(inputs), rtol=0, atol=0.02)


def test_second_derivatives_are_refused_and_backend_reference_has_them() -> None:
    cell, inputs = GRUCell(F, H), torch.randn(B, 3, F, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"a scan has no second derivatives: set model\.recurrence\.backend=reference"):
        torch.autograd.grad(cell(inputs).sum(), inputs, create_graph=True)
    cell.run_with("reference", 0.0, 0.0)
    (first,) = torch.autograd.grad(cell(inputs).sum(), inputs, create_graph=True)
    first.sum().backward()
    assert inputs.grad is not None and inputs.grad.abs().sum() > 0
