"""As many parameters for every network: the hidden size that meets a budget.

Counted is what stands between front end and output (cells, bridges, attention, convolutions, norms). Front end, embeddings and the last
linear layer are not: they follow from the data, and would let a large vocabulary decide which network is small.
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
        hidden_size: of every part of it that has one.
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
    unit = max(model[part].get("num_heads", 1) for part in sized_parts(model))  # heads share a hidden size evenly

    @functools.lru_cache
    def count(num_units: int) -> int:
        return count_between(recipe(with_size(model, unit * num_units), "model")(spec))

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
    return Sized(with_size(model, unit * best), unit * best, count(best), count(best) / budget - 1)


def sized_parts(model: Config) -> list[str]:
    """Return the parts of a model's node that have a hidden size: none of a model that is fitted once."""
    return [name for name, part in model.items() if isinstance(part, dict) and "hidden_size" in part]


def with_size(model: Config, size: int) -> Config:
    """Return a network's node with another hidden size of each part that has one."""
    return {**model, **{name: {**model[name], "hidden_size": size} for name in sized_parts(model)}}


def count_between(model: Network) -> int:
    """Count the parameters of a network between front end and output."""
    return sum(p.numel() for name, p in model.named_parameters() if not name.startswith(("frontend.", "output.", "entry.")))
