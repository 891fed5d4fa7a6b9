"""CUDA drivers of adaptive threshold and ALIF neuron equal the CPU's: bits forward, gradients up to rounding."""

import numpy as np
import pytest

from lavadl_lite.kernels import adaptive_threshold, alif
from lavadl_lite.kernels.tiles import STEPS as CPU_STEPS
from tests.cudasim.simulator import F32, assert_close, decays, drive, run_cpu, simulate, unwritten

SCALE, BASE, RISE = 64, 64, 16
NOTHING = np.zeros(0, F32)

# rows and steps at, below and above the 32 of a tile; then two choices, and extreme input or not
CASES = [
    (1, 1, False, False, False),
    (1, 33, True, True, False),
    (5, 70, False, True, False),
    (31, 32, True, False, False),
    (32, 31, False, False, True),
    (33, 65, True, True, True),
    (40, 96, False, False, False),
    (65, 32, True, True, False),
    (20, 130, False, True, True),
    (3, 0, False, True, False),
]


def launch(run, rows, T, graded, initial, extremes):
    """Forward and backward by one of the drivers, on the same arrays each time."""
    rng = np.random.default_rng(rows * 1000 + T)
    x = drive(rng, rows, T, extremes)
    g_spikes = rng.normal(0, 1, (rows, T)).astype(F32)
    states = rng.normal(0, 2, (4, rows)).astype(F32) if initial else NOTHING
    parameters = np.stack([decays(rng, rows) for _ in range(4)]), states, T, rows, float(SCALE), BASE, RISE
    kept = np.zeros(alif.checkpoints(rows, T, "cuda" if run is simulate else "cpu"), np.int32)
    spikes, final = unwritten(rows, T), unwritten(4, rows)
    on, unit = (0.0, 1 / SCALE) if graded else (1.0, 0.0)
    run(alif.forward, x, spikes, kept, final, *parameters, on, unit, rows=rows)

    g_x, g_decays = unwritten(rows, T), unwritten(2, rows)
    height = 0.1 if graded else 0.05
    slope = float(np.log2(np.e)) / SCALE
    run(alif.backward, g_spikes, x, kept, g_x, g_decays, *parameters, slope, height, graded, (rows + T) % 4, rows=rows)
    return spikes, kept, final, g_x, g_decays


@pytest.mark.parametrize(("rows", "T", "graded", "initial", "extremes"), CASES)
def test_neurons_in_the_simulator_equal_the_cpu(rows, T, graded, initial, extremes):
    spikes, kept, final, g_x, g_decays = launch(simulate, rows, T, graded, initial, extremes)
    spikes_cpu, kept_cpu, final_cpu, g_x_cpu, g_decays_cpu = launch(run_cpu, rows, T, graded, initial, extremes)
    np.testing.assert_array_equal(spikes, spikes_cpu)
    np.testing.assert_array_equal(final, final_cpu)
    # every second checkpoint of the GPU is one of the CPU
    every = CPU_STEPS // alif.cuda_tiles.STEPS
    shared = kept.reshape(-1, alif.STATES, rows)[every - 1 :: every]
    np.testing.assert_array_equal(shared, kept_cpu.reshape(-1, alif.STATES, rows))
    assert_close(g_x, g_x_cpu)
    # the CPU sums over 64 steps where CUDA sums over 32; at states near the limit large terms cancel
    for g, g_cpu in zip(g_decays, g_decays_cpu, strict=True):
        assert_close(g, g_cpu, 5e-6 if extremes else 1e-6)


def thresholds(run, rows, T, phase, extremes):
    rng = np.random.default_rng(rows * 1000 + T)
    voltage, im = drive(rng, rows, T, extremes), drive(rng, rows, T, extremes) if phase else NOTHING
    states = rng.normal(0, 2, (3, rows)).astype(F32)
    found = unwritten(rows, T), unwritten(rows, T)
    run(
        adaptive_threshold.forward, voltage, im, *found, decays(rng, rows), decays(rng, rows), *states, T,
        float(SCALE), BASE, RISE, rows=rows,
    )  # fmt: skip
    return found


@pytest.mark.parametrize(("rows", "T", "phase", "_", "extremes"), CASES)
def test_thresholds_in_the_simulator_equal_the_cpu(rows, T, phase, _, extremes):
    found, truth = (thresholds(run, rows, T, phase, extremes) for run in (simulate, run_cpu))
    np.testing.assert_array_equal(found, truth)


def test_the_cases_spike_and_saturate():
    """Guards the tests above: their inputs reach every branch."""
    spikes, _, final, *_ = launch(run_cpu, 33, 65, graded=False, initial=True, extremes=True)
    assert 0 < spikes.mean() < 1
    assert np.abs(final).max() == F32((2**23 - 1) / SCALE)
    for phase in (False, True):
        threshold, _ = thresholds(run_cpu, 33, 65, phase, extremes=False)
        assert 0 < (np.diff(threshold) > 0).mean() < 1


def test_absent_outputs_are_left_alone():
    """Checkpoints and final states are written only where there is room for them."""
    x, spikes = np.ones((2, 40), F32), unwritten(2, 40)
    arguments = np.zeros(0, np.int32), NOTHING, np.full((4, 2), 100, F32), NOTHING, 40, 2, 64.0, BASE, RISE, 1.0, 0.0
    simulate(alif.forward, x, spikes, *arguments, rows=2)
    assert np.isfinite(spikes).all()
