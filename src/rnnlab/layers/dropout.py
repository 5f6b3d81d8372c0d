"""Dropout of whole features of a sequence."""

import torch
from torch import Tensor, nn


def dropouts(numbers: float, features: float) -> nn.Sequential:
    """Return what drops single numbers, and whole features of a sequence, as far as any are dropped."""
    parts = [nn.Dropout(numbers)] * bool(numbers) + [VariationalDropout(features)] * bool(features)
    return nn.Sequential(*parts)


class VariationalDropout(nn.Dropout):
    """Drop whole features, the same at all steps of a sequence (Gal and Ghahramani 2016; "locked" in Merity et al. 2018, section 4.3)."""

    def forward(self, values_BTX: Tensor) -> Tensor:
        """Map (B, T, X) to (B, T, X); where nothing is dropped, no random number is drawn."""
        if not (self.training and self.p):
            return values_BTX
        kept_B1X: Tensor = super().forward(torch.ones_like(values_BTX[:, :1]))
        return values_BTX * kept_B1X
