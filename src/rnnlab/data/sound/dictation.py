"""`data=dictation`: recordings and what is said in them, from a named set, the bundled sample, or a manifest of one's own.

Preparation (above) turns sound into frames and cuts transcripts into characters or subwords; nothing is fitted in it, except where
subwords are learned, and then from training transcripts alone. The data module (below) splits, fits the vocabulary on training
transcripts, augments, normalises and batches.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape

from rnnlab.config import PositiveInt
from rnnlab.contracts import SPECIALS, UNKNOWN, Batch, DataSpec
from rnnlab.data import tokens
from rnnlab.data.base import Split
from rnnlab.data.batches import round_up_steps
from rnnlab.data.early import read_once
from rnnlab.data.hashing import code_hash, digest
from rnnlab.data.inputs import TOKEN_PACKAGES, InputReader, untold_batch
from rnnlab.data.labelled import shortened
from rnnlab.data.prepared import Json, Prepared, write_prepared
from rnnlab.data.sound import audio, base, recordings
from rnnlab.data.sound.base import SoundData, SoundPrepare, SoundReader, read_frames
from rnnlab.data.sound.recordings import find_transcribed, hash_recordings
from rnnlab.data.sources.catalogue import TRANSCRIBED_RECORDINGS
from rnnlab.data.splits import Folding, SplitKind, assign_splits
from rnnlab.data.targets import TokenTargets, count_types, fit_with_ends
from rnnlab.data.tokens import BLANK, TextTokens, TokenMeta, Vocabulary, index, tokenize


@dataclass(frozen=True)
class DictationPrepare(SoundPrepare):
    """Say how recordings and transcripts are prepared (`data.prepare`); see `SoundPrepare`.

    Args:
        units: what a model writes: Unicode characters (`char`), or pieces that SentencePiece learns from training transcripts (`subword`).
        subword_size: pieces in the SentencePiece model, the unknown one counted.
        is_lower: whether transcripts are lower-cased, those that are right included.
        alphabet: the characters that transcripts may have, beside blanks; another one is refused (None: any).
    """

    units: Literal["char", "subword"]
    subword_size: PositiveInt
    is_lower: bool
    alphabet: str | None


def split_utterances(examples: pd.DataFrame, kind: SplitKind, folding: Folding, val_fraction: float) -> tuple[dict[Split, np.ndarray], str]:
    """Assign every utterance to a split, see `rnnlab.data.splits`; transcripts have no part in it."""
    if len(examples) < 3:
        raise ValueError(f"there are {len(examples)} recordings; at least 3 are needed: one each for training, validation and test")
    rows, words = assign_splits(examples.assign(label=""), kind, folding, val_fraction, "speaker")
    return rows, words.replace("within each label", "utterance by utterance")


def prepare(
    table: pd.DataFrame,
    settings: DictationPrepare,
    choose_training: Callable[[pd.DataFrame], np.ndarray],
    subwords: bytes | None,
    folder: Path,
    meta: Json,
    console: Console,
) -> None:
    """Decode all recordings, extract features, cut the transcripts, and write a prepared folder.

    Args:
        table: see `find_transcribed`.
        settings: see `DictationPrepare`.
        choose_training: tells from the examples which rows subwords are learned from.
        subwords: a SentencePiece model that is given; None: it is learned, where one is needed.
        folder: the folder to write.
        meta: what it says of itself beside.
        console: where progress is shown.
    """
    texts = table["text"].str.lower() if settings.is_lower else table["text"]
    if settings.alphabet is not None:
        refuse_others(texts, table["place"], settings.alphabet.lower() if settings.is_lower else settings.alphabet)
    frames, examples, found = read_frames(table.assign(text=texts), settings, console)
    if settings.units == "subword" and subwords is None:
        subwords = tokens.train_subwords(examples["text"].iloc[choose_training(examples)], settings.subword_size)
    lists = list(cut(examples["text"], settings, subwords))
    written = [joined(pieces) for pieces in lists]
    if empty := [place for place, target in zip(examples["place"], written, strict=True) if target == ""]:
        raise ValueError(f"{empty[0]}: the text holds no character that can be written")
    types, values, offsets = index(lists)
    examples = examples.drop(columns=["text", "place"]).assign(target=written)
    encoded = None if subwords is None else tokens.model_to_text(subwords)
    write_prepared(folder, frames, examples, {**meta, **found, "types": types, "subwords": encoded}, (values, offsets))


def cut(texts: Iterable[str], settings: DictationPrepare, subwords: bytes | None) -> Iterable[list[str]]:
    """Cut transcripts into what a model writes; a blank is `▁`."""
    if settings.units == "subword" and subwords is not None:
        return tokens.encode_subwords(subwords, texts)
    if settings.units == "char":
        return tokenize(texts, TextTokens("char"))
    raise ValueError(f"data.prepare.units={settings.units!r} is not one of char, subword, or its SentencePiece model is missing")


def joined(pieces: Iterable[str]) -> str:
    """Put characters or pieces together as text."""
    return "".join(pieces).replace(BLANK, " ").strip()


def refuse_others(texts: pd.Series, places: pd.Series, alphabet: str) -> None:
    """Raise ValueError where a transcript has a character that is not of the alphabet; names its place."""
    allowed = {*alphabet, " "}
    for text, place in zip(texts, places, strict=True):
        if other := [character for character in text if character not in allowed]:
            raise ValueError(
                f"{place}: the text has the character {other[0]!r} (U+{ord(other[0]):04X}), which data.prepare.alphabet={alphabet!r} "
                "lacks: add it there, take it out of the text, or set data.prepare.alphabet=null"
            )


@dataclass(frozen=True)
class DictationReader(SoundReader):
    """Read recordings as the run did that made this.

    Args:
        subwords: the SentencePiece model that cut the transcripts, as `model_to_text` writes it, or None.
        seen: marks of the transcripts that training and validation have.
    """

    kind = "dictation"
    packages = (*SoundReader.packages, *TOKEN_PACKAGES)
    is_labelled = False

    prepare: DictationPrepare
    subwords: str | None
    seen: tuple[str, ...]

    def read(self, inputs: Sequence[str | bytes]) -> tuple[list[str], Batch]:
        """Turn sound files (paths or bytes) into a batch; name its rows.

        Raises:
            BrokenRecording: names the input.
        """
        names, values_BTF, lengths_B = self.read_frames(inputs, None)
        return names, untold_batch(values_BTF, lengths_B)


@final
@dataclass(eq=False, repr=False, kw_only=True)
class DictationData(SoundData, TokenTargets):
    """Give batches of recordings with what is said in them.

    `source` is `an4`, `sample`, or the path of a manifest or of a folder with a manifest.csv.
    """

    upstreams = TRANSCRIBED_RECORDINGS
    more_steps = "Take smaller frontend.time_strides, a smaller data.prepare.hop_ms, or data.prepare.units=subword"
    sample = "dictation"
    is_cut = False

    prepare: DictationPrepare

    def __post_init__(self) -> None:
        super().__post_init__()
        self.subwords: bytes | None = None
        self.too_long: list[str] = []  # ids of training utterances that last longer than `loader.max_seconds`

    # -- where the data are --------------------------------------------------------------------------------------------

    def read_raw(self, raw: Path) -> pd.DataFrame:
        table, self.remarks = read_once(find_transcribed, self.source, raw, self.prepare.on_broken)
        return table

    def hash_raw(self, table: pd.DataFrame) -> str:
        """Hash the sound files with their ids, transcripts, speakers and splits."""
        return hash_recordings(table, "text")

    def prepared_key(self, source_hash: str) -> str:
        """Hash source, settings, code; for subwords also the split that they are learned from, or the model that is given."""
        files = [Path(str(module.__file__)) for module in (audio, recordings, base, tokens)] + [Path(__file__)]
        fitted: list[object] = []
        if self.prepare.units == "subword":
            given = None if self.subwords is None else hashlib.sha256(self.subwords).hexdigest()
            fitted = [self.split, self.fold, self.split_seed, self.val_fraction, given]
            fitted += [self.num_folds] if self.split == "kfold" else []
        return digest([source_hash, asdict(self.prepare), code_hash(*files), fitted])

    def write(self, folder: Path, table: pd.DataFrame, meta: Json) -> None:
        """Decode, extract features, cut transcripts, write; learn subwords from the training transcripts first."""
        whole = {**meta, "settings": asdict(self.prepare)}
        prepare(table, self.prepare, lambda examples: self._split(examples)[0]["train"], self.subwords, folder, whole, self.console)

    # -- what the data are ---------------------------------------------------------------------------------------------

    def assign_splits(self, prepared: Prepared) -> dict[Split, np.ndarray]:
        """Split, leave long utterances out of training, and fit the vocabulary on its transcripts."""
        self._open(prepared)
        rows, self.split_used = self._split(prepared.examples)
        texts = prepared.examples["target"].to_numpy(object)
        self.seen = {_mark(str(text)) for text in texts[np.concatenate([rows["train"], rows["val"]])]}
        rows["train"] = self._without_long(prepared.examples, rows["train"])
        counts = count_types(prepared.targets, prepared.target_offsets, rows["train"], len(self.types))
        self.target_vocabulary, self.target_numbers = fit_with_ends(self.types, counts, 1, None)
        self.fit_normalisation(prepared, rows["train"])
        return rows

    def setup_as_test(self, reader: InputReader) -> None:
        """Open the recordings and take all of them as test, with another run's vocabulary, subwords and statistics; say what is unknown."""
        assert isinstance(reader, DictationReader)
        self.subwords = None if reader.subwords is None else tokens.model_from_text(reader.subwords)
        self.prepared = self.ensure_prepared()
        self._open(self.prepared)
        self.target_vocabulary = Vocabulary(reader.label_names)
        numbers = self.target_vocabulary.encode(self.types)
        self.target_numbers = np.where(np.isin(self.types, SPECIALS), UNKNOWN, numbers).astype(np.int32)
        self.seen = set(reader.seen)
        self.take_normalisation(reader)
        self.take_all_as_test()
        for name, count in self._unknown().items():
            self.console.print(f"[yellow]{count}[/] {escape(name)}", highlight=False)

    def _open(self, prepared: Prepared) -> None:
        meta = prepared.meta_as(TokenMeta)
        self.types = meta.types
        self.subwords = self.subwords if meta.subwords is None else tokens.model_from_text(meta.subwords)

    def _split(self, examples: pd.DataFrame) -> tuple[dict[Split, np.ndarray], str]:
        return split_utterances(examples, self.split, self.folding, self.val_fraction)

    def _without_long(self, examples: pd.DataFrame, train: np.ndarray) -> np.ndarray:
        """Leave out what is too long: cut sound would no longer hold what its transcript says."""
        is_long = examples["seconds"].to_numpy()[train] > self.loader.max_seconds
        if is_long.all():
            raise ValueError(
                f"all {len(train)} training recordings last longer than data.loader.max_seconds={self.loader.max_seconds:g}: "
                "raise it, or cut the recordings and their transcripts"
            )
        self.too_long = examples["id"].iloc[train[is_long]].tolist()
        return train[~is_long]

    @property
    def speedup(self) -> float:
        """By which share augmentation may at most speed up training utterances."""
        augment = self.loader.augment
        return (1 + augment.tempo_percent / 100) * (1 + augment.speed_percent / 100) - 1 if self.loader.is_augmented else 0.0

    def notes(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return whether each transcript is new."""
        return {"is_new": self.is_new(rows)}

    def is_new(self, rows: np.ndarray) -> np.ndarray:
        """Tell which transcripts occur neither in training nor in validation, (N,) bool; in another run's eyes, in that run's."""
        texts = self.examples["target"].to_numpy(object)
        return np.array([_mark(str(texts[row])) not in self.seen for row in rows], dtype=bool)

    def make_spec(self) -> DataSpec:
        return DataSpec(
            name=self.name,
            input_kind="features",
            input_size=int(self.data.values.shape[1]),
            target_kind="tokens",
            target_size=len(self.target_vocabulary),
            label_names=self.target_vocabulary.words,
            step_ms=self.prepare.hop_ms,
            goal="transcribe",
            joined="pieces",
            max_target_length=int(self.target_lengths[self.rows["train"]].max(initial=0)),
            is_monotonic=True,
        )

    # -- batches -------------------------------------------------------------------------------------------------------

    def collate(self, rows: np.ndarray, epoch: int, is_training: bool) -> Batch:
        values_BTF, lengths_B = self.pad_frames(rows, epoch, is_training)
        return self.with_targets(round_up_steps(values_BTF), lengths_B, rows, is_training)

    # -- what a person and another process are told --------------------------------------------------------------------

    def describe_targets(self) -> list[tuple[str, str]]:
        examples, lengths, test = self.examples, self.target_lengths, self.rows["test"]
        hours = [f"{split} {examples['seconds'].iloc[rows].sum() / 3600:.2f} h" for split, rows in self.rows.items() if len(rows)]
        words = examples["target"].str.split().map(len).sum()
        known = list(self.target_vocabulary.words[len(SPECIALS) :])
        lines = [
            ("hours", ", ".join(hours)),
            ("transcripts", f"{examples['target'].nunique():,} different, {words:,} words, {lengths.sum():,} {self.prepare.units} tokens"),
            ("tokens each", f"{lengths.min()} to {lengths.max()}, median {np.median(lengths):.0f}"),
            ("vocabulary", f"{len(known)} {self.prepare.units}s: {shortened(known, 32)}"),
            ("new in test", f"{self.is_new(test).sum()} of {len(test)} test transcripts are in neither training nor validation"),
        ]
        for ids, reason in ((self.too_long, f"longer than {self.loader.max_seconds:g} s"), (list(self.infeasible), "too short for CTC")):
            if ids:
                lines.append(("left out", f"{len(ids)} {reason}: {shortened(ids)}"))
        return lines

    def oddities(self) -> dict[str, int]:
        speakers = self.examples["speaker"].to_numpy(str)
        known = set(speakers[self.rows["train"]]) - {""}
        heard = {
            f"{split} utterances of speakers who are in training, too": int(np.isin(speakers[self.rows[split]], list(known)).sum())
            for split in ("val", "test")
        }
        return {**super().oddities(), **heard, **self._unknown()}

    def _unknown(self) -> dict[str, int]:
        """Count tokens that the vocabulary lacks, by words that name the first of them."""
        counts = {}
        for split, rows in self.rows.items():
            occurring = count_types(self.data.targets, self.data.target_offsets, rows, len(self.types))
            unknown = np.flatnonzero((self.target_numbers == UNKNOWN) & (occurring > 0))
            if len(unknown):
                named = shortened([self.types[number] for number in unknown])
                counts[f"{split} tokens that no training transcript has, read as <unk> ({named})"] = int(occurring[unknown].sum())
        return counts

    def reader(self) -> DictationReader:
        return DictationReader(
            self.target_vocabulary.words,
            self.prepare,
            self.loader,
            tuple(self.mean_F.tolist()),
            tuple(self.std_F.tolist()),
            None if self.subwords is None else tokens.model_to_text(self.subwords),
            tuple(sorted(self.seen)),
        )


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
