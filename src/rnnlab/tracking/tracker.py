"""One run, written to tracking.

Metrics are batched (one call is 6 ms). A tracking server that cannot be reached is refused before training; one that goes away while
training costs nothing: what it did not take is kept in the run's folder, sent again, and at the end for a while. What is left then,
`python src/sync.py run=RUN_ID` hands over later.
"""

import base64
import hashlib
import json
import math
import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from rnnlab.paths import as_here
from rnnlab.settings import Paths
from rnnlab.tracking import views
from rnnlab.tracking.address import public
from rnnlab.tracking.entries import Entry, is_refusal, keep, kept, parts_of, send
from rnnlab.tracking.processes import now, process_tags, whereabouts
from rnnlab.tracking.sharing import unshare
from rnnlab.tracking.store import TrackingError, experiment_id, first_line, folder_of, get_run, metric_history, offer_views, ui_address

FLUSH_EVERY_S = 5.0
FLUSH_EVERY_METRICS = 500
LONGEST_PARAMETER = 500
"""Characters of a parameter's value that every tracking store takes."""
HEARTBEAT_EVERY_S = 30.0
AWAY_S = 20.0
"""How long tracking that did not answer is left alone."""
PATIENCE_S = 40.0
"""How long the end of a run waits for tracking to answer again."""
RESERVE, RESERVED_BYTES = ".reserve", 1 << 18
"""A file that keeps room on the disk for a run's last words; the end of the run removes it."""
TAGS = "tags.json"
"""A copy of a run's tags in its folder, for work without tracking."""
NAME_PATTERN = re.compile(r"[a-z0-9_-]+")
"""Of studies, which have folders and locks of their name."""
RUN_NAME = re.compile(r"[\w-]+")
"""Of runs, which may be named after files of any language."""


def shortened_value(text: str) -> str:
    """Return what a tracking store is given for a parameter's value: the whole, or its beginning, its length and a hash of all of it."""
    if len(text) <= LONGEST_PARAMETER:
        return text
    end = f"... ({len(text):,} characters, {hashlib.sha256(text.encode()).hexdigest()[:12]})"
    return text[: LONGEST_PARAMETER - len(end)] + end


class Tracker:
    """Write one run."""

    def __init__(self, client: MlflowClient, run_id: str, name: str, folder: Path) -> None:
        self.client = client
        self.run_id = run_id
        self.name = name
        self.folder = folder
        self.experiment_id = ""
        self.tags = read_tags(folder)
        self._metrics: list[list[str | float]] = []  # name, value, time in ms, step
        self._steps: dict[str, int] = {}  # of each curve, the last step that is logged
        self._once: dict[str, float] = {}  # of each number that a run has once, the value that is logged
        self._pending: list[Entry] = []  # what tracking has not taken, in order
        self._flushed_at = time.monotonic()
        self._away_until = 0.0
        self._is_warned = self._is_ended = False
        self._end = threading.Event()

    @classmethod
    def start(cls, client: MlflowClient, experiment: str, name: str, paths: Paths, tags: Mapping[str, str]) -> "Tracker":
        """Create a run that has these tags from its first moment, and the folder for what it writes.

        Raises:
            TrackingError: where the name is not allowed, or tracking does not take a run.
        """
        if not RUN_NAME.fullmatch(name):
            raise TrackingError(f"name={name!r}: a run's name holds letters, digits, - and _ only")
        try:
            run = client.create_run(experiment_id(client, experiment, paths.root), run_name=name, tags={**tags, **process_tags()})
        except (MlflowException, OSError) as error:
            raise TrackingError(f"tracking at {public(client.tracking_uri)} does not take a new run: {first_line(error)}") from None
        tracker = cls(client, run.info.run_id, name, paths.outputs / run.info.run_id)
        tracker._settle(paths, run)
        return tracker

    @classmethod
    def resume(cls, client: MlflowClient, run_id: str, paths: Paths) -> "Tracker":
        """Continue a run that was interrupted, perhaps before it had a folder; what tracking did not take of it is sent first."""
        run = get_run(client, run_id)
        tracker = cls(client, run_id, str(run.info.run_name), folder_of(run, paths))
        unshare(tracker.folder)  # it may write what it has logged already
        tracker._steps = {metric.key: metric.step for metric in run.data._metric_objs}
        tracker._once = {metric.key: metric.value for metric in run.data._metric_objs if metric.step == 0}
        tracker.take_up()
        tracker.set_tags(process_tags())  # who sees it running from here on finds this process
        client.update_run(run_id, status="RUNNING")
        if "failure" in run.data.tags:
            client.delete_tag(run_id, "failure")
        tracker._settle(paths, run)
        return tracker

    def take_up(self) -> None:
        """Take up what an earlier process kept, but for the end of the run that it meant."""
        entries = [entry for entry in kept(self.folder) if entry["kind"] != "end" and list(entry.get("values", ())) != ["failure"]]
        for name, value, _, step in (point for entry in entries if entry["kind"] == "metrics" for point in entry["values"]):
            self._steps[name] = max(step, self._steps.get(name, 0))
            if step == 0:
                self._once[name] = value
        self._pending += entries

    def _settle(self, paths: Paths, run: Run) -> None:
        """Make the run's folder, say where it runs, and give signs of life."""
        self.experiment_id = str(run.info.experiment_id)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "run_id").write_text(self.run_id + "\n", encoding="utf-8")
        self.tags |= run.data.tags
        self.set_tags({"outputs": below(self.folder, paths.root), **whereabouts(paths.home)})
        with suppress(OSError):
            (self.folder / RESERVE).write_bytes(bytes(RESERVED_BYTES))
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while not self._end.wait(HEARTBEAT_EVERY_S):
            with suppress(MlflowException, OSError):
                self.client.set_tag(self.run_id, "heartbeat", now())

    def log_params(self, parameters: Mapping[str, object]) -> None:
        """Log flat parameters; empty ones are left out, long ones cut so that two that differ still differ."""
        values = {name: shortened_value(str(value)) for name, value in parameters.items() if value is not None}
        self._hand({"kind": "params", "values": values})

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Keep metrics, and send them when enough have come together.

        Points of a curve that are logged already (of steps that a resumed training repeats) are left out. At step 0 are numbers that a run
        has once: one that is measured again is logged again only where it is another.
        """
        at = int(time.time() * 1000)
        for name, value in metrics.items():
            if step == 0 and not is_same(self._once.get(name), float(value)):
                self._once[name] = float(value)
                self._metrics.append([name, float(value), at, step])
            elif step > self._steps.get(name, 0):
                self._steps[name] = step
                self._metrics.append([name, float(value), at, step])
        is_due = time.monotonic() - self._flushed_at > FLUSH_EVERY_S
        if is_due or len(self._metrics) >= FLUSH_EVERY_METRICS:
            self.flush()

    def flush(self, is_asked: bool = False) -> bool:
        """Send what is left, in order, and say whether all was taken; tracking that is away is left alone, unless `is_asked`."""
        self._flushed_at = time.monotonic()
        while self._metrics:
            self._pending.append({"kind": "metrics", "values": self._metrics[:FLUSH_EVERY_METRICS]})
            del self._metrics[:FLUSH_EVERY_METRICS]
        had = bool(self._pending)
        while self._pending and (is_asked or time.monotonic() > self._away_until):
            if not self._send_first():
                break
        if had and (self.folder / "run_id").is_file():
            self._keep()
        return not self._pending

    def _send_first(self) -> bool:
        """Send the first entry that is left; one that is refused is taken apart, and what is refused alone is left out with a word."""
        entry = self._pending[0]
        try:
            send(self.client, self.run_id, self.folder, entry)
        except (MlflowException, OSError) as error:
            if not is_refusal(error):
                self._away_until = time.monotonic() + AWAY_S
                self._warn(f"tracking did not take something ({first_line(error)}); training goes on, it will be tried again")
                return False
            parts = parts_of(entry)
            if len(parts) > 1:
                self._pending[:1] = parts
                return True
            print(f"warning: tracking refuses {entry['kind']} ({first_line(error)}): they are left out")
        del self._pending[0]
        return True

    def _warn(self, words: str) -> None:
        if not self._is_warned:
            self._is_warned = True
            print(f"warning: {words}")

    def _keep(self) -> None:
        try:
            keep(self.folder, self._pending)
        except OSError as error:
            self._warn(f"{self.folder} cannot be written ({error.strerror or error})")

    def history(self, name: str) -> list[tuple[int, float]]:
        """Return (step, value) pairs of a metric, resumed parts joined; where tracking does not answer, what is still kept."""
        left = [*self._metrics, *(point for entry in self._pending if entry["kind"] == "metrics" for point in entry["values"])]
        points = {cast(int, step): cast(float, value) for key, value, _, step in left if key == name}
        with suppress(MlflowException, OSError):
            points |= dict(metric_history(self.client, self.run_id, name))
        return sorted(points.items())

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags (the UI's columns); empty ones are left out."""
        values = {name: str(value) for name, value in tags.items() if str(value)}
        self.tags |= values
        with suppress(OSError):
            if (self.folder / "run_id").is_file():
                (self.folder / TAGS).write_text(json.dumps(self.tags, indent=1), encoding="utf-8")
        self._hand({"kind": "tags", "values": values})

    def show(self, metric: str, direction: str) -> None:
        """Let the UI show the run's experiment by what matters, this metric among it; where that fails, it is shown as before."""
        with suppress(MlflowException, OSError):
            offer_views(self.client, self.experiment_id, metric, direction)

    @property
    def link(self) -> str:
        """Where the UI shows the run's experiment."""
        return views.link(ui_address(self.client), self.experiment_id)

    def log_dataset(self, name: str, digest: str, source: str) -> None:
        """Say which data a run saw (the UI's column and filter)."""
        self._hand({"kind": "dataset", "name": name, "digest": digest[:8], "source": source})

    def log_files(self, folder: Path, under: str | None = None) -> None:
        """Put what is in a folder, or one file, into the run's artifacts; a large file is shared with them where that is possible.

        A file that was logged is not written in place any more: who writes it anew replaces it.
        """
        self._hand({"kind": "files", "path": below(folder, self.folder), "under": under})

    def log_model(self, code: Path, package: Path, bundle: Path, requirements: list[str], column: str, example: str | bytes) -> None:
        """Log the model in MLflow's own format: code that reads the bundle, nothing pickled; `column` holds inputs such as the example."""
        own = {"code": str(code), "package": str(package), "bundle": below(bundle, self.folder)}
        kind, text = ("binary", base64.b64encode(example).decode()) if isinstance(example, bytes) else ("string", example)
        self._hand({"kind": "model", **own, "requirements": requirements, "columns": {column: kind}, "example": text})

    def finish(self, status: str, reason: str = "") -> bool:
        """End the run: FINISHED, FAILED with the reason, or KILLED; say whether tracking took all of it (see `unsent`).

        Where tracking does not answer, a run that finished waits for it a while.
        """
        if self._is_ended:
            return not self._pending
        self._is_ended = True
        self._end.set()
        with suppress(OSError):
            (self.folder / RESERVE).unlink(missing_ok=True)
        self._pending += [{"kind": "tags", "values": {"failure": reason[:4000]}}] if reason else []
        self._pending.append({"kind": "end", "status": status})
        last, pause = time.monotonic() + (PATIENCE_S if status == "FINISHED" else 0), 1.0
        while not self.flush(is_asked=True) and time.monotonic() + pause < last:
            time.sleep(pause)
            pause *= 2
        if self._pending and status != "FINISHED":
            print(self.unsent)
        return not self._pending

    @property
    def unsent(self) -> str:
        """Say that tracking lacks something, and what to do."""
        return (
            f"tracking at {public(self.client.tracking_uri)} did not take all of run {self.run_id}; nothing is lost, it lies in "
            f"{self.folder}. Once tracking answers:  " + as_here(f"python src/sync.py run={self.run_id}")
        )

    def hand_over(self, entries: list[Entry]) -> bool:
        """Send what an earlier process kept, and say whether tracking took all of it."""
        self._pending += entries
        return self.flush(is_asked=True)

    def _hand(self, entry: Entry) -> None:
        self._pending.append(entry)
        self.flush()


class SilentTracker(Tracker):
    """Stand for a run that another process writes: nothing is sent."""

    def __init__(self, run_id: str, name: str, folder: Path) -> None:
        super().__init__(cast(MlflowClient, None), run_id, name, folder)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        pass

    def set_tags(self, tags: Mapping[str, str]) -> None:
        pass

    def flush(self, is_asked: bool = False) -> bool:
        return True

    def finish(self, status: str, reason: str = "") -> bool:
        return True

    def _hand(self, entry: Entry) -> None:
        pass


def is_same(before: float | None, now: float) -> bool:
    """Say whether two numbers are the same; what is no number is the same as what was none."""
    return before == now or (before is not None and math.isnan(before) and math.isnan(now))


def read_tags(folder: Path) -> dict[str, str]:
    """Return the copy of a run's tags in its folder; none where there is none."""
    try:
        found: dict[str, str] = json.loads((folder / TAGS).read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError):
        return {}


def below(path: Path, folder: Path) -> str:
    """Return a path relative to a folder where it lies inside, else absolute: so folders may be moved."""
    path = path.absolute()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
