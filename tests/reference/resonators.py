"""Complex neurons in plain NumPy integers, written from their equations.

One step turns a state of 24-bit integers by factors of 0..4096, each of four products rounded toward zero by itself.
"""

import numpy as np

from tests.reference.fixed_point import adaptive_threshold, limit, shift_toward_zero, to_integer

__all__ = ["factor", "neuron", "resonator"]


def factor(decay):
    return np.trunc(np.clip(np.nan_to_num(np.asarray(decay, np.float64)), 0, 4096)).astype(np.int64)


def resonator(x_real, x_imag, sin, cos, state_real, state_imag, scale, level=None, rest=0):
    """Real and imaginary part before their reset, and after the last one.

    A step whose imaginary part reaches the integer ``level`` leaves 0 and ``rest`` behind.
    """
    rows = x_real.shape[:1]
    s, c = (np.broadcast_to(factor(d), rows) for d in (sin, cos))
    by_real, by_imag = np.stack([c, s]), np.stack([-s, c])
    a, b = (np.broadcast_to(to_integer(state, scale), rows) for state in (state_real, state_imag))
    arriving = np.stack([to_integer(x_real, scale), to_integer(x_imag, scale)])
    turned = np.zeros(arriving.shape, np.int64)
    for t in range(x_real.shape[1]):
        turned[..., t] = limit(shift_toward_zero(by_real * a) + shift_toward_zero(by_imag * b) + arriving[..., t])
        a, b = turned[..., t]
        if level is not None:
            reset = b >= level
            a, b = np.where(reset, 0, a), np.where(reset, rest, b)
    return *turned, a, b


def neuron(x_real, x_imag, decays, states, scale, base, jump, phase, adaptive):
    """``(real, imag, level, fired, final)``; all integers, ``level`` what is reached before a step's own spike.

    ``decays`` are sine, cosine, threshold's and refractory's; ``states`` and ``final`` real, imaginary, threshold,
    refractory.  ``base`` and ``jump`` are integers.
    """
    reset = None if phase or adaptive else base
    real, imag, a, b = resonator(x_real, x_imag, *decays[:2], *states[:2], scale, reset, base - 1)
    level, th, r = np.full(real.shape, base), base, 0
    if adaptive:
        value = real if phase else imag
        crossing = {"im": imag / scale, "state_im": states[1]} if phase else {}
        threshold, refractory, th, r = adaptive_threshold(
            value / scale, *decays[2:], *states[2:], scale, base / scale, jump / scale, **crossing
        )
        level = threshold + refractory
    fired = imag >= level
    if phase:
        before = np.concatenate([np.broadcast_to(to_integer(states[1], scale), imag.shape[:1])[:, None], imag], 1)
        fired = (real >= level) & (imag >= 0) & (before[:, :-1] < 0)
    return real, imag, level, fired, (a, b, th, r)
