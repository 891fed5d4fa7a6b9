"""What all blocks share: synapse, neuron, step delay, axonal delay, event count, and their export."""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...errors import ExchangeError, ParameterError
from ...exchange import Layer, write_layer
from .. import synapse as synapses
from ..axon import Delay
from ..axon import delay as step_delay
from ..neuron.base import AbstractNeuron

__all__ = ["MAX_DELAY", "AbstractBlock", "Hook", "Output"]

MAX_DELAY = 62  # steps that the hardware can delay by

_FEW = 1 << 14  # spikes that torch moves before a kernel is called
_SHORT = 32  # steps, of any number of rows: a kernel begins anew with each row

Hook = Callable[..., Tensor] | Literal["quantize_8bit"] | None
Output = Any  # a tensor (a pair of them where sums are complex), with count_log beside an event rate or None


class AbstractBlock(torch.nn.Module):
    """Base of all blocks.

    Attributes
    ----------
    neuron : AbstractNeuron or None
    synapse : AbstractLayer, ComplexLayer or None
    delay : Delay or None
        Axonal delay, learnt for each channel.
    delay_shift : bool
        Delay the output by one step, the latency between layers of the hardware.
    mask : Tensor or None
        What the weight is multiplied by.
    count_log : bool
        Return ``(output, event rate)``.
    """

    neuron_type: ClassVar[type[AbstractNeuron]]
    layer_type: ClassVar[str]
    sends: ClassVar[bool] = True  # whether it sends events of neurons, which a step may delay

    neuron: Any  # absent from blocks without dynamics, see above
    synapse: Any
    delay: Delay | None
    mask: Tensor | None
    _history: Tensor | None

    def __init__(
        self,
        neuron_params: dict[str, Any] | None = None,
        synapse: torch.nn.Module | None = None,
        delay: bool = False,
        delay_shift: bool | None = False,
        mask: Tensor | None = None,
        count_log: bool = False,
    ) -> None:
        super().__init__()
        self.neuron = None if neuron_params is None else self.neuron_type(**neuron_params)
        self.synapse = synapse
        self.delay = Delay(max_delay=MAX_DELAY) if delay else None
        self.delay_shift = self.neuron_type.step_delay if delay_shift is None else bool(delay_shift)
        self.count_log = bool(count_log)
        self.register_buffer("mask", self._as_mask(mask))
        self.register_buffer("_history", None, persistent=False)

    @classmethod
    def _synapse(cls, name: str) -> Any:
        """The real or complex synapse of that name, whichever the family's neurons take."""
        return getattr(synapses.complex if cls.neuron_type.complex else synapses, name)

    @staticmethod
    def _given(neuron_params: Mapping[str, Any] | None) -> dict[str, Any]:
        """A copy of ``neuron_params``, which a block of neurons needs."""
        if neuron_params is None:
            raise ParameterError("expected neuron_params to be a dict, got None")
        return dict(neuron_params)

    def _hook(self, layer: Any, pre_hook_fx: Hook) -> None:
        """Set what the weight goes through before each use."""
        if not (pre_hook_fx is None or callable(pre_hook_fx) or pre_hook_fx == "quantize_8bit"):
            raise ParameterError(f"expected pre_hook_fx callable, None or 'quantize_8bit', got {pre_hook_fx!r}")
        layer.pre_hook_fx = self.neuron.weight_grid if isinstance(pre_hook_fx, str) else pre_hook_fx

    def _as_mask(self, mask: Tensor | None) -> Tensor | None:
        if mask is None or self.synapse is None:
            return None
        values = torch.as_tensor(mask).detach().to(torch.float32)
        if values.shape != self.synapse.shape[:2]:
            raise ParameterError(f"expected a mask of shape {tuple(self.synapse.shape[:2])}, got {tuple(values.shape)}")
        return values.reshape(*values.shape, 1, 1, 1).clone()

    # ---------------------------------------------------------------------------------------------------- forward
    def _drive(self, input: Tensor) -> Any:
        """What the neurons hear."""
        return self.synapse(input)

    def _answer(self, drive: Any) -> Tensor:
        """What the neurons make of it, before its delays."""
        return self.neuron(drive)

    def _reply(self, drive: Any) -> Tensor:
        """The answer as the next layer sees it."""
        if self.delay_shift and self.delay is None and self.neuron.sends_late:
            return self.neuron(drive, late=True)  # which is how such neurons answer a signal too
        return self._sent(self._answer(drive))

    def _sent(self, spikes: Tensor) -> Tensor:
        """``spikes`` as the next layer sees them, delayed by one step and by the axon."""
        longest = int(self.delay_shift) + (MAX_DELAY if self.delay is not None else 0)
        if not longest:
            return spikes
        persistent = self.neuron is not None and self.neuron.persistent_state
        if persistent:  # the delays reach back into the call before
            if self._history is None or self._history.shape[:-1] != spikes.shape[:-1]:
                self._history = spikes.new_zeros(*spikes.shape[:-1], longest)
            spikes = torch.cat([self._history.to(spikes.dtype), spikes], -1)
            self._history = spikes[..., -longest:].detach().clone()
        if self.delay is not None:
            spikes = self.delay(spikes, offset=int(self.delay_shift))
        elif spikes.numel() and (spikes.numel() <= _FEW or spikes.shape[-1] <= _SHORT):
            spikes = torch.nn.functional.pad(spikes, (1, -1))
        else:
            spikes = step_delay(spikes, 1)
        return spikes[..., longest:] if persistent else spikes

    def _counted(self, output: Tensor) -> Output:
        if not self.count_log:
            return output
        return output, (output != 0).to(torch.float32).mean() if self.sends else None

    def reset_state(self) -> None:
        """Forget what persistent neurons and their delays remember."""
        self._history = None
        if self.neuron is not None:
            self.neuron.reset_state()

    @abstractmethod
    def forward(self, input: Tensor) -> Output:
        """Response to ``input``, with ``count_log`` also its event rate."""

    # ------------------------------------------------------------------------------------------- what can be observed
    def states(self, input: Tensor) -> dict[str, Tensor]:
        """States of the neurons at every step, before resets.

        What a call keeps for the next one is changed, but not as a call would change it: ask a copy.

        Parameters
        ----------
        input : Tensor
            What the block takes.

        Returns
        -------
        dict of Tensor, shape (N, C, ..., T)
            By name, such as ``voltage``; empty for a block without neurons.
        """
        return {}

    def synaptic_operations(self, input: Tensor, output: Tensor) -> int:
        """Number of weights, those of 0 left out, that the events of a call pass.

        Parameters
        ----------
        input, output : Tensor
            What the call took, and what it gave.
        """
        return 0

    @property
    def num_synapses(self) -> int:
        """Connections to the neurons, of both parts where they are complex; 0 before the shape is known."""
        return 0

    @property
    def num_weights(self) -> int:
        """Weights that have to be stored: those that neurons of a plane share count once."""
        return 0 if self.synapse is None else math.prod(self.synapse.shape) * (1 + self.synapse.complex)

    def _traced(self, drive: Any) -> dict[str, Tensor]:
        return dict(zip(self.neuron.trace_names, self.neuron.dynamics(drive), strict=True))

    @staticmethod
    def _events(spikes: Tensor) -> Tensor:
        """Number of events of each neuron, over batch and time."""
        return (spikes.detach() != 0).sum((0, -1))

    # ------------------------------------------------------------------------------------------------------ shapes
    @abstractmethod
    def materialize(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Fix all shapes before any data is seen.

        Parameters
        ----------
        shape : tuple of int
            Spatial shape of the input, ``(C,)`` or ``(C, H, W)``.

        Returns
        -------
        tuple of int
            Spatial shape of the output.
        """

    @property
    def shape(self) -> torch.Size | None:
        """Spatial shape of the output; None before the first forward or :meth:`materialize`."""
        return None if self.neuron is None else self.neuron.shape

    def _load_from_state_dict(self, state_dict, prefix, *args):
        state_dict.pop(prefix + "spike_state", None)  # lava-dl keeps a state of the last batch's shape there
        super()._load_from_state_dict(state_dict, prefix, *args)

    # ------------------------------------------------------------------------------------------------------ export
    @abstractmethod
    def exchange_layer(self) -> Layer:
        """Describe the block as an entry of the exchange format; it stays as it is.

        Raises
        ------
        ExchangeError
            If its shape is not known yet, or the format cannot express it.
        """

    def export_hdf5(self, handle: Any) -> None:
        """Write this block into a group of an HDF5 file that is open for writing.

        Parameters
        ----------
        handle : h5py.Group
            An empty group, such as ``file.create_group("layer/0")``.

        Raises
        ------
        ExchangeError
            See :meth:`exchange_layer`.
        """
        write_layer(handle, self.exchange_layer())

    def _exported_shape(self) -> tuple[int, ...]:
        if self.shape is None:
            raise ExchangeError(
                f"{type(self).__qualname__}, field shape: not known yet; call materialize(shape) or run it once"
            )
        return tuple(self.shape)

    def _exported_weight(self, name: str, layer: Any, mask: Tensor | None = None) -> dict[str, np.ndarray]:
        """The field ``name``, or its real and its imaginary part, as integers of shape (a, b, H, W)."""
        parts = {f"{name}/real": layer.real, f"{name}/imag": layer.imag} if layer.complex else {name: layer}
        return {part: self._integers(name, synapse.effective_weight(mask)[..., 0]) for part, synapse in parts.items()}

    def _integers(self, name: str, weight: Tensor) -> np.ndarray:
        scale = self.neuron.w_scale
        held = (weight * scale).detach().to("cpu", torch.float64).numpy()
        if not np.array_equal(held, np.round(held)) or np.abs(held + 1).max(initial=0) > 255:
            raise ExchangeError(
                f"{type(self).__qualname__}, field {name}: expected multiples of 1/{scale} in -256..254 of it; "
                f"quantise it by pre_hook_fx"
            )
        return held.astype(np.float32) + np.float32(0)  # without the sign of a zero

    def _exported_neuron(self) -> dict[str, Any] | None:
        return self._exported_dynamics(self.neuron.device_params)

    def _norms(self) -> tuple[Any, ...]:
        """The neuron's normalisations: none, one, or those of the real and of the imaginary part."""
        norm = self.neuron.norm
        return () if norm is None else norm if isinstance(norm, tuple) else (norm,)

    def _exported_dynamics(self, params: dict[str, Any]) -> dict[str, Any]:
        exponents = [norm.weight_exp for norm in self._norms() if hasattr(norm, "weight_exp")]
        if not exponents:
            return dict(params)
        return {**params, "weight_exp": torch.cat(exponents).detach().cpu().numpy().astype(np.float32)}

    def _exported_bias(self, channels: int) -> dict[str, np.ndarray]:
        """The field ``bias``, or its two parts; nothing where there is none."""
        found: dict[str, Any] = {}
        names = ("bias/real", "bias/imag") if self.neuron.complex else ("bias",)
        for name, norm in zip(names, self._norms(), strict=False):
            if not isinstance(getattr(norm, "bias", None), Tensor):
                raise ExchangeError(f"{type(self).__qualname__}, field bias: {type(norm).__name__} has none to give")
            found[name] = norm.bias
        if getattr(self.neuron, "bias_is_set", False):
            given = self.neuron.bias * self.neuron.w_scale
            for norm in self._norms():  # the file's is added before the division, this one after it
                given = given * 2.0 ** getattr(norm, "weight_exp", 0)
            if not torch.equal(given, given.round()) or given.dim() > 1:
                raise ExchangeError(
                    f"{type(self).__qualname__}, field bias: expected multiples of 1/{self.neuron.w_scale}, one for "
                    f"each channel, got {tuple(given.shape)} others"
                )
            found["bias"] = given + found.get("bias", 0)
        values = {name: value.detach().cpu().numpy().astype(np.float32) for name, value in found.items()}
        return {name: np.broadcast_to(value, (channels,)).copy() for name, value in values.items()}

    def _exported_delay(self) -> dict[str, Any]:
        """The field ``delay`` and its side, where there are delays; a step's delay that is not the family's own."""
        own = not self.sends or self.delay_shift == self.neuron_type.step_delay
        shift = {} if own else {"delayShift": self.delay_shift}
        if self.delay is None:
            return shift
        steps = self.delay.delay.detach().clamp(0, MAX_DELAY).floor().cpu().numpy().astype(np.float32)
        return {"delay": steps, "delaySide": "output", **shift}
