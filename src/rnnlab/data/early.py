"""A user's own files, read before anything heavy is imported: what is wrong with them is said in a second, and not after torch has loaded.

A data module `X.py` that reads such files has a module `X_source.py` beside it, which imports nothing heavy: `NAMED`, its named sources;
`find`, which returns the path that `data.source` means; and `read`, which reads it by the keys of the section `data`. What was read is kept
for the data module, which asks for the same (`read_once`): nothing is read twice.
"""

import importlib
import importlib.util
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from rnnlab.config import TARGET, Node

Given = TypeVarTuple("Given")
Table = TypeVar("Table")
_kept: list[tuple[object, object]] = []  # what was asked for and what came of it: one at most


def read_early(data: Node) -> None:
    """Read what the section `data` names, where it is the user's own; of named sources, the sample and generated data nothing.

    Raises:
        ValueError: says what is wrong, and where.
    """
    source, target = data.values.get("source"), str(data.values.get(TARGET))
    name = f"{target.rpartition('.')[0]}_source"
    if not isinstance(source, str) or source == "sample" or not name.startswith("rnnlab.data.") or importlib.util.find_spec(name) is None:
        return
    module = importlib.import_module(name)
    if source not in module.NAMED:
        module.read(source, module.find(source), data.values)


def keep_read(read: Callable[[*Given], Table], *given: *Given) -> None:
    """Read, and keep what was read for the first who asks for the same."""
    _kept[:] = [((read, given), read(*given))]


def read_once(read: Callable[[*Given], Table], *given: *Given) -> Table:
    """Return what was kept if it is what is asked for, else read it now; either way nothing is kept any longer."""
    kept, _kept[:] = [*_kept], []
    if kept and kept[0][0] == (read, given):
        found: Table = kept[0][1]  # type: ignore[assignment]  # of the same reader
        return found
    return read(*given)
