"""Rounding onto a grid with a straight-through gradient; shifts of integer tensors are in :mod:`.int_utils`."""

from __future__ import annotations

import math
from enum import IntEnum, unique
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ...errors import ParameterError
from ...kernels.torch_op import eager_apply, transformed

__all__ = ["MODE", "quantize", "quantize_held", "quantize_hook_fx"]


@unique
class MODE(IntEnum):
    """How :func:`quantize` chooses the grid point: the nearest one (ties to even), or the one below."""

    ROUND = 0
    FLOOR = 1


def quantize(input: Tensor, step: float | Tensor = 1, mode: MODE | int = MODE.ROUND) -> Tensor:
    """Round to multiples of ``step``; the gradient passes unchanged.

    Parameters
    ----------
    input : Tensor, any shape
        Values to round. Integer tensors are rounded as floating point numbers.
    step : float or Tensor that broadcasts to the shape of ``input``, optional
        Distance between grid points, positive. It receives no gradient.
    mode : MODE, optional
        ``MODE.ROUND`` takes the nearest grid point, and the even one of two equally near;
        ``MODE.FLOOR`` the largest that is not above the value.

    Returns
    -------
    Tensor, shape of ``input``
        Multiples of ``step``, in the floating point type of ``input``.

    Raises
    ------
    ParameterError
        If ``mode`` is unknown or ``step`` is not a positive finite number.

    Examples
    --------
    >>> quantize(torch.tensor([0.5, 1.5, 2.5]))
    tensor([0., 2., 2.])
    """
    if mode not in (MODE.ROUND, MODE.FLOOR):
        raise ParameterError(f"expected mode MODE.ROUND or MODE.FLOOR, {mode=} is not recognized")
    if isinstance(step, Tensor):
        step = step.detach()
    elif not 0 < step < math.inf:
        raise ParameterError(f"expected a positive finite step, got {step}")
    floor = mode == MODE.FLOOR
    if torch.compiler.is_compiling():  # plain operations are fused, and torch's tracer warns of a Function
        return _rounded(input.detach(), step, floor) + (input - input.detach())
    if not (input.requires_grad or forward_ad._current_level >= 0 or transformed()):  # noqa: SLF001 - a frozen one
        return _rounded(input, step, floor)
    return _straight_through(input, step, floor)


def _rounded(input: Tensor, step: float | Tensor, floor: bool) -> Tensor:
    if not isinstance(step, Tensor) and step == 1 and input.is_floating_point():
        return torch.floor(input) if floor else torch.round(input)
    steps = input / step
    steps = steps.floor_() if floor else steps.round_()
    return steps.mul_(step)


class _StraightThrough(torch.autograd.Function):
    """Rounding whose derivative is taken to be 1."""

    generate_vmap_rule = True

    @staticmethod
    def forward(input: Tensor, step: float | Tensor, floor: bool) -> Tensor:
        return _rounded(input, step, floor)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad, None, None


_straight_through = eager_apply(_StraightThrough)


class _Held(torch.autograd.Function):
    """Rounding and then clamping, whose derivative is taken to be 1 inside the range and 0 outside."""

    generate_vmap_rule = True

    @staticmethod
    def forward(input: Tensor, step: float, low: float, high: float) -> tuple[Tensor, Tensor]:
        rounded = _rounded(input, step, floor=False)
        held = rounded.clamp(low, high)
        return held, held == rounded

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: None) -> tuple[Tensor, None, None, None]:
        return grad * ctx.saved_tensors[0], None, None, None


_held = eager_apply(_Held)


def quantize_held(input: Tensor, step: float, low: float, high: float) -> Tensor:
    """Round to multiples of ``step`` and hold them in ``low..high``; the gradient passes inside, not outside.

    As :func:`quantize` and a clamp give it, at half the cost for a small tensor.

    Parameters
    ----------
    input : Tensor, any shape
    step, low, high : float
        Distance between grid points, the lowest and the highest of them.
    """
    if torch.compiler.is_compiling() or not input.requires_grad or forward_ad._current_level >= 0:  # noqa: SLF001
        return quantize(input, step).clamp(low, high)
    return _held(input, step, low, high)[0]


def quantize_hook_fx(x: Tensor, scale: int = 1 << 6, num_bits: int = 8, descale: bool = False) -> Tensor:
    """Quantise weights or a normalisation mean; for use as a ``pre_hook_fx``.

    Parameters
    ----------
    x : Tensor, any shape
        Values in units of 1.
    scale : int, optional
        Integer that stands for 1.0.
    num_bits : int, optional
        The result has the range ``-2 * 2**num_bits .. 2 * (2**num_bits - 1)`` in steps of 2, in units of ``1 / scale``:
        one bit more than a signed weight of ``num_bits`` bits has.
    descale : bool, optional
        Return the integers, not multiples of ``1 / scale``.

    Returns
    -------
    Tensor, shape of ``x``
        Quantised values. The gradient passes unchanged inside the range and is zero outside.
    """
    lowest, highest = -2 * (1 << num_bits), 2 * ((1 << num_bits) - 1)
    limited = quantize_held(x, 2 / scale, lowest / scale, highest / scale)
    return limited * scale if descale else limited
