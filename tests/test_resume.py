"""The same command gives the same bits; stopped anywhere and resumed, it still does."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from mlflow import MlflowClient
from tests.lanes import some

from rnnlab.commands import train as run
from rnnlab.config import ConfigError
from rnnlab.paths import HOME
from rnnlab.settings import TrainSettings
from rnnlab.training import callbacks

WORDS = (
    "data.source=sample", "model=birnn", "cell=lstm", "frontend=convolution", "model.recurrence.hidden_size=7",
    "frontend.channels=[3,4,5]", "model.recurrence.num_layers=2", "model.recurrence.dropout=0.3", "trainer.max_epochs=3",
    "trainer.limit_train_batches=5", "data.loader.batch_size=16", "tracking.log_model=false",
    "callbacks.checkpoint.keep_last=true",
)  # fmt: skip


def train(config: TrainSettings) -> Path:
    """Train and return the folder of the run."""
    before = set(config.paths.outputs.glob("*"))
    run.train(config)
    (folder,) = set(config.paths.outputs.glob("*")) - before
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the last checkpoint's weights."""
    state: dict[str, torch.Tensor] = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    return state


@pytest.fixture(scope="module")
def uninterrupted(root: Path) -> dict[str, Path]:
    """Folders of uninterrupted runs, by scheduler, so that each is trained once."""
    return {}


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.equal(value, b[name]), name


def whole(scheduler: str, compose: Callable[..., TrainSettings], uninterrupted: dict[str, Path]) -> Path:
    """Return an uninterrupted run, trained once."""
    if scheduler not in uninterrupted:
        uninterrupted[scheduler] = train(compose(*WORDS, *words_of(scheduler)))
    return uninterrupted[scheduler]


def words_of(scheduler: str) -> list[str]:
    return [*f"scheduler={scheduler}".split(), "callbacks.early_stopping.patience=5"]


def test_the_same_command_twice_gives_identical_weights(compose: Callable[..., TrainSettings], uninterrupted: dict[str, Path]) -> None:
    first, second = whole("cosine", compose, uninterrupted), train(compose(*WORDS, *words_of("cosine")))
    assert_equal(weights(first), weights(second))


def stop_and_resume(
    compose: Callable[..., TrainSettings], words: tuple[str, ...], stop_at: int, root: Path, patching: pytest.MonkeyPatch
) -> Path:
    """Train, send SIGINT in a step, resume to the end, and return the folder of the run."""

    def interrupt(self: object, trainer: pl.Trainer, *rest: object) -> None:
        if trainer.global_step == stop_at:
            signal.raise_signal(signal.SIGINT)

    before = set((root / "outputs").glob("*"))
    with patching.context() as patch:
        patch.setattr(callbacks.Meter, "on_train_batch_end", interrupt)
        patch.setattr(callbacks.Meter, "numbers", lambda self: {"speed/examples_per_second": 0.0, "memory/peak_mb": 0.0})
        with pytest.raises(SystemExit) as stopped:
            run.train(compose(*words))
    assert stopped.value.code == 130
    (folder,) = set((root / "outputs").glob("*")) - before
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    assert client.get_run(folder.name).info.status == "KILLED"
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == stop_at
    run.train(compose(f"resume={folder.name}"))
    assert client.get_run(folder.name).info.status == "FINISHED"
    return folder


KILLED = """
import os, runpy, sys
from rnnlab.training.callbacks import LastCheckpoint
write, written = LastCheckpoint._write, []
def write_and_die(self, trainer):
    write(self, trainer)
    written.append(trainer.global_step)
    if len(written) == 2:
        os.kill(os.getpid(), 9)
LastCheckpoint._write = write_and_die
sys.argv = ["train.py", *{words}]
runpy.run_path("{home}/src/train.py", run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("minutes", [10, 0])
def test_no_point_of_a_curve_is_lost_or_doubled_by_kill_9_after_a_checkpoint(
    minutes: int, compose: Callable[..., TrainSettings], root: Path
) -> None:
    words = (*WORDS, "tracking.log_every_n_steps=1", f"callbacks.checkpoint.every_minutes={minutes}")
    whole, before = train(compose(*words)), set((root / "outputs").glob("*"))
    code = KILLED.format(words=["data=speech", *words], home=HOME)
    environment = os.environ | {"RNNLAB_ROOT": str(root), "PYTHONPATH": str(HOME / "src")}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False, capture_output=True).returncode == -9
    (folder,) = set((root / "outputs").glob("*")) - before
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    step = torch.load(folder / "last.ckpt", weights_only=True)["global_step"]
    assert [m.step for m in client.get_metric_history(folder.name, "train/loss")] == list(range(1, step + 1))
    run.train(compose(f"resume={folder.name}"))
    for name in ("train/loss", "val/loss", "val/accuracy"):
        ours, theirs = ([(m.step, m.value) for m in client.get_metric_history(f.name, name)] for f in (folder, whole))
        assert sorted(ours) == sorted(theirs), name


def test_a_run_at_which_a_process_works_is_not_resumed(compose: Callable[..., TrainSettings], root: Path) -> None:
    folder = train(compose(*WORDS, "trainer.max_epochs=1"))
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    client.update_run(folder.name, status="RUNNING")  # by this process, as its tags say
    message = rf"resume={folder.name}: process {os.getpid()} on {socket.gethostname()} is working at that run"
    with pytest.raises(ConfigError, match=message):
        run.train(compose(f"resume={folder.name}"))


def assert_same_results(folder: Path, other: Path, root: Path) -> None:
    """Compare the last weights, and what was measured of the best ones."""
    assert_equal(weights(folder), weights(other))
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    ours, theirs = (client.get_run(f.name).data.metrics for f in (folder, other))
    measured = [name for name in theirs if name.startswith(("best/", "test/"))]
    assert "best/loss" in measured and "test/loss" in measured
    assert {name: ours[name] for name in measured} == {name: theirs[name] for name in measured}


SCHEDULERS = ("cosine", "plateau", "onecycle callbacks.ema_decay=0.9")
IN_FAST_LANE = [(7, "cosine")]


@pytest.mark.parametrize(
    ("stop_at", "scheduler"),
    [
        *IN_FAST_LANE,
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in product((10, 7, 5, 2), SCHEDULERS) if pair not in IN_FAST_LANE),
    ],
)
def test_a_run_stopped_by_sigint_and_resumed_ends_with_the_weights_of_an_uninterrupted_one(
    stop_at: int,
    scheduler: str,
    compose: Callable[..., TrainSettings],
    uninterrupted: dict[str, Path],
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = whole(scheduler, compose, uninterrupted)
    folder = stop_and_resume(compose, (*WORDS, *words_of(scheduler)), stop_at, root, monkeypatch)
    assert_same_results(folder, expected, root)


OF_DATA = {
    "text": "data.source=sample data.loader.word_dropout=0.3 data.loader.batch_tokens=200 data.loader.num_buckets=4 "
    "frontend.embedding_size=6 frontend.num_ngrams=[50,20] frontend.dropout=0.2 frontend.variational_dropout=0.2",
    "stock": "data.source=sample data.loader.augment.jitter=0.2 data.loader.augment.scaling=0.3 data.loader.augment.shift=4 "
    "data.loader.batch_size=32 model/head=quantile data.horizon_days=[1,5]",
    "copying": "data.num_steps=3 data.num_train=32 data.loader.batch_size=8 data.split_seed=4",
    "language": "data.source=sample data.loader.batch_size=5 data.loader.tbptt_steps=20 model.recurrence.weight_dropout=0.3 "
    "frontend.embedding_size=6 frontend.dropout=0.2 model.head.variational_dropout=0.2 model.regularisation.activation=1",
}


@pytest.mark.parametrize("data", some(OF_DATA, ["text", "language"]))
def test_texts_windows_and_generated_sequences_with_all_their_randomness_resume_exactly_too(
    data: str, compose: Callable[..., TrainSettings], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (f"data={data}", *OF_DATA[data].split(), "model.recurrence.hidden_size=5", "trainer.max_epochs=3")
    words += ("trainer.limit_train_batches=4", "trainer.limit_val_batches=2", "trainer.limit_test_batches=2", "tracking.log_model=false")
    words += ("callbacks.checkpoint.keep_last=true",)
    whole = train(compose(*words))
    assert_same_results(stop_and_resume(compose, words, 6, root, monkeypatch), whole, root)
    random = ("data.loader.word_dropout", "data.loader.augment", "data.split_seed", "model.recurrence.weight_dropout")
    without = [word for word in words if not word.startswith(random)]
    assert not all(torch.equal(value, weights(whole)[name]) for name, value in weights(train(compose(*without))).items())


def test_a_resume_takes_no_other_words(compose: Callable[..., TrainSettings]) -> None:
    with pytest.raises(ConfigError, match=r"resume=abc takes that run's recorded configuration: leave out trainer.max_epochs=9"):
        run.train(compose("resume=abc", "trainer.max_epochs=9"))


def test_a_finished_run_is_not_resumed(compose: Callable[..., TrainSettings]) -> None:
    folder = train(compose(*WORDS, "trainer.max_epochs=1"))
    with pytest.raises(ConfigError, match=r"that run is finished; train longer with init_from="):
        run.train(compose(f"resume={folder.name}"))


def flip(file: Path) -> None:
    """Write a checkpoint again, with one bit of its weights flipped."""
    torch.save({"state_dict": {"weight": torch.arange(1000.0)}}, file)
    content = bytearray(file.read_bytes())
    content[content.index(torch.arange(1000.0).numpy().tobytes()) + 77] ^= 1
    file.write_bytes(content)


class Bomb:
    """Leave a file behind when unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[Path, str]]:
        return Path.write_text, (self.file, "boom")


def test_a_checkpoint_that_carries_code_or_is_none_is_refused_and_no_code_run(
    compose: Callable[..., TrainSettings], tmp_path: Path, root: Path
) -> None:
    folder = train(compose(*WORDS, "trainer.max_epochs=1"))
    MlflowClient(f"sqlite:///{root / 'mlflow.db'}").set_terminated(folder.name, "KILLED")
    for spoil, reason in (
        (lambda file: torch.save({"state_dict": Bomb(tmp_path / "boom")}, file), "it carries code, which is not run"),
        (lambda file: file.write_bytes(b""), "it is damaged or no checkpoint"),
        (lambda file: file.write_bytes(b"not a checkpoint"), "it is damaged or no checkpoint"),
        (lambda file: file.write_bytes(file.read_bytes()[:20]), "it is damaged or no checkpoint"),
        (flip, r"it is damaged \(.* is not as it was written\)"),
        (lambda file: torch.save([1, 2], file), "it is damaged or no checkpoint"),
    ):
        for name, words in (("best.ckpt", (*WORDS, f"init_from={folder.name}")), ("last.ckpt", (f"resume={folder.name}",))):
            spoil(folder / name)
            with pytest.raises(ConfigError, match=rf"{name} cannot be loaded: {reason}"):
                run.train(compose(*words))
    assert not (tmp_path / "boom").exists()


def test_init_from_takes_what_fits_and_says_what_not(compose: Callable[..., TrainSettings], capsys: pytest.CaptureFixture[str]) -> None:
    folder = train(compose(*WORDS, "trainer.max_epochs=1"))
    run.train(compose(*WORDS, f"init_from={folder.name}", "trainer.max_epochs=1", "model.head.pooling=mean"))
    shown = capsys.readouterr().err
    assert "took 41 of 42 weights" in shown or "drawn anew: output.weight" in shown


def test_nan_loss_stops_the_run_and_says_where_and_why(compose: Callable[..., TrainSettings], root: Path) -> None:
    outputs = root / "outputs"
    before = set(outputs.glob("*"))
    with pytest.raises(callbacks.NonFiniteError, match=r"(the loss|the gradient of .*) became .* at step \d+ .*optimizer.lr="):
        run.train(compose(*WORDS, "optimizer=sgd", "optimizer.lr=1e30", "trainer.gradient_clip_val=null"))
    (folder,) = set(outputs.glob("*")) - before
    found = MlflowClient(f"sqlite:///{root / 'mlflow.db'}").get_run(folder.name)
    assert found.info.status == "FAILED"
    assert "NonFiniteError" in found.data.tags["failure"]


def test_time_and_speed_count_on_from_what_a_checkpoint_holds() -> None:
    first = callbacks.Meter()
    first.num_examples, first.seconds = 30, 2.0
    kept = first.state_dict() | {"fit_seconds": 100.0}
    later = callbacks.Meter()
    later.load_state_dict(kept)
    assert later.numbers()["speed/examples_per_second"] == 15 and 100 <= later.fit_seconds < 110
