"""Hypothesis strategies, once for all tests: shapes, times, decays, scales, inputs, layouts in memory, chunks of time.

Large arrays are drawn through the seed of a generator: hypothesis would spend its time on single elements.  A strategy
is made once: hypothesis inspects each that is new, which took longer than what was drawn from it.
"""

import functools
import importlib.util
import itertools

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

__all__ = [
    "LAYOUTS",
    "TIMES",
    "chunks",
    "decays",
    "examples",
    "float_inputs",
    "generators",
    "grid_inputs",
    "inputs",
    "laid_out",
    "levels",
    "row_counts",
    "scales",
    "shapes",
    "spike_trains",
    "times",
    "wild_inputs",
]

LANES = 16  # rows that a CPU kernel handles together
TIMES = (0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 79, 127, 128, 129, 130, 192, 193)  # about tiles of 64 steps
ROWS = (0, 1, 2, 7, 15, 16, 17, 31, 32, 33, 37, 48)
SPECIALS = np.array(
    [0.0, -0.0, np.nan, np.inf, -np.inf, 1e30, -1e30, 3.4e38, -3.4e38, 1e-45, -1e-45, 1e-38, 2047.9998, 2048.0, -2048.0,
     0.5, -0.5, 2.0**-12, -(2.0**-12), 2.0**23, 2.0**31, -(2.0**31)],
    np.float32,
)  # fmt: skip


def examples(number):
    """How many examples to draw: all beside torch, a tenth on the other Pythons, whose arithmetic is the same."""
    return number if importlib.util.find_spec("torch") else max(number // 10, 20)


@functools.cache
def _one_of(*values):
    return st.sampled_from(values)


@functools.cache
def generators():
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


@functools.cache
def times():
    return st.sampled_from(TIMES) | st.integers(0, 200)


@functools.cache
def row_counts():
    return st.sampled_from(ROWS) | st.integers(0, 50)


@functools.cache
def shapes(smallest=0):
    """``(N, C, ..., T)`` of three to five axes, each of ``smallest`` or more."""
    few = st.integers(smallest, 3)
    channels = st.integers(smallest, 6) | st.sampled_from([15, 16, 17])
    spatial = st.tuples(channels) | st.tuples(channels, few) | st.tuples(channels, few, few)
    time = times() if smallest == 0 else times().filter(lambda t: t >= smallest)
    return st.tuples(few, spatial, time).map(lambda s: (s[0], *s[1], s[2]))


@functools.cache
def scales(largest=2**23):
    return st.integers(0, largest.bit_length() - 1).map(lambda bits: 1 << bits) | st.just(min(4096, largest))


@functools.cache
def levels(scale=4096):
    """Firing levels, in integer units: reached often, at times and never."""
    return st.sampled_from([1, 2, scale, scale + 1, 2**23 - 1, 2**23, 2**31 - 1]) | st.integers(1, 4 * scale)


@st.composite
def decays(draw, shape=()):
    """Floats that stand for 0..4096: whole numbers mostly, the ends often, now and then between two or outside."""
    kind = draw(_one_of("zero", "one", "whole", "whole", "slow", "between", "outside"))
    rng = draw(generators())
    if kind == "zero":
        values = np.zeros(shape)
    elif kind == "one":
        values = np.full(shape, 4096)
    elif kind == "whole":
        values = rng.choice([0, 1, 4095, 4096, *rng.integers(0, 4097, 12)], shape)
    elif kind == "slow":
        values = rng.integers(0, 64, shape)
    elif kind == "between":
        values = rng.uniform(0, 4096, shape)
    else:
        values = rng.choice([np.nan, np.inf, -np.inf, -1.5, 4096.5, 1e30, 409.6], shape)
    return np.asarray(values, np.float32)


def _filled(shape, rng, kind, scale):
    if kind == "grid":  # what quantised weights and binary spikes give: multiples of 2 / 64
        return rng.integers(-64, 65, shape) / 32
    if kind == "normal":
        return rng.normal(size=shape)
    if kind == "spikes":
        return rng.random(shape) < rng.random()
    if kind == "tiny":  # mostly below one integer unit
        return rng.normal(size=shape) / scale
    if kind == "saturating":
        return rng.normal(size=shape) * 2.0**23 / scale
    if kind == "denormal":
        return rng.integers(-9, 9, shape) * 1e-42
    values = rng.normal(size=shape)
    return np.where(rng.random(shape) < 0.2, rng.choice(SPECIALS, shape), values)


@st.composite
def _drawn(draw, shape, scale, kinds):
    kind = draw(_one_of(*kinds))
    return np.asarray(_filled(shape, draw(generators()), kind, scale), np.float32)


def grid_inputs(shape, scale=4096):
    """Finite inputs with exact sums, as networks have them."""
    return _drawn(shape, scale, ["grid", "grid", "spikes"])


def float_inputs(shape, scale=4096):
    """Finite inputs of ordinary size."""
    return _drawn(shape, scale, ["grid", "normal", "spikes", "tiny"])


def wild_inputs(shape, scale=4096):
    """Anything that a float32 can hold."""
    return _drawn(shape, scale, ["grid", "normal", "spikes", "tiny", "saturating", "denormal", "special", "special"])


@st.composite
def inputs(draw, shape, scale=4096):
    """Like :func:`wild_inputs`; small arrays are searched by hypothesis itself as well."""
    if 0 < np.prod(shape) <= 40 and draw(st.booleans()):
        return draw(arrays(np.float32, shape, elements=st.floats(width=32)))
    return draw(wild_inputs(shape, scale))


def spike_trains(shape):
    return _drawn(shape, 4096, ["spikes"])


@functools.cache
def chunks(T):
    """Ways to cut ``T`` steps: lengths that sum to it, 0 and 1 among them."""

    def lengths(cuts):
        edges = [0, *sorted(cuts), T]
        return [b - a for a, b in itertools.pairwise(edges)]

    return st.lists(st.integers(0, T), max_size=4).map(lengths) | st.just([1] * min(T, 20) + [T - min(T, 20)])


# the same values, otherwise in memory; each takes a tensor and gives an equal one
LAYOUTS = {
    "contiguous": lambda x: x.contiguous(),
    "transposed": lambda x: x.transpose(0, -1).contiguous().transpose(0, -1),
    "permuted": lambda x: x.movedim(-1, 1).contiguous().movedim(1, -1),
    "every second": lambda x: x.repeat_interleave(2, -1)[..., ::2],
    "inner": lambda x: x.new_zeros([s + 3 for s in x.shape])[tuple(slice(1, s + 1) for s in x.shape)].copy_(x),
    "unaligned": lambda x: x.new_empty(x.numel() + 1)[1:].copy_(x.flatten()).view(x.shape),
    "negated": lambda x: (-x).resolve_neg()._neg_view(),
    "expanded": lambda x: x if len(x) != 1 else x[0].expand(x.shape),
}


def laid_out(x, layout):
    """The NumPy array ``x`` as a tensor of a given layout."""
    import torch

    return LAYOUTS[layout](torch.from_numpy(x.copy()))
