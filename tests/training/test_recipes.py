"""Data that are opened once for all jobs of a study in one process."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from rnnlab.settings import TrainSettings
from rnnlab.training import recipes
from rnnlab.training.recipes import find_data, keep_open, kept_open, opened

Compose = Callable[..., TrainSettings]
JOB = ("data.source=sample", "study.parent=abc")


@pytest.fixture(autouse=True)
def nothing_open() -> Iterator[None]:
    recipes._open.clear()
    yield
    recipes._open.clear()


def test_the_jobs_of_a_study_share_what_is_open_and_have_a_seed_and_rows_of_their_own(compose: Compose) -> None:
    first, second = find_data(compose(*JOB)), find_data(compose(*JOB, "seed=7"))
    assert first.prepared is second.prepared and (first.seed, second.seed) == (0, 7)
    second.rows["train"] = second.rows["train"][:1]
    assert len(find_data(compose(*JOB)).rows["train"]) == len(first.rows["train"]) == 400


def test_a_job_has_the_batches_of_data_of_its_own(compose: Compose) -> None:
    find_data(compose(*JOB))
    shared, own = find_data(compose(*JOB, "seed=7")), opened(compose("data.source=sample", "seed=7"))
    assert shared.prepared is not own.prepared
    for theirs, ours in zip(own.train_dataloader(), shared.train_dataloader(), strict=True):
        assert np.array_equal(theirs.inputs, ours.inputs) and np.array_equal(theirs.example_ids, ours.example_ids)


def test_single_runs_other_settings_and_other_studies_open_their_own(compose: Compose) -> None:
    found = find_data(compose(*JOB))
    for words in (JOB[:1], (*JOB, "data.split_seed=3"), (JOB[0], "study.parent=other")):
        assert find_data(compose(*words)).prepared is not found.prepared


def test_what_the_plan_of_a_study_opened_serves_its_jobs_until_it_is_opened_anew(compose: Compose) -> None:
    settings = compose("data.source=sample")
    assert kept_open(compose(*JOB)) is None
    planned = find_data(settings)
    keep_open(settings, planned)
    assert find_data(compose(*JOB)).prepared is planned.prepared
    for fold in range(recipes.MOST_OPEN):
        keep_open(compose("data.source=sample", f"data.fold={fold}", "data.split=kfold"), planned)
    assert kept_open(settings) is None
