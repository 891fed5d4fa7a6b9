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


def normed(width, rows=37, elements=0):
    """Gradients of directions and gains of random rows; every one must be written."""
    rng = np.random.default_rng(width)
    v, g_y = (rng.normal(size=rows * width).astype(F32) for _ in range(2))
    gain, norm = (rng.uniform(3, 5, rows).astype(F32) for _ in range(2))
    g_v, g_gain = np.full_like(v, np.nan), np.full_like(gain, np.nan)
    rounding.normed_backward(
        v, g_y, gain, norm, g_v, g_gain, width, 32.0, -40.0, 39.0, rows=rows, elements=elements
    )  # fmt: skip
    return v, g_y, gain, norm, g_v, g_gain


@pytest.mark.parametrize("width", [1, 16, 45])
def test_of_normalised_rows_what_passes_turns_them(width):
    """The gradient of gain * v / |v| in double precision, of what passes with the same rounding."""
    v, g_y, gain, norm, g_v, g_gain = normed(width)
    rows = v.reshape(-1, width)
    _, passed = run((rows * (gain / norm)[:, None]).ravel(), g_y, lowest=-40.0, highest=39.0)
    assert width == 1 or 0.1 < (passed == 0).mean() < 0.9
    rows, passed, gain, norm = (x.astype(np.float64) for x in (rows, passed.reshape(-1, width), gain, norm))
    along = (passed * rows).sum(1) / norm
    truth = (gain / norm)[:, None] * (passed - rows * (along / norm)[:, None])
    np.testing.assert_allclose(g_gain, along, rtol=0, atol=1e-6 * np.abs(along).max())
    np.testing.assert_allclose(g_v, truth.ravel(), rtol=0, atol=1e-6 * np.abs(truth).max())


@pytest.mark.parametrize("threads", [2, 3])
def test_every_number_of_threads_gives_the_same_bits(monkeypatch, threads):
    rng = np.random.default_rng(1)
    arguments = rng.normal(0, 3, 1000).astype(F32), rng.normal(size=1000).astype(F32)
    alone = run(*arguments)
    monkeypatch.setattr(cpu, "threads", lambda: threads)
    for a, b in zip(alone, run(*arguments, elements=10**9), strict=True):
        np.testing.assert_array_equal(a, b)
    many = normed(20, elements=10**9)
    monkeypatch.undo()
    for a, b in zip(normed(20), many, strict=True):
        np.testing.assert_array_equal(a, b)
