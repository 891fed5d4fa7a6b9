"""The adaptive leaky integrate-and-fire neuron."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ... import kernels
from ..spike import Spike
from ..spike.surrogate import Shape
from ..utils.quantize import quantize
from .adaptation import AbstractAdaptation
from .base import AbstractIntegrator, Parameter
from .dynamics import adaptive_threshold, alif, leaky_integrator
from .spec import Decay, State, Surrogate

__all__ = ["Neuron", "neuron_params"]


def neuron_params(device_params: dict[str, Any], scale: int = 1 << 6, p_scale: int = 1 << 12) -> dict[str, Any]:
    """Constructor arguments of the neuron that a device runs with ``device_params``.

    Parameters
    ----------
    device_params : dict
        ``vThMant`` and ``vThStep``; ``iDecay``, ``vDecay``, ``thDecay`` and ``refDecay``, the decays as integers or as
        arrays (C,); other keys are left alone.
    scale, p_scale : int
        Integers that stand for 1.0 of a threshold and of a decay.

    Returns
    -------
    dict
        ``threshold``, ``threshold_step`` and the four decays.
    """
    return {
        "threshold": device_params["vThMant"] / scale,
        "threshold_step": device_params["vThStep"] / scale,
        "current_decay": device_params["iDecay"] / p_scale,
        "voltage_decay": device_params["vDecay"] / p_scale,
        "threshold_decay": device_params["thDecay"] / p_scale,
        "refractory_decay": device_params["refDecay"] / p_scale,
    }


class Neuron(AbstractAdaptation, AbstractIntegrator):
    r"""Adaptive leaky integrate-and-fire (ALIF) neuron.

    .. math::
        u[t] &= (1 - \alpha_u)\,u[t-1] + \mathrm{norm}(x[t]) \\
        v[t] &= (1 - \alpha_v)\,v[t-1] + u[t] \\
        \theta[t] &= (1 - \alpha_\theta)\,(\theta[t-1] + \Delta\,s[t-1] - \theta_0) + \theta_0 \\
        r[t] &= (1 - \alpha_r)\,(r[t-1] + 2\,\theta[t-1]\,s[t-1]) \\
        s[t] &= [v[t] \ge \theta[t] + r[t]]

    A spike does not reset the voltage. It raises the threshold, which makes the neuron tire, and starts a refractory
    state, which keeps it silent for a while. States and decays are integers with 12 fractional bits, products are
    rounded toward zero, states are held in 24 bits.

    Parameters
    ----------
    threshold : float
        Threshold :math:`\theta_0` at rest, 0 or more, rounded down to a multiple of ``1 / scale``.
    threshold_step : float
        What a spike adds to the threshold, :math:`\Delta`, rounded toward zero to a multiple of ``1 / scale``.
    current_decay, voltage_decay : float, (float, float) or array of shape (C,)
        Fractions :math:`\alpha` in 0..1 lost each step.  With ``shared_param=False`` a pair gives the range that the
        channels' values are drawn from, and one number a range of 1 % about it.  An array gives each channel its own.
    threshold_decay, refractory_decay : float, (float, float) or array of shape (C,)
        The same for threshold and refractory state, but one number stays the same for all channels.  They carry no
        gradient and are never trained.
    tau_grad, scale_grad : float
        Relaxation and scale of the surrogate derivative: :math:`\tau = 100\,\theta_0\cdot` ``tau_grad``,
        :math:`\rho = 0.1\cdot` ``scale_grad``, see :class:`~lavadl_lite.slayer.spike.Spike`.  It is centred at
        :math:`\theta[t] + r[t]`.
    scale : int
        Integer that stands for a weight or threshold of 1.0, a power of two.
    norm : callable, optional
        Makes the module that normalises the input, such as :class:`~.norm.MeanOnlyBatchNorm`.
    dropout : Module, optional
        Applied to the spikes, such as :class:`~.dropout.Dropout`.
    shared_param : bool
        One value of each decay for the layer, or one for each channel.
    persistent_state : bool
        Keep the state between calls.
    requires_grad : bool
        Train the decays of current and voltage.
    graded_spike : bool
        Send the voltage in place of 1.
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
    The parameters hold 0..4096, so an optimiser needs a learning rate of their own for them:
    :func:`~lavadl_lite.slayer.utils.param_groups`.

    References
    ----------
    .. [1] Bellec et al., "Long short-term memory and learning-to-learn in networks of spiking neurons", NeurIPS 2018.
    .. [2] Shrestha and Orchard, "SLAYER: Spike Layer Error Reassignment in Time", NeurIPS 2018.
    """

    type_name = "ALIF"
    decays = (
        Decay("current_decay", field="iDecay"),
        Decay("voltage_decay", field="vDecay"),
        *AbstractAdaptation.adaptation_decays,
    )
    states = (State("current_state"), State("voltage_state"), *AbstractAdaptation.adaptation_states)
    surrogate = Surrogate(tau=100, scale=0.1)
    fields = (("vThStep", "v_th_step"), ("refDelay", "ref_delay"), ("gradedSpike", "graded_spike"))

    current_decay: torch.nn.Parameter
    voltage_decay: torch.nn.Parameter
    current_state: Tensor
    voltage_state: Tensor

    def __init__(
        self,
        threshold: float,
        threshold_step: float,
        current_decay: Parameter,
        voltage_decay: Parameter,
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
        *,
        surrogate: Shape = "exponential",
    ) -> None:
        super().__init__(
            threshold, tau_grad, scale_grad, scale, norm, dropout, shared_param, persistent_state, requires_grad,
            graded_spike, surrogate,
        )  # fmt: skip
        self._declare_step(threshold_step)
        self._declare(
            current_decay=current_decay, voltage_decay=voltage_decay, threshold_decay=threshold_decay,
            refractory_decay=refractory_decay,
        )  # fmt: skip

    @property
    def cx_current_decay(self) -> Any:
        """Current decay as the device holds it: an integer, or an array (C,) of them."""
        return self._cx("current_decay")

    @property
    def cx_voltage_decay(self) -> Any:
        """Voltage decay as the device holds it: an integer, or an array (C,) of them."""
        return self._cx("voltage_decay")

    @property
    def ref_delay(self) -> int:
        """Refractory delay: this neuron has the shortest."""
        return 1

    def _normalised(self, input: Tensor) -> Tensor:
        x = self._ready(input)
        return x if self.norm is None else self.norm(x)

    def _integrated(self, x: Tensor) -> tuple[Tensor, Tensor]:
        current = leaky_integrator.dynamics(x, quantize(self.current_decay), self.current_state, self.s_scale)
        voltage = leaky_integrator.dynamics(current, quantize(self.voltage_decay), self.voltage_state, self.s_scale)
        if self.persistent_state and x.shape[-1]:
            self.current_state = current.detach()[..., -1].clone()
            self.voltage_state = voltage.detach()[..., -1].clone()
        return current, voltage

    def dynamics(self, input: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Current, voltage, threshold and refractory state, the last two before what the step's spike adds.

        With ``persistent_state``, :meth:`spike` has to follow once: it adds what the last spike leaves behind.

        Parameters
        ----------
        input : Tensor, shape (N, C, ..., T)
            Dendrite current.

        Returns
        -------
        current, voltage, threshold, refractory : Tensor, shape of ``input``
        """
        current, voltage = self._integrated(self._normalised(input))
        threshold, refractory = adaptive_threshold.dynamics(
            voltage, self.refractory_state, quantize(self.refractory_decay), self.threshold_state,
            quantize(self.threshold_decay), self.threshold_step, self._threshold, self.s_scale,
        )  # fmt: skip
        if self.persistent_state and voltage.shape[-1]:
            self.threshold_state = threshold.detach()[..., -1].clone()
            self.refractory_state = refractory.detach()[..., -1].clone()
        return current.to(input.dtype), voltage.to(input.dtype), threshold.to(input.dtype), refractory.to(input.dtype)

    def encode(self, signal: Tensor) -> Tensor:
        return self(signal)

    def read_out(self, input: Tensor) -> Tensor:
        return self._integrated(self._normalised(input))[1].to(input.dtype)

    def spike(self, voltage: Tensor, threshold: Tensor, refractory: Tensor) -> Tensor:
        """Spikes of what :meth:`dynamics` returned, after dropout."""
        level = threshold + refractory
        spike = Spike.apply(voltage, level, self._tau, self._rho, self.graded_spike, 0, 1, None, self.surrogate_shape)
        if self.persistent_state and voltage.shape[-1]:
            # not the spike, which a threshold of 0 or below lets a graded neuron send as 0 or below
            fired = (voltage.detach()[..., -1] >= level[..., -1]).float()
            self._raise_threshold(fired)
        return spike if self.drop is None else self.drop(spike)

    def unrolled_step(self, input: Tensor, carried: Sequence[Tensor] = ()) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Spikes of one step whose gradient reaches the steps before; the state has to be persistent.

        Parameters
        ----------
        input : Tensor, shape (N, C, ..., 1)
        carried : sequence of Tensor
            What the step before returned with its spikes; nothing before the first.

        Returns
        -------
        spikes : Tensor, shape (N, C, ..., 1)
        carried : tuple of Tensor
            Both parts of the state before their reset, with their gradients.
        """
        self._ready(input)
        self._resume(carried)
        current, *found = self.dynamics(input)
        return self.spike(*found), (current[..., -1], found[0][..., -1])

    def forward(self, input: Tensor) -> Tensor:
        """Spikes of a dendrite current.

        Parameters
        ----------
        input : Tensor, shape (N, C, ..., T)

        Returns
        -------
        Tensor, shape of ``input``
            0 and 1, or voltages where spikes are graded.
        """
        if callable(self.surrogate_shape):
            _, *found = self.dynamics(kernels.launch.floating(input))
            return self.spike(*found).to(input.dtype)
        x = self._normalised(input)
        current, voltage, threshold, refractory = (
            getattr(self, state.name) if self.persistent_state else None for state in self.states
        )
        spikes, *final = alif.spikes(
            x, quantize(self.current_decay), quantize(self.voltage_decay), quantize(self.threshold_decay),
            quantize(self.refractory_decay), self.s_scale, self._threshold, self.threshold_step, self._tau, self._rho,
            self.graded_spike, current, voltage, threshold, refractory, self.surrogate_shape,
        )  # fmt: skip
        if self.persistent_state and x.shape[-1]:
            for state, values in zip(self.states, final, strict=True):
                setattr(self, state.name, values)
        return (spikes if self.drop is None else self.drop(spikes)).to(input.dtype)
