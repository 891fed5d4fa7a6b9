"""The real-valued threshold: a step forward, a surrogate derivative backward."""

import torch
from torch import Tensor

from ...errors import ParameterError
from .surrogate import bell, check

__all__ = ["Spike"]


class Spike(torch.autograd.Function):
    r"""Spikes where a voltage reaches its threshold.

    ``Spike.apply(voltage, threshold, tau_rho, scale_rho, graded_spike, voltage_last, scale)``, by position.

    Forward, :math:`s = [v \ge \vartheta]`, times :math:`v / scale` where spikes are graded.  Backward, with
    :math:`\tau` = ``tau_rho`` and :math:`\rho` = ``scale_rho``,

    .. math::
        \partial s/\partial v = \frac{\rho}{2\tau} e^{-|v - \vartheta| / \tau} \quad\text{(binary)}, \qquad
        \rho\, e^{\min(v - \vartheta,\, 0) / \tau} \quad\text{(graded)}.

    Parameters
    ----------
    voltage : Tensor, any shape
    threshold : float or Tensor that broadcasts to ``voltage``
        It receives no gradient.
    tau_rho : float
        Width of the surrogate, in units of the voltage, above 0.
    scale_rho : float
        Height of the surrogate.
    graded_spike : bool
        Send the voltage in place of 1.
    voltage_last : float or Tensor
        Not used: a place in lava-dl's order of arguments, kept so that its calls run.
    scale : float
        What a graded spike is divided by.
    centre : float or Tensor, optional
        Where the surrogate is centred, if not at ``threshold``.
    surrogate : str or callable, optional
        What stands for the exponential above, see :func:`~lavadl_lite.slayer.spike.surrogate.bell`.

    Returns
    -------
    Tensor, shape and type of ``voltage``

    Raises
    ------
    ParameterError
        If ``tau_rho`` is not above 0, or there is no such ``surrogate``.

    References
    ----------
    .. [1] Shrestha and Orchard, "SLAYER: Spike Layer Error Reassignment in Time", NeurIPS 2018.
    """

    @staticmethod
    def forward(
        voltage, threshold, tau_rho, scale_rho, graded_spike, voltage_last, scale, centre=None, surrogate="exponential"
    ):
        check(surrogate)
        if not tau_rho > 0:
            raise ParameterError(f"expected tau_rho above 0, got {tau_rho}")
        spike = (voltage >= threshold).to(voltage.dtype)
        return spike * voltage / scale if graded_spike else spike

    @staticmethod
    def setup_context(ctx, inputs, output):
        voltage, threshold, ctx.tau, ctx.rho, ctx.graded = inputs[:5]
        centre = inputs[7] if len(inputs) > 7 and inputs[7] is not None else threshold
        ctx.surrogate = inputs[8] if len(inputs) > 8 else "exponential"
        ctx.centre = None if isinstance(centre, Tensor) else centre
        ctx.save_for_backward(voltage, *([centre] if isinstance(centre, Tensor) else []))
        ctx.inputs = len(inputs)

    @staticmethod
    def backward(ctx, grad):
        voltage, *centre = ctx.saved_tensors
        above = voltage - (centre[0] if centre else ctx.centre)
        if ctx.graded:
            slope = ctx.rho * bell(above.clamp(max=0) / ctx.tau, ctx.surrogate)
        else:
            slope = ctx.rho / (2 * ctx.tau) * bell(above / ctx.tau, ctx.surrogate)
        return (grad * slope, *[None] * (ctx.inputs - 1))
