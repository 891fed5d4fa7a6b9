"""Bounds of states: never left by what the simulator does, and met by the worst input."""

import math

import numpy as np
import pytest
from hypothesis import given, settings

from lavadl_lite.errors import ParameterError
from lavadl_lite.exchange import Layer
from lavadl_lite.netx import Simulator
from lavadl_lite.netx._ranges import LIMIT, PORT, bounds
from tests.netx.drawn import draw_network
from tests.netx.networks import dense, input_layer, neuron
from tests.strategies import examples, generators

MOVES = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1]}


def sdnn(activation="relu", threshold=0, **more):
    return {"type": "SDNN", "activation": activation, "vThMant": threshold, **more}


def wraps(layer, bound, before):
    """Whether 24 bits may not be enough: for a state, or for a sum over planes."""
    planes = layer.type in ("conv", "convT", "pool", "unpool") and np.max(bound.sums) * 64 * 2**before.bits >= 1 << 23
    return planes or max(np.max(size) for size in bound.states.values()) >= LIMIT


@settings(max_examples=examples(60))
@given(generators())
def test_no_state_leaves_its_bounds(rng):
    """Unless it wraps or saturates, which bounds beyond 24 bits announce; for networks of all layers and neurons."""
    layers, shape = draw_network(rng)
    first = next(layer for layer in layers if layer.neuron is not None or layer.type == "dense")
    changes = first.neuron is not None and first.neuron["type"] == "SDNN"
    simulator = Simulator(layers, input_message_bits=24 if changes else 0)
    x = (rng.random((*shape, 40)) < rng.choice([0.1, 0.9])).astype(int)
    if first.type == "input":
        x = simulator.encode(rng.normal(size=(*shape, 40)) * 9)
    elif changes:
        x = np.diff(rng.integers(0, 4097, (*shape, 40)), prepend=0)
    found = bounds(layers)
    keys = [(i, name) for i, bound in enumerate(found) for name in bound.states if name in simulator.recordable[i]]
    try:
        _, seen = simulator.run(x, record=[*keys, (len(layers) - 1, "spike")])
    except ParameterError:  # not even 32 bits were enough
        return
    for i, (layer, bound, before) in enumerate(zip(layers, found, [PORT, *found], strict=False)):
        if bound.states and wraps(layer, bound, before):
            break  # from here on it is another story
        for name in bound.states.keys() & simulator.recordable.get(i, ()):
            unit = 1 << (18 if name in ("sigma", "activation") else 12)
            most = np.abs(seen[i, name]).max(initial=0, axis=tuple(range(1, seen[i, name].ndim)))
            assert (most <= np.ceil(bound.states[name] * unit) + 1).all(), (i, name)


def test_the_worst_input_meets_the_bounds():
    weight = np.array([[64, -32, 100], [-6, -8, -10]])
    layers = [dense(weight, neuron(512, 256, (1 << 18) - 1))]
    (bound,) = bounds(layers)
    np.testing.assert_allclose(bound.states["current"], [164 / 64 * 8, 24 / 64 * 8])
    np.testing.assert_allclose(bound.states["voltage"], [164 / 64 * 8 * 16, 24 / 64 * 8 * 16])
    for row, inputs in enumerate(([1, 0, 1], [1, 1, 1])):
        x = np.repeat(np.array(inputs)[:, None], 400, 1)
        _, seen = Simulator(layers).run(x, record=[(0, "current"), (0, "voltage")])
        for name in ("current", "voltage"):
            assert abs(seen[0, name][row, -1]) / 4096 == pytest.approx(bound.states[name][row], rel=0.02)


def test_spikes_hold_the_voltage_down():
    """At a spike it is what a step leaves of the threshold, and the drive."""
    (bound,) = bounds([dense([[64]], neuron(4096, 1024, 128))])
    assert bound.states["voltage"] == pytest.approx([0.75 * 2 + 1])
    (bound,) = bounds([dense([[-64]], neuron(4096, 1024, 128))])
    assert bound.states["voltage"] == [4.0]


def test_bias_and_exponent_reach_the_voltage():
    (bound,) = bounds([dense([[64]], neuron(4096, 4096, 1 << 18, exponent=2), bias=[192])])
    assert bound.states["current"] == [1.0]
    assert bound.states["voltage"] == [(1 + 3) / 4]


def test_without_leak_only_time_is_a_bound():
    (bound,) = bounds([dense([[64, 0], [0, 0]], None)])
    assert bound.states["current"].tolist() == [math.inf, 0]
    parts = {"weight/real": np.array([[0], [0]]), "weight/imag": np.array([[3], [0]])}
    (bound,) = bounds([Layer("dense", {"inFeatures": 1, "outFeatures": 2, "shape": [2], **parts})])
    assert bound.states["imag"].tolist() == [math.inf, 0]


def test_graded_spikes_carry_the_voltage_on():
    first = dense([[128]], neuron(4096, 4096, 32, graded=True))
    one, two = bounds([first, dense([[64], [-64]], neuron(4096, 4096, 32))])
    assert one.message == (0, 2.0)
    assert two.sums.tolist() == [2.0, 2.0]


def test_adaptive_neurons_take_bias_and_exponent_before_the_current():
    cell = {**neuron(2048, 4096, 1 << 18, exponent=1), "type": "ALIF", "thDecay": 1, "refDecay": 1, "vThStep": 1}
    (bound,) = bounds([dense([[64]], cell, bias=[64])])
    assert bound.states["current"] == [(1 + 1) / 2 / 0.5]
    assert bound.states["voltage"] == [2.0]


def test_an_exponent_divides_the_sum_of_changes():
    signal = Layer("input", {"shape": [1]}, sdnn("identity", 64))
    layer = dense([[64]], {**sdnn("identity"), "weight_exp": np.array([1.0])}, bias=[128])
    assert bounds([signal, layer])[1].value == (-2.5, (3.96875 + 1 + 2) / 2)


def test_an_input_layer_holds_its_signal():
    (bound,) = bounds([input_layer((1,), neuron(4096, 4096, 1 << 18), weight=-32, bias=64)])
    assert bound.states["current"] == 4 * 0.5 + 1  # -4 * -0.5 + 1 is the larger end


def test_kernels_count_whole():
    cell = neuron(4096, 4096, 1 << 18)
    weight = np.arange(16).reshape(2, 2, 2, 2)  # (out, in / groups, H, W), or (in, out / groups, H, W)
    sizes = {"inChannels": 4, "outChannels": 2, "groups": 2, "kernelSize": [2, 2], "shape": [2, 1, 1], **MOVES}
    (conv,) = bounds([Layer("conv", {**sizes, "weight": weight}, cell)])
    assert (conv.sums * 64).tolist() == [28, 92]
    sizes = {"inChannels": 2, "outChannels": 4, "groups": 2, "kernelSize": [2, 2], "shape": [4, 2, 2], **MOVES}
    (spread,) = bounds([Layer("convT", {**sizes, "weight": weight}, cell)])
    assert (spread.sums * 64).tolist() == [6, 22, 38, 54]
    pool = {"kernelSize": [2, 2], "shape": [3, 1, 1], **MOVES, "weight": np.full((1, 1, 2, 2), 64)}
    assert bounds([Layer("pool", pool, cell)])[0].sums == 4


def test_feedback_counts_one_spike_of_each_neuron():
    fields = {"inFeatures": 1, "outFeatures": 2, "shape": [2], "weight": np.array([[64], [64]])}
    fields |= {"weight_rec": np.array([[-64, 32], [0, 64]]), "inputBias": np.array([-64, 64])}
    (bound,) = bounds([Layer("dense_rec", fields, neuron(4096, 4096, 64))])
    assert bound.sums.tolist() == [2.0, 3.0]


def test_a_resonator_is_bounded_by_what_a_turn_leaves():
    cell = {"type": "RF_PHASE", "sinDecay": 0, "cosDecay": 3072, "vThMant": 64, "gradedSpike": False}
    fields = {"inFeatures": 1, "outFeatures": 1, "shape": [1]}
    fields |= {"weight/real": np.array([[192]]), "weight/imag": np.array([[256]])}
    (bound,) = bounds([Layer("dense", fields, cell)])
    assert bound.states["real"] == [(3**2 + 4**2) ** 0.5 * 4]
    (bound,) = bounds([Layer("dense", fields, {**cell, "cosDecay": 4096})])
    assert bound.states["real"] == [math.inf]


@pytest.mark.parametrize(
    ("activation", "value"),
    [("relu", (0, 2.984375)), ("identity", (-3, 2.984375)), ("tanh", (-1, 1)), ("sigmoid", (0, 1))],
)
def test_changes_add_up_to_activations(activation, value):
    """A sum is bounded by the activations before it, a message by the swing of its own."""
    signal = Layer("input", {"shape": [1], "weight": np.array([32])}, sdnn("identity", 64))  # -2 to 1.984375
    one, two = bounds([signal, dense([[64]], sdnn(activation))])
    assert one.value == (-3, 2.984375)  # a threshold of 1 is not sent yet
    assert one.message == (-4.984375, 4.984375)
    assert two.states["sigma"] == [3.0]
    assert two.value == value
    assert two.message[1] == value[1] - value[0]


def test_a_sum_of_spikes_grows_with_time():
    _, two = bounds([dense([[64]], neuron()), dense([[64]], sdnn("relu"))])
    assert two.states["sigma"] == [math.inf]


def test_an_unknown_layer_counts_as_an_in_port():
    assert bounds([None, dense([[64, 64]], neuron())])[1].sums == 2
