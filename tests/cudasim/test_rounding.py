"""CUDA drivers of rounding inside a range equal the CPU's bit for bit."""

import numpy as np
import pytest

from lavadl_lite.kernels import rounding
from tests.cudasim.simulator import EXTREMES, F32, run_cpu, simulate, unwritten


def launch(run, size):
    rng = np.random.default_rng(size)
    x, g_y = rng.normal(0, 3, size).astype(F32), rng.normal(size=size).astype(F32)
    x[: len(EXTREMES)] = EXTREMES[:size]
    y, g_x = unwritten(size), unwritten(size)
    run(rounding.forward, x, y, F32(32), F32(1 / 32), F32(-128), F32(127), rows=size)
    run(rounding.backward, x, g_y, g_x, F32(32), F32(-128), F32(127), rows=size)
    return y, g_x


@pytest.mark.parametrize("size", [1, 33, 100])
def test_simulator_equals_cpu(size):
    for found, expected in zip(launch(simulate, size), launch(run_cpu, size), strict=True):
        np.testing.assert_array_equal(found, expected)
