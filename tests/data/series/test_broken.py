"""Claims about tables over time of which something cannot be read: refused with where it is, or left out, counted and named."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from rnnlab.config import Config, recipe
from rnnlab.data.inputs import InputReader
from rnnlab.data.series.base import WindowedData
from rnnlab.data.series.prices import read_prices
from rnnlab.data.series.readings import read_numbers
from rnnlab.data.series.series import SeriesData
from rnnlab.data.series.stock import StockData
from rnnlab.data.tables import Writing
from rnnlab.paths import HOME
from rnnlab.settings import Paths

SKIP = {"on_broken": "skip"}


def made(kind: str, folder: Path, source: Path, **changed: Any) -> Any:
    defaults: Config = yaml.safe_load((HOME / "conf" / "data" / f"{kind}.yaml").read_text())
    return recipe(copy.deepcopy(defaults) | {"source": str(source)} | changed, "data")(Paths.below(folder), 0)


def hours(folder: Path, **fields: tuple[int, str]) -> Path:
    """Write 80 hours of `load`, a field replaced in the row of each pair."""
    generator = np.random.default_rng(0)
    times = pd.Series(pd.date_range("2021-03-01", periods=80, freq="h")).astype(str)
    frame = pd.DataFrame({"time": times, "load": generator.normal(50, 1, 80).round(3).astype(str)})
    for column, (row, value) in fields.items():
        frame.loc[row, column] = value
    frame.to_csv(folder / "load.csv", index=False)
    return folder / "load.csv"


def days(file: Path, **closes: float) -> Path:
    """Write 80 days of closes that rise by 1 from 100, some replaced by the row that `row_N` names."""
    close = 100.0 + np.arange(80)
    for name, value in closes.items():
        close[int(name.removeprefix("row_"))] = value
    file.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"date": pd.bdate_range("2020-01-01", periods=80), "close": close}).to_csv(file, index=False)
    return file


# data=series


@pytest.mark.parametrize(("column", "what"), [("load", "is no number"), ("time", "is no date")])
def test_a_field_that_cannot_be_read_is_refused_with_how_to_leave_it_out(tmp_path: Path, column: str, what: str) -> None:
    module = made("series", tmp_path, hours(tmp_path, **{column: (9, "broken")}), target_column="load")
    with pytest.raises(ValueError, match=rf"line 11: '{column}' holds 'broken', which {what}.*data\.prepare\.on_broken=skip"):
        module.setup()


def test_a_number_that_cannot_be_read_is_unknown_and_its_row_keeps_its_place(tmp_path: Path) -> None:
    file = hours(tmp_path, load=(9, "broken"))
    frame, found = read_numbers(file, "load", "time", None, None, Writing(), "skip")
    assert len(frame) == 80 and np.flatnonzero(frame["target"].isna()).tolist() == [9]
    assert frame["date"].diff().dropna().nunique() == 1, "no step is longer than the others"
    assert found["left_out"] == ["left out, since 'load' is no number: 1 (first load.csv, line 11: 'broken')"]


def test_windows_forecast_nothing_unknown_and_go_on_across_it(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"target_column": "load", "window_steps": 6, "has_calendar": False, "prepare": SKIP}
    module: SeriesData = made("series", tmp_path, hours(tmp_path, load=(40, "broken")), **settings)
    module.setup()
    assert np.isfinite(module.windows.targets).all()
    whole: SeriesData = made("series", tmp_path, hours(tmp_path), **settings)
    whole.setup()
    assert len(module.index) == len(whole.index) - 1  # all but the forecast of the hour that is unknown


def test_a_row_without_a_time_is_left_out_and_the_longer_step_is_counted(tmp_path: Path) -> None:
    frame, found = read_numbers(hours(tmp_path, time=(9, "broken")), "load", "time", None, None, Writing(), "skip")
    assert len(frame) == 79
    assert found["left_out"] == ["left out, since 'time' is no date: 1 (first load.csv, line 11: 'broken')"]
    odd = found["odd"]
    assert isinstance(odd, dict) and odd["steps that are not of 0 days 01:00:00"] == 1


def test_a_table_without_any_time_is_refused_whatever_is_asked(tmp_path: Path) -> None:
    (tmp_path / "load.csv").write_text("time,load\nx,1\ny,2\nz,3\n")
    with pytest.raises(ValueError, match="is no date"):
        read_numbers(tmp_path / "load.csv", "load", "time", None, None, Writing(), "skip")


# data=stock


def test_a_price_of_zero_is_refused_with_three_ways_out(tmp_path: Path) -> None:
    file = days(tmp_path / "AAA.csv", row_20=0.0)
    with pytest.raises(ValueError, match=r"line 22: the close of AAA is 0\.0") as error:
        made("stock", tmp_path, file).setup()
    said = str(error.value)
    assert "data.prepare.on_broken=skip" in said
    assert f"python src/train.py data=stock data.source={file} data.target=change" in said
    assert f"python src/train.py data=series data.source={file} data.target_column=close data.time_column=date" in said


def test_closes_and_tables_that_cannot_be_used_are_left_out_counted_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "prices"
    days(folder / "AAA.csv", row_20=0.0, row_30=-5.0)
    days(folder / "BBB.csv")
    (folder / "CCC.csv").write_text("date,volume\n2020-01-01,5\n")
    with pytest.raises(ValueError, match=r"data\.prepare\.on_broken=skip"):
        read_prices(folder, None, Writing())
    table, found = read_prices(folder, None, Writing(), "skip")
    assert table["series"].value_counts().to_dict() == {"BBB": 80, "AAA": 78}
    warnings = found["warnings"]
    assert isinstance(warnings, list)
    lost, closes = sorted(line for line in warnings if "left out" in line)
    assert lost.startswith("left out, since it cannot be read as a table of prices: 1 (first ") and "lacks a column 'close'" in lost
    assert closes == "left out, since the close of a price is zero or below: 2 (first AAA.csv, line 22: 0)"


def test_a_folder_of_which_nothing_can_be_read_is_refused_whatever_is_asked(tmp_path: Path) -> None:
    (tmp_path / "CCC.csv").write_text("date,volume\n2020-01-01,5\n")
    with pytest.raises(ValueError, match="lacks a column 'close'"):
        read_prices(tmp_path, None, Writing(), "skip")


@pytest.mark.parametrize(("kind", "column"), [("series", "load"), ("stock", "close")])
def test_a_table_to_predict_from_is_read_as_the_runs_own(tmp_path: Path, kind: str, column: str) -> None:
    file = hours(tmp_path, load=(9, "x")) if kind == "series" else days(tmp_path / "AAA.csv")
    own = {"target_column": "load"} if kind == "series" else {"window_days": 5, "features": ["return"]}
    for on_broken in ("skip", "raise"):
        given = hours(tmp_path) if on_broken == "raise" and kind == "series" else file
        module: WindowedData = made(kind, tmp_path, given, prepare={"on_broken": on_broken}, **own)
        module.setup()
        reader: InputReader = module.reader()
        broken = tmp_path / "broken.csv"
        broken.write_text(file.read_text().replace(file.read_text().splitlines()[3].split(",")[1], "x"))
        if on_broken == "raise":
            with pytest.raises(ValueError, match="is no number"):
                reader.read([str(broken)])
        else:
            names, batch = reader.read([str(broken)])
            assert len(names) == 1 and np.isfinite(batch.inputs.numpy()).all()


# data.target=change


def test_changes_of_prices_below_zero_are_learned_in_each_tickers_own_scale(tmp_path: Path) -> None:
    folder = tmp_path / "prices"
    days(folder / "AAA.csv", row_20=0.0, row_30=-5.0)
    days(folder / "BBB.csv")
    module: StockData = made("stock", tmp_path, folder, target="change", horizon_days=[1, 2], window_days=5)
    module.setup()
    series = {one: frame["close"].to_numpy() for one, frame in module.frames(module.data).items()}
    assert series["AAA"][20] == 0 and series["AAA"][30] == -5
    found = module.series_of("AAA", module.frames(module.data)["AAA"])
    assert found.targets[29].tolist() == [-5 - 129, 131 - 129] and found.targets.dtype == np.float64
    assert not found.persistence.any() and not found.base.any()
    assert module.make_spec().is_scaled_apart and module.make_spec().label_names == ("change_1d", "change_2d")
    assert {"change", "change_5", "change_22"} <= set(module.feature_names) and "return" not in module.feature_names


def test_changes_of_positive_prices_are_differences_of_the_mended_prices(tmp_path: Path) -> None:
    dates = pd.bdate_range("2020-01-01", periods=40)
    close = 100.0 + np.arange(40)
    pd.DataFrame({"date": dates, "close": close, "adj_close": close / 2}).to_csv(tmp_path / "AAA.csv", index=False)
    table, _ = read_prices(tmp_path / "AAA.csv", None, Writing(), is_signed=True)
    assert table["close"].tolist() == (close / 2).tolist()


def test_features_of_logarithms_are_refused_beside_changes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no feature 'return' of data\.target=change\. Allowed: change, change_5"):
        made("stock", tmp_path, days(tmp_path / "AAA.csv"), target="change", features=["return"])
