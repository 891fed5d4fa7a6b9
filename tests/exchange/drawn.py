"""Random layers of every type with random neurons, and their comparison; nothing is tested here."""

import numpy as np

from lavadl_lite.exchange import Layer

__all__ = ["COMPLEX", "LAYERS", "REAL", "alone", "check_equal", "draw_layer", "draw_neuron"]

REAL = ("CUBA", "ALIF", "SDNN")
COMPLEX = ("RF_PHASE", "RF_IZHIKEVICH", "ADRF_PHASE", "ADRF_IZHIKEVICH")
LAYERS = (
    "input",
    "flatten",
    "dense",
    "dense_rec",
    "conv",
    "convT",
    "pool",
    "unpool",
    "average",
    "decimation",
    "concat",
)


def numbers(rng, low, high, shape=()):
    return rng.integers(low, high, shape, endpoint=True)


def some(rng, **fields):
    """Some of the optional fields."""
    return {name: value for name, value in fields.items() if rng.random() < 0.5}


def draw_neuron(rng, kind, channels, encoder=True):
    """Fields of a neuron; an ``encoder`` is not a read-out of sums."""

    def decays(*names):
        return {name: numbers(rng, 0, 4096, [(), (channels,)][rng.integers(2)]) for name in names}

    def switch():
        return bool(rng.integers(2))

    threshold = numbers(rng, 0, 2**24 - 1, (channels,) if kind == "SDNN" and switch() else ())
    if kind == "SDNN":
        if not encoder:
            return {"type": kind, "sigma_output": True, **some(rng, vThMant=threshold, activation="tanh")}
        extras = some(rng, cumError=switch(), carryRounding=switch(), sigma_output=False)
        extras |= some(rng, weight_exp=numbers(rng, -16, 16, (1,)))
        return {"type": kind, "vThMant": threshold, "activation": str(rng.choice(["relu", "identity"])), **extras}
    fields = {"type": kind, "vThMant": threshold, "gradedSpike": switch()}
    if kind in COMPLEX:
        fields |= decays("sinDecay", "cosDecay") | some(rng, weight_exp=numbers(rng, -16, 16, (rng.integers(1, 3),)))
    else:
        fields |= decays("iDecay", "vDecay") | {"refDelay": 1} | some(rng, weight_exp=numbers(rng, -16, 16, (1,)))
    if kind.startswith("A"):
        fields |= decays("thDecay", "refDecay") | {"vThStep": numbers(rng, 0, 2**24 - 1)}
    return fields


def draw_layer(rng, kind, neuron=None):
    """A layer of type ``kind`` for any shape before it."""
    channels = int(rng.integers(1, 4))
    plane = np.array([channels, *rng.integers(1, 5, 2)])
    if kind == "flatten":
        return Layer(kind, {"shape": np.array([plane.prod(), 1, 1])})
    if kind == "average":
        return Layer(kind, {"shape": np.array([channels])})
    shape = plane if rng.integers(2) else plane[:1]
    if kind == "decimation":
        return Layer(kind, {"shape": shape, "factor": 2 ** int(rng.integers(8))})
    if kind == "concat":
        times = int(rng.integers(1, 5))
        return Layer(kind, {"shape": np.array([times * channels, *shape[1:]]), "layers": np.zeros(times, int)})
    if kind == "input":
        scale = {"weight": numbers(rng, -256, 254, (1,)), "bias": numbers(rng, -4096, 4095, (1,))}
        cell = draw_neuron(rng, neuron, channels) if neuron else None
        return Layer(kind, {"shape": shape, **(some(rng, **scale) if neuron else {})}, cell)
    return _draw_synapses(rng, kind, neuron, plane)


def alone(layer):
    """The shortest network that ends with a layer of :func:`draw_layer`."""
    if layer.type != "concat":
        return [layer]
    channels, *plane = layer.fields["shape"]
    return [Layer("input", {"shape": np.array([channels // len(layer.fields["layers"]), *plane])}), layer]


def _draw_synapses(rng, kind, neuron, plane):
    channels = int(plane[0])
    inputs = int(rng.integers(1, 4))
    encoder = bool(rng.integers(2))

    def parts(name, low, high, shape):
        if neuron in COMPLEX:
            return {f"{name}/{part}": numbers(rng, low, high, shape) for part in ("real", "imag")}
        return {name: numbers(rng, low, high, shape)}

    kernel = {"stride": 1, "padding": 0, "dilation": 1, "kernelSize": 1}
    kernel = {name: rng.integers(low, 4, 2) for name, low in kernel.items()}
    sizes = tuple(kernel["kernelSize"])
    if kind in ("dense", "dense_rec"):
        fields = {"inFeatures": inputs, "outFeatures": channels, "shape": plane[:1]}
        fields |= parts("weight", -256, 254, (channels, inputs))
    elif kind in ("conv", "convT"):
        groups = int(rng.choice([g for g in (1, 2, 3) if not channels % g]))
        inputs *= groups
        fields = {"inChannels": inputs, "outChannels": channels, "groups": groups, "shape": plane, **kernel}
        axes = (channels, inputs // groups) if kind == "conv" else (inputs, channels // groups)
        fields |= parts("weight", -256, 254, (*axes, *sizes))
    else:
        fields = {"shape": plane, **kernel, **parts("weight", -256, 254, (1, 1, *sizes))}
    if kind == "dense_rec":
        fields |= parts("weight_rec", -256, 254, (channels, channels))
        fields |= some(rng, inputBias=numbers(rng, -4096, 4095, (channels,)))
    if "pool" not in kind and rng.integers(2) and (encoder or neuron != "SDNN"):
        fields |= parts("bias", -4096, 4095, (channels,))
    if rng.integers(2):
        shapes = [(channels,), (inputs,), (channels, inputs)] if kind.startswith("dense") else [(channels,)]
        shape = shapes[rng.integers(len(shapes))]
        sides = ["input", "output"] if shape == (channels,) else ["input"]
        fields |= {"delay": numbers(rng, 0, 62, shape)} | some(rng, delaySide=str(rng.choice(sides)))
    return Layer(kind, fields, draw_neuron(rng, neuron, channels, encoder) if neuron else None)


def check_equal(found, written):
    """Two layers hold the same values under the same names."""
    assert found.type == written.type
    assert (found.neuron is None) == (written.neuron is None)
    for place in ("fields", "neuron"):
        here, there = (getattr(layer, place) or {} for layer in (found, written))
        assert set(here) == set(there)
        for name, value in there.items():
            np.testing.assert_array_equal(here[name], value, err_msg=name, strict=isinstance(here[name], str))
