"""CUDA drivers of the time shift equal the CPU's: values bit for bit, the delay's gradient up to rounding."""

import numpy as np
import pytest

from lavadl_lite.kernels import shift
from tests.cudasim.simulator import F32, assert_close, drive, run_cpu, simulate, unwritten
from tests.reference import fixed_point as reference

# rows, steps, duration of a step, further steps
CASES = [
    (1, 1, 1.0, 0),
    (1, 33, 1.0, 1),
    (5, 70, 0.5, 0),
    (31, 32, 1.0, -3),
    (32, 31, 2.0, 0),
    (32, 64, 1.0, 40),
    (33, 65, 0.1, -70),
    (40, 96, 1.0, 0),
    (64, 33, 1.0, 200),
    (65, 32, 3.0, 0),
    (20, 130, 1.0, -5),
    (3, 0, 1.0, 0),
]


def delays(rng, rows, T):
    """Within a row, before and beyond it, whole and not."""
    special = rng.choice([0.0, 0.99, -0.99, T, -T, 1e9, -1e9], rows)
    return np.where(rng.random(rows) < 0.3, special, rng.normal(0, T / 2, rows))


def launch(run, rows, T, sampling_time, offset, with_delay):
    """Forward and backward by one of the drivers, on the same arrays each time."""
    rng = np.random.default_rng(rows * 1000 + T)
    x, g_y, delay = drive(rng, rows, T), rng.normal(0, 1, (rows, T)).astype(F32), delays(rng, rows, T).astype(F32)
    y, g_x, g_delay = unwritten(rows, T), unwritten(rows, T), unwritten(rows if with_delay else 0)
    run(shift.forward, x, y, delay, sampling_time, offset, T, rows=rows)
    kept = x if with_delay else x[:0]
    run(shift.backward, g_y, kept, g_x, g_delay, delay, sampling_time, offset, T, rows=rows)
    return y, g_x, g_delay


@pytest.mark.parametrize(("rows", "T", "sampling_time", "offset"), CASES)
def test_simulator_equals_cpu(rows, T, sampling_time, offset):
    y, g_x, g_delay = launch(simulate, rows, T, sampling_time, offset, with_delay=True)
    y_cpu, g_x_cpu, g_delay_cpu = launch(run_cpu, rows, T, sampling_time, offset, with_delay=True)
    np.testing.assert_array_equal(y, y_cpu)
    np.testing.assert_array_equal(g_x, g_x_cpu)
    assert_close(g_delay, g_delay_cpu)


def test_simulator_without_the_gradient_of_the_delay_equals_cpu():
    results, results_cpu = (launch(run, 33, 40, 1.0, 2, with_delay=False) for run in (simulate, run_cpu))
    for result, result_cpu in zip(results, results_cpu, strict=True):
        np.testing.assert_array_equal(result, result_cpu)


@pytest.mark.parametrize(("delay", "steps"), [(1e30, 5), (-1e30, -5), (np.inf, 5), (-np.inf, -5), (np.nan, -5)])
def test_delays_that_no_integer_holds_shift_everything_out(delay, steps):
    x, y = np.ones((1, 5), F32), unwritten(1, 5)
    simulate(shift.forward, x, y, np.array([delay], F32), 1.0, 0, 5, rows=1)
    np.testing.assert_array_equal(y, reference.delay(x, [steps]))
