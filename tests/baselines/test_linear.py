"""Linear methods against closed forms and numpy's own least squares."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from rnnlab.baselines import linear
from rnnlab.baselines.base import BaselineSettings
from rnnlab.baselines.linear import ALPHAS, HAR, INVERSE_STRENGTHS, Pooled, Window, fitted
from rnnlab.contracts import Batch, DataSpec, Link, Reference

SETTINGS = BaselineSettings("ridge", None, 2)
T, F, D = 3, 4, 2


def spec_of(link: Link = "identity") -> DataSpec:
    return DataSpec("toy", "features", F, "real", D, ("x", "y"), link=link)


def windows(seed: int, count: int, is_positive: bool = False, noise: float = 0.5) -> Batch:
    """Draw windows, targets that follow from them linearly, and references of one scale."""
    random = np.random.default_rng(seed)
    weights = np.random.default_rng(99).normal(size=(T * F, D)) / 4
    inputs = random.normal(size=(count, T, F))
    outputs = 0.3 + inputs.reshape(count, -1) @ weights + noise * random.normal(size=(count, D))
    reference = Reference(torch.tensor([[1.0, -0.5]]).tile(count, 1), torch.tensor([[0.5, 2.0]]).tile(count, 1), torch.ones(count, D))
    targets = torch.tensor(outputs, dtype=torch.float) * reference.scale + reference.offset
    lengths = torch.full((count,), T)
    inputs_BTF = torch.tensor(inputs, dtype=torch.float)
    return Batch(inputs_BTF, lengths, targets.exp() if is_positive else targets, lengths, torch.arange(count), reference)


def split(batch: Batch, size: int) -> list[Batch]:
    parts = []
    for start in range(0, batch.size, size):
        rows = slice(start, start + size)
        reference = None if batch.reference is None else Reference(*(value[rows] for value in vars(batch.reference).values()))
        tensors = {name: value[rows] for name, value in vars(batch).items() if isinstance(value, torch.Tensor)}
        parts.append(replace(batch, reference=reference, **tensors))  # type: ignore[arg-type]  # names of fields that hold tensors
    return parts


def standardised(batch: Batch, is_positive: bool) -> np.ndarray:
    assert batch.reference is not None
    targets = batch.targets.double().log() if is_positive else batch.targets.double()
    return ((targets - batch.reference.offset) / batch.reference.scale).numpy()


def ridge_by_hand(inputs: np.ndarray, targets: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Solve (X'X + alpha I) w = X'y of centred values; the intercept is not punished."""
    centre, mean = inputs.mean(0), targets.mean(0)
    centred = inputs - centre
    weights = np.linalg.solve(centred.T @ centred + alpha * np.eye(inputs.shape[1]), centred.T @ (targets - mean))
    return weights, mean - centre @ weights


@pytest.mark.parametrize("is_positive", [False, True])
def test_ridge_is_the_closed_form_with_the_best_penalty_on_validation(is_positive: bool) -> None:
    train, val, test = windows(0, 60, is_positive), windows(1, 40, is_positive), windows(2, 20, is_positive)
    method = Window(spec_of("exp" if is_positive else "identity"), SETTINGS)
    arrays = method.fit(split(train, 16), split(val, 16))
    flat = {id(batch): batch.inputs.double().numpy().reshape(batch.size, -1) for batch in (train, val, test)}
    targets, errors = standardised(train, is_positive), []
    for alpha in ALPHAS:
        weights, intercept = ridge_by_hand(flat[id(train)], targets, alpha)
        errors.append(np.square(flat[id(val)] @ weights + intercept - standardised(val, is_positive)).mean())
    alpha = ALPHAS[int(np.argmin(errors))]
    assert arrays["alpha"].item() == alpha
    weights, intercept = ridge_by_hand(flat[id(train)], targets, alpha)
    if is_positive:  # the mean of a lognormal: exp(mean + variance / 2), in units of the scale
        intercept = intercept + 0.5 * (targets - flat[id(train)] @ weights - intercept).var(0) * np.array([0.5, 2.0])
    assert method.predict(arrays, test) == pytest.approx(flat[id(test)] @ weights + intercept, abs=1e-5)


def test_half_the_variance_makes_the_forecast_a_mean() -> None:
    train, test = windows(0, 4000, True, noise=1.0), windows(1, 4000, True, noise=1.0)
    method = Window(spec_of("exp"), SETTINGS)
    outputs = torch.tensor(method.predict(method.fit([train], [windows(2, 100, True)]), test))
    assert test.reference is not None
    forecasts = (test.reference.offset + test.reference.scale * outputs).exp().numpy()
    assert (test.targets.numpy() / forecasts).mean(0)[0] == pytest.approx(1, rel=0.05)


def test_one_dimension_gives_one_column() -> None:
    whole = windows(0, 50)
    one = Batch(whole.inputs, whole.input_lengths, whole.targets[:, :1], whole.target_lengths, whole.example_ids)
    method = Window(DataSpec("toy", "features", F, "real", 1, ("x",)), SETTINGS)
    assert method.predict(method.fit([one], [one]), one).shape == (50, 1)


def test_a_regression_on_the_window_is_for_series_whose_windows_have_one_length() -> None:
    series = DataSpec("toy", "features", 2, "real", 1, ("x",), feature_names=("load", "weekday"))
    assert Window(series, SETTINGS).refusal() is None
    sounds = DataSpec("toy", "features", F, "class", 2, ("a", "b"), (1, 1))
    assert Window(sounds, SETTINGS).refusal() == "its sequences have different lengths: choose baseline.kind=pooled"


# Classes


def labelled(seed: int, count: int, num_classes: int, is_ragged: bool = False) -> Batch:
    random = np.random.default_rng(seed)
    targets = random.integers(num_classes, size=count)
    lengths = random.integers(1, T + 1, size=count) if is_ragged else np.full(count, T)
    inputs = random.normal(size=(count, T, F))
    inputs[:, :, 0] += targets[:, None]
    inputs[np.arange(T)[None] >= lengths[:, None]] = 0
    ones = torch.ones(count, dtype=torch.int64)
    return Batch(torch.tensor(inputs, dtype=torch.float), torch.tensor(lengths), torch.tensor(targets), ones, torch.arange(count))


def classes_of(size: int) -> DataSpec:
    return DataSpec("toy", "features", F, "class", size, tuple("abcd"[:size]), (1,) * size)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_logistic_regression_on_the_window_is_scikit_learns_with_the_best_penalty_on_validation(num_classes: int) -> None:
    train, val, test = (labelled(seed, 80, num_classes) for seed in (0, 1, 2))
    method = Window(classes_of(num_classes), SETTINGS)
    arrays = method.fit(split(train, 30), split(val, 30))
    x, x_val, x_test = (batch.inputs.double().numpy().reshape(80, -1) for batch in (train, val, test))
    machines = [LogisticRegression(C=strength, max_iter=2000).fit(x, train.targets) for strength in INVERSE_STRENGTHS]
    best = int(np.argmax([machine.score(x_val, val.targets) for machine in machines]))
    assert arrays["inverse_strength"].item() == INVERSE_STRENGTHS[best]
    outputs = method.predict(arrays, test)
    shares = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
    assert shares == pytest.approx(machines[best].predict_proba(x_test), abs=1e-6)
    assert np.array_equal(outputs.argmax(1), machines[best].predict(x_test))


def test_pooled_features_are_statistics_of_valid_steps_and_the_logarithm_of_their_number() -> None:
    train, val, test = (labelled(seed, 80, 3, is_ragged=True) for seed in (0, 1, 2))

    def by_hand(batch: Batch) -> np.ndarray:
        rows = []
        for values, length in zip(batch.inputs.double().numpy(), batch.input_lengths.tolist(), strict=True):
            columns = [column[:length] for column in values.T]
            statistics = [[f(column) for column in columns] for f in (np.mean, np.std, np.min, np.max)]
            rows.append([*np.concatenate(statistics), np.log(length)])
        return np.array(rows)

    method = Pooled(classes_of(3), SETTINGS)
    arrays = method.fit(split(train, 30), split(val, 30))
    mean, spread = by_hand(train).mean(0), by_hand(train).std(0) + 1e-6
    strength = arrays["inverse_strength"].item()
    machine = LogisticRegression(C=strength, max_iter=2000).fit((by_hand(train) - mean) / spread, train.targets)
    outputs = method.predict(arrays, test)
    shares = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
    assert shares == pytest.approx(machine.predict_proba((by_hand(test) - mean) / spread), abs=1e-4)
    assert (outputs.argmax(1) == test.targets.numpy()).mean() > 0.6


def test_pooling_knows_nothing_of_padding() -> None:
    train = labelled(0, 80, 3, is_ragged=True)
    method = Pooled(classes_of(3), SETTINGS)
    arrays = method.fit([train], [train])
    wider = torch.cat([train.inputs, torch.full((80, 4, F), torch.nan)], 1)
    padded = Batch(wider, train.input_lengths, train.targets, train.target_lengths, train.example_ids)
    assert np.array_equal(method.predict(arrays, padded), method.predict(arrays, train))


def test_validation_chooses_the_penalty_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    train = windows(0, 60)
    vals = [windows(1, 40), windows(2, 5, noise=9.0)]
    found = [Window(spec_of(), SETTINGS).fit([train], [val]) for val in vals]
    assert found[0]["alpha"] != found[1]["alpha"]
    monkeypatch.setattr(linear, "ALPHAS", (10.0,))
    first, second = (Window(spec_of(), SETTINGS).fit([train], [val]) for val in vals)
    assert {name: np.array_equal(value, second[name]) for name, value in first.items()} == dict.fromkeys(first, True)
    monkeypatch.setattr(linear, "INVERSE_STRENGTHS", (1.0,))
    labels = labelled(0, 60, 3)
    first, second = (Pooled(classes_of(3), SETTINGS).fit([labels], [labelled(seed, 20, 3)]) for seed in (1, 2))
    assert {name: np.array_equal(value, second[name]) for name, value in first.items()} == dict.fromkeys(first, True)


@pytest.mark.parametrize("method", [Window, Pooled])
@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_class_without_training_examples_keeps_its_place_and_is_not_forecast(method: type[Window | Pooled], missing: int) -> None:
    train, test = labelled(0, 120, 3), labelled(1, 80, 3)
    kept = train.targets != missing
    parts = {name: value[kept] for name, value in vars(train).items() if isinstance(value, torch.Tensor)}
    made = method(classes_of(3), SETTINGS)
    few = replace(train, **parts)  # type: ignore[arg-type]  # names of fields that hold tensors
    outputs = made.predict(made.fit([few], [test]), test)
    assert outputs.shape == (80, 3)
    assert (outputs.argmax(1) != missing).all()


# HAR

DAYS, HORIZONS = 30, 2
HAR_SPEC = DataSpec(
    "toy", "features", 3, "real", HORIZONS, ("v_1d", "v_5d"), feature_names=("log_return", "log_volatility", "rsi"), link="exp"
)


def variance_windows(seed: int, count: int) -> tuple[Batch, np.ndarray]:
    """Draw a persistent log variance and cut it; return a batch and the log variances of each window."""
    random = np.random.default_rng(seed)
    size = count + DAYS + 5
    log_variance = np.zeros(size)
    for day in range(1, size):
        log_variance[day] = 0.2 + 0.9 * log_variance[day - 1] + 0.4 * random.normal()
    starts = np.arange(count)
    past = log_variance[starts[:, None] + np.arange(DAYS)]
    inputs = random.normal(size=(count, DAYS, 3))
    inputs[:, :, 1] = (past - 1.5) / 0.7  # scaled like any feature
    variance = np.exp(log_variance)
    targets = np.stack([variance[starts + DAYS], np.mean([variance[starts + DAYS + day] for day in range(5)], axis=0)], 1)
    reference = Reference(torch.tensor([[1.0, 1.2]]).tile(count, 1), torch.tensor([[0.8, 0.6]]).tile(count, 1), torch.ones(count, 2))
    lengths = torch.full((count,), DAYS)
    tensors = (torch.tensor(values, dtype=torch.float) for values in (inputs, targets))
    inputs_BTF, targets_BD = tensors
    return Batch(inputs_BTF, lengths, targets_BD, torch.ones_like(lengths), torch.arange(count), reference), past


def test_har_is_least_squares_on_three_means_with_half_the_residual_variance_added() -> None:
    (train, past), (test, test_past) = variance_windows(0, 300), variance_windows(1, 50)
    method = HAR(HAR_SPEC, SETTINGS)
    assert method.refusal() is None
    outputs = method.predict(method.fit(split(train, 64), [test]), test)
    for horizon, (offset, scale) in enumerate([(1.0, 0.8), (1.2, 0.6)]):
        # in the unit of log variance itself, which no scaling of feature or target changes
        terms, unseen = (np.column_stack([np.ones(len(p)), p[:, -1], p[:, -5:].mean(1), p[:, -22:].mean(1)]) for p in (past, test_past))
        log_targets = np.log(train.targets[:, horizon].double().numpy())
        weights, *_ = np.linalg.lstsq(terms, log_targets, rcond=None)
        correction = 0.5 * (log_targets - terms @ weights).var()
        assert correction > 0.01
        assert offset + scale * outputs[:, horizon] == pytest.approx(unseen @ weights + correction, abs=1e-4)


def test_har_is_for_variances_with_their_past_in_the_window() -> None:
    prices = DataSpec("toy", "features", 2, "real", 1, ("x",), feature_names=("log_volatility", "rsi"))
    assert HAR(prices, SETTINGS).refusal() == "it forecasts volatility: choose data.target=volatility"
    without = DataSpec("toy", "features", 2, "real", 1, ("x",), feature_names=("log_return", "rsi"), link="exp")
    assert HAR(without, SETTINGS).refusal() == "it needs the feature log_volatility: add it to data.features"


def test_windows_shorter_than_a_month_are_refused_with_what_to_give() -> None:
    batch, _ = variance_windows(0, 10)
    short = Batch(batch.inputs[:, :10], torch.full((10,), 10), batch.targets, batch.target_lengths, batch.example_ids, batch.reference)
    message = r"baseline.kind=har needs windows of 22 days, these have 10: give data.window_days=22 or more"
    with pytest.raises(ValueError, match=message):
        HAR(HAR_SPEC, SETTINGS).fit([short], [short])


def test_a_fit_that_stops_before_it_has_converged_says_so_in_one_sentence() -> None:
    inputs, targets = np.random.default_rng(0).normal(size=(60, 8)) * 1e3, np.arange(60) % 2
    with pytest.warns(UserWarning, match=r"^LogisticRegression with C=10 stopped after 1 iterations, before it had converged$"):
        fitted(LogisticRegression(C=10.0, max_iter=1), inputs, targets)
