"""Whether an exported program answers as the network does: over lengths, batch sizes and padding, in chunks and step by step."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from rnnlab.cells.scan import pytorchs_kernels
from rnnlab.contracts import IGNORED_TARGET, Batch, Copies, TagsWithIntent, valid_mask
from rnnlab.evaluation.programs import NetworkPart, PartName, encoded, first_state, random_inputs
from rnnlab.layers.decoder import DecoderState
from rnnlab.models.base import Network, SequenceModule
from rnnlab.models.seq2seq import Seq2Seq

Program = Callable[..., list[Tensor]]
TOLERANCE = 1e-5
TIMES_ROUNDING = 4
"""By how much two implementations may differ where each is off by the network's own rounding errors."""
SHAPES = ((1, 1), (3, 7), (64, 40), (2, 500))
"""Of the batches that are compared: sequences, and steps of the longest."""
FIRST_ENDS, CHUNK = (1, 2, 4, 9, 12), 64
"""Where the first chunks of steps end, and how many steps the later ones have."""
NUM_SAID = 9
"""Steps of a decoder that are compared."""


@dataclass(frozen=True)
class Agreement:
    """How far a program's answers are from the network's, relative to their scale.

    Args:
        difference: the largest; not a number where an answer is none.
        rounding: how far the network itself is from its answers in double precision, at most; 0 where nothing asked for it.
        is_close: whether each difference is within the tolerance, or no larger than the network's own rounding errors explain.
    """

    difference: float
    rounding: float
    is_close: bool


def compare(network: Network, part: NetworkPart, program: Program, shapes: tuple[tuple[int, int], ...] = SHAPES) -> Agreement:
    """Compare a part's answers with the network's on random batches of these shapes.

    The network answers by PyTorch's kernels, as the part does. Some recurrences amplify rounding errors, so that after some hundred steps
    no two implementations agree. What they may differ by is then measured: against the same network in double precision.
    """
    found, rounding, is_close = [0.0], 0.0, True
    with torch.no_grad(), pytorchs_kernels():
        for seed, (num, longest) in enumerate(shapes):
            lengths_B = torch.full((num,), longest)
            if part.name != "step":
                lengths_B[1:] = torch.randint(1, longest + 1, (num - 1,), generator=torch.Generator().manual_seed(seed))
            inputs = random_inputs(network.spec, lengths_B, seed)
            largest = float(torch.tensor(_differences(network, part, program, inputs, lengths_B, seed), dtype=torch.double).max())
            found.append(largest)  # NaN, if there is one
            if not largest <= TOLERANCE:
                own = _rounding(network, part, inputs, lengths_B)
                rounding, is_close = max(rounding, own), is_close and largest <= TIMES_ROUNDING * own
    return Agreement(float(torch.tensor(found, dtype=torch.double).max()), rounding, is_close)


def _differences(network: Network, part: NetworkPart, program: Program, inputs: Tensor, lengths_B: Tensor, seed: int) -> list[float]:
    if isinstance(network, Seq2Seq):
        return _of_seq2seq(network, part.name, program, inputs, lengths_B, seed)
    assert isinstance(network, SequenceModule)
    return _of_model(network, program, inputs, lengths_B) if part.name == "model" else _of_step(network, part, program, inputs)


def _rounding(network: Network, part: NetworkPart, inputs: Tensor, lengths_B: Tensor) -> float:
    """Return how far the network's answers are from those of its copy in double precision; 0 of a decoder, which goes few steps."""
    if part.name == "decoder":
        return 0.0
    answers = []
    for each in (network, deepcopy(network).double()):
        given = inputs.to(next(each.parameters()).dtype) if inputs.is_floating_point() else inputs
        if isinstance(each, SequenceModule):
            answers.append([each(given, lengths_B)])
        elif isinstance(each, Seq2Seq) and part.name == "encoder":
            answers.append([*encoded(each, each.read(_batch(given, lengths_B))[0])])
        elif isinstance(each, Seq2Seq):
            answers.append([cast(Tensor, each.predict(_batch(given, lengths_B)))])
    pairs = [pair for pair in zip(*answers, strict=True) if pair[0].is_floating_point()]
    return max(relative(own.double(), exact) for own, exact in pairs)


def _of_model(network: SequenceModule, program: Program, inputs: Tensor, lengths_B: Tensor) -> list[float]:
    """Compare all that a whole batch gives."""
    first, *rest = program(inputs, lengths_B)
    outputs, steps_B = network.with_lengths(inputs, lengths_B)
    found = [relative(first, outputs)]
    if network.crf is not None:
        found.append(_of_tags(network, rest.pop(0), outputs, lengths_B))
    if network.intent is not None:
        answer = network.predict(_batch(inputs, lengths_B))
        assert isinstance(answer, TagsWithIntent)
        found.append(relative(rest.pop(0), answer.intent_BK))
    return found + [relative(each, steps_B) for each in rest]


def _of_tags(network: SequenceModule, tags_BT: Tensor, scores_BTC: Tensor, lengths_B: Tensor) -> float:
    """Compare the scores of two sequences of tags: of equally good ones, rounding chooses."""
    crf = network.crf
    assert crf is not None
    best_BT, is_word_BT = crf.viterbi(scores_BTC, lengths_B), valid_mask(lengths_B, scores_BTC.shape[1])
    if tags_BT.shape != best_BT.shape or tags_BT[~is_word_BT].any():
        return float("inf")
    costs = [crf.negative_log_likelihood(scores_BTC, tags.where(is_word_BT, IGNORED_TARGET), lengths_B) for tags in (tags_BT, best_BT)]
    return relative(*costs)


def _of_step(network: SequenceModule, part: NetworkPart, program: Program, inputs: Tensor) -> list[float]:
    """Compare the answers after each chunk with those to all steps so far."""
    num, num_steps = inputs.shape[:2]
    whole = network(inputs, torch.full((num,), num_steps)) if network.pooling is None else None
    ends = sorted({end for end in (*FIRST_ENDS, *range(CHUNK, num_steps, CHUNK)) if end < num_steps} | {num_steps})
    state, found, begin = first_state(part, num), list[float](), 0
    for end in ends:
        answers, *state = program(inputs[:, begin:end], *state)
        if whole is None:
            found.append(relative(answers[:, -1], network(inputs[:, :end], torch.full((num,), end))))
        else:
            found.append(relative(answers, whole[:, begin:end]))
        begin = end
    return found


def _of_seq2seq(network: Seq2Seq, name: PartName, program: Program, inputs: Tensor, lengths_B: Tensor, seed: int) -> list[float]:
    random = torch.Generator().manual_seed(seed)
    batch, num_words, num = _batch(inputs, lengths_B), len(network.spec.label_names), len(lengths_B)
    if name == "model":
        wanted = network.predict(batch)
        assert isinstance(wanted, Tensor)
        return [relative(program(inputs, lengths_B)[0], wanted)]
    if network.has_copying:
        num_unknown = min(3, inputs.shape[1])
        numbers_BT = torch.randint(0, num_words + num_unknown, inputs.shape, generator=random)
        batch.copies = Copies(numbers_BT, torch.zeros(num, 0, dtype=torch.long), (tuple("abc"[:num_unknown]),) * num)
    state, _ = network.read(batch)
    begun = encoded(network, state)
    if name == "encoder":
        return [relative(*pair) for pair in zip(program(inputs, lengths_B), begun, strict=True)]
    return _of_decoder(network, program, state, begun, batch.copies, random)


def _of_decoder(
    network: Seq2Seq, program: Program, state: DecoderState, begun: tuple[Tensor, ...], copies: Copies | None, random: torch.Generator
) -> list[float]:
    """Let both say what is drawn, from the same beginning; compare what they would say, and at last their states."""
    num, has_attention = state.memory.size, network.attention != "none"
    num_memory = len(begun) - len(encoded(network, state, has_memory=False))
    memory, ours, found = begun[:num_memory], list(begun[num_memory:]), list[float]()
    copied = [copies.numbers] if copies is not None else []
    for _ in range(NUM_SAID):
        if network.spec.target_kind == "real":
            said = torch.randn(num, 1, generator=random)
            readout, _, state = network.decoder.step(network.entry(said), state)
            wanted = network.output(readout)
        else:
            said = torch.randint(2, network.output.out_features, (num,), generator=random)
            wanted, state = network.next_tokens(said, state)
        answer, *rest = program(said, *memory, *ours, *copied)
        ours = rest[has_attention:]
        size = wanted.shape[1]
        found.append(relative(answer[:, :size], wanted))
        if answer[:, size:].isfinite().any():  # words that no input has
            found.append(float("inf"))
    return found + [relative(*pair) for pair in zip(ours, encoded(network, state, has_memory=False), strict=True)]


def _batch(inputs: Tensor, lengths_B: Tensor) -> Batch:
    """Return a batch whose targets are unknown."""
    num = len(lengths_B)
    none_B0 = torch.full((num, inputs.shape[1]), IGNORED_TARGET)
    return Batch(inputs, lengths_B, none_B0, torch.zeros_like(lengths_B), torch.arange(num))


def relative(found: Tensor, wanted: Tensor) -> float:
    """Return the largest difference over the largest number, or over 1 where all are smaller; where infinities are no answer, infinity."""
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return float("inf")
    if not found.numel():
        return 0.0
    if not found.is_floating_point():
        return 0.0 if torch.equal(found, wanted) else float("inf")
    is_finite = wanted.isfinite()
    if not torch.equal(found[~is_finite], wanted[~is_finite]):
        return float("inf")
    scale = max(1.0, float(wanted[is_finite].abs().max())) if is_finite.any() else 1.0
    return float((found[is_finite].double() - wanted[is_finite].double()).abs().max() / scale) if is_finite.any() else 0.0
