"""A delay along time, a whole number of steps per row, and the gradient of the delay by a finite difference."""

from __future__ import annotations

import numpy as np

from .cpu import LANES, cpu_kernel, step
from .cuda import cuda, cuda_kernel
from .cuda_tiles import PITCH, TILE, WARP
from .launch import Kernel
from .vec import load, prefetch, repeat, select, stack_array, store

__all__ = ["backward", "forward"]


_FAR = np.float32(1 << 62)  # beyond any row, and still an int64
_AT_ONCE = 8  # rows whose values wait in a CUDA lane's registers together


@step
def steps_of(delay, sampling_time, offset, T):
    """Whole steps to shift right by, held inside -T..T; a delay that is not a number counts as far to the left."""
    steps = delay / sampling_time
    steps = select(steps > -_FAR, steps, -_FAR)
    steps = select(steps < _FAR, steps, _FAR)
    return min(max(np.int64(steps) + offset, -T), T)


@step
def _copy(source, source_start, target, target_start, length, ahead):
    """Copy ``length`` values, and ask for the cache lines of both sides ``ahead`` values further on."""
    i = 0
    while i + LANES <= length:
        prefetch(source, source_start + i + ahead, 0)
        prefetch(target, target_start + i + ahead, 1)
        store(target, target_start + i, load(source, source_start + i))
        i += LANES
    while i < length:
        target[target_start + i] = source[source_start + i]
        i += 1


@cpu_kernel
def _forward_cpu(x, y, delay, sampling_time, offset, T, lo, hi):
    """``y[r, t] = x[r, t - trunc(delay[r] / sampling_time) - offset]``, zero where that lies outside."""
    for row in range(lo, hi):
        d = steps_of(delay[row], sampling_time, offset, T)
        start, end = max(d, 0), T + min(d, 0)
        base = row * T
        for t in range(start):
            y[base + t] = np.float32(0)
        _copy(x, base + start - d, y, base + start, end - start, 2 * T)
        for t in range(end, T):
            y[base + t] = np.float32(0)


@cpu_kernel
def _backward_cpu(g_y, x, g_x, g_delay, delay, sampling_time, offset, T, lo, hi):
    """``g_x`` is ``g_y`` shifted back; ``g_delay[r] = sum_t g_y[t] * (y[t - 1] - y[t])`` with ``y`` the output.

    Written with ``s = t - shift`` the sum is over ``g_x[s] * (x[s - 1] - x[s])`` and ends where the output does (for a
    shift to the right).  ``g_delay``, and with it ``x``, may be empty: not wanted.
    """
    sums = stack_array(LANES, np.float32)
    for row in range(lo, hi):
        d = steps_of(delay[row], sampling_time, offset, T)
        start, end = max(-d, 0), T - max(d, 0)
        base = row * T
        for s in range(start):
            g_x[base + s] = np.float32(0)
        _copy(g_y, base + start + d, g_x, base + start, end - start, 2 * T)
        for s in range(end, T):
            g_x[base + s] = np.float32(0)
        if g_delay.size == 0:
            continue
        total = np.float32(0)
        if start < end:
            total = g_x[base + start] * -x[base + start]
        s = start + 1
        parts = repeat(np.float32(0))
        while s + LANES <= end:
            parts = parts + load(g_x, base + s) * (load(x, base + s - 1) - load(x, base + s))
            s += LANES
        store(sums, 0, parts)
        for k in range(LANES):
            total += sums[k]
        while s < end:
            total += g_x[base + s] * (x[base + s - 1] - x[base + s])
            s += 1
        g_delay[row] = total


@cuda_kernel
def _forward_cuda(x, y, delay, sampling_time, offset, T, rows):
    """As the CPU driver, for the 32 rows of this warp: a lane each step, rows at once so that their loads overlap."""
    shifts = cuda.shared.array(WARP, np.int64)
    starts = cuda.shared.array(WARP, np.int64)
    values = cuda.local.array(_AT_ONCE, np.float32)
    lane = np.int64(cuda.threadIdx.x)
    first = np.int64(cuda.blockIdx.x) * WARP
    if first >= rows:
        return
    row = min(first + lane, rows - 1)  # past the end: the last row once more, same values written twice
    shifts[lane] = steps_of(delay[row], sampling_time, offset, T)
    starts[lane] = row * T
    cuda.syncthreads()
    for r in range(0, WARP, _AT_ONCE):
        t = lane
        while t < T:
            for k in range(_AT_ONCE):
                s = t - shifts[r + k]
                values[k] = x[np.uint64(starts[r + k] + s)] if 0 <= s < T else np.float32(0)
            for k in range(_AT_ONCE):
                y[np.uint64(starts[r + k] + t)] = values[k]
            t += WARP


@cuda_kernel
def _backward_cuda(g_y, x, g_x, g_delay, delay, sampling_time, offset, T, rows):
    """As the CPU driver, for the 32 rows of this warp; a lane sums its steps, then for its row what the lanes have."""
    shifts = cuda.shared.array(WARP, np.int64)
    starts = cuda.shared.array(WARP, np.int64)
    tile = cuda.shared.array(TILE, np.float32)
    values = cuda.local.array(_AT_ONCE, np.float32)
    sums = cuda.local.array(_AT_ONCE, np.float32)
    lane = np.int64(cuda.threadIdx.x)
    first = np.int64(cuda.blockIdx.x) * WARP
    if first >= rows:
        return
    row = min(first + lane, rows - 1)
    shifts[lane] = steps_of(delay[row], sampling_time, offset, T)
    starts[lane] = row * T
    cuda.syncthreads()
    for r in range(0, WARP, _AT_ONCE):
        for k in range(_AT_ONCE):
            sums[k] = np.float32(0)
        s = lane
        while s < T:
            for k in range(_AT_ONCE):
                t = s + shifts[r + k]
                values[k] = g_y[np.uint64(starts[r + k] + t)] if 0 <= t < T else np.float32(0)
            for k in range(_AT_ONCE):
                g_x[np.uint64(starts[r + k] + s)] = values[k]
            if g_delay.size > 0:
                for k in range(_AT_ONCE):
                    if 0 <= s + shifts[r + k] < T:
                        at = starts[r + k] + s
                        before = x[np.uint64(at - 1)] if s > max(-shifts[r + k], 0) else np.float32(0)
                        sums[k] += values[k] * (before - x[np.uint64(at)])
            s += WARP
        for k in range(_AT_ONCE):
            tile[(r + k) * PITCH + lane] = sums[k]
    if g_delay.size > 0:
        cuda.syncthreads()
        total = np.float32(0)
        for k in range(WARP):
            total += tile[lane * PITCH + k]
        g_delay[row] = total


forward = Kernel(_forward_cpu, _forward_cuda)
backward = Kernel(_backward_cpu, _backward_cuda)
