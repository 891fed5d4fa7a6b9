"""The adaptive threshold and its refractory state as functions of a voltage; they carry no gradient."""

import math

import torch
from torch import Tensor

from .... import kernels
from ....errors import ParameterError, ShapeError
from ....kernels.torch_op import forward_op

__all__ = ["dynamics", "persistent_ref_state", "persistent_th_state", "respond", "to_integer"]


def _forward(
    voltage: Tensor,
    im: Tensor,
    decay_th: Tensor,
    decay_r: Tensor,
    state_th: Tensor,
    state_r: Tensor,
    state_im: Tensor,
    scale: int,
    base: int,
    rise: int,
) -> tuple[Tensor, Tensor]:
    launch = kernels.launch
    voltage, im = launch.ready(voltage), launch.ready(im)
    threshold, refractory = (launch.empty(voltage.shape, voltage) for _ in range(2))
    parameters = [launch.ready(p) for p in (decay_th, decay_r, state_th, state_r, state_im)]
    kernels.adaptive_threshold.forward(
        voltage, im, threshold, refractory, *parameters, voltage.shape[-1], float(scale), base, rise,
        rows=math.prod(voltage.shape[:-1]), elements=2 * voltage.numel(),
    )  # fmt: skip
    return threshold, refractory


def _fake_forward(voltage, im, decay_th, decay_r, state_th, state_r, state_im, scale, base, rise):
    return voltage.new_empty(voltage.shape), voltage.new_empty(voltage.shape)


_adaptive_threshold = forward_op("adaptive_threshold", _forward, _fake_forward)


def to_integer(value: float | Tensor, scale: int, name: str) -> int:
    """``value`` on the scale of the states, toward zero and inside their 24 bits.

    Raises
    ------
    ParameterError
        If it is not one number.
    """
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ParameterError(f"expected {name} to be one number, got a tensor of shape {tuple(value.shape)}")
    value = float(value)
    if value != value:  # noqa: PLR0124 - math.isnan would break a graph
        raise ParameterError(f"expected {name} to be a number, got nan")
    largest = kernels.fixed_point.STATE_MAX
    return int(max(min(value * scale, largest), -largest))


def respond(
    voltage: Tensor,
    im: tuple[Tensor, Tensor] | None,
    ref_state: Tensor,
    ref_decay: Tensor,
    th_state: Tensor,
    th_decay: Tensor,
    th_scale: float | Tensor,
    th0: float | Tensor,
    w_scale: int,
    debug: bool,
) -> tuple[Tensor, Tensor]:
    """Threshold and refractory state; with ``im``, a second input and its state before, a spike has a phase.

    The other arguments, and what is raised, as in :func:`dynamics`.
    """
    launch = kernels.launch
    x = launch.floating(voltage).detach()
    scale = launch.power_of_two(w_scale, "w_scale")
    shape = x.shape[:-1]
    given = {"th_decay": th_decay, "ref_decay": ref_decay, "th_state": th_state, "ref_state": ref_state}
    parameters = [launch.expand_rows(value, shape, name).detach() for name, value in given.items()]
    second = state_im = x.new_empty(0)
    if im is not None:
        second = launch.floating(im[0], "im_input").detach()
        if second.shape != x.shape:
            raise ShapeError(f"expected im_input of shape {tuple(x.shape)}, got {tuple(second.shape)}")
        state_im = launch.expand_rows(im[1], shape, "im_state").detach()
    base, rise = to_integer(th0, scale, "th0"), to_integer(th_scale, scale, "th_scale")
    threshold, refractory = _adaptive_threshold(x, second, *parameters, state_im, scale, base, rise)
    if debug:
        _check(x, second, state_im, threshold, refractory, rise, scale)
    return threshold.to(voltage.dtype), refractory.to(voltage.dtype)


def _check(
    x: Tensor, im: Tensor, state_im: Tensor, threshold: Tensor, refractory: Tensor, rise: int, scale: int
) -> None:
    """Raise for what the 24-bit range hides."""
    if not bool(torch.isfinite(x).all()) or not bool(torch.isfinite(im).all()):
        raise ParameterError("expected a finite input, got NaN or infinity")
    fired = (x * scale).trunc() >= (threshold + refractory) * scale
    if state_im.numel():
        phase = (torch.cat([state_im.unsqueeze(-1), im], -1) * scale).trunc()
        fired &= (phase[..., 1:] >= 0) & (phase[..., :-1] < 0)
    largest = kernels.fixed_point.STATE_MAX / scale
    after = threshold + fired * (rise / scale), refractory + fired * 2 * threshold
    if x.numel() and max(float(state.abs().max()) for state in after) > largest:
        raise ParameterError(f"expected states up to {largest}, but one was limited to it")


def dynamics(
    input: Tensor,
    ref_state: Tensor,
    ref_decay: Tensor,
    th_state: Tensor,
    th_decay: Tensor,
    th_scale: float | Tensor,
    th0: float | Tensor,
    w_scale: int,
    debug: bool = False,
) -> tuple[Tensor, Tensor]:
    r"""Threshold and refractory state of neurons with a given voltage, all time steps at once.

    On integers, with :math:`\lfloor\cdot\rceil_0` rounding toward zero,

    .. math::
        r[t] &= \lfloor r'[t-1]\,(4096 - \alpha_r) / 4096\rceil_0 \\
        \theta[t] &= \lfloor (\theta'[t-1] - \theta_0)\,(4096 - \alpha_\theta) / 4096\rceil_0 + \theta_0 \\
        s[t] &= [v[t] \ge \theta[t] + r[t]] \\
        r'[t] &= r[t] + 2\,\theta[t]\,s[t], \qquad \theta'[t] = \theta[t] + \Delta\,s[t]

    States are held inside :math:`\pm(2^{23} - 1)` after each sum.

    Parameters
    ----------
    input : Tensor, shape (..., T)
        Voltage, rounded toward zero to a multiple of ``1 / w_scale``.
    ref_state, th_state : Tensor, shape (1,), (C,), the spatial shape (C, ...) or ``input.shape[:-1]``
        Refractory state and threshold before the first step, after what the last spike added.
    ref_decay, th_decay : Tensor, same shapes
        Fractions lost each step, in 0..4096; rounded toward zero, held inside the range.
    th_scale : float or Tensor of one element
        What a spike adds to the threshold, :math:`\Delta`.
    th0 : float or Tensor of one element
        Where the threshold decays to, :math:`\theta_0`.
    w_scale : int
        Integer state that stands for 1.0, a power of two.
    debug : bool
        Check for what the 24-bit range hides: raise if ``input`` is not finite or a state was limited.

    Returns
    -------
    threshold, refractory : Tensor, shape of ``input``
        Before what the step's own spike adds: a neuron fires where its voltage reaches their sum.

    Raises
    ------
    ParameterError
        For an input that is not floating-point, a scale that is not a power of two, ``th_scale`` or ``th0`` not one
        number, or what ``debug`` finds.
    ShapeError
        If a decay or a state has none of these shapes.

    Notes
    -----
    Neither output carries a gradient, to the voltage or to any parameter.
    """
    return respond(input, None, ref_state, ref_decay, th_state, th_decay, th_scale, th0, w_scale, debug)


def persistent_ref_state(ref_state: Tensor, spike: Tensor, th_state: Tensor) -> Tensor:
    """``ref_state`` raised by twice ``th_state`` where a spike was sent: what the next chunk of time begins with.

    Parameters
    ----------
    ref_state, th_state : Tensor
        Last refractory state and threshold of a chunk, before what its last spike adds.
    spike : Tensor, same shape
        Last spikes of that chunk; anything above 0 counts.
    """
    return ref_state + 2 * th_state * (spike > 0)


def persistent_th_state(th_state: Tensor, spike: Tensor, th_step: float | Tensor) -> Tensor:
    """``th_state`` raised by ``th_step`` where a spike was sent: what the next chunk of time begins with.

    Parameters
    ----------
    th_state : Tensor
        Last threshold of a chunk, before what its last spike adds.
    spike : Tensor, same shape
        Last spikes of that chunk; anything above 0 counts.
    th_step : float
        What a spike adds.
    """
    return th_state + th_step * (spike > 0)
