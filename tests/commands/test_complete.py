"""What the jobs of a study leave for later, and that it is the same when it is made."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from rnnlab.commands import train as command
from rnnlab.commands.complete import CompleteSettings, complete
from rnnlab.config import ConfigError
from rnnlab.evaluation.artifacts import ARTIFACTS
from rnnlab.settings import Store, TrainSettings
from rnnlab.tracking.store import Client, connect, find_runs, get_run
from rnnlab.tracking.tracker import Tracker

SMALL = ("trainer=smoke", "data.source=sample", "model.recurrence.hidden_size=3", "tracking.experiment=light")
LATER = {"learning_curve.png", "confusion_matrix.png", "calibration.png", "accuracy_by_length.png", "errors.csv"}


@pytest.fixture(scope="module")
def parent(root: Path) -> str:
    """The run of a study without jobs."""
    from rnnlab.settings import Paths

    tracker = Tracker.start(connect(None, root), "light", "study", Paths.below(root), {"kind": "study"})
    tracker.finish("FINISHED")
    return tracker.run_id


def asked(root: Path, run: str | None = None, parent: str | None = None) -> CompleteSettings:
    from rnnlab.settings import Paths

    return CompleteSettings(Paths.below(root), run, parent, Store(None))


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of the artifacts that do not say which run they are of, or when."""
    found = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    return {name: content for name, content in found.items() if not re.match(r"bundle/bundle.json|results.json", name)}


def job(client: Client, compose: Callable[..., TrainSettings], *words: str) -> str:
    """Train and return the id of the run."""
    before = {run.info.run_id for run in find_runs(client, "")}
    command.train(compose(*SMALL, *words))
    (found,) = {run.info.run_id for run in find_runs(client, "")} - before
    return found


@pytest.mark.usefixtures("figures")
def test_what_is_made_later_is_what_a_run_makes_at_once(parent: str, root: Path, compose: Callable[..., TrainSettings]) -> None:
    client = connect(None, root)
    later = job(client, compose, f"study.parent={parent}")
    at_once = job(client, compose)
    folders = [root / "outputs" / run_id / "artifacts" for run_id in (at_once, later)]
    assert files(folders[0]).keys() - files(folders[1]).keys() == LATER
    run, info = get_run(client, later), get_run(client, later).info
    assert (run.data.tags[ARTIFACTS] == "light" and run.outputs is None) or not run.outputs.model_outputs
    compared = get_run(client, at_once).data.metrics
    assert {name: run.data.metrics[name] for name in compared if name.startswith(("best/", "test/"))} == {
        name: value for name, value in compared.items() if name.startswith(("best/", "test/"))
    }

    complete(asked(root, parent=parent))

    assert files(folders[0]) == files(folders[1])
    run = get_run(client, later)
    assert run.data.tags[ARTIFACTS] == "full" and len(run.outputs.model_outputs) == 1
    assert (run.info.status, run.info.end_time, run.data.tags["process"]) == (
        info.status,
        info.end_time,
        get_run(client, at_once).data.tags["process"],
    )


def test_what_is_complete_is_left_alone(parent: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    complete(asked(root, parent=parent))
    assert "nothing is left to make" in capsys.readouterr().out


@pytest.mark.usefixtures("figures")
def test_a_job_that_is_asked_for_all_of_it_makes_it_at_once(parent: str, root: Path, compose: Callable[..., TrainSettings]) -> None:
    client = connect(None, root)
    run_id = job(client, compose, f"study.parent={parent}", "study.artifacts=full", "seed=1")
    assert files(root / "outputs" / run_id / "artifacts").keys() >= LATER
    assert ARTIFACTS not in get_run(client, run_id).data.tags


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "give one of them: run=RUN_ID, or parent=RUN_ID"),
        ({"run": "a", "parent": "b"}, "give one of them"),
        ({"run": "PARENT"}, "is a study: parent="),
    ],
)
def test_who_names_nothing_or_the_wrong_thing_is_told_what_to_name(words: dict[str, str], message: str, parent: str, root: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        complete(asked(root, **{key: parent if value == "PARENT" else value for key, value in words.items()}))


def test_a_run_that_did_not_finish_cannot_be_completed(root: Path, compose: Callable[..., TrainSettings]) -> None:
    from rnnlab.settings import Paths

    tracker = Tracker.start(connect(None, root), "light", "broken", Paths.below(root), {ARTIFACTS: "light"})
    tracker.finish("FAILED", "for a test")
    with pytest.raises(ConfigError, match="is FAILED: only a finished run can be completed"):
        complete(asked(root, run=tracker.run_id))


def test_other_artifacts_are_refused(compose: Callable[..., TrainSettings]) -> None:
    with pytest.raises(ConfigError, match=r"study.artifacts=some is not allowed.* Allowed: full, light"):
        compose("study.artifacts=some")
