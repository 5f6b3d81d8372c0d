"""Claims about data whose target is one label a sequence."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from rnnlab.data.labelled import LabelledData, shortened
from rnnlab.settings import TrainSettings


@pytest.fixture
def labelled(compose: Callable[..., TrainSettings]) -> LabelledData:
    """Hold five labels, numbered; nothing is read."""
    config = compose("data=text", "data.source=mine.csv")
    module: LabelledData = config.data.recipe()(config.paths, 0)
    module.number_labels(("no", "yes", "perhaps"), pd.Series(["yes", "no", "no", "perhaps", "yes"]))
    return module


def test_labels_are_numbered_by_their_place_among_the_names(labelled: LabelledData) -> None:
    assert labelled.labels.tolist() == [1, 0, 0, 2, 1] and labelled.labels.dtype == np.int64
    assert labelled.targets(np.array([3, 0])) == ["perhaps", "yes"]


def test_training_examples_are_counted_by_label_also_where_there_are_none(labelled: LabelledData) -> None:
    labelled.rows = {"train": np.array([0, 1, 4]), "val": np.array([2]), "test": np.array([3])}
    assert labelled.class_counts() == (1, 2, 0)


def test_a_label_that_has_no_number_is_named_with_those_that_have(labelled: LabelledData) -> None:
    claim = r"^data.source=mine.csv has the label 'maybe' \(2 such\), which the run never learned; it knows: no, yes$"
    with pytest.raises(ValueError, match=claim):
        labelled.number_labels(("no", "yes"), pd.Series(["yes", "never", "maybe", "never"]))


@pytest.mark.parametrize(
    ("words", "most", "said"),
    [([], 3, ""), (["a", "b", "c"], 3, "a, b, c"), (["a", "b", "c", "d", "e"], 3, "a, b, c, ... 2 more")],
)
def test_long_lists_end_in_a_count(words: list[str], most: int, said: str) -> None:
    assert shortened(words, most) == said
