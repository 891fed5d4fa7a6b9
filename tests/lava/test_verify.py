"""``netx.verify`` beside Lava itself: equal networks, and one whose Lava has another number."""

import numpy as np
import pytest

from lavadl_lite import netx
from tests.lava.entries import cuba, dense, flatten, input_layer, plane, rf, sdnn
from tests.lava.running import Network

STEPS = 8
BEFORE = (2, 5, 4)


def chains(rng):
    """Oblong planes, resonators and sigma-delta neurons; what is compared of each layer."""
    spiking, turning, changing = ("current", "voltage", "spike"), ("real", "imag", "spike"), ("activation", "spike")
    conv = plane(rng, "conv", BEFORE, 3, cuba(rng), (3, 2))
    yield [input_layer(BEFORE), conv, flatten(27), dense(rng, 27, 4, cuba(rng))], {1: spiking, 3: spiking}
    back = dense(rng, 4, 3, rf(rng, "RF_IZHIKEVICH"), feedback=True)
    yield [dense(rng, 6, 4, rf(rng)), back], {0: turning, 1: turning}
    last = dense(rng, 3, 2, sdnn(rng, sigma_output=True))
    layers = [input_layer((6,), sdnn(rng)), dense(rng, 6, 3, sdnn(rng)), last]
    yield layers, {0: changing, 1: ("sigma", *changing), 2: ("sigma", "spike")}


@pytest.mark.parametrize("which", range(3))
def test_every_state_is_compared(which):
    rng = np.random.default_rng(which)
    layers, states = list(chains(rng))[which]
    simulator = netx.Simulator(layers)
    x = rng.integers(-2, 3, (2, *simulator.input_shape, STEPS)) * (rng.random(STEPS) < 0.7)
    x = x if layers[0].neuron is not None else x != 0
    result = netx.verify(None, layers, x, "lava")
    assert result, result
    _, sent = simulator.run(simulator.encode(x), record=[(index, "spike") for index in states])
    assert result.values == sum(len(names) * sent[index, "spike"].size for index, names in states.items())
    assert result.layers == tuple(states)


def test_another_number_in_lava_is_found(monkeypatch):
    rng = np.random.default_rng(5)
    layers = [dense(rng, 4, 5, cuba(rng)), dense(rng, 5, 3, cuba(rng))]

    def changed(self, *args, **options):
        original(self, *args, **options)
        self.layers[1].neuron.u.init = np.array([0, 0, 64])

    original = Network.__init__
    monkeypatch.setattr(Network, "__init__", changed)
    result = netx.verify(None, layers, np.ones((4, STEPS), int), "lava")
    assert not result
    first = result.difference
    assert (first.layer, first.state, first.neuron, first.step) == (1, "current", (2,), 0)
    assert first.expected == 0
