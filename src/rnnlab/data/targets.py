"""Data whose targets are sequences of tokens: what dictation, translation and pronunciation share."""

from abc import ABC
from collections.abc import Callable, Iterable
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from rnnlab.contracts import PAD, SPECIALS, START, UNKNOWN, Batch
from rnnlab.data.base import SequenceDataModule, Split
from rnnlab.data.inputs import warn
from rnnlab.data.tokens import Vocabulary


class TokenTargets(SequenceDataModule, ABC):
    """Number target tokens, and keep what is right as text.

    A subclass prepares `targets` (numbers of `meta`'s token types) beside its inputs, and a column `target`, the text that is right, in
    `examples`; in `assign_splits` it sets `target_vocabulary` and `target_numbers`.
    """

    target_vocabulary: Vocabulary
    """Begins with `contracts.SPECIALS`."""
    target_numbers: np.ndarray
    """(types,) int32, each token type's number in `target_vocabulary`."""
    more_steps: ClassVar[str] = ""
    """How to give CTC more steps, for messages."""
    infeasible: tuple[str, ...] = ()
    """Ids of what `leave_out_infeasible` left out."""

    @property
    def speedup(self) -> float:
        """By which share augmentation may at most shorten training inputs."""
        return 0.0

    def leave_out_infeasible(self, num_steps: Callable[[np.ndarray], np.ndarray]) -> tuple[str, ...]:
        """Leave out of training and validation what CTC cannot align: fewer output steps than tokens and blanks between equal ones.

        Training examples must be long enough when augmentation shortens them, too. Test examples stay: they count as they are answered.

        Args:
            num_steps: of a network: from input steps (N,) to output steps (N,).

        Returns:
            The ids of those left out.

        Raises:
            ValueError: where none would be left of a split.
        """
        left_out: list[str] = []
        margins: tuple[tuple[Split, float], ...] = (("train", 1 + self.speedup), ("val", 1.0))
        for split, margin in margins:
            rows = self.rows[split]
            is_short = num_steps(self.lengths[rows]) < margin * self.least_steps(rows)
            if len(rows) and is_short.all():
                raise ValueError(
                    f"the network gives too few steps for all {len(rows)} examples of the {split} split: CTC needs one a token and one "
                    f"more between equal ones. {self.more_steps}"
                )
            left_out += self.examples["id"].iloc[rows[is_short]].tolist()
            self.rows[split] = rows[~is_short]
        self.infeasible = tuple(left_out)
        return self.infeasible

    def least_steps(self, rows: np.ndarray) -> np.ndarray:
        """Count the output steps that CTC needs for these targets, (N,) int64: tokens, and a blank between equal neighbours."""
        targets = [self.target_tokens(row) for row in rows]
        return np.array([len(target) + np.count_nonzero(target[1:] == target[:-1]) for target in targets], dtype=np.int64)

    def target_tokens(self, row: int) -> np.ndarray:
        """Return one example's target, numbers of the vocabulary, (S,) int64."""
        start, end = self.data.target_offsets[row : row + 2]
        numbers: np.ndarray = self.target_numbers[self.data.targets[start:end]].astype(np.int64)
        return numbers

    def with_targets(self, inputs: Tensor, input_lengths_B: Tensor, rows: np.ndarray, is_training: bool) -> Batch:
        """Return a batch of padded inputs with their targets, and with references unless it is for training."""
        targets_BS, target_lengths_B = pad_tokens([self.target_tokens(row) for row in rows])
        references = None if is_training else self.references(rows)
        return Batch(inputs, input_lengths_B, targets_BS, target_lengths_B, torch.from_numpy(rows), references=references)

    @property
    def target_lengths(self) -> np.ndarray:
        """Tokens of each example's target, (N,) int64."""
        lengths: np.ndarray = np.diff(self.data.target_offsets)
        return lengths

    def references(self, rows: np.ndarray) -> tuple[tuple[str, ...], ...]:
        """Return the texts that are right for each of these rows, one or more."""
        texts = self.examples["target"].to_numpy(object)
        return tuple((str(texts[row]),) for row in rows)

    def targets(self, rows: np.ndarray) -> list[object]:
        return [list(texts) for texts in self.references(rows)]


def count_types(flat: np.ndarray, offsets: np.ndarray, rows: np.ndarray, num_types: int) -> np.ndarray:
    """Count how often each of so many token types occurs in these rows of `flat`, whose row i lies between offsets i and i + 1."""
    is_counted = np.zeros(len(offsets) - 1, dtype=bool)
    is_counted[rows] = True
    counts: np.ndarray = np.bincount(flat[np.repeat(is_counted, np.diff(offsets))], minlength=num_types)
    return counts


def fit_with_ends(types: list[str], counts: np.ndarray, min_frequency: int, max_size: int | None) -> tuple[Vocabulary, np.ndarray]:
    """Fit a vocabulary that begins with `contracts.SPECIALS`; see `Vocabulary.fit`.

    Returns:
        The vocabulary, and its number of each type, (types,) int32.
    """
    counts = np.where(np.isin(types, SPECIALS), 0, counts)  # what looks like a special word is an unknown one
    plain, numbers = Vocabulary.fit(types, counts, min_frequency, max_size)
    moved = len(SPECIALS) - START
    return Vocabulary((*SPECIALS, *plain.words[START:])), np.where(numbers >= START, numbers + moved, numbers).astype(np.int32)


def pad_tokens(rows: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Pad rows of numbers to (B, S) int64; return lengths (B,) int64 too. Rows may be empty."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    most = int(lengths.max(initial=0))
    values_BS = np.full((len(rows), most), PAD, dtype=np.int64)
    values_BS[np.arange(most)[None] < lengths[:, None]] = np.concatenate(rows)
    return torch.from_numpy(values_BS), torch.from_numpy(lengths)


def warn_unseen(tokens: Iterable[str]) -> None:
    """Tell on stderr which tokens of an input training never saw, the first few by name."""
    names = list(dict.fromkeys(tokens))
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        shown = ", ".join(map(repr, names[:5]))
        warn(f"never seen in training, read as {SPECIALS[UNKNOWN]}: {shown}{more}")
