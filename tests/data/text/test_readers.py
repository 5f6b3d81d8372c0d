"""Claims about lists of texts: what is in a known set or in a user's own files, how it is cleaned, and what of it can be wrong."""

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from rnnlab.data.text.readers import TextColumns, clean_text, find_texts, hash_texts


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def found(source: str, folder: Path, columns: TextColumns | None = None) -> tuple[list[list[str]], dict[str, int]]:
    """Return the rows and the oddities that were met at least once."""
    table, counts, _ = find_texts(source, folder, columns or TextColumns())
    assert table.columns.tolist() == ["id", "text", "label", "split"]
    assert table["id"].is_unique
    return table.to_numpy().tolist(), {name: count for name, count in counts.items() if count}


# Known sets


def test_imdb_file_names_say_everything_and_ids_are_ordered_by_number(tmp_path: Path) -> None:
    files = {
        f"{split}/{label}/{name}.txt": f"{split} {label} {name}"
        for split in ("train", "test")
        for label in ("pos", "neg")
        for name in ("10_7", "9_1")
    }
    write(tmp_path, {**files, "train/pos/9_1.txt": "Zoë<br /><br />said &quot;no&#8230;&quot;\x96twice\x85", "README": "no review"})
    rows, counts = found("imdb", tmp_path)
    assert [row[0] for row in rows][:3] == ["test/neg/9_1", "test/neg/10_7", "test/pos/9_1"]
    assert rows[6] == ["train/pos/9_1", 'Zoë said "no…"\u2013twice…', "positive", "train"]
    assert {tuple(row[2:]) for row in rows} == {(label, split) for label in ("negative", "positive") for split in ("train", "test")}
    assert (len(rows), counts) == (8, {"num_html": 1, "num_odd_characters": 1})


def test_sst2_says_the_label_before_the_text_and_calls_validation_dev(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"stsa.binary.train": "1 a joy\n0 crème brûlée\n1 a joy\n", "stsa.binary.dev": "0 dull\n", "stsa.binary.test": "1 a joy\n"},
    )
    rows, counts = found("sst2", tmp_path)
    assert rows == [
        ["stsa.binary.dev:1", "dull", "negative", "val"],
        ["stsa.binary.test:1", "a joy", "positive", "test"],
        ["stsa.binary.train:1", "a joy", "positive", "train"],
        ["stsa.binary.train:2", "crème brûlée", "negative", "train"],
        ["stsa.binary.train:3", "a joy", "positive", "train"],
    ]
    assert counts == {"num_repeated": 1, "num_in_several_splits": 1}


@pytest.mark.parametrize(("source", "labels"), [("trec", ["HUM", "NUM", "HUM"]), ("trec_fine", ["HUM:ind", "NUM:dist", "HUM:gr"])])
def test_trec_is_latin_1_and_has_two_sets_of_labels(tmp_path: Path, source: str, labels: list[str]) -> None:
    write(tmp_path, {"TREC.train": b"NUM:dist How far is its sister\xf0city ?\nHUM:gr Who ?\n", "TREC.test": "HUM:ind Who was he ?\n"})
    rows, counts = found(source, tmp_path)
    assert [row[2] for row in rows] == labels
    assert [row[:2] for row in rows[:2]] == [["TREC.test:1", "Who was he ?"], ["TREC.train:1", "How far is its sisterðcity ?"]]
    assert [row[3] for row in rows] == ["test", "train", "train"]
    assert counts == {"num_not_ascii": 1}


def test_ag_news_has_two_files_of_different_order_that_come_out_alike(tmp_path: Path) -> None:
    train = [r'"Oil at \$50 Haiti #39;s ""crude"" oil\climbed, up  #36;3",2', "Worms are  quot;back quot; AT amp;T says,3"]
    tags = 'Inc. &lt;TXN.N&gt; at &lt;A HREF=""x""&gt;x.N&lt;/A&gt;women amp;apos;s'
    test = [f'"1","Cubs #39; &lt;b&gt;...&lt;/b&gt;","{tags}"', r'"3","Oil at \$50"," #39;Up #39;"']
    write(tmp_path, {"train_sample5000.csv": "\n".join(train), "test.csv": "\n".join(test) + "\n"})
    rows, counts = found("ag_news", tmp_path)
    assert rows == [
        ["test.csv:1", "Cubs' ... Inc. <TXN.N> at x.N women's", "World", "test"],
        ["test.csv:2", "Oil at $50 'Up'", "Business", "test"],
        ["train_sample5000.csv:1", 'Oil at $50 Haiti\'s "crude" oil climbed, up $3', "Business", "train"],
        ["train_sample5000.csv:2", 'Worms are "back" AT&T says', "Sci/Tech", "train"],
    ]
    assert counts == {"num_html": 4, "num_remnants": 4, "num_backslashes": 2}


def test_thucnews_splits_at_the_last_tab_and_names_its_classes(tmp_path: Path) -> None:
    write(tmp_path, {"class.txt": "finance\ngame\n", "dev.txt": "倚天\t屠龙记\t1\n沪指\u2028涨\t0\n", "test.txt": "领秀&#8226;慧谷\t0"})
    rows, counts = found("thucnews", tmp_path)
    assert rows == [
        ["dev.txt:1", "倚天 屠龙记", "game", "train"],
        ["dev.txt:2", "沪指 涨", "finance", "train"],
        ["test.txt:1", "领秀•慧谷", "finance", "test"],
    ]
    assert counts == {"num_html": 1, "num_tabs_in_text": 1}


def test_names_are_told_once_a_language_and_not_split(tmp_path: Path) -> None:
    write(tmp_path, {"Irish.txt": "Adam\nSéan \nSe\u0301an\n", "French.txt": "De la fontaine\nAdam\nAdam\n", "LICENSE": "none"})
    rows, counts = found("names", tmp_path)
    assert rows == [
        ["French.txt:1", "De la fontaine", "French", ""],
        ["French.txt:2", "Adam", "French", ""],
        ["Irish.txt:1", "Adam", "Irish", ""],
        ["Irish.txt:2", "Séan", "Irish", ""],
    ]
    assert counts == {"num_blanks_at_ends": 1, "num_repeats_dropped": 2, "num_repeated": 1, "num_of_several_labels": 1}


def test_the_sample_is_a_table_of_headlines(tmp_path: Path) -> None:
    write(tmp_path, {"headlines.csv": 'text,label,split\n"Rain, again",weather,train\nGoal,sport,val\nSnow,weather,test\n'})
    rows, _ = found("sample", tmp_path)
    assert [row[0] for row in rows] == ["headlines.csv:2", "headlines.csv:3", "headlines.csv:4"]
    assert [row[1:] for row in rows] == [["Rain, again", "weather", "train"], ["Goal", "sport", "val"], ["Snow", "weather", "test"]]


@pytest.mark.parametrize(
    ("source", "files", "message"),
    [
        ("imdb", {"train/neg/1_1.txt": "x"}, r"holds no train/pos/\*\.txt: it is not the whole of imdb\. Remove the folder and run again$"),
        ("sst2", {}, r"stsa\.binary\.train cannot be read \(No such file or directory\)$"),
        (
            "sst2",
            {"stsa.binary.train": "1 a\n2 b\n"},
            r"stsa\.binary\.train, line 2: class '2' is not one of 0, 1\. Remove .* and run again$",
        ),
        ("sst2", {"stsa.binary.train": b"1 a\n0 \xff\n"}, r"stsa\.binary\.train, line 2: not UTF-8 \(.*\): save the file as UTF-8$"),
        ("trec", {"TREC.train": "NUM How far ?\n"}, r"TREC\.train, line 1: 'NUM' is not COARSE:fine\. Remove the folder"),
        ("ag_news", {"train_sample5000.csv": "a,1\nb,c,1\n"}, r"train_sample5000\.csv, line 2: 3 fields where 2 were due\."),
        ("ag_news", {"train_sample5000.csv": "a,4\n"}, r"line 1: class '4' is not one of 0, 1, 2, 3\."),
        ("thucnews", {"class.txt": "a\nb\n", "dev.txt": "x\t1\ny 0\n"}, r"dev\.txt, line 2: class 'y 0' is not one of 0, 1\."),
        ("names", {"LICENSE": "x"}, r"holds no \*\.txt, one a language: it is not the set `names`\."),
    ],
)
def test_what_is_wrong_in_a_known_set_is_named(tmp_path: Path, source: str, files: dict[str, str | bytes], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^{tmp_path}.*{message}"):
        find_texts(source, write(tmp_path, files), TextColumns())


# The user's own


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("r.csv", "review,Sentiment,fold\ngood,yes,train\nbad,no,dev\nfair,yes,\n", TextColumns()),
        ("r.tsv", "y\ttext\ttitle\tsubset\nyes\tgood\tx\tTrain\nno\tbad\tx\tvalidation\nyes\tfair\tx\t\n", TextColumns()),
        ("r.csv", "a;b;c\ngood;yes;train\nbad;no;valid\nfair;yes;\n", TextColumns("a", "b", "c", ";")),
        (
            "r.csv",
            "x,title,text,label,class,part\n1,x,good,0,yes,train\n2,x,bad,0,no,val\n3,x,fair,0,yes,\n",
            TextColumns("text", "class", "part"),
        ),
        (
            "r.jsonl",
            '{"text": "good", "label": "yes", "split": "train"}\n{"text": "bad", "label": "no", "split": "val"}\n'
            '{"label": "yes", "text": "fair", "split": null}\n',
            TextColumns(),
        ),
    ],
    ids=["aliases", "tsv", "named, semicolons", "named where others would do", "jsonl"],
)
def test_a_table_is_read_by_names_that_are_given_or_common(tmp_path: Path, name: str, content: str, columns: TextColumns) -> None:
    rows, _ = found(str(tmp_path / name), write(tmp_path, {name: content}) / name, columns)
    first = 1 if name.endswith("jsonl") else 2
    assert [row[0] for row in rows] == [f"{name}:{first + place}" for place in range(3)]
    assert [row[1:] for row in rows] == [["good", "yes", "train"], ["bad", "no", "val"], ["fair", "yes", ""]]


LINES = [("sci_fi", "Space, again; and again"), ("crime", '"Who did it?" asked the butler'), ("sci_fi", "robots"), ("crime", "a safe")] * 6


@pytest.mark.parametrize(
    ("name", "mark", "delimiter", "num"),
    [("t.txt", "", None, 24), ("t.txt", "__label__", None, 2), ("t.csv", "", " ", 2), ("t", "", " ", 2), ("t.txt.gz", "", None, 24)],
)
def test_lines_that_begin_with_their_label_are_read(tmp_path: Path, name: str, mark: str, delimiter: str | None, num: int) -> None:
    text = "".join(f"{mark}{label} {words}\n" for label, words in LINES[:num])
    write(tmp_path, {name: gzip.compress(text.encode()) if name.endswith(".gz") else text})
    rows, counts = found("own", tmp_path / name, TextColumns(delimiter=delimiter))
    assert [(row[2], row[1]) for row in rows] == LINES[:num]
    assert counts["num_lines of a label, a blank and a text"] == num


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("The cat sat\nA dog ran\nThe cow ate\n", r"lacks a column 'text'"),  # few lines, and one word that does not come again
        ("__label__a __label__b x\n__label__a y\n", r"t\.txt, line 1 has several labels: leave one on each line"),
    ],
)
def test_lines_that_do_not_begin_with_one_label_are_refused(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, {"t.txt": text})
    with pytest.raises(ValueError, match=message):
        find_texts("own", tmp_path / "t.txt", TextColumns())


@pytest.mark.parametrize(
    ("name", "content", "num_odd"),
    [
        ("t.tsv", 'qid\tlabel\ttext_a\n1\t1\t"很好\n2\t0\t太差了"\n', 1),  # as ChnSentiCorp is handed round
        ("t.csv", "标签,评论\n1,很好\n0,太差了\n", 0),
    ],
)
def test_columns_of_chinese_sets_are_known_and_their_quotes_are_text(tmp_path: Path, name: str, content: str, num_odd: int) -> None:
    rows, counts = found("own", write(tmp_path, {name: content}) / name)
    assert [row[1].strip('"') for row in rows] == ["很好", "太差了"]
    assert [row[2] for row in rows] == ["1", "0"]
    assert sum(counts.values()) == num_odd


def test_a_zipped_latin_1_table_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("folder/t.csv", "text,label\nthé glacé,a\nbière,b\n".encode("latin-1"))
    rows, counts = found("own", tmp_path / "t.zip")
    assert [row[1] for row in rows] == ["thé glacé", "bière"]
    assert counts == {"lines not UTF-8 (whole file read as windows-1252)": 2}


def test_a_table_without_a_header_has_numbered_columns(tmp_path: Path) -> None:
    file = write(tmp_path, {"r.csv": 'no,"bad,\nvery",x\nyes,good,x\n'}) / "r.csv"
    rows, counts = found(str(file), file, TextColumns("1", "0", has_header=False))
    assert rows == [["r.csv:1", "bad, very", "no", ""], ["r.csv:3", "good", "yes", ""]]
    assert counts == {"records over several lines": 1}


def test_tables_of_a_folder_are_split_by_their_names_whatever_a_column_says(tmp_path: Path) -> None:
    files = {"Train.csv": "text,label,split\na,x,whatever\nb,y,\n", "dev.tsv": "text\tlabel\nc\tx\n", "notes.txt": "-"}
    write(tmp_path, {**files, "test.jsonl.gz": gzip.compress(b'{"label": "y", "text": "d"}\n')})
    rows, _ = found(str(tmp_path), tmp_path)
    assert sorted(rows) == [
        ["Train.csv:2", "a", "x", "train"],
        ["Train.csv:3", "b", "y", "train"],
        ["dev.tsv:2", "c", "x", "val"],
        ["test.jsonl.gz:1", "d", "y", "test"],
    ]


def test_a_folder_with_a_single_table_stands_for_the_table(tmp_path: Path) -> None:
    write(tmp_path, {"reviews.csv": "text,label\na,x\nb,y\n", "readme.md": "-"})
    assert found("x", tmp_path) == found("x", tmp_path / "reviews.csv")


@pytest.mark.parametrize("split", ["", "train", "Valid"])
def test_subfolders_are_labels_below_splits_or_not(tmp_path: Path, split: str) -> None:
    files = {"pos/2.txt": "good", "pos/10.TXT": "\ufefffine", "neg/1.txt": "bad", "neg/1.md": "-", "neg/.hid.txt": "-"}
    below = Path(split)
    write(tmp_path, {str(below / name): content for name, content in files.items()})
    write(tmp_path, {str(below / "readme.txt" if split else "readme.txt"): "none of a label"})
    rows, counts = found(str(tmp_path), tmp_path)
    known = {"": "", "train": "train", "Valid": "val"}[split]
    expected = [["neg/1", "bad", "neg"], ["pos/2", "good", "pos"], ["pos/10.TXT", "fine", "pos"]]
    assert rows == [[(below / name).as_posix(), text, label, known] for name, text, label in expected]
    assert counts == {}


def test_a_text_of_several_labels_is_counted(tmp_path: Path) -> None:
    write(tmp_path, {"r.csv": "text,label\nwell,x\n well,y\nwell,y\nno,y\n"})
    assert found("r.csv", tmp_path / "r.csv")[1] == {"num_repeated": 2, "num_of_several_labels": 1}


def many(label: Callable[[int], str], num_rows: int = 60) -> str:
    return "text,label\n" + "".join(f"t{row},{label(row)}\n" for row in range(num_rows))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "text,label\na,x\n,y\n<br />,y\n",
            r"line 3: the text is empty \(and 1 more\)\. Fill .*, or leave such out with data\.prepare\.on_broken=skip$",
        ),
        (
            "text,label\na,x\nb, \n",
            r"line 3: the label is empty\. Fill it in or remove the row, or leave such out with data\.prepare\.on_broken=skip$",
        ),
        ("text,label\na,x\nb,x\n", r": all 2 labels are 'x'; a classifier needs two classes or more\. Set data\.prepare\.label_column to "),
        (
            many(str),
            r": 60 different labels in 60 rows \(0, 1, 2, \.\.\.\) are no classes\. Set data\.prepare\.label_column .* data=series$",
        ),
        (many(lambda row: f"{row % 25}.{row % 2}"), r": 50 different labels in 60 rows"),
        (many(lambda row: f"{row % 25 / 2}"), r": 25 different labels in 60 rows \(0\.0, 0\.5, 1\.0, \.\.\.\) are no classes"),
        ("text,label,split\na,x,train\nb,y,held out\n", r"line 3: split 'held out' is not one of train, val, valid, dev, .*test"),
        (
            "words,label\na,x\n",
            r"lacks a column 'text' \(or sentence, .*\); it has: words, label\..* data\.prepare\.text_column=NAME$",
        ),
        ("text,mood\na,x\n", r"lacks a column 'label' .* data\.prepare\.label_column=NAME$"),
        ("title,body,label\na,b,x\n", r"has several columns that may be meant by 'text': title, body; set data\.prepare\.text_column"),
        ("", r"is empty \(0 bytes\): write it anew, or give another file$"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path, {"r.csv": text}) / "r.csv"
    with pytest.raises(ValueError, match=rf"^{file}.*{message}"):
        find_texts(str(file), file, TextColumns())


@pytest.mark.parametrize("label", [lambda row: f"{row % 25}", lambda row: f"{row % 10}.5", lambda row: f"c{row % 30}"])
def test_many_classes_are_classes_all_the_same(tmp_path: Path, label: Callable[[int], str]) -> None:
    file = write(tmp_path, {"r.csv": many(label)}) / "r.csv"
    assert len(found("r.csv", file)[0]) == 60


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (TextColumns("txt"), r"lacks a column 'txt'; it has: text, label\. Did you mean 'text'\? .*data\.prepare\.text_column=NAME$"),
        (TextColumns(split_column="part"), r"lacks a column 'part'; it has: text, label\..*data\.prepare\.split_column=NAME$"),
        (
            TextColumns(label_column="text"),
            r": 'text' is the column of the texts and of the labels: set data\.prepare\.text_column and data\.",
        ),
    ],
)
def test_a_column_that_the_user_names_has_no_substitute(tmp_path: Path, columns: TextColumns, message: str) -> None:
    file = write(tmp_path, {"r.csv": "text,label\na,x\nb,y\n"}) / "r.csv"
    with pytest.raises(ValueError, match=message):
        find_texts(str(file), file, columns)


TABLE = "text,label\na,x\nb,y\n"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"^no texts in .*: wanted train\.csv \(or \.tsv, \.jsonl\) and, if known, val\.\* and test\.\*; or one subfolder per label"),
        ({"a.txt": "x", "x/b.pdf": "x"}, r"^no texts in "),
        ({"train.csv": TABLE, "train.tsv": TABLE}, r"train\.csv and train\.tsv are both the train split: keep one of them$"),
        ({"train.csv": TABLE, "val.csv": TABLE, "dev.csv": TABLE}, r"dev\.csv and val\.csv are both the val split: keep one of them$"),
        ({"test.csv": TABLE, "val.csv": TABLE}, r"holds test\.csv, val\.csv but no training texts: add train\.csv \(or \.tsv, \.jsonl\)$"),
        ({"a.csv": TABLE, "b.csv": TABLE}, r"holds a\.csv, b\.csv and more: set data\.source to one of them, or name the tables "),
        ({"a.csv": TABLE, "x/1.txt": "a"}, r"holds a\.csv and more: set data\.source to one of them"),
        ({"train/x/1.txt": "a", "y/1.txt": "a"}, r"train/x/1\.txt is below a split, .*y/1\.txt is not: put all labels below"),
        (
            {"x/1.txt": "a", "y/2.docx": "b", "y/3.docx": "c"},
            r"y holds 2 file\(s\) but none that can be read: 2 of \.docx \(first y/2\.docx\)\.",
        ),
        (
            {"x/1.txt": "a", "y/2.txt": " \n"},
            r"y/2\.txt: the text is empty\. Fill it in or remove the row, or leave such out with data\.prepare\.on_broken=skip$",
        ),
        ({"x/1.txt": "a", "x/2.txt": "b"}, r": all 2 labels are 'x'; a classifier needs two classes or more"),
    ],
)
def test_what_is_wrong_in_a_folder_is_named(tmp_path: Path, files: dict[str, str | bytes], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_texts(str(tmp_path), write(tmp_path, files), TextColumns())


def test_what_a_folder_holds_beside_its_texts_is_counted_and_named(tmp_path: Path) -> None:
    write(tmp_path, {"train.csv": TABLE, "extra.csv": TABLE, "x/1.txt": "a", "__MACOSX/._train.csv": "-"})
    remarks = find_texts("mine", tmp_path, TextColumns())[2]
    assert remarks == ["files passed over: 1 of .csv (first extra.csv), 1 of .txt (first x/1.txt)"]


def test_texts_lie_at_any_depth_and_in_any_usual_encoding(tmp_path: Path) -> None:
    write(tmp_path, {"x/a/1.txt": b"ok\n\xe9t\xe9", "y/2.txt": "b", "y/c.md": "-"})
    table, _, remarks = find_texts("mine", tmp_path, TextColumns())
    assert table[["id", "text", "label"]].to_numpy().tolist() == [["x/a/1", "ok \u00e9t\u00e9", "x"], ["y/2", "b", "y"]]
    assert remarks == ["files passed over: 1 of .md (first y/c.md)"]


def test_empty_texts_and_labels_are_left_out_where_asked_for(tmp_path: Path) -> None:
    file = write(tmp_path, {"r.csv": "text,label\na,x\n,y\nb,y\nc,\n&nbsp;,x\n"}) / "r.csv"
    table, _, remarks = find_texts("r.csv", file, TextColumns(), "skip")
    assert table["text"].tolist() == ["a", "b"]
    assert remarks == [
        f"left out, since the text is empty: 2 (first {file}, line 3)", f"left out, since the label is empty: 1 (first {file}, line 5)",
    ]  # fmt: skip
    (tmp_path / "r.csv").write_text("text,label\na,x\n,y\nb,x\n")
    with pytest.raises(ValueError, match=r"all examples of the label 'y' are broken and left out"):
        find_texts("r.csv", file, TextColumns(), "skip")


def test_a_place_where_nothing_is_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^there is no file or folder .*/gone: set data\.source to a table of texts or a folder of them$"):
        find_texts("gone", tmp_path / "gone", TextColumns())


# Cleaning


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("one<br />two<BR>three<br/>four", "one two three four"),
        ("Tom &amp; Jerry &lt;3 &#39;s &#x2026;", "Tom & Jerry <3 's …"),
        ("a&amp;lt;br /&amp;gt;b &amp;amp;amp;", "a b &"),
        ("R&D &copyright &AMP AT&T &A; &#9999999;", "R&D &copyright &AMP AT&T &A;"),
        ("it\x92s 5\x80 \x96 well\x85 &#150; \x81", "it\u2019s 5€ \u2013 well… \u2013"),
        ("a\x00b\x08c\ufeff\u200bd\ufffde\u2060\xadf\u202e\ud83d", "abcdef"),
        ("\u0645\u06cc\u200c\u062e 👩\u200d🔬", "\u0645\u06cc\u200c\u062e 👩\u200d🔬"),
        ("e\u0301 ﬁ Å", "é ﬁ Å"),
        (" \t a\r\n b\u00a0\u3000c\u2028d\x1f ", "a b c d"),
        ("if a<b and b>c <TXN.N> <i>so</i>", "if a<b and b>c <TXN.N> <i>so</i>"),
        ("&nbsp;<br />", ""),
    ],
)
def test_a_text_is_mended_and_otherwise_left_alone(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean
    assert clean_text(clean) == clean


# Hash


def table(**changed: list[str]) -> pd.DataFrame:
    columns = {"id": ["a", "b"], "text": ["ab", "c"], "label": ["x", "y"], "split": ["", "test"]}
    return pd.DataFrame(columns | changed)


def test_the_hash_follows_every_column_and_where_a_field_ends() -> None:
    others = [
        {"id": ["a", "c"]},
        {"text": ["a", "bc"]},
        {"label": ["y", "x"]},
        {"split": ["test", ""]},
        {"text": ["abx", "c"], "label": ["", "y"]},
    ]
    hashes = [hash_texts(table()), *(hash_texts(table(**other)) for other in others), hash_texts(table().iloc[::-1])]
    assert len(set(hashes)) == 7
    assert all(len(value) == 16 and int(value, 16) >= 0 for value in hashes)
    assert hash_texts(table()[["split", "label", "id", "text"]].assign(more=1)) == hashes[0]
