"""Rounding onto the multiples of a step inside a range, and the gradient that passes there; no other rounding.

A row of these kernels is an element.  ``per_step`` is 1 / ``step``, a power of two; the ends of the range are counted
in steps, whole numbers below 2**22.
"""

from __future__ import annotations

import numpy as np

from .cpu import LANES, cpu_kernel, step
from .cuda import cuda, cuda_kernel
from .cuda_tiles import WARP
from .launch import Kernel
from .tiles import read_rows, whole_group, write_rows
from .vec import select, stack_array

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


@cpu_kernel
def _forward_cpu(x, y, per_step, step, lowest, highest, lo, hi):
    """The nearest multiple of ``step`` in the range, of two the even one."""
    buffer = stack_array(LANES, np.float32)
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        steps = round_step(read_rows(x, row, rows, buffer), per_step, lowest, highest)
        write_rows(y, row, rows, buffer, held_step(steps, lowest, highest) * step)


@cpu_kernel
def _backward_cpu(x, g_y, g_x, per_step, lowest, highest, lo, hi):
    """The gradient passes where what was rounded lies in the range."""
    buffer = stack_array(LANES, np.float32)
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        steps = round_step(read_rows(x, row, rows, buffer), per_step, lowest, highest)
        write_rows(g_x, row, rows, buffer, passed_step(steps, read_rows(g_y, row, rows, buffer), lowest, highest))


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
