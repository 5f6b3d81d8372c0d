"""Hand over what tracking did not take of a run (`src/sync.py`)."""

from dataclasses import dataclass

from rnnlab.config import ConfigError, Failed
from rnnlab.settings import Paths, Store
from rnnlab.tracking.address import public
from rnnlab.tracking.entries import kept
from rnnlab.tracking.processes import is_alive, process_of
from rnnlab.tracking.recorded import FILE, load_config
from rnnlab.tracking.store import connect, get_run
from rnnlab.tracking.tracker import Tracker


@dataclass(frozen=True)
class SyncSettings:
    """What `sync.py` is asked; conf/sync.yaml says what each key means."""

    paths: Paths
    run: str | None
    tracking: Store


def sync(settings: SyncSettings) -> None:
    """Send all that a run's folder keeps for tracking, the run's final status last.

    Raises:
        ConfigError: where no run is named, it has no folder here, or a process still works at it.
        TrackingError: where tracking does not answer, or does not know the run.
        Failed: where tracking does not take it now, either.
    """
    if not settings.run:
        raise ConfigError("give the run: run=RUN_ID (its folder in outputs/ has that name)")
    folder = settings.paths.outputs / settings.run
    if not folder.is_dir():
        raise ConfigError(f"run={settings.run}: there is no folder {folder}")
    uri = settings.tracking.uri
    if uri is None and (folder / FILE).is_file():
        uri = load_config(folder / FILE, settings.run).values.get("tracking", {}).get("uri")
    entries = kept(folder)
    if not entries:
        print(f"run {settings.run}: nothing is left to hand over")
        return
    client = connect(uri, settings.paths.root)
    run = get_run(client, settings.run)
    if is_alive(run):
        raise ConfigError(f"run={settings.run}: {process_of(run)} is working at it, and sends what is left itself")
    tracker = Tracker(client, settings.run, str(run.info.run_name), folder)
    if not tracker.hand_over(entries):
        raise Failed(tracker.unsent)
    status = get_run(client, settings.run).info.status
    print(f"run {settings.run}: handed over to {public(client.tracking_uri)}; it is {status}")
