"""Makes lava-nc importable here, with what its 0.10.0 needs on Pythons and NumPys newer than itself.

lava-nc declares Python 3.10 and NumPy 1, where nothing is changed.  Elsewhere three places of it are, in memory alone:
see the functions below.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["prepare"]

INSTALL = (
    "netx.hdf5 and netx.blocks need lava-nc 0.10. Python 3.10: pip install lava-nc==0.10.0. Newer Pythons: "
    "pip install --no-deps --ignore-requires-python lava-nc==0.10.0, then pip install asteval networkx scipy "
    "scikit-learn. netx.Simulator runs network files without it."
)
MUTABLE_DEFAULTS = "lava.magma.compiler.var_model"  # the module whose dataclasses Python 3.11 refuses
NEW_NUMPY = int(np.__version__.split(".")[0]) >= 2


def prepare() -> None:
    """Import what our processes stand on, repaired where it has to be.

    Raises
    ------
    ImportError
        If lava-nc is not installed, or cannot be imported; the message says how to install it.
    """
    try:
        with _hashable_dataclasses():
            importlib.import_module("lava.magma.core.process.process")
        if NEW_NUMPY:
            _reshape_by_position()
            _wide_convolutions()
    except ImportError as error:
        raise ImportError(f"{INSTALL} ({error})") from error


@contextmanager
def _hashable_dataclasses() -> Iterator[None]:
    """Python 3.11 takes an instance as a field's default only where its class has a hash; Lava's have none."""
    original = dataclasses.dataclass

    @functools.wraps(original)
    def dataclass(cls: Any = None, /, **options: Any) -> Any:
        def wrap(cls: Any) -> Any:
            hashed = {"unsafe_hash": True} if cls.__module__ == MUTABLE_DEFAULTS else {}
            return original(cls, **options, **hashed)

        return wrap if cls is None else wrap(cls)

    if tuple(sys.version_info) < (3, 11) or MUTABLE_DEFAULTS in sys.modules:
        yield
        return
    dataclasses.dataclass = dataclass
    try:
        yield
    finally:
        dataclasses.dataclass = original


def _reshape_by_position() -> None:
    """NumPy 2 drops the keyword by which Lava's virtual ports name the new shape."""
    from lava.magma.core.process.ports.ports import ReshapePort

    def forward(self: Any) -> Any:
        return functools.partial(_reshape, shape=self.shape)

    def backward(self: Any) -> Any:
        return functools.partial(_reshape, shape=self.old_shape)

    ReshapePort.get_transform_func_fwd = forward
    ReshapePort.get_transform_func_bwd = backward


def _reshape(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.reshape(values, shape)


def _wide_convolutions() -> None:
    """Under NumPy 2 a product of 8 bits stays one, so that sizes above 127 overflow in Lava's convolution."""
    from lava.magma.core.model.py.type import LavaPyType
    from lava.proc.conv.models import AbstractPyConvModel

    for name in ("kernel_size", "stride", "padding", "dilation", "groups"):
        setattr(AbstractPyConvModel, name, LavaPyType(np.ndarray, np.int32, precision=8))
