"""A small network learns the answers of a larger one, beside the labels (`distil_from`).

Of classes, with z the log-odds of the student, v those of the teacher, and T the temperature (Hinton et al. 2015, section 2):

    L = (1 - w) T^2 KL(softmax(v / T) || softmax(z / T)) + w L_labels

mean over sequences, or over the steps whose targets are known; T^2 keeps the size of gradients. Of sets of labels each label is such a
choice of two; their divergences are summed, as their losses are. Of real targets the teacher's forecast takes the place of the target, with
its squared error; T means nothing there. L_labels is the loss that a network without a teacher minimises, label smoothing and all.

The teacher answers the very batches that the student learns from, augmented as they are (Beyer et al. 2022 found that to matter), without
dropout. Its weights are no part of the student.
"""

import json
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from rnnlab.config import ConfigError, Distillation
from rnnlab.contracts import IGNORED_TARGET, Batch, valid_mask
from rnnlab.data.base import SequenceDataModule
from rnnlab.data.inputs import as_json
from rnnlab.evaluation.bundle import Bundle
from rnnlab.models.base import Network, Predictor, SequenceModule
from rnnlab.models.baseline import Baseline

FITTING = ("class", "class_per_step", "labels_per_step", "real")
"""Kinds of targets of which answers are compared number by number."""
CUTS = {"max_tokens", "truncate"}
"""What of a reader only says where inputs end: a teacher answers those that the student reads."""


@dataclass(frozen=True)
class Teacher:
    """A finished run, whose answers another learns.

    Args:
        run_id: of that run.
        bundle: its model, and the reader of its inputs.
        tags: what the run says of its data.
    """

    run_id: str
    bundle: Bundle
    tags: dict[str, str]

    def lesson(self, model: Predictor, data: SequenceDataModule, settings: Distillation) -> "Lesson":
        """Return what this run has to teach a network.

        Raises:
            ConfigError: where it answers other questions, has learned from other data, or gives no probabilities.
        """
        name, teacher = f"distil_from={self.run_id}", self.bundle.model
        if not isinstance(model, Network):
            raise ConfigError(f"{name} is for networks, and model=baseline is fitted once: leave it out")
        self._refuse_unlike(name, model)
        self._refuse_other_data(name, data)
        self._refuse_unteachable(name, teacher, model)
        return Lesson(teacher.eval().requires_grad_(False), settings)

    def _refuse_unlike(self, name: str, model: Predictor) -> None:
        """Refuse a teacher whose answers mean something else."""
        theirs, ours = self.bundle.model.spec, model.spec
        if theirs.target_kind != ours.target_kind:
            raise ConfigError(
                f"{name} answers with {theirs.target_kind}, and here the targets are {ours.target_kind}: name a run on these data"
            )
        if theirs.label_names != ours.label_names:
            shown = [", ".join(names[:5]) + (", ..." if len(names) > 5 else "") for names in (theirs.label_names, ours.label_names)]
            raise ConfigError(
                f"{name} answers with {len(theirs.label_names)} labels ({shown[0]}), and here are {len(ours.label_names)} ({shown[1]}): "
                "name a run whose labels are the same, in the same order"
            )

    def _refuse_other_data(self, name: str, data: SequenceDataModule) -> None:
        """Refuse a teacher that has seen test examples, or reads other inputs than the student."""
        for key, what in (("source_hash", "content"), ("prepared_key", "preparation (data.prepare)"), ("test_hash", "split")):
            if self.tags.get(key) != data.hashes[key]:
                raise ConfigError(
                    f"{name} was trained on data of another {what} ({key} {self.tags.get(key)}, and here {data.hashes[key]}): its answers "
                    "would tell of other examples, perhaps of those of the test; name a run on the same data and split"
                )
        theirs, ours = (json.loads(json.dumps(as_json(reader))) for reader in (self.bundle.reader, data.reader()))
        if odd := sorted(key for key in (theirs | ours).keys() - CUTS if theirs.get(key) != ours.get(key)):
            raise ConfigError(f"{name} reads inputs in another way ({', '.join(odd)}): take its settings of data.prepare and data.loader")

    def _refuse_unteachable(self, name: str, teacher: Predictor, model: Network) -> None:
        """Refuse what has no probabilities or forecasts to compare with."""
        spec = model.spec
        if isinstance(teacher, Baseline) and not teacher.method.has_probabilities and spec.target_kind != "real":
            raise ConfigError(
                f"{name} is baseline.kind={teacher.kind}, which gives no probabilities to learn from: name a network, or tfidf"
            )
        if spec.is_stream:
            raise ConfigError(
                f"{name}: a network that reads data={spec.name} carries its state from batch to batch, which is not kept of a teacher: "
                "distil on data whose examples are read alone"
            )
        has_path = any(isinstance(each, SequenceModule) and each.crf is not None for each in (teacher, model))
        if spec.target_kind not in FITTING or spec.intents or has_path:
            why = "their best path" if has_path else "tags and intents" if spec.intents else "sequences of tokens"
            raise ConfigError(
                f"{name}: networks that answer with {why} are not distilled; what can be: classes, sets of labels and numbers"
            )
        if teacher.task.output_size != model.task.output_size:
            raise ConfigError(
                f"{name} gives {teacher.task.output_size} numbers, and here are {model.task.output_size}: set model.head.quantiles alike"
            )


@dataclass
class Lesson:
    """The loss of a student with a teacher; see the top.

    Args:
        teacher: without dropout and gradients.
        settings: temperature and weight of the labels' own loss.
    """

    teacher: Predictor
    settings: Distillation

    def __deepcopy__(self, memo: object) -> "Lesson":
        """Return this lesson itself: copies of a student, of which averages are kept, have the same teacher."""
        return self

    def __call__(self, loss: Tensor, outputs: Tensor, batch: Batch) -> Tensor:
        """Return what is minimised, given the labels' loss and the student's outputs for a batch."""
        if self.teacher.device != outputs.device:
            self.teacher.to(outputs.device)
        with torch.no_grad(), torch.autocast(outputs.device.type, enabled=False):
            wanted = cast(Tensor, self.teacher.predict(batch)).to(outputs.dtype)
        hard = self.settings.hard_weight
        return hard * loss + (1 - hard) * self._distance(wanted, outputs, batch)

    def _distance(self, wanted: Tensor, outputs: Tensor, batch: Batch) -> Tensor:
        """Return how far the student's answers are from the teacher's, a mean over answers."""
        kind, temperature = self.teacher.spec.target_kind, self.settings.temperature
        if kind == "real":
            return F.mse_loss(outputs, wanted)
        if kind == "labels_per_step":
            num_steps = batch.targets.shape[1]
            is_known = valid_mask(batch.target_lengths, num_steps)
            wanted, outputs = wanted[:, :num_steps][is_known], outputs[:, :num_steps][is_known]
            return temperature**2 * of_label_sets(wanted / temperature, outputs / temperature)
        is_known = batch.targets != IGNORED_TARGET
        return temperature**2 * of_classes(wanted[is_known] / temperature, outputs[is_known] / temperature)


def of_classes(wanted_NC: Tensor, outputs_NC: Tensor) -> Tensor:
    """Return the mean of KL(softmax(wanted) || softmax(outputs)) over N answers, in nats."""
    return F.kl_div(outputs_NC.log_softmax(-1), wanted_NC.log_softmax(-1), reduction="batchmean", log_target=True)


def of_label_sets(wanted_NC: Tensor, outputs_NC: Tensor) -> Tensor:
    """Return the mean over N steps of the sum over labels of KL(sigmoid(wanted) || sigmoid(outputs)), in nats."""
    p_NC = wanted_NC.sigmoid()
    cross = F.binary_cross_entropy_with_logits(outputs_NC, p_NC, reduction="none")
    own = F.binary_cross_entropy_with_logits(wanted_NC, p_NC, reduction="none")
    return (cross - own).sum(-1).mean()
