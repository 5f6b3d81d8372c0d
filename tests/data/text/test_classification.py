"""Claims about labelled texts as a data set: splits, vocabulary, subwords, truncation, dropout and what a person is told."""

import gzip
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.data.bundled import through_json

from rnnlab.config import ConfigError
from rnnlab.contracts import PAD, UNKNOWN
from rnnlab.data.base import SPLITS, Split
from rnnlab.data.text.classification import TextData, TextReader
from rnnlab.data.text.padding import truncated
from rnnlab.data.tokens import INPUT_SPECIALS

Row = tuple[str, str, str]
Make = Callable[..., TextData]
# By hand: red 4 times, blue 2, sea and sky once each in training.
ROWS: list[Row] = [
    ("red red blue", "warm", "train"),
    ("red sky", "warm", "train"),
    ("blue sea red", "cold", "train"),
    ("red fog", "warm", "val"),
    ("blue fog", "cold", "val"),
    ("red ice", "warm", "test"),
    ("blue ice sea", "cold", "test"),
]


def write(file: Path, rows: list[Row]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(["text,label,split", *(f'"{text}",{label},{split}' for text, label, split in rows)]) + "\n")
    return file


@pytest.fixture
def make(make_data: Make) -> Make:
    """Make a data module; every word of training counts unless said otherwise."""
    return partial(make_data, "text", loader__min_frequency=1)


def set_up(module: TextData) -> TextData:
    module.setup()
    return module


def words_of(module: TextData, row: int) -> list[str]:
    """Return one text's tokens as a batch holds them."""
    batch = module.collate(np.array([row]), epoch=0, is_training=False)
    return [module.vocabulary.words[number] for number in batch.inputs[0].tolist()]


def texts_of(module: TextData, split: Split, file: Path) -> list[str]:
    lines = file.read_text().splitlines()
    numbers = [int(name.rpartition(":")[2]) for name in module.examples["id"].iloc[module.rows[split]]]
    return [lines[number - 1].split('"')[1] for number in numbers]


def cached(tmp_path: Path) -> int:
    return len([path for path in (tmp_path / "data" / "cache").iterdir() if path.suffix != ".lock"])


# What is fitted sees training texts alone


def test_the_vocabulary_is_that_of_the_training_texts_by_falling_frequency(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path / "t.csv", ROWS)))
    assert module.vocabulary.words == (*INPUT_SPECIALS, "red", "blue", "sea", "sky")
    assert words_of(module, 6) == ["blue", "<unk>", "sea"]
    assert module.make_spec().input_size == 6 and module.make_spec().input_kind == "tokens"


def test_other_validation_and_test_texts_change_no_number(tmp_path: Path, make: Make) -> None:
    ours = set_up(make(write(tmp_path / "ours" / "t.csv", ROWS)))
    later: list[Row] = [(f"{text} moon {place} sea sea sea" * 3, label, split) for place, (text, label, split) in enumerate(ROWS[3:])]
    other = set_up(make(write(tmp_path / "other" / "t.csv", ROWS[:3] + later)))
    assert ours.vocabulary.words == other.vocabulary.words
    assert ours.hashes["source_hash"] != other.hashes["source_hash"]
    assert torch.equal(ours.collate(np.arange(3), 0, False).inputs, other.collate(np.arange(3), 0, False).inputs)


def test_rare_words_and_those_beyond_the_largest_size_are_unknown(tmp_path: Path, make: Make) -> None:
    file = write(tmp_path / "t.csv", ROWS)
    assert set_up(make(file, loader__min_frequency=2)).vocabulary.words == (*INPUT_SPECIALS, "red", "blue")
    assert set_up(make(file, loader__max_size=1)).vocabulary.words == (*INPUT_SPECIALS, "red")
    with pytest.raises(ValueError, match=r"^no word occurs 9 times or more in training: lower data.loader.min_frequency$"):
        make(file, loader__min_frequency=9).setup()


def sentences(num_train: int = 40, last: str = "evening") -> list[Row]:
    """Return texts long enough to learn subwords from; only those of test end with `last`."""
    places, things = ("harbour", "mountain", "village", "garden"), ("lantern", "wagon", "letter", "river", "window")
    train: list[Row] = [
        (f"the {things[n % 5]} of the {places[n % 4]} was seen {n} times", "ab"[n % 2], "train" if n % 5 else "val")
        for n in range(num_train)
    ]
    return [*train, *((f"nobody saw a {thing} that {last}", "ab"[n % 2], "test") for n, thing in enumerate(things))]


def test_subwords_are_learned_from_the_training_texts_alone(tmp_path: Path, make: Make) -> None:
    keys = {"prepare__tokens": "subword", "prepare__subword_size": 34}
    ours = set_up(make(write(tmp_path / "ours" / "t.csv", sentences()), **keys))
    other = set_up(make(write(tmp_path / "other" / "t.csv", sentences(last="qqqzzz qqqzzz qqqzzz")), **keys))
    assert ours.subwords is not None and ours.subwords == other.subwords
    assert ours.vocabulary.words == other.vocabulary.words and ours.data.folder != other.data.folder


def test_subwords_of_another_split_are_prepared_anew(tmp_path: Path, make: Make) -> None:
    file = write(tmp_path / "t.csv", [(text, label, "") for text, label, _ in sentences()])
    keys = {"prepare__tokens": "subword", "prepare__subword_size": 34, "split": "random"}
    first, second = (set_up(make(file, split_seed=seed, **keys)) for seed in (0, 1))
    assert first.subwords != second.subwords and cached(tmp_path) == 2


def test_the_share_of_unknown_words_is_told_for_each_split(tmp_path: Path, make: Make) -> None:
    told = dict(set_up(make(write(tmp_path / "t.csv", ROWS))).describe())
    # fog in 2 of 4 tokens of validation, ice in 2 of 5 of test
    assert told["vocabulary"].endswith("; unknown: train 0.0%, val 50.0%, test 40.0%")


def test_the_size_of_the_vocabulary_that_is_told_counts_words(tmp_path: Path, make: Make) -> None:
    told = dict(set_up(make(write(tmp_path / "t.csv", ROWS))).describe())
    assert told["vocabulary"].startswith("4 of 6 distinct tokens; ")  # neither the padding nor the unknown word is one


# Splits and duplicates


def test_texts_are_split_as_their_column_says(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path / "t.csv", ROWS)))
    assert [module.rows[split].tolist() for split in SPLITS] == [[0, 1, 2], [3, 4], [5, 6]]
    assert module.split_used == "official (train, val and test as given)"
    assert module.make_spec().label_names == ("cold", "warm") and module.make_spec().class_counts == (1, 2)
    assert module.targets(module.rows["test"]) == ["warm", "cold"]


DUPLICATED: list[Row] = [
    *ROWS,
    ("RED ice", "cold", "train"),
    ("blue fog", "warm", "train"),
    ("Blue ice sea", "cold", "val"),
    ("red sky", "warm", "train"),  # again within training: stays
]


def test_training_texts_that_are_tested_are_counted_and_left_out(tmp_path: Path, make: Make) -> None:
    file = write(tmp_path / "t.csv", DUPLICATED)
    module = set_up(make(file))
    assert module.duplicates == {"training texts also in validation or test": 2, "validation texts also in test": 1}
    assert texts_of(module, "train", file) == ["red red blue", "red sky", "blue sea red", "red sky"]
    assert texts_of(module, "val", file) == ["red fog", "blue fog"]
    odd = dict(module.describe())["odd"]
    assert "2 training texts also in validation or test; 1 validation texts also in test" in odd and odd.endswith(" (left out)")


def test_one_key_keeps_duplicates_and_they_are_counted_all_the_same(tmp_path: Path, make: Make) -> None:
    file = write(tmp_path / "t.csv", DUPLICATED)
    module = set_up(make(file, loader__drop_duplicates=False))
    assert [len(module.rows[split]) for split in SPLITS] == [6, 3, 2]
    odd = dict(module.describe())["odd"]
    assert "2 training texts also in validation or test" in odd and not odd.endswith(" (left out)")


def test_what_was_left_out_of_training_is_not_in_the_vocabulary(tmp_path: Path, make: Make) -> None:
    file = write(tmp_path / "t.csv", DUPLICATED)
    assert "ice" not in set_up(make(file)).vocabulary.words
    assert "ice" in set_up(make(file, loader__drop_duplicates=False)).vocabulary.words


@pytest.mark.parametrize("split_seed", range(4))
def test_the_same_text_is_never_in_two_random_splits_even_under_two_labels(tmp_path: Path, make: Make, split_seed: int) -> None:
    rows: list[Row] = [(f"text number {n % 12}", "xy"[(n + n // 12) % 2], "") for n in range(36)]
    file = write(tmp_path / "t.csv", rows)
    module = set_up(make(file, split="random", split_seed=split_seed))
    parts = [set(texts_of(module, split, file)) for split in SPLITS]
    assert all(parts) and sum(map(len, parts)) == len(set.union(*parts)) == 12
    assert sum(len(module.rows[split]) for split in SPLITS) == 36
    assert set(module.duplicates.values()) == {0}


def test_no_text_of_the_sample_is_in_two_splits(make: Make) -> None:
    module = set_up(make("sample"))
    parts = [set(module.examples["content"].iloc[module.rows[split]]) for split in SPLITS]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 1000


def test_random_splits_follow_the_split_seed_and_not_the_runs(tmp_path: Path, make: Make) -> None:
    file = write(tmp_path / "t.csv", [(f"text {n}", "xy"[n % 2], "") for n in range(40)])

    def rows(seed: int, split_seed: int) -> list[list[int]]:
        module = set_up(make(file, seed=seed, split_seed=split_seed))
        return [module.rows[split].tolist() for split in SPLITS]

    assert rows(0, 0) == rows(5, 0) != rows(0, 1)


# Labels


def test_a_label_that_occurs_only_in_test_is_refused(tmp_path: Path, make: Make) -> None:
    file = write(tmp_path / "t.csv", [*ROWS, ("grey rain", "wet", "test")])
    claim = (
        r"^label 'wet' occurs in the test split \(1 times, first t.csv:9\) but never in training: move some of it to training, or remove"
    )
    with pytest.raises(ValueError, match=claim):
        make(file).setup()


def test_a_label_whose_only_training_text_is_left_out_as_a_duplicate_is_refused(tmp_path: Path, make: Make) -> None:
    file = write(tmp_path / "t.csv", [*ROWS, ("grey rain", "wet", "train"), ("Grey rain", "wet", "test")])
    with pytest.raises(ValueError, match=r"label 'wet' occurs in the test split .* but never in training"):
        make(file).setup()
    make(file, loader__drop_duplicates=False).setup()


@pytest.mark.parametrize("split_seed", range(4))
def test_a_label_that_only_repeated_texts_have_is_in_training_or_refused(tmp_path: Path, make: Make, split_seed: int) -> None:
    rows: list[Row] = [*((f"text {n}", "xy"[n % 2], "") for n in range(24)), *((f"text {n}", "z", "") for n in range(5))]
    module = set_up(make(write(tmp_path / "t.csv", rows), split_seed=split_seed, val_fraction=0.4))
    assert min(module.make_spec().class_counts) > 0
    with pytest.raises(ValueError, match=r"^label 'z' "):
        make(write(tmp_path / "few.csv", rows[:25]), split_seed=split_seed, val_fraction=0.4).setup()


def test_one_class_alone_is_refused(tmp_path: Path, make: Make) -> None:
    file = write(tmp_path / "t.csv", [(text, "same", split) for text, _, split in ROWS])
    claim = r"t.csv: all 7 labels are 'same'; a classifier needs two classes or more\. Set data.prepare.label_column to"
    with pytest.raises(ValueError, match=claim):
        make(file).setup()


@pytest.mark.parametrize("blank", ["", "  ", "<br />", "&nbsp;"])
def test_an_empty_text_is_named_by_its_line(tmp_path: Path, make: Make, blank: str) -> None:
    file = write(tmp_path / "t.csv", [*ROWS[:2], (blank, "warm", "train"), *ROWS[2:]])
    with pytest.raises(
        ValueError,
        match=r"t.csv, line 4: the text is empty\. Fill it in or remove the row, or leave such out with data\.prepare\.on_broken=skip$",
    ):
        make(file).setup()


# Cutting, truncation, dropout


@pytest.mark.parametrize(
    ("most", "side", "kept"),
    [
        (5, "head", [0, 1, 2, 3, 4]),
        (5, "tail", [2, 3, 4, 5, 6]),
        (5, "both", [0, 1, 2, 5, 6]),
        (4, "both", [0, 1, 5, 6]),
        (1, "both", [0]),
        (1, "tail", [6]),
        (7, "both", [0, 1, 2, 3, 4, 5, 6]),
        (None, "tail", [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_long_texts_keep_their_head_their_tail_or_both_ends(most: int | None, side: str, kept: list[int]) -> None:
    assert truncated(np.arange(7), most, side).tolist() == kept


def test_a_side_that_does_not_exist_is_refused(make: Make) -> None:
    with pytest.raises(ValueError, match=r"^data.loader.truncate='middle' is not one of head, tail, both$"):
        truncated(np.arange(7), 3, "middle")
    with pytest.raises(ConfigError, match=r"data.loader.truncate=middle is not allowed\. Allowed: head, tail, both$"):
        make("sample", loader__truncate="middle")


def test_batches_hold_truncated_texts_and_prepared_data_whole_ones(tmp_path: Path, make: Make) -> None:
    file = write(
        tmp_path / "t.csv", [("a b c d e f g", "x", "train"), ("g", "y", "train"), *ROWS[3:], ("a", "x", "train"), ("b", "y", "val")]
    )
    file.write_text(file.read_text().replace("warm", "x").replace("cold", "y"))
    for side, kept in {"head": "a b c", "tail": "e f g", "both": "a b g"}.items():
        module = set_up(make(file, loader__max_tokens=3, loader__truncate=side))
        assert words_of(module, 0) == kept.split() and module.lengths[0] == 7
        assert f"are cut to 3 ({side})" in dict(module.describe())["tokens each"]
        assert module.collate(np.array([0, 1]), 0, False).input_lengths.tolist() == [3, 1]
    assert cached(tmp_path) == 1


def test_texts_of_any_length_stay_whole_where_nothing_is_cut(tmp_path: Path, make: Make) -> None:
    rows: list[Row] = [("red " * 900, "warm", "train"), *ROWS[1:]]
    module = set_up(make(write(tmp_path / "t.csv", rows), loader__max_tokens=None))
    assert max(batch.inputs.shape[1] for batch in module.train_dataloader()) == 900
    assert "cut" not in dict(module.describe())["tokens each"]


def test_batches_stay_under_the_budget_of_tokens(make: Make) -> None:
    module = set_up(make("sample", loader__batch_tokens=100))
    for loader in (module.train_dataloader(), module.val_dataloader()):
        assert max(batch.inputs.numel() for batch in loader) <= 100


def test_padding_is_zero_and_a_word_spelt_like_it_is_unknown(tmp_path: Path, make: Make) -> None:
    rows: list[Row] = [("<pad> red", "warm", "train"), *ROWS[1:]]
    module = set_up(make(write(tmp_path / "t.csv", rows), prepare__tokens="char"))
    batch = module.collate(np.array([0, 1]), 0, False)
    assert batch.inputs[1, 7:].tolist() == [PAD, PAD] and (batch.inputs[0] > UNKNOWN).all()


def dropped(module: TextData, rows: list[int], epoch: int, is_training: bool = True) -> torch.Tensor:
    return module.collate(np.array(rows), epoch, is_training).inputs == UNKNOWN


def test_word_dropout_follows_from_seed_epoch_and_example_alone(make: Make) -> None:
    module = set_up(make("sample", loader__word_dropout=0.4))
    together = dropped(module, [3, 8, 20], epoch=2)
    alone = dropped(module, [8], epoch=2)
    assert torch.equal(together[1, : alone.shape[1]], alone[0])  # neither the batch nor its padding matters
    assert torch.equal(dropped(module, [20, 3], epoch=2)[0, : together.shape[1]], together[2])
    assert not torch.equal(together, dropped(module, [3, 8, 20], epoch=3))
    other = set_up(make("sample", seed=1, loader__word_dropout=0.4))
    assert not torch.equal(together, dropped(other, [3, 8, 20], epoch=2))


def test_word_dropout_takes_its_share_of_words_and_never_padding(make: Make) -> None:
    module, plain = set_up(make("sample", loader__word_dropout=0.4)), set_up(make("sample"))
    rows = plain.rows["train"]
    changed, whole = module.collate(rows, 1, is_training=True), plain.collate(rows, 1, is_training=True)
    is_known = whole.inputs > UNKNOWN
    assert torch.equal(changed.inputs == PAD, whole.inputs == PAD)
    share = (changed.inputs[is_known] == UNKNOWN).float().mean().item()
    assert share == pytest.approx(0.4, abs=4 * np.sqrt(0.4 * 0.6 / int(is_known.sum())))
    is_kept = changed.inputs != UNKNOWN
    assert torch.equal(changed.inputs[is_kept], whole.inputs[is_kept])


def test_no_word_is_dropped_in_evaluation(make: Make) -> None:
    module, plain = set_up(make("sample", loader__word_dropout=0.9)), set_up(make("sample"))
    for split in SPLITS:
        for one, other in zip(module.plain_dataloader(split), plain.plain_dataloader(split), strict=True):
            assert torch.equal(one.inputs, other.inputs)


def test_runs_of_words_are_tokens_of_their_own(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path / "t.csv", ROWS), prepare__ngrams=2))
    assert words_of(module, 2) == ["blue", "sea", "red", "blue sea", "sea red"]
    assert words_of(module, 6) == ["blue", "<unk>", "sea", "<unk>", "<unk>"]


def test_characters_are_cut_as_unicode_has_them(tmp_path: Path, make: Make) -> None:
    rows: list[Row] = [("李 na É", "warm", "train"), *ROWS[1:]]
    file = write(tmp_path / "t.csv", rows)
    module = set_up(make(file, prepare__tokens="char"))
    assert words_of(module, 0) == ["李", "▁", "n", "a", "▁", "É"]
    assert module.shown(np.array([0])) == ["李 na É"]
    assert set_up(make(file, prepare__tokens="char", prepare__is_lower=True)).shown(np.array([0])) == ["李 na é"]


def test_subwords_put_together_are_the_text_again(tmp_path: Path, make: Make) -> None:
    file = write(tmp_path / "t.csv", sentences())
    module = set_up(make(file, prepare__tokens="subword", prepare__subword_size=34))
    rows = module.rows["train"]
    assert module.shown(rows) == texts_of(module, "train", file)
    assert module.lengths[rows].mean() > np.mean([len(text.split()) for text in module.shown(rows)])


def test_texts_are_shown_as_a_model_reads_them(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path / "t.csv", ROWS), loader__max_tokens=2))
    assert module.shown(np.array([0, 6])) == ["red blue", "blue sea"]
    assert module.shown(np.array([5])) == ["red <unk>"]


def test_a_text_without_a_word_is_one_unknown_token(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path / "t.csv", [*ROWS, (";", "warm", "train")])))
    assert words_of(module, 7) == ["<unk>"]


CHINESE = ["这家酒店很好", "房间太小了", "位置不错 very good", "再也不会来了"]
THAI = ["โรงแรมนี้ดีมาก", "ห้องเล็กเกินไป", "อาหารเช้าอร่อย", "ไม่ดีเลย"]
ENGLISH = ["a fine hotel 酒店", "the room was small", "the place is very good", "never again"]
BY_SCRIPT = "a token is a character: most letters are of scripts without blanks between words (set by data.prepare.tokens)"


def to_look_at(module: TextData) -> list[str]:
    return [text for name, text in module.describe() if name == "look at"]


def numbered(texts: list[str]) -> list[Row]:
    return [(f"{text}{number}", "good" if place % 2 else "bad", "") for number in range(9) for place, text in enumerate(texts)]


@pytest.mark.parametrize(("texts", "kind"), [(CHINESE, "char"), (THAI, "char"), (ENGLISH, "word")])
def test_what_a_token_is_follows_from_the_script_unless_it_is_said(tmp_path: Path, make: Make, texts: list[str], kind: str) -> None:
    file = write(tmp_path / "t.csv", numbered(texts))
    module = set_up(make(file))
    assert module.prepare.tokens == module.reader().prepare.tokens == kind
    assert to_look_at(module) == [BY_SCRIPT] * (kind == "char")
    other = make(write(tmp_path / "other.csv", numbered(ENGLISH)))
    other.setup_as_test(module.reader())
    assert other.prepare.tokens == kind  # as in training, whatever the other texts look like
    assert set_up(make(file, prepare__tokens="word")).prepare.tokens == "word"


def test_texts_that_the_tokens_do_not_fit_are_pointed_at(tmp_path: Path, make: Make) -> None:
    texts = [text.replace(" ", "") for text in CHINESE]
    single, unknown = to_look_at(set_up(make(write(tmp_path / "t.csv", numbered(texts)), prepare__tokens="word")))
    assert single == "most texts are one word token: if they have no blanks between words, set data.prepare.tokens=char"
    assert (
        unknown == "100% of the test tokens are unknown, which data.prepare.tokens=subword or a lower data.loader.min_frequency may change"
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"prepare__tokens": "chars"},
            r"data.prepare.tokens=chars is not allowed\. Did you mean 'char'\? Allowed: auto, word, char, subword$",
        ),
        ({"prepare__ngrams": 0}, r"data.prepare.ngrams=0 is not allowed: it should be greater than or equal to 1$"),
        ({"prepare__tokens": "subword", "prepare__ngrams": 2}, r"data.prepare.ngrams=2 goes with data.prepare.tokens=word or char"),
        ({"loader__word_dropout": 1.0}, r"data.loader.word_dropout=1.0 is not allowed: it should be less than 1$"),
        ({"split": "speaker"}, r"data.split=speaker is not allowed\. Allowed: auto, official, random, kfold$"),
        (
            {"prepare__tokens": "char", "loader__vectors": "v.txt"},
            r"^data.loader.vectors are of words, but data.prepare.tokens=char: leave",
        ),
    ],
)
def test_values_that_are_not_allowed_are_named_before_anything_is_read(make: Make, changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make("nowhere", **changed)


def test_only_what_texts_are_cut_by_is_prepared_anew(tmp_path: Path, make: Make) -> None:
    file = write(tmp_path / "t.csv", ROWS)
    for changed in ({}, {"loader__max_tokens": 2}, {"loader__min_frequency": 2}, {"split": "random", "split_seed": 3}, {"seed": 4}):
        try:
            set_up(make(file, **changed))
        except ValueError as error:
            assert "random split needs at least 3 of each label" in str(error) or "split is empty" in str(error)
    assert cached(tmp_path) == 1
    set_up(make(file, prepare__tokens="char"))
    assert cached(tmp_path) == 2


# Word vectors


def test_vectors_are_read_for_the_words_of_the_vocabulary(tmp_path: Path, make: Make) -> None:
    (tmp_path / "v.txt").write_text("red 1 2\nice 5 6\nsea 3 4\n")
    module = set_up(make(write(tmp_path / "t.csv", ROWS), loader__vectors=str(tmp_path / "v.txt")))
    vectors = module.input_vectors()
    assert vectors is not None and vectors.shape == (6, 2)
    assert vectors[[2, 4]].tolist() == [[1, 2], [3, 4]] and np.isnan(vectors[[0, 1, 3, 5]]).all()
    assert set_up(make(tmp_path / "t.csv")).input_vectors() is None


# With another run's eyes, and raw inputs


def reader_of(make: Make, tmp_path: Path, **changed: object) -> TextReader:
    module = set_up(make(write(tmp_path / "ours.csv", sentences()), **changed))
    return through_json(module.reader())


@pytest.mark.parametrize("kind", ["word", "char", "subword"])
def test_other_texts_are_all_test_with_the_runs_labels_vocabulary_and_subwords(tmp_path: Path, make: Make, kind: str) -> None:
    keys = {"prepare__tokens": kind, "prepare__subword_size": 34}
    reader = reader_of(make, tmp_path, **keys)
    theirs = write(
        tmp_path / "theirs.csv", [("the lantern was seen", "b", ""), ("the river was quiet", "b", "train"), ("a wagon", "a", "")]
    )
    module = make(theirs, **keys)
    module.setup_as_test(reader)
    assert [len(module.rows[split]) for split in SPLITS] == [0, 0, 3]
    assert module.vocabulary.words == reader.vocabulary and module.label_names == ("a", "b")
    batch = module.collate(np.arange(3), 0, is_training=False)
    assert batch.targets.tolist() == [1, 1, 0]
    names, read = reader.read(["the lantern was seen", "the river was quiet", "a wagon"])
    assert names == ["the lantern was seen", "the river was quiet", "a wagon"]
    assert torch.equal(read.inputs, batch.inputs) and torch.equal(read.input_lengths, batch.input_lengths)
    assert through_json(module.reader()) == reader


def test_labels_that_the_run_never_learned_are_refused(tmp_path: Path, make: Make) -> None:
    reader = reader_of(make, tmp_path)
    theirs = write(tmp_path / "theirs.csv", [("the lantern", "b", ""), ("a wagon", "c", ""), ("a letter", "d", "")])
    claim = r"^data.source=.*theirs.csv has the label 'c' \(2 such\), which the run never learned; it knows: a, b$"
    with pytest.raises(ValueError, match=claim):
        make(theirs).setup_as_test(reader)


def test_a_raw_text_is_cleaned_truncated_and_its_unknown_words_marked(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path / "t.csv", ROWS), loader__max_tokens=3, loader__truncate="tail"))
    reader = through_json(module.reader())
    names, batch = reader.read(["ice&nbsp;&amp; RED<br />blue sea", ";"])
    assert names == ["ice & RED blue sea", ";"]
    assert [[module.vocabulary.words[number] for number in row] for row in batch.inputs.tolist()] == [
        ["red", "blue", "sea"], ["<unk>", "<pad>", "<pad>"],
    ]  # fmt: skip
    assert batch.targets.tolist() == [-1, -1] and batch.input_lengths.tolist() == [3, 1]


def test_lines_with_their_labels_are_predicted_without_them(tmp_path: Path, make: Make) -> None:
    reader = reader_of(make, tmp_path)
    labels = list(reader.label_names)
    (tmp_path / "own.txt").write_text("".join(f"{label} such a text\n" for label in labels * 10))
    assert reader.collect([str(tmp_path / "own.txt")], None) == ["such a text"] * 10 * len(labels)
    others = [f"{word} such a text" for word in ("this", "that") * 10]
    (tmp_path / "others.txt").write_text("\n".join(others) + "\n")
    assert reader.collect([str(tmp_path / "others.txt")], None) == others


def test_an_empty_raw_text_is_named_by_its_place(tmp_path: Path, make: Make) -> None:
    reader = through_json(set_up(make(write(tmp_path / "t.csv", ROWS))).reader())
    with pytest.raises(ValueError, match=r"^text 2 of 3 is empty: leave it out$"):
        reader.read(["red", " <br/> ", "blue"])


def test_a_module_that_failed_to_split_does_not_pass_for_set_up(tmp_path: Path, make: Make) -> None:
    module = make(write(tmp_path / "t.csv", [*ROWS, ("grey rain", "wet", "test")]))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"label 'wet' occurs in the test split"):
            module.setup()


# What to predict from


def read_from(module: TextData, *given: Path) -> list[str]:
    return through_json(module.reader()).collect([str(path) for path in given], None)


def test_a_folder_of_texts_is_one_text_a_file_and_a_folder_of_tables_is_all_of_them(tmp_path: Path, make: Make) -> None:
    folder = tmp_path / "mine"
    for name, text in {"warm/10.txt": "red\nsun", "warm/9.txt": "red", "cold/deep/1.txt": "blue", "warm/8.txt": "sun"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for number in range(3):
        (folder / "cold" / f"{number + 2}.txt").write_text(f"ice {number}")
    module = set_up(make(folder))
    assert read_from(module, folder) == ["ice 0", "ice 1", "ice 2", "blue", "sun", "red", "red\nsun"]
    tables = tmp_path / "tables"
    for name, rows in {"train.csv": ROWS[:2], "test.tsv": ROWS[3:5], "val.csv": ROWS[5:]}.items():
        write(tables / name, rows)
    (tables / "test.tsv").write_text("text\tlabel\nred fog\twarm\nblue fog\tcold\n")
    assert read_from(module, tables) == ["red fog", "blue fog", "red red blue", "red sky", "red ice", "blue ice sea"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.txt", "text,label\n\u00e9t\u00e9,warm\nice,cold\n".encode("latin-1")),
        ("t.csv.gz", gzip.compress("label,Text\nwarm,\u00e9t\u00e9\ncold,ice\n".encode(), mtime=0)),
        ("lines.txt", "\u00e9t\u00e9\nice\n".encode("latin-1")),
        ("lines.txt.gz", gzip.compress("\ufeff\u00e9t\u00e9\r\nice\r\n".encode(), mtime=0)),
        ("lines", "\u00e9t\u00e9\nice\n".encode()),
    ],
)
def test_a_file_is_read_as_training_reads_it(
    name: str, content: bytes, tmp_path: Path, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    module = set_up(make(write(tmp_path / "mine.csv", ROWS)))
    (tmp_path / name).write_bytes(content)
    assert read_from(module, tmp_path / name) == ["\u00e9t\u00e9", "ice"]
    assert ("is read as a table with the run's column of inputs, 'text'" in capsys.readouterr().err) == (name == "t.txt")


def test_a_table_without_a_header_may_be_called_txt(tmp_path: Path, make: Make) -> None:
    columns = {"prepare__text_column": "1", "prepare__label_column": "0", "prepare__has_header": False}
    lines = [f"{label}\t{text} {number}\n" for number, (text, label, _) in enumerate(ROWS)]
    (tmp_path / "mine.txt").write_text("".join(lines))
    module = set_up(make(tmp_path / "mine.txt", **columns))
    assert read_from(module, tmp_path / "mine.txt") == [f"{text} {number}" for number, (text, _, _) in enumerate(ROWS)]


def test_labels_that_differ_by_case_or_blanks_only_get_a_word(tmp_path: Path, make: Make) -> None:
    rows = [(text, label, split) for text, _, split in ROWS for label in ("Cold", "cold", "very warm", "verywarm")]
    described = dict(set_up(make(write(tmp_path / "mine.csv", rows))).describe())
    assert described["look at"] == "labels that differ by case or blanks only: 'Cold' and 'cold', 'very warm' and 'verywarm'"
    assert "look at" not in dict(set_up(make(write(tmp_path / "other.csv", ROWS))).describe())
