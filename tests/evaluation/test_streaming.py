"""Claims about the latency of an answer: each example is read alone, as it would be in a batch, and as many as time allows."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rnnlab.contracts import Batch, Decoded
from rnnlab.data.base import SequenceDataModule
from rnnlab.evaluation import streaming
from rnnlab.evaluation.streaming import measure_examples, only
from rnnlab.models.base import Predictor
from rnnlab.settings import TrainSettings


def made(compose: Callable[..., TrainSettings], *words: str) -> tuple[Predictor, Batch]:
    settings = compose(*words, "data.source=sample", "model.recurrence.hidden_size=5", "data.loader.batch_size=6")
    data: SequenceDataModule = settings.data.recipe()(settings.paths, settings.seed)
    data.setup()
    torch.manual_seed(4)
    model: Predictor = settings.model.recipe()(data.make_spec())
    return model.eval(), next(iter(data.plain_dataloader("test")))


@pytest.mark.parametrize(
    "words", [("model=birnn", "data=speech"), ("model=gru", "data=text"), ("model=gru", "data=series"), ("model=lstm", "data=events")]
)
@torch.no_grad()
def test_an_example_of_a_batch_has_the_answer_that_it_has_there(compose: Callable[..., TrainSettings], words: tuple[str, ...]) -> None:
    model, batch = made(compose, *words)
    whole = model.predict(batch)
    assert isinstance(whole, Tensor)
    for place in (0, batch.size - 1):
        one = only(batch, place)
        found, length = model.predict(one), int(batch.input_lengths[place])
        assert isinstance(found, Tensor)
        assert one.size == 1
        assert one.inputs.shape[1] == length
        right = whole[place] if whole.ndim == 2 else whole[place, : found.shape[1]]
        torch.testing.assert_close(found[0], right)
        if one.reference is not None and batch.reference is not None:
            assert torch.equal(one.reference.scale, batch.reference.scale[place : place + 1])


def test_the_measure_ends_in_time_and_leaves_a_model_as_it_was(
    compose: Callable[..., TrainSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = made(compose, "model=gru", "data=text")
    model.train()
    found = measure_examples(model, batch)
    assert 0 < found["latency/example_p50_ms"] <= found["latency/example_p99_ms"]
    assert model.training
    answers: list[Tensor | Decoded] = []
    monkeypatch.setattr(streaming, "MOST_SECONDS", 0.0)
    monkeypatch.setattr(type(model), "predict", lambda self, given: answers.append(given.inputs) or given.inputs)
    measure_examples(model, batch)
    assert len(answers) == streaming.NUM_WARM + 2
