"""The pool of freed buffers under tensors: whatever still sees memory finds in it what was written there."""

import copy
import gc
import io
import pickle
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from lavadl_lite.kernels import launch, memory

SIZES = [(300, 17), (51, 100), (64, 64), (5000,)]  # two of them of equal bytes
LIMIT = 200_000  # bytes: some ten buffers

# what may outlive a tensor, and must keep its memory
VIEWS = [
    lambda t: t,
    lambda t: t.flatten()[7:99],
    lambda t: t.detach()[::2],
    lambda t: t.unsqueeze(0).expand(3, *t.shape),
    lambda t: t.numpy()[1:],
    lambda t: memoryview(t.numpy()),
    lambda t: torch.from_dlpack(t)[2:],
    lambda t: t.view(torch.int32),
    lambda t: t.untyped_storage(),
    lambda t: (t.clone().requires_grad_() * t).grad_fn,  # which saves t for its backward
]
COPIES = [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t)), lambda t: torch.load(saved(t)), torch.clone]


@pytest.fixture(autouse=True)
def pool(monkeypatch):
    monkeypatch.setattr(memory, "SMALLEST", 1)
    monkeypatch.setattr(memory, "LIMIT", LIMIT)
    memory.set_pooling(enabled=True)
    memory.release()
    yield
    memory.release()


def saved(tensor):
    file = io.BytesIO()
    torch.save(tensor, file)
    file.seek(0)
    return file


def new(shape, value):
    return launch.empty(shape, torch.empty(0)).fill_(value)


def values(view):
    """All that a view sees, as a tensor."""
    if isinstance(view, torch.autograd.graph.Node):
        return view._saved_self if view._saved_self is not None else view._saved_other
    if isinstance(view, torch.UntypedStorage):
        return torch.tensor([], dtype=torch.float32).set_(view)
    tensor = torch.as_tensor(np.asarray(view) if isinstance(view, memoryview) else view)
    return tensor.view(torch.float32) if tensor.dtype == torch.int32 else tensor


def churn(seed, mistakes):
    """Make, view, copy and drop tensors in any order; each holds a number of its own."""
    draw = random.Random(seed)
    alive = []
    for step in range(300):
        value = seed * 1000.0 + step
        tensor = new(draw.choice(SIZES), value)
        if draw.random() < 0.2:
            alive.append((draw.choice(COPIES)(tensor), value))
        alive += [(view(tensor), value) for view in draw.sample(VIEWS, draw.randrange(3))]
        del tensor
        draw.shuffle(alive)
        for view, wanted in alive[6:]:
            if not bool((values(view) == wanted).all()):
                mistakes.append((seed, step))
        del alive[6:]
        if step % 50 == 0:
            gc.collect()
        if memory.held() > LIMIT + 4 * 20_480:  # a thread may be between keeping a buffer and dropping another
            mistakes.append(f"{memory.held()} bytes held")


@pytest.mark.parametrize("threads", [1, 4])
def test_nothing_that_is_seen_is_written(threads):
    mistakes = []
    with ThreadPoolExecutor(threads) as workers:
        list(workers.map(churn, range(1, threads + 1), [mistakes] * threads))
    assert not mistakes
    gc.collect()
    assert 0 < memory.held() <= LIMIT


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_keeps_the_memory(view):
    tensor = new((300, 17), 3)
    where, seen = tensor.data_ptr(), view(tensor)
    del tensor
    assert new((300, 17), 4).data_ptr() != where
    assert bool((values(seen) == 3).all())


def test_old_sizes_make_room_for_new_ones():
    kept = [new((5000,), 0) for _ in range(10)]
    del kept
    assert memory.held() == LIMIT
    tensor = new((64, 64), 0)
    where = tensor.data_ptr()
    del tensor
    assert memory.held() <= LIMIT
    assert new((64, 64), 0).data_ptr() == where


def test_a_process_ends_in_silence_whatever_it_still_holds():
    code = """
import builtins, sys, threading
from lavadl_lite.kernels import memory
memory.SMALLEST = 1
builtins.held = sys.held = memory.empty((100,))
threading.held = [memory.empty((100,))]
threading.held.append(threading.held)
memory.held_here = memory.empty((100,))
"""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"], capture_output=True, check=True
    )
    assert done.stderr == b""
