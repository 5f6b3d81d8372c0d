"""Sets of labels per step: losses and metrics against numbers worked out by hand."""

from dataclasses import replace
from math import log

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from rnnlab.contracts import Batch, DataSpec
from rnnlab.tasks import MultiLabel, Regularisation, make_task

NONE = Regularisation(0.0, "none", 0.0)
KEYS = DataSpec("toy", "features", 3, "labels_per_step", 3, ("c", "e", "g"), (4, 2, 1), is_causal=True)


def log_odds(chances: list[list[list[float]]]) -> Tensor:
    return torch.tensor(chances, dtype=torch.double).logit()


def batch_of(targets: list[list[list[float]]], num_known: list[int], num_inputs: list[int] | None = None) -> Batch:
    """Wrap targets; what else a batch holds does not matter to a task."""
    lengths_B = torch.tensor(num_inputs or num_known)
    inputs = torch.zeros(len(targets), int(lengths_B.max()), 3)
    return Batch(inputs, lengths_B, torch.tensor(targets), torch.tensor(num_known), torch.arange(len(targets)))


# Two sequences of 2 and 1 steps, the second padded with what would cost a lot.
CHANCES = log_odds([[[0.9, 0.2, 0.5], [0.4, 0.6, 0.1]], [[0.8, 0.7, 0.3], [0.999, 0.999, 0.999]]])
BATCH = batch_of([[[1, 0, 1], [1, 1, 0]], [[1, 0, 0], [0, 0, 0]]], [2, 1])
NATS = [-log(0.9) - log(0.8) - log(0.5), -log(0.4) - log(0.6) - log(0.9), -log(0.8) - log(0.3) - log(0.7)]
BY_HAND = {
    "nll": sum(NATS) / 3,
    "nll_per_sequence": ((NATS[0] + NATS[1]) / 2 + NATS[2]) / 2,
    # given at a half and more: c g | e | c e; right c g | e | c, e is too much in the third, c is missing in the second
    "frame_accuracy": 4 / 6,
}


def measured(task: MultiLabel, *batches: tuple[Tensor, Batch]) -> dict[str, float]:
    """Compute all metrics over some batches."""
    metrics = task.metrics()
    for outputs, batch in batches:
        task.update(metrics, outputs, batch)
    return task.flatten(metrics.compute())


def test_the_targets_choose_the_task_and_less_nats_are_better() -> None:
    task = make_task(KEYS, NONE)
    assert isinstance(task, MultiLabel)
    assert (task.compared.name, task.compared.direction, task.output_size, task.is_per_step) == ("nll", "min", 3, True)


def test_loss_and_metrics_are_those_worked_out_by_hand() -> None:
    task = MultiLabel(KEYS, NONE)
    assert float(task.loss(CHANCES, BATCH)) == pytest.approx(BY_HAND["nll"], abs=1e-9)
    assert measured(task, (CHANCES, BATCH)) == pytest.approx(BY_HAND, abs=1e-9)


def test_metrics_do_not_depend_on_how_sequences_are_batched() -> None:
    first, second = batch_of([[[1, 0, 1], [1, 1, 0]]], [2]), batch_of([[[1, 0, 0]]], [1])
    task = MultiLabel(KEYS, NONE)
    assert measured(task, (CHANCES[:1], first), (CHANCES[1:, :1], second)) == pytest.approx(BY_HAND, abs=1e-9)


def test_padding_never_counts_nor_gets_a_gradient() -> None:
    outputs = CHANCES.clone().requires_grad_()
    task = MultiLabel(KEYS, NONE)
    task.loss(outputs, BATCH).backward()
    assert outputs.grad is not None
    assert not outputs.grad[1, 1].any() and outputs.grad[0, 1].all()
    for rubbish in (torch.nan, torch.inf, -1e4):
        changed = CHANCES.clone()
        changed[1, 1] = rubbish
        assert float(task.loss(changed, BATCH)) == pytest.approx(BY_HAND["nll"])
        assert measured(task, (changed, BATCH)) == pytest.approx(BY_HAND, abs=1e-9)


def test_the_loss_is_the_weight_of_known_steps_whatever_share_a_process_has() -> None:
    task = MultiLabel(KEYS, NONE)
    parts = [(CHANCES[:1], batch_of([[[1, 0, 1], [1, 1, 0]]], [2])), (CHANCES[1:, :1], batch_of([[[1, 0, 0]]], [1]))]
    weights = [float(task.loss_weight(batch)) for _, batch in parts]
    losses = [float(task.loss(outputs, batch)) for outputs, batch in parts]
    assert weights == [2, 1] == [task.num_answers(batch) for _, batch in parts]
    assert np.average(losses, weights=weights) == pytest.approx(BY_HAND["nll"])


def test_the_table_says_what_was_given_and_how_right_it_was() -> None:
    task = MultiLabel(KEYS, NONE)
    found = task.columns(CHANCES, BATCH) | task.target_columns(BATCH)
    assert list(found["prediction"]) == [["c g", "e"], ["c e"]]
    assert list(found["target"]) == [["c g", "c e"], ["c"]]
    assert found["nll"].tolist() == pytest.approx([(NATS[0] + NATS[1]) / 2, NATS[2]])
    outcomes = [found[name].tolist() for name in ("true_positives", "false_positives", "false_negatives", "num_targets")]
    assert outcomes == [[3, 1], [0, 1], [1, 0], [2, 1]]


def test_a_step_whose_target_is_not_known_is_answered_and_not_scored() -> None:
    batch = batch_of([[[1, 0, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]], [1, 0], num_inputs=[2, 1])
    found = MultiLabel(KEYS, NONE).columns(CHANCES, batch)
    assert list(found["prediction"]) == [["c g", "e"], ["c e"]]
    assert found["nll"].tolist() == pytest.approx([NATS[0], np.nan], nan_ok=True)
    assert measured(MultiLabel(KEYS, NONE), (CHANCES, batch))["nll"] == pytest.approx(NATS[0])


def test_a_network_begins_with_how_often_each_label_holds() -> None:
    assert MultiLabel(KEYS, NONE).first_bias() is None
    found = MultiLabel(replace(KEYS, num_label_steps=9), NONE).first_bias()
    assert found is not None and found.tolist() == pytest.approx([log(5 / 6), log(3 / 8), log(2 / 9)])


def test_silence_that_is_foreseen_is_all_right() -> None:
    batch = batch_of([[[0, 0, 0]]], [1])
    assert measured(MultiLabel(KEYS, NONE), (log_odds([[[0.1, 0.1, 0.1]]]), batch))["frame_accuracy"] == 1


def test_the_interval_holds_the_value_and_narrows_with_more_sequences() -> None:
    task, random = MultiLabel(KEYS, NONE), np.random.default_rng(0)
    few, many = (pd.DataFrame({"nll": random.normal(8, 1, n), "num_targets": np.full(n, 7)}) for n in (12, 400))
    (low, high), (lower, higher) = ((found["nll_low"], found["nll_high"]) for found in (task.table_metrics(t) for t in (few, many)))
    assert low < few["nll"].mean() < high and lower < many["nll"].mean() < higher
    assert higher - lower < (high - low) / 3


@pytest.mark.parametrize("regularisation", [Regularisation(0.1, "none", 0.0), Regularisation(0.0, "balanced", 0.0)])
def test_what_is_for_classes_is_refused(regularisation: Regularisation) -> None:
    with pytest.raises(ValueError, match=r"^data=toy has a set of labels at every step, for which .* mean nothing: leave them out$"):
        make_task(KEYS, regularisation)


def test_quantiles_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^data=toy has sets of labels, of which there are no quantiles: choose model/head=default$"):
        make_task(KEYS, NONE, (0.1, 0.5, 0.9))
