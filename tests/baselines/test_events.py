"""Claims about counting what comes next: popularity and Markov chains that back off."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from rnnlab.baselines.base import BaselineSettings
from rnnlab.baselines.events import MarkovChain, Popularity
from rnnlab.contracts import IGNORED_TARGET, PAD, Batch, DataSpec

SPEC = DataSpec("events", "tokens", 6, "class_per_step", 6, tuple("pue abc".replace(" ", "")), is_causal=True, ranks=(3,))


def batch(*cases: list[int], end: int = 2) -> Batch:
    """Return cases of which each next event, and the end, is the target."""
    lengths = torch.tensor([len(case) for case in cases])
    pad = torch.nn.utils.rnn.pad_sequence
    inputs = pad([torch.tensor(case) for case in cases], batch_first=True)
    targets = pad([torch.tensor([*case[1:], end]) for case in cases], batch_first=True, padding_value=IGNORED_TARGET)
    return Batch(inputs, lengths, targets, lengths.clone(), torch.arange(len(cases)))


TRAIN = [batch([3, 4, 5], [3, 4, 4, 5]), batch([5, 4, 3], [3])]


def chain(ngrams: int | None) -> MarkovChain:
    return MarkovChain(SPEC, BaselineSettings("markov", ngrams, 1))


def test_the_most_frequent_event_is_given_whatever_came_before() -> None:
    method = Popularity(SPEC, BaselineSettings("popularity", None, 1))
    answers = method.predict(method.fit(TRAIN, []), batch([3, 5], [4]))
    assert answers.argmax(-1).tolist() == [[2, 2], [2, 2]]
    np.testing.assert_allclose(np.exp(answers[0, 0]), (np.array([0, 0, 4, 1, 4, 2]) + 1) / 17, rtol=1e-6)


@pytest.mark.parametrize("ngrams", [2, 3, 5])
def test_chances_are_those_of_counts_mixed_with_shorter_contexts(ngrams: int) -> None:
    method = chain(ngrams)
    arrays = method.fit(TRAIN, [batch([3, 4], [5, 4, 3])])
    weight = float(arrays["weight"][0])
    counts: defaultdict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for given in TRAIN:
        for inputs, targets, length in zip(given.inputs.tolist(), given.targets.tolist(), given.input_lengths.tolist(), strict=True):
            for step in range(length):
                before = ([PAD] * ngrams + inputs[: step + 1])[-(ngrams - 1) :]
                for start in range(ngrams):
                    counts[tuple(before[start:])][targets[step]] += 1

    def chance(context: tuple[int, ...], event: int) -> float:
        lower = chance(context[1:], event) if context else 1 / SPEC.target_size
        seen = counts[context]
        return (seen[event] + weight * lower) / (seen.total() + weight)

    asked = batch([3, 4, 4, 4], [5, 3])
    found = np.exp(method.predict(arrays, asked))
    for row, case in enumerate(([3, 4, 4, 4], [5, 3])):
        for step in range(len(case)):
            context = tuple(([PAD] * ngrams + case[: step + 1])[-(ngrams - 1) :])
            np.testing.assert_allclose(found[row, step], [chance(context, event) for event in range(6)], rtol=1e-5)
    np.testing.assert_allclose(found.sum(-1)[0], 1, rtol=1e-5)


def test_the_order_is_chosen_by_the_likelihood_of_validation_cases() -> None:
    random = np.random.default_rng(0)
    # The first event says what the third one is, and the second says nothing.
    cases = [[first, int(random.integers(3, 6)), first] for first in random.integers(3, 6, 300).tolist()]
    method = chain(None)
    assert int(method.fit([batch(*cases[:200])], [batch(*cases[200:])])["order"][0]) >= 3
    alternating = [[3 + step % 2 for step in range(first, first + 30)] for first in random.integers(0, 2, 60).tolist()]
    noisy = [[event if random.random() < 0.8 else 5 for event in case] for case in alternating]
    shuffled = [random.permutation(case).tolist() for case in noisy]
    orders = [int(method.fit([batch(*cases[:40])], [batch(*cases[40:])])["order"][0]) for cases in (noisy, shuffled)]
    assert orders[0] > orders[1]  # the event before the noise still tells; of shuffled events none does


def test_a_step_does_not_depend_on_later_ones_or_on_padding() -> None:
    method = chain(3)
    arrays = method.fit(TRAIN, TRAIN)
    whole = method.predict(arrays, batch([3, 4, 5, 4], [4, 4]))
    np.testing.assert_array_equal(method.predict(arrays, batch([3, 4]))[0], whole[0, :2])
    np.testing.assert_array_equal(method.predict(arrays, batch([4, 4]))[0], whole[1, :2])


@pytest.mark.parametrize("ngrams", [1, 13])
def test_an_order_that_is_none_is_refused(ngrams: int) -> None:
    with pytest.raises(ValueError, match=f"baseline.ngrams={ngrams}: a chain counts 2 to 12 events together"):
        chain(ngrams)


ANCHORS = {"helpdesk": (30.6, 82.0, 82.0), "bpi_12_w": (29.4, 66.7, 66.9)}
"""Accuracy of majority, bigram and trigram on the last third of the cases, counted apart from this code."""


@pytest.mark.slow
@pytest.mark.skipif("RNNLAB_MIRROR" not in os.environ, reason="needs the public logs: set RNNLAB_MIRROR")
@pytest.mark.parametrize("name", ANCHORS)
def test_counting_reproduces_known_accuracies(name: str, compose: Callable[..., Any]) -> None:
    settings = compose(f"data={name}", "data.val_fraction=0.0005")
    data = settings.data.recipe()(settings.paths, 0)
    data.setup()
    spec = data.make_spec()
    methods = (
        Popularity(spec, BaselineSettings("popularity", None, 1)),
        *(MarkovChain(spec, BaselineSettings("markov", n, 1)) for n in (2, 3)),
    )
    for method, wanted in zip(methods, ANCHORS[name], strict=True):
        arrays = method.fit(list(data.plain_dataloader("train")), list(data.plain_dataloader("val")))
        right, total = 0, 0
        for given in data.plain_dataloader("test"):
            is_known = given.targets.numpy() != IGNORED_TARGET
            right += int((method.predict(arrays, given).argmax(-1) == given.targets.numpy())[is_known].sum())
            total += int(is_known.sum())
        assert 100 * right / total == pytest.approx(wanted, abs=0.1)
