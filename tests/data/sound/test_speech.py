"""Claims about labelled recordings as a data set: preparation, variants on disk, splits, batches and hashes."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from tests.data.bundled import through_json

from rnnlab.config import ConfigError
from rnnlab.data.base import SPLITS, Split
from rnnlab.data.sound import speech
from rnnlab.data.sound.audio import BrokenRecording
from rnnlab.data.sound.augmentation import Augment
from rnnlab.data.sound.speech import SpeechData, SpeechReader
from rnnlab.data.sources import catalogue
from rnnlab.data.sources.fetching import SourceError, content_hash

MIRROR = os.environ.get("RNNLAB_MIRROR")
RATE = 8000
SPEAKERS = ("ann", "bo", "cy", "di")
Make = Callable[..., SpeechData]


def sound(name: str, num_samples: int) -> np.ndarray:
    """A tone and noise that depend on the recording's name alone."""
    generator = np.random.default_rng(list(name.encode()))
    tone = np.sin(np.arange(num_samples) * generator.uniform(0.1, 1.5))
    return (0.2 * tone + 0.05 * generator.standard_normal(num_samples)).astype(np.float32)


def record(file: Path, num_samples: int | None = None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    length = num_samples or 700 + 41 * (sum(file.stem.encode()) % 37)
    soundfile.write(file, sound(file.stem, length), RATE)


def folder_of_labels(folder: Path, num_each: int = 4) -> Path:
    for label in ("yes", "no"):
        for index in range(num_each):
            record(folder / label / f"{label}{index}.wav")
    return folder


def with_manifest(folder: Path, split: Callable[[str, int], str] = lambda speaker, index: "") -> Path:
    """Two labels, four speakers, three recordings each."""
    lines = ["path,label,speaker,split"]
    for label in ("no", "yes"):
        for speaker in SPEAKERS:
            for index in range(3):
                name = f"{label}_{speaker}_{index}.wav"
                record(folder / name)
                lines.append(f"{name},{label},{speaker},{split(speaker, index)}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def official(speaker: str, index: int) -> str:
    return {"ann": "test", "bo": "val"}.get(speaker, "train")


@pytest.fixture
def make(make_data: Make) -> Make:
    """Make a data module for data of one's own."""
    return partial(make_data, "speech")


def set_up(module: SpeechData) -> SpeechData:
    module.setup()
    return module


def cached(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "data" / "cache").iterdir() if path.suffix != ".lock")


def ids_of(module: SpeechData, split: Split) -> list[str]:
    return module.data.examples["id"].iloc[module.rows[split]].tolist()


# Broken recordings


def spoil(folder: Path) -> None:
    (folder / "no" / "no1.wav").write_bytes(b"no sound")
    whole = (folder / "yes" / "yes0.wav").read_bytes()
    (folder / "yes" / "yes0.wav").write_bytes(whole[:-100])
    soundfile.write(folder / "yes" / "yes3.wav", np.zeros(0), RATE)
    soundfile.write(folder / "yes" / "yes4.wav", np.zeros(900), RATE)


def test_raise_names_all_broken_recordings_and_prepares_nothing(tmp_path: Path, make: Make) -> None:
    spoil(folder_of_labels(tmp_path / "mine", num_each=8))
    claim = (
        r"^4 of 16 recordings cannot be used:\n  no/no1.wav: no audio that can be read \(.+\)\n  yes/yes0.wav: truncated: .* 100 more bytes"
        r".*\n  yes/yes3.wav: no samples in it \(zero length\)\n  yes/yes4.wav: silent: every sample is zero\n"
        r"Mend or remove them, or leave them out with data.prepare.on_broken=skip$"
    )
    with pytest.raises(ValueError, match=claim):
        make(tmp_path / "mine").setup()
    assert cached(tmp_path) == []


def test_skip_counts_and_names_them_and_goes_on(tmp_path: Path, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(folder_of_labels(tmp_path / "mine", num_each=8))
    module = set_up(make(tmp_path / "mine", prepare__on_broken="skip"))
    said = capsys.readouterr().err
    assert "skipped 4 of 16 recordings:" in said and "yes/yes3.wav: no samples in it (zero length)" in said
    assert len(module.data.examples) == 12 and not module.data.examples["id"].isin(["no/no1.wav", "yes/yes4.wav"]).any()
    assert [line.split(":")[0] for line in module.data.meta["broken"]] == [  # type: ignore[attr-defined]  # a list, as read from JSON
        "no/no1.wav", "yes/yes0.wav", "yes/yes3.wav", "yes/yes4.wav",
    ]  # fmt: skip
    assert ("odd", "4 broken and skipped") in module.describe()
    assert [len(module.rows[split]) for split in SPLITS] == [8, 2, 2]


@pytest.mark.parametrize("on_broken", ["raise", "skip"])
def test_a_broken_recording_to_predict_from_has_no_answer_where_training_left_such_out(tmp_path: Path, make: Make, on_broken: str) -> None:
    reader = through_json(set_up(make(folder_of_labels(tmp_path / "mine"), prepare__on_broken=on_broken)).reader())
    spoil(tmp_path / "mine")
    faults = [reader.fault(str(tmp_path / "mine" / name)) for name in ("no/no0.wav", "no/no1.wav")]
    assert faults[0] == "" and bool(faults[1]) == (on_broken == "skip")
    (tmp_path / "new.m4a").write_bytes(b"ftypM4A")
    with pytest.raises(BrokenRecording, match=r"new\.m4a: no audio that can be read \(.*\); convert it to \.wav or \.flac$"):
        reader.read([str(tmp_path / "new.m4a")])


def test_names_that_look_like_markup_are_shown_as_they_are(tmp_path: Path, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    folder_of_labels(tmp_path / "mine")
    for name in ("no/take[red].wav", "yes/a[/red].wav"):
        (tmp_path / "mine" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(b"no sound")
    set_up(make(tmp_path / "mine", prepare__on_broken="skip"))
    said = capsys.readouterr().err
    assert "no/take[red].wav: no audio" in said and "a[/red].wav: no audio" in said


def test_recordings_that_are_all_broken_cannot_be_skipped(tmp_path: Path, make: Make) -> None:
    for name in ("yes/a.wav", "no/b.wav"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True)
        (tmp_path / "mine" / name).write_bytes(b"no sound")
    with pytest.raises(ValueError, match=r"^2 of 2 recordings cannot be used:"):
        make(tmp_path / "mine", prepare__on_broken="skip").setup()


def test_a_label_that_loses_all_its_recordings_is_refused(tmp_path: Path, make: Make) -> None:
    folder_of_labels(tmp_path / "mine")
    for file in (tmp_path / "mine" / "no").iterdir():
        file.write_bytes(b"no sound")
    with pytest.raises(ValueError, match=r"all examples of the label 'no' are broken and left out \(1 such label"):
        set_up(make(tmp_path / "mine", prepare__on_broken="skip"))


def test_many_broken_recordings_are_counted_beyond_the_first_twenty(tmp_path: Path, make: Make) -> None:
    for index in range(23):
        (tmp_path / "mine" / "yes").mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / "yes" / f"{index:02}.wav").write_bytes(b"no sound")
    with pytest.raises(ValueError, match=r"^23 of 23 recordings cannot be used:\n(  yes/.*\n){20}  \.\.\. and 3 more\n"):
        make(tmp_path / "mine").setup()


def test_oddities_are_counted(tmp_path: Path, make: Make) -> None:
    folder = folder_of_labels(tmp_path / "mine", num_each=5)
    soundfile.write(folder / "yes" / "yes0.wav", sound("high", 4410), 44100)
    soundfile.write(folder / "yes" / "yes1.wav", np.stack([sound("left", 900), sound("right", 900)], 1), RATE)
    soundfile.write(folder / "no" / "no0.wav", np.sign(sound("loud", 900)), RATE, subtype="FLOAT")
    soundfile.write(folder / "no" / "no1.wav", sound("short", 150), RATE)
    (folder / "no" / "no3.wav").write_bytes((folder / "no" / "no2.wav").read_bytes())
    assert set_up(make(folder)).data.meta["odd"] == {
        "resampled": 1,
        "mixed down from several channels": 1,
        "clipped (a sample at full scale)": 1,
        "shorter than a window": 1,
        "the same sound as another": 2,
        "broken and skipped": 0,
    }


# Sources


def test_an_empty_folder_says_what_was_wanted(tmp_path: Path, make: Make) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match=r"^no recordings in .*mine: wanted one subfolder per label with sound files in it"):
        make(tmp_path / "mine").setup()


def test_a_source_that_does_not_exist_is_named_with_those_that_do(tmp_path: Path, make: Make) -> None:
    with pytest.raises(SourceError, match=r"^data.source=.*nowhere: no such folder or file, nor a named source \(fsdd, sample\)$"):
        make(tmp_path / "nowhere").setup()


def test_a_label_that_occurs_in_test_alone_is_refused(tmp_path: Path, make: Make) -> None:
    folder = with_manifest(tmp_path / "mine", official)
    record(folder / "hm.wav")
    with (folder / "manifest.csv").open("a") as file:
        file.write("hm.wav,hm,ann,test\n")
    with pytest.raises(ValueError, match=r"^label 'hm' occurs in the test split \(1 times, first hm.wav\) but never in training"):
        make(folder).setup()


def test_a_label_with_one_recording_is_refused_where_splits_are_random(tmp_path: Path, make: Make) -> None:
    record(folder_of_labels(tmp_path / "mine") / "hm" / "hm0.wav")
    with pytest.raises(ValueError, match=r"^label 'hm' has 1 example\(s\); a random split needs at least 3 of each label"):
        make(tmp_path / "mine").setup()


def test_too_few_recordings_to_carve_validation_from_are_refused(tmp_path: Path, make: Make) -> None:
    record(tmp_path / "mine" / "a.wav")
    record(tmp_path / "mine" / "b.wav")
    (tmp_path / "mine" / "manifest.csv").write_text("path,label,split\na.wav,yes,train\nb.wav,yes,test\n")
    with pytest.raises(ValueError, match=r"^the val split is empty: 2 examples are too few"):
        make(tmp_path / "mine").setup()


@pytest.mark.parametrize("source", ["sample", "fsdd"])
def test_a_data_folder_that_cannot_be_written_says_where_else(tmp_path: Path, make: Make, source: str) -> None:
    (tmp_path / "note").write_text("a regular file")
    with pytest.raises(
        ValueError, match=r"^cannot write to .*note/data/.* \(Not a directory\): .*give another place with paths.data=FOLDER$"
    ):
        make(source, data=tmp_path / "note" / "data", mirror=str(tmp_path)).setup()


# Variants on disk


def test_other_settings_prepare_another_variant_beside_the_first(tmp_path: Path, make: Make) -> None:
    folder = with_manifest(tmp_path / "mine")
    sizes = {}
    for num_mels in (11, 13, 11):
        module = set_up(make(folder, prepare__num_mels=num_mels))
        assert module.data.meta["settings"]["num_mels"] == num_mels
        assert module.make_spec().input_size == module.data.values.shape[1] == num_mels
        sizes[num_mels] = module.data.folder.name
    assert cached(tmp_path) == sorted(sizes.values()) and len(set(sizes.values())) == 2


def test_what_is_prepared_is_used_again_and_loader_settings_prepare_nothing(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = with_manifest(tmp_path / "mine")
    first = set_up(make(folder))
    monkeypatch.setattr(speech, "prepare", lambda *args: pytest.fail("prepared again"))
    again = set_up(make(folder, loader__batch_size=3, loader__normalise="training", split="random", split_seed=4, seed=5))
    assert again.data.folder == first.data.folder


def test_changed_recordings_prepare_another_variant(tmp_path: Path, make: Make) -> None:
    folder = with_manifest(tmp_path / "mine")
    before = set_up(make(folder)).data.folder
    record(folder / "no_ann_0.wav", num_samples=801)
    after = set_up(make(folder))
    assert after.data.folder != before and after.data.lengths[0] == 1 + 801 // 80


@pytest.mark.parametrize("file", ["values.npy", "offsets.npy", "examples.parquet"])
def test_a_damaged_variant_says_which_folder_to_delete_and_deleting_it_helps(tmp_path: Path, make: Make, file: str) -> None:
    folder = with_manifest(tmp_path / "mine")
    variant = set_up(make(folder)).data.folder
    (variant / file).write_bytes((variant / file).read_bytes()[:-7])
    with pytest.raises(ValueError, match=rf"^prepared data in {variant} are damaged \(.+\): delete that folder and run again$"):
        make(folder).setup()
    for each in variant.iterdir():
        each.unlink()
    variant.rmdir()
    assert set_up(make(folder)).data.folder == variant


def test_a_variant_whose_description_is_unreadable_is_prepared_again(tmp_path: Path, make: Make) -> None:
    folder = with_manifest(tmp_path / "mine")
    variant = set_up(make(folder)).data.folder
    (variant / "meta.json").write_text("{")
    assert set_up(make(folder)).data.meta["prepared_key"] == variant.name


def test_several_that_want_the_same_variant_at_once_prepare_it_once(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = with_manifest(tmp_path / "mine")
    gate, calls, plain = Barrier(4), [], speech.prepare

    def counted(*args: Any) -> None:
        calls.append(args)
        plain(*args)

    def wanted(module: SpeechData) -> str:
        gate.wait(timeout=30)
        return set_up(module).hashes["prepared_key"]

    monkeypatch.setattr(speech, "prepare", counted)
    with ThreadPoolExecutor(4) as pool:
        keys = list(pool.map(wanted, [make(folder) for _ in range(4)]))
    assert len(set(keys)) == 1 and len(calls) == 1 and cached(tmp_path) == [keys[0]]


# A small set that is named and split as FSDD


@pytest.fixture
def fsdd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put two digits of two speakers, nine recordings each, where FSDD would lie; return their ids."""
    folder = tmp_path / "data" / "raw" / "fsdd"
    names = sorted(f"recordings/{digit}_{who}_{index}.wav" for digit in (0, 1) for who in ("ann", "bo") for index in range(9))
    for name in names:
        record(folder / name)
    small = dataclasses.replace(catalogue.FSDD, content_hash=content_hash(folder, names))
    monkeypatch.setattr(SpeechData, "upstreams", {"fsdd": small})
    return [Path(name).stem for name in names]


def test_fsdd_tests_indices_0_to_4_and_carves_validation_within_each_label(fsdd: list[str], make: Make) -> None:
    module = set_up(make("fsdd"))
    assert ids_of(module, "test") == [name for name in fsdd if int(name[-1]) < 5]
    assert len(ids_of(module, "val")) == 2  # four a digit and speaker: too few to carve from each, so one a digit of eight
    assert {name[0] for name in ids_of(module, "val")} == {"0", "1"}
    assert module.split_used == "official test; validation carved from training within each label"
    assert module.hashes["source_hash"] == SpeechData.upstreams["fsdd"].content_hash
    assert module.provenance.startswith("present: ") and module.provenance.endswith("data/raw/fsdd")


def test_what_the_data_stage_prepared_is_used_where_its_settings_fit_and_left_alone_where_not(
    tmp_path: Path, fsdd: list[str], make: Make
) -> None:
    make("fsdd").prepare_stage()
    stage = tmp_path / "data" / "prepared" / "fsdd"
    assert set_up(make("fsdd")).data.folder == stage and not (tmp_path / "data" / "cache").exists()
    other = set_up(make("fsdd", prepare__num_mels=11))
    assert cached(tmp_path) == [other.data.folder.name] and other.data.values.shape[1] == 11
    assert set_up(make("fsdd")).data.values.shape[1] == 40
    for file in sorted((tmp_path / "data" / "raw").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    assert set_up(make("fsdd")).data.folder == stage  # prepared data need no raw ones
    assert set_up(make("fsdd", prepare__num_mels=11)).data.folder == other.data.folder


def test_a_data_stage_is_for_named_sources(tmp_path: Path, make: Make) -> None:
    with pytest.raises(SourceError, match=r"^data.source=sample: DVC stages are for named sources \(fsdd\)$"):
        make("sample").prepare_stage()


# Splits


def all_splits(module: SpeechData) -> dict[str, list[str]]:
    return {split: ids_of(set_up(module), split) for split in SPLITS}


@pytest.mark.parametrize("split", ["random", "grouped", "speaker", "official", "auto"])
def test_the_seed_never_decides_splits(tmp_path: Path, make: Make, split: str) -> None:
    folder = with_manifest(tmp_path / "mine", official)
    found = [all_splits(make(folder, seed=seed, split=split)) for seed in range(4)]
    assert all(each == found[0] for each in found)
    ids = sorted(name for part in found[0].values() for name in part)
    assert ids == sorted(set(ids)) and len(ids) == 24
    if split != "random":
        speakers = [{name.split("_")[1] for name in part} for part in found[0].values()]
        assert sum(map(len, speakers)) == len(set.union(*speakers)) == 4


@pytest.mark.parametrize("split", ["random", "grouped"])
def test_the_split_seed_decides_random_splits(tmp_path: Path, make: Make, split: str) -> None:
    folder = with_manifest(tmp_path / "mine")
    assert len({json.dumps(all_splits(make(folder, split=split, split_seed=split_seed))) for split_seed in range(6)}) >= 3


def test_all_folds_together_test_every_recording_once(tmp_path: Path, make: Make) -> None:
    folder = with_manifest(tmp_path / "mine", official)
    modules = [set_up(make(folder, split="speaker", fold=fold)) for fold in range(4)]
    assert sorted(name for module in modules for name in ids_of(module, "test")) == sorted(modules[0].data.examples["id"])
    assert len({module.hashes["test_hash"] for module in modules}) == 4
    assert len({module.hashes["prepared_key"] for module in modules}) == 1
    with pytest.raises(ValueError, match=r"^data.fold=4: there are 4 speakers, so folds are 0 to 3$"):
        make(folder, split="speaker", fold=4).setup()


# Hashes


def test_relabelling_a_test_recording_changes_the_source_and_the_test(tmp_path: Path, make: Make) -> None:
    folder = with_manifest(tmp_path / "mine", official)
    before = set_up(make(folder)).hashes
    manifest = folder / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("yes_ann_1.wav,yes", "yes_ann_1.wav,no"))
    after = set_up(make(folder)).hashes
    assert {name for name in before if before[name] != after[name]} == {"source_hash", "test_hash", "prepared_key"}


def test_relabelling_a_training_recording_leaves_the_test(tmp_path: Path, make: Make) -> None:
    folder = with_manifest(tmp_path / "mine", official)
    before = set_up(make(folder)).hashes
    manifest = folder / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("yes_cy_1.wav,yes", "yes_cy_1.wav,no"))
    after = set_up(make(folder)).hashes
    assert {name for name in before if before[name] != after[name]} == {"source_hash", "prepared_key"}


@pytest.mark.parametrize(
    ("changed", "hashes"),
    [
        ({"loader__batch_size": 3, "loader__max_seconds": 0.1, "loader__normalise": "training"}, set()),
        ({"seed": 7, "name": "mine"}, set()),
        ({"prepare__num_mels": 11}, {"prepared_key"}),
        ({"prepare__hop_ms": 12.5}, {"prepared_key"}),
        ({"split_seed": 1}, {"test_hash"}),
        ({"val_fraction": 0.3}, {"test_hash"}),
    ],
)
def test_each_hash_changes_exactly_when_it_should(tmp_path: Path, make: Make, changed: dict[str, object], hashes: set[str]) -> None:
    folder = folder_of_labels(tmp_path / "mine", num_each=9)
    before, after = set_up(make(folder)).hashes, set_up(make(folder, **changed)).hashes
    assert {name for name in before if before[name] != after[name]} == hashes


def test_the_test_hash_is_that_of_sorted_ids_and_labels(tmp_path: Path, make: Make) -> None:
    module = set_up(make(with_manifest(tmp_path / "mine", official)))
    pairs = [[f"{label}_ann_{index}.wav", label] for label in ("no", "yes") for index in range(3)]
    assert module.hashes["test_hash"] == hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:16]


# Batches


def rows_of(module: SpeechData, *names: str) -> np.ndarray:
    places = dict(zip(module.data.examples["id"], range(len(module.data.examples)), strict=True))
    return np.array([places[f"{name}.wav"] for name in names])


def frames(module: SpeechData, rows: np.ndarray, place: int, epoch: int = 0) -> torch.Tensor:
    batch = module.collate(rows, epoch, is_training=True)
    return batch.inputs[place, : batch.input_lengths[place]]


def test_a_recording_is_augmented_the_same_way_in_every_batch(tmp_path: Path, make: Make) -> None:
    folder = with_manifest(tmp_path / "mine", official)
    record(folder / "no_cy_1.wav", num_samples=6001)
    module = set_up(make(folder))
    for epoch in range(3):
        alone = frames(module, rows_of(module, "yes_di_2"), 0, epoch)
        beside = frames(module, rows_of(module, "yes_cy_0", "yes_di_2", "no_di_1"), 1, epoch)
        beside_longer = frames(module, rows_of(module, "no_cy_1", "no_cy_0", "yes_di_2"), 2, epoch)
        torch.testing.assert_close(beside, alone, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(beside_longer, alone, atol=1e-5, rtol=1e-5)


def test_augmentation_changes_with_the_epoch_and_the_seed_and_ends_with_training(tmp_path: Path, make: Make) -> None:
    folder = with_manifest(tmp_path / "mine", official)
    one, other = set_up(make(folder, seed=1)), set_up(make(folder, seed=2))
    rows = rows_of(one, "yes_di_2", "no_cy_0")
    found = [module.collate(rows, epoch, True).inputs for module in (one, other) for epoch in (0, 1)]
    assert len({(tuple(inputs.shape), float(inputs.sum())) for inputs in found}) == 4
    plain = [module.collate(rows, epoch, False).inputs for module in (one, other) for epoch in (0, 1)]
    assert all(torch.equal(inputs, plain[0]) for inputs in plain)


NOTHING = {f"loader__augment__{key.name}": 0 for key in dataclasses.fields(Augment) if key.name != "noise_snr_db"}


@pytest.mark.parametrize("changed", [NOTHING, {"loader__is_augmented": False}], ids=["every key is 0", "switched off"])
def test_without_augmentation_training_batches_are_plain_normalisation(tmp_path: Path, make: Make, changed: dict[str, object]) -> None:
    module = set_up(make(with_manifest(tmp_path / "mine", official), **changed))
    rows = module.rows["train"][:5]
    training, plain = module.collate(rows, 3, True), module.collate(rows, 0, False)
    assert torch.equal(training.inputs, plain.inputs) and torch.equal(training.input_lengths, plain.input_lengths)
    raw = np.array(module.data.values[module.data.offsets[rows[2]] : module.data.offsets[rows[2] + 1]], dtype=np.float64)
    raw = np.maximum(raw, raw.max() - module.loader.floor_db * np.log(10) / 10)
    centred = raw - raw.mean(0)
    np.testing.assert_allclose(plain.inputs[2, : len(raw)], centred / (np.sqrt((centred**2).mean()) + 1e-3), atol=1e-4)


def test_longer_recordings_are_cut_for_the_loader_and_whole_on_disk(tmp_path: Path, make: Make) -> None:
    folder = with_manifest(tmp_path / "mine", official)
    record(folder / "no_cy_1.wav", num_samples=6001)
    module = set_up(make(folder, loader__max_seconds=0.5, loader__is_augmented=False))
    rows = rows_of(module, "no_cy_1", "no_cy_0")
    batch = module.collate(rows, 0, True)
    assert module.data.lengths[rows[0]] == 1 + 6001 // 80 and batch.input_lengths[0] == 50
    assert batch.inputs.shape[1] == 56  # rounded up to a multiple of eight
    assert torch.equal(module.reader().read([str(folder / "no_cy_1.wav")])[1].inputs[0], batch.inputs[0, :50])


def test_however_small_the_limit_one_step_is_left(tmp_path: Path, make: Make) -> None:
    module = set_up(make(with_manifest(tmp_path / "mine", official), loader__max_seconds=0.001))
    for batch in module.train_dataloader():
        assert (batch.input_lengths == 1).all() and batch.inputs.isfinite().all()


@pytest.mark.parametrize("floor_db", [None, 20.0])
def test_training_statistics_are_fitted_on_training_recordings_alone(tmp_path: Path, make: Make, floor_db: float | None) -> None:
    folder = with_manifest(tmp_path / "mine", official)

    def statistics() -> tuple[tuple[float, ...], tuple[float, ...]]:
        found = set_up(make(folder, loader__normalise="training", loader__floor_db=floor_db)).reader()
        return found.mean, found.std

    before = statistics()
    for name in ("no_ann_0.wav", "yes_bo_2.wav"):  # test and validation
        record(folder / name, num_samples=2003)
    assert statistics() == before
    record(folder / "no_cy_0.wav", num_samples=2003)
    assert statistics() != before


def test_training_statistics_bring_training_frames_to_mean_0_and_spread_1_per_feature(tmp_path: Path, make: Make) -> None:
    folder = with_manifest(tmp_path / "mine", official)
    for floor_db in (None, 15.0):
        module = set_up(make(folder, loader__normalise="training", loader__floor_db=floor_db, loader__is_augmented=False))
        batch = module.collate(module.rows["train"], 0, True)
        steps = torch.cat([values[:length] for values, length in zip(batch.inputs, batch.input_lengths, strict=True)])
        torch.testing.assert_close(steps.mean(0), torch.zeros(40), atol=1e-3, rtol=0)
        torch.testing.assert_close(steps.std(0, correction=0), torch.ones(40), atol=0.02, rtol=0)


# What does not fit together


@pytest.mark.parametrize(
    ("changed", "cure"),
    [
        ({"prepare__features": "mfcc"}, "data.loader.is_augmented=false data.loader.floor_db=null"),
        ({"prepare__num_deltas": 1}, "data.loader.is_augmented=false data.loader.floor_db=null"),
        ({"prepare__features": "mfcc", "loader__is_augmented": False}, "data.loader.floor_db=null"),
        ({"prepare__features": "mfcc", "loader__floor_db": None}, "data.loader.is_augmented=false"),
    ],
)
def test_what_works_along_mel_bands_is_refused_for_other_features(make: Make, changed: dict[str, object], cure: str) -> None:
    claim = r"^data.loader works along the mel axis \(.*\), which MFCCs and deltas don't have: use data.prepare.features=logmel .*"
    with pytest.raises(ValueError, match=rf"{claim}, or {cure}$"):
        make("sample", **changed)


def test_mfccs_with_deltas_are_batched_where_nothing_needs_mel_bands(tmp_path: Path, make: Make) -> None:
    folder = with_manifest(tmp_path / "mine", official)
    keys = {**NOTHING, "loader__augment__tempo_percent": 20.0, "loader__floor_db": None}
    module = set_up(make(folder, prepare__features="mfcc", prepare__num_deltas=2, **keys))
    batch = module.collate(module.rows["train"], 0, True)
    assert batch.inputs.shape[2] == module.make_spec().input_size == 60 and batch.inputs.isfinite().all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"prepare__features": "mfc"}, r"data.prepare.features=mfc is not allowed. Did you mean 'mfcc'\? Allowed: logmel, mfcc"),
        ({"prepare__num_mels": 0}, r"data.prepare.num_mels=0 is not allowed: it should be greater than or equal to 1"),
        ({"prepare__hop_ms": 0.01}, r"data.prepare.hop_ms=0.01 is less than a sample at 8000 Hz: raise it"),
        ({"prepare__on_broken": "ignore"}, r"data.prepare.on_broken=ignore is not allowed.* Allowed: raise, skip"),
        ({"loader__augment__speed_percent": 100}, r"data.loader.augment.speed_percent=100.0 is not allowed: at most 99"),
        ({"val_fraction": 1.0}, r"data.val_fraction=1.0 is not allowed: it should be less than 1"),
        ({"split": "speakers"}, r"data.split=speakers is not allowed. Did you mean 'speaker'\? Allowed: auto, official, speaker,"),
    ],
)
def test_values_that_are_not_allowed_are_named(make: Make, changed: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make("sample", **changed)


# With another run's eyes, and raw inputs


def reader_of(make: Make, folder: Path) -> SpeechReader:
    return through_json(set_up(make(folder, loader__normalise="training")).reader())


def test_recordings_of_other_people_are_all_test_with_the_labels_and_statistics_of_the_run(tmp_path: Path, make: Make) -> None:
    reader = reader_of(make, with_manifest(tmp_path / "mine", official))
    theirs = tmp_path / "theirs"
    record(theirs / "yes" / "new.wav")
    module = make(theirs, loader__normalise="training")
    module.setup_as_test(reader)
    assert {split: len(rows) for split, rows in module.rows.items()} == {"train": 0, "val": 0, "test": 1}
    (batch,) = module.test_dataloader()
    assert batch.targets.tolist() == [1] and module.make_spec().label_names == ("no", "yes")
    names, read = reader.read([str(theirs / "yes" / "new.wav")])
    assert names == [str(theirs / "yes" / "new.wav")]
    torch.testing.assert_close(batch.inputs[:, : read.inputs.shape[1]], read.inputs, atol=1e-5, rtol=0)
    assert ("labels", "2: no (0), yes (1)") in module.describe()


def test_labels_that_the_run_never_learned_are_refused(tmp_path: Path, make: Make) -> None:
    reader = reader_of(make, with_manifest(tmp_path / "mine", official))
    for label in ("perhaps", "hm", "yes"):
        record(tmp_path / "theirs" / label / "a.wav")
    claim = r"^data.source=.*theirs has the label 'hm' \(2 such\), which the run never learned; it knows: no, yes$"
    with pytest.raises(ValueError, match=claim):
        make(tmp_path / "theirs").setup_as_test(reader)


def test_raw_inputs_may_be_paths_or_bytes_of_any_length(tmp_path: Path, make: Make) -> None:
    folder = with_manifest(tmp_path / "mine", official)
    reader = reader_of(make, folder)
    files = [folder / "no_ann_0.wav", folder / "yes_ann_1.wav"]
    _, paths = reader.read([str(file) for file in files])
    names, contents = reader.read([file.read_bytes() for file in files])
    assert names == ["input 0", "input 1"]
    assert torch.equal(paths.inputs, contents.inputs) and torch.equal(paths.input_lengths, contents.input_lengths)
    _, alone = reader.read([str(files[1])])
    torch.testing.assert_close(paths.inputs[1, : alone.inputs.shape[1]], alone.inputs[0], atol=1e-5, rtol=0)
    assert paths.targets.tolist() == [-1, -1]


def test_a_raw_input_that_cannot_be_read_is_named(tmp_path: Path, make: Make) -> None:
    folder = with_manifest(tmp_path / "mine", official)
    reader = reader_of(make, folder)
    whole = (folder / "no_ann_0.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[:300])
    with pytest.raises(BrokenRecording, match=r"^.*cut.wav: truncated: "):
        reader.read([str(folder / "cut.wav")])
    with pytest.raises(BrokenRecording, match=r"^input 1: truncated: "):
        reader.read([whole, whole[:300]])


# What a person is told


def test_the_description_counts_what_there_is(tmp_path: Path, make: Make) -> None:
    module = set_up(make(with_manifest(tmp_path / "mine", official)))
    told = dict(module.describe())
    assert told["recordings"].startswith("24, 0.00 h") and told["labels"] == "2: no (12), yes (12)"
    assert told["speakers"] == "4: ann, bo, cy, di" and told["split"] == "official (train, val and test as given)"
    assert told[""] == "train 12, val 6, test 6" and told["odd"] == "nothing"
    assert told["frames"] == f"{module.data.lengths.sum():,} of 40 logmel"


def test_long_lists_are_shortened_and_unknown_speakers_said_to_be_so(tmp_path: Path, make: Make) -> None:
    for label in range(14):
        for index in range(3):
            record(tmp_path / "mine" / str(label) / f"{label}-{index}.wav", num_samples=300)
    told = dict(set_up(make(tmp_path / "mine")).describe())
    assert told["labels"].startswith("14: 0 (3), 1 (3), 2 (3)") and told["labels"].endswith("11 (3), ... 2 more")
    assert told["speakers"] == "unknown"


def test_the_sample_keeps_speakers_apart(make: Make, root: Path) -> None:
    module = set_up(make("sample", data=root / "data"))
    speakers = [set(module.data.examples["speaker"].iloc[module.rows[split]]) for split in SPLITS]
    assert [len(module.rows[split]) for split in SPLITS] == [400, 100, 100]
    assert [len(each) for each in speakers] == [8, 2, 2] and len(set.union(*speakers)) == 12
    assert module.data.examples.groupby(["label", "speaker"]).size().eq(5).all()


@pytest.mark.slow
@pytest.mark.skipif(MIRROR is None, reason="RNNLAB_MIRROR names no folder with a copy of FSDD")
def test_the_real_fsdd_is_what_was_published(make: Make) -> None:
    module = set_up(make("fsdd"))
    examples: pd.DataFrame = module.data.examples
    assert len(examples) == 3000 and examples.groupby(["label", "speaker"]).size().eq(50).all()
    assert sorted(set(examples["speaker"])) == ["george", "jackson", "lucas", "nicolas", "theo", "yweweler"]
    assert [len(module.rows[split]) for split in SPLITS] == [2460, 240, 300]
    assert all(name[-2:] in ("_0", "_1", "_2", "_3", "_4") for name in ids_of(module, "test"))
    assert module.hashes["source_hash"] == "04e1baae96c6a26e39c623f2b01d0182ddae627ba0ac02a3cdc17ba2af99fd9b"
    # sha256 of [["0_george_0", "0"], ...], the ids of recordings/*_[0-4].wav, as Python's json writes it
    assert module.hashes["test_hash"] == "2e79947f7b16a3b9"
    assert module.provenance.startswith("mirror: ")
    assert module.data.meta["broken"] == []
