"""Write a network's parts as files that run without rnnlab, and hold them against the network (`src/export.py`).

onnx     one graph a part, for ONNX Runtime and whatever else reads ONNX; what a user needs stands in its `metadata_props`
torch    one TorchScript program a part, for `torch.jit.load`; what a user needs stands in its extra file `rnnlab.json`

A file is kept only if its answers are those of the network, over several lengths and batch sizes, padding included.
"""

import importlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from rnnlab.config import ConfigError, Failed
from rnnlab.contracts import START, STOP
from rnnlab.data.inputs import InputReader, as_json
from rnnlab.evaluation import parity
from rnnlab.evaluation.loops import tracing
from rnnlab.evaluation.programs import NetworkPart, PartName, parts_of
from rnnlab.layers import ctc
from rnnlab.models.base import Network, SequenceModule
from rnnlab.models.seq2seq import Seq2Seq, spelling
from rnnlab.tasks import Forecast

Format = Literal["onnx", "torch"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch": ".pt"}
EXTRA_FILE = "rnnlab.json"
OPSET = 17
"""The version of ONNX's operators: the first with layer normalisation."""
NO_ONNX = (
    "format=onnx needs the packages onnx and onnxruntime: install the extra,  .venv/bin/python -m pip install -c constraints.txt -e "
    "'.[export]'  or write format=torch, which needs nothing more"
)


@dataclass(frozen=True)
class Written:
    """A file that was written and kept.

    Args:
        file: where it lies.
        part: what it computes.
        agreement: how far its answers are from the network's.
        meaning: how they are read.
    """

    file: Path
    part: NetworkPart
    agreement: parity.Agreement
    meaning: str


def refuse_without_onnx(format_: Format) -> None:
    """Raise ConfigError where ONNX files cannot be written or run."""
    if format_ != "onnx":
        return
    try:
        importlib.import_module("onnx")
        importlib.import_module("onnxruntime")
    except ImportError:
        raise ConfigError(NO_ONNX) from None


def export_parts(
    network: Network, reader: InputReader, run_id: str, names: Sequence[PartName], format_: Format, folder: Path
) -> list[Written]:
    """Write these parts of a network into a folder, in place of those that lie there.

    Raises:
        Failed: where a file's answers are not those of the network; none is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = parts_of(network)
    aside = {name: folder / f".{name}.writing{SUFFIXES[format_]}" for name in names}
    try:
        for name, file in aside.items():
            metadata = described(network, reader, run_id, parts[name])
            (_write_onnx if format_ == "onnx" else _write_torch)(parts[name], metadata, file)
        found = {name: parity.compare(network, parts[name], opened(file, parts[name])) for name, file in aside.items()}
        if odd := [name for name in names if not found[name].is_close]:
            raise Failed(
                f"part={odd[0]}: its answers differ from the network's by {found[odd[0]].difference:.1e} of their scale, and "
                f"{parity.TOLERANCE:g} is allowed, so no file was kept. Try the other format ({', '.join(SUFFIXES)}), and report it"
            )
        kept = [Written(folder / f"{name}{SUFFIXES[format_]}", parts[name], found[name], meaning(network, name)) for name in names]
        for each in kept:
            os.replace(aside[each.part.name], each.file)
        return kept
    finally:
        for file in aside.values():
            file.unlink(missing_ok=True)


# What a user needs --------------------------------------------------------------------------------------------------------------------


def described(network: Network, reader: InputReader, run_id: str, part: NetworkPart) -> dict[str, str]:
    """Return what a user of a part needs to know, as texts by name; what is no single word is JSON."""
    spec = network.spec
    found: dict[str, Any] = {
        "run_id": run_id,
        "part": part.name,
        "model": type(network).__name__.lower(),
        "data": spec.name,
        "input_kind": spec.input_kind,
        "target_kind": spec.target_kind,
        "meaning": meaning(network, part.name),
        "labels": spec.label_names,
        "inputs": [asdict(port) for port in part.inputs],
        "outputs": [asdict(port) for port in part.outputs],
        "reader": as_json(reader),
    }
    if reader.input_words:
        found["vocabulary"] = reader.input_words
    if spec.feature_names:
        found["features"] = spec.feature_names
    if spec.intents:
        found["intents"] = spec.intents
    if isinstance(network.task, Forecast):
        found |= {"link": spec.link, "unit": spec.unit, "quantiles": network.task.quantiles}
    if isinstance(network, Seq2Seq) and spec.target_kind != "real":
        words = spec.label_names if spec.target_kind == "tokens" else spelling(spec.label_names)
        found |= {"words": words, "start": START, "stop": STOP, "most_tokens": network.most}
    if spec.target_kind == "tokens":
        found["joined"] = spec.joined
    if isinstance(network, SequenceModule) and network.is_ctc:
        found |= {"blank": ctc.BLANK, "never_answered": ctc.NEVER_ANSWERED}
    return {name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for name, value in found.items()}


def meaning(network: Network, name: PartName) -> str:
    """Say how what a part gives becomes an answer."""
    spec = network.spec
    if name == "encoder":
        return "What it gives enters the decoder under the same names; is_padding is true beyond the end of an input."
    if name == "decoder" and spec.target_kind == "real":
        return "Begin with the number 0; the first (of quantiles the middle) forecast of a step enters the next one."
    if name == "decoder":
        copied = (
            " Numbers from the size of `words` on are unknown words of the input, in the order of `copies`."
            if _has_copying(network)
            else ""
        )
        return f"Begin with the token `start`; what is said enters the next step, until it is `stop` or `most_tokens` are said.{copied}"
    if spec.target_kind == "real":
        exp = "exp of " if spec.link == "exp" else ""
        return f"A forecast is {exp}offset + scale * forecasts, with offset and scale of the input as `reader` says them."
    if spec.target_kind == "tokens":
        return "The best label of each frame (2 and 3 aside, never those), repeats merged, label 0 dropped: the answer."
    if spec.target_kind == "labels_per_step":
        return "The sigmoid of log_odds at a step is the probability of each label at the next one."
    if spec.target_kind == "class":
        return "The softmax of log_odds is the probability of each label."
    what = "each token that may follow" if spec.is_causal else "each label"
    tags = " tags are the numbers of the labels that are best together." if isinstance(network, SequenceModule) and network.crf else ""
    return f"The softmax of log_odds at a step is the probability of {what}.{tags}"


def _has_copying(network: Network) -> bool:
    return isinstance(network, Seq2Seq) and network.has_copying


# Formats ------------------------------------------------------------------------------------------------------------------------------


def opened(file: Path, part: NetworkPart) -> parity.Program:
    """Return a written part as a function of its inputs."""
    return _run_onnx(file, part) if file.suffix == SUFFIXES["onnx"] else _run_torch(file)


def _traced(part: NetworkPart) -> torch.jit.ScriptModule:
    with tracing():
        return torch.jit.freeze(torch.jit.trace(part.module.eval(), part.example, check_trace=False))


def _write_torch(part: NetworkPart, metadata: dict[str, str], file: Path) -> None:
    content = io.BytesIO()
    with tracing():
        torch.jit.save(_traced(part), content, _extra_files={EXTRA_FILE: json.dumps(metadata, ensure_ascii=False)})
    file.write_bytes(content.getvalue())


def _run_torch(file: Path) -> parity.Program:
    with tracing():
        program = torch.jit.load(file)

    def run(*given: Tensor) -> list[Tensor]:
        with torch.no_grad():
            found = program(*given)
        return [found] if isinstance(found, Tensor) else list(found)

    return run


def _write_onnx(part: NetworkPart, metadata: dict[str, str], file: Path) -> None:
    import onnx

    ports = (*part.inputs, *part.outputs)
    axes = {port.name: {place: axis for place, axis in enumerate(port.axes) if isinstance(axis, str)} for port in ports}
    with tracing():
        torch.onnx.export(
            _traced(part),
            part.example,
            file,
            input_names=[port.name for port in part.inputs],
            output_names=[port.name for port in part.outputs],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    graph = onnx.load_model(file)
    onnx.helper.set_model_props(graph, metadata)
    onnx.checker.check_model(graph, full_check=True)
    file.write_bytes(graph.SerializeToString())


def _run_onnx(file: Path, part: NetworkPart) -> parity.Program:
    import onnxruntime

    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])

    def run(*given: Tensor) -> list[Tensor]:
        feed = {port.name: tensor.numpy() for port, tensor in zip(part.inputs, given, strict=True)}
        return [torch.from_numpy(found) for found in session.run(None, feed)]

    return run
