"""Batches: which examples, in which order, with which random numbers; each follows from (seed, epoch, example) alone."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from rnnlab.contracts import Batch


class ExampleRandom:
    """Random numbers that depend on nothing but (seed, epoch, example): not on the batch, the order or the process.

    Counter-based: the splitmix64 finaliser (Steele et al. 2014) of a key per example and a running index.
    """

    def __init__(self, seed: int, epoch: int, example_ids_B: np.ndarray) -> None:
        start = _mix(np.uint64((seed * 0x9E3779B97F4A7C15 + epoch) % 2**64))
        self._keys_B = _mix(start ^ _mix(example_ids_B.astype(np.uint64)))
        self._drawn = 0

    def child(self, number: int) -> "ExampleRandom":
        """Return a stream of its own: for draws whose count depends on the batch, so that they don't move the others."""
        child = ExampleRandom(0, 0, np.zeros(0))
        child._keys_B = _mix(self._keys_B + np.uint64(number))
        return child

    def uniform(self, *shape: int) -> Tensor:
        """Draw (B, *shape) float32 numbers in [0, 1)."""
        count = int(np.prod(shape, dtype=np.int64))
        index = np.arange(self._drawn, self._drawn + count, dtype=np.uint64)
        self._drawn += count
        bits = _mix(self._keys_B[:, None] + (index + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15))
        numbers = (bits >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)
        return torch.from_numpy(numbers.reshape(len(self._keys_B), *shape))

    def between(self, low: float, high: float) -> Tensor:
        """Draw (B,) numbers in [low, high)."""
        return low + (high - low) * self.uniform()


def _mix(x: np.ndarray | np.uint64) -> np.ndarray:
    with np.errstate(over="ignore"):
        x = np.asarray(x, dtype=np.uint64)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(x ^ (x >> np.uint64(31)))


class EpochOrder:
    """Give the order of training examples, from (seed, epoch) alone.

    Args:
        example_ids: (N,) rows of the split.
        lengths: (N,) their steps.
        batch_size: sequences per batch.
        seed: of the order.
        bucket_batches: shuffle, then sort by length within stretches of this many batches and shuffle the batches: neighbours of
            like length, so less padding (1: no sorting; 0: no shuffling at all, all sorted, for evaluation).
    """

    def __init__(self, example_ids: np.ndarray, lengths: np.ndarray, batch_size: int, seed: int, bucket_batches: int) -> None:
        self.example_ids = example_ids
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.bucket_batches = bucket_batches
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (Lightning calls this before each one)."""
        self.epoch = epoch

    def batches(self) -> list[np.ndarray]:
        """Return the epoch's batches of example ids."""
        if self.bucket_batches == 0:
            return self._cut(np.argsort(self.lengths, kind="stable"))
        generator = np.random.default_rng([self.seed, self.epoch])
        places = generator.permutation(len(self.example_ids))
        if self.bucket_batches == 1:
            return self._cut(places)
        size = self.batch_size * self.bucket_batches
        stretches = [places[start : start + size] for start in range(0, len(places), size)]
        batches = self._cut(np.concatenate([s[np.argsort(self.lengths[s], kind="stable")] for s in stretches]))
        return [batches[index] for index in generator.permutation(len(batches))]

    def _cut(self, places: np.ndarray) -> list[np.ndarray]:
        ids = self.example_ids[places]
        return [ids[start : start + self.batch_size] for start in range(0, len(ids), self.batch_size)]

    def __len__(self) -> int:
        return -(-len(self.example_ids) // self.batch_size)


class BudgetOrder(EpochOrder):
    """Batches of similar length under a budget of steps: many short sequences or few long ones.

    Each epoch shuffles the examples, buckets them by length, shuffles within the buckets, cuts these, and shuffles the batches. Examples
    of one length may be in any of its buckets: the order of the source, which may be that of its labels, has no influence. Every epoch
    has the same number of batches, so that schedules know their end.

    Args:
        example_ids: (N,) rows of the split.
        lengths: (N,) their steps.
        batch_size: most sequences in a batch.
        max_steps: most steps in a batch, padding included (a longer sequence is a batch of its own).
        seed: of the order.
        num_buckets: how many (0: no shuffling, sorted throughout, for evaluation).
    """

    def __init__(self, example_ids: np.ndarray, lengths: np.ndarray, batch_size: int, max_steps: int, seed: int, num_buckets: int) -> None:
        super().__init__(example_ids, lengths, batch_size, seed, num_buckets)
        self.max_steps = max_steps
        buckets = self._buckets(np.arange(len(lengths)))
        self._sizes = [max(1, min(batch_size, max_steps // max(1, int(lengths[bucket[-1]])))) for bucket in buckets]
        self._num_batches = sum(-(-len(bucket) // size) for bucket, size in zip(buckets, self._sizes, strict=True))

    def _buckets(self, places: np.ndarray) -> list[np.ndarray]:
        """Sort by length, those of one length in the order that is given, and divide."""
        by_length = places[np.argsort(self.lengths[places], kind="stable")]
        return [bucket for bucket in np.array_split(by_length, max(1, self.bucket_batches)) if len(bucket)]

    def batches(self) -> list[np.ndarray]:
        if self.bucket_batches == 0:
            return self._cut_sorted()
        generator = np.random.default_rng([self.seed, self.epoch])
        batches = []
        buckets = self._buckets(generator.permutation(len(self.lengths)))
        for bucket, size in zip(buckets, self._sizes, strict=True):
            places = generator.permutation(bucket)
            batches += [self.example_ids[places[start : start + size]] for start in range(0, len(places), size)]
        return [batches[index] for index in generator.permutation(len(batches))]

    def _cut_sorted(self) -> list[np.ndarray]:
        """Cut the sorted examples where a longer batch would break the budget."""
        batches, first = [], 0
        places = np.argsort(self.lengths, kind="stable")
        for last in range(1, len(places) + 1):
            is_full = last - first == self.batch_size or (
                last < len(places) and (last - first + 1) * self.lengths[places[last]] > self.max_steps
            )
            if is_full or last == len(places):
                batches.append(self.example_ids[places[first:last]])
                first = last
        return batches

    def __len__(self) -> int:
        if self.bucket_batches == 0:
            return len(self._cut_sorted())
        return self._num_batches


class BatchLoader:
    """Iterate over padded batches, straight from memory-mapped arrays; of several processes each gets its share of every batch.

    Args:
        order: which examples make a batch together, and when.
        collate: makes a padded batch of (examples, epoch).
        rank: number of this process.
        num_processes: how many share each batch.
        is_stream: whether row r of each batch goes on where row r of the batch before ended.
    """

    def __init__(
        self,
        order: EpochOrder,
        collate: Callable[[np.ndarray, int], Batch],
        rank: int = 0,
        num_processes: int = 1,
        *,
        is_stream: bool = False,
    ) -> None:
        self.sampler = self.batch_sampler = order  # Lightning calls `sampler.set_epoch`
        self.collate = collate
        self.rank, self.num_processes, self.is_stream = rank, num_processes, is_stream
        self.start = 0

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        start, self.start = self.start, 0
        for number, rows in enumerate(self.sampler.batches()[start:], start=start):
            is_continued = self.is_stream and number > 0
            if self.num_processes == 1:
                batch = self.collate(rows, self.sampler.epoch)
                yield replace(batch, is_continued=True) if is_continued else batch
            else:
                batch = self.collate(share(rows, self.rank, self.num_processes), self.sampler.epoch)
                yield replace(batch, whole_size=len(rows), is_continued=is_continued)

    def skip_once(self, num_batches: int) -> None:
        """Begin the next epoch after this many batches (a resume within an epoch)."""
        self.start = num_batches


def share(rows: np.ndarray, rank: int, num_processes: int) -> np.ndarray:
    """Return every `num_processes`-th row (neighbours are of like length), or all where there are fewer rows than processes."""
    return rows if len(rows) < num_processes else rows[rank::num_processes]


def round_up_steps(values_BTF: Tensor, multiple: int = 8) -> Tensor:
    """Pad time to a multiple, so that few different shapes occur: convolution kernels are built and kept per shape."""
    missing = -values_BTF.shape[1] % multiple
    return torch.nn.functional.pad(values_BTF, (0, 0, 0, missing)) if missing else values_BTF
