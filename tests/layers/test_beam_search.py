"""Claims about greedy and beam search, against a search of all sequences."""

import itertools

import pytest
import torch
from torch import Tensor

from rnnlab.contracts import START, STOP, Hypothesis
from rnnlab.layers.attention import Memory
from rnnlab.layers.beam_search import Decoding, Step, beam, greedy, search
from rnnlab.layers.decoder import DecoderState

NUM_WORDS = 7  # of which the first four are special
MOST = 4


def model(seed: int) -> Step:
    """Make a model whose next word depends on the last two words and on the input."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(9, NUM_WORDS, NUM_WORDS, NUM_WORDS, generator=generator).mul(1.5).log_softmax(-1)

    def step(tokens_N: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        kind_N, before_N = (part[:, 0].long() for part in state.parts)
        return table[kind_N, before_N, tokens_N], DecoderState(state.memory, (state.parts[0], tokens_N[:, None].float()))

    return step


def first(kinds: list[int]) -> DecoderState:
    """Begin inputs of these kinds."""
    size = len(kinds)
    memory = Memory(torch.zeros(size, 0, 1), torch.zeros(size, 0, 1), torch.zeros(size, 0, dtype=torch.bool))
    return DecoderState(memory, (torch.tensor(kinds).float()[:, None], torch.full((size, 1), float(START))))


def score_of(step: Step, kind: int, tokens: list[int], is_stopped: bool = True) -> float:
    """Return the log-probability of tokens and the stop."""
    state, last, total = first([kind]), START, 0.0
    for token in [*tokens, STOP] if is_stopped else tokens:
        log_probs, state = step(torch.tensor([last]), state)
        total += float(log_probs[0, token])
        last = token
    return total


def everything(step: Step, kind: int, penalty: float) -> list[Hypothesis]:
    """Return all hypotheses that stop in time, best first."""
    found = []
    for length in range(MOST):
        for tokens in itertools.product(range(4, NUM_WORDS), repeat=length):
            found.append(Hypothesis(list(tokens), score_of(step, kind, list(tokens)) / (length + 1) ** penalty))
    return sorted(found, key=lambda hypothesis: -hypothesis.score)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_beam_of_one_is_greedy(seed: int, penalty: float) -> None:
    step, kinds = model(seed), list(range(9))
    simple = greedy(step, first(kinds), MOST, penalty)
    narrow = beam(step, first(kinds), MOST, 1, penalty)
    assert [found[0].tokens for found in narrow] == [hypothesis.tokens for hypothesis in simple]
    assert [found[0].score for found in narrow] == pytest.approx([hypothesis.score for hypothesis in simple], rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_greedy_takes_the_most_probable_word_at_each_step(seed: int) -> None:
    step = model(seed)
    for kind, found in enumerate(greedy(step, first(list(range(9))), MOST, 0.0)):
        state, last = first([kind]), START
        tokens: list[int] = []
        while len(tokens) < MOST:
            log_probs, state = step(torch.tensor([last]), state)
            last = max((STOP, *range(4, NUM_WORDS)), key=lambda token: float(log_probs[0, token]))
            if last == STOP:
                break
            tokens.append(last)
        assert found.tokens == tokens
        assert found.score == pytest.approx(score_of(step, kind, tokens, last == STOP), rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_beam_never_answers_worse_than_greedy(seed: int, penalty: float) -> None:
    step, kinds = model(seed), list(range(9))
    simple = greedy(step, first(kinds), MOST, penalty)
    for beam_size in (2, 3):
        found = search(step, first(kinds), MOST, Decoding(beam_size, penalty, 1))
        assert all(best[0].score >= other.score - 1e-9 for best, other in zip(found, simple, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_a_beam_as_wide_as_all_beginnings_finds_the_best_of_all(seed: int) -> None:
    step = model(seed)
    found = beam(step, first([0, 1]), MOST, 150, 0.0)
    for kind, hypotheses in enumerate(found):
        stopped = [h for h in sorted(hypotheses, key=lambda h: -h.score) if len(h.tokens) < MOST]
        wanted = everything(step, kind, 0.0)[:5]
        assert [h.tokens for h in stopped[:5]] == [h.tokens for h in wanted]
        assert [h.score for h in stopped[:5]] == pytest.approx([h.score for h in wanted], rel=1e-5)


@pytest.mark.parametrize("beam_size", [1, 2, 4])
def test_each_sentence_is_searched_as_if_it_were_alone(beam_size: int) -> None:
    step, decoding = model(1), Decoding(beam_size, 1.0, min(beam_size, 2))
    together = search(step, first(list(range(9))), MOST, decoding)
    for kind in range(9):
        (alone,) = search(step, first([kind]), MOST, decoding)
        assert [h.tokens for h in alone] == [h.tokens for h in together[kind]]


def test_the_best_come_first_and_none_twice() -> None:
    for found in search(model(2), first(list(range(9))), MOST, Decoding(4, 1.0, 4)):
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
        assert len({tuple(h.tokens) for h in found}) == len(found) >= 2


def test_special_words_are_never_said() -> None:
    for found in search(model(3), first(list(range(9))), MOST, Decoding(3, 0.0, 3)):
        assert all(token >= 4 for hypothesis in found for token in hypothesis.tokens)


def test_more_answers_than_the_beam_is_wide_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_best=3 is more than a beam of 2 finds: set model.decoding.beam_size=3 or more"):
        Decoding(2, 1.0, 3)
