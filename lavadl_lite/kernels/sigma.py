"""The running sum over time, in float64 inside and rounded at each step; backward is the same sum from the end.

float64 keeps a decoder from drifting over long sequences and gives the bits of ``torch.cumsum`` on a CPU.  It costs
nothing: the kernel waits for memory.
"""

from __future__ import annotations

import numpy as np

from . import cuda_tiles
from .cpu import cpu_kernel, inlined, step
from .cuda import cuda, cuda_kernel
from .cuda_tiles import PITCH, TILE, WARP, fetch, put
from .launch import Kernel
from .tiles import (
    LANES,
    LINES_SIZE,
    QUAD,
    STEPS,
    line,
    next_tile,
    read_rows,
    read_some,
    whole_group,
    whole_quads,
    write_rows,
    write_some,
)
from .vec import load, prefetch, read_quad, repeat, stack_array, store, to_double, to_single, write_quad

__all__ = ["backward", "forward"]


@step
def sum_step(x, total):
    """One time step; ``total`` is a float64."""
    return total + to_double(x)


@inlined
def _forward_lines(lines, steps, total, x, y, ahead, first, T):
    """``steps`` lines of input become sums; asks for the same lines of the next tile."""
    for t in range(steps):
        prefetch(x, ahead + line(first + t, T), 0)
        prefetch(y, ahead + line(first + t, T), 1)
        total = sum_step(load(lines, t * LANES), total)
        store(lines, t * LANES, to_single(total))
    return total


@cpu_kernel
def _forward_cpu(x, y, final, initial, T, lo, hi):
    """``initial`` and ``final``, one float64 a row, may be empty: a sum from 0, and no interest in its end."""
    lines = stack_array(LINES_SIZE, np.float32)
    doubles = stack_array(LANES, np.float64)
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        total = repeat(np.float64(0))
        if initial.size > 0:
            total = read_rows(initial, row, rows, doubles)
        for t0 in range(0, T, STEPS):
            steps = min(STEPS, T - t0)
            whole = whole_quads(rows, steps)
            ahead = next_tile(row, t0 + STEPS, 0, T, hi)
            for i in range(0, whole, QUAD):
                read_quad(x, row * T + t0 + i, T, lines)
                total = _forward_lines(lines, QUAD, total, x, y, ahead, i, T)
                write_quad(lines, y, row * T + t0 + i, T)
            for i in range(whole, steps, QUAD):
                n = min(QUAD, steps - i)
                read_some(lines, x, row, rows, t0 + i, n, T)
                total = _forward_lines(lines, n, total, x, y, ahead, i, T)
                write_some(lines, y, row, rows, t0 + i, n, T)
        if final.size > 0:
            write_rows(final, row, rows, doubles, total)


@inlined
def _reverse_lines(lines, steps, total, g_y, g_x, ahead, first, T):
    """``steps`` lines of the sums' gradient become the input's, the last one first."""
    for t in range(steps - 1, -1, -1):
        prefetch(g_y, ahead + line(first + t, T), 0)
        prefetch(g_x, ahead + line(first + t, T), 1)
        total = sum_step(load(lines, t * LANES), total)
        store(lines, t * LANES, to_single(total))
    return total


@cpu_kernel
def _backward_cpu(g_y, g_x, T, lo, hi):
    """``g_x[r, t] = sum of g_y[r, t:]``."""
    lines = stack_array(LINES_SIZE, np.float32)
    tiles = (T + STEPS - 1) // STEPS
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        total = repeat(np.float64(0))
        for number in range(tiles - 1, -1, -1):
            t0 = number * STEPS
            steps = min(STEPS, T - t0)
            whole = whole_quads(rows, steps)
            ahead = next_tile(row, t0 - STEPS, (tiles - 1) * STEPS, T, hi)
            for i in range((steps - 1) // QUAD * QUAD, whole - 1, -QUAD):
                n = min(QUAD, steps - i)
                read_some(lines, g_y, row, rows, t0 + i, n, T)
                total = _reverse_lines(lines, n, total, g_y, g_x, ahead, i, T)
                write_some(lines, g_x, row, rows, t0 + i, n, T)
            for i in range(whole - QUAD, -1, -QUAD):
                read_quad(g_y, row * T + t0 + i, T, lines)
                total = _reverse_lines(lines, QUAD, total, g_y, g_x, ahead, i, T)
                write_quad(lines, g_x, row * T + t0 + i, T)


@cuda_kernel
def _forward_cuda(x, y, final, initial, T, rows):
    """As the CPU driver, for the 32 rows of this warp."""
    tile = cuda.shared.array(TILE, np.float32)
    ahead = cuda.local.array(WARP, np.float32)
    lane = np.int64(cuda.threadIdx.x)
    first = np.int64(cuda.blockIdx.x) * WARP
    if first >= rows:
        return
    row = min(first + lane, rows - 1)  # past the end: the last row once more, same values written twice
    total = np.float64(0)
    if initial.size > 0:
        total = initial[row]
    fetch(ahead, x, first, rows, 0, T, lane)
    for t0 in range(0, T, cuda_tiles.STEPS):
        put(tile, ahead, lane)
        cuda.syncthreads()
        fetch(ahead, x, first, rows, t0 + cuda_tiles.STEPS, T, lane)
        at = lane * PITCH
        end = at + min(cuda_tiles.STEPS, T - t0)
        while at < end:
            i = np.uint64(at)
            total = sum_step(tile[i], total)
            tile[i] = to_single(total)
            at += 1
        cuda.syncthreads()
        cuda_tiles.write_tile(tile, y, first, rows, t0, T, lane)
        cuda.syncthreads()
    if final.size > 0:
        final[row] = total


@cuda_kernel
def _backward_cuda(g_y, g_x, T, rows):
    """As the CPU driver, for the 32 rows of this warp."""
    tile = cuda.shared.array(TILE, np.float32)
    ahead = cuda.local.array(WARP, np.float32)
    lane = np.int64(cuda.threadIdx.x)
    first = np.int64(cuda.blockIdx.x) * WARP
    if first >= rows:
        return
    total = np.float64(0)
    last = (T - 1) // cuda_tiles.STEPS * cuda_tiles.STEPS
    fetch(ahead, g_y, first, rows, last, T, lane)
    for t0 in range(last, -1, -cuda_tiles.STEPS):
        put(tile, ahead, lane)
        cuda.syncthreads()
        fetch(ahead, g_y, first, rows, t0 - cuda_tiles.STEPS, T, lane)
        start = lane * PITCH
        at = start + min(cuda_tiles.STEPS, T - t0)
        while at > start:
            at -= 1
            i = np.uint64(at)
            total = sum_step(tile[i], total)
            tile[i] = to_single(total)
        cuda.syncthreads()
        cuda_tiles.write_tile(tile, g_x, first, rows, t0, T, lane)
        cuda.syncthreads()


forward = Kernel(_forward_cpu, _forward_cuda)
backward = Kernel(_backward_cpu, _backward_cuda)
