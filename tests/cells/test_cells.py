"""Every cell in conf/cell: the fused path, the written-out step and PyTorch's own module say the same."""

from collections.abc import Callable
from functools import partial
from math import log, sqrt
from typing import get_args

import pytest
import torch
import yaml
from torch import Tensor, nn

from rnnlab.cells.base import Cell, State
from rnnlab.cells.gru import GRUCell
from rnnlab.cells.lstm import LSTMCell
from rnnlab.cells.srnn import Activation, SRNNCell
from rnnlab.cells.weights import Initialisation
from rnnlab.config import ConfigError, recipe
from rnnlab.paths import CONF

CELLS = sorted(file.stem for file in (CONF / "cell").glob("*.yaml"))
VARIANTS = [*CELLS, "gru reset=before", *(f"srnn activation={name}" for name in get_args(Activation) if name != "tanh")]
WITH_KERNEL = ["gru", "irnn", "lstm", "srnn", "srnn activation=relu"]
LSTMS = [name for name in CELLS if name.startswith("lstm")]
B, T, F, H = 2, 5, 3, 4


def build(words: str, input_size: int = F, hidden_size: int = H) -> Cell:
    """Build a cell as its file in conf/cell says, but for KEY=VALUE words, in float64, from a fixed seed."""
    name, *changes = words.split()
    node = yaml.safe_load((CONF / "cell" / f"{name}.yaml").read_text(encoding="utf-8"))
    node |= {key: yaml.safe_load(value) for key, _, value in (change.partition("=") for change in changes)}
    torch.manual_seed(3)
    cell: Cell = recipe(node, "cell")(input_size=input_size, hidden_size=hidden_size)
    return cell.double()


def make_cell(words: str, input_size: int = F, hidden_size: int = H) -> Cell:
    """Build a cell and give every weight a value of its own: none is one or zero."""
    cell = build(words, input_size, hidden_size)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return cell


def draw(*sizes: int) -> list[Tensor]:
    """Draw tensors of (B, size)."""
    torch.manual_seed(5)
    return [2 * torch.randn(B, size, dtype=torch.float64) for size in sizes]


def draw_sequence(num_steps: int = T) -> Tensor:
    torch.manual_seed(6)
    return 2 * torch.randn(B, num_steps, F, dtype=torch.float64)


def draw_state(cell: Cell) -> State:
    return tuple(draw(*[H] * cell.num_states))


def weighed(outputs: Tensor) -> Tensor:
    """Return a loss that weighs every output differently."""
    return (torch.linspace(-1, 2, outputs.numel(), dtype=torch.float64).view_as(outputs) * outputs).sum()


def outputs_and_gradients(run: Callable[[Tensor], Tensor], cell: Cell, inputs_BTF: Tensor) -> dict[str, Tensor]:
    """Return the outputs, and the gradients of all weights and of the inputs."""
    inputs_BTF = inputs_BTF.clone().requires_grad_()
    outputs_BTH = run(inputs_BTF)
    names = [name for name, _ in cell.named_parameters()]
    gradients = torch.autograd.grad(weighed(outputs_BTH), [*cell.parameters(), inputs_BTF])
    return {"outputs": outputs_BTH.detach(), **dict(zip([*names, "inputs"], gradients, strict=True))}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], atol: float = 1e-12) -> None:
    assert set(found) == set(expected)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=atol, msg=partial("{}: {}".format, key))


def test_there_are_cells() -> None:
    assert {"gru", "irnn", "lstm", "lstm_coupled", "lstm_layer_norm", "lstm_peephole", "mingru", "srnn"} <= set(CELLS)


@pytest.mark.parametrize("name", VARIANTS)
def test_what_runs_at_once_equals_the_written_out_sequence_and_so_do_all_gradients(name: str) -> None:
    cell, inputs_BTF = make_cell(name), draw_sequence()
    assert cell.has_kernel == (name in [*WITH_KERNEL, "mingru"])
    fused = outputs_and_gradients(cell.forward, cell, inputs_BTF)
    assert fused["outputs"].shape == (B, T, H)
    assert_same(fused, outputs_and_gradients(cell.unroll, cell, inputs_BTF))
    cell.run_with("reference", 0.0, 0.0)
    for key, value in outputs_and_gradients(cell.forward, cell, inputs_BTF).items():
        torch.testing.assert_close(fused[key], value, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", WITH_KERNEL)
def test_the_written_out_sequence_equals_pytorchs_own_module_with_the_same_weights(name: str) -> None:
    cell, inputs_BTF = make_cell(name), draw_sequence()
    kind = name.split()[0]
    theirs = {"gru": nn.GRU, "lstm": nn.LSTM}[kind](F, H, batch_first=True) if kind in ("gru", "lstm") else None
    theirs = theirs or nn.RNN(F, H, nonlinearity="tanh" if name == "srnn" else "relu", batch_first=True)
    theirs.double().load_state_dict({key.removeprefix("kernel."): value for key, value in cell.state_dict().items()})
    torch.testing.assert_close(cell.unroll(inputs_BTF), theirs(inputs_BTF)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", VARIANTS)
def test_backend_reference_goes_step_by_step_and_fused_does_not_where_there_is_a_kernel(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = make_cell(name)
    steps = []
    plain = cell.transition
    monkeypatch.setattr(cell, "transition", lambda *given: steps.append(1) or plain(*given))
    cell(draw_sequence())
    assert len(steps) == (0 if cell.has_kernel else T)
    cell.run_with("reference", 0.0, 0.0)
    cell(draw_sequence())
    cell.advance(draw(F)[0], cell.initial_state(B))
    assert len(steps) == (0 if cell.has_kernel else T) + T + 1


def after_one_step(advance: Callable[..., State], cell: Cell) -> dict[str, Tensor]:
    """Return the state after one step, and the gradients of all weights, of the input and of the state before."""
    inputs = [part.requires_grad_() for part in draw(F, *[H] * cell.num_states)]
    after = advance(inputs[0], tuple(inputs[1:]))
    names = [*(name for name, _ in cell.named_parameters()), "input", *(f"state {number} before" for number in range(cell.num_states))]
    gradients = torch.autograd.grad(weighed(torch.stack(after)), [*cell.parameters(), *inputs])
    states = {f"state {number}": part.detach() for number, part in enumerate(after)}
    return {**states, **dict(zip(names, gradients, strict=True))}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_single_step_of_the_kernel_equals_the_written_out_one_and_so_do_all_gradients(name: str) -> None:
    cell = make_cell(name)
    written = after_one_step(cell.step, cell)
    assert all(expected.any() for expected in written.values())
    assert_same(after_one_step(cell.advance, cell), written)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_sequence_that_begins_with_a_state_is_the_same_at_once_and_step_by_step(name: str) -> None:
    cell, inputs_BTF = make_cell(name), draw_sequence()
    state = draw_state(cell)
    fused = outputs_and_gradients(lambda values: cell.forward(values, state), cell, inputs_BTF)
    assert_same(fused, outputs_and_gradients(lambda values: cell.unroll(values, state), cell, inputs_BTF))
    assert not torch.allclose(fused["outputs"], cell.forward(inputs_BTF))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_sequence_in_two_parts_is_the_sequence_where_the_second_begins_with_the_state_after_the_first(name: str) -> None:
    cell, inputs_BTF = make_cell(name), draw_sequence()
    state = cell.initial_state(B)
    for input_BF in inputs_BTF[:, :2].unbind(1):
        state = cell.advance(input_BF, state)
    torch.testing.assert_close(cell(inputs_BTF[:, 2:], state), cell(inputs_BTF)[:, 2:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_state_before_the_first_step_is_zero(name: str) -> None:
    state = make_cell(name).initial_state(B)
    assert [value.shape for value in state] == [(B, H)] * len(state)
    assert all(value.dtype == torch.float64 and not value.any() for value in state)


@pytest.mark.parametrize("name", VARIANTS)
def test_gates_are_named_and_are_what_the_step_used(name: str) -> None:
    cell = make_cell(name)
    (input_BF,), state = draw(F), draw_state(cell)
    gates = dict(zip(cell.gate_names, cell.gates(cell.project(input_BF), state, state[0]), strict=True))
    after = cell.step(input_BF, state)
    if "output" in gates:  # an LSTM: h = o tanh(c), or of the normalised c
        admitted = gates.get("input", 1 - gates["forget"])
        torch.testing.assert_close(after[1], gates["forget"] * state[1] + admitted * gates["candidate"])
    elif name == "mingru":
        torch.testing.assert_close(after[0], (1 - gates["update"]) * state[0] + gates["update"] * gates["candidate"])
    elif "update" in gates:
        torch.testing.assert_close(after[0], (1 - gates["update"]) * gates["candidate"] + gates["update"] * state[0])
    else:
        assert "candidate" not in gates  # what other gates do is for the cell's own test to say


def test_the_scan_of_a_thousand_steps_is_exact_and_so_is_its_gradient() -> None:
    torch.manual_seed(1)
    cell = build("mingru")
    inputs_BTF = 30 * torch.randn(B, 1000, F, dtype=torch.float64)  # gates from all but shut to all but open
    scanned = outputs_and_gradients(cell.forward, cell, inputs_BTF)
    assert_same(scanned, outputs_and_gradients(cell.unroll, cell, inputs_BTF), atol=1e-10)
    update = torch.sigmoid(cell.project(inputs_BTF)[..., :H])
    assert update.min() < 1e-6 and update.max() > 1 - 1e-6


@pytest.mark.parametrize("num_steps", range(1, 12))
def test_a_sequence_of_any_length_is_cut_into_stretches_that_fit(num_steps: int) -> None:
    cell, inputs_BTF = make_cell("mingru"), draw_sequence(num_steps)
    state = draw_state(cell)
    torch.testing.assert_close(cell(inputs_BTF, state), cell.unroll(inputs_BTF, state), rtol=0, atol=1e-12)


# How weights begin -----------------------------------------------------------------------------------------------------------------


def blocks(cell: Cell, start: str) -> list[Tensor]:
    """Return the weight matrices of each gate."""
    return [block for name, p in cell.kernel.named_parameters() if name.startswith(start) for block in p.detach().chunk(cell.num_gates)]


def biases(cell: Cell) -> Tensor:
    return torch.cat([p.detach() for name, p in cell.kernel.named_parameters() if name.startswith("bias")])


@pytest.mark.parametrize("name", VARIANTS)
def test_orthogonal_gives_each_gate_a_recurrent_matrix_of_its_own_that_keeps_lengths(name: str) -> None:
    cell = make_cell(name)
    cell.initialise("orthogonal")
    matrices = blocks(cell, "weight_hh")
    assert len(matrices) == (0 if name == "mingru" else cell.num_gates)
    for matrix in matrices:
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(H, dtype=torch.float64))
    assert all(not torch.equal(matrices[0], matrix) for matrix in matrices[1:])


@pytest.mark.parametrize("name", VARIANTS)
def test_identity_gives_each_gate_the_identity_as_recurrent_matrix(name: str) -> None:
    cell = make_cell(name)
    cell.initialise("identity")
    for matrix in blocks(cell, "weight_hh"):
        assert torch.equal(matrix, torch.eye(H, dtype=torch.float64))


@pytest.mark.parametrize(("initialisation", "bound"), [(name, sqrt(6 / (F + H))) for name in ("xavier", "orthogonal", "identity")])
@pytest.mark.parametrize("name", VARIANTS)
def test_all_but_uniform_and_kaiming_begin_with_zero_biases_and_input_matrices_within_glorots_bound(
    name: str, initialisation: Initialisation, bound: float
) -> None:
    cell = make_cell(name)
    cell.initialise(initialisation)
    assert not biases(cell).any()
    largest = max(matrix.abs().max().item() for matrix in blocks(cell, "weight_ih"))
    assert 0.8 * bound < largest <= bound  # a bound taken over all gates at once would be smaller


@pytest.mark.parametrize("name", VARIANTS)
def test_xavier_draws_each_gates_recurrent_matrix_within_glorots_bound(name: str) -> None:
    cell = make_cell(name)
    cell.initialise("xavier")
    for matrix in blocks(cell, "weight_hh"):
        assert 0.5 * sqrt(6 / (H + H)) < matrix.abs().max() <= sqrt(6 / (H + H))


@pytest.mark.parametrize("name", VARIANTS)
def test_kaiming_draws_every_matrix_within_hes_bound_and_leaves_biases_zero(name: str) -> None:
    cell = make_cell(name)
    cell.initialise("kaiming")
    assert not biases(cell).any()
    for start, num_inputs in (("weight_ih", F), ("weight_hh", H)):
        for matrix in blocks(cell, start):
            assert 0.5 * sqrt(6 / num_inputs) < matrix.abs().max() <= sqrt(6 / num_inputs)


@pytest.mark.parametrize(("name", "theirs"), [("srnn", nn.RNN), ("gru", nn.GRU), ("lstm", nn.LSTM), ("gru reset=before", nn.GRU)])
def test_uniform_is_what_pytorch_draws_itself(name: str, theirs: Callable[[int, int], nn.RNNBase]) -> None:
    cell = make_cell(name)
    cell.initialise("identity")
    torch.manual_seed(7)
    cell.initialise("uniform")
    kernel = theirs(F, H).double()
    torch.manual_seed(7)
    kernel.reset_parameters()
    for ours, drawn in zip(cell.kernel.parameters(), kernel.parameters(), strict=True):
        assert torch.equal(ours, drawn)
    assert biases(cell).abs().max() <= 1 / sqrt(H)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("initialisation", get_args(Initialisation))
def test_initialising_again_leaves_nothing_of_what_was(name: str, initialisation: Initialisation) -> None:
    one, other = make_cell(name), build(name)
    for cell in (one, other):
        torch.manual_seed(8)
        cell.initialise(initialisation)
    for found, expected in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(found, expected)


def test_an_irnn_begins_as_its_own_memory_unless_told_otherwise() -> None:
    cell = build("irnn", hidden_size=64)
    cell.initialise("uniform")
    state = (torch.rand(B, 64, dtype=torch.float64),)
    assert torch.equal(cell.step(torch.zeros(B, F, dtype=torch.float64), state)[0], state[0])
    assert cell.weight("weight_ih").std().item() == pytest.approx(0.001, rel=0.2)
    forgetful = build("irnn scale=0.01")
    forgetful.initialise("uniform")
    assert torch.equal(forgetful.weight("weight_hh"), 0.01 * torch.eye(H, dtype=torch.float64))
    forgetful.initialise("orthogonal")
    matrix = forgetful.weight("weight_hh")
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(H, dtype=torch.float64))


def summed_biases(cell: Cell) -> tuple[Tensor, ...]:
    """Return for each gate the sum of both biases."""
    return (cell.weight("bias_ih") + cell.weight("bias_hh")).detach().chunk(cell.num_gates)


@pytest.mark.parametrize("name", LSTMS)
@pytest.mark.parametrize("initialisation", ["uniform", "orthogonal"])
def test_a_forget_bias_is_the_sum_of_both_and_touches_nothing_else(name: str, initialisation: Initialisation) -> None:
    cell, plain = build(f"{name} forget_bias=1.5"), build(name)
    for each in (cell, plain):
        torch.manual_seed(2)
        each.initialise(initialisation)
    forget = cell.gate_names.index("forget")
    for gate, (found, drawn) in enumerate(zip(summed_biases(cell), summed_biases(plain), strict=True)):
        assert torch.equal(found, torch.full_like(drawn, 1.5) if gate == forget else drawn)
    assert torch.equal(cell.weight("weight_hh"), plain.weight("weight_hh"))
    inputs = torch.zeros(1, F, dtype=torch.float64)
    forgets = cell.gates(cell.project(inputs), cell.initial_state(1), cell.initial_state(1)[0])[forget]
    if name != "lstm_layer_norm":  # whose norm of zeros is zero, too
        torch.testing.assert_close(forgets, torch.full_like(forgets, 0.8175744761936437))  # 1 / (1 + e^-1.5)


@pytest.mark.parametrize("name", ["gru", *LSTMS])
def test_chrono_spreads_the_times_after_which_gates_forget_evenly_up_to_the_longest(name: str) -> None:
    cell = build(f"{name} chrono=50", hidden_size=700)
    cell.initialise("xavier")
    by_name = dict(zip(cell.gate_names, summed_biases(cell), strict=True))
    keeps = by_name["update" if name == "gru" else "forget"]
    times = keeps.exp()  # of U(1, 49): mean 25, standard deviation 48 / sqrt(12)
    assert 1 <= times.min() < 1.5 and 48.5 < times.max() <= 49
    assert times.mean().item() == pytest.approx(25, abs=1.5)
    assert times.std().item() == pytest.approx(48 / sqrt(12), abs=1)
    assert keeps.max() <= log(49)
    if "input" in by_name:
        assert torch.equal(by_name["input"], -keeps)
    assert not any(bias.any() for gate, bias in by_name.items() if gate not in ("update", "forget", "input"))


@pytest.mark.parametrize("name", LSTMS)
def test_forget_bias_and_chrono_together_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^cell.forget_bias=1.0 and cell.chrono=9 both set the forget gate's bias: give one of them$"):
        build(f"{name} forget_bias=1.0 chrono=9")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("lstm chrono=2", r"^cell.chrono=2 is not allowed: it should be greater than or equal to 3"),
        ("gru reset=never", r"^cell.reset=never is not allowed. Allowed: after, before$"),
        (
            "srnn activation=swish",
            r"^cell.activation=swish is not allowed.* Allowed: tanh, relu, sigmoid, leaky_relu, prelu, selu, identity$",
        ),
    ],
)
def test_a_wrong_key_of_a_cell_is_refused_with_what_is_allowed(words: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(words)


def test_what_a_cell_takes_by_default_is_what_its_file_says() -> None:
    for name, made in (("gru", GRUCell(F, H)), ("lstm", LSTMCell(F, H))):
        node = yaml.safe_load((CONF / "cell" / f"{name}.yaml").read_text(encoding="utf-8"))
        assert {key: getattr(made, key) for key in node if key != "_target_"} == {k: v for k, v in node.items() if k != "_target_"}


def test_names_of_weights_are_those_of_checkpoints_written_before_there_were_variants() -> None:
    names = ["kernel.weight_ih_l0", "kernel.weight_hh_l0", "kernel.bias_ih_l0", "kernel.bias_hh_l0"]
    for cell in (SRNNCell(F, H, "tanh"), SRNNCell(F, H, "relu"), SRNNCell(F, H, "sigmoid"), GRUCell(F, H), LSTMCell(F, H)):
        assert list(cell.state_dict()) == names


# What acts within a step -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["recurrent_dropout", "zoneout"])
@pytest.mark.parametrize("name", [*WITH_KERNEL, "mingru"])
def test_what_acts_within_a_step_is_refused_on_a_kernel_with_what_to_type(name: str, key: str) -> None:
    cell = make_cell(name)
    message = rf"^model.recurrence.{key}=0.25 acts within each step, and cell={name.split()[0]} .*set model.recurrence.backend=reference,"
    with pytest.raises(ValueError, match=message):
        cell.run_with("fused", *((0.25, 0.0) if key == "recurrent_dropout" else (0.0, 0.25)))


def test_recurrent_dropout_is_refused_where_the_state_enters_no_product() -> None:
    message = r"^model.recurrence.recurrent_dropout=0.25: in cell=mingru the hidden state enters no product .* model.recurrence.zoneout$"
    with pytest.raises(ValueError, match=message):
        make_cell("mingru").run_with("reference", 0.25, 0.0)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "mingru"])
def test_recurrent_dropout_is_one_mask_for_all_steps_on_what_enters_the_products_and_on_nothing_else(name: str) -> None:
    cell, inputs_BTF = make_cell(name), draw_sequence()
    cell.run_with("reference", 0.5, 0.0)
    torch.manual_seed(4)
    found = cell(inputs_BTF)
    torch.manual_seed(4)
    kept_BH = torch.nn.functional.dropout(torch.ones(B, H, dtype=torch.float64), 0.5)
    assert 0 < kept_BH.count_nonzero() < B * H
    state = cell.initial_state(B)
    for step in range(T):
        state = cell.transition(cell.project(inputs_BTF[:, step]), state, kept_BH * state[0])
        torch.testing.assert_close(found[:, step], state[0])
    torch.testing.assert_close(cell.eval()(inputs_BTF), make_cell(name)(inputs_BTF))


@pytest.mark.parametrize("name", VARIANTS)
def test_zoneout_keeps_numbers_of_the_state_while_training_and_their_expectation_while_testing(name: str) -> None:
    cell = make_cell(name)
    cell.run_with("reference", 0.0, 0.25)
    with torch.no_grad():
        cell.weight("bias_ih").add_(2)  # so that rectified units live
    many = torch.randn(1, 2, F, dtype=torch.float64).expand(4000, 2, F)
    torch.manual_seed(4)
    first, second = cell.train()(many).unbind(1)
    plain = cell.step(many[:1, 0], cell.initial_state(1))[0]
    is_kept = first == 0
    torch.testing.assert_close(first, torch.where(is_kept, 0, plain))
    (lives,) = (plain[0] != 0).nonzero(as_tuple=True)
    assert len(lives) and is_kept[:, lives].double().mean().item() == pytest.approx(0.25, abs=0.03)
    assert (second == first)[first != 0].double().mean().item() == pytest.approx(0.25, abs=0.03)
    tested = cell.eval()(many[:1])
    torch.testing.assert_close(tested[:, 0], 0.75 * plain)
    state = tuple(0.75 * part for part in cell.step(many[:1, 0], cell.initial_state(1)))
    after = cell.step(many[:1, 1], state)
    torch.testing.assert_close(tested[:, 1], 0.25 * state[0] + 0.75 * after[0])


@pytest.mark.parametrize("dropout, zoneout", [(0.5, 0.0), (0.0, 0.5), (0.5, 0.5)])
def test_further_steps_move_neither_what_was_dropped_before_nor_what_others_draw(dropout: float, zoneout: float) -> None:
    cell, inputs_BTF = make_cell("lstm"), draw_sequence(9)
    cell.run_with("reference", dropout, zoneout)
    found = []
    for num_steps in (T, 9):
        torch.manual_seed(4)
        found.append((cell(inputs_BTF[:, :num_steps])[:, :T], torch.rand(3)))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-12)
    assert torch.equal(found[0][1], found[1][1])
