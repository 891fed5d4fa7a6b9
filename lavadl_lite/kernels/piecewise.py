"""A piecewise-linear function of every element, and its derivative times a gradient; how it is fitted stands elsewhere.

A row of these kernels is an element.  ``knots`` holds four rows of the same length, one after another: abscissae that
do not fall, ordinates, slopes up to the next knot, and what stands for the derivative there.  The last slope is 0.
"""

from __future__ import annotations

import numpy as np

from .cpu import LANES, cpu_kernel, step
from .cuda import cuda, cuda_kernel
from .cuda_tiles import WARP
from .launch import Kernel
from .tiles import read_rows, whole_group, write_rows
from .vec import multiply_add, repeat, select, stack_array

__all__ = ["backward", "forward"]


@step
def value_step(z, value, x, y, slope):
    """``value`` of the knots before this one, or this one's line where ``z`` has passed it."""
    return select(z > x, multiply_add(z - x, slope, y), value)


@step
def slope_step(z, slope, x, next_slope):
    """``slope`` of the knots before this one, or this one's where ``z`` has passed it."""
    return select(z > x, next_slope, slope)


@cpu_kernel
def _forward_cpu(z, y, knots, lo, hi):
    """The first ordinate up to the first knot, then the lines, the last ordinate behind the last knot."""
    buffer = stack_array(LANES, np.float32)
    count = knots.size // 4
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        at = read_rows(z, row, rows, buffer)
        value = repeat(knots[count])
        for k in range(count):
            value = value_step(at, value, knots[k], knots[count + k], knots[2 * count + k])
        write_rows(y, row, rows, buffer, value)


@cpu_kernel
def _backward_cpu(z, g_y, g_z, knots, outside, lo, hi):
    """``outside`` stands for the derivative up to the first knot."""
    buffer = stack_array(LANES, np.float32)
    count = knots.size // 4
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        at = read_rows(z, row, rows, buffer)
        slope = repeat(outside)
        for k in range(count):
            slope = slope_step(at, slope, knots[k], knots[3 * count + k])
        write_rows(g_z, row, rows, buffer, slope * read_rows(g_y, row, rows, buffer))


@cuda_kernel
def _forward_cuda(z, y, knots, rows):
    """As the CPU driver, a lane an element."""
    i = np.int64(cuda.blockIdx.x) * WARP + np.int64(cuda.threadIdx.x)
    if i < rows:
        count = knots.size // 4
        value = knots[count]
        for k in range(count):
            value = value_step(z[i], value, knots[k], knots[count + k], knots[2 * count + k])
        y[i] = value


@cuda_kernel
def _backward_cuda(z, g_y, g_z, knots, outside, rows):
    """As the CPU driver, a lane an element."""
    i = np.int64(cuda.blockIdx.x) * WARP + np.int64(cuda.threadIdx.x)
    if i < rows:
        count = knots.size // 4
        slope = outside
        for k in range(count):
            slope = slope_step(z[i], slope, knots[k], knots[3 * count + k])
        g_z[i] = slope * g_y[i]


forward = Kernel(_forward_cpu, _forward_cuda)
backward = Kernel(_backward_cpu, _backward_cuda)
