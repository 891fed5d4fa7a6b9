"""Where tensors and arrays meet kernels: the device is chosen, types are settled and outputs allocated here, nowhere else.

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
from .cpu import as_argument, run_rows

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Kernel", "empty", "expand_rows", "floating", "power_of_two", "ready"]


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

    def __call__(self, *arguments: Any, rows: int, elements: int) -> None:
        first = arguments[0]
        if isinstance(first, np.ndarray):
            self._run_cpu([as_argument(a) for a in arguments], rows, elements)
        elif first.device.type == "cpu":
            # a tensor's own NumPy view costs less than half of a DLPack capsule, and refuses fake tensors
            self._run_cpu(
                [as_argument(a.detach().numpy() if hasattr(a, "numpy") else a) for a in arguments], rows, elements
            )
        elif first.device.type == "cuda" and self.cuda is not None:
            self.cuda(*arguments, rows=rows)
        else:
            raise DeviceError(f"expected tensors on 'cpu' or 'cuda', got {first.device}")

    def _run_cpu(self, arguments: list[Any], rows: int, elements: int) -> None:
        run_rows(lambda lo, hi: self.cpu(*arguments, lo, hi), rows, elements)


def ready(tensor: Tensor) -> Tensor:
    """``tensor`` as a kernel can read it: detached, contiguous, without a pending negation."""
    return tensor.detach().contiguous().resolve_neg()


def empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Uninitialised float32 tensor on the device of ``like``; large ones on the CPU come from :mod:`.memory`."""
    torch = sys.modules["torch"]
    if like.device.type == "cpu" and 4 * math.prod(shape) >= memory.SMALLEST:
        return torch.from_numpy(memory.empty(tuple(shape)))
    return torch.empty(shape, dtype=torch.float32, device=like.device)


def floating(tensor: Tensor, name: str = "input") -> Tensor:
    """``tensor`` in float32, in which every kernel computes.

    Raises
    ------
    ParameterError
        If it is not a tensor of real floating-point numbers.
    """
    torch = sys.modules["torch"]
    if not isinstance(tensor, torch.Tensor):
        raise ParameterError(f"expected {name} to be a tensor, got {type(tensor).__name__}")
    if not tensor.is_floating_point():
        raise ParameterError(f"expected {name} to be of a floating-point type, got {tensor.dtype}; use .float()")
    return tensor.to(torch.float32)


def power_of_two(scale: float, name: str) -> int:
    """``scale`` as an integer.

    Raises
    ------
    ParameterError
        If it is not a power of two in 1..2**23: only these carry integers through float32 unchanged.
    """
    if not (isinstance(scale, int | float | np.integer | np.floating) and scale == scale):
        raise ParameterError(f"expected {name} to be a number, got {scale!r}")
    if not 1 <= scale <= 1 << 23 or int(scale) != scale or int(scale) & (int(scale) - 1):
        raise ParameterError(f"expected {name} to be a power of two in 1..2**23, got {scale}")
    return int(scale)


def expand_rows(parameter: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
    """``parameter`` with one value per row, as a view whose gradient autograd sums back.

    Parameters
    ----------
    parameter : Tensor, shape (1,), (C,), the spatial shape (C, ...) or the whole of ``shape``
        One value for all rows, for each channel, for each neuron or for each row.
    shape : tuple of int
        Shape of the input without time: ``(N, C, ...)``, or anything for a parameter with one value.
    name : str
        What to call it in the error.

    Raises
    ------
    ShapeError
        If ``parameter`` has none of these shapes.
    """
    given = tuple(parameter.shape)
    shape = tuple(shape)
    if parameter.numel() == 1:
        return parameter.reshape(()).expand(shape)
    if given == shape or given == shape[1:]:  # not `in`, which torch.compile gets wrong for sizes that vary
        return parameter.expand(shape)
    if len(shape) > 1 and given == shape[1:2]:
        return parameter.reshape(-1, *[1] * (len(shape) - 2)).expand(shape)
    spatial = f", {shape[1:2]} or {shape[1:]}" if len(shape) > 1 else ""
    raise ShapeError(f"expected {name} of shape (1,){spatial} for an input {(*shape, 'T')}, got {given}")
