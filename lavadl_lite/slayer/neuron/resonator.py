"""What all complex neurons share: a rotation given by period and decay, two inputs, two normalisations."""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...errors import ParameterError
from ..spike import Spike
from ..spike import complex as complex_spike
from ..spike.surrogate import Shape
from ..utils.quantize import quantize
from .base import AbstractNeuron, Parameter, _number
from .dynamics import adaptive_phase_th, adaptive_threshold, resonate, resonator
from .spec import Decay, State

__all__ = ["AbstractResonator", "rotation_params"]

_SHORTEST = 4  # steps of a period: a quarter turn each step
_SPREAD = 0.01  # relative spread of a per-channel parameter that is given as one number

Range = tuple[float, float]


def rotation_params(device_params: dict[str, Any], p_scale: int = 1 << 12) -> dict[str, Any]:
    """``period`` and ``decay`` of the rotation that a device runs with ``sinDecay`` and ``cosDecay``."""
    sin, cos = (np.asarray(device_params[name]) / p_scale for name in ("sinDecay", "cosDecay"))
    period, decay = 2 * np.pi / np.arctan2(sin, cos), 1 - np.hypot(sin, cos)
    return {"period": period[()], "decay": decay[()]}


class AbstractResonator(AbstractNeuron):
    """Base of complex neurons, whose state turns by ``2 pi / period`` and shrinks by ``1 - decay`` each step.

    A family declares what :class:`.AbstractNeuron` names, beginning with the decays and states of the rotation, whether
    it fires by ``phase``, and whether its threshold is ``adaptive``: then it is an :class:`.AbstractAdaptation` too.

    Raises
    ------
    ParameterError
        For an argument outside its range, such as a period below 4.
    """

    complex: ClassVar[bool] = True
    phase: ClassVar[bool]
    adaptive: ClassVar[bool]
    rotation_decays = (Decay("sin_decay", field="sinDecay"), Decay("cos_decay", field="cosDecay"))
    rotation_states = (State("real_state"), State("imag_state"))

    sin_decay: torch.nn.Parameter
    cos_decay: torch.nn.Parameter
    threshold_decay: torch.nn.Parameter  # these where adaptive
    refractory_decay: torch.nn.Parameter
    threshold_step: float
    threshold_state: Tensor
    refractory_state: Tensor
    real_state: Tensor
    imag_state: Tensor

    def __init__(
        self,
        threshold: float,
        period: Parameter,
        decay: Parameter,
        tau_grad: float,
        scale_grad: float,
        scale: int,
        norm: Callable[[], torch.nn.Module] | None,
        dropout: torch.nn.Module | None,
        shared_param: bool,
        persistent_state: bool,
        requires_grad: bool,
        graded_spike: bool,
        log_init: bool,
        surrogate: Shape,
    ) -> None:
        super().__init__(
            threshold, tau_grad, scale_grad, scale, dropout, shared_param, persistent_state, requires_grad,
            graded_spike, surrogate,
        )  # fmt: skip
        if not (norm is None or callable(norm)):
            raise ParameterError(f"expected norm to be a class or function that makes a module, got {norm!r}")
        made: Any = [None if norm is None else norm() for _ in range(2)]
        for each in made:
            if hasattr(each, "pre_hook_fx"):
                each.pre_hook_fx = self.quantize_8bit
        self.real_norm, self.imag_norm = made
        self.log_init = bool(log_init)
        self._draw: tuple[Range, Range] | None = None
        self._declare_rotation(period, decay)

    # ------------------------------------------------------------------------------------------------- parameters
    def _declare_rotation(self, period: Parameter, decay: Parameter) -> None:
        """Register ``sin_decay`` and ``cos_decay``; what is drawn for each channel is drawn when the shape is known."""
        if any(isinstance(value, np.ndarray | Tensor) and np.size(value) > 1 for value in (period, decay)):
            periods, decays = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (period, decay)))
            if periods.ndim != 1:
                raise ParameterError(f"expected arrays of shape (C,), got period and decay of shape {periods.shape}")
            self.shared_param = False
        else:
            (shortest, longest), (low, high) = self._range(period, "period"), self._range(decay, "decay")
            if not self.shared_param:
                self._draw = (1 / longest, 1 / shortest), (low, high)
            periods, decays = np.array([longest]), np.array([low])
        if not (periods >= _SHORTEST * (1 - _SPREAD)).all():
            raise ParameterError(f"expected a period of {_SHORTEST} steps or more, got {period}")
        if not ((decays >= 0) & (decays <= 1)).all():
            raise ParameterError(f"expected decay in 0..1, got {decay}")
        values = self._rotation(torch.from_numpy(1 / periods), torch.from_numpy(decays))
        for name, value in zip(("sin_decay", "cos_decay"), values, strict=True):
            self.register_parameter(name, torch.nn.Parameter(value.float(), requires_grad=self.requires_grad))
        self._hold_rotation()

    def _range(self, value: Parameter, name: str) -> Range:
        if not self.shared_param and isinstance(value, tuple | list):
            if len(value) != 2:
                raise ParameterError(f"expected {name} to be one number or (smallest, largest), got {value!r}")
            low, high = (_number(v, name) for v in value)
        else:
            low = high = _number(value, name)
        if low > high or (name == "period" and low < _SHORTEST) or (name == "decay" and not 0 <= low <= high <= 1):
            wanted = f"{_SHORTEST} steps or more" if name == "period" else "0..1"
            raise ParameterError(f"expected {name} in {wanted}, got {value!r}")
        if not self.shared_param and not isinstance(value, tuple | list):
            low, high = low * (1 - _SPREAD), high * (1 + _SPREAD)
        return low, high

    def _rotation(self, frequency: Tensor, decay: Tensor) -> tuple[Tensor, Tensor]:
        turn, gain = 2 * math.pi * frequency, self.p_scale * (1 - decay)
        return gain * torch.sin(turn), gain * torch.cos(turn)

    def _hold_rotation(self) -> None:
        """Hold the gain below 1 and the turn in a quarter."""
        held = self.sin_decay.data, self.cos_decay.data
        # squares of 4095 are beyond half precision
        sin, cos = (part.to(torch.promote_types(part.dtype, torch.float32)) for part in held)
        gain = torch.sqrt(sin**2 + cos**2)
        # a gain of 0 has no direction to keep
        shrink = torch.where(gain > 0, gain.clamp(0, self.p_scale - 1) / gain.clamp(min=1e-30), torch.zeros_like(gain))
        sin.mul_(shrink).clamp_(min=1)
        cos.mul_(shrink).clamp_(min=0)
        if sin is not held[0]:
            held[0].copy_(sin)
            held[1].copy_(cos)

    def clamp(self) -> None:
        """Hold the rotation's gain in 0..4095 and its turn in a quarter, other decays in 0..4096."""
        super().clamp()
        self._hold_rotation()

    def materialize(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if self._draw is not None and len(shape):
            frequencies, (low, high) = self._draw
            channels = shape[0]
            if self.log_init:
                first, last = (math.log10(f) for f in frequencies)
                frequency = torch.logspace(first, last, channels)
            else:
                frequency = frequencies[0] + (frequencies[1] - frequencies[0]) * torch.rand(channels)
            decay = low + (high - low) * torch.rand(channels)
            for name, value in zip(("sin_decay", "cos_decay"), self._rotation(frequency, decay), strict=True):
                parameter = getattr(self, name)
                with torch.inference_mode(False):  # what is drawn has to train later
                    parameter.data = value.to(parameter.device, parameter.dtype, copy=True)
            self._hold_rotation()
            self._draw = None
        shape = super().materialize(shape)
        norms: Any = (self.real_norm, self.imag_norm)
        for norm in norms:
            if hasattr(norm, "materialize"):
                norm.materialize(shape)
        return shape

    def _load_from_state_dict(self, state_dict, prefix, *args):
        for name in ("sin_decay", "cos_decay"):
            loaded, held = state_dict.get(prefix + name), getattr(self, name)
            # one value may be a layer of one neuron, or what stands there before anything is drawn
            if loaded is not None and (loaded.numel() != 1 or loaded.item() != held.flatten()[0].item()):
                self._draw = None
        super()._load_from_state_dict(state_dict, prefix, *args)

    # ----------------------------------------------------------------------------------------------------- running
    @staticmethod
    def _pair(input: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Both inputs in float32."""
        if not isinstance(input, tuple | list) or len(input) != 2:
            raise ParameterError(f"expected a pair of inputs (real, imaginary), got {type(input).__name__}")
        return resonator.same_shape(*input)

    def _ready_pair(self, input: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Both inputs in float32 and normalised, their shape checked or fixed; decays and states made ready."""
        real, imag = self._pair(input)
        self._check_shape(real.shape)
        if self.requires_grad:
            self.clamp()
        if self.real_norm is not None and self.imag_norm is not None:
            real, imag = self.real_norm(real), self.imag_norm(imag)
        return real, imag

    def _turned(self, input: tuple[Tensor, Tensor], level: float | None) -> tuple[Tensor, Tensor]:
        x_real, x_imag = self._ready_pair(input)
        sin, cos = quantize(self.sin_decay), quantize(self.cos_decay)
        return resonator.dynamics(x_real, x_imag, sin, cos, self.real_state, self.imag_state, self.s_scale, level)

    def dynamics(self, input: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        """States before a spike of the same step and its reset.

        With ``persistent_state``, :meth:`spike` has to follow once: it completes the states.

        Parameters
        ----------
        input : (Tensor, Tensor), shape (N, C, ..., T)
            What is added to the real and to the imaginary part.

        Returns
        -------
        real, imag : Tensor, shape of the inputs
        threshold, refractory : Tensor, same shape
            Only where the threshold is adaptive.
        """
        real, imag = self._turned(input, None if self.phase or self.adaptive else self._threshold)
        found: tuple[Tensor, ...] = real, imag
        if self.adaptive:
            states: tuple[Any, ...] = (
                self.refractory_state, quantize(self.refractory_decay), self.threshold_state,
                quantize(self.threshold_decay), self.threshold_step, self._threshold, self.s_scale,
            )  # fmt: skip
            if self.phase:
                found += adaptive_phase_th.dynamics(real, imag, self.imag_state, *states)
            else:
                found += adaptive_threshold.dynamics(imag, *states)
        return tuple(state.to(input[0].dtype) for state in found)

    def spike(
        self, real: Tensor, imag: Tensor, threshold: Tensor | None = None, refractory: Tensor | None = None
    ) -> Tensor:
        """Spikes of what :meth:`dynamics` returned, after dropout.

        Parameters
        ----------
        real, imag : Tensor, shape (N, C, ..., T)
        threshold, refractory : Tensor, same shape
            Where the threshold is adaptive, and only there.

        Returns
        -------
        Tensor, shape of ``real``
            0 and 1; graded, the real part of neurons that fire by phase, the imaginary part of others.
        """
        level: Any = self._threshold
        if self.adaptive != (threshold is not None and refractory is not None):
            raise ParameterError(
                f"expected threshold and refractory {'beside' if self.adaptive else 'absent from'} both parts"
            )
        if threshold is not None and refractory is not None:
            level = threshold + refractory
        numbers = self._tau, self._rho, self.graded_spike
        if self.phase:
            before = self.imag_state.to(imag.dtype)
            spike = complex_spike.Spike.apply(real, imag, level, *numbers, before, 1, self.surrogate_shape)
        else:
            spike = Spike.apply(imag, level, *numbers, 0, 1, None, self.surrogate_shape)
        if self.persistent_state and spike.shape[-1]:
            self._keep(real.detach(), imag.detach(), threshold, refractory)
        return spike if self.drop is None else self.drop(spike)

    def _keep(self, real: Tensor, imag: Tensor, threshold: Tensor | None, refractory: Tensor | None) -> None:
        """Hold the last states, after what the last step's spikes do to them."""
        before = imag[..., -2] if imag.shape[-1] > 1 else self.imag_state
        self.real_state, self.imag_state = (state[..., -1].float().clone() for state in (real, imag))
        level: Any = self._threshold
        if threshold is not None and refractory is not None:
            self.threshold_state, self.refractory_state = (s.detach()[..., -1].float() for s in (threshold, refractory))
            level = self.threshold_state + self.refractory_state
        # not the spike, which is 0 for a graded one at a threshold of 0
        fired = (self.real_state if self.phase else self.imag_state) >= level
        if self.phase:
            fired = fired & (self.imag_state >= 0) & (before < 0)
        if self.adaptive:
            adaptive: Any = self
            adaptive._raise_threshold(fired)  # noqa: SLF001 - its own
        elif not self.phase:
            self.real_state = resonator.persistent_real_state(self.real_state, fired)
            self.imag_state = resonator.persistent_imag_state(self.imag_state, fired, self._threshold, self.s_scale)

    def encode(self, signal: Tensor) -> Tensor:
        return self((signal, torch.zeros_like(signal)))

    def read_out(self, input: tuple[Tensor, Tensor]) -> Tensor:
        real, imag = self._turned(input, None)
        if self.persistent_state and imag.shape[-1]:
            self.real_state, self.imag_state = (state.detach()[..., -1].clone() for state in (real, imag))
        return imag.to(input[0].dtype)

    def forward(self, input: tuple[Tensor, Tensor]) -> Tensor:
        """Spikes of the neurons, in one pass.

        Parameters
        ----------
        input : (Tensor, Tensor), shape (N, C, ..., T)
            What is added to the real and to the imaginary part.

        Returns
        -------
        Tensor, shape of the inputs
            As :meth:`spike` describes them.
        """
        if callable(self.surrogate_shape):
            return self.spike(*self.dynamics(self._pair(input))).to(input[0].dtype)
        real, imag = self._ready_pair(input)
        adaptation = None
        if self.adaptive:
            adaptation = quantize(self.threshold_decay), quantize(self.refractory_decay), self.threshold_step
        names = [state.name for state in self.states]
        held = tuple(getattr(self, name) for name in names) if self.persistent_state else ()
        spikes, final = resonate.spikes(
            real, imag, quantize(self.sin_decay), quantize(self.cos_decay), self.s_scale, self._threshold, self._tau,
            self._rho, self.phase, self.graded_spike, held, adaptation, self.surrogate_shape,
        )  # fmt: skip
        if real.shape[-1]:
            for name, value in zip(names, final, strict=False):
                setattr(self, name, value)
        return (spikes if self.drop is None else self.drop(spikes)).to(input[0].dtype)

    def unrolled_step(
        self, input: tuple[Tensor, Tensor], carried: Sequence[Tensor] = ()
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Spikes of one step whose gradient reaches the steps before; the state has to be persistent.

        Parameters
        ----------
        input : (Tensor, Tensor), shape (N, C, ..., 1)
        carried : sequence of Tensor
            What the step before returned with its spikes; nothing before the first.

        Returns
        -------
        spikes : Tensor, shape (N, C, ..., 1)
        carried : tuple of Tensor
            Both parts of the state before their reset, with their gradients.
        """
        real, imag = self._pair(input)
        self._check_shape(real.shape)
        self._resume(carried)
        family: Any = self
        found = family.dynamics((real, imag))
        return family.spike(*found), (found[0][..., -1], found[1][..., -1])

    # ---------------------------------------------------------------------------------------------- what others read
    @property
    def norm(self) -> tuple[torch.nn.Module, torch.nn.Module] | None:
        """The normalisations of the real and of the imaginary input, or None."""
        return None if self.real_norm is None or self.imag_norm is None else (self.real_norm, self.imag_norm)

    @property
    def cx_sin_decay(self) -> Any:
        """Factor of the rotation as the device holds it."""
        return self._cx("sin_decay")

    @property
    def cx_cos_decay(self) -> Any:
        """Factor of the rotation as the device holds it."""
        return self._cx("cos_decay")

    @property
    def decay(self) -> np.ndarray:
        """Fraction that the state shrinks by each step, as quantised, shape (1,) or (C,)."""
        sin, cos = (np.atleast_1d(value) / self.p_scale for value in (self.cx_sin_decay, self.cx_cos_decay))
        return (1 - np.hypot(sin, cos)).astype(np.float32)

    @property
    def lam(self) -> np.ndarray:
        """Rate of the decay in 1 / steps, ``-log(1 - decay)``."""
        return -np.log(1 - self.decay)

    @property
    def frequency(self) -> np.ndarray:
        """Turns each step, as quantised, shape (1,) or (C,)."""
        turn = np.arctan2(np.atleast_1d(self.cx_sin_decay), np.atleast_1d(self.cx_cos_decay))
        return (turn / (2 * np.pi)).astype(np.float32)

    @property
    def period(self) -> np.ndarray:
        """Steps of a turn, as quantised."""
        return 1 / self.frequency
