"""Export a run's network to files that run without rnnlab (`src/export.py`)."""

import sys
from dataclasses import dataclass
from pathlib import Path

from rnnlab.commands.finished import FINISHED, NO_RUN, FinishedRun, open_run, output_folder, unfinished
from rnnlab.config import ConfigError
from rnnlab.evaluation.export import Format, Written, export_parts, refuse_without_onnx
from rnnlab.evaluation.programs import PartName, Port, names_of, why_not
from rnnlab.models.base import FittedOnce, Network
from rnnlab.settings import Paths, Store
from rnnlab.tracking.entries import kept
from rnnlab.tracking.store import folder_of, get_run
from rnnlab.tracking.tracker import Tracker, below

FOLDER = "export"
"""In the run's folder and among its artifacts."""
PAGE = "docs/how-to/export.md"


@dataclass(frozen=True)
class ExportSettings:
    """What `export.py` is asked; conf/export.yaml says what each key means."""

    paths: Paths
    run: str | None
    format: Format
    part: PartName | None
    to: str | None
    tracking: Store


def export(settings: ExportSettings) -> None:
    """Write the parts of a run's network, and say how to use them.

    Raises:
        ValueError: the user's to mend.
    """
    if not settings.run:
        raise ConfigError(NO_RUN)
    refuse_without_onnx(settings.format)
    folder = output_folder(settings.to, "to")
    run = open_run(settings.run, settings.tracking, settings.paths)
    if run.status != FINISHED:
        raise ConfigError(unfinished(run.run_id, run.status))
    network = run.bundle.model
    if isinstance(network, FittedOnce):
        raise ConfigError(
            f"run={settings.run} is of a baseline ({network.kind}), which is no network and has nothing to export: choose a network's run, "
            "or serve this one (mlflow models serve)"
        )
    assert isinstance(network, Network)
    if settings.part and (reason := why_not(network, settings.part)):
        raise ConfigError(f"part={settings.part}: {reason}")
    names = [settings.part] if settings.part else names_of(network)
    own = settings.paths.outputs / run.run_id if run.client is None else folder_of(get_run(run.client, run.run_id), settings.paths)
    place = folder or own / "artifacts" / FOLDER
    written = export_parts(network, run.bundle.reader, run.run_id, names, settings.format, place)
    for each in written:
        print(shown(each))
    print(f"run  {run.run_id}: how to use these files stands in {PAGE}, and what they need of the run in the files themselves")
    if folder is None:
        track(run, own, place)


def shown(written: Written) -> str:
    """Describe a file: where it lies, how exact it is, what goes in and what comes out."""
    agreement = written.agreement
    own = f" (the network's own rounding errors: {agreement.rounding:.1e})" if agreement.rounding else ""
    ports = {"in": written.part.inputs, "out": written.part.outputs}
    lines = [f"  {name:<4} {', '.join(map(_port, found))}" for name, found in ports.items()]
    size = written.file.stat().st_size / 1e6
    first = f"written: {written.file} ({size:,.2f} MB), largest difference from PyTorch {agreement.difference:.1e}{own}"
    return "\n".join([first, *lines, f"  read {written.meaning}"])


def _port(port: Port) -> str:
    return f"{port.name} {port.type} ({', '.join(map(str, port.axes))})"


def track(run: FinishedRun, own: Path, folder: Path) -> None:
    """Put the files among the run's artifacts; say so where tracking does not take them."""
    if run.client is None:
        print(f"tracking does not answer, so the files are no artifacts of the run: they lie in {folder} alone", file=sys.stderr)
        return
    tracker = Tracker(run.client, run.run_id, "", own)
    if not tracker.hand_over([*kept(own), {"kind": "files", "path": below(folder, own), "under": FOLDER}]):
        print(tracker.unsent, file=sys.stderr)
