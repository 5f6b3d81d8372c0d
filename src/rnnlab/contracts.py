"""What the rooms of rnnlab say to each other: one batch, and what a data set is.

Axis letters that end tensor names:

    B batch   T time   F features   H hidden   C classes   S target time   V vocabulary   D dimensions of a real target
    N hypotheses of all sentences   Q quantiles   A attention's hidden size

Padding convention: a sequence of length n fills positions 0..n-1 of the time axis; positions from n on hold zeros and never
change a result.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

InputKind = Literal["features", "tokens"]
TargetKind = Literal["class", "class_per_step", "labels_per_step", "real", "tokens"]
Goal = Literal["transcribe", "translate", "summarise", "pronounce", "continue"]
Joined = Literal["words", "pieces", "moses", "characters"]
Link = Literal["identity", "exp"]
Scheme = Literal["plain", "bio", "bioes"]


@dataclass(frozen=True)
class DataSpec:
    """Describe a data set to whoever builds a model for it.

    Args:
        name: the data's name, as in `data=NAME`.
        input_kind: `features` (float, B T F) or `tokens` (int64, B T).
        input_size: F, or the size of the vocabulary.
        target_kind: `class` (int64, B), `class_per_step` (int64, B T, padded with -1), `labels_per_step` (float, B T C, 1 where a label
            holds and 0 where not; steps from `target_lengths` on never count), `real` (float64, B D) or `tokens` (int64, B S, padded with
            0, neither start nor end in it).
        target_size: number of classes or labels, D, or V, the size of the target's vocabulary.
        label_names: one name per class or label, in order; for `real` one name per dimension; for `tokens` the vocabulary, `SPECIALS`
            first.
        class_counts: examples per class in the training split, of labels steps on which each holds (empty for `real`).
        step_ms: duration of one input step in milliseconds, where steps are time.
        feature_names: one name per input feature, where they have names.
        link: how a forecast is read (`real` only): `identity`, or `exp` for targets that are positive.
        unit: of the target, e.g. `%`.
        goal: what sequences of tokens are asked for, which says how they are scored (`tokens`; `continue` of a language model, whose
            targets are a `class_per_step`: the token that follows).
        joined: how tokens become text: `words` (a blank between), `pieces` (nothing between, `▁` is a blank), `characters` (nothing
            between) or `moses` (words put together by the rules of `target_language`).
        target_language: as sacreBLEU and Moses name it (en, de, zh, ...); empty where it means nothing.
        max_target_length: tokens in the longest training target.
        is_monotonic: whether targets come in the order of the inputs, so that CTC can train them.
        is_joint: whether inputs and targets share one vocabulary.
        can_copy: whether inputs are texts of which answers may copy words, and batches say how (see `Copies`).
        metric: what chooses and compares, where it is not the task's own: `loss` (classes only), in nats per answer.
        solved_at: the value of that metric (or the task's own) beyond which the task counts as solved, where there is such a one.
        memoryless: the best answer of somebody who sees no input, where it is known exactly, as runs of (steps, answer), one run of one
            step where there is one answer a sequence; an answer is D numbers or the probabilities of C classes.
        is_causal: whether a step's targets are inputs of later steps, so that only a model that never looks ahead can answer them.
        is_scaled_apart: whether several series of real targets have scales of their own, so that errors are compared in units of each.
        is_stream: whether batches are parts of long streams, which a network reads on from the state that the last batch left.
        is_ragged: whether sequences of named features have different lengths (windows of series, which are named too, have one).
        num_label_steps: of labels at every step, how many steps of training `class_counts` were counted on (0: they were not).
        horizons: of forecasts of a series' own values, how many steps ahead each dimension lies; batches then have a `Past`.
        is_path: whether these are all steps from the next to a last one, one forecast: told, scored and drawn as a whole.
        season: steps after which values repeat, such as 24 of hours (0: unknown); beyond the first step of a season nothing repeats.
        scheme: of tags (a `class_per_step` for each word), whether they are `plain` or mark entities as `bio` or `bioes` (see `spans_of`);
            None: the classes are no tags.
        ranks: of the event that comes next (a `class_per_step`): for which k the hits among the k most probable are told (empty: the
            classes are no such events). Inputs and targets share one vocabulary, whose padding and unknown events are never predicted.
        num_characters: size of the alphabet where tokens come with their characters: inputs are (B, T, 1 + L), each token's number and
            those of its characters, padded with 0 (0: tokens come alone).
        intents: of tags, the names of the classes of whole sentences, where each has such a class as a second target (none: it has not).
        intent_counts: sentences per intent in the training split.
    """

    name: str
    input_kind: InputKind
    input_size: int
    target_kind: TargetKind
    target_size: int
    label_names: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    step_ms: float | None = None
    feature_names: tuple[str, ...] = ()
    link: Link = "identity"
    unit: str = ""
    goal: Goal | None = None
    joined: Joined = "words"
    target_language: str = ""
    max_target_length: int = 0
    is_monotonic: bool = False
    is_joint: bool = False
    can_copy: bool = False
    metric: Literal["loss"] | None = None
    solved_at: float | None = None
    memoryless: tuple[tuple[int, tuple[float, ...]], ...] = ()
    is_causal: bool = False
    is_scaled_apart: bool = False
    is_stream: bool = False
    is_ragged: bool = False
    num_label_steps: int = 0
    horizons: tuple[int, ...] = ()
    is_path: bool = False
    season: int = 0
    scheme: Scheme | None = None
    ranks: tuple[int, ...] = ()
    num_characters: int = 0
    intents: tuple[str, ...] = ()
    intent_counts: tuple[int, ...] = ()


@dataclass
class Reference:
    """Say for each example how a standardised output becomes a forecast, and what is forecast without any model.

    forecast = link(offset + scale * output); offset and scale come from the past and from training statistics alone.

    Args:
        offset: (B, D) float64: a level may be large beside its changes, and single precision has seven digits.
        scale: (B, D) float64, positive.
        persistence: (B, D) float64, in the target's unit: the forecast that the last value goes on.
    """

    offset: Tensor
    scale: Tensor
    persistence: Tensor


@dataclass
class Past:
    """Say what baselines of a series' own values read: the values themselves, and the clock.

    Args:
        values: (B, T) float64, the target's values in its own unit up to the time of the forecast, gaps filled.
        time: (B,) int64, the time of the forecast, in microseconds since 1970.
        step: (B,) int64, microseconds from one row to the next, as most rows have it.
        series: (B,) int64, the number of the series among those of the run; -1 for one that the run never saw.
        season_error: (B,) float64, mean absolute error of repeating the last season over the series' training part (0: unknown).
    """

    values: Tensor
    time: Tensor
    step: Tensor
    series: Tensor
    season_error: Tensor


@dataclass
class Copies:
    """Say of each input token which token of the target it is, where an answer may copy it.

    Numbers below V are those of the target's vocabulary. The words of an input that it lacks are numbered V, V + 1, ..., each input for
    itself, in the order of their first appearance (See et al. 2017: the extended vocabulary).

    Args:
        numbers: (B, T) int64, of the inputs, padded with 0; where an input ends with a stop, so do these.
        targets: (B, S) int64, of the targets, padded with 0: as `Batch.targets`, but an unknown word has its number where the input has it.
        words: each input's unknown words: word k has the number V + k.
    """

    numbers: Tensor
    targets: Tensor
    words: tuple[tuple[str, ...], ...]


@dataclass
class Batch:
    """Hold one padded batch.

    Args:
        inputs: (B, T, F) float32 or (B, T) int64; of tokens with their characters (B, T, 1 + L) int64.
        input_lengths: (B,) int64, each 1..T.
        targets: see `DataSpec.target_kind`.
        target_lengths: (B,) int64; 1 for one target per sequence; of targets at every step, how many are known.
        example_ids: (B,) int64, row in the data module's table of examples.
        reference: of real targets, see `Reference`.
        references: of token targets, each example's right answers as text, one at least (None while training: nothing is scored).
        copies: of data whose answers may repeat words of the input, see `Copies`.
        whole_size: number of sequences of the whole batch, where this is one process's share of it (None: this is the whole).
        is_continued: of streams, whether each sequence goes on where the same row of the last batch ended.
        past: of forecasts of a series' own values, see `Past`.
        intents: (B,) int64, the class of each whole sentence, -1 where it is unknown; None where sentences have none.
    """

    inputs: Tensor
    input_lengths: Tensor
    targets: Tensor
    target_lengths: Tensor
    example_ids: Tensor
    reference: Reference | None = None
    references: tuple[tuple[str, ...], ...] | None = None
    whole_size: int | None = None
    is_continued: bool = False
    past: Past | None = None
    copies: Copies | None = None
    intents: Tensor | None = None

    @property
    def size(self) -> int:
        """Number of sequences."""
        return len(self.input_lengths)

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device, in single precision where the device has no other (mps)."""
        moved = replace(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(moved, name, _moved(value, device))
        if self.reference is not None:
            moved.reference = Reference(*(_moved(value, device) for value in vars(self.reference).values()))
        if self.past is not None:
            moved.past = Past(*(_moved(value, device) for value in vars(self.past).values()))
        if self.copies is not None:
            moved.copies = replace(self.copies, numbers=self.copies.numbers.to(device), targets=self.copies.targets.to(device))
        return moved


def _moved(value: Tensor, device: torch.device) -> Tensor:
    is_too_wide = device.type == "mps" and value.dtype == torch.double
    return value.float().to(device) if is_too_wide else value.to(device)


@dataclass
class Hypothesis:
    """Hold one answer of tokens.

    Args:
        tokens: numbers of the target's vocabulary, neither start nor end in them; from its size on, of `words`.
        score: log-probability, divided by a power of the length where a search was asked to; higher is better.
        words: of the input, unknown to the vocabulary, that may have been copied (see `Copies.words`).
    """

    tokens: list[int]
    score: float
    words: tuple[str, ...] = ()


@dataclass
class Decoded:
    """Hold what a model answers with tokens.

    Args:
        hypotheses: of each example, best first, one at least.
        loss: mean over the target's tokens of -ln p (nats), or None where targets are unknown.
        num_counted: over how many tokens, where these are not all tokens and a stop each.
    """

    hypotheses: list[list[Hypothesis]]
    loss: Tensor | None = None
    num_counted: int | None = None


@dataclass
class TagPath:
    """Hold the best sequence of tags of each sentence, where a model chooses them together.

    Args:
        best_BT: (B, T) int64, 0 beyond a sentence's length; None where nothing was searched for.
        nll_B: -ln p of each sentence's tags (nats), or None where they are unknown.
    """

    best_BT: Tensor | None
    nll_B: Tensor | None


@dataclass
class TagsWithIntent:
    """Hold what a model says of a sentence's words, and of the sentence as a whole.

    Args:
        tags: log-odds of each word's tags, (B, T, C), or those that are chosen together.
        intent_BK: log-odds of the intents.
    """

    tags: Tensor | TagPath
    intent_BK: Tensor


IGNORED_TARGET = -1
PAD, UNKNOWN, START, STOP = range(4)
SPECIALS = ("<pad>", "<unk>", "<s>", "</s>")
"""The first words of every target vocabulary; CTC's blank is number 0."""


def valid_mask(lengths_B: Tensor, num_steps: int) -> Tensor:
    """Mark the steps that belong to each sequence: (B, T) bool, true at positions before the sequence's length."""
    return torch.arange(num_steps, device=lengths_B.device)[None, :] < lengths_B[:, None]


def is_full(lengths_B: Tensor, num_steps: int) -> bool:
    """Say whether no sequence has padding, where asking costs less than masking: not on a device, nor in a trace."""
    return (
        lengths_B.device.type == "cpu"
        and torch._C._get_tracing_state() is None
        and len(lengths_B) > 0
        and int(lengths_B.min()) >= num_steps
    )


def zero_padding(values_BTX: Tensor, lengths_B: Tensor) -> Tensor:
    """Zero what lies beyond each sequence's length (also NaN and infinity there); return the same tensor where nothing does."""
    if is_full(lengths_B, values_BTX.shape[1]):
        return values_BTX
    mask_BT1 = valid_mask(lengths_B, values_BTX.shape[1])[..., None]
    return values_BTX.masked_fill(~mask_BT1, 0)


class Span(NamedTuple):
    """An entity: its type, and the steps from `start` up to `end`, which is the first that is no part of it."""

    type: str
    start: int
    end: int


def spans_of(tags: Sequence[str]) -> list[Span]:
    """Read the entities of a sentence's tags, in BIO or BIOES, as conlleval and seqeval do (Tjong Kim Sang and Buchholz 2000).

    A tag is `O`, or a letter of B, I, E, S, a dash and a type. `I` and `E` go on with an entity of their type that `B` or `I` left open;
    everything else begins a new one, `I` without `B` too.
    """
    found: list[Span] = []
    is_open, before = False, ""
    for place, tag in enumerate(tags):
        letter, _, kind = tag.partition("-")
        if letter not in ("B", "I", "E", "S"):
            is_open = False
            continue
        if letter in ("I", "E") and is_open and kind == before:
            found[-1] = found[-1]._replace(end=place + 1)
        else:
            found.append(Span(kind, place, place + 1))
        is_open, before = letter in ("B", "I"), kind
    return found
