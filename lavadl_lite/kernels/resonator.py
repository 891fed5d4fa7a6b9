"""The resonator: a complex state that turns and shrinks each step, may be reset at a level of its imaginary part.

Backward needs no recomputation: the outputs are the states before their reset, so they themselves are what was kept.
"""

from __future__ import annotations

import numpy as np

from . import cuda_tiles
from .cpu import cpu_kernel, inlined, step
from .cuda import cuda, cuda_kernel
from .cuda_tiles import PITCH, TILE, WARP, fetch, put
from .fixed_point import DECAY_ONE, decay_state, limit_state, to_factor, to_fixed
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

__all__ = ["backward", "forward", "rotate", "rotate_back"]

_PER_DECAY = np.float32(1 / DECAY_ONE)


@step
def rotate(x_real, x_imag, real, imag, sin, cos, scale):
    """One time step, from the state after its reset to the one before the next; each product is rounded by itself."""
    next_real = int32(int32(decay_state(real, cos) - decay_state(imag, sin)) + to_fixed(x_real, scale))
    next_imag = int32(int32(decay_state(real, sin) + decay_state(imag, cos)) + to_fixed(x_imag, scale))
    return limit_state(next_real), limit_state(next_imag)


@step
def rotate_back(g_real, g_imag, a, b, d_sin, d_cos, real, imag, sin, cos):
    """One step in reverse; ``sin`` and ``cos`` in 0..1.

    ``a`` and ``b`` come in as gradients of the next step's real and imaginary part, which were made from ``real`` and
    ``imag``, the state after its reset.  Rounding and reset carry no gradient.
    """
    d_sin = multiply_add(b, real, d_sin) - a * imag
    d_cos = multiply_add(a, real, multiply_add(b, imag, d_cos))
    next_a = multiply_add(cos, a, multiply_add(sin, b, g_real))
    next_b = multiply_add(cos, b, g_imag) - sin * a
    return next_a, next_b, d_sin, d_cos


@inlined
def _forward_lines(
    r_lines, i_lines, steps, real, imag, sin, cos, scale, level, rest, zero, per_unit,
    x_real, x_imag, y_real, y_imag, ahead, first, T,
):  # fmt: skip
    for t in range(steps):
        here = ahead + line(first + t, T)
        prefetch(x_real, here, 0)
        prefetch(x_imag, here, 0)
        prefetch(y_real, here, 1)
        prefetch(y_imag, here, 1)
        real, imag = rotate(load(r_lines, t * LANES), load(i_lines, t * LANES), real, imag, sin, cos, scale)
        store(r_lines, t * LANES, to_float(real) * per_unit)
        store(i_lines, t * LANES, to_float(imag) * per_unit)
        reset = imag >= level
        real, imag = select(reset, zero, real), select(reset, rest, imag)
    return real, imag


@cpu_kernel
def _forward_cpu(
    x_real, x_imag, y_real, y_imag, sin, cos, state_real, state_imag, T, scale, level, rest, lo, hi
):  # fmt: skip
    r_lines, i_lines = stack_array(LINES_SIZE, np.float32), stack_array(LINES_SIZE, np.float32)
    floats = stack_array(LANES, np.float32)
    zero, th, resting = repeat(np.int32(0)), repeat(np.int32(level)), repeat(np.int32(rest))
    per_unit = np.float32(1) / scale
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        s = to_factor(read_rows(sin, row, rows, floats))
        c = to_factor(read_rows(cos, row, rows, floats))
        real = to_fixed(read_rows(state_real, row, rows, floats), scale)
        imag = to_fixed(read_rows(state_imag, row, rows, floats), scale)
        for t0 in range(0, T, STEPS):
            steps = min(STEPS, T - t0)
            whole = whole_quads(rows, steps)
            ahead = next_tile(row, t0 + STEPS, 0, T, hi)
            for i in range(0, whole, QUAD):
                at = row * T + t0 + i
                read_quad(x_real, at, T, r_lines)
                read_quad(x_imag, at, T, i_lines)
                real, imag = _forward_lines(
                    r_lines, i_lines, QUAD, real, imag, s, c, scale, th, resting, zero, per_unit,
                    x_real, x_imag, y_real, y_imag, ahead, i, T,
                )  # fmt: skip
                write_quad(r_lines, y_real, at, T)
                write_quad(i_lines, y_imag, at, T)
            for i in range(whole, steps, QUAD):
                n = min(QUAD, steps - i)
                read_some(r_lines, x_real, row, rows, t0 + i, n, T)
                read_some(i_lines, x_imag, row, rows, t0 + i, n, T)
                real, imag = _forward_lines(
                    r_lines, i_lines, n, real, imag, s, c, scale, th, resting, zero, per_unit,
                    x_real, x_imag, y_real, y_imag, ahead, i, T,
                )  # fmt: skip
                write_some(r_lines, y_real, row, rows, t0 + i, n, T)
                write_some(i_lines, y_imag, row, rows, t0 + i, n, T)


@inlined
def _reverse_lines(
    ga_lines, gb_lines, r_lines, i_lines, steps, a, b, d_sin, d_cos, sin, cos, level, rest, off,
    g_real, g_imag, y_real, y_imag, ahead, first, T,
):  # fmt: skip
    for t in range(steps - 1, -1, -1):
        here = ahead + line(first + t, T)
        prefetch(g_real, here, 0)
        prefetch(g_imag, here, 0)
        prefetch(y_real, here, 0)
        prefetch(y_imag, here, 0)
        real, imag = load(r_lines, t * LANES), load(i_lines, t * LANES)
        reset = imag >= level
        real, imag = select(reset, off, real), select(reset, rest, imag)
        a, b, d_sin, d_cos = rotate_back(
            load(ga_lines, t * LANES), load(gb_lines, t * LANES), a, b, d_sin, d_cos, real, imag, sin, cos
        )
        store(ga_lines, t * LANES, a)
        store(gb_lines, t * LANES, b)
    return a, b, d_sin, d_cos


@cpu_kernel
def _backward_cpu(
    g_real, g_imag, y_real, y_imag, g_x_real, g_x_imag, g_sin, g_cos, g_state_real, g_state_imag,
    sin, cos, state_real, state_imag, T, scale, level, rest, lo, hi,
):  # fmt: skip
    """Gradients of both inputs [rows, T], and a row's of both decays and both initial states."""
    ga_lines, gb_lines = stack_array(LINES_SIZE, np.float32), stack_array(LINES_SIZE, np.float32)
    r_lines, i_lines = stack_array(LINES_SIZE, np.float32), stack_array(LINES_SIZE, np.float32)
    floats = stack_array(LANES, np.float32)
    off = repeat(np.float32(0))
    per_unit = np.float32(1) / scale
    th, resting = repeat(np.float32(level) * per_unit), repeat(np.float32(rest) * per_unit)
    tiles = (T + STEPS - 1) // STEPS
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        s = to_float(to_factor(read_rows(sin, row, rows, floats))) * _PER_DECAY
        c = to_float(to_factor(read_rows(cos, row, rows, floats))) * _PER_DECAY
        a, b, sum_sin, sum_cos = off, off, off, off
        for number in range(tiles - 1, -1, -1):
            t0 = number * STEPS
            steps = min(STEPS, T - t0)
            whole = whole_quads(rows, steps)
            ahead = next_tile(row, t0 - STEPS, (tiles - 1) * STEPS, T, hi)
            d_sin, d_cos = off, off  # short sums: less rounding
            for i in range((steps - 1) // QUAD * QUAD, whole - 1, -QUAD):
                n = min(QUAD, steps - i)
                read_some(ga_lines, g_real, row, rows, t0 + i, n, T)
                read_some(gb_lines, g_imag, row, rows, t0 + i, n, T)
                read_some(r_lines, y_real, row, rows, t0 + i, n, T)
                read_some(i_lines, y_imag, row, rows, t0 + i, n, T)
                a, b, d_sin, d_cos = _reverse_lines(
                    ga_lines, gb_lines, r_lines, i_lines, n, a, b, d_sin, d_cos, s, c, th, resting, off,
                    g_real, g_imag, y_real, y_imag, ahead, i, T,
                )  # fmt: skip
                write_some(ga_lines, g_x_real, row, rows, t0 + i, n, T)
                write_some(gb_lines, g_x_imag, row, rows, t0 + i, n, T)
            for i in range(whole - QUAD, -1, -QUAD):
                at = row * T + t0 + i
                read_quad(g_real, at, T, ga_lines)
                read_quad(g_imag, at, T, gb_lines)
                read_quad(y_real, at, T, r_lines)
                read_quad(y_imag, at, T, i_lines)
                a, b, d_sin, d_cos = _reverse_lines(
                    ga_lines, gb_lines, r_lines, i_lines, QUAD, a, b, d_sin, d_cos, s, c, th, resting, off,
                    g_real, g_imag, y_real, y_imag, ahead, i, T,
                )  # fmt: skip
                write_quad(ga_lines, g_x_real, at, T)
                write_quad(gb_lines, g_x_imag, at, T)
            sum_sin, sum_cos = sum_sin + d_sin, sum_cos + d_cos
        first_real = to_float(to_fixed(read_rows(state_real, row, rows, floats), scale)) * per_unit
        first_imag = to_float(to_fixed(read_rows(state_imag, row, rows, floats), scale)) * per_unit
        a, b, sum_sin, sum_cos = rotate_back(off, off, a, b, sum_sin, sum_cos, first_real, first_imag, s, c)
        write_rows(g_sin, row, rows, floats, sum_sin * _PER_DECAY)
        write_rows(g_cos, row, rows, floats, sum_cos * _PER_DECAY)
        write_rows(g_state_real, row, rows, floats, a)
        write_rows(g_state_imag, row, rows, floats, b)


@cuda_kernel
def _forward_cuda(x_real, x_imag, y_real, y_imag, sin, cos, state_real, state_imag, T, scale, level, rest, rows):
    """As the CPU driver, for the 32 rows of this warp."""
    r_tile = cuda.shared.array(TILE, np.float32)
    i_tile = cuda.shared.array(TILE, np.float32)
    ahead = cuda.local.array(WARP, np.float32)
    lane = np.int64(cuda.threadIdx.x)
    first = np.int64(cuda.blockIdx.x) * WARP
    if first >= rows:
        return
    row = min(first + lane, rows - 1)  # past the end: the last row once more
    s, c = int32(to_factor(sin[row])), int32(to_factor(cos[row]))
    zero, th, resting = np.int32(0), np.int32(level), np.int32(rest)
    per_unit = np.float32(1) / scale
    real, imag = int32(to_fixed(state_real[row], scale)), int32(to_fixed(state_imag[row], scale))
    fetch(ahead, x_real, first, rows, 0, T, lane)
    for t0 in range(0, T, cuda_tiles.STEPS):
        put(r_tile, ahead, lane)
        fetch(ahead, x_imag, first, rows, t0, T, lane)  # two ahead would need too many registers
        put(i_tile, ahead, lane)
        cuda.syncthreads()
        fetch(ahead, x_real, first, rows, t0 + cuda_tiles.STEPS, T, lane)
        at = lane * PITCH
        end = at + min(cuda_tiles.STEPS, T - t0)
        while at < end:
            i = np.uint64(at)
            # int32: in the simulator a step returns Python's integers
            real, imag = rotate(r_tile[i], i_tile[i], int32(real), int32(imag), s, c, scale)
            r_tile[i] = to_float(int32(real)) * per_unit
            i_tile[i] = to_float(int32(imag)) * per_unit
            reset = imag >= th
            real, imag = select(reset, zero, real), select(reset, resting, imag)
            at += 1
        cuda.syncthreads()
        cuda_tiles.write_tile(r_tile, y_real, first, rows, t0, T, lane)
        cuda_tiles.write_tile(i_tile, y_imag, first, rows, t0, T, lane)
        cuda.syncthreads()


@cuda_kernel
def _backward_cuda(
    g_real, g_imag, y_real, y_imag, g_x_real, g_x_imag, g_sin, g_cos, g_state_real, g_state_imag,
    sin, cos, state_real, state_imag, T, scale, level, rest, rows,
):  # fmt: skip
    """As the CPU driver, for the 32 rows of this warp."""
    ga_tile = cuda.shared.array(TILE, np.float32)
    gb_tile = cuda.shared.array(TILE, np.float32)
    r_tile = cuda.shared.array(TILE, np.float32)
    i_tile = cuda.shared.array(TILE, np.float32)
    ahead = cuda.local.array(WARP, np.float32)
    lane = np.int64(cuda.threadIdx.x)
    first = np.int64(cuda.blockIdx.x) * WARP
    if first >= rows:
        return
    row = min(first + lane, rows - 1)
    s, c = to_float(int32(to_factor(sin[row]))) * _PER_DECAY, to_float(int32(to_factor(cos[row]))) * _PER_DECAY
    off, per_unit = np.float32(0), np.float32(1) / scale
    th, resting = np.float32(level) * per_unit, np.float32(rest) * per_unit
    a, b, sum_sin, sum_cos = off, off, off, off
    last = (T - 1) // cuda_tiles.STEPS * cuda_tiles.STEPS
    for t0 in range(last, -1, -cuda_tiles.STEPS):
        fetch(ahead, g_real, first, rows, t0, T, lane)
        put(ga_tile, ahead, lane)
        fetch(ahead, g_imag, first, rows, t0, T, lane)
        put(gb_tile, ahead, lane)
        fetch(ahead, y_real, first, rows, t0, T, lane)
        put(r_tile, ahead, lane)
        fetch(ahead, y_imag, first, rows, t0, T, lane)
        put(i_tile, ahead, lane)
        cuda.syncthreads()
        start = lane * PITCH
        at = start + min(cuda_tiles.STEPS, T - t0)
        d_sin, d_cos = off, off
        while at > start:
            at -= 1
            i = np.uint64(at)
            reset = i_tile[i] >= th
            real, imag = select(reset, off, r_tile[i]), select(reset, resting, i_tile[i])
            a, b, d_sin, d_cos = rotate_back(
                ga_tile[i], gb_tile[i], np.float32(a), np.float32(b), np.float32(d_sin), np.float32(d_cos),
                real, imag, s, c,
            )  # fmt: skip
            ga_tile[i] = a
            gb_tile[i] = b
        sum_sin, sum_cos = np.float32(sum_sin + d_sin), np.float32(sum_cos + d_cos)
        cuda.syncthreads()
        cuda_tiles.write_tile(ga_tile, g_x_real, first, rows, t0, T, lane)
        cuda_tiles.write_tile(gb_tile, g_x_imag, first, rows, t0, T, lane)
        cuda.syncthreads()
    first_real = to_float(int32(to_fixed(state_real[row], scale))) * per_unit
    first_imag = to_float(int32(to_fixed(state_imag[row], scale))) * per_unit
    a, b, sum_sin, sum_cos = rotate_back(
        off, off, np.float32(a), np.float32(b), sum_sin, sum_cos, first_real, first_imag, s, c
    )
    g_sin[row] = sum_sin * _PER_DECAY
    g_cos[row] = sum_cos * _PER_DECAY
    g_state_real[row] = a
    g_state_imag[row] = b


forward = Kernel(_forward_cpu, _forward_cuda)
backward = Kernel(_backward_cpu, _backward_cuda)
