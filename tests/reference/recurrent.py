"""Layers with feedback in plain NumPy: the neurons of :mod:`.fixed_point` and :mod:`.resonators`, a step at a time."""

from types import SimpleNamespace

import numpy as np

from tests.reference import fixed_point, resonators

__all__ = ["layer"]


def layer(x, weights, decays, states, previous, scale, base, rise, rotating, phase, adaptive, graded=False):
    """What a layer sends, and its states.

    Parameters
    ----------
    x, weights : arrays, shape (parts, N, C, T) and (parts, C, C)
        Two parts where ``rotating``; a row of weights for each neuron that receives.
    decays : array, shape (2 or 4, C)
    states, previous : arrays, shape (2 or 4, N, C) and (N, C)
        What is there before the first step.
    scale, base, rise : int
        A state of 1.0, the level that fires, what a spike adds to it where ``adaptive``.

    Returns
    -------
    SimpleNamespace
        ``spikes`` (N, C, T); ``a`` and ``b``, the states before their reset, and the ``level`` that fires, in integers;
        ``fired``; ``ends``, a step's states after its reset, in integers, (T + 1, 2 or 4, N, C).
    """
    _, N, C, T = x.shape
    spread = [np.broadcast_to(decay, (N, C)).reshape(-1) for decay in decays]
    held = np.stack([fixed_point.to_integer(state, scale) for state in states]) if C * N else np.zeros_like(states)
    found = SimpleNamespace(
        **{name: np.zeros((N, C, T)) for name in ("spikes", "a", "b", "level", "fired")}, ends=[held]
    )
    for t in range(T):
        back = [(previous.astype(np.float64) @ weight.T.astype(np.float64)).astype(np.float32) for weight in weights]
        arriving = [(part[..., t] + sums).reshape(-1, 1) for part, sums in zip(x, back, strict=True)]
        now = [state.reshape(-1) / scale for state in held]
        level = np.full(N * C, base)
        if rotating:
            filled = (*now, base / scale, 0)[:4], (*spread, 0, 0)[:4]
            a, b, level, fired, held = resonators.neuron(
                *arriving, filled[1], filled[0], scale, base, rise, phase, adaptive
            )
            level, fired = level[:, 0], fired[:, 0]
        elif adaptive:
            a, b, threshold, refractory, th, r = fixed_point.alif(
                *arriving, spread, now, scale, base / scale, rise / scale
            )
            level = (threshold + refractory)[:, 0]
            fired = b[:, 0] >= level
            held = a[:, 0], b[:, 0], th, r
        else:
            a, b = fixed_point.cuba(*arriving, *spread, *now, scale, base)
            fired = b[:, 0] >= base
            held = a[:, 0], np.where(fired, 0, b[:, 0])
        value = (a if phase else b)[:, 0] / scale if graded else 1
        held = np.stack([np.broadcast_to(h, N * C).reshape(N, C) for h in held[: len(states)]])
        for name, values in (("a", a), ("b", b), ("level", level), ("fired", fired), ("spikes", fired * value)):
            getattr(found, name)[..., t] = values.reshape(N, C)
        previous = found.spikes[..., t].astype(np.float32)
        found.ends.append(held)
    return found
