"""What a language model's numbers mean, against counts by hand."""

from math import exp, log

import numpy as np
import pytest
import torch

from rnnlab.contracts import IGNORED_TARGET, Batch, DataSpec
from rnnlab.tasks import NextToken, Regularisation, make_task

PLAIN = Regularisation(0.0, "none", 0.0)


def task_of(words: tuple[str, ...], joined: str) -> NextToken:
    size = len(words)
    spec = DataSpec("toy", "tokens", size, "class_per_step", size, words, goal="continue", joined=joined)  # type: ignore[arg-type]
    found = make_task(spec, PLAIN)
    assert isinstance(found, NextToken)
    return found


def evenly(task: NextToken, *texts: list[str]) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Measure texts under even chances: each token costs ln V."""
    words = task.spec.label_names
    rows = [torch.tensor([words.index(word) for word in text]) for text in texts]
    lengths_B = torch.tensor([len(row) - 1 for row in rows])
    inputs_BT = torch.nn.utils.rnn.pad_sequence([row[:-1] for row in rows], batch_first=True)
    targets_BT = torch.nn.utils.rnn.pad_sequence([row[1:] for row in rows], batch_first=True, padding_value=IGNORED_TARGET)
    batch = Batch(inputs_BT, lengths_B, targets_BT, lengths_B, torch.arange(len(rows)))
    outputs = torch.zeros(*inputs_BT.shape, len(words))
    metrics = task.metrics()
    task.update(metrics, outputs, batch)
    assert float(task.loss(outputs, batch)) == pytest.approx(log(len(words)))
    return task.flatten(metrics.compute()), task.columns(outputs, batch)


def test_of_characters_words_begin_behind_blanks_and_a_line_end_is_one() -> None:
    task = task_of(("<pad>", "<unk>", "a", "b", " ", "\n"), "characters")
    found, columns = evenly(task, list("ab ab\nb a"))
    # predicted: b, blank, a, b, line end, b, blank, a: words "ab", line end, "b", "a"; the first word began before
    assert found["bits_per_character"] == pytest.approx(log(6) / log(2))
    assert found["perplexity"] == pytest.approx(exp(8 * log(6) / 4))
    assert columns["num_words"].tolist() == [4] and columns["num_characters"].tolist() == [8]


def test_of_subwords_and_words_the_same_text_has_as_many_words() -> None:
    pieces = task_of(("<pad>", "<unk>", "▁a", "b", "▁ab", "▁b", "<eos>"), "pieces")
    words = task_of(("<pad>", "<unk>", "ab", "b", "a", "<eos>"), "words")
    by_pieces, columns = evenly(pieces, ["▁ab", "▁a", "b", "<eos>", "▁b", "▁a"])
    by_words, _ = evenly(words, ["ab", "ab", "<eos>", "b", "a"])
    assert by_pieces["perplexity"] == pytest.approx(exp(5 * log(7) / 4))
    assert by_words["perplexity"] == pytest.approx(6.0)
    assert columns["num_characters"].tolist() == [7]  # "▁ab" of the line (the blank its first line end), and "▁b" and "▁a"
    assert "bits_per_character" not in by_words


def test_a_script_without_blanks_has_no_words() -> None:
    found, _ = evenly(task_of(("<pad>", "<unk>", "明", "月", "\n"), "characters"), list("明月\n月"))
    assert set(found) == {"accuracy", "unknown", "bits_per_character"}


def test_unknown_tokens_are_counted() -> None:
    found, _ = evenly(task_of(("<pad>", "<unk>", "a"), "words"), ["a", "<unk>", "a", "a", "<unk>"])
    assert found["unknown"] == 0.5


def test_accuracy_is_of_the_most_probable_token_and_padding_counts_nowhere() -> None:
    task = task_of(("<pad>", "<unk>", "a", "b"), "words")
    batch = Batch(
        torch.tensor([[2, 3], [2, 0]]), torch.tensor([2, 1]), torch.tensor([[3, 2], [2, -1]]), torch.tensor([2, 1]), torch.arange(2)
    )
    outputs = torch.zeros(2, 2, 4)
    outputs[0, 0, 3], outputs[0, 1, 3], outputs[1, 0, 2], outputs[1, 1, 1] = 5.0, 5.0, 5.0, 99.0
    metrics = task.metrics()
    task.update(metrics, outputs, batch)
    assert task.flatten(metrics.compute())["accuracy"] == pytest.approx(2 / 3)
    assert [len(each) for each in task.columns(outputs, batch)["log_probability"]] == [2, 1]
    assert task.target_columns(batch)["num_targets"].tolist() == [2, 1]


def test_what_comes_next_is_told_after_the_last_step() -> None:
    task = task_of(("<pad>", "<unk>", "a", "b"), "words")
    outputs = torch.tensor([[[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 2.0]]])
    batch = Batch(torch.tensor([[2, 3]]), torch.tensor([2]), torch.tensor([[3, -1]]), torch.tensor([1]), torch.arange(1))
    columns = task.columns(outputs, batch)
    assert columns["next"][0][:2] == ["b", "a"]
    assert columns["next_probability"][0][0] == pytest.approx(exp(2) / (2 + exp(1) + exp(2)))


def test_a_metric_of_nothing_is_not_a_number() -> None:
    task = task_of(("<pad>", "<unk>", "a"), "words")
    metrics = task.metrics()
    metrics.update(torch.zeros(6))
    assert all(value != value for value in task.flatten(metrics.compute()).values())


@pytest.mark.parametrize(
    ("joined", "name"), {"words": "perplexity", "pieces": "bits_per_character", "characters": "bits_per_character"}.items()
)
def test_models_are_chosen_by_what_compares(joined: str, name: str) -> None:
    task = task_of(("<pad>", "<unk>", "▁a"), joined)
    assert task.metric.name == name and task.metric.direction == "min"
