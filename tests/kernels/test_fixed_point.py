"""Every step of the fixed-point arithmetic, on scalars and on 16 lanes, against Python's unbounded integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from lavadl_lite.kernels import fixed_point
from lavadl_lite.kernels.fixed_point import decay_state, exp2_minus, limit_state, to_fixed, to_keep
from lavadl_lite.kernels.vec import load, repeat, store
from tests.reference import fixed_point as reference
from tests.strategies import SPECIALS, examples, generators, inputs, scales

# decay_state promises four bits more than a state has
EDGES = np.array(
    [0, 1, -1, 4095, 4096, -4095, -4096, -4097, 2**23 - 1, 1 - 2**23, 2**23, -(2**23), 2**27 - 1, 1 - 2**27, -(2**27)],
    np.int64,
)


@njit(error_model="numpy")
def decay_scalars(state, keep, out):
    for i in range(state.size):
        out[i] = decay_state(state[i], keep[i])


@njit(error_model="numpy")
def decay_lanes(state, keep, out):
    for i in range(0, state.size, 16):
        store(out, i, decay_state(load(state, i), load(keep, i)))


@njit(error_model="numpy")
def limit_both(state, scalars, lanes):
    for i in range(0, state.size, 16):
        store(lanes, i, limit_state(load(state, i)))
        for k in range(i, i + 16):
            scalars[k] = limit_state(state[k])


@njit(error_model="numpy")
def fixed_both(x, scale, scalars, lanes):
    for i in range(0, x.size, 16):
        store(lanes, i, to_fixed(load(x, i), scale))
        for k in range(i, i + 16):
            scalars[k] = to_fixed(x[k], scale)


@njit(error_model="numpy")
def keep_both(decay, scalars, lanes):
    for i in range(0, decay.size, 16):
        store(lanes, i, to_keep(load(decay, i)))
        for k in range(i, i + 16):
            scalars[k] = to_keep(decay[k])


@njit(error_model="numpy")
def exp2_both(z, scalars, lanes):
    for i in range(0, z.size, 16):
        store(lanes, i, exp2_minus(load(z, i)))
        for k in range(i, i + 16):
            scalars[k] = exp2_minus(z[k])


def lanes_of(values, dtype):
    """``values`` repeated up to whole groups of 16."""
    values = np.atleast_1d(np.asarray(values, dtype)).ravel()
    return np.resize(values, max(-(-values.size // 16), 1) * 16)


def both(function, values, dtype, result, *arguments):
    values = lanes_of(values, dtype)
    scalars, lanes = np.zeros(values.size, result), np.zeros(values.size, result)
    function(values, *arguments, scalars, lanes)
    return values, scalars, lanes


def truncated(state, keep):
    """``state * keep / 4096`` toward zero, in Python's integers."""
    product = int(state) * int(keep)
    return product >> 12 if product >= 0 else -(-product >> 12)


@pytest.mark.parametrize("decay", [decay_scalars, decay_lanes])
def test_decay_at_the_edges_of_its_range_for_every_decay(decay):
    state, keep = (a.astype(np.int32).ravel() for a in np.meshgrid(EDGES, np.arange(4097)))
    state, keep = lanes_of(state, np.int32), lanes_of(keep, np.int32)
    out = np.zeros(state.size, np.int32)
    decay(state, keep, out)
    product = state.astype(np.int64) * keep
    np.testing.assert_array_equal(out, np.sign(product) * (np.abs(product) >> 12))


@settings(max_examples=examples(300))
@given(st.lists(st.tuples(st.integers(-(2**27), 2**27 - 1), st.integers(0, 4096)), max_size=3), generators())
def test_decay_is_the_exact_product_toward_zero(pairs, rng):
    state = [*[s for s, _ in pairs], *rng.integers(-(2**27), 2**27, 200), *rng.integers(-(2**24), 2**24, 200)]
    keep = [*[k for _, k in pairs], *rng.integers(0, 4097, 400)]
    size = len(state) // 16 * 16
    state, keep = np.array(state[-size:], np.int32), np.array(keep[-size:], np.int32)
    scalars, lanes = np.zeros(size, np.int32), np.zeros(size, np.int32)
    decay_scalars(state, keep, scalars)
    decay_lanes(state, keep, lanes)
    truth = [truncated(s, k) for s, k in zip(state, keep, strict=True)]
    assert scalars.tolist() == truth
    assert lanes.tolist() == truth


def test_decay_by_one_unit_shifts_toward_zero():
    """The reference's table of 12-bit shifts."""
    state = [-4097, -4096, -4095, -1, 0, 4095, 4096]
    assert [decay_state(np.int32(s), np.int32(1)) for s in state] == [-1, -1, 0, 0, 0, 0, 1]


@given(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=8))
def test_limit_holds_24_bits_on_both_sides_alike(state):
    state, scalars, lanes = both(limit_both, [*state, *EDGES, 2**31 - 1, -(2**31)], np.int32, np.int32)
    truth = np.clip(state, -(2**23 - 1), 2**23 - 1)
    np.testing.assert_array_equal(scalars, truth)
    np.testing.assert_array_equal(lanes, truth)


@settings(max_examples=examples(300))
@given(scales(), st.data())
def test_to_fixed_is_the_clamped_product_toward_zero(scale, data):
    x = data.draw(inputs((32,), scale))
    x, scalars, lanes = both(fixed_both, [*x, *SPECIALS], np.float32, np.int32, np.float32(scale))
    truth = reference.to_integer(x, scale)
    np.testing.assert_array_equal(scalars, truth)
    np.testing.assert_array_equal(lanes, truth)


def test_nan_becomes_the_lower_end_of_the_range():
    _, scalars, lanes = both(fixed_both, [np.nan], np.float32, np.int32, np.float32(4096))
    assert scalars[0] == lanes[0] == -(2**23 - 1)


@given(st.lists(st.floats(width=32), max_size=8))
def test_to_keep_truncates_and_holds_the_decay(decay):
    decay = [*decay, *range(0, 4097, 64), 409.6, 4095.999, 4096.5, -0.5, np.nan, np.inf, -np.inf]
    decay, scalars, lanes = both(keep_both, decay, np.float32, np.int32)
    truth = [4096 - (0 if np.isnan(d) else int(min(max(float(d), 0.0), 4096.0))) for d in decay]
    assert scalars.tolist() == lanes.tolist() == truth


@settings(max_examples=examples(300))
@given(st.lists(st.floats(0, 63.5, width=32), max_size=3), generators())
def test_exp2_of_a_negative_number(z, rng):
    z = [*z, *rng.uniform(0, 64, 64), *np.arange(0, 64, 0.5)]
    z, scalars, lanes = both(exp2_both, z, np.float32, np.float32)
    truth = np.exp2(-z.astype(np.float64))
    # the promise is 1e-7; a scalar multiply_add rounds twice where a lane may round once
    np.testing.assert_allclose(lanes, truth, rtol=1.3e-7)
    np.testing.assert_allclose(scalars, truth, rtol=2.5e-7)


def test_exp2_is_constant_from_64_on():
    _, scalars, lanes = both(exp2_both, [64, 65, 1e9, 3e38, np.inf], np.float32, np.float32)
    assert set(scalars) == set(lanes) == {np.float32(2.0**-64)}


def test_numbers_have_their_meaning():
    assert fixed_point.DECAY_ONE == 2**fixed_point.DECAY_BITS == 4096
    assert fixed_point.STATE_MAX == 2**23 - 1
    assert fixed_point.NEVER > 2 * fixed_point.STATE_MAX


def test_a_repeated_scalar_meets_lanes():
    @njit
    def run(out):
        store(out, 0, decay_state(repeat(np.int32(8190)), np.int32(2048)))

    out = np.zeros(16, np.int32)
    run(out)
    assert out.tolist() == [4095] * 16
