"""Each schedule in conf/scheduler, at moments worked out by hand, for 100 steps of a learning rate of 0.5."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import yaml
from omegaconf import OmegaConf
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from rnnlab.config import recipe
from rnnlab.paths import CONF
from rnnlab.tasks.metrics import Direction
from rnnlab.training import schedules

SCHEDULES = sorted(file.stem for file in (CONF / "scheduler").glob("*.yaml"))
LR, STEPS = 0.5, 100
COMMON = {"warmup_fraction": yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))["warmup_fraction"]}

# {index of the step: learning rate}; every factor from the numbers in conf/scheduler.
EXPECTED = {
    "none": {0: LR, 50: LR, 99: LR},
    "cosine": {  # 10 of 100 steps of warm-up, then half a cosine over 90
        0: LR * 1 / 11,
        9: LR * 10 / 11,
        10: LR,
        40: LR * 3 / 4,  # a third: cos(60 degrees) = 1/2
        55: LR / 2,
        99: LR * (1 + math.cos(math.pi * 89 / 90)) / 2,
        100: 0.0,
    },
    "step": {  # 5 steps of warm-up; drops at 1/4, 2/4 and 3/4 of the other 95: from steps 28.75, 52.5 and 76.25 on
        0: LR / 6,
        4: LR * 5 / 6,
        5: LR,
        28: LR,
        29: LR * 0.3,
        52: LR * 0.3,
        53: LR * 0.09,
        76: LR * 0.09,
        77: LR * 0.027,
        100: LR * 0.027,
    },
    "onecycle": {  # from 1/25 up to step 14 and down to 1/250,000 at step 99, along cosines
        0: LR / 25,
        7: (LR + LR / 25) / 2,
        14: LR,
        31: LR / 25e4 + (LR - LR / 25e4) * (1 + math.cos(math.pi * 17 / 85)) / 2,
        99: LR / 25e4,
    },
    "plateau": {0: LR, 50: LR, 99: LR},  # without measurements; see below
}


def make_optimizer(kind: Callable[..., Optimizer] = AdamW) -> Optimizer:
    return kind([torch.nn.Parameter(torch.zeros(1))], lr=LR)


def learning_rates(name: str, optimizer: Optimizer, num_steps: int = STEPS) -> list[float]:
    """Return the learning rate of every step, and after the last."""
    written = OmegaConf.create({"scheduler": OmegaConf.load(CONF / "scheduler" / f"{name}.yaml")} | COMMON)
    node: Any = OmegaConf.to_container(written.scheduler, resolve=True)
    scheduler = recipe(node, "scheduler")(optimizer, total_steps=num_steps, direction="max")
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(num_steps):
        optimizer.step()
        if not isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_learning_rate_is_what_the_configuration_says(name: str) -> None:
    rates = learning_rates(name, make_optimizer())
    found = {index: rates[index] for index in EXPECTED[name]}
    assert found == pytest.approx(EXPECTED[name], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("num_steps", [1, 2, 3, 4, 7, 10, 20])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_training_of_any_length_stays_between_nothing_and_the_optimizers_learning_rate(name: str, num_steps: int) -> None:
    rates = learning_rates(name, make_optimizer(), num_steps)[:num_steps]
    assert all(0 <= rate <= LR * (1 + 1e-9) for rate in rates)
    assert max(rates) >= LR / 25


@pytest.mark.parametrize("warmup_fraction", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 10])
def test_onecycle_takes_any_warm_up_and_any_number_of_steps(num_steps: int, warmup_fraction: float) -> None:
    optimizer = make_optimizer()
    scheduler = schedules.onecycle(optimizer, num_steps, "max", warmup_fraction)
    rates = []
    for _ in range(num_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()  # also after the last step, as Lightning does
    assert rates[0] == pytest.approx(LR / 25)
    assert all(0 < rate <= LR * (1 + 1e-9) for rate in rates)
    if num_steps == 10:
        assert rates[-1] == pytest.approx(LR / 25e4)


@pytest.mark.parametrize(("kind", "key"), [(AdamW, "betas"), (SGD, "momentum")])
def test_onecycle_lowers_momentum_while_the_learning_rate_rises(kind: type[Optimizer], key: str) -> None:
    optimizer = make_optimizer(kind)
    scheduler = schedules.onecycle(optimizer, STEPS, "max", 0.15)
    momenta = []
    for _ in range(STEPS):
        value = optimizer.param_groups[0][key]
        momenta.append(value[0] if key == "betas" else value)
        optimizer.step()
        scheduler.step()
    assert [momenta[0], momenta[14], momenta[99]] == pytest.approx([0.95, 0.85, 0.95])


def test_cosine_ends_at_its_final_fraction() -> None:
    optimizer = make_optimizer()
    scheduler = schedules.cosine(optimizer, 4, "max", 0.0, 0.2)
    for _ in range(4):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.2 * LR)


@pytest.mark.parametrize("direction", ["max", "min"])
def test_plateau_falls_when_the_metric_has_not_improved_for_more_than_its_patience(direction: Direction) -> None:
    optimizer = make_optimizer()
    scheduler = schedules.plateau(optimizer, STEPS, direction, factor=0.3, patience=3)
    assert isinstance(scheduler, ReduceLROnPlateau)
    optimizer.step()
    rates = []
    for accuracy in [0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.7, 0.7]:
        scheduler.step(accuracy if direction == "max" else 1 - accuracy)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([LR] * 5 + [0.3 * LR] * 3)
