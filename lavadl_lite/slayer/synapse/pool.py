"""Real synapses that sum each channel of a plane on its own: pooling and its transpose."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from .base import Hook
from .conv import AbstractConv, Size

__all__ = ["AbstractPool", "Pool", "Unpool"]


class AbstractPool(AbstractConv):
    """Base of synapses with one kernel for every channel, all of whose weights are equal and not trained.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or (height, width)
        ``stride=None`` is the kernel's size.
    weight_scale : float
        Value of the weights.
    weight_norm : bool
        Train a gain and a direction in place of the weight.
    pre_hook_fx : callable, optional
        Applied to the weight before each use.
    """

    by_channel = True

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None,
        padding: Size,
        dilation: Size,
        weight_scale: float,
        weight_norm: bool,
        pre_hook_fx: Hook | None,
    ) -> None:
        stride = kernel_size if stride is None else stride
        # the weights are drawn first, as for other synapses: what is drawn next is then the same as with lava-dl
        super().__init__((1, 1), kernel_size, stride, padding, dilation, weight_scale, False, pre_hook_fx)
        self.in_channels = self.out_channels = self.groups = 1
        self.weight.requires_grad_(False).fill_(weight_scale)
        if weight_norm:
            self.enable_weight_norm()

    def _steps_as_channels(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Planes (N C, T, H, W) and a kernel for each step.

        Read so, an input (N, C, H, W, T) has its channels last, where torch is quickest, and nothing is copied.
        """
        return x.flatten(0, 1).permute(0, 3, 1, 2), weight[..., 0].expand(x.shape[-1], -1, -1, -1)


class Pool(AbstractPool):
    """Sum over the positions that a kernel covers, times a weight, each channel on its own.

    Along an axis where the stride is the kernel's size, zeros after the last row or column complete the last kernel.

    Parameters
    ----------
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
    pre_hook_fx : callable, optional
        Applied to the weight before each use.

    Attributes
    ----------
    weight : Parameter or Tensor, shape (1, 1, height, width, 1)
    kernel_size, stride, padding, dilation : tuple of int
        Height, width and time.
    in_channels, out_channels, groups : int
        1: the weight's own; any number of channels is taken.

    Raises
    ------
    ParameterError
        For sizes that are not integers, or too small.
    """

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
        super().__init__(kernel_size, stride, padding, dilation, weight_scale, weight_norm, pre_hook_fx)

    def _missing(self, size: int, axis: int) -> int:
        """Zeros that complete the last kernel."""
        kernel = self.kernel_size[axis]
        return -size % kernel if self.stride[axis] == kernel else 0

    def connections(self, shape: Sequence[int]) -> int:
        return math.prod(shape) * math.prod(self.kernel_size)

    def _length(self, size: int, axis: int) -> int:
        return self._covered(size + self._missing(size, axis), axis)

    def _sums(self, x: Tensor, weight: Tensor) -> Tensor:
        rows, columns = (self._missing(x.shape[2 + axis], axis) for axis in (0, 1))
        if rows or columns:
            x = F.pad(x, (0, 0, 0, columns, 0, rows))
        planes, kernels = self._steps_as_channels(x, weight)
        sums = F.conv2d(planes, kernels, None, self.stride[:2], self.padding[:2], self.dilation[:2], x.shape[-1])
        return sums.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])


class Unpool(AbstractPool):
    """Each position times a weight to all positions that a kernel covers, each channel on its own: transposed pooling.

    Parameters
    ----------
    kernel_size : int or (height, width)
        Positions that one input spreads to.
    stride : int or (height, width), optional
        Distance between the kernels of neighbours; ``None`` for the kernel's size.
    padding : int or (height, width)
        Positions that are cut from each side of the result.
    dilation : int or (height, width)
        Distance between positions that the kernel covers.
    weight_scale : float
        Value of the weights, which are not trained.
    weight_norm : bool
        Train a gain and a direction, shared by all channels, in place of the weight.
    pre_hook_fx : callable, optional
        Applied to the weight before each use.

    Attributes
    ----------
    weight : Parameter or Tensor, shape (1, 1, height, width, 1)
    kernel_size, stride, padding, dilation : tuple of int
        Height, width and time.
    in_channels, out_channels, groups : int
        1: the weight's own; any number of channels is taken.

    Raises
    ------
    ParameterError
        For sizes that are not integers, or too small.
    """

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
        super().__init__(kernel_size, stride, padding, dilation, weight_scale, weight_norm, pre_hook_fx)

    def connections(self, shape: Sequence[int]) -> int:
        plane = [self._covered(size, axis) for axis, size in enumerate(shape[1:])]
        return shape[0] * math.prod(plane) * math.prod(self.kernel_size)

    def _length(self, size: int, axis: int) -> int:
        return self._spread(size, axis)

    def _sums(self, x: Tensor, weight: Tensor) -> Tensor:
        planes, kernels = self._steps_as_channels(x, weight)
        stride, padding, dilation = self.stride[:2], self.padding[:2], self.dilation[:2]
        sums = F.conv_transpose2d(planes, kernels, None, stride, padding, 0, x.shape[-1], dilation)
        return sums.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])
