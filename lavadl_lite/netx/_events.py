"""Compiled sums of the simulator's synapses, which do nothing where nothing arrives.

Loaded at the first run, since it needs numba.  A row is one time step of one sample; its messages are int32, its totals
int64, the channels of a plane beside each other.  Rows do not depend on each other.
"""

from __future__ import annotations

import numpy as np

from ..kernels.cpu import cpu_kernel

__all__ = ["gather", "scatter"]


@cpu_kernel
def gather(x, weight, total, lo, hi):
    """``total = x @ weight``, reading only the rows of active inputs; ``weight`` is int16 [in, out]."""
    active = np.empty(x.shape[1] + 1, np.int64)
    for r in range(lo, hi):
        count = 0
        for i in range(x.shape[1]):
            active[count] = i
            count += x[r, i] != 0
        out = total[r]
        out[:] = 0
        fours = count // 4 * 4
        for j in range(0, fours, 4):  # four at once load and store the sums a quarter as often
            i0, i1, i2, i3 = active[j], active[j + 1], active[j + 2], active[j + 3]
            x0, x1, x2, x3 = x[r, i0], x[r, i1], x[r, i2], x[r, i3]
            w0, w1, w2, w3 = weight[i0], weight[i1], weight[i2], weight[i3]
            for k in range(out.size):
                out[k] += w0[k] * x0 + w1[k] * x1 + w2[k] * x2 + w3[k] * x3
        for j in range(fours, count):
            one, w = x[r, active[j]], weight[active[j]]
            for k in range(out.size):
                out[k] += w[k] * one


@cpu_kernel
def scatter(x, weight, rows, row_links, columns, column_links, sizes, total, lo, hi):
    """Every message goes to all places that its position reaches, times the weights of its channel.

    ``weight`` is int16 [C, kernel, outputs of a group].  ``row_links`` holds pairs (offset in the kernel, offset in the
    plane), those of row ``i`` from ``rows[i]`` to ``rows[i + 1]``; columns likewise.  ``sizes`` are the channels of a
    group and the channels of the result.
    """
    channels, fan = weight.shape[0], weight.shape[2]
    together, features = sizes[0], sizes[1]
    for r in range(lo, hi):
        total[r] = 0
        at = 0
        for i in range(rows.size - 1):
            for j in range(columns.size - 1):
                for c in range(channels):
                    one = x[r, at]
                    at += 1
                    if one != 0:
                        group = c // together * fan
                        for p in range(rows[i], rows[i + 1]):
                            for q in range(columns[j], columns[j + 1]):
                                w = weight[c, row_links[p, 0] + column_links[q, 0]]
                                place = (row_links[p, 1] + column_links[q, 1]) * features + group
                                out = total[r, place : place + fan]
                                for k in range(fan):
                                    out[k] += w[k] * one
