"""Network files and what is done with them: save, load, simulate, check, verify.  Needs neither torch nor Lava.

Only ``hdf5`` and ``blocks`` need Lava; they, ``modules`` and ``utils`` load at their first use.
"""

from importlib import import_module
from types import ModuleType

from ._files import load, save
from ._from_nir import from_nir
from ._to_nir import to_nir
from .check import Finding, Findings, check
from .simulator import Simulator
from .verify import Difference, Verification, verify

_LATER = ("blocks", "hdf5", "modules", "utils")

__all__ = [
    "Difference",
    "Finding",
    "Findings",
    "Simulator",
    "Verification",
    "blocks",
    "check",
    "from_nir",
    "hdf5",
    "load",
    "modules",
    "save",
    "to_nir",
    "utils",
    "verify",
]


def __getattr__(name: str) -> ModuleType:
    if name in _LATER:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
