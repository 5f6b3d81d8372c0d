"""Studies as the user types them: every job once, under one parent, whatever failed, was cut off, or runs beside it."""

import io
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import pytorch_lightning as pl

from rnnlab import cli
from rnnlab.commands import train as run
from rnnlab.config import ConfigError
from rnnlab.paths import HOME
from rnnlab.settings import Choices, TrainSettings
from rnnlab.studies.search import write_tuned
from rnnlab.studies.sweep import read_axes, study_name
from rnnlab.tracking.parents import means_of, read_plan
from rnnlab.tracking.store import Run, connect, find_runs
from rnnlab.training import callbacks

SMALL = (
    *("data=speech", "data.source=sample", "trainer=smoke", "frontend=direct", "model.recurrence.hidden_size=3"),
    *("data.loader.batch_size=8", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1", "trainer.limit_test_batches=1"),
    *("trainer.num_threads=1", "tracking.log_model=false"),
)


@dataclass(frozen=True)
class Said:
    """Hold what a command did.

    Args:
        code: it exited with.
        text: it printed.
        before: runs before it, by id.
        after: and after it.
    """

    code: int
    text: str
    before: dict[str, Run]
    after: dict[str, Run]

    @property
    def new(self) -> list[Run]:
        """Jobs' runs that it made, the first first."""
        made = [run for run_id, run in self.after.items() if run_id not in self.before and "identity" in run.data.tags]
        return sorted(made, key=lambda run: run.info.start_time)

    @property
    def parent(self) -> Run:
        """The parent that it named."""
        (run_id,) = re.findall(r"parent run (\w{32})", self.text)
        return self.after[run_id]


class Place:
    """A root of its own, where commands are typed.

    Args:
        root: where runs and the tracking database are kept.
        data: where data are kept.
    """

    def __init__(self, root: Path, data: Path) -> None:
        self.root, self.words = root, (*SMALL, f"paths.data={data}")

    def typed(self, line: str, is_small: bool = True) -> Said:
        """Run src/train.py in this process, on little data unless told otherwise."""
        before, text, code = self.runs(), io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(text), redirect_stderr(text):
            patch.setenv("RNNLAB_ROOT", str(self.root))
            patch.setenv("RNNLAB_HOME", str(HOME))
            patch.delenv("HYDRA_FULL_ERROR")
            patch.setattr(sys, "argv", ["train.py", *shlex.split(line), *(self.besides(line) if is_small else [])])
            try:
                cli.main("config", lambda composed: run.train(TrainSettings.of(composed)))
            except SystemExit as stopped:
                code = int(stopped.code or 0)
        return Said(code, text.getvalue(), before, self.runs())

    def besides(self, line: str) -> list[str]:
        """Return the words that keep everything small, where a line does not say otherwise."""
        given = {word.partition("=")[0] for word in shlex.split(line)}
        return [word for word in self.words if word.partition("=")[0] not in given]

    def runs(self) -> dict[str, Run]:
        """Return all runs by id."""
        return {run.info.run_id: run for run in find_runs(connect(None, self.root), "")}

    def plan(self, parent: Run) -> dict[str, Any]:
        """Return what a parent says of its study."""
        return read_plan(connect(None, self.root), parent.info.run_id, self.root / "read")

    def die(self, run: Run) -> None:
        """Leave a run as a process that was killed at its beginning leaves it."""
        client = connect(None, self.root)
        client.update_run(run.info.run_id, status="RUNNING")
        for name, value in {"host": socket.gethostname(), "pid": "1", "process": "1@0.00"}.items():
            client.set_tag(run.info.run_id, name, value)


@pytest.fixture(scope="module")
def place(new_root: Callable[[str], Path], shared: Path) -> Place:
    """Return where this file's studies are run."""
    return Place(new_root("studies"), shared / "data")


def of(runs: list[Run], model: str, seed: int) -> Run:
    (found,) = (run for run in runs if (run.data.params["model"], run.data.params["seed"]) == (model, str(seed)))
    return found


def measured(run: Run) -> dict[str, float]:
    return {name: value for name, value in run.data.metrics.items() if name.startswith(("best/", "test/"))}


# -- one study, typed again and again ----------------------------------------------------------------------------------

FIRST = "-m model=gru,baseline seed=0,1 study.name=first"


@pytest.fixture(scope="module")
def story(place: Place) -> dict[str, Said]:
    """Type a study, again, with one seed more; then after its runs were killed, and one's checkpoint was damaged."""
    told = {name: place.typed(line) for name, line in (("first", FIRST), ("again", FIRST), ("more", FIRST.replace("0,1", "0,1,2")))}
    spoilt, lost = (of(told["first"].new, "gru", seed) for seed in (0, 1))
    for killed in (spoilt, lost):
        place.die(killed)
    shutil.rmtree(place.root / "outputs" / lost.info.run_id)
    (place.root / "outputs" / spoilt.info.run_id / "last.ckpt").write_bytes(b"not a checkpoint")
    return told | {"killed": place.typed(FIRST), "restarted": place.typed(f"{FIRST} study.restart_damaged=true")}


def test_a_study_is_one_parent_and_a_child_per_job_of_a_simple_method_one_for_all_seeds(story: dict[str, Said], place: Place) -> None:
    first = story["first"]
    assert first.code == 0, first.text
    assert "study first: 3 jobs, 3 to run" in first.text
    told = r"time about \d+ s on 1 process \(each \d+ s of training; early stopping makes it less\); 1 of 3 not known before: a baseline"
    assert re.search(told, first.text) and re.search(r"job 3 of 3 .*\(about \d+ s left\)", first.text)
    assert f"figures:  python src/complete.py parent={first.parent.info.run_id}" in first.text
    assert sorted((run.data.params["model"], run.data.params["seed"]) for run in first.new) == [
        ("baseline", "0"),
        ("gru", "0"),
        ("gru", "1"),
    ]
    assert {run.info.status for run in first.new} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in first.new} == {first.parent.info.run_id}
    assert {run.data.tags["study"] for run in first.new} == {"first"}
    assert {run.info.experiment_id for run in first.new} == {first.parent.info.experiment_id}
    assert len(first.after) - len(first.before) == 4
    plan = place.plan(first.parent)
    assert (plan["study"], plan["axes"], plan["data"]) == ("first", {"model": ["gru", "baseline"], "seed": ["0", "1"]}, ["speech"])
    assert Counter(job["group"] for job in plan["jobs"]) == {"gru": 2, "baseline": 1}
    assert {job["identity"] for job in plan["jobs"]} == {run.data.tags["identity"] for run in first.new}


def test_a_parent_ends_with_the_means_of_its_groups_and_the_best_on_validation(story: dict[str, Said]) -> None:
    first = story["first"]
    values = {
        f"{kind}/accuracy/{model}": sum(run.data.metrics[f"{kind}/accuracy"] for run in runs) / len(runs)
        for model in ("gru", "baseline")
        if (runs := [run for run in first.new if run.data.params["model"] == model])
        for kind in ("best", "test")
    }
    best = max(("gru", "baseline"), key=lambda model: values[f"best/accuracy/{model}"])
    values |= {f"{kind}/accuracy": values[f"{kind}/accuracy/{best}"] for kind in ("best", "test")}
    assert first.parent.info.status == "FINISHED"
    assert first.parent.data.metrics == pytest.approx(values | {"num_jobs_finished": 3})
    assert (first.parent.data.tags["best_group"], first.parent.data.tags["metric"]) == (best, "accuracy")
    assert first.parent.data.params == {"axis/model": "gru,baseline", "axis/seed": "0,1"}


def test_the_ui_describes_the_experiment_the_study_and_every_job(story: dict[str, Said], place: Place) -> None:
    first = story["first"]
    of_study = first.parent.data.tags["mlflow.note.content"]
    assert of_study.startswith(
        "Study **first** on speech: means over seeds and folds.\n\n| speech | validation accuracy | test accuracy | jobs |"
    )
    assert re.search(r"^\| gru \| [\d.]+ \| [\d.]+ \| 2 \|$", of_study, re.MULTILINE), of_study
    assert "Again: `python src/train.py -m model=gru,baseline seed=0,1 study.name=first" in of_study
    assert of_study.endswith("Compare: `python src/compare.py study=first data=speech`")
    job = of(first.new, "gru", 1)
    note = job.data.tags["mlflow.note.content"]
    assert note.startswith("**gru** on **speech**, seed 1, a job of study **first**.\n\n`python src/train.py ")
    assert "study." not in note and "paths." not in note
    assert re.search(
        r"\n\naccuracy: \*\*test \d+\.\d\d %, 95 % interval [\d.]+ to [\d.]+; validation \d+\.\d\d %\*\*; [\d,]+ parameters, ", note
    )
    assert f"Again: `python src/reproduce.py run={job.info.run_id}`" in note
    assert note.endswith(f"Files: `{place.root / 'outputs' / job.info.run_id}`")
    tags = connect(None, place.root).get_experiment(job.info.experiment_id).tags
    assert tags["mlflow.note.content"].startswith("Runs on **speech**.")
    assert tags["views"] == "1 accuracy:max"


def test_the_same_study_again_runs_nothing(story: dict[str, Said]) -> None:
    again = story["again"]
    assert again.code == 0, again.text
    assert again.after.keys() == again.before.keys()
    assert "3 jobs (3 finished before), 0 to run" in again.text
    assert again.parent.info.run_id == story["first"].parent.info.run_id
    assert again.parent.info.status == "FINISHED"
    assert again.parent.data.metrics == story["first"].parent.data.metrics


def test_a_seed_more_runs_only_the_new_job_and_counts_the_others(story: dict[str, Said], place: Place) -> None:
    more = story["more"]
    assert more.code == 0, more.text
    assert "4 jobs (3 finished before), 1 to run" in more.text
    (new,) = more.new
    assert (new.data.params["model"], new.data.params["seed"]) == ("gru", "2")
    assert new.data.tags["mlflow.parentRunId"] == more.parent.info.run_id != story["first"].parent.info.run_id
    assert more.parent.data.metrics["num_jobs_finished"] == 4
    known = {run.data.tags["identity"] for run in (*story["first"].new, new)}
    assert {job["identity"] for job in place.plan(more.parent)["jobs"]} == known


def test_a_job_that_was_killed_is_taken_up_in_the_same_run_and_a_damaged_checkpoint_is_said(story: dict[str, Said]) -> None:
    killed, before = story["killed"], story["first"].new
    spoilt, lost = (of(before, "gru", seed).info.run_id for seed in (0, 1))
    assert killed.code == 1
    assert "3 jobs (1 finished before, 2 cut off, to go on), 2 to run" in killed.text
    assert killed.new == []
    assert killed.after[lost].info.status == "FINISHED"
    assert measured(killed.after[lost]) == measured(story["first"].after[lost]), "begun anew, it is the same"
    failed = killed.text.partition("these jobs failed:\n")[2].splitlines()[0]
    assert re.search(r"^  model=gru seed=0: .*last.ckpt cannot be loaded: it is damaged or no checkpoint", failed), killed.text
    assert failed.endswith("begin this job (gru-h3-speech-s0) anew with study.restart_damaged=true")
    assert killed.after[spoilt].info.status == "KILLED", "whoever looks next marks a run whose process is gone"
    assert killed.parent.info.status == "FAILED"
    assert "last.ckpt cannot be loaded" in killed.parent.data.tags["failure"]


def test_a_job_with_a_damaged_checkpoint_begins_anew_in_the_same_run_when_asked(story: dict[str, Said]) -> None:
    restarted, spoilt = story["restarted"], of(story["first"].new, "gru", 0).info.run_id
    assert restarted.code == 0, restarted.text
    assert restarted.new == []
    assert restarted.after[spoilt].info.status == "FINISHED"
    assert measured(restarted.after[spoilt]) == measured(story["first"].after[spoilt])
    assert restarted.parent.info.run_id == story["first"].parent.info.run_id
    assert restarted.parent.info.status == "FINISHED"
    assert restarted.parent.data.metrics == story["first"].parent.data.metrics


SPACE = "'+study.space={model.recurrence.hidden_size:[3,5],optimizer.lr:{low:0.0001,high:0.1,log:true}}'"
SEARCH = f"-m seed=4,5 study.search_seeds=[4] study.tuning_trials=2 study.with_default=true {SPACE} study.name=searching"


def test_a_key_that_only_some_choices_have_applies_to_those(place: Place) -> None:
    said = place.typed("-m model=gru,baseline baseline.kind=mean data=series trainer=smoke study.name=partly", is_small=False)
    assert said.code == 0, said.text
    kinds = {run.data.params["model"]: run.data.params.get("baseline.kind") for run in said.new}
    assert kinds == {"gru": None, "baseline": "mean"}


def test_a_sweep_over_a_key_that_only_some_choices_have_is_refused(place: Place) -> None:
    said = place.typed("-m model=gru,baseline baseline.kind=mean,ridge data=series", is_small=False)
    assert said.code == 2 and "baseline.kind=mean,ridge: only some of the choices have this key, so it takes one value" in said.text


# -- failures ----------------------------------------------------------------------------------------------------------

FAILING = "-m optimizer=sgd trainer.gradient_clip_val=null optimizer.lr=1e38,0.01 study.name=failing"


@pytest.fixture(scope="module")
def failures(place: Place) -> dict[str, Said]:
    """Type a study of which one job cannot but fail, again, and with what may be done about it."""
    stopping = "study.on_failure=stop seed=1 study.name=stopping"
    return {
        "first": place.typed(FAILING),
        "again": place.typed(FAILING),
        "retried": place.typed(f"{FAILING} study.retry_failed=true"),
        "stopped": place.typed(f"{FAILING.replace('0.01', '0.01,0.02')} {stopping}"),
    }


@pytest.mark.slow
def test_a_job_that_fails_stops_no_other_and_is_listed_at_the_end(failures: dict[str, Said]) -> None:
    first = failures["first"]
    assert first.code == 1
    assert [run.info.status for run in first.new] == ["FAILED", "FINISHED"]
    assert "NonFiniteError" in first.new[0].data.tags["failure"]
    listed = first.text.partition("error: these jobs failed:\n")[2].splitlines()
    assert re.search(r"^  optimizer.lr=1e\+38: the loss became .* at step 1", listed[0]), first.text
    assert listed[1].startswith("Run the study again with study.retry_failed=true")
    assert "Traceback" not in first.text
    assert first.parent.info.status == "FAILED"
    assert first.parent.data.tags["failure"].startswith("these jobs failed:\n  optimizer.lr=1e+38: the loss became")
    assert first.parent.data.metrics["num_jobs_finished"] == 1
    assert first.parent.data.metrics["best/accuracy"] == first.new[1].data.metrics["best/accuracy"]


@pytest.mark.slow
def test_a_job_that_failed_is_not_repeated_unless_asked(failures: dict[str, Said]) -> None:
    again = failures["again"]
    assert again.code == 1
    assert again.after.keys() == again.before.keys()
    assert "2 jobs (1 finished before, 1 failed before), 0 to run" in again.text
    assert "  optimizer.lr=1e+38: failed before\n" in again.text
    assert again.parent.info.status == "FAILED"


@pytest.mark.slow
def test_a_job_that_failed_is_repeated_when_asked_and_no_other(failures: dict[str, Said]) -> None:
    first, retried = failures["first"], failures["retried"]
    assert retried.code == 1
    (new,) = retried.new
    assert new.info.status == "FAILED"
    assert new.data.tags["identity"] == first.new[0].data.tags["identity"]
    assert new.data.tags["mlflow.parentRunId"] == first.parent.info.run_id


@pytest.mark.slow
def test_a_study_that_is_to_stop_at_a_failure_begins_no_further_job(failures: dict[str, Said]) -> None:
    stopped = failures["stopped"]
    assert stopped.code == 1
    assert [run.info.status for run in stopped.new] == ["FAILED"]
    assert "2 jobs not begun (study.on_failure=stop)" in stopped.text
    assert stopped.parent.info.status == "FAILED"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-m model=gru,gruu", r"model=gruu: there is no such choice. Did you mean 'gru'\?"),
        ("-m seed=0,1 study.name=../x", r"study.name='../x' is not allowed: small letters, digits, - and _ only"),
        ("-m 'optimizer.lr=interval(0.1,0.2)'", r"optimizer.lr=interval\(0.1,0.2\): an interval is searched, not swept; .* study=search"),
        ("study=cells study.axes.seed=[]", r"study.axes.seed=\[\] is not allowed: a list of values"),
        ("study=cells study.axes.seed=3", r"study.axes.seed=3 is not allowed: a list of values"),
        ("-m seed=0,1 study.on_failure=never", r"study.on_failure=never is not allowed. Allowed: continue, stop"),
        ("-m seed=0,1 study.tuning_trials=2", r"study.tuning_trials needs study.space: what is searched"),
        ("-m seed=0,1 study.tuning_trials=-1", r"study.tuning_trials=-1 is not allowed: a whole number from 0"),
        ("study=search study.search_seeds=[]", r"study.search_seeds is empty: a trial needs at least one seed"),
        ("study=search '+study.space={optimizer.lr:{low:1}}'", r"study.space.optimizer.lr=.* is not allowed: numbers, low below high"),
        ("-m seed=0,1 study.metric=f1_macro", r"study.metric=f1_macro is what a search chooses by: give study.tuning_trials, too, or lea"),
        (f"{SEARCH} study.metric=f1_makro", r"study.metric=f1_makro is not allowed: .* Did you mean 'f1_macro'"),
        ("-m seed=0,1 data.source=gone.csv", r"data.source=gone.csv: no such folder or file, nor a named source \("),
        ("-m optimizer.lr=0.1,-1", r"optimizer.lr=-1 is not allowed: it should be greater than 0"),
        ("-m model.recurrence.hidden_size=3,many", r"model.recurrence.hidden_size=many is not allowed: it should be a valid integer"),
    ],
)
def test_a_study_with_a_wrong_word_is_refused_before_any_job(line: str, message: str, place: Place) -> None:
    said = place.typed(line)
    assert said.code == 2, said.text
    assert re.search(rf"^error: .*{message}", said.text, re.MULTILINE), said.text
    assert "Traceback" not in said.text
    assert said.after.keys() == said.before.keys()


@pytest.mark.slow
def test_an_axis_that_no_job_depends_on_makes_one_job(place: Place) -> None:
    said = place.typed("-m model=srnn cell@decoder_cell=gru,lstm")
    assert said.code == 0, said.text
    assert len(said.new) == 1
    assert said.parent.data.params == {"axis/cell_decoder_cell": "gru,lstm"}


# -- searches ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def searches(place: Place) -> dict[str, Said]:
    """Type a search, and again."""
    line = f"{SEARCH} study.metric=loss"
    return {"first": place.typed(line), "again": place.typed(line)}


@pytest.mark.slow
def test_a_search_tries_the_setting_as_given_first_and_runs_it_and_the_best_with_all_seeds(searches: dict[str, Said], place: Place) -> None:
    first = searches["first"]
    assert first.code == 0, first.text
    trials = [run for run in first.new if "trial" in run.data.tags]
    assert [run.data.tags["trial"] for run in trials] == ["0", "1"]
    assert {run.data.params["seed"] for run in trials} == {"4"}
    given, other = ({key: float(run.data.params[key]) for key in ("model.recurrence.hidden_size", "optimizer.lr")} for run in trials)
    assert given["model.recurrence.hidden_size"] == 3
    assert given != other
    assert other["model.recurrence.hidden_size"] in (3, 5)
    best = min(trials, key=lambda run: run.data.metrics["best/loss"])  # which the study asks for

    jobs = place.plan(first.parent)["jobs"]
    assert sorted((job["group"], job["seed"]) for job in jobs) == [("default", 4), ("default", 5), ("tuned", 4), ("tuned", 5)]
    by_identity = {run.data.tags["identity"]: run for run in first.after.values() if "identity" in run.data.tags}
    for group, of_group in (("default", trials[0]), ("tuned", best)):
        runs = [by_identity[job["identity"]] for job in jobs if job["group"] == group]
        assert {run.info.status for run in runs} == {"FINISHED"}
        assert runs[0].info.run_id == of_group.info.run_id, "the trial's seed is not run again"
        for key in given:
            assert {run.data.params[key] for run in runs} == {of_group.data.params[key]}
        mean = sum(run.data.metrics["best/accuracy"] for run in runs) / 2
        assert first.parent.data.metrics[f"best/accuracy/{group}"] == pytest.approx(mean)
    assert len({run.data.tags["identity"] for run in first.new}) == len(first.new) == (3 if best is trials[0] else 4)
    assert {run.data.tags["mlflow.parentRunId"] for run in first.new} == {first.parent.info.run_id}
    assert "best of 2 trials of gru: loss" in first.text
    assert sorted(run.info.run_name.removeprefix("gru-h") for run in trials) == sorted(
        f"{run.data.params['model.recurrence.hidden_size']}-speech-s4-t{run.data.tags['trial']}" for run in trials
    )
    assert {name.rpartition("-")[2] for run in first.new if (name := str(run.info.run_name)) and run not in trials} <= {"default", "tuned"}


@pytest.mark.slow
def test_a_search_again_runs_nothing(searches: dict[str, Said]) -> None:
    again = searches["again"]
    assert again.code == 0, again.text
    assert again.after.keys() == again.before.keys()
    assert ", 0 to run" in again.text
    assert "trial 1 of 2" not in again.text
    assert again.parent.data.metrics == searches["first"].parent.data.metrics


@pytest.mark.slow
def test_a_search_that_was_interrupted_goes_on_in_the_same_trial_and_run(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: object, trainer: pl.Trainer, *rest: object) -> None:
        signal.raise_signal(signal.SIGINT)

    line = SEARCH.replace("4", "6").replace("searching", "interrupted").replace("seed=6,5", "seed=6")
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Meter, "on_train_batch_end", interrupt)
        stopped = place.typed(line)
    assert stopped.code == 130, stopped.text
    assert "interrupted; the same command goes on where it stopped" in stopped.text
    (trial,) = stopped.new
    (parent,) = (run for run_id, run in stopped.after.items() if run_id not in stopped.before and run is not trial)
    assert (trial.info.status, parent.info.status) == ("KILLED", "KILLED")
    finished = place.typed(line)
    assert finished.code == 0, finished.text
    assert finished.after[trial.info.run_id].info.status == "FINISHED"
    assert finished.parent.info.run_id == parent.info.run_id
    assert [run.data.tags["trial"] for run in finished.new] == ["1"]


@pytest.mark.slow
def test_trials_that_fail_are_failed_trials_however_often_their_setting_comes(place: Place) -> None:
    words = "optimizer=sgd trainer.gradient_clip_val=null study.tuning_trials=3 '+study.space={optimizer.lr:[1e38]}'"
    said = place.typed(f"-m seed=9 study.search_seeds=[9] {words}")
    assert said.code == 1
    assert [run.info.status for run in said.new] == ["FAILED"]
    assert "no trial of the search was completed: see the failures above" in said.text, said.text


@pytest.mark.slow
def test_nothing_may_be_a_choice(place: Place) -> None:
    said = place.typed("-m seed=9 study.search_seeds=[9] study.tuning_trials=1 '+study.space={trainer.gradient_clip_val:[null]}'")
    assert said.code == 0, said.text
    assert "trainer.gradient_clip_val" not in said.new[0].data.params


def test_a_space_of_which_a_network_has_no_key_is_refused(place: Place) -> None:
    said = place.typed("-m seed=0 study.tuning_trials=1 '+study.space={optimizer.lrr:[0.1]}'")
    assert said.code == 2, said.text
    assert "optimizer.lrr" in said.text


# -- several processes -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_joblib_runs_the_jobs_of_a_study(place: Place) -> None:
    line = "-m hydra/launcher=joblib hydra.launcher.n_jobs=2 seed=7,8 study.name=beside"
    said = place.typed(line)
    assert said.code == 0, said.text
    assert sorted(run.data.params["seed"] for run in said.new) == ["7", "8"]
    assert {run.info.status for run in said.new} == {"FINISHED"}
    assert len({run.data.tags["pid"] for run in (*said.new, said.parent)}) == 3
    assert {run.data.tags["mlflow.parentRunId"] for run in said.new} == {said.parent.info.run_id}
    assert said.parent.data.metrics["num_jobs_finished"] == 2
    again = place.typed("-m seed=7,8 study.name=beside")
    assert again.new == [], "whatever launcher runs it, a job is the same"


@pytest.mark.slow
def test_a_search_by_joblib_runs_trials_beside_each_other(place: Place) -> None:
    line = f"{SEARCH.replace('searching', 'at-once')} optimizer.weight_decay=0.002 hydra/launcher=joblib hydra.launcher.n_jobs=2"
    dry = place.typed(f"{line} study.dry_run=true")
    assert "first a search: 2 trials of 1 seed for each of 1 network" in dry.text
    planned = ["seed=4 study.setting=default", "seed=5 study.setting=default", "seed=4 study.setting=tuned", "seed=5 study.setting=tuned"]
    assert shown(dry) == planned and "4 jobs by hydra/launcher=joblib" in dry.text and not dry.new
    said = place.typed(line)
    assert said.code == 0, said.text
    first, second = (run.info for run in said.new if "trial" in run.data.tags)
    assert first.start_time < second.end_time and second.start_time < first.end_time
    assert "best of 2 trials" in said.text
    run = [job["words"] for job in place.plan(said.parent)["jobs"]]
    assert len(run) == len(planned)


@pytest.mark.slow
def test_of_two_processes_that_start_the_same_study_at_once_each_job_is_run_by_one(root: Path, tmp_path: Path) -> None:
    alone = Place(tmp_path, root / "data")
    line = "-m model=gru,baseline seed=0,1"
    command = [sys.executable, str(HOME / "src/train.py"), *line.split(), *alone.besides(line)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNNLAB_ROOT", str(tmp_path))
        patch.delenv("HYDRA_FULL_ERROR")
        twins = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) for _ in range(2)]
    texts = [twin.communicate(timeout=300)[1] for twin in twins]
    assert [twin.returncode for twin in twins] == [0, 0], "\n".join(texts)
    runs = list(alone.runs().values())
    jobs = Counter(run.data.tags["identity"] for run in runs if "identity" in run.data.tags)
    assert sorted(jobs.values()) == [1, 1, 1]
    (parent,) = (run for run in runs if run.data.tags.get("kind") == "study")
    assert len(runs) == 4
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert parent.data.metrics["num_jobs_finished"] == 3
    assert all(parent.info.run_id in text for text in texts)


# -- several data sets -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_study_of_several_data_sets_is_summarised_by_data_set_each_by_its_own_metric(place: Place) -> None:
    words = f"data.source=sample trainer=smoke tracking.log_model=false study.name=both {place.words[-1]}"
    said = place.typed(f"-m model=baseline data=text,stock baseline.kind=mean {words}", is_small=False)
    assert said.code == 0, said.text
    by_data = {run.data.params["data"]: run.data.metrics for run in said.new}
    assert said.parent.data.metrics == pytest.approx(
        {f"{kind}/accuracy{end}": by_data["text"][f"{kind}/accuracy"] for kind in ("best", "test") for end in ("/text", "/data_text")}
        | {f"{kind}/mse{end}": by_data["stock"][f"{kind}/mse"] for kind in ("best", "test") for end in ("/stock", "/data_stock")}
        | {"num_jobs_finished": 2}
    )
    assert said.parent.data.tags["metric"] == "accuracy, mse"
    assert said.parent.data.tags["best_group"] == "data=text on text, data=stock on stock"


def test_groups_are_ranked_within_a_data_set_by_the_direction_of_its_metric() -> None:
    rows = [("a", "x", "mse", False, 0.5, 5.0), ("a", "y", "mse", False, 0.1, 4.0), ("a", "y", "mse", False, 0.3, 2.0)]
    rows += [("b", "x", "accuracy", True, 0.6, 0.7), ("b", "y", "accuracy", True, 0.5, 0.9)]
    first, second = means_of(pd.DataFrame(rows, columns=["data", "group", "metric", "is_max", "best", "test"]))
    assert (first.data, first.metric, first.best["group"], first.best["test"], first.best["num"]) == ("a", "mse", "y", 3.0, 2)
    assert (second.data, second.metric, second.best["group"], second.best["test"]) == ("b", "accuracy", "x", 0.7)
    assert means_of(pd.DataFrame()) == []


# -- axes and names ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_words_take_the_place_of_a_studys_axes(place: Place) -> None:
    all_jobs = place.typed("study=cells study.dry_run=true")
    assert all_jobs.code == 0, all_jobs.text
    expected = [f"model={model} seed={seed}" for seed in (0, 1, 2) for model in ("srnn", "lstm", "gru", "birnn", "seq2seq")]
    assert shown(all_jobs) == [*expected[:5], "model=baseline seed=0", *expected[5:]]
    assert shown(place.typed("study=cells model=gru seed=1 study.dry_run=true")) == [""]
    three = place.typed("study=cells model=gru,baseline seed=4,7 study.dry_run=true")
    assert shown(three) == ["model=gru seed=4", "model=baseline seed=4", "model=gru seed=7"]
    assert "3 jobs by hydra/launcher=basic; nothing was run (study.dry_run=true)" in three.text
    assert three.after.keys() == all_jobs.before.keys()


@pytest.mark.slow
def test_the_studies_of_the_readme_compose_as_they_are_typed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RNNLAB_MIRROR", raising=False)  # where a set cannot be had, its sample stands in: no data are asked for here
    typed = re.findall(r"^python src/train.py (study=[^#\n]*)", (HOME / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(typed) == 2
    for line, num_jobs in zip(typed, (16, 10), strict=True):  # of a search the seeds of both settings, default and tuned
        said = place.typed(f"{line} study.dry_run=true data.offline=true paths.data={place.root / 'none'}", is_small=False)
        assert said.code == 0, said.text
        assert f"{num_jobs} jobs by hydra/launcher=basic; nothing was run" in said.text


def shown(said: Said) -> list[str]:
    """Return the jobs of a dry run."""
    return [words.strip() for words in re.findall(r"^  (?:left|finished) (.*)$", said.text, re.MULTILINE)]


@pytest.mark.parametrize(
    ("study", "words", "axes", "fixed"),
    [
        ({}, ["seed=0,1"], {"seed": ["0", "1"]}, []),
        ({}, ["seed=0,1,0", "model=gru"], {"seed": ["0", "1"]}, ["model=gru"]),
        ({}, ["seed=range(2,8,3)"], {"seed": ["2", "5"]}, []),
        ({}, ["seed=choice(3,1)"], {"seed": ["3", "1"]}, []),
        ({}, ["cell@decoder_cell=gru,lstm"], {"cell@decoder_cell": ["gru", "lstm"]}, []),
        ({}, ["frontend.channels=[2,3],[4]"], {"frontend.channels": ["[2,3]", "[4]"]}, []),
        ({}, ["data.source='a, b'", "+x=1", "~y"], {}, ["data.source='a, b'", "+x=1", "~y"]),
        ({"model": ["gru", "lstm"], "seed": [0, 1]}, [], {"model": ["gru", "lstm"], "seed": ["0", "1"]}, []),
        ({"model": ["gru", "lstm"], "seed": [0, 1]}, ["model=srnn"], {"seed": ["0", "1"]}, ["model=srnn"]),
        ({"model": ["gru", "lstm"], "seed": [0, 1]}, ["model=srnn,gru", "seed=4"], {"model": ["srnn", "gru"]}, ["seed=4"]),
        ({"model": ["gru"]}, ["seed=3,4"], {"model": ["gru"], "seed": ["3", "4"]}, []),
        ({"a": [None, True, 0.5, "b", [1, "c"]]}, [], {"a": ["null", "true", "0.5", "b", '[1,"c"]']}, []),
    ],
)
def test_axes_come_from_the_study_and_the_words(
    study: dict[str, Any], words: list[str], axes: dict[str, list[str]], fixed: list[str]
) -> None:
    assert read_axes(study, words) == (axes, fixed)


@pytest.mark.parametrize("values", [[], 3, None, "gru,lstm", {"a": 1}])
def test_an_axis_without_values_is_refused(values: object) -> None:
    with pytest.raises(ConfigError, match=r"^study.axes.model=.* is not allowed: a list of values$"):
        read_axes({"model": values}, [])


def test_a_study_without_a_name_is_called_by_what_it_sweeps() -> None:
    name: Callable[..., str] = study_name
    assert name(None, {"model": ["gru"], "model.recurrence.hidden_size": ["3"]}) == "sweep-model-hidden_size"
    assert name(None, {"cell@decoder_cell": ["gru"]}) == "sweep-cell_decoder_cell"
    assert name("mine", {"model": ["gru"]}) == "mine"
    assert name(None, {}) == "sweep"
    for wrong in ("../x", "Mine", "a b", "a/b", "."):
        with pytest.raises(ConfigError, match=r"^study.name='.*' is not allowed: small letters, digits, - and _ only$"):
            name(wrong, {})


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("imdb", "gru_text"),
        (None, "gru_text"),
        ("sst2", "gru_sst2"),
        ("sample", "gru_text-sample"),
        ("/tmp/my reviews.csv", "gru_text-my_reviews"),
    ],
)
def test_a_setting_that_was_found_is_written_for_the_source_it_was_found_on(source: str | None, name: str, tmp_path: Path) -> None:
    (tmp_path / "tuned").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/text.yaml").write_text("source: imdb\n", encoding="utf-8")
    file = write_tuned(tmp_path, Choices({"model": "gru", "data": "text"}), {"optimizer.lr": 0.01}, "Best of 2 trials.", source)
    assert file == tmp_path / "tuned" / f"{name}.yaml"
    assert file.read_text(encoding="utf-8") == "# @package _global_\n# Best of 2 trials.\noptimizer:\n  lr: 0.01\n"
