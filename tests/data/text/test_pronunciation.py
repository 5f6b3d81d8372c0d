"""Claims about words and their pronunciations: what is read, what is right, who is tested, and what CTC can learn from."""

import copy
import csv
import hashlib
import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import yaml
from tests.data.bundled import through_json

from rnnlab.config import Config, recipe
from rnnlab.contracts import SPECIALS, STOP, UNKNOWN
from rnnlab.data.base import SPLITS
from rnnlab.data.text.pronunciation import PronunciationData, PronunciationReader, by_hash
from rnnlab.paths import HOME
from rnnlab.settings import Paths

SAMPLE = HOME / "data" / "samples" / "pronunciation"
Make = Callable[..., PronunciationData]
DICTIONARY = """\
;;; as in older releases
# as in others
read R EH1 D
read(2) R IY1 D
read(3) R EH2 D
Tear  T EH1 R # of paper
tear(2) T IH1 R # of the eye
'em AH0 M
bee B IY1
cab K AE1 B
"""
# `read` and `bee` train, `tear` and `cab` choose, `'em` tests.
TABLE = """\
word,pronunciation,split
read,R EH1 D,train
read,R IY1 D,train
bee,B IY1,
Tear,T EH1 R,valid
tear,T IH1 R,valid
cab,K AE1 B,dev
'em,AH0 M,test
'em,EH1 M,test
"""


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a data module from conf/data/pronunciation.yaml and changed keys."""
    defaults: Config = yaml.safe_load((HOME / "conf" / "data" / "pronunciation.yaml").read_text())
    defaults.pop("defaults")

    def made(source: Path | str, **changed: object) -> PronunciationData:
        config = copy.deepcopy(defaults) | {"source": str(source), "offline": True}
        for key, value in changed.items():
            *parents, last = key.split("__")
            node = config
            for name in parents:
                node = node[name]
            assert last in node
            node[last] = value
        module: PronunciationData = recipe(config, "data")(Paths.below(tmp_path), 0)
        return module

    return made


def write(folder: Path, text: str | bytes, name: str = "my.dict") -> Path:
    file = folder / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def set_up(module: PronunciationData) -> PronunciationData:
    module.setup()
    return module


def ids_of(module: PronunciationData) -> dict[str, list[str]]:
    return {split: module.examples["id"].iloc[rows].tolist() for split, rows in module.rows.items()}


def invented(count: int) -> str:
    """Return a dictionary of so many words, every third with two pronunciations."""
    lines = []
    for number in range(count):
        word = "".join("abcdefghij"[int(digit)] for digit in str(number))
        lines += [f"{word} AA1 B", f"{word}(2) AH0 B"] if number % 3 == 0 else [f"{word} AA1 K"]
    return "\n".join(lines)


# What is read


def test_a_row_is_one_pronunciation_without_stress_and_those_that_come_again_are_left_out_and_counted(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path, DICTIONARY)))
    found = module.examples[["id", "word", "target"]].to_numpy().tolist()
    assert found == [
        ["read", "read", "R EH D"],
        ["read(2)", "read", "R IY D"],
        ["tear", "tear", "T EH R"],
        ["tear(2)", "tear", "T IH R"],
        ["'em", "'em", "AH M"],
        ["bee", "bee", "B IY"],
        ["cab", "cab", "K AE B"],
    ]
    assert dict(module.describe())["odd"].startswith("1 pronunciations that their word already has (left out)")


def test_with_stress_the_digits_stay_and_tell_pronunciations_apart(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path, DICTIONARY), prepare__has_stress=True))
    targets = dict(zip(module.examples["id"], module.examples["target"], strict=True))
    assert (targets["read"], targets["read(2)"], targets["read(3)"], targets["'em"]) == ("R EH1 D", "R IY1 D", "R EH2 D", "AH0 M")


def test_a_dictionary_and_a_table_say_the_same(tmp_path: Path, make: Make) -> None:
    rows = [line.partition(" ") for line in ("bee B IY1", "cab K AE1 B", "read R EH1 D", "read R IY1 D")]
    plain = write(tmp_path, "bee B IY1\ncab K AE1 B\nread R EH1 D\nread(2) R IY1 D\n")
    comma = write(tmp_path, "\n".join(["Word,phones", *(f"{word},{phones}" for word, _, phones in rows)]), "my.csv")
    tab = write(tmp_path, "\n".join(["word\tpronunciation", *(f"{word}\t{phones}" for word, _, phones in rows)]), "my.tsv")
    objects = write(tmp_path, "\n".join(json.dumps({"word": word, "pronunciation": phones}) for word, _, phones in rows), "my.jsonl")
    modules = [set_up(make(file)) for file in (plain, comma, tab, objects)]
    for module in modules[1:]:
        assert module.examples.equals(modules[0].examples) and module.hashes == modules[0].hashes
    other = set_up(make(write(tmp_path, "bee B IY1\ncab K AE1 P\nread R EH1 D\nread(2) R IY1 D\n", "other.dict")))
    assert other.hashes["source_hash"] != modules[0].hashes["source_hash"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("cab K AE B\nbee\n", r"my.dict, line 2: the word 'bee' has no phones. Write them after it"),
        ("cab K AE B\nbee # an insect\n", r"my.dict, line 2: the word 'bee' has no phones"),
        ("cab K AE B\nbee B IY12\n", r"my.dict, line 2: 'IY12' is no phone. Wanted letters and perhaps one digit of stress, such as"),
        ("cab K AE B\nbee B, IY1\n", r"my.dict, line 2: 'B,' is no phone"),
        ("cab K AE B\n(2) B IY1\n", r"my.dict, line 2: the word is empty. Fill it in or remove the line"),
        ("cab K AE B\nb\x00e B IY1\n", r"my.dict, line 2: the word 'b\\x00e' holds a control character. Remove it"),
        ("cab K AE B\ncafé K AE F EY\n".encode("latin-1"), r"my.dict, line 2: byte 4 is not UTF-8. Save it as UTF-8"),
        ("", r"my.dict holds no pronunciations: wanted lines such as `abacus AE B AH K AH S`"),
        (";;; nothing\n\n", r"my.dict holds no pronunciations"),
        ("cab K AE B\nbee B IY\n", r"2 words are too few: one each is needed for training, validation and test"),
    ],
)
def test_a_dictionary_that_cannot_be_read_is_refused_with_the_line(content: str | bytes, message: str, tmp_path: Path, make: Make) -> None:
    with pytest.raises(ValueError, match=message):
        make(write(tmp_path, content)).setup()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("word,sound\ncab,K AE B\n", r"my.csv lacks a column 'pronunciation' \(or pronunciations, phones, .*it has: word, sound"),
        ("letters,phones\ncab,K AE B\n", r"my.csv lacks a column 'word' \(or grapheme, "),
        ("word,phones\ncab,K AE B\n ,B IY\n", r"my.csv, line 3: the word is empty"),
        ("word,phones\ncab,\n", r"my.csv, line 2: the word 'cab' has no phones"),
        ("word,phones,split\ncab,K AE B,later\n", r"my.csv, line 2: the split 'later' is not one of train, val, valid, .*Rename it"),
        (TABLE + "cab,K AA B,test\n", r"my.csv: the word 'cab' is in several splits \(1 such words\). Put all its rows in one"),
        ("word,phones,split\na,AA,val\nb,B,\nc,K,\n", r"names no test words: add some, or remove the column"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(content: str, message: str, tmp_path: Path, make: Make) -> None:
    with pytest.raises(ValueError, match=message):
        make(write(tmp_path, content, "my.csv")).setup()


def test_a_folder_is_refused_and_a_byte_order_mark_is_no_letter(tmp_path: Path, make: Make) -> None:
    with pytest.raises(ValueError, match=r"is a folder: name a file in it"):
        make(tmp_path).setup()
    module = set_up(make(write(tmp_path, "\ufeffbee B IY\r\ncab K AE B\r\naxe AE K S\r\n")))
    assert module.shown(np.arange(3)) == ["bee", "cab", "axe"]


# Who trains, chooses and tests


def test_words_are_split_by_their_hash_a_tenth_each_at_most(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path, invented(100))))
    words = module.examples["word"].unique().tolist()
    by_hand = sorted(words, key=lambda word: hashlib.sha256(word.encode()).hexdigest())
    assert set(module.examples["word"].iloc[module.rows["test"]]) == set(by_hand[:10])
    assert set(module.examples["word"].iloc[module.rows["val"]]) == set(by_hand[10:20])
    assert set(module.examples["word"].iloc[module.rows["train"]]) == set(by_hand[20:])
    assert module.split_used == "by hash of the word: the 10 with the smallest are test, the next 10 validation"
    fewer = set_up(make(write(tmp_path, invented(100)), test_words=4, val_words=3))
    assert set(fewer.examples["word"].iloc[fewer.rows["test"]]) == set(by_hand[:4])
    assert set(fewer.examples["word"].iloc[fewer.rows["val"]]) == set(by_hand[4:7])


def test_neither_the_order_of_words_nor_their_case_moves_one(tmp_path: Path, make: Make) -> None:
    first = set_up(make(write(tmp_path, invented(60))))
    other = set_up(make(write(tmp_path, "\n".join(reversed(invented(60).splitlines())).upper(), "other.dict")))
    for split in SPLITS:
        assert set(first.examples["word"].iloc[first.rows[split]]) == set(other.examples["word"].iloc[other.rows[split]])
    assert by_hash(np.array(["ABC", "b"])).tolist() == by_hash(np.array(["abc", "B"])).tolist()


def test_training_has_every_pronunciation_and_the_others_each_word_once(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path, invented(100))))
    ids = ids_of(module)
    assert sum("(2)" in name for name in ids["train"]) > 20
    assert not any("(2)" in name for name in ids["val"] + ids["test"])
    words = [set(module.examples["word"].iloc[module.rows[split]]) for split in SPLITS]
    assert sum(map(len, words)) == len(set.union(*words)) == 100


def test_a_table_is_split_as_its_column_says_and_validation_is_carved_where_it_gives_none(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path, TABLE, "my.csv")))
    assert ids_of(module) == {"train": ["read", "read(2)", "bee"], "val": ["tear", "cab"], "test": ["'em"]}
    assert module.split_used == "official (train, val and test as given)"
    carved = set_up(make(write(tmp_path, TABLE.replace("valid", "train").replace("dev", ""), "carved.csv")))
    assert ids_of(carved)["test"] == ["'em"] and len(carved.rows["val"]) == 1
    assert carved.split_used == "official test; validation is the 1 other words with the smallest hash"


# What a batch holds


def test_all_pronunciations_of_a_word_are_right_and_nothing_is_scored_while_training(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path, TABLE, "my.csv")))
    batch = module.collate(np.array([3, 5, 6]), epoch=0, is_training=False)
    assert batch.references == (("T EH R", "T IH R"), ("K AE B",), ("AH M", "EH M"))
    assert module.targets(np.array([6])) == [["AH M", "EH M"]]
    assert module.collate(np.array([0, 1]), epoch=0, is_training=True).references is None
    assert module.collate(np.array([1]), epoch=0, is_training=False).references == (("R EH D", "R IY D"),)


def test_letters_end_with_the_stop_and_what_training_lacks_is_unknown(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path, TABLE, "my.csv")))
    # by hand: e four times, then r a d twice each (in the order of code points), b once
    assert module.vocabulary.words == (*SPECIALS, "e", "a", "d", "r", "b")
    assert module.target_vocabulary.words == (*SPECIALS, "D", "IY", "R", "B", "EH")
    batch = module.collate(np.array([0, 5]), epoch=0, is_training=False)
    assert batch.inputs.tolist() == [[7, 4, 5, 6, STOP], [UNKNOWN, 5, 8, STOP, 0]]
    assert batch.input_lengths.tolist() == [5, 4] == module.lengths[[0, 5]].tolist()
    assert batch.targets.tolist() == [[6, 8, 4], [UNKNOWN, UNKNOWN, 7]] and batch.target_lengths.tolist() == [3, 3]
    told = dict(module.describe())
    assert told["odd"] == "letters never seen in training: t, c, ', m; phones never seen in training: T, IH, K, AE, AH, M"


def test_the_spec_says_what_is_asked(tmp_path: Path, make: Make) -> None:
    spec = set_up(make(write(tmp_path, TABLE, "my.csv"))).make_spec()
    assert (spec.input_kind, spec.input_size, spec.target_kind, spec.target_size) == ("tokens", 9, "tokens", 9)
    assert (spec.goal, spec.joined, spec.is_monotonic, spec.is_joint) == ("pronounce", "words", True, False)
    assert spec.max_target_length == 3 and spec.label_names[: len(SPECIALS)] == SPECIALS and spec.class_counts == ()


def test_targets_are_the_phones_of_their_row(make: Make) -> None:
    module = set_up(make("sample"))
    rows = module.rows["test"]
    batch = module.collate(rows, epoch=0, is_training=False)
    for numbers, length, row in zip(batch.targets.tolist(), batch.target_lengths.tolist(), rows, strict=True):
        assert " ".join(module.target_vocabulary.words[number] for number in numbers[:length]) == module.examples["target"].iloc[row]
        assert not any(numbers[length:])


def test_training_batches_keep_their_budget_and_hold_each_row_once(make: Make) -> None:
    module = set_up(make("sample", loader__batch_tokens=100))
    batches = list(module.train_dataloader())
    assert sorted(torch.cat([batch.example_ids for batch in batches]).tolist()) == module.rows["train"].tolist()
    assert max(max(batch.inputs.numel(), batch.targets.numel()) for batch in batches) <= 100


# Raw input


def reader_of(module: PronunciationData) -> PronunciationReader:
    return through_json(module.reader())


def test_a_word_that_is_given_reads_as_the_loader_reads_it(make: Make) -> None:
    module = set_up(make("sample"))
    rows = module.rows["test"][:4]
    words, batch = reader_of(module).read([f" {word.upper()} " for word in module.shown(rows)])
    wanted = module.collate(rows, epoch=0, is_training=False)
    assert words == module.shown(rows) and reader_of(module).kind == "pronunciation"
    assert torch.equal(batch.inputs, wanted.inputs) and torch.equal(batch.input_lengths, wanted.input_lengths)
    assert batch.targets.shape == (4, 0) and batch.target_lengths.tolist() == [0] * 4 and batch.references is None


@pytest.mark.parametrize(("name", "words"), [("my.dict", 8), ("my.csv", 8), ("words.txt", 3)])
def test_of_a_dictionary_or_table_the_words_are_read_and_not_the_phones(name: str, words: int, tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path, TABLE, "given.csv")))
    file = write(tmp_path, {"my.dict": DICTIONARY, "my.csv": TABLE, "words.txt": "bee\nread it\ncab\n"}[name], name)
    found = through_json(module.reader()).collect([str(file)], None)
    assert len(found) == words and not any(word.isupper() for word in found)


def test_lines_that_are_no_word_with_phones_are_left_out_where_asked_for(tmp_path: Path, make: Make) -> None:
    file = write(tmp_path, DICTIONARY + "alone\nodd 1 2\n")
    with pytest.raises(ValueError, match=r"my.dict, line 11: the word 'alone' has no phones\. .*, or leave such out with "):
        set_up(make(file))
    module = set_up(make(file, prepare__on_broken="skip"))
    assert "alone" not in module.answers and module.remarks == [f"left out, since it is no word with phones: 2 (first {file}, line 11)"]


def test_an_unseen_letter_is_named_and_unknown_and_an_empty_word_is_refused_by_number(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    reader = reader_of(set_up(make("sample")))
    _, batch = reader.read(["caféß"])
    assert "warning: never seen in training, read as <unk>: 'é', 'ß'" in capsys.readouterr().err
    assert batch.inputs[0, 3:].tolist() == [UNKNOWN, UNKNOWN, STOP]
    with pytest.raises(ValueError, match=r"word 2 of 3 is empty: leave it out"):
        reader.read(["cab", " ", "bee"])


def test_another_source_is_tested_whole_with_the_runs_vocabularies(tmp_path: Path, make: Make) -> None:
    trained = set_up(make(write(tmp_path, TABLE, "my.csv")))
    other = make(write(tmp_path, DICTIONARY))
    other.setup_as_test(reader_of(trained))
    assert [len(other.rows[split]) for split in SPLITS] == [0, 0, 5]
    assert other.make_spec().label_names == trained.make_spec().label_names and other.make_spec().input_size == 9
    batch = other.collate(other.rows["test"], 0, is_training=False)
    assert batch.inputs[0].tolist() == [7, 4, 5, 6, STOP] and batch.references is not None
    assert batch.references[1] == ("T EH R", "T IH R") and batch.targets[1].tolist() == [UNKNOWN, 8, 6]
    assert dict(other.describe())["split"] == "all of them as test"


# What CTC can align


def test_what_cannot_be_aligned_is_left_out_of_training_and_validation_and_never_of_test(tmp_path: Path, make: Make) -> None:
    table = "word,phones,split\nx,EH K S,train\nabc,AA AA,train\nab,AA B,train\nq,K Y UW,val\ncab,K AE B,val\nw,D AH B,test\n"
    module = set_up(make(write(tmp_path, table, "my.csv")))
    assert module.leave_out_infeasible(lambda lengths: lengths) == ("x", "q")  # with the stop: 2 steps for 3 phones
    assert ids_of(module) == {"train": ["abc", "ab"], "val": ["cab"], "test": ["w"]}
    again = set_up(make(write(tmp_path, table, "my.csv")))
    assert again.leave_out_infeasible(lambda lengths: 2 * lengths) == ()
    with pytest.raises(ValueError, match=r"too few steps for all 3 examples of the train split: .* Set frontend.repeats higher"):
        again.leave_out_infeasible(lambda lengths: lengths // 4)


def test_ctc_has_a_finite_loss_exactly_where_there_are_steps_enough(tmp_path: Path, make: Make) -> None:
    random = np.random.default_rng(0)
    lines = (f"{chr(97 + n)} " + " ".join(random.choice(["AA", "B"], size=random.integers(1, 7))) for n in range(26))
    module = set_up(make(write(tmp_path, "\n".join(lines))))
    for row, least in enumerate(module.least_steps(np.arange(26)).tolist()):
        target = torch.from_numpy(module.target_tokens(row))
        for num_steps in (least - 1, least):
            scores = torch.zeros(max(1, num_steps), 1, len(module.target_vocabulary)).log_softmax(2)
            lengths = torch.tensor([num_steps]), torch.tensor([len(target)])
            assert bool(torch.nn.functional.ctc_loss(scores, target[None], *lengths, reduction="sum").isfinite()) == (num_steps == least)


# The bundled sample, and the dictionary itself


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """Load the script that made the sample."""
    spec = importlib.util.spec_from_file_location("make_pronunciation_sample", SAMPLE / "make_sample.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("word", "phones"),
    [("plice", "P L AY S"), ("knathoog", "N AE DH UW G"), ("shook", "SH UH K"), ("gertle", "JH ER T AH L"), ("quaxy", "K W AE K S IY"),
     ("zhissad", "ZH IH S AE D"), ("yisoath", "Y IH Z OW TH"), ("horroace", "HH AA R OW S"), ("carcheng", "K AA R CH EH NG")],
)  # fmt: skip
def test_the_sample_is_read_by_its_rules(maker: ModuleType, word: str, phones: str) -> None:
    assert maker.pronounce(word) == phones


def test_the_sample_is_made_again_byte_for_byte(maker: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker, "FOLDER", tmp_path)
    maker.main()
    assert (tmp_path / "words.csv").read_bytes() == (SAMPLE / "words.csv").read_bytes()


def test_the_sample_has_1200_150_and_150_words_and_all_39_phones(make: Make) -> None:
    module = set_up(make("sample"))
    assert [len(module.rows[split]) for split in SPLITS] == [1200, 150, 150]
    assert len(module.target_vocabulary) == 39 + len(SPECIALS) and dict(module.describe())["odd"] == "nothing"
    with (SAMPLE / "words.csv").open(newline="") as file:
        assert module.examples["word"].tolist() == [row["word"] for row in csv.DictReader(file)]


@pytest.mark.slow
@pytest.mark.skipif("RNNLAB_MIRROR" not in os.environ, reason="needs CMUdict: set RNNLAB_MIRROR")
def test_cmudict_has_12000_test_words_that_nobody_trains_on(make: Make) -> None:
    module = set_up(make("cmudict"))
    words = {split: set(module.examples["word"].iloc[rows]) for split, rows in module.rows.items()}
    assert {split: len(found) for split, found in words.items()} == {"train": 108_052, "val": 6_000, "test": 12_000}
    assert len(words["train"] | words["val"] | words["test"]) == 126_052
    assert (len(module.rows["val"]), len(module.rows["test"])) == (6_000, 12_000)
    assert len(module.target_vocabulary) == 39 + len(SPECIALS)
    largest, *others = (max(hashlib.sha256(word.encode()).hexdigest() for word in words[split]) for split in ("test", "val"))
    assert largest < min(hashlib.sha256(word.encode()).hexdigest() for word in words["val"])
    assert others[0] < min(hashlib.sha256(word.encode()).hexdigest() for word in words["train"])
    row = np.flatnonzero(module.examples["id"] == "tomato")
    assert module.references(row) == (("T AH M EY T OW", "T AH M AA T OW"),)
