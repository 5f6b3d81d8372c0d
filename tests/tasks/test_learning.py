"""Small trainings that must succeed: whatever the targets are, the loss falls."""

from math import sqrt
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.utils.data import DataLoader

from rnnlab.cli import compose_config
from rnnlab.contracts import Batch, DataSpec, Reference
from rnnlab.models.base import SequenceModule
from rnnlab.models.optimization import Optimization
from rnnlab.settings import TrainSettings

PER_STEP = DataSpec("toy", "tokens", 7, "class_per_step", 3, ("a", "b", "c"), (6, 3, 1))
REAL = DataSpec("toy", "features", 4, "real", 2, ("open", "close"))


class Losses(Callback):
    """Remember the loss of every step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        assert isinstance(outputs, dict)
        self.values.append(outputs["loss"].item())


def train(words: list[str], spec: DataSpec, batches: list[Batch]) -> tuple[list[float], dict[str, Tensor]]:
    """Train what the configuration says on these batches, once each; return the losses and what validation measured."""
    settings = ["model=gru", "optimizer=adam", "optimizer.lr=0.03", "scheduler=none", "model.head.dropout=0"]
    config = TrainSettings.of(compose_config("config", settings + words))
    torch.manual_seed(0)
    model: SequenceModule = config.model.recipe()(spec)
    model.optimization = Optimization(config.optimizer.recipe(), config.scheduler.recipe())
    losses = Losses()
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, callbacks=[losses], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    given: Any = batches  # PyTorch takes a list as a data set
    trainer.fit(model, DataLoader(given, batch_size=None), DataLoader(given[:3], batch_size=None))
    return losses.values, trainer.callback_metrics


quiet = pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*smaller than the logging interval.*")


@quiet
def test_a_tagger_learns_a_rule_that_needs_the_step_before() -> None:
    torch.manual_seed(3)
    batches = []
    for _ in range(30):
        tokens, lengths = torch.randint(7, (16, 9)), torch.randint(2, 10, (16,))
        before = torch.cat([torch.zeros(16, 1, dtype=torch.int64), tokens[:, :-1]], 1)
        targets = (before > 3).long() + (tokens > 3).long()
        is_padding = torch.arange(9) >= lengths[:, None]
        batches.append(Batch(tokens.masked_fill(is_padding, 0), lengths, targets.masked_fill(is_padding, -1), lengths, torch.arange(16)))
    words = ["frontend=embedding", "frontend.embedding_size=8", "model.recurrence.hidden_size=12"]
    losses, numbers = train(words, PER_STEP, batches)
    assert len(losses) == 30
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert numbers["val/accuracy"] > 0.8


@quiet
def test_a_forecaster_learns_two_numbers_at_once() -> None:
    torch.manual_seed(3)
    batches = []
    for _ in range(30):
        values, lengths = torch.randn(16, 7, 4), torch.randint(2, 8, (16,))
        values = values.masked_fill((torch.arange(7) >= lengths[:, None])[..., None], 0)
        targets = torch.stack([values[torch.arange(16), lengths - 1, 0], values[..., 1].amax(1)], 1)
        batches.append(Batch(values, lengths, targets, torch.ones_like(lengths), torch.arange(16)))
    losses, numbers = train(["frontend=direct", "model.recurrence.hidden_size=12"], REAL, batches)
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert numbers["val/rmse"].item() == pytest.approx(sqrt(numbers["val/mse"].item()), rel=1e-5)


def series_batches(is_positive: bool) -> list[Batch]:
    """Draw windows whose last value decides the target, far from zero and of any size."""
    torch.manual_seed(3)
    batches = []
    for _ in range(30):
        values = torch.randn(16, 5, 4)
        signal = 0.8 * values[:, -1, :1] + 0.1 * torch.randn(16, 1)
        offset, scale = (torch.full((16, 1), number) for number in ((1.0, 0.5) if is_positive else (100.0, 20.0)))
        targets = offset + scale * signal
        persistence = offset.exp() if is_positive else offset
        reference = Reference(offset, scale, persistence)
        lengths = torch.full((16,), 5)
        targets = targets.exp() if is_positive else targets
        batches.append(Batch(values, lengths, targets, torch.ones_like(lengths), torch.arange(16), reference))
    return batches


@quiet
@pytest.mark.parametrize("head", ["default", "quantile"])
@pytest.mark.parametrize("is_positive", [False, True])
def test_a_forecaster_beats_persistence_on_targets_of_any_size(is_positive: bool, head: str) -> None:
    spec = DataSpec("toy", "features", 4, "real", 1, ("x",), link="exp" if is_positive else "identity")
    words = ["frontend=direct", f"model/head={head}", "model.recurrence.hidden_size=12", "model.head.pooling=last"]
    losses, numbers = train(words, spec, series_batches(is_positive))
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert numbers["val/skill"] > 0.5
