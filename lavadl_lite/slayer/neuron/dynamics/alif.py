"""The fused ALIF neuron, spikes from input in one pass."""

import math

import torch
from torch import Tensor

from .... import kernels
from ....errors import ParameterError
from ....kernels.torch_op import torch_op
from .adaptive_threshold import to_integer

__all__ = ["spikes"]

_Three = tuple[Tensor, Tensor, Tensor]


def _rows(parameters: tuple[Tensor, ...]) -> Tensor:
    """Decays or states as the kernel reads them: one after the other, or nothing where they are empty."""
    return torch.stack(parameters).detach()


def _forward(
    x: Tensor,
    decay_c: Tensor,
    decay_v: Tensor,
    decay_th: Tensor,
    decay_r: Tensor,
    state_c: Tensor,
    state_v: Tensor,
    state_th: Tensor,
    state_r: Tensor,
    scale: int,
    base: int,
    rise: int,
    tau: float,
    height: float,
    graded: bool,
    kind: int,
    keep: bool,
    final: bool,
) -> _Three:
    launch = kernels.launch
    x, T, rows = launch.ready(x), x.shape[-1], math.prod(x.shape[:-1])
    out = launch.empty(x.shape, x)
    kept = x.new_empty(kernels.alif.checkpoints(rows, T, x.device.type) if keep else 0, dtype=torch.int32)
    end = x.new_empty((4, *x.shape[:-1]) if final else (4, 0))
    on, unit = (0.0, 1 / scale) if graded else (1.0, 0.0)
    decays, states = _rows((decay_c, decay_v, decay_th, decay_r)), _rows((state_c, state_v, state_th, state_r))
    kernels.alif.forward(
        x, out, kept, end, decays, states, T, rows, float(scale), base, rise, on, unit, rows=rows, elements=x.numel()
    )
    return out, kept, end


def _fake_forward(
    x, decay_c, decay_v, decay_th, decay_r, state_c, state_v, state_th, state_r, scale, base, rise, tau, height,
    graded, kind, keep, final,
):  # fmt: skip
    T, rows = x.shape[-1], math.prod(x.shape[:-1])
    kept = x.new_empty(kernels.alif.checkpoints(rows, T, x.device.type) if keep else 0, dtype=torch.int32)
    return x.new_empty(x.shape), kept, x.new_empty((4, *x.shape[:-1]) if final else (4, 0))


def _backward(
    grad: Tensor,
    x: Tensor,
    kept: Tensor,
    decay_c: Tensor,
    decay_v: Tensor,
    decay_th: Tensor,
    decay_r: Tensor,
    state_c: Tensor,
    state_v: Tensor,
    state_th: Tensor,
    state_r: Tensor,
    scale: int,
    base: int,
    rise: int,
    tau: float,
    height: float,
    graded: bool,
    kind: int,
) -> _Three:
    launch = kernels.launch
    x, grad, T, rows = launch.ready(x), launch.ready(grad), x.shape[-1], math.prod(x.shape[:-1])
    g_x, g_decays = launch.empty(x.shape, x), x.new_empty((2, *x.shape[:-1]))
    decays, states = _rows((decay_c, decay_v, decay_th, decay_r)), _rows((state_c, state_v, state_th, state_r))
    kernels.alif.backward(
        grad, x, kept, g_x, g_decays, decays, states, T, rows, float(scale), base, rise,
        kernels.kinds.slope_of(kind, tau, scale), height, graded, kind, rows=rows, elements=x.numel(),
    )  # fmt: skip
    return g_x, g_decays[0], g_decays[1].clone()  # outputs of an op share no memory


def _fake_backward(
    grad, x, kept, decay_c, decay_v, decay_th, decay_r, state_c, state_v, state_th, state_r, scale, base, rise, tau,
    height, graded, kind,
):  # fmt: skip
    return x.new_empty(x.shape), x.new_empty(x.shape[:-1]), x.new_empty(x.shape[:-1])


def _setup_context(ctx, inputs, output):
    _, *rest = output
    ctx.mark_non_differentiable(*rest)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(inputs[0], rest[0], *inputs[1:9])
    ctx.numbers = inputs[9:-2]


def _arguments_of_backward(ctx, grad, *_):
    x, *others = ctx.saved_tensors  # once: a checkpoint hands them out no second time
    return (torch.zeros_like(x) if grad is None else grad, x, *others, *ctx.numbers)


_alif = torch_op(
    "alif", _forward, _fake_forward, _backward, _fake_backward, _setup_context, _arguments_of_backward, inputs=18
)  # fmt: skip


def spikes(
    input: Tensor,
    current_decay: Tensor,
    voltage_decay: Tensor,
    threshold_decay: Tensor,
    refractory_decay: Tensor,
    w_scale: int,
    threshold: float,
    threshold_step: float,
    tau_rho: float,
    scale_rho: float,
    graded_spike: bool = False,
    current_state: Tensor | None = None,
    voltage_state: Tensor | None = None,
    threshold_state: Tensor | None = None,
    refractory_state: Tensor | None = None,
    surrogate: str = "exponential",
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    r"""Spikes of adaptive leaky integrate-and-fire neurons, all time steps at once.

    With :math:`\lfloor\cdot\rceil_0` rounding toward zero, on integers,

    .. math::
        u[t] &= \lfloor u[t-1]\,(4096 - \alpha_u) / 4096\rceil_0 + \lfloor S\,x[t]\rceil_0 \\
        v[t] &= \lfloor v[t-1]\,(4096 - \alpha_v) / 4096\rceil_0 + u[t] \\
        \theta[t] &= \lfloor (\theta'[t-1] - \theta_0)\,(4096 - \alpha_\theta) / 4096\rceil_0 + \theta_0 \\
        r[t] &= \lfloor r'[t-1]\,(4096 - \alpha_r) / 4096\rceil_0 \\
        s[t] &= [v[t] \ge \theta[t] + r[t]], \qquad
        \theta'[t] = \theta[t] + \Delta\,s[t], \qquad r'[t] = r[t] + 2\,\theta[t]\,s[t]

    Parameters
    ----------
    input : Tensor, shape (..., T)
        Dendrite current.
    current_decay, voltage_decay, threshold_decay, refractory_decay : Tensor, shape (1,), (C,) or the spatial shape
        Fractions lost each step, in 0..4096; rounded toward zero, held inside the range.  The last two carry no
        gradient.
    w_scale : int
        Integer state that stands for 1.0, a power of two.
    threshold, threshold_step : float
        Where the threshold begins and decays to, :math:`\theta_0`, and what a spike adds to it, :math:`\Delta`.
    tau_rho, scale_rho : float
        Width and height of the surrogate :math:`\partial s/\partial v = \rho/(2\tau)\,e^{-|v-\theta-r|/\tau}`, or
        :math:`\rho\,e^{\min(v-\theta-r,\,0)/\tau}` for graded spikes.
    graded_spike : bool
        Send the voltage in place of 1.
    current_state, voltage_state, threshold_state, refractory_state : Tensor, optional
        States before the first step, the last two after what a spike added; one for all rows or of shape
        ``input.shape[:-1]``.  If absent 0, or ``threshold`` for its state.  They carry no gradient.
    surrogate : str
        Shape of the surrogate, see :func:`~lavadl_lite.slayer.spike.surrogate.bell`.

    Returns
    -------
    spikes : Tensor, shape of ``input``
    current_state, voltage_state, threshold_state, refractory_state : Tensor, shape ``input.shape[:-1]``
        States after the last step and what its spike added; of shape (0,) when no initial state was given.

    Raises
    ------
    ParameterError
        If ``input`` is not of a floating-point type, ``w_scale`` not a power of two, ``threshold`` or
        ``threshold_step`` not a number or ``tau_rho`` not above 0.
    ShapeError
        If a decay or a state does not fit ``input``.

    Notes
    -----
    The gradient is that of SLAYER: threshold and refractory state are constants in it.

    References
    ----------
    .. [1] Shrestha and Orchard, "SLAYER: Spike Layer Error Reassignment in Time", NeurIPS 2018.
    """
    launch = kernels.launch
    x = launch.floating(input)
    scale = launch.power_of_two(w_scale, "w_scale")
    if not tau_rho > 0:
        raise ParameterError(f"expected tau_rho above 0, got {tau_rho}")
    base, rise = to_integer(threshold, scale, "threshold"), to_integer(threshold_step, scale, "threshold_step")
    shape = x.shape[:-1]
    given = {"current_decay": current_decay, "voltage_decay": voltage_decay, "threshold_decay": threshold_decay,
             "refractory_decay": refractory_decay}  # fmt: skip
    decays = [launch.expand_rows(decay, shape, name) for name, decay in given.items()]
    decays[2:] = (decay.detach() for decay in decays[2:])
    states = {"current_state": current_state, "voltage_state": voltage_state, "threshold_state": threshold_state,
              "refractory_state": refractory_state}  # fmt: skip
    persistent = any(state is not None for state in states.values())
    held = [x.new_empty(0)] * 4
    if persistent:
        start = {"threshold_state": x.new_full((1,), base / scale)}
        held = [
            launch.expand_rows(start.get(name, x.new_zeros(1)) if state is None else state, shape, name).detach()
            for name, state in states.items()
        ]
    keep = torch.is_grad_enabled() and (x.requires_grad or decays[0].requires_grad or decays[1].requires_grad)
    height = scale_rho if graded_spike else scale_rho / (2 * tau_rho)
    kind = kernels.kinds.kind_of(surrogate)
    out, _, end = _alif(x, *decays, *held, scale, base, rise, tau_rho, height, graded_spike, kind, keep, persistent)
    return out.to(input.dtype), *end.unbind()
