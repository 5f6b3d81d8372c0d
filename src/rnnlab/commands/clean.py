"""List what deleted and killed runs left on the disk, and free it when asked (`src/clean.py`)."""

from dataclasses import dataclass

from rnnlab.config import Failed
from rnnlab.paths import printable
from rnnlab.settings import Paths, Store
from rnnlab.tracking.leftovers import KINDS, MEANING, Kind, Leftover, Leftovers, find_leftovers, forget, in_words, remove, size_of
from rnnlab.tracking.store import connect

NUM_SHOWN = 5


@dataclass(frozen=True)
class CleanSettings:
    """What `clean.py` is asked; conf/clean.yaml says what each key means."""

    paths: Paths
    remove: bool
    only: Kind | None
    tracking: Store


def clean(settings: CleanSettings) -> None:
    """List what can be freed; free it if `remove` is true.

    Raises:
        TrackingError: where tracking does not answer.
        Failed: where something cannot be removed.
    """
    client = connect(settings.tracking.uri, settings.paths.root)
    found = find_leftovers(client, settings.paths, settings.tracking.uri, settings.only)
    wanted = [each for each in found.leftovers if settings.only in (None, each.kind)]
    _tell(found, settings)
    size = in_words(size_of(wanted))
    if not wanted:
        print("\nnothing is to be freed")
        return
    if not settings.remove:
        print(f"\nnothing was removed; remove=true removes these {len(wanted):,} ({size})")
        return
    removed, failures = list[Leftover](), list[str]()
    for each in wanted:
        try:
            remove(each)
            removed.append(each)
        except OSError as error:
            failures.append(f"{error.filename or each.name}: {error.strerror or error}")
    forget(client, removed)
    print(f"\nremoved: {len(removed):,} of {len(wanted):,} ({size} in all)")
    if failures:
        raise Failed(f"{len(failures):,} cannot be removed; the first: {failures[0]}. Change its permissions, and clean again")


def _tell(found: Leftovers, settings: CleanSettings) -> None:
    """Print what can be freed by kind, and what was found but is kept."""
    for kind in KINDS:
        leftovers = found.of(kind)
        is_wanted = settings.only in (None, kind)
        if leftovers and is_wanted:
            print(f"{kind}: {len(leftovers):,}, {in_words(size_of(leftovers))}: {MEANING[kind]}")
            for each in sorted(leftovers, key=lambda each: -size_of([each]))[:NUM_SHOWN]:
                print(f"  {printable(each.name)}: {in_words(size_of([each]))}")
            if len(leftovers) > NUM_SHOWN:
                print(f"  ... {len(leftovers) - NUM_SHOWN:,} more")
    for reason, names in found.kept.items():
        print(f"kept: {len(names):,} {reason} (first {printable(names[0])})")
