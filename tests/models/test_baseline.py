"""`model=baseline`: which method is chosen, what is refused, and that nothing is lost between fitting and serving."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rnnlab.baselines.base import BaselineSettings
from rnnlab.config import Config, Node
from rnnlab.contracts import Batch, DataSpec, Decoded, Hypothesis, Reference
from rnnlab.data.synthetic.adding import AddingReader
from rnnlab.evaluation.bundle import load_bundle, write_bundle
from rnnlab.evaluation.evaluate import answer
from rnnlab.models.baseline import METHODS, Baseline

VOLATILITY = ("log_return", "log_volatility")
SOUNDS = DataSpec("speech", "features", 2, "class", 2, ("a", "b"), (5, 5))
TEXTS = DataSpec("text", "tokens", 9, "class", 2, ("a", "b"), (5, 5))
DIRECTION = DataSpec("stock", "features", 2, "class", 2, ("down", "up"), (5, 5), feature_names=VOLATILITY)
RETURNS = DataSpec("stock", "features", 2, "real", 1, ("return_1d",), feature_names=VOLATILITY)
VARIANCE = DataSpec("stock", "features", 2, "real", 1, ("volatility_1d",), feature_names=VOLATILITY, link="exp")
WITHOUT = DataSpec("stock", "features", 2, "real", 1, ("volatility_1d",), feature_names=("log_return", "rsi"), link="exp")
LOAD = DataSpec("series", "features", 2, "real", 2, ("target_1", "target_24"), feature_names=("load", "weekday_sin"))
SPOKEN = DataSpec("dictation", "features", 2, "tokens", 9, goal="transcribe")
WRITTEN = DataSpec("translation", "tokens", 9, "tokens", 9, goal="translate")
ADDING = DataSpec("adding", "features", 2, "real", 1, ("sum",), feature_names=("value", "mark"), memoryless=((1, (1.0,)),))
SPECS = {"sounds": SOUNDS, "texts": TEXTS, "direction": DIRECTION, "returns": RETURNS, "variance": VARIANCE, "load": LOAD, "adding": ADDING}
OF_VECTORS = ("summary", "warping")
FITTING = {
    "sounds": ["mean", "pooled"],
    "texts": ["mean", "tfidf", "nb_svm"],
    "direction": ["mean", "logistic", "pooled", *OF_VECTORS],
    "returns": ["persistence", "mean", "ridge", *OF_VECTORS],
    "variance": ["persistence", "mean", "ridge", "har", *OF_VECTORS],
    "load": ["persistence", "mean", "ridge", *OF_VECTORS],
    "adding": ["persistence", "mean", "memoryless", "ridge", *OF_VECTORS],
}


def make(spec: DataSpec, kind: str) -> Baseline:
    return Baseline(spec, BaselineSettings(kind, None, 1))


def batches_of(spec: DataSpec, seed: int = 0, num_batches: int = 3) -> list[Batch]:
    """Draw batches of what a data set is."""
    torch.manual_seed(seed)
    found = []
    for _ in range(num_batches):
        lengths = torch.full((20,), 24)
        inputs = torch.randint(0, 9, (20, 24)) if spec.input_kind == "tokens" else torch.randn(20, 24, spec.input_size)
        if spec.target_kind == "class":
            found.append(Batch(inputs, lengths, torch.randint(2, (20,)), torch.ones_like(lengths), torch.arange(20)))
            continue
        size = (20, spec.target_size)
        reference = Reference(torch.full(size, 0.5), torch.full(size, 2.0), torch.rand(size) + 0.5)
        found.append(Batch(inputs, lengths, torch.rand(size) + 0.5, torch.ones_like(lengths), torch.arange(20), reference))
    return found


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        (SOUNDS, "pooled"),
        (TEXTS, "tfidf"),
        (DIRECTION, "logistic"),
        (RETURNS, "ridge"),
        (VARIANCE, "har"),
        (WITHOUT, "ridge"),
        (LOAD, "ridge"),
        (ADDING, "memoryless"),
    ],
)
def test_without_a_word_the_method_is_that_which_suits_the_data(spec: DataSpec, kind: str) -> None:
    assert make(spec, "auto").kind == kind


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kinds in FITTING.items() for kind in kinds])
def test_every_method_answers_the_data_it_is_for(name: str, kind: str) -> None:
    spec = SPECS[name]
    model = make(spec, kind)
    model.fit(batches_of(spec), batches_of(spec, 1))
    (batch,) = batches_of(spec, 2, 1)
    outputs = model.predict(batch)
    assert isinstance(outputs, torch.Tensor)
    assert outputs.shape == (20, model.task.output_size) and outputs.dtype == (
        torch.float64 if spec.target_kind == "real" else torch.float32
    )
    assert outputs.isfinite().all()
    assert model.task.loss(outputs, batch).isfinite()


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in SPECS for kind in dict(METHODS) if kind not in FITTING[name]])
def test_a_method_that_is_not_for_the_data_is_refused_with_what_to_choose(name: str, kind: str) -> None:
    data = SPECS[name].name
    message = rf"baseline.kind={kind} (is not for data={data}. Allowed: auto, (mean|persistence), |cannot answer data={data}: .*choose)"
    with pytest.raises(ValueError, match=message):
        make(SPECS[name], kind)


def test_an_unknown_method_is_refused_with_those_that_fit() -> None:
    with pytest.raises(
        ValueError, match=r"baseline.kind=arima is not for data=series. Allowed: auto, persistence, mean, ridge, har, summary, warping$"
    ):
        make(LOAD, "arima")
    with pytest.raises(ValueError, match=r"baseline.kind=har is not for data=text. Allowed: auto, mean, tfidf, nb_svm$"):
        make(TEXTS, "har")


def test_a_method_that_fits_but_cannot_says_why() -> None:
    message = r"baseline.kind=har cannot answer data=series: it forecasts volatility: choose data.target=volatility"
    with pytest.raises(ValueError, match=message):
        make(LOAD, "har")


def test_fitting_takes_iterables_that_can_be_walked_once() -> None:
    model = make(TEXTS, "tfidf")
    model.fit(iter(batches_of(TEXTS)), iter(batches_of(TEXTS, 1)))
    assert {"columns", "weights"} <= set(model.arrays)


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kinds in FITTING.items() for kind in kinds])
def test_a_bundle_gives_the_same_answers_to_the_bit_and_holds_no_code(
    name: str, kind: str, tmp_path: Path, composed_model: Callable[[str], Config]
) -> None:
    spec = SPECS[name]
    model = make(spec, kind)
    model.fit(batches_of(spec), batches_of(spec, 1))
    write_bundle(tmp_path, model, Node("model", composed_model(kind)), AddingReader(), "abc")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bundle.json", "weights.safetensors"]
    for file in tmp_path.iterdir():
        content = file.read_bytes()
        assert content[:2] != b"PK" and not content.startswith(b"\x80") and b"sklearn" not in content
    loaded = load_bundle(tmp_path).model
    assert isinstance(loaded, Baseline)
    assert loaded.kind == model.kind and not loaded.training
    assert {key: value.dtype for key, value in loaded.arrays.items()} == {key: value.dtype for key, value in model.arrays.items()}
    (batch,) = batches_of(spec, 2, 1)
    pd.testing.assert_frame_equal(answer(loaded, batch), answer(model, batch), check_exact=True)


@pytest.fixture
def composed_model() -> Callable[[str], Config]:
    """Return the node of the configuration that makes a baseline."""

    def node(kind: str) -> Config:
        return {"_target_": "rnnlab.models.baseline.Baseline", "baseline": {"kind": kind, "ngrams": None, "min_count": 1}}

    return node


def test_a_baseline_has_nothing_to_train() -> None:
    model = make(RETURNS, "ridge")
    model.fit(batches_of(RETURNS), batches_of(RETURNS, 1))
    assert list(model.parameters()) == []
    assert all(isinstance(value, np.ndarray) for value in model.arrays.values())


def test_a_baseline_fitted_anew_forgets_the_first_fit() -> None:
    twice, once = make(RETURNS, "ridge"), make(RETURNS, "ridge")
    twice.fit(batches_of(RETURNS), batches_of(RETURNS, 1))
    for model in (twice, once):
        model.fit(batches_of(RETURNS, 5), batches_of(RETURNS, 6))
    assert {key: np.array_equal(value, once.arrays[key]) for key, value in twice.arrays.items()} == dict.fromkeys(once.arrays, True)


def test_data_that_no_method_answers_are_refused_as_such() -> None:
    tagged = DataSpec("tags", "tokens", 9, "class_per_step", 2, ("a", "b"), (5, 5))
    with pytest.raises(ValueError, match=r"data=tags.*no baseline"):
        make(tagged, "auto")


@pytest.mark.parametrize("spec", [SPOKEN, WRITTEN], ids=["spoken", "written"])
def test_sequences_of_tokens_are_answered_by_the_nearest_example(spec: DataSpec) -> None:
    model = make(spec, "auto")
    assert model.kind == "nearest"
    torch.manual_seed(0)
    lengths = torch.tensor([4, 2, 5])
    inputs = torch.randint(1, 9, (3, 5)) if spec.input_kind == "tokens" else torch.randn(3, 5, 2)
    targets = torch.tensor([[4, 5, 0], [6, 0, 0], [7, 8, 4]])
    batch = Batch(inputs, lengths, targets, torch.tensor([2, 1, 3]), torch.arange(3))
    model.fit([batch], [batch])
    found = model.predict(batch)
    assert isinstance(found, Decoded) and found.loss is None
    assert found.hypotheses == [[Hypothesis([4, 5], 0.0)], [Hypothesis([6], 0.0)], [Hypothesis([7, 8, 4], 0.0)]]
    loaded = make(spec, "nearest")
    loaded.load_state_dict(model.state_dict())
    assert loaded.predict(batch) == found


@pytest.mark.parametrize("kind", [kind for kind in dict(METHODS) if kind != "nearest"])
def test_no_other_method_answers_with_sequences_of_tokens(kind: str) -> None:
    with pytest.raises(ValueError, match=rf"^baseline.kind={kind} is not for data=translation. Allowed: auto, nearest$"):
        make(WRITTEN, kind)
