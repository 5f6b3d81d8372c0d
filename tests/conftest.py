"""What tests share: a place of their own for everything that is written, and the words of a user's command."""

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
from pathlib import Path
from typing import Any

import pytest

from rnnlab.paths import HOME
from rnnlab.settings import Composed, TrainSettings


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory, worker_id: str = "") -> Path:
    """Where this test session keeps data, runs and the tracking database."""
    return tmp_path_factory.mktemp("root")


@pytest.fixture
def compose(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Compose the settings of a command from a user's words, writing below the session's root, on the bundled sample."""
    from rnnlab import cli

    monkeypatch.setenv("RNNLAB_ROOT", str(root))

    def composed(*words: str, config_name: str = "config") -> Any:
        return settings_of(config_name, cli.compose_config(config_name, list(words)))

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
    from rnnlab.commands import compare, predict, score

    found = {"predict": predict.PredictSettings, "score": score.ScoreSettings, "compare": compare.CompareSettings}
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
