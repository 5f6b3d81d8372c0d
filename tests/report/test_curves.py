"""Curves of runs are brought to common steps without inventing any."""

import numpy as np

from rnnlab.report.comparison import RunResult
from rnnlab.report.curves import curves

Points = list[tuple[int, float]]


def runs(*points: Points) -> list[RunResult]:
    return [RunResult(str(seed), "", seed, "", {}, {"val/loss": found} if found else {}, None) for seed, found in enumerate(points)]


def test_mean_and_spread_are_over_runs_interpolated_where_all_have_values() -> None:
    found = curves(runs([(0, 0.0), (10, 1.0), (20, 3.0)], [(5, 2.0), (15, 4.0), (40, 9.0)]), "val/loss")
    assert found is not None
    assert found.steps.tolist() == [5, 10, 15, 20]
    assert found.mean.tolist() == [(0.5 + 2) / 2, (1 + 3) / 2, (2 + 4) / 2, (3 + 5) / 2]
    assert np.allclose(found.std, np.sqrt([1.125, 2, 2, 2]))
    assert [steps.tolist() for steps, _ in found.runs] == [[0, 10, 20], [5, 15, 40]]


def test_one_run_is_its_own_mean() -> None:
    found = curves(runs([(3, 2.0), (1, 1.0)]), "val/loss")
    assert found is not None
    assert (found.steps.tolist(), found.mean.tolist(), found.std.tolist()) == ([1, 3], [1.0, 2.0], [0.0, 0.0])


def test_runs_that_share_no_steps_have_no_mean_but_are_kept() -> None:
    found = curves(runs([(1, 1.0), (2, 1.0)], [(5, 2.0)]), "val/loss")
    assert found is not None
    assert (len(found.steps), len(found.mean), len(found.std), len(found.runs)) == (0, 0, 0, 2)


def test_what_is_not_finite_is_left_out_and_of_a_step_the_last_value_counts() -> None:
    found = curves(runs([(1, 1.0), (2, float("nan")), (3, 5.0), (3, 6.0)]), "val/loss")
    assert found is not None
    assert list(zip(found.steps.tolist(), found.mean.tolist(), strict=True)) == [(1, 1.0), (3, 6.0)]


def test_long_curves_keep_their_ends() -> None:
    found = curves(runs([(step, float(step)) for step in range(1000)]), "val/loss", num_points=7)
    assert found is not None
    assert len(found.steps) == 7
    assert found.steps[[0, -1]].tolist() == [0, 999]
    assert found.mean.tolist() == found.steps.tolist()


def test_runs_without_a_curve_have_none() -> None:
    assert curves(runs([], []), "val/loss") is None
    assert curves(runs([], [(1, float("inf"))]), "val/loss") is None
