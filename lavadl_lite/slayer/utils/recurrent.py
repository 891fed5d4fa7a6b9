"""Recurrence around a neuron and a synapse that the caller holds; blocks have their own."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...errors import ShapeError
from ..neuron.dynamics import recurrent

__all__ = ["custom_recurrent"]


def custom_recurrent(z: Any, neuron: Any, recurrent_synapse: Any) -> Tensor:
    """Spikes of neurons that hear, beside ``z``, their own spikes of the step before.

    Parameters
    ----------
    z : Tensor, or (Tensor, Tensor) for a complex neuron, shape (N, C, T)
        Weighted sums of what comes from outside.
    neuron : AbstractNeuron
        With or without persistent state, which tells where its states begin.
    recurrent_synapse : synapse.Dense, or synapse.complex.Dense for a complex neuron
        From C to C; its effective weight is applied, quantised where it has a ``pre_hook_fx``.

    Returns
    -------
    Tensor, shape (N, C, T)

    Raises
    ------
    ShapeError
        If the synapse does not lead from C to C.
    """
    first = z[0] if neuron.complex else z
    sizes = recurrent_synapse.in_channels, recurrent_synapse.out_channels
    if first.dim() != 3 or sizes != (first.shape[1],) * 2:
        raise ShapeError(f"expected z (N, C, T) and a synapse from C to C, got {tuple(first.shape)} and {sizes}")
    weight = recurrent_synapse.effective_weight()
    feedback = tuple(part.flatten(1) for part in weight) if neuron.complex else weight.flatten(1)
    return recurrent.spikes(neuron, z, feedback)
