"""The model that is differentiated, unrolled over time in float64 for torch's autograd: no gradient is written here.

Forward values are those of :mod:`.fixed_point`.  Rounding, limits and the reset pass gradients straight through, a
spike has the surrogate derivative of SLAYER (width ``tau``, height ``rho``), thresholds have none.
"""

import torch

from tests.reference import fixed_point

__all__ = ["alif", "cuba", "leaky"]


def straight_through(value, truth):
    """``truth``, with the derivatives of ``value``."""
    return truth.detach() + (value - value.detach())  # this order keeps the truth exact


def integrate(x, decay, state, truth, level):
    """One leaky state over time whose values are ``truth`` (before the reset), a multiple of 1 / scale."""
    held = straight_through(decay, decay.clamp(0, 4096).trunc())
    y = []
    for arriving, reached in zip(x.unbind(1), truth.unbind(1), strict=True):
        value = straight_through(state * (1 - held / 4096) + arriving, reached)
        y.append(value)
        fired = torch.zeros_like(value) if level is None else (reached >= level).to(value)
        state = value - (value * fired).detach()
    return torch.stack(y, 1) if y else x


def exact(integers, scale):
    return torch.from_numpy(integers.astype("float64") / scale)


def numbers(tensor):
    return tensor.detach().numpy()


def start(state, scale):
    return straight_through(state, exact(fixed_point.to_integer(numbers(state), scale), scale))


def leaky(x, decay, state, scale, level):
    """States before their reset; ``x`` (rows, T), ``decay`` and ``state`` (rows,) in float64, ``level`` an integer."""
    truth = fixed_point.leaky(*map(numbers, (x, decay, state)), scale, level)
    return integrate(x, decay, start(state, scale), exact(truth, scale), None if level is None else level / scale)


def spike(voltage, fired, centre, tau, rho, graded):
    """``fired``, or the voltage there where spikes are graded; autograd's slope is that of the surrogate's integral."""
    above = voltage - centre
    if graded:
        slope = rho * torch.where(above >= 0, above + tau, tau * torch.exp(above.clamp(max=0) / tau))
        return straight_through(slope, (voltage * fired).detach())
    # with a slope at 0 too, where a voltage may stand that equals its threshold
    upper, lower = 1 - torch.exp(-above.clamp(min=0) / tau), torch.exp(above.clamp(max=0) / tau) - 1
    slope = rho / 2 * torch.where(above >= 0, upper, lower)
    return straight_through(slope, fired)


def cuba(x, decay_c, decay_v, state_c, state_v, scale, threshold, tau, rho, graded=False):
    """Spikes, current and voltage before its reset, of neurons that fire strictly above ``threshold``."""
    level = round(threshold * scale) + 1
    arrays = map(numbers, (x, decay_c, decay_v, state_c, state_v))
    current, voltage = (exact(s, scale) for s in fixed_point.cuba(*arrays, scale, level))
    fired = (voltage >= level / scale).to(torch.float64)
    current = integrate(x, decay_c, start(state_c, scale), current, None)
    voltage = integrate(current, decay_v, start(state_v, scale), voltage, level / scale)
    return spike(voltage, fired, threshold + 0.01 / scale, tau, rho, graded), current, voltage


def alif(x, decays, states, scale, threshold, step, tau, rho, graded=False):
    """Spikes, current, voltage, threshold and refractory state of neurons that fire where the voltage reaches both.

    ``decays`` and ``states`` are of all four states; only those of current and voltage have gradients.
    """
    arrays = numbers(x), [numbers(d) for d in decays], [numbers(s) for s in states]
    truth = fixed_point.alif(*arrays, scale, threshold, step)
    current, voltage, level, refractory, *_ = (exact(s, scale) for s in truth)
    fired = (voltage >= level + refractory).to(torch.float64)
    current = integrate(x, decays[0], start(states[0], scale), current, None)
    voltage = integrate(current, decays[1], start(states[1], scale), voltage, None)
    return spike(voltage, fired, level + refractory, tau, rho, graded), current, voltage, level, refractory
