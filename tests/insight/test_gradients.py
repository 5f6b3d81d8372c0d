"""Norms are those of torch, named by layer and matrix; clipping is counted where it acts."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from rnnlab.contracts import Batch
from rnnlab.insight.gradients import ClipCount, norms, parts_of
from rnnlab.models.base import Network

OF_A_LAYER = ("weight_ih", "weight_hh", "bias")


@pytest.mark.parametrize(
    ("kind", "words", "expected"),
    [
        ("class", "model=gru", {*(f"layer1.{name}" for name in OF_A_LAYER), "output"}),
        (
            "words",
            "model=lstm model.recurrence.num_layers=2",
            {f"layer{n}.{m}" for n in (1, 2) for m in OF_A_LAYER} | {"frontend", "output"},
        ),
        ("class", "model=birnn cell=srnn", {f"layer1{d}.{m}" for d in ("", "_backward") for m in OF_A_LAYER} | {"output"}),
        ("class", "model=tcn", {"convolutions", "output"}),
    ],
)
def test_every_parameter_belongs_to_one_part(kind: str, words: str, expected: set[str], network: Callable[..., Network]) -> None:
    model = network(kind, words)
    parts = parts_of(model)
    assert set(parts) == expected
    assert sum(map(len, parts.values())) == len(list(model.parameters()))


def test_norms_by_part_and_of_all(network: Callable[..., Network], batch: Callable[..., Batch]) -> None:
    model = network("class", "model=lstm")
    parts = parts_of(model)
    assert set(norms(parts).values()) == {0.0}
    model.training_loss(batch("class")).backward()
    found = norms(parts)
    named = dict(model.named_parameters())
    for name in ("weight_ih", "weight_hh"):
        gradient = named[f"recurrence.layers.0.0.kernel.{name}_l0"].grad
        assert gradient is not None and found[f"layer1.{name}"] == pytest.approx(float(gradient.norm()))
    assert found["total"] == pytest.approx(float(torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])))
    assert found["total"] == pytest.approx(math.hypot(*(value for name, value in found.items() if name != "total")))


def test_what_is_frozen_has_no_part(network: Callable[..., Network]) -> None:
    model = network("words", "model=gru frontend=embedding frontend.is_frozen=true")
    assert "frontend" not in parts_of(model)


@pytest.mark.parametrize(("limit", "is_by_value", "share"), [(4.9, False, 1.0), (5.1, False, 0.0), (3.9, True, 1.0), (4.1, True, 0.0)])
def test_clipping_is_counted_where_it_acts(limit: float, is_by_value: bool, share: float) -> None:
    weights = [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]
    for weight, value in zip(weights, (3.0, -4.0), strict=True):
        weight.grad = torch.tensor([value])
    count = ClipCount(limit, is_by_value)
    count.look(weights)
    clip = nn.utils.clip_grad_value_ if is_by_value else nn.utils.clip_grad_norm_
    clip(weights, limit)
    assert (weights[1].grad.item() != -4.0) == bool(share)
    assert count.fraction() == share


def test_a_share_is_of_the_steps_since_the_last(network: Callable[..., Network]) -> None:
    weight = nn.Parameter(torch.zeros(1))
    count = ClipCount(1.0, False)
    assert math.isnan(count.fraction())
    for value in (0.5, 2.0, 3.0, 0.7):
        weight.grad = torch.tensor([value])
        count.look([weight])
    assert count.fraction() == 0.5
    weight.grad = torch.tensor([9.0])
    count.look([weight])
    assert count.fraction() == 1.0


@pytest.mark.parametrize("limit", [None, 0.0])
def test_without_clipping_no_step_is_clipped(limit: float | None) -> None:
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.tensor([9.0])
    count = ClipCount(limit, False)
    count.look([weight])
    assert count.limit is None and count.fraction() == 0.0
