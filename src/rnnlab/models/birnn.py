"""A bidirectional recurrent network (Schuster and Paliwal 1997) of any cell.

Each layer runs forwards and, over the sequence reversed within its own length, backwards; the next layer sees both.
"""

from typing import ClassVar, final

from rnnlab.models.base import RecurrentModule


@final
class BiRNN(RecurrentModule):
    """A bidirectional recurrent network; choose its cell with `cell=...` (conf/cell)."""

    is_bidirectional: ClassVar[bool] = True
