"""`data=music`: what is asked of a piece, how pieces are split and varied, and that the collections are those that were published."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from rnnlab.data.base import SequenceDataModule
from rnnlab.data.music.music import MusicData, MusicReader, MusicSplit, next_keys, split_pieces
from rnnlab.data.music.piano_rolls import write_roll

Make = Callable[..., SequenceDataModule]
KEYS = ("c", "d", "e", "f", "g")
needs_mirror = pytest.mark.skipif(
    "RNNLAB_MIRROR" not in os.environ, reason="needs the collections: set RNNLAB_MIRROR to a folder with music/"
)


def draw(num_steps: int, seed: int) -> np.ndarray:
    """Draw a piece that leaves out the outer keys."""
    roll = np.random.default_rng(seed).integers(0, 2, (num_steps, len(KEYS))).astype(np.uint8)
    roll[:, [0, 4]] = 0
    return roll


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Hold nine pieces of 4 to 12 steps without a split; one uses the outer keys."""
    found = tmp_path / "pieces"
    found.mkdir()
    for number in range(9):
        roll = draw(4 + number, number)
        if number == 2:
            roll[1, [0, 4]] = 1
        write_roll(roll, KEYS, found / f"p{number}.csv")
    return found


def opened(module: SequenceDataModule) -> MusicData:
    module.setup()
    assert isinstance(module, MusicData)
    return module


def test_the_keys_of_every_step_but_the_first_are_asked_for() -> None:
    pieces = [np.array([[1, 0], [0, 1], [1, 1]], dtype=np.uint8), np.array([[0, 1], [1, 0]], dtype=np.uint8)]
    batch = next_keys(pieces, np.array([4, 7]))
    assert batch.input_lengths.tolist() == batch.target_lengths.tolist() == [2, 1]
    assert batch.inputs.tolist() == [[[1, 0], [0, 1]], [[0, 1], [0, 0]]]
    assert batch.targets.tolist() == [[[0, 1], [1, 1]], [[1, 0], [0, 0]]]
    assert batch.example_ids.tolist() == [4, 7]


def test_a_raw_piece_is_read_whole_so_that_the_last_answer_is_to_what_follows() -> None:
    names, batch = MusicReader(("c", "e")).read(["c,e\n1,0\n0,1\n1,1\n", "c,e\n0,1\n"])
    assert names == ["input 0", "input 1"]
    assert (batch.input_lengths.tolist(), batch.target_lengths.tolist()) == ([3, 1], [2, 0])
    assert batch.inputs.tolist() == [[[1, 0], [0, 1], [1, 1]], [[0, 1], [0, 0], [0, 0]]]
    assert batch.targets[0, :2].tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("c,e,g\n1,0,1\n", r"^input 0 has 3 keys, the run's data have 2: a piano roll has"),
        ("c,f\n1,0\n", r"^input 0 names key 1 'f', the run's data have 'e': give all pieces the same keys$"),
    ],
)
def test_a_raw_piece_of_other_keys_is_refused(content: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MusicReader(("c", "e")).read([content])


# Splits

GIVEN = np.array(["train", "", "val", "test", "train"])


def test_the_pieces_of_a_matlab_file_are_read_one_by_one(tmp_path: Path) -> None:
    pieces = [draw(4 + number, number) for number in range(4)]
    cells = {"traindata": pieces[:2], "validdata": pieces[2:3], "testdata": pieces[3:]}
    packed = {name: np.array([*each, None], dtype=object)[:-1] for name, each in cells.items()}
    savemat(tmp_path / "mine.mat", packed)
    reader = MusicReader(KEYS)
    for given in (tmp_path, tmp_path / "mine.mat"):
        inputs = reader.collect([str(given)], None)
        names, batch = reader.read(inputs)
        assert names == [f"{tmp_path}/mine.mat:{cell}" for cell in ("train-0001", "train-0002", "val-0001", "test-0001")]
        assert batch.input_lengths.tolist() == [4, 5, 6, 7] and np.array_equal(batch.inputs[3, :7].numpy(), pieces[3])


def test_pieces_are_split_as_the_source_says_and_those_it_does_not_name_train() -> None:
    rows, words = split_pieces(GIVEN, "auto", 0, 0.1)
    assert {split: found.tolist() for split, found in rows.items()} == {"train": [0, 1, 4], "val": [2], "test": [3]}
    assert words == "official (train, val and test as given)"


def test_validation_is_carved_from_training_where_the_source_names_none() -> None:
    rows, words = split_pieces(np.array(["train"] * 9 + ["test"]), "auto", 0, 0.2)
    assert rows["test"].tolist() == [9] and (len(rows["train"]), len(rows["val"])) == (7, 2)
    assert words.startswith("official test; validation at random")


def test_random_pieces_depend_on_the_split_seed_alone() -> None:
    first, second, other = (split_pieces(np.array([""] * 20), "auto", seed, 0.1)[0] for seed in (0, 0, 1))
    assert all(np.array_equal(first[split], second[split]) for split in first)
    assert not np.array_equal(first["test"], other["test"])
    assert [len(first[split]) for split in ("train", "val", "test")] == [16, 2, 2]
    asked = split_pieces(GIVEN, "random", 0, 0.1)[0]
    assert [len(asked[split]) for split in ("train", "val", "test")] == [3, 1, 1]


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        (["", ""], "auto", r"^2 piece\(s\) are too few: one each is needed for training, validation and test, three in all$"),
        ([""], "auto", r"^1 piece\(s\) are too few"),
        (["train"] * 3, "official", r"^data.split=official, but the source names no test pieces: put some below test/"),
        (["train", "val", "train"], "auto", r"^the source names validation pieces but no test pieces: put some below test/"),
    ],
)
def test_what_cannot_be_split_is_told_what_would(given: list[str], kind: MusicSplit, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_pieces(np.array(given), kind, 0, 0.1)


def test_training_pieces_that_are_tested_are_left_out_unless_asked_for(folder: Path, make_data: Make) -> None:
    for split in ("train", "val", "test"):
        (folder / split).mkdir()
        write_roll(draw(6, 3 if split == "val" else 99), KEYS, folder / split / "x.csv")
    kept, all_of_them = (opened(make_data("music", folder, loader__drop_duplicates=drops)) for drops in (True, False))
    names = [set(module.examples["id"].iloc[module.rows["train"]]) for module in (kept, all_of_them)]
    assert names[1] - names[0] == {"train/x"} and "p3" in names[0]
    odd = dict(kept.describe())["odd"]
    assert "1 training pieces left out" in odd and "2 pieces that are the same, note for note: test/x, train/x" in odd


# Batches


def test_transposed_pieces_stay_within_the_keys_of_training_and_keep_their_intervals(folder: Path, make_data: Make) -> None:
    module = opened(make_data("music", folder, loader__transpose=3, split_seed=1))
    assert "p2" in set(module.examples["id"].iloc[module.rows["train"]]), "the piece with the outer keys trains, with this split_seed"
    shifts: dict[int, set[int]] = {}
    for epoch in range(30):
        rows = module.rows["train"]
        plain, varied = module.collate(rows, epoch, is_training=False), module.collate(rows, epoch, is_training=True)
        assert torch.equal(plain.input_lengths, varied.input_lengths)
        for place, row in enumerate(rows.tolist()):
            one, other = plain.targets[place], varied.targets[place]
            found = [shift for shift in range(-2, 3) if torch.equal(one.roll(shift, 1), other)]
            assert torch.equal(plain.inputs[place].roll(found[0], 1), varied.inputs[place])
            shifts.setdefault(row, set()).add(found[0])
    for row, found_shifts in shifts.items():
        assert found_shifts == ({0} if module.examples["id"].iloc[row] == "p2" else {-1, 0, 1})


def test_validation_and_test_are_never_varied(folder: Path, make_data: Make) -> None:
    module = opened(make_data("music", folder, loader__transpose=3, loader__max_steps=2))
    for split in ("val", "test"):
        lengths = torch.cat([batch.input_lengths for batch in module.plain_dataloader(split)])
        assert sorted(lengths.tolist()) == sorted(module.lengths[module.rows[split]].tolist())


def test_a_long_training_piece_gives_another_stretch_each_epoch(folder: Path, make_data: Make) -> None:
    module = opened(make_data("music", folder, loader__max_steps=3, loader__drop_duplicates=False))
    row = module.rows["train"][module.lengths[module.rows["train"]].argmax()]
    piece = torch.from_numpy(module.data.values[module.data.offsets[row] : module.data.offsets[row + 1]].astype(np.float32))
    starts = set()
    for epoch in range(60):
        batch = module.collate(np.array([row]), epoch, is_training=True)
        assert batch.input_lengths.tolist() == [3]
        stretch = torch.cat([batch.inputs[0, :1], batch.targets[0]])
        starts.add(next(start for start in range(len(piece)) if torch.equal(piece[start : start + 4], stretch)))
    assert starts == set(range(len(piece) - 3))
    assert max(int(batch.input_lengths.max()) for batch in module.train_dataloader()) == 3


def test_other_pieces_are_tested_with_the_keys_of_the_run_or_refused(folder: Path, make_data: Make, tmp_path: Path) -> None:
    reader = opened(make_data("music", folder)).reader()
    one = tmp_path / "one.csv"
    write_roll(draw(5, 50), KEYS, one)
    module = make_data("music", one)
    module.setup_as_test(reader)
    assert [len(module.rows[split]) for split in ("train", "val", "test")] == [0, 0, 1]
    write_roll(draw(5, 50), tuple("cdefh"), one)
    with pytest.raises(ValueError, match=r"one.csv names key 4 'h', the run's data have 'g': give all pieces the same keys"):
        make_data("music", one).setup_as_test(reader)


# The public collections


@pytest.mark.slow
@needs_mirror
@pytest.mark.parametrize(
    ("name", "pieces", "steps"),
    [
        ("jsb", [229, 76, 77], [13_807, 4_602, 4_725]),
        ("piano_midi", [87, 12, 25], [75_911, 8_540, 19_036]),
    ],
)
def test_a_collection_has_the_pieces_and_splits_that_were_published(
    name: str, pieces: list[int], steps: list[int], make_data: Make
) -> None:
    module = opened(make_data("music", name, name=name, mirror=os.environ["RNNLAB_MIRROR"]))
    found = [module.rows[split] for split in ("train", "val", "test")]
    assert [len(rows) for rows in found] == pieces
    assert [int((module.lengths[rows] + 1).sum()) for rows in found] == steps
    assert (module.keys[0], module.keys[-1]) == ("A0", "C8")


@pytest.mark.slow
@needs_mirror
def test_jsb_is_already_in_c_so_that_c_and_g_are_a_third_more_frequent_than_any_other_pitch(make_data: Make) -> None:
    module = opened(make_data("music", "jsb", name="jsb", mirror=os.environ["RNNLAB_MIRROR"]))
    by_pitch: dict[str, int] = {}
    for key, count in zip(module.keys, module.num_sounding.tolist(), strict=True):
        by_pitch[key.rstrip("0123456789")] = by_pitch.get(key.rstrip("0123456789"), 0) + count
    ranked = sorted(by_pitch, key=lambda pitch: -by_pitch[pitch])
    assert set(ranked[:2]) == {"C", "G"} and by_pitch[ranked[1]] > 4 / 3 * by_pitch[ranked[2]]
