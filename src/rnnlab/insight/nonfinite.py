"""Where a training's numbers stop being numbers: the same batch once more, looking at each quantity as it is computed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rnnlab.contracts import Batch, valid_mask
from rnnlab.insight.replay import cells_of, replay
from rnnlab.models.base import Network

CAUSES = {
    "weights": "something wrote them before this step: init_from, or vectors",
    "data": "prepare the data again, or mend or leave out that example; no setting of the training helps",
    "training": "",
}


@dataclass(frozen=True)
class Found:
    """The first quantity that was not finite.

    Args:
        what: in words, with its place.
        kind: `weights`, `data` or `training`: where the cause is to be looked for.
    """

    what: str
    kind: str

    @property
    def cause(self) -> str:
        """What to do if no setting is the cause; else empty."""
        return CAUSES[self.kind]


def first_in_forward(model: Network, batch: Batch) -> Found | None:
    """Compute a batch's loss once more with the same random numbers; say what was not finite first, None where all was."""
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            return Found(f"the weights {name}, already before this step", "weights")
    if odd := _first_in_batch(batch):
        return Found(odd, "data")
    found: list[str] = []
    torch.manual_seed(torch.initial_seed())  # the callback that seeds each step did so before this one
    with torch.no_grad(), _watching(model, batch, found):
        loss = model.training_loss(batch)
    if found:
        return Found(found[0], "training")
    return None if loss.isfinite().all() else Found("the loss itself; what enters it is finite", "training")


def _first_in_batch(batch: Batch) -> str | None:
    """Look at what the data gave, padding aside."""
    if batch.inputs.is_floating_point() and (place := _first(batch.inputs, batch.input_lengths)):
        row, step = place
        features = (~batch.inputs[row, step].isfinite()).nonzero()[:, 0].tolist()
        return f"the input at step {step + 1} of {_example(batch, row)}, feature {features[0] + 1} of {batch.inputs.shape[-1]}"
    if batch.targets.is_floating_point() and (place := _first(batch.targets[:, None], torch.ones_like(batch.input_lengths))):
        return f"the target of {_example(batch, place[0])}"
    return None


@contextmanager
def _watching(model: Network, batch: Batch, found: list[str]) -> Iterator[None]:
    """Note of each part, as it is computed, where it is not finite."""
    lengths = [batch.input_lengths]

    def look(name: str, module: nn.Module, values: Tensor | tuple[Tensor, Tensor]) -> None:
        if isinstance(values, tuple):
            values, lengths[0] = values
        if found or not isinstance(values, Tensor) or not values.is_floating_point() or len(values) != batch.size:
            return
        has_steps = values.ndim == 3 and values.shape[1] >= int(lengths[0].max())
        place = _first(values if has_steps else values[:, None], lengths[0] if has_steps else torch.ones_like(lengths[0]))
        if place is not None:
            where = f" at step {place[1] + 1} of" if has_steps else " of"
            found.append(f"{name}{where} {_example(batch, place[0])}{_counted(name)}")

    parts = {name: part for name, part in model.named_children() if name != "metrics"}
    watched = {f"the output of {name}": part for name, part in parts.items()}
    watched |= {f"the hidden state of {name}": cell for name, cell in cells_of(model).items()}
    handles = [
        part.register_forward_hook(lambda module, given, values, name=name: look(name, module, values)) for name, part in watched.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _counted(name: str) -> str:
    return " (counted from its end)" if name.endswith("_backward") else ""


def _first(values_BTX: Tensor, lengths_B: Tensor) -> tuple[int, int] | None:
    """Return sequence and step of the earliest valid step that is not finite."""
    is_odd_BT = (~values_BTX.isfinite()).flatten(2).any(2) & valid_mask(lengths_B, values_BTX.shape[1])
    if not is_odd_BT.any():
        return None
    step = int(is_odd_BT.any(0).nonzero()[0])
    return int(is_odd_BT[:, step].nonzero()[0]), step


def _example(batch: Batch, row: int) -> str:
    return f"example {int(batch.example_ids[row])} (sequence {row + 1} of the batch)"


def first_in_backward(model: Network, batch: Batch) -> Found | None:
    """Say which parameter's gradient was not finite first, the nearest to the loss, and from where on those of hidden states are not."""
    odd = [name for name, parameter in model.named_parameters() if parameter.grad is not None and not parameter.grad.isfinite().all()]
    if not odd:
        return None
    return Found(f"the gradient of {odd[-1]}{_in_time(model, batch)}", "training")


def _in_time(model: Network, batch: Batch) -> str:
    """Say how far back from its last step a layer's gradients are finite, of the layer nearest to the loss where they are not."""
    replayed = replay(model, batch)
    for trace in reversed(replayed.traces):
        hidden = [state[0] for state in trace.states]
        gradients_BTH = torch.stack(torch.autograd.grad(replayed.loss, hidden, retain_graph=True, materialize_grads=True), 1)
        is_odd_BT = (~gradients_BTH.isfinite()).any(-1) & trace.is_valid
        if is_odd_BT.any():
            back_BT = trace.lengths_B[:, None] - 1 - torch.arange(is_odd_BT.shape[1], device=is_odd_BT.device)
            back = int(back_BT[is_odd_BT].min())
            return f"; that of the hidden state of {trace.name} is no longer finite {back} steps back from the end"
    return ""
