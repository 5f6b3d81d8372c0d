"""From texts to tokens to numbers: words, characters or subwords, the vocabulary, and vectors trained elsewhere.

The one file of data that knows torchtext, SentencePiece and sacremoses. Nothing is fitted before the split is known: `index` gives
every distinct token of all texts a number, `Vocabulary.fit` and `train_subwords` see training texts only.
"""

import base64
import importlib
import io
import math
import re
import warnings
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
from torchtext.data.utils import get_tokenizer, ngrams_iterator

from rnnlab.contracts import SPECIALS, START, UNKNOWN

INPUT_SPECIALS = SPECIALS[:START]
"""The first words of every vocabulary; those of sequences with ends begin with all of `contracts.SPECIALS`."""
BLANK = "▁"  # U+2581, as SentencePiece writes it
UNSPACED = ("zh", "ja", "th")  # languages that put no blanks between words
UNSPACED_LETTER = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Letters of Thai, Lao, Tibetan, Burmese, Khmer, Japanese and Chinese (Unicode's blocks)."""


@dataclass(frozen=True)
class TextTokens:
    """Say what a token is.

    Args:
        tokens: `word` (torchtext's basic_english: lower case, punctuation apart), `char` (Unicode characters), `subword` (SentencePiece).
        ngrams: words or characters in a row, up to so many, that follow as tokens of their own; not for subwords.
        subword_size: pieces in the SentencePiece model, the unknown one counted.
        is_lower: whether characters and subwords are lower-cased; words always are.
    """

    tokens: Literal["word", "char", "subword"] = "word"
    ngrams: int = 1
    subword_size: int = 8000
    is_lower: bool = False

    def __post_init__(self) -> None:
        if self.tokens not in ("word", "char", "subword"):
            raise ValueError(f"data.prepare.tokens={self.tokens!r} is not one of word, char, subword")
        if self.ngrams < 1:
            raise ValueError(f"data.prepare.ngrams={self.ngrams}: give 1 for single tokens, 2 or more to add runs of them")
        if self.ngrams > 1 and self.tokens == "subword":
            raise ValueError(
                f"data.prepare.ngrams={self.ngrams} goes with data.prepare.tokens=word or char; subwords span several characters already"
            )
        if self.subword_size < 3:
            raise ValueError(f"data.prepare.subword_size={self.subword_size}: give 3 or more, commonly 1000 to 16000")


def tokenize(texts: Iterable[str], settings: TextTokens) -> Iterator[list[str]]:
    """Cut clean texts into words or characters, a blank becoming `▁`; a text may have none (words: `";"`).

    Subwords need a trained model (`encode_subwords`).
    """
    lists: Iterator[list[str]]
    if settings.tokens == "word":
        lists = map(get_tokenizer("basic_english"), texts)
    elif settings.tokens == "char":
        lists = (list((text.lower() if settings.is_lower else text).replace(" ", BLANK)) for text in texts)
    else:
        raise ValueError("subwords are cut by a trained model: call train_subwords on training texts, then encode_subwords")
    if settings.ngrams == 1:
        return lists
    return (list(ngrams_iterator(tokens, settings.ngrams)) for tokens in lists)


def unspaced_fraction(texts: Iterable[str]) -> float:
    """Return which fraction of the letters of these texts is of scripts that put no blanks between words."""
    num_letters, num_unspaced = 0, 0
    for text in texts:
        num_letters += sum(map(str.isalpha, text))
        num_unspaced += len(UNSPACED_LETTER.findall(text))
    return num_unspaced / max(num_letters, 1)


def moses_words(texts: Iterable[str], language: str) -> Iterator[list[str]]:
    """Cut texts into words by Moses' rules for a language (en, de, ...): punctuation apart except in abbreviations, case kept.

    Languages of `UNSPACED` are cut into characters, a blank becoming `▁`.
    """
    if language in UNSPACED:
        return tokenize(texts, TextTokens("char"))
    tokenizer = importlib.import_module("sacremoses").MosesTokenizer(language)
    return (tokenizer.tokenize(text, escape=False) for text in texts)


def index(token_lists: Iterable[list[str]]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Number every distinct token in the order of first appearance; nothing is fitted, so all splits may go in.

    Returns:
        The distinct tokens (types); the number of every token (all tokens,) int32; where each text begins and ends (N + 1,) int64.
    """
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    values, offsets = array("i"), array("q", [0])
    for tokens in token_lists:
        values.extend(map(numbers.__getitem__, tokens))
        offsets.append(len(values))
    return list(numbers), np.frombuffer(values, dtype=np.int32), np.frombuffer(offsets, dtype=np.int64)


@dataclass(frozen=True)
class TokenMeta:
    """Entries of a prepared folder's `meta.json`: the distinct tokens, and the SentencePiece model that cut them, as text."""

    types: list[str]
    subwords: str | None


# Vocabulary


@dataclass(frozen=True)
class Vocabulary:
    """Know the words of training, numbered from 2; 0 pads, 1 stands for every other word.

    A text that holds the word `<pad>` or `<unk>` itself gets 1: it neither pads nor is known.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse words in the wrong place."""
        if self.words[:2] != INPUT_SPECIALS:
            raise ValueError(f"a vocabulary begins with {', '.join(INPUT_SPECIALS)}; this one with {', '.join(map(repr, self.words[:2]))}")
        if len(set(self.words)) < len(self.words):
            raise ValueError(f"a vocabulary lists each word once; this one has {len(self.words) - len(set(self.words))} repeats")

    def __len__(self) -> int:
        """Count the words, the two special ones included."""
        return len(self.words)

    @classmethod
    def fit(
        cls, types: Sequence[str], counts_in_training: np.ndarray, min_frequency: int = 1, max_size: int | None = None
    ) -> "tuple[Vocabulary, np.ndarray]":
        """Choose the words of a vocabulary: by falling frequency in training, equal ones in the order of code points.

        torchtext's Vocab orders likewise (`sorted by frequency, then alphabetically`) and counts the special words apart, too.

        Args:
            types: distinct tokens, as `index` returns them.
            counts_in_training: how often each occurs in training texts, (types,) int.
            min_frequency: rarer ones are unknown; those that never occur in training always are.
            max_size: words at most, the two special ones not counted; None for no limit.

        Returns:
            The vocabulary, and the vocabulary's number of each type, (types,) int32.

        Raises:
            ValueError: where the settings are wrong or no word is left.
        """
        if min_frequency < 1:
            raise ValueError(
                f"data.loader.min_frequency={min_frequency}: give 1 to keep every word of training, 2 to leave out those met once"
            )
        if max_size is not None and max_size < 1:
            raise ValueError(f"data.loader.max_size={max_size}: give at least 1 word, or none for no limit")
        counts = np.asarray(counts_in_training)
        frequent = [number for number in np.flatnonzero(counts >= min_frequency).tolist() if types[number] not in INPUT_SPECIALS]
        kept = sorted(frequent, key=lambda number: (-counts[number], types[number]))[:max_size]
        if not kept:
            raise ValueError(f"no word occurs {min_frequency} times or more in training: lower data.loader.min_frequency")
        numbers = np.full(len(types), UNKNOWN, dtype=np.int32)
        numbers[kept] = np.arange(len(INPUT_SPECIALS), len(INPUT_SPECIALS) + len(kept), dtype=np.int32)
        return cls((*INPUT_SPECIALS, *(types[number] for number in kept))), numbers

    def joined(self, words: Iterable[str]) -> "Vocabulary":
        """Return the vocabulary with the words of another that it lacks behind its own."""
        more = dict.fromkeys(word for word in words if word not in self._numbers and word not in SPECIALS)
        return Vocabulary((*self.words, *more))

    def encode(self, tokens: Sequence[str]) -> np.ndarray:
        """Number tokens, (len(tokens),) int64; unseen ones become 1, and nothing is remembered of them."""
        return np.fromiter((self._numbers.get(token, UNKNOWN) for token in tokens), dtype=np.int64, count=len(tokens))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """A plain dictionary: torchtext's `stoi` is one that grows by every word it is asked for."""
        return {word: number for number, word in enumerate(self.words) if number >= len(INPUT_SPECIALS)}


# Subwords

_QUIET = 2  # SentencePiece's log level: errors only
_FEW_CHARACTERS = 200  # alphabets; scripts with thousands of characters have a long tail that is better unknown


def train_subwords(
    texts: Iterable[str], size: int, *, is_lower: bool = False, seed: int = 0, is_normalised: bool = True, is_limit: bool = False
) -> bytes:
    """Train a SentencePiece unigram model, in memory; same texts, same bytes.

    Args:
        texts: of training only.
        size: pieces, the unknown one counted; data.prepare.subword_size.
        is_lower: whether the model lower-cases what it is given (kept in the model, so that it cannot be forgotten).
        seed: of SentencePiece's generator.
        is_normalised: whether characters that are compatible become one (NFKC: `…` three dots, `！` an ASCII `!`); not where text is to be
            written as it was.
        is_limit: whether fewer pieces will do where the texts give no more.

    Returns:
        The model, to be kept as it is.

    Raises:
        ValueError: where the texts are empty or cannot give so many, or so few, pieces.
    """
    if is_lower and not is_normalised:
        raise ValueError("SentencePiece lower-cases as it normalises: lower-case the texts before, or let it normalise")
    library, model = _sentencepiece(), io.BytesIO()
    rules = ("nmt_nfkc_cf" if is_lower else "nmt_nfkc") if is_normalised else "identity"
    # Lines without a character left make SentencePiece abort the whole process.
    normalizer = library.SentencePieceNormalizer(rule_name=rules)
    lines = [line for text in texts for line in text.splitlines() if normalizer.normalize(line).strip()]
    if not lines:
        raise ValueError("there is no training text to learn subwords from")
    characters: set[str] = set()
    characters.update(*lines)
    library.set_random_generator_seed(seed)
    try:
        library.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="unigram",
            vocab_size=size,
            hard_vocab_limit=not is_limit,
            character_coverage=1.0 if len(characters) <= _FEW_CHARACTERS else 0.9995,
            normalization_rule_name=rules,
            max_sentence_length=max(4192, *(len(line.encode()) for line in lines)),  # longer ones would be left out silently
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            num_threads=1,
            minloglevel=_QUIET,
        )
    except RuntimeError as error:
        raise _wrong_size(size, str(error)) from error
    return model.getvalue()


def encode_subwords(model: bytes, texts: Iterable[str]) -> Iterator[list[str]]:
    """Cut texts into the pieces of a trained model; a piece that begins a word begins with `▁`, unknown characters stay as they are."""
    processor = _processor(model)
    return (processor.encode(text, out_type=str) for text in texts)


def decode_subwords(model: bytes, pieces: Sequence[str]) -> str:
    """Put pieces together again: the text as the model saw it (NFKC, blanks collapsed)."""
    text: str = _processor(model).decode_pieces(list(pieces))
    return text


def model_to_text(model: bytes) -> str:
    """Write a trained model as text that JSON can hold."""
    return base64.b64encode(model).decode()


def model_from_text(text: str) -> bytes:
    """Read a trained model from what `model_to_text` wrote."""
    return base64.b64decode(text)


def _wrong_size(size: int, words: str) -> ValueError:
    if most := re.search(r"value <= (\d+)", words):
        return ValueError(
            f"data.prepare.subword_size={size} is too large for the training texts: they give {most[1]} pieces at most. "
            "Set it to that or less"
        )
    if least := re.search(r"required_chars\. \d+ vs (\d+)", words):
        return ValueError(
            f"data.prepare.subword_size={size} is too small: the characters of the training texts alone need {least[1]} pieces. "
            "Set it to that or more"
        )
    return ValueError(f"SentencePiece cannot be trained with data.prepare.subword_size={size}: {words}")


@cache
def _sentencepiece() -> ModuleType:
    with warnings.catch_warnings():  # its SWIG types warn as they are made; as an error that warning crashes the interpreter
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module("sentencepiece")


@lru_cache(maxsize=4)
def _processor(model: bytes) -> Any:  # SentencePiece has no types
    return _sentencepiece().SentencePieceProcessor(model_proto=model)


# Vectors trained elsewhere (torchtext's Vectors keeps every word in memory, and turns off HTTPS's certificates for the whole process)


def read_vectors(file: Path, words: Sequence[str]) -> tuple[np.ndarray, dict[str, int]]:
    """Read words' vectors from a text file as GloVe, fastText and word2vec write it: `word v1 ... vD` a line.

    The file is streamed, only wanted words are kept; words may hold blanks (glove.840B does); a first line `N D` is skipped. Of a word
    that is listed twice the last one counts, as with torchtext's Vectors. Words that are absent are looked up in lower case, too.

    Args:
        file: UTF-8, not packed.
        words: the wanted ones, such as a vocabulary's.

    Returns:
        (V, D) float32, rows of NaN for absent words; and counts: num_words, num_found, num_found_lower (of another case), num_absent.

    Raises:
        ValueError: where the file cannot be read as such; names the line.
    """
    wanted = {form.encode(): None for word in words for form in (word, word.lower())}
    found: dict[bytes, np.ndarray] = {}
    num_values = 0
    for number, line in _vector_lines(file):
        num_values = num_values or _num_values(line)
        word, _, rest = line.partition(b" ")
        if line.count(b" ") != num_values:
            word, rest = _with_blanks(line, num_values, f"{file}, line {number}")
        if word in wanted:
            found[word] = _values(rest, f"{file}, line {number}")
    if not num_values:
        raise ValueError(f"{file} holds no vectors; wanted a line `word v1 ... vD` for each word")
    vectors = np.full((len(words), num_values), np.nan, dtype=np.float32)
    counts = {"num_words": len(words), "num_found": 0, "num_found_lower": 0, "num_absent": 0}
    for row, name in enumerate(words):
        exact, lower = found.get(name.encode()), found.get(name.lower().encode())
        counts["num_found" if exact is not None else "num_found_lower" if lower is not None else "num_absent"] += 1
        if (vector := lower if exact is None else exact) is not None:
            vectors[row] = vector
    return vectors, counts


def _vector_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines with something in them, but for a header."""
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                stripped = line.rstrip()
                is_header = number == 1 and re.fullmatch(rb"\d+ \d+", stripped)
                if stripped and not is_header:
                    yield number, stripped
    except OSError as error:
        raise ValueError(f"{file} cannot be read as a file of word vectors ({error.strerror})") from error


def _num_values(line: bytes) -> int:
    """Return D of the first line: its numbers at the end, its first field left for the word."""
    fields = line.split(b" ")[1:]
    num_words = next((place for place, field in enumerate(reversed(fields)) if not _is_number(field)), len(fields))
    return num_words or len(fields)


def _with_blanks(line: bytes, num_values: int, place: str) -> tuple[bytes, bytes]:
    """Split a line whose word holds blanks, or whose number of values is wrong."""
    fields = line.split(b" ")
    first = len(fields) - num_values
    if first < 1 or _is_number(fields[first - 1]):
        raise ValueError(
            f"{place}: {len(fields) - 1} values where the first line has {num_values}. The file is cut off or mixed: get it anew"
        )
    return b" ".join(fields[:first]), b" ".join(fields[first:])


def _values(rest: bytes, place: str) -> np.ndarray:
    fields = rest.split(b" ")
    wrong = next((field for field in fields if not _is_number(field)), None)
    if wrong is not None:
        raise ValueError(
            f"{place}: {wrong[:40].decode(errors='replace')!r} is not a number; wanted a line `word v1 ... vD`, as text, unpacked"
        )
    return np.array(list(map(float, fields)), dtype=np.float32)


def _is_number(field: bytes) -> bool:
    try:
        return math.isfinite(float(field))
    except ValueError:
        return False
