"""Convolution of short sequences in strides as one matrix product: torch's own takes twice as long on a CPU.

A kernel of one step is moved over a plane whose positions each hold a whole sequence.  torch's kernels treat time as
a third axis, and are slow to go back through strides; here the values below every position of the kernel are laid out
as the rows of a matrix, which the sequences keep contiguous.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ... import kernels
from ...kernels.torch_op import eager_apply, unmixed

__all__ = ["differentiable", "sums", "worth_it"]

_SHORTEST = 16  # steps: the copies are of whole cache lines from here on
_LARGEST = 1 << 21  # numbers in the matrix, which should stay in the cache

Pair = tuple[int, int]


def _rows(x: Tensor, kernel: Pair, stride: Pair, padding: Pair, plane: Pair) -> Tensor:
    """What each position of the kernel meets, (N, C * kh * kw, H' * W' * T)."""
    x = F.pad(x, (0, 0, padding[1], padding[1], padding[0], padding[0])) if any(padding) else x.contiguous()
    samples, channels, _, _, steps = x.shape
    n, c, h, w, _ = x.stride()
    met = x.as_strided(
        (samples, channels, *kernel, *plane, steps), (n, c, h, w, h * stride[0], w * stride[1], 1)
    )  # fmt: skip
    rows = kernels.launch.empty(met.shape, x).copy_(met)
    return rows.view(samples, channels * kernel[0] * kernel[1], -1)


def _plane(rows: Tensor, shape: torch.Size, kernel: Pair, stride: Pair, padding: Pair, plane: Pair) -> Tensor:
    """Transpose of :func:`_rows`: the sum of what positions of the kernel hold for each place, of shape ``shape``."""
    samples, channels, height, width, steps = shape
    parts = rows.view(samples, channels, *kernel, *plane, steps)
    total = rows.new_zeros(samples, channels, height + 2 * padding[0], width + 2 * padding[1], steps)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            down = slice(i, i + (plane[0] - 1) * stride[0] + 1, stride[0])
            right = slice(j, j + (plane[1] - 1) * stride[1] + 1, stride[1])
            total[:, :, down, right] += parts[:, :, i, j]
    return total[:, :, padding[0] : padding[0] + height, padding[1] : padding[1] + width]


class _Unfolded(torch.autograd.Function):
    """Convolution through :func:`_rows`, which is made again on the way back instead of being kept."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, stride: Pair, padding: Pair, plane: Pair) -> Tensor:
        kernel = weight.shape[2], weight.shape[3]
        flat = weight.reshape(len(weight), -1).expand(len(x), -1, -1)
        sums = torch.bmm(flat, _rows(x, kernel, stride, padding, plane))
        return sums.view(len(x), len(weight), *plane, x.shape[-1])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, *ctx.moves = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding, plane = ctx.moves
        if torch.is_grad_enabled():  # a second derivative is wanted: torch has it
            return *differentiable(grad, x, weight, stride, padding, (1, 1), ctx.needs_input_grad), None, None, None
        kernel = weight.shape[2], weight.shape[3]
        sums = grad.reshape(len(x), len(weight), -1)
        g_x = g_weight = None
        if ctx.needs_input_grad[0]:
            flat = weight.reshape(len(weight), -1).t().expand(len(x), -1, -1)
            rows = torch.bmm(flat, sums, out=kernels.launch.empty((len(x), flat.shape[1], sums.shape[2]), x))
            g_x = _plane(rows, x.shape, kernel, stride, padding, plane)
        if ctx.needs_input_grad[1]:
            rows = _rows(x, kernel, stride, padding, plane)
            with unmixed(grad):
                g_weight = torch.bmm(sums, rows.mT).sum(0).view_as(weight)
        return g_x, g_weight, None, None, None


def differentiable(
    grad: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair, needs: tuple[bool, ...]
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of a convolution by ``x`` and ``weight``, where ``needs`` says so, that have gradients themselves."""
    g_x, g_weight, _ = torch.ops.aten.convolution_backward(
        grad, x, weight, None, (*stride, 1), (*padding, 0), (*dilation, 1), False, (0, 0, 0), 1,
        (needs[0], needs[1], False),
    )  # fmt: skip
    return g_x, g_weight


_unfolded = eager_apply(_Unfolded)


def worth_it(x: Tensor, weight: Tensor, stride: Pair, plane: Pair) -> bool:
    """Whether :func:`sums` is faster than torch: in strides, for sequences of whole cache lines, in the cache."""
    numbers = weight[0].numel() * len(x) * plane[0] * plane[1] * x.shape[-1]
    return stride[1] > 1 and x.shape[-1] >= _SHORTEST and numbers <= _LARGEST


def sums(x: Tensor, weight: Tensor, stride: Pair, padding: Pair, plane: Pair) -> Tensor:
    """Convolution without groups and dilation on the CPU; ``plane`` is the height and width of the sums.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W, T)
    weight : Tensor, shape (F, C, kh, kw, 1)
    stride, padding, plane : (int, int)
        Height and width.

    Returns
    -------
    Tensor, shape (N, F, H', W', T)
    """
    return _unfolded(x, weight, stride, padding, plane)
