"""Claims about columns of numbers: what is read as which number, and what is asked for."""

import numpy as np
import pandas as pd
import pytest
from tests.data.conftest import Write, table_of

from rnnlab.data.numbers import as_numbers, find_decimal, share_of_numbers
from rnnlab.data.tables import read_table


def test_numbers_are_read_exactly_and_what_is_unknown_is_nan() -> None:
    texts = ["1", " -2.5 ", "+1", "1e-3", ".5", "5.", "0.1", "179769313486231570000e288", "", "NA", "n/a", "NaN", "null", "None", "-", " "]
    numbers = as_numbers(table_of(x=texts), "x")
    expected = [1, -2.5, 1, 0.001, 0.5, 5, 0.1, 1.7976931348623157e308] + [np.nan] * 8
    np.testing.assert_array_equal(numbers, expected)
    assert (numbers.dtype, numbers.name) == (np.float64, "x")


def test_written_numbers_come_back_bit_by_bit(write: Write) -> None:
    values = np.random.default_rng(0).normal(size=500) * 10.0 ** np.arange(-250, 250)
    np.testing.assert_array_equal(as_numbers(read_table(write(pd.DataFrame({"x": values}).to_csv(index=False))), "x"), values)


@pytest.mark.parametrize("value", ["inf", "-Infinity", "1_000", "$5 $", "0x10", "\u0661", "1 2", "True", "1,23", "1.2.3", "5m", "+-5"])
def test_what_is_no_number_is_named_with_its_line(value: str) -> None:
    told = r"^t\.csv, line 4: 'x' holds '.+', which is no number \(2 such rows\): write a finite number alone"
    with pytest.raises(ValueError, match=told) as caught:
        as_numbers(table_of(x=["1", "", value, "2.5", value]), "x", "point")
    assert f"holds {value!r}" in str(caught.value)


def test_a_number_beyond_the_largest_is_refused() -> None:
    with pytest.raises(ValueError, match=r"line 3: 'x' holds '1e999', which is too large for a number: "):
        as_numbers(table_of(x=["1", "1e999"]), "x")


@pytest.mark.parametrize(
    ("texts", "expected", "note"),
    [
        (["1,608.00", "939.5", "-1,234,567"], [1608, 939.5, -1234567], {"numbers whose thousands were apart": 2}),
        (["12,34,567.5", "1,00,000"], [1234567.5, 100000], {"numbers whose thousands were apart": 2}),
        (["1\u202f608", "2 000 000", "1'000.5", "\u221217"], [1608, 2e6, 1000.5, -17], {"numbers whose thousands were apart": 3}),
        (["$168.88", "-$5", "$-5", "$ 7"], [168.88, -5, -5, 7], {"numbers whose sign of a currency was taken off": 4}),
        (["5 €", "€6.50", "7.25"], [5, 6.5, 7.25], {"numbers whose sign of a currency was taken off": 2}),
        (["68.18K", "1.04M", "2B", "-", "12"], [68180, 1.04e6, 2e9, np.nan, 12],
         {"numbers in K, M, B and the like that were multiplied out": 3, "fields '-' read as missing": 1}),
        (["3.5万", "1.2亿"], [35000, 1.2e8], {"numbers in K, M, B and the like that were multiplied out": 2}),
        (["0.30%", "-1.02 %", "0"], [0.3, -1.02, 0], {"numbers in percent (12% is 12)": 2}),
        (["(1,234.50)", "3"], [-1234.5, 3], {"numbers whose thousands were apart": 1, "numbers in brackets, read as negative": 1}),
        (["?", "#N/A", "5"], [np.nan, np.nan, 5], {"fields '?' read as missing": 1, "fields '#N/A' read as missing": 1}),
    ],
)  # fmt: skip
def test_what_stands_around_a_number_is_read_and_counted(texts: list[str], expected: list[float], note: dict[str, int]) -> None:
    table = table_of(x=texts)
    np.testing.assert_array_equal(as_numbers(table, "x"), expected)
    assert table.notes == note


def test_decimal_commas_are_read_where_the_key_says_so() -> None:
    texts = ["3,5", "1.608,50", "1.608", "2.000.000", "7", "-0,25", ""]
    assert as_numbers(table_of(x=texts), "x", "comma").tolist()[:-1] == [3.5, 1608.5, 1608, 2e6, 7, -0.25]
    with pytest.raises(ValueError, match=r"line 2: 'x' holds '1\.5', which is no number: with data\.decimal=comma points only"):
        as_numbers(table_of(x=["1.5"]), "x", "comma")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": ["1608", "1,608", "2,000"]}, r"line 3: 'x' holds '1,608', which may be 1608 \(thousands\) or 1\.608 \(decimal comma\), "
         r"and no other field decides \(2 such rows\): set data\.decimal=point for the first, data\.decimal=comma for the second"),
        ({"x": ["1,608", "3,5"]}, r"line 3: 'x' holds '3,5', which has a decimal comma: set data\.decimal=comma"),
        ({"x": ["1,608", "0,608"]}, r"line 3: 'x' holds '0,608', which has a decimal comma"),
        ({"x": ["1.608,50"]}, r"line 2: 'x' holds '1\.608,50', which has a decimal comma"),
        ({"x": ["1.234.567"]}, r"line 2: .* which has a decimal comma"),
        ({"x": ["1,608"], "y": ["3,5"]}, r"line 2: 'y' holds '3,5', which has a decimal comma"),
        ({"x": ["3,5"], "y": ["2.25"]}, r"line 2: 'x' holds '3,5', which has a decimal comma, unlike others, which have points"),
    ],
)  # fmt: skip
def test_a_comma_that_may_mean_either_is_asked_for_by_its_key(columns: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^t\.csv, {message}"):
        find_decimal(table_of(**columns), columns)


def test_the_table_as_a_whole_says_what_its_commas_are() -> None:
    table = table_of(price=["1,608", "1,610"], volume=["2,278,005", "11"], share=["1.608", "2.125"])
    assert find_decimal(table, ["price", "volume"]) == "point"
    assert as_numbers(table, "price", "point").tolist() == [1608, 1610]
    assert find_decimal(table, ["share"]) is None
    assert as_numbers(table, "share").tolist() == [1.608, 2.125]
    assert (find_decimal(table, ["price"], "comma"), as_numbers(table, "price", "comma").tolist()) == ("comma", [1.608, 1.61])


def test_percent_beside_plain_numbers_and_two_currencies_are_refused() -> None:
    with pytest.raises(ValueError, match=r"line 3: 'x' holds '0\.3', which has no percent sign, unlike others: write all in percent"):
        as_numbers(table_of(x=["5%", "0.3"]), "x")
    with pytest.raises(ValueError, match=r"line 4: 'x' holds '€5', which is in another currency than others \(\$\)"):
        as_numbers(table_of(x=["$5", "$6", "€5"]), "x")


def test_numbers_that_another_reader_of_thousands_reads_are_the_same(write: Write) -> None:
    values = np.random.default_rng(0).integers(0, 10**7, 200) / 100
    file = write("x\n" + "".join(f'"{value:,.2f}"\n' for value in values))
    np.testing.assert_array_equal(as_numbers(read_table(file), "x"), pd.read_csv(file, thousands=",")["x"])


def test_a_column_counts_as_numbers_however_they_are_written() -> None:
    assert share_of_numbers(pd.Series(["1,5", "$3", "?", "12.05.2020"])) == pytest.approx(2 / 3)
    assert share_of_numbers(pd.Series(["?", ""])) == 0
