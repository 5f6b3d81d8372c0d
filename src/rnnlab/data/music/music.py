"""`data=music`: piano rolls, from a public collection, the bundled sample, or files of one's own: which keys sound at the next step?

Inputs are steps 0 to T - 2 of a piece, targets steps 1 to T - 1; the first step, which nothing precedes, is not predicted (so do Bai et al.
2018). Preparation (above) fits nothing. The data module (below) splits by piece, transposes training pieces where asked to, and batches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, final

import numpy as np
import pandas as pd
import torch

from rnnlab.config import NonNegativeInt, PositiveInt
from rnnlab.contracts import Batch, DataSpec
from rnnlab.data.base import SPLITS, Split, SplitData
from rnnlab.data.batches import BudgetOrder, ExampleRandom
from rnnlab.data.early import read_once
from rnnlab.data.files import OnBroken
from rnnlab.data.hashing import code_hash, digest
from rnnlab.data.inputs import FileReader, InputReader, tell
from rnnlab.data.labelled import shortened
from rnnlab.data.music import matlab, midi, piano_rolls
from rnnlab.data.music.piano_rolls import (
    STEPS_PER_BEAT,
    Roll,
    StepsPerBeat,
    find_rolls,
    hash_rolls,
    pieces_of,
    refuse_other_keys,
    roll_files,
    roll_of,
    write_roll,
)
from rnnlab.data.prepared import Json, Prepared, write_prepared
from rnnlab.data.sources.catalogue import PIANO_ROLLS

MusicSplit = Literal["auto", "official", "random"]


@dataclass(frozen=True)
class MusicPrepare:
    """Say how files become piano rolls, and what happens to those that do not (`data.prepare`); see `find_rolls`."""

    on_broken: OnBroken
    steps_per_beat: StepsPerBeat


@dataclass(frozen=True)
class MusicLoader:
    """Say how pieces become batches (`data.loader`).

    Args:
        batch_size: most pieces in a batch.
        batch_steps: most steps in a batch, padding included (a longer piece is a batch of its own).
        num_buckets: pieces of similar length are batched together, in so many groups (1: all lengths together).
        max_steps: of longer training pieces each epoch takes a stretch of so many steps, drawn anew (None: all of them).
        transpose: training pieces are shifted by up to so many keys up or down, drawn anew each epoch, never beyond the keys that
            training pieces use (0: not at all).
        drop_duplicates: leave out training pieces that are also in validation or test, note for note.
    """

    batch_size: PositiveInt
    batch_steps: PositiveInt
    num_buckets: PositiveInt
    max_steps: PositiveInt | None
    transpose: NonNegativeInt
    drop_duplicates: bool


def prepare(table: pd.DataFrame, keys: tuple[str, ...], folder: Path, meta: Json) -> None:
    """Write all pieces end to end as a prepared folder."""
    write_prepared(folder, table["values"], table[["id", "split", "content"]], {**meta, "keys": list(keys)})


def split_pieces(given: np.ndarray, kind: MusicSplit, split_seed: int, val_fraction: float) -> tuple[dict[Split, np.ndarray], str]:
    """Split by piece: as the source says, else at random.

    Args:
        given: (N,) "train", "val", "test" or "".
        kind: `official` (validation is carved from training where none is given), `random`, or `auto` (official where the source says).
        split_seed: of random choices.
        val_fraction: fraction carved off, for validation and for a random test each; one piece at least.

    Returns:
        Sorted rows per split, and in words what was done.

    Raises:
        ValueError: where the pieces don't allow it; says what would.
    """
    is_given = bool((given == "test").any())
    if kind == "official" and not is_given:
        raise ValueError("data.split=official, but the source names no test pieces: put some below test/, or use data.split=random")
    if kind == "auto" and not is_given and (given == "val").any():
        raise ValueError("the source names validation pieces but no test pieces: put some below test/, or use data.split=random")
    splits = np.where(given == "", "train", given).astype("<U5") if is_given and kind != "random" else np.full(len(given), "train")
    random = np.random.default_rng(split_seed)
    count = max(1, round(val_fraction * len(given)))
    carved = [split for split in ("test", "val") if split not in splits]
    for split in carved:
        left = random.permutation(np.flatnonzero(splits == "train"))
        if len(left) <= count:
            raise ValueError(f"{len(given)} piece(s) are too few: one each is needed for training, validation and test, three in all")
        splits[left[:count]] = split
    words = {0: "official (train, val and test as given)", 1: f"official test; validation at random by piece (split_seed {split_seed})"}
    how = words.get(len(carved), f"whole pieces at random (split_seed {split_seed})")
    return {split: np.flatnonzero(splits == split) for split in SPLITS}, how


@dataclass(frozen=True)
class MusicReader(FileReader):
    """Read piano rolls of the keys that a run's data have."""

    kind = "music"
    columns: ClassVar[Mapping[str, str]] = {"csv": "string"}
    files = "piano rolls"
    packages = ("mido",)
    reads_on = True

    keys: tuple[str, ...]
    steps_per_beat: int = STEPS_PER_BEAT
    """Steps of a quarter note in MIDI files."""

    def is_heading(self, lines: str) -> bool:
        """The first line names the keys."""
        return lines.rstrip("\n").count("\n") == 0

    def find(self, path: Path) -> tuple[list[Path], list[str]]:
        files, remarks = roll_files(path)
        return [Path(piece) for file in files for piece in pieces_of(file)], remarks

    @property
    def written_as(self) -> tuple[str, ...]:
        """CSV; MIDI, too, where all keys are pitches."""
        return (".csv",) if None in map(midi.pitch_of, self.keys) else (".csv", ".mid")

    def write(self, values: np.ndarray, file: Path) -> None:
        write_roll(values, self.keys, file, self.steps_per_beat)

    def made_up(self) -> str:
        """Return eight steps of which each has one key, as a CSV file."""
        steps = (",".join("1" if key == step % len(self.keys) else "0" for key in range(len(self.keys))) for step in range(8))
        return "\n".join([",".join(self.keys), *steps]) + "\n"

    def refuse_other_keys(self, roll: Roll) -> None:
        """Raise ValueError where a piece has other keys."""
        refuse_other_keys(roll, len(self.keys), self.keys, "the run's data have")

    def read(self, inputs: Sequence[str | bytes]) -> tuple[list[str], Batch]:
        """Turn piano rolls (paths, or the content of CSV files) into a batch; name its rows.

        All steps are inputs: the last answer is to the step that follows the piece, whose keys are unknown.

        Raises:
            ValueError: for what is no piano roll, or has other keys than the run's data.
        """
        found = [roll_of(str(item), number, self.steps_per_beat, self.keys) for number, item in enumerate(inputs)]
        for roll in found:
            self.refuse_other_keys(roll)
            for what, count in roll.changed.items():
                tell(f"{roll.place}: {count:,} {what}")
        lengths_B = torch.tensor([len(roll.values) for roll in found])
        rolls = [torch.from_numpy(roll.values.astype(np.float32)) for roll in found]
        values_BTK = torch.nn.utils.rnn.pad_sequence(rolls, batch_first=True)
        targets_BTK = torch.nn.functional.pad(values_BTK[:, 1:], (0, 0, 0, 1))
        return [roll.place for roll in found], Batch(values_BTK, lengths_B, targets_BTK, lengths_B - 1, torch.arange(len(found)))


@dataclass(frozen=True)
class MusicMeta:
    """Entries of `meta.json` that loading needs."""

    keys: tuple[str, ...]


@final
@dataclass(eq=False, repr=False, kw_only=True)
class MusicData(SplitData):
    """Give batches of piano rolls, each step's targets the keys of the next.

    `source` is `jsb`, `nottingham`, `musedata`, `piano_midi`, `sample`, or the path of piano rolls (see `piano_rolls`).
    """

    upstreams = PIANO_ROLLS
    sample = "music"

    split: MusicSplit
    """See `split_pieces`."""
    prepare: MusicPrepare
    loader: MusicLoader

    def __post_init__(self) -> None:
        super().__post_init__()
        self.num_dropped = 0

    # -- where the data are --------------------------------------------------------------------------------------------

    def read_raw(self, raw: Path) -> pd.DataFrame:
        table, self.found_keys, self.remarks = read_once(find_rolls, raw, self.prepare.on_broken, self.prepare.steps_per_beat)
        return table

    def hash_raw(self, table: pd.DataFrame) -> str:
        return hash_rolls(table, self.found_keys)

    def prepared_key(self, source_hash: str) -> str:
        return digest([source_hash, code_hash(*(Path(str(module.__file__)) for module in (piano_rolls, matlab, midi)), Path(__file__))])

    def write(self, folder: Path, table: pd.DataFrame, meta: Json) -> None:
        prepare(table, self.found_keys, folder, meta)

    # -- what the data are ---------------------------------------------------------------------------------------------

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the keys."""
        return self.data.meta_as(MusicMeta).keys

    @property
    def lengths(self) -> np.ndarray:
        """Predicted steps of each piece, (N,) int64: all but the first."""
        return self.data.lengths - 1

    def assign_splits(self, prepared: Prepared) -> dict[Split, np.ndarray]:
        """Split by piece; leave training pieces out that are tested, and see which keys training uses."""
        found, self.split_used = split_pieces(prepared.examples["split"].to_numpy(str), self.split, self.split_seed, self.val_fraction)
        if self.loader.drop_duplicates:
            contents = prepared.examples["content"].to_numpy(str)
            held_out = np.concatenate([found["val"], found["test"]])
            kept = found["train"][~np.isin(contents[found["train"]], contents[held_out])]
            self.num_dropped = len(found["train"]) - len(kept)
            found["train"] = kept
        self._count(prepared, found["train"])
        return found

    def _count(self, prepared: Prepared, train: np.ndarray) -> None:
        """See on how many training steps each key sounds."""
        self.num_sounding = np.zeros(prepared.values.shape[1], dtype=np.int64)
        for row in train:
            self.num_sounding += prepared.values[prepared.offsets[row] : prepared.offsets[row + 1]].sum(0, dtype=np.int64)
        used = np.flatnonzero(self.num_sounding)
        self.lowest, self.highest = (int(used[0]), int(used[-1])) if len(used) else (0, 0)

    def setup_as_test(self, reader: InputReader) -> None:
        """Open the pieces and take all of them as test; their keys must be those of the run that made the reader."""
        assert isinstance(reader, MusicReader)
        self.prepared = self.ensure_prepared()
        reader.refuse_other_keys(Roll("", f"data.source={self.source}", np.zeros((1, self.data.values.shape[1])), self.keys))
        self.take_all_as_test()
        self._count(self.prepared, self.rows["train"])

    def targets(self, rows: np.ndarray) -> list[object]:
        """Return the hash of each piece."""
        return [str(content) for content in self.examples["content"].iloc[rows]]

    def make_spec(self) -> DataSpec:
        return DataSpec(
            name=self.name,
            input_kind="features",
            input_size=len(self.keys),
            target_kind="labels_per_step",
            target_size=len(self.keys),
            label_names=self.keys,
            class_counts=tuple(int(count) for count in self.num_sounding),
            num_label_steps=int(self.data.lengths[self.rows["train"]].sum()),
            feature_names=self.keys,
            is_causal=True,
        )

    def describe(self) -> list[tuple[str, str]]:
        num_on = self.data.values.sum(1)
        lengths = self.data.lengths
        pieces = ", ".join(f"{split} {len(rows):,} ({int(lengths[rows].sum()):,} steps)" for split, rows in self.rows.items())
        return [
            (
                "pieces",
                f"{len(lengths):,}, {len(num_on):,} steps; {lengths.min()} to {lengths.max()} steps, median {np.median(lengths):.0f}",
            ),
            ("keys", f"{len(self.keys)} ({self.keys[0]} to {self.keys[-1]}), training uses {self._used()}"),
            ("sounding", f"{num_on.mean():.2f} keys a step on average, {num_on.max()} at most"),
            ("split", self.split_used or "all of them as test"),
            ("", pieces),
            ("odd", "; ".join(self._odd(num_on)) or "nothing"),
        ]

    def _used(self) -> str:
        return f"{self.keys[self.lowest]} to {self.keys[self.highest]}" if self.num_sounding.any() else "none"

    def _odd(self, num_on: np.ndarray) -> list[str]:
        repeated = self.examples["content"].duplicated(keep=False)
        names = [str(name) for name in self.examples["id"][repeated]]
        found = {
            f"steps in which nothing sounds ({(num_on == 0).mean():.1%})": int((num_on == 0).sum()),
            f"pieces that are the same, note for note: {shortened(names, 6)}": len(names),
            "training pieces left out, since they are also in validation or test": self.num_dropped,
        }
        return [f"{count:,} {name}" for name, count in found.items() if count]

    def reader(self) -> MusicReader:
        return MusicReader(self.keys, self.prepare.steps_per_beat)

    # -- batches -------------------------------------------------------------------------------------------------------

    def make_order(self, rows: np.ndarray, is_training: bool) -> BudgetOrder:
        lengths = self.lengths[rows].clip(max=self.loader.max_steps if is_training else None)
        num_buckets = self.loader.num_buckets if is_training else 0
        return BudgetOrder(rows, lengths, self.loader.batch_size, self.loader.batch_steps, self.seed, num_buckets)

    def collate(self, rows: np.ndarray, epoch: int, is_training: bool) -> Batch:
        """Return a padded batch; while training long pieces are cut, and pieces are transposed."""
        pieces = [self.data.values[self.data.offsets[row] : self.data.offsets[row + 1]] for row in rows]
        if is_training:
            draws_B2 = ExampleRandom(self.seed, epoch, rows).uniform(2).double().numpy()
            pieces = [self._varied(piece, *draws) for piece, draws in zip(pieces, draws_B2, strict=True)]
        return next_keys(pieces, rows)

    def _varied(self, piece_TK: np.ndarray, where: float, how_far: float) -> np.ndarray:
        """Cut a stretch and transpose it, by two numbers in [0, 1)."""
        if self.loader.max_steps is not None and len(piece_TK) > self.loader.max_steps + 1:
            start = int(where * (len(piece_TK) - self.loader.max_steps))
            piece_TK = piece_TK[start : start + self.loader.max_steps + 1]
        used = np.flatnonzero(piece_TK.any(0))
        if not self.loader.transpose or not len(used):
            return piece_TK
        down = min(self.loader.transpose, int(used[0]) - self.lowest)
        up = min(self.loader.transpose, self.highest - int(used[-1]))
        return np.roll(piece_TK, int(how_far * (down + up + 1)) - down, axis=1)


def next_keys(pieces: list[np.ndarray], ids: np.ndarray) -> Batch:
    """Return a padded batch of these rows' pieces, (T, K) each, T at least 2, that asks for the keys of every step but the first."""
    lengths_B = torch.tensor([len(piece) - 1 for piece in pieces])
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(piece.astype(np.float32)) for piece in pieces], batch_first=True)
    targets_BTK = padded[:, 1:].contiguous()
    # A shorter piece's last step is a target only: as an input it would lie in the padding.
    is_input_BT1 = (torch.arange(padded.shape[1] - 1)[None] < lengths_B[:, None])[..., None]
    return Batch(padded[:, :-1] * is_input_BT1, lengths_B, targets_BTK, lengths_B.clone(), torch.from_numpy(np.asarray(ids)))
