"""Launching CUDA drivers in numba's simulator, and the arrays to launch them with."""

import numpy as np

from lavadl_lite.kernels.cpu import as_argument

F32 = np.float32
EXTREMES = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 2.0**23, -(2.0**23), 1e-30, 0.0, -0.0], F32)


def simulate(kernel, *arguments, rows):
    """Run the CUDA driver of ``kernel``; arrays are changed in place, as on a device."""
    driver = kernel.cuda
    driver.compiled()[driver.blocks(rows), driver.lanes](*[as_argument(a) for a in arguments], rows)


def run_cpu(kernel, *arguments, rows):
    """Run the CPU driver of ``kernel``."""
    kernel(*arguments, rows=rows, elements=0)


def unwritten(*shape):
    """Memory in which everything that a kernel leaves out shows."""
    return np.full(shape, np.nan, F32)


def drive(rng, rows, T, extremes=False):
    """Input that makes states rise and fall; some of it not finite, or far too large."""
    x = rng.normal(0.05, 0.6, (rows, T)).astype(F32)
    if extremes:
        wild = rng.random((rows, T)) < 0.1
        x[wild] = rng.choice(EXTREMES, np.count_nonzero(wild))
    return x


def decays(rng, rows):
    """One decay a row, the ends and fractions among them."""
    return rng.choice(np.array([0, 1, 100.7, 1024, 2048.5, 4095, 4096], F32), rows)


def assert_close(found, expected, tolerance=1e-6):
    """Differences relative to the largest expected value."""
    assert np.isfinite(expected).all()
    assert found.shape == expected.shape
    if expected.size:
        assert np.abs(found.astype(np.float64) - expected).max() <= tolerance * np.abs(expected).max()
