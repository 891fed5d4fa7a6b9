"""Launching CUDA drivers in numba's simulator, and the arrays to launch them with."""

import sys
import threading
from functools import cache

import numpy as np

from lavadl_lite.kernels.cpu import as_argument

F32 = np.float32
EXTREMES = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 2.0**23, -(2.0**23), 1e-30, 0.0, -0.0], F32)


class _Allocations(dict):
    """Shared arrays by the line that asks for them; who finds none makes it before another may ask.

    The simulator looks and then stores: two of its threads at once would get an array each, and share nothing.
    """

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def get(self, key):
        self.lock.acquire()
        if key in self:
            self.lock.release()
            return self[key]
        return None

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        self.lock.release()


@cache
def _share_once():
    """Give every block of the simulator such allocations."""
    modules = [m for name, m in sys.modules.items() if name.endswith("cuda.simulator.kernelapi")]
    assert modules
    for module in modules:
        begin = module.FakeCUDAShared.__init__

        def __init__(self, *args, begin=begin):
            begin(self, *args)
            self._allocations = _Allocations()

        module.FakeCUDAShared.__init__ = __init__


def simulate(kernel, *arguments, rows):
    """Run the CUDA driver of ``kernel``; arrays are changed in place, as on a device."""
    driver = kernel.cuda
    compiled = driver.compiled()
    _share_once()
    compiled[driver.blocks(rows), driver.lanes](*[as_argument(a) for a in arguments], rows)


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
