"""Everything that predicting from raw input needs, as JSON and safetensors: no pickle, no code.

bundle.json           the model's configuration, what the data were, how raw input becomes frames
weights.safetensors   the chosen checkpoint's weights; of a compressed network as `packing` stores them
"""

import errno
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rnnlab.cells.int8 import use_int8
from rnnlab.config import Compression, Config, ConfigError, Node, whole
from rnnlab.contracts import Batch, DataSpec, spans_of
from rnnlab.data.hashing import checksum, digest
from rnnlab.data.inputs import InputReader, as_json, from_json, tell
from rnnlab.evaluation.evaluate import answer
from rnnlab.evaluation.packing import pack, unpack
from rnnlab.models.base import FittedOnce, Network, Predictor

FORMAT = 4
BATCH_SIZE = 64
WIDEST_BEAM = 1000


@dataclass(frozen=True)
class Bundle:
    """A model that can predict, the reader of its raw input, and the run that both come from."""

    model: Predictor
    reader: InputReader
    run_id: str

    def predict(self, inputs: Sequence[str | bytes]) -> pd.DataFrame:
        """Predict from raw inputs (texts, paths, or the content of files), in order.

        Returns:
            The column `input` and what the task predicts; one row an input, or one a ticker of each table. An input that has a fault keeps
            its row, which holds no answer.
        """
        tables = [pd.DataFrame({"input": names}).join(answer(self.model, batch)) for names, batch in self.batches(inputs)]
        table = self.named(pd.concat(tables, ignore_index=True))
        usable = self._usable(inputs)
        if len(usable) == len(inputs):
            return table
        table = table.set_axis(usable).reindex(range(len(inputs)))
        return table.assign(input=[table["input"][place] if place in usable else str(given) for place, given in enumerate(inputs)])

    def named(self, table: pd.DataFrame) -> pd.DataFrame:
        """Write the labels of each step side by side; of tags, also the tokens and the entities, as (type, text)."""
        if self.model.spec.target_kind != "class_per_step" or "prediction" not in table:  # sets of labels are names already
            return table
        labels = self.model.spec.label_names
        rows = [[labels[number] for number in numbers] for numbers in table["prediction"]]
        between = "" if all(len(label) == 1 for label in labels) else " "
        table = table.assign(prediction=[between.join(row) for row in rows])
        if self.model.spec.scheme is None:
            return table
        cut = [self.reader.tokens_of(str(text)) or [] for text in table["input"]]
        table = table.assign(tokens=pd.Series(cut, table.index, dtype=object), tags=pd.Series(rows, table.index, dtype=object))
        if self.model.spec.scheme == "plain":
            return table
        joined = "" if all(len(token) == 1 for tokens in cut for token in tokens) else " "
        entities = [
            [(span.type, joined.join(tokens[span.start : span.end])) for span in spans_of(row)]
            for tokens, row in zip(cut, rows, strict=True)
        ]
        return table.assign(entities=pd.Series(entities, table.index, dtype=object))

    def _usable(self, inputs: Sequence[str | bytes]) -> dict[int, None]:
        """Return the places of the inputs that have no fault."""
        return dict.fromkeys(place for place, given in enumerate(inputs) if not self.reader.fault(given))

    def batches(self, inputs: Sequence[str | bytes]) -> Iterator[tuple[list[str], Batch]]:
        """Turn raw inputs into batches, each with the names of its rows; tell which inputs have a fault and are left out.

        Raises:
            ConfigError: where there is no input, or none without a fault.
        """
        if not any(given.strip() for given in inputs):
            raise ConfigError("the input is empty: there is nothing to predict from")
        faults = {place: fault for place, given in enumerate(inputs, start=1) if (fault := self.reader.fault(given))}
        if faults:
            place, fault = next(iter(faults.items()))
            words = f"{len(faults):,} of {len(inputs):,} inputs have no answer: input {place:,}: {fault}"
            if len(faults) == len(inputs):
                raise ConfigError(f"{words}; give at least one that can be read")
            tell(words)
        usable = [given for place, given in enumerate(inputs, start=1) if place not in faults]
        for start in range(0, len(usable), BATCH_SIZE):
            yield self.reader.read(usable[start : start + BATCH_SIZE])

    def search_with(self, beam_size: object, num_best: object) -> None:
        """Search for sequences of tokens with another beam (None: the model's own), or for several answers (None: the best).

        Raises:
            ConfigError: where the model does not search, or cannot search in this way.
        """
        if beam_size is None and num_best is None:
            return
        if not isinstance(self.model, Network) or self.model.spec.target_kind != "tokens":
            raise ConfigError("beam_size and num_best are for networks that answer with sequences (dictation, translation, pronunciation)")
        given = {
            name: whole(value, 1, name, otherwise=f" ({name}=1 is one hypothesis)", most=WIDEST_BEAM)
            for name, value in (("beam_size", beam_size), ("num_best", num_best))
            if value is not None
        }
        wanted = given.get("num_best", 1)
        width = given.get("beam_size", max(self.model.decoding.beam_size, wanted))
        if wanted > width:
            raise ConfigError(f"num_best={wanted} is more than a beam of {width} finds: set beam_size={wanted} or more")
        self.model.decoding = replace(self.model.decoding, beam_size=width, num_best=wanted)


PLAIN = Compression()
WEIGHTS = "weights.safetensors"
SIZE = "model/size_kb"
"""The metric that says how large a bundle's file of weights is."""


def write_bundle(folder: Path, model: Predictor, node: Node, reader: InputReader, run_id: str, compression: Compression = PLAIN) -> None:
    """Write a bundle; of a compressed network the weights are packed, and what is read is again exactly what it has."""
    folder.mkdir(parents=True, exist_ok=True)
    # Tied matrices are one tensor under two names, which this format refuses: each name gets a copy.
    weights = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    if not compression.is_none:
        weights = pack(weights, is_int8=compression.int8 is not None)
    try:
        save_file(weights, folder / WEIGHTS)
    except SafetensorError as error:  # of a full disk, too
        raise OSError(errno.ENOSPC, str(error).splitlines()[0], str(folder)) from error
    content = {"format": FORMAT, "run_id": run_id, "model": node.values, "spec": asdict(model.spec), "data": as_json(reader)}
    if compression.int8 is not None:
        content["int8"] = compression.int8
    content["checksum"] = checksum(folder / WEIGHTS)
    content["digest"] = digest(json.loads(json.dumps(content)))
    (folder / "bundle.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


def size_kb(folder: Path) -> float:
    """Return the size of a bundle's file of weights, in kB of 1,000 bytes; vocabulary and settings are in its JSON."""
    return (folder / WEIGHTS).stat().st_size / 1000


def load_bundle(folder: Path, is_checked: bool = True) -> Bundle:
    """Load a bundle; unless `is_checked` is false (a served model's code comes with it), the model must be one of our own.

    Raises:
        ConfigError: where it is damaged, names foreign code, or belongs to another version of the model.
    """
    try:
        content = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS)
    except Exception as error:
        raise ConfigError(f"{folder} is not a bundle that can be read ({error})") from error
    _refuse_other_content(folder, content)
    if is_checked:
        from rnnlab.tracking.recorded import refuse_foreign_targets

        refuse_foreign_targets(content["model"])
    if "digest" in content and content.pop("digest") != digest(content):
        raise ConfigError(f"{folder} is damaged or was changed: bundle.json is not as the run wrote it")
    if content.get("checksum", found := checksum(folder / WEIGHTS)) != found:
        raise ConfigError(f"{folder} is damaged or was changed: weights.safetensors is not as the run wrote it")
    model = _made(folder, content, weights)
    model.eval()
    try:
        return Bundle(model, from_json(content["data"]), content["run_id"])
    except ValueError as error:
        raise ConfigError(f"{folder}: {error}") from None


@dataclass(frozen=True)
class Described:
    """What a bundle says of a model without its weights: the data, the reader of raw input, and the model's configuration."""

    spec: DataSpec
    reader: InputReader
    model: Config


def describe_bundle(folder: Path) -> Described:
    """Read what a bundle says.

    Raises:
        ConfigError: where it is missing or damaged.
    """
    try:
        content = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder} is not a bundle that can be read ({error})") from error
    _refuse_other_content(folder, content)
    try:
        return Described(TypeAdapter(DataSpec).validate_python(content["spec"]), from_json(content["data"]), content["model"])
    except ValueError as error:
        raise ConfigError(f"{folder}: {_first_line(error)}") from None


def _refuse_other_content(folder: Path, content: object) -> None:
    """Refuse JSON that is no bundle's."""
    if not isinstance(content, dict):
        raise ConfigError(f"{folder} is not a bundle that can be read (bundle.json is no object): get it anew")
    if content.get("format") != FORMAT:
        raise ConfigError(f"{folder}: format {content.get('format')} is not {FORMAT}: use the version that wrote it")
    wanted = {"run_id": str, "model": dict, "spec": dict, "data": dict}
    if odd := [name for name, kind in wanted.items() if not isinstance(content.get(name), kind)]:
        raise ConfigError(f"{folder} is damaged: bundle.json has no {odd[0]} that can be read: get it anew")


def _made(folder: Path, content: Config, weights: dict[str, Tensor]) -> Predictor:
    """Make the model that JSON describes, with its weights.

    It is made without memory for its numbers first: sizes that the weights do not have would be damage, and might fill the memory.
    """
    try:
        spec = TypeAdapter(DataSpec).validate_python(content["spec"])
        recipe = Node("model", content["model"]).recipe()
        with torch.device("meta"):
            sketch: Predictor = recipe(spec)
        weights = unpack(weights, {name: value.shape for name, value in sketch.state_dict().items()})
        _refuse_other_weights(folder, sketch, weights)
        model: Predictor = recipe(spec)
        model.load_state_dict(weights)
        if content.get("int8") == "dynamic":
            use_int8(model)
    except ConfigError:
        raise
    except (ValueError, RuntimeError, LookupError, TypeError, ArithmeticError) as error:
        raise ConfigError(f"{folder} is damaged: its model cannot be made ({_first_line(error)}): get it anew") from None
    return model


def _refuse_other_weights(folder: Path, model: Predictor, weights: dict[str, Tensor]) -> None:
    """Refuse weights of other names and shapes; a baseline takes what was fitted, whatever its size."""
    if isinstance(model, FittedOnce):
        return
    ours, theirs = ({name: value.shape for name, value in each.items()} for each in (model.state_dict(), weights))
    if odd := sorted(name for name in ours | theirs if ours.get(name) != theirs.get(name)):
        raise ConfigError(
            f"{folder} was written by another version of this model: {len(odd)} of {len(ours)} weights differ in name or shape, "
            f"{odd[0]} first. Score and predict with the commit that the run's tag git_commit names, or train anew"
        )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
