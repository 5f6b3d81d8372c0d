"""Values that no signature refuses are refused before data are touched, by the name of their key."""

from collections.abc import Callable

import pytest

from rnnlab.config import ConfigError
from rnnlab.settings import TrainSettings
from rnnlab.training.recipes import check

WRONG = {
    "callbacks.early_stopping.patience=0": r"^callbacks.early_stopping.patience=0 is not allowed: it should be greater than or equal to 1",
    "callbacks.early_stopping.patience=soon": r"^callbacks.early_stopping.patience=soon is not allowed: it should be a valid integer",
    "callbacks.early_stopping.min_delta=-1": r"^callbacks.early_stopping.min_delta=-1 is not allowed: it should be greater than or",
    "callbacks.ema_decay=1": r"^callbacks.ema_decay=1 is not allowed: it should be less than 1",
    "callbacks.max_norm=0": r"^callbacks.max_norm=0 is not allowed: it should be greater than 0",
    "callbacks.weight_clip=-0.1": r"^callbacks.weight_clip=-0.1 is not allowed: it should be greater than 0",
    "trainer.gradient_clip_val=-1": r"^trainer.gradient_clip_val=-1 is not allowed: it should be greater than 0",
    "trainer.gradient_clip_algorithm=nrom": r"^trainer.gradient_clip_algorithm=nrom is not allowed. Did you mean 'norm'\? Allowed: norm, v",
    "trainer.accumulate_grad_batches=0": r"^trainer.accumulate_grad_batches=0 is not allowed: it should be greater than or equal to 1",
    "epochs=0": r"^epochs=0 is not allowed: a whole number from 1",
    "epochs=-3": r"^epochs=-3 is not allowed: a whole number from 1",
    "trainer.max_epochs=0": r"^trainer.max_epochs=0 is not allowed: a whole number from 1",
    "optimizer=sgd optimizer.momentum=5": r"^optimizer.momentum=5 is not allowed: it should be less than 1",
    "trainer.precision=16-mixed": r"^trainer.precision=16-mixed does not go with clipping .*: add optimizer.fused=false, or",
    "optimizer=sgd optimizer.momentum=0": r"^optimizer: Nesterov momentum requires a momentum",
}


@pytest.mark.parametrize("words", WRONG)
def test_a_value_out_of_range_is_refused_by_its_key(words: str, compose: Callable[..., TrainSettings]) -> None:
    with pytest.raises(ConfigError, match=WRONG[words]):
        check(compose(*words.split()))


@pytest.mark.parametrize(
    "words",
    [
        "callbacks.early_stopping.patience=3 callbacks.max_norm=3 callbacks.weight_clip=0.1 callbacks.ema_decay=0.5",
        "trainer.gradient_clip_val=null",
        "trainer.gradient_clip_val=0.5 trainer.gradient_clip_algorithm=value",
        "epochs=-1 trainer.max_steps=5",
        "optimizer=sgd optimizer.momentum=0 optimizer.nesterov=false",
        "trainer.precision=bf16-mixed",
        "trainer.precision=16-mixed optimizer.fused=false",
        "trainer.precision=bf16-mixed trainer.gradient_clip_val=null",
        "model=baseline",
    ],
)
def test_values_in_range_are_taken(words: str, compose: Callable[..., TrainSettings]) -> None:
    check(compose(*words.split()))
