"""The leaky integrator: a state that loses a fraction each step, is reset at a level if there is one, adds its input.

Backward needs no recomputation: the output is the state before its reset, so the output itself is what was kept.
"""

from __future__ import annotations

import numpy as np

from . import cuda_tiles
from .cpu import cpu_kernel, inlined, step
from .cuda import cuda, cuda_kernel
from .cuda_tiles import PITCH, TILE, WARP, fetch, put
from .fixed_point import DECAY_ONE, NEVER, decay_state, limit_state, to_fixed, to_keep
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
from .vec import (
    int32,
    load,
    multiply_add,
    prefetch,
    read_quad,
    repeat,
    select,
    stack_array,
    store,
    to_float,
    write_quad,
)

__all__ = ["backward", "forward"]

_PER_DECAY = np.float32(1 / DECAY_ONE)


@step
def forward_step(x, state, keep, scale, level, zero):
    """One time step; ``state`` is the one before its reset, in and out."""
    left = select(state >= level, zero, decay_state(state, keep))
    return limit_state(int32(left + to_fixed(x, scale)))


@step
def backward_step(g_y, y, g_state, d, keep, level):
    """One step in reverse; ``y`` is the output and ``level`` the firing level, both as floats in the output's unit.

    ``g_state`` comes in as the gradient of the next step's state, which was made from ``y``, or from 0 after a reset.
    """
    d = select(y >= level, d, multiply_add(g_state, y, d))
    return multiply_add(keep, g_state, g_y), d


@inlined
def _forward_lines(lines, steps, state, reset_at, keep, scale, th, zero, per_unit, x, y, ahead, first, T):
    """``steps`` lines of input become states; asks for the same lines of the next tile."""
    for t in range(steps):
        prefetch(x, ahead + line(first + t, T), 0)
        prefetch(y, ahead + line(first + t, T), 1)
        state = forward_step(load(lines, t * LANES), state, keep, scale, reset_at, zero)
        reset_at = th
        store(lines, t * LANES, to_float(state) * per_unit)
    return state, reset_at


@cpu_kernel
def _forward_cpu(x, y, decay, initial, T, scale, level, lo, hi):
    """``initial`` may be empty: a state of 0."""
    lines = stack_array(LINES_SIZE, np.float32)
    floats = stack_array(LANES, np.float32)
    zero, th, never = repeat(np.int32(0)), repeat(np.int32(level)), repeat(np.int32(NEVER))
    per_unit = np.float32(1) / scale
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        keep = to_keep(read_rows(decay, row, rows, floats))
        state, reset_at = zero, th
        if initial.size > 0:
            state = to_fixed(read_rows(initial, row, rows, floats), scale)
            reset_at = never  # an initial state comes after its reset
        for t0 in range(0, T, STEPS):
            steps = min(STEPS, T - t0)
            whole = whole_quads(rows, steps)
            ahead = next_tile(row, t0 + STEPS, 0, T, hi)
            for i in range(0, whole, QUAD):
                read_quad(x, row * T + t0 + i, T, lines)
                state, reset_at = _forward_lines(
                    lines, QUAD, state, reset_at, keep, scale, th, zero, per_unit, x, y, ahead, i, T
                )
                write_quad(lines, y, row * T + t0 + i, T)
            for i in range(whole, steps, QUAD):
                n = min(QUAD, steps - i)
                read_some(lines, x, row, rows, t0 + i, n, T)
                state, reset_at = _forward_lines(
                    lines, n, state, reset_at, keep, scale, th, zero, per_unit, x, y, ahead, i, T
                )
                write_some(lines, y, row, rows, t0 + i, n, T)


@inlined
def _reverse_lines(g_lines, y_lines, steps, g_state, d, keep, level, g_y, y, g_x, ahead, first, T):
    """``steps`` lines of the output's gradient become the input's, the last one first."""
    for t in range(steps - 1, -1, -1):
        prefetch(g_y, ahead + line(first + t, T), 0)
        prefetch(y, ahead + line(first + t, T), 0)
        prefetch(g_x, ahead + line(first + t, T), 1)
        g_state, d = backward_step(load(g_lines, t * LANES), load(y_lines, t * LANES), g_state, d, keep, level)
        store(g_lines, t * LANES, g_state)
    return g_state, d


@cpu_kernel
def _backward_cpu(g_y, y, g_x, g_decay, g_initial, decay, initial, T, scale, level, lo, hi):
    """``g_x`` [rows, T], and a row's gradients of the decay and of the initial state (empty where not wanted)."""
    g_lines, y_lines = stack_array(LINES_SIZE, np.float32), stack_array(LINES_SIZE, np.float32)
    floats = stack_array(LANES, np.float32)
    off = repeat(np.float32(0))
    per_unit = np.float32(1) / scale
    th = np.float32(level) * per_unit
    tiles = (T + STEPS - 1) // STEPS
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        keep = to_float(to_keep(read_rows(decay, row, rows, floats))) * _PER_DECAY
        g_state, total = off, off
        for number in range(tiles - 1, -1, -1):
            t0 = number * STEPS
            steps = min(STEPS, T - t0)
            whole = whole_quads(rows, steps)
            ahead = next_tile(row, t0 - STEPS, (tiles - 1) * STEPS, T, hi)
            d = off  # short sums: less rounding
            for i in range((steps - 1) // QUAD * QUAD, whole - 1, -QUAD):
                n = min(QUAD, steps - i)
                read_some(g_lines, g_y, row, rows, t0 + i, n, T)
                read_some(y_lines, y, row, rows, t0 + i, n, T)
                g_state, d = _reverse_lines(g_lines, y_lines, n, g_state, d, keep, th, g_y, y, g_x, ahead, i, T)
                write_some(g_lines, g_x, row, rows, t0 + i, n, T)
            for i in range(whole - QUAD, -1, -QUAD):
                read_quad(g_y, row * T + t0 + i, T, g_lines)
                read_quad(y, row * T + t0 + i, T, y_lines)
                g_state, d = _reverse_lines(g_lines, y_lines, QUAD, g_state, d, keep, th, g_y, y, g_x, ahead, i, T)
                write_quad(g_lines, g_x, row * T + t0 + i, T)
            total = total + d
        if initial.size > 0:
            first = to_float(to_fixed(read_rows(initial, row, rows, floats), scale)) * per_unit
            total = multiply_add(g_state, first, total)
        write_rows(g_decay, row, rows, floats, total * -_PER_DECAY)
        if g_initial.size > 0:
            write_rows(g_initial, row, rows, floats, keep * g_state)


@cuda_kernel
def _forward_cuda(x, y, decay, initial, T, scale, level, rows):
    """As the CPU driver, for the 32 rows of this warp."""
    tile = cuda.shared.array(TILE, np.float32)
    ahead = cuda.local.array(WARP, np.float32)
    lane = np.int64(cuda.threadIdx.x)
    first = np.int64(cuda.blockIdx.x) * WARP
    if first >= rows:
        return
    row = min(first + lane, rows - 1)  # past the end: the last row once more
    keep = int32(to_keep(decay[row]))
    zero, th = np.int32(0), np.int32(level)
    per_unit = np.float32(1) / scale
    state, reset_at = zero, th
    if initial.size > 0:
        state = to_fixed(initial[row], scale)
        reset_at = np.int32(NEVER)  # an initial state comes after its reset
    fetch(ahead, x, first, rows, 0, T, lane)
    for t0 in range(0, T, cuda_tiles.STEPS):
        put(tile, ahead, lane)
        cuda.syncthreads()
        fetch(ahead, x, first, rows, t0 + cuda_tiles.STEPS, T, lane)
        at = lane * PITCH
        end = at + min(cuda_tiles.STEPS, T - t0)
        while at < end:
            i = np.uint64(at)
            # int32: in the simulator a step returns Python's integers
            state = forward_step(tile[i], int32(state), keep, scale, reset_at, zero)
            reset_at = th
            tile[i] = to_float(int32(state)) * per_unit
            at += 1
        cuda.syncthreads()
        cuda_tiles.write_tile(tile, y, first, rows, t0, T, lane)
        cuda.syncthreads()


@cuda_kernel
def _backward_cuda(g_y, y, g_x, g_decay, g_initial, decay, initial, T, scale, level, rows):
    """As the CPU driver, for the 32 rows of this warp."""
    g_tile = cuda.shared.array(TILE, np.float32)
    y_tile = cuda.shared.array(TILE, np.float32)
    g_ahead = cuda.local.array(WARP, np.float32)
    y_ahead = cuda.local.array(WARP, np.float32)
    lane = np.int64(cuda.threadIdx.x)
    first = np.int64(cuda.blockIdx.x) * WARP
    if first >= rows:
        return
    row = min(first + lane, rows - 1)
    keep = to_float(int32(to_keep(decay[row]))) * _PER_DECAY
    off, per_unit = np.float32(0), np.float32(1) / scale
    th = np.float32(level) * per_unit
    g_state, total = off, off
    last = (T - 1) // cuda_tiles.STEPS * cuda_tiles.STEPS
    fetch(g_ahead, g_y, first, rows, last, T, lane)
    fetch(y_ahead, y, first, rows, last, T, lane)
    for t0 in range(last, -1, -cuda_tiles.STEPS):
        put(g_tile, g_ahead, lane)
        put(y_tile, y_ahead, lane)
        cuda.syncthreads()
        fetch(g_ahead, g_y, first, rows, t0 - cuda_tiles.STEPS, T, lane)
        fetch(y_ahead, y, first, rows, t0 - cuda_tiles.STEPS, T, lane)
        start = lane * PITCH
        at = start + min(cuda_tiles.STEPS, T - t0)
        d = off
        while at > start:
            at -= 1
            i = np.uint64(at)
            g_state, d = backward_step(g_tile[i], y_tile[i], np.float32(g_state), np.float32(d), keep, th)
            g_tile[i] = g_state
        total = np.float32(total + d)
        cuda.syncthreads()
        cuda_tiles.write_tile(g_tile, g_x, first, rows, t0, T, lane)
        cuda.syncthreads()
    if initial.size > 0:
        beginning = to_float(int32(to_fixed(initial[row], scale))) * per_unit
        total = multiply_add(g_state, beginning, total)
    g_decay[row] = total * -_PER_DECAY
    if g_initial.size > 0:
        g_initial[row] = keep * g_state


forward = Kernel(_forward_cpu, _forward_cuda)
backward = Kernel(_backward_cpu, _backward_cuda)
