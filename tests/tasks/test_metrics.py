"""The registry of metrics covers every name that a task gives, and only its own."""

import pytest
from mlflow.utils.validation import _validate_metric_name

from rnnlab.tasks import Metric
from rnnlab.tasks.metrics import ENTRIES, LISTED, UNKNOWN, direction_of, entry_of, interval_of, is_averaged, legal_names, written


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("f1/zero", "f1"),
        ("f1_macro", "f1"),
        ("wer_new", "wer"),
        ("rouge1", "rouge"),
        ("rank_ic_ir", "rank_ic"),
        ("coverage/90", "coverage"),
    ],
)
def test_an_entry_covers_longer_names_that_begin_with_its_own(name: str, entry: str) -> None:
    assert entry_of(name).name == entry


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ((0.123456789,), ["0.12346"]),
        ((123457543.19123073, 123457542.67), ["123457543.19", "123457542.67"]),
        ((123457543.19123073,), ["123457543"]),
        ((78.194, 78.191), ["78.194", "78.191"]),
        ((0.5516004, 0.5516001), ["0.5516004", "0.5516001"]),
        ((2.0, 2.0), ["2", "2"]),
        ((1.0, 1.0 + 2**-52), ["1", "1.0000000000000002"]),
        ((float("nan"), 1.5), ["nan", "1.5"]),
    ],
)
def test_numbers_beside_each_other_are_written_apart(values: tuple[float, ...], texts: list[str]) -> None:
    assert written(*values) == texts


LABELS = [
    "zero",
    "a/b",
    "c++ (x)",
    "größe",
    "n-1.5",
    "体育",
    "财经",
    "C#",
    "C+",
    "C_",
    "C_ 23",
    ".",
    "..",
    "",
    "?",
    "!",
    "a" * 300,
    "a" * 301,
    "A",
    "a",
]


def test_as_many_legal_names_as_labels_come_out_and_legal_ones_stay() -> None:
    names = legal_names(LABELS)
    for name in names:
        _validate_metric_name(f"f1/{name}")  # MLflow's own check
    assert len(set(names)) == len(LABELS)
    assert names[:12] == ["zero", "a_b", "c__ _x_", "größe", "n-1.5", "体育", "财经", "C_ 23_", "C_ 2b", "C_", "C_ 23", "_ 2e"]
    assert names[-2:] == ["A", "a"]


def test_a_label_whose_name_nobody_shares_is_named_alone() -> None:
    assert legal_names(["C#", "D"]) == ["C_", "D"] and legal_names(["C#", "C+"]) == ["C_ 23", "C_ 2b"]


@pytest.mark.parametrize("name", ["persistence", "lossless", "length_ratio", "num_examples", "val/accuracy"])
def test_a_name_that_only_looks_alike_is_unknown(name: str) -> None:
    assert entry_of(name) is UNKNOWN


def test_every_name_has_one_entry_and_is_listed_once() -> None:
    for entry in ENTRIES:
        assert [other.name for other in ENTRIES if entry_of(entry.name) is other] == [entry.name]
        assert all(entry_of(name) is entry for name in entry.listed)
    assert len(set(LISTED)) == len(LISTED)


def test_a_coverage_has_a_level_to_meet_and_no_direction() -> None:
    assert [direction_of(name) for name in ("coverage/50", "width/50", "nll_per_sequence", "chrf")] == [None, None, "min", "max"]


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        (Metric.named("accuracy"), 0.12345, "12.35 %"),
        (Metric.named("rmse", "EUR"), 1234.567, "1234.6 EUR"),
        (Metric.named("mse", "EUR"), 0.000012345678, "1.2346e-05"),
        (Metric.named("nll"), 7.5, "7.5 nats"),
    ],
)
def test_fractions_are_written_in_percent_and_others_with_their_unit(metric: Metric, value: float, text: str) -> None:
    assert metric.shown(value) == text


def test_intervals_are_found_by_the_metric_they_bound_and_are_not_averaged() -> None:
    numbers = {"wer": 0.2, "wer_low": 0.1, "wer_high": 0.3, "direction_low": 0.4, "direction_high": 0.6, "num_new": 7.0}
    assert interval_of("wer", numbers) == (0.1, 0.3)
    assert interval_of("direction_accuracy", numbers) == (0.4, 0.6)
    assert interval_of("cer", numbers) is None
    assert [name for name in numbers if is_averaged(name)] == ["wer"]
