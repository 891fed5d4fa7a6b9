"""Guarded reading of HDF5 files that may be damaged or hostile.  Nothing here knows what a network is.

What a file can make us allocate is bounded by its own size: a dataset must hold its data in plain storage inside the
file, and all datasets together may not claim more bytes than the file has.  Links are followed only when they are hard
links; filters (which load plugins), external and virtual storage, references and compound types are refused.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from ..errors import ExchangeError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Node", "open_guarded"]

TEXT_BYTES = 64  # the longest string that a field may hold

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


class _Budget:
    """How many bytes may still be read."""

    def __init__(self, limit: int) -> None:
        self.left = limit

    def take(self, path: str, amount: int) -> None:
        if amount > self.left:
            raise ExchangeError(f"{path}: expected data inside the file, got a claim of {amount} bytes beyond its size")
        self.left -= amount


class Node:
    """One group of a guarded file.

    Attributes
    ----------
    path : str
        Where the group is inside the file, for messages.
    """

    def __init__(self, group: h5py.Group, path: str, budget: _Budget) -> None:
        self._group = group
        self._budget = budget
        self.path = path

    def at(self, name: str) -> str:
        """Path of a member."""
        return f"{self.path.rstrip('/')}/{name}"

    def names(self) -> list[str]:
        """Names of all members, links of any kind included."""
        with _damage_at(self.path):
            return list(self._group)

    def is_group(self, name: str) -> bool:
        """Whether the member is a group (else it is a dataset)."""
        return isinstance(self._member(name), h5py.Group)

    def group(self, name: str) -> Node:
        """The member, which must be a group."""
        member = self._member(name)
        if not isinstance(member, h5py.Group):
            raise ExchangeError(f"{self.at(name)}: expected a group, got a dataset")
        return Node(member, self.at(name), self._budget)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape that a dataset declares; nothing is read."""
        return self._checked(name).shape

    def value(self, name: str) -> Any:
        """Content of a dataset: a numeric array, or a ``str`` where it holds one string."""
        data = self._checked(name)
        path = self.at(name)
        with _damage_at(path):
            self._budget.take(path, data.size * data.dtype.itemsize)
            if data.dtype.kind not in "OS":
                return np.asarray(data[()])
            if data.size != 1:
                raise ExchangeError(f"{path}: expected one string, got {data.size}")
            return _text(path, data[()])

    def attribute(self, name: str) -> Any:
        """A scalar attribute, or None where there is none."""
        path = f"{self.path} attribute {name}"
        with _damage_at(path):
            if name not in self._group.attrs:
                return None
            stored = self._group.attrs.get_id(name)
            if stored.shape != ():
                raise ExchangeError(f"{path}: expected a scalar, got shape {stored.shape}")
            _check_type(path, stored.dtype)
            content = self._group.attrs[name]
            return _text(path, content) if stored.dtype.kind in "OS" else content

    def _member(self, name: str) -> h5py.Group | h5py.Dataset:
        path = self.at(name)
        with _damage_at(path):
            links = self._group.id.links
            if not links.exists(name.encode()):
                raise ExchangeError(f"{path}: missing")
            if links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
                raise ExchangeError(f"{path}: expected data of this file, got a soft or external link")
            member = self._group[name]
        if not isinstance(member, h5py.Group | h5py.Dataset):
            raise ExchangeError(f"{path}: expected a group or a dataset, got a named type")
        return member

    def _checked(self, name: str) -> h5py.Dataset:
        """The member, which must be a dataset in plain storage of a plain type."""
        data = self._member(name)
        path = self.at(name)
        if not isinstance(data, h5py.Dataset):
            raise ExchangeError(f"{path}: expected a dataset, got a group")
        with _damage_at(path):
            creation = data.id.get_create_plist()
            if creation.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT) or creation.get_nfilters():
                raise ExchangeError(f"{path}: expected plain contiguous storage, got chunked, compressed or virtual")
            if creation.get_external_count():
                raise ExchangeError(f"{path}: expected data of this file, got external storage")
            if data.shape is None:
                raise ExchangeError(f"{path}: expected data, got an empty dataspace")
            _check_type(path, data.dtype)
            stored = data.id.get_storage_size()
            if data.size and stored < data.size * data.id.get_type().get_size():
                raise ExchangeError(f"{path}: expected data inside the file, got {stored} bytes for shape {data.shape}")
        return data


def _check_type(path: str, dtype: np.dtype) -> None:
    """Numbers, booleans and short strings; no references, compounds or objects."""
    text = h5py.check_string_dtype(dtype)
    if text is not None:
        if text.length is not None and text.length > TEXT_BYTES:
            raise ExchangeError(f"{path}: expected at most {TEXT_BYTES} characters, got {text.length}")
    elif dtype.kind not in "biuf" or dtype.subdtype is not None:
        raise ExchangeError(f"{path}: expected numbers or a string, got type {dtype}")


def _text(path: str, content: Any) -> str:
    """One string, however it was stored: fixed or variable length, bytes or UTF-8, scalar or array of one."""
    single = np.asarray(content, dtype=object).reshape(-1)[0]
    text = single.decode("utf-8") if isinstance(single, bytes) else str(single)
    if len(text) > TEXT_BYTES:
        raise ExchangeError(f"{path}: expected at most {TEXT_BYTES} characters, got {len(text)}")
    return text.rstrip("\x00")


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
        size = os.fstat(plain.fileno()).st_size
    with _damage_at(os.fspath(path)):
        file = h5py.File(path, "r")
    with file:
        yield Node(file, "/", _Budget(size))
