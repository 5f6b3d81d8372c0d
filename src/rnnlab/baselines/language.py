"""Language models that count: single tokens, and n-grams smoothed by Kneser and Ney, interpolated.

With c the counts of n-grams in training, the highest order N uses c itself, each lower one the number of different tokens that stood before
the n-gram (Kneser and Ney 1995). With three discounts D_1, D_2, D_3+ of each order (Chen and Goodman 1999, section 3.4, "modified"),

    p_n(w | h) = (c(h w) - D(c(h w))) / c(h) + g(h) p_{n-1}(w | h')      h' without its first token
    g(h)       = (D_1 N_1(h) + D_2 N_2(h) + D_3+ N_3+(h)) / c(h)         N_i(h): tokens that follow h i times
    Y = n_1 / (n_1 + 2 n_2),  D_i = i - (i + 1) Y n_{i+1} / n_i          n_i: n-grams of this order that are met i times

and p_0 is even over the vocabulary. A context that training lacks leaves everything to the lower order.
"""

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from rnnlab.baselines.base import Arrays, BaselineSettings, Method
from rnnlab.contracts import IGNORED_TARGET, Batch, DataSpec, InputKind, TargetKind

Weigh = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From the counts of n-grams, sorted by context, (G,), and where contexts begin, (C,), to the chance of each and what is left below."""
DEFAULT_ORDER = {"characters": 6, "pieces": 4, "words": 5}
MOST_ORDER = 12


class NextTokens(Method):
    """Base class of counting language models; streams are read on from the tokens that the last batch ended with."""

    input_kinds: ClassVar[tuple[InputKind, ...]] = ("tokens",)
    target_kinds: ClassVar[tuple[TargetKind, ...]] = ("class_per_step",)
    order: int

    def __init__(self, spec: DataSpec, settings: BaselineSettings) -> None:
        super().__init__(spec, settings)
        self.before: np.ndarray | None = None

    @classmethod
    def is_offered(cls, spec: DataSpec) -> bool:
        return super().is_offered(spec) and spec.goal == "continue"

    def contexts(self, batch: Batch) -> np.ndarray:
        """Return the tokens that each step may look at, the last one last, (B, T, order - 1); -1 where there is none."""
        num_back = self.order - 1
        inputs_BT = batch.inputs.numpy()
        before = self.before[: batch.size] if batch.is_continued and self.before is not None else None
        if before is None:
            before = np.full((batch.size, num_back), -1)
        whole = np.concatenate([before, inputs_BT], 1)
        self.before = whole[:, whole.shape[1] - num_back :] if num_back else whole[:, :0]
        if not num_back:
            return np.zeros((*inputs_BT.shape, 0), dtype=np.int64)
        return np.lib.stride_tricks.sliding_window_view(whole, num_back, axis=1)[:, 1:]


class Unigram(NextTokens):
    """Count tokens; add one (Laplace)."""

    order = 1

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        stream = stream_of(train)
        return {
            "log_chance_V": np.log(
                (np.bincount(stream[1:], minlength=self.spec.target_size) + 1) / (len(stream) - 1 + self.spec.target_size)
            )
        }

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        """Return log-probabilities, (B, T, V)."""
        return np.broadcast_to(arrays["log_chance_V"], (*batch.inputs.shape, self.spec.target_size)).astype(np.float32)


class KneserNey(NextTokens):
    """Interpolated n-grams with modified Kneser-Ney smoothing; see the top of this file."""

    def __init__(self, spec: DataSpec, settings: BaselineSettings) -> None:
        super().__init__(spec, settings)
        self.order = settings.ngrams or DEFAULT_ORDER.get(spec.joined, 5)
        if not 2 <= self.order <= MOST_ORDER:
            raise ValueError(f"baseline.ngrams={self.order} is not an order of n-grams: give 2 to {MOST_ORDER}, commonly 3 to 6")

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        """Count all orders; see `NgramOrder` for what is kept of each.

        Raises:
            ValueError: if the text is shorter than an n-gram.
        """
        stream = stream_of(train)
        if len(stream) < self.order:
            raise ValueError(f"baseline.ngrams={self.order}: training has {len(stream)} tokens only; give fewer")
        grams_GN = np.lib.stride_tricks.sliding_window_view(stream, self.order)
        counted = [np.unique(grams_GN, axis=0, return_counts=True)]
        for _ in range(self.order - 1):  # how many different tokens stood before
            counted.append(np.unique(counted[-1][0][:, 1:], axis=0, return_counts=True))
        arrays = Arrays()
        for length, (keys_GN, counts_G) in enumerate(reversed(counted), start=1):
            arrays |= NgramOrder(length).kept(arrays, keys_GN, counts_G, self.spec.target_size, discounted)
        return arrays

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        """Return log-probabilities, (B, T, V)."""
        contexts_BTN, size = self.contexts(batch), self.spec.target_size
        flat_MN = contexts_BTN.reshape(-1, self.order - 1)
        chances_MV, places_M = np.full((len(flat_MN), size), 1 / size), np.zeros(len(flat_MN), dtype=np.int64)
        for length in range(1, self.order + 1):
            if length > 1:
                places_M = NgramOrder(length).places(arrays, places_M, flat_MN[:, self.order - length], size)
            NgramOrder(length).interpolate(arrays, places_M, chances_MV)
        return np.log(chances_MV).astype(np.float32).reshape(*batch.inputs.shape, size)


class NgramOrder:
    """The n-grams of one length: for each context a stretch of followers with their discounted chances, and what it leaves below.

    A context is numbered by its place among those of the lower order, which lacks its first token, and by that token: exact for any order.
    Arrays are named by the length.
    """

    def __init__(self, length: int) -> None:
        self.length = length

    def _named(self, name: str) -> str:
        return f"{name}_{self.length}"

    def kept(self, below: Arrays, keys_GN: np.ndarray, counts_G: np.ndarray, size: int, weigh: Weigh) -> Arrays:
        """Return the arrays of n-grams (sorted) and their counts; `below` are those of the lower orders."""
        is_new_G = np.arange(len(keys_GN)) == 0
        is_new_G[1:] |= (keys_GN[1:, :-1] != keys_GN[:-1, :-1]).any(1)
        starts_C = np.flatnonzero(is_new_G)
        ends_C = np.append(starts_C[1:], len(keys_GN))
        chances_G, left_C = weigh(counts_G, starts_C)
        numbers_C = self._numbers(below, keys_GN[starts_C, :-1], size)
        order = np.argsort(numbers_C)
        return {
            self._named("context"): numbers_C[order],
            self._named("start"): starts_C[order],
            self._named("end"): ends_C[order],
            self._named("token"): keys_GN[:, -1].astype(np.int64),
            self._named("chance"): chances_G,
            self._named("left"): left_C[order],
        }

    def _numbers(self, below: Arrays, contexts_CN: np.ndarray, size: int) -> np.ndarray:
        """Return the number of each context of training, (C,) int64."""
        places_C = np.zeros(len(contexts_CN), dtype=np.int64)
        for length in range(2, self.length):
            places_C = NgramOrder(length).places(below, places_C, contexts_CN[:, self.length - length], size)
        return places_C * size + contexts_CN[:, 0] if self.length > 1 else places_C

    def places(self, arrays: Arrays, below_M: np.ndarray, first_M: np.ndarray, size: int) -> np.ndarray:
        """Return the places of contexts among those of this order, (M,), -1 of unknown ones, from those of the lower order."""
        known = arrays[self._named("context")]
        wanted_M = below_M * size + first_M
        found_M = np.minimum(np.searchsorted(known, wanted_M), len(known) - 1)
        return np.where((below_M >= 0) & (first_M >= 0) & (known[found_M] == wanted_M), found_M, -1)

    def interpolate(self, arrays: Arrays, places_M: np.ndarray, chances_MV: np.ndarray) -> None:
        """Turn the lower order's chances into this one's, in place, where the context is known."""
        rows = np.flatnonzero(places_M >= 0)
        places = places_M[rows]
        chances_MV[rows] *= arrays[self._named("left")][places, None]
        starts, ends = arrays[self._named("start")][places], arrays[self._named("end")][places]
        num_C = ends - starts
        entries = np.repeat(starts - np.concatenate([[0], np.cumsum(num_C)[:-1]]), num_C) + np.arange(num_C.sum())
        chances_MV[np.repeat(rows, num_C), arrays[self._named("token")][entries]] += arrays[self._named("chance")][entries]


def discounted(counts_G: np.ndarray, starts_C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the chances of n-grams less their discounts, (G,), and what these leave to the lower order in each context, (C,)."""
    totals_C = np.add.reduceat(counts_G, starts_C).astype(float)
    discounts_G = _discounts(counts_G)[np.minimum(counts_G, 3)]
    sizes_C = np.diff(np.append(starts_C, len(counts_G)))
    return (counts_G - discounts_G) / np.repeat(totals_C, sizes_C), np.add.reduceat(discounts_G, starts_C) / totals_C


def _discounts(counts_G: np.ndarray) -> np.ndarray:
    """Return the discounts of n-grams met 0, 1, 2, and 3 or more times; between 0 and what is met, also where few are counted."""
    n1, n2, n3, n4 = (float((counts_G == times).sum()) for times in (1, 2, 3, 4))
    y = n1 / (n1 + 2 * n2) if n1 else 0.5
    found = [
        0.0,
        *(times - (times + 1) * y * above / below if below else 0.5 for times, below, above in ((1, n1, n2), (2, n2, n3), (3, n3, n4))),
    ]
    return np.clip(found, [0.0, 0.05, 0.05, 0.05], [0.0, 0.95, 1.95, 2.95])


def stream_of(batches: list[Batch]) -> np.ndarray:
    """Return the running text of batches of streams, one stream after another; its first token is a context only."""
    streams: dict[int, list[np.ndarray]] = {}
    for batch in batches:
        for row, (inputs_T, targets_T, length) in enumerate(
            zip(batch.inputs.numpy(), batch.targets.numpy(), batch.input_lengths.tolist(), strict=True)
        ):
            known = targets_T[:length][targets_T[:length] != IGNORED_TARGET]
            streams.setdefault(row, [inputs_T[:1]]).append(known)
    parts = [np.concatenate(parts)[0 if row == 0 else 1 :] for row, parts in sorted(streams.items())]
    return np.concatenate(parts)
