"""Claims about what every data module shares, and the questions that each data set of conf/data is put through."""

import contextlib
import errno
import json
import multiprocessing
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import BrokenBarrierError

import numpy as np
import pandas as pd
import pytest
import torch

from rnnlab.bundle import reader
from rnnlab.config import Config, recipe
from rnnlab.contracts import IGNORED_TARGET, Batch, DataSpec, valid_mask
from rnnlab.data import base
from rnnlab.data.base import (
    SPLITS,
    BatchLoader,
    EpochOrder,
    ExampleRandom,
    Prepared,
    SequenceDataModule,
    code_hash,
    digest,
    open_prepared,
    pad_rows,
    prepare_once,
    read_meta,
    round_up_steps,
    write_prepared,
)

LENGTHS = (3, 5, 2)
GOLDEN, WORD = 0x9E3779B97F4A7C15, 2**64


def write(folder: Path) -> Path:
    sequences = [np.full((length, 4), length, dtype=np.float32) for length in LENGTHS]
    write_prepared(folder, sequences, pd.DataFrame({"id": ["a", "b", "c"], "label": ["0", "1", "0"]}), {"prepared_key": "k"})
    return folder


# Prepared folders


def test_what_was_written_is_read_and_nothing_else_is_left(tmp_path: Path) -> None:
    prepared = open_prepared(write(tmp_path / "deep" / "here"))
    assert prepared.lengths.tolist() == list(LENGTHS)
    assert prepared.values.dtype == np.float32 and prepared.values[:, 1].tolist() == [3] * 3 + [5] * 5 + [2] * 2
    assert isinstance(prepared.values, np.memmap)
    assert prepared.examples["id"].tolist() == ["a", "b", "c"] and prepared.meta == {"prepared_key": "k", "num_steps": 10}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["here"]


def test_writing_again_replaces_what_was_there(tmp_path: Path) -> None:
    (write(tmp_path / "here") / "note").write_text("old")
    assert not (write(tmp_path / "here") / "note").exists()


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-5])


def shorten_table(file: Path) -> None:
    pd.read_parquet(file).iloc[:2].to_parquet(file)


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "values missing": ("values.npy", Path.unlink),
    "values empty": ("values.npy", lambda file: file.write_bytes(b"")),
    "values truncated": ("values.npy", truncate),
    "values with code": ("values.npy", lambda file: np.save(file, np.array([{}]))),
    "offsets truncated": ("offsets.npy", truncate),
    "offsets of another": ("offsets.npy", lambda file: np.save(file, np.array([0, 3, 10]))),
    "offsets a number": ("offsets.npy", lambda file: np.save(file, np.array(3))),
    "table truncated": ("examples.parquet", truncate),
    "table shorter": ("examples.parquet", shorten_table),
    "meta no JSON": ("meta.json", lambda file: file.write_text("{")),
    "meta a list": ("meta.json", lambda file: file.write_text("[]")),
    "meta without counts": ("meta.json", lambda file: file.write_text("{}")),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_folder_says_which_folder_to_delete(tmp_path: Path, name: str) -> None:
    file, damage = DAMAGES[name]
    folder = write(tmp_path / "here")
    damage(folder / file)
    with pytest.raises(ValueError, match=rf"^prepared data in {folder} are damaged \(.+\): delete that folder and run again$"):
        open_prepared(folder)


def test_meta_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert read_meta(write(tmp_path / "here")) == {"prepared_key": "k", "num_steps": 10}
    assert read_meta(tmp_path / "nowhere") is None
    for text in ("{", "[]"):
        (tmp_path / "here" / "meta.json").write_text(text)
        assert read_meta(tmp_path / "here") is None


def test_a_full_disk_leaves_nothing_behind_and_says_where_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", fail)
    claim = (
        r"^cannot write prepared data to .*here \(No space left on device\): free some space or give another place with paths.data=FOLDER$"
    )
    with pytest.raises(ValueError, match=claim):
        write(tmp_path / "here")
    assert list(tmp_path.iterdir()) == []


def test_a_place_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("a regular file")
    with pytest.raises(ValueError, match=r"cannot write prepared data to .*note/here \(Not a directory\): .*paths.data=FOLDER"):
        write(tmp_path / "note" / "here")
    for folder in (tmp_path / "note" / "here", tmp_path / "note" / "deeper" / "here"):
        with pytest.raises(ValueError, match=r"^cannot write to .*note.* \((Not a directory|File exists)\): .* with paths.data=FOLDER$"):
            prepare_once(folder, folder.exists, lambda: pytest.fail("nothing to build there"))


def test_a_read_only_disk_says_where_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(ValueError, match=r"^cannot write to .* \(Read-only file system\): give another place with paths.data=FOLDER$"):
        prepare_once(tmp_path / "cache" / "here", lambda: False, lambda: None)


def test_an_error_while_building_is_not_taken_for_one_of_the_place(tmp_path: Path) -> None:
    def build() -> None:
        raise PermissionError(errno.EACCES, "a recording is not yours")

    for _ in range(2):  # the lock was released
        with pytest.raises(PermissionError, match="a recording is not yours"):
            prepare_once(tmp_path / "here", lambda: False, build)


def build_and_count(folder: Path, log: Path, gate: Barrier, meeting: Barrier) -> None:
    checks = []

    def is_current() -> bool:
        checks.append(folder.exists())
        if len(checks) == 1:
            gate.wait(timeout=30)  # all have seen that it is missing
        return checks[-1]

    def build() -> None:
        with log.open("a") as file:
            file.write("built\n")
        with contextlib.suppress(BrokenBarrierError):  # nobody else comes here
            meeting.wait(timeout=0.2)
        folder.mkdir()

    prepare_once(folder, is_current, build)
    assert folder.exists()


def test_processes_that_want_the_same_folder_at_once_build_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    folder, log = tmp_path / "variant", tmp_path / "log"
    shared = (folder, log, context.Barrier(4), context.Barrier(2))
    processes = [context.Process(target=build_and_count, args=shared) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert log.read_text() == "built\n"


# Hashes


def test_a_digest_is_that_of_sorted_json() -> None:
    # printf '{"a": [1, "é"], "b": null}' | sha256sum | head -c 16
    assert digest({"b": None, "a": [1, "é"]}) == digest({"a": [1, "é"], "b": None}) == "67bede5415afadc6"
    assert digest({"a": ["é", 1], "b": None}) != digest({"a": [1, "é"], "b": None})


CODE = '''"""Words about the module."""

LIMIT = 3
"""Words about the limit."""


def prepare(x: int) -> int:
    """Words about the function."""
    return x + LIMIT  # a comment


class Settings:
    """Words about the settings."""

    rate: int
    """Words about the rate."""


class Loader(Settings):
    """Words about the loader."""

    def load(self) -> int:
        return 1
'''


def hash_of(folder: Path, text: str, classes: bool = False) -> str:
    (folder / "module.py").write_text(text, encoding="utf-8")
    return code_hash(folder / "module.py", classes=classes)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        *[(f"Words about the {noun}.", "Other words.") for noun in ("module", "limit", "function", "settings", "rate", "loader")],
        ("  # a comment", ""),
        ("x + LIMIT", "(x  +\n        LIMIT)"),
        ('    """Words about the function."""\n', ""),
        ("return 1", "return 2"),
        ("class Loader(Settings)", "class Reader(Settings)"),
    ],
)
def test_words_layout_and_loaders_do_not_change_the_hash_of_code(tmp_path: Path, old: str, new: str) -> None:
    assert CODE.count(old) == 1
    assert hash_of(tmp_path, CODE.replace(old, new)) == hash_of(tmp_path, CODE)


@pytest.mark.parametrize(("old", "new"), [("LIMIT = 3", "LIMIT = 4"), ("x + LIMIT", "LIMIT + x"), ("rate: int", "rate: float")])
def test_code_changes_the_hash_of_code(tmp_path: Path, old: str, new: str) -> None:
    assert hash_of(tmp_path, CODE.replace(old, new)) != hash_of(tmp_path, CODE)


def test_the_hash_of_a_package_follows_derived_classes_too(tmp_path: Path) -> None:
    whole = hash_of(tmp_path, CODE, classes=True)
    assert hash_of(tmp_path, CODE.replace("return 1", "return 2"), classes=True) != whole
    assert hash_of(tmp_path, CODE.replace("Words about the loader.", "Other words."), classes=True) == whole


# Random numbers per example


def splitmix64(x: int) -> int:
    """Finalise as in Steele, Lea and Flood (2014), variant 13, in Python's integers."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % WORD
    return x ^ (x >> 31)


@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (1, 7), (2, 0), (2**63, 1), (12345, 678)])
def test_draws_are_those_of_splitmix64_and_no_seed_is_too_large(seed: int, epoch: int) -> None:
    ids = [4, 0, 2999]
    keys = [splitmix64(splitmix64((seed * GOLDEN + epoch) % WORD) ^ splitmix64(number)) for number in ids]
    wanted = [[(splitmix64((key + index * GOLDEN) % WORD) >> 40) / 2**24 for index in range(1, 8)] for key in keys]
    random = ExampleRandom(seed, epoch, np.array(ids))
    first, others = random.uniform(), random.uniform(2, 3)
    assert first.shape == (3,) and others.shape == (3, 2, 3) and first.dtype == torch.float32
    assert torch.equal(torch.cat([first[:, None], others.flatten(1)], 1), torch.tensor(wanted))


def test_draws_do_not_depend_on_the_batch() -> None:
    alone, together = ExampleRandom(3, 1, np.array([7])), ExampleRandom(3, 1, np.array([2, 9, 7, 4]))
    assert torch.equal(alone.uniform(5)[0], together.uniform(5)[2])
    assert torch.equal(alone.child(1).uniform(3, 4)[0], together.child(1).uniform(6, 4)[2, :3])  # more draws, the same first ones
    assert torch.equal(alone.between(-2, 5)[0], together.between(-2, 5)[2])


def test_uniform_draws_fill_0_to_1_evenly_across_examples_epochs_and_streams() -> None:
    draws = [ExampleRandom(seed, epoch, np.arange(500)).uniform(20) for seed in range(3) for epoch in range(3)]
    draws.append(ExampleRandom(0, 0, np.arange(500)).child(1).uniform(20))
    values = torch.stack(draws)
    assert values.min() >= 0 and values.max() < 1
    assert values.mean() == pytest.approx(0.5, abs=0.005) and values.var() == pytest.approx(1 / 12, abs=0.002)
    correlation = torch.corrcoef(values.flatten(1)) - torch.eye(10)
    assert correlation.abs().max() < 0.04
    assert torch.corrcoef(values[0].T).fill_diagonal_(0).abs().max() < 0.2  # the draws of one example


def test_draws_between_two_numbers_stay_there() -> None:
    values = ExampleRandom(0, 0, np.arange(2000)).between(-3, 5)
    assert -3 <= values.min() < -2.9 and 4.9 < values.max() < 5


# Order


def order(seed: int = 0, epoch: int = 0, bucket_batches: int = 1, batch_size: int = 4) -> list[np.ndarray]:
    ids = np.arange(100, 123)
    found = EpochOrder(ids, (ids * 7) % 19, batch_size, seed, bucket_batches)
    found.set_epoch(epoch)
    assert len(found) == len(found.batches()) == -(-23 // batch_size)
    return found.batches()


def lengths_of(ids: np.ndarray) -> list[int]:
    return ((ids * 7) % 19).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("bucket_batches", [0, 1, 2, 3, 50])
@pytest.mark.parametrize("epoch", [0, 1])
def test_every_epoch_has_each_example_once(bucket_batches: int, epoch: int) -> None:
    batches = order(epoch=epoch, bucket_batches=bucket_batches)
    assert sorted(np.concatenate(batches).tolist()) == list(range(100, 123))
    assert sorted(len(batch) for batch in batches) == [3, 4, 4, 4, 4, 4]


@pytest.mark.parametrize("bucket_batches", [1, 3])
def test_the_order_follows_from_seed_and_epoch_alone(bucket_batches: int) -> None:
    orders = {(seed, epoch): np.concatenate(order(seed, epoch, bucket_batches)).tolist() for seed in range(3) for epoch in range(3)}
    assert orders[1, 2] == np.concatenate(order(1, 2, bucket_batches)).tolist()
    assert len({tuple(ids) for ids in orders.values()}) == 9


def test_evaluation_goes_by_length_in_every_epoch() -> None:
    ids = np.concatenate(order(bucket_batches=0))
    assert lengths_of(ids) == sorted(lengths_of(ids))
    assert np.concatenate(order(seed=5, epoch=3, bucket_batches=0)).tolist() == ids.tolist()


def test_buckets_hold_neighbours_of_like_length_and_come_in_random_order() -> None:
    def spread(bucket_batches: int) -> float:
        return float(
            np.mean([np.ptp(lengths_of(batch)) for epoch in range(5) for batch in order(epoch=epoch, bucket_batches=bucket_batches)])
        )

    assert spread(50) < spread(3) < spread(1)
    assert any(lengths_of(order(epoch=epoch, bucket_batches=50)[0]) != lengths_of(order(bucket_batches=50)[0]) for epoch in range(1, 5))


def test_a_loader_tells_the_epoch_and_can_begin_within_one_once() -> None:
    def collate(rows: np.ndarray, epoch: int) -> Batch:
        ids = torch.from_numpy(rows)
        return Batch(ids, ids, ids, torch.full_like(ids, epoch), ids)

    loader = BatchLoader(EpochOrder(np.arange(11), np.arange(11), 4, 0, 1), collate)
    loader.sampler.set_epoch(7)
    whole = [batch.example_ids.tolist() for batch in loader]
    assert len(loader) == len(whole) == 3 and {int(batch.target_lengths[0]) for batch in loader} == {7}
    loader.skip_once(2)
    assert [batch.example_ids.tolist() for batch in loader] == whole[2:]
    assert [batch.example_ids.tolist() for batch in loader] == whole


# Batches


@pytest.mark.parametrize(("max_steps", "lengths"), [(None, [2, 3]), (3, [2, 3]), (1, [1, 1])])
def test_rows_are_padded_with_zeros_and_cut(tmp_path: Path, max_steps: int | None, lengths: list[int]) -> None:
    values_BTF, lengths_B = pad_rows(open_prepared(write(tmp_path / "here")), np.array([2, 0]), max_steps)
    assert lengths_B.tolist() == lengths and lengths_B.dtype == torch.int64 and values_BTF.shape == (2, max(lengths), 4)
    mask_BT = valid_mask(lengths_B, max(lengths))
    assert torch.equal(values_BTF[..., 3], mask_BT * torch.tensor([2.0, 3.0])[:, None])


@pytest.mark.parametrize(("steps", "rounded"), [(1, 8), (8, 8), (9, 16)])
def test_time_is_rounded_up_with_zeros(steps: int, rounded: int) -> None:
    found_BTF = round_up_steps(torch.ones(2, steps, 3))
    assert found_BTF.shape == (2, rounded, 3) and found_BTF.sum() == 2 * steps * 3


# What every data set of conf/data answers

NAMES = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "data").glob("*.yaml"))
MODULES: dict[str, SequenceDataModule] = {}


@pytest.fixture(params=NAMES)
def module(request: pytest.FixtureRequest, compose: Callable[..., Config]) -> SequenceDataModule:
    """Set each data set up once, speech from the bundled sample."""
    name: str = request.param
    if name not in MODULES:
        config = compose(f"data={name}")
        if config["data"]["_target_"] == "rnnlab.data.speech.SpeechData":
            config = compose(f"data={name}", "data.source=sample")
        MODULES[name] = recipe(config["data"], "data")(config["paths"], 3)
        MODULES[name].setup()
    return MODULES[name]


def check_targets(batch: Batch, spec: DataSpec) -> None:
    targets = batch.targets
    assert batch.target_lengths.dtype == torch.int64 and batch.target_lengths.shape == (batch.size,)
    if spec.target_kind == "real":
        assert targets.dtype == torch.float32 and targets.shape == (batch.size, spec.target_size)
        assert targets.isfinite().all() and (batch.target_lengths == 1).all()
        return
    assert targets.dtype == torch.int64
    if spec.target_kind == "class":
        assert targets.shape == (batch.size,) and (batch.target_lengths == 1).all()
        valid = torch.ones_like(targets, dtype=torch.bool)
    else:
        assert torch.equal(batch.target_lengths, batch.input_lengths)
        valid = valid_mask(batch.target_lengths, targets.shape[1])
        assert (targets[~valid] == IGNORED_TARGET).all()
    assert ((targets[valid] >= 0) & (targets[valid] < spec.target_size)).all()


def check_inputs(batch: Batch, spec: DataSpec) -> None:
    inputs, lengths_B = batch.inputs, batch.input_lengths
    num_steps = inputs.shape[1]
    assert lengths_B.dtype == torch.int64 and lengths_B.shape == (batch.size,)
    assert lengths_B.min() >= 1 and lengths_B.max() <= num_steps
    padding_BT = ~valid_mask(lengths_B, num_steps)
    if spec.input_kind == "features":
        assert inputs.dtype == torch.float32 and inputs.shape == (batch.size, num_steps, spec.input_size)
        assert inputs.isfinite().all() and inputs[~padding_BT].any()
    else:
        assert inputs.dtype == torch.int64 and inputs.shape == (batch.size, num_steps)
        assert inputs.min() >= 0 and inputs.max() < spec.input_size
    assert not inputs[padding_BT].any()


def test_every_batch_keeps_the_contract(module: SequenceDataModule) -> None:
    spec = module.make_spec()
    for split, loader in zip(SPLITS, (module.train_dataloader(), module.val_dataloader(), module.test_dataloader()), strict=True):
        ids = []
        for batch in loader:
            check_inputs(batch, spec)
            check_targets(batch, spec)
            assert batch.example_ids.dtype == torch.int64 and 1 <= batch.size <= module.batch_size
            ids += batch.example_ids.tolist()
        assert sorted(ids) == sorted(module.rows[split].tolist())


def test_splits_are_disjoint_and_none_is_empty(module: SequenceDataModule) -> None:
    parts = [set(module.rows[split].tolist()) for split in SPLITS]
    assert all(parts) and len(set.union(*parts)) == sum(map(len, parts))
    assert set.union(*parts) <= set(range(len(module.data.examples)))


def test_the_spec_says_what_the_data_are(module: SequenceDataModule) -> None:
    spec = module.make_spec()
    assert spec.name == module.name and spec.input_size >= 1 and spec.target_size >= 1
    if spec.input_kind == "features":
        assert spec.input_size == module.data.values.shape[1]
    if spec.target_kind != "real":
        assert len(set(spec.label_names)) == len(spec.label_names) == len(spec.class_counts) == spec.target_size
    if spec.target_kind == "class":
        assert sum(spec.class_counts) == len(module.rows["train"])


def test_training_batches_follow_from_seed_and_epoch(module: SequenceDataModule) -> None:
    def first(epoch: int) -> Batch:
        loader = module.train_dataloader()
        loader.sampler.set_epoch(epoch)
        return next(iter(loader))

    one, same, other = first(1), first(1), first(2)
    assert torch.equal(one.inputs, same.inputs) and torch.equal(one.example_ids, same.example_ids)
    assert not torch.equal(one.example_ids, other.example_ids)


def test_the_description_is_pairs_of_words(module: SequenceDataModule) -> None:
    pairs = module.describe()
    assert pairs and all(isinstance(name, str) and isinstance(text, str) and text for name, text in pairs)
    assert module.group_column in module.data.examples
    assert {name: len(value) >= 16 for name, value in module.hashes.items()} == dict.fromkeys(
        ("source_hash", "prepared_key", "test_hash"), True
    )


def test_the_bundle_is_json_that_reads_a_raw_input_as_the_loader_does(module: SequenceDataModule) -> None:
    bundle = json.loads(json.dumps(module.bundle(), allow_nan=False))
    read = reader(bundle["kind"])
    if bundle["kind"] != "speech":
        pytest.skip("its raw inputs are not the sample's recordings")
    rows = module.rows["test"][[0, 17, 5]]
    folder = Path(__file__).parents[2] / "data" / "samples" / "speech"
    found = read(bundle, [str(folder / module.data.examples["id"].iloc[row]) for row in rows])
    wanted = module.collate(rows, epoch=0, is_training=False)
    assert torch.equal(found.input_lengths, wanted.input_lengths)
    torch.testing.assert_close(found.inputs, wanted.inputs[:, : found.inputs.shape[1]], atol=1e-5, rtol=0)
    check_inputs(found, module.make_spec())


def test_opened_data_are_asked_for_before_they_are_set_up(module: SequenceDataModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "prepared", None)
    with pytest.raises(RuntimeError, match=r"call setup\(\) first"):
        _: Prepared = module.data


@pytest.mark.parametrize(
    ("split", "rows", "message"),
    [
        (
            "val",
            [],
            r"^the val split is empty: \d+ examples are too few for data.split=.*; give more data, another split, or a `split` column$",
        ),
        ("val", "train", r"^an example is in two splits: this is an error in the data module, not in your data$"),
    ],
)
def test_splits_that_are_empty_or_overlap_are_refused(
    module: SequenceDataModule, monkeypatch: pytest.MonkeyPatch, split: base.Split, rows: object, message: str
) -> None:
    monkeypatch.setattr(module, "rows", {**module.rows, split: module.rows["train"] if rows == "train" else np.arange(0)})
    with pytest.raises(ValueError, match=message):
        module.check_splits()
