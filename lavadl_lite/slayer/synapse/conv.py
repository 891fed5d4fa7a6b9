"""Real synapses whose kernel moves over a plane: convolution and its transpose; pooling is in :mod:`.pool`."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from ... import kernels
from ...errors import ParameterError, ShapeError
from .base import AbstractLayer, Hook, integers
from .convolve import conv3d

__all__ = ["AbstractConv", "Conv", "ConvTranspose", "Size"]

Size = int | Sequence[int]
Triple = tuple[int, int, int]


def triple(value: Size, name: str, smallest: int, time: int) -> Triple:
    """An int, or (height, width), as (height, width, time).

    Raises
    ------
    ParameterError
        For anything else, or below ``smallest``.
    """
    sizes = integers(value, name, "an int or (height, width)", (2,), smallest)
    return sizes[0], sizes[-1], time


class AbstractConv(AbstractLayer):
    """Base of synapses whose kernel covers a few positions of a plane, and a single time step.

    Parameters
    ----------
    channels : tuple of int
        The first two axes of the weight.
    kernel_size, stride, padding, dilation : int or (height, width)
    weight_scale : float
        Factor of the initial weights.
    weight_norm : bool
        Train gains and directions in place of the weight.
    pre_hook_fx : callable, optional
        Applied to the weight before each use.

    Attributes
    ----------
    kernel_size, stride, padding, dilation : tuple of int
        Height, width and time; the last entry is 1, of the padding 0.
    in_channels, out_channels : int
    groups : int

    Raises
    ------
    ParameterError
        For sizes that are not integers, or too small.
    """

    by_channel: ClassVar[bool] = False  # whether each channel is summed on its own, however many there are

    in_channels: int
    out_channels: int
    groups: int

    def __init__(
        self,
        channels: tuple[int, int],
        kernel_size: Size,
        stride: Size,
        padding: Size,
        dilation: Size,
        weight_scale: float,
        weight_norm: bool,
        pre_hook_fx: Hook | None,
    ) -> None:
        sizes = triple(kernel_size, "kernel_size", 1, 1)
        strides, paddings = triple(stride, "stride", 1, 1), triple(padding, "padding", 0, 0)
        dilations = triple(dilation, "dilation", 1, 1)
        super().__init__((*channels, *sizes), weight_scale, weight_norm, pre_hook_fx)
        self.kernel_size, self.stride, self.padding, self.dilation = sizes, strides, paddings, dilations

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}"
        )

    def output_shape(self, shape: Sequence[int]) -> Triple:
        """Spatial shape of the output.

        Parameters
        ----------
        shape : tuple of int
            Spatial shape (C, H, W) of the input.

        Raises
        ------
        ShapeError
            If the synapse does not take such an input.
        """
        if len(shape) != 3 or not (self.by_channel or shape[0] == self.in_channels):
            raise ShapeError(f"expected a spatial shape ({self._channels()}, H, W), got {tuple(shape)}")
        height, width = self._length(shape[1], 0), self._length(shape[2], 1)
        if min(*shape[1:], height, width) < 1:
            raise ShapeError(
                f"expected a plane that a kernel of {self.kernel_size[:2]} fits, padded by {self.padding[:2]} and "
                f"dilated by {self.dilation[:2]}, got {tuple(shape[1:])}"
            )
        return shape[0] if self.by_channel else self.out_channels, height, width

    def operations(self, events: Tensor, mask: Tensor | None = None) -> Tensor:
        return self._sums(events.double()[None, ..., None], self._links(mask)).sum()

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        """Weighted sums at every time step.

        Parameters
        ----------
        input : Tensor, shape (N, C, H, W, T)
        mask : Tensor, broadcastable to the weight, optional
            What the weight is multiplied by.

        Returns
        -------
        Tensor, shape (N, C', H', W', T)
            With the spatial shape that :meth:`output_shape` tells.

        Raises
        ------
        ParameterError
            If ``input`` is not of a floating-point type.
        ShapeError
            If ``input`` has another rank or number of channels, or its plane is too small.
        """
        x = kernels.launch.floating(input)
        if x.dim() != 5:
            raise ShapeError(f"expected an input (N, {self._channels()}, H, W, T), got shape {tuple(x.shape)}")
        self.output_shape(x.shape[1:4])
        weight = self.effective_weight(mask)
        x = x.to(weight.dtype)
        if not x.shape[-1]:  # torch takes no empty axis
            return self._sums(F.pad(x, (0, 1)), weight)[..., :0].to(input.dtype)
        return self._sums(x, weight).to(input.dtype)

    def _channels(self) -> str:
        return "C" if self.by_channel else str(self.in_channels)

    def _covered(self, size: int, axis: int) -> int:
        """Positions of the kernel along an axis of ``size``."""
        reach = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
        return (size + 2 * self.padding[axis] - reach) // self.stride[axis] + 1

    def _spread(self, size: int, axis: int) -> int:
        """Length of an axis that ``size`` positions of the kernel cover."""
        reach = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
        return (size - 1) * self.stride[axis] + reach - 2 * self.padding[axis]

    @abstractmethod
    def connections(self, shape: Sequence[int]) -> int:
        """Number of connections to an output of spatial shape (C, H, W), those from the padding included."""

    @abstractmethod
    def _length(self, size: int, axis: int) -> int:
        """Length of an axis of the output, from that of the input."""

    @abstractmethod
    def _sums(self, x: Tensor, weight: Tensor) -> Tensor:
        """Apply ``weight`` to ``x``."""


def _divided(in_features: int, out_features: int, groups: int) -> Triple:
    """The two numbers of channels and that of groups, which divides them."""
    (inputs,) = integers(in_features, "in_features")
    (outputs,) = integers(out_features, "out_features")
    (parts,) = integers(groups, "groups")
    if inputs % parts or outputs % parts:
        raise ParameterError(f"expected groups that divide {inputs} and {outputs} features, got {parts}")
    return inputs, outputs, parts


class Conv(AbstractConv):
    """Convolution over a plane: one kernel moves over it, and gives sums at each of its positions.

    Parameters
    ----------
    in_features : int
        Number of input channels.
    out_features : int
        Number of output channels.
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
        Train a gain and a direction for each output channel in place of the weight.
    pre_hook_fx : callable, optional
        Applied to the weight before each use.

    Attributes
    ----------
    weight : Parameter or Tensor, shape (out, in / groups, height, width, 1)
    kernel_size, stride, padding, dilation : tuple of int
        Height, width and time.
    in_channels, out_channels, groups : int

    Raises
    ------
    ParameterError
        For sizes that are not integers or too small, or groups that do not divide the channels.

    Notes
    -----
    Sums are float32.  On a GPU torch rounds what enters a convolution to 11 bits, which changes no spikes and no
    quantised weights, but graded inputs that need more; ``torch.backends.cudnn.allow_tf32 = False`` keeps all bits.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        weight_scale: float = 1,
        weight_norm: bool = False,
        pre_hook_fx: Hook | None = None,
    ) -> None:
        inputs, outputs, parts = _divided(in_features, out_features, groups)
        super().__init__(
            (outputs, inputs // parts), kernel_size, stride, padding, dilation, weight_scale, weight_norm, pre_hook_fx
        )
        self.in_channels, self.out_channels, self.groups = inputs, outputs, parts

    def connections(self, shape: Sequence[int]) -> int:
        return math.prod(shape) * math.prod(self.shape[1:])

    def _length(self, size: int, axis: int) -> int:
        return self._covered(size, axis)

    def _sums(self, x: Tensor, weight: Tensor) -> Tensor:
        return conv3d(x, weight, self.stride, self.padding, self.dilation, self.groups)


class ConvTranspose(AbstractConv):
    """Transposed convolution: each position of the input spreads a kernel over the plane, and what overlaps is summed.

    Parameters
    ----------
    in_features : int
        Number of input channels.
    out_features : int
        Number of output channels.
    kernel_size : int or (height, width)
        Positions that the kernel covers.
    stride : int or (height, width)
        Distance between the kernels of neighbours.
    padding : int or (height, width)
        Positions that are cut from each side of the result.
    dilation : int or (height, width)
        Distance between positions that the kernel covers.
    groups : int
        Parts that the channels are cut into, each with outputs of its own.
    weight_scale : float
        Factor of the initial weights.
    weight_norm : bool
        Train a gain and a direction for each input channel, the first axis, in place of the weight.
    pre_hook_fx : callable, optional
        Applied to the weight before each use.

    Attributes
    ----------
    weight : Parameter or Tensor, shape (in, out / groups, height, width, 1)
    kernel_size, stride, padding, dilation : tuple of int
        Height, width and time.
    in_channels, out_channels, groups : int

    Raises
    ------
    ParameterError
        For sizes that are not integers or too small, or groups that do not divide the channels.

    Notes
    -----
    See :class:`Conv` for the precision of a GPU.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        weight_scale: float = 1,
        weight_norm: bool = False,
        pre_hook_fx: Hook | None = None,
    ) -> None:
        inputs, outputs, parts = _divided(in_features, out_features, groups)
        super().__init__(
            (inputs, outputs // parts), kernel_size, stride, padding, dilation, weight_scale, weight_norm, pre_hook_fx
        )
        self.in_channels, self.out_channels, self.groups = inputs, outputs, parts

    def connections(self, shape: Sequence[int]) -> int:
        plane = [self._covered(size, axis) for axis, size in enumerate(shape[1:])]
        return self.in_channels * math.prod(plane) * math.prod(self.shape[1:])

    def _length(self, size: int, axis: int) -> int:
        return self._spread(size, axis)

    def _sums(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.conv_transpose3d(x, weight, None, self.stride, self.padding, 0, self.groups, self.dilation)
