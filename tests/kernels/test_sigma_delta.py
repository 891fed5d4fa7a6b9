"""The fused sigma-delta neuron on NumPy arrays: bits of its parts in a row, gradients of the stated model."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.kernels import cpu, delta, sigma, sigma_delta
from tests import strategies
from tests.reference import sigma_delta as reference
from tests.reference.sigma_delta import ACTIVATIONS, LINES

NONE = np.zeros(0, np.float32)
NO_SUMS = np.zeros(0)
MODES = list(itertools.product((False, True), repeat=2))  # cumulative, carry


def forward(x, name, bias, threshold, start, states, scale, mode, elements=None):
    """Messages, final states, final sums and what is kept for backward; every element must be written."""
    rows, T = x.shape
    y, final, end = np.full_like(x, np.nan), np.full(states.shape, np.nan, np.float32), np.full(start.shape, np.nan)
    borders = sigma_delta.borders(T)
    kept = np.full((borders, rows), np.nan), np.full((borders, 1 + mode[0], rows), np.nan, np.float32)
    sigma_delta.forward(
        x, y, *kept, end, final, bias, threshold, start, states, T, rows, float(scale), *LINES[name], *mode,
        rows=rows, elements=x.size if elements is None else elements,
    )  # fmt: skip
    assert not any(np.isnan(k).any() for k in kept) or not np.isfinite(x).all()
    return y, final, end, kept


def backward(g_y, x, name, bias, threshold, start, states, scale, mode, kept, tau, rho, learning=True, elements=None):
    """Gradients of the input, the bias and each row's threshold."""
    rows, T = x.shape
    g_x, g_bias = np.full_like(x, np.nan), np.full(bias.shape, np.nan, np.float32)
    g_threshold = np.full(rows if learning else 0, np.nan, np.float32)
    sigma_delta.backward(
        g_y, x, *kept, g_x, g_bias, g_threshold, bias, threshold, start, states, T, rows, float(scale), *LINES[name],
        *mode, np.log2(np.e) / tau, rho, rows=rows, elements=x.size if elements is None else elements,
    )  # fmt: skip
    return g_x, g_bias, g_threshold


def thresholds(rng, rows, scale):
    return np.maximum(rng.choice([0.1, 0.5, 1, 3, 0], rows), 1 / scale).astype(np.float32)


@st.composite
def cases(draw, inputs=strategies.inputs):
    """Input, activation, bias and initial states (none or one a row), thresholds, scale and mode."""
    rows, T, scale = draw(strategies.row_counts()), draw(strategies.times()), draw(strategies.scales())
    rng = draw(strategies.generators())
    bias = rng.normal(size=rows).astype(np.float32) if draw(st.booleans()) else NONE
    start, states = NO_SUMS, NONE
    if rows and draw(st.booleans()):
        start, states = rng.normal(size=rows), rng.normal(size=(3, rows)).astype(np.float32)
    return (
        draw(inputs((rows, T), scale)), draw(st.sampled_from(list(LINES))), bias, thresholds(rng, rows, scale),
        start, states, scale, draw(st.sampled_from(MODES)),
    )  # fmt: skip


def truth_of(x, name, bias, threshold, start, states, scale, mode):
    bias = bias if bias.size else np.zeros(len(x), np.float32)
    states = states if states.size else np.zeros((3, len(x)), np.float32)
    return reference.sigma_delta(x, name, bias, threshold, start if start.size else 0, states, scale, *mode)


@settings(max_examples=strategies.examples(400))
@given(cases())
def test_messages_and_states_are_those_of_the_equations(case):
    message, _, last, total = truth_of(*case)
    y, final, end, _ = forward(*case)
    np.testing.assert_array_equal(y, message)
    if final.size:
        np.testing.assert_array_equal(final, last)
        np.testing.assert_array_equal(end, total)


@settings(max_examples=strategies.examples(300))
@given(cases())
def test_messages_and_states_are_those_of_the_parts(case):
    """The kernels of sigma and delta with NumPy between them."""
    x, name, bias, threshold, start, states, scale, mode = case
    rows, T = x.shape
    totals, end = np.empty_like(x), np.empty(start.shape)
    sigma.forward(x, totals, end, start, T, rows=rows, elements=x.size)
    with np.errstate(invalid="ignore", over="ignore"):
        activated = ACTIVATIONS[name](totals + (bias[:, None] if bias.size else np.float32(0)))
    y, final = np.empty_like(x), np.empty(states.shape, np.float32)
    delta.forward(activated, y, final, states, threshold, T, rows, float(scale), *mode, rows=rows, elements=x.size)
    fused, last, total, _ = forward(*case)
    for ours, theirs in ((fused, y), (last, final), (total, end)):
        np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=strategies.examples(300))
@given(cases(), st.data())
def test_chunks_equal_the_whole(case, data):
    x, name, bias, threshold, start, states, scale, mode = case
    start = start if start.size else np.zeros(len(x))
    states = states if states.size else np.zeros((3, len(x)), np.float32)
    whole, last, end, _ = forward(x, name, bias, threshold, start, states, scale, mode)
    parts, at = [], 0
    for length in data.draw(strategies.chunks(x.shape[1])):
        chunk = np.ascontiguousarray(x[:, at : at + length])
        part, states, start, _ = forward(chunk, name, bias, threshold, start, states, scale, mode)
        parts.append(part)
        at += length
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole)
    np.testing.assert_array_equal(states, last)
    np.testing.assert_array_equal(start, end)


MODELS = {
    "identity": lambda x: x,
    "relu": torch.relu,
    "relu6": torch.nn.functional.relu6,
    "hardtanh": torch.nn.functional.hardtanh,
    "leaky_relu": lambda x: torch.nn.functional.leaky_relu(x, float(np.float32(0.01))),
}


@settings(max_examples=strategies.examples(300))
@given(cases(strategies.float_inputs), strategies.generators(), st.sampled_from([0.1, 1, 20]))
def test_gradients_equal_float64_autograd(case, rng, tau):
    x, name, bias, threshold, start, states, *_ = case
    g = rng.normal(size=x.shape).astype(np.float32)
    *_, kept = forward(*case)
    g_x, g_bias, g_threshold = backward(g, *case, kept, tau, 1.5)
    message, difference, *_ = truth_of(*case)
    before = states[0] if states.size else np.zeros(len(x))
    spread = np.broadcast_to(threshold[:, None], x.shape)
    doubles = [torch.tensor(np.asarray(a, np.float64)) for a in (x, spread, before, message, difference)]
    leaves = [d.requires_grad_() for d in doubles[:2]]
    # the sum in single precision decides about the activation's slope
    total = reference.sigma(x, start if start.size else 0)[0] + (bias[:, None] if bias.size else np.float32(0))
    sums = torch.cumsum(leaves[0], 1)
    held = sums + (torch.from_numpy(total.astype(np.float64)) - sums).detach()
    model = reference.delta_model(MODELS[name](held), leaves[1], *doubles[2:], tau, 1.5)
    truth, terms = torch.autograd.grad((model * torch.from_numpy(g)).sum(), leaves)
    np.testing.assert_allclose(g_x, truth, rtol=0, atol=1e-5 * float(truth.abs().max()) if truth.numel() else 0)
    # rounding is bounded by the terms: 1e-5 of the largest sum, unless they cancel more than threefold in all of them
    largest = float(terms.abs().sum(1).max()) if terms.numel() else 0
    np.testing.assert_allclose(g_threshold, terms.sum(1), rtol=0, atol=3e-6 * largest)
    if bias.size and x.shape[1]:  # it acts on all steps, as the first input does
        np.testing.assert_array_equal(g_bias, g_x[:, 0])
    unlearnt = backward(g, *case, kept, tau, 1.5, learning=False)
    np.testing.assert_array_equal(unlearnt[0], g_x)
    np.testing.assert_array_equal(unlearnt[1], g_bias)


@pytest.mark.parametrize("threads", [2, 3, 4])
@pytest.mark.parametrize("mode", MODES)
def test_every_number_of_threads_gives_the_same_bits(monkeypatch, threads, mode):
    rng = np.random.default_rng(0)
    g, x = rng.normal(size=(2, 111, 150)).astype(np.float32)
    bias, states = rng.normal(size=111).astype(np.float32), rng.normal(size=(3, 111)).astype(np.float32)
    arguments = x, "hardtanh", bias, thresholds(rng, 111, 64), rng.normal(size=111), states, 64, mode
    found = []
    for elements in (0, 10**9):
        monkeypatch.setattr(cpu, "threads", lambda count=threads if elements else 1: count)
        *outputs, kept = forward(*arguments, elements=elements)
        found.append((*outputs, *kept, *backward(g, *arguments, kept, 1, 1.0, elements=elements)))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_by_hand():
    """Sums 1, -1, 2, 3; relu with a bias of -1 gives 0, 0, 1, 2; a threshold of 2 sends once."""
    x = np.array([[1, -2, 3, 1]], np.float32)
    arguments = x, "relu", np.array([-1], np.float32), np.array([2], np.float32), NO_SUMS, NONE, 64, (False, False)
    y, *_, kept = forward(*arguments)
    assert y.tolist() == [[0, 0, 0, 2]]
    g_x, g_bias, _ = backward(np.array([[0, 0, 1, 2]], np.float32), *arguments, kept, 1, 1.0)
    # d/da: 0, -1, -1, 2; where the activation is above 0: 0, 0, -1, 2; from the end: 1, 1, 1, 2
    assert g_x.tolist() == [[1, 1, 1, 2]]
    assert g_bias.tolist() == [1]


@pytest.mark.parametrize("name", LINES)
def test_non_finite_inputs_have_a_defined_result(name):
    x = np.array([[np.nan, 0], [np.inf, 0], [-np.inf, 0], [1e30, 0]], np.float32)
    case = x, name, NONE, np.ones(4, np.float32), NO_SUMS, NONE, 4096, (False, False)
    y, *_ = forward(*case)
    assert np.isfinite(y).all()
    np.testing.assert_array_equal(y, truth_of(*case)[0])


def test_gradients_of_nothing_are_nothing():
    for rows, T in ((0, 5), (5, 0), (0, 0)):
        x, ones = np.zeros((rows, T), np.float32), np.ones(rows, np.float32)
        case = x, "relu", ones, ones, NO_SUMS, NONE, 64, (True, False)
        *_, kept = forward(*case)
        g_x, g_bias, g_threshold = backward(x, *case, kept, 1, 1.0)
        assert g_x.shape == (rows, T)
        assert g_bias.tolist() == g_threshold.tolist() == [0] * rows
