"""The parts of a network as programs of plain tensors, which leave the laboratory: what each takes and gives.

model      a padded batch and its lengths -> what the network answers
step       the next steps of a sequence and a state -> answers after each of them, and the next state; networks of one direction
encoder    of seq2seq: a padded batch and its lengths -> what its decoder needs
decoder    of seq2seq: what was said last and a state -> the next, and the next state
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from rnnlab.contracts import START, UNKNOWN, Batch, DataSpec
from rnnlab.evaluation.loops import with_own_loops
from rnnlab.layers.attention import Memory
from rnnlab.layers.copying import mixed
from rnnlab.layers.decoder import DecoderState
from rnnlab.models.base import Network, SequenceModule, StreamState
from rnnlab.models.seq2seq import Seq2Seq

PartName = Literal["model", "step", "encoder", "decoder"]
Tensors = tuple[Tensor, ...]
TYPES = {"float32": torch.float32, "int64": torch.int64, "bool": torch.bool}
STATE, NEXT = "state_", "next_state_"
"""How names of states begin, going in and coming out."""


@dataclass(frozen=True)
class Port:
    """One tensor that goes into a program or comes out of it.

    Args:
        name: of the tensor.
        axes: the names of its axes; a number where the size is fixed.
        type: `float32`, `int64` or `bool`.
        first: of a state, what fills it before the first step.
    """

    name: str
    axes: tuple[str | int, ...]
    type: str
    first: float | None = None


@dataclass(frozen=True)
class NetworkPart:
    """A part of a network.

    Args:
        name: what it is called, and its file.
        module: computes it from tensors alone.
        example: what it is traced with.
        inputs: what goes in, in order.
        outputs: what comes out, in order.
    """

    name: PartName
    module: nn.Module
    example: Tensors
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...] = field(default=())


def parts_of(network: Network) -> dict[PartName, NetworkPart]:
    """Return all parts that a network has."""
    looped = with_own_loops(network)
    if isinstance(looped, Seq2Seq):
        return _of_seq2seq(looped)
    assert isinstance(looped, SequenceModule)
    found: dict[PartName, NetworkPart] = {"model": _whole(looped)}
    if not why_not(network, "step"):
        found["step"] = _step(looped)
    return found


def names_of(network: Network) -> list[PartName]:
    """Return the names of all parts that a network has."""
    return [name for name in get_args(PartName) if not why_not(network, name)]


def why_not(network: Network, name: PartName) -> str:
    """Say why a network has no such part, and which it has instead; empty where it has it."""
    if isinstance(network, Seq2Seq):
        if name == "step":
            return (
                "model=seq2seq reads its whole input before it answers. A step of its answer is part=decoder, which goes on from what "
                "part=encoder gives"
            )
        if name == "model" and network.spec.target_kind == "tokens":
            return "model=seq2seq says as many tokens as it likes, which a search chooses: take part=encoder and part=decoder"
        return ""
    assert isinstance(network, SequenceModule)
    if name in ("encoder", "decoder"):
        return f"model={type(network).__name__.lower()} has no such part, which only model=seq2seq has: take part=model"
    if name == "step" and network.crf is not None:
        return "model.head.has_crf=true chooses the tags of a sentence together, so that a tag depends on later words: take part=model"
    if name == "step" and network.intent is not None:
        return "the intent is that of a whole sentence, which no step knows: take part=model"
    return network.needs_all_steps if name == "step" else ""


# Examples -----------------------------------------------------------------------------------------------------------------------------


def random_inputs(spec: DataSpec, lengths_B: Tensor, seed: int) -> Tensor:
    """Return a padded batch of random inputs of the longest of these lengths: (B, T, F), (B, T) or (B, T, 1 + L)."""
    random = torch.Generator().manual_seed(seed)
    num, longest = len(lengths_B), int(lengths_B.max())
    is_step_BT = torch.arange(longest)[None] < lengths_B[:, None]
    if spec.input_kind == "features":
        return torch.randn(num, longest, spec.input_size, generator=random) * is_step_BT[..., None]
    words_BT = torch.randint(1, spec.input_size, (num, longest), generator=random) * is_step_BT
    if not spec.num_characters:
        return words_BT
    letters_BTL = torch.randint(1, spec.num_characters, (num, longest, 7), generator=random)
    num_letters_BT = torch.randint(1, 8, (num, longest), generator=random)
    letters_BTL = letters_BTL * (torch.arange(7) < num_letters_BT[..., None]) * is_step_BT[..., None]
    return torch.cat([words_BT[..., None], letters_BTL], -1)


def input_port(spec: DataSpec) -> Port:
    """Describe a padded batch."""
    if spec.input_kind == "features":
        return Port("inputs", ("batch", "time", spec.input_size), "float32")
    return Port("inputs", ("batch", "time", "word_and_characters") if spec.num_characters else ("batch", "time"), "int64")


LENGTHS = Port("lengths", ("batch",), "int64")
EXAMPLE_LENGTHS = (7, 5, 2)


def _example(network: Network) -> tuple[Tensor, Tensor]:
    lengths_B = torch.tensor(EXAMPLE_LENGTHS)
    return random_inputs(network.spec, lengths_B, 0), lengths_B


# Networks that answer by a head -------------------------------------------------------------------------------------------------------


class _Whole(nn.Module):
    """Answer a padded batch."""

    def __init__(self, network: SequenceModule) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, lengths_B: Tensor) -> Tensor | Tensors:
        values, steps_B = self.network.layer(*self.network.frontend(inputs, lengths_B))
        found = [self.network.read_out(values, steps_B)]
        if self.network.crf is not None:
            found.append(self.network.get_submodule("crf")(found[0], steps_B))  # `loops` put a search in its place
        if self.network.intent is not None:
            found.append(self.network.intent(values, steps_B))
        if self.network.is_ctc:
            found.append(steps_B)
        return tuple(found) if len(found) > 1 else found[0]


def answer_name(network: Network) -> str:
    """Name what the last layer gives."""
    return "forecasts" if network.spec.target_kind == "real" else "log_odds"


def _whole(network: SequenceModule) -> NetworkPart:
    task, name = network.task, answer_name(network)
    if task.is_per_step:
        outputs = [Port(name, ("batch", "time", task.output_size), "float32")]
    elif network.is_ctc:
        outputs = [Port(name, ("batch", "frame", task.output_size), "float32")]
    else:
        outputs = [Port(name, ("batch", task.output_size), "float32")]
    if network.crf is not None:
        outputs.append(Port("tags", ("batch", "time"), "int64"))
    if network.intent is not None:
        outputs.append(Port("intent_log_odds", ("batch", len(network.spec.intents)), "float32"))
    if network.is_ctc:
        outputs.append(Port("frame_lengths", ("batch",), "int64"))
    return NetworkPart("model", _Whole(network), _example(network), (input_port(network.spec), LENGTHS), tuple(outputs))


class _Stepwise(nn.Module):
    """Read sequences on from a state, whose parts are tensors in one row; those without a number in them are left out."""

    def __init__(self, network: SequenceModule, state: StreamState) -> None:
        super().__init__()
        self.network = network
        kinds = [state.frontend or (), state.layer or (), state.pooling or ()]
        self.counts = [len(kind) for kind in kinds]
        self.empty = [part[:1] if not part.numel() else None for kind in kinds for part in kind]

    def flat(self, state: StreamState) -> list[Tensor]:
        """Return a state's parts that hold a number."""
        parts = [*(state.frontend or ()), *(state.layer or ()), *(state.pooling or ())]
        return [part for part, empty in zip(parts, self.empty, strict=True) if empty is None]

    def forward(self, inputs: Tensor, *given: Tensor) -> Tensors:
        left = list(given)
        parts = [left.pop(0) if none is None else none.expand(inputs.shape[0], *none.shape[1:]) for none in self.empty]
        first, second = self.counts[0], self.counts[0] + self.counts[1]
        outputs, after = self.network.stream(inputs, StreamState(tuple(parts[:first]), tuple(parts[first:second]), tuple(parts[second:])))
        return outputs, *self.flat(after)


@torch.no_grad()
def _step(network: SequenceModule) -> NetworkPart:
    inputs, _ = _example(network)
    _, short = network.stream(inputs[:, :1])
    _, long = network.stream(inputs[:, :2])
    module = _Stepwise(network, short)
    num_pooling, flat = len(short.pooling or ()), module.flat(short)
    firsts = [0.0] * (len(flat) - num_pooling) + (network.pooling.first_fills if network.pooling is not None else [])
    states = [
        Port(f"{STATE}{number}", _axes(before, after), str(before.dtype).removeprefix("torch."), first)
        for number, (before, after, first) in enumerate(zip(flat, module.flat(long), firsts, strict=True))
    ]
    outputs = Port(answer_name(network), ("batch", "time", network.output.out_features), "float32")
    following = [Port(f"{NEXT}{number}", port.axes, port.type) for number, port in enumerate(states)]
    given = input_port(network.spec)
    return NetworkPart("step", module, (inputs, *flat), (given, *states), (outputs, *following))


def first_state(part: NetworkPart, num: int) -> list[Tensor]:
    """Return the state before the first step of so many sequences."""
    sizes = {"batch": num, "seen": 0}
    states = [port for port in part.inputs if port.name.startswith(STATE)]
    shapes = [[axis if isinstance(axis, int) else sizes[axis] for axis in port.axes] for port in states]
    return [torch.full(shape, port.first or 0.0, dtype=TYPES[port.type]) for port, shape in zip(states, shapes, strict=True)]


def _axes(before: Tensor, after: Tensor) -> tuple[str | int, ...]:
    """Name the axes of a state; one that grows with the steps that were read is `seen`."""
    sizes = zip(before.shape[1:], after.shape[1:], strict=True)
    return ("batch", *(size if size == later else "seen" for size, later in sizes))


# Sequence to sequence -----------------------------------------------------------------------------------------------------------------


class _Answer(nn.Module):
    """Answer a padded batch with the scores of labels or with numbers, the decoder's steps included."""

    def __init__(self, network: Seq2Seq) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, lengths_B: Tensor) -> Tensor:
        found = self.network.predict(Batch(inputs, lengths_B, lengths_B, lengths_B, lengths_B))
        assert isinstance(found, Tensor)
        return found


class _Encode(nn.Module):
    """Read a padded batch; return what is looked at, then the decoder's state."""

    def __init__(self, network: Seq2Seq) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, lengths_B: Tensor) -> Tensors:
        network = self.network
        values, steps_B = network.frontend(inputs, lengths_B)
        values_BTM, finals = network.recurrence.with_final_states(values, steps_B)
        return encoded(network, network.decoder.begin(values_BTM, steps_B, network.bridge(finals)))


class _Decode(nn.Module):
    """Say the next token or number; return also where that looked, then the next state."""

    def __init__(self, network: Seq2Seq, num_memory: int) -> None:
        super().__init__()
        self.network, self.num_memory = network, num_memory

    def forward(self, said: Tensor, *given: Tensor) -> Tensors:
        network, decoder = self.network, self.network.decoder
        looked_at, left = given[: self.num_memory], list(given[self.num_memory :])
        copies = left.pop() if network.has_copying else None
        coverage = left.pop() if decoder.has_coverage else None
        if not decoder.settings.has_input_feeding:
            left.append(said.new_zeros(said.shape[0], decoder.readout_size, dtype=torch.float))
        num_words = len(network.spec.label_names)
        entering = network.entry(said if copies is None else said.masked_fill(said >= num_words, UNKNOWN))
        readout_NR, looked, state = decoder.step(entering, DecoderState(_memory(decoder.kind, looked_at, left[0]), tuple(left), coverage))
        found: Tensor = network.output(readout_NR)
        if network.spec.target_kind != "real":
            found = found.log_softmax(-1)
        if looked is not None and looked.gate is not None and copies is not None:
            found = mixed(found, looked.gate, looked.weights, copies, num_words + copies.shape[1])
        return found, *(() if looked is None else (looked.weights,)), *encoded(network, state, has_memory=False)


def encoded(network: Seq2Seq, state: DecoderState, has_memory: bool = True) -> Tensors:
    """Return a decoder's state as tensors, what it looks at first; the last readout is there only where it enters the next step."""
    memory = state.memory
    keys = () if network.attention == "luong_dot" else (memory.keys,)
    looked_at = (memory.values, *keys, memory.is_padding) if has_memory and network.attention != "none" else ()
    parts = state.parts if network.decoder.settings.has_input_feeding else state.parts[:-1]
    return *looked_at, *parts, *(() if state.coverage is None else (state.coverage,))


def _memory(kind: str, parts: Tensors, state_NH: Tensor) -> Memory:
    """Make the memory of the tensors that `encoded` returns first."""
    if kind == "none":
        nothing_NT0 = state_NH[:, None, :0]
        return Memory(nothing_NT0, nothing_NT0, state_NH[:, :0].bool())
    return Memory(parts[0], parts[0] if kind == "luong_dot" else parts[1], parts[-1])


@torch.no_grad()
def _of_seq2seq(network: Seq2Seq) -> dict[PartName, NetworkPart]:
    for cell in network.decoder.cells:
        cell.backend = "reference"  # written out: the exporter does not know PyTorch's single steps
    spec, decoder = network.spec, network.decoder
    example, found = _example(network), dict[PartName, NetworkPart]()
    if spec.target_kind != "tokens":
        outputs = Port(answer_name(network), ("batch", network.task.output_size), "float32")
        found["model"] = NetworkPart("model", _Answer(network), example, (input_port(spec), LENGTHS), (outputs,))
    encode = _Encode(network)
    begun = encode(*example)
    num_memory = {"none": 0, "luong_dot": 2}.get(network.attention, 3)
    memory = ["memory", *(["keys"] if num_memory == 3 else []), "is_padding"] if num_memory else []
    num_states = len(begun) - num_memory - decoder.has_coverage
    ports = [Port(name, ("batch", "frame", *map(int, part.shape[2:])), _type(part)) for name, part in zip(memory, begun, strict=False)]
    states = [Port(f"{STATE}{n}", ("batch", int(part.shape[1])), "float32") for n, part in enumerate(begun[num_memory:][:num_states])]
    states += [Port(f"{STATE}{num_states}", ("batch", "frame"), "float32")] if decoder.has_coverage else []
    found["encoder"] = NetworkPart("encoder", encode, example, (input_port(spec), LENGTHS), (*ports, *states))
    is_real, num = spec.target_kind == "real", len(EXAMPLE_LENGTHS)
    said = Port("number", ("batch", 1), "float32", 0.0) if is_real else Port("token", ("batch",), "int64", START)
    given = torch.zeros(num, 1) if is_real else torch.full((num,), START)
    copies = [Port("copies", ("batch", "frame"), "int64")] if network.has_copying else []
    copied = [torch.full(begun[0].shape[:2], len(spec.label_names) - 1)] if network.has_copying else []
    size: str | int = "extended" if network.has_copying else network.output.out_features
    outputs_of = [Port("forecasts" if is_real else "log_probabilities", ("batch", size), "float32")]
    outputs_of += [Port("attention", ("batch", "frame"), "float32")] if num_memory else []
    following = [Port(f"{NEXT}{n}", port.axes, port.type) for n, port in enumerate(states)]
    part = _Decode(network, num_memory)
    found["decoder"] = NetworkPart("decoder", part, (given, *begun, *copied), (said, *ports, *states, *copies), (*outputs_of, *following))
    return found


def _type(part: Tensor) -> str:
    return str(part.dtype).removeprefix("torch.")
