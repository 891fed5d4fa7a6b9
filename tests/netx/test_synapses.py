"""Sums of synapses against their definition, for whatever is active; and how far they can reach."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lavadl_lite.exchange import Layer, output_shapes
from lavadl_lite.netx._synapses import Full, feedback_of, synapse_of
from tests.netx.networks import recurrent
from tests.reference import planes
from tests.strategies import generators


def messages(rng, steps, size, spikes):
    active = rng.random((2, steps, size)) < rng.choice([0, 0.1, 0.5, 1])
    return (active * (1 if spikes else rng.integers(-(1 << 31), 1 << 31, active.shape))).astype(np.int32)


@given(rng=generators(), inputs=st.integers(1, 40), outputs=st.integers(1, 20), spikes=st.booleans())
def test_full(rng, inputs, outputs, spikes):
    weights = [rng.integers(-256, 255, (outputs, inputs)) for _ in range(2)]
    x = messages(rng, 3, inputs, spikes)
    synapse = Full(weights)
    for weight, found in zip(weights, synapse.sums(x, spikes=spikes), strict=True):
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, x.astype(np.int64) @ weight.T)
    assert synapse.reach == max(np.abs(weight).sum(1).max() for weight in weights)


@pytest.mark.parametrize("weight", [-256, 254])
@pytest.mark.parametrize("active", [1, 4, 8, 119, 120, 121, 128, 245, 300])
def test_sums_of_many_spikes_at_the_ends_of_the_range(weight, active):
    (found,) = Full([np.full((3, 300), weight)]).sums(np.array([[np.arange(300) < active]], np.int32), spikes=True)
    assert found.tolist() == [[[weight * active] * 3]]


REFERENCES = {
    "conv": planes.convolution,
    "convT": planes.transposed,
    "pool": planes.pooling,
    "unpool": planes.unpooling,
}


@pytest.mark.parametrize("kind", REFERENCES)
@given(rng=generators(), spikes=st.booleans())
def test_planes(kind, rng, spikes):
    groups = int(rng.integers(1, 4))
    inputs, outputs = (groups * int(n) for n in rng.integers(1, 4, 2))
    kernel, stride, dilation = (tuple(map(int, rng.integers(1, 4, 2))) for _ in range(3))
    padding = tuple(map(int, rng.integers(0, 3, 2)))
    shape = (inputs, *map(int, rng.integers(7, 10, 2)))
    moves = {"stride": stride, "padding": padding, "dilation": dilation}
    axes = {"conv": (outputs, inputs // groups), "convT": (inputs, outputs // groups)}.get(kind, (1, 1))
    weight = rng.integers(-256, 255, (*axes, *kernel))
    more = {} if "pool" in kind else {"groups": groups}
    x = messages(rng, 2, np.prod(shape), spikes).reshape(2, 2, *shape)
    expected = REFERENCES[kind](np.moveaxis(x.astype(np.int64), 1, -1), weight[..., None], **moves, **more)
    after = expected.shape[1:-1]
    fields = {"shape": np.array(after), "weight": weight, "kernelSize": np.array(kernel), **more}
    fields |= {name: np.array(values) for name, values in moves.items()}
    if more:
        fields |= {"inChannels": inputs, "outChannels": after[0]}
    layer = Layer(kind, fields)
    assert output_shapes([layer], shape) == [after]
    synapse = synapse_of(layer, shape, after)
    flat = np.ascontiguousarray(np.moveaxis(x, 2, -1)).reshape(2, 2, -1)
    (found,) = synapse.sums(flat, spikes=spikes)
    np.testing.assert_array_equal(np.moveaxis(found.reshape(2, 2, *after[1:], after[0]), (1, -1), (-1, 1)), expected)
    assert np.abs(found).max() <= synapse.reach * np.abs(x.astype(np.int64)).max()


def test_reach_is_what_a_whole_kernel_sums_up():
    weight = np.array([[[[3, -4]], [[0, 1]]], [[[1, 1]], [[1, -9]]]])
    moves = {"kernelSize": [1, 2], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "shape": [2, 1, 1]}
    fields = moves | {"inChannels": 2, "outChannels": 2, "groups": 1, "weight": weight}
    assert synapse_of(Layer("conv", fields), (2, 1, 2), (2, 1, 1)).reach == 12
    assert synapse_of(Layer("convT", fields), (2, 1, 1), (2, 1, 2)).reach == 11
    assert synapse_of(Layer("pool", fields | {"weight": weight[:1, :1]}), (2, 1, 2), (2, 1, 1)).reach == 7


def test_a_message_reaches_its_own_group_only():
    weight = np.ones((4, 1, 1, 1))
    pairs = {"kernelSize": [1, 1], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "shape": [4, 1, 1]}
    layer = Layer("conv", pairs | {"inChannels": 2, "outChannels": 4, "groups": 2, "weight": weight})
    (found,) = synapse_of(layer, (2, 1, 1), (4, 1, 1)).sums(np.array([[[1, 0], [0, 3]]], np.int32), spikes=False)
    assert found[0].tolist() == [[1, 1, 0, 0], [0, 0, 3, 3]]


def test_feedback_is_that_of_a_recurrent_layer():
    layer = recurrent(np.random.default_rng(0), 2, 3)
    synapse = feedback_of(layer)
    (found,) = synapse.sums(np.eye(3, dtype=np.int32)[None], spikes=True)
    np.testing.assert_array_equal(found[0].T, layer.fields["weight_rec"])
    assert feedback_of(Layer("dense", layer.fields)) is None
