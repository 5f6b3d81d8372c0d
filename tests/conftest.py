"""What tests share: places of their own for everything that is written, what is made once, and the words of a user's command."""

import os
import shlex

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HYDRA_FULL_ERROR"] = "1"

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hydra._internal.core_plugins.file_config_source import FileConfigSource

from rnnlab.paths import HOME
from rnnlab.settings import Composed, TrainSettings

CACHES = ("__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".egg-info", ".venv")
COMPOSED: dict[tuple[str, ...], Composed] = {}
WRITTEN_BEFORE = pytest.StashKey[set[str]]()


# What the repository holds ------------------------------------------------------------------------------------------------------------


def untracked() -> set[str]:
    """Return the files of the repository that git does not track, caches aside; none where there is no git."""
    command = ["git", "status", "--porcelain", "--ignored", "--untracked-files=all", "--", ".", ":!.venv"]
    try:
        done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return set()
    lines = [line for line in done.stdout.splitlines() if line.startswith(("??", "!!"))]
    return {line[3:] for line in lines if not any(cache in line for cache in CACHES)}


def pytest_sessionstart(session: pytest.Session) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        session.config.stash[WRITTEN_BEFORE] = untracked()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let the session fail where files appeared in the repository while it ran."""
    before = session.config.stash.get(WRITTEN_BEFORE, None)
    written = sorted(untracked() - before) if before is not None else []
    if written:
        print(f"\n\nThese files appeared in the repository while the tests ran; tests write below tmp_path or `root`: {', '.join(written)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks for a browser or a server as slow."""
    for item in items:
        if {"browser", "server"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


# What is made once --------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all processes of this test session have in common."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def empty_database(shared: Path) -> Path:
    """Return a tracking database without runs: making one takes two seconds, copying it none."""
    from rnnlab.tracking.store import connect

    with FileLock(shared / "database.lock"):
        if not (shared / "mlflow.db").exists():
            connect(f"sqlite:///{shared}/new.db", shared)
            (shared / "new.db").rename(shared / "mlflow.db")
    return shared / "mlflow.db"


@pytest.fixture(scope="session")
def new_root(tmp_path_factory: pytest.TempPathFactory, shared: Path, empty_database: Path) -> Callable[[str], Path]:
    """Make folders as RNNLAB_ROOT names one: runs and the tracking database are their own, prepared data are the session's."""

    def made(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        (folder / "mlflow.db").write_bytes(empty_database.read_bytes())
        (shared / "data").mkdir(exist_ok=True)
        (folder / "data").symlink_to(shared / "data")
        return folder

    return made


@pytest.fixture(scope="session")
def root(new_root: Callable[[str], Path]) -> Path:
    """Where this process of the test session keeps data, runs and the tracking database."""
    return new_root("root")


@pytest.fixture(scope="session", autouse=True)
def files_read_once() -> Iterator[None]:
    """Let Hydra parse each file of `conf/` once: parsing YAML is a quarter of composing, and tests compose a thousand times."""
    load = FileConfigSource.load_config
    read = cache(lambda provider, folder, name: load(FileConfigSource(provider, folder), name))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileConfigSource, "load_config", lambda source, name: deepcopy(read(source.provider, source.path, name)))
        yield


@pytest.fixture(scope="session", autouse=True)
def without_figures() -> Iterator[Callable[..., None]]:
    """Let runs draw nothing, which is half a small run's time; the fixture `figures` is for tests that look at figures."""
    from rnnlab.evaluation import artifacts

    with pytest.MonkeyPatch.context() as patch:
        draw = artifacts.draw
        patch.setattr(artifacts, "draw", lambda *parts: None)
        yield draw


@pytest.fixture
def figures(without_figures: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runs of a test draw their figures."""
    from rnnlab.evaluation import artifacts

    monkeypatch.setattr(artifacts, "draw", without_figures)


# What a user types --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def compose(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Compose the settings of a command from a user's words, each once, writing below the session's root, on the bundled sample."""
    from rnnlab import cli

    monkeypatch.setenv("RNNLAB_ROOT", str(root))

    def composed(*words: str, config_name: str = "config") -> Any:
        key = (os.environ["RNNLAB_ROOT"], config_name, *words)
        if key not in COMPOSED:
            COMPOSED[key] = cli.compose_config(config_name, list(words))
        return settings_of(config_name, deepcopy(COMPOSED[key]))

    return composed


def settings_of(command: str, composed: Composed) -> Any:
    """Return composed values as the settings of a command."""
    if command == "config":
        return TrainSettings.of(composed)
    if command == "prepare":
        from rnnlab.commands.prepare import PrepareSettings

        return PrepareSettings.of(composed)
    if command == "reproduce":
        from rnnlab.commands.reproduce import ReproduceSettings

        return ReproduceSettings.of(composed)
    from rnnlab.commands import clean, compare, export, generate, predict, score

    found = {"predict": predict.PredictSettings, "score": score.ScoreSettings, "compare": compare.CompareSettings}
    found |= {"clean": clean.CleanSettings, "generate": generate.GenerateSettings, "export": export.ExportSettings}
    return composed.typed(found[command])


@pytest.fixture
def command(root: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run a script of src/ in a fresh process, as a user types it."""

    def run(line: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        script, *words = shlex.split(line)
        settings = {k: v for k, v in os.environ.items() if k not in ("RNNLAB_MIRROR", "HYDRA_FULL_ERROR")}
        settings |= {"RNNLAB_ROOT": str(root), "COLUMNS": "200", **environment}
        return subprocess.run(
            [sys.executable, str(HOME / script), *words],
            env=settings,
            cwd=root,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Run a real MLflow server on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--artifacts-destination", str(tmp_path / "artifacts")]
    settings = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env=settings, cwd=tmp_path, stdout=quiet, stderr=quiet, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{address}/health", timeout=1).close()
            break
        except OSError:
            time.sleep(0.25)
    yield address, process
    if process.poll() is None:
        os.killpg(process.pid, 9)
    process.wait()
