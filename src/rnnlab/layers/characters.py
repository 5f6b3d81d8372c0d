"""A front end of words with their characters: what a word is made of tells much of one that training lacks."""

import numpy as np
import torch
from torch import Tensor, nn

from rnnlab.config import Fraction, PositiveFloat, PositiveInt
from rnnlab.contracts import InputKind, zero_padding
from rnnlab.layers.dropout import VariationalDropout
from rnnlab.layers.frontends import Embedding, Frontend


class WordsAndCharacters(Frontend):
    """Put beside each word's vector what a convolution makes of its characters (dos Santos and Zadrozny 2014; Ma and Hovy 2016).

        x_t = [ W[w_t] ; max_i relu(K_1 * C[c_t])_i ; max_i relu(K_2 * C[c_t])_i ; ... ]

    with c_t the characters of word t and the largest value of each filter over the word's characters i. Around a word there are zeros, by
    which filters know where it begins and ends. Each different word of a batch is run once.

    Args:
        input_size: size of the vocabulary.
        embedding_size: numbers of a word's vector.
        scale: standard deviation of the first vectors of words.
        character_size: numbers of a character's vector.
        num_filters: of each kernel size.
        kernel_sizes: odd, how many characters a filter sees.
        dropout: on single numbers of what comes out.
        variational_dropout: on whole features, the same at all steps of a sequence.

    Raises:
        ValueError: if a kernel size is even.
    """

    accepts: InputKind = "tokens"
    needs_characters: bool = True
    word_table: str = "words.table.weight"

    def __init__(
        self,
        input_size: int,
        embedding_size: PositiveInt,
        scale: PositiveFloat,
        character_size: PositiveInt,
        num_filters: PositiveInt,
        kernel_sizes: list[PositiveInt],
        dropout: Fraction,
        variational_dropout: Fraction,
    ) -> None:
        super().__init__()
        if even := [size for size in kernel_sizes if size % 2 == 0]:
            raise ValueError(f"frontend.kernel_sizes has {even[0]}: give odd sizes, so that a filter has a middle")
        self.words = Embedding(input_size, embedding_size, scale, [], 0.0, 0.0, is_frozen=False, repeats=1)
        self.character_size = character_size
        self.characters: nn.Embedding | None = None
        self.convolutions = nn.ModuleList(nn.Conv1d(character_size, num_filters, size, padding=size // 2) for size in kernel_sizes)
        self.output_size = embedding_size + num_filters * len(kernel_sizes)
        self.dropout = nn.Dropout(dropout)
        self.variational_dropout = VariationalDropout(variational_dropout)

    def begin_with(self, vectors: np.ndarray | None) -> None:
        self.words.begin_with(vectors)

    def take_alphabet(self, num_characters: int) -> None:
        self.characters = nn.Embedding(num_characters, self.character_size, padding_idx=0)
        nn.init.uniform_(self.characters.weight, -((3 / self.character_size) ** 0.5), (3 / self.character_size) ** 0.5)
        with torch.no_grad():
            self.characters.weight[0] = 0

    def forward(self, values: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, T, 1 + L) int64 to (B, T, output_size)."""
        words_BTE, _ = self.words(values[..., 0], lengths_B)
        distinct_NL, number_BT = torch.unique(values[..., 1:].flatten(0, 1), dim=0, return_inverse=True)
        features_BTF = self.features(distinct_NL)[number_BT].view(*values.shape[:2], -1)
        joined_BTF = torch.cat([words_BTE, features_BTF], -1)
        return zero_padding(self.dropout(self.variational_dropout(joined_BTF)), lengths_B), lengths_B

    def features(self, characters_NL: Tensor) -> Tensor:
        """Return what the filters find in words, (N, L) int64, padded with 0: (N, filters)."""
        assert self.characters is not None
        vectors_NCL = self.characters(characters_NL).transpose(1, 2)
        is_letter_N1L = (characters_NL != 0)[:, None]
        found = [(convolution(vectors_NCL).relu() * is_letter_N1L).amax(-1) for convolution in self.convolutions]
        return torch.cat(found, -1)
