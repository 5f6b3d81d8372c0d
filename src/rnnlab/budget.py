"""As many parameters for every cell: the hidden size that meets a budget.

Counted is what a recurrence is made of (cells, bridges, attention, norms). Front end, embeddings and the last linear layer are not:
they follow from the data, and would let a large vocabulary decide which cell is small.
"""

import functools
from dataclasses import dataclass

from rnnlab.config import Config, ConfigError, recipe
from rnnlab.contracts import DataSpec
from rnnlab.models.base import Network

MOST = 1 << 14


@dataclass(frozen=True)
class Sized:
    """Hold what meets a budget.

    Args:
        model: the configuration's node with the hidden size filled in.
        hidden_size: of every recurrence in it.
        num_parameters: that count.
        deviation: from the budget, as a share of it.
    """

    model: Config
    hidden_size: int
    num_parameters: int
    deviation: float


def at_budget(model: Config, budget: int, spec: DataSpec) -> Sized:
    """Find the hidden size whose number of parameters is nearest to a budget.

    Args:
        model: the configuration's node of a network.
        budget: parameters wanted, front end, embeddings and output aside.
        spec: what the data are.

    Raises:
        ConfigError: where not even one unit fits.
    """
    count = functools.lru_cache(lambda size: count_recurrent(recipe(with_size(model, size), "model")(spec)))
    smallest = count(1)
    if smallest > 2 * budget:
        raise ConfigError(f"model.budget={budget} is too small: one hidden unit takes {smallest:,} parameters already")
    low, high = 1, 2
    while count(high) < budget and high < MOST:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < budget else (low, middle)
    size = min((low, high), key=lambda each: abs(count(each) - budget))
    return Sized(with_size(model, size), size, count(size), count(size) / budget - 1)


def with_size(model: Config, size: int) -> Config:
    """Return a network's node with another hidden size, of its decoder, too, where it has one."""
    sized = {**model, "recurrence": {**model["recurrence"], "hidden_size": size}}
    if "decoder" in model:
        sized["decoder"] = {**model["decoder"], "hidden_size": size}
    return sized


def count_recurrent(model: Network) -> int:
    """Count the parameters of a network that belong to its recurrence."""
    return sum(p.numel() for name, p in model.named_parameters() if not name.startswith(("frontend.", "output.", "entry.")))
