"""Raw sentences, cut, numbered and padded as the run cut, numbered and padded its own pairs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from rnnlab.config import PositiveInt
from rnnlab.contracts import SPECIALS, STOP, UNKNOWN, Batch, Copies, Joined
from rnnlab.data import tokens
from rnnlab.data.files import OnBroken, home_of
from rnnlab.data.inputs import TOKEN_PACKAGES, TableFormat, WrittenReader, told, untold_batch, warn
from rnnlab.data.tables import Quoting
from rnnlab.data.targets import pad_tokens, warn_unseen
from rnnlab.data.text import copying, pairs
from rnnlab.data.text.pair_files import Languages
from rnnlab.data.text.pairs import PairColumns, clean_sentence, source_sentences
from rnnlab.data.tokens import UNSPACED, TextTokens, Vocabulary, tokenize


@dataclass(frozen=True)
class PairPrepare:
    """Say what the pairs are and how they are cut (`data.prepare`); for the columns see `PairColumns`.

    Args:
        tokens: `subword` (SentencePiece), `word` (Moses' rules; characters where a language puts no blanks between words) or `char`.
        is_joint: whether both sides share one vocabulary, and one model of subwords.
        subword_size: most pieces of a model of subwords.
        is_lower: whether both sides are lower-cased, references too.
        on_broken: whether pairs with an empty side are refused (`raise`), or left out and counted (`skip`).
    """

    source_column: str
    target_column: str
    split_column: str | None
    delimiter: str | None
    has_header: bool
    tokens: Literal["subword", "word", "char"]
    is_joint: bool
    subword_size: PositiveInt
    is_lower: bool
    on_broken: OnBroken
    quoting: Quoting | None = None  # bundles made before it do not have it

    @property
    def columns(self) -> PairColumns:
        """Where a table keeps what."""
        return PairColumns(self.source_column, self.target_column, self.split_column, self.delimiter, self.has_header, self.quoting)


def cut(texts: Iterable[str], settings: PairPrepare, language: str, model: bytes | None) -> Iterator[list[str]]:
    """Cut one side's sentences into tokens, one at least."""
    cased = (text.lower() if settings.is_lower else text for text in texts)
    if settings.tokens == "subword" and model is not None:
        lists = tokens.encode_subwords(model, cased)
    elif settings.tokens == "char":
        lists = tokenize(cased, TextTokens("char"))
    elif settings.tokens == "word":
        lists = tokens.moses_words(cased, language)
    else:
        raise ValueError(f"data.prepare.tokens={settings.tokens!r} needs a model of subwords")
    return (found or [SPECIALS[UNKNOWN]] for found in lists)


def joined(settings: PairPrepare, language: str) -> Joined:
    """Say how tokens become text again."""
    return "moses" if settings.tokens == "word" and language not in UNSPACED else "pieces"


@dataclass(frozen=True)
class TranslationReader(WrittenReader):
    """Read sentences as the run did that made this.

    Args:
        target_vocabulary: its words; None where both sides share one.
        subwords: the models of subwords, as `model_to_text` writes them.
    """

    kind = "translation"
    packages = (*TOKEN_PACKAGES, "sacremoses")
    example = 'text="a sentence"'

    prepare: PairPrepare
    languages: Languages
    max_tokens: int | None
    source_vocabulary: tuple[str, ...]
    target_vocabulary: tuple[str, ...] | None
    subwords: tuple[str, ...]

    @property
    def input_words(self) -> tuple[str, ...]:
        return self.source_vocabulary

    @property
    def models(self) -> list[bytes]:
        """The models of subwords: one, one a side, or none."""
        return [tokens.model_from_text(text) for text in self.subwords]

    @property
    def table_format(self) -> TableFormat:
        columns = self.prepare.columns
        return TableFormat(*columns.side("source", self.languages.source), columns.delimiter, columns.has_header, columns.quoting, True)

    def read_folder(self, folder: Path) -> list[str]:
        texts, remarks = source_sentences(folder, self.languages)
        return told(str(folder), texts, remarks, "sentences") if texts else super().read_folder(folder)

    def _texts(self, item: str) -> list[str]:
        path = home_of(item)
        is_prefix = item != "-" and not path.exists() and pairs.has_prefix(path)
        return source_sentences(path, self.languages)[0] if is_prefix else super()._texts(item)

    def fault(self, item: str | bytes) -> str:
        return "" if clean_sentence(str(item)) else "it is empty"

    def read(self, inputs: Sequence[str | bytes]) -> tuple[list[str], Batch]:
        """Turn sentences into a batch; name its rows.

        Tokens that training never saw, and sentences longer than any that it did see, are told on stderr.

        Raises:
            ValueError: for an empty line.
        """
        lines = [clean_sentence(str(text)) for text in inputs]
        if "" in lines:
            raise ValueError(f"line {lines.index('') + 1} of {len(lines)} is empty: give a sentence, or leave it out")
        models, vocabulary = self.models, Vocabulary(self.source_vocabulary)
        found = list(cut(lines, self.prepare, self.languages.source, models[0] if models else None))
        rows = [encode(vocabulary, words) for words in found]
        _warn(found, rows, self.max_tokens)
        batch = untold_batch(*pad_tokens([with_stop(row) for row in rows]))
        batch.copies = self._copies(found)
        return lines, batch

    def _copies(self, found: Sequence[Sequence[str]]) -> Copies:
        target = Vocabulary(self.target_vocabulary or self.source_vocabulary)
        unknown: list[dict[str, int]] = [{} for _ in found]
        numbers = [copying.extend(words, encode(target, words), known, len(target)) for words, known in zip(found, unknown, strict=True)]
        none = [np.zeros(0, dtype=np.int64)] * len(found)
        return copying.copies([with_stop(row) for row in numbers], none, [tuple(known) for known in unknown])


def with_stop(numbers: np.ndarray) -> np.ndarray:
    """Append `STOP`: an input is never empty, and its end is seen."""
    return np.append(numbers, STOP).astype(np.int64)


def encode(vocabulary: Vocabulary, words: Sequence[str]) -> np.ndarray:
    """Number tokens, (len(words),) int64; unseen ones are unknown, and what looks like a special word is, too."""
    numbers = vocabulary.encode(words)
    return np.where(numbers < len(SPECIALS), UNKNOWN, numbers)


def _warn(found: list[list[str]], rows: list[np.ndarray], most: int | None) -> None:
    """Tell what a model was not trained to read."""
    warn_unseen(word for words, row in zip(found, rows, strict=True) for word, number in zip(words, row, strict=True) if number == UNKNOWN)
    long = [number for number, words in enumerate(found, start=1) if most is not None and len(words) > most]
    if long:
        more = f" and {len(long) - 5} more" if len(long) > 5 else ""
        warn(f"longer than the {most} tokens of any training sentence: line {', '.join(map(str, long[:5]))}{more}")
