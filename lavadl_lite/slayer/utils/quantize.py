"""Rounding onto a grid with a straight-through gradient; shifts of integer tensors are in :mod:`.int_utils`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from ... import kernels
from ...errors import ParameterError
from ...kernels.torch_op import eager_apply, gradients_again, transformed

__all__ = ["MODE", "Grid", "quantize", "quantize_hook_fx", "quantize_within"]

_FEW = 1 << 12  # values that torch rounds before a kernel is called


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


def quantize_within(input: Tensor, step: float, lowest: int, highest: int) -> Tensor:
    """Round to the nearest multiple of ``step`` in a range, in one pass; the gradient passes inside, and is 0 outside.

    Parameters
    ----------
    input : Tensor, any shape
        Values to round.
    step : float
        Distance between grid points, a power of two.
    lowest, highest : int
        Ends of the range in steps, below 2**22.

    Returns
    -------
    Tensor, shape of ``input``
    """
    if _plain() or input.dtype != torch.float32:
        return quantize(input, step).clamp(lowest * step, highest * step)
    return (_within if input.requires_grad else _Within.forward)(input, step, lowest, highest)


def _plain() -> bool:
    """Whether there have to be plain operations: they are compiled, or transformed by rules of their own."""
    return torch.compiler.is_compiling() or transformed() or forward_ad._current_level >= 0  # noqa: SLF001


class _Within(torch.autograd.Function):
    """Rounding whose derivative is taken to be 1 inside a range."""

    @staticmethod
    def forward(input: Tensor, step: float, lowest: int, highest: int) -> Tensor:
        if input.numel() <= _FEW:
            return _rounded(input, step, floor=False).clamp_(lowest * step, highest * step)
        launch = kernels.launch
        x, y = launch.ready(input), launch.empty(input.shape, input)
        ends = float(lowest), float(highest)
        kernels.rounding.forward(x, y, 1 / step, step, *ends, rows=x.numel(), elements=x.numel())
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        input, *ctx.numbers = inputs
        ctx.save_for_backward(input)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (input,) = ctx.saved_tensors
        step, lowest, highest = ctx.numbers
        if torch.is_grad_enabled():  # a second derivative is wanted
            steps = torch.round(input.detach() / step)
            return grad * ((steps >= lowest) & (steps <= highest)), None, None, None
        # half a step outside of the range, an even end is what is rounded to, and an odd one is not
        if input.numel() <= _FEW and lowest % 2 == 0 and highest % 2:
            below = float(np.nextafter(np.float32((lowest - 0.5) * step), np.float32(-np.inf)))
            return torch.ops.aten.hardtanh_backward(grad, input, below, (highest + 0.5) * step), None, None, None
        launch = kernels.launch
        x, g_x = launch.ready(input), launch.empty(input.shape, input)
        ends = float(lowest), float(highest)
        kernels.rounding.backward(x, launch.ready(grad), g_x, 1 / step, *ends, rows=x.numel(), elements=x.numel())
        return g_x, None, None, None


_within = eager_apply(_Within)


class _AffineWithin(torch.autograd.Function):
    """A signal times a rounded number, plus another, see :meth:`Grid.affine`."""

    @staticmethod
    def forward(ctx: Any, signal: Tensor, factor: Tensor, offset: Tensor, grid: Any) -> Tensor:
        (ctx.held, ctx.inside_factor), (held_offset, ctx.inside_offset) = map(grid.number, (factor, offset))
        ctx.grid = grid
        ctx.save_for_backward(signal, factor, offset)
        return (signal * ctx.held).add_(held_offset)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        signal, factor, offset = given = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():  # a second derivative is wanted
            return *gradients_again(lambda x, a, b: x * ctx.grid(a) + ctx.grid(b), given, wanted, grad), None
        g_signal = grad * ctx.held if wanted[0] else None
        g_factor = g_offset = None
        if wanted[1]:
            g_factor = (grad * signal).sum().view(factor.shape) if ctx.inside_factor else torch.zeros_like(factor)
        if wanted[2]:
            g_offset = grad.sum().view(offset.shape) if ctx.inside_offset else torch.zeros_like(offset)
        return g_signal, g_factor, g_offset, None


_affine_within = eager_apply(_AffineWithin)


class _NormedWithin(torch.autograd.Function):
    """Rounding of a normalised weight, see :meth:`Grid.normed`."""

    @staticmethod
    def forward(ctx: Any, direction: Tensor, gain: Tensor, grid: Any) -> Tensor:
        weight, norm = grid.weight_and_norm(direction, gain)
        ctx.grid = grid
        ctx.save_for_backward(direction, gain, norm)
        return weight

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        direction, gain, norm = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted
            return *gradients_again(ctx.grid.of_norm, (direction, gain), ctx.needs_input_grad[:2], grad), None
        into = kernels.launch.empty(direction.shape, direction)
        return *ctx.grid.gradients(direction, gain, norm, grad, into), None


_normed_within = eager_apply(_NormedWithin)


@dataclass(frozen=True)
class Grid:
    """Multiples of a step in a range, onto which a hook rounds weights as :func:`quantize_within` does.

    Parameters
    ----------
    step : float
        Distance between grid points, a power of two.
    lowest, highest : int
        Ends of the range in steps, below 2**22.
    """

    step: float
    lowest: int
    highest: int

    def __call__(self, weight: Tensor) -> Tensor:
        return quantize_within(weight, self.step, self.lowest, self.highest)

    def affine(self, signal: Tensor, factor: Tensor, offset: Tensor) -> Tensor:
        """``signal * self(factor) + self(offset)``, as one step of autograd.

        Parameters
        ----------
        signal : Tensor, any shape
        factor, offset : Tensor, shape (1,)
        """
        single = signal.dtype == factor.dtype == offset.dtype == torch.float32
        here = all(map(kernels.launch.on_cpu, (signal, factor, offset)))  # where numbers can be read without waiting
        if _plain() or not (single and here and factor.numel() == offset.numel() == 1):
            return signal * self(factor) + self(offset)
        return _affine_within(signal, factor, offset, self)

    def normed(self, direction: Tensor, gain: Tensor) -> Tensor:
        """The same of ``gain * direction / norm``, as ``torch._weight_norm`` makes it, in fewer passes.

        Parameters
        ----------
        direction : Tensor, shape (n, ...)
        gain : Tensor, shape (n, 1, ...)
            Norm of each entry of the first axis.
        """
        if not self.norms(direction, gain):
            return self.of_norm(direction, gain)
        return _normed_within(direction, gain, self)

    def of_norm(self, direction: Tensor, gain: Tensor) -> Tensor:
        """:meth:`normed` by torch's own operations."""
        return self(torch._weight_norm(direction, gain, 0))  # noqa: SLF001

    def number(self, value: Tensor) -> tuple[float, bool]:
        """``self(value)`` of one value, and whether what it is rounded to lies in the range."""
        steps = float(value) / self.step
        if math.isnan(steps):
            return steps, True
        steps = round(min(max(steps, self.lowest - 1), self.highest + 1))  # of two as near the even one
        held = min(max(steps, self.lowest), self.highest)
        return held * self.step, held == steps

    @staticmethod
    def norms(direction: Tensor, gain: Tensor) -> bool:
        """Whether :meth:`weight_and_norm` and :meth:`gradients` take the place of torch's operations."""
        single = direction.dtype == gain.dtype == torch.float32
        return direction.numel() > _FEW and single and kernels.launch.on_cpu(direction) and not _plain()

    def weight_and_norm(self, direction: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`normed` without a graph, rounded where it was normalised, and the norms of the directions."""
        v, g = kernels.launch.ready(direction), kernels.launch.ready(gain)
        weight, norm = torch._weight_norm_interface(v, g, 0)  # noqa: SLF001 - the bits of lava-dl
        ends = float(self.lowest), float(self.highest)
        kernels.rounding.forward(weight, weight, 1 / self.step, self.step, *ends, rows=v.numel(), elements=v.numel())
        return weight, norm

    def gradients(
        self, direction: Tensor, gain: Tensor, norm: Tensor, grad: Tensor, into: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gradients of direction and gain from that of :meth:`normed`, in one pass.

        Parameters
        ----------
        norm : Tensor
            As :meth:`weight_and_norm` gave it.
        grad : Tensor, shape of ``direction``
        into : Tensor, shape of ``direction``
            What the first result is written to; may be ``grad`` itself.
        """
        launch = kernels.launch
        v, g_gain, rows = launch.ready(direction), launch.empty(gain.shape, gain), len(direction)
        kernels.rounding.normed_backward(
            v, launch.ready(grad), launch.ready(gain), norm, into, g_gain, v.numel() // rows, 1 / self.step,
            float(self.lowest), float(self.highest), rows=rows, elements=v.numel(),
        )  # fmt: skip
        return into, g_gain


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
    limited = quantize(x, step=2 / scale).clamp(lowest / scale, highest / scale)
    return limited * scale if descale else limited
