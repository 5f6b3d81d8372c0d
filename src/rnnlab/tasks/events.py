"""Which event comes next?

With r the place of the right event when all events are ordered by probability (equal ones by how frequent they are in training), over all
steps of all cases,

    accuracy       fraction of steps with r = 1: the hit rate at 1
    hit_rate_k     fraction of steps with r <= k
    mrr            mean of 1 / r
    ndcg_k         mean of 1 / log2(1 + r) where r <= k, else 0: the normalised discounted cumulative gain where one event is right
    unknown        fraction of steps whose event training lacks: these are missed in all of the above

Padding and unknown events are never predicted.
"""

import numpy as np
import pandas as pd
import torch
import torchmetrics
from torch import Tensor
from torchmetrics import MetricCollection

from rnnlab.contracts import IGNORED_TARGET, PAD, UNKNOWN, Batch
from rnnlab.tasks.base import Columns, object_array
from rnnlab.tasks.classify import Label
from rnnlab.tasks.table_metrics import gains, of_events, reciprocal

NUM_NEXT = 5


class NextEvent(Label):
    """The event that follows each step of a case; see the top of this file."""

    name = "next_event"

    def metrics(self) -> MetricCollection:
        """Accuracy, hit rates, reciprocal rank, discounted gains, and the fraction of unknown events."""
        return MetricCollection({"events": RankSums(self.spec.ranks)})

    def flatten(self, computed: dict[str, Tensor]) -> dict[str, float]:
        return {name: float(value) for name, value in computed.items()}

    def update(self, metrics: MetricCollection, outputs: Tensor, batch: Batch) -> None:
        metrics.update(self.ranks(outputs, batch)[batch.targets.to(outputs.device) != IGNORED_TARGET])

    def answers(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the most probable event of each step, and the target."""
        return predictable(outputs).argmax(-1).flatten(), batch.targets.flatten()

    def ranks(self, outputs_BTV: Tensor, batch: Batch) -> Tensor:
        """Return the place of each target, (B, T) int64 from 1; 0 of unknown events and where there is no target."""
        scores_BTV, targets_BT = predictable(outputs_BTV), batch.targets.to(outputs_BTV.device)
        places_BT1 = targets_BT.clamp(min=0)[..., None]
        right_BT1 = scores_BTV.gather(-1, places_BT1)
        is_before_V = torch.arange(scores_BTV.shape[-1], device=scores_BTV.device)
        is_above_BTV = (scores_BTV > right_BT1) | ((scores_BTV == right_BT1) & (is_before_V < places_BT1))
        return (1 + is_above_BTV.sum(-1)) * (targets_BT > UNKNOWN)

    def table_metrics(self, table: pd.DataFrame) -> dict[str, float]:
        return of_events(table, self.spec.ranks)

    def columns(self, outputs: Tensor, batch: Batch) -> Columns:
        """Return, where targets are known, the most probable event at each step, the rank of the right one and the mean -ln p; else the
        most probable events after the last step.
        """
        lengths = batch.input_lengths.tolist()
        if not (batch.targets != IGNORED_TARGET).any():
            return self._next(outputs, lengths)
        found = super().columns(predictable(outputs), batch)
        ranks_BT = self.ranks(outputs, batch).cpu().numpy()
        # Of the loss unknown events are a class like others.
        losses = super().columns(outputs, batch)["cross_entropy"]
        return found | {"cross_entropy": losses, "rank": object_array([row[:num] for row, num in zip(ranks_BT, lengths, strict=True)])}

    def _next(self, outputs_BTV: Tensor, lengths: list[int]) -> Columns:
        last_BV = outputs_BTV[torch.arange(len(outputs_BTV)), torch.as_tensor(lengths) - 1].float()
        chances_BV = last_BV.softmax(-1)
        num = min(NUM_NEXT, last_BV.shape[-1] - UNKNOWN - 1)
        order_BN = predictable(last_BV).argsort(dim=-1, descending=True, stable=True)[:, :num]
        names = np.array(self.spec.label_names, dtype=object)
        return {
            "next": object_array([names[row].tolist() for row in order_BN.cpu().numpy()]),
            "next_probability": object_array(chances_BV.gather(-1, order_BN).cpu().numpy().tolist()),
        }


def predictable(outputs: Tensor) -> Tensor:
    """Return outputs in which padding and unknown events come last, (..., V)."""
    found = outputs.clone()
    found[..., : max(PAD, UNKNOWN) + 1] = -torch.inf
    return found


class RankSums(torchmetrics.Metric):
    """Sum what the metrics of `NextEvent` are means of."""

    full_state_update = False
    sums_K: Tensor

    def __init__(self, ranks: tuple[int, ...]) -> None:
        super().__init__()
        self.ranks = ranks
        self.names = ("unknown", "accuracy", "mrr", *(f"hit_rate_{most}" for most in ranks), *(f"ndcg_{most}" for most in ranks))
        self.add_state("sums_K", torch.zeros(1 + len(self.names), dtype=torch.double), dist_reduce_fx="sum")

    def update(self, rank_M: Tensor) -> None:
        """Add the ranks of a batch's right events."""
        ranks = rank_M.cpu().numpy()
        hits, discounted = zip(*(gains(ranks, most) for most in self.ranks), strict=True)
        parts = [np.ones(len(ranks)), ranks == 0, ranks == 1, reciprocal(ranks), *hits, *discounted]
        self.sums_K += torch.tensor([float(np.sum(part)) for part in parts], dtype=torch.double).to(self.sums_K)

    def compute(self) -> dict[str, Tensor]:
        """Return the metrics; not a number before anything is known."""
        return dict(zip(self.names, self.sums_K[1:] / self.sums_K[0], strict=True))
