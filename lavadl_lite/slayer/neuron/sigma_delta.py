"""The sigma-delta neuron: an activation function between a decoder and an encoder of changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import ExchangeError, ParameterError, ShapeError
from ...exchange import ACTIVATIONS
from .. import axon, dendrite
from .base import AbstractIntegrator
from .dynamics import sigma_delta
from .spec import Surrogate

__all__ = ["Neuron", "neuron_params"]

_COSMETIC = ("training", "inplace")  # attributes of a module that do not change what it computes


def neuron_params(device_params: dict[str, Any], scale: int = 1 << 6) -> dict[str, Any]:
    """Constructor arguments of the neuron that a device runs with ``device_params``.

    Parameters
    ----------
    device_params : dict
        ``vThMant``, an integer or an array (C,); ``activation``, a name, where it is there.  Other keys are left alone.
    scale : int
        Integer that stands for a threshold of 1.0.

    Returns
    -------
    dict
        ``threshold``, and ``activation`` where the name is that of an activation function of torch.
    """
    params = {"threshold": device_params["vThMant"] / scale}
    name = device_params.get("activation")
    if name == "identity":
        params["activation"] = torch.nn.Identity()
    elif name in ACTIVATIONS:
        params["activation"] = getattr(torch.nn.functional, name)
    return params


class Neuron(AbstractIntegrator):
    r"""Sigma-delta neuron: sums changes up, applies an activation function, and sends its changes on.

    .. math::
        \sigma[t] &= \sigma[t-1] + x[t] \\
        a[t] &= f(\mathrm{norm}(\sigma[t]) + b) \\
        y &= \mathrm{Delta}(a)

    See :class:`~lavadl_lite.slayer.dendrite.Sigma` and :class:`~lavadl_lite.slayer.axon.Delta` for the two ends.  All
    runs in one pass where there is no norm and the activation function is one that
    :func:`~lavadl_lite.slayer.neuron.dynamics.sigma_delta.line_of` knows.

    Parameters
    ----------
    threshold : float or array of shape (C,)
        Smallest change of the activation that is sent, 0 or more, rounded down to a multiple of ``1 / scale``, and held
        at one unit of a message or more.
    activation : callable
        Activation function :math:`f`, such as ``torch.nn.functional.relu``, or a module.
    tau_grad, scale_grad : float
        Width (above 0) and height of the surrogate derivative by the threshold.
    scale : int
        Integer that stands for a weight or threshold of 1.0, a power of two; a message of 1.0 is 64 times that.
    cum_error : bool
        Compare the sum of the differences since the last message with the threshold, not the difference.
    norm : callable, optional
        Makes the module that normalises the sum, such as :class:`~.norm.MeanOnlyBatchNorm`.
    dropout : Module, optional
        Applied to the messages, such as :class:`~.dropout.Dropout`.
    shared_param : bool
        One threshold for the layer, or one for each channel.
    persistent_state : bool
        Keep the state between calls.
    requires_grad : bool
        Train the threshold and the bias.
    carry_rounding : bool
        Put what rounding took from a message back into the residual, so that messages do not drift away from the
        activation.  A network on the chip does not.

    Attributes
    ----------
    bias : Parameter, shape (1,), or what :meth:`set_bias` was given
        Added to the sum once it is set or loaded.
    bias_is_set : bool
        Whether it is.

    Raises
    ------
    ParameterError
        For an argument outside its range.

    References
    ----------
    .. [1] O'Connor and Welling, "Sigma Delta Quantized Networks", ICLR 2017.
    """

    type_name = "SDNN"
    decays = ()
    states = ()
    surrogate = Surrogate(tau=1, scale=1)
    step_delay = False

    sigma: dendrite.Sigma
    delta: axon.Delta

    def __init__(
        self,
        threshold: float | np.ndarray | Tensor,
        activation: Callable[[Tensor], Tensor],
        tau_grad: float = 1,
        scale_grad: float = 1,
        scale: int = 1 << 6,
        cum_error: bool = False,
        norm: Callable[[], torch.nn.Module] | None = None,
        dropout: torch.nn.Module | None = None,
        shared_param: bool = True,
        persistent_state: bool = False,
        requires_grad: bool = False,
        *,
        carry_rounding: bool = False,
    ) -> None:
        per_channel = isinstance(threshold, np.ndarray | Tensor) and threshold.ndim == 1 and len(threshold) > 1
        start: Any = 0.0 if per_channel else threshold
        super().__init__(
            start, tau_grad, scale_grad, scale, norm, dropout, shared_param,
            persistent_state, requires_grad, graded_spike=True,
        )  # fmt: skip
        if not callable(activation):
            raise ParameterError(f"expected activation to be a function or a module, got {activation!r}")
        self.p_scale = 1
        self.activation = activation
        start = self._threshold
        if per_channel:
            start = torch.floor(torch.as_tensor(threshold, dtype=torch.float64) * self.w_scale) / self.w_scale
        self.sigma = dendrite.Sigma(persistent_state)
        self.delta = axon.Delta(
            start, self.s_scale, tau_grad, scale_grad, cum_error, shared_param, persistent_state, requires_grad,
            carry_rounding=carry_rounding,
        )  # fmt: skip
        self.shared_param = self.delta.shared_param
        self.bias_is_set = False
        self.bias = torch.nn.Parameter(torch.zeros(1), requires_grad=self.requires_grad)

    def extra_repr(self) -> str:
        name = "" if isinstance(self.activation, torch.nn.Module) else f"activation={self._activation_name}, "
        return f"{name}scale={self.w_scale}, requires_grad={self.requires_grad}"

    @property
    def _activation_name(self) -> str:
        """Name of the function, or of the module's class in lower case."""
        return getattr(self.activation, "__name__", type(self.activation).__name__.lower())

    # ------------------------------------------------------------------------------------------------- parameters
    @property
    def threshold(self) -> Any:
        """The encoder's threshold: a parameter of shape (1,) or (C,)."""
        return self.delta.threshold

    @property
    def v_th_mant(self) -> Any:
        """Threshold as the device holds it, rounded toward zero: an integer, or an array (C,) of them."""
        held = (self.threshold.detach().double() * self.w_scale).to(torch.int64).cpu().numpy()
        return int(held[0]) if held.size == 1 else held

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self.delta.device

    @property
    def device_params(self) -> dict[str, Any]:
        """The neuron's type, activation and threshold as the exchange format has them, and the flags that are set.

        Raises
        ------
        ExchangeError
            If the activation's name is one of ``exchange.ACTIVATIONS``, but it computes something else: it has
            arguments of its own, hooks, or only the name in common.
        """
        if self._activation_name in ACTIVATIONS and not _is_plain(self.activation, self._activation_name):
            raise ExchangeError(
                f"{type(self).__qualname__}, field neuron/activation: expected torch's {self._activation_name} without "
                f"further arguments, which is all that the name says, got {self.activation!r}"
            )
        return self._named_params

    @property
    def _named_params(self) -> dict[str, Any]:
        flags = {"cumError": self.delta.cum_error, "carryRounding": self.delta.carry_rounding}
        return {
            "type": self.type_name,
            "activation": self._activation_name,
            "vThMant": self.v_th_mant,
            **{name: True for name, value in flags.items() if value},
        }

    @property
    def read_out_params(self) -> dict[str, Any]:
        """``device_params`` of a neuron whose sum is read out, without what changes its messages."""
        params = self._named_params
        return {**{name: params[name] for name in ("type", "activation", "vThMant")}, "sigma_output": True}

    def clamp(self) -> None:
        """Hold the threshold at one unit of a message or more."""
        self.delta.clamp()

    def set_bias(self, bias: Tensor) -> None:
        """Add ``bias`` to the sum from now on.

        Parameters
        ----------
        bias : Tensor, shape (1,), (C,) or the spatial shape
            One value for all, for each channel or for each neuron.

        Raises
        ------
        ShapeError
            If the spatial shape is known and ``bias`` has none of these shapes.
        """
        start = bias.detach().to(self.bias.device, torch.float32).clone()
        if self.shape is not None:
            start = self._fitting(start, self.shape)
        self.bias.data = start
        self.bias_is_set = True

    @staticmethod
    def _fitting(bias: Tensor, shape: torch.Size) -> Tensor:
        """``bias`` as (1,), (C,) or all of the spatial shape."""
        if bias.numel() == math.prod(shape):
            return bias.reshape(shape)
        if bias.numel() not in (1, shape[0]):
            raise ShapeError(f"expected a bias of shape (1,), {(shape[0],)} or {tuple(shape)}, got {tuple(bias.shape)}")
        return bias.reshape(-1)

    def materialize(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Fix the spatial shape ``(C,)`` or ``(C, H, W)``, give each channel its threshold; returns the same shape.

        Raises
        ------
        ShapeError
            If the thresholds or the bias were made for another number of channels.
        """
        if self.bias_is_set and shape:
            self.bias.data = self._fitting(self.bias.data, torch.Size(shape))
        self.delta.materialize(shape)
        self.sigma.materialize(shape)
        return super().materialize(shape)

    # ----------------------------------------------------------------------------------------------------- dynamics
    def reset_state(self) -> None:
        """Forget the persistent state: the next call begins as the first one did."""
        self.sigma.reset_state()
        self.delta.reset_state()

    def encode(self, signal: Tensor) -> Tensor:
        """Changes of ``signal``: there is nothing to sum up, nor an activation, in front of a network."""
        messages = self.delta(self._ready(signal))
        return (messages if self.drop is None else self.drop(messages)).to(signal.dtype)

    def encoding(self, signal: Tensor) -> dict[str, Tensor]:
        """What :meth:`encode` sends the changes of."""
        return {"activation": signal}

    @property
    def trace_names(self) -> tuple[str, ...]:
        """Names of what ``dynamics`` returns."""
        return "sum", "activation"

    @property
    def read_out_name(self) -> str:
        """Name of what :meth:`read_out` returns."""
        return "sum"

    def dynamics(self, input: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of all messages, and its activation, before its changes are sent.

        Parameters
        ----------
        input : Tensor, shape (N, C, ..., T)

        Returns
        -------
        sum, activation : Tensor, shape of ``input``
        """
        total = self.sigma(self._ready(input))
        return total.to(input.dtype), self._activated(total).to(input.dtype)

    def read_out(self, input: Tensor) -> Tensor:
        return self.sigma(self._ready(input)).to(input.dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Messages for an input of messages.

        Parameters
        ----------
        input : Tensor, shape (N, C, ..., T)
            Changes of the dendrite's input.

        Returns
        -------
        Tensor, shape of ``input``
            Changes of the activation, multiples of ``1 / (64 * scale)``; 0 where nothing is sent.
        """
        x = self._ready(input)
        line = self._line()
        messages = self.delta(self._activated(self.sigma(x))) if line is None else self._fused(x, line)
        return (messages if self.drop is None else self.drop(messages)).to(input.dtype)

    def _line(self) -> sigma_delta.Line | None:
        """The activation function as the fused pass takes it; None where separate passes have to run."""
        decoder, encoder = self.sigma, self.delta
        if (
            self.norm is not None
            or (self.bias_is_set and self.bias.dtype != torch.float32)
            or type(decoder) is not dendrite.Sigma
            or type(encoder) is not axon.Delta
            or decoder.persistent_state != encoder.persistent_state
            or sigma_delta.hooked(decoder)
            or sigma_delta.hooked(encoder)
        ):
            return None
        return sigma_delta.line_of(self.activation)

    def _fused(self, x: Tensor, line: sigma_delta.Line) -> Tensor:
        encoder = self.delta
        states: tuple[Tensor, ...] = ()
        if not self.requires_grad:  # else it has been clamped
            encoder.clamp()
        if encoder.persistent_state:
            for part in (self.sigma, encoder):
                part.fit_states(x.shape[:-1])
            states = self.sigma.pre_state, encoder.pre_state, encoder.residual_state, encoder.error_state
        y, *final = sigma_delta.messages(
            x, encoder.threshold, encoder.scale, line, encoder.tau_grad, encoder.scale_grad, encoder.cum_error,
            encoder.carry_rounding, self.bias if self.bias_is_set else None, *states,
        )  # fmt: skip
        if encoder.persistent_state:
            self.sigma.pre_state, encoder.pre_state, encoder.residual_state, encoder.error_state = final
        return y

    def _activated(self, total: Tensor) -> Tensor:
        """The activation of a sum, after normalisation and bias."""
        if self.norm is not None:
            total = self.norm(total)
        if self.bias_is_set:
            axes = (1,) * (total.dim() - 1 - self.bias.dim())
            total = total + self.bias.reshape(*self.bias.shape, *axes)
        return self.activation(total)

    def unrolled_step(self, input: Tensor, carried: Sequence[Tensor] = ()) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Messages of one step whose gradient reaches the steps before; the state has to be persistent.

        Parameters
        ----------
        input : Tensor, shape (N, C, ..., 1)
        carried : sequence of Tensor
            What the step before returned with its messages; nothing before the first.

        Returns
        -------
        messages : Tensor, shape (N, C, ..., 1)
        carried : tuple of Tensor
            The sum and its activation, with their gradients.
        """
        total = self.sigma(self._ready(input))
        if carried:
            total = total + (carried[0] - carried[0].detach())
        active = self._activated(total)
        messages = self.delta(active)
        if carried:  # by the input, a message is a difference of two activations
            messages = messages - (carried[1] - carried[1].detach())
        return messages if self.drop is None else self.drop(messages), (total, active)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take a bias of any shape; one that is not 0 counts as set."""
        loaded = state_dict.get(prefix + "bias")
        if loaded is not None:
            if self.shape is None and loaded.shape != self.bias.shape:
                self.bias.data = self.bias.data.new_zeros(loaded.shape)
            self.bias_is_set = self.bias_is_set or bool(loaded.any())
        super()._load_from_state_dict(state_dict, prefix, *args)


def _is_plain(activation: Any, name: str) -> bool:
    """Whether ``activation`` is what torch has under ``name``, called with nothing but its input."""
    if not isinstance(activation, torch.nn.Module):
        return any(activation is getattr(place, name, None) for place in (torch.nn.functional, torch))
    kind = type(activation)
    if getattr(torch.nn, kind.__name__, None) is not kind:
        return False
    usual, given = ({k: v for k, v in vars(module).items() if k not in _COSMETIC} for module in (kind(), activation))
    return usual == given
