"""The resonate-and-fire neuron that fires where its phase passes zero."""

from collections.abc import Callable
from typing import Any

import torch

from ..spike.surrogate import Shape
from .base import Parameter
from .resonator import AbstractResonator, rotation_params
from .spec import Surrogate

__all__ = ["Neuron", "neuron_params"]


def neuron_params(device_params: dict[str, Any], scale: int = 1 << 6, p_scale: int = 1 << 12) -> dict[str, Any]:
    """Constructor arguments of the neuron that a device runs with ``device_params``.

    Parameters
    ----------
    device_params : dict
        ``vThMant``, ``sinDecay`` and ``cosDecay``,
        decays as integers or as arrays (C,); other keys are left alone.
    scale, p_scale : int
        Integers that stand for 1.0 of a threshold and of a decay.

    Returns
    -------
    dict
        ``threshold``, ``period`` and ``decay``.
    """
    return {
        "threshold": device_params["vThMant"] / scale,
        **rotation_params(device_params, p_scale),
    }


class Neuron(AbstractResonator):
    r"""Resonate-and-fire neuron that fires where its phase passes zero.

    .. math::
        z[t] &= (1 - d)\,e^{2\pi i / p}\,z[t-1] + x[t], \qquad z = a + b\,i \\
        s[t] &= [a[t] \ge \vartheta]\,[b[t-1] < 0]\,[b[t] \ge 0]

    State and factors are integers with 12 fractional bits, products are rounded toward zero each by itself, states are
    held in 24 bits: the arithmetic of Loihi 2.  Nothing is reset by a spike.

    Parameters
    ----------
    threshold : float
        Firing threshold, 0 or more, rounded down to a multiple of ``1 / scale``.
    period : float, (float, float) or array of shape (C,)
        Steps of a turn, 4 or more.  With ``shared_param=False`` a pair gives the range of the channels' values, and one
        number a range of 1 % about it; see ``log_init``.  An array gives each channel its own.
    decay : float, (float, float) or array of shape (C,)
        Fraction in 0..1 that the state shrinks by each step; ranges as for ``period``, drawn evenly.
    tau_grad, scale_grad : float
        Relaxation and scale of the surrogate derivative: :math:`\tau = 0.5\,\vartheta\cdot` ``tau_grad``,
        :math:`\rho = 10\cdot` ``scale_grad``, see :class:`~lavadl_lite.slayer.spike.complex.Spike`.
    scale : int
        Integer that stands for a weight or threshold of 1.0, a power of two.
    norm : callable, optional
        Makes the modules that normalise the inputs, one for each, such as :class:`~.norm.MeanOnlyBatchNorm`.
    dropout : Module, optional
        Applied to the spikes, such as :class:`~.dropout.Dropout`.
    shared_param : bool
        One value of each parameter for the layer, or one for each channel.
    persistent_state : bool
        Keep the state between calls.
    requires_grad : bool
        Train the rotation.
    graded_spike : bool
        Send the real part in place of 1.
    log_init : bool
        Spread the channels' frequencies evenly on a logarithmic scale, or draw them evenly.
    surrogate : str or callable
        Shape of the surrogate derivative: ``"exponential"``, ``"fast_sigmoid"``, ``"arctan"``, ``"triangle"``, or a
        function of the distance to the threshold, see :func:`~lavadl_lite.slayer.spike.surrogate.bell`.  A function
        runs in separate passes.

    Raises
    ------
    ParameterError
        For an argument outside its range.

    Notes
    -----
    The parameters ``sin_decay`` and ``cos_decay`` hold 0..4096, so an optimiser needs a learning rate of their own for
    them: :func:`~lavadl_lite.slayer.utils.param_groups`.

    References
    ----------
    .. [1] Izhikevich, "Resonate-and-fire neurons", Neural Networks 14, 2001.
    .. [2] Frady et al., "Efficient neuromorphic signal processing with resonator neurons", JSPS 94, 2022.
    """

    type_name = "RF_PHASE"
    phase = True
    adaptive = False
    decays = AbstractResonator.rotation_decays
    states = AbstractResonator.rotation_states
    surrogate = Surrogate(tau=0.5, scale=10)
    fields = (("gradedSpike", "graded_spike"),)

    def __init__(
        self,
        threshold: float,
        period: Parameter,
        decay: Parameter,
        tau_grad: float = 1,
        scale_grad: float = 1,
        scale: int = 1 << 6,
        norm: Callable[[], torch.nn.Module] | None = None,
        dropout: torch.nn.Module | None = None,
        shared_param: bool = True,
        persistent_state: bool = False,
        requires_grad: bool = False,
        graded_spike: bool = False,
        log_init: bool = True,
        *,
        surrogate: Shape = "exponential",
    ) -> None:
        super().__init__(
            threshold, period, decay, tau_grad, scale_grad, scale, norm, dropout, shared_param, persistent_state,
            requires_grad, graded_spike, log_init, surrogate,
        )  # fmt: skip
