"""Events into cells of a dense tensor: marked once, or added up.  Where they come from stands elsewhere.

A row of these kernels is an event.  ``x``, ``y`` and ``c`` are int64 or float64, ``t`` and the payload float64; ``y``
is empty for events without it, and ``sampling_time`` an array of one float64.
"""

from __future__ import annotations

import numpy as np

from .cpu import cpu_kernel, step
from .cuda import cuda, cuda_kernel
from .cuda_tiles import WARP
from .launch import Kernel
from .vec import prefetch, stack_array

__all__ = ["add", "mark"]

_ROUND = np.float64(3 << 51)  # added and taken off again, it leaves no room for a fraction: rounds half to even
_AT_ONCE = 64  # events whose cells are on the way from memory together


@step
def _whole(value):
    """The nearest whole number, of two the even one; what is too large for that is beyond any tensor."""
    return (np.float64(value) + _ROUND) - _ROUND


@step
def cell(x, y, c, steps, start, C, H, W, T):
    """Index of an event in a tensor (C, H, W, T) that begins at bin ``start``; -1 for one outside."""
    column, row, channel, bin = _whole(x), _whole(y), _whole(c), _whole(steps) - start
    if not (0 <= column < W and 0 <= row < H and 0 <= channel < C and 0 <= bin < T):  # nor a number: outside
        return np.int64(-1)
    return ((np.int64(channel) * H + np.int64(row)) * W + np.int64(column)) * T + np.int64(bin)


@cpu_kernel
def _mark_cpu(tensor, x, y, c, t, sampling_time, start, C, H, W, T, lo, hi):
    """Set the cell of each event to ``1 / sampling_time``, whatever it held."""
    value = 1 / sampling_time[0]
    cells = stack_array(_AT_ONCE, np.int64)
    for first in range(lo, hi, _AT_ONCE):
        count = min(hi - first, _AT_ONCE)
        for k in range(count):
            i = first + k
            row = y[i] if y.size > 0 else 0
            cells[k] = cell(x[i], row, c[i], t[i] / sampling_time[0], start, C, H, W, T)
            prefetch(tensor, cells[k], 1)
        for k in range(count):
            if cells[k] >= 0:
                tensor[cells[k]] = value


@cpu_kernel
def _add_cpu(tensor, x, y, c, t, payload, sampling_time, start, C, H, W, T, lo, hi):
    """Add ``payload / sampling_time`` to the cell of each event; an empty payload is 1 for all.

    Two threads must not meet in a cell.  So each takes every event, and of the tensor the share that ``lo`` to ``hi``
    is of the events: cells sum in the order of events, whatever the number of threads.
    """
    cells = C * H * W * T
    from_cell, to_cell = cells * lo // x.size, cells * hi // x.size
    mine, amounts = stack_array(_AT_ONCE, np.int64), stack_array(_AT_ONCE, np.float64)
    for first in range(0, x.size, _AT_ONCE):
        count = 0
        for i in range(first, min(first + _AT_ONCE, x.size)):
            row = y[i] if y.size > 0 else 0
            at = cell(x[i], row, c[i], t[i] / sampling_time[0], start, C, H, W, T)
            if from_cell <= at < to_cell:
                mine[count] = at
                amounts[count] = (payload[i] if payload.size > 0 else 1.0) / sampling_time[0]
                count += 1
                prefetch(tensor, at, 1)
        for k in range(count):
            tensor[mine[k]] += amounts[k]


@cuda_kernel
def _mark_cuda(tensor, x, y, c, t, sampling_time, start, C, H, W, T, rows):
    """As the CPU driver, a lane an event."""
    i = np.int64(cuda.blockIdx.x) * WARP + np.int64(cuda.threadIdx.x)
    if i < rows:
        row = y[i] if y.size > 0 else 0
        at = cell(x[i], row, c[i], t[i] / sampling_time[0], start, C, H, W, T)
        if at >= 0:
            tensor[at] = 1 / sampling_time[0]


@cuda_kernel
def _add_cuda(tensor, x, y, c, t, payload, sampling_time, start, C, H, W, T, rows):
    """As the CPU driver, a lane an event, in no order: the last bits of a sum of payloads may vary."""
    i = np.int64(cuda.blockIdx.x) * WARP + np.int64(cuda.threadIdx.x)
    if i < rows:
        row = y[i] if y.size > 0 else 0
        at = cell(x[i], row, c[i], t[i] / sampling_time[0], start, C, H, W, T)
        if at >= 0:
            cuda.atomic.add(tensor, at, (payload[i] if payload.size > 0 else 1.0) / sampling_time[0])


mark = Kernel(_mark_cpu, _mark_cuda)
add = Kernel(_add_cpu, _add_cuda)
