"""Counting language models, against a Kneser-Ney by the book on dictionaries, and counts by hand."""

from collections import Counter, defaultdict
from collections.abc import Callable
from math import log

import numpy as np
import pytest
import torch

from rnnlab.baselines.base import BaselineSettings
from rnnlab.baselines.language import stream_of
from rnnlab.contracts import Batch, DataSpec
from rnnlab.models.baseline import Baseline

SIZE = 7
WORDS = ("<pad>", "<unk>", "a", "b", "c", "d", " ")
LANGUAGE = DataSpec(
    "toy", "tokens", SIZE, "class_per_step", SIZE, WORDS, goal="continue", joined="characters", is_causal=True, is_stream=True
)


def batch_of(rows: list[list[int]], is_continued: bool = False) -> Batch:
    """Ask for the next token of streams."""
    values_BT = torch.tensor(rows)
    lengths_B = torch.full((len(rows),), values_BT.shape[1] - 1)
    return Batch(values_BT[:, :-1], lengths_B, values_BT[:, 1:], lengths_B, torch.arange(len(rows)), is_continued=is_continued)


def drawn(seed: int, count: int) -> list[int]:
    """Draw a text in which some tokens follow others often; tokens 0 and 1 never occur."""
    random = np.random.default_rng(seed)
    text = [2]
    for _ in range(count - 1):
        text.append(2 + (text[-1] - 1) % 5 if random.random() < 0.6 else int(2 + random.integers(5)))
    return text


def fitted(kind: str, ngrams: int | None, text: list[int]) -> Baseline:
    model = Baseline(LANGUAGE, BaselineSettings(kind, ngrams, 1))
    model.fit([batch_of([text])], [])
    return model


def chances(model: Baseline, text: list[int], is_continued: bool = False) -> np.ndarray:
    outputs = model.predict(batch_of([text], is_continued))
    assert isinstance(outputs, torch.Tensor)
    return outputs[0].double().exp().numpy()


def by_the_book(text: list[int], order: int) -> Callable[[tuple[int, ...], int], float]:
    """Return p(token | context), recursive, on dictionaries: Chen and Goodman (1999), section 3.4."""
    counts: dict[int, Counter[tuple[int, ...]]] = {order: Counter(zip(*(text[place:] for place in range(order)), strict=False))}
    for length in range(order - 1, 0, -1):
        before = defaultdict(set)
        for gram in counts[length + 1]:
            before[gram[1:]].add(gram[0])
        counts[length] = Counter({gram: len(kinds) for gram, kinds in before.items()})
    discounts = {}
    for length, found in counts.items():
        n = [sum(count == times for count in found.values()) for times in range(5)]
        y = n[1] / (n[1] + 2 * n[2]) if n[1] else 0.5
        discounts[length] = [0.0] + [max(0.05, min(i - 0.05, i - (i + 1) * y * n[i + 1] / n[i])) if n[i] else 0.5 for i in (1, 2, 3)]

    def chance(context: tuple[int, ...], token: int) -> float:
        length = len(context) + 1
        followers = {gram[-1]: count for gram, count in counts[length].items() if gram[:-1] == context}
        lower = chance(context[1:], token) if context else 1 / SIZE
        if not followers:
            return lower
        total = sum(followers.values())
        left = sum(discounts[length][min(count, 3)] for count in followers.values())
        own = followers.get(token, 0)
        return (own - discounts[length][min(own, 3)]) / total + left / total * lower

    return chance


@pytest.mark.parametrize("order", [2, 3, 4])
def test_kneser_ney_is_that_of_the_book(order: int) -> None:
    text, tested = drawn(0, 300), drawn(1, 30)
    found, wanted = chances(fitted("kneser_ney", order, text), tested), by_the_book(text, order)
    for step in range(order - 2, len(tested) - 1):
        context = tuple(tested[step - order + 2 : step + 1])
        assert found[step] == pytest.approx([wanted(context, token) for token in range(SIZE)], rel=1e-5)


def test_chances_of_all_tokens_add_up_to_one_also_after_contexts_that_training_lacks() -> None:
    found = chances(fitted("kneser_ney", 5, drawn(0, 200)), [0, 1, 0, 2, 2, 2, 6, 5, 4, 3])
    assert found.sum(1) == pytest.approx(np.ones(9), rel=1e-6)
    assert (found > 0).all()


def test_a_part_goes_on_from_the_tokens_of_the_part_before() -> None:
    model, text = fitted("kneser_ney", 4, drawn(0, 300)), drawn(2, 40)
    whole = chances(model, text)
    first, second = chances(model, text[:21]), chances(model, text[20:], is_continued=True)
    assert np.concatenate([first, second]) == pytest.approx(whole, rel=1e-6)


def test_a_unigram_is_how_often_each_token_was_met_and_one_more() -> None:
    found = chances(fitted("unigram", None, [2, 3, 3, 2, 4, 3]), [2, 6])
    assert found[0] == pytest.approx(np.array([1, 1, 2, 4, 2, 1, 1]) / 12, rel=1e-6)  # the first token is not predicted


def test_streams_side_by_side_become_one_text_again() -> None:
    batches = [batch_of([[2, 3, 4], [5, 6, 2]]), batch_of([[4, 5], [2, 3]], is_continued=True)]
    assert stream_of(batches).tolist() == [2, 3, 4, 5, 6, 2, 3]


def test_without_a_choice_the_order_follows_from_the_tokens() -> None:
    assert fitted("auto", None, drawn(0, 60)).kind == "kneser_ney"
    assert fitted("kneser_ney", None, drawn(0, 60)).method.order == 6  # type: ignore[attr-defined]  # of characters


@pytest.mark.parametrize("order", [1, 13])
def test_an_order_that_is_none_is_refused(order: int) -> None:
    with pytest.raises(ValueError, match=f"baseline.ngrams={order} .*2 to 12"):
        fitted("kneser_ney", order, drawn(0, 60))


def test_a_text_shorter_than_an_ngram_is_refused() -> None:
    with pytest.raises(ValueError, match=r"baseline.ngrams=5: training has 3 tokens"):
        fitted("kneser_ney", 5, [2, 3, 4])


def test_counts_are_of_all_tokens_but_the_first() -> None:
    text = drawn(0, 50)
    model = fitted("unigram", None, text)
    assert chances(model, [2, 2])[0][2] == pytest.approx((text[1:].count(2) + 1) / (49 + SIZE))
    assert log(chances(model, [2, 2])[0].sum()) == pytest.approx(0, abs=1e-6)
