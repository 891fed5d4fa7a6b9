"""The adaptive threshold: each spike raises it and starts a refractory time, both of which decay.

Forward only, for neither output has a gradient.  Where there is a second input, a spike needs it to rise through zero.
"""

from __future__ import annotations

import numpy as np

from . import cuda_tiles
from .cpu import cpu_kernel, inlined, step
from .cuda import cuda, cuda_kernel
from .cuda_tiles import PITCH, TILE, WARP, fetch, put
from .fixed_point import NEVER, decay_state, limit_state, to_fixed, to_keep
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
    write_some,
)
from .vec import int32, load, prefetch, read_quad, repeat, select, stack_array, store, to_float, write_quad

__all__ = ["forward"]


@step
def adapt(threshold, refractory, keep_th, keep_r, base):
    """Threshold and refractory state of this step from those that the last step's spike left behind.

    The threshold decays toward ``base``; rounding toward zero keeps it between the two, so it needs no limit.
    """
    return int32(decay_state(int32(threshold - base), keep_th) + base), decay_state(refractory, keep_r)


@step
def raise_where(fired, threshold, refractory, rise):
    """What a spike leaves behind: the threshold higher by ``rise``, the refractory state by twice the threshold.

    The sums wait for no comparison, which shortens the way from one step to the next.
    """
    higher = limit_state(int32(threshold + rise))
    longer = limit_state(int32(refractory + int32(threshold + threshold)))
    return select(fired, higher, threshold), select(fired, longer, refractory)


@step
def crossing_level(level, im, im_before, never, zero):
    """``level`` where ``im`` has just left the negative numbers, else ``never``."""
    return select(im >= zero, select(im_before < zero, level, never), never)


@inlined
def _forward_lines(
    lines, im_lines, r_lines, steps, threshold, refractory, im_before, k_th, k_r, scale, base, rise, never, zero, phase,
    per_unit, voltage, im, thresholds, refractories, ahead, first, T,
):  # fmt: skip
    """``steps`` lines of voltage become thresholds; asks for the same lines of the next tile."""
    for t in range(steps):
        prefetch(voltage, ahead + line(first + t, T), 0)
        prefetch(thresholds, ahead + line(first + t, T), 1)
        prefetch(refractories, ahead + line(first + t, T), 1)
        threshold, refractory = adapt(threshold, refractory, k_th, k_r, base)
        v = to_fixed(load(lines, t * LANES), scale)
        store(lines, t * LANES, to_float(threshold) * per_unit)
        store(r_lines, t * LANES, to_float(refractory) * per_unit)
        level = int32(threshold + refractory)
        if phase:
            prefetch(im, ahead + line(first + t, T), 0)
            im_now = to_fixed(load(im_lines, t * LANES), scale)
            level = crossing_level(level, im_now, im_before, never, zero)
            im_before = im_now
        threshold, refractory = raise_where(v >= level, threshold, refractory, rise)
    return threshold, refractory, im_before


@cpu_kernel
def _forward_cpu(
    voltage, im, thresholds, refractories, decay_th, decay_r, state_th, state_r, state_im, T, scale, base, rise, lo, hi
):
    """``thresholds`` and ``refractories`` come before the step's spike; without a second input ``im`` is empty.

    ``state_im``, the value of ``im`` before the first step, is then left alone.
    """
    lines, im_lines = stack_array(LINES_SIZE, np.float32), stack_array(LINES_SIZE, np.float32)
    r_lines = stack_array(LINES_SIZE, np.float32)
    floats = stack_array(LANES, np.float32)
    zero, never = repeat(np.int32(0)), repeat(np.int32(NEVER))
    th0, higher = repeat(np.int32(base)), repeat(np.int32(rise))
    per_unit = np.float32(1) / scale
    phase = im.size > 0
    for group in range(lo, hi, LANES):
        row, rows = whole_group(group, lo, hi)
        k_th = to_keep(read_rows(decay_th, row, rows, floats))
        k_r = to_keep(read_rows(decay_r, row, rows, floats))
        threshold = to_fixed(read_rows(state_th, row, rows, floats), scale)
        refractory = to_fixed(read_rows(state_r, row, rows, floats), scale)
        im_before = zero
        if phase:
            im_before = to_fixed(read_rows(state_im, row, rows, floats), scale)
        for t0 in range(0, T, STEPS):
            steps = min(STEPS, T - t0)
            whole = whole_quads(rows, steps)
            ahead = next_tile(row, t0 + STEPS, 0, T, hi)
            for i in range(0, whole, QUAD):
                read_quad(voltage, row * T + t0 + i, T, lines)
                if phase:
                    read_quad(im, row * T + t0 + i, T, im_lines)
                threshold, refractory, im_before = _forward_lines(
                    lines, im_lines, r_lines, QUAD, threshold, refractory, im_before, k_th, k_r, scale, th0, higher,
                    never, zero, phase, per_unit, voltage, im, thresholds, refractories, ahead, i, T,
                )  # fmt: skip
                write_quad(lines, thresholds, row * T + t0 + i, T)
                write_quad(r_lines, refractories, row * T + t0 + i, T)
            for i in range(whole, steps, QUAD):
                n = min(QUAD, steps - i)
                read_some(lines, voltage, row, rows, t0 + i, n, T)
                if phase:
                    read_some(im_lines, im, row, rows, t0 + i, n, T)
                threshold, refractory, im_before = _forward_lines(
                    lines, im_lines, r_lines, n, threshold, refractory, im_before, k_th, k_r, scale, th0, higher,
                    never, zero, phase, per_unit, voltage, im, thresholds, refractories, ahead, i, T,
                )  # fmt: skip
                write_some(lines, thresholds, row, rows, t0 + i, n, T)
                write_some(r_lines, refractories, row, rows, t0 + i, n, T)


@cuda_kernel
def _forward_cuda(
    voltage, im, thresholds, refractories, decay_th, decay_r, state_th, state_r, state_im, T, scale, base, rise, rows
):
    """As the CPU driver, for the 32 rows of this warp."""
    tile = cuda.shared.array(TILE, np.float32)
    other = cuda.shared.array(TILE, np.float32)  # the second input, then refractory states
    arriving = cuda.local.array(WARP, np.float32)
    lane = np.int64(cuda.threadIdx.x)
    first = np.int64(cuda.blockIdx.x) * WARP
    if first >= rows:
        return
    row = min(first + lane, rows - 1)  # past the end: the last row once more
    k_th, k_r = int32(to_keep(decay_th[row])), int32(to_keep(decay_r[row]))
    zero, never = np.int32(0), np.int32(NEVER)
    th0, higher = np.int32(base), np.int32(rise)
    per_unit = np.float32(1) / scale
    threshold, refractory = to_fixed(state_th[row], scale), to_fixed(state_r[row], scale)
    phase = im.size > 0
    im_before = zero
    if phase:
        im_before = to_fixed(state_im[row], scale)
    for t0 in range(0, T, cuda_tiles.STEPS):
        # not a tile ahead, as others do: two inputs would take all registers
        fetch(arriving, voltage, first, rows, t0, T, lane)
        put(tile, arriving, lane)
        if phase:
            fetch(arriving, im, first, rows, t0, T, lane)
            put(other, arriving, lane)
        cuda.syncthreads()
        at = lane * PITCH
        end = at + min(cuda_tiles.STEPS, T - t0)
        while at < end:
            i = np.uint64(at)
            # int32: in the simulator a step returns Python's integers
            threshold, refractory = adapt(int32(threshold), int32(refractory), k_th, k_r, th0)
            v = to_fixed(tile[i], scale)
            level = int32(int32(threshold) + int32(refractory))
            if phase:
                im_now = int32(to_fixed(other[i], scale))
                level = int32(crossing_level(level, im_now, im_before, never, zero))
                im_before = im_now
            tile[i] = to_float(int32(threshold)) * per_unit
            other[i] = to_float(int32(refractory)) * per_unit
            threshold, refractory = raise_where(v >= level, int32(threshold), int32(refractory), higher)
            at += 1
        cuda.syncthreads()
        cuda_tiles.write_tile(tile, thresholds, first, rows, t0, T, lane)
        cuda_tiles.write_tile(other, refractories, first, rows, t0, T, lane)
        cuda.syncthreads()


forward = Kernel(_forward_cpu, _forward_cuda)
