"""The transcription itself: values that were measured in Lava, and where both orders of time have to agree."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings

from lavadl_lite.exchange import Layer, check_layer
from tests.netx import drawn
from tests.reference import lava, lava_neurons, lava_synapses
from tests.strategies import examples, generators

CUBA = {"type": "CUBA", "iDecay": 4096, "vDecay": 4096, "vThMant": (1 << 18) - 1}


def states(cell, x, **fields):
    """What one neuron behind an in-port holds."""
    layer = check_layer(Layer("input", {"shape": np.array([1]), **fields}, cell))
    _, records = lava.run_lava([layer], np.array([x]))
    return {name: values[0].tolist() for (_, name), values in records.items()}


@pytest.mark.parametrize(("decay", "second"), [(1, 6398), (1024, 4800), (4096, 0), (0, 6400)])
def test_current_decay_as_lava_measured(decay, second):
    assert states(CUBA | {"iDecay": decay}, [100, 0])["current"] == [6400, second]


@pytest.mark.parametrize(("a", "u"), [(131072, 8388608), (-131072, 8388608), (131073, -8388544)])
def test_current_wraps_at_24_bits_as_lava_measured(a, u):
    assert states(CUBA, [a])["current"] == [u]


@pytest.mark.parametrize(("a", "spike", "voltage"), [(10, 0, 640), (11, 1, 0)])
def test_threshold_is_strict_as_lava_measured(a, spike, voltage):
    found = states(CUBA | {"vThMant": 10}, [a])
    assert (found["spike"], found["voltage"]) == ([spike], [voltage])


def test_resonators_rest_below_their_threshold():
    cell = {"type": "RF_IZHIKEVICH", "sinDecay": 4096, "cosDecay": 0, "vThMant": 2}
    assert states(cell, [3, 0, 0]) == {"spike": [0, 1, 0], "real": [192, 0, -127], "imag": [0, 127, 0]}


def test_sums_of_planes_wrap_and_those_of_full_layers_do_not():
    """A weight of 64 on 2**18, and on the number below -2**18."""
    moves = {"kernelSize": [1, 1], "stride": [1, 1], "padding": [0, 0], "dilation": [1, 1]}
    cell = {"type": "SDNN", "sigma_output": True}
    full = Layer("dense", {"inFeatures": 1, "outFeatures": 1, "shape": [1], "weight": [[64]]}, cell)
    plane = Layer("pool", {"shape": [1, 1, 1], **moves, "weight": [[[[64]]]]}, cell)
    for layer, shape, expected in ((full, (1,), [1 << 24, -(1 << 24) - 64]), (plane, (1, 1, 1), [0, -64])):
        x = np.array([1 << 18, -(1 << 18) - 1, 0]).reshape(*shape, 3)
        out, _ = lava.run_lava([check_layer(layer)], x, 16)
        assert np.diff(out.ravel()).tolist() == expected


def latency(layers):
    """Steps by which Lava is later than training."""
    cells = [(layer, layer.neuron or {}) for layer in layers if layer.neuron is not None or layer.type == "dense"]
    return sum(
        (layer.type != "input") - layer.fields.get("delayShift", cell.get("type") != "SDNN") for layer, cell in cells
    )


@settings(max_examples=examples(100))
@given(rng=generators())
def test_without_a_sense_of_time_both_orders_agree(rng):
    """Delaying what a neuron receives or what it sends is the same where the neuron knows no time of its own."""
    layers, shape = drawn.draw_network(rng, plain=True)
    x, bits = drawn.draw_input(rng, layers, shape)
    try:
        native, aligned = lava.run_lava(layers, x, bits)[0], lava.run_training(layers, x, bits, wraps=True)[0]
    except OverflowError:
        return
    lag, T = latency(layers), x.shape[-1]
    now, before = slice(max(lag, 0), max(T + min(lag, 0), 0)), slice(max(-lag, 0), max(T - max(lag, 0), 0))
    np.testing.assert_array_equal(native[..., now], aligned[..., before])


def test_drawn_networks_reach_the_ends_of_all_ranges(monkeypatch):
    """What the tests of the simulator are worth depends on it: sums and currents wrap, states saturate, spikes fly."""
    seen = Counter()

    def watched(module, name):
        original = getattr(module, name)

        def watching(x):
            seen[name] += bool(np.any(original(x) != x))
            return original(x)

        monkeypatch.setattr(module, name, watching)

    for module, name in ((lava_neurons, "wrap"), (lava_neurons, "saturate"), (lava_synapses, "wrap_sum")):
        watched(module, name)

    for seed in range(100):
        layers, x, bits, reset, spike_exp = drawn.draw_run(np.random.default_rng(seed))
        try:
            _, records = lava.run_lava(layers, x, bits, *reset, spike_exp)
        except OverflowError:
            continue
        for i, layer in enumerate(layers):
            seen[layer.type] += 1
            seen[layer.neuron["type"] if layer.neuron else "none"] += bool(records[i, "spike"].any())
    wanted = {"wrap", "saturate", "wrap_sum", *drawn.NEURONS, *drawn.LAYERS}
    assert not {name for name in wanted if not seen[name]}, seen
