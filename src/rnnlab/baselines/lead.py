"""The beginning of the text: what summaries are measured against, and by which news and abstracts are hard to beat."""

from typing import ClassVar

import numpy as np

from rnnlab.baselines.base import Arrays, Method
from rnnlab.contracts import PAD, STOP, Batch, DataSpec, InputKind, TargetKind

ENDS = frozenset(".!?\u3002\uff01\uff1f")
"""Signs that end a sentence, Chinese and Japanese ones too."""
CLOSING = frozenset("\"'\u201d\u2019\u00bb)]")
"""Signs that belong to the sentence before them."""
BLANK = "▁"


class Lead(Method):
    """Answer with the first sentence of the input, or with its first `baseline.num_words` tokens; nothing is fitted.

    A sentence ends with one of `ENDS`, alone or at the end of a longer token (subwords); what may be an abbreviation (`e.g.`, `J.`, `al.`)
    ends none. Words that the vocabulary lacks are repeated as they are.
    """

    input_kinds: ClassVar[tuple[InputKind, ...]] = ("tokens",)
    target_kinds: ClassVar[tuple[TargetKind, ...]] = ("tokens",)

    @classmethod
    def is_offered(cls, spec: DataSpec) -> bool:
        return super().is_offered(spec) and spec.goal == "summarise"

    def refusal(self) -> str | None:
        return None if self.spec.can_copy else "its answers are not words of its inputs"

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        return {}

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        """Return tokens of the extended vocabulary (see `contracts.Copies`), (B, S) int64 padded with 0."""
        if batch.copies is None:
            raise ValueError("the batch does not say which tokens of the target its inputs are: see Batch.copies")
        known, found = self.spec.label_names, []
        for numbers, length, words in zip(batch.copies.numbers.tolist(), batch.input_lengths.tolist(), batch.copies.words, strict=True):
            tokens = [number for number in numbers[:length] if number != STOP]
            names = [known[number] if number < len(known) else words[number - len(known)] for number in tokens]
            found.append(tokens[: self.settings.num_words or first_sentence(names, self.spec.joined == "pieces")])
        answers = np.full((len(found), max(map(len, found), default=0)), PAD, dtype=np.int64)
        for row, tokens in enumerate(found):
            answers[row, : len(tokens)] = tokens
        return answers


def first_sentence(tokens: list[str], is_joined: bool = False) -> int:
    """Return how many tokens the first sentence has; all where none ends before.

    Where tokens are joined (subwords, characters) a blank follows an end, but not in scripts with signs of their own: `3.5` goes on.
    """
    for place, token in enumerate(tokens[:-1]):
        if not _ends(token.removeprefix(BLANK)) or (is_joined and token[-1].isascii() and not tokens[place + 1].startswith(BLANK)):
            continue
        end = place + 1
        while end < len(tokens) and tokens[end] in CLOSING:
            end += 1
        return end
    return len(tokens)


def _ends(token: str) -> bool:
    return bool(token) and token[-1] in ENDS and (len(token) == 1 or (len(token) > 3 and "." not in token[:-1]))
