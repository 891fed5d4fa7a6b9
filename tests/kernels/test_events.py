"""Events in a dense tensor on NumPy arrays, against one event after the other in plain Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.kernels import cpu, events
from tests import strategies

NONE = np.zeros(0)


@st.composite
def cases(draw):
    """Arrays of events, in and about a tensor, its shape, the time of a bin and the first bin."""
    rng = draw(strategies.generators())
    shape = tuple(draw(st.integers(1, n)) for n in (2, 4, 5, 7))
    count = draw(st.sampled_from([0, 1, 63, 64, 65, 200]))
    C, H, W, _ = shape
    x, y, c = (rng.integers(-1, n + 1, count) for n in (W, H, C))
    t = rng.choice([*np.arange(-2, 20) / 2, 1e30, np.nan, np.inf, -np.inf], count)
    if draw(st.booleans()):
        x, y, c = (v + rng.choice([-0.5, 0, 0.25, 0.5], count) for v in (x, y, c))
    if shape[1] == 1 and draw(st.booleans()):
        y = np.zeros(0, x.dtype)
    payload = draw(st.sampled_from([NONE, rng.normal(size=count)]))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return (
        (x, y, c, t),
        payload,
        np.array([draw(st.sampled_from([1.0, 0.5, 3.0]))]),
        draw(st.integers(-3, 3)),
        shape,
        dtype,
    )


def inside(columns, sampling_time, start, shape):
    """Index of each event that lies in the tensor, and the event's number."""
    x, y, c, t = columns
    for i in range(len(x)):
        place = np.rint([c[i], y[i] if len(y) else 0, x[i], t[i] / sampling_time[0] - 0])
        place[3] -= start
        if all(0 <= at < size for at, size in zip(place, shape, strict=True)):
            yield i, tuple(place.astype(int))


def run(kernel, tensor, columns, *others, elements=0):
    kernel(tensor, *columns, *others, *tensor.shape, rows=len(columns[0]), elements=elements)
    return tensor


@settings(max_examples=strategies.examples(150))
@given(cases())
def test_marked_once(case):
    columns, _, sampling_time, start, shape, dtype = case
    expected = np.full(shape, 7, dtype)
    for _, place in inside(columns, sampling_time, start, shape):
        expected[place] = 1 / sampling_time[0]
    found = run(events.mark, np.full(shape, 7, dtype), columns, sampling_time, start)
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=strategies.examples(150))
@given(cases())
def test_added_in_order(case):
    columns, payload, sampling_time, start, shape, dtype = case
    expected = np.full(shape, 7, dtype)
    for i, place in inside(columns, sampling_time, start, shape):
        expected[place] += (payload[i] if len(payload) else 1) / sampling_time[0]
    found = run(events.add, np.full(shape, 7, dtype), columns, payload, sampling_time, start)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_change_nothing(threads, monkeypatch):
    rng = np.random.default_rng(threads)
    shape, count = (2, 5, 3, 11), 1000
    x, y, c = (rng.integers(0, n, count) for n in (3, 5, 2))
    columns, payload, unit = (x, y, c, rng.uniform(0, 11, count)), rng.normal(size=count), np.array([1.0])
    results = []
    for n in (1, threads):
        monkeypatch.setattr(cpu, "threads", lambda n=n: n)
        for kernel, more in ((events.mark, ()), (events.add, (payload,))):
            results.append(run(kernel, np.zeros(shape, np.float32), columns, *more, unit, 0, elements=1 << 20))
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_array_equal(results[1], results[3])
    assert results[1].any()
