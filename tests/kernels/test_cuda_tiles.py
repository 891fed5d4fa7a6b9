"""How a warp walks over rows, lane by lane in plain Python: every row and step once, nothing outside."""

import numpy as np
import pytest

from lavadl_lite.kernels.cuda_tiles import PITCH, STEPS, TILE, WARP, fetch, put, write_tile

MARGIN = 40  # values before and after the array that nothing may touch


def copy(x):
    """``x`` by way of tiles, each lane in its turn; reading outside raises, writing outside shows in the margins."""
    rows, T = x.shape
    held = np.full(x.size + 2 * MARGIN, np.nan, np.float32)
    y = held[MARGIN : MARGIN + x.size]
    for first in range(0, rows, WARP):
        for t0 in range(0, T, STEPS):
            tile = np.full(TILE, np.nan, np.float32)
            for lane in range(WARP):
                ahead = np.full(WARP, np.nan, np.float32)
                fetch(ahead, x.ravel(), first, rows, t0, T, lane)
                assert not np.isnan(ahead).any()
                put(tile, ahead, lane)
            for lane in range(WARP):
                write_tile(tile, y, first, rows, t0, T, lane)
    assert np.isnan(held[:MARGIN]).all()
    assert np.isnan(held[MARGIN + x.size :]).all()
    return y.reshape(rows, T)


@pytest.mark.parametrize(("rows", "T"), [(1, 1), (1, 33), (31, 32), (32, 31), (32, 64), (33, 65), (40, 7)])
def test_every_row_and_step_is_turned_once(rows, T):
    x = np.arange(rows * T, dtype=np.float32).reshape(rows, T)
    np.testing.assert_array_equal(copy(x), x)


def test_a_tile_holds_rows_apart():
    """Lane ``k`` reads row ``k`` at ``k * PITCH``: a column meets 32 different banks of shared memory."""
    assert TILE == WARP * PITCH
    assert {row * PITCH % WARP for row in range(WARP)} == set(range(WARP))
    x = np.arange(WARP * STEPS, dtype=np.float32).reshape(WARP, STEPS)
    tile, ahead = np.zeros(TILE, np.float32), np.zeros(WARP, np.float32)
    for lane in range(WARP):
        fetch(ahead, x.ravel(), 0, WARP, 0, STEPS, lane)
        np.testing.assert_array_equal(ahead, x[:, lane])
        put(tile, ahead, lane)
    np.testing.assert_array_equal(tile.reshape(WARP, PITCH)[:, :WARP], x)


def test_rows_and_steps_past_the_end_repeat_the_last_ones():
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    ahead = np.zeros(WARP, np.float32)
    fetch(ahead, x.ravel(), 0, 3, 0, 2, 0)
    assert ahead[:4].tolist() == [0, 2, 4, 4]
    fetch(ahead, x.ravel(), 0, 3, 0, 2, 9)
    assert ahead[:4].tolist() == [1, 3, 5, 5]


@pytest.mark.parametrize("t0", [-32, 2, 64])
def test_no_tile_nothing_read(t0):
    ahead = np.full(WARP, -1, np.float32)
    fetch(ahead, np.zeros(0, np.float32), 0, 3, t0, 2, 0)
    assert (ahead == -1).all()
