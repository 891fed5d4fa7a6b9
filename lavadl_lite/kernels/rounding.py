"""Rounding onto the multiples of a step inside a range, and the gradient that passes there; no other rounding.

A row of these kernels is an element.  ``per_step`` is 1 / ``step``, a power of two; the ends of the range are counted
in steps, whole numbers below 2**22.
"""

from __future__ import annotations

import numpy as np

from .cpu import LANES, cpu_kernel, inlined, step
from .cuda import cuda, cuda_kernel
from .cuda_tiles import WARP
from .launch import Kernel
from .vec import load, select, store

__all__ = ["backward", "forward"]

_ROUND = np.float32(3 << 22)  # added and taken off again, it leaves no room for a fraction: rounds half to even


@step
def held_step(value, lowest, highest):
    """``value`` inside a range; what is no number stays so."""
    value = select(value < lowest, lowest, value)
    return select(value > highest, highest, value)


@step
def round_step(x, per_step, lowest, highest):
    """Steps in ``x``, a whole number that may be one outside of the range."""
    near = held_step(x * per_step, lowest - np.float32(1), highest + np.float32(1))
    return (near + _ROUND) - _ROUND


@step
def passed_step(steps, grad, lowest, highest):
    """``grad`` where the steps lie in the range, else 0."""
    zero = np.float32(0)
    return select(steps < lowest, zero, select(steps > highest, zero, grad))


@inlined
def _forward_some(x, per_step, step, lowest, highest):
    return held_step(round_step(x, per_step, lowest, highest), lowest, highest) * step


@inlined
def _backward_some(x, grad, per_step, lowest, highest):
    return passed_step(round_step(x, per_step, lowest, highest), grad, lowest, highest)


@cpu_kernel
def _forward_cpu(x, y, per_step, step, lowest, highest, lo, hi):
    """The nearest multiple of ``step`` in the range, of two the even one."""
    whole = lo + (hi - lo) // LANES * LANES
    for i in range(lo, whole, LANES):
        store(y, i, _forward_some(load(x, i), per_step, step, lowest, highest))
    for i in range(whole, hi):
        y[i] = _forward_some(x[i], per_step, step, lowest, highest)


@cpu_kernel
def _backward_cpu(x, g_y, g_x, per_step, lowest, highest, lo, hi):
    """The gradient passes where what was rounded lies in the range."""
    whole = lo + (hi - lo) // LANES * LANES
    for i in range(lo, whole, LANES):
        store(g_x, i, _backward_some(load(x, i), load(g_y, i), per_step, lowest, highest))
    for i in range(whole, hi):
        g_x[i] = _backward_some(x[i], g_y[i], per_step, lowest, highest)


@cuda_kernel
def _forward_cuda(x, y, per_step, step, lowest, highest, rows):
    """As the CPU driver, a lane an element."""
    i = np.int64(cuda.blockIdx.x) * WARP + np.int64(cuda.threadIdx.x)
    if i < rows:
        y[i] = held_step(round_step(x[i], per_step, lowest, highest), lowest, highest) * step


@cuda_kernel
def _backward_cuda(x, g_y, g_x, per_step, lowest, highest, rows):
    """As the CPU driver, a lane an element."""
    i = np.int64(cuda.blockIdx.x) * WARP + np.int64(cuda.threadIdx.x)
    if i < rows:
        g_x[i] = passed_step(round_step(x[i], per_step, lowest, highest), g_y[i], lowest, highest)


forward = Kernel(_forward_cpu, _forward_cuda)
backward = Kernel(_backward_cpu, _backward_cuda)
