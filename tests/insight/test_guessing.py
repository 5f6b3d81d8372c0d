"""The loss of guessing is worked out by hand for each kind of target."""

import math
from typing import Literal

import numpy as np
import pytest
import torch
from scipy import stats

from rnnlab.contracts import Batch, DataSpec, Reference
from rnnlab.insight.guessing import loss_of_guessing
from rnnlab.tasks import Regularisation, make_task
from rnnlab.tasks.base import Loss

NONE = Regularisation(0.0, "none", 0.0)


def batch(targets: torch.Tensor, lengths: list[int] | None = None, reference: Reference | None = None) -> Batch:
    num = len(targets)
    lengths_B = torch.tensor(lengths or [3] * num)
    return Batch(torch.zeros(num, 3, 2), lengths_B, targets, lengths_B if lengths else torch.ones(num), torch.arange(num), reference)


@pytest.mark.parametrize("kind", ["cross_entropy", "brier"])
def test_classes_are_guessed_by_how_frequent_they_are_in_training(kind: Literal["cross_entropy", "brier"]) -> None:
    spec = DataSpec("toy", "features", 2, "class", 2, ("a", "b"), (79, 19))  # 80 and 20 of 100, with one more each
    loss = loss_of_guessing(make_task(spec, NONE, loss=Loss(kind, 2.0, 1.0)), [batch(torch.tensor([0, 0, 1])), batch(torch.tensor([1]))])
    each = {"cross_entropy": (-math.log(0.8), -math.log(0.2)), "brier": (0.2**2 + 0.2**2, 0.8**2 + 0.8**2)}[kind]
    assert loss == pytest.approx((each[0] + each[1]) / 2, rel=1e-6)


def test_of_labels_at_every_step_each_is_guessed_by_itself() -> None:
    spec = DataSpec("toy", "features", 2, "labels_per_step", 2, ("a", "b"), (4, 1), num_label_steps=8)
    targets = torch.tensor([[[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]])
    known = [-math.log(0.5) - math.log(0.8), -math.log(0.5) - math.log(0.8)]  # (4 + 1) / (8 + 2) and (1 + 1) / (8 + 2)
    assert loss_of_guessing(make_task(spec, NONE), [batch(targets, [2])]) == pytest.approx(np.mean(known), rel=1e-6)


def test_forecasts_are_guessed_by_the_mean_and_quantiles_by_those_of_the_normal_distribution() -> None:
    spec = DataSpec("toy", "features", 2, "real", 1, ("x",))
    targets = torch.tensor([[7.0], [1.0]], dtype=torch.double)
    reference = Reference(torch.full_like(targets, 4.0), torch.full_like(targets, 2.0), targets)
    assert loss_of_guessing(make_task(spec, NONE), [batch(targets, reference=reference)]) == pytest.approx(1.5**2)
    low, high = stats.norm.ppf([0.1, 0.9])
    pinball = [0.1 * (1.5 - low) + 0.5 * 1.5 + 0.9 * (1.5 - high), 0.9 * (low + 1.5) + 0.5 * 1.5 + 0.1 * (high + 1.5)]
    found = loss_of_guessing(make_task(spec, NONE, (0.1, 0.5, 0.9)), [batch(targets, reference=reference)])
    assert found == pytest.approx(sum(pinball) / 6)


def test_an_answer_that_the_data_know_is_theirs_and_tokens_are_not_guessed() -> None:
    spec = DataSpec("toy", "features", 2, "real", 1, ("sum",), memoryless=((1, (1.0,)),))
    assert loss_of_guessing(make_task(spec, NONE), [batch(torch.tensor([[1.5], [1.0]], dtype=torch.double))]) == pytest.approx(0.125)
    words = DataSpec(
        "toy", "features", 2, "tokens", 6, ("<pad>", "<unk>", "<s>", "</s>", "a", "b"), goal="transcribe", target_language="en"
    )
    assert loss_of_guessing(make_task(words, NONE), [batch(torch.tensor([[4, 5]]))]) is None
