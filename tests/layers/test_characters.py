"""Claims about the front end of words with their characters."""

import pytest
import torch

from rnnlab.layers.characters import WordsAndCharacters

NUM_WORDS, NUM_CHARACTERS = 11, 7


def made(kernel_sizes: list[int] | None = None) -> WordsAndCharacters:
    torch.manual_seed(0)
    frontend = WordsAndCharacters(NUM_WORDS, 5, 0.1, 4, 3, kernel_sizes or [3, 5], 0.0, 0.0)
    frontend.take_alphabet(NUM_CHARACTERS)
    return frontend.eval()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Return two sentences of 3 and 2 words, words of up to 4 characters."""
    values = torch.zeros(2, 3, 5, dtype=torch.int64)
    values[0] = torch.tensor([[2, 3, 4, 0, 0], [5, 2, 2, 6, 3], [1, 4, 0, 0, 0]])
    values[1, :2] = torch.tensor([[7, 6, 5, 4, 0], [2, 3, 4, 0, 0]])
    return values, torch.tensor([3, 2])


def test_padding_of_sentences_and_of_words_changes_nothing() -> None:
    frontend, (values, lengths_B) = made(), batch()
    outputs, _ = frontend(values, lengths_B)
    assert outputs.shape == (2, 3, 5 + 2 * 3) and not outputs[1, 2].any()
    wider = torch.nn.functional.pad(values, (0, 4, 0, 2))
    torch.testing.assert_close(frontend(wider, lengths_B)[0][:, :3], outputs)
    alone, _ = frontend(values[1:, :2], torch.tensor([2]))
    torch.testing.assert_close(alone[0], outputs[1, :2])
    torch.testing.assert_close(outputs[0, 0], outputs[1, 1])  # the same word in another place


def test_a_filter_gives_its_largest_answer_over_the_characters_of_a_word() -> None:
    frontend, (values, _) = made([3]), batch()
    word = values[0, 1, 1:]
    assert frontend.characters is not None
    vectors_LC = torch.nn.functional.pad(frontend.characters.weight[word], (0, 0, 1, 1))
    weight, bias = frontend.convolutions[0].get_parameter("weight"), frontend.convolutions[0].get_parameter("bias")
    answers = [(weight * vectors_LC[start : start + 3].T).sum((1, 2)) + bias for start in range(4)]
    torch.testing.assert_close(frontend.features(word[None])[0], torch.stack(answers).relu().amax(0))


def test_an_even_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match=r"frontend\.kernel_sizes has 4: give odd"):
        made([4])
