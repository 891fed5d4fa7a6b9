"""From entries to arrays: what each population receives, holds and waits for."""

import numpy as np
import pytest

from lavadl_lite.errors import ParameterError
from lavadl_lite.exchange import Layer
from lavadl_lite.netx import Simulator
from lavadl_lite.netx._plan import PAYLOAD, SPIKE, VOLTAGE, plan
from tests.netx.networks import dense, input_layer, neuron


def test_skipped_layers_tell_what_their_messages_are():
    graded = neuron(4096, 4096, 10, graded=True)
    layers = [input_layer((1,), graded), dense([[64]], neuron(4096, 4096, 1 << 18))]
    _, states = Simulator(layers, skip_layers=1).run([[4096, 0]], record=[(1, "current")])
    assert states[1, "current"].tolist() == [[0, 4096]]


def test_resets_count_the_kept_layers_only():
    layers = [dense([[0]], neuron(4096, 0, 1 << 18), bias=[1]) for _ in range(3)]
    arguments = {"reset_interval": 5, "reset_offset": 2}
    _, kept = Simulator(layers, skip_layers=1, **arguments).run(np.zeros((1, 12)), record=[(1, "voltage")])
    _, first = Simulator(layers, **arguments).run(np.zeros((1, 12)), record=[(0, "voltage")])
    np.testing.assert_array_equal(kept[1, "voltage"], first[0, "voltage"])


def test_arrays_are_those_of_the_entries():
    """Decays become what is left, thresholds and biases are in units of the state, channels are spread over planes."""
    layers = [
        input_layer((2, 2, 3), neuron(np.array([1024, 4096]), 96, 20, exponent=-2), weight=40, bias=-7),
        Layer("flatten", {"shape": np.array([12, 1, 1])}),
        dense(np.arange(36).reshape(3, 12), neuron(threshold=10, graded=True), bias=[1, -2, 3], delay=[0, 5, 62]),
        dense(np.ones((1, 3)), None),
    ]
    shape, (first, middle, last) = plan(layers, 0, 0)
    assert shape == (2, 2, 3)
    assert [s.index for s in (first, middle, last)] == [0, 2, 3]
    assert [s.shape for s in (first, middle, last)] == [(2, 2, 3), (3,), (1,)]
    assert first.current_keep.tolist() == [3072] * 6 + [0] * 6
    assert first.voltage_keep.tolist() == [4000] * 12
    assert first.threshold.tolist() == [20 * 64] * 12
    assert first.bias.tolist() == [0] * 12  # it is part of the encoding
    assert first.weight is None
    assert first.exponent == -2
    np.testing.assert_array_equal(middle.weight, np.arange(36).reshape(3, 12).T)
    assert middle.weight.flags.c_contiguous
    assert middle.bias.tolist() == [64, -128, 192]
    assert middle.delay.tolist() == [0, 5, 62]
    assert middle.delay_after
    assert (last.current_keep.item(), last.voltage_keep.item()) == (4096, 0)  # an integrator without neuron


def test_messages_are_what_the_layer_before_sends():
    layers = [dense([[1]], neuron()), dense([[1]], neuron(graded=True)), dense([[1]], neuron())]
    assert [stage.message for stage in plan(layers, 0, 0)[1]] == [SPIKE, SPIKE, VOLTAGE]
    assert [stage.message for stage in plan(layers, 0, 8)[1]] == [PAYLOAD, SPIKE, VOLTAGE]
    assert [stage.message for stage in plan(layers, 2, 8)[1]] == [VOLTAGE]


@pytest.mark.parametrize(("side", "after"), [("output", True), ("input", False), (None, True)])
def test_the_side_of_a_delay(side, after):
    (stage,) = plan([dense([[1]], neuron(), delay=[3], side=side)], 0, 0)[1]
    assert stage.delay_after is after


def test_no_neuron_is_left():
    layers = [dense([[1]], neuron()), Layer("flatten", {"shape": np.array([1, 1, 1])})]
    with pytest.raises(ParameterError, match="expected a layer with neurons among entries 1 to 1, got none"):
        plan(layers, 1, 0)
