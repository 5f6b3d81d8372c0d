"""Tasks: the size of a network's output, its loss, its metrics and how its output is read.

A task follows from what the data's targets are (`DataSpec.target_kind`); a model family says which of them it can answer.

    class           classify   one label per sequence        cross entropy
    class_per_step  label      one label per step            cross entropy over valid steps
                    tag        one tag per word              the same, where `DataSpec.scheme` says what tags are
                    tag_and_intent  and a class per sentence both, weighted, where `DataSpec.intents` names such classes
                    next_token the token that follows        the same, of language models (`DataSpec.goal` is `continue`)
                    next_event the event that follows        the same, of logs (`DataSpec.ranks`)
    labels_per_step multilabel a set of labels per step      cross entropy of each label, summed over labels, mean over known steps
    real            forecast   D real numbers per sequence   mean squared error; QLIKE where they are positive (variances);
                                                             pinball loss where the head gives quantiles
    tokens          transduce  a sequence of tokens          what the model's way of training gives: cross entropy or CTC, per token

These are the tasks' own; `model.loss.kind` asks for another.
"""

from typing import Any

from rnnlab.contracts import DataSpec
from rnnlab.tasks.base import TASKS_OWN as TASKS_OWN
from rnnlab.tasks.base import Loss as Loss
from rnnlab.tasks.base import Regularisation as Regularisation
from rnnlab.tasks.base import Task as Task
from rnnlab.tasks.classify import Classify as Classify
from rnnlab.tasks.classify import Label as Label
from rnnlab.tasks.classify import class_weights as class_weights
from rnnlab.tasks.events import NextEvent as NextEvent
from rnnlab.tasks.forecast import Forecast as Forecast
from rnnlab.tasks.forecast import check_quantiles
from rnnlab.tasks.intent import TagAndIntent as TagAndIntent
from rnnlab.tasks.language import NextToken as NextToken
from rnnlab.tasks.metrics import Metric as Metric
from rnnlab.tasks.multilabel import MultiLabel as MultiLabel
from rnnlab.tasks.tag import Tag as Tag
from rnnlab.tasks.transduce import Transduce as Transduce


def make_task(spec: DataSpec, regularisation: Regularisation, quantiles: tuple[float, ...] = (), loss: Loss = TASKS_OWN) -> Task[Any]:
    """Choose the task that a data set's targets ask for.

    Raises:
        ValueError: if quantiles are asked for of targets that are not numbers, are not valid, or the loss does not fit the targets.
    """
    if spec.target_kind == "real":
        check_quantiles(quantiles)
        return Forecast(spec, regularisation, quantiles, loss)
    if quantiles:
        what = {"tokens": "tokens", "labels_per_step": "sets of labels"}.get(spec.target_kind, "classes")
        raise ValueError(f"data={spec.name} has {what}, of which there are no quantiles: choose model/head=default")
    tasks: dict[str, type[Task[Any]]] = {
        "class": Classify,
        "class_per_step": Label,
        "labels_per_step": MultiLabel,
        "tokens": Transduce,
    }
    if spec.intents:
        return TagAndIntent(spec, regularisation, loss)
    if spec.goal == "continue":
        return NextToken(spec, regularisation, loss)
    task = Tag if spec.scheme else NextEvent if spec.ranks else tasks[spec.target_kind]
    return task(spec, regularisation, loss)
