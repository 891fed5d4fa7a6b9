"""What all neurons share, derived from their declarations: parameters, states, shapes, loading, device integers."""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ... import kernels
from ...errors import ParameterError, ShapeError
from ..spike.surrogate import Shape, check
from ..utils.quantize import Grid
from ..utils.stream import fits
from .spec import Decay, State, Surrogate

__all__ = ["NEVER_FIRES", "AbstractIntegrator", "AbstractNeuron", "Parameter"]

Parameter = float | tuple[float, float] | Sequence[float] | np.ndarray | Tensor

_STATE_BITS = 6  # the state has 6 fractional bits more than weights and thresholds
_P_SCALE = 1 << 12
NEVER_FIRES = (1 << 18) - 1  # threshold of a read-out
_SPREAD = 0.01  # relative spread of a per-channel parameter that is given as one number


def _power_of_two(scale: float) -> int:
    if isinstance(scale, bool) or not isinstance(scale, int | float | np.integer | np.floating):
        raise ParameterError(f"expected scale to be a number, got {scale!r}")
    if not 1 <= scale <= 1 << 17 or int(scale) != scale or int(scale) & (int(scale) - 1):
        raise ParameterError(f"expected scale to be a power of two in 1..2**17, got {scale}")
    return int(scale)


def _number(value: Any, name: str) -> float:
    if isinstance(value, np.ndarray | Tensor) and value.shape in ((), (1,)):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ParameterError(f"expected {name} to be one number, got {value!r}")
    if not math.isfinite(value):
        raise ParameterError(f"expected {name} to be finite, got {value}")
    return float(value)


class AbstractNeuron(torch.nn.Module):
    """Base of all neurons.

    A family declares ``type_name``, ``decays``, ``states`` and ``surrogate``, and says in ``forward`` what becomes of
    its input.

    Parameters
    ----------
    threshold : float
        Firing threshold, rounded down to a multiple of ``1 / scale``; 0 or more.
    tau_grad, scale_grad : float
        Width (above 0) and height of the surrogate derivative, relative to the family's own.
    scale : int
        Integer that stands for a weight or threshold of 1.0, a power of two.
    dropout : Module, optional
        Applied to the spikes.
    shared_param : bool
        One value of each decay for the layer, or one for each channel.
    persistent_state : bool
        Keep the state between calls, so that a sequence can be fed in chunks.
    requires_grad : bool
        Whether decays are trained.
    graded_spike : bool
        Send the state in place of 1.
    surrogate : str or callable
        Shape of the surrogate derivative.

    Raises
    ------
    ParameterError
        For an argument outside its range.
    """

    type_name: ClassVar[str]
    decays: ClassVar[tuple[Decay, ...]]
    states: ClassVar[tuple[State, ...]]
    surrogate: ClassVar[Surrogate]
    complex: ClassVar[bool]
    step_delay: ClassVar[bool] = True  # whether blocks delay its output by a step unless told otherwise
    sends_late: bool = False  # whether forward takes ``late``, and so saves the pass that delays by a step
    fields: ClassVar[tuple[tuple[str, str], ...]] = ()  # of the exchange format, and the attributes that hold them

    def __init__(
        self,
        threshold: float,
        tau_grad: float,
        scale_grad: float,
        scale: int,
        dropout: torch.nn.Module | None,
        shared_param: bool,
        persistent_state: bool,
        requires_grad: bool,
        graded_spike: bool,
        surrogate: Shape = "exponential",
    ) -> None:
        super().__init__()
        self.p_scale = _P_SCALE
        self.w_scale = _power_of_two(scale)
        self.s_scale = self.w_scale << _STATE_BITS
        threshold = _number(threshold, "threshold")
        if threshold < 0:
            raise ParameterError(f"expected a threshold of 0 or more, got {threshold}")
        self._threshold = int(threshold * self.w_scale) / self.w_scale
        tau_grad = _number(tau_grad, "tau_grad")
        if tau_grad <= 0:
            raise ParameterError(f"expected tau_grad above 0, got {tau_grad}")
        # a threshold of 0 would make the surrogate infinitely narrow
        self.tau_rho = tau_grad * max(self._threshold, 1 / self.w_scale)
        self.scale_rho = _number(scale_grad, "scale_grad")
        self.shared_param = bool(shared_param)
        self.persistent_state = bool(persistent_state)
        self.requires_grad = bool(requires_grad)
        self.graded_spike = bool(graded_spike)
        check(surrogate)
        self.surrogate_shape: Any = surrogate
        if not (dropout is None or callable(dropout)):
            raise ParameterError(f"expected dropout to be a module, got {dropout!r}")
        self.drop = dropout
        self.shape: torch.Size | None = None
        self.num_neurons: int | None = None
        self._spread: dict[str, tuple[float, float]] = {}
        for state in self.states:
            self.register_buffer(state.name, self._initial(state), persistent=False)

    # ------------------------------------------------------------------------------------------------- parameters
    def _declare(self, **values: Parameter) -> None:
        """Register those of the family's decays that are given, as fractions."""
        for decay in self.decays:
            if decay.name not in values:
                continue
            start = self._start(decay.name, values[decay.name], decay.spread)
            trainable = self.requires_grad and decay.trainable
            self.register_parameter(decay.name, torch.nn.Parameter(start, requires_grad=trainable))

    def _start(self, name: str, value: Parameter, spread: bool = True) -> Tensor:
        if isinstance(value, np.ndarray | Tensor) and value.ndim == 1 and len(value) > 1:
            start = torch.as_tensor(value, dtype=torch.float32).detach().clone()
            if not bool(((start >= 0) & (start <= 1)).all()):
                raise ParameterError(f"expected every {name} in 0..1, got {value}")
            self.shared_param = False
            return start * self.p_scale
        if not self.shared_param and isinstance(value, tuple | list):
            if len(value) != 2:
                raise ParameterError(f"expected {name} to be one number or (smallest, largest), got {value!r}")
            low, high = (_number(v, name) for v in value)
        else:
            low = high = _number(value, name)
        if not 0 <= low <= high <= 1:
            raise ParameterError(f"expected {name} in 0..1, got {value!r}")
        if not self.shared_param:
            if spread and not isinstance(value, tuple | list):
                low, high = low * (1 - _SPREAD), high * (1 + _SPREAD)  # what is drawn above 1 is held to it
            self._spread[name] = low, high
        return torch.tensor([self.p_scale * low], dtype=torch.float32)

    def clamp(self) -> None:
        """Hold the decays in 0..4096."""
        for decay in self.decays:
            getattr(self, decay.name).data.clamp_(0, self.p_scale)

    def _cx(self, name: str) -> np.int64 | np.ndarray:
        """A decay as the device holds it."""
        value = getattr(self, name).detach().clamp(0, self.p_scale).round().to(torch.int64).cpu().numpy()
        return value[0] if value.size == 1 else value

    # ----------------------------------------------------------------------------------------------------- states
    def _initial(self, state: State) -> Tensor:
        return torch.full((1,), 0.0 if state.initial is None else getattr(self, state.initial))

    @torch.inference_mode(False)  # a later call may train
    def reset_state(self) -> None:
        """Forget the persistent state: the next call begins as the first one did."""
        for state in self.states:
            setattr(self, state.name, self._initial(state).to(getattr(self, state.name).device))

    def _resume(self, carried: Sequence[Tensor]) -> None:
        """Let the first states, as the last call left them, pass gradients on to ``carried``."""
        for state, value in zip(self.states, carried, strict=False):
            setattr(self, state.name, getattr(self, state.name) + (value - value.detach()))

    def _ready(self, input: Tensor) -> Tensor:
        """``input`` in float32, its shape checked or fixed; decays and states made ready for it."""
        x = kernels.launch.floating(input)
        self._check_shape(x.shape)
        if self.requires_grad:
            self.clamp()
        return x

    def _check_shape(self, shape: torch.Size) -> None:
        """Fix the spatial shape at the first call, hold later inputs ``(N, C, ..., T)`` to it, fit the states."""
        if len(shape) < 3:
            raise ShapeError(f"expected an input (N, C, ..., T), got shape {tuple(shape)}")
        if self.shape is None:
            self.materialize(shape[1:-1])
        elif shape[1:-1] != self.shape:
            raise ShapeError(f"expected an input (N, {', '.join(map(str, self.shape))}, T), got shape {tuple(shape)}")
        if self.persistent_state and self.states and not fits(getattr(self, self.states[0].name), shape[:-1]):
            for state in self.states:
                held = getattr(self, state.name)
                start = held if held.shape in (shape[:-1], (1,)) else self._initial(state).to(held.device)
                setattr(self, state.name, start.expand(shape[:-1]).clone())

    # ------------------------------------------------------------------------------------------------------ shapes
    def materialize(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Fix the spatial shape ``(C,)`` or ``(C, H, W)`` and draw per-channel parameters; returns the same shape.

        Raises
        ------
        ShapeError
            If the parameters were made for another number of channels.
        """
        if torch.compiler.is_compiling():
            torch._dynamo.graph_break()  # noqa: SLF001 - shapes are made outside of a graph
        shape = torch.Size(shape)
        if not shape:
            raise ShapeError("expected a spatial shape (C,) or (C, H, W), got ()")
        for name, (low, high) in self._spread.items():
            start, span = low * self.p_scale, (high - low) * self.p_scale
            parameter = getattr(self, name)
            with torch.inference_mode(False):  # what is drawn has to train later
                parameter.data = (start + span * torch.rand(shape[0])).clamp(0, self.p_scale).to(parameter.device)
        self._spread = {}
        for decay in self.decays:
            channels = getattr(self, decay.name).shape[0]
            if channels not in (1, shape[0]):
                raise ShapeError(f"expected {channels} channels as in {decay.name}, got a spatial shape {tuple(shape)}")
        self.shape = shape
        self.num_neurons = math.prod(shape)
        return tuple(shape)

    @torch.inference_mode(False)  # a later call may train
    def _load_from_state_dict(self, state_dict, prefix, *args):
        for decay in self.decays:
            loaded = state_dict.get(prefix + decay.name)
            parameter = getattr(self, decay.name)
            if loaded is None or parameter is None:
                continue
            # one value may be a layer of one neuron, or what stands there before anything is drawn
            if loaded.numel() != 1 or loaded.item() != parameter.flatten()[0].item():
                self._spread.pop(decay.name, None)
            if self.shape is None and loaded.shape != parameter.shape:
                parameter.data = parameter.data.new_zeros(loaded.shape)
                self.shared_param = self.shared_param and loaded.numel() == 1
        super()._load_from_state_dict(state_dict, prefix, *args)

    # ---------------------------------------------------------------------------------------------- what others read
    @property
    def threshold(self) -> float:
        """Firing threshold, a multiple of ``1 / scale``."""
        return self._threshold

    @property
    def scale(self) -> int:
        """Integer that stands for a weight or threshold of 1.0."""
        return self.w_scale

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return getattr(self, self.decays[0].name).device

    @property
    def weight_exponent(self) -> int:
        """Exponent of the weights on the device."""
        return int(math.log2(self.s_scale // self.w_scale)) - _STATE_BITS

    @property
    def v_th_mant(self) -> int:
        """Threshold as the device holds it."""
        return int(self._threshold * self.w_scale)

    @property
    def device_params(self) -> dict[str, Any]:
        """The integers that describe this neuron on the device and in the exchange format."""
        return {
            "type": self.type_name,
            **{decay.field: self._cx(decay.name) for decay in self.decays},
            "vThMant": self.v_th_mant,
            **{field: getattr(self, name) for field, name in self.fields},
        }

    @property
    def read_out_params(self) -> dict[str, Any]:
        """``device_params`` of a neuron that is read out and never fires: the largest threshold of the format."""
        return {**self.device_params, "vThMant": NEVER_FIRES}

    @property
    def _tau(self) -> float:
        return self.tau_rho * self.surrogate.tau

    @property
    def _rho(self) -> float:
        return self.scale_rho * self.surrogate.scale

    @property
    def trace_names(self) -> tuple[str, ...]:
        """Names of what ``dynamics`` returns."""
        return tuple(state.name.removesuffix("_state") for state in self.states)

    @property
    def read_out_name(self) -> str:
        """Name of what :meth:`read_out` returns: the second state."""
        return self.trace_names[1]

    @abstractmethod
    def dynamics(self, input: Any) -> tuple[Tensor, ...]:
        """States at every step, before resets, in the order of ``trace_names``."""

    def encoding(self, signal: Tensor) -> dict[str, Tensor]:
        """States by name while :meth:`encode` runs."""
        drive = (signal, torch.zeros_like(signal)) if self.complex else signal
        return dict(zip(self.trace_names, self.dynamics(drive), strict=True))

    @abstractmethod
    def encode(self, signal: Tensor) -> Tensor:
        """What the neuron sends for a real signal (N, C, ..., T): a complex one has it as its real input."""

    @abstractmethod
    def read_out(self, input: Any) -> Tensor:
        """The state that a spike would be made of, when none is sent and nothing is reset.

        Parameters
        ----------
        input : Tensor or (Tensor, Tensor), shape (N, C, ..., T)
            What the neuron's forward takes.

        Returns
        -------
        Tensor, shape of ``input``
            Voltage, imaginary part, or sum of messages.
        """

    @property
    def weight_grid(self) -> Grid:
        """What weights of 8 bits with sign can be: multiples of ``2 / scale`` in -256/scale..254/scale."""
        return Grid(2 / self.w_scale, -128, 127)

    def quantize_8bit(self, weight: Tensor, descale: bool = False) -> Tensor:
        """``weight`` as 8 bits with sign hold it: multiples of ``2 / scale`` in -256/scale..254/scale.

        The gradient passes straight through inside that range and is 0 outside.

        Parameters
        ----------
        weight : Tensor
        descale : bool
            Multiply by ``scale``: even integers in -256..254.
        """
        held = self.weight_grid(weight)
        return held * self.w_scale if descale else held

    def extra_repr(self) -> str:
        return (
            f"threshold={self._threshold}, scale={self.w_scale}, shared_param={self.shared_param}, "
            f"persistent_state={self.persistent_state}, requires_grad={self.requires_grad}"
        )


class AbstractIntegrator(AbstractNeuron):
    """Base of real-valued neurons: one input, one normalisation."""

    complex: ClassVar[bool] = False

    def __init__(
        self,
        threshold: float,
        tau_grad: float,
        scale_grad: float,
        scale: int,
        norm: Callable[[], torch.nn.Module] | None,
        dropout: torch.nn.Module | None,
        shared_param: bool,
        persistent_state: bool,
        requires_grad: bool,
        graded_spike: bool,
        surrogate: Shape = "exponential",
    ) -> None:
        super().__init__(
            threshold, tau_grad, scale_grad, scale, dropout, shared_param, persistent_state, requires_grad,
            graded_spike, surrogate,
        )  # fmt: skip
        if not (norm is None or callable(norm)):
            raise ParameterError(f"expected norm to be a class or function that makes a module, got {norm!r}")
        made: Any = None if norm is None else norm()
        if hasattr(made, "pre_hook_fx"):
            made.pre_hook_fx = self.quantize_8bit
        self.norm = made

    def materialize(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        shape = super().materialize(shape)
        if hasattr(self.norm, "materialize"):
            self.norm.materialize(shape)
        return shape
