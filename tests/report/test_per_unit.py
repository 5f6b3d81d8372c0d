"""What each unit adds to a metric: summed up it is the run's own metric, whatever measured that."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from rnnlab.contracts import Batch, DataSpec, Goal, Reference
from rnnlab.report.per_unit import function_of, is_loss, rights, separable, unit_sums
from rnnlab.tasks import Regularisation, Task, make_task, text_metrics
from rnnlab.tasks.table_metrics import of_forecasts

NONE = Regularisation(0.0, "none", 0.0)
LABELS = ("a", "b", "c", "d")


def whole(table: pd.DataFrame, metric: str) -> float:
    """Return a metric from the sums of all units."""
    return float(function_of(metric)(unit_sums(table, metric).sums_UK.sum(0)))


def measured(task: Task, parts: list[tuple[Tensor, Batch]], groups: list[str]) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the table and the metrics that a run would leave behind."""
    metrics, tables = task.metrics(), []
    for outputs, batch in parts:
        task.update(metrics, outputs, batch)
        tables.append(pd.DataFrame({**task.target_columns(batch), **task.columns(outputs, batch)}))
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "group", groups)
    table.insert(0, "example_id", [f"e{number}" for number in range(len(table))])
    return table, task.flatten(metrics.compute())


@pytest.fixture
def classes() -> tuple[pd.DataFrame, dict[str, float]]:
    """Return answers in two batches; nobody is or says d, and nobody says c."""
    task = make_task(DataSpec("toy", "features", 1, "class", 4, LABELS, (1, 1, 1, 1)), NONE)
    scores = torch.randn(11, 4, generator=torch.Generator().manual_seed(0)) - 20 * torch.tensor([0.0, 0, 1, 1])
    targets = torch.tensor([0, 1, 2, 0, 1, 0, 0, 2, 1, 1, 0])
    parts = [(scores[some], batch_of(targets[some])) for some in (slice(0, 7), slice(7, 11))]
    table, numbers = measured(task, parts, list("xyxyzzzyxxz"))
    return table, numbers | {"loss": float(task.loss(scores, batch_of(targets), is_training=False))}


def batch_of(targets: Tensor, lengths: Tensor | None = None, reference: Reference | None = None) -> Batch:
    """Wrap targets."""
    lengths = torch.ones(len(targets), dtype=torch.long) if lengths is None else lengths
    return Batch(torch.zeros(len(targets), int(lengths.max()), 1), lengths, targets, lengths, torch.arange(len(targets)), reference)


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "loss"])
def test_sums_of_classes_give_what_the_run_measured(classes: tuple[pd.DataFrame, dict[str, float]], metric: str) -> None:
    table, numbers = classes
    assert whole(table, metric) == pytest.approx(numbers[metric], abs=1e-6)


def test_answers_are_summed_by_speaker(classes: tuple[pd.DataFrame, dict[str, float]]) -> None:
    table, _ = classes
    found = unit_sums(table, "accuracy")
    right = (table["target"] == table["prediction"]).groupby(table["group"]).agg(["sum", "size"])
    assert found.units.tolist() == ["x", "y", "z"]
    assert found.sums_UK.tolist() == right.to_numpy().tolist()


def test_where_the_group_is_unknown_an_example_is_a_unit_of_its_own(classes: tuple[pd.DataFrame, dict[str, float]]) -> None:
    table, _ = classes
    unknown = table.assign(group=[""] * 5 + ["x"] * 6)
    assert unit_sums(unknown, "accuracy").units.tolist() == ["e0", "e1", "e2", "e3", "e4", "x"]


def test_sums_of_labels_by_step_give_what_the_run_measured() -> None:
    task = make_task(DataSpec("toy", "tokens", 7, "class_per_step", 4, LABELS, (1, 1, 1, 1)), NONE)
    targets = torch.tensor([[0, 1, 2], [3, -1, -1], [1, 1, -1]])
    outputs = torch.randn(3, 3, 4, generator=torch.Generator().manual_seed(1))
    table, numbers = measured(task, [(outputs, batch_of(targets, torch.tensor([3, 1, 2])))], ["s", "s", "t"])
    assert whole(table, "accuracy") == pytest.approx(numbers["accuracy"])
    assert whole(table, "loss") == pytest.approx(float(task.loss(outputs, batch_of(targets), is_training=False)))
    assert unit_sums(table, "accuracy").sums_UK[:, 1].tolist() == unit_sums(table, "loss").sums_UK[:, 1].tolist() == [4, 2]
    assert rights(table, "loss")["e1"] == pytest.approx(-float(outputs[1, 0].log_softmax(-1)[3]))
    with pytest.raises(ValueError, match=r"lack the columns that 'f1_macro' is made of; of these can be taken apart: accuracy, loss$"):
        unit_sums(table, "f1_macro")


@pytest.fixture
def sets() -> tuple[pd.DataFrame, dict[str, float]]:
    """Return answers to sets of labels of three sequences, one of them without a known step."""
    task = make_task(DataSpec("toy", "features", 4, "labels_per_step", 4, LABELS, (1, 1, 1, 1)), NONE)
    random = torch.Generator().manual_seed(1)
    targets, lengths = (torch.rand(4, 3, 4, generator=random) < 0.4).float(), torch.tensor([3, 1, 2, 0])
    table, numbers = measured(task, [(torch.randn(4, 3, 4, generator=random), batch_of(targets, lengths))], list("stuv"))
    return table, numbers


@pytest.mark.parametrize("metric", ["nll", "nll_per_sequence", "frame_accuracy"])
def test_sums_of_sets_of_labels_give_what_the_run_measured(sets: tuple[pd.DataFrame, dict[str, float]], metric: str) -> None:
    table, numbers = sets
    assert whole(table, metric) == pytest.approx(numbers[metric])
    assert separable(table) == ["nll", "nll_per_sequence", "frame_accuracy"]
    assert is_loss(metric) and set(rights(table, metric)) == {"e0", "e1", "e2"}


def test_steps_of_a_piece_are_summed_and_its_loss_is_their_mean(sets: tuple[pd.DataFrame, dict[str, float]]) -> None:
    table, _ = sets
    found = unit_sums(table, "nll")
    assert found.units.tolist() == ["s", "t", "u", "v"] and found.sums_UK[:, 1].tolist() == [3, 1, 2, 0]
    assert found.sums_UK[:, 0].tolist() == pytest.approx([*(table["nll"] * table["num_targets"])[:3], 0])
    assert rights(table, "nll")["e2"] == pytest.approx(table["nll"][2])


@pytest.fixture
def forecasts() -> tuple[pd.DataFrame, dict[str, float]]:
    """Return positive forecasts of two horizons for three tickers on dates that don't come in order."""
    spec = DataSpec("toy", "features", 1, "real", 2, ("volatility_1d", "volatility_5d"), link="exp")
    random = torch.Generator().manual_seed(2)
    targets, persistence = (torch.rand(8, 2, generator=random) + 0.5 for _ in range(2))
    reference = Reference(torch.zeros(8, 2), torch.ones(8, 2), persistence)
    task = make_task(spec, NONE)
    table, numbers = measured(task, [(torch.randn(8, 2, generator=random), batch_of(targets, None, reference))], list("pqrpqrpq"))
    days = pd.to_datetime(["2020-01-02", "2020-01-02", "2020-01-02", "2019-12-31", "2019-12-31", "2019-12-31", "2020-01-03", "2020-01-03"])
    return table.assign(date=days), numbers


@pytest.mark.parametrize("metric", ["mse", "rmse", "mae", "qlike", "skill"])
def test_sums_of_forecasts_give_what_the_run_measured(forecasts: tuple[pd.DataFrame, dict[str, float]], metric: str) -> None:
    table, numbers = forecasts
    assert whole(table, metric) == pytest.approx(numbers[metric], rel=1e-5)


@pytest.mark.parametrize("metric", ["mse", "rmse", "mae", "qlike", "skill", "direction_accuracy"])
@pytest.mark.parametrize("name", ["volatility_1d", "volatility_5d"])
def test_sums_of_one_target_s_forecasts_give_what_is_measured_of_it(
    forecasts: tuple[pd.DataFrame, dict[str, float]], metric: str, name: str
) -> None:
    table, _ = forecasts
    assert whole(table, f"{metric}/{name}") == pytest.approx(of_forecasts(table, name, True, ())[metric])


def test_all_tickers_of_a_day_are_one_unit_and_days_are_in_order(forecasts: tuple[pd.DataFrame, dict[str, float]]) -> None:
    table, _ = forecasts
    found = unit_sums(table, "mse/volatility_1d")
    assert np.issubdtype(found.units.dtype, np.datetime64)
    assert [str(day)[:10] for day in found.units] == ["2019-12-31", "2020-01-02", "2020-01-03"]
    assert found.sums_UK[:, 1].tolist() == [3, 3, 2]
    assert unit_sums(table, "mse").sums_UK[:, 1].tolist() == [6, 6, 4]


def test_the_horizon_is_in_the_targets_names(forecasts: tuple[pd.DataFrame, dict[str, float]]) -> None:
    table, _ = forecasts
    assert [unit_sums(table, metric).horizon for metric in ("qlike", "qlike/volatility_1d", "qlike/volatility_5d")] == [5, 1, 5]
    assert unit_sums(table.rename(columns=lambda name: name.replace("volatility_5d", "level")), "qlike/level").horizon == 1


SPOKEN = [("go to the left", "go to the left"), ("stop", "stop now"), ("one too three four", "one two three"), ("", "end")]


def texts(goal: Goal) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return answers of four examples by two speakers, and their scores."""
    hypotheses, references = [given for given, _ in SPOKEN], [(right,) for _, right in SPOKEN]
    rows = text_metrics.row_scores(goal, hypotheses, references, has_rouge=True)
    named = {"example_id": list("stuv"), "group": list("xyxy"), "prediction": hypotheses, "references": [list(r) for r in references]}
    table = pd.DataFrame({**named, "target": [right for _, right in SPOKEN], **rows})
    return table, text_metrics.score(goal, hypotheses, references, "en", has_rouge=True)


@pytest.mark.parametrize(
    ("goal", "metric"),
    [
        *[("transcribe", metric) for metric in ("wer", "cer", "sentence_error")],
        *[("pronounce", metric) for metric in ("wer", "per")],
        *[("summarise", metric) for metric in ("rougeL", "sacrebleu")],
        ("translate", "sacrebleu"),
    ],
)
def test_sums_of_texts_give_what_the_run_measured(goal: Goal, metric: str) -> None:
    table, numbers = texts(goal)
    assert whole(table, metric) == pytest.approx(numbers[metric], rel=1e-6)
    assert unit_sums(table, metric).units.tolist() == ["x", "y"]


def test_the_function_takes_many_sums_at_once() -> None:
    table, _ = texts("translate")
    sums_UK = unit_sums(table, "sacrebleu").sums_UK
    both = np.stack([sums_UK, 2 * sums_UK])
    assert function_of("sacrebleu")(both).shape == (2, 2)
    assert function_of("sacrebleu")(both.sum(1)).tolist() == [whole(table, "sacrebleu")] * 2


def test_metrics_that_can_be_taken_apart_are_named() -> None:
    assert separable(texts("transcribe")[0]) == ["wer", "cer", "sentence_error"]
    assert separable(texts("translate")[0]) == ["sacrebleu"]


def test_a_metric_that_cannot_be_taken_apart_names_those_that_can(forecasts: tuple[pd.DataFrame, dict[str, float]]) -> None:
    table, _ = forecasts
    with pytest.raises(ValueError, match="'chrf' cannot be taken apart by speaker, document or date; these can: accuracy, f1_macro"):
        unit_sums(table, "chrf")
    with pytest.raises(ValueError, match=r"'accuracy' is made of; of these can be taken apart: mse, rmse, mae, qlike, skill, direction_"):
        unit_sums(table, "accuracy")
    with pytest.raises(ValueError, match=r"'mse/price' asks for a target that .* don't have; they have: volatility_1d, volatility_5d"):
        unit_sums(table, "mse/price")
    with pytest.raises(ValueError, match=r"'direction_accuracy' is of one target: direction_accuracy/volatility_1d, dir"):
        unit_sums(table, "direction_accuracy")
    with pytest.raises(ValueError, match="qlike is of positive targets and forecasts"):
        unit_sums(table.assign(**{"prediction/volatility_1d": -1.0}), "qlike")


def test_rights_say_which_answers_were_right(classes: tuple[pd.DataFrame, dict[str, float]]) -> None:
    table, numbers = classes
    found = rights(table, "accuracy")
    assert found == {row.example_id: float(bool(row.target == row.prediction)) for row in table.itertuples()}
    assert rights(table, "f1_macro") == found
    assert np.mean(list(rights(table, "loss").values())) == pytest.approx(numbers["loss"], abs=1e-6)
    assert [is_loss(metric) for metric in ("accuracy", "f1_macro", "loss")] == [False, False, True]


def test_rights_of_dictation_are_sentences_without_a_wrong_word() -> None:
    assert rights(texts("transcribe")[0], "wer") == {"s": 1, "t": 0, "u": 0, "v": 0}


def test_rights_of_forecasts_are_losses_whose_mean_is_the_metric(forecasts: tuple[pd.DataFrame, dict[str, float]]) -> None:
    table, numbers = forecasts
    assert np.mean(list(rights(table, "qlike").values())) == pytest.approx(numbers["qlike"], rel=1e-5)
    assert is_loss("qlike")


def test_forecasts_of_no_change_have_no_direction_and_are_left_out(forecasts: tuple[pd.DataFrame, dict[str, float]]) -> None:
    table, _ = forecasts
    table.loc[[1, 4], "prediction/volatility_1d"] = table.loc[[1, 4], "persistence/volatility_1d"]
    assert set(rights(table, "direction_accuracy/volatility_1d")) == {"e0", "e2", "e3", "e5", "e6", "e7"}
    assert unit_sums(table, "direction_accuracy/volatility_1d").sums_UK[:, 1].sum() == 6
