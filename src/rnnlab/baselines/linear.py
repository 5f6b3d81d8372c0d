"""Linear methods on numbers: ridge or logistic regression on the whole window, HAR, and logistic regression on pooled features."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np

from rnnlab.baselines.base import Arrays, Method, classes, standardised_targets
from rnnlab.contracts import Batch, InputKind, TargetKind

if TYPE_CHECKING:  # they take long to import, and a run that asks which methods there are fits none
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

ALPHAS = (1.0, 10.0, 100.0, 1000.0, 10_000.0, 100_000.0)
INVERSE_STRENGTHS = (0.01, 0.1, 1.0, 10.0)
HAR_DAYS = (1, 5, 22)
NEVER = -1e4
"""Log-odds of a class that training lacks."""

Machine = TypeVar("Machine", "LogisticRegression", "LinearSVC")


class Window(Method):
    """Regress on all features of all steps of a window of fixed length: ridge for numbers, logistic for classes.

    The strength of the penalty is chosen on validation. For targets that are positive the regression is of their logarithm, and half
    the residual variance is added, which makes the forecast a mean and not a median (lognormal residuals).
    """

    input_kinds: ClassVar[tuple[InputKind, ...]] = ("features",)
    target_kinds: ClassVar[tuple[TargetKind, ...]] = ("real", "class")

    def refusal(self) -> str | None:
        is_even = self.spec.feature_names and not self.spec.is_ragged
        return None if is_even else "its sequences have different lengths: choose baseline.kind=pooled"

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        """Fit, choosing the penalty on validation."""
        inputs = _windows(train)
        if self.spec.target_kind == "class":
            return logistic(inputs, classes(train), _windows(val), classes(val), self.spec.target_size)
        targets, val_targets = standardised_targets(train, self.spec), standardised_targets(val, self.spec)
        found = ridge(inputs, targets, _windows(val), val_targets)
        residuals = targets - (inputs @ found["weights"].T + found["intercept"])
        return found | {"intercept": found["intercept"] + mean_correction(residuals, train, self.spec.link == "exp")}

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        outputs: np.ndarray = _windows([batch]) @ arrays["weights"].T + arrays["intercept"]
        return outputs


class Ridge(Window):
    """The regression of numbers."""

    target_kinds: ClassVar[tuple[TargetKind, ...]] = ("real",)


class Logistic(Window):
    """The regression of classes."""

    target_kinds: ClassVar[tuple[TargetKind, ...]] = ("class",)


class HAR(Method):
    """Regress log variance on the last day's, the last 5 days' and the last 22 days' mean log variance (Corsi 2009, in logarithms).

    Ordinary least squares, one equation for each horizon; half the residual variance is added, so that the forecast is a mean.
    """

    input_kinds: ClassVar[tuple[InputKind, ...]] = ("features",)
    target_kinds: ClassVar[tuple[TargetKind, ...]] = ("real",)

    def refusal(self) -> str | None:
        if self.spec.link != "exp":
            return "it forecasts volatility: choose data.target=volatility"
        if "log_volatility" not in self.spec.feature_names:
            return "it needs the feature log_volatility: add it to data.features"
        return None

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        import statsmodels.api

        terms = np.concatenate([self._terms(batch) for batch in train])
        targets = standardised_targets(train, self.spec)
        fits = [statsmodels.api.OLS(column, terms).fit() for column in targets.T]
        weights = np.stack([fit.params for fit in fits])
        weights[:, 0] += mean_correction(targets - terms @ weights.T, train, is_log=True)
        return {"weights": weights}

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        outputs: np.ndarray = self._terms(batch) @ arrays["weights"].T
        return outputs

    def _terms(self, batch: Batch) -> np.ndarray:
        if batch.inputs.shape[1] < max(HAR_DAYS) or (batch.input_lengths < max(HAR_DAYS)).any():
            raise ValueError(
                f"baseline.kind=har needs windows of {max(HAR_DAYS)} days, these have {int(batch.input_lengths.min())}: "
                f"give data.window_days={max(HAR_DAYS)} or more"
            )
        log_variance_BT = batch.inputs[:, :, self.spec.feature_names.index("log_volatility")].double().numpy()
        means = [log_variance_BT[:, -days:].mean(1) for days in HAR_DAYS]
        return np.stack([np.ones(batch.size), *means], axis=1)


class Pooled(Method):
    """Logistic regression on mean, spread, smallest and largest value of each feature over time, and the logarithm of the length."""

    input_kinds: ClassVar[tuple[InputKind, ...]] = ("features",)
    target_kinds: ClassVar[tuple[TargetKind, ...]] = ("class",)

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        """Fit, standardised on training data, choosing the penalty on validation."""
        inputs = np.concatenate([_pooled(batch) for batch in train])
        mean, spread = inputs.mean(0), inputs.std(0) + 1e-6
        val_inputs = (np.concatenate([_pooled(batch) for batch in val]) - mean) / spread
        fitted = logistic((inputs - mean) / spread, classes(train), val_inputs, classes(val), self.spec.target_size)
        return {**fitted, "mean": mean, "spread": spread}

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        inputs = (_pooled(batch) - arrays["mean"]) / arrays["spread"]
        outputs: np.ndarray = inputs @ arrays["weights"].T + arrays["intercept"]
        return outputs


class Summarised(Method):
    """Regress on each feature's mean, spread, smallest, largest, first and last value and slope, and the logarithm of the length.

    Logistic for classes, ridge for numbers; the strength of the penalty is chosen on validation.
    """

    input_kinds: ClassVar[tuple[InputKind, ...]] = ("features",)
    target_kinds: ClassVar[tuple[TargetKind, ...]] = ("class", "real")

    def refusal(self) -> str | None:
        return None if self.spec.feature_names else "its features have no names: choose baseline.kind=pooled"

    def fit(self, train: list[Batch], val: list[Batch]) -> Arrays:
        """Fit, standardised on training data, choosing the penalty on validation."""
        inputs = np.concatenate([_summary(batch) for batch in train])
        mean, spread = inputs.mean(0), inputs.std(0) + 1e-6
        inputs, val_inputs = (inputs - mean) / spread, (np.concatenate([_summary(batch) for batch in val]) - mean) / spread
        if self.spec.target_kind == "class":
            found = logistic(inputs, classes(train), val_inputs, classes(val), self.spec.target_size)
        else:
            found = ridge(inputs, standardised_targets(train, self.spec), val_inputs, standardised_targets(val, self.spec))
            residuals = standardised_targets(train, self.spec) - inputs @ found["weights"].T - found["intercept"]
            found["intercept"] = found["intercept"] + mean_correction(residuals, train, self.spec.link == "exp")
        return {**found, "mean": mean, "spread": spread}

    def predict(self, arrays: Arrays, batch: Batch) -> np.ndarray:
        inputs = (_summary(batch) - arrays["mean"]) / arrays["spread"]
        outputs: np.ndarray = inputs @ arrays["weights"].T + arrays["intercept"]
        return outputs


def ridge(inputs: np.ndarray, targets: np.ndarray, val_inputs: np.ndarray, val_targets: np.ndarray) -> Arrays:
    """Fit ridge regression, the penalty chosen by squared error on validation."""
    from sklearn import linear_model

    best: tuple[float, float, linear_model.Ridge] | None = None
    for alpha in ALPHAS:
        found = linear_model.Ridge(alpha=alpha).fit(inputs, targets)
        error = float(np.square(found.predict(val_inputs).reshape(val_targets.shape) - val_targets).mean())
        if best is None or error < best[0]:
            best = (error, alpha, found)
    assert best is not None
    return {"weights": np.atleast_2d(best[2].coef_), "intercept": np.atleast_1d(best[2].intercept_), "alpha": np.array([best[1]])}


def logistic(inputs: np.ndarray, targets: np.ndarray, val_inputs: np.ndarray, val_targets: np.ndarray, num_classes: int) -> Arrays:
    """Fit logistic regression, the penalty chosen by accuracy on validation; weights for every class, of two the first zero."""
    from sklearn.linear_model import LogisticRegression

    best: tuple[float, float, LogisticRegression] | None = None
    for strength in INVERSE_STRENGTHS:
        found = fitted(LogisticRegression(C=strength, max_iter=2000), inputs, targets)
        accuracy = float(found.score(val_inputs, val_targets))
        if best is None or accuracy > best[0]:
            best = (accuracy, strength, found)
    assert best is not None
    weights, intercept = every_class(best[2], num_classes)
    return {"weights": weights, "intercept": intercept, "inverse_strength": np.array([best[1]])}


def fitted(machine: Machine, inputs: "np.ndarray | csr_matrix", targets: np.ndarray) -> Machine:
    """Fit a classifier and return it; where it stops before it has converged, warn in one sentence."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        machine.fit(inputs, targets)
    for each in caught:
        if not issubclass(each.category, ConvergenceWarning):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    if any(issubclass(each.category, ConvergenceWarning) for each in caught):
        name, strength, most = type(machine).__name__, machine.C, machine.max_iter
        warnings.warn(f"{name} with C={strength:g} stopped after {most} iterations, before it had converged", stacklevel=2)
    return machine


def every_class(found: "LogisticRegression", num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return weights and intercept of every class; one that training lacks is never chosen, and of two the first has weights of zero."""
    weights, intercept = found.coef_, found.intercept_
    if len(weights) == 1:
        weights, intercept = np.concatenate([np.zeros_like(weights), weights]), np.concatenate([np.zeros_like(intercept), intercept])
    all_weights, all_intercepts = np.zeros((num_classes, weights.shape[1])), np.full(num_classes, NEVER)
    all_weights[found.classes_], all_intercepts[found.classes_] = weights, intercept
    return all_weights, all_intercepts


def mean_correction(residuals_ND: np.ndarray, batches: Sequence[Batch], is_log: bool) -> np.ndarray:
    """Return what must be added to a standardised log forecast to make its exponential a mean: half the variance of the residuals."""
    if not is_log:
        return np.zeros(residuals_ND.shape[1])
    scale = 1.0 if batches[0].reference is None else batches[0].reference.scale[0].double().numpy()
    corrections: np.ndarray = 0.5 * residuals_ND.var(0) * scale
    return corrections


def _windows(batches: list[Batch]) -> np.ndarray:
    return np.concatenate([batch.inputs.flatten(1).double().numpy() for batch in batches])


def _pooled(batch: Batch) -> np.ndarray:
    rows = []
    for values_TF, length in zip(batch.inputs.double().numpy(), batch.input_lengths.tolist(), strict=True):
        part = values_TF[:length]
        rows.append(np.concatenate([part.mean(0), part.std(0), part.min(0), part.max(0), [np.log(length)]]))
    return np.stack(rows)


def _summary(batch: Batch) -> np.ndarray:
    rows = []
    for values_TF, length in zip(batch.inputs.double().numpy(), batch.input_lengths.tolist(), strict=True):
        part = values_TF[:length]
        times = np.arange(length) - (length - 1) / 2
        slope = times @ part / max(float(times @ times), 1.0)
        rows.append(np.concatenate([part.mean(0), part.std(0), part.min(0), part.max(0), part[0], part[-1], slope, [np.log(length)]]))
    return np.stack(rows)
