"""The process that works at a run: what the run says of it, and whether it still lives."""

import calendar
import getpass
import os
import platform
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from rnnlab.tracking.store import Run

ALIVE_S = 180.0
"""A run on another machine that has given a sign of life within so many seconds is running."""
GONE_S = 3600.0
"""One that has given none for so long is marked."""


def process_name(pid: int) -> str:
    """Name a process so that a later one with the same number has another name; empty where there is none."""
    try:
        return f"{pid}@{psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return ""


def process_tags() -> dict[str, str]:
    """Return the tags that tell whether a run's process still lives."""
    return {"host": socket.gethostname(), "pid": str(os.getpid()), "process": process_name(os.getpid()), "heartbeat": now()}


def now() -> str:
    """Return the time of a heartbeat."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def whereabouts(home: Path) -> dict[str, str]:
    """Return the tags that say by whom, with which code and where a run is made."""
    commit, is_dirty = git_state(home)
    return {
        "git_commit": commit,
        "git_dirty": str(is_dirty).lower(),
        "mlflow.user": _user(),
        "mlflow.source.name": "src/train.py",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": commit,
        "platform": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }


def _user() -> str:
    """Return the user's name, or the number of one without a name (in a container)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def git_state(home: Path) -> tuple[str, bool]:
    """Return the commit that is checked out and whether files differ from it; ("", False) outside a repository."""
    try:
        command = ["git", "-C", str(home)]
        commit = subprocess.run([*command, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        status = subprocess.run([*command, "status", "--porcelain"], capture_output=True, text=True, timeout=10, check=True)
        return commit.stdout.strip(), bool(status.stdout.strip())
    except (OSError, subprocess.SubprocessError):
        return "", False


def is_alive(run: "Run", within_s: float = ALIVE_S) -> bool:
    """Say whether a process is working at a run: by its process where it runs here, else by its last sign of life."""
    return run.info.status == "RUNNING" and lives(run.data.tags, within_s)


def lives(tags: Mapping[str, str], within_s: float = ALIVE_S) -> bool:
    """Say likewise whether the process that a run's tags name lives."""
    if tags.get("host") == socket.gethostname():
        return tags.get("process") == process_name(int(tags.get("pid", 0) or 0))
    try:
        beaten = calendar.timegm(time.strptime(tags.get("heartbeat", ""), "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return False
    return time.time() - beaten < within_s


def process_of(run: "Run") -> str:
    """Return which process works at a run, in words."""
    return f"process {run.data.tags.get('pid')} on {run.data.tags.get('host')}"
