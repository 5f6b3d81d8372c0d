"""Base classes of all models: a `Predictor` is trained by gradients (`Network`) or fitted once (`FittedOnce`). A `SequenceModule` is a
network with a layer over the whole sequence and a head, a `RecurrentModule` one whose layer is recurrent; srnn, lstm, gru and birnn are
its presets.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from rnnlab.cells.base import Cell
from rnnlab.config import Fraction
from rnnlab.contracts import Batch, DataSpec, Decoded, TagPath, TagsWithIntent, valid_mask
from rnnlab.layers import ctc
from rnnlab.layers.base import LayerState, SequenceLayer
from rnnlab.layers.beam_search import Decoding
from rnnlab.layers.crf import LinearChainCRF
from rnnlab.layers.dropout import dropouts
from rnnlab.layers.frontends import Embedding, Frontend
from rnnlab.layers.intent import IntentHead
from rnnlab.layers.pooling import Pooling, PoolingKind
from rnnlab.layers.recurrent import Recurrence, RecurrentStack
from rnnlab.layers.refusals import refuse_crf, refuse_misfit, refuse_without_ctc
from rnnlab.models.optimization import Optimization, clip
from rnnlab.tasks import TASKS_OWN, Loss, Regularisation, Task, make_task

Outputs = Tensor | Decoded | TagPath | TagsWithIntent


@dataclass(frozen=True)
class Head:
    """Settings of the head, which turns steps into an answer (`model.head`).

    Args:
        pooling: from all steps to one vector (where there is a target at every step, of the intent alone, if there is one).
        dropout: before the last linear layer.
        quantiles: of real targets, to forecast instead of one number, the median in the middle (empty: one number).
        variational_dropout: before the last linear layer, of whole features, the same at all steps of a sequence.
        is_tied: of language models, whether the last linear layer is the embedding's table (Press and Wolf 2017); a matrix stands between
            where their sizes differ.
        has_crf: of tags, whether those of a sentence are chosen together (see `layers.crf`).
    """

    pooling: PoolingKind
    dropout: Fraction
    quantiles: tuple[float, ...]
    variational_dropout: Fraction = 0.0
    is_tied: bool = False
    has_crf: bool = False


@dataclass(frozen=True)
class StreamState:
    """What a network carries from step to step of a sequence that it reads as it comes; None and nothing at the beginning."""

    frontend: LayerState | None = None
    layer: LayerState | None = None
    pooling: LayerState | None = None


class Predictor(pl.LightningModule, ABC):
    """Base class of everything that predicts batches; sizes come from `spec` and from nowhere else."""

    def __init__(self, spec: DataSpec, task: Task[Any]) -> None:
        super().__init__()
        self.spec = spec
        self.task = task

    @classmethod
    def check_settings(cls, settings: Mapping[str, object]) -> None:
        """Raise ValueError where settings (by argument) do not go with each other, whatever the data; called before any are read."""

    @abstractmethod
    def predict(self, batch: Batch) -> Outputs:
        """Return outputs as the task reads them: (B, C) or (B, T, C) log-odds, (B, D) standardised forecasts, or decoded tokens."""


class FittedOnce(Predictor, ABC):
    """A predictor without gradients: fitted once on all training batches."""

    kind: str

    @abstractmethod
    def fit(self, train: Iterable[Batch], val: Iterable[Batch]) -> None:
        """Fit on training batches, not augmented; validation batches choose settings and nothing else."""


class Network(Predictor, ABC):
    """Base class of predictors trained by gradients; `frontend` makes a front end from (input_size).

    Raises:
        ValueError: if the front end does not fit.
    """

    def __init__(self, spec: DataSpec, task: Task[Any], frontend: Callable[..., Frontend], decoding: Decoding) -> None:
        super().__init__(spec, task)
        self.decoding = decoding
        self.frontend = frontend(input_size=spec.input_size)
        refuse_misfit(self.frontend, spec, task)
        if self.frontend.needs_characters:
            self.frontend.take_alphabet(spec.num_characters)
        self.optimization: Optimization | None = None
        self.metrics = task.metrics()
        self.step_numbers: dict[str, Tensor] | None = None  # of the last training step, where somebody takes them; see `report`
        self.lesson: Callable[[Tensor, Tensor, Batch], Tensor] | None = None  # of a teacher: (loss, outputs, batch) to what is minimised
        self.gradient_norm: Tensor | None = None  # of the running step, where it is known
        self.total: Callable[[Tensor], Tensor] | None = None  # sums numbers over the shards of a batch, if several processes have one each

    @abstractmethod
    def training_loss(self, batch: Batch) -> Tensor:
        """Return the loss to minimise, a scalar; penalties on weights aside."""

    def loss_of(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Return the task's loss while training, together with a teacher's where there is one."""
        own = self.task.loss(outputs, batch)
        return own if self.lesson is None else self.lesson(own, cast(Tensor, outputs), batch)

    def loss_weight(self, batch: Batch) -> Tensor:
        """Return what the training loss is a mean over, a float64 scalar: the weight of a shard in the loss of a whole batch."""
        return self.task.loss_weight(batch)

    @property
    def has_idle_parameters(self) -> bool:
        """Whether there are parameters that no answer depends on, or none yet."""
        return self.optimization is not None and self.optimization.unfreeze_every_epochs is not None

    def layer_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return all weights in groups by name, from the input up: what fine-tuning unfreezes from the last to the first.

        Raises:
            ValueError: where layers have no such order.
        """
        raise ValueError(
            f"finetune is for networks whose layers lie one above another; model={type(self).__name__.lower()} has others beside"
        )

    def predict_greedy(self, batch: Batch) -> Outputs:
        """Predict a batch quickly, for validation while training."""
        return self.predict(batch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.training_loss(batch)
        loss, whole = (loss, loss) if self.total is None else self._as_shard(loss, batch, self.total)
        self.report("train/loss", whole.detach(), batch)
        if self.task.regularisation.l1:
            loss = loss + self.task.regularisation.l1 * self.l1_norm()
        return loss

    def report(self, name: str, value: Tensor, batch: Batch) -> None:
        """Hand on a number of a training step: to who keeps them till they are wanted, or else to Lightning, which asks at each step."""
        if self.step_numbers is None:
            return self.log(name, value, batch_size=batch.size)
        self.step_numbers[name] = value

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip; Lightning would refuse to where a fused optimizer meets bfloat16, as if that were scaled."""
        norm, self.gradient_norm = self.gradient_norm, None
        if gradient_clip_val is not None:
            clip(optimizer, gradient_clip_val, gradient_clip_algorithm == "value", norm)

    def _as_shard(self, loss: Tensor, batch: Batch, total: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Return what to minimise so that the mean of all processes' gradients is that of the whole batch, and the whole batch's loss.

        Where the latter is not finite, so is the former: all processes stop together.
        """
        weight = self.loss_weight(batch)
        losses, weights, num_shards = total(torch.stack([loss.detach() * weight, weight, torch.ones_like(weight)]))
        whole = (losses / weights).to(loss.dtype)
        return torch.where(whole.isfinite(), loss * (num_shards * weight / weights).to(loss.dtype), whole), whole

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Outputs]:
        """Evaluate a batch of the validation split; return the outputs for callbacks."""
        outputs = self.predict_greedy(batch)
        loss = self.task.loss(outputs, batch, is_training=False)
        self.log("val/loss", loss, batch_size=self.task.num_counted(outputs, batch), sync_dist=True)
        self.task.update(self.metrics, outputs, batch)
        return {"outputs": outputs}

    def on_validation_epoch_end(self) -> None:
        numbers = self.task.flatten(self.metrics.compute())
        self.log_dict({f"val/{name}": value for name, value in numbers.items()}, sync_dist=True)  # alike everywhere, to the last bit
        self.metrics.reset()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        if self.optimization is None:
            raise RuntimeError("set `optimization` before training")
        total_steps = self.trainer.estimated_stepping_batches
        if math.isinf(total_steps):
            raise ValueError("a schedule needs an end: give trainer.max_epochs or trainer.max_steps (trainer.max_time may stop it earlier)")
        if math.isinf(self.trainer.num_training_batches):
            self.trainer.fit_loop.setup_data()  # where the steps are given, Lightning has not looked at the loader yet
        groups = [[*self.parameters()]] if self.optimization.rate_decay == 1 else [*self.layer_groups().values()]
        trained = [[weight for weight in group if weight.requires_grad] for group in groups]
        return self.optimization.configured(trained, int(total_steps), int(self.trainer.num_training_batches), self.task.metric)

    def l1_norm(self) -> Tensor:
        """Sum the absolute values of all weight matrices."""
        return torch.stack([p.abs().sum() for p in self.parameters() if p.ndim > 1]).sum()


class SequenceModule(Network, ABC):
    """Base class of networks with a layer over the whole sequence and a head; sequences of tokens are trained by CTC.

    Args:
        spec: what the data are; sizes come from here and from nowhere else.
        make_layer: makes the layer from its input size.
        frontend: makes a front end from (input_size).
        head: pooling and dropout.
        regularisation: terms added to the plain loss.
        decoding: how sequences of tokens are searched for (unused elsewhere).
        loss: what is minimised.

    Raises:
        ValueError: if the front end does not fit, CTC cannot train such targets, or the layer would read them.
    """

    layer_name: ClassVar[str]
    """The attribute that holds the layer; names of weights begin with it."""

    def __init__(
        self,
        spec: DataSpec,
        make_layer: Callable[[int], SequenceLayer],
        frontend: Callable[..., Frontend],
        head: Head,
        regularisation: Regularisation,
        decoding: Decoding,
        loss: Loss,
    ) -> None:
        super().__init__(spec, make_task(spec, regularisation, head.quantiles, loss), frontend, decoding)
        self.is_ctc = spec.target_kind == "tokens"
        if self.is_ctc:
            refuse_without_ctc(spec, regularisation)
        self.add_module(self.layer_name, layer := make_layer(self.frontend.output_size))
        if spec.is_causal and not layer.is_causal:
            raise ValueError(
                f"data={spec.name} has targets that are its own later inputs, which a network that looks ahead would read: choose "
                "model=srnn, lstm, gru, or tcn and transformer with is_causal left as it is"
            )
        size = layer.output_size
        self.pooling: Pooling | None = None
        if not self.task.is_per_step and not self.is_ctc:
            self.pooling = Pooling(head.pooling, size, layer.num_directions)
            size = self.pooling.output_size
        self.dropout = dropouts(head.dropout, head.variational_dropout)
        self.between: nn.Linear | None = None
        if head.is_tied:
            size = self._narrowed(size)
        self.output = nn.Linear(size, self.task.output_size)
        if head.is_tied:
            self.output.weight = self.frontend.get_parameter("table.weight")
        self.crf: LinearChainCRF | None = None
        if head.has_crf:
            refuse_crf(spec, regularisation, loss)
            self.crf = LinearChainCRF(self.task.output_size)
        self.intent: IntentHead | None = None
        if spec.intents:
            self.intent = IntentHead(head.pooling, layer.output_size, layer.num_directions, head.dropout, len(spec.intents))
        if (first := self.task.first_bias()) is not None:
            self.output.bias.data.copy_(first)
        self.carried: dict[bool, LayerState] = {}  # of streams, by `training`: the state after the last batch

    def _narrowed(self, size: int) -> int:
        """Return the embedding's size, to which a matrix brings the layer's output where that has another."""
        if self.spec.goal != "continue" or not isinstance(self.frontend, Embedding):
            raise ValueError(
                f"model.head.is_tied=true is for language models, whose inputs and targets are the same tokens; data={self.spec.name} is "
                "another kind: set it to false"
            )
        if size != self.frontend.output_size:
            self.between = nn.Linear(size, self.frontend.output_size, bias=False)
        return self.frontend.output_size

    @property
    def layer(self) -> SequenceLayer:
        """The layer between front end and head."""
        return cast(SequenceLayer, self.get_submodule(self.layer_name))

    def layer_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the front end, each level of the layer, and the head with all that is left; a tied table is the front end's."""
        parts: dict[str, list[nn.Module]] = {"front end": [self.frontend]}
        parts |= {f"layer {place}": [*level] for place, level in enumerate(self.layer.levels, start=1)} | {"head": [self]}
        seen: set[int] = set()
        groups = {}
        for name, modules in parts.items():
            weights = [weight for module in modules for weight in module.parameters() if id(weight) not in seen]
            seen |= {id(weight) for weight in weights}
            groups[name] = weights
        return groups

    def forward(self, inputs: Tensor, input_lengths_B: Tensor) -> Tensor:
        """Answer a padded batch, (B, T, F) or (B, T): (B, C) or (B, D), or (B, T', C) for a target at every step and for CTC."""
        return self.with_lengths(inputs, input_lengths_B)[0]

    def with_lengths(self, inputs: Tensor, input_lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Answer a padded batch, and say how many of the steps that come out are valid, (B,)."""
        values, lengths_B = self.layer(*self.frontend(inputs, input_lengths_B))
        return self.read_out(values, lengths_B), lengths_B

    def read_out(self, values: Tensor, lengths_B: Tensor) -> Tensor:
        """Map what the layer gave, (B, T, H), to outputs."""
        if self.pooling is not None:
            values = self.pooling(values, lengths_B)
        return self._last(self.dropout(values))

    def _last(self, values: Tensor) -> Tensor:
        return cast(Tensor, self.output(values if self.between is None else self.between(values)))

    def _hidden(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Run front end and layer, (B, T, H) and lengths; of streams from where the batch before ended, if this one goes on there.

        Gradients end at the border between two batches: backpropagation through time is truncated there (Williams and Peng 1990).
        """
        values, lengths_B = self.frontend(batch.inputs, batch.input_lengths)
        if not (self.spec.is_stream and self.layer.carries_state):
            return self.layer(values, lengths_B)
        before = None
        if batch.is_continued:
            before = tuple(part[: batch.size].to(values.device) for part in self.carried[self.training])
        values, after = self.layer.run(values, lengths_B, before)
        self.carried[self.training] = tuple(part.detach() for part in after)
        return values, lengths_B

    def stream(self, inputs: Tensor, state: StreamState | None = None) -> tuple[Tensor, StreamState]:
        """Read sequences on, one step or several, as they come; in evaluation mode, without gradients.

        Args:
            inputs: the next steps, (B, T, F) or (B, T), all of them valid.
            state: what the last call returned; None at the beginning.

        Returns:
            (B, T, C): after each of these steps what a call on all steps so far gives; and the state after them.

        Raises:
            ValueError: where an answer needs later steps.
        """
        if reason := self.needs_all_steps:
            raise ValueError(reason)
        before = state or StreamState()
        values, of_frontend = self.frontend.run(inputs, before.frontend)
        lengths_B = torch.full((values.shape[0],), values.shape[1], device=values.device)
        values, of_layer = self.layer.run(values, lengths_B, before.layer)
        of_pooling: LayerState = ()
        if self.pooling is not None:
            values, of_pooling = self.pooling.run(values, before.pooling)
        return self._last(values), StreamState(of_frontend, of_layer, of_pooling)

    @property
    def needs_all_steps(self) -> str:
        """Why an answer needs all steps of a sequence, so that they cannot be read as they come; empty where it does not."""
        if not (self.layer.runs_in_parts and self.layer.is_causal):
            return (
                f"model={type(self).__name__.lower()} reads each sequence from its end, too: choose a network of one direction "
                "(srnn, lstm, gru; tcn and transformer with is_causal=true)"
            )
        if self.frontend.looks_ahead:
            return f"frontend={type(self.frontend).__name__.lower()} looks at later steps: choose frontend=direct"
        return ""

    def predict(self, batch: Batch) -> Outputs:
        return self._answer(batch, self.decoding)

    def predict_greedy(self, batch: Batch) -> Outputs:
        """Predict a batch, sequences of tokens by the best path."""
        return self._answer(batch, Decoding(beam_size=1, length_penalty=0.0, num_best=1))

    def training_loss(self, batch: Batch) -> Tensor:
        values, lengths_B = self._hidden(batch)
        if not self.is_ctc:
            return self.plain_loss(values, lengths_B, batch)
        outputs = self.read_out(values, lengths_B)
        found = ctc.ctc_loss(outputs, lengths_B, batch.targets, batch.target_lengths)
        self.report("train/ctc_infeasible", torch.as_tensor(float(found.num_infeasible)), batch)
        return found.loss

    def plain_loss(self, values: Tensor, lengths_B: Tensor, batch: Batch) -> Tensor:
        """Return the task's loss, and penalties on what the layer gives where they are asked for."""
        settings = self.task.regularisation
        if not (settings.activation or settings.temporal_activation):
            return self.loss_of(self._outputs(self.read_out(values, lengths_B), values, lengths_B, batch), batch)
        if self.pooling is not None:
            raise ValueError("model.regularisation.activation and temporal_activation are for data with a target at every step")
        dropped = self.dropout(values)
        loss = self.loss_of(self._outputs(self._last(dropped), values, lengths_B, batch), batch)
        is_valid_BT1 = valid_mask(lengths_B, values.shape[1])[..., None]
        num_values = lengths_B.sum() * values.shape[-1]
        penalty = settings.activation * (dropped.square() * is_valid_BT1).sum() / num_values
        changes = (values[:, 1:] - values[:, :-1]).square() * is_valid_BT1[:, 1:]
        return loss + penalty + settings.temporal_activation * changes.sum() / num_values

    def _outputs(self, last: Tensor, values: Tensor, lengths_B: Tensor, batch: Batch, is_searched: bool = False) -> Outputs:
        """Return what the task reads: what the last layer gave, the best tags, and the intent beside them, where there are such."""
        steps = last if self.crf is None else self.crf.path(last, batch, is_searched)
        return steps if self.intent is None else TagsWithIntent(steps, self.intent(values, lengths_B))

    def loss_weight(self, batch: Batch) -> Tensor:
        """Return the task's, or the number of tokens that CTC's loss is a mean over."""
        return batch.target_lengths.sum().double() if self.is_ctc else super().loss_weight(batch)

    def _answer(self, batch: Batch, decoding: Decoding) -> Outputs:
        values, lengths_B = self._hidden(batch)
        outputs = self.read_out(values, lengths_B)
        if not self.is_ctc:
            return self._outputs(outputs, values, lengths_B, batch, is_searched=True)
        loss, num_counted = None, None
        if batch.target_lengths.any():
            found = ctc.ctc_loss(outputs, lengths_B, batch.targets, batch.target_lengths)
            loss, num_counted = found.aligned_loss, found.num_aligned
        if decoding.beam_size == 1:
            return Decoded([[hypothesis] for hypothesis in ctc.greedy(outputs, lengths_B)], loss, num_counted)
        return Decoded(ctc.prefix_beam_search(outputs, lengths_B, decoding.beam_size, decoding.num_best), loss, num_counted)


class RecurrentModule(SequenceModule, ABC):
    """Base class of networks with a recurrent stack and a head.

    Args:
        cell: makes a cell from (input_size, hidden_size).
        recurrence: settings of the stack; the others are those of `SequenceModule`.
    """

    layer_name = "recurrence"
    recurrence: RecurrentStack
    cell_classes: ClassVar[tuple[type[Cell], ...]] = ()
    """Which cells it takes, its own first; none: any."""
    is_bidirectional: ClassVar[bool] = False

    def __init__(
        self,
        spec: DataSpec,
        cell: Callable[..., Cell],
        recurrence: Recurrence,
        frontend: Callable[..., Frontend],
        head: Head,
        regularisation: Regularisation,
        decoding: Decoding,
        loss: Loss = TASKS_OWN,
    ) -> None:
        make_layer = partial(RecurrentStack, cell=cell, recurrence=recurrence, is_bidirectional=self.is_bidirectional)
        super().__init__(spec, make_layer, frontend, head, regularisation, decoding, loss)
