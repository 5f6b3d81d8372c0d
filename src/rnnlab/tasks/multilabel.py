"""A set of labels per step: the keys that sound at each step of a piece of music.

Each label is a choice of its own between on and off, with probability p = sigmoid(output). The loss of a step is

    nll_t = - sum_d [ y_td ln p_td + (1 - y_td) ln (1 - p_td) ]

in nats, summed over labels (Boulanger-Lewandowski et al. 2012; Chung et al. 2014; Bai et al. 2018).
"""

import numpy as np
import pandas as pd
import torch
import torchmetrics
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection

from rnnlab.contracts import Batch, DataSpec, valid_mask
from rnnlab.tasks.base import TASKS_OWN, Columns, Loss, Regularisation, Task, object_array
from rnnlab.tasks.metrics import Metric
from rnnlab.tasks.table_metrics import of_sets


class MultiLabel(Task[Tensor]):
    """A set of labels at every step whose targets are known.

    nll               mean over steps, all sequences together: what Bai et al. (2018) report (their code divides by the number of steps)
    nll_per_sequence  mean over the steps of a sequence, then over sequences
    frame_accuracy    TP / (TP + FP + FN) over all steps, labels at p >= 0.5 (Bay et al. 2009, section 3.1); 1 where nothing is on

    Args:
        regularisation: l1 only: the others are for classes.
        loss: the cross entropy of each label, and no other.
    """

    name = "multilabel"
    metric: Metric = Metric.named("nll")
    is_per_step = True

    def __init__(self, spec: DataSpec, regularisation: Regularisation, loss: Loss = TASKS_OWN) -> None:
        super().__init__(spec, regularisation, loss)
        loss.kind_for(spec, "whose targets are sets of labels", ("cross_entropy",))
        if regularisation.label_smoothing or regularisation.class_weights != "none":
            raise ValueError(
                f"data={spec.name} has a set of labels at every step, for which model.regularisation.label_smoothing and class_weights "
                "mean nothing: leave them out"
            )

    def first_bias(self) -> Tensor | None:
        """Return the log-odds of each label's fraction of training steps (add-one), where they were counted.

        From zero, keys that never sound would take a bias of -9, which an optimizer that moves by its learning rate reaches late.
        """
        if not self.spec.num_label_steps:
            return None
        counts_C = torch.tensor(self.spec.class_counts, dtype=torch.float)
        return torch.log((counts_C + 1) / (self.spec.num_label_steps - counts_C + 1))

    def loss(self, outputs: Tensor, batch: Batch, is_training: bool = True) -> Tensor:
        """Mean over known steps of (B, T, C) log-odds against (B, T', C), T' <= T."""
        losses_BT, is_known_BT = step_losses(outputs, batch)
        return losses_BT.sum() / is_known_BT.sum()

    def num_answers(self, batch: Batch) -> int:
        """Count the known steps."""
        return int(batch.target_lengths.sum())

    def metrics(self) -> MetricCollection:
        """Both means of the negative log-likelihood, and the frame accuracy."""
        return MetricCollection({"sets": LabelSets()})

    def answers(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return (sum of nats, known steps) and (true positives, false positives, false negatives) of each sequence: (B, 2), (B, 3)."""
        losses_BT, is_known_BT = step_losses(outputs.double(), batch)
        sums_B2 = torch.stack([losses_BT.sum(1), is_known_BT.sum(1)], -1)
        return sums_B2, _outcomes(outputs, batch)

    def table_metrics(self, table: pd.DataFrame) -> dict[str, float]:
        return of_sets(table)

    def columns(self, outputs: Tensor, batch: Batch) -> Columns:
        """Return the labels that are given for each step, as names with blanks between; where targets are known, how right they are.

        nll is the mean over a sequence's known steps, NaN where none is known; a sequence has as many predictions as inputs, of which
        those behind the last known target say what comes next.
        """
        sums_B2, outcomes_B3 = (part.cpu().numpy() for part in self.answers(outputs, batch))
        found: Columns = {
            "prediction": self._named(outputs >= 0, batch.input_lengths),
            "nll": np.divide(sums_B2[:, 0], sums_B2[:, 1], out=np.full(len(sums_B2), np.nan), where=sums_B2[:, 1] > 0),
        }
        names = ("true_positives", "false_positives", "false_negatives")
        return found | {name: outcomes_B3[:, place].astype(np.int64) for place, name in enumerate(names)}

    def target_columns(self, batch: Batch) -> Columns:
        """Return the labels of each known step, as names with blanks between, and how many steps are known."""
        num_known_B = batch.target_lengths.cpu().numpy().astype(np.int64)
        return {"target": self._named(batch.targets > 0, batch.target_lengths), "num_targets": num_known_B}

    def _named(self, is_on_BTC: Tensor, lengths_B: Tensor) -> np.ndarray:
        names = np.array(self.spec.label_names, dtype=object)
        rows = zip(is_on_BTC.cpu().numpy(), lengths_B.tolist(), strict=True)
        return object_array([[" ".join(names[is_on_C]) for is_on_C in is_on_TC[:length]] for is_on_TC, length in rows])


class LabelSets(torchmetrics.Metric):
    """Sum what the metrics of `MultiLabel` are ratios of."""

    full_state_update = False
    nats: Tensor
    num_steps: Tensor
    means: Tensor
    num_sequences: Tensor
    outcomes_3: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("nats", "num_steps", "means", "num_sequences"):
            self.add_state(name, torch.zeros((), dtype=torch.double), dist_reduce_fx="sum")
        self.add_state("outcomes_3", torch.zeros(3, dtype=torch.double), dist_reduce_fx="sum")

    def update(self, sums_B2: Tensor, outcomes_B3: Tensor) -> None:
        """Add a batch of what `MultiLabel.answers` returns."""
        known_N2 = sums_B2[sums_B2[:, 1] > 0].double()
        self.nats += known_N2[:, 0].sum()
        self.num_steps += known_N2[:, 1].sum()
        self.means += (known_N2[:, 0] / known_N2[:, 1]).sum()
        self.num_sequences += len(known_N2)
        self.outcomes_3 += outcomes_B3.double().sum(0)

    def compute(self) -> dict[str, Tensor]:
        """Return the metrics; not a number before anything is known."""
        right, total = self.outcomes_3[0], self.outcomes_3.sum()
        return {
            "nll": self.nats / self.num_steps,
            "nll_per_sequence": self.means / self.num_sequences,
            "frame_accuracy": torch.where(total > 0, right / total, torch.ones_like(total)),
        }


def step_losses(outputs_BTC: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the negative log-likelihood of each step, (B, T') in nats, 0 where the target is not known, and where it is, (B, T')."""
    targets_BTC = batch.targets.to(outputs_BTC.dtype)
    num_steps = targets_BTC.shape[1]
    is_known_BT = valid_mask(batch.target_lengths, num_steps)
    losses_BTC = F.binary_cross_entropy_with_logits(outputs_BTC[:, :num_steps], targets_BTC, reduction="none")
    return losses_BTC.sum(-1).masked_fill(~is_known_BT, 0), is_known_BT


def _outcomes(outputs_BTC: Tensor, batch: Batch) -> Tensor:
    """Count true positives, false positives and false negatives of each sequence, (B, 3)."""
    is_target_BTC = batch.targets > 0
    num_steps = is_target_BTC.shape[1]
    is_known_BT1 = valid_mask(batch.target_lengths, num_steps)[..., None]
    is_given_BTC = outputs_BTC[:, :num_steps] >= 0
    marks = (is_given_BTC & is_target_BTC, is_given_BTC & ~is_target_BTC, ~is_given_BTC & is_target_BTC)
    return torch.stack([(mark_BTC & is_known_BT1).sum((1, 2)) for mark_BTC in marks], -1)
