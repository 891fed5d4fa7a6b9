"""The shift along time on NumPy arrays against slices, its delay's gradient against the difference of its output."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.kernels import cpu, shift
from tests import strategies
from tests.reference import fixed_point

NONE = np.zeros(0, np.float32)


def forward(x, delay, sampling_time=1.0, offset=0, elements=None):
    y = np.full_like(x, np.nan)
    shift.forward(x, y, delay, sampling_time, offset, x.shape[1], rows=len(x), elements=elements or x.size)
    return y


def backward(g_y, x, delay, sampling_time=1.0, offset=0, elements=None):
    g_x, g_delay = np.full_like(g_y, np.nan), np.full(len(x), np.nan, np.float32)
    elements = elements or g_y.size
    T = g_y.shape[1]
    shift.backward(g_y, x, g_x, g_delay, delay, sampling_time, offset, T, rows=len(g_y), elements=elements)
    return g_x, g_delay


@st.composite
def cases(draw, inputs=strategies.inputs):
    rows, T = draw(strategies.row_counts()), draw(strategies.times())
    rng = draw(strategies.generators())
    longest = draw(st.sampled_from([1.0, 4.0, 62.9, 2.0 * T + 1]))
    delay = rng.uniform(0, longest, rows)
    if draw(st.booleans()):  # whole numbers are where a rounding error would show
        delay = np.round(delay)
    sampling_time, offset = draw(st.sampled_from([1.0, 0.5, 2.0, 0.1, 3.0])), draw(st.sampled_from([0, 1, 3, -2, 500]))
    return draw(inputs((rows, T))), delay.astype(np.float32), sampling_time, offset


def steps(delay, sampling_time, offset):
    return np.trunc(delay / np.float32(sampling_time)).astype(np.int64) + offset


@settings(max_examples=strategies.examples(300))
@given(cases())
def test_each_row_is_moved_by_its_whole_number_of_steps(case):
    x, *by = case
    np.testing.assert_array_equal(forward(x, *by), fixed_point.delay(x, steps(*by)))


@settings(max_examples=strategies.examples(300))
@given(cases(strategies.float_inputs), strategies.generators())
def test_backward_moves_back_and_takes_the_difference_of_the_output(case, rng):
    x, *by = case
    moved = steps(*by)
    g = rng.normal(size=x.shape).astype(np.float32)
    g_x, g_delay = backward(g, x, *by)
    np.testing.assert_array_equal(g_x, fixed_point.delay(g, -moved))
    y = fixed_point.delay(x, moved).astype(np.float64)
    before = np.concatenate([np.zeros((len(x), 1)), y[:, :-1]], 1)[:, : x.shape[1]]
    terms = g * (before - y)  # which may cancel in their sum
    right = moved >= 0  # learnt delays only go there
    close = np.abs(g_delay - terms.sum(1)) <= 1e-6 * np.abs(terms).sum(1)
    assert close[right].all()
    alone = np.full_like(g, np.nan)  # the delay's gradient is not always wanted
    shift.backward(g, NONE, alone, NONE, *by, g.shape[1], rows=len(g), elements=g.size)
    np.testing.assert_array_equal(alone, g_x)


@pytest.mark.parametrize("threads", [2, 4])
def test_every_number_of_threads_gives_the_same_bits(monkeypatch, threads):
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(2, 111, 150)).astype(np.float32)
    delay = rng.uniform(0, 62, 111).astype(np.float32)
    alone = forward(x, delay), *backward(g, x, delay)
    monkeypatch.setattr(cpu, "threads", lambda: threads)
    together = forward(x, delay, elements=10**9), *backward(g, x, delay, elements=10**9)
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_delay_below_one_step_moves_nothing_and_2_9_moves_two():
    x = np.array([[1, 2, 3, 4]] * 3, np.float32)
    y = forward(x, np.array([0.99, 2.9, 4], np.float32))
    assert y.tolist() == [[1, 2, 3, 4], [0, 0, 1, 2], [0, 0, 0, 0]]


def test_absurd_delays_leave_zeros():
    x = np.ones((4, 5), np.float32)
    assert forward(x, np.array([1e9, 1e30, np.inf, 5], np.float32)).tolist() == [[0] * 5] * 4
