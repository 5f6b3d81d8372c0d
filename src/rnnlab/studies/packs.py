"""Which jobs of a study are trained together (`study.packed=true`): those whose networks have one shape and read batches of one kind."""

import json
from collections.abc import Callable, Iterable, Sequence

from rnnlab.config import ConfigError, flatten
from rnnlab.contracts import DataSpec
from rnnlab.settings import TrainSettings
from rnnlab.studies.jobs import Job
from rnnlab.training.packable import refuse_unpackable, refuse_unpackable_data

MOST_TOGETHER = 10
"""More take more memory and gain no more time."""
EACH_ITS_OWN = (
    *("seed", "epochs", "warmup_fraction", "name", "optimizer.", "scheduler.", "callbacks.", "study.", "tracking.", "paths."),
    *("data.fold", "data.split_seed", "data.loader.augment.", "data.loader.is_augmented", "trainer.max_epochs", "trainer.max_steps"),
    *("trainer.gradient_clip_val", "model.loss.", "model.regularisation.", "model.head.dropout", "model.head.variational_dropout"),
    *("model.recurrence.dropout", "model.recurrence.variational_dropout"),
    *(f"{place}frontend.{key}" for place in ("", "model.") for key in ("dropout", "variational_dropout")),
)
"""Keys, and beginnings of keys, in which jobs that are trained together may differ."""


def check_packs(jobs: Sequence[Job], spec: Callable[[Job], DataSpec]) -> None:
    """Refuse jobs that cannot be packed; `spec` says of a job what its data are.

    Raises:
        ConfigError: names what cannot be packed, or what no two jobs have in common.
    """
    for job in jobs:
        refuse_unpackable(job.settings)
        refuse_unpackable_data(spec(job))
    if len(jobs) == 1:
        raise ConfigError(
            "study.packed=true trains several jobs of a sweep together, and this sweep has one: add values (seed=0,1,2,3,4), "
            "or leave it out"
        )
    if len(grouped(jobs)) == len(jobs):
        shapes = [_shape(job.settings) for job in jobs]
        differing = sorted({key for shape in shapes for key in shape if any(other.get(key) != shape[key] for other in shapes)})
        raise ConfigError(
            f"study.packed=true: no two of these jobs can be trained together, since all differ in {', '.join(differing)}. Add seeds "
            "to each (seed=0,1,2,3,4), or leave study.packed out"
        )


def grouped(jobs: Iterable[Job]) -> list[list[Job]]:
    """Return the jobs in groups that can be trained together, in the order of their first."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(json.dumps(_shape(job.settings), sort_keys=True, default=str), []).append(job)
    return list(groups.values())


def packs_of(jobs: Sequence[Job], num_at_once: int) -> list[list[Job]]:
    """Return the jobs in packs, one a process: each group evenly divided among the processes that run at once."""
    packs = []
    for group in grouped(jobs):
        num_packs = max(min(num_at_once, len(group)), -(-len(group) // MOST_TOGETHER))
        packs += [group[place::num_packs] for place in range(num_packs)]
    return packs


def _shape(settings: TrainSettings) -> dict[str, object]:
    """Return the keys in which jobs that are trained together agree."""
    known = flatten(settings.values())
    unused = tuple(f"{key}." for key in settings.unused_keys())
    return {key: value for key, value in known.items() if not key.startswith((*EACH_ITS_OWN, *unused))}
