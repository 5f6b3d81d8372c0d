"""The ladder of the study on memory: as few trainings as the question allows, and the right answer."""

import runpy
from collections.abc import Callable

import pytest

from rnnlab.paths import HOME
from rnnlab.settings import TrainSettings

CLIMB = runpy.run_path(str(HOME / "experiments/memory/run.py"), run_name="climb")
LENGTHS = (5, 10, 20, 40)


def climbed(solving: dict[int, set[int]]) -> tuple[int | None, list[tuple[int, int]]]:
    """Climb where these seeds solve each length; return what was reached, and the trainings in order."""
    trained: list[tuple[int, int]] = []

    def is_solved(length: int, seed: int) -> bool:
        if (length, seed) not in trained:
            trained.append((length, seed))
        return seed in solving.get(length, set())

    return CLIMB["climb"](is_solved, LENGTHS), trained


ALL = set(range(5))


def test_a_setting_that_always_solves_is_trained_once_below_and_four_times_at_the_top() -> None:
    reached, trained = climbed(dict.fromkeys(LENGTHS, ALL))
    assert reached == 40
    assert trained == [(5, 0), (10, 0), (20, 0), (40, 0), (40, 1), (40, 2), (40, 3)]


def test_two_seeds_that_fail_end_the_climb_and_nothing_longer_is_tried() -> None:
    reached, trained = climbed({5: ALL, 10: ALL, 20: {2, 3, 4}, 40: ALL})
    assert reached == 10
    assert max(trained) < (40, 0) and {(20, 0), (20, 1)} <= set(trained) and (20, 2) not in trained


@pytest.mark.parametrize(("missing", "reached"), [(0, 20), (1, 20), (4, 20)])
def test_one_seed_of_five_may_fail(missing: int, reached: int) -> None:
    assert climbed({5: ALL, 10: ALL, 20: ALL - {missing}})[0] == reached


def test_a_rung_that_too_few_seeds_solve_is_climbed_down_from() -> None:
    reached, trained = climbed({5: ALL, 10: ALL - {1}, 20: {0, 3, 4}})
    assert reached == 10
    assert trained[-4:] == [(10, 1), (10, 2), (10, 3), (10, 4)]


def test_nothing_is_reached_where_the_first_rung_fails_twice() -> None:
    assert climbed({5: {2, 3, 4}}) == (None, [(5, 0), (5, 1)])


@pytest.mark.parametrize(("setting", "data"), list(zip(CLIMB["SETTINGS"], 4 * list(CLIMB["LADDERS"]), strict=False)))
def test_every_job_of_the_study_composes(setting: str, data: str, compose: Callable[..., TrainSettings]) -> None:
    config = compose(*CLIMB["Rung"](data, setting, 12, 3).words(CLIMB["Budget"](7, 0.02)))
    assert config.data.values["num_steps"] == 12 and config.seed == 3 and config.trainer.max_epochs == 7
    assert config.optimizer.values["lr"] == 0.02
    assert config.model.values["head"]["pooling"] == "last" and config.callbacks.early_stopping.when_solved
