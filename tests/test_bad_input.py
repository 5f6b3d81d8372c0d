"""What a user's own files do: bad ones stop early with a clear message and leave no run behind; good ones of each kind train."""

import json
import random
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rnnlab.commands import train as run
from rnnlab.commands.prepare import PrepareSettings, prepare
from rnnlab.settings import TrainSettings
from rnnlab.training.recipes import find_data

Compose = Callable[..., TrainSettings]
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(40)
LABELS = ("north", "south", "west")


def texts(num: int = 45, labels: tuple[str, ...] = LABELS) -> list[tuple[str, str]]:
    """Return short texts that name something of their label's, and their labels."""
    things = ("ice", "palm", "ocean")
    return [(f"café {n}: we saw {things[n % len(labels)]} and {'mist' if n % 2 else 'sun'}", labels[n % len(labels)]) for n in range(num)]


def csv_of(rows: list[tuple[str, str]], delimiter: str = ",", header: tuple[str, str] = ("text", "label")) -> str:
    return "\n".join([delimiter.join(header), *(delimiter.join(row) for row in rows)]) + "\n"


def price_rows(num_days: int = 90, seed: int = 0) -> list[str]:
    """Return lines of `date,open,high,low,close,volume`."""
    generator = np.random.default_rng(seed)
    close = 20 * np.exp(np.cumsum(generator.normal(0, 0.02, num_days)))
    days = np.datetime64("2021-01-01") + np.arange(num_days)
    return [f"{day},{p:.2f},{p * 1.02:.2f},{p * 0.98:.2f},{p * 1.01:.2f},{n}" for n, (day, p) in enumerate(zip(days, close, strict=True))]


PRICES = "date,open,high,low,close,volume"


def prices(*, header: str = PRICES, num_days: int = 90, seed: int = 0, changed: Callable[[list[str]], None] | None = None) -> str:
    rows = price_rows(num_days, seed)
    if changed is not None:
        changed(rows)
    return "\n".join([header, *rows]) + "\n"


def loads(num_rows: int = 120, header: str = "time,load_mw,wind") -> str:
    times = np.datetime64("2021-01-01T00:00") + np.arange(num_rows) * np.timedelta64(1, "h")
    return "\n".join([header, *(f"{time},{50 + 10 * np.sin(n / 4):.3f},{n % 7}" for n, time in enumerate(times))]) + "\n"


def set_field(row: int, column: int, value: str) -> Callable[[list[str]], None]:
    """Return what changes one field of a list of lines."""

    def change(rows: list[str]) -> None:
        fields = rows[row].split(",")
        fields[column] = value
        rows[row] = ",".join(fields)

    return change


def place(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def runs(root: Path) -> tuple[int, int]:
    """Count the folders of runs, and the runs in the tracking database."""
    database = root / "mlflow.db"
    num = sqlite3.connect(database).execute("select count(*) from runs").fetchone()[0] if database.exists() else 0
    return len(list((root / "outputs").glob("*"))), num


@pytest.fixture
def refuse(compose: Compose, root: Path) -> Callable[..., None]:
    """Train as a user types it, and expect a message, no training and no run."""

    def refused(message: str, *words: str) -> None:
        before = runs(root)
        with pytest.raises(ValueError, match=message):
            run.train(compose("trainer=smoke", *words))
        assert runs(root) == before

    return refused


SHORT = ("data.window_days=5", "data.features=[return]")

# Not a table at all


@pytest.mark.parametrize("data", ["text", "stock", "series"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (PNG, r"mine.csv is a picture or a PDF, not a text table: export the table as CSV$"),
        (b"", r"mine.csv is empty \(0 bytes\): write it anew, or give another file$"),
        (b"\xd0\xcf\x11\xe0rest", r"mine.csv is an Excel workbook .* export the sheet as CSV"),
        (b"\n\n\n", r"mine.csv holds nothing but blank lines: wanted a header and rows$"),
    ],
    ids=["a picture", "nothing", "a workbook", "blank lines"],
)
def test_what_is_no_table_is_named(tmp_path: Path, refuse: Callable[..., None], data: str, content: bytes, message: str) -> None:
    refuse(message, f"data={data}", f"data.source={place(tmp_path, 'mine.csv', content)}")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("text", r"^no texts in .*: wanted train.csv \(or .tsv, .jsonl\) and, if known, val.\* and test.\*; or one subfolder per label"),
        ("stock", r"^no price tables in .*: wanted one file per ticker, .*, such as AAPL.csv$"),
        ("series", r"is a folder: data=series takes one table"),
    ],
)
def test_a_folder_in_place_of_a_file_says_what_is_wanted(tmp_path: Path, refuse: Callable[..., None], data: str, message: str) -> None:
    (tmp_path / "mine.csv").mkdir()
    refuse(message, f"data={data}", f"data.source={tmp_path / 'mine.csv'}")


@pytest.mark.parametrize("data", ["text", "stock", "series"])
def test_a_file_that_does_not_exist_is_never_replaced_by_the_sample(tmp_path: Path, refuse: Callable[..., None], data: str) -> None:
    refuse(
        r"^data.source=.*gone.csv: no such folder or file, nor a named source \(", f"data={data}", f"data.source={tmp_path / 'gone.csv'}"
    )


# Texts


BAD_TEXTS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "wrong delimiter": (
        csv_of(texts(), ";"),
        ("data.prepare.delimiter=','",),
        r"one column when split at ','; it looks separated by ';': give delimiter=",
    ),
    "unbalanced quotes": (
        csv_of([*texts(), ('"never closed', "north")]),
        (),
        r"mine.csv, line 47: the quote that opens here \('\"never closed'\) is never clo",
    ),
    "an empty text": (
        csv_of([*texts(), (" ", "north")]),
        (),
        r"mine.csv, line 47: the text is empty\. Fill it in or remove the row, or leave ",
    ),
    "an empty label": (
        csv_of([*texts(), ("some text", "")]),
        (),
        r"mine.csv, line 47: the label is empty\. Fill it in or remove the row, or leave ",
    ),
    "one class": (
        csv_of(texts(labels=("north",))),
        (),
        r"mine.csv: all 45 labels are 'north'; a classifier needs two classes or more\. Set data.prep",
    ),
    "no label column": (
        csv_of(texts(), header=("text", "wind")),
        (),
        r"mine.csv lacks a column 'label' \(or class, .*\); it has: text, wind\. Rename one",
    ),
    "a misspelt column": (
        csv_of(texts(), header=("body", "lable")),
        (),
        r"it has: body, lable\. Did you mean 'lable'\? Rename one, or set data.prepare.label_",
    ),
    "two columns of texts": (
        csv_of(texts(), header=("review", "title")),
        (),
        r"several columns that may be meant by 'text': review, title; set data.prepare.te",
    ),
    "a comma in a text": (
        csv_of([*texts(), ("one, two", "north")]),
        (),
        r"mine.csv, line 47: found 3 of 2 fields \(text, label\) .* is there a ',' in a text",
    ),
    "too few of a label": (csv_of(texts(2)), (), r"^label 'north' has 1 example\(s\); a random split needs at least 3 of each label"),
    "misspelt tokens": (
        csv_of(texts()),
        ("data.prepare.tokens=words",),
        r"^data.prepare.tokens=words is not allowed\. Did you mean 'word'\? Allowed: auto, word,",
    ),
    "a misspelt split": (
        csv_of(texts()),
        ("data.split=oficial",),
        r"^data.split=oficial is not allowed\. Did you mean 'official'\? Allowed: auto, official",
    ),
    "no official split": (
        csv_of(texts()),
        ("data.split=official",),
        r"^data.split=official, but the source names no test examples: add a `split` column",
    ),
}


@pytest.mark.parametrize("case", BAD_TEXTS)
def test_bad_texts_are_refused(tmp_path: Path, refuse: Callable[..., None], case: str) -> None:
    content, words, message = BAD_TEXTS[case]
    refuse(message, "data=text", f"data.source={place(tmp_path, 'mine.csv', content)}", *words)


def test_labels_that_appear_only_in_test_are_refused(tmp_path: Path, refuse: Callable[..., None]) -> None:
    place(tmp_path, "mine/train.csv", csv_of(texts()))
    place(tmp_path, "mine/test.csv", csv_of([("we saw sand", "east")]))
    claim = r"^label 'east' occurs in the test split \(1 times, first test.csv:2\) but never in training: move some of it to training"
    refuse(claim, "data=text", f"data.source={tmp_path / 'mine'}")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xef\xbb\xbf" + csv_of(texts()).encode(), "1 byte order mark"),
        (csv_of(texts()).replace("\n", "\r\n").encode(), "1 CRLF line ends"),
        (csv_of(texts()).encode("latin-1"), "45 lines not UTF-8 (whole file read as windows-1252)"),
    ],
    ids=["BOM", "CRLF", "latin-1"],
)
def test_texts_as_other_programs_write_them_are_read_alike(
    tmp_path: Path, compose: Callable[..., PrepareSettings], capsys: pytest.CaptureFixture[str], content: bytes, told: str
) -> None:
    words = ("data=text", f"data.source={place(tmp_path, 'mine.csv', content)}", f"paths.data={tmp_path / 'data'}")
    prepare(compose(*words, config_name="prepare"))
    said = capsys.readouterr().err
    assert told in said and "labels        3: north (15), south (15), west (15)" in said


# Prices


BAD_PRICES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "no date": (
        prices(changed=set_field(7, 0, "yesterday")),
        (),
        r"mine.csv, line 9: 'date' holds 'yesterday', which is no date: write it as 2020-01-31",
    ),
    "a day that does not exist": (
        prices(changed=set_field(7, 0, "2021-02-30")),
        (),
        r"mine.csv, line 9: 'date' holds '2021-02-30', which is no date",
    ),
    "fewer rows than a window": (
        prices(num_days=6),
        (),
        r"the longest series has 6 days, too few for one window of 5 .*: give more data, or a smaller data.window_days$",
    ),
    "no close": (
        prices(header=PRICES.replace("close", "end")),
        (),
        r"mine.csv lacks a column 'close' \(or closing price, .*\); it has: date, open, high",
    ),
    "two closes": (prices(header="date,last,high,low,price,volume"), (), r"several columns that may be meant by 'close': last, price; "),
    "no date column": (
        prices(header=PRICES.replace("date", "when")),
        (),
        r"mine.csv lacks a column 'date' \(or time, timestamp, datetime, day, .*\); it has: when",
    ),
    "a zero price": (
        prices(changed=set_field(7, 4, "0")),
        (),
        r"mine.csv, line 9: the close of mine is 0.0; returns of a price of 0.0 .* do not exist",
    ),
    "a decimal comma": (prices(changed=set_field(7, 4, "1,5")), (), r"mine.csv, line 9: found 7 of 6 fields"),
    "a word among prices": (prices(changed=set_field(7, 4, "soon")), (), r"mine.csv, line 9: 'close' holds 'soon', which is no number"),
    "a misspelt target": (
        prices(),
        ("data.target=retrun",),
        r"^data.target=retrun is not allowed\. Did you mean 'return'\? Allowed: return, change, close, direction, vola",
    ),
    "a misspelt feature": (
        prices(),
        ("data.features=[retrun]",),
        r"^data.features: there is no feature 'retrun'\. .*Allowed: return, range",
    ),
    "an unknown ticker": (prices(), ("data.tickers=[AAPL]",), r"mine.csv has no prices of 'AAPL'; it has: mine\.$"),
    "two directions": (
        prices(),
        ("data.target=direction", "data.horizon_days=[1,5]"),
        r"^data.target=direction is one class, but data.horizon_days=\[1, 5\]",
    ),
    "all test": (
        prices(),
        ("data.test_fraction=0.9",),
        r"^nothing is left to train on: .* Lower test_fraction, val_fraction or num_folds$",
    ),
}


@pytest.mark.parametrize("case", BAD_PRICES)
def test_bad_prices_are_refused(tmp_path: Path, refuse: Callable[..., None], case: str) -> None:
    content, words, message = BAD_PRICES[case]
    refuse(message, "data=stock", f"data.source={place(tmp_path, 'mine.csv', content)}", *SHORT, *words)


def test_prices_that_are_not_sorted_are_sorted_and_counted(
    tmp_path: Path, compose: Callable[..., PrepareSettings], capsys: pytest.CaptureFixture[str]
) -> None:
    file = place(tmp_path, "mine.csv", prices(changed=random.Random(0).shuffle))
    prepare(compose("data=stock", f"data.source={file}", f"paths.data={tmp_path / 'data'}", *SHORT, config_name="prepare"))
    said = capsys.readouterr().err
    assert " unsorted" in said and "mine; 90 days" in said


# Series


BAD_SERIES: dict[str, tuple[str, tuple[str, ...], str]] = {
    "no target": (
        loads(),
        ("data.target_column=load",),
        r"mine.csv lacks a column 'load'; it has: time, load_mw, wind\. Did you mean 'load_mw'\? Rename",
    ),
    "two times": (
        loads(header="day,load_mw,date"),
        (),
        r"mine.csv has several columns that may be meant by 'time': day, date; set data.time_column to",
    ),
    "no time": (loads().replace("T03:00", "T03h"), (), r"mine.csv, line 5: 'time' holds '2021-01-01T03h', which is no date"),
    "fewer rows than a window": (
        loads(20),
        (),
        r"the longest series has 20 steps, too few for one window of 48 .* or a smaller data.window_steps$",
    ),
    "a word": (loads().replace(",50.000,", ",fifty,"), (), r"mine.csv, line 2: 'load_mw' holds 'fifty', which is no number"),
    "no covariate": (loads(), ("data.covariates=[rain]",), r"mine.csv lacks a column 'rain'; it has: time, load_mw, wind"),
    "no horizon": (loads(), ("data.horizon_steps=[]",), r"^data.horizon_steps=\[\]: give one or more different numbers of steps"),
}


@pytest.mark.parametrize("case", BAD_SERIES)
def test_bad_series_are_refused(tmp_path: Path, refuse: Callable[..., None], case: str) -> None:
    content, words, message = BAD_SERIES[case]
    refuse(message, "data=series", f"data.source={place(tmp_path, 'mine.csv', content)}", *words)


# Good files of each kind

SMALL = ("trainer=smoke", "model.recurrence.hidden_size=4", "tracking.log_model=false", "data.loader.batch_size=8")


def jsonl_of(rows: list[tuple[str, str]]) -> str:
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)


def write_texts(folder: Path, kind: str) -> Path:
    if kind == "folder":
        for name, rows in {"train.csv": texts(), "val.csv": texts()[:9], "test.csv": texts(12)}.items():
            place(folder, f"mine/{name}", csv_of([(f"{name} {text}", label) for text, label in rows]))
        return folder / "mine"
    content = {"csv": csv_of(texts()), "tsv": csv_of(texts(), "\t"), "jsonl": jsonl_of(texts())}[kind]
    return place(folder, f"mine.{kind}", content)


def write_prices(folder: Path, kind: str) -> Path:
    if kind == "table":
        return place(folder, "mine.csv", prices())
    if kind == "folder":
        for seed, name in enumerate(("AAA", "BBB")):
            place(folder, f"mine/{name}.csv", prices(seed=seed))
        return folder / "mine"
    rows = [f"{name},{row}" for seed, name in enumerate(("AAA", "BBB")) for row in price_rows(seed=seed)]
    return place(folder, "mine.csv", "\n".join([f"ticker,{PRICES}", *rows]) + "\n")


def trained(compose: Compose, root: Path, *words: str) -> set[str]:
    """Train, and return what the run left as artifacts."""
    folders, num = runs(root)
    before = set((root / "outputs").glob("*"))
    run.train(compose(*SMALL, *words))
    assert runs(root) == (folders + 1, num + 1)
    (folder,) = set((root / "outputs").glob("*")) - before
    return {path.name for path in (folder / "artifacts").iterdir()}


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "folder"])
def test_texts_of_ones_own_train(tmp_path: Path, compose: Compose, root: Path, kind: str) -> None:
    left = trained(compose, root, "data=text", f"data.source={write_texts(tmp_path, kind)}", "data.loader.min_frequency=1")
    assert {"bundle", "predictions"} <= left


@pytest.mark.parametrize("kind", ["table", "folder", "long"])
def test_prices_of_ones_own_train(tmp_path: Path, compose: Compose, root: Path, kind: str) -> None:
    left = trained(compose, root, "data=stock", f"data.source={write_prices(tmp_path, kind)}", "data.window_days=5")
    assert {"bundle", "predictions"} <= left


def test_a_series_of_ones_own_trains(tmp_path: Path, compose: Compose, root: Path) -> None:
    file = place(tmp_path, "mine.csv", loads())
    left = trained(compose, root, "data=series", f"data.source={file}", "data.window_steps=12", "data.horizon_steps=[1,3]")
    assert {"bundle", "predictions"} <= left


def test_so_few_rows_that_they_are_one_batch_train_without_a_warning(tmp_path: Path, compose: Compose, root: Path) -> None:
    file = place(tmp_path, "mine.csv", prices())
    trained(compose, root, "data=stock", f"data.source={file}", "data.window_days=5", "data.loader.batch_size=256")


@pytest.mark.parametrize("data", ["text", "stock"])
def test_a_public_set_that_cannot_be_had_is_replaced_by_the_sample_loudly(
    tmp_path: Path, compose: Compose, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: str
) -> None:
    monkeypatch.delenv("RNNLAB_MIRROR", raising=False)
    config = compose(f"data={data}", "data.offline=true", f"paths.data={tmp_path}")
    found = find_data(config)
    assert found.source == "sample" and "USING THE BUNDLED SAMPLE INSTEAD" in capsys.readouterr().err


# As typed, in a fresh process


@pytest.mark.slow
def test_a_bad_file_costs_one_line_and_no_traceback(
    tmp_path: Path, root: Path, command: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    file = place(tmp_path, "mine.csv", prices(changed=set_field(7, 4, "0")))
    before = runs(root)
    done = command(f"src/train.py data=stock data.source={file} trainer=smoke", HYDRA_FULL_ERROR="0")
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert last.startswith(f"error: {file}, line 9: the close of mine is 0.0") and runs(root) == before
