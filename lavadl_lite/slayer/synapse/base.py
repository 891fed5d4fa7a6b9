"""What all synapses share: a weight, its normalisation, its quantisation; not how it is applied."""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import ParameterError
from ..utils.quantize import Grid

__all__ = ["AbstractLayer", "Hook", "integers"]

Hook = Callable[..., Tensor]

# torch.nn.utils.parametrizations.weight_norm's names, and those of lava-dl, which we write
_PARAMETRIZED = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}


def integers(
    value: int | Sequence[int], name: str, forms: str = "an int", lengths: tuple[int, ...] = (), smallest: int = 1
) -> tuple[int, ...]:
    """One integer, or several of them, as a tuple; NumPy's are integers too, truth values are not.

    Parameters
    ----------
    value : int or sequence of int
        One integer gives a tuple of length 1.
    name, forms : str
        What an error names: the argument, and the forms that it takes.
    lengths : tuple of int
        Lengths that a sequence may have; without, only an int is taken.
    smallest : int
        Smallest integer that is taken.

    Raises
    ------
    ParameterError
        For anything else.
    """
    values = tuple(value) if isinstance(value, Sequence) else (value,)
    whole = all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in values)
    if not whole or (isinstance(value, Sequence) and len(values) not in lengths):
        raise ParameterError(f"expected {name} to be {forms}, got {value!r}")
    if min(values) < smallest:
        raise ParameterError(f"expected {name} of {smallest} or more, got {value!r}")
    return tuple(int(v) for v in values)


class AbstractLayer(torch.nn.Module):
    """Base of real synapses, without a bias.

    Parameters
    ----------
    shape : tuple of int
        Shape of the weight, with a trailing 1 for time.
    weight_scale : float
        Factor of the initial weights.
    weight_norm : bool
        Train a gain and a direction for each entry of the weight's first axis in place of the weight.
    pre_hook_fx : callable, optional
        Applied to the weight before each use, such as a quantisation.

    Attributes
    ----------
    weight : Parameter or Tensor
        The weight; with weight normalisation computed from ``weight_g`` and ``weight_v``, the parameters then.
    complex : bool
        False: one real synapse.
    """

    complex = False

    def __init__(
        self, shape: tuple[int, ...], weight_scale: float, weight_norm: bool, pre_hook_fx: Hook | None
    ) -> None:
        super().__init__()
        if not math.isfinite(weight_scale):
            raise ParameterError(f"expected a finite weight_scale, got {weight_scale}")
        self.weight = torch.nn.Parameter(torch.empty(shape))
        torch.nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if weight_scale != 1:
            self.weight.data *= weight_scale
        self.pre_hook_fx = pre_hook_fx
        if weight_norm:
            self.enable_weight_norm()

    def __getattr__(self, name: str) -> Any:
        # only reached where ``weight`` is not a parameter
        if name == "weight" and self.weight_norm_enabled:
            return self._normed()
        return super().__getattr__(name)

    def _normed(self) -> Tensor:
        return torch._weight_norm(self.weight_v, self.weight_g, 0)  # noqa: SLF001 - the bits of lava-dl

    @property
    def weight_norm_enabled(self) -> bool:
        """Whether a gain and a direction are trained in place of the weight."""
        return "weight_g" in self._parameters

    def enable_weight_norm(self) -> None:
        """Train gains and directions, a pair for each entry of the first axis, which give the weight of now."""
        if self.weight_norm_enabled:
            return
        weight = self.weight.detach()
        del self._parameters["weight"]
        gain = torch.norm_except_dim(weight, 2, 0).clone()
        self.weight_g = torch.nn.Parameter(gain)
        # weights of 0 have no direction of their own
        self.weight_v = torch.nn.Parameter(torch.where(gain == 0, torch.ones_like(weight), weight))

    def disable_weight_norm(self) -> None:
        """Train the weight itself again."""
        if not self.weight_norm_enabled:
            return
        weight = self._normed().detach()
        del self._parameters["weight_g"], self._parameters["weight_v"]
        self.weight = torch.nn.Parameter(weight)

    def effective_weight(self, mask: Tensor | None = None) -> Tensor:
        """The weight that is applied: normalised, masked, quantised.

        Parameters
        ----------
        mask : Tensor, broadcastable to the weight, optional
            What the weight is multiplied by before its quantisation.
        """
        grid = self._norm_grid(mask)
        if grid is not None:
            return grid.normed(self.weight_v, self.weight_g)
        weight = self._normed() if self.weight_norm_enabled else self.weight
        if mask is not None:
            weight = weight * mask
        return weight if self.pre_hook_fx is None else self.pre_hook_fx(weight)

    def _norm_grid(self, mask: Tensor | None) -> Grid | None:
        """What a normalised weight is rounded onto, where nothing comes between."""
        hook = self.pre_hook_fx
        return hook if isinstance(hook, Grid) and mask is None and self.weight_norm_enabled else None

    @property
    def shape(self) -> torch.Size:
        """Shape of the weight."""
        return (self.weight_v if self.weight_norm_enabled else self.weight).shape

    @property
    def grad_norm(self) -> float:
        """Norm of the gradient over the number of weights (of gains, where normalised); 0 without one."""
        grad = (self.weight_g if self.weight_norm_enabled else self.weight).grad
        return 0.0 if grad is None else float(torch.norm(grad) / grad.numel())

    @abstractmethod
    def operations(self, events: Tensor, mask: Tensor | None = None) -> Tensor:
        """Number of weights, those of 0 left out, that events pass.

        Parameters
        ----------
        events : Tensor, shape (C,) or (C, H, W)
            Number of events of each input.
        mask : Tensor, broadcastable to the weight, optional
            What the weight is multiplied by.
        """

    def _links(self, mask: Tensor | None) -> Tensor:
        return (self.effective_weight(mask).detach() != 0).to(torch.float64)

    @abstractmethod
    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        """Apply :meth:`effective_weight` to ``input``."""

    def _load_from_state_dict(self, state_dict, prefix, *args):
        for theirs, ours in _PARAMETRIZED.items():
            if prefix + theirs in state_dict:
                state_dict[prefix + ours] = state_dict.pop(prefix + theirs)
        super()._load_from_state_dict(state_dict, prefix, *args)
