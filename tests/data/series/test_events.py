"""Claims about logs of events: what is read and refused, what is predicted after each step, how cases are split, and cases of a person."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tests.data.bundled import through_json

from rnnlab.contracts import IGNORED_TARGET, UNKNOWN
from rnnlab.data.series.events import END, EventData
from rnnlab.data.series.events_reader import EventReader
from rnnlab.tasks import NextEvent, Regularisation, make_task

Make = Callable[..., EventData]
HEADER = "id,event,time\n"


@pytest.fixture
def make(make_data: Make) -> Make:
    return partial(make_data, "events", loader__batch_size=4, val_fraction=0.25)


def rows_of(cases: dict[str, str], begin: int = 0) -> str:
    """Write cases, each a word of one-letter events, one hour after another; a case begins a day after the one before."""
    rows = [
        f"{case},{event},{pd.Timestamp('2026-01-01') + pd.Timedelta(days=begin + day, hours=hour):%Y-%m-%d %H:%M}"
        for day, (case, events) in enumerate(cases.items())
        for hour, event in enumerate(events)
    ]
    return "\n".join(rows) + "\n"


CASES = {f"00{number}": "abc" if number % 2 else "acb" for number in range(1, 9)}


def own(folder: Path, text: str | None = None, name: str = "log.csv") -> Path:
    (folder / name).write_text(HEADER + rows_of(CASES) if text is None else text, encoding="utf-8")
    return folder / name


def set_up(module: EventData) -> EventData:
    module.setup()
    return module


def told(module: EventData) -> str:
    return "\n".join(text for _, text in module.describe())


# What is predicted


def test_after_each_event_the_next_one_is_predicted_and_after_the_last_the_end(make: Make, tmp_path: Path) -> None:
    module = set_up(make(own(tmp_path)))
    batch = module.collate(np.array([0]), 0, is_training=False)
    words = module.vocabulary.words
    assert [words[number] for number in batch.inputs[0].tolist()] == ["a", "b", "c"]
    assert [words[number] for number in batch.targets[0].tolist()] == ["b", "c", END]
    assert END not in {words[number] for number in module.collate(np.arange(8), 0, is_training=False).inputs.flatten().tolist()}


@pytest.mark.parametrize("has_end_mark", [True, False])
def test_training_targets_are_counted(make: Make, tmp_path: Path, has_end_mark: bool) -> None:
    module = set_up(make(own(tmp_path), has_end_mark=has_end_mark))
    targets = module.collate(module.rows["train"], 0, is_training=False).targets.flatten()
    assert module.make_spec().class_counts == tuple(torch.bincount(targets[targets >= 0], minlength=len(module.vocabulary)).tolist())


def test_without_the_end_mark_the_last_event_is_not_read(make: Make, tmp_path: Path) -> None:
    module = set_up(make(own(tmp_path), has_end_mark=False))
    batch = module.collate(np.array([0]), 0, is_training=False)
    words = module.vocabulary.words
    assert END not in words
    assert [[words[number] for number in row[0].tolist()] for row in (batch.inputs, batch.targets)] == [["a", "b"], ["b", "c"]]


def test_ids_and_events_are_texts_and_keep_their_zeros(make: Make, tmp_path: Path) -> None:
    module = set_up(make(own(tmp_path, HEADER + rows_of(CASES).replace(",a,", ",007,").replace(",b,", ",7,"))))
    assert module.examples["id"].tolist() == list(CASES)
    assert {"007", "7"} <= set(module.types)


def test_long_training_cases_are_read_in_stretches_and_others_whole(make: Make, tmp_path: Path) -> None:
    module = set_up(make(own(tmp_path, HEADER + rows_of({str(number): "abcdefgh" for number in range(8)})), loader__max_steps=3))
    train = module.rows["train"]
    seen = {tuple(row) for epoch in range(20) for row in module.collate(train, epoch, is_training=True).inputs.tolist()}
    assert len(seen) == 6 and all(len(row) == 3 for row in seen)
    assert module.collate(module.rows["test"], 0, is_training=False).input_lengths.tolist() == [8, 8]
    batch = module.collate(train, 3, is_training=True)
    assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])


def test_an_event_that_training_lacks_is_told_and_missed(make: Make, tmp_path: Path) -> None:
    module = set_up(make(own(tmp_path, HEADER + rows_of({**CASES, "009": "azb"}))))
    assert "1 of 6 test events are unknown to training and count as missed: z" in told(module)
    row = module.rows["test"][-1]
    assert module.collate(np.array([row]), 0, is_training=False).targets[0].tolist()[0] == UNKNOWN


# What is wrong with a log


def test_rows_in_any_order_are_put_in_the_order_of_their_times_and_counted(make: Make, tmp_path: Path) -> None:
    lines = rows_of(CASES).splitlines()
    module = set_up(make(own(tmp_path, HEADER + "\n".join([lines[2], lines[0], lines[1], *lines[3:]]) + "\n")))
    ordered = set_up(make(own(tmp_path, name="ordered.csv")))
    assert module.targets(np.arange(8)) == ordered.targets(np.arange(8))
    assert "1 cases whose rows are not in the order of their times, put in that order" in told(module)
    assert "in that order" not in told(ordered)


def test_events_at_one_time_keep_the_order_of_the_file_and_are_counted(make: Make, tmp_path: Path) -> None:
    text = rows_of(CASES).replace("002,c,2026-01-02 01:00", "002,c,2026-01-02 00:00")
    module = set_up(make(own(tmp_path, HEADER + text)))
    assert module.targets(np.array([1])) == [["c", "b", END]]
    assert "1 events at the time of another one of their case, kept in the order of the file" in told(module)


def test_repeated_rows_are_counted_and_left_out_where_asked(make: Make, tmp_path: Path) -> None:
    text = HEADER + rows_of(CASES) + "001,a,2026-01-01 00:00\n"
    kept, without = set_up(make(own(tmp_path, text))), set_up(make(own(tmp_path, text), prepare__drops_repeats=True))
    assert (kept.targets(np.array([0])), without.targets(np.array([0]))) == ([["a", "b", "c", END]], [["b", "c", END]])
    assert "1 rows that repeat event and time of another row of their case" in told(kept) and "left out" in told(without)


def test_cases_of_one_event_are_counted_and_never_lost_in_silence(make: Make, tmp_path: Path) -> None:
    text = HEADER + rows_of({**CASES, "009": "a", "010": "b"}, begin=-9)
    with_end, without = set_up(make(own(tmp_path, text))), set_up(make(own(tmp_path, text), has_end_mark=False))
    assert sum(len(rows) for rows in with_end.rows.values()) == 10 and with_end.targets(np.array([8])) == [[END]]
    assert sum(len(rows) for rows in without.rows.values()) == 8
    assert "cases of one event: 2, their end alone is predicted" in told(with_end)
    assert "cases of one event: 2, left out, since data.has_end_mark=false" in told(without)


def test_where_every_case_has_one_event_the_column_of_cases_is_doubted(make: Make, tmp_path: Path) -> None:
    text = HEADER + rows_of({str(number): "a" for number in range(8)})
    with pytest.raises(ValueError, match=r"no case has a second event.*data.prepare.id_column"):
        set_up(make(own(tmp_path, text), has_end_mark=False))


@pytest.mark.parametrize(
    ("text", "changed", "message"),
    [
        (HEADER, {}, "has a header but no rows"),
        ("", {}, r"is empty \(0 bytes\)"),
        ("id,evnt,time\n1,a,1\n", {}, r"lacks a column 'event'.*Did you mean 'evnt'\?.*data.prepare.event_column=NAME"),
        (HEADER + "1,a,1\n", {"prepare__event_column": "step"}, r"lacks a column 'step'"),
        ("user_id,session_id,event,time\n1,2,a,1\n", {}, r"several columns.*user_id.*session_id.*data.prepare.id_column"),
        (HEADER + "1,a,2026-01-01\n1,b,\n", {}, r"line 3: 'time' holds ''"),
        (HEADER + "1,a,3\n1,b,x\n", {}, r"line 3|line 2"),
        (HEADER + ",a,3\n", {}, r"line 2: 'id' holds '', which names no case"),
        (HEADER + "1,a,1\n1,,2\n2,a,3\n", {}, r"line 2, case '1': a row of it names no event.*on_broken=skip"),
        ("id,event,time,user\n1,a,1,x\n1,b,2,y\n2,a,3,x\n", {}, r"case '1': its rows have both 'x' and 'y' \(group"),
        ("id,event,time,split\n1,a,1,train\n1,b,2,test\n2,a,3,train\n", {}, r"case '1': its rows have both 'train' and 'test' \(split"),
        ("id,event,time,split\n1,a,1,tain\n2,a,3,train\n", {}, r"its split 'tain' is not one of train, val, test"),
        (HEADER + "1,<end>,1\n", {}, r"an event called '<end>', which is a sign of ours: rename it"),
        (HEADER + "1,a,03/04/2021\n", {}, r"data.day_first=false"),
        (HEADER + "1,a,1\n2,b,2\n", {}, r"2 case\(s\) are too few for data.split=time"),
        ("id,event\n1,a\n2,b\n3,c\n", {"split": "time"}, r"data.split=time needs the times of all events.*time_column.*random"),
        (HEADER + "1,a,1\n2,b,2\n3,b,2\n", {"split": "random", "drops_overlaps": True}, r"drops_overlaps=true is for data.split=time"),
        (HEADER + "1,a,1\n2,b,2\n3,b,2\n", {"split": "kfold", "fold": 5}, r"data.fold=5.*folds are 0 to 4"),
        (HEADER + "1,a,1\n", {"ranks": [5, 3]}, r"data.ranks=\[5, 3\]"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(make: Make, tmp_path: Path, text: str, changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        set_up(make(own(tmp_path, text), **changed))


def test_cases_that_contradict_themselves_are_left_out_where_asked(make: Make, tmp_path: Path) -> None:
    text = HEADER + rows_of(CASES) + "bad,,2026-02-01 00:00\n"
    module = set_up(make(own(tmp_path, text), prepare__on_broken="skip"))
    assert "bad" not in module.examples["id"].tolist()
    assert any("left out, since a row of it names no event: 1" in remark for remark in module.remarks)


def test_a_log_in_parquet_is_the_log(make: Make, tmp_path: Path) -> None:
    file = own(tmp_path)
    frame = pd.read_csv(file, dtype={"id": str}, parse_dates=["time"])
    frame.to_parquet(tmp_path / "log.parquet")
    assert set_up(make(tmp_path / "log.parquet")).hashes["test_hash"] == set_up(make(file)).hashes["test_hash"]
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match=r"broken.parquet is no Parquet file that can be read"):
        set_up(make(tmp_path / "broken.parquet"))


def test_a_case_goes_on_in_the_next_file_of_a_folder(make: Make, tmp_path: Path) -> None:
    lines = rows_of(CASES).splitlines()
    (folder := tmp_path / "months").mkdir()
    own(folder, HEADER + "\n".join(lines[:4]) + "\n", "01.csv")
    own(folder, HEADER + "\n".join(lines[4:]) + "\n", "02.csv")
    assert set_up(make(folder)).hashes["test_hash"] == set_up(make(own(tmp_path))).hashes["test_hash"]


def test_times_of_two_kinds_in_one_log_are_refused(make: Make, tmp_path: Path) -> None:
    (folder := tmp_path / "months").mkdir()
    own(folder, HEADER + "1,a,1\n", "01.csv")
    own(folder, HEADER + "1,a,2026-01-01\n", "02.csv")
    with pytest.raises(ValueError, match=r"01.csv has times that are numbers and .*02.csv has dates"):
        set_up(make(folder))


# Splits


def test_by_time_no_case_of_training_starts_after_one_of_validation_nor_that_after_test(make: Make, tmp_path: Path) -> None:
    lines = rows_of(CASES).splitlines()
    blocks = [lines[start : start + 3] for start in range(0, len(lines), 3)]
    module = set_up(make(own(tmp_path, HEADER + "\n".join(line for block in blocks[::-1] for line in block) + "\n")))
    start = module.examples["start"]
    borders = [(start.iloc[rows].min(), start.iloc[rows].max()) for rows in module.rows.values()]
    assert borders[0][1] < borders[1][0] and borders[1][1] < borders[2][0]
    assert "validation from 2026-01-05 00:00, test from 2026-01-07 00:00" in module.split_used
    assert "go on after" not in told(module)


def test_cases_over_a_border_in_time_are_named_counted_and_left_out_where_asked(make: Make, tmp_path: Path) -> None:
    text = HEADER + rows_of(CASES).replace("002,b,2026-01-02 02:00", "002,b,2026-01-05 02:00")
    kept, without = set_up(make(own(tmp_path, text))), set_up(make(own(tmp_path, text), drops_overlaps=True))
    assert "1 of 4 training cases go on after validation begins (002): their later events were not known then" in told(kept)
    assert "(002) and are left out" in told(without)
    assert [len(module.rows["train"]) for module in (kept, without)] == [4, 3]


def test_groups_stay_together_and_are_what_intervals_draw(make: Make, tmp_path: Path) -> None:
    lines = [f"{line},u{int(line[:3]) % 4}" for line in rows_of(CASES).splitlines()]
    module = set_up(make(own(tmp_path, "id,event,time,user\n" + "\n".join(lines) + "\n"), split="grouped"))
    units = [set(module.examples[module.group_column].iloc[rows]) for rows in module.rows.values()]
    assert sum(map(len, units)) == len(set.union(*units)) == 4


def test_folds_test_every_case_once(make: Make, tmp_path: Path) -> None:
    file = own(tmp_path)
    tested = [row for fold in range(4) for row in set_up(make(file, split="kfold", num_folds=4, fold=fold)).rows["test"]]
    assert sorted(tested) == list(range(8))


def test_without_times_rows_are_in_order_and_cases_are_split_at_random(make: Make, tmp_path: Path) -> None:
    text = "id,event\n" + "\n".join(line.rpartition(",")[0] for line in rows_of(CASES).splitlines()) + "\n"
    module = set_up(make(own(tmp_path, text)))
    assert module.split_used == "cases at random (split_seed 0)"
    assert module.targets(np.array([0])) == [["b", "c", END]]


# The bundle


def test_a_reader_gives_what_the_data_module_gives(make: Make, tmp_path: Path) -> None:
    module = set_up(make(own(tmp_path)))
    reader = through_json(module.reader())
    assert isinstance(reader, EventReader)
    inputs = reader.collect([str(own(tmp_path))], None)
    names, batch = reader.read(inputs)
    assert names == list(CASES) and (batch.targets == IGNORED_TARGET).all()
    assert torch.equal(batch.inputs, module.collate(np.arange(8), 0, is_training=False).inputs)
    assert torch.equal(reader.read(["a, c,b"])[1].inputs, module.collate(np.array([1]), 0, is_training=False).inputs)
    assert torch.equal(reader.read(["a\nc\nb\n"])[1].inputs, reader.read(["a, c,b"])[1].inputs)


def test_events_with_commas_come_through_a_table(make: Make, tmp_path: Path) -> None:
    file = own(tmp_path, HEADER + rows_of(CASES).replace(",b,", ',"b, again",'))
    module = set_up(make(file))
    reader = module.reader()
    assert torch.equal(reader.read(reader.collect([str(file)], None))[1].inputs, module.collate(np.arange(8), 0, is_training=False).inputs)


def test_unknown_events_of_an_unfinished_case_are_told(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, batch = set_up(make(own(tmp_path))).reader().read(["a, zz"])
    assert batch.inputs[0].tolist()[1] == UNKNOWN
    assert "1 of 2 events are unknown to this run" in capsys.readouterr().err


def test_a_model_that_looks_ahead_is_refused(make: Make, tmp_path: Path, compose: Callable[..., object]) -> None:
    spec = set_up(make(own(tmp_path))).make_spec()
    assert isinstance(make_task(spec, Regularisation(0.0, "none", 0.0)), NextEvent)
    settings = compose("model=birnn", "data=events")
    with pytest.raises(ValueError, match=r"data=events has targets that are its own later inputs.*choose model=srnn, lstm, gru"):
        settings.model.recipe()(spec)  # type: ignore[attr-defined]  # composed settings


# Public sets, where a mirror has them


@pytest.mark.slow
@pytest.mark.skipif("RNNLAB_MIRROR" not in os.environ, reason="needs the public logs: set RNNLAB_MIRROR")
@pytest.mark.parametrize(
    ("name", "num_cases", "num_events", "num_test"), [("helpdesk", 3804, 13710, 1268), ("bpi_12_w", 9658, 72413, 3220)]
)
def test_named_logs_are_what_their_descriptions_say(make: Make, name: str, num_cases: int, num_events: int, num_test: int) -> None:
    module = set_up(make(name))
    assert (len(module.examples), len(module.data.values), len(module.rows["test"])) == (num_cases, num_events, num_test)
    assert module.rows["test"].tolist() == list(range(num_cases - num_test, num_cases))
