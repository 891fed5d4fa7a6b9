"""Networks of every kind that Lava runs: the simulator gives Lava's messages and states, bit for bit."""

import numpy as np
import pytest

from lavadl_lite.netx import Simulator, save
from tests.lava.entries import cuba, dense, flatten, input_layer, plane, rf, sdnn, shape_of
from tests.lava.running import Network, run

pytestmark = pytest.mark.lava

STEPS = 50
BEFORE = (2, 6, 5)


def biases(rng, size, name="bias"):
    return {name: rng.integers(-40, 80, size)}


def convolutions(rng):
    first = plane(rng, "conv", BEFORE, 4, cuba(rng), (3, 2), 2, stride=(1, 2), padding=(1, 0), **biases(rng, 4))
    second = plane(rng, "conv", (4, 6, 2), 3, cuba(rng, 3), (2, 2), dilation=(2, 1), delay=np.array([0, 3, 1]))
    return [input_layer(BEFORE), first, second, flatten(12), dense(rng, 12, 4, cuba(rng))]


def planes(rng):
    first = plane(rng, "pool", BEFORE, 2, cuba(rng), (2, 2), stride=(2, 2))
    second = plane(rng, "convT", (2, 3, 3), 3, cuba(rng), (2, 3), stride=(2, 1))
    return [input_layer(BEFORE), first, second, plane(rng, "unpool", (3, 6, 5), 3, cuba(rng), (2, 2), stride=(2, 2))]


def resonators(rng):
    first = plane(rng, "conv", BEFORE, 2, rf(rng), (3, 3), padding=(1, 1))
    second = dense(rng, 60, 5, rf(rng, "RF_IZHIKEVICH", 5), feedback=True)
    return [
        input_layer(BEFORE, rf(rng)),
        first,
        flatten(60),
        second,
        dense(rng, 5, 4, rf(rng), delay=np.array([0, 2, 1, 0])),
    ]


def changes(rng):
    first = plane(rng, "conv", BEFORE, 3, sdnn(rng, cumError=True), (3, 2), **biases(rng, 3))
    own = sdnn(rng, activation="identity", vThMant=np.array([1, 3, 5, 7, 9]))
    middle = [flatten(48), dense(rng, 48, 5, own, **biases(rng, 5))]
    return [input_layer(BEFORE, sdnn(rng)), first, *middle, dense(rng, 5, 3, {"type": "SDNN", "sigma_output": True})]


def delays(rng):
    steps = rng.integers(0, 5, (6, 4))
    first = dense(rng, 4, 6, cuba(rng), delay=steps, **biases(rng, 6))
    return [first, dense(rng, 6, 5, cuba(rng), delay=np.arange(6)), dense(rng, 5, 5, cuba(rng), delay=np.arange(5))]


def feedback(rng):
    return [dense(rng, 4, 6, cuba(rng, 6), feedback=True, **biases(rng, 6)), dense(rng, 6, 3, None)]


CASES = {
    "convolutions": convolutions,
    "planes": planes,
    "resonators": resonators,
    "changes": changes,
    "delays": delays,
    "feedback": feedback,
}


@pytest.mark.parametrize("resets", [{}, {"reset_interval": 17, "reset_offset": 5}], ids=["no resets", "resets"])
@pytest.mark.parametrize("case", CASES)
def test_simulator_equals_lava(case, resets, tmp_path):
    rng = np.random.default_rng(len(case))
    layers = CASES[case](rng)
    bits = 8 if case in ("delays", "feedback") else 0
    x = (
        rng.integers(-40, 60, (*shape_of(layers), STEPS))
        if bits or layers[0].neuron
        else rng.integers(0, 2, (*shape_of(layers), STEPS))
    )
    save(layers, tmp_path / "network.net")
    lava = Network(str(tmp_path / "network.net"), input_message_bits=bits, **resets)
    sent, states = run(lava, x, states=True)
    simulator = Simulator(layers, input_message_bits=bits, **resets)
    indices = [index for index, layer in enumerate(layers) if layer.neuron is not None or layer.type == "dense"]
    record = [(index, name) for index, each in zip(indices, states, strict=True) for name in (*each, "spike")]
    _, found = simulator.run(x, record=record)
    for index, messages, each in zip(indices, sent, states, strict=True):
        for name, values in {**each, "spike": messages}.items():
            np.testing.assert_array_equal(found[index, name], values, f"{name} of entry {index}")
    assert all(np.any(messages) for index, messages in zip(indices, sent, strict=True) if layers[index].neuron)
