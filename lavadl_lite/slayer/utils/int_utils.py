"""Truncation toward zero: a shift for integer tensors, and its straight-through counterpart for floats."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...errors import ParameterError

__all__ = ["Q2Zero", "right_shift_to_zero"]

_BITS = {torch.int32: 32, torch.int64: 64}


def right_shift_to_zero(x: Tensor, bits: int) -> Tensor:
    """Divide by ``2**bits`` and round toward zero, as the hardware does.

    Parameters
    ----------
    x : Tensor of int32 or int64, any shape
        Integers; the smallest of the type included.
    bits : int
        Places to shift, at least 0 and less than the width of the type.

    Returns
    -------
    Tensor, shape and dtype of ``x``
        ``trunc(x / 2**bits)``, exactly.

    Raises
    ------
    ParameterError
        If ``x`` has another dtype or ``bits`` is out of range.
    """
    if x.dtype not in _BITS:
        raise ParameterError(f"expected torch.int32 or torch.int64 data, got {x.dtype}")
    width = _BITS[x.dtype]
    if not 0 <= bits < width:
        raise ParameterError(f"expected bits in 0..{width - 1} for {x.dtype}, got {bits}")
    round_up_if_negative = (x >> (width - 1)) & ((1 << bits) - 1)
    return (x + round_up_if_negative) >> bits


class Q2Zero(torch.autograd.Function):
    """Truncate floats toward zero; the gradient passes unchanged. Call it as ``Q2Zero.apply(x)``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        """Return ``trunc(x)`` in the dtype of ``x``."""
        return torch.trunc(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing is kept: the derivative is 1."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Return the incoming gradient."""
        return grad
