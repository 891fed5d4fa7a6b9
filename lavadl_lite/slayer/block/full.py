"""Fully connected blocks: constructor, geometry, forward and entry in the exchange format of each."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ...errors import ExchangeError, ShapeError
from ...exchange import Layer
from .base import AbstractBlock, Hook, Output

__all__ = ["AbstractAffine", "AbstractDense", "AbstractOutput"]


class _AbstractFull(AbstractBlock):
    """What the fully connected blocks share."""

    layer_type = "dense"

    def __init__(
        self,
        neuron_params: dict[str, Any],
        in_neurons: int | Sequence[int],
        out_neurons: int,
        weight_scale: float,
        weight_norm: bool,
        pre_hook_fx: Hook,
        delay: bool = False,
        delay_shift: bool | None = False,
        mask: Tensor | None = None,
        count_log: bool = False,
    ) -> None:
        neuron_params = self._given(neuron_params)
        layer = self._synapse("Dense")(in_neurons, out_neurons, weight_scale, weight_norm)
        super().__init__(neuron_params, layer, delay, delay_shift, mask, count_log)
        self._hook(layer, pre_hook_fx)

    def materialize(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        layer = self.synapse
        channels, height, width = (*shape, 1, 1)[:3] if len(shape) in (1, 3) else (0, 0, 0)
        kernel_height, kernel_width, _ = layer.kernel_size
        if channels != layer.in_channels or kernel_height > height or kernel_width > width:
            raise ShapeError(f"expected an input of {layer.in_channels} channels, got a spatial shape {tuple(shape)}")
        plane = (height - kernel_height + 1, width - kernel_width + 1) if len(shape) == 3 else ()
        shape = (layer.out_channels, *plane)
        self.neuron.materialize(shape)
        if self.delay is not None:
            self.delay.materialize(shape)
        return shape

    def _drive(self, input: Tensor) -> Any:
        return self.synapse(input, self.mask)

    def synaptic_operations(self, input: Tensor, output: Tensor) -> int:
        return int(self.synapse.operations(self._events(input), self.mask))

    @property
    def num_synapses(self) -> int:
        return 0 if self.shape is None else self.num_weights * math.prod(self.shape[1:])

    def _exported_shape(self) -> tuple[int, ...]:
        """Known from the start where one neuron is like the other and inputs are no plane."""
        drawn = self.delay is not None or not self.neuron.shared_param or self.synapse.kernel_size != (1, 1, 1)
        return super()._exported_shape() if self.shape is not None or drawn else (self.synapse.out_channels,)

    def exchange_layer(self) -> Layer:
        shape = self._exported_shape()
        if math.prod(shape) != shape[0]:
            raise ExchangeError(f"{type(self).__qualname__}, field shape: expected one neuron a channel, got {shape}")
        # over a plane the inputs are counted in the order in which Flatten joins them
        weights = self._exported_weight("weight", self.synapse, self.mask)
        out, inputs = shape[0], math.prod(self.synapse.shape[1:])
        fields: dict[str, Any] = {
            "shape": np.array([out], np.int64),
            "inFeatures": inputs,
            "outFeatures": out,
            **{name: weight.reshape(out, inputs) for name, weight in weights.items()},
            **self._exported_bias(out),
            **self._exported_delay(),
        }
        return Layer(self.layer_type, fields, self._exported_neuron())


class AbstractDense(_AbstractFull):
    """All inputs to all neurons.

    Parameters
    ----------
    neuron_params : dict
        Arguments of the neuron.
    in_neurons : int, (W, H) or (W, H, C)
        Number of inputs, or the plane that a kernel covers.
    out_neurons : int
        Number of neurons.
    weight_scale : float
        Factor of the initial weights.
    weight_norm : bool
        Train a gain and a direction for each neuron in place of the weights.
    pre_hook_fx : callable, None or 'quantize_8bit'
        Applied to the weights before each use; by default the neuron's 8-bit quantiser, ``None`` for nothing.
    delay : bool
        Learn an axonal delay of 0..62 steps for each neuron.
    delay_shift : bool, optional
        Delay the output by one step, the latency of the hardware; absent, as its family has it: all but sigma-delta do.
    mask : Tensor, shape (out, in), optional
        What the weights are multiplied by.
    count_log : bool
        Return ``(output, event rate)``.

    Raises
    ------
    ParameterError
        For an argument outside its range.
    """

    def __init__(
        self,
        neuron_params: dict[str, Any],
        in_neurons: int | Sequence[int],
        out_neurons: int,
        weight_scale: float = 1,
        weight_norm: bool = False,
        pre_hook_fx: Hook = "quantize_8bit",
        delay: bool = False,
        delay_shift: bool | None = None,
        mask: Tensor | None = None,
        count_log: bool = False,
    ) -> None:
        super().__init__(
            neuron_params, in_neurons, out_neurons, weight_scale, weight_norm, pre_hook_fx, delay, delay_shift, mask,
            count_log,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Output:
        return self._counted(self._reply(self._drive(input)))

    def states(self, input: Tensor) -> dict[str, Tensor]:
        return self._traced(self._drive(input))


class AbstractAffine(_AbstractFull):
    """All inputs to all outputs, read out without spikes.

    What is read is the voltage, the imaginary part of a complex neuron, or the sum of a sigma-delta neuron's messages.

    Parameters
    ----------
    neuron_params, in_neurons, out_neurons, weight_scale, weight_norm, pre_hook_fx, mask
        As for :class:`AbstractDense`.
    dynamics : bool
        Return the neuron's state, which no spike resets; without, the weighted sums themselves, of complex neurons the
        pair of them.
    count_log : bool
        Return ``(output, None)``.
    """

    sends = False

    def __init__(
        self,
        neuron_params: dict[str, Any],
        in_neurons: int | Sequence[int],
        out_neurons: int,
        weight_scale: float = 1,
        weight_norm: bool = False,
        pre_hook_fx: Hook = "quantize_8bit",
        dynamics: bool = True,
        mask: Tensor | None = None,
        count_log: bool = False,
    ) -> None:
        super().__init__(
            neuron_params, in_neurons, out_neurons, weight_scale, weight_norm, pre_hook_fx, mask=mask,
            count_log=count_log,
        )  # fmt: skip
        self.dynamics = bool(dynamics)

    def _answer(self, drive: Any) -> Any:
        if self.dynamics:
            return self.neuron.read_out(drive)
        if self.neuron.shape is None:
            self.neuron.materialize((drive[0] if self.neuron.complex else drive).shape[1:-1])
        return drive

    def forward(self, input: Tensor) -> Output:
        return self._counted(self._answer(self._drive(input)))

    def states(self, input: Tensor) -> dict[str, Tensor]:
        return {self.neuron.read_out_name: self.neuron.read_out(self._drive(input))} if self.dynamics else {}

    def _exported_neuron(self) -> dict[str, Any] | None:
        return self._exported_dynamics(self.neuron.read_out_params) if self.dynamics else None

    def _exported_bias(self, channels: int) -> dict[str, np.ndarray]:
        return super()._exported_bias(channels) if self.dynamics else {}


class AbstractOutput(_AbstractFull):
    """Read-out: all inputs to all outputs, which give their state and never spike.

    That is the voltage, the imaginary part of a complex neuron, or the sum of a sigma-delta neuron's messages.

    Parameters
    ----------
    neuron_params, in_neurons, out_neurons, weight_scale, weight_norm
        As for :class:`AbstractDense`.
    count_log : bool
        Return ``(output, None)``.
    """

    sends = False

    def __init__(
        self,
        neuron_params: dict[str, Any],
        in_neurons: int | Sequence[int],
        out_neurons: int,
        weight_scale: float = 1,
        weight_norm: bool = False,
        count_log: bool = False,
    ) -> None:
        super().__init__(
            neuron_params, in_neurons, out_neurons, weight_scale, weight_norm, "quantize_8bit", count_log=count_log
        )

    def _answer(self, drive: Any) -> Tensor:
        return self.neuron.read_out(drive)

    def forward(self, input: Tensor) -> Output:
        return self._counted(self._answer(self._drive(input)))

    def states(self, input: Tensor) -> dict[str, Tensor]:
        return {self.neuron.read_out_name: self._answer(self._drive(input))}

    def _exported_neuron(self) -> dict[str, Any] | None:
        return self._exported_dynamics(self.neuron.read_out_params)
