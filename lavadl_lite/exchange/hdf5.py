"""Guarded reading of HDF5 files that may be damaged or hostile.  Nothing here knows what a network is.

What a file can make us allocate is bounded by its own size: a dataset must hold its data in plain storage inside the
file, and all datasets together may not claim more bytes than the file has.  Links are followed only when they are hard
links; filters (which load plugins), external and virtual storage, references and compound types are refused.
"""

from __future__ import annotations

import math
import os
import struct
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import h5py
import numpy as np

from ..errors import ExchangeError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Node", "open_guarded"]

TEXT_BYTES = 64  # the longest string that a field may hold
HEAP_OBJECTS = 1 << 12  # HDF5 fills heaps of 4096 bytes with strings of this size, 16 bytes apart at least

_BOOLEAN = h5py.h5t.py_create(np.dtype(bool), logical=True)
_OTHER_TYPES = {
    h5py.h5t.TIME: "times",
    h5py.h5t.BITFIELD: "bits",
    h5py.h5t.OPAQUE: "opaque data",
    h5py.h5t.COMPOUND: "compounds",
    h5py.h5t.REFERENCE: "references",
    h5py.h5t.ENUM: "an enumeration",
    h5py.h5t.VLEN: "sequences",
    h5py.h5t.ARRAY: "arrays",
}

# what h5py turns the HDF5 library's own errors into, depending on where it meets the damage
_H5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError, NotImplementedError)


@contextmanager
def _damage_at(path: str) -> Iterator[None]:
    """Report any failure of the HDF5 library as an :class:`ExchangeError` at ``path``."""
    try:
        yield
    except ExchangeError:
        raise
    except _H5_ERRORS as error:
        raise ExchangeError(f"{path}: the file is damaged or truncated ({error})") from error


class _Bytes:
    """The plain file below HDF5: how much of it may still be claimed, and its variable-length strings.

    Such strings lie in heaps, and the HDF5 library can loop for ever in a damaged one; here a search has an end.
    Layout: HDF5 File Format Specification 3.0, section III.E, for addresses of 8 bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = os.fstat(file.fileno()).st_size

    def claim(self, path: str, amount: int) -> None:
        """Count data that is read; all of it together has no more bytes than the file."""
        if amount > self._left:
            raise ExchangeError(f"{path}: expected data inside the file, got a claim of {amount} bytes beyond its size")
        self._left -= amount

    def text(self, path: str, place: int) -> bytes:
        """The string that the reference at ``place`` leads to."""
        length, heap, wanted = struct.unpack("<IQI", self._read(path, place, 16))
        if length == 0:
            return b""
        if length > TEXT_BYTES:
            raise ExchangeError(f"{path}: expected at most {TEXT_BYTES} characters, got {length}")
        signature, size = struct.unpack("<8sQ", self._read(path, heap, 16))
        at, end = heap + 16, heap + size
        for _ in range(HEAP_OBJECTS if signature == b"GCOL\x01\x00\x00\x00" else 0):
            if at + 16 > end:
                break
            index, stored = struct.unpack("<H6xQ", self._read(path, at, 16))
            if index == wanted and length <= stored:
                return self._read(path, at + 16, length)
            at += 16 + -(-stored // 8) * 8
        raise ExchangeError(f"{path}: the file is damaged (no such string)")

    def _read(self, path: str, place: int, amount: int) -> bytes:
        self._file.seek(place)
        found = self._file.read(amount)
        if len(found) < amount:
            raise ExchangeError(f"{path}: the file is damaged or truncated")
        return found


class Node:
    """One group of a guarded file.

    Attributes
    ----------
    path : str
        Where the group is inside the file, for messages.
    """

    def __init__(self, group: h5py.Group, path: str, plain: _Bytes) -> None:
        self.path = path
        self._group = group
        self._plain = plain
        self._members: dict[str, h5py.Group | h5py.Dataset] = {}  # those that were looked at

    def at(self, name: str) -> str:
        """Path of a member."""
        return f"{self.path.rstrip('/')}/{name}"

    def names(self) -> list[str]:
        """Names of all members, links of any kind included."""
        return self._names

    @cached_property
    def _names(self) -> list[str]:
        with _damage_at(self.path):
            found = list(self._group)
        expected = f"expected names of at most {TEXT_BYTES} printable characters"
        for name in found:
            if not isinstance(name, str) or not name.isprintable() or len(name) > TEXT_BYTES:
                raise ExchangeError(f"{self.path}: {expected}, got {name[:TEXT_BYTES]!r}")
        return found

    def is_group(self, name: str) -> bool:
        """Whether the member is a group (else it is a dataset)."""
        return isinstance(self._member(name), h5py.Group)

    def group(self, name: str) -> Node:
        """The member, which must be a group."""
        member = self._member(name)
        if not isinstance(member, h5py.Group):
            raise ExchangeError(f"{self.at(name)}: expected a group, got a dataset")
        return Node(member, self.at(name), self._plain)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape that a dataset declares; nothing is read."""
        return self._dataset(name).shape

    def value(self, name: str) -> Any:
        """Content of a dataset: a numeric array, or a ``str`` where it holds one string."""
        data = self._dataset(name)
        path = self.at(name)
        with _damage_at(path):
            self._plain.claim(path, math.prod(data.shape) * data.dtype.itemsize)
            if data.dtype.kind not in "OS":
                return np.asarray(data[()])
            if (count := math.prod(data.shape)) != 1:
                raise ExchangeError(f"{path}: expected one string, got {count}")
            if data.dtype.kind == "S":
                return _text(path, data[()])
            return _text(path, self._plain.text(path, data.id.get_offset()))

    def attribute(self, name: str) -> int | float | str | None:
        """A scalar attribute, or None where there is none: a number, or a string of fixed length."""
        path = f"{self.path} attribute {name}"
        with _damage_at(path):
            if name not in self._group.attrs:
                return None
            stored = self._group.attrs.get_id(name)
            if stored.shape != ():
                raise ExchangeError(f"{path}: expected a scalar, got shape {stored.shape}")
            _check_type(path, stored.get_type())
            if _is_variable(stored.get_type()):
                raise ExchangeError(f"{path}: expected a number or a string of fixed length")
            content = self._group.attrs[name]
            return _text(path, content) if stored.dtype.kind == "S" else content.item()

    def _member(self, name: str) -> h5py.Group | h5py.Dataset:
        """A group, or a dataset in plain storage of a plain type."""
        if name not in self._members:
            with _damage_at(self.at(name)):
                self._members[name] = self._open(name)
        return self._members[name]

    def _open(self, name: str) -> h5py.Group | h5py.Dataset:
        path = self.at(name)
        links = self._group.id.links
        if not links.exists(name.encode()):
            raise ExchangeError(f"{path}: missing")
        if links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise ExchangeError(f"{path}: expected data of this file, got a soft or external link")
        member = h5py.h5o.open(self._group.id, name.encode())
        if not isinstance(member, h5py.h5g.GroupID | h5py.h5d.DatasetID):
            raise ExchangeError(f"{path}: expected a group or a dataset, got a named type")
        if (count := h5py.h5o.get_info(member).rc) != 1:
            raise ExchangeError(f"{path}: expected data with one name, got {count}")
        if isinstance(member, h5py.h5g.GroupID):
            return h5py.Group(member)
        _check_storage(path, member)
        return h5py.Dataset(member)

    def _dataset(self, name: str) -> h5py.Dataset:
        """The member, which must be a dataset."""
        data = self._member(name)
        if not isinstance(data, h5py.Dataset):
            raise ExchangeError(f"{self.at(name)}: expected a dataset, got a group")
        return data


def _check_storage(path: str, data: h5py.h5d.DatasetID) -> None:
    """Plain storage of a plain type, which holds what the shape declares."""
    creation = data.get_create_plist()
    if creation.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT) or creation.get_nfilters():
        raise ExchangeError(f"{path}: expected plain contiguous storage, got chunked, compressed or virtual")
    if creation.get_external_count():
        raise ExchangeError(f"{path}: expected data of this file, got external storage")
    if data.get_space().get_simple_extent_type() == h5py.h5s.NULL:
        raise ExchangeError(f"{path}: expected data, got an empty dataspace")
    kind, shape, stored = data.get_type(), data.shape, data.get_storage_size()
    _check_type(path, kind)
    if stored < math.prod(shape) * kind.get_size():
        raise ExchangeError(f"{path}: expected data inside the file, got {stored} bytes for shape {shape}")
    if _is_variable(kind) and data.get_offset() is None:
        raise ExchangeError(f"{path}: expected data inside the file, got a string without a place")


def _check_type(path: str, stored: h5py.h5t.TypeID) -> None:
    """Numbers, booleans and short strings; no references, compounds, enumerations or objects."""
    kind = stored.get_class()
    if kind == h5py.h5t.STRING:
        if not _is_variable(stored) and stored.get_size() > TEXT_BYTES:
            raise ExchangeError(f"{path}: expected at most {TEXT_BYTES} characters, got {stored.get_size()}")
    elif kind not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT) and not stored.equal(_BOOLEAN):
        raise ExchangeError(f"{path}: expected numbers or a string, got {_OTHER_TYPES.get(kind, 'another type')}")


def _is_variable(kind: h5py.h5t.TypeID) -> bool:
    """Whether it is a string of any length, which lies elsewhere."""
    return kind.get_class() == h5py.h5t.STRING and kind.is_variable_str()


def _text(path: str, content: Any) -> str:
    """One string of bytes, scalar or in an array of one."""
    raw = bytes(np.asarray(content).reshape(-1)[0]).rstrip(b"\x00")
    text = raw.decode("utf-8", "replace")
    if text.encode() != raw or not text.isprintable():
        raise ExchangeError(f"{path}: expected printable characters in UTF-8, got {raw!r}")
    return text


@contextmanager
def open_guarded(path: str | os.PathLike[str]) -> Iterator[Node]:
    """The root of an HDF5 file, closed at the end.

    Parameters
    ----------
    path : path-like
        File to read.

    Raises
    ------
    OSError
        If there is no such file, or it may not be read.
    ExchangeError
        If it is no HDF5 file, or a truncated one.
    """
    with Path(path).open("rb") as plain:  # tells a missing file from a damaged one
        with _damage_at(os.fspath(path)):
            file = h5py.File(path, "r")
        with file:
            if file.userblock_size or file.id.get_create_plist().get_sizes() != (8, 8):
                raise ExchangeError(f"{os.fspath(path)}: expected addresses of 8 bytes from the file's start")
            yield Node(file, "/", _Bytes(plain))
