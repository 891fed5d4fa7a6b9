"""Delays along time: a whole sequence, and the same in chunks."""

import numpy as np
import pytest

from lavadl_lite.netx._delay import Line
from tests.reference import fixed_point


@pytest.mark.parametrize("delay", [0, 1, 5, [3, 0, 7], [2, 2, 2]])
@pytest.mark.parametrize("cuts", [(), (1, 2, 9), (4, 4)])
def test_every_channel_is_late_by_its_own_steps(delay, cuts):
    x = np.random.default_rng(0).integers(-(1 << 40), 1 << 40, (2, 12, 3))
    line = Line(2, np.array(delay), 3)
    found = np.concatenate([line(part) for part in np.split(x, cuts, axis=1)], axis=1)
    steps = np.broadcast_to(delay, 3)
    for sample, late in zip(x, found, strict=True):
        np.testing.assert_array_equal(late.T, fixed_point.delay(sample.T, steps))


@pytest.mark.parametrize("delay", [1, [1, 2]])
def test_kernels_get_plain_arrays(delay):
    found = Line(3, np.array(delay), 2)(np.ones((3, 4, 2), np.int32))
    assert found.flags.c_contiguous
    assert found.dtype == np.int32
