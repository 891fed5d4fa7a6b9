"""The names of the surrogates, apart from their kernels: without numba, for who only has to know the names."""

import math

from ..errors import ParameterError

__all__ = ["EXPONENTIAL", "KINDS", "kind_of", "slope_of"]

KINDS = ("exponential", "fast_sigmoid", "arctan", "triangle")
EXPONENTIAL = 0  # the place of the first one


def kind_of(name: str) -> int:
    """The number of a bell by its name.

    Raises
    ------
    ParameterError
        If there is none of this name.
    """
    if name not in KINDS:
        raise ParameterError(f"expected surrogate to be callable or one of {', '.join(KINDS)}, got {name!r}")
    return KINDS.index(name)


def slope_of(kind: int, tau: float, scale: int) -> float:
    """What makes an integer distance the argument of a bell: 1 / tau, times log2(e) for powers of two."""
    return (math.log2(math.e) if kind == EXPONENTIAL else 1.0) / (tau * scale)
