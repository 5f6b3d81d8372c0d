"""The compressed network: what is evaluated, kept and predicted with, made from the weights of the chosen checkpoint."""

from pathlib import Path

import torch

from rnnlab.cells.int8 import refuse_int8, use_int8
from rnnlab.config import Compression, ConfigError
from rnnlab.evaluation.packing import round_weights
from rnnlab.models.base import Network, Predictor, SequenceModule
from rnnlab.training.checkpoints import OF_WEIGHTS, DirectCheckpointIO, read_checkpoint
from rnnlab.training.pruning import masks_of, matrices


def refuse_incompressible(model: Predictor, compression: Compression) -> None:
    """Refuse to compress what has no weights or no kernel, before anything is trained.

    Raises:
        ConfigError: says what cannot be done, and what to choose instead.
    """
    if compression.is_none:
        return
    if not isinstance(model, Network):
        raise ConfigError("compression makes the weights of a network smaller, and model=baseline has none: leave it out")
    if compression.int8 == "dynamic":
        if not isinstance(model, SequenceModule):
            raise ConfigError(
                f"compression.int8=dynamic: model={type(model).__name__.lower()} goes step by step, for which PyTorch has no int8 kernels. "
                "Set compression.int8=weights, which stores 8 bits a weight and computes in float32"
            )
        refuse_int8(model)


@torch.no_grad()
def compress(model: Network, compression: Compression, checkpoint: Path) -> None:
    """Prune to the sparsity that was asked for, round weights to int8, and write them as the checkpoint's.

    Where masks were kept in training this prunes nothing more; averaged weights are zero only nearly.
    """
    if compression.is_none:
        return
    if compression.sparsity is not None:
        pruned = matrices(model)
        for weight, mask in zip(pruned.values(), masks_of([*pruned.values()], compression.sparsity, compression.scope), strict=True):
            weight.mul_(mask)
    if compression.int8 is not None:
        round_weights(model.state_dict())
    if compression.int8 == "dynamic":
        use_int8(model)
    write_weights(model, checkpoint)


def write_weights(model: Network, checkpoint: Path) -> None:
    """Write a network's weights as a checkpoint; what else it says of the training stays."""
    content = read_checkpoint(checkpoint) if checkpoint.is_file() else {"epoch": 0, "global_step": 0}
    kept = {key: content[key] for key in OF_WEIGHTS if key in content}
    DirectCheckpointIO().save_checkpoint({**kept, "state_dict": model.state_dict()}, checkpoint)
