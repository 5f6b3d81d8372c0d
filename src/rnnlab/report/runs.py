"""From tracked runs to groups: which runs may be compared, what varies between them, what their test predictions give."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rnnlab.report.comparison import Group, RunResult
from rnnlab.report.per_unit import rights, unit_sums
from rnnlab.tasks import Metric
from rnnlab.tracking.parents import REPEATED
from rnnlab.tracking.results import read_predictions, refuse_changed_results
from rnnlab.tracking.store import Client, Run, metric_history

FIRST = ("model", "baseline.kind", "cell", "decoder_cell", "data", "frontend", "optimizer", "scheduler", "budget")
"""Parameters that name what varies, before those that follow from them."""
COPIES = ("model.cell.", "model.frontend.", "model.decoder_cell.")
"""Parameters that older runs have twice."""
CURVES = ("train/loss", "val/loss")


def metric_of(runs: Sequence[Run], asked: str | None) -> Metric:
    """Return what finished runs are compared by: the metric that is asked for, or else the task's own.

    Raises:
        ValueError: where runs have different ones, or lack what was asked.
    """
    found = {(run.data.tags.get("metric", ""), run.data.tags.get("metric_direction", "min")) for run in runs}
    if asked is None and len(found) > 1:
        listed = "; ".join(f"{name or 'none'}: {_named(runs, 'metric', name)}" for name, _ in sorted(found))
        raise ValueError(f"these runs are not measured by one metric ({listed}): choose runs of one task, or metric=NAME")
    name, direction = next(iter(found))
    metric = Metric.named(asked or name)
    if metric.name == name and not metric.is_fraction:
        metric = Metric(name, "max" if direction == "max" else "min", runs[0].data.tags.get("target_unit", ""))
    lacking = [str(run.info.run_name) for run in runs if f"test/{metric.name}" not in run.data.metrics]
    if lacking:
        known = sorted({key.removeprefix("test/") for key in runs[0].data.metrics if key.startswith("test/")})
        raise ValueError(f"metric={metric.name}: not measured in {', '.join(lacking[:3])}; measured there: {', '.join(known)}")
    return metric


def refuse_mixtures(runs: Sequence[Run]) -> None:
    """Refuse runs that answer different questions: other data, another number of test examples, other test examples in one fold.

    Raises:
        ValueError: says what would have been mixed, by name.
    """
    if len({run.data.tags.get("source_hash") for run in runs}) > 1:
        raise ValueError(f"these runs are of different data, which must not be mixed: {_partition(runs, 'source_hash')}")
    by_fold: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_fold[fold_of(run)].append(run)
    for fold, of_fold in by_fold.items():
        where = f" of fold {fold}" if fold else ""
        if len({run.data.tags.get("test_hash") for run in of_fold}) > 1:
            raise ValueError(f"the test examples{where} are not the same in all runs: {_partition(of_fold, 'test_hash')}")
        if len({run.data.metrics.get("test/num_examples") for run in of_fold}) > 1:
            counts = {f"{run.data.metrics.get('test/num_examples', 0):.0f} in {run.info.run_name}" for run in of_fold}
            raise ValueError(f"not all runs{where} were measured on all test examples: {', '.join(sorted(counts)[:6])}")


def _partition(runs: Sequence[Run], tag: str) -> str:
    values = sorted({run.data.tags.get(tag, "none") for run in runs})
    return "; ".join(f"{tag} {value[:12]}: {_named(runs, tag, value)}" for value in values)


def _named(runs: Sequence[Run], tag: str, value: str) -> str:
    names = [str(run.info.run_name) for run in runs if run.data.tags.get(tag, "none") == value]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def fold_of(run: Run) -> str:
    """Return which part was test ("" where the data are split once), of parts drawn with another seed than 0 behind that seed."""
    parameters = run.data.params
    split = parameters.get("data.split")
    has_folds = split in ("speaker", "kfold") if split is not None else int(parameters.get("data.num_folds", "1")) > 1
    fold, seed = parameters.get("data.fold", "") if has_folds else "", parameters.get("data.split_seed", "0")
    return f"{seed}/{fold}" if split == "kfold" and seed != "0" else fold


def num_folds_of(run: Run) -> int:
    """Return into how many parts the data of a run were divided by `kfold` (0: they were not)."""
    parameters = run.data.params
    return int(parameters.get("data.num_folds", "0")) if parameters.get("data.split") == "kfold" else 0


def seed_of(run: Run) -> int:
    """Return the seed of a run's training."""
    return int(run.data.params.get("seed", "0"))


def varying(runs: Sequence[Run]) -> list[str]:
    """Return the parameters by which runs differ, seeds and folds aside, without those that follow from others.

    A parameter that is the same wherever those before it are the same says nothing new (the hidden size that meets a budget follows
    from the model).
    """
    keys = {
        key
        for run in runs
        for key in run.data.params
        if not key.endswith("_target_") and not key.startswith(COPIES) and key not in REPEATED
    }
    differing = [key for key in keys if len({run.data.params.get(key) for run in runs}) > 1]
    rank = {key: number for number, key in enumerate(FIRST)}
    chosen: list[str] = []
    for key in sorted(differing, key=lambda key: (rank.get(key, len(rank)), key.count("."), key)):
        values: dict[tuple[str | None, ...], set[str | None]] = defaultdict(set)
        for run in runs:
            values[tuple(run.data.params.get(other) for other in chosen)].add(run.data.params.get(key))
        if any(len(found) > 1 for found in values.values()):
            chosen.append(key)
    return chosen


def settings_of(run: Run, keys: Iterable[str]) -> dict[str, str]:
    """Return what a run has of some parameters, what a baseline is called, and by which setting of a search it was made."""
    more = {"setting": run.data.tags["setting"]} if "setting" in run.data.tags else {}
    more |= {"baseline.kind": run.data.tags["baseline"]} if is_baseline(run) else {}
    return {key: run.data.params[key] for key in keys if key in run.data.params} | more


def group_name(settings: Mapping[str, str]) -> str:
    """Name a group by what varies: models and baselines bare, other parameters by the last word of their key.

    Where a search made the setting, its name stands for what it chose.
    """
    is_searched = "setting" in settings
    shown = {key: value for key, value in settings.items() if not is_searched or key in FIRST}
    method = shown.pop("baseline.kind", None)
    model = shown.pop("model", None)
    rest = [f"{key.rpartition('.')[2]}={value}" for key, value in shown.items()]
    return " ".join([*filter(None, [method or model]), *rest, *([settings["setting"]] if is_searched else [])]) or "all"


def read_groups(client: Client, runs: Sequence[Run], metric: Metric, ui: str, into: Path) -> list[Group]:
    """Return runs by group, with their curves and their test predictions by unit.

    Raises:
        ValueError: where a run's predictions are missing.
    """
    keys = varying(runs)
    groups: dict[str, list[Run]] = defaultdict(list)
    settings: dict[str, dict[str, str]] = {}
    for run in sorted(runs, key=lambda run: (fold_of(run), seed_of(run))):
        found = settings_of(run, keys)
        name = group_name(found)
        groups[name].append(run)
        settings[name] = found
    return [
        Group(name, settings[name], [read_run(client, run, metric, ui, into) for run in of_group], is_baseline(of_group[0]))
        for name, of_group in groups.items()
    ]


def is_baseline(run: Run) -> bool:
    """Say whether a run is a baseline."""
    return run.data.params.get("model") == "baseline"


def read_run(client: Client, run: Run, metric: Metric, ui: str, into: Path) -> RunResult:
    """Return one run with what its predictions give.

    Raises:
        TrackingError: where its predictions are missing, or they or its numbers are not as the run wrote them.
    """
    refuse_changed_results(run)
    table = read_predictions(client, run, "test", into)
    language = run.data.params.get("data.target_language", "")
    try:
        sums, right = unit_sums(table, metric.name, language), rights(table, metric.name, language)
    except ValueError:  # cannot be taken apart by speaker, document or date: the verdicts say so
        sums, right = None, {}
    names = (*CURVES, f"val/{metric.name}")
    address = client.tracking_uri if client.tracking_uri.startswith("http") else ui
    return RunResult(
        run_id=run.info.run_id,
        name=str(run.info.run_name),
        seed=seed_of(run),
        fold=fold_of(run),
        metrics={key: value for key, value in run.data.metrics.items() if math.isfinite(value)},
        curves={name: curve for name in names if (curve := metric_history(client, run.info.run_id, name))},
        sums=sums,
        rights=right,
        num_folds=num_folds_of(run),
        url=f"{address}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}",
    )
