"""Claims about daily prices as a data set: targets and features by hand, tickers, what is refused, what a person is told."""

import copy
import gzip
import zipfile
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
from rnnlab.data.series.indicators import FEATURES
from rnnlab.data.series.stock import StockData, features_of, make_series
from rnnlab.paths import HOME
from rnnlab.settings import Paths

Make = Callable[..., StockData]
# By hand: six closes, each day up or down by a round share.
CLOSES = [100.0, 110.0, 99.0, 99.0, 198.0, 49.5]


def six_rows() -> pd.DataFrame:
    return pd.DataFrame({"date": pd.bdate_range("2020-01-01", periods=6), "close": CLOSES})


def walk(ticker: str, num_days: int = 80) -> pd.DataFrame:
    """Return closes and volumes that depend on the ticker's name alone."""
    generator = np.random.default_rng(list(ticker.encode()))
    close = (40 * np.exp(np.cumsum(generator.normal(0, 0.02, num_days)))).round(2)
    return pd.DataFrame(
        {"date": pd.bdate_range("2020-01-01", periods=num_days), "close": close, "volume": generator.integers(1, 99, num_days)}
    )


def folder_of(folder: Path, *tickers: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for ticker in tickers:
        walk(ticker).to_csv(folder / f"{ticker}.csv", index=False)
    return folder


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a data module from conf/data/stock.yaml and changed keys: short windows of returns."""
    defaults: Config = yaml.safe_load((HOME / "conf" / "data" / "stock.yaml").read_text())

    def made(source: Path | str, **changed: object) -> StockData:
        config = copy.deepcopy(defaults) | {"source": str(source), "offline": True, "window_days": 5, "features": ["return"]}
        assert not set(changed) - set(config)
        module: StockData = recipe(config | changed, "data")(Paths.below(tmp_path), 0)
        return module

    return made


def set_up(module: StockData) -> StockData:
    module.setup()
    return module


# Targets, persistence, and what a forecast starts from, by hand


def test_returns_are_logs_in_percent_and_persistence_is_none() -> None:
    one = make_series("A", six_rows(), "return", [1, 2], ["return"], "auto")
    up, down, double = 100 * np.log(1.1), 100 * np.log(0.9), 100 * np.log(2)
    assert one.targets[:, 0] == pytest.approx([up, down, 0, double, -2 * double, np.nan], nan_ok=True)
    assert one.targets[:, 1] == pytest.approx([up + down, down, double, -double, np.nan, np.nan], nan_ok=True)
    assert not one.persistence.any() and not one.base.any() and (one.size == 1).all()


def test_a_close_starts_from_the_last_close_and_is_measured_in_it() -> None:
    one = make_series("A", six_rows(), "close", [1, 3], ["return"], "auto")
    assert one.targets[:, 0] == pytest.approx([110, 99, 99, 198, 49.5, np.nan], nan_ok=True)
    assert one.targets[:, 1] == pytest.approx([99, 198, 49.5, np.nan, np.nan, np.nan], nan_ok=True)
    for part in (one.persistence, one.base, one.size):
        assert part.tolist() == [[close, close] for close in CLOSES]


def test_a_direction_is_up_only_where_the_later_close_is_higher() -> None:
    one = make_series("A", six_rows(), "direction", [1], ["return"], "auto")
    assert one.targets[:, 0] == pytest.approx([1, 0, 0, 1, 0, np.nan], nan_ok=True)
    assert one.persistence[:, 0] == pytest.approx([np.nan, 1, 0, 0, 1, 0], nan_ok=True)


def test_a_volatility_is_the_mean_variance_of_the_days_ahead_and_persists_as_that_of_the_days_before() -> None:
    one = make_series("A", six_rows(), "volatility", [1, 2], ["return"], "squared_return")
    up, down, double = (100 * np.log(ratio) for ratio in (1.1, 0.9, 2))
    squares = [np.nan, up**2, down**2, 1e-4, double**2, 4 * double**2]  # a day without a move has the floor
    assert one.targets[:, 0] == pytest.approx([*squares[1:], np.nan], nan_ok=True)
    assert one.targets[:4, 1] == pytest.approx([(squares[t + 1] + squares[t + 2]) / 2 for t in range(4)])
    assert one.persistence[:, 0] == pytest.approx(squares, nan_ok=True)
    assert one.persistence[2:, 1] == pytest.approx([(squares[t] + squares[t - 1]) / 2 for t in range(2, 6)])


def test_a_batch_holds_the_targets_of_its_days(tmp_path: Path, make: Make) -> None:
    table = walk("AAA")
    module = set_up(make(folder_of(tmp_path / "p", "AAA"), target="close", horizon_days=[1, 5]))
    batch = module.collate(module.rows["test"], 0, False)
    days = module.index["date"].iloc[module.rows["test"]]
    places = [int(np.flatnonzero(table["date"] == day)[0]) for day in days]
    closes = table["close"].to_numpy(np.float32)
    assert batch.targets.tolist() == [[closes[place + 1], closes[place + 5]] for place in places]
    assert batch.reference is not None
    assert batch.reference.persistence.tolist() == [[closes[place]] * 2 for place in places]
    answer = batch.reference.offset + batch.reference.scale * 0  # a network that knows nothing: near the last close
    assert (answer / batch.reference.persistence - 1).abs().max() < 0.1


def test_a_direction_is_a_class_with_its_counts(tmp_path: Path, make: Make) -> None:
    module = set_up(make(folder_of(tmp_path / "p", "AAA", "BBB"), target="direction"))
    spec = module.make_spec()
    assert (spec.target_kind, spec.label_names, spec.target_size) == ("class", ("down", "up"), 2)
    batch = module.collate(module.rows["train"], 0, False)
    assert batch.targets.dtype == torch.int64 and batch.reference is None
    assert list(spec.class_counts or ()) == [(batch.targets == number).sum() for number in (0, 1)]
    assert set(module.targets(module.rows["test"])) <= {"down", "up"}


@pytest.mark.parametrize(("target", "unit", "link"), [("return", "%", "identity"), ("close", "", "identity"), ("volatility", "%²", "exp")])
def test_the_spec_names_targets_unit_and_link(make: Make, tmp_path: Path, target: str, unit: str, link: str) -> None:
    spec = set_up(make(folder_of(tmp_path / "p", "AAA"), target=target, horizon_days=[1, 5])).make_spec()
    assert (spec.target_kind, spec.target_size, spec.unit, spec.link) == ("real", 2, unit, link)
    assert spec.label_names == (f"{target}_1d", f"{target}_5d") and spec.feature_names == ("return",)


# Features


def test_the_features_are_those_the_columns_allow(tmp_path: Path, make: Make) -> None:
    module = set_up(make(folder_of(tmp_path / "p", "AAA"), features=None))
    assert "relative_volume" in module.feature_names and not {"range", "gap", "body"} & set(module.feature_names)
    assert {"return", "momentum_22", "weekday_sin"} <= set(module.feature_names)
    assert features_of(six_rows(), ["return"], "return").columns.tolist() == ["return"]


def test_features_come_in_the_order_they_are_named_in(tmp_path: Path, make: Make) -> None:
    module = set_up(make(folder_of(tmp_path / "p", "AAA"), features=["momentum_5", "return"]))
    assert module.feature_names == ("momentum_5", "return")


def test_a_misspelt_feature_is_refused_before_anything_is_read(make: Make) -> None:
    with pytest.raises(ValueError, match=rf"^data.features: there is no feature 'returns'\. .*Allowed: {', '.join(FEATURES)}$"):
        make("nowhere", features=["range", "returns"])


def test_a_feature_named_twice_or_without_its_column_is_refused(tmp_path: Path, make: Make) -> None:
    source = folder_of(tmp_path / "p", "AAA")
    with pytest.raises(ValueError, match=r"the feature 'return' is named twice: name each feature once"):
        make(source, features=["return", "return"]).setup()
    with pytest.raises(ValueError, match=r"the feature 'range' needs the column 'high'; the prices have: date, close, volume"):
        make(source, features=["range"]).setup()


def test_an_estimator_without_its_columns_is_refused(tmp_path: Path, make: Make) -> None:
    with pytest.raises(ValueError, match=r"the estimator 'parkinson' needs the column 'high'"):
        make(folder_of(tmp_path / "p", "AAA"), target="volatility", estimator="parkinson").setup()


def test_a_direction_of_two_horizons_is_refused(make: Make) -> None:
    with pytest.raises(
        ValueError, match=r"^data.target=direction is one class, but data.horizon_days=\[1, 5\] asks for several: give one$"
    ):
        make("nowhere", target="direction", horizon_days=[1, 5])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"target": "returns"},
            r"^data.target=returns is not allowed\. Did you mean 'return'\? Allowed: return, change, close, direction, volatility$",
        ),
        ({"estimator": "parkison"}, r"^data.estimator=parkison is not allowed\. Did you mean 'parkinson'\? Allowed: auto, parkinson,"),
    ],
)
def test_a_misspelt_target_or_estimator_is_refused(make: Make, changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make("nowhere", **changed)


# Tickers and tables


def test_tickers_are_chosen_by_name(tmp_path: Path, make: Make) -> None:
    source = folder_of(tmp_path / "p", "AAA", "BBB", "CCC")
    assert set(set_up(make(source)).index["series"]) == {"AAA", "BBB", "CCC"}
    chosen = set_up(make(source, tickers=["CCC", "AAA"]))
    assert set(chosen.index["series"]) == {"AAA", "CCC"}
    alone = set_up(make(source / "AAA.csv"))
    ours = chosen.index["series"] == "AAA"
    assert alone.targets(np.arange(len(alone.index))) == chosen.targets(np.flatnonzero(ours))


def test_a_ticker_that_is_not_there_is_named_with_those_that_are(tmp_path: Path, make: Make) -> None:
    with pytest.raises(ValueError, match=r"has no prices of 'AAX'; it has: AAA, BBB\. Did you mean AAA\?$"):
        make(folder_of(tmp_path / "p", "AAA", "BBB"), tickers=["AAX"]).setup()


def test_a_long_table_a_folder_and_packed_files_give_the_same_windows(tmp_path: Path, make: Make) -> None:
    source = folder_of(tmp_path / "p", "AAA", "BBB")
    long = pd.concat([walk(ticker).assign(Symbol=ticker) for ticker in ("AAA", "BBB")]).sample(frac=1, random_state=0)
    long.to_csv(tmp_path / "long.tsv", index=False, sep="\t")
    (tmp_path / "packed").mkdir()
    for ticker in ("AAA", "BBB"):
        (tmp_path / "packed" / f"{ticker}.csv.gz").write_bytes(gzip.compress((source / f"{ticker}.csv").read_bytes()))
    wanted, table, packed = (set_up(make(place)) for place in (source, tmp_path / "long.tsv", tmp_path / "packed"))
    for found in (table, packed):
        assert found.hashes == wanted.hashes
        assert found.index["id"].tolist() == wanted.index["id"].tolist()
        assert np.array_equal(found.windows.values, wanted.windows.values, equal_nan=True)


def test_what_was_odd_is_told_of_this_file_and_not_of_one_that_came_before(tmp_path: Path, make: Make) -> None:
    source = folder_of(tmp_path / "p", "AAA")
    assert dict(set_up(make(source)).describe())["odd"] == "nothing"
    walk("AAA").sample(frac=1, random_state=0).to_csv(source / "AAA.csv", index=False)
    assert "unsorted" in dict(set_up(make(source)).describe())["odd"]


def test_what_was_mended_is_counted_and_what_to_look_at_is_said(tmp_path: Path, make: Make) -> None:
    table = walk("AAA")
    table.loc[40:, "close"] = (table.loc[40:, "close"] / 4).round(2)  # a split that nobody adjusted
    table.loc[50, "close"] = np.nan
    table.to_csv(tmp_path / "AAA.csv", index=False)
    told = set_up(make(tmp_path / "AAA.csv")).describe()
    odd = dict(told)["odd"]
    assert "1 without close" in odd and "1 large moves" in odd
    looks = [text for name, text in told if name == "look at"]
    assert any("times the one before: if that is a split" in text for text in looks)


def test_the_estimator_of_volatility_is_told(tmp_path: Path, make: Make) -> None:
    source = folder_of(tmp_path / "p", "AAA")
    assert dict(set_up(make(source, target="volatility")).describe())["variance"].startswith("squared_return, mean of the days ahead")
    assert "variance" not in dict(set_up(make(source)).describe())


def test_the_sample_is_six_tickers_cut_by_date(make: Make) -> None:
    module = set_up(make("sample", features=None, window_days=30))
    assert sorted(set(module.index["series"])) == ["ALFA", "BRVO", "CHRL", "DLTA", "ECHO", "FXTR"]
    dates = [module.index["date"].iloc[module.rows[split]] for split in SPLITS]
    assert dates[0].max() < dates[1].min() and dates[1].max() < dates[2].min()
    assert len(module.feature_names) == 14


def test_features_that_the_run_does_not_have_are_left_out_and_missing_columns_named(tmp_path: Path, make: Make) -> None:
    frame = walk("A")
    (tmp_path / "A.csv").write_text(frame[["close", "date"]].to_csv(index=False))
    reader = through_json(set_up(make(tmp_path / "A.csv", features=None)).reader())
    (tmp_path / "more.csv").write_text(frame.assign(high=frame["close"] + 1, low=frame["close"] - 1, sector="x").to_csv(index=False))
    (_, expected), (_, found) = (reader.read([str(tmp_path / name)]) for name in ("A.csv", "more.csv"))
    assert torch.equal(found.inputs, expected.inputs)
    other = make(tmp_path / "more.csv", features=None)
    other.setup_as_test(reader)
    assert other.feature_names == reader.feature_names
    with_volume = through_json(set_up(make(tmp_path / "more.csv", features=None)).reader())
    with pytest.raises(ValueError, match=r"A lacks the column 'high', which the run was trained on; it has: date, close"):
        with_volume.read([str(tmp_path / "A.csv")])


@pytest.mark.parametrize("name", ["AAPL.csv", "AAPL.zip"])
def test_exports_of_price_sites_are_read_as_they_are(tmp_path: Path, make: Make, name: str) -> None:
    frame = walk("A")
    lines = [f'"{day:%b %d, %Y}","{1000 * close:,.2f}","{num}.50K","0.30%"' for day, close, num in frame.itertuples(index=False)][::-1]
    text = "\ufeff" + "\n".join(['"Date","Price","Vol.","Change %"', *lines])
    if name.endswith(".zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("prices.csv", text)
    else:
        (tmp_path / name).write_text(text)
    module = set_up(make(tmp_path / name))
    (found,) = module.frames(module.data).values()
    assert found["date"].tolist() == frame["date"].tolist()
    np.testing.assert_allclose(found["close"], 1000 * frame["close"], rtol=1e-12)
    np.testing.assert_allclose(found["volume"], 1000 * frame["volume"] + 500)
    assert list(module.data.examples["id"]) == ["AAPL"]
    odd = dict(module.describe())["odd"]
    assert "80 numbers whose thousands were apart" in odd and "80 numbers in K, M, B" in odd


def test_codes_keep_their_zeros(tmp_path: Path, make: Make) -> None:
    frame = pd.concat([walk(ticker).assign(code=ticker) for ticker in ("000001", "600519")])
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert list(set_up(make(tmp_path / "t.csv")).data.examples["id"]) == ["000001", "600519"]
    assert list(set_up(make(tmp_path / "t.csv", tickers=["000001"])).data.examples["id"]) == ["000001"]
