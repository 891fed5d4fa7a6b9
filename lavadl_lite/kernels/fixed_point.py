"""The arithmetic of the hardware: 12-bit decays, 24-bit states, rounding toward zero.

Every function is a step (see :mod:`.vec`): it acts on 16 neurons in registers, on CPU scalars and on a CUDA lane alike.
"""

from __future__ import annotations

import numpy as np

from .cpu import step
from .vec import bits_to_float, bits_to_int, int32, multiply_add, multiply_short, select, to_int

__all__ = [
    "DECAY_BITS",
    "DECAY_ONE",
    "NEVER",
    "STATE_MAX",
    "decay_state",
    "exp2_minus",
    "limit_state",
    "to_factor",
    "to_fixed",
    "to_keep",
]

DECAY_BITS = 12
DECAY_ONE = 1 << DECAY_BITS  # a decay of 1.0
STATE_MAX = (1 << 23) - 1  # the hardware keeps 24 bits with sign; float32 carries every such integer exactly
NEVER = (1 << 31) - 1  # a firing level that no state reaches

_LOW_BITS = np.int32(DECAY_ONE - 1)
_SHIFT = np.int32(DECAY_BITS)
_SIGN = np.int32(31)
_TOP = np.int32(STATE_MAX)
_BOTTOM = np.int32(-STATE_MAX)
_TOP_FLOAT = np.float32(STATE_MAX)
_BOTTOM_FLOAT = np.float32(-STATE_MAX)
_ONE_FLOAT = np.float32(DECAY_ONE)
_ZERO_FLOAT = np.float32(0.0)


@step
def decay_state(state, keep):
    """``state * keep / 4096`` rounded toward zero, exact for states in -2**27..2**27 - 1 and ``keep`` in 0..4096.

    With ``state = 4096 * high + low`` and ``0 <= low < 4096`` the quotient's floor is
    ``high * keep + (low * keep >> 12)``, all factors in 16 bits.  4095 more under a negative state make it truncation.
    """
    toward_zero = int32(int32(state >> _SIGN) & _LOW_BITS)
    high = multiply_short(int32(state >> _SHIFT), keep)
    low = int32(multiply_short(int32(state & _LOW_BITS), keep) + toward_zero)
    return int32(high + int32(low >> _SHIFT))


@step
def limit_state(state):
    """``state`` held inside the 24-bit range, on both sides alike."""
    state = select(state < _TOP, state, _TOP)
    return select(state > _BOTTOM, state, _BOTTOM)


@step
def to_fixed(x, scale):
    """``x * scale`` toward zero as an integer inside the 24-bit range; NaN becomes the lower end."""
    scaled = x * scale
    scaled = select(scaled > _BOTTOM_FLOAT, scaled, _BOTTOM_FLOAT)
    scaled = select(scaled < _TOP_FLOAT, scaled, _TOP_FLOAT)
    return to_int(scaled)


@step
def to_factor(decay):
    """A factor of a rotation, ``trunc(decay)`` held in 0..4096 (NaN counts as 0)."""
    decay = select(decay > _ZERO_FLOAT, decay, _ZERO_FLOAT)
    decay = select(decay < _ONE_FLOAT, decay, _ONE_FLOAT)
    return to_int(decay)


@step
def to_keep(decay):
    """What a decay leaves, ``4096 - trunc(decay)`` with the decay held in 0..4096 (NaN counts as 0)."""
    return int32(np.int32(DECAY_ONE) - to_factor(decay))


@step
def exp2_minus(z):
    """``2 ** -z`` for ``z >= 0``, constant from 64 on; relative error below 1e-7.

    The nearest integer goes into the exponent's bits, the rest in [-1/2, 1/2] through a polynomial of degree six
    (Chebyshev fit of ``2 ** f``).
    """
    z = select(z < np.float32(64.0), z, np.float32(64.0))
    magic = np.float32(12582912.0)  # 1.5 * 2**23: the low bits of the sum are the nearest integer
    shifted = z + magic
    f = (shifted - magic) - z
    p = multiply_add(f, np.float32(0.00015353372), np.float32(0.0013398874))
    p = multiply_add(p, f, np.float32(0.009618437))
    p = multiply_add(p, f, np.float32(0.055503324))
    p = multiply_add(p, f, np.float32(0.24022648))
    p = multiply_add(p, f, np.float32(0.6931472))
    p = multiply_add(p, f, np.float32(1.0))
    return bits_to_float(int32(bits_to_int(p) - int32(bits_to_int(shifted) << np.int32(23))))
