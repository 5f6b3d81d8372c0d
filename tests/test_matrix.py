"""Every model on every kind of data: the README's table is made from conf/ here, and each of its marks is proved by a batch.

RNNLAB_WRITE=1 python -m pytest tests/test_matrix.py   writes the table anew
"""

import os
import re
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
import yaml
from tests.lanes import covering

from rnnlab.baselines.base import BaselineSettings
from rnnlab.config import ConfigError, recipe
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
NODES = {name: yaml.safe_load((HOME / "conf/data" / f"{name}.yaml").read_text(encoding="utf-8")) for name in DATA}
MODULES = {node["_target_"]: name for name, node in NODES.items() if "_target_" in node}
"""Each data module, and the data file that is named after it: the others build on one."""
TRANSLATIONS = ("translation", "multi30k", "cmn_eng", "summaries", "scitldr", "ag_titles")
CTC = ("srnn", "lstm", "gru", "birnn", "tcn", "transformer")
LOOKING_AHEAD = ("birnn", "seq2seq")
NEVER_ANSWERED = [SPECIALS.index(word) for word in ("<pad>", "<s>", "</s>")]
REFUSED: dict[tuple[str, str], bool] = {}
SAMPLES: dict[str, SequenceDataModule] = {}
Sample = Callable[[str], SequenceDataModule]
START, END = "<!-- the matrix: made by tests/test_matrix.py -->", "<!-- end of the matrix -->"


def module_of(name: str) -> str:
    """Return the module's own data name for a data file."""
    node = NODES[name]
    while "_target_" not in node:
        node = NODES[next(entry for entry in node["defaults"] if isinstance(entry, str) and entry != "_self_")]
    return MODULES[node["_target_"]]


def described(name: str) -> str:
    """Return what a data file says of itself in its first line."""
    first = (HOME / "conf/data" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    return first.removeprefix("# ").rstrip(".")


@pytest.fixture
def sample(compose: Callable[..., TrainSettings]) -> Sample:
    """Set a module up on its bundled sample, where it is not generated, once."""

    def found(name: str) -> SequenceDataModule:
        if name not in SAMPLES:
            config = compose(f"data={name}")
            source = {"source": "sample"} if "source" in config.data.values else {}
            SAMPLES[name] = recipe({**config.data.values, **source}, "data")(config.paths, 0)
            SAMPLES[name].setup()
        return SAMPLES[name]

    return found


def is_refused(model: str, module: str, sample: Sample, compose: Callable[..., TrainSettings]) -> bool:
    """Tell whether a model says that it cannot answer such data; each pair is built once."""
    if (model, module) not in REFUSED:
        REFUSED[model, module] = False
        try:
            compose(f"model={model}", f"data={module}").model.recipe()(sample(module).make_spec())
        except ValueError as error:
            assert re.search(r"^data=\w+ has .*choose model=", str(error)), f"{error}: no reason, or nothing to do instead"
            REFUSED[model, module] = True
    return REFUSED[model, module]


def methods_for(spec: DataSpec) -> list[str]:
    """Return the baselines that can answer such data."""
    fitting = []
    for kind in dict(METHODS):
        try:
            _make(kind, spec, BaselineSettings(kind, None, 1))
        except ValueError:
            continue
        fitting.append(kind)
    return fitting


def matrix(sample: Sample, compose: Callable[..., TrainSettings]) -> str:
    """Write the table."""
    lines = ["| `data=` | what | " + " | ".join(f"`{model}`" for model in MODELS) + " |", "|---" * (2 + len(MODELS)) + "|"]
    for name in sorted(DATA, key=lambda name: (module_of(name), name != module_of(name), name)):
        kinds = ", ".join(methods_for(sample(module_of(name)).make_spec()))
        networks = ["\u2013" if is_refused(model, module_of(name), sample, compose) else "yes" for model in MODELS if model != "baseline"]
        marks = [*networks, kinds]
        lines.append(f"| `{name}` | {described(name)} | " + " | ".join(marks) + " |")
    return "\n".join(lines)


@pytest.mark.slow
def test_the_readme_shows_the_matrix(sample: Sample, compose: Callable[..., TrainSettings]) -> None:
    wanted = f"{START}\n{matrix(sample, compose)}\n{END}"
    file = HOME / "README.md"
    text = file.read_text(encoding="utf-8")  # only now: somebody may have written meanwhile
    if os.environ.get("RNNLAB_WRITE"):
        file.write_text(re.sub(f"{START}.*{END}", lambda _: wanted, text, flags=re.DOTALL), encoding="utf-8")
        return
    assert wanted in text, "README.md: run RNNLAB_WRITE=1 python -m pytest tests/test_matrix.py"


@pytest.mark.slow
@pytest.mark.parametrize("data", DATA)
def test_every_model_composes_with_every_data_set(data: str, compose: Callable[..., TrainSettings]) -> None:
    for model in MODELS:
        settings = compose(f"model={model}", f"data={data}")
        if data in TRANSLATIONS and model in CTC:
            with pytest.raises(ConfigError, match=r"cannot train them; choose model=seq2seq$"):
                check(settings)
        else:
            check(settings)


WITH_REFUSALS = [("gru", "translation"), ("birnn", "music"), ("seq2seq", "copying")]
PAIRS = [pair for pair in product(MODELS, MODULES.values()) if pair not in WITH_REFUSALS]


@pytest.mark.parametrize(("model", "module"), [*WITH_REFUSALS, *covering(PAIRS, strength=1)])
def test_every_model_answers_a_batch_of_every_kind_of_data_or_refuses_it(
    model: str, module: str, sample: Sample, compose: Callable[..., TrainSettings]
) -> None:
    config = compose(f"model={model}", f"data={module}")
    data = sample(module)
    if is_refused(model, module, sample, compose):
        is_without_ctc = module in ("translation", "summaries") and model in CTC
        looks_ahead = module in ("music", "language", "events") and model in LOOKING_AHEAD
        assert is_without_ctc or looks_ahead or (module, model) in (("copying", "seq2seq"), ("tags", "seq2seq"))
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
    assert isinstance(outputs, torch.Tensor)
    num_steps = [int(data.lengths[rows].max())] if made.task.is_per_step else []
    assert outputs.shape == (3, *num_steps, made.task.output_size)
    assert torch.isfinite(outputs).all()
