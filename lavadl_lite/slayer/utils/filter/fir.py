"""Finite impulse responses as modules: a fixed one, and a bank of learnable ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ....errors import ParameterError, ShapeError
from .conv import conv

__all__ = ["FIR", "FIRBank"]


class FIR(nn.Module):
    """Causal filter with a fixed response; :class:`FIRBank` learns.

    Parameters
    ----------
    fir_response : array_like, optional
        Response to an impulse, one value per step. The default is ``exp(-k / time_constant)`` for ``k`` in
        ``0..length - 1``, not normalised.
    time_constant : float, optional
        Steps in which the default response falls to ``1 / e``.
    length : int, optional
        Steps of the default response.
    sampling_time : float, optional
        Length of a step; multiplies the output.

    Attributes
    ----------
    filter : Tensor of float32
        The response, a buffer of the ``state_dict``.
    """

    filter: Tensor

    def __init__(
        self,
        fir_response: Sequence[float] | np.ndarray | Tensor | None = None,
        time_constant: float = 1,
        length: int = 20,
        sampling_time: float = 1,
    ) -> None:
        super().__init__()
        if fir_response is None:
            fir_response = np.exp(-np.arange(length) / time_constant)
        self.register_buffer("filter", torch.as_tensor(fir_response).detach().to(torch.float32, copy=True))
        self.sampling_time = sampling_time

    def forward(self, input: Tensor) -> Tensor:
        """Filter ``input`` (..., T) along time; see :func:`.conv`."""
        return conv(input, self.filter, self.sampling_time)

    def extra_repr(self) -> str:
        return f"taps={self.filter.numel()}, sampling_time={self.sampling_time}"


class FIRBank(nn.Module):
    """Several learnable causal filters, all applied to every channel.

    Parameters
    ----------
    num_filter : int
        Number of filters.
    filter_length : float
        Length of the filters in time; they have ``filter_length / sampling_time`` taps, rounded down.
    sampling_time : float, optional
        Length of a step; multiplies the output.
    scale : float, optional
        Factor on the initial weights, which torch's convolutions would start with.

    Attributes
    ----------
    weight : Parameter, shape (num_filter, 1, 1, 1, taps)
        The responses, last tap first.

    Raises
    ------
    ParameterError
        If there would be no filter or no tap.
    """

    def __init__(self, num_filter: int, filter_length: float, sampling_time: float = 1, scale: float = 1) -> None:
        super().__init__()
        taps = math.floor(filter_length / sampling_time * (1 + 1e-12))  # 0.3 / 0.1 is just below 3
        if num_filter < 1 or taps < 1:
            what = f"{num_filter=}, {filter_length=}, {sampling_time=}"
            raise ParameterError(f"expected at least one filter of at least one step, got {what}")
        self.sampling_time = sampling_time
        self.weight = nn.Parameter(torch.empty(num_filter, 1, 1, 1, taps))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        with torch.no_grad():
            self.weight.mul_(scale)

    def forward(self, input: Tensor) -> Tensor:
        """Filter every channel with every filter.

        Parameters
        ----------
        input : Tensor, shape (N, C, ..., T)
            Signals.

        Returns
        -------
        Tensor, shape (N, num_filter * C, ..., T)
            Channel ``f * C + c`` is channel ``c`` through filter ``f``.

        Raises
        ------
        ShapeError
            If ``input`` has fewer than three axes.
        """
        if input.dim() < 3:
            raise ShapeError(f"expected input (N, C, ..., T), got {tuple(input.shape)}")
        responses = self.weight.flatten(1).flip(-1)
        return torch.cat([conv(input, response, self.sampling_time) for response in responses], dim=1)

    @property
    def num_filter(self) -> int:
        """Number of filters."""
        return self.weight.shape[0]

    @property
    def filter_length(self) -> int:
        """Number of taps of a filter."""
        return self.weight.shape[-1]

    @property
    def impulse_response(self) -> np.ndarray:
        """Response of each filter to an impulse, shape (num_filter, taps), first tap first; a copy."""
        return self.weight.detach().flatten(1).flip(-1).cpu().numpy()

    def extra_repr(self) -> str:
        return f"num_filter={self.num_filter}, filter_length={self.filter_length}, sampling_time={self.sampling_time}"
