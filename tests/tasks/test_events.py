"""What the numbers of next events mean, against ranks by hand."""

from math import log2

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import ndcg_score

from rnnlab.contracts import IGNORED_TARGET, Batch, DataSpec
from rnnlab.report.per_unit import unit_sums
from rnnlab.tasks import NextEvent, Regularisation, make_task
from rnnlab.tasks.events import predictable

WORDS = ("<pad>", "<unk>", "<end>", "a", "b", "c")
SPEC = DataSpec("toy", "tokens", 6, "class_per_step", 6, WORDS, (0, 0, 3, 2, 2, 1), is_causal=True, ranks=(2, 3))
SCORES = torch.tensor([[[9.0, 8.0, 1.0, 4.0, 3.0, 2.0]] * 3, [[9.0, 8.0, 1.0, 1.0, 1.0, 1.0]] * 3])
"""Padding and the unknown event have the highest ones; in the second case the others are equal."""


def task() -> NextEvent:
    found = make_task(SPEC, Regularisation(0.0, "none", 0.0))
    assert isinstance(found, NextEvent)
    return found


def batch(*targets: list[int]) -> Batch:
    lengths = torch.tensor([len(row) for row in targets])
    padded = torch.full((len(targets), 3), IGNORED_TARGET)
    for row, values in zip(padded, targets, strict=True):
        row[: len(values)] = torch.tensor(values)
    inputs = torch.where(padded == IGNORED_TARGET, 0, 3)
    return Batch(inputs, lengths, padded, lengths.clone(), torch.arange(len(targets)))


def test_ranks_leave_out_padding_and_unknown_events_and_of_equal_ones_the_more_frequent_is_first() -> None:
    assert task().ranks(SCORES, batch([3, 2, 1], [2, 5])).tolist() == [[1, 4, 0], [1, 4, 0]]


def test_metrics_are_means_over_steps_of_all_cases() -> None:
    found, given = task(), batch([3, 4, 1], [5])
    metrics = found.metrics()
    for rows in (slice(0, 1), slice(1, 2)):  # in two batches
        part = Batch(given.inputs[rows], given.input_lengths[rows], given.targets[rows], given.target_lengths[rows], torch.arange(1))
        found.update(metrics, SCORES[rows], part)
    numbers = found.flatten(metrics.compute())  # ranks 1, 2, none, 4
    assert numbers == pytest.approx(
        {
            **{"unknown": 0.25, "accuracy": 0.25, "mrr": (1 + 1 / 2 + 1 / 4) / 4, "hit_rate_2": 0.5, "hit_rate_3": 0.5},
            **{"ndcg_2": (1 + 1 / log2(3)) / 4, "ndcg_3": (1 + 1 / log2(3)) / 4},
        }
    )


def test_the_discounted_gain_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    scores_NV, right_N = random.normal(size=(7, 6)), random.integers(2, 6, 7)
    scores_NV[:, :2] = -9
    outputs = torch.from_numpy(scores_NV)[:, None]
    given = Batch(torch.full((7, 1), 3), torch.ones(7).long(), torch.from_numpy(right_N)[:, None], torch.ones(7).long(), torch.arange(7))
    metrics = task().metrics()
    task().update(metrics, outputs, given)
    numbers = task().flatten(metrics.compute())
    for most in (2, 3):
        assert numbers[f"ndcg_{most}"] == pytest.approx(ndcg_score(np.eye(6)[right_N], scores_NV, k=most))


def test_a_table_has_ranks_and_gives_the_metrics_again_with_intervals_over_cases() -> None:
    found, given = task(), batch([3, 4, 1], [5])
    table = pd.DataFrame({**found.target_columns(given), **found.columns(SCORES, given)}).assign(example_id=["x", "y"], group="")
    assert [row.tolist() for row in table["rank"]] == [[1, 2, 0], [4]]
    assert [row.tolist() for row in table["prediction"]] == [[3, 3, 3], [2]]  # never padding, never unknown
    metrics = found.metrics()
    found.update(metrics, SCORES, given)
    numbers = found.flatten(metrics.compute())
    for name in ("accuracy", "mrr"):
        sums = unit_sums(table, name).sums_UK.sum(0)
        assert sums[0] / sums[1] == pytest.approx(numbers[name])
    ends = found.table_metrics(table)
    for name, value in numbers.items():
        assert name == "unknown" or ends[f"{name}_low"] <= value <= ends[f"{name}_high"]


def test_unfinished_cases_get_the_most_probable_events_after_their_last_one() -> None:
    outputs = SCORES.clone()
    outputs[0, 1] = torch.tensor([9.0, 0.0, 3.0, 1.0, 2.0, 0.0])
    given = batch([3, 3], [3, 3, 3])
    given.targets[:] = IGNORED_TARGET
    columns = task().columns(outputs, given)
    assert columns["next"][0] == ["<end>", "b", "a", "c"] and columns["next"][1] == ["<end>", "a", "b", "c"]
    assert columns["next_probability"][0] == pytest.approx(outputs[0, 1].softmax(-1)[[2, 4, 3, 5]].tolist())
    assert "prediction" not in columns


def test_outputs_themselves_are_left_as_they_are() -> None:
    before = SCORES.clone()
    assert predictable(SCORES)[..., :2].isneginf().all() and torch.equal(SCORES, before)
