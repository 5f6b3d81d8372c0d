"""Claims about tags as a task: how entities are counted, by hand-worked cases, and what a table of predictions says."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from rnnlab.contracts import IGNORED_TARGET, Batch, DataSpec, TagPath
from rnnlab.report.per_unit import function_of, unit_sums
from rnnlab.tasks import Regularisation, Tag, make_task

NAMES = ("B-A", "B-B", "I-A", "I-B", "O")
SPEC = DataSpec("tags", "tokens", 9, "class_per_step", 5, NAMES, class_counts=(1, 1, 1, 1, 1), scheme="bio")


def task(spec: DataSpec = SPEC) -> Tag:
    found = make_task(spec, Regularisation(0.0, "none", 0.0))
    assert isinstance(found, Tag)
    return found


def example(given: list[str], right: list[str]) -> tuple[torch.Tensor, Batch]:
    """Return outputs that choose the given tags, and a batch whose targets are the right ones (- for a word that is not scored)."""
    rows = [[[NAMES.index(tag) if tag != "-" else IGNORED_TARGET for tag in line.split()] for line in side] for side in (given, right)]
    most = max(map(len, rows[0]))
    outputs = torch.stack([F.pad(torch.tensor(row), (0, most - len(row)), value=0) for row in rows[0]])
    targets = torch.stack([F.pad(torch.tensor(row), (0, most - len(row)), value=IGNORED_TARGET) for row in rows[1]])
    lengths = torch.tensor([len(row) for row in rows[1]])
    return F.one_hot(outputs, 5).float(), Batch(torch.ones_like(targets), lengths, targets, lengths.clone(), torch.arange(len(lengths)))


def measured(given: list[str], right: list[str]) -> dict[str, float]:
    tagger, (outputs, batch) = task(), example(given, right)
    metrics = tagger.metrics()
    for row in range(batch.size):  # sentence by sentence: sums over batches
        alone = slice(row, row + 1)
        lengths = batch.input_lengths[alone]
        part = Batch(batch.inputs[alone], lengths, batch.targets[alone], lengths, batch.example_ids[alone])
        tagger.update(metrics, outputs[row : row + 1], part)
    return tagger.flatten(metrics.compute())


def test_an_entity_counts_if_type_and_both_ends_are_right() -> None:
    given = ["B-A I-A O B-B", "B-A O O O", "O I-A I-A O"]
    right = ["B-A I-A O B-B", "B-A I-A O O", "O B-A I-A B-B"]
    numbers = measured(given, right)  # right: A, B, and the A that begins with I-; given 4, true 5
    assert numbers["precision"] == pytest.approx(3 / 4)
    assert numbers["recall"] == pytest.approx(3 / 5)
    assert numbers["f1"] == pytest.approx(6 / 9)
    assert numbers["f1/A"] == pytest.approx(4 / 6) and numbers["f1/B"] == pytest.approx(2 / 3)
    assert numbers["accuracy"] == pytest.approx(9 / 12)


def test_without_entities_everything_is_zero_and_nothing_breaks() -> None:
    numbers = measured(["O O"], ["O O"])
    assert numbers["f1"] == numbers["precision"] == numbers["recall"] == 0 and numbers["accuracy"] == 1


def test_words_that_are_not_scored_are_left_out() -> None:
    outputs, batch = example(["B-A B-A O"], ["B-A - O"])
    columns = task().columns(outputs, batch)
    assert columns["prediction"][0].tolist() == [0, 4]
    assert [columns[name][0] for name in ("num_correct", "num_given", "num_true")] == [1, 1, 1]
    assert columns["cross_entropy"][0] == pytest.approx(float(F.cross_entropy(outputs[0, [0, 2]], torch.tensor([0, 4]))))


def test_tags_chosen_together_are_scored_as_chosen() -> None:
    outputs, batch = example(["B-A I-A O"], ["B-A I-A B-B"])
    path = TagPath(outputs.argmax(-1), torch.tensor([3.0]))
    columns = task().columns(path, batch)
    assert columns["prediction"][0].tolist() == [0, 2, 4] and columns["cross_entropy"][0] == pytest.approx(1.0)
    assert float(task().loss(path, batch)) == pytest.approx(1.0)


def table(given: list[str], right: list[str]) -> pd.DataFrame:
    outputs, batch = example(given, right)
    found = pd.DataFrame(task().target_columns(batch) | task().columns(outputs, batch))
    is_new = pd.Series([[True] + [False] * (len(row) - 1) for row in found["target"]], dtype=object)
    return found.assign(example_id=[f"s{row}" for row in range(len(found))], group="", is_new_word=is_new)


def test_a_table_gives_intervals_and_the_accuracy_on_new_words() -> None:
    numbers = task().table_metrics(table(["B-A O", "O O", "B-B O"] * 5, ["B-A O", "B-A O", "B-B O"] * 5))
    assert numbers["f1_low"] < 2 * 10 / 25 < numbers["f1_high"]
    assert numbers["accuracy_low"] < 25 / 30 < numbers["accuracy_high"]
    assert numbers["num_new"] == 15 and numbers["accuracy_new"] == pytest.approx(10 / 15)


def test_where_all_is_right_the_interval_still_has_a_width() -> None:
    numbers = task().table_metrics(table(["B-A O"] * 6, ["B-A O"] * 6))
    assert numbers["f1_high"] == numbers["accuracy_high"] == 1 and numbers["f1_low"] < 0.8


def test_f1_is_taken_apart_by_sentence() -> None:
    found = table(["B-A I-A O B-B", "B-A O O O", "O I-A I-A O"], ["B-A I-A O B-B", "B-A I-A O O", "O B-A I-A B-B"])
    sums = unit_sums(found, "f1")
    assert sums.sums_UK.tolist() == [[4, 4], [0, 2], [2, 3]]
    assert function_of("f1")(sums.sums_UK.sum(0)) == pytest.approx(6 / 9)
    assert function_of("f1")(np.zeros(2)) == 0


def test_plain_tags_are_measured_by_accuracy() -> None:
    plain = task(DataSpec("tags", "tokens", 9, "class_per_step", 3, ("N", "V", "X"), class_counts=(1, 1, 1), scheme="plain"))
    assert plain.metric.name == "accuracy" and task().metric.name == "f1"
