"""How running text of a person becomes a batch for a language model, and the tokens that it draws become text."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from rnnlab.contracts import IGNORED_TARGET, UNKNOWN, Batch
from rnnlab.data.inputs import InputTokens, TableFormat, tell, told
from rnnlab.data.streams import TextWriter
from rnnlab.data.text.cutting import END, Cutter
from rnnlab.data.text.documents import DocumentColumns, documents_of, files_of
from rnnlab.data.text.readers import TEXT_NAMES
from rnnlab.data.tokens import BLANK, Vocabulary


@dataclass(frozen=True)
class LanguageReader(TextWriter):
    """Read texts as the run did that made this; `has_ends` says whether its documents end with a token of their own."""

    kind = "language"
    example = 'text="the beginning of a text"'
    usual_columns: ClassVar[tuple[str, ...]] = TEXT_NAMES

    cutter: Cutter
    has_ends: bool
    text_column: str

    @property
    def end(self) -> int | None:
        return self.vocabulary.index(END) if self.has_ends else None

    def words_of(self, text: str) -> list[str]:
        return [*([END] if self.has_ends else []), *self.cutter.cut(text)]

    def written(self, word: str, before: str | None) -> str:
        return self.cutter.follows(word, before)

    @property
    def input_words(self) -> tuple[str, ...]:
        return self.vocabulary

    @property
    def input_tokens(self) -> InputTokens:
        unit = self.cutter.unit
        words = tuple(BLANK if word == " " else word for word in self.vocabulary) if unit == "char" else self.vocabulary
        return InputTokens("word" if unit == "text_word" else unit, words, subwords=self.cutter.subwords)

    @property
    def table_format(self) -> TableFormat:
        return TableFormat(self.text_column, TEXT_NAMES[1:] if self.text_column == TEXT_NAMES[0] else ())

    def read_folder(self, folder: Path) -> list[str]:
        files, remarks = files_of(folder)
        return [text for file in told(str(folder), files, remarks, "texts") for text in self.read_file(file)]

    def read_file(self, file: Path) -> list[str]:
        """Return a file's documents, as training reads them: of a table its column of texts, else all of it as one."""
        return [document.text for document in documents_of(file, DocumentColumns(self.text_column))]

    def encode(self, text: str) -> np.ndarray:
        return Vocabulary(self.vocabulary).encode(self.words_of(text))

    def read(self, inputs: Sequence[str | bytes]) -> tuple[list[str], Batch]:
        """Turn texts into a batch whose targets are their own next tokens; the last step's is unknown. Name its rows.

        Raises:
            ValueError: for an empty text.
        """
        texts = [str(text) for text in inputs]
        if empty := [number for number, text in enumerate(texts, start=1) if not text.strip()]:
            raise ValueError(f"text {empty[0]} of {len(texts)} is empty: leave it out")
        rows = [self.encode(text) for text in texts]
        if num_unknown := sum(int((row == UNKNOWN).sum()) for row in rows):
            tell(f"{num_unknown:,} of {sum(map(len, rows)):,} tokens are unknown to this run, which read no such text in training")
        lengths_B = torch.tensor([len(row) for row in rows])
        inputs_BT = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True)
        targets_BT = torch.full_like(inputs_BT, IGNORED_TARGET)
        for place, row in enumerate(rows):
            targets_BT[place, : len(row) - 1] = torch.from_numpy(row[1:])
        return texts, Batch(inputs_BT, lengths_B, targets_BT, lengths_B - 1, torch.arange(len(rows)))
