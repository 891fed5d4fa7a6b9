"""The sigma-delta neuron in one pass: running sum, bias, activation function, delta encoder.

Its steps are those of :mod:`lavadl_lite.kernels.sigma` and :mod:`lavadl_lite.kernels.delta`; the activation functions
are lines with limits.  Forward writes the messages, and the states every 64 steps when a gradient is wanted; backward
recomputes a tile from the input and runs it in reverse.
"""

from __future__ import annotations

import numpy as np

from . import cuda_tiles
from .cpu import cpu_kernel, inlined, step
from .cuda import cuda, cuda_kernel
from .cuda_tiles import PITCH, TILE, WARP, fetch, put
from .delta import difference_step, held_inside, threshold_slope
from .fixed_point import STATE_MAX
from .launch import Kernel
from .sigma import sum_step
from .tiles import (
    LANES,
    LINES_SIZE,
    QUAD,
    STEPS,
    TILE_SIZE,
    line,
    next_tile,
    read_rows,
    read_some,
    whole_group,
    whole_quads,
    write_rows,
    write_some,
)
from .vec import load, multiply_add, prefetch, read_quad, repeat, select, stack_array, store, to_single, write_quad

__all__ = ["backward", "borders", "forward"]

_ONE = np.float32(1.0)
_ZERO = np.float32(0.0)


def borders(T: int, device: str = "cpu") -> int:
    """Number of borders between tiles, for each of which :func:`forward` keeps a row's states for :func:`backward`.

    Parameters
    ----------
    T : int
        Steps of the input.
    device : str
        Type of the device that both run on: ``"cuda"`` has tiles of 32 steps, every other one of 64.
    """
    steps = cuda_tiles.STEPS if device == "cuda" else STEPS
    return max(-(-T // steps) - 1, 0)


@step
def activate(x, low, high, leak):
    """``x`` held inside ``low..high``, of which NaN is no limit; with a ``leak`` it is ``leak * x`` below ``low``."""
    y = select(x < low, x * leak if leak != _ZERO else low, x)
    return select(y > high, high, y)


@step
def activation_gradient(gradient, x, low, high, leak):
    """Gradient of :func:`activate` by ``x``: 0, or ``leak`` times, at a limit and beyond."""
    zero = gradient - gradient
    gradient = select(low >= x, gradient * leak if leak != _ZERO else zero, gradient)
    return select(x >= high, zero, gradient)


@inlined
def _forward_lines(
    lines, steps, total, last, residual, error, bias, low, high, leak, threshold, scale, per_unit, limit,
    cumulative, carry, x, y, ahead, first, T,
):  # fmt: skip
    """``steps`` lines of input become messages; asks for the same lines of the next tile."""
    for t in range(steps):
        prefetch(x, ahead + line(first + t, T), 0)
        prefetch(y, ahead + line(first + t, T), 1)
        total = sum_step(load(lines, t * LANES), total)
        message, _, last, residual, error = difference_step(
            activate(to_single(total) + bias, low, high, leak), last, residual, error, threshold, scale,
            per_unit, limit, cumulative, carry,
        )  # fmt: skip
        store(lines, t * LANES, message)
    return total, last, residual, error


@cpu_kernel
def _forward_cpu(
    x, y, kept_sums, kept, final_sum, final, bias, threshold, initial_sum, initial, T, rows_all, scale, low, high, leak,
    cumulative, carry, lo, hi,
):  # fmt: skip
    """``kept_sums`` [borders, rows], float64, and ``kept`` [borders, 1 or 2, rows]: residual, cumulative error.

    ``initial`` and ``final`` hold the encoder's three states, [3, rows].  ``kept``, ``bias``, the initial and the final
    states may be empty, each with its sums.
    """
    lines, floats = stack_array(LINES_SIZE, np.float32), stack_array(LANES, np.float32)
    doubles = stack_array(LANES, np.float64)
    off, low, high = repeat(_ZERO), repeat(low), repeat(high)
    planes = 2 if cumulative else 1
    per_unit = _ONE / scale
    limit = np.float32(STATE_MAX) * per_unit
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        level = read_rows(threshold, row, rows, floats)
        offset, total, last, residual, error = off, repeat(np.float64(0)), off, off, off
        if bias.size > 0:
            offset = read_rows(bias, row, rows, floats)
        if initial.size > 0:
            total = read_rows(initial_sum, row, rows, doubles)
            last = read_rows(initial, row, rows, floats)
            residual = read_rows(initial, row + rows_all, rows, floats)
            error = read_rows(initial, row + 2 * rows_all, rows, floats)
        for t0 in range(0, T, STEPS):
            steps = min(STEPS, T - t0)
            whole = whole_quads(rows, steps)
            if kept.size > 0 and t0 > 0:
                number = t0 // STEPS - 1
                write_rows(kept_sums, number * rows_all + row, rows, doubles, total)
                write_rows(kept, number * planes * rows_all + row, rows, floats, residual)
                if cumulative:
                    write_rows(kept, (number * planes + 1) * rows_all + row, rows, floats, error)
            ahead = next_tile(row, t0 + STEPS, 0, T, hi)
            for i in range(0, whole, QUAD):
                read_quad(x, row * T + t0 + i, T, lines)
                total, last, residual, error = _forward_lines(
                    lines, QUAD, total, last, residual, error, offset, low, high, leak, level, scale, per_unit, limit,
                    cumulative, carry, x, y, ahead, i, T,
                )  # fmt: skip
                write_quad(lines, y, row * T + t0 + i, T)
            for i in range(whole, steps, QUAD):
                n = min(QUAD, steps - i)
                read_some(lines, x, row, rows, t0 + i, n, T)
                total, last, residual, error = _forward_lines(
                    lines, n, total, last, residual, error, offset, low, high, leak, level, scale, per_unit,
                    limit, cumulative, carry, x, y, ahead, i, T,
                )  # fmt: skip
                write_some(lines, y, row, rows, t0 + i, n, T)
        if final.size > 0:
            write_rows(final_sum, row, rows, doubles, total)
            write_rows(final, row, rows, floats, last)
            write_rows(final, row + rows_all, rows, floats, residual)
            write_rows(final, row + 2 * rows_all, rows, floats, error)


@inlined
def _recompute_lines(
    lines, steps, total, last, residual, error, bias, low, high, leak, threshold, scale, per_unit, limit,
    cumulative, carry, learning, s_tile, d_tile, x, g_y, ahead, first, T,
):  # fmt: skip
    """``steps`` lines of input become lines of what was activated and, to learn the threshold, of the differences."""
    for t in range(steps):
        prefetch(x, ahead + line(first + t, T), 0)
        prefetch(g_y, ahead + line(first + t, T), 0)
        total = sum_step(load(lines, t * LANES), total)
        s = to_single(total) + bias
        store(s_tile, (first + t) * LANES, s)
        if learning:
            _, difference, last, residual, error = difference_step(
                activate(s, low, high, leak), last, residual, error, threshold, scale, per_unit, limit,
                cumulative, carry,
            )  # fmt: skip
            store(d_tile, (first + t) * LANES, difference)
    return total, last, residual, error


@inlined
def _reverse_lines(
    lines, steps, after, total, d, low, high, leak, threshold, slope, height, learning, s_tile, d_tile, g_x,
    ahead, first, T,
):  # fmt: skip
    """``steps`` lines of the messages' gradient become the input's, the last one first."""
    for t in range(steps - 1, -1, -1):
        prefetch(g_x, ahead + line(first + t, T), 1)
        at = (first + t) * LANES
        g = load(lines, t * LANES)
        if learning:
            d = multiply_add(g, threshold_slope(load(d_tile, at), threshold, slope, height), d)
        total = sum_step(activation_gradient(g - after, load(s_tile, at), low, high, leak), total)
        after = g
        store(lines, t * LANES, to_single(total))
    return after, total, d


@cpu_kernel
def _backward_cpu(
    g_y, x, kept_sums, kept, g_x, g_bias, g_threshold, bias, threshold, initial_sum, initial, T, rows_all, scale, low,
    high, leak, cumulative, carry, slope, height, lo, hi,
):  # fmt: skip
    """``g_x`` [rows, T], and a row's gradients of the bias and of the threshold, each of which may be empty."""
    lines, floats = stack_array(LINES_SIZE, np.float32), stack_array(LANES, np.float32)
    s_tile, d_tile = stack_array(TILE_SIZE, np.float32), stack_array(TILE_SIZE, np.float32)
    doubles = stack_array(LANES, np.float64)
    off, low, high = repeat(_ZERO), repeat(low), repeat(high)
    planes = 2 if cumulative else 1
    per_unit = _ONE / scale
    limit = np.float32(STATE_MAX) * per_unit
    learning = g_threshold.size > 0
    tiles = (T + STEPS - 1) // STEPS
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        level = read_rows(threshold, row, rows, floats)
        heights = repeat(height) / level
        offset = off
        if bias.size > 0:
            offset = read_rows(bias, row, rows, floats)
        after, g_total, sum_threshold = off, repeat(np.float64(0)), off
        for number in range(tiles - 1, -1, -1):
            t0 = number * STEPS
            steps = min(STEPS, T - t0)
            whole = whole_quads(rows, steps)
            total, last, residual, error = repeat(np.float64(0)), off, off, off
            if number > 0:
                total = read_rows(kept_sums, (number - 1) * rows_all + row, rows, doubles)
                last = held_inside(activate(to_single(total) + offset, low, high, leak), limit)
                residual = read_rows(kept, (number - 1) * planes * rows_all + row, rows, floats)
                if cumulative:
                    error = read_rows(kept, ((number - 1) * planes + 1) * rows_all + row, rows, floats)
            elif initial.size > 0:
                total = read_rows(initial_sum, row, rows, doubles)
                last = read_rows(initial, row, rows, floats)
                residual = read_rows(initial, row + rows_all, rows, floats)
                error = read_rows(initial, row + 2 * rows_all, rows, floats)
            ahead = next_tile(row, t0 - STEPS, (tiles - 1) * STEPS, T, hi)
            for i in range(0, whole, QUAD):
                read_quad(x, row * T + t0 + i, T, lines)
                total, last, residual, error = _recompute_lines(
                    lines, QUAD, total, last, residual, error, offset, low, high, leak, level, scale, per_unit,
                    limit, cumulative, carry, learning, s_tile, d_tile, x, g_y, ahead, i, T,
                )  # fmt: skip
            for i in range(whole, steps, QUAD):
                n = min(QUAD, steps - i)
                read_some(lines, x, row, rows, t0 + i, n, T)
                total, last, residual, error = _recompute_lines(
                    lines, n, total, last, residual, error, offset, low, high, leak, level, scale, per_unit,
                    limit, cumulative, carry, learning, s_tile, d_tile, x, g_y, ahead, i, T,
                )  # fmt: skip
            d = off  # short sums: less rounding
            for i in range((steps - 1) // QUAD * QUAD, whole - 1, -QUAD):
                n = min(QUAD, steps - i)
                read_some(lines, g_y, row, rows, t0 + i, n, T)
                after, g_total, d = _reverse_lines(
                    lines, n, after, g_total, d, low, high, leak, level, slope, heights, learning,
                    s_tile, d_tile, g_x, ahead, i, T,
                )  # fmt: skip
                write_some(lines, g_x, row, rows, t0 + i, n, T)
            for i in range(whole - QUAD, -1, -QUAD):
                read_quad(g_y, row * T + t0 + i, T, lines)
                after, g_total, d = _reverse_lines(
                    lines, QUAD, after, g_total, d, low, high, leak, level, slope, heights, learning,
                    s_tile, d_tile, g_x, ahead, i, T,
                )  # fmt: skip
                write_quad(lines, g_x, row * T + t0 + i, T)
            sum_threshold = sum_threshold + d
        if learning:
            write_rows(g_threshold, row, rows, floats, sum_threshold)
        if g_bias.size > 0:  # at each step it is what the input is at the first
            write_rows(g_bias, row, rows, floats, to_single(g_total))


@cuda_kernel
def _forward_cuda(
    x, y, kept_sums, kept, final_sum, final, bias, threshold, initial_sum, initial, T, rows_all, scale, low, high, leak,
    cumulative, carry, rows,
):  # fmt: skip
    """As the CPU driver, for the 32 rows of this warp."""
    tile = cuda.shared.array(TILE, np.float32)
    ahead = cuda.local.array(WARP, np.float32)
    lane = np.int64(cuda.threadIdx.x)
    first = np.int64(cuda.blockIdx.x) * WARP
    if first >= rows:
        return
    row = min(first + lane, rows - 1)  # past the end: the last row once more, same values written twice
    level, off = threshold[row], np.float32(0)
    planes = 2 if cumulative else 1
    per_unit = np.float32(1) / scale
    limit = np.float32(STATE_MAX) * per_unit
    total, last, residual, error = np.float64(0), off, off, off
    offset = bias[row] if bias.size > 0 else off
    if initial.size > 0:
        total = initial_sum[row]
        last, residual, error = initial[row], initial[row + rows], initial[row + 2 * rows]
    fetch(ahead, x, first, rows, 0, T, lane)
    for t0 in range(0, T, cuda_tiles.STEPS):
        put(tile, ahead, lane)
        cuda.syncthreads()
        fetch(ahead, x, first, rows, t0 + cuda_tiles.STEPS, T, lane)
        if kept.size > 0 and t0 > 0:
            number = t0 // cuda_tiles.STEPS - 1
            kept_sums[number * rows + row] = total
            kept[number * planes * rows + row] = residual
            if cumulative:
                kept[(number * planes + 1) * rows + row] = error
        at = lane * PITCH
        end = at + min(cuda_tiles.STEPS, T - t0)
        while at < end:
            i = np.uint64(at)
            total = sum_step(tile[i], total)
            # float32: in the simulator a step returns Python's floats
            message, _, last, residual, error = difference_step(
                np.float32(activate(to_single(total) + offset, low, high, leak)), np.float32(last),
                np.float32(residual), np.float32(error), level, scale, per_unit, limit, cumulative, carry,
            )  # fmt: skip
            tile[i] = message
            at += 1
        cuda.syncthreads()
        cuda_tiles.write_tile(tile, y, first, rows, t0, T, lane)
        cuda.syncthreads()
    if final.size > 0:
        final_sum[row] = total
        final[row], final[row + rows], final[row + 2 * rows] = last, residual, error


@cuda_kernel
def _backward_cuda(
    g_y, x, kept_sums, kept, g_x, g_bias, g_threshold, bias, threshold, initial_sum, initial, T, rows_all, scale, low,
    high, leak, cumulative, carry, slope, height, rows,
):  # fmt: skip
    """As the CPU driver, for the 32 rows of this warp."""
    s_tile = cuda.shared.array(TILE, np.float32)
    d_tile = cuda.shared.array(TILE, np.float32)
    g_tile = cuda.shared.array(TILE, np.float32)
    x_ahead = cuda.local.array(WARP, np.float32)
    g_ahead = cuda.local.array(WARP, np.float32)
    lane = np.int64(cuda.threadIdx.x)
    first = np.int64(cuda.blockIdx.x) * WARP
    if first >= rows:
        return
    row = min(first + lane, rows - 1)
    level, off = threshold[row], np.float32(0)
    above = np.float32(height / level)
    planes = 2 if cumulative else 1
    per_unit = np.float32(1) / scale
    limit = np.float32(STATE_MAX) * per_unit
    learning = g_threshold.size > 0
    offset = bias[row] if bias.size > 0 else off
    after, g_total, sum_threshold = off, np.float64(0), off
    final = (T - 1) // cuda_tiles.STEPS * cuda_tiles.STEPS
    fetch(x_ahead, x, first, rows, final, T, lane)
    fetch(g_ahead, g_y, first, rows, final, T, lane)
    for t0 in range(final, -1, -cuda_tiles.STEPS):
        put(s_tile, x_ahead, lane)
        put(g_tile, g_ahead, lane)
        cuda.syncthreads()
        fetch(x_ahead, x, first, rows, t0 - cuda_tiles.STEPS, T, lane)
        fetch(g_ahead, g_y, first, rows, t0 - cuda_tiles.STEPS, T, lane)
        total, last, residual, error = np.float64(0), off, off, off
        if t0 > 0:
            number = t0 // cuda_tiles.STEPS - 1
            total = kept_sums[number * rows + row]
            s = np.float32(to_single(total) + offset)
            last = np.float32(held_inside(np.float32(activate(s, low, high, leak)), limit))
            residual = kept[number * planes * rows + row]
            if cumulative:
                error = kept[(number * planes + 1) * rows + row]
        elif initial.size > 0:
            total = initial_sum[row]
            last, residual, error = initial[row], initial[row + rows], initial[row + 2 * rows]
        start = lane * PITCH
        at, end = start, start + min(cuda_tiles.STEPS, T - t0)
        while at < end:  # recompute
            i = np.uint64(at)
            total = sum_step(s_tile[i], total)
            s = np.float32(to_single(total) + offset)
            s_tile[i] = s
            if learning:
                _, difference, last, residual, error = difference_step(
                    np.float32(activate(s, low, high, leak)), np.float32(last), np.float32(residual),
                    np.float32(error), level, scale, per_unit, limit, cumulative, carry,
                )  # fmt: skip
                d_tile[i] = difference
            at += 1
        d = off
        while at > start:  # reverse
            at -= 1
            i = np.uint64(at)
            g = g_tile[i]
            if learning:
                slopes = threshold_slope(d_tile[i], level, slope, above)
                d = np.float32(multiply_add(g, np.float32(slopes), d))
            passed = activation_gradient(np.float32(g - after), s_tile[i], low, high, leak)
            g_total = sum_step(np.float32(passed), g_total)
            after = g
            g_tile[i] = to_single(g_total)
        sum_threshold = np.float32(sum_threshold + d)
        cuda.syncthreads()
        cuda_tiles.write_tile(g_tile, g_x, first, rows, t0, T, lane)
        cuda.syncthreads()
    if learning:
        g_threshold[row] = sum_threshold
    if g_bias.size > 0:
        g_bias[row] = to_single(g_total)


forward = Kernel(_forward_cpu, _forward_cuda)
backward = Kernel(_backward_cpu, _backward_cuda)
