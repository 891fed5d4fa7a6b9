"""The layers of the format, one row each: their fields, shapes and ranges.  Neurons are in :mod:`.neurons`.

A further type is a further row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import geometry
from .fields import ANY, Axis, Field, LayerType, Mismatch, Size, Values

__all__ = ["LAYERS"]

WEIGHT_MIN, WEIGHT_MAX = -256, 254  # weights, biases and thresholds count 64ths
BIAS_MIN, BIAS_MAX = -(1 << 12), (1 << 12) - 1  # the hardware's 13 bits with sign
DELAY_MAX = 62  # what a trained delay can be
FACTOR_MAX = 1 << 16  # steps that are averaged to one
NEURONS_MAX = 1 << 22  # in one layer: keeps every sum of weights inside 32 bits


# --- what the table needs: old shapes, and numbers that belong together ----------------------------------------------


def _along_one_axis(value: np.ndarray, expected: str) -> int:
    """``N`` of ``(N,)``, ``(N, 1, 1)`` or ``(1, 1, N)``."""
    if value.prod(dtype=object) != value.max():
        raise Mismatch("shape", expected, str(tuple(value.tolist())))
    return int(value.max())


def _flat(value: np.ndarray, _known: Values) -> np.ndarray:
    return np.array([_along_one_axis(value, "(N, 1, 1)"), 1, 1])


def _one_axis(value: np.ndarray, _known: Values) -> np.ndarray:
    return np.array([_along_one_axis(value, "(N,)")])


def _features(value: np.ndarray, known: Values) -> np.ndarray:
    expected = f"({known['outFeatures']},)"
    size = _along_one_axis(value, expected)
    if size != known["outFeatures"]:
        raise Mismatch("shape", expected, str(tuple(value.tolist())))
    return np.array([size])


def _population(value: np.ndarray, known: Values) -> np.ndarray:
    shape = tuple(value.tolist())
    if math.prod(shape) > NEURONS_MAX:
        raise Mismatch("shape", f"at most {NEURONS_MAX} neurons", str(shape))
    channels = known.get("outChannels", shape[0])
    if shape[0] != channels:
        raise Mismatch("shape", f"({channels}, H, W)", str(shape))
    return value


def _groups(value: np.ndarray, known: Values) -> np.ndarray:
    inputs, outputs = known["inChannels"], known["outChannels"]
    if inputs % int(value.item()) or outputs % int(value.item()):
        raise Mismatch("groups", f"a divisor of {inputs} and {outputs} channels", str(value.item()))
    return value.reshape(())


def _power_of_two(value: np.ndarray, _known: Values) -> np.ndarray:
    if int(value.item()).bit_count() != 1:
        raise Mismatch("factor", "a power of two", str(value.item()))
    return value


def _at_least_one(value: np.ndarray, _known: Values) -> np.ndarray:
    if not value.size:
        raise Mismatch("layers", "the number of at least one layer", "none")
    return value


def _each_neuron(value: np.ndarray, known: Values) -> np.ndarray:
    return value if value.shape else np.full(known["outFeatures"], value)


def _delays_of_synapses(fields: Values) -> None:
    """Only a delay of each neuron can have been trained behind it."""
    delay = fields.get("delay")
    if delay is not None and delay.shape != (fields["outFeatures"],) and fields.get("delaySide") == "output":
        raise Mismatch("delaySide", f"'input' beside delays of synapses, of shape {delay.shape}", "'output'")


_channels = Size("channels", lambda known: int(known["shape"][0]))


def _each_group(channels: str) -> Size:
    return Size(f"{channels} / groups", lambda known: int(known[channels] // known["groups"]))


def _axis_of_kernel(axis: int) -> Size:
    return Size(f"kernelSize[{axis}]", lambda known: int(known["kernelSize"][axis]))


# --- the table -------------------------------------------------------------------------------------------------------

_WEIGHT: dict[str, Any] = {"dtype": np.float32, "low": WEIGHT_MIN, "high": WEIGHT_MAX}
_BIAS: dict[str, Any] = {"dtype": np.float32, "low": BIAS_MIN, "high": BIAS_MAX, "required": False}
_SIZE: dict[str, Any] = {"dtype": np.int64, "low": 1, "high": NEURONS_MAX}
_ONE: dict[str, Any] = {**_SIZE, "old": ((1,),)}
_SYNAPSES = Size("outFeatures * inFeatures", lambda known: int(known["outFeatures"] * known["inFeatures"]))
_KERNEL = (_axis_of_kernel(0), _axis_of_kernel(1))

_PLANE = Field("shape", shapes=((3,),), convert=_population, **_SIZE)
_CHANNEL_BIAS = Field("bias", shapes=((_channels,),), old=((),), complex=True, **_BIAS)
_SHIFT = Field("delayShift", bool, required=False)
_DELAY = (
    Field("delay", np.float32, 0, DELAY_MAX, ((_channels,),), old=((),), required=False),
    Field("delaySide", str, choices=("input", "output"), required=False),
    _SHIFT,
)
_DENSE = (
    Field("inFeatures", **_ONE),
    Field("outFeatures", **_ONE),
    Field("shape", shapes=((1,),), old=((3,),), convert=_features, **_SIZE),
    Field(
        "weight",
        shapes=(("outFeatures", "inFeatures"),),
        old=((_SYNAPSES,),),
        complex=True,
        **_WEIGHT,
    ),
    _CHANNEL_BIAS,
    Field(
        "delay",
        np.float32,
        0,
        DELAY_MAX,
        shapes=(("outFeatures",), ("inFeatures",), ("outFeatures", "inFeatures")),
        old=((),),
        convert=_each_neuron,
        required=False,
    ),
    *_DELAY[1:],
)
_MOVES = (
    Field("kernelSize", shapes=((2,),), **_SIZE),
    Field("stride", shapes=((2,),), **_SIZE),
    Field("padding", shapes=((2,),), **{**_SIZE, "low": 0}),
    Field("dilation", shapes=((2,),), **_SIZE),
)


def _conv(rows: Axis, columns: Axis) -> tuple[Field, ...]:
    """Fields of a convolution whose weight has ``rows`` and ``columns`` as its first two axes."""
    shape: tuple[Axis, ...] = (rows, columns, *_KERNEL)
    return (
        Field("inChannels", **_ONE),
        Field("outChannels", **_ONE),
        _PLANE,
        *_MOVES,
        Field("groups", convert=_groups, **_ONE),
        Field("weight", shapes=(shape,), old=((*shape, 1),), complex=True, **_WEIGHT),
        _CHANNEL_BIAS,
        *_DELAY,
    )


_POOL = (
    _PLANE,
    *_MOVES,
    Field("weight", shapes=((1, 1, *_KERNEL),), old=((1, 1, *_KERNEL, 1),), complex=True, **_WEIGHT),
    *_DELAY,
)
_SIDE = ("delaySide", "delay")

LAYERS: Mapping[str, LayerType] = {
    "input": LayerType(
        (
            Field("shape", shapes=((3,), (1,)), convert=_population, **_SIZE),
            Field("weight", shapes=((1,),), old=((),), required=False, **_WEIGHT),
            Field("bias", shapes=((1,),), old=((),), **_BIAS),
            _SHIFT,
        ),
        geometry.after_input,
        neuron=None,
        needs=(("weight", "neuron"), ("bias", "neuron"), ("delayShift", "neuron")),
    ),
    "flatten": LayerType(
        (Field("shape", shapes=((3,),), convert=_flat, **_SIZE),), geometry.after_flatten, neuron=False
    ),
    "dense": LayerType(_DENSE, geometry.after_dense, neuron=None, needs=(_SIDE,), check=_delays_of_synapses),
    "dense_rec": LayerType(
        (
            *_DENSE,
            Field("weight_rec", shapes=(("outFeatures", "outFeatures"),), complex=True, **_WEIGHT),
            Field("inputBias", shapes=(("outFeatures",),), **_BIAS),
        ),
        geometry.after_dense,
        neuron=True,
        needs=(_SIDE,),
        check=_delays_of_synapses,
    ),
    "conv": LayerType(
        _conv("outChannels", _each_group("inChannels")),
        geometry.after_conv(geometry.covered),
        neuron=True,
        needs=(_SIDE,),
    ),
    "convT": LayerType(
        _conv("inChannels", _each_group("outChannels")),
        geometry.after_conv(geometry.spread),
        neuron=True,
        needs=(_SIDE,),
    ),
    "pool": LayerType(_POOL, geometry.after_pool(geometry.pooled), neuron=True, needs=(_SIDE,)),
    "unpool": LayerType(_POOL, geometry.after_pool(geometry.spread), neuron=True, needs=(_SIDE,)),
    "average": LayerType(
        (Field("shape", shapes=((1,),), old=((3,),), convert=_one_axis, **_SIZE),), geometry.after_average, neuron=False
    ),
    "decimation": LayerType(
        (
            Field("shape", shapes=((3,), (1,)), convert=_population, **_SIZE),
            Field("factor", np.int64, 1, FACTOR_MAX, convert=_power_of_two),
        ),
        geometry.after_decimation,
        neuron=False,
    ),
    "concat": LayerType(
        (
            Field("shape", shapes=((3,), (1,)), convert=_population, **_SIZE),
            Field("layers", shapes=((ANY,),), convert=_at_least_one, **{**_SIZE, "low": 0}),
        ),
        geometry.after_concat,
        neuron=False,
        joins=True,
    ),
}
