"""The piecewise-linear function on NumPy arrays, against its definition line by line."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.kernels import cpu, piecewise
from tests import strategies

F32 = np.float32


def random_knots(rng, count):
    """Abscissae that rise or stand still, and what continues each line."""
    x = np.sort(np.round(rng.normal(size=count), 1)).astype(F32)
    slopes = np.append(rng.uniform(0, 3, count - 1), 0).astype(F32)
    y = np.concatenate([[0], np.cumsum(np.diff(x) * slopes[:-1])]).astype(F32)
    return np.stack([x, y, slopes, rng.uniform(0, 2, count).astype(F32)])


def run(z, knots, g_y, outside=0.25, elements=0):
    """Value and gradient; every element must be written."""
    y, g_z = np.full_like(z, np.nan), np.full_like(z, np.nan)
    piecewise.forward(z, y, knots, rows=z.size, elements=elements)
    piecewise.backward(z, g_y, g_z, knots, outside, rows=z.size, elements=elements)
    return y, g_z


@settings(max_examples=strategies.examples(100))
@given(st.integers(0, 70), st.integers(2, 9), strategies.generators())
def test_each_line_reaches_from_its_knot_to_the_next(size, count, rng):
    knots = random_knots(rng, count)
    z = rng.choice(np.concatenate([knots[0], rng.normal(size=20).astype(F32)]), size)  # the knots themselves too
    g_y = rng.normal(size=size).astype(F32)
    y, g_z = run(z, knots, g_y)
    for k in range(size):
        passed = np.flatnonzero(z[k] > knots[0])
        value, slope = knots[1, 0], F32(0.25)
        if len(passed):
            x, value, rise, slope = knots[:, passed[-1]].astype(np.float64)
            value += rise * (z[k] - x)
        assert y[k] == pytest.approx(value, rel=1e-6, abs=1e-6)
        assert g_z[k] == F32(g_y[k]) * F32(slope)


def test_what_is_no_number_lies_in_front_of_all_knots():
    knots = random_knots(np.random.default_rng(0), 4)
    y, g_z = run(np.array([np.nan, np.inf, -np.inf], F32), knots, np.ones(3, F32))
    np.testing.assert_array_equal(y[[0, 2]], [knots[1, 0]] * 2)
    np.testing.assert_array_equal(g_z, [0.25, knots[3, -1], 0.25])


@pytest.mark.parametrize("threads", [2, 3])
def test_every_number_of_threads_gives_the_same_bits(monkeypatch, threads):
    rng = np.random.default_rng(1)
    arguments = rng.normal(size=1000).astype(F32), random_knots(rng, 7), rng.normal(size=1000).astype(F32)
    alone = run(*arguments)
    monkeypatch.setattr(cpu, "threads", lambda: threads)
    for a, b in zip(alone, run(*arguments, elements=10**9), strict=True):
        np.testing.assert_array_equal(a, b)
