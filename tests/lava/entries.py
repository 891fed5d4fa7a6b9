"""Entries of network files with drawn integers; nothing is tested here."""

import numpy as np

from lavadl_lite.exchange import Layer, check_layer, output_shapes

__all__ = ["cuba", "dense", "flatten", "input_layer", "plane", "rf", "sdnn", "shape_of"]


def cuba(rng, channels=None):
    """Decays of their own for each of ``channels``, or shared."""
    decays = {name: rng.integers(0, 2000, channels) for name in ("iDecay", "vDecay")}
    return {"type": "CUBA", **decays, "vThMant": int(rng.integers(20, 100))}


def rf(rng, kind="RF_PHASE", channels=None):
    angle, kept = rng.uniform(0.2, 1.2, channels), rng.uniform(0.8, 1, channels)
    parts = {"sinDecay": np.rint(4096 * kept * np.sin(angle)), "cosDecay": np.rint(4096 * kept * np.cos(angle))}
    return {"type": kind, **parts, "vThMant": int(rng.integers(20, 100))}


def sdnn(rng, **changes):
    return {"type": "SDNN", "activation": "relu", "vThMant": int(rng.integers(1, 20)), **changes}


def _weights(rng, neuron, shape, name="weight"):
    is_complex = neuron is not None and "sinDecay" in neuron
    names = [f"{name}/real", f"{name}/imag"] if is_complex else [name]
    return {part: 2 * rng.integers(-40, 65, shape) for part in names}


def dense(rng, inputs, outputs, neuron, **fields):
    """A dense entry, or, with ``feedback``, a dense_rec one."""
    kind = "dense_rec" if fields.pop("feedback", False) else "dense"
    sizes = {"inFeatures": inputs, "outFeatures": outputs, "shape": np.array([outputs])}
    back = _weights(rng, neuron, (outputs, outputs), "weight_rec") if kind == "dense_rec" else {}
    return check_layer(Layer(kind, {**sizes, **_weights(rng, neuron, (outputs, inputs)), **back, **fields}, neuron))


def input_layer(shape, neuron=None):
    return check_layer(Layer("input", {"shape": np.array(shape)}, neuron))


def flatten(size):
    return check_layer(Layer("flatten", {"shape": np.array([size, 1, 1])}))


def plane(rng, kind, before, channels, neuron, kernel, groups=1, **moves):
    """An entry of planes, whose own shape follows from the one before."""
    fields = {"kernelSize": kernel, "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
    fields |= {name: moves.pop(name) for name in fields if name in moves}
    fields = {name: np.array(value) for name, value in fields.items()}
    if kind in ("pool", "unpool"):
        fields["weight"] = np.full((1, 1, *kernel), 2 * int(rng.integers(5, 40)))
    else:
        sides = (channels, before[0] // groups) if kind == "conv" else (before[0], channels // groups)
        fields |= {"inChannels": before[0], "outChannels": channels, "groups": groups}
        fields |= _weights(rng, neuron, (*sides, *kernel))
    places = [_length(kind, before[1 + axis], *(int(fields[n][axis]) for n in MOVES)) for axis in (0, 1)]
    return check_layer(Layer(kind, {"shape": np.array([channels, *places]), **fields, **moves}, neuron))


MOVES = ("kernelSize", "stride", "padding", "dilation")


def _length(kind, size, kernel, stride, padding, dilation):
    reach = dilation * (kernel - 1) + 1 - 2 * padding
    if kind in ("convT", "unpool"):
        return (size - 1) * stride + reach
    completed = size + (-size % kernel if kind == "pool" and stride == kernel else 0)
    return (completed - reach) // stride + 1


def shape_of(layers):
    """Shape of what comes in."""
    first = layers[0]
    return (first.fields["inFeatures"],) if "inFeatures" in first.fields else output_shapes(layers[:1])[0]
