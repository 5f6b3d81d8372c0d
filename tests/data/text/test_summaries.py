"""Claims about texts and their summaries: several references, words to copy, what is odd and what is refused."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnlab.contracts import SPECIALS, STOP, UNKNOWN, Batch
from rnnlab.data.tables import read_table
from rnnlab.data.text.known_pairs import KNOWN
from rnnlab.data.text.pair_files import Languages
from rnnlab.data.text.summaries import SummaryData
from rnnlab.paths import HOME
from rnnlab.settings import TrainSettings

ENGLISH = Languages("en", "en")
LINES: list[dict[str, Any]] = [
    {"text": "The mill in Alby will close .", "summary": "Alby mill closes", "split": "train"},
    {"text": "The mill in Barby will close .", "summary": "Barby mill closes", "split": "train"},
    {"text": "The inn in Alby will open .", "summary": "Alby inn opens", "split": "train"},
    {"text": "The inn in Corton will open .", "summary": ["Corton inn opens", "an inn opens in Corton"], "split": "val"},
    {"text": "The mill in Dunham near Elby will open .", "summary": ["Dunham mill opens", "mill of Elby and Fenwick"], "split": "test"},
]
Make = Callable[..., SummaryData]


def write(file: Path, lines: list[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


@pytest.fixture
def make(compose: Callable[..., TrainSettings]) -> Make:
    def made(source: Path | str, *words: str) -> SummaryData:
        settings = compose("model=seq2seq", "data=summaries", f"data.source={source}", "data.prepare.is_lower=false", *words)
        data: SummaryData = settings.data.recipe()(settings.paths, 0)
        return data

    return made


def set_up(module: SummaryData) -> SummaryData:
    module.setup()
    return module


def test_the_first_of_several_summaries_is_the_example_and_all_are_references(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path / "t.jsonl", LINES)))
    assert {split: module.examples["id"][rows].tolist() for split, rows in module.rows.items()} == {
        "train": ["t.jsonl:1", "t.jsonl:2", "t.jsonl:3"], "val": ["t.jsonl:4"], "test": ["t.jsonl:5"],
    }  # fmt: skip
    batch = module.collate(module.rows["test"], 0, is_training=False)
    assert batch.references == (("Dunham mill opens", "mill of Elby and Fenwick"),)
    assert any("2 references" in text for _, text in module.describe())


def test_without_splits_the_summaries_of_a_text_stay_together(tmp_path: Path, make: Make) -> None:
    lines = [{"text": f"The inn of {place} .", "summary": [f"{place} inn", f"an inn in {place}"]} for place in "abcdefghij"]
    module = set_up(make(write(tmp_path / "t.jsonl", lines), "data.val_fraction=0.2", "data.loader.min_frequency=1"))
    texts = {split: set(module.examples["source"][rows]) for split, rows in module.rows.items()}
    assert not (texts["train"] & texts["test"] or texts["train"] & texts["val"] or texts["val"] & texts["test"])
    assert len(module.rows["train"]) == 2 * len(texts["train"]) and len(module.rows["test"]) == len(texts["test"])
    assert all(len(found) == 2 for found in module.references(module.rows["test"]))


def words_of(module: SummaryData, batch: Batch, which: str, row: int) -> list[str]:
    assert batch.copies is not None
    numbers = getattr(batch.copies, which)[row].tolist()
    names = (*module.target_vocabulary.words, *batch.copies.words[row])
    return [names[number] for number in numbers]


@pytest.mark.parametrize("is_joint", [True, False])
def test_unknown_words_of_a_text_have_numbers_that_say_which_they_are(tmp_path: Path, make: Make, is_joint: bool) -> None:
    module = set_up(make(write(tmp_path / "t.jsonl", LINES), f"data.prepare.is_joint={is_joint}".lower(), "data.loader.min_frequency=1"))
    batch = module.collate(module.rows["test"], 0, is_training=False)
    assert batch.copies is not None
    assert words_of(module, batch, "numbers", 0) == ["The", "mill", "in", "Dunham", "near", "Elby", "will", "open", ".", "</s>"]
    assert words_of(module, batch, "targets", 0) == ["Dunham", "mill", "opens"]
    assert {"Dunham", "near", "Elby"} <= set(batch.copies.words[0]) and int(batch.copies.numbers[0, -1]) == STOP
    assert batch.targets[0].tolist()[0] == UNKNOWN and batch.copies.targets[0].tolist()[0] >= len(module.target_vocabulary)


def test_an_unknown_word_of_a_summary_that_its_text_lacks_stays_unknown(tmp_path: Path, make: Make) -> None:
    lines = [*LINES[:4], {"text": "The mill in Dunham will open .", "summary": "Zed mill in Dunham", "split": "test"}]
    module = set_up(make(write(tmp_path / "t.jsonl", lines), "data.loader.min_frequency=1"))
    batch = module.collate(module.rows["test"], 0, is_training=False)
    assert words_of(module, batch, "targets", 0) == [SPECIALS[UNKNOWN], "mill", "in", "Dunham"]


def test_raw_input_is_numbered_as_the_data_are(tmp_path: Path, make: Make) -> None:
    for is_joint in ("true", "false"):
        words = (f"data.prepare.is_joint={is_joint}", "data.loader.min_frequency=1")
        module = set_up(make(write(tmp_path / is_joint / "t.jsonl", LINES), *words))
        _, batch = module.reader().read([LINES[4]["text"], LINES[0]["text"]])
        expected = module.collate(np.array([int(module.rows["test"][0]), 0]), 0, is_training=False)
        assert batch.copies is not None and expected.copies is not None
        assert batch.copies.words == expected.copies.words and batch.copies.numbers.tolist() == expected.copies.numbers.tolist()


def test_a_table_of_inputs_with_lists_of_summaries_has_one_row_a_text(tmp_path: Path, make: Make) -> None:
    file = write(tmp_path / "t.jsonl", LINES)
    module = set_up(make(file))
    assert module.reader().collect([str(file)], None) == [line["text"] for line in LINES]


def test_summaries_longer_than_their_texts_are_counted_and_told(tmp_path: Path, make: Make) -> None:
    lines = [*LINES, {"text": "Rain .", "summary": "It rained all over the county", "split": "train"}]
    module = set_up(make(write(tmp_path / "t.jsonl", lines)))
    assert any(remark.startswith("1 of 8 summaries have more words than their texts") for remark in module.remarks)
    assert any("1 summaries longer than their texts" in text for _, text in module.describe())


def test_an_empty_summary_is_refused_with_its_line_or_left_out(tmp_path: Path, make: Make) -> None:
    for summary in ("", " ", None):
        file = write(tmp_path / "t.jsonl", [*LINES, {"text": "Rain fell .", "summary": summary, "split": "train"}])
        with pytest.raises(ValueError, match=r"t\.jsonl, line 6.* target sentence is empty"):
            set_up(make(file))
        assert len(set_up(make(file, "data.prepare.on_broken=skip")).rows["train"]) == 3
    with pytest.raises(ValueError, match=r"line 6: 'summary' holds a list .* with one at least"):
        set_up(make(write(tmp_path / "e.jsonl", [*LINES, {"text": "Rain .", "summary": [], "split": "train"}])))


def test_lists_are_taken_only_where_they_mean_something_and_of_one_key(tmp_path: Path) -> None:
    file = write(tmp_path / "t.jsonl", [{"a": "x", "b": ["y", "z"]}, {"a": "u", "b": "v"}])
    table = read_table(file, takes_lists=True)
    assert (
        table.frame["b"].tolist() == ["y", "z", "v"] and table.frame["a"].tolist() == ["x", "x", "u"] and table.lines.tolist() == [1, 1, 2]
    )
    with pytest.raises(ValueError, match="'b' holds a list or an object"):
        read_table(file)
    with pytest.raises(ValueError, match="'a' and 'b' both hold lists"):
        read_table(write(tmp_path / "u.jsonl", [{"a": ["x", "y"], "b": ["y", "z"]}]), takes_lists=True)


def test_other_goals_and_other_languages_are_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.goal=translate is for data=translation"):
        make(write(tmp_path / "t.jsonl", LINES), "data.goal=translate")
    for name in ("scitldr", "ag_titles"):
        with pytest.raises(ValueError, match=rf"choose data={name}, which says so, or set data\.source_language=en"):
            list(KNOWN[name](tmp_path, Languages("en", "de")))


def test_scitldr_gives_a_row_for_each_summary_and_no_title(tmp_path: Path) -> None:
    paper = {"source": ["One.", "Two. "], "target": ["Both", "Numbers"], "paper_id": "X", "title": "Never"}
    for part in ("train", "dev", "test"):
        write(tmp_path / f"{part}.jsonl", [paper])
    rows = list(KNOWN["scitldr"](tmp_path, ENGLISH))
    assert [(row.id, row.source.text, row.target.text, row.split) for row in rows[2:4]] == [
        ("dev:X", "One. Two. ", "Both", "val"), ("dev:X:2", "One. Two. ", "Numbers", "further"),
    ]  # fmt: skip


def test_titles_are_mended_as_the_articles_are(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text('"3","Turner #39;s ""deal""","A loan of \\$5\\to all."\n', encoding="utf-8")
    (row,) = KNOWN["ag_titles"](tmp_path, ENGLISH)
    assert (row.source.text, row.target.text, row.split) == ("A loan of $5 to all.", 'Turner\'s "deal"', "")


def test_the_sample_is_made_again_byte_for_byte(tmp_path: Path) -> None:
    folder = HOME / "data" / "samples" / "summaries"
    (tmp_path / "make_sample.py").write_bytes((folder / "make_sample.py").read_bytes())
    subprocess.run([sys.executable, tmp_path / "make_sample.py"], check=True)
    assert (tmp_path / "notices.jsonl").read_bytes() == (folder / "notices.jsonl").read_bytes()


@pytest.mark.skipif("RNNLAB_MIRROR" not in os.environ, reason="needs SciTLDR: set RNNLAB_MIRROR to a folder with scitldr")
def test_scitldr_is_as_its_authors_count_it(tmp_path: Path) -> None:
    for part in ("train", "dev", "test"):
        packed = Path(os.environ["RNNLAB_MIRROR"]) / "scitldr" / f"{part}.jsonl.gz"
        (tmp_path / f"{part}.jsonl").write_bytes(gzip.decompress(packed.read_bytes()))
    rows = list(KNOWN["scitldr"](tmp_path, ENGLISH))
    counts = {split: sum(row.split == split for row in rows) for split in ("train", "val", "test")}
    assert counts == {"train": 1992, "val": 619, "test": 618}
