"""Real synapses; those whose kernel moves over a plane are in files of their own."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ... import kernels
from ...errors import ShapeError
from .base import AbstractLayer, Hook, integers
from .conv import Conv, ConvTranspose
from .pool import Pool, Unpool
from .product import normed_product, product

__all__ = ["Conv", "ConvTranspose", "Dense", "Pool", "Unpool"]


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
        sizes = integers(in_neurons, "in_neurons", "an int, (W, H) or (W, H, C)", (1, 2, 3))
        (out,) = integers(out_neurons, "out_neurons")
        width, height, channels = (1, 1, sizes[0]) if len(sizes) == 1 else (*sizes, 1)[:3]
        super().__init__((out, channels, height, width, 1), weight_scale, weight_norm, pre_hook_fx)
        self.in_channels, self.out_channels = channels, out
        self.kernel_size = (height, width, 1)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"

    def operations(self, events: Tensor, mask: Tensor | None = None) -> Tensor:
        links = self._links(mask)
        if events.dim() == 1:
            return (events.double() * links.sum(0).flatten()).sum()
        return torch.nn.functional.conv3d(events.double()[None, ..., None], links).sum()

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
        if self.kernel_size == (1, 1, 1):
            y = self._product(x if x.dim() == 3 else x.flatten(2), mask)
            y = y if x.dim() == 3 else y.reshape(input.shape[0], self.out_channels, *input.shape[2:])
        elif input.dim() == 3:
            raise ShapeError(f"expected an input (N, C, H, W, T) for a kernel over a plane, got {tuple(input.shape)}")
        elif input.shape[2:4] == self.kernel_size[:2]:
            y = self._product(x.flatten(1, 3), mask)[:, :, None, None]
        else:
            weight = self.effective_weight(mask)
            y = torch.nn.functional.conv3d(x.to(weight.dtype), weight)
        return y.to(input.dtype)

    def _product(self, input: Tensor, mask: Tensor | None) -> Tensor:
        grid = self._norm_grid(mask)
        if grid is not None:
            direction = self.weight_v
            return normed_product(direction, self.weight_g, input.to(direction.dtype), grid)
        weight = self.effective_weight(mask)
        return product(weight, input.to(weight.dtype))
