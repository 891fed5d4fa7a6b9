"""Real synapses: what they compute and their geometry."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ... import kernels
from ...errors import ParameterError, ShapeError
from .base import AbstractLayer, Hook

__all__ = ["Dense"]


def _sizes(value: int | Sequence[int], name: str) -> tuple[int, ...]:
    sizes = tuple(value) if isinstance(value, Sequence) else (value,)
    integers = all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in sizes)
    if not integers or len(sizes) not in (1, 2, 3):
        raise ParameterError(f"expected {name} to be an int, (W, H) or (W, H, C), got {value!r}")
    return tuple(int(v) for v in sizes)


class Dense(AbstractLayer):
    """All inputs to all outputs.

    Parameters
    ----------
    in_neurons : int, (W, H) or (W, H, C)
        Number of inputs, or the plane that one kernel covers.
    out_neurons : int
        Number of outputs.
    weight_scale : float
        Factor of the initial weights.
    weight_norm : bool
        Train a gain and a direction for each output in place of the weight.
    pre_hook_fx : callable, optional
        Applied to the weight before each use.

    Attributes
    ----------
    weight : Parameter or Tensor, shape (out, in, 1, 1, 1), or (out, C, H, W, 1) for a plane
    in_channels, out_channels : int

    Raises
    ------
    ParameterError
        For sizes that are not positive integers.
    """

    def __init__(
        self,
        in_neurons: int | Sequence[int],
        out_neurons: int,
        weight_scale: float = 1,
        weight_norm: bool = False,
        pre_hook_fx: Hook | None = None,
    ) -> None:
        sizes = _sizes(in_neurons, "in_neurons")
        (out,) = _sizes(out_neurons, "out_neurons") if not isinstance(out_neurons, Sequence) else (None,)
        if out is None:
            raise ParameterError(f"expected out_neurons to be an int, got {out_neurons!r}")
        width, height, channels = (1, 1, sizes[0]) if len(sizes) == 1 else (*sizes, 1)[:3]
        super().__init__((out, channels, height, width, 1), weight_scale, weight_norm, pre_hook_fx)
        self.in_channels, self.out_channels = channels, out
        self.kernel_size = (height, width, 1)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        """Weighted sums at every time step.

        Parameters
        ----------
        input : Tensor, shape (N, in, T), or (N, C, H, W, T)
        mask : Tensor, broadcastable to the weight, optional
            What the weight is multiplied by.

        Returns
        -------
        Tensor, shape (N, out, T) for 3 dimensions, (N, out, H', W', T) for 5
            Planes that fit the kernel have ``H' = W' = 1``.

        Raises
        ------
        ParameterError
            If ``input`` is not of a floating-point type.
        ShapeError
            If ``input`` has another rank or number of channels.
        """
        x = kernels.launch.floating(input)
        if input.dim() not in (3, 5) or input.shape[1] != self.in_channels:
            raise ShapeError(
                f"expected an input (N, {self.in_channels}, T) or (N, {self.in_channels}, H, W, T), "
                f"got shape {tuple(input.shape)}"
            )
        weight = self.effective_weight(mask)
        x = x.to(weight.dtype)
        rows = weight.flatten(1).expand(input.shape[0], -1, -1)
        # one product a sample, in the input's own layout: matmul would copy all samples into one matrix and back
        if self.kernel_size == (1, 1, 1):
            y = torch.bmm(rows, x.flatten(2)).reshape(input.shape[0], self.out_channels, *input.shape[2:])
        elif input.dim() == 3:
            raise ShapeError(f"expected an input (N, C, H, W, T) for a kernel over a plane, got {tuple(input.shape)}")
        elif input.shape[2:4] == self.kernel_size[:2]:
            y = torch.bmm(rows, x.flatten(1, 3))[:, :, None, None]
        else:
            y = torch.nn.functional.conv3d(x, weight)
        return y.to(input.dtype)
