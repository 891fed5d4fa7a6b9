"""Rounding inside a range on NumPy arrays: bits of NumPy's own rounding, and the gradient where it passes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.kernels import cpu, rounding
from tests import strategies

F32 = np.float32


def run(x, g_y, step=1 / 32, lowest=-128.0, highest=127.0, elements=0):
    """Rounded values and gradient; every element must be written."""
    y, g_x = np.full_like(x, np.nan), np.full_like(x, np.nan)
    rounding.forward(x, y, 1 / step, step, lowest, highest, rows=x.size, elements=elements)
    rounding.backward(x, g_y, g_x, 1 / step, lowest, highest, rows=x.size, elements=elements)
    return y, g_x


@settings(max_examples=strategies.examples(100))
@given(st.integers(0, 70), st.sampled_from([1 / 512, 1 / 32, 1, 4]), strategies.generators())
def test_values_are_numpys_and_the_gradient_passes_inside(size, step, rng):
    edges = np.array([-128.5, -128.51, -128, 127, 127.49, 127.5, 0.5, 1.5, -0.5, 1e30, -np.inf, np.inf, 3e-45])
    x = (rng.choice(np.concatenate([edges, rng.normal(0, 90, 20)]), size) * step).astype(F32)
    g_y = rng.normal(size=size).astype(F32)
    y, g_x = run(x, g_y, step)
    steps = np.rint(x / F32(step))
    np.testing.assert_array_equal(y, np.clip(steps, -128, 127) * F32(step))
    np.testing.assert_array_equal(g_x, np.where((steps >= -128) & (steps <= 127), g_y, 0))


def test_what_is_no_number_stays_so():
    y, _ = run(np.full(17, np.nan, F32), np.ones(17, F32))
    assert np.isnan(y).all()


@pytest.mark.parametrize("threads", [2, 3])
def test_every_number_of_threads_gives_the_same_bits(monkeypatch, threads):
    rng = np.random.default_rng(1)
    arguments = rng.normal(0, 3, 1000).astype(F32), rng.normal(size=1000).astype(F32)
    alone = run(*arguments)
    monkeypatch.setattr(cpu, "threads", lambda: threads)
    for a, b in zip(alone, run(*arguments, elements=10**9), strict=True):
        np.testing.assert_array_equal(a, b)
