"""A long short-term memory network, one direction: a preset of the recurrent stack; equations in `cells/lstm.py`."""

from typing import ClassVar, final

from rnnlab.cells.base import Cell
from rnnlab.cells.lstm import LSTMCell
from rnnlab.cells.lstm_coupled import CoupledLSTMCell
from rnnlab.cells.lstm_layer_norm import LayerNormLSTMCell
from rnnlab.cells.lstm_peephole import PeepholeLSTMCell
from rnnlab.models.base import RecurrentModule


@final
class LSTM(RecurrentModule):
    """A long short-term memory network, one direction."""

    cell_classes: ClassVar[tuple[type[Cell], ...]] = (LSTMCell, CoupledLSTMCell, LayerNormLSTMCell, PeepholeLSTMCell)
