"""The matrix product of a dense synapse: with everything, or with the events alone where few inputs are not 0."""

from typing import Any

import torch
from torch import Tensor

from ... import kernels
from ...kernels.torch_op import eager_apply, gradients_again, transformed, unmixed
from ..utils.quantize import Grid

__all__ = ["normed_product", "product"]

_SHORT = 32  # steps: with so few, and weights that leave the cache between samples, ...
_LARGE = 1 << 17  # ... one product of all samples gains more than it costs to lay them out
_FEW = 1 << 19  # numbers in the products of all samples: up to this they are made at once, and then summed
_MANY = 1 << 26  # products of two numbers from which on it pays to list the events
_NARROW = 32  # outputs below which most of a tile would be empty
_DENSE = 8  # one in so many inputs may be an event; twice as many cost as much as a product with everything
_SAMPLE = 1 << 12  # inputs that are looked at first
_UNITS = 64  # parts of a weight's gradient: enough for many threads


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
        return _gradients(weight, input, grad, ctx.needs_input_grad)


def _gradients(weight: Tensor, input: Tensor, grad: Tensor, wanted: Any) -> tuple[Tensor | None, Tensor | None]:
    with unmixed(grad):
        g_weight = _summed(grad, input).view(weight.shape) if wanted[0] else None
        return g_weight, _each(weight.flatten(1).t(), grad) if wanted[1] else None


def _at_once(samples: int, weights: int, steps: int) -> bool:
    return samples > 1 and steps <= _SHORT and weights >= _LARGE


def _matrix(x: Tensor) -> Tensor:
    """All samples and steps side by side, (C, N * T)."""
    return x.transpose(0, 1).reshape(x.shape[1], -1)


def _each(weight: Tensor, input: Tensor) -> Tensor:
    samples, _, steps = input.shape
    at_once = _at_once(samples, weight.numel(), steps)
    if steps == 1 and not (at_once and weight.is_contiguous()):  # all samples are one matrix as they are
        return torch.mm(input.squeeze(-1), weight.t()).unsqueeze(-1)
    if at_once:
        return (weight @ _matrix(input)).view(len(weight), samples, steps).transpose(0, 1).contiguous()
    # one product a sample, in the input's own layout: matmul would copy all samples into one matrix and back
    return torch.bmm(weight.expand(samples, -1, -1), input)


def _summed(grad: Tensor, input: Tensor) -> Tensor:
    samples, _, steps = input.shape
    if steps == 1:
        return torch.mm(grad.squeeze(-1).t(), input.squeeze(-1))
    if _at_once(samples, grad.shape[1] * input.shape[1], steps):
        return _matrix(grad) @ _matrix(input).t()
    few = samples * grad.shape[1] * input.shape[1] <= _FEW
    if few or torch.is_grad_enabled():  # or a second derivative is wanted
        return torch.bmm(grad, input.mT).sum(0)
    total = grad[0] @ input[0].t()
    for g, x in zip(grad[1:], input[1:], strict=True):
        total.addmm_(g, x.t())
    return total


class _NormedProduct(torch.autograd.Function):
    """The same with a weight that is normalised and rounded on the way; its gradient is turned where it was summed."""

    @staticmethod
    def forward(ctx: Any, direction: Tensor, gain: Tensor, input: Tensor, grid: Grid) -> Tensor:
        weight, norm = grid.weight_and_norm(direction, gain)
        ctx.grid = grid
        ctx.save_for_backward(direction, gain, input, weight, norm)
        return _each(weight.flatten(1), input)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        direction, gain, input, weight, norm = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():  # a second derivative is wanted
            return *gradients_again(
                lambda v, g, x: _product(ctx.grid.normed(v, g), x), (direction, gain, input), wanted, grad
            ), None
        g_weight, g_input = _gradients(weight, input, grad, (wanted[0] or wanted[1], wanted[2]))
        if g_weight is None:
            return None, None, g_input, None
        return *ctx.grid.gradients(direction, gain, norm, g_weight, into=g_weight), g_input, None


class _EventProduct(torch.autograd.Function):
    """The same from a list of events; only the input's gradient takes a product with everything."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, input: Tensor, starts: Tensor, places: Tensor, values: Tensor) -> Tensor:
        ctx.save_for_backward(weight, input, starts, places, values)
        sparse, (N, C, T), outputs = kernels.sparse, input.shape, len(weight)
        begins = starts.new_empty((N, T + 1))
        channels, factors = torch.empty_like(places), torch.empty_like(values)
        sparse.by_time(starts, places, values, begins, channels, factors, C, T, **_work(N, input))
        tiles = _in_tiles(weight.flatten(1).t()[None])
        out = kernels.launch.empty((N, outputs, T), input)
        sparse.product(tiles, begins, channels, factors, out, N, C, outputs, T, **_work(len(tiles) * N, input))
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, input, starts, places, values = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted
            return *_gradients(weight, input, grad, ctx.needs_input_grad), None, None, None
        g_weight, g_input = _gradients(weight, input, grad, (False, ctx.needs_input_grad[1]))
        if ctx.needs_input_grad[0]:
            g_weight = _summed_events(grad, input, starts, places, values).view(weight.shape)
        return g_weight, g_input, None, None, None


def _work(units: int, input: Tensor) -> dict[str, int]:
    """Size of a kernel call over units, of which a thread takes whole ones."""
    return {"rows": units * kernels.cpu.LANES, "elements": input.numel()}


def _summed_events(grad: Tensor, input: Tensor, starts: Tensor, places: Tensor, values: Tensor) -> Tensor:
    (N, C, T), outputs = input.shape, grad.shape[1]
    tiles = _in_tiles(grad.transpose(1, 2))
    parts = -(-_UNITS // len(tiles))  # of the channels
    g_weight = kernels.launch.empty((outputs, C), grad)
    work = _work(len(tiles) * parts, input)
    kernels.sparse.gradient(tiles, starts, places, values, g_weight, N, C, outputs, T, parts, **work)
    return g_weight


def _in_tiles(lines: Tensor) -> Tensor:
    """Lines [N, R, columns] cut to tiles, [tiles, N, R, columns of a tile], the last one filled up with zeros."""
    (N, R, columns), width = lines.shape, kernels.sparse.TILE
    whole = columns // width
    tiles = kernels.launch.empty((-(-columns // width), N, R, width), lines)
    tiles[:whole] = lines[..., : whole * width].unflatten(-1, (whole, width)).permute(2, 0, 1, 3)
    if whole < len(tiles):
        left = columns - whole * width
        tiles[whole, ..., :left] = lines[..., whole * width :]
        tiles[whole, ..., left:] = 0
    return tiles


def _events(weight: Tensor, input: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """What is not 0, by channel: where a channel's events start, their steps, their values; None if it does not pay."""
    launch = kernels.launch
    little = len(weight) < _NARROW or len(weight) * input.numel() < _MANY or input.shape[-1] == 1
    if little or not launch.on_cpu(input) or input.dtype != torch.float32 or transformed():
        return None
    sparse, x = kernels.sparse, launch.ready(input)
    if int(x.flatten()[:: x.numel() // _SAMPLE | 1].count_nonzero()) * _DENSE > _SAMPLE:
        return None
    rows, T = x[..., 0].numel(), x.shape[-1]
    work = {"rows": rows, "elements": x.numel()}
    counts, starts = x.new_empty(rows, dtype=torch.int32), x.new_zeros(rows + 1, dtype=torch.int64)
    sparse.count(x, counts, T, **work)
    torch.cumsum(counts, 0, out=starts[1:])
    total = int(starts[-1])
    if total * _DENSE > x.numel():
        return None
    places, values = x.new_empty(total, dtype=torch.int32), launch.empty((total,), x)
    sparse.find(x, starts, places, values, T, **work)
    return starts, places, values


_product = eager_apply(_Product)
_normed_product = eager_apply(_NormedProduct)
_event_product = eager_apply(_EventProduct)


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
    if _left_to_torch(input):
        return _each(weight.flatten(1), input)
    events = _events(weight, input)
    return _product(weight, input) if events is None else _event_product(weight, input, *events)


def normed_product(direction: Tensor, gain: Tensor, input: Tensor, grid: Grid) -> Tensor:
    """:func:`product` of ``grid.normed(direction, gain)`` and ``input``.

    Parameters
    ----------
    direction : Tensor, shape (out, ...) of out x in numbers
    gain : Tensor, shape (out, 1, ...)
    input : Tensor, shape (N, in, T)
    grid : Grid
        What the weight is rounded onto.

    Returns
    -------
    Tensor, shape (N, out, T)
    """
    if _left_to_torch(input) or not grid.norms(direction, gain) or input.dtype != torch.float32:
        return product(grid.normed(direction, gain), input)
    events = _events(direction, input)
    if events is not None:
        return _event_product(grid.normed(direction, gain), input, *events)
    return _normed_product(direction, gain, input, grid)


def _left_to_torch(input: Tensor) -> bool:
    """Whether compiled graphs or mixed precision have rules of their own for products."""
    return torch.compiler.is_compiling() or torch.is_autocast_enabled(input.device.type)
