"""Claims about any table of numbers over time: which columns are found, how gaps are filled, what is refused and counted."""

import copy
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from tests.data.bundled import through_json

from rnnlab.baselines.base import BaselineSettings
from rnnlab.config import Config, recipe
from rnnlab.data.series.readings import read_numbers
from rnnlab.data.series.series import MAX_REPEATS, SeriesData, features_of, make_series
from rnnlab.data.tables import Writing
from rnnlab.evaluation.evaluate import evaluate
from rnnlab.models.baseline import Baseline
from rnnlab.paths import HOME
from rnnlab.settings import Paths

NAN = np.nan
Make = Callable[..., SeriesData]


def table(num_rows: int = 80, step: str = "h", seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    times = pd.date_range("2021-03-01", periods=num_rows, freq=step)
    load = 50 + 10 * np.sin(np.arange(num_rows) / 4) + generator.normal(0, 1, num_rows)
    return pd.DataFrame({"time": times, "load": load.round(3), "wind": generator.normal(5, 1, num_rows).round(3)})


def write(file: Path, frame: pd.DataFrame) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(file, index=False, sep="\t" if file.suffix == ".tsv" else ",")
    return file


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a data module from conf/data/series.yaml and changed keys: short windows, `load` to forecast, no calendar."""
    defaults: Config = yaml.safe_load((HOME / "conf" / "data" / "series.yaml").read_text())
    short = {"target_column": "load", "window_steps": 6, "has_calendar": False}

    def made(source: Path | str, **changed: object) -> SeriesData:
        config = copy.deepcopy(defaults) | {"source": str(source)} | short
        assert not set(changed) - set(config)
        module: SeriesData = recipe(config | changed, "data")(Paths.below(tmp_path), 0)
        return module

    return made


def set_up(module: SeriesData) -> SeriesData:
    module.setup()
    return module


# Columns


def test_all_other_columns_of_numbers_help_and_words_are_passed_over(tmp_path: Path, make: Make) -> None:
    frame = table().assign(place="north", half=[f"{n}" if n % 2 else "" for n in range(80)], mostly=["x"] * 60 + ["1"] * 20)
    module = set_up(make(write(tmp_path / "t.csv", frame)))
    assert module.feature_names == ("target", "wind", "half")
    assert ("look at", "columns without numbers were passed over: place, mostly") in module.describe()


def test_covariates_are_those_that_are_named(tmp_path: Path, make: Make) -> None:
    source = write(tmp_path / "t.csv", table().assign(rain=1.5, Air_Temp=2.0))
    assert set_up(make(source, covariates=["rain"])).feature_names == ("target", "rain")
    assert set_up(make(source, covariates=[])).feature_names == ("target",)
    assert set_up(make(source, covariates=["air temp"])).feature_names == ("target", "Air_Temp")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"target_column": "power"},
            r"t.csv lacks a column 'power'; it has: time, load, wind\. Rename one, or set data.target_column=NAME$",
        ),
        ({"target_column": "laod"}, r"it has: time, load, wind\. Did you mean 'load'\? Rename one, or set data.target_column=NAME$"),
        ({"time_column": "when"}, r"t.csv lacks a column 'when'; it has: time, load, wind\. Rename one, or set data.time_column=NAME$"),
        ({"covariates": ["rain"]}, r"t.csv lacks a column 'rain'; it has: time, load, wind\. Rename one, or set data.covariates=NAME$"),
        ({"series_column": "town"}, r"t.csv lacks a column 'town'; it has: time, load, wind\. Rename one, or set data.series_column=NAME$"),
    ],
)
def test_a_missing_column_lists_what_was_found(tmp_path: Path, make: Make, changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(write(tmp_path / "t.csv", table()), **changed).setup()


def test_the_time_goes_by_other_names_and_two_of_them_are_refused(tmp_path: Path, make: Make) -> None:
    source = write(tmp_path / "t.csv", table().rename(columns={"time": "Timestamp"}))
    assert set_up(make(source)).index["date"].is_monotonic_increasing
    both = table().rename(columns={"time": "date"}).assign(day=1)
    claim = r"two.csv has several columns that may be meant by 'time': date, day; set data.time_column to one of them$"
    with pytest.raises(ValueError, match=claim):
        make(write(tmp_path / "two.csv", both)).setup()
    assert set_up(make(tmp_path / "two.csv", time_column="date")).feature_names == ("target", "wind", "day")


def test_a_column_that_is_called_target_is_no_trouble(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path / "t.csv", table().rename(columns={"wind": "target"}))))
    assert len(set(module.feature_names)) == 2 and module.make_spec().label_names == ("target_1",)


def test_words_among_numbers_name_their_line(tmp_path: Path, make: Make) -> None:
    frame = table().astype({"load": object})
    frame.loc[7, "load"] = "about 5"
    with pytest.raises(ValueError, match=r"t.csv, line 9: 'load' holds 'about 5', which is no number: write a finite number alone"):
        make(write(tmp_path / "t.csv", frame)).setup()


def test_a_target_without_numbers_is_refused(tmp_path: Path, make: Make) -> None:
    with pytest.raises(ValueError, match=r"t.csv: the column 'load' holds fewer than two finite numbers"):
        make(write(tmp_path / "t.csv", table().assign(load=""))).setup()


def test_a_folder_is_told_to_be_one_table(tmp_path: Path, make: Make) -> None:
    with pytest.raises(ValueError, match=r"is a folder: data=series takes one table \(data=stock takes a folder of prices\)$"):
        make(tmp_path).setup()


# Gaps and order


def numbers(values: list[float], other: list[float] | None = None) -> pd.DataFrame:
    frame = pd.DataFrame({"date": pd.date_range("2021-01-01", periods=len(values), freq="h"), "target": values})
    return frame if other is None else frame.assign(x=other)


def test_gaps_repeat_the_last_known_value_and_never_one_from_the_future() -> None:
    found = features_of(numbers([1, NAN, NAN, 4, 5], [NAN, NAN, 7, NAN, 9]), has_calendar=False)
    assert found["target"].tolist() == [1, 1, 1, 4, 5]
    assert found["x"].tolist() == pytest.approx([NAN, NAN, 7, 7, 9], nan_ok=True)


def test_long_gaps_are_the_mean_of_what_was_known_until_then() -> None:
    found = features_of(numbers([2.0, 6.0] + [NAN] * (MAX_REPEATS + 2) + [100.0]), has_calendar=False)["target"]
    assert found.iloc[2 : 2 + MAX_REPEATS].eq(6).all() and found.iloc[2 + MAX_REPEATS : -1].eq(4).all()


def test_unknown_targets_make_no_window_and_are_counted(tmp_path: Path, make: Make) -> None:
    frame = table()
    frame.loc[[30, 31], "load"] = NAN
    module, whole = set_up(make(write(tmp_path / "t.csv", frame))), set_up(make(write(tmp_path / "w.csv", table())))
    assert len(whole.index) - len(module.index) == 2
    assert dict(module.describe())["odd"] == "2 missing values"
    assert np.isfinite(module.windows.values[module.windows.ends]).all()


def test_rows_in_any_order_and_repeated_times_are_mended_and_counted(tmp_path: Path) -> None:
    frame = table(20)
    shuffled = pd.concat([frame.iloc[10:], frame.iloc[:10], frame.iloc[[3]].assign(load=99.0)])
    found, notes = read_numbers(write(tmp_path / "t.csv", shuffled), "load", "time", None, None, Writing())
    assert found["date"].tolist() == frame["time"].tolist() and found["target"].iloc[3] == 99
    odd = notes["odd"]
    assert isinstance(odd, dict) and odd["unsorted rows"] == 11 and odd["rows of a time that comes again (the last is kept)"] == 1


def test_irregular_steps_are_counted_against_the_usual_one(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path / "t.csv", table().drop(index=[20, 21, 50]))))
    assert dict(module.describe())["odd"] == "2 steps that are not of 0 days 01:00:00"


def test_times_closer_than_a_minute_are_examples_of_their_own(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path / "t.csv", table(step="10s"))))
    assert module.index["id"].is_unique


# Windows


def test_a_forecast_starts_from_the_last_value_and_targets_are_rows_ahead() -> None:
    one = make_series("A", numbers([1, 2, 4, 8, 16]), [1, 3], has_calendar=False)
    assert one.targets[:, 0] == pytest.approx([2, 4, 8, 16, NAN], nan_ok=True)
    assert one.targets[:, 1] == pytest.approx([8, 16, NAN, NAN, NAN], nan_ok=True)
    assert one.base.tolist() == one.persistence.tolist() == [[value, value] for value in (1, 2, 4, 8, 16)]
    assert (one.size == 1).all()


def test_the_calendar_places_day_week_and_year_on_circles() -> None:
    frame = pd.DataFrame({"date": pd.to_datetime(["2021-01-04 06:00", "2021-01-04 18:00"]), "target": [1.0, 2.0]})
    found = features_of(frame, has_calendar=True)
    assert found["time_of_day_sin"].tolist() == pytest.approx([1, -1]) and found["time_of_day_cos"].tolist() == pytest.approx(
        [0, 0], abs=1e-12
    )
    assert found["weekday_sin"].tolist() == pytest.approx([np.sin(2 * np.pi * 0.25 / 7), np.sin(2 * np.pi * 0.75 / 7)])
    assert found["yearday_cos"].tolist() == pytest.approx([np.cos(2 * np.pi * 3 / 366)] * 2)
    assert not [name for name in features_of(frame, has_calendar=False) if name != "target"]


def test_several_series_in_one_table_are_windows_of_their_own(tmp_path: Path, make: Make) -> None:
    towns = pd.concat([table(seed=seed).assign(town=name) for seed, name in enumerate(("north", "south"))]).sample(frac=1, random_state=0)
    module = set_up(make(write(tmp_path / "t.csv", towns), series_column="Town"))
    assert set(module.index["series"]) == {"north", "south"} and module.feature_names == ("target", "wind")
    alone = set_up(make(write(tmp_path / "south.csv", table(seed=1))))
    ours = np.flatnonzero(module.index["series"] == "south")
    assert module.targets(ours) == alone.targets(np.arange(len(alone.index)))


def test_the_same_times_in_one_series_ask_for_no_series_column(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path / "load.tsv", table())))
    assert set(module.index["series"]) == {"load"} and module.make_spec().unit == ""
    assert module.index["id"].iloc[0] == "load 2021-03-01T05:00"


def two_sensors(factor: float = 1.0, shift: float = 0.0, rise: float = 1.0) -> pd.DataFrame:
    """Return a table of two sensors, `wide` changed; both rise by about so much an hour."""
    tables = {name: table(seed=seed).assign(sensor=name) for seed, name in enumerate(("narrow", "wide"))}
    for each in tables.values():
        each["load"] += rise * np.arange(80)
    tables["wide"][["load", "wind"]] = tables["wide"][["load", "wind"]] * factor + shift
    return pd.concat(tables.values(), ignore_index=True)


@pytest.mark.parametrize("kind", ["ridge", "mean"])
def test_multiplying_or_shifting_one_series_leaves_the_others_as_they_were(tmp_path: Path, make: Make, kind: str) -> None:
    found = []
    for number, (factor, shift) in enumerate([(1, 0), (1024, 0), (1, 4096)]):
        source = write(tmp_path / f"{number}.csv", two_sensors(factor, shift))
        module = set_up(make(source, series_column="sensor"))
        spec = module.make_spec()
        assert spec.is_scaled_apart
        model = Baseline(spec, BaselineSettings(kind, None, 1))
        model.fit(module.plain_dataloader("train"), module.plain_dataloader("val"))
        evaluation = evaluate(model, module, "test")
        found.append((evaluation.table, evaluation.numbers))
    narrow = [table[table["group"] == "narrow"]["prediction/target_1"].to_numpy() for table, _ in found]
    for other in narrow[1:]:
        assert other == pytest.approx(narrow[0], rel=1e-6)
    for _, numbers in found[1:]:  # nor does the wide one drown the others in what is compared
        assert numbers["scaled_mse"] == pytest.approx(found[0][1]["scaled_mse"], rel=1e-5)
        assert numbers["skill"] == pytest.approx(found[0][1]["skill"], rel=1e-5)
    assert model.task.compared.name == "scaled_mse"


def test_one_series_is_compared_in_its_own_unit(tmp_path: Path, make: Make) -> None:
    assert not set_up(make(write(tmp_path / "a.csv", table()))).make_spec().is_scaled_apart


def test_a_series_that_begins_after_the_training_part_is_left_out_by_name(tmp_path: Path, make: Make) -> None:
    late = two_sensors()
    late = late[(late["sensor"] != "wide") | (late["time"] > late["time"].max() - pd.Timedelta(hours=14))]
    module = set_up(make(write(tmp_path / "late.csv", late), series_column="sensor"))
    assert set(module.index["series"]) == {"narrow"}
    assert ("skipped", "begins after the training part: wide") in module.describe()


def test_a_series_that_the_run_never_saw_is_scaled_by_what_is_given_and_not_scored(
    tmp_path: Path, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    module = set_up(make(write(tmp_path / "two.csv", two_sensors()), series_column="sensor"))
    other = write(tmp_path / "other.csv", table(seed=5).assign(sensor="third"))
    names, batch = module.reader().read([str(other)])
    assert names == ["third 2021-03-04T07:00"]
    assert "warning: the run never saw the series 'third': it is scaled by the 80 rows that were given" in capsys.readouterr().err
    assert batch.inputs[0, -1, 0] == pytest.approx(
        (table(seed=5)["load"].iloc[-1] - table(seed=5)["load"].mean()) / table(seed=5)["load"].std(ddof=0)
    )
    with pytest.raises(ValueError, match=r"has not seen 'third'; it knows: narrow, wide"):
        make(other, series_column="sensor").setup_as_test(module.reader())


def test_a_level_that_is_large_beside_its_changes_keeps_them(tmp_path: Path, make: Make) -> None:
    readings = 123_456_789 + np.cumsum(np.random.default_rng(0).uniform(0, 1, 200)).round(2)
    source = write(tmp_path / "meter.csv", pd.DataFrame({"time": pd.date_range("2024-01-01", periods=200, freq="h"), "load": readings}))
    module = set_up(make(source))
    model = Baseline(module.make_spec(), BaselineSettings("persistence", None, 1))
    numbers = evaluate(model, module, "test").numbers
    changes = np.diff(readings)[module.index["end"].to_numpy()[module.rows["test"]]]
    assert numbers["rmse"] == pytest.approx(np.sqrt(np.square(changes).mean()), rel=1e-9)
    assert numbers["mae"] == pytest.approx(np.abs(changes).mean(), rel=1e-9)
    assert module.targets(np.array([0])) == [[readings[module.index["end"].iloc[0] + 1]]]


def test_tables_that_differ_in_the_ninth_digit_have_hashes_of_their_own(tmp_path: Path, make: Make) -> None:
    other = table()
    other["load"] += np.where(np.arange(80) == 79, 1e-7, 0)
    ours, theirs = (set_up(make(write(tmp_path / name / "load.csv", each))) for name, each in (("a", table()), ("b", other)))
    assert ours.hashes["test_hash"] != theirs.hashes["test_hash"]


def test_what_stands_still_in_training_is_said(tmp_path: Path, make: Make) -> None:
    still = table().assign(wind=3.0)
    still.loc[:60, "load"] = 12.25
    module = set_up(make(write(tmp_path / "still.csv", still)))
    said = [text for name, text in module.describe() if name == "look at"]
    assert said[0].startswith("the target stands still in the training part: a network learns there only to repeat it")
    assert said[1] == "what stands still in the training part counts as 0 throughout: target, wind"
    batch = module.collate(module.rows["test"], 0, False)
    assert batch.inputs.abs().max() == 0 and batch.reference is not None
    assert ((batch.targets - batch.reference.offset) / batch.reference.scale).abs().max() < 1e4


def test_values_of_test_times_change_no_scale(tmp_path: Path, make: Make) -> None:
    frame = table()
    ours = set_up(make(write(tmp_path / "a.csv", frame)))
    later = frame["time"] >= ours.index["date"].iloc[ours.rows["test"]].min()
    frame.loc[later, ["load", "wind"]] *= 3
    other = set_up(make(write(tmp_path / "b.csv", frame)))
    assert list(ours.scale_lists().values()) == list(other.scale_lists().values())


def test_too_few_rows_for_a_window_say_how_many_there_are(tmp_path: Path, make: Make) -> None:
    claim = r"the longest series has 6 steps, too few for one window of 6 .* and 1 more to forecast: .* a smaller data.window_steps$"
    with pytest.raises(ValueError, match=claim):
        make(write(tmp_path / "t.csv", table(6))).setup()


def test_a_raw_table_is_forecast_from_its_last_window_also_where_its_end_is_unknown(tmp_path: Path, make: Make) -> None:
    module = set_up(make(write(tmp_path / "t.csv", table())))
    frame = table()
    frame.loc[79, "load"] = NAN
    names, batch = module.reader().read([str(write(tmp_path / "new.csv", frame))])
    assert names == ["new 2021-03-04T07:00"] and batch.reference is not None
    assert batch.reference.persistence[0, 0] == pytest.approx(frame["load"].iloc[78])
    assert batch.inputs.shape == (1, 6, 2) and batch.inputs.isfinite().all()


def test_columns_are_matched_by_name_and_others_left_out_with_a_word(
    tmp_path: Path, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = table().assign(sun=np.arange(80) % 7)
    module = set_up(make(write(tmp_path / "t.csv", frame)))
    reader = through_json(module.reader())
    _, expected = reader.read([str(tmp_path / "t.csv")])
    other = frame.assign(rain=1.5, place="north")[["rain", "sun", "place", "wind", "load", "time"]]
    _, found = reader.read([str(write(tmp_path / "other.csv", other))])
    assert torch.equal(found.inputs, expected.inputs)
    assert "other.csv: left out the columns 'rain', which the run was not trained on" in capsys.readouterr().err
    ours, theirs = (make(tmp_path / name) for name in ("t.csv", "other.csv"))
    for one in (ours, theirs):
        one.setup_as_test(reader)
    np.testing.assert_array_equal(ours.collate(np.arange(9), 0, False).inputs, theirs.collate(np.arange(9), 0, False).inputs)
    assert "left out the columns 'rain'" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"less\.csv lacks a column 'wind'; it has: time, load, sun"):
        reader.read([str(write(tmp_path / "less.csv", frame.drop(columns="wind")))])


def test_a_short_table_is_read_as_the_whole_one_was(tmp_path: Path, make: Make) -> None:
    frame = table(80, "D").assign(load=[f"{1000 + n:,}" for n in range(79)] + ["1,600.5"])
    frame["time"] = frame["time"].dt.strftime("%m/%d/%Y")
    reader = through_json(set_up(make(write(tmp_path / "t.csv", frame))).reader())
    short = frame.iloc[:12]  # 03/01/2021 to 03/12/2021, and commas alone: by itself it would be asked for
    names, batch = reader.read([str(write(tmp_path / "short.csv", short))])
    assert names == ["short 2021-03-12"]
    assert batch.reference is not None and batch.reference.persistence.tolist() == [[1011]]
    with pytest.raises(ValueError, match=r"may be 1000 \(thousands\) or 1\.000 \(decimal comma\)"):
        set_up(make(tmp_path / "short.csv", day_first=False, covariates=[]))
    assert set_up(make(tmp_path / "t.csv", day_first=False)).writing == Writing("point", False)


def test_day_and_time_of_day_apart_are_one_time_and_unknown_values_are_counted(tmp_path: Path, make: Make) -> None:
    times = pd.date_range("2006-12-16 17:20", periods=90, freq="10min")
    lines = [f"{time:%d/%m/%Y};{time:%H:%M:%S};{'?' if n % 30 == 4 else n};{n / 2}" for n, time in enumerate(times)]
    (tmp_path / "t.txt").write_text("\n".join(["Date;Time;load;other", *lines]) + "\n")
    module = set_up(make(tmp_path / "t.txt", window_steps=3))
    (frame,) = module.frames(module.data).values()
    assert frame["date"].tolist() == times.tolist()
    assert frame["target"].isna().sum() == 3 and frame.columns.tolist() == ["date", "target", "other"]
    odd = dict(module.describe())["odd"]
    assert odd == (
        "3 missing values; 90 times joined from the columns 'Date' and 'Time'; 90 dates read with the day first; "
        "3 fields '?' read as missing"
    )


def test_a_thousand_columns_do_not_help_without_being_named(tmp_path: Path, make: Make) -> None:
    wide = pd.concat([table(), pd.DataFrame(1.0, index=range(80), columns=[f"c{number}" for number in range(1000)])], axis=1)
    file = write(tmp_path / "wide.csv", wide)
    with pytest.raises(ValueError, match=r"wide.csv has 1,003 columns, more than the 1,000 .*: name those that do with data.covariates=\["):
        set_up(make(file))
    assert set_up(make(file, covariates=["wind"])).feature_names == ("target", "wind")


def test_a_pipe_is_refused_before_it_is_waited_for(tmp_path: Path, make: Make) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ValueError, match=r"data.source=.*pipe.csv is a pipe or a device: write what comes from it to a file"):
        set_up(make(tmp_path / "pipe.csv"))
