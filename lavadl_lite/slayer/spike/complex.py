"""The phase threshold of complex neurons: a crossing forward, a surrogate derivative of both parts backward."""

import torch
from torch import Tensor

from ...errors import ParameterError
from .surrogate import bell, check

__all__ = ["Spike"]


class Spike(torch.autograd.Function):
    r"""Spikes where the phase passes zero while the real part is at or above the threshold.

    ``Spike.apply(real, imag, threshold, tau_rho, scale_rho, graded_spike, imag_last, scale)``, by position.

    Forward, :math:`s[t] = [a[t] \ge \vartheta]\,[b[t-1] < 0]\,[b[t] \ge 0]`, times :math:`a[t] / scale` where spikes
    are graded.  Backward, with :math:`\tau` = ``tau_rho`` and :math:`\rho` = ``scale_rho``,
    :math:`E(x) = e^{-|x| / \tau}` and the sigmoid step
    :math:`H = \tfrac12\,(1 + \operatorname{sgn}(a - \vartheta)\,(1 - E(a - \vartheta)))`,

    .. math::
        \partial s/\partial a = \frac{\rho}{4\tau^2}\,E(a - \vartheta)\,E(b), \qquad
        \partial s/\partial b = -\frac{\rho}{2\tau^2}\,\operatorname{sgn}(b)\,E(b)\,H.

    For graded spikes :math:`\partial s/\partial a = \frac{\rho}{2\tau}\,e^{\min(a - \vartheta,\, 0) / \tau}\,E(b)`.
    The imaginary part of the step before has no gradient.

    Parameters
    ----------
    real, imag : Tensor, shape (..., T)
    threshold : float or Tensor that broadcasts to ``real``
        It receives no gradient.
    tau_rho : float
        Width of the surrogate, in units of the state, above 0.
    scale_rho : float
        Height of the surrogate.
    graded_spike : bool
        Send the real part in place of 1.
    imag_last : float or Tensor, shape of ``imag[..., 0]``
        Imaginary part before the first step.
    scale : float
        What a graded spike is divided by.
    surrogate : str or callable, optional
        What stands for :math:`E`, see :func:`~lavadl_lite.slayer.spike.surrogate.bell`.

    Returns
    -------
    Tensor, shape and type of ``real``

    Raises
    ------
    ParameterError
        If ``tau_rho`` is not above 0, or there is no such ``surrogate``.

    Notes
    -----
    lava-dl takes :math:`H` of graded spikes from the one-sided bell, which makes it negative for wide surrogates.
    """

    @staticmethod
    def forward(real, imag, threshold, tau_rho, scale_rho, graded_spike, imag_last, scale, surrogate="exponential"):
        check(surrogate)
        if not tau_rho > 0:
            raise ParameterError(f"expected tau_rho above 0, got {tau_rho}")
        before = torch.roll(imag, 1, -1)
        if imag.shape[-1]:
            before[..., 0] = imag_last
        spike = ((real >= threshold) & (before < 0) & (imag >= 0)).to(real.dtype)
        return spike * real / scale if graded_spike else spike

    @staticmethod
    def setup_context(ctx, inputs, output):
        real, imag, threshold, ctx.tau, ctx.rho, ctx.graded, *_ = inputs
        ctx.surrogate, ctx.inputs = inputs[8] if len(inputs) > 8 else "exponential", len(inputs)
        ctx.threshold = None if isinstance(threshold, Tensor) else threshold
        ctx.save_for_backward(real, imag, *([threshold] if isinstance(threshold, Tensor) else []))

    @staticmethod
    def backward(ctx, grad):
        real, imag, *threshold = ctx.saved_tensors
        above = real - (threshold[0] if threshold else ctx.threshold)
        near, around = (bell(part / ctx.tau, ctx.surrogate) for part in (above, imag))
        passed = (1 + above.sign() * (1 - near)) / 2
        by_imag = -ctx.rho / (2 * ctx.tau**2) * imag.sign() * around * passed
        if ctx.graded:
            by_real = ctx.rho / (2 * ctx.tau) * bell(above.clamp(max=0) / ctx.tau, ctx.surrogate) * around
        else:
            by_real = ctx.rho / (4 * ctx.tau**2) * near * around
        return (grad * by_real, grad * by_imag, *[None] * (ctx.inputs - 2))
