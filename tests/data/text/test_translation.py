"""Claims about pairs of sentences as a data set: tokens, vocabularies, what stays out of them, batches, references, and raw inputs."""

import importlib.util
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sacremoses import MosesTokenizer
from tests.data.bundled import through_json

from rnnlab.config import ConfigError
from rnnlab.contracts import PAD, SPECIALS, START, STOP, UNKNOWN
from rnnlab.data.base import SPLITS
from rnnlab.data.text.translation import TranslationData
from rnnlab.data.text.translation_reader import TranslationReader
from rnnlab.data.tokens import encode_subwords
from rnnlab.paths import HOME

MIRROR = os.environ.get("RNNLAB_MIRROR")
Row = tuple[str, str, str]
Make = Callable[..., TranslationData]
# By hand, of training: the 3, dog 2, Der 2, Hund 2; fog and Nebel only later.
ROWS: list[Row] = [
    ("the dog sleeps", "Der Hund schläft", "train"),
    ("the dog eats", "Der Hund isst", "train"),
    ("the fish", "Ein Fisch", "train"),
    ("the fog", "Ein Nebel", "val"),
    ("dog fog", "Hund Nebel", "test"),
    ("the dog", "Der Hund", "test"),
]


def write(file: Path, rows: list[Row]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(["source\ttarget\tsplit", *("\t".join(row) for row in rows)]) + "\n")
    return file


@pytest.fixture
def make(make_data: Make) -> Make:
    """Make a data module; words, unless said otherwise."""
    return partial(make_data, "translation", prepare__tokens="word")


def set_up(module: TranslationData) -> TranslationData:
    module.setup()
    return module


def source_words(module: TranslationData, row: int) -> list[str]:
    return [module.source_vocabulary.words[number] for number in module.source_tokens(row)]


def target_words(module: TranslationData, row: int) -> list[str]:
    return [module.target_vocabulary.words[number] for number in module.target_tokens(row)]


def kept(module: TranslationData) -> TranslationReader:
    """Return the reader as a bundle gives it back."""
    return through_json(module.reader())


# Numbers


def test_separate_vocabularies_are_those_of_each_side_of_training(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path / "t.tsv", ROWS), prepare__is_joint=False))
    assert module.source_vocabulary.words == (*SPECIALS, "the", "dog", "eats", "fish", "sleeps")
    assert module.target_vocabulary.words == (*SPECIALS, "Der", "Hund", "Ein", "Fisch", "isst", "schläft")
    assert source_words(module, 4) == ["dog", "<unk>", "</s>"] and target_words(module, 4) == ["Hund", "<unk>"]
    spec = module.make_spec()
    assert (spec.input_size, spec.target_size, spec.is_joint) == (9, 10, False) and spec.label_names == module.target_vocabulary.words


def test_a_joint_vocabulary_numbers_both_sides_by_the_counts_of_both(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path / "t.tsv", [*ROWS, ("Hund", "Hund", "train")])))
    assert module.source_vocabulary == module.target_vocabulary
    assert module.target_vocabulary.words[4:8] == ("Hund", "the", "Der", "dog")  # 4, 3, 2, 2 times
    spec = module.make_spec()
    assert spec.is_joint and spec.input_size == spec.target_size == len(spec.label_names)
    assert module.source_tokens(6).tolist() == [4, STOP] and module.target_tokens(6).tolist() == [4]


def test_both_sides_stay_aligned_through_preparation(make: Make) -> None:
    module = set_up(make("sample", loader__min_frequency=1))
    german = MosesTokenizer("de")
    for row in (0, 17, 999, 1100, 1199):
        assert " ".join(source_words(module, row)[:-1]) == module.examples["source"][row]
        assert target_words(module, row) == german.tokenize(module.examples["target"][row], escape=False)
    lines = (HOME / "data" / "samples" / "translation" / "val.de").read_text(encoding="utf-8").splitlines()
    assert module.examples["id"][1017] == "val:18" and module.examples["target"][1017] == lines[17]


def test_words_that_only_validation_and_test_hold_are_in_no_vocabulary(tmp_path: Path, make: Make) -> None:
    ours = set_up(make(write(tmp_path / "a" / "t.tsv", ROWS)))
    later = [(f"{source} sea sea {place}", f"{target} Meer Meer {place}", split) for place, (source, target, split) in enumerate(ROWS[3:])]
    other = set_up(make(write(tmp_path / "b" / "t.tsv", ROWS[:3] + later)))
    assert "fog" not in ours.source_vocabulary.words and "Nebel" not in ours.target_vocabulary.words
    assert ours.target_vocabulary.words == other.target_vocabulary.words
    batches = [module.collate(np.arange(3), 0, is_training=True) for module in (ours, other)]
    assert torch.equal(batches[0].inputs, batches[1].inputs) and torch.equal(batches[0].targets, batches[1].targets)


def sentences(last: str = "am Abend") -> list[Row]:
    """Return pairs long enough to learn subwords from; only those of test end with `last`."""
    places = {"harbour": "Hafen", "mountain": "Berg", "garden": "Garten", "hut": "Hütte"}
    things = {"lantern": "Laterne", "wagon": "Wagen", "letter": "Brief", "river": "Fluss", "box": "Büchse"}
    rows: list[Row] = []
    for number in range(40):
        place, thing = list(places)[number % 4], list(things)[number % 5]
        rows.append(
            (f"the {thing} at the {place} {number}", f"{things[thing]} nahe {places[place]} {number}", "train" if number % 5 else "val")
        )
    return [*rows, *((f"no {thing} {last}", f"keine {things[thing]} {last}", "test") for thing in things)]


SUBWORDS = {"prepare__tokens": "subword", "prepare__subword_size": 60}


@pytest.mark.parametrize("is_joint", [True, False])
def test_subwords_are_learned_from_the_training_pairs_alone(tmp_path: Path, make: Make, is_joint: bool) -> None:
    ours = set_up(make(write(tmp_path / "a" / "t.tsv", sentences()), prepare__is_joint=is_joint, **SUBWORDS))
    other = set_up(make(write(tmp_path / "b" / "t.tsv", sentences("qqzz qqzz")), prepare__is_joint=is_joint, **SUBWORDS))
    assert len(ours.models) == (1 if is_joint else 2) and ours.models == other.models
    assert ours.target_vocabulary.words == other.target_vocabulary.words and ours.data.folder != other.data.folder
    assert (ours.make_spec().input_size == ours.make_spec().target_size) == is_joint


def test_subwords_of_another_split_are_prepared_anew_and_words_are_not(tmp_path: Path, make: Make) -> None:
    file = write(tmp_path / "t.tsv", [(source, target, "") for source, target, _ in sentences()])
    for keys, num_folders in ((SUBWORDS, 2), ({}, 3)):
        for seed in (0, 1):
            set_up(make(file, split="random", split_seed=seed, **keys))
        assert len([path for path in (tmp_path / "data" / "cache").iterdir() if path.is_dir()]) == num_folders


def test_fewer_pieces_will_do_where_texts_are_few(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path / "t.tsv", sentences()), prepare__tokens="subword"))
    assert 20 < len(module.target_vocabulary) < 1000


@pytest.mark.parametrize("tokens", ["subword", "char"])
def test_pieces_joined_are_the_published_text_again_umlauts_and_all(make: Make, tokens: str) -> None:
    module = set_up(make("sample", prepare__tokens=tokens))
    assert module.make_spec().joined == "pieces"
    texts = ["".join(target_words(module, row)).replace("▁", " ").strip() for row in range(len(module.examples))]
    assert texts == module.examples["target"].tolist() and any("ü" in text for text in texts)


def test_chinese_is_cut_into_characters_and_keeps_its_wide_signs(tmp_path: Path, make: Make) -> None:
    rows = [(f"We go {number}!", f"我们去 Tom{number}\uff01", ("train", "val", "test")[max(0, number - 5)]) for number in range(8)]
    file = write(tmp_path / "t.tsv", rows)
    module = set_up(make(file, target_language="zh"))
    assert target_words(module, 0) == ["我", "们", "去", "▁", "T", "o", "m", "0", "\uff01"] and module.make_spec().joined == "pieces"
    assert source_words(module, 0) == ["We", "go", "0", "!", "</s>"]
    module = set_up(make(file, target_language="zh", prepare__is_joint=False, prepare__tokens="subword"))
    assert "".join(target_words(module, 0)).replace("▁", " ").strip() == "我们去 Tom0\uff01"


def test_lower_case_is_of_both_sides_and_of_references(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path / "t.tsv", ROWS), prepare__is_lower=True))
    assert target_words(module, 5) == ["der", "hund"] and module.references(np.array([5])) == (("der hund",),)
    assert module.examples["target"][5] == "Der Hund"


def test_what_looks_like_a_special_word_is_unknown(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path / "t.tsv", [("a </s> <pad> b", "x <s> y", "train"), *ROWS])))
    assert not {*module.source_tokens(0)[:-1].tolist(), *module.target_tokens(0).tolist()} & {PAD, START, STOP}
    _, batch = kept(module).read(["a </s> <pad> b"])
    assert batch.inputs[0].tolist() == module.source_tokens(0).tolist()


# Who trains


DUPLICATED: list[Row] = [*ROWS, ("The Fog", "Dunst", "train"), ("grey fog", "ein nebel", "train")]


def test_training_pairs_whose_source_is_tested_are_left_out_and_counted(tmp_path: Path, make: Make) -> None:
    file = write(tmp_path / "t.tsv", DUPLICATED)
    module = set_up(make(file))
    assert [len(module.rows[split]) for split in SPLITS] == [4, 1, 2] and "Dunst" not in module.target_vocabulary.words
    told = dict(module.describe())
    assert told["left out"] == "1 seen in validation or test"
    assert told["odd"] == "1 training sources also in validation or test; 1 training targets also in validation or test"
    module = set_up(make(file, loader__drop_duplicates=False))
    assert [len(module.rows[split]) for split in SPLITS] == [5, 1, 2] and "Dunst" in module.target_vocabulary.words
    assert dict(module.describe())["left out"] == "nothing"


def test_training_pairs_too_long_on_either_side_are_left_out_and_others_never_cut(tmp_path: Path, make: Make) -> None:
    long = [("one", "ein zwei drei", "train"), ("a b c", "eins", "train"), ("the dog eats fish", "Der Hund isst den Fisch", "test")]
    module = set_up(make(write(tmp_path / "t.tsv", [*ROWS, *long]), loader__max_tokens=2))
    assert module.rows["train"].tolist() == [2] and dict(module.describe())["left out"] == "4 longer than 2 tokens"
    assert module.collate(np.array([8]), 0, False).inputs.shape == (1, 5) and len(target_words(module, 8)) == 5
    assert module.make_spec().max_target_length == 2
    assert "eins" not in module.target_vocabulary.words


def test_a_limit_that_leaves_out_all_training_pairs_is_refused(tmp_path: Path, make: Make) -> None:
    claim = r"^data.loader.max_tokens=1 leaves out all 3 training pairs: the shortest has 2 word tokens on its longer side\. Raise it, or"
    with pytest.raises(ValueError, match=claim):
        make(write(tmp_path / "t.tsv", ROWS), loader__max_tokens=1).setup()


def test_a_vocabulary_has_its_least_frequency_and_largest_size(tmp_path: Path, make: Make) -> None:
    file = write(tmp_path / "t.tsv", ROWS)
    module = set_up(make(file, prepare__is_joint=False, loader__min_frequency=2))
    assert module.target_vocabulary.words[4:] == ("Der", "Hund")
    assert set_up(make(file, loader__max_size=1)).source_vocabulary.words[4:] == ("the",)


# Batches


def test_a_batch_holds_padded_inputs_with_their_stop_and_plain_targets(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path / "t.tsv", ROWS), prepare__is_joint=False))
    batch = module.collate(np.array([2, 0]), epoch=0, is_training=True)
    # numbered by hand: the 4, dog 5, eats 6, fish 7, sleeps 8; Der 4, Hund 5, Ein 6, Fisch 7, isst 8, schläft 9
    assert batch.inputs.tolist() == [[4, 7, 3, 0], [4, 5, 8, 3]] and batch.input_lengths.tolist() == [3, 4]
    assert batch.targets.tolist() == [[6, 7, 0], [4, 5, 9]] and batch.target_lengths.tolist() == [2, 3]
    assert batch.example_ids.tolist() == [2, 0] and batch.references is None
    assert batch.inputs.dtype == batch.targets.dtype == torch.int64


def test_references_are_published_texts_and_come_where_nothing_trains(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path / "t.tsv", ROWS)))
    batches = list(module.test_dataloader())
    found = [reference for batch in batches for reference in batch.references or ()]
    assert sorted(found) == [("Der Hund",), ("Hund Nebel",)]
    assert module.references(np.array([4, 5])) == (("Hund Nebel",), ("Der Hund",))
    assert all(batch.references is not None for batch in module.plain_dataloader("train"))
    assert all(batch.references is None for batch in module.train_dataloader())
    assert module.targets(np.array([5])) == [["Der Hund"]] and module.shown(np.array([4])) == ["dog fog"]


def test_several_translations_of_one_tested_source_are_references_of_one_example(tmp_path: Path, make: Make) -> None:
    rows: list[Row] = [(f"sentence {number // 2}", f"Satz {number}", "") for number in range(40)]
    module = set_up(make(write(tmp_path / "t.tsv", rows), val_fraction=0.2))
    tested = module.rows["test"]
    assert len(tested) == 4 and all(row % 2 == 0 for row in tested)
    assert module.references(tested) == tuple((f"Satz {row}", f"Satz {row + 1}") for row in tested)
    assert "(test: 8 references)" in dict(module.describe())[""]
    first = module.rows["train"][:1]
    assert module.references(first) == ((f"Satz {first[0]}",),)  # nothing is gathered in training


def test_batches_are_of_like_length_and_under_the_budget_on_both_sides(make: Make) -> None:
    module = set_up(make("sample", loader__batch_tokens=200, loader__num_buckets=8))
    spread = []
    for loader in (module.train_dataloader(), module.test_dataloader()):
        for batch in loader:
            assert max(batch.inputs.numel(), batch.targets.numel() + batch.size) <= 200
            spread.append(int(batch.input_lengths.max() - batch.input_lengths.min()))
    assert np.mean(spread) < 4
    seen = torch.cat([batch.example_ids for batch in module.train_dataloader()])
    assert sorted(seen.tolist()) == module.rows["train"].tolist()


def test_training_order_follows_the_seed(make: Make) -> None:
    first, again, other = (
        [batch.example_ids.tolist() for batch in set_up(make("sample", seed=seed)).train_dataloader()] for seed in (0, 0, 1)
    )
    assert first == again != other


# What is told


def test_a_model_is_told_what_the_pairs_are(make: Make) -> None:
    spec = set_up(make("sample", goal="summarise")).make_spec()
    assert (spec.input_kind, spec.target_kind, spec.goal, spec.joined) == ("tokens", "tokens", "summarise", "moses")
    assert spec.target_language == "de" and spec.label_names[:4] == SPECIALS and spec.class_counts == () and not spec.is_monotonic


def test_a_person_is_told_counts_lengths_and_unknown_shares(tmp_path: Path, make: Make) -> None:
    told = dict(set_up(make(write(tmp_path / "t.tsv", ROWS), prepare__is_joint=False)).describe())
    assert told["pairs"] == "6, en to de" and told["split"] == "official (train, val and test as given)"
    assert told["source tokens"] == "14 (word), 2 to 3 a sentence, median 2" and told[""] == "train 3, val 1, test 2"
    assert told["vocabulary"] == "5 source, 6 target tokens; 13 distinct in all"
    assert told["unknown source"] == "train 0.00%, val 50.00%, test 25.00%"


def test_the_hash_of_the_test_split_follows_its_references(tmp_path: Path, make: Make) -> None:
    ours = set_up(make(write(tmp_path / "a" / "t.tsv", ROWS)))
    same = set_up(make(write(tmp_path / "b" / "t.tsv", ROWS), prepare__tokens="char"))
    other = set_up(make(write(tmp_path / "c" / "t.tsv", [*ROWS[:5], ("the dog", "Die Hunde", "test")])))
    assert ours.hashes["test_hash"] == same.hashes["test_hash"] != other.hashes["test_hash"]
    assert ours.hashes["prepared_key"] != same.hashes["prepared_key"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"prepare__tokens": "chars"}, r"data.prepare.tokens=chars is not allowed\. Did you mean 'char'\?"),
        ({"split": "grouped"}, r"data.split=grouped is not allowed\. Allowed: auto, official, random, kfold$"),
        ({"goal": "translation"}, r"data.goal=translation is not allowed\."),
        ({"loader__max_tokens": 0}, r"data.loader.max_tokens=0 is not allowed"),
    ],
)
def test_values_that_are_not_allowed_are_named_before_anything_is_read(make: Make, changed: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make("nowhere", **changed)


def test_a_source_that_is_nowhere_is_refused(tmp_path: Path, make: Make) -> None:
    with pytest.raises(
        ValueError, match=r"nowhere: no such folder or file, nor a named source \(multi30k, cmn_eng, scitldr, ag_titles, sample\)$"
    ):
        make(tmp_path / "nowhere").setup()


def test_two_aligned_files_are_opened_by_what_they_begin_with(tmp_path: Path, make: Make) -> None:
    (tmp_path / "c.en").write_text("".join(f"word {n}\n" for n in range(30)))
    (tmp_path / "c.de").write_text("".join(f"Wörter {n}\n" for n in range(30)))
    module = set_up(make(tmp_path / "c"))
    assert module.examples["target"][3] == "Wörter 3" and [len(module.rows[split]) for split in SPLITS] == [24, 3, 3]


def test_pairs_with_an_empty_side_are_left_out_where_asked_for(tmp_path: Path, make: Make) -> None:
    file = write(tmp_path / "t.tsv", [*ROWS, ("", "Leer", "train"), ("empty", " ", "train"), ("void", "", "test")])
    with pytest.raises(
        ValueError, match=r"line 8: the source sentence is empty\. .*, or leave such out with data\.prepare\.on_broken=skip$"
    ):
        make(file).setup()
    module = set_up(make(file, prepare__on_broken="skip"))
    assert module.examples["source"].tolist() == [source for source, _, _ in ROWS]
    assert module.remarks == [
        f"left out, since the source sentence is empty: 1 (first {file}, line 8)",
        f"left out, since the target sentence is empty: 2 (first {file}, line 9)",
    ]


# With another run's eyes, and raw inputs


@pytest.mark.parametrize("source", ["folder", "prefix", "table", "named column", "anki"])
def test_predicting_on_a_source_reads_the_side_that_was_trained_on(tmp_path: Path, make: Make, source: str) -> None:
    keys: dict[str, object] = {}
    english = [f"word {number}" for number in range(30)]
    lines = [f"{text}\tW\u00f6rter {number}" for number, text in enumerate(english)]
    place = tmp_path / {"folder": "", "prefix": "train", "table": "t.csv", "named column": "t.tsv", "anki": "deu.txt"}[source]
    if source in ("folder", "prefix"):
        for language, side in (("en", 0), ("de", 1), ("fr", 1)):
            (tmp_path / f"train.{language}").write_text("".join(line.split("\t")[side] + "\n" for line in lines))
    elif source == "anki":
        keys = {"prepare__has_header": False}
        place.write_text("\n".join(f"{line}\tattribution" for line in lines) + "\n")
    elif source == "named column":
        keys = {"prepare__source_column": "phrase"}
        place.write_text("\n".join(["phrase\ttarget", *lines]) + "\n")
    else:
        place.write_text("\n".join(["tgt,en", *(",".join(reversed(line.split("\t"))) for line in lines)]) + "\n")
    module = set_up(make(place, **keys))
    assert kept(module).collect([str(place)], None) == english == module.examples["source"].tolist()
    assert module.remarks == (["files passed over: 1 of .fr (first train.fr)"] if source == "folder" else [])


@pytest.mark.parametrize("is_joint", [True, False])
@pytest.mark.parametrize("tokens", ["word", "char", "subword"])
def test_other_pairs_are_all_test_with_the_runs_vocabularies_and_subwords(tmp_path: Path, make: Make, tokens: str, is_joint: bool) -> None:
    keys = {**SUBWORDS, "prepare__tokens": tokens, "prepare__is_joint": is_joint}
    ours = set_up(make(write(tmp_path / "ours.tsv", sentences()), **keys))
    reader = kept(ours)
    theirs = write(tmp_path / "theirs.tsv", [("the river at the hut", "Fluss nahe Hütte", ""), ("the box", "Büchse Ж", "train")])
    module = make(theirs, **keys)
    module.setup_as_test(reader)
    assert [len(module.rows[split]) for split in SPLITS] == [0, 0, 2] and module.target_vocabulary == ours.target_vocabulary
    batch = module.collate(np.arange(2), 0, is_training=False)
    assert batch.references == (("Fluss nahe Hütte",), ("Büchse Ж",)) and (batch.targets[1] == UNKNOWN).any()
    names, read = reader.read(["the river at the hut", " the\u00a0box "])
    assert names == ["the river at the hut", "the box"]
    assert torch.equal(read.inputs, batch.inputs) and torch.equal(read.input_lengths, batch.input_lengths)
    assert kept(module) == reader and dict(module.describe())["split"] == "all are test"


def test_raw_sentences_have_no_targets(make: Make) -> None:
    _, batch = kept(set_up(make("sample"))).read(["the dog sleeps", "two cats"])
    assert batch.targets.shape == (2, 0) and batch.target_lengths.tolist() == [0, 0] and batch.references is None
    assert batch.inputs[:, -1].tolist() == [STOP, PAD]


def test_subwords_travel_with_the_bundle(make: Make) -> None:
    reader = kept(set_up(make("sample", prepare__tokens="subword")))
    (pieces,) = encode_subwords(reader.models[0], ["the dog"])
    _, batch = reader.read(["the dog"])
    assert [reader.source_vocabulary[number] for number in batch.inputs[0]] == [*pieces, "</s>"]
    assert reader.target_vocabulary is None and reader.kind == "translation"


def test_an_empty_line_is_named_by_its_place(make: Make) -> None:
    with pytest.raises(ValueError, match=r"^line 3 of 4 is empty: give a sentence, or leave it out$"):
        kept(set_up(make("sample"))).read(["a dog", "a cat", " \u00a0", "a man"])


def test_what_training_never_saw_is_warned_of_and_read_as_unknown(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    reader = kept(set_up(make("sample")))
    _, batch = reader.read(["the zebra [b] sleeps", "the dog sleeps", "six seven eight nine zebras"])
    told = capsys.readouterr()
    assert told.out == "" and told.err == ("warning: never seen in training, read as <unk>: 'zebra', '[', 'b', ']', 'six' and 4 more\n")
    assert (batch.inputs[0] == UNKNOWN).sum() == 4
    reader.read(["the dog sleeps"])
    assert capsys.readouterr().err == ""


def test_a_sentence_longer_than_any_of_training_is_warned_of_and_read_whole(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    reader = kept(set_up(make("sample", loader__max_tokens=8)))
    _, batch = reader.read(["the dog", "the dog sleeps " * 5])
    assert batch.input_lengths.tolist() == [3, 16]
    assert capsys.readouterr().err == "warning: longer than the 8 tokens of any training sentence: line 2\n"


# The sample, and what was published


def test_the_sample_is_made_again_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = HOME / "data" / "samples" / "translation"
    spec = importlib.util.spec_from_file_location("make_translation_sample", folder / "make_sample.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    module.main()
    for split in SPLITS:
        for language in ("en", "de"):
            name = f"{split}.{language}"
            assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_no_sentence_of_the_sample_stands_twice(make: Make) -> None:
    module = set_up(make("sample"))
    assert [len(module.rows[split]) for split in SPLITS] == [1000, 100, 100]
    assert module.examples["source"].is_unique and module.examples["target"].is_unique
    assert dict(module.describe())["odd"] == "nothing"


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("an old teacher looks for the letter", "ein alter Lehrer sucht den Brief"),
        ("our man gives three young children a picture", "unser Mann gibt drei jungen Kindern ein Bild"),
        ("the girls are calling our child today", "heute rufen die Mädchen unser Kind an"),
        ("she says that an old man wants to wait in the park", "sie sagt, dass ein alter Mann im Park warten will"),
        ("my child has run", "mein Kind ist gelaufen"),
    ],
)
def test_the_german_of_the_sample_is_what_its_rules_should_give(make: Make, english: str, german: str) -> None:
    examples = set_up(make("sample")).examples
    assert examples["target"][examples["source"] == english].tolist() == [german]


@pytest.mark.slow
@pytest.mark.skipif(MIRROR is None, reason="RNNLAB_MIRROR names no folder with a copy of Multi30k")
def test_the_real_multi30k_trains_on_all_but_what_is_tested(make: Make) -> None:
    module = set_up(make("multi30k"))
    assert [len(module.rows[split]) for split in SPLITS] == [28_999, 1_014, 1_000]
    assert module.provenance.startswith("mirror: ")
