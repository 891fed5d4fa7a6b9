"""One class for each kind of block: its constructor, its geometry, its forward and its entry in the exchange format."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ...errors import ExchangeError, ParameterError, ShapeError
from ...exchange import Layer
from .. import synapse
from .base import AbstractBlock, Output

__all__ = ["AbstractAffine", "AbstractDense", "AbstractFlatten", "AbstractInput", "AbstractOutput"]

Hook = Callable[..., Tensor] | Literal["quantize_8bit"] | None

_NEVER_FIRES = (1 << 18) - 1  # the largest threshold of the format


class AbstractInput(AbstractBlock):
    r"""Encodes a signal as spikes: :math:`y = \mathrm{shift}(f(q(x)\,q(w) + q(b)))`.

    :math:`q` is the neuron's 8-bit quantiser, so the signal is held in -256/scale..254/scale (about ±4) and rounded to
    multiples of 2/scale.  Without a neuron the input passes through as it is.

    Parameters
    ----------
    neuron_params : dict, optional
        Arguments of the neuron.
    weight, bias : float, optional
        Initial values of the trained gain and offset; absent, they are 1 and 0 and not trained.
    delay_shift : bool
        Delay the spikes by one step.
    count_log : bool
        Return ``(output, event rate)``.

    Raises
    ------
    ParameterError
        If ``weight`` or ``bias`` is given without a neuron.
    """

    layer_type = "input"

    def __init__(
        self,
        neuron_params: dict[str, Any] | None = None,
        weight: float | None = None,
        bias: float | None = None,
        delay_shift: bool = True,
        count_log: bool = False,
    ) -> None:
        super().__init__(neuron_params, delay_shift=delay_shift and neuron_params is not None, count_log=count_log)
        if neuron_params is None and not (weight is None and bias is None):
            raise ParameterError("expected neuron_params beside weight or bias: without a neuron nothing is encoded")
        self.weight = None if weight is None else torch.nn.Parameter(torch.tensor([float(weight)]))
        self.bias = None if bias is None else torch.nn.Parameter(torch.tensor([float(bias)]))
        self.input_shape: torch.Size | None = None

    @property
    def shape(self) -> torch.Size | None:
        return self.input_shape if self.neuron is None else self.neuron.shape

    def materialize(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if self.neuron is not None:
            self.neuron.materialize(shape)
        self.input_shape = torch.Size(shape)
        return tuple(shape)

    def forward(self, input: Tensor) -> Output:
        if input.dim() < 3:
            raise ShapeError(f"expected an input (N, C, ..., T), got shape {tuple(input.shape)}")
        if self.input_shape is None:
            self.materialize(input.shape[1:-1])
        if self.neuron is None:
            return self._counted(input)
        quantize = self.neuron.quantize_8bit
        signal = quantize(input.to(torch.float32))
        if self.weight is not None:
            signal = signal * quantize(self.weight)
        if self.bias is not None:
            signal = signal + quantize(self.bias)
        sent = self._sent(self.neuron(signal))
        return self._counted(sent.to(input.dtype) if input.is_floating_point() else sent)

    def exchange_layer(self) -> Layer:
        fields: dict[str, Any] = {"shape": np.array(self._exported_shape(), np.int64)}
        if self.neuron is None:
            return Layer(self.layer_type, fields)
        if self.neuron.norm is not None:
            raise ExchangeError(
                f"{type(self).__qualname__}, field bias: an input layer's is added to its signal, so that there is no "
                f"place for the mean that a norm takes from its current"
            )
        for name in ("weight", "bias"):
            value = getattr(self, name)
            if value is not None:
                fields[name] = self.neuron.quantize_8bit(value, descale=True).detach().cpu().numpy()
        return Layer(self.layer_type, fields, self._exported_neuron())


class AbstractFlatten(AbstractBlock):
    """Joins channels, rows and columns, in this order, to one axis of channels.

    Parameters
    ----------
    count_log : bool
        Return ``(output, None)``.
    """

    layer_type = "flatten"

    def __init__(self, count_log: bool = False) -> None:
        super().__init__(count_log=count_log)
        self._shape: torch.Size | None = None

    @property
    def shape(self) -> torch.Size | None:
        return self._shape

    def materialize(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        self._shape = torch.Size([math.prod(shape), 1, 1])
        return (math.prod(shape),)

    def forward(self, input: Tensor) -> Output:
        if input.dim() < 3:
            raise ShapeError(f"expected an input (N, C, ..., T), got shape {tuple(input.shape)}")
        self.materialize(input.shape[1:-1])
        output = input.flatten(1, -2)
        return (output, None) if self.count_log else output

    def exchange_layer(self) -> Layer:
        return Layer(self.layer_type, {"shape": np.array(self._exported_shape(), np.int64)})


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
        delay_shift: bool = False,
        mask: Tensor | None = None,
        count_log: bool = False,
    ) -> None:
        if neuron_params is None:
            raise ParameterError("expected neuron_params to be a dict, got None")
        layer = synapse.Dense(in_neurons, out_neurons, weight_scale, weight_norm)
        super().__init__(neuron_params, layer, delay, delay_shift, mask, count_log)
        if not (pre_hook_fx is None or callable(pre_hook_fx) or pre_hook_fx == "quantize_8bit"):
            raise ParameterError(f"expected pre_hook_fx callable, None or 'quantize_8bit', got {pre_hook_fx!r}")
        layer.pre_hook_fx = self.neuron.quantize_8bit if isinstance(pre_hook_fx, str) else pre_hook_fx

    def _exported_read_out(self) -> dict[str, Any]:
        return {**self._exported_dynamics(), "vThMant": _NEVER_FIRES}

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

    def exchange_layer(self) -> Layer:
        shape = self._exported_shape()
        weight = self._exported_weight()
        if math.prod(shape) != shape[0]:
            raise ExchangeError(f"{type(self).__qualname__}, field shape: expected one neuron a channel, got {shape}")
        # over a plane the inputs are counted in the order in which Flatten joins them
        out, inputs = weight.shape[0], math.prod(weight.shape[1:])
        fields: dict[str, Any] = {
            "shape": np.array([out], np.int64),
            "inFeatures": inputs,
            "outFeatures": out,
            "weight": weight.reshape(out, inputs),
        }
        bias, delay = self._exported_bias(out), self._exported_delay()
        if bias is not None:
            fields["bias"] = bias
        if delay is not None:
            fields["delay"] = delay
            fields["delaySide"] = "output"
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
    delay_shift : bool
        Delay the output by one step, the latency of the hardware.
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
        delay_shift: bool = True,
        mask: Tensor | None = None,
        count_log: bool = False,
    ) -> None:
        super().__init__(
            neuron_params, in_neurons, out_neurons, weight_scale, weight_norm, pre_hook_fx, delay, delay_shift, mask,
            count_log,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Output:
        return self._counted(self._sent(self.neuron(self.synapse(input, self.mask))))


class AbstractAffine(_AbstractFull):
    """All inputs to all outputs, read out without spikes.

    Parameters
    ----------
    neuron_params, in_neurons, out_neurons, weight_scale, weight_norm, pre_hook_fx, mask
        As for :class:`AbstractDense`.
    dynamics : bool
        Return the neuron's voltage, which no spike resets; without, the weighted sums themselves.
    count_log : bool
        Return ``(output, None)``.
    """

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

    def forward(self, input: Tensor) -> Output:
        output = self.synapse(input, self.mask)
        if self.dynamics:
            _, output = self.neuron.dynamics(output, spiking=False)
        elif self.neuron.shape is None:
            self.neuron.materialize(output.shape[1:-1])
        return (output, None) if self.count_log else output

    def _exported_neuron(self) -> dict[str, Any] | None:
        return self._exported_read_out() if self.dynamics else None

    def _exported_bias(self, channels: int) -> np.ndarray | None:
        return super()._exported_bias(channels) if self.dynamics else None


class AbstractOutput(_AbstractFull):
    """Read-out: all inputs to all outputs, which give their voltage and never spike.

    Parameters
    ----------
    neuron_params, in_neurons, out_neurons, weight_scale, weight_norm
        As for :class:`AbstractDense`.
    count_log : bool
        Return ``(output, None)``.
    """

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

    def forward(self, input: Tensor) -> Output:
        _, output = self.neuron.dynamics(self.synapse(input, self.mask), spiking=False)
        return (output, None) if self.count_log else output

    def _exported_neuron(self) -> dict[str, Any] | None:
        return self._exported_read_out()
