"""The running sum over time as a differentiable function of its input."""

import math

import torch
from torch import Tensor

from .... import kernels
from ....kernels.torch_op import torch_op

__all__ = ["dynamics"]

_Two = tuple[Tensor, Tensor]


def _forward(x: Tensor, state: Tensor, final: bool) -> _Two:
    launch = kernels.launch
    x, rows = launch.ready(x), math.prod(x.shape[:-1])
    y, end = launch.empty(x.shape, x), state.new_empty(x.shape[:-1] if final else 0)
    kernels.sigma.forward(x, y, end, launch.ready(state), x.shape[-1], rows=rows, elements=x.numel())
    return y, end


def _fake_forward(x, state, final):
    return x.new_empty(x.shape), state.new_empty(x.shape[:-1] if final else (0,))


def _backward(grad: Tensor) -> Tensor:
    launch = kernels.launch
    grad, rows = launch.ready(grad), math.prod(grad.shape[:-1])
    g_x = launch.empty(grad.shape, grad)
    kernels.sigma.backward(grad, g_x, grad.shape[-1], rows=rows, elements=grad.numel())
    return g_x


def _fake_backward(grad):
    return grad.new_empty(grad.shape)


def _setup_context(ctx, inputs, output):
    ctx.mark_non_differentiable(output[1])


def _arguments_of_backward(ctx, grad, *_):
    return (grad,)


_sigma = torch_op(
    "sigma", _forward, _fake_forward, _backward, _fake_backward, _setup_context, _arguments_of_backward, inputs=3
)  # fmt: skip


def dynamics(input: Tensor, pre_state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    r"""Sums of all that has arrived, all time steps at once: :math:`y[t] = y[t-1] + x[t]`.

    The sum is held in float64 and rounded at each step, as ``torch.cumsum`` does on a CPU.

    Parameters
    ----------
    input : Tensor, shape (..., T)
    pre_state : Tensor, optional
        Sum before the first step, one for all rows or of shape ``input.shape[:-1]``; 0 if absent.  It carries no
        gradient.

    Returns
    -------
    output : Tensor, shape of ``input``
    pre_state : Tensor, shape ``input.shape[:-1]``, or (0,) when none was given
        Sum after the last step, in float64: what makes chunks equal the whole.

    Raises
    ------
    ParameterError
        If ``input`` is not of a floating-point type.
    ShapeError
        If ``pre_state`` does not fit ``input``.
    """
    launch = kernels.launch
    x = launch.floating(input)
    persistent = pre_state is not None
    if pre_state is None:
        state = x.new_empty(0, dtype=torch.float64)
    else:
        state = launch.expand_rows(pre_state, x.shape[:-1], "pre_state", "float64").detach()
    y, end = _sigma(x, state, persistent)
    return y.to(input.dtype), end
