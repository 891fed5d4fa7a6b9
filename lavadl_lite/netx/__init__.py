"""Network files and their execution: save, load, and simulate in integers.  Needs neither torch nor Lava."""

from ._files import load, save
from .simulator import Simulator

__all__ = ["Simulator", "load", "save"]
