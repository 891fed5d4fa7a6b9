"""The pool of freed buffers: bounded, never lending what something still sees."""

import gc
import threading

import numpy as np
import pytest

from lavadl_lite.kernels import memory

MEBI = 1 << 20
LARGE = (2 * MEBI,)  # float32: 8 MiB


@pytest.fixture(autouse=True)
def pool(monkeypatch):
    """An empty pool, switched on, without the fixture that fills new memory with NaN."""
    monkeypatch.setattr(memory, "empty", (memory.empty.__defaults__ or (memory.empty,))[0])
    memory.set_pooling(enabled=True)
    memory.release()
    yield
    memory.release()


def address(array):
    return array.__array_interface__["data"][0]


def test_a_freed_buffer_is_lent_again():
    first = memory.empty(LARGE)
    where = address(first)
    assert memory.held() == 0
    del first
    assert memory.held() == 8 * MEBI
    second = memory.empty((1024, 2048))  # the same size, whatever the shape
    assert address(second) == where
    assert second.shape == (1024, 2048)
    assert second.dtype == np.float32
    assert memory.held() == 0


@pytest.mark.parametrize(
    "see",
    [
        lambda a: a[5:9],
        lambda a: a.reshape(-1, 4)[:, 1],
        lambda a: a.view(np.int32)[::2],
        lambda a: np.broadcast_to(a[:1], (7, 1)),
        memoryview,
        lambda a: np.asarray(memoryview(a))[3:],
        lambda a: [a[:1][:1]],
    ],
)
def test_memory_that_something_sees_is_never_lent(see):
    array = memory.empty(LARGE)
    where, view = address(array), see(array)
    del array
    gc.collect()
    assert memory.held() == 0
    assert address(memory.empty(LARGE)) != where
    del view
    gc.collect()
    assert memory.held() >= 8 * MEBI


@pytest.mark.parametrize(
    "see", [lambda t: t[5:9], lambda t: t.view(-1, 4)[:, 1], lambda t: t.numpy()[3:], lambda t: t.detach(), lambda t: t]
)
def test_a_tensor_keeps_its_memory(see):
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(memory.empty(LARGE))
    where, view = tensor.data_ptr(), see(tensor)
    del tensor
    gc.collect()
    assert memory.held() == 0
    assert address(memory.empty(LARGE)) != where
    del view
    gc.collect()
    assert memory.held() >= 8 * MEBI


def test_a_saved_tensor_keeps_its_memory_until_backward():
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(memory.empty(LARGE)).fill_(3).requires_grad_()
    y = (x * x).sum()
    where = x.data_ptr()
    holder = x.grad_fn, y
    del x
    gc.collect()
    other = memory.empty(LARGE)
    assert address(other) != where
    other.fill(7)
    y.backward()
    del holder


def test_the_pool_is_bounded(monkeypatch):
    monkeypatch.setattr(memory, "LIMIT", 20 * MEBI)
    arrays = [memory.empty(LARGE) for _ in range(5)]
    assert len({address(a) for a in arrays}) == 5
    del arrays
    assert memory.held() == 16 * MEBI


def test_small_arrays_are_left_to_numpy():
    array = memory.empty((memory.SMALLEST // 4 - 1,))
    del array
    assert memory.held() == 0
    array = memory.empty((memory.SMALLEST // 4,))
    del array
    assert memory.held() == memory.SMALLEST


def test_switched_off_it_holds_and_lends_nothing():
    lent = memory.empty(LARGE)
    del lent
    lent = memory.empty((MEBI,))
    memory.set_pooling(enabled=False)
    assert memory.held() == 0
    del lent
    array = memory.empty(LARGE)
    del array
    assert memory.held() == 0
    memory.set_pooling(enabled=True)


def test_release_gives_everything_back():
    for size in (MEBI, 2 * MEBI, 3 * MEBI):
        array = memory.empty((size,))
        del array
    assert memory.held() == 24 * MEBI
    memory.release()
    assert memory.held() == 0


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 5), (2, 3)])
def test_any_shape(shape):
    assert memory.empty(shape).shape == shape


def test_two_threads_never_hold_the_same_buffer():
    held, lock, clashes = set(), threading.Lock(), []

    def work():
        for _ in range(200):
            array = memory.empty(LARGE)
            where = address(array)
            with lock:
                if where in held:
                    clashes.append(where)
                held.add(where)
            with lock:
                held.discard(where)
            del array

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not clashes


def test_buffers_begin_with_a_cache_line():
    for more in range(3):
        array = memory.empty((memory.SMALLEST // 4 + more, 1))
        assert array.ctypes.data % 64 == 0
        assert array.flags.c_contiguous
