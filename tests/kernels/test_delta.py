"""The delta encoder on NumPy arrays: messages and states of the equations, gradients of the stated model."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.kernels import cpu, delta
from tests import strategies
from tests.reference import sigma_delta

NONE = np.zeros(0, np.float32)
MODES = list(itertools.product((False, True), repeat=2))  # cumulative, carry


def forward(x, threshold, states, scale, mode, elements=None):
    """Messages and final states; every element must be written."""
    y, final = np.full_like(x, np.nan), np.full((3, len(x)), np.nan, np.float32)
    elements = x.size if elements is None else elements
    delta.forward(
        x, y, final, states, threshold, x.shape[1], len(x), float(scale), *mode, rows=len(x), elements=elements
    )
    return y, final


def backward(g_y, x, threshold, states, scale, mode, tau, rho, elements=None):
    """Gradients of the input and of each row's threshold."""
    g_x, g_threshold = np.full_like(g_y, np.nan), np.full(len(x), np.nan, np.float32)
    delta.backward(
        g_y, x, g_x, g_threshold, states, threshold, g_y.shape[1], len(g_y), float(scale), *mode,
        np.log2(np.e) / tau, float(rho), rows=len(g_y), elements=g_y.size if elements is None else elements,
    )  # fmt: skip
    return g_x, g_threshold


def thresholds(rng, rows, scale):
    return np.maximum(rng.choice([0.1, 0.5, 1, 3, 0], rows), 1 / scale).astype(np.float32)


@st.composite
def cases(draw, inputs=strategies.inputs):
    """Input, thresholds, initial states (none or three a row), scale and mode."""
    rows, T, scale = draw(strategies.row_counts()), draw(strategies.times()), draw(strategies.scales())
    rng = draw(strategies.generators())
    states = rng.normal(size=(3, rows)).astype(np.float32) if rows and draw(st.booleans()) else NONE
    return draw(inputs((rows, T), scale)), thresholds(rng, rows, scale), states, scale, draw(st.sampled_from(MODES))


def truth_of(x, threshold, states, scale, mode):
    return sigma_delta.delta(x, threshold, states if states.size else np.zeros((3, len(x)), np.float32), scale, *mode)


@settings(max_examples=strategies.examples(400))
@given(cases())
def test_messages_and_states_are_those_of_the_equations(case):
    message, _, end = truth_of(*case)
    y, final = forward(*case)
    np.testing.assert_array_equal(y, message)
    np.testing.assert_array_equal(final, end)


@settings(max_examples=strategies.examples(300))
@given(cases(), st.data())
def test_chunks_equal_the_whole(case, data):
    x, threshold, states, scale, mode = case
    whole, end = forward(*case)
    parts, at = [], 0
    for length in data.draw(strategies.chunks(x.shape[1])):
        part, states = forward(np.ascontiguousarray(x[:, at : at + length]), threshold, states, scale, mode)
        parts.append(part)
        at += length
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole)
    np.testing.assert_array_equal(states, end)


@settings(max_examples=strategies.examples(300))
@given(cases(strategies.float_inputs), strategies.generators(), st.sampled_from([0.1, 1, 20]))
def test_gradients_equal_float64_autograd(case, rng, tau):
    x, threshold, states, scale, mode = case
    g = rng.normal(size=x.shape).astype(np.float32)
    g_x, g_threshold = backward(g, x, threshold, states, scale, mode, tau, 1.5)
    message, difference, _ = truth_of(*case)
    start = states[0] if states.size else np.zeros(len(x))
    spread = np.broadcast_to(threshold[:, None], x.shape)
    doubles = [torch.tensor(np.asarray(a, np.float64)) for a in (x, spread, start, message, difference)]
    leaves = [d.requires_grad_() for d in doubles[:2]]
    model = sigma_delta.delta_model(*doubles, tau, 1.5)
    truth, terms = torch.autograd.grad((model * torch.from_numpy(g)).sum(), leaves)
    np.testing.assert_allclose(g_x, truth, rtol=0, atol=1e-5 * max(np.abs(g).max(initial=0), 1e-30))
    # rounding is bounded by the terms: 1e-5 of the largest sum, unless they cancel more than threefold in all of them
    largest = float(terms.abs().sum(1).max()) if terms.numel() else 0
    np.testing.assert_allclose(g_threshold, terms.sum(1), rtol=0, atol=3e-6 * largest)


def test_backward_without_the_threshold_needs_no_input():
    g = np.random.default_rng(0).normal(size=(37, 150)).astype(np.float32)
    g_x = np.full_like(g, np.nan)
    delta.backward(g, NONE, g_x, NONE, NONE, NONE, 150, 37, 64.0, False, False, 1.0, 1.0, rows=37, elements=g.size)
    np.testing.assert_array_equal(g_x, g - np.pad(g, ((0, 0), (0, 1)))[:, 1:])


@settings(max_examples=strategies.examples(300))
@given(strategies.row_counts(), strategies.times(), strategies.generators())
def test_the_gradient_of_the_input_is_a_difference(rows, T, rng):
    """Bit for bit, at every number of rows and steps."""
    g, x = rng.normal(size=(2, rows, T)).astype(np.float32)
    g_x, _ = backward(g, x, np.ones(rows, np.float32), NONE, 64, (False, False), 1, 1)
    np.testing.assert_array_equal(g_x, g - np.pad(g, ((0, 0), (0, 1)))[:, 1:])


@pytest.mark.parametrize("threads", [2, 3, 4])
@pytest.mark.parametrize("mode", MODES)
def test_every_number_of_threads_gives_the_same_bits(monkeypatch, threads, mode):
    rng = np.random.default_rng(0)
    g, x = rng.normal(size=(2, 111, 150)).astype(np.float32)
    arguments = thresholds(rng, 111, 64), rng.normal(size=(3, 111)).astype(np.float32), 64, mode
    alone = *forward(x, *arguments), *backward(g, x, *arguments, 1, 1)
    monkeypatch.setattr(cpu, "threads", lambda: threads)
    together = (
        *forward(x, *arguments, elements=10**9), *backward(g, x, *arguments, 1, 1, elements=10**9),
    )  # fmt: skip
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


def test_golden_vector():
    x = np.array([[0.1, 0.3, 0.32, 0.7, -0.1]], np.float32)
    y, _ = forward(x, np.array([0.25], np.float32), NONE, 64, (False, False))
    assert y.tolist() == [[0, 0.296875, 0, 0.390625, -0.8125]]


def test_the_cumulative_error_sends_what_single_differences_do_not():
    """By hand: a ramp of 1/8 a step, whose residuals add up."""
    x = np.arange(1, 7, dtype=np.float32)[None] / 8
    threshold = np.array([0.7], np.float32)
    plain, _ = forward(x, threshold, NONE, 64, (False, False))
    summed, final = forward(x, threshold, NONE, 64, (True, False))
    assert plain.tolist() == [[0, 0, 0, 0, 0, 0.75]]
    assert summed.tolist() == [[0, 0, 0.375, 0, 0, 0.375]]  # 1/8 + 2/8 + 3/8 = 0.75, twice
    assert final.tolist() == [[0.75], [0], [0]]


def test_non_finite_inputs_have_a_defined_result():
    x = np.array([[np.nan, 0], [np.inf, 0], [-np.inf, 0], [1e30, 0]], np.float32)
    y, _ = forward(x, np.ones(4, np.float32), NONE, 4096, (False, False))
    most = 2**23 - 1
    assert (y * 4096).tolist() == [[-most, most], [most, -most], [-most, most], [most, -most]]


@pytest.mark.parametrize("cumulative", [False, True])
def test_what_is_carried_does_not_drift(cumulative):
    """D8: 2000 random steps; messages rounded down lose about half a unit each, carried remainders nothing."""
    x = np.random.default_rng(0).uniform(-1, 1, (40, 2000)).astype(np.float32)
    threshold, scale = np.full(40, 0.25, np.float32), 64
    lost = {}
    for carry in (False, True):
        y, final = forward(x, threshold, NONE, scale, (cumulative, carry))
        sent = np.count_nonzero(y, 1)
        assert (sent > 1000).all()
        lost[carry] = x[:, -1] - final[1] - y.sum(1, dtype=np.float64)
    assert (lost[False] > 1000 / scale / 4).all()
    assert np.abs(lost[True]).max() < 1e-3


def test_gradients_of_nothing_are_nothing():
    for rows, T in ((0, 5), (5, 0), (0, 0)):
        x = np.zeros((rows, T), np.float32)
        g_x, g_threshold = backward(x, x, np.ones(rows, np.float32), NONE, 64, (False, False), 1, 1)
        assert g_x.shape == (rows, T)
        assert g_threshold.tolist() == [0] * rows
