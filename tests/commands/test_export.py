"""`src/export.py`: files of a run in its folder and among its artifacts, and a line for what cannot be exported."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tests.commands.conftest import RunOf

from rnnlab.commands.export import ExportSettings, export
from rnnlab.config import ConfigError
from rnnlab.evaluation.bundle import load_bundle
from rnnlab.models.base import SequenceModule
from rnnlab.tracking.store import TrackingError, connect

SMALL = ("data.source=sample", "trainer=smoke", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1",
         "trainer.limit_test_batches=1", "tracking.log_model=false", "tracking.tensorboard=false", "trainer.num_threads=1")  # fmt: skip
GRU = ("model=gru", "data=speech", "frontend=direct", "model.recurrence.hidden_size=5", *SMALL)
SEQ2SEQ = ("model=seq2seq", "data=pronunciation", "model.recurrence.hidden_size=5", "model.decoder.hidden_size=5", *SMALL)
BASELINE = ("model=baseline", "data=speech", "baseline.kind=mean", "data.source=sample", "tracking.log_model=false")


@pytest.fixture
def settings(compose: Callable[..., Any]) -> Callable[..., ExportSettings]:
    """Compose the command as it is typed."""

    def composed(*words: str) -> ExportSettings:
        found: ExportSettings = compose(*words, config_name="export")
        return found

    return composed


def test_a_runs_files_lie_in_its_folder_and_are_artifacts_of_it(
    settings: Callable[..., ExportSettings], run_of: RunOf, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(*GRU)
    capsys.readouterr()
    export(settings(f"run={run}"))
    shown = capsys.readouterr().out
    folder = root / "outputs" / run / "artifacts" / "export"
    assert sorted(file.name for file in folder.iterdir()) == ["model.onnx", "step.onnx"]
    assert f"written: {folder / 'model.onnx'} (" in shown and "largest difference from PyTorch " in shown
    assert "in   inputs float32 (batch, time, 40), lengths int64 (batch)" in shown and "docs/how-to/export.md" in shown
    client = connect(None, root)
    assert {each.path for each in client.list_artifacts(run, "export")} == {"export/model.onnx", "export/step.onnx"}
    assert client.get_run(run).info.status == "FINISHED"

    bundle = load_bundle(root / "outputs" / run / "artifacts" / "bundle")
    assert isinstance(bundle.model, SequenceModule)
    inputs, lengths_B = torch.randn(2, 30, 40), torch.tensor([30, 12])
    inputs[1, 12:] = 0
    (answer,) = onnxruntime.InferenceSession(str(folder / "model.onnx")).run(None, {"inputs": inputs.numpy(), "lengths": lengths_B.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(answer, bundle.model(inputs, lengths_B).numpy(), rtol=1e-5, atol=1e-6)


def test_files_go_where_one_says_in_the_other_format_too_and_are_replaced(
    settings: Callable[..., ExportSettings], run_of: RunOf, root: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        export(settings(f"run={run_of(*GRU)}", "format=torch", "part=step", f"to={tmp_path / 'my files'}"))
    assert [file.name for file in (tmp_path / "my files").iterdir()] == ["step.pt"]
    assert not [each.path for each in connect(None, root).list_artifacts(run_of(*GRU), "export") if each.path.endswith(".pt")]


def test_a_seq2seq_run_has_an_encoder_and_a_decoder(settings: Callable[..., ExportSettings], run_of: RunOf, tmp_path: Path) -> None:
    export(settings(f"run={run_of(*SEQ2SEQ)}", f"to={tmp_path}"))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["decoder.onnx", "encoder.onnx"]


@pytest.mark.parametrize(
    ("words", "run", "error", "message"),
    [
        ((), None, ConfigError, r"give the run: run=RUN_ID"),
        ((), "nosuchrun", TrackingError, r"run=nosuchrun: there is no such run in sqlite:///"),
        ((), BASELINE, ConfigError, r"is of a baseline \(mean\), which is no network .* choose a network's run"),
        (("format=tflite",), GRU, ConfigError, r"format=tflite is not allowed. Allowed: onnx, torch"),
        (("part=tail",), GRU, ConfigError, r"part=tail is not allowed. Allowed: .*model, step, encoder, decoder"),
        (("part=step",), SEQ2SEQ, ConfigError, r"part=step: model=seq2seq reads its whole input before it answers.*part=decoder"),
        (("part=encoder",), GRU, ConfigError, r"part=encoder: model=gru has no such part"),
        ((f"to={__file__}",), GRU, ConfigError, r"to=.* cannot be made, since .* is a file: give a folder"),
    ],
)
def test_what_cannot_be_exported_costs_a_line(
    words: tuple[str, ...],
    run: tuple[str, ...] | str | None,
    error: type[ValueError],
    message: str,
    settings: Callable[..., ExportSettings],
    run_of: RunOf,
) -> None:
    named = [] if run is None else [f"run={run if isinstance(run, str) else run_of(*run)}"]
    with pytest.raises(error, match=message):
        export(settings(*named, *words))


@pytest.mark.parametrize(
    ("status", "message"), [("RUNNING", "is still running"), ("FAILED", r"has not finished \(it is FAILED\).*resume=")]
)
def test_an_unfinished_run_is_refused_with_what_to_do(
    status: str, message: str, settings: Callable[..., ExportSettings], run_of: RunOf, root: Path
) -> None:
    client = connect(None, root)
    experiment = client.get_run(run_of(*GRU)).info.experiment_id
    run = client.create_run(experiment).info.run_id
    client.update_run(run, status=status)
    with pytest.raises(TrackingError, match=message):
        export(settings(f"run={run}"))


def test_a_run_that_was_taken_up_again_is_unfinished_though_it_has_a_model(
    settings: Callable[..., ExportSettings], run_of: RunOf, root: Path
) -> None:
    client, run = connect(None, root), run_of(*GRU)
    client.update_run(run, status="KILLED")
    try:
        with pytest.raises(ConfigError, match=r"has not finished \(it is KILLED\)"):
            export(settings(f"run={run}"))
    finally:
        client.update_run(run, status="FINISHED")


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_onnx_the_extra_is_named_and_torch_still_works(
    missing: str, settings: Callable[..., ExportSettings], run_of: RunOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # what Python does where a package is not installed: the import fails
    with pytest.raises(ConfigError, match=r"format=onnx needs the packages onnx and onnxruntime: .*\[export\].* format=torch"):
        export(settings(f"run={run_of(*GRU)}", f"to={tmp_path}"))
    export(settings(f"run={run_of(*GRU)}", "format=torch", f"to={tmp_path}"))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.pt", "step.pt"]
