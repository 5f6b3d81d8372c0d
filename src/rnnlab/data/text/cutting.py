"""Running text as tokens and back again: characters, words or subwords, with the ends of lines and documents."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rnnlab.contracts import Joined
from rnnlab.data import tokens
from rnnlab.data.tokens import BLANK

END = "<eos>"
"""The token at the end of a line (of words and subwords), and of a document where there are many."""
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")

Unit = Literal["char", "word", "text_word", "subword"]
JOINED: dict[Unit, Joined] = {"char": "characters", "word": "words", "text_word": "words", "subword": "pieces"}


@dataclass(frozen=True)
class Cutter:
    """Cut running text into tokens, and put tokens together.

    Args:
        unit: `char` (every character, line ends too), `word` (between blanks, a line end being `END`), `text_word` (words as `data=text`
            cuts them, lower case and without quotes, likewise) or `subword` (SentencePiece, each line by itself, likewise).
        is_lower: whether letters become lower case.
        splits_punctuation: of words, whether punctuation marks are tokens of their own.
        subwords: the SentencePiece model, as `tokens.model_to_text` writes it.
    """

    unit: Unit
    is_lower: bool
    splits_punctuation: bool
    subwords: str | None = None

    def cut(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        text = text.lower() if self.is_lower else text
        if self.unit == "char":
            return list(text)
        lines = text.split("\n")
        return [token for place, line in enumerate(self._lines(lines)) for token in (*line, *([END] if place < len(lines) - 1 else []))]

    def _lines(self, lines: Iterable[str]) -> Iterator[list[str]]:
        if self.unit == "word":
            return (_WORD.findall(line) if self.splits_punctuation else line.split() for line in lines)
        if self.unit == "text_word":
            return tokens.tokenize(lines, tokens.TextTokens())
        assert self.subwords is not None
        return tokens.encode_subwords(tokens.model_from_text(self.subwords), lines)

    def join(self, words: Sequence[str]) -> str:
        """Return the text of tokens; of words with a blank between any two."""
        if self.unit == "char":
            return "".join("\n" if word == END else word for word in words)
        if self.unit in ("word", "text_word"):
            return re.sub(r" ?\n ?", "\n", " ".join("\n" if word == END else word for word in words))
        whole = "".join("\n" if word == END else word for word in words).replace(BLANK, " ")
        return re.sub(r"(^|\n) ", r"\1", whole)

    def follows(self, word: str, before: str | None) -> str:
        """Return what is written for a token that comes after another (None: it is the first), for text that appears token by token."""
        if word == END:
            return "\n"
        if self.unit in ("word", "text_word"):
            return word if before in (None, END) else f" {word}"
        if self.unit == "subword":
            shown = word.replace(BLANK, " ")
            return shown.removeprefix(" ") if before in (None, END) else shown
        return word
