"""The fused CUBA pass on NumPy arrays: forward equals the integer reference, backward the transposed linear system."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.kernels import cpu, cuba
from tests import strategies
from tests.reference import fixed_point

NEVER = 2**31 - 1
NONE, NO_INTS = np.zeros(0, np.float32), np.zeros(0, np.int32)


def forward(x, decays, states, scale, level, graded=False, late=False, keep=True, elements=None):
    """Spikes, what is kept for backward, and the final states, which only exist beside initial ones."""
    rows, T = x.shape
    spikes = np.full_like(x, np.nan)
    kept = np.full(cuba.checkpoints(rows, T) if keep else 0, -7, np.int32)
    final = [np.full(rows if states[0].size else 0, np.nan, np.float32) for _ in range(2)]
    on, unit = (0.0, 1 / scale) if graded else (1.0, 0.0)
    cuba.forward(
        x, spikes, kept, *final, *decays, *states, T, rows, float(scale), level, on, unit, late,
        rows=rows, elements=x.size if elements is None else elements,
    )  # fmt: skip
    return spikes, kept, *final


def backward(g, x, kept, decays, states, scale, level, tau=1.0, height=1.0, graded=False, late=False, elements=None):
    """Gradients by the input and each row's decays; ``tau`` in units of 1.0, the surrogate centred below the level."""
    rows, T = x.shape
    g_x, g_c, g_v = np.full_like(x, np.nan), np.full(rows, np.nan, np.float32), np.full(rows, np.nan, np.float32)
    slope = math.log2(math.e) / (tau * scale)
    cuba.backward(
        g, x, kept, g_x, g_c, g_v, *decays, *states, T, rows, float(scale), level, slope, 0.99 * slope, height, graded,
        0, late, rows=rows, elements=x.size if elements is None else elements,
    )  # fmt: skip
    return g_x, g_c, g_v


@st.composite
def cases(draw, inputs=strategies.inputs):
    rows, T, scale = draw(strategies.row_counts()), draw(strategies.times()), draw(strategies.scales())
    x = draw(inputs((rows, T), scale))
    of = draw(st.sampled_from([(rows,), (1,)]))  # one for each row, or one for all of them
    decays = draw(strategies.decays(of)), draw(strategies.decays(of))
    states = NONE, NONE
    if rows and draw(st.booleans()):
        states = draw(strategies.inputs((rows,), scale)), draw(strategies.inputs((rows,), scale))
    return x, decays, states, scale, draw(strategies.levels(scale))


def truth_of(case):
    x, decays, states, scale, level = case
    return fixed_point.cuba(x, *decays, *(s if s.size else 0 for s in states), scale, level)


@settings(max_examples=strategies.examples(400))
@given(cases(), st.booleans(), st.booleans())
def test_spikes_and_states_equal_the_integers(case, graded, late):
    """Spikes; what backward starts from, the states before every 64th step; the last states, after their reset."""
    x, _, states, scale, level = case
    current, voltage = truth_of(case)
    fired = voltage >= level
    spikes, kept, *final = forward(*case, graded=graded, late=late)
    sent = fired * voltage if graded else fired
    if late:
        sent = np.pad(sent, ((0, 0), (1, 0)))[:, : x.shape[1]]
    np.testing.assert_array_equal(spikes * np.float64(scale if graded else 1), sent)
    before = [s[:, t - 1] for t in range(64, x.shape[1], 64) for s in (current, voltage)]
    np.testing.assert_array_equal(kept, np.concatenate(before) if before else NO_INTS)
    if states[0].size:
        held = [fixed_point.to_integer(s, scale) for s in states]
        if x.shape[1]:
            held = current[:, -1], np.where(fired[:, -1], 0, voltage[:, -1])
        np.testing.assert_array_equal([s * np.float64(scale) for s in final], held)


def test_nothing_is_kept_where_nothing_is_wanted():
    x, none = np.ones((3, 200), np.float32), (NONE, NONE)
    decays = np.ones((2, 3), np.float32)
    spikes, kept, *final = forward(x, decays, none, 64, 65, keep=False)
    assert kept.size == final[0].size == final[1].size == 0
    np.testing.assert_array_equal(spikes, forward(x, decays, none, 64, 65)[0])


@settings(max_examples=strategies.examples(300))
@given(cases(), st.booleans(), st.data())
def test_chunks_equal_the_whole(case, graded, data):
    x, decays, states, scale, level = case
    states = tuple(s if s.size else np.zeros(len(x), np.float32) for s in states)
    whole, _, *end = forward(x, decays, states, scale, level, graded)
    parts, at = [], 0
    for length in data.draw(strategies.chunks(x.shape[1])):
        chunk = np.ascontiguousarray(x[:, at : at + length])
        spikes, _, *states = forward(chunk, decays, states, scale, level, graded)
        parts.append(spikes)
        at += length
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole)
    np.testing.assert_array_equal(states, end)


@pytest.mark.parametrize(("threads", "late"), [(2, False), (3, True), (4, False)])
def test_every_number_of_threads_gives_the_same_bits(monkeypatch, threads, late):
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(2, 111, 150)).astype(np.float32)
    decays, states = rng.integers(0, 4097, (2, 111)).astype(np.float32), rng.normal(size=(2, 111)).astype(np.float32)

    def everything(elements):
        how = {"late": late, "elements": elements}
        spikes, kept, *final = forward(x, decays, states, 4096, 4097, **how)
        return spikes, kept, *final, *backward(g, x, kept, decays, states, 4096, 4097, **how)

    alone = everything(1)
    monkeypatch.setattr(cpu, "threads", lambda: threads)
    for a, b in zip(alone, everything(10**9), strict=True):
        np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))


GOLDEN = np.array([[1, 0.5, -0.25, 0, 2, 0, 0, 0]], np.float32)
QUARTER, TENTH = np.array([1024], np.float32), np.array([410], np.float32)  # decays of 0.25 and 0.1


def test_golden_vectors_of_binary_and_graded_spikes():
    binary, *_ = forward(GOLDEN, (QUARTER, TENTH), (NONE, NONE), 4096, 2 * 4096 + 1)
    assert binary.tolist() == [[0, 1, 0, 0, 1, 0, 1, 0]]
    graded, *_ = forward(GOLDEN, (QUARTER, TENTH), (NONE, NONE), 4096, 6144 + 1, graded=True)
    assert graded.tolist() == [[0, 2.14990234375, 0, 0, 3.4072265625, 1.7900390625, 0, 2.21484375]]


def test_golden_states_and_gradient():
    """neuron(2, .25, .1): the reference's currents, voltages, and the gradient of the number of spikes."""
    current, voltage = fixed_point.cuba(GOLDEN, QUARTER, TENTH, 0, 0, 4096, 2 * 4096 + 1)
    assert current.tolist() == [[4096, 5120, 2816, 2112, 9776, 7332, 5499, 4124]]
    assert voltage.tolist() == [[4096, 8806, 2816, 4646, 13956, 7332, 12097, 4124]]
    truth = [0.00402497, 0.00347687, 0.00290443, 0.00231871, 0.00173292, 0.00116953, 0.00065924, 0.00024876]
    tau, rho = 2 * 100, 0.1
    g_x, g_c, g_v = backward(
        np.ones_like(GOLDEN), GOLDEN, NO_INTS, (QUARTER, TENTH), (NONE, NONE), 4096, 2 * 4096 + 1, tau, rho / (2 * tau)
    )
    np.testing.assert_allclose(g_x[0], truth, atol=5e-9)
    np.testing.assert_allclose(g_c, -0.0139004327 / 4096, rtol=1e-6)
    np.testing.assert_allclose(g_v, -0.0038159 / 4096, rtol=1e-4)


def test_a_neuron_fires_strictly_above_its_threshold():
    """D9: the voltage that equals the threshold neither fires nor resets, also where float32 loses a small epsilon."""
    for threshold in (1, 64, 1000):
        x = np.array([[threshold, 0, 1 / 4096, 0]], np.float32)
        leak, hold = np.array([4096], np.float32), np.array([0], np.float32)
        spikes, *_ = forward(x, (leak, hold), (NONE, NONE), 4096, threshold * 4096 + 1)
        assert spikes.tolist() == [[0, 0, 1, 0]]


def test_an_initial_voltage_at_the_level_is_not_reset_again():
    zero = np.zeros(1, np.float32)
    spikes, _, _, final = forward(np.zeros((1, 1), np.float32), (zero, zero + 2048), (zero, zero + 8), 4096, 4096)
    assert spikes.tolist() == [[1]]
    assert final.tolist() == [0]
    empty = np.zeros((1, 0), np.float32)
    assert forward(empty, (zero, zero), (zero, zero + 8), 4096, 4096)[3].tolist() == [8]


# --------------------------------------------------------------------------------------------------------- gradients
@pytest.mark.parametrize("T", [0, 1, 2, 63, 64, 65, 130])
@pytest.mark.parametrize("rows", [1, 16, 21])
def test_the_gradient_of_late_spikes_is_that_of_spikes_a_step_before(rows, T):
    rng = np.random.default_rng(T)
    x, g = rng.normal(size=(2, rows, T)).astype(np.float32)
    decays = rng.integers(300, 2000, (2, rows)).astype(np.float32)
    before = np.ascontiguousarray(np.pad(g, ((0, 0), (0, 1)))[:, 1 : T + 1])
    _, kept, *_ = forward(x, decays, (NONE, NONE), 4096, 4097)
    ours = backward(g, x, kept, decays, (NONE, NONE), 4096, 4097, late=True)
    truth = backward(before, x, kept, decays, (NONE, NONE), 4096, 4097)
    for a, b in zip(ours, truth, strict=True):
        np.testing.assert_array_equal(a, b)


def voltages(decay_c, decay_v, state_c, state_v, x, removed):
    """The recurrence in real numbers; a reset takes away ``removed`` after each step, whatever the decays."""
    current, left, voltage = np.array(state_c, np.float64), np.array(state_v, np.float64), np.zeros(x.shape)
    for t in range(x.shape[1]):
        current = current * (1 - decay_c / 4096) + x[:, t]
        voltage[:, t] = left * (1 - decay_v / 4096) + current
        left = voltage[:, t] - removed[:, t]
    return voltage


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("T", [1, 64, 100, 130])
def test_gradients_are_slopes_of_the_response_through_the_surrogate(graded, initial, T):
    """Slopes of ``sum(g * surrogate * voltage)`` in real numbers, the surrogate held; rounding is what is left over."""
    rng = np.random.default_rng(T)
    rows, scale, threshold, tau = 21, 1 << 17, 3.0, 0.7
    level = round(threshold * scale) + 1
    x, g = rng.normal(size=(2, rows, T)).astype(np.float32)
    x += np.float32(0.2)
    decays = rng.integers(300, 2000, (2, rows)).astype(np.float32)
    states = rng.normal(size=(2, rows)).astype(np.float32) if initial else (NONE, NONE)
    start = states if initial else (0 * decays[0], 0 * decays[0])
    _, kept, *_ = forward(x, decays, states, scale, level)
    g_x, g_c, g_v = backward(g, x, kept, decays, states, scale, level, tau, 1.0, graded)

    _, integers = fixed_point.cuba(x, *decays, *start, scale, level)
    voltage = integers / scale
    above = voltage - (threshold + 0.01 / scale)
    weight = g * np.exp((np.minimum(above, 0) if graded else -np.abs(above)) / tau)
    removed = voltage * (integers >= level)
    assert T == 1 or 0 < removed.astype(bool).mean() < 0.6

    decay_c, decay_v = decays.astype(np.float64)

    def loss(d_c=0, d_v=0, d_x=0):
        return (weight * voltages(decay_c + d_c, decay_v + d_v, *start, x + d_x, removed)).sum(1)

    for ours, by in ((g_c, "d_c"), (g_v, "d_v")):
        slope = (loss(**{by: 0.05}) - loss(**{by: -0.05})) / 0.1
        np.testing.assert_allclose(ours, slope, rtol=0, atol=4e-4 * max(np.abs(slope).max(), 1e-6))
    probe = rng.normal(size=x.shape)
    np.testing.assert_allclose((g_x * probe).sum(1), loss(d_x=probe) - loss(), atol=2e-5 * np.abs(g_x).max() * T**0.5)


def test_nothing_in_nothing_out():
    for rows, T in ((0, 5), (5, 0), (0, 0)):
        x, decay = np.zeros((rows, T), np.float32), np.zeros(rows, np.float32)
        spikes, kept, *_ = forward(x, (decay, decay), (NONE, NONE), 64, 1)
        g_x, g_c, g_v = backward(x, x, kept, (decay, decay), (NONE, NONE), 64, 1)
        assert spikes.shape == g_x.shape == (rows, T)
        assert g_c.tolist() == g_v.tolist() == [0] * rows
