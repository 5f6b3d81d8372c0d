"""Taggers that count: the most frequent tag of each word, and a hidden Markov model.

The hidden Markov model (Brants 2000, with pairs instead of triples) gives tags y_1 ... y_T and words w_1 ... w_T the chance

    prod_t p(w_t | y_t) p(y_t | y_{t-1})

and answers each word with the chances of its tags given the whole sentence (forwards and backwards, Baum 1972). Transitions are mixed with
how frequent tags are, p(y | y') = g f(y | y') + (1 - g) f(y), and g is chosen by the likelihood of validation tags. By Bayes' rule p(w | y)
is p(y | w) / f(y) times what is the same for all tags; of a word that training lacks p(y | w) is that of its longest ending that rare words
of training have, smoothed by shorter endings,

    p(y | last i characters) = (f(y | last i) + d p(y | last i - 1)) / (1 + d)          p(y | last 0) = f(y)
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from rnnlab.baselines.base import Arrays, BaselineSettings, Method
from rnnlab.contracts import IGNORED_TARGET, UNKNOWN, Batch, DataSpec, InputKind, TargetKind

MOST_ENDING, RARE = 5, 10
"""Characters of the longest ending; words met so often or less teach endings."""
SMOOTHING = 0.3
ADDED = 0.01
GRID = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)


class TagsOfWords(Method):
    """Base class of counting taggers."""

    input_kinds: ClassVar[tuple[InputKind, ...]] = ("tokens",)
    target_kinds: ClassVar[tuple[TargetKind, ...]] = ("class_per_step",)

    @classmethod
    def is_offered(cls, spec: DataSpec) -> bool:
        return super().is_offered(spec) and spec.scheme is not None

    def refusal(self) -> str | None:
        if self.spec.intents:
            return "it has a second target, the intent of each sentence, and this counts tags alone: set data.with_intent=false"
        return None


class MostFrequentTag(TagsOfWords):
    """Give each word the tag that it has most often in training, and unknown words the most frequent one of all."""

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        counts_VC = np.zeros((self.spec.input_size, self.spec.target_size))
        for words_T, tags_T in sentences(train):
            np.add.at(counts_VC, (words_T[:, 0], tags_T), 1)
        return {"log_chance_VC": _log_chances(counts_VC)}

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        """Return log-probabilities, (B, T, C)."""
        return arrays["log_chance_VC"][words_of(batch)[..., 0]].astype(np.float32)


def _log_chances(counts_VC: np.ndarray) -> np.ndarray:
    """Return the tags' chances for each word, a little of the overall ones mixed in; of unknown words the overall ones."""
    overall_C = (counts_VC.sum(0) + ADDED) / (counts_VC.sum() + ADDED * counts_VC.shape[1])
    counts_VC = np.where((np.arange(len(counts_VC)) > UNKNOWN)[:, None], counts_VC, 0)
    return np.log((counts_VC + ADDED * overall_C) / (counts_VC.sum(1, keepdims=True) + ADDED))


class HiddenMarkov(TagsOfWords):
    """Weigh the tags of neighbouring words; see the top of this file."""

    def __init__(self, spec: DataSpec, settings: BaselineSettings) -> None:
        super().__init__(spec, settings)
        self.found: tuple[Arrays, dict[bytes, int]] | None = None

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        """Count words, neighbours and endings; the mixing of neighbours is chosen on validation tags."""
        num_tags = self.spec.target_size
        counts_VC, pairs_CC = np.zeros((self.spec.input_size, num_tags)), np.zeros((num_tags + 1, num_tags))
        spelled: defaultdict[bytes, Counter[int]] = defaultdict(Counter)
        for words_T, tags_T in sentences(train):
            np.add.at(counts_VC, (words_T[:, 0], tags_T), 1)
            np.add.at(pairs_CC, (np.concatenate([[num_tags], tags_T[:-1]]), tags_T), 1)
            for word, tag in zip(words_T, tags_T.tolist(), strict=True):
                spelled[word[1:].tobytes()][tag] += 1
        overall_C = (counts_VC.sum(0) + ADDED) / (counts_VC.sum() + ADDED * num_tags)
        share_CC = np.where(pairs_CC.sum(1, keepdims=True) > 0, pairs_CC / np.maximum(pairs_CC.sum(1, keepdims=True), 1), overall_C)
        mixing = max(GRID, key=lambda weight: _log_likelihood(weight * share_CC + (1 - weight) * overall_C, val, num_tags))
        endings, chances = _endings(spelled, overall_C)
        return {
            "log_word_VC": _log_chances(counts_VC) - np.log(overall_C),
            "log_pair_CC": np.log(mixing * share_CC + (1 - mixing) * overall_C),
            "endings": endings,
            "log_ending_EC": np.log(chances) - np.log(overall_C),
        }

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        """Return log-probabilities given the whole sentence, (B, T, C)."""
        if self.found is None or self.found[0].keys() != arrays.keys():
            self.found = arrays, {row.tobytes(): place for place, row in enumerate(arrays["endings"])}
        words_BTL = words_of(batch)
        found = np.zeros((*words_BTL.shape[:2], self.spec.target_size))
        for row, length in enumerate(batch.input_lengths.tolist()):
            scores_TC = np.stack([self._word(arrays, word) for word in words_BTL[row, :length]])
            found[row, :length] = log_posteriors(scores_TC, arrays["log_pair_CC"])
        return found.astype(np.float32)

    def _word(self, arrays: Arrays, word: np.ndarray) -> np.ndarray:
        """Return ln p(y | w) - ln f(y) for all tags, (C,)."""
        if word[0] > UNKNOWN or len(word) == 1:
            return arrays["log_word_VC"][word[0]]
        assert self.found is not None
        for ending in _endings_of(word[1:]):
            if (place := self.found[1].get(ending.tobytes())) is not None:
                return arrays["log_ending_EC"][place]
        return arrays["log_word_VC"][UNKNOWN]


def log_posteriors(scores_TC: np.ndarray, log_pair_CC: np.ndarray) -> np.ndarray:
    """Return the log-probabilities of each word's tags given all words, (T, C); the last row of `log_pair_CC` begins a sentence."""
    forwards_TC, backwards_TC = np.empty_like(scores_TC), np.zeros_like(scores_TC)
    forwards_TC[0] = scores_TC[0] + log_pair_CC[-1]
    for step in range(1, len(scores_TC)):
        forwards_TC[step] = scores_TC[step] + np.logaddexp.reduce(forwards_TC[step - 1][:, None] + log_pair_CC[:-1], 0)
    for step in range(len(scores_TC) - 2, -1, -1):
        backwards_TC[step] = np.logaddexp.reduce(log_pair_CC[:-1] + (scores_TC + backwards_TC)[step + 1], 1)
    both_TC = forwards_TC + backwards_TC
    return both_TC - np.logaddexp.reduce(both_TC, 1, keepdims=True)


def _log_likelihood(chances_CC: np.ndarray, val: list[Batch], num_tags: int) -> float:
    """Return the log-likelihood of neighbouring tags of validation."""
    total = 0.0
    for _, tags_T in sentences(val):
        total += float(np.log(np.maximum(chances_CC[np.concatenate([[num_tags], tags_T[:-1]]), tags_T], 1e-12)).sum())
    return total


def _endings(spelled: dict[bytes, Counter[int]], overall_C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the endings of rare words, (E, MOST_ENDING), padded in front, and the chances of tags for each, (E, C)."""
    counted: defaultdict[bytes, np.ndarray] = defaultdict(lambda: np.zeros(len(overall_C)))
    for word, tags in spelled.items():
        if sum(tags.values()) <= RARE:
            for ending in _endings_of(np.frombuffer(word, dtype=np.int64)):
                for tag, count in tags.items():
                    counted[ending.tobytes()][tag] += count
    shortest_first = sorted(counted, key=lambda ending: (np.count_nonzero(np.frombuffer(ending, dtype=np.int64)), ending))
    chances: dict[bytes, np.ndarray] = {}
    for key in shortest_first:
        numbers = np.frombuffer(key, dtype=np.int64).copy()
        numbers[np.flatnonzero(numbers)[0]] = 0  # without its first character
        shorter_C = chances.get(numbers.tobytes(), overall_C)
        counts_C = counted[key]
        chances[key] = (counts_C / counts_C.sum() + SMOOTHING * shorter_C) / (1 + SMOOTHING)
    if not chances:
        return np.zeros((0, MOST_ENDING), dtype=np.int64), np.zeros((0, len(overall_C)))
    return np.stack([np.frombuffer(ending, dtype=np.int64) for ending in chances]), np.stack(list(chances.values()))


def _endings_of(characters_L: np.ndarray) -> Iterator[np.ndarray]:
    """Return a word's endings, the longest first, each (MOST_ENDING,) int64 with zeros in front."""
    known = characters_L[characters_L != 0][-MOST_ENDING:]
    for length in range(len(known), 0, -1):
        ending = np.zeros(MOST_ENDING, dtype=np.int64)
        ending[MOST_ENDING - length :] = known[-length:]
        yield ending


def words_of(batch: Batch) -> np.ndarray:
    """Return the words with their characters, (B, T, 1 + L); L is 0 where they have none."""
    values = batch.inputs.numpy()
    return values if values.ndim == 3 else values[..., None]


def sentences(batches: list[Batch]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return the words, (T, 1 + L), and tags, (T,), of each sentence; those without a known tag left out."""
    for batch in batches:
        for words_TL, tags_T, length in zip(words_of(batch), batch.targets.numpy(), batch.input_lengths.tolist(), strict=True):
            is_known = tags_T[:length] != IGNORED_TARGET
            if is_known.any():
                yield words_TL[:length][is_known], tags_T[:length][is_known]
