"""Front ends, which prepare inputs for the recurrence: nothing, an embedding of tokens, or a convolution over time."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from rnnlab.config import Fraction, PositiveFloat, PositiveInt
from rnnlab.contracts import Batch, InputKind, valid_mask, zero_padding
from rnnlab.layers.base import LayerState
from rnnlab.layers.dropout import VariationalDropout
from rnnlab.layers.norms import MaskedBatchNorm

ABSENT = torch.iinfo(torch.int64).max
"""What no n-gram is numbered."""


class Frontend(nn.Module, ABC):
    """Map (values, lengths) to (values, lengths).

    `output_size` is F of what comes out, one step for each `subsampling` that went in; `looks_ahead` says whether a step depends on later
    ones, `looks_back` whether on earlier ones, `needs_characters` that tokens must come with their characters (see
    `contracts.DataSpec.num_characters`).
    """

    accepts: InputKind
    output_size: int
    subsampling: int = 1
    looks_ahead: bool = False
    looks_back: bool = False
    needs_fit: bool = False
    needs_characters: bool = False
    word_table: str = ""
    """The name of the weights with a row for each token; empty where there are none."""

    @abstractmethod
    def forward(self, values: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, T', output_size) and the new lengths."""

    def run(self, values: Tensor, state: LayerState | None = None) -> tuple[Tensor, LayerState]:
        """Run sequences on from what an earlier call returned, all of their steps valid; see `SequenceLayer.run`.

        Raises:
            NotImplementedError: if a step depends on others and the front end does not define how.
        """
        if self.looks_ahead or self.looks_back:
            raise NotImplementedError(f"{type(self).__name__} reads whole sequences and cannot be run in parts")
        lengths_B = torch.full((values.shape[0],), values.shape[1], device=values.device)
        return self(values, lengths_B)[0], ()

    def steps_out(self, lengths: np.ndarray) -> np.ndarray:
        """Return how many steps come out of sequences of these lengths, (N,) int."""
        return lengths

    def fit(self, batches: Iterable[Batch]) -> None:
        """Take from training data what is no gradient's matter; called where `needs_fit`."""

    def take_alphabet(self, num_characters: int) -> None:
        """Take the size of the alphabet; called where `needs_characters`."""

    def begin_with(self, vectors: np.ndarray | None) -> None:
        """Take vectors for tokens, where there are any.

        Raises:
            ValueError: where this front end has no place for them.
        """
        if vectors is not None:
            raise ValueError(f"frontend={type(self).__name__.lower()} has no table for word vectors: choose frontend=embedding")


class Direct(Frontend):
    """Hand features to the recurrence as they are."""

    accepts: InputKind = "features"

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.output_size = input_size

    def forward(self, values: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        return zero_padding(values, lengths_B), lengths_B


class Embedding(Frontend):
    """Look each token up in a learned table; if asked, the n-gram that ends there too.

        e_t = W_1[w_t] + W_2[w_{t-1} w_t] + W_3[w_{t-2} w_{t-1} w_t] + ...

    Only the n-grams that are most frequent in training have a vector, which begins at zero; others add nothing. (fastText, Joulin et al.
    2016, adds n-grams to a bag; here they keep their place in the sequence.)

    Args:
        input_size: size of the vocabulary.
        embedding_size: F of what comes out.
        scale: standard deviation of the first vectors.
        num_ngrams: how many pairs, triples, ... have a vector; empty: none.
        dropout: on single numbers of the vectors.
        variational_dropout: on whole features, the same at all steps of a sequence (Gal & Ghahramani 2016).
        is_frozen: whether W_1 stays as it begins: for vectors that were trained elsewhere.
        repeats: each token takes so many steps: room for CTC, whose answer may be no longer than its steps.
    """

    accepts: InputKind = "tokens"
    word_table: str = "table.weight"

    def __init__(
        self,
        input_size: int,
        embedding_size: PositiveInt,
        scale: PositiveFloat,
        num_ngrams: list[PositiveInt],
        dropout: Fraction,
        variational_dropout: Fraction,
        is_frozen: bool,
        repeats: PositiveInt,
    ) -> None:
        super().__init__()
        if input_size ** (len(num_ngrams) + 1) >= 2**63:
            raise ValueError(
                f"frontend.num_ngrams has {len(num_ngrams)} sizes: runs of {len(num_ngrams) + 1} of {input_size:,} tokens cannot be "
                "numbered; give fewer"
            )
        self.output_size = embedding_size
        self.table = nn.Embedding(input_size, embedding_size)
        nn.init.normal_(self.table.weight, std=scale)
        self.table.weight.requires_grad = not is_frozen
        self.ngram_tables = nn.ModuleList(nn.Embedding(count + 1, embedding_size, padding_idx=0) for count in num_ngrams)
        for size, (count, part) in enumerate(zip(num_ngrams, self.ngram_tables, strict=True), start=2):
            nn.init.zeros_(part.get_parameter("weight"))
            self.register_buffer(f"ngrams_{size}", torch.full((count,), ABSENT))
        self.search = SortedSearch()
        self.dropout = nn.Dropout(dropout)
        self.variational_dropout = VariationalDropout(variational_dropout)
        self.needs_fit = self.looks_back = bool(num_ngrams)
        self.repeats = repeats

    def fit(self, batches: Iterable[Batch]) -> None:
        """Number the most frequent n-grams of training texts (of equally frequent ones those of the more frequent tokens)."""
        batches = list(batches)
        for size in range(2, 2 + len(self.ngram_tables)):
            parts = []
            for batch in batches:
                is_whole_BT = valid_mask(batch.input_lengths, batch.inputs.shape[1])
                is_whole_BT[:, : size - 1] = False
                words_BT = batch.inputs if batch.inputs.ndim == 2 else batch.inputs[..., 0]
                parts.append(self._keys(words_BT, size)[is_whole_BT])
            keys, counts = torch.unique(torch.cat(parts), return_counts=True)
            buffer = self.get_buffer(f"ngrams_{size}")
            chosen = keys[counts.argsort(descending=True, stable=True)[: len(buffer)]]
            buffer[: len(chosen)] = chosen.sort().values

    def forward(self, values: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, T) int64 to (B, T * repeats, embedding_size); characters beside the tokens are not looked at."""
        values = values if values.ndim == 2 else values[..., 0]
        vectors_BTF = self.table(values)
        for size, part in enumerate(self.ngram_tables, start=2):
            known, keys_BT = self.get_buffer(f"ngrams_{size}"), self._keys(values, size)
            places_BT = self.search(known, keys_BT).clamp(max=len(known) - 1)
            vectors_BTF = vectors_BTF + part(torch.where(known[places_BT] == keys_BT, places_BT + 1, 0))
        outputs_BTF = zero_padding(self.dropout(self.variational_dropout(vectors_BTF)), lengths_B)
        if self.repeats == 1:
            return outputs_BTF, lengths_B
        return outputs_BTF.repeat_interleave(self.repeats, dim=1), lengths_B * self.repeats

    def run(self, values: Tensor, state: LayerState | None = None) -> tuple[Tensor, LayerState]:
        values, num_back = values if values.ndim == 2 else values[..., 0], len(self.ngram_tables)
        before = values.new_zeros(values.shape[0], num_back) if state is None else state[0]
        whole = torch.cat([before, values], 1)
        lengths_B = torch.full((whole.shape[0],), whole.shape[1], device=whole.device)
        return self(whole, lengths_B)[0][:, num_back * self.repeats :], (whole[:, whole.shape[1] - num_back :],)

    def steps_out(self, lengths: np.ndarray) -> np.ndarray:
        """Return lengths times `repeats`."""
        return lengths * self.repeats

    def _keys(self, tokens_BT: Tensor, size: int) -> Tensor:
        """Number the n-grams that end at each token, the tokens being digits; token 0, padding, stands before the first."""
        keys_BT = torch.zeros_like(tokens_BT)
        for back in range(size - 1, -1, -1):
            earlier_BT = nn.functional.pad(tokens_BT, (back, 0))[:, : tokens_BT.shape[1]]
            keys_BT = keys_BT * self.table.num_embeddings + earlier_BT
        return keys_BT

    def begin_with(self, vectors: np.ndarray | None) -> None:
        """Copy given vectors, (V, F), into the table; rows of NaN stay as drawn.

        Raises:
            ValueError: where their size is another.
        """
        if vectors is None:
            return
        if vectors.shape[1] != self.output_size:
            raise ValueError(
                f"the vectors have {vectors.shape[1]} numbers each, frontend.embedding_size={self.output_size}: set "
                f"frontend.embedding_size={vectors.shape[1]}"
            )
        given = torch.from_numpy(vectors)
        with torch.no_grad():
            self.table.weight.copy_(torch.where(given.isnan(), self.table.weight, given))


class SortedSearch(nn.Module):
    """Map sorted numbers, (K,), and others, (B, T), to how many of the first are less than each of the others, (B, T) int64."""

    def forward(self, known_K: Tensor, keys_BT: Tensor) -> Tensor:
        return torch.searchsorted(known_K, keys_BT)


class Convolution(Frontend):
    """Convolve over time and frequency: keep local shape, forget small shifts in pitch.

    Each block: Conv2d over (time, frequency), batch normalisation over valid steps, ReLU, dropout of whole channels. Strides
    subsample: T' = ceil(T / stride), so lengths stay exact.

    Args:
        input_size: F.
        channels: output channels of each block.
        kernel_sizes: odd, of each block, in both axes.
        time_strides: of each block.
        frequency_strides: of each block.
        dropout: after each block.
    """

    accepts: InputKind = "features"
    looks_ahead: bool = True
    looks_back: bool = True

    def __init__(
        self,
        input_size: int,
        channels: list[PositiveInt],
        kernel_sizes: list[PositiveInt],
        time_strides: list[PositiveInt],
        frequency_strides: list[PositiveInt],
        dropout: Fraction,
    ) -> None:
        super().__init__()
        lists = {
            "channels": channels,
            "kernel_sizes": kernel_sizes,
            "time_strides": time_strides,
            "frequency_strides": frequency_strides,
        }
        if len({len(values) for values in lists.values()}) != 1:
            counts = ", ".join(f"{name} {len(values)}" for name, values in lists.items())
            raise ValueError(f"frontend needs lists of equal length, one number a block; these differ: {counts}")
        if even := [size for size in kernel_sizes if size % 2 == 0]:
            raise ValueError(f"frontend.kernel_sizes has {even[0]}: give odd sizes, so that steps stay aligned")
        self.time_strides = time_strides
        self.subsampling = math.prod(time_strides)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel, stride=(time, frequency), padding=kernel // 2, bias=False)
            for before, after, kernel, time, frequency in zip(
                [1, *channels[:-1]], channels, kernel_sizes, time_strides, frequency_strides, strict=True
            )
        )
        self.norms = nn.ModuleList(MaskedBatchNorm(size) for size in channels)
        self.dropout = nn.Dropout2d(dropout)
        num_bands = input_size
        for stride in frequency_strides:
            num_bands = -(-num_bands // stride)
        self.output_size = num_bands * channels[-1]

    def forward(self, values: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, T, F) to (B, T', bands * channels)."""
        maps_BCTF = zero_padding(values, lengths_B)[:, None]
        for convolution, norm, stride in zip(self.convolutions, self.norms, self.time_strides, strict=True):
            lengths_B = (lengths_B + stride - 1) // stride
            maps_BCTF = convolution(maps_BCTF)
            mask_BT = valid_mask(lengths_B, maps_BCTF.shape[2])
            mask_B1T1 = mask_BT[:, None, :, None].to(maps_BCTF.dtype)
            kept_BC11 = self.dropout(torch.ones_like(maps_BCTF[:, :, :1, :1]))
            maps_BCTF = torch.relu(norm(maps_BCTF, mask_B1T1)) * (mask_B1T1 * kept_BC11)
        return maps_BCTF.transpose(1, 2).flatten(2), lengths_B

    def steps_out(self, lengths: np.ndarray) -> np.ndarray:
        """Return lengths divided by each stride, rounded up, one after another."""
        for stride in self.time_strides:
            lengths = -(-lengths // stride)
        return lengths
