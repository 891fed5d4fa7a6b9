"""CUDA drivers of recurrent layers equal the CPU's: forward bit for bit, gradients up to fused multiply-add."""

import numpy as np
import pytest

from lavadl_lite.kernels import recurrent
from tests.cudasim.simulator import F32, assert_close, decays, drive, run_cpu, simulate, unwritten

SCALE = 64
FAMILIES = [
    (rotating, phase, adaptive)
    for rotating, phase in ((False, False), (True, False), (True, True))
    for adaptive in (False, True)
]
# samples, steps, channels; graded spikes, states wanted afterwards, extreme input
SIZES = [(2, 4, 16, False, True, True), (1, 3, 32, True, False, False)]


@pytest.fixture(autouse=True)
def _few_lanes(monkeypatch):
    """Each lane of the simulator is a thread of Python; with few of them each has several channels."""
    for kernel in (recurrent.forward, recurrent.backward):
        monkeypatch.setattr(kernel.cuda, "lanes", 5)


def launch(run, N, T, P, graded, final, extremes, rotating, phase, adaptive):
    """Forward and backward by one of the drivers, on the same arrays each time."""
    rng = np.random.default_rng(N * 1000 + T)
    parts, states = 1 + rotating, 4 if adaptive else 2
    x = drive(rng, parts * N * P, T, extremes).reshape(parts, N, P, T).swapaxes(2, 3).copy()
    weight = rng.integers(-32, 33, (parts, P, P)).astype(F32) / 32
    of_channels = decays(rng, 2 * P).reshape(2, P), decays(rng, 2 * P * adaptive).reshape(-1, P)
    initial = rng.normal(0, 2, (states, N, P)).astype(F32)
    spikes = unwritten(N, 1 + T, P)
    spikes[:, 0] = rng.integers(0, 2, (N, P))
    kept, held = unwritten(N, T, recurrent.kept_lines(adaptive), P), unwritten(*initial.shape if final else (0,))
    on, unit = (0.0, 1 / SCALE) if graded else (1.0, 0.0)
    flags, size = (rotating, phase, adaptive), {"rows": N * recurrent.LANES}
    run(
        recurrent.forward, x, spikes, kept, held, weight.swapaxes(1, 2).copy(), *of_channels, initial,
        np.zeros((N, recurrent.INTS, P), np.int32), unwritten(N, 2, P), N, T, P, float(SCALE), SCALE, SCALE // 4,
        SCALE - 1 if rotating else 0, on, unit, *flags, **size,
    )  # fmt: skip
    g_spikes = rng.normal(0, 1, spikes.shape).astype(F32)
    g_x, g_decays = unwritten(parts, N, T + 1, P), unwritten(2, N, P)
    run(
        recurrent.backward, g_spikes, kept, g_x, g_decays, weight, of_channels[0], initial, unwritten(N, 5, P), N, T, P,
        float(SCALE), SCALE, SCALE - 1 if rotating else 0, 1.44 / SCALE, 0.1, 0.03, -0.04, *flags, graded, (N + T) % 4,
        **size,
    )  # fmt: skip
    return spikes, kept, held, g_x, g_decays


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_simulator_equals_cpu(size, family):
    ours, cpu = launch(simulate, *size, *family), launch(run_cpu, *size, *family)
    for found, expected in zip(ours[:3], cpu[:3], strict=True):
        np.testing.assert_array_equal(found, expected)
    for found, expected in zip(ours[3:], cpu[3:], strict=True):
        assert_close(found, expected, 1e-5)


def test_no_steps():
    """States go through, gradients are 0."""
    ours, cpu = (
        launch(simulate, 2, 0, 16, *SIZES[0][3:], *FAMILIES[0]),
        launch(run_cpu, 2, 0, 16, *SIZES[0][3:], *FAMILIES[0]),
    )
    for found, expected in zip(ours, cpu, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_the_cases_spike(family):
    """Guards the test above: its inputs reach every branch."""
    spikes, *_ = launch(run_cpu, *SIZES[0], *family)
    assert 0 < spikes[:, 1:].mean() < 1
