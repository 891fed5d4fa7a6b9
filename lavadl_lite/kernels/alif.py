"""The adaptive leaky integrate-and-fire neuron in one pass: current, voltage, adaptive threshold, spike.

Forward writes the spikes, and the integer state every 64 steps when a gradient is wanted; backward recomputes a tile
from the input and runs it in reverse.  Decays and states come one array each, four values a row: of the current, the
voltage, the threshold and the refractory state.
"""

from __future__ import annotations

import numpy as np

from . import cuda_tiles
from .adaptive_threshold import adapt, raise_where
from .cpu import cpu_kernel, inlined, step
from .cuba import spike_value, surrogate
from .cuda import cuda, cuda_kernel
from .cuda_tiles import PITCH, TILE, WARP, fetch, put
from .fixed_point import DECAY_ONE, decay_state, limit_state, to_fixed, to_keep
from .launch import Kernel
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
    write_some,
)
from .vec import int32, load, multiply_add, prefetch, read_quad, repeat, stack_array, store, to_float, write_quad

__all__ = ["STATES", "backward", "checkpoints", "forward"]

STATES = 4  # values that a row's state is made of: current, voltage, threshold, refractory

_PER_DECAY = np.float32(1 / DECAY_ONE)


def checkpoints(rows: int, T: int, device: str = "cpu") -> int:
    """Number of int32 that :func:`forward` keeps for :func:`backward`: four a row for each tile but the first.

    Parameters
    ----------
    rows, T : int
        Size of the input.
    device : str
        Type of the device that both run on: ``"cuda"`` has tiles of 32 steps, every other one of 64.
    """
    steps = cuda_tiles.STEPS if device == "cuda" else STEPS
    return max(-(-T // steps) - 1, 0) * STATES * rows


@step
def integrate(x, current, voltage, keep_c, keep_v, scale):
    """One time step of current and voltage, which no spike resets."""
    current = limit_state(int32(decay_state(current, keep_c) + to_fixed(x, scale)))
    return current, limit_state(int32(decay_state(voltage, keep_v) + current))


@step
def backward_step(g_voltage, voltage, current, g_v, g_c, d_v, d_c, keep_v, keep_c):
    """One step in reverse; ``voltage`` and ``current`` as floats in integer units, keep in 0..1.

    ``g_voltage`` is the spike's gradient times its surrogate derivative.  ``g_v`` and ``g_c`` come in as gradients of
    the next step's states.  Those were made from this step's states, hence the decay sums ``d_v`` and ``d_c`` come
    first.  Rounding and threshold carry no gradient.
    """
    d_v = multiply_add(g_v, voltage, d_v)
    d_c = multiply_add(g_c, current, d_c)
    g_v = multiply_add(keep_v, g_v, g_voltage)
    g_c = multiply_add(keep_c, g_c, g_v)
    return g_v, g_c, d_v, d_c


@inlined
def _forward_lines(
    lines, steps, current, voltage, threshold, refractory, kc, kv, k_th, k_r, scale, base, rise, on, unit, off,
    x, spikes, ahead, first, T,
):  # fmt: skip
    """``steps`` lines of input become spikes; asks for the same lines of the next tile."""
    for t in range(steps):
        prefetch(x, ahead + line(first + t, T), 0)
        prefetch(spikes, ahead + line(first + t, T), 1)
        current, voltage = integrate(load(lines, t * LANES), current, voltage, kc, kv, scale)
        threshold, refractory = adapt(threshold, refractory, k_th, k_r, base)
        level = int32(threshold + refractory)
        threshold, refractory = raise_where(voltage >= level, threshold, refractory, rise)
        store(lines, t * LANES, spike_value(voltage, level, on, unit, off))
    return current, voltage, threshold, refractory


@cpu_kernel
def _forward_cpu(x, spikes, kept, final, decays, initial, T, rows_all, scale, base, rise, on, unit, lo, hi):
    """``kept``, the final and the initial states are left alone where they are empty.

    The threshold begins and decays at ``base``; ``threshold`` and ``refractory`` hold what a spike left behind.
    """
    lines = stack_array(LINES_SIZE, np.float32)
    ints, floats = stack_array(LANES, np.int32), stack_array(LANES, np.float32)
    zero, off = repeat(np.int32(0)), repeat(np.float32(0))
    th0, higher, on, unit = repeat(np.int32(base)), repeat(np.int32(rise)), repeat(on), repeat(unit)
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        kc, kv = read_pair(decays, row, rows_all, rows, floats)
        kc, kv = to_keep(kc), to_keep(kv)
        k_th, k_r = read_pair(decays, 2 * rows_all + row, rows_all, rows, floats)
        k_th, k_r = to_keep(k_th), to_keep(k_r)
        current, voltage, threshold, refractory = zero, zero, th0, zero
        if initial.size > 0:
            current, voltage = read_pair(initial, row, rows_all, rows, floats)
            current, voltage = to_fixed(current, scale), to_fixed(voltage, scale)
            threshold, refractory = read_pair(initial, 2 * rows_all + row, rows_all, rows, floats)
            threshold, refractory = to_fixed(threshold, scale), to_fixed(refractory, scale)
        for t0 in range(0, T, STEPS):
            steps = min(STEPS, T - t0)
            whole = whole_quads(rows, steps)
            if kept.size > 0 and t0 > 0:
                at = (t0 // STEPS - 1) * STATES * rows_all + row
                write_pair(kept, at, rows_all, rows, ints, current, voltage)
                write_pair(kept, at + 2 * rows_all, rows_all, rows, ints, threshold, refractory)
            ahead = next_tile(row, t0 + STEPS, 0, T, hi)
            for i in range(0, whole, QUAD):
                read_quad(x, row * T + t0 + i, T, lines)
                current, voltage, threshold, refractory = _forward_lines(
                    lines, QUAD, current, voltage, threshold, refractory, kc, kv, k_th, k_r, scale, th0, higher,
                    on, unit, off, x, spikes, ahead, i, T,
                )  # fmt: skip
                write_quad(lines, spikes, row * T + t0 + i, T)
            for i in range(whole, steps, QUAD):
                n = min(QUAD, steps - i)
                read_some(lines, x, row, rows, t0 + i, n, T)
                current, voltage, threshold, refractory = _forward_lines(
                    lines, n, current, voltage, threshold, refractory, kc, kv, k_th, k_r, scale, th0, higher,
                    on, unit, off, x, spikes, ahead, i, T,
                )  # fmt: skip
                write_some(lines, spikes, row, rows, t0 + i, n, T)
        if final.size > 0:
            per_unit = np.float32(1) / scale
            write_pair(final, row, rows_all, rows, floats, to_float(current) * per_unit, to_float(voltage) * per_unit)
            level, longer = to_float(threshold) * per_unit, to_float(refractory) * per_unit
            write_pair(final, 2 * rows_all + row, rows_all, rows, floats, level, longer)


@inlined
def _recompute_lines(
    lines, steps, current, voltage, threshold, refractory, kc, kv, k_th, k_r, scale, base, rise, slope, height, graded,
    kind, c_tile, v_tile, s_tile, x, g_spikes, ahead, first, T,
):  # fmt: skip
    """``steps`` lines of input become lines of the tiles of states and of surrogate derivatives."""
    for t in range(steps):
        prefetch(x, ahead + line(first + t, T), 0)
        prefetch(g_spikes, ahead + line(first + t, T), 0)
        current, voltage = integrate(load(lines, t * LANES), current, voltage, kc, kv, scale)
        threshold, refractory = adapt(threshold, refractory, k_th, k_r, base)
        level = int32(threshold + refractory)
        threshold, refractory = raise_where(voltage >= level, threshold, refractory, rise)
        at = (first + t) * LANES
        store(c_tile, at, to_float(current))
        store(v_tile, at, to_float(voltage))
        above = to_float(int32(voltage - level))
        store(s_tile, at, surrogate(above, np.float32(0), slope, np.float32(0), height, graded, kind))
    return current, voltage, threshold, refractory


@inlined
def _reverse_lines(lines, steps, g_v, g_c, d_v, d_c, fv, fc, c_tile, v_tile, s_tile, g_x, ahead, first, T):
    """``steps`` lines of the spikes' gradient become the input's, the last one first."""
    for t in range(steps - 1, -1, -1):
        prefetch(g_x, ahead + line(first + t, T), 1)
        at = (first + t) * LANES
        g_v, g_c, d_v, d_c = backward_step(
            load(lines, t * LANES) * load(s_tile, at), load(v_tile, at), load(c_tile, at), g_v, g_c, d_v, d_c, fv, fc
        )
        store(lines, t * LANES, g_c)
    return g_v, g_c, d_v, d_c


@cpu_kernel
def _backward_cpu(
    g_spikes, x, kept, g_x, g_decays, decays, initial, T, rows_all, scale, base, rise, slope, height, graded, kind,
    lo, hi,
):  # fmt: skip
    """``g_x`` [rows, T], and a row's gradients of the decays of current and voltage.

    Those are ``-sum(gradient * state that was multiplied) / 4096``; the other two decays have none.
    """
    lines = stack_array(LINES_SIZE, np.float32)
    c_tile, v_tile = stack_array(TILE_SIZE, np.float32), stack_array(TILE_SIZE, np.float32)
    s_tile = stack_array(TILE_SIZE, np.float32)
    ints, floats = stack_array(LANES, np.int32), stack_array(LANES, np.float32)
    zero, off = repeat(np.int32(0)), repeat(np.float32(0))
    th0, higher = repeat(np.int32(base)), repeat(np.int32(rise))
    per_decay = -_PER_DECAY / scale
    tiles = (T + STEPS - 1) // STEPS
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        kc, kv = read_pair(decays, row, rows_all, rows, floats)
        kc, kv = to_keep(kc), to_keep(kv)
        k_th, k_r = read_pair(decays, 2 * rows_all + row, rows_all, rows, floats)
        k_th, k_r = to_keep(k_th), to_keep(k_r)
        fc, fv = to_float(kc) * _PER_DECAY, to_float(kv) * _PER_DECAY
        g_v, g_c, sum_v, sum_c = off, off, off, off
        for number in range(tiles - 1, -1, -1):
            t0 = number * STEPS
            steps = min(STEPS, T - t0)
            whole = whole_quads(rows, steps)
            current, voltage, threshold, refractory = zero, zero, th0, zero
            if number > 0:
                at = (number - 1) * STATES * rows_all + row
                current, voltage = read_pair(kept, at, rows_all, rows, ints)
                threshold, refractory = read_pair(kept, at + 2 * rows_all, rows_all, rows, ints)
            elif initial.size > 0:
                current, voltage = read_pair(initial, row, rows_all, rows, floats)
                current, voltage = to_fixed(current, scale), to_fixed(voltage, scale)
                threshold, refractory = read_pair(initial, 2 * rows_all + row, rows_all, rows, floats)
                threshold, refractory = to_fixed(threshold, scale), to_fixed(refractory, scale)
            first_c, first_v = to_float(current), to_float(voltage)
            ahead = next_tile(row, t0 - STEPS, (tiles - 1) * STEPS, T, hi)
            for i in range(0, whole, QUAD):
                read_quad(x, row * T + t0 + i, T, lines)
                current, voltage, threshold, refractory = _recompute_lines(
                    lines, QUAD, current, voltage, threshold, refractory, kc, kv, k_th, k_r, scale, th0, higher,
                    slope, height, graded, kind, c_tile, v_tile, s_tile, x, g_spikes, ahead, i, T,
                )  # fmt: skip
            for i in range(whole, steps, QUAD):
                n = min(QUAD, steps - i)
                read_some(lines, x, row, rows, t0 + i, n, T)
                current, voltage, threshold, refractory = _recompute_lines(
                    lines, n, current, voltage, threshold, refractory, kc, kv, k_th, k_r, scale, th0, higher,
                    slope, height, graded, kind, c_tile, v_tile, s_tile, x, g_spikes, ahead, i, T,
                )  # fmt: skip
            d_v, d_c = off, off  # short sums: less rounding
            for i in range((steps - 1) // QUAD * QUAD, whole - 1, -QUAD):
                n = min(QUAD, steps - i)
                read_some(lines, g_spikes, row, rows, t0 + i, n, T)
                g_v, g_c, d_v, d_c = _reverse_lines(
                    lines, n, g_v, g_c, d_v, d_c, fv, fc, c_tile, v_tile, s_tile, g_x, ahead, i, T
                )
                write_some(lines, g_x, row, rows, t0 + i, n, T)
            for i in range(whole - QUAD, -1, -QUAD):
                read_quad(g_spikes, row * T + t0 + i, T, lines)
                g_v, g_c, d_v, d_c = _reverse_lines(
                    lines, QUAD, g_v, g_c, d_v, d_c, fv, fc, c_tile, v_tile, s_tile, g_x, ahead, i, T
                )
                write_quad(lines, g_x, row * T + t0 + i, T)
            if number == 0 and initial.size > 0:
                d_v, d_c = multiply_add(g_v, first_v, d_v), multiply_add(g_c, first_c, d_c)
            sum_v, sum_c = sum_v + d_v, sum_c + d_c
        write_pair(g_decays, row, rows_all, rows, floats, sum_c * per_decay, sum_v * per_decay)


@cuda_kernel
def _forward_cuda(x, spikes, kept, final, decays, initial, T, rows_all, scale, base, rise, on, unit, rows):
    """As the CPU driver, for the 32 rows of this warp."""
    tile = cuda.shared.array(TILE, np.float32)
    ahead = cuda.local.array(WARP, np.float32)
    lane = np.int64(cuda.threadIdx.x)
    first = np.int64(cuda.blockIdx.x) * WARP
    if first >= rows:
        return
    row = min(first + lane, rows - 1)  # past the end: the last row once more, same values written twice
    kc, kv = int32(to_keep(decays[row])), int32(to_keep(decays[rows + row]))
    k_th, k_r = int32(to_keep(decays[2 * rows + row])), int32(to_keep(decays[3 * rows + row]))
    zero, off, th0, higher = np.int32(0), np.float32(0), np.int32(base), np.int32(rise)
    current, voltage, threshold, refractory = zero, zero, th0, zero
    if initial.size > 0:
        current, voltage = to_fixed(initial[row], scale), to_fixed(initial[rows + row], scale)
        threshold, refractory = to_fixed(initial[2 * rows + row], scale), to_fixed(initial[3 * rows + row], scale)
    fetch(ahead, x, first, rows, 0, T, lane)
    for t0 in range(0, T, cuda_tiles.STEPS):
        put(tile, ahead, lane)
        cuda.syncthreads()
        fetch(ahead, x, first, rows, t0 + cuda_tiles.STEPS, T, lane)
        if kept.size > 0 and t0 > 0:
            at = (t0 // cuda_tiles.STEPS - 1) * STATES * rows + row
            kept[at] = current
            kept[at + rows] = voltage
            kept[at + 2 * rows] = threshold
            kept[at + 3 * rows] = refractory
        at = lane * PITCH
        end = at + min(cuda_tiles.STEPS, T - t0)
        while at < end:
            i = np.uint64(at)
            # int32: in the simulator a step returns Python's integers
            current, voltage = integrate(tile[i], int32(current), int32(voltage), kc, kv, scale)
            threshold, refractory = adapt(int32(threshold), int32(refractory), k_th, k_r, th0)
            level = int32(int32(threshold) + int32(refractory))
            threshold, refractory = raise_where(voltage >= level, int32(threshold), int32(refractory), higher)
            tile[i] = spike_value(int32(voltage), level, on, unit, off)
            at += 1
        cuda.syncthreads()
        cuda_tiles.write_tile(tile, spikes, first, rows, t0, T, lane)
        cuda.syncthreads()
    if final.size > 0:
        per_unit = np.float32(1) / scale
        final[row] = to_float(int32(current)) * per_unit
        final[rows + row] = to_float(int32(voltage)) * per_unit
        final[2 * rows + row] = to_float(int32(threshold)) * per_unit
        final[3 * rows + row] = to_float(int32(refractory)) * per_unit


@cuda_kernel
def _backward_cuda(
    g_spikes, x, kept, g_x, g_decays, decays, initial, T, rows_all, scale, base, rise, slope, height, graded, kind, rows
):
    """As the CPU driver, for the 32 rows of this warp."""
    c_tile = cuda.shared.array(TILE, np.float32)
    v_tile = cuda.shared.array(TILE, np.float32)
    g_tile = cuda.shared.array(TILE, np.float32)
    x_ahead = cuda.local.array(WARP, np.float32)
    g_ahead = cuda.local.array(WARP, np.float32)
    lane = np.int64(cuda.threadIdx.x)
    first = np.int64(cuda.blockIdx.x) * WARP
    if first >= rows:
        return
    row = min(first + lane, rows - 1)
    kc, kv = int32(to_keep(decays[row])), int32(to_keep(decays[rows + row]))
    k_th, k_r = int32(to_keep(decays[2 * rows + row])), int32(to_keep(decays[3 * rows + row]))
    fc, fv = to_float(kc) * _PER_DECAY, to_float(kv) * _PER_DECAY
    zero, off, th0, higher = np.int32(0), np.float32(0), np.int32(base), np.int32(rise)
    per_decay = -_PER_DECAY / scale
    g_v, g_c, sum_v, sum_c = off, off, off, off
    last = (T - 1) // cuda_tiles.STEPS * cuda_tiles.STEPS
    fetch(x_ahead, x, first, rows, last, T, lane)
    fetch(g_ahead, g_spikes, first, rows, last, T, lane)
    for t0 in range(last, -1, -cuda_tiles.STEPS):
        put(c_tile, x_ahead, lane)
        put(g_tile, g_ahead, lane)
        cuda.syncthreads()
        fetch(x_ahead, x, first, rows, t0 - cuda_tiles.STEPS, T, lane)
        fetch(g_ahead, g_spikes, first, rows, t0 - cuda_tiles.STEPS, T, lane)
        current, voltage, threshold, refractory = zero, zero, th0, zero
        if t0 > 0:
            at = (t0 // cuda_tiles.STEPS - 1) * STATES * rows + row
            current, voltage = kept[at], kept[at + rows]
            threshold, refractory = kept[at + 2 * rows], kept[at + 3 * rows]
        elif initial.size > 0:
            current, voltage = to_fixed(initial[row], scale), to_fixed(initial[rows + row], scale)
            threshold, refractory = to_fixed(initial[2 * rows + row], scale), to_fixed(initial[3 * rows + row], scale)
        first_c, first_v = to_float(int32(current)), to_float(int32(voltage))
        start = lane * PITCH
        at, end = start, start + min(cuda_tiles.STEPS, T - t0)
        while at < end:  # recompute
            i = np.uint64(at)
            current, voltage = integrate(c_tile[i], int32(current), int32(voltage), kc, kv, scale)
            threshold, refractory = adapt(int32(threshold), int32(refractory), k_th, k_r, th0)
            level = int32(int32(threshold) + int32(refractory))
            threshold, refractory = raise_where(voltage >= level, int32(threshold), int32(refractory), higher)
            c_tile[i] = to_float(int32(current))
            v_tile[i] = to_float(int32(voltage))
            above = to_float(int32(int32(voltage) - level))
            g_tile[i] = g_tile[i] * np.float32(surrogate(above, off, slope, off, height, graded, kind))
            at += 1
        d_v, d_c = off, off
        while at > start:  # reverse
            at -= 1
            i = np.uint64(at)
            g_v, g_c, d_v, d_c = backward_step(
                g_tile[i], v_tile[i], c_tile[i], np.float32(g_v), np.float32(g_c), np.float32(d_v), np.float32(d_c),
                fv, fc,
            )  # fmt: skip
            g_tile[i] = g_c
        if t0 == 0 and initial.size > 0:
            d_v, d_c = multiply_add(g_v, first_v, d_v), multiply_add(g_c, first_c, d_c)
        sum_v, sum_c = np.float32(sum_v + d_v), np.float32(sum_c + d_c)
        cuda.syncthreads()
        cuda_tiles.write_tile(g_tile, g_x, first, rows, t0, T, lane)
        cuda.syncthreads()
    g_decays[row] = sum_c * per_decay
    g_decays[rows + row] = sum_v * per_decay


forward = Kernel(_forward_cpu, _forward_cuda)
backward = Kernel(_backward_cpu, _backward_cuda)
