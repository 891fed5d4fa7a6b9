"""Recurrent layers on NumPy arrays: forward equals the integer reference; gradients are those of the torch function."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lavadl_lite.kernels import cpu, recurrent
from tests import strategies
from tests.reference.recurrent import layer

FAMILIES = [
    (rotating, phase, adaptive)
    for rotating, phase in ((False, False), (True, False), (True, True))
    for adaptive in (False, True)
]
NONE = np.zeros(0, np.float32)


def lines(x):
    """Time before channels."""
    return np.ascontiguousarray(np.swapaxes(x, -1, -2))


def forward(x, weights, decays, states, previous, scale, base, rise, family, graded, keep=True, elements=0):
    """Spikes [N, 1 + T, P], what is kept for backward, and the final states; NaN is what was not written."""
    _, N, P, T = x.shape
    rotating, _, adaptive = family
    spikes = np.full((N, 1 + T, P), np.nan, np.float32)
    spikes[:, 0] = previous
    kept = np.full((N, T, recurrent.kept_lines(adaptive), P) if keep else 0, np.nan, np.float32)
    final = np.full(states.shape if keep else 0, np.nan, np.float32)
    on, unit = (0.0, 1 / scale) if graded else (1.0, 0.0)
    recurrent.forward(
        lines(x), spikes, kept, final, lines(weights), decays[:2].copy(), decays[2:].copy(), states,
        np.zeros((N, recurrent.INTS, P), np.int32), np.full((N, 2, P), np.nan, np.float32), N, T, P, float(scale), base,
        rise, base - 1 if rotating else 0, on, unit, *family, rows=N * recurrent.LANES, elements=elements,
    )  # fmt: skip
    return spikes, kept, final


def backward(g, weights, decays, states, kept, scale, base, family, graded=False, kind=0, elements=0):
    rotating, _, _ = family
    (N, steps, P), parts = g.shape, len(weights)
    g_x, g_decays = np.full((parts, N, steps, P), np.nan, np.float32), np.full((2, N, P), np.nan, np.float32)
    recurrent.backward(
        g, kept, g_x, g_decays, weights, decays[:2].copy(), states, np.full((N, 5, P), np.nan, np.float32),
        N, steps - 1, P, float(scale), base, base - 1 if rotating else 0,
        1.44 / scale, 0.1, 0.03, -0.04, *family, graded, kind, rows=N * recurrent.LANES, elements=elements,
    )  # fmt: skip
    return g_x, g_decays


@st.composite
def cases(draw, graded=None):
    family = draw(st.sampled_from(FAMILIES))
    graded = draw(st.booleans()) if graded is None else graded
    N, P = draw(st.integers(0, 3)), 16 * draw(st.sampled_from([0, 1, 2, 4, 5]))
    T = draw(st.sampled_from([0, 1, 2, 3, 17, 40]))
    scale = 64 if graded else draw(strategies.scales(4096))
    parts, states = 1 + family[0], 4 if family[2] else 2
    x = draw((strategies.grid_inputs if graded else strategies.wild_inputs)((parts, N, P, T), scale))
    rng, density = draw(strategies.generators()), draw(st.sampled_from([0, 0.1, 1]))
    weights = rng.integers(-8, 9, (parts, P, P)).astype(np.float32) / 32 * (rng.random((parts, P, P)) < density)
    decays = draw(strategies.decays((states, P)))
    held = draw(strategies.grid_inputs((states, N, P)))
    previous = (rng.random((N, P)) < draw(st.sampled_from([0, 0.3]))).astype(np.float32)
    base = draw(st.sampled_from([1, scale, scale + 1, 2 * scale]))
    return (
        x,
        weights.astype(np.float32),
        decays,
        held,
        previous,
        scale,
        base,
        draw(st.integers(0, scale)),
        family,
        graded,
    )


@settings(max_examples=strategies.examples(300))
@given(cases())
def test_spikes_and_states_equal_the_integers(case):
    """Spikes; what backward starts from, the states before each reset; the last states, after theirs."""
    _, weights, _, _, previous, scale, *_, family, graded = case
    truth = layer(*case[:-2], *family, graded)
    # sums of messages are exact while they have 24 bits
    loads = np.abs(np.concatenate([previous[..., None], truth.spikes], -1)).max(initial=0) * np.abs(weights).sum(-1)
    assume(not graded or loads.max(initial=0) * 32 * scale < 2**24)
    spikes, kept, final = forward(*case)
    np.testing.assert_array_equal(spikes[:, 1:], lines(truth.spikes).astype(np.float32))
    names = ("a", "b", "level")[: recurrent.kept_lines(family[2])]
    np.testing.assert_array_equal(kept, np.stack([lines(getattr(truth, name)) for name in names], 2))
    np.testing.assert_array_equal(final * np.float64(scale), truth.ends[-1])


def drawn(rng, family, N=40, P=32, T=50):
    """Sixteen-bit weights that nobody rounded, in a layer that spikes."""
    parts, states = 1 + family[0], 4 if family[2] else 2
    x, weights = rng.normal(0.2, 0.7, (parts, N, P, T)), rng.normal(0, 0.1, (parts, P, P))
    decays, held = rng.integers(0, 4097, (states, P)), rng.normal(0, 0.5, (states, N, P))
    previous = rng.integers(0, 2, (N, P))
    return [v.astype(np.float32) for v in (x, weights, decays, held, previous)]


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_every_number_of_threads_gives_the_same_bits(monkeypatch, family):
    x, weights, decays, held, previous = drawn(np.random.default_rng(0), family)

    def everything(elements):
        spikes, kept, final = forward(
            x, weights, decays, held, previous, 4096, 4097, 900, family, False, elements=elements
        )
        return (
            spikes,
            kept,
            final,
            *backward(spikes, weights, decays, held, kept, 4096, 4097, family, elements=elements),
        )

    alone = everything(1)
    assert 0 < alone[0][:, 1:].mean() < 1
    for threads in (2, 3):
        monkeypatch.setattr(cpu, "threads", lambda threads=threads: threads)
        for a, b in zip(alone, everything(10**9), strict=True):
            np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_nothing_is_kept_where_nothing_is_wanted(family):
    arguments = *drawn(np.random.default_rng(1), family, 2, 16, 20), 4096, 4097, 900, family, False
    spikes, kept, final = forward(*arguments, keep=False)
    assert kept.size == final.size == 0
    np.testing.assert_array_equal(spikes, forward(*arguments)[0])


def test_without_feedback_a_sample_does_not_see_the_others():
    x, weights, decays, held, previous = drawn(np.random.default_rng(2), (False, False, False), 4, 16, 30)
    whole, *_ = forward(x, weights, decays, held, previous, 4096, 4097, 0, (False, False, False), False)
    for n in range(4):
        one = x[:, n : n + 1], weights, decays, held[:, n : n + 1].copy(), previous[n : n + 1]
        alone, *_ = forward(*one, 4096, 4097, 0, (False, False, False), False)
        np.testing.assert_array_equal(alone[0], whole[n])


def test_golden_pair_of_neurons_that_wake_each_other():
    """Weights of 1 from each to the other; a decay of 1.0 forgets, so a spike goes to and fro."""
    x, weights = np.zeros((1, 1, 16, 6), np.float32), np.zeros((1, 16, 16), np.float32)
    weights[0, 0, 1] = weights[0, 1, 0] = 1
    x[0, 0, 0, 0] = 1
    forget, rest = np.full((2, 16), 4096, np.float32), np.zeros((2, 1, 16), np.float32)
    spikes, *_ = forward(x, weights, forget, rest, np.zeros((1, 16)), 64, 64, 0, (False, False, False), False)
    assert spikes[0, 1:, :2].T.tolist() == [[1, 0, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1]]
    assert not spikes[0, :, 2:].any()
