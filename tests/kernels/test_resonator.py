"""The resonator kernels on NumPy arrays: states and spikes equal the integer reference, whatever the input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.kernels import cpu, resonate, resonator
from tests import strategies
from tests.reference import fixed_point, resonators

NEVER = 2**31 - 1
LARGEST = 2**23 - 1


def dynamics(x_real, x_imag, decays, states, scale, level=NEVER, rest=0):
    """Real and imaginary part before their reset."""
    outputs = [np.full_like(x_real, np.nan) for _ in range(2)]
    rows, T = x_real.shape
    resonator.forward(
        x_real, x_imag, *outputs, *decays, *states, T, float(scale), level, rest, rows=rows, elements=x_real.size
    )
    return outputs


def fire(x_real, x_imag, decays, states, scale, base, jump, phase, adaptive, graded=False, elements=None):
    """Spikes, what is kept for backward, and the states at the end."""
    rows, T = x_real.shape
    spikes, final = np.full_like(x_real, np.nan), np.full(4 * rows, np.nan, np.float32)
    kept = np.full(resonate.checkpoints(rows, T, adaptive), -7, np.int32)
    on, unit = (0.0, 1 / scale) if graded else (1.0, 0.0)
    resonate.forward(
        x_real, x_imag, spikes, kept, final, np.concatenate(decays), np.concatenate(states), T, rows, float(scale),
        base, jump, on, unit, phase, adaptive, rows=rows, elements=x_real.size if elements is None else elements,
    )  # fmt: skip
    return spikes, kept, final.reshape(4, rows)


@st.composite
def cases(draw):
    rows, T, scale = draw(strategies.row_counts()), draw(strategies.times()), draw(strategies.scales(2**18))
    inputs = [draw(strategies.inputs((rows, T), scale)) for _ in range(2)]
    decays = [draw(strategies.decays((rows,))) for _ in range(4)]
    states = [draw(strategies.inputs((rows,), scale)) for _ in range(4)]
    return *inputs, decays, states, scale


@settings(max_examples=strategies.examples(400))
@given(cases(), st.none() | st.tuples(strategies.levels(), st.integers(-9, 9)))
def test_states_equal_the_integers(case, reset):
    *inputs, decays, states, scale = case
    level, rest = reset or (None, 0)
    ours = dynamics(*inputs, decays[:2], states[:2], scale, level or NEVER, rest)
    truth = resonators.resonator(*inputs, *decays[:2], *states[:2], scale, level, rest)[:2]
    np.testing.assert_array_equal(np.multiply(ours, np.float64(scale)), truth)


@settings(max_examples=strategies.examples(400))
@given(cases(), st.booleans(), st.booleans(), st.booleans(), st.data())
def test_spikes_and_states_of_all_four_neurons_equal_the_integers(case, phase, adaptive, graded, data):
    """Spikes; what backward starts from, the states before every 64th step; the last states, after reset and jump."""
    *inputs, decays, states, scale = case
    base = data.draw(st.integers(0, 4 * scale) | st.sampled_from([0, 1, LARGEST]))
    jump = data.draw(st.integers(0, 2 * scale) | st.just(LARGEST))
    real, imag, _, fired, end = resonators.neuron(*inputs, decays, states, scale, base, jump, phase, adaptive)
    spikes, kept, final = fire(*case, base, jump, phase, adaptive, graded)
    value = real if phase else imag
    truth = fired * value if graded else fired
    np.testing.assert_array_equal(spikes * np.float64(scale if graded else 1), truth)
    if not adaptive:
        end = *end[:2], base, 0
    np.testing.assert_array_equal(final * np.float64(scale), np.array([np.broadcast_to(e, len(real)) for e in end]))
    rows, T = real.shape
    parts = max(-(-T // 64) - 1, 0)
    if parts:  # the last one, for it is made from all before it
        held = kept.reshape(parts, 4 if adaptive else 2, rows)[-1]
        *_, before = resonators.neuron(
            *(x[:, : 64 * parts] for x in inputs), decays, states, scale, base, jump, phase, adaptive
        )
        np.testing.assert_array_equal(held, np.array(before[: len(held)]))


@settings(max_examples=strategies.examples(300))
@given(cases(), st.booleans(), st.booleans(), st.data())
def test_chunks_equal_the_whole(case, phase, adaptive, data):
    real, imag, decays, states, scale = case
    if not adaptive:  # the threshold's state is not read then
        states = [*states[:2], np.full(len(real), 1, np.float32), np.zeros(len(real), np.float32)]
    whole, _, end = fire(real, imag, decays, states, scale, scale, scale // 2, phase, adaptive)
    parts, at, states = [], 0, np.array(states)
    for length in data.draw(strategies.chunks(real.shape[1])):
        chunk = [np.ascontiguousarray(x[:, at : at + length]) for x in (real, imag)]
        spikes, _, states = fire(*chunk, decays, states, scale, scale, scale // 2, phase, adaptive)
        parts.append(spikes)
        at += length
    np.testing.assert_array_equal(np.concatenate(parts, 1), whole)
    np.testing.assert_array_equal(states, end)


@pytest.mark.parametrize("phase", [False, True])
@pytest.mark.parametrize("adaptive", [False, True])
def test_every_number_of_threads_gives_the_same_bits(monkeypatch, phase, adaptive):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(2, 111, 150)).astype(np.float32)
    decays = rng.integers(0, 4097, (4, 111)).astype(np.float32)
    states = rng.normal(size=(4, 111)).astype(np.float32)
    arguments = *inputs, decays, states, 4096, 4096, 2048, phase, adaptive
    alone = fire(*arguments, elements=1)
    monkeypatch.setattr(cpu, "threads", lambda: 3)
    for a, b in zip(alone, fire(*arguments, elements=10**9), strict=True):
        np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))


# ----------------------------------------------------------------------------------------- values of slayer-core's text
INPUT = np.array([[1, 0.5, -0.25, 0, 2, 0, 0, 0]], np.float32)
TURN = np.array([2048], np.float32), np.array([3400], np.float32)
AT_REST = np.zeros((4, 1), np.float32)


def test_golden_states():
    real, imag = dynamics(INPUT, 0 * INPUT, TURN, AT_REST[:2], 4096)
    assert (4096 * real).tolist() == [[4096, 5448, 2474, -159, 5607, 2657, -854, -3911]]
    assert (4096 * imag).tolist() == [[0, 2048, 4424, 4909, 3995, 6119, 6407, 4891]]
    real, imag = dynamics(INPUT, INPUT, TURN, AT_REST[:2], 4096, 4096, 4095)
    assert (4096 * real).tolist() == [[4096, 1, -3071, -3736, 4873, -2047, -3398, -3719]]
    assert (4096 * imag).tolist() == [[4096, 5447, 2375, 436, 6685, 3399, 1798, -207]]


def test_a_quarter_turn_of_full_gain_is_exact():
    """With sin 4096 and cos 0 an impulse goes round in four steps and never shrinks."""
    x = np.zeros((1, 9), np.float32)
    x[0, 0] = 3
    full, none = np.full(1, 4096, np.float32), np.zeros(1, np.float32)
    real, imag = dynamics(x, 0 * x, (full, none), AT_REST[:2], 4096)
    assert real.tolist() == [[3, 0, -3, 0, 3, 0, -3, 0, 3]]
    assert imag.tolist() == [[0, 3, 0, -3, 0, 3, 0, -3, 0]]


def test_a_phase_that_rests_at_zero_does_not_cross_it():
    """The step before has to be below zero: 0 and then 0 again is no crossing."""
    x = np.array([[2, 2, 2, 2]], np.float32)
    y = np.array([[0, 0, -1, 1]], np.float32)
    none = np.zeros((4, 1), np.float32)  # no memory at all: the state is the input
    spikes, *_ = fire(x, y, none, AT_REST, 64, 64, 0, phase=True, adaptive=False)
    assert spikes.tolist() == [[0, 0, 0, 1]]
    below = np.array([[0], [-1 / 64], [1], [0]], np.float32)
    spikes, *_ = fire(x, y, none, below, 64, 64, 0, phase=True, adaptive=False)
    assert spikes.tolist() == [[1, 0, 0, 1]]


def test_the_reference_rounds_toward_zero():
    assert fixed_point.shift_toward_zero(np.array([-4097, -4096, -4095, 4095, 4096])).tolist() == [-1, -1, 0, 0, 1]
