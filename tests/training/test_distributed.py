"""Two processes end where one does; commands of several processes make one run each, stop when asked, and go on."""

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from mlflow import MlflowClient
from tests.lanes import some

from rnnlab.commands import train as run
from rnnlab.config import ConfigError
from rnnlab.contracts import Batch
from rnnlab.data.base import SequenceDataModule
from rnnlab.data.batches import share
from rnnlab.models.base import Network
from rnnlab.paths import HOME
from rnnlab.settings import TrainSettings
from rnnlab.training import distributed, launching
from rnnlab.training.callbacks import StepSeed
from rnnlab.training.recipes import check

Command = Callable[..., "CompletedProcess[str]"]
SPEECH = (
    "model=birnn data=speech frontend.channels=[3,4] frontend.kernel_sizes=[3,3] frontend.time_strides=[2,1] "
    "frontend.frequency_strides=[2,4] data.loader.is_augmented=false data.loader.normalise=none frontend.dropout=0 "
    "model.head.dropout=0 model.recurrence.hidden_size=5"
)
SPOKEN = (
    "data=pronunciation model.recurrence.hidden_size=5 frontend.embedding_size=6 frontend.dropout=0 model.head.dropout=0"
    " model.recurrence.dropout=0 data.loader.batch_size=9"
)
SEQ2SEQ = f"model=seq2seq {SPOKEN} model.decoder.hidden_size=7 model.decoder.embedding_size=4 model.decoder.dropout=0"
TRAIN = """
import os, pathlib
os.environ |= environment
from rnnlab.commands import train
os.environ["RNNLAB_ROOT"] = root
train.train(config)
"""


# The mathematics ------------------------------------------------------------------------------------------------------------------

LOSSES = {
    "classes, weighted and smoothed": f"{SPEECH} frontend=direct model.regularisation.class_weights=balanced "
    "model.regularisation.label_smoothing=0.1",
    "forecasts": "model=gru data=stock model.head.dropout=0",
    "quantiles": "model=lstm data=stock model/head=quantile data.horizon_days=[1,5] model.head.dropout=0",
    "variances": "model=srnn data=stock data.target=volatility model.head.dropout=0",
    "tokens": f"{SEQ2SEQ} model.regularisation.label_smoothing=0.1 model.attention=bahdanau",
    "CTC": f"model=birnn {SPOKEN} frontend.repeats=2",
    "spelled classes, weighted": "model=seq2seq data=text frontend=embedding frontend.dropout=0 model.head.dropout=0 model.recurrence."
    "dropout=0 model.decoder.dropout=0 model.regularisation.class_weights=[1,3,0.5,2]",
    "numbers one after another": "model=seq2seq data=stock data.horizon_days=[1,5] model.head.dropout=0 model.recurrence.dropout=0 "
    "model.decoder.dropout=0",
}


def made(words: str, compose: Callable[..., TrainSettings]) -> tuple[Network, SequenceDataModule]:
    """Return a network in float64 and its data, the bundled sample."""
    given = [word for word in words.split() if "frontend=direct" not in words or not word.startswith("frontend.")]
    config = compose(*given, "data.source=sample")
    data: SequenceDataModule = config.data.recipe()(config.paths, 0)
    data.setup()
    torch.manual_seed(0)
    return config.model.recipe()(data.make_spec()).double(), data


def in_double(batch: Batch) -> Batch:
    floats = {name: value.double() for name, value in vars(batch).items() if isinstance(value, torch.Tensor) and value.is_floating_point()}
    reference = batch.reference and type(batch.reference)(*(value.double() for value in vars(batch.reference).values()))
    return dataclasses.replace(batch, reference=reference, **floats)  # type: ignore[arg-type]  # floats holds tensors of a batch


@pytest.mark.parametrize("kind", some(LOSSES, ["classes, weighted and smoothed", "quantiles", "tokens", "CTC"]))
def test_the_loss_of_a_batch_is_the_weighted_mean_of_the_losses_of_its_shares(kind: str, compose: Callable[..., TrainSettings]) -> None:
    model, data = made(LOSSES[kind], compose)
    model.log = lambda *words, **settings: None
    rows = data.rows["train"][np.array([0, 7, 1, 5, 2])]

    def measured(chosen: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        batch = in_double(data.collate(chosen, epoch=0, is_training=True))
        return model.training_loss(batch).detach(), model.loss_weight(batch)

    shares = [measured(share(rows, rank, 2)) for rank in (0, 1)]
    whole, weight = measured(rows)
    total = sum(float(w) for _, w in shares)
    assert total == pytest.approx(float(weight), rel=1e-12)
    assert sum(float(loss * w) for loss, w in shares) / total == pytest.approx(
        float(whole), rel=1e-5 if "speech" in LOSSES[kind] else 1e-10
    )


@pytest.mark.parametrize("words", [SEQ2SEQ, f"{SEQ2SEQ} model.attention=none model.recurrence.num_layers=2", LOSSES["CTC"]])
def test_a_model_says_whether_some_of_its_parameters_do_nothing(words: str, compose: Callable[..., TrainSettings]) -> None:
    model, data = made(words, compose)
    model.log = lambda *words, **settings: None
    model.training_loss(in_double(data.collate(data.rows["train"][:3], epoch=0, is_training=True))).backward()
    assert model.has_idle_parameters == any(parameter.grad is None for parameter in model.parameters())


def test_each_row_is_in_one_share_and_rows_that_are_too_few_are_in_all() -> None:
    rows = np.array([5, 3, 8, 1, 9, 2, 7])
    shares = [share(rows, rank, 3).tolist() for rank in range(3)]
    assert shares == [[5, 1, 7], [3, 9], [8, 2]]
    assert [share(rows[:2], rank, 3).tolist() for rank in range(3)] == [[5, 3]] * 3


def test_each_process_draws_its_own_dropout_and_the_first_what_one_alone_would(monkeypatch: pytest.MonkeyPatch) -> None:
    class At:
        global_step = 3

    drawn = []
    for number in (None, "0", "1"):
        with monkeypatch.context() as patch:
            for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE") if number else ():
                patch.setenv(name, str(number))
            StepSeed(7).on_train_batch_start(At(), pl.LightningModule(), None, 0)  # type: ignore[arg-type]  # a stand-in
            drawn.append(torch.rand(4).tolist())
    assert drawn[0] == drawn[1] != drawn[2]


# Two processes --------------------------------------------------------------------------------------------------------------------


def trained(root: Path, train: Callable[[], object]) -> Path:
    """Train and return the folder of the run."""
    before = set((root / "outputs").glob("*"))
    train()
    (folder,) = set((root / "outputs").glob("*")) - before
    return folder


def train_in_two(config: TrainSettings, root: Path, meeting: Path) -> None:
    """Train in two processes that share one import."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rnnlab.commands.train"])
    shared = {"WORLD_SIZE": "2", launching.RENDEZVOUS: f"file://{meeting}"}
    scopes = [{"environment": shared | {"RANK": r, "LOCAL_RANK": r}, "root": str(root), "config": config} for r in ("0", "1")]
    processes = [context.Process(target=exec, args=(TRAIN, scope)) for scope in scopes]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]


def largest_difference(folder: Path, other: Path) -> float:
    """Return the largest difference between two runs' last weights, relative to each tensor's largest number."""
    ours, theirs = (torch.load(f / "last.ckpt", weights_only=True) for f in (folder, other))
    assert ours["global_step"] == theirs["global_step"] and ours["state_dict"].keys() == theirs["state_dict"].keys()
    pairs = [(value.double(), theirs["state_dict"][name].double()) for name, value in ours["state_dict"].items()]
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-30)) for a, b in pairs)


SAME = {
    # 400 recordings: the last batch of an epoch holds one alone.
    "batch normalisation": f"{SPEECH} data.loader.batch_size=57 model.regularisation.class_weights=balanced model.regularisation.l1=1e-4 "
    "model.recurrence.has_batch_norm=true callbacks.ema_decay=0.9 trainer.max_epochs=6",
    "tokens": f"{SEQ2SEQ} model.attention=none model.recurrence.num_layers=2 trainer.accumulate_grad_batches=2 "
    "trainer.limit_train_batches=17 trainer.max_epochs=6",
    "CTC": f"model=birnn {SPOKEN} frontend.repeats=2 trainer.limit_train_batches=25 trainer.max_epochs=2",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SAME)
def test_two_processes_end_with_the_weights_of_one(kind: str, compose: Callable[..., TrainSettings], root: Path, tmp_path: Path) -> None:
    words = [*SAME[kind].split(), "data.source=sample", "trainer.precision=64-true", "tracking.log_model=false", "trainer.accelerator=cpu"]
    words += ["trainer.limit_val_batches=2", "trainer.limit_test_batches=2", "tracking.log_every_n_steps=5"]
    words += ["callbacks.checkpoint.keep_last=true"]
    alone = trained(root, lambda: run.train(compose(*words)))
    together = trained(root, lambda: train_in_two(compose(*words, "trainer=ddp"), root, tmp_path / "meeting"))
    assert largest_difference(together, alone) < 1e-10
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    ours, theirs = (client.get_run(folder.name).data for folder in (together, alone))
    assert (ours.tags["num_processes"], theirs.tags["num_processes"]) == ("2", "1")
    for name in ("val/loss", "best/loss", "test/loss", "test/num_examples"):
        assert ours.metrics[name] == pytest.approx(theirs.metrics[name], rel=1e-6), name
    losses = [[(m.step, m.value) for m in client.get_metric_history(f.name, "train/loss")] for f in (together, alone)]
    assert [step for step, _ in losses[0]] == [step for step, _ in losses[1]]
    ours_and_theirs = np.array(losses)
    assert np.allclose(ours_and_theirs[0], ours_and_theirs[1], rtol=1e-6)


# Commands -------------------------------------------------------------------------------------------------------------------------

SMALL = (
    f"{SPEECH} trainer=ddp trainer.accelerator=cpu data.source=sample tracking.log_model=false trainer.limit_val_batches=2 "
    "trainer.limit_test_batches=2"
)


def runs_of(root: Path, experiment: str) -> list[Any]:
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    return list(client.search_runs([client.get_experiment_by_name(experiment).experiment_id]))


def assert_whole(found: Any, root: Path) -> None:
    """Compare with what a run leaves behind."""
    assert (found.info.status, found.data.tags["num_processes"]) == ("FINISHED", "2")
    artifacts = root / "mlartifacts" / "ddp" / found.info.run_id / "artifacts"
    assert {"predictions", "bundle", "config.yaml"} <= {file.name for file in artifacts.iterdir()}


@pytest.mark.slow
def test_a_sweep_makes_one_run_a_job_below_one_parent(command: Command, root: Path) -> None:
    done = command(f"src/train.py -m {SMALL} trainer.max_epochs=1 trainer.limit_train_batches=2 tracking.experiment=ddp seed=0,1")
    assert done.returncode == 0, done.stderr
    children = [r for r in runs_of(root, "ddp") if "mlflow.parentRunId" in r.data.tags]
    assert len(runs_of(root, "ddp")) == 3 and {r.info.status for r in runs_of(root, "ddp")} == {"FINISHED"}
    assert sorted(r.data.params["seed"] for r in children) == ["0", "1"]
    assert len({r.data.tags["mlflow.parentRunId"] for r in children}) == 1
    for one in children:
        assert_whole(one, root)


@pytest.mark.slow
def test_torchrun_makes_one_run(root: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(HOME / "src/train.py")]
    settings = os.environ | {"RNNLAB_ROOT": str(root)}
    words = f"{SMALL} trainer.max_epochs=1 trainer.limit_train_batches=2 tracking.experiment=ddp name=t".split()
    done = subprocess.run([*command, *words], env=settings, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\nrun ") == 1
    (found,) = [r for r in runs_of(root, "ddp") if r.info.run_name == "t"]
    assert_whole(found, root)


@pytest.mark.slow
def test_ctrl_c_saves_and_a_resume_ends_with_the_weights_of_one_uninterrupted_process(
    command: Command, compose: Callable[..., TrainSettings], root: Path
) -> None:
    words = f"{SMALL} trainer.precision=64-true trainer.max_epochs=2 data.loader.batch_size=9 tracking.experiment=ddp"
    words += " callbacks.checkpoint.keep_last=true"
    alone = trained(root, lambda: run.train(compose(*words.replace("trainer=ddp", "").split())))
    settings = {k: v for k, v in os.environ.items() if k != "HYDRA_FULL_ERROR"} | {"RNNLAB_ROOT": str(root)}
    line = [sys.executable, str(HOME / "src/train.py"), *words.split(), "callbacks.checkpoint.every_minutes=0.0001", "name=c"]
    before = set((root / "outputs").glob("*"))
    with subprocess.Popen(line, env=settings, stderr=subprocess.PIPE, text=True) as parent:
        while not (left := [f for f in (root / "outputs").glob("*/last.ckpt") if f.parent not in before]):
            assert parent.poll() is None
        parent.send_signal(signal.SIGINT)
        shown = parent.communicate(timeout=120)[1]
    folder = left[0].parent
    assert parent.returncode == 130, shown
    assert shown.count("interrupted and saved; continue with:") == shown.count("SIGINT: stopping after this step") == 1
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] < 90
    (found,) = [r for r in runs_of(root, "ddp") if r.info.run_name == "c"]
    assert found.info.status == "KILLED"
    done = command(f"src/train.py resume={folder.name}")
    assert done.returncode == 0, done.stderr
    assert largest_difference(folder, alone) < 1e-10
    (found,) = [r for r in runs_of(root, "ddp") if r.info.run_name == "c"]
    assert_whole(found, root)


# Who starts, and who ends ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def launch(compose: Callable[..., TrainSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
    """Launch two processes of a programme that is given as text."""

    def launched(text: str, parent: str | None = None) -> bool:
        script = tmp_path / "train.py"
        script.write_text(f"import os, signal, sys, time\nrank = os.environ['RANK']\n{text}\n", encoding="utf-8")
        monkeypatch.setattr(launching, "PROGRAMME", [str(script)])
        monkeypatch.setenv("PYTHONPATH", str(HOME / "src"))
        of_study = [] if parent is None else [f"study.parent={parent}"]
        settings = compose("trainer=ddp", *of_study)
        return launching.launched(settings, ["seed=3", "hydra.run.dir=x", "+study.parent=5"])

    return launched


def test_each_process_gets_its_words_but_those_of_a_sweep(launch: Callable[..., bool], tmp_path: Path) -> None:
    assert launch(f"open(f'{tmp_path}/' + rank, 'w').write(' '.join(sys.argv[1:]) + ' ' + os.environ['WORLD_SIZE'])")
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["seed=3 +study.parent=5 hydra.mode=RUN 2"] * 2


def test_where_one_process_fails_the_others_end_and_its_exit_code_is_ours(
    launch: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "GRACE_S", {"leader": 0.1, "other": 0.1})
    for failing in "01":
        with pytest.raises(SystemExit) as ended:
            launch(f"sys.exit(7) if rank == '{failing}' else signal.pause()")
        assert ended.value.code == 7
    with pytest.raises(ValueError, match=r"^a process of this training ended with exit code 7"):
        launch("sys.exit(7)", "p")  # a study goes on


def test_what_the_first_to_fail_left_is_raised_here(launch: Callable[..., bool]) -> None:
    leave = "from rnnlab.training.launching import leave_failure\nfrom rnnlab.config import ConfigError\n"
    with pytest.raises(ConfigError, match=r"^the reason$"):
        launch(f"{leave}leave_failure(ConfigError('the reason') if rank == '1' else ValueError('lost'), rank == '0')\nsys.exit(1)")


def test_what_we_are_sent_they_are_sent_once(launch: Callable[..., bool], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    poll = subprocess.Popen.poll
    is_sent: list[bool] = []

    def send_when_ready(worker: "subprocess.Popen[bytes]") -> int | None:
        if not is_sent and all((tmp_path / rank).exists() for rank in "01"):
            is_sent.append(True)
            signal.raise_signal(signal.SIGINT)
        return poll(worker)

    monkeypatch.setattr(subprocess.Popen, "poll", send_when_ready)
    listen = f"signal.signal(signal.SIGINT, lambda *_: (print('stopping', flush=True), sys.exit(130)))\nopen(f'{tmp_path}/' + rank, 'w')"
    with pytest.raises(SystemExit) as ended:
        launch(f"{listen}\nwhile True: signal.pause()")
    assert ended.value.code == 130


def test_a_worker_launches_nothing_and_a_baseline_stays_in_one_process(
    compose: Callable[..., TrainSettings], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    several = ("trainer=ddp", "trainer.devices=3")
    assert not launching.launched(compose("model=baseline", *several), [])
    assert "model=baseline is fitted once, in this one process" in capfd.readouterr().err
    for name, value in (("RANK", "1"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "4"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert not launching.launched(compose("model=gru", *several), [])
    assert (launching.rank(), launching.local_rank(), launching.num_processes(), launching.num_local_processes()) == (1, 0, 4, 2)
    assert not launching.is_leader()
    with pytest.raises(ConfigError, match=r"torchrun cannot sweep"):
        launching.refuse_sweep()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("trainer.accelerator=tpu", r"trainer.accelerator=tpu is not allowed. Allowed: auto, cpu, gpu, cuda, mps"),
        ("trainer=ddp trainer.devices=0", r"trainer.devices=0 is not allowed: a whole number from 1"),
        ("trainer.devices=auto", r"trainer.devices=auto is not allowed"),
        ("trainer.devices=2", r"trainer.devices=2 needs trainer=ddp"),
        ("+trainer.strategy=ddp_spawn", r"trainer.strategy=ddp_spawn is not allowed. Allowed: auto, ddp"),
        ("trainer=ddp +trainer.num_nodes=2", r"trainer.num_nodes is not asked: start `torchrun"),
        ("trainer=ddp trainer.accelerator=mps", r"trainer.accelerator=mps is not for trainer=ddp"),
        (
            "trainer=ddp trainer.accelerator=cuda trainer.devices=99",
            r"trainer.devices=99, but this machine has \d+ CUDA devices: give fewer",
        ),
    ],
)
def test_devices_that_cannot_be_are_refused(words: str, message: str, compose: Callable[..., TrainSettings]) -> None:
    with pytest.raises(ConfigError, match=message):
        check(compose(*words.split()))


def test_one_process_of_several_hosts_with_other_data_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    class Data:
        source = "imdb"
        hashes = {"test_hash": "a"}  # noqa: RUF012

    def gathered(found: list[dict[str, str]], ours: dict[str, str]) -> None:
        found[:] = [ours, ours | {"test_hash": "b"}]

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "all_gather_object", gathered)
    with pytest.raises(ValueError, match=r"process 1 has other data than process 0 \(test_hash b and a\)"):
        distributed.refuse_different(Data())  # type: ignore[arg-type]  # a stand-in


@pytest.mark.parametrize(
    ("given", "has_cuda", "is_there"), [("gpu", False, False), ("cuda", False, False), ("gpu", True, True), ("auto", False, True)]
)
def test_an_accelerator_that_this_machine_lacks_is_refused_with_what_to_set(
    given: str, has_cuda: bool, is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    if is_there:
        distributed.refuse_missing(given)
        return
    with pytest.raises(ConfigError, match=rf"^trainer.accelerator={given}: this machine has none .*; set cpu or auto$"):
        distributed.refuse_missing(given)
