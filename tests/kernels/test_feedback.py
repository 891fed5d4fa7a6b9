"""Sums of the lines of a matrix: the places of what is not 0, and the products with them, against NumPy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.kernels import feedback
from lavadl_lite.kernels.cpu import cpu_kernel
from tests import strategies


@cpu_kernel
def product(matrix, values, places, sums, begin, at, first, P):
    count = feedback.find(values, at, places, first, P)
    feedback.add_lines(sums, 0, matrix, begin, values, at, places, first, count, P)
    return count


@cpu_kernel
def products(matrix, values, sums, begin, at, lo, hi, P):
    feedback.add_products(sums, P, matrix, begin, values, at, P, lo, hi, P)


@cpu_kernel
def by_lanes(matrix, values, sums, begin, at, P):
    for c in range(P):
        sums[c] = feedback.total(matrix, begin + c, values, at, P)


@settings(max_examples=strategies.examples(100))
@given(st.sampled_from([0, 16, 48, 64, 80, 128]), st.sampled_from([0, 0.1, 1]), strategies.generators())
def test_products_equal_numpy(P, rate, rng):
    """Whole numbers, whose sums are exact in any order; the matrix and the numbers begin somewhere inside."""
    matrix = rng.integers(-9, 10, (3, P, P)).astype(np.float32)
    values = (rng.integers(-4, 5, 3 * P) * (rng.random(3 * P) < rate)).astype(np.float32)
    here = values[P : 2 * P]
    places, sums = np.full(2 * P, -1, np.int32), rng.integers(-9, 10, P).astype(np.float32)
    want = sums + here @ matrix[1]
    count = product(matrix.ravel(), values, places, sums, P * P, P, P, P)
    np.testing.assert_array_equal(places[P : P + count], np.flatnonzero(here))
    np.testing.assert_array_equal(places[:P], -1)
    np.testing.assert_array_equal(sums, want)
    by_lanes(matrix.ravel(), values, sums, P * P, P, P)
    np.testing.assert_array_equal(sums, here @ matrix[1])


@settings(max_examples=strategies.examples(50))
@given(st.sampled_from([16, 32, 48, 96]), st.integers(0, 9), st.integers(0, 3), strategies.generators())
def test_products_of_many_samples_equal_numpy(P, N, lo, rng):
    lo = min(lo, N)
    matrix, values = (rng.integers(-9, 10, size).astype(np.float32) for size in ((2, P, P), (2, N, P)))
    sums = rng.integers(-9, 10, (N, P)).astype(np.float32)
    want = sums.copy()
    want[lo:] += values[1, lo:] @ matrix[1]
    products(matrix.ravel(), values.ravel(), sums.reshape(-1), P * P, N * P, lo, N, P)
    np.testing.assert_array_equal(sums, want)


def test_what_is_not_a_number_counts():
    values = np.zeros(16, np.float32)
    values[5] = np.nan
    places, sums = np.zeros(17, np.int32), np.zeros(16, np.float32)
    assert product(np.ones(256, np.float32), values, places, sums, 0, 0, 0, 16) == 1
    assert np.isnan(sums).all()
