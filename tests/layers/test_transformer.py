"""The small encoder against PyTorch's own, hand-worked positions, and what a step may look at."""

from math import cos, sin

import pytest
import torch
from torch import nn

from rnnlab.layers.transformer import Encoder, EncoderLayer, TransformerEncoder, positions

B, T, F, H = 2, 5, 3, 6
LENGTHS = torch.tensor([5, 3])


def make_encoder(num_layers: int = 2, num_heads: int = 2, dropout: float = 0.0, is_causal: bool = False) -> TransformerEncoder:
    torch.manual_seed(1)
    return TransformerEncoder(F, Encoder(H, num_layers, num_heads, 3, dropout, is_causal), False).double()


def drawn() -> torch.Tensor:
    torch.manual_seed(2)
    return torch.randn(B, T, F, dtype=torch.float64)


def as_pytorchs(layer: EncoderLayer, num_heads: int) -> nn.TransformerEncoderLayer:
    """Return PyTorch's layer with the same weights."""
    theirs = nn.TransformerEncoderLayer(H, num_heads, 3 * H, 0.0, batch_first=True, norm_first=True).double()
    names = {
        "self_attn.in_proj_": layer.queries_keys_values, "self_attn.out_proj.": layer.heads_out, "linear1.": layer.widen,
        "linear2.": layer.narrow, "norm1.": layer.attention_norm, "norm2.": layer.feedforward_norm,
    }  # fmt: skip
    theirs.load_state_dict({f"{name}{kind}": part.get_parameter(kind) for name, part in names.items() for kind in ("weight", "bias")})
    return theirs


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("num_heads", [1, 3])
def test_the_layers_equal_pytorchs_own_with_padding(num_heads: int, is_causal: bool) -> None:
    encoder = make_encoder(num_heads=num_heads, is_causal=is_causal)
    is_padding = torch.arange(T) >= LENGTHS[:, None]
    later = torch.ones(T, T, dtype=torch.bool).triu(1) if is_causal else None
    expected = encoder.entry_norm(encoder.entry(drawn())) + positions(T, H)
    for layer in encoder.layers:
        assert isinstance(layer, EncoderLayer)
        expected = as_pytorchs(layer, num_heads)(expected, src_mask=later, src_key_padding_mask=is_padding)
    expected = nn.functional.layer_norm(expected, (H,)).masked_fill(is_padding[..., None], 0)
    found, lengths = encoder(drawn(), LENGTHS)
    torch.testing.assert_close(found, expected)
    assert lengths is LENGTHS


def test_positions_are_sines_and_cosines_of_falling_frequency() -> None:
    found = positions(4, 5)  # an odd size ends in a sine
    for t in range(4):
        slow, slower = t / 10_000 ** (2 / 5), t / 10_000 ** (4 / 5)
        assert found[t].tolist() == pytest.approx([sin(t), cos(t), sin(slow), cos(slow), sin(slower)])


def test_with_no_position_the_order_of_the_others_would_mean_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, values, lengths = make_encoder(), drawn(), torch.tensor([T, T])
    turned = values.flip(1)
    assert not torch.allclose(encoder(turned, lengths)[0], encoder(values, lengths)[0].flip(1))
    monkeypatch.setattr("rnnlab.layers.transformer.positions", lambda num_steps, size: torch.zeros(num_steps, size))
    torch.testing.assert_close(encoder(turned, lengths)[0], encoder(values, lengths)[0].flip(1))


@pytest.mark.parametrize("is_causal", [False, True])
def test_a_causal_step_looks_at_nothing_that_comes_later(is_causal: bool) -> None:
    values = drawn().requires_grad_()
    make_encoder(is_causal=is_causal)(values, LENGTHS)[0][:, 1].square().sum().backward()
    assert values.grad is not None
    seen = values.grad.abs().sum(-1) > 0
    later = not is_causal
    assert seen.tolist() == [[True, True, later, later, later], [True, True, later, False, False]]


@pytest.mark.parametrize("data_are_causal", [False, True])
def test_unless_it_is_said_the_data_decide_whether_it_looks_ahead(data_are_causal: bool) -> None:
    for is_causal in (None, False, True):
        found = TransformerEncoder(F, Encoder(H, 1, 1, 2, 0.0, is_causal), data_are_causal).is_causal
        assert found == (data_are_causal if is_causal is None else is_causal)


def test_dropout_is_for_training_alone_and_reaches_attentions_weights() -> None:
    encoder = make_encoder(dropout=0.4)
    plain = encoder.eval()(drawn(), LENGTHS)[0]
    torch.testing.assert_close(make_encoder()(drawn(), LENGTHS)[0], plain)
    layer = encoder.layers[0].train()
    assert isinstance(layer, EncoderLayer)
    layer.dropout.p = 0.0
    seen = torch.ones(B, 1, T, T, dtype=torch.bool)
    inner = torch.randn(B, T, H, dtype=torch.float64)
    assert not torch.equal(layer(inner, seen), layer(inner, seen))


def test_scales_of_the_front_end_do_not_drown_beside_positions() -> None:
    encoder = make_encoder().eval()
    with torch.no_grad():
        encoder.entry.bias.zero_()
    small, large = (encoder(scale * drawn(), LENGTHS)[0] for scale in (0.3, 10.0))
    torch.testing.assert_close(small, large, rtol=0, atol=0.05)  # layer normalisation adds 1e-5 to the variance


def test_heads_that_do_not_share_the_hidden_size_evenly_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^model.encoder.num_heads=4 does not divide model.encoder.hidden_size=6: each head has as many"):
        Encoder(6, 1, 4, 3, 0.0, False)
