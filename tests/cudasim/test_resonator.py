"""CUDA drivers of the resonators equal the CPU's: forward bit for bit, gradients up to fused multiply-add."""

import numpy as np
import pytest

from lavadl_lite.kernels import resonate, resonator
from lavadl_lite.kernels.tiles import STEPS as CPU_STEPS
from tests.cudasim.simulator import F32, assert_close, decays, drive, run_cpu, simulate, unwritten

SCALE = 64

# rows and steps at, below and above the 32 of a tile; extreme input or not
SIZES = [(1, 1, False), (5, 70, True), (33, 31, False), (2, 96, False), (3, 0, False)]


def integrate(run, rows, T, reset, extremes):
    """Forward and backward of the bare resonator by one of the drivers, on the same arrays each time."""
    rng = np.random.default_rng(rows * 1000 + T)
    inputs = [drive(rng, rows, T, extremes) for _ in range(2)]
    upstream = [rng.normal(0, 1, (rows, T)).astype(F32) for _ in range(2)]
    parameters = decays(rng, rows), decays(rng, rows), *rng.normal(0, 2, (2, rows)).astype(F32)
    numbers = T, float(SCALE), *((SCALE, SCALE - 1) if reset else (2**31 - 1, 0))
    outputs = [unwritten(rows, T) for _ in range(2)]
    run(resonator.forward, *inputs, *outputs, *parameters, *numbers, rows=rows)
    grads = [unwritten(rows, T) for _ in range(2)] + [unwritten(rows) for _ in range(4)]
    run(resonator.backward, *upstream, *outputs, *grads, *parameters, *numbers, rows=rows)
    return outputs, grads


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(("rows", "T", "extremes"), SIZES)
def test_resonator_equals_cpu(rows, T, extremes, reset):
    (outputs, grads), (outputs_cpu, grads_cpu) = (
        integrate(run, rows, T, reset, extremes) for run in (simulate, run_cpu)
    )
    np.testing.assert_array_equal(outputs, outputs_cpu)
    # the CPU sums over 64 steps where CUDA sums over 32; at states near the limit large terms cancel
    for g, g_cpu in zip(grads, grads_cpu, strict=True):
        assert_close(g, g_cpu, 5e-6 if extremes else 1e-6)


def fire(run, rows, T, extremes, phase, adaptive, graded):
    """Forward and backward of a fused neuron."""
    rng = np.random.default_rng(rows * 1000 + T)
    inputs = [drive(rng, rows, T, extremes) for _ in range(2)]
    rows_of = np.concatenate([decays(rng, rows) for _ in range(4)]), rng.normal(0, 2, 4 * rows).astype(F32)
    kept = np.zeros(resonate.checkpoints(rows, T, adaptive, "cuda" if run is simulate else "cpu"), np.int32)
    spikes, final = unwritten(rows, T), unwritten(4 * rows)
    numbers = T, rows, float(SCALE), SCALE, SCALE // 4
    on, unit = (0.0, 1 / SCALE) if graded else (1.0, 0.0)
    run(resonate.forward, *inputs, spikes, kept, final, *rows_of, *numbers, on, unit, phase, adaptive, rows=rows)
    upstream = rng.normal(0, 1, (rows, T)).astype(F32)
    grads = [unwritten(rows, T) for _ in range(2)] + [unwritten(rows) for _ in range(2)]
    run(
        resonate.backward, upstream, *inputs, kept, *grads, *rows_of, *numbers, 1.44 / SCALE, 0.3, -0.4, phase,
        adaptive, graded, (rows + T) % 4, rows=rows,
    )  # fmt: skip
    return spikes, final, kept, grads


@pytest.mark.parametrize("phase", [False, True])
@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize(("rows", "T", "extremes"), SIZES)
def test_neurons_equal_cpu(rows, T, extremes, phase, adaptive):
    graded = rows % 2 == 0
    spikes, final, kept, grads = fire(simulate, rows, T, extremes, phase, adaptive, graded)
    spikes_cpu, final_cpu, kept_cpu, grads_cpu = fire(run_cpu, rows, T, extremes, phase, adaptive, graded)
    np.testing.assert_array_equal(spikes, spikes_cpu)
    np.testing.assert_array_equal(final, final_cpu)
    # every second checkpoint of the GPU is one of the CPU
    every, states = CPU_STEPS // resonate.cuda_tiles.STEPS, resonate.STATES if adaptive else 2
    np.testing.assert_array_equal(kept.reshape(-1, states, rows)[every - 1 :: every].ravel(), kept_cpu)
    for g, g_cpu in zip(grads, grads_cpu, strict=True):
        assert_close(g, g_cpu, 5e-6 if extremes else 1e-6)


@pytest.mark.parametrize("phase", [False, True])
@pytest.mark.parametrize("adaptive", [False, True])
def test_the_cases_spike(phase, adaptive):
    """Guards the test above: its inputs reach every branch."""
    spikes, *_ = fire(run_cpu, 40, 96, False, phase, adaptive, False)
    assert 0 < spikes.mean() < 1
