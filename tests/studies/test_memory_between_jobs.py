"""What a job leaves in memory is freed before the next one."""

import gc
import weakref

import pytest

from rnnlab.cli import free_memory


class Ring:
    """An object that points at itself, as a trainer does by its model."""

    def __init__(self) -> None:
        self.own = self


def left_by_a_job() -> "weakref.ref[Ring]":
    return weakref.ref(Ring())


def test_what_is_left_is_freed_also_once_what_was_imported_is_left_alone() -> None:
    gc.disable()
    try:
        first = left_by_a_job()
        with pytest.raises(ValueError, match="failed"):
            try:
                raise ValueError("failed")
            finally:
                free_memory()
        assert first() is None and gc.get_freeze_count() == 0
        free_memory()
        second, frozen = left_by_a_job(), gc.get_freeze_count()
        free_memory()
        assert frozen > 10_000 and second() is None and gc.get_freeze_count() == frozen
    finally:
        gc.unfreeze()
        gc.enable()
