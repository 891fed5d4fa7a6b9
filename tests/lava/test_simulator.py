"""Networks of every kind that Lava runs: the simulator gives Lava's messages and states, bit for bit."""

import numpy as np
import pytest

from lavadl_lite.netx import Simulator, save
from tests.lava.entries import cuba, dense, flatten, input_layer, plane, rf, sdnn, shape_of
from tests.lava.running import Network, run

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


GRADED = ("delays", "feedback")  # their in-port carries integers
CASES = {
    "convolutions": convolutions,
    "planes": planes,
    "resonators": resonators,
    "changes": changes,
    "delays": delays,
    "feedback": feedback,
}


RESETS = {"no resets": {}, "resets": {"reset_interval": 17, "reset_offset": 5}}
# what has resets of its own in Lava; others are reset at the end of the step before
OWN_RESETS = ("current", "voltage")


def signal(case, layers, rng):
    shape = (*shape_of(layers), STEPS)
    if layers[0].type == "input" and layers[0].neuron is not None:
        return rng.integers(-40, 60, shape)
    return rng.integers(-3, 6, shape) if case in GRADED else rng.integers(0, 2, shape)


@pytest.mark.parametrize("resets", RESETS.values(), ids=RESETS)
@pytest.mark.parametrize("case", CASES)
def test_simulator_equals_lava(case, resets, tmp_path):
    """Under Lava's own timing, with messages and states of all layers."""
    rng = np.random.default_rng(5)
    layers = CASES[case](rng)
    x = signal(case, layers, rng)
    options = {"input_message_bits": 8 * (case in GRADED), **resets}
    save(layers, tmp_path / "network.net")
    sent, states = run(Network(str(tmp_path / "network.net"), **options), x, states=True)
    simulator = Simulator(layers, **options)
    indices = [index for index, layer in enumerate(layers) if layer.neuron is not None or layer.type == "dense"]
    record = [(index, name) for index in indices for name in simulator.recordable[index]]
    _, found = simulator.run(x, record=record)
    for order, (index, messages, each) in enumerate(zip(indices, sent, states, strict=True)):
        assert layers[index].neuron is None or messages.any()
        for name in simulator.recordable[index]:
            expected, values = found[index, name], messages if name == "spike" else each[name]
            if resets and name not in ("spike", *OWN_RESETS):
                expected[..., np.arange(STEPS) % 17 == (5 + 1 + order - 2) % 17] = 0
            np.testing.assert_array_equal(values, expected, f"{name} of entry {index}")


@pytest.mark.parametrize("case", ["changes", "feedback", "planes"])
def test_aligned_simulator_equals_aligned_lava(case, tmp_path):
    """Biases and resets start at the first arrival in both."""
    rng = np.random.default_rng(5)
    layers = CASES[case](rng)
    x = signal(case, layers, rng)
    options = {"input_message_bits": 8 * (case in GRADED), **RESETS["resets"]}
    save(layers, tmp_path / "network.net")
    lava = Network(str(tmp_path / "network.net"), **options, align="slayer")
    sent = run(lava, x)[-1]
    expected = Simulator(layers, **options).run(x, align="slayer")
    np.testing.assert_array_equal(sent[..., lava.lag :], expected[..., : STEPS - lava.lag])
    assert expected[..., : STEPS - lava.lag].any() or layers[-1].neuron is None
