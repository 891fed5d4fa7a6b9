"""Network files and their execution: save, load, and simulate in integers.  Needs neither torch nor Lava.

Only ``hdf5`` and ``blocks`` need Lava; they, ``modules`` and ``utils`` load at their first use.
"""

from importlib import import_module
from types import ModuleType

from ._files import load, save
from .simulator import Simulator

__all__ = ["Simulator", "blocks", "hdf5", "load", "modules", "save", "utils"]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
