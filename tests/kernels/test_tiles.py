"""How CPU drivers walk over rows: every row and step once, nothing outside, whatever the sizes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from lavadl_lite.kernels import tiles
from lavadl_lite.kernels.tiles import LANES, LINES_SIZE, QUAD, STEPS, TILE_SIZE

whole_group, whole_quads = tiles.whole_group.py_func, tiles.whole_quads.py_func
next_tile, line = tiles.next_tile.py_func, tiles.line.py_func


@njit(error_model="numpy")
def copy_some(x, y, row, rows, t, steps, T, lines):
    tiles.read_some(lines, x, row, rows, t, steps, T)
    tiles.write_some(lines, y, row, rows, t, steps, T)


@njit(error_model="numpy")
def copy_rows(x, y, first, rows, buffer):
    tiles.write_rows(y, first, rows, buffer, tiles.read_rows(x, first, rows, buffer))


@njit(error_model="numpy")
def swap_pairs(x, y, first, apart, rows, buffer):
    one, other = tiles.read_pair(x, first, apart, rows, buffer)
    tiles.write_pair(y, first, apart, rows, buffer, other, one)


def test_sizes():
    assert TILE_SIZE == STEPS * LANES
    assert LINES_SIZE == QUAD * LANES
    assert STEPS % QUAD == 0


@given(st.integers(0, 70), st.integers(1, 70))
def test_groups_cover_a_share_of_rows_and_nothing_else(lo, count):
    hi = lo + count
    groups = [whole_group(group, lo, hi) for group in range(lo, hi, LANES)]
    covered = [row for first, rows in groups for row in range(first, first + rows)]
    assert set(covered) == set(range(lo, hi))
    assert all(rows == min(LANES, count) for _, rows in groups)
    assert sorted(groups) == groups


@pytest.mark.parametrize(("rows", "steps", "quads"), [(16, 64, 64), (16, 63, 60), (16, 3, 0), (15, 64, 0), (1, 64, 0)])
def test_only_whole_groups_are_turned_four_steps_at_a_time(rows, steps, quads):
    assert whole_quads(rows, steps) == quads


@pytest.mark.parametrize("T", [64, 100, 640])
def test_lines_of_a_tile_are_its_cache_lines_once_each(T):
    """16 floats each, first those of all rows, then the next 16 steps."""
    places = [line(t, T) for t in range(STEPS)]
    assert places == [row * T + t for t in range(0, STEPS, 16) for row in range(LANES)]


def test_the_next_tile_is_of_the_same_rows_or_of_the_next_whole_group():
    T, hi = 200, 50
    assert next_tile(0, 64, 0, T, hi) == 64
    assert next_tile(16, 192, 0, T, hi) == 16 * T + 192
    assert next_tile(0, 256, 0, T, hi) == 16 * T  # past the end: the first tile of the next group
    assert next_tile(0, -64, 192, T, hi) == 16 * T + 192  # past the beginning, in reverse: its last tile
    assert next_tile(34, 256, 0, T, hi) == 34 * T  # no whole group is left: what is here anyway


@pytest.mark.parametrize(
    ("row", "rows", "t", "steps"), [(0, 1, 0, 1), (3, 5, 7, 4), (0, 15, 96, 4), (4, 16, 97, 3), (9, 11, 0, 0)]
)
def test_some_rows_and_steps_are_copied_and_no_others(row, rows, t, steps):
    x = np.arange(20 * 100, dtype=np.float32).reshape(20, 100)
    y, truth = np.zeros_like(x), np.zeros_like(x)
    copy_some(x.ravel(), y.ravel(), row, rows, t, steps, 100, np.zeros(LINES_SIZE, np.float32))
    truth[row : row + rows, t : t + steps] = x[row : row + rows, t : t + steps]
    np.testing.assert_array_equal(y, truth)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.float64])
@pytest.mark.parametrize(("first", "rows"), [(0, 16), (4, 16), (19, 1), (5, 15), (7, 0)])
def test_values_of_rows_are_copied_and_no_others(dtype, first, rows):
    x = np.arange(1, 21).astype(dtype)
    y, truth = np.zeros_like(x), np.zeros_like(x)
    copy_rows(x, y, first, rows, np.zeros(LANES, dtype))
    truth[first : first + rows] = x[first : first + rows]
    np.testing.assert_array_equal(y, truth)


@pytest.mark.parametrize("rows", [16, 5])
def test_pairs_are_values_that_lie_apart(rows):
    x = np.arange(40, dtype=np.float32)
    y, truth = np.zeros_like(x), np.zeros_like(x)
    swap_pairs(x, y, 2, 20, rows, np.zeros(LANES, np.float32))
    truth[2 : 2 + rows], truth[22 : 22 + rows] = x[22 : 22 + rows], x[2 : 2 + rows]
    np.testing.assert_array_equal(y, truth)
