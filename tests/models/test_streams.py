"""Claims about networks that read streams part by part: the state that goes on, gradients, checkpoints, and regularisation of AWD-LSTM."""

import gc
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab.config import ConfigError
from rnnlab.contracts import Batch, DataSpec
from rnnlab.layers.dropout import VariationalDropout
from rnnlab.layers.frontends import Embedding
from rnnlab.models.base import SequenceModule
from rnnlab.settings import TrainSettings
from rnnlab.training.callbacks import CarriedState

SIZE = 11
WORDS = ("<pad>", "<unk>", *"abcdefghi")
LANGUAGE = DataSpec(
    "language", "tokens", SIZE, "class_per_step", SIZE, WORDS, goal="continue", joined="characters", is_causal=True, is_stream=True
)
PLAIN = "frontend.dropout=0 model.head.dropout=0"
CELLS = [
    "model=lstm model.recurrence.num_layers=2 model.recurrence.has_layer_norm=true",
    "model=gru model.recurrence.num_layers=2 model.recurrence.has_residual=true",
    "model=srnn",
    "model=lstm cell=lstm_peephole",
    "model=gru cell=mingru model.recurrence.num_layers=2",
    "model=gru model.recurrence.backend=reference",
]
Compose = Callable[..., TrainSettings]


def network(compose: Compose, words: str = "model=lstm", spec: DataSpec = LANGUAGE) -> SequenceModule:
    torch.manual_seed(3)
    settings = compose("data=language", "model.recurrence.hidden_size=13", "frontend.embedding_size=7", *PLAIN.split(), *words.split())
    model: SequenceModule = settings.model.recipe()(spec)
    return model


def parts_of(text: Tensor, *ends: int) -> list[Batch]:
    """Cut streams into batches of parts."""
    found, start = [], 0
    for end in ends:
        lengths_B = torch.full((len(text),), end - start)
        inputs_BT, targets_BT = text[:, start:end], text[:, start + 1 : end + 1]
        found.append(Batch(inputs_BT, lengths_B, targets_BT, lengths_B, torch.arange(len(text)), is_continued=start > 0))
        start = end
    return found


@pytest.fixture
def text() -> Tensor:
    return torch.randint(2, SIZE, (3, 21), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("words", CELLS)
def test_parts_give_the_outputs_of_the_whole(compose: Compose, words: str, text: Tensor) -> None:
    model = network(compose, words).eval()
    (whole,) = parts_of(text, 20)
    wanted = model.predict(whole)
    for ends in ((7, 12, 20), (1, 2, 20), (19, 20)):
        found = torch.cat([cast(Tensor, model.predict(part)) for part in parts_of(text, *ends)], 1)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("words", CELLS[:3])
def test_gradients_of_a_part_are_those_of_the_whole_behind_a_state_that_is_held(compose: Compose, words: str, text: Tensor) -> None:
    model = network(compose, words).double()
    first, second = parts_of(text, 8, 20)
    model.training_loss(first)
    model.zero_grad()
    model.training_loss(second).backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    layer, frontend = model.layer, model.frontend
    with torch.no_grad():
        _, state = layer.run(frontend(first.inputs, first.input_lengths)[0], first.input_lengths)
    model.zero_grad()
    values, _ = layer.run(frontend(second.inputs, second.input_lengths)[0], second.input_lengths, tuple(part.clone() for part in state))
    F.cross_entropy(model.read_out(values, second.input_lengths).flatten(0, 1), second.targets.flatten()).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-9, atol=1e-12)


def test_where_a_part_covers_the_stream_gradients_are_those_of_full_backpropagation(compose: Compose, text: Tensor) -> None:
    model = network(compose).double()
    (whole,) = parts_of(text, 20)
    model.training_loss(whole).backward()
    truncated = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    F.cross_entropy(model(whole.inputs, whole.input_lengths).flatten(0, 1), whole.targets.flatten()).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(truncated[name], parameter.grad, rtol=1e-12, atol=1e-14)


def test_what_is_carried_on_keeps_no_graph_so_that_memory_stays_flat(compose: Compose, text: Tensor) -> None:
    model, counts = network(compose), []
    for number in range(30):
        (part,) = parts_of(text, 20)
        model.training_loss(replace(part, is_continued=number > 0)).backward()
        assert all(state.grad_fn is None and not state.requires_grad for state in model.carried[True])
        gc.collect()
        counts.append(sum(type(found) is Tensor for found in gc.get_objects()))
    assert counts[-1] <= counts[5] + 5


def test_validation_within_an_epoch_leaves_the_state_of_training_alone(compose: Compose, text: Tensor) -> None:
    model = network(compose)
    first, second = parts_of(text, 8, 20)
    model.training_loss(first)
    kept = [part.clone() for part in model.carried[True]]
    model.eval().predict(replace(second, is_continued=False))
    assert all(torch.equal(one, other) for one, other in zip(kept, model.carried[True], strict=True))


def test_fewer_streams_go_on_with_their_own_states(compose: Compose, text: Tensor) -> None:
    model = network(compose).eval()
    first, second = parts_of(text, 8, 20)
    model.predict(first)
    fewer = Batch(*(getattr(second, name)[:2] for name in ("inputs", "input_lengths", "targets", "target_lengths", "example_ids")))
    found = model.predict(replace(fewer, is_continued=True))
    (whole,) = parts_of(text, 20)
    torch.testing.assert_close(found, cast(Tensor, model.predict(whole))[:2, 8:], rtol=0, atol=1e-6)


def test_a_checkpoint_holds_the_state_and_gives_it_back(compose: Compose, text: Tensor) -> None:
    model, other = network(compose), network(compose)
    first, second = parts_of(text, 8, 20)
    model.training_loss(first)
    CarriedState(other).load_state_dict(CarriedState(model).state_dict())
    assert torch.equal(model.training_loss(second), other.training_loss(second))


def test_a_state_of_several_processes_is_not_taken_by_one(compose: Compose) -> None:
    with pytest.raises(ConfigError, match="trained by 2 process"):
        CarriedState(network(compose)).load_state_dict({"states": [[], []]})


def test_networks_without_a_state_to_carry_read_each_part_by_itself(compose: Compose, text: Tensor) -> None:
    settings = compose("data=language", "model=transformer", *PLAIN.split())
    model: SequenceModule = settings.model.recipe()(LANGUAGE).eval()
    first, second = parts_of(text, 8, 20)
    model.predict(first)
    assert torch.equal(cast(Tensor, model.predict(second)), model(second.inputs, second.input_lengths)) and not model.carried


def test_convolutions_go_on_from_the_steps_that_they_reach_back_to(compose: Compose, text: Tensor) -> None:
    model: SequenceModule = compose("data=language", "model=tcn", *PLAIN.split()).model.recipe()(LANGUAGE).eval()
    (whole,) = parts_of(text, 20)
    found = torch.cat([cast(Tensor, model.predict(part)) for part in parts_of(text, 7, 12, 20)], 1)
    torch.testing.assert_close(found, cast(Tensor, model.predict(whole)), rtol=0, atol=1e-6)


# Refusals -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("model=birnn", "later inputs"),
        ("frontend.num_ngrams=[10]", "read in parts"),
        ("cell=mingru model=gru model.recurrence.weight_dropout=0.5", "weight_dropout=0.5"),
    ],
)
def test_what_makes_no_sense_is_refused(compose: Compose, words: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(compose, words)


def test_tied_embeddings_are_for_language_models(compose: Compose) -> None:
    with pytest.raises(ValueError, match="is_tied=true is for language models"):
        network(compose, "model=lstm model.head.is_tied=true", DataSpec("text", "tokens", SIZE, "class", 2, ("a", "b"), (3, 3)))


# AWD-LSTM -------------------------------------------------------------------------------------------------------------------------


def test_tied_the_last_layer_is_the_table_behind_a_matrix_where_sizes_differ(compose: Compose, text: Tensor) -> None:
    model = network(compose, "model=lstm model.head.is_tied=true").eval()
    assert isinstance(model.frontend, Embedding) and model.between is not None
    (whole,) = parts_of(text, 20)
    values, _ = model.layer(*model.frontend(whole.inputs, whole.input_lengths))
    wanted = values @ model.between.weight.T @ model.frontend.table.weight.T + model.output.bias
    torch.testing.assert_close(model.predict(whole), wanted)
    same = network(compose, "model=lstm model.head.is_tied=true frontend.embedding_size=13")
    assert same.between is None and same.output.weight is same.frontend.get_parameter("table.weight")
    num_untied = sum(part.numel() for part in network(compose, "model=lstm frontend.embedding_size=13").parameters())
    assert sum(part.numel() for part in same.parameters()) == num_untied - SIZE * 13


def test_variational_dropout_takes_the_same_features_at_all_steps() -> None:
    torch.manual_seed(0)
    dropped = VariationalDropout(0.5).train()(torch.ones(4, 9, 50))
    assert (dropped == dropped[:, :1]).all() and set(dropped.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(dropped[0], dropped[1])
    assert torch.equal(VariationalDropout(0.5).eval()(torch.ones(1, 2, 3)), torch.ones(1, 2, 3))


@pytest.mark.parametrize("model", ["lstm", "gru", "srnn"])
def test_weight_dropout_drops_numbers_of_the_recurrent_matrix_alone_and_only_while_training(
    compose: Compose, model: str, text: Tensor
) -> None:
    (whole,) = parts_of(text, 20)
    dropping, plain = network(compose, f"model={model} model.recurrence.weight_dropout=0.5"), network(compose, f"model={model}")
    assert torch.equal(cast(Tensor, dropping.eval().predict(whole)), cast(Tensor, plain.eval().predict(whole)))
    (kernel,) = [part for part in plain.modules() if isinstance(part, nn.RNNBase)]
    torch.manual_seed(5)
    found = dropping.train().training_loss(whole)
    torch.manual_seed(5)
    with torch.no_grad():
        kernel.get_parameter("weight_hh_l0").copy_(F.dropout(kernel.get_parameter("weight_hh_l0"), 0.5))
    assert found.item() == pytest.approx(plain.train().training_loss(whole).item(), rel=1e-6)
    found.backward()
    weight = next(part for name, part in dropping.named_parameters() if name.endswith("weight_hh_l0"))
    assert weight.grad is not None and 0.3 < (weight.grad == 0).float().mean() < 0.7


def test_penalties_on_what_the_layer_gives_are_their_definitions(compose: Compose, text: Tensor) -> None:
    words = "model=lstm model.regularisation.activation=2.0 model.regularisation.temporal_activation=3.0"
    penalised, plain = network(compose, words), network(compose)
    (whole,) = parts_of(text, 20)
    values, _ = plain.layer(*plain.frontend(whole.inputs, whole.input_lengths))
    penalty = 2.0 * values.square().mean() + 3.0 * (values[:, 1:] - values[:, :-1]).square().sum() / values.numel()
    torch.testing.assert_close(penalised.training_loss(whole), plain.training_loss(whole) + penalty)
