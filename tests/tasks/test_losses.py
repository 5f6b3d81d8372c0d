"""`model.loss`: each kind against its formula written out in plain numbers, and what is refused."""

from math import exp, log

import pytest
import torch
from torch import Tensor

from rnnlab.contracts import SPECIALS, Batch, DataSpec, Reference
from rnnlab.tasks import Loss, Regularisation, Task, make_task
from rnnlab.tasks.base import LossKind

NONE = Regularisation(0.0, "none", 0.0)
CLASSES = DataSpec("toy", "features", 4, "class", 3, ("a", "b", "c"), (6, 3, 1))
PER_STEP = DataSpec("toy", "tokens", 7, "class_per_step", 3, ("a", "b", "c"), (6, 3, 1))
REAL = DataSpec("toy", "features", 4, "real", 2, ("open", "close"))
POSITIVE = DataSpec("toy", "features", 4, "real", 2, ("x", "y"), link="exp")
SPOKEN = DataSpec("toy", "features", 4, "tokens", 5, (*SPECIALS, "k"), goal="transcribe", is_monotonic=True)
LOGITS = [[2.0, 0.5, -1.0], [0.0, 1.0, 3.0]]
ANSWERS = [0, 1]


def batch_of(targets: Tensor, reference: Reference | None = None) -> Batch:
    lengths_B = torch.ones(len(targets), dtype=torch.int64)
    return Batch(torch.zeros(len(targets), 1, 4), lengths_B, targets, lengths_B, torch.arange(len(targets)), reference)


def loss_of(task: Task, outputs: list, batch: Batch, is_training: bool = True) -> float:
    return float(task.loss(torch.tensor(outputs), batch, is_training))


def softmax(row: list[float]) -> list[float]:
    total = sum(exp(value) for value in row)
    return [exp(value) / total for value in row]


def focal_by_hand(row: list[float], answer: int, gamma: float) -> float:
    p = softmax(row)[answer]
    return -((1 - p) ** gamma) * log(p)


def brier_by_hand(row: list[float], answer: int) -> float:
    return sum((p - (label == answer)) ** 2 for label, p in enumerate(softmax(row)))


BY_HAND = {
    ("focal", 0.5): [focal_by_hand(row, answer, 0.5) for row, answer in zip(LOGITS, ANSWERS, strict=True)],
    ("focal", 2.0): [focal_by_hand(row, answer, 2.0) for row, answer in zip(LOGITS, ANSWERS, strict=True)],
    ("brier", 0.0): [brier_by_hand(row, answer) for row, answer in zip(LOGITS, ANSWERS, strict=True)],
}


@pytest.mark.parametrize(("kind", "gamma"), BY_HAND)
def test_a_loss_of_classes_is_the_mean_of_its_formula(kind: LossKind, gamma: float) -> None:
    task = make_task(CLASSES, NONE, loss=Loss(kind, gamma, 1.0))
    first, second = BY_HAND[kind, gamma]
    batch = batch_of(torch.tensor(ANSWERS))
    assert loss_of(task, LOGITS, batch) == pytest.approx((first + second) / 2)
    assert loss_of(task, LOGITS, batch, is_training=False) == pytest.approx((first + second) / 2)


@pytest.mark.parametrize(("kind", "gamma"), BY_HAND)
def test_class_weights_weigh_it_while_training_alone(kind: LossKind, gamma: float) -> None:
    task = make_task(CLASSES, Regularisation(0.0, [3.0, 0.5, 1.0], 0.0), loss=Loss(kind, gamma, 1.0))
    first, second = BY_HAND[kind, gamma]
    batch = batch_of(torch.tensor(ANSWERS))
    assert loss_of(task, LOGITS, batch) == pytest.approx((3 * first + 0.5 * second) / 3.5)
    assert loss_of(task, LOGITS, batch, is_training=False) == pytest.approx((first + second) / 2)
    assert task.loss_weight(batch).item() == pytest.approx(3.5)  # what a share of a batch counts


@pytest.mark.parametrize(("kind", "gamma"), BY_HAND)
def test_of_targets_at_every_step_only_valid_steps_count(kind: LossKind, gamma: float) -> None:
    task = make_task(PER_STEP, NONE, loss=Loss(kind, gamma, 1.0))
    outputs = [[LOGITS[0], LOGITS[1]], [LOGITS[1], [9.0, 9.0, 9.0]]]
    first, second = BY_HAND[kind, gamma]
    assert loss_of(task, outputs, batch_of(torch.tensor([[0, 1], [1, -1]]))) == pytest.approx((first + 2 * second) / 3)


def test_focal_loss_with_nothing_to_focus_is_cross_entropy() -> None:
    torch.manual_seed(0)
    outputs, batch = torch.randn(20, 3), batch_of(torch.randint(3, (20,)))
    plain = make_task(CLASSES, NONE).loss(outputs, batch)
    torch.testing.assert_close(make_task(CLASSES, NONE, loss=Loss("focal", 0.0, 1.0)).loss(outputs, batch), plain)


def test_focal_loss_of_two_classes_is_the_papers_own_with_a_sigmoid() -> None:
    """Lin et al. (2017), eq. 4: p is the sigmoid of the difference of the two outputs."""
    spec = DataSpec("toy", "features", 4, "class", 2, ("no", "yes"), (1, 1))
    difference, gamma = 1.3, 2.0
    p = 1 / (1 + exp(-difference))
    found = loss_of(make_task(spec, NONE, loss=Loss("focal", gamma, 1.0)), [[0.4, 0.4 + difference]], batch_of(torch.tensor([1])))
    assert found == pytest.approx(-((1 - p) ** gamma) * log(p))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_an_answer_that_is_wholly_sure_has_a_gradient_that_is_a_number(gamma: float) -> None:
    outputs = torch.tensor([[200.0, 0.0, 0.0], [-200.0, 0.0, 0.0]], requires_grad=True)
    make_task(CLASSES, NONE, loss=Loss("focal", gamma, 1.0)).loss(outputs, batch_of(torch.tensor([0, 0]))).backward()
    assert outputs.grad is not None and outputs.grad.isfinite().all()
    assert outputs.grad[1].abs().sum() > 0.5


def test_the_gradient_of_squared_error_on_a_softmax_is_not_that_of_cross_entropy() -> None:
    outputs = torch.tensor(LOGITS[:1], dtype=torch.float64, requires_grad=True)
    make_task(CLASSES, NONE, loss=Loss("brier", 0.0, 1.0)).loss(outputs, batch_of(torch.tensor([1]))).backward()
    p = softmax(LOGITS[0])
    error = [p[0], p[1] - 1, p[2]]
    inner = sum(a * b for a, b in zip(p, error, strict=True))
    by_hand = [2 * p[c] * (error[c] - inner) for c in range(3)]  # 2 (diag(p) - p p') (p - y)
    assert outputs.grad is not None
    assert outputs.grad[0].tolist() == pytest.approx(by_hand)
    assert by_hand != pytest.approx(error, rel=0.5)


REFERENCE = Reference(torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 4.0]]), torch.tensor([[1.0, 2.0]]))
FORECASTS = [[0.25, -1.0]]  # of targets that are (4 - 1) / 2 = 1.5 and (0 - 2) / 4 = -0.5: errors 1.25 and 0.5


@pytest.mark.parametrize(
    ("kind", "delta", "expected"),
    [
        ("mse", 1.0, (1.25**2 + 0.5**2) / 2),
        ("mae", 1.0, (1.25 + 0.5) / 2),
        ("huber", 1.0, (1.0 * (1.25 - 0.5) + 0.5**2 / 2) / 2),
        ("huber", 0.2, (0.2 * (1.25 - 0.1) + 0.2 * (0.5 - 0.1)) / 2),
        ("huber", 10.0, (1.25**2 / 2 + 0.5**2 / 2) / 2),
    ],
)
def test_a_loss_of_numbers_is_the_mean_of_its_formula_over_standardised_errors(kind: LossKind, delta: float, expected: float) -> None:
    task = make_task(REAL, NONE, loss=Loss(kind, 2.0, delta))
    assert loss_of(task, FORECASTS, batch_of(torch.tensor([[4.0, 0.0]]), REFERENCE)) == pytest.approx(expected)
    logs = make_task(POSITIVE, NONE, loss=Loss(kind, 2.0, delta))  # of positive targets their logarithms
    assert loss_of(logs, FORECASTS, batch_of(torch.tensor([[exp(4.0), 1.0]]), REFERENCE)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("spec", "own"),
    [(CLASSES, "cross_entropy"), (PER_STEP, "cross_entropy"), (REAL, "mse"), (POSITIVE, "qlike")],
    ids=lambda value: str(value)[:9],
)
def test_the_tasks_own_loss_may_be_named(spec: DataSpec, own: LossKind) -> None:
    torch.manual_seed(0)
    outputs = torch.randn(2, 4, 3) if spec is PER_STEP else torch.randn(2, spec.target_size)
    targets = {"class": torch.tensor([2, 0]), "class_per_step": torch.randint(3, (2, 4)), "real": torch.rand(2, 2) + 0.5}[spec.target_kind]
    found = [make_task(spec, NONE, loss=Loss(kind, 2.0, 1.0)).loss(outputs, batch_of(targets)) for kind in (None, own)]
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        (
            CLASSES,
            "mse",
            r"^model.loss.kind=mse is not for data=toy, whose targets are classes. Allowed: cross_entropy, focal, brier, or null$",
        ),
        (PER_STEP, "qlike", r"^model.loss.kind=qlike is not for data=toy, whose targets are classes. Allowed: cross_entropy, focal, brier"),
        (REAL, "focal", r"^model.loss.kind=focal is not for data=toy, whose targets are real numbers. Allowed: mse, mae, huber, or null$"),
        (REAL, "qlike", r"^model.loss.kind=qlike is not for data=toy, whose targets are real numbers. Allowed: mse, mae, huber, or null$"),
        (
            POSITIVE,
            "brier",
            r"^model.loss.kind=brier is not for data=toy, whose targets are positive numbers. Allowed: qlike, mse, mae, huber",
        ),
        (
            SPOKEN,
            "cross_entropy",
            r"^model.loss.kind=cross_entropy is not for data=toy, whose targets are sequences of tokens: the model says",
        ),
    ],
)
def test_a_loss_for_other_targets_is_refused_with_those_that_fit(spec: DataSpec, kind: LossKind, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(spec, NONE, loss=Loss(kind, 2.0, 1.0))


def test_what_cannot_go_together_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^model.regularisation.label_smoothing=0.1 is for model.loss.kind=cross_entropy, not focal: set it"
    ):
        make_task(CLASSES, Regularisation(0.1, "none", 0.0), loss=Loss("focal", 2.0, 1.0))
    with pytest.raises(
        ValueError, match=r"^model.loss.kind=mae is for point forecasts, but model.head.quantiles take the pinball loss: leave"
    ):
        make_task(REAL, NONE, (0.1, 0.5, 0.9), Loss("mae", 2.0, 1.0))
