"""Which keys of a configuration fit a diagnosis, each with a value to try."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

MOST = 4
Value = Any
"""Of a configuration: a number, a truth value, None, or what YAML can hold else."""


@dataclass(frozen=True)
class Remedy:
    """A change of one key.

    Args:
        key: as typed.
        change: from its value to the one to try; None where there is nothing left to change.
        instead_of_null: what to try where the key is null; None: nothing.
    """

    key: str
    change: Callable[[Value], Value | None]
    instead_of_null: Value | None = None

    def try_instead_of(self, value: Value) -> Value | None:
        """Return what to try."""
        return self.instead_of_null if value is None else self.change(value)


def _up_to(step: float, most: float) -> Callable[[Value], float | None]:
    return lambda value: round(min(most, value + step), 2) if value < most else None


def _larger(factor: float, least: float, most: float) -> Callable[[Value], float | None]:
    return lambda value: float(f"{max(least, factor * value):.2g}") if factor * value <= most else None


def _smaller(factor: float) -> Callable[[Value], float | None]:
    return lambda value: float(f"{value / factor:.2g}") if value > 0 else None


MORE_REGULARISATION = (
    Remedy("data.loader.is_augmented", lambda value: None if value else True),
    Remedy("model.head.dropout", _up_to(0.2, 0.6)),
    Remedy("optimizer.weight_decay", _larger(10, 0.01, 0.5)),
    Remedy("data.loader.word_dropout", _up_to(0.1, 0.3)),
    Remedy("frontend.dropout", _up_to(0.2, 0.5)),
    Remedy("model.recurrence.hidden_size", lambda value: value // 2 if value >= 16 else None),
)
LESS_REGULARISATION = (
    Remedy("model.recurrence.hidden_size", lambda value: 2 * value),
    Remedy("model.head.dropout", lambda value: 0.0 if value else None),
    Remedy("optimizer.weight_decay", _smaller(10)),
    Remedy("model.recurrence.num_layers", lambda value: value + 1 if value < 3 else None),
)
LONGER = (
    Remedy("trainer.max_epochs", lambda value: 2 * value),
    Remedy("optimizer.lr", _larger(3, 0.0, 0.1)),
)
OTHER_RATES = (
    Remedy("optimizer.lr", _smaller(10)),
    Remedy("optimizer.lr", _larger(3, 0.0, 0.1)),
    Remedy("model.recurrence.initialisation", lambda value: "orthogonal" if value == "uniform" else None),
    Remedy("trainer.gradient_clip_val", lambda value: None, instead_of_null=1.0),
)


def remedies(verdict: str, flat: dict[str, Value], best_epoch: int) -> Iterator[str]:
    """Give words to type behind the command, at most four, from the verdict (see `diagnosis`) and the configuration as it is."""
    stopping = Remedy("callbacks.early_stopping.patience", lambda value: None, instead_of_null=5)
    shorter = Remedy("trainer.max_epochs", lambda value: best_epoch + 1 if best_epoch + 1 < value // 2 else None)
    fitting = {
        "overfitting": (*MORE_REGULARISATION[:3], stopping, shorter, *MORE_REGULARISATION[3:]),
        "memorising": MORE_REGULARISATION,
        "underfitting": LESS_REGULARISATION,
        "still learning": LONGER,
        "learned nothing": OTHER_RATES,
    }
    tried = ((remedy.key, remedy.try_instead_of(flat[remedy.key])) for remedy in fitting.get(verdict, ()) if remedy.key in flat)
    yield from islice((f"{key}={_written(value)}" for key, value in tried if value is not None), MOST)


def _written(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
