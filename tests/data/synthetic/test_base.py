"""Claims about what must be remembered: each sequence is what the literature defines, and follows from nothing but what it should."""

from collections.abc import Callable
from functools import reduce
from math import log
from operator import xor
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from rnnlab.config import Config, ConfigError, recipe
from rnnlab.contracts import Batch, valid_mask
from rnnlab.data.synthetic.adding import AddingReader
from rnnlab.data.synthetic.base import MemoryData, MemoryReader
from rnnlab.data.synthetic.copying import CopyingReader
from rnnlab.data.synthetic.parity import ParityReader
from rnnlab.paths import HOME
from rnnlab.settings import Paths

Make = Callable[..., MemoryData]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make and set up the data module of conf/data/<name>.yaml, small, with changed keys."""

    def made(name: str, seed: int = 0, **changed: object) -> MemoryData:
        config: Config = yaml.safe_load((HOME / "conf/data" / f"{name}.yaml").read_text(encoding="utf-8"))
        small = {"num_steps": 7, "num_train": 20, "num_val": 6, "num_test": 9, "loader": {"batch_size": 8}}
        assert not set(changed) - set(config)
        module: MemoryData = recipe(config | small | changed, "data")(Paths.below(tmp_path), seed)
        module.setup()
        return module

    return made


def all_of(module: MemoryData) -> Batch:
    return module.collate(module.rows["test"], epoch=0, is_training=False)


# The three problems


def test_adding_marks_one_value_in_each_half_and_asks_for_their_sum(make: Make) -> None:
    batch = all_of(make("adding", num_test=200))
    values_BT, marks_BT = batch.inputs.unbind(-1)
    assert batch.inputs.shape == (200, 7, 2) and set(marks_BT.unique().tolist()) == {0.0, 1.0}
    assert (marks_BT[:, :3].sum(1) == 1).all() and (marks_BT[:, 3:].sum(1) == 1).all()
    assert (marks_BT.sum(0) > 0).all(), "every place is marked in some sequence"
    for values, marks, target in zip(values_BT.tolist(), marks_BT.tolist(), batch.targets.tolist(), strict=True):
        first, second = (value for value, mark in zip(values, marks, strict=True) if mark)
        assert target == pytest.approx([first + second])
    assert values_BT.min() >= 0 and values_BT.max() < 1


def test_the_constant_one_has_an_error_of_a_sixth_on_adding(make: Make) -> None:
    targets = all_of(make("adding", num_steps=2, num_test=20_000)).targets[:, 0].double()
    errors = (targets - 1).square()
    # Of two uniforms Var(u + v) = 2 / 12; the fourth central moment is 2 / 80 + 6 / 144, so a squared error has the variance 7 / 180.
    assert errors.mean() == pytest.approx(1 / 6, abs=4 * (7 / 180 / 20_000) ** 0.5)
    assert errors.var() == pytest.approx(7 / 180, rel=0.05)
    assert abs(float(errors.mean()) - 0.1767) > 4 * (7 / 180 / 20_000) ** 0.5, "the number that is often printed"


def test_copying_asks_behind_the_delimiter_for_the_ten_symbols_that_came_first(make: Make) -> None:
    batch = all_of(make("copying", num_steps=4))
    assert batch.inputs.shape == (9, 24, 10) and batch.targets.shape == (9, 24)
    assert (batch.inputs.sum(-1) == 1).all() and torch.equal(batch.target_lengths, batch.input_lengths)
    seen_BT = batch.inputs.argmax(-1)
    assert ((seen_BT[:, :10] >= 1) & (seen_BT[:, :10] <= 8)).all()
    assert seen_BT[:, 10:].tolist() == [[0, 0, 0, 9, *[0] * 10]] * 9  # T - 1 blanks, the delimiter, ten blanks
    assert (batch.targets[:, :14] == 0).all() and torch.equal(batch.targets[:, 14:], seen_BT[:, :10])


def test_all_symbols_of_copying_and_both_bits_of_parity_are_drawn_alike(make: Make) -> None:
    symbols = all_of(make("copying", num_test=1000)).targets[:, -10:]
    counts = torch.bincount(symbols.flatten(), minlength=9)
    assert counts[0] == 0 and (counts[1:] - 1250).abs().max() < 4.5 * (10_000 * 7 / 64) ** 0.5
    assert all_of(make("parity", num_test=1000)).inputs.mean() == pytest.approx(0.5, abs=4 * 0.5 / 7000**0.5)


def test_parity_is_the_exclusive_or_of_all_bits(make: Make) -> None:
    module = make("parity", num_test=50)
    batch = all_of(module)
    assert batch.inputs.shape == (50, 7, 1)
    assert batch.targets.tolist() == [reduce(xor, map(int, bits)) for bits in module.shown(module.rows["test"])]
    assert set(batch.targets.tolist()) == {0, 1}


@pytest.mark.parametrize(("name", "num_steps", "length"), [("adding", 2, 2), ("copying", 1, 21), ("parity", 2, 2), ("adding", 601, 601)])
def test_any_length_can_be_had(make: Make, name: str, num_steps: int, length: int) -> None:
    module = make(name, num_steps=num_steps)
    batch = all_of(module)
    assert batch.inputs.shape[1] == length and (batch.input_lengths == length).all() and (module.lengths == length).all()


@pytest.mark.parametrize(
    ("name", "solved_at", "words"),
    [
        ("adding", 0.01, "mse below 0.01; the constant 1 has 1/6 = 0.1667"),
        ("copying", log(8) / 220, "loss below 0.009452, a tenth of 10 ln 8 / (T + 20) = 0.09452, had without memory"),
        ("parity", 0.99, "accuracy above 99 %; guessing has 50 %"),
    ],
)
def test_the_data_say_when_they_are_solved(make: Make, name: str, solved_at: float, words: str) -> None:
    module = make(name, num_steps=200)
    assert module.make_spec().solved_at == pytest.approx(solved_at)
    assert ("solved", words) in module.describe()


# What sequences follow from


@pytest.mark.parametrize("name", ["adding", "copying", "parity"])
def test_test_sequences_follow_from_the_split_seed_and_not_from_the_seed(make: Make, name: str) -> None:
    first, again, other = make(name), make(name, seed=5), make(name, split_seed=1)
    assert torch.equal(all_of(first).inputs, all_of(again).inputs) and first.hashes == again.hashes
    assert not torch.equal(all_of(first).inputs, all_of(other).inputs)
    assert all(first.hashes[hashed] != other.hashes[hashed] for hashed in first.hashes)


@pytest.mark.parametrize("name", ["adding", "copying", "parity"])
def test_training_sequences_are_new_in_every_epoch_for_every_seed_and_split_seed(make: Make, name: str) -> None:
    rows = np.arange(20)
    modules = {"seed": make(name, seed=1, num_steps=30), "split": make(name, split_seed=1, num_steps=30), "": make(name, num_steps=30)}
    drawn = [modules[""].collate(rows, epoch, is_training=True).inputs for epoch in (0, 1)]
    drawn += [modules[which].collate(rows, 0, is_training=True).inputs for which in ("seed", "split")]
    drawn += [modules[""].collate(rows, 0, is_training=False).inputs]
    flat = torch.stack(drawn).flatten(0, 1)
    assert len(flat.unique(dim=0)) == len(flat) == 100
    again = make(name, num_steps=30).collate(rows, 1, is_training=True)
    assert torch.equal(again.inputs, drawn[1])


@pytest.mark.parametrize("name", ["adding", "copying", "parity"])
def test_a_training_sequence_does_not_depend_on_its_neighbours_in_the_batch(make: Make, name: str) -> None:
    module = make(name)
    together = module.collate(np.array([3, 11, 4]), epoch=2, is_training=True)
    alone = module.collate(np.array([4]), epoch=2, is_training=True)
    assert torch.equal(together.inputs[2:], alone.inputs) and torch.equal(together.targets[2:], alone.targets)


def test_hashes_change_with_what_changes_the_sequences_and_with_nothing_else(make: Make) -> None:
    source = make("parity").hashes["source_hash"]
    assert make("parity", loader={"batch_size": 3}).hashes["source_hash"] == source
    for key, value in {"num_steps": 8, "num_train": 21, "num_val": 7, "num_test": 10, "split_seed": 2}.items():
        assert make("parity", **{key: value}).hashes["source_hash"] != source, key


# Bad input


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("adding", {"num_steps": 1}, r"^data.num_steps=1 is too short: the adding problem marks one value in each half.*; give 2 or more$"),
        ("parity", {"num_steps": 1}, r"^data.num_steps=1 is too short: the parity of one bit is that bit; give 2 or more$"),
        ("copying", {"num_steps": 0}, r"^data.num_steps=0 is not allowed: it should be greater than or equal to 1$"),
        ("adding", {"num_train": 0}, r"^data.num_train=0 is not allowed: it should be greater than or equal to 1$"),
        ("parity", {"num_val": 0}, r"^data.num_val=0 is not allowed"),
        ("copying", {"num_test": -3}, r"^data.num_test=-3 is not allowed"),
        ("copying", {"loader": {"batch_size": 0}}, r"^data.loader.batch_size=0 is not allowed"),
    ],
)
def test_what_gives_no_sequences_is_refused_in_words(make: Make, name: str, changed: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, ConfigError), match=message):
        make(name, **changed)


# Written sequences


def test_written_sequences_of_different_lengths_are_padded() -> None:
    names, batch = AddingReader().read(["0.2 0.7* 0.1 0.4*", "0.5* 1*"])
    assert names == ["0.2 0.7* 0.1 0.4*", "0.5* 1*"] and batch.input_lengths.tolist() == [4, 2]
    wanted = [[[0.2, 0], [0.7, 1], [0.1, 0], [0.4, 1]], [[0.5, 1], [1, 1], [0, 0], [0, 0]]]
    torch.testing.assert_close(batch.inputs, torch.tensor(wanted))
    assert batch.targets.isnan().all() and batch.reference is not None and (batch.reference.persistence == 1).all()
    _, batch = CopyingReader().read(["ah-->", "b"])
    assert batch.inputs.argmax(-1).tolist() == [[1, 8, 0, 0, 9], [2, 0, 0, 0, 0]]
    assert not batch.inputs[~valid_mask(batch.input_lengths, 5)].any() and (batch.targets == -1).all()
    _, batch = ParityReader().read(["011", "1"])
    assert batch.inputs[..., 0].tolist() == [[0, 1, 1], [1, 0, 0]]


@pytest.mark.parametrize(
    ("reader", "text", "message"),
    [
        (
            AddingReader(),
            "0.1 0.2* 0.3",
            r"^'0.1 0.2\* 0.3' is no adding problem: wanted numbers, two of them with a star, such as 0.2 0.7\* ",
        ),
        (AddingReader(), "one* 2*", r"is no adding problem"),
        (AddingReader(), "nan* 2*", r"is no adding problem"),
        (CopyingReader(), "abz", r"^'abz' is no copying problem: wanted letters of -abcdefgh>, such as abcdefghab--->----------$"),
        (ParityReader(), "0120", r"^'0120' is no parity problem: wanted bits, such as 01101$"),
    ],
)
def test_a_written_sequence_that_cannot_be_read_is_refused_with_an_example(reader: MemoryReader, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reader.read([text])
