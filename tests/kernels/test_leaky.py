"""The leaky integrator on NumPy arrays: forward equals the integers, backward the transpose of a linear system."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.kernels import cpu, leaky
from tests import strategies
from tests.reference import fixed_point

NEVER = 2**31 - 1
NONE = np.zeros(0, np.float32)


def forward(x, decay, initial, scale, level, elements=None):
    """As floats; every element must be written."""
    y = np.full_like(x, np.nan)
    elements = x.size if elements is None else elements
    leaky.forward(x, y, decay, initial, x.shape[1], float(scale), level, rows=len(x), elements=elements)
    return y


def backward(g_y, y, decay, initial, scale, level, elements=None):
    """Gradients of the input, of each row's decay and of its initial state."""
    g_x, g_decay = np.full_like(y, np.nan), np.full(len(y), np.nan, np.float32)
    g_initial = np.full(initial.shape, np.nan, np.float32)
    leaky.backward(
        g_y, y, g_x, g_decay, g_initial, decay, initial, y.shape[1], float(scale), level,
        rows=len(y), elements=y.size if elements is None else elements,
    )  # fmt: skip
    return g_x, g_decay, g_initial


@st.composite
def cases(draw, inputs=strategies.inputs):
    """Input, decays, initial states (none or one a row), scale and level."""
    rows, T, scale = draw(strategies.row_counts()), draw(strategies.times()), draw(strategies.scales())
    x = draw(inputs((rows, T), scale))
    initial = draw(st.just(NONE) | strategies.inputs((rows,), scale)) if rows else NONE
    return x, draw(strategies.decays((rows,))), initial, scale, draw(strategies.levels(scale) | st.just(NEVER))


@settings(max_examples=strategies.examples(400))
@given(cases())
def test_forward_equals_the_integers(case):
    x, decay, initial, scale, level = case
    truth = fixed_point.leaky(x, decay, initial if initial.size else 0, scale, level)
    np.testing.assert_array_equal(forward(*case) * np.float64(scale), truth)


@settings(max_examples=strategies.examples(300))
@given(cases(), st.data())
def test_chunks_equal_the_whole(case, data):
    x, decay, initial, scale, level = case
    whole = forward(*case)
    state, parts, at = initial if initial.size else np.zeros(len(x), np.float32), [], 0
    for length in data.draw(strategies.chunks(x.shape[1])):
        part = forward(np.ascontiguousarray(x[:, at : at + length]), decay, state, scale, level)
        if length:
            last = part[:, -1]
            state = np.where(last * np.float64(scale) >= level, np.float32(0), last)
        parts.append(part)
        at += length
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole)


@pytest.mark.parametrize("threads", [2, 3, 4])
def test_every_number_of_threads_gives_the_same_bits(monkeypatch, threads):
    rng = np.random.default_rng(0)
    x, decay = rng.normal(size=(111, 150)).astype(np.float32), rng.integers(0, 4097, 111).astype(np.float32)
    initial, g = rng.normal(size=111).astype(np.float32), rng.normal(size=(111, 150)).astype(np.float32)
    alone = forward(x, decay, initial, 4096, 4096)
    alone = alone, *backward(g, alone, decay, initial, 4096, 4096)
    monkeypatch.setattr(cpu, "threads", lambda: threads)
    y = forward(x, decay, initial, 4096, 4096, elements=10**9)
    together = y, *backward(g, y, decay, initial, 4096, 4096, elements=10**9)
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))


GOLDEN = np.array([[1, 0.5, -0.25, 0, 2, 0, 0, 0]], np.float32)


def test_golden_vectors_without_and_with_a_threshold():
    decay = np.array([410], np.float32)
    plain = [4096, 5734, 4136, 3721, 11540, 10384, 9344, 8408]
    reset = [4096, 5734, -1024, -921, 7364, 0, 0, 0]
    assert (forward(GOLDEN, decay, NONE, 4096, NEVER) * 4096).tolist() == [plain]
    assert (forward(-GOLDEN, decay, NONE, 4096, NEVER) * 4096).tolist() == [[-v for v in plain]]
    assert (forward(GOLDEN, decay, NONE, 4096, 5 * 1024) * 4096).tolist() == [reset]


def test_an_initial_state_at_the_level_is_not_reset_again():
    x, decay = np.zeros((1, 3), np.float32), np.array([2048], np.float32)
    y = forward(x, decay, np.array([4], np.float32), 4096, 4096) * 4096
    assert y.tolist() == [[8192, 0, 0]]


def test_states_saturate_on_both_sides_alike():
    x = np.array([[2040, 2040, -1], [-2040, -2040, 1]], np.float32)
    y = forward(x, np.zeros(2, np.float32), NONE, 4096, NEVER) * 4096
    assert y[:, 1].tolist() == [2**23 - 1, -(2**23 - 1)]
    assert y[:, 2].tolist() == [2**23 - 1 - 4096, -(2**23 - 1) + 4096]


def test_non_finite_inputs_have_a_defined_result():
    x = np.array([[np.nan, 0], [np.inf, 0], [-np.inf, 0], [1e30, 0]], np.float32)
    y = forward(x, np.full(4, 4096, np.float32), NONE, 4096, NEVER) * 4096
    assert y.tolist() == [[-(2**23 - 1), 0], [2**23 - 1, 0], [-(2**23 - 1), 0], [2**23 - 1, 0]]


# --------------------------------------------------------------------------------------------------------- gradients
def response(decay, initial, x, removed=0):
    """The recurrence in real numbers; a reset takes away ``removed`` after each step, whatever the decay."""
    removed = np.broadcast_to(removed, x.shape)
    state, y = np.array(initial, np.float64), np.zeros(x.shape)
    for t in range(x.shape[1]):
        y[:, t] = state * (1 - decay / 4096) + x[:, t]
        state = y[:, t] - removed[:, t]
    return y


@settings(max_examples=strategies.examples(100))
@given(st.integers(1, 40), st.integers(1, 140), strategies.generators())
def test_backward_is_the_transpose_of_the_response(rows, T, rng):
    """Without a threshold the response is linear: sum(g * response(x)) = sum(backward(g) * x) for every x."""
    x, g = rng.normal(size=(2, rows, T)).astype(np.float32)
    decay, initial = rng.integers(0, 4097, rows).astype(np.float32), rng.normal(size=rows).astype(np.float32)
    g_x, _, g_initial = backward(g, forward(x, decay, initial, 2**20, NEVER), decay, initial, 2**20, NEVER)
    probe, start = rng.normal(size=(rows, T)), rng.normal(size=rows)
    truth = (g * response(decay, start, probe)).sum(1)
    ours = (g_x * probe).sum(1) + g_initial * start
    np.testing.assert_allclose(ours, truth, rtol=0, atol=1e-5 * max(np.abs(g_x).max(), np.abs(truth).max(), 1))


@pytest.mark.parametrize("threshold", [None, 1.5])
def test_the_gradient_of_a_decay_is_the_slope_of_the_response(threshold):
    """Central differences: sign and factor 1/4096 are the true ones, and what was multiplied after a reset is 0."""
    rng = np.random.default_rng(1)
    rows, T, scale = 20, 100, 1 << 18
    level = NEVER if threshold is None else round(threshold * scale)
    x, g = rng.normal(size=(2, rows, T)).astype(np.float32)
    decay, initial = rng.integers(200, 3900, rows).astype(np.float32), rng.normal(size=rows).astype(np.float32)
    y = forward(x, decay, initial, scale, level)
    fired = y * np.float64(scale) >= level
    assert fired.any() == (threshold is not None)
    _, g_decay, _ = backward(g, y, decay, initial, scale, level)
    above, below = ((g * response(decay.astype(np.float64) + d, initial, x, y * fired)).sum(1) for d in (0.5, -0.5))
    slope = above - below
    np.testing.assert_allclose(g_decay, slope, rtol=0, atol=1e-4 * np.abs(slope).max())


def test_gradients_of_nothing_are_nothing():
    for rows, T in ((0, 5), (5, 0), (0, 0)):
        x, decay = np.zeros((rows, T), np.float32), np.zeros(rows, np.float32)
        g_x, g_decay, g_initial = backward(x, x, decay, np.ones(rows, np.float32), 64, 1)
        assert g_x.shape == (rows, T)
        assert g_decay.tolist() == g_initial.tolist() == [0] * rows
