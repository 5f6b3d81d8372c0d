"""Shares of an answer add up to it, padding has none, and they are drawn over what was read."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from rnnlab.contracts import Batch
from rnnlab.insight import attribution
from rnnlab.insight.attribution import attribute, refusal
from rnnlab.models.base import Network

F, H = 6, 4
CONVOLUTION = (
    "frontend=convolution frontend.channels=[2,3] frontend.kernel_sizes=[5,3] frontend.time_strides=[2,1] frontend.frequency_strides=[2,2]"
)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("class", "model=gru"),
        ("class", "model=birnn cell=lstm model.head.pooling=attention"),
        ("class", f"model=lstm {CONVOLUTION}"),
        ("class", "model=seq2seq cell=gru"),
        ("words", "model=srnn model.head.pooling=last"),
        ("real", "model=lstm model.recurrence.num_layers=2"),
        ("real", "model=gru model/head=quantile"),
        ("positive", "model=gru"),
    ],
)
def test_the_shares_add_up_to_what_the_input_changed(
    kind: str, words: str, network: Callable[..., Network], batch: Callable[..., Batch]
) -> None:
    model, given = network(kind, words), batch(kind)
    for row in range(3):
        for found in attribute(model, given, row):
            sizes = np.abs(found.shares_TF).sum()
            assert sizes > 1e-3
            assert found.shares_TF.sum() == pytest.approx(found.value - found.baseline, abs=0.01 * sizes)


def test_what_is_explained_is_the_log_odds_of_the_predicted_class_and_nothing_is_zeros(
    network: Callable[..., Network], batch: Callable[..., Batch]
) -> None:
    model, given = network("class"), batch("class")
    (found,) = attribute(model, given, 1)
    model.eval().requires_grad_(False)
    for inputs, value in ((given.inputs[1:2], found.value), (torch.zeros_like(given.inputs[1:2]), found.baseline)):
        chances = model(inputs, given.input_lengths[1:2]).softmax(-1)[0]
        chance = chances["abc".index(found.answer)]
        assert value == pytest.approx(float((chance / (1 - chance)).log()), rel=1e-5)
    assert found.unit == "nats"


def test_a_forecast_is_explained_in_its_own_unit(network: Callable[..., Network], batch: Callable[..., Batch]) -> None:
    model, given = network("positive"), batch("positive")
    found = attribute(model, given, 2)
    model.eval().requires_grad_(False)
    forecasts = model.task.columns(model.predict(given), given)
    assert [(one.answer, one.unit) for one in found] == [("x", "%²"), ("y", "%²")]
    assert [one.value for one in found] == pytest.approx([forecasts["prediction/x"][2], forecasts["prediction/y"][2]], rel=1e-5)


def test_a_linear_answer_gives_each_input_its_own_term(network: Callable[..., Network], batch: Callable[..., Batch]) -> None:
    model, given = network("real", "model=srnn model.head.pooling=last"), batch("real")
    weights_TF = torch.randn(9, F, dtype=torch.float64)
    model.predict = lambda batch: (batch.inputs * weights_TF).sum((1, 2))[:, None] * torch.tensor([1.0, 3.0])
    given = replace(given, reference=None)
    first, second = attribute(model, given, 1)
    np.testing.assert_allclose(first.shares_TF, (given.inputs[1] * weights_TF).numpy(), rtol=1e-9)
    np.testing.assert_allclose(second.shares_TF, 3 * first.shares_TF, rtol=1e-9)
    assert first.num_points == attribution.FIRST_POINTS


@pytest.mark.parametrize(("kind", "words"), [("class", f"model=birnn cell=gru {CONVOLUTION}"), ("words", "model=gru")])
def test_padding_has_no_share_and_changes_none(
    kind: str, words: str, network: Callable[..., Network], batch: Callable[..., Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, given = network(kind, words), batch(kind)
    whole: list[torch.Tensor] = []
    integrate = attribution._integrate
    monkeypatch.setattr(attribution, "_integrate", lambda *given: (found := integrate(*given), whole.append(found[0]))[0])
    (padded,) = attribute(model, given, 0)
    assert (whole[0][3:] == 0).all() and (whole[0][:3] != 0).any()
    alone = replace(given, inputs=given.inputs[:, :3], input_lengths=torch.tensor([3, 3, 3]))
    (found,) = attribute(model, alone, 0)
    assert found.shares_TF.shape[0] == padded.shares_TF.shape[0] == 3
    np.testing.assert_allclose(padded.shares_TF, found.shares_TF, rtol=1e-6)


def test_neither_weights_gradients_nor_dropout_are_touched(network: Callable[..., Network], batch: Callable[..., Batch]) -> None:
    model = network("class", f"model=gru {CONVOLUTION}")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    attribute(model, batch("class"), 0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training and model.dropout.training
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("kind", "words", "told"),
    [
        ("label", "model=gru", r"answers of this kind cannot be explained \(data=toy\): .* with one label or with numbers"),
        ("tokens", "model=gru", r"answers of this kind cannot be explained"),
        ("real", "model=seq2seq", r"forecasts of model=seq2seq cannot be explained: each number enters the next step without a gradient"),
    ],
)
def test_what_cannot_be_explained_is_refused(
    kind: str, words: str, told: str, network: Callable[..., Network], batch: Callable[..., Batch]
) -> None:
    assert refusal(network("class")) is None
    with pytest.raises(ValueError, match=told):
        attribute(network(kind, words), batch(kind), 0)
