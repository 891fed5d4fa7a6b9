"""What all blocks share: synapse, neuron, step delay, axonal delay, event count, and their export."""

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...errors import ExchangeError, ParameterError
from ...exchange import Layer, write_layer
from ..axon import Delay
from ..axon import delay as step_delay
from ..neuron.base import AbstractNeuron
from ..synapse.base import AbstractLayer

__all__ = ["MAX_DELAY", "AbstractBlock", "Output"]

MAX_DELAY = 62  # steps that the hardware can delay by

Output = Tensor | tuple[Tensor, Tensor | None]


class AbstractBlock(torch.nn.Module):
    """Base of all blocks.

    Attributes
    ----------
    neuron : AbstractNeuron or None
    synapse : AbstractLayer or None
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

    neuron: Any  # absent from blocks without dynamics, see above
    synapse: Any
    delay: Delay | None
    mask: Tensor | None
    _history: Tensor | None

    def __init__(
        self,
        neuron_params: dict[str, Any] | None = None,
        synapse: AbstractLayer | None = None,
        delay: bool = False,
        delay_shift: bool = False,
        mask: Tensor | None = None,
        count_log: bool = False,
    ) -> None:
        super().__init__()
        self.neuron = None if neuron_params is None else self.neuron_type(**neuron_params)
        self.synapse = synapse
        self.delay = Delay(max_delay=MAX_DELAY) if delay else None
        self.delay_shift = bool(delay_shift)
        self.count_log = bool(count_log)
        self.register_buffer("mask", self._as_mask(mask))
        self.register_buffer("_history", None, persistent=False)

    def _as_mask(self, mask: Tensor | None) -> Tensor | None:
        if mask is None or self.synapse is None:
            return None
        values = torch.as_tensor(mask).detach().to(torch.float32)
        if values.shape != self.synapse.shape[:2]:
            raise ParameterError(f"expected a mask of shape {tuple(self.synapse.shape[:2])}, got {tuple(values.shape)}")
        return values.reshape(*values.shape, 1, 1, 1).clone()

    # ---------------------------------------------------------------------------------------------------- forward
    def _sent(self, spikes: Tensor) -> Tensor:
        """``spikes`` as the next layer sees them, delayed by one step and by the axon."""
        longest = int(self.delay_shift) + (MAX_DELAY if self.delay is not None else 0)
        if not longest:
            return spikes
        persistent = self.neuron is not None and self.neuron.persistent_state
        if persistent:  # the delays reach back into the call before
            if self._history is None or self._history.shape[:-1] != spikes.shape[:-1]:
                self._history = spikes.new_zeros(*spikes.shape[:-1], longest)
            spikes = torch.cat([self._history, spikes], -1)
            self._history = spikes[..., -longest:].detach().clone()
        if self.delay is not None:
            spikes = self.delay(spikes, offset=int(self.delay_shift))
        else:
            spikes = step_delay(spikes, 1)
        return spikes[..., longest:] if persistent else spikes

    def _counted(self, output: Tensor) -> Output:
        return (output, (output != 0).to(torch.float32).mean()) if self.count_log else output

    def reset_state(self) -> None:
        """Forget what persistent neurons and their delays remember."""
        self._history = None
        if self.neuron is not None:
            self.neuron.reset_state()

    @abstractmethod
    def forward(self, input: Tensor) -> Output:
        """Response to ``input``, with ``count_log`` also its event rate."""

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

    def _exported_weight(self) -> np.ndarray:
        weight = self.synapse.effective_weight(self.mask) * self.neuron.w_scale
        weight = weight.detach().to("cpu", torch.float64).numpy()
        if not np.array_equal(weight, np.round(weight)) or np.abs(weight + 1).max(initial=0) > 255:
            raise ExchangeError(
                f"{type(self).__qualname__}, field weight: expected multiples of 1/{self.neuron.w_scale} in "
                f"-256..254 of it; quantise it by pre_hook_fx"
            )
        return weight.astype(np.float32) + np.float32(0)  # without the sign of a zero

    def _exported_neuron(self) -> dict[str, Any] | None:
        return self._exported_dynamics()

    def _exported_dynamics(self) -> dict[str, Any]:
        fields = dict(self.neuron.device_params)
        exponent = getattr(self.neuron.norm, "weight_exp", None)
        if exponent is not None:
            fields["weight_exp"] = np.asarray(exponent.detach().cpu(), np.float32).reshape(1)
        return fields

    def _exported_bias(self, channels: int) -> np.ndarray | None:
        if self.neuron.norm is None:
            return None
        if not isinstance(bias := getattr(self.neuron.norm, "bias", None), Tensor):
            raise ExchangeError(
                f"{type(self).__qualname__}, field bias: {type(self.neuron.norm).__name__} has none to give"
            )
        bias = bias.detach().cpu().numpy().astype(np.float32)
        return np.broadcast_to(bias, (channels,)).copy()

    def _exported_delay(self) -> np.ndarray | None:
        if self.delay is None:
            return None
        return self.delay.delay.detach().clamp(0, MAX_DELAY).floor().cpu().numpy().astype(np.float32)
