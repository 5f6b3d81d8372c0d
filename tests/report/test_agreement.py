"""What one group gets right and another does not, by hand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from tests.report.example import comparison

from rnnlab.report.agreement import disagreements, rights, won_alone
from rnnlab.report.comparison import Comparison, Group, RunResult
from rnnlab.tasks import Metric

Answers = dict[str, float]


def of_rights(**groups: Sequence[Answers]) -> Comparison:
    made = [
        Group(name, {}, [RunResult(f"{name}{seed}", "", seed, "", {}, {}, None, found) for seed, found in enumerate(runs)], name == "base")
        for name, runs in groups.items()
    ]
    return replace(comparison(False), groups=made)


def test_the_share_won_alone_is_that_of_two_runs_drawn_at_random() -> None:
    asked = of_rights(a=[{"x": 1, "y": 1, "z": 0}, {"x": 1, "y": 0, "z": 0}], b=[{"x": 0, "y": 1, "z": 1}, {"x": 0, "y": 0, "z": 1}])
    found = rights(asked)
    assert found is not None
    assert found.values_GE.tolist() == [[1, 0.5, 0], [0, 0.5, 1]]
    pairs = [(ours.rights, theirs.rights) for ours in asked.groups[0].runs for theirs in asked.groups[1].runs]
    by_hand = np.mean([[ours[example] > theirs[example] for example in "xyz"] for ours, theirs in pairs])
    assert won_alone(found)[0, 1] == pytest.approx(by_hand)
    assert np.isnan(np.diag(won_alone(found))).all()


def test_with_losses_the_smaller_wins_and_a_tie_is_no_win() -> None:
    asked = of_rights(a=[{"x": 0.1, "y": 0.5, "z": 2.0}], b=[{"x": 0.2, "y": 0.5, "z": 1.0}])
    found = rights(replace(asked, metric=Metric("loss", "min", "")))
    assert found is not None
    assert found.is_loss
    assert won_alone(found)[[0, 1], [1, 0]] == pytest.approx([1 / 3, 1 / 3])


def test_only_examples_that_both_were_tested_on_count() -> None:
    found = rights(of_rights(a=[{"x": 1, "y": 1}], b=[{"y": 0, "z": 1}], c=[{"w": 1}]))
    assert found is not None
    shares = won_alone(found)
    assert (shares[0, 1], shares[1, 0]) == (1.0, 0.0)
    assert np.isnan(shares[:, 2]).all()


def test_the_largest_disagreements_of_the_two_best_networks_come_first_from_both_sides() -> None:
    ours: list[Answers] = [{"p": 1, "q": 1, "r": 0, "s": 1, "t": 1}, {"p": 1, "q": 1, "r": 0, "s": 0, "t": 1}]
    theirs: list[Answers] = [{"p": 0, "q": 0, "r": 1, "s": 0, "t": 1}, {"p": 0, "q": 1, "r": 1, "s": 0, "t": 1}]
    found = disagreements(of_rights(a=ours, base=theirs, b=theirs), num_examples=4)
    assert found is not None
    assert (found.first, found.second, found.is_loss) == ("a", "b", False)
    assert found.rows == [("p", 1.0, 0.0), ("r", 0.0, 1.0), ("q", 1.0, 0.5)]


@pytest.mark.parametrize("groups", [{}, {"a": [{"x": 1.0}]}, {"a": [{"x": 1.0}], "b": [{}]}])
def test_with_fewer_than_two_groups_that_answered_there_is_nothing_to_compare(groups: dict[str, list[Answers]]) -> None:
    assert rights(of_rights(**groups)) is None
    assert disagreements(of_rights(**groups)) is None
