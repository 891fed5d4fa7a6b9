"""Whole files in the layouts that lava-dl's own networks have, small: each comes out in the present form."""

import h5py
import numpy as np
import pytest

from lavadl_lite import exchange
from lavadl_lite.exchange import Layer
from tests.exchange import drawn
from tests.exchange.networks import LOIHI, LOIHI_EXTRAS, layer_type, put

OLD = {"type": "LOIHI", **LOIHI, **LOIHI_EXTRAS}
CUBA = {"type": "CUBA", **LOIHI, "gradedSpike": False}  # what becomes of it
SDNN = {"type": "SDNN", "activation": "relu", "vThMant": 13}
KERNEL = {"kernelSize": (3, 2), "stride": (2, 1), "padding": (1, 0), "dilation": (1, 1)}
KERNEL = {name: np.array(pair) for name, pair in KERNEL.items()}
SIMULATION = {"Ts": 1, "tSample": 64}


def integers(*shape):
    return (np.arange(np.prod(shape), dtype=np.float32) % 511 - 256).reshape(shape)


def entry(kind, shape, **fields):
    return {"type": layer_type(kind), "shape": np.array(shape), **fields}


def dense(before, after, shape=None, **fields):
    sizes = {"inFeatures": before, "outFeatures": after, "weight": integers(after, before)}
    return entry("dense", (after,) if shape is None else shape, **{**sizes, **fields})


def conv(**fields):
    sizes = {"inChannels": 3, "outChannels": 4, "groups": 1, **KERNEL, "bias": integers(4)}
    return entry("conv", (4, 3, 5), **sizes, **{"weight": integers(4, 3, 3, 2), **fields})


def present(fields, neuron=None, **changes):
    """The entry that comes out: that of the file with its ``changes``."""
    same = {name: value for name, value in fields.items() if name not in ("type", "neuron")}
    return Layer(fields["type"][0].decode(), same | changes, neuron)


def image_classifier():
    """An input with one factor and one bias as arrays, kernels of five axes."""
    first = entry("input", (3, 6, 6), weight=np.float32([36]), bias=np.float32([34]), neuron=OLD)
    kernel = conv(neuron=OLD, weight=integers(4, 3, 3, 2, 1))
    return [first, kernel], [present(first, CUBA), present(kernel, CUBA, weight=integers(4, 3, 3, 2))]


def steering():
    """Scalars in the input, dense shapes of three axes, a last weight of one axis, a bias in double precision."""
    first = entry("input", (3, 6, 6), weight=np.float32(40), bias=np.float32(36), neuron=OLD)
    layers = [
        *(first, conv(neuron=OLD), entry("flatten", (1, 1, 60))),
        dense(60, 5, (5, 1, 1), bias=integers(5), neuron=OLD),
        dense(5, 1, (1, 1, 1), weight=integers(5), bias=np.zeros(1), neuron=OLD | {"vDecay": 0, "vThMant": 131071}),
    ]
    return layers, [
        present(first, CUBA, weight=[40], bias=[36]),
        present(layers[1], CUBA),
        present(layers[2], shape=[60, 1, 1]),
        present(layers[3], CUBA, shape=[5]),
        present(layers[4], CUBA | {"vDecay": 0, "vThMant": 131071}, shape=[1], weight=integers(1, 5)),
    ]


def sigma_delta_steering():
    """Sigma-delta neurons from the input on, the last of which only sum."""
    first = entry("input", (3, 6, 6), neuron=SDNN | {"vThMant": 0})
    layers = [
        first,
        conv(neuron=SDNN),
        entry("flatten", (60, 1, 1)),
        dense(60, 1, neuron=SDNN | {"sigma_output": True}),
    ]
    neurons = [layer.get("neuron") for layer in layers]
    return layers, [present(layer, neuron) for layer, neuron in zip(layers, neurons, strict=True)]


def head_of_sums():
    """A last convolution with a kernel of five axes, whose neuron says nothing but that it sums."""
    neuron = {"type": "SDNN", "sigma_output": True}
    layer = conv(neuron=neuron, weight=integers(4, 3, 3, 2, 1))
    layer.pop("bias")
    return [layer], [present(layer, neuron, weight=integers(4, 3, 3, 2))]


def digits():
    """Names of today, and a last layer without a neuron."""
    neuron = CUBA | {"iDecay": 4096}
    first = entry("input", (6,), weight=np.float32([76]), bias=np.float32([64]), neuron=neuron)
    layers = [first, dense(6, 5, neuron=neuron), dense(5, 2)]
    return layers, [present(layers[0], neuron), present(layers[1], neuron), present(layers[2])]


def spoken_digits():
    """An input without a neuron, its plane flattened, delays."""
    layers = [
        *(entry("input", (1, 1, 6)), entry("flatten", (6, 1, 1))),
        dense(6, 5, (5, 1, 1), delay=np.float32([0, 1, 7, 62, 30]), neuron=OLD),
    ]
    return layers, [present(layers[0]), present(layers[1]), present(layers[2], CUBA, shape=[5])]


def trajectory():
    """No input: dense from the start."""
    layers = [dense(6, 5, neuron=CUBA), dense(5, 2, neuron=CUBA)]
    return layers, [present(layer, CUBA) for layer in layers]


NETWORKS = (image_classifier, steering, sigma_delta_steering, head_of_sums, digits, spoken_digits, trajectory)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_layouts_of_real_files(network, tmp_path):
    layers, expected = network()
    with h5py.File(tmp_path / "a.net", "w") as file:
        put(file, {"layer": {str(i): layer for i, layer in enumerate(layers)}, "simulation": SIMULATION})
    found = exchange.read(tmp_path / "a.net")
    assert (found.format_version, found.library_version) == (None, None)
    for layer, other in zip(found.layers, expected, strict=True):
        drawn.check_equal(layer, other)
        for name in {"weight", "bias", "delay"} & layer.fields.keys():
            assert layer.fields[name].dtype == np.float32
