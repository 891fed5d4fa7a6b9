"""Compiled sums of the simulator's synapses, which do nothing where nothing arrives.

Loaded at the first run, since it needs numba.  A row is one time step of one sample; its messages are int32, its totals
int64, the channels of a plane beside each other.  Rows do not depend on each other.
"""

from __future__ import annotations

import numpy as np

from ..kernels.cpu import cpu_kernel, step

__all__ = ["gather", "scatter"]

PARTS = 15  # eights of weights of -256 to 254 whose sum 16 bits hold


@step
def _active(x, begin, end, found):
    """Write the places of ``begin`` to ``end`` that are not 0 to ``found``; returns how many."""
    count = 0
    for i in range(begin, end):
        found[count] = i
        count += x[i] != 0
    return count


@cpu_kernel
def gather(x, weight, spikes, total, lo, hi):
    """``total = x @ weight``, reading only the rows of active inputs; ``weight`` is int16 [in, out].

    ``spikes`` says that all that is not 0 is 1.  Four or eight rows at once load and store the sums as much less often;
    sums of few weights fit into 16 bits, of which a register holds four times as many.
    """
    active, some = np.empty(x.shape[1] + 1, np.int64), np.empty(total.shape[1], np.int16)
    for r in range(lo, hi):
        count, done = _active(x[r], 0, x.shape[1], active), 0
        out = total[r]
        out[:] = 0
        while spikes and done + 8 <= count:
            some[:] = 0
            last = min(done + 8 * PARTS, count // 8 * 8)
            for j in range(done, last, 8):
                w0, w1, w2, w3 = weight[active[j]], weight[active[j + 1]], weight[active[j + 2]], weight[active[j + 3]]
                w4, w5, w6, w7 = (
                    weight[active[j + 4]],
                    weight[active[j + 5]],
                    weight[active[j + 6]],
                    weight[active[j + 7]],
                )
                for k in range(some.size):
                    first = np.int16(np.int16(w0[k] + w1[k]) + np.int16(w2[k] + w3[k]))
                    second = np.int16(np.int16(w4[k] + w5[k]) + np.int16(w6[k] + w7[k]))
                    some[k] = np.int16(some[k] + np.int16(first + second))
            for k in range(some.size):
                out[k] += some[k]
            done = last
        fours = done + (count - done) // 4 * 4
        for j in range(done, fours, 4):
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
    active = np.empty(together + 1, np.int64)
    for r in range(lo, hi):
        total[r] = 0
        for i in range(rows.size - 1):
            for j in range(columns.size - 1):
                at = (i * (columns.size - 1) + j) * channels
                for group in range(channels // together):
                    begin = at + group * together
                    count = _active(x[r], begin, begin + together, active)
                    if count == 0:
                        continue
                    fours = count // 4 * 4
                    for p in range(rows[i], rows[i + 1]):
                        for q in range(columns[j], columns[j + 1]):
                            entry = row_links[p, 0] + column_links[q, 0]
                            place = (row_links[p, 1] + column_links[q, 1]) * features + group * fan
                            out = total[r, place : place + fan]
                            for n in range(0, fours, 4):  # four at once load and store the sums a quarter as often
                                i0, i1, i2, i3 = active[n], active[n + 1], active[n + 2], active[n + 3]
                                x0, x1, x2, x3 = x[r, i0], x[r, i1], x[r, i2], x[r, i3]
                                w0, w1 = weight[i0 - at, entry], weight[i1 - at, entry]
                                w2, w3 = weight[i2 - at, entry], weight[i3 - at, entry]
                                for k in range(fan):
                                    out[k] += w0[k] * x0 + w1[k] * x1 + w2[k] * x2 + w3[k] * x3
                            for n in range(fours, count):
                                one, w = x[r, active[n]], weight[active[n] - at, entry]
                                for k in range(fan):
                                    out[k] += w[k] * one
