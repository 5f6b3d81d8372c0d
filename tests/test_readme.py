"""Every command of the README is typed here; long ones are shortened by `trainer=smoke` or composed only, never left out."""

import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from rnnlab.command_line import check_words

HOME = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(r"```bash\n(.*?)```", (HOME / "README.md").read_text(encoding="utf-8"), re.DOTALL)
LINES = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
PYTHON = [line for line in LINES if line.startswith("python src/")]
MAKE = [line for line in LINES if line.startswith("make ")]


def test_the_readme_has_commands() -> None:
    assert len(PYTHON) >= 10
    assert len(PYTHON) + len(MAKE) == len([line for line in LINES if line])


@pytest.mark.parametrize("line", MAKE)
def test_every_make_target_exists(line: str) -> None:
    targets = re.findall(r"^([a-z]+):", (HOME / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert line.split()[1] in targets


@pytest.mark.parametrize("line", PYTHON)
def test_every_word_of_every_command_is_valid(line: str) -> None:
    script, *words = line.removeprefix("python src/").split()
    name = script.removesuffix(".py").replace("train", "config")
    check_words(name, [word for word in words if not word.startswith("-") and word != "job"])


@pytest.mark.slow
def test_the_commands_run_as_typed(command: Callable[..., "CompletedProcess[str]"], root: Path) -> None:
    recordings = HOME / "data/samples/speech"
    file = recordings / "recordings/7/7_f2_gb_1.flac"
    run_id = ""
    for line in PYTHON:
        if "--help" in line or "--cfg" in line or "resume=" in line or " -m " in line:
            continue  # test_command_line and test_resume run these
        typed = line.removeprefix("python ").replace("PATH", str(recordings)).replace("FILE", str(file)).replace("RUN_ID", run_id)
        if "train.py" in typed:
            typed += " trainer=smoke tracking.log_model=false" if "model=gru" not in typed else " trainer=smoke"
            typed += " data.source=sample" if "data.source" not in typed else ""
            typed = typed.replace("trainer.max_epochs=20", "")
        elif "prepare.py" in typed:
            typed += " data.source=sample"
        done = command(typed)
        assert done.returncode == 0, f"{typed}\n{done.stderr}"
        if found := re.search(r"^run ([0-9a-f]{32})$", done.stdout, re.MULTILINE):
            run_id = found[1]


def test_the_picture_is_there() -> None:
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", (HOME / "README.md").read_text(encoding="utf-8")):
        assert (HOME / picture).is_file(), picture


def test_nothing_committed_names_a_path_of_one_machine() -> None:
    own = re.compile(r"/(home|root|work|Users)/[a-z]")
    for folder in ("src", "conf", "docs", "experiments", "tests"):
        for file in (HOME / folder).rglob("*"):
            if file.suffix in {".py", ".md", ".yaml", ".csv"} and file.name != Path(__file__).name:
                assert not own.search(file.read_text(encoding="utf-8")), file
