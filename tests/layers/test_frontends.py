"""Front ends: lengths, padding and statistics, against PyTorch's own layers and numbers worked out by hand."""

from math import ceil

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rnnlab.contracts import Batch
from rnnlab.layers.frontends import Convolution, Direct, Embedding
from rnnlab.layers.norms import MaskedBatchNorm

B, T, F = 2, 5, 3
LENGTHS = torch.tensor([3, 5])
FULL = torch.tensor([5, 5])


def make_convolution(dropout: float = 0.0, num_bands: int = 6) -> Convolution:
    torch.manual_seed(1)
    return Convolution(num_bands, [2, 4], [5, 3], [2, 3], [2, 2], dropout).double()


def make_embedding(
    num_ngrams: tuple[int, ...] = (),
    dropout: float = 0.0,
    variational_dropout: float = 0.0,
    is_frozen: bool = False,
    repeats: int = 1,
) -> Embedding:
    torch.manual_seed(1)
    return Embedding(7, 4, 0.1, list(num_ngrams), dropout, variational_dropout, is_frozen, repeats)


def draw(*sizes: int) -> Tensor:
    torch.manual_seed(2)
    return torch.randn(*sizes, dtype=torch.float64)


def test_direct_hands_features_on_and_zeroes_what_lies_beyond_a_length() -> None:
    values = draw(B, T, F)
    values[0, 3:] = torch.nan
    outputs, lengths = Direct(F)(values, LENGTHS)
    assert torch.equal(lengths, LENGTHS)
    assert torch.equal(outputs[0, :3], values[0, :3])
    assert torch.equal(outputs[1], values[1])
    assert not outputs[0, 3:].any()


def test_embedding_looks_tokens_up_and_neither_padding_nor_its_gradient_touches_the_table() -> None:
    embedding = make_embedding()
    tokens = torch.tensor([[3, 1, 3, 6, 6], [2, 2, 5, 1, 3]])
    outputs, lengths = embedding(tokens, LENGTHS)
    assert outputs.shape == (B, T, embedding.output_size) == (B, T, 4)
    assert torch.equal(lengths, LENGTHS)
    assert torch.equal(outputs[0, 2], embedding.table.weight[3])
    assert torch.equal(outputs[1, 4], embedding.table.weight[3])
    assert not outputs[0, 3:].any()
    outputs.sum().backward()
    assert embedding.table.weight.grad is not None
    assert embedding.table.weight.grad[:, 0].tolist() == [0, 2, 2, 3, 0, 1, 0]  # how often each valid token occurs


def test_repeated_tokens_take_as_many_steps_more_and_padding_stays_zero() -> None:
    tokens = torch.tensor([[3, 1, 3, 6, 6], [2, 2, 5, 1, 3]])
    plain, repeated = make_embedding((4,)), make_embedding((4,), repeats=3)
    outputs, lengths = repeated(tokens, LENGTHS)
    assert lengths.tolist() == [9, 15] and outputs.shape == (B, 15, 4)
    expected = plain(tokens, LENGTHS)[0]
    for step in range(15):
        assert torch.equal(outputs[:, step], expected[:, step // 3])
    assert isinstance(repeated.table, nn.Embedding) and repeated.table.num_embeddings == 7


def test_the_steps_of_a_repeated_token_are_dropped_alike() -> None:
    outputs, _ = make_embedding(dropout=0.5, repeats=2).train()(torch.tensor([[3, 1, 3, 6, 6], [2, 2, 5, 1, 3]]), FULL)
    assert torch.equal(outputs[:, ::2], outputs[:, 1::2]) and (outputs == 0).any()


@pytest.mark.parametrize("kind", ["direct", "embedding", "repeated", "convolution"])
def test_the_steps_that_come_out_are_known_without_a_batch(kind: str) -> None:
    lengths = np.arange(1, 14)
    repeats = 4 if kind == "repeated" else 1
    tokens = torch.ones(13, 13, dtype=torch.int64)
    frontend = {"direct": Direct(6), "convolution": make_convolution()}.get(kind, make_embedding(repeats=repeats))
    values = tokens if isinstance(frontend, Embedding) else draw(13, 13, 6)
    _, expected = frontend(values, torch.from_numpy(lengths))
    assert frontend.steps_out(lengths).tolist() == expected.tolist()


def test_embedding_drops_only_while_training() -> None:
    embedding = make_embedding(dropout=0.5)
    tokens = torch.tensor([[3, 1, 3, 6, 6], [2, 2, 5, 1, 3]])
    assert torch.equal(embedding.eval()(tokens, FULL)[0], embedding.table(tokens))
    dropped = embedding.train()(tokens, FULL)[0]
    ratios = (dropped / embedding.table(tokens)).flatten()
    assert set(ratios.round(decimals=5).tolist()) == {0.0, 2.0}


TOKENS = torch.tensor([[3, 1, 3, 6, 6], [2, 2, 5, 1, 3]])


def of_texts(texts: list[list[int]]) -> Batch:
    """Pad texts with a token that occurs, so that counting it would show."""
    lengths = torch.tensor([len(text) for text in texts])
    tokens = torch.tensor([[*text, *[3] * (int(lengths.max()) - len(text))] for text in texts])
    return Batch(tokens, lengths, torch.zeros_like(lengths), torch.ones_like(lengths), torch.arange(len(texts)))


# Pairs: (1 2) four times, (2 3) three times, (3 4) twice, (4 1) once; triples: (1 2 3) three times, (2 3 4) twice, (3 4 1) once.
TEXTS = [[1, 2, 3, 4, 1], [1, 2, 3, 4], [1, 2, 3], [1, 2], [5]]


def fitted(*num_ngrams: int, batch_size: int = 2) -> Embedding:
    """Return an embedding that knows the n-grams of TEXTS, with vectors that have learned something."""
    embedding = make_embedding(num_ngrams)
    embedding.fit(of_texts(TEXTS[start : start + batch_size]) for start in range(0, len(TEXTS), batch_size))
    for part in embedding.ngram_tables:
        with torch.no_grad():
            part.weight[1:] = torch.randn_like(part.weight[1:])
    return embedding


def known(embedding: Embedding, size: int) -> set[tuple[int, ...]]:
    """Return the n-grams that have a vector."""
    found = set()
    for key in embedding.get_buffer(f"ngrams_{size}").tolist():
        if key != torch.iinfo(torch.int64).max:
            found.add(tuple(key // 7**place % 7 for place in range(size - 1, -1, -1)))
    return found


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize(
    ("num_ngrams", "pairs", "triples"),
    [
        ((1,), {(1, 2)}, None),
        ((3, 1), {(1, 2), (2, 3), (3, 4)}, {(1, 2, 3)}),
        ((9, 9), {(1, 2), (2, 3), (3, 4), (4, 1)}, {(1, 2, 3), (2, 3, 4), (3, 4, 1)}),
    ],
)
def test_the_most_frequent_ngrams_of_training_texts_have_a_vector(
    num_ngrams: tuple[int, ...], pairs: set[tuple[int, ...]], triples: set[tuple[int, ...]] | None, batch_size: int
) -> None:
    embedding = fitted(*num_ngrams, batch_size=batch_size)
    assert embedding.needs_fit
    assert known(embedding, 2) == pairs
    assert triples is None or known(embedding, 3) == triples


def test_without_ngrams_there_is_nothing_to_fit() -> None:
    assert not make_embedding().needs_fit and not Direct(3).needs_fit and not make_convolution().needs_fit


def test_ngrams_begin_without_effect_and_learn_from_the_first_step() -> None:
    plain, paired = make_embedding(), make_embedding((5, 5))
    paired.fit([of_texts(TEXTS)])
    assert torch.equal(plain(TOKENS, LENGTHS)[0], paired(TOKENS, LENGTHS)[0])
    paired(torch.tensor([[1, 2, 3]]), torch.tensor([3]))[0].sum().backward()
    for part in paired.ngram_tables:
        assert part.weight.grad is not None and part.weight.grad.any()
        assert not part.weight.grad[0].any()  # n-grams that are not known stay without a vector


def test_a_vector_is_that_of_the_token_plus_those_of_the_known_ngrams_that_end_there() -> None:
    embedding = fitted(3, 1)
    tokens = torch.tensor([[1, 2, 3, 4, 1, 2], [4, 1, 1, 2, 2, 3]])
    outputs, _ = embedding(tokens, torch.tensor([6, 6]))
    numbers = {size: embedding.get_buffer(f"ngrams_{size}").tolist() for size in (2, 3)}
    for row, text in enumerate(tokens.tolist()):
        for step in range(6):
            expected = embedding.table.weight[text[step]]
            for size, part in zip((2, 3), embedding.ngram_tables, strict=True):
                gram = text[step + 1 - size : step + 1] if step + 1 >= size else []
                if tuple(gram) in known(embedding, size):
                    key = sum(token * 7**place for place, token in enumerate(reversed(gram)))
                    expected = expected + part.weight[1 + numbers[size].index(key)]
            torch.testing.assert_close(outputs[row, step], expected)
    assert not torch.allclose(outputs[0, 1], outputs[1, 4])  # the same word, another neighbour


def test_ngrams_know_nothing_of_padding() -> None:
    embedding = fitted(9, 9)
    text = torch.tensor([[1, 2, 3]])
    alone, _ = embedding(text, torch.tensor([3]))
    beside, _ = embedding(torch.tensor([[1, 2, 3, 4, 1], [2, 3, 4, 1, 2]]), LENGTHS)
    assert torch.equal(beside[:1, :3], alone)
    assert not beside[0, 3:].any()


def test_ngrams_that_have_no_number_of_their_own_are_refused() -> None:
    message = r"frontend.num_ngrams has 4 sizes: runs of 5 of 30,000 tokens cannot be numbered; give fewer"
    with pytest.raises(ValueError, match=message):
        Embedding(30_000, 4, 0.1, [1, 1, 1, 1], 0.0, 0.0, False, 1)


def test_what_was_fitted_is_kept_with_the_weights() -> None:
    first, second = fitted(3, 1), make_embedding((3, 1))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(TOKENS, FULL)[0], second(TOKENS, FULL)[0])
    assert known(second, 2) == known(first, 2)


def test_variational_dropout_drops_whole_features_at_all_steps_of_a_sequence_alike() -> None:
    embedding = Embedding(7, 64, 0.1, [], 0.0, 0.5, False, 1)
    torch.manual_seed(4)
    ratios = embedding.train()(TOKENS, FULL)[0] / embedding.table(TOKENS)
    assert set(ratios.flatten().round(decimals=4).tolist()) == {0.0, 2.0}
    assert torch.equal(ratios.round(decimals=4), ratios[:, :1].round(decimals=4).expand_as(ratios))
    assert not torch.equal(ratios[0, 0].round(), ratios[1, 0].round())  # each sequence its own
    assert torch.equal(embedding.eval()(TOKENS, FULL)[0], embedding.table(TOKENS))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_given_vectors_are_taken_and_rows_of_nan_stay_as_drawn(dtype: type) -> None:
    embedding = make_embedding()
    drawn = embedding.table.weight.detach().clone()
    vectors: np.ndarray = np.full((7, 4), np.nan, dtype=dtype)
    vectors[2], vectors[5] = [1, 2, 3, 4], -0.5
    embedding.begin_with(vectors)
    assert embedding.table.weight[2].tolist() == [1, 2, 3, 4]
    assert embedding.table.weight[5].tolist() == [-0.5] * 4
    others = [0, 1, 3, 4, 6]
    assert torch.equal(embedding.table.weight[others], drawn[others])
    assert embedding.table.weight.requires_grad and embedding.table.weight.dtype == torch.float32


def test_vectors_of_another_size_are_refused_with_what_to_set() -> None:
    message = r"the vectors have 50 numbers each, frontend.embedding_size=4: set frontend.embedding_size=50"
    with pytest.raises(ValueError, match=message):
        make_embedding().begin_with(np.zeros((7, 50)))


def test_vectors_for_a_front_end_without_a_table_are_refused_and_none_are_no_matter() -> None:
    with pytest.raises(ValueError, match=r"frontend=direct has no table for word vectors: choose frontend=embedding"):
        Direct(3).begin_with(np.zeros((7, 3)))
    for frontend in (Direct(3), make_convolution(), make_embedding()):
        before = [parameter.clone() for parameter in frontend.parameters()]
        frontend.begin_with(None)
        assert all(torch.equal(a, b) for a, b in zip(before, frontend.parameters(), strict=True))


@pytest.mark.parametrize("is_frozen", [False, True])
def test_a_frozen_table_asks_for_no_gradient_but_its_ngrams_do(is_frozen: bool) -> None:
    embedding = make_embedding((5,), is_frozen=is_frozen)
    embedding.begin_with(np.ones((7, 4)))
    asked = [name for name, parameter in embedding.named_parameters() if parameter.requires_grad]
    assert asked == (["ngram_tables.0.weight"] if is_frozen else ["table.weight", "ngram_tables.0.weight"])


def test_the_first_vectors_have_the_spread_that_is_asked_for() -> None:
    torch.manual_seed(0)
    table = Embedding(500, 64, 0.1, [], 0.0, 0.0, False, 1).table.weight
    assert table.std().item() == pytest.approx(0.1, rel=0.02)
    assert table.mean().item() == pytest.approx(0, abs=0.002)


@pytest.mark.parametrize("num_steps", range(1, 14))
def test_convolution_divides_lengths_by_its_strides_rounding_up(num_steps: int) -> None:
    convolution = make_convolution()
    lengths = torch.tensor([1, num_steps])
    outputs, shorter = convolution(draw(B, num_steps, 6), lengths)
    assert shorter.tolist() == [1, ceil(ceil(num_steps / 2) / 3)]
    assert outputs.shape == (B, shorter.max(), convolution.output_size)
    assert not outputs[0, 1:].any()


@pytest.mark.parametrize("num_bands", range(1, 10))
def test_convolution_says_how_many_features_come_out(num_bands: int) -> None:
    convolution = make_convolution(num_bands=num_bands)
    outputs, _ = convolution(draw(B, T, num_bands), FULL)
    assert outputs.shape[-1] == convolution.output_size == ceil(ceil(num_bands / 2) / 2) * 4


@pytest.mark.parametrize("is_training", [True, False], ids=["training", "measuring"])
def test_without_padding_convolution_equals_pytorchs_layers_one_after_another(is_training: bool) -> None:
    ours = make_convolution().train(is_training)
    blocks: list[nn.Module] = []
    for convolution, size in zip(ours.convolutions, (2, 4), strict=True):
        blocks += [convolution, nn.BatchNorm2d(size).double(), nn.ReLU()]
    theirs = nn.Sequential(*blocks).train(is_training)
    values = draw(B, T, 6)
    maps_BCTF = theirs(values[:, None])
    outputs, _ = ours(values, FULL)
    expected = maps_BCTF.permute(0, 2, 1, 3).reshape(B, maps_BCTF.shape[2], -1)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)


def test_convolution_drops_whole_channels_and_padding_does_not_change_which() -> None:
    convolution = make_convolution(dropout=0.5)
    values, longer = draw(B, T, 6), torch.cat([draw(B, T, 6), draw(B, 7, 6)], 1)
    torch.manual_seed(3)
    outputs, _ = convolution(values, LENGTHS)
    torch.manual_seed(3)
    padded, _ = convolution(longer, LENGTHS)
    torch.testing.assert_close(padded[:, : outputs.shape[1]], outputs, rtol=0, atol=1e-12)
    assert not padded[:, outputs.shape[1] :].any()
    torch.manual_seed(3)
    dropped = Convolution(6, [64], [1], [1], [1], 0.5).double()
    with torch.no_grad():
        dropped.norms[0].bias.fill_(9.0)  # so that ReLU lets everything through
    maps_BTCF = dropped(values, FULL)[0].view(B, T, 64, 6)
    is_kept_BC = (maps_BTCF != 0).any(3).any(1)
    assert torch.equal(is_kept_BC, (maps_BTCF != 0).all(3).all(1))
    assert 0.3 < is_kept_BC.double().mean() < 0.7


def test_an_even_kernel_is_refused_with_what_to_give() -> None:
    with pytest.raises(ValueError, match=r"frontend.kernel_sizes has 4: give odd sizes, so that steps stay aligned"):
        Convolution(F, [2, 2], [3, 4], [1, 1], [1, 1], 0.0)


def test_lists_of_unequal_length_are_refused_with_their_lengths() -> None:
    message = r"one number a block; these differ: channels 2, kernel_sizes 2, time_strides 1, frequency_strides 3"
    with pytest.raises(ValueError, match=message):
        Convolution(F, [2, 2], [3, 3], [1], [1, 1, 1], 0.0)


def make_norms() -> tuple[MaskedBatchNorm, nn.BatchNorm2d]:
    ours, theirs = MaskedBatchNorm(2).double(), nn.BatchNorm2d(2).double()
    for norm in (ours, theirs):
        with torch.no_grad():
            norm.weight.copy_(torch.tensor([0.7, 1.3]))
            norm.bias.copy_(torch.tensor([-0.2, 0.4]))
    return ours, theirs


def test_without_padding_masked_batch_norm_equals_pytorchs_with_its_gradients_and_running_statistics() -> None:
    ours, theirs = make_norms()
    mask = torch.ones(B, 1, T, 1, dtype=torch.float64)
    weights = draw(B, 2, T, 4)
    for scale in (1.0, 3.0):  # two steps, so that the momentum counts
        our_maps, their_maps = ((scale * draw(B, 2, T, 4) + scale).requires_grad_() for _ in range(2))
        outputs, expected = ours(our_maps, mask), theirs(their_maps)
        torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)
        our_gradients = torch.autograd.grad((weights * outputs).sum(), [our_maps, ours.weight, ours.bias])
        for gradient, wanted in zip(
            our_gradients, torch.autograd.grad((weights * expected).sum(), [their_maps, theirs.weight, theirs.bias]), strict=True
        ):
            torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-11)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(weights, mask), theirs.eval()(weights))


def test_with_padding_statistics_are_those_of_the_valid_steps() -> None:
    ours, _ = make_norms()
    maps = draw(B, 2, T, 4)
    maps[0, :, 3:] = 1000.0
    mask = torch.tensor([[1.0, 1, 1, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.float64)[:, None, :, None]
    outputs = ours(maps, mask)
    for channel, (gain, shift) in enumerate([(0.7, -0.2), (1.3, 0.4)]):
        valid = torch.cat([maps[0, channel, :3], maps[1, channel]])  # 8 steps of 4 bands
        mean = valid.sum() / 32
        squares = ((valid - mean) ** 2).sum()
        expected = (valid - mean) / (squares / 32 + 1e-5).sqrt() * gain + shift
        torch.testing.assert_close(torch.cat([outputs[0, channel, :3], outputs[1, channel]]), expected)
        torch.testing.assert_close(ours.running_mean[channel], 0.1 * mean)
        torch.testing.assert_close(ours.running_var[channel], 0.9 + 0.1 * squares / 31)


def test_masked_batch_norm_stays_exact_in_float32_where_the_mean_is_ten_deviations_from_zero() -> None:
    maps = (draw(B, 2, T, 4) + 10).float()
    ours, theirs = MaskedBatchNorm(2), nn.BatchNorm2d(2)
    torch.testing.assert_close(ours(maps, torch.ones(B, 1, T, 1)), theirs(maps), rtol=0, atol=1e-4)


def test_words_that_bring_their_characters_are_read_on_as_they_come() -> None:
    embedding = Embedding(7, 4, 0.1, [3], 0.0, 0.0, False, 1)
    words = torch.tensor([[2, 3, 2, 3, 4]])
    embedding.fit([Batch(words, torch.tensor([5]), words, torch.tensor([5]), torch.tensor([0]))])
    torch.nn.init.normal_(embedding.ngram_tables[0].get_parameter("weight"))
    with_characters = torch.cat([words[..., None], torch.ones(1, 5, 2, dtype=torch.int64)], -1)
    whole, _ = embedding(words, torch.tensor([5]))
    first, state = embedding.run(with_characters[:, :2])
    second, _ = embedding.run(with_characters[:, 2:], state)
    assert torch.equal(torch.cat([first, second], 1), whole)
