"""The format, stated once: which layer types there are, and the fields of each.  Files are read in :mod:`.files`.

``LAYERS`` and ``NEURONS`` are the format; checking, reading and writing follow from them.  A further type is a further
row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ExchangeError
from .fields import Field, LayerType, Mismatch, NeuronType, PlainSource, Shape, Source, Values, check_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["FORMAT_VERSION", "LAYERS", "NEURONS", "Layer", "Network", "check_layer", "check_source", "output_shapes"]

FORMAT_VERSION = 1

DECAY_ONE = 1 << 12  # decays count 4096ths
WEIGHT_MIN, WEIGHT_MAX = -256, 254  # weights, biases and thresholds count 64ths
BIAS_MIN, BIAS_MAX = -(1 << 12), (1 << 12) - 1  # the hardware's 13 bits with sign
THRESHOLD_MAX = (1 << 24) - 1  # beyond any 24-bit voltage; 2**18 - 1 is the usual "never"
DELAY_MAX = 62  # what a trained delay can be
EXPONENT_MAX = 16
NEURONS_MAX = 1 << 22  # in one layer: keeps every sum of weights inside 32 bits


@dataclass(frozen=True, eq=False)
class Layer:
    """One entry of ``/layer``, every value in the type and shape that a file holds.

    Parameters
    ----------
    type : str
        Key of ``LAYERS``.
    fields : mapping
        The fields of that row: int, bool, str or array.
    neuron : mapping, optional
        The fields of the neuron group, its ``type`` (key of ``NEURONS``) included; None where there is no neuron.
    """

    type: str
    fields: Values
    neuron: Values | None = None


@dataclass(frozen=True, eq=False)
class Network:
    """A whole file.

    Parameters
    ----------
    layers : tuple of Layer
        In order of execution, old spellings brought to the present ones.
    format_version : int, optional
        None for files of lava-dl, which has no version.
    library_version : str, optional
        Which library wrote the file; None for files of lava-dl.
    """

    layers: tuple[Layer, ...]
    format_version: int | None = None
    library_version: str | None = None


# --- what the table needs: old shapes, and how layers follow each other ----------------------------------------------


def _along_one_axis(value: np.ndarray, expected: str) -> int:
    """``N`` of ``(N,)``, ``(N, 1, 1)`` or ``(1, 1, N)``."""
    if value.prod(dtype=object) != value.max():
        raise Mismatch("shape", expected, str(tuple(value.tolist())))
    return int(value.max())


def _flat(value: np.ndarray, _known: Values) -> np.ndarray:
    return np.array([_along_one_axis(value, "(N, 1, 1)"), 1, 1])


def _features(value: np.ndarray, known: Values) -> np.ndarray:
    expected = f"({known['outFeatures']},)"
    size = _along_one_axis(value, expected)
    if size != known["outFeatures"]:
        raise Mismatch("shape", expected, str(tuple(value.tolist())))
    return np.array([size])


def _input_output(fields: Values, before: Shape | None) -> Shape:
    shape = tuple(int(size) for size in fields["shape"])
    if before is not None:
        raise Mismatch("type", "the input as first layer", "an input after another layer")
    if math.prod(shape) > NEURONS_MAX:
        raise Mismatch("shape", f"at most {NEURONS_MAX} neurons", str(shape))
    return shape


def _flatten_output(fields: Values, before: Shape | None) -> Shape:
    size = int(fields["shape"][0])
    if before is not None and math.prod(before) != size:
        raise Mismatch("shape", f"({math.prod(before)}, 1, 1) after a layer of shape {before}", f"({size}, 1, 1)")
    return (size,)


def _dense_output(fields: Values, before: Shape | None) -> Shape:
    size = fields["inFeatures"]
    if before is not None and before not in ((size,), (size, 1, 1)):
        needs = math.prod(before) if len(before) == 1 else "a flatten"
        raise Mismatch("inFeatures", f"{needs} after a layer of shape {before}", str(size))
    return (fields["outFeatures"],)


# --- the table -------------------------------------------------------------------------------------------------------

_WEIGHT: dict[str, Any] = {"dtype": np.float32, "low": WEIGHT_MIN, "high": WEIGHT_MAX}
_BIAS: dict[str, Any] = {"dtype": np.float32, "low": BIAS_MIN, "high": BIAS_MAX, "required": False}
_DELAY: dict[str, Any] = {"dtype": np.float32, "low": 0, "high": DELAY_MAX, "required": False}
_DECAY: dict[str, Any] = {"dtype": np.int64, "low": 0, "high": DECAY_ONE, "shapes": ((), ("channels",)), "old": ((1,),)}
_SIZE: dict[str, Any] = {"dtype": np.int64, "low": 1, "high": NEURONS_MAX}

NEURONS: Mapping[str, NeuronType] = {
    "CUBA": NeuronType(
        (
            Field("iDecay", **_DECAY),
            Field("vDecay", **_DECAY),
            Field("vThMant", np.int64, 0, THRESHOLD_MAX, old=((1,),)),
            Field("refDelay", np.int64, 1, 1, old=((1,),), default=1),
            Field("gradedSpike", bool, old=((1,),), default=False),
            Field("weight_exp", np.float32, -EXPONENT_MAX, EXPONENT_MAX, ((1,),), old=((),), required=False),
            Field("wgtExp", np.int64, 0, 0, old=((1,),), required=False, kept=False),
        ),
        synonyms=("LOIHI",),
        ignored=("scaleRho", "tauRho", "theta"),
    ),
}

LAYERS: Mapping[str, LayerType] = {
    "input": LayerType(
        (
            Field("shape", shapes=((3,), (1,)), **_SIZE),
            Field("weight", shapes=((1,),), old=((),), required=False, **_WEIGHT),
            Field("bias", shapes=((1,),), old=((),), **_BIAS),
        ),
        neurons=("CUBA",),
        output_shape=_input_output,
        needs_neuron=("weight", "bias"),
    ),
    "flatten": LayerType(
        (Field("shape", shapes=((3,),), convert=_flat, **_SIZE),),
        neurons=(),
        output_shape=_flatten_output,
    ),
    "dense": LayerType(
        (
            Field("inFeatures", old=((1,),), **_SIZE),
            Field("outFeatures", old=((1,),), **_SIZE),
            Field("shape", shapes=((1,),), old=((3,),), convert=_features, **_SIZE),
            Field(
                "weight",
                shapes=(("outFeatures", "inFeatures"),),
                old=((lambda known: known["outFeatures"] * known["inFeatures"],),),
                **_WEIGHT,
            ),
            Field("bias", shapes=(("outFeatures",),), old=((),), **_BIAS),
            Field("delay", shapes=(("outFeatures",),), old=((),), **_DELAY),
            Field("delaySide", str, choices=("input", "output"), required=False),
        ),
        neurons=("CUBA",),
        output_shape=_dense_output,
    ),
}


# --- checking against the table --------------------------------------------------------------------------------------


def check_layer(layer: Layer, path: str = "") -> Layer:
    """The layer with every value in its present type and shape.

    Parameters
    ----------
    layer : Layer
        Values of any numeric type that fits.
    path : str
        Where it is, for messages.

    Raises
    ------
    ExchangeError
        If it breaks the format.
    """
    neuron = {} if layer.neuron is None else {"neuron": layer.neuron}
    return check_source(PlainSource({"type": layer.type, **layer.fields, **neuron}, path))


def check_source(source: Source) -> Layer:
    """:func:`check_layer` for a group of a file, or a mapping in memory."""
    name = _type_name(source, "layer", {name: name for name in LAYERS})
    row = LAYERS[name]
    has_neuron = "neuron" in source.names()
    _refuse_unknown(source, ("type", *(("neuron",) if row.neurons else ()), *(field.name for field in row.fields)))
    fields = check_fields(source, row.fields, {})
    for field in row.needs_neuron:
        if field in fields and not has_neuron:
            raise ExchangeError(f"{source.at(field)}: expected together with a neuron, got no neuron")
    return Layer(name, fields, _check_neuron(source.group("neuron"), row.neurons, fields) if has_neuron else None)


def _check_neuron(source: Source, allowed: tuple[str, ...], fields: Values) -> Values:
    names = {spelling: name for name in allowed for spelling in (name, *NEURONS[name].synonyms)}
    name = _type_name(source, "neuron", names)
    row = NEURONS[name]
    _refuse_unknown(source, ("type", *(field.name for field in row.fields), *row.ignored))
    return {"type": name, **check_fields(source, row.fields, {"channels": int(fields["shape"][0])})}


def _type_name(source: Source, what: str, names: Mapping[str, str]) -> str:
    """The ``type`` of a layer or neuron; ``names`` holds all spellings."""
    if "type" not in source.names():
        raise ExchangeError(f"{source.at('type')}: missing")
    name = source.value("type")
    if not isinstance(name, str) or name not in names:
        raise ExchangeError(f"{source.at('type')}: expected a {what} type out of {', '.join(names)}, got {name!r}")
    return names[name]


def _refuse_unknown(source: Source, known: Iterable[str]) -> None:
    unknown = sorted(set(source.names()) - set(known))
    if unknown:
        raise ExchangeError(f"{source.at(unknown[0])}: expected only fields that are known here, got another one")


def output_shapes(layers: Iterable[Layer]) -> list[Shape]:
    """Shape after each layer, without batch and time.

    Raises
    ------
    ExchangeError
        If a layer does not take what the one before gives.
    """
    shapes: list[Shape] = []
    try:
        for layer in layers:
            shapes.append(LAYERS[layer.type].output_shape(layer.fields, shapes[-1] if shapes else None))
    except Mismatch as wrong:
        name, expected, got = wrong.args
        raise ExchangeError(f"/layer/{len(shapes)}/{name}: expected {expected}, got {got}") from None
    return shapes
