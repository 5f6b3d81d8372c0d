"""Several runs trained as one: their steps are taken together, in one process, and their recurrences run at once.

    each member: its batch -> its front end -> (B, T, F)
    together:    the recurrent stacks (layers.packed)
    each member: its head, its loss -> one backward pass for all -> its clipping, its optimizer, its schedule

What is each member's own is computed as alone. The packed recurrence adds up in another order, and members that train together share the
overhead of a step. A member that is done, or fails, leaves; the others go on.
"""

import time
from collections.abc import Callable, Sequence

import torch
from rich.console import Console
from torch import Tensor

from rnnlab.contracts import Batch
from rnnlab.layers.packed import Draws, Entering, run_stacks
from rnnlab.layers.recurrent import RecurrentStack
from rnnlab.training import signals
from rnnlab.training.callbacks import NonFiniteError
from rnnlab.training.members import Member

console = Console(stderr=True, soft_wrap=True)
SAVE_EVERY_S = 5.0
"""How old a checkpoint may be at the end of an epoch: of small networks an epoch is faster than writing."""
Left = Callable[[Member, NonFiniteError | None], None]


def train_together(members: Sequence[Member], left: Left) -> None:
    """Train until every member is done; `left` is told of each that leaves, with why it failed, if it did.

    Raises:
        Interrupted: where it was asked to stop; all members that are left are saved.
    """
    training = [member for member in members if not member.is_done]
    for member in members:
        if member.is_done:
            left(member, None)
    while training:
        failed = take_step(training)
        for member in training:
            if member in failed or member.is_done:
                left(member, failed.get(member))
        training = [member for member in training if not (member in failed or member.is_done)]
        if name := signals.asked():
            for member in training:
                member.save()
            raise signals.Interrupted(name, signals.exit_code(name))
        _save_due(training)


def take_step(members: Sequence[Member]) -> dict[Member, NonFiniteError]:
    """Take one step of every member; return those that failed, and why."""
    begun = time.monotonic()
    batches = [next(member.batches) for member in members]
    for member in members:
        member.optimizer.zero_grad(set_to_none=True)
    losses = losses_of(members, batches)
    failed: dict[Member, NonFiniteError] = {}
    for member, loss in zip(members, losses, strict=True):
        if not torch.isfinite(loss):
            failed[member] = member.not_finite("the loss", loss)
    objectives = [_objective(member, loss) for member, loss in zip(members, losses, strict=True) if member not in failed]
    if objectives:
        torch.autograd.backward(objectives)
    for member in members:
        try:
            if member not in failed:
                member.apply_gradients()
        except NonFiniteError as error:
            failed[member] = error
    seconds = (time.monotonic() - begun) / len(members)
    for member, batch, loss in zip(members, batches, losses, strict=True):
        if member not in failed:
            member.after_step(loss.detach(), batch.size, seconds)
            _say_progress(member, members)
    return failed


def losses_of(members: Sequence[Member], batches: Sequence[Batch]) -> list[Tensor]:
    """Return each member's training loss, penalties on weights aside, with random numbers as it would draw them alone."""
    draws, entering = Draws(len(members)), []
    for place, (member, batch) in enumerate(zip(members, batches, strict=True)):
        draws.seed(place, member.seed)
        entering.append(Entering(*member.model.frontend(batch.inputs, batch.input_lengths)))
    stacks = [member.model.layer for member in members]
    leaving = run_stacks([stack for stack in stacks if isinstance(stack, RecurrentStack)], entering, draws)
    losses = []
    for place, (member, batch) in enumerate(zip(members, batches, strict=True)):
        draws.give(place)
        losses.append(member.model.plain_loss(leaving[place], entering[place].lengths_B, batch))
    return losses


def _objective(member: Member, loss: Tensor) -> Tensor:
    weight = member.model.task.regularisation.l1
    return loss + weight * member.model.l1_norm() if weight else loss


def _save_due(members: Sequence[Member]) -> None:
    """Save the members whose checkpoint is too old, at the end of an epoch or within a long one."""
    for member in members:
        age_s, limit_s = time.monotonic() - member.written_at, 60 * member.settings.callbacks.checkpoint.every_minutes
        if age_s > limit_s or (member.position == 0 and age_s > SAVE_EVERY_S):
            member.save()


def _say_progress(member: Member, members: Sequence[Member]) -> None:
    """Print one line for every tenth of the training, at the end of an epoch of the first member."""
    num_epochs = -(-member.total_steps // member.num_batches)
    if member is not members[0] or member.position or member.epoch % max(1, num_epochs // 10):
        return
    metric = member.model.task.metric
    values = [each.validated[name] for each in members if (name := f"val/{metric.name}") in each.validated]
    shown = f"  val/{metric.name} {metric.shown(min(values))} to {metric.shown(max(values))}" if values else ""
    speed = sum(each.num_examples for each in members) / sum(each.step_seconds for each in members)
    console.print(f"epoch {member.epoch}/{num_epochs}  {len(members)} together{shown}  {speed:,.0f} examples/s", highlight=False)
