"""A piecewise-linear function of every element, and its derivative times a gradient; how it is fitted stands elsewhere.

A row of these kernels is an element.  ``knots`` holds four rows of the same length, one after another: abscissae that
do not fall, ordinates, slopes up to the next knot, and what stands for the derivative there.  The last slope is 0.
"""

from __future__ import annotations

import numpy as np

from .cpu import LANES, cpu_kernel, inlined, step
from .cuda import cuda, cuda_kernel
from .cuda_tiles import WARP
from .launch import Kernel
from .vec import load, multiply_add, repeat, select, store

__all__ = ["backward", "forward"]


@step
def value_step(z, value, x, y, slope):
    """``value`` of the knots before this one, or this one's line where ``z`` has passed it."""
    return select(z > x, multiply_add(z - x, slope, y), value)


@step
def slope_step(z, slope, x, following):
    """``slope`` of the knots before this one, or ``following`` where ``z`` has passed it."""
    return select(z > x, following, slope)


@inlined
def _value(z, value, knots, count):
    for k in range(count):
        value = value_step(z, value, knots[k], knots[count + k], knots[2 * count + k])
    return value


@inlined
def _slope(z, slope, knots, count):
    for k in range(count):
        slope = slope_step(z, slope, knots[k], knots[3 * count + k])
    return slope


@cpu_kernel
def _forward_cpu(z, y, knots, lo, hi):
    """The first ordinate up to the first knot, then the lines, the last ordinate behind the last knot."""
    count = knots.size // 4
    whole = lo + (hi - lo) // LANES * LANES
    for i in range(lo, whole, LANES):
        store(y, i, _value(load(z, i), repeat(knots[count]), knots, count))
    for i in range(whole, hi):
        y[i] = _value(z[i], knots[count], knots, count)


@cpu_kernel
def _backward_cpu(z, g_y, g_z, knots, outside, lo, hi):
    """``outside`` stands for the derivative up to the first knot."""
    count = knots.size // 4
    whole = lo + (hi - lo) // LANES * LANES
    for i in range(lo, whole, LANES):
        store(g_z, i, _slope(load(z, i), repeat(outside), knots, count) * load(g_y, i))
    for i in range(whole, hi):
        g_z[i] = _slope(z[i], outside, knots, count) * g_y[i]


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
