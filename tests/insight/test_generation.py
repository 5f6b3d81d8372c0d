"""Claims about text that a model goes on with: what is drawn, that it can be drawn again, and what of it training holds."""

from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest
import torch

from rnnlab.contracts import PAD, UNKNOWN, DataSpec
from rnnlab.insight.generation import Sampling, chances, continue_text, longest_repeat
from rnnlab.models.base import Predictor
from rnnlab.settings import TrainSettings

SIZE = 11
WORDS = ("<pad>", "<unk>", *"abcdefghi")
LANGUAGE = DataSpec(
    "language", "tokens", SIZE, "class_per_step", SIZE, WORDS, goal="continue", joined="characters", is_causal=True, is_stream=True
)
PROMPT = np.array([4, 2, 7])


def network(compose: Callable[..., TrainSettings], words: str, spec: DataSpec = LANGUAGE) -> Predictor:
    """Make a network of a language, undropped."""
    torch.manual_seed(3)
    settings = compose("data=language", *words.split())
    model: Predictor = settings.model.recipe()(spec)
    return model.eval()


@pytest.mark.parametrize("words", ["model=lstm model.recurrence.num_layers=2", "model=gru cell=mingru", "model=tcn", "model=transformer"])
def test_the_most_probable_text_is_that_of_reading_all_of_it_anew_at_each_step(compose: Callable[..., TrainSettings], words: str) -> None:
    model, text = network(compose, words), PROMPT.tolist()
    for _ in range(12):
        outputs = model(torch.tensor([text]), torch.tensor([len(text)]))[0, -1]
        outputs[[PAD, UNKNOWN]] = -torch.inf
        text.append(int(outputs.argmax()))
    assert list(islice(continue_text(model, PROMPT, Sampling(temperature=0)), 12)) == text[3:]


def test_the_same_seed_gives_the_same_text_and_another_seed_another(compose: Callable[..., TrainSettings]) -> None:
    model = network(compose, "model=gru")
    first, again, other = (list(islice(continue_text(model, PROMPT, Sampling(seed=seed)), 40)) for seed in (5, 5, 6))
    assert first == again != other
    assert not {PAD, UNKNOWN} & set(first + other)


def test_drawing_leaves_the_generator_of_training_alone(compose: Callable[..., TrainSettings]) -> None:
    model = network(compose, "model=gru")
    torch.manual_seed(1)
    before = torch.get_rng_state()
    list(islice(continue_text(model, PROMPT, Sampling()), 5))
    assert torch.equal(before, torch.get_rng_state())


def test_chances_are_the_softmax_over_the_tokens_that_are_left() -> None:
    log_odds = torch.log(torch.tensor([0.1, 0.4, 0.3, 0.2], dtype=torch.double))
    assert chances(log_odds, Sampling()).tolist() == pytest.approx([0.1, 0.4, 0.3, 0.2])
    assert chances(log_odds, Sampling(top_k=2)).tolist() == pytest.approx([0, 4 / 7, 3 / 7, 0])
    assert chances(log_odds, Sampling(top_p=0.7)).tolist() == pytest.approx([0, 4 / 7, 3 / 7, 0])
    assert chances(log_odds, Sampling(top_p=0.71)).tolist() == pytest.approx([0, 4 / 9, 3 / 9, 2 / 9])
    assert chances(log_odds, Sampling(top_p=1e-9)).tolist() == [0, 1, 0, 0]
    squares = torch.tensor([0.1, 0.4, 0.3, 0.2]).square()
    assert chances(log_odds, Sampling(temperature=0.5)).tolist() == pytest.approx((squares / squares.sum()).tolist())


def test_drawn_tokens_have_their_chances(compose: Callable[..., TrainSettings]) -> None:
    model = network(compose, "model=gru")
    outputs = model(torch.tensor([PROMPT.tolist()]), torch.tensor([3]))[0, -1].detach().double()
    outputs[[PAD, UNKNOWN]] = -torch.inf
    wanted = outputs.softmax(-1).numpy()
    drawn = np.bincount([next(continue_text(model, PROMPT, Sampling(seed=seed))) for seed in range(2000)], minlength=SIZE) / 2000
    assert np.abs(drawn - wanted).max() < 4 * np.sqrt(wanted.max() / 2000)


def test_only_a_language_model_goes_on(compose: Callable[..., TrainSettings]) -> None:
    spec = DataSpec("text", "tokens", SIZE, "class", 2, ("a", "b"), (3, 3))
    with pytest.raises(ValueError, match="data=text"):
        next(continue_text(network(compose, "model=gru", spec), PROMPT, Sampling()))
    with pytest.raises(ValueError, match="nothing to go on with"):
        next(continue_text(network(compose, "model=gru"), PROMPT[:0], Sampling()))


def by_trial(sample: list[int], training: list[int]) -> int:
    joined = ",".join(map(str, ["", *training, ""]))
    lengths = [
        end - start
        for start in range(len(sample))
        for end in range(start + 1, len(sample) + 1)
        if "," + ",".join(map(str, sample[start:end])) + "," in joined
    ]
    return max(lengths, default=0)


@pytest.mark.parametrize("seed", range(12))
def test_the_longest_repeated_passage_is_that_of_trying_all(seed: int) -> None:
    random = np.random.default_rng(seed)
    sample, training = (random.integers(2, 5, size) for size in (random.integers(1, 25), random.integers(1, 90)))
    length, place, first = longest_repeat(sample, training)
    assert length == by_trial(sample.tolist(), training.tolist())
    assert sample[place : place + length].tolist() == training[first : first + length].tolist()


def test_nothing_in_common_is_a_passage_of_length_zero() -> None:
    assert longest_repeat(np.array([2, 3]), np.array([4, 5, 6])) == (0, 0, 0)
