"""The differentiated model of complex neurons, unrolled in float64 for autograd; values of :mod:`.resonators`."""

import torch

from tests.reference import resonators
from tests.reference.gradients import exact, numbers, start, straight_through

__all__ = ["neuron", "resonator", "slopes"]


def rotate(x_real, x_imag, sin, cos, state_real, state_imag, truth, level, rest):
    """The rotation over time whose values are ``truth`` before the reset, which passes gradients straight through."""
    s, c = (
        straight_through(d, torch.from_numpy(resonators.factor(numbers(d)).astype("float64"))) / 4096
        for d in (sin, cos)
    )
    a, b, real, imag = state_real, state_imag, [], []
    for t in range(x_real.shape[1]):
        next_a = straight_through(c * a - s * b + x_real[:, t], truth[0][:, t])
        next_b = straight_through(s * a + c * b + x_imag[:, t], truth[1][:, t])
        real.append(next_a)
        imag.append(next_b)
        a, b = next_a, next_b
        if level is not None:
            reset = next_b.detach() >= level
            a = straight_through(a, torch.where(reset, 0.0, a.detach()))
            b = straight_through(b, torch.where(reset, rest, b.detach()))
    return torch.stack(real, 1), torch.stack(imag, 1)


def resonator(x_real, x_imag, sin, cos, state_real, state_imag, scale, level=None, rest=0):
    """Real and imaginary part, to be differentiated by autograd."""
    arrays = map(numbers, (x_real, x_imag, sin, cos, state_real, state_imag))
    real, imag, *_ = resonators.resonator(*arrays, scale, level, rest)
    states = start(state_real, scale), start(state_imag, scale)
    level, rest = (None, 0) if level is None else (level / scale, rest / scale)
    return rotate(x_real, x_imag, sin, cos, *states, (exact(real, scale), exact(imag, scale)), level, rest)


def slopes(real, imag, level, tau, rho, phase, graded):
    """The stated derivatives of a spike by the real and by the imaginary part."""
    if not phase:
        above = imag - level
        slope = rho * torch.exp(above.clamp(max=0) / tau) if graded else rho / (2 * tau) * torch.exp(-above.abs() / tau)
        return torch.zeros_like(slope), slope
    above = real - level
    bell, around = torch.exp(-above.abs() / tau) / (2 * tau), torch.exp(-imag.abs() / tau) / (2 * tau)
    passed = (1 + torch.sign(above) * (1 - 2 * tau * bell)) / 2
    if graded:
        bell = torch.exp(above.clamp(max=0) / tau)
    return rho * bell * around, -rho / tau * torch.sign(imag) * around * passed


def neuron(x_real, x_imag, decays, states, scale, base, jump, phase, adaptive, tau, rho, graded):
    """Spikes, to be differentiated by autograd; decays and states of the threshold have no gradient."""
    arrays = [numbers(x) for x in (x_real, x_imag)]
    truth = resonators.neuron(
        *arrays, [numbers(d) for d in decays], [numbers(s) for s in states], scale, base, jump, phase, adaptive
    )
    real, imag, level = (exact(s, scale) for s in truth[:3])
    fired = torch.from_numpy(truth[3].astype("float64"))
    reset = (None, 0) if phase or adaptive else (base / scale, (base - 1) / scale)
    begun = [start(s, scale).detach() for s in states[:2]]
    a, b = rotate(x_real, x_imag, *decays[:2], *begun, (real, imag), *reset)
    by_a, by_b = slopes(real, imag, level, tau, rho, phase, graded)
    value = fired * (real if phase else imag) if graded else fired
    return straight_through(by_a * a + by_b * b, value)
