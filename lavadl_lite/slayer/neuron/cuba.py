"""The current-based leaky integrate-and-fire neuron."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import ParameterError
from ..spike import Spike
from ..spike.surrogate import Shape
from ..utils.quantize import quantize
from .base import AbstractIntegrator, Parameter
from .dynamics import cuba, leaky_integrator
from .spec import Decay, State, Surrogate

__all__ = ["Neuron", "neuron_params"]


def neuron_params(device_params: dict[str, Any], scale: int = 1 << 6, p_scale: int = 1 << 12) -> dict[str, Any]:
    """Constructor arguments of the neuron that a device runs with ``device_params``.

    Parameters
    ----------
    device_params : dict
        ``vThMant``, ``iDecay`` and ``vDecay``, the decays as integers or as arrays (C,); other keys are left alone.
    scale, p_scale : int
        Integers that stand for 1.0 of a threshold and of a decay.

    Returns
    -------
    dict
        ``threshold``, ``current_decay`` and ``voltage_decay``.
    """
    return {
        "threshold": device_params["vThMant"] / scale,
        "current_decay": device_params["iDecay"] / p_scale,
        "voltage_decay": device_params["vDecay"] / p_scale,
    }


class Neuron(AbstractIntegrator):
    r"""Current-based leaky integrate-and-fire (CUBA LIF) neuron.

    .. math::
        u[t] &= (1 - \alpha_u)\,u[t-1] + x[t] \\
        v[t] &= (1 - \alpha_v)\,v[t-1]\,(1 - s[t-1]) + \mathrm{norm}(u[t]) \\
        s[t] &= [v[t] > \vartheta]

    States and decays are integers with 12 fractional bits, products are rounded toward zero, states are held in 24
    bits: the arithmetic of Loihi.  The voltage that :meth:`dynamics` returns comes before the reset.

    Parameters
    ----------
    threshold : float
        Firing threshold :math:`\vartheta`, 0 or more, rounded down to a multiple of ``1 / scale``.
    current_decay, voltage_decay : float, (float, float) or array of shape (C,)
        Fractions :math:`\alpha` in 0..1 lost each step.  With ``shared_param=False`` a pair gives the range that the
        channels' values are drawn from, and one number a range of 1 % about it.  An array gives each channel its own.
    tau_grad, scale_grad : float
        Relaxation and scale of the surrogate derivative: :math:`\tau = 100\,\vartheta\cdot` ``tau_grad``,
        :math:`\rho = 0.1\cdot` ``scale_grad``, see :class:`~lavadl_lite.slayer.spike.Spike`.
    scale : int
        Integer that stands for a weight or threshold of 1.0, a power of two.
    norm : callable, optional
        Makes the module that normalises the current, such as :class:`~.norm.MeanOnlyBatchNorm`.
    dropout : Module, optional
        Applied to the spikes, such as :class:`~.dropout.Dropout`.
    shared_param : bool
        One value of each decay for the layer, or one for each channel.
    persistent_state : bool
        Keep the state between calls.
    requires_grad : bool
        Train the decays.
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
    The parameters ``current_decay`` and ``voltage_decay`` hold 0..4096, so an optimiser needs a learning rate of
    their own for them: :func:`~lavadl_lite.slayer.utils.param_groups`.

    References
    ----------
    .. [1] Davies et al., "Loihi: a neuromorphic manycore processor with on-chip learning", IEEE Micro 38(1), 2018.
    .. [2] Shrestha and Orchard, "SLAYER: Spike Layer Error Reassignment in Time", NeurIPS 2018.
    """

    type_name = "CUBA"
    decays = (Decay("current_decay", field="iDecay"), Decay("voltage_decay", field="vDecay"))
    states = (State("current_state"), State("voltage_state"))
    surrogate = Surrogate(tau=100, scale=0.1)
    fields = (("refDelay", "ref_delay"), ("gradedSpike", "graded_spike"))

    current_decay: torch.nn.Parameter
    voltage_decay: torch.nn.Parameter
    current_state: Tensor
    voltage_state: Tensor

    def __init__(
        self,
        threshold: float,
        current_decay: Parameter,
        voltage_decay: Parameter,
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
        self._declare(current_decay=current_decay, voltage_decay=voltage_decay)
        self.threshold_eps = 0.01 / self.s_scale

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

    def dynamics(self, input: Tensor, spiking: bool = True) -> tuple[Tensor, Tensor]:
        """Current and voltage, the voltage before its reset.

        Parameters
        ----------
        input : Tensor, shape (N, C, ..., T)
            Dendrite current.
        spiking : bool
            Whether the voltage is reset by spikes; without, the neuron is a plain filter.

        Returns
        -------
        current, voltage : Tensor, shape of ``input``
            The current after the normalisation.
        """
        _, current, voltage = self._integrated(self._ready(input), spiking)
        return current.to(input.dtype), voltage.to(input.dtype)

    def _integrated(self, x: Tensor, spiking: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Current, the same after the normalisation, voltage before its reset."""
        fire_above = int(self._threshold * self.s_scale) + 1 if spiking else None
        current = leaky_integrator.dynamics(x, quantize(self.current_decay), self.current_state, self.s_scale)
        filtered = current if self.norm is None else self.norm(current)
        voltage = leaky_integrator.dynamics(
            filtered, quantize(self.voltage_decay), self.voltage_state, self.s_scale, level=fire_above
        )
        if self.persistent_state and x.shape[-1]:
            self.current_state = current.detach()[..., -1].clone()
            self.voltage_state = voltage.detach()[..., -1].clone()
        return current, filtered, voltage

    def encode(self, signal: Tensor) -> Tensor:
        return self(signal)

    def read_out(self, input: Tensor) -> Tensor:
        return self.dynamics(input, spiking=False)[1]

    def spike(self, voltage: Tensor) -> Tensor:
        """Spikes of a voltage that :meth:`dynamics` returned, after dropout."""
        level = self._threshold + 1 / self.s_scale  # the first state above the threshold
        spike = Spike.apply(
            voltage, level, self._tau, self._rho, self.graded_spike, 0, 1, self._threshold + self.threshold_eps,
            self.surrogate_shape,
        )  # fmt: skip
        if self.persistent_state and voltage.shape[-1]:
            self.voltage_state = leaky_integrator.persistent_state(self.voltage_state, spike.detach()[..., -1].float())
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
        x = self._ready(input)
        self._resume(carried)
        current, _, voltage = self._integrated(x, spiking=True)
        return self.spike(voltage), (current[..., -1], voltage[..., -1])

    @property
    def sends_late(self) -> bool:  # type: ignore[override]
        """Whether :meth:`forward` can delay its spikes by itself: in one pass, without memory, watched by nobody."""
        if self.norm is not None or self.drop is not None or self.persistent_state or callable(self.surrogate_shape):
            return False
        watched = self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks
        return type(self).forward is Neuron.forward and not watched

    def forward(self, input: Tensor, late: bool = False) -> Tensor:
        """Spikes of a dendrite current.

        Parameters
        ----------
        input : Tensor, shape (N, C, ..., T)
        late : bool
            Return the spikes a step later than they are sent, which saves the pass of a step delay.

        Returns
        -------
        Tensor, shape of ``input``
            0 and 1, or voltages where spikes are graded.

        Raises
        ------
        ParameterError
            With ``late``, where :attr:`sends_late` is not true.
        """
        if late and not self.sends_late:
            raise ParameterError("expected late of neurons without norm, dropout, state and hooks, got others")
        x = self._ready(input)
        if self.norm is not None or callable(self.surrogate_shape):
            return self.spike(self._integrated(x, spiking=True)[2]).to(input.dtype)
        current, voltage = (self.current_state, self.voltage_state) if self.persistent_state else (None, None)
        spikes, *final = cuba.spikes(
            x, quantize(self.current_decay), quantize(self.voltage_decay), self.s_scale, self._threshold,
            self._tau, self._rho, self.graded_spike, current, voltage, self.surrogate_shape, late,
        )  # fmt: skip
        if self.persistent_state and x.shape[-1]:
            self.current_state, self.voltage_state = final
        return (spikes if self.drop is None else self.drop(spikes)).to(input.dtype)
