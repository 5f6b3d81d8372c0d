"""Nearest neighbour under dynamic time warping: the classic to beat on labelled sequences.

The distance of two sequences is the least sum of squared distances of steps over all ways to walk both from end to end without going back
(Sakoe & Chiba 1978), D(i, j) = d(i, j) + min(D(i-1, j), D(i, j-1), D(i-1, j-1)), at most `band` of the longer one's length apart, or as
far as their lengths differ. The band is chosen on validation.
"""

from typing import ClassVar

import numpy as np

from rnnlab.baselines.base import Arrays, Method, classes, standardised_targets
from rnnlab.contracts import Batch, InputKind, TargetKind

BANDS = (0.0, 0.05, 0.1, 0.2)
"""Fractions of the longer sequence; 0 compares step by step where lengths are equal."""
MOST_QUERIES = 100
"""Validation examples by which the band is chosen: the first of each batch."""
MOST_VALUES = 4_000_000
"""Training values that are compared at once with one sequence."""


class Warping(Method):
    """Answer with the label, or the number, of the training sequence that is nearest under dynamic time warping."""

    input_kinds: ClassVar[tuple[InputKind, ...]] = ("features",)
    target_kinds: ClassVar[tuple[TargetKind, ...]] = ("class", "real")
    has_probabilities = False

    def refusal(self) -> str | None:
        reason = "it compares named features of whole sequences, which these data do not have: choose baseline.kind=pooled"
        return None if self.spec.feature_names else reason

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        """Keep the training sequences; choose the band on validation."""
        rows = [values for batch in train for values in sequences_of(batch)]
        targets = classes(train)[:, None] if self.spec.target_kind == "class" else standardised_targets(train, self.spec)
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        kept = {"steps": np.concatenate(rows), "lengths": lengths, "targets": targets}
        queries = [values for batch in val for values in sequences_of(batch)][:MOST_QUERIES]
        truth = (classes(val)[:, None] if self.spec.target_kind == "class" else standardised_targets(val, self.spec))[:MOST_QUERIES]
        errors = []
        for band in BANDS:
            nearest = [int(distances(query, kept["steps"], lengths, band).argmin()) for query in queries]
            missed = targets[nearest] - truth
            errors.append(float((missed != 0).mean() if self.spec.target_kind == "class" else np.square(missed).mean()))
        return {**kept, "band": np.array([BANDS[int(np.argmin(errors))]])}

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        """Return of each class the nearest sequence's distance, negative, in units of the nearest of all; or the nearest one's number."""
        rows = []
        for values in sequences_of(batch):
            found = distances(values, arrays["steps"], arrays["lengths"], float(arrays["band"][0]))
            rows.append(
                arrays["targets"][found.argmin()] if self.spec.target_kind == "real" else self._scores(found, arrays["targets"][:, 0])
            )
        return np.stack(rows)

    def _scores(self, found: np.ndarray, labels: np.ndarray) -> np.ndarray:
        nearest = np.full(self.spec.target_size, np.inf)
        np.minimum.at(nearest, labels, found)
        least = max(float(nearest.min()), np.finfo(np.float32).tiny)
        return -np.minimum(nearest / least, 1e4)


def sequences_of(batch: Batch) -> list[np.ndarray]:
    """Return each sequence without its padding, (T, F) float32."""
    lengths = batch.input_lengths.tolist()
    return [values[:length] for values, length in zip(batch.inputs.float().cpu().numpy(), lengths, strict=True)]


def distances(query: np.ndarray, steps: np.ndarray, lengths: np.ndarray, band: float) -> np.ndarray:
    """Return how far a sequence is from each of many.

    Args:
        query: (T, F).
        steps: the others, end to end, (all steps, F).
        lengths: of the others, (N,).
        band: how far apart steps may be, as a fraction of the longer sequence.

    Returns:
        (N,) float64.
    """
    ends = np.cumsum(lengths)
    size = max(1, MOST_VALUES // (int(lengths.max()) * query.shape[1]))
    parts = []
    for start in range(0, len(lengths), size):
        some = lengths[start : start + size]
        padded = np.zeros((int(some.max()), len(some), query.shape[1]), dtype=np.float32)
        for place, (length, end) in enumerate(zip(some, ends[start : start + size], strict=True)):
            padded[:length, place] = steps[end - length : end]
        parts.append(_walked(query.astype(np.float32), padded, some, band))
    return np.concatenate(parts)


def _walked(query_TF: np.ndarray, others_UNF: np.ndarray, lengths_N: np.ndarray, band: float) -> np.ndarray:
    """Fill the table of D along its diagonals i + j, for all others at once; diagonals are held by i, with one row before the first."""
    num_steps, (num_other_steps, num_others, _) = len(query_TF), others_UNF.shape
    radius_N = np.maximum(np.ceil(band * np.maximum(num_steps, lengths_N)), np.abs(num_steps - lengths_N))
    widest = int(radius_N.max())
    before, last = (np.full((num_steps + 1, num_others), np.inf) for _ in range(2))
    found_N = np.full(num_others, np.inf)
    for diagonal in range(num_steps + num_other_steps - 1):
        low = max(0, diagonal - num_other_steps + 1, -(-(diagonal - widest) // 2))
        high = min(diagonal, num_steps - 1, (diagonal + widest) // 2)
        now = np.full((num_steps + 1, num_others), np.inf)
        if low <= high:
            i = np.arange(low, high + 1)
            cost = np.square(query_TF[i][:, None] - others_UNF[diagonal - i]).sum(-1, dtype=np.float64)
            best = np.minimum(np.minimum(last[i], last[i + 1]), before[i])
            best = np.zeros_like(best) if diagonal == 0 else best
            now[i + 1] = np.where(np.abs(2 * i - diagonal)[:, None] <= radius_N, cost + best, np.inf)
        is_end_N = lengths_N + num_steps - 2 == diagonal
        found_N[is_end_N] = now[num_steps, is_end_N]
        before, last = last, now
    return found_N
