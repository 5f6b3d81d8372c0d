"""Everything that predicting from raw input needs, as JSON and safetensors: no pickle, no code.

bundle.json           the model's configuration, what the data were, how raw input becomes frames
weights.safetensors   the chosen checkpoint's weights
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file

from rnnlab.config import Config, ConfigError, recipe, refuse_foreign_targets
from rnnlab.contracts import Batch, DataSpec
from rnnlab.evaluation import answer
from rnnlab.models.base import SequenceModule

FORMAT = 1


@dataclass(frozen=True)
class Bundle:
    """Hold a model that can predict.

    Args:
        model: with its weights.
        data: how raw input becomes batches; see the data module's `bundle`.
        run_id: where it comes from.
    """

    model: SequenceModule
    data: dict[str, Any]
    run_id: str

    def predict(self, inputs: list[Any]) -> pd.DataFrame:
        """Predict from raw inputs (for speech: paths, or the bytes of sound files), one row each, in order."""
        read = reader(self.data["kind"])
        tables = [answer(self.model, read(self.data, inputs[start : start + 64])) for start in range(0, len(inputs), 64)]
        return pd.concat(tables, ignore_index=True)


def write_bundle(folder: Path, model: SequenceModule, config: Config, data: dict[str, Any], run_id: str) -> None:
    """Write a bundle."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"format": FORMAT, "run_id": run_id, "model": config, "spec": asdict(model.spec), "data": data}
    (folder / "bundle.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "weights.safetensors")


def load_bundle(folder: Path, conf: Path | None = None) -> Bundle:
    """Load a bundle.

    Args:
        folder: where it lies.
        conf: our shipped `conf/`, to check that the model it names is ours (None: it must lie in `rnnlab`).

    Raises:
        ConfigError: where it is damaged or names foreign code.
    """
    try:
        content = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "weights.safetensors")
    except Exception as error:
        raise ConfigError(f"{folder} is not a bundle that can be read ({error})") from error
    if content.get("format") != FORMAT:
        raise ConfigError(f"{folder}: format {content.get('format')} is not {FORMAT}: use the version that wrote it")
    if conf is not None:
        refuse_foreign_targets(content["model"], conf)
    spec = TypeAdapter(DataSpec).validate_python(content["spec"])
    model: SequenceModule = recipe(content["model"], "model")(spec)
    model.load_state_dict(weights)
    model.eval()
    return Bundle(model, content["data"], content["run_id"])


def reader(kind: str) -> Callable[[dict[str, Any], list[Any]], Batch]:
    """Return the function that turns raw inputs of this kind into a batch."""
    if kind == "speech":
        from rnnlab.data.speech import read_inputs

        return read_inputs
    raise ConfigError(f"the bundle's data are of the kind {kind!r}, which this version cannot read")
