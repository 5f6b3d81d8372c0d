"""Claims about dictation as a data set: transcripts as targets, splits, what is left out, and what another run's eyes see."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tests.data.bundled import through_json

from rnnlab.config import ConfigError
from rnnlab.contracts import SPECIALS
from rnnlab.data.base import SPLITS, Split
from rnnlab.data.sound.dictation import DictationData, DictationReader
from rnnlab.data.sources import catalogue

MIRROR = os.environ.get("RNNLAB_MIRROR")
RATE = 8000
TEXTS = {"ann": ["go to bed", "ten bed"], "bo": ["do go", "bet"], "cy": ["got", "bed tent"], "di": ["good bet", "to bed"]}
PLACES = {"ann": "test", "bo": "val"}
Make = Callable[..., DictationData]


def record(file: Path, num_samples: int = 900) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(list(file.stem.encode()))
    soundfile.write(file, (0.1 * generator.standard_normal(num_samples)).astype(np.float32), RATE)


def written(folder: Path, texts: dict[str, list[str]], places: dict[str, str] | None = None) -> Path:
    """Each speaker's recordings with a manifest; whoever has no place trains."""
    lines = ["path,text,speaker,split"]
    for speaker, said in texts.items():
        for index, text in enumerate(said):
            record(folder / f"{speaker}{index}.wav", 900 + 80 * len(text) + 37 * index)
            split = "" if places is None else places.get(speaker, "train")
            lines.append(f"{speaker}{index}.wav,{text},{speaker},{split}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def make(make_data: Make) -> Make:
    """Make a data module, with few mel bands."""
    return partial(make_data, "dictation", prepare__sample_rate=RATE, prepare__num_mels=12)


def set_up(module: DictationData) -> DictationData:
    module.setup()
    return module


def ids_of(module: DictationData, split: Split) -> list[str]:
    return module.examples["id"].iloc[module.rows[split]].tolist()


def rows_of(module: DictationData, *names: str) -> np.ndarray:
    places = dict(zip(module.examples["id"], range(len(module.examples)), strict=True))
    return np.array([places[f"{name}.wav"] for name in names])


def text_of(module: DictationData, numbers: list[int]) -> str:
    """As the contract has it for tokens that are joined as pieces."""
    return "".join(module.make_spec().label_names[number] for number in numbers).replace("▁", " ").strip()


# Targets


@pytest.mark.parametrize("changed", [{}, {"prepare__units": "subword", "prepare__subword_size": 11}], ids=["char", "subword"])
def test_targets_are_the_transcripts_in_numbers_and_come_back_as_text(tmp_path: Path, make: Make, changed: dict[str, object]) -> None:
    module = set_up(make(written(tmp_path / "mine", TEXTS, PLACES), **changed))
    rows = np.arange(8)
    batch = module.collate(rows, 0, is_training=False)
    wanted = [text for said in TEXTS.values() for text in said]
    lengths = batch.target_lengths.tolist()
    assert [text_of(module, row[:length].tolist()) for row, length in zip(batch.targets, lengths, strict=True)] == wanted
    assert batch.references == tuple((text,) for text in wanted) == module.references(rows)
    assert all((row[length:] == 0).all() and (row[:length] > 3).all() for row, length in zip(batch.targets, lengths, strict=True))
    assert module.make_spec().max_target_length == max(lengths[4:])  # cy and di train


def test_characters_are_numbered_after_the_special_words_by_how_often_training_has_them(tmp_path: Path, make: Make) -> None:
    spec = set_up(make(written(tmp_path / "mine", TEXTS, PLACES))).make_spec()
    # got, bed tent, good bet, to bed: t 5, e and o 4, b, d and blank 3, g 2, n 1
    assert spec.label_names == (*SPECIALS, "t", "e", "o", "b", "d", "▁", "g", "n")
    assert (spec.target_kind, spec.goal, spec.joined, spec.is_monotonic, spec.step_ms) == ("tokens", "transcribe", "pieces", True, 10.0)
    assert spec.target_size == 12 and spec.input_size == 12 and spec.class_counts == ()


def test_characters_of_validation_and_test_alone_are_unknown_and_counted(tmp_path: Path, make: Make) -> None:
    texts = {**TEXTS, "ann": ["zoo zed", "bed"], "bo": ["dés", "bet"]}
    module = set_up(make(written(tmp_path / "mine", texts, PLACES)))
    assert not set("zés") & set(module.make_spec().label_names)
    told = dict(module.describe())["odd"]
    assert "2 val tokens that no training transcript has, read as <unk> (é, s)" in told
    assert "2 test tokens that no training transcript has, read as <unk> (z)" in told
    assert module.target_tokens(int(rows_of(module, "ann0")[0])).tolist()[0] == 1
    assert module.references(rows_of(module, "ann0", "bo0")) == (("zoo zed",), ("dés",))


def test_the_vocabulary_follows_training_transcripts_alone(tmp_path: Path, make: Make) -> None:
    before = set_up(make(written(tmp_path / "one", TEXTS, PLACES))).make_spec().label_names
    others = {**TEXTS, "ann": ["x y z", "w"], "bo": ["qq", "ttt"]}
    assert set_up(make(written(tmp_path / "two", others, PLACES))).make_spec().label_names == before
    changed = {**TEXTS, "cy": ["got", "bed tents"]}
    assert set_up(make(written(tmp_path / "three", changed, PLACES))).make_spec().label_names == (*before, "s")


def test_subwords_are_learned_from_training_transcripts_alone(tmp_path: Path, make: Make) -> None:
    keys = {"prepare__units": "subword", "prepare__subword_size": 11}
    models = []
    for name, texts in {
        "one": TEXTS,
        "two": {**TEXTS, "ann": ["xyz xyz", "w"], "bo": ["qq", "qqq"]},
        "three": {**TEXTS, "cy": ["gone", "tent"]},
    }.items():
        models.append(set_up(make(written(tmp_path / name, texts, PLACES), **keys)).subwords)
    assert models[0] == models[1] != models[2]


def test_subwords_of_another_split_are_another_variant_and_characters_are_not(tmp_path: Path, make: Make) -> None:
    folder = written(tmp_path / "mine", TEXTS)
    subword = {"prepare__units": "subword", "prepare__subword_size": 11}
    for keys, num_variants in (({}, 1), (subword, 2)):
        modules = [set_up(make(folder, split="speaker", fold=fold, **keys)) for fold in (0, 1)]
        assert len({module.hashes["prepared_key"] for module in modules}) == num_variants


def test_lower_case_is_for_inputs_and_for_what_is_right(tmp_path: Path, make: Make) -> None:
    texts = {**TEXTS, "cy": ["GOT", "Bed Tent"], "ann": ["Go To Bed", "TEN"]}
    module = set_up(make(written(tmp_path / "mine", texts, PLACES), prepare__is_lower=True))
    assert module.references(rows_of(module, "ann0", "cy1")) == (("go to bed",), ("bed tent",))
    assert all(word in SPECIALS or word == word.lower() for word in module.make_spec().label_names)


# What is wrong in transcripts


def test_a_character_outside_the_alphabet_is_refused_with_its_place(tmp_path: Path, make: Make) -> None:
    folder = written(tmp_path / "mine", {**TEXTS, "bo": ["do go", "bét"]}, PLACES)
    claim = (
        r"manifest.csv, line 5: the text has the character 'é' \(U\+00E9\), which data.prepare.alphabet='bdegnots' lacks: add it there, "
        r"take it out of the text, or set data.prepare.alphabet=null$"
    )
    with pytest.raises(ValueError, match=claim):
        make(folder, prepare__alphabet="bdegnots").setup()
    assert len(set_up(make(folder, prepare__alphabet="bdeégnots")).examples) == 8  # a blank is always allowed


def test_an_alphabet_is_lower_cased_with_the_transcripts(tmp_path: Path, make: Make) -> None:
    folder = written(tmp_path / "mine", {**TEXTS, "bo": ["Do Go", "BET"]}, PLACES)
    with pytest.raises(ValueError, match=r"line 4: the text has the character 'D' \(U\+0044\)"):
        make(folder, prepare__alphabet="bdegnots").setup()
    assert len(set_up(make(folder, prepare__alphabet="BDEGNOTS", prepare__is_lower=True)).examples) == 8


def test_a_text_of_nothing_but_blanks_for_the_model_is_refused(tmp_path: Path, make: Make) -> None:
    folder = written(tmp_path / "mine", {**TEXTS, "di": ["▁", "to bed"]}, PLACES)
    with pytest.raises(ValueError, match=r"manifest.csv, line 8: the text holds no character that can be written$"):
        make(folder).setup()


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path, make: Make) -> None:
    record(tmp_path / "mine" / "yes" / "a.wav")
    with pytest.raises(ValueError, match=r"^no transcribed recordings in .*mine: wanted a manifest.csv with the columns path,text and"):
        make(tmp_path / "mine").setup()


def test_two_recordings_are_too_few(tmp_path: Path, make: Make) -> None:
    with pytest.raises(ValueError, match=r"^there are 2 recordings; at least 3 are needed: one each for training, validation and test$"):
        make(written(tmp_path / "mine", {"ann": ["go", "to"]})).setup()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"prepare__units": "word"}, r"data.prepare.units=word is not allowed.* Allowed: char, subword"),
        ({"prepare__alphabet": 5}, r"data.prepare.alphabet=5 is not allowed"),
        ({"prepare__subword_size": 0}, r"data.prepare.subword_size=0 is not allowed: it should be greater than or equal to 1"),
    ],
)
def test_values_that_are_not_allowed_are_named(make: Make, changed: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make("sample", **changed)


def test_more_subwords_than_the_transcripts_give_are_refused_with_how_many_they_do(tmp_path: Path, make: Make) -> None:
    folder = written(tmp_path / "mine", TEXTS, PLACES)
    with pytest.raises(ValueError, match=r"^data.prepare.subword_size=500 is too large for the training texts: they give \d+ pieces"):
        make(folder, prepare__units="subword", prepare__subword_size=500).setup()


# Splits


def speakers_of(module: DictationData) -> list[set[str]]:
    return [set(module.examples["speaker"].iloc[module.rows[split]]) for split in SPLITS]


@pytest.mark.parametrize("places", [None, {"ann": "test"}], ids=["nothing given", "test given"])
def test_speakers_are_never_in_two_splits_where_they_are_known(tmp_path: Path, make: Make, places: dict[str, str] | None) -> None:
    for split_seed in range(3):
        module = set_up(make(written(tmp_path / "mine", TEXTS, places), split_seed=split_seed))
        found = speakers_of(module)
        assert all(found) and sum(map(len, found)) == len(set.union(*found)) == 4
        assert places is None or found[2] == {"ann"}


def test_a_manifest_that_splits_speakers_is_kept_and_said_to_do_so(tmp_path: Path, make: Make) -> None:
    folder = written(tmp_path / "mine", TEXTS, PLACES)
    manifest = folder / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("ann,test", "cy,test"))
    assert "2 test utterances of speakers who are in training, too" in dict(set_up(make(folder)).describe())["odd"]


def test_unknown_speakers_are_split_utterance_by_utterance(tmp_path: Path, make: Make) -> None:
    folder = written(tmp_path / "mine", TEXTS)
    manifest = folder / "manifest.csv"
    manifest.write_text("".join(",".join(line.split(",")[:2]) + "\n" for line in manifest.read_text().splitlines()))
    module = set_up(make(folder))
    assert sorted(name for split in SPLITS for name in ids_of(module, split)) == sorted(module.examples["id"])
    assert module.split_used.startswith("at random utterance by utterance (split_seed 0); speakers are unknown")


def test_test_transcripts_that_training_or_validation_has_are_not_new(tmp_path: Path, make: Make) -> None:
    texts = {"ann": ["got", "do go", "go to bed", "Got"], "bo": ["do go"], "cy": ["got"], "di": ["to bed"]}
    module = set_up(make(written(tmp_path / "mine", texts, PLACES)))
    assert module.is_new(module.rows["test"]).tolist() == [False, False, True, True]
    assert dict(module.describe())["new in test"] == "2 of 4 test transcripts are in neither training nor validation"
    theirs = make(written(tmp_path / "theirs", {"eve": ["got", "oo"]}))
    theirs.setup_as_test(through_json(module.reader()))
    assert theirs.is_new(theirs.rows["test"]).tolist() == [False, True]


# What is left out


def test_long_utterances_are_left_out_of_training_by_name_and_whole_elsewhere(tmp_path: Path, make: Make) -> None:
    folder = written(tmp_path / "mine", {**TEXTS, "cy": ["got xx", "bed tent"]}, PLACES)
    for name in ("ann0", "bo1", "cy0"):
        record(folder / f"{name}.wav", 2 * RATE)
    module = set_up(make(folder, loader__max_seconds=0.5))
    assert ids_of(module, "train") == ["cy1.wav", "di0.wav", "di1.wav"] and module.too_long == ["cy0.wav"]
    assert ("left out", "1 longer than 0.5 s: cy0.wav") in module.describe()
    assert "x" not in module.make_spec().label_names
    assert module.collate(rows_of(module, "ann0", "bo1"), 0, False).input_lengths.tolist() == [201, 201]
    claim = r"^all 4 training recordings last longer than data.loader.max_seconds=0.05: raise it, or cut"
    with pytest.raises(ValueError, match=claim):
        make(folder, loader__max_seconds=0.05).setup()


def test_what_ctc_cannot_align_is_left_out_of_training_and_validation_but_never_of_test(tmp_path: Path, make: Make) -> None:
    texts = {"ann": ["aaaa"], "bo": ["abab", "ab"], "cy": ["aab", "aba"], "di": ["aabb", "abab", "abababab"]}
    module = set_up(make(written(tmp_path / "mine", texts, PLACES), loader__is_augmented=False))
    rows = rows_of(module, "cy0", "cy1", "di0", "di1", "ann0")
    assert module.least_steps(rows).tolist() == [4, 3, 6, 4, 7]  # a blank between equal neighbours
    counted = {"train": iter([3, 3, 6, 3, 9]), "val": iter([3, 2])}

    def num_steps(lengths: np.ndarray) -> np.ndarray:
        return np.array(list(counted["train" if len(lengths) == 5 else "val"]))

    assert module.leave_out_infeasible(num_steps) == ("cy0.wav", "di1.wav", "bo0.wav")
    assert [ids_of(module, split) for split in SPLITS] == [["cy1.wav", "di0.wav", "di2.wav"], ["bo1.wav"], ["ann0.wav"]]
    assert ("left out", "3 too short for CTC: cy0.wav, di1.wav, bo0.wav") in module.describe()


def test_what_augmentation_may_shorten_needs_more_steps_in_training_alone(tmp_path: Path, make: Make) -> None:
    folder = written(tmp_path / "mine", {"ann": ["a"], "bo": ["abab"], "cy": ["abab", "ab"]}, PLACES)

    def always_four(lengths: np.ndarray) -> np.ndarray:
        return np.full(len(lengths), 4)

    plain, augmented = set_up(make(folder, loader__is_augmented=False)), set_up(make(folder))
    assert plain.speedup == 0.0 and augmented.speedup == pytest.approx(1.1 * 1.1 - 1)
    assert plain.leave_out_infeasible(always_four) == ()
    assert augmented.leave_out_infeasible(always_four) == ("cy0.wav",)


def test_a_network_that_is_too_coarse_for_everything_is_refused(tmp_path: Path, make: Make) -> None:
    module = set_up(make(written(tmp_path / "mine", TEXTS, PLACES)))
    with pytest.raises(ValueError, match=r"^the network gives too few steps for all 4 examples of the train split: .*frontend.time_stri"):
        module.leave_out_infeasible(lambda lengths: lengths // 100)


# Batches


def test_batches_follow_from_seed_and_epoch_alone(tmp_path: Path, make: Make) -> None:
    folder = written(tmp_path / "mine", TEXTS, PLACES)
    one, same, other = (set_up(make(folder, seed=seed)) for seed in (1, 1, 2))
    rows = rows_of(one, "cy0", "di1")
    first, again = (module.collate(rows, 3, True) for module in (one, same))
    assert torch.equal(first.inputs, again.inputs) and torch.equal(first.targets, again.targets) and first.references is None
    sums = {float(module.collate(rows, epoch, True).inputs.sum()) for module in (one, other) for epoch in (3, 4)}
    assert len(sums) == 4
    plain = [module.collate(rows, epoch, False).inputs for module in (one, other) for epoch in (0, 1)]
    assert all(torch.equal(inputs, plain[0]) for inputs in plain)


def test_an_epoch_holds_every_training_utterance_once(tmp_path: Path, make: Make) -> None:
    module = set_up(make(written(tmp_path / "mine", TEXTS, PLACES), loader__batch_size=3))
    assert sorted(int(row) for batch in module.train_dataloader() for row in batch.example_ids) == module.rows["train"].tolist()


# With another run's eyes, and raw inputs


def reader_of(module: DictationData) -> DictationReader:
    return through_json(set_up(module).reader())


@pytest.mark.parametrize("changed", [{}, {"prepare__units": "subword", "prepare__subword_size": 11}], ids=["char", "subword"])
def test_other_recordings_are_all_test_with_the_vocabulary_of_the_run(
    tmp_path: Path, make: Make, changed: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    run = make(written(tmp_path / "mine", TEXTS, PLACES), **changed)
    reader = reader_of(run)
    theirs = make(written(tmp_path / "theirs", {"eve": ["to bed", "zoo"]}), **changed)
    theirs.setup_as_test(reader)
    assert {split: len(rows) for split, rows in theirs.rows.items()} == {"train": 0, "val": 0, "test": 2}
    assert theirs.make_spec().label_names == run.make_spec().label_names and theirs.subwords == run.subwords
    batch = theirs.collate(np.array([0, 1]), 0, False)
    known = run.collate(rows_of(run, "di1"), 0, False)
    assert batch.targets[0, : batch.target_lengths[0]].tolist() == known.targets[0].tolist()  # to bed
    assert 1 in batch.targets[1].tolist() and batch.references == (("to bed",), ("zoo",))
    assert "1 test tokens that no training transcript has, read as <unk> (z)" in capsys.readouterr().err
    assert dict(theirs.describe())["recordings"].startswith("2, ")


def test_raw_inputs_have_no_targets_and_are_never_cut(tmp_path: Path, make: Make) -> None:
    folder = written(tmp_path / "mine", TEXTS, PLACES)
    record(folder / "ann0.wav", 2 * RATE)
    module = set_up(make(folder, loader__normalise="training", loader__max_seconds=0.5))
    files = [folder / "ann0.wav", folder / "ann1.wav"]
    names, batch = reader_of(module).read([str(files[0]), files[1].read_bytes()])
    assert names == [str(files[0]), "input 1"] and batch.references is None
    assert batch.targets.shape == (2, 0) and batch.targets.dtype == torch.int64 and batch.target_lengths.tolist() == [0, 0]
    own = module.collate(rows_of(module, "ann0", "ann1"), 0, False)
    assert batch.input_lengths.tolist() == own.input_lengths.tolist() == [201, int(module.lengths[1])]
    torch.testing.assert_close(own.inputs[:, :201], batch.inputs, atol=1e-5, rtol=0)


# The bundled sample, and AN4


def test_the_sample_keeps_voices_apart_and_says_digits(make: Make, root: Path) -> None:
    module = set_up(make("sample", data=root / "data"))
    assert [len(module.rows[split]) for split in SPLITS] == [100, 25, 25]
    assert [len(found) for found in speakers_of(module)] == [8, 2, 2] and len(set.union(*speakers_of(module))) == 12
    words = {word for text in module.examples["target"] for word in text.split()}
    assert words == {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
    assert module.examples["target"].str.split().map(len).between(3, 5).all()
    steps = module.lengths // 4
    assert (steps >= module.least_steps(np.arange(150))).all()


@pytest.mark.slow
@pytest.mark.skipif(MIRROR is None, reason="RNNLAB_MIRROR names no folder with a copy of AN4")
def test_the_real_an4_is_what_was_published(make: Make) -> None:
    module = set_up(make("an4", prepare__sample_rate=16000))
    examples = module.examples
    assert len(examples) == 1078 and examples["file_rate"].eq(16000).all() and examples["speaker"].nunique() == 84
    assert [len(module.rows[split]) for split in SPLITS] == [844, 104, 130]
    assert [len(found) for found in speakers_of(module)] == [66, 8, 10] and len(set.union(*speakers_of(module))) == 84
    assert module.is_new(module.rows["test"]).sum() == 104  # 26 of 130 are commands that training has, too
    assert examples["target"].str.split().map(len).sum() == 6215
    assert set("".join(examples["target"])) == set("ABCDEFGHIJKLMNOPQRSTUVWXYZ ") and module.make_spec().target_size == 31
    places = examples.set_index("id")
    assert places.loc["an255-fash-b", "target"] == "U M N Y H SIX" and places.loc["cen3-fcaw-b", "target"] == "ONE THREE SEVEN"
    assert module.hashes["source_hash"] == catalogue.AN4.content_hash
    assert module.hashes["test_hash"] == "f63750252ada9398"
    assert dict(module.describe())["odd"] == "nothing" and module.provenance.startswith("mirror: ")
    assert module.leave_out_infeasible(lambda lengths: lengths // 4) == ()
