"""Our rows on torch's threads: every share once, errors, many callers, and children that have none of them."""

import os
import sys
import threading

import pytest

from lavadl_lite.kernels import cpu, openmp

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(not openmp.usable(), reason="torch brings no GNU OpenMP here")


@pytest.mark.parametrize("shares", [1, 2, 3, 7])
def test_every_share_once(shares):
    calls = []
    openmp.run(lambda lo, hi: calls.append((lo, hi, threading.get_ident())), list(range(0, 16 * shares + 1, 16)))
    calls.sort()
    assert [call[:2] for call in calls] == [(16 * i, 16 * i + 16) for i in range(shares)]
    assert calls[0][2] == threading.get_ident()
    assert len({call[2] for call in calls}) == shares


def test_an_error_is_raised_in_the_calling_thread():
    def fail(lo, hi):
        if lo:
            raise KeyError(lo)

    with pytest.raises(KeyError):
        openmp.run(fail, [0, 16, 32])
    assert not openmp._works


def test_calls_from_many_threads_at_once():
    sums, barrier = [0] * 6, threading.Barrier(6)

    def work(number):
        barrier.wait()
        for _ in range(30):
            done = []
            openmp.run(lambda lo, hi, done=done: done.append(hi - lo), [0, 16, 32, 48])
            sums[number] += sum(done)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sums == [30 * 48] * 6


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(monkeypatch):
    monkeypatch.setattr(cpu, "threads", lambda: 2)
    openmp.run(lambda lo, hi: None, [0, 16, 32])
    child = os.fork()
    if child == 0:
        calls = []
        cpu.run_rows(lambda lo, hi: calls.append(lo), 64, 10**9)
        os._exit(0 if sorted(calls) == [0, 32] and not openmp.usable() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_kernels_without_torch_do_not_ask(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    assert not openmp.usable()
