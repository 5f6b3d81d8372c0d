"""Claims about the beginning of a text as its summary."""

import os
from collections.abc import Callable

import numpy as np
import pytest
import torch

from rnnlab.baselines.base import BaselineSettings
from rnnlab.baselines.lead import Lead, first_sentence
from rnnlab.contracts import PAD, SPECIALS, STOP, Batch, Copies, DataSpec
from rnnlab.settings import TrainSettings
from rnnlab.tasks.text_metrics import rouge

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


@pytest.mark.parametrize(("text", "length"), [("3.5▁m▁fell.▁It▁was", 11), ("下雨。冷", 3)])
def test_among_characters_a_blank_follows_an_end_where_the_script_has_blanks(text: str, length: int) -> None:
    assert first_sentence(list(text), is_joined=True) == length


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


@pytest.mark.slow
@pytest.mark.skipif("RNNLAB_MIRROR" not in os.environ, reason="needs SciTLDR: set RNNLAB_MIRROR to a folder with scitldr")
def test_the_lead_of_scitldr_scores_as_its_first_sentences_do(compose: Callable[..., TrainSettings]) -> None:
    """The first sentences as the set cuts them score 28.24, 11.27 and 23.09 by the package rouge-score, words as they are."""
    settings = compose("model=baseline", "baseline.kind=lead", "data=scitldr", "data.offline=true")
    data = settings.data.recipe()(settings.paths, 0)
    data.setup()
    made = settings.model.recipe()(data.make_spec())
    texts: list[str] = []
    references: list[tuple[str, ...]] = []
    for batch in data.plain_dataloader("test"):
        found, right = made.task.answers(made.predict(batch), batch)
        texts += found
        references += right
    assert len(texts) == 618
    assert rouge(texts, references) == pytest.approx({"rouge1": 0.2824, "rouge2": 0.1127, "rougeL": 0.2309}, abs=0.002)
