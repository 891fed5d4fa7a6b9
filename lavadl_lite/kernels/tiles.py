"""How a CPU driver walks over rows: tiles of 16 rows by 64 steps, turned in registers, the next one prefetched.

A driver holds ``[rows, time]`` arrays flat.  It turns a tile to ``[time, 16]``, runs a step on each line of it with the
state in registers, and turns the result back.  The last group of rows overlaps the one before it instead of being cut.
"""

from __future__ import annotations

from .cpu import LANES, step
from .vec import BLOCK, load, store, transpose_block

__all__ = [
    "LANES",
    "STEPS",
    "TILE_SIZE",
    "line",
    "next_tile",
    "read_rows",
    "read_tile",
    "whole_group",
    "write_rows",
    "write_tile",
]

STEPS = 64  # steps per tile, and between two checkpoints
TILE_SIZE = STEPS * LANES  # floats of a tile


@step
def read_tile(tile, x, row, rows, t0, steps, T):
    """``tile[t, k] = x[row + k, t0 + t]``; the last block overlaps its neighbour instead of being cut."""
    if rows == LANES and steps >= BLOCK:
        for k in range(0, LANES, BLOCK):
            for i in range(0, steps, BLOCK):
                t = min(i, steps - BLOCK)
                transpose_block(x, (row + k) * T + t0 + t, T, tile, t * LANES + k, LANES)
    else:
        for k in range(rows):
            for t in range(steps):
                tile[t * LANES + k] = x[(row + k) * T + t0 + t]


@step
def write_tile(tile, y, row, rows, t0, steps, T):
    """``y[row + k, t0 + t] = tile[t, k]``."""
    if rows == LANES and steps >= BLOCK:
        for k in range(0, LANES, BLOCK):
            for i in range(0, steps, BLOCK):
                t = min(i, steps - BLOCK)
                transpose_block(tile, t * LANES + k, LANES, y, (row + k) * T + t0 + t, T)
    else:
        for k in range(rows):
            for t in range(steps):
                y[(row + k) * T + t0 + t] = tile[t * LANES + k]


@step
def read_rows(values, first, rows, buffer):
    """``values[first : first + rows]`` as a Vec; ``buffer`` holds LANES values of the same type."""
    if rows == LANES:
        return load(values, first)
    for k in range(rows):
        buffer[k] = values[first + k]
    return load(buffer, 0)


@step
def write_rows(values, first, rows, buffer, value):
    """``values[first : first + rows] = value``."""
    if rows == LANES:
        store(values, first, value)
    else:
        store(buffer, 0, value)
        for k in range(rows):
            values[first + k] = buffer[k]


@step
def whole_group(row, lo, hi):
    """First row and size of a group; the last one of ``lo..hi`` overlaps the one before (same values written twice)."""
    if row + LANES > hi and hi - lo >= LANES:
        row = hi - LANES
    return row, min(LANES, hi - row)


@step
def next_tile(row, t0, first, T, hi):
    """Where the tile at step ``t0`` begins, or the next group's at step ``first`` when this group has none left."""
    if 0 <= t0 < T:
        return row * T + t0
    return (row + LANES) * T + first if row + 2 * LANES <= hi else row * T


@step
def line(t, T):
    """Cache line number ``t`` of a tile, from its beginning: the lines of all 16 rows, then the next 16 steps."""
    return (t % LANES) * T + t // LANES * LANES
