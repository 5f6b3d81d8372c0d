"""A run is made again from what it recorded, and what came out otherwise is said."""

import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from urllib.parse import urlparse

import pandas as pd
import pytest
from mlflow import MlflowClient

from rnnlab.commands import reproduce
from rnnlab.commands import train as run
from rnnlab.commands.reproduce import Change, compare_numbers, compare_tables, content_hash, deviation_of, judge
from rnnlab.config import ConfigError
from rnnlab.evaluation import artifacts as results
from rnnlab.paths import CONF
from rnnlab.settings import TrainSettings
from rnnlab.tracking.results import RESULTS_HASH, file_hash, predictions_tag, results_hash
from rnnlab.tracking.store import Run

Compose = Callable[..., TrainSettings]
SMALL = ("trainer=smoke", "tracking.log_model=false")
NETWORK = ("data.source=sample", "model=lstm", "model.budget=700", "data.loader.batch_size=20", "seed=3")
FEW = ("data=series", "data.source=sample", "data.test_fraction=0.107")  # nobody else's test split


@pytest.fixture
def client(root: Path) -> MlflowClient:
    """Return the tracking store of this session."""
    return MlflowClient(f"sqlite:///{root / 'mlflow.db'}")


@pytest.fixture
def again(compose: Callable[..., reproduce.ReproduceSettings], root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Reproduce a run by its id, in this process."""
    monkeypatch.setenv("RNNLAB_ROOT", str(root))

    def reproduced(run_id: str, *words: str) -> None:
        reproduce.reproduce(compose(f"run={run_id}", *words, config_name="reproduce"))

    return reproduced


@pytest.fixture
def trained(compose: Compose, root: Path) -> Callable[..., str]:
    """Train, and return the run's id."""

    def train(*words: str) -> str:
        before = set((root / "outputs").glob("*/run_id"))
        run.train(compose(*SMALL, *words))
        (file,) = set((root / "outputs").glob("*/run_id")) - before
        return file.read_text().strip()

    return train


def artifact(client: MlflowClient, run_id: str, path: str) -> Path:
    """Return where an artifact lies in the store."""
    return Path(urlparse(client.get_run(run_id).info.artifact_uri).path) / path


def repeat_of(client: MlflowClient, run_id: str) -> Run:
    """Return the run that was made to reproduce another."""
    experiment = client.get_run(run_id).info.experiment_id
    (found,) = client.search_runs([experiment], f"tags.reproduces = '{run_id}'")
    return found


@pytest.mark.slow
def test_a_studys_network_with_a_budget_is_reproduced_to_the_bit_by_another_process(
    trained: Callable[..., str], command: Callable[..., "CompletedProcess[str]"], client: MlflowClient
) -> None:
    run_id = trained(*NETWORK, "study.parent=0123", "study.name=cells", "tracking.experiment=elsewhere")
    done = command(f"src/reproduce.py run={run_id}")
    assert done.returncode == 0, done.stderr
    first, second = client.get_run(run_id), repeat_of(client, run_id)
    num_numbers = sum(name.startswith(("best/", "test/")) for name in first.data.metrics)
    assert f"\nreproduced to the bit: {num_numbers} numbers, and all predictions on val and test" in done.stdout
    assert "1 thread, as recorded" in done.stdout
    assert (second.info.run_name, second.info.status) == (f"{first.info.run_name}-again", "FINISHED")
    assert second.data.tags["reproduced"] == "to the bit"
    assert not {"identity", "study", "mlflow.parentRunId"} & set(second.data.tags)  # no study counts it
    assert second.data.params["model.recurrence.hidden_size"] == first.data.params["model.recurrence.hidden_size"] != "128"


def test_a_simple_method_is_reproduced_to_the_bit_and_a_check_makes_no_run(
    trained: Callable[..., str], again: Callable[..., None], client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = trained(*FEW, "model=baseline")
    capsys.readouterr()
    experiment = client.get_run(run_id).info.experiment_id
    num_runs = len(client.search_runs([experiment]))
    again(run_id, "check=true")
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()] == ["run", "code", "packages", "machine", "data", "cost"]
    assert "packages      the same\n" in shown and "machine       the same\n" in shown
    assert len(client.search_runs([experiment])) == num_runs
    again(run_id)
    assert "\nreproduced to the bit: " in capsys.readouterr().out


def measured_otherwise(client: MlflowClient, run_id: str, name: str, value: float) -> None:
    """Let a run hold another number, as if it had measured that."""
    client.log_metric(run_id, name, value, step=0)
    client.set_tag(run_id, RESULTS_HASH, results_hash(client.get_run(run_id).data.metrics))


@pytest.mark.slow
def test_a_number_and_a_prediction_that_differ_are_not_reproduced_and_shown(
    trained: Callable[..., str], again: Callable[..., None], client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = trained(*FEW, "model=baseline", "baseline.kind=mean")
    error = client.get_run(run_id).data.metrics["test/mse"]
    measured_otherwise(client, run_id, "test/mse", error * (1 + 1e-9))
    file = artifact(client, run_id, "predictions/val.parquet")
    table = pd.read_parquet(file)
    table["prediction/target_1"] += 1e-3 * (table.index == 2)
    table.to_parquet(file, index=False)
    with pytest.raises(ValueError, match=r"the val predictions of .* are damaged or were changed"):
        again(run_id)
    client.set_tag(run_id, predictions_tag("val"), file_hash(file))
    with pytest.raises(SystemExit) as stopped:
        again(run_id)
    assert stopped.value.code == 1
    shown = capsys.readouterr().out
    assert "NOT reproduced: 1 of " in shown
    assert f"predictions/val: 1 of {len(table)} rows differ; code, data, packages, machine and threads are the run's" in shown
    assert f"{error * (1 + 1e-9):.10g}" in shown and "1e-09" in shown
    assert repeat_of(client, run_id).data.tags["reproduced"] == "no"


@pytest.mark.slow
def test_where_packages_were_not_recorded_a_small_difference_is_allowed_and_said(
    trained: Callable[..., str], again: Callable[..., None], client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = trained(*FEW, "model=baseline", "baseline.kind=mean")
    artifact(client, run_id, "packages.json").unlink()
    measured_otherwise(client, run_id, "test/mse", client.get_run(run_id).data.metrics["test/mse"] * (1 + 2e-6))
    again(run_id)
    shown = capsys.readouterr().out
    assert "packages      not recorded" in shown
    assert (
        "the same to 5 digits, within the tolerance of 0.001; not to the bit (what differs: package versions (not recorded), machine"
        in shown
    )


@pytest.mark.slow
def test_a_run_that_began_from_another_is_reproduced_while_the_other_is_there(
    trained: Callable[..., str], again: Callable[..., None], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("data=text", "data.source=sample", "model.recurrence.hidden_size=5", "frontend.embedding_size=6")
    first = trained(*words)
    second = trained(*words, f"init_from={first}", "seed=1")
    again(second)
    shown = capsys.readouterr().out
    assert f"first weights of run {first}" in shown and "reproduced to the bit" in shown
    for file in (root / "outputs" / first).glob("*.ckpt"):
        file.unlink()
    with pytest.raises(ValueError, match=rf"began from \(init_from={first}\) has no checkpoint in .* any more: it cannot be made again"):
        again(second)


def test_data_that_changed_are_refused_before_anything_runs(
    trained: Callable[..., str], again: Callable[..., None], client: MlflowClient, tmp_path: Path
) -> None:
    file = tmp_path / "own.csv"
    shutil.copy(CONF.parent / "data/samples/text/headlines.csv", file)
    run_id = trained("data=text", f"data.source={file}", "model=baseline", "baseline.kind=mean")
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join([*lines[:5], *lines[6:]]) + "\n", encoding="utf-8")
    with pytest.raises(
        ValueError, match=rf"the data have changed since \(source_hash \w+ is now \w+\): run {run_id} .*nothing was run"
    ) as told:
        again(run_id)
    assert not isinstance(told.value, ConfigError)  # exit 1, not 2
    assert not client.search_runs([client.get_run(run_id).info.experiment_id], f"tags.reproduces = '{run_id}'")


@pytest.mark.parametrize(
    ("status", "tags", "content", "message"),
    [
        ("RUNNING", {}, None, r"is not finished \(RUNNING\): it has no result to reproduce"),
        ("KILLED", {}, None, r"is not finished \(KILLED\)"),
        ("FINISHED", {"kind": "study"}, None, r"is the parent of study .*: give one of its runs"),
        ("FINISHED", {}, None, r"has no artifact 'config.yaml'.* did not record its configuration"),
        ("FINISHED", {}, "a: [", r"configuration of run \w+ cannot be read"),
        ("FINISHED", {}, "a: 1", r"is no configuration of a training"),
        (
            "FINISHED",
            {},
            "{model: {_target_: os.system}, data: {}, trainer: {}, seed: 0, choices: {}}",
            r"names 'os.system', which no file in conf/ does: it is not run",
        ),
    ],
)
def test_what_is_no_finished_run_with_a_configuration_is_refused(
    status: str,
    tags: dict[str, str],
    content: str | None,
    message: str,
    again: Callable[..., None],
    client: MlflowClient,
    root: Path,
    tmp_path: Path,
) -> None:
    name = "of-reproduce"
    found = client.get_experiment_by_name(name)
    experiment = found.experiment_id if found else client.create_experiment(name, (root / "mlartifacts" / name).as_uri())
    run_id = client.create_run(experiment, run_name="odd", tags=tags).info.run_id
    for split in ("val", "test"):
        table = tmp_path / f"{split}.parquet"
        pd.DataFrame({"example_id": ["a"]}).to_parquet(table)
        client.log_artifact(run_id, str(table), "predictions")
    if content is not None:
        (tmp_path / "config.yaml").write_text(content)
        client.log_artifact(run_id, str(tmp_path / "config.yaml"))
    if status != "RUNNING":
        client.set_terminated(run_id, status)
    with pytest.raises(ConfigError, match=message):
        again(run_id)


def test_wrong_words_are_refused(again: Callable[..., None], compose: Compose) -> None:
    with pytest.raises(ConfigError, match=r"run=abc: there is no such run in sqlite"):
        again("abc")
    with pytest.raises(ConfigError, match=r"give the run: run=RUN_ID"):
        again("null")
    with pytest.raises(ConfigError, match=r"reproduced with its recorded configuration: leave out optimizer.lr=1"):
        again("abc", "optimizer.lr=1")
    for given in ("-0.1", "1", "much"):
        with pytest.raises(ConfigError, match=rf"tolerance={given} is not allowed: a number from 0, below 1"):
            again("abc", f"tolerance={given}")


# The comparison


def test_shares_and_skill_differ_by_their_difference_other_numbers_relative_to_the_larger() -> None:
    assert deviation_of("test/accuracy", 0.01, 0.02) == pytest.approx(0.01)
    assert deviation_of("best/skill", 0.002, 0.001) == pytest.approx(0.001)
    assert deviation_of("test/wer", 2.0, 1.0) == 0.5
    assert deviation_of("test/mse", 2e-4, 1e-4) == 0.5
    assert deviation_of("test/loss", float("nan"), float("nan")) == 0
    assert deviation_of("test/loss", 1.0, float("nan")) == float("inf")


def test_only_what_a_result_consists_of_is_compared_and_what_is_missing_is_infinitely_far() -> None:
    before = {"test/loss": 1.0, "best/loss": 2.0, "time/fit_seconds": 9.0, "train/loss": 3.0}
    now = {"test/loss": 1.0, "test/new": 5.0, "time/fit_seconds": 8.0}
    assert compare_numbers(before, now) == [Change("best/loss", "2", "none", float("inf"))]


TABLE = pd.DataFrame({"example_id": ["a", "b"], "prediction": [1.0, float("nan")], "references": [["x", "y"], ["z"]]})


def test_the_content_of_a_table_is_hashed_not_its_file(tmp_path: Path) -> None:
    TABLE.to_parquet(tmp_path / "one.parquet", compression="gzip", index=False)
    assert content_hash(pd.read_parquet(tmp_path / "one.parquet")) == content_hash(pd.read_parquet(tmp_path / "one.parquet"))
    TABLE.to_parquet(tmp_path / "two.parquet", compression=None, index=False)
    one, two = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("one", "two"))
    assert (tmp_path / "one.parquet").read_bytes() != (tmp_path / "two.parquet").read_bytes()
    assert content_hash(one) == content_hash(two)
    for changed in (
        TABLE.assign(prediction=[1.0 + 2**-52, float("nan")]),
        TABLE.assign(references=pd.Series([["x"], ["y", "z"]])),
        TABLE.rename(columns={"prediction": "answer"}),
        TABLE.iloc[::-1],
        TABLE.astype({"prediction": "float32"}),
    ):
        assert content_hash(changed) != content_hash(TABLE)


def test_rows_that_differ_are_counted_and_other_examples_are_infinitely_far() -> None:
    assert compare_tables({"val": TABLE}, {"val": TABLE.copy()}) == []
    (change,) = compare_tables({"val": TABLE}, {"val": TABLE.assign(references=pd.Series([["x", "w"], ["z"]]))})
    assert (change.name, change.deviation, change.words) == ("predictions/val", 0, "1 of 2 rows differ")
    (change,) = compare_tables({"test": TABLE}, {"test": TABLE.assign(example_id=["a", "c"])})
    assert (change.deviation, change.words) == (float("inf"), "other examples or columns")


FAR, NEAR = Change("test/loss", "1", "2", 0.5), Change("test/loss", "1", "1.0003", 3e-4)
ROWS = Change("predictions/test", "ab", "cd", 0.0, "3 of 9 rows differ")
OTHERS = Change("predictions/test", "ab", "cd", float("inf"), "other examples or columns")


@pytest.mark.parametrize(
    ("changes", "reasons", "is_reproduced", "text"),
    [
        ([], [], True, "reproduced to the bit: 8 numbers, and all predictions on val and test"),
        ([], ["code"], True, "predictions on val and test (though not all is as it was: code)"),
        ([NEAR], [], False, "NOT reproduced: 1 of 8 numbers differ; code, data, packages, machine and threads are the run's"),
        ([ROWS], [], False, "NOT reproduced: 0 of 8 numbers differ; predictions/test: 3 of 9 rows differ; code, data,"),
        (
            [NEAR, ROWS],
            ["code", "machine"],
            True,
            "the same to 3 digits, within the tolerance of 0.001; not to the bit (what differs: code, machine)",
        ),
        ([ROWS], ["machine"], True, "the same in all digits, within the tolerance of 0.001; not to the bit (what differs: machine)"),
        ([NEAR, FAR], ["code"], False, "NOT reproduced: 1 of 8 numbers differ by more than 0.001; what differs: code"),
        ([OTHERS], ["code"], False, "NOT reproduced: 0 of 8 numbers differ by more than 0.001; predictions/test: other examples"),
    ],
)
def test_only_where_something_else_differs_is_a_tolerance_allowed(
    changes: list[Change], reasons: list[str], is_reproduced: bool, text: str
) -> None:
    verdict = judge(changes, 8, reasons, 0.001)
    assert verdict.is_reproduced == is_reproduced
    assert text in verdict.text


def test_a_run_records_packages_and_the_machine_but_not_what_changes_no_number() -> None:
    found = results.environment()
    assert found["torch"].split("+")[0] == __import__("torch").__version__.split("+")[0]
    assert {"numpy", "pandas", "scikit-learn", "python", "platform", "cpu_capability", "accelerator"} <= found.keys()
    assert not {"rich", "mlflow"} & found.keys()
    assert all(isinstance(value, str) and value for value in found.values())
