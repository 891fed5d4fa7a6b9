"""Networks as layers of a file, and what goes into them; nothing is tested here."""

import numpy as np

from lavadl_lite.exchange import Layer

__all__ = [
    "conv",
    "dense",
    "input_layer",
    "neuron",
    "recurrent",
    "wide_network",
]


def neuron(current_decay=1024, voltage_decay=128, threshold=80, graded=False, exponent=None):
    values = {"type": "CUBA", "iDecay": current_decay, "vDecay": voltage_decay, "vThMant": threshold, "refDelay": 1}
    values["gradedSpike"] = graded
    return values if exponent is None else {**values, "weight_exp": np.array([exponent], np.float32)}


def input_layer(shape, cell, weight=None, bias=None):
    fields = {"shape": np.array(shape)}
    fields |= {name: np.array([v], np.float32) for name, v in (("weight", weight), ("bias", bias)) if v is not None}
    return Layer("input", fields, cell)


def dense(weight, cell, bias=None, delay=None, side=None):
    weight = np.asarray(weight, np.float32)
    fields = {"inFeatures": weight.shape[1], "outFeatures": weight.shape[0], "shape": np.array(weight.shape[:1])}
    fields |= {"weight": weight}
    fields |= {} if bias is None else {"bias": np.asarray(bias, np.float32)}
    fields |= {} if delay is None else {"delay": np.asarray(delay, np.float32)}
    fields |= {} if side is None else {"delaySide": side}
    return Layer("dense", fields, cell)


def conv(rng, before, channels, size=(3, 3), padding=(0, 0), groups=1, weight=None, cell=None):
    """A convolution in steps of 1."""
    if weight is None:
        weight = rng.integers(-128, 128, (channels, before[0] // groups, *size))
    size = weight.shape[2:]
    plane = [length + 2 * p - k + 1 for length, p, k in zip(before[1:], padding, size, strict=True)]
    fields = {"shape": [channels, *plane], "inChannels": before[0], "outChannels": channels, "groups": groups}
    fields |= {"kernelSize": size, "stride": (1, 1), "padding": padding, "dilation": (1, 1)}
    return Layer("conv", fields | {"weight": weight}, neuron() if cell is None else cell)


def recurrent(rng, inputs, outputs):
    fields = {"inFeatures": inputs, "outFeatures": outputs, "shape": np.array([outputs])}
    fields |= {"weight": rng.integers(-256, 255, (outputs, inputs))}
    return Layer("dense_rec", fields | {"weight_rec": rng.integers(-256, 255, (outputs, outputs))}, neuron())


def iDecay_of(channels):
    return np.linspace(0, 4096, channels).astype(int)


def wide_network(rng):
    return [
        input_layer((2, 3, 4), neuron(iDecay_of(2), 200, 20), weight=40, bias=-7),
        Layer("flatten", {"shape": np.array([24, 1, 1])}),
        dense(2 * rng.integers(-128, 128, (7, 24)), neuron(), rng.integers(-9, 9, 7), rng.integers(0, 63, 7)),
        dense(2 * rng.integers(-128, 128, (3, 7)), neuron()),
    ]
