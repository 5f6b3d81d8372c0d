"""Claims about labelled sequences: how one's own files are read, what is refused, what is fitted, and how they are divided."""

import gzip
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from tests.data.bundled import through_json

from rnnlab.data.base import SPLITS
from rnnlab.data.series.sequences import SequencesData, SequencesReader
from rnnlab.data.series.ts_files import read_ts
from rnnlab.data.series.vectors import SEQUENCE_SUFFIXES

Make = Callable[..., SequencesData]
TS = "# a comment, with: colons\n@problemName x\n@timeStamps false\n@dimensions 2\n@classLabel true a b\n@data\n"


@pytest.fixture
def make(make_data: Make) -> Make:
    """Make a data module of few sequences a batch."""
    return partial(make_data, "sequences", loader__batch_size=4, val_fraction=0.25)


def set_up(module: SequencesData) -> SequencesData:
    module.setup()
    return module


def long_table(file: Path, header: str = "id,time,x,y,label", rows: list[str] | None = None, num: int = 12) -> Path:
    """Write a long table of sequences of 3 to 5 steps, two labels in turn, with further rows behind it."""
    lines = [header]
    for number in range(num):
        lines += [f"s{number},{step},{number + step},{number - step},{'ab'[number % 2]}" for step in range(3 + number % 3)]
    file.write_text("\n".join([*lines, *(rows or [])]) + "\n", encoding="utf-8")
    return file


def values_of(module: SequencesData, name: str) -> np.ndarray:
    row = module.examples["id"].tolist().index(name)
    return np.asarray(module.data.values[module.data.offsets[row] : module.data.offsets[row + 1]])


# One's own files


def test_a_long_table_gives_a_sequence_an_id_in_the_order_of_its_times(make: Make, tmp_path: Path) -> None:
    rows = ["late,2,30,0,a", "late,0,10,0,a", "late,1,20,0,a"]
    module = set_up(make(long_table(tmp_path / "t.csv", rows=rows)))
    assert values_of(module, "late")[:, 0].tolist() == [10, 20, 30]
    assert values_of(module, "s4").tolist() == [[4, 4], [5, 3], [6, 2], [7, 1]]
    assert module.names == ("x", "y") and module.label_names == ("a", "b") and len(module.examples) == 13
    assert sorted(np.concatenate([module.rows[split] for split in SPLITS]).tolist()) == list(range(13))


def test_times_may_be_dates_and_columns_of_words_are_passed_over_and_named(make: Make, tmp_path: Path) -> None:
    lines = ["trial,timestamp,x,remark,class"]
    for number in range(9):
        lines += [f"t{number},2024-01-0{day},{day * number},none so far,{'ab'[number % 2]}" for day in (3, 1, 2)]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    module = set_up(make(tmp_path / "t.csv"))
    assert values_of(module, "t2")[:, 0].tolist() == [2, 4, 6]
    assert module.remarks == ["columns that are no numbers passed over: remark"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            ["odd,0,1,2,a", "odd,1,1,2,b"],
            r"sequence 'odd' \(line 50\): its rows have both 'a' and 'b' \(label column\)\. Mend .*on_broken=skip",
        ),
        (["odd,0,1,2,a", "odd,0,1,2,a"], r"sequence 'odd'.*two of its rows have the same time \(such as lines 50 and 51\)"),
        (["odd,0,1,,a"], r"sequence 'odd'.*a value is missing or no finite number in 1 of its 1 steps"),
        (["odd,0,1,2,"], r"sequence 'odd'.*it has no label"),
        (["odd,0,word,2,a"], r"line 50: 'x' holds 'word', which is no number"),
        ([",0,1,2,a"], r"line 50: 'id' holds '', which names no sequence: fill it in"),
        (["odd,0,1,2,a,9"], r"line 50: found 6 of 5 fields"),
    ],
)
def test_rows_that_contradict_each_other_are_refused_by_sequence_and_line(
    make: Make, tmp_path: Path, rows: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        set_up(make(long_table(tmp_path / "t.csv", rows=rows)))


def test_broken_sequences_are_left_out_and_named_where_that_is_asked_for(make: Make, tmp_path: Path) -> None:
    rows = ["odd,0,1,2,a", "odd,1,1,2,b", "gap,0,1,,a"]
    module = set_up(make(long_table(tmp_path / "t.csv", rows=rows), prepare__on_broken="skip"))
    assert len(module.examples) == 12 and not {"odd", "gap"} & set(module.examples["id"])
    assert [remark.partition(":")[0] for remark in module.remarks] == [
        "left out, since its rows have both 'a' and 'b' (label column)",
        "left out, since a value is missing or no finite number in 1 of its 1 steps",
    ]


def test_without_times_rows_are_in_order_and_a_sequence_must_stand_together(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    lines = [f"s{number},{step * number},{'ab'[number % 2]}" for number in range(9) for step in (2, 0, 1)]
    file.write_text("\n".join(["id,x,label", *lines]))
    assert values_of(set_up(make(file)), "s3")[:, 0].tolist() == [6, 0, 3]
    file.write_text("\n".join(["id,x,label", *lines, "s2,1,a"]))
    with pytest.raises(ValueError, match=r"line 29: 'id' holds 's2', which stood further above.*give a column of times, or each sequence"):
        set_up(make(file))


def test_a_folder_per_label_holds_tables_or_arrays_one_sequence_each(make: Make, tmp_path: Path) -> None:
    for label, sign in (("up", 1.0), ("down", -1.0)):
        (tmp_path / label).mkdir()
        for number in range(4):
            np.save(tmp_path / label / f"{number}.npy", sign * np.arange(2.0 * (3 + number)).reshape(-1, 2))
        (tmp_path / label / "9.csv").write_text(f"0.5,{sign}\n1.5,{sign}\n")
    module = set_up(make(tmp_path))
    assert module.label_names == ("down", "up") and module.names == ("0", "1") and len(module.examples) == 10
    assert values_of(module, "up/9.csv").tolist() == [[0.5, 1], [1.5, 1]] and values_of(module, "down/0.npy").tolist()[1] == [-2, -3]
    assert ".ts" in SEQUENCE_SUFFIXES


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("5.npy", np.ones((4, 3)), r"up.5\.npy: it has 3 features, most others 2\. Mend"),
        ("5.npy", np.zeros((0, 2)), r"up.5\.npy: it has no step"),
        ("5.npy", np.full((2, 2), np.inf), r"up.5\.npy: a value is missing or no finite number in 2 of its 2 steps"),
        ("5.npy", np.array(["a", "b"]), r"up.5\.npy holds <U1 of 1 dimension\(s\): wanted numbers"),
        ("5.csv", b"", r"up.5\.csv: it is empty"),
        ("5.npy", b"no array", r"up.5\.npy is no array of NumPy that can be read .*: write it with numpy\.save"),
    ],
)
def test_files_of_another_width_or_empty_ones_are_refused_by_name(
    make: Make, tmp_path: Path, name: str, content: np.ndarray | bytes, message: str
) -> None:
    for label in ("up", "down"):
        (tmp_path / label).mkdir()
        for number in range(4):
            np.save(tmp_path / label / f"{number}.npy", np.ones((5, 2)) * number)
    if isinstance(content, bytes):
        (tmp_path / "up" / name).write_bytes(content)
    else:
        np.save(tmp_path / "up" / name, content)
    with pytest.raises(ValueError, match=message):
        set_up(make(tmp_path))


def test_labels_that_are_numbers_are_asked_for_as_such(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("\n".join(["id,x,label", *(f"s{n},{n},{n / 7:.3f}" for n in range(30))]))
    with pytest.raises(ValueError, match=r"30 sequences have 30 different labels, which are no classes: .* set data\.target=number"):
        set_up(make(file))
    module = set_up(make(file, target="number"))
    batch = module.collate(module.rows["test"], 0, is_training=False)
    assert batch.targets[:, 0].tolist() == pytest.approx(module.numbers[module.rows["test"]].tolist()) and batch.reference is not None
    train = module.numbers[module.rows["train"]]
    assert batch.reference.offset[0].item() == pytest.approx(train.mean()) and batch.reference.scale[0].item() == pytest.approx(train.std())
    assert module.make_spec().target_kind == "real"
    file.write_text(file.read_text() + "\nodd,1,many\n")
    with pytest.raises(ValueError, match=r"sequence 'odd'.*its label 'many' is no finite number \(data\.target=number\)"):
        set_up(make(file, target="number"))


def test_an_empty_table_and_one_label_only_are_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("")
    with pytest.raises(ValueError, match=r"t\.csv holds nothing|t\.csv is empty"):
        set_up(make(tmp_path / "t.csv"))
    (tmp_path / "u.csv").write_text("id,x,label\na,1,one\nb,2,one\n")
    with pytest.raises(ValueError, match=r"all 2 sequences have the label 'one': classes need two at least"):
        set_up(make(tmp_path / "u.csv"))


# .ts files


def test_ts_files_are_split_by_their_names_and_may_be_packed(make: Make, tmp_path: Path) -> None:
    lines = [f"{number},{number + 1}:0.5,0.25:{'ab'[number % 2]}" for number in range(8)]
    (tmp_path / "x_TRAIN.ts").write_text(TS + "\n".join(lines))
    (tmp_path / "x_TEST.ts.gz").write_bytes(gzip.compress((TS + "7,8,9:1,2,3:b\n").encode()))
    module = set_up(make(tmp_path))
    assert module.split_used.startswith("official test; validation carved") and len(module.rows["test"]) == 1
    assert values_of(module, "x_TEST:7").tolist() == [[7, 1], [8, 2], [9, 3]] and module.is_ragged
    assert module.make_spec().class_counts == tuple(np.bincount(module.labels[module.rows["train"]]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@problemName x\n", r"has no line `@data`: a \.ts file begins with"),
        ("", r"x\.ts is empty \(0 bytes\)"),
        ("@problemName x\n1,2:a\n", r"line 2: '1,2:a' stands before the line `@data`"),
        ("@problemName x\n@data\n1:a\n", r"its header says neither @classLabel nor @targetLabel"),
        ("@classLabel perhaps\n@data\n1:a\n", r"line 1: @classlabel perhaps: wanted true or false"),
        ("@classLabel true\n@data\n1:a\n", r"line 1: @classLabel true names no class"),
        ("@dimensions many\n@classLabel true a b\n@data\n", r"line 1: @dimensions many is no number of channels"),
        ("@timeStamps true\n@classLabel true a b\n@data\n", r"line 1: sequences with @timeStamps true are not read"),
        (TS, r"has no sequence below its header"),
        (TS + "1,2:3,4:c\n", r"line 7: its label 'c' is none of those of the header: a, b"),
        (TS + "1,2:a\n", r"line 7 has 1 channel\(s\), but the header says @dimensions 2"),
        (TS + "1,2:3:a\n", r"line 7: its channels have 2, 1 steps"),
        (TS + "1,x:3,4:a\n", r"line 7: could not convert string to float: .*wanted numbers separated by commas"),
    ],
)
def test_a_broken_ts_file_is_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.ts").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_ts(tmp_path / "x.ts")


def test_the_kind_of_labels_of_a_ts_file_is_that_of_its_header(make: Make, tmp_path: Path) -> None:
    (tmp_path / "x.ts").write_text(TS.replace("@classLabel true a b", "@targetLabel true") + "1,2:3,4:0.5\n")
    with pytest.raises(ValueError, match=r"has labels of the kind number \(see its header\): set data\.target=number"):
        set_up(make(tmp_path / "x.ts"))


# What is fitted, and how it is divided


def test_normalisation_is_fitted_on_training_steps_alone(make: Make, tmp_path: Path) -> None:
    module = set_up(make(long_table(tmp_path / "t.csv", num=30)))
    steps = np.concatenate([values_of(module, name) for name in module.examples["id"].iloc[module.rows["train"]]])
    assert module.mean_F.tolist() == pytest.approx(steps.mean(0).tolist()) and module.std_F.tolist() == pytest.approx(steps.std(0).tolist())
    batch = module.collate(module.rows["test"], 0, is_training=False)
    name = module.examples["id"].iloc[module.rows["test"][0]]
    wanted = (values_of(module, name) - steps.mean(0)) / steps.std(0)
    assert torch.allclose(batch.inputs[0, : len(wanted)], torch.from_numpy(wanted).float(), atol=1e-5)


@pytest.mark.parametrize("how", ["training", "sequence", "none"])
def test_padding_changes_nothing_and_stays_zero(make: Make, tmp_path: Path, how: str) -> None:
    module = set_up(make(long_table(tmp_path / "t.csv"), loader__normalise=how, loader__jitter=0.3, loader__scaling=0.2))
    rows = np.arange(12)
    for is_training in (False, True):
        batch = module.collate(rows, 3, is_training)
        for place, length in enumerate(batch.input_lengths.tolist()):
            assert not batch.inputs[place, length:].any()
            if not is_training:
                alone = module.collate(rows[place : place + 1], 3, is_training)
                assert torch.allclose(alone.inputs[0], batch.inputs[place, :length], atol=1e-6)


def test_groups_stay_together_in_folds_and_each_is_tested_once(make: Make, tmp_path: Path) -> None:
    rows = [f"s{n},{t},{n + t},{'ab'[n % 2]},p{n // 4}" for n in range(48) for t in range(2)]
    (tmp_path / "t.csv").write_text("\n".join(["id,time,x,label,person", *rows]))
    tested = []
    for fold in range(4):
        module = set_up(make(tmp_path / "t.csv", split="kfold", num_folds=4, fold=fold))
        people = {split: set(module.examples["group"].iloc[module.rows[split]]) for split in SPLITS}
        assert not people["train"] & people["test"] and not people["val"] & (people["test"] | people["train"])
        tested += module.rows["test"].tolist()
        assert f"fold {fold} of 4 is test, fold {(fold + 1) % 4} validation; divided by whole groups" in module.split_used
    assert sorted(tested) == list(range(48))


def test_a_reader_gives_back_what_training_saw_from_tables_arrays_and_ts_files(make: Make, tmp_path: Path) -> None:
    module = set_up(make(long_table(tmp_path / "t.csv")))
    reader = through_json(module.reader())
    assert isinstance(reader, SequencesReader)
    wanted = module.collate(np.array([module.examples["id"].tolist().index("s4")]), 0, is_training=False).inputs[0]
    (tmp_path / "new.csv").write_text("time,y,x\n1,3,5\n0,4,4\n2,2,6\n3,1,7\n")  # no ids: one sequence; other order of rows and columns
    np.save(tmp_path / "new.npy", values_of(module, "s4"))
    (tmp_path / "new.ts").write_text("@classLabel false\n@data\n4,5,6,7:4,3,2,1\n")
    (tmp_path / "long.csv").write_text("id,time,x,y\nq,0,4,4\nq,1,5,3\nq,2,6,2\nq,3,7,1\nr,0,1,1\n")
    names, batch = reader.read([str(tmp_path / name) for name in ("new.csv", "new.npy", "new.ts", "long.csv")])
    assert names == ["new", "new", "new:3", "q", "r"]
    for row in range(4):
        assert torch.allclose(batch.inputs[row, :4], wanted, atol=1e-6)
    np.save(tmp_path / "wide.npy", np.ones((3, 5)))
    with pytest.raises(ValueError, match=r"wide\.npy: it has the features 0, 1, 2, 3, 4, but the run was trained on x, y: give the same"):
        reader.read([str(tmp_path / "wide.npy")])


def test_dates_that_may_be_read_in_two_ways_are_asked_for_and_read_as_told(make: Make, tmp_path: Path) -> None:
    days = ["01/02/2021", "02/01/2021", "03/01/2021"]  # with the day first: 1 February, 2 January, 3 January
    rows = [f"s{number},{day},{place},1,{'ab'[number % 2]}" for number in range(12) for place, day in enumerate(days)]
    file = tmp_path / "t.csv"
    file.write_text("id,time,x,y,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"set data\.day_first=false for the first, data\.day_first=true for the second"):
        set_up(make(file))
    for day_first, order in ((True, [1, 2, 0]), (False, [0, 1, 2])):
        module = set_up(make(file, day_first=day_first, data=tmp_path / str(day_first)))
        assert module.data.values[:3, 0].tolist() == order
        (_, batch) = module.reader().read([str(file)])
        assert np.argsort(np.argsort(batch.inputs[0, :, 0].numpy())).tolist() == order


@pytest.mark.parametrize(("name", "shape"), [("digits", (8, 8)), ("digit_pixels", (64, 1))])
def test_the_digits_of_scikit_learn_come_from_its_package_by_rows_or_by_pixels(make_data: Make, name: str, shape: tuple[int, int]) -> None:
    module = set_up(make_data("sequences", name, offline=True))
    images, digits = load_digits(return_X_y=True)
    assert len(module.examples) == len(images) == 1797 and set(module.data.lengths) == {shape[0]}
    for row in (0, 900, 1796):
        place = int(module.examples["id"].iloc[row]) - 1
        values = module.data.values[module.data.offsets[row] : module.data.offsets[row + 1]]
        assert np.array_equal(values, images[place].reshape(shape)) and module.examples["label"].iloc[row] == str(digits[place])


@pytest.mark.slow
@pytest.mark.skipif("RNNLAB_MIRROR" not in os.environ, reason="needs the archive's files: set RNNLAB_MIRROR")
@pytest.mark.parametrize(
    ("name", "sizes", "num_features", "lengths"),
    [
        ("japanese_vowels", (270, 370), 12, (7, 29)),
        ("basic_motions", (40, 40), 6, (100, 100)),
        ("acsf1", (100, 100), 1, (1460, 1460)),
        ("pickup_gesture", (50, 50), 1, (29, 361)),
        ("italy_power", (67, 1029), 1, (24, 24)),
        ("pendigits", (7494, 3498), 2, (8, 8)),
    ],
)
def test_known_sets_have_their_published_sizes(
    make_data: Make, name: str, sizes: tuple[int, int], num_features: int, lengths: tuple[int, int]
) -> None:
    module = set_up(make_data("sequences", name))
    found = [len(module.rows["train"]) + len(module.rows["val"]), len(module.rows["test"])]
    assert tuple(found) == sizes and len(module.names) == num_features
    assert (module.data.lengths.min(), module.data.lengths.max()) == lengths
