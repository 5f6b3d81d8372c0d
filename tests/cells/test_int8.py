"""Claims about int8 kernels: near float32, the same alone and beside neighbours, and refused where there are none."""

import pytest
import torch
from torch import nn

from rnnlab.cells import int8
from rnnlab.cells.base import Cell
from rnnlab.cells.gru import GRUCell
from rnnlab.cells.int8 import NoKernel, refuse_int8, use_int8
from rnnlab.cells.lstm import LSTMCell
from rnnlab.cells.mingru import MinGRUCell


@pytest.mark.parametrize("make", [GRUCell, LSTMCell])
def test_answers_are_near_float32_and_depend_on_no_neighbour_or_padding(make: type[Cell]) -> None:
    torch.manual_seed(5)
    cell = make(6, 9).eval()  # type: ignore[arg-type, call-arg]
    inputs = torch.randn(3, 11, 6)
    inputs[1] *= 40  # a loud neighbour, which would set the scale of all
    inputs[2, 7:] = 0
    right, ends = cell.run(inputs)
    use_int8(cell)
    found, after = cell.run(inputs)
    assert not torch.equal(found, right)
    torch.testing.assert_close(found[[0, 2]], right[[0, 2]], atol=0.08, rtol=0)
    assert [part.shape for part in after] == [part.shape for part in ends]
    for row in (0, 1):
        alone, _ = cell.run(inputs[row : row + 1])
        assert torch.equal(alone[0], found[row])
    short, _ = cell.run(inputs[2:, :7])
    assert torch.equal(short[0], found[2, :7])
    first, state = cell.run(inputs[:, :4])
    both = torch.cat([first, cell.run(inputs[:, 4:], state)[0]], 1)
    torch.testing.assert_close(both[[0, 2]], right[[0, 2]], atol=0.08, rtol=0)


def test_training_goes_on_in_float32_and_no_weight_is_added() -> None:
    torch.manual_seed(5)
    cell = GRUCell(6, 9)
    names, inputs = [*cell.state_dict()], torch.randn(2, 4, 6)
    right = cell(inputs)
    use_int8(cell)
    assert torch.equal(cell(inputs), right)
    assert [*cell.state_dict()] == names


def test_what_has_no_kernel_is_refused_with_what_to_choose_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoKernel, match=r"kernels for cell=gru .* and not for cell=mingru. Set compression.int8=weights"):
        refuse_int8(MinGRUCell(3, 4))
    with pytest.raises(NoKernel, match=r"not for cell=gru"):
        refuse_int8(GRUCell(3, 4, reset="before"))
    with pytest.raises(NoKernel, match=r"model=linear has no recurrent cell"):
        refuse_int8(nn.Linear(2, 2))
    slow = GRUCell(3, 4)
    slow.run_with("reference", 0.0, 0.0)
    with pytest.raises(NoKernel, match=r"backend=reference goes step by step"):
        refuse_int8(slow)
    monkeypatch.setattr(int8, "ENGINES", ("of another processor",))  # which this machine has not
    with pytest.raises(NoKernel, match=r"PyTorch has no int8 kernels on this machine. Set compression.int8=weights"):
        refuse_int8(GRUCell(3, 4))
