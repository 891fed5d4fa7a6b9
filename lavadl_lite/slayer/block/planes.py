"""Blocks over planes: convolution, pooling and their transposes; constructor and entry in the exchange format."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...exchange import Layer
from ..synapse.conv import Size
from .base import AbstractBlock, Hook, Output

__all__ = ["AbstractConv", "AbstractConvT", "AbstractPool", "AbstractUnpool"]


class _AbstractPlane(AbstractBlock):
    """What the blocks over planes share."""

    def __init__(
        self,
        neuron_params: dict[str, Any],
        layer: torch.nn.Module,
        pre_hook_fx: Hook,
        delay: bool,
        delay_shift: bool | None,
        count_log: bool,
    ) -> None:
        super().__init__(neuron_params, layer, delay, delay_shift, None, count_log)
        self._hook(layer, pre_hook_fx)

    def materialize(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        shape = self.synapse.output_shape(shape)
        self.neuron.materialize(shape)
        if self.delay is not None:
            self.delay.materialize(shape)
        return shape

    def forward(self, input: Tensor) -> Output:
        return self._counted(self._reply(self._drive(input)))

    def states(self, input: Tensor) -> dict[str, Tensor]:
        return self._traced(self._drive(input))

    def synaptic_operations(self, input: Tensor, output: Tensor) -> int:
        return int(self.synapse.operations(self._events(input)))

    @property
    def num_synapses(self) -> int:
        if self.shape is None:
            return 0
        return self.synapse.connections(tuple(self.shape))

    def _exported_geometry(self) -> dict[str, Any]:
        layer = self.synapse
        sizes = {
            "kernelSize": layer.kernel_size, "stride": layer.stride, "padding": layer.padding,
            "dilation": layer.dilation,
        }  # fmt: skip
        return {
            "shape": np.array(self._exported_shape(), np.int64),
            **{name: np.array(size[:2], np.int64) for name, size in sizes.items()},
            **self._exported_weight("weight", layer),
            **self._exported_delay(),
        }


class _AbstractConvolution(_AbstractPlane):
    """What convolution and its transpose share."""

    def exchange_layer(self) -> Layer:
        layer = self.synapse
        fields = {
            **self._exported_geometry(),
            "inChannels": layer.in_channels,
            "outChannels": layer.out_channels,
            "groups": layer.groups,
            **self._exported_bias(layer.out_channels),
        }
        return Layer(self.layer_type, fields, self._exported_neuron())


class AbstractConv(_AbstractConvolution):
    """Convolution over a plane, then neurons.

    Parameters
    ----------
    neuron_params : dict
        Arguments of the neuron.
    in_features, out_features : int
        Number of channels.
    kernel_size : int or (height, width)
        Positions that the kernel covers.
    stride : int or (height, width)
        Distance between positions of the kernel.
    padding : int or (height, width)
        Zeros on each side of the plane.
    dilation : int or (height, width)
        Distance between positions that the kernel covers.
    groups : int
        Parts that the channels are cut into, each with outputs of its own.
    weight_scale : float
        Factor of the initial weights.
    weight_norm : bool
        Train a gain and a direction for each output channel.
    pre_hook_fx : callable, optional
        Applied to the weight before each use, with ``descale=True`` for export; by default the neuron's 8-bit
        quantiser, ``None`` for nothing.
    delay : bool
        Learn an axonal delay of 0..62 steps for each channel.
    delay_shift : bool, optional
        Delay the output by one step, the latency of the hardware; absent, as its family has it: all but sigma-delta do.
    count_log : bool
        Return ``(output, event rate)``.

    Raises
    ------
    ParameterError
        For an argument outside its range.
    """

    layer_type = "conv"

    def __init__(
        self,
        neuron_params: dict[str, Any],
        in_features: int,
        out_features: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        weight_scale: float = 1,
        weight_norm: bool = False,
        pre_hook_fx: Hook = "quantize_8bit",
        delay: bool = False,
        delay_shift: bool | None = None,
        count_log: bool = False,
    ) -> None:
        layer = self._synapse("Conv")(
            in_features, out_features, kernel_size, stride, padding, dilation, groups, weight_scale, weight_norm
        )
        super().__init__(self._given(neuron_params), layer, pre_hook_fx, delay, delay_shift, count_log)


class AbstractConvT(_AbstractConvolution):
    """Transposed convolution over a plane, then neurons.

    Parameters
    ----------
    neuron_params, in_features, out_features, groups, weight_scale, pre_hook_fx, delay, delay_shift, count_log
        As for :class:`AbstractConv`.
    kernel_size : int or (height, width)
        Positions that one input spreads to.
    stride : int or (height, width)
        Distance between the kernels of neighbours.
    padding : int or (height, width)
        Positions that are cut from each side of the result.
    dilation : int or (height, width)
        Distance between positions that the kernel covers.
    weight_norm : bool
        Train a gain and a direction for each input channel.
    """

    layer_type = "convT"

    def __init__(
        self,
        neuron_params: dict[str, Any],
        in_features: int,
        out_features: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        weight_scale: float = 1,
        weight_norm: bool = False,
        pre_hook_fx: Hook = "quantize_8bit",
        delay: bool = False,
        delay_shift: bool | None = None,
        count_log: bool = False,
    ) -> None:
        layer = self._synapse("ConvTranspose")(
            in_features, out_features, kernel_size, stride, padding, dilation, groups, weight_scale, weight_norm
        )
        super().__init__(self._given(neuron_params), layer, pre_hook_fx, delay, delay_shift, count_log)


class _AbstractPooling(_AbstractPlane):
    """What pooling and its transpose share."""

    def exchange_layer(self) -> Layer:
        return Layer(self.layer_type, self._exported_geometry(), self._exported_neuron())


class AbstractPool(_AbstractPooling):
    """Sums over the positions of a kernel, each channel on its own, then neurons.

    Parameters
    ----------
    neuron_params : dict
        Arguments of the neuron.  A ``norm`` is left out: what is pooled has no mean to take away.
    kernel_size : int or (height, width)
        Positions that are summed.
    stride : int or (height, width), optional
        Distance between positions of the kernel; ``None`` for the kernel's size.
    padding : int or (height, width)
        Zeros on each side of the plane.
    dilation : int or (height, width)
        Distance between positions that are summed.
    weight_scale : float
        Value of the weights, which are not trained.
    weight_norm : bool
        Train a gain and a direction, shared by all channels, in place of the weight.
    pre_hook_fx, delay, delay_shift, count_log
        As for :class:`AbstractConv`.
    """

    layer_type = "pool"

    def __init__(
        self,
        neuron_params: dict[str, Any],
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        weight_scale: float = 1,
        weight_norm: bool = False,
        pre_hook_fx: Hook = "quantize_8bit",
        delay: bool = False,
        delay_shift: bool | None = None,
        count_log: bool = False,
    ) -> None:
        layer = self._synapse("Pool")(kernel_size, stride, padding, dilation, weight_scale, weight_norm)
        super().__init__(
            self._given(neuron_params) | {"norm": None}, layer, pre_hook_fx, delay, delay_shift, count_log
        )  # fmt: skip


class AbstractUnpool(_AbstractPooling):
    """Each position spread to all that a kernel covers, each channel on its own, then neurons: transposed pooling.

    Parameters
    ----------
    neuron_params, weight_scale, weight_norm
        As for :class:`AbstractPool`.
    kernel_size : int or (height, width)
        Positions that one input spreads to.
    stride : int or (height, width), optional
        Distance between the kernels of neighbours; ``None`` for the kernel's size.
    padding : int or (height, width)
        Positions that are cut from each side of the result.
    dilation : int or (height, width)
        Distance between positions that the kernel covers.
    pre_hook_fx, delay, delay_shift, count_log
        As for :class:`AbstractConv`.
    """

    layer_type = "unpool"

    def __init__(
        self,
        neuron_params: dict[str, Any],
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        weight_scale: float = 1,
        weight_norm: bool = False,
        pre_hook_fx: Hook = "quantize_8bit",
        delay: bool = False,
        delay_shift: bool | None = None,
        count_log: bool = False,
    ) -> None:
        layer = self._synapse("Unpool")(kernel_size, stride, padding, dilation, weight_scale, weight_norm)
        super().__init__(
            self._given(neuron_params) | {"norm": None}, layer, pre_hook_fx, delay, delay_shift, count_log
        )  # fmt: skip
