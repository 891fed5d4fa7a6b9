"""The fused sigma-delta neuron, messages from messages in one pass; other activations need sigma and delta apart."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .... import kernels
from ....errors import ParameterError
from ....kernels.torch_op import torch_op

__all__ = ["Line", "hooked", "line_of", "messages"]

Line = tuple[float, float, float]

_Five = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
_Three = tuple[Tensor, Tensor, Tensor]

_NONE = math.nan  # a limit that no number is beyond
_IDENTITY, _RELU = (_NONE, _NONE, 0.0), (0.0, _NONE, 0.0)
_FUNCTIONS = (
    (functional.relu, _RELU),
    (torch.relu, _RELU),
    (functional.relu6, (0.0, 6.0, 0.0)),
    (functional.hardtanh, (-1.0, 1.0, 0.0)),
    (functional.leaky_relu, (0.0, _NONE, 0.01)),
)


def line_of(activation: Callable[[Tensor], Tensor]) -> Line | None:
    """What :func:`messages` has to know of an activation function, or None where it is another one.

    Parameters
    ----------
    activation : callable
        ``relu``, ``relu6``, ``hardtanh`` or ``leaky_relu`` of ``torch.nn.functional``, ``torch.relu``, or a module
        ``Identity``, ``ReLU``, ``ReLU6``, ``Hardtanh`` or ``LeakyReLU`` without hooks.

    Returns
    -------
    tuple of float, or None
        Smallest and largest value, NaN where there is none, and the slope below the smallest one.
    """
    if not isinstance(activation, torch.nn.Module):
        return next((line for function, line in _FUNCTIONS if function is activation), None)
    if hooked(activation):
        return None
    # exactly these: what inherits from them may compute something else
    if type(activation) is torch.nn.Identity:
        return _IDENTITY
    if type(activation) is torch.nn.ReLU:
        return _RELU
    if type(activation) is torch.nn.ReLU6 or type(activation) is torch.nn.Hardtanh:
        return float(activation.min_val), float(activation.max_val), 0.0
    if type(activation) is torch.nn.LeakyReLU and activation.negative_slope:
        return 0.0, _NONE, float(activation.negative_slope)
    return None


def hooked(module: torch.nn.Module) -> bool:
    """Whether something waits for calls of ``module``, which a fused pass does not make."""
    hooks = (module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks)  # noqa: SLF001
    return any(map(bool, hooks))


def _kept(x: Tensor, cumulative: bool, keep: bool) -> tuple[Tensor, Tensor]:
    """Room for the states at the borders between tiles: the sums, and residuals with the cumulative errors."""
    borders = kernels.sigma_delta.borders(x.shape[-1], x.device.type) if keep else 0
    size = borders * math.prod(x.shape[:-1])
    return x.new_empty(size, dtype=torch.float64), x.new_empty(2 * size if cumulative else size)


def _forward(
    x: Tensor,
    bias: Tensor,
    threshold: Tensor,
    sums: Tensor,
    states: Tensor,
    scale: int,
    low: float,
    high: float,
    leak: float,
    cumulative: bool,
    carry: bool,
    tau: float,
    height: float,
    learning: bool,
    keep: bool,
) -> _Five:
    launch = kernels.launch
    x, T, rows = launch.ready(x), x.shape[-1], math.prod(x.shape[:-1])
    y, final_sum, final = launch.empty(x.shape, x), sums.new_empty(sums.shape), x.new_empty(states.shape)
    kept = _kept(x, cumulative, keep)
    given = [launch.ready(v) for v in (bias, threshold, sums, states)]
    kernels.sigma_delta.forward(
        x, y, *kept, final_sum, final, *given, T, rows, float(scale), low, high, leak, cumulative, carry,
        rows=rows, elements=x.numel(),
    )  # fmt: skip
    return y, *kept, final_sum, final


def _fake_forward(
    x, bias, threshold, sums, states, scale, low, high, leak, cumulative, carry, tau, height, learning, keep
):  # fmt: skip
    kept = _kept(x, cumulative, keep)
    return x.new_empty(x.shape), *kept, sums.new_empty(sums.shape), x.new_empty(states.shape)


def _backward(
    grad: Tensor,
    x: Tensor,
    kept_sums: Tensor,
    kept: Tensor,
    bias: Tensor,
    threshold: Tensor,
    sums: Tensor,
    states: Tensor,
    scale: int,
    low: float,
    high: float,
    leak: float,
    cumulative: bool,
    carry: bool,
    tau: float,
    height: float,
    learning: bool,
) -> _Three:
    launch = kernels.launch
    x, grad, T, rows = launch.ready(x), launch.ready(grad), x.shape[-1], math.prod(x.shape[:-1])
    g_x, g_bias, g_threshold = launch.empty(x.shape, x), x.new_empty(bias.shape), x.new_empty(threshold.shape)
    given = [launch.ready(v) for v in (bias, threshold, sums, states)]
    kernels.sigma_delta.backward(
        grad, x, kept_sums, kept, g_x, g_bias, g_threshold if learning else g_threshold[:0], *given, T, rows,
        float(scale), low, high, leak, cumulative, carry, math.log2(math.e) / tau, height,
        rows=rows, elements=x.numel(),
    )  # fmt: skip
    return g_x, g_bias, g_threshold if learning else g_threshold.zero_()


def _fake_backward(
    grad, x, kept_sums, kept, bias, threshold, sums, states, scale, low, high, leak, cumulative, carry, tau, height,
    learning,
):  # fmt: skip
    return x.new_empty(x.shape), x.new_empty(bias.shape), x.new_empty(threshold.shape)


def _setup_context(ctx, inputs, output):
    x, bias, threshold, sums, states, *numbers = inputs
    _, *rest = output
    ctx.mark_non_differentiable(*rest)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, *rest[:2], bias, threshold, sums, states)
    ctx.numbers = numbers[:-1]


def _arguments_of_backward(ctx, grad, *_):
    x, *others = ctx.saved_tensors  # once: a checkpoint hands them out no second time
    return (torch.zeros_like(x) if grad is None else grad, x, *others, *ctx.numbers)


_sigma_delta = torch_op(
    "sigma_delta", _forward, _fake_forward, _backward, _fake_backward, _setup_context, _arguments_of_backward, inputs=15
)  # fmt: skip


def messages(
    input: Tensor,
    threshold: Tensor,
    scale: int,
    activation: Line,
    tau_grad: float = 1,
    scale_grad: float = 1,
    cum_error: bool = False,
    carry_rounding: bool = False,
    bias: Tensor | None = None,
    sum_state: Tensor | None = None,
    pre_state: Tensor | None = None,
    residual_state: Tensor | None = None,
    error_state: Tensor | None = None,
) -> _Five:
    r"""Messages of sigma-delta neurons, all time steps at once.

    They are, to the bit, what :func:`~lavadl_lite.slayer.neuron.dynamics.sigma.dynamics`, the bias, the activation
    function and :func:`~lavadl_lite.slayer.neuron.dynamics.delta.dynamics` give one after the other.

    Parameters
    ----------
    input : Tensor, shape (..., T)
        Changes :math:`x` of the dendrite's input.
    threshold : Tensor, shape (1,), (C,), the spatial shape (C, ...) or ``input.shape[:-1]``
        Smallest change of the activation that is sent, above 0.
    scale : int
        Integer that stands for a message of 1.0, a power of two.
    activation : tuple of float
        What :func:`line_of` gives: :math:`l`, :math:`h` and :math:`k` of
        :math:`f(s) = \min(\max(s, l), h)`, or with :math:`k \ne 0` of the leaky one, :math:`k s` below :math:`l = 0`.
    tau_grad, scale_grad : float
        Width (above 0) and height of the surrogate derivative by the threshold.
    cum_error, carry_rounding : bool
        As for :func:`~lavadl_lite.slayer.neuron.dynamics.delta.dynamics`.
    bias : Tensor, optional, shape as ``threshold``
        Added to the sum before the activation function.
    sum_state, pre_state, residual_state, error_state : Tensor, optional
        Sum, last activation, residual and cumulative error before the first step, one for all rows or of shape
        ``input.shape[:-1]``; 0 if absent.  They carry no gradient.

    Returns
    -------
    output : Tensor, shape of ``input``
        Messages, multiples of ``1 / scale``.
    sum_state, pre_state, residual_state, error_state : Tensor, shape ``input.shape[:-1]``, or (0,) when none was given
        States after the last step, the sum in float64.

    Raises
    ------
    ParameterError
        If ``input`` is not of a floating-point type, ``scale`` not a power of two or ``tau_grad`` not above 0.
    ShapeError
        If the threshold, the bias or a state does not fit ``input``.
    """
    launch = kernels.launch
    x = launch.floating(input)
    scale = launch.power_of_two(scale, "scale")
    if not tau_grad > 0:
        raise ParameterError(f"expected tau_grad above 0, got {tau_grad}")
    shape = x.shape[:-1]
    level = launch.expand_rows(threshold, shape, "threshold")
    offset = x.new_empty(0) if bias is None else launch.expand_rows(bias, shape, "bias")
    given: dict[str, Any] = {"pre_state": pre_state, "residual_state": residual_state, "error_state": error_state}
    persistent = sum_state is not None or any(state is not None for state in given.values())
    sums, states = x.new_empty(0, dtype=torch.float64), x.new_empty(0)
    if persistent:
        zero = x.new_zeros(1)
        sums = launch.expand_rows(zero if sum_state is None else sum_state, shape, "sum_state", "float64").detach()
        held = [launch.expand_rows(zero if s is None else s, shape, name).detach() for name, s in given.items()]
        states = torch.stack(held)
    keep = torch.is_grad_enabled() and (x.requires_grad or level.requires_grad or offset.requires_grad)
    y, _, _, final_sum, final = _sigma_delta(
        x, offset, level, sums, states, scale, *activation, bool(cum_error), bool(carry_rounding), float(tau_grad),
        float(scale_grad), level.requires_grad, keep,
    )  # fmt: skip
    pre, residual, error = final.unbind() if persistent else (final, final, final)
    return y.to(input.dtype), final_sum, pre, residual, error
