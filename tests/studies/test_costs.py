"""What a study will take: worked by hand, and beside trainings that were run."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from rnnlab.commands import train as command
from rnnlab.settings import TrainSettings
from rnnlab.studies.costs import JOB_S, START_S, Cost, Costs, between, seconds_of_runs, shown, why_unknown
from rnnlab.studies.timing import Sizes, _sum, num_batches, timed
from rnnlab.tracking.store import connect, find_run
from rnnlab.training.identity import cost_key
from rnnlab.training.recipes import opened

Compose = Callable[..., TrainSettings]
SMALL = ("data.source=sample", "model.recurrence.hidden_size=3", "data.loader.batch_size=16", "tracking.log_model=false")


# -- what is known before --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("model=baseline",), "a baseline is fitted"),
        (("trainer.max_time=00:00:10:00",), "the clock end it"),
        (("trainer=ddp",), "several processes"),
        (("trainer.max_epochs=null",), "neither epochs nor trainer.max_steps"),
        (("trainer.accelerator=gpu",), "an accelerator"),
    ],
)
def test_what_cannot_be_known_before_is_said_and_not_invented(words: tuple[str, ...], reason: str, compose: Compose) -> None:
    assert reason in why_unknown(compose(*words))
    assert why_unknown(compose()) == ""


def test_seconds_follow_from_sizes_and_not_from_seeds_rates_and_epochs(compose: Compose) -> None:
    key = cost_key(compose())
    assert {cost_key(compose(word)) for word in ("seed=1", "optimizer.lr=0.5", "epochs=3", "study.name=x", "scheduler=step")} == {key}
    others = (
        "model.recurrence.hidden_size=5",
        "data.loader.batch_size=5",
        "model=lstm",
        "trainer.num_threads=2",
        "callbacks.ema_decay=0.9",
    )
    assert len({cost_key(compose(word)) for word in others} | {key}) == len(others) + 1


def test_epochs_are_those_of_the_trainer_or_of_its_steps(compose: Compose) -> None:
    data = opened(compose(*SMALL))  # 400 training examples
    assert num_batches(compose(*SMALL, "epochs=4"), data) == (25, 4)
    assert num_batches(compose(*SMALL, "epochs=4", "trainer.limit_train_batches=5"), data) == (5, 4)
    assert num_batches(compose(*SMALL, "epochs=4", "trainer.max_steps=50"), data) == (25, 2)
    assert num_batches(compose(*SMALL, "epochs=-1", "trainer.max_steps=25", "trainer.accumulate_grad_batches=3"), data) == (25, 3)


# -- sizes to seconds, by hand ---------------------------------------------------------------------------------------------------------


def test_batches_cost_a_constant_and_a_part_that_grows_with_their_size() -> None:
    sizes, all_sizes = np.array([20.0, 10.0, 30.0]), np.array([10.0, 20.0, 30.0, 40.0])
    linear = [[9.0, 9.0, 9.0], [2.0 + 0.1 * size for size in sizes]]  # the first epoch does not count
    assert _sum(sizes, linear, all_sizes) == pytest.approx(4 * 2 + 0.1 * 100)
    assert _sum(np.array([10.0, 10.0]), [[3.0, 5.0]], np.array([10.0, 10.0, 10.0])) == pytest.approx(12.0)
    falling = [[2.0, 3.0, 1.0]]  # noise: larger batches cannot be quicker
    assert _sum(sizes, falling, sizes) == pytest.approx(3 * 2.0)


def test_sizes_that_were_not_timed_lie_between_those_that_were() -> None:
    assert between([(100.0, 0.02), (300.0, 0.04)], 200.0) == pytest.approx(0.03)
    assert between([(100.0, 0.012)], 200.0) == pytest.approx(0.002 + 0.01 * 2)
    assert between([(100.0, 0.02), (300.0, 0.01)], 300.0) == pytest.approx(0.01)


def test_of_a_long_step_a_part_of_the_rows_is_timed() -> None:
    sizes = Sizes([np.arange(8), np.arange(8, 16), np.arange(16, 24)], np.array([80.0, 160.0, 240.0]))
    whole, part = sizes.chosen(1.0), sizes.chosen(0.5)
    assert whole.steps.tolist() == [160.0, 80.0, 160.0]
    assert [len(rows) for rows in part.batches] == [4, 2, 4] and part.steps.tolist() == [80.0, 40.0, 80.0]


def known(costs: Costs, **seconds: float | None) -> Costs:
    costs.known = {name: Cost(value, "" if value else "a baseline") for name, value in seconds.items()}
    return costs


def test_jobs_that_ended_correct_the_others() -> None:
    costs = known(Costs(1, is_serial=True), a=9.0, b=19.0, c=9.0)
    assert costs.left() == pytest.approx(9 + 19 + 9 + 3 * JOB_S)
    costs.end("a", 20.0)  # twice as long as predicted
    assert costs.left() == pytest.approx(2 * (20 + 10))


def test_jobs_share_the_processes_and_the_longest_is_waited_for() -> None:
    costs = known(Costs(2, is_serial=False), a=9.0, b=9.0, c=9.0, d=9.0)
    assert costs.left() == pytest.approx(2 * (9 + JOB_S) + START_S)
    assert known(Costs(2, is_serial=True), a=99.0, b=9.0).left() == pytest.approx(99 + JOB_S)


def test_jobs_that_nobody_can_predict_count_as_those_of_their_kind_that_ended() -> None:
    costs = known(Costs(1, is_serial=True), a=None, b=None)
    assert costs.left() is None and costs.rest() == ""
    assert costs.plan() == "2 of 2 not known before: a baseline; the first that end will tell"
    costs.end("a", 7.0)
    assert costs.left() == pytest.approx(7.0) and costs.rest() == "  (about 7 s left)"
    mixed = known(Costs(4, is_serial=True), a=9.0, b=None)
    assert mixed.plan().startswith(
        "about 10 s on 2 processes (each 9 s of training; early stopping makes it less); 1 of 2 not known before"
    )


def test_a_duration_is_written_as_people_say_it() -> None:
    assert [shown(seconds) for seconds in (0.2, 59.6, 150.0, 5000.0, 9000.0)] == ["1 s", "60 s", "2 min", "83 min", "2.5 h"]


# -- beside trainings ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [("model=gru",), ("model=lstm", "data=text"), ("model=seq2seq", "data=translation"), ("data=language", "data.loader.batch_size=4")],
)
def test_a_few_steps_tell_the_seconds_of_a_training_and_leave_no_trace(words: tuple[str, ...], compose: Compose) -> None:
    settings = compose(*SMALL[:2], *words, "epochs=2")
    data, state, there = opened(settings), torch.get_rng_state(), set(settings.paths.outputs.glob("*"))
    seconds = timed(settings, data)
    assert 0 < seconds < 600
    assert torch.equal(torch.get_rng_state(), state) and set(settings.paths.outputs.glob("*")) == there


def test_runs_of_the_same_sizes_tell_more_than_steps(compose: Compose) -> None:
    settings = compose(*SMALL, "epochs=2", "trainer.limit_train_batches=3", "trainer.limit_val_batches=1")
    client = connect(None, settings.paths.root)
    assert seconds_of_runs(client, settings) is None
    command.train(settings)
    run = find_run(client, "last")
    assert seconds_of_runs(client, compose(*settings.words, "seed=3")) == pytest.approx(run.data.metrics["time/fit_seconds"] / 6)
    assert seconds_of_runs(client, compose(*settings.words, "model=lstm")) is None
