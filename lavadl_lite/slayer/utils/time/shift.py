"""A shift along time by whole steps, for all neurons or for each; what is learnt about it is the caller's."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .... import kernels
from ....errors import ParameterError, ShapeError
from ....kernels.torch_op import torch_op

__all__ = ["shift", "shifted"]

_Two = tuple[Tensor, Tensor]


def _forward(x: Tensor, delay: Tensor, sampling_time: float, offset: int, grad_scale: float) -> Tensor:
    launch = kernels.launch
    x = launch.ready(x)
    y = launch.empty(x.shape, x)
    rows = math.prod(x.shape[:-1])
    kernels.shift.forward(
        x, y, launch.ready(delay), sampling_time, offset, x.shape[-1], rows=rows, elements=x.numel()
    )  # fmt: skip
    return y


def _fake_forward(x, delay, sampling_time, offset, grad_scale):
    return x.new_empty(x.shape)


def _backward(grad: Tensor, x: Tensor, delay: Tensor, sampling_time: float, offset: int, grad_scale: float) -> _Two:
    launch = kernels.launch
    grad = launch.ready(grad)
    g_x = launch.empty(grad.shape, grad)
    g_delay = grad.new_empty(grad.shape[:-1] if x.numel() else 0)
    rows = math.prod(grad.shape[:-1])
    kernels.shift.backward(
        grad, launch.ready(x), g_x, g_delay, launch.ready(delay), sampling_time, offset, grad.shape[-1],
        rows=rows, elements=grad.numel(),
    )  # fmt: skip
    return g_x, g_delay.mul_(grad_scale) if x.numel() else grad.new_zeros(grad.shape[:-1])


def _fake_backward(grad, x, delay, sampling_time, offset, grad_scale):
    return grad.new_empty(grad.shape), grad.new_empty(grad.shape[:-1])


def _setup_context(ctx, inputs, output):
    x, delay, *ctx.numbers = inputs
    # what was shifted matters to the delay's gradient alone
    ctx.save_for_backward(x if ctx.needs_input_grad[1] else x.new_empty(0), delay)


def _arguments_of_backward(ctx, grad):
    return (grad, *ctx.saved_tensors, *ctx.numbers)


_shift = torch_op(
    "shift", _forward, _fake_forward, _backward, _fake_backward, _setup_context, _arguments_of_backward, inputs=5
)  # fmt: skip


def shifted(input: Tensor, delay: Tensor, sampling_time: float, offset: int, grad_scale: float) -> Tensor:
    """``input`` later by ``offset`` and by the whole steps of ``delay``, one for all, each channel or each row."""
    launch = kernels.launch
    x = launch.floating(input)
    rows = launch.expand_rows(delay, x.shape[:-1], "delay")
    return _shift(x, rows, float(sampling_time), offset, float(grad_scale)).to(input.dtype)


def shift(input: Tensor, shift_val: float | Tensor, sampling_time: float = 1) -> Tensor:
    """Shift ``input`` along time, filling with zeros; the length stays.

    Parameters
    ----------
    input : Tensor, shape (N, C, ..., T)
    shift_val : float, or Tensor of one element or with one for each neuron
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
        If the input is not floating-point, a shift not finite, or ``sampling_time`` not above 0.
    ShapeError
        If ``input`` has no axis beside time, or ``shift_val`` neither one element nor one for each neuron.
    """
    if kernels.launch.floating(input).dim() < 2:
        raise ShapeError(f"expected an input of at least 2 dimensions, got shape {tuple(input.shape)}")
    if not sampling_time > 0:
        raise ParameterError(f"expected sampling_time above 0, got {sampling_time}")
    spatial = input.shape[1:-1]
    steps = torch.as_tensor(shift_val, dtype=torch.float32, device=input.device).detach()
    if steps.numel() not in (1, math.prod(spatial)):
        raise ShapeError(
            f"expected shift_val of 1 element or {math.prod(spatial)}, one for each neuron of an input "
            f"{tuple(input.shape)}, got {tuple(steps.shape)}"
        )
    if not bool(steps.isfinite().all()):
        raise ParameterError("expected a finite shift_val")
    per_neuron = steps.reshape(1) if steps.numel() == 1 else steps.reshape(spatial)
    return shifted(input, per_neuron, sampling_time, 0, 1.0)
