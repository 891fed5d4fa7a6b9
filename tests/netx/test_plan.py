"""From entries to arrays: what each population receives, holds and waits for."""

import numpy as np

from lavadl_lite.netx import Simulator
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
