"""What comes back to a layer in one step: sums of the lines of a matrix, each times a number of which many may be 0."""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from .cpu import LANES, step
from .vec import load, multiply_add, repeat, store

__all__ = ["add_lines", "add_products", "find", "total"]

_BLOCK = 4 * LANES  # channels that are summed together


@step
def find(values, at, places, first, P):
    """Write the places of what is not 0 among ``values[at : at + P]`` to ``places`` from ``first``; their number."""
    count = 0
    for place in range(P):
        places[first + count] = place
        count += values[at + place] != 0
    return count


@step
def add_lines(sums, to, matrix, begin, values, at, places, first, count, P):
    """``sums[to + c] += values[at + j] * matrix[begin + j * P + c]``, one after the other for each place ``j``."""
    whole = P // _BLOCK * _BLOCK
    for c in range(0, whole, _BLOCK):
        here = to + c
        s0, s1 = load(sums, here), load(sums, here + LANES)
        s2, s3 = load(sums, here + 2 * LANES), load(sums, here + 3 * LANES)
        for i in range(first, first + count):
            value, row = repeat(values[at + places[i]]), begin + places[i] * P + c
            s0 = multiply_add(value, load(matrix, row), s0)
            s1 = multiply_add(value, load(matrix, row + LANES), s1)
            s2 = multiply_add(value, load(matrix, row + 2 * LANES), s2)
            s3 = multiply_add(value, load(matrix, row + 3 * LANES), s3)
        store(sums, here, s0)
        store(sums, here + LANES, s1)
        store(sums, here + 2 * LANES, s2)
        store(sums, here + 3 * LANES, s3)
    for c in range(whole, P, LANES):
        s0 = load(sums, to + c)
        for i in range(first, first + count):
            s0 = multiply_add(repeat(values[at + places[i]]), load(matrix, begin + places[i] * P + c), s0)
        store(sums, to + c, s0)


@step
def add_products(sums, apart, matrix, begin, values, at, stride, lo, hi, P):
    """``sums[n * apart + c] += values[at + n * stride + j] * matrix[begin + j * P + c]`` for samples ``lo <= n < hi``.

    Four samples by two lines of channels at a time: a part of the matrix that stays near serves all samples.  Where one
    is missing, the last one stands in for it: the same is written twice.
    """
    for c in range(0, P, 2 * LANES):
        d = min(c + LANES, P - LANES)
        for n in range(lo, hi, 4):
            n1, n2, n3 = min(n + 1, hi - 1), min(n + 2, hi - 1), min(n + 3, hi - 1)
            at0, at1, at2, at3 = n * apart, n1 * apart, n2 * apart, n3 * apart
            c0, c1, c2, c3 = load(sums, at0 + c), load(sums, at1 + c), load(sums, at2 + c), load(sums, at3 + c)
            d0, d1, d2, d3 = load(sums, at0 + d), load(sums, at1 + d), load(sums, at2 + d), load(sums, at3 + d)
            from0, from1 = np.uint64(at + n * stride), np.uint64(at + n1 * stride)
            from2, from3 = np.uint64(at + n2 * stride), np.uint64(at + n3 * stride)
            for j in range(P):
                row, i = begin + j * P, np.uint64(j)
                line_c, line_d = load(matrix, row + c), load(matrix, row + d)
                value = repeat(values[from0 + i])
                c0, d0 = multiply_add(value, line_c, c0), multiply_add(value, line_d, d0)
                value = repeat(values[from1 + i])
                c1, d1 = multiply_add(value, line_c, c1), multiply_add(value, line_d, d1)
                value = repeat(values[from2 + i])
                c2, d2 = multiply_add(value, line_c, c2), multiply_add(value, line_d, d2)
                value = repeat(values[from3 + i])
                c3, d3 = multiply_add(value, line_c, c3), multiply_add(value, line_d, d3)
            store(sums, at0 + c, c0)
            store(sums, at1 + c, c1)
            store(sums, at2 + c, c2)
            store(sums, at3 + c, c3)
            store(sums, at0 + d, d0)
            store(sums, at1 + d, d1)
            store(sums, at2 + d, d2)
            store(sums, at3 + d, d3)


@register_jitable
def total(matrix, begin, values, at, P):
    """``sum(values[at + j] * matrix[begin + j * P])`` over ``j < P``, one after the other, for a lane of CUDA."""
    here, row, end = np.uint64(at), np.uint64(begin), np.uint64(at + P)
    found = np.float32(0)
    while here < end:
        value = values[here]
        if value != 0:
            found = np.float32(value * matrix[row] + found)
        here += np.uint64(1)
        row += np.uint64(P)
    return found
