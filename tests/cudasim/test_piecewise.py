"""CUDA drivers of the piecewise-linear function equal the CPU's, up to the last bit of a fused product."""

import numpy as np
import pytest

from lavadl_lite.kernels import piecewise
from tests.cudasim.simulator import F32, assert_close, run_cpu, simulate, unwritten


def launch(run, size):
    rng = np.random.default_rng(size)
    z, g_y = rng.normal(0, 2, size).astype(F32), rng.normal(size=size).astype(F32)
    knots = np.array([[-1, 0, 0, 2], [0, 0.5, 0.5, 1], [0.5, 9, 0.25, 0], [0.6, 9, 0.3, 1e-5]], F32)
    y, g_z = unwritten(size), unwritten(size)
    run(piecewise.forward, z, y, knots, rows=size)
    run(piecewise.backward, z, g_y, g_z, knots, F32(1e-5), rows=size)
    return y, g_z


@pytest.mark.parametrize("size", [1, 33, 100])
def test_simulator_equals_cpu(size):
    for found, expected in zip(launch(simulate, size), launch(run_cpu, size), strict=True):
        assert_close(found, expected)
