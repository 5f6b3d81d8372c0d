"""The IRNN of Le, Jaitly and Hinton (2015), "A simple way to initialize recurrent networks of rectified linear units".

A simple recurrent network (`srnn`) with f = relu that begins as its own memory:

    h_t = relu(W_i x_t + b_i + W_h h_{t-1} + b_h),   at first W_h = scale * I, b = 0, W_i ~ N(0, deviation^2)

so that without input h_t = h_{t-1}, and the gradient over any number of steps is 1. Their section 4: scale 1, deviation 0.001; for
speech a scale of 0.01, which forgets quickly.
"""

from torch import nn

from rnnlab.cells.srnn import SRNNCell
from rnnlab.cells.weights import Initialisation
from rnnlab.config import NonNegativeFloat, PositiveFloat


class IRNNCell(SRNNCell):
    """Advance a recurrent network of rectified linear units.

    Args:
        scale: of the identity.
        deviation: of the first input weights.
    """

    def __init__(self, input_size: int, hidden_size: int, scale: NonNegativeFloat, deviation: PositiveFloat) -> None:
        super().__init__(input_size, hidden_size, "relu")
        self.scale, self.deviation = scale, deviation

    def initialise(self, initialisation: Initialisation) -> None:
        """Begin as Le et al. say where `uniform` leaves it to the cell; any other initialisation is what it is."""
        super().initialise(initialisation)
        if initialisation == "uniform":
            nn.init.eye_(self.weight("weight_hh")).data.mul_(self.scale)
            nn.init.normal_(self.weight("weight_ih"), std=self.deviation)
            nn.init.zeros_(self.weight("bias_ih"))
            nn.init.zeros_(self.weight("bias_hh"))
