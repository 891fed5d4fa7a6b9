"""The adaptive threshold on NumPy arrays equals the integer reference, with a second input and without."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavadl_lite.kernels import adaptive_threshold, cpu
from tests import strategies
from tests.reference import fixed_point

NONE = np.zeros(0, np.float32)


def forward(voltage, im, decays, states, scale, base, rise, elements=None):
    """Thresholds and refractory states; ``states`` are theirs and that of ``im``, ``base`` and ``rise`` integers."""
    rows, T = voltage.shape
    out = [np.full_like(voltage, np.nan) for _ in range(2)]
    adaptive_threshold.forward(
        voltage, im, *out, *decays, *states, T, float(scale), base, rise,
        rows=rows, elements=voltage.size if elements is None else elements,
    )  # fmt: skip
    return out


@st.composite
def cases(draw):
    rows, T, scale = draw(strategies.row_counts()), draw(strategies.times()), draw(strategies.scales())
    voltage = draw(strategies.inputs((rows, T), scale))
    phase = bool(voltage.size) and draw(st.booleans())
    im = draw(strategies.inputs((rows, T), scale)) if phase else NONE
    decays = [draw(strategies.decays((rows,))) for _ in range(2)]
    states = [draw(strategies.inputs((rows,), scale)) for _ in range(3 if phase else 2)] + [NONE] * (not phase)
    numbers = st.sampled_from([0, 1, scale, 2**23, -(2**23)]) | st.integers(-scale, 4 * scale)
    held = numbers.map(lambda n: max(min(n, fixed_point.LARGEST), -fixed_point.LARGEST))
    return voltage, im, decays, states, scale, draw(held), draw(held)


def truth_of(case):
    voltage, im, decays, states, scale, base, rise = case
    second = (im, states[2]) if im.size else ()
    return fixed_point.adaptive_threshold(voltage, *decays, *states[:2], scale, base / scale, rise / scale, *second)


@settings(max_examples=strategies.examples(400))
@given(cases())
def test_thresholds_equal_the_integers(case):
    """Any input, base, rise and state, negative ones too: rounding is toward zero, which lava-dl's GPU path is not."""
    for ours, truth in zip(forward(*case), truth_of(case), strict=False):
        np.testing.assert_array_equal(ours * np.float64(case[4]), truth)


@settings(max_examples=strategies.examples(300))
@given(cases(), st.data())
def test_chunks_equal_the_whole(case, data):
    voltage, im, decays, states, *numbers = case
    scale, whole = numbers[0], forward(*case)
    parts, at = [[], []], 0
    for length in data.draw(strategies.chunks(voltage.shape[1])):
        chunk = np.ascontiguousarray(voltage[:, at : at + length])
        second = np.ascontiguousarray(im[:, at : at + length]) if im.size else NONE
        if im.size and not length:
            continue
        for part, new in zip(parts, forward(chunk, second, decays, states, *numbers), strict=True):
            part.append(new)
        *_, th, r = truth_of((chunk, second, decays, states, *numbers))
        last = second[:, -1].copy() if im.size else NONE
        states = [(th / scale).astype(np.float32), (r / scale).astype(np.float32), last]
        at += length
    for part, truth in zip(parts, whole, strict=True):
        np.testing.assert_array_equal(np.concatenate(part, 1) if part else truth, truth)


@pytest.mark.parametrize("phase", [False, True])
@pytest.mark.parametrize("threads", [2, 3, 4])
def test_every_number_of_threads_gives_the_same_bits(monkeypatch, threads, phase):
    rng = np.random.default_rng(0)
    voltage, im = 3 * rng.normal(size=(2, 111, 150)).astype(np.float32)
    decays, states = rng.integers(0, 4097, (2, 111)).astype(np.float32), rng.normal(size=(3, 111)).astype(np.float32)
    arguments = voltage, im if phase else NONE, decays, states, 4096, 4096, 2048
    alone = forward(*arguments, elements=1)
    monkeypatch.setattr(cpu, "threads", lambda: threads)
    for a, b in zip(alone, forward(*arguments, elements=10**9), strict=True):
        np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))


def one(*values):
    return np.array([values], np.float32) / 4096


ZERO = np.zeros(1, np.float32)


def test_a_spike_raises_both_which_then_decay():
    """decays .2 and .3 (819 and 1229 of 4096), threshold 1.5, step .5: the ALIF vector of the reference."""
    voltage = one(4096, 10854, 19239, 28513, 38154, 47802, 57214, 66230)
    decays = np.array([819], np.float32), np.array([1229], np.float32)
    th, r = forward(voltage, NONE, decays, (ZERO + 1.5, ZERO, NONE), 4096, 6144, 2048)
    assert (th * 4096).tolist() == [[6144, 6144, 7782, 9092, 10141, 10980, 11651, 12188]]
    assert (r * 4096).tolist() == [[0, 0, 8601, 16914, 24566, 31391, 37343, 42448]]


def test_golden_vector_with_a_phase():
    """adrf(1, .5, 8, .1, .2, .3): one spike, at step 8."""
    re = one(12288, 7821, 0, -6335, -8064, -5132, 0, 4157, 5290, 3366)
    im = one(0, 7821, 9954, 6335, 0, -5132, -6532, -4157, 0, 3366)
    decays = np.array([819], np.float32), np.array([1229], np.float32)
    th, r = forward(re, im, decays, (ZERO + 1, ZERO, ZERO), 4096, 4096, 2048)
    assert (th * 4096).tolist() == [[4096] * 9 + [5734]]
    assert (r * 4096).tolist() == [[0] * 9 + [5734]]


@pytest.mark.parametrize(
    ("before", "now", "fires"),
    [(-1, 0, True), (-0.5, 0, False), (-1, -0.5, True), (-1, -1, False), (0, 5, False), (5, 5, False)],
)
def test_a_phase_is_that_of_the_truncated_integers(before, now, fires):
    """Table B: lava-dl's GPU path looks at the floats."""
    states = ZERO + 1, ZERO, one(before)[0]
    th, _ = forward(one(4096, 0), one(now, now), (ZERO, ZERO), states, 4096, 4096, 1000)
    assert (th * 4096).tolist() == [[4096, 5096 if fires else 4096]]


def test_negative_states_round_toward_zero():
    """Table B: -3 * 2048 / 4096 is -1, and a threshold below its base comes back to it."""
    half = ZERO + 2048
    th, r = forward(one(*[-(2**22)] * 4), NONE, (half, half), (one(4093)[0], one(-3)[0], NONE), 4096, 4096, 0)
    assert (th * 4096).tolist() == [[4095, 4096, 4096, 4096]]
    assert (r * 4096).tolist() == [[-1, 0, 0, 0]]


def test_nothing_in_nothing_out():
    for rows, T in ((0, 5), (5, 0), (0, 0)):
        row = np.zeros(rows, np.float32)
        th, r = forward(np.zeros((rows, T), np.float32), NONE, (row, row), (row, row, NONE), 64, 1, 1)
        assert th.shape == r.shape == (rows, T)
