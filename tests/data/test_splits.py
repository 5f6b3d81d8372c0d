"""Claims about which example trains, which chooses and which tests."""

from collections import Counter
from collections.abc import Iterable
from itertools import product

import numpy as np
import pandas as pd
import pytest

from rnnlab.data.splits import Folding, Rows, SplitKind, assign_splits

SPEAKERS = ("ann", "bo", "cy", "di", "eve", "flo")


def table(rows: Iterable[tuple[str, str, str]]) -> pd.DataFrame:
    """Make a table from (label, speaker, split), one recording a row."""
    examples = pd.DataFrame(rows, columns=["label", "speaker", "split"])
    return examples.assign(id=[f"recording {number}" for number in range(len(examples))])


def digits(num_each: int = 13, num_test: int = 0, speakers: tuple[str, ...] = SPEAKERS) -> pd.DataFrame:
    """Three labels said by every speaker, the first ones of each as test."""
    cells = product("012", speakers, range(num_each))
    return table((label, who, "test" if index < num_test else "train" if num_test else "") for label, who, index in cells)


def assign(examples: pd.DataFrame, kind: SplitKind, fold: int = 0, split_seed: int = 0, val_fraction: float = 0.1) -> tuple[Rows, str]:
    rows, words = assign_splits(examples, kind, Folding(fold, 5, split_seed), val_fraction, "speaker")
    together = np.sort(np.concatenate(list(rows.values())))
    assert together.tolist() == list(range(len(examples)))  # every recording once: disjoint, none lost
    assert all((np.diff(part) > 0).all() for part in rows.values())
    return rows, words


def speakers_of(examples: pd.DataFrame, rows: Rows) -> dict[str, set[str]]:
    return {split: set(examples["speaker"].iloc[part]) for split, part in rows.items()}


def cells_of(examples: pd.DataFrame, part: np.ndarray) -> Counter[tuple[str, str]]:
    return Counter(zip(examples["label"].iloc[part], examples["speaker"].iloc[part], strict=True))


def same(one: Rows, other: Rows) -> bool:
    return all(np.array_equal(one[split], other[split]) for split in one)


# official


def test_given_splits_are_taken_as_given_and_an_empty_one_means_training() -> None:
    examples = table([("0", "", "train"), ("0", "", "test"), ("0", "", ""), ("0", "", "val"), ("0", "", "train")])
    rows, words = assign(examples, "official")
    assert {split: part.tolist() for split, part in rows.items()} == {"train": [0, 2, 4], "val": [3], "test": [1]}
    assert words == "official (train, val and test as given)"


def test_validation_is_carved_by_label_and_speaker_where_test_speakers_also_train() -> None:
    examples = digits(num_each=13, num_test=5)
    rows, words = assign(examples, "official", val_fraction=0.25)
    assert rows["test"].tolist() == examples.index[examples["split"] == "test"].tolist()
    assert cells_of(examples, rows["val"]) == dict.fromkeys(product("012", SPEAKERS), 2)  # round(0.25 * 8)
    assert words == "official test; validation carved from training within each label"


def test_validation_is_carved_by_label_alone_where_a_label_and_speaker_have_fewer_than_five() -> None:
    examples = digits(num_each=6, num_test=2)
    rows, _ = assign(examples, "official", val_fraction=0.25)
    assert Counter(examples["label"].iloc[rows["val"]]) == {"0": 6, "1": 6, "2": 6}  # round(0.25 * 4 * 6)


def test_a_label_and_speaker_are_not_confused_with_others_that_read_the_same_when_joined() -> None:
    cells = [("1", "1a"), ("11", "a")]
    examples = table((label, who, split) for label, who in cells for split in ["train"] * 5 + ["test"])
    rows, _ = assign(examples, "official")
    assert cells_of(examples, rows["val"]) == dict.fromkeys(cells, 1)


def test_validation_is_carved_by_whole_speakers_where_test_speakers_never_train() -> None:
    examples = digits(num_each=3)
    examples["split"] = np.where(examples["speaker"].isin(["ann", "bo"]), "test", "train")
    rows, words = assign(examples, "official", val_fraction=0.3)
    by_split = speakers_of(examples, rows)
    assert by_split["test"] == {"ann", "bo"} and not by_split["val"] & by_split["train"]
    assert len(by_split["val"]) == 2  # the first number of speakers out of four to reach 0.3
    assert words == "official test; validation carved from training by whole speakers"


def test_one_training_speaker_is_not_taken_away_whole() -> None:
    examples = digits(num_each=7, speakers=("ann", "bo"))
    examples["split"] = np.where(examples["speaker"] == "ann", "test", "train")
    rows, words = assign(examples, "official")
    assert Counter(examples["label"].iloc[rows["val"]]) == {"0": 1, "1": 1, "2": 1}
    assert words.endswith("within each label")


def test_an_official_split_that_the_source_does_not_give_is_refused() -> None:
    claim = r"^data.split=official, but the source names no test examples: add a `split` column to its manifest, or use data.split=speaker"
    with pytest.raises(ValueError, match=claim):
        assign(digits(), "official")


# speaker


def test_leaving_one_speaker_out_tests_every_recording_once_over_all_folds() -> None:
    examples = digits(num_each=2)
    tested = []
    for fold, name in enumerate(SPEAKERS):
        rows, words = assign(examples, "speaker", fold)
        by_split = speakers_of(examples, rows)
        following = SPEAKERS[(fold + 1) % 6]
        assert by_split == {"test": {name}, "val": {following}, "train": set(SPEAKERS) - {name, following}}
        assert words == f"leave one speaker out: fold {fold} of 6, test {name}, validation {following}"
        tested += rows["test"].tolist()
    assert sorted(tested) == list(range(len(examples)))


def test_a_fold_beyond_the_speakers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^data.fold=6: there are 6 speakers, so folds are 0 to 5$"):
        assign(digits(), "speaker", fold=6)


@pytest.mark.parametrize("kind", ["speaker", "grouped"])
def test_too_few_speakers_for_a_split_by_speaker_are_counted(kind: SplitKind) -> None:
    claim = rf"^data.split={kind} needs at least 3 speakers \(test, validation, training\); the source names 2: add a `speaker` column"
    with pytest.raises(ValueError, match=claim + r" to its manifest, or use data.split=random$"):
        assign(digits(speakers=("ann", "bo", "")), kind)


@pytest.mark.parametrize("kind", ["speaker", "grouped"])
def test_recordings_of_unknown_speaker_might_leak_and_are_counted(kind: SplitKind) -> None:
    claim = (
        rf"^data.split={kind} needs the speaker of every example; 6 of 30 have none: name them in the manifest, or use data.split=random$"
    )
    with pytest.raises(ValueError, match=claim):
        assign(digits(num_each=2, speakers=("ann", "bo", "cy", "di", "")), kind)


# grouped and random


@pytest.mark.parametrize("split_seed", range(5))
def test_grouped_splits_share_no_speaker(split_seed: int) -> None:
    examples = digits(num_each=2)
    rows, words = assign(examples, "grouped", split_seed=split_seed)
    by_split = speakers_of(examples, rows)
    assert [len(by_split[split]) for split in ("train", "val", "test")] == [4, 1, 1]  # 0.1 of six speakers needs one
    assert not by_split["test"] & by_split["val"] and not (by_split["test"] | by_split["val"]) & by_split["train"]
    assert words == f"whole speakers at random (split_seed {split_seed})"


def test_random_splits_take_the_same_share_of_each_label() -> None:
    examples = table((label, "", "") for label, count in (("yes", 40), ("no", 20), ("hm", 3)) for _ in range(count))
    rows, words = assign(examples, "random", val_fraction=0.2)
    shares = {split: dict(Counter(examples["label"].iloc[part])) for split, part in rows.items()}
    assert shares["test"] == {"yes": 8, "no": 4, "hm": 1}
    assert shares["val"] == {"yes": 6, "no": 3, "hm": 1}  # of the 32, 16 and 2 that are left
    assert words == "at random within each label (split_seed 0); speakers are unknown and may be in several splits"


@pytest.mark.parametrize("kind", ["random", "grouped"])
def test_the_split_seed_decides_random_splits(kind: SplitKind) -> None:
    examples = digits()
    first = assign(examples, kind)[0]
    assert same(first, assign(examples, kind)[0])
    assert not all(same(first, assign(examples, kind, split_seed=split_seed)[0]) for split_seed in range(1, 6))


def test_however_large_a_share_validation_and_test_take_every_label_keeps_one_for_training() -> None:
    examples = table((label, "", "") for label in ("yes", "no") for _ in range(12))
    rows, _ = assign(examples, "random", val_fraction=0.5)
    assert Counter(examples["label"].iloc[rows["train"]]) == {"yes": 3, "no": 3}
    rows = assign_splits(examples, "random", Folding(0, 5, 0), 0.99, "speaker")[0]
    assert Counter(examples["label"].iloc[rows["train"]]) == {"yes": 1, "no": 1}


def test_a_label_with_one_recording_cannot_be_split_at_random() -> None:
    examples = table([("yes", "", "")] * 5 + [("no", "", "")] * 2 + [("hm", "", "")])
    claim = r"^label 'hm' has 1 example\(s\); a random split needs at least 3 of each label, .*\(2 such label\(s\)\): add examples, remove"
    with pytest.raises(ValueError, match=claim):
        assign(examples, "random")


# auto, and what no split may do


@pytest.mark.parametrize(
    ("examples", "words"),
    [
        (digits(num_test=5), "official test"),
        (digits(num_each=2), "whole speakers at random"),
        (digits(speakers=("ann", "bo")), "at random within each label"),
        (digits(speakers=("ann", "bo", "cy", "")), "at random within each label"),
    ],
    ids=["a split is given", "speakers are known", "two speakers", "a speaker is unknown"],
)
def test_auto_takes_the_strictest_split_that_the_source_allows(examples: pd.DataFrame, words: str) -> None:
    assert assign(examples, "auto")[1].startswith(words)


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_label_that_never_trains_is_refused(split: str) -> None:
    others = [("no", "", name) for name in ("train", "val", "test")]
    examples = table([("yes", "", split), *others, ("yes", "", split)])
    claim = rf"^label 'yes' occurs in the {split} split \(2 times, first recording 0\) but never in training: move some of it to training"
    with pytest.raises(ValueError, match=claim):
        assign(examples, "official")


def test_an_unknown_kind_of_split_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data.split='halves' is not one of auto, official, speaker, grouped, random"):
        assign(digits(), "halves")  # type: ignore[arg-type]  # a wrong value, on purpose
