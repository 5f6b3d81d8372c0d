"""Which frames, days or words carried a decision: integrated gradients (Sundararajan et al. 2017, eq. 1).

With F what is explained, x the input and x' a baseline that says nothing, the share of input i is

    a_i = (x_i - x'_i) * integral from 0 to 1 of dF/dx_i at x' + u (x - x') du

and the shares of all inputs add up to F(x) - F(x') (completeness, proposition 1). The integral is taken by Gauss and Legendre's rule, with
twice the points until that sum is met.

    x    features as the network gets them; of tokens the vectors that the front end makes of them
    x'   zeros: of standardised features their mean, of tokens no word at all; padding is zero in both, so its share is zero, exactly
    F    of classes the log-odds ln p / (1 - p) of the predicted class, which doesn't level off where the network is sure (nats);
         of forecasts the forecast itself, the median of quantiles (in the target's unit, what follows from the past alone held fixed)
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from rnnlab.contracts import Batch, Reference, zero_padding
from rnnlab.insight.replay import evaluating
from rnnlab.models.base import Network, Predictor
from rnnlab.models.seq2seq import Seq2Seq
from rnnlab.tasks import Classify, Forecast, Label

FIRST_POINTS, MOST_POINTS, TOLERANCE = 16, 1024, 0.01
AT_ONCE = 64
"""Points of the path that run as one batch."""


@dataclass(frozen=True)
class Attribution:
    """The explanation of one answer: the share of each input.

    Args:
        answer: what is explained: the predicted label, or the forecast's name.
        unit: of all shares.
        shares_TF: of each step and feature; one column of tokens. Padding is left out.
        value: F(x).
        baseline: F(x').
        num_points: of the path.
    """

    answer: str
    unit: str
    shares_TF: np.ndarray
    value: float
    baseline: float
    num_points: int

    @property
    def missed(self) -> float:
        """By how much the shares' sum differs from F(x) - F(x'), as a share of the sum of their sizes."""
        return _missed(self.shares_TF, self.value - self.baseline)


def refusal(model: Predictor) -> str | None:
    """Say why a model's answers cannot be explained; None where they can."""
    fitting = isinstance(model.task, Classify | Forecast) and not isinstance(model.task, Label)
    if not isinstance(model, Network) or not fitting:
        return (
            f"answers of this kind cannot be explained (data={model.spec.name}): integrated gradients are for networks that answer a "
            "sequence with one label or with numbers, not for sequences of answers nor for model=baseline"
        )
    if isinstance(model, Seq2Seq) and isinstance(model.task, Forecast):
        return (
            "forecasts of model=seq2seq cannot be explained: each number enters the next step without a gradient, so shares would not add "
            "up to the forecast; choose another network"
        )
    return None


def attribute(model: Predictor, batch: Batch, row: int) -> list[Attribution]:
    """Explain the answer to one sequence of a batch: the predicted class, or each of several forecasts; targets may be unknown.

    Raises:
        ValueError: where such answers cannot be explained.
    """
    if reason := refusal(model):
        raise ValueError(reason)
    network = cast(Network, model)
    alone = _repeated(batch, row, 1)
    with evaluating(network), torch.backends.cudnn.flags(enabled=False):  # cuDNN has no gradient while evaluating
        with torch.no_grad():
            values, lengths_B = network.frontend(alone.inputs, alone.input_lengths)
            outputs = _outputs(network, alone)
        is_tokens = network.spec.input_kind == "tokens"
        ends = values[0] if is_tokens else zero_padding(alone.inputs, alone.input_lengths)[0]
        num_steps = int(lengths_B[0]) if is_tokens else int(alone.input_lengths[0])
        found = []
        for name, unit, scalar in _explained(network, outputs):
            shares, value, baseline, num_points = _integrate(_along(network, alone, scalar), ends)
            shares_TF = shares[:num_steps].double().cpu().numpy()
            shares_TF = shares_TF.sum(1, keepdims=True) if is_tokens else shares_TF
            found.append(Attribution(name, unit, shares_TF, value, baseline, num_points))
    return found


def _outputs(network: Network, batch: Batch) -> Tensor:
    outputs = network.predict(batch)
    assert isinstance(outputs, Tensor)  # of classes and numbers, as `refusal` has seen to
    return outputs


Scalar = Callable[[Tensor, Batch], Tensor]
"""From outputs and batch to F of each sequence, (B,)."""


def _explained(network: Network, outputs: Tensor) -> list[tuple[str, str, Scalar]]:
    """Return what is explained: its name, its unit, and F."""
    task, names = network.task, network.spec.label_names
    if isinstance(task, Forecast):
        places = sorted({0, len(names) - 1}) if network.spec.is_path else range(len(names))  # of a path the first step and the last
        return [(names[place], network.spec.unit, _forecast(task, place)) for place in places]
    chosen = int(outputs[0].argmax())
    return [(names[chosen], "nats", _log_odds(chosen))]


def _forecast(task: Forecast, place: int) -> Scalar:
    return lambda outputs, batch: task.answers(outputs, batch)[0][:, place]


def _log_odds(chosen: int) -> Scalar:
    def log_odds(outputs: Tensor, batch: Batch) -> Tensor:
        is_other = torch.arange(outputs.shape[-1], device=outputs.device) != chosen
        return outputs[:, chosen] - outputs[:, is_other].logsumexp(-1)

    return log_odds


def _along(network: Network, alone: Batch, scalar: Scalar) -> Callable[[Tensor], Tensor]:
    """Return F as a function of what enters the network (of tokens: what leaves the front end), (N, T, X) to (N,)."""

    def answer(values_NTX: Tensor) -> Tensor:
        batch = _repeated(alone, 0, len(values_NTX))
        if network.spec.input_kind == "features":
            return scalar(_outputs(network, replace(batch, inputs=values_NTX)), batch)

        def swap(module: nn.Module, given: tuple[Tensor, ...], found: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            return values_NTX, found[1]

        handle = network.frontend.register_forward_hook(swap)
        try:
            return scalar(_outputs(network, batch), batch)
        finally:
            handle.remove()

    return answer


def _integrate(answer: Callable[[Tensor], Tensor], ends_TX: Tensor) -> tuple[Tensor, float, float, int]:
    """Return each input's share, F at both ends, and the number of points that it took."""
    with torch.no_grad():
        baseline, value = (float(part) for part in answer(torch.stack([torch.zeros_like(ends_TX), ends_TX])))
    num_points = FIRST_POINTS
    while True:
        shares_TX = ends_TX * _mean_gradient(answer, ends_TX, num_points)
        if _missed(shares_TX.double().cpu().numpy(), value - baseline) <= TOLERANCE or num_points >= MOST_POINTS:
            return shares_TX, value, baseline, num_points
        num_points *= 2


def _missed(shares: np.ndarray, whole: float) -> float:
    return abs(float(shares.sum()) - whole) / max(float(np.abs(shares).sum()), 1e-12)


def _mean_gradient(answer: Callable[[Tensor], Tensor], ends_TX: Tensor, num_points: int) -> Tensor:
    """Return the mean of F's gradient along the straight path from zeros."""
    points, weights = np.polynomial.legendre.leggauss(num_points)
    total_TX = torch.zeros_like(ends_TX)
    for start in range(0, num_points, AT_ONCE):
        part = slice(start, start + AT_ONCE)
        places_N, weights_N = (torch.from_numpy(numbers[part]).to(ends_TX) for numbers in ((points + 1) / 2, weights / 2))
        values_NTX = (places_N[:, None, None] * ends_TX).requires_grad_()
        with torch.enable_grad():
            (gradients_NTX,) = torch.autograd.grad(answer(values_NTX).sum(), values_NTX)
        total_TX += (weights_N[:, None, None] * gradients_NTX).sum(0)
    return total_TX


def _repeated(batch: Batch, row: int, times: int) -> Batch:
    """Return one sequence several times over."""
    rows = torch.full((times,), row, device=batch.inputs.device)
    reference = batch.reference
    return Batch(
        batch.inputs[rows],
        batch.input_lengths[rows],
        batch.targets[rows],
        batch.target_lengths[rows],
        batch.example_ids[rows],
        None if reference is None else Reference(reference.offset[rows], reference.scale[rows], reference.persistence[rows]),
    )
