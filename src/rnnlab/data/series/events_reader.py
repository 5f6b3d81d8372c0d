"""How unfinished cases of a person become a batch of which the next event is predicted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from rnnlab.contracts import IGNORED_TARGET, UNKNOWN, Batch
from rnnlab.data.files import ending
from rnnlab.data.inputs import TableFormat, WrittenReader, lines_of, tell, told
from rnnlab.data.series.event_logs import LOG_SUFFIXES, EventColumns, log_files, read_unfinished
from rnnlab.data.text_files import read_text
from rnnlab.data.tokens import Vocabulary

BEHIND_ID, BETWEEN = "\x1f", "\x1e"
"""Signs that no table holds: a case of a table is its id and its events, so that events may hold commas."""


@dataclass(frozen=True)
class EventReader(WrittenReader):
    """Read cases as the run did that made this: of a table all of its cases; else a line is a case, commas between its events."""

    kind = "events"
    example = 'text="an event, another one"'

    vocabulary: tuple[str, ...]
    columns_read: EventColumns
    day_first: bool | None
    has_end_mark: bool

    @property
    def input_words(self) -> tuple[str, ...]:
        return self.vocabulary

    @property
    def table_format(self) -> TableFormat:
        return TableFormat(self.columns_read.event_column)

    def read_folder(self, folder: Path) -> list[str]:
        files, remarks = log_files(folder)
        return [text for file in told(str(folder), files, remarks, "tables") for text in self.read_file(file)]

    def read_file(self, file: Path) -> list[str]:
        """Return a file's cases: of a table by its suffix, else one a line."""
        if ending(file) not in LOG_SUFFIXES:
            return lines_of(read_text(file).text)
        return [name + BEHIND_ID + BETWEEN.join(events) for name, events in read_unfinished(file, self.columns_read, self.day_first)]

    def read(self, inputs: Sequence[str | bytes]) -> tuple[list[str], Batch]:
        """Turn cases into a batch without targets; name its rows by the case where a table told it.

        Raises:
            ValueError: for a case without an event.
        """
        cut = [_parted(str(item)) for item in inputs]
        if empty := [number for number, (_, events) in enumerate(cut, start=1) if not events]:
            raise ValueError(f"case {empty[0]} of {len(cut)} has no event: leave it out")
        vocabulary = Vocabulary(self.vocabulary)
        rows = [torch.from_numpy(vocabulary.encode(events)) for _, events in cut]
        if num_unknown := sum(int((row == UNKNOWN).sum()) for row in rows):
            tell(f"{num_unknown:,} of {sum(map(len, rows)):,} events are unknown to this run, which met none of that name in training")
        lengths_B = torch.tensor([len(row) for row in rows])
        inputs_BT = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        targets_BT = torch.full_like(inputs_BT, IGNORED_TARGET)
        return [name for name, _ in cut], Batch(inputs_BT, lengths_B, targets_BT, lengths_B.clone(), torch.arange(len(rows)))


def _parted(item: str) -> tuple[str, list[str]]:
    """Return a case's name and its events."""
    if BEHIND_ID in item:
        name, _, events = item.partition(BEHIND_ID)
        return name, events.split(BETWEEN)
    parts = (" ".join(event.split()) for line in item.splitlines() for event in line.split(","))
    return item.strip(), [event for event in parts if event]
