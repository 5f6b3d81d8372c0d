"""One label a sequence or a step: losses and metrics against numbers worked out by hand."""

from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnlab.contracts import Batch, DataSpec
from rnnlab.tasks import Classify, Label, Regularisation, Task, class_weights, make_task

NONE = Regularisation(0.0, "none", 0.0)
CLASSES = DataSpec("toy", "features", 4, "class", 3, ("a", "b", "c"), (6, 3, 1))
PER_STEP = DataSpec("toy", "tokens", 7, "class_per_step", 3, ("a", "b", "c"), (6, 3, 1))


def batch_of(targets: Tensor, lengths: list[int] | None = None) -> Batch:
    """Wrap targets; what else a batch holds does not matter to a task."""
    lengths_B = torch.tensor(lengths or [1] * len(targets))
    return Batch(torch.zeros(len(targets), 1, 4), lengths_B, targets, lengths_B, torch.arange(len(targets)))


def measured(task: Task, *batches: tuple[Tensor, Batch]) -> dict[str, float]:
    """Compute all metrics over some batches."""
    metrics = task.metrics()
    for outputs, batch in batches:
        task.update(metrics, outputs, batch)
    return task.flatten(metrics.compute())


def certain(predictions: list[int], num_classes: int = 3) -> Tensor:
    """Return outputs that say these classes."""
    return torch.nn.functional.one_hot(torch.tensor(predictions), num_classes).float()


@pytest.mark.parametrize(("spec", "kind"), [(CLASSES, Classify), (PER_STEP, Label)])
def test_the_targets_choose_the_task_and_the_metric_that_orders_tables(spec: DataSpec, kind: type) -> None:
    task = make_task(spec, NONE)
    assert type(task) is kind
    assert (task.metric.name, task.metric.direction) == ("accuracy", "max")
    assert task.compared == task.metric
    assert task.output_size == spec.target_size


@pytest.mark.parametrize("spec", [CLASSES, PER_STEP])
def test_data_that_ask_for_it_are_compared_by_the_loss(spec: DataSpec) -> None:
    task = make_task(replace(spec, metric="loss"), NONE)
    assert (task.metric.name, task.metric.direction, task.metric.unit) == ("loss", "min", "nats")
    assert task.compared == task.metric


@pytest.mark.parametrize(
    ("spec", "numbers", "is_solved"),
    [
        (replace(CLASSES, solved_at=0.99), {"accuracy": 0.991, "loss": 9.0}, True),
        (replace(CLASSES, solved_at=0.99), {"accuracy": 0.99}, False),
        (replace(PER_STEP, metric="loss", solved_at=0.02), {"loss": 0.0199, "accuracy": 0.5}, True),
        (replace(PER_STEP, metric="loss", solved_at=0.02), {"loss": 0.02}, False),
        (DataSpec("toy", "features", 4, "real", 1, ("x",), solved_at=0.01), {"mse": 0.0099, "loss": 7.0}, True),
        (CLASSES, {"accuracy": 1.0}, None),
    ],
)
def test_a_task_is_solved_beyond_the_value_that_the_data_name(spec: DataSpec, numbers: dict[str, float], is_solved: bool | None) -> None:
    assert make_task(spec, NONE).is_solved(numbers) is is_solved


@pytest.mark.parametrize("spec", [CLASSES, PER_STEP])
def test_quantiles_of_classes_are_refused_with_what_to_do(spec: DataSpec) -> None:
    with pytest.raises(ValueError, match=r"data=toy has classes, of which there are no quantiles: choose model/head=default"):
        make_task(spec, NONE, (0.1, 0.5, 0.9))


TARGETS, GUESSES = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2]
BY_HAND = {
    "accuracy": 4 / 6,
    **{"precision/a": 2 / 2, "precision/b": 1 / 2, "precision/c": 1 / 2},
    **{"recall/a": 2 / 3, "recall/b": 1 / 2, "recall/c": 1 / 1},
    **{"f1/a": 4 / 5, "f1/b": 1 / 2, "f1/c": 2 / 3},
    "precision_macro": (1 + 1 / 2 + 1 / 2) / 3,
    "recall_macro": (2 / 3 + 1 / 2 + 1) / 3,
    "f1_macro": (4 / 5 + 1 / 2 + 2 / 3) / 3,
}


def test_the_metrics_of_classes_equal_those_counted_by_hand() -> None:
    task = make_task(CLASSES, NONE)
    assert measured(task, (certain(GUESSES), batch_of(torch.tensor(TARGETS)))) == pytest.approx(BY_HAND)


def test_metrics_do_not_depend_on_how_examples_are_batched() -> None:
    task = make_task(CLASSES, NONE)
    parts = [(certain(GUESSES[a:b]), batch_of(torch.tensor(TARGETS[a:b]))) for a, b in [(0, 1), (1, 5), (5, 6)]]
    assert measured(task, *parts) == pytest.approx(BY_HAND)


def test_the_confusion_matrix_has_a_row_per_target_and_a_column_per_prediction() -> None:
    metrics = make_task(CLASSES, NONE).metrics()
    metrics.update(torch.tensor(GUESSES), torch.tensor(TARGETS))
    assert metrics.compute()["confusion"].tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]


def test_the_metrics_of_many_classes_equal_scikit_learns() -> None:
    scores = pytest.importorskip("sklearn.metrics")
    size = 5
    random = np.random.default_rng(0)
    targets, guesses = random.integers(size, size=60), random.integers(size, size=60)
    guesses[:30] = targets[:30]
    spec = DataSpec("toy", "features", 4, "class", size, tuple("abcde"), (1,) * size)
    found = measured(make_task(spec, NONE), (certain(guesses.tolist(), size), batch_of(torch.tensor(targets))))
    assert found["accuracy"] == pytest.approx(scores.accuracy_score(targets, guesses))
    for name in ("precision", "recall", "f1"):
        score = getattr(scores, f"{name}_score")
        assert found[f"{name}_macro"] == pytest.approx(score(targets, guesses, average="macro"))
        assert [found[f"{name}/{label}"] for label in spec.label_names] == pytest.approx(score(targets, guesses, average=None).tolist())


LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, 3.0]])
TWO = batch_of(torch.tensor([0, 1]))


def minus_log_p(row: int, label: int) -> float:
    values = LOGITS[row].tolist()
    return log(sum(exp(value) for value in values)) - values[label]


def test_the_loss_is_the_mean_of_minus_the_log_probability_of_the_target() -> None:
    loss = make_task(CLASSES, NONE).loss(LOGITS, TWO)
    assert loss.item() == pytest.approx((minus_log_p(0, 0) + minus_log_p(1, 1)) / 2)


def test_label_smoothing_spreads_its_share_evenly_over_all_classes_while_training() -> None:
    task = make_task(CLASSES, Regularisation(0.2, "none", 0.0))
    smoothed = [0.8 * minus_log_p(row, row) + 0.2 * sum(minus_log_p(row, label) for label in range(3)) / 3 for row in (0, 1)]
    assert task.loss(LOGITS, TWO).item() == pytest.approx(sum(smoothed) / 2)
    plain = make_task(CLASSES, NONE).loss(LOGITS, TWO)
    assert torch.equal(task.loss(LOGITS, TWO, is_training=False), plain)


def test_class_weights_weigh_each_examples_loss_while_training() -> None:
    task = make_task(CLASSES, Regularisation(0.0, [3.0, 0.5, 1.0], 0.0))
    expected = (3.0 * minus_log_p(0, 0) + 0.5 * minus_log_p(1, 1)) / 3.5
    assert task.loss(LOGITS, TWO).item() == pytest.approx(expected)
    assert torch.equal(task.loss(LOGITS, TWO, is_training=False), make_task(CLASSES, NONE).loss(LOGITS, TWO))


def test_balanced_weights_are_inverse_to_a_classs_share_with_mean_one_over_the_examples() -> None:
    weights = class_weights("balanced", CLASSES)
    assert weights is not None
    assert weights.tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert sum(count * weight for count, weight in zip(CLASSES.class_counts, weights.tolist(), strict=True)) == pytest.approx(10)


def test_a_class_without_training_examples_gets_no_weight_instead_of_an_infinite_one() -> None:
    spec = DataSpec("toy", "features", 4, "class", 3, ("a", "b", "c"), (6, 4, 0))
    weights = class_weights("balanced", spec)
    assert weights is not None
    assert weights.tolist() == pytest.approx([10 / 18, 10 / 12, 0])


def test_no_weights_are_none_and_given_ones_are_taken_as_they_are() -> None:
    assert class_weights("none", CLASSES) is None
    given = class_weights([1.0, 0.0, 2.5], CLASSES)
    assert given is not None
    assert given.tolist() == [1.0, 0.0, 2.5]


def test_a_wrong_number_of_class_weights_is_refused_with_the_order_of_classes() -> None:
    message = r"model.regularisation.class_weights has 2 numbers for 3 classes: give one per class, in this order: a, b, c"
    with pytest.raises(ValueError, match=message):
        make_task(CLASSES, Regularisation(0.0, [1.0, 2.0], 0.0))


def test_the_table_of_classes_names_labels_and_gives_probabilities() -> None:
    task = make_task(CLASSES, NONE)
    columns = task.columns(LOGITS, TWO)
    assert columns["prediction"].tolist() == ["a", "c"]
    scores = [[columns[f"score/{label}"][row] for label in "abc"] for row in (0, 1)]
    assert [sum(row) for row in scores] == pytest.approx([1, 1])
    assert columns["confidence"].tolist() == pytest.approx([exp(-minus_log_p(0, 0)), exp(-minus_log_p(1, 2))])
    assert scores[0] == pytest.approx([exp(-minus_log_p(0, label)) for label in range(3)])
    assert task.target_columns(TWO)["target"].tolist() == ["a", "b"]


STEP_TARGETS = torch.tensor([[0, 2, 1, -1, -1], [1, 1, 0, 2, 0]])
STEP_BATCH = batch_of(STEP_TARGETS, [3, 5])


def step_outputs() -> Tensor:
    torch.manual_seed(0)
    outputs = torch.randn(2, 5, 3)
    outputs[0, 3:] = 1000.0 * torch.randn(2, 3)  # what stands at padding must not matter
    return outputs


@pytest.mark.parametrize("regularisation", [NONE, Regularisation(0.1, "balanced", 0.0)], ids=["plain", "smoothed_and_weighted"])
def test_the_loss_of_labelled_steps_equals_that_of_the_valid_steps_one_after_another(regularisation: Regularisation) -> None:
    outputs = step_outputs()
    found = make_task(PER_STEP, regularisation).loss(outputs, STEP_BATCH)
    flat = batch_of(torch.cat([STEP_TARGETS[0, :3], STEP_TARGETS[1]]))
    expected = make_task(CLASSES, regularisation).loss(torch.cat([outputs[0, :3], outputs[1]]), flat)
    torch.testing.assert_close(found, expected)


def test_the_metrics_of_labelled_steps_equal_those_of_the_valid_steps_one_after_another() -> None:
    outputs = step_outputs()
    found = measured(make_task(PER_STEP, NONE), (outputs, STEP_BATCH))
    flat = torch.cat([STEP_TARGETS[0, :3], STEP_TARGETS[1]])
    valid = torch.cat([outputs[0, :3], outputs[1]])
    assert found == pytest.approx(measured(make_task(CLASSES, NONE), (valid, batch_of(flat))))
    assert found["accuracy"] == pytest.approx((valid.argmax(-1) == flat).float().mean().item())


def test_padding_targets_get_no_gradient() -> None:
    outputs = step_outputs().requires_grad_()
    make_task(PER_STEP, Regularisation(0.1, "balanced", 0.0)).loss(outputs, STEP_BATCH).backward()
    assert outputs.grad is not None
    assert not outputs.grad[0, 3:].any()
    assert outputs.grad[0, :3].any(-1).all()


def test_the_table_of_labelled_steps_holds_valid_steps_only() -> None:
    task = make_task(PER_STEP, NONE)
    assert [row.tolist() for row in task.target_columns(STEP_BATCH)["target"]] == [[0, 2, 1], [1, 1, 0, 2, 0]]
    predictions = task.columns(step_outputs(), STEP_BATCH)["prediction"]
    assert [row.tolist() for row in predictions] == [step_outputs()[0, :3].argmax(-1).tolist(), step_outputs()[1].argmax(-1).tolist()]


def test_the_table_of_labelled_steps_has_each_sequences_mean_cross_entropy_where_targets_are_known() -> None:
    task, outputs = make_task(PER_STEP, NONE), step_outputs()
    found = task.columns(outputs, STEP_BATCH)["cross_entropy"]
    rows = [outputs[0, :3].log_softmax(-1)[[0, 1, 2], [0, 2, 1]], outputs[1].log_softmax(-1)[torch.arange(5), STEP_TARGETS[1]]]
    assert found.tolist() == pytest.approx([-row.mean().item() for row in rows])
    assert (3 * found[0] + 5 * found[1]) / 8 == pytest.approx(task.loss(outputs, STEP_BATCH).item())
    unknown = batch_of(torch.full_like(STEP_TARGETS, -1), [3, 5])
    assert set(task.columns(outputs, unknown)) == {"prediction"}
