"""Which convolution runs: our kernels (:mod:`lavadl_lite.kernels.convolve`), one product, or torch's own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ... import kernels
from ...kernels.torch_op import eager_apply, transformed
from . import unfolded

if TYPE_CHECKING:
    from ...kernels.convolve import Geometry

__all__ = ["conv3d"]

_SMALLEST = 1 << 20  # products: tables and buffers cost as much as half of these
_LARGEST = 1 << 16  # weights, which every part of the input meets again: torch keeps more of them in the cache


def _sums(x: Tensor, weight: Tensor, shape: tuple[int, ...], geometry: Geometry, back: bool) -> Tensor:
    """Sums of ``shape``, or with ``back`` the gradient of the input, where ``x`` is that of the sums."""
    tables = kernels.convolve.sum_tables(geometry, back)
    weights = kernels.launch.ready(weight).reshape(-1).index_select(0, torch.from_numpy(tables.pick))
    x, y = kernels.launch.ready(x), kernels.launch.empty(shape, x)
    kernels.convolve.sums(
        x, weights, y, tables.taps, tables.units, tables.reads, tables.writes, shape[1], y[0, 0].numel(),
        rows=len(tables.units) * kernels.convolve.LANES, elements=weight.numel() * y.numel() // shape[1],
    )  # fmt: skip
    return y


def _weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    down, right = geometry.padding
    grad, x = kernels.launch.ready(grad), kernels.launch.ready(x)
    if down or right:
        x = F.pad(x, (0, 0, right, right, down, down))
    tables = kernels.convolve.weight_products(geometry._replace(shape=tuple(x.shape), padding=(0, 0)))
    groups = -(-geometry.features // kernels.convolve.GROUP)
    g_weight = kernels.launch.empty(weight.shape, x)
    totals = kernels.launch.empty((groups, len(tables.taps), kernels.convolve.GROUP), x)
    units = groups * len(tables.taps) // kernels.convolve.TAPS
    kernels.convolve.products(
        grad, x, totals, g_weight, *tables, weight[0].numel(), len(weight), grad[0, 0].numel(),
        rows=units * kernels.convolve.LANES, elements=grad.numel() * weight[0].numel(),
    )  # fmt: skip
    return g_weight


class _Convolve(torch.autograd.Function):
    """Sums of products, whose gradients are sums of products of the same kernels."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        return _sums(x, weight, (len(x), len(weight), *geometry.plane, x.shape[-1]), geometry, False)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, ctx.geometry = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: torch has it
            moves = ctx.geometry.stride, ctx.geometry.padding, ctx.geometry.dilation
            return *unfolded.differentiable(grad, x, weight, *moves, needs=ctx.needs_input_grad), None
        g_x = _sums(grad, weight, x.shape, ctx.geometry, True) if ctx.needs_input_grad[0] else None
        g_weight = _weight_gradient(grad, x, weight, ctx.geometry) if ctx.needs_input_grad[1] else None
        return g_x, g_weight, None


_convolve = eager_apply(_Convolve)


def direct(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Sums of ``geometry`` by our kernels: float32 on the CPU, of at least 16 steps, without groups."""
    return _convolve(x, weight, geometry)


def conv3d(
    x: Tensor,
    weight: Tensor,
    stride: tuple[int, int, int],
    padding: tuple[int, int, int],
    dilation: tuple[int, int, int],
    groups: int,
) -> Tensor:
    """``torch.nn.functional.conv3d`` of kernels of one step, each way where it is fast.

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W, T)
    weight : Tensor, shape (F, C / groups, kh, kw, 1)
    stride, padding, dilation : tuple of int
        Height, width and time; 1, 0 and 1 for time.
    groups : int

    Returns
    -------
    Tensor, shape (N, F, H', W', T)
    """
    # compiled graphs, mixed precision and torch.func have rules of their own for convolutions
    special = torch.compiler.is_compiling() or transformed() or torch.is_autocast_enabled(x.device.type)
    plain = groups == 1 and x.dtype == weight.dtype == torch.float32 and kernels.launch.on_cpu(x) and x.numel()
    if special or not plain:
        return F.conv3d(x, weight, None, stride, padding, dilation, groups)
    height, width = weight.shape[2:4]
    geometry = kernels.convolve.Geometry(
        tuple(x.shape), len(weight), (height, width), stride[:2], padding[:2], dilation[:2]
    )
    products = len(x) * weight.numel() * math.prod(geometry.plane) * x.shape[-1]
    enough = x.shape[-1] >= kernels.convolve.LANES and products >= _SMALLEST
    if kernels.products.WIDE and enough and weight.numel() <= _LARGEST:
        return direct(x, weight, geometry)
    if dilation[:2] == (1, 1) and unfolded.worth_it(x, weight, stride[:2], geometry.plane):
        return unfolded.sums(x, weight, stride[:2], padding[:2], geometry.plane)
    return F.conv3d(x, weight, None, stride, padding, dilation, groups)
