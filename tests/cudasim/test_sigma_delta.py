"""CUDA drivers of the sigma-delta neuron equal the CPU's: messages and states bit for bit, gradients up to rounding."""

import numpy as np
import pytest

from lavadl_lite.kernels import sigma_delta
from lavadl_lite.kernels.tiles import STEPS as CPU_STEPS
from tests.cudasim.simulator import F32, assert_close, drive, run_cpu, simulate, unwritten
from tests.reference.sigma_delta import LINES

SCALE = 64

# rows and steps at, below and above the 32 of a tile; the activation; bias and initial states or not, cumulative,
# carry, extreme input or not
CASES = [
    (1, 1, "relu", False, False, False, False),
    (1, 33, "identity", True, False, False, False),
    (5, 70, "relu", True, True, False, False),
    (31, 32, "hardtanh", False, True, True, False),
    (32, 31, "leaky_relu", True, False, True, True),
    (32, 64, "relu6", True, True, False, True),
    (33, 65, "relu", True, False, True, False),
    (40, 96, "relu", False, False, False, True),
    (64, 33, "leaky_relu", False, True, False, False),
    (20, 130, "hardtanh", True, True, False, False),
    (3, 0, "relu", True, False, False, False),
]


def launch(run, rows, T, name, initial, cumulative, carry, extremes):
    """Forward and backward by one of the drivers, on the same arrays each time."""
    rng = np.random.default_rng(rows * 1000 + T)
    x, g_y = drive(rng, rows, T, extremes), rng.normal(0, 1, (rows, T)).astype(F32)
    size = rows if initial else 0
    bias, start, states = rng.normal(0, 1, size).astype(F32), rng.normal(size=size), rng.normal(size=(3, size))
    given = bias, rng.choice(np.array([1 / 64, 0.25, 1], F32), rows), start, states.astype(F32)
    options = T, rows, float(SCALE), *LINES[name], cumulative, carry
    borders = sigma_delta.borders(T, "cuda" if run is simulate else "cpu")
    kept = np.zeros((borders, rows)), unwritten(borders, 1 + cumulative, rows)
    y, final, end = unwritten(rows, T), unwritten(3, size), np.full(size, np.nan)
    run(sigma_delta.forward, x, y, *kept, end, final, *given, *options, rows=rows)
    g_x, g_bias, g_threshold = unwritten(rows, T), unwritten(size), unwritten(rows)
    run(sigma_delta.backward, g_y, x, *kept, g_x, g_bias, g_threshold, *given, *options, 1.7, 1.5, rows=rows)
    return (y, final, end), kept, (g_x, g_bias, g_threshold)


@pytest.mark.parametrize(("rows", "T", "name", "initial", "cumulative", "carry", "extremes"), CASES)
def test_simulator_equals_cpu(rows, T, name, initial, cumulative, carry, extremes):
    case = rows, T, name, initial, cumulative, carry, extremes
    exact, kept, gradients = launch(simulate, *case)
    exact_cpu, kept_cpu, gradients_cpu = launch(run_cpu, *case)
    for found, expected in zip(exact, exact_cpu, strict=True):
        np.testing.assert_array_equal(found, expected)
    # every second checkpoint of the GPU is one of the CPU
    every = CPU_STEPS // sigma_delta.cuda_tiles.STEPS
    for found, expected in zip(kept, kept_cpu, strict=True):
        np.testing.assert_array_equal(found[every - 1 :: every], expected)
    for found, expected in zip(gradients, gradients_cpu, strict=True):
        assert_close(found, expected, 5e-6 if extremes else 1e-6)


def test_the_gradients_of_the_threshold_and_of_the_bias_may_be_absent():
    rng = np.random.default_rng(0)
    x, g_y, g_x, nothing = drive(rng, 3, 40), drive(rng, 3, 40), unwritten(3, 40), np.zeros(0, F32)
    kept = np.zeros((1, 3)), np.zeros((1, 3), F32)
    kept[0][0] = x[:, :32].sum(1, dtype=np.float64)
    given = nothing, np.ones(3, F32), np.zeros(0), nothing
    options = 40, 3, 64.0, *LINES["identity"], False, False, 1.0, 1.0
    simulate(sigma_delta.backward, g_y, x, *kept, g_x, nothing, nothing, *given, *options, rows=3)
    np.testing.assert_allclose(g_x, g_y, atol=1e-6)  # sums of differences
