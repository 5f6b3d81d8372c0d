"""How words become numbers for a tagger, with their characters, and how a person's sentences become a batch for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rnnlab.contracts import UNKNOWN, Batch
from rnnlab.data.files import Broken, ending
from rnnlab.data.inputs import InputTokens, TableFormat, WrittenReader, lines_of, tell, told
from rnnlab.data.tables import JSON_SUFFIXES, TABLE_SUFFIXES
from rnnlab.data.text.tagged import CONLL_SUFFIXES, TOKEN_NAMES, TagColumns, files_of, sentences_of
from rnnlab.data.text_files import read_text
from rnnlab.data.tokens import Vocabulary


@dataclass(frozen=True)
class WordCoder:
    """Turn words into numbers.

    Args:
        vocabulary: the words of training.
        alphabet: the characters of training; `max_characters` of a word are kept, half from both ends.
        is_lower: whether words are looked up in lower case; characters keep their case.
        max_characters: 0 for none.
    """

    vocabulary: tuple[str, ...]
    alphabet: tuple[str, ...]
    is_lower: bool
    max_characters: int

    @cached_property
    def _words(self) -> Vocabulary:
        return Vocabulary(self.vocabulary)

    @cached_property
    def _letters(self) -> dict[str, int]:
        return {letter: number for number, letter in enumerate(self.alphabet)}

    def form(self, word: str) -> str:
        """Return a word as the vocabulary has it."""
        return word.lower() if self.is_lower else word

    def numbers(self, words: Sequence[str]) -> np.ndarray:
        """Return each word's number and those of its characters, padded with 0: (T, 1 + max_characters) int64."""
        found = np.zeros((len(words), 1 + self.max_characters), dtype=np.int64)
        found[:, 0] = self._words.encode([self.form(word) for word in words])
        if self.max_characters:
            for row, word in zip(found, words, strict=True):
                kept = shortened(word, self.max_characters)
                row[1 : 1 + len(kept)] = [self._letters.get(letter, UNKNOWN) for letter in kept]
        return found


def shortened(word: str, most: int) -> str:
    """Return at most so many characters of a word, half from both ends."""
    return word if len(word) <= most else word[: most - most // 2] + word[len(word) - most // 2 :]


def pad_words(rows: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Pad rows of (T, 1 + L) to (B, T, 1 + L') with L' the characters of the longest word, or to (B, T) where L is 0; lengths (B,) too."""
    lengths = np.array([len(row) for row in rows])
    values = np.zeros((len(rows), lengths.max(), rows[0].shape[1]), dtype=np.int64)
    values[np.arange(lengths.max())[None] < lengths[:, None]] = np.concatenate(rows)
    if values.shape[2] == 1:
        return torch.from_numpy(values[..., 0].copy()), torch.from_numpy(lengths)
    num_used = max(1, int(np.flatnonzero(values.any((0, 1)))[-1]))
    return torch.from_numpy(values[..., : 1 + num_used].copy()), torch.from_numpy(lengths)


@dataclass(frozen=True)
class TagReader(WrittenReader):
    """Read sentences as the run did that made this; `is_by_character` says whether each character is a token, else blanks separate them."""

    kind = "tags"
    example = 'text="a sentence, its tokens with blanks between"'

    words: WordCoder
    columns_read: TagColumns
    is_by_character: bool
    label_names: tuple[str, ...]
    intents: tuple[str, ...] = ()

    @property
    def input_words(self) -> tuple[str, ...]:
        return self.words.vocabulary

    @property
    def input_tokens(self) -> InputTokens:
        return InputTokens("char" if self.is_by_character else "word", self.words.vocabulary, self.words.alphabet)

    @property
    def table_format(self) -> TableFormat:
        return TableFormat(TOKEN_NAMES[0], TOKEN_NAMES[1:])

    def tokens_of(self, text: str) -> list[str]:
        """Return the tokens of a sentence."""
        return [letter for letter in text if not letter.isspace()] if self.is_by_character else text.split(" ")

    def read_folder(self, folder: Path) -> list[str]:
        files, remarks = files_of(folder)
        return [text for file in told(str(folder), files, remarks, "sentences") for text in self.read_file(file)]

    def read_file(self, file: Path) -> list[str]:
        """Return a file's sentences: of tables, JSON and CoNLL by its suffix, else one a line; tags in it are not read."""
        is_plain = ending(file) not in CONLL_SUFFIXES - {".txt"} | TABLE_SUFFIXES | JSON_SUFFIXES
        if is_plain:
            return lines_of(read_text(file).text)
        broken = Broken("raise")
        between = "" if self.is_by_character else " "
        found = [between.join(sentence.tokens) for sentence in sentences_of(file, self.columns_read, broken, is_tagged=False)]
        broken.settle(len(found), "Mend it")
        return found

    def read(self, inputs: Sequence[str | bytes]) -> tuple[list[str], Batch]:
        """Turn sentences into a batch without tags; name its rows.

        Raises:
            ValueError: for an empty sentence.
        """
        texts = [
            " ".join(str(text).split(" ")) if self.is_by_character else " ".join(filter(None, str(text).split(" "))) for text in inputs
        ]
        cut = [[token for token in self.tokens_of(text) if token.strip()] for text in texts]
        if empty := [number for number, tokens in enumerate(cut, start=1) if not tokens]:
            raise ValueError(f"sentence {empty[0]} of {len(texts)} is empty: leave it out")
        if self.words.max_characters and not self.is_by_character and any(_looks_whole(tokens) for tokens in cut):
            tell("some sentences end with a word and its punctuation mark as one token: put blanks between tokens, as in training")
        values, lengths_B = pad_words([self.words.numbers(tokens) for tokens in cut])
        unknown_BT = torch.full((len(cut), int(lengths_B.max())), -1)
        return texts, Batch(values, lengths_B, unknown_BT, lengths_B.clone(), torch.arange(len(cut)))


def _looks_whole(tokens: list[str]) -> bool:
    return len(tokens) > 1 and len(tokens[-1]) > 2 and tokens[-1][-1] in ".?!" and tokens[-1][:-1].isalpha()
