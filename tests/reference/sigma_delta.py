"""Sigma and delta in plain NumPy, and the model that is differentiated in float64; slow, independent of the library.

Their arithmetic is that of floating point: a sum in float64 rounded to float32 at each step, differences in float32.
"""

import numpy as np
import torch

__all__ = ["ACTIVATIONS", "LINES", "delta", "delta_model", "sigma", "sigma_delta"]

LARGEST = 2**23 - 1  # of the 24 bits that a message has
# float32 in, float32 out; NaN stays
ACTIVATIONS = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, np.float32(0)),
    "relu6": lambda x: np.clip(x, np.float32(0), np.float32(6)),
    "hardtanh": lambda x: np.clip(x, np.float32(-1), np.float32(1)),
    "leaky_relu": lambda x: np.where(x > 0, x, x * np.float32(0.01)),
}
# the kernel's way to say the same: smallest value, largest one (NaN: none), slope below the smallest
LINES = {
    "identity": (np.nan, np.nan, 0.0),
    "relu": (0.0, np.nan, 0.0),
    "relu6": (0.0, 6.0, 0.0),
    "hardtanh": (-1.0, 1.0, 0.0),
    "leaky_relu": (0.0, np.nan, 0.01),
}


def sigma(x, state=0.0):
    """Running sums of ``x`` (rows, T), float32, and the float64 that each row ends with."""
    total = np.broadcast_to(np.asarray(state, np.float64), x.shape[:1]).copy()
    y = np.zeros_like(x)
    with np.errstate(invalid="ignore", over="ignore"):
        for t in range(x.shape[1]):
            total = total + x[:, t]
            y[:, t] = total
    return y, total


def delta(x, threshold, states, scale, cumulative=False, carry=False):
    """Messages, the differences that they were made from, and the three states after the last step.

    Parameters
    ----------
    x : array of float32, shape (rows, T)
        Held inside the 24 bits of ``scale``; NaN counts as the lower end.
    threshold : array of float32, shape (rows,)
    states : array of float32, shape (3, rows)
        The last input, the residual and the cumulative error before the first step.
    scale : int
        A message is a multiple of ``1 / scale``, rounded down.
    cumulative : bool
        Compare the sum of the differences since the last message, not the difference.
    carry : bool
        Put what the rounding took back into the residual.
    """
    last, residual, error = (s.astype(np.float32) for s in states)
    limit = np.float32(LARGEST / scale)
    message, difference = np.zeros_like(x), np.zeros_like(x)
    for t in range(x.shape[1]):
        arrived = np.clip(np.where(np.isnan(x[:, t]), -limit, x[:, t]), -limit, limit)
        d = arrived - last + residual
        error = error + d if cumulative else error
        sent = np.where(np.abs(error if cumulative else d) >= threshold, d, np.float32(0))
        rounded = (np.floor(sent.astype(np.float64) * scale) / scale).astype(np.float32)
        error = np.where(cumulative & (sent != 0), np.float32(0), error)
        residual = d - (rounded if carry else sent)
        last = arrived
        message[:, t], difference[:, t] = rounded, d
    return message, difference, np.stack([last, residual, error])


def sigma_delta(x, activation, bias, threshold, start, states, scale, cumulative=False, carry=False):
    """The sum, a bias (rows,), an activation by its name and the encoder in a row: what ``delta`` gives, and the sums.

    ``start`` is the sum before the first step.
    """
    totals, end = sigma(x, start)
    with np.errstate(invalid="ignore", over="ignore"):
        activated = ACTIVATIONS[activation](totals + np.asarray(bias, np.float32)[:, None])
    return *delta(activated, threshold, states, scale, cumulative, carry), end


def delta_model(x, threshold, start, message, difference, tau, rho):
    """``message`` with the derivatives of the model, all float64 tensors of shape (rows, T); ``start`` is (rows,).

    By the input: those of ``x[t] - x[t - 1]``, whatever was sent; ``start`` is the input before the first step.  By the
    threshold, of a difference ``d``: ``-d rho exp(-(|d| - threshold) / tau) / threshold`` above it, else ``-sign(d)``.
    """
    through = torch.diff(x, dim=1, prepend=start[:, None])
    level = threshold
    # the antiderivative by the threshold of exp((threshold - |d|) / tau), its 1 / threshold held as it is
    over = difference.abs() - level
    bump = -difference * rho / level.detach() * tau * torch.exp(-over.clamp(min=0) / tau)
    below = -torch.sign(difference) * level
    surrogate = torch.where(over > 0, bump, below)
    return (message + (through - through.detach()) + (surrogate - surrogate.detach())).to(torch.float64)
