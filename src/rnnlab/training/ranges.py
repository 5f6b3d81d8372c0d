"""What signatures of others leave open: values of `callbacks`, `trainer` and `optimizer` that would fail late, or mean nothing."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from rnnlab.config import Config, ConfigError, checked
from rnnlab.contracts import NonNegativeFloat, PositiveFloat, PositiveInt


@dataclass(frozen=True)
class EarlyStopping:
    """Say when a training ends before its last epoch (`callbacks.early_stopping`); see `Watchers` of defaults.

    Args:
        patience: validations without improvement; None: never.
        min_delta: by which the metric must be better to count as improved.
        when_solved: whether it ends where validation is beyond what the data call solved.
    """

    patience: PositiveInt | None
    min_delta: NonNegativeFloat
    when_solved: bool = False


@dataclass(frozen=True)
class Watchers:
    """Hold the plain values of `callbacks`; what has a default here was not asked of the first runs.

    Args:
        early_stopping: see there.
        ema_decay: of averaged weights.
        max_norm: see `rnnlab.training.constraints`.
        weight_clip: likewise.
    """

    early_stopping: EarlyStopping
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None
    max_norm: PositiveFloat | None = None
    weight_clip: PositiveFloat | None = None


RANGES: dict[str, Any] = {
    "trainer.gradient_clip_val": PositiveFloat | None,
    "trainer.gradient_clip_algorithm": Literal["norm", "value"] | None,
    "trainer.accumulate_grad_batches": PositiveInt,
    "optimizer.lr": PositiveFloat,
    "optimizer.weight_decay": NonNegativeFloat,
    "optimizer.momentum": Annotated[float, Field(ge=0, lt=1)],
}


def check_settings(config: Config) -> None:
    """Refuse values out of their range.

    Raises:
        ConfigError: names the key, what was given, what is allowed.
    """
    callbacks = config.get("callbacks", {})  # of a baseline that was recorded, these groups are left out
    if callbacks:
        checked({name: callbacks[name] for name in Watchers.__dataclass_fields__ if name in callbacks}, Watchers, "callbacks")
    for key, hint in RANGES.items():
        group, _, name = key.partition(".")
        if name in config.get(group, {}):
            checked(config[group][name], hint, key)
    epochs = config["trainer"].get("max_epochs")
    if isinstance(epochs, int) and (epochs == 0 or epochs < -1):
        key = "epochs" if epochs == config.get("epochs") else "trainer.max_epochs"
        raise ConfigError(f"{key}={epochs} is not allowed: a whole number from 1 (-1: until trainer.max_steps)")
    _check_mixed(config)


def _check_mixed(config: Config) -> None:
    """Refuse clipping of gradients that a fused optimizer takes scaled: Lightning would, after data are prepared."""
    trainer, optimizer = config["trainer"], config["optimizer"]
    precision = str(trainer.get("precision", ""))
    if precision.endswith("-mixed") and optimizer.get("fused") and trainer.get("gradient_clip_val") is not None:
        raise ConfigError(
            f"trainer.precision={precision} does not go with clipping and a fused optimizer together: add optimizer.fused=false, "
            "or trainer.gradient_clip_val=null"
        )
