"""Data whose target is one label a sequence: what recordings and texts share."""

from abc import ABC
from collections import Counter

import numpy as np
import pandas as pd

from rnnlab.data.base import SequenceDataModule


class LabelledData(SequenceDataModule, ABC):
    """Number the labels of examples."""

    label_names: tuple[str, ...]
    labels: np.ndarray
    """(N,) int64, each example's place in `label_names`."""

    def number_labels(self, names: tuple[str, ...], labels: pd.Series) -> None:
        """Number labels by their place among the names.

        Raises:
            ValueError: where a label is not among them, as when another run's names are used for new data.
        """
        index = {name: number for number, name in enumerate(names)}
        if unknown := sorted(set(labels) - set(index)):
            raise ValueError(
                f"data.source={self.source} has the label {unknown[0]!r} ({len(unknown)} such), which the run never learned; it knows: "
                + ", ".join(names)
            )
        self.label_names = names
        self.labels = np.array([index[label] for label in labels], dtype=np.int64)

    def class_counts(self) -> tuple[int, ...]:
        """Count the training examples of each label."""
        counts = np.bincount(self.labels[self.rows["train"]], minlength=len(self.label_names))
        return tuple(int(count) for count in counts)

    def describe_labels(self) -> list[tuple[str, str]]:
        """Describe the labels to a person, as (name, text): how many examples each has, and which differ by case or blanks only."""
        counts = Counter(self.labels.tolist())
        known = [f"{name} ({counts[number]:,})" for number, name in enumerate(self.label_names)]
        of_form: dict[str, list[str]] = {}
        for name in self.label_names:
            of_form.setdefault("".join(name.split()).casefold(), []).append(name)
        alike = [" and ".join(map(repr, names)) for names in of_form.values() if len(names) > 1]
        told = [("look at", f"labels that differ by case or blanks only: {shortened(alike)}")] if alike else []
        return [("labels", f"{len(known)}: {shortened(known)}"), *told]

    def targets(self, rows: np.ndarray) -> list[object]:
        return [self.label_names[label] for label in self.labels[rows]]


def shortened(words: list[str], most: int = 12) -> str:
    """Join words with commas, the last ones counted only."""
    return ", ".join(words[:most] + ([f"... {len(words) - most} more"] if len(words) > most else []))
