"""A finished run is used where and how people work: answers into new folders, absurd values, what is missing named before the work."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rnnlab.commands.finished import output_file, output_folder
from rnnlab.config import ConfigError, whole
from rnnlab.settings import Paths, TrainSettings
from rnnlab.tracking.recorded import load_config


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
    with pytest.raises(ConfigError, match=r"maps=.* is a file: give a folder"):
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
