"""The readers that are fuzzed: the files that each begins with, how these are changed, and what then reads them."""

import csv
import gzip
import io
import json
import pickle
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import numpy as np
import soundfile
import torch
import yaml
from safetensors.torch import save
from scipy.io import savemat
from tests.fuzz.mutator import BYTES, MOST_BYTES, TEXTS, Mutation, change_values, in_gzip, in_zip

from rnnlab.data.music.midi import write_midi
from rnnlab.data.music.piano_rolls import find_rolls
from rnnlab.data.series.prices import clean, find_prices
from rnnlab.data.series.readings import read_numbers
from rnnlab.data.series.series import features_of
from rnnlab.data.sound.audio import Features, extract, read_recording
from rnnlab.data.sound.recordings import find_recordings, find_sounds, find_transcribed
from rnnlab.data.tables import AS_SHOWN, read_table
from rnnlab.data.text.dictionaries import find_pronunciations
from rnnlab.data.text.pair_files import Languages
from rnnlab.data.text.pairs import PairColumns, find_pairs
from rnnlab.data.text.readers import TextColumns, find_texts
from rnnlab.evaluation.bundle import load_bundle
from rnnlab.paths import SAMPLES
from rnnlab.settings import TrainSettings
from rnnlab.tracking.recorded import load_config
from rnnlab.training.checkpoints import read_checkpoint

PAYLOAD = 'touch "$RNNLAB_FUZZ_PAYLOAD"'
"""What hostile files try to run."""


class Attack:
    """An object that runs PAYLOAD where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (PAYLOAD,)


@dataclass(frozen=True)
class Base:
    """Files of a folder, one of which is changed.

    Attributes:
        name: the path of the file that is changed.
        content: what it holds.
        beside: the other files.
        is_refused: whether it is refused as it is.
        mutations: how it is changed.
        read: what reads it; takes the folder and the file.
    """

    name: str
    content: bytes
    mutations: tuple[Mutation, ...]
    read: Callable[[Path, Path], object]
    beside: dict[str, bytes] = field(default_factory=dict)
    is_refused: bool = False

    def changed(self, steps: Sequence[tuple[int, int]]) -> bytes:
        """Return the content after some mutations, each given by two numbers: which one, and its seed."""
        data = self.content
        for which, seed in steps:
            data = self.mutations[which % len(self.mutations)](data, Random(seed))[:MOST_BYTES]
        return data


def head(file: Path, num_lines: int) -> bytes:
    """Return the first lines of a file."""
    return b"".join(file.read_bytes().splitlines(keepends=True)[:num_lines])


def zipped(name: str, content: bytes) -> bytes:
    """Return a zip archive of one file."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return written.getvalue()


def instead(content: bytes) -> Mutation:
    """Return a mutation that puts another content in place of all."""
    return lambda data, random: content


LINES = BYTES + TEXTS

# Tables ---------------------------------------------------------------------------------------------------------------------------------


def read_as_series(folder: Path, file: Path) -> None:
    """Read a table as data=series does, up to features."""
    table = read_table(file)
    target = next((name for name in ("load_mw", "close", "wert") if name in table.frame), table.frame.columns[-1])
    series = "ticker" if "ticker" in table.frame else None
    frame, _ = read_numbers(file, target, "time", series, None, AS_SHOWN)
    for _, part in frame.groupby("series"):
        features_of(part.drop(columns="series"), has_calendar=True)


def read_as_prices(folder: Path, file: Path) -> None:
    """Read a table as data=stock does."""
    clean(find_prices(file, None))


YAHOO = "Price,Close,High,Low,Open,Volume\nTicker,AAA,AAA,AAA,AAA,AAA\nDate,,,,,\n" + "".join(
    f"2020-01-{day:02d},{day + 10}.5,{day + 12}.0,{day + 9}.25,{day + 10}.0,{day}00\n" for day in range(1, 25)
)
GERMAN = "Date;Time;wert;rest\n" + "".join(f"{day:02d}.01.2021;{day % 24:02d}:00;10{day:02d}.50;{day} %\n" for day in range(1, 29))
DRESSED = "Date,Price,Vol.,Change %\n" + "".join(f'"Aug {day:02d}, 2022","1,{day:03d}.50",{day}.5K,-0.{day}%\n' for day in range(1, 28))
DAYS = range(1_600_000_000_000, 1_602_500_000_000, 86_400_000)
EPOCHS = "".join(json.dumps({"timestamp": day, "close": 100 + day % 7, "volume": None, "open": "?"}) + "\n" for day in DAYS)
LONG = "ticker,date,close\n" + "".join(f"{name},2020-02-{day:02d},{day}\n" for name in ("AAA", "BBB") for day in range(1, 20))


def tables() -> list[Base]:
    """Return tables of series and of prices, packed ones too."""
    load, prices = head(SAMPLES / "series/hourly_load.csv", 40), head(SAMPLES / "stock/ALFA.csv", 40)
    texts = {"yahoo.csv": YAHOO, "german.csv": GERMAN, "dressed.csv": DRESSED, "epochs.jsonl": EPOCHS, "long.csv": LONG}
    contents = {"load.csv": load, "ALFA_x.csv": prices, **{name: text.encode() for name, text in texts.items()}}
    readers = {"load.csv": [read_as_series], "german.csv": [read_as_series], "yahoo.csv": [read_as_prices], "dressed.csv": [read_as_prices]}
    both = [read_as_series, read_as_prices]
    plain = [Base(name, content, LINES, read) for name, content in contents.items() for read in readers.get(name, both)]
    packed = [
        Base("load.csv.gz", gzip.compress(load, mtime=0), (*BYTES, in_gzip(LINES)), read_as_series),
        Base("load.zip", zipped("load.csv", load), (*BYTES, in_zip(LINES)), read_as_series),
    ]
    return plain + packed


# Texts, pairs and words -----------------------------------------------------------------------------------------------------------------


def read_texts(folder: Path, file: Path) -> None:
    """Read texts and cut them into tokens."""
    source = folder if file.name in ("train.csv", "0.txt") else file
    find_texts(str(source), source, TextColumns(), "skip")


def texts() -> list[Base]:
    """Return tables of texts, lines of a label and a text, and folders of files."""
    table = head(SAMPLES / "text/headlines.csv", 40)
    rows = list(csv.DictReader(io.StringIO(table.decode())))
    label = next(name for name in rows[0] if name in ("label", "class", "category", "topic"))
    pairs = [(row["text"], row[label]) for row in rows]
    lines = "".join(f"__label__{one} {text}\n" for text, one in pairs).encode()
    jsonl = "".join(json.dumps({"text": text, "label": one}) + "\n" for text, one in pairs).encode()
    tabbed = ("sentence\tsentiment\n" + "".join(f'"{text}\t{one}\n' for text, one in pairs)).encode()
    folders = {f"{one}/{number}.txt": text.encode() for number, (text, one) in enumerate(pairs[:8])}
    first = next(iter(folders))
    return [
        *(Base(name, content, LINES, read_texts) for name, content in (("all.csv", table), ("all.jsonl", jsonl), ("all.tsv", tabbed))),
        Base("lines.txt", lines, LINES, read_texts),
        Base("train.csv", table, LINES, read_texts, {"test.csv": table}),
        Base(first, folders[first], LINES, read_texts, {name: text for name, text in folders.items() if name != first}),
        Base("all.zip", zipped("all.csv", table), (*BYTES, in_zip(LINES)), read_texts),
    ]


def read_pairs(folder: Path, file: Path) -> None:
    """Read pairs of a folder, or of a table."""
    is_table = file.suffix in (".csv", ".tsv")
    columns = PairColumns(has_header=file.suffix == ".csv")
    find_pairs("own", file if is_table else folder, Languages("en", "de"), columns, "skip")


def read_words(folder: Path, file: Path) -> None:
    """Read a dictionary of pronunciations."""
    find_pronunciations(file, "skip")


def pairs() -> list[Base]:
    """Return aligned files, tables of pairs, and pronunciations."""
    english, german = (head(SAMPLES / f"translation/train.{language}", 30) for language in ("en", "de"))
    rows = list(zip(english.decode().splitlines(), german.decode().splitlines(), strict=True))
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([("en", "de"), *rows])
    anki = "".join(f"{one}\t{other}\tCC-BY 2.0\n" for one, other in rows).encode()
    words = head(SAMPLES / "pronunciation/words.csv", 40)
    cmudict = ";;; a comment\n" + "".join(f"WORD{row}  W ER{row % 3} D\n" for row in range(30))
    return [
        Base("train.en", english, LINES, read_pairs, {"train.de": german}),
        Base("train.en.gz", gzip.compress(english, mtime=0), (*BYTES, in_gzip(LINES)), read_pairs, {"train.de": german}),
        Base("all.csv", written.getvalue().encode(), LINES, read_pairs),
        Base("deu.tsv", anki, LINES, read_pairs),
        Base("words.csv", words, LINES, read_words),
        Base("words.dict", cmudict.encode(), LINES, read_words),
    ]


# Sound ----------------------------------------------------------------------------------------------------------------------------------

FEATURES = Features("logmel", 8000, 8, 8, 25.0, 10.0, 1)
CONTAINERS = {"flac": "FLAC", "wav": "WAV", "ogg": "OGG", "aiff": "AIFF", "au": "AU", "w64": "W64", "caf": "CAF", "mp3": "MP3"}


def recording(kind: str, rate: int = 8000, num_channels: int = 1) -> bytes:
    """Return a tenth of a second of a tone, in some format."""
    tone = np.sin(np.arange(rate // 10)[:, None] * np.linspace(0.1, 0.2, num_channels)).astype(np.float32) / 2
    written = io.BytesIO()
    soundfile.write(written, tone, rate, format=CONTAINERS[kind])
    return written.getvalue()


def read_audio(folder: Path, file: Path) -> None:
    """Decode a recording and take its features."""
    read = read_recording(file, 8000)
    extract(read.samples, FEATURES)
    read_recording(io.BytesIO(file.read_bytes()), 8000)


def audio() -> list[Base]:
    """Return a recording of each format."""
    found = [Base(f"x.{kind}", recording(kind), BYTES, read_audio) for kind in CONTAINERS]
    two = {"two.wav": recording("wav", 44_100, 2), "two.flac": recording("flac", 16_000, 2)}
    return found + [Base(name, content, BYTES, read_audio) for name, content in two.items()]


def read_labelled(folder: Path, file: Path) -> None:
    """Read a manifest of labels, for training and for predicting."""
    find_sounds(file, is_labelled=True)
    find_recordings("own", folder, "skip")


def read_transcribed(folder: Path, file: Path) -> None:
    """Read a manifest of transcripts."""
    find_transcribed("own", folder, "skip")


def manifests() -> list[Base]:
    """Return manifests as we, LJSpeech, Common Voice and Speech Commands write them."""
    sound, numbers = recording("wav"), range(12)
    beside = {f"clips/{number}.wav": sound for number in numbers}
    label = "path,label,speaker,split\n" + "".join(f"clips/{n}.wav,{'yes' if n % 2 else 'no'},s{n},train\n" for n in numbers)
    text = "path\tsentence\tclient_id\n" + "".join(f"{n}.wav\twe said {n}\ts{n}\n" for n in numbers)
    piped = "".join(f"{n}|we said {n}|we said {n}\n" for n in numbers)
    commands = {f"{'yes' if n % 2 else 'no'}/{n:08x}_nohash_0.wav": sound for n in numbers}
    return [
        Base("manifest.csv", label.encode(), LINES, read_labelled, beside),
        Base("train.tsv", text.encode(), LINES, read_transcribed, beside),
        Base("metadata.csv", piped.encode(), LINES, read_transcribed, {name.replace("clips", "wavs"): s for name, s in beside.items()}),
        Base("testing_list.txt", "\n".join(list(commands)[:4]).encode(), LINES, read_speech_commands, commands),
    ]


def read_speech_commands(folder: Path, file: Path) -> None:
    """Read folders of words, with lists."""
    find_recordings("own", folder, "skip")


# Piano rolls ----------------------------------------------------------------------------------------------------------------------------


def read_rolls(folder: Path, file: Path) -> None:
    """Read a piece alone, or the pieces of a folder."""
    find_rolls(file)


def rolls() -> list[Base]:
    """Return pieces as tables, as arrays, in a MATLAB file, and as MIDI."""
    values = (np.arange(80).reshape(10, 8) % 3 == 0).astype(np.uint8)
    table = b"C,D,E,F,G,A,B,c\n" + b"".join(b",".join(b"%d" % value for value in row) + b"\n" for row in values)
    array, doubles, cells = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(array, values)
    np.save(doubles, np.asfortranarray(values.astype(float)))
    pieces = np.empty(2, dtype=object)
    pieces[:] = [values, values[1:]]
    content = {"traindata": pieces, "validdata": pieces, "testdata": pieces}
    savemat(cells, content)
    packed = io.BytesIO()
    savemat(packed, content, do_compression=True)
    objects = io.BytesIO()
    np.save(objects, np.array([[Attack()]], dtype=object), allow_pickle=True)
    arrays = (*BYTES, *TEXTS[-4:], instead(objects.getvalue()))
    return [
        Base("x.csv", table, LINES, read_rolls),
        Base("x.npy", array.getvalue(), arrays, read_rolls),
        Base("y.npy", doubles.getvalue(), arrays, read_rolls),
        Base("x.mat", cells.getvalue(), BYTES, read_rolls),
        Base("y.mat", packed.getvalue(), BYTES, read_rolls),
        Base("x.mid", played(values), BYTES, read_rolls),
    ]


def played(values_TK: np.ndarray) -> bytes:
    """Return a roll of the keys from C4 up as a MIDI file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.mid"
        write_midi(values_TK, range(60, 60 + values_TK.shape[1]), file, steps_per_beat=4)
        return file.read_bytes()


# What a run left ------------------------------------------------------------------------------------------------------------------------


def in_json(data: bytes, random: Random) -> bytes:
    """Change one value of JSON."""
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        return data
    return nested_json(change_values(values, random))


def nested_json(values: Any) -> bytes:
    """Write JSON, however deeply nested."""
    try:
        return json.dumps(values).encode()
    except RecursionError:
        return b'{"x":' * 5000 + b"1" + b"}" * 5000


def in_yaml(data: bytes, random: Random) -> bytes:
    """Change one value of YAML, or put a tag of Python in place of one."""
    try:
        values = yaml.load(data, yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return data
    if random.random() < 0.02:
        doubled = (b"x%d: &x%d [*x%d, *x%d, *x%d]\n" % (n, n, n - 1, n - 1, n - 1) for n in range(1, 40))
        return data + b"\nx0: &x0 [1, 1]\n" + b"".join(doubled)
    if random.random() < 0.15:
        calls = [f"!!python/object/{how}:os.system ['{PAYLOAD}']" for how in ("apply", "new")]
        tags = (*calls, "!!python/name:os.system", "&a [*a]")
        return data.replace(random.choice((b": null", b": 1", b": 0.5", b": gru")), f": {random.choice(tags)}".encode(), 1)
    try:
        return yaml.dump(change_values(values, random), Dumper=yaml.CSafeDumper, sort_keys=False).encode()
    except RecursionError:
        return b"x: " + b"[" * 5000 + b"]" * 5000


def in_header(data: bytes, random: Random) -> bytes:
    """Change one value of the header of a safetensors file, whose length is right again."""
    length = int.from_bytes(data[:8], "little")
    header = in_json(data[8 : 8 + length], random)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def read_bundle(folder: Path, file: Path) -> None:
    """Load a bundle."""
    load_bundle(folder)


def bundles(made: Sequence[Path]) -> list[Base]:
    """Return bundles, each changed in its JSON and in its weights."""
    found = []
    for folder in made:
        parts = {name: (folder / name).read_bytes() for name in ("bundle.json", "weights.safetensors")}
        content = json.loads(parts["bundle.json"])  # without what tells of any change at once
        parts["bundle.json"] = json.dumps({name: value for name, value in content.items() if name not in ("digest", "checksum")}).encode()
        for name, mutations in (("bundle.json", (*BYTES, *[in_json] * 24)), ("weights.safetensors", (*BYTES, *[in_header] * 8))):
            found.append(Base(name, parts[name], mutations, read_bundle, {other: part for other, part in parts.items() if other != name}))
    return found


def in_checkpoint(data: bytes, random: Random) -> bytes:
    """Change one value of a checkpoint, which is written as torch writes it."""
    values = torch.load(io.BytesIO(data), weights_only=True) if data == _Kept.content else {"state_dict": {}}
    written = io.BytesIO()
    changed = change_values(values, random)
    if random.random() < 0.2:
        changed = {**changed, "hyper": Attack()} if isinstance(changed, dict) else Attack()
    try:
        torch.save(changed, written)
    except (RecursionError, pickle.PicklingError, TypeError, AttributeError):
        return data
    return written.getvalue()


class _Kept:
    content: ClassVar[bytes] = b""


def read_weights(folder: Path, file: Path) -> None:
    """Read a checkpoint."""
    read_checkpoint(file)


def checkpoints(made: bytes) -> list[Base]:
    """Return a checkpoint of ours, and files of other formats that hold code."""
    _Kept.content = made
    plain = io.BytesIO()
    torch.save({"state_dict": {"x": torch.ones(2)}}, plain, _use_new_zipfile_serialization=False)
    attack = pickle.dumps({"state_dict": Attack()})
    mutations = (*BYTES, *[in_zip(BYTES)] * 8, *[in_checkpoint] * 6, instead(attack))
    return [
        Base("last.ckpt", made, mutations, read_weights),
        Base("old.ckpt", plain.getvalue(), (*BYTES, instead(attack)), read_weights, is_refused=True),
        Base("other.ckpt", save({"x": torch.ones(2)}), BYTES, read_weights, is_refused=True),
    ]


def read_recorded(folder: Path, file: Path) -> None:
    """Read a recorded configuration, as resuming and reproducing do, up to typed settings."""
    composed = load_config(file, "0123")
    TrainSettings.of(composed)


def configs(made: bytes) -> list[Base]:
    """Return a recorded configuration."""
    return [Base("config.yaml", made, (*LINES, *[in_yaml] * 36), read_recorded)]
