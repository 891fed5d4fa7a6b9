"""Equal parts of the simulator's work for the threads of :mod:`lavadl_lite.kernels.cpu`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["share"]


def share(function: Callable[[int, int], Any], units: int, elements: int) -> None:
    """Call ``function(lo, hi)`` over shares of ``units``, which do not depend on each other."""
    from ..kernels.cpu import LANES, run_rows

    # the pool cuts at multiples of 16 rows, and a unit is worth as many
    run_rows(lambda lo, hi: function(lo // LANES, hi // LANES), units * LANES, elements)
