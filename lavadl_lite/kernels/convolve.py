"""Convolution of planes of sequences by kernels of one step, without copies of what the kernel meets.

All products are of 16 numbers in a row: of steps, on the way forward and for the gradient of the input; of output
channels for the gradient of the weight.  Each sum is made by one thread in one order.  What the kernels need to know
of a geometry stands in tables, made once per geometry.  On CUDA there is nothing to gain over torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby, product
from typing import NamedTuple

import numpy as np

from .cpu import LANES, cpu_kernel, inlined
from .launch import Kernel
from .products import WIDE, add_products, elements, no_sums, several, store_all, vectors
from .tiles import LINES_SIZE, QUAD
from .vec import load, read_quad, repeat, stack_array, store

__all__ = ["Geometry", "Products", "Sums", "products", "sum_tables", "sums", "weight_products"]

CHANNELS, PLACES = (4, 4) if WIDE else (2, 3)  # whose sums are made together
SUMS = CHANNELS * PLACES
NEXT = tuple(range(0, PLACES * LANES, LANES))
EACH = tuple(range(0, SUMS * LANES, LANES))
GROUP = 64  # channels that share what is copied for them
DEPTH = 96  # taps whose input is copied at a time
MANY = 48  # channels that are worth the copy
PANEL_SIZE = DEPTH * PLACES * LANES
BUFFER_SIZE = (GROUP + CHANNELS) * PLACES * LANES
UNIT = 7  # entries of a unit in Sums

TAPS = 8 if WIDE else 6  # positions of the kernel whose weights' gradients are made together
TOGETHER = (0, LANES) if WIDE else (0,)  # with as many times 16 channels
ALONE = (0,)
VECS = len(TOGETHER)
PRODUCTS = TAPS * VECS
PRODUCTS_SIZE = PRODUCTS * LANES
CHUNK = 64  # steps of a chunk of the sums' gradient, which is turned to lines of channels
CHUNK_SIZE = CHUNK * GROUP
PIECE = 3  # entries of a piece in Products


class Geometry(NamedTuple):
    """Shapes of an input and a kernel, and how it moves; ``padding`` is what the plane still lacks."""

    shape: tuple[int, ...]  # (N, C, H, W, T)
    features: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    @property
    def plane(self) -> tuple[int, int]:
        """Height and width of the sums; not positive where the kernel does not fit."""
        height, width = (
            (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, padding, dilation in zip(self.shape[2:4], *self[2:], strict=True)
        )
        return height, width


class Sums(NamedTuple):
    """What :data:`sums` needs to know, int64: the weights in their order, and where to read and write."""

    pick: np.ndarray  # (blocks * taps * CHANNELS,), places of the weights
    taps: np.ndarray  # (taps,), from a unit's beginning in the input
    # (units, UNIT): begin in input and output; taps: the first, in how many lines, how far apart, how many of each;
    # the first of PLACES reads and writes
    units: np.ndarray
    reads: np.ndarray  # (vectors,), from a unit's beginning in the input
    writes: np.ndarray  # (vectors,), the same in the output


class Products(NamedTuple):
    """What :data:`products` needs to know, int64."""

    taps: np.ndarray  # (taps,) from a row's beginning in the input, to a multiple of TAPS
    rows: np.ndarray  # (rows, 2): begin of the sums' gradient and of the input
    pieces: np.ndarray  # (pieces, PIECE): where in both, and how many steps
    chunks: np.ndarray  # (chunks + 1,): the first piece of each


# ------------------------------------------------------------------------------------------------------------- kernels
@inlined
def _add_taps(x, start, places, first, offsets, weights, factors, count, held):
    """Add ``count`` taps of CHANNELS weights from ``factors`` on, times what stands at ``places`` from ``first`` on."""
    for k in range(count):
        met = vectors(x, start + places[first + k], offsets)
        held = add_products(held, met, several(weights, factors + k * CHANNELS, CHANNELS))
    return held


@cpu_kernel
def _sums_cpu(x, weights, y, taps, units, reads, writes, channels, plane, lo, hi):
    """``y[f, unit + writes] = sum of weights[f, k] * x[unit + taps[k] + reads]``; a unit is PLACES of all channels.

    What the kernel meets there is copied, DEPTH taps at a time, to where many channels find it in the nearest cache.
    """
    copied = channels >= MANY
    depth = DEPTH if copied else taps.size + 1
    panel = stack_array(PANEL_SIZE, np.float32)
    buffer = stack_array(BUFFER_SIZE, np.float32)
    in_panel = stack_array(DEPTH, np.int64)
    for k in range(DEPTH):
        in_panel[k] = k * PLACES * LANES
    for unit in range(lo // LANES, hi // LANES):
        from_x, from_y, tap, lines, pitch, count, v = several(units, unit * UNIT, UNIT)
        offsets = several(reads, v, PLACES)
        if count == pitch:
            lines, count = 1, lines * count
        for group in range(0, channels, GROUP):
            here = min(GROUP, channels - group)
            for first in range(tap, tap + max(lines, 1) * pitch, pitch):
                parts = max((count + depth - 1) // depth, 1)
                for part in range(parts):
                    begin, end = first + count * part // parts, first + count * (part + 1) // parts
                    if copied:
                        for k in range(begin, end):
                            store_all(panel, in_panel[k - begin], vectors(x, from_x + taps[k], offsets))
                    for channel in range(0, here, CHANNELS):
                        at = channel * PLACES * LANES
                        held = no_sums(SUMS)
                        if begin > tap:  # not the first
                            held = vectors(buffer, at, EACH)
                        factors = (group + channel) * taps.size + begin * CHANNELS
                        size = end - begin
                        if copied:
                            held = _add_taps(panel, 0, in_panel, 0, NEXT, weights, factors, size, held)
                        else:
                            held = _add_taps(x, from_x, taps, begin, offsets, weights, factors, size, held)
                        store_all(buffer, at, held)
            for channel in range(here):
                for j in range(PLACES):
                    target = from_y + (group + channel) * plane + writes[v + j]
                    store(y, target, load(buffer, (channel * PLACES + j) * LANES))


@inlined
def _turn(g, first, pitch, channels, steps, chunk, at, lines):
    """``chunk[at + i, k] = g[first + k * pitch + i]`` for ``steps`` and 16 channels, zeros from ``channels`` on."""
    whole = steps // QUAD * QUAD if channels == LANES else 0
    for i in range(0, whole, QUAD):
        read_quad(g, first + i, pitch, lines)
        for j in range(QUAD):
            store(chunk, at + (i + j) * GROUP, load(lines, j * LANES))
    for i in range(whole, steps):
        for k in range(LANES):
            chunk[at + i * GROUP + k] = g[first + k * pitch + i] if k < channels else np.float32(0)


@inlined
def _chunk_products(chunk, line, lanes, x, from_x, taps, pieces, begins, held):
    """Sums over pieces ``begins[0]`` to ``begins[1]`` of the lines of channels of a chunk, times the input."""
    for p in range(begins[0], begins[1]):
        start = from_x + pieces[p * PIECE + 1]
        for i in range(pieces[p * PIECE + 2]):
            held = add_products(held, vectors(chunk, line, lanes), elements(x, start + i, taps))
            line += GROUP
    return held


@cpu_kernel
def _products_cpu(g, x, totals, g_weight, taps, rows, pieces, chunks, weights, channels, plane, lo, hi):
    """``g_weight[f, k] = sum of g[f, row + piece] * x[row + piece + taps[k]]``; a unit is TAPS of GROUP channels.

    Channels are 16 at a time, the last ones overlapping those before.  ``totals`` is room for (units, TAPS, GROUP).
    """
    chunk = stack_array(CHUNK_SIZE, np.float32)
    lines = stack_array(LINES_SIZE, np.float32)
    buffer = stack_array(PRODUCTS_SIZE, np.float32)
    blocks = taps.size // TAPS
    for group in range(lo // LANES // blocks, (hi // LANES + blocks - 1) // blocks):
        first_block, last_block = max(lo // LANES - group * blocks, 0), min(hi // LANES - group * blocks, blocks)
        begin, here = group * GROUP, min(GROUP, channels - group * GROUP)
        size = TAPS * GROUP
        for i in range((group * blocks + first_block) * size, (group * blocks + last_block) * size, LANES):
            store(totals, i, repeat(np.float32(0)))
        for row in range(0, rows.size, 2):
            from_g, from_x = rows[row] + begin * plane, rows[row + 1]
            for c in range(chunks.size - 1):
                at = 0
                for p in range(chunks[c], chunks[c + 1]):
                    steps = pieces[p * PIECE + 2]
                    for f in range(0, here, LANES):
                        channel = max(min(f, here - LANES), 0)
                        first = from_g + channel * plane + pieces[p * PIECE]
                        _turn(g, first, plane, min(LANES, here), steps, chunk, at + f, lines)
                    at += steps * GROUP
                for block in range(first_block, last_block):
                    reads = several(taps, block * TAPS, TAPS)
                    total = (group * blocks + block) * size
                    f = 0
                    while f < here:
                        begins = chunks[c], chunks[c + 1]
                        if here - f > (VECS - 1) * LANES:
                            count = VECS
                            empty = no_sums(PRODUCTS)
                            held = _chunk_products(chunk, f, TOGETHER, x, from_x, reads, pieces, begins, empty)
                            store_all(buffer, 0, held)
                        else:
                            count = 1
                            none = no_sums(TAPS)
                            alone = _chunk_products(chunk, f, ALONE, x, from_x, reads, pieces, begins, none)
                            store_all(buffer, 0, alone)
                        for t in range(TAPS):
                            for v in range(count):
                                to = total + t * GROUP + f + v * LANES
                                store(totals, to, load(totals, to) + load(buffer, (t * count + v) * LANES))
                        f += count * LANES
        for block in range(first_block, last_block):
            for t in range(min(TAPS, weights - block * TAPS)):
                for f in range(0, here, LANES):
                    channel = max(min(f, here - LANES), 0)
                    total = ((group * blocks + block) * TAPS + t) * GROUP + f
                    for k in range(min(LANES, here)):
                        g_weight[(begin + channel + k) * weights + block * TAPS + t] = totals[total + k]


sums = Kernel(_sums_cpu)
products = Kernel(_products_cpu)


# -------------------------------------------------------------------------------------------------------------- tables
class _Meeting(NamedTuple):
    """Places of the output, along an axis, that are met by the same positions of the kernel."""

    places: range
    start: int  # where the first of them begins in the input
    step: int  # from one to the next there
    first: int  # of the positions
    count: int


def _int64(values: object) -> np.ndarray:
    return np.array(values, np.int64)


def _meetings(geometry: Geometry, axis: int, back: bool) -> Iterator[tuple[list[int], list[int], list[_Meeting]]]:
    """Positions of the kernel, their offsets in the input, and who meets them.

    Back: a place ``s * i + r`` of the padded input was met by positions ``s * m + r`` of the kernel, at the sums
    ``i - m``; so there is one set of positions for each ``r``.
    """
    stride, padding = geometry.stride[axis], geometry.padding[axis]
    reach = [k * geometry.dilation[axis] for k in range(geometry.kernel[axis])]
    sizes = geometry.shape[2 + axis], geometry.plane[axis]
    inputs, outputs = sizes[::-1] if back else sizes
    for rest in range(stride if back else 1):
        positions = [k for k, offset in enumerate(reach) if not back or offset % stride == rest]
        offsets = [-(reach[k] // stride) if back else reach[k] for k in positions]
        if back:
            places = range((rest - padding) % stride, outputs, stride)
            starts = range((places.start + padding) // stride, (places.start + padding) // stride + len(places))
        else:
            places, starts = range(outputs), range(-padding, outputs * stride - padding, stride)
        inside = [[m for m, offset in enumerate(offsets) if 0 <= start + offset < inputs] for start in starts]
        found, begin = [], 0
        for met, same in groupby(inside):
            end = begin + len(list(same))
            first = met[0] if met else 0
            found.append(_Meeting(places[begin:end], starts[begin], starts.step, first, len(met)))
            begin = end
        yield positions, offsets, found


def _vector_starts(positions: int, steps: int, read: int, write: int) -> np.ndarray:
    """Where 16 numbers begin in sequences so far apart; the last of each overlaps, the last of all is repeated."""
    within = np.minimum(np.arange(0, steps, LANES), steps - LANES)
    starts = [(np.arange(positions)[:, None] * apart + within).ravel() for apart in (read, write)]
    return np.pad(starts, ((0, 0), (0, -positions * len(within) % PLACES)), "edge")


@lru_cache
def sum_tables(geometry: Geometry, back: bool) -> Sums:
    """Tables of a geometry's sums, or of the gradient of the input as sums over that of the former."""
    samples, T, (height, width), plane = geometry.shape[0], geometry.shape[4], geometry.shape[2:4], geometry.plane
    channels, features = geometry.shape[1], geometry.features
    if back:
        channels, features, (height, width), plane = features, channels, plane, (height, width)
    taps, places, units, starts = [], [], [], []
    size_of_kernel = geometry.kernel[0] * geometry.kernel[1]
    size = known = 0
    for columns, right, across in _meetings(geometry, 1, back):
        vectors_of = []
        for met in across:  # a stretch of the plane's row without gaps is one long sequence
            whole = met.step == met.places.step == 1
            count, steps = (1, len(met.places) * T) if whole else (len(met.places), T)
            found = _vector_starts(count, steps, met.step * T, met.places.step * T)
            vectors_of.append(range(known, known + found.shape[1], PLACES))
            starts.append(found)
            known += found.shape[1]
        for lines, down, along in _meetings(geometry, 0, back):
            i, j, c = _int64(lines)[:, None, None], _int64(columns)[:, None], np.arange(channels)
            offset = c * height * width + _int64(down)[:, None, None] * width + _int64(right)[:, None]
            of_kernel = i * geometry.kernel[1] + j
            places.append((of_kernel + c * (features if back else 1) * size_of_kernel).ravel())
            taps.append(offset.ravel() * T)
            pitch = max(len(columns) * channels, 1)
            for n, rows in product(range(samples), along):
                for row, h in enumerate(rows.places):
                    for met, vecs in zip(across, vectors_of, strict=True):
                        from_x = (n * channels * height + rows.start + row * rows.step) * width + met.start
                        from_y = (n * features * plane[0] + h) * plane[1] + met.places.start
                        tap = size + rows.first * pitch + met.first * channels
                        unit = from_x * T, from_y * T, tap, rows.count, pitch, met.count * channels * (rows.count > 0)
                        units += [(*unit, v) for v in vecs]
            size += len(taps[-1])
    of_feature = np.arange(features)[:, None] * (1 if back else channels) * size_of_kernel
    pick = np.pad(of_feature + np.concatenate(places), ((0, -features % CHANNELS), (0, 0)), "edge")
    pick = pick.reshape(-1, CHANNELS, size).transpose(0, 2, 1).ravel()
    return Sums(pick, np.concatenate(taps), _int64(units), *np.concatenate(starts, 1))


@lru_cache
def weight_products(geometry: Geometry) -> Products:
    """Tables of the weight's gradient of a geometry whose input needs no more ``padding``."""
    samples, channels, height, width, T = geometry.shape
    right, plane = geometry.stride[1], geometry.plane
    c, i, j = np.ogrid[:channels, : geometry.kernel[0], : geometry.kernel[1]]
    taps = (((c * height + i * geometry.dilation[0]) * width + j * geometry.dilation[1]) * T).ravel()
    pieces, chunks, held = [], [0], 0
    positions, steps = (1, plane[1] * T) if right == 1 else (plane[1], T)
    for position in range(positions):
        for t in range(0, steps, CHUNK):
            piece = min(CHUNK, steps - t)
            if held + piece > CHUNK:
                chunks.append(len(pieces))
                held = 0
            pieces.append((position * T + t, position * right * T + t, piece))
            held += piece
    rows = []
    for n, h in product(range(samples), range(plane[0])):
        from_g = (n * geometry.features * plane[0] + h) * plane[1]
        rows.append((from_g * T, (n * channels * height + h * geometry.stride[0]) * width * T))
    taps = np.pad(taps, (0, -len(taps) % TAPS), "edge")
    return Products(taps, _int64(rows), _int64(pieces), _int64([*chunks, len(pieces)]))
