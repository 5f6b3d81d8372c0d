"""Climb: the longest T that each cell and initialisation solves in at least 4 of 5 seeds, within a fixed number of optimizer steps.

python experiments/memory/run.py
python experiments/memory/run.py --data adding --settings "lstm chrono" "gru default" --processes 1
python experiments/memory/run.py --data copying --settings "gru chrono" --lengths 200 --epochs 120 --rate 0.005

Every training is a job of a study: tracked, run exactly once, gone on with where it was cut off. Killed, the same command goes on;
finished, it trains nothing. Afterwards `summarise.py` writes results.csv, the pictures and README.md.

A ladder is climbed with as few trainings as the question allows. Going up, a rung is passed as soon as one of the first two seeds solves
it: if both fail, 4 of 5 cannot be had, and nothing longer is tried. From the highest rung so passed it goes down until one is solved in 4
of 5 seeds. Shorter rungs are taken to be solvable where a longer one is.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

from rnnlab.cli import compose_config
from rnnlab.commands.train import train
from rnnlab.config import ConfigError
from rnnlab.paths import root
from rnnlab.settings import TrainSettings
from rnnlab.tracking.parents import Parent, Plan, finished_run
from rnnlab.tracking.store import connect, find_runs
from rnnlab.training.identity import identity
from rnnlab.training.recipes import check, experiment_of, find_data

STUDY = "memory"
NUM_SEEDS, NUM_NEEDED = 5, 4
LOOK_AT = 200
"""T at which gradient horizons of all are looked at before the first step."""
SETTINGS = {
    "srnn default": ("model=srnn",),
    "srnn orthogonal": ("model=srnn", "model.recurrence.initialisation=orthogonal"),
    "srnn identity": ("model=srnn", "model.recurrence.initialisation=identity"),
    "srnn identity relu": ("model=srnn", "model.recurrence.initialisation=identity", "cell.activation=relu"),
    "lstm default": ("model=lstm",),
    "lstm orthogonal": ("model=lstm", "model.recurrence.initialisation=orthogonal"),
    "lstm forget bias 1": ("model=lstm", "cell.forget_bias=1"),
    "lstm chrono": ("model=lstm", "cell.chrono={longest}"),
    "gru default": ("model=gru",),
    "gru orthogonal": ("model=gru", "model.recurrence.initialisation=orthogonal"),
    "gru chrono": ("model=gru", "cell.chrono={longest}"),
}
"""Cells with their initialisations; `longest` is the number of steps of a sequence."""
LADDERS = {
    "adding": (25, 50, 100, 200, 400),
    "copying": (10, 25, 50, 100, 200),
    "parity": (3, 4, 5, 6, 8, 12),
}
EPOCHS = {"adding": 20, "copying": 60, "parity": 40}
"""Of 100 steps each: the budget."""
RATES = {"adding": 0.005, "copying": 0.01, "parity": 0.005}
"""The learning rate of every setting."""
MORE_STEPS = {"adding": 0, "copying": 20, "parity": 0}
"""By how much sequences are longer than T."""
JobOfParent = tuple[str, list[str], TrainSettings]
"""What a parent run lists of a job: identity, words, configuration."""


@dataclass(frozen=True)
class Budget:
    """Hold how long a training may take, and how fast it goes.

    Args:
        epochs: of 100 optimizer steps each.
        rate: the learning rate.
    """

    epochs: int
    rate: float


@dataclass(frozen=True)
class Rung:
    """Hold one job.

    Args:
        data: name of the task.
        setting: key of `SETTINGS`.
        num_steps: T.
        seed: of the training.
        is_look: whether it is only looked at, before and after one step.
    """

    data: str
    setting: str
    num_steps: int
    seed: int
    is_look: bool = False

    def words(self, budget: Budget) -> list[str]:
        """Return the words of the command line that make it."""
        longest = self.num_steps + MORE_STEPS[self.data]
        name = f"{self.setting.replace(' ', '_')}-{self.data}-{self.num_steps}-s{self.seed}"
        return [
            f"study={STUDY}",
            f"data={self.data}",
            *(word.format(longest=longest) for word in SETTINGS[self.setting]),
            f"data.num_steps={self.num_steps}",
            f"seed={self.seed}",
            f"epochs={budget.epochs}",
            f"optimizer.lr={budget.rate}",
            f"name={name}{'-look' if self.is_look else ''}",
            *(["callbacks=insight", "trainer.max_steps=1"] if self.is_look else []),
        ]


# The ladder -----------------------------------------------------------------------------------------------------------------------


def climb(
    is_solved: Callable[[int, int], bool], lengths: Sequence[int], num_seeds: int = NUM_SEEDS, num_needed: int = NUM_NEEDED
) -> int | None:
    """Return the longest length that enough seeds solve, None where none is.

    Args:
        is_solved: of (length, seed); asked again it knows.
        lengths: rising.
        num_seeds: how many decide.
        num_needed: how many must solve it.
    """
    num_allowed = num_seeds - num_needed
    passed: list[int] = []
    for length in lengths:
        if not any(is_solved(length, seed) for seed in range(num_allowed + 1)):
            break
        passed.append(length)
    return next((length for length in reversed(passed) if is_solved_by_enough(is_solved, length, num_seeds, num_needed)), None)


def is_solved_by_enough(is_solved: Callable[[int, int], bool], length: int, num_seeds: int, num_needed: int) -> bool:
    """Ask seeds in order until it is decided."""
    num_solved = 0
    for number in range(num_seeds):
        num_solved += is_solved(length, number)
        num_left = num_seeds - number - 1
        if num_solved >= num_needed or num_solved + num_left < num_needed:
            break
    return num_solved >= num_needed


# Jobs -----------------------------------------------------------------------------------------------------------------------------


def ensure(rung: Rung, budget: Budget, parent: str) -> tuple[bool, JobOfParent]:
    """Train a job unless that was done; return whether it is solved (what failed is not), and what the parent lists.

    Raises:
        RuntimeError: where another process is training it.
    """
    words = rung.words(budget)
    settings = TrainSettings.of(compose_config("config", [*words, f"study.parent={parent}", f"tracking.experiment={STUDY}"]))
    check(settings)
    data = find_data(settings)
    job = identity(settings, data.hashes["source_hash"])
    client = connect(settings.tracking.uri, root())
    wanted = f"tags.identity = '{job}'"
    run = finished_run(find_runs(client, wanted))
    if run is None:
        try:
            train(settings)
        except ValueError as error:  # it diverged: tracked as failed
            print(f"{settings.run.name}: {error}", file=sys.stderr)
        made = find_runs(client, wanted)
        run = finished_run(made)
        if run is None and any(each.info.status == "RUNNING" for each in made):
            raise RuntimeError(f"{settings.run.name} is being trained by another process: when that is done, run this again")
    return run is not None and run.data.metrics["test/solved"] == 1, (job, words, settings)


def climb_one(data: str, setting: str, lengths: Sequence[int], budget: Budget, parent: str) -> tuple[int | None, list[JobOfParent]]:
    """Climb with one setting; return the longest T, and all jobs that were needed."""
    jobs: dict[Rung, tuple[bool, JobOfParent]] = {}

    def known(rung: Rung) -> bool:
        if rung not in jobs:
            jobs[rung] = ensure(rung, budget, parent)
        return jobs[rung][0]

    for seed in range(NUM_SEEDS):
        known(Rung(data, setting, LOOK_AT, seed, is_look=True))
    longest = climb(lambda length, seed: known(Rung(data, setting, length, seed)), lengths)
    return longest, [job for _, job in jobs.values()]


def open_parent(data: str, settings: Sequence[str], lengths: Sequence[int], budget: Budget) -> Parent:
    """Find the parent run of a task's jobs, or make it."""
    words = [*Rung(data, settings[0], lengths[0], 0).words(budget), f"tracking.experiment={STUDY}"]
    composed = TrainSettings.of(compose_config("config", words))
    axes = {"setting": list(settings), "data.num_steps": [str(length) for length in lengths], "seed": [str(s) for s in range(NUM_SEEDS)]}
    plan = Plan(
        STUDY,
        axes,
        [f"data={data}", f"epochs={budget.epochs}", f"optimizer.lr={budget.rate}"],
        composed.study,
        "python experiments/memory/run.py",
    )
    return Parent.open(connect(composed.tracking.uri, root()), plan, [composed], [experiment_of(composed)])


def main() -> None:
    """Climb all ladders, several at once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=LADDERS, default=list(LADDERS))
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--lengths", nargs="+", type=int, help="of one task's ladder, in place of its own")
    parser.add_argument("--epochs", type=int, help="of 100 optimizer steps, in place of a task's own budget")
    parser.add_argument("--rate", type=float, help="in place of a task's own learning rate")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    ladders = {data: given.lengths or LADDERS[data] for data in given.data}
    if given.lengths and len(given.data) > 1:
        parser.error(f"--lengths is one task's ladder, but there are {len(given.data)}: add --data {given.data[0]}, say")
    epochs = EPOCHS if given.epochs is None else dict.fromkeys(given.data, given.epochs)
    rates = RATES if given.rate is None else dict.fromkeys(given.data, given.rate)
    budgets = {data: Budget(epochs[data], rates[data]) for data in given.data}
    try:
        for data, lengths in ladders.items():
            for length in lengths:
                words = Rung(data, given.settings[0], length, 0).words(budgets[data])
                check(TrainSettings.of(compose_config("config", words)))
    except ConfigError as error:
        parser.error(str(error))
    parents = {data: open_parent(data, given.settings, lengths, budgets[data]) for data, lengths in ladders.items()}
    jobs: dict[str, list[JobOfParent]] = {data: [] for data in ladders}
    with ProcessPoolExecutor(given.processes, get_context("spawn")) as pool:
        climbs = {
            pool.submit(climb_one, data, setting, lengths, budgets[data], parents[data].run_id): (data, setting)
            for setting in given.settings
            for data, lengths in ladders.items()
        }
        for climbed in as_completed(climbs):
            data, setting = climbs[climbed]
            try:
                longest, needed = climbed.result()
            except RuntimeError as error:
                pool.shutdown(cancel_futures=True)
                sys.exit(str(error))
            jobs[data] += needed
            parents[data].plan_jobs(jobs[data])  # `summarise.py` and compare.py's status=true know them from here on
            print(f"{data} {setting}: {f'T = {longest}' if longest else 'not even the shortest'}", flush=True)
    for parent in parents.values():
        parent.close("FINISHED")


if __name__ == "__main__":
    main()
