"""The fit, step by step, on arrays: what the reference defines, and what it leaves undefined."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lavadl_lite.bootstrap import fit
from tests import strategies

EDGES = np.linspace(0.08, 0.72, 6)
NONE = np.empty((0, 2))


def centers(inputs, rates, previous=NONE, alpha=0.1):
    return fit.centers(np.asarray(inputs), np.asarray(rates), np.asarray(previous, float), EDGES, alpha)


def test_the_ceiling_is_the_mean_near_the_maximum_and_never_below():
    assert fit.ceiling(np.array([0.1, 0.5, 0.92, 0.96, 1.0]), 0.9) == pytest.approx(0.96)
    assert fit.ceiling(np.array([0.1, 0.3]), 0.9) == 0.8
    assert fit.ceiling(np.zeros(5), 0.9) == 0.8  # a silent layer
    assert fit.ceiling(np.array([]), 0.9) == 0.8
    assert fit.ceiling(np.array([0.5, 1.0]), 1.0) == 0.8  # none lies above the whole maximum


def test_a_bin_ends_with_its_upper_edge():
    found = centers([1.0, 2.0, 3.0], [EDGES[0], EDGES[1], 0.73])
    np.testing.assert_allclose(found, [[2.0, EDGES[1]]])  # at the first edge, and above the last: in no bin


def test_each_bin_has_its_medians():
    found = centers([5, 1, 3, 9], [0.10, 0.11, 0.12, 0.6])
    np.testing.assert_allclose(found, [[3, 0.11], [9, 0.6]])


def test_a_center_moves_by_alpha_and_stays_without_samples():
    previous = [[1.0, 0.1], [2.0, 0.3], [4.0, 0.32]]
    found = centers([2.0], [0.2], previous)
    np.testing.assert_allclose(found, [[0.1 * 2 + 0.9 * 1, 0.1 * 0.2 + 0.9 * 0.1], [3.0, 0.31]])


def test_pooling_leaves_what_rises_as_it_is():
    rising = np.array([[-1.0, 0.1], [0.5, 0.3], [0.51, 0.5]])
    np.testing.assert_array_equal(fit.increasing(rising), rising)
    assert fit.increasing(NONE).shape == (0, 2)


def test_pooling_takes_means_of_what_falls_or_stands():
    found = fit.increasing(np.array([[1.0, 0.1], [3.0, 0.2], [2.0, 0.3], [2.5, 0.4]]))
    np.testing.assert_allclose(found, [[1, 0.1], [2.5, 0.3]])
    np.testing.assert_allclose(fit.increasing(np.array([[0.0, 0.1], [0.0, 0.3]])), [[0, 0.2]])


def test_a_single_center_and_none_at_all():
    golden = fit.knots(np.array([[0.7, 0.5]]), 0.8, 1e-5)
    np.testing.assert_allclose(golden[0], [0, 0, 0.7, 1.12])
    np.testing.assert_allclose(golden[1], [0, 0, 0.5, 0.8])
    np.testing.assert_allclose(golden[2], [0.5 / 0.7] * 3 + [0])
    identity = fit.knots(NONE, 0.8, 1e-5)
    np.testing.assert_allclose(identity[:3], [[0, 0, 0.8, 0.8], [0, 0, 0.8, 0.8], [1, 1, 1, 0]])
    below = fit.knots(np.array([[-2.0, 0.5]]), 0.8, 0)  # no line from the origin leads there
    np.testing.assert_allclose(below[:2], [[-2.5, -2.5, -2.0, -1.7], [0, 0, 0.5, 0.8]])


def test_inputs_below_zero_leave_a_gain():
    """The reference's gain, the last input over the ceiling, would turn every gradient round here."""
    found = fit.knots(np.array([[-4.0, 0.2], [-1.0, 0.6]]), 0.8, 0)
    assert (found[3, :-1] > 0).all()


@given(
    st.integers(0, 60), st.sampled_from(["normal", "equal", "grid", "far", "reversed"]), st.floats(0, 1.2),
    strategies.generators(),
)  # fmt: skip
def test_whatever_the_samples_the_activation_is_finite_and_rises(count, kind, highest, rng):
    rates = np.round(16 * rng.uniform(0, highest, count)) / 16
    inputs = {
        "normal": rng.normal(size=count), "equal": np.full(count, 0.3), "grid": np.round(rng.normal(size=count)),
        "far": 1e6 + rng.normal(size=count), "reversed": -rates,
    }[kind]  # fmt: skip
    previous = np.stack([np.sort(rng.normal(size=3)), [0.1, 0.4, 0.7]], 1)[: rng.integers(0, 4)]
    top = fit.ceiling(rates, 0.9)
    edges = np.linspace(0.1 * top, 0.9 * top, 6)
    points = fit.increasing(fit.centers(inputs, rates, previous, edges, 0.1))
    x, y, slopes, derivatives = fit.knots(points, top, 1e-5)
    assert np.isfinite([*x, *y, *slopes, *derivatives]).all()
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) >= 0).all()
    np.testing.assert_allclose(y[:-1] + slopes[:-1] * np.diff(x), y[1:], atol=1e-9)  # no jump at any knot
    assert (derivatives >= 1e-5).all()
