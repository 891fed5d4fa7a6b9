"""Matrix products with events: what is mostly 0 is listed once, and only the lines that events ask for are summed.

A table of lines, of weights or of gradients, lies in tiles of 64 columns: the part in use stays in a near cache.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .cpu import LANES, cpu_kernel, inlined
from .launch import Kernel
from .tiles import LINES_SIZE, QUAD, write_some
from .vec import FLOATS, _ir, _pointer, load, multiply_add, repeat, stack_array, store, write_quad

__all__ = ["TILE", "by_time", "count", "find", "gradient", "product"]

TILE = 4 * LANES  # columns of a tile


@intrinsic
def _which(typing, array, start):
    """A bit for each of ``array[start : start + LANES]``, set where it is not 0."""

    def codegen(context, builder, signature, args):
        pointer = _pointer(context, builder, array, *args, _ir(FLOATS))
        bits = builder.fcmp_unordered("!=", builder.load(pointer, align=4), ir.Constant(_ir(FLOATS), None))
        return builder.zext(builder.bitcast(bits, ir.IntType(LANES)), ir.IntType(64))

    return types.int64(array, types.intp), codegen


def _counting(name, *more):
    """An intrinsic of LLVM that counts bits of an int64."""

    @intrinsic
    def count(typing, bits):
        def codegen(context, builder, signature, args):
            kinds = [ir.IntType(64), *[value.type for value in more]]
            function = ir.FunctionType(ir.IntType(64), kinds)
            return builder.call(cgutils.get_or_insert_function(builder.module, function, name), [*args, *more])

        return types.int64(types.int64), codegen

    return count


_ones = _counting("llvm.ctpop.i64")
_lowest = _counting("llvm.cttz.i64", ir.Constant(ir.IntType(1), 1))


@cpu_kernel
def _count(x, counts, T, lo, hi):
    """How many events each row has."""
    whole = T // LANES * LANES
    for row in range(lo, hi):
        base, count = row * T, 0
        for t in range(0, whole, LANES):
            count += _ones(_which(x, base + t))
        for t in range(whole, T):
            count += x[base + t] != 0
        counts[row] = count


@cpu_kernel
def _find(x, starts, places, values, T, lo, hi):
    """The events of rows: places in time and values, those of row r from ``starts[r]`` on."""
    whole = T // LANES * LANES
    for row in range(lo, hi):
        base, at = row * T, starts[row]
        for first in range(0, whole, LANES):
            bits = _which(x, base + first)
            while bits != 0:
                t = first + _lowest(bits)
                places[at] = t
                values[at] = x[base + t]
                at += 1
                bits &= bits - 1
        for t in range(whole, T):
            if x[base + t] != 0:
                places[at] = t
                values[at] = x[base + t]
                at += 1


@cpu_kernel
def _by_time(starts, places, values, begins, channels, factors, C, T, lo, hi):
    """The same events sorted by time: those of sample n at t from ``begins[n * (T + 1) + t]`` on; a row is a sample."""
    for n in range(lo // LANES, hi // LANES):
        at, rows = n * (T + 1), range(n * C, (n + 1) * C)
        first, end = starts[n * C], starts[(n + 1) * C]
        for t in range(T + 1):
            begins[at + t] = 0
        for k in range(first, end):
            begins[at + places[k] + 1] += 1
        begins[at] = first
        for t in range(T):
            begins[at + t + 1] += begins[at + t]
        for row in rows:
            for k in range(starts[row], starts[row + 1]):
                to = begins[at + places[k]]
                channels[to] = row - n * C
                factors[to] = values[k]
                begins[at + places[k]] = to + 1
        for t in range(T, 0, -1):  # each has moved to where the next one begins
            begins[at + t] = begins[at + t - 1]
        begins[at] = first


@inlined
def _add(table, at, value, s0, s1, s2, s3):
    factor = repeat(value)
    s0 = multiply_add(factor, load(table, at), s0)
    s1 = multiply_add(factor, load(table, at + LANES), s1)
    s2 = multiply_add(factor, load(table, at + 2 * LANES), s2)
    s3 = multiply_add(factor, load(table, at + 3 * LANES), s3)
    return s0, s1, s2, s3


@inlined
def _write(l0, l1, l2, l3, y, row, rows, t, steps, T):
    """Up to QUAD lines of sums, turned, to ``rows`` rows of ``y``."""
    if rows >= TILE and steps == QUAD:
        write_quad(l0, y, row * T + t, T)
        write_quad(l1, y, (row + LANES) * T + t, T)
        write_quad(l2, y, (row + 2 * LANES) * T + t, T)
        write_quad(l3, y, (row + 3 * LANES) * T + t, T)
    else:
        write_some(l0, y, row, min(rows, LANES), t, steps, T)
        write_some(l1, y, row + LANES, min(rows - LANES, LANES), t, steps, T)
        write_some(l2, y, row + 2 * LANES, min(rows - 2 * LANES, LANES), t, steps, T)
        write_some(l3, y, row + 3 * LANES, min(rows - 3 * LANES, LANES), t, steps, T)


@cpu_kernel
def _product_cpu(table, begins, channels, factors, y, N, C, outputs, T, lo, hi):
    """``y[n, o, t] = sum(factor * table[o // 64, channel, o % 64])`` over the events of sample n at t.

    A row is a sample of a tile.
    """
    off = repeat(np.float32(0))
    l0, l1 = stack_array(LINES_SIZE, np.float32), stack_array(LINES_SIZE, np.float32)
    l2, l3 = stack_array(LINES_SIZE, np.float32), stack_array(LINES_SIZE, np.float32)
    for unit in range(lo // LANES, hi // LANES):
        tile, n = unit // N, unit % N
        begin, row, rows = tile * C * TILE, n * outputs + tile * TILE, min(TILE, outputs - tile * TILE)
        for t in range(0, T, QUAD):
            steps = min(QUAD, T - t)
            for i in range(steps):
                s0, s1, s2, s3 = off, off, off, off
                at = n * (T + 1) + t + i
                for k in range(begins[at], begins[at + 1]):
                    s0, s1, s2, s3 = _add(table, begin + channels[k] * TILE, factors[k], s0, s1, s2, s3)
                store(l0, i * LANES, s0)
                store(l1, i * LANES, s1)
                store(l2, i * LANES, s2)
                store(l3, i * LANES, s3)
            _write(l0, l1, l2, l3, y, row, rows, t, steps, T)


@cpu_kernel
def _gradient_cpu(table, starts, places, values, g_weight, N, C, outputs, T, parts, lo, hi):
    """``g_weight[o, c] = sum(value * table[o // 64, n * T + t, o % 64])`` over the events of channel c.

    A row is one of ``parts`` parts of the channels of a tile.
    """
    off = repeat(np.float32(0))
    l0, l1 = stack_array(LINES_SIZE, np.float32), stack_array(LINES_SIZE, np.float32)
    l2, l3 = stack_array(LINES_SIZE, np.float32), stack_array(LINES_SIZE, np.float32)
    for unit in range(lo // LANES, hi // LANES):
        tile, part = unit // parts, unit % parts
        begin, row, rows = tile * N * T * TILE, tile * TILE, min(TILE, outputs - tile * TILE)
        quads = (C + QUAD - 1) // QUAD
        for c in range(quads * part // parts * QUAD, min(quads * (part + 1) // parts * QUAD, C), QUAD):
            steps = min(QUAD, C - c)
            for i in range(steps):
                s0, s1, s2, s3 = off, off, off, off
                for n in range(N):
                    line = n * C + c + i
                    for k in range(starts[line], starts[line + 1]):
                        at = begin + (n * T + places[k]) * TILE
                        s0, s1, s2, s3 = _add(table, at, values[k], s0, s1, s2, s3)
                store(l0, i * LANES, s0)
                store(l1, i * LANES, s1)
                store(l2, i * LANES, s2)
                store(l3, i * LANES, s3)
            _write(l0, l1, l2, l3, g_weight, row, rows, c, steps, C)


count = Kernel(_count)
find = Kernel(_find)
by_time = Kernel(_by_time)
product = Kernel(_product_cpu)
gradient = Kernel(_gradient_cpu)
