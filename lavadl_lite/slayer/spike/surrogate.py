"""Shapes of surrogate derivatives in torch operations, by name or as a callable; kernels have their own."""

from collections.abc import Callable

import torch
from torch import Tensor

from ...kernels.kinds import KINDS, kind_of

__all__ = ["KINDS", "bell", "check"]

Shape = str | Callable[[Tensor], Tensor]

_BELLS: dict[str, Callable[[Tensor], Tensor]] = {
    "exponential": lambda distance: torch.exp(-distance.abs()),
    "fast_sigmoid": lambda distance: 1 / (1 + distance.abs()) ** 2,
    "arctan": lambda distance: 1 / (1 + distance**2),
    "triangle": lambda distance: (1 - distance.abs()).clamp(min=0),
}


def check(surrogate: Shape) -> None:
    """Refuse what is neither callable nor a name.

    Raises
    ------
    ParameterError
        With the names that there are.
    """
    if not callable(surrogate):
        kind_of(surrogate)


def bell(distance: Tensor, surrogate: Shape = "exponential") -> Tensor:
    r"""Height of a surrogate over the distance :math:`d = (v - \vartheta) / \tau` to the threshold.

    Parameters
    ----------
    distance : Tensor
        Below 0 where no spike was sent.
    surrogate : str or callable
        ``"exponential"``, :math:`e^{-|d|}`; ``"fast_sigmoid"``, :math:`1 / (1 + |d|)^2`; ``"arctan"``,
        :math:`1 / (1 + d^2)`; ``"triangle"``, :math:`\max(1 - |d|, 0)`; or a function of ``distance`` in torch
        operations.

    Returns
    -------
    Tensor, shape of ``distance``
        1 at the threshold, for the names.

    Raises
    ------
    ParameterError
        For a name that is not one of these.

    References
    ----------
    .. [1] Shrestha and Orchard, "SLAYER: Spike Layer Error Reassignment in Time", NeurIPS 2018.
    .. [2] Zenke and Ganguli, "SuperSpike", Neural Computation 30(6), 2018.
    .. [3] Fang et al., "Incorporating learnable membrane time constant", ICCV 2021.
    .. [4] Bellec et al., "Long short-term memory and learning-to-learn in networks of spiking neurons", NeurIPS 2018.
    """
    check(surrogate)
    return surrogate(distance) if callable(surrogate) else _BELLS[surrogate](distance)
