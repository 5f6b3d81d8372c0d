"""A model is measured as if its examples came one by one: batches, padding and dropout leave no trace."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from rnnlab.contracts import Batch, DataSpec, Reference
from rnnlab.evaluation.evaluate import answer, evaluate, evaluate_batches, with_examples
from rnnlab.models.base import Predictor
from rnnlab.tasks import Regularisation, make_task

CLASSES = DataSpec("toy", "features", 2, "class", 2, ("a", "b"), (1, 1))
REAL = DataSpec("toy", "features", 1, "real", 1, ("x",))

Make = Callable[[list[int]], Batch]


class Echo(Predictor):
    """Answer what the first step says; count how often it was asked in training mode."""

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec, make_task(spec, Regularisation(0.0, "none", 0.0)))
        self.num_asked_training = 0

    def predict(self, batch: Batch) -> Tensor:
        self.num_asked_training += self.training
        return batch.inputs[:, 0]


def labelled(rows: list[int]) -> Batch:
    """Return examples whose number decides everything: odd ones are of class b, and every third is answered wrongly."""
    ids = torch.tensor(rows)
    targets = ids % 2
    sign = torch.where(ids % 3 == 0, -1.0, 1.0)
    inputs = (torch.nn.functional.one_hot(targets, 2) * sign[:, None] * (1 + ids[:, None] / 10))[:, None]
    return Batch(inputs.float(), torch.ones_like(ids), targets, torch.ones_like(ids), ids)


def forecast(rows: list[int]) -> Batch:
    ids = torch.tensor(rows)
    values = ids[:, None].float()
    reference = Reference(torch.zeros_like(values), torch.ones_like(values), values - 1)
    return Batch(values[:, None] + 0.5, torch.ones_like(ids), values, torch.ones_like(ids), ids, reference)


@pytest.mark.parametrize("make", [labelled, forecast])
def test_numbers_and_table_do_not_depend_on_how_examples_are_batched(make: Make) -> None:
    model = Echo(CLASSES if make is labelled else REAL)
    whole = evaluate_batches(model, [make(list(range(10)))])
    parts = evaluate_batches(model, [make([7, 8, 9]), make([0]), make([1, 2, 3, 4, 5, 6])])
    assert parts.numbers == pytest.approx(whole.numbers)
    pd.testing.assert_frame_equal(parts.table.sort_values("row", ignore_index=True), whole.table)


def test_accuracy_is_that_of_the_table() -> None:
    found = evaluate_batches(Echo(CLASSES), [labelled(list(range(10)))])
    assert found.numbers["accuracy"] == pytest.approx(6 / 10)  # 0, 3, 6 and 9 are wrong
    assert (found.table["target"] == found.table["prediction"]).mean() == pytest.approx(6 / 10)


def test_at_most_so_many_batches_are_measured() -> None:
    def batches() -> Iterator[Batch]:
        yield labelled([1, 2])
        yield labelled([3])
        raise AssertionError("a third batch was asked for")

    assert evaluate_batches(Echo(CLASSES), batches(), 2).table["row"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("is_training", [False, True])
def test_a_model_is_measured_without_dropout_or_gradients_and_left_in_its_mode(is_training: bool) -> None:
    model = Echo(CLASSES).train(is_training)
    evaluate_batches(model, [labelled([1, 2])])
    assert model.training is is_training
    assert model.num_asked_training == 0


def module(num_examples: int, has_date: bool) -> SimpleNamespace:
    examples = pd.DataFrame({"id": [f"e{i}" for i in range(num_examples)], "ticker": [f"t{i % 3}" for i in range(num_examples)]})
    if has_date:
        examples["date"] = pd.date_range("2020-01-01", periods=num_examples)
    make = forecast if has_date else labelled
    batches = [make([num_examples - 1, 2]), make([5, 0, 1])]
    loaders = {"test": batches}
    lengths = np.arange(num_examples) + 100
    return SimpleNamespace(
        examples=examples,
        group_column="ticker",
        lengths=lengths,
        plain_dataloader=lambda split: loaders[split],
        notes=lambda rows: {},
    )


def test_the_table_names_examples_groups_and_dates_first_and_lengths_last() -> None:
    found = evaluate(Echo(REAL), module(9, True), "test").table  # type: ignore[arg-type]  # a stand-in
    assert list(found.columns) == ["example_id", "group", "date", "target/x", "prediction/x", "persistence/x", "num_steps"]
    assert found["example_id"].tolist() == ["e8", "e2", "e5", "e0", "e1"]
    assert found["group"].tolist() == ["t2", "t2", "t2", "t0", "t1"]
    assert found["date"].dt.day.tolist() == [9, 3, 6, 1, 2]
    assert found["num_steps"].tolist() == [108, 102, 105, 100, 101]
    assert found["prediction/x"].tolist() == [8.5, 2.5, 5.5, 0.5, 1.5]
    assert found["persistence/x"].tolist() == [7, 1, 4, -1, 0]


def test_where_there_are_no_dates_there_is_no_such_column() -> None:
    table = pd.DataFrame({"row": [3], "target": ["a"]})
    assert list(with_examples(table, module(6, False)).columns) == ["example_id", "group", "target", "num_steps"]  # type: ignore[arg-type]  # a stand-in


def test_what_else_the_data_say_of_an_example_comes_last() -> None:
    data = module(6, False)
    data.notes = lambda rows: {"is_new": rows > 3}
    found = with_examples(pd.DataFrame({"row": [5, 3], "target": ["a", "b"]}), data)  # type: ignore[arg-type]  # a stand-in
    assert list(found.columns)[-2:] == ["num_steps", "is_new"] and found["is_new"].tolist() == [True, False]


def test_measuring_a_split_adds_what_only_the_whole_table_gives() -> None:
    classes = evaluate(Echo(CLASSES), module(6, False), "test").numbers  # type: ignore[arg-type]  # a stand-in
    assert classes["num_examples"] == 5
    assert {"accuracy_low", "accuracy_high", "ece"} <= set(classes)
    numbers = evaluate(Echo(REAL), module(9, True), "test").numbers  # type: ignore[arg-type]  # a stand-in
    assert numbers["skill"] == pytest.approx(1 - 0.25 / 1)
    assert numbers["direction_accuracy"] == 1


@pytest.mark.parametrize(("spec", "make"), [(CLASSES, labelled), (REAL, forecast)])
def test_answers_need_no_targets(spec: DataSpec, make: Make) -> None:
    batch = make([3, 1, 2])
    known = answer(Echo(spec), batch)
    batch.targets = torch.full_like(batch.targets, -1 if spec is CLASSES else torch.nan)
    pd.testing.assert_frame_equal(answer(Echo(spec), batch), known)
    assert len(known) == 3 and "target" not in known and "target/x" not in known
