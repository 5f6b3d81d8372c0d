"""A simple (Elman) recurrent network, one direction: a preset of the recurrent stack; equations in `cells/srnn.py`."""

from typing import ClassVar, final

from rnnlab.cells.base import Cell
from rnnlab.cells.irnn import IRNNCell
from rnnlab.cells.srnn import SRNNCell
from rnnlab.models.base import RecurrentModule


@final
class SRNN(RecurrentModule):
    """A simple (Elman) recurrent network, one direction."""

    cell_classes: ClassVar[tuple[type[Cell], ...]] = (SRNNCell, IRNNCell)
