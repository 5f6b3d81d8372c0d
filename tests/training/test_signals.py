"""SIGINT, SIGTERM and SIGHUP in every part of a command: a final status, a line, 130, 143 or 129, and no traceback."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from rnnlab.paths import HOME
from rnnlab.training import signals

WORDS = ("model=gru", "data=speech", "data.source=sample", "trainer.limit_train_batches=4", "tracking.log_model=false")
CODES = {"INT": 130, "TERM": 143, "HUP": 129}
SLOWLY = """
import sys, time
sys.argv = ["train.py", *{words}]
sys.path.insert(0, "{home}/src")
from rnnlab.{module} import {owner}
def wait(*parts, **words):
    print("waiting", flush=True)
    time.sleep(100)
{owner}.{name} = wait
import runpy
runpy.run_path("{home}/src/train.py", run_name="__main__")
"""


class Typed:
    """One command in a process of its own, and what it said."""

    def __init__(self, root: Path, command: list[str]) -> None:
        self.root, self.log = root, root / "said.txt"
        settings = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"} | {"RNNLAB_ROOT": str(root)}
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(command, env=settings, cwd=root, stdout=file, stderr=file, stdin=subprocess.DEVNULL)

    def wait_for(self, is_there: Callable[[], object]) -> None:
        last = time.monotonic() + 120
        while not is_there() and time.monotonic() < last:
            assert self.process.poll() is None, self.said
            time.sleep(0.05)

    def stop(self, name: str) -> int:
        self.process.send_signal(signal.Signals[f"SIG{name}"])
        return self.process.wait(timeout=60)

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    @property
    def runs(self) -> list[tuple[str, str]]:
        """Name and status of all runs, studies' parents among them."""
        client = MlflowClient(f"sqlite:///{self.root / 'mlflow.db'}")
        found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
        return [(str(run.info.run_name), str(run.info.status)) for run in found]


@pytest.fixture
def typed(new_root: Callable[[str], Path]) -> Callable[..., Typed]:
    """Type `train.py` with words; with `slow`, `MODULE:OWNER.NAME` never ends."""

    def started(*words: str, slow: str = "") -> Typed:
        if not slow:
            return Typed(new_root("signals"), [sys.executable, str(HOME / "src/train.py"), *words])
        module, _, path = slow.partition(":")
        owner, _, name = path.rpartition(".")
        code = SLOWLY.format(words=list(words), home=HOME, module=module, owner=owner, name=name)
        return Typed(new_root("signals"), [sys.executable, "-c", code])

    return started


def assert_stopped(found: Typed, name: str, status: str) -> None:
    assert found.stop(name) == CODES[name], found.said
    assert "Traceback" not in found.said and "Exception ignored" not in found.said
    assert {state for _, state in found.runs} == ({status} if status else set())


@pytest.mark.slow
@pytest.mark.parametrize("name", CODES)
def test_while_modules_are_imported_a_signal_costs_a_line(name: str, typed: Callable[..., Typed]) -> None:
    found = typed(*WORDS)
    time.sleep(0.7)
    assert_stopped(found, name, "")
    assert f"stopped by SIG{name}" in found.said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["INT"])
def test_while_data_are_prepared_a_signal_costs_a_line(name: str, typed: Callable[..., Typed]) -> None:
    found = typed(*WORDS, slow="training:recipes.describe")
    found.wait_for(lambda: "waiting" in found.said)
    assert_stopped(found, name, "")
    assert f"stopped by SIG{name}" in found.said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["TERM", "HUP"])
def test_while_it_trains_a_run_is_saved_and_says_how_to_go_on(name: str, typed: Callable[..., Typed]) -> None:
    found = typed(*WORDS, "trainer.max_epochs=3000")
    found.wait_for(lambda: list(found.root.glob("outputs/*/last.ckpt")))
    assert_stopped(found, name, "KILLED")
    assert "interrupted and saved; continue with:  python src/train.py resume=" in found.said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["TERM", "HUP"])
def test_while_it_is_measured_a_run_gets_its_final_status(name: str, typed: Callable[..., Typed]) -> None:
    found = typed(*WORDS, "trainer.max_epochs=1", slow="commands:tracked_training.evaluate_both")
    found.wait_for(lambda: "waiting" in found.said)
    assert_stopped(found, name, "KILLED")
    assert "continue with:  python src/train.py resume=" in found.said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["TERM"])
def test_between_the_jobs_of_a_study_a_signal_ends_the_study(name: str, typed: Callable[..., Typed]) -> None:
    found = typed("-m", *WORDS, "seed=0,1", "trainer.max_epochs=1", slow="studies.sweep:Sweep._say_plan")
    found.wait_for(lambda: "waiting" in found.said)
    assert_stopped(found, name, "KILLED")
    assert "the same command goes on where it stopped" in found.said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["INT"])
def test_a_job_of_a_study_is_saved_and_the_study_ends_with_it(name: str, typed: Callable[..., Typed]) -> None:
    found = typed("-m", *WORDS, "seed=0,1", "trainer.max_epochs=3000")
    found.wait_for(lambda: list(found.root.glob("outputs/*/last.ckpt")))
    assert_stopped(found, name, "KILLED")
    assert len(found.runs) == 2


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rank"), [("TERM", 1)])
def test_one_of_several_processes_that_is_stopped_stops_all(name: str, rank: int, typed: Callable[..., Typed]) -> None:
    found = typed(*WORDS, "trainer=ddp", "trainer.devices=2", "trainer.max_epochs=3000")
    found.wait_for(lambda: list(found.root.glob("outputs/*/last.ckpt")))
    workers = psutil.Process(found.process.pid).children()
    (worker,) = (worker for worker in workers if worker.environ()["RANK"] == str(rank))
    worker.send_signal(signal.Signals[f"SIG{name}"])
    assert found.process.wait(timeout=60) == CODES[name], found.said
    assert [state for _, state in found.runs] == ["KILLED"]
    assert "Traceback" not in found.said and "interrupted and saved" in found.said


@pytest.mark.slow
def test_nohup_is_heeded(typed: Callable[..., Typed]) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        found = typed(*WORDS, "trainer.max_epochs=3000")
    finally:
        signal.signal(signal.SIGHUP, before)
    found.wait_for(lambda: list(found.root.glob("outputs/*/last.ckpt")))
    found.process.send_signal(signal.SIGHUP)
    time.sleep(2)
    assert found.process.poll() is None
    assert found.stop("TERM") == 143


def test_a_request_is_noted_and_raised_only_where_it_is_looked_at(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)  # a shell's background ignores it
    with signals.listening():
        signals.check()
        signal.raise_signal(signal.SIGTERM)
        assert signals.asked() == "SIGTERM"
        with pytest.raises(signals.Interrupted, match="SIGTERM") as stopped:
            signals.check()
        assert stopped.value.code == 143
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signals.asked() is None
    assert "SIGTERM: stopping as soon as possible" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


LONG_CALL = """
import sys
from rnnlab.training import signals
with signals.listening(is_own_process=True), signals.at_end(lambda name: None), signals.patiently():
    print("ready", flush=True)
    sum(range(10**8))  # one call, in which no handler of Python runs
    try:
        signals.check()
    except signals.Interrupted as stopped:
        sys.exit(stopped.code)
"""


def test_a_request_in_a_long_call_is_told_once_whoever_sees_it_first() -> None:
    environment = os.environ | {"PYTHONPATH": str(HOME / "src")}
    line = [sys.executable, "-c", LONG_CALL]
    with subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        shown = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert shown.count("SIGINT: stopping after this step and saving") == 1
