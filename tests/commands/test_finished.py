"""A finished run is used where and how people work: answers into new folders, absurd values, what is missing named before the work."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rnnlab.commands.finished import output_file, output_folder
from rnnlab.config import ConfigError, whole
from rnnlab.paths import HOME
from rnnlab.settings import Paths, TrainSettings
from rnnlab.tracking.recorded import load_config
from rnnlab.tracking.store import connect, find_runs
from rnnlab.tracking.tracker import RESERVE, Tracker


def test_the_folder_of_an_answer_is_made(tmp_path: Path) -> None:
    assert output_file(str(tmp_path / "new/2026/answers.csv")) == tmp_path / "new/2026/answers.csv"
    assert (tmp_path / "new/2026").is_dir()
    assert output_file(None) is None


def test_a_folder_in_place_of_a_file_is_refused_with_a_file_in_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"output={tmp_path} is a folder: give a file, output={tmp_path}/answers.csv"):
        output_file(str(tmp_path))


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match=r"maps=.* cannot be made, since .*file is a file: give a folder"):
        output_folder(str(file), "maps")
    with pytest.raises(ConfigError, match=r"output=.*: its folder cannot be made"):
        output_file(str(file / "answers.csv"))


@pytest.mark.parametrize("seed", [2**32, 10**30, -1])
def test_a_seed_that_no_generator_takes_is_refused(seed: int, compose: Callable[..., TrainSettings]) -> None:
    with pytest.raises(ConfigError, match=r"seed=.* is not allowed: a whole number from 0 to 4294967295"):
        compose(f"seed={seed}")


def test_a_number_above_the_most_is_refused_and_shown_short() -> None:
    with pytest.raises(ConfigError, match=r"^beam_size=10{19}\.\.\. is not allowed: a whole number from 1 to 1000$"):
        whole(10**60, 1, "beam_size", most=1000)


@pytest.mark.parametrize("content", ["", "a: [", "- 1", "model: 1\ndata: 2\ntrainer: 3\nseed: 0\nchoices: x\n", "\x00"])
def test_a_damaged_configuration_is_named(content: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=rf"the recorded configuration of run abc .*{file}"):
        load_config(file, "abc", Paths.below(tmp_path))


def test_recorded_paths_below_the_root_of_then_lie_below_that_of_now(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "paths: {root: /old/place}\nmodel: {}\ntrainer: {}\nseed: 0\nchoices: {}\n"
        "data: {source: /old/place/data/mine.csv, mirror: /old/placebo, loader: {vectors: [/old/place]}}\n"
    )
    data = load_config(file, "abc", Paths.below(tmp_path)).values["data"]
    assert data == {"source": f"{tmp_path}/data/mine.csv", "mirror": "/old/placebo", "loader": {"vectors": [str(tmp_path)]}}


def test_room_for_a_runs_last_words_is_reserved_until_its_end(root: Path) -> None:
    tracker = Tracker.start(connect(None, root), "text", "reserved", Paths.below(root), {})
    assert (tracker.folder / RESERVE).stat().st_size > 100_000
    tracker.finish("FAILED", "the disk is full")
    assert not (tracker.folder / RESERVE).exists()


BASELINE = "model=baseline data=speech data.source=sample baseline.kind=mean tracking.log_model=false"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_a_run_whose_output_goes_to_a_full_device_finishes_and_costs_a_line(new_root: Callable[[str], Path]) -> None:
    root = new_root("full")
    settings = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"} | {"RNNLAB_ROOT": str(root)}
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, str(HOME / "src/train.py"), *BASELINE.split()]
        done = subprocess.run(command, env=settings, cwd=root, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: standard output cannot be read or written: No space left on device"
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert [run.info.status for run in find_runs(connect(None, root), "")] == ["FINISHED"]


@pytest.mark.slow
def test_a_deleted_working_directory_costs_a_line(root: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    command = f'mkdir "{gone}"; cd "{gone}"; rmdir "{gone}"; exec "{sys.executable}" "{HOME}/src/train.py" {BASELINE}'
    settings = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"RNNLAB_ROOT": str(root)}
    done = subprocess.run(["bash", "-c", command], env=settings, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: the folder that you are in was deleted: cd to one that exists\n")


@pytest.mark.slow
def test_variables_of_slurm_and_of_other_runs_change_nothing(
    command: Callable[..., "subprocess.CompletedProcess[str]"], new_root: Callable[[str], Path]
) -> None:
    root = new_root("environment")
    slurm = {
        "SLURM_NTASKS": "4",
        "SLURM_JOB_ID": "1",
        "SLURM_JOB_NAME": "x",
        "SLURM_PROCID": "2",
        "SLURM_LOCALID": "2",
        "SLURM_NODELIST": "a",
    }
    others = {"MLFLOW_RUN_ID": "0" * 32, "MLFLOW_EXPERIMENT_ID": "4242", "MLFLOW_EXPERIMENT_NAME": "other"}
    done = command("src/train.py model=gru data=speech data.source=sample trainer=smoke", RNNLAB_ROOT=str(root), **slurm, **others)
    assert done.returncode == 0, done.stderr
    client = connect(None, root)
    (run,) = find_runs(client, "")
    assert run.info.status == "FINISHED" and run.outputs.model_outputs
    assert client.get_experiment(run.info.experiment_id).name == "speech"
