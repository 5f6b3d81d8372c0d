"""A sequence of tokens per sequence: what is refused, how answers become texts, scores and columns."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from rnnlab.contracts import SPECIALS, Batch, DataSpec, Decoded, Goal, Hypothesis
from rnnlab.tasks import Metric, Regularisation, Transduce, make_task

NONE = Regularisation(0.0, "none", 0.0)
WORDS = DataSpec("toy", "features", 4, "tokens", 8, (*SPECIALS, "a", "b", "c", "d"), goal="transcribe", max_target_length=4)
A, B, C, D = range(4, 8)


def task_of(goal: Goal = "transcribe") -> Transduce:
    task = make_task(replace(WORDS, goal=goal), NONE)
    assert isinstance(task, Transduce)
    return task


def batch_of(*references: tuple[str, ...], is_training: bool = False) -> Batch:
    """Wrap references; targets are the first ones, of words a to d."""
    rows = [[WORDS.label_names.index(word) for word in texts[0].split()] for texts in references]
    lengths_B = torch.tensor([len(row) for row in rows])
    targets_BS = torch.nn.utils.rnn.pad_sequence([torch.tensor(row, dtype=torch.long) for row in rows], batch_first=True)
    number = len(references)
    known = None if is_training else references
    return Batch(torch.zeros(number, 1, 4), torch.ones(number), targets_BS, lengths_B, torch.arange(number), references=known)


def decoded(*answers: list[list[int]], loss: float | None = None) -> Decoded:
    """Wrap each example's answers, the first with score -1, the second with -2, ..."""
    hypotheses = [[Hypothesis(tokens, -1.0 - place) for place, tokens in enumerate(row)] for row in answers]
    return Decoded(hypotheses, None if loss is None else torch.tensor(loss))


@pytest.mark.parametrize(
    ("goal", "measure"),
    [
        ("transcribe", Metric("wer", "min", "fraction")),
        ("pronounce", Metric("wer", "min", "fraction")),
        ("translate", Metric("sacrebleu", "max", "")),
        ("summarise", Metric("rougeL", "max", "fraction")),
    ],
)
def test_the_goal_chooses_the_metric_that_orders_tables(goal: Goal, measure: Metric) -> None:
    task = task_of(goal)
    assert task.metric == task.compared == measure
    assert task.output_size == 8
    assert not task.is_per_step


def test_summaries_in_letters_that_rouge_does_not_know_are_ordered_by_chrf() -> None:
    spec = replace(WORDS, goal="summarise", label_names=(*SPECIALS, "绿", "茶", "我", "们"), target_language="zh", joined="pieces")
    task = make_task(spec, NONE)
    assert task.metric == Metric("chrf", "max", "")


def test_what_is_for_classes_is_refused_and_label_smoothing_is_not() -> None:
    with pytest.raises(ValueError, match=r"data=toy has sequences of tokens, for which .*class_weights mean nothing: leave them out"):
        make_task(WORDS, Regularisation(0.1, "balanced", 0.0))
    with pytest.raises(ValueError, match=r"data=toy has tokens, of which there are no quantiles: choose model/head=default"):
        make_task(WORDS, NONE, (0.1, 0.5, 0.9))
    with pytest.raises(ValueError, match=r"data=toy has sequences of tokens but no goal: transcribe, translate, "):
        make_task(replace(WORDS, goal=None), NONE)
    assert make_task(WORDS, Regularisation(0.1, "none", 0.0)).regularisation.label_smoothing == 0.1


def test_special_words_are_no_text_but_an_unknown_one_shows() -> None:
    assert task_of().text([2, A, 1, B, 3, 0]) == "a ⁇ b"
    assert task_of().text([]) == ""


def test_an_unknown_word_is_never_right_even_where_the_reference_names_it() -> None:
    task = task_of()
    metrics = task.metrics()
    task.update(metrics, decoded([[A, 1]]), replace(batch_of(("a",)), references=(("a <unk>",),)))
    assert task.flatten(metrics.compute())["wer"] == 0.5


def test_the_loss_is_the_model_s_and_nan_where_there_is_none() -> None:
    task, batch = task_of(), batch_of(("a b",))
    assert task.loss(decoded([[A]], loss=1.5), batch).item() == 1.5
    assert math.isnan(task.loss(decoded([[A]]), batch, is_training=False).item())


def test_a_batch_weighs_as_many_as_it_has_tokens_and_stops() -> None:
    assert task_of().num_answers(batch_of(("a b c",), ("d",))) == 4 + 2


def test_metrics_are_named_plainly_and_do_not_depend_on_how_examples_are_batched() -> None:
    task = task_of()
    metrics = task.metrics()
    task.update(metrics, decoded([[A, B, D], [A, B, C]]), batch_of(("a b c",)))
    task.update(metrics, decoded([[D]], [[C, C]]), batch_of(("d",), ("c",)))
    numbers = task.flatten(metrics.compute())
    assert numbers == pytest.approx({"wer": 2 / 5, "cer": 3 / 7, "sentence_error": 2 / 3})  # "c c" for "c": two characters too many
    metrics.reset()
    task.update(metrics, decoded([[A]]), batch_of(("a",)))
    assert task.flatten(metrics.compute()) == {"wer": 0, "cer": 0, "sentence_error": 0}


@pytest.mark.parametrize(("goal", "best"), [("pronounce", 0.0), ("translate", 100.0), ("summarise", 1.0)])
def test_a_right_answer_has_the_best_measure_of_its_goal(goal: Goal, best: float) -> None:
    task = task_of(goal)
    metrics = task.metrics()
    task.update(metrics, decoded([[A, B, C, D]]), batch_of(("d c", "a b c d")))
    assert task.flatten(metrics.compute())[task.metric.name] == pytest.approx(best)


def test_without_references_nothing_can_be_scored() -> None:
    task = task_of()
    with pytest.raises(ValueError, match=r"the batch brings no references, so nothing can be scored: measure on plain batches"):
        task.update(task.metrics(), decoded([[A]]), batch_of(("a",), is_training=True))


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric:UserWarning")
def test_metrics_that_saw_nothing_say_so() -> None:
    with pytest.raises(ValueError, match=r"there are no texts to score: update before computing"):
        task_of().metrics().compute()


def test_columns_hold_the_best_and_as_many_others_as_the_longest_list() -> None:
    task, batch = task_of(), batch_of(("a b",), ("c", "d"))
    columns = task.columns(decoded([[A, C]], [[D], [], [C, C]]), batch)
    table = pd.DataFrame(columns)
    assert table["prediction"].tolist() == ["a c", "d"]
    assert table["num_tokens"].tolist() == [2, 1]
    assert table["prediction_2"].tolist() == ["", ""]
    assert table["prediction_3"].tolist() == ["", "c c"]
    np.testing.assert_array_equal(table[["score", "score_2", "score_3"]], [[-1, np.nan, np.nan], [-1, -2, -3]])
    assert table["word_errors"].tolist() == [1, 0]
    assert table["num_words"].tolist() == [2, 1]


def test_columns_without_references_hold_predictions_alone() -> None:
    columns = task_of().columns(decoded([[A]], [[]]), batch_of(("a",), ("b",), is_training=True))
    assert {name: list(values) for name, values in columns.items()} == {"prediction": ["a", ""], "score": [-1, -1], "num_tokens": [1, 0]}


def test_target_columns_hold_the_first_reference_and_all_of_them() -> None:
    columns = task_of().target_columns(batch_of(("a b",), ("c", "d")))
    assert {name: list(values) for name, values in columns.items()} == {
        "target": ["a b", "c"],
        "references": [["a b"], ["c", "d"]],
        "num_references": [1, 2],
    }
    assert task_of().target_columns(batch_of(("a",), is_training=True)) == {}


def test_the_signature_of_a_table_names_how_many_references_it_has() -> None:
    assert task_of("translate").signature(np.array([2, 2]))["sacrebleu"].startswith("nrefs:2|")
    assert task_of("translate").signature(np.array([1, 2]))["chrf"].startswith("nrefs:var|")
    assert task_of("transcribe").signature(np.array([1])) == {}


def test_of_answers_that_read_the_same_the_best_alone_is_kept() -> None:
    spec = DataSpec("toy", "features", 4, "tokens", 7, (*SPECIALS, "▁a", "b", "▁ab"), goal="transcribe", joined="pieces")
    task = make_task(spec, NONE)
    apart, whole, b = [4, 5], [6], [5]  # both are written "ab"
    table = pd.DataFrame(task.columns(decoded([apart, whole, b], [b]), batch_of(("a",), ("b",), is_training=True)))
    assert table[["prediction", "prediction_2"]].to_numpy().tolist() == [["ab", "b"], ["b", ""]]
    np.testing.assert_array_equal(table[["score", "score_2"]], [[-1, -3], [-1, np.nan]])
    assert "prediction_3" not in table and table["num_tokens"].tolist() == [2, 1]
