"""Complex synapses: two real ones side by side, whose sums are the real and the imaginary part."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...errors import ParameterError
from . import layer
from .base import Hook
from .conv import Size, Triple

__all__ = ["AbstractComplexConv", "ComplexLayer", "Conv", "ConvTranspose", "Dense", "Pool", "Unpool"]


class ComplexLayer(torch.nn.Module):
    """Base of complex synapses.

    Parameters
    ----------
    part : callable
        Makes a real synapse; called for the real part first.

    Attributes
    ----------
    real, imag : AbstractLayer
        Synapses of the real and the imaginary part, independent of each other.
    complex : bool
        True: two real synapses.
    """

    complex = True

    real: Any
    imag: Any

    def __init__(self, part: Callable[[], torch.nn.Module]) -> None:
        super().__init__()
        self.real = part()
        self.imag = part()

    def forward(self, input: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Weighted sums of the real and of the imaginary weights, see the real synapse of the same name."""
        return self.real(input, mask), self.imag(input, mask)

    def operations(self, events: Tensor, mask: Tensor | None = None) -> Tensor:
        """Number of weights of both parts, those of 0 left out, that events pass; see the real synapse."""
        return self.real.operations(events, mask) + self.imag.operations(events, mask)

    def effective_weight(self, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The weights that are applied, real and imaginary: normalised, masked, quantised."""
        return self.real.effective_weight(mask), self.imag.effective_weight(mask)

    def enable_weight_norm(self) -> None:
        """Train gains and directions in place of both weights."""
        self.real.enable_weight_norm()
        self.imag.enable_weight_norm()

    def disable_weight_norm(self) -> None:
        """Train the weights themselves again."""
        self.real.disable_weight_norm()
        self.imag.disable_weight_norm()

    @property
    def weight_norm_enabled(self) -> bool:
        """Whether gains and directions are trained in place of both weights."""
        return self.real.weight_norm_enabled and self.imag.weight_norm_enabled

    @property
    def pre_hook_fx(self) -> Hook | None:
        """What is applied to both weights before each use; setting it sets both.

        Raises
        ------
        ParameterError
            If the two parts were given different ones.
        """
        if self.real.pre_hook_fx != self.imag.pre_hook_fx:
            raise ParameterError(
                f"expected one pre_hook_fx for both parts, got {self.real.pre_hook_fx} and {self.imag.pre_hook_fx}"
            )
        return self.real.pre_hook_fx

    @pre_hook_fx.setter
    def pre_hook_fx(self, hook: Hook | None) -> None:
        self.real.pre_hook_fx = hook
        self.imag.pre_hook_fx = hook

    @property
    def shape(self) -> torch.Size:
        """Shape of either weight."""
        return self.real.shape

    @property
    def grad_norm(self) -> float:
        """Root of the sum of squares of both parts' ``grad_norm``."""
        return math.hypot(self.real.grad_norm, self.imag.grad_norm)

    @property
    def in_channels(self) -> int:
        """Number of input channels."""
        return self.real.in_channels

    @property
    def out_channels(self) -> int:
        """Number of output channels, of either part."""
        return self.real.out_channels

    @property
    def kernel_size(self) -> Triple:
        """Height, width and time of the kernels."""
        return self.real.kernel_size


class AbstractComplexConv(ComplexLayer):
    """Base of complex synapses whose kernels move over a plane."""

    @property
    def stride(self) -> Triple:
        """Height, width and time of the distance between positions of the kernels."""
        return self.real.stride

    @property
    def padding(self) -> Triple:
        """Height, width and time of the padding."""
        return self.real.padding

    @property
    def dilation(self) -> Triple:
        """Height, width and time of the distance between positions that the kernels cover."""
        return self.real.dilation

    @property
    def groups(self) -> int:
        """Parts that the channels are cut into."""
        return self.real.groups

    def connections(self, shape: Sequence[int]) -> int:
        """Connections of both parts to an output of spatial shape (C, H, W), those from the padding included."""
        return self.real.connections(shape) + self.imag.connections(shape)

    def output_shape(self, shape: Sequence[int]) -> Triple:
        """Spatial shape of either output, from that (C, H, W) of the input; ShapeError where it does not fit."""
        return self.real.output_shape(shape)


class Dense(ComplexLayer):
    """All inputs to all outputs; arguments of the real :class:`~lavadl_lite.slayer.synapse.Dense`."""

    def __init__(
        self,
        in_neurons: int | Sequence[int],
        out_neurons: int,
        weight_scale: float = 1,
        weight_norm: bool = False,
        pre_hook_fx: Hook | None = None,
    ) -> None:
        super().__init__(partial(layer.Dense, in_neurons, out_neurons, weight_scale, weight_norm, pre_hook_fx))


class Conv(AbstractComplexConv):
    """Convolution over a plane; arguments of the real :class:`~lavadl_lite.slayer.synapse.Conv`."""

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
        super().__init__(
            partial(
                layer.Conv, in_features, out_features, kernel_size, stride, padding, dilation, groups, weight_scale,
                weight_norm, pre_hook_fx,
            )
        )  # fmt: skip


class Pool(AbstractComplexConv):
    """Sums of each channel on its own; arguments of the real :class:`~lavadl_lite.slayer.synapse.Pool`."""

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        weight_scale: float = 1,
        weight_norm: bool = False,
        pre_hook_fx: Hook | None = None,
    ) -> None:
        super().__init__(
            partial(layer.Pool, kernel_size, stride, padding, dilation, weight_scale, weight_norm, pre_hook_fx)
        )


class ConvTranspose(AbstractComplexConv):
    """Transposed convolution; arguments of the real :class:`~lavadl_lite.slayer.synapse.ConvTranspose`."""

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
        super().__init__(
            partial(
                layer.ConvTranspose, in_features, out_features, kernel_size, stride, padding, dilation, groups,
                weight_scale, weight_norm, pre_hook_fx,
            )
        )  # fmt: skip


class Unpool(AbstractComplexConv):
    """Transposed pooling; arguments of the real :class:`~lavadl_lite.slayer.synapse.Unpool`."""

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        weight_scale: float = 1,
        weight_norm: bool = False,
        pre_hook_fx: Hook | None = None,
    ) -> None:
        super().__init__(
            partial(layer.Unpool, kernel_size, stride, padding, dilation, weight_scale, weight_norm, pre_hook_fx)
        )
