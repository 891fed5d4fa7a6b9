"""The sigma decoder: adds up what arrives."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from ..neuron.dynamics import sigma
from ..utils.stream import AbstractStream

__all__ = ["Sigma"]


class Sigma(AbstractStream):
    r"""Sum over time of all messages, :math:`y[t] = y[t-1] + x[t]`.

    Parameters
    ----------
    persistent_state : bool
        Keep the sum between calls.

    Attributes
    ----------
    pre_state : Tensor
        Sum after the last call, a float64 buffer that is not part of the ``state_dict``.
    shape : torch.Size or None
        Spatial shape of the input, known from the first call or from :meth:`materialize`.
    """

    states: ClassVar[dict[str, torch.dtype]] = {"pre_state": torch.float64}
    pre_state: Tensor

    def __init__(self, persistent_state: bool = False) -> None:
        super().__init__(persistent_state)

    def extra_repr(self) -> str:
        return f"persistent_state={self.persistent_state}"

    @property
    def device_params(self) -> dict[str, Any]:
        """What marks a layer whose output is summed, in the exchange format."""
        return {"type": "SDNN", "sigma_output": True}

    def forward(self, input: Tensor) -> Tensor:
        """Add up ``input``.

        Parameters
        ----------
        input : Tensor, shape (N, C, ..., T)

        Returns
        -------
        Tensor, shape of ``input``

        Raises
        ------
        ParameterError
            If ``input`` is not of a floating-point type.
        ShapeError
            If it has fewer than 3 dimensions or another spatial shape than before.
        """
        x = self._ready(input)
        y, state = sigma.dynamics(x, self.pre_state if self.persistent_state else None)
        if self.persistent_state:
            self.pre_state = state
        return y.to(input.dtype)
