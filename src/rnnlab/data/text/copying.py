"""Which token of the target each token of an input is, and which of its words the target's vocabulary lacks (see `contracts.Copies`)."""

from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np

from rnnlab.contracts import UNKNOWN, Copies
from rnnlab.data.targets import pad_tokens

Word = TypeVar("Word", bound=Hashable)


def extend(words: Sequence[Word], numbers: np.ndarray, known: dict[Word, int], size: int, is_target: bool = False) -> np.ndarray:
    """Return the numbers of words, (T,) int64, those of the vocabulary and from `size` on those of `known`.

    Args:
        words: what identifies each: a text, or the number of its type.
        numbers: of the vocabulary, unknown where it lacks the word.
        known: the unknown words of the input so far; an input's are added, a target's are not.
        size: of the vocabulary.
        is_target: whether these are the words of the target.
    """
    extended = numbers.astype(np.int64)
    for place in np.flatnonzero(extended == UNKNOWN).tolist():
        word = words[place]
        extended[place] = known.get(word, UNKNOWN) if is_target else known.setdefault(word, size + len(known))
    return extended


def copies(inputs: Sequence[np.ndarray], targets: Sequence[np.ndarray], words: Sequence[tuple[str, ...]]) -> Copies:
    """Pad the extended numbers of inputs and targets."""
    return Copies(pad_tokens(list(inputs))[0], pad_tokens(list(targets))[0], tuple(words))
