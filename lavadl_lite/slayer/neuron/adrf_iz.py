"""The adaptive resonate-and-fire neuron of Izhikevich."""

from collections.abc import Callable
from typing import Any

import torch

from ..spike.surrogate import Shape
from .adaptation import AbstractAdaptation
from .base import Parameter
from .resonator import AbstractResonator, rotation_params
from .spec import Surrogate

__all__ = ["Neuron", "neuron_params"]


def neuron_params(device_params: dict[str, Any], scale: int = 1 << 6, p_scale: int = 1 << 12) -> dict[str, Any]:
    """Constructor arguments of the neuron that a device runs with ``device_params``.

    Parameters
    ----------
    device_params : dict
        ``vThMant``, ``vThStep``, ``sinDecay``, ``cosDecay``, ``thDecay`` and ``refDecay``,
        decays as integers or as arrays (C,); other keys are left alone.
    scale, p_scale : int
        Integers that stand for 1.0 of a threshold and of a decay.

    Returns
    -------
    dict
        ``threshold``, ``threshold_step``, ``period``, ``decay``, ``threshold_decay`` and ``refractory_decay``.
    """
    return {
        "threshold": device_params["vThMant"] / scale,
        "threshold_step": device_params["vThStep"] / scale,
        "threshold_decay": device_params["thDecay"] / p_scale,
        "refractory_decay": device_params["refDecay"] / p_scale,
        **rotation_params(device_params, p_scale),
    }


class Neuron(AbstractAdaptation, AbstractResonator):
    r"""Adaptive resonate-and-fire neuron of Izhikevich.

    .. math::
        z[t] &= (1 - d)\,e^{2\pi i / p}\,z[t-1] + x[t], \qquad z = a + b\,i \\
        r[t] &= (1 - \alpha_r)\,(r[t-1] + 2\,\vartheta[t-1]\,s[t-1]) \\
        \vartheta[t] &= (1 - \alpha_\vartheta)\,(\vartheta[t-1] + \Delta\,s[t-1] - \vartheta_0) + \vartheta_0 \\
        s[t] &= [b[t] \ge \vartheta[t] + r[t]]

    State and factors are integers with 12 fractional bits, products are rounded toward zero each by itself, states are
    held in 24 bits: the arithmetic of Loihi 2.  The state is not reset; the threshold, and the refractory part
    that is added to it, jump at each spike.

    Parameters
    ----------
    threshold : float
        Firing threshold at rest, 0 or more, rounded down to a multiple of ``1 / scale``.
    threshold_step : float
        What a spike adds to the threshold, rounded down to a multiple of ``1 / scale``.
    period : float, (float, float) or array of shape (C,)
        Steps of a turn, 4 or more.  With ``shared_param=False`` a pair gives the range of the channels' values, and one
        number a range of 1 % about it; see ``log_init``.  An array gives each channel its own.
    decay : float, (float, float) or array of shape (C,)
        Fraction in 0..1 that the state shrinks by each step; ranges as for ``period``, drawn evenly.
    threshold_decay, refractory_decay : float, (float, float) or array of shape (C,)
        Fractions in 0..1 that the threshold's excess and the refractory part lose each step; they are not trained.
    tau_grad, scale_grad : float
        Relaxation and scale of the surrogate derivative: :math:`\tau = 100\,\vartheta\cdot` ``tau_grad``,
        :math:`\rho = 0.1\cdot` ``scale_grad``, see :class:`~lavadl_lite.slayer.spike.Spike`.
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
        Send the imaginary part in place of 1.
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

    type_name = "ADRF_IZHIKEVICH"
    phase = False
    adaptive = True
    decays = (*AbstractResonator.rotation_decays, *AbstractAdaptation.adaptation_decays)
    states = (*AbstractResonator.rotation_states, *AbstractAdaptation.adaptation_states)
    surrogate = Surrogate(tau=100, scale=0.1)
    fields = (("vThStep", "v_th_step"), ("gradedSpike", "graded_spike"))

    def __init__(
        self,
        threshold: float,
        threshold_step: float,
        period: Parameter,
        decay: Parameter,
        threshold_decay: Parameter,
        refractory_decay: Parameter,
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
        self._declare_step(threshold_step)
        self._declare(threshold_decay=threshold_decay, refractory_decay=refractory_decay)
