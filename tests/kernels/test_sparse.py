"""Lists of events, and products with them: every event once and in order, sums equal to NumPy's of integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.kernels import cpu, sparse


def mostly_zero(rng, shape, rate):
    """Integers with many zeros, of both signs, beside what also counts as an event."""
    x = rng.integers(-40, 41, shape) * (rng.random(shape) < rate)
    return np.where((x == 0) & (rng.random(shape) < 0.1), -0.0, x).astype(np.float32)


def listed(x, elements=0):
    """Starts of the rows' events, their steps, their values."""
    N, C, T = x.shape
    counts, starts = np.full(N * C, -1, np.int32), np.zeros(N * C + 1, np.int64)
    sparse.count(x, counts, T, rows=N * C, elements=elements)
    starts[1:] = np.cumsum(counts)
    places, values = np.full(starts[-1], -1, np.int32), np.full(starts[-1], np.nan, np.float32)
    sparse.find(x, starts, places, values, T, rows=N * C, elements=elements)
    return starts, places, values


def sorted_by_time(x, starts, places, values, elements=0):
    N, C, T = x.shape
    begins = np.full((N, T + 1), -1, np.int64)
    channels, factors = np.full_like(places, -1), np.full_like(values, np.nan)
    work = {"rows": N * cpu.LANES, "elements": elements}
    sparse.by_time(starts, places, values, begins, channels, factors, C, T, **work)
    return begins, channels, factors


def in_tiles(lines):
    """Lines [R, columns] as [tiles, R, columns of a tile], what is missing filled with what must not be seen."""
    tiles = -(-lines.shape[1] // sparse.TILE)
    table = np.full((len(lines), tiles * sparse.TILE), np.float32(1e30))
    table[:, : lines.shape[1]] = lines
    return np.ascontiguousarray(table.reshape(len(lines), tiles, sparse.TILE).swapaxes(0, 1))


def run(x, weight, grad, elements=0, parts=3):
    """Product, and the weight's gradient."""
    (N, C, T), outputs = x.shape, len(weight)
    events = listed(x, elements)
    y, g_weight = np.full((N, outputs, T), np.nan, np.float32), np.full((outputs, C), np.nan, np.float32)
    table = in_tiles(np.ascontiguousarray(weight.T))
    work = {"rows": len(table) * N * cpu.LANES, "elements": elements}
    sparse.product(table, *sorted_by_time(x, *events, elements), y, N, C, outputs, T, **work)
    table = in_tiles(np.ascontiguousarray(grad.swapaxes(1, 2)).reshape(N * T, outputs))
    work = {"rows": len(table) * parts * cpu.LANES, "elements": elements}
    sparse.gradient(table, *events, g_weight, N, C, outputs, T, parts, **work)
    return y, g_weight


sizes = st.tuples(st.integers(1, 3), st.integers(1, 20), st.sampled_from([1, 3, 4, 15, 16, 17, 50]))


@settings(max_examples=300)
@given(sizes, st.sampled_from([0, 0.02, 0.3, 1]), st.integers(0, 2**32 - 1))
def test_every_event_is_listed_once_in_order(shape, rate, seed):
    x = mostly_zero(np.random.default_rng(seed), shape, rate)
    starts, places, values = listed(x)
    n, c, t = np.nonzero(x)
    np.testing.assert_array_equal(starts, np.searchsorted(n * shape[1] + c, np.arange(shape[0] * shape[1] + 1)))
    np.testing.assert_array_equal(places, t)
    np.testing.assert_array_equal(values, x[n, c, t])

    begins, channels, factors = sorted_by_time(x, starts, places, values)
    n, t, c = np.nonzero(x.swapaxes(1, 2))
    ends = np.searchsorted(n * shape[2] + t, np.arange(shape[0] * shape[2] + 1))
    for sample, row in enumerate(begins):
        np.testing.assert_array_equal(row, ends[sample * shape[2] : (sample + 1) * shape[2] + 1])
    np.testing.assert_array_equal(channels, c)
    np.testing.assert_array_equal(factors, x[n, c, t])


@settings(max_examples=300)
@given(sizes, st.sampled_from([1, 10, 16, 63, 64, 65, 100, 130]), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_sums_equal_those_of_integers(shape, outputs, parts, seed):
    rng = np.random.default_rng(seed)
    x = mostly_zero(rng, shape, 0.2)
    weight = rng.integers(-128, 128, (outputs, shape[1])).astype(np.float32)
    grad = rng.integers(-128, 128, (shape[0], outputs, shape[2])).astype(np.float32)
    y, g_weight = run(x, weight, grad, parts=parts)
    np.testing.assert_array_equal(y, np.einsum("oc,nct->not", weight.astype(np.int64), x.astype(np.int64)))
    np.testing.assert_array_equal(g_weight, np.einsum("not,nct->oc", grad.astype(np.int64), x.astype(np.int64)))


@pytest.mark.parametrize("threads", [2, 3])
def test_every_number_of_threads_gives_the_same_bits(monkeypatch, threads):
    rng = np.random.default_rng(0)
    x = mostly_zero(rng, (5, 40, 30), 0.2) / np.float32(3)
    weight, grad = rng.normal(size=(130, 40)).astype(np.float32), rng.normal(size=(5, 130, 30)).astype(np.float32)
    alone = run(x, weight, grad)
    monkeypatch.setattr(cpu, "threads", lambda: threads)
    for a, b in zip(alone, run(x, weight, grad, elements=10**9), strict=True):
        np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))


def test_what_is_no_number_is_an_event():
    x = np.array([[[0, np.nan, 0, np.inf]]], np.float32)
    assert listed(x)[1].tolist() == [1, 3]
