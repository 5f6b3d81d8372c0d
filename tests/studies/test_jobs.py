"""What makes two jobs the same, who may run one, and what is done with one that was tried before."""

import multiprocessing
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import uuid4

import pytest
import torch
import yaml

from rnnlab.config import ConfigError
from rnnlab.paths import CONF
from rnnlab.settings import Paths, Study, TrainSettings
from rnnlab.studies.jobs import checkpoint_of, claim, decide, state_of
from rnnlab.tracking.processes import ALIVE_S, is_alive, process_name
from rnnlab.tracking.store import Client, Run, connect, experiment_id, get_run
from rnnlab.tracking.tracker import Tracker
from rnnlab.training.identity import identity

JOB = yaml.safe_load((CONF / "study/none.yaml").read_text(encoding="utf-8"))
FORK = multiprocessing.get_context("fork")


# -- identity ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["seed=1", "optimizer.lr=0.5", "model=lstm", "data.split_seed=3", "trainer=smoke", "model.budget=5000"])
def test_what_changes_a_number_makes_another_job(word: str, compose: Callable[..., TrainSettings]) -> None:
    assert identity(compose(word), "abc") != identity(compose(), "abc")


def test_other_data_under_the_same_words_make_another_job(compose: Callable[..., TrainSettings]) -> None:
    config = compose()
    assert identity(config, "abc") == identity(config, "abc")
    assert identity(config, "abc") != identity(config, "abd")


def test_names_places_threads_and_the_study_make_no_other_job(compose: Callable[..., TrainSettings], tmp_path: Path) -> None:
    words = [
        "name=other",
        "tracking.experiment=other",
        "tracking.log_model=false",
        f"paths.outputs={tmp_path}",
        "trainer.num_threads=3",
        f"data.mirror={tmp_path}",
        "data.offline=true",
        "study.name=other",
        "study.retry_failed=true",
        "study.parent=abc",
        "study.trial=abc:1",
        "study.setting=tuned",
    ]
    assert identity(compose(*words), "abc") == identity(compose(), "abc")


def test_the_decoders_cell_counts_only_where_there_is_a_decoder(compose: Callable[..., TrainSettings]) -> None:
    assert identity(compose("cell@decoder_cell=lstm"), "abc") == identity(compose(), "abc")
    assert identity(compose("model=seq2seq", "cell@decoder_cell=lstm"), "abc") != identity(compose("model=seq2seq"), "abc")


def test_a_simple_method_is_one_job_for_all_seeds_and_optimizers(compose: Callable[..., TrainSettings]) -> None:
    plain = identity(compose("model=baseline"), "abc")
    assert identity(compose("model=baseline", "seed=7", "optimizer.lr=0.5", "scheduler=plateau", "trainer.max_epochs=2"), "abc") == plain
    assert identity(compose("model=baseline", "baseline.kind=mean"), "abc") != plain
    assert identity(compose("model=baseline", "data.fold=1"), "abc") != plain


def test_a_simple_method_that_was_measured_on_a_few_batches_is_another_job(compose: Callable[..., TrainSettings]) -> None:
    assert identity(compose("model=baseline", "trainer=smoke"), "abc") != identity(compose("model=baseline"), "abc")


# -- who runs a job ----------------------------------------------------------------------------------------------------


def hold(folder: Path, job: str, pipe: Connection) -> None:
    """Claim a job, say whether it was given, and keep it until told."""
    with claim(folder, job) as is_ours:
        pipe.send(is_ours)
        pipe.recv()


def claimed(folder: Path, job: str) -> bool:
    with claim(folder, job) as is_ours:
        return is_ours


def test_a_second_process_gets_no_job_that_another_holds_until_that_is_killed(tmp_path: Path) -> None:
    ours, theirs = FORK.Pipe()
    holder = FORK.Process(target=hold, args=(tmp_path / "locks", "job-a", theirs), daemon=True)
    holder.start()
    assert ours.recv() is True
    assert not claimed(tmp_path / "locks", "job-a")
    assert claimed(tmp_path / "locks", "job-b"), "another job is free"
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert claimed(tmp_path / "locks", "job-a")
    assert claimed(tmp_path / "locks", "job-a"), "and is given back"


# -- what became of it -------------------------------------------------------------------------------------------------


@pytest.fixture
def make(root: Path) -> Callable[..., Run]:
    """Make a run with a status and tags; here and alive it is only where the tags say so."""
    client = connect(None, root)
    experiment = experiment_id(client, "jobs", root)

    def made(status: str, **tags: str) -> Run:
        run_id = client.create_run(experiment, tags={"identity": "nobody", **tags}).info.run_id
        client.update_run(run_id, status=status)
        return get_run(client, run_id)

    return made


def here(pid: int, name: str) -> dict[str, str]:
    return {"host": socket.gethostname(), "pid": str(pid), "process": name}


def beat(seconds_ago: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds_ago))


def test_a_run_of_this_process_is_alive_while_it_runs(make: Callable[..., Run]) -> None:
    own = here(os.getpid(), process_name(os.getpid()))
    assert is_alive(make("RUNNING", **own))
    assert not is_alive(make("KILLED", **own))
    assert not is_alive(make("FINISHED", **own))


def test_a_run_of_a_process_that_died_is_dead_however_fresh_its_sign_of_life(make: Callable[..., Run]) -> None:
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    tags = here(process.pid, process_name(process.pid)) | {"heartbeat": beat(0)}
    run = make("RUNNING", **tags)
    assert is_alive(run)
    process.kill()
    process.communicate()
    assert not is_alive(run)


def test_a_process_that_got_the_number_of_a_dead_one_is_another(make: Callable[..., Run]) -> None:
    assert not is_alive(make("RUNNING", **here(os.getpid(), f"{os.getpid()}@12.00")))


@pytest.mark.parametrize(("seconds_ago", "expected"), [(0, True), (ALIVE_S - 30, True), (ALIVE_S + 5, False)])
def test_on_another_machine_the_last_sign_of_life_decides(seconds_ago: float, expected: bool, make: Callable[..., Run]) -> None:
    elsewhere = here(os.getpid(), process_name(os.getpid())) | {"host": "elsewhere", "heartbeat": beat(seconds_ago)}
    assert is_alive(make("RUNNING", **elsewhere)) is expected


@pytest.mark.parametrize(
    "tags", [{}, {"host": "elsewhere"}, {"host": "elsewhere", "heartbeat": "yesterday"}, {"pid": "", "host": socket.gethostname()}]
)
def test_a_run_that_says_nothing_of_itself_is_dead(tags: dict[str, str], make: Callable[..., Run]) -> None:
    assert not is_alive(make("RUNNING", **tags))


DEAD = here(1, "1@0.00")
ALIVE = {"host": "elsewhere", "pid": "5", "heartbeat": "2999-01-01T00:00:00Z"}
Tried = list[tuple[str, dict[str, str]]]


@pytest.mark.parametrize(
    ("tried", "expected"),
    [
        ([], "left"),
        ([("FINISHED", {})], "finished"),
        ([("FAILED", {}), ("FINISHED", {}), ("RUNNING", ALIVE)], "finished"),
        ([("RUNNING", ALIVE)], "running"),
        ([("RUNNING", ALIVE), ("KILLED", {})], "running"),
        ([("RUNNING", DEAD)], "cut off"),
        ([("KILLED", {})], "cut off"),
        ([("SCHEDULED", {})], "cut off"),
        ([("FAILED", {}), ("KILLED", {})], "cut off"),
        ([("FAILED", {}), ("FAILED", {})], "failed"),
        ([("KILLED", {"pruned": "true"})], "pruned"),
        ([("KILLED", {"pruned": "true"}), ("FINISHED", {})], "finished"),
    ],
)
def test_the_state_of_a_job_follows_from_all_its_runs(tried: Tried, expected: str, make: Callable[..., Run]) -> None:
    assert state_of([make(status, **tags) for status, tags in tried]) == expected


@pytest.mark.parametrize(
    ("tried", "study", "todo", "reason"),
    [
        ([], {}, "begin", ""),
        ([("FINISHED", {})], {}, "skip", "finished before"),
        ([("FINISHED", {})], {"retry_failed": True}, "skip", "finished before"),
        ([("RUNNING", ALIVE)], {}, "skip", "running: process 5 on elsewhere"),
        ([("RUNNING", DEAD)], {}, "go on", ""),
        ([("KILLED", {})], {}, "go on", ""),
        ([("FAILED", {"failure": "it burst"})], {}, "skip", "failed before (it burst); study.retry_failed=true runs it again"),
        ([("FAILED", {"failure": "it burst"})], {"retry_failed": True}, "begin", ""),
        ([("KILLED", {"pruned": "true", "search": "abc"})], {"trial": "abc:3"}, "skip", "pruned before"),
        ([("KILLED", {"pruned": "true", "search": "abd"})], {"trial": "abc:3"}, "begin", ""),
        ([("KILLED", {"pruned": "true"})], {}, "begin", ""),
        ([("KILLED", {"pruned": "true"}), ("FAILED", {})], {}, "skip", "failed before (); study.retry_failed=true runs it again"),
    ],
)
def test_what_is_done_with_a_job_follows_from_its_state(
    tried: Tried, study: dict[str, object], todo: str, reason: str, make: Callable[..., Run], root: Path
) -> None:
    job = uuid4().hex
    runs = [make(status, **tags, identity=job) for status, tags in tried]
    decision = decide(connect(None, root), job, True, Study.of(JOB | study))
    assert (decision.todo, decision.reason) == (todo, reason)
    if todo == "go on":
        assert decision.run is not None
        assert decision.run.info.run_id in {run.info.run_id for run in runs}


def test_a_job_that_is_not_ours_is_left_alone_whatever_its_runs_say(make: Callable[..., Run], root: Path) -> None:
    job = uuid4().hex
    make("KILLED", identity=job)
    decision = decide(connect(None, root), job, False, Study.of(JOB))
    assert (decision.todo, decision.reason) == ("skip", "another process is running it")


def test_a_damaged_checkpoint_is_named_with_its_run_and_begun_anew_only_when_asked(make: Callable[..., Run], tmp_path: Path) -> None:
    run = make("KILLED")
    assert checkpoint_of(run, tmp_path, False) is None, "there is none yet"
    file = tmp_path / "last.ckpt"
    file.write_bytes(b"not a checkpoint")
    with pytest.raises(
        ConfigError, match=rf"last.ckpt cannot be loaded: .*begin this job \({run.info.run_name}\) anew with study.restart_d"
    ):
        checkpoint_of(run, tmp_path, False)
    assert checkpoint_of(run, tmp_path, True) is None
    torch.save({"state_dict": {}}, file)
    assert checkpoint_of(run, tmp_path, False) == file
    assert checkpoint_of(run, tmp_path, True) == file, "what can be read is not thrown away"


# -- many at once ------------------------------------------------------------------------------------------------------


def write(number: int, place: Path, pipe: Connection) -> None:
    """Write a run of 40 metrics at each of 9 steps, and say its id."""
    pipe.recv()
    client: Client = connect(None, place)
    tracker = Tracker.start(client, "together", f"writer-{number}", Paths.below(place), {"identity": f"job-{number % 2}"})
    for step in range(9):
        tracker.log_metrics({f"m/{index}": number + step / 10 for index in range(40)}, step)
        tracker.flush()
    tracker.finish("FINISHED")
    pipe.send(tracker.run_id)


@pytest.mark.slow
def test_eight_processes_that_write_to_one_new_store_at_once_lose_nothing(tmp_path: Path) -> None:
    pipes = [FORK.Pipe() for _ in range(8)]
    writers = [FORK.Process(target=write, args=(number, tmp_path, theirs), daemon=True) for number, (_, theirs) in enumerate(pipes)]
    for writer in writers:
        writer.start()
    for ours, _ in pipes:
        ours.send("now")
    found = [ours.recv() for ours, _ in pipes]
    for writer in writers:
        writer.join()
    client = connect(None, tmp_path)
    assert len(set(found)) == 8
    for number, run_id in enumerate(found):
        run = get_run(client, run_id)
        assert (run.info.status, run.data.tags["identity"]) == ("FINISHED", f"job-{number % 2}")
        assert run.data.metrics == {f"m/{index}": number + 0.8 for index in range(40)}
        assert [point.value for point in client.get_metric_history(run_id, "m/39")] == [number + step / 10 for step in range(9)]
    assert len({get_run(client, run_id).info.experiment_id for run_id in found}) == 1
