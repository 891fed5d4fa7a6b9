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

__all__ = [
    "Difference",
    "Finding",
    "Findings",
    "Simulator",
    "Verification",
    "check",
    "from_nir",
    "load",
    "modules",
    "save",
    "to_nir",
    "utils",
    "verify",
]

LATE = ("blocks", "hdf5", "modules", "utils")  # the first two need Lava, so that * does not name them


def __getattr__(name: str) -> ModuleType:
    if name in LATE:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
