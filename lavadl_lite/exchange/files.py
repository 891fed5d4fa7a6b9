"""Reading and writing network files.  What they hold is in :mod:`.schema`, guarded access to HDF5 in :mod:`.hdf5`."""

from __future__ import annotations

import io
from itertools import islice
from typing import TYPE_CHECKING

import h5py
import numpy as np

from ..errors import ExchangeError
from ..files import whole_file
from .hdf5 import Node, open_guarded
from .schema import FORMAT_VERSION, LAYERS, NEURONS, Layer, Network, check_layer, check_source, output_shapes

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from .fields import Field, Values

__all__ = ["read", "save", "write_layer"]

LAYERS_MAX = 1 << 12  # entries of a file
TYPE_BYTES = 10  # length of the fixed string that holds a layer's type, as lava-dl writes it


def read(path: str | os.PathLike[str], num_layers: int | None = None) -> Network:
    """Read a network file, of this library or of lava-dl.

    Parameters
    ----------
    path : path-like
        The ``.net`` file.
    num_layers : int, optional
        Read, and check, only that many entries from the start; by default all.

    Returns
    -------
    Network
        All layers, checked.  What a file makes us allocate is at most a small multiple of its size.

    Raises
    ------
    ExchangeError
        If the file is damaged, holds a layer or neuron type that is not supported, or a field that is missing or has a
        wrong type, shape or value.  The message names the place inside the file.
    OSError
        If there is no such file, or it may not be read.
    """
    with open_guarded(path) as root:
        version = root.attribute("formatVersion")
        if version is not None and not (type(version) is int and 1 <= version <= FORMAT_VERSION):
            raise ExchangeError(f"/ attribute formatVersion: expected 1 to {FORMAT_VERSION}, got {version!r}")
        library = root.attribute("libraryVersion")
        layers = tuple(check_source(node) for node in islice(_entries(root.group("layer")), num_layers))
    output_shapes(layers)
    return Network(layers, version, None if library is None else str(library))


def _entries(group: Node) -> Iterator[Node]:
    """The members "0" to "n - 1" in order."""
    names = set(group.names())
    _check_count(group.path, len(names))
    for i in range(len(names)):
        if str(i) not in names:
            raise ExchangeError(f"{group.at(str(i))}: missing, while {group.path} has {len(names)} members")
        yield group.group(str(i))


def _check_count(path: str, count: int) -> None:
    if not 1 <= count <= LAYERS_MAX:
        raise ExchangeError(f"{path}: expected at least one layer and at most {LAYERS_MAX}, got {count or 'none'}")


def write_layer(handle: h5py.Group, layer: Layer) -> None:
    """Write one layer into a group that the caller made.

    Parameters
    ----------
    handle : h5py.Group
        Empty group, by convention ``layer/<i>``.
    layer : Layer
        Checked as a whole before anything is written.

    Raises
    ------
    ExchangeError
        If the layer breaks the format, or the group is not empty.
    """
    layer = check_layer(layer, handle.name or "")
    if len(handle):
        raise ExchangeError(f"{handle.name}: expected an empty group, got one with {', '.join(handle)}")
    _put_layer(handle, layer)


def _put_layer(handle: h5py.Group, layer: Layer) -> None:
    name = layer.type.encode()
    handle.create_dataset("type", data=np.array([name], dtype=f"S{max(TYPE_BYTES, len(name))}"))
    _write_fields(handle, LAYERS[layer.type].fields, layer.fields)
    if layer.neuron is not None:
        neuron = handle.create_group("neuron")
        neuron.create_dataset("type", data=layer.neuron["type"])
        _write_fields(neuron, NEURONS[layer.neuron["type"]].fields, layer.neuron)


def _write_fields(handle: h5py.Group, rows: tuple[Field, ...], values: Values) -> None:
    for row in rows:
        for name in (row.name, *row.parts):
            if name in values:
                value = values[name]
                handle.create_dataset(name, data=value if row.dtype is str else np.asarray(value, dtype=row.dtype))


def save(path: str | os.PathLike[str], layers: Iterable[Layer]) -> None:
    """Write a whole network file, or none: a file of that name is replaced at the end, in one step.

    Parameters
    ----------
    path : path-like
        Where to write; its folder must exist.
    layers : iterable of Layer
        In order of execution.

    Raises
    ------
    ExchangeError
        If a layer breaks the format, or does not take what the one before gives.
    OSError
        If the file cannot be written.
    """
    from .. import __version__

    checked = [check_layer(layer, f"/layer/{i}") for i, layer in enumerate(layers)]
    _check_count("/layer", len(checked))
    output_shapes(checked)
    content = io.BytesIO()  # while HDF5 writes, nothing of it is on disk
    with h5py.File(content, "w") as file:
        file.attrs["formatVersion"] = np.int64(FORMAT_VERSION)
        file.attrs["libraryVersion"] = np.bytes_(f"lavadl_lite {__version__}")
        for i, layer in enumerate(checked):
            _put_layer(file.create_group(f"layer/{i}"), layer)
    with whole_file(path) as target:
        target.write(content.getbuffer())
