"""Copies of a tensor along time."""

from __future__ import annotations

import torch
from torch import Tensor

from ....errors import ParameterError

__all__ = ["replicate"]


def replicate(input: Tensor, num_steps: int) -> Tensor:
    """Repeat a tensor along a new last axis, time.

    Parameters
    ----------
    input : Tensor, any shape and dtype
        One value for all steps.
    num_steps : int
        Number of steps, not negative.

    Returns
    -------
    Tensor, shape (..., num_steps)
        Contiguous memory of its own.

    Raises
    ------
    ParameterError
        If ``num_steps`` is negative.

    Examples
    --------
    >>> replicate(torch.rand(2, 3), 10).shape
    torch.Size([2, 3, 10])
    """
    if num_steps < 0:
        raise ParameterError(f"expected num_steps >= 0, got {num_steps}")
    repeated = input.unsqueeze(-1).expand(*input.shape, num_steps)
    return repeated.clone(memory_format=torch.contiguous_format)
