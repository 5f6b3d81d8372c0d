"""Bags of n-grams for texts: TF-IDF with logistic regression, and the SVM on naive Bayes features; on the network's own tokens."""

from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix, diags

from rnnlab.baselines.base import Arrays, Method, classes
from rnnlab.baselines.linear import NEVER, every_class, fitted
from rnnlab.contracts import Batch, InputKind, TargetKind

INVERSE_STRENGTHS = (1.0, 4.0, 16.0, 64.0)
SVM_STRENGTHS = (0.1, 1.0, 10.0)
INTERPOLATION = 0.25


class Bag(Method):
    """Count n-grams of token numbers."""

    input_kinds: ClassVar[tuple[InputKind, ...]] = ("tokens",)
    target_kinds: ClassVar[tuple[TargetKind, ...]] = ("class",)
    default_ngrams: ClassVar[int]

    @property
    def ngrams(self) -> int:
        """Longest n-gram."""
        return self.settings.ngrams or self.default_ngrams

    def refusal(self) -> str | None:
        if (self.spec.input_size + 1.0) ** self.ngrams >= 2.0**63:
            return f"{self.ngrams}-grams of {self.spec.input_size:,} tokens are too many: give a smaller baseline.ngrams"
        return None

    def keys_of(self, batches: list[Batch]) -> tuple[np.ndarray, np.ndarray, int]:
        """Return (document, n-gram key) pairs, and the number of documents; a key is the tokens as digits."""
        base = np.int64(self.spec.input_size + 1)
        documents, keys, num_documents = [], [], 0
        for batch in batches:
            ids = batch.inputs.numpy()
            lengths = batch.input_lengths.numpy()
            key = np.zeros_like(ids)
            for n in range(self.ngrams):
                num_places = ids.shape[1] - n
                if num_places <= 0:
                    break
                key = key[:, :num_places] * base + (ids[:, n:] + 1)
                is_whole = np.arange(num_places)[None] + n < lengths[:, None]
                rows, _ = np.nonzero(is_whole)
                documents.append((rows + num_documents).astype(np.int32))
                keys.append(key[is_whole])
            num_documents += batch.size
        return np.concatenate(documents), np.concatenate(keys), num_documents

    def fit_columns(self, batches: list[Batch]) -> tuple[np.ndarray, csr_matrix]:
        """Return the keys that occur in enough texts, sorted, and the counts of the texts."""
        documents, keys, num_documents = self.keys_of(batches)
        columns, totals = np.unique(keys, return_counts=True)
        columns = columns[totals >= self.settings.min_count]
        counts = _matrix(documents, keys, num_documents, columns)
        kept = np.flatnonzero(np.bincount(counts.indices, minlength=len(columns)) >= self.settings.min_count)
        if not len(kept):
            raise ValueError(f"no n-gram occurs in {self.settings.min_count} training texts: give a smaller baseline.min_count")
        return columns[kept], counts[:, kept]

    def counts(self, batches: list[Batch], columns: np.ndarray) -> csr_matrix:
        """Return the counts of texts in known columns."""
        return _matrix(*self.keys_of(batches), columns)


def _matrix(documents: np.ndarray, keys: np.ndarray, num_documents: int, columns: np.ndarray) -> csr_matrix:
    """Count known keys, (documents, columns) float32."""
    places = np.searchsorted(columns, keys).clip(max=max(0, len(columns) - 1)).astype(np.int32)
    is_known = columns[places] == keys if len(columns) else np.zeros(len(keys), dtype=bool)
    ones = np.ones(int(is_known.sum()), np.float32)
    found = csr_matrix((ones, (documents[is_known], places[is_known])), shape=(num_documents, len(columns)))
    found.sum_duplicates()
    return found


class TfIdf(Bag):
    """Logistic regression on TF-IDF (1 + log tf, smooth idf, unit length) of words and pairs, the penalty chosen on validation."""

    default_ngrams = 2

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        from sklearn.feature_extraction.text import TfidfTransformer
        from sklearn.linear_model import LogisticRegression

        columns, counts = self.fit_columns(train)
        transformer = TfidfTransformer(sublinear_tf=True).fit(counts)
        inputs, val_inputs = transformer.transform(counts), transformer.transform(self.counts(val, columns))
        best: tuple[float, float, LogisticRegression] | None = None
        for strength in INVERSE_STRENGTHS:
            found = fitted(LogisticRegression(C=strength, max_iter=300, tol=1e-3), inputs, classes(train))
            accuracy = float(found.score(val_inputs, classes(val)))
            if best is None or accuracy > best[0]:
                best = (accuracy, strength, found)
        assert best is not None
        weights, intercept = every_class(best[2], self.spec.target_size)
        idf, weights = transformer.idf_.astype(np.float32), weights.astype(np.float32)
        return {
            "columns": columns,
            "idf": idf,
            "weights": weights.astype(np.float32),
            "intercept": intercept,
            "inverse_strength": np.array([best[1]]),
        }

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        """Return log-odds."""
        from sklearn.feature_extraction.text import TfidfTransformer

        transformer = TfidfTransformer(sublinear_tf=True)
        transformer.idf_ = arrays["idf"].astype(float)
        inputs = transformer.transform(self.counts([batch], arrays["columns"]))
        outputs: np.ndarray = inputs @ arrays["weights"].T + arrays["intercept"]
        return outputs


class NBSVM(Bag):
    """A linear SVM on n-grams weighted by naive Bayes log-count ratios, interpolated (Wang & Manning 2012, section 2.3).

    x~ = r * 1[count > 0], r = ln((p / |p|) / (q / |q|)) with add-one counts p in the class and q outside it; one machine a class; its
    weights w become (1 - b) mean|w| + b w, b = 0.25. Its outputs are margins: their softmax is no calibrated probability.
    """

    default_ngrams = 3
    has_probabilities = False

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        """Fit one machine a class; the penalty is chosen on validation for all of them together."""
        columns, counts = self.fit_columns(train)
        targets, val_targets = classes(train), classes(val)
        present, val_present = counts.sign(), self.counts(val, columns).sign()
        best: tuple[float, np.ndarray, np.ndarray, float] | None = None
        for strength in SVM_STRENGTHS:
            parts = [_machine(present, targets == label, strength) for label in range(self.spec.target_size)]
            weights, intercept = np.stack([part[0] for part in parts]), np.array([part[1] for part in parts])
            accuracy = float(((val_present @ weights.T + intercept).argmax(1) == val_targets).mean())
            if best is None or accuracy > best[0]:
                best = (accuracy, weights, intercept, strength)
        assert best is not None
        return {"columns": columns, "weights": best[1], "intercept": best[2], "inverse_strength": np.array([best[3]])}

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        """Return margins."""
        outputs: np.ndarray = self.counts([batch], arrays["columns"]).sign() @ arrays["weights"].T + arrays["intercept"]
        return outputs


def _machine(present: csr_matrix, is_class: np.ndarray, strength: float) -> tuple[np.ndarray, float]:
    """Return weights on presence, and the intercept, of one class against the others; a class that training lacks is never chosen."""
    from sklearn.svm import LinearSVC

    if not is_class.any():
        return np.zeros(present.shape[1], np.float32), NEVER
    inside = 1 + np.asarray(present[is_class].sum(0)).ravel()
    outside = 1 + np.asarray(present[~is_class].sum(0)).ravel()
    ratio = np.log((inside / inside.sum()) / (outside / outside.sum()))
    machine = fitted(LinearSVC(C=strength, max_iter=2000, random_state=0), present @ diags(ratio), is_class)
    weights = machine.coef_[0]
    mixed = (1 - INTERPOLATION) * np.abs(weights).mean() + INTERPOLATION * weights
    return (mixed * ratio).astype(np.float32), float(machine.intercept_[0])
