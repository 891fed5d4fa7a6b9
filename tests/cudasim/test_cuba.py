"""CUDA drivers of the CUBA neuron equal the CPU's: forward bit for bit, gradients up to fused multiply-add."""

import numpy as np
import pytest

from lavadl_lite.kernels import cuba
from lavadl_lite.kernels.tiles import STEPS as CPU_STEPS
from tests.cudasim.simulator import F32, assert_close, decays, drive, run_cpu, simulate, unwritten

SCALE = 64
LEVEL = SCALE + 1  # a threshold of 1

# rows and steps at, below and above the 32 of a tile; graded spikes, initial states, extreme input, or none of them.
# Every third one is late, every second one has the same decays for all rows.
CASES = [
    (1, 1, False, False, False),
    (1, 33, True, True, False),
    (5, 70, False, True, False),
    (31, 32, True, False, False),
    (32, 31, False, False, True),
    (32, 64, False, True, True),
    (33, 65, True, True, True),
    (40, 96, False, False, False),
    (64, 33, False, True, False),
    (65, 32, True, True, False),
    (20, 130, False, True, True),
    (3, 0, False, True, False),
]


def launch(run, rows, T, graded, initial, extremes):
    """Forward and backward by one of the drivers, on the same arrays each time."""
    rng = np.random.default_rng(rows * 1000 + T)
    x = drive(rng, rows, T, extremes)
    g_spikes = rng.normal(0, 1, (rows, T)).astype(F32)
    # above the level too: an initial voltage comes after its reset
    states = [rng.normal(0, 2, rows).astype(F32) if initial else np.zeros(0, F32) for _ in range(2)]
    late, of = (rows + T) % 3 == 0, 1 if T % 2 else rows
    parameters = decays(rng, of), decays(rng, of), *states
    kept = np.zeros(cuba.checkpoints(rows, T, "cuda" if run is simulate else "cpu"), np.int32)
    spikes, finals = unwritten(rows, T), [unwritten(rows) for _ in range(2)]
    on, unit = (0.0, 1 / SCALE) if graded else (1.0, 0.0)
    run(cuba.forward, x, spikes, kept, *finals, *parameters, T, rows, float(SCALE), LEVEL, on, unit, late, rows=rows)

    g_x, g_decays = unwritten(rows, T), [unwritten(rows) for _ in range(2)]
    tau, slope = 1.0, float(np.log2(np.e)) / SCALE
    run(
        cuba.backward, g_spikes, x, kept, g_x, *g_decays, *parameters, T, rows, float(SCALE), LEVEL,
        slope, (1 - 0.01) * slope, 0.1 if graded else 0.1 / (2 * tau), graded, (rows + T) % 4, late, rows=rows,
    )  # fmt: skip
    return spikes, kept, finals, g_x, g_decays


@pytest.mark.parametrize(("rows", "T", "graded", "initial", "extremes"), CASES)
def test_simulator_equals_cpu(rows, T, graded, initial, extremes):
    spikes, kept, finals, g_x, g_decays = launch(simulate, rows, T, graded, initial, extremes)
    spikes_cpu, kept_cpu, finals_cpu, g_x_cpu, g_decays_cpu = launch(run_cpu, rows, T, graded, initial, extremes)
    np.testing.assert_array_equal(spikes, spikes_cpu)
    np.testing.assert_array_equal(finals, finals_cpu)
    # every second checkpoint of the GPU is one of the CPU
    every = CPU_STEPS // cuba.cuda_tiles.STEPS
    shared = kept.reshape(-1, 2, rows)[every - 1 :: every]
    np.testing.assert_array_equal(shared, kept_cpu.reshape(-1, 2, rows))
    assert_close(g_x, g_x_cpu)
    # the CPU sums over 64 steps where CUDA sums over 32; at states near the limit large terms cancel
    tolerance = 5e-6 if extremes else 1e-6
    for g, g_cpu in zip(g_decays, g_decays_cpu, strict=True):
        assert_close(g, g_cpu, tolerance)


def test_the_cases_spike_reset_and_saturate():
    """Guards the test above: its inputs reach every branch."""
    spikes, _, finals, *_ = launch(run_cpu, 32, 64, graded=False, initial=True, extremes=True)
    assert 0 < spikes.mean() < 1
    assert np.abs(finals).max() == F32((2**23 - 1) / SCALE)


def test_absent_outputs_are_left_alone():
    """Checkpoints and final states are written only where there is room for them."""
    x, spikes, nothing = np.ones((2, 40), F32), unwritten(2, 40), np.zeros(0, F32)
    decay = np.full(2, 100, F32)
    arguments = np.zeros(0, np.int32), nothing, nothing, decay, decay, nothing, nothing, 40, 2, 64.0, LEVEL, 1.0, 0.0
    simulate(cuba.forward, x, spikes, *arguments, False, rows=2)
    assert np.isfinite(spikes).all()
