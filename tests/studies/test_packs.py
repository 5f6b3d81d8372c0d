"""Packed studies as the user types them: one run a job, each finished once, whatever was cut off; and which jobs go together."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.studies.test_sweep import Place

from rnnlab.paths import HOME
from rnnlab.settings import TrainSettings
from rnnlab.studies.jobs import Job
from rnnlab.studies.packs import MOST_TOGETHER, grouped, packs_of
from rnnlab.tracking.store import Run

Compose = Callable[..., TrainSettings]
GRU = "-m study.packed=true model=gru study.name=packed"


@pytest.fixture(scope="module")
def place(new_root: Callable[[str], Path], shared: Path) -> Place:
    """Return where this file's studies are run."""
    return Place(new_root("packs"), shared / "data")


def jobs(compose: Compose, *lines: str) -> list[Job]:
    return [Job((line,), compose(*line.split()), str(number)) for number, line in enumerate(lines)]


# Which jobs go together -----------------------------------------------------------------------------------------------------------


def test_jobs_go_together_that_differ_in_seed_rate_and_dropout_and_no_others_do(compose: Compose) -> None:
    together = [
        "seed=1",
        "optimizer.lr=0.1",
        "model.head.dropout=0.5",
        "data.fold=1",
        "optimizer=sgd",
        "epochs=3",
        "callbacks.ema_decay=0.9",
    ]
    apart = [
        "model=lstm",
        "model.recurrence.hidden_size=7",
        "data.loader.batch_size=9",
        "data=stock",
        "model.head.pooling=last",
        "cell.chrono=9",
    ]
    groups = grouped(jobs(compose, "seed=0", *together, *apart))
    assert [len(group) for group in groups] == [1 + len(together), *(1 for _ in apart)]


def test_a_group_is_divided_among_processes_and_where_it_is_large(compose: Compose) -> None:
    five, many = jobs(compose, *[f"seed={seed}" for seed in range(5)]), jobs(compose, *["seed=0"] * (2 * MOST_TOGETHER + 1))
    assert [len(pack) for pack in packs_of(five, 1)] == [5]
    assert [len(pack) for pack in packs_of(five, 2)] == [3, 2]
    assert [len(pack) for pack in packs_of(many, 1)] == [7, 7, 7]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"{GRU} seed=0", "this sweep has one"),
        (f"{GRU} model.recurrence.hidden_size=3,4", "all differ in model.recurrence.hidden_size"),
        (f"{GRU} data.loader.batch_size=4,8", "all differ in data.loader.batch_size"),
        ("-m study.packed=true model=gru,baseline seed=0,1", "model=baseline"),
        ("-m study.packed=true model=seq2seq data=stock seed=0,1", "model=seq2seq"),
        ("-m study.packed=true model=birnn data=dictation seed=0,1", "CTC"),
        (f"{GRU} seed=0,1 trainer=ddp", "one process"),
        (f"{GRU} seed=0,1 compression.sparsity=0.5", "compression.sparsity=0.5"),
        (f"{GRU} seed=0,1 distil_from=0123456789abcdef0123456789abcdef", "distil_from"),
        ("study=search study.packed=true model=gru study.tuning_trials=2", "Search first"),
        ("study.packed=true model=gru", "add -m"),
    ],
)
def test_what_cannot_be_packed_is_said_before_anything_is_begun(line: str, said: str, place: Place) -> None:
    done = place.typed(line, is_small="data=" not in line)
    assert done.code == 2 and said in done.text and not done.new


# Studies --------------------------------------------------------------------------------------------------------------------------


def test_packed_jobs_have_everything_that_jobs_have_alone_and_are_not_repeated(place: Place) -> None:
    packed = place.typed(f"{GRU} seed=0,1,2")
    alone = place.typed("-m model=gru study.name=alone seed=0,1,2")
    assert (packed.code, len(packed.new), alone.code, len(alone.new)) == (0, 3, 0, 3), packed.text
    for ours, theirs in zip(_by_seed(packed.new), _by_seed(alone.new), strict=True):
        assert ours.info.status == "FINISHED" and ours.data.params == theirs.data.params | {"packed": "True"}
        assert ours.data.tags["identity"] != theirs.data.tags["identity"]
        assert ours.data.tags["packed"] == "true" and ours.data.tags.keys() - {"packed"} == theirs.data.tags.keys()
        assert ours.data.metrics.keys() == theirs.data.metrics.keys()
        for name in ("train/loss", "val/loss", "best/loss", "test/loss", "test/accuracy"):
            assert ours.data.metrics[name] == pytest.approx(theirs.data.metrics[name], rel=1e-5)
        folders = [place.root / "outputs" / run.info.run_id for run in (ours, theirs)]
        assert len({tuple(sorted(str(file.relative_to(folder)) for file in folder.rglob("*"))) for folder in folders}) == 1
    again = place.typed(f"{GRU} seed=0,1,2,3")
    assert len(again.new) == 1 and "3 finished before" in again.text and "4 of 4 jobs finished" in again.text


def test_a_job_that_was_cut_off_is_finished_under_its_own_run(place: Place) -> None:
    line = f"{GRU} seed=0,1 optimizer.lr=0.002"
    (first, second), parent = _by_seed(place.typed(line).new), None
    place.die(second)
    again = place.typed(line)
    assert (again.code, again.new, parent) == (0, [], None), again.text
    assert "1 cut off, to go on" in again.text
    assert {again.after[run.info.run_id].info.status for run in (first, second)} == {"FINISHED"}


def test_one_failing_job_of_a_pack_is_named_and_the_others_are_finished(place: Place) -> None:
    line = f"{GRU} optimizer=sgd optimizer.lr=0.01,1e38 trainer.gradient_clip_val=null trainer.limit_train_batches=6"
    done = place.typed(line)
    assert done.code == 1 and "1 of 2 jobs finished" in done.text and "1e+38" in done.text
    assert sorted(run.info.status for run in done.new) == ["FAILED", "FINISHED"]
    assert "became" in next(run for run in done.new if run.info.status == "FAILED").data.tags["failure"]


def test_grids_are_packed_by_shape(place: Place) -> None:
    done = place.typed(f"{GRU} model.recurrence.hidden_size=3,4 seed=7,8 study.name=grid")
    assert done.code == 0 and "pack 2 of 2" in done.text and len(done.new) == 4


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rate"), [("SIGTERM", "0.004"), ("SIGKILL", "0.005")])
def test_a_pack_that_is_killed_goes_on_where_it_was_and_ends_with_each_job_once(name: str, rate: str, place: Place) -> None:
    line = f"{GRU} study.name=killed-{name.lower()} seed=0,1,2 epochs=300 trainer=default optimizer.lr={rate}"
    words = place.besides(line)
    command = [sys.executable, str(HOME / "src/train.py"), *shlex.split(line), *words]
    settings = os.environ | {"RNNLAB_ROOT": str(place.root)}
    before = place.runs()
    with subprocess.Popen(command, env=settings, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for said in process.stderr:
            if "together" in said:
                process.send_signal(signal.Signals[name])
                break
        text = process.stderr.read()
    assert process.returncode == (143 if name == "SIGTERM" else -signal.SIGKILL), text
    cut = {run_id: run for run_id, run in place.runs().items() if run_id not in before and "identity" in run.data.tags}
    assert len(cut) == 3 and "FINISHED" not in {run.info.status for run in cut.values()}
    first = next(iter(cut))
    if name == "SIGTERM":
        assert len(re.findall("interrupted and saved", text)) == 3
        resumed = place.typed(f"resume={first}", is_small=False)
        assert resumed.code == 0 and place.runs()[first].info.status == "FINISHED", resumed.text
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
    assert "3 of 3 jobs finished" in done.stderr
    after = {run_id: run for run_id, run in place.runs().items() if run_id not in before and "identity" in run.data.tags}
    assert after.keys() == cut.keys() and {run.info.status for run in after.values()} == {"FINISHED"}
    assert len({run.data.tags["identity"] for run in after.values()}) == 3


def _by_seed(runs: list[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: run.data.params["seed"])
