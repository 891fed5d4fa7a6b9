"""The fused CUBA neuron, spikes from input in one pass; norms between its integrators need the separate ones."""

import math

import torch
from torch import Tensor

from .... import kernels
from ....errors import ParameterError
from ....kernels.torch_op import torch_op

__all__ = ["spikes"]

_Four = tuple[Tensor, Tensor, Tensor, Tensor]
_Three = tuple[Tensor, Tensor, Tensor]


def _forward(
    x: Tensor,
    decay_c: Tensor,
    decay_v: Tensor,
    state_c: Tensor,
    state_v: Tensor,
    scale: int,
    level: int,
    tau: float,
    height: float,
    centre: float,
    graded: bool,
    kind: int,
    late: bool,
    keep: bool,
    final: bool,
) -> _Four:
    launch = kernels.launch
    x, T, rows = launch.ready(x), x.shape[-1], math.prod(x.shape[:-1])
    out = launch.empty(x.shape, x)
    kept = x.new_empty(kernels.cuba.checkpoints(rows, T, x.device.type) if keep else 0, dtype=torch.int32)
    final_c, final_v = (x.new_empty(x.shape[:-1] if final else 0) for _ in range(2))
    on, unit = (0.0, 1 / scale) if graded else (1.0, 0.0)
    parameters = [launch.ready(p) for p in (decay_c, decay_v, state_c, state_v)]
    kernels.cuba.forward(
        x, out, kept, final_c, final_v, *parameters, T, rows, float(scale), level, on, unit, late,
        rows=rows, elements=x.numel(),
    )  # fmt: skip
    return out, kept, final_c, final_v


def _fake_forward(
    x, decay_c, decay_v, state_c, state_v, scale, level, tau, height, centre, graded, kind, late, keep, final
):  # fmt: skip
    T, rows = x.shape[-1], math.prod(x.shape[:-1])
    kept = x.new_empty(kernels.cuba.checkpoints(rows, T, x.device.type) if keep else 0, dtype=torch.int32)
    state = x.shape[:-1] if final else (0,)
    return x.new_empty(x.shape), kept, x.new_empty(state), x.new_empty(state)


def _backward(
    grad: Tensor,
    x: Tensor,
    kept: Tensor,
    decay_c: Tensor,
    decay_v: Tensor,
    state_c: Tensor,
    state_v: Tensor,
    scale: int,
    level: int,
    tau: float,
    height: float,
    centre: float,
    graded: bool,
    kind: int,
    late: bool,
) -> _Three:
    launch = kernels.launch
    x, grad, T, rows = launch.ready(x), launch.ready(grad), x.shape[-1], math.prod(x.shape[:-1])
    g_x, g_c, g_v = launch.empty(x.shape, x), x.new_empty(x.shape[:-1]), x.new_empty(x.shape[:-1])
    slope = kernels.kinds.slope_of(kind, tau, scale)
    offset = (level - centre * scale) * slope
    parameters = [launch.ready(p) for p in (decay_c, decay_v, state_c, state_v)]
    kernels.cuba.backward(
        grad, x, kept, g_x, g_c, g_v, *parameters, T, rows, float(scale), level, slope, offset, height, graded, kind,
        late, rows=rows, elements=x.numel(),
    )  # fmt: skip
    return g_x, g_c, g_v


def _fake_backward(
    grad, x, kept, decay_c, decay_v, state_c, state_v, scale, level, tau, height, centre, graded, kind, late
):  # fmt: skip
    return x.new_empty(x.shape), x.new_empty(x.shape[:-1]), x.new_empty(x.shape[:-1])


def _setup_context(ctx, inputs, output):
    x, decay_c, decay_v, state_c, state_v, *numbers = inputs
    _, *rest = output
    ctx.mark_non_differentiable(*rest)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, rest[0], decay_c, decay_v, state_c, state_v)
    ctx.numbers = numbers[:-2]


def _arguments_of_backward(ctx, grad, *_):
    x, *others = ctx.saved_tensors  # once: a checkpoint hands them out no second time
    return (torch.zeros_like(x) if grad is None else grad, x, *others, *ctx.numbers)


_cuba = torch_op(
    "cuba", _forward, _fake_forward, _backward, _fake_backward, _setup_context, _arguments_of_backward, inputs=15
)  # fmt: skip


def spikes(
    input: Tensor,
    current_decay: Tensor,
    voltage_decay: Tensor,
    w_scale: int,
    threshold: float,
    tau_rho: float,
    scale_rho: float,
    graded_spike: bool = False,
    current_state: Tensor | None = None,
    voltage_state: Tensor | None = None,
    surrogate: str = "exponential",
    late: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Spikes of current-based leaky integrate-and-fire neurons, all time steps at once.

    With :math:`\lfloor\cdot\rceil_0` rounding toward zero, on integers,

    .. math::
        u[t] &= \lfloor u[t-1]\,(4096 - \alpha_u) / 4096\rceil_0 + \lfloor S\,x[t]\rceil_0 \\
        v[t] &= \lfloor v'[t-1]\,(4096 - \alpha_v) / 4096\rceil_0 + u[t] \\
        s[t] &= [v[t] > S\,\vartheta], \qquad v'[t] = v[t]\,(1 - s[t])

    Parameters
    ----------
    input : Tensor, shape (..., T)
        Dendrite current.
    current_decay, voltage_decay : Tensor, shape (1,), (C,) or the spatial shape
        Fractions lost each step, in 0..4096; rounded toward zero, held inside the range.
    w_scale : int
        Integer state that stands for 1.0, a power of two.
    threshold : float
        Firing threshold, a multiple of ``1 / w_scale``; a neuron fires strictly above it.
    tau_rho, scale_rho : float
        Width and height of the surrogate :math:`\partial s/\partial v = \rho/(2\tau)\,e^{-|v-\vartheta|/\tau}`, or
        :math:`\rho\,e^{\min(v-\vartheta,\,0)/\tau}` for graded spikes.
    graded_spike : bool
        Send the voltage in place of 1.
    current_state, voltage_state : Tensor, optional
        States before the first step, one for all rows or of shape ``input.shape[:-1]``; 0 if absent.  They carry no
        gradient.
    surrogate : str
        Shape of the surrogate: the exponential above, or ``"fast_sigmoid"``, ``"arctan"`` or ``"triangle"``, see
        :func:`~lavadl_lite.slayer.spike.surrogate.bell`.
    late : bool
        Return the spikes a step later than they are sent: none in the first step, and those of the last are lost.

    Returns
    -------
    spikes : Tensor, shape of ``input``
    current_state, voltage_state : Tensor, shape ``input.shape[:-1]``, or (0,) when no initial state was given
        States after the last step, the voltage after its reset.

    Raises
    ------
    ParameterError
        If ``input`` is not of a floating-point type, ``w_scale`` not a power of two, ``threshold`` not a number or
        ``tau_rho`` not above 0.
    ShapeError
        If a decay or a state does not fit ``input``.

    References
    ----------
    .. [1] Shrestha and Orchard, "SLAYER: Spike Layer Error Reassignment in Time", NeurIPS 2018.
    """
    launch = kernels.launch
    x = launch.floating(input)
    scale = launch.power_of_two(w_scale, "w_scale")
    if threshold != threshold or not tau_rho > 0:  # noqa: PLR0124 - math.isnan would break a graph
        raise ParameterError(f"expected threshold a number and tau_rho above 0, got {threshold} and {tau_rho}")
    shape = x.shape[:-1]
    decay_c = launch.shared_rows(current_decay, shape, "current_decay")
    decay_v = launch.shared_rows(voltage_decay, shape, "voltage_decay")
    persistent = current_state is not None or voltage_state is not None
    if persistent:
        zero = x.new_zeros(1)
        state_c = launch.expand_rows(zero if current_state is None else current_state, shape, "current_state").detach()
        state_v = launch.expand_rows(zero if voltage_state is None else voltage_state, shape, "voltage_state").detach()
    else:
        state_c = state_v = x.new_empty(0)
    keep = torch.is_grad_enabled() and (x.requires_grad or decay_c.requires_grad or decay_v.requires_grad)
    never = kernels.fixed_point.NEVER
    level = math.floor(threshold * scale) + 1 if threshold * scale < never else never
    height = scale_rho if graded_spike else scale_rho / (2 * tau_rho)
    out, _, final_c, final_v = _cuba(
        x, decay_c, decay_v, state_c, state_v, scale, level, tau_rho, height, threshold + 0.01 / scale, graded_spike,
        kernels.kinds.kind_of(surrogate), late, keep, persistent,
    )  # fmt: skip
    return out.to(input.dtype), final_c, final_v
