"""The fused resonate-and-fire neurons, spikes from both inputs in one pass."""

import math

import torch
from torch import Tensor

from .... import kernels
from ....errors import ParameterError
from ....kernels.torch_op import torch_op
from .resonator import same_shape

__all__ = ["spikes"]

_Three = tuple[Tensor, Tensor, Tensor]
_Four = tuple[Tensor, Tensor, Tensor, Tensor]


def _forward(
    x_real: Tensor,
    x_imag: Tensor,
    sin: Tensor,
    cos: Tensor,
    adaptation: Tensor,
    initial: Tensor,
    scale: int,
    level: int,
    jump: int,
    tau: float,
    rho: float,
    phase: bool,
    adaptive: bool,
    graded: bool,
    kind: int,
    keep: bool,
    final: bool,
) -> _Three:
    launch = kernels.launch
    inputs = [launch.ready(x) for x in (x_real, x_imag)]
    shape, T, rows = x_real.shape, x_real.shape[-1], math.prod(x_real.shape[:-1])
    out = launch.empty(shape, x_real)
    kept = kernels.resonate.checkpoints(rows, T, adaptive, x_real.device.type) if keep else 0
    kept = x_real.new_empty(kept, dtype=torch.int32)
    states = x_real.new_empty((kernels.resonate.STATES, *shape[:-1]) if final else 0)
    on, unit = (0.0, 1 / scale) if graded else (1.0, 0.0)
    kernels.resonate.forward(
        *inputs, out, kept, states, _decays(sin, cos, adaptation), launch.ready(initial), T, rows, float(scale), level,
        jump, on, unit, phase, adaptive, rows=rows, elements=x_real.numel(),
    )  # fmt: skip
    return out, kept, states


def _decays(sin: Tensor, cos: Tensor, adaptation: Tensor) -> Tensor:
    """All decays of each row behind one another, as the kernel reads them."""
    return torch.cat([kernels.launch.ready(p).reshape(-1) for p in (sin, cos, adaptation)])


def _fake_forward(
    x_real, x_imag, sin, cos, adaptation, initial, scale, level, jump, tau, rho, phase, adaptive, graded,
    kind, keep, final,
):  # fmt: skip
    shape, T, rows = x_real.shape, x_real.shape[-1], math.prod(x_real.shape[:-1])
    kept = kernels.resonate.checkpoints(rows, T, adaptive, x_real.device.type) if keep else 0
    states = x_real.new_empty((kernels.resonate.STATES, *shape[:-1]) if final else 0)
    return x_real.new_empty(shape), x_real.new_empty(kept, dtype=torch.int32), states


def _backward(
    grad: Tensor,
    x_real: Tensor,
    x_imag: Tensor,
    kept: Tensor,
    sin: Tensor,
    cos: Tensor,
    adaptation: Tensor,
    initial: Tensor,
    scale: int,
    level: int,
    jump: int,
    tau: float,
    rho: float,
    phase: bool,
    adaptive: bool,
    graded: bool,
    kind: int,
) -> _Four:
    launch = kernels.launch
    shape, rows = x_real.shape, math.prod(x_real.shape[:-1])
    g_real, g_imag = (launch.empty(shape, x_real) for _ in range(2))
    g_sin, g_cos = (x_real.new_empty(shape[:-1]) for _ in range(2))
    slope = kernels.kinds.slope_of(kind, tau, scale)
    height = rho if graded else rho / (2 * tau)
    heights = (height / (2 * tau), -rho / (2 * tau * tau)) if phase else (0.0, height)
    kernels.resonate.backward(
        launch.ready(grad), launch.ready(x_real), launch.ready(x_imag), kept, g_real, g_imag, g_sin, g_cos,
        _decays(sin, cos, adaptation), launch.ready(initial), shape[-1], rows, float(scale), level, jump, slope,
        *heights, phase, adaptive, graded, kind, rows=rows, elements=x_real.numel(),
    )  # fmt: skip
    return g_real, g_imag, g_sin, g_cos


def _fake_backward(
    grad, x_real, x_imag, kept, sin, cos, adaptation, initial, scale, level, jump, tau, rho, phase, adaptive,
    graded, kind,
):  # fmt: skip
    inputs = [x_real.new_empty(x_real.shape) for _ in range(2)]
    return (*inputs, *[x_real.new_empty(x_real.shape[:-1]) for _ in range(2)])


def _setup_context(ctx, inputs, output):
    x_real, x_imag, sin, cos, adaptation, initial, *numbers = inputs
    _, kept, states = output
    ctx.mark_non_differentiable(kept, states)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x_real, x_imag, kept, sin, cos, adaptation, initial)
    ctx.numbers = numbers[:-2]


def _arguments_of_backward(ctx, grad, *_):
    x, *others = ctx.saved_tensors  # once: a checkpoint hands them out no second time
    return (torch.zeros_like(x) if grad is None else grad, x, *others, *ctx.numbers)


_resonate = torch_op(
    "resonate", _forward, _fake_forward, _backward, _fake_backward, _setup_context, _arguments_of_backward, inputs=17
)  # fmt: skip


def spikes(
    real_input: Tensor,
    imag_input: Tensor,
    sin_decay: Tensor,
    cos_decay: Tensor,
    w_scale: int,
    threshold: float,
    tau_rho: float,
    scale_rho: float,
    phase: bool,
    graded_spike: bool = False,
    states: tuple[Tensor, ...] = (),
    adaptation: tuple[Tensor, Tensor, float] | None = None,
    surrogate: str = "exponential",
) -> tuple[Tensor, tuple[Tensor, ...]]:
    r"""Spikes of resonate-and-fire neurons, all time steps at once.

    The rotation is that of :func:`.resonator.dynamics`.  With an adaptive threshold, on integers,

    .. math::
        r[t] &= \lfloor r'[t-1]\,(4096 - \alpha_r) / 4096\rceil_0 \\
        \vartheta[t] &= \lfloor (\vartheta'[t-1] - \vartheta_0)\,(4096 - \alpha_\vartheta) / 4096\rceil_0 + \vartheta_0

    and after a spike :math:`r' = r + 2\vartheta`, :math:`\vartheta' = \vartheta + \Delta`.

    Parameters
    ----------
    real_input, imag_input : Tensor, shape (..., T)
        What is added to the real and to the imaginary part.
    sin_decay, cos_decay : Tensor, shape (1,), (C,) or the spatial shape
        Factors of the rotation, in 0..4096; rounded toward zero, held inside the range.
    w_scale : int
        Integer state that stands for 1.0, a power of two.
    threshold : float
        Firing threshold, a multiple of ``1 / w_scale``; a neuron fires at or above it.
    tau_rho, scale_rho : float
        Width and height of the surrogate: see :class:`.spike.Spike` and :class:`.spike.complex.Spike`.
    phase : bool
        Fire where the imaginary part passes zero upward while the real part is at or above the threshold; otherwise
        where the imaginary part is, which then resets unless the threshold is adaptive.
    graded_spike : bool
        Send the part that is compared in place of 1.
    states : tuple of Tensor
        Real and imaginary part, threshold and refractory part before the first step, one for all rows or of shape
        ``real_input.shape[:-1]``; at rest if empty.  They carry no gradient.
    adaptation : (Tensor, Tensor, float), optional
        Decays of the threshold and of the refractory part, in 0..4096, and the threshold's step.
    surrogate : str
        Shape of the surrogate's bells, see :func:`~lavadl_lite.slayer.spike.surrogate.bell`.

    Returns
    -------
    spikes : Tensor, shape of ``real_input``
    states : tuple of Tensor
        The same states after the last step and its reset, or empty when none were given.

    Raises
    ------
    ParameterError
        If an input is not of a floating-point type, ``w_scale`` not a power of two, ``threshold`` not a number or
        ``tau_rho`` not above 0.
    ShapeError
        If a decay or a state does not fit the inputs, or their shapes differ.
    """
    launch = kernels.launch
    x_real, x_imag = same_shape(real_input, imag_input)
    scale = launch.power_of_two(w_scale, "w_scale")
    if threshold != threshold or not tau_rho > 0:  # noqa: PLR0124 - math.isnan would break a graph
        raise ParameterError(f"expected threshold a number and tau_rho above 0, got {threshold} and {tau_rho}")
    shape = x_real.shape[:-1]
    sin = launch.expand_rows(sin_decay, shape, "sin_decay")
    cos = launch.expand_rows(cos_decay, shape, "cos_decay")
    largest = kernels.fixed_point.STATE_MAX
    level = min(math.ceil(threshold * scale), largest)
    jump, slow = 0, x_real.new_empty(0)
    if adaptation is not None:
        *decays, step = adaptation
        jump = max(-largest, min(math.trunc(step * scale), largest))
        named = zip(decays, ("threshold_decay", "refractory_decay"), strict=True)
        slow = torch.stack([launch.expand_rows(decay.detach(), shape, name) for decay, name in named])
    zero = x_real.new_zeros(1)
    given = states or (zero, zero, zero + threshold, zero)
    names = ("real_state", "imag_state", "threshold_state", "refractory_state")
    initial = torch.stack([launch.expand_rows(s.detach(), shape, n) for s, n in zip(given, names, strict=False)])
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (x_real, x_imag, sin, cos))
    out, _, final = _resonate(
        x_real, x_imag, sin, cos, slow, initial, scale, level, jump, tau_rho, scale_rho, phase, adaptation is not None,
        graded_spike, kernels.kinds.kind_of(surrogate), keep, bool(states),
    )  # fmt: skip
    return out.to(real_input.dtype), tuple(final[: len(states)]) if states else ()
