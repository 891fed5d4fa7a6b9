"""How a CPU driver walks over rows: tiles of 16 rows by 64 steps, four steps at a time, the next tile prefetched.

A driver holds ``[rows, time]`` arrays flat.  It turns four steps to lines of 16 rows, runs a step on each line with the
state in registers, and turns the results back; written out for four steps, the machine does all three at once.  The
last group of rows overlaps the one before it instead of being cut.
"""

from __future__ import annotations

from .cpu import LANES, step
from .vec import QUAD, load, repeat, store

__all__ = [
    "LANES",
    "LINES_SIZE",
    "QUAD",
    "STEPS",
    "TILE_SIZE",
    "line",
    "next_tile",
    "read_pair",
    "read_rows",
    "read_shared",
    "read_some",
    "whole_group",
    "whole_quads",
    "write_pair",
    "write_rows",
    "write_some",
]

STEPS = 64  # steps per tile, and between two checkpoints
TILE_SIZE = STEPS * LANES  # floats of a tile
LINES_SIZE = QUAD * LANES  # floats of the lines that are worked on


@step
def read_some(lines, x, row, rows, t, steps, T):
    """``lines[i, k] = x[row + k, t + i]`` for fewer than 16 rows or QUAD steps."""
    for k in range(rows):
        for i in range(steps):
            lines[i * LANES + k] = x[(row + k) * T + t + i]


@step
def write_some(lines, y, row, rows, t, steps, T):
    """``y[row + k, t + i] = lines[i, k]`` for fewer than 16 rows or QUAD steps."""
    for k in range(rows):
        for i in range(steps):
            y[(row + k) * T + t + i] = lines[i * LANES + k]


@step
def read_rows(values, first, rows, buffer):
    """``values[first : first + rows]`` as a Vec; ``buffer`` holds LANES values of the same type."""
    if rows == LANES:
        return load(values, first)
    for k in range(rows):
        buffer[k] = values[first + k]
    return load(buffer, 0)


@step
def read_shared(values, first, rows, buffer):
    """:func:`read_rows` of values for each row, or the one value that all rows have."""
    if values.size == 1:
        return repeat(values[0])
    return read_rows(values, first, rows, buffer)


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
def read_pair(values, first, apart, rows, buffer):
    """Two of :func:`read_rows`, the second ``apart`` from the first: arrays of states hold one after another."""
    return read_rows(values, first, rows, buffer), read_rows(values, first + apart, rows, buffer)


@step
def write_pair(values, first, apart, rows, buffer, value, other):
    """Two of :func:`write_rows`, the second ``apart`` from the first."""
    write_rows(values, first, rows, buffer, value)
    write_rows(values, first + apart, rows, buffer, other)


@step
def whole_group(row, lo, hi):
    """First row and size of a group; the last one of ``lo..hi`` overlaps the one before (same values written twice)."""
    if row + LANES > hi and hi - lo >= LANES:
        row = hi - LANES
    return row, min(LANES, hi - row)


@step
def whole_quads(rows, steps):
    """How many of the ``steps`` are turned four at a time: none where there are fewer than 16 rows."""
    return steps // QUAD * QUAD if rows == LANES else 0


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
