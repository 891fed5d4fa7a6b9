"""The decorators' fallbacks, the division of rows among threads, and what becomes of an argument."""

import os
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lavadl_lite.kernels import cpu


def shares(rows, elements, threads, monkeypatch):
    """Sorted shares of a call, and the threads that they ran in."""
    monkeypatch.setattr(cpu, "threads", lambda: threads)
    calls = []
    cpu.run_rows(lambda lo, hi: calls.append((lo, hi, threading.get_ident())), rows, elements)
    calls.sort()
    return [c[:2] for c in calls], [c[2] for c in calls]


@given(rows=st.integers(0, 500), threads=st.integers(1, 9), elements=st.sampled_from([0, 49_999, 50_000, 10**9]))
def test_shares_cover_every_row_once_from_multiples_of_sixteen(rows, threads, elements):
    with pytest.MonkeyPatch.context() as monkeypatch:
        ranges, _ = shares(rows, elements, threads, monkeypatch)
    assert [row for lo, hi in ranges for row in range(lo, hi)] == list(range(rows))
    assert all(lo % 16 == 0 and lo < hi for lo, hi in ranges)
    # a last share of fewer than 16 rows would have no whole group to overlap with
    assert all(hi - lo >= 16 for lo, hi in ranges) or len(ranges) == 1
    assert len(ranges) <= threads
    if elements < 50_000 or threads == 1:
        assert len(ranges) <= 1


def test_the_calling_thread_takes_the_first_share(monkeypatch):
    _, threads = shares(160, 10**9, 4, monkeypatch)
    assert threads[0] == threading.get_ident()
    assert threading.get_ident() not in threads[1:]


def test_little_work_stays_in_the_calling_thread(monkeypatch):
    ranges, threads = shares(160, 10, 4, monkeypatch)
    assert ranges == [(0, 160)]
    assert threads == [threading.get_ident()]


def test_an_error_in_another_thread_is_raised_here(monkeypatch):
    monkeypatch.setattr(cpu, "threads", lambda: 2)

    def fail(lo, hi):
        if lo:
            raise KeyError(lo)

    with pytest.raises(KeyError):
        cpu.run_rows(fail, 64, 10**9)


def test_calls_from_many_threads_at_once(monkeypatch):
    monkeypatch.setattr(cpu, "threads", lambda: 3)
    sums, barrier = [0] * 8, threading.Barrier(8)

    def work(number):
        barrier.wait()
        for _ in range(50):
            done = []
            cpu.run_rows(lambda lo, hi, done=done: done.append(hi - lo), 160, 10**9)
            sums[number] += sum(done)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sums == [50 * 160] * 8


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_gets_threads_of_its_own(monkeypatch):
    assert len(shares(64, 10**9, 2, monkeypatch)[0]) == 2
    child = os.fork()
    if child == 0:
        # a parent's executor would wait for threads that do not exist here
        os._exit(0 if len(shares(64, 10**9, 2, monkeypatch)[0]) == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_threads_without_torch_are_numbas(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert cpu.threads() >= 1


def test_threads_with_torch_are_torchs():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            assert cpu.threads() == count
    finally:
        torch.set_num_threads(before)


def test_a_kernel_compiles_where_no_cache_folder_is_writable(monkeypatch):
    asked = []

    def njit(**options):
        asked.append(options.get("cache", False))
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(cpu, "njit", njit)
    assert cpu.cpu_kernel(len) is len
    assert asked == [True, False]


@pytest.mark.parametrize(
    ("value", "kind"),
    [(True, bool), (np.bool_(1), bool), (3, int), (np.int32(3), int), (1.5, np.float32), (np.float64(2), np.float32)],
)
def test_a_number_has_one_type_whoever_gives_it(value, kind):
    argument = cpu.as_argument(value)
    assert type(argument) is kind
    assert argument == value


def test_an_array_becomes_flat_and_writable():
    whole = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.shares_memory(cpu.as_argument(whole), whole)
    assert cpu.as_argument(whole).shape == (12,)
    whole.flags.writeable = False
    for array in (whole, whole.T, np.broadcast_to(np.float32(2), (3, 4))):
        argument = cpu.as_argument(array)
        assert argument.flags.writeable  # another type for numba otherwise
        np.testing.assert_array_equal(argument, np.ravel(array))
    assert cpu.as_argument(np.zeros((0, 4))).shape == (0,)
