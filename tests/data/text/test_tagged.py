"""Claims about tagged sentences as people write them: which forms are read, how entities are marked, and what is refused."""

import json
from pathlib import Path

import pytest

from rnnlab.contracts import Span, spans_of
from rnnlab.data.text.schemes import num_without_begin, scheme_of, written_as
from rnnlab.data.text.tagged import TagColumns, find_sentences, hash_sentences

CONLL = "Ada\tNN\tB-PER\nOrvik\tNN\tI-PER\nsails\tVB\tO\n\nHolm\tNN\tB-LOC\n"


def read(file: Path, text: str, on_broken: str = "raise", **columns: object) -> list[tuple[list[str], list[str]]]:
    file.write_text(text, encoding="utf-8")
    table, _ = find_sentences("own", file, TagColumns(**columns), on_broken)  # type: ignore[arg-type]
    return list(zip(table["tokens"], table["tags"], strict=True))


# Entities


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("B-A I-A O B-A", [("A", 0, 2), ("A", 3, 4)]),
        ("B-A B-A", [("A", 0, 1), ("A", 1, 2)]),
        ("O I-A I-A", [("A", 1, 3)]),  # I- without B- begins one
        ("B-A I-B I-B", [("A", 0, 1), ("B", 1, 3)]),  # another type begins one
        ("S-A B-A E-A O", [("A", 0, 1), ("A", 1, 3)]),
        ("B-A I-A E-A E-A", [("A", 0, 3), ("A", 3, 4)]),  # E- closes: what follows is another
        ("S-A I-A", [("A", 0, 1), ("A", 1, 2)]),
        ("B-A-B I-A-B", [("A-B", 0, 2)]),  # a dash in a type
        ("O O", []),
    ],
)
def test_entities_are_those_that_conlleval_reads(tags: str, spans: list[tuple[str, int, int]]) -> None:
    assert spans_of(tags.split()) == [Span(*span) for span in spans]


@pytest.mark.parametrize("entities", ["O B-A I-A I-A O B-B B-B I-B", "B-A", "B-A B-A I-A"])
def test_bio_becomes_bioes_and_comes_back(entities: str) -> None:
    tags = entities.split()
    bioes = written_as(tags, "bioes")
    assert scheme_of(bioes) == "bioes" and spans_of(bioes) == spans_of(tags)
    assert written_as(bioes, "bio") == tags


def test_tags_are_recognised_as_what_they_are() -> None:
    assert scheme_of(["NOUN", "VERB", "O"]) == "plain"
    assert scheme_of(["B-A", "I-A", "O"]) == "bio"
    assert scheme_of(["B-A", "E-A", "O"]) == "bioes"
    assert scheme_of(["B", "I", "O"]) == "plain"  # without types these are letters


def test_an_entity_without_its_beginning_is_counted() -> None:
    assert num_without_begin(["O", "I-A", "I-A", "B-A", "I-A", "I-B"]) == 2
    assert written_as(["O", "I-A", "I-A", "I-B"], "bio") == ["O", "B-A", "I-A", "B-B"]


# Files


def test_conll_is_read_by_number_and_by_default_from_first_and_last_column(tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    assert read(file, CONLL) == [(["Ada", "Orvik", "sails"], ["B-PER", "I-PER", "O"]), (["Holm"], ["B-LOC"])]
    assert read(file, CONLL, tag_column=1)[0][1] == ["NN", "NN", "VB"]
    assert read(file, CONLL.replace("\t", "  ")) == read(file, CONLL)


def test_conll_u_is_read_by_name_without_comments_and_lines_that_are_no_words(tmp_path: Path) -> None:
    rest = "\t_" * 5
    lines = [
        "# text = don't",
        f"1-2\tdon't\t_\t_\t_{rest}",
        f"1\tdo\tdo\tAUX\tX1{rest}",
        f"2\tn't\tnot\tPART\tX2{rest}",
        f"2.1\te\te\tNOUN\tX3{rest}",
    ]
    text = "\n".join(lines) + "\n\n"
    assert read(tmp_path / "a.conllu", text) == [(["do", "n't"], ["AUX", "PART"])]
    assert read(tmp_path / "a.conllu", text, tag_column="XPOS") == [(["do", "n't"], ["X1", "X2"])]


def test_a_token_may_begin_with_the_sign_of_comments(tmp_path: Path) -> None:
    assert read(tmp_path / "a.conll", "#harbour\tO\nHolm\tB-LOC\n") == [(["#harbour", "Holm"], ["O", "B-LOC"])]


def test_json_lines_and_tables_hold_the_same_sentences(tmp_path: Path) -> None:
    wanted = [(["Ada", "sails"], ["B-PER", "O"]), (["Holm"], ["B-LOC"])]
    rows = [{"tokens": tokens, "tags": tags} for tokens, tags in wanted]
    assert read(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows))) == wanted
    assert read(tmp_path / "a.csv", "tokens,tags\nAda sails,B-PER O\nHolm,B-LOC\n") == wanted
    assert read(tmp_path / "b.csv", "sentence_id,word,tag\n1,Ada,B-PER\n,sails,O\n2,Holm,B-LOC\n") == wanted


def test_a_folder_says_the_split_by_the_names_of_its_files(tmp_path: Path) -> None:
    for part in ("train", "dev", "test"):
        (tmp_path / f"{part}.conll").write_text(CONLL)
    table, _ = find_sentences("own", tmp_path, TagColumns(), "raise")
    assert table["split"].tolist() == ["val"] * 2 + ["test"] * 2 + ["train"] * 2
    assert table["id"].iloc[0].startswith("dev.conll:1")


# What is refused


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.conll", "Ada\tB-PER\nsails\n", r"a\.conll, line 2: there are 1 column\(s\), but 2 on the lines before"),
        ("a.conll", "Ada\tB-PER\nsails\t\n", r"a\.conll, line 2: the tag is empty"),
        ("a.conll", "Ada\nsails\n", r"1 column\(s\), so that token and tag are in the same"),
        ("a.conll", "", r"a\.conll is empty"),
        ("a.conll", "\n\n", r"a\.conll holds no sentence"),
        ("a.csv", "tokens,tags\nAda sails,B-PER\n", r"a\.csv, line 2: there are 2 tokens, but 1 tags"),
        ("a.jsonl", '{"tokens": ["Ada"], "tags": []}', r"a\.jsonl, line 1: there are 1 tokens, but 0 tags"),
        ("a.jsonl", '{"tokens": ["Ada"]}', r"a\.jsonl, line 1 has none of tags.*data\.prepare\.tag_column"),
        ("a.jsonl", "{", r"a\.jsonl, line 1 is not JSON"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path / name, text)


def test_a_column_that_is_missing_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.prepare\.tag_column=7: .* has 3 columns.*from 0 to 2"):
        read(tmp_path / "a.conll", CONLL, tag_column=7)
    with pytest.raises(ValueError, match=r"tag_column=NER: .* which have no names"):
        read(tmp_path / "a.conll", CONLL, tag_column="NER")


def test_broken_sentences_can_be_left_out_and_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_text("Ada\tB-PER\nsails\n\nHolm\tB-LOC\n")
    table, remarks = find_sentences("own", file, TagColumns(), "skip")
    assert table["tokens"].tolist() == [["Holm"]]
    assert remarks == [f"left out, since there are 1 column(s), but 2 on the lines before: 1 (first {file}, line 2)"]


# The named sets


def test_rows_of_the_same_chain_are_one_whose_masks_are_joined(tmp_path: Path) -> None:
    head = "input,dssp3,dssp8,disorder,cb513_mask"
    rows = ["GVT,CEH,SEG,1 1 1,1.0 0.0 0.0", "AL,HH,HH,1 1,1.0 1.0", "GVT,CEH,SEG,1 1 1,0.0 0.0 1.0"]
    (tmp_path / "CB513.csv").write_text("\n".join([head, *rows]) + "\n")
    table, _ = find_sentences("protein", tmp_path, TagColumns(tag_column="dssp8"), "raise")
    assert table["tokens"].tolist() == [["G", "V", "T"], ["A", "L"]]
    assert table["tags"].tolist() == [["S", "", "G"], ["H", "H"]]
    with pytest.raises(ValueError, match=r"tag_column=dssp9 .* choose dssp8 \(eight states\) or dssp3"):
        find_sentences("protein", tmp_path, TagColumns(tag_column="dssp9"), "raise")


def test_characters_of_weibo_lose_the_digit_of_their_place(tmp_path: Path) -> None:
    for part in ("train", "dev", "test"):
        (tmp_path / f"weiboNER_2nd_conll.{part}").write_text("科0\tB-X.NAM\n技1\tO\n10\tO\n")
    table, _ = find_sentences("weibo_ner", tmp_path, TagColumns(), "raise")
    assert table["tokens"].iloc[0] == ["科", "技", "1"] and table["split"].tolist() == ["train", "val", "test"]


def test_commands_of_snips_are_split_at_runs_of_blanks(tmp_path: Path) -> None:
    for part in ("train", "valid", "test"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "seq.in").write_text("play  a song \n")
        (tmp_path / part / "seq.out").write_text("O O  B-music_item\n")
        (tmp_path / part / "label").write_text("PlayMusic\n")
    table, _ = find_sentences("snips", tmp_path, TagColumns(), "raise")
    assert table["tokens"].iloc[1] == ["play", "a", "song"] and table["tags"].iloc[1] == ["O", "O", "B-music_item"]
    assert table["intent"].tolist() == ["", "", ""]  # not asked for
    table, _ = find_sentences("snips", tmp_path, TagColumns(), "raise", with_intent=True)
    assert table["intent"].tolist() == ["PlayMusic", "PlayMusic", "PlayMusic"]


# Intents


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.conll", "# intent = go\nAda\tO\nsails\tO\n\n# id = 7\n# intent = stay at home\nHolm\tO\n"),
        (
            "a.jsonl",
            '{"tokens": ["Ada", "sails"], "tags": ["O", "O"], "intent": "go"}\n'
            + '{"tokens": ["Holm"], "tags": ["O"], "intent": "stay at home"}\n',
        ),
        ("a.csv", "tokens,tags,intent\nAda sails,O O,go\nHolm,O,stay at home\n"),
        ("b.csv", "sentence_id,token,tag,intent\n1,Ada,O,go\n1,sails,O,go\n2,Holm,O,stay at home\n"),
    ],
)
def test_each_form_of_own_files_may_say_intents(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    table, _ = find_sentences("own", tmp_path / name, TagColumns(), "raise", with_intent=True)
    assert table["tokens"].tolist() == [["Ada", "sails"], ["Holm"]]
    assert table["intent"].tolist() == ["go", "stay at home"]
    other = text.replace("intent", "goal")
    (tmp_path / name).write_text(other)
    table, _ = find_sentences("own", tmp_path / name, TagColumns(intent_column="goal"), "raise", with_intent=True)
    assert table["intent"].tolist() == ["go", "stay at home"]


def test_missing_intents_are_refused_where_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("Ada\tO\n\nHolm\tO\n")
    with pytest.raises(ValueError, match=r"no sentence of .* has an intent.*# intent = NAME"):
        find_sentences("own", tmp_path / "a.conll", TagColumns(), "raise", with_intent=True)
    (tmp_path / "b.conll").write_text("# intent = go\nAda\tO\n\nHolm\tO\n")
    with pytest.raises(ValueError, match=r"b.conll, line 4: the sentence has no intent, though others have one"):
        find_sentences("own", tmp_path / "b.conll", TagColumns(), "raise", with_intent=True)
    table, remarks = find_sentences("own", tmp_path / "b.conll", TagColumns(), "skip", with_intent=True)
    assert table["tokens"].tolist() == [["Ada"]] and "1" in remarks[0]
    with pytest.raises(ValueError, match="wnut17 has tags alone, of the named sets only snips has intents"):
        for name in ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"):
            (tmp_path / name).write_text("Ada\tO\n")
        find_sentences("wnut17", tmp_path, TagColumns(), "raise", with_intent=True)


def test_the_hash_of_sentences_sees_intents_only_where_they_are_read(tmp_path: Path) -> None:
    found = []
    for intent in ("go", "stay"):
        (tmp_path / "a.conll").write_text(f"# intent = {intent}\nAda\tO\n")
        tables = [find_sentences("own", tmp_path / "a.conll", TagColumns(), "raise", with_intent=each)[0] for each in (False, True)]
        found.append([hash_sentences(table) for table in tables])
    assert found[0][0] == found[1][0] and len({*found[0], *found[1]}) == 3
