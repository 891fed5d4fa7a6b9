"""The matrix product of a dense synapse, and its gradients without a product for each sample in memory."""

from typing import Any

import torch
from torch import Tensor

from ...kernels.torch_op import eager_apply

__all__ = ["product"]

_FEW = 1 << 19  # numbers in the products of all samples: up to this they are made at once, and then summed


class _Product(torch.autograd.Function):
    """``weight @ input`` for every sample; the weight's gradient is summed while it is made.

    The weight becomes a matrix in here: as a step of its own, that would cost a small layer more than its product.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, input: Tensor) -> Tensor:
        return _each(weight.flatten(1), input)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        weight, input = ctx.saved_tensors
        g_weight = _summed(grad, input).view(weight.shape) if ctx.needs_input_grad[0] else None
        return g_weight, _each(weight.flatten(1).t(), grad) if ctx.needs_input_grad[1] else None


def _each(weight: Tensor, input: Tensor) -> Tensor:
    if input.shape[-1] == 1:  # all samples are one matrix as they are
        return (input[..., 0] @ weight.t())[..., None]
    # one product a sample, in the input's own layout: matmul would copy all samples into one matrix and back
    return torch.bmm(weight.expand(input.shape[0], -1, -1), input)


def _summed(grad: Tensor, input: Tensor) -> Tensor:
    if grad.shape[-1] == 1:
        return grad[..., 0].t() @ input[..., 0]
    few = len(grad) * grad.shape[1] * input.shape[1] <= _FEW
    if few or torch.is_grad_enabled():  # or a second derivative is wanted
        return torch.bmm(grad, input.mT).sum(0)
    total = grad[0] @ input[0].t()
    for g, x in zip(grad[1:], input[1:], strict=True):
        total.addmm_(g, x.t())
    return total


_product = eager_apply(_Product)


def product(weight: Tensor, input: Tensor) -> Tensor:
    """``weight @ input`` for every sample and time step.

    Parameters
    ----------
    weight : Tensor, shape (out, ...) of out x in numbers
    input : Tensor, shape (N, in, T)

    Returns
    -------
    Tensor, shape (N, out, T)
    """
    # compiled graphs and mixed precision have rules of their own for products
    if torch.compiler.is_compiling() or torch.is_autocast_enabled(input.device.type):
        return _each(weight.flatten(1), input)
    return _product(weight, input)
