"""Axonal delays: a shift along time by whole steps, the same for all or learnt for each channel."""

import math

import torch
from torch import Tensor

from ... import kernels
from ...errors import ParameterError, ShapeError
from ..utils.time.shift import shifted

__all__ = ["Delay", "delay"]


def delay(input: Tensor, delay_val: float | Tensor = 1, sampling_time: float = 1) -> Tensor:
    """Shift ``input`` to later times, filling with zeros; the length stays.

    Parameters
    ----------
    input : Tensor, shape (..., T)
    delay_val : float or Tensor of one element
        Time to shift by, in steps once divided by ``sampling_time`` and rounded toward zero; negative shifts to the
        left.  It receives no gradient.
    sampling_time : float
        Duration of a step, above 0.

    Returns
    -------
    Tensor, shape of ``input``

    Raises
    ------
    ParameterError
        If the input is not floating-point, ``delay_val`` not one finite number, or ``sampling_time`` not above 0.
    ShapeError
        If ``input`` has no time axis beside another one.
    """
    if kernels.launch.floating(input).dim() < 2:
        raise ShapeError(f"expected an input of at least 2 dimensions, got shape {tuple(input.shape)}")
    if isinstance(delay_val, Tensor) and delay_val.numel() != 1:
        raise ParameterError(f"expected delay_val to be one number, got a tensor of shape {tuple(delay_val.shape)}")
    if not sampling_time > 0:
        raise ParameterError(f"expected sampling_time above 0, got {sampling_time}")
    steps = float(delay_val) / float(sampling_time)
    if not -math.inf < steps < math.inf:
        raise ParameterError(f"expected a finite delay_val, got {delay_val}")
    zero = torch.zeros(1, device=input.device)
    return shifted(input, zero, 1.0, max(min(int(steps), input.shape[-1]), -input.shape[-1]), 1.0)


class Delay(torch.nn.Module):
    r"""Learnable delay, one for each channel.

    Channel :math:`c` is shifted by :math:`\lfloor d_c / T_s\rfloor` steps, with :math:`d` held in [0, ``max_delay``].
    The gradient of a delay is the finite difference of the output :math:`y`,

    .. math:: \partial L/\partial d_c = g \sum_{n,\,\text{space},\,t}
        \frac{\partial L}{\partial y[t]}\,(y[t-1] - y[t]), \qquad y[-1] = 0.

    Parameters
    ----------
    sampling_time : float
        Duration :math:`T_s` of a step.
    max_delay : float, optional
        Largest delay; no limit if absent.  The hardware holds 62.
    grad_scale : float
        Factor :math:`g` of the gradient.

    Attributes
    ----------
    delay : Parameter, shape (1,) until materialised, then (C,)
        The delays, drawn from [0, 1) at the first forward unless loaded or assigned by :meth:`materialize`.
    init : bool
        Whether the delays have been drawn or loaded.
    shape : torch.Size or None
        Spatial shape of the input.

    References
    ----------
    .. [1] Shrestha and Orchard, "SLAYER: Spike Layer Error Reassignment in Time", NeurIPS 2018.
    """

    def __init__(self, sampling_time: float = 1, max_delay: float | None = None, grad_scale: float = 1) -> None:
        super().__init__()
        if not sampling_time > 0:
            raise ParameterError(f"expected sampling_time above 0, got {sampling_time}")
        if max_delay is not None and not max_delay >= 0:
            raise ParameterError(f"expected max_delay of 0 or more, got {max_delay}")
        self.sampling_time = sampling_time
        self.max_delay = max_delay
        self.grad_scale = grad_scale
        self.init = False
        self.shape: torch.Size | None = None
        self.delay = torch.nn.Parameter(torch.zeros(1))

    def extra_repr(self) -> str:
        return f"sampling_time={self.sampling_time}, max_delay={self.max_delay}, grad_scale={self.grad_scale}"

    def clamp(self) -> None:
        """Hold the delays in [0, ``max_delay``]."""
        # .data: an earlier call may still be waiting for its backward, which this does not disturb
        self.delay.data.clamp_(0, self.max_delay)

    def materialize(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Fix the spatial shape ``(C,)`` or ``(C, H, W)`` and draw the delays; returns the same shape.

        Raises
        ------
        ShapeError
            If the delays were made for another number of channels.
        """
        if torch.compiler.is_compiling():
            torch._dynamo.graph_break()  # noqa: SLF001 - shapes are made outside of a graph
        shape = torch.Size(shape)
        if not shape:
            raise ShapeError("expected a spatial shape (C,) or (C, H, W), got ()")
        if self.init and self.delay.shape[0] != shape[0] and self.delay.tolist() == [0.0]:
            self.init = False  # loaded from a module that had not drawn its delays either
        if self.init and self.delay.shape[0] != shape[0]:
            raise ShapeError(f"expected {self.delay.shape[0]} channels, got a spatial shape {tuple(shape)}")
        if not self.init:
            with torch.inference_mode(False):  # what is drawn has to train later
                self.delay.data = torch.rand(shape[0], dtype=torch.float32).to(self.delay.device)
            self.init = True
        self.shape = shape
        return tuple(shape)

    def forward(self, input: Tensor, offset: int = 0) -> Tensor:
        """Delay ``input``.

        Parameters
        ----------
        input : Tensor, shape (N, C, ..., T)
        offset : int
            Further steps to delay all channels by.

        Returns
        -------
        Tensor, shape of ``input``

        Raises
        ------
        ShapeError
            If ``input`` has fewer than 3 dimensions or another number of channels than before.
        """
        if kernels.launch.floating(input).dim() < 3:
            raise ShapeError(f"expected an input (N, C, ..., T), got shape {tuple(input.shape)}")
        if not self.init or self.shape != input.shape[1:-1]:
            self.materialize(input.shape[1:-1])
        self.clamp()
        return shifted(input, self.delay, self.sampling_time, offset, self.grad_scale)

    @torch.inference_mode(False)  # a later call may train
    def _load_from_state_dict(self, state_dict, prefix, *args):
        loaded = state_dict.get(prefix + "delay")
        if loaded is not None and not self.init:
            self.delay.data = self.delay.data.new_zeros(loaded.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.init = self.init or loaded is not None
