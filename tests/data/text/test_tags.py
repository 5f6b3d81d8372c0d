"""Claims about tagged sentences as data: splits, words and characters, what is said of odd tags, and sentences of a person."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.data.bundled import through_json

from rnnlab.contracts import IGNORED_TARGET, UNKNOWN
from rnnlab.data.text.tags import TagData
from rnnlab.data.text.tags_reader import TagReader, shortened

Make = Callable[..., TagData]


@pytest.fixture
def make(make_data: Make) -> Make:
    return partial(make_data, "tags", loader__batch_size=4, loader__min_frequency=1)


def write(folder: Path, **parts: str) -> Path:
    """Write `word/tag` sentences, one a line, as a folder of splits."""
    folder.mkdir(exist_ok=True)
    for part, lines in parts.items():
        sentences = ("\n".join(pair.replace("/", "\t") for pair in line.split()) for line in lines.strip().splitlines())
        (folder / f"{part}.conll").write_text("\n\n".join(sentences) + "\n", encoding="utf-8")
    return folder


def set_up(module: TagData) -> TagData:
    module.setup()
    return module


PARTS = {"train": "Ada/B-P sails/O\nold/O Orvik/B-L calls/O\nAda/B-P waits/O", "val": "Ada/B-P calls/O", "test": "Bram/B-P sails/O now/O"}


def test_words_and_characters_of_test_alone_are_unknown(make: Make, tmp_path: Path) -> None:
    module = set_up(make(write(tmp_path / "own", **PARTS)))
    batch = module.collate(module.rows["test"], 0, is_training=False)
    assert batch.inputs[0, :, 0].tolist()[0] == UNKNOWN and batch.inputs[0, 1, 0] > UNKNOWN
    letters = [module.words.alphabet[number] for number in batch.inputs[0, 0, 1:5].tolist()]
    assert letters == ["<unk>", "r", "a", "<unk>"]  # training has neither B nor m
    assert module.notes(module.rows["test"])["is_new_word"][0] == [True, False, True]


def test_a_word_is_looked_up_in_lower_case_and_keeps_its_characters(make: Make, tmp_path: Path) -> None:
    parts = {**PARTS, "test": "SAILS/O sails/O"}
    module = set_up(make(write(tmp_path / "own", **parts)))
    words_T = module.collate(module.rows["test"], 0, is_training=False).inputs[0]
    assert words_T[0, 0] == words_T[1, 0] > UNKNOWN
    assert not torch.equal(words_T[0, 1:], words_T[1, 1:])


def test_tags_of_test_alone_are_named_and_stand_behind_those_of_training(make: Make, tmp_path: Path) -> None:
    module = set_up(make(write(tmp_path / "own", **{**PARTS, "test": "Heron/B-SHIP sails/O"})))
    assert module.label_names[-1] == "B-SHIP" and module.class_counts[-1] == 0
    assert any("tags that training lacks" in text and "B-SHIP" in text for _, text in module.describe())
    assert module.make_spec().target_size == 4


def test_entities_without_a_beginning_are_counted_and_begun(make: Make, tmp_path: Path) -> None:
    module = set_up(make(write(tmp_path / "own", **{**PARTS, "train": "the/O Orvik/I-L light/I-L\nAda/B-P calls/O"})))
    assert ("look at", "1 entities that begin with I- or E-, read as if with B-") in module.describe()
    assert ["O", "B-L", "I-L"] in module.targets(module.rows["train"])


def test_bioes_is_learned_where_asked_and_compares_with_bio(make: Make, tmp_path: Path) -> None:
    own = write(tmp_path / "own", **{**PARTS, "test": "Ada/B-P Orvik/I-P sails/O"})
    bio, bioes = set_up(make(own)), set_up(make(own, prepare__written_as="bioes"))
    assert bioes.make_spec().scheme == "bioes" and "E-P" in bioes.label_names
    assert bio.hashes["test_hash"] == bioes.hashes["test_hash"]
    with pytest.raises(ValueError, match=r"the tag 'X' is not one of bio"):
        bad = write(tmp_path / "bad", **{**PARTS, "val": "Ada/X calls/O", "train": "Ada/X sails/O"})
        set_up(make(bad, prepare__scheme="bio"))


def test_bioes_of_plain_tags_is_refused(make: Make, tmp_path: Path) -> None:
    own = write(tmp_path / "own", train="a/X b/Y", val="a/X", test="b/Y")
    with pytest.raises(ValueError, match=r"written_as=bioes is for entities, but the tags .* mark none"):
        set_up(make(own, prepare__written_as="bioes"))


def test_long_sentences_are_cut_in_training_alone_and_counted(make: Make, tmp_path: Path) -> None:
    module = set_up(make(write(tmp_path / "own", **PARTS), loader__max_tokens=2))
    assert module.collate(module.rows["train"], 0, is_training=True).input_lengths.max() == 2
    assert module.collate(module.rows["test"], 0, is_training=False).input_lengths.max() == 3
    assert any("1 training sentences are longer than data.loader.max_tokens=2" in text for _, text in module.describe())


def test_word_dropout_hides_words_and_not_their_characters(make: Make, tmp_path: Path) -> None:
    module = set_up(make(write(tmp_path / "own", **PARTS), loader__word_dropout=0.999))
    rows = module.rows["train"]
    plain, dropped = (module.collate(rows, 0, is_training=is_training).inputs for is_training in (False, True))
    assert (dropped[..., 0][plain[..., 0] != 0] == UNKNOWN).all()
    assert torch.equal(dropped[..., 1:], plain[..., 1:])


def test_repeats_of_test_sentences_are_left_out_where_asked(make: Make, tmp_path: Path) -> None:
    own = write(tmp_path / "own", **{**PARTS, "test": "Ada/B-P sails/O"})
    assert len(set_up(make(own)).rows["train"]) == 3
    assert len(set_up(make(own, loader__drop_duplicates=True)).rows["train"]) == 2


def test_a_reader_gives_what_the_data_module_gives(make: Make) -> None:
    module = set_up(make("sample"))
    rows = module.rows["test"][:3]
    reader = through_json(module.reader())
    assert isinstance(reader, TagReader)
    _, batch = reader.read([" ".join(module._tokens(row)) for row in rows])
    assert torch.equal(batch.inputs, module.collate(rows, 0, is_training=False).inputs)
    assert (batch.targets == IGNORED_TARGET).all()


def test_a_reader_takes_conll_without_tags(make: Make, tmp_path: Path) -> None:
    reader = set_up(make("sample")).reader()
    (tmp_path / "a.conll").write_text("Ada\nsails\n\nHolm\n")
    assert reader.collect([str(tmp_path / "a.conll")], None) == ["Ada sails", "Holm"]
    (tmp_path / "a.txt").write_text("Ada sails\n\nHolm\n")
    assert reader.collect([str(tmp_path / "a.txt")], None) == ["Ada sails", "", "Holm"]


def test_scoring_refuses_a_tag_that_the_run_never_learned(make: Make, tmp_path: Path) -> None:
    reader = set_up(make(write(tmp_path / "own", **PARTS))).reader()
    (tmp_path / "new.conll").write_text("Heron\tB-SHIP\n")
    with pytest.raises(ValueError, match=r"has the tag 'B-SHIP' .* which the run never learned"):
        make(tmp_path / "new.conll").setup_as_test(reader)


def test_characters_are_tokens_where_all_tokens_are_single(make: Make, tmp_path: Path) -> None:
    own = write(tmp_path / "own", train="科/O 技/B-X", val="技/B-X", test="科/O")
    reader = set_up(make(own, loader__max_characters=0)).reader()
    assert reader.is_by_character and reader.tokens_of("科技") == ["科", "技"]
    assert reader.read(["科技"])[1].inputs.shape == (1, 2)


def test_long_words_keep_both_ends() -> None:
    assert shortened("abcdefg", 4) == "abfg" and shortened("abcdefg", 3) == "abg" and shortened("ab", 3) == "ab"


def test_batches_hold_every_sentence_once(make: Make) -> None:
    module = set_up(make("sample"))
    rows = np.concatenate([batch.example_ids.numpy() for batch in module.train_dataloader()])
    assert sorted(rows) == sorted(module.rows["train"])


INTENTS = {
    "train": "# intent = go\nAda\tB-P\nsails\tO\n\n# intent = stay\nAda\tB-P\nwaits\tO\n\n# intent = go\nold\tO\n",
    "val": "# intent = go\nAda\tB-P\n",
    "test": "# intent = stay\nwaits\tO\n\n# intent = anchor\nAda\tB-P\nnow\tO\n",
}


def write_texts(folder: Path, parts: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for part, text in parts.items():
        (folder / f"{part}.conll").write_text(text)
    return folder


def test_intents_are_numbered_by_training_and_stand_in_batches_and_targets(make: Make, tmp_path: Path) -> None:
    module = set_up(make(write_texts(tmp_path / "own", INTENTS), with_intent=True))
    spec = module.make_spec()
    assert (spec.intents, spec.intent_counts) == (("go", "stay", "anchor"), (2, 1, 0))
    batch = module.collate(module.rows["test"], 0, is_training=False)
    assert batch.intents is not None and batch.intents.tolist() == [1, 2]
    assert module.targets(module.rows["test"]) == [[["O"], "stay"], [["B-P", "O"], "anchor"]]
    assert any("intents that training lacks" in text and "anchor" in text for _, text in module.describe())
    plain = set_up(make(tmp_path / "own"))
    assert plain.make_spec().intents == () and plain.collate(plain.rows["test"], 0, is_training=False).intents is None
    assert plain.hashes["test_hash"] != module.hashes["test_hash"]


def test_one_intent_alone_and_one_never_learned_are_refused(make: Make, tmp_path: Path) -> None:
    same = {part: text.replace("stay", "go").replace("anchor", "go") for part, text in INTENTS.items()}
    with pytest.raises(ValueError, match="all sentences have the intent 'go'"):
        set_up(make(write_texts(tmp_path / "same", same), with_intent=True))
    reader = through_json(set_up(make(write_texts(tmp_path / "own", INTENTS), with_intent=True)).reader())
    (tmp_path / "new.conll").write_text("# intent = dive\nAda\tB-P\n")
    with pytest.raises(ValueError, match=r"has the intent 'dive', which the run never learned; it knows: go, stay, anchor"):
        make(tmp_path / "new.conll", with_intent=True).setup_as_test(reader)
    (tmp_path / "new.conll").write_text("# intent = stay\nAda\tB-P\n")
    scored = make(tmp_path / "new.conll", with_intent=True)
    scored.setup_as_test(reader)
    batch = scored.collate(scored.rows["test"], 0, is_training=False)
    assert batch.intents is not None and batch.intents.tolist() == [1]
