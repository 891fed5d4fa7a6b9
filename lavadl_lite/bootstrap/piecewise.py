"""The piecewise-linear activation as a differentiable function of its input; where its knots come from: :mod:`.fit`."""

import torch
from torch import Tensor

from .. import kernels
from ..errors import ShapeError
from ..kernels.torch_op import torch_op

__all__ = ["activation"]


def _forward(z: Tensor, knots: Tensor, outside: float) -> Tensor:
    launch = kernels.launch
    z, y = launch.ready(z), launch.empty(z.shape, z)
    kernels.piecewise.forward(z, y, launch.ready(knots), rows=z.numel(), elements=z.numel())
    return y


def _fake_forward(z, knots, outside):
    return z.new_empty(z.shape)


def _backward(grad: Tensor, z: Tensor, knots: Tensor, outside: float) -> Tensor:
    launch = kernels.launch
    z, g_z = launch.ready(z), launch.empty(z.shape, z)
    kernels.piecewise.backward(
        z, launch.ready(grad), g_z, launch.ready(knots), outside, rows=z.numel(), elements=z.numel()
    )
    return g_z


def _fake_backward(grad, z, knots, outside):
    return z.new_empty(z.shape)


def _setup_context(ctx, inputs, output):
    z, knots, ctx.outside = inputs
    ctx.save_for_backward(z, knots)


def _arguments_of_backward(ctx, grad):
    return grad, *ctx.saved_tensors, ctx.outside


_piecewise = torch_op(
    "piecewise", _forward, _fake_forward, _backward, _fake_backward, _setup_context, _arguments_of_backward, inputs=3
)  # fmt: skip


def activation(z: Tensor, knots: Tensor, outside: float) -> Tensor:
    r"""Lines between knots: 0 in front of the first, the last ordinate behind the last.

    .. math:: f(z) = y_i + s_i\,(z - x_i) \quad\text{for } x_i < z \le x_{i+1}

    Parameters
    ----------
    z : Tensor, any shape
    knots : Tensor, shape (4, K)
        Abscissae :math:`x_i` that do not fall, ordinates :math:`y_i` that begin with 0, slopes :math:`s_i` that end
        with 0, and what is given back for the derivative behind each knot.  They carry no gradient.
    outside : float
        What is given back for the derivative in front of the first knot.

    Returns
    -------
    Tensor, shape of ``z``

    Raises
    ------
    ParameterError
        If ``z`` is not of a floating-point type.
    ShapeError
        If ``knots`` has another shape.
    """
    if knots.dim() != 2 or knots.shape[0] != 4 or not knots.shape[1]:
        raise ShapeError(f"expected knots of shape (4, K) with K of 1 or more, got {tuple(knots.shape)}")
    if knots.requires_grad or knots.dtype != torch.float32:
        knots = knots.detach().to(torch.float32)
    y = _piecewise(kernels.launch.floating(z), knots, outside)
    return y if y.dtype == z.dtype else y.to(z.dtype)
