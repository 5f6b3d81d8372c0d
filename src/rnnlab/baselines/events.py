"""What comes next by counting: the most frequent events, and Markov chains that back off to shorter contexts.

With c the counts of n-grams in training cases and h the last n - 1 events (or what is before the first event), the chain of order n - 1
gives

    p_n(e | h) = (c(h e) + a p_{n-1}(e | h')) / (c(h) + a)      h' without its first event (MacKay and Peto 1995, one a for all)

and p_0 is even. A context that training lacks leaves everything to the shorter one. The weight a, and the order unless given, are those
of the highest likelihood on validation.
"""

from functools import partial
from typing import ClassVar

import numpy as np

from rnnlab.baselines.base import Arrays, BaselineSettings, Method
from rnnlab.baselines.language import NgramOrder
from rnnlab.contracts import IGNORED_TARGET, PAD, Batch, DataSpec, InputKind, TargetKind

ORDERS = (2, 3, 4, 5)
"""Events that are counted together."""
MOST_ORDER = 12
WEIGHTS = (0.03, 0.3, 3.0, 30.0)


class Popularity(Method):
    """Count events whatever came before; add one (Laplace)."""

    input_kinds: ClassVar[tuple[InputKind, ...]] = ("tokens",)
    target_kinds: ClassVar[tuple[TargetKind, ...]] = ("class_per_step",)

    @classmethod
    def is_offered(cls, spec: DataSpec) -> bool:
        return super().is_offered(spec) and bool(spec.ranks)

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        counts_V = np.bincount(np.concatenate([_grams(batch, 1)[:, 0] for batch in train]), minlength=self.spec.target_size) + 1.0
        return {"log_chance_V": np.log(counts_V / counts_V.sum())}

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        """Return log-probabilities, (B, T, V)."""
        return np.broadcast_to(arrays["log_chance_V"], (*batch.inputs.shape, self.spec.target_size)).astype(np.float32)


class MarkovChain(Popularity):
    """Count what follows the last events; see the top of this file."""

    def __init__(self, spec: DataSpec, settings: BaselineSettings) -> None:
        super().__init__(spec, settings)
        if settings.ngrams is not None and not 2 <= settings.ngrams <= MOST_ORDER:
            raise ValueError(f"baseline.ngrams={settings.ngrams}: a chain counts 2 to {MOST_ORDER} events together (2 is order 1), or null")

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        """Count, and choose by the likelihood of validation cases."""
        orders = (self.settings.ngrams,) if self.settings.ngrams else ORDERS
        grams_GN = np.concatenate([_grams(batch, max(orders)) for batch in train])
        tried = [self._fitted(grams_GN[:, -order:], weight) for order in orders for weight in WEIGHTS]
        return max(tried, key=lambda arrays: self._log_likelihood(arrays, val))

    def _fitted(self, grams_GN: np.ndarray, weight: float) -> Arrays:
        order = grams_GN.shape[1]
        arrays: Arrays = {"order": np.array([order]), "weight": np.array([weight])}
        for length in range(1, order + 1):
            keys, counts = np.unique(grams_GN[:, order - length :], axis=0, return_counts=True)
            arrays |= NgramOrder(length).kept(arrays, keys, counts, self.spec.target_size, partial(_backed_off, weight))
        return arrays

    def _log_likelihood(self, arrays: Arrays, batches: list[Batch]) -> float:
        found = 0.0
        for batch in batches:
            targets_BT = batch.targets.numpy()
            rows, steps = np.nonzero(targets_BT != IGNORED_TARGET)
            found += float(self.predict(arrays, batch)[rows, steps, targets_BT[rows, steps]].sum())
        return found

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        """Return log-probabilities, (B, T, V)."""
        order, size = int(arrays["order"][0]), self.spec.target_size
        contexts_MN = _contexts(batch, order).reshape(-1, order - 1)
        chances_MV, places_M = np.full((len(contexts_MN), size), 1 / size), np.zeros(len(contexts_MN), dtype=np.int64)
        for length in range(1, order + 1):
            if length > 1:
                places_M = NgramOrder(length).places(arrays, places_M, contexts_MN[:, order - length], size)
            NgramOrder(length).interpolate(arrays, places_M, chances_MV)
        return np.log(chances_MV).astype(np.float32).reshape(*batch.inputs.shape, size)


def _backed_off(weight: float, counts_G: np.ndarray, starts_C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the chances of n-grams, (G,), and what the weight leaves to the shorter context, (C,)."""
    totals_C = np.add.reduceat(counts_G, starts_C) + weight
    sizes_C = np.diff(np.append(starts_C, len(counts_G)))
    return counts_G / np.repeat(totals_C, sizes_C), weight / totals_C


def _contexts(batch: Batch, order: int) -> np.ndarray:
    """Return the events that each step may look at, the last one last, (B, T, order - 1); padding before the first event."""
    inputs_BT = batch.inputs.numpy()
    if order == 1:
        return np.zeros((*inputs_BT.shape, 0), dtype=np.int64)
    whole = np.pad(inputs_BT, ((0, 0), (order - 2, 0)), constant_values=PAD)
    return np.lib.stride_tricks.sliding_window_view(whole, order - 1, axis=1)


def _grams(batch: Batch, order: int) -> np.ndarray:
    """Return the n-grams of a batch whose last event is known, (G, order)."""
    targets_BT = batch.targets.numpy()
    is_known_BT = targets_BT != IGNORED_TARGET
    return np.concatenate([_contexts(batch, order)[is_known_BT], targets_BT[is_known_BT][:, None]], axis=1)
