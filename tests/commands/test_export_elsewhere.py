"""Exported files run where rnnlab is not installed: the scripts of docs/how-to/export.md, with what they need installed and no more."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.commands.conftest import RunOf
from tests.fresh_environment import lay_out, run_in

from rnnlab.commands.export import export
from rnnlab.evaluation.bundle import Bundle, load_bundle
from rnnlab.models.base import SequenceModule
from rnnlab.paths import HOME

SCRIPTS = dict(
    re.findall(r"^```python title=\"([^\"]+)\"\n(.*?)^```$", (HOME / "docs/how-to/export.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
)
SMALL = ("data.source=sample", "trainer=smoke", "tracking.log_model=false", "tracking.tensorboard=false", "trainer.num_threads=1")
TEXTS = ("the cup is won by two goals", "shares", "the bank and the planet")
NOT_THERE = "import importlib.util, sys; sys.exit(any(importlib.util.find_spec(name) for name in sys.argv[1:]))\n"
LOAD = """
import json, sys, torch
extra = {"rnnlab.json": ""}
program = torch.jit.load(sys.argv[1], _extra_files=extra)
about = json.loads(extra["rnnlab.json"])
torch.manual_seed(1)
answer = program(torch.randn(2, 9, json.loads(about["inputs"])[0]["axes"][2]), torch.tensor([9, 9]))
print(json.dumps([about["run_id"], answer.tolist()]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with ONNX Runtime and NumPy."""
    return lay_out(tmp_path_factory.mktemp("fresh") / "site", ["onnxruntime", "numpy"])


@pytest.fixture
def exported(compose: Callable[..., Any], run_of: RunOf, root: Path, tmp_path: Path) -> Callable[..., Bundle]:
    """Train with these words, export into `tmp_path/files`, and return the run's bundle."""

    def made(*words: str, format_: str = "onnx") -> Bundle:
        run = run_of(*words, *SMALL)
        export(compose(f"run={run}", f"to={tmp_path / 'files'}", f"format={format_}", config_name="export"))
        return load_bundle(root / "outputs" / run / "artifacts" / "bundle")

    return made


def run_script(site: Path, folder: Path, text: str, *words: str) -> str:
    (folder / "script.py").write_text(text, encoding="utf-8")
    done = run_in(site, folder / "script.py", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_environment_has_onnx_runtime_and_neither_rnnlab_nor_torch(site: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(NOT_THERE, encoding="utf-8")
    assert run_in(site, script, "rnnlab", "torch", "onnx", "pandas", "mlflow", "pytest").returncode == 0
    assert run_in(site, script, "onnxruntime").returncode == run_in(site, script, "numpy").returncode == 1


def test_the_example_of_the_page_has_at_most_30_lines() -> None:
    assert set(SCRIPTS) == {"label_texts.py", "read_on.py", "say.py"}
    assert len(SCRIPTS["label_texts.py"].splitlines()) <= 30


@pytest.mark.slow
def test_texts_are_labelled_as_predict_labels_them(exported: Callable[..., Bundle], site: Path, tmp_path: Path) -> None:
    bundle = exported("model=birnn", "data=text")
    shown = run_script(site, tmp_path, SCRIPTS["label_texts.py"], "files/model.onnx", *TEXTS).splitlines()
    wanted = bundle.predict(TEXTS)
    assert len(shown) == len(TEXTS)
    for line, label, chance, text in zip(shown, wanted["prediction"], wanted["confidence"], TEXTS, strict=True):
        found, number, rest = line.split(" ", 2)
        assert (found, rest) == (label, text) and float(number) == pytest.approx(chance, abs=2e-6)


@pytest.mark.slow
def test_a_sequence_is_read_on_in_chunks(exported: Callable[..., Bundle], site: Path, tmp_path: Path) -> None:
    network = exported("model=gru", "data=speech", "frontend=direct").model
    assert isinstance(network, SequenceModule)
    shown = run_script(site, tmp_path, SCRIPTS["read_on.py"], "files/step.onnx").splitlines()
    size = network.spec.input_size
    values_1TF = torch.sin(torch.arange(12)[:, None] / (1 + torch.arange(size)))[None].float()
    with torch.no_grad():
        wanted = [network(values_1TF[:, :end], torch.tensor([end])).argmax().item() for end in (3, 6, 9, 12)]
    assert shown == [f"{end} {network.spec.label_names[int(label)]}" for end, label in zip((3, 6, 9, 12), wanted, strict=True)]


@pytest.mark.slow
def test_words_are_pronounced_as_predict_pronounces_them_greedily(exported: Callable[..., Bundle], site: Path, tmp_path: Path) -> None:
    bundle = exported("model=seq2seq", "data=pronunciation", "model.decoding.beam_size=1")
    for word in ("bannich", "tolde"):
        shown = run_script(site, tmp_path, SCRIPTS["say.py"], "files", word)
        assert shown.strip() == bundle.predict([word])["prediction"].iloc[0]


@pytest.mark.slow
def test_a_torchscript_program_runs_with_torch_alone(exported: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = exported("model=gru", "data=speech", "frontend=direct", "cell.reset=before", format_="torch")
    site = lay_out(tmp_path / "site", ["torch", "numpy"])
    run_id, answer = json.loads(run_script(site, tmp_path, LOAD, "files/model.pt"))
    torch.manual_seed(1)
    assert isinstance(bundle.model, SequenceModule)
    with torch.no_grad():
        wanted = bundle.model(torch.randn(2, 9, bundle.model.spec.input_size), torch.tensor([9, 9]))
    assert run_id == bundle.run_id
    torch.testing.assert_close(torch.tensor(answer), wanted, rtol=1e-5, atol=1e-6)
