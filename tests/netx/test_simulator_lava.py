"""The simulator against the transcription of Lava and of training's order: equality, states included."""

import numpy as np
import pytest
from hypothesis import given, settings

from lavadl_lite.errors import ParameterError
from lavadl_lite.exchange import Layer, Network, check_layer
from lavadl_lite.netx import Simulator
from tests.netx import drawn
from tests.reference import lava, lava_neurons
from tests.strategies import examples, generators

MANY = settings(max_examples=examples(200))


def check(run, align):
    """Output and all states, or an error where a current leaves the 32 bits that Lava has for it."""
    layers, x, bits, reset, spike_exp = run
    simulator = Simulator(Network(tuple(layers)), None, 0, bits, *reset, spike_exp)
    try:
        expected, states = (lava.run_training if align else lava.run_lava)(layers, x, bits, *reset, spike_exp)
    except OverflowError:
        with pytest.raises(ParameterError, match="32 bits"):
            simulator.run(x, align)
        return
    record = [(i, name) for i, names in simulator.recordable.items() for name in names]
    assert {key for key in states if has_neurons(layers[key[0]])} <= set(record)
    found, recorded = simulator.run(x, align, record)
    assert found.dtype == np.int32
    for key in record:
        np.testing.assert_array_equal(recorded[key], states[key], f"{key[1]} of layer {key[0]}")
    np.testing.assert_array_equal(found, expected)


def has_neurons(layer):
    return layer.neuron is not None or layer.type == "dense"


@MANY
@given(rng=generators())
def test_native_run_equals_lavas_processes(rng):
    check(drawn.draw_run(rng), align=None)


@MANY
@given(rng=generators())
def test_aligned_run_equals_the_training_order(rng):
    check(drawn.draw_run(rng), align="slayer")


@settings(max_examples=20)
@given(rng=generators())
def test_output_scale_is_what_an_integer_is_worth(rng):
    layers, _, _, _, spike_exp = drawn.draw_run(rng)
    simulator = Simulator(Network(tuple(layers)), spike_exp=spike_exp)
    assert simulator.output_scale == lava.output_scale(layers, simulator.input_shape, spike_exp)


@pytest.mark.parametrize("name", drawn.CURVES)
def test_activation_functions_that_integers_do_not_hold(name):
    """The activation is the function's value to a few units of float32.  The tests above compare what is sent of it."""
    rng = np.random.default_rng(0)
    cell = {"type": "SDNN", "activation": name, "vThMant": 3}
    fields = {"inFeatures": 5, "outFeatures": 6, "shape": [6], "weight": rng.integers(-256, 255, (6, 5))}
    layer = check_layer(Layer("dense", fields | {"bias": rng.integers(-99, 99, 6)}, cell))
    x = rng.integers(-3000, 3000, (5, 40)) * (rng.random((5, 40)) < 0.3)
    names = ("sigma", "activation")
    _, states = Simulator([layer], input_message_bits=16).run(x, record=[(0, name) for name in names])
    sigma, activation = (states[0, name].astype(np.int64) for name in names)
    one = 1 << 18
    total = (sigma + (layer.fields["bias"].astype(np.int64)[:, None] << 12)) / one
    exact = lava_neurons.CURVES[name](total) * one
    assert np.abs(activation - exact).max() <= 1 + np.abs(exact).max() * 2.0**-22
    assert np.abs(activation).max() > one / 8
