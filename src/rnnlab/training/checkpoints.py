"""Checkpoints: written so that none is ever half a file, read as data and never as code."""

import errno
import os
import pickle
import struct
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from rich.console import Console

from rnnlab.config import ConfigError
from rnnlab.models.base import Network
from rnnlab.paths import why_not_written

console = Console(stderr=True, soft_wrap=True)
BEST, LAST = "best.ckpt", "last.ckpt"
"""Of a run's folder: the weights that were chosen, and the whole state of the training from which it resumes."""
OF_WEIGHTS = ("state_dict", "epoch", "global_step", "pytorch-lightning_version")
"""What is kept of a checkpoint from which no training resumes."""


class DirectCheckpointIO(TorchCheckpointIO):
    """Write checkpoints straight to disk, aside and renamed; Lightning's way holds each of them twice in memory first."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Raises:
            OSError: where it cannot be written.
        """
        file = Path(path)
        aside = file.with_name(f".{file.name}.writing")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.save(checkpoint, aside)
            os.replace(aside, file)
        except RuntimeError as error:  # what torch says of a disk that is full
            raise OSError(errno.EIO, why_not_written(error, file.parent), str(file)) from error
        finally:
            aside.unlink(missing_ok=True)


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Read a checkpoint as data, never as code.

    Raises:
        ConfigError: where it is no checkpoint, is damaged, or carries code.
    """
    _refuse_other_formats(file)
    try:
        if zipfile.is_zipfile(file) and (part := zipfile.ZipFile(file).testzip()):  # torch looks at no checksum
            raise ConfigError(f"{file} cannot be loaded: it is damaged ({part} is not as it was written)")
        content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        _ = content["state_dict"].keys()
        return content
    except pickle.UnpicklingError as error:
        is_code = "unsupported global" in str(error).lower()
        reason = "it carries code, which is not run" if is_code else "it is damaged or no checkpoint at all"
        raise ConfigError(f"{file} cannot be loaded: {reason}") from None
    except ConfigError:
        raise
    except Exception as error:  # what torch says of damage is of many kinds: struct.error, AssertionError, ...
        raise ConfigError(f"{file} cannot be loaded: it is damaged or no checkpoint ({_first_line(error)})") from None


def _refuse_other_formats(file: Path) -> None:
    """Refuse what torch.save has not written since version 1.6: on damaged files of older formats torch may hang, or fill the memory."""
    try:
        with zipfile.ZipFile(file) as archive:
            is_ours = all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error):
        is_ours = False
    except OSError as error:
        raise ConfigError(f"{file} cannot be loaded: {error.strerror or error}") from None
    if not is_ours:
        raise ConfigError(f"{file} cannot be loaded: it is damaged or no checkpoint that torch.save wrote")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def load_weights(model: Network, checkpoint: Path) -> Path:
    """Load a checkpoint's weights.

    Raises:
        ConfigError: where it cannot be read or belongs to another model.
    """
    try:
        model.load_state_dict(read_checkpoint(checkpoint)["state_dict"])
    except RuntimeError as error:
        raise ConfigError(f"{checkpoint} belongs to another model ({str(error).splitlines()[0]})") from None
    return checkpoint


def keep_weights(checkpoint: Path, file: Path) -> Path:
    """Write the weights of a checkpoint alone, without what only a resumed training needs (optimizer, averages); return the file.

    Raises:
        ConfigError: where the checkpoint cannot be read.
        OSError: where the file cannot be written.
    """
    content = read_checkpoint(checkpoint)
    if checkpoint != file or "optimizer_states" in content:
        DirectCheckpointIO().save_checkpoint({key: content[key] for key in OF_WEIGHTS if key in content}, file)
    return file


def drop_last(folder: Path) -> None:
    """Remove the last checkpoint of a run that has ended well: only a resumed training reads it, and such a run is not resumed."""
    if (folder / BEST).is_file():
        with suppress(OSError):  # `clean` finds it again
            (folder / LAST).unlink(missing_ok=True)
