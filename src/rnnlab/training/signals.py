"""Requests to stop (SIGINT, SIGTERM, SIGHUP): a flag that work looks at, and an end for work that does not look. Nothing heavy is imported.

A handler that raises may raise anywhere, in other people's callbacks, too, where it is swallowed or breaks something. So ours only note
the request, and loops `check()` between two steps. Behind them stands a thread: what does not look within a few seconds (an import, a
baseline's fit, a library's loop) is ended by it, after what was registered `at_end`: the run's final status.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
GRACE_S = 3.0
"""How long work that has something to close may take until it looks."""
CLOSING_S = 60.0
"""How long it may take to close, once it has looked."""
LEAVING_S = 10.0
"""How long closing may take where it did not."""
POLL_S = 0.1


class Interrupted(Exception):
    """The user or the system asked to stop; `code` is what the process exits with."""

    def __init__(self, message: str, code: int = 130) -> None:
        super().__init__(message)
        self.code = code


class _State:
    """What was asked while something listens, and who looks."""

    def __init__(self, is_own_process: bool = False) -> None:
        self.is_own_process = is_own_process
        self.asked: int | None = None
        self.has_looked = self.is_patient = self.is_told = False
        self.ends: list[Callable[[str], None]] = []
        self.previous: dict[int, Any] = {}
        self.done = threading.Event()


_state = _State()


def asked() -> str | None:
    """Return the name of the signal that asked to stop; None if none did."""
    return None if _state.asked is None else signal.Signals(_state.asked).name


def exit_code(name: str | None = None) -> int:
    """Return what a process that was stopped exits with."""
    number = signal.Signals[name] if name else _state.asked
    return CODES.get(signal.Signals(number), 130) if number else 130


def check() -> None:
    """Look whether to stop.

    Raises:
        Interrupted: to stop.
    """
    if _state.asked is not None:
        _state.has_looked = True
        raise Interrupted(str(asked()), exit_code())


@contextlib.contextmanager
def listening(is_own_process: bool = False) -> Iterator[None]:
    """Listen while something runs (only the main thread may); within another `listening`, nothing changes.

    Args:
        is_own_process: whether what does not look is ended with the whole process; else a second request raises KeyboardInterrupt.
    """
    global _state
    if _state.previous or threading.current_thread() is not threading.main_thread():
        yield
        return
    _state = state = _State(is_own_process)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    _install()
    threading.Thread(target=_watch, args=(reader, state), daemon=True).start()
    try:
        yield
    finally:
        for number, handler in state.previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        _state = _State()
        state.done.set()
        os.close(writer)


@contextlib.contextmanager
def stopping_at_once() -> Iterator[None]:
    """End the process in a line where something is asked before anything was begun: while modules are imported."""

    def leave(number: int, frame: FrameType | None) -> None:
        _say(f"\nstopped by {signal.Signals(number).name}: nothing was begun that has to be closed\n")
        os._exit(CODES[signal.Signals(number)])

    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, leave) for number in CODES if is_main and signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def install_again() -> None:
    """Put our handlers in place again, where a library has put its own there."""
    if _state.previous and threading.current_thread() is threading.main_thread():
        _install()


def _install() -> None:
    for number in CODES:
        found = signal.getsignal(number)
        if found is not _note and not (number == signal.SIGHUP and found == signal.SIG_IGN):  # nohup
            _state.previous.setdefault(number, found)
            signal.signal(number, _note)


@contextlib.contextmanager
def at_end(end: Callable[[str], None]) -> Iterator[None]:
    """Have something done, with the signal's name, where work that does not look is ended."""
    _state.ends.append(end)
    try:
        yield
    finally:
        _state.ends.remove(end)


@contextlib.contextmanager
def patiently(is_silent: bool = False) -> Iterator[None]:
    """Leave the work in here all the time it needs until it looks: a training ends its step, and saves.

    Args:
        is_silent: whether other processes, to which the signal is passed on, tell what happens.
    """
    before = (_state.is_patient, _state.is_told)
    _state.is_patient, _state.is_told = True, _state.is_told or is_silent
    try:
        yield
    finally:
        _state.is_patient, _state.is_told = before[0], before[1] if is_silent else _state.is_told


def _note(number: int, frame: FrameType | None) -> None:
    is_first = _state.asked is None
    _state.asked = _state.asked or number
    _tell(_state, number)
    if not is_first and not _state.is_own_process:
        raise KeyboardInterrupt


def _tell(state: _State, number: int) -> None:
    """Say once that the process is stopping: the handler does, or the thread where the handler waits for a long call to end."""
    if state.is_told or (state.is_own_process and not state.ends):
        return
    state.is_told = True
    how = "after this step and saving; once more to stop at once" if state.is_patient else "as soon as possible"
    _say(f"\n{signal.Signals(number).name}: stopping {how}\n")


def _watch(reader: int, state: _State) -> None:
    """End the process where it does not end by itself; runs in a thread of its own, so that no library's loop holds it up."""
    num_asked = 0
    while byte := os.read(reader, 1):
        if byte[0] in CODES and state.is_own_process:
            num_asked += 1
            state.asked = state.asked or byte[0]
            _tell(state, byte[0])
            if num_asked > 1 or not state.ends:
                _leave(state)
            threading.Thread(target=_wait_and_leave, args=(state,), daemon=True).start()
    os.close(reader)


def _wait_and_leave(state: _State) -> None:
    waited_s = 0.0
    while not state.done.wait(POLL_S):
        waited_s += POLL_S if state.has_looked or not state.is_patient else 0
        if waited_s > (CLOSING_S if state.has_looked else GRACE_S):
            _leave(state)


def _leave(state: _State) -> None:
    """End this process now, after what is registered; that, too, must end."""
    name, code = str(asked()), exit_code()
    latest = threading.Timer(LEAVING_S, os._exit, [code])
    latest.daemon = True
    latest.start()
    has_ends = bool(state.ends)
    for end in reversed(state.ends):
        try:
            end(name)
        except Exception as error:
            _say(f"{type(error).__name__}: {error}\n")
    _say(f"\nstopped by {name}{'' if has_ends else ': nothing was begun that has to be closed'}\n")
    os._exit(code)


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        os.write(2, text.encode())
