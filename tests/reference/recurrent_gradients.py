"""The differentiated model of layers with feedback, unrolled in float64 for autograd; values of :mod:`.recurrent`."""

import torch

from tests.reference.gradients import exact, numbers, straight_through
from tests.reference.recurrent import layer
from tests.reference.resonator_gradients import slopes

__all__ = ["spikes"]


def spikes(x, weights, decays, states, previous, scale, base, rise, family, tau, rho, graded, centre=0.0):
    """Spikes (N, C, T) of float64 ``x`` (parts, N, C, T), ``weights`` (parts, C, C) and whole ``decays`` (2 or 4, C).

    Gradients go through both parts of the state, which a reset does not change, and from each step's spikes into the
    next step's input.  The surrogate of what has no phase is centred at ``base / scale - centre``.
    """
    rotating, phase, _ = family
    arrays = [numbers(v).astype("float32") for v in (x, weights, decays)]
    truth = layer(*arrays, numbers(states), numbers(previous), scale, base, rise, *family, graded)
    values = {name: exact(getattr(truth, name), scale) for name in ("a", "b", "level")}
    first, second = decays[0] / 4096, decays[1] / 4096
    ends = [exact(end, scale) for end in truth.ends]
    a, b = ends[0][0], ends[0][1]
    sent, back = [], previous.double()
    for t in range(x.shape[-1]):
        arriving = [part[..., t] + back @ weight.T for part, weight in zip(x, weights, strict=True)]
        now = {name: value[..., t] for name, value in values.items()}
        if rotating:
            next_a, next_b = second * a - first * b + arriving[0], first * a + second * b + arriving[1]
            a, b = straight_through(next_a, now["a"]), straight_through(next_b, now["b"])
        else:
            a = straight_through(a * (1 - first) + arriving[0], now["a"])
            b = straight_through(b * (1 - second) + a, now["b"])
        by_a, by_b = slopes(now["a"], now["b"], now["level"] - centre, tau, rho, phase, graded)
        back = straight_through(by_a * a + by_b * b, torch.from_numpy(truth.spikes[..., t]))
        sent.append(back)
        a, b = (straight_through(part, end) for part, end in zip((a, b), ends[t + 1][:2], strict=True))
    return torch.stack(sent, -1) if sent else x[0]
