"""A sequence that is read as it comes gets the answers of the whole sequence, for every network of one direction and kind of target."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rnnlab.contracts import DataSpec
from rnnlab.models.base import SequenceModule, StreamState
from rnnlab.settings import TrainSettings

Compose = Callable[..., TrainSettings]
WORDS = ("<pad>", "<unk>", *"abcdefg")
SPECS = {
    "class": DataSpec("speech", "features", 5, "class", 3, ("a", "b", "c"), (1, 1, 1)),
    "real": DataSpec("series", "features", 5, "real", 2, ("x", "y")),
    "labels_per_step": DataSpec("music", "features", 5, "labels_per_step", 5, tuple("abcde"), (1,) * 5, is_causal=True),
    "texts": DataSpec("text", "tokens", 9, "class", 3, ("a", "b", "c"), (1, 1, 1)),
    "language": DataSpec(
        "language", "tokens", 9, "class_per_step", 9, WORDS, (1,) * 9, goal="continue", joined="characters", is_causal=True, is_stream=True
    ),
}
NETWORKS = {
    "lstm": "model=lstm model.recurrence.num_layers=2 model.recurrence.has_layer_norm=true",
    "gru": "model=gru model.recurrence.num_layers=2 model.recurrence.has_residual=true model.recurrence.has_batch_norm=true",
    "mingru": "model=gru cell=mingru",
    "peephole": "model=lstm cell=lstm_peephole model.recurrence.zoneout=0.1",
    "tcn": "model=tcn model.convolutions.num_layers=3 model.convolutions.is_causal=true",
    "transformer": "model=transformer model.encoder.is_causal=true model.encoder.num_layers=2",
}


def network(compose: Compose, words: str, spec: DataSpec) -> SequenceModule:
    torch.manual_seed(2)
    frontend = "frontend=embedding frontend.num_ngrams=[20,10]" if spec.name == "text" else ""
    frontend += " frontend=direct" if spec.name == "speech" and "frontend=" not in words else ""
    data = {"text": "text", "language": "language", "music": "music", "series": "series"}.get(spec.name, "speech")
    settings = compose(f"data={data}", *frontend.split(), *words.split())
    model: SequenceModule = settings.model.recipe()(spec)
    if model.frontend.needs_fit:  # some n-grams have vectors of their own
        for size in (2, 3):
            keys = torch.arange(3 * 9 ** (size - 1), 9**size, 7)[: (20, 10)[size - 2]]
            model.frontend.get_buffer(f"ngrams_{size}")[: len(keys)] = keys
        for part in model.frontend.ngram_tables.parameters():
            torch.nn.init.normal_(part)
    return model.eval()


def inputs_of(spec: DataSpec, num_steps: int) -> Tensor:
    random = torch.Generator().manual_seed(num_steps)
    if spec.input_kind == "tokens":
        return torch.randint(2, 9, (3, num_steps), generator=random)
    return torch.randn(3, num_steps, spec.input_size, generator=random)


@torch.inference_mode()
def streamed(model: SequenceModule, inputs: Tensor, *sizes: int) -> Tensor:
    state: StreamState | None = None
    found, start = [], 0
    for size in sizes:
        outputs, state = model.stream(inputs[:, start : start + size], state)
        found.append(outputs)
        start += size
    assert start == inputs.shape[1]
    return torch.cat(found, 1)


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("words", NETWORKS.values(), ids=NETWORKS)
def test_each_step_gets_the_answer_of_all_steps_so_far(compose: Compose, words: str, kind: str) -> None:
    model, spec = network(compose, words, SPECS[kind]), SPECS[kind]
    inputs = inputs_of(spec, 19)
    found = streamed(model, inputs, *[1] * 19)
    for num_steps in (1, 2, 3, 8, 19):
        with torch.inference_mode():
            whole = model(inputs[:, :num_steps], torch.full((3,), num_steps))
        wanted = whole[:, -1] if model.task.is_per_step else whole
        torch.testing.assert_close(found[:, num_steps - 1], wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(streamed(model, inputs, 4, 1, 9, 5), found, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "mean_max", "attention"])
def test_every_way_of_pooling_goes_on(compose: Compose, pooling: str) -> None:
    model = network(compose, f"model=gru model.head.pooling={pooling}", SPECS["class"])
    inputs = 9 * inputs_of(SPECS["class"], 30)
    found = streamed(model, inputs, 7, 1, 22)
    for num_steps in (1, 7, 8, 30):
        with torch.inference_mode():
            wanted = model(inputs[:, :num_steps], torch.full((3,), num_steps))
        torch.testing.assert_close(found[:, num_steps - 1], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("model=birnn", "model=birnn reads each sequence from its end"),
        ("model=tcn model.convolutions.is_causal=false", "model=tcn reads each sequence from its end"),
        ("model=transformer model.encoder.is_causal=false", "model=transformer reads"),
        ("model=gru frontend=convolution frontend.channels=[2] frontend.kernel_sizes=[3] frontend.time_strides=[1] "
         "frontend.frequency_strides=[1]", "frontend=convolution looks at later steps"),
    ],
)  # fmt: skip
def test_what_needs_later_steps_is_refused_with_the_reason(compose: Compose, words: str, reason: str) -> None:
    model = network(compose, words, SPECS["class"])
    with pytest.raises(ValueError, match=reason):
        model.stream(inputs_of(SPECS["class"], 3))
