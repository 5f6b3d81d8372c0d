"""`model=baseline`: a baseline, fitted, measured, tracked and kept like any network; no result stands without one beside it."""

from collections.abc import Iterable
from typing import final

import numpy as np
import torch
from torch import Tensor

from rnnlab.baselines.bag_of_words import NBSVM, TfIdf
from rnnlab.baselines.base import BaselineSettings, Method
from rnnlab.baselines.constant import Mean, Memoryless, Persistence
from rnnlab.baselines.events import MarkovChain, Popularity
from rnnlab.baselines.label_sets import FrameLogistic, Markov
from rnnlab.baselines.language import KneserNey, Unigram
from rnnlab.baselines.lead import Lead
from rnnlab.baselines.linear import HAR, Logistic, Pooled, Ridge, Summarised
from rnnlab.baselines.nearest import Nearest
from rnnlab.baselines.series import Climatology, Drift, LinearPast, Seasonal
from rnnlab.baselines.tags import HiddenMarkov, MostFrequentTag
from rnnlab.baselines.warping import Warping
from rnnlab.contracts import PAD, Batch, DataSpec, Decoded, Hypothesis
from rnnlab.models.base import FittedOnce
from rnnlab.tasks import Regularisation, make_task

METHODS: tuple[tuple[str, type[Method]], ...] = (
    ("persistence", Persistence),
    ("mean", Mean),
    ("memoryless", Memoryless),
    ("ridge", Ridge),
    ("logistic", Logistic),
    ("har", HAR),
    ("pooled", Pooled),
    ("summary", Summarised),
    ("warping", Warping),
    ("tfidf", TfIdf),
    ("nb_svm", NBSVM),
    ("nearest", Nearest),
    ("markov", Markov),
    ("markov", MarkovChain),
    ("frame_logistic", FrameLogistic),
    ("unigram", Unigram),
    ("kneser_ney", KneserNey),
    ("seasonal", Seasonal),
    ("drift", Drift),
    ("climatology", Climatology),
    ("linear", LinearPast),
    ("most_frequent_tag", MostFrequentTag),
    ("hidden_markov", HiddenMarkov),
    ("popularity", Popularity),
    ("lead", Lead),
)
"""The value of `baseline.kind` and its method; of two with one name each is for other data."""


@final
class Baseline(FittedOnce):
    """Predict by a baseline.

    Args:
        spec: of the data.
        baseline: the method and its settings.

    Raises:
        ValueError: if the method cannot predict such data.
    """

    def __init__(self, spec: DataSpec, baseline: BaselineSettings) -> None:
        super().__init__(spec, make_task(spec, Regularisation(0.0, "none", 0.0)))
        self.kind = _suitable(spec) if baseline.kind == "auto" else baseline.kind
        self.method = _make(self.kind, spec, baseline)

    def fit(self, train: Iterable[Batch], val: Iterable[Batch]) -> None:
        """Fit on training batches, not augmented; validation batches choose settings."""
        for name, value in self.method.fit(list(train), list(val)).items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value)))

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The fitted arrays."""
        return {name: value.numpy() for name, value in self.named_buffers()}

    def predict(self, batch: Batch) -> Tensor | Decoded:
        outputs = self.method.predict(self.arrays, batch.to(torch.device("cpu")))
        if self.spec.target_kind == "tokens":
            words = [()] * batch.size if batch.copies is None else batch.copies.words
            answers = zip(outputs.tolist(), words, strict=True)
            return Decoded([[Hypothesis([token for token in tokens if token != PAD], 0.0, of_input)] for tokens, of_input in answers])
        dtype = torch.double if self.spec.target_kind == "real" else torch.float
        return torch.from_numpy(np.ascontiguousarray(outputs)).to(batch.inputs.device, dtype)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: object) -> None:
        """Take what was fitted, whatever its size."""
        for name, value in state_dict.items():
            self.register_buffer(name, value)


def _suitable(spec: DataSpec) -> str:
    """Choose by what the data are."""
    if spec.memoryless:
        return "memoryless"
    if spec.target_kind == "tokens":
        return "nearest"
    if spec.target_kind == "labels_per_step":
        return "frame_logistic"
    if spec.goal == "continue":
        return "kneser_ney"
    if spec.scheme:
        return "hidden_markov"
    if spec.ranks:
        return "markov"
    if spec.target_kind == "real":
        if spec.is_ragged:
            return "summary"
        if spec.is_path:
            return "linear"
        return "har" if HAR(spec, BaselineSettings("har", None, 1)).refusal() is None else "ridge"
    if spec.input_kind == "tokens":
        return "tfidf"
    if not spec.feature_names:
        return "pooled"
    return "summary" if spec.is_ragged else "logistic"


def unanswerable(spec: DataSpec) -> str:
    """Say why no baseline can answer such data by itself; empty where one can."""
    try:
        _make(_suitable(spec), spec, BaselineSettings("auto", None, 1))
    except ValueError as error:
        return str(error)
    return ""


def _make(kind: str, spec: DataSpec, settings: BaselineSettings) -> Method:
    fitting = {name: method for name, method in METHODS if method.is_offered(spec)}
    if not fitting:
        raise ValueError(f"data={spec.name}: there is no baseline for such targets")
    if kind not in fitting:
        raise ValueError(f"baseline.kind={kind} is not for data={spec.name}. Allowed: auto, {', '.join(fitting)}")
    method = fitting[kind](spec, settings)
    if refusal := method.refusal():
        raise ValueError(f"baseline.kind={kind} cannot answer data={spec.name}: {refusal}")
    return method
