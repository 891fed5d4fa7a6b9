"""The delta encoder: sends by how much its input has changed since it last sent, once that reaches a threshold.

Floating point until the message, which is rounded down to a multiple of ``1 / scale``.  Backward keeps nothing but the
input: its gradient needs no state, and what was differenced is computed once more along the way.
"""

from __future__ import annotations

import numpy as np

from . import cuda_tiles
from .cpu import cpu_kernel, inlined, step
from .cuda import cuda, cuda_kernel
from .cuda_tiles import PITCH, TILE, WARP, fetch, put
from .fixed_point import STATE_MAX, exp2_minus
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
    absolute,
    load,
    multiply_add,
    prefetch,
    read_quad,
    repeat,
    select,
    stack_array,
    store,
    to_float,
    to_int,
    write_quad,
)

__all__ = ["STATES", "backward", "forward"]

STATES = 3  # what goes on from chunk to chunk: the last input, the residual and the cumulative error

_ONE = np.float32(1.0)
_ZERO = np.float32(0.0)
_WHOLE = np.float32(1 << 23)  # from here on every float32 is a whole number


@step
def round_down(x):
    """The largest whole number that is not above ``x``; what is not finite stays."""
    small = absolute(x) < _WHOLE
    whole = to_float(to_int(select(small, x, _ZERO)))
    return select(small, select(x < whole, whole - _ONE, whole), x)


@step
def held_inside(x, limit):
    """``x`` inside ``+-limit``; NaN counts as the lower end."""
    x = select(x > -limit, x, -limit)
    return select(x < limit, x, limit)


@step
def difference_step(x, last, residual, error, threshold, scale, per_unit, limit, cumulative, carry):
    """One time step: what is sent, the difference it was made from, and the three states after it.

    The input is held inside ``+-limit``.  With ``cumulative`` the sum of differences since
    the last message is compared, else the difference.  With ``carry`` the residual is the difference less the message,
    else less what the message was before it was rounded.
    """
    x = held_inside(x, limit)
    difference = (x - last) + residual
    compared = difference
    if cumulative:
        error = error + difference
        compared = error
    sent = select(absolute(compared) >= threshold, difference, _ZERO)
    message = round_down(sent * scale) * per_unit
    if cumulative:
        error = select(absolute(sent) > _ZERO, _ZERO, error)
    residual = difference - (message if carry else sent)
    return message, difference, x, residual, error


@step
def threshold_slope(difference, threshold, slope, height):
    """Surrogate derivative of the message by the threshold.

    ``height`` is that of the derivative over the threshold, ``slope`` log2(e) over its width.
    """
    over = absolute(difference) - threshold
    zero = difference - difference
    sign = select(difference > zero, zero + _ONE, select(difference < zero, zero - _ONE, zero))
    above = difference * height * exp2_minus(select(over > zero, over, zero) * slope)
    return zero - select(over > zero, above, sign)


@inlined
def _forward_lines(
    lines, steps, last, residual, error, threshold, scale, per_unit, limit, cumulative, carry, x, y, ahead, first, T
):
    """``steps`` lines of input become messages; asks for the same lines of the next tile."""
    for t in range(steps):
        prefetch(x, ahead + line(first + t, T), 0)
        prefetch(y, ahead + line(first + t, T), 1)
        message, _, last, residual, error = difference_step(
            load(lines, t * LANES), last, residual, error, threshold, scale, per_unit, limit, cumulative, carry
        )
        store(lines, t * LANES, message)
    return last, residual, error


@cpu_kernel
def _forward_cpu(x, y, final, initial, threshold, T, rows_all, scale, cumulative, carry, lo, hi):
    """``initial`` and ``final`` hold the three states of every row, [3, rows], or are empty."""
    lines, floats = stack_array(LINES_SIZE, np.float32), stack_array(LANES, np.float32)
    off = repeat(_ZERO)
    per_unit = _ONE / scale
    limit = np.float32(STATE_MAX) * per_unit
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        level = read_rows(threshold, row, rows, floats)
        last, residual, error = off, off, off
        if initial.size > 0:
            last = read_rows(initial, row, rows, floats)
            residual = read_rows(initial, row + rows_all, rows, floats)
            error = read_rows(initial, row + 2 * rows_all, rows, floats)
        for t0 in range(0, T, STEPS):
            steps = min(STEPS, T - t0)
            whole = whole_quads(rows, steps)
            ahead = next_tile(row, t0 + STEPS, 0, T, hi)
            for i in range(0, whole, QUAD):
                read_quad(x, row * T + t0 + i, T, lines)
                last, residual, error = _forward_lines(
                    lines, QUAD, last, residual, error, level, scale, per_unit, limit, cumulative, carry,
                    x, y, ahead, i, T,
                )  # fmt: skip
                write_quad(lines, y, row * T + t0 + i, T)
            for i in range(whole, steps, QUAD):
                n = min(QUAD, steps - i)
                read_some(lines, x, row, rows, t0 + i, n, T)
                last, residual, error = _forward_lines(
                    lines, n, last, residual, error, level, scale, per_unit, limit, cumulative, carry,
                    x, y, ahead, i, T,
                )  # fmt: skip
                write_some(lines, y, row, rows, t0 + i, n, T)
        if final.size > 0:
            write_rows(final, row, rows, floats, last)
            write_rows(final, row + rows_all, rows, floats, residual)
            write_rows(final, row + 2 * rows_all, rows, floats, error)


@step
def _line_at(x, row, rows, t, T, buffer):
    """``x[row : row + rows, t]`` as a Vec; zeros past the end."""
    for k in range(LANES):
        buffer[k] = x[(row + k) * T + t] if k < rows and t < T else _ZERO
    return load(buffer, 0)


@inlined
def _slope_lines(
    lines, g_lines, steps, d, last, residual, error, threshold, scale, per_unit, limit, cumulative, carry,
    slope, height,
):  # fmt: skip
    """Adds to ``d`` what ``steps`` lines of input and of the messages' gradient give for the threshold's."""
    for t in range(steps):
        _, difference, last, residual, error = difference_step(
            load(lines, t * LANES), last, residual, error, threshold, scale, per_unit, limit, cumulative, carry
        )
        d = multiply_add(load(g_lines, t * LANES), threshold_slope(difference, threshold, slope, height), d)
    return d, last, residual, error


@inlined
def _prefetch_lines(x, g_y, g_x, ahead, first, T, learning):
    for t in range(QUAD):
        if learning:
            prefetch(x, ahead + line(first + t, T), 0)
        prefetch(g_y, ahead + line(first + t, T), 0)
        prefetch(g_x, ahead + line(first + t, T), 1)


@cpu_kernel
def _backward_cpu(
    g_y, x, g_x, g_threshold, initial, threshold, T, rows_all, scale, cumulative, carry, slope, height, lo, hi
):
    """``g_x[r, t] = g_y[r, t] - g_y[r, t + 1]``, and a row's gradient of the threshold.

    ``g_threshold``, and with it ``x``, may be empty: not wanted.
    """
    lines, g_lines = stack_array(LINES_SIZE, np.float32), stack_array(LINES_SIZE, np.float32)
    out, floats = stack_array(LINES_SIZE, np.float32), stack_array(LANES, np.float32)
    off = repeat(_ZERO)
    per_unit = _ONE / scale
    limit = np.float32(STATE_MAX) * per_unit
    learning = g_threshold.size > 0
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        level, heights, last, residual, error, total = off, off, off, off, off, off
        if learning:
            level = read_rows(threshold, row, rows, floats)
            store(floats, 0, level)
            for k in range(LANES):
                floats[k] = height / floats[k]
            heights = load(floats, 0)
            if initial.size > 0:
                last = read_rows(initial, row, rows, floats)
                residual = read_rows(initial, row + rows_all, rows, floats)
                error = read_rows(initial, row + 2 * rows_all, rows, floats)
        all_whole = whole_quads(rows, T)
        g_last = off  # gradient at the last step of the quad before, whose difference waits for the next step's
        for t0 in range(0, T, STEPS):
            steps = min(STEPS, T - t0)
            whole = whole_quads(rows, steps)
            ahead = next_tile(row, t0 + STEPS, 0, T, hi)
            d = off  # short sums: less rounding
            for i in range(0, whole, QUAD):
                _prefetch_lines(x, g_y, g_x, ahead, i, T, learning)
                read_quad(g_y, row * T + t0 + i, T, g_lines)
                if learning:
                    read_quad(x, row * T + t0 + i, T, lines)
                    d, last, residual, error = _slope_lines(
                        lines, g_lines, QUAD, d, last, residual, error, level, scale, per_unit, limit,
                        cumulative, carry, slope, heights,
                    )  # fmt: skip
                g = load(g_lines, 0)
                if t0 + i > 0:
                    store(out, (QUAD - 1) * LANES, g_last - g)
                    write_quad(out, g_x, row * T + t0 + i - QUAD, T)
                for t in range(1, QUAD):
                    g_last, g = g, load(g_lines, t * LANES)
                    store(out, (t - 1) * LANES, g_last - g)
                g_last = g
            end = t0 + whole
            if whole > 0 and end == all_whole:  # no other quad comes to end this one
                store(out, (QUAD - 1) * LANES, g_last - _line_at(g_y, row, rows, end, T, floats))
                write_quad(out, g_x, row * T + end - QUAD, T)
            for i in range(whole, steps, QUAD):
                n = min(QUAD, steps - i)
                read_some(g_lines, g_y, row, rows, t0 + i, n, T)
                if learning:
                    read_some(lines, x, row, rows, t0 + i, n, T)
                    d, last, residual, error = _slope_lines(
                        lines, g_lines, n, d, last, residual, error, level, scale, per_unit, limit,
                        cumulative, carry, slope, heights,
                    )  # fmt: skip
                g = _line_at(g_y, row, rows, t0 + i + n, T, floats)
                for t in range(n - 1, -1, -1):
                    here = load(g_lines, t * LANES)
                    store(g_lines, t * LANES, here - g)
                    g = here
                write_some(g_lines, g_x, row, rows, t0 + i, n, T)
            total = total + d
        if learning:
            write_rows(g_threshold, row, rows, floats, total)


@cuda_kernel
def _forward_cuda(x, y, final, initial, threshold, T, rows_all, scale, cumulative, carry, rows):
    """As the CPU driver, for the 32 rows of this warp."""
    tile = cuda.shared.array(TILE, np.float32)
    ahead = cuda.local.array(WARP, np.float32)
    lane = np.int64(cuda.threadIdx.x)
    first = np.int64(cuda.blockIdx.x) * WARP
    if first >= rows:
        return
    row = min(first + lane, rows - 1)  # past the end: the last row once more, same values written twice
    level, off = threshold[row], np.float32(0)
    per_unit = np.float32(1) / scale
    limit = np.float32(STATE_MAX) * per_unit
    last, residual, error = off, off, off
    if initial.size > 0:
        last, residual, error = initial[row], initial[row + rows], initial[row + 2 * rows]
    fetch(ahead, x, first, rows, 0, T, lane)
    for t0 in range(0, T, cuda_tiles.STEPS):
        put(tile, ahead, lane)
        cuda.syncthreads()
        fetch(ahead, x, first, rows, t0 + cuda_tiles.STEPS, T, lane)
        at = lane * PITCH
        end = at + min(cuda_tiles.STEPS, T - t0)
        while at < end:
            i = np.uint64(at)
            # float32: in the simulator a step returns Python's floats
            message, _, last, residual, error = difference_step(
                tile[i], np.float32(last), np.float32(residual), np.float32(error), level, scale, per_unit, limit,
                cumulative, carry,
            )  # fmt: skip
            tile[i] = message
            at += 1
        cuda.syncthreads()
        cuda_tiles.write_tile(tile, y, first, rows, t0, T, lane)
        cuda.syncthreads()
    if final.size > 0:
        final[row], final[row + rows], final[row + 2 * rows] = last, residual, error


@cuda_kernel
def _backward_cuda(
    g_y, x, g_x, g_threshold, initial, threshold, T, rows_all, scale, cumulative, carry, slope, height, rows
):
    """As the CPU driver, for the 32 rows of this warp."""
    x_tile = cuda.shared.array(TILE, np.float32)
    g_tile = cuda.shared.array(TILE, np.float32)
    x_ahead = cuda.local.array(WARP, np.float32)
    g_ahead = cuda.local.array(WARP, np.float32)
    lane = np.int64(cuda.threadIdx.x)
    first = np.int64(cuda.blockIdx.x) * WARP
    if first >= rows:
        return
    row = min(first + lane, rows - 1)
    off, per_unit = np.float32(0), np.float32(1) / scale
    limit = np.float32(STATE_MAX) * per_unit
    level, above, last, residual, error, total = off, off, off, off, off, off
    learning = g_threshold.size > 0
    if learning:
        level = threshold[row]
        above = np.float32(height / level)
        if initial.size > 0:
            last, residual, error = initial[row], initial[row + rows], initial[row + 2 * rows]
    fetch(g_ahead, g_y, first, rows, 0, T, lane)
    for t0 in range(0, T, cuda_tiles.STEPS):
        put(g_tile, g_ahead, lane)
        if learning:
            fetch(x_ahead, x, first, rows, t0, T, lane)
            put(x_tile, x_ahead, lane)
        cuda.syncthreads()
        fetch(g_ahead, g_y, first, rows, t0 + cuda_tiles.STEPS, T, lane)
        at = lane * PITCH
        steps = min(cuda_tiles.STEPS, T - t0)
        end = at + steps
        if learning:
            d = off
            while at < end:
                i = np.uint64(at)
                _, difference, last, residual, error = difference_step(
                    x_tile[i], np.float32(last), np.float32(residual), np.float32(error), level, scale, per_unit, limit,
                    cumulative, carry,
                )  # fmt: skip
                slopes = threshold_slope(np.float32(difference), level, slope, above)
                d = np.float32(multiply_add(g_tile[i], np.float32(slopes), d))
                at += 1
            total = np.float32(total + d)
        after = off
        if t0 + steps < T:
            after = g_y[np.uint64(row * T + t0 + steps)]
        at = end
        while at > lane * PITCH:
            at -= 1
            i = np.uint64(at)
            here = g_tile[i]
            g_tile[i] = here - after
            after = here
        cuda.syncthreads()
        cuda_tiles.write_tile(g_tile, g_x, first, rows, t0, T, lane)
        cuda.syncthreads()
    if learning:
        g_threshold[row] = total


forward = Kernel(_forward_cpu, _forward_cuda)
backward = Kernel(_backward_cpu, _backward_cuda)
