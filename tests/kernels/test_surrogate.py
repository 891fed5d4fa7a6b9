"""The bells as kernels compute them, on 16 lanes and on scalars, against their formulas in float64."""

import numpy as np
import pytest
from numba import njit

from lavadl_lite.kernels.kinds import EXPONENTIAL, KINDS
from lavadl_lite.kernels.surrogate import bell
from lavadl_lite.kernels.vec import load, store

FORMULAS = {
    "exponential": lambda d: 2.0**-d,  # the slope brings the factor log2(e)
    "fast_sigmoid": lambda d: (1 + d) ** -2.0,
    "arctan": lambda d: 1 / (1 + d * d),
    "triangle": lambda d: np.maximum(1 - d, 0),
}
DISTANCES = np.concatenate([[0, 1, 1e-30, 1 - 2.0**-24, 1 + 2.0**-23, 1e4], np.linspace(0, 3, 90)]).astype(np.float32)


@njit(error_model="numpy")
def both(distance, kind, lanes, scalars):
    for i in range(0, distance.size, 16):
        store(lanes, i, bell(load(distance, i), kind))
        for k in range(i, i + 16):
            scalars[k] = bell(distance[k], kind)


@pytest.mark.parametrize("name", KINDS)
def test_lanes_and_scalars_follow_the_formula(name):
    lanes, scalars = np.zeros((2, DISTANCES.size), np.float32)
    both(DISTANCES, KINDS.index(name), lanes, scalars)
    truth = FORMULAS[name](DISTANCES.astype(np.float64))
    smallest = 2.0**-64 if KINDS.index(name) == EXPONENTIAL else 0
    for found in (lanes, scalars):  # with and without fused multiply-add
        np.testing.assert_allclose(found, np.maximum(truth, smallest), rtol=5e-7)
        assert found[0] == 1


@pytest.mark.parametrize("name", KINDS)
def test_a_bell_falls_with_the_distance_and_stays_finite(name):
    far = np.sort(np.concatenate([DISTANCES, np.geomspace(1, 3e38, 16).astype(np.float32)]))
    lanes, scalars = np.zeros((2, far.size), np.float32)
    both(far, KINDS.index(name), lanes, scalars)
    assert np.isfinite(lanes).all()
    assert (np.diff(lanes) <= 1e-7).all()  # what the polynomial of 2 ** -d may be off
    assert 0 <= lanes[-1] < 1e-18
