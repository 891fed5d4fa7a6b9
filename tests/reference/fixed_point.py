"""The integer dynamics in plain NumPy, written from their equations in int64; slow, and independent of the library.

A state is an integer of 24 bits with sign, a decay one of 0..4096.  One step of a leaky state is
``z(state * (4096 - decay)) + trunc(scale * x)`` with ``z`` the shift right by 12 toward zero, held in the 24-bit range.
"""

import numpy as np

__all__ = ["LARGEST", "adaptive_threshold", "alif", "cuba", "delay", "leaky", "to_integer"]

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
    return np.minimum(np.maximum(state, -LARGEST), LARGEST)


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


def adaptive_threshold(voltage, decay_th, decay_r, state_th, state_r, scale, base, rise, im=None, state_im=0):
    """Threshold and refractory state before each step's spike, and those that the last spike leaves behind.

    ``voltage`` fires at the sum of both; with ``im`` only where that has just become 0 or more.  ``base`` and ``rise``,
    like the voltage ``(rows, T)``, are real numbers that ``scale`` makes integers.
    """
    base, rise = to_integer(base, scale), to_integer(rise, scale)
    keep_th, keep_r = (np.broadcast_to(keep(d), voltage.shape[:1]) for d in (decay_th, decay_r))
    th, r = (np.broadcast_to(to_integer(s, scale), voltage.shape[:1]) for s in (state_th, state_r))
    voltage, before = to_integer(voltage, scale), to_integer(state_im, scale)
    imaginary = None if im is None else to_integer(im, scale)
    threshold, refractory = np.zeros(voltage.shape, np.int64), np.zeros(voltage.shape, np.int64)
    for t in range(voltage.shape[1]):
        r = refractory[:, t] = shift_toward_zero(r * keep_r)
        th = threshold[:, t] = shift_toward_zero((th - base) * keep_th) + base
        fired = voltage[:, t] >= th + r
        if im is not None:
            now = imaginary[:, t]
            fired, before = fired & (now >= 0) & (before < 0), now
        r, th = limit(r + 2 * th * fired), limit(th + rise * fired)
    return threshold, refractory, th, r


def alif(x, decays, states, scale, base, rise):
    """Current, voltage, threshold and refractory state, and the last two after the last spike.

    ``decays`` and ``states`` are of the current, the voltage, the threshold and the refractory state.
    """
    current = leaky(x, decays[0], states[0], scale, None)
    voltage = leaky(current / scale, decays[1], states[1], scale, None)
    return current, voltage, *adaptive_threshold(voltage / scale, *decays[2:], *states[2:], scale, base, rise)


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
