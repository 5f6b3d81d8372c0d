"""Which example trains, which chooses, which tests; decided by `split_seed`, never by the run's seed.

official   as the source says (a `split` column). Where it gives no validation examples they are carved from training, the way test
           is to training: by whole groups where test groups don't occur in training, else by example within each label
speaker    leave one speaker out: speaker `fold` is test, the next one validation, the others train
grouped    whole groups at random, about `val_fraction` each for validation and test
random     examples at random within each label
kfold      in `num_folds` parts of like size and like labels, whole groups and equal examples together: part `fold` is test, the next one
           validation, the others train; another `split_seed` divides anew
auto       official where the source says, else grouped where at least three groups are known, else random
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

SplitKind = Literal["auto", "official", "speaker", "grouped", "random", "kfold"]
Rows = dict[Literal["train", "val", "test"], np.ndarray]
SPLIT_WORDS = {
    **{"train": "train", "val": "val", "valid": "val", "dev": "val", "validation": "val", "test": "test"},
    **{"training": "train", "testing": "test"},
}
"""What a user's table or folder may call a split, and which it is."""
DEFAULT_FOLDS = 5
SPLIT_COLUMNS = ("split", "subset", "fold", "partition")
"""Usual names of a table's column of splits."""


@dataclass(frozen=True)
class Folding:
    """How `kfold` divides: part `fold` of `num_folds` is test; `split_seed` decides which examples make a part."""

    fold: int
    num_folds: int
    split_seed: int


def assign_splits(examples: pd.DataFrame, kind: SplitKind, folding: Folding, val_fraction: float, group_column: str) -> tuple[Rows, str]:
    """Assign every example to a split.

    Args:
        examples: with the columns id, label, split ("" where not given), the group column ("" where unknown), and perhaps content: equal
            examples have the same there.
        kind: see above; `speaker` is leave-one-group-out.
        folding: its `fold` says which part, or with `speaker` which group, is tested; its `split_seed` decides random choices.
        val_fraction: fraction carved off.
        group_column: the unit that may leak.

    Returns:
        Sorted row numbers per split, and in words what was done.

    Raises:
        ValueError: where the examples don't allow it; says what would.
    """
    fold, split_seed = folding.fold, folding.split_seed
    groups = examples[group_column].to_numpy(str)
    given = examples["split"].to_numpy(str)
    if kind == "auto" and (given == "val").any() and not (given == "test").any():
        raise ValueError(
            "the source names validation examples but no test examples: add test rows to its `split` column, or choose data.split"
        )
    if kind == "auto":
        kind = "official" if (given == "test").any() else "grouped" if _num_known(groups) >= 3 else "random"
    if kind == "official":
        rows, words = _official(examples, groups, given, split_seed, val_fraction, group_column)
    elif kind == "speaker":
        rows, words = _leave_one_out(_all_known(groups, kind, group_column), groups, fold, group_column)
    elif kind == "grouped":
        _all_known(groups, kind, group_column)
        rows, words = _grouped(groups, split_seed, val_fraction, group_column)
    elif kind == "random":
        rows, words = _random(examples["label"].to_numpy(str), split_seed, val_fraction, group_column)
    elif kind == "kfold":
        rows, words = in_folds(examples, folding, group_column)
    else:
        raise ValueError(f"data.split={kind!r} is not one of auto, official, speaker, grouped, random, kfold")
    refuse_unseen_labels(examples, rows)
    return rows, words


def _official(
    examples: pd.DataFrame, groups: np.ndarray, given: np.ndarray, split_seed: int, val_fraction: float, group_column: str
) -> tuple[Rows, str]:
    if not (given == "test").any():
        raise ValueError(
            "data.split=official, but the source names no test examples: add a `split` column to its manifest, or use "
            "data.split=speaker, grouped or random"
        )
    train, val, test = (np.flatnonzero(given == name) for name in ("train", "val", "test"))
    train = np.sort(np.concatenate([train, np.flatnonzero(given == "")]))
    if len(val):
        return {"train": train, "val": val, "test": test}, "official (train, val and test as given)"
    known = _num_known(groups[train])
    is_by_group = known >= 2 and not set(groups[test]) & set(groups[train])
    chosen = (
        _some_groups(groups[train], val_fraction, split_seed)
        if is_by_group
        else _stratified(_strata(examples.iloc[train], groups[train]), val_fraction, split_seed)
    )
    words = f"official test; validation carved from training {f'by whole {group_column}s' if is_by_group else 'within each label'}"
    return {"train": train[~chosen], "val": train[chosen], "test": test}, words


def _all_known(groups: np.ndarray, kind: str, group_column: str) -> list[str]:
    """Return the groups' names; refuse too few, and examples of unknown group, which might leak from training into test."""
    names = sorted(set(groups) - {""})
    if len(names) < 3:
        raise ValueError(
            f"data.split={kind} needs at least 3 {group_column}s (test, validation, training); the source names {len(names)}: "
            f"add a `{group_column}` column to its manifest, or use data.split=random"
        )
    if num_unknown := int((groups == "").sum()):
        raise ValueError(
            f"data.split={kind} needs the {group_column} of every example; {num_unknown} of {len(groups)} have none: "
            "name them in the manifest, or use data.split=random"
        )
    return names


def _leave_one_out(names: list[str], groups: np.ndarray, fold: int, group_column: str) -> tuple[Rows, str]:
    if fold >= len(names):
        raise ValueError(f"data.fold={fold}: there are {len(names)} {group_column}s, so folds are 0 to {len(names) - 1}")
    test, val = names[fold], names[(fold + 1) % len(names)]
    rows: Rows = {
        "train": np.flatnonzero((groups != test) & (groups != val)),
        "val": np.flatnonzero(groups == val),
        "test": np.flatnonzero(groups == test),
    }
    return rows, f"leave one {group_column} out: fold {fold} of {len(names)}, test {test}, validation {val}"


def _grouped(groups: np.ndarray, split_seed: int, val_fraction: float, group_column: str) -> tuple[Rows, str]:
    is_test = _some_groups(groups, val_fraction, split_seed)
    rest = np.flatnonzero(~is_test)
    is_val = _some_groups(groups[rest], val_fraction, split_seed + 1)
    rows: Rows = {"train": rest[~is_val], "val": rest[is_val], "test": np.flatnonzero(is_test)}
    return rows, f"whole {group_column}s at random (split_seed {split_seed})"


def _random(labels: np.ndarray, split_seed: int, val_fraction: float, group_column: str) -> tuple[Rows, str]:
    names, counts = np.unique(labels, return_counts=True)
    if (few := names[counts < 3]).size:
        raise ValueError(
            f"label {str(few[0])!r} has {counts[names == few[0]][0]} example(s); a random split needs at least 3 of each label, one each "
            f"for training, validation and test ({few.size} such label(s)): add examples, remove the label, or give a `split` column"
        )
    is_test = _stratified(labels, val_fraction, split_seed)
    rest = np.flatnonzero(~is_test)
    is_val = _stratified(labels[rest], val_fraction, split_seed + 1)
    rows: Rows = {"train": rest[~is_val], "val": rest[is_val], "test": np.flatnonzero(is_test)}
    return (
        rows,
        f"at random within each label (split_seed {split_seed}); {group_column}s are unknown and may be in several splits",
    )


def in_folds(examples: pd.DataFrame, folding: Folding, group_column: str) -> tuple[Rows, str]:
    """Divide into `num_folds` parts: part `fold` is test, the next one validation; see `assign_splits`.

    Raises:
        ValueError: where there is no such fold, or too few examples or groups of a label for so many.
    """
    fold, num_folds = folding.fold, folding.num_folds
    if num_folds < 3:
        raise ValueError(f"data.num_folds={num_folds}: at least 3 are needed, one each for test, validation and training")
    if fold >= num_folds:
        raise ValueError(f"data.fold={fold}: data.num_folds={num_folds}, so folds are 0 to {num_folds - 1}")
    labels, groups = examples["label"].to_numpy(str), examples[group_column].to_numpy(str)
    names, counts = np.unique(labels, return_counts=True)
    if (counts < num_folds).any():
        few = int(counts.argmin())
        what = f"label {str(names[few])!r} has {counts[few]} example(s)" if len(names) > 1 else f"there are {counts[few]} example(s)"
        cure = f"set data.num_folds={counts[few]}, " if counts[few] >= 3 else ""
        raise ValueError(f"{what}, fewer than data.num_folds={num_folds}: {cure}add examples, or remove the label")
    units = _units_of(groups, examples["content"].to_numpy(str) if "content" in examples else None)
    if (num_units := int(units.max()) + 1) < num_folds:
        raise ValueError(
            f"there are {num_units} {group_column}s, fewer than data.num_folds={num_folds}: set it to {max(3, num_units)} or less"
        )
    parts = _dealt(units, np.unique(labels, return_inverse=True)[1], num_folds, folding.split_seed)
    val = (fold + 1) % num_folds
    rows: Rows = {
        "train": np.flatnonzero((parts != fold) & (parts != val)),
        "val": np.flatnonzero(parts == val),
        "test": np.flatnonzero(parts == fold),
    }
    how = f"by whole {group_column}s" if (groups != "").any() else "within each label" if len(names) > 1 else "at random"
    return rows, f"fold {fold} of {num_folds} is test, fold {val} validation; divided {how} (split_seed {folding.split_seed})"


def _units_of(groups: np.ndarray, contents: np.ndarray | None) -> np.ndarray:
    """Number what must stay together, (N,): examples of one group, and equal ones, and so on where these overlap."""
    alone = np.array([f"\x1f{row}" for row in range(len(groups))])
    keys = [groups] if contents is None else [groups, contents]
    numbered = [np.unique(np.where(key == "", alone, key), return_inverse=True)[1] for key in keys]
    units = np.arange(len(groups))
    while True:
        before = units
        for inverse in numbered:
            least = np.full(inverse.max() + 1, len(groups))
            np.minimum.at(least, inverse, units)
            units = least[inverse]
        if np.array_equal(units, before):
            return np.unique(units, return_inverse=True)[1]


def _dealt(units: np.ndarray, labels: np.ndarray, num_folds: int, split_seed: int) -> np.ndarray:
    """Deal units to folds, the largest first, each to the fold that has fewest of its labels, of several the smallest; (N,) folds."""
    num_units, num_labels = int(units.max()) + 1, int(labels.max()) + 1
    order = np.argsort(units, kind="stable")
    of_unit = np.split(order, np.cumsum(np.bincount(units, minlength=num_units))[:-1])
    shuffled = np.random.default_rng(split_seed).permutation(num_units)
    totals = np.bincount(labels, minlength=num_labels).astype(float)
    counts, sizes, parts = np.zeros((num_folds, num_labels)), np.zeros(num_folds), np.zeros(len(units), dtype=np.int64)
    for unit in sorted(shuffled.tolist(), key=lambda number: -len(of_unit[number])):
        rows = of_unit[unit]
        found, times = np.unique(labels[rows], return_counts=True)
        crowded = counts[:, found] @ (times / totals[found] ** 2)
        fold = int(np.lexsort((sizes, crowded))[0])
        counts[fold, found] += times
        sizes[fold] += len(rows)
        parts[rows] = fold
    return parts


def _strata(examples: pd.DataFrame, groups: np.ndarray) -> np.ndarray:
    """Label and group where each such cell has enough to carve from, else the label."""
    cells = examples["label"].to_numpy(str) + np.array("\x1f") + groups
    _, inverse, counts = np.unique(cells, return_inverse=True, return_counts=True)
    return cells if counts[inverse].min() >= 5 else examples["label"].to_numpy(str)


def _stratified(strata: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Mark about `fraction` of each stratum, at least one where it has two or more, never all of it."""
    chosen = np.zeros(len(strata), dtype=bool)
    generator = np.random.default_rng(seed)
    for name in np.unique(strata):
        places = generator.permutation(np.flatnonzero(strata == name))
        count = min(max(1, round(fraction * len(places))), len(places) - 1)
        chosen[places[:count]] = True
    return chosen


def _some_groups(groups: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Mark whole groups at random until about `fraction` of the examples is marked, never all of them."""
    names = np.random.default_rng(seed).permutation(sorted(set(groups)))
    marked = np.zeros(len(groups), dtype=bool)
    for name in names[:-1]:
        if marked.any() and marked.sum() >= fraction * len(groups):
            break
        marked |= groups == name
    return marked


def _num_known(groups: np.ndarray) -> int:
    return len(set(groups) - {""}) if "" not in groups else 0


def refuse_unseen_labels(examples: pd.DataFrame, rows: Rows) -> None:
    """Raise ValueError where a label is validated or tested that was never trained."""
    trained = set(examples["label"].iloc[rows["train"]])
    for split in ("val", "test"):
        part = examples.iloc[rows[split]]
        if unseen := sorted(set(part["label"]) - trained):
            where = part[part["label"] == unseen[0]]["id"]
            raise ValueError(
                f"label {unseen[0]!r} occurs in the {split} split ({len(where)} times, first {where.iloc[0]}) but never in training: "
                "move some of it to training, or remove it"
            )
