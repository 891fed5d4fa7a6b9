"""Kernels called from machine code: every type arrives, every share runs once, what is no argument is refused."""

import itertools
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from lavadl_lite.errors import DeviceError
from lavadl_lite.kernels import cpu, openmp
from lavadl_lite.kernels.native import Native


@cpu.cpu_kernel
def _tell(floats, ints, longs, doubles, out, number, real, flag, lo, hi):
    """A row of ``out`` tells all arguments: last elements and sizes, numbers, and the share that it was in."""
    for row in range(lo, hi):
        at = row * 11
        out[at] = floats[floats.size - 1]
        out[at + 1] = ints[ints.size - 1]
        out[at + 2] = longs[longs.size - 1]
        out[at + 3] = doubles[doubles.size - 1]
        out[at + 4] = floats.size + 10 * ints.size + 100 * longs.size + 1000 * doubles.size
        out[at + 5] = number
        out[at + 6] = real
        out[at + 7] = 1 if flag else 0
        out[at + 8] = lo
        out[at + 9] = hi
        out[at + 10] += 1


tell = Native(_tell)
ARRAYS = (
    np.array([1, 2.5], np.float32),
    np.array([3, -4], np.int32),
    np.array([[5], [2**40]]),
    np.array([0, 0.1, 1e200]),
)
TOLD = [2.5, -4, 2**40, 1e200, 2 + 20 + 200 + 3000]


def told(arrays, numbers, cuts):
    out = np.zeros((cuts[-1], 11))
    tell((*arrays, out, *numbers), cuts)
    return out


@pytest.mark.parametrize("numbers", [(-7, 0.75, True), (np.int64(-7), np.float32(0.75), np.True_)])
@pytest.mark.parametrize("cuts", [[0, 1], [0, 48], [0, 16, 48], [0, 16, 32, 48, 50]])
def test_every_argument_arrives_and_every_share_runs_once(cuts, numbers):
    out = told(ARRAYS, numbers, cuts)
    np.testing.assert_array_equal(out[:, :8], np.tile([*TOLD, -7, 0.75, 1], (cuts[-1], 1)))
    for lo, hi in itertools.pairwise(cuts):
        np.testing.assert_array_equal(out[lo:hi, 8:], np.tile([lo, hi, 1], (hi - lo, 1)))


def test_tensors_are_arrays():
    torch = pytest.importorskip("torch")
    out = torch.zeros(50, 11, dtype=torch.float64)
    tell((*map(torch.from_numpy, ARRAYS), out, -7, 0.75, False), [0, 16, 50])
    np.testing.assert_array_equal(out[:, :8], np.tile([*TOLD, -7, 0.75, 0], (50, 1)))


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
def test_tensors_without_memory_are_refused():
    torch = pytest.importorskip("torch")
    with torch._subclasses.FakeTensorMode():
        fake = torch.zeros(3)
    with pytest.raises(TypeError, match="expected tensors with memory for a kernel"):
        told((fake, *ARRAYS[1:]), (1, 0.5, True), [0, 1])


def test_an_address_on_another_device_is_never_used():
    """Also where only a later argument lies there: the first one decides where a kernel runs."""
    torch = pytest.importorskip("torch")

    class Elsewhere:
        is_cpu, device, dtype, shape = False, "cuda:0", torch.float32, (3,)

        def is_contiguous(self):
            return True

        def data_ptr(self):
            return 1 << 40

        def numel(self):
            return 3

    for tensor, name in ((Elsewhere(), "cuda:0"), (torch.zeros(3, device="meta"), "meta")):
        for at in (0, 2):
            arrays = [*ARRAYS[:at], tensor, *ARRAYS[at + 1 :]]
            with pytest.raises(DeviceError, match=f"expected every tensor on cpu, got one on {name}"):
                told(arrays, (1, 0.5, True), [0, 1])


def test_numbers_beyond_float32_are_infinite():
    assert [told(ARRAYS, (1, real, True), [0, 1])[0, 6] for real in (1e39, -1e39, 1e-60)] == [np.inf, -np.inf, 0]
    assert np.isnan(told(ARRAYS, (1, float("nan"), True), [0, 1])[0, 6])
    assert told(ARRAYS, (1, 0.1, True), [0, 1])[0, 6] == np.float32(0.1)


def test_what_is_mapped_read_only_is_read_where_it_lies():
    frozen = ARRAYS[0].copy()
    frozen.flags.writeable = False
    assert told((frozen, *ARRAYS[1:]), (1, 0.5, True), [0, 1])[0, 0] == 2.5


def test_what_has_gaps_or_another_type_is_refused():
    gaps = np.zeros(8, np.float32)[::2]
    for wrong, error, words in (
        (gaps, ValueError, r"contiguous array for a kernel, got one of shape \(4,\) with gaps"),
        (np.zeros(3, np.float16), TypeError, "of float32, int32, int64 or float64 for a kernel, got float16"),
        ([1.0], TypeError, "arrays, tensors and numbers for a kernel, got list"),
    ):
        with pytest.raises(error, match=words):
            told((wrong, *ARRAYS[1:]), (1, 0.5, True), [0, 1])


@pytest.mark.parametrize("usable", [True, False])
def test_calls_from_many_threads_at_once(monkeypatch, usable):
    """With torch's threads where there are some, and with our own."""
    monkeypatch.setattr(openmp, "usable", openmp.usable if usable else lambda: False)
    sums, barrier = [0] * 6, threading.Barrier(6)

    def work(number):
        barrier.wait()
        for _ in range(30):
            sums[number] += told(ARRAYS, (number, 0.5, True), [0, 16, 32, 48])[:, [5, 10]].sum()

    workers = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sums == [30 * 48 * (n + 1) for n in range(6)]


def test_torch_may_come_after_the_first_call():
    pytest.importorskip("torch")
    script = """
from tests.kernels.test_native import *
assert "torch" not in sys.modules
first = told(ARRAYS, (1, 0.5, True), [0, 16, 32])
import torch
assert (told(ARRAYS, (1, 0.5, True), [0, 16, 32]) == first).all()
print(tell.made[next(iter(tell.made))][-1] != 0, openmp.usable())
"""
    path = os.pathsep.join([os.fspath(cpu.__file__).rsplit("lavadl_lite", 1)[0], *sys.path])
    environment = os.environ | {"PYTHONPATH": path}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    made, usable = run.stdout.split()
    assert made == usable
