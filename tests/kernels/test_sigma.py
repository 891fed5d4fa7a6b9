"""The running sum on NumPy arrays: bits of a sum in float64, backward its transpose."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.kernels import cpu, sigma
from tests import strategies
from tests.reference import sigma_delta

NONE = np.zeros(0)


def forward(x, initial=NONE, elements=None):
    """Sums and their ends; every element must be written."""
    y, final = np.full_like(x, np.nan), np.full(len(x), np.nan)
    elements = x.size if elements is None else elements
    sigma.forward(x, y, final, initial, x.shape[1], rows=len(x), elements=elements)
    return y, final


def backward(g_y, elements=None):
    g_x = np.full_like(g_y, np.nan)
    sigma.backward(g_y, g_x, g_y.shape[1], rows=len(g_y), elements=g_y.size if elements is None else elements)
    return g_x


@st.composite
def cases(draw):
    """Input, and initial sums: none or one a row."""
    shape = draw(strategies.row_counts()), draw(strategies.times())
    initial = draw(st.just(NONE) | strategies.generators().map(lambda rng: rng.normal(size=shape[0])))
    return draw(strategies.inputs(shape)), initial


@settings(max_examples=strategies.examples(300))
@given(cases())
def test_sums_have_the_bits_of_float64(case):
    x, initial = case
    truth, end = sigma_delta.sigma(x, initial if initial.size else 0)
    y, final = forward(x, initial)
    np.testing.assert_array_equal(y, truth)
    np.testing.assert_array_equal(final, end)


@settings(max_examples=strategies.examples(300))
@given(cases(), st.data())
def test_chunks_equal_the_whole(case, data):
    x, state = case
    whole, end = forward(x, state)
    parts, at = [], 0
    for length in data.draw(strategies.chunks(x.shape[1])):
        part, state = forward(np.ascontiguousarray(x[:, at : at + length]), state)
        parts.append(part)
        at += length
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole)
    np.testing.assert_array_equal(state, end)


@settings(max_examples=strategies.examples(300))
@given(strategies.row_counts(), strategies.times(), strategies.generators())
def test_backward_sums_from_the_end(rows, T, rng):
    g = rng.normal(size=(rows, T)).astype(np.float32)
    np.testing.assert_array_equal(backward(g), sigma_delta.sigma(g[:, ::-1])[0][:, ::-1])


@pytest.mark.parametrize("threads", [2, 3, 4])
def test_every_number_of_threads_gives_the_same_bits(monkeypatch, threads):
    x = np.random.default_rng(0).normal(size=(111, 150)).astype(np.float32)
    alone = *forward(x), backward(x)
    monkeypatch.setattr(cpu, "threads", lambda: threads)
    for a, b in zip(alone, (*forward(x, elements=10**9), backward(x, elements=10**9)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_small_changes_are_not_lost_beside_a_large_sum():
    """In float32 a sum of 2 ** 24 would stay where it is."""
    x = np.ones((1, 8), np.float32)
    y, final = forward(x, np.array([2.0**24]))
    assert y.tolist() == [[2**24, 2**24 + 2, 2**24 + 4, 2**24 + 4, 2**24 + 4, 2**24 + 6, 2**24 + 8, 2**24 + 8]]
    assert final.tolist() == [2**24 + 8]
