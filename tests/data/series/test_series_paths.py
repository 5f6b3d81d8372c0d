"""Claims about paths, all steps up to a horizon as one forecast: their targets, parts, scales, seasons and past."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from tests.data.bundled import through_json

from rnnlab.config import Config, recipe
from rnnlab.data.base import SPLITS
from rnnlab.data.series.indicators import LeakageError
from rnnlab.data.series.series import DAY, SeriesData, season_of
from rnnlab.data.series.windows import Scales
from rnnlab.paths import HOME
from rnnlab.settings import Paths

Make = Callable[..., SeriesData]
NUM_ROWS, VAL, TEST, END = 120, 60, 84, 108
DATES = ["2021-03-03T12:00", "2021-03-04T12:00", "2021-03-05T12:00"]
"""What lies 60, 84 and 108 hours after the first row."""


def table(num_rows: int = NUM_ROWS) -> pd.DataFrame:
    hours = np.arange(num_rows)
    load = 50 + 10 * np.sin(hours * np.pi / 12) + np.random.default_rng(0).normal(0, 1, num_rows) + hours / 10
    return pd.DataFrame({"time": pd.date_range("2021-03-01", periods=num_rows, freq="h"), "load": load.round(3), "wind": hours % 7})


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a data module of a table: windows of 24 steps, paths of 4, no calendar, parts by date."""
    defaults: Config = yaml.safe_load((HOME / "conf" / "data" / "series.yaml").read_text())
    short = {"target_column": "load", "window_steps": 24, "forecast_steps": 4, "has_calendar": False, "split_dates": DATES}

    def made(frame: pd.DataFrame | None = None, **changed: object) -> SeriesData:
        (table() if frame is None else frame).to_csv(tmp_path / "t.csv", index=False)
        config = copy.deepcopy(defaults) | {"source": str(tmp_path / "t.csv")} | short
        assert not set(changed) - set(config)
        module: SeriesData = recipe(config | changed, "data")(Paths.below(tmp_path), 0)
        return module

    return made


def set_up(module: SeriesData) -> SeriesData:
    module.setup()
    return module


def test_targets_are_the_next_steps_in_units_of_the_spread_of_all_training_values(make: Make) -> None:
    module, load = set_up(make()), table()["load"].to_numpy()
    batch = module.collate(module.rows["test"][[5]], 0, False)
    end = int(module.index["end"].iloc[module.rows["test"][5]])
    assert batch.reference is not None and batch.past is not None
    assert batch.targets.tolist() == [load[end + 1 : end + 5].tolist()]
    assert batch.reference.offset.tolist() == [[load[end]] * 4] == batch.reference.persistence.tolist()
    assert batch.reference.scale.tolist() == [pytest.approx([load[:VAL].std()] * 4)]
    assert batch.past.values.tolist() == [load[end - 23 : end + 1].tolist()]
    assert batch.past.time.tolist() == [int(module.index["date"].iloc[module.rows["test"][5]].timestamp() * 1e6)]
    assert batch.past.step.tolist() == [DAY // 24] and batch.past.series.tolist() == [0]
    assert batch.past.season_error.tolist() == pytest.approx([np.abs(load[24:VAL] - load[: VAL - 24]).mean()])
    spec = module.make_spec()
    assert (spec.is_path, spec.horizons, spec.season, spec.target_size) == (True, (1, 2, 3, 4), 24, 4)


def test_every_forecast_whose_targets_lie_in_a_part_is_its_own_and_windows_look_back_over_the_border(make: Make) -> None:
    module = set_up(make())
    ends = {split: module.index["end"].iloc[module.rows[split]].tolist() for split in SPLITS}
    assert ends["train"] == list(range(23, VAL - 4))
    assert ends["val"] == list(range(VAL - 1, TEST - 4))  # 24 steps and paths of 4: 21 windows
    assert ends["test"] == list(range(TEST - 1, END - 4))


def test_the_last_part_may_go_on_to_the_end_of_the_data(make: Make) -> None:
    module = set_up(make(split_dates=[*DATES[:2], None]))
    assert module.index["end"].iloc[module.rows["test"]].max() == NUM_ROWS - 1 - 4


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"split_dates": DATES[:2]}, r"data.split_dates=\[.*\]: give three times, when validation and test begin and when test ends"),
        ({"split_dates": [None, *DATES[:2]]}, r"give three times"),
        ({"split_dates": [DATES[1], DATES[0], None]}, r"each must be later than the one before$"),
        ({"split_dates": ["soon", *DATES[1:]]}, r"'soon'.*: write each as 2014-01-31 or 2014-01-31T10:00$"),
        ({"split_dates": [*DATES[:2], "2021-03-04T15:00"]}, r"no forecast has all its targets in the test part; .* or a shorter horizon$"),
        ({"num_folds": 2}, r"data.num_folds=2 and data.split_dates exclude each other"),
        ({"season_steps": 120}, r"data.season_steps=120: the longest series has 120 rows, no two seasons: give fewer, or null$"),
        ({"forecast_steps": 97}, r"the longest series has 120 steps, too few for one window of 24 .* and 97 more to forecast"),
        ({"forecast_steps": 60}, r"no forecast has all its targets in the train part"),
        ({"target_column": []}, r"data.target_column=\[\] names nothing to forecast"),
        ({"target_column": ["load", "sun"]}, r"t.csv lacks a column 'sun'; it has: time, load, wind"),
    ],
)
def test_what_the_data_do_not_allow_is_refused(make: Make, changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changed).setup()


@pytest.mark.parametrize(
    ("days", "season"), [(1 / 24, 24), (1 / 96, 96), (0.3, 0), (1, 7), (7, 52), (30, 12), (31, 12), (91, 4), (2, 0), (365, 0), (0, 0)]
)
def test_a_season_is_a_day_of_daily_rows_a_week_and_of_rarer_ones_a_year(days: float, season: int) -> None:
    assert season_of(round(days * DAY)) == season


def test_several_targets_are_series_of_their_own_each_in_its_own_scale(make: Make) -> None:
    frame = table().assign(heat=table()["load"] * 100)
    module = set_up(make(frame, target_column=["load", "heat"]))
    assert list(dict.fromkeys(module.index["series"])) == ["heat", "load"] and module.feature_names == ("target", "wind")
    heat, load = (module.index.iloc[module.rows["test"]].query(f"series == '{name}'").index.to_numpy().copy() for name in ("heat", "load"))
    first, second = (module.collate(rows, 0, False) for rows in (heat, load))
    assert first.targets.numpy() == pytest.approx(100 * second.targets.numpy())
    assert first.reference is not None and second.reference is not None
    assert first.reference.scale[0, 0] == pytest.approx(100 * second.reference.scale[0, 0].item())
    assert first.inputs[..., 0].numpy() == pytest.approx(second.inputs[..., 0].numpy(), abs=1e-5)


def test_relative_windows_tell_the_target_as_differences_from_its_last_value(make: Make) -> None:
    plain, relative = set_up(make()), set_up(make(is_relative=True))
    rows = plain.rows["test"]
    before, after = (module.collate(rows, 0, False).inputs for module in (plain, relative))
    assert after[..., 0].numpy() == pytest.approx((before[..., 0] - before[:, -1:, 0]).numpy())
    assert torch.equal(after[..., 1:], before[..., 1:]) and not after[:, -1, 0].any()


@pytest.mark.parametrize("is_relative", [False, True])
def test_a_raw_table_gives_the_window_that_the_run_saw(make: Make, tmp_path: Path, is_relative: bool) -> None:
    module = set_up(make(is_relative=is_relative))
    row = module.rows["test"][[-1]]
    end = int(module.index["end"].iloc[row[0]])
    table().iloc[: end + 1].to_csv(tmp_path / "new.csv", index=False)
    _, found = through_json(module.reader()).read([str(tmp_path / "new.csv")])
    wanted = module.collate(row, 0, False)
    assert torch.equal(found.inputs, wanted.inputs)
    assert found.reference is not None and wanted.reference is not None and found.past is not None and wanted.past is not None
    for ours, theirs in ((found.reference, wanted.reference), (found.past, wanted.past)):
        assert all(torch.equal(a, b) for a, b in zip(vars(ours).values(), vars(theirs).values(), strict=True))


def test_a_scale_that_sees_the_test_part_is_found(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    whole: dict[str, np.ndarray] = {}
    honest = Scales.of_levels

    def sees_all(self: Scales, levels: np.ndarray, season: int, *, is_path: bool) -> Scales:
        return honest(self, whole["levels"], season, is_path=is_path)

    series_of = SeriesData.series_of

    def remembered(self: SeriesData, name: str, frame: pd.DataFrame) -> object:
        whole["levels"] = frame["target"].to_numpy(float)
        return series_of(self, name, frame)

    monkeypatch.setattr(Scales, "of_levels", sees_all)
    monkeypatch.setattr(SeriesData, "series_of", remembered)
    with pytest.raises(LeakageError, match=r"the scale of the forecast .* changed"):
        make().setup()


@pytest.mark.parametrize("name", ["ett", "nyc_weather", "beijing_pm25"])
def test_the_sample_stands_in_for_a_named_table_with_its_own_columns(tmp_path: Path, name: str) -> None:
    config: Config = yaml.safe_load((HOME / "conf" / "data" / "series.yaml").read_text())
    own: Config = yaml.safe_load((HOME / "conf" / "data" / f"{name}.yaml").read_text())
    own.pop("defaults")
    paths = Paths.below(tmp_path)
    module = set_up(recipe(config | own | {"source": "sample"}, "data")(Paths(**{**vars(paths), "samples": HOME / "data" / "samples"}), 0))
    assert module.make_spec().horizons == tuple(range(1, 25) if own.get("forecast_steps") else own["horizon_steps"])
