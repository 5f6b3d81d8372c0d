"""Exported parts answer as the network does: over lengths 1 to 500 and batches of 1 to 64, alone as padded, in chunks as in one."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tests.lanes import some
from torch import Tensor

from rnnlab.config import Failed, recipe
from rnnlab.data.base import SequenceDataModule
from rnnlab.evaluation import export, parity
from rnnlab.evaluation.export import EXTRA_FILE, SUFFIXES, Format, export_parts
from rnnlab.evaluation.loops import tracing
from rnnlab.evaluation.programs import first_state, names_of, parts_of, random_inputs, why_not
from rnnlab.models.base import Network, SequenceModule
from rnnlab.settings import TrainSettings

GENERATED = ("adding", "copying", "parity")
SHAPES = ((1, 1), (1, 500), (64, 2), (33, 64), (2, 257))
"""Beside those that the export itself compares; (64, 500) is a test of its own."""
CASES = {
    # every model and kind of target
    "gru speech": "frontend=direct",
    "gru speech convolution": "frontend=convolution",
    "srnn music": "",
    "lstm language": "",
    "lstm language tied": "model.head.is_tied=true",
    "lstm stock": "",
    "gru series quantiles": "model/head=quantile",
    "birnn text": "",
    "birnn dictation": "",
    "gru pronunciation": "",
    "birnn tags": "model.head.has_crf=true",
    "lstm tags": "frontend=words_and_characters",
    "lstm events": "",
    "lstm sequences": "",
    "gru copying": "",
    "tcn text": "",
    "tcn text both sides": "model.convolutions.is_causal=false model.convolutions.has_weight_norm=true",
    "transformer text": "",
    "transformer language": "",
    # cells without a kernel of PyTorch, and what else loops over time
    "birnn text peephole": "cell=lstm_peephole model.head.pooling=attention",
    "lstm text coupled": "model=birnn cell=lstm_coupled model.head.pooling=last",
    "birnn text layer norm": "cell=lstm_layer_norm model.head.pooling=max",
    "birnn text mingru": "cell=mingru model.head.pooling=mean",
    "birnn text irnn": "cell=irnn",
    "gru text reset": "cell.reset=before model.head.pooling=attention",
    "srnn text prelu": "cell.activation=prelu model.head.pooling=max",
    "gru text zoneout": "model.recurrence.backend=reference model.recurrence.zoneout=0.1",
    "lstm text stacked": "model.recurrence.num_layers=2 model.recurrence.has_layer_norm=true model.recurrence.has_residual=true",
    "lstm text batch norm": "model.recurrence.num_layers=2 model.recurrence.has_batch_norm=true",
    "gru text n-grams": "frontend.num_ngrams=[200,100]",
    # a decoder of its own
    "seq2seq translation": "",
    "seq2seq translation luong": "model.attention=luong_general model.decoder.has_input_feeding=true cell=lstm",
    "seq2seq pronunciation dot": "model.attention=luong_dot model.decoder.hidden_size=10",
    "seq2seq translation none": "model.attention=none",
    "seq2seq summaries copying": "model.decoder.has_copying=true model.decoder.coverage_weight=1 model.attention=bahdanau",
    "seq2seq speech": "",
    "seq2seq stock": "",
}
FAST = ("gru speech", "birnn tags", "birnn text mingru", "gru text reset", "transformer language", "seq2seq summaries copying")
AMPLIFYING = ("birnn text layer norm", "birnn text irnn")
"""As they are drawn, these amplify rounding errors so far that in single precision PyTorch itself is off by more, on 500 steps."""
DATA: dict[str, SequenceDataModule] = {}
Make = Callable[[str], tuple[Network, SequenceDataModule]]


@pytest.fixture
def made(compose: Callable[..., TrainSettings]) -> Make:
    """Build the network of a case with small sizes; what begins at zero is drawn, so that nothing is left out unseen."""

    def make(case: str) -> tuple[Network, SequenceDataModule]:
        model, data, *_ = case.split()
        sizes = ["model.recurrence.hidden_size=5"] if model in ("srnn", "lstm", "gru", "birnn", "seq2seq") else []
        sizes += ["model.decoder.embedding_size=6", "model.decoder.hidden_size=7"] if model == "seq2seq" else []
        source = [] if data in GENERATED else ["data.source=sample"]
        given = dict(word.split("=", 1) for word in [f"model={model}", f"data={data}", *sizes, *source, *CASES[case].split()])
        config = compose(*(f"{key}={value}" for key, value in given.items()))
        if data not in DATA:
            DATA[data] = recipe(config.data.values, "data")(config.paths, 0)
            DATA[data].setup()
        torch.manual_seed(3)
        network: Network = config.model.recipe()(DATA[data].make_spec())
        if network.frontend.needs_fit:
            network.frontend.fit(DATA[data].train_dataloader())
        with torch.no_grad():
            for parameter in network.parameters():
                if not parameter.any():
                    parameter.normal_(std=0.3)
        return network.eval(), DATA[data]

    return make


def written(made: tuple[Network, SequenceDataModule], format_: Format, folder: Path) -> list[export.Written]:
    network, data = made
    return export_parts(network, data.reader(), "7" * 32, names_of(network), format_, folder)


def test_the_cases_have_every_model_and_every_part(made: Make) -> None:
    assert {case.split()[0] for case in CASES} == {"srnn", "lstm", "gru", "birnn", "tcn", "transformer", "seq2seq"}
    found = {name for case in FAST for name in names_of(made(case)[0])}
    assert found == {"model", "step", "encoder", "decoder"}


@pytest.mark.parametrize("format_", SUFFIXES)
@pytest.mark.parametrize("case", some(CASES, FAST))
def test_every_part_answers_as_the_network(case: str, format_: Format, made: Make, tmp_path: Path) -> None:
    network, _ = given = made(case)
    found = written(given, format_, tmp_path)
    assert [each.file.name for each in found] == [f"{name}{SUFFIXES[format_]}" for name in names_of(network)]
    for each in found:
        agreement = parity.compare(network, each.part, export.opened(each.file, each.part), SHAPES)
        assert agreement.is_close
        assert agreement.difference <= parity.TOLERANCE or case in AMPLIFYING, agreement


@pytest.mark.slow
@pytest.mark.parametrize("case", ["gru speech", "birnn text", "birnn text mingru", "tcn text", "transformer text", "birnn tags"])
def test_the_largest_batch_of_the_longest_sequences_is_answered_too(case: str, made: Make, tmp_path: Path) -> None:
    network, _ = given = made(case)
    for each in written(given, "onnx", tmp_path):
        assert parity.compare(network, each.part, export.opened(each.file, each.part), ((64, 500),)).difference <= parity.TOLERANCE


@pytest.mark.parametrize("case", some(CASES, ["birnn text mingru", "birnn tags"]))
def test_a_sequence_gets_the_same_answer_alone_and_beside_longer_ones(case: str, made: Make, tmp_path: Path) -> None:
    """By ONNX Runtime alone, told nothing but names: what the comparison of the export itself cannot hide."""
    network, _ = given = made(case)
    (first, *_) = written(given, "onnx", tmp_path)
    session = onnxruntime.InferenceSession(str(first.file))
    lengths_B = torch.tensor([4, 19, 1, 11])
    inputs = random_inputs(network.spec, lengths_B, 9)
    whole = session.run(None, {"inputs": inputs.numpy(), "lengths": lengths_B.numpy()})
    for row, length in enumerate(lengths_B.tolist()):
        alone = session.run(None, {"inputs": inputs[row : row + 1, :length].numpy(), "lengths": lengths_B[row : row + 1].numpy()})
        for padded, own in zip(whole, alone, strict=True):
            steps = (slice(row, row + 1), *(slice(size) for size in own.shape[1:]))
            np.testing.assert_allclose(padded[steps], own, atol=2e-6, rtol=2e-6)


def test_a_step_that_is_told_the_state_goes_on_where_it_stopped(made: Make, tmp_path: Path) -> None:
    network, _ = given = made("gru speech")
    assert isinstance(network, SequenceModule)
    (_, step) = written(given, "onnx", tmp_path)
    session = onnxruntime.InferenceSession(str(step.file))
    inputs, state = torch.randn(3, 8, network.spec.input_size), first_state(step.part, 3)
    for t in range(8):
        feed = dict(zip([port.name for port in step.part.inputs], [inputs[:, t : t + 1], *state], strict=True))
        answer, *left = session.run(None, {name: value.numpy() for name, value in feed.items()})
        state = [torch.from_numpy(each) for each in left]
        with torch.no_grad():
            wanted = network(inputs[:, : t + 1], torch.full((3,), t + 1))
        torch.testing.assert_close(torch.from_numpy(answer[:, -1]), wanted, rtol=1e-5, atol=1e-6)


def test_a_file_says_what_it_needs(made: Make, tmp_path: Path) -> None:
    network, data = given = made("gru text reset")
    written(given, "onnx", tmp_path)
    written(given, "torch", tmp_path)
    props = {each.key: each.value for each in onnx.load_model(tmp_path / "step.onnx").metadata_props}
    extra = {EXTRA_FILE: ""}
    with tracing():
        torch.jit.load(tmp_path / "step.pt", _extra_files=extra)
    assert json.loads(extra[EXTRA_FILE]) == props
    assert (props["run_id"], props["part"], props["model"], props["target_kind"]) == ("7" * 32, "step", "gru", "class")
    assert json.loads(props["labels"]) == list(network.spec.label_names)
    assert json.loads(props["vocabulary"]) == list(data.reader().input_words) and len(json.loads(props["vocabulary"])) > 100
    ports = {port["name"]: port for port in json.loads(props["inputs"])}
    assert ports["inputs"]["axes"] == ["batch", "time"] and ports["state_0"]["axes"] == ["batch", 5] and ports["state_0"]["first"] == 0.0


def test_statistics_of_features_stand_in_the_file(made: Make, tmp_path: Path) -> None:
    network, _ = given = made("gru speech")
    written(given, "onnx", tmp_path)
    reader = json.loads(onnxruntime.InferenceSession(str(tmp_path / "model.onnx")).get_modelmeta().custom_metadata_map["reader"])
    assert len(reader["mean"]) == len(reader["std"]) == network.spec.input_size
    assert reader["prepare"]["sample_rate"] == 8000


def test_a_file_that_answers_otherwise_is_not_kept(made: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, data = made("gru speech")
    (tmp_path / "model.onnx").write_bytes(b"of before")
    other, _ = made("gru speech")
    with torch.no_grad():
        other.get_parameter("output.bias").add_(1e-4)
    monkeypatch.setattr(export, "parts_of", lambda _: parts_of(other))
    with pytest.raises(Failed, match=r"part=step: its answers differ from the network's by .*e-0[45] of their scale, and 1e-05 is allowed"):
        export_parts(network, data.reader(), "7" * 32, ["step", "model"], "onnx", tmp_path)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("model.onnx", b"of before")]


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5]), 0.2),
        (torch.tensor([0.1]), torch.tensor([0.2]), 0.1),
        (torch.tensor([1.0, -torch.inf]), torch.tensor([1.0, -torch.inf]), 0.0),
        (torch.tensor([1.0, 5.0]), torch.tensor([1.0, -torch.inf]), torch.inf),
        (torch.tensor([1, 2]), torch.tensor([1, 3]), torch.inf),
        (torch.tensor([[1.0]]), torch.tensor([1.0]), torch.inf),
        (torch.tensor([torch.nan]), torch.tensor([1.0]), torch.nan),
    ],
)
def test_differences_are_relative_to_the_scale_and_hide_nothing(found: Tensor, wanted: Tensor, expected: float) -> None:
    assert parity.relative(found, wanted) == pytest.approx(expected, nan_ok=True)


def test_a_network_that_amplifies_rounding_is_held_to_its_own_rounding_and_no_more(made: Make, tmp_path: Path) -> None:
    """Weights so large that after 500 steps single and double precision share no digit: no two implementations agree then."""
    network, data = made("srnn text prelu")
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "weight_hh" in name:
                weight.mul_(1.6)
    assert isinstance(network, SequenceModule)
    network.pooling = None if network.pooling is None else type(network.pooling)("last", 5, 1)
    (each,) = export_parts(network, data.reader(), "7" * 32, ["model"], "torch", tmp_path)
    exact = parity.compare(network, each.part, lambda inputs, lengths: [network(inputs, lengths)])
    assert (exact.difference, exact.is_close) == (0.0, True)
    off = parity.compare(network, each.part, lambda inputs, lengths: [network(inputs, lengths) + 3e-4])
    assert not off.is_close  # short sequences are not excused


@pytest.mark.parametrize(
    ("case", "part", "reason"),
    [
        ("seq2seq translation", "step", r"reads its whole input before it answers.* part=decoder"),
        ("seq2seq translation", "model", r"take part=encoder and part=decoder"),
        ("birnn text", "step", r"model=birnn reads each sequence from its end, too: choose"),
        ("birnn text", "decoder", r"model=birnn has no such part, .* take part=model"),
        ("birnn tags", "step", r"has_crf=true chooses the tags of a sentence together.* take part=model"),
        ("gru speech convolution", "step", r"frontend=convolution looks at later steps"),
        ("gru speech", "step", ""),
        ("seq2seq speech", "model", ""),
    ],
)
def test_a_part_that_a_network_lacks_is_refused_with_the_one_to_take(case: str, part: str, reason: str, made: Make) -> None:
    found = why_not(made(case)[0], part)  # type: ignore[arg-type]  # one of the names
    assert re.search(reason, found) and bool(found) == bool(reason)
