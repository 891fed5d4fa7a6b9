"""The leaky integrator as a differentiable function of its input, its decay and its initial state."""

import math

import torch
from torch import Tensor

from .... import kernels
from ....errors import ParameterError
from ....kernels.torch_op import torch_op

__all__ = ["dynamics", "persistent_state"]

_Three = tuple[Tensor, Tensor, Tensor]


def _forward(x: Tensor, decay: Tensor, state: Tensor, scale: int, level: int) -> Tensor:
    launch = kernels.launch
    x = launch.ready(x)
    y = launch.empty(x.shape, x)
    rows = math.prod(x.shape[:-1])
    kernels.leaky.forward(
        x, y, launch.ready(decay), launch.ready(state), x.shape[-1], float(scale), level, rows=rows, elements=x.numel()
    )
    return y


def _fake_forward(x, decay, state, scale, level):
    return x.new_empty(x.shape)


def _backward(grad: Tensor, y: Tensor, decay: Tensor, state: Tensor, scale: int, level: int) -> _Three:
    launch = kernels.launch
    grad, y = launch.ready(grad), launch.ready(y)
    g_x, g_decay, g_state = launch.empty(y.shape, y), y.new_empty(y.shape[:-1]), y.new_empty(state.shape)
    rows = math.prod(y.shape[:-1])
    kernels.leaky.backward(
        grad, y, g_x, g_decay, g_state, launch.ready(decay), launch.ready(state), y.shape[-1], float(scale), level,
        rows=rows, elements=y.numel(),
    )  # fmt: skip
    return g_x, g_decay, g_state


def _fake_backward(grad, y, decay, state, scale, level):
    return y.new_empty(y.shape), y.new_empty(y.shape[:-1]), y.new_empty(state.shape)


def _setup_context(ctx, inputs, output):
    _, decay, state, *ctx.numbers = inputs
    ctx.save_for_backward(output, decay, state)


def _arguments_of_backward(ctx, grad):
    return (grad, *ctx.saved_tensors, *ctx.numbers)


_leaky = torch_op(
    "leaky", _forward, _fake_forward, _backward, _fake_backward, _setup_context, _arguments_of_backward, inputs=5
)  # fmt: skip


def dynamics(
    input: Tensor,
    decay: Tensor,
    state: Tensor,
    w_scale: int,
    threshold: float | Tensor | None = None,
    debug: bool = False,
    *,
    level: int | None = None,
) -> Tensor:
    r"""Response of leaky integrators, all time steps at once.

    On integers, with :math:`\lfloor\cdot\rceil_0` rounding toward zero,
    :math:`y[t] = \lfloor y'[t-1]\,(4096 - \alpha) / 4096\rceil_0 + \lfloor S\,x[t]\rceil_0`, where :math:`y'` is 0
    after a step that reached the threshold and :math:`y` otherwise.  States are held inside :math:`\pm(2^{23} - 1)`.

    Parameters
    ----------
    input : Tensor, shape (..., T)
        What is integrated.  Half precision and float64 are computed in float32.
    decay : Tensor, shape (1,), (C,), the spatial shape (C, ...) or ``input.shape[:-1]``
        Fraction lost each step, in 0..4096; rounded toward zero, held inside the range.
    state : Tensor, same shapes as ``decay``
        State before the first step; 0 or another multiple of ``1 / w_scale``.
    w_scale : int
        Integer state that stands for 1.0, a power of two.
    threshold : float or Tensor of one element, optional
        The state is reset to 0 after a step that ends at or above it.  ``None``, 0 and below: no reset.
    debug : bool
        Check for what the 24-bit range hides: raise if ``input`` is not finite or a state was limited.
    level : int, optional
        The threshold as an integer state, instead of ``threshold``.

    Returns
    -------
    Tensor, shape of ``input``
        The states before their reset, multiples of ``1 / w_scale``.

    Raises
    ------
    ParameterError
        For an input that is not floating-point, a scale that is not a power of two, or what ``debug`` finds.
    ShapeError
        If ``decay`` or ``state`` has none of these shapes.

    Notes
    -----
    The gradient is the true one of this recurrence with rounding, limits and reset passed straight through: with
    respect to ``input``, ``decay`` and ``state``.  The threshold has none.
    """
    launch = kernels.launch
    x = launch.floating(input)
    scale = launch.power_of_two(w_scale, "w_scale")
    shape = x.shape[:-1]
    decay_rows = launch.expand_rows(decay, shape, "decay")
    state_rows = launch.expand_rows(state, shape, "state")
    level = _level(threshold, scale) if level is None else min(level, kernels.fixed_point.NEVER)
    y = _leaky(x, decay_rows, state_rows, scale, level)
    if debug:
        _check(x, y, scale)
    return y.to(input.dtype)


def _level(threshold: float | Tensor | None, scale: int) -> int:
    never = kernels.fixed_point.NEVER
    if threshold is None:
        return never
    if isinstance(threshold, Tensor) and threshold.numel() != 1:
        raise ParameterError(f"expected one threshold, got a tensor of shape {tuple(threshold.shape)}")
    threshold = float(threshold)
    if threshold != threshold:  # noqa: PLR0124 - math.isnan would break a graph
        raise ParameterError("expected threshold to be a number, got nan")
    return math.ceil(threshold * scale) if 0 < threshold * scale < never else never


def _check(x: Tensor, y: Tensor, scale: int) -> None:
    if not bool(torch.isfinite(x).all()):
        raise ParameterError("expected a finite input, got NaN or infinity")
    largest = kernels.fixed_point.STATE_MAX / scale
    if y.numel() and float(y.detach().abs().max()) >= largest:
        raise ParameterError(f"expected states below {largest}, but one was limited to it")


def persistent_state(state: Tensor, spike: Tensor) -> Tensor:
    """``state`` where no spike was sent, 0 where one was: what the next chunk of time begins with.

    Parameters
    ----------
    state : Tensor
        Last state of a chunk, before its reset.
    spike : Tensor, same shape
        Last spikes of that chunk; anything above 0 counts.
    """
    return state * (spike <= 0).to(state.dtype)
