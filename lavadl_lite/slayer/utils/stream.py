"""What modules share that go on over time from where their last call ended; neurons have a base of their own."""

from typing import ClassVar

import torch
from torch import Tensor

from ... import kernels
from ...errors import ShapeError

__all__ = ["AbstractStream", "fits", "of_inference"]


def fits(held: Tensor, shape: torch.Size) -> bool:
    """Whether a call can begin with the state ``held``: of this ``shape``, and not of inference mode outside of it."""
    return held.shape == shape and not of_inference(held)


def of_inference(held: Tensor) -> bool:
    """Whether ``held`` was made in inference mode, which is over: it cannot be saved for a backward."""
    if torch.compiler.is_compiling():  # where that cannot be asked
        return False
    return held.is_inference() and not torch.is_inference_mode_enabled()


class AbstractStream(torch.nn.Module):
    """Base of modules whose state goes on over time: buffers, spatial shape, batch changes.

    Parameters
    ----------
    persistent_state : bool
        Keep the state between calls, so that a sequence can be fed in chunks.  Another batch size or plane begins anew.

    Attributes
    ----------
    shape : torch.Size or None
        Spatial shape of the input, known from the first call or from :meth:`materialize`.
    """

    states: ClassVar[dict[str, torch.dtype]]

    def __init__(self, persistent_state: bool) -> None:
        super().__init__()
        self.persistent_state = bool(persistent_state)
        self.shape: torch.Size | None = None
        for name, dtype in self.states.items():
            self.register_buffer(name, torch.zeros(1, dtype=dtype), persistent=False)

    @torch.inference_mode(False)  # a later call may train
    def reset_state(self) -> None:
        """Forget the persistent state: the next call begins as the first one did."""
        for name, dtype in self.states.items():
            setattr(self, name, torch.zeros(1, dtype=dtype, device=getattr(self, name).device))

    def materialize(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Fix the spatial shape ``(C,)`` or ``(C, H, W)``; returns the same shape.

        Raises
        ------
        ShapeError
            If it is empty.
        """
        if torch.compiler.is_compiling():
            torch._dynamo.graph_break()  # noqa: SLF001 - shapes are made outside of a graph
        if not shape:
            raise ShapeError("expected a spatial shape (C,) or (C, H, W), got ()")
        self.shape = torch.Size(shape)
        return tuple(shape)

    def _ready(self, input: Tensor) -> Tensor:
        """``input`` in float32, its shape checked or fixed, the states made ready for it."""
        x = kernels.launch.floating(input)
        shape = x.shape
        if len(shape) < 3:
            raise ShapeError(f"expected an input (N, C, ..., T), got shape {tuple(shape)}")
        if self.shape is None:
            self.materialize(shape[1:-1])
        elif shape[1:-1] != self.shape:
            raise ShapeError(f"expected an input (N, {', '.join(map(str, self.shape))}, T), got shape {tuple(shape)}")
        self.fit_states(shape[:-1])
        return x

    def fit_states(self, shape: torch.Size) -> None:
        """Give persistent states the ``shape`` (N, C, ...) of an input without time."""
        for name in self.states if self.persistent_state else ():
            held = getattr(self, name)
            if not fits(held, shape):
                start = held if held.shape in (shape, (1,)) else held.new_zeros(1)
                setattr(self, name, start.expand(shape).clone())
