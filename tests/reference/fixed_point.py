"""The integer dynamics in plain NumPy, written from their equations in int64; slow, and independent of the library.

A state is an integer of 24 bits with sign, a decay one of 0..4096.  One step of a leaky state is
``z(state * (4096 - decay)) + trunc(scale * x)`` with ``z`` the shift right by 12 toward zero, held in the 24-bit range.
"""

import numpy as np

__all__ = ["LARGEST", "cuba", "delay", "leaky", "to_integer"]

LARGEST = 2**23 - 1  # of 24 bits with sign, the same on both sides


def shift_toward_zero(product):
    return np.sign(product) * (np.abs(product) >> 12)


def to_integer(x, scale):
    """``scale * x`` toward zero, held in the 24-bit range; NaN counts as its lower end."""
    with np.errstate(over="ignore"):
        scaled = np.asarray(x, np.float64) * scale
    scaled = np.where(np.isnan(scaled), -LARGEST, scaled)
    return np.trunc(np.clip(scaled, -LARGEST, LARGEST)).astype(np.int64)


def keep(decay):
    """What a decay leaves of 4096."""
    return 4096 - np.trunc(np.clip(np.nan_to_num(np.asarray(decay, np.float64)), 0, 4096)).astype(np.int64)


def limit(state):
    return np.clip(state, -LARGEST, LARGEST)


def leaky(x, decay, state, scale, level):
    """States before their reset.

    Parameters
    ----------
    x : array, shape (rows, T)
    decay, state : array, shape (rows,), or a number
    scale, level : int
        A state at ``level`` or above is set to 0 before it is next used; ``None`` for no reset.

    Returns
    -------
    array of int64, shape (rows, T)
    """
    y = np.zeros(x.shape, np.int64)
    left = np.broadcast_to(to_integer(state, scale), x.shape[:1])
    kept = np.broadcast_to(keep(decay), x.shape[:1])
    arriving = to_integer(x, scale)
    for t in range(x.shape[1]):
        y[:, t] = limit(shift_toward_zero(left * kept) + arriving[:, t])
        left = y[:, t] if level is None else np.where(y[:, t] >= level, 0, y[:, t])
    return y


def cuba(x, decay_c, decay_v, state_c, state_v, scale, level):
    """Current, and voltage before its reset; a neuron fires at ``voltage >= level``."""
    current = leaky(x, decay_c, state_c, scale, None)
    voltage = np.zeros(x.shape, np.int64)
    left = np.broadcast_to(to_integer(state_v, scale), x.shape[:1])
    kept = np.broadcast_to(keep(decay_v), x.shape[:1])
    for t in range(x.shape[1]):
        voltage[:, t] = limit(shift_toward_zero(left * kept) + current[:, t])
        left = voltage[:, t] if level is None else np.where(voltage[:, t] >= level, 0, voltage[:, t])
    return current, voltage


def delay(x, steps):
    """``x[r]`` moved ``steps[r]`` to the right, or to the left where that is negative; zeros follow."""
    y = np.zeros_like(x)
    for row, step in enumerate(steps):
        d = max(min(int(step), x.shape[1]), -x.shape[1])
        if d >= 0:
            y[row, d:] = x[row, : x.shape[1] - d]
        else:
            y[row, :d] = x[row, -d:]
    return y
