"""Claims about running text as data: how it is cut into parts and tokens, read in streams, and what is refused."""

import json
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.data.bundled import through_json

from rnnlab.contracts import IGNORED_TARGET, UNKNOWN
from rnnlab.data.base import SPLITS
from rnnlab.data.text.cutting import END, Cutter
from rnnlab.data.text.documents import split_documents
from rnnlab.data.text.language import BLOCK_STEPS, LanguageData
from rnnlab.data.tokens import TextTokens, tokenize

LINES = "".join(f"line {number} of a small text.\n" for number in range(400))
Make = Callable[..., LanguageData]


@pytest.fixture
def make(make_data: Make) -> Make:
    """Make a data module of few streams."""
    return partial(make_data, "language", loader__batch_size=3, loader__tbptt_steps=7)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text(LINES)
    return file


def set_up(module: LanguageData) -> LanguageData:
    module.setup()
    return module


def letters(module: LanguageData, numbers: torch.Tensor) -> str:
    return module.joined(numbers[numbers != IGNORED_TARGET].numpy())


def test_a_single_text_is_cut_in_order_at_line_ends(make: Make, text: Path) -> None:
    module = set_up(make(text, val_fraction=0.1))
    parts = [module.joined(module.streams[split]) for split in SPLITS]
    assert "".join(parts) == LINES
    assert all(part.endswith("\n") for part in parts)
    assert [round(len(part) / len(LINES), 2) for part in parts] == [0.8, 0.1, 0.1]


def test_streams_of_training_go_on_from_batch_to_batch(make: Make, text: Path) -> None:
    module = set_up(make(text))
    batches = list(module.train_dataloader())
    assert [batch.is_continued for batch in batches] == [False] + [True] * (len(batches) - 1)
    stream = module.streams["train"]
    num_steps = (len(stream) - 1) // 3
    for row in range(3):
        inputs = torch.cat([batch.inputs[row, : batch.input_lengths[row]] for batch in batches])
        targets = torch.cat([batch.targets[row][batch.targets[row] != IGNORED_TARGET] for batch in batches])
        start = row * num_steps
        assert inputs.tolist() == stream[start : start + num_steps].tolist()
        assert targets.tolist() == stream[start + 1 : start + num_steps + 1].tolist()


def test_every_token_of_validation_and_test_but_the_first_is_predicted_once(make: Make, text: Path) -> None:
    module = set_up(make(text, val_fraction=0.2))
    for split, loader in (("val", module.val_dataloader()), ("test", module.test_dataloader())):
        rows = [(int(row), batch, place) for batch in loader for place, row in enumerate(batch.example_ids)]
        assert sorted(row for row, _, _ in rows) == module.rows[split].tolist()
        told = [batch.targets[place][: batch.input_lengths[place]].tolist() for row, batch, place in sorted(rows, key=lambda each: each[0])]
        assert [number for part in told for number in part] == module.streams[split][1:].tolist()
    assert module.blocks["steps"].max() == BLOCK_STEPS


def test_blocks_of_validation_follow_each_other_in_their_row(make: Make, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text(LINES * 20)
    module = set_up(make(tmp_path / "long.txt", val_fraction=0.2))
    batches = list(module.val_dataloader())
    assert batches[0].size > 1
    for before, after in pairwise(batches):
        starts, later = (module.blocks["start"].to_numpy()[batch.example_ids.numpy()] for batch in (before, after))
        assert (later == starts[: len(later)] + BLOCK_STEPS).all()


def test_another_length_of_training_parts_leaves_the_tested_examples_alone(make: Make, text: Path) -> None:
    one, other = set_up(make(text)), set_up(make(text, loader__batch_size=5, loader__tbptt_steps=11))
    assert one.hashes == other.hashes
    assert one.blocks.equals(other.blocks)


def test_models_of_characters_words_and_subwords_share_the_test_hash(make: Make, text: Path) -> None:
    found = {
        set_up(make(text, prepare__tokens=tokens, prepare__subword_size=60)).hashes["test_hash"] for tokens in ("char", "word", "subword")
    }
    assert len(found) == 1


def test_documents_keep_together_and_end_with_a_token(make: Make, tmp_path: Path) -> None:
    table = tmp_path / "poems.jsonl"
    poems = [f"poem {number}\nhas {number % 7} lines" for number in range(60)]
    table.write_text("\n".join(json.dumps({"text": poem}) for poem in poems))
    module = set_up(make(table, val_fraction=0.2))
    texts = [part for split in SPLITS for part in module.joined(module.streams[split]).split(END)]
    assert module.has_ends
    assert sorted(module.data.examples["split"].unique()) == ["test", "train", "val"]
    for split in SPLITS:
        assert module.vocabulary.words[module.streams[split][0]] == END == module.vocabulary.words[module.streams[split][-1]]
    found = set()
    for split in SPLITS:
        numbers = module.streams[split]
        ends = np.flatnonzero(numbers == numbers[0])
        found |= {module.joined(numbers[start + 1 : end]) for start, end in pairwise(ends)}
    assert found == set(poems), texts[:3]


def test_documents_are_read_in_another_order_each_epoch_and_the_same_order_again(make: Make, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for number in range(30):
        (tmp_path / "d" / f"{number}.txt").write_text(f"document {number} speaks of {number * number}.")
    module = set_up(make(tmp_path / "d", val_fraction=0.2))
    first, second, again = (module.collate(np.arange(3), epoch, True).inputs for epoch in (0, 1, 0))
    assert torch.equal(first, again) and not torch.equal(first, second)


def test_the_split_of_a_folder_is_that_of_its_names(make: Make, tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text("train valid test " * 50 * (split == "train") + f"{split} " * 100)
    module = set_up(make(tmp_path))
    assert [set(module.joined(module.streams[split]).split()) for split in SPLITS] == [{"train", "valid", "test"}, {"valid"}, {"test"}]
    assert module.split_used == "official (train, val and test as given)"


@pytest.mark.parametrize("unit", ["char", "word", "subword"])
def test_text_is_put_together_again(make: Make, text: Path, unit: str) -> None:
    module = set_up(make(text, prepare__tokens=unit, prepare__splits_punctuation=False, prepare__subword_size=60))
    assert unit == "word" or "".join(module.joined(module.streams[split]) for split in SPLITS) == LINES
    cutter = module.reader().cutter
    assert cutter.join(cutter.cut(LINES)) == LINES
    words, before, written = cutter.cut("line 1 of\na text."), None, ""
    for word in words:
        written += cutter.follows(word, before)
        before = word
    assert written == "line 1 of\na text."


def test_punctuation_is_apart_where_it_is_asked() -> None:
    assert Cutter("word", True, True).cut("Don't stop,\nnow!") == ["don't", "stop", ",", END, "now", "!"]
    assert Cutter("word", False, False).cut("Don't stop,\nnow!") == ["Don't", "stop,", END, "now!"]


def test_raw_text_is_read_as_training_read_its_own(make: Make, text: Path) -> None:
    module = set_up(make(text))
    reader = through_json(module.reader())
    names, batch = reader.read(["line 1 of", "a"])
    assert names == ["line 1 of", "a"]
    assert letters(module, batch.inputs[0]) == "line 1 of" and letters(module, batch.targets[0]) == "ine 1 of"
    assert batch.targets[1].eq(IGNORED_TARGET).all()


def test_tokens_that_training_lacks_are_unknown_and_told(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.txt").write_text("abc " * 500 + "xyz " * 20)
    module = set_up(make(tmp_path / "text.txt"))
    assert (module.streams["test"] == UNKNOWN).mean() > 0.5
    assert any("unknown" in words for name, words in module.describe() if name == "look at")
    module.reader().read(["abq"])
    assert "1 of 3 tokens are unknown" in capsys.readouterr().err


def test_a_repeat_of_a_document_has_the_split_of_the_first() -> None:
    texts = [f"text {number % 20}" for number in range(60)]
    parts, _ = split_documents(pd.DataFrame({"id": list(map(str, range(60))), "text": texts, "split": ""}), "random", 0, 0.2)
    assert parts.groupby("text")["split"].nunique().max() == 1


# Bad input ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the text is empty"),
        (b"  \n \n", "the text is empty"),
        (b"ab", "token(s), too few"),
        (b"some letters, a few words\n" * 6, "too few for data.loader.batch_size=99"),
        (b"a text\x00with a zero byte" * 9, "NUL byte"),
    ],
)
def test_a_text_that_cannot_be_used_is_refused(make: Make, tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "text.txt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"token|text") as error:
        make(file, loader__batch_size=99, val_fraction=0.3).setup()
    assert words in str(error.value)


def test_parts_longer_than_a_stream_are_refused_with_the_most_that_goes(make: Make, text: Path) -> None:
    with pytest.raises(ValueError, match=r"tbptt_steps=100000 is longer .* set it to [\d,]+ or less"):
        make(text, loader__tbptt_steps=100_000).setup()


@pytest.mark.parametrize("fraction", [0.0, 0.5, -1.0])
def test_a_fraction_that_leaves_no_training_text_is_refused(make: Make, text: Path, fraction: float) -> None:
    with pytest.raises(ValueError, match=r"data\.val_fraction"):
        make(text, val_fraction=fraction)


def test_an_empty_document_is_refused_or_left_out_and_counted(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("text\n" + "\n".join(f"document number {number} here" for number in range(50)) + '\n""\n')
    with pytest.raises(ValueError, match="line 52: the text is empty"):
        make(file).setup()
    module = set_up(make(file, prepare__on_broken="skip"))
    assert any("left out, since the text is empty: 1" in remark for remark in module.remarks)


def test_a_folder_without_text_says_what_it_holds(make: Make, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"no text in .*1 of .png"):
        make(tmp_path).setup()


def test_words_of_texts_are_those_that_data_text_cuts() -> None:
    text = 'It\'s "GOOD", no?'
    assert Cutter("text_word", False, True).cut(f"{text}\nyes") == [*next(iter(tokenize([text], TextTokens()))), END, "yes"]
    assert Cutter("text_word", False, True).join(["yes", END, "no"]) == "yes\nno"


def test_a_classifier_cuts_with_the_subwords_of_the_language_model_it_begins_from(make_data: Callable[..., Any]) -> None:
    first = make_data("language", source="sample", prepare__tokens="subword", prepare__subword_size=150)
    first.setup()
    taken = first.reader().input_tokens
    module = make_data("text", source="sample", prepare__tokens="subword")
    module.begin_from(taken)
    module.setup()
    assert module.reader().subwords == taken.subwords
    assert set(taken.words) - {"<eos>"} <= set(module.vocabulary.words)
    with pytest.raises(ValueError, match=r"a token of that run is a subword, and here a word.*set data.prepare.tokens=subword"):
        make_data("text", source="sample", prepare__tokens="word").begin_from(taken)
