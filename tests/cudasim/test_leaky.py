"""CUDA drivers of the leaky integrator equal the CPU's: forward bit for bit, gradients up to fused multiply-add."""

import numpy as np
import pytest

from lavadl_lite.kernels import leaky
from lavadl_lite.kernels.fixed_point import NEVER
from tests.cudasim.simulator import F32, assert_close, decays, drive, run_cpu, simulate, unwritten

SCALE = 4096

# rows and steps at, below and above the 32 of a tile; level, initial states or not, extreme input or not
CASES = [
    (1, 1, NEVER, False, False),
    (1, 33, SCALE, True, False),
    (5, 70, NEVER, True, False),
    (31, 32, SCALE, False, False),
    (32, 31, SCALE, True, True),
    (32, 64, NEVER, True, True),
    (33, 65, SCALE, True, False),
    (40, 96, SCALE, False, True),
    (64, 33, NEVER, False, False),
    (65, 32, 1, True, False),
    (20, 130, NEVER, True, True),
    (3, 0, SCALE, True, False),
]


def launch(run, rows, T, level, initial, extremes):
    """Forward and backward by one of the drivers, on the same arrays each time."""
    rng = np.random.default_rng(rows * 1000 + T)
    x, g_y = drive(rng, rows, T, extremes), rng.normal(0, 1, (rows, T)).astype(F32)
    # above the level too: an initial state comes after its reset
    state = rng.normal(0, 2, rows).astype(F32) if initial else np.zeros(0, F32)
    decay = decays(rng, rows)
    y, g_x, g_decay, g_state = unwritten(rows, T), unwritten(rows, T), unwritten(rows), unwritten(state.size)
    run(leaky.forward, x, y, decay, state, T, float(SCALE), level, rows=rows)
    run(leaky.backward, g_y, y, g_x, g_decay, g_state, decay, state, T, float(SCALE), level, rows=rows)
    return y, g_x, g_decay, g_state


@pytest.mark.parametrize(("rows", "T", "level", "initial", "extremes"), CASES)
def test_simulator_equals_cpu(rows, T, level, initial, extremes):
    y, *grads = launch(simulate, rows, T, level, initial, extremes)
    y_cpu, *grads_cpu = launch(run_cpu, rows, T, level, initial, extremes)
    np.testing.assert_array_equal(y, y_cpu)
    for g, g_cpu in zip(grads, grads_cpu, strict=True):
        # sums over 32 steps here and over 64 there; at states near the limit large terms cancel
        assert_close(g, g_cpu, 5e-6 if extremes else 1e-6)


def test_the_gradient_of_the_initial_state_may_be_absent():
    rng = np.random.default_rng(0)
    g_y, y, g_x = drive(rng, 3, 40), np.zeros((3, 40), F32), unwritten(3, 40)
    g_decay, nothing = unwritten(3), np.zeros(0, F32)
    state = np.ones(3, F32)
    simulate(leaky.backward, g_y, y, g_x, g_decay, nothing, decays(rng, 3), state, 40, 64.0, NEVER, rows=3)
    assert np.isfinite(g_x).all()
    assert np.isfinite(g_decay).all()
