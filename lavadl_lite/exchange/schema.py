"""What a network is in memory, and whether it keeps to the format.  Files are read in :mod:`.files`.

The format itself is ``LAYERS`` (:mod:`.layers`) and ``NEURONS`` (:mod:`.neurons`): checking, reading and writing follow
from these two tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ExchangeError
from .fields import LayerType, Mismatch, PlainSource, Shape, Source, Values, check_fields, refuse_unknown, shown
from .layers import LAYERS
from .neurons import NEURONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["FORMAT_VERSION", "LAYERS", "NEURONS", "Layer", "Network", "check_layer", "check_source", "output_shapes"]

FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Layer:
    """One entry of ``/layer``, every value in the type and shape that a file holds.

    Parameters
    ----------
    type : str
        Key of ``LAYERS``.
    fields : mapping
        The fields of that row: int, bool, str or array.  Complex weights are ``"weight/real"`` and ``"weight/imag"``.
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


# --- checking against the tables -------------------------------------------------------------------------------------


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
    places = () if row.neuron is False else ("neuron",)
    refuse_unknown(source, ("type", *places, *(field.name for field in row.fields)))
    fields = check_fields(source, row.fields, {})
    if row.neuron and not has_neuron:
        raise ExchangeError(f"{source.at('neuron')}: missing")
    for field, other in row.needs:
        if field in fields and not (has_neuron if other == "neuron" else other in fields):
            raise ExchangeError(f"{source.at(field)}: expected together with a {other}, got no {other}")
    neuron = _check_neuron(source.group("neuron"), fields) if has_neuron else None
    try:
        _check_parts(row, fields, neuron)
        if row.check is not None:
            row.check(fields)
        if neuron is not None and (check := NEURONS[neuron["type"]].check) is not None:
            check(neuron, name, fields)
    except Mismatch as wrong:
        field, expected, got = wrong.args
        raise ExchangeError(f"{source.at(field)}: expected {expected}, got {got}") from None
    return Layer(name, fields, neuron)


def _check_neuron(source: Source, fields: Values) -> Values:
    names = {spelling: name for name in NEURONS for spelling in (name, *NEURONS[name].synonyms)}
    name = _type_name(source, "neuron", names)
    row = NEURONS[name]
    refuse_unknown(source, ("type", *(field.name for field in row.fields), *row.ignored))
    return {"type": name, **check_fields(source, row.fields, {"channels": int(fields["shape"][0])})}


def _check_parts(row: LayerType, fields: Values, neuron: Values | None) -> None:
    """Weights are complex, all of them, where the neuron is; without a neuron they decide by themselves."""
    wanted = "weight/real" in fields if neuron is None else NEURONS[neuron["type"]].complex
    what = "layer without neuron" if neuron is None else f"{neuron['type']} neuron"
    kinds = {True: "parts real and imag", False: "one array"}
    for field in row.fields:
        given = field.name not in fields
        if field.complex and fields.keys() & {field.name, *field.parts} and given != wanted:
            raise Mismatch(field.name, f"{kinds[wanted]} for this {what}", kinds[given])


def _type_name(source: Source, what: str, names: Mapping[str, str]) -> str:
    """The ``type`` of a layer or neuron; ``names`` holds all spellings."""
    if "type" not in source.names():
        raise ExchangeError(f"{source.at('type')}: missing")
    name = source.value("type")
    if not isinstance(name, str) or name not in names:
        raise ExchangeError(f"{source.at('type')}: expected a {what} type out of {', '.join(names)}, got {shown(name)}")
    return names[name]


def output_shapes(layers: Iterable[Layer], before: Shape | None = None) -> list[Shape]:
    """Shape after each layer, without batch and time.

    Parameters
    ----------
    layers : iterable of Layer
    before : tuple of int, optional
        Shape before the first of them, where it is known.

    Raises
    ------
    ExchangeError
        If a layer does not take what the one before gives, or those that it joins.
    """
    shapes: list[Shape] = []
    try:
        for layer in layers:
            row = LAYERS[layer.type]
            shapes.append(row.output_shape(layer.fields, shapes if row.joins else shapes[-1] if shapes else before))
    except Mismatch as wrong:
        name, expected, got = wrong.args
        raise ExchangeError(f"/layer/{len(shapes)}/{name}: expected {expected}, got {got}") from None
    return shapes
