"""The command `rnnlab`, and the package where it is installed: in an empty folder, without the repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rnnlab import console, paths
from rnnlab.paths import HOME, as_here


def typed(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m rnnlab`, which is what `rnnlab` runs."""
    line = [sys.executable, "-m", "rnnlab", *words]
    return subprocess.run(
        line, cwd=cwd, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(HOME / "src")} | environment, check=False
    )


def test_every_script_is_a_command_and_every_command_a_script() -> None:
    assert {file.stem for file in (HOME / "src").glob("*.py")} == set(console.ENTRIES)


def test_the_overview_names_every_command(tmp_path: Path) -> None:
    for words in ([], ["--help"]):
        done = typed(*words, cwd=tmp_path)
        assert done.returncode == 0
        assert all(f"\n  {name} " in done.stdout for name in (*console.ENTRIES, *console.OTHERS))


def test_a_command_that_does_not_exist_is_refused_with_the_nearest(tmp_path: Path) -> None:
    done = typed("trian", "model=gru", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: 'trian' is no command. Did you mean train? Commands: train, ")


def test_messages_name_commands_as_they_are_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "continue with:  python src/train.py resume=1, or make ui; python src/mine.txt"
    assert as_here(text) == text
    monkeypatch.setattr(paths, "IS_INSTALLED", True)
    assert as_here(text) == "continue with:  rnnlab train resume=1, or rnnlab ui; python src/mine.txt"
    monkeypatch.setattr(paths, "IS_INSTALLED", False)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/rnnlab", "model=gru"])
    assert as_here("python src/compare.py study=cells") == "rnnlab compare study=cells"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which a built wheel was installed, without what it needs."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "repository"
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=HOME, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if (HOME / name).is_file() and not name.startswith(("tests", "experiments", "docs")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((HOME / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(folder / "installed"), str(copy)], check=True, capture_output=True)
    return folder / "installed"


@pytest.mark.slow
def test_an_installed_package_trains_and_compares_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(wheel), "RNNLAB_ROOT": ""}
    words = "train model=gru data=speech data.source=sample trainer=smoke"
    done = typed(*words.split(), cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mlflow.db").is_file()
    assert (tmp_path / "outputs").is_dir()
    assert "rnnlab predict run=" in done.stderr + done.stdout
    assert "rnnlab ui" in done.stderr + done.stdout
    assert "python src" not in done.stderr + done.stdout
    assert typed(*words.split(), "seed=1", cwd=tmp_path, **environment).returncode == 0
    done = typed("compare", "filter=\"params.data = 'speech'\"", cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert "rnnlab compare" in next(tmp_path.rglob("report.html")).read_text(encoding="utf-8")


@pytest.mark.slow
def test_an_installed_package_sweeps_and_refuses_as_the_repository_does(wheel: Path, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(wheel), "RNNLAB_ROOT": ""}
    words = "sweep model=srnn,gru data=speech data.source=sample trainer=smoke tracking.log_model=false"
    done = typed(*words.split(), cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 jobs finished" in done.stderr + done.stdout
    done = typed("train", "modle=gru", cwd=tmp_path, **environment)
    assert done.returncode == 2
    assert "'modle' is not a key or group. Did you mean 'model'?" in done.stderr
