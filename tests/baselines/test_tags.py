"""Claims about taggers that count."""

from itertools import product

import numpy as np
import torch

from rnnlab.baselines.base import BaselineSettings
from rnnlab.baselines.tags import HiddenMarkov, MostFrequentTag, log_posteriors
from rnnlab.contracts import IGNORED_TARGET, Batch, DataSpec

SPEC = DataSpec("tags", "tokens", 6, "class_per_step", 3, ("D", "N", "V"), scheme="plain", num_characters=9)
SETTINGS = BaselineSettings("auto", None, 1)


def batch(words: list[list[int]], tags: list[list[int]], letters: dict[int, list[int]] | None = None) -> Batch:
    """Return sentences as a batch; the letters of each word are its number unless given."""
    most = max(map(len, words))
    inputs, targets = torch.zeros(len(words), most, 4, dtype=torch.int64), torch.full((len(words), most), IGNORED_TARGET)
    for row, sentence in enumerate(words):
        for place, word in enumerate(sentence):
            spelled = (letters or {}).get(word, [word])
            inputs[row, place, 0] = word if word < SPEC.input_size else 1
            inputs[row, place, 1 : 1 + len(spelled)] = torch.tensor(spelled)
        targets[row, : len(sentence)] = torch.tensor(tags[row])
    lengths = torch.tensor([len(sentence) for sentence in words])
    return Batch(inputs, lengths, targets, lengths.clone(), torch.arange(len(words)))


def test_a_word_gets_its_most_frequent_tag_and_an_unknown_one_that_of_all() -> None:
    train = [batch([[2, 3, 2], [3, 3, 4]], [[0, 1, 0], [1, 2, 1]])]
    method = MostFrequentTag(SPEC, SETTINGS)
    answers = method.predict(method.fit(train, []), batch([[2, 3, 4, 9]], [[0, 1, 1, 1]]))
    assert answers.argmax(-1).tolist() == [[0, 1, 1, 1]]
    np.testing.assert_allclose(np.exp(answers).sum(-1), 1, rtol=1e-5)


def test_chances_given_the_sentence_are_those_of_all_sequences() -> None:
    random = np.random.default_rng(0)
    scores_TC, pairs_CC = random.normal(size=(4, 3)), random.normal(size=(4, 3))
    total = np.zeros((4, 3))
    for tags in product(range(3), repeat=4):
        before = (3, *tags[:-1])
        weight = np.exp(scores_TC[range(4), tags].sum() + pairs_CC[before, tags].sum())
        total[range(4), tags] += weight
    np.testing.assert_allclose(np.exp(log_posteriors(scores_TC, pairs_CC)), total / total.sum(1, keepdims=True))


def test_the_neighbour_decides_where_the_word_does_not() -> None:
    words = [[2, 4, 3], [3, 4, 2], [2, 4], [3, 4]]  # 4 is a noun after 2 and a verb after 3
    train = [batch(words, [[0, 1, 1], [1, 2, 0], [0, 1], [1, 2]])]
    method = HiddenMarkov(SPEC, SETTINGS)
    answers = method.predict(method.fit(train, train), batch([[2, 4], [3, 4]], [[0, 1], [1, 2]]))
    assert answers.argmax(-1).tolist() == [[0, 1], [1, 2]]


def test_the_ending_tells_the_tag_of_an_unknown_word() -> None:
    letters = {2: [5, 7], 3: [6, 7], 4: [5, 8], 5: [6, 8], 10: [2, 7], 11: [2, 8]}  # an ending 7 is a noun's, 8 a verb's
    train = [batch([[2, 4, 3, 5], [5, 2, 4, 3]], [[1, 2, 1, 2], [2, 1, 2, 1]], letters)]
    method = HiddenMarkov(SPEC, SETTINGS)
    assert method.predict(method.fit(train, train), batch([[10], [11]], [[1], [2]], letters)).argmax(-1).tolist() == [[1], [2]]
