"""Comparisons by the user's commands: a real small study, its report, and what is refused."""

import csv
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from rnnlab import cli
from rnnlab.cli import as_hydra_reads
from rnnlab.commands import compare, train
from rnnlab.config import ConfigError
from rnnlab.report import differences as two_runs
from rnnlab.settings import TrainSettings

Compare = Callable[..., str]
STUDY = (
    "src/train.py -m model=srnn,gru,baseline data=speech seed=0,1 study.name=small data.source=sample epochs=2 model.budget=3000 "
    "trainer.limit_train_batches=4 tracking.log_model=false"
)


@pytest.fixture(scope="module")
def place(new_root: Callable[[str], Path]) -> Path:
    """Return where the study of this file lies, run once as the user's command runs it."""
    root = new_root("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNNLAB_ROOT", str(root))
        patch.delenv("RNNLAB_MIRROR", raising=False)
        patch.setattr("sys.argv", STUDY.split())
        cli.main("config", lambda composed: train.train(TrainSettings.of(composed)))
    return root


@pytest.fixture
def compared(
    compose: Callable[..., compare.CompareSettings],
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Compare]:
    """Run compare.py's words, and return what was printed."""
    monkeypatch.setenv("RNNLAB_ROOT", str(place))
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setattr(compare.console, "width", 250)
    monkeypatch.setattr(two_runs.console, "width", 250)

    def typed(*words: str) -> str:
        given = [as_hydra_reads("compare", word) for word in words]
        compare.compare(compose(*given, as_hydra_reads("compare", f"output={tmp_path / 'report'}"), config_name="compare"))
        return capsys.readouterr().out

    yield typed


def runs(place: Path, wanted: str = "tags.identity LIKE '%'") -> list[Run]:
    client = MlflowClient(f"sqlite:///{place}/mlflow.db")
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()], wanted))


def test_a_study_is_compared_and_reported(compared: Compare, tmp_path: Path, place: Path) -> None:
    printed = compared("study=small", "data=speech")
    assert re.search(r"(srnn|gru) (and|beats) (srnn|gru)", printed)
    assert re.search(r"pooled +│ +1 ", printed)  # the simple method, once for all seeds
    folder = tmp_path / "report"
    assert {file.name for file in folder.iterdir()} >= {"report.html", "report.md", "results.csv", "table.tex", "learning_curves.png"}
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    by_id = {found.info.run_id: found for found in runs(place)}
    assert len(rows) == len(by_id) == 5
    for row in rows:
        assert float(row["test/accuracy"]) == pytest.approx(by_id[row["run_id"]].data.metrics["test/accuracy"])
    (parent,) = runs(place, "tags.kind = 'study'")
    artifacts = {a.path for a in MlflowClient(f"sqlite:///{place}/mlflow.db").list_artifacts(parent.info.run_id, "report")}
    assert "report/report.html" in artifacts


def test_the_status_counts_every_job(compared: Compare) -> None:
    assert "5 jobs: 5 finished" in compared("study=small", "--status")


def test_a_filter_groups_by_what_varies_and_names_nothing_else(compared: Compare) -> None:
    printed = compared("filter=params.model != 'baseline'", "metric=f1_macro")
    assert "f1_macro" in printed
    assert re.search(r"\bsrnn +│ +2 ", printed)
    assert "hidden_size" not in printed  # follows from model and budget
    assert "pooled" in printed  # tracked on the same test examples: stands beside


def test_a_metric_that_cannot_be_taken_apart_gets_a_table_and_no_verdict(compared: Compare) -> None:
    printed = compared("study=small", "metric=ece")
    assert re.search(r"\bsrnn +│ +2 ", printed)
    assert "beats" not in printed
    assert "cannot be taken apart" in printed or "taken apart" in printed


def test_two_runs_are_laid_side_by_side(compared: Compare, place: Path, tmp_path: Path) -> None:
    first, second = (next(r for r in runs(place) if r.data.params["model"] == name) for name in ("srnn", "gru"))
    printed = compared(f"run={first.info.run_id},{second.info.run_id}")
    assert re.search(r"model\.recurrence\.hidden_size +│ +\d+ │ +\d+", printed)
    assert "data.source" not in printed  # the same in both
    counts = re.search(r"of (\d+) test examples .* is right and .* wrong on (\d+), the other way round on (\d+)", printed)
    assert counts is not None
    lines = (tmp_path / "report/differing_examples.csv").read_text().splitlines()
    assert len(lines) - 1 == int(counts[2]) + int(counts[3])
    assert (tmp_path / "report/curves.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["study=smal"], r"there is no study=smal. Known: study=small data=speech"),
        (["study=small", "data=trec"], r"there is no study=small data=trec. Known"),
        (["study=../small"], r"study='../small' is not a name: small letters, digits, - and _ only"),
        ([], r"give one of study=NAME, parent=RUN_ID, filter="),
        (["study=small", "filter=params.seed = '0'"], r"give one of study=NAME, parent=RUN_ID, filter="),
        (["filter=params.model = 'lstm'"], r"filter=\"params.model = 'lstm'\" finds no finished run \(0 others\)"),
        (["filter=model = gru"], r"tracking cannot find 'model = gru': "),
        (["study=small", "metric=acuracy"], r"metric=acuracy: not measured in .*; measured there: accuracy, "),
        (["run=abc"], r"run=abc: give two run ids, A,B"),
        (["run=abc,abd"], r"run=abc: there is no such run"),
    ],
)
def test_what_cannot_be_compared_is_told(words: list[str], message: str, compared: Compare) -> None:
    with pytest.raises(ValueError, match=message):
        compared(*words)


def test_a_parent_is_asked_for_where_a_single_run_was_given(compared: Compare, place: Path) -> None:
    single = next(r for r in runs(place) if r.data.params["model"] == "gru")
    with pytest.raises(ConfigError, match=r"is no study's parent run; two single runs: run=A,B"):
        compared(f"parent={single.info.run_id}")


def test_one_seed_gives_no_verdict_and_says_so(compared: Compare) -> None:
    printed = compared("filter=params.seed = '0'")
    assert "one seed" in printed
    assert "beats" not in printed


def changed(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[MlflowClient, Run]:
    """Copy the store, make it the project's, and return it with one of its runs."""
    shutil.copytree(place, tmp_path / "copy")
    monkeypatch.setenv("RNNLAB_ROOT", str(tmp_path / "copy"))
    client = MlflowClient(f"sqlite:///{tmp_path}/copy/mlflow.db")
    return client, next(r for r in runs(place) if r.data.params["model"] == "gru")


def test_runs_on_other_data_are_refused_by_name(compared: Compare, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, other = changed(place, tmp_path, monkeypatch)
    client.set_tag(other.info.run_id, "source_hash", "elsewhere")
    with pytest.raises(ValueError, match=rf"of different data, which must not be mixed: .*source_hash elsewhere: {other.info.run_name}"):
        compared("study=small")


def test_runs_with_other_test_examples_are_refused_by_name(
    compared: Compare, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, other = changed(place, tmp_path, monkeypatch)
    client.set_tag(other.info.run_id, "test_hash", "others")
    with pytest.raises(ValueError, match=rf"the test examples are not the same in all runs: .*test_hash others: {other.info.run_name}"):
        compared("study=small")


def test_missing_predictions_are_named(compared: Compare, place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _, other = changed(place, tmp_path, monkeypatch)
    file = Path(other.info.artifact_uri.removeprefix("file://")) / "predictions/test.parquet"
    aside = file.with_suffix(".aside")
    file.rename(aside)
    try:
        with pytest.raises(ValueError, match=rf"the test predictions of {other.info.run_name} \({other.info.run_id}\) cannot be read"):
            compared("study=small")
    finally:
        aside.rename(file)


def test_a_study_without_a_finished_run_says_how_to_see_its_state(
    compared: Compare, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = changed(place, tmp_path, monkeypatch)
    for each in runs(place):
        client.delete_run(each.info.run_id)
    with pytest.raises(ConfigError, match=r"study small has no finished run yet: see its state with status=true"):
        compared("study=small")


def test_missing_jobs_are_noted(compared: Compare, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, other = changed(place, tmp_path, monkeypatch)
    client.delete_run(other.info.run_id)
    compared("study=small")
    report = (tmp_path / "report/report.md").read_text()
    assert f"1 of 5 jobs are missing: gru seed {other.data.params['seed']}: left" in report


def test_the_parents_plan_lists_every_job_once(place: Path) -> None:
    (parent,) = runs(place, "tags.kind = 'study'")
    plan = json.loads((place / "outputs" / parent.info.run_id / "study.json").read_text())
    assert len(plan["jobs"]) == len({job["identity"] for job in plan["jobs"]}) == 5
    assert {job["group"] for job in plan["jobs"]} == {"srnn", "gru", "baseline"}
