"""Bags of n-grams against scikit-learn's own vectorisers, and the SVM on naive Bayes features against a dense one written out."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from rnnlab.baselines import bag_of_words
from rnnlab.baselines.bag_of_words import INVERSE_STRENGTHS, NBSVM, SVM_STRENGTHS, Bag, TfIdf
from rnnlab.baselines.base import BaselineSettings
from rnnlab.contracts import Batch, DataSpec

V, C = 30, 3
SPEC = DataSpec("toy", "tokens", V, "class", C, ("a", "b", "c"), (1, 1, 1))
TWO = DataSpec("toy", "tokens", V, "class", 2, ("a", "b"), (1, 1))
Texts = list[list[int]]


def draw(seed: int, count: int, num_classes: int = C) -> tuple[Texts, np.ndarray]:
    """Draw texts whose words lean towards their class, some with a pair that decides."""
    random = np.random.default_rng(seed)
    targets = random.integers(num_classes, size=count)
    texts = []
    for label in targets:
        words = random.integers(2, V, size=random.integers(1, 12)).tolist()
        words[:1] = [2 + 3 * int(label)] if random.random() < 0.5 else words[:1]
        texts.append([*words, 20, 21 + int(label)] if random.random() < 0.5 else words)
    return texts, targets


def batches_of(texts: Texts, targets: np.ndarray, size: int = 16) -> list[Batch]:
    found = []
    for start in range(0, len(texts), size):
        part = texts[start : start + size]
        lengths = torch.tensor([len(text) for text in part])
        inputs = torch.zeros(len(part), int(lengths.max()), dtype=torch.int64)
        for row, text in zip(inputs, part, strict=True):
            row[: len(text)] = torch.tensor(text)
        labels = torch.tensor(targets[start : start + size])
        found.append(Batch(inputs, lengths, labels, torch.ones_like(lengths), torch.arange(len(part))))
    return found


TRAIN, VAL, TEST = draw(0, 150), draw(1, 60), draw(2, 80)


def settings(ngrams: int | None = None, min_count: int = 2) -> BaselineSettings:
    return BaselineSettings("tfidf", ngrams, min_count)


def fitted(method: Bag, train: tuple[Texts, np.ndarray], val: tuple[Texts, np.ndarray]) -> dict[str, np.ndarray]:
    return method.fit(batches_of(*train), batches_of(*val))


def answers(method: Bag, arrays: dict[str, np.ndarray], texts: Texts) -> np.ndarray:
    return np.concatenate([method.predict(arrays, batch) for batch in batches_of(texts, np.zeros(len(texts), int), 7)])


def written(texts: Texts) -> list[str]:
    """Write texts as scikit-learn reads them."""
    return [" ".join(f"w{number}" for number in text) for text in texts]


def test_ngrams_are_counted_as_scikit_learn_counts_them() -> None:
    method = TfIdf(SPEC, settings(ngrams=3))
    columns, counts = method.fit_columns(batches_of(*TRAIN))
    theirs = CountVectorizer(ngram_range=(1, 3), min_df=2, tokenizer=str.split, token_pattern=None, lowercase=False)
    expected = theirs.fit_transform(written(TRAIN[0])).toarray()
    assert len(columns) == expected.shape[1]
    order, their_order = (np.lexsort(matrix) for matrix in (counts.toarray(), expected))
    assert np.array_equal(counts.toarray()[:, order], expected[:, their_order])
    again = method.counts(batches_of(*TRAIN, 5), columns)
    assert np.array_equal(again.toarray(), counts.toarray())
    unseen = theirs.transform(written(TEST[0])).toarray()
    assert np.array_equal(method.counts(batches_of(*TEST), columns).toarray()[:, order], unseen[:, their_order])


@pytest.mark.parametrize("num_classes", [2, 3])
def test_tfidf_answers_as_scikit_learns_pipeline_with_the_best_penalty_on_validation(num_classes: int) -> None:
    train, val, test = (draw(seed, count, num_classes) for seed, count in ((0, 150), (1, 60), (2, 80)))
    method = TfIdf(SPEC if num_classes == C else TWO, settings())
    arrays = fitted(method, train, val)
    theirs = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, tokenizer=str.split, token_pattern=None, lowercase=False)
    inputs = theirs.fit_transform(written(train[0]))
    machines = [LogisticRegression(C=strength, max_iter=300, tol=1e-3).fit(inputs, train[1]) for strength in INVERSE_STRENGTHS]
    accuracies = [machine.score(theirs.transform(written(val[0])), val[1]) for machine in machines]
    chosen = INVERSE_STRENGTHS.index(arrays["inverse_strength"].item())
    assert accuracies[chosen] >= max(accuracies) - 1 / 60  # one text may lie on the border, where the last digit decides
    outputs = answers(method, arrays, test[0])
    assert outputs.shape == (80, num_classes)
    expected = machines[chosen].predict_proba(theirs.transform(written(test[0])))
    shares = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
    assert np.allclose(shares, expected, atol=0.02)
    is_clear = np.sort(expected, axis=1)[:, -1] - np.sort(expected, axis=1)[:, -2] > 0.04
    assert np.array_equal(outputs.argmax(1)[is_clear], expected.argmax(1)[is_clear])
    assert is_clear.mean() > 0.9


def ngrams_of(text: list[int]) -> Iterator[tuple[int, ...]]:
    for n in (1, 2, 3):
        yield from (tuple(text[start : start + n]) for start in range(len(text) - n + 1))


def nb_svm_by_hand(strength: float) -> np.ndarray:
    """Return the margins of test texts, all matrices dense, the machine's objective minimised by a general method."""
    documents = [set(ngrams_of(text)) for text in TRAIN[0]]
    everything = [gram for document in documents for gram in document]
    grams = sorted(gram for gram in set(everything) if everything.count(gram) >= 2)
    present, unseen = (
        np.array([[float(gram in set(ngrams_of(text))) for gram in grams] for text in texts]) for texts in (TRAIN[0], TEST[0])
    )
    margins = []
    for label in range(C):
        sign = np.where(TRAIN[1] == label, 1.0, -1.0)
        p, q = 1 + present[sign > 0].sum(0), 1 + present[sign < 0].sum(0)
        ratio = np.log((p / np.abs(p).sum()) / (q / np.abs(q).sum()))
        inputs = np.column_stack([present * ratio, np.ones(len(present))])

        def objective(w: np.ndarray, inputs: np.ndarray = inputs, sign: np.ndarray = sign) -> tuple[float, np.ndarray]:
            slack = np.maximum(0, 1 - sign * (inputs @ w))
            return 0.5 * w @ w + strength * slack @ slack, w - 2 * strength * inputs.T @ (sign * slack)

        found = minimize(objective, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-14}).x
        weights = 0.75 * np.abs(found[:-1]).mean() + 0.25 * found[:-1]
        margins.append(unseen * ratio @ weights + found[-1])
    return np.stack(margins, 1)


def test_nb_svm_answers_as_one_written_out_densely() -> None:
    method = NBSVM(SPEC, settings())
    arrays = fitted(method, TRAIN, VAL)
    assert arrays["inverse_strength"].item() in SVM_STRENGTHS
    outputs, expected = answers(method, arrays, TEST[0]), nb_svm_by_hand(arrays["inverse_strength"].item())
    assert np.allclose(outputs, expected, atol=0.02)
    assert (outputs.argmax(1) == expected.argmax(1)).mean() > 0.95
    assert (outputs.argmax(1) == TEST[1]).mean() > 0.6


def test_every_method_has_its_own_longest_ngram_unless_one_is_given() -> None:
    assert (TfIdf(SPEC, settings()).ngrams, NBSVM(SPEC, settings()).ngrams, TfIdf(SPEC, settings(ngrams=1)).ngrams) == (2, 3, 1)


@pytest.mark.parametrize(("method", "strengths"), [(TfIdf, "INVERSE_STRENGTHS"), (NBSVM, "SVM_STRENGTHS")])
def test_validation_chooses_the_penalty_and_nothing_else(method: type[Bag], strengths: str, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [draw(seed, 12) for seed in range(3, 11)]
    chosen = {fitted(method(SPEC, settings()), TRAIN, val)["inverse_strength"].item() for val in others}
    assert len(chosen) > 1
    monkeypatch.setattr(bag_of_words, strengths, (1.0,))
    np.random.seed(0)
    first = fitted(method(SPEC, settings()), TRAIN, VAL)
    np.random.seed(0)
    second = fitted(method(SPEC, settings()), TRAIN, others[0])
    assert {name: np.array_equal(value, second[name]) for name, value in first.items()} == dict.fromkeys(first, True)


@pytest.mark.parametrize("method", [TfIdf, NBSVM])
def test_an_answer_does_not_depend_on_the_batch_or_its_padding(method: type[Bag]) -> None:
    made = method(SPEC, settings())
    arrays = fitted(made, TRAIN, VAL)
    whole = answers(made, arrays, TEST[0])
    alone = np.concatenate([answers(made, arrays, [text]) for text in TEST[0]])
    assert np.allclose(whole, alone, atol=1e-6)


def test_a_text_without_any_known_ngram_gets_the_intercept() -> None:
    method = TfIdf(SPEC, settings())
    arrays = fitted(method, TRAIN, VAL)
    assert np.allclose(answers(method, arrays, [[0]]), arrays["intercept"])


def test_ngrams_that_have_no_number_of_their_own_are_refused() -> None:
    large = DataSpec("toy", "tokens", 30_000, "class", C, ("a", "b", "c"), (1, 1, 1))
    assert TfIdf(large, settings(ngrams=4)).refusal() is None
    assert TfIdf(large, settings(ngrams=5)).refusal() == "5-grams of 30,000 tokens are too many: give a smaller baseline.ngrams"


def test_ngrams_of_the_largest_numbers_do_not_collide() -> None:
    base = 30_001
    texts = [[29_999] * 4, [29_999, 29_999, 29_999, 29_998], [0, 0, 0, 1], [0, 0, 0, 0]]
    method = TfIdf(DataSpec("toy", "tokens", base - 1, "class", 2, ("a", "b"), (1, 1)), settings(ngrams=4, min_count=1))
    columns, counts = method.fit_columns(batches_of(texts, np.array([0, 1, 0, 1])))
    grams = {tuple(text[start : start + n]) for text in texts for n in (1, 2, 3, 4) for start in range(5 - n)}
    assert len(columns) == len(grams)
    assert all(b > a > 0 for a, b in pairwise(columns.tolist()))
    assert counts.sum() == 4 * (4 + 3 + 2 + 1)


def test_where_every_ngram_is_rare_it_is_said_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"no n-gram occurs in 1000 training texts: give a smaller baseline.min_count"):
        fitted(TfIdf(SPEC, settings(min_count=1000)), TRAIN, VAL)


def test_rare_means_in_few_texts_and_not_few_times() -> None:
    texts = [[5, 5, 5], [6], [6]]
    columns, _ = TfIdf(TWO, settings(ngrams=1)).fit_columns(batches_of(texts, np.array([0, 1, 1])))
    assert columns.tolist() == [6 + 1]


def test_nb_svm_fitted_twice_is_the_same_to_the_bit() -> None:
    first, second = (fitted(NBSVM(SPEC, settings()), TRAIN, VAL) for _ in range(2))
    assert {name: np.array_equal(value, second[name]) for name, value in first.items()} == dict.fromkeys(first, True)


@pytest.mark.parametrize("method", [TfIdf, NBSVM])
@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_class_without_training_texts_keeps_its_place_and_is_not_forecast(method: type[Bag], missing: int) -> None:
    texts, targets = TRAIN
    kept = np.flatnonzero(targets != missing)
    made = method(SPEC, settings())
    arrays = fitted(made, ([texts[i] for i in kept], targets[kept]), VAL)
    outputs = answers(made, arrays, TEST[0])
    assert outputs.shape == (80, C)
    is_known = TEST[1] != missing
    assert (outputs.argmax(1) != missing).all()
    assert (outputs.argmax(1) == TEST[1])[is_known].mean() > 0.6
