"""The shape that each layer makes of the one before it, counted out, and against the synapses that train."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lavadl_lite import exchange
from lavadl_lite.errors import ExchangeError
from lavadl_lite.exchange import Layer, geometry

KERNELS = {"conv": geometry.covered, "pool": geometry.pooled, "convT": geometry.spread, "unpool": geometry.spread}
CUBA = {"type": "CUBA", "iDecay": 1024, "vDecay": 128, "vThMant": 80}

sizes = st.integers(1, 9)
strides = st.integers(1, 4)
paddings = st.integers(0, 3)


@given(size=sizes, kernel=strides, stride=strides, padding=paddings, dilation=strides)
def test_lengths_are_what_counting_gives(size, kernel, stride, padding, dilation):
    """Positions whose whole kernel lies inside the padded axis; for the transpose, what all kernels together reach."""
    reach = dilation * (kernel - 1)
    inside = range(-padding, size + padding)
    fits = [start for start in inside[::stride] if start + reach in inside]
    assert max(geometry.covered(size, kernel, stride, padding, dilation), 0) == len(fits)
    reached = range((size - 1) * stride + reach + 1)
    assert geometry.spread(size, kernel, stride, padding, dilation) == len(reached) - 2 * padding


@given(size=sizes, kernel=strides)
def test_pooling_completes_the_last_kernel(size, kernel):
    assert geometry.pooled(size, kernel, kernel, 0, 1) == len(range(0, size, kernel))


def moving(kind, before, shape, channels, **kernel):
    """A layer with a kernel between two shapes, neither of which it looks at."""
    fields = {"shape": np.array(shape), **{name: np.array(value) for name, value in kernel.items()}}
    size = tuple(kernel["kernelSize"])
    if kind in ("pool", "unpool"):
        return Layer(kind, {**fields, "weight": np.ones((1, 1, *size))}, CUBA)
    axes = (channels, before[0]) if kind == "conv" else (before[0], channels)
    weight = np.ones((*axes, *size))
    return Layer(
        kind, {**fields, "inChannels": before[0], "outChannels": channels, "groups": 1, "weight": weight}, CUBA
    )


def shapes_of(before, *layers):
    first = Layer("input", {"shape": np.array(before)})
    return exchange.output_shapes([exchange.check_layer(layer) for layer in (first, *layers)])[1:]


@pytest.mark.parametrize("kind", KERNELS)
@given(plane=st.tuples(sizes, sizes), kernel=st.lists(st.tuples(strides, strides), min_size=4, max_size=4))
def test_planes_are_those_of_the_synapses(kind, plane, kernel):
    """Rows and columns each by their own numbers, in this order."""
    pytest.importorskip("torch")
    from lavadl_lite.errors import ShapeError
    from lavadl_lite.slayer import synapse

    size, stride, dilation, padding = kernel
    padding = tuple(length - 1 for length in padding)
    sizes = {"kernel_size": size, "stride": stride, "padding": padding, "dilation": dilation}
    if kind in ("conv", "convT"):
        layer = (synapse.Conv if kind == "conv" else synapse.ConvTranspose)(2, 3, **sizes)
    else:
        layer = (synapse.Pool if kind == "pool" else synapse.Unpool)(**sizes)
    kernel = {"kernelSize": size, "stride": stride, "padding": padding, "dilation": dilation}
    try:
        expected = layer.output_shape((2, *plane))
    except ShapeError:
        with pytest.raises(ExchangeError, match="/layer/1/kernelSize: expected a kernel that fits a layer of shape"):
            shapes_of((2, *plane), moving(kind, (2, *plane), (2 if "pool" in kind else 3, 1, 1), 3, **kernel))
    else:
        assert shapes_of((2, *plane), moving(kind, (2, *plane), expected, 3, **kernel)) == [expected]
        wrong = (*expected[:2], expected[2] + 1)
        with pytest.raises(ExchangeError, match="/layer/1/shape: expected"):
            shapes_of((2, *plane), moving(kind, (2, *plane), wrong, 3, **kernel))


SMALL = {"kernelSize": (2, 3), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}


@pytest.mark.parametrize("kind", KERNELS)
def test_without_a_layer_before_the_stored_shape_counts(kind):
    layer = exchange.check_layer(moving(kind, (2, 9, 9), (3, 5, 7), 3, **SMALL))
    assert exchange.output_shapes([layer]) == [(3, 5, 7)]


def test_a_whole_network():
    layers = [
        moving("conv", (2, 9, 9), (4, 8, 7), 4, **SMALL),
        moving("pool", (4, 8, 7), (4, 3, 3), 4, **{**SMALL, "kernelSize": (3, 3), "stride": (3, 3)}),
        Layer("decimation", {"shape": np.array([4, 3, 3]), "factor": 2}),
        moving("unpool", (4, 3, 3), (4, 4, 5), 4, **SMALL),
        moving("convT", (4, 4, 5), (1, 5, 7), 1, **SMALL),
        Layer("flatten", {"shape": np.array([35, 1, 1])}),
        Layer("average", {"shape": np.array([5])}),
        Layer("decimation", {"shape": np.array([5]), "factor": 1}),
    ]
    shapes = [(4, 8, 7), (4, 3, 3), (4, 3, 3), (4, 4, 5), (1, 5, 7), (35,), (5,), (5,)]
    assert shapes_of((2, 9, 9), *layers) == shapes


def concat(shape, *layers):
    return Layer("concat", {"shape": np.array(shape), "layers": np.array(layers)})


def test_layers_are_joined_along_channels_in_the_named_order():
    layers = [moving("conv", (2, 9, 9), (4, 8, 7), 4, **SMALL), concat((2, 9, 9), 0), concat((6, 9, 9), 0, 2, 0)]
    assert shapes_of((2, 9, 9), *layers) == [(4, 8, 7), (2, 9, 9), (6, 9, 9)]
    assert shapes_of((2,), concat((4,), 0, 0), concat((6,), 1, 0)) == [(4,), (6,)]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (concat((6, 8, 7), 0, 1), r"layers: expected layers with equal rows .* got \(2, 9, 9\) and \(4, 8, 7\)"),
        (concat((5, 8, 7), 1), r"shape: expected \(4, 8, 7\) as the layers together have it, got \(5, 8, 7\)"),
        (concat((4, 8, 7), 2), "layers: expected numbers of layers before this one, 0 to 1, got 2"),
    ],
)
def test_layers_that_cannot_be_joined(layer, message):
    with pytest.raises(ExchangeError, match=f"/layer/2/{message}"):
        shapes_of((2, 9, 9), moving("conv", (2, 9, 9), (4, 8, 7), 4, **SMALL), layer)


@pytest.mark.parametrize(
    ("before", "layer", "message"),
    [
        (
            (3, 9, 9),
            moving("conv", (2,), (3, 8, 7), 3, **SMALL),
            r"inChannels: expected 3 after a layer of shape .*got 2",
        ),
        (
            (2,),
            moving("conv", (2,), (3, 8, 7), 3, **SMALL),
            r"inChannels: expected no plane after a layer of shape \(2,\)",
        ),
        ((2,), moving("pool", (2,), (2, 8, 7), 2, **SMALL), r"shape: expected no plane after a layer of shape \(2,\)"),
        (
            (2, 9, 9),
            moving("pool", (2,), (3, 8, 7), 3, **SMALL),
            r"shape: expected \(2, 8, 7\) after .*got \(3, 8, 7\)",
        ),
        (
            (2, 9, 9),
            moving("conv", (2,), (3, 7, 8), 3, **SMALL),
            r"shape: expected \(3, 8, 7\) after .*got \(3, 7, 8\)",
        ),
        (
            (2, 1, 9),
            moving("conv", (2,), (3, 1, 7), 3, **SMALL),
            r"kernelSize: expected a kernel that fits .*got \(2, 3\)",
        ),
        (
            (7,),
            Layer("average", {"shape": np.array([2])}),
            r"shape: expected a divisor of the channels .*\(7,\), got 2",
        ),
        ((4, 2, 1), Layer("average", {"shape": np.array([2])}), "shape: expected a divisor of the channels"),
        (
            (4, 2, 1),
            Layer("decimation", {"shape": np.array([4, 1, 2]), "factor": 2}),
            r"shape: expected \(4, 2, 1\) as the layer before has it, got \(4, 1, 2\)",
        ),
    ],
)
def test_layers_that_do_not_fit(before, layer, message):
    with pytest.raises(ExchangeError, match=f"/layer/1/{message}"):
        shapes_of(before, layer)


@given(groups=st.integers(1, 6), size=st.integers(1, 6), plane=st.sampled_from([(), (1, 1)]))
def test_average_takes_equal_groups(groups, size, plane):
    assume(groups * size)
    assert shapes_of(
        (groups * size, *plane) if plane else (groups * size,), Layer("average", {"shape": np.array([groups])})
    ) == [(groups,)]
