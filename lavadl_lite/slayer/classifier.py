"""Labels from spike trains by spike rate: over all time, or over a window that moves along it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ParameterError
from .utils.filter import FIR, conv

__all__ = ["MovingWindow", "Rate"]

_MODES = ("probability", "softmax", "logsoftmax")


class Rate(nn.Module):
    r"""Takes the neuron with the highest spike rate over all time; an instance is called like :meth:`predict`.

    .. math:: r_c = \frac 1 T \sum_t s_c[t]

    The methods are static: ``Rate.predict`` can be passed as a classifier without an instance.
    """

    def forward(self, spike: Tensor) -> Tensor:
        """Return the prediction; see :meth:`predict`."""
        return Rate.predict(spike)

    @staticmethod
    def rate(spike: Tensor) -> Tensor:
        """Mean over time.

        Parameters
        ----------
        spike : Tensor, shape (N, ..., T)
            Spikes; integers and booleans are taken as numbers of torch's default type.

        Returns
        -------
        Tensor, shape (N, ...)
            Spikes per step.
        """
        return torch.mean(floating(spike), dim=-1)

    @staticmethod
    def confidence(spike: Tensor, mode: str = "probability", eps: float = 1e-6) -> Tensor:
        """Score of each neuron.

        Parameters
        ----------
        spike : Tensor, shape (N, ..., T)
            Spikes.
        mode : str, optional
            ``"probability"``: the rate as a fraction of the sum of all; ``"softmax"``; ``"logsoftmax"``.
        eps : float, optional
            Added to the sum, so that a silent sample scores 0.

        Returns
        -------
        Tensor, shape (N, C)
            Scores, where ``C`` counts all neurons.

        Raises
        ------
        ParameterError
            If ``mode`` is unknown.
        """
        check_mode(mode)
        rate = Rate.rate(spike)
        return _score(rate.reshape(rate.shape[0], math.prod(rate.shape[1:])), mode, eps)

    @staticmethod
    def predict(spike: Tensor) -> Tensor:
        """Index of the neuron with the highest rate.

        Parameters
        ----------
        spike : Tensor, shape (N, ..., T)
            Spikes.

        Returns
        -------
        Tensor of int64, shape (N,)
            Indices into all neurons, flattened.
        """
        rate = Rate.rate(spike)
        return torch.max(rate.reshape(rate.shape[0], math.prod(rate.shape[1:])), dim=1).indices


class MovingWindow(nn.Module):
    r"""Takes, at every step, the neuron with the highest rate in the steps just before; called like :meth:`predict`.

    .. math:: r_c[t] = \frac 1 W \sum_{k=0}^{W-1} s_c[t - k]

    Parameters
    ----------
    time_window : int
        Steps :math:`W` of the window. Before the first step there are no spikes, so the first rates are low.
    mode : str, optional
        Score of :meth:`confidence`; see :meth:`Rate.confidence`.
    eps : float, optional
        Added to the sum of rates in mode ``"probability"``.

    Attributes
    ----------
    filter : FIR
        The window as a filter, for plots; :meth:`rate` takes only its length.

    Raises
    ------
    ParameterError
        If ``mode`` is unknown or the window is shorter than one step.
    """

    def __init__(self, time_window: int, mode: str = "probability", eps: float = 1e-6) -> None:
        super().__init__()
        if time_window < 1:
            raise ParameterError(f"expected a time_window of at least one step, got {time_window}")
        check_mode(mode)
        self.filter = FIR(fir_response=torch.ones(time_window) / time_window)
        self.mode = mode
        self.eps = eps

    def forward(self, spike: Tensor) -> Tensor:
        """Return the prediction; see :meth:`predict`."""
        return self.predict(spike)

    def rate(self, spike: Tensor) -> Tensor:
        """Mean over the window that ends at each step.

        Parameters
        ----------
        spike : Tensor, shape (N, ..., T)
            Spikes.

        Returns
        -------
        Tensor, shape (N, ..., T)
            Spikes per step. Equal counts give equal rates, as counts are exact sums of integers.
        """
        window = self.filter.filter
        return conv(spike, torch.ones_like(window)) / window.numel()

    def confidence(self, spike: Tensor, mode: str | None = None) -> Tensor:
        """Score of each neuron at each step.

        Parameters
        ----------
        spike : Tensor, shape (N, ..., T)
            Spikes.
        mode : str, optional
            As in :meth:`Rate.confidence`; that of the object if not given.

        Returns
        -------
        Tensor, shape (N, C, T)
            Scores, where ``C`` counts all neurons.

        Raises
        ------
        ParameterError
            If ``mode`` is unknown.
        """
        mode = self.mode if mode is None else mode
        check_mode(mode)
        rate = self.rate(spike)
        return _score(rate.reshape(rate.shape[0], math.prod(rate.shape[1:-1]), rate.shape[-1]), mode, self.eps)

    def predict(self, spike: Tensor) -> Tensor:
        """Index along axis 1 of the highest rate at each step.

        Parameters
        ----------
        spike : Tensor, shape (N, C, ..., T)
            Spikes.

        Returns
        -------
        Tensor of int64, shape (N, ..., T)
            Indices of channels.
        """
        return torch.argmax(self.rate(spike), dim=1)


def check_mode(mode: str) -> None:
    """Raise ParameterError unless ``mode`` names a score."""
    if mode not in _MODES:
        raise ParameterError(f"expected mode to be one of {_MODES}, got {mode!r}")


def floating(spike: Tensor) -> Tensor:
    """Return ``spike``, converted to torch's default type if it holds integers or booleans."""
    return spike if spike.is_floating_point() else spike.to(torch.get_default_dtype())


def _score(rate: Tensor, mode: str, eps: float) -> Tensor:
    """Scores along axis 1."""
    if mode == "probability":
        return rate / (torch.sum(rate, dim=1, keepdim=True) + eps)
    return F.softmax(rate, dim=1) if mode == "softmax" else F.log_softmax(rate, dim=1)
