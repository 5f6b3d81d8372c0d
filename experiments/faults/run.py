"""Try the product under faults: kills, many writers, a tracking server that goes away, a full disk, damaged files.

python experiments/faults/run.py                          all six parts
python experiments/faults/run.py --only kills_of_runs     one part
python experiments/faults/run.py --quick                  each part with few trials, into the work folder

Each trial adds a line to trials_<part>.csv beside this file. A further call goes on after the last line; --anew begins a part again.
`summarise.py` makes results.csv of the lines, and is called at the end.
"""

import argparse
import contextlib
import csv
import importlib
import json
import os
import random
import re
import runpy
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd

HERE, HOME = Path(__file__).resolve().parent, Path(__file__).resolve().parents[2]
OF_THE_MACHINE = ("speed/", "time/", "memory/")
"""How the names of metrics begin that no two runs share."""
SMALL = ("model.recurrence.hidden_size=8", "tracking.log_every_n_steps=1", "trainer.limit_train_batches=12")
KINDS = {
    "speech": "model=gru data=speech data.source=sample epochs=3 tracking.log_model=false",
    "text": "model=lstm data=text data.source=sample epochs=3 callbacks.checkpoint.every_minutes=0",
    "stock": "model=gru data=stock data.source=sample model/head=quantile epochs=3 tracking.log_model=false",
    "series": "model=birnn data=series data.source=sample epochs=3 tracking.log_model=false callbacks.ema_decay=0.9",
    "adding": "model=lstm data=adding data.num_steps=20 data.num_val=200 data.num_test=200 epochs=4 tracking.log_model=false",
}
"""Trainings of a few seconds; the one on texts also writes a checkpoint after each step and logs a model."""
STAGES = {"import": 5, "preparation": 7, "training": 10, "checkpoint": 10, "validation": 8, "evaluation": 5, "artifacts": 5}
"""Stages of a run, and how many of 50 kills fall into each."""

TELLING = """
import os
from rnnlab.commands import tracked_training as training
from rnnlab.evaluation import artifacts
from rnnlab.training.callbacks import Meter
from rnnlab.training.checkpoints import DirectCheckpointIO

def tell(stage):
    os.write({file}, (stage + "\\n").encode())

def telling(place, name, stage, after=""):
    work = getattr(place, name)
    def told(*given, **named):
        tell(stage)
        result = work(*given, **named)
        if after:
            tell(after)
        return result
    setattr(place, name, told)

telling(training, "find_data", "preparation", "model")
telling(training, "fit", "training")
telling(Meter, "on_train_batch_end", "training")
telling(Meter, "on_validation_start", "validation", "validation")
telling(DirectCheckpointIO, "save_checkpoint", "checkpoint", "training")
telling(training, "evaluate_both", "evaluation")
telling(artifacts, "write_artifacts", "artifacts", "end")
"""
"""What makes a training say on a pipe which stage it has come to."""


# Trials -----------------------------------------------------------------------------------------------------------------------------------


@dataclass
class Trial:
    """What became of one trial.

    Args:
        what: was tried.
        moment: at which it was disturbed.
        went: whether it ended as it should.
        lost: points of curves, jobs or files that the undisturbed run has and this one has not.
        doubled: points or jobs that are there more than once.
        changed: numbers that are others than the undisturbed run's.
        said: the message, or what was wrong.
        seconds: that the trial took.
    """

    what: str
    moment: str = ""
    went: bool = False
    lost: int = 0
    doubled: int = 0
    changed: int = 0
    said: str = ""
    seconds: float = 0.0

    def judge(self, wrong: list[str]) -> None:
        """Say what was wrong, if anything was."""
        self.went = not (wrong or self.lost or self.doubled or self.changed)
        self.said = "; ".join(wrong) or self.said


@dataclass(frozen=True)
class Part:
    """One part of the experiment: where it works, how much of it is tried, and the file of its lines."""

    name: str
    work: Path
    file: Path
    is_quick: bool

    def drawn(self, number: int) -> random.Random:
        """Return what a trial draws from, the same whenever it is made."""
        return random.Random(f"{self.name} {number}")

    @property
    def num_done(self) -> int:
        """Trials that have their line."""
        return len(pd.read_csv(self.file)) if self.file.exists() else 0

    def each(self, trials: "list[Callable[[], Trial]]") -> None:
        """Make the trials that have no line yet."""
        before = set(pd.read_csv(self.file)["trial"]) if self.file.exists() else set()
        for number, make in enumerate(trials):
            if number in before:
                continue
            begun = time.monotonic()
            trial = make()
            trial.seconds = round(time.monotonic() - begun, 1)
            self.add(number, trial)

    def add(self, number: int, trial: Trial) -> None:
        """Add a line, which names no place of this machine."""
        trial.said = re.sub(
            rf"{re.escape(tempfile.gettempdir())}/{tempfile.gettempprefix()}\w+", "TEMP", trial.said.replace(str(self.work), "WORK")
        )
        row = {"trial": number, **asdict(trial)}
        is_new = not self.file.exists()
        with self.file.open("a", newline="", encoding="utf-8") as file:
            lines = csv.DictWriter(file, list(row))
            if is_new:
                lines.writeheader()
            lines.writerow(row)
        print(self.name, row, flush=True)


# Commands ---------------------------------------------------------------------------------------------------------------------------------


def environment(root: Path, **more: str) -> dict[str, str]:
    """Return the environment of a command that keeps everything below a root."""
    return {**os.environ, "PYTHONPATH": str(HOME / "src"), "RNNLAB_ROOT": str(root), "OMP_NUM_THREADS": "1", "COLUMNS": "200", **more}


@dataclass
class Done:
    """What a command that ended said."""

    code: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """The message of an error, which is the last line."""
        return (self.err.strip().splitlines() or [""])[-1]

    @property
    def is_told(self) -> bool:
        """Whether it ended with a message of one line and no traceback."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        return self.code in (1, 2) and len(lines) == 1 and "Traceback" not in self.err + self.out


def new_root(place: Path) -> Path:
    """Make a folder for runs, in place of that of the trial before; its name is new, since MLflow keeps databases open by their names."""
    for before in place.glob("root_*"):
        shutil.rmtree(before, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix="root_", dir=place))


def preload() -> None:
    """Import what commands import, once: half the time of a small training is that. Nothing is computed here, so no thread is begun."""
    if sys.path[0] != str(HOME / "src"):
        sys.path.insert(0, str(HOME / "src"))
    for name in ("tracked_training", "predict", "score", "compare"):
        importlib.import_module(f"rnnlab.commands.{name}")
    for name in ("mlflow.pyfunc", "matplotlib.figure", "matplotlib.backends.backend_agg", "optuna", "plotly.graph_objects"):
        importlib.import_module(name)


class Forked:
    """A command in a process group of its own that begins with all libraries imported; the rest is as a person runs it."""

    def __init__(self, script: str, words: list[str], root: Path, pipe: int | None = None) -> None:
        preload()
        self.returncode: int | None = None
        self.logs = [root / "out.txt", root / "err.txt"]
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                code = self._run(script, words, root, pipe)
            finally:
                os._exit(code)

    def _run(self, script: str, words: list[str], root: Path, pipe: int | None) -> int:
        """Be the command, and return its code as the interpreter would."""
        os.setsid()
        for number, log in enumerate(self.logs, start=1):
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.environ |= environment(root)
        sys.argv = [script, *words]
        code = 0
        try:
            if pipe is not None:
                exec(TELLING.format(file=pipe), {})
            runpy.run_path(str(HOME / "src" / script), run_name="__main__")
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        except BaseException:
            traceback.print_exc()
            code = 1
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        return code

    def poll(self) -> int | None:
        """Return the code of a process that has ended."""
        if self.returncode is None and (found := os.waitpid(self.pid, os.WNOHANG))[0]:
            self.returncode = os.waitstatus_to_exitcode(found[1])
        return self.returncode

    def wait(self, seconds: float = 900) -> int:
        """Wait for its end; one that takes too long is killed, which is a code of its own."""
        until = time.monotonic() + seconds
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                os.killpg(self.pid, signal.SIGKILL)
            time.sleep(0.02)
        return code

    def kill(self) -> None:
        """Kill all processes of its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def done(self) -> Done:
        """Wait for its end, and return what it said."""
        code = self.wait()
        out, err = (log.read_text(encoding="utf-8", errors="replace") for log in self.logs)
        return Done(code, out, err)


def started(words: list[str], root: Path) -> "subprocess.Popen[bytes]":
    """Start a training as a person does, in a process group of its own."""
    command, quiet = [sys.executable, str(HOME / "src/train.py"), *words], subprocess.DEVNULL
    return subprocess.Popen(command, env=environment(root), start_new_session=True, stdout=quiet, stderr=quiet)


def called(script: str, words: list[str], root: Path) -> Done:
    """Run a script of src/ and return what it said."""
    return Forked(script, words, root).done()


@dataclass
class Telling:
    """A training that says which stage it has come to."""

    words: list[str]
    root: Path
    told: list[tuple[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.pipe, end = os.pipe()
        self.begun = time.monotonic()
        self.process = Forked("train.py", self.words, self.root, end)
        os.close(end)
        self.rest = b""

    def listen(self, until: float) -> bool:
        """Note what it says until a time (of the monotonic clock) or its next word; say whether it may say more."""
        ready, _, _ = select.select([self.pipe], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            return True
        content = os.read(self.pipe, 1 << 16)
        *lines, self.rest = (self.rest + content).split(b"\n")
        self.told += [(line.decode(), time.monotonic() - self.begun) for line in lines]
        return bool(content)

    def until_told(self, count: int) -> bool:
        """Wait until it has said so many words; False if it ended before."""
        while len(self.told) < count:
            if not self.listen(time.monotonic() + 600):
                return False
        return True

    def until(self, stage: str, times: int = 1) -> bool:
        """Wait until it has come to a stage so many times; False if it ended before."""
        while [name for name, _ in self.told].count(stage) < times:
            if not self.until_told(len(self.told) + 1):
                return False
        return True

    def kill_after(self, seconds: float) -> str:
        """Kill all its processes some time after its last word, and return the stage that it was in; "" if it had ended."""
        until = time.monotonic() + seconds
        is_alive = True
        while is_alive and time.monotonic() < until:
            is_alive = self.listen(until)
        stage = self.told[-1][0] if self.told else "import"
        has_ended = self.process.poll() is not None
        self.process.kill()
        os.close(self.pipe)
        return "" if has_ended else stage

    def ended(self) -> Done:
        """Wait for its end."""
        while self.listen(time.monotonic() + 600):
            pass
        os.close(self.pipe)
        return self.process.done()


# What was tracked -------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tracked:
    """A run as the database holds it, read without the product and without MLflow.

    Args:
        run_id: its id.
        status: RUNNING, FINISHED, FAILED or KILLED.
        experiment: the id of its experiment.
        tags: name to value.
        params: name to value.
        points: all values of each metric and step that the machine does not decide.
    """

    run_id: str
    status: str
    experiment: str
    tags: dict[str, str]
    params: dict[str, str]
    points: dict[tuple[str, int], list[float]]


def tracked(place: Path) -> list[Tracked]:
    """Return all runs of a root, or of a database, but the parents of studies."""
    file = place / "mlflow.db" if place.is_dir() else place
    if not file.exists():
        return []
    with contextlib.closing(sqlite3.connect(file)) as database:
        rows = database.execute("select run_uuid, status, experiment_id from runs where lifecycle_stage = 'active'").fetchall()
        runs = [Tracked(run_id, status, str(experiment), *_details(database, run_id)) for run_id, status, experiment in rows]
    return [run for run in runs if run.tags.get("kind") != "study"]


def _details(database: sqlite3.Connection, run_id: str) -> tuple[dict[str, str], dict[str, str], dict[tuple[str, int], list[float]]]:
    tags, params = (
        dict(database.execute(f"select key, value from {table} where run_uuid = ?", (run_id,)).fetchall()) for table in ("tags", "params")
    )
    points = defaultdict(list)
    for name, step, value in database.execute("select key, step, value from metrics where run_uuid = ? order by timestamp", (run_id,)):
        if not name.startswith(OF_THE_MACHINE):
            points[name, step].append(value)
    return tags, params, dict(points)


Points = dict[tuple[str, int], list[float]]


def compare_points(trial: Trial, ours: Points, theirs: Points) -> None:
    """Count points that were lost, doubled or changed."""
    trial.lost += len(theirs.keys() - ours.keys())
    trial.doubled += sum(len(values) - 1 for values in ours.values()) + len(ours.keys() - theirs.keys())
    trial.changed += sum(values[-1] != theirs[key][-1] for key, values in ours.items() if key in theirs)


def compare_files(folder: Path, other: Path) -> list[str]:
    """Say in which results two runs differ: the weights of the chosen checkpoint, predictions."""
    wrong = []
    weights = "artifacts/bundle/weights.safetensors"
    if (folder / weights).read_bytes() != (other / weights).read_bytes():
        wrong.append("other weights")
    for split in ("val", "test"):
        file = f"artifacts/predictions/{split}.parquet"
        if not pd.read_parquet(folder / file).equals(pd.read_parquet(other / file)):
            wrong.append(f"other predictions on {split}")
    return wrong


def integrity(root: Path) -> list[str]:
    """Return what SQLite finds wrong in a root's database."""
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as database:
        found = [row[0] for row in database.execute("pragma integrity_check")]
    return [] if found == ["ok"] else found


def only_finished(root: Path) -> tuple[Tracked | None, list[str]]:
    """Return the one run of a root that finished, and what is wrong with the others."""
    runs = tracked(root)
    wrong = [f"a run is left {run.status}" for run in runs if run.status not in ("FINISHED", "KILLED", "FAILED")]
    finished = [run for run in runs if run.status == "FINISHED"]
    wrong += [f"{len(finished)} runs finished"] if len(finished) != 1 else []
    return (finished[0] if finished else None), wrong + integrity(root)


# Undisturbed ------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing disturbed: its folder, points, and when it came to which stage."""

    folder: Path
    points: Points
    told: list[tuple[str, float]]
    num_models: int


def undisturbed(words: list[str], root: Path) -> Undisturbed:
    """Return an undisturbed run, trained where that was not done before."""
    kept = root / "told.json"
    if not kept.exists() or json.loads(kept.read_text())["words"] != words:
        shutil.rmtree(root, ignore_errors=True)
        telling = Telling(words, root)
        done = telling.ended()
        if done.code:
            raise SystemExit(f"an undisturbed run failed: {done.err}")
        kept.write_text(json.dumps({"words": words, "told": telling.told}))
    (run,) = tracked(root)
    told = [(stage, at) for stage, at in json.loads(kept.read_text())["told"]]
    return Undisturbed(root / "outputs" / run.run_id, run.points, told, num_models(root))


def num_models(root: Path) -> int:
    """Count the models that are logged in MLflow's format and ready."""
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as database:
        return int(database.execute("select count(*) from logged_models where lifecycle_stage = 'active'").fetchone()[0])


# 1: kills of studies ----------------------------------------------------------------------------------------------------------------------


STUDY = (
    *("study=cells", "data=text", "data.source=sample", "model=srnn,lstm,gru,birnn,baseline", "model.budget=5000", "epochs=3"),
    *("trainer.limit_train_batches=12", "tracking.log_every_n_steps=1", "tracking.log_model=false"),
)


def kills_of_studies(part: Part) -> None:
    """Kill a study again and again, let it finish, and compare it with one that nobody disturbed; several times."""
    num_seeds, rounds = (2, [2]) if part.is_quick else (5, [25, 25])
    words = [*STUDY, "seed=" + ",".join(map(str, range(num_seeds)))]
    whole = part.work / "whole"
    if not (whole / "done").exists():
        shutil.rmtree(whole, ignore_errors=True)
        whole.mkdir(parents=True)
        if (done := called("train.py", words, whole)).code:
            raise SystemExit(f"the undisturbed study failed: {done.err}")
        (whole / "done").touch()
    first = 0
    for number, num_kills in enumerate(rounds):
        if part.num_done < first + num_kills + 1:
            _one_round(part, part.work / f"round_{number}", first, num_kills, words, whole)
        first += num_kills + 1


def _one_round(part: Part, root: Path, first: int, num_kills: int, words: list[str], whole: Path) -> None:
    """Kill one study so many times, then let it finish; a round that was cut off goes on with its root as it is."""
    if part.num_done == first:
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
    for kill in range(num_kills):
        if part.num_done > first + kill:
            continue
        begun, moment = time.monotonic(), part.drawn(first + kill).uniform(3, 30)
        process = Forked("train.py", words, root) if kill % 5 else started(words, root)
        until = begun + moment
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        has_ended = process.poll() is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        runs = tracked(root)
        states = Counter(run.status.lower() for run in runs)
        doubled = sum(times > 1 for times in _finished_jobs(root).values())
        said = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) + (" (it had ended)" if has_ended else "")
        seconds = round(time.monotonic() - begun, 1)
        part.add(first + kill, Trial("kill", f"{moment:.1f} s", not doubled, doubled=doubled, said=said, seconds=seconds))
    part.add(first + num_kills, _last_call(words, root, whole))


def _finished_jobs(root: Path) -> Counter[str]:
    return Counter(run.tags["identity"] for run in tracked(root) if run.status == "FINISHED")


def _last_call(words: list[str], root: Path, whole: Path) -> Trial:
    """Let a study finish, call it once more, and compare job by job."""
    begun, trial, wrong = time.monotonic(), Trial("last call"), []
    done, expected = called("train.py", words, root), _finished_jobs(whole)
    if done.code:
        wrong.append(f"the last call failed: {done.last_words}")
    before = len(tracked(root))
    again = called("train.py", words, root)
    if len(tracked(root)) != before or f"{len(expected)} finished before" not in again.err:
        wrong.append(f"a further call ran something: {again.last_words}")
    finished = _finished_jobs(root)
    trial.lost, trial.doubled = len(expected.keys() - finished.keys()), sum(times > 1 for times in finished.values())
    wrong += [f"left {run.status}" for run in tracked(root) if run.status != "FINISHED"] + integrity(root)
    theirs = {run.tags["identity"]: run for run in tracked(whole)}
    num_points = 0
    for run in tracked(root):
        if run.status == "FINISHED" and (other := theirs.get(run.tags["identity"])):
            num_points += len(run.points)
            compare_points(trial, run.points, other.points)
            wrong += compare_files(root / "outputs" / run.run_id, whole / "outputs" / other.run_id)
    trial.said = f"{len(finished)} of {len(expected)} jobs, {num_points:,} points as undisturbed"
    trial.judge(wrong)
    trial.seconds = round(time.monotonic() - begun, 1)
    return trial


# 2: kills of runs -------------------------------------------------------------------------------------------------------------------------


def kills_of_runs(part: Part) -> None:
    """Kill single trainings, each once, take them up again, and compare them with undisturbed ones."""
    stages = list(STAGES) if part.is_quick else [stage for stage, count in STAGES.items() for _ in range(count)]
    kinds = list(KINDS)[:1] if part.is_quick else list(KINDS)
    part.each([partial(_kill_one, part, n, kinds[n % len(kinds)], stage) for n, stage in enumerate(stages)])


def _kill_one(part: Part, number: int, kind: str, stage: str) -> Trial:
    words = [*KINDS[kind].split(), *SMALL]
    whole, chance = undisturbed(words, part.work / f"whole_{kind}"), part.drawn(number)
    trial = Trial(f"{kind}, {stage}")
    for _ in range(5):  # one that ended before its kill came is tried again
        root = new_root(part.work)
        if stage not in ("import", "preparation"):  # later ones begin with a database and prepared data, which saves time
            shutil.copytree(_begun(part.work, whole), root, dirs_exist_ok=True)
        if found := _killed_in(words, root, stage, whole.told, chance):
            break
    else:
        trial.judge(["it ended before it was killed, five times"])
        return trial
    before = tracked(root)
    saved = [run for run in before if (root / "outputs" / run.run_id / "last.ckpt").is_file()]
    is_over = any(run.status == "FINISHED" for run in before)
    trial.moment = f"{found}; {'over' if is_over else 'resumed' if saved else 'begun anew'}"
    done = called("train.py", [f"resume={saved[0].run_id}"] if saved else words, root) if not is_over else Done(0, "", "")
    wrong = [f"code {done.code}: {done.last_words}"] if done.code else []
    run, others = only_finished(root)
    if run is not None:
        compare_points(trial, run.points, whole.points)
        wrong += compare_files(root / "outputs" / run.run_id, whole.folder)
    if num_models(root) != whole.num_models:
        wrong.append(f"{num_models(root)} logged models, not {whole.num_models}")
    trial.judge(wrong + others)
    return trial


def _begun(work: Path, whole: Undisturbed) -> Path:
    """Return a folder with a database without runs and the prepared data of an undisturbed run."""
    root = work / f"begun_{whole.folder.parents[1].name}"
    if not root.exists():
        aside = new_root(work)
        called("predict.py", ["run=none", "text=none"], aside)  # it makes a database, and finds no run in it
        shutil.copytree(whole.folder.parents[1] / "data", aside / "data")
        aside.rename(root)
    return root


def _killed_in(words: list[str], root: Path, stage: str, told: list[tuple[str, float]], chance: random.Random) -> str:
    """Kill a training in a stage, and return in which it was and when; "" if it ended before."""
    if stage == "import":  # in a process that begins with nothing
        process, moment = started(words, root), chance.uniform(0, 20)
        time.sleep(moment)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"import after {moment:.2f} s"
    place = chance.choice([place for place, (name, _) in enumerate(told[:-1]) if name == stage])
    run = Telling(words, root)
    if not run.until_told(place + 1):
        return ""
    actual = run.kill_after(chance.uniform(0, told[place + 1][1] - told[place][1]))
    return f"{actual} after {time.monotonic() - run.begun:.2f} s" if actual else ""


# 3: writers -------------------------------------------------------------------------------------------------------------------------------


def writers(part: Part) -> None:
    """Let several processes begin at once where there is nothing yet, no database either."""
    num_writers = 3 if part.is_quick else 8
    words = [*KINDS["speech"].split(), *SMALL]
    whole = [undisturbed([*words, f"seed={seed}"], part.work / f"whole_{seed}") for seed in range(num_writers)]
    part.each([partial(_write_at_once, part, words, whole)])


def _write_at_once(part: Part, words: list[str], whole: list[Undisturbed]) -> Trial:
    root, trial, wrong = new_root(part.work), Trial(f"{len(whole)} processes"), []
    command = [sys.executable, str(HOME / "src/train.py"), *words]
    processes = []
    for seed in range(len(whole)):
        with (root / f"said_{seed}.txt").open("w") as log:
            processes.append(subprocess.Popen([*command, f"seed={seed}"], env=environment(root), stdout=log, stderr=log))
    for seed, process in enumerate(processes):
        if process.wait():
            wrong.append((root / f"said_{seed}.txt").read_text().strip().splitlines()[-1])
    by_seed: dict[int, list[Tracked]] = defaultdict(list)
    for run in tracked(root):
        by_seed[int(run.params["seed"])].append(run)
    trial.lost = len(whole) - len(by_seed)
    trial.doubled = sum(len(runs) - 1 for runs in by_seed.values())
    for seed, (run, *_) in by_seed.items():
        wrong += [f"seed {seed} is left {run.status}"] if run.status != "FINISHED" else []
        compare_points(trial, run.points, whole[seed].points)
        wrong += compare_files(root / "outputs" / run.run_id, whole[seed].folder)
    num_databases = len(list(root.glob("*.db")))
    trial.judge(wrong + integrity(root) + ([f"{num_databases} databases"] if num_databases != 1 else []))
    return trial


# 4: a server that goes away ---------------------------------------------------------------------------------------------------------------


@dataclass
class Server:
    """A real tracking server on loopback, which can be stopped and started again at its address."""

    place: Path
    process: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.place}/server.db", "--artifacts-destination", str(self.place / "artifacts")]
        quiet, settings = subprocess.DEVNULL, os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.process = subprocess.Popen(command, env=settings, cwd=self.place, stdout=quiet, stderr=quiet, start_new_session=True)
        for _ in range(480):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.address}/health", timeout=1).close()
                return
            time.sleep(0.25)
        raise SystemExit("the tracking server does not start")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all its processes; after SIGKILL, wait for its end."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        if number == signal.SIGKILL:
            self.process.wait()


def server(part: Part) -> None:
    """Let the tracking server go away in the middle of a run: for a while, hanging for a while, for good."""
    away_s = 5.0 if part.is_quick else 60.0
    part.each(
        [
            lambda: _server_gone(part, "gone", away_s, is_long=not part.is_quick),
            lambda: _server_gone(part, "hanging", away_s, is_long=not part.is_quick),
            lambda: _server_gone(part, "gone for good", 0.0, is_long=False),
        ]
    )


def _server_gone(part: Part, how: str, away_s: float, *, is_long: bool) -> Trial:
    """Train with a server that goes away at a step in the middle, and compare what it holds at last."""
    size, num_epochs = (64, 200) if is_long else (8, 6)
    words = f"model=lstm data=text data.source=sample epochs={num_epochs} model.recurrence.hidden_size={size}".split()
    words.append("tracking.log_every_n_steps=1")
    whole = undisturbed(words, part.work / f"whole_{is_long}")
    trial, wrong = Trial(f"server {how}" + (f" for {away_s:.0f} s" if away_s else "")), list[str]()
    place = new_root(part.work)
    running = Server(place)
    running.start()
    try:
        run = Telling([*words, f"tracking.uri={running.address}"], place / "root")
        run.until("validation", 3)
        trial.moment = f"after {time.monotonic() - run.begun:.1f} s"
        running.send(signal.SIGSTOP if how == "hanging" else signal.SIGKILL)
        if away_s:
            time.sleep(away_s)
            running.send(signal.SIGCONT) if how == "hanging" else running.start()
            wrong += ["the run ended before the server was back"] if run.process.poll() is not None else []
        done = run.ended()
        if not away_s:
            wrong += _handed_over(running, place / "root", done)
        elif done.code:
            wrong.append(f"code {done.code}: {done.last_words}")
        _judge_server(trial, wrong, place, whole)
    finally:
        running.send(signal.SIGKILL)
    return trial


def _handed_over(running: Server, root: Path, done: Done) -> list[str]:
    """Start the server once more, and hand over what it lacks."""
    (folder,) = (file.parent for file in (root / "outputs").glob("*/run_id"))
    wrong = [] if done.is_told and f"src/sync.py run={folder.name}" in done.last_words else [f"the end was not told: {done.last_words}"]
    running.start()
    for said in ("handed over", "nothing is left"):
        synced = called("sync.py", [f"run={folder.name}"], root)
        wrong += [f"sync: {synced.out} {synced.last_words}"] if synced.code or said not in synced.out else []
    return wrong


def _judge_server(trial: Trial, wrong: list[str], place: Path, whole: Undisturbed) -> None:
    """Compare what a server holds of a run with an undisturbed one: points, parameters, artifacts, the end."""
    runs, (own,) = tracked(place / "server.db"), tracked(whole.folder.parents[1])
    if len(runs) != 1:
        trial.judge([*wrong, f"{len(runs)} runs"])
        return
    run = runs[0]
    wrong += [f"left {run.status}"] if run.status != "FINISHED" else []
    compare_points(trial, run.points, whole.points)
    changed = sorted(name for name, value in own.params.items() if run.params.get(name) != value and "uri" not in name)
    wrong += [f"other parameters: {changed}"] if changed else []
    missing = sorted(own.tags.keys() - run.tags.keys())
    wrong += [f"tags are missing: {missing}"] if missing else []
    ours = files_below(place / "artifacts" / run.experiment / run.run_id)
    (folder,) = (whole.folder.parents[1] / "mlartifacts").glob(f"*/{own.run_id}")
    odd = sorted(ours ^ files_below(folder))
    trial.judge(wrong + ([f"other artifacts: {odd}"] if odd else []) + compare_files(place / "root/outputs" / run.run_id, whole.folder))


def files_below(folder: Path) -> set[str]:
    """Return the files of a folder and of those in it."""
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


# 5: a full disk ---------------------------------------------------------------------------------------------------------------------------


INSIDE = "RNNLAB_FAULTS_INSIDE"
DISK_MB = 96


def full_disks(part: Part) -> None:
    """Let the disk be full at five moments. It is one of our own, in memory, which a namespace without privileges may mount."""
    if not os.environ.get(INSIDE):
        disk = part.work / "disk"
        disk.mkdir(parents=True, exist_ok=True)
        mount = f'mount -t tmpfs -o size={DISK_MB}m tmpfs "{disk}" && exec "$@"'
        command = ["unshare", "-Urm", "bash", "-c", mount, "bash", sys.executable, *sys.argv, *(["--only", part.name])]
        if subprocess.run(command, env=os.environ | {INSIDE: "1"}, check=False).returncode:
            raise SystemExit("full_disks failed; it needs `unshare -Urm` and the right to mount a tmpfs there")
        return
    moments: dict[str, tuple[str, int, int]] = {  # the stage, how many times it has come to it, bytes left
        "fresh database": ("", 0, 200_000),
        "preparation": ("preparation", 1, 1_000_000),
        "curve while training": ("training", 20, 0),
        "checkpoint": ("checkpoint", 3, 30_000),
        "final artifacts": ("artifacts", 1, 30_000),
    }
    part.each([partial(_fill, part, name, *moment) for name, moment in moments.items()])


def _fill(part: Part, name: str, stage: str, times: int, left: int) -> Trial:
    """Fill the disk at a moment, read what the run says, make room, and go on."""
    words = [*KINDS["speech"].split(), *SMALL]
    whole, disk = undisturbed(words, part.work / "whole"), part.work / "disk"
    root, trial = new_root(disk), Trial(f"full disk, {name}", f"{left:,} bytes left")
    filler, wrong = disk / "filler", list[str]()
    if not stage:
        _leave(filler, left)
    run = Telling(words, root)
    if stage and run.until(stage, times):
        _leave(filler, left)
    done = run.ended()
    trial.said = done.last_words if done.err.strip() else ""
    wrong += [] if done.is_told else [f"code {done.code}, not one clear line: {done.err.strip()[-300:]}"]
    runs = tracked(root)
    wrong += [f"left {each.status}" for each in runs if each.status != "FAILED"]
    filler.unlink()
    saved = [each for each in runs if (root / "outputs" / each.run_id / "last.ckpt").is_file()]
    trial.moment += f"; {'resumed' if saved else 'begun anew'}"
    again = called("train.py", [f"resume={saved[0].run_id}"] if saved else words, root)
    wrong += [f"later, code {again.code}: {again.last_words}"] if again.code else []
    found, others = only_finished(root)
    if found is not None:
        compare_points(trial, found.points, whole.points)
        wrong += compare_files(root / "outputs" / found.run_id, whole.folder)
    trial.judge(wrong + others)
    return trial


def _leave(filler: Path, left: int) -> None:
    """Fill a disk but for so many bytes, while others may write, too."""
    room, margin = os.statvfs(filler.parent), 1 << 18
    with filler.open("wb", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, max(1, room.f_bavail * room.f_frsize - left - margin))
        file.seek(0, os.SEEK_END)
        with contextlib.suppress(OSError):
            while (room := os.statvfs(filler.parent)).f_bavail * room.f_frsize > left:
                file.write(bytes(1 << 12))


# 6: damaged files -------------------------------------------------------------------------------------------------------------------------


NOWHERE = "tracking.uri=http://127.0.0.1:9"  # so that a command reads the run's own folder
TEXTS = "the striker scored twice in the final\nshares of the bank fell after the report\na new telescope saw a distant galaxy\n"


@dataclass(frozen=True)
class Damaged:
    """What damage is tried on: a folder with two finished runs and one that was stopped, a copy of it, and its commands.

    Args:
        root: where commands work.
        pristine: the copy that it is made of before each.
        first: the id of the run whose files are damaged.
        stopped: the id of the run that was stopped.
        commands: name to script and words.
    """

    root: Path
    pristine: Path
    first: str
    stopped: str
    commands: dict[str, tuple[str, list[str]]]

    def restore(self) -> None:
        """Make the folder anew."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.pristine, self.root)

    def answer(self, name: str) -> tuple[Done, object]:
        """Run a command; return what it said, and what came out of it: tables, a report, or the points and weights of a run."""
        before = {run.run_id for run in tracked(self.pristine) if run.status == "FINISHED"}
        done = called(*self.commands[name], self.root)
        if done.code:
            return done, None
        if name in ("init_from", "resume"):
            (run,) = (run for run in tracked(self.root) if run.status == "FINISHED" and run.run_id not in before)
            folder = self.root / "outputs" / run.run_id / "artifacts"
            tables = [pd.read_parquet(folder / "predictions" / f"{split}.parquet").to_csv() for split in ("val", "test")]
            return done, (run.points, tables, (folder / "bundle/weights.safetensors").read_bytes())
        shown = [line for line in done.out.splitlines() if not line.startswith("warning: ")]
        files = [self.root / "answers.csv", *sorted((self.root / "report").glob("*.csv")), self.root / "report/report.md"]
        return done, ([] if name.startswith("predict") else shown, [file.read_text() for file in files if file.exists()])


def damage(part: Part) -> None:
    """Damage each file of a finished run in four ways, and let commands read it."""
    subject = _subject(part)
    expected = {}
    for name in subject.commands:
        subject.restore()
        done, expected[name] = subject.answer(name)
        if done.code:
            raise SystemExit(f"{name} fails without any damage: {done.err}")
    files = sorted(str(file.relative_to(subject.pristine)) for file in subject.pristine.rglob("*") if file.is_file())
    trials: list[Callable[[], Trial]] = []
    for number, file in enumerate(files[::9] if part.is_quick else files):
        for name in _readers(file, subject):
            for way in WAYS if not part.is_quick else WAYS[number % 2 :: 2]:
                chance = part.drawn(len(trials))
                trials.append(partial(_damage_one, subject, file, name, way, expected[name], chance))
    part.each(trials)


def _subject(part: Part) -> Damaged:
    """Train the runs whose files are damaged, where that was not done before."""
    root, pristine = part.work / "root", part.work / "pristine"
    words = ["model=lstm", "data=text", "data.source=sample", "epochs=3", *SMALL]
    if not (pristine / "done").exists():
        for folder in (root, pristine):
            shutil.rmtree(folder, ignore_errors=True)
        root.mkdir()
        for seed in (0, 1):
            if (done := called("train.py", [*words, f"seed={seed}"], root)).code:
                raise SystemExit(f"a run failed: {done.err}")
        run = Telling([*words, "seed=2"], root)
        run.until("training", 20)
        os.kill(run.process.pid, signal.SIGTERM)
        run.ended()
        (root / "texts.txt").write_text(TEXTS)
        shutil.copytree(root, pristine)
        (pristine / "done").touch()
    runs = {run.params["seed"]: run for run in tracked(pristine)}
    first, second, stopped = (runs[seed].run_id for seed in ("0", "1", "2"))
    to_file = f"output={root}/answers.csv"
    given = [f"run={first}", f"input={root}/texts.txt", "format=csv", to_file]
    commands = {
        "predict": ("predict.py", given),
        "predict from its folder": ("predict.py", [*given, NOWHERE]),
        "score": ("score.py", [f"run={first}", to_file]),
        "score from its folder": ("score.py", [f"run={first}", to_file, NOWHERE]),
        "compare": ("compare.py", [f"run={first},{second}", f"output={root}/report"]),
        "init_from": ("train.py", [*words, "seed=3", "epochs=1", f"init_from={first}"]),
        "resume": ("train.py", [f"resume={stopped}"]),
    }
    return Damaged(root, pristine, first, stopped, commands)


def _readers(file: str, subject: Damaged) -> list[str]:
    """Return the commands that read a file, or where none does, one that might."""
    if file == "mlflow.db":
        return ["predict", "score", "compare", "init_from", "resume"]
    if file.startswith("data/cache/"):
        return ["score", "init_from", "resume"] if not file.endswith(".lock") else []
    if subject.stopped in file:
        return ["resume"]
    if file.startswith(f"outputs/{subject.first}/"):
        return ["init_from"] if file.endswith(".ckpt") else ["predict from its folder"] * ("bundle" in file) + ["score from its folder"]
    if subject.first not in file:
        return []
    by_folder = {"bundle": ["predict", "score"], "predictions": ["compare"], "config": ["score"], "checkpoint": ["init_from"]}
    return next((names for word, names in by_folder.items() if f"artifacts/{word}" in file), ["compare"])


def flip(file: Path, chance: random.Random) -> None:
    """Flip one bit."""
    content = bytearray(file.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


WAYS = ("bit flipped", "truncated", "emptied", "removed")


def _damage_one(subject: Damaged, file: str, name: str, way: str, expected: object, chance: random.Random) -> Trial:
    subject.restore()
    place, wrong = subject.root / file, list[str]()
    trial = Trial(f"{way}: {file.replace(subject.first, 'RUN').replace(subject.stopped, 'STOPPED')}", name)
    size = place.stat().st_size
    if way == "removed":
        place.unlink()
    elif way == "bit flipped" and size:
        flip(place, chance)
    else:
        os.truncate(place, size // 2 if way == "truncated" else 0)
    done, found = subject.answer(name)
    if done.code == 0:
        trial.changed = int(found != expected)
        trial.said = "the right answer" if found == expected else f"another answer: {done.last_words}"
    else:
        trial.said = done.last_words.replace(str(subject.root), "ROOT").replace(subject.first, "RUN")
        wrong += [] if done.is_told else [f"code {done.code}, not one clear line: {trial.said}"]
    trial.judge(wrong)
    return trial


PARTS: dict[str, Callable[[Part], None]] = {
    "kills_of_studies": kills_of_studies,
    "kills_of_runs": kills_of_runs,
    "writers": writers,
    "server": server,
    "full_disks": full_disks,
    "damage": damage,
}


def main() -> None:
    """Make the parts that are asked for, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", help="one part; may be given several times")
    parser.add_argument("--quick", action="store_true", help="few trials of each part, recorded in the work folder")
    parser.add_argument("--anew", action="store_true", help="forget the trials that were recorded before")
    parser.add_argument("--work", type=Path, default=HOME / "outputs" / "faults", help="the folder for runs")
    given = parser.parse_args()
    work = (given.work / "quick" if given.quick else given.work).absolute()
    place = work if given.quick else HERE
    for name in given.only or PARTS:
        (work / name).mkdir(parents=True, exist_ok=True)
        part = Part(name, work / name, place / f"trials_{name}.csv", given.quick)
        if (given.anew or given.quick) and not os.environ.get(INSIDE):
            part.file.unlink(missing_ok=True)
        PARTS[name](part)
    if not os.environ.get(INSIDE):
        runpy.run_path(str(HERE / "summarise.py"))["summarise"](place)


if __name__ == "__main__":
    main()
