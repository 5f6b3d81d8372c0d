"""Claims about compressed networks: pruned, rounded to int8, or both; what is evaluated is what is kept, and what cannot be is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.test_resume import assert_same_results, stop_and_resume, train

from rnnlab.commands import train as run
from rnnlab.config import ConfigError, Failed
from rnnlab.data.base import SequenceDataModule
from rnnlab.evaluation.bundle import load_bundle, size_kb
from rnnlab.evaluation.evaluate import evaluate
from rnnlab.evaluation.packing import is_matrix, pack
from rnnlab.models.base import Network
from rnnlab.settings import TrainSettings
from rnnlab.tracking.store import connect, get_run
from rnnlab.training.checkpoints import BEST, read_checkpoint
from rnnlab.training.pruning import masks_of

SMALL = (
    *("data=text", "data.source=sample", "model=gru", "model.recurrence.hidden_size=12", "frontend.embedding_size=10"),
    *("trainer.num_threads=1", "tracking.log_model=false", "trainer.limit_train_batches=6"),
)


@pytest.fixture(scope="module")
def kept() -> dict[str, Path]:
    """Folders of runs that are trained once."""
    return {}


@pytest.fixture
def dense(compose: Callable[..., TrainSettings], kept: dict[str, Path]) -> Path:
    """Return a run that was trained as usual."""
    if "dense" not in kept:
        kept["dense"] = train(compose(*SMALL, "epochs=3"))
    return kept["dense"]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = read_checkpoint(folder / BEST)["state_dict"]
    return found


def metrics_of(folder: Path, root: Path) -> dict[str, float]:
    found: dict[str, float] = get_run(connect(None, root), folder.name).data.metrics
    return found


def fraction_of_zeros(state: dict[str, torch.Tensor]) -> float:
    matrices = [value for value in state.values() if is_matrix(value)]
    return sum(int((value == 0).sum()) for value in matrices) / sum(value.numel() for value in matrices)


def test_the_smallest_of_all_weights_go_or_those_of_each_matrix() -> None:
    small, large = torch.tensor([[0.1, -0.2], [0.3, 0.4]]), torch.tensor([[5.0, -6.0], [7.0, -8.0]])
    both = masks_of([small, large], 0.5, "global")
    assert [int(mask.sum()) for mask in both] == [0, 4]
    each = masks_of([small, large], 0.5, "matrix")
    assert [mask.int().tolist() for mask in each] == [[[0, 0], [1, 1]], [[0, 0], [1, 1]]]
    assert all(bool(mask.all()) for mask in masks_of([small, large], 0.05, "global"))


@pytest.mark.parametrize("how", ["weights", "dynamic"])
def test_a_run_is_rounded_to_int8_as_it_is_and_its_bundle_answers_as_it_was_evaluated(
    compose: Callable[..., TrainSettings], dense: Path, root: Path, how: str
) -> None:
    settings = compose(*SMALL, "epochs=0", f"init_from={dense.name}", f"compression.int8={how}")
    folder = train(settings)
    ours, theirs = weights_of(folder), weights_of(dense)
    for name, value in theirs.items():
        near = value.abs().amax() / 127 if is_matrix(value) else 0.0
        assert float((ours[name] - value).abs().max()) <= near
    bundle = load_bundle(folder / "artifacts/bundle")
    assert all(torch.equal(value, ours[name]) for name, value in bundle.model.state_dict().items())
    data: SequenceDataModule = settings.data.recipe()(settings.paths, settings.seed)
    data.setup()
    found, metrics = evaluate(bundle.model, data, "test").numbers, metrics_of(folder, root)
    assert found["loss"] == metrics["test/loss"]
    assert metrics["test/loss"] == pytest.approx(metrics_of(dense, root)["test/loss"], abs=0.1)
    stored = sum(value.numel() * value.element_size() for value in pack(ours, is_int8=True).values())
    assert stored / 1000 < metrics["model/size_kb"] == size_kb(folder / "artifacts/bundle") < stored / 1000 + 2
    assert metrics["model/size_kb"] < 0.45 * metrics_of(dense, root)["model/size_kb"]
    assert 0 < metrics["latency/example_p50_ms"] <= metrics["latency/example_p99_ms"]


def test_a_run_is_pruned_by_steps_while_it_trains_and_goes_on_exactly(
    compose: Callable[..., TrainSettings], dense: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (
        *(*SMALL, "epochs=4", f"init_from={dense.name}", "compression.sparsity=0.75", "callbacks.checkpoint.keep_last=true"),
        *("callbacks.checkpoint.num_best=9", "optimizer.lr=0.01"),
    )
    folder = train(compose(*words))
    pruned = [
        weights_of(folder),
        load_bundle(folder / "artifacts/bundle").model.state_dict(),
        read_checkpoint(folder / "last.ckpt")["state_dict"],
    ]
    assert [fraction_of_zeros(each) for each in pruned] == pytest.approx([0.75] * 3, abs=1e-3)
    assert metrics_of(folder, root)["model/size_kb"] < 0.5 * metrics_of(dense, root)["model/size_kb"]
    # sparsity is reached after two of four epochs: only checkpoints of the last three validations (epochs 1, 2, 3) may be chosen
    epochs = {int(read_checkpoint(file)["epoch"]) for file in folder.glob("best*.ckpt")}
    assert epochs == {1, 2, 3}
    assert_same_results(stop_and_resume(compose, words, 8, root, monkeypatch), folder, root)


def test_pruning_at_once_and_rounding_go_together_also_with_averaged_weights(
    compose: Callable[..., TrainSettings], dense: Path, root: Path
) -> None:
    words = ("compression.sparsity=0.9", "compression.ramp=0", "compression.scope=matrix", "compression.int8=weights")
    folder = train(compose(*SMALL, "epochs=1", f"init_from={dense.name}", "callbacks.ema_decay=0.9", *words))
    for name, value in weights_of(folder).items():
        if is_matrix(value):
            assert float((value == 0).float().mean()) >= 0.9 - 1 / value.numel(), name
    assert metrics_of(folder, root)["model/size_kb"] < 0.25 * metrics_of(dense, root)["model/size_kb"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("compression.sparsity=1",), r"compression.sparsity=1 is not allowed"),
        (("compression.sparsity=0",), r"compression.sparsity=0 is not allowed"),
        (("compression.sparsity=0.5", "compression.ramp=1"), r"compression.ramp=1 is not allowed"),
        (("compression.int8=sometimes",), r"compression.int8=sometimes is not allowed. .*Allowed: weights, dynamic"),
        (("compression.ramp=0.1",), r"compression.ramp=0.1 says how to prune, but not how much: add compression.sparsity=0.8"),
        (("compression.int8=dynamic", "model=birnn", "cell=mingru"), r"not for cell=mingru. Set compression.int8=weights"),
        (("compression.int8=dynamic", "model=tcn"), r"model=tcn has no recurrent cell"),
        (("compression.int8=weights", "model=baseline"), r"model=baseline has none: leave it out"),
        (
            ("compression.sparsity=0.5", "callbacks.early_stopping.patience=2"),
            r"patience=2 may end training before compression.sparsity=0.5",
        ),
        (("epochs=0",), r"epochs=0 is not allowed: a whole number from 1 .*; 0, with init_from and no teacher"),
    ],
)
def test_what_cannot_be_compressed_is_refused(compose: Callable[..., TrainSettings], words: tuple[str, ...], message: str) -> None:
    plain = ("data=text", "data.source=sample", "tracking.log_model=false", *(() if "model=baseline" in words else ("epochs=1",)))
    with pytest.raises((ConfigError, Failed, ValueError), match=message):
        run.train(compose(*(word for word in plain if word.partition("=")[0] not in {each.partition("=")[0] for each in words}), *words))


def test_weights_that_are_missing_are_not_passed_over_where_nothing_is_trained(compose: Callable[..., TrainSettings], dense: Path) -> None:
    with pytest.raises(
        ConfigError, match=rf"weights of run {dense.name} as they are, and 5 of .* first: set model.recurrence.hidden_size=12, or"
    ):
        run.train(
            compose(
                *(word for word in SMALL if "hidden_size" not in word),
                "model.recurrence.hidden_size=13",
                "epochs=0",
                f"init_from={dense.name}",
            )
        )


def test_the_network_that_a_compressed_run_kept_is_a_network_like_any_other(dense: Path) -> None:
    assert isinstance(load_bundle(dense / "artifacts/bundle").model, Network)
