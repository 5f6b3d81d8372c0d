"""What a finished run says of itself: how it stands to the best baseline, and how numbers are written."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from rnnlab.baselines.base import BaselineSettings
from rnnlab.cells.gru import GRUCell
from rnnlab.contracts import DataSpec
from rnnlab.evaluation import artifacts as results
from rnnlab.evaluation.artifacts import beside_baseline
from rnnlab.layers.beam_search import Decoding
from rnnlab.layers.frontends import Direct
from rnnlab.layers.recurrent import Recurrence
from rnnlab.models.base import Head, Predictor, SequenceModule
from rnnlab.models.baseline import Baseline
from rnnlab.models.gru import GRU
from rnnlab.tasks import Metric, Regularisation
from rnnlab.tracking.results import RESULTS_HASH, results_hash

CLASSES = DataSpec("toy", "features", 2, "class", 2, ("a", "b"), (1, 1))
REAL = DataSpec("toy", "features", 2, "real", 1, ("x",), unit="EUR", feature_names=("x", "y"))
VARIANCE = DataSpec("toy", "features", 2, "real", 1, ("x",), link="exp", unit="%²")
Said = Callable[..., str]


def network(spec: DataSpec, quantiles: tuple[float, ...] = ()) -> SequenceModule:
    recurrence = Recurrence(3, 1, 0.0, False, "uniform")
    return GRU(spec, GRUCell, recurrence, Direct, Head("mean", 0.0, quantiles), Regularisation(0.0, "none", 0.0), Decoding(5, 1.0, 1))


def tracked(name: str, metric: str, best: float, test: float, num_examples: int = 40) -> SimpleNamespace:
    """Return a run as tracking gives it."""
    metrics = {f"best/{metric}": best, f"test/{metric}": test, "test/num_examples": num_examples}
    data = SimpleNamespace(metrics=metrics, tags={RESULTS_HASH: results_hash(metrics)})
    return SimpleNamespace(info=SimpleNamespace(run_id=f"{name}-0123456789", run_name=name), data=data)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    """Say how a result stands beside some tracked baselines."""

    def say(model: Predictor, test: dict[str, float], *runs: SimpleNamespace, words: str = "model=gru", own: str = "own") -> str:
        monkeypatch.setattr(results, "find_baselines", lambda client, test_hash: list(runs) if test_hash == "abc" else [])
        tracker, data = SimpleNamespace(client=None, run_id=own), SimpleNamespace(hashes={"test_hash": "abc"})
        return beside_baseline(tracker, model, data, {"num_examples": 40, **test}, words.split())  # type: ignore[arg-type]  # a stand-in

    return say


def test_without_a_baseline_the_command_that_makes_one_is_given(said: Said) -> None:
    words = "model=lstm data=text data.source=sample data.prepare.tokens=char data.loader.batch_size=8 optimizer.lr=1 seed=3"
    asked = "data=text data.source=sample data.prepare.tokens=char"
    message = f"no baseline is tracked for this test split; make one:  python src/train.py model=baseline {asked}"
    assert said(network(CLASSES), {"accuracy": 0.5}, words=words) == message
    assert said(network(CLASSES), {"accuracy": 0.5}).endswith("make one:  python src/train.py model=baseline")


def test_a_baseline_whose_numbers_are_no_longer_what_it_measured_is_left_out(said: Said) -> None:
    whole, damaged = tracked("tfidf", "accuracy", 0.8, 0.7), tracked("ridge", "accuracy", 0.9, 0.7)
    damaged.data.metrics["test/accuracy"] = 0.2
    assert "70.00 % of tfidf" in said(network(CLASSES), {"accuracy": 0.5}, whole, damaged)


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [(0.71, "better than the best tracked baseline: "), (0.7, "equal to the best tracked baseline: "), (0.69, "did not beat")],
)
def test_more_accuracy_is_better_and_as_much_is_equal(ours: float, verdict: str, said: Said) -> None:
    found = said(network(CLASSES), {"accuracy": ours}, tracked("tfidf", "accuracy", 0.8, 0.7))
    assert verdict in found
    assert f"accuracy {100 * ours:.2f} % against 70.00 % of tfidf (tfidf-01)" in found


@pytest.mark.parametrize(("ours", "verdict"), [(0.9, "better than"), (1.0, "equal to"), (1.1, "did not beat")])
@pytest.mark.parametrize(("spec", "metric"), [(REAL, "mse"), (VARIANCE, "qlike")])
def test_less_error_is_better(ours: float, verdict: str, spec: DataSpec, metric: str, said: Said) -> None:
    assert verdict in said(network(spec), {metric: ours}, tracked("ridge", metric, 2.0, 1.0))


@pytest.mark.parametrize(
    ("ours", "low", "high", "verdict"),
    [
        (0.975, 0.943, 0.989, "above the best tracked baseline, within noise: accuracy 97.50 % against 97.00 %"),  # one example of 200
        (0.995, 0.972, 0.999, "better than the best tracked baseline: "),
        (0.965, 0.930, 0.983, "below the best tracked baseline, within noise: "),
        (0.9, 0.851, 0.934, "did not beat the best tracked baseline:"),
        (0.97004, 0.935, 0.986, "equal to the best tracked baseline: "),  # as far as it is written
    ],
)
def test_a_difference_within_the_result_s_interval_is_called_noise(ours: float, low: float, high: float, verdict: str, said: Said) -> None:
    test = {"accuracy": ours, "accuracy_low": low, "accuracy_high": high}
    assert verdict in said(network(CLASSES), test, tracked("tfidf", "accuracy", 0.8, 0.97))


def test_where_less_is_better_noise_is_told_without_above_and_below(said: Said) -> None:
    runs = [tracked("nearest", "nll", 9.0, 8.0)]
    sets = DataSpec("toy", "features", 2, "labels_per_step", 2, ("a", "b"))
    assert said(network(sets), {"nll": 7.9, "nll_low": 7.0, "nll_high": 8.5}, *runs).startswith(
        "better than the best tracked baseline, within"
    )
    assert said(network(sets), {"nll": 8.1, "nll_low": 7.0, "nll_high": 8.5}, *runs).startswith(
        "worse than the best tracked baseline, within"
    )


def test_quantiles_are_compared_by_their_point_forecast(said: Said) -> None:
    found = said(network(REAL, (0.1, 0.5, 0.9)), {"mse": 0.9, "pinball": 5.0}, tracked("ridge", "mse", 2.0, 1.0))
    assert found.startswith("better than the best tracked baseline: mse 0.9 against 1 of ridge")


def test_the_best_baseline_is_chosen_on_validation_and_never_on_test(said: Said) -> None:
    runs = [tracked("good", "accuracy", 0.9, 0.6), tracked("lucky", "accuracy", 0.5, 0.99), tracked("bad", "accuracy", 0.4, 0.4)]
    assert "of good (" in said(network(CLASSES), {"accuracy": 0.5}, *runs)
    runs = [tracked("good", "mse", 1.0, 3.0), tracked("lucky", "mse", 2.0, 0.1)]
    assert "of good (" in said(network(REAL), {"mse": 0.5}, *runs)


def test_a_baseline_measured_on_another_number_of_examples_is_no_comparison(said: Said) -> None:
    partly = tracked("smoke", "accuracy", 0.9, 0.9, num_examples=20)
    assert said(network(CLASSES), {"accuracy": 0.5}, partly).startswith("no baseline is tracked")
    other = tracked("other", "mse", 0.9, 0.9)
    assert said(network(CLASSES), {"accuracy": 0.5}, other).startswith("no baseline is tracked")


def test_a_baseline_is_compared_to_the_others_and_not_to_itself(said: Said) -> None:
    model = Baseline(CLASSES, BaselineSettings("pooled", None, 2))
    own = tracked("own", "accuracy", 0.9, 0.9)
    assert said(model, {"accuracy": 0.9}, own, own="own-0123456789") == "no other baseline is tracked for this test split"
    found = said(model, {"accuracy": 0.9}, own, tracked("mean", "accuracy", 0.2, 0.2), own="own-0123456789")
    assert found == "best other baseline: accuracy 90.00 % against 20.00 % of mean (mean-012)"


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("accuracy", "fraction"),
        ("direction_accuracy", "fraction"),
        ("coverage/90", "fraction"),
        ("rmse", "EUR"),
        ("width/50", "EUR"),
        ("mse", ""),
        ("ic", ""),
        ("wer_new", "fraction"),
        ("cer", "fraction"),
        ("per", "fraction"),
        ("sentence_error", "fraction"),
        ("rougeL", "fraction"),
        ("sacrebleu", ""),
        ("chrf", ""),
    ],
)
def test_fractions_are_written_in_percent_and_errors_in_the_targets_unit(name: str, unit: str) -> None:
    assert Metric.named(name, "EUR").unit == unit


def test_errors_are_written_in_their_order_with_what_was_read(tmp_path: Path) -> None:
    examples = pd.DataFrame({"id": [f"n{i}" for i in range(5)]})
    texts = ["null", "one", "two", "three", "four"]
    data = SimpleNamespace(examples=examples, shown=lambda rows: [texts[row] for row in rows])
    table = pd.DataFrame(
        {
            "example_id": ["n4", "n1", "n3"],
            "target": ["b", "b", "a"],
            "prediction": ["a", "a", "b"],
            "confidence": [0.9, 0.7, 0.6],
        }
    )
    results.write_errors(table, data, tmp_path / "errors.csv")  # type: ignore[arg-type]  # a stand-in
    found = pd.read_csv(tmp_path / "errors.csv")
    assert found["example_id"].tolist() == ["n4", "n1", "n3"]
    assert found["text"].tolist() == ["four", "one", "three"]
    results.write_errors(table.iloc[:0], data, tmp_path / "none.csv")  # type: ignore[arg-type]  # a stand-in
    assert len(pd.read_csv(tmp_path / "none.csv")) == 0


@pytest.mark.parametrize(
    ("scores", "order"),
    [
        # 2/4, 3/3, 1/1, none and 0/0: as many errors as words is worst, and of equals the first comes first
        ({"word_errors": [2, 3, 1, 0, 0], "num_words": [4, 3, 1, 2, 0]}, ["b", "c", "a"]),
        (
            {"phone_errors": [1, 0, 2, 2, 1], "num_phones": [4, 3, 4, 2, 0], "word_errors": 5 * [1], "num_words": 5 * [1]},
            ["d", "e", "c", "a"],
        ),
        ({"chrf": [60.0, 10.0, 99.0, 10.0, 100.0]}, ["b", "d", "a", "c", "e"]),
        ({"chrf": [6.0, 1.0, 9.0, 1.5, 10.0], "rougeL": [0.1, 0.9, 0.0, 0.5, 0.4]}, ["c", "a", "e", "d", "b"]),
    ],
)
def test_the_worst_answers_come_first(scores: dict[str, list[float]], order: list[str]) -> None:
    found = results.worst_answers(pd.DataFrame({"example_id": list("abcde"), **scores}))
    assert found["example_id"].tolist() == order
