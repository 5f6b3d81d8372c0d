"""Every model on every kind of data: the README's table is made from conf/ here, and each of its marks is proved by a batch.

RNNLAB_WRITE=1 python -m pytest tests/test_matrix.py   writes the table anew
"""

import os
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from rnnlab.baselines.base import BaselineSettings
from rnnlab.cli import compose_config
from rnnlab.config import recipe
from rnnlab.contracts import SPECIALS, DataSpec, Decoded
from rnnlab.data.base import SequenceDataModule
from rnnlab.models.base import FittedOnce, Network
from rnnlab.models.baseline import METHODS, _make
from rnnlab.paths import HOME
from rnnlab.settings import TrainSettings
from rnnlab.training.recipes import check

ORDER = ["srnn", "lstm", "gru", "birnn", "tcn", "transformer", "seq2seq", "baseline"]
MODELS = sorted((file.stem for file in (HOME / "conf/model").glob("*.yaml")), key=ORDER.index)
DATA = sorted(file.stem for file in (HOME / "conf/data").glob("*.yaml"))
MODULES = {
    **{"SpeechData": "speech", "DictationData": "dictation", "TextData": "text", "TranslationData": "translation"},
    **{"PronunciationData": "pronunciation", "StockData": "stock", "SeriesData": "series"},
    **{"AddingData": "adding", "CopyingData": "copying", "ParityData": "parity", "MusicData": "music"},
}
CTC = ("srnn", "lstm", "gru", "birnn", "tcn", "transformer")
LOOKING_AHEAD = ("birnn", "seq2seq")
NEVER_ANSWERED = [SPECIALS.index(word) for word in ("<pad>", "<s>", "</s>")]
REFUSED: dict[tuple[str, str], bool] = {}
START, END = "<!-- the matrix: made by tests/test_matrix.py -->", "<!-- end of the matrix -->"


def module_of(name: str) -> str:
    """Return the module's own data name for a data file."""
    node = yaml.safe_load((HOME / "conf/data" / f"{name}.yaml").read_text(encoding="utf-8"))
    while "_target_" not in node:
        parent = next(entry for entry in node["defaults"] if entry != "_self_")
        node = yaml.safe_load((HOME / "conf/data" / f"{parent}.yaml").read_text(encoding="utf-8"))
    return MODULES[node["_target_"].rpartition(".")[2]]


def described(name: str) -> str:
    """Return what a data file says of itself in its first line."""
    first = (HOME / "conf/data" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    return first.removeprefix("# ").rstrip(".")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SequenceDataModule]:
    """Set every module up on its bundled sample, where it is not generated."""
    os.environ.setdefault("RNNLAB_ROOT", str(tmp_path_factory.getbasetemp()))
    found = {}
    for name in MODULES.values():
        config = TrainSettings.of(compose_config("config", [f"data={name}", f"paths.data={tmp_path_factory.mktemp(name)}"]))
        source = {"source": "sample"} if "source" in config.data.values else {}
        found[name] = recipe({**config.data.values, **source}, "data")(config.paths, 0)
        found[name].setup()
    return found


def is_refused(model: str, module: str, samples: dict[str, SequenceDataModule], compose: Callable[..., TrainSettings]) -> bool:
    """Tell whether a model says that it cannot answer such data; each pair is built once."""
    if (model, module) not in REFUSED:
        REFUSED[model, module] = False
        try:
            recipe(compose(f"model={model}", f"data={module}")["model"], "model")(samples[module].make_spec())
        except ValueError as error:
            assert re.search(r"^data=\w+ has .*choose model=", str(error)), f"{error}: no reason, or nothing to do instead"
            REFUSED[model, module] = True
    return REFUSED[model, module]


def methods_for(spec: DataSpec) -> list[str]:
    """Return the baselines that can answer such data."""
    fitting = []
    for kind in METHODS:
        try:
            _make(kind, spec, BaselineSettings(kind, None, 1))
        except ValueError:
            continue
        fitting.append(kind)
    return fitting


def matrix(samples: dict[str, SequenceDataModule], compose: Callable[..., TrainSettings]) -> str:
    """Write the table."""
    lines = ["| `data=` | what | " + " | ".join(f"`{model}`" for model in MODELS) + " |", "|---" * (2 + len(MODELS)) + "|"]
    for name in sorted(DATA, key=lambda name: (list(MODULES.values()).index(module_of(name)), name != module_of(name), name)):
        kinds = ", ".join(methods_for(samples[module_of(name)].make_spec()))
        networks = ["\u2013" if is_refused(model, module_of(name), samples, compose) else "yes" for model in MODELS if model != "baseline"]
        marks = [*networks, kinds]
        lines.append(f"| `{name}` | {described(name)} | " + " | ".join(marks) + " |")
    return "\n".join(lines)


def test_the_readme_shows_the_matrix(samples: dict[str, SequenceDataModule], compose: Callable[..., TrainSettings]) -> None:
    wanted = f"{START}\n{matrix(samples, compose)}\n{END}"
    file = HOME / "README.md"
    text = file.read_text(encoding="utf-8")  # only now: somebody may have written meanwhile
    if os.environ.get("RNNLAB_WRITE"):
        file.write_text(re.sub(f"{START}.*{END}", lambda _: wanted, text, flags=re.DOTALL), encoding="utf-8")
        return
    assert wanted in text, "README.md: run RNNLAB_WRITE=1 python -m pytest tests/test_matrix.py"


@pytest.mark.parametrize("data", DATA)
def test_every_model_composes_with_every_data_set(data: str, compose: Callable[..., TrainSettings]) -> None:
    for model in MODELS:
        check(compose(f"model={model}", f"data={data}"))


@pytest.mark.parametrize("module", MODULES.values())
@pytest.mark.parametrize("model", MODELS)
def test_every_model_answers_a_batch_of_every_kind_of_data_or_refuses_it(
    model: str, module: str, samples: dict[str, SequenceDataModule], compose: Callable[..., TrainSettings]
) -> None:
    config: dict[str, Any] = compose(f"model={model}", f"data={module}")
    data = samples[module]
    if is_refused(model, module, samples, compose):
        is_without_ctc = module == "translation" and model in CTC
        assert is_without_ctc or (module == "music" and model in LOOKING_AHEAD) or (module, model) == ("copying", "seq2seq")
        return
    made = config.model.recipe()(data.make_spec())
    assert isinstance(made, Network | FittedOnce)
    if isinstance(made, FittedOnce):
        made.fit(data.plain_dataloader("train"), data.plain_dataloader("val"))
    rows = data.rows["test"][np.array([0, 3, 1])]
    outputs = made.eval().predict(data.collate(rows, epoch=0, is_training=False))
    if isinstance(outputs, Decoded):
        assert len(outputs.hypotheses) == 3 and all(outputs.hypotheses)
        tokens = {token for found in outputs.hypotheses for hypothesis in found for token in hypothesis.tokens}
        assert tokens <= set(range(data.make_spec().target_size)) - set(NEVER_ANSWERED)
        return
    num_steps = [int(data.lengths[rows].max())] if made.task.is_per_step else []
    assert outputs.shape == (3, *num_steps, made.task.output_size)
    assert torch.isfinite(outputs).all()
