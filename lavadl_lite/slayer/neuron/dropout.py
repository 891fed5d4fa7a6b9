"""Dropout of whole neurons."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import ShapeError

__all__ = ["Dropout"]


class Dropout(torch.nn.Dropout3d):
    """Silences neurons at random while training, each for the whole sequence.

    Every neuron of every sample is drawn on its own. The others are multiplied by ``1 / (1 - p)``. In evaluation mode
    nothing changes.

    Parameters
    ----------
    p : float, optional
        Probability that a neuron is silenced.
    inplace : bool, optional
        Write the result over the input.

    Examples
    --------
    >>> drop = Dropout(0.2)
    >>> output = drop(torch.ones(2, 5, 100))
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply to ``input`` (N, ..., T); the shape stays. Raises ShapeError if there are fewer than two axes."""
        if input.dim() < 2:
            raise ShapeError(f"expected input (N, ..., T), got {tuple(input.shape)}")
        neurons = input.reshape(input.shape[0], math.prod(input.shape[1:-1]), 1, 1, input.shape[-1])
        return F.dropout3d(neurons, self.p, self.training, self.inplace).reshape(input.shape)
