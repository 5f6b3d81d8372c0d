"""Which trainings can be packed (`study.packed=true`), and what is said of those that cannot, before anything is begun."""

import torch

from rnnlab.config import ConfigError
from rnnlab.contracts import DataSpec
from rnnlab.models.base import RecurrentModule
from rnnlab.settings import TrainSettings

TAKEN = (
    *("_target_", "max_epochs", "max_steps", "max_time", "accelerator", "devices", "strategy", "precision", "gradient_clip_val"),
    *("gradient_clip_algorithm", "accumulate_grad_batches", "check_val_every_n_epoch", "deterministic"),
    *("limit_train_batches", "limit_val_batches", "limit_test_batches"),
)
"""The keys of `trainer` that a packed training knows."""
ALONE = "leave study.packed out to train these jobs one after another"


def refuse_unpackable(settings: TrainSettings) -> None:
    """Refuse a training that cannot be packed, as far as its settings tell.

    Raises:
        ConfigError: names what cannot be packed, and what can.
    """
    module = settings.model.recipe().func
    if not (isinstance(module, type) and issubclass(module, RecurrentModule)):
        raise ConfigError(
            f"study.packed=true cannot pack model={settings.choices.model}: packed are networks of one recurrent stack (srnn, lstm, gru, "
            f"birnn). Choose one of these, or {ALONE}"
        )
    if settings.study.search.tuning_trials or settings.study.job.trial is not None:
        raise ConfigError(
            "study.packed=true and study.tuning_trials do not go together: the trials of a search follow from each other, and differ in "
            f"size. Search first, then pack the seeds of what was found; or {ALONE}"
        )
    for given, is_wrong in _settings(settings).items():
        if is_wrong:
            raise ConfigError(f"study.packed=true does not go with {given}; {ALONE}")


def _settings(settings: TrainSettings) -> dict[str, bool]:
    """Return what cannot be packed, as it is written, and whether it was asked for."""
    trainer, callbacks, values = settings.trainer, settings.callbacks, settings.trainer.node.values
    precision, batches = values.get("precision", "32-true"), values.get("accumulate_grad_batches", 1)
    unknown = [key for key in values if key not in TAKEN]
    is_on_gpu = trainer.accelerator == "auto" and (torch.cuda.is_available() or torch.backends.mps.is_available())
    return {
        f"trainer.devices={trainer.devices}: it is one process": trainer.devices not in (1, [0]) or trainer.strategy != "auto",
        f"trainer.accelerator={trainer.accelerator}: it trains on the CPU (trainer.accelerator=cpu)": is_on_gpu
        or trainer.accelerator not in ("auto", "cpu"),
        f"trainer.precision={precision}: it trains in float32 (32-true)": str(precision) not in ("32-true", "32"),
        f"trainer.accumulate_grad_batches={batches}: choose 1": batches != 1,
        "trainer.max_time: members share one clock": trainer.has_time_limit,
        f"trainer.{unknown[0] if unknown else ''}": bool(unknown),
        "callbacks=insight": callbacks.insight is not None,
        f"callbacks.checkpoint.num_best={callbacks.checkpoint.num_best}: choose 1": callbacks.checkpoint.num_best != 1,
        "tracking.tensorboard=true": settings.tracking.tensorboard,
        "init_from": settings.run.init_from is not None,
        "distil_from": settings.run.distil_from is not None,
        f"compression.sparsity={settings.compression.sparsity}": settings.compression.sparsity is not None,
    }


def refuse_unpackable_data(spec: DataSpec) -> None:
    """Refuse data whose trainings cannot be packed.

    Raises:
        ConfigError: says why.
    """
    why = ""
    if spec.target_kind == "tokens":
        why = "answers are sequences that CTC trains"
    elif spec.is_stream:
        why = "the state is carried from batch to batch"
    if why:
        raise ConfigError(f"study.packed=true cannot pack data={spec.name}: {why}. {ALONE[0].upper()}{ALONE[1:]}")


def refuse_alone(settings: TrainSettings) -> None:
    """Refuse to pack one training that nobody asked to repeat or to go on with.

    Raises:
        ConfigError: says how several are packed.
    """
    if not (settings.study.job.parent or settings.run.resume or settings.run.reproduces):
        raise ConfigError(
            "study.packed=true trains several jobs of a sweep together: add -m and several values (seed=0,1,2,3,4), or leave it out"
        )
