"""A gated recurrent network, one direction: a preset of the recurrent stack; equations in `cells/gru.py`."""

from typing import ClassVar, final

from rnnlab.cells.base import Cell
from rnnlab.cells.gru import GRUCell
from rnnlab.cells.mingru import MinGRUCell
from rnnlab.models.base import RecurrentModule


@final
class GRU(RecurrentModule):
    """A gated recurrent network, one direction."""

    cell_classes: ClassVar[tuple[type[Cell], ...]] = (GRUCell, MinGRUCell)
