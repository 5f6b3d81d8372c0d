"""Claims about the beginning of a text as its summary."""

import numpy as np
import pytest
import torch

from rnnlab.baselines.base import BaselineSettings
from rnnlab.baselines.lead import Lead, first_sentence
from rnnlab.contracts import PAD, SPECIALS, STOP, Batch, Copies, DataSpec

WORDS = (*SPECIALS, "a", "b", ".")
SPEC = DataSpec("toy", "tokens", 9, "tokens", 7, WORDS, goal="summarise", can_copy=True)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("rain fell . it was cold .", 3),
        ("rain fell", 2),
        ("is it so ? yes", 4),
        ('he said " no . " then left', 6),
        ("see e.g. Lee et al. for more . Then go", 8),
        ("J. Smith won . She", 4),
        ("▁rain ▁fell. ▁it ▁was", 2),
        ("下 雨 。 冷", 3),
    ],
)
def test_a_sentence_ends_where_it_ends_and_not_at_abbreviations(text: str, length: int) -> None:
    assert first_sentence(text.split()) == length


def batch() -> Batch:
    """Two texts: `a zed . b` and `b yak`, of which zed and yak are unknown."""
    numbers = torch.tensor([[4, 7, 6, 5, STOP], [5, 7, STOP, PAD, PAD]])
    lengths, none = torch.tensor([5, 3]), torch.zeros(2, 0, dtype=torch.int64)
    inputs = torch.where(numbers < 7, numbers, 1)
    return Batch(
        inputs, lengths, none, torch.zeros(2, dtype=torch.int64), torch.arange(2), copies=Copies(numbers, none, (("zed",), ("yak",)))
    )


def test_the_first_sentence_is_repeated_with_its_unknown_words_and_without_the_stop() -> None:
    method = Lead(SPEC, BaselineSettings("lead", None, 1))
    assert method.fit([], []) == {}
    assert method.predict({}, batch()).tolist() == [[4, 7, 6], [5, 7, PAD]]


def test_so_many_words_are_repeated_as_were_asked_for() -> None:
    found = Lead(SPEC, BaselineSettings("lead", None, 1, num_words=1)).predict({}, batch())
    assert found.dtype == np.int64 and found.tolist() == [[4], [5]]
    assert Lead(SPEC, BaselineSettings("lead", None, 1, num_words=9)).predict({}, batch()).tolist() == [[4, 7, 6, 5], [5, 7, PAD, PAD]]


def test_data_whose_answers_are_no_words_of_the_input_have_no_lead() -> None:
    assert Lead(DataSpec("toy", "tokens", 9, "tokens", 7, WORDS, goal="pronounce"), BaselineSettings("lead", None, 1)).refusal()
