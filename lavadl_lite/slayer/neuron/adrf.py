"""The adaptive resonate-and-fire neuron that fires where its phase passes zero."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..spike import complex as complex_spike
from ..spike.surrogate import Shape
from ..utils.quantize import quantize
from .base import Parameter, _number
from .dynamics import adaptive_phase_th, resonator
from .resonator import AbstractResonator, rotation_params
from .spec import Decay, State, Surrogate

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


class Neuron(AbstractResonator):
    r"""Adaptive resonate-and-fire neuron that fires where its phase passes zero.

    .. math::
        z[t] &= (1 - d)\,e^{2\pi i / p}\,z[t-1] + x[t], \qquad z = a + b\,i \\
        r[t] &= (1 - \alpha_r)\,(r[t-1] + 2\,\vartheta[t-1]\,s[t-1]) \\
        \vartheta[t] &= (1 - \alpha_\vartheta)\,(\vartheta[t-1] + \Delta\,s[t-1] - \vartheta_0) + \vartheta_0 \\
        s[t] &= [a[t] \ge \vartheta[t] + r[t]]\,[b[t-1] < 0]\,[b[t] \ge 0]

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
        :math:`\rho = 0.1\cdot` ``scale_grad``, see :class:`~lavadl_lite.slayer.spike.complex.Spike`.
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

    type_name = "ADRF_PHASE"
    phase = True
    adaptive = True
    decays = (
        Decay("sin_decay", field="sinDecay"),
        Decay("cos_decay", field="cosDecay"),
        Decay("threshold_decay", field="thDecay", trainable=False, spread=False),
        Decay("refractory_decay", field="refDecay", trainable=False, spread=False),
    )
    states = (
        State("real_state"),
        State("imag_state"),
        State("threshold_state", initial="threshold"),
        State("refractory_state"),
    )
    surrogate = Surrogate(tau=100, scale=0.1)

    threshold_state: Tensor
    refractory_state: Tensor

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
        self.threshold_step = int(_number(threshold_step, "threshold_step") * self.w_scale) / self.w_scale
        self._declare(threshold_decay=threshold_decay, refractory_decay=refractory_decay)

    @property
    def cx_threshold_decay(self) -> Any:
        """Decay of the threshold as the device holds it."""
        return self._cx("threshold_decay")

    @property
    def cx_refractory_decay(self) -> Any:
        """Decay of the refractory part as the device holds it."""
        return self._cx("refractory_decay")

    @property
    def v_th_step(self) -> int:
        """Step of the threshold as the device holds it."""
        return int(self.threshold_step * self.w_scale)

    @property
    def device_params(self) -> dict[str, Any]:
        return {
            "type": self.type_name,
            **{decay.field: self._cx(decay.name) for decay in self.decays},
            "vThMant": self.v_th_mant,
            "vThStep": self.v_th_step,
            "gradedSpike": self.graded_spike,
        }

    def dynamics(self, input: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """States before a spike of the same step; where the state is persistent, :meth:`spike` completes the call.

        Parameters
        ----------
        input : (Tensor, Tensor), shape (N, C, ..., T)
            What is added to the real and to the imaginary part.

        Returns
        -------
        real, imag, threshold, refractory : Tensor, shape of the inputs
        """
        x_real, x_imag = self._ready_pair(input)
        sin, cos = quantize(self.sin_decay), quantize(self.cos_decay)
        th_decay, ref_decay = quantize(self.threshold_decay), quantize(self.refractory_decay)
        real, imag = resonator.dynamics(x_real, x_imag, sin, cos, self.real_state, self.imag_state, self.s_scale)
        threshold, refractory = adaptive_phase_th.dynamics(
            real, imag, self.imag_state, self.refractory_state, ref_decay, self.threshold_state, th_decay,
            self.threshold_step, self._threshold, self.s_scale,
        )  # fmt: skip
        if self.persistent_state and real.shape[-1]:
            self.real_state = real.detach()[..., -1].clone()
            self.threshold_state = threshold.detach()[..., -1].clone()
            self.refractory_state = refractory.detach()[..., -1].clone()
        dtype = input[0].dtype
        return real.to(dtype), imag.to(dtype), threshold.to(dtype), refractory.to(dtype)

    def spike(self, real: Tensor, imag: Tensor, threshold: Tensor, refractory: Tensor) -> Tensor:
        """Spikes of the states that :meth:`dynamics` returns.

        Parameters
        ----------
        real, imag, threshold, refractory : Tensor, shape (N, C, ..., T)

        Returns
        -------
        Tensor, shape of ``real``
            0 and 1, or real parts where spikes are graded.
        """
        spike = complex_spike.Spike.apply(
            real, imag, threshold + refractory, self._tau, self._rho, self.graded_spike,
            self.imag_state.to(imag.dtype), 1, self.surrogate_shape,
        )  # fmt: skip
        if self.persistent_state and spike.shape[-1]:
            before = imag.detach()[..., -2] if imag.shape[-1] > 1 else self.imag_state
            # not the spike, which is 0 for a graded one at a threshold of 0
            reached = real.detach()[..., -1] >= (threshold + refractory)[..., -1]
            last = (reached & (imag.detach()[..., -1] >= 0) & (before < 0)).float()
            self.imag_state = imag.detach()[..., -1].float()
            self.refractory_state = adaptive_phase_th.persistent_ref_state(
                self.refractory_state, last, self.threshold_state
            )
            self.threshold_state = adaptive_phase_th.persistent_th_state(
                self.threshold_state, last, self.threshold_step
            )
        return spike if self.drop is None else self.drop(spike)

    def forward(self, input: tuple[Tensor, Tensor]) -> Tensor:
        """Spikes of the neurons, in one pass.

        Parameters
        ----------
        input : (Tensor, Tensor), shape (N, C, ..., T)
            What is added to the real and to the imaginary part.

        Returns
        -------
        Tensor, shape of the inputs
            0 and 1, or real parts where spikes are graded.
        """
        return self._fire(input)
