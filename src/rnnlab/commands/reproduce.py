"""Make a run again from what it recorded, and judge whether it came out the same (`src/reproduce.py`).

the run -> its configuration -> code, data, packages, machine: the same? -> cost -> training -> its numbers and predictions beside the run's

Equal is meant to the bit: with the same code, packages, machine and number of threads nothing else is a success. Where one of them differs,
roundings do, and training spreads them: then all numbers within a tolerance are one, and what differs is said.
"""

import hashlib
import json
import math
import os
import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rnnlab.commands.train import train
from rnnlab.config import ConfigError, checked
from rnnlab.data.base import SequenceDataModule
from rnnlab.evaluation.artifacts import ENVIRONMENT, environment
from rnnlab.paths import HOME, root
from rnnlab.settings import Composed, Paths, Tracking, TrainSettings
from rnnlab.tasks.metrics import entry_of, is_result
from rnnlab.tracking.processes import git_state, process_name
from rnnlab.tracking.recorded import read_config
from rnnlab.tracking.results import read_predictions, refuse_changed_results
from rnnlab.tracking.store import Client, Run, TrackingError, connect, find_run, find_runs, folder_of, get_run, read_artifact
from rnnlab.tracking.tracker import Tracker
from rnnlab.training.checkpoints import BEST, LAST
from rnnlab.training.identity import package_hash
from rnnlab.training.process import tune_process
from rnnlab.training.recipes import check

OWN_WORDS = ("run=", "check=", "tolerance=", "tracking.uri=", "paths.")
MACHINE = ("platform", "libc", "cpu", "cpu_capability", "numpy_threads", "accelerator")
NUM_SHOWN = 20
console = Console(soft_wrap=True)


@dataclass(frozen=True)
class Change:
    """One number, or one table of predictions, that came out otherwise.

    Args:
        name: of the metric or file.
        before: as recorded, in words.
        now: likewise.
        deviation: how far apart they are (see `deviation_of`).
        words: what else is to be said.
    """

    name: str
    before: str
    now: str
    deviation: float
    words: str = ""


@dataclass(frozen=True)
class Reproduction:
    """The result of a reproduction: whether it counts as the same; `short` is for the run's tag."""

    is_reproduced: bool
    short: str
    text: str


@dataclass(frozen=True)
class ReproduceSettings:
    """What `reproduce.py` is asked; conf/reproduce.yaml says what each key means."""

    run: str
    is_check: bool
    tolerance: float
    tracking: Tracking
    composed: Composed

    @classmethod
    def of(cls, composed: Composed) -> "ReproduceSettings":
        """Turn composed values into settings.

        Raises:
            ConfigError: names the key, what was given, what is allowed.
        """
        values = composed.values
        if others := [word for word in composed.words if not word.startswith(OWN_WORDS)]:
            raise ConfigError(f"a run is reproduced with its recorded configuration: leave out {' '.join(others)}")
        if not values["run"]:
            raise ConfigError("give the run: run=RUN_ID (train.py prints it; `make ui` lists all)")
        tolerance = values["tolerance"]
        if not isinstance(tolerance, int | float) or not 0 <= tolerance < 1:
            raise ConfigError(f"tolerance={tolerance} is not allowed: a number from 0, below 1")
        return cls(str(values["run"]), bool(values["check"]), tolerance, checked(values["tracking"], Tracking, "tracking"), composed)


def reproduce(settings: ReproduceSettings) -> None:
    """Say what is the same as when a run was made and what it costs, make it again, and judge.

    Raises:
        ConfigError: where there is nothing to reproduce.
        ValueError: where the data are others, or the training fails.
        SystemExit: 1 where it was not reproduced.
    """
    client = connect(settings.tracking.uri, root())
    run = find_finished(client, settings.run)
    with tempfile.TemporaryDirectory() as scratch:
        refuse_changed_results(run)
        before = tables_of(client, run, Path(scratch) / "before")
        again = repetition(client, run, settings, Path(scratch))
        made = time.strftime("%Y-%m-%d", time.gmtime(run.info.start_time / 1000))
        console.print(f"[bold]run[/] {run.info.run_name} ({run.info.run_id}), made on {made}", highlight=False)
        reasons = compare_code(run) + compare_environment(client, run, Path(scratch)) + name_limits(run, again)
        try:
            check(again)
        except ConfigError as error:
            raise ConfigError(f"this code cannot run the recorded configuration ({error}): {_made_at(run)}") from None
        tune_process(again.trainer.num_threads)  # threads may change bits of what is prepared, too
        reasons += compare_data(run, again)
        begun_from(client, again)
        _print_cost(run, again)
        if settings.is_check:
            return
        train(again)
        mine = f"tags.reproduces = '{run.info.run_id}' and tags.process = '{process_name(os.getpid())}'"
        new = find_runs(client, mine)[0]
        changes = compare_numbers(run.data.metrics, new.data.metrics)
        changes += compare_tables(before, tables_of(client, new, Path(scratch) / "now"))
        num_numbers = sum(map(is_result, run.data.metrics))
    verdict = judge(changes, num_numbers, reasons, settings.tolerance)
    Tracker(client, new.info.run_id, str(new.info.run_name), folder_of(new, again.paths)).set_tags({"reproduced": verdict.short})
    print_verdict(verdict, changes, run, new)
    if not verdict.is_reproduced:
        raise SystemExit(1)


# -- what was recorded -------------------------------------------------------------------------------------------------


def find_finished(client: Client, run_id: str) -> Run:
    """Return a finished run of one training.

    Raises:
        ConfigError: where it is none.
    """
    try:
        run = find_run(client, run_id)
    except TrackingError as error:
        raise ConfigError(str(error)) from None
    if run.data.tags.get("kind") == "study":
        raise ConfigError(f"run={run_id} is the parent of study {run.info.run_name}: give one of its runs (`make ui` lists them)")
    if run.info.status != "FINISHED":
        raise ConfigError(f"run={run_id} ({run.info.run_name}) is not finished ({run.info.status}): it has no result to reproduce")
    return run


def repetition(client: Client, run: Run, asked: ReproduceSettings, scratch: Path) -> TrainSettings:
    """Return the settings that make a run again, under a name of its own, with as many threads.

    Raises:
        ConfigError: where none were recorded, they name foreign code, or this code cannot run them.
    """
    recorded = read_config(client, run.info.run_id, scratch, checked(asked.composed.values["paths"], Paths, "paths"))
    threads = run.data.tags.get("num_threads") or recorded.values["trainer"].get("num_threads")
    name = re.sub(r"[^a-z0-9_-]+", "-", str(run.info.run_name).lower())  # it may have been renamed in the UI
    experiment = client.get_experiment(run.info.experiment_id).name
    own = {
        "paths": asked.composed.values["paths"],
        "study": asked.composed.values["study"] | {"packed": recorded.values.get("study", {}).get("packed", False)},
        "tracking": {**asked.composed.values["tracking"], "experiment": experiment},
        "name": f"{name}-again",
        "resume": None,
        "budget": None,  # the recorded model has the size that meets it
        "trainer": {**recorded.values["trainer"], "num_threads": int(threads) if threads else None},
        "reproduces": run.info.run_id,
    }
    try:
        return TrainSettings.of(replace(recorded, values={"init_from": None, **recorded.values, **own}))
    except (ConfigError, KeyError) as error:
        raise ConfigError(f"this code cannot run the recorded configuration ({error}): {_made_at(run)}") from None


def _made_at(run: Run) -> str:
    return f"the run was made at commit {run.data.tags.get('git_commit') or 'unknown'}"


def tables_of(client: Client, run: Run, into: Path) -> dict[str, pd.DataFrame]:
    """Return a run's tables of predictions by split.

    Raises:
        TrackingError: where they are missing, or are not as the run wrote them.
    """
    return {split: read_predictions(client, run, split, into) for split in ("val", "test")}


# -- what is the same --------------------------------------------------------------------------------------------------


def compare_code(run: Run) -> list[str]:
    """Say whether the package is the run's; return what differs, in words for the verdict."""
    tags = run.data.tags
    commit, is_dirty = git_state(HOME)
    theirs = f"{tags.get('git_commit', '')[:10] or 'no commit'}{' with changes' if tags.get('git_dirty') == 'true' else ''}"
    ours = f"{commit[:10] or 'no commit'}{' with changes' if is_dirty else ''}"
    commits = f"commit {theirs}" if theirs == ours else f"commit {theirs}, now {ours}"
    if tags.get("code_hash") == package_hash():
        _say("code", f"the same ({commits})")
        return []
    _say("code", f"differs: package {tags.get('code_hash', 'not recorded')[:10]} is now {package_hash()[:10]} ({commits})")
    return ["code"]


def compare_data(run: Run, settings: TrainSettings) -> list[str]:
    """Say whether the data are the run's; return what differs.

    Raises:
        ValueError: where content or test examples are others: there would be nothing to compare.
    """
    data: SequenceDataModule = settings.data.recipe()(settings.paths, settings.seed)
    data.setup()  # never the bundled sample in place of what cannot be had
    then, now = run.data.tags, data.hashes
    for name, words in (("source_hash", "the data have changed since"), ("test_hash", "the data are split otherwise than then")):
        if then.get(name) != now[name]:
            hashes = f"{name} {then.get(name, 'not recorded')[:16]} is now {now[name][:16]}"
            raise ValueError(f"{words} ({hashes}): run {run.info.run_id} cannot be made again from them; nothing was run")
    if then.get("prepared_key") == now["prepared_key"]:
        _say("data", f"the same ({data.name}: source {data.source})")
        return []
    _say("data", "the same source and test examples, prepared by other code")
    return ["preparation of the data"]


def compare_environment(client: Client, run: Run, scratch: Path) -> list[str]:
    """Say whether packages and machine are the run's; return what differs, or is not known to be the same."""
    try:
        file = read_artifact(client, run.info.run_id, ENVIRONMENT, scratch)
    except TrackingError:
        _say("packages", "not recorded (the run is older than this record)")
        _say("machine", f"not recorded, but for {run.data.tags.get('platform', 'nothing')} on host {run.data.tags.get('host', 'unknown')}")
        return ["package versions (not recorded)", "machine (not recorded)"]
    then: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    now = environment()
    changed = {name for name in then.keys() | now.keys() if then.get(name) != now.get(name)}
    reasons = []
    for title, names, words in (
        ("packages", sorted(changed - {*MACHINE}), "package versions"),
        ("machine", sorted(changed & {*MACHINE}), "machine"),
    ):
        differences = "; ".join(f"{name} {then.get(name, 'not recorded')} is now {now.get(name, 'not recorded')}" for name in names)
        _say(title, differences or "the same")
        reasons += [words] if names else []
    return reasons


def name_limits(run: Run, settings: TrainSettings) -> list[str]:
    """Return what of a run cannot be made the same: threads that were not recorded, an end by the clock."""
    threads = [] if run.data.tags.get("num_threads") else ["number of threads (not recorded)"]
    return threads + (["end of training by the clock (trainer.max_time)"] if settings.trainer.has_time_limit else [])


def begun_from(client: Client, settings: TrainSettings) -> None:
    """Refuse a run whose teacher or first weights are gone.

    Raises:
        ValueError: names the run that it learned or began from.
    """
    if teacher := settings.run.distil_from:
        try:
            get_run(client, teacher)
        except TrackingError:
            raise ValueError(f"the run that it learned from (distil_from={teacher}) is gone: it cannot be made again") from None
        _say("teacher", f"run {teacher}")
    first = settings.run.init_from
    if not first:
        return
    try:
        folder = folder_of(get_run(client, first), settings.paths)
    except TrackingError:
        raise ValueError(f"the run that it began from (init_from={first}) is gone: it cannot be made again") from None
    if not any((folder / name).is_file() for name in (BEST, LAST)):
        raise ValueError(f"the run that it began from (init_from={first}) has no checkpoint in {folder} any more: it cannot be made again")
    _say("first weights", f"of run {first}")


def _print_cost(run: Run, settings: TrainSettings) -> None:
    metrics = run.data.metrics
    seconds, megabytes = metrics.get("time/fit_seconds"), metrics.get("memory/peak_mb")
    threads = settings.trainer.num_threads
    parts = [
        f"{seconds:,.0f} s of training" if seconds is not None else "time not recorded",
        f"{megabytes:,.0f} MB" if megabytes is not None else "memory not recorded",
        f"{threads} thread{'s' if threads > 1 else ''}" if threads else "all cores",
    ]
    _say("cost", f"{', '.join(parts)}, as recorded; measuring comes on top")


def _say(name: str, text: str) -> None:
    console.print(f"  {name:13} {escape(text)}", highlight=False)


# -- the comparison ----------------------------------------------------------------------------------------------------


def deviation_of(name: str, before: float, now: float) -> float:
    """Return how far apart two values of a metric are: the difference of fractions and the like, else that relative to the larger."""
    if before == now or (math.isnan(before) and math.isnan(now)):
        return 0.0
    if not (math.isfinite(before) and math.isfinite(now)):
        return math.inf
    least = 1.0 if entry_of(name.partition("/")[2]).is_of_size_one else 0.0
    return abs(before - now) / max(abs(before), abs(now), least)


def compare_numbers(before: Mapping[str, float], now: Mapping[str, float]) -> list[Change]:
    """Return the recorded numbers that came out otherwise; one that does not come out at all is infinitely far."""
    changes = []
    for name in filter(is_result, sorted(before)):
        deviation = deviation_of(name, before[name], now.get(name, math.inf))
        if deviation:
            changes.append(Change(name, f"{before[name]:.10g}", f"{now[name]:.10g}" if name in now else "none", deviation))
    return changes


def content_hash(table: pd.DataFrame) -> str:
    """Hash the values of a table, with names and types of its columns, whatever file they came from."""
    found = hashlib.sha256()
    for name in table.columns:
        values = table[name].to_numpy()
        found.update(f"{name}:{values.dtype};".encode())
        found.update(values.tobytes() if values.dtype.kind in "biufmM" else json.dumps(_texts(values)).encode())
    return found.hexdigest()[:16]


def _texts(values: np.ndarray) -> list[str | list[str]]:
    return [[str(each) for each in value] if isinstance(value, np.ndarray | list) else str(value) for value in values]


def compare_tables(before: Mapping[str, pd.DataFrame], now: Mapping[str, pd.DataFrame]) -> list[Change]:
    """Return the tables of predictions that differ in any bit: infinitely far where they are of other examples."""
    changes = []
    for split, old in before.items():
        new, hashes = now[split], (content_hash(old), content_hash(now[split]))
        if hashes[0] == hashes[1]:
            continue
        is_comparable = list(old.columns) == list(new.columns) and old["example_id"].tolist() == new["example_id"].tolist()
        words = f"{_num_differing(old, new)} of {len(old)} rows differ" if is_comparable else "other examples or columns"
        changes.append(Change(f"predictions/{split}", *hashes, 0.0 if is_comparable else math.inf, words))
    return changes


def _num_differing(old: pd.DataFrame, new: pd.DataFrame) -> int:
    """Count the rows of two tables of the same examples in which any value differs."""
    differs = np.zeros(len(old), dtype=bool)
    for name in old.columns:
        ours, theirs = old[name].to_numpy(), new[name].to_numpy()
        if ours.dtype.kind in "fc" and theirs.dtype.kind in "fc":
            differs |= ~((ours == theirs) | (np.isnan(ours) & np.isnan(theirs)))
        else:
            differs |= np.array([a != b for a, b in zip(_texts(ours), _texts(theirs), strict=True)], dtype=bool)
    return int(differs.sum())


def judge(changes: list[Change], num_numbers: int, reasons: list[str], tolerance: float) -> Reproduction:
    """Say whether a run was reproduced.

    Args:
        changes: what differed of the `num_numbers` that were compared.
        reasons: what differs from when the run was made; without any, every bit must agree.
        tolerance: see `deviation_of`, where there are reasons.
    """
    though = f" (though not all is as it was: {', '.join(reasons)})" if reasons else ""
    if not changes:
        text = f"reproduced to the bit: {num_numbers} numbers, and all predictions on val and test{though}"
        return Reproduction(True, "to the bit", text)
    worst = max(change.deviation for change in changes)
    if reasons and worst <= tolerance:
        digits = f"to {math.floor(-math.log10(worst))} digits" if worst else "in all digits"
        text = f"the same {digits}, within the tolerance of {tolerance:g}; not to the bit (what differs: {', '.join(reasons)})"
        return Reproduction(True, digits, text)
    numbers = [change for change in changes if not change.name.startswith("predictions/")]
    limit = f" by more than {tolerance:g}" if reasons else ""
    beyond = [change for change in numbers if change.deviation > (tolerance if reasons else 0)]
    tables = "; ".join(f"{change.name}: {change.words}" for change in changes if change.name.startswith("predictions/"))
    why = f"what differs: {', '.join(reasons)}" if reasons else "code, data, packages, machine and threads are the run's"
    parts = [f"{len(beyond)} of {num_numbers} numbers differ{limit}", *([tables] if tables else []), why]
    return Reproduction(False, "no", f"NOT reproduced: {'; '.join(parts)}")


def print_verdict(verdict: Reproduction, changes: list[Change], run: Run, new: Run) -> None:
    """Print what came out otherwise, the farthest first, and the verdict."""
    if changes:
        table = Table(title="\nwhat came out otherwise", title_justify="left", show_edge=False, pad_edge=False)
        for heading in ("", "recorded", "again", "deviation"):
            table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
        for change in sorted(changes, key=lambda each: (-each.deviation, each.name))[:NUM_SHOWN]:
            table.add_row(escape(change.name), change.before, change.now, change.words or f"{change.deviation:.2g}")
        console.print(table)
        if len(changes) > NUM_SHOWN:
            console.print(f"... and {len(changes) - NUM_SHOWN} more")
    colour = "green" if verdict.is_reproduced else "red"
    console.print(f"\n[bold {colour}]{escape(verdict.text)}[/]", highlight=False)
    console.print(f"the run {run.info.run_id}, again {new.info.run_id}", highlight=False)
