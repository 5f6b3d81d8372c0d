"""As many parameters for every network: the hidden size that meets a budget.

Counted is what stands between front end and output (cells, bridges, attention, convolutions, norms). Front end, embeddings and the last
linear layer are not: they follow from the data, and would let a large vocabulary decide which network is small.
"""

import functools
from dataclasses import dataclass

from rnnlab.config import ConfigError, Node
from rnnlab.contracts import DataSpec
from rnnlab.models.base import Network

MOST = 1 << 14


@dataclass(frozen=True)
class Sized:
    """Hold what meets a budget: the model's section with the hidden size filled in; the deviation is a fraction of the budget."""

    model: Node
    hidden_size: int
    num_parameters: int
    deviation: float


def at_budget(model: Node, budget: int, spec: DataSpec) -> Sized:
    """Find the hidden size whose number of parameters, front end, embeddings and output aside, is nearest to a budget.

    Raises:
        ConfigError: where not even one unit fits.
    """
    unit = model.size_unit

    @functools.lru_cache
    def count(num_units: int) -> int:
        return count_between(model.with_hidden_size(unit * num_units).recipe()(spec))

    smallest = count(1)
    if smallest > 2 * budget:
        units = "one hidden unit takes" if unit == 1 else f"{unit} hidden units, one a head, take"
        raise ConfigError(f"model.budget={budget} is too small: {units} {smallest:,} parameters already")
    low, high = 1, 2
    while count(high) < budget and high < MOST:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < budget else (low, middle)
    best = min((low, high), key=lambda each: abs(count(each) - budget))
    return Sized(model.with_hidden_size(unit * best), unit * best, count(best), count(best) / budget - 1)


def count_between(model: Network) -> int:
    """Count the parameters of a network between front end and output."""
    return sum(p.numel() for name, p in model.named_parameters() if not name.startswith(("frontend.", "output.", "entry.")))
