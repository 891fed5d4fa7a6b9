"""Stand-ins for the derivative of a spike: bells of height 1 over the distance to the threshold; nothing else."""

from __future__ import annotations

import numpy as np

from .cpu import step
from .fixed_point import exp2_minus
from .kinds import KINDS
from .vec import multiply_add, select

__all__ = ["bell"]

_EXPONENTIAL, _FAST_SIGMOID, _ARCTAN, _TRIANGLE = range(len(KINDS))


@step
def bell(distance, kind):
    """Height over ``distance >= 0``, in units of ``tau``: ``2 ** -d``, ``1 / (1 + d) ** 2``, ``1 / (1 + d ** 2)``, or
    ``1 - d`` and 0 from 1 on.
    """
    if kind == _EXPONENTIAL:
        return exp2_minus(distance)
    zero = distance - distance
    one = zero + np.float32(1)
    if kind == _FAST_SIGMOID:
        under = one + distance
        return one / (under * under)
    if kind == _ARCTAN:
        return one / multiply_add(distance, distance, one)
    return select(distance < one, one - distance, zero)
