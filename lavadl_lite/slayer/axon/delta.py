"""The delta encoder: sends changes that reach a threshold."""

import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ... import kernels
from ...errors import ParameterError, ShapeError
from ..neuron.dynamics import delta
from ..utils.stream import AbstractStream

__all__ = ["Delta"]


class Delta(AbstractStream):
    r"""Sends by how much its input has changed since it last sent, once that reaches a threshold.

    .. math::
        \Delta[t] &= x[t] - x[t-1] + r[t-1] \\
        s[t] &= \Delta[t]\,[\,|\Delta[t]| \ge \vartheta\,] \\
        y[t] &= \lfloor S\,s[t] \rfloor / S \\
        r[t] &= \Delta[t] - s[t]

    Rounding down takes up to :math:`1/S` from every message, always in the same direction, so that
    :class:`~lavadl_lite.slayer.dendrite.Sigma` drifts below the input.  It is what the chip does.  With
    ``carry_rounding`` the residual keeps what was taken, :math:`r[t] = \Delta[t] - y[t]`, and nothing drifts.

    Parameters
    ----------
    threshold : float or array of shape (C,)
        Smallest change :math:`\vartheta` that is sent; held at ``1 / scale`` or more.
    scale : int
        Integer :math:`S` that stands for a message of 1.0, a power of two.
    tau_grad, scale_grad : float
        Width (above 0) and height of the surrogate derivative by the threshold, see
        :func:`~lavadl_lite.slayer.neuron.dynamics.delta.dynamics`.
    cum_error : bool
        Compare the sum of the differences since the last message with the threshold, not the difference.
    shared_param : bool
        One threshold for all, or one for each channel.
    persistent_state : bool
        Keep the state between calls.
    requires_grad : bool
        Train the threshold.
    carry_rounding : bool
        Put what rounding took from a message back into the residual.  A network on the chip does not.

    Attributes
    ----------
    threshold : Parameter, shape (1,), or (C,) where channels have their own
    pre_state, residual_state, error_state : Tensor
        Last input, residual and cumulative error after the last call; buffers that are not part of the ``state_dict``.
    shape : torch.Size or None
        Spatial shape of the input, known from the first call or from :meth:`materialize`.

    Raises
    ------
    ParameterError
        For an argument outside its range.
    """

    states: ClassVar[dict[str, torch.dtype]] = dict.fromkeys(
        ("pre_state", "residual_state", "error_state"), torch.float32
    )
    pre_state: Tensor
    residual_state: Tensor
    error_state: Tensor

    def __init__(
        self,
        threshold: float | np.ndarray | Tensor,
        scale: int = 1 << 6,
        tau_grad: float = 1,
        scale_grad: float = 1,
        cum_error: bool = False,
        shared_param: bool = True,
        persistent_state: bool = False,
        requires_grad: bool = False,
        *,
        carry_rounding: bool = False,
    ) -> None:
        super().__init__(persistent_state)
        self.scale = kernels.launch.power_of_two(scale, "scale")
        if not 0 < tau_grad < math.inf:
            raise ParameterError(f"expected tau_grad above 0, got {tau_grad}")
        if not -math.inf < scale_grad < math.inf:
            raise ParameterError(f"expected a finite scale_grad, got {scale_grad}")
        self.tau_grad = tau_grad
        self.scale_grad = scale_grad
        self.cum_error = bool(cum_error)
        self.carry_rounding = bool(carry_rounding)
        start = _thresholds(threshold)
        self.shared_param = bool(shared_param) and len(start) == 1
        self.requires_grad = bool(requires_grad)
        self.threshold = torch.nn.Parameter(start, requires_grad=self.requires_grad)

    def extra_repr(self) -> str:
        return (
            f"scale={self.scale}, cum_error={self.cum_error}, shared_param={self.shared_param}, "
            f"persistent_state={self.persistent_state}, requires_grad={self.requires_grad}, "
            f"carry_rounding={self.carry_rounding}"
        )

    @property
    def device(self) -> torch.device:
        """Device of the threshold."""
        return self.threshold.device

    def clamp(self) -> None:
        """Hold the threshold at ``1 / scale`` or more."""
        # .data: an earlier call may still be waiting for its backward, which this does not disturb
        self.threshold.data.clamp_(1 / self.scale)

    def materialize(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Fix the spatial shape ``(C,)`` or ``(C, H, W)``, give each channel its threshold; returns the same shape.

        Raises
        ------
        ShapeError
            If the shape is empty or the thresholds were made for another number of channels.
        """
        held = self.threshold
        if shape and len(held) not in (1, shape[0]):
            raise ShapeError(f"expected {len(held)} channels as in threshold, got a spatial shape {tuple(shape)}")
        shape = super().materialize(shape)
        if not self.shared_param and len(held) == 1:
            with torch.inference_mode(False):  # what is made has to train later
                held.data = held.data.expand(shape[0]).clone()
        return shape

    def forward(self, input: Tensor) -> Tensor:
        """Encode ``input``.

        Parameters
        ----------
        input : Tensor, shape (N, C, ..., T)

        Returns
        -------
        Tensor, shape of ``input``
            Messages, multiples of ``1 / scale``; 0 where nothing is sent.

        Raises
        ------
        ParameterError
            If ``input`` is not of a floating-point type.
        ShapeError
            If it has fewer than 3 dimensions or another spatial shape than before.
        """
        x = self._ready(input)
        self.clamp()
        states = (self.pre_state, self.residual_state, self.error_state) if self.persistent_state else ()
        y, *final = delta.dynamics(
            x, self.threshold, self.scale, self.tau_grad, self.scale_grad, self.cum_error, self.carry_rounding, *states
        )
        if self.persistent_state:
            self.pre_state, self.residual_state, self.error_state = final
        return y.to(input.dtype)

    @torch.inference_mode(False)  # a later call may train
    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take thresholds of any number of channels, also in lava-dl's shape (C, 1, ...)."""
        key = prefix + "threshold"
        loaded = state_dict.get(key)
        if loaded is not None:
            loaded = state_dict[key] = loaded.reshape(-1)
            if self.shape is None and loaded.shape != self.threshold.shape:
                self.threshold.data = self.threshold.data.new_zeros(loaded.shape)
                self.shared_param = self.shared_param and len(loaded) == 1
        super()._load_from_state_dict(state_dict, prefix, *args)


def _thresholds(threshold: Any) -> Tensor:
    """``threshold`` as a tensor of shape (1,) or (C,)."""
    try:
        start = torch.as_tensor(threshold, dtype=torch.float32).detach().clone()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ParameterError(f"expected threshold to be a number or an array (C,), got {threshold!r}") from error
    if start.dim() > 1 or not start.numel():
        raise ParameterError(f"expected threshold to be a number or an array (C,), got shape {tuple(start.shape)}")
    if not bool((start >= 0).all()):
        raise ParameterError(f"expected a threshold of 0 or more, got {threshold}")
    return start.reshape(-1)
