"""Tiny networks on tiny data, for whoever looks into them."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch

from rnnlab.cli import compose_config
from rnnlab.config import recipe
from rnnlab.contracts import Batch, DataSpec, Reference
from rnnlab.models.base import Network

F, H, C, D, V = 6, 4, 3, 2, 7
LENGTHS = (3, 9, 5)
SPECS = {
    "class": DataSpec("toy", "features", F, "class", C, ("a", "b", "c"), (4, 1, 2)),
    "real": DataSpec("toy", "features", F, "real", D, ("x", "y"), unit="%"),
    "positive": DataSpec("toy", "features", F, "real", D, ("x", "y"), link="exp", unit="%²"),
    "label": DataSpec("toy", "features", F, "class_per_step", C, ("a", "b", "c"), (4, 1, 2)),
    "keys": DataSpec("toy", "features", C, "labels_per_step", C, ("C4", "D4", "E4"), (1, 1, 1), is_causal=True),
    "words": DataSpec("toy", "tokens", V, "class", C, ("a", "b", "c"), (4, 1, 2)),
    "tokens": DataSpec(
        *("toy", "features", F, "tokens", V, ("<pad>", "<unk>", "<s>", "</s>", "p", "q", "r")),
        goal="pronounce",
        max_target_length=2,
        is_monotonic=True,
    ),
}
SMALL = ["model.head.dropout=0.5", "model.regularisation.label_smoothing=0"]
CONVOLUTION = (
    "frontend=convolution frontend.channels=[2,3] frontend.kernel_sizes=[5,3] frontend.time_strides=[2,1] frontend.frequency_strides=[2,2]"
)


@cache
def composed(words: str) -> dict[str, Any]:
    part = "convolutions" if "model=tcn" in words else "recurrence"
    model: dict[str, Any] = compose_config("config", [*SMALL, f"model.{part}.hidden_size={H}", *words.split()]).values["model"]
    return model


@pytest.fixture
def network() -> Callable[..., Network]:
    """Make a small network in float64 (dropout on, as while training), with weights large enough that much depends on them."""

    def make(kind: str, words: str = "model=gru", scale: float = 2.0) -> Network:
        words += " frontend=embedding frontend.embedding_size=5" if kind == "words" else "" if "frontend=" in words else " frontend=direct"
        torch.manual_seed(1)
        model: Network = recipe(composed(words), "model")(SPECS[kind])
        model = model.double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(scale)
        return model

    return make


@pytest.fixture
def batch() -> Callable[..., Batch]:
    """Make a batch of three sequences of different lengths in float64, rubbish as padding where that may be."""

    def make(kind: str, lengths: tuple[int, ...] = LENGTHS) -> Batch:
        spec = SPECS[kind]
        generator = torch.Generator().manual_seed(2)
        lengths_B, size, most = torch.tensor(lengths), len(lengths), max(lengths)
        if spec.input_kind == "tokens":
            inputs = torch.randint(1, V, (size, most), generator=generator)
        else:
            inputs = torch.randn(size, most, F, dtype=torch.float64, generator=generator)
        ones, ids = torch.ones_like(lengths_B), torch.arange(size) + 10
        classes = torch.randint(C, (size,), generator=generator)
        if spec.target_kind == "real":
            numbers = torch.rand(3, size, D, dtype=torch.float64, generator=generator) + 0.5
            return Batch(inputs, lengths_B, numbers[0], ones, ids, Reference(numbers[1].log(), numbers[2], torch.ones(size, D)))
        if spec.target_kind == "class_per_step":
            targets = torch.randint(C, (size, most), generator=generator)
            return Batch(inputs, lengths_B, targets.masked_fill(torch.arange(most) >= lengths_B[:, None], -1), lengths_B, ids)
        if spec.target_kind == "tokens":
            targets = torch.tensor([[4, 5], [6, 0], [5, 0]][:size])
            return Batch(inputs, lengths_B, targets, (targets > 0).sum(1), ids, references=(("p q",), ("r",), ("q",))[:size])
        return Batch(inputs, lengths_B, classes, ones, ids)

    return make
