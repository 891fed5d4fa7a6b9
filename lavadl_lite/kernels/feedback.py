"""Sums of the lines of a matrix, each times a number of which most may be 0: what comes back to a layer in one step."""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from .cpu import LANES, step
from .vec import load, multiply_add, repeat, store

__all__ = ["add_lines", "find", "total"]

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
