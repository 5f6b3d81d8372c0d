"""Random numbers, order and batches follow from (seed, epoch, example) alone."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from rnnlab.contracts import Batch
from rnnlab.data.batches import BatchLoader, BudgetOrder, EpochOrder, ExampleRandom, round_up_steps

GOLDEN, WORD = 0x9E3779B97F4A7C15, 2**64


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
    return ((ids * 7) % 19).tolist()


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


# Order under a budget of steps

TEXT_IDS = np.arange(500, 577)
TEXT_LENGTHS = np.random.default_rng(0).geometric(0.08, size=77)
MAX_STEPS = 90


def budgeted(seed: int = 0, epoch: int = 0, num_buckets: int = 5, batch_size: int = 16, max_steps: int = MAX_STEPS) -> list[np.ndarray]:
    found = BudgetOrder(TEXT_IDS, TEXT_LENGTHS, batch_size, max_steps, seed, num_buckets)
    found.set_epoch(epoch)
    assert len(found) == len(found.batches())
    return found.batches()


def steps_of(batch: np.ndarray) -> int:
    """Count a batch's steps, padding included."""
    return int(len(batch) * TEXT_LENGTHS[batch - 500].max())


@pytest.mark.parametrize("num_buckets", [0, 1, 5, 77, 200])
@pytest.mark.parametrize("epoch", [0, 3])
def test_under_a_budget_every_epoch_has_each_example_once_and_no_batch_too_many_steps(num_buckets: int, epoch: int) -> None:
    batches = budgeted(epoch=epoch, num_buckets=num_buckets)
    assert sorted(np.concatenate(batches).tolist()) == TEXT_IDS.tolist()
    assert all(0 < len(batch) <= 16 and steps_of(batch) <= MAX_STEPS for batch in batches)


def test_under_a_budget_all_epochs_have_as_many_batches() -> None:
    assert len({len(budgeted(seed, epoch)) for seed in range(3) for epoch in range(5)}) == 1


def test_under_a_budget_the_order_follows_from_seed_and_epoch_alone() -> None:
    orders = {(seed, epoch): [batch.tolist() for batch in budgeted(seed, epoch)] for seed in range(3) for epoch in range(3)}
    assert orders[1, 2] == [batch.tolist() for batch in budgeted(1, 2)]
    assert len({str(batches) for batches in orders.values()}) == 9
    members = {str(sorted(sorted(batch) for batch in batches)) for batches in orders.values()}
    assert len(members) == 9  # not only the batches move, also who is in them


def test_under_a_budget_evaluation_goes_by_length_and_fills_its_batches() -> None:
    batches = budgeted(num_buckets=0)
    lengths = TEXT_LENGTHS[np.concatenate(batches) - 500].tolist()
    assert lengths == sorted(lengths)
    assert [batch.tolist() for batch in budgeted(seed=4, epoch=9, num_buckets=0)] == [batch.tolist() for batch in batches]
    for batch, following in pairwise(batches):  # one more would break a limit
        assert len(batch) == 16 or (len(batch) + 1) * TEXT_LENGTHS[following[0] - 500] > MAX_STEPS


@pytest.mark.parametrize("num_buckets", [0, 3])
def test_a_sequence_longer_than_the_budget_is_a_batch_of_its_own(num_buckets: int) -> None:
    found = BudgetOrder(np.arange(6), np.array([100, 2, 3, 250, 2, 1]), 4, 50, 0, num_buckets)
    batches = [batch.tolist() for batch in found.batches()]
    assert [0] in batches and [3] in batches
    assert sorted(np.concatenate(batches).tolist()) == list(range(6))
    assert len(found) == len(batches)


def test_few_long_or_many_short_sequences_make_a_batch() -> None:
    found = BudgetOrder(np.arange(40), np.repeat([2, 20], 20), 16, 100, 0, 2)
    assert sorted(len(batch) for batch in found.batches()) == [4, 5, 5, 5, 5, 16]


@pytest.mark.parametrize("lengths", [np.full(400, 60), np.repeat([5, 6], 200), np.arange(400) % 3])
def test_a_source_that_is_sorted_by_label_gives_batches_of_all_labels(lengths: np.ndarray) -> None:
    labels = np.arange(400) * 4 // 400 if len(set(lengths)) != 2 else np.arange(400) % 200 * 4 // 200  # sorted, within each length
    order = BudgetOrder(np.arange(400), lengths, 20, 10_000, 0, 8)
    num_labels = [len(set(labels[batch])) for epoch in range(3) for batch in epoch_of(order, epoch)]
    assert np.mean(num_labels) > 3.5  # of 20 examples drawn from four labels nearly always all four; from a sorted bucket one or two


def epoch_of(order: BudgetOrder, epoch: int) -> list[np.ndarray]:
    order.set_epoch(epoch)
    assert len(order.batches()) == len(order)
    return order.batches()


def test_more_buckets_pad_less() -> None:
    def padded(num_buckets: int) -> int:
        return sum(steps_of(batch) for batch in budgeted(num_buckets=num_buckets, max_steps=400)) - int(TEXT_LENGTHS.sum())

    assert padded(8) < padded(2) < padded(1)


@pytest.mark.parametrize("num_buckets", [0, 4])
def test_no_examples_make_no_batches(num_buckets: int) -> None:
    found = BudgetOrder(np.arange(0), np.arange(0), 16, 100, 0, num_buckets)
    assert (len(found), found.batches()) == (0, [])


# Loaders


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


@pytest.mark.parametrize(("steps", "rounded"), [(1, 8), (8, 8), (9, 16)])
def test_time_is_rounded_up_with_zeros(steps: int, rounded: int) -> None:
    found_BTF = round_up_steps(torch.ones(2, steps, 3))
    assert found_BTF.shape == (2, rounded, 3) and found_BTF.sum() == 2 * steps * 3
