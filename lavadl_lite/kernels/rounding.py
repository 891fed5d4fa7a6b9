"""Rounding onto the multiples of a step inside a range, and the gradient that passes there; no other rounding.

A row of these kernels is an element, or all weights of an output where they are normalised.  ``per_step`` is 1 /
``step``, a power of two; the ends of the range are counted in steps, whole numbers below 2**22.
"""

from __future__ import annotations

import numpy as np

from .cpu import LANES, cpu_kernel, step
from .cuda import cuda, cuda_kernel
from .cuda_tiles import WARP
from .launch import Kernel
from .vec import load, multiply_add, repeat, select, stack_array, store

__all__ = ["backward", "forward", "normed_backward"]

_ROUND = np.float32(3 << 22)  # added and taken off again, it leaves no room for a fraction: rounds half to even


@step
def held_step(value, lowest, highest):
    """``value`` inside a range; what is no number stays so."""
    value = select(value < lowest, lowest, value)
    return select(value > highest, highest, value)


@step
def rounded_step(x, per_step, step, lowest, highest):
    """The nearest multiple of ``step`` in the range: ends are whole numbers, so that they can be held to first."""
    return ((held_step(x * per_step, lowest, highest) + _ROUND) - _ROUND) * step


@step
def passed_step(x, grad, per_step, lowest, highest):
    """``grad`` where what is rounded lies in the range, else 0."""
    steps, zero = (x * per_step + _ROUND) - _ROUND, np.float32(0)  # far outside not whole, but outside
    return select(steps < lowest, zero, select(steps > highest, zero, grad))


@cpu_kernel
def _forward_cpu(x, y, per_step, step, lowest, highest, lo, hi):
    """The nearest multiple of ``step`` in the range, of two the even one."""
    whole = lo + (hi - lo) // LANES * LANES
    for i in range(lo, whole, LANES):
        store(y, i, rounded_step(load(x, i), per_step, step, lowest, highest))
    for i in range(whole, hi):
        y[i] = rounded_step(x[i], per_step, step, lowest, highest)


@cpu_kernel
def _backward_cpu(x, g_y, g_x, per_step, lowest, highest, lo, hi):
    """The gradient passes where what was rounded lies in the range."""
    whole = lo + (hi - lo) // LANES * LANES
    for i in range(lo, whole, LANES):
        store(g_x, i, passed_step(load(x, i), load(g_y, i), per_step, lowest, highest))
    for i in range(whole, hi):
        g_x[i] = passed_step(x[i], g_y[i], per_step, lowest, highest)


@cpu_kernel
def _normed_backward_cpu(v, g_y, gain, norm, g_v, g_gain, width, per_step, lowest, highest, lo, hi):
    """Gradients through rounding of ``v * (gain / norm)``, where ``norm`` is that of each row of ``width`` values.

    What passes is summed over the row, along ``v``, and all of it but that sum turns the row.
    """
    sums = stack_array(LANES, np.float32)
    for row in range(lo, hi):
        first = row * width
        whole, end = first + width // LANES * LANES, first + width
        factor = gain[row] / norm[row]
        parts = repeat(np.float32(0))
        for i in range(first, whole, LANES):
            x = load(v, i)
            passed = passed_step(x * factor, load(g_y, i), per_step, lowest, highest)
            store(g_v, i, passed)
            parts = multiply_add(passed, x, parts)
        store(sums, 0, parts)
        along = np.float32(0)
        for k in range(LANES):
            along += sums[k]
        for i in range(whole, end):
            g_v[i] = passed_step(v[i] * factor, g_y[i], per_step, lowest, highest)
            along += g_v[i] * v[i]
        along /= norm[row]
        g_gain[row] = along
        along /= norm[row]
        for i in range(first, whole, LANES):
            store(g_v, i, (load(g_v, i) - load(v, i) * along) * factor)
        for i in range(whole, end):
            g_v[i] = (g_v[i] - v[i] * along) * factor


@cuda_kernel
def _forward_cuda(x, y, per_step, step, lowest, highest, rows):
    """As the CPU driver, a lane an element."""
    i = np.int64(cuda.blockIdx.x) * WARP + np.int64(cuda.threadIdx.x)
    if i < rows:
        y[i] = rounded_step(x[i], per_step, step, lowest, highest)


@cuda_kernel
def _backward_cuda(x, g_y, g_x, per_step, lowest, highest, rows):
    """As the CPU driver, a lane an element."""
    i = np.int64(cuda.blockIdx.x) * WARP + np.int64(cuda.threadIdx.x)
    if i < rows:
        g_x[i] = passed_step(x[i], g_y[i], per_step, lowest, highest)


forward = Kernel(_forward_cpu, _forward_cuda)
backward = Kernel(_backward_cpu, _backward_cuda)
normed_backward = Kernel(_normed_backward_cpu)
