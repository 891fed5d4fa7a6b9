"""Layers as dictionaries of fields, as files have them, and as entries; nothing is tested here."""

import numpy as np

from lavadl_lite.exchange import Layer

__all__ = [
    "CUBA",
    "LOIHI",
    "LOIHI_EXTRAS",
    "WEIGHT",
    "check_is_the_usual_dense",
    "dense",
    "flatten",
    "input_layer",
    "layer_type",
    "plain_layer",
    "put",
]

CUBA = {"iDecay": 1024, "vDecay": 128, "vThMant": 80, "refDelay": 1, "gradedSpike": False}
LOIHI = {"iDecay": 1024, "vDecay": 128, "vThMant": 80, "refDelay": 1}
LOIHI_EXTRAS = {"scaleRho": np.float64(10), "tauRho": np.float64(0.5), "theta": 5120, "wgtExp": 0}
WEIGHT = np.array([[2, -256, 254], [0, 4, -6]], np.float32)


def put(group, values):
    """Fields as h5py stores them; a dictionary becomes a group."""
    for name, value in values.items():
        if isinstance(value, dict):
            put(group.create_group(name), value)
        else:
            group[name] = value
    return group


def layer_type(name):
    return np.array([name], "S10")


def dense(**changes):
    """The fields of a dense layer as lava-dl writes them; None leaves one out."""
    fields = {"type": layer_type("dense"), "shape": np.array([2]), "inFeatures": 3, "outFeatures": 2, "weight": WEIGHT}
    fields |= {"neuron": {"type": "CUBA", **CUBA}, **changes}
    return {name: value for name, value in fields.items() if value is not None}


def input_layer(**changes):
    fields = {"type": layer_type("input"), "shape": np.array([3]), **changes}
    return {name: value for name, value in fields.items() if value is not None}


def flatten(shape):
    return {"type": layer_type("flatten"), "shape": np.array(shape)}


def plain_layer(**changes):
    fields = {"inFeatures": 3, "outFeatures": 2, "shape": np.array([2]), "weight": WEIGHT}
    neuron = {"type": "CUBA", **CUBA}
    neuron |= changes.pop("neuron", {})
    return Layer("dense", {**fields, **changes}, neuron)


def check_is_the_usual_dense(layer, **fields):
    """Every old spelling comes out in the present one."""
    assert layer.type == "dense"
    expected = {"inFeatures": 3, "outFeatures": 2, "shape": [2], "weight": WEIGHT, **fields}
    assert set(layer.fields) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(layer.fields[name], value)
    assert layer.fields["weight"].dtype == np.float32
    assert layer.neuron == {"type": "CUBA", **CUBA}
