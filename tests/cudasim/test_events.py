"""CUDA drivers of filling a tensor with events equal the CPU's, bit for bit: the simulator adds in order."""

import numpy as np
import pytest

from lavadl_lite.kernels import events
from tests.cudasim.simulator import run_cpu, simulate


@pytest.mark.parametrize("count", [0, 1, 32, 33, 150])
@pytest.mark.parametrize(("y", "fractions", "graded"), [(True, False, False), (True, True, True), (False, False, True)])
def test_same_as_the_cpu(count, y, fractions, graded):
    rng = np.random.default_rng(count)
    shape = (2, 4, 3, 20) if y else (2, 1, 3, 20)
    x, rows, c = (rng.integers(-1, n + 1, count) for n in (3, 4, 2))
    t = rng.choice([*np.arange(-2, 16) / 2, np.nan, np.inf, -np.inf, 1e30], count)
    columns = [x, rows if y else rows[:0], c]
    if fractions:
        columns = [column + rng.choice([-0.5, 0, 0.25, 0.5], len(column)) for column in columns]
    payload = rng.normal(size=count if graded else 0)
    unit = np.array([0.5])
    for kernel, more in ((events.mark, ()), (events.add, (payload,))):
        found, expected = np.full(shape, 7, np.float32), np.full(shape, 7, np.float32)
        simulate(kernel, found, *columns, t, *more, unit, 1, *shape, rows=count)
        run_cpu(kernel, expected, *columns, t, *more, unit, 1, *shape, rows=count)
        np.testing.assert_array_equal(found, expected)
        assert count < 32 or (expected != 7).any()
