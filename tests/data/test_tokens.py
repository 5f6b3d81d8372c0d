"""Claims about tokens: how texts are cut, numbered and told from unknown ones, by torchtext, SentencePiece and by hand."""

import random
import re
import ssl
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sacremoses import MosesDetokenizer, MosesTokenizer
from torchtext.data.utils import get_tokenizer
from torchtext.vocab import Vectors, Vocab

from rnnlab.data.tokens import (
    TextTokens,
    Vocabulary,
    decode_subwords,
    encode_subwords,
    index,
    moses_words,
    read_vectors,
    tokenize,
    train_subwords,
)

NASTY = [
    "",
    " ",
    ";",
    '"',
    'It\'s "A" (test)...',
    "a<br />b<BR />c",
    "ÉCOLE İ ß ﬁ",
    "x\u00a0y\u3000z\x85w\x1cv",
    "don''t!?;:,",
    "倚天。屠龙",
    "a\tb\nc",
]


def cut(text: str, settings: TextTokens) -> list[str]:
    (tokens,) = tokenize([text], settings)
    return tokens


# Cutting


@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_moses_words_are_those_of_moses_with_nothing_escaped(language: str) -> None:
    texts = ['Zwei Männer & "Frauen" (z.B. Dr. Müller) geh\'n heim.', "don't [x] | 3,5 % l'été…", "Üben, üben!"]
    assert list(moses_words(texts, language)) == [MosesTokenizer(language).tokenize(text, escape=False) for text in texts]


def test_german_words_come_apart_and_together_again() -> None:
    (words,) = moses_words(["Der große Hund, z.B. unserer, schläft."], "de")
    assert words == ["Der", "große", "Hund", ",", "z.B.", "unserer", ",", "schläft", "."]
    assert MosesDetokenizer("de").detokenize(words) == "Der große Hund, z.B. unserer, schläft."


def test_a_language_without_blanks_between_words_is_cut_into_characters() -> None:
    assert list(moses_words(["我们 Tom。"], "zh")) == [["我", "们", "▁", "T", "o", "m", "。"]]


def test_words_are_those_of_basic_english_whatever_the_text() -> None:
    assert list(tokenize(NASTY, TextTokens("word"))) == [get_tokenizer("basic_english")(text) for text in NASTY]
    assert cut('You can now: install "It", isn\'t it?', TextTokens()) == [
        "you",
        "can",
        "now",
        "install",
        "it",
        ",",
        "isn",
        "'",
        "t",
        "it",
        "?",
    ]


@pytest.mark.parametrize(
    ("text", "is_lower", "tokens"),
    [
        ("Ab c", False, ["A", "b", "▁", "c"]),
        ("Ab c", True, ["a", "b", "▁", "c"]),
        ("Séan 倚天", False, ["S", "é", "a", "n", "▁", "倚", "天"]),
        ("👍🏽", False, ["👍", "🏽"]),
        ("", False, []),
    ],
)
def test_characters_are_unicode_s_and_a_blank_is_seen(text: str, is_lower: bool, tokens: list[str]) -> None:
    assert cut(text, TextTokens("char", is_lower=is_lower)) == tokens


def test_runs_of_tokens_follow_the_tokens_themselves() -> None:
    assert cut("here we are", TextTokens("word", 3)) == ["here", "we", "are", "here we", "we are", "here we are"]
    assert cut("ab", TextTokens("char", 2)) == ["a", "b", "a b"]
    assert cut("a", TextTokens("char", 2)) == ["a"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokens": "words"}, r"^data\.prepare\.tokens='words' is not one of word, char, subword$"),
        ({"ngrams": 0}, r"^data\.prepare\.ngrams=0: give 1 for single tokens, 2 or more to add runs of them$"),
        (
            {"tokens": "subword", "ngrams": 2},
            r"^data\.prepare\.ngrams=2 goes with data\.prepare\.tokens=word or char; subwords span several characters",
        ),
        ({"subword_size": 2}, r"^data\.prepare\.subword_size=2: give 3 or more, commonly 1000 to 16000$"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextTokens(**settings)


def test_subwords_are_not_cut_without_a_model() -> None:
    with pytest.raises(
        ValueError, match=r"^subwords are cut by a trained model: call train_subwords on training texts, then encode_subwords$"
    ):
        tokenize([], TextTokens("subword"))


# Numbering


def test_tokens_are_numbered_in_the_order_of_first_appearance() -> None:
    types, values, offsets = index(iter([["b", "a", "b"], [], ["c", "a"]]))
    assert (types, values.tolist(), offsets.tolist()) == (["b", "a", "c"], [0, 1, 0, 2, 1], [0, 3, 3, 5])
    assert (values.dtype, offsets.dtype) == (np.int32, np.int64)


def test_the_numbers_of_nothing_are_empty() -> None:
    types, values, offsets = index([])
    assert (types, values.tolist(), offsets.tolist()) == ([], [], [0])


def test_texts_are_consumed_one_by_one() -> None:
    """A list of a text is let go before the next one is made."""
    alive: list[int] = []

    class Tokens(list[str]):
        def __del__(self) -> None:
            alive.pop()

    def made() -> Iterator[list[str]]:
        for _ in range(5):
            alive.append(1)
            assert len(alive) <= 2
            yield Tokens(["a"])

    assert index(made())[1].tolist() == [0] * 5


# Vocabulary


@pytest.mark.parametrize(("min_frequency", "max_size"), [(1, None), (2, None), (1, 5), (3, 4), (1, 1000)])
def test_words_are_chosen_and_ordered_as_by_torchtext(min_frequency: int, max_size: int | None) -> None:
    generator = random.Random(0)
    words = generator.choices(
        ["ä", "Z", "a", "<unk>", "<pad>", "▁b", "倚", "aa", "'", ".", "z", "e\u0301"], [9, 9, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1], k=60
    )
    types, values, _ = index([words, ["only", "in", "test"]])
    counts = np.bincount(values[: len(words)], minlength=len(types))
    vocabulary, numbers = Vocabulary.fit(types, counts, min_frequency, max_size)
    theirs = Vocab(Counter(words), max_size=max_size, min_freq=min_frequency, specials=["<pad>", "<unk>"])
    assert list(vocabulary.words) == theirs.itos
    specials = {"<pad>": 1, "<unk>": 1}  # torchtext would take the word <pad> for padding
    assert numbers.tolist() == [specials.get(word, theirs[word]) for word in types]
    assert numbers.dtype == np.int32
    assert vocabulary.encode(types).tolist() == numbers.tolist()


def test_equally_frequent_words_stand_in_the_order_of_the_alphabet() -> None:
    vocabulary, numbers = Vocabulary.fit(["c", "b", "x", "a"], np.array([2, 2, 0, 5]), min_frequency=2)
    assert vocabulary.words == ("<pad>", "<unk>", "a", "b", "c")
    assert numbers.tolist() == [4, 3, 1, 2]
    assert len(vocabulary) == 5


def test_unseen_words_are_unknown_and_not_remembered() -> None:
    vocabulary = Vocabulary(("<pad>", "<unk>", "a"))
    for _ in range(2):
        numbers = vocabulary.encode(["a", "b", "<pad>", "A", "c"])
        assert (numbers.tolist(), numbers.dtype) == ([2, 1, 1, 1, 1], np.int64)
    assert (len(vocabulary), vocabulary.encode([]).tolist()) == (3, [])
    assert vocabulary == Vocabulary(("<pad>", "<unk>", "a"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("<unk>", "<pad>", "a"), r"^a vocabulary begins with <pad>, <unk>; this one with '<unk>', '<pad>'$"),
        ((), r"^a vocabulary begins with <pad>, <unk>; this one with $"),
        (("<pad>", "<unk>", "a", "b", "a"), r"^a vocabulary lists each word once; this one has 1 repeats$"),
    ],
)
def test_words_in_the_wrong_place_are_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary(words)


@pytest.mark.parametrize(
    ("min_frequency", "max_size", "message"),
    [
        (0, None, r"^data\.loader\.min_frequency=0: give 1 to keep every word of training, 2 to leave out those met once$"),
        (1, 0, r"^data\.loader\.max_size=0: give at least 1 word, or none for no limit$"),
        (3, None, r"^no word occurs 3 times or more in training: lower data\.loader\.min_frequency$"),
    ],
)
def test_a_vocabulary_without_words_is_refused(min_frequency: int, max_size: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Vocabulary.fit(["a", "b"], np.array([2, 0]), min_frequency, max_size)


# Subwords

TEXTS = ["The cat sat on the mat", "a cat and a hat", "that cat sat", "the Hat of the cat", "cats and hats and mats"] * 3


def test_subwords_are_trained_alike_every_time_and_put_together_again(capfd: pytest.CaptureFixture[str]) -> None:
    model = train_subwords(iter(TEXTS), 22)
    assert train_subwords(TEXTS, 22) == model
    assert train_subwords(TEXTS[:-1], 22) != model
    pieces = list(encode_subwords(model, [*TEXTS, "tea 龍", ""]))
    assert [decode_subwords(model, text) for text in pieces[: len(TEXTS)]] == TEXTS
    assert len({piece for text in pieces[: len(TEXTS)] for piece in text}) <= 21  # one of 22 is the unknown piece
    assert pieces[-2:] == [["▁", "t", "e", "a", "▁", "龍"], []]
    assert capfd.readouterr() == ("", "")


def test_subwords_of_a_lower_casing_model_are_lower_case() -> None:
    model = train_subwords(TEXTS, 20, is_lower=True)
    assert list(encode_subwords(model, ["THE CAT"])) == list(encode_subwords(model, ["the cat"]))
    assert decode_subwords(model, next(encode_subwords(model, ["THE Cat"]))) == "the cat"


def test_a_long_text_is_not_left_out() -> None:
    """SentencePiece leaves out lines of more than 4,192 bytes unless told otherwise."""
    model = train_subwords(["ab ", "xyzzy " * 2000], 9)
    assert next(encode_subwords(model, ["xyzzy"])) == ["▁xyzzy"]


@pytest.mark.parametrize("is_alphabet", [True, False])
def test_rare_characters_are_known_unless_there_are_many(is_alphabet: bool) -> None:
    common = [chr(0x4E00 + place) for place in range(20 if is_alphabet else 300)]
    rare = "\u9fa5"  # one that the model's own tables of normal forms do not hold
    texts = ["".join(common)] * (3000 // len(common)) + [rare]
    model = train_subwords(texts, len(common) + 2 + is_alphabet)  # the unknown piece and the blank are two of them
    assert (rare.encode() in model) == is_alphabet
    assert next(encode_subwords(model, [rare])) == ["▁", rare]


WIDE = ["He said: “no”… and left\uff01", "½ ﬁne №5", "die Tür № 7"]


def test_text_that_is_to_be_written_again_keeps_its_characters() -> None:
    exact, normal = (train_subwords(WIDE, 60, is_normalised=flag, is_limit=True) for flag in (False, True))
    assert [decode_subwords(exact, pieces) for pieces in encode_subwords(exact, WIDE)] == WIDE
    assert [decode_subwords(normal, pieces) for pieces in encode_subwords(normal, WIDE)] == [unicodedata.normalize("NFKC", t) for t in WIDE]
    with pytest.raises(ValueError, match=r"^SentencePiece lower-cases as it normalises: lower-case the texts before, or let it normalise$"):
        train_subwords(WIDE, 60, is_lower=True, is_normalised=False)


def test_a_size_that_is_a_limit_is_not_refused_for_being_too_large() -> None:
    pieces = {piece for found in encode_subwords(train_subwords(TEXTS, 5000, is_limit=True), TEXTS) for piece in found}
    assert 5 < len(pieces) < 5000


@pytest.mark.parametrize(
    ("texts", "size", "message"),
    [
        (
            ["ab ba"],
            500,
            r"^data\.prepare\.subword_size=500 is too large for the training texts: they give \d pieces at most\. Set it to that or less$",
        ),
        (
            TEXTS,
            5,
            r"^data\.prepare\.subword_size=5 is too small: the characters of the training texts alone "
            r"need 15 pieces\. Set it to that or more$",
        ),
        ([], 10, r"^there is no training text to learn subwords from$"),
        (["", " \u3000", "\u200b\x07"], 10, r"^there is no training text to learn subwords from$"),
    ],
)
def test_a_size_that_the_texts_cannot_give_is_refused(texts: list[str], size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_subwords(texts, size)


def test_the_sizes_that_messages_name_are_possible() -> None:
    for wrong, words in ((500, r"they give (\d+) pieces at most"), (5, r"alone need (\d+) pieces")):
        with pytest.raises(ValueError, match=words) as caught:
            train_subwords(TEXTS, wrong)
        (size,) = re.findall(words, str(caught.value))
        assert train_subwords(TEXTS, int(size))


@pytest.mark.slow
def test_sentencepiece_does_not_crash_an_interpreter_for_which_warnings_are_errors() -> None:
    code = "from rnnlab.data.tokens import train_subwords; import warnings; warnings.simplefilter('error'); train_subwords(['a b'], 4)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# Vectors trained elsewhere

GLOVE = "the 0.1 -2 3e-1\n, 1 2 3\ncat 4 5 6\n. . . 7 8 9\n1998 1 0 0\n\u00a0x 0 1 0\ncat 40 50 60\nat a@b.c 1 1 1\n"


def vectors_file(folder: Path, text: str | bytes) -> Path:
    file = folder / "vectors.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_vectors_of_wanted_words_are_read_and_the_rest_is_nan(tmp_path: Path) -> None:
    words = ["<pad>", "The", ". . .", "1998", "cat", "CAT", "at a@b.c", "dog", "\u00a0x"]
    vectors, counts = read_vectors(vectors_file(tmp_path, GLOVE), words)
    nan = [np.nan] * 3
    expected = [nan, [0.1, -2, 0.3], [7, 8, 9], [1, 0, 0], [40, 50, 60], [40, 50, 60], [1, 1, 1], nan, [0, 1, 0]]
    np.testing.assert_array_equal(vectors, np.array(expected, dtype=np.float32))
    assert vectors.dtype == np.float32
    assert counts == {"num_words": 9, "num_found": 5, "num_found_lower": 2, "num_absent": 2}


@pytest.mark.parametrize("header", ["", "4 3\n"])
def test_vectors_are_those_that_torchtext_reads(tmp_path: Path, header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "_create_default_https_context", ssl._create_default_https_context)  # torchtext disables certificates
    lines = "".join(
        f"{word} {' '.join(map(str, values))} \n" for word, values in zip("abcÉ", np.random.default_rng(0).normal(size=(4, 3)), strict=True)
    )
    file = vectors_file(tmp_path, header + lines)
    words = ["b", "A", "É", "zebra", "a"]
    theirs = Vectors(str(file), cache=str(tmp_path / "cache"), unk_init=lambda row: torch.full_like(row, torch.nan))
    expected = theirs.get_vecs_by_tokens(words, lower_case_backup=True).numpy()
    np.testing.assert_array_equal(read_vectors(file, words)[0], expected)


def test_words_that_are_no_utf_8_are_passed_over(tmp_path: Path) -> None:
    vectors, counts = read_vectors(vectors_file(tmp_path, b"a 1 2\n\xff\xfe 3 4\nb 5 6"), ["b", "\ufffd\ufffd"])
    assert (vectors[0].tolist(), counts["num_absent"]) == ([5, 6], 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1 2\nb 1\n", r", line 2: 1 values where the first line has 2\. The file is cut off or mixed: get it anew$"),
        ("2 2\na 1 2\nb 1 2 3\n", r", line 3: 3 values where the first line has 2\."),
        ("a 1 2\nb 1 x\n", r", line 2: 'x' is not a number; wanted a line `word v1 \.\.\. vD`, as text, unpacked$"),
        ("a 1 2\nb 1 nan\n", r", line 2: 'nan' is not a number"),
        ("", r" holds no vectors; wanted a line `word v1 \.\.\. vD` for each word$"),
        ("2 2\n", r" holds no vectors"),
        ("just some words\n", r", line 1: 'some' is not a number"),
    ],
)
def test_what_is_wrong_with_vectors_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = vectors_file(tmp_path, text)
    with pytest.raises(ValueError, match=rf"^{file}({message})"):
        read_vectors(file, ["a", "b", "just"])


def test_a_file_of_vectors_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.txt cannot be read as a file of word vectors \(No such file or directory\)$"):
        read_vectors(tmp_path / "gone.txt", ["a"])
