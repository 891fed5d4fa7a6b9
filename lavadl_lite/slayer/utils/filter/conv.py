"""Convolution and correlation along time as matrix products; filters as modules are in :mod:`.fir`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ....errors import ParameterError

__all__ = ["conv", "corr"]

_BLOCK = 256  # steps that one matrix covers at least, where there are as many: below it calls dominate


def conv(input: Tensor, filter: Tensor, sampling_time: float = 1) -> Tensor:
    """Causal convolution along time, ``y[t] = sampling_time * sum_k filter[k] * input[t - k]``.

    Parameters
    ----------
    input : Tensor, shape (..., T)
        Signal; what was before its first step counts as zero. One axis ``(T,)`` is taken as ``(1, T)``.
    filter : Tensor
        Response to an impulse, flattened. It receives its gradient if it requires one.
    sampling_time : float, optional
        Length of a step; multiplies the result.

    Returns
    -------
    Tensor, shape (..., T)
        Computed in the wider type of the two, never below float32, under autocast too; in the type of ``input``, or
        that of ``filter`` if ``input`` holds integers.

    Raises
    ------
    ParameterError
        If the filter is empty.
    """
    if filter.numel() == 0:
        raise ParameterError("expected a filter of at least one tap, got an empty one")
    if input.dim() < 2:
        input = input.reshape(1, -1)
    dtype = torch.promote_types(torch.promote_types(input.dtype, filter.dtype), torch.float32)
    with torch.autocast(input.device.type, enabled=False):
        response = _filter_rows(_rows(input).to(dtype), filter.flatten().to(dtype)).reshape(input.shape)
        response = response * sampling_time if sampling_time != 1 else response
    return response.to(input.dtype if input.is_floating_point() else filter.dtype)


def corr(input: Tensor, filter: Tensor, sampling_time: float = 1) -> Tensor:
    """Correlation along time, ``y[t] = sampling_time * sum_k filter[k] * input[t + k]``.

    Parameters, result and errors are those of :func:`conv`; what comes after the last step counts as zero. Each of the
    two is the derivative of the other with respect to its input.
    """
    return conv(input.flip(-1), filter, sampling_time).flip(-1)


def _rows(input: Tensor) -> Tensor:
    steps = input.shape[-1]
    return input.reshape(input.numel() // steps if steps else 0, steps)


def _filter_rows(rows: Tensor, taps: Tensor) -> Tensor:
    """Convolve ``rows`` (R, T) by products with triangular matrices: one per block of steps, one with the block before.

    This is several times faster than torch's convolutions with one channel, and keeps nothing but the matrices.
    """
    count, steps = rows.shape
    if rows.numel() == 0:
        return rows
    taps = taps[:steps]
    reach = taps.numel() - 1
    blocks = max(1, steps // max(_BLOCK, taps.numel()))
    size = -(-steps // blocks)
    blocked = F.pad(rows, (0, blocks * size - steps)).reshape(count, blocks, size)
    response = blocked @ _shifted_taps(taps, size, first=0)
    if blocks > 1 and reach > 0:
        carried = blocked[:, :-1, size - reach :] @ _shifted_taps(taps, reach, first=reach)
        response = response + F.pad(carried, (0, size - reach, 1, 0))
    return response.reshape(count, blocks * size)[:, :steps]


def _shifted_taps(taps: Tensor, size: int, first: int) -> Tensor:
    """Matrix (size, size) with ``taps[first + column - row]`` where that tap exists, else 0."""
    before, after = size - 1 - first, first + size - taps.numel()
    return F.pad(taps, (before, after)).unfold(0, size, 1).flip(0)
