"""The nearest training example against brute force: scikit-learn's vectors and dense distances, one input at a time."""

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from rnnlab.baselines.base import Arrays, BaselineSettings
from rnnlab.baselines.nearest import Nearest
from rnnlab.contracts import Batch, DataSpec, Goal

V, F = 20, 3
Sequences = list[list[int]]


def spec_of(goal: Goal = "translate") -> DataSpec:
    return DataSpec("toy", "tokens", V, "tokens", 9, goal=goal)


SOUNDS = DataSpec("toy", "features", F, "tokens", 9, goal="transcribe")


def settings(ngrams: int | None = None, min_count: int = 1) -> BaselineSettings:
    return BaselineSettings("nearest", ngrams, min_count)


def pad(rows: Sequences) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(row) for row in rows])
    most = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (most - len(row))] for row in rows]), lengths


def batches_of(texts: Sequences, targets: Sequences, ids: list[int] | None = None, size: int = 16) -> list[Batch]:
    ids = list(range(len(texts))) if ids is None else ids
    found = []
    for start in range(0, len(texts), size):
        part = slice(start, start + size)
        found.append(Batch(*pad(texts[part]), *pad(targets[part]), torch.tensor(ids[part])))
    return found


def draw(seed: int, count: int) -> tuple[Sequences, Sequences]:
    random = np.random.default_rng(seed)
    texts = [random.integers(2, V, size=random.integers(1, 9)).tolist() for _ in range(count)]
    return texts, [random.integers(4, 9, size=random.integers(1, 6)).tolist() for _ in range(count)]


def answers(method: Nearest, arrays: Arrays, batches: list[Batch]) -> Sequences:
    """Return what is answered, padding taken off."""
    found = []
    for batch in batches:
        outputs = method.predict(arrays, batch)
        assert outputs.dtype == np.int64 and outputs.shape[0] == batch.size
        for row in outputs.tolist():
            length = len(row) - row[::-1].index(next((n for n in reversed(row) if n), 0)) if any(row) else 0
            assert not any(row[length:]) and all(row[:length])
            found.append(row[:length])
    return found


TRAIN, TEST = draw(0, 120), draw(1, 50)


@pytest.mark.parametrize(("ngrams", "min_count"), [(None, 1), (1, 2), (3, 1)])
def test_tokens_are_answered_as_the_most_similar_example_of_scikit_learns_vectors(ngrams: int | None, min_count: int) -> None:
    method = Nearest(spec_of(), settings(ngrams, min_count))
    arrays = method.fit(batches_of(*TRAIN), [])
    theirs = TfidfVectorizer(
        ngram_range=(1, ngrams or 2), sublinear_tf=True, min_df=min_count, tokenizer=str.split, token_pattern=None, lowercase=False
    )
    inputs = theirs.fit_transform([" ".join(map(str, text)) for text in TRAIN[0]]).toarray()
    found, num_clear = answers(method, arrays, batches_of(*TEST, size=7)), 0
    for text, answer in zip(TEST[0], found, strict=True):
        similarity = inputs @ theirs.transform([" ".join(map(str, text))]).toarray()[0]
        best = np.flatnonzero(similarity > similarity.max() - 1e-6)
        assert answer in [TRAIN[1][place] for place in best]
        num_clear += len(best) == 1
    assert num_clear > 40


def test_a_training_input_is_answered_with_its_own_target() -> None:
    method = Nearest(spec_of(), settings())
    texts = [list(text) for text in dict.fromkeys(map(tuple, TRAIN[0]))]
    alone = [(text, TRAIN[1][TRAIN[0].index(text)]) for text in texts if len(set(text)) > 2]
    arrays = method.fit(batches_of([text for text, _ in alone], [target for _, target in alone]), [])
    batches = batches_of([text for text, _ in alone], [target for _, target in alone], size=5)
    assert answers(method, arrays, batches) == [target for _, target in alone]


def test_of_inputs_that_are_alike_the_earliest_example_answers_whatever_the_order_of_batches() -> None:
    texts, targets = [[5, 6], [7, 8], [7, 8], [9]], [[4], [5], [6], [7]]
    method = Nearest(spec_of(), settings())
    arrays = method.fit(batches_of(texts, targets), [])
    assert answers(method, arrays, batches_of([[7, 8], [19]], [[4], [4]])) == [[5], [4]]  # nothing is known of 19: all are alike
    backwards = method.fit(batches_of(texts[::-1], targets[::-1], [3, 2, 1, 0], size=2), [])
    assert {name: np.array_equal(value, backwards[name]) for name, value in arrays.items()} == dict.fromkeys(arrays, True)


def test_words_are_compared_by_pairs_and_letters_by_triples_unless_told_otherwise() -> None:
    found = [Nearest(spec_of(goal), settings()).ngrams for goal in ("translate", "summarise", "pronounce")]
    assert found == [2, 2, 3] and Nearest(spec_of("pronounce"), settings(ngrams=4)).ngrams == 4


def sounds(seed: int, count: int) -> list[Batch]:
    torch.manual_seed(seed)
    found = []
    for start in range(0, count, 8):
        size = min(8, count - start)
        lengths = torch.randint(2, 7, (size,))
        values = torch.randn(size, 6, F)
        values[torch.arange(6)[None] >= lengths[:, None]] = torch.nan  # padding is never looked at
        targets = torch.randint(4, 9, (size, 3))
        found.append(Batch(values, lengths, targets, torch.full((size,), 3), torch.arange(start, start + size)))
    return found


def test_features_are_answered_as_the_closest_example_by_mean_and_spread() -> None:
    train, test = sounds(0, 50), sounds(1, 20)
    method = Nearest(SOUNDS, settings())
    assert method.refusal() is None
    arrays = method.fit(train, [])

    def described(batches: list[Batch]) -> np.ndarray:
        rows = []
        for batch in batches:
            for values, length in zip(batch.inputs, batch.input_lengths, strict=True):
                valid = values[:length].double()
                rows.append(torch.cat([valid.mean(0), valid.std(0, correction=0)]))
        return torch.stack(rows).numpy()

    inputs, unseen = described(train), described(test)
    mean, spread = inputs.mean(0), inputs.std(0)
    targets = torch.cat([batch.targets for batch in train]).tolist()
    expected = [targets[np.linalg.norm((inputs - row) / spread - (mean - mean), axis=1).argmin()] for row in unseen]
    assert answers(method, arrays, test) == expected


def test_only_numbers_are_kept_and_answers_are_padded_to_the_longest_of_the_batch() -> None:
    method = Nearest(spec_of(), settings())
    arrays = method.fit(batches_of([[5], [6]], [[4], [5, 6, 7]]), [])
    assert all(isinstance(value, np.ndarray) and value.dtype != object for value in arrays.values())
    (batch,) = batches_of([[5], [6]], [[4], [4]])
    assert method.predict(arrays, batch).tolist() == [[4, 0, 0], [5, 6, 7]]
    (batch,) = batches_of([[5]], [[4]])
    assert method.predict(arrays, batch).tolist() == [[4]]


def test_ngrams_without_a_number_and_ngrams_that_never_come_again_are_refused() -> None:
    large = DataSpec("toy", "tokens", 30_000, "tokens", 9, goal="translate")
    assert "5-grams of 30,000 tokens are too many" in str(Nearest(large, settings(ngrams=5)).refusal())
    with pytest.raises(ValueError, match=r"no n-gram occurs in 2 training texts: give a smaller baseline.min_count"):
        Nearest(spec_of(), settings(min_count=2)).fit(batches_of([[5], [6]], [[4], [5]]), [])
