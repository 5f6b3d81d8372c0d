"""Claims about what every data module shares, and the questions that each data set of conf/data is put through."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rnnlab.bundle import reader
from rnnlab.config import Config, recipe
from rnnlab.contracts import IGNORED_TARGET, Batch, DataSpec, valid_mask
from rnnlab.data.base import SPLITS, SequenceDataModule, Split
from rnnlab.data.prepared import Prepared

LENGTHS = (3, 5, 2)
GOLDEN, WORD = 0x9E3779B97F4A7C15, 2**64

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
    module: SequenceDataModule, monkeypatch: pytest.MonkeyPatch, split: Split, rows: object, message: str
) -> None:
    monkeypatch.setattr(module, "rows", {**module.rows, split: module.rows["train"] if rows == "train" else np.arange(0)})
    with pytest.raises(ValueError, match=message):
        module.check_splits()
