"""Sets of labels per step, from the step before: each label by itself, or all of them by logistic regression."""

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from rnnlab.baselines.base import Arrays, Method
from rnnlab.contracts import Batch, InputKind, TargetKind

PENALTIES = (100.0, 30.0, 10.0, 3.0, 1.0)
NUM_ITERATIONS = 200


class Sets(Method):
    """Answer from one step's inputs alone, where inputs are the labels of the step before."""

    input_kinds: ClassVar[tuple[InputKind, ...]] = ("features",)
    target_kinds: ClassVar[tuple[TargetKind, ...]] = ("labels_per_step",)

    def refusal(self) -> str | None:
        return None if self.spec.is_causal and self.spec.input_size == self.spec.target_size else "its inputs are not its last targets"


class Markov(Sets):
    """Count for each label how often it holds after it did, and after it did not (a Markov chain of two states; add-one)."""

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        inputs_NC, targets_NC = known_steps(train)
        log_odds = []
        for is_before_NC in (inputs_NC == 0, inputs_NC > 0):
            num_C, num_on_C = is_before_NC.sum(0), (targets_NC * is_before_NC).sum(0, dtype=float)
            log_odds.append(np.log((num_on_C + 1) / (num_C - num_on_C + 1)))
        return {"log_odds_2C": np.stack(log_odds)}

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        """Return log-odds, (B, T, C)."""
        off_C, on_C = arrays["log_odds_2C"]
        return np.where(batch.inputs.numpy() > 0, on_C, off_C)


class FrameLogistic(Sets):
    """Regress each label on all labels of the step before: logistic, L2, the penalty chosen by likelihood on validation.

    Each label's intercept sees two steps more, in which nothing sounded before: one with the label and one without. So a label that
    training lacks keeps a chance, and without weights its chance is the add-one frequency.
    """

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        """Fit all labels at once, from the strongest penalty to the weakest."""
        inputs_NC, targets_NC = known_steps(train)
        val_inputs_NC, val_targets_NC = known_steps(val)
        weights_CK = np.zeros((targets_NC.shape[1], inputs_NC.shape[1] + 1))
        best: tuple[float, np.ndarray, float] | None = None
        for penalty in PENALTIES:
            weights_CK = _fitted(weights_CK, inputs_NC, targets_NC, penalty)
            loss = _nats(_log_odds(weights_CK, val_inputs_NC), val_targets_NC)
            if best is None or loss < best[0]:
                best = (loss, weights_CK, penalty)
        assert best is not None
        return {"weights": best[1][:, :-1], "intercept": best[1][:, -1], "penalty": np.array([best[2]])}

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        """Return log-odds, (B, T, C)."""
        outputs: np.ndarray = batch.inputs.double().numpy() @ arrays["weights"].T + arrays["intercept"]
        return outputs


def known_steps(batches: Iterable[Batch]) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets of all steps whose targets are known, (N, F) and (N, C) float32."""
    inputs, targets = [], []
    for batch in batches:
        for values_TF, answers_TC, length in zip(batch.inputs.numpy(), batch.targets.numpy(), batch.target_lengths.tolist(), strict=True):
            inputs.append(values_TF[:length])
            targets.append(answers_TC[:length])
    return np.concatenate(inputs), np.concatenate(targets)


def _fitted(first_CK: np.ndarray, inputs_NC: np.ndarray, targets_NC: np.ndarray, penalty: float) -> np.ndarray:
    """Minimise nats + penalty / 2 * squared weights, by L-BFGS; the last column is the intercept, which is not penalised."""

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights_CK = flat.reshape(first_CK.shape)
        outputs_NC, intercept_C = _log_odds(weights_CK, inputs_NC), weights_CK[:, -1]
        errors_NC = expit(outputs_NC) - targets_NC
        gradient_CK = np.concatenate([errors_NC.T @ inputs_NC, errors_NC.sum(0)[:, None]], axis=1).astype(float)
        gradient_CK[:, :-1] += penalty * weights_CK[:, :-1]
        gradient_CK[:, -1] += 2 * expit(intercept_C) - 1
        pseudo = -log_expit(intercept_C) - log_expit(-intercept_C)
        loss = _nats(outputs_NC, targets_NC) + pseudo.sum() + penalty / 2 * np.square(weights_CK[:, :-1]).sum()
        return float(loss), gradient_CK.ravel()

    found = minimize(objective, first_CK.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": NUM_ITERATIONS})
    weights_CK: np.ndarray = found.x.reshape(first_CK.shape)
    return weights_CK


def _log_odds(weights_CK: np.ndarray, inputs_NC: np.ndarray) -> np.ndarray:
    outputs_NC: np.ndarray = inputs_NC @ weights_CK[:, :-1].T.astype(np.float32) + weights_CK[:, -1].astype(np.float32)
    return outputs_NC


def _nats(outputs_NC: np.ndarray, targets_NC: np.ndarray) -> float:
    """Sum the negative log-likelihood over steps and labels."""
    return -float((log_expit(-outputs_NC) + targets_NC * outputs_NC).sum(dtype=float))
