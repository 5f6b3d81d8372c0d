"""Ranks over data sets against the numbers that Demsar (2006) prints."""

import pytest

from rnnlab.report.ranks import critical_difference, critical_value, num_needed, rank, rank_groups

# His table 6: area under the curve of four ways to grow a tree, on 14 data sets.
METHODS = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")
AREAS = [
    [0.763, 0.768, 0.771, 0.798],
    [0.599, 0.591, 0.590, 0.569],
    [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657],
    [0.882, 0.888, 0.886, 0.898],
    [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685],
    [0.583, 0.583, 0.563, 0.625],
    [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000],
    [0.940, 0.962, 0.965, 0.962],
    [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975],  # he prints equal areas, and ranks 2 and 3
    [0.957, 0.978, 0.946, 0.970],
]
SCORES = {f"set{number}": dict(zip(METHODS, row, strict=True)) for number, row in enumerate(AREAS)}
MORE_IS_BETTER = dict.fromkeys(SCORES, "max")


@pytest.mark.parametrize(
    ("num_groups", "printed"),
    [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (7, 2.949), (8, 3.031), (9, 3.102), (10, 3.164)],
)
def test_critical_values_are_those_of_demsar_s_table_5(num_groups: int, printed: float) -> None:
    assert critical_value(num_groups) == pytest.approx(printed, abs=1.1e-3)


@pytest.mark.parametrize(("num_groups", "printed"), [(2, 1.645), (4, 2.291), (10, 2.920)])
def test_critical_values_at_a_tenth_are_those_of_the_table_too(num_groups: int, printed: float) -> None:
    assert critical_value(num_groups, 0.1) == pytest.approx(printed, abs=1.1e-3)


def test_average_ranks_and_critical_difference_are_those_of_demsar_s_example() -> None:
    found = rank(SCORES, MORE_IS_BETTER)
    assert dict(zip(found.names, found.average.round(3).tolist(), strict=True)) == {
        "C4.5+m+cf": 1.964,
        "C4.5+m": 2.000,
        "C4.5+cf": 2.893,
        "C4.5": 3.143,
    }
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)
    assert found.separated == []  # his text: Nemenyi's test is not powerful enough here


def test_less_is_better_where_a_data_set_says_so() -> None:
    errors = {data: {name: 1 - value for name, value in groups.items()} for data, groups in SCORES.items()}
    mixed = {data: (errors if number % 2 else SCORES)[data] for number, data in enumerate(SCORES)}
    directions = {data: "min" if number % 2 else "max" for number, data in enumerate(SCORES)}
    assert rank(mixed, directions).average.tolist() == rank(SCORES, MORE_IS_BETTER).average.tolist()


def test_two_data_sets_are_too_few_to_separate_anything_and_that_is_said() -> None:
    few = {data: SCORES[data] for data in ("set0", "set2")}
    lines = rank_groups(few, MORE_IS_BETTER)
    assert lines[-1] == (
        "2 data sets are too few to separate 4 groups by ranks: at least 3 are needed, even if the order were the same on all of them."
    )
    assert critical_difference(4, 3) <= 3 < critical_difference(4, 2)
    assert num_needed(4) == 3
    assert not rank(few, MORE_IS_BETTER).can_separate


def test_groups_that_some_data_set_lacks_are_left_out_by_name() -> None:
    scores = {data: dict(groups) for data, groups in SCORES.items()}
    del scores["set3"]["C4.5"]
    lines = rank_groups(scores, MORE_IS_BETTER)
    assert lines[0].startswith("Average ranks over 14 data sets (set0, ")
    assert lines[0].endswith("C4.5+m 1.79, C4.5+m+cf 1.79, C4.5+cf 2.43.")
    assert lines[1] == "Left out, since not every data set has them: C4.5."


def test_what_is_separated_is_named() -> None:
    scores = {f"d{number}": {"gru": 0.9, "lstm": 0.89 + 0.02 * (number % 2), "srnn": 0.5} for number in range(8)}
    lines = rank_groups(scores, dict.fromkeys(scores, "max"))
    assert lines[1] == "Friedman's test that all rank alike: p = 0.002."
    assert lines[2].startswith("Nemenyi's critical difference at 0.05 is 1.17, which separates: gru before srnn; lstm before srnn.")


def test_one_data_set_has_no_ranks() -> None:
    one = {"set0": SCORES["set0"]}
    assert rank_groups(one, MORE_IS_BETTER) == ["Ranks need two data sets at least, and two groups that all of them have."]
    assert rank_groups({}, {}) == rank_groups(one, MORE_IS_BETTER)
    with pytest.raises(ValueError, match="two data sets and two shared groups at least: there are 1 and 4"):
        rank(one, MORE_IS_BETTER)


def test_ties_everywhere_have_no_p() -> None:
    same = {data: dict.fromkeys(METHODS, 0.5) for data in SCORES}
    found = rank(same, MORE_IS_BETTER)
    assert found.p is None
    assert found.average.tolist() == [2.5] * 4
