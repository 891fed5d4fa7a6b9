"""Layers as processes of Lava; importing this imports Lava, repaired where that is needed.

Lava looks for the models of a process by running every file beside it once more, as a module of its own.  So these
files import by full names, and no others stand here.
"""

from .._lava import prepare

prepare()

from . import models, process  # noqa: E402 - they need a Lava that can be imported

__all__ = ["models", "process"]
