"""Claims about windows of series as a data set: split by date, scaled on training, audited for leaks. On prices, for an example."""

import dataclasses
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from tests.data.bundled import through_json

from rnnlab.config import ConfigError, recipe
from rnnlab.contracts import Batch, Link
from rnnlab.data.base import SPLITS
from rnnlab.data.series import base, indicators
from rnnlab.data.series.indicators import Feature, LeakageError
from rnnlab.data.series.stock import StockData
from rnnlab.data.series.windows import ALL_SERIES, ScalesByName, Series, fit_scales
from rnnlab.paths import HOME

Make = Callable[..., StockData]
TICKERS = ("AAA", "BBB", "CCC")


def prices(ticker: str, num_days: int = 90, start: str = "2020-01-01") -> pd.DataFrame:
    """Return business days of prices that depend on the ticker's name alone."""
    generator = np.random.default_rng(list(ticker.encode()))
    close = 50 * np.exp(np.cumsum(generator.normal(0, 0.02, num_days)))
    opened = close * np.exp(generator.normal(0, 0.005, num_days))
    spread = np.exp(generator.uniform(0.002, 0.02, num_days))
    high, low = np.maximum(opened, close) * spread, np.minimum(opened, close) / spread
    return pd.DataFrame(
        {"date": pd.bdate_range(start, periods=num_days), "open": opened, "high": high, "low": low, "close": close, "volume": 1000.0}
    )


def write(folder: Path, tables: dict[str, pd.DataFrame]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for ticker, table in tables.items():
        table.to_csv(folder / f"{ticker}.csv", index=False)
    return folder


def three(folder: Path) -> Path:
    return write(folder, {ticker: prices(ticker) for ticker in TICKERS})


@pytest.fixture
def make(make_data: Make) -> Make:
    """Make a data module: short windows of two features."""
    return partial(make_data, "stock", window_days=5, features=["return", "range"])


def set_up(module: StockData) -> StockData:
    module.setup()
    return module


def dates_of(module: StockData) -> list[pd.Series]:
    return [module.index["date"].iloc[module.rows[split]] for split in SPLITS]


# Splits by date


def test_training_lies_before_validation_and_that_before_test_with_a_gap_of_the_longest_horizon(tmp_path: Path, make: Make) -> None:
    module = set_up(make(three(tmp_path / "p"), horizon_days=[1, 4]))
    train, val, test = dates_of(module)
    assert np.busday_count(train.max().date(), val.min().date()) == 5 == np.busday_count(val.max().date(), test.min().date())
    for earlier, later in (("train", val), ("val", test)):
        assert (module.index["last_date"].iloc[module.rows[earlier]] < later.min()).all()


def test_all_tickers_are_cut_on_the_same_days(tmp_path: Path, make: Make) -> None:
    module = set_up(make(three(tmp_path / "p")))
    for split in SPLITS:
        part = module.index.iloc[module.rows[split]]
        spans = part.groupby("series")["date"].agg(["min", "max", "count"])
        assert spans.index.tolist() == list(TICKERS) and len(spans.drop_duplicates()) == 1


def test_folds_walk_forward_through_the_end(tmp_path: Path, make: Make) -> None:
    source = three(tmp_path / "p")
    keys = {"num_folds": 3, "test_fraction": 0.1}
    expanding = [dates_of(set_up(make(source, fold=fold, **keys))) for fold in range(3)]
    rolling = dates_of(set_up(make(source, fold=2, walk="rolling", **keys)))
    tests = [test for _, _, test in expanding]
    assert all(one.max() < next_one.min() for one, next_one in pairwise(tests))
    assert len({len(test) for test in tests}) == 1 and tests[2].max() == pd.bdate_range("2020-01-01", periods=90)[-2]
    # 84 dates: 3 blocks of 8, validation of 8, two gaps of 1 leave 84 - 34 for the first
    assert [train.nunique() for train, _, _ in expanding] == [50, 58, 66] and rolling[0].nunique() == 50
    assert rolling[0].max() == expanding[2][0].max() and rolling[2].equals(expanding[2][2])


def test_a_fold_that_does_not_exist_is_refused(tmp_path: Path, make: Make) -> None:
    with pytest.raises(ValueError, match=r"^data.fold=3: data.num_folds=3, so folds are 0 to 2$"):
        make(three(tmp_path / "p"), num_folds=3, test_fraction=0.1, fold=3).setup()


def test_the_test_hash_names_what_is_tested(tmp_path: Path, make: Make) -> None:
    source = three(tmp_path / "p")
    same, again, other = (set_up(make(source, **keys)).hashes["test_hash"] for keys in ({}, {"seed": 7}, {"horizon_days": [2]}))
    assert same == again != other


# What batches hold


def test_windows_hold_their_features_scaled_by_training_alone(tmp_path: Path, make: Make) -> None:
    module = set_up(make(three(tmp_path / "p")))
    returns = {ticker: np.log(prices(ticker)["close"]).diff().to_numpy() for ticker in TICKERS}
    last_train = dates_of(module)[0].max()
    first_train = dates_of(module)[0].min()
    days = prices("AAA")["date"]
    is_train = ((days >= first_train) & (days <= last_train)).to_numpy()
    seen = np.concatenate([returns[ticker][is_train] for ticker in TICKERS])
    row = module.rows["test"][7]
    example = module.index.iloc[row]
    end = int(np.flatnonzero(days == example["date"])[0])
    wanted = (returns[example["series"]][end - 4 : end + 1] - seen.mean()) / seen.std()
    found = module.collate(np.array([row]), 0, False).inputs[0, :, module.feature_names.index("return")]
    assert found.numpy() == pytest.approx(wanted, abs=1e-4)


def test_values_of_test_days_change_no_scale_and_no_earlier_window(tmp_path: Path, make: Make) -> None:
    ours = set_up(make(three(tmp_path / "ours")))
    first_test = dates_of(ours)[2].min()
    tables = {ticker: prices(ticker) for ticker in TICKERS}
    for table in tables.values():
        later = table["date"] >= first_test
        table.loc[later, ["open", "high", "low", "close"]] *= 1.7
    other = set_up(make(write(tmp_path / "other", tables)))
    assert list(ours.scale_lists().values()) == list(other.scale_lists().values())
    rows = np.concatenate([ours.rows["train"], ours.rows["val"]])
    one, two = ours.collate(rows, 0, False), other.collate(rows, 0, False)
    assert torch.equal(one.inputs, two.inputs) and torch.equal(one.targets[:-3], two.targets[:-3])


def forecasts_of_truth(batch: Batch, link: Link) -> torch.Tensor:
    """Standardise the targets as a model is to, and read them as its answers are read."""
    assert batch.reference is not None
    targets = batch.targets.log() if link == "exp" else batch.targets
    outputs = (targets - batch.reference.offset) / batch.reference.scale
    answers = batch.reference.offset + batch.reference.scale * outputs
    return answers.exp() if link == "exp" else answers


@pytest.mark.parametrize("target", ["return", "close", "volatility"])
def test_the_reference_leads_from_outputs_to_the_targets_unit_and_back(tmp_path: Path, make: Make, target: str) -> None:
    module = set_up(make(three(tmp_path / "p"), target=target, horizon_days=[1, 5]))
    link = module.make_spec().link
    assert link == ("exp" if target == "volatility" else "identity")
    for split in SPLITS:
        batch = module.collate(module.rows[split], 0, False)
        assert batch.targets.shape[1] == 2
        torch.testing.assert_close(forecasts_of_truth(batch, link), batch.targets, rtol=1e-4, atol=1e-4)
    train = module.collate(module.rows["train"], 0, False)
    assert train.reference is not None
    targets = train.targets.log() if link == "exp" else train.targets
    outputs = (targets - train.reference.offset) / train.reference.scale
    torch.testing.assert_close(outputs.mean(0), torch.zeros(2).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(outputs.std(0, correction=0), torch.ones(2).double(), atol=1e-3, rtol=0)


def test_training_windows_are_changed_where_asked_and_others_never(tmp_path: Path, make: Make) -> None:
    source = three(tmp_path / "p")
    changed = set_up(make(source, loader__augment__jitter=0.2, loader__augment__shift=2))
    plain = set_up(make(source))
    rows = changed.rows["train"]
    one, two = changed.collate(rows, 1, is_training=True), plain.collate(rows, 1, is_training=True)
    assert not torch.equal(one.inputs, two.inputs) and set(one.input_lengths.tolist()) == {3, 4, 5}
    assert torch.equal(one.targets, two.targets)
    for batch, other in zip(changed.plain_dataloader("train"), plain.plain_dataloader("train"), strict=True):
        assert torch.equal(batch.inputs, other.inputs) and torch.equal(batch.input_lengths, other.input_lengths)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"horizon_days": []}, r"^data.horizon_days=\[\]: give one or more different numbers of days, such as \[1\] or \[1,5\]$"),
        ({"horizon_days": [1, 1]}, r"^data.horizon_days=\[1, 1\]: give one or more different numbers of days"),
        ({"horizon_days": [0]}, r"^data.horizon_days.0=0 is not allowed: it should be greater than or equal to 1$"),
        ({"window_days": 0}, r"^data.window_days=0 is not allowed: it should be greater than or equal to 1$"),
        ({"loader__augment__shift": 5}, r"^data.loader.augment.shift=5 leaves nothing of windows of 5 days: give less$"),
        ({"test_fraction": 1.0}, r"^data.test_fraction=1.0 is not allowed: it should be less than 1$"),
        ({"walk": "roling"}, r"^data.walk=roling is not allowed\. Did you mean 'rolling'\? Allowed: expanding, rolling$"),
    ],
)
def test_values_that_are_not_allowed_are_named_before_anything_is_read(make: Make, changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make("nowhere", **changed)


def test_a_share_of_zero_test_dates_is_refused(tmp_path: Path, make: Make) -> None:
    with pytest.raises(ValueError, match=r"test_fraction=0.0: wanted a share of the dates between 0 and 1"):
        make(three(tmp_path / "p"), test_fraction=0.0).setup()


def test_a_misspelt_augmentation_is_named(make: Make) -> None:
    config = yaml.safe_load((HOME / "conf" / "data" / "stock.yaml").read_text())
    config["loader"]["augment"]["jiter"] = 1.0
    with pytest.raises(ConfigError, match=r"data.loader.augment.jiter is not a key\. Did you mean 'jitter'\?"):
        recipe(config, "data")


# Series that don't fit


def test_series_too_short_for_a_window_are_left_out_by_name(tmp_path: Path, make: Make) -> None:
    tables = {ticker: prices(ticker) for ticker in TICKERS} | {"NEW": prices("NEW", 6, start="2020-04-20")}
    module = set_up(make(write(tmp_path / "p", tables)))
    assert module.skipped == ["NEW"] and set(module.index["series"]) == set(TICKERS)
    assert ("skipped", "too short: NEW") in module.describe()


def test_too_few_days_for_one_window_say_how_many_there_are(tmp_path: Path, make: Make) -> None:
    source = write(tmp_path / "p", {"AAA": prices("AAA", 20), "BBB": prices("BBB", 12)})
    claim = (
        r"^data.source=.*p: the longest series has 20 days, too few for one window of 30 with its features' past and 2 more to forecast: "
        r"give more data, or a smaller data.window_days$"
    )
    with pytest.raises(ValueError, match=claim):
        make(source, window_days=30, horizon_days=[2]).setup()


def test_a_handful_of_dates_says_how_many_would_do(tmp_path: Path, make: Make) -> None:
    with pytest.raises(ValueError, match=r"^3 date\(s\) are too few for 1 test block\(s\) of 0.15 .*: \d+ are enough\. Give more, or"):
        make(write(tmp_path / "p", {"AAA": prices("AAA", 9)})).setup()


def test_tickers_without_the_same_columns_are_told_to_name_features(tmp_path: Path, make: Make) -> None:
    tables = {"AAA": prices("AAA"), "BBB": prices("BBB").drop(columns=["high", "low"])}
    source = write(tmp_path / "p", tables)
    claim = r"^BBB has the features return.*, but AAA has return, range.*: leave out the columns that not all have$"
    with pytest.raises(ValueError, match=claim):
        make(source, features=None).setup()
    assert set_up(make(source, features=["return"])).feature_names == ("return",)


# Leaks


def peek(shift: int) -> Feature:
    return Feature(("close",), 0, lambda frame: {"return": frame["close"].shift(shift).ffill().to_numpy()})


def test_a_feature_that_sees_tomorrow_is_caught(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    source = three(tmp_path / "p")
    monkeypatch.setitem(indicators.FEATURES, "return", peek(-1))
    with pytest.raises(LeakageError, match=r"^the feature 'return' sees the future: a forecast made on 2020-\d\d-\d\d \(row \d+\) may use"):
        make(source).setup()
    monkeypatch.setitem(indicators.FEATURES, "return", peek(1))
    make(source).setup()


@pytest.mark.parametrize(
    "formula",
    [
        lambda frame: frame["close"].rolling(3, center=True, min_periods=1).mean(),
        lambda frame: frame["close"] - frame["close"].mean(),
        lambda frame: frame["close"].rank(pct=True),
        lambda frame: frame["volume"].bfill(),
    ],
    ids=["a centred window", "the mean of the whole series", "ranks of the whole series", "gaps filled backwards"],
)
def test_other_ways_to_see_the_future_are_caught(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, formula: Callable[[pd.DataFrame], pd.Series]
) -> None:
    leak = Feature(("close",), 0, lambda frame: {"return": formula(frame).to_numpy()})
    monkeypatch.setitem(indicators.FEATURES, "return", leak)
    with pytest.raises(LeakageError, match=r"^the feature 'return' sees the future"):
        make(three(tmp_path / "p")).setup()


def test_scales_fitted_on_all_windows_are_caught(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def of_all(series: list[Series], train: pd.DataFrame, link: Link, *, is_apart: bool, season: int) -> ScalesByName:
        honest = fit_scales(series, train, link, is_apart=is_apart, season=season).of(ALL_SERIES)
        steps = np.concatenate([one.features.dropna().to_numpy() for one in series])
        return ScalesByName({ALL_SERIES: dataclasses.replace(honest, feature_mean=steps.mean(0), feature_std=steps.std(0))})

    monkeypatch.setattr(base, "fit_scales", of_all)
    with pytest.raises(LeakageError, match=r"^the inputs of the forecast AAA 2020-\d\d-\d\d changed when only values after 2020-\S+ were"):
        make(three(tmp_path / "p")).setup()


def test_targets_scaled_on_all_windows_are_caught(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def of_all(series: list[Series], train: pd.DataFrame, link: Link, *, is_apart: bool, season: int) -> ScalesByName:
        honest = fit_scales(series, train, link, is_apart=is_apart, season=season).of(ALL_SERIES)
        every = np.concatenate([one.targets[np.isfinite(one.targets)] for one in series])
        return ScalesByName(
            {ALL_SERIES: dataclasses.replace(honest, target_mean=np.array([every.mean()]), target_std=every.std(keepdims=True))}
        )

    monkeypatch.setattr(base, "fit_scales", of_all)
    with pytest.raises(LeakageError, match=r"^the offset of the forecast .* changed when only values after"):
        make(three(tmp_path / "p")).setup()


def test_a_forecast_that_starts_from_tomorrow_is_caught(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = StockData.series_of

    def later(self: StockData, name: str, frame: pd.DataFrame) -> Series:
        one = honest(self, name, frame)
        return dataclasses.replace(one, persistence=np.concatenate([one.persistence[1:], one.persistence[-1:]]))

    monkeypatch.setattr(StockData, "series_of", later)
    with pytest.raises(LeakageError, match=r"^the persistence of the forecast .* changed when only values after"):
        make(three(tmp_path / "p"), target="close").setup()


# With another run's eyes, and raw inputs


def test_other_prices_are_all_test_with_the_runs_scales(tmp_path: Path, make: Make) -> None:
    ours = set_up(make(three(tmp_path / "ours")))
    reader = through_json(ours.reader())
    other = make(write(tmp_path / "theirs", {"DDD": prices("DDD", 40)}))
    other.setup_as_test(reader)
    assert [len(other.rows[split]) for split in SPLITS] == [0, 0, 34]  # 40 less 5 of a window and its first return, and 1 target
    assert list(ours.scale_lists().values()) == list(other.scale_lists().values())


def test_prices_without_the_runs_features_are_refused(tmp_path: Path, make: Make) -> None:
    ours = set_up(make(three(tmp_path / "ours"), features=None))
    theirs = write(tmp_path / "theirs", {"DDD": prices("DDD").drop(columns="volume")})
    claim = r"DDD lacks the column 'volume', which the run was trained on; it has: date, open, high, low, close: give a table with the same"
    with pytest.raises(ValueError, match=claim):
        make(theirs, features=None).setup_as_test(ours.reader())
    with pytest.raises(ValueError, match=claim):
        through_json(ours.reader()).read([str(theirs / "DDD.csv")])


def test_raw_tables_may_be_paths_or_content_and_end_at_their_last_day(tmp_path: Path, make: Make) -> None:
    source = three(tmp_path / "p")
    reader = through_json(set_up(make(source)).reader())
    file = source / "BBB.csv"
    names, batch = reader.read([str(file), file.read_text()])
    assert names == ["BBB 2020-05-05", "input 2020-05-05"]
    assert torch.equal(batch.inputs[0], batch.inputs[1]) and batch.inputs.shape == (2, 5, 2)
    assert batch.targets.isnan().all() and batch.input_lengths.tolist() == [5, 5]


def test_one_raw_table_may_hold_several_tickers(tmp_path: Path, make: Make) -> None:
    source = three(tmp_path / "p")
    reader = through_json(set_up(make(source)).reader())
    pd.concat([prices(ticker).assign(ticker=ticker) for ticker in TICKERS]).to_csv(tmp_path / "long.csv", index=False)
    names, batch = reader.read([str(tmp_path / "long.csv")])
    alone = reader.read([str(source / f"{ticker}.csv") for ticker in TICKERS])[1]
    assert names == [f"{ticker} 2020-05-05" for ticker in TICKERS] and torch.equal(batch.inputs, alone.inputs)


def test_a_raw_table_too_short_for_a_window_is_named(tmp_path: Path, make: Make) -> None:
    reader = through_json(set_up(make(three(tmp_path / "p"))).reader())
    short = write(tmp_path / "short", {"DDD": prices("DDD", 5)}) / "DDD.csv"
    with pytest.raises(ValueError, match=r"short/DDD.csv: DDD has 5 rows, too few for a window of 5 and its features' past$"):
        reader.read([str(short)])
    with pytest.raises(ValueError, match=r"^input 0: input has 5 rows, too few for a window of 5 and its features' past$"):
        reader.read([short.read_text()])
