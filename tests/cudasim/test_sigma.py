"""CUDA drivers of the running sum equal the CPU's bit for bit."""

import numpy as np
import pytest

from lavadl_lite.kernels import sigma
from tests.cudasim.simulator import F32, drive, run_cpu, simulate, unwritten

# rows and steps at, below and above the 32 of a tile; initial sums or not
CASES = [
    (1, 1, False),
    (1, 33, True),
    (5, 70, True),
    (31, 32, False),
    (32, 64, True),
    (33, 65, True),
    (40, 96, False),
    (65, 31, True),
    (3, 0, True),
]


def launch(run, rows, T, initial):
    """Forward and backward by one of the drivers, on the same arrays each time."""
    rng = np.random.default_rng(rows * 1000 + T)
    x, g_y = drive(rng, rows, T), rng.normal(0, 1, (rows, T)).astype(F32)
    state = rng.normal(0, 2, rows) if initial else np.zeros(0)
    y, g_x, final = unwritten(rows, T), unwritten(rows, T), np.full(rows if initial else 0, np.nan)
    run(sigma.forward, x, y, final, state, T, rows=rows)
    run(sigma.backward, g_y, g_x, T, rows=rows)
    return y, final, g_x


@pytest.mark.parametrize(("rows", "T", "initial"), CASES)
def test_simulator_equals_cpu(rows, T, initial):
    for found, expected in zip(launch(simulate, rows, T, initial), launch(run_cpu, rows, T, initial), strict=True):
        assert np.isfinite(expected).all()
        np.testing.assert_array_equal(found, expected)
