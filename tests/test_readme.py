"""Every command of the README is typed here; long ones are shortened by `trainer=smoke` or composed only, never left out."""

import re
import runpy
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from rnnlab.cli import as_hydra_reads, check_words
from rnnlab.paths import HOME

BLOCKS = re.findall(r"```bash\n(.*?)```", (HOME / "README.md").read_text(encoding="utf-8"), re.DOTALL)
LINES = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
PYTHON = [line for line in LINES if line.startswith("python src/")]
MAKE = [line for line in LINES if line.startswith("make ")]


def test_the_readme_has_commands() -> None:
    assert len(PYTHON) >= 10
    assert len(PYTHON) + len(MAKE) == len([line for line in LINES if line])


@pytest.mark.parametrize("line", MAKE)
def test_every_make_target_exists(line: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (HOME / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert line.split()[1] in targets


@pytest.mark.parametrize("line", PYTHON)
def test_every_word_of_every_command_is_valid(line: str) -> None:
    script, *words = shlex.split(line.removeprefix("python src/"))
    name = script.removesuffix(".py").replace("train", "config")
    read = [as_hydra_reads(name, word) for word in words]
    check_words(name, [word for word in read if not word.startswith("-") and word != "job"])


SAMPLES = HOME / "data/samples"
OWN = {
    "RECORDINGS": str(SAMPLES / "speech"),
    "TEXTS.csv": str(SAMPLES / "text/headlines.csv"),
    "PRICES": str(SAMPLES / "stock"),
    "TABLE.csv": str(SAMPLES / "series/hourly_load.csv"),
    "DICTATION": str(SAMPLES / "dictation"),
    "PAIRS": str(SAMPLES / "translation/train"),
    "FILE": str(SAMPLES / "speech/recordings/7/7_f2_gb_1.flac"),
}
ELSEWHERE = ("--help", "--cfg", "resume=", " -m model=srnn")  # test_command_line and test_resume run these
TYPED = [line for line in PYTHON if not any(word in line for word in ELSEWHERE)]
STUDIED = [line for line in TYPED if "study=cells" in line]


def shortened(line: str) -> str:
    """Return a README command on small data and few steps."""
    typed = line.removeprefix("python ")
    for word, file in OWN.items():
        typed = typed.replace(f"={word}", f"={file}")
    if "train.py" in typed:
        typed += " trainer=smoke trainer.num_threads=1 tracking.log_model=false" + ("" if "data.source" in typed else " data.source=sample")
        typed = typed.replace(" trainer.max_epochs=20", "").replace("study.tuning_trials=20", "study.tuning_trials=1 seed=0,1")
        typed += " model=gru,baseline seed=0,1" if "study=cells" in typed else ""
        typed += " data.prepare.subword_size=400" if "subword" in typed else ""
    return typed + (" data.source=sample" if "prepare.py" in typed else "")


@dataclass(frozen=True)
class Done:
    """Hold what a command did.

    Args:
        code: it exited with.
        out: it printed.
        err: it printed there.
    """

    code: int
    out: str
    err: str


@pytest.fixture
def command(root: Path, figures: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Done]:
    """Run a script of src/ as a user types it, in this process: a fresh one needs six seconds for its imports."""

    def typed(line: str) -> Done:
        script, *words = shlex.split(line)
        code, threads = 0, torch.get_num_threads()
        with monkeypatch.context() as patch:
            patch.setenv("RNNLAB_ROOT", str(root))
            for name in ("RNNLAB_MIRROR", "HYDRA_FULL_ERROR"):
                patch.delenv(name, raising=False)
            patch.setenv("COLUMNS", "200")
            patch.setenv("RNNLAB_ROOT", str(root))
            patch.setattr("sys.argv", [script, *words])
            patch.chdir(root)
            try:
                runpy.run_path(str(HOME / script), run_name="__main__")
            except SystemExit as left:
                code = int(left.code or 0)
        torch.set_num_threads(threads)
        return Done(code, *capsys.readouterr())

    return typed


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in TYPED if "RUN_ID" not in line and line not in STUDIED])
def test_a_command_runs_as_typed(line: str, command: Callable[[str], Done]) -> None:
    done = command(shortened(line))
    assert done.code == 0, done.err


@pytest.mark.slow
def test_a_study_is_run_and_compared_as_typed(command: Callable[[str], Done]) -> None:
    assert len(STUDIED) >= 3
    for line in STUDIED:  # the first runs it
        done = command(shortened(line))
        assert done.code == 0, f"{line}\n{done.err}"
    assert "3 jobs: 3 finished" in done.out


@pytest.mark.slow
def test_the_commands_on_a_run_run_as_typed(command: Callable[[str], Done]) -> None:
    trained = command("src/train.py model=gru data=speech trainer=smoke data.source=sample")
    (run_id,) = re.findall(r"^run ([0-9a-f]{32})$", trained.out, re.MULTILINE)
    for line in (line for line in TYPED if "RUN_ID" in line and not {"text=", "prompt="} & set(re.findall(r"\w+=", line))):
        done = command(shortened(line).replace("RUN_ID", run_id))
        assert done.code == 0, f"{line}\n{done.err}"


@pytest.mark.slow
def test_the_commands_on_a_text_run_as_typed(command: Callable[[str], Done]) -> None:
    trained = command("src/train.py model=seq2seq data=translation trainer=smoke data.source=sample tracking.log_model=false")
    (run_id,) = re.findall(r"^run ([0-9a-f]{32})$", trained.out, re.MULTILINE)
    lines = [line for line in TYPED if "RUN_ID" in line and "text=" in line]
    assert lines
    for line in lines:
        done = command(shortened(line).replace("RUN_ID", run_id))
        assert done.code == 0, f"{line}\n{done.err}"


@pytest.mark.slow
def test_the_commands_on_a_language_model_run_as_typed(command: Callable[[str], Done]) -> None:
    trained = command("src/train.py model=lstm data=language trainer=smoke data.source=sample tracking.log_model=false")
    (run_id,) = re.findall(r"^run ([0-9a-f]{32})$", trained.out, re.MULTILINE)
    lines = [line for line in TYPED if "RUN_ID" in line and "prompt=" in line]
    assert lines
    for line in lines:
        done = command(shortened(line).replace("RUN_ID", run_id))
        assert done.code == 0 and done.out.startswith("the beginning of a text"), f"{line}\n{done.err}"


def test_the_picture_is_there() -> None:
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", (HOME / "README.md").read_text(encoding="utf-8")):
        assert (HOME / picture).is_file(), picture


def test_nothing_committed_names_a_path_of_one_machine() -> None:
    own = re.compile(r"/(home|root|work|Users)/[a-z]")
    for folder in ("src", "conf", "docs", "experiments", "tests"):
        for file in (HOME / folder).rglob("*"):
            if file.suffix in {".py", ".md", ".yaml", ".csv"} and file.name != Path(__file__).name:
                assert not own.search(file.read_text(encoding="utf-8")), file
