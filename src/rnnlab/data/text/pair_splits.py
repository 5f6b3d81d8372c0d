"""How pairs are split: which of them share a sentence, so that none is in two splits, and which are further references of others."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from rnnlab.data.splits import Folding, in_folds

PairSplit = Literal["auto", "official", "random", "kfold"]
Rows = dict[Literal["train", "val", "test"], np.ndarray]
REPEATED = "training sources also in validation or test"


def group_pairs(sources: Sequence[str], targets: Sequence[str]) -> np.ndarray:
    """Number pairs so that those with a sentence in common, on either side and whatever its case, have one number.

    Returns:
        (N,) int64, the row of the first pair of each one's group.
    """
    parents = list(range(len(sources)))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    for side in (sources, targets):
        first: dict[str, int] = {}
        for row, text in enumerate(side):
            one, other = root(row), root(first.setdefault(text.casefold(), row))
            parents[max(one, other)] = min(one, other)
    return np.array([root(row) for row in range(len(parents))], dtype=np.int64)


def with_groups(table: pd.DataFrame) -> pd.DataFrame:
    """Name for each pair the first one that it shares a sentence with, directly or through others."""
    first = group_pairs(table["source"].tolist(), table["target"].tolist())
    return table.assign(group=table["id"].to_numpy(object)[first].astype(str))


def split_pairs(examples: pd.DataFrame, kind: PairSplit, folding: Folding, val_fraction: float) -> tuple[Rows, str]:
    """Assign every pair to a split.

    Where the split is random or in folds, pairs that share a sentence stay together, and validation and test hold each source sentence
    once: its further translations are references.
    """
    given = examples["split"].to_numpy(str)
    if kind == "kfold":
        return _in_folds(examples, folding)
    if kind == "random" or (kind == "auto" and not np.isin(given, ("val", "test")).any()):
        return _random(examples, folding.split_seed, val_fraction)
    rows: Rows = {"train": np.flatnonzero((given == "train") | (given == "")), "val": np.flatnonzero(given == "val"),
                  "test": np.flatnonzero(given == "test")}  # fmt: skip
    if not len(rows["test"]):
        raise ValueError(
            f"data.split={kind}, but the source names no test pairs: add them (test.*, or `test` in the column of splits), or use "
            "data.split=random"
        )
    if len(rows["val"]):
        return rows, "official (train, val and test as given)"
    train = rows["train"]
    is_val = _whole_groups(examples["group"].to_numpy(str)[train], val_fraction * len(train), folding.split_seed)
    return rows | {"train": train[~is_val], "val": train[is_val]}, "official test; validation carved from training, no sentence in both"


def _random(examples: pd.DataFrame, split_seed: int, val_fraction: float) -> tuple[Rows, str]:
    groups = examples["group"].to_numpy(str)
    num_wanted = val_fraction * len(groups)
    is_test = _whole_groups(groups, num_wanted, split_seed)
    rest = np.flatnonzero(~is_test)
    is_val = _whole_groups(groups[rest], num_wanted, split_seed + 1)
    is_kept = is_first(examples)
    val, test = (rows[is_kept[rows]] for rows in (rest[is_val], np.flatnonzero(is_test)))
    words = f"at random (split_seed {split_seed}), no sentence in two splits; further translations in val and test are references"
    return {"train": rest[~is_val], "val": val, "test": test}, words


def _in_folds(examples: pd.DataFrame, folding: Folding) -> tuple[Rows, str]:
    rows, words = in_folds(examples[["group"]].assign(label="", group=examples["group"].astype(str)), folding, "group")
    is_kept = is_first(examples)
    words = words.replace("by whole groups", "with no sentence in two of them")
    return {split: found if split == "train" else found[is_kept[found]] for split, found in rows.items()}, words


def is_first(examples: pd.DataFrame) -> np.ndarray:
    """Mark the first pair of each source sentence."""
    return ~examples["source"].str.casefold().duplicated().to_numpy(bool)


def _whole_groups(groups: np.ndarray, num_wanted: float, seed: int) -> np.ndarray:
    """Mark whole groups at random until so many pairs are marked; one group at least, never all."""
    names, places, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise ValueError(
            f"{len(groups)} pair(s) are too few to split at random: no sentence may be in two splits. Give more pairs, or say the "
            "splits (train.*, val.*, test.*, or a column `split`)"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    num_groups = int(np.searchsorted(np.cumsum(counts[order]), num_wanted)) + 1
    is_chosen = np.zeros(len(names), dtype=bool)
    is_chosen[order[: min(num_groups, len(names) - 1)]] = True
    return is_chosen[places]


def further_targets(examples: pd.DataFrame, rows: Rows) -> dict[int, list[str]]:
    """Find for rows of validation and test the targets of those pairs that are in no split and have the same source."""
    is_free = np.ones(len(examples), dtype=bool)
    is_free[np.concatenate(list(rows.values()))] = False
    sources = examples["source"].str.casefold().to_numpy(object)
    of_source: dict[str, list[str]] = {}
    for row in np.flatnonzero(is_free):
        of_source.setdefault(sources[row], []).append(examples["target"].iloc[row])
    later = np.concatenate([rows["val"], rows["test"]])
    return {int(row): of_source[sources[row]] for row in later if sources[row] in of_source}


def without_repeated(examples: pd.DataFrame, rows: Rows) -> tuple[np.ndarray, dict[str, int]]:
    """Return the training rows whose source is neither in validation nor in test, and count what is in two splits."""
    sources, targets = (examples[name].str.casefold().to_numpy(object) for name in ("source", "target"))
    later = np.concatenate([rows["val"], rows["test"]])
    seen, written, tested = set(sources[later]), set(targets[later]), set(sources[rows["test"]])
    is_repeated = np.array([source in seen for source in sources[rows["train"]]], dtype=bool)
    return rows["train"][~is_repeated], {
        REPEATED: int(is_repeated.sum()),
        "training targets also in validation or test": sum(target in written for target in targets[rows["train"]]),
        "validation sources also in test": sum(source in tested for source in sources[rows["val"]]),
    }
