"""Claims about sources of sentence pairs: what is read, what is refused and how it is said, and how pairs are split."""

import gzip
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rnnlab.data import text_files
from rnnlab.data.splits import Folding
from rnnlab.data.text.pair_files import Languages
from rnnlab.data.text.pair_splits import Rows, further_targets, group_pairs, split_pairs, with_groups, without_repeated
from rnnlab.data.text.pairs import PairColumns, clean_sentence, find_pairs, has_prefix, hash_pairs

MIRROR = os.environ.get("RNNLAB_MIRROR")
EN_DE = Languages("en", "de")
ENGLISH = ["a dog", "the red hat", "two cats"]
GERMAN = ["ein Hund", "der rote Hut", "zwei Kätzchen"]


def write(file: Path, lines: list[str]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(line + "\n" for line in lines).encode()
    file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)
    return file


def found(path: Path, languages: Languages = EN_DE, columns: PairColumns | None = None) -> list[list[str]]:
    rows: list[list[str]] = find_pairs(str(path), path, languages, columns or PairColumns())[0].to_numpy().tolist()
    return rows


def refused(path: Path, message: str, languages: Languages = EN_DE, columns: PairColumns | None = None) -> None:
    with pytest.raises(ValueError, match=message):
        found(path, languages, columns)


def table_of(rows: list[tuple[str, str, str]]) -> pd.DataFrame:
    named = [(f"p:{number}", *row) for number, row in enumerate(rows)]
    return with_groups(pd.DataFrame(named, columns=["id", "source", "target", "split"], dtype="str"))


# What is read


@pytest.mark.parametrize("ending", ["", ".txt", ".gz", ".txt.gz"])
def test_a_folder_holds_two_files_a_split(tmp_path: Path, ending: str) -> None:
    for split, place in (("train", 0), ("dev", 1), ("test", 2)):
        write(tmp_path / f"{split}.en{ending}", ENGLISH[place:])
        write(tmp_path / f"{split}.de{ending}", GERMAN[place:])
    assert found(tmp_path) == [
        ["train:1", "a dog", "ein Hund", "train"],
        ["train:2", "the red hat", "der rote Hut", "train"],
        ["train:3", "two cats", "zwei Kätzchen", "train"],
        ["val:1", "the red hat", "der rote Hut", "val"],
        ["val:2", "two cats", "zwei Kätzchen", "val"],
        ["test:1", "two cats", "zwei Kätzchen", "test"],
    ]
    assert found(tmp_path, Languages("de", "en"))[0] == ["train:1", "ein Hund", "a dog", "train"]


def test_two_aligned_files_are_named_by_what_they_begin_with(tmp_path: Path) -> None:
    write(tmp_path / "corpus.en", ENGLISH)
    write(tmp_path / "corpus.de.gz", GERMAN)
    assert has_prefix(tmp_path / "corpus") and not has_prefix(tmp_path / "corp")
    assert found(tmp_path / "corpus")[2] == ["corpus:3", "two cats", "zwei Kätzchen", ""]


def test_a_table_has_columns_of_source_target_and_split(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("source,target,split\na dog,ein Hund,train\nthe red hat,der rote Hut,dev\n")
    assert found(file) == [["t.csv:2", "a dog", "ein Hund", "train"], ["t.csv:3", "the red hat", "der rote Hut", "val"]]


@pytest.mark.parametrize("names", ["en,de", "src,tgt", "Source,Target"])
def test_usual_names_of_columns_are_recognised(tmp_path: Path, names: str) -> None:
    file = tmp_path / "t.csv"
    file.write_text(f"{names}\na dog,ein Hund\n")
    assert found(file) == [["t.csv:2", "a dog", "ein Hund", ""]]


def test_columns_are_taken_as_they_are_named(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"id": 1, "article": "a long text", "headline": "text"}\n')
    assert found(file, columns=PairColumns("article", "headline")) == [["t.jsonl:1", "a long text", "text", ""]]


def test_of_a_table_without_header_the_first_two_columns_are_the_pair(tmp_path: Path) -> None:
    file = tmp_path / "t.tsv"
    file.write_text('a dog\tein Hund\tby "Ann"\ntwo cats\tzwei Katzen\tby Bo\n')
    columns = PairColumns(has_header=False)
    assert found(file, columns=columns) == [["t.tsv:1", "a dog", "ein Hund", ""], ["t.tsv:2", "two cats", "zwei Katzen", ""]]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (" a dog ", "a dog"),
        ("ein\u00a0Hund\u202f!", "ein Hund !"),
        ("a\u2028b\x85c", "a b c"),
        ("Ka\u0308tzchen", "K\u00e4tzchen"),
        ("Groß & „ÄÖÜ“ … &amp;", "Groß & „ÄÖÜ“ … &amp;"),
    ],
)
def test_sentences_stay_as_published_but_for_blanks_and_nfc(given: str, kept: str) -> None:
    assert clean_sentence(given) == kept


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    (tmp_path / "c.en").write_bytes("\ufeffa\u2028dog\r\ntwo\x85cats\r\n".encode())
    (tmp_path / "c.de").write_bytes(b"ein Hund\nzwei Katzen")
    assert found(tmp_path / "c") == [["c:1", "a dog", "ein Hund", ""], ["c:2", "two cats", "zwei Katzen", ""]]
    counts = find_pairs("", tmp_path / "c", EN_DE, PairColumns())[1]
    assert counts == {"num_blanks_mended": 2, "num_repeated_pairs": 0}


def test_the_hash_follows_every_field_and_the_order_of_pairs() -> None:
    table = table_of([("a", "b", "train"), ("c", "d", "")])
    hashes = {hash_pairs(table), hash_pairs(table.iloc[::-1])}
    for name in ("id", "source", "target", "split"):
        hashes.add(hash_pairs(table.assign(**{name: ["x", "y"]})))
    assert len(hashes) == 6 and all(len(each) == 16 for each in hashes)


# What is refused


def test_files_of_different_length_are_told_with_both_counts(tmp_path: Path) -> None:
    write(tmp_path / "train.en", ENGLISH)
    write(tmp_path / "train.de", GERMAN[:2])
    refused(tmp_path, r"train\.en has 3 lines, .*train\.de has 2: line by line they must be the same sentences in two languages\. Find")


@pytest.mark.parametrize(("side", "what"), [("en", "source"), ("de", "target")])
def test_an_empty_line_is_named_by_file_and_number(tmp_path: Path, side: str, what: str) -> None:
    for language, lines in (("en", ENGLISH), ("de", GERMAN)):
        write(tmp_path / f"train.{language}", [lines[0], "\u00a0 " if language == side else lines[1], lines[2]])
    refused(
        tmp_path,
        rf"train\.{side}, line 2: the {what} sentence is empty\. Fill it in, or remove the pair .*, or leave such out with data",
    )


def test_an_empty_field_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("source,target\na dog,ein Hund\ntwo cats,\n")
    refused(tmp_path / "t.csv", r"t\.csv, line 3: the target sentence is empty\.")


def test_a_language_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    for language in ("en", "de"):
        write(tmp_path / f"train.{language}", ENGLISH)
    refused(tmp_path, r"train\.\* has no language 'fr'; it has: de, en\. Set data.source_language and", Languages("en", "fr"))
    refused(tmp_path / "train", r"train\.\* has no language 'fr'; it has: de, en\.", Languages("fr", "de"))
    refused(
        tmp_path, r"^data.source_language=en is data.target_language, too: set them to two of those .*\(de, en\)$", Languages("en", "en")
    )


@pytest.mark.parametrize(("name", "there"), [("multi30k", "en, de, fr"), ("cmn_eng", "en, zh")])
def test_a_named_set_says_its_languages(tmp_path: Path, name: str, there: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} has no language 'es'; it has: {there}\."):
        find_pairs(name, tmp_path, Languages("en", "es"), PairColumns())


def test_a_split_that_lacks_a_side_is_refused(tmp_path: Path) -> None:
    for language in ("en", "de"):
        write(tmp_path / f"train.{language}", ENGLISH)
    write(tmp_path / "test.en", ENGLISH)
    refused(tmp_path, r"test\.\* has no language 'de'; it has: en\.")


def test_missing_files_are_named(tmp_path: Path) -> None:
    refused(tmp_path, r" holds no pairs of sentences: wanted train\.en and train\.de, line by line, and likewise val and test if known;")
    refused(tmp_path / "none", r"^there are no files .*none\.en and .*none\.de: set data\.source to a folder, a table, or what two aligned")
    with pytest.raises(ValueError, match=r"train\.en\.gz cannot be read \(No such file or directory\): check the name, or get it anew$"):
        find_pairs("multi30k", tmp_path, EN_DE, PairColumns())


def test_the_same_side_twice_is_refused(tmp_path: Path) -> None:
    for name in ("train.en", "train.en.gz", "train.de"):
        write(tmp_path / name, ENGLISH)
    refused(tmp_path, r"train\.en and train\.en\.gz are both the en side: keep one of them$")
    for name in ("m/val.en", "m/val.de", "m/dev.en", "m/dev.de"):
        write(tmp_path / name, ENGLISH)
    refused(tmp_path / "m", r" holds val\.\* and dev\.\*, which are both the val split: keep one of them$")


def test_what_is_not_utf_8_is_named_by_its_line(tmp_path: Path) -> None:
    write(tmp_path / "train.en", ENGLISH)
    (tmp_path / "train.de").write_bytes("\n".join(GERMAN).encode("latin-1"))
    refused(tmp_path, r"train\.de, line 3: not UTF-8 \(invalid continuation byte\): save the file as UTF-8$")


def test_a_file_without_a_sentence_or_of_a_broken_packing_is_named(tmp_path: Path) -> None:
    write(tmp_path / "train.en", ENGLISH)
    (tmp_path / "train.de").write_bytes(b"\n")
    refused(tmp_path, r"train\.de holds no sentences$")
    (tmp_path / "train.de").unlink()
    (tmp_path / "train.de.gz").write_bytes(gzip.compress("\n".join(GERMAN).encode())[:-9])
    refused(tmp_path, r"train\.de\.gz cannot be read \(Compressed file ended .*\): check the name, or get it anew$")


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        (
            "text,target\na,b\n",
            PairColumns(),
            r"lacks a column 'source' \(or src, input, en\); it has: text, target\. Rename one, or set data",
        ),
        (
            "source,target,split\na,b,both\n",
            PairColumns(),
            r"line 2: split 'both' is not one of train, val, valid, dev, .*test",
        ),
        ("source,target\na,b\n", PairColumns("target"), r"'target' is the column of both sides: set data\.prepare\.source_column and"),
        ("source,target\na,b\n", PairColumns(split_column="part"), r"lacks a column 'part'; it has: source, target\."),
        ("source;target\n", PairColumns(), r"t\.csv has a header but no rows$"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, columns: PairColumns, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    refused(tmp_path / "t.csv", message, columns=columns)


# Splits


def test_pairs_with_a_sentence_in_common_are_one_group_directly_or_through_others() -> None:
    sources = ["Hi.", "hi.", "Hello.", "Bye.", "So long.", "Run."]
    targets = ["嗨。", "你好。", "你好。", "再见。", "再见。", "跑。"]
    assert group_pairs(sources, targets).tolist() == [0, 0, 0, 3, 3, 5]


@pytest.mark.parametrize("split_seed", range(5))
def test_a_random_split_has_no_sentence_in_two_splits(split_seed: int) -> None:
    generator = np.random.default_rng(split_seed)
    rows = [(f"source {generator.integers(120)}", f"target {generator.integers(300)}", "") for _ in range(150)]
    table = table_of(rows)
    assert table["group"].nunique() > 30
    split, words = split_pairs(table, "auto", Folding(0, 5, split_seed), 0.2)
    for name in ("source", "target"):
        # what is in no split are further translations: they belong to the split that has their source
        whole = {part: set(table[name].iloc[[*numbers, *freed(table, split, numbers)]]) for part, numbers in split.items()}
        assert all(whole.values()) and sum(map(len, whole.values())) == len(set.union(*whole.values())) == table[name].nunique()
    assert words.startswith(f"at random (split_seed {split_seed}), no sentence in two splits")


def freed(table: pd.DataFrame, split: Rows, numbers: np.ndarray) -> list[int]:
    taken = set(np.concatenate(list(split.values())).tolist())
    sources = set(table["source"].iloc[numbers])
    return [row for row in range(len(table)) if row not in taken and table["source"].iloc[row] in sources]


def test_random_validation_and_test_hold_each_source_once_and_its_further_targets_beside() -> None:
    table = table_of([(f"s{number // 3}", f"t{number}", "") for number in range(60)])
    split, _ = split_pairs(table, "random", Folding(0, 5, 0), 0.2)
    assert [len(split[part]) for part in ("train", "val", "test")] == [12 * 3, 4, 4]
    further = further_targets(table, split)
    assert set(further) == {*split["val"].tolist(), *split["test"].tolist()}
    for row, targets in further.items():
        assert row % 3 == 0 and targets == [f"t{row + 1}", f"t{row + 2}"]


def test_random_splits_follow_the_split_seed_and_its_share() -> None:
    table = table_of([(f"s{number}", f"t{number}", "") for number in range(200)])
    splits = [split_pairs(table, "random", Folding(0, 5, seed), 0.1)[0] for seed in (0, 0, 1)]
    tests = [each["test"].tolist() for each in splits]
    assert tests[0] == tests[1] != tests[2] and [len(each["val"]) for each in splits] == [len(test) for test in tests]
    assert len(tests[0]) == 20


def test_given_splits_are_kept_and_repeated_sources_stay_in_them() -> None:
    table = table_of([("a", "x", "train"), ("b", "y", ""), ("c", "z", "val"), ("c", "zz", "val"), ("d", "w", "test")])
    split, words = split_pairs(table, "auto", Folding(0, 5, 0), 0.1)
    assert {part: rows.tolist() for part, rows in split.items()} == {"train": [0, 1], "val": [2, 3], "test": [4]}
    assert words == "official (train, val and test as given)" and further_targets(table, split) == {}


def test_validation_is_carved_from_training_where_only_test_is_given() -> None:
    table = table_of([*((f"s{n // 2}", f"t{n}", "train") for n in range(40)), ("u", "v", "test")])
    split, words = split_pairs(table, "auto", Folding(0, 5, 0), 0.1)
    assert split["test"].tolist() == [40] and 4 <= len(split["val"]) <= 6 and "carved from training" in words
    assert not set(table["source"].iloc[split["val"]]) & set(table["source"].iloc[split["train"]])


def test_splits_that_cannot_be_are_refused() -> None:
    given = table_of([("a", "x", "train"), ("b", "y", "val")])
    for kind in ("auto", "official"):
        with pytest.raises(
            ValueError, match=rf"^data\.split={kind}, but the source names no test pairs: add them .* use data\.split=random$"
        ):
            split_pairs(given, kind, Folding(0, 5, 0), 0.1)
    with pytest.raises(ValueError, match=r"^3 pair\(s\) are too few to split at random: no sentence may be in two splits\. Give more"):
        split_pairs(table_of([("a", "x", ""), ("a", "y", ""), ("b", "y", "")]), "auto", Folding(0, 5, 0), 0.1)


def test_training_pairs_whose_source_is_validated_or_tested_are_counted() -> None:
    table = table_of(
        [("a", "x", "train"), ("B", "y", "train"), ("c", "Z", "train"), ("b", "q", "val"), ("d", "z", "test"), ("D", "r", "val")]
    )
    kept, counts = without_repeated(table, split_pairs(table, "auto", Folding(0, 5, 0), 0.1)[0])
    assert kept.tolist() == [0, 2]
    assert counts == {
        "training sources also in validation or test": 1,
        "training targets also in validation or test": 1,
        "validation sources also in test": 1,
    }


# What was published


@pytest.mark.slow
@pytest.mark.skipif(MIRROR is None, reason="RNNLAB_MIRROR names no folder with a copy of Multi30k")
@pytest.mark.parametrize("languages", [("en", "de"), ("de", "fr")])
def test_multi30k_is_what_its_authors_say(languages: tuple[str, str]) -> None:
    table, counts, _ = find_pairs("multi30k", Path(str(MIRROR)) / "multi30k", Languages(*languages), PairColumns())
    assert Counter(table["split"]) == {"train": 29_000, "val": 1_014, "test": 1_000}
    assert not table["target"].str.contains("\u00a0").any() and counts["num_blanks_mended"] > 0
    if languages == ("en", "de"):
        assert table.iloc[0].tolist() == [
            "train:1",
            "Two young, White males are outside near many bushes.",
            "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche.",
            "train",
        ]
        assert table["source"][table["split"] == "train"].duplicated().sum() == 9


@pytest.mark.slow
@pytest.mark.skipif(MIRROR is None, reason="RNNLAB_MIRROR names no folder with a copy of cmn-eng")
def test_the_pairs_of_tatoeba_are_read_without_their_attribution() -> None:
    table, counts, _ = find_pairs("cmn_eng", Path(str(MIRROR)) / "cmn-eng", Languages("en", "zh"), PairColumns())
    assert len(table) == 29_155 and counts["num_repeated_pairs"] == 100
    assert table.iloc[0].tolist() == ["cmn:1", "Hi.", "嗨。", ""] and table["source"].nunique() == 27_661
    assert not table["target"].str.contains("tatoeba").any()
    split, _ = split_pairs(with_groups(table), "auto", Folding(0, 5, 0), 0.04)
    parts = [set(table["source"].iloc[split[part]].str.casefold()) for part in ("train", "val", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) and len(split["test"]) == len(parts[2])


def test_a_packed_file_that_unpacks_to_much_more_than_texts_do_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "UNPACKED_FREELY", 10)
    for language in ("en", "de"):
        (tmp_path / f"train.{language}.gz").write_bytes(gzip.compress(b"a\n" * 2**20))
    with pytest.raises(ValueError, match=r"train\.en\.gz of .* bytes unpacks to more than"):
        find_pairs(str(tmp_path), tmp_path, Languages("en", "de"), PairColumns())
