"""A long short-term memory network, one direction: a preset of the recurrent stack; equations in `cells/lstm.py`."""

from typing import ClassVar, final

from rnnlab.cells.base import Cell
from rnnlab.cells.lstm import LSTMCell
from rnnlab.models.base import RecurrentModule


@final
class LSTM(RecurrentModule):
    """A long short-term memory network, one direction."""

    cell_class: ClassVar[type[Cell] | None] = LSTMCell
