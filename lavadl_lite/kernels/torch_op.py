"""A forward and a backward body as torch sees them: an autograd.Function in eager mode, a custom op when compiled.

torch.compile cannot look into numba, so there the same bodies are reached through ``torch.library.custom_op``; eager
mode keeps the Function, which costs a third per call and with which ``torch.func.grad`` works.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

__all__ = ["eager_apply", "forward_op", "gradients_again", "torch_op", "transformed", "unmixed"]

_NAMESPACE = "lavadl_lite"


def _refuse(ctx: Any, *grads: Any) -> None:
    raise RuntimeError("a second derivative was asked for, but the backward of this operator has none")


def transformed() -> bool:
    """Whether torch.func transforms what runs now; asked as ``Function.apply`` itself does."""
    return torch._C._are_functorch_transforms_active()  # noqa: SLF001


def unmixed(tensor: Tensor) -> AbstractContextManager[Any]:
    """Without mixed precision: for a backward's products, whose forward was not mixed when the backward's caller is."""
    kind = tensor.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def eager_apply(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    """``function.apply`` without its binding of arguments by name, which costs more than a small layer.

    ``torch.func`` takes the long way.  All arguments are given by position.
    """
    direct = super(torch.autograd.Function, function).apply

    def apply(*args: Any) -> Any:
        return function.apply(*args) if transformed() else direct(*args)

    return apply


def gradients_again(
    function: Callable[..., Tensor], given: Sequence[Tensor], wanted: Sequence[bool], grad: Tensor
) -> list[Tensor | None]:
    """Gradients of ``function(*given)`` that can be differentiated again: for the backward of a Function equal to it.

    Parameters
    ----------
    function : callable
        Made of differentiable operations.
    given : sequence of Tensor
        Its arguments.
    wanted : sequence of bool
        Whose gradient is made; None stands for the others.
    grad : Tensor
        Gradient of the result.
    """
    aliases = [x.view_as(x) for x in given]  # else hooks of what is given would run in here too
    inputs = [x for x, needed in zip(aliases, wanted, strict=True) if needed]
    found = iter(torch.autograd.grad(function(*aliases), inputs, grad, create_graph=True))
    return [next(found) if needed else None for needed in wanted]


def forward_op(
    name: str, forward: Callable[..., Any], fake_forward: Callable[..., Any]
) -> Callable[..., tuple[Tensor, ...]]:
    """Build the callable ``op(*inputs)`` that runs ``forward``, whose outputs carry no gradient.

    Parameters
    ----------
    name : str
        Name of the op in the namespace ``lavadl_lite``.
    forward : callable
        Body over real tensors, annotated so that torch can read a schema from it; returns a tuple of tensors.
    fake_forward : callable
        The same signature, returning uninitialised tensors of the right shapes.

    Notes
    -----
    Inputs have to be detached: where ``torch.compile`` traces the op, nothing else says that it has no gradient.
    """
    compiled = torch.library.custom_op(f"{_NAMESPACE}::{name}", forward, mutates_args=())
    compiled.register_fake(fake_forward)
    bound = {
        "forward": staticmethod(forward),
        "setup_context": staticmethod(lambda ctx, inputs, output: ctx.mark_non_differentiable(*output)),
        "backward": staticmethod(_refuse),
    }
    eager = eager_apply(type(name.capitalize(), (torch.autograd.Function,), bound))

    def op(*args: Any) -> tuple[Tensor, ...]:
        return compiled(*args) if torch.compiler.is_compiling() else eager(*args)

    op.__name__ = op.__qualname__ = name
    op.compiled = compiled  # type: ignore[attr-defined]  # for torch.library.opcheck
    return op


def torch_op(
    name: str,
    forward: Callable[..., Any],
    fake_forward: Callable[..., Any],
    backward: Callable[..., Any],
    fake_backward: Callable[..., Any],
    setup_context: Callable[[Any, tuple[Any, ...], Any], None],
    arguments_of_backward: Callable[..., tuple[Any, ...]],
    inputs: int,
) -> Callable[..., Any]:
    """Build the callable ``op(*inputs)`` that runs ``forward`` and differentiates by ``backward``.

    Parameters
    ----------
    name : str
        Name of the op in the namespace ``lavadl_lite``; the backward's is ``<name>_backward``.
    forward, backward : callable
        Bodies over real tensors, annotated so that torch can read a schema from them.  ``backward`` returns gradients
        of the first inputs of ``forward``.
    fake_forward, fake_backward : callable
        The same signatures, returning uninitialised tensors of the right shapes.
    setup_context : callable
        ``(ctx, inputs, output)``, remembers what backward needs.
    arguments_of_backward : callable
        ``(ctx, *grads)`` to the arguments of ``backward``.
    inputs : int
        Number of inputs of ``forward``.
    """

    def padded(grads: Any) -> tuple[Any, ...]:
        grads = grads if isinstance(grads, tuple) else (grads,)
        return (*grads, *[None] * (inputs - len(grads)))

    compiled_backward = torch.library.custom_op(f"{_NAMESPACE}::{name}_backward", backward, mutates_args=())
    compiled_backward.register_fake(fake_backward)
    compiled_backward.register_autograd(_refuse)
    compiled = torch.library.custom_op(f"{_NAMESPACE}::{name}", forward, mutates_args=())
    compiled.register_fake(fake_forward)
    compiled.register_autograd(
        lambda ctx, *grads: padded(compiled_backward(*arguments_of_backward(ctx, *grads))), setup_context=setup_context
    )

    def function(kind: str, **methods: Callable[..., Any]) -> type[torch.autograd.Function]:
        # by type(): torch names the node of the graph, which users see as grad_fn, when the class is made
        bound = {method: staticmethod(body) for method, body in methods.items()}
        return type(f"{name.capitalize()}{kind}", (torch.autograd.Function,), bound)

    gradient = function("Gradient", forward=backward, setup_context=lambda ctx, inputs, output: None, backward=_refuse)

    def eager_backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        # recorded under create_graph=True and by torch.func only
        recorded = torch.is_grad_enabled() or transformed()
        run = gradient.apply if recorded else backward
        return padded(run(*arguments_of_backward(ctx, *grads)))

    eager = eager_apply(function("", forward=forward, setup_context=setup_context, backward=eager_backward))

    def op(*args: Any) -> Any:
        return compiled(*args) if torch.compiler.is_compiling() else eager(*args)

    op.__name__ = op.__qualname__ = name
    op.compiled, op.compiled_backward = compiled, compiled_backward  # for torch.library.opcheck
    return op
