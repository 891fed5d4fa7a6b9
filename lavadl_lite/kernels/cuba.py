"""The current-based leaky integrate-and-fire neuron in one pass: current, voltage, threshold, reset, spike.

Forward writes the spikes, and the integer state every 64 steps when a gradient is wanted; backward recomputes a tile
from the input and runs it in reverse.  With ``late``, spikes are written a step after they were sent, and their
gradient is read there.
"""

from __future__ import annotations

import numpy as np

from . import cuda_tiles
from .cpu import cpu_kernel, inlined, step
from .cuda import cuda, cuda_kernel
from .cuda_tiles import PITCH, TILE, WARP, fetch, put
from .fixed_point import DECAY_ONE, NEVER, decay_state, limit_state, to_fixed, to_keep
from .launch import Kernel
from .surrogate import bell
from .tiles import (
    LANES,
    LINES_SIZE,
    QUAD,
    STEPS,
    TILE_SIZE,
    line,
    next_tile,
    read_rows,
    read_shared,
    read_some,
    whole_group,
    whole_quads,
    write_rows,
    write_some,
)
from .vec import (
    absolute,
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

__all__ = ["backward", "checkpoints", "forward"]

_PER_DECAY = np.float32(1 / DECAY_ONE)


def checkpoints(rows: int, T: int, device: str = "cpu") -> int:
    """Number of int32 that :func:`forward` keeps for :func:`backward`: two a row for each tile but the first.

    Parameters
    ----------
    rows, T : int
        Size of the input.
    device : str
        Type of the device that both run on: ``"cuda"`` has tiles of 32 steps, every other one of 64.
    """
    steps = cuda_tiles.STEPS if device == "cuda" else STEPS
    return max(-(-T // steps) - 1, 0) * 2 * rows


@step
def forward_step(x, current, voltage, keep_c, keep_v, scale, level, zero):
    """One time step.  ``voltage`` is the one before the reset, in and out: the reset happens when it is next used."""
    left = select(voltage >= level, zero, decay_state(voltage, keep_v))
    current = limit_state(int32(decay_state(current, keep_c) + to_fixed(x, scale)))
    return current, limit_state(int32(left + current))


@step
def spike_value(voltage, level, on, unit, off):
    """What is sent: ``on + unit * voltage`` at or above the level, else nothing.

    A binary spike has ``on = 1, unit = 0``, a graded one ``on = 0, unit = 1 / scale``.
    """
    return select(voltage >= level, multiply_add(to_float(voltage), unit, on), off)


@step
def surrogate(voltage, level, slope, offset, height, graded, kind):
    """Derivative of the spike by the voltage: ``height`` times a bell over the distance to the threshold.

    A graded spike counts only the distance below.  ``slope`` is what :func:`.kinds.slope_of` says, ``offset`` the
    distance from the threshold to the firing level.
    """
    distance = multiply_add(voltage - level, slope, offset)
    if graded:
        zero = distance - distance
        distance = select(distance < zero, zero - distance, zero)
    return height * bell(absolute(distance), kind)


@step
def backward_step(
    g_spike, voltage, current, g_v, g_c, d_v, d_c, keep_v, keep_c, level, slope, offset, height, graded, kind
):
    """One step in reverse; ``voltage`` (before reset) and ``current`` as floats in integer units, keep in 0..1.

    ``g_v`` and ``g_c`` come in as gradients of the next step's states.  Those were made from this step's states, hence
    the decay sums ``d_v`` and ``d_c`` come first.  The voltage that was multiplied is 0 after a spike.  Rounding and
    reset carry no gradient.
    """
    d_v = select(voltage >= level, d_v, multiply_add(g_v, voltage, d_v))
    d_c = multiply_add(g_c, current, d_c)
    g_v = multiply_add(keep_v, g_v, g_spike * surrogate(voltage, level, slope, offset, height, graded, kind))
    g_c = multiply_add(keep_c, g_c, g_v)
    return g_v, g_c, d_v, d_c


@inlined
def _forward_lines(
    lines, steps, current, voltage, reset_at, before, late, kc, kv, scale, th, on, unit, off, zero, x, spikes, ahead,
    first, T,
):  # fmt: skip
    """``steps`` lines of input become spikes; asks for the same lines of the next tile."""
    for t in range(steps):
        prefetch(x, ahead + line(first + t, T), 0)
        prefetch(spikes, ahead + line(first + t, T), 1)
        current, voltage = forward_step(load(lines, t * LANES), current, voltage, kc, kv, scale, reset_at, zero)
        reset_at = th
        sent = spike_value(voltage, th, on, unit, off)
        store(lines, t * LANES, before if late else sent)
        before = sent
    return current, voltage, reset_at, before


@cpu_kernel
def _forward_cpu(
    x, spikes, kept, final_c, final_v, decay_c, decay_v, state_c, state_v, T, rows_all, scale, level, on, unit, late,
    lo, hi,
):  # fmt: skip
    """``kept``, the final and the initial states are left alone where they are empty.

    A decay is given for each row, or once for all of them.
    """
    lines = stack_array(LINES_SIZE, np.float32)
    ints, floats = stack_array(LANES, np.int32), stack_array(LANES, np.float32)
    zero, off = repeat(np.int32(0)), repeat(np.float32(0))
    th, never, on, unit = repeat(np.int32(level)), repeat(np.int32(NEVER)), repeat(on), repeat(unit)
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        kc = to_keep(read_shared(decay_c, row, rows, floats))
        kv = to_keep(read_shared(decay_v, row, rows, floats))
        current, voltage, reset_at, before = zero, zero, th, off
        if state_c.size > 0:
            current = to_fixed(read_rows(state_c, row, rows, floats), scale)
            voltage = to_fixed(read_rows(state_v, row, rows, floats), scale)
            reset_at = never  # an initial voltage comes after its reset
        for t0 in range(0, T, STEPS):
            steps = min(STEPS, T - t0)
            whole = whole_quads(rows, steps)
            if kept.size > 0 and t0 > 0:
                at = (t0 // STEPS - 1) * 2 * rows_all + row
                write_rows(kept, at, rows, ints, current)
                write_rows(kept, at + rows_all, rows, ints, voltage)
            ahead = next_tile(row, t0 + STEPS, 0, T, hi)
            for i in range(0, whole, QUAD):
                read_quad(x, row * T + t0 + i, T, lines)
                current, voltage, reset_at, before = _forward_lines(
                    lines, QUAD, current, voltage, reset_at, before, late, kc, kv, scale, th, on, unit, off, zero,
                    x, spikes, ahead, i, T,
                )  # fmt: skip
                write_quad(lines, spikes, row * T + t0 + i, T)
            for i in range(whole, steps, QUAD):
                n = min(QUAD, steps - i)
                read_some(lines, x, row, rows, t0 + i, n, T)
                current, voltage, reset_at, before = _forward_lines(
                    lines, n, current, voltage, reset_at, before, late, kc, kv, scale, th, on, unit, off, zero,
                    x, spikes, ahead, i, T,
                )  # fmt: skip
                write_some(lines, spikes, row, rows, t0 + i, n, T)
        if final_c.size > 0:
            per_unit = np.float32(1) / scale
            write_rows(final_c, row, rows, floats, to_float(current) * per_unit)
            write_rows(final_v, row, rows, floats, to_float(select(voltage >= reset_at, zero, voltage)) * per_unit)


@inlined
def _recompute_lines(
    lines, steps, current, voltage, reset_at, kc, kv, scale, th, zero, c_tile, v_tile, x, g_spikes, ahead, first, T
):
    """``steps`` lines of input become lines of the tiles of states."""
    for t in range(steps):
        prefetch(x, ahead + line(first + t, T), 0)
        prefetch(g_spikes, ahead + line(first + t, T), 0)
        current, voltage = forward_step(load(lines, t * LANES), current, voltage, kc, kv, scale, reset_at, zero)
        reset_at = th
        store(c_tile, (first + t) * LANES, to_float(current))
        store(v_tile, (first + t) * LANES, to_float(voltage))
    return current, voltage, reset_at


@inlined
def _reverse_lines(
    lines, steps, g_v, g_c, d_v, d_c, after, late, fv, fc, level, slope, offset, height, graded, kind, c_tile, v_tile,
    g_x, ahead, first, T,
):  # fmt: skip
    """``steps`` lines of the spikes' gradient become the input's, the last one first."""
    for t in range(steps - 1, -1, -1):
        prefetch(g_x, ahead + line(first + t, T), 1)
        at = (first + t) * LANES
        now = load(lines, t * LANES)
        g_v, g_c, d_v, d_c = backward_step(
            after if late else now, load(v_tile, at), load(c_tile, at), g_v, g_c, d_v, d_c, fv, fc, level, slope,
            offset, height, graded, kind,
        )  # fmt: skip
        after = now
        store(lines, t * LANES, g_c)
    return g_v, g_c, d_v, d_c, after


@cpu_kernel
def _backward_cpu(
    g_spikes, x, kept, g_x, g_decay_c, g_decay_v, decay_c, decay_v, state_c, state_v, T, rows_all, scale, level,
    slope, offset, height, graded, kind, late, lo, hi,
):  # fmt: skip
    """``g_x`` [rows, T], and a row's gradient of each decay: ``-sum(gradient * state that was multiplied) / 4096``."""
    lines = stack_array(LINES_SIZE, np.float32)
    c_tile, v_tile = stack_array(TILE_SIZE, np.float32), stack_array(TILE_SIZE, np.float32)
    ints, floats = stack_array(LANES, np.int32), stack_array(LANES, np.float32)
    zero, off, th, never = repeat(np.int32(0)), repeat(np.float32(0)), repeat(np.int32(level)), repeat(np.int32(NEVER))
    th_float = np.float32(level)
    per_decay = -_PER_DECAY / scale
    tiles = (T + STEPS - 1) // STEPS
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        kc = to_keep(read_shared(decay_c, row, rows, floats))
        kv = to_keep(read_shared(decay_v, row, rows, floats))
        fc, fv = to_float(kc) * _PER_DECAY, to_float(kv) * _PER_DECAY
        g_v, g_c, sum_v, sum_c, after = off, off, off, off, off
        for number in range(tiles - 1, -1, -1):
            t0 = number * STEPS
            steps = min(STEPS, T - t0)
            whole = whole_quads(rows, steps)
            current, voltage, reset_at = zero, zero, th
            if number > 0:
                at = (number - 1) * 2 * rows_all + row
                current = read_rows(kept, at, rows, ints)
                voltage = read_rows(kept, at + rows_all, rows, ints)
            elif state_c.size > 0:
                current = to_fixed(read_rows(state_c, row, rows, floats), scale)
                voltage = to_fixed(read_rows(state_v, row, rows, floats), scale)
                reset_at = never
            first_c, first_v = to_float(current), to_float(voltage)
            ahead = next_tile(row, t0 - STEPS, (tiles - 1) * STEPS, T, hi)
            for i in range(0, whole, QUAD):
                read_quad(x, row * T + t0 + i, T, lines)
                current, voltage, reset_at = _recompute_lines(
                    lines, QUAD, current, voltage, reset_at, kc, kv, scale, th, zero,
                    c_tile, v_tile, x, g_spikes, ahead, i, T,
                )  # fmt: skip
            for i in range(whole, steps, QUAD):
                n = min(QUAD, steps - i)
                read_some(lines, x, row, rows, t0 + i, n, T)
                current, voltage, reset_at = _recompute_lines(
                    lines, n, current, voltage, reset_at, kc, kv, scale, th, zero,
                    c_tile, v_tile, x, g_spikes, ahead, i, T,
                )  # fmt: skip
            d_v, d_c = off, off  # short sums: less rounding
            for i in range((steps - 1) // QUAD * QUAD, whole - 1, -QUAD):
                n = min(QUAD, steps - i)
                read_some(lines, g_spikes, row, rows, t0 + i, n, T)
                g_v, g_c, d_v, d_c, after = _reverse_lines(
                    lines, n, g_v, g_c, d_v, d_c, after, late, fv, fc, th_float, slope, offset, height, graded, kind,
                    c_tile, v_tile, g_x, ahead, i, T,
                )  # fmt: skip
                write_some(lines, g_x, row, rows, t0 + i, n, T)
            for i in range(whole - QUAD, -1, -QUAD):
                read_quad(g_spikes, row * T + t0 + i, T, lines)
                g_v, g_c, d_v, d_c, after = _reverse_lines(
                    lines, QUAD, g_v, g_c, d_v, d_c, after, late, fv, fc, th_float, slope, offset, height, graded, kind,
                    c_tile, v_tile, g_x, ahead, i, T,
                )  # fmt: skip
                write_quad(lines, g_x, row * T + t0 + i, T)
            if number == 0 and state_c.size > 0:
                d_v, d_c = multiply_add(g_v, first_v, d_v), multiply_add(g_c, first_c, d_c)
            sum_v, sum_c = sum_v + d_v, sum_c + d_c
        write_rows(g_decay_c, row, rows, floats, sum_c * per_decay)
        write_rows(g_decay_v, row, rows, floats, sum_v * per_decay)


@cuda_kernel
def _forward_cuda(
    x, spikes, kept, final_c, final_v, decay_c, decay_v, state_c, state_v, T, rows_all, scale, level, on, unit, late,
    rows,
):  # fmt: skip
    """As the CPU driver, for the 32 rows of this warp."""
    tile = cuda.shared.array(TILE, np.float32)
    ahead = cuda.local.array(WARP, np.float32)
    lane = np.int64(cuda.threadIdx.x)
    first = np.int64(cuda.blockIdx.x) * WARP
    if first >= rows:
        return
    row = min(first + lane, rows - 1)  # past the end: the last row once more, same values written twice
    kc = int32(to_keep(decay_c[min(row, decay_c.size - 1)]))
    kv = int32(to_keep(decay_v[min(row, decay_v.size - 1)]))
    zero, off, th = np.int32(0), np.float32(0), np.int32(level)
    current, voltage, reset_at, before = zero, zero, th, off
    if state_c.size > 0:
        current, voltage = to_fixed(state_c[row], scale), to_fixed(state_v[row], scale)
        reset_at = np.int32(NEVER)  # an initial voltage comes after its reset
    fetch(ahead, x, first, rows, 0, T, lane)
    for t0 in range(0, T, cuda_tiles.STEPS):
        put(tile, ahead, lane)
        cuda.syncthreads()
        fetch(ahead, x, first, rows, t0 + cuda_tiles.STEPS, T, lane)
        if kept.size > 0 and t0 > 0:
            at = (t0 // cuda_tiles.STEPS - 1) * 2 * rows + row
            kept[at] = current
            kept[at + rows] = voltage
        at = lane * PITCH
        end = at + min(cuda_tiles.STEPS, T - t0)
        while at < end:
            i = np.uint64(at)
            # int32: in the simulator a step returns Python's integers
            current, voltage = forward_step(tile[i], int32(current), int32(voltage), kc, kv, scale, reset_at, zero)
            reset_at = th
            sent = np.float32(spike_value(int32(voltage), th, on, unit, off))
            tile[i] = before if late else sent
            before = sent
            at += 1
        cuda.syncthreads()
        cuda_tiles.write_tile(tile, spikes, first, rows, t0, T, lane)
        cuda.syncthreads()
    if final_c.size > 0:
        per_unit = np.float32(1) / scale
        final_c[row] = to_float(int32(current)) * per_unit
        final_v[row] = to_float(int32(select(voltage >= reset_at, zero, voltage))) * per_unit


@cuda_kernel
def _backward_cuda(
    g_spikes, x, kept, g_x, g_decay_c, g_decay_v, decay_c, decay_v, state_c, state_v, T, rows_all, scale, level,
    slope, offset, height, graded, kind, late, rows,
):  # fmt: skip
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
    kc = int32(to_keep(decay_c[min(row, decay_c.size - 1)]))
    kv = int32(to_keep(decay_v[min(row, decay_v.size - 1)]))
    fc, fv = to_float(kc) * _PER_DECAY, to_float(kv) * _PER_DECAY
    zero, off, th = np.int32(0), np.float32(0), np.int32(level)
    th_float = np.float32(level)
    per_decay = -_PER_DECAY / scale
    g_v, g_c, sum_v, sum_c, after = off, off, off, off, off
    last = (T - 1) // cuda_tiles.STEPS * cuda_tiles.STEPS
    fetch(x_ahead, x, first, rows, last, T, lane)
    fetch(g_ahead, g_spikes, first, rows, last, T, lane)
    for t0 in range(last, -1, -cuda_tiles.STEPS):
        put(c_tile, x_ahead, lane)
        put(g_tile, g_ahead, lane)
        cuda.syncthreads()
        fetch(x_ahead, x, first, rows, t0 - cuda_tiles.STEPS, T, lane)
        fetch(g_ahead, g_spikes, first, rows, t0 - cuda_tiles.STEPS, T, lane)
        current, voltage, reset_at = zero, zero, th
        if t0 > 0:
            at = (t0 // cuda_tiles.STEPS - 1) * 2 * rows + row
            current, voltage = kept[at], kept[at + rows]
        elif state_c.size > 0:
            current, voltage = to_fixed(state_c[row], scale), to_fixed(state_v[row], scale)
            reset_at = np.int32(NEVER)
        first_c, first_v = to_float(int32(current)), to_float(int32(voltage))
        start = lane * PITCH
        at, end = start, start + min(cuda_tiles.STEPS, T - t0)
        while at < end:  # recompute
            i = np.uint64(at)
            current, voltage = forward_step(c_tile[i], int32(current), int32(voltage), kc, kv, scale, reset_at, zero)
            reset_at = th
            c_tile[i] = to_float(int32(current))
            v_tile[i] = to_float(int32(voltage))
            at += 1
        d_v, d_c = off, off
        while at > start:  # reverse
            at -= 1
            i = np.uint64(at)
            now = g_tile[i]
            g_v, g_c, d_v, d_c = backward_step(
                after if late else now, v_tile[i], c_tile[i], np.float32(g_v), np.float32(g_c), np.float32(d_v),
                np.float32(d_c), fv, fc, th_float, slope, offset, height, graded, kind,
            )  # fmt: skip
            after = now
            g_tile[i] = g_c
        if t0 == 0 and state_c.size > 0:
            d_v, d_c = multiply_add(g_v, first_v, d_v), multiply_add(g_c, first_c, d_c)
        sum_v, sum_c = np.float32(sum_v + d_v), np.float32(sum_c + d_c)
        cuda.syncthreads()
        cuda_tiles.write_tile(g_tile, g_x, first, rows, t0, T, lane)
        cuda.syncthreads()
    g_decay_c[row] = sum_c * per_decay
    g_decay_v[row] = sum_v * per_decay


forward = Kernel(_forward_cpu, _forward_cuda)
backward = Kernel(_backward_cpu, _backward_cuda)
