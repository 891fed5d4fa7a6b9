"""CUDA drivers of the delta encoder equal the CPU's: messages and states bit for bit, gradients up to rounding."""

import numpy as np
import pytest

from lavadl_lite.kernels import delta
from tests.cudasim.simulator import F32, assert_close, drive, run_cpu, simulate, unwritten

SCALE = 64

# rows and steps at, below and above the 32 of a tile; initial states or not, cumulative, carry, extreme input or not
CASES = [
    (1, 1, False, False, False, False),
    (1, 33, True, False, False, False),
    (5, 70, True, True, False, False),
    (31, 32, False, True, True, False),
    (32, 31, True, False, True, True),
    (32, 64, True, True, False, True),
    (33, 65, True, False, True, False),
    (40, 96, False, False, False, True),
    (64, 33, False, True, False, False),
    (20, 130, True, False, False, False),
    (3, 0, True, False, False, False),
]


def launch(run, rows, T, initial, cumulative, carry, extremes):
    """Forward and backward by one of the drivers, on the same arrays each time."""
    rng = np.random.default_rng(rows * 1000 + T)
    x, g_y = drive(rng, rows, T, extremes), rng.normal(0, 1, (rows, T)).astype(F32)
    states = rng.normal(0, 1, (3, rows)).astype(F32) if initial else np.zeros(0, F32)
    threshold = rng.choice(np.array([1 / 64, 0.25, 1], F32), rows)
    y, g_x, g_threshold, final = unwritten(rows, T), unwritten(rows, T), unwritten(rows), unwritten(*states.shape)
    options = T, rows, float(SCALE), cumulative, carry
    run(delta.forward, x, y, final, states, threshold, *options, rows=rows)
    run(delta.backward, g_y, x, g_x, g_threshold, states, threshold, *options, 1.7, 1.5, rows=rows)
    return y, final, g_x, g_threshold


@pytest.mark.parametrize(("rows", "T", "initial", "cumulative", "carry", "extremes"), CASES)
def test_simulator_equals_cpu(rows, T, initial, cumulative, carry, extremes):
    *exact, g_threshold = launch(simulate, rows, T, initial, cumulative, carry, extremes)
    *exact_cpu, g_threshold_cpu = launch(run_cpu, rows, T, initial, cumulative, carry, extremes)
    for found, expected in zip(exact, exact_cpu, strict=True):
        assert np.isfinite(expected).all()
        np.testing.assert_array_equal(found, expected)
    assert_close(g_threshold, g_threshold_cpu, 5e-6 if extremes else 1e-6)


def test_the_gradient_of_the_threshold_may_be_absent():
    g_y, g_x, nothing = drive(np.random.default_rng(0), 3, 40), unwritten(3, 40), np.zeros(0, F32)
    arguments = g_y, nothing, g_x, nothing, nothing, nothing, 40, 3, 64.0, False, False, 1.0, 1.0
    simulate(delta.backward, *arguments, rows=3)
    np.testing.assert_array_equal(g_x, g_y - np.pad(g_y, ((0, 0), (0, 1)))[:, 1:])
