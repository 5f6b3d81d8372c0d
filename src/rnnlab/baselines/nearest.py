"""The answer of the most similar training example: what sequences of tokens are measured against."""

from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix
from scipy.spatial.distance import cdist

from rnnlab.baselines.bag_of_words import Bag
from rnnlab.baselines.base import Arrays
from rnnlab.contracts import PAD, Batch, InputKind, TargetKind

LETTER_NGRAMS, WORD_NGRAMS = 3, 2
LEAST_SPREAD = 1e-6
BLOCK = 64  # queries at a time: as many similarities to every example are in memory


class Nearest(Bag):
    """Answer with the target of the training example that is most like the input; of several that are alike, the earliest's.

    Tokens are alike by the cosine of TF-IDF vectors (1 + log tf, smooth idf) of n-grams; an input without a known n-gram is like all.
    Features are alike by the Euclidean distance of each feature's mean and standard deviation over time, standardised on training data.
    """

    input_kinds: ClassVar[tuple[InputKind, ...]] = ("tokens", "features")
    target_kinds: ClassVar[tuple[TargetKind, ...]] = ("tokens",)

    @property
    def ngrams(self) -> int:
        """Longest n-gram: words have pairs, letters triples."""
        return self.settings.ngrams or (LETTER_NGRAMS if self.spec.goal == "pronounce" else WORD_NGRAMS)

    def refusal(self) -> str | None:
        return super().refusal() if self.spec.input_kind == "tokens" else None

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        order = np.argsort(np.concatenate([batch.example_ids.numpy() for batch in train]), kind="stable")
        targets = _targets(train, order)
        if self.spec.input_kind == "tokens":
            return {**targets, **self._index(train, order)}
        values = np.concatenate([_mean_and_spread(batch) for batch in train])[order]
        mean, spread = values.mean(0), values.std(0) + LEAST_SPREAD
        return {**targets, "points": (values - mean) / spread, "mean": mean, "spread": spread}

    def _index(self, train: list[Batch], order: np.ndarray) -> Arrays:
        """Return the n-grams, their weights, and the examples' vectors (CSR, examples by n-grams)."""
        columns, counts = self.fit_columns(train)
        counts = counts[order]
        occurrences = np.bincount(counts.indices, minlength=len(columns))
        idf = np.log((1 + counts.shape[0]) / (1 + occurrences)) + 1
        found = _weighted(counts, idf)
        return {
            "columns": columns,
            "idf": idf,
            "vector_weights": found.data,
            "vector_columns": found.indices.astype(np.int32),
            "vector_offsets": found.indptr.astype(np.int64),
        }

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        """Return targets, (B, S) int64 padded with 0."""
        chosen = self._most_similar(arrays, batch) if self.spec.input_kind == "tokens" else _closest(arrays, batch)
        offsets = arrays["nearest_offsets"]
        starts, lengths = offsets[chosen], (offsets[1:] - offsets[:-1])[chosen]
        places_BS = starts[:, None] + np.arange(lengths.max(initial=0))[None]
        is_valid_BS = places_BS < (starts + lengths)[:, None]
        found: np.ndarray = np.where(is_valid_BS, arrays["nearest_tokens"][places_BS.clip(max=offsets[-1] - 1)], PAD)
        return found

    def _most_similar(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        queries = _weighted(self.counts([batch], arrays["columns"]), arrays["idf"])
        parts = (arrays["vector_weights"], arrays["vector_columns"], arrays["vector_offsets"])
        examples = csr_matrix(parts, shape=(len(arrays["vector_offsets"]) - 1, len(arrays["columns"])))
        starts = range(0, batch.size, BLOCK)
        # Dense queries: letters are so frequent that a product of two sparse matrices takes far longer.
        return np.concatenate([(examples @ queries[start : start + BLOCK].T.toarray()).argmax(0) for start in starts])


def _weighted(counts: csr_matrix, idf: np.ndarray) -> csr_matrix:
    """Turn counts into TF-IDF vectors of unit length, float32; a row without counts stays zero."""
    found = csr_matrix(((1 + np.log(counts.data.astype(float))) * idf[counts.indices], counts.indices, counts.indptr), shape=counts.shape)
    norms = np.sqrt(np.asarray(found.multiply(found).sum(1)).ravel())
    found.data = (found.data / np.repeat(norms, np.diff(found.indptr))).astype(np.float32)
    return found


def _closest(arrays: Arrays, batch: Batch) -> np.ndarray:
    points = (_mean_and_spread(batch) - arrays["mean"]) / arrays["spread"]
    return np.asarray(cdist(points, arrays["points"], "sqeuclidean").argmin(1))


def _mean_and_spread(batch: Batch) -> np.ndarray:
    """Return each feature's mean and standard deviation over time, (B, 2 F)."""
    sequences = zip(batch.inputs.double().numpy(), batch.input_lengths.tolist(), strict=True)
    return np.stack([np.concatenate([values[:length].mean(0), values[:length].std(0)]) for values, length in sequences])


def _targets(train: list[Batch], order: np.ndarray) -> Arrays:
    """Put targets end to end."""
    rows: list[np.ndarray] = []
    for batch in train:
        rows += [tokens[:length] for tokens, length in zip(batch.targets.numpy(), batch.target_lengths.tolist(), strict=True)]
    offsets = np.cumsum([0, *(len(rows[place]) for place in order)])
    return {"nearest_tokens": np.concatenate([rows[place] for place in order]), "nearest_offsets": offsets}
