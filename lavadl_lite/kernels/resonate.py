"""Resonate-and-fire neurons in one pass: rotation, threshold (fixed or adaptive), reset, spike.

Four neurons differ by two flags.  ``phase``: a spike is sent where the phase passes zero while the real part is at or
above the threshold, nothing is reset; otherwise where the imaginary part reaches the threshold.  ``adaptive``: the
threshold and a refractory part jump at each spike and decay; otherwise it is fixed, and without ``phase`` the state is
reset.  Forward keeps the integer state at tiles' borders; backward recomputes a tile and runs it in reverse.
"""

from __future__ import annotations

import numpy as np

from . import cuda_tiles
from .adaptive_threshold import adapt, crossing_level, raise_where
from .cpu import cpu_kernel, inlined
from .cuda import cuda, cuda_kernel
from .cuda_tiles import PITCH, TILE, WARP, fetch, put
from .fixed_point import DECAY_ONE, NEVER, to_factor, to_fixed, to_keep
from .launch import Kernel
from .resonator import rotate, rotate_back
from .surrogate import spike_slopes
from .tiles import (
    LANES,
    LINES_SIZE,
    QUAD,
    STEPS,
    TILE_SIZE,
    line,
    next_tile,
    read_pair,
    read_some,
    whole_group,
    whole_quads,
    write_pair,
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

__all__ = ["STATES", "backward", "checkpoints", "forward"]

STATES = 4  # real, imaginary, threshold, refractory: the order of all arrays of states
_PER_DECAY = np.float32(1 / DECAY_ONE)


def checkpoints(rows: int, T: int, adaptive: bool, device: str = "cpu") -> int:
    """Number of int32 that :func:`forward` keeps: the states of each row for each tile but the first."""
    steps = cuda_tiles.STEPS if device == "cuda" else STEPS
    return max(-(-T // steps) - 1, 0) * (STATES if adaptive else 2) * rows


@inlined
def _forward_lines(
    r_lines, i_lines, steps, real, imag, threshold, refractory, sin, cos, keep_t, keep_r, scale, base, jump, rest,
    zero, never, on, unit, off, phase, adaptive, x_real, x_imag, spikes, ahead, first, T,
):  # fmt: skip
    """``steps`` lines of both inputs become spikes, in ``r_lines``."""
    for t in range(steps):
        here = ahead + line(first + t, T)
        prefetch(x_real, here, 0)
        prefetch(x_imag, here, 0)
        prefetch(spikes, here, 1)
        last = imag
        real, imag = rotate(load(r_lines, t * LANES), load(i_lines, t * LANES), real, imag, sin, cos, scale)
        level = base
        if adaptive:
            threshold, refractory = adapt(threshold, refractory, keep_t, keep_r, base)
            level = int32(threshold + refractory)
        if phase:
            level = crossing_level(level, imag, last, never, zero)
        value = real if phase else imag
        fired = value >= level
        store(r_lines, t * LANES, select(fired, multiply_add(to_float(value), unit, on), off))
        if adaptive:
            threshold, refractory = raise_where(fired, threshold, refractory, jump)
        elif not phase:
            real, imag = select(fired, zero, real), select(fired, rest, imag)
    return real, imag, threshold, refractory


@cpu_kernel
def _forward_cpu(
    x_real, x_imag, spikes, kept, final, decays, initial, T, rows_all, scale, base, jump, on, unit, phase, adaptive,
    lo, hi,
):  # fmt: skip
    """``final`` may be empty; ``decays`` are sine, cosine, and where adaptive those of threshold and refractory.

    ``initial`` and ``final`` hold real, imaginary, threshold, refractory, after their reset or jump.
    """
    r_lines, i_lines = stack_array(LINES_SIZE, np.float32), stack_array(LINES_SIZE, np.float32)
    ints, floats = stack_array(LANES, np.int32), stack_array(LANES, np.float32)
    zero, off, never = repeat(np.int32(0)), repeat(np.float32(0)), repeat(np.int32(NEVER))
    th0, rest, jumps = repeat(np.int32(base)), repeat(np.int32(base - 1)), repeat(np.int32(jump))
    on, unit = repeat(on), repeat(unit)
    states = STATES if adaptive else 2
    per_unit = np.float32(1) / scale
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        s, c = read_pair(decays, row, rows_all, rows, floats)
        s, c = to_factor(s), to_factor(c)
        real, imag = read_pair(initial, row, rows_all, rows, floats)
        real, imag = to_fixed(real, scale), to_fixed(imag, scale)
        keep_t, keep_r, threshold, refractory = zero, zero, th0, zero
        if adaptive:
            keep_t, keep_r = read_pair(decays, 2 * rows_all + row, rows_all, rows, floats)
            keep_t, keep_r = to_keep(keep_t), to_keep(keep_r)
            threshold, refractory = read_pair(initial, 2 * rows_all + row, rows_all, rows, floats)
            threshold, refractory = to_fixed(threshold, scale), to_fixed(refractory, scale)
        for t0 in range(0, T, STEPS):
            steps = min(STEPS, T - t0)
            whole = whole_quads(rows, steps)
            if kept.size > 0 and t0 > 0:
                at = (t0 // STEPS - 1) * states * rows_all + row
                write_pair(kept, at, rows_all, rows, ints, real, imag)
                if adaptive:
                    write_pair(kept, at + 2 * rows_all, rows_all, rows, ints, threshold, refractory)
            ahead = next_tile(row, t0 + STEPS, 0, T, hi)
            for i in range(0, whole, QUAD):
                at = row * T + t0 + i
                read_quad(x_real, at, T, r_lines)
                read_quad(x_imag, at, T, i_lines)
                real, imag, threshold, refractory = _forward_lines(
                    r_lines, i_lines, QUAD, real, imag, threshold, refractory, s, c, keep_t, keep_r, scale, th0,
                    jumps, rest, zero, never, on, unit, off, phase, adaptive, x_real, x_imag, spikes, ahead, i, T,
                )  # fmt: skip
                write_quad(r_lines, spikes, at, T)
            for i in range(whole, steps, QUAD):
                n = min(QUAD, steps - i)
                read_some(r_lines, x_real, row, rows, t0 + i, n, T)
                read_some(i_lines, x_imag, row, rows, t0 + i, n, T)
                real, imag, threshold, refractory = _forward_lines(
                    r_lines, i_lines, n, real, imag, threshold, refractory, s, c, keep_t, keep_r, scale, th0,
                    jumps, rest, zero, never, on, unit, off, phase, adaptive, x_real, x_imag, spikes, ahead, i, T,
                )  # fmt: skip
                write_some(r_lines, spikes, row, rows, t0 + i, n, T)
        if final.size > 0:
            write_pair(final, row, rows_all, rows, floats, to_float(real) * per_unit, to_float(imag) * per_unit)
            level, longer = to_float(threshold) * per_unit, to_float(refractory) * per_unit
            write_pair(final, 2 * rows_all + row, rows_all, rows, floats, level, longer)


@inlined
def _recompute_lines(
    r_lines, i_lines, steps, real, imag, threshold, refractory, sin, cos, keep_t, keep_r, scale, base, jump, rest,
    zero, never, phase, adaptive, r_tile, i_tile, l_tile, x_real, x_imag, g_spikes, ahead, first, T,
):  # fmt: skip
    """``steps`` lines of both inputs become lines of the tiles of states before reset, and of levels."""
    for t in range(steps):
        here = ahead + line(first + t, T)
        prefetch(x_real, here, 0)
        prefetch(x_imag, here, 0)
        prefetch(g_spikes, here, 0)
        last = imag
        real, imag = rotate(load(r_lines, t * LANES), load(i_lines, t * LANES), real, imag, sin, cos, scale)
        store(r_tile, (first + t) * LANES, to_float(real))
        store(i_tile, (first + t) * LANES, to_float(imag))
        if adaptive:
            threshold, refractory = adapt(threshold, refractory, keep_t, keep_r, base)
            level = int32(threshold + refractory)
            store(l_tile, (first + t) * LANES, to_float(level))
            if phase:
                level = crossing_level(level, imag, last, never, zero)
            fired = (real if phase else imag) >= level
            threshold, refractory = raise_where(fired, threshold, refractory, jump)
        elif not phase:
            fired = imag >= base
            real, imag = select(fired, zero, real), select(fired, rest, imag)
    return real, imag, threshold, refractory


@inlined
def _reverse_lines(
    g_lines, b_lines, steps, a, b, d_sin, d_cos, sin, cos, base, rest, off, slope, height_r, height_i, phase, adaptive,
    graded, kind, r_tile, i_tile, l_tile, g_x_real, g_x_imag, ahead, first, T,
):  # fmt: skip
    """``steps`` lines of the spikes' gradient become the inputs', the last one first."""
    for t in range(steps - 1, -1, -1):
        here = ahead + line(first + t, T)
        prefetch(g_x_real, here, 1)
        prefetch(g_x_imag, here, 1)
        at = (first + t) * LANES
        real, imag, level, g = load(r_tile, at), load(i_tile, at), base, load(g_lines, t * LANES)
        if adaptive:
            level = load(l_tile, at)
        by_real, by_imag = spike_slopes(real, imag, level, slope, height_r, height_i, phase, graded, kind)
        if not adaptive and not phase:
            reset = imag >= base
            real, imag = select(reset, off, real), select(reset, rest, imag)
        a, b, d_sin, d_cos = rotate_back(g * by_real, g * by_imag, a, b, d_sin, d_cos, real, imag, sin, cos)
        store(g_lines, t * LANES, a)
        store(b_lines, t * LANES, b)
    return a, b, d_sin, d_cos


@cpu_kernel
def _backward_cpu(
    g_spikes, x_real, x_imag, kept, g_x_real, g_x_imag, g_sin, g_cos, decays, initial, T, rows_all, scale, base, jump,
    slope, height_r, height_i, phase, adaptive, graded, kind, lo, hi,
):  # fmt: skip
    """Gradients of both inputs [rows, T], and a row's of sine and cosine."""
    r_lines, i_lines = stack_array(LINES_SIZE, np.float32), stack_array(LINES_SIZE, np.float32)
    r_tile, i_tile = stack_array(TILE_SIZE, np.float32), stack_array(TILE_SIZE, np.float32)
    l_tile = stack_array(TILE_SIZE, np.float32)
    ints, floats = stack_array(LANES, np.int32), stack_array(LANES, np.float32)
    zero, off, never = repeat(np.int32(0)), repeat(np.float32(0)), repeat(np.int32(NEVER))
    th0, rest, jumps = repeat(np.int32(base)), repeat(np.int32(base - 1)), repeat(np.int32(jump))
    th_float, rest_float = repeat(np.float32(base)), repeat(np.float32(base - 1))
    states = STATES if adaptive else 2
    per_decay = _PER_DECAY / scale
    tiles = (T + STEPS - 1) // STEPS
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        s, c = read_pair(decays, row, rows_all, rows, floats)
        s, c = to_factor(s), to_factor(c)
        fs, fc = to_float(s) * _PER_DECAY, to_float(c) * _PER_DECAY
        keep_t, keep_r = zero, zero
        if adaptive:
            keep_t, keep_r = read_pair(decays, 2 * rows_all + row, rows_all, rows, floats)
            keep_t, keep_r = to_keep(keep_t), to_keep(keep_r)
        first_real, first_imag = read_pair(initial, row, rows_all, rows, floats)
        first_real, first_imag = to_fixed(first_real, scale), to_fixed(first_imag, scale)
        a, b, sum_sin, sum_cos = off, off, off, off
        for number in range(tiles - 1, -1, -1):
            t0 = number * STEPS
            steps = min(STEPS, T - t0)
            whole = whole_quads(rows, steps)
            real, imag, threshold, refractory = first_real, first_imag, th0, zero
            if number > 0:
                at = (number - 1) * states * rows_all + row
                real, imag = read_pair(kept, at, rows_all, rows, ints)
                if adaptive:
                    threshold, refractory = read_pair(kept, at + 2 * rows_all, rows_all, rows, ints)
            elif adaptive:
                threshold, refractory = read_pair(initial, 2 * rows_all + row, rows_all, rows, floats)
                threshold, refractory = to_fixed(threshold, scale), to_fixed(refractory, scale)
            ahead = next_tile(row, t0 - STEPS, (tiles - 1) * STEPS, T, hi)
            for i in range(0, whole, QUAD):
                read_quad(x_real, row * T + t0 + i, T, r_lines)
                read_quad(x_imag, row * T + t0 + i, T, i_lines)
                real, imag, threshold, refractory = _recompute_lines(
                    r_lines, i_lines, QUAD, real, imag, threshold, refractory, s, c, keep_t, keep_r, scale, th0,
                    jumps, rest, zero, never, phase, adaptive, r_tile, i_tile, l_tile, x_real, x_imag, g_spikes,
                    ahead, i, T,
                )  # fmt: skip
            for i in range(whole, steps, QUAD):
                n = min(QUAD, steps - i)
                read_some(r_lines, x_real, row, rows, t0 + i, n, T)
                read_some(i_lines, x_imag, row, rows, t0 + i, n, T)
                real, imag, threshold, refractory = _recompute_lines(
                    r_lines, i_lines, n, real, imag, threshold, refractory, s, c, keep_t, keep_r, scale, th0,
                    jumps, rest, zero, never, phase, adaptive, r_tile, i_tile, l_tile, x_real, x_imag, g_spikes,
                    ahead, i, T,
                )  # fmt: skip
            d_sin, d_cos = off, off  # short sums: less rounding
            for i in range((steps - 1) // QUAD * QUAD, whole - 1, -QUAD):
                n = min(QUAD, steps - i)
                read_some(r_lines, g_spikes, row, rows, t0 + i, n, T)
                a, b, d_sin, d_cos = _reverse_lines(
                    r_lines, i_lines, n, a, b, d_sin, d_cos, fs, fc, th_float, rest_float, off, slope, height_r,
                    height_i, phase, adaptive, graded, kind, r_tile, i_tile, l_tile, g_x_real, g_x_imag, ahead, i, T,
                )  # fmt: skip
                write_some(r_lines, g_x_real, row, rows, t0 + i, n, T)
                write_some(i_lines, g_x_imag, row, rows, t0 + i, n, T)
            for i in range(whole - QUAD, -1, -QUAD):
                read_quad(g_spikes, row * T + t0 + i, T, r_lines)
                a, b, d_sin, d_cos = _reverse_lines(
                    r_lines, i_lines, QUAD, a, b, d_sin, d_cos, fs, fc, th_float, rest_float, off, slope, height_r,
                    height_i, phase, adaptive, graded, kind, r_tile, i_tile, l_tile, g_x_real, g_x_imag, ahead, i, T,
                )  # fmt: skip
                write_quad(r_lines, g_x_real, row * T + t0 + i, T)
                write_quad(i_lines, g_x_imag, row * T + t0 + i, T)
            sum_sin, sum_cos = sum_sin + d_sin, sum_cos + d_cos
        a, b, sum_sin, sum_cos = rotate_back(
            off, off, a, b, sum_sin, sum_cos, to_float(first_real), to_float(first_imag), fs, fc
        )
        write_rows(g_sin, row, rows, floats, sum_sin * per_decay)
        write_rows(g_cos, row, rows, floats, sum_cos * per_decay)


@cuda_kernel
def _forward_cuda(
    x_real, x_imag, spikes, kept, final, decays, initial, T, rows_all, scale, base, jump, on, unit, phase, adaptive,
    rows,
):  # fmt: skip
    """As the CPU driver, for the 32 rows of this warp."""
    r_tile = cuda.shared.array(TILE, np.float32)
    i_tile = cuda.shared.array(TILE, np.float32)
    ahead = cuda.local.array(WARP, np.float32)
    lane = np.int64(cuda.threadIdx.x)
    first = np.int64(cuda.blockIdx.x) * WARP
    if first >= rows:
        return
    row = min(first + lane, rows - 1)  # past the end: the last row once more, same values written twice
    s, c = int32(to_factor(decays[row])), int32(to_factor(decays[rows + row]))
    zero, off, never = np.int32(0), np.float32(0), np.int32(NEVER)
    th0, rest, jumps = np.int32(base), np.int32(base - 1), np.int32(jump)
    real, imag = int32(to_fixed(initial[row], scale)), int32(to_fixed(initial[rows + row], scale))
    keep_t, keep_r, threshold, refractory = zero, zero, th0, zero
    states = np.int64(2)
    if adaptive:
        states = np.int64(STATES)
        keep_t, keep_r = int32(to_keep(decays[2 * rows + row])), int32(to_keep(decays[3 * rows + row]))
        threshold = int32(to_fixed(initial[2 * rows + row], scale))
        refractory = int32(to_fixed(initial[3 * rows + row], scale))
    fetch(ahead, x_real, first, rows, 0, T, lane)
    for t0 in range(0, T, cuda_tiles.STEPS):
        put(r_tile, ahead, lane)
        fetch(ahead, x_imag, first, rows, t0, T, lane)  # two ahead would need too many registers
        put(i_tile, ahead, lane)
        cuda.syncthreads()
        fetch(ahead, x_real, first, rows, t0 + cuda_tiles.STEPS, T, lane)
        if kept.size > 0 and t0 > 0:
            at = (t0 // cuda_tiles.STEPS - 1) * states * rows + row
            kept[at] = real
            kept[at + rows] = imag
            if adaptive:
                kept[at + 2 * rows] = threshold
                kept[at + 3 * rows] = refractory
        at = lane * PITCH
        end = at + min(cuda_tiles.STEPS, T - t0)
        while at < end:
            i = np.uint64(at)
            last = imag
            # int32: in the simulator a step returns Python's integers
            real, imag = rotate(r_tile[i], i_tile[i], int32(real), int32(imag), s, c, scale)
            real, imag = int32(real), int32(imag)
            level = th0
            if adaptive:
                threshold, refractory = adapt(int32(threshold), int32(refractory), keep_t, keep_r, th0)
                threshold, refractory = int32(threshold), int32(refractory)
                level = int32(threshold + refractory)
            if phase:
                level = int32(crossing_level(level, imag, last, never, zero))
            value = real if phase else imag
            fired = value >= level
            r_tile[i] = select(fired, multiply_add(to_float(value), unit, on), off)
            if adaptive:
                threshold, refractory = raise_where(fired, threshold, refractory, jumps)
            elif fired and not phase:
                real, imag = zero, rest
            at += 1
        cuda.syncthreads()
        cuda_tiles.write_tile(r_tile, spikes, first, rows, t0, T, lane)
        cuda.syncthreads()
    if final.size > 0:
        per_unit = np.float32(1) / scale
        final[row] = to_float(int32(real)) * per_unit
        final[rows + row] = to_float(int32(imag)) * per_unit
        final[2 * rows + row] = to_float(int32(threshold)) * per_unit
        final[3 * rows + row] = to_float(int32(refractory)) * per_unit


@cuda_kernel
def _backward_cuda(
    g_spikes, x_real, x_imag, kept, g_x_real, g_x_imag, g_sin, g_cos, decays, initial, T, rows_all, scale, base, jump,
    slope, height_r, height_i, phase, adaptive, graded, kind, rows,
):  # fmt: skip
    """As the CPU driver, for the 32 rows of this warp."""
    r_tile = cuda.shared.array(TILE, np.float32)
    i_tile = cuda.shared.array(TILE, np.float32)
    l_tile = cuda.shared.array(TILE, np.float32)
    g_tile = cuda.shared.array(TILE, np.float32)
    ahead = cuda.local.array(WARP, np.float32)
    lane = np.int64(cuda.threadIdx.x)
    first = np.int64(cuda.blockIdx.x) * WARP
    if first >= rows:
        return
    row = min(first + lane, rows - 1)
    s, c = int32(to_factor(decays[row])), int32(to_factor(decays[rows + row]))
    fs, fc = to_float(s) * _PER_DECAY, to_float(c) * _PER_DECAY
    zero, off, never = np.int32(0), np.float32(0), np.int32(NEVER)
    th0, rest, jumps = np.int32(base), np.int32(base - 1), np.int32(jump)
    th_float, rest_float = np.float32(base), np.float32(base - 1)
    keep_t, keep_r = zero, zero
    states = np.int64(2)
    if adaptive:
        states = np.int64(STATES)
        keep_t, keep_r = int32(to_keep(decays[2 * rows + row])), int32(to_keep(decays[3 * rows + row]))
    first_real, first_imag = int32(to_fixed(initial[row], scale)), int32(to_fixed(initial[rows + row], scale))
    a, b, sum_sin, sum_cos = off, off, off, off
    final = (T - 1) // cuda_tiles.STEPS * cuda_tiles.STEPS
    for t0 in range(final, -1, -cuda_tiles.STEPS):
        fetch(ahead, x_real, first, rows, t0, T, lane)
        put(r_tile, ahead, lane)
        fetch(ahead, x_imag, first, rows, t0, T, lane)
        put(i_tile, ahead, lane)
        fetch(ahead, g_spikes, first, rows, t0, T, lane)
        put(g_tile, ahead, lane)
        cuda.syncthreads()
        real, imag, threshold, refractory = first_real, first_imag, th0, zero
        if t0 > 0:
            at = (t0 // cuda_tiles.STEPS - 1) * states * rows + row
            real, imag = kept[at], kept[at + rows]
            if adaptive:
                threshold, refractory = kept[at + 2 * rows], kept[at + 3 * rows]
        elif adaptive:
            threshold = int32(to_fixed(initial[2 * rows + row], scale))
            refractory = int32(to_fixed(initial[3 * rows + row], scale))
        start = lane * PITCH
        at, end = start, start + min(cuda_tiles.STEPS, T - t0)
        while at < end:  # recompute
            i = np.uint64(at)
            last = imag
            real, imag = rotate(r_tile[i], i_tile[i], int32(real), int32(imag), s, c, scale)
            real, imag = int32(real), int32(imag)
            r_tile[i] = to_float(real)
            i_tile[i] = to_float(imag)
            level = th0
            if adaptive:
                threshold, refractory = adapt(int32(threshold), int32(refractory), keep_t, keep_r, th0)
                threshold, refractory = int32(threshold), int32(refractory)
                level = int32(threshold + refractory)
            l_tile[i] = to_float(level)
            if phase:
                level = int32(crossing_level(level, imag, last, never, zero))
            fired = (real if phase else imag) >= level
            if adaptive:
                threshold, refractory = raise_where(fired, threshold, refractory, jumps)
            elif fired and not phase:
                real, imag = zero, rest
            at += 1
        d_sin, d_cos = off, off
        while at > start:  # reverse
            at -= 1
            i = np.uint64(at)
            re, im, g = r_tile[i], i_tile[i], g_tile[i]
            by_real, by_imag = spike_slopes(re, im, l_tile[i], slope, height_r, height_i, phase, graded, kind)
            if not adaptive and not phase and im >= th_float:
                re, im = off, rest_float
            a, b, d_sin, d_cos = rotate_back(
                np.float32(g * by_real), np.float32(g * by_imag), np.float32(a), np.float32(b), np.float32(d_sin),
                np.float32(d_cos), re, im, fs, fc,
            )  # fmt: skip
            r_tile[i] = a
            i_tile[i] = b
        sum_sin, sum_cos = np.float32(sum_sin + d_sin), np.float32(sum_cos + d_cos)
        cuda.syncthreads()
        cuda_tiles.write_tile(r_tile, g_x_real, first, rows, t0, T, lane)
        cuda_tiles.write_tile(i_tile, g_x_imag, first, rows, t0, T, lane)
        cuda.syncthreads()
    a, b, sum_sin, sum_cos = rotate_back(
        off, off, np.float32(a), np.float32(b), sum_sin, sum_cos, to_float(first_real), to_float(first_imag), fs, fc
    )
    per_decay = _PER_DECAY / scale
    g_sin[row] = sum_sin * per_decay
    g_cos[row] = sum_cos * per_decay


forward = Kernel(_forward_cpu, _forward_cuda)
backward = Kernel(_backward_cpu, _backward_cuda)
