"""Where tensors and arrays meet kernels: the device is chosen, types settled and outputs allocated here, only here.

torch is never imported: NumPy arrays run without it, and tensors bring it along.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DeviceError, ParameterError, ShapeError
from . import memory
from .cpu import cuts
from .native import Native

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Kernel", "alike", "empty", "expand_rows", "floating", "on_cpu", "power_of_two", "ready", "shared_rows"]


class Kernel:
    """One pass over rows: a CPU driver and a CUDA driver of the same steps.

    Called with NumPy arrays or with tensors of one device, all contiguous, and numbers; the first argument decides
    where it runs.  CPU drivers take two more arguments, the rows ``lo`` to ``hi`` of their share.

    Parameters
    ----------
    cpu : callable
        Driver compiled by :func:`.cpu.cpu_kernel`.
    cuda : callable, optional
        Driver made by :func:`.cuda.cuda_kernel`.
    """

    def __init__(self, cpu: Callable[..., None], cuda: Callable[..., None] | None = None) -> None:
        self.cpu = cpu
        self.cuda = cuda
        self.native = Native(cpu)

    def __call__(self, *arguments: Any, rows: int, elements: int) -> None:
        first = arguments[0]
        if isinstance(first, np.ndarray) or first.is_cpu:
            borders = cuts(rows, elements)
            if len(borders) > 1:
                self.native(arguments, borders)
        elif first.is_cuda and self.cuda is not None:
            self.cuda(*arguments, rows=rows)
        else:
            raise DeviceError(f"expected tensors on 'cpu' or 'cuda', got {first.device}")


def ready(tensor: Tensor) -> Tensor:
    """``tensor`` as a kernel can read it: detached, contiguous, without a pending negation."""
    # asking costs less than doing nothing
    if tensor.requires_grad:
        tensor = tensor.detach()
    if not tensor.is_contiguous():
        tensor = tensor.contiguous()
    return tensor.resolve_neg() if tensor.is_neg() else tensor


def on_cpu(tensor: Tensor) -> bool:
    """Whether ``tensor`` is where memory and cache are a CPU's: for what is laid out to suit them."""
    return tensor.is_cpu


def alike(array: np.ndarray, like: Tensor | np.ndarray) -> Tensor | np.ndarray:
    """``array`` where ``like`` is: itself on the CPU, else a copy on that device."""
    if isinstance(like, np.ndarray) or like.is_cpu:
        return array
    return sys.modules["torch"].tensor(array, device=like.device)


def empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Uninitialised tensor with device and type of ``like``, float32; a large one on the CPU is from :mod:`.memory`."""
    if 4 * math.prod(shape) >= memory.SMALLEST and like.is_cpu:
        return sys.modules["torch"].from_numpy(memory.empty(tuple(shape)))
    return like.new_empty(shape)


def floating(tensor: Tensor, name: str = "input") -> Tensor:
    """``tensor`` in float32, in which every kernel computes.

    Raises
    ------
    ParameterError
        If it is not a tensor of real floating-point numbers.
    ShapeError
        If it has no axis at all.
    """
    torch = sys.modules["torch"]
    if not isinstance(tensor, torch.Tensor):
        raise ParameterError(f"expected {name} to be a tensor, got {type(tensor).__name__}")
    if not tensor.is_floating_point():
        raise ParameterError(f"expected {name} to be of a floating-point type, got {tensor.dtype}; use .float()")
    if not tensor.dim():
        raise ShapeError(f"expected {name} with a time axis (..., T), got a tensor without axes")
    return tensor if tensor.dtype == torch.float32 else tensor.to(torch.float32)


def power_of_two(scale: float, name: str) -> int:
    """``scale`` as an integer.

    Raises
    ------
    ParameterError
        If it is not a power of two in 1..2**23: only these carry integers through float32 unchanged.
    """
    if not isinstance(scale, int | float | np.integer | np.floating):
        raise ParameterError(f"expected {name} to be a number, got {scale!r}")
    if not 1 <= scale <= 1 << 23 or int(scale) != scale or int(scale) & (int(scale) - 1):
        raise ParameterError(f"expected {name} to be a power of two in 1..2**23, got {scale}")
    return int(scale)


def expand_rows(parameter: Tensor, shape: tuple[int, ...], name: str, dtype: str = "float32") -> Tensor:
    """``parameter`` with one value per row, as a view whose gradient autograd sums back.

    Parameters
    ----------
    parameter : Tensor, shape (1,), (C,), the spatial shape (C, ...) or the whole of ``shape``
        One value for all rows, for each channel, for each neuron or for each row.
    shape : tuple of int
        Shape of the input without time: ``(N, C, ...)``, or anything for a parameter with one value.
    name : str
        What to call it in the error.
    dtype : str
        Name of the type that the kernel takes it in.

    Raises
    ------
    ParameterError
        If ``parameter`` is not a tensor of real numbers.
    ShapeError
        If it has none of these shapes.
    """
    torch = sys.modules["torch"]
    if not isinstance(parameter, torch.Tensor) or parameter.is_complex():
        kind = getattr(parameter, "dtype", type(parameter).__name__)
        raise ParameterError(f"expected {name} to be a tensor of real numbers, got {kind}")
    if parameter.dtype != (wanted := getattr(torch, dtype)):
        parameter = parameter.to(wanted)
    given = tuple(parameter.shape)
    shape = tuple(shape)
    if parameter.numel() == 1:
        return (parameter if len(given) <= len(shape) else parameter.reshape(())).expand(shape)
    if given == shape or given == shape[1:]:  # not `in`, which torch.compile gets wrong for sizes that vary
        return parameter.expand(shape)
    if len(shape) > 1 and given == shape[1:2]:
        return parameter.reshape(-1, *[1] * (len(shape) - 2)).expand(shape)
    spatial = "".join(f" or {s}" for s in dict.fromkeys((shape[1:2], shape[1:])) if s)
    raise ShapeError(f"expected {name} of shape (1,){spatial} for an input {(*shape, 'T')}, got {given}")


def shared_rows(parameter: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
    """:func:`expand_rows` for a kernel that takes one value for all rows as it is: that one when it has no gradient."""
    torch = sys.modules["torch"]
    one = isinstance(parameter, torch.Tensor) and parameter.numel() == 1 and parameter.dtype == torch.float32
    return parameter if one and not parameter.requires_grad else expand_rows(parameter, shape, name)
