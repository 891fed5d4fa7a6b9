"""What the table of the format is made of, and how one field is checked.  The table itself is in :mod:`.schema`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ..errors import ExchangeError

__all__ = [
    "ANY",
    "PARTS",
    "Axis",
    "Field",
    "LayerType",
    "Mismatch",
    "NeuronType",
    "PlainSource",
    "Shape",
    "Size",
    "Source",
    "Values",
    "check_fields",
    "refuse_unknown",
    "shown",
]

ANY = -1  # an axis of any length
PARTS = ("real", "imag")  # what a group holds in the place of an array, where numbers are complex

Shape = tuple[int, ...]
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Size:
    """Length of an axis that follows from fields: what it is called, and the rule."""

    name: str
    of: Callable[[Values], int]


Axis = int | str | Size  # a number, the name of the field that holds it, or a rule


class Mismatch(Exception):
    """Something does not fit: name of the field, what was expected, what came."""


@dataclass(frozen=True)
class Field:
    """One dataset: its type, shape and range.

    Parameters
    ----------
    name : str
        Name in the file.
    dtype : type
        What is written: ``np.int64``, ``np.float32`` (holding integers), ``bool`` or ``str``.
    low, high : int
        Range of numbers, ends included.
    shapes : tuple of shapes
        Shapes that are kept as they are, the usual one first.  An axis may name the field that holds its size, or be
        ``ANY``.
    old : tuple of shapes
        Shapes that old files have for as many values; they are brought to the first of ``shapes``.
    convert : callable, optional
        ``(value, known) -> value`` brings a value to its present form, or raises :class:`Mismatch`; then ``old`` may
        hold shapes of any size.
    choices : tuple of str
        Allowed strings.
    default : optional
        Value where an old file has none.
    required : bool
        Whether a layer without the field is refused; a field with a default is never missing.
    kept : bool
        False for a field of old files that is only checked.
    complex : bool
        Whether a group of two such arrays, ``real`` and ``imag``, may stand in its place.
    """

    name: str
    dtype: type
    low: int = 0
    high: int = 0
    shapes: tuple[tuple[Axis, ...], ...] = ((),)
    old: tuple[tuple[Axis, ...], ...] = ()
    convert: Callable[[np.ndarray, Values], np.ndarray] | None = None
    choices: tuple[str, ...] = ()
    default: Any = None
    required: bool = True
    kept: bool = True
    complex: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the two parts, where there may be such."""
        return tuple(f"{self.name}/{part}" for part in PARTS) if self.complex else ()


@dataclass(frozen=True)
class NeuronType:
    """A neuron model.

    Parameters
    ----------
    fields : tuple of Field
        Its fields; ``channels`` names the layer's number of channels in their shapes.
    synonyms : tuple of str
        Other names that files have for it.
    ignored : tuple of str
        Fields of old files that repeat or describe what other fields say.
    complex : bool
        Whether its input, and so the weights before it, are complex.
    check : callable, optional
        ``(neuron's fields, type of the layer, layer's fields)`` raises :class:`Mismatch` where they contradict.
    """

    fields: tuple[Field, ...]
    synonyms: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    complex: bool = False
    check: Callable[[Values, str, Values], None] | None = None


@dataclass(frozen=True)
class LayerType:
    """A layer model.

    Parameters
    ----------
    fields : tuple of Field
        In the order in which they are checked: sizes first.
    output_shape : callable
        ``(fields, shape before or None) -> shape``, without batch and time, or :class:`Mismatch` where they do not fit.
        A layer that ``joins`` gets the shapes of all layers before.
    neuron : bool or None
        Whether it has a neuron, of any type; None where it may have one.
    needs : tuple of (str, str)
        Fields that mean something only beside another one, or beside the neuron.
    check : callable, optional
        ``(fields)`` raises :class:`Mismatch` where they contradict.
    joins : bool
        Whether it takes what the layers that it names send, not what the one before it does.
    """

    fields: tuple[Field, ...]
    output_shape: Callable[[Values, Any], Shape]
    neuron: bool | None
    needs: tuple[tuple[str, str], ...] = ()
    check: Callable[[Values], None] | None = None
    joins: bool = False


class Source(Protocol):
    """Where fields come from: a group of a file, or a mapping of values."""

    path: str

    def names(self) -> Iterable[str]:
        """All members."""

    def at(self, name: str) -> str:
        """Path of a member."""

    def is_group(self, name: str) -> bool:
        """Whether a member is a group."""

    def group(self, name: str) -> Source:
        """The member, which must be a group."""

    def shape(self, name: str) -> Shape:
        """Shape that the member declares, before anything is read."""

    def value(self, name: str) -> Any:
        """The member: a numeric array or a string."""


class PlainSource:
    """Fields from a mapping in memory; a mapping inside it is a group."""

    def __init__(self, values: Values, path: str) -> None:
        self._values = _grouped(values, path)
        self.path = path

    def names(self) -> Iterable[str]:
        """All members."""
        return self._values.keys()

    def at(self, name: str) -> str:
        """Path of a member."""
        return f"{self.path}/{name}"

    def is_group(self, name: str) -> bool:
        """Whether a member is a group."""
        return isinstance(self._values[name], Mapping)

    def group(self, name: str) -> PlainSource:
        """The member, which must be a group."""
        return PlainSource(self._values[name], self.at(name))

    def shape(self, name: str) -> Shape:
        """Shape of the member."""
        return np.shape(self.value(name))

    def value(self, name: str) -> Any:
        """The member: an array or a string."""
        value = self._values[name]
        if isinstance(value, str):
            return value
        try:
            return np.asarray(value)
        except (ValueError, TypeError, RuntimeError) as error:
            raise ExchangeError(f"{self.at(name)}: expected an array, got {type(value).__name__} ({error})") from error


def _grouped(values: Values, path: str) -> Values:
    """``values`` with ``"weight/real"`` inside a mapping ``"weight"``."""
    found: dict[str, Any] = {name: value for name, value in values.items() if "/" not in name}
    for name in values.keys() - found.keys():
        group, _, part = name.partition("/")
        if group in values:
            raise ExchangeError(f"{path}/{group}: expected one array or its parts, got both")
        found.setdefault(group, {})[part] = values[name]
    return found


def refuse_unknown(source: Source, known: Iterable[str]) -> None:
    """Raise :class:`ExchangeError` where ``source`` has a member beside ``known``."""
    unknown = sorted(set(source.names()) - set(known))
    if unknown:
        raise ExchangeError(f"{source.at(unknown[0])}: expected only fields that are known here, got another one")


def check_fields(source: Source, fields: tuple[Field, ...], known: Values) -> dict[str, Any]:
    """Values of ``fields`` in their present form.

    Parameters
    ----------
    source : Source
        Where they come from.
    fields : tuple of Field
        What to look for, in order.
    known : mapping
        Values that shapes may name, beside those of ``fields`` themselves.

    Returns
    -------
    dict
        The parts of a complex field under ``"weight/real"`` and ``"weight/imag"``.

    Raises
    ------
    ExchangeError
        Naming the field by its path, where one is missing or has a wrong type, shape or value.
    """
    values: dict[str, Any] = {}
    present = set(source.names())
    for row in fields:
        if row.name in present and row.complex and source.is_group(row.name):
            group = source.group(row.name)
            refuse_unknown(group, PARTS)
            rows = tuple(replace(row, name=part, complex=False, required=True) for part in PARTS)
            parts = check_fields(group, rows, {**known, **values})
            values.update({f"{row.name}/{part}": value for part, value in parts.items()})
        elif row.name in present:
            value = _checked(source, row, {**known, **values})
            if row.kept:
                values[row.name] = value
        elif row.default is not None:
            values[row.name] = row.default
        elif row.required:
            raise ExchangeError(f"{source.at(row.name)}: missing")
    return values


def _checked(source: Source, row: Field, known: Values) -> Any:
    try:
        _refuse_group(source, row)
        return _string(row, source.value(row.name)) if row.dtype is str else _array(source, row, known)
    except Mismatch as wrong:
        _, expected, got = wrong.args
        raise ExchangeError(f"{source.at(row.name)}: expected {expected}, got {got}") from None


def _refuse_group(source: Source, row: Field) -> None:
    if source.is_group(row.name):
        raise Mismatch(row.name, "a dataset", "a group")


def shown(value: Any) -> str:
    """A string, or the type of an array, for messages."""
    return repr(value) if isinstance(value, str) else f"type {value.dtype}"


def _string(row: Field, value: Any) -> str:
    if not isinstance(value, str) or value not in row.choices:
        raise Mismatch(row.name, "one of " + ", ".join(repr(choice) for choice in row.choices), shown(value))
    return value


def _array(source: Source, row: Field, known: Values) -> Any:
    """Numbers; the declared shape is checked before anything is read."""
    kept, old = ([tuple(_size(axis, known) for axis in shape) for shape in shapes] for shapes in (row.shapes, row.old))
    if row.convert is None:
        old = [shape for shape in old if math.prod(shape) == math.prod(kept[0])]
    shape = source.shape(row.name)
    if not any(_fits(shape, allowed) for allowed in kept + old):
        expected = " or ".join(str(s) for s in dict.fromkeys(kept)).replace(str(ANY), "any number")
        raise Mismatch(row.name, f"shape {expected}", str(shape))
    value = _numbers(row, source.value(row.name))
    if row.convert is not None:
        value = row.convert(value, known)
    elif shape not in kept:
        value = value.reshape(kept[0])
    return value if value.shape else value.item()


def _fits(shape: Shape, allowed: Shape) -> bool:
    return len(shape) == len(allowed) and all(there in (here, ANY) for here, there in zip(shape, allowed, strict=True))


def _size(axis: Axis, known: Values) -> int:
    if isinstance(axis, str):
        return int(known[axis])
    return axis if isinstance(axis, int) else axis.of(known)


def _numbers(row: Field, value: Any) -> np.ndarray:
    """``value`` in the type of the row, after its range and wholeness are checked."""
    kinds = "biu" if row.dtype is bool else "iuf"
    if isinstance(value, str) or value.dtype.kind not in kinds:
        expected = "true or false" if row.dtype is bool else "numbers"
        raise Mismatch(row.name, expected, shown(value))
    low, high = (0, 1) if row.dtype is bool else (row.low, row.high)
    good = (value >= low) & (value <= high)  # NaN is neither
    if value.dtype.kind == "f":
        good &= value == np.floor(value)
    if not np.all(good):
        flat = int(np.argmin(good))
        at = [int(axis) for axis in np.unravel_index(flat, value.shape)]
        got = f"{np.ravel(value)[flat]}"
        raise Mismatch(row.name, f"integers in [{low}, {high}]", f"{got} at {at}" if at else got)
    return value.astype(row.dtype)
