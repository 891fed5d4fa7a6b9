"""The delta encoder as a differentiable function of its input and its threshold."""

import math

import torch
from torch import Tensor

from .... import kernels
from ....errors import ParameterError
from ....kernels.torch_op import torch_op

__all__ = ["dynamics"]

_Two = tuple[Tensor, Tensor]


def _forward(
    x: Tensor,
    threshold: Tensor,
    states: Tensor,
    scale: int,
    cumulative: bool,
    carry: bool,
    tau: float,
    height: float,
) -> _Two:
    launch = kernels.launch
    x, T, rows = launch.ready(x), x.shape[-1], math.prod(x.shape[:-1])
    y, final = launch.empty(x.shape, x), x.new_empty(states.shape)
    kernels.delta.forward(
        x, y, final, launch.ready(states), launch.ready(threshold), T, rows, float(scale), cumulative, carry,
        rows=rows, elements=x.numel(),
    )  # fmt: skip
    return y, final


def _fake_forward(x, threshold, states, scale, cumulative, carry, tau, height):
    return x.new_empty(x.shape), x.new_empty(states.shape)


def _backward(
    grad: Tensor,
    x: Tensor,
    threshold: Tensor,
    states: Tensor,
    scale: int,
    cumulative: bool,
    carry: bool,
    tau: float,
    height: float,
) -> _Two:
    launch = kernels.launch
    grad, T, rows = launch.ready(grad), grad.shape[-1], math.prod(grad.shape[:-1])
    g_x, g_threshold = launch.empty(grad.shape, grad), grad.new_empty(grad.shape[:-1] if x.numel() else 0)
    kernels.delta.backward(
        grad, launch.ready(x), g_x, g_threshold, launch.ready(states), launch.ready(threshold), T, rows, float(scale),
        cumulative, carry, math.log2(math.e) / tau, height, rows=rows, elements=grad.numel(),
    )  # fmt: skip
    return g_x, g_threshold if x.numel() else grad.new_zeros(grad.shape[:-1])


def _fake_backward(grad, x, threshold, states, scale, cumulative, carry, tau, height):
    return grad.new_empty(grad.shape), grad.new_empty(grad.shape[:-1])


def _setup_context(ctx, inputs, output):
    x, threshold, states, *ctx.numbers = inputs
    ctx.mark_non_differentiable(output[1])
    # what was differenced matters to the threshold's gradient alone
    ctx.save_for_backward(x if ctx.needs_input_grad[1] else x.new_empty(0), threshold, states)


def _arguments_of_backward(ctx, grad, *_):
    return (grad, *ctx.saved_tensors, *ctx.numbers)


_delta = torch_op(
    "delta", _forward, _fake_forward, _backward, _fake_backward, _setup_context, _arguments_of_backward, inputs=8
)  # fmt: skip


def dynamics(
    input: Tensor,
    threshold: Tensor,
    scale: int,
    tau_grad: float = 1,
    scale_grad: float = 1,
    cum_error: bool = False,
    carry_rounding: bool = False,
    pre_state: Tensor | None = None,
    residual_state: Tensor | None = None,
    error_state: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Messages of delta encoders, all time steps at once.

    .. math::
        \Delta[t] &= x[t] - x[t-1] + r[t-1] \\
        s[t] &= \Delta[t]\,[\,|\Delta[t]| \ge \vartheta\,] \\
        y[t] &= \lfloor S\,s[t] \rfloor / S \\
        r[t] &= \Delta[t] - s[t]

    With ``cum_error`` a message is sent where :math:`|e[t]| \ge \vartheta`, :math:`e[t] = e[t-1] + \Delta[t]`, and
    :math:`e` is 0 again after one.  With ``carry_rounding`` it is :math:`r[t] = \Delta[t] - y[t]`.

    Parameters
    ----------
    input : Tensor, shape (..., T)
        What is encoded, held inside :math:`\pm(2^{23} - 1)/S`; NaN counts as the lower end.
    threshold : Tensor, shape (1,), (C,), the spatial shape (C, ...) or ``input.shape[:-1]``
        Smallest change :math:`\vartheta` that is sent, above 0.
    scale : int
        Integer :math:`S` that stands for a message of 1.0, a power of two.
    tau_grad, scale_grad : float
        Width :math:`\tau` (above 0) and height :math:`\rho` of the surrogate derivative by the threshold.
    cum_error : bool
        Compare the sum of the differences since the last message.
    carry_rounding : bool
        Put what rounding a message down took from it back into the residual, so that all messages sum to
        :math:`x[t] - r[t]` and do not drift away from the input.
    pre_state, residual_state, error_state : Tensor, optional
        Last input, residual and cumulative error before the first step, one for all rows or of shape
        ``input.shape[:-1]``; 0 if absent.  They carry no gradient.

    Returns
    -------
    output : Tensor, shape of ``input``
        Messages, multiples of ``1 / scale``.
    pre_state, residual_state, error_state : Tensor, shape ``input.shape[:-1]``, or (0,) when no state was given
        States after the last step.

    Raises
    ------
    ParameterError
        If ``input`` is not of a floating-point type, ``scale`` not a power of two or ``tau_grad`` not above 0.
    ShapeError
        If the threshold or a state does not fit ``input``.

    Notes
    -----
    By the input, the derivative is that of :math:`x[t] - x[t-1]`, whatever was sent.  By the threshold it is a
    surrogate,

    .. math:: \frac{\partial y}{\partial \vartheta} =
        \begin{cases}
        -\frac{\rho}{\vartheta}\,\Delta\,e^{-(|\Delta| - \vartheta)/\tau} & |\Delta| > \vartheta \\
        -\operatorname{sgn}\Delta & \text{otherwise.}
        \end{cases}
    """
    launch = kernels.launch
    x = launch.floating(input)
    scale = launch.power_of_two(scale, "scale")
    if not tau_grad > 0:
        raise ParameterError(f"expected tau_grad above 0, got {tau_grad}")
    shape = x.shape[:-1]
    level = launch.expand_rows(threshold, shape, "threshold")
    given = {"pre_state": pre_state, "residual_state": residual_state, "error_state": error_state}
    persistent = any(state is not None for state in given.values())
    states = x.new_empty(0)
    if persistent:
        zero = x.new_zeros(1)
        held = [launch.expand_rows(zero if s is None else s, shape, name).detach() for name, s in given.items()]
        states = torch.stack(held)
    y, final = _delta(
        x, level, states, scale, bool(cum_error), bool(carry_rounding), float(tau_grad), float(scale_grad)
    )
    pre, residual, error = final.unbind() if persistent else (final, final, final)
    return y.to(input.dtype), pre, residual, error
