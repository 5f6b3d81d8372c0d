"""A training in several processes: who starts them, passes signals on to them, and says how they ended. Nothing heavy is imported here.

Without torchrun we start them ourselves: torchrun costs two seconds, ends with 1 whatever went wrong, prints a page of its own below our
message, and kills after 30 s a process that is still saving. With torchrun, on one host or several, they are there already. Both leave
the same words in the environment (RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE), and from there on there is no difference.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from rnnlab.config import ConfigError, Failed
from rnnlab.settings import TrainerSettings, TrainSettings
from rnnlab.training.signals import CODES, at_end, patiently

PROGRAMME = ["-m", "rnnlab", "train"]
RENDEZVOUS, FAILURES = "RNNLAB_RENDEZVOUS", "RNNLAB_FAILURES"
"""Where processes that we started find each other, and leave what a user is to be told."""
GRACE_S = {"leader": 60.0, "other": 5.0}
"""How long a process may go on once another has failed: the leader has a run to close."""
POLL_S = 0.05
_kept_stderr = 2


def rank() -> int:
    """Return the number of this process, from 0."""
    return int(os.environ["RANK"]) if is_worker() else 0


def local_rank() -> int:
    """Return the number of this process on its host, from 0."""
    return int(os.environ["LOCAL_RANK"]) if is_worker() else 0


def num_processes() -> int:
    """Return how many processes train together."""
    return int(os.environ["WORLD_SIZE"]) if is_worker() else 1


def num_local_processes() -> int:
    """Return how many of them are on this host."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", num_processes())) if is_worker() else 1


def is_worker() -> bool:
    """Say whether somebody started this process as one of several."""
    return {"RANK", "LOCAL_RANK", "WORLD_SIZE"} <= os.environ.keys()


def is_leader() -> bool:
    """Say whether this is the one process that keeps the run, writes and prints."""
    return rank() == 0


def launched(settings: TrainSettings, words: Sequence[str]) -> bool:
    """Train in several processes, each started with these words, if that is asked for and nobody has started them; say whether it was so.

    Raises:
        ValueError: what the processes would have told the user, were they one.
        SystemExit: with their exit code, where they told it themselves (in a study only where they were interrupted).
    """
    wanted = _num_wanted(settings.trainer)
    if is_worker() or wanted < 2:
        return False
    if settings.is_baseline:
        print(f"model=baseline is fitted once, in this one process: trainer.devices={wanted} means nothing to it", file=sys.stderr)
        return False
    if not settings.is_trained:
        print(f"epochs=0 trains nothing, in this one process: trainer.devices={wanted} means nothing to it", file=sys.stderr)
        return False
    with tempfile.TemporaryDirectory(prefix="rnnlab-") as name:
        folder = Path(name)
        code = _run([word for word in words if not word.lstrip("+~").startswith("hydra")], wanted, folder)
        if code in CODES.values():
            raise SystemExit(code)
        if code:
            _raise_what_they_left(folder)
            if settings.study.job.parent:  # the sweep goes on, and lists what failed
                raise Failed(f"a process of this training ended with exit code {code}: see what it said above")
            raise SystemExit(code)
    return True


def refuse_sweep() -> None:
    """Raise ConfigError: each of torchrun's processes would make a sweep of its own."""
    if is_worker():
        raise ConfigError("torchrun cannot sweep: leave it away, each job of a sweep with trainer=ddp starts its own processes")


def begin_worker() -> None:
    """Let the leader alone write to the terminal, and end where whoever started us is gone."""
    global _kept_stderr
    if not is_leader():
        _kept_stderr = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    if RENDEZVOUS in os.environ:
        threading.Thread(target=_end_with_parent, daemon=True).start()


def tell(text: str) -> None:
    """Write to the terminal even where this process is not the leader."""
    os.write(_kept_stderr, f"process {rank()}: {text}\n".encode())


def leave_failure(error: ValueError, is_secondary: bool) -> bool:
    """Leave a message to whoever started us, and say whether it will be read; `is_secondary` if it only follows from another's failure."""
    if FAILURES not in os.environ:
        return False
    content = {"message": str(error), "is_begun": isinstance(error, Failed), "is_secondary": is_secondary}
    (Path(os.environ[FAILURES]) / f"failure-{rank():04d}.json").write_text(json.dumps(content), encoding="utf-8")
    return True


def _num_wanted(trainer: TrainerSettings) -> int:
    return trainer.devices if trainer.strategy == "ddp" and isinstance(trainer.devices, int) else 1


def _run(words: list[str], num: int, folder: Path) -> int:
    """Start the processes, wait for them and return an exit code: the leader's, or that of who failed."""
    shared = {"WORLD_SIZE": str(num), "LOCAL_WORLD_SIZE": str(num), RENDEZVOUS: f"file://{folder}/meeting", FAILURES: str(folder)}
    # A study's file may ask for a sweep: this is one job of it.
    command = [sys.executable, *PROGRAMME, *words, "hydra.mode=RUN"]
    workers: list[subprocess.Popen[bytes]] = []
    with _passing_signals_on(workers), at_end(lambda name: None), patiently(is_silent=True):
        for number in range(num):
            environment = os.environ | shared | {"RANK": str(number), "LOCAL_RANK": str(number)}
            # In a group of their own: Ctrl+C reaches them through us, once. What they read ends when we do.
            workers.append(subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, process_group=0))
        codes = _wait(workers)
    return next((code for code in codes if code), 0)


def _wait(workers: "list[subprocess.Popen[bytes]]") -> list[int]:
    """Return exit codes; where one failed, the others soon end, too (who was killed for it counts as ended well)."""
    failed_at, killed = 0.0, set()
    while None in (codes := [worker.poll() for worker in workers]):
        time.sleep(POLL_S)
        if any(codes) and not failed_at:
            failed_at = time.monotonic()
            _stop_others(workers)
        for number, worker in enumerate(workers):
            grace_s = GRACE_S["other" if number else "leader"]
            if worker.returncode is None and failed_at and time.monotonic() - failed_at > grace_s:
                worker.kill()
                killed.add(number)
    for worker in workers:
        if worker.stdin is not None:
            worker.stdin.close()
    return [0 if number in killed else _exit_code(worker) for number, worker in enumerate(workers)]


def _exit_code(worker: "subprocess.Popen[bytes]") -> int:
    """Return the exit code of a process that ended, as a shell says it."""
    return int(worker.returncode) if worker.returncode >= 0 else 128 - int(worker.returncode)


def _stop_others(workers: "list[subprocess.Popen[bytes]]") -> None:
    """Where one process alone was stopped by a signal, ask the others to stop, too."""
    ends = {_exit_code(worker) for worker in workers if worker.returncode is not None}
    for number in (number for number, code in CODES.items() if code in ends):
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(number)


@contextlib.contextmanager
def _passing_signals_on(workers: "list[subprocess.Popen[bytes]]") -> Iterator[None]:
    def pass_on(number: int, frame: FrameType | None) -> None:
        for worker in workers:
            worker.send_signal(number)

    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, pass_on) for number in CODES if is_main}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise_what_they_left(folder: Path) -> None:
    """Raise the error of whoever failed first: the leader, unless it only lost another."""
    left = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("failure-*.json"))]
    for failure in sorted(left, key=lambda failure: bool(failure["is_secondary"])):
        raise (Failed if failure["is_begun"] else ConfigError)(failure["message"])


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
