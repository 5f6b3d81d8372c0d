"""The hidden size that meets a budget of parameters, against counts worked by hand."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest

from rnnlab.config import ConfigError
from rnnlab.contracts import DataSpec
from rnnlab.settings import TrainSettings
from rnnlab.training.budget import at_budget, count_between

SPEC = DataSpec("sounds", "features", 5, "class", 4, ("a", "b", "c", "d"), (3, 3, 3, 3))
TEXTS = DataSpec("texts", "tokens", 30, "class", 2, ("a", "b"), (3, 3))

# One layer of F inputs and H units has, for each gate, W (H F), U (H H) and two biases (2 H); SRNN 1 gate, LSTM 4, GRU 3. F = 5: H^2 + 7 H.
# Seq2seq: encoder of two directions 6 (H^2 + 7 H); bridge 2 H H + H; decoder with input feeding, E = 6, 3 ((6 + H) H + H^2 + 2 H);
# attention 2 H H; readout 3 H H + H; together 19 H^2 + 68 H.
COUNTS = [
    ("model=srnn", 144, 170),
    ("model=lstm", 4 * 144, 4 * 170),
    ("model=gru", 3 * 144, 3 * 170),
    ("model=birnn cell=lstm", 2 * 4 * 144, 2 * 4 * 170),
    # the second layer reads H: 3 (2 H^2 + 2 H); a norm is two vectors: 2 layers of 2 H
    (
        "model=gru model.recurrence.num_layers=2 model.recurrence.has_layer_norm=true",
        3 * 144 + 3 * 180 + 36,
        3 * 170 + 3 * 220 + 40,
    ),
    # a block of one layer and two taps: convolutions 2 (5 H) + H and 2 H^2 + H, a length of each unit twice, and 5 H + H past them
    ("model=tcn model.convolutions.num_layers=1 model.convolutions.kernel_size=2", 2 * 81 + 20 * 9, 2 * 100 + 20 * 10),
    (
        "model=transformer model.encoder.num_layers=1 model.encoder.num_heads=1 model.encoder.expansion=2",
        # W 5 H + H; Q, K, V and O 4 (H^2 + H); W_1 and W_2 4 H^2 + 3 H; four norms 8 H
        8 * 81 + 21 * 9,
        8 * 100 + 21 * 10,
    ),
    ("model=seq2seq model.decoder.embedding_size=6", 19 * 81 + 68 * 9, 19 * 100 + 68 * 10),
]


def of_nine_and_ten(with_9: int, with_10: int) -> list[tuple[int, int]]:
    """Return (budget, nearest size) on both sides of the middle between 9 and 10 units, and where they are met."""
    middle = (with_9 + with_10) // 2
    return [(with_9, 9), (middle - 1, 9), (middle + 1, 10), (with_10, 10)]


@pytest.mark.parametrize(("words", "with_9", "with_10"), COUNTS)
def test_the_size_whose_count_is_nearest_is_taken(words: str, with_9: int, with_10: int, compose: Callable[..., TrainSettings]) -> None:
    model = compose("frontend=direct", *words.split()).model
    given = deepcopy(model)
    for budget, size in of_nine_and_ten(with_9, with_10):
        sized = at_budget(model, budget, SPEC)
        assert sized.hidden_size == size
        assert sized.num_parameters == {9: with_9, 10: with_10}[size]
        assert sized.deviation == pytest.approx((sized.num_parameters - budget) / budget)
        assert count_between(sized.model.recipe()(SPEC)) == sized.num_parameters
    assert model == given, "what was composed stays as it was"


def test_a_decoder_is_as_wide_as_its_encoder(compose: Callable[..., TrainSettings]) -> None:
    sized = at_budget(compose("model=seq2seq", "frontend=direct").model, 100_000, SPEC)
    assert [sized.model.values[part]["hidden_size"] for part in ("recurrence", "decoder")] == [sized.hidden_size] * 2


def test_heads_get_as_many_units_each(compose: Callable[..., TrainSettings]) -> None:
    words = ("model=transformer", "frontend=direct", "model.encoder.num_layers=1", "model.encoder.num_heads=6", "model.encoder.expansion=2")
    model = compose(*words).model
    # 8 H^2 + 21 H: 2,970 with 18 units, 5,112 with 24
    for budget, size in of_nine_and_ten(2970, 5112):
        assert at_budget(model, budget, SPEC).hidden_size == {9: 18, 10: 24}[size]
    with pytest.raises(ConfigError, match=r"^model.budget=100 is too small: 6 hidden units, one a head, take 414 parameters already$"):
        at_budget(model, 100, SPEC)


def test_vocabulary_and_labels_are_not_counted(compose: Callable[..., TrainSettings]) -> None:
    model = compose("frontend=embedding", "frontend.embedding_size=5").model
    names = tuple(f"label {number}" for number in range(70))
    for spec in (TEXTS, replace(TEXTS, input_size=7_000), replace(TEXTS, target_size=70, label_names=names, class_counts=(3,) * 70)):
        sized = at_budget(model, 3 * 170, spec)
        assert (sized.hidden_size, sized.num_parameters) == (10, 510)


def test_a_decoders_embedding_and_output_are_not_counted(compose: Callable[..., TrainSettings]) -> None:
    words = ("model=seq2seq", "model.decoder.embedding_size=6", "frontend=embedding", "frontend.embedding_size=5")
    model = compose(*words).model
    spec = DataSpec("pairs", "tokens", 30, "tokens", 9, tuple("-+<>abcde"), goal="translate", max_target_length=4)
    for other in (spec, replace(spec, target_size=900, label_names=tuple(f"w{number}" for number in range(900)))):
        assert at_budget(model, 2_580, other).num_parameters == 2_580


def test_the_front_ends_own_parameters_are_not_counted_but_what_comes_out_of_it_is(compose: Callable[..., TrainSettings]) -> None:
    model = compose("frontend=convolution", "frontend.channels=[3,3,2]").model
    network = model.recipe()(replace(SPEC, input_size=8))
    width = network.frontend.output_size
    assert width != 8
    assert count_between(network) == 3 * 128 * (width + 128 + 2)


def test_a_budget_below_one_unit_is_refused(compose: Callable[..., TrainSettings]) -> None:
    model = compose("frontend=direct").model  # a GRU of one unit: 3 (5 + 1 + 2)
    with pytest.raises(ConfigError, match=r"^model.budget=11 is too small: one hidden unit takes 24 parameters already$"):
        at_budget(model, 11, SPEC)
    assert at_budget(model, 12, SPEC).hidden_size == 1
    assert at_budget(model, 12, SPEC).deviation == 1


@pytest.mark.parametrize("budget", [0, -5, "many", 2.5])
def test_a_budget_that_is_no_count_is_refused(budget: object, compose: Callable[..., TrainSettings]) -> None:
    from rnnlab.training.recipes import check

    with pytest.raises(ConfigError, match=rf"model.budget={budget} is not allowed: a whole number of parameters from 1, or null"):
        check(compose(f"model.budget={budget}"))
