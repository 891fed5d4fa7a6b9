"""Small helpers without a better home: attribute dictionaries, class properties, masks, event counts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...errors import ParameterError, ShapeError

__all__ = ["diagonal_mask", "dotdict", "event_rate", "staticproperty"]


class dotdict(dict):
    """A dictionary whose string keys can be read, set and deleted as attributes.

    A missing attribute reads as ``None``. Names of ``dict``'s own methods still mean the methods.

    Examples
    --------
    >>> options = dotdict(rate=0.1)
    >>> options.rate, options.other
    (0.1, None)
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # protocols such as pickle ask for these: None would say that they are there
            raise AttributeError(name)
        return self.get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None


class staticproperty(property):
    """A property of the class itself: its function takes no argument and runs at every read.

    Examples
    --------
    >>> class Library:
    ...     @staticproperty
    ...     def version():
    ...         return 3
    >>> Library.version
    3
    """

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if self.fget is None:
            raise AttributeError("unreadable static property")
        return self.fget()  # type: ignore[call-arg,misc]


def diagonal_mask(dim: int, num_diagonals: int) -> Tensor:
    """Ones on and around the main diagonal of a square matrix, zeros elsewhere.

    Parameters
    ----------
    dim : int
        Rows and columns.
    num_diagonals : int
        Diagonals that are kept, centred on the main one; an even number counts as the next odd one.

    Returns
    -------
    Tensor of float32, shape (dim, dim)
        The mask.

    Raises
    ------
    ParameterError
        If ``num_diagonals`` is not positive, or more than ``dim`` diagonals on a side are asked for.
    """
    if not 1 <= num_diagonals <= 2 * dim + 1:
        raise ParameterError(f"expected num_diagonals in 1..{2 * dim + 1} for {dim=}, got {num_diagonals}")
    index = torch.arange(dim)
    distance = (index[:, None] - index).abs()
    return (distance <= num_diagonals // 2).to(torch.float32)


def event_rate(x: Tensor) -> float:
    """Fraction of the elements that are not zero.

    Parameters
    ----------
    x : Tensor, shape (..., T)
        Events of any amplitude. With more than one step the first is left out: it holds the events that only
        start a sequence.

    Returns
    -------
    float
        Between 0 and 1; NaN if there is no element. A NaN in ``x`` counts as an event.

    Raises
    ------
    ShapeError
        If ``x`` has no axis.
    """
    if x.dim() == 0:
        raise ShapeError("expected input (..., T), got a tensor without axes")
    events, elements = torch.count_nonzero(x).item(), x.numel()
    if x.shape[-1] > 1:
        first = x[..., 0]
        events -= torch.count_nonzero(first).item()
        elements -= first.numel()
    return events / elements if elements else float("nan")
