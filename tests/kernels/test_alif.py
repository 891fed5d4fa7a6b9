"""The fused ALIF pass on NumPy arrays: forward equals the integer reference, backward the transposed linear system."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.kernels import alif, cpu
from tests import strategies
from tests.reference import fixed_point

NONE, NO_INTS = np.zeros((4, 0), np.float32), np.zeros(0, np.int32)


def forward(x, decays, states, scale, base, rise, graded=False, keep=True, elements=None):
    """Spikes, what is kept for backward, and the final states, which only exist beside initial ones."""
    rows, T = x.shape
    spikes = np.full_like(x, np.nan)
    kept = np.full(alif.checkpoints(rows, T) if keep else 0, -7, np.int32)
    final = np.full((4, rows) if states.size else 0, np.nan, np.float32)
    on, unit = (0.0, 1 / scale) if graded else (1.0, 0.0)
    alif.forward(
        x, spikes, kept, final, decays, states, T, rows, float(scale), base, rise, on, unit,
        rows=rows, elements=x.size if elements is None else elements,
    )  # fmt: skip
    return spikes, kept, final


def backward(g, x, kept, decays, states, scale, base, rise, tau=1.0, height=1.0, graded=False, elements=None):
    """Gradients by the input, and by each row's decays of current and voltage; ``tau`` in units of 1.0."""
    rows, T = x.shape
    g_x, g_decays = np.full_like(x, np.nan), np.full((2, rows), np.nan, np.float32)
    slope = math.log2(math.e) / (tau * scale)
    alif.backward(
        g, x, kept, g_x, g_decays, decays, states, T, rows, float(scale), base, rise, slope, height, graded, 0,
        rows=rows, elements=x.size if elements is None else elements,
    )  # fmt: skip
    return g_x, g_decays


@st.composite
def cases(draw):
    rows, T, scale = draw(strategies.row_counts()), draw(strategies.times()), draw(strategies.scales())
    x = draw(strategies.inputs((rows, T), scale))
    decays = draw(strategies.decays((4, rows)))
    states = draw(strategies.inputs((4, rows), scale)) if rows and draw(st.booleans()) else NONE
    numbers = st.sampled_from([0, 1, 2**23 - 1]) | st.integers(-2, min(2 * scale, 2**23 - 1))
    return x, decays, states, scale, draw(numbers), draw(numbers)


def truth_of(case):
    x, decays, states, scale, base, rise = case
    states = states if states.size else (0, 0, base / scale, 0)
    return fixed_point.alif(x, decays, states, scale, base / scale, rise / scale)


@settings(max_examples=strategies.examples(400))
@given(cases(), st.booleans())
def test_spikes_and_states_equal_the_integers(case, graded):
    """Spikes; what backward starts from, the states before every 64th step; the last states."""
    x, _, states, scale, *_ = case
    current, voltage, threshold, refractory, *left = truth_of(case)
    fired = voltage >= threshold + refractory
    spikes, kept, final = forward(*case, graded=graded)
    np.testing.assert_array_equal(spikes * np.float64(scale if graded else 1), fired * voltage if graded else fired)
    before = []
    for t in range(64, x.shape[1], 64):
        _, _, _, _, th, r = truth_of((x[:, :t], *case[1:]))
        before += [current[:, t - 1], voltage[:, t - 1], th, r]
    np.testing.assert_array_equal(kept, np.concatenate(before) if before else NO_INTS)
    if states.size:
        end = fixed_point.to_integer(states, scale)
        if x.shape[1]:
            end = current[:, -1], voltage[:, -1], *left
        np.testing.assert_array_equal(final * np.float64(scale), end)


def test_nothing_is_kept_where_nothing_is_wanted():
    x, decays = np.ones((3, 200), np.float32), np.ones((4, 3), np.float32)
    spikes, kept, final = forward(x, decays, NONE, 64, 64, 32, keep=False)
    assert kept.size == final.size == 0
    np.testing.assert_array_equal(spikes, forward(x, decays, NONE, 64, 64, 32)[0])


@settings(max_examples=strategies.examples(300))
@given(cases(), st.booleans(), st.data())
def test_chunks_equal_the_whole(case, graded, data):
    x, decays, states, scale, base, rise = case
    if not states.size:
        states = np.zeros((4, len(x)), np.float32)
        states[2] = base / scale
    whole, _, end = forward(x, decays, states, scale, base, rise, graded)
    parts, at = [], 0
    for length in data.draw(strategies.chunks(x.shape[1])):
        chunk = np.ascontiguousarray(x[:, at : at + length])
        spikes, _, states = forward(chunk, decays, states, scale, base, rise, graded)
        parts.append(spikes)
        at += length
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole)
    np.testing.assert_array_equal(states.ravel(), end.ravel())


@pytest.mark.parametrize("threads", [2, 3, 4])
def test_every_number_of_threads_gives_the_same_bits(monkeypatch, threads):
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(2, 111, 150)).astype(np.float32)
    decays, states = rng.integers(0, 4097, (4, 111)).astype(np.float32), rng.normal(size=(4, 111)).astype(np.float32)

    def everything(elements):
        spikes, kept, final = forward(x, decays, states, 4096, 4096, 2048, elements=elements)
        return spikes, kept, final, *backward(g, x, kept, decays, states, 4096, 4096, 2048, elements=elements)

    alone = everything(1)
    monkeypatch.setattr(cpu, "threads", lambda: threads)
    for a, b in zip(alone, everything(10**9), strict=True):
        np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))


GOLDEN = np.ones((1, 8), np.float32)
GOLDEN_DECAYS = np.array([[1024], [410], [819], [1229]], np.float32)  # .25, .1, .2, .3


def test_golden_vector():
    """neuron(1.5, .5, .25, .1, .2, .3): the reference's states and spikes."""
    spikes, *_ = forward(GOLDEN, GOLDEN_DECAYS, NONE, 4096, 6144, 2048)
    assert spikes.tolist() == [[0, 1, 1, 1, 1, 1, 1, 1]]
    current, voltage, threshold, refractory, *_ = truth_of((GOLDEN, GOLDEN_DECAYS, NONE, 4096, 6144, 2048))
    assert current.tolist() == [[4096, 7168, 9472, 11200, 12496, 13468, 14197, 14743]]
    assert voltage.tolist() == [[4096, 10854, 19239, 28513, 38154, 47802, 57214, 66230]]
    assert threshold.tolist() == [[6144, 6144, 7782, 9092, 10141, 10980, 11651, 12188]]
    assert refractory.tolist() == [[0, 0, 8601, 16914, 24566, 31391, 37343, 42448]]


def test_a_neuron_fires_at_its_threshold():
    """Unlike CUBA: at equality, which holds at each step of a constant voltage, until the first spike."""
    decays = np.array([[4096], [4096], [0], [0]], np.float32)
    for level, spikes in ((4096, [1, 0, 0]), (4097, [0, 0, 0])):
        assert forward(GOLDEN[:, :3], decays, NONE, 4096, level, 0)[0].tolist() == [spikes]


# --------------------------------------------------------------------------------------------------------- gradients
def voltages(decay_c, decay_v, state_c, state_v, x):
    """The recurrence in real numbers."""
    current, left, voltage = np.array(state_c, np.float64), np.array(state_v, np.float64), np.zeros(x.shape)
    for t in range(x.shape[1]):
        current = current * (1 - decay_c / 4096) + x[:, t]
        left = voltage[:, t] = left * (1 - decay_v / 4096) + current
    return voltage


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("T", [1, 64, 100, 130])
def test_gradients_are_slopes_of_the_response_through_the_surrogate(graded, initial, T):
    """Slopes of ``sum(g * surrogate * voltage)`` in real numbers, the surrogate held; rounding is what is left over."""
    rng = np.random.default_rng(T)
    rows, scale, tau = 21, 1 << 17, 0.7
    base, rise = scale, scale // 2
    x, g = rng.normal(size=(2, rows, T)).astype(np.float32)
    x += np.float32(0.2)
    decays = rng.integers(300, 2000, (4, rows)).astype(np.float32)
    states = rng.normal(size=(4, rows)).astype(np.float32) if initial else NONE
    start = states if initial else np.array([0, 0, 1, 0])[:, None] + 0 * decays
    _, kept, _ = forward(x, decays, states, scale, base, rise)
    g_x, (g_c, g_v) = backward(g, x, kept, decays, states, scale, base, rise, tau, 1.0, graded)

    _, voltage, threshold, refractory, *_ = truth_of((x, decays, start, scale, base, rise))
    above = (voltage - threshold - refractory) / scale
    weight = g * np.exp((np.minimum(above, 0) if graded else -np.abs(above)) / tau)
    assert T == 1 or 0 < (above >= 0).mean() < 0.6

    decay_c, decay_v = decays[:2].astype(np.float64)

    def loss(d_c=0, d_v=0, d_x=0):
        return (weight * voltages(decay_c + d_c, decay_v + d_v, *start[:2], x + d_x)).sum(1)

    for ours, by in ((g_c, "d_c"), (g_v, "d_v")):
        slope = (loss(**{by: 0.05}) - loss(**{by: -0.05})) / 0.1
        np.testing.assert_allclose(ours, slope, rtol=0, atol=4e-4 * max(np.abs(slope).max(), 1e-6))
    probe = rng.normal(size=x.shape)
    np.testing.assert_allclose((g_x * probe).sum(1), loss(d_x=probe) - loss(), atol=2e-5 * np.abs(g_x).max() * T**0.5)


def test_nothing_in_nothing_out():
    for rows, T in ((0, 5), (5, 0), (0, 0)):
        x, decays = np.zeros((rows, T), np.float32), np.zeros((4, rows), np.float32)
        spikes, kept, _ = forward(x, decays, NONE, 64, 1, 1)
        g_x, g_decays = backward(x, x, kept, decays, NONE, 64, 1, 1)
        assert spikes.shape == g_x.shape == (rows, T)
        assert (g_decays == 0).all()
