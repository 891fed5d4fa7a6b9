"""Stand-ins for the derivative of a spike: bells of height 1 over the distance to the threshold; nothing else."""

from __future__ import annotations

import numpy as np

from .cpu import step
from .fixed_point import exp2_minus
from .kinds import KINDS
from .vec import absolute, multiply_add, select

__all__ = ["bell", "spike_slopes"]

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


@step
def spike_slopes(real, imag, level, slope, height_r, height_i, phase, graded, kind):
    """Derivatives of the spike by the real and by the imaginary part.

    Without ``phase``, ``height_i`` times a bell over the imaginary part's distance to the level, in ``1 / slope``.
    With it, a product of bells over the phase and over the real part; the imaginary derivative has a sigmoid step over
    the real part in place of its bell.  A graded spike is flat above the level.
    """
    zero = real - real
    one = zero + np.float32(1)
    if phase:
        distance = (real - level) * slope
        near = bell(absolute(distance), kind)
        around = bell(absolute(imag * slope), kind)
        half = np.float32(0.5) * near
        passed = select(distance < zero, half, one - half)
        if graded:
            near = select(distance < zero, near, one)
        side = select(imag > zero, passed, select(imag < zero, zero - passed, zero))
        return height_r * around * near, height_i * around * side
    distance = (imag - level) * slope
    if graded:
        distance = select(distance < zero, zero - distance, zero)
    return zero, height_i * bell(absolute(distance), kind)
